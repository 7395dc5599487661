//! What is remembered of one node.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use super::FETCH_DEADLINE;
use super::breaker::Breaker;
use super::io::{LeadWhy, NodeSpec};
use super::split::{Dispute, Inquiry, Lookup};
use super::stats::{ErrorKind, MethodStats};
use super::tips::RaceStats;
use crate::chain::BlockHash;
use crate::node::{HealthReport, Method};

/// How many durations of `getblocktemplate` the median is taken from.
const RECENT: usize = 5;
/// How many former tips of a node are remembered, to know a reorganisation from a lag.
const HELD: usize = 16;

/// One node.
#[derive(Debug)]
pub(super) struct Node {
    pub spec: NodeSpec,
    pub breaker: Breaker,
    /// Since when the breaker has been open, through all probes.
    pub down_since: Option<Instant>,
    pub standing: Standing,
    /// Since when it has been fit without a break.
    pub fit_since: Option<Instant>,
    /// The chain was checked since it was last down.
    pub checked: bool,
    pub health: Option<(HealthReport, Instant)>,
    pub wrong_chain: Option<String>,
    pub waiting: Option<Waiting>,
    /// The owner has been told that it waits.
    pub waiting_said: bool,
    /// A poll is overdue and nothing else was heard.
    pub silent: Option<Duration>,
    /// Something odd happened to the leader's connections: a template of the next node is wanted.
    pub doubted: bool,
    pub last_error: Option<Failure>,
    pub heard_at: Option<Instant>,

    pub tip: Option<BlockHash>,
    /// The tip that it announced directly before this one, where nothing was lost between.
    pub follows: Option<BlockHash>,
    pub tip_at: Option<Instant>,
    held: VecDeque<BlockHash>,
    pub behind: Option<Behind>,
    /// Since when its headers have been ahead of its blocks.
    pub headers_ahead_since: Option<Instant>,

    pub template: Option<HeldTemplate>,
    /// The last template call failed although the node answers.
    pub template_error: Option<String>,
    pub poll: Call,
    pub ask: Call,
    /// An extra health question is wanted, beside the regular one.
    pub ask_soon: Option<Instant>,
    pub fetch: Call,
    /// Not before this may a failed template call be repeated.
    pub fetch_after: Option<Instant>,
    /// Failed template calls in a row, up to a few.
    pub template_failures: u32,
    /// Theoretical arrival time of the limiter, see [`Node::may_fetch_at`].
    fetch_limit: Option<Instant>,
    pub longpoll_on: bool,
    /// Not before this may a broken long poll be started again.
    pub longpoll_after: Option<Instant>,
    recent: VecDeque<Duration>,
    pub stats: BTreeMap<Method, MethodStats>,
    pub race: RaceStats,
    /// Why it lags, if it has refused what it lacks.
    pub inquiry: Inquiry,
    /// A look-up of its blocks that is under way.
    pub lookup: Option<Lookup>,
}

/// One kind of call: at most one is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// When the call under way was sent.
    pub sent: Option<Instant>,
    /// When the last one was sent, answered or not.
    pub last: Option<Instant>,
    /// When the next is due.
    pub due: Instant,
}

/// A template that the daemon keeps for this node.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldTemplate {
    pub prev: BlockHash,
    pub at: Instant,
    /// It came with a longpollid.
    pub longpoll: bool,
    /// Jobs were built from it.
    pub served: bool,
    pub txs: usize,
    pub curtime: u64,
}

/// A failed call.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub kind: ErrorKind,
    pub words: String,
    pub at: Instant,
}

/// The node asks for patience.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub words: String,
    pub code: i64,
}

/// By how much a node lags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Behind {
    /// Blocks; 0 when its chain has as many blocks but less work.
    pub blocks: u64,
    pub since: Instant,
}

