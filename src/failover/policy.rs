//! The rules: they act on the present state, and run after every input.
//!
//! Each rule depends only on the state and the time, not on the input that led there. A rule that
//! waits for an instant registers it with the [`Alarm`]. So no rule can miss its time, and the next
//! deadline is always later than now.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use super::breaker::LONGEST_WAIT;
use super::io::{Event, GateWhy, LeadWhy, Output};
use super::node::{Behind, Node, Standing, Tier};
use super::{
    DOUBT_AFTER, EMPTY_FIRST_ABOVE, FETCH_BURST, FETCH_EVERY, FOLLOW, Failover, HEADER_FIRST,
    HEALTH_EVERY, HEALTH_GAP, HEALTH_WAITING, HEARTBEAT, HELP_AFTER, LAG_MANY, LONG_ON_BACKUP,
    POLL_EVERY, PROBE_NOBODY, PROBE_PREFERRED, RPC_DOWN_AFTER, SILENT_AFTER, SILENT_AT_MOST, SLACK,
    STALLED_HEADERS, STALLED_TIP, WAIT, Work,
};
use crate::chain::{BlockHash, Chain};
use crate::ids::NodeId;
use crate::node::{Ask, FetchWhy, Permissions, RpcError};
use crate::template::{TipHeader, empty_is_possible};

/// Collects the earliest moment that some rule waits for.
pub(super) struct Alarm {
    at: Instant,
    next: Option<Instant>,
}

impl Alarm {
    /// The moment has come; if not, it is remembered.
    pub(super) fn due(&mut self, moment: Instant) -> bool {
        if moment <= self.at {
            return true;
        }
        self.next = Some(self.next.map_or(moment, |next| next.min(moment)));
        false
    }
}

/// More rounds than any chain of consequences has: a rule that contradicts another must not hang
/// the daemon.
const ROUNDS: usize = 16;

impl Failover {
    /// Applies all rules until none changes anything.
    pub(super) fn settle(&mut self, at: Instant, out: &mut Vec<Output>) {
        let mut alarm = Alarm { at, next: None };
        for round in 0..ROUNDS {
            alarm.next = None;
            let changed = self.watch_calls(at, &mut alarm, out)
                | self.standings(at, &mut alarm, out)
                | self.check_leader(at)
                | self.serve_leader(at, out)
                | self.serve_announcer(at, out)
                | self.move_lead(at, &mut alarm, out);
            if !changed {
                break;
            }
            debug_assert!(round + 1 < ROUNDS, "the rules do not come to rest");
        }
        self.header_question(at, out);
        self.fetches(at, &mut alarm, out);
        self.empty_job(out);
        self.work_without_rpc(at, out);
        self.wait_trials(at, &mut alarm, out);
        self.health_questions(at, &mut alarm, out);
        self.inquiries(at, &mut alarm, out);
        self.polls(at, &mut alarm, out);
        self.permission_questions(at, &mut alarm, out);
        self.split(at, out);
        self.gate_when_stale(&mut alarm, out);
        self.say_down(&mut alarm, out);
        self.say_backup(at, &mut alarm, out);
        // Those that were sent just now have a deadline, too.
        self.watch_calls(at, &mut alarm, out);
        self.next = alarm.next;
    }

    // -- the nodes --

    /// A shell that never answers must not block a call for ever, and a node whose poll is unanswered
    /// is silent after a while.
    fn watch_calls(&mut self, at: Instant, alarm: &mut Alarm, out: &mut Vec<Output>) -> bool {
        let mut changed = false;
        for index in 0..self.nodes.len() {
            for (method, sent, deadline) in self.nodes[index].calls() {
                if sent.is_some_and(|sent| alarm.due(sent + deadline + SLACK)) {
                    self.failed(at, index, method, &RpcError::Timeout(deadline), out);
                    changed = true;
                }
            }
            self.note_silence(index, alarm);
        }
        changed
    }

