//! How we notice a node's new block, and what that costs the node.
//!
//! ```text
//!   ZMQ or its P2P port announces its tips ─────────────► polled every 1.5 s
//!
//!   neither does:   try: does the node answer a call while another waits at it?
//!                     yes ──► WAITS    one call after the other waits for a quarter of a second
//!                      no ──► CROWDED  polled every quarter of a second; tried again after 10 min
//!         does not know it ──► REFUSED  the same, and not tried again until it was away
//!     (each of the three ends when a connection to the node breaks: it may be another process then)
//! ```
//!
//! Only the leader is asked so often, because only its new blocks are urgent.

use std::time::Instant;

use super::io::Output;
use super::node::{Node, Tier};
use super::policy::Alarm;
use super::stats::ErrorKind;
use super::{ANNOUNCED_WITHIN, Failover, POLL_EVERY, POLL_SOON, TRY_WAIT_AGAIN, WAIT_GAP};
use crate::chain::BlockHash;
use crate::node::{Ask, RpcError, TipSource};

/// Whether calls may wait at the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Waits {
    /// Not tried since it was last away.
    #[default]
    Untried,
    /// It answers other calls beside the one that waits.
    Beside,
    /// Another call had to wait for the end of ours: it has no thread to spare.
    Crowded {
        /// When that was seen.
        since: Instant,
    },
    /// It does not know `waitfornewblock`, or does not let us call it.
    Refused,
}

/// How the news of a node's tips come, for the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewsBy {
    /// ZMQ announces them.
    Zmq,
    /// Its P2P port announces them.
    P2p,
    /// A call waits at the node for them.
    Wait,
    /// The leader is asked every [`POLL_SOON`].
    Soon {
        /// It has no RPC thread to spare for a call that waits.
        crowded: bool,
    },
    /// The node is asked every [`POLL_EVERY`].
    Poll,
}

/// What is known of a node's announcements: by ZMQ, or by its P2P port.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Announcements {
    /// The way in which the latest tip was announced, or may still be.
    pub by: Option<TipSource>,
    /// The tip that was heard otherwise, and when.
    missed: Option<(BlockHash, Instant)>,
}

impl Announcements {
    /// A tip was heard. `moved`: the node had another one before.
    pub(super) fn heard(&mut self, at: Instant, tip: BlockHash, source: TipSource, moved: bool) {
        match source {
            TipSource::Zmq | TipSource::P2p => {
                *self = Announcements { by: Some(source), missed: None };
            }
            TipSource::Wait | TipSource::Poll | TipSource::Template => {
                if moved && self.by.is_some() {
                    self.missed = Some((tip, at));
                }
            }
        }
    }

    /// The connection to the P2P port has ended.
    pub(super) fn peer_lost(&mut self) {
        if self.by == Some(TipSource::P2p) {
            *self = Announcements::default();
        }
    }

    /// A tip that was not announced after a while was missed.
    pub(super) fn settle(&mut self, alarm: &mut Alarm) {
        if let Some((_, since)) = self.missed
            && alarm.due(since + ANNOUNCED_WITHIN)
        {
            *self = Announcements::default();
        }
    }
}

impl Node {
    /// How its news are to come; `leads` or is about to.
    pub(super) fn news_by(&self, leads: bool) -> NewsBy {
        match self.waits {
            _ if self.announcements.by == Some(TipSource::P2p) => NewsBy::P2p,
            _ if self.announcements.by.is_some() => NewsBy::Zmq,
            // One that fails is not asked more often for it.
            _ if !leads || self.breaker.failures() > 0 => NewsBy::Poll,
            Waits::Beside => NewsBy::Wait,
            Waits::Crowded { .. } => NewsBy::Soon { crowded: true },
            Waits::Untried | Waits::Refused => NewsBy::Soon { crowded: false },
        }
    }

    /// The outcome of a trial, or of a call that waited.
    pub(super) fn wait_tried(&mut self, at: Instant, outcome: &Result<bool, RpcError>) {
        self.waits = match outcome {
            Ok(true) => Waits::Beside,
            // It did not answer in time: whatever the reason, it is not to be pressed.
            Ok(false) => Waits::Crowded { since: at },
            Err(error) => match ErrorKind::of(error) {
                ErrorKind::Timeout | ErrorKind::Busy => Waits::Crowded { since: at },
                ErrorKind::Transport | ErrorKind::Waiting => Waits::Untried,
                _ => Waits::Refused,
            },
        };
    }
}

impl Failover {
    /// Orders a trial where its outcome is wanted.
    pub(super) fn wait_trials(&mut self, at: Instant, alarm: &mut Alarm, out: &mut Vec<Output>) {
        let Some(index) = self.leader_index() else { return };
        let node = &mut self.nodes[index];
        node.announcements.settle(alarm);
        let due = match node.waits {
            _ if node.announcements.by.is_some() => return,
            Waits::Untried => node.trial_at.map_or(at, |last| last + POLL_EVERY),
            Waits::Crowded { since } => since + TRY_WAIT_AGAIN,
            Waits::Beside | Waits::Refused => return,
        };
        if alarm.due(due) {
            node.trial_at = Some(at);
            if let Waits::Crowded { .. } = node.waits {
                node.waits = Waits::Untried;
            }
            alarm.due(at + POLL_EVERY);
            out.push(Output::Ask { node: node.spec.id, ask: Ask::TryWait });
        }
    }

    /// The regular polls of all nodes that could lead.
    pub(super) fn polls(&mut self, at: Instant, alarm: &mut Alarm, out: &mut Vec<Output>) {
        let leader = self.leader;
        for node in &mut self.nodes {
            if node.standing.tier() == Tier::Useless || node.poll.sent.is_some() {
                continue;
            }
            let by = node.news_by(leader == Some(node.spec.id));
            let every = match by {
                NewsBy::Zmq | NewsBy::P2p | NewsBy::Poll => POLL_EVERY,
                NewsBy::Soon { .. } => POLL_SOON,
                NewsBy::Wait => WAIT_GAP,
            };
            // The way may have changed since the last poll; a poll that is wanted sooner stays so.
            let latest = node.poll.last.map_or(node.poll.due, |last| last + every);
            if alarm.due(node.poll.due.min(latest)) {
                node.poll.sent = Some(at);
                node.poll.last = Some(at);
                node.poll.due =
                    if every == POLL_EVERY { node.poll.due + every } else { at + every };
                if node.poll.due <= at {
                    node.poll.due = at + every;
                }
                node.poll_waits = by == NewsBy::Wait;
                let ask = if node.poll_waits { Ask::WaitForTip } else { Ask::Tip };
                out.push(Output::Ask { node: node.spec.id, ask });
            }
        }
    }
}
