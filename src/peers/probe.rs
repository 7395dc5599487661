//! One look at a node's P2P port: whether a block could reach the node by it. Words for the owner.

use std::time::Duration;

use async_channel::Receiver;
use smol::LocalExecutor;

use super::PeerHandle;
use crate::chain::{BlockHash, Chain};
use crate::p2p::{Down, Event, Order};
use crate::peer_address::{PeerAddress, PeerHost};
use crate::timeout::within;

/// The look takes no longer.
const AT_MOST: Duration = Duration::from_secs(3);

/// What a look at a P2P port found.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// `host:port`; empty if the port is switched off.
    pub place: String,
    /// What is there.
    pub found: Found,
}

/// What is at a P2P port.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// The owner does not want it.
    Off,
    /// The node, by the tip that its RPC told.
    Node,
    /// A node that does not show this tip.
    OtherTip,
    /// Nothing that a block could be given to.
    Nothing(Down),
}

impl Probe {
    /// What the settings switch off.
    pub fn off() -> Probe {
        Probe { place: String::new(), found: Found::Off }
    }

    /// Connects to the port, and asks for the tip and its height that RPC told.
    pub async fn look(host: String, port: u16, chain: Chain, tip: (BlockHash, u32)) -> Probe {
        let executor = LocalExecutor::new();
        let (sender, events) = async_channel::unbounded();
        let place = PeerAddress { host: PeerHost::read(&host), port };
        let handle = PeerHandle::start(&executor, place, None, chain, sender);
        handle.give(Order::Tip { hash: tip.0, height: tip.1 });
        let mut is_ready = false;
        let found = within(AT_MOST, executor.run(listen(&events, &mut is_ready))).await;
        let found = found.unwrap_or(match is_ready {
            // A node says nothing of a block that it does not have.
            true => Found::OtherTip,
            false => Found::Nothing(Down::Silent),
        });
        Probe { place: handle.place().to_owned(), found }
    }

    /// What is so and what it means, in sentences. `by_rpc` says whether RPC takes a block.
    pub fn sentence(&self, by_rpc: bool) -> String {
        let place = &self.place;
        let why = match &self.found {
            Found::Node if by_rpc => {
                return format!(
                    "A block would reach this node by RPC and by its P2P port ({place})."
                );
            }
            Found::Node => {
                return format!("A block would reach this node by its P2P port ({place}) alone.");
            }
            Found::Off => "Its P2P port is switched off by p2p_addr.".to_owned(),
            Found::OtherTip => format!(
                "The P2P port at {place} does not show the tip that RPC tells: it belongs to \
                 another node, or to one that is not up to date."
            ),
            Found::Nothing(down) => format!("The P2P port at {place} cannot be used: {down}."),
        };
        match by_rpc {
            true => format!("{why} A block can reach this node by RPC alone."),
            false => format!("{why} No block can reach this node."),
        }
    }

    /// What to do; `None` where nothing is to be done.
    pub fn remedy(&self) -> Option<String> {
        let down = match &self.found {
            Found::Node => return None,
            Found::Off => return Some("Remove that line for a second way.".to_owned()),
            Found::OtherTip => {
                return Some(
                    "If it is another node's, write the address of this node's P2P port into \
                     p2p_addr."
                        .to_owned(),
                );
            }
            Found::Nothing(down) => down,
        };
        let remedy = match down {
            Down::Refused => {
                "Its bitcoin.conf needs listen=1, and a bind= in it must not be 127.0.0.1 unless \
                 the node runs on this machine; if the node listens on another port, write that into \
                 p2p_addr."
            }
            Down::Silent => {
                "Its firewall must let this port in; if the node listens elsewhere, write that \
                 into p2p_addr."
            }
            Down::HungUp | Down::Closed | Down::Flood => {
                "It may have as many connections as it takes (maxconnections in its bitcoin.conf), \
                 or have banned this machine (bitcoin-cli clearbanned)."
            }
            Down::Proxy { .. } => "The proxy must run, and let this machine in.",
            Down::Unreachable(_) | Down::OtherChain | Down::Unfit(_) | Down::Nonsense(_) => {
                "Write the address of this node's P2P port into p2p_addr."
            }
        };
        Some(remedy.to_owned())
    }

    /// [`Probe::sentence`] with [`Probe::remedy`] behind it.
    pub fn words(&self, by_rpc: bool) -> String {
        match self.remedy() {
            None => self.sentence(by_rpc),
            Some(remedy) => format!("{} {remedy}", self.sentence(by_rpc)),
        }
    }
}

async fn listen(events: &Receiver<Event>, is_ready: &mut bool) -> Found {
    while let Ok(event) = events.recv().await {
        match event {
            Event::Ready { .. } => *is_ready = true,
            Event::Same(true) => return Found::Node,
            Event::Same(false) => return Found::OtherTip,
            Event::Down(down) => return Found::Nothing(down),
            Event::Tip { .. }
            | Event::Asked { .. }
            | Event::InChain { .. }
            | Event::Addresses(_) => {}
        }
    }
    Found::Nothing(Down::Closed)
}
