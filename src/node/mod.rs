//! The calls to nodes and their answers: the facts for the decisions of [`crate::failover`].
//!
//! Pure. [`crate::rpc`] makes the calls and reports the results as [`NodeEvent`]s. [`fault`] says
//! why a node cannot be used, in the same words everywhere.

mod block_answers;
pub mod fault;
pub mod permissions;
mod zmq_state;

use std::sync::Arc;
use std::time::Duration;

use crate::chain::BlockHash;
use crate::clock::Reading;
use crate::ids::NodeId;
use crate::peer_address::ListedPeer;
use crate::template::Template;
pub use crate::template::TipHeader;
pub use block_answers::{Position, SubmitAnswer};
pub use fault::RpcError;
pub use permissions::{Command, Permission, Permissions};
pub use zmq_state::ZmqState;

/// How the news of a tip reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TipSource {
    /// `hashblock` on the node's ZMQ socket.
    Zmq,
    /// A header on the connection to the node's P2P port.
    P2p,
    /// A call that waits at the node came back (`waitfornewblock`).
    Wait,
    /// The regular `getbestblockhash`.
    Poll,
    /// A template fetched for another reason builds on it.
    Template,
}

/// An RPC method, as far as statistics and deadlines tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// `getblocktemplate` (never with a longpollid: see [`crate::rpc::watch`]).
    GetBlockTemplate,
    /// `getblocktemplate` in proposal mode (BIP 23).
    Proposal,
    /// `submitblock`.
    SubmitBlock,
    /// `getbestblockhash`.
    GetBestBlockHash,
    /// `waitfornewblock`, for [`WAIT`].
    WaitForNewBlock,
    /// `getblockchaininfo` and `getnetworkinfo`, asked together.
    Health,
    /// `getblockheader`.
    GetBlockHeader,
    /// `preciousblock`.
    PreciousBlock,
    /// All that we use, one after the other, to see what we may call: see [`permissions`].
    Permissions,
    /// `getchaintips`.
    GetChainTips,
    /// `getblockhash` of a few heights.
    GetBlockHash,
    /// `getnodeaddresses`.
    GetNodeAddresses,
}

impl Method {
    /// The longest that a call may take, connection included; `Health` is three calls one after
    /// the other, `GetBlockHeader` two, `GetBlockHash` a few, `Permissions` eleven.
    pub const fn deadline(self) -> Duration {
        Duration::from_secs(match self {
            // Answered from memory. This is what finds a node that hangs, so it is short; a small
            // node that is just connecting a block may take longer and is not broken.
            Method::GetBestBlockHash => 2,
            // Those two, and the quarter of a second that the node waits.
            Method::WaitForNewBlock => 3,
            Method::Health
            | Method::GetBlockHeader
            | Method::GetBlockHash
            | Method::GetNodeAddresses
            | Method::Permissions => 5,
            // It goes through every block that the node knows.
            Method::GetChainTips => 15,
            // 0.1 to 0.6 s with a full mempool, several seconds on a busy Pi.
            Method::GetBlockTemplate => 10,
            // These check a whole block, and the node's lock may be taken. A block that was not
            // answered is sent again, which harms nothing.
            Method::Proposal | Method::SubmitBlock | Method::PreciousBlock => 30,
        })
    }

    /// The most bytes that an honest answer can have.
    pub const fn max_answer(self) -> usize {
        match self {
            // 4,000,000 weight units are at most 4 MB of transactions, so 8 MB of hex. The
            // smallest transaction weighs about 240 units, so there are at most some 16,700,
            // each with two hashes, fees and up to a hundred `depends`: at most 12 MB more.
            Method::GetBlockTemplate => 32 << 20,
            _ => 1 << 20,
        }
    }
}

