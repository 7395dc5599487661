//! The work that the miners get: from a node's template, from a new tip alone, or from the previous
//! template with a new payout.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Effect, Engine, WorkFrom};
use crate::block::submission;
use crate::chain::BlockHash;
use crate::clock::Now;
use crate::event::{EventKind, Level};
use crate::ids::NodeId;
use crate::job::Work;
use crate::pool;
use crate::template::{Template, TipHeader};

/// So long miners go on with the last job while no work may be handed out; then they are sent away, to the
/// other box of the pair.
const HALT_AT_MOST: Duration = Duration::from_secs(1);

/// No work may be handed out.
#[derive(Debug, Default)]
pub(super) struct Halt {
    since: Option<Instant>,
    sent_away: bool,
}

impl Halt {
    /// When miners are sent away.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.since.filter(|_| !self.sent_away).map(|since| since + HALT_AT_MOST)
    }
}

impl Engine {
    pub(super) fn hand_out(&mut self, now: Now, hands_out: bool) {
        if !hands_out {
            self.halt.since.get_or_insert(now.mono);
        } else if self.halt.since.is_some() {
            self.halt = Halt::default();
            if let Some(leader) = self.failover.leader().filter(|_| !self.failover.is_gated()) {
                self.serve(now, leader, false);
            }
        }
    }

    pub(super) fn send_away(&mut self, now: Now) {
        self.halt.sent_away = true;
        let text = "No work is handed out until the other box of the pair tells whom it pays.";
        self.tell(EventKind::System, Level::Critical, text.to_owned());
        self.pool_input(now, pool::Input::NoWork);
    }

    pub(super) fn serve(&mut self, now: Now, node: NodeId, new_tip: bool) {
        let Some((template, received)) = self.latest.get(&node).cloned() else { return };
        let height = template.height;
        self.set_work(now, template, node, received, false, WorkFrom::Template { new_tip });
        if new_tip {
            self.blocks_input(now, submission::Input::Height(height - 1));
            self.rehearsals.plan(now);
        }
    }

    /// Moves the miners from the old tip to an empty block on the new one, until its template
    /// arrives.
    pub(super) fn serve_empty(
        &mut self,
        now: Now,
        node: NodeId,
        tip: BlockHash,
        header: TipHeader,
    ) {
        let (Some(work), Some(chain)) = (self.pool.jobs().work(), self.chain(now)) else { return };
        let node_time = work.node_time(now.mono);
        let empty = work.template.empty_on(tip, header, chain, node_time);
        if let Some(template) = empty {
            let height = template.height - 1;
            // Not now: a clock that loses a part of a second with each such job is hours late at last.
            let received = work.second_began(now.mono);
            self.set_work(now, Arc::new(template), node, received, true, WorkFrom::Tip);
            self.blocks_input(now, submission::Input::Height(height));
        }
    }

    /// Makes the current work again: the payout changed.
    pub(super) fn renew_work(&mut self, now: Now) {
        if let Some(work) = self.pool.jobs().work().cloned() {
            let (template, node, received) = (work.template.clone(), work.node, work.received);
            self.set_work(now, template, node, received, work.empty, WorkFrom::Settings);
            self.rehearsals.plan(now);
        }
    }

    fn set_work(
        &mut self,
        now: Now,
        template: Arc<Template>,
        node: NodeId,
        received: Instant,
        empty: bool,
        from: WorkFrom,
    ) {
        if self.halt.since.is_some() {
            return;
        }
        // Without a payout no node is asked, so no template comes.
        let Some(payout) = &self.payout else { return };
        let work = Work::new(template, node, received, empty, &payout.script, &payout.tag);
        let work = work.signalling(&payout.signals);
        self.effects.push_back(Effect::Work(from));
        self.pool_input(now, pool::Input::Work(Box::new(work)));
        self.effects.push_back(Effect::WorkSent(from));
    }
}
