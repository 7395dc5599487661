//! Nodes of strangers, as far as the engine sees them: what a connection tells, and when. The messages
//! themselves are not here, as with the nodes' own P2P ports.
//!
//! A stranger that is well follows the rest of the world, by one set of rules or the other. What it takes
//! the rest of the world has. Strangers draw their random numbers from a source of their own, and do
//! something only when they are connected.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use soloist::block::SolvedBlock;
use soloist::block::submission::BlockState;
use soloist::chain::{BlockHash, Chain};
use soloist::ids::OutsideId;
use soloist::outside;
use soloist::p2p::{self, Down, Form, Order};
use soloist::peer_address::{ListedPeer, NamedPeer, Outside, PeerAddress, PeerHost};

use super::Micros;
use super::chain::View;
use super::daemon::Want;
use super::node::is_too_new;
use super::peer::tip_event;
use super::random::Random;
use super::sim::{Event, Fault, MS, Plan, SECOND, World};
use super::strangers_audit::Alarm;

/// One that does not answer is given up after this.
const NO_ANSWER: Micros = 5 * SECOND;
/// One that lacks our tip is asked again after this.
const ASK_AGAIN: Micros = 30 * SECOND;
/// Mean time until one of the strangers changes its ways.
const FATE_EVERY: Micros = 600 * SECOND;
/// The waits of the engine after a first failure, and the longest one: of strangers, and of named nodes.
const PAUSES: [(Micros, Micros); 2] = [(60 * SECOND, 3600 * SECOND), (5 * SECOND, 600 * SECOND)];
/// Services: `NODE_NETWORK`, the same with `NODE_WITNESS`, and a pruned node (BIP 159).
const OLD: u64 = 1;
const FULL: u64 = 9;
const PRUNED: u64 = 0x408;

/// What a stranger is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Well,
    /// It is many seconds away and late to hear of blocks.
    Slow,
    /// Nothing listens there.
    Away,
    /// Nobody answers the one who dials.
    Silent,
    Liar(Lie),
}

/// How one lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It announces blocks that nobody has, higher than ours.
    Ahead,
    /// The same, lower than ours.
    Behind,
    /// It pretends to have each block of ours.
    Has,
    /// It takes each block of ours, and says no more.
    Deaf,
}

/// A node of a stranger, or an outside node that the owner names.
pub struct Stranger {
    pub address: PeerAddress,
    pub is_named: bool,
    pub kind: Kind,
    /// Since when it has been of this kind.
    pub since: Micros,
    /// It goes by the strict rules.
    pub strict: bool,
    /// The longest of its ways, microseconds.
    distance: Micros,
    failures: u32,
    /// The engine need not try it before.
    pub paused_until: Micros,
}

/// A connection that the engine keeps.
pub struct Connection {
    pub stranger: usize,
    /// Counts the connections of all runs: what a former one had sent does not arrive.
    number: u64,
    pub ready_since: Option<Micros>,
    /// It ends: what it says no longer arrives.
    is_down: bool,
    /// It has told a lie.
    pub lies: bool,
    /// The tip that we told, and what it said about it.
    wanted: Option<(BlockHash, u32)>,
    same: Option<bool>,
    /// It had one of our tips, so that the heights of its own are known.
    is_linked: bool,
    told: Option<usize>,
    offers: BTreeMap<BlockHash, Offer>,
    /// When the last message on its way arrives.
    inbound: Micros,
    /// The height of the tip that was told last, as it arrived.
    pub height: Option<u32>,
}

struct Offer {
    block: Arc<SolvedBlock>,
    since: Micros,
    is_announced: bool,
    is_declined: bool,
    is_shown: bool,
}

/// What happens on a connection.
#[derive(Debug)]
pub enum Step {
    /// The one who dials is heard.
    Dialled,
    /// Nobody has answered.
    NoAnswer,
    /// It has heard something from us, or of the world's chain.
    Look,
    /// A whole block has come.
    Block(BlockHash),
    /// A message arrives at the daemon.
    Says(p2p::Event),
}

