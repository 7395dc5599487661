//! One connection to a P2P port, over all its reconnects: when it is opened and closed, the handshake,
//! pings, and how much a peer may send.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::block::SolvedBlock;
use crate::chain::{BlockHash, Chain};
use crate::clock::Now;
use crate::difficulty::NBits;
use crate::peer_address::ListedPeer;

use super::ask::Ask;
use super::offer::Offer;
use super::tips::Tips;
use super::wire::{self, Frame, Frames, Version};

/// What the owner of the connection wants.
#[derive(Clone, Debug)]
pub enum Order {
    /// The node's tip, as it was told by RPC or ZMQ. The peer finds out whether it has it too
    /// ([`Event::Same`]), and wants to be told what comes after it.
    Tip {
        /// Its hash.
        hash: BlockHash,
        /// Its height.
        height: u32,
    },
    /// A solved block: announce it now and after each reconnect, until it is withdrawn.
    Offer(Arc<SolvedBlock>),
    /// The block needs no more announcing. It is still served for a while if it is asked for.
    Withdraw(BlockHash),
    /// Ask the peer for addresses of other nodes, now or as soon as it is connected
    /// ([`Event::Addresses`]). Over one connection it is asked once: nodes answer no second time.
    Addresses,
}

/// What happens to the connection.
#[derive(Debug)]
pub enum Input<'a> {
    /// An order.
    Order(Order),
    /// [`Output::Connect`] is done.
    Connected,
    /// [`Output::Connect`] failed, or an open connection ended.
    Closed(Down),
    /// Bytes from the peer.
    Bytes(&'a [u8]),
    /// [`Peer::next_deadline`] has come.
    Tick,
}

/// What the shell is to do, in this order.
#[derive(Debug)]
pub enum Output {
    /// Open a TCP connection (without delay of small packets).
    Connect,
    /// Send these bytes.
    Send(Vec<u8>),
    /// Send a block's bytes; the head of their message was sent before.
    SendBlock(Arc<SolvedBlock>),
    /// Close the connection. No [`Input::Closed`] follows.
    Close,
    /// Tell the owner.
    Event(Event),
}

/// What became known.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The handshake is done.
    Ready {
        /// Its user agent, at most 64 printable characters.
        agent: String,
        /// Its protocol version.
        version: u32,
        /// Its services.
        services: u64,
        /// From the TCP connection to the end of the handshake.
        took: Duration,
    },
    /// There is no connection, and why; told once for each reason.
    Down(Down),
    /// Whether the peer has the last [`Order::Tip`] in its best chain.
    Same(bool),
    /// Its best chain has a new tip.
    Tip {
        /// The tip.
        hash: BlockHash,
        /// Its height, where that of a block below it is known.
        height: Option<u32>,
        /// The median time of it and the ten blocks before it, Unix seconds, where all are known.
        median_time: Option<u32>,
        /// Its time, Unix seconds.
        time: u32,
        /// Its target.
        bits: NBits,
    },
    /// It asked for a block that we offered, and is being sent it.
    Asked {
        /// The block.
        block: BlockHash,
        /// In which form.
        form: Form,
        /// Time since [`Order::Offer`].
        after: Duration,
    },
    /// It has a block that we offered in its best chain.
    InChain {
        /// The block.
        block: BlockHash,
        /// Blocks on top of it, plus itself.
        confirmations: u32,
        /// Time since [`Order::Offer`].
        after: Duration,
    },
    /// Addresses that it told within half a minute of the question, at most 1,000 at a time. They may be
    /// anything that a stranger can invent, also private ones.
    Addresses(Vec<ListedPeer>),
}

