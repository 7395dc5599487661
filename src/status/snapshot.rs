//! The view-model: plain facts, with units, filled by the daemon.
//!
//! Conventions: every `*_at` and `since` is Unix time in seconds; every `*_s` a duration in seconds,
//! `*_ms` in milliseconds; hashrates are in hashes per second; amounts in satoshi; difficulties in
//! the unit of difficulty 1 ([`HASHES_PER_DIFFICULTY`](crate::difficulty::HASHES_PER_DIFFICULTY)). `None` means "not known", never zero. Texts
//! that come from outside (worker names, user agents, a node's words) stand here as they came: the
//! views escape them.

use serde::Serialize;

use super::alarm::AlarmKind;
use super::devices::{DeviceView, PowerView};
use super::pair::{PairChangeView, PairView};
use crate::histogram::Histogram;
use crate::node;

pub use crate::block::{NodeAnswer, refusal_advice};
pub use crate::engine::rehearsal::RehearsalVerdict;
pub use crate::event::{EventKind, Level};
pub use crate::ledger::record::RejectReason;
pub use crate::os::ProcessView;
pub use crate::os::board::BoardView;
pub use crate::peer_address::Outside;
pub use crate::settings::PendingPayout;
pub use crate::stratum::v2::channel::ChannelKind;
pub use crate::update::{FailureView, ReleaseView, UpdateView, WithdrawnView};

/// Everything that the page, the JSON, the metrics and the health answers show.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Snapshot {
    /// When this snapshot was taken, Unix seconds. Every age on the page counts from here.
    pub now: u64,
    /// The appliance's name: the page's title.
    pub name: String,
    /// The chain by its own name: `main`, `test`, `testnet4`, `signet`, `regtest`. Empty as long as
    /// no node told.
    pub chain: String,
    /// False until a payout address and a node are set: the page then leads to the set-up.
    pub configured: bool,
    /// When the daemon started.
    pub started_at: u64,
    /// Which build this is.
    pub build: BuildView,
    /// Where miners connect to.
    pub connect: ConnectView,
    /// Who is paid.
    pub payout: PayoutView,
    /// The job that miners work on; `None` before the first template and while all nodes are down.
    pub job: Option<JobView>,
    /// The network's state as the leading node knows it.
    pub network: NetworkView,
    /// The nodes, by priority.
    pub nodes: Vec<NodeView>,
    /// Nodes outside the house.
    pub outside: OutsideView,
    /// How often another node took the lead, since the start.
    pub failovers: u64,
    /// The owner's miners, connected or missing. Without the canary.
    pub miners: Vec<MinerView>,
    /// The devices that have an API of their own, as far as they are asked.
    pub devices: Vec<DeviceView>,
    /// The power that they need; `None` where none tells.
    pub power: Option<PowerView>,
    /// Who knocked at the Stratum port lately without becoming a miner. Newest first, at most 20.
    pub knocking: Vec<RefusedPeerView>,
    /// All miners together.
    pub totals: TotalsView,
    /// Hashrate and shares over time.
    pub history: HistoryView,
    /// The best shares ever, best first, at most 20.
    pub best_shares: Vec<BestShareView>,
    /// Blocks found, newest first.
    pub blocks: Vec<BlockView>,
    /// Alarms that only the daemon can know of. The views add those that follow from the other
    /// fields; see [`crate::status::verdict()`].
    pub alarms: Vec<AlarmView>,
    /// Alarms that the owner snoozed.
    pub snoozed: Vec<SnoozeView>,
    /// What happened, newest first, at most 100.
    pub events: Vec<EventView>,
    /// What was changed by whom, newest first, at most 100.
    pub audit: Vec<AuditView>,
    /// The board: heat, memory, card, clock.
    pub board: BoardView,
    /// The daemon's own process.
    pub process: ProcessView,
    /// The Stratum port.
    pub stratum: StratumView,
    /// The page's own port.
    pub page: PageView,
    /// Templates and their way to the miners.
    pub templates: TemplatesView,
    /// Journal, ledger and spool.
    pub storage: StorageView,
    /// The built-in test miner; `None` where it is switched off.
    pub canary: Option<CanaryView>,
    /// Where notifications go.
    pub sinks: Vec<SinkView>,
    /// The MQTT broker by which Home Assistant is told; `None` where there is none.
    pub mqtt: Option<MqttView>,
    /// New versions; `None` where no feed is read.
    pub update: Option<UpdateView>,
    /// Two boxes as one; `None` where the settings name no partner.
    pub pair: Option<PairView>,
    /// A change of the other box that waits for its time.
    pub pair_change: Option<PairChangeView>,
}

impl Snapshot {
    /// The node that jobs come from, well or not.
    pub fn leading(&self) -> Option<&NodeView> {
        self.nodes.iter().find(|node| node.is_leader())
    }

    /// Miners with an open connection.
    pub fn connected(&self) -> impl Iterator<Item = &MinerView> {
        self.miners.iter().filter(|miner| miner.state != MinerState::Gone)
    }