/// All of them.
pub struct Strangers {
    random: Random,
    /// What the owner wants of them.
    pub settings: outside::Settings,
    pub chain: Chain,
    pub list: Vec<Stranger>,
    pub open: BTreeMap<OutsideId, Connection>,
    count: u64,
    /// The newest connection of this run.
    newest: Option<OutsideId>,
    /// The addresses that the engine knows, and since when.
    pub known: BTreeMap<PeerAddress, Micros>,
    /// Blocks of ours that no own node has shown to the engine, and since when.
    pub offered: BTreeMap<BlockHash, Micros>,
    /// How often strangers showed a block.
    pub shown: BTreeMap<BlockHash, usize>,
    pub alarm: Alarm,
}

impl Strangers {
    pub fn new(seed: u64, plan: &Plan) -> Strangers {
        let mut random = Random::new(seed ^ 0x6f75_7473_6964_6521);
        // On a regression test time is what its miners make of it: there a wrong clock is no fault.
        let may_be_regtest = !plan.faults.contains(&Fault::ClockAhead);
        // By the seed itself, so that worlds in a row have all settings.
        let is_regtest = seed.is_multiple_of(4) && may_be_regtest;
        let chain = if is_regtest { Chain::Regtest } else { Chain::Main };
        let chain = if plan.outside.is_some() { Chain::Main } else { chain };
        let drawn = [Outside::Off, Outside::Block, Outside::Block, Outside::Watch, Outside::Watch];
        let outside = plan.outside.map_or(drawn[seed as usize % 5], |(outside, _)| outside);
        let by_proxy = random.one_in(4);
        let count = if random.one_in(6) { 0 } else { random.between(1, 30) };
        let count = plan.outside.map_or(count, |(_, count)| count);
        let named = if random.one_in(3) { random.between(1, 3) } else { 0 };
        let named = if plan.outside.is_some() { 0 } else { named };
        // In some worlds most are well, in some most are dead, in some most lie.
        let mood = random.index(4);
        let kind = |random: &mut Random| match plan.outside {
            Some(_) => Kind::Well,
            None => kind(random, mood),
        };
        let mut list = Vec::new();
        for index in 0..named {
            let address = named_address(&mut random, index, chain);
            let kind = kind(&mut random);
            list.push(stranger(&mut random, address, true, kind, plan));
        }
        for index in 0..count {
            let address = public_address(&mut random, index, by_proxy);
            let kind = kind(&mut random);
            list.push(stranger(&mut random, address, false, kind, plan));
        }
        let peers = list.iter().filter(|stranger| stranger.is_named).map(|stranger| {
            let PeerAddress { host, port } = stranger.address.clone();
            NamedPeer { host, port: (port != chain.p2p_port()).then_some(port) }
        });
        let peers = peers.collect();
        let settings = outside::Settings { outside, peers, by_proxy, seeds: random.one_in(2) };
        Strangers {
            random,
            settings,
            chain,
            list,
            open: BTreeMap::new(),
            count: 0,
            newest: None,
            known: BTreeMap::new(),
            offered: BTreeMap::new(),
            shown: BTreeMap::new(),
            alarm: Alarm::default(),
        }
    }

    /// Where strangers may be connected to: the owner wants it, and the chain has some.
    pub fn are_wanted(&self) -> bool {
        self.settings.outside != Outside::Off && self.chain != Chain::Regtest
    }

    /// What a node of the network tells of the others: most of them, and some that are of no use.
    pub fn listed(&mut self, unix: u64) -> Vec<ListedPeer> {
        let mut list: Vec<ListedPeer> = Vec::new();
        for stranger in self.list.iter().filter(|stranger| !stranger.is_named) {
            if !self.random.one_in(6) {
                let services = [FULL, PRUNED][self.random.index(2)];
                let seen = unix - self.random.below(10 * 24 * 3600);
                list.push(ListedPeer { address: stranger.address.clone(), services, seen });
            }
        }
        let decoy = |ip: [u8; 4], port, services, age| {
            let address = PeerAddress::ip(ip.into(), port);
            ListedPeer { address, services, seen: unix - age }
        };
        list.push(decoy([192, 168, 1, 5], 8333, FULL, 0));
        list.push(decoy([78, 1, 0, 1], 22, FULL, 0));
        list.push(decoy([78, 2, 0, 1], 8333, OLD, 0));
        list.push(decoy([78, 3, 0, 1], 8333, FULL, 45 * 24 * 3600));
        if !self.settings.by_proxy {
            let host = PeerHost::read(&format!("{}.onion", "b".repeat(56)));
            let address = PeerAddress { host, port: 8333 };
            list.push(ListedPeer { address, services: FULL, seen: unix });
        }
        let first = self.random.index(list.len());
        list.rotate_left(first);
        list
    }

