//! The nodes of strangers: what [`OutsidePeers`] is told, and what comes of it.
//!
//! They get our blocks, and show how high the world's chain is. Neither decides anything: a block is
//! accepted when an own node shows it, and work comes from own nodes alone.

use std::sync::Arc;
use std::time::Duration;

use super::{Effect, Engine};
use crate::block::SolvedBlock;
use crate::chain::BlockHash;
use crate::clock::{Now, millis};
use crate::event::{EventKind, Level};
use crate::ids::NodeId;
use crate::node::Ask;
use crate::outside::{Behind, Change, Input, Output, OutsidePeers};
use crate::p2p::Order;
use crate::peer_address::PeerAddress;

impl Engine {
    /// The nodes of strangers.
    pub fn outside(&self) -> &OutsidePeers {
        &self.outside
    }

    pub(super) fn outside_input(&mut self, now: Now, input: Input<'_>) {
        let mut outputs = Vec::new();
        self.outside.handle(now, input, &mut outputs);
        outputs.into_iter().for_each(|output| self.outside_output(now, output));
    }

    /// Passes on the own nodes' chain and best tip.
    pub(super) fn follow_outside(&mut self, now: Now) {
        if let Some(chain) = self.chain_for_peers() {
            self.outside_input(now, Input::Chain(chain));
        }
        if let Some(tip) = self.failover.best_tip() {
            self.outside_input(now, Input::Tip(tip));
        }
    }

    /// No own node shows the block yet.
    pub(super) fn offer_outside(&mut self, now: Now, block: &Arc<SolvedBlock>) {
        self.outside_input(now, Input::Offer(block));
    }

    fn outside_output(&mut self, now: Now, output: Output) {
        match output {
            Output::Connect { id, address, chain } => {
                self.effects.push_back(Effect::OutsideConnect { id, address, chain });
            }
            Output::Order { id, order } => {
                self.effects.push_back(Effect::Outside { id, order });
            }
            Output::Drop(id) => self.effects.push_back(Effect::OutsideDrop(id)),
            Output::AskAddresses => self.ask_for_addresses(),
            Output::AskSeeds(chain) => self.effects.push_back(Effect::AskSeeds(chain)),
            Output::Keep(chain, list) => {
                self.effects.push_back(Effect::KeepAddresses { chain, list });
            }
            Output::Dialling { block, peers: 0 } => {
                // Most owners never see this; who sees it can do something about it.
                let height = self.height_of(block);
                let text = format!(
                    "No own node has shown block {height} yet, and no outside node is known to \
                     which it could be offered."
                );
                self.tell(EventKind::Block, Level::Warning, text);
            }
            Output::Dialling { block, peers } => {
                let height = self.height_of(block);
                let nodes = if peers == 1 { "one outside node" } else { "outside nodes" };
                let text = format!(
                    "No own node has shown block {height} yet: it is offered to {nodes} as well."
                );
                self.tell(EventKind::Block, Level::Warning, text);
            }
            Output::Asked { block, address, after } => {
                self.tell_taken(block, &address, "asked for", after);
            }
            Output::Shown { block, address, after } => {
                self.tell_taken(block, &address, "shows in its best chain", after);
            }
            Output::World(change) => self.tell_world(now, change),
            Output::ProxyDown(why) => {
                let text = format!("No outside node can be reached: {why}.");
                self.tell(EventKind::System, Level::Warning, text);
            }
            Output::ProxyUp => {
                let text = "Outside nodes can be reached again through the proxy.".to_owned();
                self.tell(EventKind::System, Level::Info, text);
            }
        }
    }

    /// Asks the leading node, or else the others, for addresses of the network's nodes.
    fn ask_for_addresses(&mut self) {
        let leader = self.failover.leader();
        for node in leader.map_or_else(|| self.node_ids(), |leader| vec![leader]) {
            self.ask(node, Ask::Addresses);
        }
    }

    /// A node's RPC does not tell addresses: bcoin does not know the call, and it may be forbidden. The
    /// node's P2P port tells some as well.
    pub(super) fn addresses_not_told(&mut self, node: NodeId) {
        if self.peers.is_own(node) {
            self.effects.push_back(Effect::Peer { node, order: Order::Addresses });
        }
    }

    fn tell_taken(&mut self, block: BlockHash, by: &PeerAddress, did: &str, after: Duration) {
        let (height, after) = (self.height_of(block), millis(after));
        let text =
            format!("Outside node {by} {did} block {height}, {after:.0} ms after the share.");
        self.tell(EventKind::Block, Level::Info, text);
    }

    fn height_of(&self, block: BlockHash) -> String {
        let live = self.blocks.live(block);
        live.map_or_else(|| block.to_string(), |block| block.height.to_string())
    }

    fn tell_world(&mut self, now: Now, change: Change) {
        let (level, text) = match change {
            Change::Behind(behind) => (Level::Critical, self.behind_words(now, behind)),
            Change::CaughtUp(Behind { world, .. }) => {
                (Level::Info, format!("Your nodes have caught up with block {world}."))
            }
            Change::Withdrawn(Behind { world, .. }) => {
                (Level::Info, format!("Nobody shows block {world} any more."))
            }
        };
        self.tell(EventKind::Node, level, text);
    }

    /// How far the own nodes are behind the world, and for how long, in a sentence.
    pub fn behind_words(&self, now: Now, behind: Behind) -> String {
        let Behind { own, world, by, of } = behind;
        let minutes = self.outside.standing(now).map_or(0, |time| time.as_secs() / 60);
        let who = match &self.setup.nodes[..] {
            [node] => format!("Your node {} has", node.name),
            _ => "Your nodes have".to_owned(),
        };
        let minutes = match minutes {
            0 | 1 => "a minute".to_owned(),
            minutes => format!("{minutes} minutes"),
        };
        let source = match by {
            0 => "it has the headers without their blocks".to_owned(),
            _ => format!("by {by} of {of} outside nodes"),
        };
        format!(
            "{who} been standing at block {own} for {minutes}; the network is at {world} \
             ({source})."
        )
    }
}