/// What a node is good for at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// May lead.
    Fit,
    /// Fit, but on another block of the same height and work as the one that is worked on.
    Rival,
    /// Its chain has less work; this many blocks fewer.
    Behind(u64),
    /// Its chain has as many blocks but less work.
    Weaker,
    /// Its chain has less work because it has refused a block that another node follows.
    Refuses(Dispute),
    /// It follows a block that the first node has refused, and the first node decides.
    Refused(Dispute),
    /// Its headers are ahead of its blocks, or there was no block for far too long.
    Stalled,
    /// A test network's node that says it is in initial download (and gives templates).
    Syncing,
    /// Its last call failed, fewer times than opens the breaker.
    Shaky,
    /// It answers, but not with a template.
    NoTemplate,
    /// It holds the connection but does not answer, for longer than this.
    Silent(Duration),
    /// It asks for patience, in these words.
    Waiting(String),
    /// Not asked yet on which chain it is.
    Unknown,
    /// The breaker is open.
    Down,
    /// On a chain where the payout address is worth nothing.
    WrongChain(String),
}

impl Standing {
    /// Smaller is better; `None` never leads.
    pub(super) fn rank(&self) -> Option<u8> {
        match self {
            Standing::Fit => Some(0),
            Standing::Rival => Some(1),
            Standing::Behind(_)
            | Standing::Weaker
            | Standing::Refuses(_)
            | Standing::Stalled
            | Standing::Syncing => Some(2),
            Standing::Shaky | Standing::NoTemplate => Some(3),
            Standing::Silent(_) => Some(4),
            // Behind all others: it is polled, and leads nobody.
            Standing::Refused(_) => Some(5),
            Standing::Waiting(_) | Standing::Unknown | Standing::Down | Standing::WrongChain(_) => {
                None
            }
        }
    }

    /// It answers, on the right chain, with a chain of its own to be compared.
    pub(super) fn answers(&self) -> bool {
        self.rank().is_some_and(|rank| rank <= 3)
    }

    /// Why a leader in this standing should be replaced.
    pub(super) fn against(&self, last_error: &str) -> LeadWhy {
        match self {
            Standing::Rival => LeadWhy::Rival,
            Standing::Behind(blocks) => LeadWhy::Behind(*blocks),
            Standing::Weaker => LeadWhy::Weaker,
            Standing::Refuses(dispute) => LeadWhy::Refuses(dispute.follower.clone()),
            Standing::Refused(dispute) => LeadWhy::Refused(dispute.refuser.clone()),
            Standing::Stalled => LeadWhy::Stalled,
            Standing::Silent(limit) => LeadWhy::Silent(*limit),
            Standing::Waiting(words) => LeadWhy::Waiting(words.clone()),
            Standing::Syncing => LeadWhy::Waiting("initial download".into()),
            Standing::WrongChain(found) => LeadWhy::WrongChain(found.clone()),
            Standing::Shaky | Standing::NoTemplate | Standing::Down => {
                LeadWhy::Failed(last_error.to_owned())
            }
            Standing::Fit | Standing::Unknown => LeadWhy::Ready,
        }
    }
}

/// In words that follow "the node".
impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::Fit => f.write_str("is fit"),
            Standing::Rival => f.write_str("is on another block of the same height"),
            Standing::Behind(1) => f.write_str("is behind by 1 block"),
            Standing::Behind(blocks) => write!(f, "is behind by {blocks} blocks"),
            Standing::Weaker => f.write_str("is on a chain with less work"),
            Standing::Refuses(dispute) => {
                write!(
                    f,
                    "has refused {}, which node {} follows",
                    dispute.words(),
                    dispute.follower
                )
            }
            Standing::Refused(dispute) => {
                write!(f, "follows {}, which node {} has refused", dispute.words(), dispute.refuser)
            }
            Standing::Stalled => f.write_str("has stopped taking in blocks"),
            Standing::Syncing => f.write_str("is still downloading the chain"),
            Standing::Shaky => f.write_str("failed its last call"),
            Standing::NoTemplate => f.write_str("answers but gives no template"),
            Standing::Silent(_) => f.write_str("does not answer at the moment"),
            Standing::Waiting(words) => write!(f, "is not ready: {words}"),
            Standing::Unknown => f.write_str("has not answered yet"),
            Standing::Down => f.write_str("is down"),
            Standing::WrongChain(found) => write!(f, "is on the wrong chain ({found})"),
        }
    }
}