    /// Another process of ours begins with what is on the card.
    pub fn restart(&mut self, now: Micros, kept: &[PeerAddress]) {
        self.open.clear();
        self.newest = None;
        self.known = kept.iter().map(|address| (address.clone(), now)).collect();
        self.offered.clear();
        self.shown.clear();
        self.alarm = Alarm::default();
        for stranger in &mut self.list {
            (stranger.failures, stranger.paused_until) = (0, 0);
        }
    }

    /// For whoever has to find out what went wrong.
    pub fn print(&self) {
        eprintln!("  outside = {:?} on {:?}", self.settings, self.chain);
        for Stranger { address, kind, since, strict, paused_until, .. } in &self.list {
            let is_known = self.known.contains_key(address);
            let open = self.open.values().find(|open| self.list[open.stranger].address == *address);
            let open =
                open.map(|open| (open.ready_since.map(|at| at / SECOND), open.lies, open.height));
            eprintln!(
                "  {address}: {kind:?} since {} s, strict {strict}, known {is_known}, paused until \
                 {} s, open {open:?}",
                since / SECOND,
                paused_until / SECOND,
            );
        }
    }

    fn way(&mut self, stranger: usize) -> Micros {
        let distance = self.list[stranger].distance;
        distance / 2 + self.random.below(distance / 2 + 1)
    }

    pub fn find(&self, address: &PeerAddress) -> Option<usize> {
        self.list.iter().position(|stranger| stranger.address == *address)
    }
}

impl Stranger {
    fn set_kind(&mut self, random: &mut Random, kind: Kind, now: Micros) {
        (self.kind, self.since) = (kind, now);
        self.distance = match kind {
            Kind::Slow => random.between(SECOND, 7 * SECOND),
            _ => random.between(10 * MS, 300 * MS),
        };
    }

    /// The engine's connection failed, or has ended for whatever reason.
    fn pause(&mut self, now: Micros) {
        let (first, longest) = PAUSES[usize::from(self.is_named)];
        self.paused_until = now + (first << self.failures.min(12)).min(longest);
        self.failures += 1;
    }
}

fn stranger(
    random: &mut Random,
    address: PeerAddress,
    is_named: bool,
    kind: Kind,
    plan: &Plan,
) -> Stranger {
    let strict = plan.split_every.is_some() && random.one_in(3);
    let mut stranger = Stranger {
        address,
        is_named,
        kind,
        since: 0,
        strict,
        distance: 0,
        failures: 0,
        paused_until: 0,
    };
    stranger.set_kind(random, kind, 0);
    stranger
}

fn kind(random: &mut Random, mood: usize) -> Kind {
    // Of ten: well, slow, away, silent.
    let parts = [[7, 1, 1, 0], [5, 1, 1, 1], [1, 0, 5, 3], [2, 0, 1, 1]][mood];
    let kinds = [Kind::Well, Kind::Slow, Kind::Away, Kind::Silent];
    let mut ticket = random.below(10);
    for (kind, part) in kinds.into_iter().zip(parts) {
        if ticket < part {
            return kind;
        }
        ticket -= part;
    }
    Kind::Liar([Lie::Ahead, Lie::Behind, Lie::Has, Lie::Deaf][random.index(4)])
}

/// In the owner's other house, or a friend's, by its address or its name.
fn named_address(random: &mut Random, index: u64, chain: Chain) -> PeerAddress {
    let port = if random.one_in(2) { chain.p2p_port() } else { 9000 };
    let host = match random.index(3) {
        0 => format!("10.0.0.{}", index + 1),
        1 => format!("friend-{index}.example"),
        _ => format!("77.{}.9.9", index + 1),
    };
    PeerAddress { host: PeerHost::read(&host), port }
}

