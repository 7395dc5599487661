//! The ledger itself: counts, bests, blocks and history in memory, and what to write when.
//!
//! Pure. Shares only add to a handful of numbers of their worker and of the total; nothing is
//! allocated and nothing is written for a single share. What is written is decided here and done
//! by [`super::store`]: [`LedgerOutput::Open`] once, [`LedgerOutput::Save`] now and then, one at a
//! time, each answered by an event.
//!
//! ```text
//!              Opened                 Saved(Ok)
//!   Loading ------------> Ready <------------------ Failing
//!     |  ^                  |   ------------------>    |
//!     |  | after a minute   |        Saved(Err)        | after a minute: the whole
//!     +--+ OpenFailed       +-- batches of changes     +- state is written anew
//! ```
//!
//! In every state shares are counted. What is counted while Loading is added to what was on the
//! card as soon as it has been read.
//!
//! **Truth.** Each worker's counts are journalled as numbered tallies: at every full hour, at a
//! found block, and at the stop. What is counted since the last tally, the minutes and the
//! difficulties are journalled every ten minutes. The cache gets them every three hours; a journal
//! that is written anew leaves out what the cache has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::cache::{Cached, Entry, minute_key, minute_of};
use super::codec::{MAX_AMOUNT, clip};
use super::half_hours::{HalfHour, half_of};
use super::heat::{Open, Slot, Span, Sum, WorkerHeat};
use super::heat_history::{self, History};
use super::history::Series;
use super::record::{
    AuditEntry, BestShare, Counts, Dent, FoundBlock, Grain, MAX_DEVICE, MAX_NAME, MAX_POINTS,
    MAX_TEXT, Mark, Point, Record, RejectReason, Run, SettingChange, StoredState, Tally, Totals,
    WorkerNumber, best_difficulty, better, encode_all,
};
use super::runs::{self, Shift};
use crate::chain::BlockHash;
use crate::clock::{Now, Reading};
use crate::rate::Proven;

/// At most so many workers are kept; the one that was away longest makes room.
pub const MAX_WORKERS: usize = 1024;
/// A worker is dropped so long after it was last seen. Its part of the total stays.
pub const KEEP_VANISHED: Duration = Duration::from_secs(30 * 86_400);
/// The list of the best shares ever is so long.
pub const MAX_BESTS: usize = 20;
/// At most so many found blocks are listed (their number is counted beyond it).
pub const MAX_BLOCKS: usize = 1000;
/// At most so many changes of settings are kept.
pub const MAX_SETTINGS: usize = 500;
/// At most so many audit entries are kept.
pub const MAX_AUDIT: usize = 1000;
/// Changes are written at most this often, found blocks and settings excepted.
pub const APPEND_EVERY: Duration = Duration::from_secs(60);
/// What is counted since the last tallies is journalled this often. Once a minute would alone be
/// more than 5 MB a day, because the card's file system writes at least a page of 4 KiB each time.
pub const INTERIM_EVERY: Duration = Duration::from_secs(600);
/// The cache is written this often, soon after a full hour. Each time is an opening of sled, which
/// writes some 50 kB before anything of ours.
pub const CACHE_EVERY: Duration = Duration::from_secs(3 * 3_600);
/// A card that failed is tried again after this time.
pub const RETRY_AFTER: Duration = Duration::from_secs(60);
/// All series together hold at most so many points (28 bytes each) in memory.
pub const MAX_POINTS_HELD: usize = 400_000;
/// What compaction may write: some 4 MB, fifty miners for ten years. The oldest history goes
/// first when it would be more.
pub const JOURNAL_BUDGET: usize = 4_000_000;
/// A longer journal is written anew, however much of it is still of use: 10 MiB.
const JOURNAL_LIMIT: u64 = super::journal::MAX_JOURNAL - (2 << 20);
/// At most such a part of a journal or a backup is heat and power: of forty miners all of it.
const HEAT_PART: usize = 6;
/// So many bytes of slots stand in one record of all workers, and those of one worker more.
const HEAT_AT_ONCE: usize = 32 * 1024;
/// What a backup may weigh in bytes.
pub const BACKUP_BUDGET: usize = 950_000;

/// Bytes of records of newer programs that are carried along.
const MAX_UNKNOWN: usize = 100_000;
/// So many failovers and outages are remembered for the charts.
pub const MAX_MARKS: usize = 64;
/// So many joined workers are remembered, so that a snapshot of before knows them to be joined.
const MAX_JOINS: usize = 64;
/// Stands in the place of a dropped worker's name.
const FORGOTTEN: &str = "(forgotten)";
const MAX_PENDING: usize = 20_000;
const MAX_GONE: usize = 40_000;

/// A handle to a worker, for shares. It is never given again: a handle of a dropped worker counts
/// for the total alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(u64);

/// What happened.
#[derive(Debug)]
pub enum LedgerEvent {
    /// An accepted share.
    Share {
        /// Whose.
        worker: WorkerId,
        /// The difficulty of its job: what is credited.
        difficulty: f64,
        /// Its real difficulty.
        actual: f64,
        /// Height of the block that it worked on.
        height: u32,
    },
    /// A refused share.
    Reject {
        /// Whose.
        worker: WorkerId,
        /// Why.
        reason: RejectReason,
        /// Its real difficulty, 0 where it was not computed. A stale share can be a best share.
        actual: f64,
        /// Height of the block that it worked on.
        height: u32,
    },
    /// A connection authorised as this worker.
    Connected(WorkerId),
    /// Such a connection ended.
    Disconnected(WorkerId),
    /// A worker's difficulty was set: to be restored when it comes back.
    Level {
        /// Whose.
        worker: WorkerId,
        /// The share difficulty.
        difficulty: f64,
    },
    /// What a worker wished for as its difficulty.
    Wish {
        /// Whose.
        worker: WorkerId,
        /// The share difficulty.
        difficulty: f64,
    },
    /// The owner fixes a worker's difficulty, or (`None`) leaves it to the box again.
    Fix {
        /// Whose.
        worker: WorkerId,
        /// The share difficulty.
        difficulty: Option<f64>,
    },
    /// What a worker's own API told of it. Each value that no device can have is left out, see
    /// [`Open::tell`]; so is all of a worker that never had a share counted, as it is on the card.
    Heat {
        /// Whose.
        worker: WorkerId,
        /// Temperature of its hottest chip, °C.
        celsius: Option<f32>,
        /// Power of the whole device, W.
        watts: Option<f32>,
    },
    /// The network's difficulty, with each new tip.
    Network {
        /// The difficulty.
        difficulty: f64,
    },
    /// A share solved a block. Comes after its [`LedgerEvent::Share`] or [`LedgerEvent::Reject`].
    BlockFound {
        /// Who solved it.
        worker: WorkerId,
        /// The block's hash.
        hash: BlockHash,
        /// Its height.
        height: u32,
        /// Real difficulty of the share.
        difficulty: f64,
        /// Value of the coinbase in satoshi.
        reward: u64,
        /// The address that it pays.
        payee: String,
    },
    /// A block that lies in the spool, told once after [`LedgerEvent::Opened`]: the power may have
    /// gone between the two writes. One that the ledger has never heard of is booked with its time,
    /// its worker's name and its state; of a known one only a later state is taken.
    BlockKept(Box<FoundBlock>),
    /// A found block stands elsewhere now. Told again, or for an unknown block, it does nothing.
    Block {
        /// Which.
        hash: BlockHash,
        /// Where it stands.
        state: StoredState,
    },
    /// A setting was changed.
    Setting {
        /// Who: `page`, `file`, `restore`, …
        by: String,
        /// Which one.
        key: String,
        /// The value before.
        old: String,
        /// The value now.
        new: String,
    },
    /// Something for the audit list.
    Audit(String),
    /// The program began, in this boot of the system, so many seconds after it. Told once, before the
    /// card is read; without it nothing is known of this run later.
    Started {
        /// The system's name for the boot.
        boot: String,
        /// Seconds since it.
        up: u64,
    },
    /// The wall clock was set, by so many seconds. What was noted since the start is dated by it.
    ClockSet {
        /// The new time minus the time that the clock would show else.
        by: i64,
    },
    /// The wall clock is right: somebody has set it, or it agrees with others.
    ClockKnown,
    /// Something that explains a dent in the charts.
    Dent {
        /// What.
        kind: Dent,
        /// The node's name, where it is about one.
        about: String,
    },
    /// The outage is over, if there is one.
    OutageOver,
    /// The owner wants this worker forgotten.
    Forget(WorkerId),
    /// The owner says that the worker `from`, which is gone, is the same miner as `into`: all that
    /// was counted for it is that one's, and `from` is no more. Does nothing where
    /// [`Ledger::can_join`] says why not.
    Join {
        /// Whose history moves.
        from: WorkerId,
        /// Whose it becomes.
        into: WorkerId,
    },
    /// A backup's records, for a ledger on a card that has counted nothing; else it does nothing.
    Restore(Vec<Record>),
    /// The card's content, in answer to [`LedgerOutput::Open`].
    Opened(Box<Opened>),
    /// There is nothing to read or write on (the reason in words), in answer to
    /// [`LedgerOutput::Open`].
    OpenFailed(String),
    /// The answer to [`LedgerOutput::Save`]: the journal's length in bytes, or why it failed. A
    /// cache that failed is told in words and is not a failure.
    Saved(Result<SaveReport, String>),
    /// The owner (or a card at 90 %) wants the oldest history dropped.
    Shrink,
    /// A deadline passed.
    Tick,
    /// The daemon stops: everything is to be written.
    Stop,
    /// The daemon stops, and miners wait for the next run: all is to be written but the cache, which the
    /// journal does without.
    Pause,
}

/// What a shell has to do.
#[derive(Debug)]
pub enum LedgerOutput {
    /// Open the ledger on the card, off the main thread, and answer.
    Open,
    /// Write this, off the main thread, and answer. Comes one at a time.
    Save(Box<Batch>),
    /// A share is the best that the appliance ever saw.
    NewBest(BestShare),
}

/// What was on the card.
#[derive(Debug, Default)]
pub struct Opened {
    /// The journal's records (and a snapshot's before them, if the journal was damaged).
    pub records: Vec<Record>,
    /// What the cache held; nothing without one.
    pub cached: Cached,
    /// Length of the journal in bytes.
    pub journal_bytes: u64,
    /// What was wrong, in sentences for the page. Empty when all is well.
    pub notes: Vec<String>,
    /// The journal must be written anew before it is appended to.
    pub rewrite: bool,
    /// The day of the newest snapshot, see [`Grain::Day`]; `None` when there is none.
    pub snapshot_day: Option<u32>,
}

/// One go of writing.
#[derive(Debug, Default, PartialEq)]
pub struct Batch {
    /// When, Unix seconds.
    pub unix: u64,
    /// To be appended to the journal and made durable.
    pub append: Vec<Record>,
    /// The journal is to be replaced by these records, before `append` (which is then empty).
    pub rewrite: Option<Vec<Record>>,
    /// To be put into the cache.
    pub cache: Vec<Entry>,
    /// A snapshot of this day ([`Grain::Day`]) is to be written.
    pub snapshot: Option<(u32, Vec<Record>)>,
    /// Set-aside files and all but the newest two snapshots are to be removed first.
    pub shrink: bool,
    /// Everything is to be closed after it.
    pub close: bool,
}

/// What became of a [`Batch`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaveReport {
    /// Length of the journal in bytes.
    pub journal_bytes: u64,
    /// The cache could not be written, or is a new one: the next batch is to hold all of it.
    pub cache_failed: bool,
    /// What else went wrong, in sentences: the cache, the snapshot.
    pub notes: Vec<String>,
}

/// How the ledger stands with the card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Not read yet.
    Loading {
        /// Why the last try failed.
        why: Option<String>,
    },
    /// All is well.
    Ready,
    /// The last writing failed; the ledger lives in memory and tries again.
    Failing {
        /// Since when, Unix seconds.
        since: u64,
        /// The reason in words.
        why: String,
    },
    /// The last batch was handed out: nothing more is written.
    Closed,
}

/// Why two workers cannot be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoJoin {
    /// One of them is not known.
    Unknown,
    /// They are one already.
    Same,
    /// The one whose history would move is connected.
    Mines,
    /// The ledger is not read yet, or is closed already.
    NotNow,
}

/// One worker, or the total.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its number in the journal.
    pub number: WorkerNumber,
    /// Its name, as authorised.
    pub name: String,
    /// Its model, by its user agent.
    pub device: String,
    /// Connections of the moment.
    pub sessions: u32,
    /// Its difficulty when it was last set.
    pub level: Option<f64>,
    /// What it last wished for; kept on the card with the level.
    pub wish: Option<f64>,
    /// What the owner fixed its difficulty at.
    pub fixed: Option<f64>,
    /// Best share since the daemon started.
    pub best_since_boot: Option<BestShare>,
    totals: Totals,
    /// When its last accepted share since the start came.
    pub share_at: Option<Instant>,
    /// Since the last tally.
    open: Tally,
    /// In the minute of the moment.
    minute: Tally,
    /// Since the start, in the order of [`Grain::ALL`]. Its dates move when the clock is set.
    series: [Series; 3],
    /// From before the start, in the same order.
    earlier: [Series; 3],
    /// What its own API told, if it ever told something.
    heat: Option<Box<WorkerHeat>>,
    /// While it is connected: up to here, the time is counted.
    counted_to: Option<Instant>,
    journalled: bool,
    changed: Changed,
    cached_tallies: Option<u32>,
}

/// What does not know yet what was counted last.
#[derive(Clone, Copy, Debug, Default)]
struct Changed {
    journal: bool,
    cache: bool,
}

impl Changed {
    const ALL: Changed = Changed { journal: true, cache: true };
}

