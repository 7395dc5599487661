//! Backup and restore: the whole ledger in one file, from the card and back.
//!
//! A shell around [`super::backup`]. Making a backup is safe at any time, also beside the running
//! daemon: it only reads. Solved blocks that are still under way are not in it (a block can be
//! 4 MB): they stay in the spool and can be downloaded there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::backup::{self, BackupError, MAX_BACKUP};
use super::journal::Journal;
use super::record::{MAX_ATTACHMENT, Record, scan};
use super::seal;
use super::store::{self, Store, StoreError, date, failed};
use super::totals::{BACKUP_BUDGET, Ledger};
use crate::clock::Now;
use crate::fsutil::{self, Rights};
use crate::stratum::v2::noise::is_secret;

/// The settings in a backup, without secrets.
pub const SETTINGS: &str = "soloist.toml";
/// All settings, under a passphrase.
pub const SEALED: &str = "soloist.toml.sealed";

/// The secret of the key by which miners of Stratum V2 know this box: its file in the data directory,
/// and in a backup. Miners that are told the key would not mine with a new card that has another one.
pub const AUTHORITY_KEY: &str = "authority-key";
/// After a restore of a backup with that key.
pub const SAME_KEY: &str = "Miners of Stratum V2 know this box by the key of the backup.";
/// What the key of before is called after a restore.
const KEY_BEFORE: &str = "authority-key.before";

/// The rights of a backup on disk: a key is in it.
pub const RIGHTS: Rights = Rights::Keep(0o600);

/// So many copies are kept on a stick or a share.
pub const KEEP_COPIES: usize = 7;

/// Why a backup could not be made, copied or restored.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The file is no backup, or damaged.
    #[error("{0}")]
    Backup(#[from] BackupError),
    /// The file system said so, or the ledger's directory cannot be used, mostly because Soloist is
    /// running.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A file to travel along is larger than [`MAX_ATTACHMENT`].
    #[error("{0} is too large for a backup")]
    TooLarge(String),
    /// The first night has not come yet, or no snapshot can be read.
    #[error("there is no snapshot to copy yet")]
    NoSnapshot,
    /// The directory for copies is on the same file system as the data: nothing is plugged in.
    #[error("nothing is mounted at {0}")]
    NotMounted(String),
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Workers in it.
    pub workers: usize,
    /// Accepted shares in it.
    pub shares: u64,
    /// Found blocks in it.
    pub blocks: u32,
    /// Miners of Stratum V2 know the box by the same key as before.
    pub key: bool,
}

/// The backup of a ledger in memory, with files to travel along (name and bytes). At most
/// [`MAX_BACKUP`] bytes: the oldest history is left out if need be.
pub fn make(ledger: &Ledger, attachments: &[(&str, &[u8])]) -> Result<Vec<u8>, TransferError> {
    let mut records = Vec::new();
    let mut weight = 0;
    for (name, bytes) in attachments {
        weight += bytes.len() + 200;
        if bytes.len() > MAX_ATTACHMENT || weight > BACKUP_BUDGET / 2 {
            return Err(TransferError::TooLarge((*name).to_owned()));
        }
        records.push(Record::Attachment { name: (*name).to_owned(), bytes: bytes.to_vec() });
    }
    let mut budget = BACKUP_BUDGET - weight;
    loop {
        let mut all = records.clone();
        all.extend(ledger.records(budget));
        let file = backup::write(&all);
        if file.len() <= MAX_BACKUP || budget == 0 {
            return Ok(file);
        }
        budget /= 2;
    }
}

/// The backup of what is on the card, also beside the running daemon.
pub fn make_from_card(
    now: Now,
    data: &Path,
    attachments: &[(&str, &[u8])],
) -> Result<Vec<u8>, TransferError> {
    let ledger = read_card(now, data)
        .and_then(|ledger| ledger.ok_or_else(|| io::ErrorKind::NotFound.into()))
        .map_err(failed("read the journal"))?;
    make(&ledger, attachments)
}

/// The key of Stratum V2 in `data`, to travel along; `None` where there is none that is of use.
pub fn authority_key(data: &Path) -> Option<[u8; 32]> {
    usable_key(&fs::read(data.join(AUTHORITY_KEY)).ok()?)
}

fn usable_key(bytes: &[u8]) -> Option<[u8; 32]> {
    bytes.try_into().ok().filter(is_secret)
}

