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
