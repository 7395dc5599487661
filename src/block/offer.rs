//! The state of one block at one node: whether the node got it, what it answered, and what its
//! chain shows.
//!
//! ```text
//!        ┌── no answer: after 0.1, 0.2, … 5 s ──┐
//!        │   refused: after 60 s; for want of   │
//!        │   the parent: after 1, 2, … 60 s     │
//!        ▼                                      │
//!       Due ───────── submitted ─────────► InFlight ── null, duplicate, inconclusive ──► Given
//!        ▲                                                                                │
//!        └── the node does not know the block, or may not be asked ───────────────────────┘
//! ```
//!
//! The node's answer only decides when to look at its chain. What the chain shows then counts.

use std::time::{Duration, Instant};

use super::submission::MATURITY;
use crate::node::{Position, SubmitAnswer};

/// The first pause before a node is tried or looked at again.
pub(super) const FIRST_RETRY: Duration = Duration::from_millis(100);
/// The pauses double up to this.
const LAST_RETRY: Duration = Duration::from_secs(5);
/// A node that refuses the block, or may not be asked for it, gets it again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// The first pause if the node lacks the parent and is about to get it from its peers. The pauses
/// double up to [`ASK_AGAIN`], because a node's rules may refuse the parent for as long as it runs;
/// a change of its tip starts the pauses again.
const LACKS_PARENT: Duration = Duration::from_secs(1);
/// When a node is looked at first, even without its answer.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// How often to look at a node that has the block in its best chain, or has decided against it.
const WATCH: Duration = Duration::from_secs(30);
/// How long an observation is valid: three looks.
const FRESH: Duration = Duration::from_secs(90);
/// When the answer to a submission is given up and the node is tried again. Longer than the
/// deadline of the call.
pub(super) const LOST: Duration = Duration::from_secs(150);
/// Shown if the node gave its reason to an earlier run or to another client.
const SEEN_ONLY: &str = "duplicate, though the node does not have it";

/// One node and one block.
#[derive(Debug)]
pub(super) struct NodeOffer {
    stage: Stage,
    /// The pause before it gets the block again.
    pause: Duration,
    /// The same pause if it lacks the parent.
    parent_pause: Duration,
    /// Whether the last answer was `duplicate`.
    said_duplicate: bool,
    /// Why the node refuses the block. An answer that only repeats the refusal does not replace it.
    refusal: Option<String>,
    /// What it showed last, and when.
    shown: Option<(Position, Instant)>,
    /// When it refused it last.
    refused_at: Option<Instant>,
    /// Whether it was looked at, with or without an answer.
    was_looked_at: bool,
    look_due: Option<Instant>,
    look_pause: Duration,
}

/// See the diagram above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Due { at: Instant },
    InFlight { since: Instant },
    Given,
}

impl NodeOffer {
    /// Due at once.
    pub(super) fn new(now: Instant) -> NodeOffer {
        NodeOffer {
            stage: Stage::Due { at: now },
            pause: FIRST_RETRY,
            parent_pause: LACKS_PARENT,
            said_duplicate: false,
            refusal: None,
            shown: None,
            refused_at: None,
            was_looked_at: false,
            look_due: Some(now + FIRST_LOOK),
            look_pause: FIRST_RETRY,
        }
    }

