//! The ledger on the card: one journal that is the truth, one cache, seven snapshots.
//!
//! A shell. Six functions, all of which block on the card and belong on a pool thread or on one
//! thread of their own: [`Store::open`], [`Store::save`], [`Store::close`],
//! [`Store::distrust_cache`], [`Store::newest_snapshot`] and [`Store::snapshots`]. What to write and
//! when is decided by [`super::totals::Ledger`].
//!
//! ```text
//! <data>/ledger/journal           the truth, see `record`
//!               cache/            sled: can be lost; opened by children only, see `child`
//!               cache.lock        held by the process that has it open
//!               cache.bad         there when the cache is to be set aside unopened
//!               snapshots/        2026-11-21.backup, the newest seven
//!               aside/            what was damaged: journal-1, journal-2, cache-1, cache-2
//!               notes             what the guarded opening has to tell the daemon
//!               lock              held by the running program
//! ```
//!
//! **Bound.** Journal at most 12 MiB (and 4 MB while it is written anew), its two set-aside copies
//! as much each, seven snapshots of 1 MB, cache 6 MiB, two set aside: together below 64 MiB.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use time::macros::format_description;
use time::{Date, Month, OffsetDateTime};

use super::backup;
use super::cache::{self, Cache, CacheError, Cached, MAX_CACHE};
use super::child::{self, ChildError};
use super::journal::Journal;
use super::record::{Grain, Record, Scan, scan};
use super::totals::{Batch, Opened, SaveReport};
use crate::clock::utc;
use crate::fsutil::{self, Rights};
use crate::os::board::Disk;

/// So many damaged journals, and so many damaged caches, are kept.
pub const KEEP_ASIDE: usize = 2;
/// So many nightly snapshots are kept.
pub const KEEP_SNAPSHOTS: usize = 7;
/// So many of them when the card is nearly full.
pub const KEEP_SHRUNK: usize = 2;
/// With less free space than this nothing is written: sled does not bear a full disk, and the
/// last megabytes are for solved blocks.
pub const KEEP_FREE: u64 = 8 << 20;
/// A broken cache is begun anew so many times before it is left off until the next start.
const CACHE_TRIES: u32 = 2;
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Why the card could not be used. The usual causes stand in the texts.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system said so: a card that dies, was pulled, or is mounted read-only.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The system's words.
        source: io::Error,
    },
    /// Less than [`KEEP_FREE`] bytes are free.
    #[error("the data partition is full ({} MB free)", .0 / 1_000_000)]
    Full(u64),
    /// Another Soloist runs on the same directory.
    #[error("another Soloist uses this data directory")]
    Locked,
    /// The journal's file vanished while it was open: the card was pulled or unmounted.
    #[error("the data partition vanished")]
    Vanished,
}

pub(super) fn failed(doing: &'static str) -> impl Fn(io::Error) -> StoreError {
    move |source| StoreError::Io { doing, source }
}

/// The open ledger directory.
#[derive(Debug)]
pub struct Store {
    data: PathBuf,
    dir: PathBuf,
    journal: Journal,
    cache: Place,
    cache_tries: u32,
    keep_free: u64,
    _lock: File,
}

/// Where the cache is opened.
#[derive(Debug)]
enum Place {
    /// In this process, which is a child or a test.
    Here(Cache),
    /// In children of this program.
    Child(PathBuf),
    /// Nowhere until the next start.
    Off,
}

impl Store {
    /// Opens the ledger under the data directory `data` and reads all of it, whatever its state:
    /// what is damaged is set aside, what can be read is read, and what was lost is told in
    /// [`Opened::notes`]. An error means that there is nothing to write on.
    ///
    /// sled is opened in this process, which it may hang or panic: for children and tests. The
    /// daemon has [`super::check::guard`] and [`Store::open_beside`].
    pub fn open(data: &Path) -> Result<(Store, Opened), StoreError> {
        Store::open_with(data, open_cache)
    }

    /// The same without opening sled here: `cached` was handed over by a child, and children of
    /// `exe` write into the cache. Without `exe` the cache is left off until the next start.
    pub fn open_beside(
        data: &Path,
        exe: Option<&Path>,
        cached: Option<Cached>,
    ) -> Result<(Store, Opened), StoreError> {
        Store::open_with(data, |dir, notes| {
            let usable = avoid_bad_cache(dir, notes);
            let place = match exe {
                Some(exe) if usable => Place::Child(exe.to_owned()),
                _ => Place::Off,
            };
            (place, cached.unwrap_or_default())
        })
    }

