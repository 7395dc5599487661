//! The backup of an old card, on the boot partition of a new one.
//!
//! It is restored once, at the first start: a ledger that has counted anything is never touched.
//! The box starts whatever is wrong with the file; the file's new name says whether it was
//! restored.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::clock::Now;
use crate::fsutil::read_bounded;
use crate::ledger::backup::MAX_BACKUP;
use crate::ledger::transfer::{self, Restored, SAME_KEY, give_to_owner, settings_with};

/// The passphrase of a backup with sealed settings, in the first line.
const PASSPHRASE: &str = "soloist-passphrase.txt";
/// Behind the name of a file that was taken up.
const TAKEN: &str = "taken";
/// Behind the name of one that was not, nor ever will be.
const NOT_TAKEN: &str = "not-taken";

/// What an old card's backup gave.
#[derive(Debug, Default)]
pub struct OldCard {
    /// Its settings, to lie under what the owner wrote.
    pub settings: Option<String>,
    /// Whether they are whole; else they lack passwords, PIN and notifications.
    pub whole: bool,
    /// They lie under those of the box now.
    pub from_it: bool,
    /// What became of the file, for the log.
    pub sentences: Vec<String>,
}

/// Takes up the newest `soloist-backup*` or `soloist-*.backup` in `boot`, if there is one.
pub fn take_up(now: Now, boot: &Path, data: &Path) -> OldCard {
    let mut old = OldCard::default();
    let Some(file) = newest(boot) else { return old };
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let secret = boot.join(PASSPHRASE);
    let passphrase = match read_bounded(&secret, 1024) {
        Ok(bytes) => {
            String::from_utf8_lossy(&bytes).lines().next().map(|line| line.trim().to_owned())
        }
        Err(_) => None,
    };
    let ending = match restore(now, &file, data) {
        Ok((bytes, restored)) => {
            old.sentences.push(format!(
                "{name} was taken up: {} miners, {} shares, {} blocks.",
                restored.workers, restored.shares, restored.blocks
            ));
            if restored.key {
                old.sentences.push(SAME_KEY.to_owned());
            }
            take_settings(&bytes, passphrase.as_deref(), &mut old);
            TAKEN
        }
        Err(why) => {
            old.sentences.push(format!("{name} was not taken up: {why}."));
            NOT_TAKEN
        }
    };
    // Not left to lie there, whatever became of the file.
    let done = rename(&file, ending).and_then(|()| wipe(&secret));
    if let Err(error) = done {
        old.sentences.push(format!("The boot partition cannot be written: {error}."));
    }
    old
}

fn restore(now: Now, file: &Path, data: &Path) -> Result<(Vec<u8>, Restored), String> {
    if transfer::has_counted(now, data).map_err(|error| error.to_string())? {
        return Err("this box has a ledger of its own already; see 'soloist restore'".to_owned());
    }
    let bytes = read_bounded(file, MAX_BACKUP as u64 + 1).map_err(|error| error.to_string())?;
    let restored = transfer::restore(now, data, &bytes).map_err(|error| error.to_string())?;
    give_to_owner(data);
    Ok((bytes, restored))
}

fn take_settings(bytes: &[u8], passphrase: Option<&str>, old: &mut OldCard) {
    match settings_with(bytes, passphrase) {
        Ok(Some((text, whole))) => (old.settings, old.whole) = (Some(text), whole),
        Ok(None) => old.sentences.push("There are no settings in it.".to_owned()),
        Err(why) => {
            old.sentences.push(format!("Its sealed settings were left out: {why}"));
            old.settings = settings_with(bytes, None).ok().flatten().map(|(text, _)| text);
        }
    }
}

/// By the name, which has the date where Soloist gave it.
fn newest(boot: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(boot).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    entries.filter(|path| path.file_name().is_some_and(is_backup)).max()
}

fn is_backup(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_ascii_lowercase();
    let done = [TAKEN, NOT_TAKEN].iter().any(|ending| name.ends_with(&format!(".{ending}")));
    !done
        && (name.starts_with("soloist-backup")
            || (name.starts_with("soloist") && name.ends_with(".backup")))
}