/// What a node is asked. The answer is the [`NodeEventKind`] of that name, or `Failed` where none says
/// otherwise. A solved block goes another way: `submitblock` has a thread of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `getblocktemplate`; why is for the log. While one is under way, another is fetched right
    /// after it, because the first may not know yet what this one is about.
    Template(FetchWhy),
    /// The tip, by `getbestblockhash`.
    Tip,
    /// The tip and its height as soon as the tip changes, or after [`WAIT`]: `waitfornewblock`. The
    /// answer is a `Tip`.
    WaitForTip,
    /// Whether it answers another call while one waits at it: `WaitTried`, or no event where other
    /// calls came between. Its number of threads cannot be asked.
    TryWait,
    /// Height and median time of a tip: `getblockheader`.
    Header(BlockHash),
    /// How it is: `getblockchaininfo` and `getnetworkinfo`.
    Health,
    /// What it lets us do: eleven calls.
    Permissions,
    /// Which branches it has refused: `getchaintips`.
    ChainTips,
    /// Which blocks its best chain has at these heights, a few and rising: `getblockhash` for each.
    BlocksAt(Vec<u64>),
    /// Which other nodes it knows, at most [`MAX_ADDRESSES`]: `getnodeaddresses`. A node may not have
    /// it (-32601: bcoin, and Bitcoin Core before 0.18), or forbid it.
    Addresses,
    /// To prefer this block to others of equal work: `preciousblock`. `Failed`, or no event.
    Precious(BlockHash),
    /// Where a block stands with it.
    Position {
        /// The block.
        block: BlockHash,
        /// Its height.
        height: u32,
    },
    /// Whether it would take a block: `getblocktemplate` in proposal mode (BIP 23). `Proposed`.
    Propose {
        /// Hash of its header.
        block: BlockHash,
        /// Its bytes, in hex.
        hex: Arc<str>,
    },
}

impl Ask {
    /// The call that the question makes, or the first of them.
    pub const fn method(&self) -> Method {
        match self {
            Ask::Template(_) => Method::GetBlockTemplate,
            Ask::Tip => Method::GetBestBlockHash,
            Ask::WaitForTip | Ask::TryWait => Method::WaitForNewBlock,
            Ask::Header(_) | Ask::Position { .. } => Method::GetBlockHeader,
            Ask::Health => Method::Health,
            Ask::Permissions => Method::Permissions,
            Ask::ChainTips => Method::GetChainTips,
            Ask::BlocksAt(_) => Method::GetBlockHash,
            Ask::Addresses => Method::GetNodeAddresses,
            Ask::Precious(_) => Method::PreciousBlock,
            Ask::Propose { .. } => Method::Proposal,
        }
    }
}

/// Why a template is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchWhy {
    /// There is a tip on which no template builds yet.
    NewTip,
    /// A lead is sought or about to move.
    Seek,
    /// The leader is in doubt: have a template of the next node at hand.
    Doubt,
    /// The node's last template call failed; perhaps it is well again.
    Probe,
    /// The regular refresh, see [`HEARTBEAT`](crate::failover::HEARTBEAT).
    Heartbeat,
}

/// For so long a `waitfornewblock` waits at the node.
pub const WAIT: Duration = Duration::from_millis(250);

/// What `getblockchaininfo` and `getnetworkinfo` say, as far as the policy needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthReport {
    /// The chain by its own name (`main`, `regtest`, …); see [`crate::chain::Chain::from_name`].
    pub chain: String,
    /// Hash of block 0; `None` where it was not asked, or `getblockhash` is forbidden.
    pub genesis: Option<BlockHash>,
    /// Height of the tip.
    pub blocks: u64,
    /// Height of the best header.
    pub headers: u64,
    /// The tip.
    pub best: BlockHash,
    /// Total work of the tip's chain, 256-bit big-endian.
    pub chainwork: [u8; 32],
    /// The node says that it is in initial download.
    pub initial_download: bool,
    /// Share of the chain verified, 0 to 1.
    pub progress: f64,
    /// Time of the tip by its header, Unix seconds (0 where the node does not tell).
    pub tip_time: u64,
    /// Connected peers, ourselves among them before the engine has it; `None` where `getnetworkinfo` is forbidden.
    pub connections: Option<u64>,
    /// It takes transactions from others; `None` where it does not tell. With `blocksonly=1` it does
    /// not, and its templates are empty.
    pub local_relay: Option<bool>,
    /// Its clock, by the `Date` of its answer.
    pub clock: Option<Reading>,
    /// `subversion`, such as `/Satoshi:30.0.0/`; `None` where `getnetworkinfo` is forbidden.
    pub version: Option<String>,
    /// The node's own warnings, joined; empty when there are none.
    pub warnings: String,
    /// What decides nothing and is shown.
    pub facts: NodeFacts,
}

/// What a node says of itself that decides nothing; `None` where it does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Peers that connected to it.
    pub connections_in: Option<u64>,
    /// Peers that it connected to.
    pub connections_out: Option<u64>,
    /// It drops old blocks.
    pub pruned: Option<bool>,
    /// Size of its blocks on disk, bytes.
    pub size_on_disk: Option<u64>,
}