    fn open_with(
        data: &Path,
        open_cache: impl FnOnce(&Path, &mut Vec<String>) -> (Place, Cached),
    ) -> Result<(Store, Opened), StoreError> {
        let dir = data.join("ledger");
        let doing = "create the ledger's directory";
        fsutil::create_directory(&dir.join("snapshots")).map_err(failed(doing))?;
        let lock = lock(&dir)?;
        remove_parts(&dir);
        let mut opened = Opened::default();
        take_notes(&dir, &mut opened);
        let (cache, cached) = open_cache(&dir, &mut opened.notes);
        opened.cached = cached;
        let journal = open_journal(&dir, &mut opened)?;
        opened.journal_bytes = journal.bytes();
        opened.snapshot_day = snapshot_days(&dir).last().copied();
        let data = data.to_owned();
        let store =
            Store { data, dir, journal, cache, cache_tries: 0, keep_free: KEEP_FREE, _lock: lock };
        Ok((store, opened))
    }

    /// Writes a batch. When this returns `Ok`, the batch's records survive a power cut. Cache and
    /// snapshot only ever fail into [`SaveReport::notes`].
    ///
    /// After an error nothing is known to be written: send the whole state next
    /// ([`Batch::rewrite`]).
    pub fn save(&mut self, batch: &Batch) -> Result<SaveReport, StoreError> {
        if batch.shrink {
            self.shrink();
        }
        self.enough_space()?;
        if let Some(records) = &batch.rewrite {
            let path = self.dir.join("journal");
            // A new card in the place of the old one has no folders yet.
            self.journal = fsutil::create_directory(&self.dir.join("snapshots"))
                .and_then(|()| Journal::create(&path, records, self.journal.sequence()))
                .map_err(failed("write the journal"))?;
        } else if self.journal.is_gone() {
            return Err(StoreError::Vanished);
        }
        self.journal.append(&batch.append).map_err(failed("append to the journal"))?;

        let mut report = SaveReport::default();
        if !batch.cache.is_empty() {
            self.save_cache(batch, &mut report);
        }
        if let Some((day, records)) = &batch.snapshot
            && let Err(why) = self.save_snapshot(*day, records)
        {
            report.notes.push(format!("The nightly snapshot failed: {why}"));
        }
        report.journal_bytes = self.journal.bytes();
        Ok(report)
    }

    /// Lets the next opening set the cache aside unread.
    pub fn distrust_cache(data: &Path) -> io::Result<()> {
        if data.join("ledger/cache").exists() {
            fsutil::replace(&data.join("ledger/cache.bad"), &[], Rights::Keep(0o666))?;
        }
        Ok(())
    }

    /// Leaves sentences for the next [`Store::open`] to tell.
    pub fn leave_notes(data: &Path, notes: &[String]) -> io::Result<()> {
        let text = notes.join("\n");
        Ok(fsutil::replace(&data.join("ledger/notes"), text.as_bytes(), Rights::Keep(0o666))?)
    }

    /// The newest snapshot that can be read, with its day ([`Grain::Day`]).
    pub fn newest_snapshot(data: &Path) -> Option<(u32, Vec<Record>)> {
        read_newest_snapshot(&data.join("ledger"))
    }

    /// All snapshots, the oldest first: the day, and whether it can be restored.
    pub fn snapshots(data: &Path) -> Vec<(u32, Result<(), String>)> {
        let dir = data.join("ledger");
        let days = snapshot_days(&dir).into_iter();
        days.map(|day| {
            let records = read_snapshot(&dir, day);
            (day, records.map(|_| ()))
        })
        .collect()
    }

    /// Closes everything. The last batch has made all durable before.
    pub fn close(self) {
        if let Place::Here(cache) = self.cache
            && cache.flush().is_err()
        {
            cache.leak();
        }
    }

    /// Changes how much space is left free; for tests on small file systems.
    pub fn keep_free(&mut self, bytes: u64) {
        self.keep_free = bytes;
    }

    /// Best effort: what cannot be removed will be tried again.
    fn shrink(&self) {
        let _ = fs::remove_dir_all(self.dir.join("aside"));
        drop_snapshots(&self.dir, KEEP_SHRUNK);
    }

    fn enough_space(&self) -> Result<(), StoreError> {
        // Where it cannot be told, the writing itself will tell.
        let Ok(Disk { free, .. }) = Disk::of(&self.dir) else { return Ok(()) };
        if free < self.keep_free { Err(StoreError::Full(free)) } else { Ok(()) }
    }

