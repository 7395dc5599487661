//! Which node leads, when it is asked, and when there is no valid work.
//!
//! A pure machine: [`Failover::handle`] takes the news of the nodes and the time, and answers with
//! commands for the shells. Everything about nodes is decided here, except what is in a template.
//!
//! ```text
//!                 a template of the best node is in hand
//!     NOBODY ──────────────────────────────────────────────► LEADING
//!       ▲  ▲                                                 │  ▲  │
//!       │  └── the leader is down, waiting, removed,         │  │  │ the leader's call fails, it is
//!       │      or on the wrong chain ────────────────────────┘  │  │ silent, behind, weaker, stalled,
//!       │                                                       │  │ or a preferred node is good again
//!       │          a better node's template is in hand: it leads│  ▼
//!       └── the leader is down meanwhile ───────────────────── SEEKING
//!                                           one pass over the better nodes, in order of preference,
//!                                           then a pause of 1, 2, 4, 5 s before the next pass
//! ```
//!
//! The lead only ever moves with a template in hand, so there is no moment without work. A leader
//! in trouble goes on leading (its jobs are served) until a better node has delivered; when all
//! nodes are down the last job is served for the grace, then miners are sent away.
//!
//! **A hung leader** (a stopped process keeps its connections open and says nothing) is replaced
//! in less than 3 s: every node is polled each 1.5 s; when the leader's poll is unanswered for
//! 0.5 s, a template of the next node is fetched beforehand; after 1 s (or twice the leader's
//! usual time for a template, at most 2 s, because Bitcoin Core answers nothing while it builds
//! one) the leader is silent and that template is served. At worst 1.5 + 1 s, and less when a new
//! block arrives through another node. A leader that was killed is replaced at once: its broken
//! long poll makes us poll it and fetch from the next node in the same instant.
//!
//! **A template never goes back** to a tip with less work. The exceptions are written at
//! `Failover::verdict`.

mod breaker;
mod io;
mod lead;
mod node;
mod settle;
mod stats;
mod tips;
mod view;

use std::collections::HashSet;
use std::time::{Duration, Instant};

pub use breaker::{Breaker, BreakerChange, FAILURES_TO_OPEN, FIRST_WAIT, LONGEST_WAIT};
pub use io::{
    DEFAULT_GRACE, Event, FetchWhy, GateWhy, Input, LeadWhy, Level, News, NodeSpec, Output, Setup,
    TemplateSeen,
};
pub use node::Standing;
pub use stats::{BOUNDS_MS, ErrorKind, Histogram, MethodStats};
pub use tips::RaceStats;
pub use view::{NodeView, Overall, State};

use crate::chain::{BlockHash, Chain};
use crate::clock::Now;
use crate::node::{HealthReport, Method, NodeId, RpcError, TipSource};
use node::{HeldTemplate, Node, Waiting};
use tips::{Place, Tips};