    /// When to submit the block, or to give up its answer.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Due { at } => Some(at),
            Stage::InFlight { since } => Some(since + LOST),
            Stage::Given => None,
        }
    }

    /// When to look at the node.
    pub(super) fn look_due(&self) -> Option<Instant> {
        self.look_due
    }

    /// The block is submitted now.
    pub(super) fn submitted(&mut self, now: Instant) {
        self.stage = Stage::InFlight { since: now };
    }

    /// The node answered, or did not (`None`).
    pub(super) fn answered(&mut self, now: Instant, answer: Option<&SubmitAnswer>) {
        self.said_duplicate = answer == Some(&SubmitAnswer::Duplicate);
        match answer {
            Some(
                SubmitAnswer::Accepted | SubmitAnswer::Duplicate | SubmitAnswer::Inconclusive(_),
            ) => {
                // A report of its tip may have come before its answer.
                let is_known = matches!(
                    (self.shown, self.stage),
                    (Some((Position::InChain { .. }, at)), Stage::InFlight { since }) if at >= since
                );
                self.stage = Stage::Given;
                if !is_known {
                    (self.look_due, self.look_pause) = (Some(now), FIRST_RETRY);
                }
            }
            Some(SubmitAnswer::Rejected(reason)) => {
                self.refused_at = Some(now);
                if self.refusal.as_deref().is_none_or(is_repeat) || !is_repeat(reason) {
                    self.refusal = Some(reason.clone());
                }
                self.try_after(now, lacks_parent(reason));
                // The next change of its tip will show more.
                self.look_due = None;
            }
            None => {
                self.try_again(now, self.pause);
                self.pause = (self.pause * 2).min(LAST_RETRY);
                // The node may have accepted the block all the same.
                let soon = now + FIRST_RETRY;
                self.look_due = Some(self.look_due.map_or(soon, |due| due.min(soon)));
            }
        }
    }

    /// The node is asked now where it has the block.
    pub(super) fn asked(&mut self) {
        self.look_due = None;
    }

    /// There was no room for the question.
    pub(super) fn not_asked(&mut self, now: Instant) {
        self.look_due = Some(now);
    }

    /// The node answered where it has the block, or could not (`None`).
    pub(super) fn looked(&mut self, now: Instant, position: Option<Position>) {
        self.was_looked_at = true;
        let held =
            matches!(self.shown, Some((Position::InChain { .. } | Position::Outside { .. }, _)));
        if let Some(position) = position {
            self.shown = Some((position, now));
        }
        let wait = match position {
            Some(Position::InChain { .. }) => {
                self.refusal = None;
                self.has_it();
                Some(WATCH)
            }
            // Core keeps a block that it has refused.
            Some(Position::Outside { .. }) if self.is_refused_for_good() => None,
            Some(Position::Outside { rival }) => {
                self.refusal = None;
                self.has_it();
                Some(if rival > 1 { WATCH } else { self.next_look() })
            }
            Some(Position::Missing) => {
                if self.stage == Stage::Given {
                    self.lacks_it(now, held);
                }
                self.refusal.is_none().then(|| self.next_look())
            }
            Some(Position::Untold) => {
                if self.stage == Stage::Given {
                    self.try_again(now, ASK_AGAIN);
                }
                Some(self.next_look())
            }
            None if held => Some(WATCH),
            None => Some(self.next_look()),
        };
        // If its tip changed while it was asked, look again.
        let next = wait.map(|wait| now + wait);
        self.look_due = [self.look_due, next].into_iter().flatten().min();
    }

    /// The block is the node's tip.
    pub(super) fn is_tip(&mut self, now: Instant) {
        self.looked(now, Some(Position::InChain { confirmations: Some(1) }));
    }

    /// The node's tip changed.
    pub(super) fn tip_changed(&mut self, now: Instant) {
        self.look_due = Some(now);
        // It may have the parent now.
        self.parent_pause = LACKS_PARENT;
        if self.refusal.is_some()
            && !self.is_refused_for_good()
            && let Stage::Due { at } = &mut self.stage
        {
            *at = now;
        }
    }

    /// Confirmations in the node's best chain, if that observation is still valid; `untold` if the
    /// node may not be asked for their number.
    pub(super) fn in_chain(&self, now: Instant, untold: u32) -> Option<u32> {
        match self.shown? {
            (Position::InChain { confirmations }, at)
                if now.saturating_duration_since(at) < FRESH =>
            {
                Some(confirmations.unwrap_or(untold))
            }
            _ => None,
        }
    }

    /// Whether the last observation showed the block in the node's best chain.
    pub(super) fn has_shown_it(&self) -> bool {
        matches!(self.shown, Some((Position::InChain { .. }, _)))
    }

    /// Confirmations of the block that the node prefers at this height.
    pub(super) fn rival(&self) -> Option<u32> {
        match (self.shown?, &self.refusal) {
            ((Position::Outside { rival }, _), None) => Some(rival),
            _ => None,
        }
    }

    /// Why the node refuses the block.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// Whether the node has answered or had its chance.
    pub(super) fn is_heard(&self) -> bool {
        self.was_looked_at || self.refusal.is_some()
    }

    /// Whether the node's answer or its chain says that it does not have the block.
    pub(super) fn is_without(&self) -> bool {
        self.refusal.is_some()
            || matches!(self.shown, Some((Position::Missing | Position::Outside { .. }, _)))
    }

    /// Whether it said so after this instant.
    pub(super) fn is_without_since(&self, since: Instant) -> bool {
        let looked = self.shown.map(|(_, at)| at);
        self.is_without() && self.refused_at.max(looked).is_some_and(|at| at > since)
    }

    /// Whether it may not be asked, and the block is not its tip.
    pub(super) fn is_untold(&self) -> bool {
        self.refusal.is_none() && matches!(self.shown, Some((Position::Untold, _)))
    }

    /// Whether the node's best chain has another block at this height and a hundred blocks on it.
    pub(super) fn has_buried_another(&self) -> bool {
        self.rival().is_some_and(|rival| rival >= MATURITY)
    }

    fn has_it(&mut self) {
        if !matches!(self.stage, Stage::InFlight { .. }) {
            self.stage = Stage::Given;
        }
        self.pause = FIRST_RETRY;
    }

    /// Whether it got the block and does not have it.
    fn lacks_it(&mut self, now: Instant, held: bool) {
        if self.said_duplicate && self.refusal.is_none() && !held {
            self.refusal = Some(SEEN_ONLY.to_owned());
        }
        match &self.refusal {
            Some(reason) => self.try_after(now, lacks_parent(reason)),
            // It has lost the block, for example in a crash.
            None if held => self.try_again(now, Duration::ZERO),
            None => {
                self.try_again(now, self.pause);
                self.pause = (self.pause * 2).min(LAST_RETRY);
            }
        }
    }

    fn is_refused_for_good(&self) -> bool {
        let passes = |reason: &str| lacks_parent(reason) || [SEEN_ONLY, TOO_NEW].contains(&reason);
        self.refusal.as_deref().is_some_and(|reason| !passes(reason))
    }

    /// Schedules the next try after a refusal, because it lacks the parent or for another reason.
    fn try_after(&mut self, now: Instant, lacks_parent: bool) {
        let wait = if lacks_parent { self.parent_pause } else { ASK_AGAIN };
        if lacks_parent {
            self.parent_pause = (self.parent_pause * 2).min(ASK_AGAIN);
        }
        self.try_again(now, wait);
    }

    fn try_again(&mut self, now: Instant, wait: Duration) {
        self.stage = Stage::Due { at: now + wait };
    }

    fn next_look(&mut self) -> Duration {
        let pause = self.look_pause;
        self.look_pause = (pause * 2).min(LAST_RETRY);
        pause
    }
}

/// Whether the answer only says that the block was refused before.
pub(super) fn is_repeat(reason: &str) -> bool {
    reason == SEEN_ONLY || SubmitAnswer::parse(Some(reason)).is_repeat()
}

/// The reason if the block's time is more than two hours ahead of the node's clock. The node may
/// accept the block when its clock has advanced or is corrected; until then it does not keep it.
const TOO_NEW: &str = "time-too-new";

/// Whether the node lacks the parent of our block, in Core's and bcoin's words.
fn lacks_parent(reason: &str) -> bool {
    ["prev-blk-not-found", "bad-prevblk"].contains(&reason)
}
