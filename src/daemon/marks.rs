//! What explains a dent in a chart: other leaders, and times without work. Of this run.

use std::collections::VecDeque;
use std::time::Instant;

use crate::clock::Now;
use crate::status::{MarkKind, MarkView};

/// So many are remembered.
const KEPT: usize = 64;

/// The marks of this run, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Marks {
    list: VecDeque<Mark>,
}

#[derive(Debug)]
struct Mark {
    at: Instant,
    until: Option<Instant>,
    kind: MarkKind,
    text: String,
}

impl Marks {
    /// Another node leads.
    pub(super) fn failover(&mut self, now: Now, node: &str) {
        self.push(now, MarkKind::Failover, format!("node {node} took the lead"));
    }

    /// The miners are sent away: there is no work.
    pub(super) fn outage(&mut self, now: Now) {
        if !self.list.back().is_some_and(Mark::goes_on) {
            self.push(now, MarkKind::Outage, "no work for the miners".to_owned());
        }
    }

    /// There is work again, or for the first time.
    pub(super) fn work(&mut self, now: Now) {
        let outage = self.list.iter_mut().rev().find(|mark| mark.goes_on());
        if let Some(outage) = outage {
            outage.until = Some(now.mono);
        }
    }

    /// For the charts.
    pub(super) fn views(&self, now: Now) -> impl Iterator<Item = MarkView> {
        self.list.iter().map(move |mark| MarkView {
            at: now.date_of(mark.at),
            until: mark.until.map(|until| now.date_of(until)),
            kind: mark.kind,
            text: mark.text.clone(),
        })
    }

    fn push(&mut self, now: Now, kind: MarkKind, text: String) {
        if self.list.len() == KEPT {
            self.list.pop_front();
        }
        self.list.push_back(Mark { at: now.mono, until: None, kind, text });
    }
}

impl Mark {
    fn goes_on(&self) -> bool {
        self.kind == MarkKind::Outage && self.until.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_outage_has_an_end_and_is_told_once() {
        let start = Instant::now();
        let at = |second| Now { mono: start + Duration::from_secs(second), unix: 1_000 + second };
        let mut marks = Marks::default();
        marks.work(at(0));
        marks.outage(at(10));
        marks.outage(at(11));
        marks.failover(at(19), "cellar");
        marks.work(at(20));
        marks.work(at(30));
        let told: Vec<_> =
            marks.views(at(40)).map(|mark| (mark.at, mark.until, mark.kind)).collect();
        assert_eq!(
            told,
            [(1_010, Some(1_020), MarkKind::Outage), (1_019, None, MarkKind::Failover)]
        );
        for second in 0..1_000 {
            marks.failover(at(50 + second), "attic");
        }
        assert_eq!(marks.views(at(2_000)).count(), KEPT);
    }
}
