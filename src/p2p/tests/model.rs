//! A node in memory for the tests, as Core or as bcoin speaks; and a world of one such node, one peer
//! and virtual time. It reads and writes the wire with code of its own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::absolute::LockTime;
use bitcoin::consensus::serialize;
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, transaction,
};

use crate::block::{self, SolvedBlock};
use crate::chain::{BlockHash, Chain};
use crate::clock::Now;
use crate::hash::sha256d;
use crate::p2p::{Down, Event, Input, Order, Output, Peer};
use crate::peer_address::{ListedPeer, PeerHost};
use crate::template::Tx;

pub(in crate::p2p) const NONCE: u64 = 0x1122_3344_5566_7788;
pub(in crate::p2p) const UNIX: u64 = 1_800_000_000;
pub(in crate::p2p) const BITS: u32 = 0x207f_ffff;
const NOBODY: BlockHash = BlockHash([0; 32]);

/// A header of regtest with its work done.
pub(in crate::p2p) fn mine(prev: BlockHash, root: [u8; 32], time: u32, bits: u32) -> [u8; 80] {
    let mut header = [0; 80];
    header[..4].copy_from_slice(&0x2000_0000_u32.to_le_bytes());
    header[4..36].copy_from_slice(&prev.0);
    header[36..68].copy_from_slice(&root);
    header[68..72].copy_from_slice(&time.to_le_bytes());
    header[72..76].copy_from_slice(&bits.to_le_bytes());
    for nonce in 0_u32.. {
        header[76..].copy_from_slice(&nonce.to_le_bytes());
        if sha256d(&header)[31] < 0x7f {
            break;
        }
    }
    header
}

pub(in crate::p2p) fn hash(header: &[u8; 80]) -> BlockHash {
    BlockHash(sha256d(header))
}

pub(in crate::p2p) fn prev(header: &[u8]) -> BlockHash {
    BlockHash(header[4..36].try_into().unwrap())
}

/// A message.
pub(in crate::p2p) fn frame(magic: [u8; 4], command: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = magic.to_vec();
    let mut name = command.as_bytes().to_vec();
    name.resize(12, 0);
    out.extend(name);
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(&sha256d(payload)[..4]);
    out.extend(payload);
    out
}

pub(in crate::p2p) const REGTEST: [u8; 4] = [0xfa, 0xbf, 0xb5, 0xda];

/// A message of regtest.
pub(in crate::p2p) fn message(command: &str, payload: &[u8]) -> Vec<u8> {
    frame(REGTEST, command, payload)
}

pub(in crate::p2p) fn count(n: usize) -> Vec<u8> {
    serialize(&bitcoin::VarInt(n as u64))
}

pub(in crate::p2p) fn headers_payload(list: &[[u8; 80]]) -> Vec<u8> {
    let mut out = count(list.len());
    for header in list {
        out.extend(header);
        out.push(0);
    }
    out
}

pub(in crate::p2p) fn entries_payload(list: &[(u32, BlockHash)]) -> Vec<u8> {
    let mut out = count(list.len());
    for (kind, hash) in list {
        out.extend(kind.to_le_bytes());
        out.extend(hash.0);
    }
    out
}

pub(in crate::p2p) fn getheaders_payload(locator: &[BlockHash], stop: BlockHash) -> Vec<u8> {
    let mut out = 70016_u32.to_le_bytes().to_vec();
    out.extend(count(locator.len()));
    locator.iter().for_each(|hash| out.extend(hash.0));
    out.extend(stop.0);
    out
}

/// An `addr`. Only IP addresses have a place in it.
pub(in crate::p2p) fn addr_payload(list: &[ListedPeer]) -> Vec<u8> {
    let mut out = count(list.len());
    for ListedPeer { address, services, seen } in list {
        out.extend((*seen as u32).to_le_bytes());
        out.extend(services.to_le_bytes());
        out.extend(match address.host {
            PeerHost::Ip(IpAddr::V4(ip)) => ip.to_ipv6_mapped().octets(),
            PeerHost::Ip(IpAddr::V6(ip)) => ip.octets(),
            _ => panic!("{address}"),
        });
        out.extend(address.port.to_be_bytes());
    }
    out
}

