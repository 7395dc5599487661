//! The pure ledger: random operations against simple sums, replay, clocks and bounds.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use soloist::chain::BlockHash;
use soloist::clock::Now;
use soloist::difficulty::HASHES_PER_DIFFICULTY;
use soloist::ledger::record::{
    Dent, FoundBlock, Grain, Record, RejectReason, StoredState, WorkerNumber,
};
use soloist::ledger::totals::{
    Ledger, LedgerEvent, LedgerOutput, MAX_BLOCKS, MAX_MARKS, MAX_WORKERS, Opened, SaveReport,
    Storage, WorkerId,
};

use crate::ledger_world::{Picture, picture};

pub const START: u64 = 1_790_000_000;

/// A card in memory: keeps what it is given, or fails.
#[derive(Clone, Debug, Default)]
pub struct Card {
    pub journal: Vec<Record>,
    cache: BTreeMap<Vec<u8>, Vec<Record>>,
    failing: bool,
    pub saves: u32,
    rewrites: u32,
}

impl Card {
    pub fn work(&mut self, output: LedgerOutput) -> Option<LedgerEvent> {
        match output {
            LedgerOutput::NewBest(_) => None,
            _ if self.failing => Some(match output {
                LedgerOutput::Open => LedgerEvent::OpenFailed("it is out".into()),
                _ => LedgerEvent::Saved(Err("it is out".into())),
            }),
            LedgerOutput::Open => Some(LedgerEvent::Opened(Box::new(self.opened()))),
            LedgerOutput::Save(batch) => {
                self.saves += 1;
                if let Some(records) = batch.rewrite {
                    self.rewrites += 1;
                    assert!(batch.append.is_empty());
                    self.journal = records;
                }
                self.journal.extend(batch.append);
                for (key, records) in batch.cache {
                    if records.is_empty() {
                        self.cache.remove(&key);
                    } else {
                        self.cache.insert(key, records);
                    }
                }
                let journal_bytes = self.journal.len() as u64 * 2000;
                Some(LedgerEvent::Saved(Ok(SaveReport { journal_bytes, ..SaveReport::default() })))
            }
        }
    }

    fn opened(&self) -> Opened {
        let mut opened = Opened { records: self.journal.clone(), ..Opened::default() };
        opened.cached.entries = self.cache.clone().into_iter().collect();
        opened
    }
}

pub struct Run {
    pub ledger: Ledger,
    pub card: Card,
    pub now: Now,
    best: Option<f64>,
}

impl Run {
    pub fn new(card: Card, unix: u64) -> Run {
        let now = Now { mono: Instant::now(), unix };
        let mut run = Run { ledger: Ledger::new(now), card, now, best: None };
        run.tell(LedgerEvent::Tick);
        run
    }

    pub fn tell(&mut self, event: LedgerEvent) {
        let mut out = Vec::new();
        self.ledger.handle(self.now, event, &mut out);
        while let Some(output) = out.pop() {
            if let LedgerOutput::NewBest(best) = &output {
                self.best = Some(best.difficulty);
            }
            if let Some(answer) = self.card.work(output) {
                self.ledger.handle(self.now, answer, &mut out);
            }
        }
    }

    pub fn advance(&mut self, seconds: u64) {
        self.now.mono += Duration::from_secs(seconds);
        self.now.unix += seconds;
        while self.ledger.next_deadline().is_some_and(|at| at <= self.now.mono) {
            let before = self.ledger.next_deadline();
            self.tell(LedgerEvent::Tick);
            assert_ne!(self.ledger.next_deadline(), before, "a deadline must move when it is met");
        }
    }

    pub fn worker(&mut self, name: &str) -> WorkerId {
        self.ledger.worker(self.now, name, "test")
    }

    pub fn share(&mut self, worker: WorkerId, difficulty: f64, actual: f64) {
        self.tell(LedgerEvent::Share { worker, difficulty, actual, height: 1 });
    }

    /// A worker that is known tells how hot it is.
    pub fn heat(&mut self, worker: &str, celsius: f32, watts: f32) {
        let Some(worker) = self.ledger.named(worker) else { return };
        let (celsius, watts) = (Some(celsius), Some(watts));
        self.tell(LedgerEvent::Heat { worker, celsius, watts });
    }

    pub fn picture(&self) -> Picture {
        picture(&self.ledger)
    }

    /// False where that is refused.
    pub fn join(&mut self, from: &str, into: &str) -> bool {
        let [Some(from), Some(into)] = [from, into].map(|name| self.ledger.named(name)) else {
            return false;
        };
        let allowed = self.ledger.can_join(from, into).is_ok();
        let before = sum_of_workers(&self.ledger);
        let known = self.ledger.workers().count();
        self.tell(LedgerEvent::Join { from, into });
        assert_eq!(sum_of_workers(&self.ledger), before, "nothing comes and nothing goes");
        assert_eq!(self.ledger.workers().count(), known - usize::from(allowed));
        assert_eq!(self.ledger.get(from).is_none(), allowed);
        allowed
    }
}

/// All that single workers have: shares, work, rejects and blocks; shares and work of their hours, days
/// and minutes; the best of all bests.
fn sum_of_workers(ledger: &Ledger) -> (u64, f64, u64, u32, Vec<(u64, f64)>, f64) {
    let mut sum = (0, 0.0, 0, 0, vec![(0, 0.0); Grain::COUNT], 0.0_f64);
    for (_, worker) in ledger.workers() {
        let totals = worker.totals();
        sum.0 += totals.ever.accepted;
        sum.1 += totals.ever.work;
        sum.2 += totals.ever.rejected();
        sum.3 += totals.blocks;
        for (of_grain, grain) in sum.4.iter_mut().zip(Grain::ALL) {
            for point in worker.history(grain) {
                of_grain.0 += u64::from(point.accepted);
                of_grain.1 += f64::from(point.work);
            }
        }
        sum.5 = sum.5.max(totals.best.map_or(0.0, |best| best.difficulty));
    }
    sum
}

#[derive(Clone, Debug)]
enum Op {
    Share { worker: u8, difficulty: u32, luck: u32 },
    Reject { worker: u8, reason: usize },
    Block { worker: u8 },
    Kept { worker: u8, age: u64 },
    State { which: u8, state: StoredState },
    Wait(u64),
    Fail(bool),
    Audit(u8),
    Forget(u8),
    Connect { worker: u8, on: bool },
    Join { from: u8, into: u8 },
    Heat { worker: u8, celsius: f32, watts: f32 },
    Restart,
    Stop,
}