/// One of the network: IPv4, IPv6, behind Tor where we have a proxy, some in the same network.
fn public_address(random: &mut Random, index: u64, by_proxy: bool) -> PeerAddress {
    let number = if random.one_in(8) { index.saturating_sub(1) } else { index };
    let host = match random.index(6) {
        0 if by_proxy => {
            let letters = b"abcdefghijklmnopqrstuvwxyz234567";
            let letter = letters[number as usize] as char;
            PeerHost::read(&format!(
                "{letter}{}{}.onion",
                "c".repeat(54),
                letters[index as usize] as char
            ))
        }
        1 => PeerHost::Ip(Ipv6Addr::new(0x2a01, number as u16, 0, 0, 0, 0, 0, index as u16).into()),
        _ => PeerHost::Ip([77, number as u8, 0, index as u8].into()),
    };
    PeerAddress { host, port: 8333 }
}

impl World {
    // -- what the daemon wants --

    /// A want that concerns strangers.
    pub fn obey_outside(&mut self, want: Want) {
        match want {
            Want::OutsideConnect { id, address, chain } => self.outside_connect(id, address, chain),
            Want::Outside(id, order) => self.outside_order(id, order),
            Want::OutsideDrop(id) => self.outside_drop(id),
            Want::AskSeeds(chain) => {
                self.may_ask_seeds(chain);
                let wait = self.strangers.random.between(1, 10) * SECOND;
                let run = self.up_since();
                self.in_(wait, Event::Seeds(run));
            }
            Want::Keep(chain, list) => {
                self.may_keep(chain, &list);
                let (known, now) = (&mut self.strangers.known, self.now);
                known.retain(|address, _| list.contains(address));
                for address in list {
                    known.entry(address).or_insert(now);
                }
            }
            Want::Told(text) => self.hear_alarm(&text),
            want => unreachable!("{want:?} is nothing about strangers"),
        }
    }

    fn outside_connect(&mut self, id: OutsideId, address: PeerAddress, chain: Chain) {
        let Some(stranger) = self.strangers.find(&address) else {
            self.fail(format!("a connection to {address}, where nobody should be looked for"));
        };
        if self.strangers.newest >= Some(id) {
            self.fail(format!("{id:?} is the name of two connections"));
        }
        self.may_connect(stranger, chain);
        self.figures.outside_connections += 1;
        self.strangers.newest = Some(id);
        self.strangers.count += 1;
        let connection = Connection {
            stranger,
            number: self.strangers.count,
            ready_since: None,
            is_down: false,
            lies: false,
            wanted: None,
            same: None,
            is_linked: false,
            told: None,
            offers: BTreeMap::new(),
            inbound: 0,
            height: None,
        };
        self.strangers.open.insert(id, connection);
        // A connection, and the handshake.
        let way: Micros = (0..3).map(|_| self.strangers.way(stranger)).sum();
        self.outside_step_in(way, id, Step::Dialled);
    }

    fn outside_order(&mut self, id: OutsideId, order: Order) {
        let now = self.now;
        let Some(connection) = self.strangers.open.get_mut(&id) else {
            self.fail(format!("{order:?} for a connection that is not kept"));
        };
        match order {
            Order::Tip { hash, height } => {
                connection.wanted = Some((hash, height));
                connection.same = None;
            }
            Order::Offer(block) => {
                connection.offers.entry(block.hash).or_insert(Offer {
                    block,
                    since: now,
                    is_announced: false,
                    is_declined: false,
                    is_shown: false,
                });
            }
            Order::Withdraw(hash) => drop(connection.offers.remove(&hash)),
            Order::Addresses => self.fail("a stranger is asked for addresses"),
        }
        if let Some(connection) = self.strangers.open.get(&id)
            && connection.ready_since.is_some()
        {
            let way = self.strangers.way(connection.stranger);
            self.outside_step_in(way, id, Step::Look);
        }
    }

    fn outside_drop(&mut self, id: OutsideId) {
        let Some(connection) = self.strangers.open.remove(&id) else {
            self.fail(format!("{id:?} is dropped, but it is not kept"));
        };
        self.strangers.list[connection.stranger].pause(self.now);
        self.note_alarm();
    }

    /// The DNS seeds answer: nodes of their own choice, which are well.
    pub fn seeds_answer(&mut self, run: Micros) {
        if run != self.up_since() {
            return;
        }
        let unix = self.clock().unix;
        let well = |stranger: &&Stranger| !stranger.is_named && stranger.kind == Kind::Well;
        let list = self.strangers.list.iter().filter(well).map(|stranger| ListedPeer {
            address: stranger.address.clone(),
            services: FULL,
            seen: unix,
        });
        let list = list.collect();
        self.figures.seeds += 1;
        self.daemon.seeds(self.clock(), list);
        self.obey();
    }

