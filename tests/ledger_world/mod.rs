//! A ledger in virtual time on a real directory.
#![allow(dead_code)]

use std::path::Path;
use std::time::{Duration, Instant};

use soloist::clock::Now;
use soloist::ledger::heat::{Slot, Span, Sum};
use soloist::ledger::record::{BestShare, FoundBlock, Grain, Point, Totals};
use soloist::ledger::totals::{Ledger, LedgerEvent, LedgerOutput, WorkerId};
use soloist::ledger::writer::LedgerWriter;

pub struct World {
    pub ledger: Ledger,
    pub keeper: Option<LedgerWriter>,
    now: Now,
    random: Random,
    height: u32,
    reading: bool,
    waiting: Vec<LedgerOutput>,
}

/// Xorshift; not zero.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    /// In (0, 1].
    pub fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

/// Name, device, totals, hours and days, and what it told of heat and power.
pub type PictureOfWorker = (String, String, Totals, Vec<Point>, Vec<Point>, Heat);
/// Slots of ten minutes; the wider ones are made of them.
pub type Heat = Vec<(u32, Slot)>;

/// What must survive.
#[derive(Debug, PartialEq)]
pub struct Picture {
    pub total: Totals,
    pub workers: Vec<PictureOfWorker>,
    pub days: Vec<Point>,
    pub watts: Vec<(u32, Sum)>,
    pub bests: Vec<BestShare>,
    pub blocks: Vec<FoundBlock>,
}

impl World {
    /// Opens the ledger in `dir` and reads it.
    pub fn open(dir: &Path, unix: u64) -> World {
        let mut world = World::unread(dir, unix);
        world.read();
        world
    }

    /// A ledger that has not been asked to read the card yet.
    pub fn unread(dir: &Path, unix: u64) -> World {
        let now = Now { mono: Instant::now(), unix };
        let keeper = Some(LedgerWriter::in_process(dir.to_owned()));
        World {
            ledger: Ledger::new(now),
            keeper,
            now,
            random: Random(unix | 1),
            height: 900_000,
            reading: false,
            waiting: Vec::new(),
        }
    }

    pub fn guarded(dir: &Path, unix: u64, exe: std::path::PathBuf) -> World {
        let mut world = World::unread(dir, unix);
        world.keeper = Some(LedgerWriter::new(dir.to_owned(), Some(exe)));
        world
    }

    /// The clock jumps, as when it is set.
    pub fn set_unix(&mut self, unix: u64) {
        self.now.unix = unix;
    }

    pub fn memory(unix: u64) -> World {
        let mut world = World::unread(Path::new("/nonexistent"), unix);
        world.keeper = None;
        world
    }

    pub fn read(&mut self) {
        self.reading = true;
        self.tell(LedgerEvent::Tick);
    }

    pub fn now(&self) -> Now {
        self.now
    }

    pub fn tell(&mut self, event: LedgerEvent) {
        let mut out = std::mem::take(&mut self.waiting);
        self.ledger.handle(self.now, event, &mut out);
        if self.reading { self.work(out) } else { self.waiting = out }
    }

    fn work(&mut self, mut out: Vec<LedgerOutput>) {
        while let Some(output) = out.pop() {
            let keeper = self.keeper.as_mut();
            if let Some(answer) = keeper.and_then(|keeper| keeper.work(&output)) {
                self.ledger.handle(self.now, answer, &mut out);
            }
        }
    }

    pub fn advance(&mut self, seconds: u64) {
        self.now.mono += Duration::from_secs(seconds);
        self.now.unix += seconds;
        let due = self.ledger.next_deadline().is_some_and(|at| at <= self.now.mono);
        if due {
            self.tell(LedgerEvent::Tick);
        }
    }

    /// Shares of difficulty 512 every `every` seconds for `seconds`.
    pub fn mine(&mut self, worker: WorkerId, seconds: u64, every: u64) {
        for _ in 0..seconds / every {
            self.advance(every);
            self.share(worker, 512.0);
        }
    }

    pub fn share(&mut self, worker: WorkerId, difficulty: f64) {
        let actual = difficulty / self.random.uniform();
        let height = self.height;
        self.tell(LedgerEvent::Share { worker, difficulty, actual, height });
    }

    pub fn stop(mut self) {
        self.tell(LedgerEvent::Stop);
    }

    pub fn picture(&self) -> Picture {
        picture(&self.ledger)
    }
}

pub fn picture(ledger: &Ledger) -> Picture {
    let workers = ledger.workers().map(|(_, worker)| {
        let (hours, days) = (worker.history(Grain::Hour), worker.history(Grain::Day));
        let heat = worker.heat(Span::TenMinutes);
        (worker.name.clone(), worker.device.clone(), worker.totals(), hours, days, heat)
    });
    let mut total = ledger.total().totals();
    // The number of the next tally is book-keeping.
    total.tallies = 0;
    let workers = workers.map(|(name, device, mut totals, hours, days, heat)| {
        totals.tallies = 0;
        totals.last_seen = 0;
        (name, device, totals, hours, days, heat)
    });
    let mut workers: Vec<_> = workers.collect();
    workers.sort_by(|a, b| a.0.cmp(&b.0));
    total.last_seen = 0;
    total.first_seen = 0;
    Picture {
        total,
        workers,
        days: ledger.total().history(Grain::Day),
        watts: ledger.watts(Span::TenMinutes),
        bests: ledger.bests().to_vec(),
        blocks: ledger.blocks().cloned().collect(),
    }
}
