//! Variable difficulty (vardiff): arrival times of shares → next difficulty.
//!
//! Shares arrive at random (a Poisson process), so a few of them say little: at 6 a minute, a
//! minute with 2 or with 11 is not unusual. The difficulty is therefore changed only when the
//! arrivals since the last change are very unlikely for a miner at the right difficulty, by the
//! exact distribution of waiting times (the gamma distribution; quantiles by Wilson and Hilferty,
//! 1931). The required odds depend on what is known:
//!
//! - **Settling**, after a guessed start: one in 100 for a step up, one in 40 for a step down. All
//!   shares count together, each with the difficulty it came at, so that a change discards no
//!   information. It ends after the time of 40 expected shares, with a last correction.
//! - **Steady**, after that, and from the start for a known miner: one in a million. In addition, a
//!   window of 512 shares corrects an error of a quarter or more. A miner whose hash rate does not
//!   change sees no change for hours or days.
//! - **The quick step**, in both: more than 8 shares in 10 s, spread over that time, change the
//!   difficulty at once by the factor rate / wanted rate. A start that is a thousand times too low
//!   is corrected in seconds.
//!
//! A Wi-Fi gap does not mean a slow miner, and the shares that queued up in it do not mean a fast
//! one. So the test for "too slow" in the steady state ignores the longest silence; the test for
//! "too fast" counts all silence and requires shares throughout. A known miner first resends the
//! shares that it could not send before, so its first 30 s (at 6 shares a minute) decide nothing
//! unless they are a flood.
//!
//! The state has a fixed size (a ring of 64 waiting times) and a share allocates nothing.
//!
//! ```
//! use soloist::vardiff::{Aim, Start, Vardiff};
//! use std::time::{Duration, Instant};
//!
//! let t0 = Instant::now();
//! let aim = Aim { shares_per_minute: 6.0, least_when_silent: 0.0, least: 0.0001 };
//! let mut vardiff = Vardiff::new(aim, Start::Guess(1000.0), None, t0);
//! let changed = (1..20)
//!     .find_map(|second| vardiff.share(t0 + Duration::from_secs(second), vardiff.difficulty()));
//! assert_eq!(changed, Some(8900.0)); // one share a second, where one in 10 s is wanted
//! ```

use std::time::{Duration, Instant};

/// The lowest difficulty given out: the slowest miner, 50 kH/s, submits 7 shares a minute there.
pub const FLOOR: f64 = 0.0001;

/// What vardiff works towards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aim {
    /// Shares a minute.
    pub shares_per_minute: f64,
    /// The lowest difficulty that silence alone may lead to.
    pub least_when_silent: f64,
    /// The lowest difficulty that the firmware can be given, from [`FLOOR`] up.
    pub least: f64,
}

/// The difficulty that a session begins with, and how firm it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// Stays as it is; vardiff is off.
    Fixed(f64),
    /// Was right when the miner was last here: change it only on strong evidence.
    Known(f64),
    /// A guess: find the level quickly.
    Guess(f64),
}

/// One session's difficulty.
///
/// ```text
///               one in 40, quick step              one in a million, quick step
///                   ┌───┐                                  ┌───┐
///  Start::Guess → Settling ─ 30 shares and their time ─→ Steady ← Start::Known
///
///  Start::Fixed → Fixed (only the network's difficulty can lower it)
/// ```
#[derive(Clone, Debug)]
pub struct Vardiff {
    /// Seconds between shares that are wanted.
    interval: f64,
    least_when_silent: f64,
    least: f64,
    /// What the start or the shares ask for, before the network's cap.
    wished: f64,
    difficulty: f64,
    /// The network's difficulty as a cap, where it is one.
    cap: f64,
    mode: Mode,
    arrivals: Arrivals,
    /// Steps down in a row for silence alone.
    silent_steps: u32,
    /// Until then a known miner's shares may be what it could not send before.
    leftovers_until: Option<Instant>,
    /// The long look: shares and seconds since the last change or the last look.
    long_shares: u32,
    long_since: Instant,
    proven: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Fixed,
    Settling(Evidence),
    Steady,
}

/// What has been learned so far, over all difficulties.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Evidence {
    /// When the first share came.
    first: Option<Instant>,
    /// Shares that came.
    shares: f64,
    /// Time that passed, in wanted intervals, each divided by the difficulty of then: the
    /// shares that would have been expected so far at the right difficulty, divided by it.
    expected: f64,
    /// Corrections that were due and are done (see [`CORRECTIONS`]).
    corrections: usize,
}

