//! Nodes of strangers, and outside nodes that the owner names: a solved block that no own node has in its
//! best chain soon is offered to them, and they show whether the own nodes are behind the world.
//!
//! [`OutsidePeers`] decides to whom connections are made and when they end. Each connection is a
//! [`Peer`](crate::p2p::Peer), like those to own nodes. What a stranger says is only told: that it asked for a
//! block, that it shows it, and how high its chain is. It never decides what is mined or what is accepted.
//!
//! The addresses come from the own nodes (`getnodeaddresses`), and are kept for the day on which none of
//! these answers. No two connections lead into the same [`Network`].

mod behind;
mod book;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::block::SolvedBlock;
use crate::chain::{BlockHash, Chain};
use crate::clock::Now;
use crate::failover::BestTip;
use crate::ids::OutsideId;
use crate::p2p::{Down, Event, Order};
use crate::peer_address::{ListedPeer, NamedPeer, Network, Outside, PeerAddress};

pub use behind::{Behind, Change};
use behind::{Heights, Watch};
use book::Book;

/// Time for the own nodes to show a solved block before strangers are connected to.
pub const OWN_FIRST: Duration = Duration::from_secs(2);
/// Strangers that a block is offered to at a time, and that must show it before it is enough.
pub const BLOCK_PEERS: usize = 8;
/// Strangers that are watched.
const WATCH_PEERS: usize = 4;
/// Strangers that are offered a block in vain, at the most.
const VAIN_MAX: usize = 32;
/// A block that is older is offered to no stranger: the chain has gone on.
const BLOCK_AGE: Duration = Duration::from_secs(6 * 3600);
/// Time for a connected stranger to show that it has the block.
const BLOCK_TIME: Duration = Duration::from_secs(60);
/// Time for one to show that its chain is ours, or longer.
const CHAIN_TIME: Duration = Duration::from_secs(120);
/// For so long is one kept that is behind, or is ahead all alone, if others can be had.
const ODD: Duration = Duration::from_secs(600);
/// A connection ends after this time in any case, and another stranger has its turn.
const LIFE_WATCH: Duration = Duration::from_secs(6 * 3600);
/// The same where it stands for a block.
const LIFE_BLOCK: Duration = Duration::from_secs(600);
/// Between two new connections that have time.
const DIAL_GAP: Duration = Duration::from_secs(2);
/// From the first tip of an own node to the question for addresses: at first there is enough to do.
const ASK_FIRST: Duration = Duration::from_secs(10);
/// Addresses are asked for again after this time,
const ASK_AGAIN: Duration = Duration::from_secs(24 * 3600);
/// or after this, while there are few.
const ASK_SOON: Duration = Duration::from_secs(3600);
/// Time for the own nodes to tell addresses before the DNS seeds are asked.
const SEEDS_AFTER: Duration = Duration::from_secs(30);
/// Own tips that are remembered: a stranger that lacks the newest is asked for the one before.
const TRAIL_KEPT: usize = 12;
/// Blocks of which is remembered who took them.
const BLOCKS_KEPT: usize = 8;
/// The wait after the proxy could not be used.
const PROXY_PAUSE: Duration = Duration::from_secs(5);
/// The wait after an outside node of the owner's could not be used; doubled each time.
const NAMED_PAUSE: Duration = Duration::from_secs(5);
/// The longest of these waits.
const NAMED_PAUSE_LONGEST: Duration = Duration::from_secs(600);

/// The owner's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What is done with outside nodes.
    pub outside: Outside,
    /// Outside nodes that the owner names: they come first. Without a port, it is the chain's.
    pub peers: Vec<NamedPeer>,
    /// Connections go by a proxy, which can reach onion addresses.
    pub by_proxy: bool,
    /// The chain's DNS seeds may be asked.
    pub seeds: bool,
}

