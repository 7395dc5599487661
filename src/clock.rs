//! Time for the pure modules: it is handed in, never read.

use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::macros::format_description;

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
    /// What the wall clock showed at the last call: nothing that was dated since the anchor is later.
    shown: u64,
}

impl ClockWatch {
    /// A smaller step is taken for the rounding of whole seconds.
    const LEAST: i64 = 2;

    /// Watches from now on. `slept` is the time that the machine has slept since it started.
    pub fn new(now: Now, slept: Duration) -> ClockWatch {
        ClockWatch { anchor: now, slept, shown: now.unix }
    }

    /// By how many seconds the wall clock was set since the last call; `None` where it runs on. What was
    /// dated until now is not later than the clock of now less this.
    pub fn step(&mut self, now: Now, slept: Duration) -> Option<i64> {
        let asleep = slept.saturating_sub(self.slept);
        let passed = now.mono.saturating_duration_since(self.anchor.mono) + asleep;
        // The anchor leaves out its part of a second, so the clock may already have shown a second more.
        let runs_on = self.anchor.unix.saturating_add(passed.as_secs()).max(self.shown);
        let by = i64::try_from(i128::from(now.unix) - i128::from(runs_on)).unwrap_or(i64::MAX);
        if by.abs() < ClockWatch::LEAST {
            self.shown = now.unix;
            return None;
        }
        *self = ClockWatch::new(now, slept);
        Some(by)
    }
}

/// The wall clock as it is told: what the system's shows, but never less than what is certain to have
/// passed. Notices when it is set.
#[derive(Clone, Copy, Debug)]
pub struct Calendar {
    watch: ClockWatch,
    /// It was at least so late at that moment.
    floor: Option<Now>,
    /// By how much the last reading was raised, seconds.
    raised: u64,
}

/// What is told of the wall clock moved against monotonic time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// By so many seconds.
    pub by: i64,
    /// Somebody set the system's clock. Else it is known now that it is behind.
    pub set: bool,
}

impl Calendar {
    /// Tells what the system's clock shows.
    pub fn new(now: Now, slept: Duration) -> Calendar {
        Calendar { watch: ClockWatch::new(now, slept), floor: None, raised: 0 }
    }

    /// The time as it is told, from what the system's clocks show, and whether it moved since the last
    /// call.
    pub fn read(&mut self, shown: Now, slept: Duration) -> (Now, Option<Step>) {
        let least = self.floor.map_or(0, |floor| {
            let passed = shown.mono.saturating_duration_since(floor.mono);
            floor.unix.saturating_add(passed.as_secs())
        });
        let now = Now { unix: shown.unix.max(least), ..shown };
        self.raised = now.unix - shown.unix;
        let step = self.watch.step(now, slept);
        (now, step.map(|by| Step { by, set: self.raised == 0 }))
    }

    /// It is not earlier than this. Where the clock shows less, this is told, from the next reading on,
    /// until the clock is set.
    pub fn not_before(&mut self, floor: Now) {
        self.floor = Some(floor);
    }

    /// The system's clock is right, whatever was thought.
    pub fn trust(&mut self) {
        self.floor = None;
    }

    /// By how much the last reading was raised, seconds.
    pub fn raised(&self) -> u64 {
        self.raised
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

/// `2026-11-21T07:39:12Z`.
pub fn iso(unix: u64) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    utc(unix).format(format).expect("a date has all of it")
}

/// `2026-11-21 07:39 UTC`, for readers without JavaScript; with it they see their own time zone.
pub fn date(unix: u64) -> String {
    let iso = iso(unix);
    format!("{} {} UTC", &iso[..10], &iso[11..16])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_dated_later_than_the_clock_showed_when_it_was_set() {
        let start = Instant::now();
        let at = |millis: u64, unix: u64| Now { mono: start + Duration::from_millis(millis), unix };
        // It begins at 0.9 s of its second.
        let mut watch = ClockWatch::new(at(0, 1_000), Duration::ZERO);
        assert_eq!(watch.step(at(200, 1_001), Duration::ZERO), None);
        // What happened now is of 1,001, and so the clock was set by 5,000 s.
        assert_eq!(watch.step(at(500, 6_001), Duration::ZERO), Some(5_000));
        assert_eq!(watch.step(at(1_200, 6_002), Duration::ZERO), None);
        assert_eq!(watch.step(at(1_300, 2), Duration::ZERO), Some(-6_000));
    }

    #[test]
    fn the_time_never_lies_before_what_has_passed_until_the_clock_is_set() {
        let start = Instant::now();
        let at = |second: u64, unix: u64| Now { mono: start + Duration::from_secs(second), unix };
        let mut calendar = Calendar::new(at(0, 1_000), Duration::ZERO);
        let read = |calendar: &mut Calendar, second, unix| {
            let (now, step) = calendar.read(at(second, unix), Duration::ZERO);
            (now.unix, step)
        };
        assert_eq!(read(&mut calendar, 10, 1_010), (1_010, None));
        calendar.not_before(at(10, 5_000));
        let step = Some(Step { by: 3_990, set: false });
        assert_eq!(read(&mut calendar, 11, 1_011), (5_001, step));
        assert_eq!(read(&mut calendar, 20, 1_020), (5_010, None));
        assert_eq!(calendar.raised(), 3_990);
        // Set, and still too early for what is known.
        assert_eq!(read(&mut calendar, 30, 3_000), (5_020, None));
        let step = Some(Step { by: 4_960, set: true });
        assert_eq!(read(&mut calendar, 40, 9_990), (9_990, step));
        assert_eq!(calendar.raised(), 0);
        // Others agree with a clock that shows less: it was the earlier run's that was wrong.
        calendar.not_before(at(40, 20_000));
        assert_eq!(read(&mut calendar, 41, 9_991).0, 20_001);
        calendar.trust();
        let step = Some(Step { by: -10_010, set: true });
        assert_eq!(read(&mut calendar, 42, 9_992), (9_992, step));
    }
}
