//! Housekeeping for the card: its free space, the amount written, and copies of the ledger
//! elsewhere.
//!
//! Reading the card may hang if the card fails, and a copy may hang if a network share is gone.
//! Each uses at most one thread of the pool, and nothing waits for it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock::Now;
use crate::ledger::disk_health::{self, Card, READ_EVERY};
use crate::ledger::totals::LedgerEvent;
use crate::ledger::transfer::{self, Copied};
use crate::safe_start::{self, WORKS_AFTER};
use crate::status::{EventKind, Level};

use super::{Event, State};

/// Time from the start to the first check of the copy; the ledger has been read by then.
const COPY_AFTER: Duration = Duration::from_secs(120);
/// How often to check whether the newest snapshot has been copied: a stick may have been plugged
/// in.
const COPY_EVERY: Duration = Duration::from_secs(3600);

/// The state of the card and of the copies.
pub(super) struct Housekeeping {
    data: PathBuf,
    card: Card,
    read_at: Option<Instant>,
    copy_at: Option<Instant>,
    /// When the settings will have worked long enough to be kept.
    works_at: Option<Instant>,
    /// When the newest snapshot was last seen at its destination, Unix seconds.
    pub copied_at: Option<u64>,
    /// Why it is not there; empty if it is.
    pub copy_error: String,
}

/// The result of a pool thread.
#[derive(Debug)]
pub(super) enum Found {
    /// The card was read.
    Card(std::io::Result<disk_health::Reading>),
    /// The newest snapshot was copied; or the reason why not.
    Copy(Result<Copied, String>),
}

impl Housekeeping {
    /// Nothing is known yet.
    pub(super) fn new(now: Now, data: &Path) -> Housekeeping {
        Housekeeping {
            data: data.to_owned(),
            card: Card::default(),
            read_at: Some(now.mono),
            copy_at: Some(now.mono + COPY_AFTER),
            works_at: Some(now.mono + WORKS_AFTER),
            copied_at: None,
            copy_error: String::new(),
        }
    }

    /// When there is something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [self.read_at, self.copy_at, self.works_at].into_iter().flatten().min()
    }

    /// Bytes that Soloist itself writes per day, extrapolated at first; `None` in the first ten
    /// minutes.
    pub(super) fn own_written_day(&self) -> Option<u64> {
        let (bytes, seconds) = self.card.own_written()?;
        (seconds >= 600).then(|| (bytes as f64 * 86_400.0 / seconds as f64) as u64)
    }
}

impl State {
    pub(super) fn tick_housekeeping(&mut self, now: Now) {
        if self.housekeeping.read_at.is_some_and(|at| now.mono >= at) {
            self.housekeeping.read_at = None;
            let (data, queue) = (self.housekeeping.data.clone(), self.queue.clone());
            blocking::unblock(move || {
                queue
                    .send_blocking(Event::Housekeeping(Found::Card(disk_health::read(&data))))
                    .ok();
            })
            .detach();
        }
        if self.housekeeping.works_at.is_some_and(|at| now.mono >= at) {
            self.housekeeping.works_at = None;
            self.keep_settings();
        }
        if self.housekeeping.copy_at.is_some_and(|at| now.mono >= at) {
            let Some(to) = self.config.data.copy_to.clone() else {
                self.housekeeping.copy_at = Some(now.mono + COPY_EVERY);
                return;
            };
            self.housekeeping.copy_at = None;
            let (data, queue) = (self.housekeeping.data.clone(), self.queue.clone());
            let settings = self.owner.source.as_ref().map(|source| source.file.clone());
            blocking::unblock(move || {
                let copied = transfer::copy_newest(&data, settings.as_deref(), &to);
                let copied = copied.map_err(|error| format!("{}: {error}", to.display()));
                queue.send_blocking(Event::Housekeeping(Found::Copy(copied))).ok();
            })
            .detach();
        }
    }

    /// Keeps settings that have worked, for a safe start.
    fn keep_settings(&self) {
        let Some(source) = self.owner.source.clone().filter(|s| s.instead_why.is_none()) else {
            return;
        };
        let running = self.config.clone();
        blocking::unblock(move || match safe_start::keep(&source.flags, &source.file, &running) {
            Ok(true) => log::info!("These settings work: a copy is kept for a safe start."),
            Ok(false) => {}
            Err(error) => log::warn!("The settings that work could not be copied: {error}"),
        })
        .detach();
    }

    /// The settings were reloaded: they must prove again that they work.
    pub(super) fn new_settings(&mut self, now: Now) {
        self.housekeeping.works_at = Some(now.mono + WORKS_AFTER);
        if let Some(source) = &mut self.owner.source {
            source.instead_why = None;
        }
    }

    /// The destination of the copies changed: they are checked soon.
    pub(super) fn reload_housekeeping(&mut self, now: Now) {
        self.housekeeping.copied_at = None;
        self.housekeeping.copy_error.clear();
        if self.housekeeping.copy_at.is_some() {
            self.housekeeping.copy_at = Some(now.mono);
        }
    }

    pub(super) fn cared(&mut self, now: Now, found: Found) {
        match found {
            Found::Card(reading) => {
                self.housekeeping.read_at = Some(now.mono + READ_EVERY);
                let Ok(reading) = reading else { return };
                if let Some(words) = self.housekeeping.card.reading(now, reading) {
                    self.tell(now, EventKind::System, Level::Warning, words);
                    self.ledger_event(now, LedgerEvent::Shrink);
                }
            }
            Found::Copy(Ok(copied)) => {
                self.housekeeping.copy_at = Some(now.mono + COPY_EVERY);
                self.housekeeping.copied_at = Some(now.unix);
                self.housekeeping.copy_error.clear();
                if copied.written {
                    let text = format!("The ledger was copied to {}.", copied.path.display());
                    self.tell(now, EventKind::System, Level::Info, text);
                }
            }
            Found::Copy(Err(why)) => {
                self.housekeeping.copy_at = Some(now.mono + COPY_EVERY);
                if self.housekeeping.copy_error != why {
                    let text = format!("The ledger was not copied to {why}.");
                    self.tell(now, EventKind::System, Level::Warning, text);
                    self.housekeeping.copy_error = why;
                }
            }
        }
    }
}