pub(in crate::p2p) fn version_payload(
    version: u32,
    services: u64,
    nonce: u64,
    agent: &str,
) -> Vec<u8> {
    let mut out = version.to_le_bytes().to_vec();
    out.extend(services.to_le_bytes());
    out.extend(UNIX.to_le_bytes());
    out.extend([0; 52]);
    out.extend(nonce.to_le_bytes());
    out.extend(count(agent.len()));
    out.extend(agent.as_bytes());
    out.extend(7_u32.to_le_bytes());
    out.push(1);
    out
}

/// Cuts a stream that must be right into commands and payloads.
#[derive(Default)]
pub(in crate::p2p) struct Cutter(Vec<u8>);

impl Cutter {
    pub(in crate::p2p) fn cut(&mut self, bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        self.0.extend(bytes);
        let mut list = Vec::new();
        while self.0.len() >= 24 {
            let length = u32::from_le_bytes(self.0[16..20].try_into().unwrap()) as usize;
            if self.0.len() < 24 + length {
                break;
            }
            let message: Vec<u8> = self.0.drain(..24 + length).collect();
            assert_eq!(message[..4], REGTEST);
            assert_eq!(message[20..24], sha256d(&message[24..])[..4]);
            let name = message[4..16].iter().take_while(|byte| **byte != 0).copied().collect();
            list.push((String::from_utf8(name).unwrap(), message[24..].to_vec()));
        }
        list
    }
}

