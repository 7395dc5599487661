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
use soloist::share::{Share, Submission};
use soloist::stratum::outbox::{Outbox, Output};
use soloist::stratum::session::{Rules, SessionKey};
use soloist::template::{Template, witness_commitment};

/// Nonces of shares at the least difficulty that is given out, for a job without transactions and
/// for one with a branch of twelve.
const NONCES: [[u32; 24]; 2] = include!("paths.nonces");

fn main() {
    // Cargo adds that it is a bench.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let what = arguments.next().unwrap_or_default();
    let count = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    match what.as_str() {
        "grind" => println!("{:?}", [0, 12].map(|steps| Bench::new(steps, 1).grind())),
        // For counting instructions: `count` rounds, with their shares or without.
        "shares" | "prepare" => {
            let mut bench = Bench::new(12, 1);
            for _ in 0..count {
                bench.start_anew();
                if what == "shares" {
                    bench.shares();
                }
            }
        }
        "notify" => {
            let mut bench = Bench::new(12, 200);
            (0..count).for_each(|tip| {
                bench.notify(tip as u8);
            });
        }
        _ => report(),
    }
}

fn report() {
    let backend = Backend::active();
    for (name, steps) in [("empty branch", 0), ("branch of 12", 12)] {
        let rounds = 400;
        let mut bench = Bench::new(steps, 1);
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
    let mut bench = Bench::new(12, 1000);
    let took: Duration = (0..200).map(|tip| bench.notify(tip)).sum();
    println!("new tip, 1000 miners: {:.0} us until all is written out", took.as_secs_f64() / 2e-4);
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
}

impl Bench {
    fn new(steps: usize, miners: u64) -> Bench {
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
            nonces: &NONCES[usize::from(steps > 0)],
        };
        bench.handle(Input::Work(Box::new(work(1, steps, bench.now.mono))));
        for n in 0..miners {
            let (conn, peer) = (ConnId(n), Ipv4Addr::LOCALHOST.into());
            let extranonce1 = Extranonce1((9 + n as u32).to_be_bytes());
            bench.handle(Input::Connect { conn, peer, extranonce1 });
            bench.line(conn, r#"{"id":1,"method":"mining.subscribe","params":["x"]}"#);
            bench.line(conn, r#"{"id":2,"method":"mining.authorize","params":["w","d=0.0001"]}"#);
        }
        bench.now.mono += Duration::from_secs(1);
        bench.handle(Input::Tick);
        let first = bench.pool.jobs().latest().unwrap();
        (bench.job, bench.ntime) = (first.id.to_string(), first.ntime);
        bench
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
        (extranonce[3], extranonce[11]) = (9, 1);
        let (id, ntime) = (job.id, self.ntime);
        let submission = Submission { job: id, extranonce, ntime, nonce: 0, version_bits: Some(0) };
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
