//! The nodes: their reports to [`Failover`](crate::failover::Failover), and its commands to them.

use super::{Effect, Engine};
use crate::block::submission;
use crate::chain::BlockHash;
use crate::clock::Now;
use crate::event::EventKind;
use crate::failover::{self, Input, Output};
use crate::node::{HealthReport, Method, NodeEvent, NodeEventKind};
use crate::outside;
use crate::pool;

impl Engine {
    /// Handles a node's report. A node that was removed meanwhile is ignored.
    pub(super) fn node_event(&mut self, now: Now, mut event: NodeEvent) {
        if !self.setup.nodes.iter().any(|node| node.id == event.node) {
            return;
        }
        if let NodeEventKind::Health { report, .. } = &mut event.kind
            && self.peers.is_own(event.node)
        {
            without_us(report);
        }
        match &event.kind {
            NodeEventKind::Template { template, took, .. } => {
                // The node's clock was read when it made the template, somewhere within the call.
                let made = now.mono.checked_sub(*took).unwrap_or(now.mono);
                self.latest.insert(event.node, (template.clone(), made));
            }
            NodeEventKind::Submitted { block, answer, .. } => {
                self.submitted(now, event.node, *block, answer.clone());
            }
            NodeEventKind::Position { block, answer, .. } => {
                let (node, block, position) = (event.node, *block, answer.as_ref().ok().copied());
                self.blocks_input(now, submission::Input::Position { node, block, position });
            }
            NodeEventKind::Proposed { block, verdict } => {
                self.proposed(now, event.node, *block, verdict);
            }
            NodeEventKind::Addresses { list, .. } => {
                self.outside_input(now, outside::Input::Told(list));
            }
            NodeEventKind::Failed { method: Method::GetNodeAddresses, .. } => {
                self.addresses_not_told(event.node);
            }
            NodeEventKind::Tip { .. }
            | NodeEventKind::Header { .. }
            | NodeEventKind::Zmq(_)
            | NodeEventKind::Health { .. }
            | NodeEventKind::WaitTried(_)
            | NodeEventKind::HungUp
            | NodeEventKind::Permissions { .. }
            | NodeEventKind::ChainTips { .. }
            | NodeEventKind::BlocksAt { .. }
            | NodeEventKind::Failed { .. } => {}
        }
        let (node, tip) = (event.node, tip_of(&event.kind));
        self.failover_input(now, Input::Node(event));
        // After the miners have their jobs: a tip proves where a block of ours stands.
        if let Some(hash) = tip {
            self.blocks_input(now, submission::Input::Tip { node, hash });
            self.follow_peers(now);
        }
    }

    pub(super) fn failover_input(&mut self, now: Now, input: Input) {
        let mut outputs = Vec::new();
        self.failover.handle(now, input, &mut outputs);
        for output in outputs {
            self.failover_output(now, output);
        }
    }

    fn failover_output(&mut self, now: Now, output: Output) {
        match output {
            Output::Ask { node, ask } => self.ask(node, ask),
            Output::Lead { node, from, why } => {
                self.effects.push_back(Effect::Lead { node, from, why });
            }
            Output::Serve { node, new_tip } => self.serve(now, node, new_tip),
            Output::EmptyJob { node, tip, header } => self.serve_empty(now, node, tip, header),
            Output::Gate { why } => {
                self.effects.push_back(Effect::Shut(why));
                self.pool_input(now, pool::Input::NoWork);
            }
            Output::Ungate => self.effects.push_back(Effect::Open),
            Output::ClockSet { node, by } => {
                self.effects.push_back(Effect::ClockSet { node, by });
                self.rehearsals.plan(now);
            }
            Output::Event(event) => {
                self.notice = words_for_miners(&event).or(self.notice.take());
                self.tell(EventKind::Node, event.level(), event.to_string());
            }
        }
    }
}

/// We are a peer of a node whose P2P port we use, one that brings it no blocks: a node with nobody else is
/// alone.
fn without_us(report: &mut HealthReport) {
    for count in [&mut report.connections, &mut report.facts.connections_in] {
        *count = count.map(|count| count.saturating_sub(1));
    }
}

/// The text that miners show: about the situation as a whole, not about each node.
fn words_for_miners(event: &failover::Event) -> Option<String> {
    use failover::Event::{NodeFailover, RpcDown, RpcRecovered};
    match event {
        NodeFailover { to, back: true, .. } => Some(format!("Soloist: node {to} leads again.")),
        NodeFailover { from, to, .. } => {
            Some(format!("Soloist: node {from} has failed, node {to} has taken over."))
        }
        RpcDown { .. } => Some("Soloist: no Bitcoin node answers. Mining on the last job.".into()),
        RpcRecovered { node, .. } => Some(format!("Soloist: node {node} gives work again.")),
        _ => None,
    }
}

/// The tip of the node's best chain, whichever way it was told.
fn tip_of(event: &NodeEventKind) -> Option<BlockHash> {
    match event {
        NodeEventKind::Template { template, .. } => Some(template.prev),
        NodeEventKind::Tip { hash, .. } => Some(*hash),
        NodeEventKind::Health { report, .. } => Some(report.best),
        NodeEventKind::Header { .. }
        | NodeEventKind::WaitTried(_)
        | NodeEventKind::HungUp
        | NodeEventKind::Zmq(_)
        | NodeEventKind::Permissions { .. }
        | NodeEventKind::ChainTips { .. }
        | NodeEventKind::BlocksAt { .. }
        | NodeEventKind::Addresses { .. }
        | NodeEventKind::Failed { .. }
        | NodeEventKind::Submitted { .. }
        | NodeEventKind::Proposed { .. }
        | NodeEventKind::Position { .. } => None,
    }
}
