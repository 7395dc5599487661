//! The file that lets counted shares survive a crash of the daemon: see [`crate::ledger::share_log`].
//!
//! It is in memory, beside that of the jobs. A share costs one system call. What is on the card leaves the
//! file, every ten minutes.

use std::io;
use std::path::Path;

use crate::clock::Now;
use crate::fsutil;
use crate::ledger::share_log::{self, LoggedShare};
use crate::ledger::totals::{LedgerEvent, WorkerId};
use crate::os;

use super::State;
use super::memory_file::{Left, MemoryFile};

/// Its name.
const FILE: &str = "shares";

/// Bytes of the file: what comes after that would be lost by a crash, until the card has what is in it.
const FILE_MAX: u64 = 4 << 20;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct ShareFile {
    file: Option<MemoryFile>,
    /// Of the run before, until it is known how many of them are on the card.
    before: Vec<LoggedShare>,
    /// Of this run, counted before the ledger was read.
    early: Vec<LoggedShare>,
    /// The ledger was read: each share has a number.
    numbered: bool,
    /// So many of all shares are on the card, as far as the file knows.
    saved: u64,
}

impl ShareFile {
    /// Reads what the run before left in `dir`, and goes on with that file.
    pub(super) fn open(dir: Option<&Path>) -> ShareFile {
        let Some(dir) = dir else { return ShareFile::default() };
        match open(dir) {
            Ok((file, before)) => ShareFile { file: Some(file), before, ..ShareFile::default() },
            Err(error) => {
                let dir = dir.display();
                log::warn!("{dir}: {error}: a crash would lose the shares of ten minutes");
                ShareFile::default()
            }
        }
    }

    fn append(&mut self, share: &LoggedShare) {
        let Some(file) = self.file.as_mut().filter(|file| file.size() < FILE_MAX) else { return };
        let mut record = Vec::with_capacity(160);
        share_log::write(share, &mut record);
        if let Err(error) = file.append(&record) {
            self.give_up(&error);
        }
    }

    /// Begins the file anew with these shares.
    fn begin_anew(&mut self, shares: &[LoggedShare]) {
        let Some(file) = &mut self.file else { return };
        if let Err(error) = file.begin_anew(&records(shares)) {
            self.give_up(&error);
        }
    }

    fn give_up(&mut self, error: &io::Error) {
        if let Some(file) = self.file.take() {
            file.give_up(error, "a crash would lose shares");
        }
    }
}

fn open(dir: &Path) -> io::Result<(MemoryFile, Vec<LoggedShare>)> {
    let boot_id = os::boot_id();
    let before = match MemoryFile::left(dir, FILE, 2 * FILE_MAX)? {
        Left::Bytes(bytes) => share_log::read(&boot_id, &bytes),
        Left::Nothing | Left::Unreadable => Vec::new(),
    };
    // As it was read: what was behind a damaged record would be read by nobody.
    let file = MemoryFile::begin(dir, FILE, share_log::header(&boot_id), &records(&before))?;
    Ok((file, before))
}

fn records(shares: &[LoggedShare]) -> Vec<u8> {
    let mut bytes = Vec::new();
    shares.iter().for_each(|share| share_log::write(share, &mut bytes));
    bytes
}

impl State {
    /// Counts a share, and notes it for the case of a crash.
    pub(super) fn count_share(&mut self, now: Now, worker: WorkerId, event: LedgerEvent) {
        let logged = self.logged(worker, &event);
        let before = self.ledger.core.shares();
        self.ledger_event(now, event);
        let counted = self.ledger.core.shares();
        let Some(logged) = logged.filter(|_| counted > before) else { return };
        let number = self.share_file.numbered.then_some(counted);
        let logged = LoggedShare { number, ..logged };
        self.share_file.append(&logged);
        if !self.share_file.numbered {
            self.share_file.early.push(logged);
        }
    }

    fn logged(&self, worker: WorkerId, event: &LedgerEvent) -> Option<LoggedShare> {
        let (refused, difficulty, actual, height) = match *event {
            LedgerEvent::Share { difficulty, actual, height, .. } => {
                (None, difficulty, actual, height)
            }
            LedgerEvent::Reject { reason, actual, height, .. } => {
                (Some(reason), 0.0, actual, height)
            }
            _ => return None,
        };
        self.share_file.file.as_ref()?;
        let known = self.ledger.core.get(worker)?;
        let (worker, device) = (known.name.clone(), known.device.clone());
        Some(LoggedShare { number: None, worker, device, refused, difficulty, actual, height })
    }

    /// The ledger was read: what the run before has counted and the card does not have is counted.
    /// `early` shares were counted in this run before that.
    pub(super) fn count_missing_shares(&mut self, now: Now, early: u64) {
        if self.share_file.numbered {
            return;
        }
        self.share_file.numbered = true;
        let on_card = self.ledger.core.shares().saturating_sub(early);
        let before = std::mem::take(&mut self.share_file.before);
        let missing = share_log::missing(before, on_card);
        for share in &missing {
            let worker = self.ledger.core.worker(now, &share.worker, &share.device);
            let (difficulty, actual, height) = (share.difficulty, share.actual, share.height);
            self.ledger_event(
                now,
                match share.refused {
                    None => LedgerEvent::Share { worker, difficulty, actual, height },
                    Some(reason) => LedgerEvent::Reject { worker, reason, actual, height },
                },
            );
        }
        if !missing.is_empty() {
            log::info!("shares of the last run that are counted now: {}", missing.len());
        }
        let mut all = std::mem::take(&mut self.share_file.early);
        all.extend(missing);
        for (share, number) in all.iter_mut().zip(on_card + 1..) {
            share.number = Some(number);
        }
        self.share_file.saved = on_card;
        self.share_file.begin_anew(&all);
    }

    /// The card was written: what it has leaves the file.
    pub(super) fn forget_saved_shares(&mut self) {
        let saved = self.ledger.core.saved_shares();
        if !self.share_file.numbered || saved <= self.share_file.saved {
            return;
        }
        self.share_file.saved = saved;
        let Some(file) = &self.share_file.file else { return };
        let bytes = match fsutil::read_bounded(file.path(), 2 * FILE_MAX) {
            Ok(bytes) => bytes,
            Err(error) => return self.share_file.give_up(&error),
        };
        let left = share_log::missing(share_log::read(&os::boot_id(), &bytes), saved);
        self.share_file.begin_anew(&left);
    }
}