const NOTHING: Evidence = Evidence { first: None, shares: 0.0, expected: 0.0, corrections: 0 };

impl Vardiff {
    /// A session that begins `now`. `network` is the network's difficulty, where it is known
    /// already: see [`Vardiff::set_network`].
    pub fn new(aim: Aim, start: Start, network: Option<f64>, now: Instant) -> Vardiff {
        let rate = aim.shares_per_minute;
        let interval = 60.0 / if rate.is_finite() { rate.clamp(0.1, 60.0) } else { 6.0 };
        let (wished, mode) = match start {
            Start::Fixed(difficulty) => (difficulty, Mode::Fixed),
            Start::Known(difficulty) => (difficulty, Mode::Steady),
            Start::Guess(difficulty) => (difficulty, Mode::Settling(NOTHING)),
        };
        let least = announceable(aim.least);
        let wished = announceable(wished).max(least);
        let mut vardiff = Vardiff {
            interval,
            least_when_silent: aim.least_when_silent,
            least,
            wished,
            difficulty: wished,
            cap: f64::INFINITY,
            mode,
            arrivals: Arrivals::since(now),
            silent_steps: 0,
            leftovers_until: matches!(start, Start::Known(_))
                .then(|| now + Duration::from_secs_f64(LEFTOVERS * interval)),
            long_shares: 0,
            long_since: now,
            proven: None,
        };
        if let Some(network) = network {
            vardiff.set_network(network, now);
        }
        vardiff
    }

    /// The difficulty to announce and to put into jobs.
    pub fn difficulty(&self) -> f64 {
        self.difficulty
    }

    /// Whether its start was a guess that its shares have not settled yet.
    pub fn is_settling(&self) -> bool {
        matches!(self.mode, Mode::Settling(_))
    }

    /// What a later run of the program begins with for the same session, see [`Vardiff::resumed`].
    pub fn start_again(&self) -> Start {
        match self.mode {
            Mode::Fixed => Start::Fixed(self.wished),
            Mode::Settling(_) => Start::Guess(self.wished),
            Mode::Steady => Start::Known(self.wished),
        }
    }

    /// A session of an earlier run that goes on. The arrivals of before count no more, as what came
    /// meanwhile comes at once.
    pub fn resumed(aim: Aim, start: Start, proven: Option<f64>, now: Instant) -> Vardiff {
        Vardiff { proven, ..Vardiff::new(aim, start, None, now) }
    }

    /// Whether it was fixed by the owner.
    pub fn is_fixed(&self) -> bool {
        self.mode == Mode::Fixed
    }

    /// The difficulty to remember for this miner's next visit: the last one at which at least 8
    /// shares came in. `None` if it got that far at none, or if it is fixed.
    pub fn proven(&self) -> Option<f64> {
        self.proven
    }

    /// A valid share came in at the difficulty of its job, `credited`. Shares of jobs from before
    /// a change tell nothing about the new difficulty and are passed over.
    ///
    /// Returns the new difficulty if it changes: announce it together with a new job, at once.
    pub fn share(&mut self, now: Instant, credited: f64) -> Option<f64> {
        if self.mode == Mode::Fixed || credited != self.difficulty {
            return None;
        }
        if let Some(until) = self.leftovers_until {
            if now >= until || self.arrivals.count() == RING {
                // A full ring is more than any queue holds: let the quick step see it.
                self.leftovers_until = None;
            }
            if now >= until {
                self.arrivals = Arrivals::since(until);
                self.long_since = until;
            }
        }
        self.learn(now);
        self.arrivals.share(now, self.interval);
        self.long_shares += 1;
        self.silent_steps = 0;
        if self.arrivals.count() >= PROVEN_SHARES {
            self.proven = Some(self.difficulty);
        }
        if self.leftovers_until.is_some() {
            return None;
        }
        if let Some(burst) = self.quick_step(now) {
            let ratio = burst.rate() * self.interval;
            if let Mode::Settling(evidence) = &mut self.mode {
                // What came before was another rate, or a hiccup of the network, which weighs
                // heavily at a low difficulty.
                let shares = if burst.seconds >= RELIABLE { burst.intervals - 1 } else { 0 };
                let expected = shares as f64 / (ratio * self.difficulty);
                *evidence =
                    Evidence { shares: shares as f64, expected, first: Some(now), ..NOTHING };
            }
            return self.wish(self.difficulty * ratio, now);
        }
        let next = match self.mode {
            Mode::Settling(evidence) => self.settle(evidence, now),
            Mode::Steady | Mode::Fixed => self
                .too_fast(now)
                .or_else(|| self.too_slow(now))
                .or_else(|| self.long_look(now))
                .map(|ratio| self.difficulty * ratio),
        };
        self.wish(next?, now)
    }

