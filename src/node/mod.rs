//! The nodes: RPC, watching for new tips, and what both report to the daemon's queue.
//!
//! A shell. It holds no policy: which node leads, when to fetch and whom to probe is decided by
//! [`crate::failover`]; this module does what it is told and reports what happened as a
//! [`NodeEvent`].

pub mod chain_tips;
pub mod rpc;
pub mod watch;
mod zmq_fd;

use std::sync::Arc;
use std::time::Duration;

use crate::block::SubmitAnswer;
use crate::chain::BlockHash;
use crate::template::Template;
pub use chain_tips::InvalidBranch;
pub use rpc::{Auth, NodeConfig, Rpc};
pub use watch::NodeHandle;

/// A node's place in the daemon's table. Never reused within one run, so that a late event of a
/// node removed by a reload is recognised and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// How the news of a tip reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TipSource {
    /// `hashblock` on the node's ZMQ socket.
    Zmq,
    /// A `getblocktemplate` long poll came back (BIP 22).
    Longpoll,
    /// The regular `getbestblockhash`.
    Poll,
    /// A template fetched for another reason builds on it.
    Template,
}

/// An RPC method, as far as statistics and deadlines tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// `getblocktemplate` without a longpollid.
    GetBlockTemplate,
    /// `getblocktemplate` with a longpollid: returns when there is news.
    Longpoll,
    /// `getblocktemplate` in proposal mode (BIP 23).
    Proposal,
    /// `submitblock`.
    SubmitBlock,
    /// `getbestblockhash`.
    GetBestBlockHash,
    /// `getblockchaininfo` and `getnetworkinfo`, asked together.
    Health,
    /// `getblockheader`.
    GetBlockHeader,
    /// `preciousblock`.
    PreciousBlock,
    /// `getchaintips`.
    GetChainTips,
    /// `getblockhash` of a few heights.
    GetBlockHash,
}

/// Why a call failed, by what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// No connection, or it broke: the node is off, the address is wrong, the cable is out.
    #[error("cannot reach it: {0}")]
    Transport(String),
    /// Connected, but no whole answer before the deadline.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// HTTP 401 or 403: wrong user, password or cookie, or this address is not in `rpcallowip`.
    #[error("it refuses our password (HTTP {0})")]
    Auth(u16),
    /// The cookie file cannot be read.
    #[error("cookie file {path}: {why}")]
    Cookie {
        /// The file.
        path: String,
        /// The system's words.
        why: String,
    },
    /// Another HTTP status without a JSON-RPC error in the body.
    #[error("HTTP status {0}")]
    Http(u16),
    /// The node's own error: -28 warming up, -9 no peers, -10 initial download, and the rest.
    #[error("{message} ({code})")]
    Rpc {
        /// JSON-RPC error code.
        code: i64,
        /// The node's words.
        message: String,
    },
    /// More bytes than an honest answer has.
    #[error("its answer is longer than {0} bytes")]
    TooLarge(usize),
    /// Not JSON-RPC, or a field is missing or of another type.
    #[error("its answer makes no sense: {0}")]
    Malformed(String),
}

/// What `getblockchaininfo` and `getnetworkinfo` say, as far as the policy needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthReport {
    /// The chain by its own name (`main`, `regtest`, …); see [`crate::chain::Chain::from_name`].
    pub chain: String,
    /// Hash of block 0, where it was asked.
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
    /// Connected peers.
    pub connections: u64,
    /// `subversion`, such as `/Satoshi:30.0.0/`.
    pub version: String,
    /// The node's own warnings, joined; empty when there are none.
    pub warnings: String,
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
        /// [`Method::GetBlockTemplate`] or [`Method::Longpoll`].
        method: Method,
        /// From the request's start to the parsed template (for a long poll: to be ignored).
        took: Duration,
        /// Of that: from the last byte to the parsed template.
        parsing: Duration,
    },
    /// The node's tip, from ZMQ or a poll.
    Tip {
        /// The tip's hash.
        hash: BlockHash,
        /// The tip that the node announced directly before this one, with nothing lost between
        /// them; known by ZMQ's numbers only.
        after: Option<BlockHash>,
        /// How we heard.
        source: TipSource,
        /// Duration of the call for [`TipSource::Poll`], zero for ZMQ.
        took: Duration,
    },
    /// The answer to the regular health question.
    Health {
        /// What it said.
        report: HealthReport,
        /// Duration of both calls.
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
    /// Where one of our blocks stands: its confirmations, -1 when it is not in the best chain,
    /// `None` when the node does not know it.
    Confirmations {
        /// The block.
        block: BlockHash,
        /// Confirmations by `getblockheader`.
        confirmations: Option<i64>,
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
}