    /// Difficulty of a block, above zero.
    pub fn difficulty(&self) -> Option<f64> {
        let of_job = self.job.as_ref().map(|job| job.difficulty);
        of_job.or(self.network.difficulty).filter(|d| d.is_finite() && *d > 0.0)
    }
}

/// Which build runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BuildView {
    /// Version of the daemon, `0.1.0`.
    pub version: String,
    /// Short commit hash; empty when built outside a repository.
    pub commit: String,
    /// When it was built, Unix seconds.
    pub built_at: Option<u64>,
    /// Version of the SD-card image; `None` when run by hand.
    pub image: Option<String>,
    /// The code path of the SHA-256d engine: `armv8`, `neon`, `soft`.
    pub hash_engine: String,
}

/// Where miners connect to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ConnectView {
    /// Our own addresses at which the Stratum port listens, the most useful first: private IPv4, then
    /// ULA and global IPv6. Without loopback and link-local.
    pub addresses: Vec<String>,
    /// All our own addresses, whoever listens there.
    pub machine: Vec<String>,
    /// Where others in the network open this page; `None` where they cannot.
    pub page: Option<String>,
    /// Name by mDNS or DNS, such as `solo.local`; `None` where the port does not listen everywhere.
    pub hostname: Option<String>,
    /// The Stratum port.
    pub port: u16,
    /// How miners of Stratum V2 know this box; `None` where it is not spoken.
    pub v2: Option<V2View>,
    /// The page's own port.
    pub http_port: u16,
}

/// How miners of Stratum V2 know this box.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct V2View {
    /// The authority key as miners take it: base58, 51 or 52 characters that begin with a 9.
    pub authority_key: String,
    /// All that a miner needs, in one: `stratum2+tcp://HOST:PORT/KEY`; `None` where the port cannot be
    /// reached by others.
    pub url: Option<String>,
}

/// Who is paid.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PayoutView {
    /// The configured address.
    pub address: String,
    /// `P2WPKH`, `P2TR`, …
    pub kind: String,
    /// A miner whose name begins with an address is paid there for the blocks that it finds.
    pub per_miner: bool,
    /// A change that waits: the owner can still cancel it.
    pub pending: Option<PendingPayout>,
}

/// The current job, decoded from what miners really hash: not from the config.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct JobView {
    /// Id in `mining.notify`.
    pub id: String,
    /// Height of the block to be found.
    pub height: u64,
    /// Hash of the parent, customary reversed hex.
    pub parent: String,
    /// When this job was sent to the miners, Unix seconds.
    pub sent_at: u64,
    /// When its template came from the node, Unix seconds.
    pub template_at: u64,
    /// Age of the template by the monotonic clock, seconds. Above 90 s is an alarm.
    pub template_age_s: f64,
    /// Name of the node that the template came from.
    pub node: String,
    /// The coinbase's outputs, in order.
    pub outputs: Vec<OutputView>,
    /// What the outputs to the configured address add up to, satoshi.
    pub to_owner_sat: u64,
    /// What all outputs add up to, satoshi.
    pub value_sat: u64,
    /// Subsidy of this height, satoshi; fees are the rest.
    pub subsidy_sat: u64,
    /// Transactions including the coinbase.
    pub transactions: u64,
    /// The whole coinbase without witness, bytes.
    pub coinbase_bytes: u64,
    /// The readable tag in the coinbase.
    pub tag: String,
    /// Difficulty of the block.
    pub difficulty: f64,
    /// The block's version as the miners get it, without the bits that they roll.
    pub version: u32,
    /// The bits that it votes by (BIP 9), rising.
    pub signals: Vec<SignalView>,
    /// Bits that the settings clear and the node demands: they stay.
    pub signals_demanded: Vec<u8>,
    /// When the miners are sent away unless a node confirms the job before, Unix seconds.
    pub kept_until: Option<u64>,
    /// Name of the node whose P2P port confirms that the job is on the newest tip while no node's RPC
    /// answers; `None` otherwise.
    pub carried_by_p2p: Option<String>,
}

/// One version bit that the block sets.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SignalView {
    /// Its number, 0 to 12.
    pub bit: u8,
    /// What it votes for, where the node told.
    pub name: Option<String>,
    /// The settings set it; else the node does.
    pub owner: bool,
}

/// One output of the current coinbase.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OutputView {
    /// The address, where the script has one.
    pub address: Option<String>,
    /// Satoshi.
    pub sat: u64,
    /// Whether it pays the configured address.
    pub owner: bool,
}

/// The network as the leading node knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NetworkView {
    /// Height of the tip.
    pub height: Option<u64>,
    /// Hash of the tip.
    pub tip: Option<String>,
    /// Time of the tip by its header, Unix seconds.
    pub tip_at: Option<u64>,
    /// Current difficulty.
    pub difficulty: Option<f64>,
}

