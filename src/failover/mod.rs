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
//! block arrives through another node. A leader that was killed is replaced at once: the end of its
//! idle connection makes us poll it, and the failed poll fetch from the next node.
//!
//! **A node that would not take our block** because our user may not call `submitblock` (or another
//! method that mining needs, see [`crate::node::permissions`]) leads only where no node is well that
//! would. Its tip and its work are as good as any, and the block goes to all nodes.
//!
//! **A template never goes back** to a tip with less work. The exceptions are written at
//! `Failover::may_serve`. Nodes that refuse each other's blocks have a module of their own, `split`.

mod breaker;
mod clocks;
mod io;
mod lead;
mod node;
mod permissions;
mod policy;
mod reports;
mod split;
mod stats;
mod tips;
mod view;
mod watch;

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

pub use breaker::{Breaker, FAILURES_TO_OPEN, FIRST_WAIT, LONGEST_WAIT};
pub use clocks::{Clocks, Comparison, Off, REFUSED_FROM};
pub use io::{DEFAULT_GRACE, Event, GateWhy, Input, LeadWhy, NodeSpec, Output, Setup};
pub use node::{Progress, Standing, Waiting};
pub use permissions::{PERMISSIONS_DEADLINE, PERMISSIONS_EVERY, PERMISSIONS_GAP};
pub use split::{
    BLOCKS_DEADLINE, CHAIN_TIPS_DEADLINE, CHAIN_TIPS_GAP, Dispute, Follow, REPEAT, REPEAT_KNOWN,
};
pub use stats::{BOUNDS_MS, ErrorKind, Histogram, MethodStats};
pub use tips::RaceStats;
pub use view::NodeView;
pub use watch::NewsBy;

use crate::chain::{BlockHash, Chain};
use crate::clock::{Now, Reading};
use crate::ids::NodeId;
pub use crate::node::WAIT;
use node::Node;
use split::Rulings;
use tips::Tips;

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
/// Deadline of a template call, for the shell. Long, for the sake of slow nodes; other nodes are
/// asked long before (see [`HELP_AFTER`] and [`TRY`]).
pub const FETCH_DEADLINE: Duration = Duration::from_secs(30);
/// A second template of the same node on the same tip within this time makes no new job.
pub const REFRESH_GAP: Duration = Duration::from_secs(2);
/// Templates are fetched from one node in a burst of at most this many …
pub const FETCH_BURST: u32 = 6;
/// … and then one in this time, however many reasons there are.
pub const FETCH_EVERY: Duration = Duration::from_millis(500);
/// A failed template call is repeated after this time; it doubles up to [`LONGEST_PAUSE`].
pub const FETCH_RETRY: Duration = Duration::from_secs(1);
/// The leader's tip is asked this often where nothing announces it and calls may not wait.
pub const POLL_SOON: Duration = Duration::from_millis(250);
/// Two calls that wait at a node begin at least this far apart.
pub const WAIT_GAP: Duration = Duration::from_millis(20);
/// ZMQ has this long to announce a tip that was heard otherwise, before it counts as silent.
pub const ANNOUNCED_WITHIN: Duration = Duration::from_secs(5);
/// A node without a thread to spare is tried again after this time.
pub const TRY_WAIT_AGAIN: Duration = Duration::from_secs(600);
/// A template on a new tip is asked for so much later than the tip's header: a node that builds a
/// template answers nothing else.
pub const HEADER_FIRST: Duration = Duration::from_millis(15);
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
/// A node that is preferred to the leader is probed this often when its breaker is open, or when
/// it gave no template.
pub const PROBE_PREFERRED: Duration = Duration::from_secs(15);
/// An open breaker waits no longer than this while nobody leads.
pub const PROBE_NOBODY: Duration = Duration::from_secs(5);
/// Headers ahead of blocks for this long: the node has stalled.
pub const STALLED_HEADERS: Duration = Duration::from_secs(60);
/// No block for this long on the main network: the node has stalled (by chance it happens to one
/// block in about 8,000).
pub const STALLED_TIP: Duration = Duration::from_secs(90 * 60);
/// Nobody has led for this long: [`Event::RpcDown`].
pub const RPC_DOWN_AFTER: Duration = Duration::from_secs(5);
/// A backup has led for this long: [`Event::LongOnBackup`].
pub const LONG_ON_BACKUP: Duration = Duration::from_secs(3600);
/// Templates that took longer than this (median of five) make an empty job worth while.
pub const EMPTY_FIRST_ABOVE: Duration = Duration::from_millis(20);
/// So many blocks of ours are remembered with their heights.
const OWN_KEPT: usize = 8;

