//! The inputs and outputs of [`Failover`](super::Failover).

use std::time::Duration;

use super::node::{Standing, Waiting};
use super::split::{Dispute, Follow};
use crate::chain::{BlockHash, Chain};
use crate::event::Level;
use crate::ids::NodeId;
use crate::node::{Ask, NodeEvent, RpcError, TipHeader};

/// Everything that the owner decides: the nodes in the order of preference, the chains that the
/// payout address belongs to, how long to serve the last job, and whose rules decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The nodes, the preferred one first. An id stands for one unchanged node: a node whose
    /// address or password changed by a reload comes with a new id.
    pub nodes: Vec<NodeSpec>,
    /// The chains on which a node may be (a test address fits several).
    pub chains: Vec<Chain>,
    /// For how long the last valid job is served when no node can confirm it; then the gate is shut
    /// and miners are sent away. After three quarters of it, work may go back to a tip with less
    /// work, because the last one is as good as forgotten.
    pub grace: Duration,
    /// Which chain is followed when the nodes do not agree on the rules.
    pub follow: Follow,
}

/// [`Setup::grace`] where the owner sets nothing.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(90);

/// One node, as far as the policy needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// Its id in the daemon's table.
    pub id: NodeId,
    /// The owner's name for it, for sentences.
    pub name: String,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time passed: [`Failover::next_deadline`](super::Failover::next_deadline) has come.
    Tick,
    /// The configuration was read again.
    Reload(Setup),
    /// A block is rehearsed at all nodes: each is to be asked what it lets us do.
    CheckPermissions,
    /// Something happened at a node; an unknown one is ignored.
    Node(NodeEvent),
    /// The connection to a node's P2P port tells the tip of its best chain. That says nothing of the
    /// node's RPC.
    Announced {
        /// Which node.
        node: NodeId,
        /// The tip.
        hash: BlockHash,
        /// What its header and the ten before it say, where all are known.
        header: Option<TipHeader>,
    },
    /// The connection to a node's P2P port has ended.
    PeerLost(NodeId),
}

/// What the shells are to do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask a node. A call that is not answered within its deadline ([`FETCH_DEADLINE`], [`POLL_DEADLINE`],
    /// [`HEALTH_DEADLINE`], [`PERMISSIONS_DEADLINE`], [`CHAIN_TIPS_DEADLINE`], [`BLOCKS_DEADLINE`])
    /// has failed. Never two of a kind at a time at the same node.
    ///
    /// [`FETCH_DEADLINE`]: super::FETCH_DEADLINE
    /// [`POLL_DEADLINE`]: super::POLL_DEADLINE
    /// [`HEALTH_DEADLINE`]: super::HEALTH_DEADLINE
    /// [`PERMISSIONS_DEADLINE`]: super::PERMISSIONS_DEADLINE
    /// [`CHAIN_TIPS_DEADLINE`]: super::CHAIN_TIPS_DEADLINE
    /// [`BLOCKS_DEADLINE`]: super::BLOCKS_DEADLINE
    Ask {
        /// Which.
        node: NodeId,
        /// What.
        ask: Ask,
    },
    /// This node leads from now on: for the page and the log. Jobs follow from
    /// [`Output::Serve`] alone.
    Lead {
        /// The new leader.
        node: NodeId,
        /// Who led before; `None` at the start.
        from: Option<NodeId>,
        /// Why.
        why: LeadWhy,
    },
    /// Build jobs from this node's latest template (the one just handed in, or the one kept from
    /// before: the daemon keeps the latest per node). No template is used without it.
    Serve {
        /// Whose template.
        node: NodeId,
        /// It builds on another tip than the work before: clean jobs.
        new_tip: bool,
    },
    /// The leader has validated a new tip and its template will take a while, or no RPC answers and a
    /// P2P port announces the tip: send an empty job at once. The tip is higher than the one that is
    /// worked on, and [`empty_is_possible`](crate::template::empty_is_possible).
    EmptyJob {
        /// Who has the tip.
        node: NodeId,
        /// The new tip: previous hash of the job.
        tip: BlockHash,
        /// Its height and median time.
        header: TipHeader,
    },
    /// There is no valid work: drop the jobs, close the miners' sockets and refuse new ones.
    /// The machine starts in this state without saying so.
    Gate {
        /// Why.
        why: GateWhy,
    },
    /// There is work again (its [`Output::Serve`] came before): let miners in.
    Ungate,
    /// A clock was set: what was rehearsed before may not hold any more.
    ClockSet {
        /// Whose; `None` is this box.
        node: Option<NodeId>,
        /// Seconds by which it moved; negative is back.
        by: i64,
    },
    /// Something that the owner should be able to read.
    Event(Event),
}

