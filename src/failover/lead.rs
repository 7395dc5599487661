//! Which node leads, and which template may be served.

use std::cmp::Ordering;
use std::time::Instant;

use super::io::{Event, LeadWhy, Output};
use super::node::{Standing, Tier};
use super::policy::Alarm;
use super::{
    FIRST_PAUSE, FOLLOW, FRESH_HEALTH, FRESH_TEMPLATE, Failover, HEALTH_GAP, LONGEST_PAUSE,
    REFRESH_GAP, SETTLE, STEADY, TRY, Work,
};
use crate::chain::BlockHash;
use crate::node::FetchWhy;

/// How a template's tip compares with the tip that is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// More work, or there was no work before.
    Newer,
    /// The same tip: other transactions, a later time.
    Same,
    /// Another tip of equal work.
    Rival,
    /// Less work.
    Older,
}

impl Failover {
    /// A leader that is down, waiting, or on the wrong chain does not lead.
    pub(super) fn check_leader(&mut self, at: Instant) -> bool {
        let Some(index) = self.leader_index() else { return false };
        let node = &self.nodes[index];
        if node.standing.tier() < Tier::Useless {
            return false;
        }
        let why = node.standing.against(&node.reason_words());
        self.lose_lead(at, why);
        true
    }

    // -- what may be served --

    fn verdict(&self, prev: BlockHash) -> Verdict {
        let Some(work) = self.work else { return Verdict::Newer };
        if prev == work.prev {
            return Verdict::Same;
        }
        match self.tips.compare(prev, work.prev) {
            Some(Ordering::Greater) => Verdict::Newer,
            Some(Ordering::Equal) => Verdict::Rival,
            // A template always tells its height, so one side is forgotten at most: not newer.
            Some(Ordering::Less) | None => Verdict::Older,
        }
    }

