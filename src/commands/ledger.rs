//! `soloist backup`, `soloist restore` and `soloist export`: the ledger from the command line.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::clock::Now;
use crate::config::{self, Flags};
use crate::exit::Exit;
use crate::fsutil::{self, Rights, read_bounded};
use crate::ledger::backup::{self, MAX_BACKUP};
use crate::ledger::export;
use crate::ledger::record::Grain;
use crate::ledger::seal::{self, Dice};
use crate::ledger::store::StoreError;
use crate::ledger::transfer::{
    self, NoSettings, SEALED, SETTINGS, TransferError, give_to_owner, settings_with,
};

/// More than any passphrase or config has.
const MAX_TEXT: u64 = 60 * 1024;

/// What `soloist export` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Found blocks, CSV.
    Blocks,
    /// Sums of all workers, CSV.
    Workers,
    /// History by hours, CSV.
    Hours,
    /// History by days, CSV.
    Days,
    /// All of it, JSON.
    Json,
}

/// `soloist restore`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restore {
    /// The backup.
    pub file: PathBuf,
    /// The file whose first line is the passphrase, `-` for standard input.
    pub passphrase: Option<PathBuf>,
    /// Put the backup's settings in the place of the config file.
    pub settings: bool,
    /// `--data` and `--config`.
    pub flags: Flags,
}

/// Does something in the data directory: that of `--data`, else the config's.
pub fn in_data(flags: &Flags, work: impl FnOnce(&Path) -> ExitCode) -> ExitCode {
    match data_of(flags) {
        Ok(data) => work(&data),
        Err(exit) => exit.into(),
    }
}

/// Writes the ledger and the settings into one file; safe beside the running daemon. Secrets go
/// along only under a passphrase.
pub fn backup(now: Now, file: &Path, passphrase: Option<&Path>, flags: &Flags) -> Exit {
    let data = match data_of(flags) {
        Ok(data) => data,
        Err(exit) => return exit,
    };
    let passphrase = match passphrase.map(read_passphrase).transpose() {
        Ok(passphrase) => passphrase,
        Err(why) => return fail(Exit::Usage, &why),
    };
    let config = config::load(flags).ok().and_then(|loaded| loaded.file);
    let text = config.as_ref().and_then(|path| read_text(path).ok());
    let mut attachments = Vec::new();
    if let Some(text) = &text {
        let Some(plain) = seal::without_secrets(text) else {
            return fail(Exit::Config, "The settings cannot be read.");
        };
        attachments.push((SETTINGS, plain.into_bytes()));
    }
    match (&passphrase, &text) {
        (Some(passphrase), Some(text)) => match roll() {
            Ok(dice) => attachments.push((SEALED, seal::seal(passphrase, text.as_bytes(), dice))),
            Err(error) => return fail(Exit::Software, &format!("No random numbers: {error}.")),
        },
        (Some(_), None) => return fail(Exit::Config, "There is no config file to seal."),
        (None, _) => {}
    }
    let borrowed: Vec<(&str, &[u8])> =
        attachments.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    let made = match transfer::make_from_card(now, &data, &borrowed) {
        Ok(made) => made,
        Err(error) => {
            let hint = format!("No backup was made from {}: {error}.", data.display());
            return fail(Exit::Unavailable, &hint);
        }
    };
    let written = fsutil::replace(file, &made, Rights::Keep(0o666)).map_err(io::Error::from);
    let read_back = written.and_then(|()| fs::read(file));
    match read_back {
        Ok(read) if backup::read(&read).is_ok() => {}
        Ok(_) => {
            return fail(Exit::CannotWrite, "The backup does not come back as it was written.");
        }
        Err(error) => {
            let hint = format!("{} cannot be written: {error}.", file.display());
            return fail(Exit::CannotWrite, &hint);
        }
    }
    let settings = match (&text, &passphrase) {
        (None, _) => "without settings",
        (Some(_), None) => "with the settings but for passwords, PIN and notifications",
        (Some(_), Some(_)) => "with all settings, the secret ones under the passphrase",
    };
    println!("{} ({} kB) holds the ledger, {settings}.", file.display(), made.len() / 1000);
    Exit::Ok
}

/// Puts a backup in the place of the ledger. What was there is set aside; nothing happens while
/// Soloist runs there, or when the file is not whole.
pub fn restore(now: Now, restore: &Restore) -> Exit {
    let data = match data_of(&restore.flags) {
        Ok(data) => data,
        Err(exit) => return exit,
    };
    let bytes = match read_bounded(&restore.file, MAX_BACKUP as u64 + 1) {
        Ok(bytes) => bytes,
        Err(error) => {
            let hint = format!("{} cannot be read: {error}.", restore.file.display());
            return fail(Exit::Data, &hint);
        }
    };
    // Everything that can be wrong is found out before anything is changed.
    let settings = match settings_of(&bytes, restore) {
        Ok(settings) => settings,
        Err((exit, why)) => return fail(exit, &why),
    };
    let restored = match transfer::restore(now, &data, &bytes) {
        Ok(restored) => restored,
        Err(TransferError::Store(StoreError::Locked)) => {
            let hint = format!(
                "Soloist is running on {}. Stop it first: systemctl stop soloist",
                data.display()
            );
            return fail(Exit::Unavailable, &hint);
        }
        Err(TransferError::Backup(error)) => {
            let hint = format!("{}: {error}. Nothing was changed.", restore.file.display());
            return fail(Exit::Data, &hint);
        }
        Err(error) => return fail(Exit::CannotWrite, &format!("{error}.")),
    };
    println!(
        "Restored into {}: {} workers, {} shares, {} blocks. What was there is in ledger/aside.",
        data.display(),
        restored.workers,
        restored.shares,
        restored.blocks
    );
    give_to_owner(&data);
    match settings {
        Some((text, sealed)) => put_settings(&text, sealed, restore, &data),
        None => Exit::Ok,
    }
}