/// Puts the key of a backup into `data`. One that is there is kept under another name. Whether the
/// backup has one.
///
/// # Errors
/// The backup is damaged, or the file system said so.
pub fn restore_key(data: &Path, file: &[u8]) -> Result<bool, TransferError> {
    let attachments = attachments(file)?;
    let key = attachments.iter().find(|(name, _)| name == AUTHORITY_KEY);
    let Some(key) = key.and_then(|(_, bytes)| usable_key(bytes)) else { return Ok(false) };
    replace_key(data, key)?;
    Ok(true)
}

/// Puts a key of Stratum V2 into `data`. One that is there is kept under another name.
///
/// # Errors
/// The file system said so.
pub fn replace_key(data: &Path, key: [u8; 32]) -> Result<(), TransferError> {
    let put = |name, key: [u8; 32]| -> Result<(), StoreError> {
        let replaced = fsutil::replace(&data.join(name), &key, Rights::Set(0o600));
        replaced.map_err(io::Error::from).map_err(failed("write the key of Stratum V2"))
    };
    match authority_key(data) {
        Some(present) if present == key => return Ok(()),
        Some(present) => put(KEY_BEFORE, present)?,
        None => {}
    }
    put(AUTHORITY_KEY, key)?;
    Ok(())
}

/// The ledger as it stands on the card, also beside the running daemon; `None` when there is none.
pub fn read_card(now: Now, data: &Path) -> io::Result<Option<Ledger>> {
    let file = Journal::read(&data.join("ledger/journal"))?;
    Ok(file.map(|file| Ledger::replay(now, &scan(&file).records)))
}

/// Puts a backup in the place of the ledger in `data`. Soloist must not be running there. What was
/// there before is set aside.
pub fn restore(now: Now, data: &Path, file: &[u8]) -> Result<Restored, TransferError> {
    let mut records = backup::read(file)?;
    records.retain(|record| !matches!(record, Record::Attachment { .. }));
    store::replace(data, &records)?;
    let key = restore_key(data, file)?;
    let ledger = Ledger::replay(now, &records);
    let totals = ledger.total().totals();
    Ok(Restored {
        workers: ledger.workers().count(),
        shares: totals.ever.accepted,
        blocks: totals.blocks,
        key,
    })
}

/// Whether the ledger in `data` has counted a share or a block: then no backup may take its place
/// without being asked for.
pub fn has_counted(now: Now, data: &Path) -> Result<bool, TransferError> {
    let ledger = read_card(now, data).map_err(failed("read the journal"))?;
    Ok(ledger.is_some_and(|ledger| ledger.has_counted()))
}

/// The files that travel along in a backup: name and bytes. A name is a name: it must not lead out
/// of the folder that it is put into.
pub fn attachments(file: &[u8]) -> Result<Vec<(String, Vec<u8>)>, BackupError> {
    let attachments = backup::read(file)?.into_iter().filter_map(|record| match record {
        Record::Attachment { name, bytes } if is_plain(&name) => Some((name, bytes)),
        _ => None,
    });
    Ok(attachments.collect())
}

/// Copies a backup to a mounted stick or share, reads it back, and keeps the newest
/// [`KEEP_COPIES`]. `day` is that of [`super::record::Grain::Day`].
pub fn copy_to(dir: &Path, data: &Path, day: u32, file: &[u8]) -> Result<PathBuf, TransferError> {
    let device = |path: &Path| fs::metadata(path).map(|data| data.dev());
    let there = device(dir).map_err(failed("look at the place for copies"))?;
    if device(data).is_ok_and(|here| here == there) {
        return Err(TransferError::NotMounted(dir.display().to_string()));
    }
    let path = copy_path(dir, day);
    let written = fsutil::replace(&path, file, RIGHTS).map_err(io::Error::from);
    written.map_err(failed("write the copy"))?;
    let read = fs::read(&path).map_err(failed("read the copy back"))?;
    if read != file {
        return Err(BackupError::Damaged.into());
    }
    let ours: Vec<PathBuf> = fs::read_dir(dir)
        .map_err(failed("list the copies"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("soloist-")
        })
        .collect();
    let ends_with =
        |end: &'static str| move |path: &&PathBuf| path.to_string_lossy().ends_with(end);
    // The stick was pulled while another day's copy was written.
    for part in ours.iter().filter(ends_with(".backup.new")) {
        fs::remove_file(part).map_err(failed("remove the start of a copy"))?;
    }
    let mut copies: Vec<&PathBuf> = ours.iter().filter(ends_with(".backup")).collect();
    copies.sort();
    let spare = copies.len().saturating_sub(KEEP_COPIES);
    for old in &copies[..spare] {
        fs::remove_file(old).map_err(failed("remove an old copy"))?;
    }
    Ok(path)
}

