//! The home: its miners, the daemon's lives, and the box's clock.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use soloist::chain::BlockHash;
use soloist::clock::{ClockWatch, Now};
use soloist::difficulty::{NBits, Target};
use soloist::ids::{ConnId, Extranonce1, NodeId};
use soloist::job::Work;
use soloist::ledger::totals::{Ledger, LedgerEvent, LedgerOutput, Worker, WorkerId};
use soloist::pool::{Input, Pool};
use soloist::status::miners::{Miners, Payees, history, totals};
use soloist::status::{JobView, NetworkView, NodeState, NodeView, PayoutView, Snapshot};
use soloist::stratum::firmware::{Saved, identify, starting_point};
use soloist::stratum::handover::HandedSession;
use soloist::stratum::outbox::Outbox;
use soloist::stratum::session::{Rules, Session, SessionKey};
use soloist::template::{Template, witness_commitment};
use soloist::vardiff::Vardiff;

use super::truth::{HASHES, Sum, Track};
use crate::ledger_core::Card;
use crate::ledger_world::Random;

const OWNER: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
pub const MINUTE: u64 = 60;
pub const HOUR: u64 = 3_600;
pub const DAYS: u64 = 3;
/// Whole minutes and seconds are seen alike.
pub const CHECK_EVERY: u64 = 450;
/// The true time at second 0.
const START: u64 = 1_790_000_000;
/// A connection that is dead is noticed after so long.
const NOTICED: u64 = 30;

/// The clock of the box: from this second on, it is so many seconds fast.
const CLOCK: &[(u64, i64)] = &[
    // Switched on for the first time, without a network for the first minute.
    (0, -400 * 86_400),
    (62, 0),
    // A power cut: it takes up the time of the last shutdown.
    (26 * HOUR + 300, -4_020),
    (26 * HOUR + 480, 0),
    // Set wrong by hand, and right by the network.
    (33 * HOUR, 733),
    (33 * HOUR + 1_800, 0),
    // A battery that is empty.
    (45 * HOUR + 180, 1_000 * 86_400),
    (45 * HOUR + 301, 0),
];

/// How the daemon ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Stopped,
    /// The miners' connections go on in the next run.
    Handed,
    Cut,
}

/// When the daemon is not running.
const DOWN: &[(u64, u64, End)] = &[
    // An update.
    (9 * HOUR, 9 * HOUR + 20, End::Stopped),
    (26 * HOUR, 26 * HOUR + 300, End::Cut),
    // Another update: what is told is looked at a second later.
    (36 * HOUR - 3, 36 * HOUR - 1, End::Handed),
    (45 * HOUR, 45 * HOUR + 180, End::Stopped),
    // A crash.
    (60 * HOUR + 777, 60 * HOUR + 787, End::Cut),
];

struct Kind {
    name: &'static str,
    agent: &'static str,
    /// Hashes a second while all is well.
    hashrate: f64,
}

const KINDS: [Kind; 11] = [
    Kind { name: "steady", agent: "bitaxe/BM1366/v2.13.1", hashrate: 0.48e12 },
    Kind { name: "reconnects", agent: "NerdMinerV2/V1.8.3", hashrate: 136e3 },
    Kind { name: "weak-wifi", agent: "NerdMinerV2/V1.8.3", hashrate: 60e3 },
    Kind { name: "off-at-night", agent: "bitaxe/BM1368/v2.13.1", hashrate: 0.65e12 },
    Kind { name: "throttles", agent: "bitaxe/BM1370/v2.13.1", hashrate: 1.2e12 },
    Kind { name: "dies", agent: "NerdQAxe++/BM1370/v1.0.36", hashrate: 4.8e12 },
    Kind { name: "hangs", agent: "NerdOCTAXE-\u{3b3}/BM1370/v1.0.36", hashrate: 9.6e12 },
    Kind { name: "comes-later", agent: "cgminer/4.11.1", hashrate: 6.5e12 },
    Kind { name: "often-away", agent: "bmminer/2.0.0/Antminer S9/14000", hashrate: 13.5e12 },
    Kind { name: "for-two-hours", agent: "Antminer S21/Fri Feb  2", hashrate: 200e12 },
    Kind { name: "by-day", agent: "cpuminer/2.5.1", hashrate: 5e6 },
];

