//! Measurements: how late the loop is, how long jobs and answers take, and the state of the board.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::chain::BlockHash;
use crate::clock::Now;
use crate::difficulty::HASHES_PER_DIFFICULTY;
use crate::histogram::Histogram;
use crate::os::board::{Board, Reading};
use crate::status::miners::{Payees, class};
use crate::status::nominal::nominal;
use crate::status::{ClassRejectsView, RejectReason};
use crate::stratum::firmware::identify;

use super::{Event, State};

/// How often the board is read.
const INTERVAL: Duration = Duration::from_secs(5);
/// The window of the loop's lateness.
const LAG_WINDOW: Duration = Duration::from_secs(300);
/// Maximum values of it that are kept.
const LAGS_MAX: usize = 4096;
/// Maximum new tips whose first job is awaited: more than one only while nodes disagree.
const TIPS_MAX: usize = 8;
/// Maximum kinds of miners that are counted separately; a hostile client can invent any number.
const CLASSES_MAX: usize = 64;

/// The id of a coinbase transaction, and the script of its first output.
pub(super) type FoundCoinbase = (String, Vec<u8>);

/// The steps from the first report of a tip to its job, each timed from that report.
pub(super) const STEPS: [&str; 6] = [
    "template_requested",
    "template_received",
    "template_parsed",
    "job_built",
    "first_socket",
    "last_socket",
];

/// A tip whose jobs are timed.
struct Tip {
    hash: BlockHash,
    /// When it was first reported; `None` once a job on it was sent.
    heard: Option<Instant>,
    at: Instant,
    /// When it first reached each step.
    seen: [Option<Instant>; STEPS.len()],
}

/// Timings since the start.
pub(super) struct Timings {
    lags: VecDeque<(Instant, Duration)>,
    /// Maximum lateness of the loop.
    pub lag_max: Option<Duration>,
    /// Time from the decision for a job until it was handed to the last miner's socket.
    pub fanout: Histogram,
    /// Time from the first report of a tip until a job on it was handed to the last miner's socket.
    pub tip_to_job: Histogram,
    /// Time from a share's arrival until its answer was handed to the socket.
    pub share_answer: Histogram,
    /// Time from the first report of a tip to each step, in the order of [`STEPS`].
    pub steps: [Histogram; STEPS.len()],
    job_built: Option<Instant>,
    /// When the first bytes of the current work were handed to a socket.
    pub first_send: Option<Instant>,
    /// Number of shares to expect from the miners' hash rate and difficulty.
    pub shares_expected: f64,
    expected_at: Instant,
    /// Rejected shares by kind of miner and, in the order of all reasons, by reason.
    rejects: BTreeMap<String, [u64; RejectReason::COUNT]>,
    /// When each tip was first reported, until its job was sent.
    tips: VecDeque<Tip>,
    /// `None` while a pool thread uses it.
    board: Option<Board>,
    next_reading: Option<Instant>,
    /// The last reading.
    pub reading: Reading,
    /// Coinbases of found blocks, as id and paid script; `None` for a block that we do not have.
    pub coinbases: RefCell<BTreeMap<BlockHash, Option<FoundCoinbase>>>,
    /// Addresses of miners that are paid themselves.
    pub payees: Payees,
}

impl Timings {
    /// Timings without any measurement.
    pub(super) fn new(now: Now, data: &Path) -> Timings {
        Timings {
            lags: VecDeque::new(),
            lag_max: None,
            fanout: Histogram::fine(),
            tip_to_job: Histogram::coarse(),
            share_answer: Histogram::fine(),
            steps: [Histogram::fine(); STEPS.len()],
            job_built: None,
            first_send: None,
            shares_expected: 0.0,
            expected_at: now.mono,
            rejects: BTreeMap::from([(class(&identify("", &[]).model), Default::default())]),
            tips: VecDeque::new(),
            board: Some(Board::new(data.to_owned())),
            next_reading: Some(now.mono),
            reading: Reading::default(),
            coinbases: RefCell::default(),
            payees: Payees::default(),
        }
    }