/// The form in which a block is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// All of it.
    Whole,
    /// Short ids of its transactions (BIP 152).
    Compact,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Down {
    /// Nothing listens there, or not for us.
    #[error("it refuses connections")]
    Refused,
    /// The host name has no address, or no way leads there.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// The proxy between us and it does not do what it should.
    #[error("the proxy at {place} is of no use: {why}")]
    Proxy {
        /// The proxy's `host:port`.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// It did not answer in time.
    #[error("it does not answer")]
    Silent,
    /// It closed the connection before the handshake was done.
    #[error("it hangs up at once")]
    HungUp,
    /// It closed the connection later.
    #[error("it closed the connection")]
    Closed,
    /// What answers is no node of this chain.
    #[error("it belongs to another network")]
    OtherChain,
    /// It is a node, but one that blocks cannot be given to.
    #[error("it cannot take our blocks: {0}")]
    Unfit(&'static str),
    /// It broke the protocol.
    #[error("what it says is no Bitcoin P2P: {0}")]
    Nonsense(&'static str),
    /// It sends more than a peer has reason to.
    #[error("it sends too much")]
    Flood,
}

/// Time for the TCP connection.
const CONNECT: Duration = Duration::from_secs(5);
/// The same by a proxy: Tor needs up to half a minute for a new circuit.
const CONNECT_BY_PROXY: Duration = Duration::from_secs(30);
/// Time from then to the end of the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A peer that is silent for so long is pinged.
const SILENCE: Duration = Duration::from_secs(20);
/// Time for an answer to the ping.
const PONG: Duration = Duration::from_secs(10);
/// Bytes a second at which a peer takes a block at the slowest. Until then its silence means nothing.
const SLOWEST: usize = 32 * 1024;
/// Waits from one failure to the next try; the last one repeats.
const PAUSES: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];
/// The longest of them while a block is offered that the peer does not have.
const PAUSE_WITH_BLOCK: Duration = Duration::from_secs(5);
/// The wait after a peer that is of no use or does harm.
const PAUSE_HOSTILE: Duration = Duration::from_secs(600);
/// After a connection of this length the waits begin anew.
const LIVED: Duration = Duration::from_secs(60);
/// Bytes that a peer may send at once.
const BURST: u64 = 512 * 1024;
/// Time that earns one byte more: 8,000 a second.
const BYTE: Duration = Duration::from_micros(125);
/// The oldest protocol that knows `sendheaders` (BIP 130).
const OLDEST: u32 = 70012;
/// `NODE_NETWORK` and `NODE_NETWORK_LIMITED` (BIP 159): it has blocks, all or the last ones.
const SERVICES_BLOCKS: u64 = 1 | 1 << 10;

/// See the module's description.
#[derive(Debug)]
pub struct Peer {
    pub(super) chain: Chain,
    pub(super) nonce: u64,
    /// Time for a connection.
    connect_within: Duration,
    state: State,
    pub(super) link: Link,
    /// Connections in a row that did not live long.
    failures: usize,
    /// What was told of since the last handshake.
    told: Vec<Down>,
    /// Our questions that have no answer yet, the oldest first.
    pub(super) asks: Vec<Ask>,
    pub(super) tips: Tips,
    pub(super) offers: Vec<Offer>,
    /// The peer is to be asked for addresses.
    pub(super) wants_addresses: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is no connection until then.
    Waiting { until: Instant, is_hostile: bool },
    /// The TCP connection must stand by then.
    Connecting { until: Instant },
    /// The handshake must be done by then.
    Greeting { until: Instant },
    /// The handshake is done.
    Ready,
}

/// What belongs to one TCP connection.
#[derive(Debug)]
pub(super) struct Link {
    frames: Frames,
    since: Instant,
    /// When the peer may again send a whole burst.
    full_at: Instant,
    /// When its last message ended.
    heard: Instant,
    /// When it was pinged since.
    pinged: Option<Instant>,
    version: Option<Version>,
    /// Until when addresses are an answer; `None` before they were asked for.
    pub(super) addresses_until: Option<Instant>,
}

impl Link {
    fn new(now: Now, chain: Chain) -> Link {
        let at = now.mono;
        Link {
            frames: Frames::new(chain),
            since: at,
            full_at: at,
            heard: at,
            pinged: None,
            version: None,
            addresses_until: None,
        }
    }

    /// How many of `n` bytes the peer may send now. They are counted.
    fn admit(&mut self, now: Now, n: usize) -> usize {
        let missing = self.full_at.saturating_duration_since(now.mono).as_nanos();
        let missing = missing.div_ceil(BYTE.as_nanos()) as u64;
        let admitted = BURST.saturating_sub(missing).min(n as u64);
        let price = Duration::from_nanos(BYTE.as_nanos() as u64 * admitted);
        self.full_at = self.full_at.max(now.mono) + price;
        admitted as usize
    }

    /// The peer has so many bytes to take before it can answer anything.
    pub(super) fn give_time(&mut self, now: Now, bytes: usize) {
        let takes = Duration::from_secs((bytes / SLOWEST) as u64);
        self.heard = self.heard.max(now.mono + takes);
        self.pinged = None;
    }

    /// When the peer's silence is to be looked at.
    fn deadline(&self) -> Instant {
        self.pinged.map_or(self.heard + SILENCE, |pinged| pinged + PONG)
    }
}

impl Peer {
    /// A peer that is to be connected to. `nonce` is random: it tells whether we connected to
    /// ourselves.
    pub fn new(now: Now, chain: Chain, nonce: u64) -> Peer {
        Peer {
            chain,
            nonce,
            connect_within: CONNECT,
            state: State::Waiting { until: now.mono, is_hostile: false },
            link: Link::new(now, chain),
            failures: 0,
            told: Vec::new(),
            asks: Vec::new(),
            tips: Tips::default(),
            offers: Vec::new(),
            wants_addresses: false,
        }
    }

    /// The same, reached by a proxy: a connection takes longer.
    pub fn by_proxy(self) -> Peer {
        Peer { connect_within: CONNECT_BY_PROXY, ..self }
    }

    /// Takes one input and appends what follows from it.
    pub fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Vec<Output>) {
        self.on_time(now, out);
        match input {
            Input::Order(Order::Tip { hash, height }) => self.on_order(now, hash, height, out),
            Input::Order(Order::Offer(block)) => self.on_offer(now, block, out),
            Input::Order(Order::Withdraw(hash)) => self.on_withdraw(now, hash),
            Input::Order(Order::Addresses) => self.on_addresses_wanted(now, out),
            Input::Connected => self.on_connected(now, out),
            Input::Closed(why) => self.on_closed(now, why, out),
            Input::Bytes(bytes) => self.on_bytes(now, bytes, out),
            Input::Tick => {}
        }
        self.ask_on(now, out);
    }

    /// When [`Input::Tick`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let connection = match self.state {
            State::Waiting { until, .. }
            | State::Connecting { until }
            | State::Greeting { until } => until,
            State::Ready => self.link.deadline(),
        };
        let questions = self.asks.iter().map(Ask::deadline).min();
        let others = [questions, self.tips_deadline(), self.offers_deadline()];
        others.into_iter().flatten().chain([connection]).min()
    }

    /// Bytes that it holds on the heap, without the offered blocks.
    pub fn memory(&self) -> usize {
        self.link.frames.memory()
            + self.tips.memory()
            + self.asks.iter().map(Ask::memory).sum::<usize>()
            + self.asks.capacity() * size_of::<Ask>()
            + self.offers.capacity() * size_of::<Offer>()
            + self.told.capacity() * size_of::<Down>()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Connects for the sake of a block that was not offered before, or for one that was.
    pub(super) fn connect_for_block(&mut self, now: Now, is_new: bool, out: &mut Vec<Output>) {
        if let State::Waiting { is_hostile, .. } = self.state
            && (is_new || !is_hostile)
        {
            self.connect(now, out);
        }
    }

    fn connect(&mut self, now: Now, out: &mut Vec<Output>) {
        self.state = State::Connecting { until: now.mono + self.connect_within };
        out.push(Output::Connect);
    }

    /// What is due.
    fn on_time(&mut self, now: Now, out: &mut Vec<Output>) {
        match self.state {
            State::Waiting { until, .. } if until <= now.mono => self.connect(now, out),
            State::Connecting { until } | State::Greeting { until } if until <= now.mono => {
                self.hang_up(now, Down::Silent, out);
            }
            State::Ready if self.link.deadline() <= now.mono => self.on_silence(now, out),
            _ => {}
        }
        self.forget_offers(now);
        if self.is_ready() {
            self.ask_on_time(now, out);
            self.ask_on(now, out);
        }
    }

    fn on_silence(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.link.pinged.is_some() {
            self.hang_up(now, Down::Silent, out);
        } else {
            self.link.pinged = Some(now.mono);
            self.send("ping", &self.nonce.to_le_bytes(), out);
        }
    }

    fn on_connected(&mut self, now: Now, out: &mut Vec<Output>) {
        if !matches!(self.state, State::Connecting { .. }) {
            return;
        }
        self.link = Link::new(now, self.chain);
        self.state = State::Greeting { until: now.mono + HANDSHAKE };
        self.send("version", &wire::version(now.unix, self.nonce), out);
    }

    fn on_closed(&mut self, now: Now, why: Down, out: &mut Vec<Output>) {
        let why = match (self.state, why) {
            (State::Waiting { .. }, _) => return,
            (State::Greeting { .. }, Down::Closed) => Down::HungUp,
            (State::Ready, Down::HungUp) => Down::Closed,
            (_, why) => why,
        };
        self.down(now, why, out);
    }

    fn hang_up(&mut self, now: Now, why: Down, out: &mut Vec<Output>) {
        out.push(Output::Close);
        self.down(now, why, out);
    }

    /// There is no connection any more.
    fn down(&mut self, now: Now, why: Down, out: &mut Vec<Output>) {
        if self.is_ready() && now.mono.saturating_duration_since(self.link.since) >= LIVED {
            self.failures = 0;
        }
        let is_hostile =
            matches!(why, Down::OtherChain | Down::Unfit(_) | Down::Nonsense(_) | Down::Flood);
        let pause = if is_hostile {
            PAUSE_HOSTILE
        } else {
            let pause = PAUSES[self.failures.min(PAUSES.len() - 1)];
            self.failures = self.failures.saturating_add(1);
            if self.has_waiting_block() { pause.min(PAUSE_WITH_BLOCK) } else { pause }
        };
        self.state = State::Waiting { until: now.mono + pause, is_hostile };
        self.link = Link::new(now, self.chain);
        self.asks = Vec::new();
        self.tips.on_down();
        self.offers.iter_mut().for_each(Offer::on_down);
        let is_same = |told: &Down| std::mem::discriminant(told) == std::mem::discriminant(&why);
        if !self.told.iter().any(is_same) {
            self.told.push(why.clone());
            out.push(Output::Event(Event::Down(why)));
        }
    }

    fn on_bytes(&mut self, now: Now, mut bytes: &[u8], out: &mut Vec<Output>) {
        if !self.is_open() {
            return;
        }
        let admitted = self.link.admit(now, bytes.len());
        let is_flood = admitted < bytes.len();
        bytes = &bytes[..admitted];
        // What came before the peer did wrong counts, so that it does not matter how TCP cuts it.
        while self.is_open() {
            self.link.frames.reads_addresses = self.awaits_addresses(now);
            let done = match self.link.frames.next(&mut bytes) {
                Ok(None) => break,
                Ok(Some(frame)) => self.on_frame(now, &frame, out),
                Err(why) => Err(why),
            };
            match done {
                Ok(()) => self.ask_on(now, out),
                Err(why) => self.hang_up(now, why, out),
            }
        }
        if is_flood && self.is_open() {
            self.hang_up(now, Down::Flood, out);
        }
    }

    fn is_open(&self) -> bool {
        matches!(self.state, State::Greeting { .. } | State::Ready)
    }

    fn on_frame(&mut self, now: Now, frame: &Frame, out: &mut Vec<Output>) -> Result<(), Down> {
        self.link.heard = self.link.heard.max(now.mono);
        self.link.pinged = None;
        let (command, payload) = match frame {
            Frame::Whole(command, payload) => (command, payload.as_slice()),
            Frame::Skipped => return Ok(()),
            Frame::TooLong(command) => {
                return match command.name() {
                    b"version" | b"headers" | b"addr" => {
                        Err(Down::Nonsense("a message is too long"))
                    }
                    _ => Ok(()),
                };
            }
        };
        match (command.name(), self.state) {
            (b"version", State::Greeting { .. }) => self.on_version(payload, out),
            (b"verack", State::Greeting { .. }) => {
                self.on_verack(now, out);
                Ok(())
            }
            (b"ping", _) => {
                // Since BIP 31 with a number, which is sent back.
                if payload.len() == 8 {
                    self.send("pong", payload, out);
                }
                Ok(())
            }
            (b"headers", State::Ready) => self.on_headers(now, payload, out),
            (b"inv", State::Ready) => self.on_inv(now, payload),
            (b"getdata", State::Ready) => self.on_getdata(now, payload, out),
            (b"getblocktxn", State::Ready) => self.on_getblocktxn(now, payload, out),
            (b"getheaders", State::Ready) => self.on_getheaders(payload, out),
            (b"addr", State::Ready) => self.on_addr(payload, out),
            _ => Ok(()),
        }
    }

    fn on_version(&mut self, payload: &[u8], out: &mut Vec<Output>) -> Result<(), Down> {
        if self.link.version.is_some() {
            return Ok(());
        }
        let short = Down::Nonsense("a version message that ends too early");
        let version = wire::read_version(payload).ok_or(short)?;
        if version.nonce == self.nonce {
            return Err(Down::Nonsense("it sends our own words back"));
        }
        if version.version < OLDEST {
            return Err(Down::Unfit("its protocol is older than 70012 (Bitcoin Core 0.12)"));
        }
        if version.services & SERVICES_BLOCKS == 0 {
            return Err(Down::Unfit("it keeps no blocks"));
        }
        if version.services & wire::SERVICE_WITNESS == 0 {
            return Err(Down::Unfit("it does not know segregated witnesses"));
        }
        self.link.version = Some(version);
        self.send("verack", &[], out);
        Ok(())
    }

    fn on_verack(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(version) = &self.link.version else { return };
        let ready = Event::Ready {
            agent: version.agent.clone(),
            version: version.version,
            services: version.services,
            took: now.mono.saturating_duration_since(self.link.since),
        };
        self.state = State::Ready;
        self.told.clear();
        // A block may be asked for in compact form (BIP 152, version 2), and is not sent unasked.
        self.send("sendcmpct", &[0, 2, 0, 0, 0, 0, 0, 0, 0], out);
        self.send("sendheaders", &[], out);
        out.push(Output::Event(ready));
        self.announce_all(now, out);
        self.on_ready(now);
        self.ask_for_addresses(now, out);
    }

    /// Sends a message. It joins what is sent just before it.
    pub(super) fn send(&self, command: &str, payload: &[u8], out: &mut Vec<Output>) {
        let head = wire::head(self.chain, command, payload);
        if let Some(Output::Send(last)) = out.last_mut() {
            last.extend_from_slice(&head);
            last.extend_from_slice(payload);
        } else {
            out.push(Output::Send([&head, payload].concat()));
        }
    }
}