/// What a node is to us now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Jobs come from it, and nothing is wrong with it.
    Leading,
    /// Healthy, ready to take over.
    Standby,
    /// It downloads the chain: not usable yet.
    Syncing,
    /// It starts up (error -28).
    Warming,
    /// It has no peers, so it hears of no new blocks.
    NoPeers,
    /// Its clock is off so far that others would refuse its blocks, or it theirs.
    WrongClock,
    /// It answers, but its tip is behind the others.
    Lagging,
    /// It answers, and has refused a block that another follows; or it follows one that the first
    /// node has refused.
    OtherRules,
    /// It answers, but is not trusted: another chain.
    Doubtful,
    /// It answers, but refuses a call that mining needs.
    Forbidden,
    /// It answers, but gives no template.
    NoTemplate,
    /// It cannot be used, and not for silence: it refuses our login, something else than a node
    /// answers, its name is not known.
    Unusable,
    /// It does not answer.
    Down,
    /// Not asked yet.
    #[default]
    Unknown,
}

impl NodeState {
    /// Whether the node is fit to give work.
    pub fn is_usable(self) -> bool {
        matches!(self, NodeState::Leading | NodeState::Standby)
    }
}

/// How often something was lost and found again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LossView {
    /// It was there, and then it was not.
    pub disconnects: u64,
    /// It was there again.
    pub reconnects: u64,
}

impl LossView {
    /// Notes that it is there, or not.
    pub fn note(&mut self, is_there: bool) {
        let is_lost = self.disconnects > self.reconnects;
        match is_there {
            false if !is_lost => self.disconnects += 1,
            true if is_lost => self.reconnects += 1,
            _ => {}
        }
    }
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NodeView {
    /// Its name in the config, or host and port.
    pub name: String,
    /// Host and port, without user and password.
    pub address: String,
    /// Jobs come from it. It may be unwell: then no other node is better.
    pub leads: bool,
    /// What it is to us now.
    pub state: NodeState,
    /// Why, in one sentence: why it leads, why it does not, what to do.
    pub why: String,
    /// The failure for which it is not fit, by [`RpcError::label`](crate::node::RpcError::label);
    /// empty where there is none.
    pub cause: String,
    /// The same failure as a clause about the node, as `soloist check` says it; empty where there is
    /// none.
    pub reason: String,
    /// What to do about it; empty where nothing is to be done or known.
    pub remedy: String,
    /// When it last answered anything.
    pub answered_at: Option<u64>,
    /// How often its RPC fell silent and came back, since the start.
    pub rpc_lost: LossView,
    /// The same of its ZMQ publisher.
    pub zmq_lost: LossView,
    /// Height of its tip.
    pub height: Option<u64>,
    /// Height of its best header.
    pub headers: Option<u64>,
    /// Its tip.
    pub tip: Option<String>,
    /// Blocks behind the best known tip; 0 is up to date. `None` where it cannot be known.
    pub lag_blocks: Option<u64>,
    /// What it has refused of another's chain, or the first node of its chain.
    pub dispute: Option<DisputeView>,
    /// Whether it says that it is in initial download.
    pub initial_download: bool,
    /// Share of the chain verified, 0 to 1.
    pub progress: Option<f64>,
    /// Seconds until it is in sync, by the progress of the last minutes.
    pub sync_eta_s: Option<u64>,
    /// Connected peers.
    pub peers: Option<u64>,
    /// Those that connected to it.
    pub peers_in: Option<u64>,
    /// Those that it connected to.
    pub peers_out: Option<u64>,
    /// Whether it drops old blocks.
    pub pruned: Option<bool>,
    /// Size of its blocks on disk, bytes.
    pub size_on_disk: Option<u64>,
    /// Whether it takes transactions from others: with `blocksonly=1` it does not, and its
    /// templates are empty.
    pub local_relay: Option<bool>,
    /// Its clock beside the others, on the main network.
    pub clock: Option<ClockView>,
    /// `subversion`, `/Satoshi:30.0.0/`.
    pub version: String,
    /// The node's own warnings.
    pub warnings: String,
    /// Median duration of `getblocktemplate`, or of whichever call was last made, milliseconds.
    pub latency_ms: Option<f64>,
    /// How news of a tip comes in.
    pub zmq: ZmqNews,
    /// How the connection to its publisher stands; `None` where none is configured.
    pub zmq_state: Option<node::ZmqState>,
    /// How its news of blocks reach us.
    pub news: NewsView,
    /// Where its publisher is.
    pub zmq_address: Option<String>,
    /// How often it was the first to tell of a new tip.
    pub tip_wins: u64,
    /// Its P2P port; `None` where the owner switched it off, or its chain is not known yet.
    pub p2p: Option<P2pView>,
    /// Last rehearsal: our block, unsolved, shown to the node as a proposal (BIP 23).
    pub rehearsal: Option<RehearsalVerdict>,
    /// What it lets us do; `None` where it was not asked yet.
    pub permissions: Option<PermissionsView>,
    /// The last failed call.
    pub last_error: Option<NodeErrorView>,
    /// Statistics by RPC method.
    pub calls: Vec<CallView>,
    /// Failures by kind, each kind, for metrics: `transport`, `timeout`, `auth`, `http`, `waiting`, `rpc`,
    /// `malformed`, `tls`, `busy`, `forbidden`.
    pub errors: Vec<CountView>,
}

/// A clock beside the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ClockView {
    /// Seconds ahead of the other clocks that can be believed; negative is behind.
    pub offset_s: f64,
    /// It is this clock that is wrong; where it is not known which is, none is odd.
    pub odd: bool,
}

