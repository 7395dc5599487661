//! What explains a dent in a chart: blocks, starts, other leaders, and times without work. The ledger
//! keeps them, also those of earlier runs.

use crate::clock::Now;
use crate::ledger::record::{Dent, FoundBlock, Mark, Run};
use crate::status::{MarkKind, MarkView, format};

use super::State;

impl State {
    /// The marks of a chart with these blocks, the oldest first.
    pub(super) fn marks(&self, now: Now, is_shown: impl Fn(&FoundBlock) -> bool) -> Vec<MarkView> {
        let ledger = &self.ledger.core;
        let blocks = ledger.blocks().filter(|block| is_shown(block)).map(of_block);
        let started = start(now.date_of(self.started.mono), true);
        let starts = ledger.runs().map(|run: &Run| start(run.since, run.known));
        let dents = ledger.marks().map(of_dent);
        let mut marks: Vec<_> = blocks.chain(starts).chain([started]).chain(dents).collect();
        marks.sort_by_key(|mark| mark.at);
        marks
    }
}

fn of_block(block: &FoundBlock) -> MarkView {
    MarkView {
        at: block.unix,
        until: None,
        kind: MarkKind::Block,
        text: format!("block {} solved", format::thousands(block.height.into())),
    }
}

/// Of a run whose clock was never set the dates are told to be no better than they are.
fn start(at: u64, known: bool) -> MarkView {
    let text = match known {
        true => "Soloist started",
        false => {
            "Soloist started; its clock was not set then, so this run is dated about right at best"
        }
    };
    MarkView { at, until: None, kind: MarkKind::Start, text: text.to_owned() }
}

fn of_dent(mark: &Mark) -> MarkView {
    let (kind, text) = match mark.kind {
        Dent::Failover => (MarkKind::Failover, format!("node {} took the lead", mark.about)),
        Dent::Outage => (MarkKind::Outage, "no work for the miners".to_owned()),
    };
    let until = (mark.until > 0).then_some(mark.until);
    MarkView { at: mark.unix, until, kind, text }
}