/// A block of regtest: a coinbase and `txs` transactions with witness, some bytes each.
pub(in crate::p2p) fn solve(prev: BlockHash, height: u32, txs: usize) -> Arc<SolvedBlock> {
    let transaction = |seed: usize| {
        let spent =
            OutPoint { txid: bitcoin::hashes::Hash::hash(&[seed as u8]), vout: seed as u32 };
        let output =
            TxOut { value: Amount::from_sat(7), script_pubkey: ScriptBuf::from(vec![0x51; 300]) };
        Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: spent,
                script_sig: ScriptBuf::from(vec![1; seed % 7]),
                sequence: Sequence::MAX,
                witness: Witness::from_slice(&[vec![seed as u8; seed % 80], vec![2; 3]]),
            }],
            output: vec![output; 1 + seed % 3],
        }
    };
    let coinbase = serialize(&transaction(1000 + height as usize));
    let txs: Vec<Arc<Tx>> = (0..txs)
        .map(|i| {
            // Every third is without witness.
            let mut tx = transaction(i);
            if i % 3 == 0 {
                tx.input[0].witness.clear();
            }
            let id = crate::chain::Txid([0; 32]);
            Arc::new(Tx { txid: id, wtxid: id, bytes: serialize(&tx).into(), fee: 0 })
        })
        .collect();
    let header = mine(prev, sha256d(&coinbase), UNIX as u32 + height, BITS);
    let bytes = block::assemble(&header, &coinbase, &txs);
    let worker = "garage".to_owned();
    Arc::new(SolvedBlock {
        hash: hash(&header),
        height,
        unix: UNIX,
        reward: 0,
        worker,
        from_partner: false,
        bytes,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::p2p) enum Kind {
    Core,
    Bcoin,
}

/// The node.
pub(in crate::p2p) struct Node {
    pub(in crate::p2p) kind: Kind,
    /// All headers that it has with their blocks.
    pub(in crate::p2p) known: HashMap<BlockHash, [u8; 80]>,
    /// Its best chain, by height.
    pub(in crate::p2p) active: Vec<BlockHash>,
    /// It takes blocks from the peer.
    pub(in crate::p2p) takes: bool,
    /// It asks for compact blocks, and has their transactions.
    pub(in crate::p2p) has_mempool: bool,
    /// It asks for whole blocks although it could have compact ones.
    pub(in crate::p2p) wants_whole: bool,
    /// What it tells those who ask for addresses.
    pub(in crate::p2p) addresses: Vec<ListedPeer>,
    has_told_addresses: bool,
    cutter: Cutter,
    is_compact: bool,
    sends_headers: bool,
    /// The last header that it believes the peer to have.
    peer_has: Option<BlockHash>,
    /// Blocks whose transactions it waits for.
    partial: HashMap<BlockHash, [u8; 80]>,
}

impl Node {
    pub(in crate::p2p) fn new(kind: Kind, height: u32) -> Node {
        let mut node = Node {
            kind,
            known: HashMap::new(),
            active: vec![Chain::Regtest.genesis()],
            takes: true,
            has_mempool: false,
            wants_whole: false,
            addresses: Vec::new(),
            has_told_addresses: false,
            cutter: Cutter::default(),
            is_compact: false,
            sends_headers: false,
            peer_has: None,
            partial: HashMap::new(),
        };
        let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
        let genesis: [u8; 80] = serialize(&genesis.header).try_into().unwrap();
        node.known.insert(hash(&genesis), genesis);
        for _ in 0..height {
            node.grow(0);
        }
        node
    }

    pub(in crate::p2p) fn tip(&self) -> BlockHash {
        *self.active.last().unwrap()
    }

    pub(in crate::p2p) fn height(&self) -> u32 {
        self.active.len() as u32 - 1
    }

    /// A block more, without a word. `salt` makes different ones.
    pub(in crate::p2p) fn grow(&mut self, salt: u8) -> BlockHash {
        let header = mine(self.tip(), [salt; 32], UNIX as u32 + 60 * self.height(), BITS);
        self.known.insert(hash(&header), header);
        self.active.push(hash(&header));
        hash(&header)
    }

    /// Steps back.
    pub(in crate::p2p) fn rewind(&mut self, blocks: usize) {
        self.active.truncate(self.active.len() - blocks);
    }

    /// A new connection, of the same node.
    fn restart(&mut self) {
        self.cutter = Cutter::default();
        self.is_compact = false;
        self.sends_headers = false;
        self.peer_has = None;
        self.partial.clear();
        self.has_told_addresses = false;
    }

    fn place(&self, hash: &BlockHash) -> Option<usize> {
        self.active.iter().position(|active| active == hash)
    }

    /// What it says of its new tip.
    pub(in crate::p2p) fn announce(&mut self) -> Vec<u8> {
        let mut known = self.peer_has;
        // The last common one.
        while let Some(hash) = known
            && self.place(&hash).is_none()
        {
            known = self.known.get(&hash).map(|header| prev(header));
        }
        let from = known.and_then(|hash| self.place(&hash)).map(|place| place + 1);
        match from {
            Some(from) if from == self.active.len() => Vec::new(),
            Some(from) if self.sends_headers && self.active.len() - from <= 8 => {
                let list: Vec<_> =
                    self.active[from..].iter().map(|hash| self.known[hash]).collect();
                self.peer_has = Some(self.tip());
                message("headers", &headers_payload(&list))
            }
            _ => message("inv", &entries_payload(&[(2, self.tip())])),
        }
    }

    pub(in crate::p2p) fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (command, payload) in self.cutter.cut(bytes) {
            out.extend(self.answer(&command, &payload));
        }
        out
    }

    fn answer(&mut self, command: &str, payload: &[u8]) -> Vec<u8> {
        let is_core = self.kind == Kind::Core;
        let mut out = Vec::new();
        match command {
            "version" => {
                let agent = if is_core { "/Satoshi:31.99.0/" } else { "/bcoin:1.0.2/" };
                out.extend(message("version", &version_payload(70016, 0xc09, 77, agent)));
                if is_core {
                    out.extend(message("wtxidrelay", &[]));
                    out.extend(message("sendaddrv2", &[]));
                }
                out.extend(message("verack", &[]));
            }
            "verack" if is_core => {
                out.extend(message("sendcmpct", &[0, 2, 0, 0, 0, 0, 0, 0, 0]));
                out.extend(message("ping", &[9; 8]));
                out.extend(message("getheaders", &getheaders_payload(&[self.tip()], NOBODY)));
                out.extend(message("feefilter", &[0; 8]));
            }
            "verack" => out.extend(message("getaddr", &[])),
            "sendcmpct" => self.is_compact = true,
            "sendheaders" => self.sends_headers = true,
            "ping" => out.extend(message("pong", payload)),
            // Neither node answers a second time.
            "getaddr" if !self.has_told_addresses => {
                self.has_told_addresses = true;
                out.extend(message("addr", &addr_payload(&self.addresses)));
            }
            "getheaders" => out.extend(self.on_getheaders(payload)),
            "headers" if is_core && self.takes && payload[0] > 0 => {
                let header: [u8; 80] = payload[1..81].try_into().unwrap();
                let kind = if self.is_compact && !self.wants_whole { 4 } else { 0x4000_0002 };
                let is_new = !self.known.contains_key(&hash(&header));
                if is_new && self.known.contains_key(&prev(&header)) {
                    self.peer_has = Some(hash(&header));
                    out.extend(message("getdata", &entries_payload(&[(kind, hash(&header))])));
                }
            }
            "inv" if !is_core && self.takes => {
                let block = BlockHash(payload[5..37].try_into().unwrap());
                if !self.known.contains_key(&block) {
                    out.extend(message("getdata", &entries_payload(&[(0x4000_0002, block)])));
                }
            }
            "block" => out.extend(self.connect(payload[..80].try_into().unwrap())),
            "cmpctblock" if self.has_mempool => {
                out.extend(self.connect(payload[..80].try_into().unwrap()));
            }
            "cmpctblock" => {
                let header: [u8; 80] = payload[..80].try_into().unwrap();
                self.partial.insert(hash(&header), header);
                let others = usize::from(payload[88]);
                let mut request = hash(&header).0.to_vec();
                request.extend(count(others));
                request.extend((0..others).map(|i| u8::from(i == 0)));
                out.extend(message("getblocktxn", &request));
            }
            "blocktxn" => {
                let block = BlockHash(payload[..32].try_into().unwrap());
                if let Some(header) = self.partial.remove(&block) {
                    out.extend(self.connect(header));
                }
            }
            _ => {}
        }
        out
    }

    fn connect(&mut self, header: [u8; 80]) -> Vec<u8> {
        self.known.insert(hash(&header), header);
        if prev(&header) == self.tip() {
            self.active.push(hash(&header));
        }
        Vec::new()
    }

    fn on_getheaders(&mut self, payload: &[u8]) -> Vec<u8> {
        let n = usize::from(payload[4]);
        let hashes: Vec<BlockHash> =
            payload[5..].chunks(32).map(|hash| BlockHash(hash.try_into().unwrap())).collect();
        let (locator, stop) = (&hashes[..n], hashes[n]);
        if n == 0 {
            let Some(header) = self.known.get(&stop).copied() else { return Vec::new() };
            self.peer_has = Some(stop);
            return message("headers", &headers_payload(&[header]));
        }
        let from = locator.iter().find_map(|hash| self.place(hash)).unwrap_or(0) + 1;
        let list: Vec<_> =
            self.active[from..].iter().take(2000).map(|hash| self.known[hash]).collect();
        if list.is_empty() && self.kind == Kind::Bcoin {
            return Vec::new();
        }
        self.peer_has = Some(list.last().map_or(self.tip(), hash));
        message("headers", &headers_payload(&list))
    }
}