/// The ledger.
#[derive(Debug)]
pub struct Ledger {
    total: Worker,
    workers: BTreeMap<WorkerId, Worker>,
    /// By name and device.
    keys: BTreeMap<(String, String), WorkerId>,
    numbers: BTreeMap<WorkerNumber, WorkerId>,
    next_id: u64,
    next_number: u32,
    bests: Vec<BestShare>,
    blocks: VecDeque<FoundBlock>,
    settings: VecDeque<SettingChange>,
    audit: VecDeque<AuditEntry>,
    /// Earlier runs, the oldest first, and this one.
    runs: VecDeque<Run>,
    run: Option<Run>,
    marks: VecDeque<Mark>,
    /// Workers that were joined to others, each a [`Record::Join`].
    joins: VecDeque<Record>,
    unknown: Vec<Record>,
    /// What all miners drew together, but for the ten minutes that are not over.
    watts: History<Sum>,
    /// These, see [`Span::TenMinutes`].
    ten_minutes: u32,
    /// From these on the journal has no heat and power, or not all of it.
    heat_from: u32,
    network_difficulty: f64,

    storage: Storage,
    notes: VecDeque<String>,
    pending: Vec<Record>,
    /// Blocks of which the card does not know the latest yet, and those of the batch that is being
    /// written.
    unsaved_blocks: BTreeSet<BlockHash>,
    saving_blocks: BTreeSet<BlockHash>,
    urgent: bool,
    busy: bool,
    stopping: bool,
    pausing: bool,
    /// So many shares will be on the card when the batch is, and so many are.
    saving_shares: Option<u64>,
    saved_shares: u64,
    rewrite: bool,
    shrink: bool,
    journal_bytes: u64,
    base_bytes: u64,
    snapshot_day: Option<u32>,
    /// When the cache's entries of minutes were written ([`Grain::Minute`]), to drop them later.
    chunks: BTreeSet<u32>,
    /// Keys that are to leave the cache, and those of the batch that is being written.
    gone: Vec<Vec<u8>>,
    dropping: Vec<Vec<u8>>,
    append_at: Option<Instant>,
    interim_at: Instant,
    journalled_unix: u64,
    cache_at: Instant,
    cached_unix: u64,
    try_at: Option<Instant>,
    hour_at: Instant,
    hour: u32,
    minute_at: Instant,
    /// The start, by the clock of now.
    started: Reading,
    /// By how many seconds the clock was set since the start, all in all.
    clock_set_by: i64,
    /// Something was handed out to be written.
    has_written: bool,
}

impl Ledger {
    /// An empty ledger. Its first [`LedgerEvent::Tick`] asks for what is on the card.
    pub fn new(now: Now) -> Ledger {
        let total = Worker::new(WorkerNumber::TOTAL, "", "", now.unix);
        Ledger {
            total,
            workers: BTreeMap::new(),
            keys: BTreeMap::new(),
            numbers: BTreeMap::new(),
            next_id: 0,
            next_number: 1,
            bests: Vec::new(),
            blocks: VecDeque::new(),
            settings: VecDeque::new(),
            audit: VecDeque::new(),
            runs: VecDeque::new(),
            run: None,
            marks: VecDeque::new(),
            joins: VecDeque::new(),
            unknown: Vec::new(),
            watts: History::default(),
            ten_minutes: Span::TenMinutes.period(now.unix),
            heat_from: Span::TenMinutes.period(now.unix),
            network_difficulty: 0.0,
            storage: Storage::Loading { why: None },
            notes: VecDeque::new(),
            pending: Vec::new(),
            unsaved_blocks: BTreeSet::new(),
            saving_blocks: BTreeSet::new(),
            urgent: false,
            busy: false,
            stopping: false,
            pausing: false,
            saving_shares: None,
            saved_shares: 0,
            rewrite: false,
            shrink: false,
            journal_bytes: 0,
            base_bytes: 0,
            snapshot_day: None,
            chunks: BTreeSet::new(),
            gone: Vec::new(),
            dropping: Vec::new(),
            append_at: None,
            interim_at: now.mono + INTERIM_EVERY,
            journalled_unix: now.unix,
            cache_at: now.mono + CACHE_EVERY,
            cached_unix: now.unix,
            try_at: Some(now.mono),
            hour_at: now.mono + until_next(Grain::Hour, now.unix),
            hour: Grain::Hour.period(now.unix),
            minute_at: now.mono + until_next(Grain::Minute, now.unix),
            started: now.into(),
            clock_set_by: 0,
            has_written: false,
        }
    }

    /// A ledger rebuilt from records alone: for reading a backup or a journal.
    pub fn replay(now: Now, records: &[Record]) -> Ledger {
        let mut ledger = Ledger::new(now);
        for record in records {
            ledger.apply(record);
        }
        ledger.settle_heat();
        ledger
    }

    /// The handle of a worker, which is made known if it was not. Call it once when a miner
    /// authorises, not for each share. Longer names are cut.
    pub fn worker(&mut self, now: Now, name: &str, device: &str) -> WorkerId {
        let name = clip(name, MAX_NAME);
        let device = clip(device, MAX_DEVICE);
        let key = (name.to_owned(), device.to_owned());
        if let Some(&id) = self.keys.get(&key) {
            self.live(id).totals.last_seen = now.unix;
            return id;
        }
        if self.keys.len() >= MAX_WORKERS {
            self.make_room(now);
        }
        let number = WorkerNumber(self.next_number);
        // Journalled with its first accepted share: names alone must not fill the card.
        let worker = Worker { journalled: false, ..Worker::new(number, name, device, now.unix) };
        self.insert(worker)
    }

    /// Takes in what happened. See [`LedgerEvent`] and [`LedgerOutput`].
    pub fn handle(&mut self, now: Now, event: LedgerEvent, out: &mut Vec<LedgerOutput>) {
        match event {
            LedgerEvent::Share { worker, difficulty, actual, height } => {
                let expected = self.expected_blocks(difficulty);
                let counts = Counts {
                    accepted: 1,
                    work: difficulty,
                    expected_blocks: expected,
                    ..Counts::default()
                };
                self.count(now, worker, counts, (actual, height, false), out);
            }
            LedgerEvent::Reject { worker, reason, actual, height } => {
                let mut counts = Counts::default();
                counts.rejects[reason.index()] = 1;
                self.count(now, worker, counts, (actual, height, true), out);
            }
            LedgerEvent::Connected(worker) => {
                self.total.connected(now);
                if let Some(worker) = self.workers.get_mut(&worker) {
                    worker.connected(now);
                }
            }
            LedgerEvent::Disconnected(worker) => {
                self.total.disconnected(now);
                if let Some(worker) = self.workers.get_mut(&worker) {
                    worker.disconnected(now);
                }
            }
            LedgerEvent::Level { worker, difficulty } => {
                if let Some(worker) = self.workers.get_mut(&worker) {
                    worker.level = Some(difficulty);
                    worker.changed = Changed::ALL;
                }
            }
            LedgerEvent::Wish { worker, difficulty } => {
                // Miners may wish for any number; one that no record takes would cost the level.
                if let Some(worker) = self.workers.get_mut(&worker)
                    && (0.0..=MAX_AMOUNT).contains(&difficulty)
                {
                    worker.wish = Some(difficulty);
                    worker.changed = Changed::ALL;
                }
            }
            LedgerEvent::Fix { worker, difficulty } => {
                if let Some(number) = self.get(worker).map(|worker| worker.number) {
                    self.journal_worker(now, number);
                    self.apply_and_journal(now, Record::Fixed { worker: number, difficulty });
                    self.urgent = true;
                }
            }
            LedgerEvent::Heat { worker, celsius, watts } => {
                self.turn_heat(now);
                if let Some(worker) = self.workers.get_mut(&worker) {
                    worker.tell_heat(self.ten_minutes, celsius, watts);
                }
            }
            LedgerEvent::Network { difficulty } => self.network_difficulty = difficulty,
            LedgerEvent::BlockFound { worker, hash, height, difficulty, reward, payee } => {
                let worker = self.get(worker);
                let block = FoundBlock {
                    hash,
                    height,
                    unix: now.unix,
                    worker: worker.map_or(WorkerNumber::TOTAL, |worker| worker.number),
                    name: worker.map_or(FORGOTTEN, |worker| &worker.name).to_owned(),
                    difficulty,
                    network_difficulty: self.network_difficulty,
                    reward,
                    payee,
                    state: StoredState::Candidate,
                    state_unix: now.unix,
                };
                if !self.blocks.iter().any(|known| known.hash == hash) {
                    self.book(now, block);
                }
            }
            LedgerEvent::BlockKept(block) => self.block_kept(now, *block),
            LedgerEvent::Block { hash, state } => self.block_state(now, hash, state),
            LedgerEvent::Setting { by, key, old, new } => {
                let [by, key, old, new] =
                    [by, key, old, new].map(|text| clip(&text, MAX_TEXT).to_owned());
                let change = SettingChange { unix: now.unix, by, key, old, new };
                self.apply_and_journal(now, Record::Setting(change));
                self.urgent = true;
            }
            LedgerEvent::Audit(text) => self.note_audit(now, &text),
            LedgerEvent::Started { boot, up } => {
                let (since, until) = (self.started.unix, now.unix);
                let boot = clip(&boot, MAX_TEXT).to_owned();
                self.run = Some(Run { boot, up, since, until, known: false });
            }
            LedgerEvent::ClockSet { by } => self.clock_set(now, by),
            LedgerEvent::ClockKnown => {
                if let Some(run) = &mut self.run {
                    run.known = true;
                    self.settle_runs(now);
                }
            }
            LedgerEvent::Dent { kind, about } => {
                // An outage is told once.
                if kind != Dent::Outage || self.outage().is_none() {
                    let about = clip(&about, MAX_TEXT).to_owned();
                    let mark = Mark { kind, unix: now.unix, until: 0, about };
                    self.apply_and_journal(now, Record::Mark(mark));
                }
            }
            LedgerEvent::OutageOver => {
                if let Some(mark) = self.outage() {
                    let mark = Mark { until: now.unix.max(1), ..mark.clone() };
                    self.apply_and_journal(now, Record::Mark(mark));
                }
            }
            LedgerEvent::Forget(worker) => {
                if let Some(worker) = self.get(worker) {
                    self.forget(now, worker.number);
                }
            }
            LedgerEvent::Join { from, into } => self.join(now, from, into),
            LedgerEvent::Restore(records) => {
                if self.can_restore() {
                    self.merge(now, Ledger::replay(now, &records));
                    self.cache_anew();
                    self.pending.clear();
                    self.write_anew();
                    self.urgent = true;
                    self.append_at = Some(now.mono);
                }
            }
            LedgerEvent::Opened(opened) => self.opened(now, *opened),
            LedgerEvent::OpenFailed(why) => {
                self.busy = false;
                self.try_at = Some(now.mono + RETRY_AFTER);
                if self.storage == (Storage::Loading { why: None }) {
                    self.note(format!("The ledger lives in memory only: {why}"));
                }
                self.storage = Storage::Loading { why: Some(why) };
            }
            LedgerEvent::Saved(result) => self.saved(now, result),
            LedgerEvent::Shrink => {
                self.shrink_history();
                self.rewrite = true;
                self.shrink = true;
                self.append_at = Some(now.mono);
            }
            LedgerEvent::Tick => {}
            LedgerEvent::Stop => self.stopping = self.storage != Storage::Closed,
            LedgerEvent::Pause => {
                self.stopping = self.storage != Storage::Closed;
                self.pausing = true;
            }
        }
        if now.mono >= self.minute_at {
            self.minute_at = now.mono + until_next(Grain::Minute, now.unix);
            self.pass(now);
            self.turn_heat(now);
        }
        if now.mono >= self.hour_at {
            self.turn_hour(now);
        }
        self.write(now, out);
    }

    /// When to come back with a [`LedgerEvent::Tick`].
    pub fn next_deadline(&self) -> Option<Instant> {
        let mut next = self.hour_at;
        if self.total.is_connected() {
            next = next.min(self.minute_at);
        }
        if !self.busy {
            match self.storage {
                Storage::Ready => {
                    next = next.min(self.cache_at).min(self.interim_at);
                    next = self.append_at.map_or(next, |at| next.min(at));
                }
                Storage::Loading { .. } | Storage::Failing { .. } => {
                    next = self.try_at.map_or(next, |at| next.min(at));
                }
                Storage::Closed => return None,
            }
        }
        Some(next)
    }

