//! The guarded opening: a child process opens the ledger first, with a time limit.
//!
//! sled 0.34 can panic or hang on a damaged file, and a panic ends the daemon. So the daemon lets
//! `soloist ledger check --repair` do it first ([`guard`]); when the child dies or takes too long,
//! its marker makes the next opening set the cache aside unread. Mining never waits for any of it.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use super::store::{Store, StoreError, date};
use super::totals::Ledger;
use crate::clock::Now;

/// The child's time: a sound ledger of ten years opens in well under a second on a Pi Zero.
pub const LIMIT: Duration = Duration::from_secs(8);
/// The exit code of a check that found damage (and, with `--repair`, mended it).
pub const DAMAGED: u8 = 1;
/// The exit code when there is nothing to read or write on, or another Soloist runs.
pub const UNUSABLE: u8 = 2;

/// The arguments of `soloist ledger check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check<'a> {
    /// The data directory.
    pub data: &'a Path,
    /// Set aside what is damaged and rebuild; otherwise a copy is looked at and nothing changed.
    pub repair: bool,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Records that could be read.
    pub records: usize,
    /// Length of the journal in bytes.
    pub journal_bytes: u64,
    /// What was wrong, in sentences.
    pub notes: Vec<String>,
    /// The snapshots and whether they can be restored.
    pub snapshots: Vec<(u32, Result<(), String>)>,
}

/// Opens the ledger as the daemon would, and closes it.
pub fn check(check: &Check<'_>) -> Result<CheckReport, StoreError> {
    let doing = "copy the ledger to look at it";
    let copy;
    let data = if check.repair {
        check.data
    } else {
        copy = Copy::of(check.data).map_err(|source| StoreError::Io { doing, source })?;
        &copy.0
    };
    let snapshots = Store::snapshots(data);
    let (store, opened) = Store::open_in_child(data)?;
    store.close();
    if check.repair && !opened.notes.is_empty() {
        // The daemon's own opening finds all in order and would not know.
        let doing = "leave word for the daemon";
        Store::leave_notes(data, &opened.notes)
            .map_err(|source| StoreError::Io { doing, source })?;
    }
    Ok(CheckReport {
        records: opened.records.len(),
        journal_bytes: opened.journal_bytes,
        notes: opened.notes,
        snapshots,
    })
}

/// `soloist ledger check [--repair]`: prints what it finds; exit code 0 when all is well,
/// [`DAMAGED`] or [`UNUSABLE`].
pub fn run(arguments: &Check<'_>, now: Now) -> ExitCode {
    let report = match check(arguments) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("The ledger cannot be used: {error}.");
            return ExitCode::from(UNUSABLE);
        }
    };
    println!("{} records, {} bytes of journal.", report.records, report.journal_bytes);
    let mut sound = report.notes.is_empty();
    for (day, result) in &report.snapshots {
        match result {
            Ok(()) => println!("Snapshot of {}: can be restored.", date(*day)),
            Err(why) => {
                sound = false;
                println!("Snapshot of {}: {why}.", date(*day));
            }
        }
    }
    report.notes.iter().for_each(|note| println!("{note}"));
    if let Some((day, records)) = Store::newest_snapshot(arguments.data) {
        let ledger = Ledger::replay(now, &records);
        println!(
            "Restore drill with the snapshot of {}: {} workers, {} shares, {} blocks.",
            date(day),
            ledger.workers().count(),
            ledger.total().totals().ever.accepted,
            ledger.total().totals().blocks,
        );
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) }
}

/// How the child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// It opened and closed the ledger. Whatever was damaged has been set aside and told.
    Opened {
        /// What it said.
        words: String,
    },
    /// It found nothing to open on; the daemon's own opening will say why.
    Unusable {
        /// What it said.
        words: String,
    },
    /// It died or took too long, and was ended: the cache will be set aside unread.
    Broken {
        /// How.
        words: String,
    },
    /// The child could not be started; the daemon opens the ledger without it.
    NotStarted {
        /// The system's words.
        words: String,
    },
}

/// Lets `exe ledger check --repair --data <data>` open the ledger first and waits for it at most
/// `limit`. Blocks: call it on a pool thread, before [`Store::open`].
pub fn guard(exe: &Path, data: &Path, limit: Duration) -> Guarded {
    let child = Command::new(exe)
        .args(["ledger", "check", "--repair", "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return Guarded::NotStarted { words: error.to_string() },
    };
    let start = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if start.elapsed() < limit => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) => break None,
            Err(error) => return Guarded::NotStarted { words: error.to_string() },
        }
    };
    let words = match status {
        Some(status) if status.code() == Some(UNUSABLE.into()) => {
            return Guarded::Unusable { words: status.to_string() };
        }
        Some(status) if matches!(status.code(), Some(0 | 1)) => {
            return Guarded::Opened { words: status.to_string() };
        }
        Some(status) => format!("the check of the ledger died ({status})"),
        None => {
            // A process that hangs in the disk cannot be killed at once; we do not wait for it.
            let _ = child.kill();
            let ended = (0..100).any(|_| {
                std::thread::sleep(Duration::from_millis(10));
                matches!(child.try_wait(), Ok(Some(_)))
            });
            let still = if ended { "" } else { " and could not be ended" };
            format!("the check of the ledger took longer than {} s{still}", limit.as_secs())
        }
    };
    match Store::distrust_cache(data) {
        Ok(()) => Guarded::Broken { words },
        Err(error) => Guarded::Unusable { words: format!("{words}; {error}") },
    }
}

/// A copy of a ledger directory beside it, removed when dropped.
struct Copy(std::path::PathBuf);

impl Copy {
    fn of(data: &Path) -> std::io::Result<Copy> {
        let name = format!("soloist-check-{}", std::process::id());
        let copy = Copy(std::env::temp_dir().join(name));
        copy_directory(&data.join("ledger"), &copy.0.join("ledger"), 0)?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn copy_directory(from: &Path, to: &Path, depth: u32) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_name() == "aside" {
            continue;
        }
        let kind = entry.file_type()?;
        let to = to.join(entry.file_name());
        if kind.is_dir() && depth < 4 {
            copy_directory(&entry.path(), &to, depth + 1)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
