//! A fire drill of two boxes: the one that has the address of the miners says for a while that it is not
//! ready, so that the other one takes it. Pure.
//!
//! ```text
//!            the address has gone            the miners are there, or it took too long
//!   Giving ─────────────────────────▶ Given ─────────────────────────────────────────▶ (kept, for the page)
//!      │ after GIVES_AT_MOST
//!      └────────────────────────────▶ Failed
//! ```
//!
//! Only while it gives, this box is not ready. Nothing takes the address back: boxes that are equally well
//! leave it where it is.

use std::time::{Duration, Instant};

/// The address is kept when nobody has taken it for so long.
pub const GIVES_AT_MOST: Duration = Duration::from_secs(20);

/// So long the miners are waited for at the other box.
pub const MINERS_AT_MOST: Duration = Duration::from_secs(120);

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// This box says that it is not ready.
    Giving,
    /// The other box has the address, or nobody.
    Given,
    /// Nobody took it.
    Failed,
}

/// What is known at a time.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// This box has the address.
    pub has_address: bool,
    /// Miners at the other box, where it is connected and has the address.
    pub there: Option<u32>,
}

/// One drill.
#[derive(Clone, Debug)]
pub struct Drill {
    began: Instant,
    /// Miners that used the address here, and miners at the other box, when it began.
    miners: (u32, u32),
    phase: Phase,
    gone: Option<Instant>,
    back: Option<Instant>,
}

impl Drill {
    /// Begins. `here` miners use the address at this box, and the other box has `there` of its own.
    pub fn begin(now: Instant, here: u32, there: u32) -> Drill {
        Drill { began: now, miners: (here, there), phase: Phase::Giving, gone: None, back: None }
    }

    /// Looks where the address and the miners are.
    pub fn look(&mut self, now: Instant, seen: Seen) {
        let (here, before) = self.miners;
        match self.phase {
            Phase::Giving if !seen.has_address => {
                (self.phase, self.gone) = (Phase::Given, Some(now));
            }
            Phase::Giving if now >= self.began + GIVES_AT_MOST => self.phase = Phase::Failed,
            Phase::Given if self.is_watched(now) => {
                let is_there = seen.there.is_some_and(|there| there >= before.saturating_add(here));
                self.back = self.back.or(is_there.then_some(now));
            }
            Phase::Giving | Phase::Given | Phase::Failed => {}
        }
    }

    /// Whether this box says that it is not ready.
    pub fn gives(&self) -> bool {
        self.phase == Phase::Giving
    }

    /// Whether it has to be looked at again soon.
    pub fn is_watched(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Giving => true,
            Phase::Given => {
                self.back.is_none() && self.gone.is_some_and(|gone| now < gone + MINERS_AT_MOST)
            }
            Phase::Failed => false,
        }
    }

    /// When it began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Miners that used the address here when it began.
    pub fn miners(&self) -> u32 {
        self.miners.0
    }

    /// How long it took until this box no longer had the address.
    pub fn given_after(&self) -> Option<Duration> {
        Some(self.gone? - self.began)
    }

    /// How long the miners were away, as far as the other box has told: it tells every two seconds.
    pub fn away(&self) -> Option<Duration> {
        Some(self.back? - self.gone?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn this_box_is_not_ready_until_the_address_has_gone_and_the_miners_are_timed() {
        let start = Instant::now();
        let mut drill = Drill::begin(start, 3, 1);
        let here = Seen { has_address: true, there: None };
        drill.look(at(start, 1000), here);
        assert!(drill.gives() && drill.given_after().is_none());
        drill.look(at(start, 1600), Seen { has_address: false, there: None });
        assert!(!drill.gives(), "it is ready again as soon as the other one has the address");
        assert_eq!(drill.given_after(), Some(Duration::from_millis(1600)));
        drill.look(at(start, 2000), Seen { has_address: false, there: Some(2) });
        assert_eq!(drill.away(), None, "one of three is there");
        drill.look(at(start, 4100), Seen { has_address: false, there: Some(4) });
        assert_eq!(drill.away(), Some(Duration::from_millis(2500)));
        assert!(!drill.is_watched(at(start, 4100)));
        // It comes back later by another drill, there: that is no news here.
        drill.look(at(start, 9000), here);
        assert_eq!(
            (drill.phase(), drill.away()),
            (Phase::Given, Some(Duration::from_millis(2500)))
        );
    }

    #[test]
    fn where_nobody_takes_the_address_this_box_is_ready_again_after_a_while() {
        let start = Instant::now();
        let mut drill = Drill::begin(start, 3, 0);
        let here = Seen { has_address: true, there: None };
        drill.look(start + GIVES_AT_MOST - Duration::from_millis(1), here);
        assert!(drill.gives());
        drill.look(start + GIVES_AT_MOST, here);
        assert_eq!((drill.phase(), drill.gives()), (Phase::Failed, false));
        assert!(!drill.is_watched(start + GIVES_AT_MOST));
    }

    #[test]
    fn miners_that_never_come_are_not_waited_for_for_ever() {
        let start = Instant::now();
        let mut drill = Drill::begin(start, 3, u32::MAX);
        drill.look(start, Seen { has_address: false, there: Some(0) });
        assert!(drill.is_watched(start));
        let late = start + MINERS_AT_MOST;
        drill.look(late, Seen { has_address: false, there: Some(u32::MAX) });
        assert!(!drill.is_watched(late) && drill.away().is_none());
    }
}