    /// How the ledger stands with the card.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// What went wrong with the card lately, in sentences, the newest last; at most 20.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.notes.iter().map(String::as_str)
    }

    /// The worker behind a handle, unless it was dropped.
    pub fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.workers.get(&id)
    }

    /// The sum of all workers, also of those that were dropped.
    pub fn total(&self) -> &Worker {
        &self.total
    }

    /// Shares that were ever counted, accepted or refused; before the card was read, those of this run.
    pub fn shares(&self) -> u64 {
        let ever = self.total.totals().ever;
        ever.accepted.saturating_add(ever.rejected())
    }

    /// How many of them are known to be on the card, since this run has written to it.
    pub fn saved_shares(&self) -> u64 {
        self.saved_shares
    }

    /// All workers with their handles, by number: the first known first.
    pub fn workers(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.numbers.values().filter_map(|id| Some((*id, self.workers.get(id)?)))
    }

    /// The total, and then all workers.
    pub fn everyone(&self) -> impl Iterator<Item = &Worker> {
        [&self.total].into_iter().chain(self.workers().map(|(_, worker)| worker))
    }

    /// The first known of the workers of this name, whatever device it is.
    pub fn named(&self, name: &str) -> Option<WorkerId> {
        self.workers().find(|(_, worker)| worker.name == name).map(|(id, _)| id)
    }

    /// The handle of the worker with this number, as pages name it.
    pub fn find(&self, number: WorkerNumber) -> Option<WorkerId> {
        self.numbers.get(&number).copied()
    }

    /// Whether the history of one worker may become another's.
    pub fn can_join(&self, from: WorkerId, into: WorkerId) -> Result<(), NoJoin> {
        let (Some(old), Some(_)) = (self.get(from), self.get(into)) else {
            return Err(NoJoin::Unknown);
        };
        match self.storage {
            _ if from == into => Err(NoJoin::Same),
            _ if old.is_connected() => Err(NoJoin::Mines),
            // It came and went without a share: it is listed nowhere.
            _ if !old.journalled => Err(NoJoin::Unknown),
            // Numbers are not known before the card was read, and nothing is written after the end.
            Storage::Loading { .. } | Storage::Closed => Err(NoJoin::NotNow),
            Storage::Ready | Storage::Failing { .. } => Ok(()),
        }
    }

    /// Whether a backup may take its place: it is at hand, and has counted nothing.
    pub fn can_restore(&self) -> bool {
        self.storage == Storage::Ready && !self.has_counted()
    }

    /// Whether anything was ever counted: a share, accepted or not, or a block.
    pub fn has_counted(&self) -> bool {
        let totals = self.total.totals();
        totals.ever.accepted > 0 || totals.ever.rejected() > 0 || !self.blocks.is_empty()
    }

    /// The name of a worker, for a list; of one that was dropped a word in brackets.
    pub fn name(&self, number: WorkerNumber) -> &str {
        let worker = self.find(number).and_then(|id| self.get(id));
        worker.map_or(FORGOTTEN, |worker| &worker.name)
    }

    /// The best shares ever, the best first; at most [`MAX_BESTS`].
    pub fn bests(&self) -> &[BestShare] {
        &self.bests
    }

    /// Whether the card has what is known of this block, so that it survives a power cut. False for
    /// a block that is not listed.
    pub fn is_block_saved(&self, hash: &BlockHash) -> bool {
        !matches!(self.storage, Storage::Loading { .. })
            && !self.unsaved_blocks.contains(hash)
            && !self.saving_blocks.contains(hash)
            && self.blocks.iter().any(|block| block.hash == *hash)
    }

    /// The found blocks, the oldest first; at most [`MAX_BLOCKS`].
    pub fn blocks(&self) -> impl DoubleEndedIterator<Item = &FoundBlock> + ExactSizeIterator {
        self.blocks.iter()
    }

    /// Changes of settings, the oldest first; at most [`MAX_SETTINGS`].
    pub fn settings(&self) -> impl DoubleEndedIterator<Item = &SettingChange> {
        self.settings.iter()
    }

    /// The audit list, the oldest first; at most [`MAX_AUDIT`].
    pub fn audit(&self) -> impl DoubleEndedIterator<Item = &AuditEntry> {
        self.audit.iter()
    }

    /// The earlier runs, the oldest first; at most so many as are remembered.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = &Run> {
        self.runs.iter()
    }

    /// Whether the clock of this run is known to be right.
    pub fn is_clock_known(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.known)
    }

    /// The earliest that it can be now, Unix seconds, by what earlier runs have left: a clock that shows
    /// less is wrong.
    pub fn earliest(&self) -> Option<u64> {
        runs::floor(&self.runs, self.run.as_ref()?)
    }

    /// What explains dents in the charts, the oldest first.
    pub fn marks(&self) -> impl DoubleEndedIterator<Item = &Mark> {
        self.marks.iter()
    }

    /// What all miners drew together, by rising period: each slot is the sum of those who told their
    /// power in it, also of workers that were dropped.
    pub fn watts(&self, span: Span) -> Vec<(u32, Sum)> {
        let open = self.sum_of(self.ten_minutes);
        let Some(open) = open else { return self.watts.cells(span) };
        let mut all = self.watts.clone();
        all.raise(Span::TenMinutes, &[(self.ten_minutes, open)]);
        all.settle();
        all.cells(span)
    }

    /// The network's difficulty as last told; 0 before.
    pub fn network_difficulty(&self) -> f64 {
        self.network_difficulty
    }

    /// The whole state as records, but for minutes and difficulties, at most about `budget` bytes of it: the oldest hours go first, then the oldest days of single workers,
    /// then those of the total.
    pub fn records(&self, budget: usize) -> Vec<Record> {
        let mut records = Vec::new();
        records.extend(self.runs.iter().chain(&self.run).cloned().map(Record::Run));
        records.extend(self.marks.iter().cloned().map(Record::Mark));
        // Before all sums: those that follow are of after it.
        records.extend(self.joins.iter().cloned());
        for (_, worker) in self.workers() {
            if worker.journalled {
                records.push(worker.introduction());
                if worker.fixed.is_some() {
                    let difficulty = worker.fixed;
                    records.push(Record::Fixed { worker: worker.number, difficulty });
                }
            }
        }
        // Numbers of forgotten workers are not given again, nor those before one that is not written
        // itself because it has no share yet.
        let last = WorkerNumber(self.next_number.saturating_sub(1));
        let is_written = self.workers().any(|(_, w)| w.journalled && w.number == last);
        if last != WorkerNumber::TOTAL && !is_written {
            records.push(Record::Forget { worker: last });
        }
        // The newest of each list, so that no list can crowd out the others.
        let part = budget / 8;
        records.extend(newest(self.blocks.iter().cloned().map(Record::Block), part));
        records.extend(newest(self.settings.iter().cloned().map(Record::Setting), part));
        records.extend(newest(self.audit.iter().cloned().map(Record::Audit), part));
        records.extend(newest(self.unknown.iter().cloned(), part));
        records.extend(self.bests.iter().copied().map(Record::Best));
        for worker in self.everyone().filter(|worker| worker.journalled) {
            records.push(Record::Totals { worker: worker.number, totals: worker.totals });
            if !worker.open.is_empty() {
                records.push(Record::Open(worker.open));
            }
        }
        records.extend(self.heat_records(budget / HEAT_PART));
        let kept = self.history_within(budget.saturating_sub(size_on_disk(&records)));
        for (worker, grain, points) in self.newest_points(kept) {
            records.extend(worker.point_records(grain, &points));
        }
        records
    }

    // -- counting --

    fn count(
        &mut self,
        now: Now,
        id: WorkerId,
        counts: Counts,
        (actual, height, rejected): (f64, u32, bool),
        out: &mut Vec<LedgerOutput>,
    ) {
        // A share's difficulty is finite; a NaN would poison every sum that it enters.
        if !counts.work.is_finite() || !actual.is_finite() {
            return;
        }
        let worker = self.workers.get_mut(&id);
        let number = worker.as_ref().map_or(WorkerNumber::TOTAL, |worker| worker.number);
        let best =
            BestShare { worker: number, difficulty: actual, unix: now.unix, height, rejected };
        let share = Tally {
            from: now.unix,
            last_share: if rejected { 0 } else { now.unix },
            counts,
            best: (actual > 0.0).then_some(best),
            squares: counts.work * counts.work,
            ..Tally::default()
        };
        let mut own_best = false;
        let mut journalled = true;
        if let Some(worker) = worker {
            own_best = worker.count(now, &share);
            journalled = worker.journalled;
        }
        let total_best = self.total.count(now, &share);
        let enters = actual > 0.0 && self.enters_bests(&best);
        // Work makes a worker known to the journal; a name and refused shares do not.
        if !rejected || enters {
            self.journal_worker(now, number);
            journalled = true;
        }
        if enters || (own_best && journalled) {
            self.apply_and_journal(now, Record::Best(best));
        }
        if total_best {
            out.push(LedgerOutput::NewBest(best));
        }
    }

    fn expected_blocks(&self, difficulty: f64) -> f64 {
        if self.network_difficulty > 0.0 { difficulty / self.network_difficulty } else { 0.0 }
    }

    /// Makes a worker known to the journal, once.
    fn journal_worker(&mut self, now: Now, number: WorkerNumber) {
        if let Some(worker) = self.by_number(number).filter(|worker| !worker.journalled) {
            worker.journalled = true;
            let record = worker.introduction();
            self.journal(now, record);
        }
    }

    fn enters_bests(&self, share: &BestShare) -> bool {
        self.bests.len() < MAX_BESTS
            || self.bests.last().is_some_and(|last| share.difficulty > last.difficulty)
    }

    // -- blocks --

    fn block_kept(&mut self, now: Now, mut block: FoundBlock) {
        if let Some(known) = self.blocks.iter().find(|known| known.hash == block.hash) {
            if stage(&block.state) > stage(&known.state) {
                self.block_state(now, block.hash, block.state);
            }
            return;
        }
        // It was known, and made room for newer ones.
        let oldest = self.blocks.front().map_or(0, |oldest| oldest.unix);
        if self.blocks.len() >= MAX_BLOCKS && block.unix <= oldest {
            return;
        }
        // A worker that the ledger lost as well is not made up: the block keeps its name.
        let named = self.named(&block.name).and_then(|id| self.get(id));
        block.worker = named.map_or(WorkerNumber::TOTAL, |worker| worker.number);
        block.state = clipped(block.state);
        block.state_unix = now.unix;
        self.book(now, block);
    }

    /// Enters a block that is not known yet.
    fn book(&mut self, now: Now, mut block: FoundBlock) {
        block.name = clip(&block.name, MAX_NAME).to_owned();
        block.payee = clip(&block.payee, MAX_TEXT).to_owned();
        self.journal_worker(now, block.worker);
        self.close_tallies(now);
        self.apply_and_journal(now, Record::Block(block));
        self.urgent = true;
    }

    fn block_state(&mut self, now: Now, hash: BlockHash, state: StoredState) {
        let state = clipped(state);
        let Some(block) = self.blocks.iter_mut().find(|block| block.hash == hash) else { return };
        if block.state == state {
            return;
        }
        let was_confirmed = matches!(block.state, StoredState::Confirmed { .. });
        if was_confirmed && matches!(state, StoredState::Confirmed { .. }) {
            // A hundred of these are not worth a write each: the node knows them.
            block.state = state;
            return;
        }
        self.apply_and_journal(now, Record::BlockState { hash, unix: now.unix, state });
        self.urgent = true;
    }

    // -- the clock --

    /// The wall clock was set: what was noted since the start gets its right date. A moment of this
    /// run is what the clock shows now, less the time that has passed since, whatever it showed then.
    fn clock_set(&mut self, now: Now, by: i64) {
        let before = Now { unix: now.unix.saturating_add_signed(by.saturating_neg()), ..now };
        self.pass(before);
        self.close_heat(Span::TenMinutes.period(now.unix));
        let has_hours = |worker: &Worker| !worker.series(Grain::Hour).is_empty();
        if self.everyone().any(has_hours) {
            self.close_tallies(before);
        }
        let set_by = self.clock_set_by.saturating_add(by);
        let moved =
            |grain: Grain| periods(set_by, grain).saturating_sub(periods(self.clock_set_by, grain));
        let moved = Grain::ALL.map(moved);
        let slots = |by, span| heat_history::slots(by, span);
        let moved_heat = Span::ALL
            .map(|span| slots(set_by, span).saturating_sub(slots(self.clock_set_by, span)));
        self.clock_set_by = set_by;
        let redate = redating(self.started.unix, before.unix, by);
        self.started.unix = self.started.unix.saturating_add_signed(by);
        self.everyone_mut().for_each(|worker| worker.redate(moved, &redate));
        self.heats_mut().for_each(|heat| heat.history.shift(moved_heat));
        self.watts.shift(moved_heat);
        self.heat_from = 0;
        self.bests.iter_mut().for_each(|best| redate(&mut best.unix));
        for block in &mut self.blocks {
            redate(&mut block.unix);
            redate(&mut block.state_unix);
        }
        self.settings.iter_mut().for_each(|change| redate(&mut change.unix));
        self.audit.iter_mut().for_each(|entry| redate(&mut entry.unix));
        for mark in &mut self.marks {
            redate(&mut mark.unix);
            redate(&mut mark.until);
        }
        if let Some(run) = &mut self.run {
            run.since = self.started.unix;
        }
        if let Storage::Failing { since, .. } = &mut self.storage {
            redate(since);
        }
        self.hour = Grain::Hour.period(now.unix);
        self.hour_at = now.mono + until_next(Grain::Hour, now.unix);
        self.minute_at = now.mono + until_next(Grain::Minute, now.unix);
        redate(&mut self.journalled_unix);
        redate(&mut self.cached_unix);
        // What bears the wrong dates on the card is replaced.
        if self.has_written || !self.pending.is_empty() {
            self.everything_anew(now);
        }
    }

    /// The clock is right: what earlier runs have dated without knowing is dated anew, as far as that can
    /// be known.
    fn settle_runs(&mut self, now: Now) {
        let (Some(run), Storage::Ready | Storage::Failing { .. }) = (&self.run, &self.storage)
        else {
            return;
        };
        let shifts = runs::settle(&mut self.runs, run);
        for shift in &shifts {
            self.everyone_mut().for_each(|worker| worker.move_run(shift));
            self.heats_mut().for_each(|heat| heat.history.move_run(shift));
            self.watts.move_run(shift);
            self.bests.iter_mut().for_each(|best| shift.date(&mut best.unix));
            for block in &mut self.blocks {
                shift.date(&mut block.unix);
                shift.date(&mut block.state_unix);
            }
            self.settings.iter_mut().for_each(|change| shift.date(&mut change.unix));
            self.audit.iter_mut().for_each(|entry| shift.date(&mut entry.unix));
            for mark in &mut self.marks {
                shift.date(&mut mark.unix);
                shift.date(&mut mark.until);
            }
        }
        if !shifts.is_empty() {
            self.everything_anew(now);
            self.snapshot_day = None;
        }
    }

    /// Journal and cache are to be replaced by the state as it is now.
    fn everything_anew(&mut self, now: Now) {
        self.write_anew();
        self.pending.clear();
        let chunks = std::mem::take(&mut self.chunks);
        self.gone.extend(chunks.into_iter().map(minute_key));
        self.cache_anew();
        // In the same go: what the cache still has is no longer true.
        self.cache_at = now.mono;
        self.append_at = Some(now.mono);
    }

    /// Counts the time of all who are connected.
    fn pass(&mut self, now: Now) {
        self.everyone_mut().for_each(|worker| worker.pass(now));
    }

    // -- heat and power --

    /// Closes the ten minutes that are over.
    fn turn_heat(&mut self, now: Now) {
        let period = Span::TenMinutes.period(now.unix);
        if period != self.ten_minutes {
            self.close_heat(period);
        }
    }

    /// Closes the ten minutes of the moment; those of `period` begin.
    fn close_heat(&mut self, period: u32) {
        let done = std::mem::replace(&mut self.ten_minutes, period);
        self.heats_mut().for_each(|heat| heat.turn(period));
        self.keep_sum(done);
    }

    /// What the miners drew together in ten minutes of this run is kept, as it stands now.
    fn keep_sum(&mut self, period: u32) {
        if let Some(sum) = self.sum_of(period) {
            self.watts.raise(Span::TenMinutes, &[(period, sum)]);
            self.watts.settle();
        }
    }

    /// What the miners drew together in ten minutes of this run.
    fn sum_of(&self, period: u32) -> Option<Sum> {
        Sum::of(self.heats().filter_map(|(_, heat)| heat.in_run(period)))
    }

    /// All that was read of heat and power has its place.
    fn settle_heat(&mut self) {
        self.heats_mut().for_each(|heat| heat.history.settle());
        self.watts.settle();
    }

    fn heats(&self) -> impl Iterator<Item = (WorkerNumber, &WorkerHeat)> {
        self.workers.values().filter_map(|worker| Some((worker.number, worker.heat.as_deref()?)))
    }

    fn heats_mut(&mut self) -> impl Iterator<Item = &mut WorkerHeat> {
        self.workers.values_mut().filter_map(|worker| worker.heat.as_deref_mut())
    }

    /// For the journal: what was told since the last time, with the ten minutes that are not over. One
    /// record of all workers, so that it costs few bytes.
    fn heat_since(&mut self, now: Now) -> Vec<Record> {
        self.turn_heat(now);
        // The newest slot was open then and has grown.
        let day = Span::TenMinutes.kept() as u32;
        let since = self.heat_from.clamp(self.ten_minutes.saturating_sub(day), self.ten_minutes);
        self.heat_from = self.ten_minutes;
        let (mut records, mut of, mut count) = (Vec::new(), Vec::new(), 0);
        let span = Span::TenMinutes;
        for (worker, heat) in self.heats() {
            let mut slots = heat.slots(span);
            slots.retain(|slot| slot.0 >= since);
            if slots.is_empty() {
                continue;
            }
            // At most so many bytes are a slot and what is told of it.
            count += 16 + slots.len() * 8;
            of.push((worker, slots));
            if count > HEAT_AT_ONCE {
                records.push(Record::Heat { span, of: std::mem::take(&mut of) });
                count = 0;
            }
        }
        if !of.is_empty() {
            records.push(Record::Heat { span, of });
        }
        let mut slots = self.watts(span);
        slots.retain(|slot| slot.0 >= since);
        if !slots.is_empty() {
            records.push(Record::Watts { span, slots });
        }
        records
    }

    /// All of it, in at most so many bytes: the narrow slots are left out first, then workers.
    fn heat_records(&self, budget: usize) -> Vec<Record> {
        let with = |spans: &[Span]| {
            let spans = spans.iter().rev().copied();
            let all = spans.clone().map(|span| Record::Watts { span, slots: self.watts(span) });
            let mut records: Vec<Record> = all.collect();
            for (worker, heat) in self.heats() {
                let of = |span| Record::Heat { span, of: vec![(worker, heat.slots(span))] };
                records.extend(spans.clone().map(of));
            }
            records.retain(|record| match record {
                Record::Heat { of, .. } => of.iter().any(|(_, slots)| !slots.is_empty()),
                Record::Watts { slots, .. } => !slots.is_empty(),
                _ => true,
            });
            records
        };
        let fits = |records: &Vec<Record>| size_on_disk(records) <= budget;
        let mut found = (0..Span::COUNT).map(|from| with(&Span::ALL[from..])).find(fits);
        found.take().unwrap_or_else(|| {
            let mut days = with(&[Span::Day]);
            days.reverse();
            newest(days.into_iter(), budget)
        })
    }

    // -- tallies and hours --

    fn close_tallies(&mut self, now: Now) {
        let numbers: Vec<WorkerNumber> = self.everyone().map(|worker| worker.number).collect();
        for number in numbers {
            self.close_tally(now, number);
        }
    }

    fn close_tally(&mut self, now: Now, number: WorkerNumber) {
        // Before the card was read the numbers of the tallies are not known.
        if matches!(self.storage, Storage::Loading { .. }) {
            return;
        }
        let Some(worker) = self.by_number(number) else { return };
        if worker.open.is_empty() || !worker.journalled {
            return;
        }
        let tally = worker.open;
        worker.reopen();
        self.apply_and_journal(now, Record::Tally(tally));
    }

    fn turn_hour(&mut self, now: Now) {
        self.hour_at = now.mono + until_next(Grain::Hour, now.unix);
        let hour = Grain::Hour.period(now.unix);
        if hour == self.hour {
            return;
        }
        self.hour = hour;
        self.close_tallies(now);
        // With the tallies, so that it is one time of writing.
        if u64::from(hour) % (CACHE_EVERY.as_secs() / 3_600) == 0 {
            self.cache_at = self.cache_at.min(now.mono + APPEND_EVERY);
        }
        self.forget_one_vanished(now);
        while self.points_held() > MAX_POINTS_HELD {
            self.drop_oldest(&Grain::ALL);
        }
    }

    /// One an hour at most: a clock that is wrong for a while must not empty the list.
    fn forget_one_vanished(&mut self, now: Now) {
        let limit = now.unix.saturating_sub(KEEP_VANISHED.as_secs());
        let vanished = self.workers().map(|(_, worker)| worker);
        let vanished = vanished.filter(|worker| worker.sessions == 0);
        let oldest = vanished.min_by_key(|worker| worker.totals.last_seen);
        let Some(worker) = oldest.filter(|worker| worker.totals.last_seen < limit) else { return };
        if !matches!(self.storage, Storage::Loading { .. }) {
            self.forget(now, worker.number);
        }
    }

    fn forget(&mut self, now: Now, number: WorkerNumber) {
        self.close_tally(now, number);
        // Its part of the sums stays.
        self.keep_sum(self.ten_minutes);
        let record = Record::Forget { worker: number };
        let journalled = self.by_number(number).is_some_and(|worker| worker.journalled);
        self.apply(&record);
        if journalled {
            self.journal(now, record);
        }
    }

    fn join(&mut self, now: Now, from: WorkerId, into: WorkerId) {
        if self.can_join(from, into).is_err() {
            return;
        }
        let [Some(from), Some(into)] = [from, into].map(|id| self.get(id).map(|w| w.number)) else {
            return;
        };
        self.journal_worker(now, into);
        self.pass(now);
        self.close_tally(now, into);
        let number = self.by_number(into).map_or(0, |worker| worker.totals.tallies);
        self.apply_and_journal(now, Record::Join { from, into, number });
        // Minutes of it may stand in the cache alone, under the number that is no more: all is written
        // anew, as one whole. Nor shall a snapshot of before bring it back.
        self.everything_anew(now);
        self.snapshot_day = None;
        self.urgent = true;
    }

    fn apply_join(&mut self, from: WorkerNumber, into: WorkerNumber, number: u32) {
        for number in [from, into] {
            self.next_number = self.next_number.max(number.0.saturating_add(1));
        }
        if from == into || [from, into].contains(&WorkerNumber::TOTAL) {
            return;
        }
        if let Some(id) = self.find(from) {
            let mut old = self.take(id);
            self.drop_from_cache(&old);
            old.close_left();
            let worker = self.known(into, old.totals.first_seen);
            if number >= worker.totals.tallies {
                worker.absorb(old, number);
            }
        }
        let name = self.find(into).map(|_| self.name(into).to_owned());
        for block in self.blocks.iter_mut().filter(|block| block.worker == from) {
            block.worker = into;
            block.name = name.clone().unwrap_or_else(|| block.name.clone());
        }
        let totals = &mut self.total.totals;
        let of_total = [
            &mut totals.best,
            &mut totals.best_since_block,
            &mut self.total.best_since_boot,
            &mut self.total.open.best,
            &mut self.total.minute.best,
        ];
        let bests = self.bests.iter_mut().chain(of_total.into_iter().flatten());
        bests.filter(|best| best.worker == from).for_each(|best| best.worker = into);
        // One that was read before and after it.
        let mut seen: Vec<BestShare> = Vec::with_capacity(self.bests.len());
        self.bests.retain(|best| {
            let is_new = !seen.contains(best);
            seen.push(*best);
            is_new
        });
        push_new(&mut self.joins, &Record::Join { from, into, number }, MAX_JOINS);
    }

    fn make_room(&mut self, now: Now) {
        let order =
            |worker: &Worker| (worker.is_connected(), worker.journalled, worker.totals.last_seen);
        let Some((_, worker)) = self.workers().min_by_key(|(_, worker)| order(worker)) else {
            return;
        };
        self.forget(now, worker.number);
    }

    /// For the card's sake: minutes stand in the cache, hours and days in the journal.
    fn shrink_history(&mut self) {
        self.drop_oldest(&[Grain::Minute]);
        self.drop_oldest(&[Grain::Hour, Grain::Day]);
    }

    /// Shortens the longest series of these grains.
    fn drop_oldest(&mut self, of: &[Grain]) {
        let longest = self
            .everyone_mut()
            .flat_map(|worker| worker.earlier.iter_mut().chain(&mut worker.series))
            .filter(|series| of.contains(&series.grain()))
            .max_by_key(|series| series.len());
        if let Some(series) = longest {
            series.drop_oldest();
        }
    }

    fn points_held(&self) -> usize {
        self.everyone().map(Worker::points_held).sum()
    }

    /// How many of the newest hours, of the newest days, and of those of the total are written.
    fn history_within(&self, budget: usize) -> [usize; 3] {
        let mut kept = [Grain::Hour, Grain::Day, Grain::Day].map(Series::capacity);
        // An upper estimate: a point is written in 11 to 17 bytes.
        while self.newest_points(kept).map(|(_, _, points)| points.len()).sum::<usize>() * 14
            > budget
        {
            let least = [7 * 24, 90, 365];
            match kept.iter().zip(least).position(|(kept, least)| *kept > least) {
                Some(place) => kept[place] /= 2,
                None if kept == [0; 3] => break,
                None => kept = kept.map(|kept| kept / 2),
            }
        }
        kept
    }

    /// The newest days and hours of everyone, so many of them.
    fn newest_points(
        &self,
        [hours, days, total_days]: [usize; 3],
    ) -> impl Iterator<Item = (&Worker, Grain, Vec<Point>)> {
        self.everyone().flat_map(move |worker| {
            let days = if worker.number == WorkerNumber::TOTAL { total_days } else { days };
            [(Grain::Day, days), (Grain::Hour, hours)].map(|(grain, keep)| {
                let mut points = worker.closed(grain);
                points.drain(..points.len().saturating_sub(keep));
                (worker, grain, points)
            })
        })
    }

    // -- records --

    fn apply_and_journal(&mut self, now: Now, record: Record) {
        if let Record::Block(FoundBlock { hash, .. }) | Record::BlockState { hash, .. } = &record {
            self.unsaved_blocks.insert(*hash);
        }
        self.apply(&record);
        self.journal(now, record);
    }

    fn journal(&mut self, now: Now, record: Record) {
        match self.storage {
            Storage::Ready if self.pending.len() < MAX_PENDING => {
                self.pending.push(record);
                self.append_at.get_or_insert(now.mono + APPEND_EVERY);
            }
            // So many changes at once are cheaper to write as the state that they lead to.
            Storage::Ready => {
                self.pending.clear();
                self.rewrite = true;
            }
            // The whole state is written once there is something to write on.
            Storage::Loading { .. } | Storage::Failing { .. } | Storage::Closed => {}
        }
    }

    /// Takes in one record of the journal. Idempotent, see [`Record`].
    fn apply(&mut self, record: &Record) {
        match record {
            Record::Worker { number, name, device, unix } => {
                let namesake = self.keys.get(&(name.clone(), device.clone())).copied();
                match self.by_number(*number) {
                    Some(worker) if worker.name == lost_name(*number) && namesake.is_none() => {
                        self.rename(*number, name, device);
                    }
                    Some(_) => {}
                    None => {
                        if let Some(id) = namesake {
                            self.remove(id);
                        }
                        self.insert(Worker::new(*number, name, device, *unix));
                    }
                }
            }
            Record::Tally(tally) => {
                let worker = self.known(tally.worker, tally.from);
                if tally.number >= worker.totals.tallies {
                    worker.add_tally(tally);
                }
                if let Some(best) = &tally.best {
                    self.enter_best(best);
                }
            }
            Record::Open(tally) => self.known(tally.worker, tally.from).raise_open(tally),
            Record::Level { worker, difficulty, wish } => {
                if let Some(worker) = self.by_number(*worker) {
                    worker.level = Some(*difficulty);
                    worker.wish = *wish;
                }
            }
            Record::Fixed { worker, difficulty } => {
                if let Some(worker) = self.by_number(*worker) {
                    worker.fixed = *difficulty;
                }
            }
            Record::Totals { worker, totals } => {
                self.known(*worker, totals.first_seen).take_totals(totals);
            }
            Record::Points { worker, grain, points } => {
                let worker = self.known(*worker, 0);
                let series = &mut worker.series[grain.index()];
                points.iter().for_each(|point| series.raise(*point));
            }
            Record::Best(best) => {
                if let Some(worker) = self.by_number(best.worker) {
                    worker.totals.best = better(worker.totals.best, Some(*best));
                }
                self.total.totals.best = better(self.total.totals.best, Some(*best));
                self.enter_best(best);
            }
            Record::Block(block) => self.apply_block(block),
            Record::BlockState { hash, unix, state } => {
                let mut blocks = self.blocks.iter_mut();
                let block = blocks.find(|block| block.hash == *hash && block.state_unix <= *unix);
                if let Some(block) = block {
                    block.state = state.clone();
                    block.state_unix = *unix;
                }
            }
            Record::Setting(change) => {
                push_new(&mut self.settings, change, MAX_SETTINGS);
            }
            Record::Audit(entry) => push_new(&mut self.audit, entry, MAX_AUDIT),
            Record::Forget { worker } => {
                self.next_number = self.next_number.max(worker.0.saturating_add(1));
                if let Some(id) = self.find(*worker) {
                    self.remove(id);
                }
            }
            Record::Run(run) => runs::note(&mut self.runs, run),
            Record::Mark(mark) => self.apply_mark(mark),
            Record::Join { from, into, number } => self.apply_join(*from, *into, *number),
            Record::Heat { span, of } => {
                for (number, slots) in of {
                    // Without anything else of it a worker is not made up.
                    let worker = (*number != WorkerNumber::TOTAL).then(|| self.by_number(*number));
                    if let Some(worker) = worker.flatten() {
                        worker.heat.get_or_insert_default().history.raise(*span, slots);
                    }
                }
            }
            Record::Watts { span, slots } => self.watts.raise(*span, slots),
            Record::Attachment { .. } => {}
            Record::Unknown { .. } => {
                let bytes =
                    size_on_disk(&self.unknown) + size_on_disk(std::slice::from_ref(record));
                if bytes <= MAX_UNKNOWN && !self.unknown.contains(record) {
                    self.unknown.push(record.clone());
                }
            }
        }
    }

    fn apply_block(&mut self, block: &FoundBlock) {
        if let Some(known) = self.blocks.iter_mut().find(|known| known.hash == block.hash) {
            if known.state_unix <= block.state_unix {
                known.clone_from(block);
            }
            return;
        }
        // Clocks go wrong and test chains begin anew: only one that is below and before is older.
        let is_older =
            |known: &FoundBlock| known.height <= block.height || known.unix <= block.unix;
        let place = self.blocks.iter().rposition(is_older).map_or(0, |before| before + 1);
        // What was counted since a later block was not counted towards this one.
        if place == self.blocks.len() {
            for worker in self.everyone_mut() {
                worker.totals.since_block = Counts::default();
                worker.totals.best_since_block = None;
            }
        }
        self.total.totals.blocks = self.total.totals.blocks.saturating_add(1);
        if block.worker != WorkerNumber::TOTAL
            && let Some(worker) = self.by_number(block.worker)
        {
            worker.totals.blocks = worker.totals.blocks.saturating_add(1);
        }
        insert_bounded(&mut self.blocks, place, block.clone(), MAX_BLOCKS);
    }

    fn apply_mark(&mut self, mark: &Mark) {
        let is_it = |known: &&mut Mark| (known.kind, known.unix) == (mark.kind, mark.unix);
        match self.marks.iter_mut().find(is_it) {
            Some(known) => known.clone_from(mark),
            None => {
                let place = self.marks.partition_point(|known| known.unix <= mark.unix);
                insert_bounded(&mut self.marks, place, mark.clone(), MAX_MARKS);
            }
        }
    }

    /// The outage that goes on.
    fn outage(&self) -> Option<&Mark> {
        self.marks.iter().rev().find(|mark| mark.kind == Dent::Outage && mark.until == 0)
    }

    fn enter_best(&mut self, best: &BestShare) {
        if self.bests.contains(best) {
            return;
        }
        let place = self.bests.partition_point(|other| other.difficulty >= best.difficulty);
        self.bests.insert(place, *best);
        self.bests.truncate(MAX_BESTS);
    }

    // -- the card --

    fn opened(&mut self, now: Now, opened: Opened) {
        self.busy = false;
        if !matches!(self.storage, Storage::Loading { .. }) {
            return;
        }
        let mut base = Ledger::replay(now, &opened.records);
        let entries = &opened.cached.entries;
        self.chunks = entries.iter().filter_map(|(key, _)| minute_of(key)).collect();
        self.cached_unix = self.chunks.last().map_or(0, |&minute| u64::from(minute) * 60);
        let cached: Vec<&Record> = entries.iter().flat_map(|(_, records)| records).collect();
        let recovered = base.apply_cached(&cached);
        self.storage = Storage::Ready;
        self.journal_bytes = opened.journal_bytes;
        self.base_bytes = opened.journal_bytes;
        self.snapshot_day = opened.snapshot_day;
        self.merge(now, base);
        if self.is_clock_known() {
            self.settle_runs(now);
        }
        // The card was full before its history was at hand.
        if self.shrink {
            self.shrink_history();
        }
        // What only the cache knew is to stand in the journal too.
        if opened.rewrite || recovered || self.shrink {
            self.write_anew();
            self.append_at = Some(now.mono);
        }
        let words = opened.notes.join(" ");
        if !words.is_empty() {
            self.note_audit(now, &words);
        }
        opened.notes.into_iter().for_each(|note| self.note(note));
    }

    /// The cache knows what was counted after the last tallies, the minutes and the levels. True
    /// when it knows sums that the journal has lost.
    fn apply_cached(&mut self, cached: &[&Record]) -> bool {
        let journal_knows = self.next_number;
        let mut recovered = false;
        for record in cached {
            // Names that the journal lost; not those that it knows to be forgotten.
            if let Record::Worker { number, .. } = record
                && (number.0 >= journal_knows || self.numbers.contains_key(number))
            {
                self.apply(record);
            }
        }
        for record in cached {
            let is_news = match record {
                // Only where the journal lost tallies that the cache has.
                Record::Totals { worker, totals } => self
                    .by_number(*worker)
                    .is_some_and(|worker| totals.tallies > worker.totals.tallies),
                Record::Points { worker, grain: Grain::Minute, .. }
                | Record::Open(Tally { worker, .. }) => self.by_number(*worker).is_some(),
                // The journal knows a later one, if any.
                Record::Level { worker, .. } => {
                    self.by_number(*worker).is_some_and(|worker| worker.level.is_none())
                }
                _ => false,
            };
            if is_news {
                self.apply(record);
                recovered |= matches!(record, Record::Totals { .. });
            }
        }
        recovered
    }

    /// Puts what was on the card under what was counted since the start. Handles stay good.
    fn merge(&mut self, now: Now, mut base: Ledger) {
        // What an earlier run left open is a tally of its own: its dates are of that run.
        let left: Vec<Tally> = base.everyone_mut().filter_map(Worker::close_left).collect();
        left.into_iter().for_each(|tally| self.journal(now, Record::Tally(tally)));
        let mut renumbered = BTreeMap::new();
        let mut fresh = Vec::new();
        let running = std::mem::take(&mut self.numbers);
        self.next_number = base.next_number;
        for (old, id) in running {
            let Some(mine) = self.workers.get_mut(&id) else { continue };
            let (key, fixed) = ((mine.name.clone(), mine.device.clone()), mine.fixed);
            if let Some(&other) = base.keys.get(&key) {
                let theirs = base.take(other);
                mine.renumber(theirs.number);
                mine.merge(theirs);
            } else {
                mine.renumber(WorkerNumber(self.next_number));
                self.next_number = self.next_number.saturating_add(1);
                if mine.journalled {
                    fresh.push(mine.introduction());
                }
            }
            if fixed.is_some() {
                fresh.push(Record::Fixed { worker: mine.number, difficulty: fixed });
            }
            renumbered.insert(old, mine.number);
            self.numbers.insert(mine.number, id);
        }
        for (_, mut worker) in std::mem::take(&mut base.workers) {
            worker.leave_to_the_past();
            self.insert(worker);
        }
        let new_number = |old: WorkerNumber| renumbered.get(&old).copied().unwrap_or(old);
        // The total's bests bear the numbers that were given before the card was read.
        let bests = [&mut self.total.best_since_boot, &mut self.total.open.best];
        for best in bests.into_iter().flatten() {
            best.worker = new_number(best.worker);
        }
        self.total.merge(base.total);
        self.watts.put_under(base.watts);
        self.unknown = base.unknown;
        self.joins = base.joins;
        self.runs = base.runs;

        // What was learnt while the card was being read comes after what is on it.
        for mut best in std::mem::replace(&mut self.bests, base.bests) {
            best.worker = new_number(best.worker);
            fresh.push(Record::Best(best));
        }
        for mut block in std::mem::replace(&mut self.blocks, base.blocks) {
            block.worker = new_number(block.worker);
            if self.blocks.iter().all(|known| known.hash != block.hash) {
                fresh.push(Record::Block(block));
            }
        }
        let settings = std::mem::replace(&mut self.settings, base.settings);
        fresh.extend(settings.into_iter().map(Record::Setting));
        let mut marks = base.marks;
        // The power went while it went on.
        for mark in marks.iter_mut().filter(|m| m.kind == Dent::Outage && m.until == 0) {
            let run = self.runs.iter().find(|run| (run.since..=run.until).contains(&mark.unix));
            mark.until = run.map_or(mark.unix, |run| run.until);
        }
        let marks = std::mem::replace(&mut self.marks, marks);
        fresh.extend(marks.into_iter().map(Record::Mark));
        let audit = std::mem::replace(&mut self.audit, base.audit);
        fresh.extend(audit.into_iter().map(Record::Audit));
        for record in fresh {
            self.apply_and_journal(now, record);
        }
        while self.keys.len() > MAX_WORKERS {
            self.make_room(now);
        }
    }

    fn saved(&mut self, now: Now, result: Result<SaveReport, String>) {
        self.busy = false;
        match result {
            Ok(report) => {
                self.saved_shares = self.saving_shares.take().unwrap_or(self.saved_shares);
                self.saving_blocks.clear();
                if self.base_bytes == 0 {
                    self.base_bytes = report.journal_bytes;
                }
                self.journal_bytes = report.journal_bytes;
                self.dropping.clear();
                if report.cache_failed {
                    self.cache_anew();
                }
                report.notes.into_iter().for_each(|note| self.note(note));
                if let Storage::Failing { since, .. } = self.storage {
                    let minutes = now.unix.saturating_sub(since) / 60;
                    self.note(format!("The card can be written again after {minutes} minutes."));
                }
                if self.storage != Storage::Closed {
                    self.storage = Storage::Ready;
                }
                self.try_at = None;
            }
            Err(why) => {
                let since = match self.storage {
                    Storage::Closed => return self.note(why),
                    Storage::Failing { since, .. } => since,
                    Storage::Loading { .. } | Storage::Ready => {
                        self.note(format!("The ledger lives in memory only: {why}"));
                        now.unix
                    }
                };
                self.storage = Storage::Failing { since, why };
                self.write_anew();
                self.pending.clear();
                self.snapshot_day = None;
                self.gone.append(&mut self.dropping);
                self.gone.truncate(MAX_GONE);
                self.cache_anew();
                self.try_at = Some(now.mono + RETRY_AFTER);
            }
        }
    }

    /// The journal is to be replaced: what it holds is not counted on until that is done.
    fn write_anew(&mut self) {
        self.rewrite = true;
        self.saving_blocks.clear();
        self.unsaved_blocks = self.blocks.iter().map(|block| block.hash).collect();
    }

    /// The next writing of the cache puts everything into it.
    fn cache_anew(&mut self) {
        for worker in self.everyone_mut() {
            worker.changed.cache = true;
            worker.cached_tallies = None;
        }
        self.cached_unix = 0;
    }

    /// Asks for writing if it is time and nothing is being written.
    fn write(&mut self, now: Now, out: &mut Vec<LedgerOutput>) {
        let retry = self.try_at.is_some_and(|at| now.mono >= at);
        if self.busy {
            return;
        }
        match self.storage {
            // There is nothing to write on, and no time to wait for it.
            Storage::Loading { why: Some(_) } if self.stopping => {
                self.storage = Storage::Closed;
                return;
            }
            Storage::Loading { .. } => {
                if retry {
                    self.busy = true;
                    self.try_at = None;
                    out.push(LedgerOutput::Open);
                }
                return;
            }
            Storage::Closed => return,
            Storage::Failing { .. } if !retry && !self.stopping => return,
            Storage::Failing { .. } => self.try_at = None,
            Storage::Ready => {
                let due = self.append_at.is_some_and(|at| now.mono >= at);
                let later = now.mono >= self.cache_at || now.mono >= self.interim_at;
                if !(due || later || self.urgent || self.stopping) {
                    return;
                }
            }
        }
        self.busy = true;
        out.push(LedgerOutput::Save(Box::new(self.batch(now))));
    }

    fn batch(&mut self, now: Now) -> Batch {
        if self.stopping {
            self.close_tallies(now);
        }
        self.has_written = true;
        if let Some(run) = &mut self.run {
            run.until = now.unix;
        }
        let mut batch = Batch { unix: now.unix, close: self.stopping, ..Batch::default() };
        let limit = (2 * self.base_bytes + 256 * 1024).min(JOURNAL_LIMIT);
        let grown = self.journal_bytes > limit;
        let cache_due = !self.pausing && (now.mono >= self.cache_at || self.stopping);
        let interim_due = now.mono >= self.interim_at || cache_due || self.stopping;
        if self.rewrite || grown {
            let mut records = self.records(JOURNAL_BUDGET);
            // What was journalled since the cache was written, and only there.
            for worker in self.everyone_mut() {
                worker.changed.journal = true;
            }
            self.journalled_unix = self.cached_unix;
            // All of it is in the records already.
            self.heat_from = self.ten_minutes;
            records.extend(self.interim(now));
            batch.rewrite = Some(records);
            self.pending.clear();
            self.rewrite = false;
            // Learnt anew from the answer.
            self.base_bytes = 0;
        }
        self.saving_blocks = std::mem::take(&mut self.unsaved_blocks);
        batch.shrink = std::mem::take(&mut self.shrink);
        batch.append = std::mem::take(&mut self.pending);
        // The journal first: what the cache is to hold must not depend on it.
        if batch.rewrite.is_none() && interim_due {
            batch.append.extend(self.interim(now));
        }
        if batch.rewrite.is_none() {
            // Up to when all that is written is dated.
            batch.append.extend(self.run.clone().map(Record::Run));
        }
        if cache_due {
            batch.cache = self.cache(now);
            self.cache_at = now.mono + CACHE_EVERY;
        }
        let today = Grain::Day.period(now.unix);
        if self.snapshot_day != Some(today) && !self.stopping {
            batch.snapshot = Some((today, self.records(BACKUP_BUDGET)));
            self.snapshot_day = Some(today);
        }
        // The journal has the open tallies as well.
        let is_complete = batch.rewrite.is_some() || interim_due;
        self.saving_shares = is_complete.then(|| self.shares());
        self.append_at = None;
        self.urgent = false;
        if std::mem::take(&mut self.stopping) {
            self.storage = Storage::Closed;
        }
        batch
    }

    /// For the journal: what was counted since the last tallies, the minutes since the last time,
    /// and the difficulties.
    fn interim(&mut self, now: Now) -> Vec<Record> {
        self.interim_at = now.mono + INTERIM_EVERY;
        let since = first_minute(self.journalled_unix, now.unix);
        self.journalled_unix = now.unix;
        let mut records = Vec::new();
        for worker in self.everyone_mut().filter(|worker| worker.journalled) {
            worker.pass(now);
            if std::mem::take(&mut worker.changed.journal) {
                worker.turn_minute(now.unix);
                records.extend(worker.interim());
                records.extend(worker.minutes_since(since));
            }
        }
        records.extend(self.heat_since(now));
        records
    }

    /// What changed since the cache was last written: for each worker its open tally and level,
    /// its totals when a tally was closed, and in one entry the new minutes of all.
    fn cache(&mut self, now: Now) -> Vec<Entry> {
        // A chunk has the minutes of an hour, or of a day, before its own.
        let kept = self.chunks.split_off(&first_minute(0, now.unix));
        let old = std::mem::replace(&mut self.chunks, kept);
        self.gone.extend(old.into_iter().map(minute_key));
        self.dropping = std::mem::take(&mut self.gone);
        let mut entries: Vec<Entry> =
            self.dropping.iter().map(|key| (key.clone(), Vec::new())).collect();
        let mut fresh = Vec::new();
        let since = first_minute(self.cached_unix, now.unix);
        self.cached_unix = now.unix;
        for worker in self.everyone_mut().filter(|worker| worker.journalled) {
            worker.pass(now);
            if !std::mem::take(&mut worker.changed.cache) {
                continue;
            }
            worker.turn_minute(now.unix);
            entries.push((key(b'w', worker.number.0), worker.cached()));
            if worker.cached_tallies != Some(worker.totals.tallies) {
                worker.cached_tallies = Some(worker.totals.tallies);
                let (worker, totals) = (worker.number, worker.totals);
                entries.push((key(b't', worker.0), vec![Record::Totals { worker, totals }]));
            }
            fresh.extend(worker.minutes_since(since));
        }
        if !fresh.is_empty() {
            let minute = Grain::Minute.period(now.unix);
            self.chunks.insert(minute);
            entries.push((minute_key(minute), fresh));
        }
        entries
    }

    fn note_audit(&mut self, now: Now, text: &str) {
        let entry = AuditEntry { unix: now.unix, text: clip(text, MAX_TEXT).to_owned() };
        self.apply_and_journal(now, Record::Audit(entry));
    }

    fn note(&mut self, note: String) {
        if self.notes.back() != Some(&note) {
            let end = self.notes.len();
            insert_bounded(&mut self.notes, end, note, 20);
        }
    }

    // -- the table of workers --

    fn everyone_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        [&mut self.total].into_iter().chain(self.workers.values_mut())
    }

    fn by_number(&mut self, number: WorkerNumber) -> Option<&mut Worker> {
        if number == WorkerNumber::TOTAL {
            return Some(&mut self.total);
        }
        self.workers.get_mut(self.numbers.get(&number)?)
    }

    /// The worker with this number; one whose name was lost gets a stand-in, so that its counts
    /// are not lost too.
    fn known(&mut self, number: WorkerNumber, unix: u64) -> &mut Worker {
        if number == WorkerNumber::TOTAL {
            return &mut self.total;
        }
        let id = self
            .find(number)
            .unwrap_or_else(|| self.insert(Worker::new(number, &lost_name(number), "", unix)));
        self.live(id)
    }

    fn live(&mut self, id: WorkerId) -> &mut Worker {
        self.workers.get_mut(&id).expect("keys and numbers name live workers only")
    }

    fn insert(&mut self, mut worker: Worker) -> WorkerId {
        worker.changed = Changed::ALL;
        self.next_number = self.next_number.max(worker.number.0.saturating_add(1));
        let id = WorkerId(self.next_id);
        self.next_id += 1;
        self.keys.insert((worker.name.clone(), worker.device.clone()), id);
        self.numbers.insert(worker.number, id);
        self.workers.insert(id, worker);
        id
    }

    fn take(&mut self, id: WorkerId) -> Worker {
        let worker = self.workers.remove(&id).expect("keys and numbers name live workers only");
        self.keys.remove(&(worker.name.clone(), worker.device.clone()));
        self.numbers.remove(&worker.number);
        worker
    }

    fn remove(&mut self, id: WorkerId) {
        let worker = self.take(id);
        self.drop_from_cache(&worker);
    }

    fn drop_from_cache(&mut self, worker: &Worker) {
        if worker.journalled && self.gone.len() < MAX_GONE {
            self.gone.extend([b'w', b't'].map(|kind| key(kind, worker.number.0)));
        }
    }

    fn rename(&mut self, number: WorkerNumber, name: &str, device: &str) {
        if let Some(id) = self.find(number) {
            let mut worker = self.take(id);
            worker.name = name.to_owned();
            worker.device = device.to_owned();
            self.insert(worker);
        }
    }
}

