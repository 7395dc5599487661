//! The P2P ports of the nodes, as far as the engine sees them: what a connection tells, and when. The
//! messages themselves are not here.
//!
//! A port is reached by a way of its own: RPC may be away while it lives, and the other way round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use soloist::block::SolvedBlock;
use soloist::chain::BlockHash;
use soloist::difficulty::NBits;
use soloist::ids::NodeId;
use soloist::p2p::{self, Down, Form, Order};

use super::Micros;
use super::chain::Blocks;
use super::node::Mode;
use super::random::Random;
use super::sim::{Event, MS, SECOND, World};

/// After so long without a sign of life the connection is given up.
pub const SILENCE: Micros = 30 * SECOND;
/// A peer that is not interested in a block, or has none of that hash, is asked again after this.
const ASK_AGAIN: Micros = 30 * SECOND;

/// Whose port stands where we look for the node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The node's own.
    Own,
    /// A stranger's, who is on another chain and lies: he announces blocks that nobody has, and
    /// pretends to have ours.
    Stranger,
    /// Nothing listens there.
    Nobody,
    /// The owner has switched it off.
    Off,
}

/// One node's P2P port, and the connection to it.
pub struct Port {
    pub owner: Owner,
    /// A fault: it is closed, whatever RPC does.
    pub closed: bool,
    /// Counts the connections: what a former one had sent does not arrive.
    number: u64,
    /// Since when we are connected.
    pub ready_since: Option<Micros>,
    /// Why there is no connection, as it was told: each reason once.
    told_down: Vec<Down>,
    /// The tip that we told.
    wanted: Option<BlockHash>,
    same: Option<bool>,
    /// The tip that it told, and the one that has arrived, and when.
    told: Option<usize>,
    pub heard: Option<(usize, Micros)>,
    offers: BTreeMap<BlockHash, Offer>,
    /// Blocks that it did not want when they were announced: it lacked the parent, or its rules or its
    /// clock were against them.
    pub declined: BTreeSet<usize>,
    /// Whether it is the node's, as it told us.
    pub is_believed: bool,
    /// When the last message on its way arrives.
    inbound: Micros,
    /// When it went on last after it stood still.
    pub went_on: Micros,
    /// What was on its way when the cable came out.
    held: Vec<(p2p::Event, Option<usize>)>,
}

/// A block that we offer.
struct Offer {
    block: Arc<SolvedBlock>,
    since: Micros,
    /// Over this connection: it was announced, and it was shown in the best chain.
    is_announced: bool,
    is_shown: bool,
}

/// What happens at a port. All but the last name the connection that they belong to.
#[derive(Debug)]
pub enum Step {
    /// A connection is tried.
    Dial,
    /// Nobody answers the one who dials.
    NoAnswer,
    /// The node has heard something, or its chain has changed.
    Look,
    /// The whole block has come.
    Block(BlockHash),
    /// Nothing was heard since then.
    Silent(Micros),
    /// A message arrives at the daemon.
    Says(p2p::Event, Option<usize>),
}

impl Port {
    pub fn new(owner: Owner) -> Port {
        Port {
            owner,
            closed: false,
            number: 0,
            ready_since: None,
            told_down: Vec::new(),
            wanted: None,
            same: None,
            told: None,
            heard: None,
            offers: BTreeMap::new(),
            declined: BTreeSet::new(),
            is_believed: false,
            inbound: 0,
            went_on: 0,
            held: Vec::new(),
        }
    }

    /// Most nodes of most worlds have one.
    pub fn any(random: &mut Random) -> Port {
        Port::new(match random.below(10) {
            0 => Owner::Stranger,
            1 => Owner::Nobody,
            2 => Owner::Off,
            _ => Owner::Own,
        })
    }

    /// The node's own port is connected.
    pub fn is_own(&self) -> bool {
        self.owner == Owner::Own && self.ready_since.is_some()
    }

    /// The daemon, or the connection, begins anew.
    fn forget_connection(&mut self) {
        self.number += 1;
        self.ready_since = None;
        self.heard = None;
        self.is_believed = false;
        self.held.clear();
        (self.same, self.told) = (None, None);
        for offer in self.offers.values_mut() {
            (offer.is_announced, offer.is_shown) = (false, false);
        }
    }