/// What happens.
#[derive(Debug)]
pub enum Input<'a> {
    /// The owner's settings are others.
    Settings(Settings),
    /// The chain of the own nodes is known.
    Chain(Chain),
    /// Addresses that an earlier run kept.
    Kept(&'a [PeerAddress]),
    /// Addresses that an own node or a DNS seed told.
    Told(&'a [ListedPeer]),
    /// The own nodes' best tip.
    Tip(BestTip),
    /// A solved block that no own node has shown.
    Offer(&'a Arc<SolvedBlock>),
    /// An own node has it in its best chain, or another one in its place, or it is final.
    Settled(BlockHash),
    /// What happened on a connection.
    Peer(OutsideId, Event),
    /// [`OutsidePeers::next_deadline`] has come.
    Tick,
}

/// What is to be done, in this order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Keep a connection.
    Connect {
        /// Its name from now on.
        id: OutsideId,
        /// Where to.
        address: PeerAddress,
        /// A node of which chain it must be.
        chain: Chain,
    },
    /// An order for a connection.
    Order {
        /// Which one.
        id: OutsideId,
        /// The order.
        order: Order,
    },
    /// End a connection.
    Drop(OutsideId),
    /// Ask an own node for addresses.
    AskAddresses,
    /// Ask the DNS seeds of this chain.
    AskSeeds(Chain),
    /// Keep these addresses on the card.
    Keep(Chain, Vec<PeerAddress>),
    /// No own node has shown a block in time: so many strangers are connected to.
    Dialling {
        /// The block.
        block: BlockHash,
        /// How many.
        peers: usize,
    },
    /// The first outside node asked for a block. Nothing is known from that but that it has it now.
    Asked {
        /// The block.
        block: BlockHash,
        /// Which node.
        address: PeerAddress,
        /// Since the block was solved.
        after: Duration,
    },
    /// The first outside node shows a block in its best chain.
    Shown {
        /// The block.
        block: BlockHash,
        /// Which node.
        address: PeerAddress,
        /// Since the block was solved.
        after: Duration,
    },
    /// The own nodes are behind the world, or no longer.
    World(Change),
    /// The proxy cannot be used: no outside node can be reached. Told once.
    ProxyDown(Down),
    /// It can be used again.
    ProxyUp,
}

/// Who of the outside nodes took a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many asked for it.
    pub asked: usize,
    /// How many showed it in their best chain.
    pub shown: usize,
    /// From the solving share to the first that asked.
    pub asked_after: Option<Duration>,
    /// From the solving share to the first that showed it.
    pub shown_after: Option<Duration>,
}

/// A connection, for the page.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Where to.
    pub address: &'a PeerAddress,
    /// What it calls itself; `None` until the handshake is done.
    pub agent: Option<&'a str>,
    /// Height of its tip, where it is known.
    pub height: Option<u32>,
    /// Since when the connection is kept.
    pub since: Instant,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct OutsidePeers {
    settings: Settings,
    chain: Option<Chain>,
    named: Vec<Named>,
    book: Book,
    peers: BTreeMap<OutsideId, Outsider>,
    next_id: u32,
    offers: VecDeque<OutsideOffer>,
    /// The own nodes' tips, the newest first.
    trail: VecDeque<(BlockHash, u32)>,
    /// Since when the newest has been theirs.
    tip_since: Option<Instant>,
    /// Its time by its header, Unix seconds.
    tip_time: Option<u64>,
    own_headers: Option<u32>,
    watch: Watch,
    ask_at: Option<Instant>,
    seeds_at: Option<Instant>,
    /// No connection that has time is made before.
    dial_at: Option<Instant>,
    /// No connection at all is made before: the proxy could not be used, and the owner was told so.
    proxy_at: Option<Instant>,
    deadline: Option<Instant>,
}

/// An outside node that the owner names.
#[derive(Debug)]
struct Named {
    address: PeerAddress,
    failures: u32,
    not_before: Option<Instant>,
}

/// A connection that is kept.
#[derive(Debug)]
struct Outsider {
    address: PeerAddress,
    is_named: bool,
    since: Instant,
    /// When the handshake was done, and what it calls itself.
    ready: Option<(Instant, String)>,
    /// Its tip, where it is known.
    tip: Option<BlockHash>,
    /// Its tip's height, where it is known.
    height: Option<u32>,
    /// How many tips back it was asked about.
    back: usize,
    /// Since when it has been behind us, or ahead as nobody else is.
    odd_since: Option<Instant>,
}

