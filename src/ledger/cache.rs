//! The cache in sled 0.34: what was counted since the last tallies, the minutes, the levels.
//!
//! Nothing here is needed to open the ledger. sled's known ways to fail are answered so:
//!
//! - A damaged file makes its iterators return errors for ever: every item is read with `?`, and
//!   at most [`MAX_ENTRIES`] are read.
//! - Some damage makes it panic or never return. So it is only ever opened in a child process, see
//!   [`super::child`] and [`super::check`]. When that dies or hangs, the cache is set aside unopened.
//! - `flush` does not make the file's metadata durable: it is followed by our own fsync.
//! - Dropping a database whose file cannot be synced panics: after an error it is leaked instead.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::record::{Record, decode_all, encode};

/// More keys than any ledger has.
pub(super) const MAX_ENTRIES: usize = 200_000;
/// A cache that has grown larger than this on disk is begun anew from memory.
pub(super) const MAX_CACHE: u64 = 6 << 20;

/// An opening waits so long for another process to let go of the cache.
const PATIENCE: Duration = Duration::from_secs(5);

const SEQUENCE: &[u8] = b"s";

/// The open cache.
#[derive(Debug)]
pub(super) struct Cache {
    db: sled::Db,
    minutes: sled::Tree,
    file: PathBuf,
    _lock: File,
}

/// An entry of the cache: its key, and its records or none to delete it.
pub(super) type Entry = (Vec<u8>, Vec<Record>);

/// What a cache held.
#[derive(Debug, Default, PartialEq)]
pub struct Cached {
    /// All of it.
    pub entries: Vec<Entry>,
    /// The journal's last sequence number when the cache was written; 0 when it never was.
    pub sequence: u64,
}

/// Why a cache is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    /// sled said so: damage, or the disk.
    #[error("{0}")]
    Sled(#[from] sled::Error),
    /// The disk said so.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It holds something that we did not write.
    #[error("an entry cannot be read")]
    Foreign,
    /// Another process has it open.
    #[error("another process has it open")]
    Busy,
}

impl Cache {
    /// Opens or creates the cache and reads all of it.
    pub(super) fn open(dir: &Path) -> Result<(Cache, Cached), CacheError> {
        let lock = lock(&dir.with_extension("lock"), PATIENCE)?.ok_or(CacheError::Busy)?;
        let db = sled::Config::new()
            .path(dir)
            .cache_capacity(4 << 20)
            .segment_size(64 << 10)
            .mode(sled::Mode::LowSpace)
            .flush_every_ms(None)
            .open()?;
        let minutes = db.open_tree("minutes")?;
        let cache = Cache { db, minutes, file: dir.join("db"), _lock: lock };
        match cache.read() {
            Ok(cached) => Ok((cache, cached)),
            Err(error) => {
                cache.leak();
                Err(error)
            }
        }
    }

    fn read(&self) -> Result<Cached, CacheError> {
        let mut cached = Cached::default();
        for entry in self.db.iter().take(MAX_ENTRIES) {
            let (key, value) = entry?;
            if key.as_ref() == SEQUENCE {
                let bytes = value.as_ref().try_into().map_err(|_| CacheError::Foreign)?;
                cached.sequence = u64::from_le_bytes(bytes);
            } else {
                cached.entries.push((key.to_vec(), decode_all(&value).ok_or(CacheError::Foreign)?));
            }
        }
        for entry in self.minutes.iter().take(MAX_ENTRIES) {
            let (key, value) = entry?;
            minute_of(&key).ok_or(CacheError::Foreign)?;
            cached.entries.push((key.to_vec(), decode_all(&value).ok_or(CacheError::Foreign)?));
        }
        Ok(cached)
    }

    /// Writes entries and makes them durable.
    pub(super) fn save(&self, entries: &[Entry], sequence: u64) -> Result<(), CacheError> {
        // No batch: each entry stands for itself, and a batch costs a page more on the card.
        for (key, records) in entries {
            // A tree of their own: sled writes whole leaves anew, and theirs are large.
            let tree: &sled::Tree = if key.starts_with(b"m") { &self.minutes } else { &self.db };
            if records.is_empty() {
                tree.remove(key)?;
                continue;
            }
            let mut value = Vec::new();
            records.iter().for_each(|record| encode(record, 0, &mut value));
            tree.insert(key, value)?;
        }
        self.db.insert(SEQUENCE, sequence.to_le_bytes().as_slice())?;
        self.flush()
    }

    /// sled's flush and, because that is not enough, an fsync.
    pub(super) fn flush(&self) -> Result<(), CacheError> {
        self.db.flush()?;
        File::open(&self.file)?.sync_all()?;
        Ok(())
    }

    /// Lets go of a cache without sled's destructor, which would panic on a disk that fails. Costs
    /// its memory until the end of the program, which is near in a child.
    pub(super) fn leak(self) {
        let Cache { db, minutes, file: _, _lock } = self;
        std::mem::forget((db, minutes));
    }
}

/// The key of the minutes that were written in this minute ([`super::record::Grain::Minute`]).
pub(super) fn minute_key(minute: u32) -> Vec<u8> {
    [b"m".as_slice(), &minute.to_be_bytes()].concat()
}

/// The minute of such a key.
pub(super) fn minute_of(key: &[u8]) -> Option<u32> {
    let minute = key.strip_prefix(b"m")?;
    Some(u32::from_be_bytes(minute.try_into().ok()?))
}

/// Takes a lock file, which is made if need be; `None` when another process kept it all this time.
pub(super) fn lock(path: &Path, patience: Duration) -> io::Result<Option<File>> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if start.elapsed() >= patience => return Ok(None),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