    /// Says of each node what it is good for.
    fn standings(&mut self, at: Instant, alarm: &mut Alarm, out: &mut Vec<Output>) -> bool {
        let mut changed = false;
        let misleading = self.misleading_clocks(at);
        for (index, off) in misleading.into_iter().enumerate() {
            self.note_lag(at, index, alarm, out);
            let standing = self.standing(index, off, alarm);
            let node = &mut self.nodes[index];
            if standing == Standing::Healthy {
                node.fit_since.get_or_insert(at);
            } else {
                node.fit_since = None;
            }
            if node.standing != standing {
                node.standing = standing;
                changed = true;
            }
        }
        changed
    }

    fn note_silence(&mut self, index: usize, alarm: &mut Alarm) {
        let node = &mut self.nodes[index];
        if let Some(from) = unanswered_since(node) {
            let limit = silence_limit(node);
            if alarm.due(from + DOUBT_AFTER) {
                node.suspect = true;
            }
            if alarm.due(from + limit) {
                node.silent = Some(limit);
            }
        }
    }

    /// Compares the node's tip with those of the other nodes that answer, and with the tip that
    /// is worked on. A tip that was announced a moment ago counts only after a while: the news
    /// need time to travel.
    fn note_lag(&mut self, at: Instant, index: usize, alarm: &mut Alarm, out: &mut Vec<Output>) {
        if let Standing::Refused(_) = self.nodes[index].standing {
            // On a branch of its own it is measured against nobody.
            self.nodes[index].behind = None;
        }
        let node = &self.nodes[index];
        let Some(tip) = node.tip.filter(|_| node.standing.answers()) else { return };
        // Until the health report of a new tip is there, its height alone may mislead.
        if !self.tips.is_known(tip) && node.tip_at.is_some_and(|since| !alarm.due(since + FOLLOW)) {
            return;
        }
        let mut behind: Option<u64> = None;
        let mut undecided = false;
        for better in self.reference_tips(at, index) {
            match self.tips.compare(tip, better) {
                Some(Ordering::Less) => {}
                Some(Ordering::Equal | Ordering::Greater) => continue,
                None => {
                    undecided = true;
                    continue;
                }
            }
            let (mine, best) = (self.tips.height(tip), self.tips.height(better));
            let blocks = mine.zip(best).map_or(1, |(mine, best)| best.saturating_sub(mine));
            let patience = if blocks >= 2 { LAG_MANY } else { FOLLOW };
            let first = self.tips.first(better).unwrap_or(at);
            if alarm.due(first + patience) {
                behind = Some(behind.unwrap_or(0).max(blocks));
            } else {
                undecided = true;
            }
        }
        let node = &mut self.nodes[index];
        let name = || node.spec.name.clone();
        match (node.behind, behind) {
            (None, Some(blocks)) => {
                node.behind = Some(Behind { blocks, since: at });
                let words = match blocks {
                    0 => Standing::Weaker.to_string(),
                    blocks => Standing::Behind(blocks).to_string(),
                };
                out.push(Output::Event(Event::NodeLagging { node: name(), words }));
            }
            (Some(before), Some(blocks)) => node.behind = Some(Behind { blocks, ..before }),
            (Some(_), None) if !undecided && node.inquiry.dispute.is_some() => node.behind = None,
            (Some(_), None) if !undecided => {
                node.behind = None;
                out.push(Output::Event(Event::NodeCaughtUp { node: name() }));
            }
            (Some(_) | None, None) => {}
        }
    }

    /// The tips that a node is measured against.
    pub(super) fn reference_tips(&self, at: Instant, except: usize) -> Vec<BlockHash> {
        let others = self.nodes.iter().enumerate().filter(|(index, _)| *index != except);
        let mut tips: Vec<BlockHash> = others
            .filter(|(_, node)| node.standing.answers())
            .filter_map(|(_, node)| node.tip)
            .collect();
        tips.extend(self.floor(at));
        tips
    }

