//! What a share and a job cost in the pool, without sockets: `cargo bench --bench paths`.
//!
//! `tests/paths` counts its instructions and compares them with a recorded baseline. The shares were
//! found beforehand (`cargo bench --bench paths -- grind` finds them again, after a change of what a
//! job looks like).
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use soloist::chain::BlockHash;
use soloist::clock::Now;
use soloist::coinbase::EXTRANONCE_SIZE;
use soloist::difficulty::{Difficulty, NBits, Target};
use soloist::hash::{Backend, Midstate};
use soloist::ids::{ConnId, Extranonce1, NodeId};
use soloist::job::{Lookup, Work};
use soloist::pool::{Input, Pool};
use soloist::share::{RolledVersion, Share, Submission};
use soloist::stratum::outbox::{Outbox, Output};
use soloist::stratum::session::{Rules, SessionKey};
use soloist::stratum::v2::frame::{self, Frame, Opener};
use soloist::stratum::v2::message::kind;
use soloist::stratum::v2::noise::{Identity, Initiator};
use soloist::template::{Template, witness_commitment};

/// Nonces of shares at the least difficulty that is given out, for a job without transactions, for one
/// with a branch of twelve, and for the latter on a standard channel, which has no extranonce.
const NONCES: [[u32; 24]; 3] = include!("paths.nonces");

/// What a miner of the bench speaks.
#[derive(Clone, Copy, PartialEq)]
enum Speaks {
    V1,
    Extended,
    Standard,
}

fn main() {
    // Cargo adds that it is a bench.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let what = arguments.next().unwrap_or_default();
    let count = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    match what.as_str() {
        "grind" => {
            let cases = [(0, Speaks::V1), (12, Speaks::V1), (12, Speaks::Standard)];
            println!("{:?}", cases.map(|(steps, speaks)| Bench::new(steps, 1, speaks).grind()));
        }
        // For counting instructions: `count` rounds, with their shares or without.
        "shares" | "prepare" => {
            let speaks = match arguments.next().as_deref() {
                Some("extended") => Speaks::Extended,
                Some("standard") => Speaks::Standard,
                _ => Speaks::V1,
            };
            let mut bench = Bench::new(12, 1, speaks);
            for _ in 0..count {
                bench.start_anew();
                if what == "shares" {
                    bench.shares();
                }
            }
        }
        "notify" => {
            let mut bench = Bench::new(12, 200, Speaks::V1);
            (0..count).for_each(|tip| {
                bench.notify(tip as u8);
            });
        }
        _ => report(),
    }
}

fn report() {
    let backend = Backend::active();
    for (name, steps, speaks) in [
        ("empty branch", 0, Speaks::V1),
        ("branch of 12", 12, Speaks::V1),
        ("branch of 12, V2, extended channel", 12, Speaks::Extended),
        ("branch of 12, V2, standard channel", 12, Speaks::Standard),
    ] {
        let rounds = 400;
        let mut bench = Bench::new(steps, 1, speaks);
        let round = |_| {
            bench.start_anew();
            bench.shares()
        };
        let took: Duration = (0..rounds).map(round).sum();
        let each = took.as_secs_f64() / (rounds * NONCES[0].len()) as f64;
        let compressions = bench.compressions();
        let bare = bare(backend, compressions);
        println!(
            "accepted share, {name}: {:.0} ns, {:.2} times its {compressions} compressions ({:.0} ns)",
            each * 1e9,
            each / bare,
            bare * 1e9
        );
    }
    for (name, speaks) in
        [("V1", Speaks::V1), ("V2 extended", Speaks::Extended), ("V2 standard", Speaks::Standard)]
    {
        let mut bench = Bench::new(12, 1000, speaks);
        let took: Duration = (0..200).map(|tip| bench.notify(tip)).sum();
        let us = took.as_secs_f64() / 2e-4;
        println!("new tip, 1000 miners of {name}: {us:.0} us until all is written out");
    }
    encryption();
}

/// What Stratum V2 costs beside the pool: the box's part of a handshake, and a share's frame.
fn encryption() {
    let identity = Identity::new(&[1; 32], &[2; 32]).unwrap();
    let miner = Initiator::new(&[3; 32]).unwrap();
    let (act_1, rounds) = (miner.act_1(), 2000);
    let started = Instant::now();
    (0..rounds).for_each(|_| drop(black_box(identity.respond(&act_1, &[4; 32]))));
    let each = started.elapsed().as_secs_f64() / f64::from(rounds);
    println!("handshake of Stratum V2, the box's part: {:.0} us", each * 1e6);
    let (act_2, mut ours) = identity.respond(&act_1, &[4; 32]).unwrap();
    let mut theirs = miner.finish(&act_2, None).unwrap();
    let frames: Vec<u8> = [&[0, 0x80, 0x1a, 24, 0, 0][..], &[7; 24]].concat();
    let (mut sealed, mut opener, mut plain) = (Vec::new(), Opener::default(), Vec::new());
    let [mut sealing, mut opening] = [Duration::ZERO; 2];
    for _ in 0..100 * rounds {
        sealed.clear();
        plain.clear();
        let started = Instant::now();
        frame::seal(&mut theirs, &frames, &mut sealed);
        sealing += started.elapsed();
        let started = Instant::now();
        opener.take(&mut ours, &sealed, &mut plain).unwrap();
        opening += started.elapsed();
    }
    let each = |time: Duration| time.as_secs_f64() * 1e9 / f64::from(100 * rounds);
    println!("a share's frame: {:.0} ns to seal, {:.0} to open", each(sealing), each(opening));
}