/// A copy at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Where it stands.
    pub path: PathBuf,
    /// It was written now; else it stood there already.
    pub written: bool,
}

/// Copies the newest snapshot of the ledger, with the settings but for their secrets and with the key of
/// Stratum V2, by [`copy_to`]. Does nothing when it stands there already. Blocks as long as that place does.
pub fn copy_newest(
    data: &Path,
    settings: Option<&Path>,
    to: &Path,
) -> Result<Copied, TransferError> {
    let (day, records) = Store::newest_snapshot(data).ok_or(TransferError::NoSnapshot)?;
    let text = settings.and_then(|path| fs::read_to_string(path).ok());
    let plain = text.and_then(|text| seal::without_secrets(&text));
    let attached = [
        plain.map(|text| (SETTINGS, text.into_bytes())),
        authority_key(data).map(|key| (AUTHORITY_KEY, key.to_vec())),
    ];
    let attached = attached.into_iter().flatten();
    let attached =
        attached.map(|(name, bytes)| Record::Attachment { name: name.to_owned(), bytes });
    let with_all = backup::write(&attached.chain(records.iter().cloned()).collect::<Vec<_>>());
    let file = match with_all.len() <= MAX_BACKUP {
        true => with_all,
        false => backup::write(&records),
    };
    let path = copy_path(to, day);
    let there = fs::metadata(&path).is_ok_and(|there| there.len() == file.len() as u64);
    if there && fs::read(&path).is_ok_and(|there| there == file) {
        return Ok(Copied { path, written: false });
    }
    Ok(Copied { path: copy_to(to, data, day, &file)?, written: true })
}

fn copy_path(dir: &Path, day: u32) -> PathBuf {
    dir.join(format!("soloist-{}.backup", date(day)))
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

/// Why a backup's settings cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSettings {
    /// The backup is damaged.
    #[error("{0}.")]
    Damaged(BackupError),
    /// A passphrase was given for a backup that has none.
    #[error("This backup was made without a passphrase: leave it out.")]
    NotSealed,
    /// A slip of the finger, mostly.
    #[error("The passphrase is another one.")]
    OtherPassphrase,
}

/// The settings that a backup carries, and whether they are whole: those that were sealed, with a
/// passphrase, else those without secrets.
///
/// # Errors
/// See [`NoSettings`].
pub fn settings_with(
    bytes: &[u8],
    passphrase: Option<&str>,
) -> Result<Option<(String, bool)>, NoSettings> {
    let attachments = attachments(bytes).map_err(NoSettings::Damaged)?;
    let find = |wanted: &str| attachments.iter().find(|(name, _)| name == wanted);
    if let Some(passphrase) = passphrase {
        let (_, sealed) = find(SEALED).ok_or(NoSettings::NotSealed)?;
        let text = seal::open(passphrase, sealed).and_then(|text| String::from_utf8(text).ok());
        return text.map(|text| Some((text, true))).ok_or(NoSettings::OtherPassphrase);
    }
    let plain = find(SETTINGS).and_then(|(_, text)| String::from_utf8(text.clone()).ok());
    Ok(plain.map(|text| (text, false)))
}

/// Restored as root, ledger and key must still be the daemon's: they get the data directory's owner.
pub fn give_to_owner(data: &Path) {
    use std::os::unix::fs::{MetadataExt, chown};
    let Ok(owner) = fs::metadata(data).map(|data| (data.uid(), data.gid())) else { return };
    let mut places = ["ledger", AUTHORITY_KEY, KEY_BEFORE].map(|name| data.join(name)).to_vec();
    while let Some(place) = places.pop() {
        // Without the right to do so we are the owner already.
        let _ = chown(&place, Some(owner.0), Some(owner.1));
        if let Ok(entries) = fs::read_dir(&place) {
            places.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        }
    }
}
