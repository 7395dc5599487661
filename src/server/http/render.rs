//! Answers rendered from one snapshot, each at most once.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::io::Write;
use std::rc::Rc;
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;

use crate::status::html::{self, Miners};
use crate::status::{self, HistoryView, Snapshot, Verdict, json};

/// One snapshot and what was rendered from it so far.
pub(super) struct Rendered {
    /// When the snapshot was taken.
    pub at: Instant,
    /// The facts.
    pub snapshot: Rc<Snapshot>,
    /// The verdict.
    pub verdict: Verdict,
    page: OnceCell<Packed>,
    /// With all miners of a long list.
    long_page: OnceCell<Packed>,
    status: OnceCell<Packed>,
    miners: OnceCell<Packed>,
    metrics: OnceCell<Packed>,
    sections: OnceCell<Rc<[html::Section]>>,
    long_sections: OnceCell<Rc<[html::Section]>>,
    tv_sections: OnceCell<Rc<[html::Section]>>,
    pair_sections: OnceCell<Rc<[html::Section]>>,
    /// Of the miners whose pages are open, by their ids.
    miner_sections: RefCell<HashMap<String, Rc<[html::Section]>>>,
}

impl Rendered {
    /// Judges the snapshot; the rest waits until it is asked for.
    pub(super) fn new(snapshot: Rc<Snapshot>, at: Instant) -> Rendered {
        Rendered {
            at,
            verdict: status::verdict(&snapshot),
            snapshot,
            page: OnceCell::new(),
            long_page: OnceCell::new(),
            status: OnceCell::new(),
            miners: OnceCell::new(),
            metrics: OnceCell::new(),
            sections: OnceCell::new(),
            long_sections: OnceCell::new(),
            tv_sections: OnceCell::new(),
            pair_sections: OnceCell::new(),
            miner_sections: RefCell::default(),
        }
    }

    /// The page.
    pub(super) fn page(&self, miners: Miners) -> &Packed {
        let page = match miners {
            Miners::Few => &self.page,
            Miners::All => &self.long_page,
        };
        page.get_or_init(|| Packed::new(html::page(&self.snapshot, &self.verdict, miners)))
    }

    /// `/api/status`.
    pub(super) fn status(&self) -> &Packed {
        self.status.get_or_init(|| Packed::new(json::status(&self.snapshot, &self.verdict)))
    }

    /// `/api/miners`.
    pub(super) fn miners(&self) -> &Packed {
        self.miners.get_or_init(|| Packed::new(json::miners(&self.snapshot)))
    }

    /// `/metrics`.
    pub(super) fn metrics(&self) -> &Packed {
        self.metrics
            .get_or_init(|| Packed::new(status::metrics::metrics(&self.snapshot, &self.verdict)))
    }

    /// The page's parts that change.
    pub(super) fn sections(&self, miners: Miners) -> Rc<[html::Section]> {
        let sections = match miners {
            Miners::Few => &self.sections,
            Miners::All => &self.long_sections,
        };
        let render = || html::sections(&self.snapshot, &self.verdict, miners).into();
        sections.get_or_init(render).clone()
    }

    /// The same of the view for a wall.
    pub(super) fn tv_sections(&self) -> Rc<[html::Section]> {
        let render = || html::tv_sections(&self.snapshot, &self.verdict).into();
        self.tv_sections.get_or_init(render).clone()
    }

    /// The same of the page about both boxes.
    pub(super) fn pair_sections(&self) -> Rc<[html::Section]> {
        let render = || html::pair_sections(&self.snapshot, &self.verdict).into();
        self.pair_sections.get_or_init(render).clone()
    }

    /// The same of a miner's page.
    pub(super) fn miner_sections(
        &self,
        id: &str,
        history: impl FnOnce() -> Option<HistoryView>,
    ) -> Rc<[html::Section]> {
        let mut known = self.miner_sections.borrow_mut();
        if let Some(sections) = known.get(id) {
            return sections.clone();
        }
        let history = history();
        let sections: Rc<[html::Section]> =
            html::miner_sections(&self.snapshot, &self.verdict, id, history.as_ref()).into();
        known.insert(id.to_owned(), sections.clone());
        sections
    }
}

/// A text, and the same packed for readers who can unpack it: packed at most once.
pub(super) struct Packed {
    plain: Bytes,
    gzip: OnceCell<Bytes>,
    level: u32,
}

impl Packed {
    /// Not packed yet. Level 4: a third of the time of the best level, for a thirtieth more bytes.
    pub(super) fn new(plain: impl Into<Bytes>) -> Packed {
        Packed { plain: plain.into(), gzip: OnceCell::new(), level: 4 }
    }

    /// The same for what stays as it is, and is packed once: as small as can be.
    pub(super) fn lasting(plain: impl Into<Bytes>) -> Packed {
        Packed { level: 9, ..Packed::new(plain) }
    }

    /// As it is.
    pub(super) fn plain(&self) -> Bytes {
        self.plain.clone()
    }

    /// Packed by gzip.
    pub(super) fn gzip(&self) -> Bytes {
        self.gzip
            .get_or_init(|| {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::new(self.level));
                let packed = encoder.write_all(&self.plain).and_then(|()| encoder.finish());
                packed.expect("writing to a Vec does not fail").into()
            })
            .clone()
    }
}
