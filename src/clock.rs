//! Time for the pure modules: it is handed in, never read.

use std::time::{Duration, Instant};

use time::OffsetDateTime;

/// One reading of both clocks, taken by a shell and handed to a core with an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time: for deadlines, ages and rates. Never goes back.
    pub mono: Instant,
    /// Wall clock, seconds since 1970-01-01 UTC, for people and records only. A board without a
    /// real-time clock may have it wrong: it never enters a block header.
    pub unix: u64,
}

impl Now {
    /// The date of an earlier moment of this run, Unix seconds: what the wall clock shows now, less
    /// the time that has passed since. It is right as soon as the clock is, whatever that showed then.
    pub fn date_of(self, moment: Instant) -> u64 {
        self.unix.saturating_sub(self.mono.saturating_duration_since(moment).as_secs())
    }
}

/// Notices that somebody set the wall clock: a Pi without a clock of its own starts with the time of
/// the last run, and is set when the network's time comes.
#[derive(Clone, Copy, Debug)]
pub struct ClockWatch {
    /// What both clocks showed when the wall clock was last known to run on.
    anchor: Now,
    /// How long the machine had slept until then, which monotonic time leaves out.
    slept: Duration,
}

impl ClockWatch {
    /// A smaller step is taken for the rounding of whole seconds.
    const LEAST: i64 = 2;

    /// Watches from now on. `slept` is the time that the machine has slept since it started.
    pub fn new(now: Now, slept: Duration) -> ClockWatch {
        ClockWatch { anchor: now, slept }
    }

    /// By how many seconds the wall clock was set since the last call; `None` where it runs on.
    pub fn step(&mut self, now: Now, slept: Duration) -> Option<i64> {
        let asleep = slept.saturating_sub(self.slept);
        let passed = now.mono.saturating_duration_since(self.anchor.mono) + asleep;
        let runs_on = self.anchor.unix.saturating_add(passed.as_secs());
        let by = i64::try_from(i128::from(now.unix) - i128::from(runs_on)).unwrap_or(i64::MAX);
        if by.abs() < ClockWatch::LEAST {
            return None;
        }
        *self = ClockWatch::new(now, slept);
        Some(by)
    }
}

/// 9999-12-31T23:59:59Z, the last second whose year has four digits.
const LAST_UNIX: u64 = 253_402_300_799;

/// Date and time in UTC of Unix seconds. These may come from a wrong clock or a damaged file: times
/// behind the year 9999 become its last second.
pub fn utc(unix: u64) -> OffsetDateTime {
    let unix = unix.min(LAST_UNIX) as i64;
    OffsetDateTime::from_unix_timestamp(unix).expect("the year has at most four digits")
}

/// What a wall clock, ours or somebody else's, showed at a moment of our monotonic time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What it showed, seconds since 1970-01-01 UTC.
    pub unix: u64,
    /// When.
    pub at: Instant,
}

impl Reading {
    /// What the clock shows at another moment, if nobody has set it in between. Whole seconds.
    pub fn shown_at(&self, moment: Instant) -> i64 {
        let seconds = |span: std::time::Duration| {
            i64::try_from((span.as_millis() + 500) / 1000).unwrap_or(i64::MAX)
        };
        let unix = i64::try_from(self.unix).unwrap_or(i64::MAX);
        let later = moment.saturating_duration_since(self.at);
        let earlier = self.at.saturating_duration_since(moment);
        unix.saturating_add(seconds(later)).saturating_sub(seconds(earlier))
    }
}

impl From<Now> for Reading {
    fn from(now: Now) -> Reading {
        Reading { unix: now.unix, at: now.mono }
    }
}

/// A duration in milliseconds, as the page and the API show it.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
