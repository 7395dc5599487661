//! A node's side of a P2P connection by a script of bytes: messages with right heads and any payload,
//! headers with work, raw bytes, time, orders.

use std::sync::Arc;
use std::time::{Duration, Instant};

use soloist::block::SolvedBlock;
use soloist::chain::{BlockHash, Chain};
use soloist::clock::Now;
use soloist::hash::sha256d;
use soloist::p2p::{Down, Event, Input, Order, Output, Peer};

const COMMANDS: [&str; 18] = [
    "version",
    "verack",
    "ping",
    "pong",
    "headers",
    "inv",
    "getdata",
    "getheaders",
    "getblocktxn",
    "sendheaders",
    "sendcmpct",
    "addr",
    "tx",
    "block",
    "cmpctblock",
    "notfound",
    "feefilter",
    "",
];
const MAGIC: [u8; 4] = [0xfa, 0xbf, 0xb5, 0xda];
/// More than the longest message that is read, in the room that a growing buffer takes.
const MEMORY_MAX: usize = 450_000;

/// Runs the script twice, with other pieces of the stream: nothing may differ. Whether the handshake was
/// done.
pub fn peer(data: &[u8]) -> bool {
    let whole = run(data, usize::MAX);
    let pieces = run(data, 1 + data.len() % 7);
    assert_eq!(whole.told, pieces.told);
    assert!(whole.sent == pieces.sent, "the pieces of the stream matter");
    whole.told.iter().any(|(_, event)| matches!(event, Event::Ready { .. }))
}

struct Run {
    peer: Peer,
    start: Instant,
    now: Now,
    piece: usize,
    /// Connections so far, and whether the last one stands.
    connections: usize,
    is_open: bool,
    sent: Vec<u8>,
    told: Vec<(Duration, Event)>,
    /// Headers that the node has, by the order of their making.
    headers: Vec<[u8; 80]>,
    offers: Vec<BlockHash>,
}

fn run(mut data: &[u8], piece: usize) -> Run {
    let start = Instant::now() + Duration::from_secs(1 << 20);
    let now = Now { mono: start, unix: 1_800_000_000 };
    let mut run = Run {
        peer: Peer::new(now, Chain::Regtest, 7),
        start,
        now,
        piece,
        connections: 0,
        is_open: false,
        sent: Vec::new(),
        told: Vec::new(),
        headers: Vec::new(),
        offers: Vec::new(),
    };
    for _ in 0..200 {
        let Some(kind) = byte(&mut data) else { break };
        let n = byte(&mut data).unwrap_or(0);
        run.step(kind % 17, n, &mut data);
    }
    run
}

fn byte(data: &mut &[u8]) -> Option<u8> {
    let (first, rest) = data.split_first()?;
    *data = rest;
    Some(*first)
}

fn bytes<'a>(data: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (part, rest) = data.split_at(n.min(data.len()));
    *data = rest;
    part
}

fn frame(command: &str, payload: &[u8]) -> Vec<u8> {
    let mut name = command.as_bytes().to_vec();
    name.resize(12, 0);
    let length = (payload.len() as u32).to_le_bytes();
    [&MAGIC, &name[..], &length, &sha256d(payload)[..4], payload].concat()
}