/// A block that is offered.
#[derive(Debug)]
struct OutsideOffer {
    hash: BlockHash,
    /// `None` once it is settled.
    block: Option<Arc<SolvedBlock>>,
    since: Instant,
    /// The owner was told that strangers are connected to for it.
    is_told: bool,
    asked: Takers,
    shown: Takers,
    /// Connected ones that did not show it in time.
    in_vain: usize,
}

/// Who did something with a block, and how long after the solving share the first of them did.
#[derive(Debug, Default)]
struct Takers {
    ids: BTreeSet<OutsideId>,
    first_after: Option<Duration>,
}

impl Takers {
    /// Notes one more; whether it is the first.
    fn note(&mut self, id: OutsideId, after: Duration) -> bool {
        self.ids.insert(id);
        let is_first = self.first_after.is_none();
        self.first_after.get_or_insert(after);
        is_first
    }
}

impl OutsideOffer {
    /// Whether strangers are looked for.
    fn is_wanting(&self, at: Instant) -> bool {
        self.is_open(at) && at >= self.since + OWN_FIRST
    }

    fn is_open(&self, at: Instant) -> bool {
        self.block.is_some()
            && self.shown.ids.len() < BLOCK_PEERS
            && self.in_vain < VAIN_MAX
            && at < self.since + BLOCK_AGE
    }
}