/// What is told of a block of the spool, which the ledger may not have heard of.
fn kept(unix: u64, name: &str, number: u32, state: StoredState) -> LedgerEvent {
    let mut hash = [0; 32];
    hash[..4].copy_from_slice(&number.to_le_bytes());
    LedgerEvent::BlockKept(Box::new(FoundBlock {
        hash: BlockHash(hash),
        height: number,
        unix,
        worker: WorkerNumber::TOTAL,
        name: name.to_owned(),
        difficulty: 5.0,
        network_difficulty: 4.0,
        reward: 6,
        payee: "bc1".to_owned(),
        state,
        state_unix: 0,
    }))
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0_u8..6, 1_u32..1000, 1_u32..u32::MAX)
            .prop_map(|(worker, difficulty, luck)| Op::Share { worker, difficulty, luck }),
        4 => (0_u8..6, 0..RejectReason::COUNT).prop_map(|(worker, reason)| Op::Reject { worker, reason }),
        1 => (0_u8..6).prop_map(|worker| Op::Block { worker }),
        1 => (0_u8..9, 0_u64..20_000).prop_map(|(worker, age)| Op::Kept { worker, age }),
        1 => (0_u8..4, prop_oneof![
            Just(StoredState::Accepted { node: "a".into() }),
            (1_u32..100).prop_map(|confirmations| StoredState::Confirmed { confirmations }),
            Just(StoredState::Mature),
            Just(StoredState::Stale),
        ]).prop_map(|(which, state)| Op::State { which, state }),
        4 => (1_u64..4000).prop_map(Op::Wait),
        1 => any::<bool>().prop_map(Op::Fail),
        1 => any::<u8>().prop_map(Op::Audit),
        1 => (0_u8..6).prop_map(Op::Forget),
        2 => (0_u8..6, any::<bool>()).prop_map(|(worker, on)| Op::Connect { worker, on }),
        2 => (0_u8..6, 0_u8..6).prop_map(|(from, into)| Op::Join { from, into }),
        4 => (0_u8..6, -60_f32..120.0, -5_f32..4_000.0)
            .prop_map(|(worker, celsius, watts)| Op::Heat { worker, celsius, watts }),
        1 => Just(Op::Restart),
        1 => Just(Op::Stop),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if std::env::var_os("SOLOIST_LONG").is_some() { 2000 } else { 100 }, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, in whatever order, with a card that comes and goes and stops at any
    /// time: the total is the plain sum of the shares, and an orderly stop loses nothing.
    #[test]
    fn sums_are_right_and_an_orderly_stop_loses_nothing(ops in vec(op(), 1..120)) {
        let mut run = Run::new(Card::default(), START);
        let (mut shares, mut work, mut rejects, mut blocks) = (0_u64, 0.0_f64, [0_u64; RejectReason::COUNT], 0_u32);
        let mut best = 0.0_f64;
        for op in ops {
            match op {
                Op::Share { worker, difficulty, luck } => {
                    let worker = run.worker(&format!("w{worker}"));
                    let difficulty = f64::from(difficulty);
                    let actual = difficulty * f64::from(u32::MAX) / f64::from(luck);
                    run.share(worker, difficulty, actual);
                    shares += 1;
                    work += difficulty;
                    best = best.max(actual);
                }
                Op::Reject { worker, reason } => {
                    let worker = run.worker(&format!("w{worker}"));
                    let reason = RejectReason::ALL[reason];
                    run.tell(LedgerEvent::Reject { worker, reason, actual: 0.0, height: 1 });
                    rejects[reason.index()] += 1;
                }
                Op::Block { worker } => {
                    let worker = run.worker(&format!("w{worker}"));
                    let mut hash = [0; 32];
                    hash[..4].copy_from_slice(&blocks.to_le_bytes());
                    let hash = BlockHash(hash);
                    let (height, difficulty, reward) = (1, 5.0, 6);
                    run.tell(LedgerEvent::BlockFound { worker, hash, height, difficulty, reward, payee: String::new() });
                    blocks += 1;
                    prop_assert_eq!(run.ledger.total().totals().since_block.accepted, 0);
                }
                Op::Kept { worker, age } => {
                    let unix = run.now.unix - age;
                    run.tell(kept(unix, &format!("w{worker}"), blocks, StoredState::Candidate));
                    blocks += 1;
                }
                Op::State { which, state } => {
                    let mut hash = [0; 32];
                    hash[0] = which;
                    run.tell(LedgerEvent::Block { hash: BlockHash(hash), state });
                }
                Op::Wait(seconds) => run.advance(seconds),
                Op::Fail(failing) => run.card.failing = failing,
                Op::Audit(number) => run.tell(LedgerEvent::Audit(format!("{number}"))),
                Op::Forget(worker) => {
                    let worker = run.worker(&format!("w{worker}"));
                    run.tell(LedgerEvent::Forget(worker));
                }
                Op::Connect { worker, on } => {
                    let id = run.worker(&format!("w{worker}"));
                    let is_on = run.ledger.get(id).unwrap().is_connected();
                    match (is_on, on) {
                        (false, true) => run.tell(LedgerEvent::Connected(id)),
                        (true, false) => run.tell(LedgerEvent::Disconnected(id)),
                        _ => {}
                    }
                }
                Op::Join { from, into } => {
                    run.join(&format!("w{from}"), &format!("w{into}"));
                }
                Op::Heat { worker, celsius, watts } => run.heat(&format!("w{worker}"), celsius, watts),
                // An orderly stop with a card that works: everything comes back.
                Op::Restart | Op::Stop => {
                    run.card.failing = false;
                    run.advance(61);
                    prop_assert_eq!(run.ledger.storage(), &Storage::Ready);
                    let before = run.picture();
                    run.tell(LedgerEvent::Stop);
                    prop_assert_eq!(run.ledger.storage(), &Storage::Closed);
                    let unix = run.now.unix + 5;
                    run = Run::new(run.card, unix);
                    let after = run.picture();
                    // Workers that never had an accepted share or a block are not kept.
                    let kept = before.workers.iter().filter(|w| w.2.ever.accepted > 0 || w.2.blocks > 0);
                    let kept: Vec<_> = kept.collect();
                    prop_assert_eq!(kept, after.workers.iter().collect::<Vec<_>>());
                    prop_assert_eq!(&before.bests, &after.bests);
                    prop_assert_eq!(&before.days, &after.days);
                    prop_assert_eq!(&before.watts, &after.watts);
                    prop_assert_eq!(before.total, after.total);
                    prop_assert_eq!(before.blocks.len(), after.blocks.len());
                }
            }
            let total = run.ledger.total().totals();
            prop_assert_eq!(total.ever.accepted, shares);
            prop_assert_eq!(total.ever.rejects, rejects);
            prop_assert!((total.ever.work - work).abs() < 1e-6);
            prop_assert_eq!(total.blocks, blocks);
            prop_assert_eq!(total.best.map_or(0.0, |best| best.difficulty), best);
        }
    }

    /// A cut of the power at any batch: the journal alone gives what it was told, and a replay of
    /// any older state before it changes nothing.
    #[test]
    fn replay_is_idempotent(ops in vec(op(), 1..60), cut: prop::sample::Index) {
        let mut run = Run::new(Card::default(), START);
        let mut blocks = 0_u32;
        let mut snapshots = vec![Vec::new()];
        for op in ops {
            match op {
                Op::Share { worker, difficulty, .. } => {
                    let worker = run.worker(&format!("w{worker}"));
                    run.share(worker, f64::from(difficulty), f64::from(difficulty) * 2.0);
                }
                Op::Block { worker } => {
                    let worker = run.worker(&format!("w{worker}"));
                    let mut hash = [0; 32];
                    hash[..4].copy_from_slice(&blocks.to_le_bytes());
                    blocks += 1;
                    let (hash, height) = (BlockHash(hash), 1);
                    let (difficulty, reward) = (5.0, 6);
                    run.tell(LedgerEvent::BlockFound { worker, hash, height, difficulty, reward, payee: String::new() });
                }
                Op::Kept { worker, age } => {
                    let unix = run.now.unix - age;
                    run.tell(kept(unix, &format!("w{worker}"), blocks, StoredState::Candidate));
                    blocks += 1;
                }
                Op::Wait(seconds) => run.advance(seconds),
                Op::Join { from, into } => {
                    run.join(&format!("w{from}"), &format!("w{into}"));
                }
                Op::Heat { worker, celsius, watts } => run.heat(&format!("w{worker}"), celsius, watts),
                Op::Restart => snapshots.push(run.ledger.records(1 << 20)),
                _ => {}
            }
        }
        // What the power leaves of it, with the newest of the snapshots before what is left.
        let newest = snapshots.last().unwrap();
        let records = newest.iter().chain(&run.card.journal).cloned().collect::<Vec<_>>();
        let after = Ledger::replay(run.now, &records);
        prop_assert_eq!(sum_of_workers(&after).0, after.total().totals().ever.accepted);
        let journal = &run.card.journal;
        let once = picture(&Ledger::replay(run.now, journal));
        let twice: Vec<Record> = journal.iter().chain(journal).cloned().collect();
        prop_assert!(once == picture(&Ledger::replay(run.now, &twice)));
        // A snapshot of some moment, and the journal from the beginning.
        let snapshot = &snapshots[cut.index(snapshots.len())];
        let both: Vec<Record> = snapshot.iter().chain(journal).cloned().collect();
        let restored = picture(&Ledger::replay(run.now, &both));
        prop_assert!(restored.total.ever.accepted >= once.total.ever.accepted);
        prop_assert_eq!(restored.total.blocks, blocks.max(once.total.blocks));
        // Compaction says the same as what it replaces.
        let replayed = Ledger::replay(run.now, journal);
        let compacted = Ledger::replay(run.now, &replayed.records(1 << 20));
        prop_assert!(once == picture(&compacted));
    }
}

