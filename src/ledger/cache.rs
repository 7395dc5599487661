//! The cache in sled 0.34: what was counted since the last tallies, the minutes, the levels.
//!
//! Nothing here is needed to open the ledger. sled's known ways to fail are answered so:
//!
//! - A damaged file makes its iterators return errors for ever: every item is read with `?`, and
//!   at most [`MAX_ENTRIES`] are read.
//! - Some damage makes it panic or never return. The guarded opening ([`super::check`]) lets this
//!   happen to a child process. A marker stands beside the cache while the daemon itself opens it,
//!   one byte for each try that did not end; after [`TRIES`] of them the cache is set aside
//!   unopened. One alone is more likely a power cut during the start.
//! - `flush` does not make the file's metadata durable: it is followed by our own fsync.
//! - Dropping a database whose file cannot be synced panics: after an error it is leaked instead.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::record::{Record, encode, scan_frames};

/// More keys than any ledger has.
pub const MAX_ENTRIES: usize = 200_000;
/// A cache that has grown larger than this on disk is begun anew from memory.
pub const MAX_CACHE: u64 = 6 << 20;

/// So many openings may fail to end before a cache is given up.
pub const TRIES: u64 = 2;

const SEQUENCE: &[u8] = b"s";

/// The open cache.
#[derive(Debug)]
pub struct Cache {
    db: sled::Db,
    minutes: sled::Tree,
    file: PathBuf,
}

/// Who opens the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opener {
    /// The daemon, which must not die of it twice.
    Daemon,
    /// A child whose parent sees how it ends.
    Child,
}

/// What a cache held.
#[derive(Debug, Default)]
pub struct Cached {
    /// The records of all entries.
    pub records: Vec<Record>,
    /// The minutes in whose name entries of minutes stand.
    pub minutes: BTreeSet<u32>,
    /// The journal's last sequence number when the cache was written; 0 when it never was.
    pub sequence: u64,
}

/// Why a cache is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// sled said so: damage, or the disk.
    #[error("{0}")]
    Sled(#[from] sled::Error),
    /// The disk said so.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It holds something that we did not write.
    #[error("an entry cannot be read")]
    Foreign,
    /// The programs that opened it lately did not survive it.
    #[error("the last openings did not end")]
    Deadly,
}

impl Cache {
    /// Opens or creates the cache and reads all of it.
    pub fn open(dir: &Path, opener: Opener) -> Result<(Cache, Cached), CacheError> {
        let marker = dir.with_extension("opening");
        let tries = fs::metadata(&marker).map_or(0, |data| data.len());
        if tries >= TRIES {
            return Err(CacheError::Deadly);
        }
        if opener == Opener::Child {
            return Cache::open_marked(dir);
        }
        fs::write(&marker, vec![b'x'; tries as usize + 1])?;
        let result = Cache::open_marked(dir);
        // The marker tells of panics and hangs; an error that was returned has been told.
        fs::remove_file(&marker)?;
        result
    }

    fn open_marked(dir: &Path) -> Result<(Cache, Cached), CacheError> {
        let db = sled::Config::new()
            .path(dir)
            .cache_capacity(4 << 20)
            .segment_size(64 << 10)
            .mode(sled::Mode::LowSpace)
            .flush_every_ms(None)
            .open()?;
        let minutes = db.open_tree("minutes")?;
        let cache = Cache { db, minutes, file: dir.join("db") };
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
                cached.records.extend(read_entry(&value)?);
            }
        }
        for entry in self.minutes.iter().take(MAX_ENTRIES) {
            let (key, value) = entry?;
            let [b'm', minute @ ..] = key.as_ref() else { return Err(CacheError::Foreign) };
            let minute = minute.try_into().map_err(|_| CacheError::Foreign)?;
            cached.minutes.insert(u32::from_be_bytes(minute));
            cached.records.extend(read_entry(&value)?);
        }
        Ok(cached)
    }

    /// Writes entries (a key, and records or none to delete it) and makes them durable.
    pub fn save(
        &self,
        entries: &[(Vec<u8>, Vec<Record>)],
        sequence: u64,
    ) -> Result<(), CacheError> {
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
    pub fn flush(&self) -> Result<(), CacheError> {
        self.db.flush()?;
        File::open(&self.file)?.sync_all()?;
        Ok(())
    }

    /// Gives up on a cache that returned an error, without the destructor that would panic on a
    /// disk that fails. Costs its memory until the end of the program.
    pub fn leak(self) {
        std::mem::forget(self);
    }
}

fn read_entry(value: &[u8]) -> Result<Vec<Record>, CacheError> {
    let scan = scan_frames(value);
    if scan.torn_tail > 0 || scan.damaged_bytes > 0 {
        return Err(CacheError::Foreign);
    }
    Ok(scan.records)
}