/// Refused branches that are kept of an answer, the highest first. A node of many years knows a
/// handful; what splits a house is at the top.
pub const MAX_BRANCHES: usize = 4;

/// Addresses of other nodes that a node is asked for, and that are kept of its answer. Bitcoin Core
/// has some ten thousand; many are out of date.
pub const MAX_ADDRESSES: usize = 500;

/// A branch that a node has marked invalid.
///
/// Bitcoin Core names a branch by its last block that it knows. It takes no header on top of a
/// block that it has refused, so that this mostly is the refused block itself; only when the
/// headers came first are there others above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidBranch {
    /// Height of the branch's last block.
    pub height: u64,
    /// The branch's last block.
    pub tip: BlockHash,
    /// How many blocks the branch has beside the node's best chain, at least 1.
    pub length: u64,
}

impl InvalidBranch {
    /// Height of the branch's first block. The refused one is this or a later one of the branch.
    pub fn first(&self) -> u64 {
        self.height - self.length + 1
    }
}

/// One thing that happened at one node.
#[derive(Clone, Debug)]
pub struct NodeEvent {
    /// Which node.
    pub node: NodeId,
    /// What happened.
    pub kind: NodeEventKind,
}

/// What a node did, was heard to say, or failed to do.
#[derive(Clone, Debug)]
pub enum NodeEventKind {
    /// A template, already parsed on the thread that received it.
    Template {
        /// The parsed template.
        template: Arc<Template>,
        /// From the request's start to the parsed template.
        took: Duration,
        /// Of that: from the last byte to the parsed template.
        parsing: Duration,
    },
    /// The node's tip, from ZMQ, a poll, or a call that waited.
    Tip {
        /// The tip's hash.
        hash: BlockHash,
        /// Its height, where the same message tells it ([`TipSource::Wait`]).
        height: Option<u64>,
        /// How we heard.
        source: TipSource,
        /// Duration of the call, zero for ZMQ.
        took: Duration,
    },
    /// The header of a tip ([`Ask::Header`]).
    Header {
        /// The tip.
        hash: BlockHash,
        /// What its header and its place in the chain say.
        header: TipHeader,
    },
    /// Whether the node answers another call while one waits ([`Ask::TryWait`]).
    WaitTried(Result<bool, RpcError>),
    /// An idle connection to the RPC port was closed by the other side: the node may have died, or
    /// it only ends connections that say nothing.
    HungUp,
    /// The subscription to its publisher stands otherwise than before. Where one is configured, it
    /// begins as [`ZmqState::Connecting`].
    Zmq(ZmqState),
    /// The answer to the regular health question.
    Health {
        /// What it said.
        report: Box<HealthReport>,
        /// Duration of both calls.
        took: Duration,
    },
    /// What the node lets us do.
    Permissions {
        /// What it said.
        permissions: Permissions,
        /// Duration of all calls.
        took: Duration,
    },
    /// A call failed. Submissions and proposals report through their own variants.
    Failed {
        /// Which call.
        method: Method,
        /// Why.
        error: RpcError,
        /// How long it took to fail.
        took: Duration,
    },
    /// `submitblock` was answered, or failed; the block's own state machine decides what next.
    Submitted {
        /// The block.
        block: BlockHash,
        /// The answer or the failure.
        answer: Result<SubmitAnswer, RpcError>,
        /// Duration of the call.
        took: Duration,
    },
    /// A proposal (BIP 23) was answered: `None` would be accepted, `Some(reason)` would not.
    Proposed {
        /// The hash of the proposed header, to match the question.
        block: BlockHash,
        /// The verdict, or the failure of the call.
        verdict: Result<Option<String>, RpcError>,
    },
    /// Where one of our blocks stands with the node was answered, or the call failed.
    Position {
        /// The block.
        block: BlockHash,
        /// What the node shows, or the failure.
        answer: Result<Position, RpcError>,
        /// Duration of all calls.
        took: Duration,
    },
    /// The branches that the node has refused.
    ChainTips {
        /// Them, the highest first.
        refused: Vec<InvalidBranch>,
        /// Duration of the call.
        took: Duration,
    },
    /// Blocks of the node's best chain.
    BlocksAt {
        /// Height and hash of those that it has.
        blocks: Vec<(u64, BlockHash)>,
        /// Duration of all calls.
        took: Duration,
    },
    /// Other nodes that the node knows.
    Addresses {
        /// Them, at most [`MAX_ADDRESSES`]; only public addresses and onions.
        list: Vec<ListedPeer>,
        /// Duration of the call.
        took: Duration,
    },
}