/// The power goes at any moment, and the cache may be as old as it likes or gone: at most the last
/// ten minutes are lost, of the counts and, with the cache, of the minute charts.
#[test]
fn a_power_cut_costs_at_most_ten_minutes() {
    let mut run = Run::new(Card::default(), START);
    run.tell(LedgerEvent::Network { difficulty: 1e6 });
    let worker = run.worker("w");
    let minutes = |ledger: &Ledger| {
        let worker = ledger.workers().find(|(_, worker)| worker.name == "w");
        worker.map_or(0, |(_, worker)| {
            worker.history(Grain::Minute).iter().map(|point| point.accepted).sum::<u32>()
        })
    };
    let mut caches = vec![BTreeMap::new()];
    for share in 1..=20_000_u32 {
        run.advance(3);
        run.share(worker, 1.0, 1.0);
        if share % 1000 == 0 {
            run.tell(LedgerEvent::Level { worker, difficulty: f64::from(share) });
            run.advance(601);
            caches.push(run.card.cache.clone());
        }
        if share % 777 == 0 {
            // The journal is whole; the cache is of now, of some time before, or gone.
            for cache in caches.iter().rev().take(3).chain(&caches[..1]).chain([&run.card.cache]) {
                let card = Card { cache: cache.clone(), ..run.card.clone() };
                let after = Run::new(card, run.now.unix).ledger;
                let accepted = after.total().totals().ever.accepted;
                let had = u64::from(share);
                assert!((had.saturating_sub(202)..=had).contains(&accepted), "{accepted} of {had}");
                let found = after.workers().find(|(_, worker)| worker.name == "w");
                assert_eq!(found.unwrap().1.totals().ever.accepted, accepted);
                let level = found.unwrap().1.level.unwrap_or(0.0);
                assert!(level >= f64::from(share / 1000 * 1000), "{level} at {share}");
            }
            let after = Run::new(run.card.clone(), run.now.unix).ledger;
            let (drawn, drawn_before) = (minutes(&after), minutes(&run.ledger));
            assert!(
                (drawn_before.saturating_sub(202)..=drawn_before).contains(&drawn),
                "{drawn} of {drawn_before} in the minutes"
            );
        }
    }
    assert!(run.card.rewrites > 0, "{} rewrites", run.card.rewrites);
    assert!(caches.last().unwrap().len() > 2, "the cache was never written");
}

#[test]
fn a_refused_share_can_be_the_best_and_is_labelled() {
    let mut run = Run::new(Card::default(), START);
    let worker = run.worker("w");
    run.share(worker, 1.0, 500.0);
    let stale =
        |actual| LedgerEvent::Reject { worker, reason: RejectReason::Stale, actual, height: 7 };
    run.tell(stale(9e6));
    let best = run.ledger.bests()[0];
    assert_eq!((best.difficulty, best.height, best.rejected), (9e6, 7, true));
    assert!(!run.ledger.bests()[1].rejected);
    let totals = run.ledger.total().totals();
    assert_eq!((totals.ever.accepted, totals.ever.rejected()), (1, 1));
    // One whose hash was never made is none.
    run.tell(stale(0.0));
    assert_eq!(run.ledger.bests().len(), 2);
}