/// A peer, its node, and time.
pub(in crate::p2p) struct World {
    pub(in crate::p2p) start: Instant,
    pub(in crate::p2p) now: Now,
    pub(in crate::p2p) peer: Peer,
    pub(in crate::p2p) node: Node,
    /// Something listens there.
    pub(in crate::p2p) listens: bool,
    /// It says nothing.
    pub(in crate::p2p) is_mute: bool,
    pub(in crate::p2p) is_open: bool,
    /// How many bytes the peer gets at once.
    pub(in crate::p2p) piece: usize,
    /// When connections were tried.
    pub(in crate::p2p) tries: Vec<Duration>,
    pub(in crate::p2p) events: Vec<(Duration, Event)>,
    cutter: Cutter,
    /// What the peer sent.
    pub(in crate::p2p) sent: Vec<(Duration, String, Vec<u8>)>,
}

impl World {
    pub(in crate::p2p) fn new(node: Node) -> World {
        let start = super::start();
        let now = Now { mono: start, unix: UNIX };
        World {
            start,
            now,
            peer: Peer::new(now, Chain::Regtest, NONCE),
            node,
            listens: true,
            is_mute: false,
            is_open: false,
            piece: usize::MAX,
            tries: Vec::new(),
            events: Vec::new(),
            cutter: Cutter::default(),
            sent: Vec::new(),
        }
    }