    /// The leader (or who is about to lead) may serve a template on this tip.
    ///
    /// Never one with less work than what is worked on, with two exceptions: the node itself had
    /// that tip and has left it, and no other node that answers has a better one (the chain was
    /// reorganised to fewer blocks, or its owner called `invalidateblock`); or nobody has confirmed
    /// the tip for three quarters of the grace, so that it is as good as forgotten. A tip that the
    /// first node refuses counts as forgotten too, where its rules decide (see `split`). A tip of equal
    /// work is taken only when no good node holds the one that was seen first.
    fn may_serve(&self, at: Instant, index: usize, prev: BlockHash) -> bool {
        if !self.permits(index, prev) {
            return false;
        }
        let Some(floor) = self.floor(at) else { return true };
        match self.verdict(prev) {
            Verdict::Newer | Verdict::Same => true,
            Verdict::Rival => !self.nodes.iter().any(|node| {
                matches!(
                    node.standing,
                    Standing::Healthy | Standing::Forbidden(_) | Standing::Shaky
                ) && node.tip == Some(floor)
            }),
            Verdict::Older => {
                let node = &self.nodes[index];
                let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != index);
                node.tip == Some(prev)
                    && node.has_held(floor)
                    && !others.filter(|(_, other)| other.standing.answers()).any(|(_, other)| {
                        other.tip.is_some_and(|tip| {
                            self.tips.compare(tip, prev) == Some(Ordering::Greater)
                        })
                    })
            }
        }
    }

    /// The tip below which nothing is served: the one worked on, until nobody has confirmed it
    /// for three quarters of the grace, or the first node refuses it and decides.
    pub(super) fn floor(&self, at: Instant) -> Option<BlockHash> {
        let work = self.work?;
        let holds = at < work.confirmed + self.grace * 3 / 4 && !self.is_refused(work.prev);
        holds.then_some(work.prev)
    }

    /// Serves the leader's template if it has not been.
    pub(super) fn serve_leader(&mut self, at: Instant, out: &mut Vec<Output>) -> bool {
        let Some(index) = self.leader_index() else { return false };
        let Some(template) = self.nodes[index].template else { return false };
        if template.served || !self.may_serve(at, index, template.prev) {
            return false;
        }
        // Two calls that the same news caused may answer at nearly the same time.
        let id = self.nodes[index].spec.id;
        let repeats = self.work.is_some_and(|work| {
            work.node == id && work.prev == template.prev && at < work.served + REFRESH_GAP
        });
        if repeats && let Some(template) = &mut self.nodes[index].template {
            template.served = true;
            return false;
        }
        self.serve(at, index, out);
        true
    }

    /// A node that is first with a newer tip's template serves it although it does not lead.
    pub(super) fn serve_announcer(&mut self, at: Instant, out: &mut Vec<Output>) -> bool {
        if self.leader.is_none() {
            return false;
        }
        let first = self.nodes.iter().enumerate().position(|(index, node)| {
            node.standing.tier() <= Tier::Good
                && node.template.is_some_and(|template| {
                    !template.served
                        && node.tip == Some(template.prev)
                        && self.verdict(template.prev) == Verdict::Newer
                        && self.permits(index, template.prev)
                })
        });
        let Some(index) = first else { return false };
        self.serve(at, index, out);
        true
    }

    fn serve(&mut self, at: Instant, index: usize, out: &mut Vec<Output>) {
        let node = &mut self.nodes[index];
        let Some(template) = &mut node.template else { return };
        template.served = true;
        self.empty_said = None;
        let (id, prev) = (node.spec.id, template.prev);
        let before = self.work.filter(|work| work.prev == prev);
        let since = before.map_or(at, |work| work.since);
        self.work = Some(Work { node: id, prev, since, served: at, confirmed: at });
        out.push(Output::Serve { node: id, new_tip: before.is_none() });
        if self.gated {
            self.gated = false;
            out.push(Output::Ungate);
            if self.opened {
                out.push(Output::Event(Event::Ungated));
            }
            self.opened = true;
        }
    }

    // -- who leads --

    /// Moves the lead, or works towards it.
    pub(super) fn move_lead(
        &mut self,
        at: Instant,
        alarm: &mut Alarm,
        out: &mut Vec<Output>,
    ) -> bool {
        if self.follow(at, alarm, out) {
            return true;
        }
        let (candidates, why) = self.candidates(at, alarm);
        if candidates.is_empty() {
            self.pass.trying = None;
            self.pass.tried.clear();
            if self
                .leader_index()
                .is_some_and(|index| self.nodes[index].standing == Standing::Healthy)
            {
                self.pass.after = None;
                self.pass.pause = FIRST_PAUSE;
            }
            return false;
        }
        let ready = candidates.iter().copied().find(|index| {
            self.has_fresh_template(at, *index)
                && self.nodes[*index]
                    .template
                    .is_some_and(|template| self.may_serve(at, *index, template.prev))
        });
        if let Some(index) = ready {
            self.lead(at, index, why, out);
            return true;
        }
        self.try_next(at, &candidates, alarm, out);
        false
    }

    /// A leader that has not followed to a tip that another node serves loses the lead to it.
    fn follow(&mut self, at: Instant, alarm: &mut Alarm, out: &mut Vec<Output>) -> bool {
        let Some(work) = self.work else { return false };
        if self.leader.is_none_or(|leader| leader == work.node) {
            return false;
        }
        let Some(index) = self.index(work.node) else { return false };
        let node = &self.nodes[index];
        let good = node.standing.tier() <= Tier::Good;
        let announced = self.tips.first(work.prev).unwrap_or(work.since);
        if good && node.tip == Some(work.prev) && alarm.due(announced + FOLLOW) {
            self.lead(at, index, LeadWhy::DidNotFollow(FOLLOW), out);
            return true;
        }
        false
    }

    /// The nodes that should lead rather than the present leader, the best one first, and why.
    fn candidates(&mut self, at: Instant, alarm: &mut Alarm) -> (Vec<usize>, LeadWhy) {
        let Some(leader) = self.leader_index() else {
            let why = self.lost_why.clone();
            if self.last_leader.is_none() && !self.all_have_reported(alarm) {
                return (Vec::new(), why);
            }
            return (self.usable(at, Tier::Refused), why);
        };
        let node = &self.nodes[leader];
        let why = node.standing.against(&node.reason_words());
        match node.standing.tier() {
            Tier::Healthy => (self.returning(at, leader, alarm), LeadWhy::Return),
            tier => (self.usable(at, tier), why),
        }
    }

    /// Nodes of a better tier than `worse`, ordered by tier and then by preference. A node that is
    /// known to lack blocks counts like one that is behind, however short a time; a refused one
    /// leads nobody.
    fn usable(&self, at: Instant, worse: Tier) -> Vec<usize> {
        let mut ranked: Vec<(Tier, usize)> = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let mut tier = node.standing.tier();
            if self.is_below(at, index) {
                tier = tier.max(Tier::Behind);
            }
            let below_floor = self.floor(at).zip(node.tip).is_some_and(|(floor, tip)| {
                self.tips.compare(tip, floor) == Some(Ordering::Less)
                    && !self.may_serve(at, index, tip)
            });
            let is_permitted = node.tip.is_none_or(|tip| self.permits(index, tip));
            if tier < worse.min(Tier::Refused) && is_permitted && !below_floor {
                ranked.push((tier, index));
            }
        }
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, index)| index).collect()
    }

    /// Another node that answers has a tip with more work.
    fn is_below(&self, at: Instant, index: usize) -> bool {
        let Some(tip) = self.nodes[index].tip else { return true };
        self.reference_tips(at, index)
            .into_iter()
            .any(|better| self.tips.compare(tip, better) == Some(Ordering::Less))
    }

    /// The node to fall back on if the leader's trouble is real.
    pub(super) fn best_candidate(&self, at: Instant, leader: usize) -> Option<usize> {
        self.usable(at, Tier::Silent).into_iter().find(|index| *index != leader)
    }

    /// The first preferred node that may have the lead back: fit for a while, at least as much work
    /// as ours by a fresh report of its own.
    fn returning(&mut self, at: Instant, leader: usize, alarm: &mut Alarm) -> Vec<usize> {
        for index in 0..leader {
            let node = &self.nodes[index];
            let steady = node.fit_since.is_some_and(|since| alarm.due(since + STEADY));
            if !steady || self.is_below(at, index) {
                continue;
            }
            let is_fresh = node.health.as_ref().is_some_and(|(report, reported)| {
                *reported + FRESH_HEALTH >= at && Some(report.best) == node.tip
            });
            if is_fresh {
                return vec![index];
            }
            let node = &mut self.nodes[index];
            if node.ask.sent.is_none() && node.ask_soon.is_none() {
                let gap = node.ask.last.map_or(at, |last| last + HEALTH_GAP);
                node.ask_soon = Some(gap.max(at));
            }
        }
        Vec::new()
    }

    /// At the start: every node has said something, or has had the time to.
    fn all_have_reported(&self, alarm: &mut Alarm) -> bool {
        let silent = self
            .nodes
            .iter()
            .any(|node| node.standing == Standing::Unknown && node.last_error.is_none());
        !silent || alarm.due(self.started + SETTLE)
    }

    pub(super) fn has_fresh_template(&self, at: Instant, index: usize) -> bool {
        let node = &self.nodes[index];
        node.template.is_some_and(|template| {
            node.tip == Some(template.prev) && template.at + FRESH_TEMPLATE >= at
        })
    }

    /// One pass over the candidates: each is tried once, then there is a pause.
    fn try_next(
        &mut self,
        at: Instant,
        candidates: &[usize],
        alarm: &mut Alarm,
        out: &mut Vec<Output>,
    ) {
        if !self.pass.after.is_none_or(|after| alarm.due(after)) {
            return;
        }
        if let Some((trying, since)) = self.pass.trying
            && let Some(index) = self.index(trying)
            && candidates.contains(&index)
            && self.nodes[index].fetch.sent.is_some()
            && !alarm.due(since + TRY)
        {
            return;
        }
        for index in candidates {
            let id = self.nodes[*index].spec.id;
            if self.pass.tried.contains(&id) {
                continue;
            }
            self.pass.tried.push(id);
            if self.fetch(at, *index, FetchWhy::Seek, alarm, out) {
                self.pass.trying = Some((id, at));
                alarm.due(at + TRY);
                return;
            }
        }
        self.pass.trying = None;
        self.pass.tried.clear();
        self.pass.after = Some(at + self.pass.pause);
        alarm.due(at + self.pass.pause);
        self.pass.pause = (self.pass.pause * 2).min(LONGEST_PAUSE);
    }

    fn lead(&mut self, at: Instant, index: usize, why: LeadWhy, out: &mut Vec<Output>) {
        let node = &self.nodes[index];
        let (id, name) = (node.spec.id, node.spec.name.clone());
        let before = self.last_leader.replace((id, name.clone()));
        let why = if before.is_none() { LeadWhy::First } else { why };
        self.leader = Some(id);
        self.lead_since = at;
        self.backup_said = false;
        self.pass.trying = None;
        self.pass.tried.clear();
        self.pass.after = None;
        out.push(Output::Lead {
            node: id,
            from: before.as_ref().map(|(from, _)| *from),
            why: why.clone(),
        });
        if let Some(since) = self.nobody_since.take()
            && std::mem::take(&mut self.down_said)
        {
            out.push(Output::Event(Event::RpcRecovered { node: name.clone(), after: at - since }));
        }
        if let Some((from, from_name)) = before
            && from != id
        {
            // A node that was removed has no place in the order: going on is not going back.
            let back = self.index(from).is_some_and(|from| index < from);
            out.push(Output::Event(Event::NodeFailover { from: from_name, to: name, back, why }));
        }
        let unserved = self.nodes[index].template.is_some_and(|template| !template.served);
        if unserved || self.work.is_none_or(|work| work.node != id) {
            self.serve(at, index, out);
        }
    }
}