#[test]
fn writes_are_rare_but_a_block_is_written_at_once() {
    let mut run = Run::new(Card::default(), START);
    let worker = run.worker("w");
    run.advance(700);
    let saves = run.card.saves;
    for _ in 0..3600 {
        run.advance(1);
        run.share(worker, 1.0, 0.5);
    }
    let hourly = run.card.saves - saves;
    assert!((6..=12).contains(&hourly), "{hourly} batches in an hour of 3,600 shares");
    let saves = run.card.saves;
    let hash = BlockHash([1; 32]);
    let (height, difficulty, reward) = (1, 1.0, 1);
    run.tell(LedgerEvent::BlockFound {
        worker,
        hash,
        height,
        difficulty,
        reward,
        payee: String::new(),
    });
    assert_eq!(run.card.saves, saves + 1);
    let known = |record: &Record| matches!(record, Record::Block(block) if block.hash == hash);
    assert!(run.card.journal.iter().any(known));
    for confirmations in 1..100 {
        run.tell(LedgerEvent::Block { hash, state: StoredState::Confirmed { confirmations } });
    }
    assert_eq!(run.card.saves, saves + 2, "a hundred confirmations are not a hundred writes");
    run.tell(LedgerEvent::Block { hash, state: StoredState::Mature });
    assert_eq!(run.card.saves, saves + 3);
    run.tell(LedgerEvent::Setting {
        by: "page".into(),
        key: "payout.address".into(),
        old: "a".into(),
        new: "b".into(),
    });
    assert_eq!(run.card.saves, saves + 4);
}

/// What the spool has and the ledger lost: booked once, in its place, and a restart knows it.
#[test]
fn a_block_of_the_spool_is_booked_once_and_in_its_place() {
    let kept = |number: u32, name, state| kept(START + u64::from(number), name, number, state);
    let candidate = || StoredState::Candidate;
    let heights = |run: &Run| run.ledger.blocks().map(|b| b.height).collect::<Vec<_>>();
    let since = |run: &Run| run.ledger.total().totals().since_block.accepted;

    let mut run = Run::new(Card::default(), START);
    let worker = run.worker("w");
    run.share(worker, 1.0, 1.0);
    // A new one ends the round, whoever found it; an older one comes before it and ends nothing.
    run.tell(kept(50, "w", candidate()));
    run.advance(700);
    assert_eq!(since(&run), 0);
    run.share(worker, 1.0, 1.0);
    run.advance(3700);
    assert_eq!(since(&run), 1);
    run.tell(kept(20, "gone", candidate()));
    assert_eq!((heights(&run), since(&run)), (vec![20, 50], 1));
    let blocks: Vec<_> = run.ledger.blocks().cloned().collect();
    let number = run.ledger.get(worker).unwrap().number;
    assert_eq!((blocks[1].worker, blocks[1].unix), (number, START + 50));
    assert_eq!((blocks[0].worker, &*blocks[0].name), (WorkerNumber::TOTAL, "gone"));
    assert_eq!(run.ledger.workers().count(), 1, "nobody is made up");

    // Told again it is known; only what came later is taken.
    let saves = run.card.saves;
    run.tell(kept(50, "w", candidate()));
    assert_eq!((heights(&run), run.card.saves), (vec![20, 50], saves));
    run.tell(kept(50, "w", StoredState::Stale));
    run.tell(kept(50, "w", StoredState::Confirmed { confirmations: 3 }));
    assert_eq!(run.ledger.blocks().last().unwrap().state, StoredState::Stale);
    assert_eq!(run.card.saves, saves + 1);

    // A crash: the journal alone.
    let after = Run::new(run.card, run.now.unix);
    assert_eq!((heights(&after), since(&after)), (vec![20, 50], 1));
    let totals = after.ledger.total().totals();
    assert_eq!((totals.blocks, after.ledger.workers().next().unwrap().1.totals().blocks), (2, 1));
}

/// A block may leave the spool when the card has what the ledger knows of it, and not before.
#[test]
fn a_block_is_saved_when_the_card_has_what_is_known_of_it() {
    let now = Now { mono: Instant::now(), unix: START };
    let mut ledger = Ledger::new(now);
    let tell = |ledger: &mut Ledger, event| {
        let mut out = Vec::new();
        ledger.handle(now, event, &mut out);
        out.iter().filter(|output| matches!(output, LedgerOutput::Save(_))).count()
    };
    let done = || LedgerEvent::Saved(Ok(SaveReport::default()));
    let hash = |number: u8| BlockHash([&[number][..], &[0; 31]].concat().try_into().unwrap());
    let mature = |number| LedgerEvent::Block { hash: hash(number), state: StoredState::Mature };

    // Found before the card was read.
    tell(&mut ledger, LedgerEvent::Tick);
    tell(&mut ledger, kept(START, "w", 1, StoredState::Candidate));
    assert!(!ledger.is_block_saved(&hash(1)));
    // One that the card has is saved as soon as that is known.
    let LedgerEvent::BlockKept(known) = kept(START, "w", 2, StoredState::Candidate) else {
        unreachable!()
    };
    let opened = Opened { records: vec![Record::Block(*known)], ..Opened::default() };
    assert_eq!(tell(&mut ledger, LedgerEvent::Opened(Box::new(opened))), 1);
    assert_eq!([1, 2, 3].map(|n| ledger.is_block_saved(&hash(n))), [false, true, false]);
    // What changes while a batch is written waits for the next one.
    assert_eq!(tell(&mut ledger, mature(2)), 0);
    assert_eq!(tell(&mut ledger, done()), 1);
    assert_eq!([1, 2].map(|n| ledger.is_block_saved(&hash(n))), [true, false]);
    // After a failure nothing is known to be written.
    tell(&mut ledger, LedgerEvent::Saved(Err("it is out".into())));
    assert_eq!([1, 2].map(|n| ledger.is_block_saved(&hash(n))), [false, false]);
    assert_eq!(tell(&mut ledger, LedgerEvent::Stop), 1);
    assert_eq!([1, 2].map(|n| ledger.is_block_saved(&hash(n))), [false, false]);
    tell(&mut ledger, done());
    assert_eq!([1, 2].map(|n| ledger.is_block_saved(&hash(n))), [true, true]);
}