impl Worker {
    fn new(number: WorkerNumber, name: &str, device: &str, unix: u64) -> Worker {
        Worker {
            number,
            name: name.to_owned(),
            device: device.to_owned(),
            sessions: 0,
            level: None,
            wish: None,
            fixed: None,
            best_since_boot: None,
            totals: Totals { first_seen: unix, last_seen: unix, ..Totals::default() },
            open: Tally { worker: number, ..Tally::default() },
            minute: Tally::default(),
            share_at: None,
            series: Grain::ALL.map(Series::new),
            earlier: Grain::ALL.map(Series::new),
            heat: None,
            counted_to: None,
            journalled: true,
            changed: Changed::default(),
            cached_tallies: None,
        }
    }

    /// Everything ever counted, up to now.
    pub fn totals(&self) -> Totals {
        let mut totals = self.totals;
        totals.add(&self.open);
        totals
    }

    /// Whether a share of it ever counted.
    pub fn has_mined(&self) -> bool {
        self.totals.ever.accepted > 0 || self.open.counts.accepted > 0
    }

    /// The points of a grain, the oldest first, with what was counted last.
    pub fn history(&self, grain: Grain) -> Vec<Point> {
        self.with_open(grain, if grain == Grain::Minute { self.minute } else { self.open })
    }