const THROTTLED: (u64, u64) = (30 * HOUR, 40 * HOUR);
const HANGS: u64 = 50 * HOUR;

impl Kind {
    /// Whether it can reach us at that second.
    fn is_there(&self, second: u64) -> bool {
        let of_day = second % (24 * HOUR);
        match self.name {
            "reconnects" => second % (5 * HOUR) >= 20,
            // Gaps of one to twenty minutes.
            "weak-wifi" => {
                let gap = (second / (2 * HOUR) * 7_919) % 19 + 1;
                second % (2 * HOUR) >= gap * MINUTE
            }
            "off-at-night" => (7 * HOUR..23 * HOUR).contains(&of_day),
            "dies" => second < 20 * HOUR,
            "comes-later" => second >= 10 * HOUR,
            "often-away" => second % (3 * HOUR) >= 3 * MINUTE,
            "for-two-hours" => (5 * HOUR..7 * HOUR).contains(&second),
            "by-day" => (12 * HOUR..60 * HOUR).contains(&second),
            _ => true,
        }
    }

    fn hashrate(&self, second: u64) -> f64 {
        match self.name {
            "throttles" if (THROTTLED.0..THROTTLED.1).contains(&second) => 0.4 * self.hashrate,
            "hangs" if second >= HANGS => 0.0,
            _ => self.hashrate,
        }
    }
}

/// A miner, and what is so about it.
struct Miner {
    kind: &'static Kind,
    link: Option<Link>,
    /// Shares that it still has to search for, in expected hashes.
    left: f64,
    back_at: u64,
    track: Track,
    first_seen: Option<u64>,
    /// When its connection came or went.
    changed: u64,
    has_mined: bool,
    /// Its last accepted share.
    share_at: u64,
}

struct Link {
    conn: ConnId,
    worker: WorkerId,
    peer: IpAddr,
    vardiff: Vardiff,
    /// Between two runs.
    handed: Option<HandedSession>,
    /// Since when it is cut without our knowing.
    cut: Option<u64>,
}

/// A run of the daemon, as the dates in the ledger tell it.
struct Run {
    from: u64,
    to: u64,
    /// By how much the clock of its dates is fast.
    fast: i64,
}

struct Daemon {
    ledger: Ledger,
    pool: Pool,
    workers: BTreeMap<ConnId, WorkerId>,
    connects: HashMap<WorkerId, u64>,
    payees: Payees,
    clock: ClockWatch,
    started: Now,
}

pub struct Home {
    pub second: u64,
    epoch: Instant,
    card: Card,
    daemon: Option<Daemon>,
    miners: Vec<Miner>,
    all: Track,
    runs: Vec<Run>,
    /// Up to here, the card has everything.
    saved: u64,
    next_conn: u64,
    probe: Option<Link>,
    random: Random,
}

impl Home {
    pub fn new(seed: u64) -> Home {
        let miner = |kind| Miner {
            kind,
            link: None,
            left: 0.0,
            back_at: 0,
            track: Track::new(),
            first_seen: None,
            changed: 0,
            has_mined: false,
            share_at: 0,
        };
        let mut home = Home {
            second: 0,
            epoch: Instant::now(),
            card: Card::default(),
            daemon: None,
            miners: KINDS.iter().map(miner).collect(),
            all: Track::new(),
            runs: Vec::new(),
            saved: 0,
            next_conn: 0,
            probe: None,
            random: Random(0x9e37_79b9_7f4a_7c15 ^ seed),
        };
        home.start();
        home
    }

    pub fn is_running(&self) -> bool {
        self.daemon.is_some()
    }

    /// For how many seconds.
    pub fn runs_for(&self) -> u64 {
        self.second - self.runs.last().unwrap().from
    }

    pub fn now(&self) -> Now {
        self.now_at(self.second)
    }

    fn now_at(&self, second: u64) -> Now {
        let unix = (START + second).saturating_add_signed(fast(second));
        Now { mono: self.epoch + Duration::from_secs(second), unix }
    }