impl Node {
    pub fn new(spec: NodeSpec, at: Instant, poll_offset: Duration, ask_offset: Duration) -> Node {
        let call = |due| Call { sent: None, last: None, due };
        Node {
            spec,
            breaker: Breaker::default(),
            down_since: None,
            standing: Standing::Unknown,
            fit_since: None,
            checked: false,
            health: None,
            wrong_chain: None,
            waiting: None,
            waiting_said: false,
            silent: None,
            doubted: false,
            last_error: None,
            heard_at: None,
            tip: None,
            follows: None,
            tip_at: None,
            held: VecDeque::with_capacity(HELD),
            behind: None,
            headers_ahead_since: None,
            template: None,
            template_error: None,
            poll: call(at + poll_offset),
            ask: call(at + ask_offset),
            ask_soon: Some(at),
            fetch: call(at),
            fetch_after: None,
            template_failures: 0,
            fetch_limit: None,
            longpoll_on: false,
            longpoll_after: None,
            recent: VecDeque::with_capacity(RECENT),
            stats: BTreeMap::new(),
            race: RaceStats::default(),
            inquiry: Inquiry::default(),
            lookup: None,
        }
    }

    /// The same node under another name.
    pub fn renamed(mut self, spec: NodeSpec) -> Node {
        self.spec = spec;
        self
    }

    /// The node's tip is now `hash`; false when it was already.
    pub fn move_to(&mut self, hash: BlockHash, at: Instant) -> bool {
        let moved = self.tip != Some(hash);
        if moved {
            self.tip = Some(hash);
            self.follows = None;
            self.held.retain(|held| *held != hash);
            if self.held.len() == HELD {
                self.held.pop_front();
            }
            self.held.push_back(hash);
            self.tip_at = Some(at);
        }
        moved
    }

    /// The node's tip is or once was `hash`.
    pub fn has_held(&self, hash: BlockHash) -> bool {
        self.held.contains(&hash)
    }

    /// The tip before the present one.
    pub fn former_tip(&self) -> Option<BlockHash> {
        self.held.iter().rev().nth(1).copied()
    }

    /// A call sent then tells of a state later than the latest news of the tip.
    pub fn is_later_news(&self, sent: Option<Instant>) -> bool {
        match (sent, self.tip_at) {
            (_, None) => true,
            (Some(sent), Some(tip_at)) => sent > tip_at,
            (None, Some(_)) => false,
        }
    }

