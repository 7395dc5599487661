//! Care for the card: how full it is, what is written, and copies of the ledger elsewhere.
//!
//! Both may hang, the one on a dying card, the other on a share whose server is gone: each has at
//! most one thread of the pool, and nobody waits for it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock::Now;
use crate::ledger::card::{self, Card, CardHealth, READ_EVERY};
use crate::ledger::totals::LedgerEvent;
use crate::ledger::transfer::{self, Copied};
use crate::safe_start::{self, WORKS_AFTER};
use crate::status::{EventKind, Level};

use super::{Event, State};

/// The first copy is looked after so long after the start, when the ledger has been read.
const COPY_AFTER: Duration = Duration::from_secs(120);
/// How often it is looked whether the newest snapshot has been copied: a stick may be plugged in.
const COPY_EVERY: Duration = Duration::from_secs(3600);

/// What is known of the card and of the copies.
pub struct Care {
    data: PathBuf,
    card: Card,
    read_at: Option<Instant>,
    copy_at: Option<Instant>,
    /// When the settings will have worked for long enough.
    works_at: Option<Instant>,
    /// When the newest snapshot was last seen to stand at its place, Unix seconds.
    pub copied_at: Option<u64>,
    /// Why it does not; empty when it does.
    pub copy_error: String,
}

/// What a pool thread found.
#[derive(Debug)]
pub enum Found {
    /// The card was read.
    Card(std::io::Result<card::Reading>),
    /// The newest snapshot was copied, or why not.
    Copy(Result<Copied, String>),
}

impl Care {
    /// Nothing is known yet.
    pub fn new(now: Now, data: &Path) -> Care {
        Care {
            data: data.to_owned(),
            card: Card::new(),
            read_at: Some(now.mono),
            copy_at: Some(now.mono + COPY_AFTER),
            works_at: Some(now.mono + WORKS_AFTER),
            copied_at: None,
            copy_error: String::new(),
        }
    }

    /// When there is something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.read_at, self.copy_at, self.works_at].into_iter().flatten().min()
    }

    /// How the card is; `None` before it was read.
    pub fn health(&self) -> Option<CardHealth> {
        self.card.health()
    }

    /// What we alone write in a day, extrapolated at first; `None` in the first ten minutes.
    pub fn own_written_day(&self) -> Option<u64> {
        let (bytes, seconds) = self.health()?.own_written;
        (seconds >= 600).then(|| (bytes as f64 * 86_400.0 / seconds as f64) as u64)
    }
}

impl State {
    pub(super) fn tick_care(&mut self, now: Now) {
        if self.care.read_at.is_some_and(|at| now.mono >= at) {
            self.care.read_at = None;
            let (data, queue) = (self.care.data.clone(), self.queue.clone());
            blocking::unblock(move || {
                queue.send_blocking(Event::Care(Found::Card(card::read(&data)))).ok();
            })
            .detach();
        }
        if self.care.works_at.is_some_and(|at| now.mono >= at) {
            self.care.works_at = None;
            self.keep_settings();
        }
        if self.care.copy_at.is_some_and(|at| now.mono >= at) {
            let Some(to) = self.config.data.copy_to.clone() else {
                self.care.copy_at = Some(now.mono + COPY_EVERY);
                return;
            };
            self.care.copy_at = None;
            let (data, queue) = (self.care.data.clone(), self.queue.clone());
            let settings = self.owner.source.as_ref().map(|source| source.file.clone());
            blocking::unblock(move || {
                let copied = transfer::copy_newest(&data, settings.as_deref(), &to);
                let copied = copied.map_err(|error| format!("{}: {error}", to.display()));
                queue.send_blocking(Event::Care(Found::Copy(copied))).ok();
            })
            .detach();
        }
    }

    /// Settings that have worked are kept for a safe start.
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

    /// Settings were read anew: they have to show that they work.
    pub(super) fn new_settings(&mut self, now: Now) {
        self.care.works_at = Some(now.mono + WORKS_AFTER);
        if let Some(source) = &mut self.owner.source {
            source.instead_why = None;
        }
    }

    /// Another place for the copies: they are looked after soon.
    pub(super) fn reload_care(&mut self, now: Now) {
        self.care.copied_at = None;
        self.care.copy_error.clear();
        if self.care.copy_at.is_some() {
            self.care.copy_at = Some(now.mono);
        }
    }

    pub(super) fn cared(&mut self, now: Now, found: Found) {
        match found {
            Found::Card(reading) => {
                self.care.read_at = Some(now.mono + READ_EVERY);
                let Ok(reading) = reading else { return };
                if self.care.card.reading(now, reading) {
                    let words = self.care.health().map(|health| health.words).unwrap_or_default();
                    self.tell(now, EventKind::System, Level::Warning, words);
                    self.ledger_event(now, LedgerEvent::Shrink);
                }
            }
            Found::Copy(Ok(copied)) => {
                self.care.copy_at = Some(now.mono + COPY_EVERY);
                self.care.copied_at = Some(now.unix);
                self.care.copy_error.clear();
                if copied.written {
                    let text = format!("The ledger was copied to {}.", copied.path.display());
                    self.tell(now, EventKind::System, Level::Info, text);
                }
            }
            Found::Copy(Err(why)) => {
                self.care.copy_at = Some(now.mono + COPY_EVERY);
                if self.care.copy_error != why {
                    let text = format!("The ledger was not copied to {why}.");
                    self.tell(now, EventKind::System, Level::Warning, text);
                    self.care.copy_error = why;
                }
            }
        }
    }
}
