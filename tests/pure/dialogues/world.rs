//! The pool in virtual time with miners on wires, and a watch over everything that it says.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use soloist::chain::BlockHash;
use soloist::clock::Now;
use soloist::difficulty::{NBits, Target};
use soloist::ids::{ConnId, Extranonce1, NodeId};
use soloist::job::Work;
use soloist::pool::{Input, Pool};
use soloist::stratum::frame::Lines;
use soloist::stratum::outbox::{Outbox, Output};
use soloist::stratum::session::{Rules, SessionKey};
use soloist::stratum::v2::frame as v2;
use soloist::template::{Template, witness_commitment};

use super::watch::Watch;
use crate::common::miner_v2::{Frame, Heard, Message};

/// How hard it is to find a block.
#[derive(Clone, Copy, PartialEq)]
pub enum Chain {
    /// Regtest: every second hash.
    Easy,
    /// Mainnet of 2024: never in a test.
    Hard,
}

/// A pool with work, and its miners.
pub struct World {
    start: Instant,
    millis: u64,
    chain: Chain,
    tip: u8,
    pool: Pool,
    wires: BTreeMap<u64, Wire>,
    last_wire: u64,
    /// Blocks that were found, by height.
    pub blocks: Vec<u32>,
    /// Shares that counted, and those that did not.
    pub counted: usize,
    pub refused: usize,
}

struct Wire {
    open: bool,
    end: End,
}

/// What a miner has at its end: its protocol, and who watches that we keep to it.
enum End {
    V1 { lines: Lines, said: Vec<String>, watch: Watch },
    V2 { said: VecDeque<Frame>, heard: Heard, last: u64 },
}

/// A miner of Stratum V2 that mines hears a message at least this often.
const LONGEST_SILENCE_MS: u64 = 30_000;

impl World {
    pub fn new(chain: Chain) -> World {
        let rules = Rules {
            session_key: SessionKey([7; 32]),
            password: None,
            overrides: Vec::new(),
            payee_chains: vec![soloist::chain::Chain::Main],
        };
        let mut world = World {
            start: Instant::now(),
            millis: 0,
            chain,
            tip: 0,
            pool: Pool::new(rules, 0x3f00),
            wires: BTreeMap::new(),
            last_wire: 0,
            blocks: Vec::new(),
            counted: 0,
            refused: 0,
        };
        world.block();
        world
    }

    /// A miner connects; the number of its wire.
    pub fn connect(&mut self) -> u64 {
        let watch = Watch::new(self.millis);
        self.connect_with(End::V1 { lines: Lines::new(), said: Vec::new(), watch })
    }

    /// The same for one that speaks Stratum V2, after its handshake.
    pub fn connect_v2(&mut self) -> u64 {
        let (said, heard, last) = (VecDeque::new(), Heard::default(), self.millis);
        self.connect_with(End::V2 { said, heard, last })
    }

    fn connect_with(&mut self, end: End) -> u64 {
        self.last_wire += 1;
        let conn = self.last_wire;
        self.wires.insert(conn, Wire { open: true, end });
        let extranonce1 = Extranonce1((0xa1b2_0000 + conn as u32).to_be_bytes());
        let peer = Ipv4Addr::new(192, 168, 1, 20).into();
        self.input(Input::Connect { conn: ConnId(conn), peer, extranonce1 });
        conn
    }

    /// The miner's end of the wire is cut.
    pub fn cut(&mut self, conn: u64) {
        if let Some(wire) = self.wires.get_mut(&conn) {
            wire.open = false;
        }
        self.input(Input::Closed { conn: ConnId(conn) });
    }

    pub fn is_open(&self, conn: u64) -> bool {
        self.wires.get(&conn).is_some_and(|wire| wire.open)
    }

    /// Bytes from the miner, as they come off the wire.
    pub fn send(&mut self, conn: u64, mut chunk: &[u8]) {
        loop {
            let Some(wire) = self.wires.get_mut(&conn).filter(|wire| wire.open) else { return };
            let End::V1 { lines, watch, .. } = &mut wire.end else { panic!("it speaks V2") };
            let Ok(line) = lines.next(&mut chunk) else {
                wire.open = false;
                return self.input(Input::Closed { conn: ConnId(conn) });
            };
            let Some(line) = line else { return };
            watch.miner_says(line);
            let mut out = Outbox::new();
            let mono = self.start + Duration::from_millis(self.millis);
            let now = Now { mono, unix: 1_750_000_000 + self.millis / 1000 };
            self.pool.line(now, ConnId(conn), line, &mut out);
            self.deliver(out);
        }
    }

    /// What a miner was told since the last time, line by line.
    pub fn heard(&mut self, conn: u64) -> Vec<String> {
        match self.wires.get_mut(&conn).map(|wire| &mut wire.end) {
            Some(End::V1 { said, .. }) => std::mem::take(said),
            _ => Vec::new(),
        }
    }

    /// Messages from a miner of Stratum V2 that come in one piece.
    pub fn send_frames(&mut self, conn: u64, frames: &[Frame]) {
        if !self.is_open(conn) {
            return;
        }
        let mut out = Outbox::new();
        let mono = self.start + Duration::from_millis(self.millis);
        let now = Now { mono, unix: 1_750_000_000 + self.millis / 1000 };
        for Frame { extension, kind, payload } in frames {
            let (extension, kind) = (extension & 0x7fff, *kind);
            let frame = v2::Frame { extension, kind, payload };
            self.pool.frame(now, ConnId(conn), &frame, &mut out);
        }
        self.pool.answer(ConnId(conn), &mut out);
        self.deliver(out);
        // What is due at once, such as the first job of a channel.
        if self.pool.next_deadline().is_some_and(|at| at <= mono) {
            self.input(Input::Tick);
        }
    }

