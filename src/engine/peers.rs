//! The nodes' P2P ports: the second road of a solved block, and the news of tips without ZMQ.
//!
//! A connection counts as the node's own only when it has the tip that the node's RPC told
//! ([`Event::Same`]). Then its tips are news of the node, and a block that it shows in its best chain is
//! accepted. A stranger at that address is offered our blocks as well, which costs nothing and may
//! help; what it says is not believed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Effect, Engine};
use crate::block::{SolvedBlock, submission};
use crate::chain::{BlockHash, Chain};
use crate::clock::Now;
use crate::event::{EventKind, Level};
use crate::failover;
use crate::ids::NodeId;
use crate::node::TipHeader;
use crate::outside;
use crate::p2p::{Down, Event, Order};

/// The connections to the nodes' P2P ports.
#[derive(Debug, Default)]
pub struct Peers(BTreeMap<NodeId, Link>);

/// What is known of one node's P2P port.
#[derive(Debug)]
struct Link {
    chain: Chain,
    state: PeerState,
    /// The tip that its RPC told, as it was passed on.
    told: Option<BlockHash>,
    /// The tip that it announced.
    tip: Option<(BlockHash, Option<TipHeader>)>,
    offered: BTreeSet<BlockHash>,
    /// Blocks in its best chain, with their confirmations, until it is known whose it is.
    shown: BTreeMap<BlockHash, u32>,
    /// The failure that the owner was told of.
    said: Option<Down>,
}

/// How the connection to a node's P2P port stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// It is being connected.
    Connecting,
    /// It is connected.
    Ready {
        /// Whether it has the tip that the node's RPC told; `None` until it is known.
        same: Option<bool>,
    },
    /// It is not connected.
    Down(Down),
}

impl Peers {
    /// Whether a node's P2P port is known to be its own.
    pub fn is_own(&self, node: NodeId) -> bool {
        self.0.get(&node).is_some_and(Link::is_own)
    }

    /// How the connection to a node's P2P port stands; `None` before the chain is known.
    pub fn state(&self, node: NodeId) -> Option<&PeerState> {
        self.0.get(&node).map(|link| &link.state)
    }
}

impl Link {
    fn is_own(&self) -> bool {
        matches!(self.state, PeerState::Ready { same: Some(true) })
    }
}

impl Engine {
    /// Handles what a node's P2P port did.
    pub(super) fn peer_event(&mut self, now: Now, node: NodeId, event: Event) {
        let Some(link) = self.peers.0.get_mut(&node) else { return };
        match event {
            Event::Ready { .. } => {
                link.state = PeerState::Ready { same: None };
                link.tip = None;
                link.shown.clear();
            }
            Event::Down(why) => {
                link.state = PeerState::Down(why);
                link.tip = None;
                self.failover_input(now, failover::Input::PeerLost(node));
                self.say_peer(node);
            }
            Event::Same(is_same) => {
                let PeerState::Ready { same } = &mut link.state else { return };
                if same.replace(is_same) == Some(is_same) {
                    return;
                }
                let shown = std::mem::take(&mut link.shown);
                match is_same {
                    true => {
                        for (block, confirmations) in shown {
                            self.in_chain_by_p2p(now, node, block, confirmations);
                        }
                        self.peer_tip(now, node);
                    }
                    false => self.failover_input(now, failover::Input::PeerLost(node)),
                }
                self.say_peer(node);
            }
            Event::Tip { hash, height, median_time, .. } => {
                let header = height.zip(median_time);
                let header = header
                    .map(|(height, median_time)| TipHeader { height: height.into(), median_time });
                link.tip = Some((hash, header));
                self.peer_tip(now, node);
            }
            Event::Asked { block, after, .. } => self.asked_by_p2p(node, block, after),
            Event::Addresses(list) if link.is_own() => {
                self.outside_input(now, outside::Input::Told(&list));
            }
            Event::Addresses(_) => {}
            Event::InChain { block, confirmations, .. } if link.is_own() => {
                self.in_chain_by_p2p(now, node, block, confirmations);
            }
            Event::InChain { block, confirmations, .. } => {
                if link.offered.contains(&block) {
                    link.shown.insert(block, confirmations);
                }
            }
        }
    }

    fn in_chain_by_p2p(&mut self, now: Now, node: NodeId, block: BlockHash, confirmations: u32) {
        self.blocks_input(now, submission::Input::InChain { node, block, confirmations });
    }