/// The policy of the nodes. See the module's documentation.
#[derive(Debug)]
pub struct Failover {
    chains: Vec<Chain>,
    grace: Duration,
    follow: Follow,
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
    backup_said: bool,
    pass: Pass,
    gated: bool,
    /// Miners were let in once.
    opened: bool,
    split_since: Option<Instant>,
    /// What the first node said of the others' tips.
    rulings: Rulings,
    /// The tip for which an empty job was ordered.
    empty_said: Option<BlockHash>,
    /// Blocks of ours and their heights, newest last.
    own: VecDeque<(BlockHash, u64)>,
    started: Instant,
    /// What this box's own clock showed last.
    this_box: Option<Reading>,
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
    /// When a template on it was served last.
    served: Instant,
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
            follow: setup.follow,
            nodes: Vec::new(),
            tips: Tips::default(),
            work: None,
            leader: None,
            lead_since: now.mono,
            last_leader: None,
            lost_why: LeadWhy::First,
            nobody_since: Some(now.mono),
            down_said: false,
            backup_said: false,
            pass: Pass { trying: None, tried: Vec::new(), after: None, pause: FIRST_PAUSE },
            gated: true,
            opened: false,
            split_since: None,
            rulings: Rulings::default(),
            empty_said: None,
            own: VecDeque::new(),
            started: now.mono,
            this_box: None,
            next: Some(now.mono),
        };
        failover.place(now.mono, setup.nodes);
        failover
    }

    /// Takes one input and appends the commands that follow from it. News of unknown nodes
    /// are ignored, and so are late ones.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        let at = now.mono;
        self.note_box(now, out);
        match input {
            Input::Tick => {}
            Input::Reload(setup) => self.reload(at, setup, out),
            Input::CheckPermissions => self.check_permissions(at),
            Input::Node(event) => {
                if let Some(index) = self.index(event.node) {
                    self.hear(at, index, event.kind, out);
                }
            }
        }
        self.settle(at, out);
    }

    /// A block of ours was solved: its height is known before any node says so. Without this a node
    /// that is made to prefer it to a rival would seem to have gone one block higher.
    pub fn solved(&mut self, block: BlockHash, height: u64) {
        if self.own.len() == OWN_KEPT {
            self.own.pop_front();
        }
        self.own.push_back((block, height));
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
        self.follow = setup.follow;
        let chains_changed = self.chains != setup.chains;
        self.chains = setup.chains;
        let stay: HashSet<NodeId> = setup.nodes.iter().map(|spec| spec.id).collect();
        if self.leader.is_some_and(|leader| !stay.contains(&leader)) {
            self.lose_lead(at, LeadWhy::Removed);
        }
        if self.nodes.is_empty() && !setup.nodes.is_empty() {
            // The first nodes of all: what went before was no failure of theirs.
            self.started = at;
            self.nobody_since = Some(at);
        }
        if !self.nodes.iter().map(|node| &node.spec).eq(&setup.nodes) {
            // Other names, or another first: what was refused is asked anew.
            self.nodes.iter_mut().for_each(|node| node.inquiry.forget());
            self.rulings = Rulings::default();
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
            self.lose_lead(at, LeadWhy::Unfit(Standing::WrongChain(found)));
        }
    }
}