    fn save_cache(&mut self, batch: &Batch, report: &mut SaveReport) {
        let sequence = self.journal.sequence();
        let result = match &self.cache {
            Place::Here(cache) => {
                cache.save(&batch.cache, sequence).map_err(|error| error.to_string())
            }
            Place::Child(exe) => match child::save(exe, &self.data, &batch.cache, sequence) {
                // The cache itself may be sound: it gets everything the next time.
                Err(ChildError::NotStarted(_) | ChildError::Busy) => {
                    report.cache_failed = true;
                    return;
                }
                result => result.map_err(|error| error.to_string()),
            },
            Place::Off => return,
        };
        match result {
            Ok(()) if directory_bytes(&self.dir.join("cache")) <= MAX_CACHE => return,
            Ok(()) => {}
            Err(error) => {
                let note = "The ledger's cache failed and is begun anew";
                report.notes.push(format!("{note}: {error}."));
            }
        }
        self.begin_cache_anew();
        report.cache_failed = !matches!(self.cache, Place::Off);
    }

    fn begin_cache_anew(&mut self) {
        let old = std::mem::replace(&mut self.cache, Place::Off);
        if self.cache_tries >= CACHE_TRIES {
            return;
        }
        self.cache_tries += 1;
        self.cache = match old {
            Place::Here(cache) => {
                cache.leak();
                open_cache_anew(&self.dir)
            }
            Place::Child(exe) => {
                set_cache_aside(&self.dir).map_or(Place::Off, |()| Place::Child(exe))
            }
            Place::Off => Place::Off,
        };
    }

    fn save_snapshot(&self, day: u32, records: &[Record]) -> Result<(), String> {
        let path = snapshot_path(&self.dir, day);
        fsutil::replace(&path, &backup::write(records), Rights::Keep(0o666))
            .map_err(|error| error.source.to_string())?;
        // A snapshot that nobody has restored is a hope: read it back.
        let read = read_snapshot(&self.dir, day)?;
        if read.len() != records.len() {
            return Err("it does not come back as it was written".into());
        }
        drop_snapshots(&self.dir, KEEP_SNAPSHOTS);
        Ok(())
    }
}

/// Puts other records in the place of a ledger that nobody uses now: for a restore. The old journal
/// and cache are set aside.
pub fn replace(data: &Path, records: &[Record]) -> Result<(), StoreError> {
    let dir = data.join("ledger");
    fsutil::create_directory(&dir.join("snapshots"))
        .map_err(failed("create the ledger's directory"))?;
    let _lock = lock(&dir)?;
    let path = dir.join("journal");
    // The cache first: it belongs to the old journal.
    set_aside(&dir, "cache").map_err(failed("set the old cache aside"))?;
    let sequence = match Journal::read(&path).map_err(failed("read the old journal"))? {
        Some(file) => {
            make_room_aside(&dir, "journal")
                .and_then(|place| fs::hard_link(&path, place))
                .map_err(failed("set the old journal aside"))?;
            scan(&file).last_sequence
        }
        None => 0,
    };
    Journal::create(&path, records, sequence).map_err(failed("write the journal"))?;
    Ok(())
}

// -- opening --

/// Waits a moment: a child of a daemon that was killed may still be about to end.
fn lock(dir: &Path) -> Result<File, StoreError> {
    let lock = cache::lock(&dir.join("lock"), LOCK_PATIENCE);
    lock.map_err(failed("lock the ledger's directory"))?.ok_or(StoreError::Locked)
}

/// What the guarded opening found and mended is told by the daemon, once.
fn take_notes(dir: &Path, opened: &mut Opened) {
    let path = dir.join("notes");
    if let Ok(text) = fs::read_to_string(&path) {
        opened.notes.extend(text.lines().take(20).map(str::to_owned));
        let _ = fs::remove_file(&path);
    }
}

/// Opens sled in this process; a cache that is of no use is set aside and begun anew.
fn open_cache(dir: &Path, notes: &mut Vec<String>) -> (Place, Cached) {
    if !avoid_bad_cache(dir, notes) {
        return (Place::Off, Cached::default());
    }
    match Cache::open(&dir.join("cache")) {
        Ok((cache, cached)) => (Place::Here(cache), cached),
        Err(CacheError::Busy) => {
            notes.push(
                "The ledger's cache is still in use by a process of the last run, and left alone \
                 until the next start."
                    .into(),
            );
            (Place::Off, Cached::default())
        }
        Err(error) => {
            notes.push(told_aside(&error.to_string()));
            (open_cache_anew(dir), Cached::default())
        }
    }
}