impl Run {
    fn step(&mut self, kind: u8, n: u8, data: &mut &[u8]) {
        match kind {
            0 => self.say(bytes(data, n.into())),
            1 | 2 => {
                let command = COMMANDS[usize::from(n) % COMMANDS.len()];
                let length = usize::from(byte(data).unwrap_or(0)) * usize::from(kind);
                let payload = bytes(data, length);
                self.say(&frame(command, payload));
            }
            // A payload that ends with a block of ours.
            3 => {
                let command = ["getdata", "inv", "getblocktxn", "getheaders"][usize::from(n) % 4];
                let offer = self.offers.get(usize::from(n / 4) % 5).copied();
                let hash = offer.unwrap_or(BlockHash([n; 32]));
                let kind = [2_u32, 4, 0x4000_0002, 1][usize::from(n / 20) % 4].to_le_bytes();
                let payload = match command {
                    "getblocktxn" => [&hash.0[..], &[n % 3, 0, n % 2]].concat(),
                    "getheaders" => [&kind[..], &[1], &hash.0, &[0; 32]].concat(),
                    _ => [&[1], &kind[..], &hash.0].concat(),
                };
                self.say(&frame(command, &payload));
            }
            4 => self.wait(Duration::from_millis(u64::from(n) * 41)),
            5 => self.wait(Duration::from_secs(n.into())),
            // New headers, on the tip or on one below it.
            6 | 7 => {
                let back = if kind == 6 { 0 } else { usize::from(n / 16) };
                let parent = self.headers.len().checked_sub(1 + back).map(|i| self.headers[i]);
                let mut prev = parent.map_or(BlockHash([9; 32]), |parent| hash(&parent));
                for _ in 0..n % 16 {
                    let header = mine(prev, n);
                    prev = hash(&header);
                    self.headers.push(header);
                }
                self.say_headers(usize::from(n % 16));
            }
            8 => self.say_headers(n.into()),
            9 => {
                let version = [
                    &70016_u32.to_le_bytes()[..],
                    &[0x09, 4, 0, 0, 0, 0, 0, 0],
                    &[n; 68],
                    &[1, b'x', 0, 0, 0, 0],
                ]
                .concat();
                self.say(&frame("version", &version));
                self.say(&frame("verack", &[]));
            }
            10 => {
                let header = self.headers.iter().rev().nth(n.into());
                let hash = header.map_or(BlockHash([n; 32]), hash);
                let height = 1000 + self.headers.len() as u32;
                self.input(Input::Order(Order::Tip { hash, height }));
            }
            11 | 12 => {
                let prev = self.headers.last().map_or(BlockHash([9; 32]), hash);
                let header = mine(prev, n);
                let mut block = header.to_vec();
                block.push(n % 4);
                block.extend([[0; 60]; 3].concat().iter().take(60 * usize::from(n % 4)));
                let hash = hash(&header);
                if kind == 12 {
                    self.headers.push(header);
                }
                self.offers.insert(0, hash);
                let block = SolvedBlock {
                    hash,
                    height: 1,
                    unix: 0,
                    reward: 0,
                    worker: String::new(),
                    from_partner: false,
                    bytes: block,
                };
                self.input(Input::Order(Order::Offer(Arc::new(block))));
            }
            13 => {
                if let Some(hash) = self.offers.get(usize::from(n) % 5) {
                    self.input(Input::Order(Order::Withdraw(*hash)));
                }
            }
            14 => {
                let why = if n == 0 { Down::Refused } else { Down::HungUp };
                self.is_open = false;
                self.input(Input::Closed(why));
            }
            16 => self.input(Input::Order(Order::Addresses)),
            // Much of one kind.
            _ => {
                let many = frame(COMMANDS[usize::from(n) % 18], &vec![n; usize::from(n) * 800]);
                self.say(&many);
            }
        }
    }

    /// The last `n` headers.
    fn say_headers(&mut self, n: usize) {
        let list = &self.headers[self.headers.len().saturating_sub(n)..];
        let mut payload = vec![list.len() as u8];
        for header in &list[..list.len().min(0xfc)] {
            payload.extend(header);
            payload.push(0);
        }
        self.say(&frame("headers", &payload));
    }

    fn say(&mut self, bytes: &[u8]) {
        let connection = self.connections;
        // Long messages in larger pieces, for speed.
        let piece = self.piece.max(bytes.len() / 200 + 1);
        for piece in bytes.chunks(piece) {
            if self.is_open && self.connections == connection {
                self.input(Input::Bytes(piece));
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some(due) = self.peer.next_deadline().filter(|due| *due <= end) {
            self.now.mono = due.max(self.now.mono);
            self.input(Input::Tick);
        }
        self.now.mono = end;
    }

    fn input(&mut self, input: Input<'_>) {
        let mut out = Vec::new();
        self.peer.handle(self.now, input, &mut out);
        assert!(self.peer.next_deadline().is_none_or(|due| due > self.now.mono));
        let memory = self.peer.memory();
        assert!(memory < MEMORY_MAX, "{memory} bytes");
        let mut connects = false;
        for output in out {
            match output {
                Output::Connect => connects = true,
                Output::Send(bytes) => self.sent.extend(bytes),
                Output::SendBlock(block) => self.sent.extend(&block.bytes),
                Output::Close => {
                    self.is_open = false;
                    self.sent.extend(b"closed");
                }
                Output::Event(event) => self.told.push((self.now.mono - self.start, event)),
            }
        }
        if connects {
            self.is_open = true;
            self.connections += 1;
            self.input(Input::Connected);
        }
    }
}

fn hash(header: &[u8; 80]) -> BlockHash {
    BlockHash(sha256d(header))
}

fn mine(prev: BlockHash, salt: u8) -> [u8; 80] {
    let mut header = [salt; 80];
    header[4..36].copy_from_slice(&prev.0);
    header[72..76].copy_from_slice(&0x207f_ffff_u32.to_le_bytes());
    while sha256d(&header)[31] >= 0x7f {
        header[76] = header[76].wrapping_add(1);
    }
    header
}