    /// `off` is what [`Failover::misleading_clocks`] says of it.
    fn standing(&self, index: usize, off: Option<i64>, alarm: &mut Alarm) -> Standing {
        let node = &self.nodes[index];
        if let Some(found) = &node.wrong_chain {
            return Standing::WrongChain(found.clone());
        }
        if !node.breaker.is_closed() {
            return Standing::Down;
        }
        if let Some(waiting) = &node.waiting {
            return Standing::Waiting(waiting.clone());
        }
        if !node.checked || node.tip.is_none() {
            return Standing::Unknown;
        }
        if let Some(limit) = node.silent {
            return Standing::Silent(limit);
        }
        if let Some(dispute) = self.refused(index) {
            return Standing::Refused(dispute);
        }
        if node.template_error.is_some() {
            return Standing::NoTemplate;
        }
        if node.breaker.failures() > 0 {
            return Standing::Shaky;
        }
        // Both are reasons to be behind soon, and the remedy is theirs.
        if node.has_no_peers() {
            return Standing::NoPeers;
        }
        if let Some(ahead) = off {
            return Standing::WrongClock(ahead);
        }
        let dispute = node.inquiry.dispute.as_ref();
        if let Some(dispute) = dispute.filter(|_| node.behind.is_some()) {
            return Standing::Refuses(dispute.clone());
        }
        match node.behind {
            Some(Behind { blocks: 0, .. }) => return Standing::Weaker,
            Some(Behind { blocks, .. }) => return Standing::Behind(blocks),
            None => {}
        }
        if let Some((report, _)) = &node.health {
            let is_main = Chain::from_name(&report.chain) == Some(Chain::Main);
            let headers = node.headers_ahead_since.map(|since| since + STALLED_HEADERS);
            let tip = node.tip_at.filter(|_| is_main).map(|at| at + STALLED_TIP);
            // Headers of what it has refused may be ahead for ever, and by its rules blocks may be
            // rare.
            if dispute.is_none()
                && (headers.is_some_and(|moment| alarm.due(moment))
                    | tip.is_some_and(|moment| alarm.due(moment)))
            {
                return Standing::Stalled;
            }
            if report.initial_download {
                return Standing::Syncing;
            }
        }
        if self.is_rival(node) {
            return Standing::Rival;
        }
        let refusal = node.permissions.as_ref().and_then(Permissions::refusal);
        refusal.map_or(Standing::Healthy, Standing::Forbidden)
    }

    /// On another tip than the one worked on, with the same work.
    fn is_rival(&self, node: &Node) -> bool {
        self.work.zip(node.tip).is_some_and(|(work, tip)| {
            tip != work.prev && self.tips.compare(tip, work.prev) == Some(Ordering::Equal)
        })
    }

    // -- commands --

    /// Template calls that are wanted for the sake of the present leader.
    fn fetches(&mut self, at: Instant, alarm: &mut Alarm, out: &mut Vec<Output>) {
        let Some(leader) = self.leader_index() else { return };
        // Also on a tip on which another node's template is served: the leader's own is to follow.
        let node = &self.nodes[leader];
        let lacks = node.tip.is_some() && node.tip != node.template.map(|template| template.prev);
        let header = node.header.sent;
        if lacks && header.is_none_or(|sent| alarm.due(sent + HEADER_FIRST)) {
            self.fetch(at, leader, FetchWhy::NewTip, alarm, out);
        }
        let node = &self.nodes[leader];
        let latest = node.template.map(|template| template.at).max(node.fetch.last);
        if latest.is_none_or(|latest| alarm.due(latest + HEARTBEAT))
            || node.template_error.is_some()
        {
            self.fetch(at, leader, FetchWhy::Heartbeat, alarm, out);
        }
        if self.nodes[leader].suspect
            && let Some(next) = self.best_candidate(at, leader)
            && !self.has_fresh_template(at, next)
        {
            self.fetch(at, next, FetchWhy::Doubt, alarm, out);
        }
        self.probe_templates(at, leader, alarm, out);
        for index in 0..self.nodes.len() {
            if index == leader || !self.lacks_template(index) || !self.has_newer_tip(index) {
                continue;
            }
            let node = &self.nodes[index];
            if node.standing != Standing::Healthy {
                continue;
            }
            // The leader has the tip as well: leave it the time that it usually takes.
            let leader = &self.nodes[leader];
            if leader.tip == node.tip {
                let usual = leader.median_fetch().unwrap_or_default() * 2;
                let patience = usual.clamp(HELP_AFTER, FOLLOW);
                let since = leader.tip_at.unwrap_or(at);
                if !alarm.due(since + patience) {
                    continue;
                }
            }
            self.fetch(at, index, FetchWhy::NewTip, alarm, out);
        }
    }