    /// The next message that a miner of Stratum V2 was told.
    pub fn next_frame(&mut self, conn: u64) -> Option<Frame> {
        match &mut self.wires.get_mut(&conn)?.end {
            End::V2 { said, .. } => said.pop_front(),
            End::V1 { .. } => None,
        }
    }

    /// All that it was told.
    pub fn heard_v2(&mut self, conn: u64) -> &mut Heard {
        match self.wires.get_mut(&conn).map(|wire| &mut wire.end) {
            Some(End::V2 { heard, .. }) => heard,
            _ => panic!("it does not speak V2"),
        }
    }

    /// Time passes, and whatever is due happens at its time.
    pub fn wait(&mut self, millis: u64) {
        let until = self.millis + millis;
        while let Some(due) = self.pool.next_deadline() {
            let nanos = due.saturating_duration_since(self.start).as_nanos();
            let due = u64::try_from(nanos.div_ceil(1_000_000)).unwrap_or(u64::MAX);
            if due > until {
                break;
            }
            self.millis = self.millis.max(due);
            self.input(Input::Tick);
        }
        self.millis = until;
        for wire in self.wires.values_mut().filter(|wire| wire.open) {
            match &wire.end {
                End::V1 { watch, .. } => watch.time_is(self.millis),
                End::V2 { heard, last, .. } => {
                    let waited = self.millis - last;
                    assert!(
                        !heard.mines() || waited <= LONGEST_SILENCE_MS,
                        "{waited} ms of silence"
                    );
                }
            }
        }
    }

    /// A new block of somebody else, and work on it.
    pub fn block(&mut self) {
        self.tip = self.tip.wrapping_add(1);
        let mut prev = [0; 32];
        prev[..8].copy_from_slice(&[0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, self.tip]);
        self.work(BlockHash(prev));
    }

    /// News for the miners.
    pub fn say(&mut self, text: &str) {
        self.input(Input::Say(text.to_owned()));
    }

    /// No node has had valid work for too long.
    pub fn drop_work(&mut self) {
        self.input(Input::NoWork);
    }

    fn work(&mut self, prev: BlockHash) {
        let nbits = match self.chain {
            Chain::Easy => NBits(0x207f_ffff),
            Chain::Hard => NBits(0x1703_255b),
        };
        let template = Template {
            height: 884_200 + u32::from(self.tip),
            version: 0x2000_0000,
            prev,
            nbits,
            target: Target::from_nbits(nbits).unwrap(),
            curtime: 1_750_000_000 + (self.millis / 1000) as u32,
            mintime: 1_749_996_400,
            value: 313_100_000,
            txs: Vec::new(),
            branch: vec![[0x5a; 32], [0xc3; 32]],
            witness_commitment: Some(witness_commitment(&[])),
            version_bits: Default::default(),
        };
        let payout = [&[0x00, 0x14][..], &[0x77; 20]].concat();
        let received = self.start + Duration::from_millis(self.millis);
        let work =
            Work::new(Arc::new(template), NodeId(0), received, false, &payout, "/Soloist/attic/");
        self.input(Input::Work(Box::new(work)));
    }

    fn input(&mut self, input: Input) {
        let mut out = Outbox::new();
        let mono = self.start + Duration::from_millis(self.millis);
        let now = Now { mono, unix: 1_750_000_000 + self.millis / 1000 };
        self.pool.handle(now, input, &mut out);
        self.deliver(out);
    }

    fn deliver(&mut self, mut out: Outbox) {
        let (mut closed, mut left) = (Vec::new(), Vec::new());
        for output in out.take() {
            match output {
                Output::Send { conn, bytes } => {
                    let Some(wire) = self.wires.get_mut(&conn.0).filter(|wire| wire.open) else {
                        continue;
                    };
                    let bytes = out.bytes(&bytes);
                    match &mut wire.end {
                        End::V1 { said, watch, .. } => {
                            let text = std::str::from_utf8(bytes).expect("we speak UTF-8");
                            for line in text.split_inclusive('\n') {
                                let line = line.strip_suffix('\n').expect("only whole lines");
                                watch.we_say(self.millis, line);
                                said.push(line.to_owned());
                            }
                        }
                        End::V2 { said, heard, last } => {
                            *last = self.millis;
                            for frame in frames(bytes) {
                                heard.hear(&Message::read(&frame).unwrap());
                                said.push_back(frame);
                            }
                        }
                    }
                }
                Output::Left { conn } => left.push(conn),
                Output::Close { conn, .. } => closed.push(conn),
                Output::Block(block) => self.blocks.push(block.height),
                Output::Share { .. } => self.counted += 1,
                Output::Rejected { .. } => self.refused += 1,
                Output::Authorized { .. } => {}
            }
        }
        for wire in self.wires.values() {
            match &wire.end {
                End::V1 { watch, .. } => watch.end_of_burst(),
                End::V2 { heard, .. } => heard.end_of_burst(),
            }
        }
        for conn in left {
            self.input(Input::Left { conn });
        }
        for conn in closed {
            if let Some(wire) = self.wires.get_mut(&conn.0) {
                wire.open = false;
            }
            self.input(Input::Closed { conn });
        }
    }
}

/// Whole messages, as they are below the encryption.
fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<6>() {
        let length = u32::from_le_bytes([header[3], header[4], header[5], 0]) as usize;
        let (payload, rest) = rest.split_at(length);
        let extension = u16::from_le_bytes([header[0], header[1]]);
        frames.push(Frame { extension, kind: header[2], payload: payload.to_vec() });
        bytes = rest;
    }
    assert!(bytes.is_empty(), "only whole messages are sent");
    frames
}