    /// What becomes of a block of ours: while no own node shows it, strangers may be asked to take it.
    pub fn note_offered(&mut self, hash: BlockHash, state: &BlockState) {
        let now = self.now;
        let offered = &mut self.strangers.offered;
        match state {
            BlockState::Candidate | BlockState::Refused { .. } => {
                offered.entry(hash).or_insert(now);
            }
            BlockState::Beside => {}
            BlockState::Accepted { .. }
            | BlockState::Orphaned
            | BlockState::Mature
            | BlockState::Stale => drop(offered.remove(&hash)),
        }
    }

    /// What a restart finds on the card is offered again, unless a node had it or it had lost.
    pub fn note_restored(&mut self) {
        let blocks = self.daemon.engine.blocks().iter();
        let blocks: Vec<(BlockHash, BlockState)> =
            blocks.map(|(block, state)| (block.hash, state.clone())).collect();
        for (hash, state) in blocks {
            self.note_offered(hash, &state);
        }
    }

    /// Some time later a stranger changes its ways, which ends the connection to it.
    pub fn fate(&mut self) {
        let strangers = &mut self.strangers;
        let wait = strangers.random.wait(FATE_EVERY);
        let index = strangers.random.index(strangers.list.len());
        let kind = kind(&mut strangers.random, 1);
        strangers.list[index].set_kind(&mut strangers.random, kind, self.now);
        let connected = |(_, connection): &(&OutsideId, &Connection)| connection.stranger == index;
        let id = strangers.open.iter().find(connected).map(|(id, _)| *id);
        self.in_(wait, Event::Fate);
        if let Some(id) = id.filter(|id| self.strangers.open[id].ready_since.is_some()) {
            self.outside_says(id, p2p::Event::Down(Down::Closed));
        }
    }

    // -- what happens on a connection --

    fn outside_step_in(&mut self, wait: Micros, id: OutsideId, step: Step) {
        if let Some(connection) = self.strangers.open.get(&id) {
            self.in_(wait, Event::Outside(id, connection.number, step));
        }
    }

    /// A message, in order behind those before it. The last one ends the connection.
    fn outside_says(&mut self, id: OutsideId, event: p2p::Event) {
        let Some(connection) = self.strangers.open.get(&id).filter(|c| !c.is_down) else { return };
        let way = self.strangers.way(connection.stranger);
        let Some(connection) = self.strangers.open.get_mut(&id) else { return };
        connection.is_down = matches!(event, p2p::Event::Down(_));
        let at = (self.now + way).max(connection.inbound + 1);
        connection.inbound = at;
        self.outside_step_in(at - self.now, id, Step::Says(event));
    }

    pub fn outside_step(&mut self, id: OutsideId, number: u64, step: Step) {
        let is_it = |connection: &&Connection| connection.number == number;
        if self.strangers.open.get(&id).filter(is_it).is_none() {
            return;
        }
        match step {
            Step::Dialled => self.dialled(id),
            Step::NoAnswer => self.outside_says(id, p2p::Event::Down(Down::Silent)),
            Step::Look => self.stranger_looks(id),
            Step::Block(hash) => self.block_at_stranger(id, hash),
            Step::Says(event) => self.outside_heard(id, event),
        }
    }

    fn dialled(&mut self, id: OutsideId) {
        let now = self.now;
        let Some(connection) = self.strangers.open.get_mut(&id) else { return };
        match self.strangers.list[connection.stranger].kind {
            Kind::Away => self.outside_says(id, p2p::Event::Down(Down::Refused)),
            Kind::Silent => self.outside_step_in(NO_ANSWER, id, Step::NoAnswer),
            Kind::Well | Kind::Slow | Kind::Liar(_) => {
                connection.ready_since = Some(now);
                let agent = "/Stranger:1.0.0/".to_owned();
                let took = Duration::from_millis(1);
                let (version, services) = (70016, FULL);
                self.outside_says(id, p2p::Event::Ready { agent, version, services, took });
                self.stranger_looks(id);
            }
        }
    }

