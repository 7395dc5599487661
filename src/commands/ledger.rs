//! `soloist backup`, `soloist restore` and `soloist export`: the ledger from the command line.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::clock::Now;
use crate::config::{self, Flags};
use crate::exit::{Exit, complain, say};
use crate::fsutil::{self, Rights, read_bounded};
use crate::ledger::backup::{self, MAX_BACKUP};
use crate::ledger::export;
use crate::ledger::record::Grain;
use crate::ledger::seal::{self, Dice};
use crate::ledger::store::StoreError;
use crate::ledger::transfer::{
    self, AUTHORITY_KEY, NoSettings, SAME_KEY, SEALED, SETTINGS, TransferError, give_to_owner,
    settings_with,
};

/// Maximum bytes of a passphrase file or config; more than any has.
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
    /// Everything, JSON.
    Json,
}

/// `soloist restore`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restore {
    /// The backup.
    pub file: PathBuf,
    /// The file whose first line is the passphrase, `-` for standard input.
    pub passphrase: Option<PathBuf>,
    /// Whether the backup's settings replace the config file.
    pub settings: bool,
    /// `--data` and `--config`.
    pub flags: Flags,
}

/// The exit code of a command that failed, and the reason.
pub type Failed = (Exit, String);

/// Calls `work` with the data directory: that of `--data`, or else the config's.
pub fn in_data(flags: &Flags, work: impl FnOnce(&Path) -> ExitCode) -> ExitCode {
    match data_of(flags) {
        Ok(data) => work(&data),
        Err(failed) => told(Err(failed)).into(),
    }
}

/// Writes the ledger and the settings into one file; safe while the daemon runs. Secrets are
/// included only with a passphrase.
pub fn backup(now: Now, file: &Path, passphrase: Option<&Path>, flags: &Flags) -> Exit {
    told(write_backup(now, file, passphrase, flags))
}

/// Replaces the ledger by a backup. The previous files are moved aside. Nothing changes while
/// Soloist runs there, or if the backup is damaged.
pub fn restore(now: Now, restore: &Restore) -> Exit {
    told(take_backup(now, restore))
}

/// Writes the content of the ledger on the card to standard output.
pub fn export(now: Now, what: What, flags: &Flags) -> Exit {
    let text = match exported(now, what, flags) {
        Ok(text) => text,
        Err(failed) => return told(Err(failed)),
    };
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_or(Exit::Output, |()| Exit::Ok)
}

fn told(outcome: Result<(), Failed>) -> Exit {
    let Err((exit, why)) = outcome else { return Exit::Ok };
    complain(why);
    exit
}

fn write_backup(
    now: Now,
    file: &Path,
    passphrase: Option<&Path>,
    flags: &Flags,
) -> Result<(), Failed> {
    let data = data_of(flags)?;
    let passphrase = passphrase.map(read_passphrase).transpose()?;
    let config = config::load(flags).ok().and_then(|loaded| loaded.file);
    let text = config.as_ref().and_then(|path| read_text(path).ok());
    let made = made(now, &data, text.as_deref(), passphrase.as_deref())?;
    let written = fsutil::replace(file, &made, transfer::RIGHTS).map_err(io::Error::from);
    let read_back = written.and_then(|()| fs::read(file)).map_err(|error| {
        (Exit::CannotWrite, format!("{} cannot be written: {error}.", file.display()))
    })?;
    if backup::read(&read_back).is_err() {
        let why = "The backup does not come back as it was written.".to_owned();
        return Err((Exit::CannotWrite, why));
    }
    let settings = match (&text, &passphrase) {
        (None, _) => "without settings",
        (Some(_), None) => "with the settings but for passwords, PIN and notifications",
        (Some(_), Some(_)) => "with all settings, the secret ones under the passphrase",
    };
    let size = made.len() / 1000;
    say(format_args!("{} ({size} kB) holds the ledger, {settings}.", file.display()));
    if transfer::authority_key(&data).is_some() {
        say(format_args!(
            "The key by which miners of Stratum V2 know this box is in it, too: whoever has the file can \
             pose as this box to them."
        ));
    }
    Ok(())
}

/// The ledger on the card in `data`, the key of Stratum V2, and the settings in `text`, as one file; safe
/// while the daemon runs. The secrets of the settings are included only with a passphrase. Slow: not for
/// the daemon's loop.
///
/// # Errors
/// The passphrase is too short, the settings cannot be read, or there is no ledger yet.
pub fn made(
    now: Now,
    data: &Path,
    text: Option<&str>,
    passphrase: Option<&str>,
) -> Result<Vec<u8>, Failed> {
    let mut attachments = Vec::new();
    if let Some(text) = text {
        let plain = seal::without_secrets(text);
        let plain = plain.ok_or((Exit::Config, "The settings cannot be read.".to_owned()))?;
        attachments.push((SETTINGS, plain.into_bytes()));
    }
    match (passphrase, text) {
        (Some(passphrase), Some(text)) => {
            long_enough(passphrase)?;
            let dice =
                roll().map_err(|error| (Exit::Software, format!("No random numbers: {error}.")))?;
            attachments.push((SEALED, seal::seal(passphrase, text.as_bytes(), dice)));
        }
        (Some(_), None) => {
            return Err((Exit::Config, "There is no config file to seal.".to_owned()));
        }
        (None, _) => {}
    }
    attachments.extend(transfer::authority_key(data).map(|key| (AUTHORITY_KEY, key.to_vec())));
    let borrowed: Vec<(&str, &[u8])> =
        attachments.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    transfer::make_from_card(now, data, &borrowed).map_err(|error| {
        (Exit::Unavailable, format!("No backup was made from {}: {error}.", data.display()))
    })
}