    /// Time has passed without a share; to be called at [`Vardiff::next_deadline`], and harmless
    /// at any other time. Returns the new difficulty like [`Vardiff::share`].
    pub fn tick(&mut self, now: Instant) -> Option<f64> {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        let next = match self.mode {
            Mode::Settling(evidence) if evidence.first.is_some() => {
                (evidence.shares + 0.5) / self.expected_by(evidence, now) * SLOW_AIM
            }
            Mode::Settling(_) | Mode::Steady | Mode::Fixed => self.after_silence(),
        };
        let changed = self.wish(next, now);
        if changed.is_none() {
            // Nothing more can come of this silence; wait anew, so that time moves on.
            self.arrivals = Arrivals::since(now);
        }
        changed
    }

    /// When [`Vardiff::tick`] is due if no share comes before. `None` while silence can change
    /// nothing.
    pub fn next_deadline(&self) -> Option<Instant> {
        let (least, silence) = match self.mode {
            Mode::Fixed => return None,
            Mode::Settling(evidence) if evidence.first.is_some() => {
                let allowed = slow_from(evidence.shares) - evidence.expected * self.difficulty;
                (self.least, allowed)
            }
            Mode::Settling(_) => (self.least_when_silent.max(self.least), SILENT_START),
            // Longer each time: a miner that is away need not fall to the floor.
            Mode::Steady => {
                let least = if self.arrivals.count() > 0 { 0.0 } else { self.least_when_silent };
                (least.max(self.least), SILENCE * f64::from(1 << self.silent_steps.min(8)))
            }
        };
        let seconds = (silence * self.interval).clamp(0.1, 1e6);
        (self.difficulty > least).then(|| self.arrivals.last + Duration::from_secs_f64(seconds))
    }

    /// The network's difficulty changed. A difficulty above it would hide blocks, so it caps even
    /// a fixed one; chains below 1 (regtest) are excepted, because there every hash is a block.
    /// Returns the new difficulty like [`Vardiff::share`].
    pub fn set_network(&mut self, network: f64, now: Instant) -> Option<f64> {
        self.cap = if network >= 1.0 { network.floor() } else { f64::INFINITY };
        self.apply(now)
    }

    fn wish(&mut self, difficulty: f64, now: Instant) -> Option<f64> {
        self.wished = announceable(two_digits(difficulty)).max(self.least);
        self.apply(now)
    }

    fn apply(&mut self, now: Instant) -> Option<f64> {
        let next = self.wished.min(self.cap);
        if next == self.difficulty {
            return None;
        }
        if let Mode::Settling(evidence) = self.mode {
            let expected = match evidence.first {
                Some(_) => self.expected_by(evidence, now),
                None => 0.0,
            };
            self.mode = Mode::Settling(Evidence { expected, ..evidence });
        }
        self.difficulty = next;
        self.arrivals = Arrivals::since(now);
        (self.long_shares, self.long_since) = (0, now);
        Some(next)
    }

    /// Takes a share into the evidence.
    fn learn(&mut self, now: Instant) {
        let Mode::Settling(mut evidence) = self.mode else { return };
        evidence.shares += 1.0;
        evidence.expected = self.expected_by(evidence, now);
        if evidence.first.is_none() {
            // It may have been silent for as long because it was not even hashing yet.
            let most = FIRST_WAIT / self.difficulty;
            evidence =
                Evidence { first: Some(now), expected: evidence.expected.min(most), ..evidence };
        }
        self.mode = Mode::Settling(evidence);
    }

    /// The evidence's `expected` with the time since the last share or change.
    fn expected_by(&self, evidence: Evidence, now: Instant) -> f64 {
        let open = now.saturating_duration_since(self.arrivals.last).as_secs_f64();
        evidence.expected + open / (self.interval * self.difficulty)
    }