/// Each usable node's tip is asked this often.
pub const POLL_EVERY: Duration = Duration::from_millis(1500);
/// Deadline of a poll, for the shell.
pub const POLL_DEADLINE: Duration = Duration::from_secs(2);
/// Each node's health is asked this often.
pub const HEALTH_EVERY: Duration = Duration::from_secs(12);
/// Health of a node that asks for patience.
pub const HEALTH_WAITING: Duration = Duration::from_secs(5);
/// Two health questions to one node are at least this far apart.
pub const HEALTH_GAP: Duration = Duration::from_secs(1);
/// Deadline of a health question, for the shell.
pub const HEALTH_DEADLINE: Duration = Duration::from_secs(5);
/// A fresh template is fetched from the leader at least this often, so that a quiet mempool does
/// not look like a dead node (cgminer gives a pool up after 90 s without a job).
pub const HEARTBEAT: Duration = Duration::from_secs(30);
/// Deadline of a template call, for the shell.
pub const FETCH_DEADLINE: Duration = Duration::from_secs(10);
/// Templates are fetched from one node in a burst of at most this many …
pub const FETCH_BURST: u32 = 6;
/// … and then one in this time, however many reasons there are.
pub const FETCH_EVERY: Duration = Duration::from_millis(500);
/// A failed template call is repeated after this time.
pub const FETCH_RETRY: Duration = Duration::from_secs(1);
/// A broken long poll is started again after this time; the polls cover it meanwhile.
pub const LONGPOLL_RETRY: Duration = Duration::from_secs(5);
/// What the shell may take longer than its deadline before the call counts as lost.
pub const SLACK: Duration = Duration::from_secs(1);
/// A leader whose poll is unanswered for this long is in doubt.
pub const DOUBT_AFTER: Duration = Duration::from_millis(500);
/// A node whose poll is unanswered for this long is silent (longer, up to
/// [`SILENT_AT_MOST`], where its templates usually take long).
pub const SILENT_AFTER: Duration = Duration::from_secs(1);
/// See [`SILENT_AFTER`].
pub const SILENT_AT_MOST: Duration = Duration::from_secs(2);
/// A leader has this long to follow to a tip that another node has.
pub const FOLLOW: Duration = Duration::from_secs(3);
/// A node may be behind by two or more blocks for this long (by one: [`FOLLOW`]).
pub const LAG_MANY: Duration = Duration::from_secs(1);
/// When the leader has no template for a new tip after this time (or twice its usual time),
/// another node that has the tip is asked too.
pub const HELP_AFTER: Duration = Duration::from_secs(1);
/// At the start, the nodes have this long to report before the best of those that did leads.
pub const SETTLE: Duration = Duration::from_secs(1);
/// One node is tried for this long before the next one is tried as well.
pub const TRY: Duration = Duration::from_millis(1500);
/// Pause after the first pass without success; it doubles up to [`LONGEST_PAUSE`].
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// See [`FIRST_PAUSE`].
pub const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A template in hand of this age may still start a lead.
pub const FRESH_TEMPLATE: Duration = Duration::from_secs(5);
/// A preferred node must have been fit for this long to get the lead back, …
pub const STEADY: Duration = Duration::from_secs(5);
/// … and its health report must not be older than this.
pub const FRESH_HEALTH: Duration = Duration::from_secs(3);
/// A preferred node that failed to deliver when the lead was to return is tried again after this
/// time, and an open breaker waits no longer than this for it.
pub const PROBE_PREFERRED: Duration = Duration::from_secs(15);
/// An open breaker waits no longer than this while nobody leads.
pub const PROBE_NOBODY: Duration = Duration::from_secs(5);
/// Headers ahead of blocks for this long: the node has stalled.
pub const STALLED_HEADERS: Duration = Duration::from_secs(60);
/// No block for this long on the main network: the node has stalled (by chance this happens once
/// in about 8,000 blocks).
pub const STALLED_TIP: Duration = Duration::from_secs(90 * 60);
/// Nobody has led for this long: [`Event::RpcDown`].
pub const RPC_DOWN_AFTER: Duration = Duration::from_secs(5);
/// Templates that took longer than this (median of five) make an empty job worth while.
pub const EMPTY_FIRST_ABOVE: Duration = Duration::from_millis(20);

/// The policy of the nodes. See the module's documentation.
#[derive(Debug)]
pub struct Failover {
    chains: Vec<Chain>,
    grace: Duration,
    /// In the order of preference.
    nodes: Vec<Node>,
    tips: Tips,
    work: Option<Work>,
    leader: Option<NodeId>,
    lead_since: Instant,
    /// Who led last, with its name (it may be removed since).
    last_leader: Option<(NodeId, String)>,
    /// Why the last leader lost the lead with nobody to follow.
    lost_why: LeadWhy,
    /// Since when nobody has led.
    nobody_since: Option<Instant>,
    down_said: bool,
    pass: Pass,
    /// Not before this is the return to a preferred node tried again.
    return_after: Option<Instant>,
    gated: bool,
    /// Miners were let in once.
    opened: bool,
    split_since: Option<Instant>,
    /// The tip for which an empty job was ordered.
    empty_said: Option<BlockHash>,
    started: Instant,
    next: Option<Instant>,
}

/// What the miners work on.
#[derive(Clone, Copy, Debug)]
struct Work {
    /// Whose template.
    node: NodeId,
    /// Its tip.
    prev: BlockHash,
    /// When work on this tip began.
    since: Instant,
    /// When a good node last said that this is its tip.
    confirmed: Instant,
}

/// One pass over the nodes that could lead.
#[derive(Debug)]
struct Pass {
    trying: Option<(NodeId, Instant)>,
    tried: Vec<NodeId>,
    after: Option<Instant>,
    pause: Duration,
}

impl Failover {
    /// Starts with nobody leading and the miners kept out; the first [`Input::Tick`] brings the
    /// first commands.
    pub fn new(now: Now, setup: Setup) -> Failover {
        let mut failover = Failover {
            chains: setup.chains,
            grace: setup.grace,
            nodes: Vec::new(),
            tips: Tips::default(),
            work: None,
            leader: None,
            lead_since: now.mono,
            last_leader: None,
            lost_why: LeadWhy::First,
            nobody_since: Some(now.mono),
            down_said: false,
            pass: Pass { trying: None, tried: Vec::new(), after: None, pause: FIRST_PAUSE },
            return_after: None,
            gated: true,
            opened: false,
            split_since: None,
            empty_said: None,
            started: now.mono,
            next: Some(now.mono),
        };
        failover.place(now.mono, setup.nodes);
        failover
    }

