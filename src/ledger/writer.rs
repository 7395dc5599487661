//! Carries out the ledger's orders: opens the files, writes batches, and retries after failures.
//!
//! A shell without policy. It blocks: move it to a pool thread for each call, and back afterwards.
//!
//! ```no_run
//! # use soloist::{clock::Now, ledger::{writer::LedgerWriter, totals::{Ledger, LedgerEvent, LedgerOutput}}};
//! # fn now() -> Now { Now { mono: std::time::Instant::now(), unix: 0 } }
//! let mut writer = LedgerWriter::new("/var/lib/soloist".into(), std::env::current_exe().ok());
//! let mut ledger = Ledger::new(now());
//! let mut out = Vec::new();
//! ledger.handle(now(), LedgerEvent::Tick, &mut out);
//! while let Some(output) = out.pop() {
//!     if let Some(answer) = writer.work(&output) {
//!         ledger.handle(now(), answer, &mut out);
//!     }
//! }
//! ```

use std::path::PathBuf;

use super::check::{self, Guarded};
use super::store::{Store, StoreError};
use super::totals::{Batch, LedgerEvent, LedgerOutput, Opened, SaveReport};

/// Holds the open store, if there is one.
#[derive(Debug)]
pub struct LedgerWriter {
    data: PathBuf,
    exe: Option<PathBuf>,
    in_process: bool,
    keep_free: Option<u64>,
    store: Option<Store>,
}

impl LedgerWriter {
    /// For the data directory `data`. `exe` is this program, which starts itself again to open the
    /// cache; without it the ledger goes without its cache. Does nothing yet.
    pub fn new(data: PathBuf, exe: Option<PathBuf>) -> LedgerWriter {
        LedgerWriter { data, exe, in_process: false, keep_free: None, store: None }
    }

    /// Opens the cache in this process, unguarded: for tests.
    pub fn in_process(data: PathBuf) -> LedgerWriter {
        LedgerWriter { in_process: true, ..LedgerWriter::new(data, None) }
    }

    /// Does what an output asks for and gives the event to hand back; `None` for outputs that are
    /// not for the card.
    pub fn work(&mut self, output: &LedgerOutput) -> Option<LedgerEvent> {
        match output {
            LedgerOutput::Open => Some(match self.open() {
                Ok(opened) => LedgerEvent::Opened(Box::new(opened)),
                Err(error) => LedgerEvent::OpenFailed(error.to_string()),
            }),
            LedgerOutput::Save(batch) => {
                let result = self.save(batch).map_err(|error| error.to_string());
                Some(LedgerEvent::Saved(result))
            }
            LedgerOutput::NewBest(_) => None,
        }
    }

    /// Leaves another amount of space free than [`super::store::KEEP_FREE`]; for tests on small
    /// file systems. Takes effect at the next opening.
    pub fn keep_free(&mut self, bytes: u64) {
        self.keep_free = Some(bytes);
    }

    fn open(&mut self) -> Result<Opened, StoreError> {
        let (mut told, mut cached, mut exe) = (None, None, self.exe.as_deref());
        if let Some(program) = exe {
            match check::guard(program, &self.data, check::LIMIT) {
                Guarded::Opened(found) => cached = Some(found),
                Guarded::Unusable => {}
                Guarded::Broken(words) => told = Some(format!("On opening, {words}.")),
                Guarded::NotStarted(words) => {
                    exe = None;
                    told = Some(without_cache(&words));
                }
            }
        } else if !self.in_process {
            told = Some(without_cache("the program's own file is not known"));
        }
        let (mut store, mut opened) = match self.in_process {
            true => Store::open(&self.data)?,
            false => Store::open_beside(&self.data, exe, cached)?,
        };
        if let Some(bytes) = self.keep_free {
            store.keep_free(bytes);
        }
        opened.notes.extend(told);
        self.store = Some(store);
        Ok(opened)
    }

    fn save(&mut self, batch: &Batch) -> Result<SaveReport, StoreError> {
        let store = self.store.as_mut().ok_or(StoreError::Vanished)?;
        // After an error the store is kept: the next batch holds the whole state and writes the
        // journal's file anew.
        let report = store.save(batch)?;
        if batch.close
            && let Some(store) = self.store.take()
        {
            store.close();
        }
        Ok(report)
    }
}

fn without_cache(why: &str) -> String {
    format!(
        "No process can be started to open the ledger's cache ({why}). It is left off until the \
         next start; the journal keeps what counts."
    )
}