    pub fn clock_is_right(&self) -> bool {
        fast(self.second) == 0
    }

    pub fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second += 1;
            let second = self.second;
            match DOWN.iter().find(|(from, to, _)| (*from..*to).contains(&second)) {
                Some((_, _, end)) if self.daemon.is_some() => self.stop(*end),
                Some(_) => {}
                None if self.daemon.is_none() => self.start(),
                None => {}
            }
            self.clock();
            self.live();
        }
    }

    // -- the daemon --

    fn start(&mut self) {
        let now = self.now();
        let rules = Rules {
            session_key: SessionKey([7; 32]),
            password: None,
            overrides: Vec::new(),
            payee_chains: Vec::new(),
        };
        let mut pool = Pool::new(rules, 1 + (self.second as u32) * 16);
        for link in self.miners.iter_mut().filter_map(|miner| miner.link.as_mut()) {
            pool.take_up(now, link.conn, link.peer, link.handed.take().unwrap()).unwrap();
        }
        pool.handle(now, Input::Work(Box::new(work(now))), &mut Outbox::new());
        self.daemon = Some(Daemon {
            ledger: Ledger::new(now),
            pool,
            workers: BTreeMap::new(),
            connects: HashMap::new(),
            payees: Payees::default(),
            clock: ClockWatch::new(now, Duration::ZERO),
            started: now,
        });
        self.runs.push(Run { from: self.second, to: u64::MAX, fast: fast(self.second) });
        self.saved = self.second;
        self.tell(LedgerEvent::Tick);
        for place in 0..self.miners.len() {
            self.book_again(place);
        }
        for miner in &mut self.miners {
            miner.back_at = self.second + 5 + miner.kind.name.len() as u64 * 3 % 40;
        }
    }

    fn book_again(&mut self, place: usize) {
        let now = self.now();
        let daemon = self.daemon.as_mut().unwrap();
        let miner = &mut self.miners[place];
        let Some(link) = &mut miner.link else { return };
        let model = identify(miner.kind.agent, &[]).model;
        let worker = daemon.ledger.worker(now, miner.kind.name, &model);
        (link.worker, _) = (worker, daemon.workers.insert(link.conn, worker));
        self.tell(LedgerEvent::Connected(worker));
    }

    fn stop(&mut self, end: End) {
        if end != End::Cut {
            for place in 0..self.miners.len() {
                self.tell_level(place);
            }
            self.tell(LedgerEvent::Stop);
            self.saved = self.second;
        }
        self.runs.last_mut().unwrap().to = self.saved;
        let pool = &self.daemon.as_ref().unwrap().pool;
        for miner in &mut self.miners {
            let Some(link) = &mut miner.link else { continue };
            let session = pool.session(link.conn).filter(|_| end == End::Handed);
            link.handed = session.and_then(Session::handed);
            if link.handed.is_none() {
                miner.link = None;
                miner.changed = self.saved;
            }
        }
        self.probe = None;
        self.daemon = None;
    }

    fn clock(&mut self) {
        let now = self.now();
        let Some(daemon) = &mut self.daemon else { return };
        if let Some(by) = daemon.clock.step(now, Duration::ZERO) {
            self.runs.last_mut().unwrap().fast = fast(self.second);
            self.tell(LedgerEvent::ClockSet { by });
        }
    }

    fn tell(&mut self, event: LedgerEvent) {
        let now = self.now();
        let Some(daemon) = &mut self.daemon else { return };
        let mut out = Vec::new();
        daemon.ledger.handle(now, event, &mut out);
        while let Some(output) = out.pop() {
            if let LedgerOutput::Save(batch) = &output
                && (batch.rewrite.is_some()
                    || !batch.cache.is_empty()
                    || has_minutes(&batch.append))
            {
                self.saved = self.second;
            }
            if let Some(answer) = self.card.work(output) {
                daemon.ledger.handle(now, answer, &mut out);
            }
        }
    }

    // -- the miners --

    fn live(&mut self) {
        let mut any = false;
        for place in 0..self.miners.len() {
            let second = self.mine(place);
            any |= second.seconds > 0.0;
            self.miners[place].track.push(second);
        }
        self.probe_comes_and_goes();
        any |= self.probe.is_some();
        let of_all = |miner: &Miner| {
            let last = self.second as i64;
            miner.track.between(last - 1, last)
        };
        let mut all = Sum::default();
        self.miners.iter().map(of_all).for_each(|sum| all.add(sum));
        all.seconds = f64::from(u8::from(any));
        self.all.push(all);
        let now = self.now();
        if let Some(daemon) = &mut self.daemon {
            if daemon.pool.next_deadline().is_some_and(|at| at <= now.mono) {
                daemon.pool.handle(now, Input::Tick, &mut Outbox::new());
            }
            if daemon.ledger.next_deadline().is_some_and(|at| at <= now.mono) {
                self.tell(LedgerEvent::Tick);
            }
        }
    }

    /// One second of one miner.
    fn mine(&mut self, place: usize) -> Sum {
        let (second, now) = (self.second, self.now());
        let kind = self.miners[place].kind;
        let there = kind.is_there(second);
        if self.daemon.is_none() {
            return Sum::default();
        }
        let may_come = there && second >= self.miners[place].back_at;
        match &mut self.miners[place].link {
            None if may_come => {
                self.connect(place);
                return Sum::default();
            }
            None => return Sum::default(),
            Some(link) if !there => {
                let cut = *link.cut.get_or_insert(second);
                if second - cut < NOTICED {
                    return Sum { seconds: 1.0, ..Sum::default() };
                }
                self.disconnect(place);
                return Sum::default();
            }
            Some(link) if link.cut.is_some() => {
                self.disconnect(place);
                self.miners[place].back_at = second + 10;
                return Sum::default();
            }
            Some(_) => {}
        }
        let hashrate = kind.hashrate(second);
        let mut variance = 0.0;
        let mut left = hashrate;
        loop {
            let miner = &mut self.miners[place];
            let link = miner.link.as_mut().unwrap();
            let difficulty = link.vardiff.difficulty();
            // The variance of the shares of this part of the second.
            let whole = miner.left * difficulty * HASHES;
            if whole > left {
                variance += left * difficulty * HASHES;
                miner.left -= left / (difficulty * HASHES);
                break;
            }
            variance += whole * difficulty * HASHES;
            left -= whole;
            miner.left = self.random.uniform().ln().abs();
            (miner.has_mined, miner.share_at) = (true, second);
            let next = link.vardiff.share(now.mono, difficulty);
            let worker = link.worker;
            self.tell(LedgerEvent::Share { worker, difficulty, actual: difficulty, height: 1 });
            self.level(place, next);
        }
        let link = self.miners[place].link.as_mut().unwrap();
        let next = match link.vardiff.next_deadline() {
            Some(at) if at <= now.mono => link.vardiff.tick(now.mono),
            _ => None,
        };
        self.level(place, next);
        Sum { hashes: hashrate, variance, seconds: 1.0 }
    }

    /// The session learns of its new difficulty.
    fn level(&mut self, place: usize, difficulty: Option<f64>) {
        let now = self.now();
        if let (Some(difficulty), Some(link)) = (difficulty, &self.miners[place].link) {
            let saved = Saved::Level { difficulty, wish: None };
            let saved = Input::Saved { conn: link.conn, saved };
            self.daemon.as_mut().unwrap().pool.handle(now, saved, &mut Outbox::new());
        }
    }

    fn connect(&mut self, place: usize) {
        let miner = &self.miners[place];
        let link = self.link(miner.kind.name, miner.kind.agent, place as u8 + 1);
        let second = self.second;
        let miner = &mut self.miners[place];
        miner.left = self.random.uniform().ln().abs();
        miner.changed = second;
        miner.first_seen.get_or_insert(second);
        miner.link = Some(link);
    }

    fn link(&mut self, name: &str, agent: &str, address: u8) -> Link {
        let now = self.now();
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        let daemon = self.daemon.as_mut().unwrap();
        let peer: IpAddr = Ipv4Addr::new(192, 168, 1, address).into();
        let extranonce1 = Extranonce1((conn.0 as u32).to_be_bytes());
        let mut out = Outbox::new();
        daemon.pool.handle(now, Input::Connect { conn, peer, extranonce1 }, &mut out);
        for line in [
            format!(r#"{{"id":1,"method":"mining.subscribe","params":["{agent}"]}}"#),
            format!(r#"{{"id":2,"method":"mining.authorize","params":["{name}","x"]}}"#),
        ] {
            daemon.pool.line(now, conn, line.as_bytes(), &mut out);
        }
        let profile = daemon.pool.session(conn).unwrap().profile().clone();
        assert_eq!(profile, identify(agent, &[]));
        let worker = daemon.ledger.worker(now, name, &profile.model);
        daemon.workers.insert(conn, worker);
        *daemon.connects.entry(worker).or_default() += 1;
        let saved = daemon.ledger.get(worker).unwrap().level;
        let saved = saved.map(|difficulty| Saved::Level { difficulty, wish: None });
        let start = starting_point(saved, None, None, &profile);
        let vardiff = Vardiff::new(profile.aim, start, None, now.mono);
        if let Some(saved) = saved {
            daemon.pool.handle(now, Input::Saved { conn, saved }, &mut out);
        }
        self.tell(LedgerEvent::Connected(worker));
        Link { conn, worker, peer, vardiff, handed: None, cut: None }
    }

    fn tell_level(&mut self, place: usize) {
        if let Some(link) = &self.miners[place].link
            && let Some(difficulty) = link.vardiff.proven()
        {
            self.tell(LedgerEvent::Level { worker: link.worker, difficulty });
        }
    }

    fn disconnect(&mut self, place: usize) {
        self.tell_level(place);
        let Some(link) = self.miners[place].link.take() else { return };
        self.miners[place].changed = self.second;
        self.unlink(&link);
    }

    fn unlink(&mut self, link: &Link) {
        let now = self.now();
        let daemon = self.daemon.as_mut().unwrap();
        daemon.workers.remove(&link.conn);
        daemon.pool.handle(now, Input::Closed { conn: link.conn }, &mut Outbox::new());
        self.tell(LedgerEvent::Disconnected(link.worker));
    }

    /// A miner that is on its other pool looks every minute whether we are there.
    fn probe_comes_and_goes(&mut self) {
        if self.daemon.is_none() {
            return;
        }
        if let Some(link) = self.probe.take() {
            self.unlink(&link);
        } else if self.second % MINUTE == 30 {
            self.probe = Some(self.link("probe", "bitaxe/BM1370/v2.15.0", 200));
        }
    }

    // -- what is so --

    /// From the border of a minute that is nearest to the start of the window.
    fn window(&self, seconds: u64) -> (u64, u64) {
        let now = self.now().unix;
        ((now - seconds + 30) / 60 * 60, now)
    }

    pub fn total_in_window(&self, seconds: u64) -> Sum {
        let (from, to) = self.window(seconds);
        self.between("all", from, to)
    }

    pub fn in_window(&self, name: &str, seconds: u64) -> Sum {
        let (from, to) = self.window(seconds);
        self.between(name, from, to)
    }

    /// By the dates of the ledger.
    pub fn between(&self, name: &str, from: u64, to: u64) -> Sum {
        let track = if name == "all" { &self.all } else { &self.miner(name).track };
        let mut sum = Sum::default();
        for run in &self.runs {
            let second = |date: u64| date as i64 - START as i64 - run.fast;
            let from = second(from).max(run.from as i64);
            let to = second(to).min(run.to.min(self.second) as i64);
            sum.add(track.between(from, to));
        }
        sum
    }

    fn miner(&self, name: &str) -> &Miner {
        self.miners.iter().find(|miner| miner.kind.name == name).unwrap()
    }

    pub fn have_mined(&self) -> usize {
        self.miners.iter().filter(|miner| miner.has_mined || miner.link.is_some()).count()
    }

    /// Whether it is connected, and since when that is so.
    pub fn since(&self, name: &str) -> (bool, u64) {
        let miner = self.miner(name);
        (miner.link.is_some(), START + miner.changed)
    }

    pub fn first_seen(&self, name: &str) -> u64 {
        START + self.miner(name).first_seen.unwrap()
    }

    /// Whether it may be called quiet, and whether it must be.
    pub fn quiet(&self, name: &str) -> (bool, bool) {
        let miner = self.miner(name);
        let Some(link) = &miner.link else { return (false, false) };
        if name != "hangs" || self.second < HANGS {
            return (false, false);
        }
        let expected = link.vardiff.difficulty() * HASHES / miner.kind.hashrate;
        let silent = self.second - miner.share_at.max(miner.changed);
        (true, silent as f64 > (25.0 * expected).max(330.0))
    }

    /// Whether it may be called slow, and whether it must be.
    pub fn slow(&self, name: &str) -> (bool, bool) {
        let since = |(from, to): (u64, u64)| {
            let may = (from..to + HOUR + 60).contains(&self.second);
            (may, (from + HOUR..to).contains(&self.second))
        };
        match name {
            "throttles" => since(THROTTLED),
            "hangs" => (self.second >= HANGS, false),
            _ => (false, false),
        }
    }

    pub fn workers(&self) -> Vec<(&'static str, &Worker)> {
        let ledger = &self.daemon.as_ref().unwrap().ledger;
        let known = self.miners.iter().filter_map(|miner| {
            Some((miner.kind.name, ledger.get(ledger.named(miner.kind.name)?)?))
        });
        known.collect()
    }

    pub fn snapshot(&self) -> Snapshot {
        let now = self.now();
        let daemon = self.daemon.as_ref().unwrap();
        let views = Miners {
            now,
            ledger: &daemon.ledger,
            pool: &daemon.pool,
            workers: &daemon.workers,
            latest: &BTreeMap::new(),
            connects: &daemon.connects,
            owner: OWNER,
            chain: None,
            payees: &daemon.payees,
            round_trip: &|_| None,
            is_encrypted: &|_| false,
        };
        let mut miners = views.views();
        // It is shown as long as it is connected, and never after that.
        if self.probe.is_some() {
            miners.retain(|miner| miner.name != "probe");
        }
        let links = self.miners.iter().filter_map(|miner| miner.link.as_ref());
        let next = links.map(|link| link.vardiff.difficulty()).fold(0.0, f64::max);
        let node =
            NodeView { name: "attic".into(), state: NodeState::Leading, ..Default::default() };
        Snapshot {
            now: now.unix,
            started_at: now.date_of(daemon.started.mono),
            configured: true,
            chain: "main".into(),
            payout: PayoutView { address: OWNER.into(), ..Default::default() },
            job: Some(JobView {
                difficulty: 1e14,
                to_owner_sat: 1,
                value_sat: 1,
                node: "attic".into(),
                ..Default::default()
            }),
            network: NetworkView { difficulty: Some(1e14), ..Default::default() },
            nodes: vec![node],
            miners,
            totals: totals(&daemon.ledger, now, next),
            history: history(daemon.ledger.total(), now),
            ..Default::default()
        }
    }
}

fn fast(second: u64) -> i64 {
    CLOCK.iter().rev().find(|(from, _)| *from <= second).unwrap().1
}

fn has_minutes(records: &[soloist::ledger::record::Record]) -> bool {
    use soloist::ledger::record::{Grain, Record};
    records.iter().any(|record| matches!(record, Record::Points { grain: Grain::Minute, .. }))
}

fn work(now: Now) -> Work {
    let nbits = NBits(0x1703_255b);
    let template = Template {
        height: 884_201,
        version: 0x2000_0000,
        prev: BlockHash([0xd1; 32]),
        nbits,
        target: Target::from_nbits(nbits).unwrap(),
        curtime: START as u32,
        mintime: START as u32 - 3_600,
        value: 313_100_000,
        txs: Vec::new(),
        branch: vec![[0x5a; 32], [0xc3; 32]],
        witness_commitment: Some(witness_commitment(&[])),
        version_bits: Default::default(),
    };
    let payout = [&[0x00, 0x14][..], &[0x77; 20]].concat();
    Work::new(Arc::new(template), NodeId(0), now.mono, false, &payout, "/Soloist/attic/")
}