    /// Another process of ours, which knows nothing of a connection.
    pub fn forget_all(&mut self) {
        self.forget_connection();
        self.told_down.clear();
        self.wanted = None;
        self.offers.clear();
        self.declined.clear();
    }
}

impl World {
    // -- what the daemon wants --

    pub fn peer_connect(&mut self, index: usize) {
        let port = &mut self.nodes[index].port;
        port.forget_all();
        if port.owner != Owner::Off {
            self.step_in(0, index, Step::Dial);
        }
    }

    pub fn peer_order(&mut self, index: usize, order: Order) {
        let now = self.now;
        let port = &mut self.nodes[index].port;
        match order {
            Order::Tip { hash, height } => {
                if let Some(place) = self.blocks.find(hash)
                    && self.blocks.get(place).height != height
                {
                    self.fail(format!("a tip at {height}, which is not its height"));
                }
                port.wanted = Some(hash);
                port.same = None;
            }
            Order::Offer(block) => {
                let hash = block.hash;
                let offer = Offer { block, since: now, is_announced: false, is_shown: false };
                if port.offers.insert(hash, offer).is_some() {
                    self.fail("a block is offered twice by P2P");
                }
            }
            Order::Withdraw(hash) => {
                if port.offers.remove(&hash).is_none() {
                    self.fail("what was not offered is withdrawn");
                }
            }
            Order::Addresses => return self.port_asked_for_addresses(index),
        }
        self.look_later(index);
    }

    /// Only one that is known to be the node's is asked for the addresses of others.
    fn port_asked_for_addresses(&mut self, index: usize) {
        let node = &self.nodes[index];
        if node.port.owner != Owner::Own || !self.strangers.are_wanted() {
            self.fail(format!("n{index} is asked for addresses by P2P"));
        }
        if node.port.is_own() && node.is_up() && node.quiet_since.is_none() {
            let list = self.strangers.listed(self.clock().unix);
            self.figures.addresses_by_p2p += 1;
            self.say(index, p2p::Event::Addresses(list), None);
        }
    }

    // -- what happens at the port --

    fn step_in(&mut self, wait: Micros, index: usize, step: Step) {
        let number = self.nodes[index].port.number;
        self.in_(wait, Event::Port(index, number, step));
    }

    /// What we say comes to the node.
    fn look_later(&mut self, index: usize) {
        if self.nodes[index].port.ready_since.is_some() {
            let way = self.way(index);
            self.step_in(way, index, Step::Look);
        }
    }

    /// The node's chain has changed: it tells its peers soon.
    pub fn port_sees_tip(&mut self, index: usize) {
        if self.nodes[index].port.is_own() {
            let wait = self.random.between(MS / 10, 3 * MS);
            self.step_in(wait, index, Step::Look);
        }
    }

    pub fn port_step(&mut self, index: usize, number: u64, step: Step) {
        if self.nodes[index].port.number != number {
            return;
        }
        match step {
            Step::Dial => self.dial(index),
            Step::NoAnswer => self.port_down(index, Down::Silent),
            Step::Silent(since) if self.nodes[index].quiet_since == Some(since) => {
                self.port_down(index, Down::Silent);
            }
            Step::Silent(_) => {}
            Step::Look => self.look(index),
            Step::Block(hash) => self.block_by_p2p(index, hash),
            Step::Says(event, place) => self.port_says(index, event, place),
        }
    }

    fn dial(&mut self, index: usize) {
        if self.nodes[index].port.ready_since.is_some() {
            return;
        }
        let node = &self.nodes[index];
        let is_there = match node.port.owner {
            Owner::Own => !matches!(node.mode, Mode::Killed | Mode::Warming),
            Owner::Stranger => true,
            Owner::Nobody | Owner::Off => false,
        };
        if !is_there || node.port.closed {
            return self.port_down(index, Down::Refused);
        }
        if node.quiet_since.is_some() {
            return self.step_in(10 * SECOND, index, Step::NoAnswer);
        }
        let port = &mut self.nodes[index].port;
        port.ready_since = Some(self.now);
        port.told_down.clear();
        let took = Duration::from_micros(2 * self.nodes[index].distance);
        let agent = "/Virtual:1.0.0/".to_owned();
        self.say(index, p2p::Event::Ready { agent, version: 70016, services: 9, took }, None);
        self.look_later(index);
        self.judge_health(index);
    }