/// A stop for which miners wait: all is on the card, and the cache is left to the next run.
#[test]
fn a_pause_writes_everything_and_leaves_the_cache_alone() {
    let minutes = |run: &Run| run.ledger.total().history(Grain::Minute);
    let mut run = Run::new(Card::default(), START);
    let worker = run.worker("w");
    for _ in 0..30 {
        run.share(worker, 1.0, 1.0);
        run.advance(47);
    }
    let (drawn, cached) = (minutes(&run), run.card.cache.clone());
    run.tell(LedgerEvent::Pause);
    assert_eq!(run.card.cache, cached);
    let mut after = Run::new(run.card, run.now.unix);
    assert_eq!(after.ledger.total().totals().ever.accepted, 30);
    assert_eq!(minutes(&after), drawn);
    // What the cache lacks is made up for by the next stop.
    after.tell(LedgerEvent::Stop);
    assert_ne!(after.card.cache, cached);
    let last = Run::new(after.card, after.now.unix);
    assert_eq!(minutes(&last), drawn);
    assert_eq!(last.ledger.total().totals().ever.accepted, 30);
}

/// The list of found blocks is bounded, their count is not; and one that made room for newer ones is
/// not found a second time when the spool names it.
#[test]
fn a_block_that_made_room_is_not_found_again() {
    let mut run = Run::new(Card::default(), START);
    let many = MAX_BLOCKS as u32 + 2;
    for number in 0..many {
        run.tell(kept(run.now.unix, "w", number, StoredState::Candidate));
        run.advance(1);
    }
    let count = |run: &Run| (run.ledger.blocks().len(), run.ledger.total().totals().blocks);
    assert_eq!(count(&run), (MAX_BLOCKS, many));
    assert!(run.ledger.blocks().all(|block| block.height != 0), "the first made room");
    run.tell(kept(START, "w", 0, StoredState::Candidate));
    assert_eq!(count(&run), (MAX_BLOCKS, many));
    run.tell(LedgerEvent::Stop);
    assert_eq!(count(&Run::new(run.card, run.now.unix)), (MAX_BLOCKS, many));
}

#[test]
fn a_card_that_fails_and_comes_back_has_everything() {
    let mut run = Run::new(Card::default(), START);
    let worker = run.worker("w");
    run.share(worker, 1.0, 1.0);
    run.advance(700);
    run.card.failing = true;
    for _ in 0..1000 {
        run.advance(10);
        run.share(worker, 1.0, 1.0);
    }
    assert!(matches!(run.ledger.storage(), Storage::Failing { why, .. } if why == "it is out"));
    assert_eq!(run.ledger.notes().count(), 1, "told once, not every minute");
    run.card.failing = false;
    run.advance(61);
    assert_eq!(run.ledger.storage(), &Storage::Ready);
    run.tell(LedgerEvent::Stop);
    let after = Run::new(run.card, run.now.unix);
    assert_eq!(after.ledger.total().totals().ever.accepted, 1001);
}

#[test]
fn a_card_that_is_not_there_at_the_start_is_read_when_it_comes() {
    let mut first = Run::new(Card::default(), START);
    let worker = first.worker("w");
    first.share(worker, 1.0, 9.0);
    first.tell(LedgerEvent::Level { worker, difficulty: 64.0 });
    first.tell(LedgerEvent::Stop);

    let card = Card { failing: true, ..first.card };
    let mut run = Run::new(card, START + 100);
    let worker = run.worker("w");
    run.share(worker, 1.0, 5.0);
    run.advance(7200);
    assert!(matches!(run.ledger.storage(), Storage::Loading { why: Some(_) }));
    run.card.failing = false;
    run.advance(61);
    assert_eq!(run.ledger.storage(), &Storage::Ready);
    let totals = run.ledger.get(worker).unwrap().totals();
    assert_eq!((totals.ever.accepted, totals.best.unwrap().difficulty), (2, 9.0));
    assert_eq!(run.ledger.get(worker).unwrap().level, Some(64.0));
}

#[test]
fn hashrate_is_that_of_the_shares() {
    let mut run = Run::new(Card::default(), START);
    let worker = run.worker("w");
    run.tell(LedgerEvent::Connected(worker));
    // 1 TH/s: a share of difficulty 1000 every 4.295 s.
    let expected = 1000.0 * HASHES_PER_DIFFICULTY / 4.0;
    for second in 1..=90_000_u64 {
        run.advance(1);
        if second % 4 == 0 {
            run.share(worker, 1000.0, 1.0);
        }
        // From the second minute on it is about right, whatever the window.
        if second > 120 && second % 997 == 0 {
            for window in [60, 300, 3600, 86_400] {
                let rate = run.ledger.get(worker).unwrap().proven(run.now, window).hashrate();
                let wrong = (rate / expected - 1.0).abs();
                // A window of a minute holds as few as one share of its 15.
                let allowed = if window == 60 { 1.0 } else { 0.1 };
                assert!(wrong <= allowed, "after {second} s, window {window}: {rate} {expected}");
            }
        }
    }
    // It falls when the miner sends nothing.
    run.advance(400);
    assert_eq!(run.ledger.get(worker).unwrap().proven(run.now, 300).hashrate(), 0.0);
    let day = run.ledger.get(worker).unwrap().proven(run.now, 86_400).hashrate();
    assert!((day / expected - 0.995).abs() < 0.02);
    // While it is away, the day tells what it did when it was there.
    run.tell(LedgerEvent::Disconnected(worker));
    run.advance(40_000);
    let away = run.ledger.get(worker).unwrap().proven(run.now, 86_400);
    assert!((away.hashrate() / expected - 0.99).abs() < 0.02);
    assert!((away.seconds - 46_400.0).abs() < 60.0, "{away:?}");
    assert!(run.ledger.get(worker).unwrap().history(Grain::Minute).len() <= 1440);
}

#[test]
fn vanished_workers_go_after_thirty_days_and_their_shares_stay_in_the_total() {
    let mut run = Run::new(Card::default(), START);
    let gone = run.worker("gone");
    let here = run.worker("here");
    let idle = run.worker("connected but without shares");
    run.tell(LedgerEvent::Connected(idle));
    for worker in [gone, here, idle] {
        run.share(worker, 1.0, 1.0);
    }
    for day in 0..33 {
        for _ in 0..24 {
            run.advance(3600);
            run.share(here, 1.0, 1.0);
        }
        assert_eq!(run.ledger.get(gone).is_some(), day < 30, "day {day}");
    }
    assert!(run.ledger.get(here).is_some() && run.ledger.get(idle).is_some());
    assert_eq!(run.ledger.total().totals().ever.accepted, 3 + 33 * 24);
    // A late share by the old handle is counted for the total and for nobody else.
    run.share(gone, 1.0, 1.0);
    assert_eq!(run.ledger.total().totals().ever.accepted, 4 + 33 * 24);
    let again = run.worker("gone");
    assert_eq!(run.ledger.get(again).unwrap().totals().ever.accepted, 0);
    run.tell(LedgerEvent::Stop);
    assert_eq!(Run::new(run.card, run.now.unix).ledger.workers().count(), 2);
}