    /// When the board is to be read.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.board.as_ref().and(self.next_reading)
    }

    /// The loop woke, which was due at `due`.
    pub(super) fn woke(&mut self, now: Instant, due: Option<Instant>) {
        let Some(lag) = due.and_then(|due| now.checked_duration_since(due)) else { return };
        self.lag_max = self.lag_max.max(Some(lag));
        self.lags.push_back((now, lag));
        while self.lags.len() > LAGS_MAX
            || self.lags.front().is_some_and(|(at, _)| now.duration_since(*at) > LAG_WINDOW)
        {
            self.lags.pop_front();
        }
    }

    /// The 99th percentile of the loop's lateness.
    pub(super) fn lag_p99(&self) -> Option<Duration> {
        let mut lags: Vec<Duration> = self.lags.iter().map(|(_, lag)| *lag).collect();
        lags.sort_unstable();
        let place = (lags.len() * 99).div_ceil(100).checked_sub(1)?;
        lags.get(place).copied()
    }

    /// A node reported this tip.
    pub(super) fn tip(&mut self, now: Instant, hash: BlockHash) {
        if !self.tips.iter().any(|tip| tip.hash == hash) {
            let (heard, seen) = (Some(now), [None; STEPS.len()]);
            self.tips.push_back(Tip { hash, heard, at: now, seen });
            if self.tips.len() > TIPS_MAX {
                self.tips.pop_front();
            }
        }
    }

    /// The first job on this tip was sent to all miners.
    pub(super) fn served(&mut self, now: Instant, tip: BlockHash) {
        let heard = self.tips.iter_mut().find(|known| known.hash == tip);
        if let Some(heard) = heard.and_then(|known| known.heard.take()) {
            self.tip_to_job.add(now.saturating_duration_since(heard));
        }
    }

    /// A template was requested; for the newest tip, if that was not done before.
    pub(super) fn requested(&mut self, now: Instant) {
        if let Some(tip) = self.tips.back().filter(|tip| tip.heard.is_some()).map(|tip| tip.hash) {
            self.step(tip, 0, now);
        }
    }

    /// A template on this tip arrived, and was parsed in this time.
    pub(super) fn template(&mut self, now: Instant, tip: BlockHash, parsing: Duration) {
        self.step(tip, 1, now.checked_sub(parsing).unwrap_or(now));
        self.step(tip, 2, now);
    }

    /// A job was built: the bytes sent from now on belong to it.
    pub(super) fn job_begins(&mut self, now: Instant) {
        self.job_built = Some(now);
        self.first_send = None;
    }

    /// The job on this tip was handed to the last miner's socket.
    pub(super) fn job_sent(&mut self, now: Instant, tip: BlockHash) {
        let Some(built) = self.job_built else { return };
        self.fanout.add(now.duration_since(built));
        self.job(tip, [built, self.first_send.unwrap_or(now), now]);
    }

    /// A job on this tip was built, and its bytes were handed to the first and to the last socket.
    fn job(&mut self, tip: BlockHash, times: [Instant; 3]) {
        for (step, at) in times.into_iter().enumerate() {
            self.step(tip, 3 + step, at);
        }
    }

    /// Counts a step, the first time that a tip reaches it.
    fn step(&mut self, tip: BlockHash, step: usize, now: Instant) {
        let Some(tip) = self.tips.iter_mut().find(|known| known.hash == tip) else { return };
        if tip.seen[step].replace(now).is_none() {
            self.steps[step].add(now.saturating_duration_since(tip.at));
        }
    }

    /// A miner of this kind is here: from now on its counts exist, before the first reject, so that
    /// Prometheus sees that one come.
    pub(super) fn met(&mut self, class: String) {
        self.rejects_of(class);
    }

    /// A share was rejected.
    pub(super) fn rejected(&mut self, class: String, reason: RejectReason) {
        self.rejects_of(class)[reason.index()] += 1;
    }

    fn rejects_of(&mut self, class: String) -> &mut [u64; RejectReason::COUNT] {
        let full = self.rejects.len() >= CLASSES_MAX && !self.rejects.contains_key(&class);
        self.rejects.entry(if full { "other".to_owned() } else { class }).or_default()
    }

    /// For the page.
    pub(super) fn rejects(&self) -> Vec<ClassRejectsView> {
        let views = self.rejects.iter().flat_map(|(class, counts)| {
            RejectReason::ALL.iter().zip(counts).map(|(reason, count)| ClassRejectsView {
                class: class.clone(),
                reason: *reason,
                count: *count,
            })
        });
        views.collect()
    }
}

impl State {
    /// Reads the board on a pool thread, because the card may be slow or gone.
    pub(super) fn tick_timings(&mut self, now: Now) {
        if self.timings.next_deadline().is_none_or(|at| now.mono < at) {
            return;
        }
        let Some(mut board) = self.timings.board.take() else { return };
        let queue = self.queue.clone();
        blocking::unblock(move || {
            let reading = board.read(Instant::now());
            queue.send_blocking(Event::Board(Box::new((board, reading)))).ok();
        })
        .detach();
    }

    pub(super) fn board_read(&mut self, now: Now, (board, reading): (Board, Reading)) {
        self.timings.board = Some(board);
        self.timings.reading = reading;
        self.timings.next_reading = Some(now.mono + INTERVAL);
        self.expect_shares(now);
        self.look_at_the_clock(now);
    }