    /// A node whose last template call failed is tried again now and then, so that it may come
    /// back although another leads; and one whose clock seems wrong, because it is a template's
    /// time that counts, not what a proxy in between may have shown.
    fn probe_templates(
        &mut self,
        at: Instant,
        leader: usize,
        alarm: &mut Alarm,
        out: &mut Vec<Output>,
    ) {
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            let is_off = matches!(node.standing, Standing::WrongClock(_));
            let failed = node.template_error.is_some() || is_off || self.must_prove_itself(index);
            if index == leader || !failed {
                continue;
            }
            let every = if index < leader { PROBE_PREFERRED } else { LONGEST_WAIT };
            if node.fetch.last.is_none_or(|last| alarm.due(last + every)) {
                self.fetch(at, index, FetchWhy::Probe, alarm, out);
            }
        }
    }

    /// Its tip is not the one worked on, and no template on it is in hand.
    fn lacks_template(&self, index: usize) -> bool {
        let node = &self.nodes[index];
        node.tip.is_some()
            && node.tip != self.work.map(|work| work.prev)
            && node.tip != node.template.map(|template| template.prev)
    }

    /// Its tip is better than the one worked on, or was announced later and is not known to be
    /// worse.
    fn has_newer_tip(&self, index: usize) -> bool {
        let Some(tip) = self.nodes[index].tip else { return false };
        let Some(work) = self.work else { return true };
        match self.tips.compare(tip, work.prev) {
            Some(order) => order == Ordering::Greater,
            None => self.tips.is_after(tip, work.prev),
        }
    }

    /// Fetches a template unless a call is under way or the node must be left in peace. True when
    /// a call is under way afterwards.
    pub(super) fn fetch(
        &mut self,
        at: Instant,
        index: usize,
        why: FetchWhy,
        alarm: &mut Alarm,
        out: &mut Vec<Output>,
    ) -> bool {
        let node = &mut self.nodes[index];
        if node.fetch.sent.is_some() {
            return true;
        }
        let usable = node.breaker.is_closed()
            && node.checked
            && node.wrong_chain.is_none()
            && node.waiting.is_none();
        if !usable
            || !alarm.due(node.may_fetch_at(at, FETCH_BURST, FETCH_EVERY))
            || !node.fetch_after.is_none_or(|after| alarm.due(after))
        {
            return false;
        }
        node.fetch_sent(at, FETCH_EVERY);
        out.push(Output::Ask { node: node.spec.id, ask: Ask::Template(why) });
        true
    }

    /// The leader has a new tip on which its template will take a while.
    fn waits_for_template(&self) -> Option<(usize, BlockHash)> {
        let index = self.leader_index()?;
        let node = &self.nodes[index];
        let tip = node.tip?;
        let waits = matches!(node.standing, Standing::Healthy | Standing::Forbidden(_))
            && !self.gated
            && self.work.is_some()
            && self.lacks_template(index)
            && self.has_newer_tip(index)
            && self.empty_first(node.spec.id)
            && self.permits(index, tip);
        waits.then_some((index, tip))
    }

    /// Asks for the height and the median time of a tip that is wanted for an empty job. ZMQ tells a
    /// hash alone, and the order of its messages proves nothing: after `invalidateblock`, or
    /// `preciousblock` by another program, the next one follows directly although the height did not
    /// rise. Where the height is known by other news, the median time is not.
    fn header_question(&mut self, at: Instant, out: &mut Vec<Output>) {
        let Some((index, tip)) = self.waits_for_template() else { return };
        let node = &mut self.nodes[index];
        if node.header.tip != Some(tip) {
            node.header.ask(tip, at);
            out.push(Output::Ask { node: node.spec.id, ask: Ask::Header(tip) });
        }
    }

    /// An empty job goes out when height and median time of the new tip are known for sure: a block with
    /// the wrong height in its coinbase would be refused by every node, and so would one that is not
    /// later than that time, which a slow clock is not.
    fn empty_job(&mut self, out: &mut Vec<Output>) {
        let Some((index, tip)) = self.waits_for_template() else { return };
        let node = &self.nodes[index];
        let told = node.header.median_time.filter(|_| node.header.tip == Some(tip));
        let Some((height, median_time)) = self.tips.height(tip).zip(told) else { return };
        let header = TipHeader { height, median_time };
        if self.empty_said != Some(tip) && self.is_next(index, header) {
            self.empty_said = Some(tip);
            out.push(Output::EmptyJob { node: self.nodes[index].spec.id, tip, header });
        }
    }

    /// While no node's RPC answers, a node's P2P port may still tell its tip. Then the work goes on: on
    /// the same tip with the last job, on the next one with an empty job. A block that is solved
    /// meanwhile reaches the node by that port.
    fn work_without_rpc(&mut self, at: Instant, out: &mut Vec<Output>) {
        if self.gated || self.leader_answers() {
            return;
        }
        let (Some(work), Some((mined, _))) = (self.work, self.mined()) else { return };
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            let Some((tip, header)) = node.peer_tip else { continue };
            if node.wrong_chain.is_some() || !self.permits(index, tip) {
                continue;
            }
            let node = node.spec.id;
            if tip == mined {
                self.work = Some(Work { prev: tip, confirmed: at, ..work });
            } else if let Some(header) = header.filter(|header| self.is_next(index, *header)) {
                self.tips.announce(at, node, tip, &[work.prev]);
                self.tips.learn(tip, header.height, None);
                self.work = Some(Work { node, prev: tip, since: at, served: at, confirmed: at });
                self.empty_said = Some(tip);
                out.push(Output::EmptyJob { node, tip, header });
                return;
            }
        }
    }

    /// The leader's calls are answered.
    fn leader_answers(&self) -> bool {
        let answers = |index: usize| self.nodes[index].standing.tier() < Tier::Failing;
        self.leader_index().is_some_and(answers)
    }

    /// The node whose P2P port confirms the work while no RPC answers.
    pub fn carried_by_p2p(&self) -> Option<NodeId> {
        if self.gated || self.leader_answers() {
            return None;
        }
        let (mined, _) = self.mined()?;
        let has_it = |node: &&Node| node.peer_tip.is_some_and(|(tip, _)| tip == mined);
        self.nodes.iter().find(has_it).map(|node| node.spec.id)
    }

    /// The tip that the miners work on, and its height: that of the last template, or that of the empty
    /// job after it.
    fn mined(&self) -> Option<(BlockHash, u64)> {
        let known = |tip: BlockHash| Some((tip, self.tips.height(tip)?));
        let work = known(self.work?.prev)?;
        let empty = self.empty_said.and_then(known);
        Some(empty.filter(|(_, height)| *height > work.1).unwrap_or(work))
    }

    /// An empty job can lead from the tip that is worked on to this one of a node, which is higher or
    /// stands beside it.
    fn is_next(&self, index: usize, header: TipHeader) -> bool {
        let report = self.nodes[index].health.as_ref();
        let chain = report.and_then(|(report, _)| Chain::from_name(&report.chain));
        let (Some(chain), Some((_, mined))) = (chain, self.mined()) else { return false };
        empty_is_possible(chain, mined.saturating_add(1), header.height.saturating_add(1))
    }

    /// An empty job goes out first when the leader's templates take long. See
    /// [`Output::EmptyJob`] for the exceptions.
    pub fn empty_first(&self, node: NodeId) -> bool {
        self.index(node)
            .and_then(|index| self.nodes[index].median_fetch())
            .is_some_and(|median| median > EMPTY_FIRST_ABOVE)
    }

    /// The regular health questions, the extra ones, and the probes of open breakers.
    fn health_questions(&mut self, at: Instant, alarm: &mut Alarm, out: &mut Vec<Output>) {
        let leader = self.leader_index();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if node.ask.sent.is_some() {
                continue;
            }
            let ceiling = match leader {
                None => PROBE_NOBODY,
                Some(leader) if index < leader => PROBE_PREFERRED,
                Some(_) => Duration::MAX,
            };
            let due = match node.breaker.retry_at(ceiling) {
                Some(retry) => alarm.due(retry),
                None => {
                    let gap = node.ask.last.map_or(at, |last| last + HEALTH_GAP);
                    let soon = node.ask_soon.is_some_and(|soon| alarm.due(soon.max(gap)));
                    alarm.due(node.ask.due) | soon
                }
            };
            if !due {
                continue;
            }
            node.breaker.probe(at);
            node.ask.sent = Some(at);
            node.ask.last = Some(at);
            node.ask_soon = None;
            if node.ask.due <= at {
                node.ask.due += HEALTH_EVERY;
            }
            if node.ask.due <= at {
                node.ask.due = at + HEALTH_EVERY;
            }
            out.push(Output::Ask { node: node.spec.id, ask: Ask::Health });
        }
        // A node that cannot lead yet is asked more often than every 12 s, once it has answered.
        for node in &mut self.nodes {
            if node.ask.sent.is_none() && node.breaker.is_closed() && node.ask_soon.is_none() {
                let wait = match node.standing {
                    Standing::Waiting(_) | Standing::NoPeers => HEALTH_WAITING,
                    Standing::Unknown => POLL_EVERY,
                    _ => continue,
                };
                let soon = node.ask.last.unwrap_or(at) + wait;
                alarm.due(soon);
                node.ask_soon = Some(soon);
            }
        }
    }

    // -- the whole --

    fn split(&mut self, at: Instant, out: &mut Vec<Output>) {
        let rival = self.nodes.iter().find(|node| node.standing == Standing::Rival);
        match (self.split_since, rival) {
            (None, Some(node)) => {
                let Some((work, other)) = self.work.zip(node.tip) else { return };
                let height = self.tips.height(work.prev).unwrap_or_default();
                let node = node.spec.name.clone();
                self.split_since = Some(at);
                let event = Event::TipSplit { height, ours: work.prev, other, node };
                out.push(Output::Event(event));
            }
            (Some(since), None) => {
                self.split_since = None;
                out.push(Output::Event(Event::SplitOver { after: at - since }));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    fn gate_when_stale(&mut self, alarm: &mut Alarm, out: &mut Vec<Output>) {
        if let Some(work) = self.work
            && alarm.due(work.confirmed + self.grace)
        {
            self.gate(GateWhy::Grace(self.grace), out);
        }
    }

    /// Forgets the work as well: any template is better than none from now on.
    pub(super) fn gate(&mut self, why: GateWhy, out: &mut Vec<Output>) {
        self.work = None;
        self.empty_said = None;
        if !self.gated {
            self.gated = true;
            out.push(Output::Gate { why: why.clone() });
            out.push(Output::Event(Event::Gated { why }));
        }
    }

    fn say_down(&mut self, alarm: &mut Alarm, out: &mut Vec<Output>) {
        let Some(since) = self.nobody_since else { return };
        if self.nodes.is_empty() || self.down_said || !alarm.due(since + RPC_DOWN_AFTER) {
            return;
        }
        self.down_said = true;
        out.push(Output::Event(Event::RpcDown { why: self.states() }));
    }

    fn say_backup(&mut self, at: Instant, alarm: &mut Alarm, out: &mut Vec<Output>) {
        let Some(index) = self.leader_index().filter(|index| *index > 0) else { return };
        if self.backup_said || !alarm.due(self.lead_since + LONG_ON_BACKUP) {
            return;
        }
        self.backup_said = true;
        out.push(Output::Event(Event::LongOnBackup {
            node: self.nodes[index].spec.name.clone(),
            preferred: self.nodes[0].clause(),
            after: at.saturating_duration_since(self.lead_since),
        }));
    }

    /// The state of each node in one clause.
    pub fn states(&self) -> String {
        self.nodes.iter().map(Node::clause).collect::<Vec<_>>().join("; ")
    }

    /// Nobody leads from now on.
    pub(super) fn lose_lead(&mut self, at: Instant, why: LeadWhy) {
        self.leader = None;
        self.lost_why = why;
        self.nobody_since = Some(at);
    }
}

/// Since when a poll has been unanswered and nothing else was heard. A call that waits is not due
/// before its time is over.
fn unanswered_since(node: &Node) -> Option<Instant> {
    let due = node.poll.sent? + if node.poll_waits { WAIT } else { Duration::ZERO };
    Some(node.heard_at.map_or(due, |heard| heard.max(due)))
}

/// Bitcoin Core answers nothing while it builds a template.
fn silence_limit(node: &Node) -> Duration {
    (node.median_fetch().unwrap_or_default() * 2).clamp(SILENT_AFTER, SILENT_AT_MOST)
}