/// A block that one node has refused and another follows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DisputeView {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub block: String,
    /// It is this block that was refused; else it or one soon after it.
    pub exact: bool,
    /// Who refused it.
    pub refuser: String,
    /// Who follows it.
    pub follower: String,
    /// Since when that has been known.
    pub since: u64,
}

/// The connection to a node's P2P port.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct P2pView {
    /// Host and port.
    pub address: String,
    /// How it stands.
    pub state: P2pState,
    /// Why it is down, as a predicate of the port; empty when it is not.
    pub why: String,
}

/// How the connection to a node's P2P port stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum P2pState {
    /// It is being connected, or compared with RPC.
    #[default]
    Connecting,
    /// It is connected and has the tip that RPC tells: a block can reach the node by it.
    Own,
    /// It is connected, but has not the tip that RPC tells: it may be another node.
    Other,
    /// It is not connected.
    Down,
}

/// Nodes outside the house: those of strangers, and those that the owner names. They get a solved block
/// that no own node shows, and tell how high the network's chain is; neither decides anything.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OutsideView {
    /// What is done with them.
    pub setting: Outside,
    /// Addresses of strangers that are known.
    pub known: u64,
    /// How many nodes the owner names.
    pub named: u64,
    /// They are reached by a SOCKS5 proxy.
    pub by_proxy: bool,
    /// The connections, the oldest first.
    pub connections: Vec<OutsideNodeView>,
    /// How far all own nodes are behind the network; `None` where they are not, or for less than a
    /// minute.
    pub behind: Option<BehindView>,
}

/// A connection to an outside node.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OutsideNodeView {
    /// Host and port.
    pub address: String,
    /// What it calls itself; `None` until it has introduced itself.
    pub agent: Option<String>,
    /// Height of its tip.
    pub height: Option<u64>,
    /// Since when the connection is kept.
    pub since: u64,
}

/// How far all own nodes are behind the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct BehindView {
    /// Height of their best tip.
    pub own: u64,
    /// Height of the network's.
    pub world: u64,
    /// How many outside nodes show it; 0 where an own node has the headers without their blocks.
    pub by: u64,
    /// Of how many whose height is known.
    pub of: u64,
    /// Since when.
    pub since: u64,
}

impl BehindView {
    /// How many blocks the own nodes lack.
    pub fn blocks(&self) -> u64 {
        self.world.saturating_sub(self.own)
    }
}

/// Who of the outside nodes took a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct OutsideTakenView {
    /// How many asked for it.
    pub asked: u64,
    /// How many showed it in their best chain.
    pub shown: u64,
    /// From the share's arrival until the first asked for it, milliseconds.
    pub asked_after_ms: Option<f64>,
    /// From the share's arrival until the first showed it in its best chain, milliseconds.
    pub shown_after_ms: Option<f64>,
}

/// How a node's news of blocks reach us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NewsView {
    /// It announces them by ZMQ.
    Zmq,
    /// Its P2P port announces them.
    P2p,
    /// A call waits at it, for a quarter of a second at a time.
    Waiting,
    /// It is asked four times a second: it does not know the call that waits, or was not tried yet.
    Asking,
    /// It is asked four times a second: it has no RPC thread to spare for a call that waits.
    Crowded,
    /// It does not lead, and is asked now and then.
    #[default]
    Polled,
}

/// Whether a node tells of blocks by ZMQ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ZmqNews {
    /// Not configured: the node is asked for its tip.
    #[default]
    Off,
    /// Configured, nothing heard yet.
    Waiting,
    /// At least one message came.
    Live,
}

/// What a node lets us do, as it said with the last rehearsal or after its last start.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PermissionsView {
    /// Methods that mining needs and the node refuses: while there is one, it is not ready.
    pub refused: Vec<String>,
    /// The same and what it means, as a predicate; empty when there is none.
    pub words: String,
    /// What the owner can do about it, with the line for bitcoin.conf.
    pub remedy: String,
    /// What it forbids that mining does not need, as a predicate; empty when there is nothing.
    pub shortage: String,
}

/// A failed call.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NodeErrorView {
    /// When.
    pub at: u64,
    /// RPC method.
    pub method: String,
    /// In words, as the node or the system put it.
    pub words: String,
}