/// Begins the cache anew in this process; what is there is set aside.
fn open_cache_anew(dir: &Path) -> Place {
    let anew = set_cache_aside(dir).and_then(|()| Cache::open(&dir.join("cache")));
    anew.map_or(Place::Off, |(cache, _)| Place::Here(cache))
}

/// Sets a cache aside that a child did not survive; false when that is not possible.
fn avoid_bad_cache(dir: &Path, notes: &mut Vec<String>) -> bool {
    let marker = dir.join("cache.bad");
    if !marker.exists() {
        return true;
    }
    let done = set_cache_aside(dir).and_then(|()| Ok(fs::remove_file(&marker)?));
    notes.push(match done {
        Ok(()) => told_aside("the process that opened it did not survive it"),
        Err(error) => format!(
            "The ledger's cache is damaged and left off until the next start: it cannot be set \
             aside ({error})."
        ),
    });
    !marker.exists()
}

fn told_aside(why: &str) -> String {
    format!(
        "The ledger's cache was damaged and has been set aside: minute charts and difficulties \
         from before the journal was last written anew are lost, everything else is kept ({why})."
    )
}

/// Moves the cache away, unless another process has it open.
fn set_cache_aside(dir: &Path) -> Result<(), CacheError> {
    let _lock = cache::lock(&dir.join("cache.lock"), Duration::ZERO)?.ok_or(CacheError::Busy)?;
    Ok(set_aside(dir, "cache")?)
}

fn open_journal(dir: &Path, opened: &mut Opened) -> Result<Journal, StoreError> {
    let path = dir.join("journal");
    let file = Journal::read(&path).map_err(failed("read the journal"))?;
    let Cached { entries, sequence: cached_sequence } = &opened.cached;
    let cached_sequence = *cached_sequence;
    let traces = cached_sequence > 0 || !entries.is_empty() || !snapshot_days(dir).is_empty();
    let missing = file.is_none();
    let scan = scan(file.as_deref().unwrap_or_default());
    let fresh = missing && !traces;
    let short = cached_sequence.saturating_sub(scan.last_sequence);
    if scan.is_sound() && short == 0 {
        if scan.torn_tail > 0 {
            opened.notes.push(format!(
                "The power went while the journal was being written: {} unfinished bytes at its \
                 end were cut off.",
                scan.torn_tail
            ));
        }
        let journal = Journal::resume(&path, scan.end, scan.last_sequence);
        opened.records = scan.records;
        return journal.map_err(failed("open the journal"));
    }
    // A sequence that goes on where the lost one ended keeps the gaps countable.
    let sequence = scan.last_sequence.max(cached_sequence);
    if !fresh {
        recover(dir, &scan, missing, short, opened);
        if !missing {
            keep_copy(dir, "journal", opened);
        }
    }
    opened.records.extend(scan.records);
    opened.rewrite = !fresh;
    Journal::create(&path, &opened.records, sequence).map_err(failed("open the journal"))
}

/// Puts the newest snapshot's records before what the journal still holds, and tells the loss.
fn recover(dir: &Path, scan: &Scan, missing: bool, short: u64, opened: &mut Opened) {
    let what = match (missing, scan.records.len()) {
        (true, _) => "The ledger's journal was missing.".to_owned(),
        (false, 0) => "The ledger's journal was empty or destroyed.".to_owned(),
        (false, kept) => {
            let lost = scan.lost + short;
            let bytes = scan.damaged_bytes + scan.torn_tail;
            format!(
                "The ledger's journal was damaged: {kept} records could be read, at least {lost} \
                 are missing, {bytes} bytes make no sense. It has been set aside."
            )
        }
    };
    let then = match read_newest_snapshot(dir) {
        Some((day, records)) => {
            opened.records = records;
            format!("What it lacks was taken from the snapshot of {}.", date(day))
        }
        None if scan.records.is_empty() => {
            "There is no snapshot either: the ledger begins anew.".to_owned()
        }
        None => "There is no snapshot to fill the gaps.".to_owned(),
    };
    opened.notes.push(format!("{what} {then}"));
}