/// Why the lead moved, in words that follow "because".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeadWhy {
    /// The first leader of this run.
    #[error("it is the first node that is ready")]
    First,
    /// Nobody led for a while.
    #[error("it is ready again")]
    Ready,
    /// A call to the leader failed.
    #[error("{0}")]
    Failed(String),
    /// The leader is good for less than another node.
    #[error("{}", .0.as_reason())]
    Unfit(Standing),
    /// The leader had no template for a tip while another node had one.
    #[error("it did not follow to the new tip within {} s", .0.as_secs())]
    DidNotFollow(Duration),
    /// The owner took it out of the configuration.
    #[error("it was removed from the configuration")]
    Removed,
    /// A node that the owner prefers is good again.
    #[error("the preferred node is good again")]
    Return,
}

/// Why there is no work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateWhy {
    /// No usable node has confirmed the last job's tip for as long as the grace.
    #[error("no node has confirmed the last job for {} s", .0.as_secs())]
    Grace(Duration),
    /// The last job belongs to a chain that the configuration no longer allows.
    #[error("the last job belongs to another chain than the payout address")]
    WrongChain,
}

/// Something that the owner should be able to read. The daemon adds the time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Event {
    /// The lead moved from one node to another, in either direction.
    #[error("{}", failover_sentence(.from, .to, .why))]
    NodeFailover {
        /// Name of the node that led.
        from: String,
        /// Name of the node that leads now.
        to: String,
        /// The owner prefers `to`.
        back: bool,
        /// Why.
        why: LeadWhy,
    },
    /// A backup has led for [`LONG_ON_BACKUP`](super::LONG_ON_BACKUP).
    #[error("Backup node {node} has given the work for {} min: {preferred}.", .after.as_secs() / 60)]
    LongOnBackup {
        /// The backup.
        node: String,
        /// What is wrong with the preferred node.
        preferred: String,
        /// For how long.
        after: Duration,
    },
    /// No node has led for [`RPC_DOWN_AFTER`](super::RPC_DOWN_AFTER).
    #[error("No Bitcoin node is usable: {why}.")]
    RpcDown {
        /// The state of each node.
        why: String,
    },
    /// A node leads again.
    #[error("Node {node} gives work again, after {} s without a usable node.", .after.as_secs())]
    RpcRecovered {
        /// The node.
        node: String,
        /// How long nobody led.
        after: Duration,
    },
    /// A node's breaker opened.
    #[error("Node {node} {}: {why}. {}", state_after(.why), .why.remedy())]
    NodeDown {
        /// The node.
        node: String,
        /// The last failure.
        why: RpcError,
    },
    /// A node answers, but its templates cannot be had or used.
    #[error("Node {node} gives no work: {why}. {}", .why.remedy())]
    NoTemplate {
        /// The node.
        node: String,
        /// Why.
        why: RpcError,
    },
    /// A node answers again.
    #[error("Node {node} answers again, after {} s.", .after.as_secs())]
    NodeUp {
        /// The node.
        node: String,
        /// How long it was down.
        after: Duration,
    },
    /// Two nodes have different tips of equal height and work.
    #[error(
        "Two blocks at height {height}: {ours} (mined on) and {other} (node {node}). We stay on \
         the first until one chain has more work."
    )]
    TipSplit {
        /// Height of both.
        height: u64,
        /// The tip that is worked on.
        ours: BlockHash,
        /// The other.
        other: BlockHash,
        /// A node that holds the other.
        node: String,
    },
    /// The split is over.
    #[error("The nodes agree on one chain again, after {} s.", .after.as_secs())]
    SplitOver {
        /// How long it lasted.
        after: Duration,
    },
    /// A node answers but its chain has less work than another's.
    #[error("Node {node} answers but {words}; it does not lead while another is better.")]
    NodeLagging {
        /// The node.
        node: String,
        /// How it lags.
        words: String,
    },
    /// A lagging node has caught up.
    #[error("Node {node} has caught up.")]
    NodeCaughtUp {
        /// The node.
        node: String,
    },
    /// A node has refused a block that another follows: it is no lag.
    #[error(
        "Node {} has refused block {} ({}{}), which node {} follows: the two go by different rules.",
        .0.refuser, .0.height, .0.block, if .0.exact { "" } else { ", or one soon after it" },
        .0.follower
    )]
    RulesSplit(Dispute),
    /// They are on one chain again.
    #[error("Nodes {node} and {other} are on one chain again.")]
    RulesAgree {
        /// The node that had refused a block.
        node: String,
        /// The node that followed it.
        other: String,
    },
    /// A node is on a chain where the address is worth nothing.
    #[error(
        "Node {node} is on the wrong chain ({found}, not {wanted}): it is not used. Check its \
         address and the payout address."
    )]
    WrongChain {
        /// The node.
        node: String,
        /// What it says.
        found: String,
        /// What is allowed.
        wanted: String,
    },
    /// A node refuses what mining needs.
    #[error("Node {node} {words}. {remedy}")]
    Forbidden {
        /// The node.
        node: String,
        /// What it refuses and what that means.
        words: String,
        /// What the owner can do.
        remedy: String,
    },
    /// A node no longer refuses what mining needs.
    #[error("Node {node} lets us call all that mining needs now.")]
    Permitted {
        /// The node.
        node: String,
    },
    /// A node forbids what mining does not need.
    #[error("Node {node} {words}.")]
    Shortage {
        /// The node.
        node: String,
        /// What it forbids and what that means.
        words: String,
    },
    /// A node asks for patience.
    #[error("Node {node} {why}.")]
    Waiting {
        /// The node.
        node: String,
        /// What for.
        why: Waiting,
    },
    /// The miners were sent away.
    #[error("There is no valid work ({why}): the miners are disconnected, to use their fallback.")]
    Gated {
        /// Why.
        why: GateWhy,
    },
    /// The miners are let in again.
    #[error("There is work again: miners are let in.")]
    Ungated,
}