/// Statistics of one RPC method at one node, since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CallView {
    /// RPC method, `getblocktemplate`.
    pub method: String,
    /// Calls that failed.
    pub errors: u64,
    /// Durations of the calls that succeeded.
    pub latency: HistogramView,
}

/// A histogram in the form that Prometheus wants: cumulative counts below upper bounds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HistogramView {
    /// (upper bound in seconds, number of values at or below it), ascending, without `+Inf`.
    pub buckets: Vec<(f64, u64)>,
    /// Number of all values.
    pub count: u64,
    /// Their sum, seconds.
    pub sum_s: f64,
}

impl HistogramView {
    /// Of what was counted.
    pub fn of(histogram: &Histogram) -> HistogramView {
        let cumulated = histogram.cumulated();
        HistogramView {
            buckets: cumulated.map(|(bound, count)| (bound.as_secs_f64(), count)).collect(),
            count: histogram.count(),
            sum_s: histogram.total().as_secs_f64(),
        }
    }
}

/// A named count.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CountView {
    /// What is counted, in `snake_case`.
    pub what: String,
    /// How many.
    pub count: u64,
}

/// How a miner is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MinerState {
    /// Connected, and its shares come as expected (or it is too early to tell).
    #[default]
    Mining,
    /// Connected, but no share for far longer than its difficulty explains.
    Quiet,
    /// Not connected.
    Gone,
}

/// What a miner speaks, and whether anybody on the way can read along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LinkView {
    /// The protocol.
    pub protocol: Protocol,
    /// Of Stratum V2, the kind of its channel.
    pub channel: Option<ChannelKind>,
    /// By Stratum V2 itself, or by TLS around Stratum V1.
    pub encrypted: bool,
}

/// What miners speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Stratum V1.
    V1,
    /// Stratum V2.
    V2,
}

impl LinkView {
    /// Of a session with this kind of channel, or without one.
    pub fn of(channel: Option<ChannelKind>, encrypted: bool) -> LinkView {
        let protocol = if channel.is_some() { Protocol::V2 } else { Protocol::V1 };
        LinkView { protocol, channel, encrypted }
    }

    /// `Stratum V2, extended channel`.
    pub fn words(self) -> &'static str {
        match (self.channel, self.encrypted) {
            (Some(ChannelKind::Standard), _) => "Stratum V2, standard channel",
            (Some(ChannelKind::Extended), _) => "Stratum V2, extended channel",
            (None, true) => "Stratum V1 in TLS",
            (None, false) => "Stratum V1",
        }
    }
}

/// A hashrate, proven by shares: see [`crate::rate`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RateView {
    /// Hashes per second: sum of the accepted shares' difficulties times 2^32, divided by the time
    /// within the window in which they could be sent.
    pub hashrate: f64,
    /// How many shares it rests on.
    pub shares: u64,
    /// The window, seconds.
    pub window_s: u64,
    /// Seconds within the window in which shares could be sent: the miner was connected (of all
    /// miners: at least one was).
    pub measured_s: u64,
    /// The hashrate is at least this, with 99.5 % confidence.
    pub low: f64,
    /// It is at most this, with 99.5 % confidence; `None` where nothing tells.
    pub high: Option<f64>,
}