    /// Takes one input and appends the commands that follow from it. News of unknown nodes are
    /// ignored, and so are late ones.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        let at = now.mono;
        match input {
            Input::Tick => {}
            Input::Reload(setup) => self.reload(at, setup, out),
            Input::Node { node, news } => {
                if let Some(index) = self.index(node) {
                    self.hear(at, index, news, out);
                }
            }
        }
        self.settle(at, out);
    }

    /// When [`Input::Tick`] is due; always later than the last input. `None` without nodes.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.next
    }

    fn index(&self, node: NodeId) -> Option<usize> {
        self.nodes.iter().position(|known| known.spec.id == node)
    }

    fn leader_index(&self) -> Option<usize> {
        self.leader.and_then(|leader| self.index(leader))
    }

    // -- configuration --

    fn reload(&mut self, at: Instant, setup: Setup, out: &mut Vec<Output>) {
        self.grace = setup.grace;
        let chains_changed = self.chains != setup.chains;
        self.chains = setup.chains;
        let stay: HashSet<NodeId> = setup.nodes.iter().map(|spec| spec.id).collect();
        for node in &self.nodes {
            if node.longpoll_on && !stay.contains(&node.spec.id) {
                out.push(Output::Longpoll { node: node.spec.id, on: false });
            }
        }
        if self.leader.is_some_and(|leader| !stay.contains(&leader)) {
            self.lose_lead(at, LeadWhy::Removed);
        }
        self.place(at, setup.nodes);
        if chains_changed {
            self.recheck_chains(at, out);
        }
    }

    /// Puts the nodes in the given order, keeping those that are known by id.
    fn place(&mut self, at: Instant, specs: Vec<NodeSpec>) {
        let count = u32::try_from(specs.len()).unwrap_or(u32::MAX).max(1);
        let mut known = std::mem::take(&mut self.nodes);
        for (index, spec) in (0u32..).zip(specs) {
            if self.nodes.iter().any(|node| node.spec.id == spec.id) {
                continue;
            }
            let node = match known.iter().position(|node| node.spec.id == spec.id) {
                Some(place) => known.swap_remove(place).renamed(spec),
                None => Node::new(
                    spec,
                    at,
                    POLL_EVERY * index / count,
                    HEALTH_EVERY + HEALTH_EVERY * index / count,
                ),
            };
            self.nodes.push(node);
        }
    }

    /// The allowed chains changed: what was served before may be worth nothing now.
    fn recheck_chains(&mut self, at: Instant, out: &mut Vec<Output>) {
        let worked_by = self.work.and_then(|work| self.index(work.node));
        for index in 0..self.nodes.len() {
            if let Some((report, _)) = self.nodes[index].health.clone() {
                self.check_chain(index, &report, out);
                self.nodes[index].ask_soon = Some(at);
            }
        }
        let still_right = worked_by.is_some_and(|index| self.nodes[index].wrong_chain.is_none());
        if self.work.is_some() && !still_right {
            self.gate(GateWhy::WrongChain, out);
        }
        if let Some(index) = self.leader_index()
            && let Some(found) = self.nodes[index].wrong_chain.clone()
        {
            self.lose_lead(at, LeadWhy::WrongChain(found));
        }
    }

    // -- news --

    fn hear(&mut self, at: Instant, index: usize, news: News, out: &mut Vec<Output>) {
        match news {
            News::Template { seen, method, took } => {
                self.template(at, index, seen, method, took, out);
            }
            News::Tip { hash, source: TipSource::Poll, took } => {
                let sent = self.nodes[index].poll.sent.take();
                self.succeeded(at, index, Method::GetBestBlockHash, Some(took), out);
                let node = &mut self.nodes[index];
                if node.tip == Some(hash) || node.is_later_news(sent) {
                    self.tip_news(at, index, hash, TipSource::Poll);
                } else {
                    // Asked before the latest news and answered after it: ask again.
                    node.poll.due = at;
                }
            }
            News::Tip { hash, source, .. } => {
                self.alive(at, index, out);
                self.tip_news(at, index, hash, source);
            }
            News::Health { report, took } => self.health(at, index, report, took, out),
            News::Failed { method, error, took: _ } => self.failed(at, index, method, &error, out),
            News::Answered { method, took } => self.succeeded(at, index, method, took, out),
        }
    }

    fn template(
        &mut self,
        at: Instant,
        index: usize,
        seen: TemplateSeen,
        method: Method,
        took: Duration,
        out: &mut Vec<Output>,
    ) {
        let (source, sent) = if method == Method::Longpoll {
            self.succeeded(at, index, method, None, out);
            (TipSource::Longpoll, None)
        } else {
            let sent = self.nodes[index].fetch.sent.take();
            self.succeeded(at, index, method, Some(took), out);
            self.nodes[index].remember_duration(took);
            (TipSource::Template, sent)
        };
        let tip_height = self.nodes[index].tip.and_then(|tip| self.tips.height(tip));
        let node = &mut self.nodes[index];
        if !node.checked || node.wrong_chain.is_some() {
            return;
        }
        node.waiting = None;
        node.waiting_said = false;
        node.template_error = None;
        node.fetch_after = None;
        let is_new = !node.has_held(seen.prev)
            && tip_height.is_none_or(|height| seen.height.saturating_sub(1) > height);
        if node.tip != Some(seen.prev) && !node.is_later_news(sent) && !is_new {
            // It was under way when the tip changed: the node has moved on since, or has gone back
            // (then the poll tells).
            node.poll.due = at;
            return;
        }
        node.template = Some(HeldTemplate {
            prev: seen.prev,
            at,
            longpoll: seen.longpoll,
            served: false,
            txs: seen.txs,
            curtime: seen.curtime,
        });
        self.tip_news(at, index, seen.prev, source);
        self.tips.learn(seen.prev, seen.height.saturating_sub(1), None);
    }

    fn health(
        &mut self,
        at: Instant,
        index: usize,
        report: HealthReport,
        took: Duration,
        out: &mut Vec<Output>,
    ) {
        let sent = self.nodes[index].ask.sent.take();
        self.succeeded(at, index, Method::Health, Some(took), out);
        self.check_chain(index, &report, out);
        let node = &mut self.nodes[index];
        node.checked = true;
        let blocks_before = node.health.as_ref().map(|(report, _)| report.blocks);
        if report.headers <= report.blocks {
            node.headers_ahead_since = None;
        } else if node.headers_ahead_since.is_none() || blocks_before != Some(report.blocks) {
            node.headers_ahead_since = Some(at);
        }
        node.health = Some((report.clone(), at));
        if node.wrong_chain.is_some() {
            node.waiting = None;
            return;
        }
        let is_main = Chain::from_name(&report.chain) == Some(Chain::Main);
        if report.initial_download && is_main {
            // Bitcoin Core gives no template on the main network in this state; on test networks
            // it does.
            let percent = (report.progress * 100.0).clamp(0.0, 100.0);
            let words = format!(
                "it is downloading the chain, {} of {} blocks, {percent:.1} % verified.",
                report.blocks, report.headers
            );
            self.wait_for(index, -10, words, out);
        } else {
            node.waiting = node.waiting.take().filter(|waiting| match waiting.code {
                -9 => is_main && report.connections == 0,
                _ => false,
            });
        }
        let node = &mut self.nodes[index];
        if node.tip == Some(report.best) || node.is_later_news(sent) {
            self.tip_news(at, index, report.best, TipSource::Poll);
        } else {
            node.poll.due = at;
        }
        self.tips.learn(report.best, report.blocks, Some(report.chainwork));
    }

    fn check_chain(&mut self, index: usize, report: &HealthReport, out: &mut Vec<Output>) {
        let chain = Chain::from_name(&report.chain).filter(|chain| self.chains.contains(chain));
        let found = match (chain, report.genesis) {
            (None, _) => Some(report.chain.clone()),
            (Some(chain), Some(genesis)) if genesis != chain.genesis() => {
                Some(format!("{chain} with another first block, {genesis}"))
            }
            (Some(_), _) => None,
        };
        let node = &mut self.nodes[index];
        if node.wrong_chain != found
            && let Some(found) = &found
        {
            let wanted: Vec<&str> = self.chains.iter().map(|chain| chain.name()).collect();
            out.push(Output::Event(Event::WrongChain {
                node: node.spec.name.clone(),
                found: found.clone(),
                wanted: wanted.join(" or "),
            }));
            node.forget();
        }
        node.wrong_chain = found;
    }

    /// The node's tip is `hash`, as far as we can know.
    fn tip_news(&mut self, at: Instant, index: usize, hash: BlockHash, source: TipSource) {
        let node = &self.nodes[index];
        if !node.checked || node.wrong_chain.is_some() || node.waiting.is_some() {
            return;
        }
        let mut in_use: Vec<BlockHash> = self.nodes.iter().filter_map(|node| node.tip).collect();
        in_use.extend(self.work.map(|work| work.prev));
        let place = self.tips.announce(at, node.spec.id, hash, &in_use);
        let races = self.work.is_some() && node.behind.is_none();
        let is_leader = self.leader == Some(node.spec.id);
        let node = &mut self.nodes[index];
        match place {
            Place::First if races => node.race.won(source),
            Place::Followed(by) if races && by < HEALTH_EVERY => node.race.followed.add(by),
            Place::First | Place::Followed(_) | Place::Known => {}
        }
        if node.move_to(hash, at) && !self.tips.is_known(hash) {
            node.ask_soon = Some(at);
        }
        let good = node.standing.rank().is_some_and(|rank| rank <= 1);
        if let Some(work) = &mut self.work
            && work.prev == hash
            && (good || is_leader)
        {
            work.confirmed = at;
        }
    }

    // -- successes and failures --

    fn succeeded(
        &mut self,
        at: Instant,
        index: usize,
        method: Method,
        took: Option<Duration>,
        out: &mut Vec<Output>,
    ) {
        self.nodes[index].stats.entry(method).or_default().succeeded(took);
        self.alive(at, index, out);
    }

    /// The node showed a sign of life.
    fn alive(&mut self, at: Instant, index: usize, out: &mut Vec<Output>) {
        let node = &mut self.nodes[index];
        node.heard_at = Some(at);
        node.silent = None;
        node.doubted = false;
        if node.breaker.succeed() == BreakerChange::Closed {
            node.ask_soon = Some(at);
            let since = node.down_since.take().unwrap_or(at);
            out.push(Output::Event(Event::NodeUp {
                node: node.spec.name.clone(),
                after: at.saturating_duration_since(since),
            }));
        }
    }

    fn failed(
        &mut self,
        at: Instant,
        index: usize,
        method: Method,
        error: &RpcError,
        out: &mut Vec<Output>,
    ) {
        let node = &mut self.nodes[index];
        node.stats.entry(method).or_default().failed(error);
        let call = match method {
            Method::GetBlockTemplate => Some(&mut node.fetch),
            Method::GetBestBlockHash => Some(&mut node.poll),
            Method::Health => Some(&mut node.ask),
            _ => None,
        };
        if let Some(call) = call
            && call.sent.take().is_none()
        {
            // It was given up before; its failure was counted then.
            return;
        }
        if method == Method::GetBlockTemplate {
            node.fetch_after = Some(at + FETCH_RETRY);
            self.return_after = Some(at + PROBE_PREFERRED);
        }
        if method == Method::Longpoll {
            node.longpoll_on = false;
            node.longpoll_after = Some(at);
            if matches!(error, RpcError::Timeout(_)) {
                // A quiet mempool never answers.
                return;
            }
            node.longpoll_after = Some(at + LONGPOLL_RETRY);
        }
        node.last_error = Some((error.to_string(), at));
        match (ErrorKind::of(error), method) {
            (ErrorKind::Waiting, _) => {
                let RpcError::Rpc { code, message } = error else { return };
                self.alive(at, index, out);
                if *code == -28 {
                    // It has just started: perhaps with another configuration.
                    self.nodes[index].checked = false;
                }
                self.wait_for(index, *code, message.clone(), out);
            }
            // A proxy in between may cut long polls while the node is well: look before we hop.
            (_, Method::Longpoll) => {
                node.doubted = true;
                node.poll.due = at;
            }
            (ErrorKind::Rpc, Method::GetBlockTemplate) => {
                node.template_error = Some(error.to_string());
                self.alive(at, index, out);
            }
            (ErrorKind::Transport, _)
            | (_, Method::GetBestBlockHash | Method::Health | Method::GetBlockTemplate) => {
                if method == Method::GetBlockTemplate {
                    node.template_error = Some(error.to_string());
                }
                if node.breaker.fail(at) == BreakerChange::Opened {
                    node.down_since = Some(at);
                    node.forget();
                    out.push(Output::Event(Event::NodeDown {
                        node: node.spec.name.clone(),
                        why: error.to_string(),
                    }));
                }
            }
            // Submissions and proposals have retries and words of their own.
            _ => {}
        }
    }

    /// The node asks for patience; said once, the words are kept up to date.
    fn wait_for(&mut self, index: usize, code: i64, words: String, out: &mut Vec<Output>) {
        let node = &mut self.nodes[index];
        if !node.waiting_said {
            node.waiting_said = true;
            out.push(Output::Event(Event::Waiting {
                node: node.spec.name.clone(),
                words: words.clone(),
            }));
        }
        node.template = None;
        node.waiting = Some(Waiting { words, code });
    }
}