fn take_backup(now: Now, restore: &Restore) -> Result<(), Failed> {
    let data = data_of(&restore.flags)?;
    let file = restore.file.display();
    let bytes = read_bounded(&restore.file, MAX_BACKUP as u64 + 1)
        .map_err(|error| (Exit::Data, format!("{file} cannot be read: {error}.")))?;
    // Check everything that can be wrong before anything is changed.
    let settings = settings_of(&bytes, restore)?;
    let restored = transfer::restore(now, &data, &bytes).map_err(|error| match error {
        TransferError::Store(StoreError::Locked) => (
            Exit::Unavailable,
            format!(
                "Soloist is running on {}. Stop it first: systemctl stop soloist",
                data.display()
            ),
        ),
        TransferError::Backup(error) => {
            (Exit::Data, format!("{file}: {error}. Nothing was changed."))
        }
        error => (Exit::CannotWrite, format!("{error}.")),
    })?;
    say(format_args!(
        "Restored into {}: {} workers, {} shares, {} blocks. What was there is in ledger/aside.",
        data.display(),
        restored.workers,
        restored.shares,
        restored.blocks
    ));
    if restored.key {
        say(format_args!("{SAME_KEY}"));
    }
    give_to_owner(&data);
    match settings {
        Some((text, sealed)) => put_settings(&text, sealed, restore, &data),
        None => Ok(()),
    }
}

fn exported(now: Now, what: What, flags: &Flags) -> Result<String, Failed> {
    let data = data_of(flags)?;
    let ledger = transfer::read_card(now, &data)
        .map_err(|error| format!("The journal cannot be read: {error}."))
        .and_then(|found| found.ok_or(format!("There is no ledger in {}.", data.display())))
        .map_err(|why| (Exit::Unavailable, why))?;
    Ok(match what {
        What::Blocks => export::blocks_csv(&ledger),
        What::Workers => export::workers_csv(&ledger),
        What::Hours => export::history_csv(&ledger, Grain::Hour),
        What::Days => export::history_csv(&ledger, Grain::Day),
        What::Json => export::json(&ledger) + "\n",
    })
}

fn data_of(flags: &Flags) -> Result<PathBuf, Failed> {
    let configured = || config::load(flags).map(|loaded| loaded.config.data.dir);
    let data = flags.data().map(Path::to_owned).map_or_else(configured, Ok);
    data.map_err(|problems| (Exit::Config, problems.to_string()))
}

fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read_bounded(path, MAX_TEXT)?).map_err(io::Error::other)
}

fn read_passphrase(path: &Path) -> Result<String, Failed> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().lock().take(MAX_TEXT).read_to_string(&mut text).map(|_| text)
    } else {
        read_text(path)
    };
    let text =
        text.map_err(|error| (Exit::Usage, format!("The passphrase cannot be read: {error}.")))?;
    let line = text.lines().next().unwrap_or_default().trim();
    long_enough(line)?;
    Ok(line.to_owned())
}

fn long_enough(passphrase: &str) -> Result<(), Failed> {
    let min = seal::PASSPHRASE_MIN;
    if passphrase.chars().count() < min {
        let why = format!("The passphrase is too short: at least {min} characters.");
        return Err((Exit::Usage, why));
    }
    Ok(())
}

fn roll() -> Result<Dice, getrandom::Error> {
    let mut dice = Dice { salt: [0; 16], nonce: [0; 12] };
    getrandom::fill(&mut dice.salt)?;
    getrandom::fill(&mut dice.nonce)?;
    Ok(dice)
}

/// The settings that a backup carries, and whether they are the sealed ones.
fn settings_of(bytes: &[u8], restore: &Restore) -> Result<Option<(String, bool)>, Failed> {
    let damaged =
        |error| (Exit::Data, format!("{}: {error}. Nothing was changed.", restore.file.display()));
    // First check whether the backup is intact, then the passphrase.
    transfer::attachments(bytes).map_err(damaged)?;
    let passphrase = restore.passphrase.as_deref().map(read_passphrase).transpose()?;
    settings_with(bytes, passphrase.as_deref()).map_err(|why| match why {
        NoSettings::NotSealed => (Exit::Usage, why.to_string()),
        NoSettings::OtherPassphrase => (Exit::Data, format!("{why} Nothing was changed.")),
        NoSettings::Damaged(error) => damaged(error),
    })
}

/// The settings go in the place of the config file only if that is wanted; else beside the data.
fn put_settings(text: &str, sealed: bool, restore: &Restore, data: &Path) -> Result<(), Failed> {
    let path = match (&restore.flags.config, restore.settings) {
        (Some(config), true) => config.clone(),
        _ => data.join("soloist.toml.restored"),
    };
    if path.exists() && restore.settings {
        let before = path.with_extension("toml.before");
        copy(&path, &before).map_err(|error| {
            (Exit::CannotWrite, format!("{} cannot be kept: {error}.", path.display()))
        })?;
        say(format_args!("The settings of before are in {}.", before.display()));
    }
    // For nobody else to read; a file that is there keeps its owner and rights.
    fsutil::replace(&path, text.as_bytes(), Rights::Keep(0o600)).map_err(|error| {
        (Exit::CannotWrite, format!("{} cannot be written: {}.", path.display(), error.source))
    })?;
    let lacks = if sealed { "" } else { " They lack passwords, PIN and notifications." };
    say(format_args!("The settings are in {}.{lacks}", path.display()));
    Ok(())
}

/// Writes the whole file with its rights, or leaves the previous one.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let rights = Rights::Set(fs::metadata(from)?.permissions().mode() & 0o777);
    Ok(fsutil::replace(to, &fs::read(from)?, rights)?)
}