#[test]
fn a_clock_that_is_wrong_for_an_hour_does_not_empty_the_ledger() {
    let mut run = Run::new(Card::default(), START);
    let workers: Vec<_> = (0..10).map(|n| run.worker(&format!("w{n}"))).collect();
    for _ in 0..100 {
        run.advance(600);
        workers.iter().for_each(|&worker| run.share(worker, 1.0, 1.0));
    }
    let hours = run.ledger.total().history(Grain::Hour).len();
    // The year 2038, for two hours, and back.
    let right = run.now.unix;
    run.now.unix = 2_145_916_800;
    run.advance(7200);
    run.share(workers[0], 1.0, 1.0);
    run.now.unix = right + 7200;
    run.advance(3600);
    assert!(run.ledger.workers().count() >= 7);
    assert_eq!(run.ledger.total().totals().ever.accepted, 1001);
    assert!(run.ledger.total().history(Grain::Hour).len() >= hours);
    // Before 1970 there is nothing.
    run.now.unix = 0;
    run.advance(3600);
    run.share(workers[0], 1.0, 1.0);
    assert_eq!(run.ledger.total().totals().ever.accepted, 1002);
}

#[test]
fn the_table_of_workers_is_bounded_and_connected_ones_stay() {
    let mut run = Run::new(Card::default(), START);
    let mine = run.worker("mine");
    run.tell(LedgerEvent::Connected(mine));
    run.share(mine, 1.0, 1.0);
    for number in 0..3 * MAX_WORKERS {
        run.worker(&format!("stranger {number}"));
    }
    assert_eq!(run.ledger.workers().count(), MAX_WORKERS);
    assert_eq!(run.ledger.get(mine).unwrap().name, "mine");
    run.advance(61);
    // Names alone are not written.
    let names = run.card.journal.iter().filter(|r| matches!(r, Record::Worker { .. })).count();
    assert_eq!(names, 1);
}

/// A miner was renamed: its shares lie in two workers, until the owner says that they are one.
#[test]
fn a_renamed_miner_gets_its_history_and_keeps_it_whatever_the_power_does() {
    let mut run = Run::new(Card::default(), START);
    run.tell(LedgerEvent::Network { difficulty: 1e6 });
    let mine = |run: &mut Run, worker, shares: u32, actual: f64| {
        run.tell(LedgerEvent::Connected(worker));
        for _ in 0..shares {
            run.advance(30);
            run.share(worker, 1.0, actual);
        }
        run.tell(LedgerEvent::Disconnected(worker));
    };
    let old = run.worker("old");
    mine(&mut run, old, 2_000, 7.0);
    let hash = BlockHash([3; 32]);
    let (height, difficulty, reward, payee) = (9, 7.5, 6, String::new());
    run.tell(LedgerEvent::BlockFound { worker: old, hash, height, difficulty, reward, payee });
    let began = run.ledger.get(old).unwrap().totals().first_seen;
    let new = run.worker("new");
    mine(&mut run, new, 400, 5.0);
    // What the card had when the owner pressed, and a snapshot of then.
    let (before, snapshot) = (run.card.clone(), run.ledger.records(1 << 20));
    run.tell(LedgerEvent::Connected(old));
    assert!(!run.join("old", "new"), "it mines");
    run.tell(LedgerEvent::Disconnected(old));
    run.tell(LedgerEvent::Connected(new));
    let minutes = |ledger: &Ledger, name: &str| {
        let worker = ledger.named(name).and_then(|id| ledger.get(id)).unwrap();
        worker.history(Grain::Minute).iter().map(|point| point.accepted).sum::<u32>()
    };
    let drawn = minutes(&run.ledger, "old") + minutes(&run.ledger, "new");
    let [hours, days] = [Grain::Hour, Grain::Day].map(|grain| run.ledger.total().history(grain));
    let saves = run.card.saves;
    assert!(run.join("old", "new"));
    assert_eq!(run.card.saves, saves + 1, "it is written at once");

    let check = |ledger: &Ledger, what: &str| {
        assert_eq!(ledger.named("old"), None, "{what}");
        let worker = ledger.named("new").and_then(|id| ledger.get(id)).unwrap();
        let totals = worker.totals();
        assert_eq!((totals.ever.accepted, totals.blocks), (2_400, 1), "{what}");
        assert_eq!((totals.first_seen, totals.since_block.accepted), (began, 400), "{what}");
        let (best, since) = (totals.best.unwrap(), totals.best_since_block.unwrap());
        assert_eq!((best.difficulty, since.difficulty), (7.0, 5.0), "{what}");
        assert_eq!((best.worker, since.worker), (worker.number, worker.number), "{what}");
        assert!(ledger.bests().iter().all(|best| best.worker == worker.number), "{what}");
        let block = ledger.blocks().next().unwrap();
        assert_eq!((block.worker, block.name.as_str()), (worker.number, "new"), "{what}");
        assert_eq!(ledger.total().totals().best.unwrap().worker, worker.number, "{what}");
        assert_eq!(minutes(ledger, "new"), drawn.min(minutes(ledger, "new")), "{what}");
        // A single miner: its charts are those of all.
        let work = |points: &[soloist::ledger::record::Point]| {
            points
                .iter()
                .map(|point| (point.period, point.accepted, point.work))
                .collect::<Vec<_>>()
        };
        for (grain, all) in [(Grain::Hour, &hours), (Grain::Day, &days)] {
            assert_eq!(work(&worker.history(grain)), work(all), "{what}");
        }
    };
    check(&run.ledger, "now");
    assert_eq!(minutes(&run.ledger, "new"), drawn);
    // The power goes now; the cache is as old as it was, or gone.
    for cache in [before.cache.clone(), BTreeMap::new()] {
        let after = Run::new(Card { cache, ..run.card.clone() }, run.now.unix).ledger;
        check(&after, "after a power cut");
        assert_eq!(minutes(&after, "new"), drawn, "the journal has the minutes");
    }
    // It went a moment before: nothing has happened.
    let undone = Run::new(before, run.now.unix).ledger;
    assert_eq!(undone.workers().count(), 2);
    // The journal is damaged: what is left of it comes after a snapshot of before.
    let records = [snapshot.clone(), run.card.journal.clone()].concat();
    check(&Ledger::replay(run.now, &records), "after a snapshot of before");
    for lost in 0..run.card.journal.len() {
        let mut left = run.card.journal.clone();
        if matches!(left.remove(lost), Record::Join { .. }) {
            continue;
        }
        let after = Ledger::replay(run.now, &[snapshot.clone(), left].concat());
        let name = after.workers().next().unwrap().1.name.clone();
        assert_eq!((after.workers().count(), name.as_str()), (1, "new"), "without record {lost}");
        assert_eq!(sum_of_workers(&after).0, 2_400, "without record {lost}");
    }
    // Who comes by the old name is somebody else.
    let again = run.worker("old");
    run.share(again, 1.0, 1.0);
    assert_ne!(run.ledger.get(again).unwrap().number, WorkerNumber(1));
    assert_eq!(run.ledger.get(again).unwrap().totals().ever.accepted, 1);
    run.share(old, 1.0, 1.0);
    assert_eq!(run.ledger.total().totals().ever.accepted, 2_402, "by the old handle");
    run.tell(LedgerEvent::Stop);
    let after = Run::new(run.card, run.now.unix).ledger;
    assert_eq!(after.named("old").and_then(|id| after.get(id)).unwrap().totals().ever.accepted, 1);
    assert_eq!(
        after.named("new").and_then(|id| after.get(id)).unwrap().totals().ever.accepted,
        2_400
    );
}