    /// The next difficulty while settling, after a share. Ends the settling in time.
    fn settle(&mut self, evidence: Evidence, now: Instant) -> Option<f64> {
        let Evidence { first, shares, expected, corrections } = evidence;
        let since_first = first.map_or(0.0, |first| (now - first).as_secs_f64());
        let ratio = shares / (expected * self.difficulty).max(1e-6);
        let fast = shares >= FEWEST_FOR_FAST as f64
            && since_first >= LASTING
            && ratio >= BAND
            && shares / ratio < waiting_time(shares, -UNLIKELY_FAST);
        let slow = shares / ratio >= slow_from(shares);
        if fast && since_first < RELIABLE {
            self.mode = Mode::Settling(Evidence { first: Some(now), ..NOTHING });
            return Some(self.difficulty * ratio);
        }
        let (after, at_least) = CORRECTIONS[corrections];
        let due = shares >= at_least && since_first >= after * self.interval;
        if due {
            let corrections = corrections + 1;
            self.mode = match corrections < CORRECTIONS.len() {
                true => Mode::Settling(Evidence { corrections, ..evidence }),
                false => Mode::Steady,
            };
        }
        let fine = (1.0 / LAST_BAND..LAST_BAND).contains(&ratio);
        match slow {
            true => Some(self.difficulty * ratio * SLOW_AIM),
            false => (fast || (due && !fine)).then_some(self.difficulty * ratio),
        }
    }

    /// More than 8 shares in the last 10 s, if that is not what piled up in a send queue.
    fn quick_step(&self, now: Instant) -> Option<Burst> {
        let burst = self.arrivals.burst(now, QUICK_SECONDS);
        // More within a second than any queue holds.
        let flood = burst.intervals == RING && burst.seconds < LASTING;
        let lasting = burst.spread && burst.seconds >= LASTING;
        // The luck of a miner in its place, or shares that waited for the Wi-Fi to come back.
        let doubtful = self.mode == Mode::Steady && self.ratio() < BAND;
        (burst.intervals >= QUICK_SHARES
            && burst.rate() * self.interval >= BAND
            && (flood || lasting)
            && !doubtful)
            .then_some(burst)
    }

    /// The steady state's factor if shares come too fast to be chance. All silence counts.
    fn too_fast(&self, now: Instant) -> Option<f64> {
        let (shares, ratio) = (self.arrivals.count(), self.ratio());
        let waited = self.arrivals.seconds() / self.interval;
        let fast = ratio >= BAND
            && shares >= FEWEST_FOR_FAST
            && waited < waiting_time(shares as f64, -VERY_UNLIKELY)
            && self.arrivals.burst(now, f64::INFINITY).spread;
        fast.then_some(ratio)
    }

    /// The steady state's factor if shares come too slowly to be chance. The longest silence does
    /// not count.
    fn too_slow(&self, now: Instant) -> Option<f64> {
        let shares = self.arrivals.count();
        let open = now.saturating_duration_since(self.arrivals.last).as_secs_f64();
        let waited = (self.arrivals.seconds() - self.arrivals.longest().max(open)) / self.interval;
        let slow = shares >= FEWEST_FOR_SLOW
            && waited >= waiting_time(shares as f64, VERY_UNLIKELY)
            && waited >= shares as f64 * BAND;
        slow.then(|| shares as f64 / waited)
    }

    /// The steady state's factor for a small error, seen only after many shares.
    fn long_look(&mut self, now: Instant) -> Option<f64> {
        if self.long_shares < LONG_LOOK {
            return None;
        }
        let seconds = now.saturating_duration_since(self.long_since).as_secs_f64();
        let ratio = f64::from(self.long_shares) * self.interval / seconds.max(0.01);
        (self.long_shares, self.long_since) = (0, now);
        let fine = (1.0 / LAST_BAND..LAST_BAND).contains(&ratio);
        (!fine).then_some(ratio)
    }

    /// The next difficulty if no share came at all. Steps grow, so that a start that is a
    /// thousand times too high is over after three.
    fn after_silence(&mut self) -> f64 {
        self.silent_steps += 1;
        let factor = 8f64.powi(self.silent_steps.min(6) as i32);
        let least = self.least_when_silent.min(self.difficulty);
        (self.difficulty / factor).max(least)
    }

    /// Shares that came per share that was wanted since the last change (at most 64 back).
    fn ratio(&self) -> f64 {
        (self.arrivals.count() as f64 - 1.0) * self.interval / self.arrivals.seconds().max(0.01)
    }
}