    /// Passes on the tip that an own node announced.
    fn peer_tip(&mut self, now: Now, node: NodeId) {
        let Some(link) = self.peers.0.get_mut(&node).filter(|link| link.is_own()) else { return };
        let Some((hash, header)) = link.tip else { return };
        // Where RPC goes on to tell another one, the two are compared again.
        link.told = Some(hash);
        self.failover_input(now, failover::Input::Announced { node, hash, header });
        self.blocks_input(now, submission::Input::Tip { node, hash });
        self.follow_outside(now);
    }

    /// Opens the connections of all nodes whose chain is known, and tells them what their RPC told.
    pub(super) fn follow_peers(&mut self, now: Now) {
        let only = self.only_chain();
        let nodes = &self.setup.nodes;
        self.peers.0.retain(|id, _| nodes.iter().any(|node| node.id == *id));
        for id in self.node_ids() {
            let Some(chain) = self.failover.chain_of(id).or(only) else { continue };
            if self.peers.0.get(&id).is_none_or(|link| link.chain != chain) {
                self.effects.push_back(Effect::PeerConnect { node: id, chain });
                self.peers.0.insert(id, Link::new(chain));
                let blocks: Vec<_> = self.blocks.waiting_blocks().cloned().collect();
                for block in &blocks {
                    self.offer_to_peer(id, block);
                }
            }
            let Some(link) = self.peers.0.get_mut(&id) else { continue };
            if let Some((hash, height)) = self.failover.tip_of(id)
                && link.told.replace(hash) != Some(hash)
            {
                self.peer_order(id, Order::Tip { hash, height });
            }
        }
        self.follow_outside(now);
    }

    /// The chain, where the payout's address leaves no choice.
    fn only_chain(&self) -> Option<Chain> {
        match &self.setup.chains[..] {
            [chain] => Some(*chain),
            _ => None,
        }
    }

    /// The chain whose nodes are connected to: that of a node, the preferred one first.
    pub(super) fn chain_for_peers(&self) -> Option<Chain> {
        let told = self.setup.nodes.iter().find_map(|node| self.failover.chain_of(node.id));
        told.filter(|chain| self.setup.chains.contains(chain)).or(self.only_chain())
    }

    /// Offers a block to a node's P2P port, once, until it is withdrawn.
    pub(super) fn offer_to_peer(&mut self, node: NodeId, block: &Arc<SolvedBlock>) {
        if let Some(link) = self.peers.0.get_mut(&node)
            && link.offered.insert(block.hash)
        {
            self.peer_order(node, Order::Offer(block.clone()));
        }
    }

    /// A node has the block, or it is final.
    pub(super) fn withdraw_from_peer(&mut self, node: NodeId, block: BlockHash) {
        if let Some(link) = self.peers.0.get_mut(&node)
            && link.offered.remove(&block)
        {
            self.peer_order(node, Order::Withdraw(block));
        }
    }

    fn peer_order(&mut self, node: NodeId, order: Order) {
        self.effects.push_back(Effect::Peer { node, order });
    }

    /// Tells the owner once for each reason that a node's P2P port is of no use. It is no alarm: RPC
    /// is the main road.
    fn say_peer(&mut self, node: NodeId) {
        let name = self.name(node);
        let Some(link) = self.peers.0.get_mut(&node) else { return };
        let text = match &link.state {
            PeerState::Ready { same: Some(true) } => match link.said.take() {
                None => return,
                Some(_) => format!("A block can reach node {name} by its P2P port again."),
            },
            PeerState::Connecting | PeerState::Ready { same: None | Some(false) } => return,
            // A node that is started anew closes its connections.
            PeerState::Down(Down::Closed) => return,
            PeerState::Down(why) if link.said.as_ref() == Some(why) => return,
            PeerState::Down(why) => {
                link.said = Some(why.clone());
                format!("The P2P port of node {name}: {why}. Blocks reach the node by RPC alone.")
            }
        };
        self.tell(EventKind::Node, Level::Info, text);
    }
}

impl Link {
    fn new(chain: Chain) -> Link {
        Link {
            chain,
            state: PeerState::Connecting,
            told: None,
            tip: None,
            offered: BTreeSet::new(),
            shown: BTreeMap::new(),
            said: None,
        }
    }
}
