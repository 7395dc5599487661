//! The state of one node.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use super::breaker::Breaker;
use super::clocks::{NodeClock, Off};
use super::io::{LeadWhy, NodeSpec};
use super::split::{Dispute, Inquiry, Lookup};
use super::stats::MethodStats;
use super::tips::RaceStats;
use super::watch::{Announcements, Waits};
use super::{
    BLOCKS_DEADLINE, CHAIN_TIPS_DEADLINE, FETCH_DEADLINE, HEALTH_DEADLINE, PERMISSIONS_DEADLINE,
    POLL_DEADLINE,
};
use crate::chain::{BlockHash, Chain};
use crate::node::{HealthReport, Method, Permissions, RpcError, TipHeader};

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
    pub suspect: bool,
    pub last_error: Option<Failure>,
    pub heard_at: Option<Instant>,
    pub clock: NodeClock,

    pub tip: Option<BlockHash>,
    /// What is known of a new tip's header.
    pub header: HeaderQuestion,
    pub tip_at: Option<Instant>,
    held: VecDeque<BlockHash>,
    pub behind: Option<Behind>,
    /// Since when its headers have been ahead of its blocks.
    pub headers_ahead_since: Option<Instant>,

    pub template: Option<HeldTemplate>,
    /// The last template call failed although the node answers.
    pub template_error: Option<RpcError>,
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
    /// Whether calls may wait at it.
    pub waits: Waits,
    /// When that was tried last.
    pub trial_at: Option<Instant>,
    /// The poll under way waits at the node.
    pub poll_waits: bool,
    /// What announces its tips.
    pub announcements: Announcements,
    /// Its tip as its P2P port tells it, while we are connected there. Kept while its RPC is down.
    pub peer_tip: Option<(BlockHash, Option<TipHeader>)>,
    /// What it lets us do, as it last said; kept while it is away.
    pub permissions: Option<Permissions>,
    pub permit: Call,
    /// When it is to be asked next.
    pub permit_at: Option<Instant>,
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
    /// Jobs were built from it.
    pub served: bool,
}

/// The question for a new tip's height and median time, asked once for each tip.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeaderQuestion {
    /// The tip that was asked for last.
    pub tip: Option<BlockHash>,
    /// When it was asked, until it is answered.
    pub sent: Option<Instant>,
    /// The tip's median time, Unix seconds, once it is told.
    pub median_time: Option<u32>,
}

impl HeaderQuestion {
    pub(super) fn ask(&mut self, tip: BlockHash, at: Instant) {
        *self = HeaderQuestion { tip: Some(tip), sent: Some(at), median_time: None };
    }

    pub(super) fn answered(&mut self, tip: BlockHash, median_time: u32) {
        if self.tip == Some(tip) {
            self.sent = None;
            self.median_time = Some(median_time);
        }
    }

    /// The header came without a question.
    pub(super) fn known(&mut self, tip: BlockHash, median_time: u32) {
        let (tip, median_time) = (Some(tip), Some(median_time));
        *self = HeaderQuestion { tip, sent: None, median_time };
    }

    pub(super) fn failed(&mut self) {
        self.sent = None;
    }
}

/// A failed call.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub error: RpcError,
    pub at: Instant,
}

/// What a node asks patience for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// It starts up (-28), in its own words.
    Starting(String),
    /// It has no peers and gives no template on the main network (-9).
    NoPeers,
    /// It downloads the chain and gives no template on the main network (-10): blocks that it has,
    /// and blocks that there are, where it tells.
    Download(Option<Progress>),
}

/// How far the download of the chain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Blocks that it has.
    pub blocks: u64,
    /// Blocks that there are, by the headers that it knows.
    pub of: u64,
    /// Share of the chain's transactions that are verified, in tenths of a per cent.
    pub permille: u16,
}

impl Waiting {
    /// How far the download is by a health report.
    pub(super) fn download(report: &HealthReport) -> Waiting {
        Waiting::Download(Some(Progress {
            blocks: report.blocks,
            of: report.headers.max(report.blocks),
            permille: (report.progress * 1000.0).clamp(0.0, 1000.0) as u16,
        }))
    }
}

impl Waiting {
    /// What the node says to our calls meanwhile, of which the advice is known.
    pub(super) fn error(&self) -> RpcError {
        match self {
            Waiting::Starting(words) => RpcError::Rpc { code: -28, message: words.clone() },
            Waiting::NoPeers => RpcError::Rpc { code: -9, message: self.to_string() },
            Waiting::Download(None) => RpcError::Rpc { code: -10, message: self.to_string() },
            Waiting::Download(Some(Progress { blocks, of, permille })) => {
                RpcError::Downloading { blocks: *blocks, headers: *of, permille: *permille }
            }
        }
    }
}