/// Three runs: one with the right time, one that never had it, and one that gets it. Of the same boot the
/// distance of both clocks is known; of another one only the order.
#[test]
fn a_run_that_ended_before_its_clock_was_right_is_dated_by_the_next_one() {
    let day = |unix: u64| Grain::Day.period(unix);
    let work = |ledger: &Ledger, grain, from: u64, to: u64| {
        let points = ledger.total().history(grain).into_iter();
        let within = points
            .filter(|point| (from..=to).contains(&(u64::from(point.period) * grain.seconds())));
        within.map(|point| u64::from(point.accepted)).sum::<u64>()
    };
    let started = |run: &mut Run, boot: &str, up| {
        run.tell(LedgerEvent::Started { boot: boot.to_owned(), up });
    };
    for same_boot in [true, false] {
        let mut run = Run::new(Card::default(), START);
        started(&mut run, "a", 30);
        run.tell(LedgerEvent::ClockKnown);
        let mines = |run: &mut Run, minutes: u64, actual: f64| {
            let worker = run.worker("w");
            run.tell(LedgerEvent::Connected(worker));
            for _ in 0..minutes {
                run.advance(60);
                run.share(worker, 1.0, actual);
            }
        };
        mines(&mut run, 130, 2.0);
        // To the end of a minute: what two runs have in one minute is not told apart.
        run.advance(59 - run.now.unix % 60);
        run.tell(LedgerEvent::Stop);
        let first_end = run.now.unix;

        // The box has no clock, and shows half an hour less than the end of its last run.
        let mut run = Run::new(run.card, first_end - 1_800);
        started(&mut run, "b", 20);
        let earliest = run.ledger.earliest().unwrap();
        assert_eq!(earliest, first_end + 1);
        // Its clock is ahead instead, where nobody will ever know by how much.
        let began = if same_boot { earliest } else { first_end + 30 * 86_400 };
        let by = began as i64 - run.now.unix as i64;
        run.now.unix = began;
        run.tell(LedgerEvent::ClockSet { by });
        let about = String::new();
        run.tell(LedgerEvent::Dent { kind: Dent::Outage, about });
        mines(&mut run, 100, 9.0);
        let worker = run.worker("w");
        let (height, difficulty, reward, payee) = (9, 7.5, 6, String::new());
        let hash = BlockHash([3; 32]);
        run.tell(LedgerEvent::BlockFound { worker, hash, height, difficulty, reward, payee });
        assert!(!run.ledger.is_clock_known());
        let ended = run.now.unix;
        // The power goes.
        let truth = 5 * 86_400;
        let unix = match same_boot {
            true => ended + 7 + truth,
            false => first_end + truth,
        };
        let mut run = Run::new(run.card, unix);
        let boot = if same_boot { "b" } else { "c" };
        started(&mut run, boot, 20 + 6_000 + 7);
        let before = sum_of_workers(&run.ledger);
        // The last minutes may not be on the card; hours and days have them by the block's tally.
        let minutes = work(&run.ledger, Grain::Minute, began, ended);
        let of_first = work(&run.ledger, Grain::Minute, 0, first_end);
        assert!(minutes >= 90, "{minutes}");
        run.tell(LedgerEvent::ClockKnown);
        // To the second, or to end when the next one begins.
        let moved = match same_boot {
            true => truth as i64,
            false => unix as i64 - ended as i64,
        };
        let right = |date: u64| date.saturating_add_signed(moved);
        let check = |ledger: &Ledger, what: &str| {
            // Of the minutes the card keeps a day.
            let left_out = usize::from(what == "after a power cut");
            let (mut sum, mut had) = (sum_of_workers(ledger), before.clone());
            for sum in [&mut sum, &mut had] {
                sum.4.drain(..left_out);
            }
            assert_eq!(sum, had, "{what}: nothing comes and nothing goes");
            let (from, to) = (right(began), right(ended));
            for grain in Grain::ALL.into_iter().skip(left_out) {
                let slack = grain.seconds();
                let all = if grain == Grain::Minute { minutes } else { 100 };
                assert_eq!(work(ledger, grain, from - slack, to), all, "{what}: {grain:?}");
                let all = if grain == Grain::Minute { of_first } else { 130 };
                assert_eq!(work(ledger, grain, 0, first_end), all, "{what}: {grain:?}");
            }
            let block = ledger.blocks().next().unwrap();
            assert_eq!((block.unix, block.state_unix), (to, to), "{what}");
            let totals = ledger.total().totals();
            assert!((START..=START + 60).contains(&totals.first_seen), "{what}: {totals:?}");
            assert_eq!(totals.last_share, to, "{what}");
            let best = totals.best.unwrap();
            assert_eq!((best.difficulty, best.unix), (9.0, from + 60), "{what}");
            assert_eq!(ledger.bests()[0].unix, from + 60, "{what}");
            let mark = ledger.marks().next().unwrap();
            assert_eq!((mark.unix, mark.until), (from, to), "{what}: ended with its run");
            let runs: Vec<_> = ledger.runs().map(|run| (run.since, run.until, run.known)).collect();
            assert_eq!(runs[..2], [(START, first_end, true), (from, to, same_boot)], "{what}");
            assert!(day(to) <= day(unix), "{what}");
        };
        check(&run.ledger, "now");
        run.tell(LedgerEvent::ClockKnown);
        check(&run.ledger, "told twice");
        run.advance(61);
        assert!(run.card.rewrites > 0);
        let later = Run::new(run.card.clone(), run.now.unix);
        check(&later.ledger, "after a power cut");
    }
}