    /// The rest of the world has a new tip: those that follow it hear of it in their time.
    pub fn strangers_follow(&mut self, place: usize) {
        let is_strict = place > self.nodes.len();
        let follows = |connection: &Connection| {
            let stranger = &self.strangers.list[connection.stranger];
            let is_honest = matches!(stranger.kind, Kind::Well | Kind::Slow);
            connection.ready_since.is_some() && is_honest && stranger.strict == is_strict
        };
        let open = self.strangers.open.iter().filter(|(_, connection)| follows(connection));
        let ids: Vec<(OutsideId, usize)> =
            open.map(|(id, connection)| (*id, connection.stranger)).collect();
        for (id, stranger) in ids {
            let (low, high) = match self.strangers.list[stranger].kind {
                Kind::Slow => (10 * SECOND, 60 * SECOND),
                _ => (50 * MS, 3 * SECOND),
            };
            let wait = self.strangers.random.between(low, high);
            self.outside_step_in(wait, id, Step::Look);
        }
    }

    /// The chain that a stranger follows.
    pub fn view_of_stranger(&self, stranger: usize) -> &View {
        if self.strangers.list[stranger].strict { &self.strict_net } else { &self.net }
    }

    /// It compares what it knows with what it has told us.
    fn stranger_looks(&mut self, id: OutsideId) {
        let Some(connection) = self.strangers.open.get(&id) else { return };
        if connection.is_down || connection.ready_since.is_none() {
            return;
        }
        match self.strangers.list[connection.stranger].kind {
            Kind::Well | Kind::Slow => {
                self.stranger_hears_offers(id);
                self.stranger_tells_chain(id);
            }
            Kind::Liar(lie) => self.stranger_lies(id, lie),
            Kind::Away | Kind::Silent => {}
        }
    }

    /// A block that is announced is asked for, or not, once.
    fn stranger_hears_offers(&mut self, id: OutsideId) {
        let (now, unix) = (self.now, self.clock().unix);
        let stranger = self.strangers.open[&id].stranger;
        let mut blocks: Vec<(u32, BlockHash)> = self.strangers.open[&id]
            .offers
            .iter()
            .filter(|(_, offer)| !offer.is_announced)
            .map(|(hash, offer)| (offer.block.height, *hash))
            .collect();
        // As they were solved: one may stand on another.
        blocks.sort_unstable();
        for (_, hash) in blocks {
            let place = self.blocks.find(hash).expect("blocks are booked when they are solved");
            let block = self.blocks.get(place);
            let view = self.view_of_stranger(stranger);
            let (knows, has_parent) = (view.knows(place), view.knows(block.parent));
            let parent = self.blocks.get(block.parent).hash;
            let breaks = self.strangers.list[stranger].strict && block.breaks.is_some();
            let is_unfit = breaks || is_too_new(block, unix);
            let Some(connection) = self.strangers.open.get_mut(&id) else { return };
            let on_the_way = |offer: &Offer| offer.is_announced && !offer.is_declined;
            let has_parent = has_parent || connection.offers.get(&parent).is_some_and(on_the_way);
            let Some(offer) = connection.offers.get_mut(&hash) else { continue };
            offer.is_announced = true;
            offer.is_declined = !has_parent || is_unfit;
            let after = Duration::from_micros(now - offer.since);
            if knows || offer.is_declined {
                continue;
            }
            let form = Form::Compact;
            self.outside_says(id, p2p::Event::Asked { block: hash, form, after });
            let way = 2 * self.strangers.way(stranger);
            let way = way + self.strangers.random.between(MS, 100 * MS);
            self.outside_step_in(way, id, Step::Block(hash));
        }
    }

    fn block_at_stranger(&mut self, id: OutsideId, hash: BlockHash) {
        let stranger = self.strangers.open[&id].stranger;
        let Some(place) = self.blocks.find(hash) else { return };
        let view = self.view_of_stranger(stranger);
        let parent = self.blocks.get(place).parent;
        if !view.knows(place) && view.knows(parent) {
            let rest = self.places_of_the_rest()[usize::from(self.strangers.list[stranger].strict)];
            self.rest_hears(rest, place);
            let is_there = self.view_of_stranger(stranger).knows(place);
            self.figures.by_strangers += u64::from(is_there);
        }
        self.outside_step_in(MS, id, Step::Look);
    }