/// One miner, known by its worker name (and address) over reconnects and restarts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MinerView {
    /// Stable id for `/miners/<id>`: ASCII letters, digits, `-`, `_`; says nothing about the payout
    /// address.
    pub id: String,
    /// Worker name without the owner's address in front.
    pub name: String,
    /// The user that it sends; empty while it is away.
    pub user: String,
    /// The address in front of its user, if that is a payout address, but not the owner's present one.
    pub carries: Option<String>,
    /// Model in words, `Bitaxe Gamma`; from the user agent.
    pub model: String,
    /// The user agent as sent.
    pub user_agent: String,
    /// The first word of [`MinerView::model`], lower case, for statistics: `bitaxe`, `nerdminer`,
    /// `antminer`, …; `other` where it has none. Not the `Class` of `stratum/firmware.rs`.
    pub class: String,
    /// Where it connects from, without port.
    pub address: String,
    /// What it speaks; `None` while it is away.
    pub link: Option<LinkView>,
    /// Address that a block of its next job pays.
    pub pays: String,
    /// Why the address that its name begins with is not paid, as a clause; empty where nothing is wrong.
    pub pays_fault: String,
    /// Its password asks for a difficulty that is not a plain number, and so for none.
    pub difficulty_unclear: bool,
    /// How it is doing.
    pub state: MinerState,
    /// Since when it is connected; when gone, since when it is gone.
    pub since: u64,
    /// First seen ever.
    pub first_seen_at: u64,
    /// Connections made since the daemon's start.
    pub connects: u64,
    /// Proven in the last 10 minutes.
    pub rate: RateView,
    /// Proven in the last hour.
    pub rate_hour: RateView,
    /// Proven in the last 24 h.
    pub rate_day: RateView,
    /// What the miner itself or its model's data sheet claims, whichever is more, hashes per second.
    pub claimed: Option<f64>,
    /// Who claims it: `AxeOS`, `data sheet`.
    pub claimed_by: String,
    /// Accepted shares since the ledger began.
    pub accepted: u64,
    /// Accepted shares per minute lately.
    pub shares_per_min: f64,
    /// Rejected shares since the ledger began, by reason.
    pub rejects: Vec<RejectView>,
    /// What became of its latest shares, at most 10, oldest first: why each was rejected, or
    /// nothing for one that counted.
    pub latest: Vec<Option<RejectReason>>,
    /// Difficulty of its jobs now.
    pub difficulty: f64,
    /// The difficulty is fixed, by the owner or by the miner's password.
    pub difficulty_locked: bool,
    /// It is the miner's password that fixed it (`d=`).
    pub difficulty_by_password: bool,
    /// Average seconds between two shares at this difficulty and hashrate.
    pub expected_share_s: Option<f64>,
    /// When its last accepted share came.
    pub last_share_at: Option<u64>,
    /// Best share ever, difficulty.
    pub best: f64,
    /// When.
    pub best_at: Option<u64>,
    /// Best share since the daemon's start.
    pub best_session: f64,
    /// Round trip to the miner by TCP_INFO, milliseconds.
    pub rtt_ms: Option<f64>,
    /// Hashrate of each half hour (from :00 and :30 on) of the last 24 h, oldest first, for a small chart;
    /// the last one is that of now. A half hour without the miner is 0, and a young miner has fewer. At
    /// most 48 values.
    pub trend: Vec<f64>,
}

/// How many shares were not counted for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RejectView {
    /// Why.
    pub reason: RejectReason,
    /// How many, since the ledger began.
    pub count: u64,
}

/// Somebody at the Stratum port who did not become a miner.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RefusedPeerView {
    /// From where, without port.
    pub address: String,
    /// Last time.
    pub at: u64,
    /// How often, in the time that the list covers.
    pub times: u64,
    /// What went wrong, in one sentence with the remedy.
    pub why: String,
}

/// All miners together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TotalsView {
    /// Last 5 minutes.
    pub rate_5m: RateView,
    /// Last hour.
    pub rate_1h: RateView,
    /// Last 24 hours.
    pub rate_24h: RateView,
    /// Accepted shares since the ledger began.
    pub accepted: u64,
    /// Rejected shares since the ledger began, by reason.
    pub rejects: Vec<RejectView>,
    /// Sum of the difficulties of all accepted shares since the ledger began: the work done. Times
    /// 2^32 it is the number of hashes.
    pub work: f64,
    /// The same since the last found block (or the beginning).
    pub work_since_block: f64,
    /// When the ledger began.
    pub since: Option<u64>,
    /// Best share ever, difficulty.
    pub best: f64,
    /// Best share since the daemon's start.
    pub best_session: f64,
    /// Best share since the last found block.
    pub best_since_block: f64,
    /// Found blocks since the ledger began: more than the list keeps. Told as `blocks_found`.
    #[serde(skip)]
    pub blocks_found: u64,
}

/// Hashrate and shares over time, each list oldest first. A gap is a missing point.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HistoryView {
    /// Last 24 h, a point every 10 minutes; every 1, 2 or 5 as long as the history is young.
    pub day: Vec<PointView>,
    /// Last 30 days, a point every 2 to 6 hours.
    pub month: Vec<PointView>,
    /// All time, a point a day.
    pub all: Vec<PointView>,
    /// Temperature and power over these times, as the miners' own APIs tell them.
    pub heat: HeatHistoryView,
    /// What happened in this time, for marks in a chart, oldest first.
    pub marks: Vec<MarkView>,
}

/// Temperature and power over time, each list oldest first. A gap is a missing point; where nothing was
/// ever told there are none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HeatHistoryView {
    /// Last 24 h, a point every 10 minutes.
    pub day: Vec<HeatPointView>,
    /// Last 30 days, a point every 4 hours.
    pub month: Vec<HeatPointView>,
    /// The last year and more, a point a day.
    pub all: Vec<HeatPointView>,
}

/// What a miner, or all together, told in the interval that ends at `at`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct HeatPointView {
    /// Start of the interval.
    pub from: u64,
    /// End of the interval; of the one that is not over, now.
    pub at: u64,
    /// Highest temperature of the hottest chip, °C, in whole degrees; of a single miner only.
    pub celsius_max: Option<f64>,
    /// Its mean.
    pub celsius: Option<f64>,
    /// Mean power, W; of all miners the sum of those who told theirs.
    pub watts: Option<f64>,
    /// How many miners told their power, at most at a time; 255 for more.
    pub miners: u32,
}