    /// The same with the time up to now. A clock that was wrong in an earlier run may have left points
    /// in the future.
    pub fn history_until(&self, now: Now, grain: Grain) -> Vec<Point> {
        let mut open = if grain == Grain::Minute { self.minute } else { self.open };
        let online = self.uncounted(now).as_secs() as u32;
        open.add(&Tally { from: now.unix, online, ..Tally::default() });
        self.with_open(grain, open)
    }

    /// What its own API told, by rising period.
    pub fn heat(&self, span: Span) -> Vec<(u32, Slot)> {
        self.heat.as_ref().map_or_else(Vec::new, |heat| heat.slots(span))
    }

    fn tell_heat(&mut self, period: u32, celsius: Option<f32>, watts: Option<f32>) {
        // As few bytes for a name without work as on the card: none.
        if !self.journalled {
            return;
        }
        let open = self.heat.as_ref().map(|heat| heat.open).filter(|open| open.period == period);
        let mut open = open.unwrap_or_else(|| Open::of(period));
        if open.tell(celsius, watts) {
            self.heat.get_or_insert_default().open = open;
        }
    }

    /// What its accepted shares of the last `window` seconds (at most a day) prove. Minutes are kept
    /// whole, so the window begins at the nearest border of one.
    pub fn proven(&self, now: Now, window: u64) -> Proven {
        self.add_up(now, window, &mut |_| {})
    }

