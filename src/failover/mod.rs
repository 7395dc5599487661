//! Which node leads, when it is asked, and when there is no valid work.
//!
//! A pure state machine: [`Failover::handle`] takes the nodes' reports and the time, and returns
//! commands for the shells. It makes every decision about nodes, except about the content of a
//! template.
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
//! The lead moves only when the new leader's template is there, so there is no moment without work.
//! A failing leader keeps the lead (its jobs are served) until a better node has delivered a
//! template. When all nodes are down, the last job is served for the grace time; then miners are
//! disconnected. A quarter of it before the end, a node on a tip with less work may lead again.
//!
//! **A hung leader** (a stopped process keeps its connections open and says nothing) is replaced in
//! less than 3 s. Every node is polled each 1.5 s. When the leader's poll is unanswered for 0.5 s,
//! a template of the next node is fetched in advance. After 1 s (or twice the leader's usual time
//! for a template, at most 2 s, because Bitcoin Core answers nothing while it builds one) the
//! leader counts as silent and that template is served. This takes at worst 1.5 + 1 s, and less
//! when a new block arrives through another node. A leader that was killed is replaced at once: the
//! end of its idle connection triggers a poll, and the failed poll triggers a fetch from the next
//! node.
//!
//! **A node that would not accept our block**, because our user may not call `submitblock` (or
//! another method that mining needs, see [`crate::node::permissions`]), leads only if no healthy
//! node would accept it. Its tip and its work are as good as any, and a block goes to all nodes.
//!
//! **Work never goes back** to a tip with less work; `Failover::may_serve` lists the exceptions.
//! Nodes that refuse each other's blocks are handled in the module `split`.

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
pub use stats::{ErrorKind, MethodStats};
pub use tips::RaceStats;
pub use view::{BestTip, NodeView};
pub use watch::NewsBy;

use crate::chain::{BlockHash, Chain};
use crate::clock::{Now, Reading};
use crate::ids::NodeId;
pub use crate::node::WAIT;
use node::Node;
use split::Rulings;
use tips::Tips;

/// How often each usable node is asked for its tip.
pub const POLL_EVERY: Duration = Duration::from_millis(1500);
/// Deadline of a poll, for the shell.
pub const POLL_DEADLINE: Duration = Duration::from_secs(2);
/// How often each node is asked for its health.
pub const HEALTH_EVERY: Duration = Duration::from_secs(12);
/// The same for a node that is starting up or downloading.
pub const HEALTH_WAITING: Duration = Duration::from_secs(5);
/// Minimum time between two health questions to one node.
pub const HEALTH_GAP: Duration = Duration::from_secs(1);
/// Deadline of a health question, for the shell.
pub const HEALTH_DEADLINE: Duration = Duration::from_secs(5);
/// Maximum time between two templates from the leader, so that a quiet mempool does not look like a
/// dead node (cgminer gives a pool up after 90 s without a job).
pub const HEARTBEAT: Duration = Duration::from_secs(30);
/// Deadline of a template call, for the shell. It is long because of slow nodes; other nodes are
/// asked long before (see [`HELP_AFTER`] and [`TRY`]).
pub const FETCH_DEADLINE: Duration = Duration::from_secs(30);
/// A second template of the same node on the same tip within this time makes no new job.
pub const REFRESH_GAP: Duration = Duration::from_secs(2);
/// Maximum burst of template calls to one node …
pub const FETCH_BURST: u32 = 6;
/// … and then the time between two calls, whatever the reasons.
pub const FETCH_EVERY: Duration = Duration::from_millis(500);
/// Time after which a failed template call is repeated; it doubles up to [`LONGEST_PAUSE`].
pub const FETCH_RETRY: Duration = Duration::from_secs(1);
/// How often the leader is asked for its tip if nothing announces it and calls may not wait.
pub const POLL_SOON: Duration = Duration::from_millis(250);
/// Minimum time between the starts of two calls that wait at a node.
pub const WAIT_GAP: Duration = Duration::from_millis(20);
/// Time in which ZMQ must announce a tip that was seen otherwise, before it counts as silent.
pub const ANNOUNCED_WITHIN: Duration = Duration::from_secs(5);
/// When a node without a spare thread is tried again.
pub const TRY_WAIT_AGAIN: Duration = Duration::from_secs(600);
/// Delay of a new tip's template call after its header call: a node that builds a template answers
/// nothing else.
pub const HEADER_FIRST: Duration = Duration::from_millis(15);
/// Time beyond the deadline after which a call without any result counts as lost.
pub const SLACK: Duration = Duration::from_secs(1);
/// A leader whose poll is unanswered for this long is suspect.
pub const DOUBT_AFTER: Duration = Duration::from_millis(500);
/// A node whose poll is unanswered for this long is silent (longer, up to [`SILENT_AT_MOST`], if
/// its templates usually take long).
pub const SILENT_AFTER: Duration = Duration::from_secs(1);
/// See [`SILENT_AFTER`].
pub const SILENT_AT_MOST: Duration = Duration::from_secs(2);
/// Time in which a leader must follow to a tip that another node has.
pub const FOLLOW: Duration = Duration::from_secs(3);
/// How long a node may be behind by two or more blocks (by one: [`FOLLOW`]).
pub const LAG_MANY: Duration = Duration::from_secs(1);
/// If the leader has no template for a new tip after this time (or twice its usual time), another
/// node that has the tip is asked too.
pub const HELP_AFTER: Duration = Duration::from_secs(1);
/// Time for the nodes to report at the start, before the best of those that did leads.
pub const SETTLE: Duration = Duration::from_secs(1);
/// How long one node is tried before the next one is tried as well.
pub const TRY: Duration = Duration::from_millis(1500);
/// Pause after the first pass without success; it doubles up to [`LONGEST_PAUSE`].
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// See [`FIRST_PAUSE`].
pub const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Maximum age of a template that may start a lead.
pub const FRESH_TEMPLATE: Duration = Duration::from_secs(5);
/// How long a preferred node must have been healthy to get the lead back, …
pub const STEADY: Duration = Duration::from_secs(5);
/// … and the maximum age of its health report.
pub const FRESH_HEALTH: Duration = Duration::from_secs(3);
/// How often a node that is preferred to the leader is probed when its circuit breaker is open, or
/// when it gave no template.
pub const PROBE_PREFERRED: Duration = Duration::from_secs(15);
/// Maximum wait of an open circuit breaker while nobody leads.
pub const PROBE_NOBODY: Duration = Duration::from_secs(5);
/// A node whose headers are ahead of its blocks for this long has stalled.
pub const STALLED_HEADERS: Duration = Duration::from_secs(60);
/// A node without a new block for this long on the main network has stalled (by chance this happens
/// with one block in about 8,000).
pub const STALLED_TIP: Duration = Duration::from_secs(90 * 60);
/// Time without a leader after which [`Event::RpcDown`] follows.
pub const RPC_DOWN_AFTER: Duration = Duration::from_secs(5);
/// Time with a backup as leader after which [`Event::LongOnBackup`] follows.
pub const LONG_ON_BACKUP: Duration = Duration::from_secs(3600);
/// Duration of a template call (median of five) above which an empty job comes first.
pub const EMPTY_FIRST_ABOVE: Duration = Duration::from_millis(20);
/// Number of our blocks that are remembered with their heights.
const OWN_KEPT: usize = 8;