/// A difficulty as it may be announced: at least [`FLOOR`], whole from 1 up (some firmwares read
/// integers only). Not rounded otherwise: an owner's 1234 stays 1234.
pub fn announceable(difficulty: f64) -> f64 {
    match difficulty {
        d if d >= 1.0 => d.floor().min(1e15),
        d if d > FLOOR => d,
        _ => FLOOR,
    }
}

/// Rounded to two significant digits, to be read by people; whole from 1 up.
fn two_digits(difficulty: f64) -> f64 {
    let digits = (difficulty.log10().floor() as i32 - 1).clamp(-15, 15);
    match digits {
        0.. => (difficulty / 10f64.powi(digits)).round() * 10f64.powi(digits),
        -1 => difficulty.round(),
        _ => (difficulty * 10f64.powi(-digits)).round() / 10f64.powi(-digits),
    }
}

/// Standard deviations of about one in 100, one in 40, and one in a million.
const UNLIKELY_FAST: f64 = 2.4;
const UNLIKELY_SLOW: f64 = 2.0;
const VERY_UNLIKELY: f64 = 4.75;
/// A change by less than this factor is not worth it; nor, at the end of the settling, by less
/// than the other.
const BAND: f64 = 1.5;
const LAST_BAND: f64 = 1.25;
/// The settling corrects the level after so many expected shares' time and so many shares, whatever
/// the odds, and ends with the last correction.
const CORRECTIONS: [(f64, f64); 2] = [(16.0, 12.0), (40.0, 30.0)];
/// A step down while settling goes a little too far: more shares tell sooner what is right.
const SLOW_AIM: f64 = 0.75;
/// Seconds below which any number of shares may be what piled up in a send queue.
const LASTING: f64 = 1.0;
/// Seconds from which on the network's hiccups matter little.
const RELIABLE: f64 = 4.0;
/// More than 8 shares in 10 s.
const QUICK_SHARES: usize = 9;
const QUICK_SECONDS: f64 = 10.0;
/// Below so many shares nothing is certain.
const FEWEST_FOR_FAST: usize = 9;
const FEWEST_FOR_SLOW: usize = 4;
/// Expected shares' time at the beginning in which a known miner resends old shares.
const LEFTOVERS: f64 = 3.0;
/// Shares of a long look: its error is 4 %, five of which make [`LAST_BAND`].
const LONG_LOOK: u32 = 512;
/// Shares at one difficulty that make it worth remembering.
const PROVEN_SHARES: usize = 8;
/// Expected shares' time without any share after which a guess was too high (one in 200).
const SILENT_START: f64 = 5.3;
/// The same for a level that was once right: the miner is away.
const SILENCE: f64 = 30.0;
/// Of the time before the first share no more than so many expected shares' time is evidence.
const FIRST_WAIT: f64 = 3.0;

/// The time, in wanted intervals, from which on so few shares are too few while settling.
fn slow_from(shares: f64) -> f64 {
    waiting_time(shares + 1.0, UNLIKELY_SLOW).max((shares + 0.5) * BAND)
}

/// The time, in mean waiting times, within which `shares` shares have come with the probability
/// of `deviations` standard deviations: the quantile of the gamma distribution.
fn waiting_time(shares: f64, deviations: f64) -> f64 {
    let ninth = 1.0 / (9.0 * shares);
    shares * (1.0 - ninth + deviations * ninth.sqrt()).max(0.0).powi(3)
}

/// Wanted intervals from which on a wait is a gap, and below which shares came out of a queue.
const GAP: f64 = 5.0;
const QUEUED: f64 = 0.1;
/// Waiting times kept.
const RING: usize = 64;

/// The latest waiting times since the last change of difficulty.
#[derive(Clone, Debug)]
struct Arrivals {
    /// Milliseconds before each share; the newest is at `next` - 1.
    waits: [u32; RING],
    next: usize,
    len: usize,
    /// The sum of `waits`, in milliseconds.
    total: u64,
    /// The last share, or the change.
    last: Instant,
}

/// Shares that came within some last seconds.
struct Burst {
    /// Waiting times that lie wholly within.
    intervals: usize,
    /// Their sum.
    seconds: f64,
    /// At least a quarter of the shares came in either half of that time.
    spread: bool,
}

impl Burst {
    /// Shares a second. One less than came, because the last one ends the time by itself.
    fn rate(&self) -> f64 {
        (self.intervals as f64 - 1.0) / self.seconds.max(0.05)
    }
}