    /// Adds the number of shares that the connected miners should have sent since the last call.
    fn expect_shares(&mut self, now: Now) {
        let passed = now.mono.saturating_duration_since(self.timings.expected_at).as_secs_f64();
        self.timings.expected_at = now.mono;
        let rates = self.ledger.workers.iter().filter_map(|(conn, worker)| {
            let difficulty = self.engine.pool().session(*conn)?.difficulty()?.0;
            let worker = self.ledger.core.get(*worker)?;
            let proven = worker.proven(now, 86_400).hashrate();
            let rate = nominal(&worker.device).unwrap_or(proven);
            (difficulty > 0.0).then(|| rate / (difficulty * HASHES_PER_DIFFICULTY))
        });
        self.timings.shares_expected += rates.sum::<f64>() * passed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::HistogramView;

    fn timings(start: Instant) -> Timings {
        Timings::new(Now { mono: start, unix: 0 }, Path::new("/"))
    }

    #[test]
    fn the_loops_lateness_is_that_of_the_last_minutes() {
        let start = Instant::now();
        let mut timings = timings(start);
        assert_eq!(timings.lag_p99(), None);
        let late = |second: u64, ms: u64| {
            let due = start + Duration::from_secs(second);
            (due + Duration::from_millis(ms), Some(due))
        };
        for second in 0..199 {
            let (now, due) = late(second, if second == 7 { 500 } else { 1 });
            timings.woke(now, due);
        }
        timings.woke(start, Some(start + Duration::from_secs(1)));
        timings.woke(start, None);
        assert_eq!(timings.lag_p99(), Some(Duration::from_millis(1)));
        assert_eq!(timings.lag_max, Some(Duration::from_millis(500)));
        let (now, due) = late(600, 3);
        timings.woke(now, due);
        assert_eq!(timings.lag_p99(), Some(Duration::from_millis(3)), "the rest is old");
    }

    #[test]
    fn the_first_news_of_a_tip_counts() {
        let start = Instant::now();
        let mut timings = timings(start);
        let tip = |n| BlockHash([n; 32]);
        let at = |ms| start + Duration::from_millis(ms);
        timings.tip(at(0), tip(1));
        timings.tip(at(40), tip(1));
        timings.served(at(50), tip(1));
        timings.served(at(60), tip(1));
        timings.served(at(60), tip(2));
        assert_eq!(timings.tip_to_job.count(), 1);
        assert_eq!(timings.tip_to_job.total(), Duration::from_millis(50));
        timings.tip(at(60), tip(3));
        timings.requested(at(61));
        timings.requested(at(90));
        timings.template(at(70), tip(3), Duration::from_millis(4));
        timings.job(tip(3), [at(71), at(72), at(75)]);
        timings.job(tip(3), [at(80), at(80), at(80)]);
        timings.job(tip(9), [at(80), at(80), at(80)]);
        let steps = timings.steps.map(|step| (step.count(), step.total().as_millis()));
        assert_eq!(steps, [(1, 1), (1, 6), (1, 10), (1, 11), (1, 12), (1, 15)]);
        let view = HistogramView::of(&timings.steps[1]);
        assert_eq!((view.buckets[7], view.buckets[8]), ((0.005, 0), (0.01, 1)));
        for n in 0..100 {
            timings.tip(at(100), tip(n));
            timings.rejected(format!("kind{n}"), RejectReason::Stale);
        }
        assert_eq!(timings.tips.len(), TIPS_MAX);
        let rejects = timings.rejects();
        assert!(rejects.len() <= (CLASSES_MAX + 1) * RejectReason::COUNT);
        assert_eq!(rejects.iter().map(|r| r.count).sum::<u64>(), 100);
    }

    #[test]
    fn every_reason_is_counted_from_the_start() {
        let mut timings = Timings::new(Now { mono: Instant::now(), unix: 0 }, Path::new("/"));
        let counts = |timings: &Timings, class: &str| -> Vec<u64> {
            let of = timings.rejects().into_iter().filter(|reject| reject.class == class);
            of.map(|reject| reject.count).collect()
        };
        // Before a miner says what it is, it is this.
        assert_eq!(counts(&timings, "unknown"), [0; RejectReason::COUNT]);
        assert!(counts(&timings, "bitaxe").is_empty());
        timings.met("bitaxe".to_owned());
        assert_eq!(counts(&timings, "bitaxe"), [0; RejectReason::COUNT]);
        timings.rejected("bitaxe".to_owned(), RejectReason::ALL[1]);
        timings.met("bitaxe".to_owned());
        assert_eq!(counts(&timings, "bitaxe")[..3], [0, 1, 0]);
    }
}
