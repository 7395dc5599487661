//! The data for the status page and the metrics.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Failover;
use super::node::{Node, Standing};
use super::split::Dispute;
use super::stats::MethodStats;
use super::tips::RaceStats;
use super::watch::NewsBy;
use crate::chain::{BlockHash, Chain};
use crate::ids::NodeId;
use crate::node::{HealthReport, Method, Permissions, RpcError};

/// One node for the page.
#[derive(Clone, Debug)]
pub struct NodeView<'a> {
    /// Its id.
    pub id: NodeId,
    /// The owner's name for it.
    pub name: &'a str,
    /// It leads.
    pub leads: bool,
    /// What it is good for.
    pub standing: &'a Standing,
    /// Why it is not fit, where that is a failure.
    pub reason: Option<RpcError>,
    /// What the owner can do about it.
    pub hint: Option<String>,
    /// What it lets us do, where it was asked.
    pub permissions: Option<&'a Permissions>,
    /// Its latest health report and the report's age.
    pub health: Option<(&'a HealthReport, Duration)>,
    /// Its tip.
    pub tip: Option<BlockHash>,
    /// Height of its tip, where known.
    pub height: Option<u64>,
    /// Blocks that it lacks against the node with most work (0 also on a weaker chain of equal
    /// height).
    pub lag_blocks: u64,
    /// Median of its last five durations of `getblocktemplate`.
    pub template_takes: Option<Duration>,
    /// An empty job goes out first when it leads.
    pub empty_first: bool,
    /// Its last failure and the failure's age; it stays when the node is well again.
    pub last_error: Option<(&'a RpcError, Duration)>,
    /// Calls by method. Durations of calls that wait are not counted.
    pub stats: &'a BTreeMap<Method, MethodStats>,
    /// Its place in the race for new tips.
    pub race: &'a RaceStats,
    /// How the news of its tips come.
    pub news_by: NewsBy,
    /// What it has refused of another's chain, or another of its chain.
    pub dispute: Option<&'a Dispute>,
    /// What two rule sets mean for it, in sentences, and what the owner can do.
    pub rules: Option<String>,
}

/// The own nodes' best tip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BestTip {
    /// Its hash.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// Height of the best header that an own node has: at least `height`.
    pub headers: u32,
    /// Its time by its header, Unix seconds, where a node told it.
    pub time: Option<u64>,
}

impl Failover {
    /// Who leads.
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// When the miners are sent away unless a node confirms the tip before.
    pub fn kept_until(&self) -> Option<Instant> {
        self.work.map(|work| work.confirmed + self.grace)
    }

    /// Miners are kept out.
    pub fn is_gated(&self) -> bool {
        self.gated
    }

    /// The chain that a node is on, by its last health report.
    pub fn chain_of(&self, node: NodeId) -> Option<Chain> {
        let (report, _) = self.nodes[self.index(node)?].health.as_ref()?;
        Chain::from_name(&report.chain)
    }

    /// A node's tip and its height, as its RPC tells them.
    pub fn tip_of(&self, node: NodeId) -> Option<(BlockHash, u32)> {
        let tip = self.nodes[self.index(node)?].tip?;
        Some((tip, self.tips.height(tip)?.try_into().ok()?))
    }

    /// The highest tip of the nodes that are past their initial download, of any age; and the height
    /// of the best header that one of them has, unless it refuses the block.
    pub fn best_tip(&self) -> Option<BestTip> {
        let nodes = self.nodes.iter().filter_map(|node| {
            let (report, _) =
                node.health.as_ref().filter(|(report, _)| !report.initial_download)?;
            // While its RPC is away, its own P2P port alone tells it.
            let by_p2p = node.peer_tip.and_then(|(tip, header)| {
                let height = header.map(|header| header.height);
                Some((tip, height.or_else(|| self.tips.height(tip))?))
            });
            let by_rpc = node.tip.and_then(|tip| Some((tip, self.tips.height(tip)?)));
            let (tip, height) =
                by_rpc.into_iter().chain(by_p2p).max_by_key(|(_, height)| *height)?;
            Some((node, report, tip, height))
        });
        let best = nodes.clone().max_by_key(|(.., height)| *height)?;
        let (_, report, hash, height) = best;
        let time = Some(report.tip_time).filter(|time| report.best == hash && *time > 0);
        let headers = nodes.filter(|(node, ..)| node.inquiry.dispute.is_none());
        let headers = headers.map(|(_, report, ..)| report.headers).max().unwrap_or(0);
        Some(BestTip {
            hash,
            height: height.try_into().ok()?,
            headers: headers.max(height).try_into().ok()?,
            time,
        })
    }

    /// The nodes in the order of preference.
    pub fn nodes(&self, at: Instant) -> impl Iterator<Item = NodeView<'_>> {
        self.nodes.iter().map(move |node| self.node_view(at, node))
    }

    fn node_view<'a>(&'a self, at: Instant, node: &'a Node) -> NodeView<'a> {
        let age = |since: Instant| at.saturating_duration_since(since);
        NodeView {
            id: node.spec.id,
            name: &node.spec.name,
            leads: self.leader == Some(node.spec.id),
            standing: &node.standing,
            reason: node.reason(),
            hint: node.hint(),
            permissions: node.permissions.as_ref(),
            health: node.health.as_ref().map(|(report, since)| (report, age(*since))),
            tip: node.tip,
            height: node.tip.and_then(|tip| self.tips.height(tip)),
            lag_blocks: node.behind.map_or(0, |behind| behind.blocks),
            template_takes: node.median_fetch(),
            empty_first: self.empty_first(node.spec.id),
            last_error: node.last_error.as_ref().map(|failure| (&failure.error, age(failure.at))),
            stats: &node.stats,
            race: &node.race,
            news_by: node.news_by(self.leader == Some(node.spec.id)),
            dispute: self.dispute(node),
            rules: self.rules_words(node),
        }
    }
}
