//! The permissions that nodes give us: when they are asked, and what follows.
//!
//! A node is asked when it first answers, after every interruption, with each rehearsal, and when a
//! call is forbidden; while it refuses a method that mining needs, once a minute.

use std::time::{Duration, Instant};

use super::Failover;
use super::io::{Event, Output};
use super::policy::Alarm;
use crate::ids::NodeId;
use crate::node::{Ask, Permissions};

/// From one question to the next, unless there was a break.
pub const PERMISSIONS_EVERY: Duration = Duration::from_secs(60);
/// From one question to the next in any case.
pub const PERMISSIONS_GAP: Duration = Duration::from_secs(5);
/// Deadline of the question, which is eleven calls, for the shell.
pub const PERMISSIONS_DEADLINE: Duration = Duration::from_secs(20);

impl Failover {
    /// What a node lets us do, as far as it was asked.
    pub fn permissions(&self, node: NodeId) -> Option<&Permissions> {
        self.nodes[self.index(node)?].permissions.as_ref()
    }

    /// Every node is to be asked.
    pub(super) fn check_permissions(&mut self, at: Instant) {
        for index in 0..self.nodes.len() {
            self.want_permissions(at, index, PERMISSIONS_EVERY);
        }
    }

    /// The node is to be asked, no sooner than `gap` after the last time.
    pub(super) fn want_permissions(&mut self, at: Instant, index: usize, gap: Duration) {
        let node = &mut self.nodes[index];
        let moment = node.permit.last.map_or(at, |last| at.max(last + gap));
        node.permit_at = Some(node.permit_at.map_or(moment, |wanted| wanted.min(moment)));
    }

    pub(super) fn permissions_heard(
        &mut self,
        index: usize,
        permissions: Permissions,
        out: &mut Vec<Output>,
    ) {
        let node = &mut self.nodes[index];
        let name = node.spec.name.clone();
        let before = node.permissions.replace(permissions.clone());
        let (refused, short) = match &before {
            Some(before) => (before.refusal(), before.shortage()),
            None => (None, None),
        };
        let event = match (permissions.refusal_in_full(), permissions.remedy()) {
            (Some(words), Some(remedy)) if permissions.refusal() != refused => {
                Some(Event::Forbidden { node: name.clone(), words, remedy })
            }
            (None, _) if refused.is_some() => Some(Event::Permitted { node: name.clone() }),
            _ => None,
        };
        let shortage = permissions.shortage().filter(|words| Some(words) != short.as_ref());
        let shortage = shortage.map(|words| Event::Shortage { node: name, words });
        out.extend(event.into_iter().chain(shortage).map(Output::Event));
    }

    /// Asks those that are to be asked now.
    pub(super) fn permission_questions(
        &mut self,
        at: Instant,
        alarm: &mut Alarm,
        out: &mut Vec<Output>,
    ) {
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            if node.permit.sent.is_some() {
                continue;
            }
            let is_refused = node.permissions.as_ref().is_some_and(|known| !known.are_enough());
            if is_refused && node.permit_at.is_none() {
                self.want_permissions(at, index, PERMISSIONS_EVERY);
            }
            let node = &mut self.nodes[index];
            if node.breaker.is_closed() && node.permit_at.is_some_and(|moment| alarm.due(moment)) {
                node.permit.sent = Some(at);
                node.permit.last = Some(at);
                node.permit_at = None;
                out.push(Output::Ask { node: node.spec.id, ask: Ask::Permissions });
            }
        }
    }
}