/// Writes what is on the card to standard output.
pub fn export(now: Now, what: What, flags: &Flags) -> Exit {
    let data = match data_of(flags) {
        Ok(data) => data,
        Err(exit) => return exit,
    };
    let ledger = match transfer::read_card(now, &data) {
        Ok(Some(ledger)) => ledger,
        Ok(None) => {
            let hint = format!("There is no ledger in {}.", data.display());
            return fail(Exit::Unavailable, &hint);
        }
        Err(error) => {
            return fail(Exit::Unavailable, &format!("The journal cannot be read: {error}."));
        }
    };
    let text = match what {
        What::Blocks => export::blocks_csv(&ledger),
        What::Workers => export::workers_csv(&ledger),
        What::Hours => export::history_csv(&ledger, Grain::Hour),
        What::Days => export::history_csv(&ledger, Grain::Day),
        What::Json => export::json(&ledger) + "\n",
    };
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Exit::Ok,
        Err(_) => Exit::Output,
    }
}

fn fail(exit: Exit, why: &str) -> Exit {
    eprintln!("{why}");
    exit
}

fn data_of(flags: &Flags) -> Result<PathBuf, Exit> {
    let configured = || config::load(flags).map(|loaded| loaded.config.data.dir);
    flags.data().map(Path::to_owned).map_or_else(configured, Ok).map_err(|problems| {
        eprintln!("{problems}");
        Exit::Config
    })
}

fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read_bounded(path, MAX_TEXT)?).map_err(io::Error::other)
}

fn read_passphrase(path: &Path) -> Result<String, String> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().lock().take(MAX_TEXT).read_to_string(&mut text).map(|_| text)
    } else {
        read_text(path)
    };
    let text = text.map_err(|error| format!("The passphrase cannot be read: {error}."))?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.chars().count() < seal::PASSPHRASE_MIN {
        let min = seal::PASSPHRASE_MIN;
        return Err(format!("The passphrase is too short: at least {min} characters."));
    }
    Ok(line.to_owned())
}

fn roll() -> Result<Dice, getrandom::Error> {
    let mut dice = Dice { salt: [0; 16], nonce: [0; 12] };
    getrandom::fill(&mut dice.salt)?;
    getrandom::fill(&mut dice.nonce)?;
    Ok(dice)
}

/// The settings that a backup carries, and whether they are the sealed ones.
fn settings_of(bytes: &[u8], restore: &Restore) -> Result<Option<(String, bool)>, (Exit, String)> {
    let damaged =
        |error| (Exit::Data, format!("{}: {error}. Nothing was changed.", restore.file.display()));
    // First whether it is whole, then what the passphrase is.
    transfer::attachments(bytes).map_err(damaged)?;
    let passphrase = restore.passphrase.as_deref().map(read_passphrase).transpose();
    let passphrase = passphrase.map_err(|why| (Exit::Usage, why))?;
    settings_with(bytes, passphrase.as_deref()).map_err(|why| match why {
        NoSettings::NotSealed => (Exit::Usage, why.to_string()),
        NoSettings::OtherPassphrase => (Exit::Data, format!("{why} Nothing was changed.")),
        NoSettings::Damaged(error) => damaged(error),
    })
}

/// The settings go in the place of the config file only if that is wanted; else beside the data.
fn put_settings(text: &str, sealed: bool, restore: &Restore, data: &Path) -> Exit {
    let path = match (&restore.flags.config, restore.settings) {
        (Some(config), true) => config.clone(),
        _ => data.join("soloist.toml.restored"),
    };
    if path.exists() && restore.settings {
        let before = path.with_extension("toml.before");
        if let Err(error) = copy(&path, &before) {
            let hint = format!("{} cannot be kept: {error}.", path.display());
            return fail(Exit::CannotWrite, &hint);
        }
        println!("The settings of before are in {}.", before.display());
    }
    // For nobody else to read; a file that is there keeps its owner and rights.
    if let Err(error) = fsutil::replace(&path, text.as_bytes(), Rights::Keep(0o600)) {
        let hint = format!("{} cannot be written: {}.", path.display(), error.source);
        return fail(Exit::CannotWrite, &hint);
    }
    let lacks = if sealed { "" } else { " They lack passwords, PIN and notifications." };
    println!("The settings are in {}.{lacks}", path.display());
    Exit::Ok
}

/// The whole file with its rights, or what was there before.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let rights = Rights::Set(fs::metadata(from)?.permissions().mode() & 0o777);
    Ok(fsutil::replace(to, &fs::read(from)?, rights)?)
}