impl Arrivals {
    fn since(now: Instant) -> Arrivals {
        Arrivals { waits: [0; RING], next: 0, len: 0, total: 0, last: now }
    }

    /// `interval` is the wanted one, in seconds.
    fn share(&mut self, now: Instant, interval: f64) {
        let wait = now.saturating_duration_since(self.last).as_millis();
        let wait = u32::try_from(wait).unwrap_or(u32::MAX);
        if self.len == RING {
            // A silence leaves together with what queued up in it.
            let silence = f64::from(self.forget_oldest()) >= GAP * interval * 1000.0;
            while silence
                && self.oldest().is_some_and(|wait| f64::from(wait) < QUEUED * interval * 1000.0)
            {
                self.forget_oldest();
            }
        }
        self.waits[self.next] = wait;
        self.next = (self.next + 1) % RING;
        self.len += 1;
        self.total += u64::from(wait);
        self.last = self.last.max(now);
    }

    fn oldest(&self) -> Option<u32> {
        (self.len > 0).then(|| self.waits[(self.next + RING - self.len) % RING])
    }

    fn forget_oldest(&mut self) -> u32 {
        let wait = self.oldest().unwrap_or(0);
        self.len = self.len.saturating_sub(1);
        self.total -= u64::from(wait);
        wait
    }

    fn count(&self) -> usize {
        self.len
    }

    /// Sum of the waiting times kept.
    fn seconds(&self) -> f64 {
        self.total as f64 / 1000.0
    }

    fn longest(&self) -> f64 {
        f64::from(self.newest_first().max().unwrap_or(0)) / 1000.0
    }

    fn newest_first(&self) -> impl Iterator<Item = u32> {
        (1..=self.len).map(|back| self.waits[(self.next + RING - back) % RING])
    }

