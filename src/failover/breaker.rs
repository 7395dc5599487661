//! The circuit breaker of one node.

use std::time::{Duration, Instant};

/// Failures in a row that open the breaker.
pub const FAILURES_TO_OPEN: u32 = 3;
/// The first wait; it doubles with each failed probe.
pub const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest wait. A miner must not wait for an hour because its node was away for a day.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Keeps a dead node from being asked all the time, and lets it back in carefully.
///
/// ```text
///               3 failures in a row                wait over: one probe
///      CLOSED ──────────────────────► OPEN ────────────────────────► HALF-OPEN
///       ▲  ▲                       wait 5, 10, 20,                     │   │
///       │  └─ a success sets       40, 60, 60 … s                      │   │
///       │     the count to 0          ▲                                │   │
///       │                             │   the probe fails: wait × 2    │   │
///       │                             └────────────────────────────────┘   │
///       └──────────────────────────────────────────────────────────────────┘
///                       the probe succeeds (or any late success: it answers)
/// ```
///
/// Who waits may be in a hurry (nobody leads, or the node is preferred to the one that leads):
/// [`Breaker::retry_at`] takes a ceiling for the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// Calls go through.
    Closed {
        /// Failures in a row so far, fewer than [`FAILURES_TO_OPEN`].
        failures: u32,
    },
    /// No calls.
    Open {
        /// When it opened, or opened again.
        since: Instant,
        /// For how long.
        wait: Duration,
    },
    /// One probe is under way.
    HalfOpen {
        /// When the probe was sent.
        since: Instant,
        /// The wait that was served, to be doubled if the probe fails.
        wait: Duration,
    },
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker::Closed { failures: 0 }
    }
}

impl Breaker {
    /// A call succeeded. True where the node is back by it.
    pub fn succeed(&mut self) -> bool {
        let was_closed = self.is_closed();
        *self = Breaker::default();
        !was_closed
    }

    /// A call failed. True where the node is down by it; a probe that fails is no news.
    pub fn fail(&mut self, at: Instant) -> bool {
        let was_closed = self.is_closed();
        *self = match *self {
            Breaker::Closed { failures } if failures + 1 < FAILURES_TO_OPEN => {
                Breaker::Closed { failures: failures + 1 }
            }
            Breaker::Closed { .. } => Breaker::Open { since: at, wait: FIRST_WAIT },
            // A call that was already under way when it opened: nothing new.
            open @ Breaker::Open { .. } => open,
            Breaker::HalfOpen { wait, .. } => {
                Breaker::Open { since: at, wait: (wait * 2).min(LONGEST_WAIT) }
            }
        };
        was_closed && !self.is_closed()
    }

    /// When the probe is due if it is open, waiting no longer than `ceiling`.
    pub fn retry_at(&self, ceiling: Duration) -> Option<Instant> {
        match *self {
            Breaker::Open { since, wait } => Some(since + wait.min(ceiling)),
            Breaker::Closed { .. } | Breaker::HalfOpen { .. } => None,
        }
    }

    /// The probe was sent. Nothing happens unless it is open.
    pub fn probe(&mut self, at: Instant) {
        if let Breaker::Open { wait, .. } = *self {
            *self = Breaker::HalfOpen { since: at, wait };
        }
    }

    /// Calls go through.
    pub fn is_closed(&self) -> bool {
        matches!(self, Breaker::Closed { .. })
    }

    /// Failures in a row while closed.
    pub fn failures(&self) -> u32 {
        match *self {
            Breaker::Closed { failures } => failures,
            Breaker::Open { .. } | Breaker::HalfOpen { .. } => FAILURES_TO_OPEN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn opened(at: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        assert!(!breaker.fail(at));
        assert!(!breaker.fail(at));
        assert!(breaker.fail(at));
        breaker
    }

    #[test]
    fn three_failures_in_a_row_open_it_and_a_success_between_does_not() {
        let t = Instant::now();
        let mut breaker = Breaker::default();
        breaker.fail(t);
        breaker.fail(t);
        assert_eq!(breaker.failures(), 2);
        assert!(!breaker.succeed());
        assert_eq!(breaker, Breaker::Closed { failures: 0 });
        breaker.fail(t);
        breaker.fail(t);
        assert!(breaker.is_closed());
        assert!(breaker.fail(t));
        assert_eq!(breaker, Breaker::Open { since: t, wait: FIRST_WAIT });
    }

    #[test]
    fn failures_while_open_change_nothing() {
        let t = Instant::now();
        let mut breaker = opened(t);
        assert!(!breaker.fail(t + FIRST_WAIT));
        assert_eq!(breaker.retry_at(HOUR), Some(t + FIRST_WAIT));
    }

    #[test]
    fn the_wait_doubles_up_to_a_minute() {
        let mut t = Instant::now();
        let mut breaker = opened(t);
        for seconds in [5, 10, 20, 40, 60, 60, 60] {
            let due = breaker.retry_at(HOUR).expect("it is open");
            assert_eq!((due - t).as_secs(), seconds);
            breaker.probe(due);
            assert_eq!(breaker.retry_at(HOUR), None, "one probe at a time");
            t = due + Duration::from_secs(1);
            assert!(!breaker.fail(t));
        }
    }

    #[test]
    fn a_ceiling_shortens_the_wait_only() {
        let t = Instant::now();
        let breaker = Breaker::Open { since: t, wait: LONGEST_WAIT };
        let ceiling = Duration::from_secs(15);
        assert_eq!(breaker.retry_at(ceiling), Some(t + ceiling));
        assert_eq!(opened(t).retry_at(ceiling), Some(t + FIRST_WAIT));
    }

    #[test]
    fn a_good_probe_or_a_late_success_closes_it_and_the_wait_starts_anew() {
        let t = Instant::now();
        let mut breaker = opened(t);
        breaker.probe(t + FIRST_WAIT);
        breaker.fail(t + FIRST_WAIT);
        breaker.probe(t + 3 * FIRST_WAIT);
        assert!(breaker.succeed());
        assert!(breaker.is_closed());
        let mut again = opened(t);
        assert_eq!(again.retry_at(HOUR), Some(t + FIRST_WAIT));
        assert!(again.succeed());
        let mut closed = Breaker::default();
        closed.probe(t);
        assert!(closed.is_closed(), "only an open breaker is probed");
    }
}
