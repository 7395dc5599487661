//! Time as the pure cores see it: handed in, never read.

use std::time::Instant;

/// One reading of both clocks, taken by a shell and handed to a core with an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time: for deadlines, ages and rates. Never goes back.
    pub mono: Instant,
    /// Wall clock, seconds since 1970-01-01 UTC, for people and records only. A board without a
    /// real-time clock may have it wrong: it never enters a block header.
    pub unix: u64,
}
