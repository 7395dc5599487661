//! The guarded opening: a child process opens the ledger first, with a time limit.
//!
//! sled 0.34 can panic or hang on a damaged file. So the daemon lets
//! `soloist ledger check --repair --hand-over` open it ([`guard`]) and takes from it what the cache
//! holds; when the child dies or takes too long, the cache is set aside unread. Mining never waits
//! for any of it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use super::cache::Cached;
use super::child::{self, ChildError};
use super::store::{Store, StoreError, date, failed};
use super::totals::Ledger;
use crate::clock::Now;
use crate::exit::{Exit, complain, say};

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
    /// For the daemon: write what the cache holds to standard output, and nothing else.
    pub hand_over: bool,
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
    /// What the cache held, as [`child::read_message`] reads it.
    pub handed_over: Vec<u8>,
}

/// Opens the ledger as the daemon would, and closes it.
pub fn check(check: &Check<'_>) -> Result<CheckReport, StoreError> {
    let copy;
    let data = if check.repair {
        check.data
    } else {
        copy = Copy::of(check.data).map_err(failed("copy the ledger to look at it"))?;
        &copy.0
    };
    let snapshots = Store::snapshots(data);
    let (store, opened) = Store::open(data)?;
    store.close();
    let handed_over = match check.hand_over {
        true => child::message(&opened.cached.entries, opened.cached.sequence),
        false => Vec::new(),
    };
    if check.repair && !opened.notes.is_empty() {
        // The daemon's own opening finds all in order and would not know.
        Store::leave_notes(data, &opened.notes).map_err(failed("leave word for the daemon"))?;
    }
    Ok(CheckReport {
        records: opened.records.len(),
        journal_bytes: opened.journal_bytes,
        notes: opened.notes,
        snapshots,
        handed_over,
    })
}

/// `soloist ledger check [--repair]`: prints what it finds; exit code 0 when all is well,
/// [`DAMAGED`] or [`UNUSABLE`].
pub fn run(arguments: &Check<'_>, now: Now) -> ExitCode {
    if arguments.hand_over {
        child::live_shortly();
    }
    let report = match check(arguments) {
        Ok(report) => report,
        Err(error) => {
            complain(format_args!("The ledger cannot be used: {error}."));
            return ExitCode::from(UNUSABLE);
        }
    };
    let mut sound = report.notes.is_empty();
    if arguments.hand_over {
        let mut out = std::io::stdout().lock();
        let written = out.write_all(&report.handed_over).and_then(|()| out.flush());
        return match (written, sound) {
            (Err(_), _) => ExitCode::from(UNUSABLE),
            (Ok(()), true) => ExitCode::SUCCESS,
            (Ok(()), false) => ExitCode::from(DAMAGED),
        };
    }
    say(format_args!("{} records, {} bytes of journal.", report.records, report.journal_bytes));
    for (day, result) in &report.snapshots {
        match result {
            Ok(()) => say(format_args!("Snapshot of {}: can be restored.", date(*day))),
            Err(why) => {
                sound = false;
                say(format_args!("Snapshot of {}: {why}.", date(*day)));
            }
        }
    }
    report.notes.iter().for_each(say);
    if let Some((day, records)) = Store::newest_snapshot(arguments.data) {
        let ledger = Ledger::replay(now, &records);
        say(format_args!(
            "Restore drill with the snapshot of {}: {} workers, {} shares, {} blocks.",
            date(day),
            ledger.workers().count(),
            ledger.total().totals().ever.accepted,
            ledger.total().totals().blocks,
        ));
    }
    if sound { Exit::Ok.if_heard().into() } else { ExitCode::from(DAMAGED) }
}

/// How the child ended.
#[derive(Debug)]
pub enum Guarded {
    /// It opened and closed the ledger, and this is what the cache holds. Whatever was damaged has
    /// been set aside and told.
    Opened(Cached),
    /// It found nothing to open on; the daemon's own opening will say why.
    Unusable,
    /// It died or took too long, in words, and was ended: the cache will be set aside unread.
    Broken(String),
    /// The child could not be started, in the system's words: the cache stays unread.
    NotStarted(String),
}

/// Lets `exe ledger check --repair --hand-over --data <data>` open the ledger first and waits for it
/// at most `limit`. Blocks: call it on a pool thread, before [`Store::open_beside`].
pub fn guard(exe: &Path, data: &Path, limit: Duration) -> Guarded {
    let output = child::memory(&[]).and_then(|file| Ok((file.try_clone()?, file)));
    let (mut output, given) = match output {
        Ok(files) => files,
        Err(error) => return Guarded::NotStarted(error.to_string()),
    };
    let mut command = Command::new(exe);
    command.args(["ledger", "check", "--repair", "--hand-over", "--data"]).arg(data);
    command.stdin(Stdio::null()).stdout(given).stderr(Stdio::null());
    let words = match child::wait(&mut command, limit) {
        Ok(status) if status.code() == Some(UNUSABLE.into()) => return Guarded::Unusable,
        Ok(status) if matches!(status.code(), Some(0 | 1)) => {
            let message = child::whole(&mut output).ok();
            match message.and_then(|message| child::read_message(&message)) {
                Some(cached) => return Guarded::Opened(cached),
                None => "the check of the ledger handed nothing over".to_owned(),
            }
        }
        Ok(status) => format!("the check of the ledger died ({status})"),
        Err(ChildError::NotStarted(error)) => return Guarded::NotStarted(error.to_string()),
        Err(error) => format!("the check of the ledger did not end: {error}"),
    };
    match Store::distrust_cache(data) {
        Ok(()) => Guarded::Broken(words),
        Err(_) => Guarded::Unusable,
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