impl OutsidePeers {
    /// Takes one input and appends what follows from it.
    pub fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Vec<Output>) {
        match input {
            Input::Settings(settings) => self.on_settings(settings, out),
            Input::Chain(chain) => self.on_chain(chain, out),
            Input::Kept(list) => {
                for address in list.iter().rev() {
                    self.book.add(address, self.settings.by_proxy);
                }
            }
            Input::Told(list) => self.on_told(now, list, out),
            Input::Tip(tip) => self.on_tip(now, tip, out),
            Input::Offer(block) => self.on_offer(now, block, out),
            Input::Settled(block) => self.on_settled(block, out),
            Input::Peer(id, event) => self.on_event(now, id, event, out),
            Input::Tick => {}
        }
        self.ask_for_addresses(now, out);
        self.end_connections(now, out);
        self.begin_connections(now, out);
        out.extend(self.watch.update(now, &self.heights()).map(Output::World));
        self.deadline = self.deadline(now);
    }

    /// When [`Input::Tick`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How far the own nodes are behind the world, once it was told, and since when that is so.
    pub fn behind(&self) -> Option<(Behind, Instant)> {
        self.watch.told()
    }

    /// For how long the own nodes have had their newest tip: since it was first heard of, or since the
    /// time in its header, which tells more after a restart.
    pub fn standing(&self, now: Now) -> Option<Duration> {
        let heard = now.mono.saturating_duration_since(self.tip_since?);
        let age = self.tip_time.map_or(0, |time| now.unix.saturating_sub(time));
        Some(heard.max(Duration::from_secs(age)))
    }

    /// The connections, in the order in which they were begun.
    pub fn connections(&self) -> impl Iterator<Item = View<'_>> {
        self.peers.values().map(|peer| View {
            address: &peer.address,
            agent: peer.ready.as_ref().map(|(_, agent)| agent.as_str()),
            height: peer.height,
            since: peer.since,
        })
    }

    /// How many addresses of strangers are known.
    pub fn known(&self) -> usize {
        self.book.len()
    }

    /// Who took a block, if any outside node did.
    pub fn taken(&self, block: BlockHash) -> Option<Taken> {
        let offer = self.offers.iter().find(|offer| offer.hash == block)?;
        let taken = Taken {
            asked: offer.asked.ids.len(),
            shown: offer.shown.ids.len(),
            asked_after: offer.asked.first_after,
            shown_after: offer.shown.first_after,
        };
        Some(taken).filter(|taken| taken.asked + taken.shown > 0)
    }

    /// Bytes on the heap, without the connections' own and the offered blocks.
    pub fn memory(&self) -> usize {
        self.book.memory()
            + self.peers.len() * size_of::<Outsider>()
            + self.trail.capacity() * size_of::<(BlockHash, u32)>()
            + self.offers.capacity() * size_of::<OutsideOffer>()
    }

    fn on_settings(&mut self, settings: Settings, out: &mut Vec<Output>) {
        // Another proxy, or none, is another way to the same nodes.
        if settings != self.settings {
            self.settings = settings;
            self.proxy_at = None;
            self.drop_all(out);
            self.name_peers();
        }
    }

    fn on_chain(&mut self, chain: Chain, out: &mut Vec<Output>) {
        let before = self.chain.replace(chain);
        if before == Some(chain) {
            return;
        }
        if before.is_some() {
            self.book = Book::default();
        }
        self.drop_all(out);
        self.trail.clear();
        self.ask_at = None;
        self.name_peers();
    }

    fn drop_all(&mut self, out: &mut Vec<Output>) {
        out.extend(std::mem::take(&mut self.peers).into_keys().map(Output::Drop));
    }

    fn name_peers(&mut self) {
        let Some(chain) = self.chain else { return };
        let named = self.settings.peers.iter().map(|peer| {
            let address = peer.address(chain.p2p_port());
            Named { address, failures: 0, not_before: None }
        });
        self.named = named.collect();
    }

    /// Whether the chain has strangers: a regression test's are this house's own.
    fn has_strangers(&self) -> bool {
        self.chain.is_some_and(|chain| chain != Chain::Regtest)
            && self.settings.outside != Outside::Off
    }

    fn on_told(&mut self, now: Now, list: &[ListedPeer], out: &mut Vec<Output>) {
        let Some(chain) = self.chain.filter(|_| self.has_strangers()) else { return };
        if self.book.learn(list, self.settings.by_proxy) {
            out.push(Output::Keep(chain, self.book.addresses()));
        }
        if !self.book.is_short() {
            self.ask_at = Some(now.mono + ASK_AGAIN);
            self.seeds_at = None;
        }
    }

    fn ask_for_addresses(&mut self, now: Now, out: &mut Vec<Output>) {
        if !self.has_strangers() || self.trail.is_empty() {
            (self.ask_at, self.seeds_at) = (None, None);
            return;
        }
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now.mono);
        self.ask_at.get_or_insert(now.mono + ASK_FIRST);
        if is_due(self.ask_at) {
            self.ask_at = Some(now.mono + ASK_SOON);
            let may_ask_seeds = self.settings.seeds && !self.settings.by_proxy;
            self.seeds_at = may_ask_seeds.then_some(now.mono + SEEDS_AFTER);
            out.push(Output::AskAddresses);
        }
        if is_due(self.seeds_at) {
            self.seeds_at = None;
            if let Some(chain) = self.chain.filter(|_| self.book.is_short()) {
                out.push(Output::AskSeeds(chain));
            }
        }
    }

    fn on_tip(&mut self, now: Now, tip: BestTip, out: &mut Vec<Output>) {
        let BestTip { hash, height, headers, time } = tip;
        self.own_headers = Some(headers);
        self.tip_time = time.or(self.tip_time.filter(|_| self.has_tip(hash)));
        if self.trail.front() == Some(&(hash, height)) {
            return;
        }
        self.trail.retain(|(known, _)| *known != hash);
        self.trail.push_front((hash, height));
        self.trail.truncate(TRAIL_KEPT);
        self.tip_since = Some(now.mono);
        for (id, peer) in &mut self.peers {
            peer.back = 0;
            if peer.tip == Some(hash) {
                peer.height = Some(height);
            }
            out.push(Output::Order { id: *id, order: Order::Tip { hash, height } });
        }
    }

    fn has_tip(&self, hash: BlockHash) -> bool {
        self.trail.front().is_some_and(|(tip, _)| *tip == hash)
    }

    fn on_offer(&mut self, now: Now, block: &Arc<SolvedBlock>, out: &mut Vec<Output>) {
        let hash = block.hash;
        let is_old = now.unix > block.unix.saturating_add(BLOCK_AGE.as_secs());
        if is_old || self.offers.iter().any(|offer| offer.hash == hash && offer.block.is_some()) {
            return;
        }
        // One that an own node had and lost again counts anew.
        self.offers.retain(|offer| offer.hash != hash);
        if self.offers.len() == BLOCKS_KEPT {
            let settled = self.offers.iter().position(|offer| offer.block.is_none());
            self.offers.remove(settled.unwrap_or(0));
        }
        self.offers.push_back(OutsideOffer {
            hash,
            block: Some(block.clone()),
            since: now.mono,
            is_told: false,
            asked: Takers::default(),
            shown: Takers::default(),
            in_vain: 0,
        });
        for id in self.peers.keys() {
            out.push(Output::Order { id: *id, order: Order::Offer(block.clone()) });
        }
    }

    fn on_settled(&mut self, block: BlockHash, out: &mut Vec<Output>) {
        let offer = self.offers.iter_mut().find(|offer| offer.hash == block);
        if offer.is_some_and(|offer| offer.block.take().is_some()) {
            for id in self.peers.keys() {
                out.push(Output::Order { id: *id, order: Order::Withdraw(block) });
            }
        }
    }

    fn on_event(&mut self, now: Now, id: OutsideId, event: Event, out: &mut Vec<Output>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match event {
            Event::Ready { agent, .. } => {
                peer.ready = Some((now.mono, agent));
                let address = peer.address.clone();
                self.succeeded(&address);
                out.extend(self.proxy_at.take().map(|_| Output::ProxyUp));
            }
            // The stranger is not to blame.
            Event::Down(why @ Down::Proxy { .. }) => {
                self.end_at_leisure(id, out);
                if self.proxy_at.replace(now.mono + PROXY_PAUSE).is_none() {
                    out.push(Output::ProxyDown(why));
                }
            }
            Event::Down(_) => self.end_in_vain(now, id, out),
            // A stranger is not asked for addresses.
            Event::Addresses(_) => {}
            Event::Same(true) => {
                // The tip itself, if it is no news, or the one that it was asked about.
                if let Some((hash, height)) = self.trail.get(peer.back) {
                    peer.tip = peer.tip.or(Some(*hash));
                    peer.height = peer.height.or(Some(*height));
                }
            }
            Event::Same(false) => {
                // A stranger that follows another branch knows the blocks below it.
                if let Some((hash, height)) = self.trail.get(peer.back + 1).copied() {
                    peer.back += 1;
                    out.push(Output::Order { id, order: Order::Tip { hash, height } });
                }
            }
            Event::Tip { hash, height, .. } => {
                let own = self.trail.iter().find(|(known, _)| *known == hash);
                peer.tip = Some(hash);
                peer.height = height.or(own.map(|(_, height)| *height));
            }
            Event::Asked { block, .. } => {
                if let Some(offer) = self.offers.iter_mut().find(|offer| offer.hash == block) {
                    let after = now.mono.saturating_duration_since(offer.since);
                    if offer.asked.note(id, after) {
                        out.push(Output::Asked { block, address: peer.address.clone(), after });
                    }
                }
            }
            Event::InChain { block, .. } => {
                if let Some(offer) = self.offers.iter_mut().find(|offer| offer.hash == block) {
                    let after = now.mono.saturating_duration_since(offer.since);
                    if offer.shown.note(id, after) {
                        out.push(Output::Shown { block, address: peer.address.clone(), after });
                    }
                }
            }
        }
    }

    fn succeeded(&mut self, address: &PeerAddress) {
        self.book.succeeded(address);
        if let Some(named) = self.named.iter_mut().find(|named| named.address == *address) {
            (named.failures, named.not_before) = (0, None);
        }
    }

    fn failed(&mut self, now: Now, address: &PeerAddress) {
        self.book.failed(now, address);
        if let Some(named) = self.named.iter_mut().find(|named| named.address == *address) {
            let pause = NAMED_PAUSE * (1 << named.failures.min(8));
            named.not_before = Some(now.mono + pause.min(NAMED_PAUSE_LONGEST));
            named.failures = named.failures.saturating_add(1);
        }
    }

    /// Ends a connection that is of no use.
    fn end_in_vain(&mut self, now: Now, id: OutsideId, out: &mut Vec<Output>) {
        let Some(peer) = self.peers.remove(&id) else { return };
        self.failed(now, &peer.address);
        // One that was never there was offered nothing.
        if peer.ready.is_some() {
            for offer in self.offers.iter_mut().filter(|offer| !offer.shown.ids.contains(&id)) {
                offer.in_vain += 1;
            }
        }
        out.push(Output::Drop(id));
    }

    /// How many connections are wanted.
    fn wanted(&self, now: Now) -> usize {
        let is_for_block = self.is_urgent(now);
        match self.settings.outside {
            Outside::Off => 0,
            _ if is_for_block => BLOCK_PEERS,
            Outside::Block => 0,
            Outside::Watch => WATCH_PEERS,
        }
    }

    /// How many connections there may be: one as a trial, while the proxy cannot be used.
    fn room(&self, now: Now) -> usize {
        let wanted = self.wanted(now);
        if self.proxy_at.is_some() { wanted.min(1) } else { wanted }
    }

    /// Whether a block waits for strangers.
    fn is_urgent(&self, now: Now) -> bool {
        self.offers.iter().any(|offer| offer.is_wanting(now.mono))
    }

    /// When something is due, as things stand.
    fn deadline(&self, now: Now) -> Option<Instant> {
        let is_early =
            |offer: &&OutsideOffer| offer.is_open(now.mono) && !offer.is_wanting(now.mono);
        let is_used = self.settings.outside != Outside::Off;
        let offers = self.offers.iter().filter(|offer| is_used && is_early(offer));
        let offers = offers.map(|offer| offer.since + OWN_FIRST).min();
        let ends = self.peers.iter().map(|(id, peer)| self.end(now, *id, peer)).min();
        let has_room = self.peers.len() < self.room(now);
        let dial = has_room.then(|| self.next_dial(now)).flatten();
        [offers, ends, dial, self.ask_at, self.seeds_at, self.watch.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// When a connection ends, if nothing changes.
    fn end(&self, now: Now, id: OutsideId, peer: &Outsider) -> Instant {
        let life = match self.settings.outside {
            Outside::Watch => LIFE_WATCH,
            Outside::Off | Outside::Block => LIFE_BLOCK,
        };
        let last = peer.since + life;
        self.in_vain_at(now, id, peer).map_or(last, |at| at.min(last))
    }

    /// When a connection counts as being of no use.
    fn in_vain_at(&self, now: Now, id: OutsideId, peer: &Outsider) -> Option<Instant> {
        let (ready, _) = peer.ready.as_ref()?;
        let waits =
            |offer: &&OutsideOffer| offer.is_wanting(now.mono) && !offer.shown.ids.contains(&id);
        let block = self.offers.iter().filter(waits);
        let block = block.map(|offer| (*ready).max(offer.since + OWN_FIRST) + BLOCK_TIME).min();
        let is_watched = self.settings.outside == Outside::Watch && !self.trail.is_empty();
        let chain = (is_watched && peer.height.is_none()).then(|| *ready + CHAIN_TIME);
        let odd = peer.odd_since.filter(|_| self.has_others()).map(|since| since + ODD);
        [block, chain, odd].into_iter().flatten().min()
    }

    /// Whether there is anybody to connect to instead.
    fn has_others(&self) -> bool {
        self.named.len() + self.book.len() > self.peers.len()
    }

    fn end_connections(&mut self, now: Now, out: &mut Vec<Output>) {
        self.note_odd(now);
        let due = |(id, peer): (&OutsideId, &Outsider)| {
            let is_in_vain = self.in_vain_at(now, *id, peer).is_some_and(|at| at <= now.mono);
            (is_in_vain || self.end(now, *id, peer) <= now.mono).then_some((*id, is_in_vain))
        };
        let due: Vec<(OutsideId, bool)> = self.peers.iter().filter_map(due).collect();
        for (id, is_in_vain) in due {
            if is_in_vain {
                self.end_in_vain(now, id, out);
            } else {
                self.end_at_leisure(id, out);
            }
        }
        // The newest ones go first: they came for a block.
        let wanted = self.wanted(now);
        while self.peers.len() > wanted
            && let Some(id) = self.peers.keys().next_back().copied()
        {
            self.end_at_leisure(id, out);
        }
    }

    fn end_at_leisure(&mut self, id: OutsideId, out: &mut Vec<Output>) {
        self.peers.remove(&id);
        out.push(Output::Drop(id));
    }

    /// Notes who is behind the own nodes, or ahead of them as nobody else is.
    fn note_odd(&mut self, now: Now) {
        let Some((_, own)) = self.trail.front().copied() else { return };
        let heights = || self.peers.values().filter_map(|peer| peer.height);
        let is_alone = heights().filter(|height| *height > own).count() == 1;
        for peer in self.peers.values_mut() {
            let is_odd = peer.height.is_some_and(|height| match height.cmp(&own) {
                Ordering::Less => true,
                Ordering::Equal => false,
                Ordering::Greater => is_alone,
            });
            peer.odd_since = is_odd.then(|| peer.odd_since.unwrap_or(now.mono));
        }
    }

    fn heights(&self) -> Heights {
        Heights {
            own: self.trail.front().map(|(_, height)| *height),
            own_headers: self.own_headers,
            outside: self.peers.values().filter_map(|peer| peer.height).collect(),
        }
    }

    /// When the next connection can be begun.
    fn next_dial(&self, now: Now) -> Option<Instant> {
        let named = self.named.iter().filter(|named| !self.is_connected(&named.address));
        let named = named.map(|named| named.not_before.unwrap_or(now.mono)).min();
        let book = self.book.next_try(|network| uses(&self.peers, network), now);
        let first = [named, book.filter(|_| self.has_strangers())].into_iter().flatten().min()?;
        let gap = self.dial_at.filter(|_| !self.is_urgent(now));
        [Some(first), gap, self.proxy_at].into_iter().max().flatten()
    }

    fn is_connected(&self, address: &PeerAddress) -> bool {
        self.peers.values().any(|peer| peer.address == *address)
    }

    fn begin_connections(&mut self, now: Now, out: &mut Vec<Output>) {
        let is_urgent = self.is_urgent(now);
        let is_later = |at: Option<Instant>| at.is_some_and(|at| at > now.mono);
        let mut is_over = is_later(self.proxy_at) || (!is_urgent && is_later(self.dial_at));
        while self.peers.len() < self.room(now) && !is_over {
            let Some((address, is_named)) = self.next_address(now, is_urgent) else { break };
            self.connect(now, address, is_named, out);
            self.dial_at = Some(now.mono + DIAL_GAP);
            is_over = !is_urgent;
        }
        let peers = self.peers.len();
        for offer in self.offers.iter_mut().filter(|offer| offer.is_wanting(now.mono)) {
            if self.settings.outside != Outside::Off && !std::mem::replace(&mut offer.is_told, true)
            {
                out.push(Output::Dialling { block: offer.hash, peers });
            }
        }
    }

    fn next_address(&mut self, now: Now, is_urgent: bool) -> Option<(PeerAddress, bool)> {
        let may = |named: &&Named| {
            named.not_before.is_none_or(|at| at <= now.mono) && !self.is_connected(&named.address)
        };
        if let Some(named) = self.named.iter().find(may) {
            return Some((named.address.clone(), true));
        }
        if !self.has_strangers() {
            return None;
        }
        let peers = &self.peers;
        Some((self.book.next(now, is_urgent, |network| uses(peers, network))?, false))
    }

    fn connect(&mut self, now: Now, address: PeerAddress, is_named: bool, out: &mut Vec<Output>) {
        let Some(chain) = self.chain else { return };
        let id = OutsideId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        out.push(Output::Connect { id, address: address.clone(), chain });
        if let Some((hash, height)) = self.trail.front().copied() {
            out.push(Output::Order { id, order: Order::Tip { hash, height } });
        }
        for offer in self.offers.iter().filter(|offer| offer.is_open(now.mono)) {
            let order = offer.block.clone().map(Order::Offer);
            out.extend(order.map(|order| Output::Order { id, order }));
        }
        self.peers.insert(
            id,
            Outsider {
                address,
                is_named,
                since: now.mono,
                ready: None,
                tip: None,
                height: None,
                back: 0,
                odd_since: None,
            },
        );
    }
}

/// Whether a connection leads to a stranger in a network.
fn uses(peers: &BTreeMap<OutsideId, Outsider>, network: &Network) -> bool {
    peers.values().any(|peer| !peer.is_named && peer.address.network() == *network)
}