    pub fn remember_duration(&mut self, took: Duration) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(took.min(FETCH_DEADLINE));
    }

    /// Median of the last five durations of `getblocktemplate`.
    pub fn median_fetch(&self) -> Option<Duration> {
        let mut sorted: Vec<Duration> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }

    /// When the next template may be fetched: a burst of `burst`, then one per `every`, however
    /// many reasons there are (the generic cell rate algorithm: one instant is all its state).
    pub fn may_fetch_at(&self, now: Instant, burst: u32, every: Duration) -> Instant {
        match self.fetch_limit {
            Some(limit) => (limit + every).checked_sub(every * burst).unwrap_or(now),
            None => now,
        }
    }

    pub fn fetch_sent(&mut self, at: Instant, every: Duration) {
        self.fetch.sent = Some(at);
        self.fetch.last = Some(at);
        self.fetch_limit = Some(self.fetch_limit.map_or(at, |limit| limit.max(at)) + every);
    }

    pub fn last_error_words(&self) -> &str {
        self.last_error.as_ref().map_or("it does not answer", |failure| failure.words.as_str())
    }

    /// Its state with its name, in one clause.
    pub fn clause(&self) -> String {
        let (name, standing) = (&self.spec.name, &self.standing);
        match (standing, &self.last_error) {
            (
                Standing::Down | Standing::Unknown | Standing::Shaky | Standing::NoTemplate,
                Some(Failure { words, .. }),
            ) => format!("{name} {standing} ({words})"),
            _ => format!("{name} {standing}"),
        }
    }

    /// What the owner can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        let kind = self.last_error.as_ref().map(|failure| failure.kind);
        Some(match (&self.standing, kind) {
            // Two rule sets: what they mean is told by [`Failover::rules_words`].
            (Standing::Refuses(_) | Standing::Refused(_), _) => return None,
            (Standing::Fit | Standing::Rival, _) => return None,
            (Standing::WrongChain(_), _) => {
                "Check the node's address and port, and the payout address."
            }
            (Standing::Waiting(_) | Standing::Syncing, _) => {
                "Nothing to do: the node gets ready by itself."
            }
            (Standing::Behind(_) | Standing::Weaker | Standing::Stalled, _) => {
                "Check the node's internet connection, its peers and its free disk space."
            }
            (Standing::Silent(_), _) | (_, Some(ErrorKind::Timeout)) => {
                "The node is frozen or overloaded: look at its machine, restart it if needed."
            }
            (_, Some(ErrorKind::Transport)) => {
                "Check that the node runs, and that address and port are right; a node on another \
                 machine needs rpcbind and rpcallowip."
            }
            (_, Some(ErrorKind::Auth)) => {
                "Check user and password or the cookie file, and rpcallowip in bitcoin.conf."
            }
            (_, Some(ErrorKind::Http | ErrorKind::Malformed)) => {
                "Something else than a Bitcoin node answers there: check the address and the port."
            }
            (Standing::Unknown, None) => return None,
            (_, Some(ErrorKind::Rpc | ErrorKind::Waiting) | None) => {
                "See the node's own log, debug.log."
            }
        })
    }

    /// It answers, on the right chain, and its tip is known.
    pub fn is_heard(&self) -> bool {
        self.breaker.is_closed()
            && self.checked
            && self.wrong_chain.is_none()
            && self.waiting.is_none()
            && self.silent.is_none()
            && self.tip.is_some()
    }

    /// Forgets what may have changed while the node was away. Its chain is checked anew.
    pub fn forget(&mut self) {
        self.checked = false;
        self.waiting = None;
        self.silent = None;
        self.doubted = false;
        self.template = None;
        self.template_error = None;
        self.inquiry.forget();
        self.behind = None;
        self.headers_ahead_since = None;
        self.tip = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::NodeId;

    fn node() -> Node {
        let spec = NodeSpec { id: NodeId(1), name: "attic".into(), host: "10.0.0.1".into() };
        Node::new(spec, Instant::now(), Duration::ZERO, Duration::ZERO)
    }

    #[test]
    fn the_median_is_of_the_last_five() {
        let mut node = node();
        assert_eq!(node.median_fetch(), None);
        let ms = Duration::from_millis;
        for took in [900, 900, 900, 10, 30, 20, 15, 25] {
            node.remember_duration(ms(took));
        }
        assert_eq!(node.median_fetch(), Some(ms(20)));
    }

    #[test]
    fn the_limiter_lets_a_burst_through_and_then_one_per_interval() {
        let mut node = node();
        let start = Instant::now();
        let every = Duration::from_millis(500);
        let mut now = start;
        let mut sent = Vec::new();
        for _ in 0..20 {
            now = now.max(node.may_fetch_at(now, 4, every));
            node.fetch_sent(now, every);
            sent.push((now - start).as_millis());
        }
        assert_eq!(sent[..6], [0, 0, 0, 0, 500, 1000]);
        assert_eq!(sent[19], 8000);
        let later = now + Duration::from_secs(60);
        assert!(node.may_fetch_at(later, 4, every) <= later);
    }

    #[test]
    fn former_tips_are_remembered_up_to_a_bound() {
        let mut node = node();
        let now = Instant::now();
        for n in 0..20 {
            assert!(node.move_to(BlockHash([n; 32]), now));
        }
        assert!(!node.move_to(BlockHash([19; 32]), now));
        assert!(!node.has_held(BlockHash([0; 32])));
        assert!(node.has_held(BlockHash([4; 32])) && node.has_held(BlockHash([19; 32])));
        assert!(node.is_later_news(Some(now + Duration::from_millis(1))));
        assert!(!node.is_later_news(Some(now)));
    }
}