    fn burst(&self, now: Instant, within: f64) -> Burst {
        let since_last = now.saturating_duration_since(self.last).as_secs_f64();
        let (mut intervals, mut seconds) = (0, 0.0);
        for wait in self.newest_first().map(|wait| f64::from(wait) / 1000.0) {
            if since_last + seconds + wait > within {
                break;
            }
            intervals += 1;
            seconds += wait;
        }
        let mut age = 0.0;
        let late = self.newest_first().take(intervals).take_while(|wait| {
            let is_late = age <= seconds / 2.0;
            age += f64::from(*wait) / 1000.0;
            is_late
        });
        let late = late.count();
        Burst { intervals, seconds, spread: 4 * late >= intervals && 4 * late <= 3 * intervals }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::num;
    use proptest::prelude::*;

    const AIM: Aim = Aim { shares_per_minute: 6.0, least_when_silent: 0.0, least: FLOOR };

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Feeds shares `every` so many seconds until something changes; says when and to what.
    fn first_change(vardiff: &mut Vardiff, t0: Instant, every: f64, most: usize) -> (usize, f64) {
        for share in 1..=most {
            let now = t0 + seconds(every * share as f64);
            if let Some(next) = vardiff.share(now, vardiff.difficulty()) {
                assert_eq!(next, vardiff.difficulty());
                return (share, next);
            }
        }
        (0, vardiff.difficulty())
    }

    #[test]
    fn nine_shares_in_ten_seconds_jump_at_once_and_eight_do_not() {
        let t0 = Instant::now();
        let mut vardiff = Vardiff::new(AIM, Start::Guess(1000.0), None, t0);
        assert_eq!(first_change(&mut vardiff, t0, 1.1, 100), (9, 8100.0));
        let later = t0 + seconds(60.0);
        let mut vardiff = Vardiff::new(AIM, Start::Known(1000.0), None, t0);
        vardiff.share(later, 1000.0);
        assert_eq!(first_change(&mut vardiff, later, 1.1, 100), (9, 8100.0));
        let mut vardiff = Vardiff::new(AIM, Start::Known(1000.0), None, t0);
        vardiff.share(later, 1000.0);
        assert_eq!(first_change(&mut vardiff, later, 1.3, 8), (0, 1000.0));
    }

    #[test]
    fn a_flood_is_met_though_the_clock_stands_still() {
        let t0 = Instant::now();
        let mut vardiff = Vardiff::new(AIM, Start::Guess(0.0015), None, t0);
        let (shares, next) = first_change(&mut vardiff, t0, 0.0, 1000);
        assert_eq!(shares, RING);
        assert!(next > 10.0);
    }

    #[test]
    fn what_queued_up_in_a_gap_is_no_fast_miner() {
        let t0 = Instant::now();
        let mut vardiff = Vardiff::new(AIM, Start::Known(1000.0), None, t0);
        assert_eq!(first_change(&mut vardiff, t0, 10.0, 40).0, 0);
        let gap_ends = t0 + seconds(400.0 + 120.0);
        for queued in 0..12 {
            let now = gap_ends + seconds(f64::from(queued) * 0.02);
            assert_eq!(vardiff.share(now, 1000.0), None);
        }
        let after = gap_ends + seconds(0.3);
        assert_eq!(first_change(&mut vardiff, after, 10.0, 500).0, 0);
        // The same at the beginning of a session that is resumed.
        let mut vardiff = Vardiff::new(AIM, Start::Known(1000.0), None, t0);
        for queued in 0..12 {
            assert_eq!(vardiff.share(t0 + seconds(f64::from(queued) * 0.02), 1000.0), None);
        }
        assert_eq!(first_change(&mut vardiff, t0 + seconds(0.3), 10.0, 500).0, 0);
    }

    #[test]
    fn a_gap_is_no_slow_miner_but_a_slow_miner_is() {
        let t0 = Instant::now();
        let mut vardiff = Vardiff::new(AIM, Start::Known(1000.0), None, t0);
        assert_eq!(first_change(&mut vardiff, t0, 10.0, 40).0, 0);
        assert_eq!(first_change(&mut vardiff, t0 + seconds(640.0), 10.0, 40).0, 0);
        let slow_from = t0 + seconds(1040.0);
        let (shares, next) = first_change(&mut vardiff, slow_from, 40.0, 100);
        assert!((4..64).contains(&shares), "{shares}");
        assert!((250.0..700.0).contains(&next), "{next}");
    }

    #[test]
    fn silence_at_the_start_steps_down_faster_and_faster_to_the_least() {
        let t0 = Instant::now();
        let mut vardiff = Vardiff::new(AIM, Start::Guess(1000.0), None, t0);
        let mut levels = Vec::new();
        let mut now = t0;
        while let Some(deadline) = vardiff.next_deadline() {
            assert!(deadline > now, "time moves on");
            now = deadline;
            assert_eq!(vardiff.tick(now - seconds(0.001)), None);
            levels.extend(vardiff.tick(now));
        }
        assert_eq!(levels, [130.0, 2.0, 0.0039, 0.0001]);
        assert!(now - t0 < seconds(900.0));
        assert_eq!(vardiff.proven(), None);
        let aim = Aim { least_when_silent: 1024.0, ..AIM };
        let mut vardiff = Vardiff::new(aim, Start::Guess(65536.0), None, t0);
        for minute in 0..600 {
            vardiff.tick(t0 + seconds(f64::from(minute) * 60.0));
        }
        assert_eq!((vardiff.difficulty(), vardiff.next_deadline()), (1000.0, None));
    }

    #[test]
    fn shares_of_another_difficulty_count_for_nothing() {
        let t0 = Instant::now();
        let mut vardiff = Vardiff::new(AIM, Start::Guess(1000.0), None, t0);
        for share in 0..1000 {
            assert_eq!(vardiff.share(t0 + seconds(f64::from(share) * 0.1), 512.0), None);
        }
    }

    #[test]
    fn a_fixed_difficulty_moves_for_nothing_but_the_network() {
        let t0 = Instant::now();
        let mut vardiff = Vardiff::new(AIM, Start::Fixed(1234.0), None, t0);
        assert_eq!(first_change(&mut vardiff, t0, 0.01, 1000).0, 0);
        assert_eq!((vardiff.next_deadline(), vardiff.tick(t0 + seconds(1e5))), (None, None));
        assert_eq!(vardiff.set_network(1e14, t0), None);
        assert_eq!(vardiff.set_network(100.9, t0), Some(100.0));
        assert_eq!(vardiff.set_network(1e14, t0), Some(1234.0));
        assert_eq!(vardiff.set_network(0.000_000_1, t0), None, "regtest is no cap");
        assert_eq!(vardiff.proven(), None);
    }

    #[test]
    fn a_firmware_is_given_no_less_than_it_can_read() {
        let t0 = Instant::now();
        let aim = Aim { least: 1.0, ..AIM };
        for start in [Start::Fixed(0.001), Start::Known(0.001), Start::Guess(0.001)] {
            assert_eq!(Vardiff::new(aim, start, None, t0).difficulty(), 1.0);
        }
        let mut vardiff = Vardiff::new(aim, Start::Guess(1000.0), None, t0);
        while let Some(deadline) = vardiff.next_deadline() {
            vardiff.tick(deadline);
        }
        assert_eq!(vardiff.difficulty(), 1.0);
    }

    #[test]
    fn the_networks_difficulty_is_never_passed() {
        let t0 = Instant::now();
        let mut vardiff = Vardiff::new(AIM, Start::Guess(1000.0), Some(2000.5), t0);
        let mut now = t0;
        for _ in 0..1000 {
            now += seconds(0.1);
            vardiff.share(now, vardiff.difficulty());
        }
        assert_eq!(vardiff.difficulty(), 2000.0);
        assert_eq!(vardiff.proven(), Some(2000.0));
        let vardiff = Vardiff::new(AIM, Start::Guess(1000.0), Some(1.0), t0);
        assert_eq!(vardiff.difficulty(), 1.0);
    }

    #[test]
    fn difficulties_are_rounded_for_people_and_firmwares() {
        for (exact, rounded) in [
            (2812.3, 2800.0),
            (65_536.0, 66_000.0),
            (12.4, 12.0),
            (1.6, 2.0),
            (0.96, 0.96),
            (0.001_528, 0.0015),
            (0.000_354, 0.00035),
        ] {
            assert_eq!(two_digits(exact), rounded);
        }
        for (any, announced) in [
            (1234.0, 1234.0),
            (1234.9, 1234.0),
            (0.5, 0.5),
            (0.0, FLOOR),
            (-1.0, FLOOR),
            (f64::NAN, FLOOR),
            (f64::INFINITY, 1e15),
        ] {
            assert_eq!(announceable(any), announced);
        }
    }

    #[test]
    fn waiting_times_are_the_gamma_distributions() {
        // Chi-square tables with 2k degrees of freedom, halved: P = 0.005 (2.576 deviations).
        for (shares, low, high) in [
            (1.0, 0.005, 5.298),
            (5.0, 1.078, 12.594),
            (15.0, 6.893, 26.836),
            (50.0, 33.664, 70.085),
        ] {
            let low_error = (waiting_time(shares, -2.576) - low).abs();
            let high_error = (waiting_time(shares, 2.576) - high).abs();
            assert!(low_error < 0.05 && high_error < 0.1, "{shares}: {low_error} {high_error}");
        }
    }

    proptest! {
        #[test]
        fn any_history_keeps_the_invariants(
            start in prop_oneof![
                num::f64::ANY.prop_map(Start::Guess), num::f64::ANY.prop_map(Start::Known),
                (0.0001f64..1e6).prop_map(Start::Guess), num::f64::ANY.prop_map(Start::Fixed),
            ],
            rate in num::f64::ANY,
            least in num::f64::ANY,
            floor in prop_oneof![Just(FLOOR), Just(1.0), num::f64::ANY],
            steps in proptest::collection::vec((0u64..100_000, 0u8..10, num::f64::ANY), 0..300),
        ) {
            let t0 = Instant::now();
            let aim = Aim { shares_per_minute: rate, least_when_silent: least, least: floor };
            let mut vardiff = Vardiff::new(aim, start, None, t0);
            let mut now = t0;
            let mut network = f64::INFINITY;
            for (wait, what, number) in steps {
                now += Duration::from_millis(wait);
                let before = vardiff.difficulty();
                let changed = match what {
                    0 => {
                        network = number;
                        vardiff.set_network(number, now)
                    }
                    1 | 2 => vardiff.tick(now),
                    3 => vardiff.share(now, number),
                    4 => vardiff.share(t0, before),
                    _ => vardiff.share(now, before),
                };
                let difficulty = vardiff.difficulty();
                prop_assert_eq!(changed.unwrap_or(before), difficulty);
                prop_assert!(changed.is_none_or(|next| next != before));
                prop_assert!((FLOOR..=1e15).contains(&difficulty));
                prop_assert!(difficulty >= announceable(floor).min(network.floor().max(1.0)));
                prop_assert!(difficulty < 1.0 || difficulty.fract() == 0.0);
                prop_assert!(network.is_nan() || network < 1.0 || difficulty <= network);
                if what == 1 && let Some(deadline) = vardiff.next_deadline() {
                    prop_assert!(deadline > now, "no busy loop");
                }
            }
        }
    }
}