/// In words that follow "the node".
impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Waiting::Starting(words) => {
                write!(f, "is starting up: {}", words.trim_end_matches(['.', '…']))
            }
            Waiting::NoPeers => f.write_str("has no peers: it hears of no new blocks"),
            Waiting::Download(None) => f.write_str("is downloading the chain"),
            Waiting::Download(Some(Progress { blocks, of, permille })) => {
                write!(f, "is downloading the chain, {blocks} ")?;
                // At first it knows no more headers than blocks.
                match of > blocks {
                    true => write!(f, "of {of} blocks, ")?,
                    false => f.write_str("blocks so far, ")?,
                }
                write!(f, "{}.{} %", permille / 10, permille % 10)
            }
        }
    }
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
    Healthy,
    /// Healthy, but on another block of the same height and work as the one that is worked on.
    Rival,
    /// Healthy, but refuses a call that mining needs, in these words.
    Forbidden(String),
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
    /// Its health report shows no peers, on the main network: it hears of no new blocks.
    NoPeers,
    /// Its clock is off by so many seconds (positive: fast) that other nodes would refuse its
    /// blocks, or it theirs.
    WrongClock(i64),
    /// Its last call failed, fewer times than opens the breaker.
    Shaky,
    /// It answers, but not with a template.
    NoTemplate,
    /// It holds the connection but does not answer, for longer than this.
    Silent(Duration),
    /// It asks for patience, for this reason.
    Waiting(Waiting),
    /// Not asked yet on which chain it is.
    Unknown,
    /// The breaker is open.
    Down,
    /// On a chain where the payout address is worth nothing.
    WrongChain(String),
}

/// What a [`Standing`] is worth beside others, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    Healthy,
    /// What it says is as good as any, and others take the block.
    Good,
    /// It lacks blocks, or will soon.
    Behind,
    /// It answers, but not all.
    Failing,
    Silent,
    /// It is polled, and leads nobody.
    Refused,
    /// It is not even polled.
    Useless,
}

impl Standing {
    pub(super) fn tier(&self) -> Tier {
        match self {
            Standing::Healthy => Tier::Healthy,
            Standing::Rival | Standing::Forbidden(_) => Tier::Good,
            Standing::Behind(_)
            | Standing::Weaker
            | Standing::Refuses(_)
            | Standing::Stalled
            | Standing::Syncing
            | Standing::NoPeers
            | Standing::WrongClock(_) => Tier::Behind,
            Standing::Shaky | Standing::NoTemplate => Tier::Failing,
            Standing::Silent(_) => Tier::Silent,
            Standing::Refused(_) => Tier::Refused,
            Standing::Waiting(_) | Standing::Unknown | Standing::Down | Standing::WrongChain(_) => {
                Tier::Useless
            }
        }
    }

    /// It answers, on the right chain, with a chain of its own to be compared.
    pub(super) fn answers(&self) -> bool {
        self.tier() <= Tier::Failing
    }

    /// Its words leave open why it is so.
    pub fn needs_reason(&self) -> bool {
        matches!(self, Standing::Shaky | Standing::NoTemplate | Standing::Unknown | Standing::Down)
    }

    /// Why a leader in this standing should be replaced; `failure` is what its calls end with.
    pub(super) fn against(&self, failure: &str) -> LeadWhy {
        match self {
            Standing::Shaky | Standing::NoTemplate | Standing::Down => {
                LeadWhy::Failed(failure.to_owned())
            }
            Standing::Healthy | Standing::Unknown => LeadWhy::Ready,
            standing => LeadWhy::Unfit(standing.clone()),
        }
    }

    /// In words that follow "because".
    pub(super) fn as_reason(&self) -> String {
        match self {
            Standing::Rival => "it went over to another block of the same height".to_owned(),
            Standing::Behind(blocks) => match blocks {
                1 => "it is one block behind".to_owned(),
                n => format!("it is {n} blocks behind"),
            },
            Standing::Weaker => "its chain has less work".to_owned(),
            Standing::Refuses(dispute) => {
                format!("it has refused a block that node {} follows", dispute.follower)
            }
            Standing::Refused(dispute) => format!(
                "it follows a block that node {} has refused, whose rules decide",
                dispute.refuser
            ),
            Standing::Silent(limit) => {
                format!("it has not answered for more than {:.1} s", limit.as_secs_f64())
            }
            Standing::WrongClock(ahead) => format!("its clock is {}", Off(*ahead)),
            standing => format!("it {standing}"),
        }
    }
}