    /// The same for the last day, and the half hours of it in which the worker was connected, the
    /// oldest first; at most 49.
    pub fn day(&self, now: Now) -> (Proven, Vec<HalfHour>) {
        let mut halves: Vec<HalfHour> = Vec::with_capacity(50);
        let proven = self.add_up(now, 86_400, &mut |half: HalfHour| {
            // They come in their order, but for those of two runs.
            if halves.last().is_none_or(|last| last.half < half.half) {
                return halves.push(half);
            }
            let place = halves.partition_point(|before| before.half < half.half);
            match halves.get_mut(place).filter(|same| same.half == half.half) {
                Some(same) => same.proven.add(&half.proven),
                None => halves.insert(place, half),
            }
        });
        (proven, halves)
    }

    /// Tells `each` the half hours of the window, in pieces, and what they add up to.
    fn add_up(&self, now: Now, window: u64, each: &mut impl FnMut(HalfHour)) -> Proven {
        let start = now.unix.saturating_sub(window.min(86_400));
        let first = Grain::Minute.period(start.saturating_add(30));
        let last = Grain::Minute.period(now.unix);
        let mut sum = Proven::default();
        let mut add = |half: HalfHour| {
            sum.add(&half.proven);
            each(half);
        };
        for series in [&self.earlier, &self.series] {
            let minutes = &series[Grain::Minute.index()];
            if minutes.points().next_back().is_none_or(|newest| newest.period <= last) {
                minutes.half_hours_since(first, &mut add);
                continue;
            }
            // Minutes that a wrong clock has left in the future are none of this window's.
            for minute in minutes.since(first).take_while(|minute| minute.period <= last) {
                add(HalfHour { half: half_of(minute.period), proven: minute.proven() });
            }
        }
        let mut open = Point::of(Grain::Minute, &self.minute);
        if open.period < first {
            open = Point { period: Grain::Minute.period(now.unix), ..Point::default() };
        }
        let mut proven = open.proven();
        proven.seconds += self.uncounted(now).as_secs_f64();
        if !open.is_empty() || proven.seconds > 0.0 {
            add(HalfHour { half: half_of(open.period), proven });
        }
        sum
    }

    /// The time of the present connection that is not counted yet.
    fn uncounted(&self, now: Now) -> Duration {
        self.counted_to.map_or(Duration::ZERO, |to| now.mono.saturating_duration_since(to))
    }

    fn with_open(&self, grain: Grain, open: Tally) -> Vec<Point> {
        let mut series = self.series(grain).clone();
        series.add(&open);
        match self.earlier[grain.index()].is_empty() {
            true => series.points().copied().collect(),
            false => together(&self.earlier[grain.index()], &series),
        }
    }

    /// The points of a grain without what is counted at the moment.
    fn closed(&self, grain: Grain) -> Vec<Point> {
        together(&self.earlier[grain.index()], self.series(grain))
    }

    /// True while a connection is authorised as this worker.
    pub fn is_connected(&self) -> bool {
        self.sessions > 0
    }

    fn connected(&mut self, now: Now) {
        self.sessions += 1;
        self.totals.last_seen = now.unix;
        self.counted_to.get_or_insert(now.mono);
    }

    fn disconnected(&mut self, now: Now) {
        self.pass(now);
        self.sessions = self.sessions.saturating_sub(1);
        self.totals.last_seen = now.unix;
        self.changed = Changed::ALL;
        if self.sessions == 0 {
            self.counted_to = None;
        }
    }

    /// Counts the time up to now, in whole seconds, in the minutes that it belongs to.
    fn pass(&mut self, now: Now) {
        let Some(counted_to) = self.counted_to else { return };
        let mut left = self.uncounted(now).as_secs();
        if left == 0 {
            return;
        }
        self.counted_to = Some(counted_to + Duration::from_secs(left));
        self.changed = Changed::ALL;
        self.totals.last_seen = now.unix;
        // A day is all that the minutes hold.
        left = left.min(86_400);
        let mut at = now.unix.saturating_sub(left);
        while left > 0 {
            self.turn_to(at);
            let part = left.min(60 - at % 60);
            let time = Tally { from: at, online: part as u32, ..Tally::default() };
            self.open.add(&time);
            self.minute.add(&time);
            at += part;
            left -= part;
        }
    }