impl Event {
    /// The event's name for notification rules and the journal.
    pub fn name(&self) -> &'static str {
        match self {
            Event::NodeFailover { .. } => "node-failover",
            Event::LongOnBackup { .. } => "long-on-backup",
            Event::RpcDown { .. } => "rpc-down",
            Event::RpcRecovered { .. } => "rpc-recovered",
            Event::NodeDown { .. } => "node-down",
            Event::NoTemplate { .. } => "node-no-template",
            Event::NodeUp { .. } => "node-up",
            Event::TipSplit { .. } => "tip-split",
            Event::SplitOver { .. } => "split-over",
            Event::NodeLagging { .. } => "node-lagging",
            Event::NodeCaughtUp { .. } => "node-caught-up",
            Event::RulesSplit(_) => "rules-split",
            Event::RulesAgree { .. } => "rules-agree",
            Event::WrongChain { .. } => "wrong-chain",
            Event::Forbidden { .. } => "node-forbids",
            Event::Permitted { .. } => "node-permits",
            Event::Shortage { .. } => "node-forbids-some",
            Event::Waiting { .. } => "node-waiting",
            Event::Gated { .. } => "miners-gated",
            Event::Ungated => "miners-let-in",
        }
    }

    /// How urgent it is.
    pub fn level(&self) -> Level {
        match self {
            Event::RpcDown { .. }
            | Event::Gated { .. }
            | Event::WrongChain { .. }
            | Event::Forbidden { .. } => Level::Critical,
            Event::NodeFailover { back: false, .. }
            | Event::LongOnBackup { .. }
            | Event::NodeDown { .. }
            | Event::NoTemplate { .. }
            | Event::TipSplit { .. }
            | Event::NodeLagging { .. }
            | Event::RulesSplit(_)
            | Event::Waiting { .. } => Level::Warning,
            Event::NodeFailover { back: true, .. }
            | Event::RpcRecovered { .. }
            | Event::NodeUp { .. }
            | Event::SplitOver { .. }
            | Event::NodeCaughtUp { .. }
            | Event::Permitted { .. }
            | Event::Shortage { .. }
            | Event::RulesAgree { .. }
            | Event::Ungated => Level::Info,
        }
    }
}

/// The reasons speak of the node that lost the lead, except two.
fn failover_sentence(from: &str, to: &str, why: &LeadWhy) -> String {
    match why {
        LeadWhy::Return => format!("Node {to} leads again instead of {from}: {why}."),
        LeadWhy::First | LeadWhy::Ready => format!("Node {to} leads after {from}: {why}."),
        _ => format!("Node {to} leads instead of {from}. Reason, about {from}: {why}."),
    }
}

/// What a node is said to be when its calls fail for this reason: one that answers is not down.
fn state_after(why: &RpcError) -> &'static str {
    if why.is_silence() { "is down" } else { "cannot be used" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_sentences() {
        let failover = Event::NodeFailover {
            from: "attic".into(),
            to: "cellar".into(),
            back: false,
            why: LeadWhy::Unfit(Standing::Silent(Duration::from_millis(1250))),
        };
        assert_eq!(
            failover.to_string(),
            "Node cellar leads instead of attic. Reason, about attic: it has not answered for \
             more than 1.2 s."
        );
        assert_eq!((failover.name(), failover.level()), ("node-failover", Level::Warning));
        let back = Event::NodeFailover {
            from: "cellar".into(),
            to: "attic".into(),
            back: true,
            why: LeadWhy::Return,
        };
        assert_eq!(
            back.to_string(),
            "Node attic leads again instead of cellar: the preferred node is good again."
        );
        assert_eq!(back.level(), Level::Info);
    }
}