/// In words that follow "the node".
impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::Healthy => f.write_str("is fit"),
            Standing::Forbidden(words) => f.write_str(words),
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
            Standing::NoPeers => Waiting::NoPeers.fmt(f),
            Standing::WrongClock(ahead) if *ahead > 0 => {
                write!(f, "has a clock that is {}, so that others refuse its blocks", Off(*ahead))
            }
            Standing::WrongClock(ahead) => {
                write!(f, "has a clock that is {}, so that it refuses new blocks", Off(*ahead))
            }
            Standing::Shaky => f.write_str("failed its last call"),
            Standing::NoTemplate => f.write_str("answers but gives no template"),
            Standing::Silent(_) => f.write_str("does not answer at the moment"),
            Standing::Waiting(waiting) => waiting.fmt(f),
            Standing::Unknown => f.write_str("has not answered yet"),
            Standing::Down => f.write_str("is down"),
            Standing::WrongChain(found) => write!(f, "is on the wrong chain ({found})"),
        }
    }
}

impl Node {
    pub(super) fn new(
        spec: NodeSpec,
        at: Instant,
        poll_offset: Duration,
        ask_offset: Duration,
    ) -> Node {
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
            suspect: false,
            last_error: None,
            heard_at: None,
            clock: NodeClock::default(),
            tip: None,
            header: HeaderQuestion::default(),
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
            waits: Waits::default(),
            trial_at: None,
            poll_waits: false,
            announcements: Announcements::default(),
            peer_tip: None,
            permissions: None,
            permit: call(at),
            permit_at: None,
            recent: VecDeque::with_capacity(RECENT),
            stats: BTreeMap::new(),
            race: RaceStats::default(),
            inquiry: Inquiry::default(),
            lookup: None,
        }
    }

    /// The same node under another name.
    pub(super) fn renamed(mut self, spec: NodeSpec) -> Node {
        self.spec = spec;
        self
    }

    /// The node's tip is now `hash`; false when it was already.
    pub(super) fn move_to(&mut self, hash: BlockHash, at: Instant) -> bool {
        let moved = self.tip != Some(hash);
        if moved {
            self.tip = Some(hash);
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
    pub(super) fn has_held(&self, hash: BlockHash) -> bool {
        self.held.contains(&hash)
    }

    /// The calls that may be under way, when they were sent, and the shell's deadlines.
    pub(super) fn calls(&self) -> [(Method, Option<Instant>, Duration); 6] {
        [
            (Method::GetBlockTemplate, self.fetch.sent, FETCH_DEADLINE),
            (Method::GetBestBlockHash, self.poll.sent, POLL_DEADLINE),
            (Method::Health, self.ask.sent, HEALTH_DEADLINE),
            (Method::Permissions, self.permit.sent, PERMISSIONS_DEADLINE),
            (Method::GetChainTips, self.inquiry.sent, CHAIN_TIPS_DEADLINE),
            (Method::GetBlockHash, self.lookup.map(|lookup| lookup.sent), BLOCKS_DEADLINE),
        ]
    }

    /// A call sent then tells of a state later than the latest news of the tip.
    pub(super) fn is_later_news(&self, sent: Option<Instant>) -> bool {
        match (sent, self.tip_at) {
            (_, None) => true,
            (Some(sent), Some(tip_at)) => sent > tip_at,
            (None, Some(_)) => false,
        }
    }

    pub(super) fn remember_duration(&mut self, took: Duration) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(took.min(FETCH_DEADLINE));
    }

    /// Median of the last five durations of `getblocktemplate`.
    pub(super) fn median_fetch(&self) -> Option<Duration> {
        let mut sorted: Vec<Duration> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }

    /// When the next template may be fetched: a burst of `burst`, then one per `every`, however
    /// many reasons there are (the generic cell rate algorithm: one instant is all its state).
    pub(super) fn may_fetch_at(&self, now: Instant, burst: u32, every: Duration) -> Instant {
        match self.fetch_limit {
            Some(limit) => (limit + every).checked_sub(every * burst).unwrap_or(now),
            None => now,
        }
    }

    pub(super) fn fetch_sent(&mut self, at: Instant, every: Duration) {
        self.fetch.sent = Some(at);
        self.fetch.last = Some(at);
        self.fetch_limit = Some(self.fetch_limit.map_or(at, |limit| limit.max(at)) + every);
    }

    /// Why it is not fit, where that is a failure: clause and advice both come from this one value.
    pub(super) fn reason(&self) -> Option<RpcError> {
        match &self.standing {
            Standing::Waiting(waiting) => Some(waiting.error()),
            Standing::NoPeers => Some(Waiting::NoPeers.error()),
            Standing::NoTemplate => self.template_error.clone(),
            Standing::WrongChain(found) => Some(RpcError::WrongChain(found.clone())),
            Standing::Silent(limit) => Some(RpcError::Timeout(*limit)),
            Standing::Shaky | Standing::Unknown | Standing::Down => {
                let failure = self.last_error.as_ref()?;
                // What was heard since speaks against it.
                let is_over = self.heard_at.is_some_and(|heard| heard > failure.at);
                (!is_over).then(|| failure.error.clone())
            }
            Standing::Healthy
            | Standing::Rival
            | Standing::Forbidden(_)
            | Standing::Behind(_)
            | Standing::Weaker
            | Standing::Refuses(_)
            | Standing::Refused(_)
            | Standing::Stalled
            | Standing::WrongClock(_)
            | Standing::Syncing => None,
        }
    }

    /// [`Node::reason`] in words.
    pub(super) fn reason_words(&self) -> String {
        self.reason().map_or_else(|| "it does not answer".to_owned(), |reason| reason.to_string())
    }

    /// Its state with its name, in one clause.
    pub(super) fn clause(&self) -> String {
        let (name, standing) = (&self.spec.name, &self.standing);
        if let Some(words) = self.failed_for() {
            return format!("{name} {words}");
        }
        match self.reason().filter(|_| standing.needs_reason()) {
            None => format!("{name} {standing}"),
            // It is not down: it answers.
            Some(reason) if *standing == Standing::Down && !reason.is_silence() => {
                format!("{name} cannot be used ({reason})")
            }
            Some(reason) => format!("{name} {standing} ({reason})"),
        }
    }

    /// What it refuses of that which mining needs, where its calls fail for this reason.
    fn failed_for(&self) -> Option<String> {
        let by_name = self
            .last_error
            .as_ref()
            .is_some_and(|failure| matches!(failure.error, RpcError::Forbidden { .. }));
        let refusal = self.permissions.as_ref().and_then(Permissions::refusal);
        refusal.filter(|_| by_name && !matches!(self.standing, Standing::Healthy | Standing::Rival))
    }

    /// What the owner can do about it; what it refuses is told apart, with its remedy.
    pub(super) fn hint(&self) -> Option<String> {
        if self.failed_for().is_some()
            || matches!(
                self.standing,
                Standing::Forbidden(_) | Standing::Refuses(_) | Standing::Refused(_)
            )
        {
            return None;
        }
        match &self.standing {
            Standing::Syncing => Some("Nothing to do: the node gets ready by itself.".to_owned()),
            Standing::WrongClock(_) => Some(
                "Let its machine set the clock by the network; on Linux: timedatectl set-ntp true."
                    .to_owned(),
            ),
            Standing::Behind(_) | Standing::Weaker | Standing::Stalled => Some(
                "Check the node's internet connection, its peers and its free disk space."
                    .to_owned(),
            ),
            _ => self.reason().map(|reason| reason.remedy()),
        }
    }

    /// It says that it is on the main network.
    pub(super) fn is_main(&self) -> bool {
        let health = self.health.as_ref();
        health.is_some_and(|(report, _)| Chain::from_name(&report.chain) == Some(Chain::Main))
    }

    /// By its latest health report, and only on the main network: alone on a test network it gives
    /// templates all the same.
    pub(super) fn has_no_peers(&self) -> bool {
        let health = self.health.as_ref();
        self.is_main() && health.is_some_and(|(report, _)| report.connections == Some(0))
    }

    /// It answers, on the right chain, and its tip is known.
    pub(super) fn is_heard(&self) -> bool {
        self.breaker.is_closed()
            && self.checked
            && self.wrong_chain.is_none()
            && self.waiting.is_none()
            && self.silent.is_none()
            && self.tip.is_some()
    }

    /// Forgets what may have changed while the node was away. Its chain is checked anew.
    pub(super) fn forget(&mut self) {
        self.checked = false;
        self.clock = NodeClock::default();
        self.waiting = None;
        self.silent = None;
        self.suspect = false;
        self.template = None;
        self.template_error = None;
        self.waits = Waits::default();
        self.inquiry.forget();
        self.behind = None;
        self.headers_ahead_since = None;
        self.tip = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;

    fn node() -> Node {
        let spec = NodeSpec { id: NodeId(1), name: "attic".into() };
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