/// What a mark in a chart stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// A block of ours was solved.
    Block,
    /// Another node took the lead.
    Failover,
    /// There was no work for the miners.
    Outage,
    /// Soloist started.
    Start,
}

/// A moment that explains a chart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MarkView {
    /// When it was, or began.
    pub at: u64,
    /// When it was over; `None` for what took no time, and for what goes on.
    pub until: Option<u64>,
    /// What.
    pub kind: MarkKind,
    /// In a few words.
    pub text: String,
}

/// One point of the history: what happened in the interval that ends at `at`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PointView {
    /// Start of the interval, or of what is known of it.
    pub from: u64,
    /// End of the interval; of the one that is not over, now.
    pub at: u64,
    /// Hashes per second, over the time of the interval in which shares could be sent.
    pub hashrate: f64,
    /// Accepted shares.
    pub accepted: u64,
    /// Rejected shares.
    pub rejected: u64,
    /// Best share of the interval, difficulty.
    pub best: f64,
}

/// One of the best shares ever.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BestShareView {
    /// Its difficulty.
    pub difficulty: f64,
    /// When.
    pub at: u64,
    /// Name of the miner.
    pub miner: String,
    /// Height that it was for.
    pub height: u64,
    /// Difficulty of a block then.
    pub network_difficulty: f64,
}

/// Where a found block stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockState {
    /// Solved and sent; no node has shown yet where it stands.
    #[default]
    Candidate,
    /// A node has it beside another block of the same height: the next block decides.
    Beside,
    /// At least one node has it in its best chain; its coins are not spendable yet.
    Accepted,
    /// 100 confirmations or more: spendable.
    Mature,
    /// The best chain has another block of this height.
    Orphaned,
    /// Every node refused it.
    Refused,
}

/// A found block.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BlockView {
    /// Hash, customary reversed hex.
    pub hash: String,
    /// Height.
    pub height: u64,
    /// When it was solved.
    pub at: u64,
    /// Name of the miner that solved it.
    pub miner: String,
    /// Where it stands.
    pub state: BlockState,
    /// Since when, by the ledger; 0 where it does not say.
    pub state_at: u64,
    /// Confirmations, where a node told.
    pub confirmations: Option<u64>,
    /// Why every node refused it, in the first one's words.
    pub reason: Option<String>,
    /// Paid to the owner, satoshi.
    pub value_sat: u64,
    /// Address that is paid.
    pub address: String,
    /// Id of the coinbase transaction.
    pub txid: String,
    /// Difficulty that the header reached.
    pub share_difficulty: f64,
    /// Difficulty of the network at that height.
    pub network_difficulty: f64,
    /// From the share's arrival until a node showed the block in its best chain, milliseconds.
    pub accepted_after_ms: Option<f64>,
    /// What each node answered.
    pub answers: Vec<NodeAnswer>,
    /// Who of the outside nodes took it; `None` where none did, and for blocks of earlier runs.
    pub outside: Option<OutsideTakenView>,
    /// Whether the whole block can be downloaded.
    pub hex: bool,
}

/// What an alarm is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum About {
    /// A solved block.
    Block,
    /// One miner, or miners.
    Miner,
    /// What a node does or lets us do.
    Node,
    /// This box, its clock, its card, the settings, the payout.
    #[default]
    Box,
}

/// An alarm: its cause and the next step.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AlarmView {
    /// Stable name: `node:living-room`. The same alarm keeps its name.
    pub id: String,
    /// What kind it is: where the manual explains it.
    #[serde(skip)]
    pub kind: AlarmKind,
    /// By which switch of the owner it is sent.
    #[serde(skip)]
    pub about: About,
    /// How bad.
    pub level: Level,
    /// What is wrong, one sentence.
    pub text: String,
    /// What to do, one sentence; empty when nothing can be done.
    pub advice: String,
    /// Since when, where known.
    pub since: Option<u64>,
}

/// The owner does not want to hear of an alarm for a while.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SnoozeView {
    /// Its id.
    pub alarm: String,
    /// How bad it was then: if it gets worse, it is heard again.
    pub level: Level,
    /// Until when.
    pub until: u64,
    /// From which address it was snoozed.
    pub from: String,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EventView {
    /// Ever rising number.
    pub id: u64,
    /// When.
    pub at: u64,
    /// What kind.
    pub kind: EventKind,
    /// How bad.
    pub level: Level,
    /// In one sentence.
    pub text: String,
}

/// A change that somebody made.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AuditView {
    /// When.
    pub at: u64,
    /// From which address.
    pub from: String,
    /// What, in one sentence, without secrets.
    pub text: String,
}