    /// Says what is new of its chain, in the order of the P2P machine.
    fn stranger_tells_chain(&mut self, id: OutsideId) {
        let now = self.now;
        let stranger = self.strangers.open[&id].stranger;
        let (blocks, strangers) = (&self.blocks, &mut self.strangers);
        let view = match strangers.list[stranger].strict {
            true => &self.strict_net,
            false => &self.net,
        };
        let Some(connection) = strangers.open.get_mut(&id) else { return };
        let has =
            |hash: BlockHash| blocks.find(hash).filter(|place| view.is_in_chain(blocks, *place));
        let mut said = Vec::new();
        for (hash, offer) in &mut connection.offers {
            if let (false, Some(place)) = (offer.is_shown, has(*hash)) {
                offer.is_shown = true;
                let confirmations = blocks.get(view.tip).height + 1 - blocks.get(place).height;
                let after = Duration::from_micros(now - offer.since);
                said.push(p2p::Event::InChain { block: *hash, confirmations, after });
            }
        }
        let mut again = false;
        if let Some((wanted, _)) = connection.wanted {
            let is_same = has(wanted).is_some();
            if connection.same.replace(is_same) != Some(is_same) {
                said.push(p2p::Event::Same(is_same));
                again = !is_same;
            }
            connection.is_linked |= is_same;
        }
        if connection.is_linked && connection.told.replace(view.tip) != Some(view.tip) {
            said.push(tip_event(blocks, view.tip));
        }
        for event in said {
            self.outside_says(id, event);
        }
        if again && let Some(connection) = self.strangers.open.get_mut(&id) {
            connection.same = None;
            self.outside_step_in(ASK_AGAIN, id, Step::Look);
        }
    }

    fn stranger_lies(&mut self, id: OutsideId, lie: Lie) {
        let now = self.now;
        let Some(connection) = self.strangers.open.get_mut(&id) else { return };
        connection.lies = true;
        let mut said = Vec::new();
        let news = connection.offers.iter_mut().filter(|(_, offer)| !offer.is_announced);
        for (hash, offer) in news {
            offer.is_announced = true;
            let (block, form) = (*hash, Form::Whole);
            let after = Duration::from_micros(now - offer.since);
            if lie != Lie::Ahead {
                said.push(p2p::Event::Asked { block, form, after });
            }
            if lie == Lie::Has {
                said.push(p2p::Event::InChain { block, confirmations: 3, after });
            }
        }
        if let (None, Some((_, height))) = (connection.same, connection.wanted) {
            let is_same = lie != Lie::Deaf;
            connection.same = Some(is_same);
            said.push(p2p::Event::Same(is_same));
            let random = &mut self.strangers.random;
            let height = match lie {
                Lie::Ahead => Some(height + random.between(1, 1000) as u32),
                Lie::Behind => Some(height - random.between(1, 9) as u32),
                Lie::Has | Lie::Deaf => None,
            };
            if let Some(height) = height {
                let hash = BlockHash(random.bytes());
                said.push(p2p::Event::Tip {
                    hash,
                    height: Some(height),
                    median_time: Some(1),
                    time: 2,
                    bits: soloist::difficulty::NBits(0x207f_ffff),
                });
            }
        }
        for event in said {
            self.figures.lies += 1;
            self.outside_says(id, event);
        }
    }

    /// A message comes to the daemon. Nothing but strangers and the owner's eyes may be moved by it.
    fn outside_heard(&mut self, id: OutsideId, event: p2p::Event) {
        let now = self.now;
        let Some(connection) = self.strangers.open.get_mut(&id) else { return };
        let stranger = connection.stranger;
        let is_end = matches!(event, p2p::Event::Down(_));
        match &event {
            p2p::Event::Tip { height, .. } => connection.height = *height,
            p2p::Event::Ready { .. } => {
                let stranger = &mut self.strangers.list[stranger];
                (stranger.failures, stranger.paused_until) = (0, 0);
            }
            p2p::Event::InChain { block, .. } => {
                *self.strangers.shown.entry(*block).or_default() += 1;
            }
            _ => {}
        }
        let before = self.decisions();
        self.daemon.outside_event(self.clock(), id, event);
        self.only_strangers_are_moved(&before);
        self.obey();
        if is_end && self.strangers.open.contains_key(&id) {
            self.fail(format!("{id:?} went down and is still kept"));
        }
        if is_end {
            // It was counted as a failure when it was dropped.
            let stranger = &self.strangers.list[stranger];
            assert!(stranger.paused_until > now, "{:?}", stranger.address);
        }
        self.note_alarm();
    }
}
