//! Answers rendered from one snapshot, each at most once.

use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Instant;

use hyper::body::Bytes;

use crate::status::{self, Judgement, Snapshot, html, json};

/// One snapshot and what was rendered from it so far.
pub struct Rendered {
    /// When the snapshot was taken.
    pub at: Instant,
    /// The facts.
    pub snapshot: Rc<Snapshot>,
    /// The verdict.
    pub judgement: Judgement,
    page: OnceCell<Bytes>,
    status: OnceCell<Bytes>,
    miners: OnceCell<Bytes>,
    metrics: OnceCell<Bytes>,
    sections: OnceCell<Rc<[html::Section]>>,
}

impl Rendered {
    /// Judges the snapshot; the rest waits until it is asked for.
    pub fn new(snapshot: Rc<Snapshot>, at: Instant) -> Rendered {
        Rendered {
            at,
            judgement: status::judge(&snapshot),
            snapshot,
            page: OnceCell::new(),
            status: OnceCell::new(),
            miners: OnceCell::new(),
            metrics: OnceCell::new(),
            sections: OnceCell::new(),
        }
    }

    /// The page.
    pub fn page(&self) -> Bytes {
        self.page.get_or_init(|| html::page(&self.snapshot, &self.judgement).into()).clone()
    }

    /// `/api/status`.
    pub fn status(&self) -> Bytes {
        self.status.get_or_init(|| json::status(&self.snapshot, &self.judgement).into()).clone()
    }

    /// `/api/miners`.
    pub fn miners(&self) -> Bytes {
        self.miners.get_or_init(|| json::miners(&self.snapshot).into()).clone()
    }

    /// `/metrics`.
    pub fn metrics(&self) -> Bytes {
        self.metrics
            .get_or_init(|| status::metrics::metrics(&self.snapshot, &self.judgement).into())
            .clone()
    }

    /// The page's parts that change.
    pub fn sections(&self) -> Rc<[html::Section]> {
        self.sections.get_or_init(|| html::sections(&self.snapshot, &self.judgement).into()).clone()
    }
}