    /// The connection has ended, or there was none. It is tried again.
    pub fn port_down(&mut self, index: usize, why: Down) {
        let port = &mut self.nodes[index].port;
        if port.owner == Owner::Off {
            return;
        }
        port.forget_connection();
        if !port.told_down.contains(&why) {
            port.told_down.push(why.clone());
            self.say(index, p2p::Event::Down(why), None);
        }
        let port = &self.nodes[index].port;
        let is_needed = port.offers.values().any(|offer| !offer.is_shown);
        let most = if is_needed { 5 } else { 20 };
        let pause = self.random.between(1, most) * SECOND;
        if self.nodes[index].port.owner != Owner::Nobody {
            self.step_in(pause, index, Step::Dial);
        }
        self.judge_health(index);
    }

    /// It stands still, or nothing arrives any more.
    pub fn port_is_quiet(&mut self, index: usize) {
        let now = self.now;
        self.nodes[index].quiet_since = Some(now);
        if self.nodes[index].port.ready_since.is_some() {
            self.step_in(SILENCE, index, Step::Silent(now));
        }
    }

    /// It goes on. What was lost on the way, TCP brings.
    pub fn port_goes_on(&mut self, index: usize) {
        self.nodes[index].quiet_since = None;
        self.nodes[index].port.went_on = self.now;
        for (event, place) in std::mem::take(&mut self.nodes[index].port.held) {
            self.say(index, event, place);
        }
        self.look_later(index);
    }

    /// It compares what it knows with what it has told us.
    fn look(&mut self, index: usize) {
        if self.nodes[index].quiet_since.is_some() || self.nodes[index].port.ready_since.is_none() {
            return;
        }
        match self.nodes[index].port.owner {
            Owner::Own => {
                self.hear_offers(index);
                self.tell_chain(index);
            }
            Owner::Stranger => self.lie(index),
            Owner::Nobody | Owner::Off => {}
        }
    }

    /// A block that is announced is asked for, or not, once.
    fn hear_offers(&mut self, index: usize) {
        let unix = self.clock().unix;
        let node = &mut self.nodes[index];
        let news = node.port.offers.values_mut().filter(|offer| !offer.is_announced);
        let mut blocks: Vec<Arc<SolvedBlock>> = Vec::new();
        for offer in news {
            offer.is_announced = true;
            blocks.push(offer.block.clone());
        }
        // As they were offered: one may stand on another.
        blocks.sort_by_key(|block| block.height);
        for block in blocks {
            let place =
                self.blocks.find(block.hash).expect("blocks are booked when they are solved");
            let node = &self.nodes[index];
            let header = self.blocks.get(place);
            if node.view.knows(place) {
                continue;
            }
            let on_the_way = |offer: &Offer| {
                self.blocks.find(offer.block.hash) == Some(header.parent) && offer.is_announced
            };
            let has_parent = node.view.knows(header.parent)
                || node.port.offers.values().any(on_the_way)
                    && !node.port.declined.contains(&header.parent);
            let breaks = node.strict && header.breaks.is_some();
            if !has_parent || breaks || super::node::is_too_new(header, node.clock(unix)) {
                self.nodes[index].port.declined.insert(place);
                continue;
            }
            let way = 2 * self.way(index) + self.random.between(MS, 10 * MS);
            let offer = &self.nodes[index].port.offers[&block.hash];
            let after = Duration::from_micros(self.now - offer.since);
            let asked = p2p::Event::Asked { block: block.hash, form: Form::Whole, after };
            self.say(index, asked, Some(place));
            self.step_in(way, index, Step::Block(block.hash));
        }
    }

    fn block_by_p2p(&mut self, index: usize, hash: BlockHash) {
        let unix = self.clock().unix;
        let Some(place) = self.blocks.find(hash) else { return };
        let node = &mut self.nodes[index];
        // It is served for a while after it was withdrawn; here it is not.
        let Some(offer) = node.port.offers.get_mut(&hash) else { return };
        if node.quiet_since.is_some() {
            offer.is_announced = false;
            return;
        }
        if !matches!(node.mode, Mode::Up) || node.view.knows(place) {
            return;
        }
        let block = offer.block.clone();
        match node.submit(&self.blocks, &self.mempool, &block, unix) {
            Ok(place) => {
                self.figures.by_p2p += 1;
                let is_alone = self.nodes[index].rpc_out.is_some();
                self.figures.by_p2p_alone += u64::from(is_alone);
                self.take(index, place);
            }
            Err(words) if words == "time-too-new" || words.contains("prev") => {
                node.port.declined.insert(place);
            }
            Err(words) if words.contains("duplicate") => {}
            Err(words) => {
                self.fail(format!("n{index} refuses block {} by P2P: {words}", block.height));
            }
        }
    }