    /// Counts one share; true when it is the best ever of this worker.
    fn count(&mut self, now: Now, share: &Tally) -> bool {
        self.pass(now);
        self.turn_to(share.from);
        if share.last_share > 0 {
            self.share_at = Some(now.mono);
        }
        self.changed = Changed::ALL;
        self.open.add(share);
        self.minute.add(share);
        self.best_since_boot = better(self.best_since_boot, share.best);
        let before = best_difficulty(&self.totals.best);
        share.best.is_some_and(|best| best.difficulty > before)
    }

    fn turn_to(&mut self, unix: u64) {
        if unix / 60 != self.minute.from / 60 {
            self.turn_minute(unix);
        }
    }

    fn turn_minute(&mut self, unix: u64) {
        let next = Tally { from: unix, ..Tally::default() };
        let done = std::mem::replace(&mut self.minute, next);
        self.series[Grain::Minute.index()].add(&done);
    }

    fn add_tally(&mut self, tally: &Tally) {
        self.close_lost(tally.number);
        for grain in [Grain::Hour, Grain::Day] {
            self.series[grain.index()].add(tally);
        }
        self.totals.add(tally);
        // The total is introduced by nothing else.
        self.totals.first_seen = self.totals.first_seen.min(tally.from);
        self.totals.tallies = tally.number.saturating_add(1);
        self.open_from(self.totals.tallies);
    }

    fn take_totals(&mut self, totals: &Totals) {
        let mine = self.totals;
        if totals.tallies < mine.tallies {
            return;
        }
        self.totals = Totals { best: better(mine.best, totals.best), ..*totals };
        // With the same tallies they may be of before a block that is known here.
        if totals.tallies == mine.tallies {
            self.totals.since_block = mine.since_block;
            self.totals.best_since_block = mine.best_since_block;
            self.totals.blocks = mine.blocks.max(totals.blocks);
        }
        self.open_from(totals.tallies);
    }

    fn reopen(&mut self) {
        self.open_anew(self.open.number.saturating_add(1));
    }

    /// All tallies before this number are closed: an open one of before is in them.
    fn open_from(&mut self, number: u32) {
        if self.open.number < number {
            self.open_anew(number);
        }
    }

    fn open_anew(&mut self, number: u32) {
        self.open = Tally { worker: self.number, number, ..Tally::default() };
    }

    /// Takes in an open tally as it stood once, unless a later one is known.
    fn raise_open(&mut self, tally: &Tally) {
        let size = |tally: &Tally| {
            let shares = tally.counts.accepted.saturating_add(tally.counts.rejected());
            (tally.number, shares, tally.online)
        };
        let later = size(tally) > size(&self.open);
        if tally.number >= self.totals.tallies && later {
            self.close_lost(tally.number);
            self.open = *tally;
        }
    }

    /// An open tally of before this number, whose end was lost, counts as it last stood.
    fn close_lost(&mut self, number: u32) {
        if self.open.number < number && !self.open.is_empty() {
            let lost = self.open;
            self.open_from(number);
            self.add_tally(&lost);
        }
    }

    /// Closes the open tally, if there is one.
    fn close_left(&mut self) -> Option<Tally> {
        let open = (!self.open.is_empty()).then_some(self.open)?;
        self.add_tally(&open);
        Some(open)
    }

    fn renumber(&mut self, number: WorkerNumber) {
        self.number = number;
        self.open.worker = number;
        let totals = &mut self.totals;
        let bests = [
            &mut self.open.best,
            &mut self.best_since_boot,
            &mut totals.best,
            &mut totals.best_since_block,
        ];
        for best in bests.into_iter().flatten() {
            best.worker = number;
        }
    }

    /// Adds what the card knows of this worker to what was counted since the start.
    fn merge(&mut self, mut theirs: Worker) {
        theirs.leave_to_the_past();
        let mine = std::mem::replace(&mut self.totals, theirs.totals);
        self.totals.last_seen = self.totals.last_seen.max(mine.last_seen);
        self.journalled = true;
        let number = theirs.totals.tallies.max(theirs.open.number);
        let mine = std::mem::replace(&mut self.open, Tally { number, ..theirs.open });
        self.open.add(&mine);
        self.level = self.level.or(theirs.level);
        self.wish = self.wish.or(theirs.wish);
        self.fixed = self.fixed.or(theirs.fixed);
        for (mine, theirs) in self.earlier.iter_mut().zip(theirs.earlier) {
            match mine.is_empty() {
                true => *mine = theirs,
                false => theirs.points().for_each(|point| mine.merge(point)),
            }
        }
        if let Some(theirs) = theirs.heat {
            self.heat.get_or_insert_default().history.put_under(theirs.history);
        }
        self.changed = Changed::ALL;
    }

    /// Takes over all that was counted for a worker that is no more, as the tally of this number.
    fn absorb(&mut self, mut other: Worker, number: u32) {
        self.close_lost(number);
        other.turn_minute(other.minute.from);
        other.renumber(self.number);
        let [mine, theirs] = [&mut self.totals, &mut other.totals];
        mine.ever.add(&theirs.ever);
        mine.since_block.add(&theirs.since_block);
        mine.blocks = mine.blocks.saturating_add(theirs.blocks);
        // Without a name in the journal nobody knows since when.
        let first = [mine.first_seen, theirs.first_seen].into_iter().filter(|unix| *unix > 0);
        mine.first_seen = first.min().unwrap_or(0);
        mine.last_seen = mine.last_seen.max(theirs.last_seen);
        mine.last_share = mine.last_share.max(theirs.last_share);
        mine.best = better(mine.best, theirs.best);
        mine.best_since_block = better(mine.best_since_block, theirs.best_since_block);
        mine.tallies = number.saturating_add(1);
        self.open_from(self.totals.tallies);
        self.best_since_boot = better(self.best_since_boot, other.best_since_boot);
        self.share_at = self.share_at.max(other.share_at);
        self.level = self.level.or(other.level);
        self.wish = self.wish.or(other.wish);
        self.fixed = self.fixed.or(other.fixed);
        let mine = self.earlier.iter_mut().chain(&mut self.series);
        for (mine, theirs) in mine.zip(other.earlier.iter().chain(&other.series)) {
            mine.join(theirs);
        }
        if let Some(mut theirs) = other.heat {
            theirs.turn(0);
            self.heat.get_or_insert_default().history.join(theirs.history);
        }
        self.journalled |= other.journalled;
        self.changed = Changed::ALL;
    }

    /// What was read from the card is of an earlier run.
    fn leave_to_the_past(&mut self) {
        for (earlier, read) in self.earlier.iter_mut().zip(&mut self.series) {
            let grain = read.grain();
            *earlier = std::mem::replace(read, Series::new(grain));
        }
        if let Some(heat) = &mut self.heat {
            heat.history.leave_to_the_past();
        }
        // Until when it was connected stands in no sum.
        if let Some(last) = self.earlier[Grain::Minute.index()].points().next_back() {
            let end = u64::from(last.period) * 60 + u64::from(last.online.min(60));
            self.totals.last_seen = self.totals.last_seen.max(end);
        }
    }

    /// Moves what was noted since the start: `moved` periods of each grain, and single dates.
    fn redate(&mut self, moved: [i64; 3], redate: &impl Fn(&mut u64)) {
        let sum = |series: &Series| series.points().map(Point::shares).sum::<u64>();
        let [minutes, hours, days] = &mut self.series;
        minutes.shift(moved[0]);
        redate(&mut self.minute.from);
        redate(&mut self.open.from);
        let mut all = minutes.clone();
        all.add(&self.minute);
        // The minutes tell to the minute what the hours and days become, as long as they are whole.
        if !hours.is_empty() && self.open.is_empty() && sum(&all) == sum(hours) {
            for (coarse, grain) in [(hours, Grain::Hour), (days, Grain::Day)] {
                *coarse = Series::new(grain);
                for point in all.points() {
                    let period = grain.period(u64::from(point.period) * 60);
                    coarse.merge(&Point { period, squares: 0.0, ..*point });
                }
            }
        } else {
            hours.shift(moved[1]);
            days.shift(moved[2]);
        }
        self.redate_totals(redate);
        redate(&mut self.open.last_share);
        let bests = [&mut self.open.best, &mut self.best_since_boot];
        bests.into_iter().flatten().for_each(|best| redate(&mut best.unix));
        self.changed = Changed::ALL;
    }

    /// Moves what an earlier run has dated.
    fn move_run(&mut self, shift: &Shift) {
        runs::move_points(&mut self.earlier, shift);
        self.redate_totals(|date| shift.date(date));
        self.changed = Changed::ALL;
    }

    fn redate_totals(&mut self, redate: impl Fn(&mut u64)) {
        let totals = &mut self.totals;
        [&mut totals.first_seen, &mut totals.last_seen, &mut totals.last_share]
            .into_iter()
            .for_each(&redate);
        let bests = [&mut totals.best, &mut totals.best_since_block];
        bests.into_iter().flatten().for_each(|best| redate(&mut best.unix));
    }

    fn introduction(&self) -> Record {
        Record::Worker {
            number: self.number,
            name: self.name.clone(),
            device: self.device.clone(),
            unix: self.totals.first_seen,
        }
    }

    fn cached(&self) -> Vec<Record> {
        let mut records = self.interim();
        if self.number != WorkerNumber::TOTAL {
            records.insert(0, self.introduction());
        }
        records
    }

    fn interim(&self) -> Vec<Record> {
        let mut records = Vec::new();
        if !self.open.is_empty() {
            records.push(Record::Open(self.open));
        }
        if let Some(difficulty) = self.level {
            let (worker, wish) = (self.number, self.wish);
            records.push(Record::Level { worker, difficulty, wish });
        }
        records
    }

    fn minutes_since(&self, first: u32) -> Vec<Record> {
        let mut minutes = Series::new(Grain::Minute);
        for series in [&self.earlier, &self.series] {
            series[Grain::Minute.index()].since(first).for_each(|point| minutes.merge(point));
        }
        let minutes: Vec<Point> = minutes.points().copied().collect();
        self.point_records(Grain::Minute, &minutes)
    }

    fn point_records(&self, grain: Grain, points: &[Point]) -> Vec<Record> {
        let (worker, chunks) = (self.number, points.chunks(MAX_POINTS));
        chunks.map(|points| Record::Points { worker, grain, points: points.to_vec() }).collect()
    }

    fn series(&self, grain: Grain) -> &Series {
        &self.series[grain.index()]
    }

    fn points_held(&self) -> usize {
        self.earlier.iter().chain(&self.series).map(Series::len).sum()
    }
}

/// The points of two runs, the oldest first, at most one of each period.
fn together(earlier: &Series, later: &Series) -> Vec<Point> {
    let mut both = earlier.clone();
    later.points().for_each(|point| both.merge(point));
    both.points().copied().collect()
}

/// So many whole periods of a grain come nearest to so many seconds.
fn periods(seconds: i64, grain: Grain) -> i64 {
    let width = grain.seconds() as i64;
    seconds.saturating_add(width / 2).div_euclid(width)
}

/// Moves a date by so many seconds if it is of the time from the start to now, by the clock that was
/// wrong. Dates of before the start keep what they are.
fn redating(start: u64, now: u64, by: i64) -> impl Fn(&mut u64) {
    move |date| {
        if (start..=now).contains(date) {
            *date = date.saturating_add_signed(by);
        }
    }
}

/// The last of the records, in their order, that together fit into so many bytes.
fn newest(records: impl DoubleEndedIterator<Item = Record>, bytes: usize) -> Vec<Record> {
    let mut left = bytes;
    let fits = records.rev().take_while(|record| {
        let size = size_on_disk(std::slice::from_ref(record));
        let fits = size <= left;
        left = left.saturating_sub(size);
        fits
    });
    let mut kept: Vec<Record> = fits.collect();
    kept.reverse();
    kept
}

fn size_on_disk(records: &[Record]) -> usize {
    let mut bytes = Vec::new();
    encode_all(records, 0, &mut bytes);
    bytes.len()
}

/// The minute to begin with when all up to `unix` is known, at most a day back. The newest minute
/// was open then and may have grown.
fn first_minute(unix: u64, now: u64) -> u32 {
    Grain::Minute.period(unix.max(now.saturating_sub(86_400)).min(now))
}

/// `w` and `t` with a worker's number; see also [`minute_key`].
fn key(kind: u8, number: u32) -> Vec<u8> {
    [[kind].as_slice(), &number.to_be_bytes()].concat()
}

/// How far a found block has come. A stale one may come back, which is then told anew.
fn stage(state: &StoredState) -> u8 {
    match state {
        StoredState::Candidate => 0,
        StoredState::Rejected { .. } => 1,
        StoredState::Accepted { .. } => 2,
        StoredState::Confirmed { .. } => 3,
        StoredState::Stale => 4,
        StoredState::Mature => 5,
    }
}

fn clipped(mut state: StoredState) -> StoredState {
    if let StoredState::Accepted { node: text } | StoredState::Rejected { reason: text } =
        &mut state
    {
        text.truncate(clip(text, MAX_TEXT).len());
    }
    state
}

fn push_new<T: Clone + PartialEq>(queue: &mut VecDeque<T>, item: &T, limit: usize) {
    if !queue.contains(item) {
        insert_bounded(queue, queue.len(), item.clone(), limit);
    }
}

fn insert_bounded<T>(queue: &mut VecDeque<T>, place: usize, item: T, limit: usize) {
    queue.insert(place, item);
    while queue.len() > limit {
        queue.pop_front();
    }
}

fn lost_name(number: WorkerNumber) -> String {
    format!("(lost name {})", number.0)
}