    pub(in crate::p2p) fn age(&self) -> Duration {
        self.now.mono - self.start
    }

    pub(in crate::p2p) fn input(&mut self, input: Input<'_>) {
        let bytes = self.hand_in(input);
        self.answer(&bytes);
    }

    /// What the peer sends then.
    fn hand_in(&mut self, input: Input<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        self.peer.handle(self.now, input, &mut out);
        let due = self.peer.next_deadline();
        assert!(due.is_none_or(|due| due > self.now.mono), "a deadline is not handled");
        self.run(out)
    }

    fn run(&mut self, out: Vec<Output>) -> Vec<u8> {
        let age = self.age();
        let (mut bytes, mut later) = (Vec::new(), Vec::new());
        for output in out {
            match output {
                Output::Connect => {
                    assert!(!self.is_open);
                    self.tries.push(age);
                    if self.listens {
                        self.is_open = true;
                        self.node.restart();
                        self.cutter = Cutter::default();
                        later.extend(self.hand_in(Input::Connected));
                    } else {
                        later.extend(self.hand_in(Input::Closed(Down::Refused)));
                    }
                }
                Output::Send(sent) => bytes.extend(sent),
                Output::SendBlock(block) => bytes.extend(&block.bytes),
                Output::Close => self.is_open = false,
                Output::Event(event) => self.events.push((age, event)),
            }
        }
        let sent = self.cutter.cut(&bytes);
        self.sent.extend(sent.into_iter().map(|(command, payload)| (age, command, payload)));
        bytes.extend(later);
        bytes
    }

    /// The node hears what the peer sent.
    fn answer(&mut self, bytes: &[u8]) {
        if self.is_open && !self.is_mute && !bytes.is_empty() {
            let answer = self.node.hear(bytes);
            self.say(&answer);
        }
    }

    /// The connection ends.
    pub(in crate::p2p) fn cut(&mut self, why: Down) {
        if self.is_open {
            self.is_open = false;
            self.input(Input::Closed(why));
        }
    }

    /// The node says something.
    pub(in crate::p2p) fn say(&mut self, bytes: &[u8]) {
        // The answers come when all is said.
        let mut answers = Vec::new();
        for piece in bytes.chunks(self.piece.min(bytes.len().max(1))) {
            if self.is_open {
                answers.extend(self.hand_in(Input::Bytes(piece)));
            }
        }
        self.answer(&answers);
    }

    pub(in crate::p2p) fn order(&mut self, order: Order) {
        self.input(Input::Order(order));
    }

    /// The owner knows the node's tip.
    pub(in crate::p2p) fn tell_tip(&mut self) {
        let (hash, height) = (self.node.tip(), self.node.height());
        self.order(Order::Tip { hash, height });
    }

    /// The node has a new tip and says so.
    pub(in crate::p2p) fn announce(&mut self) {
        let bytes = self.node.announce();
        self.say(&bytes);
    }

    /// Time passes.
    pub(in crate::p2p) fn wait(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some(due) = self.peer.next_deadline().filter(|due| *due <= end) {
            self.go_to(due.max(self.now.mono));
            self.input(Input::Tick);
        }
        self.go_to(end);
    }

    fn go_to(&mut self, at: Instant) {
        let unix = UNIX + (at - self.start).as_secs();
        self.now = Now { mono: at, unix };
    }

    /// What happened since it was asked last.
    pub(in crate::p2p) fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events).into_iter().map(|(_, event)| event).collect()
    }

    /// The commands sent since it was asked last.
    pub(in crate::p2p) fn commands(&mut self) -> Vec<String> {
        std::mem::take(&mut self.sent).into_iter().map(|(_, command, _)| command).collect()
    }
}