    /// Says what is new of its chain, in the order of the P2P machine.
    fn tell_chain(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if !node.is_up() {
            return;
        }
        let blocks = &self.blocks;
        let tip = node.view.tip;
        let has = |hash: BlockHash| {
            let place = blocks.find(hash)?;
            node.view.is_in_chain(blocks, place).then_some(place)
        };
        let mut said = Vec::new();
        for (hash, offer) in &mut node.port.offers {
            if let (false, Some(place)) = (offer.is_shown, has(*hash)) {
                offer.is_shown = true;
                let confirmations = blocks.get(tip).height + 1 - blocks.get(place).height;
                let after = Duration::from_micros(self.now - offer.since);
                let event = p2p::Event::InChain { block: *hash, confirmations, after };
                node.has_said.insert(place);
                said.push((event, Some(place)));
            }
        }
        let mut again = false;
        if let Some(wanted) = node.port.wanted {
            let is_same = has(wanted).is_some();
            if node.port.same.replace(is_same) != Some(is_same) {
                said.push((p2p::Event::Same(is_same), None));
                again = !is_same;
            }
        }
        if node.port.told.replace(tip) != Some(tip) {
            said.push((tip_event(blocks, tip), Some(tip)));
        }
        for (event, place) in said {
            self.say(index, event, place);
        }
        if again {
            self.nodes[index].port.same = None;
            self.step_in(ASK_AGAIN, index, Step::Look);
        }
    }

    /// A stranger has another chain, and each of our blocks.
    fn lie(&mut self, index: usize) {
        let now = self.now;
        let port = &mut self.nodes[index].port;
        let mut said = Vec::new();
        for (hash, offer) in &mut port.offers {
            if !std::mem::replace(&mut offer.is_announced, true) {
                let after = Duration::from_micros(now - offer.since);
                let form = Form::Whole;
                said.push(p2p::Event::Asked { block: *hash, form, after });
                said.push(p2p::Event::InChain { block: *hash, confirmations: 1, after });
            }
        }
        if port.wanted.is_some() && port.same.is_none() {
            port.same = Some(false);
            said.push(p2p::Event::Same(false));
            let hash = BlockHash(self.random.bytes());
            let height = Some(self.work_height + 1);
            let (median_time, bits) = (Some(1), NBits(0x207f_ffff));
            said.push(p2p::Event::Tip { hash, height, median_time, time: 2, bits });
        }
        for event in said {
            self.say(index, event, None);
        }
    }

    /// A message, in order behind those before it.
    fn say(&mut self, index: usize, event: p2p::Event, place: Option<usize>) {
        let way = self.way(index);
        let port = &mut self.nodes[index].port;
        let at = (self.now + way).max(port.inbound + 1);
        port.inbound = at;
        self.step_in(at - self.now, index, Step::Says(event, place));
    }

    fn port_says(&mut self, index: usize, event: p2p::Event, place: Option<usize>) {
        let node = &mut self.nodes[index];
        if node.mode == Mode::Cut && !matches!(event, p2p::Event::Down(_)) {
            node.port.held.push((event, place));
            return;
        }
        if let p2p::Event::Same(is_same) = &event {
            node.port.is_believed = *is_same;
        }
        if let (p2p::Event::Tip { .. }, Some(place)) = (&event, place) {
            self.nodes[index].port.heard = Some((place, self.now));
            if self.heard.insert(place) {
                self.heard_by_p2p.insert(place);
            }
        }
        self.daemon.peer_event(self.clock(), NodeId(index as u32), event);
        self.obey();
    }
}

pub fn tip_event(blocks: &Blocks, tip: usize) -> p2p::Event {
    let block = blocks.get(tip);
    p2p::Event::Tip {
        hash: block.hash,
        height: Some(block.height),
        median_time: Some(blocks.median_time(tip)),
        time: block.time,
        bits: NBits(0x207f_ffff),
    }
}