fn until_next(grain: Grain, unix: u64) -> Duration {
    Duration::from_secs(grain.seconds() - unix % grain.seconds())
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::any_record;
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn a_name_that_the_journal_lost_is_taken_from_the_cache() {
        let now = Now { mono: Instant::now(), unix: 1_790_000_000 };
        let mut ledger = Ledger::new(now);
        let worker = WorkerNumber(5);
        let counts = Counts { accepted: 3, ..Counts::default() };
        let tally = Tally { worker, counts, ..Tally::default() };
        let name =
            Record::Worker { number: worker, name: "garage".into(), device: "d".into(), unix: 1 };
        let cached = Cached { entries: vec![(key(b'w', 5), vec![name])], sequence: 0 };
        let opened = Opened { records: vec![Record::Tally(tally)], cached, ..Opened::default() };
        ledger.handle(now, LedgerEvent::Opened(Box::new(opened)), &mut Vec::new());
        let id = ledger.named("garage").unwrap();
        assert_eq!(ledger.get(id).unwrap().totals().ever.accepted, 3);
        assert_eq!(ledger.worker(now, "garage", "d"), id);
    }

    proptest! {
        /// Whatever stands in a journal with right checksums: no panic, no endless growth, and what
        /// is written of it can be read again.
        #[test]
        fn any_records_in_any_order_are_survived(
            records in vec(any_record(), 0..60), cached in vec(any_record(), 0..20)
        ) {
            let now = Now { mono: Instant::now(), unix: 1_790_000_000 };
            let mut ledger = Ledger::new(now);
            let mut out = Vec::new();
            let worker = ledger.worker(now, "w", "d");
            let share =
                || LedgerEvent::Share { worker, difficulty: 1.0, actual: 2.0, height: 3 };
            ledger.handle(now, share(), &mut out);
            let cached = Cached { entries: vec![(b"w".to_vec(), cached)], sequence: 0 };
            let opened = Opened { records, cached, ..Opened::default() };
            ledger.handle(now, LedgerEvent::Opened(Box::new(opened)), &mut out);
            ledger.handle(now, share(), &mut out);
            prop_assert!(ledger.get(worker).is_some_and(|worker| worker.name == "w"));
            let later = Now { mono: now.mono + Duration::from_secs(7200), unix: now.unix + 7200 };
            ledger.handle(later, LedgerEvent::Stop, &mut out);
            let written = ledger.records(100_000);
            let mut bytes = Vec::new();
            for record in &written {
                super::super::record::encode(record, 1, &mut bytes);
            }
            let scan = super::super::record::scan_frames(&bytes);
            prop_assert_eq!(scan.torn_tail + scan.damaged_bytes, 0);
            prop_assert_eq!(scan.records.len(), written.len());
            let again = Ledger::replay(now, &scan.records);
            let (a, b) = (ledger.total().totals().ever, again.total().totals().ever);
            prop_assert_eq!(a.accepted, b.accepted);
        }
    }

    /// A steady miner, a share a minute, from `start` on for so many minutes.
    fn mines(ledger: &mut Ledger, worker: WorkerId, now: &mut Now, minutes: u64) {
        for _ in 0..minutes {
            *now = Now { mono: now.mono + Duration::from_secs(60), unix: now.unix + 60 };
            let share = LedgerEvent::Share { worker, difficulty: 60.0, actual: 70.0, height: 1 };
            ledger.handle(*now, share, &mut Vec::new());
        }
    }

    const DAYS_400: i64 = 400 * 86_400;

    #[test]
    fn a_jump_of_the_clock_changes_no_rate_and_takes_the_past_along() {
        for by in [DAYS_400, -DAYS_400, 700, -700, 86_400 + 1_234] {
            let mut now = Now { mono: Instant::now(), unix: 1_790_000_000 };
            let mut ledger = Ledger::new(now);
            ledger.storage = Storage::Ready;
            let worker = ledger.worker(now, "w", "d");
            ledger.handle(now, LedgerEvent::Connected(worker), &mut Vec::new());
            mines(&mut ledger, worker, &mut now, 150);
            now.unix = now.unix.saturating_add_signed(by);
            ledger.handle(now, LedgerEvent::ClockSet { by }, &mut Vec::new());
            let start = now.unix - 150 * 60;
            let miner = ledger.get(worker).unwrap();
            for window in [300, 3_600, 86_400] {
                let proven = miner.proven(now, window);
                let rate = proven.work / proven.seconds;
                // One share more or less.
                let most = 70.0 / window as f64;
                assert!((rate - 1.0).abs() < most, "{by}, {window} s: {proven:?}");
                let measured = proven.seconds - window.min(150 * 60) as f64;
                assert!(measured.abs() <= 60.0, "{by}, {window} s: {proven:?}");
            }
            for grain in Grain::ALL {
                let points = miner.history_until(now, grain);
                let work: f32 = points.iter().map(|point| point.work).sum();
                assert_eq!(work, 150.0 * 60.0, "{by}, {grain:?}");
                let first = u64::from(points[0].period) * grain.seconds();
                let nearest = first.abs_diff(start / grain.seconds() * grain.seconds());
                assert!(nearest <= grain.seconds().min(60), "{by}, {grain:?}: {first} {start}");
            }
            let totals = miner.totals();
            assert_eq!(totals.first_seen, start);
            assert_eq!((totals.last_seen, totals.last_share), (now.unix, now.unix));
            assert_eq!(totals.best.unwrap().unix, start + 60);
            assert_eq!(ledger.bests()[0].unix, start + 60);
            // And on.
            mines(&mut ledger, worker, &mut now, 10);
            let proven = ledger.get(worker).unwrap().proven(now, 3_600);
            assert!((proven.work / proven.seconds - 1.0).abs() < 0.02, "{by}: {proven:?}");
        }
    }

    #[test]
    fn what_was_on_the_card_keeps_its_dates_when_the_clock_is_set() {
        let mut now = Now { mono: Instant::now(), unix: 1_790_000_000 };
        let mut first = Ledger::new(now);
        first.storage = Storage::Ready;
        let worker = first.worker(now, "w", "d");
        first.handle(now, LedgerEvent::Connected(worker), &mut Vec::new());
        mines(&mut first, worker, &mut now, 150);
        let records = first.records(JOURNAL_BUDGET);
        let of = |ledger: &Ledger, grain| ledger.total().history(grain);
        let before = [of(&first, Grain::Hour), of(&first, Grain::Day)];

        // The box comes back without a clock: an hour behind the end of its last run.
        let mut now = Now { mono: now.mono + Duration::from_secs(600), unix: now.unix - 3_600 };
        let mut second = Ledger::new(now);
        let worker = second.worker(now, "w", "d");
        second.handle(now, LedgerEvent::Connected(worker), &mut Vec::new());
        mines(&mut second, worker, &mut now, 2);
        let opened = Opened { records, ..Opened::default() };
        second.handle(now, LedgerEvent::Opened(Box::new(opened)), &mut Vec::new());
        mines(&mut second, worker, &mut now, 90);
        let by = 6 * 3_600;
        now.unix += by as u64;
        second.handle(now, LedgerEvent::ClockSet { by }, &mut Vec::new());
        let after = [of(&second, Grain::Hour), of(&second, Grain::Day)];
        assert_eq!(after[0][..before[0].len()], before[0][..]);
        let sum = |points: &[Point]| points.iter().map(|point| point.work).sum::<f32>();
        assert_eq!(sum(&after[0]), (150.0 + 92.0) * 60.0);
        assert_eq!(sum(&after[1]), (150.0 + 92.0) * 60.0);
        let began = now.unix - 92 * 60;
        let new = after[0][before[0].len()];
        assert_eq!(u64::from(new.period), began / 3_600, "{new:?}");
        // What is written from now on bears these dates.
        let again = Ledger::replay(now, &second.records(JOURNAL_BUDGET));
        assert_eq!(sum(&again.total().history(Grain::Hour)), (150.0 + 92.0) * 60.0);
        assert!(second.rewrite || !second.has_written);
    }

    /// What happens to a worker, and how long after the last time (seconds, also back).
    #[derive(Clone, Debug)]
    enum Step {
        Shares {
            every: u64,
            count: u64,
            difficulty: f64,
        },
        Reject,
        Wait(i64),
        Connect(bool),
        /// The card is read late, or the program was started again: other minutes come under these.
        Restore(Vec<Point>),
        Shrink,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        // In 256ths, so that no sum is rounded and both ways must give the very same.
        let difficulty = (1..1_u64 << 20).prop_map(|difficulty| difficulty as f64 / 256.0);
        let point = (0..3_000_u32, 1..9_u32, 0..1 << 20_u32);
        prop_oneof![
            8 => (1..150_u64, 1..400_u64, difficulty.clone())
                .prop_map(|(every, count, difficulty)| Step::Shares { every, count, difficulty }),
            // A day and more of minutes without a gap.
            2 => (1_500..1_700_u64, difficulty)
                .prop_map(|(count, difficulty)| Step::Shares { every: 59, count, difficulty }),
            2 => Just(Step::Reject),
            2 => (0..200_i64).prop_map(Step::Wait),
            2 => (-9_000..90_000_i64).prop_map(Step::Wait),
            1 => any::<bool>().prop_map(Step::Connect),
            1 => vec(point, 0..300).prop_map(|points| Step::Restore(
                points.into_iter().map(|(period, accepted, work)| Point {
                    period, accepted, work: work as f32 / 256.0, online: 60, ..Point::default()
                }).collect()
            )),
            1 => Just(Step::Shrink),
        ]
    }

    /// By walking through all that is held: of each minute from that on whose border is nearest to
    /// the start of the window, but not of one in the future.
    fn slow_day(worker: &Worker, now: Now, window: u64) -> (Proven, Vec<HalfHour>) {
        let first = Grain::Minute.period(now.unix.saturating_sub(window) + 30);
        let last = Grain::Minute.period(now.unix);
        let mut open = Point::of(Grain::Minute, &worker.minute);
        let uncounted = worker.uncounted(now);
        if open.period < first {
            open = Point { period: Grain::Minute.period(now.unix), ..Point::default() };
        }
        open.online += uncounted.as_secs() as u32;
        let minutes = [&worker.earlier, &worker.series].map(|all| all[0].points());
        let mut halves = BTreeMap::<u32, Proven>::new();
        let closed = minutes.into_iter().flatten().filter(|point| point.period <= last);
        for point in closed.chain([&open]).filter(|point| !point.is_empty()) {
            if point.period >= first {
                halves.entry(half_of(point.period)).or_default().add(&point.proven());
            }
        }
        let mut sum = Proven::default();
        halves.values().for_each(|proven| sum.add(proven));
        (sum, halves.into_iter().map(|(half, proven)| HalfHour { half, proven }).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Rates and half hours are those of the whole history, whatever became of it.
        #[test]
        fn rates_need_no_walk_through_the_day(
            start in prop_oneof![Just(90_000_u64), 1_790_000_000..1_790_003_600_u64],
            steps in vec(any_step(), 1..16)
        ) {
            let mono = Instant::now();
            let mut passed = 0_i64;
            let at = |passed: i64| Now {
                mono: mono + Duration::from_secs(passed.unsigned_abs()),
                unix: start.saturating_add_signed(passed),
            };
            let mut ledger = Ledger::new(at(0));
            ledger.storage = Storage::Ready;
            let worker = ledger.worker(at(0), "w", "d");
            let mut out = Vec::new();
            for step in steps {
                match step {
                    Step::Shares { every, count, difficulty } => for _ in 0..count {
                        passed += every as i64;
                        let share = LedgerEvent::Share { worker, difficulty, actual: 1.0, height: 1 };
                        ledger.handle(at(passed), share, &mut out);
                    }
                    Step::Reject => {
                        let reason = RejectReason::Stale;
                        let reject = LedgerEvent::Reject { worker, reason, actual: 0.0, height: 1 };
                        ledger.handle(at(passed), reject, &mut out);
                    }
                    Step::Wait(seconds) => passed += seconds,
                    Step::Connect(true) => {
                        ledger.handle(at(passed), LedgerEvent::Connected(worker), &mut out);
                    }
                    Step::Connect(false) => {
                        ledger.handle(at(passed), LedgerEvent::Disconnected(worker), &mut out);
                    }
                    Step::Restore(mut points) => {
                        let newest = Grain::Minute.period(at(passed).unix);
                        for point in &mut points {
                            // Some of them later than now.
                            point.period = (newest + 100).saturating_sub(point.period);
                        }
                        let number = ledger.get(worker).unwrap().number;
                        let grain = Grain::Minute;
                        ledger.storage = Storage::Loading { why: None };
                        let opened = Opened {
                            records: vec![
                                Record::Worker { number, name: "w".into(), device: "d".into(), unix: 1 },
                                Record::Points { worker: number, grain, points: points.clone() },
                                Record::Points { worker: WorkerNumber::TOTAL, grain, points },
                            ],
                            ..Opened::default()
                        };
                        ledger.handle(at(passed), LedgerEvent::Opened(Box::new(opened)), &mut out);
                    }
                    Step::Shrink => ledger.handle(at(passed), LedgerEvent::Shrink, &mut out),
                }
                out.clear();
                let worker = ledger.get(worker).unwrap();
                for of in [worker, ledger.total()] {
                    for later in [0, 1, 17, 30, 59, 60, 1_000, 50_000, -100, -7_000] {
                        let mut now = at(passed + later);
                        // On the border of a minute the oldest one just leaves the window.
                        now.unix = if later == 60 { now.unix / 60 * 60 } else { now.unix };
                        for window in [300, 600, 3_600] {
                            prop_assert_eq!(of.proven(now, window), slow_day(of, now, window).0);
                        }
                        prop_assert_eq!(of.day(now), slow_day(of, now, 86_400));
                    }
                }
            }
        }
    }
}