/// A pool with miners that are through their introduction.
struct Bench {
    pool: Pool,
    out: Outbox,
    now: Now,
    job: String,
    ntime: u32,
    steps: usize,
    nonces: &'static [u32],
    speaks: Speaks,
}

impl Bench {
    fn new(steps: usize, miners: u64, speaks: Speaks) -> Bench {
        let rules = Rules {
            session_key: SessionKey([1; 32]),
            password: None,
            overrides: Vec::new(),
            payee_chains: Vec::new(),
        };
        let mut bench = Bench {
            pool: Pool::new(rules, 0x100),
            out: Outbox::new(),
            now: Now { mono: Instant::now(), unix: 1_700_000_000 },
            job: String::new(),
            ntime: 0,
            steps,
            nonces: match speaks {
                Speaks::Standard => &NONCES[2],
                Speaks::V1 | Speaks::Extended => &NONCES[usize::from(steps > 0)],
            },
            speaks,
        };
        bench.handle(Input::Work(Box::new(work(1, steps, bench.now.mono))));
        for n in 0..miners {
            let (conn, peer) = (ConnId(n), Ipv4Addr::LOCALHOST.into());
            let extranonce1 = Extranonce1((9 + n as u32).to_be_bytes());
            bench.handle(Input::Connect { conn, peer, extranonce1 });
            bench.introduce(conn);
        }
        bench.now.mono += Duration::from_secs(1);
        bench.handle(Input::Tick);
        let first = bench.pool.jobs().latest().unwrap();
        (bench.job, bench.ntime) = (first.id.to_string(), first.ntime);
        bench
    }

