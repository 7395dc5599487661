//! What the miners of a snapshot cost, without sockets: `cargo bench --bench snapshot`.
//!
//! Each worker has a full day of minutes and a connection. With `--check` it ends with an error when
//! a worker costs more than a microsecond or 1,000 of them more than a millisecond.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use soloist::chain::{BlockHash, Chain};
use soloist::clock::Now;
use soloist::difficulty::{NBits, Target};
use soloist::ids::{ConnId, Extranonce1, NodeId};
use soloist::job::Work;
use soloist::ledger::record::{Grain, MAX_POINTS, Point, Record, RejectReason, WorkerNumber};
use soloist::ledger::totals::{Ledger, LedgerEvent, WorkerId};
use soloist::pool::{Input, Pool};
use soloist::status::MinerView;
use soloist::status::miners::{Miners, Payees};
use soloist::stratum::outbox::Outbox;
use soloist::stratum::session::{Rules, SessionKey};
use soloist::template::{Template, witness_commitment};

const UNIX: u64 = 1_790_000_027;
const OWNER: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

fn main() -> ExitCode {
    let mut met = true;
    for (miners, pays_itself) in [(10, false), (1000, false), (1000, true)] {
        let world = World::new(miners, pays_itself);
        let (took, freed) = world.measure();
        let each = took.as_nanos() as f64 / miners as f64;
        let whom = if pays_itself { ", each paid itself" } else { "" };
        println!(
            "{miners} miners{whom}: {each:.0} ns each, {:.1} us in all, and {:.1} us to free them",
            took.as_secs_f64() * 1e6,
            freed.as_secs_f64() * 1e6
        );
        met &= each <= 1000.0 && took <= Duration::from_millis(1);
    }
    let asked = std::env::args().any(|argument| argument == "--check");
    if asked && !met {
        eprintln!("A worker is to cost at most a microsecond.");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

struct World {
    ledger: Ledger,
    now: Now,
    pool: Pool,
    workers: BTreeMap<ConnId, WorkerId>,
    latest: BTreeMap<ConnId, VecDeque<Option<RejectReason>>>,
    connects: HashMap<WorkerId, u64>,
    payees: Payees,
}

impl World {
    fn new(miners: u32, pays_itself: bool) -> World {
        let now = Now { mono: Instant::now(), unix: UNIX };
        let rules = Rules {
            session_key: SessionKey([1; 32]),
            password: None,
            overrides: Vec::new(),
            payee_chains: if pays_itself { vec![Chain::Main] } else { Vec::new() },
        };
        let (mut pool, mut out) = (Pool::new(rules, 0x100), Outbox::new());
        pool.handle(now, Input::Work(Box::new(work(now.mono))), &mut out);
        let name = |n: u32| if pays_itself { format!("{OWNER}.m{n}") } else { format!("miner{n}") };
        let mut ledger =
            Ledger::replay(now, &(1..=miners).flat_map(|n| past(n, &name(n))).collect::<Vec<_>>());
        let (mut workers, mut latest) = (BTreeMap::new(), BTreeMap::new());
        let (mut connects, mut outputs) = (HashMap::new(), Vec::new());
        for n in 1..=miners {
            let conn = ConnId((n * 7 % miners).into());
            let peer = Ipv4Addr::from(0xc0a8_0000 + n).into();
            let extranonce1 = Extranonce1(n.to_be_bytes());
            pool.handle(now, Input::Connect { conn, peer, extranonce1 }, &mut out);
            let agent = ["bitaxe/BM1370/v2.13.1", "NerdQAxe++/BM1370/v1.0.36", "cgminer/4.10.0"];
            let agent = agent[n as usize % 3];
            let lines = [
                format!(r#"{{"id":1,"method":"mining.subscribe","params":["{agent}"]}}"#),
                format!(r#"{{"id":2,"method":"mining.authorize","params":["{}","x"]}}"#, name(n)),
            ];
            for line in lines {
                pool.line(now, conn, line.as_bytes(), &mut out);
            }
            out.clear();
            let worker = ledger.find(WorkerNumber(n)).unwrap();
            ledger.handle(now, LedgerEvent::Connected(worker), &mut outputs);
            let refused = [RejectReason::Stale, RejectReason::Duplicate];
            for reason in refused {
                let reject = LedgerEvent::Reject { worker, reason, actual: 0.0, height: 1 };
                ledger.handle(now, reject, &mut outputs);
            }
            let (difficulty, actual) = (1000.0 + f64::from(n), 5000.0);
            let share = LedgerEvent::Share { worker, difficulty, actual, height: 1 };
            ledger.handle(now, share, &mut outputs);
            workers.insert(conn, worker);
            latest.insert(conn, (0..10).map(|n| (n % 4 == 0).then_some(refused[0])).collect());
            connects.insert(worker, 1);
        }
        World { now, ledger, pool, workers, latest, connects, payees: Payees::default() }
    }

    /// The median time of a snapshot, and of freeing it.
    fn measure(&self) -> (Duration, Duration) {
        let rounds = 301;
        let mut times: Vec<(Duration, Duration)> = (0..rounds)
            .map(|_| {
                let started = Instant::now();
                let views = black_box(self.views());
                let took = started.elapsed();
                self.check(&views);
                let started = Instant::now();
                drop(views);
                (took, started.elapsed())
            })
            .collect();
        let mut median = |of: fn(&(Duration, Duration)) -> Duration| {
            times.sort_by_key(of);
            of(&times[rounds / 2])
        };
        (median(|times| times.0), median(|times| times.1))
    }

    fn views(&self) -> Vec<MinerView> {
        let miners = Miners {
            now: self.now,
            ledger: &self.ledger,
            pool: &self.pool,
            workers: &self.workers,
            latest: &self.latest,
            connects: &self.connects,
            owner: OWNER,
            chain: Some(Chain::Main),
            payees: &self.payees,
            round_trip: &|_| Some(Duration::from_millis(2)),
            is_encrypted: &|_| false,
        };
        miners.views()
    }

    fn check(&self, views: &[MinerView]) {
        assert_eq!(views.len(), self.workers.len());
        for view in [&views[0], &views[views.len() - 1]] {
            assert!(view.rate.hashrate > 0.0 && view.rate_day.shares > 1400, "{view:?}");
            assert!(view.trend.len() >= 48 && view.connects == 1 && view.pays == OWNER, "{view:?}");
            assert!(view.latest.len() == 10 && view.rejects.len() == 2, "{view:?}");
        }
    }
}

/// A day in which a worker had a share in each minute.
fn past(n: u32, name: &str) -> Vec<Record> {
    let number = WorkerNumber(n);
    let device = ["Bitaxe Gamma (BM1370)", "NerdQAxe++ (BM1370)", "cgminer 4.10.0"][n as usize % 3];
    let (name, device) = (name.to_owned(), device.to_owned());
    let minute = Grain::Minute.period(UNIX);
    let points: Vec<Point> = (minute - 1440..minute)
        .map(|period| Point {
            period,
            accepted: 1 + period % 3,
            rejected: period % 2,
            work: (1000 + n + period % 7) as f32,
            best: 5000.0,
            online: 60,
            squares: 1e6,
        })
        .collect();
    let mut records = vec![Record::Worker { number, name, device, unix: UNIX - 100_000 }];
    records.extend(points.chunks(MAX_POINTS).map(|points| Record::Points {
        worker: number,
        grain: Grain::Minute,
        points: points.to_vec(),
    }));
    records
}

fn work(now: Instant) -> Work {
    let nbits = NBits(0x1d00_ffff);
    let template = Template {
        height: 900_000,
        version: 0x2000_0000,
        prev: BlockHash([1; 32]),
        nbits,
        target: Target::from_nbits(nbits).unwrap(),
        curtime: UNIX as u32,
        mintime: UNIX as u32 - 1000,
        value: 312_500_000,
        txs: Vec::new(),
        branch: Vec::new(),
        witness_commitment: Some(witness_commitment(&[])),
        version_bits: Default::default(),
    };
    Work::new(Arc::new(template), NodeId(0), now, false, &[0x51; 34], "/Soloist/")
}