/// The Stratum port.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StratumView {
    /// Open connections, also of those who have not said who they are.
    pub connections: u64,
    /// Places for miners that have said who they are.
    pub connections_max: u64,
    /// Connections accepted since the start.
    pub accepted_total: u64,
    /// Connections of the run before that went on in this one.
    pub taken_up: u64,
    /// Those that did not, by cause; each cause from the start on.
    pub not_taken_up: Vec<CountView>,
    /// Connections refused or ended by us since the start, by cause; each cause from the start on.
    pub dropped: Vec<CountView>,
    /// Those that said nothing and were closed for others, while that lasts.
    pub made_room: Option<MadeRoomView>,
    /// Connections that never came to `mining.authorize`.
    pub handshake_failures: u64,
    /// Rejected shares since the start by class of firmware: each class that is known has every reason.
    pub rejects_by_class: Vec<ClassRejectsView>,
    /// Accepted shares since the start.
    pub shares_accepted: u64,
    /// Shares since the start that the miners' hashrate and difficulty led to expect.
    pub shares_expected: Option<f64>,
    /// From the decision for a new job to its last byte at the last miner's socket.
    pub notify_fanout: HistogramView,
    /// From a share's arrival to its answer.
    pub share_answer: HistogramView,
}

/// The page's own port.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PageView {
    /// Connections refused or ended by us since the start, by cause; each cause from the start on.
    pub dropped: Vec<CountView>,
    /// Those that only held their places and were closed for others, while that lasts.
    pub made_room: Option<MadeRoomView>,
}

/// Connections that were closed to make room for others. An hour after the last one this is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MadeRoomView {
    /// How many.
    pub count: u64,
    /// Since when they are counted.
    pub since: u64,
    /// The last one.
    pub at: u64,
    /// The address, or the IPv6 network, that most of them came from.
    pub most: String,
}

/// Rejected shares of one class of firmware for one reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassRejectsView {
    /// As [`MinerView::class`].
    pub class: String,
    /// Why.
    pub reason: RejectReason,
    /// How many since the start.
    pub count: u64,
}

/// Templates and their way to the miners.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TemplatesView {
    /// Templates taken since the start.
    pub taken: u64,
    /// Jobs sent since the start (each to all miners).
    pub jobs: u64,
    /// New tips seen since the start.
    pub tips: u64,
    /// From the first news of a tip to the first job on it.
    pub tip_to_job: HistogramView,
    /// The steps on that way, in their order.
    pub steps: Vec<StepView>,
}

/// One step from the first news of a tip to its job.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StepView {
    /// What was reached, in `snake_case`.
    pub step: String,
    /// From the first news of the tip until then.
    pub took: HistogramView,
}

/// What must survive a power cut.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StorageView {
    /// The last write to the data directory worked.
    pub writable: Option<bool>,
    /// What went wrong, in words; empty when nothing did.
    pub error: String,
    /// Solved blocks in the spool that no node has confirmed yet.
    pub spool_waiting: u64,
    /// Bytes of the ledger and the journal.
    pub size_bytes: u64,
    /// When the last snapshot of the ledger was made.
    pub backup_at: Option<u64>,
    /// Where snapshots are to be copied; empty for nowhere.
    pub copy_to: String,
    /// When the newest snapshot was last seen to stand there.
    pub copy_at: Option<u64>,
    /// Why it does not; empty when it does.
    pub copy_error: String,
}

/// The built-in miner that proves the whole way once a minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CanaryView {
    /// The last attempt by each way got its share accepted.
    pub ok: bool,
    /// When its last share was accepted.
    pub last_ok_at: Option<u64>,
    /// From sending the share to the answer, milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Accepted since the start.
    pub passed: u64,
    /// Not accepted, or not answered, since the start.
    pub failed: u64,
    /// By which way the last attempt went: `Stratum V1`, `Stratum V2 (extended channel)`, …; they take
    /// turns.
    pub way: String,
    /// What went wrong last, by each way; empty when nothing did.
    pub error: String,
}

/// The MQTT broker by which Home Assistant is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MqttView {
    /// Where it is, as the owner wrote it.
    pub broker: String,
    /// It took us, and the connection stands.
    pub connected: bool,
    /// Since when it is so, Unix seconds; `None` before the first attempt ended.
    pub since: Option<u64>,
    /// Why it is not connected, as a clause about the broker; empty where it is, or is not known yet.
    pub error: String,
    /// How often the connection was lost and made again, since the start.
    pub lost: LossView,
    /// Messages sent since the settings were last changed.
    pub sent: u64,
    /// Devices that it is told of: the box, and its miners.
    pub devices: u64,
    /// Buttons pressed by it since the start.
    pub presses: u64,
}

/// A place where notifications go.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SinkView {
    /// `ntfy`, `Telegram`, …
    pub kind: String,
    /// When a message was last taken there, Unix seconds.
    pub last_ok_at: Option<u64>,
    /// When one was last refused there, or not sent, Unix seconds.
    pub failed_at: Option<u64>,
    /// Sent since the start.
    pub sent: u64,
    /// Given up since the start.
    pub failed: u64,
    /// Tries that failed since the start: each message is tried four times.
    pub failed_tries: u64,
    /// The last error in words, without secrets; empty when the last attempt worked.
    pub error: String,
}