    fn introduce(&mut self, conn: ConnId) {
        if self.speaks == Speaks::V1 {
            self.line(conn, r#"{"id":1,"method":"mining.subscribe","params":["x"]}"#);
            self.line(conn, r#"{"id":2,"method":"mining.authorize","params":["w","d=0.0001"]}"#);
            return;
        }
        let setup = [&[0, 2, 0, 2, 0, 0, 0, 0, 0][..], &[0, 0, 0, 1, b'x', 0, 0, 0]].concat();
        self.frame(conn, kind::SETUP_CONNECTION, &setup);
        let mut open = vec![1, 0, 0, 0, 10];
        open.extend_from_slice(b"w,d=0.0001");
        open.extend_from_slice(&1e12f32.to_le_bytes());
        open.extend_from_slice(&[0xff; 32]);
        if self.speaks == Speaks::Standard {
            return self.frame(conn, kind::OPEN_STANDARD_MINING_CHANNEL, &open);
        }
        open.extend_from_slice(&[2, 0]);
        self.frame(conn, kind::OPEN_EXTENDED_MINING_CHANNEL, &open);
    }

    fn frame(&mut self, conn: ConnId, kind: u8, payload: &[u8]) {
        let frame = Frame { extension: 0, kind, payload };
        self.pool.frame(self.now, conn, &frame, &mut self.out);
        self.pool.answer(conn, &mut self.out);
        self.out.clear();
    }

    /// Another tip, and then the first one again, on which the same shares count once more.
    fn start_anew(&mut self) {
        for tip in [2, 1] {
            self.handle(Input::Work(Box::new(work(tip, self.steps, self.now.mono))));
        }
        // Its time may be another one, but a miner may roll that.
        self.job = self.pool.jobs().latest().unwrap().id.to_string();
    }

    fn handle(&mut self, input: Input) {
        self.pool.handle(self.now, input, &mut self.out);
        self.out.clear();
    }

    fn line(&mut self, conn: ConnId, line: &str) {
        self.pool.line(self.now, conn, line.as_bytes(), &mut self.out);
        self.out.clear();
    }

    /// Submits all shares that were found, each of which must count.
    fn shares(&mut self) -> Duration {
        if self.speaks != Speaks::V1 {
            return self.shares_in_frames();
        }
        let lines: Vec<String> = self.nonces.iter().map(|nonce| self.submit(*nonce)).collect();
        let started = Instant::now();
        for line in &lines {
            self.pool.line(self.now, ConnId(0), black_box(line.as_bytes()), &mut self.out);
            let counted = |output: &Output| matches!(output, Output::Share { .. });
            assert!(self.out.items().iter().any(counted), "it does not count: {line}");
            self.out.clear();
        }
        started.elapsed()
    }

    fn shares_in_frames(&mut self) -> Duration {
        let latest = self.pool.jobs().latest().unwrap();
        let (job, version) = (latest.id.0, latest.work.version());
        let numbers = |nonce| [1, 4, job, nonce, self.ntime, version];
        let kind = match self.speaks {
            Speaks::Standard => kind::SUBMIT_SHARES_STANDARD,
            _ => kind::SUBMIT_SHARES_EXTENDED,
        };
        let payloads: Vec<Vec<u8>> = self
            .nonces
            .iter()
            .map(|nonce| {
                let numbers = numbers(*nonce).into_iter().flat_map(u32::to_le_bytes);
                // Read where the channel has an extranonce.
                numbers.chain([8, 0, 0, 0, 0, 0, 0, 0, 1]).collect()
            })
            .collect();
        let started = Instant::now();
        for payload in &payloads {
            let frame = Frame { extension: 0, kind, payload: black_box(payload) };
            self.pool.frame(self.now, ConnId(0), &frame, &mut self.out);
            let counted = |output: &Output| matches!(output, Output::Share { .. });
            assert!(self.out.items().iter().any(counted), "it does not count");
            self.pool.answer(ConnId(0), &mut self.out);
            self.out.clear();
        }
        started.elapsed()
    }

    fn submit(&self, nonce: u32) -> String {
        let Bench { job, ntime, .. } = self;
        format!(
            "{{\"id\": 4, \"method\": \"mining.submit\", \"params\": [\"bitaxe\", \"{job}\", \
             \"0000000000000001\", \"{ntime:08x}\", \"{nonce:08x}\", \"00000000\"]}}"
        )
    }

    /// A new tip, and a job on it for everybody.
    fn notify(&mut self, tip: u8) -> Duration {
        let work = work(tip.wrapping_add(2), 12, self.now.mono);
        let started = Instant::now();
        self.pool.handle(self.now, Input::Work(Box::new(work)), &mut self.out);
        black_box(self.out.items());
        let took = started.elapsed();
        self.out.clear();
        took
    }

    /// What a share of its job needs, beside the coinbase's first half.
    fn compressions(&self) -> usize {
        let work = self.pool.jobs().work().unwrap();
        let saved = work.coinbase.coinbase1.len() / 64 * 64;
        let coinbase = (work.coinbase.without_witness(&[0; EXTRANONCE_SIZE]).len() - saved + 9)
            .div_ceil(64)
            + 1;
        coinbase + 3 * work.template.branch.len() + 3
    }

    /// Looks for nonces of shares.
    fn grind(&self) -> Vec<u32> {
        let Lookup::Current(job) = self.pool.jobs().find(self.job.parse().unwrap()) else {
            panic!("the job is gone");
        };
        let mut extranonce = [0; 12];
        (extranonce[3], extranonce[11]) = (9, u8::from(self.speaks != Speaks::Standard));
        let (id, ntime) = (job.id, self.ntime);
        let version = RolledVersion::UNROLLED;
        let submission = Submission { job: id, extranonce, ntime, nonce: 0, version };
        let header = Share::prove(job, &submission).header;
        let midstate = Midstate::of_header(&header);
        let tail: [u8; 12] = header[64..76].try_into().unwrap();
        let target = Target::from_difficulty(Difficulty(soloist::vardiff::FLOOR));
        let (mut found, mut next) = (Vec::new(), 0);
        while found.len() < NONCES[0].len() {
            let hit = soloist::hash::header_hashes(&midstate, &tail, next..=u32::MAX, 0x3fff);
            let hit = hit.expect("there is one in 2^18");
            if target.is_met_by(&BlockHash(hit.hash)) {
                found.push(hit.nonce);
            }
            next = hit.nonce + 1;
        }
        found
    }
}

fn work(tip: u8, steps: usize, now: Instant) -> Work {
    let nbits = NBits(0x1d00_ffff);
    let template = Template {
        height: 900_000,
        version: 0x2000_0000,
        prev: BlockHash([tip; 32]),
        nbits,
        target: Target::from_nbits(nbits).unwrap(),
        curtime: 1_700_000_000,
        mintime: 1_699_999_000,
        value: 312_500_000,
        txs: Vec::new(),
        branch: (0..steps).map(|step| [step as u8; 32]).collect(),
        witness_commitment: Some(witness_commitment(&[])),
        version_bits: Default::default(),
    };
    Work::new(Arc::new(template), NodeId(0), now, false, &[0x51; 34], "/Soloist/")
}

/// Seconds for so many compressions, one after another, with nothing around them.
fn bare(backend: &Backend, count: usize) -> f64 {
    let mut state = [5; 8];
    let block = black_box([[6; 64]]);
    let started = Instant::now();
    let rounds = 20_000;
    for _ in 0..rounds * count {
        backend.compress(&mut state, &block);
    }
    black_box(state);
    started.elapsed().as_secs_f64() / rounds as f64
}