#[test]
fn marks_are_kept_over_runs_and_an_outage_is_told_once() {
    let mut run = Run::new(Card::default(), START);
    let tell = |run: &mut Run, kind, about: &str| {
        run.tell(LedgerEvent::Dent { kind, about: about.to_owned() });
    };
    run.tell(LedgerEvent::OutageOver);
    run.advance(10);
    tell(&mut run, Dent::Outage, "");
    run.advance(1);
    tell(&mut run, Dent::Outage, "");
    run.advance(8);
    tell(&mut run, Dent::Failover, "cellar");
    run.advance(1);
    run.tell(LedgerEvent::OutageOver);
    run.advance(10);
    run.tell(LedgerEvent::OutageOver);
    let marks = |ledger: &Ledger| {
        let marks = ledger
            .marks()
            .map(|mark| (mark.kind, mark.unix - START, mark.until.saturating_sub(START)));
        marks.collect::<Vec<_>>()
    };
    let told = [(Dent::Outage, 10, 20), (Dent::Failover, 19, 0)];
    assert_eq!(marks(&run.ledger), told);
    run.advance(61);
    // What comes before the card is read stands behind what is on it.
    let now = Now { mono: run.now.mono, unix: run.now.unix + 100 };
    let mut next = Run { ledger: Ledger::new(now), card: run.card, now, best: None };
    tell(&mut next, Dent::Failover, "attic");
    assert_eq!(marks(&next.ledger)[..2], told);
    assert_eq!(next.ledger.marks().last().unwrap().about, "attic");
    for _ in 0..1_000 {
        next.advance(3);
        tell(&mut next, Dent::Failover, "attic");
    }
    assert_eq!(next.ledger.marks().count(), MAX_MARKS);
    next.tell(LedgerEvent::Stop);
    assert_eq!(marks(&Run::new(next.card, next.now.unix).ledger), marks(&next.ledger));
}

#[test]
fn odd_numbers_and_names_do_no_harm() {
    let mut run = Run::new(Card::default(), START);
    let long = "ä".repeat(500);
    let worker = run.ledger.worker(run.now, &long, &long);
    assert_eq!(run.ledger.get(worker).unwrap().name.len(), 128);
    assert_eq!(run.ledger.worker(run.now, &long, &long), worker);
    for bad in [f64::NAN, f64::INFINITY] {
        run.share(worker, bad, 1.0);
        run.share(worker, 1.0, bad);
    }
    run.share(worker, 1.0, 1.0);
    let totals = run.ledger.total().totals();
    assert_eq!((totals.ever.accepted, totals.ever.work), (1, 1.0));
    assert_eq!(run.best, Some(1.0));
    assert_eq!(run.ledger.find(WorkerNumber(1)), Some(worker));
}

#[test]
fn a_share_allocates_nothing() {
    let mut run = Run::new(Card::default(), START);
    let workers: Vec<_> = (0..10).map(|n| run.worker(&format!("w{n}"))).collect();
    let mut out = Vec::with_capacity(8);
    let mut allocations = |run: &mut Run, actual: f64| {
        allocation_counter::measure(|| {
            for &worker in &workers {
                let share = LedgerEvent::Share { worker, difficulty: 1.0, actual, height: 1 };
                run.ledger.handle(run.now, share, &mut out);
                let reason = RejectReason::Stale;
                let reject = LedgerEvent::Reject { worker, reason, actual: 0.0, height: 1 };
                run.ledger.handle(run.now, reject, &mut out);
            }
        })
        .count_total
    };
    // A new best is a record of the journal, and that is allocated.
    assert!((1..=10).map(|n| allocations(&mut run, 100.0 * f64::from(n))).sum::<u64>() > 0);
    let begin = Instant::now();
    for second in 0..50 {
        run.now.mono += Duration::from_secs(1);
        run.now.unix += u64::from(second % 2 == 0);
        assert_eq!(allocations(&mut run, 1.0), 0);
    }
    println!("{} ns for a share (unoptimised)", begin.elapsed().as_nanos() / 1000);
}

#[test]
fn long_lists_do_not_crowd_each_other_out_of_a_backup() {
    let mut run = Run::new(Card::default(), START);
    for number in 0..1000_u32 {
        run.tell(LedgerEvent::Audit(format!("{number} {}", "x".repeat(600))));
        let (by, key) = ("page".into(), format!("key{number}{}", "k".repeat(600)));
        run.tell(LedgerEvent::Setting { by, key, old: "o".repeat(600), new: "n".repeat(600) });
    }
    for number in 0..1200 {
        let worker = run.worker(&format!("{number:0>128}"));
        run.share(worker, 1.0, f64::from(number));
    }
    let file = soloist::ledger::transfer::make(&run.ledger, &[("a", &[1; 60_000])]).unwrap();
    let records = soloist::ledger::backup::read(&file).unwrap();
    let restored = Ledger::replay(run.now, &records);
    println!("backup of very long lists: {} bytes", file.len());
    assert_eq!(restored.workers().count(), run.ledger.workers().count());
    assert!(restored.audit().any(|entry| entry.text.starts_with("999 ")));
    assert!(restored.settings().any(|change| change.key.starts_with("key999")));
}

#[test]
fn a_stop_never_waits_for_a_card_that_is_not_there() {
    let mut run = Run::new(Card { failing: true, ..Card::default() }, START);
    let worker = run.worker("w");
    run.share(worker, 1.0, 1.0);
    run.tell(LedgerEvent::Stop);
    assert_eq!(run.ledger.storage(), &Storage::Closed);
    assert_eq!(run.ledger.next_deadline(), None);

    // One that fails later gets one last try.
    let mut run = Run::new(Card::default(), START);
    run.card.failing = true;
    let worker = run.worker("w");
    run.share(worker, 1.0, 1.0);
    run.advance(61);
    run.tell(LedgerEvent::Stop);
    assert_eq!(run.ledger.storage(), &Storage::Closed);

    // Stopped before the card was read: it is read and written first.
    let now = Now { mono: Instant::now(), unix: START };
    let (ledger, card) = (Ledger::new(now), Card::default());
    let mut run = Run { ledger, card, now, best: None };
    let worker = run.worker("w");
    run.tell(LedgerEvent::Stop);
    assert_eq!(run.ledger.storage(), &Storage::Closed);
    run.share(worker, 1.0, 1.0);
    assert!(run.card.saves == 1);
}