/// The policy for nodes. See the module's documentation.
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
    /// The last leader, with its name (it may have been removed since).
    last_leader: Option<(NodeId, String)>,
    /// Why the last leader lost the lead without a successor.
    lost_why: LeadWhy,
    /// Since when nobody has led.
    nobody_since: Option<Instant>,
    down_said: bool,
    backup_said: bool,
    pass: Pass,
    gated: bool,
    /// Whether miners were ever accepted.
    opened: bool,
    split_since: Option<Instant>,
    /// The first node's verdicts on the others' tips.
    rulings: Rulings,
    /// The tip of the empty job that was ordered since the last template was served.
    empty_said: Option<BlockHash>,
    /// Blocks of ours and their heights, newest last.
    own: VecDeque<(BlockHash, u64)>,
    started: Instant,
    /// The last reading of this box's own clock.
    this_box: Option<Reading>,
    next: Option<Instant>,
}

/// What the miners work on.
#[derive(Clone, Copy, Debug)]
struct Work {
    /// The node of its template.
    node: NodeId,
    /// Its tip.
    prev: BlockHash,
    /// When work on this tip began.
    since: Instant,
    /// When a template on it was served last.
    served: Instant,
    /// When a healthy node last reported this as its tip.
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
    /// Starts without a leader and with miners refused; the first [`Input::Tick`] returns the first
    /// commands.
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
            Input::Announced { node, hash, header } => {
                if let Some(index) = self.index(node) {
                    self.announced(at, index, hash, header);
                }
            }
            Input::PeerLost(node) => {
                if let Some(index) = self.index(node) {
                    self.nodes[index].peer_tip = None;
                    self.nodes[index].announcements.peer_lost();
                }
            }
        }
        self.settle(at, out);
    }

    /// A block of ours was solved: its height is known before any node reports it. Without this, a
    /// node that is made to prefer it to a rival would seem to be one block higher.
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
            // The first nodes: the time without a leader before was not their failure.
            self.started = at;
            self.nobody_since = Some(at);
        }
        if !self.nodes.iter().map(|node| &node.spec).eq(&setup.nodes) {
            // Other nodes, or another first one: ask again which blocks are refused.
            self.nodes.iter_mut().for_each(|node| node.inquiry.forget());
            self.rulings = Rulings::default();
        }
        self.place(at, setup.nodes);
        if chains_changed {
            self.recheck_chains(at, out);
        }
    }

    /// Arranges the nodes in the given order, and keeps the state of known ids.
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

    /// The allowed chains changed: the present work may be worthless now.
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