fn rename(file: &Path, ending: &str) -> io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    fs::rename(file, name)
}

/// A deleted file's sectors keep what was in them, so they are written over first.
fn wipe(secret: &Path) -> io::Result<()> {
    let length = match fs::metadata(secret) {
        Ok(data) => data.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    super::write_over(secret, usize::try_from(length.min(super::MAX_FILE)).unwrap_or(0))?;
    fs::remove_file(secret)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::{Args, run};
    use super::*;
    use crate::exit::Exit;
    use crate::ledger::record::scan;
    use crate::ledger::seal::{self, Dice};
    use crate::ledger::totals::{Ledger, LedgerEvent};
    use crate::ledger::transfer::{SEALED, SETTINGS};

    const ADDRESS: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    const TEMPLATE: &str = "# Explained.\n\n[payout]\n# Who is paid.\naddress = \"\"\n\n[node]\n\
                            rpc_url = \"\" # where\n";
    const PASSPHRASE_TEXT: &str = "correct horse battery";

    fn now() -> Now {
        Now { mono: Instant::now(), unix: 1_790_000_000 }
    }

    /// A boot partition and a data partition as they leave the builder.
    struct Box {
        dir: tempfile::TempDir,
        args: Args,
    }

    impl Box {
        fn new() -> Box {
            let dir = tempfile::tempdir().unwrap();
            let path = |name: &str| dir.path().join(name);
            fs::create_dir(path("boot")).unwrap();
            fs::create_dir(path("data")).unwrap();
            fs::write(path("boot/soloist.toml"), TEMPLATE).unwrap();
            fs::write(path("template"), TEMPLATE).unwrap();
            let args = Args {
                from: path("boot/soloist.toml"),
                template: path("template"),
                into: path("config"),
                data: Some(path("data")),
            };
            Box { dir, args }
        }

        fn lay(&self, name: &str, bytes: &[u8]) {
            fs::write(self.dir.path().join("boot").join(name), bytes).unwrap();
        }

        fn boots(&self) -> Exit {
            run(now(), &self.args)
        }

        fn settings(&self) -> String {
            fs::read_to_string(self.dir.path().join("config/soloist.toml")).unwrap()
        }

        fn boot_files(&self) -> Vec<String> {
            let entries = fs::read_dir(self.dir.path().join("boot")).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }

        fn shares(&self) -> u64 {
            let journal = fs::read(self.dir.path().join("data/ledger/journal"));
            let Ok(journal) = journal else { return 0 };
            Ledger::replay(now(), &scan(&journal).records).total().totals().ever.accepted
        }
    }

    /// The backup of a card that mined, with the settings in plain and perhaps sealed.
    fn backup(sealed: bool) -> Vec<u8> {
        let mut ledger = Ledger::new(now());
        let mut out = Vec::new();
        ledger.handle(now(), LedgerEvent::Opened(Default::default()), &mut out);
        let worker = ledger.worker(now(), "garage", "bitaxe");
        for _ in 0..7 {
            let share =
                LedgerEvent::Share { worker, difficulty: 1e3, actual: 2e3, height: 900_000 };
            ledger.handle(now(), share, &mut out);
        }
        let text = format!(
            "[payout]\naddress = \"{ADDRESS}\"\ntag = \"Attic\"\n[node]\n\
             rpc_url = \"http://10.0.0.1\"\nrpc_user = \"u\"\nrpc_pass = \"geheim\"\n\
             [http]\npin = \"7391\"\n"
        );
        let plain = seal::without_secrets(&text).unwrap();
        let dice = Dice { salt: [1; 16], nonce: [2; 12] };
        let secret = seal::seal(PASSPHRASE_TEXT, text.as_bytes(), dice);
        let mut attachments = vec![(SETTINGS, plain.as_bytes())];
        if sealed {
            attachments.push((SEALED, &secret));
        }
        transfer::make(&ledger, &attachments).unwrap()
    }

    #[test]
    fn an_old_cards_backup_is_taken_up_once() {
        let card = Box::new();
        card.lay("soloist-2026-11-20.backup", &backup(false));
        card.lay("soloist-2026-11-19.backup", b"an older one");
        assert_eq!(card.boots(), Exit::Ok);
        assert_eq!(card.shares(), 7);
        // Passwords and PIN are not in it, so that the page asks for them with the nodes.
        let settings = card.settings();
        assert!(settings.contains(ADDRESS) && settings.contains("Attic"), "{settings}");
        assert!(
            !settings.contains("10.0.0.1") && settings.contains("# Who is paid."),
            "{settings}"
        );
        let named =
            ["soloist-2026-11-19.backup", "soloist-2026-11-20.backup.taken", "soloist.toml"];
        assert_eq!(card.boot_files(), named);

        // The next start finds another, and leaves the ledger and the settings as they are.
        let changed = settings.replace("Attic", "Cellar");
        fs::write(card.args.into.join("soloist.toml"), changed).unwrap();
        assert_eq!(card.boots(), Exit::Ok);
        assert_eq!((card.shares(), card.settings().contains("Cellar")), (7, true));
        assert_eq!(card.boot_files()[0], "soloist-2026-11-19.backup.not-taken");
    }

    #[test]
    fn the_passphrase_brings_all_settings_and_is_gone() {
        let card = Box::new();
        card.lay("soloist-backup.bin", &backup(true));
        card.lay(PASSPHRASE, format!("{PASSPHRASE_TEXT}\r\n").as_bytes());
        assert_eq!(card.boots(), Exit::Ok);
        let settings = card.settings();
        for kept in [ADDRESS, "geheim", "10.0.0.1", "7391"] {
            assert!(settings.contains(kept), "{kept} in {settings}");
        }
        assert_eq!(card.boot_files(), ["soloist-backup.bin.taken", "soloist.toml"]);

        // With another one the ledger is there, and what is not secret.
        let card = Box::new();
        card.lay("soloist-backup.bin", &backup(true));
        card.lay(PASSPHRASE, b"correct horse batterie");
        assert_eq!(card.boots(), Exit::Ok);
        assert_eq!(card.shares(), 7);
        let settings = card.settings();
        assert!(settings.contains(ADDRESS) && !settings.contains("geheim"), "{settings}");
        assert_eq!(card.boot_files(), ["soloist-backup.bin.taken", "soloist.toml"]);
    }

    #[test]
    fn what_the_owner_writes_goes_over_the_old_card() {
        let card = Box::new();
        card.lay("soloist-backup.bin", &backup(false));
        let own = "[node]\nrpc_user = \"u\"\nrpc_pass = \"new\"\n[http]\npin = \"8264\"\n";
        card.lay("soloist.toml", own.as_bytes());
        assert_eq!(card.boots(), Exit::Ok);
        let settings = card.settings();
        for kept in [ADDRESS, "10.0.0.1", "\"new\"", "8264"] {
            assert!(settings.contains(kept), "{kept} in {settings}");
        }
    }

    #[test]
    fn a_damaged_backup_is_told_and_keeps_nobody_from_starting() {
        let whole = backup(true);
        let mut flipped = whole.clone();
        flipped[200] ^= 1;
        let large = vec![b'x'; 3_000_000];
        for bad in [&whole[..whole.len() - 1], &flipped, b"", b"PK\x03\x04", &large] {
            let card = Box::new();
            card.lay("soloist-backup.bin", bad);
            card.lay(PASSPHRASE, PASSPHRASE_TEXT.as_bytes());
            assert_eq!(card.boots(), Exit::Ok);
            assert_eq!((card.shares(), card.settings().as_str()), (0, TEMPLATE));
            assert_eq!(card.boot_files(), ["soloist-backup.bin.not-taken", "soloist.toml"]);
        }
        // And one whose settings are of another world.
        let card = Box::new();
        let odd = transfer::make(&Ledger::new(now()), &[(SETTINGS, b"[rocket]\nfuel = 1\n")]);
        card.lay("soloist-backup.bin", &odd.unwrap());
        assert_eq!(card.boots(), Exit::Ok);
        assert_eq!(card.settings(), TEMPLATE);
    }
}