/// Keeps the damaged file under a second name; the next rename replaces the first.
fn keep_copy(dir: &Path, name: &str, opened: &mut Opened) {
    let result = make_room_aside(dir, name).and_then(|place| fs::hard_link(dir.join(name), place));
    if let Err(error) = result {
        opened.notes.push(format!("The damaged {name} could not be kept: {error}"));
    }
}

fn set_aside(dir: &Path, name: &str) -> io::Result<()> {
    let from = dir.join(name);
    if !from.exists() {
        return Ok(());
    }
    let place = make_room_aside(dir, name)?;
    fs::rename(from, place)?;
    fsutil::sync_directory(dir)
}

/// `aside/<name>-1` is the newest; the oldest goes.
fn make_room_aside(dir: &Path, name: &str) -> io::Result<PathBuf> {
    let aside = dir.join("aside");
    fs::create_dir_all(&aside)?;
    let place = |number: usize| aside.join(format!("{name}-{number}"));
    let oldest = place(KEEP_ASIDE);
    if oldest.is_dir() {
        fs::remove_dir_all(&oldest)?;
    } else if oldest.exists() {
        fs::remove_file(&oldest)?;
    }
    for number in (1..KEEP_ASIDE).rev() {
        if place(number).exists() {
            fs::rename(place(number), place(number + 1))?;
        }
    }
    Ok(place(1))
}

// -- snapshots --

fn snapshot_path(dir: &Path, day: u32) -> PathBuf {
    dir.join("snapshots").join(format!("{}.backup", date(day)))
}

/// The power went while a snapshot was written; its name does not come again. Best effort.
fn remove_parts(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir.join("snapshots")) else { return };
    let parts = entries.filter_map(|entry| Some(entry.ok()?.path()));
    for part in parts.filter(|path| path.extension().is_some_and(|end| end == "new")) {
        let _ = fs::remove_file(part);
    }
}

fn snapshot_days(dir: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(dir.join("snapshots")) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut days: Vec<u32> =
        names.filter_map(|name| day_of(name.strip_suffix(".backup")?)).collect();
    days.sort_unstable();
    days
}

/// All but the newest; best effort.
fn drop_snapshots(dir: &Path, keep: usize) {
    let days = snapshot_days(dir);
    for old in &days[..days.len().saturating_sub(keep)] {
        let _ = fs::remove_file(snapshot_path(dir, *old));
    }
}

fn read_snapshot(dir: &Path, day: u32) -> Result<Vec<Record>, String> {
    let path = snapshot_path(dir, day);
    let length = fs::metadata(&path).map_err(|error| error.to_string())?.len();
    if length > backup::MAX_BACKUP as u64 {
        return Err(backup::BackupError::TooLarge.to_string());
    }
    let file = fs::read(&path).map_err(|error| error.to_string())?;
    backup::read(&file).map_err(|error| error.to_string())
}

fn read_newest_snapshot(dir: &Path) -> Option<(u32, Vec<Record>)> {
    let days = snapshot_days(dir).into_iter().rev();
    days.filter_map(|day| Some((day, read_snapshot(dir, day).ok()?))).next()
}

fn directory_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let entries = entries.filter_map(Result::ok);
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => directory_bytes(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}

/// The date (UTC, as `2026-11-21`) of a [`Grain::Day`] period.
pub fn date(day: u32) -> String {
    let start = u64::from(day) * Grain::Day.seconds();
    utc(start).format(format_description!("[year]-[month]-[day]")).expect("a date has all of it")
}

/// The [`Grain::Day`] period of a date as [`date`] writes it.
fn day_of(text: &str) -> Option<u32> {
    let mut parts = text.splitn(3, '-').map(|part| part.parse::<u16>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date_of = Date::from_calendar_date(year.into(), month, u8::try_from(day).ok()?).ok()?;
    let days = (date_of - OffsetDateTime::UNIX_EPOCH.date()).whole_days();
    let period = u32::try_from(days).ok()?;
    (date(period) == text).then_some(period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (day, text) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (20_778, "2026-11-21"),
            (47_481, "2099-12-31"),
        ] {
            assert_eq!(date(day), text);
        }
        for day in 0..60_000 {
            assert_eq!(day_of(&date(day)), Some(day));
        }
        // A wrong clock is no reason to fail.
        assert_eq!(date(u32::MAX), "9999-12-31");
        for bad in ["2026-02-30", "2026-13-01", "x", "2026-1-1", "-1-1-1", ""] {
            assert_eq!(day_of(bad), None, "{bad}");
        }
    }
}
