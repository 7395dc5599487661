//! Rehearsals: the block that we would submit, shown to every node before it is solved.
//!
//! On each new height, and after each change of the payout, the current job is assembled into a
//! complete, unsolved block. Every node is asked whether it would accept this block
//! (`getblocktemplate` with `"mode":"proposal"`, BIP 23) and whether it would let us submit it. A
//! refusal raises an alarm long before it could cost a block. Nothing waits for a rehearsal: it
//! starts some seconds after the job was sent, and the block is assembled on another thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Effect, Engine};
use crate::chain::BlockHash;
use crate::clock::Now;
use crate::event::{EventKind, Level};
use crate::failover::Input;
use crate::ids::NodeId;
use crate::node::{Ask, Permissions, RpcError};
use crate::share::Candidate;

/// Delay after a new tip: the nodes are busy with it at first.
const DELAY: Duration = Duration::from_secs(3);
/// Minimum time between rehearsals.
const SPACING: Duration = Duration::from_secs(60);
/// The answer of a node on another tip, which cannot judge the block.
const OTHER_TIP: &str = "inconclusive-not-best-prevblk";

/// A node's answer to our block before it was solved.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RehearsalVerdict {
    /// When it was asked, Unix seconds.
    pub at: u64,
    /// Height of the rehearsed block.
    pub height: u64,
    /// The reason of a refusal; `None` if the node would accept the block.
    pub refused: Option<String>,
}

/// The last rehearsals and the nodes' answers.
#[derive(Debug, Default)]
pub struct Rehearsals {
    due: Option<Instant>,
    last: Option<Instant>,
    asked: Option<(BlockHash, u32)>,
    verdicts: BTreeMap<NodeId, (Instant, RehearsalVerdict)>,
    /// Each node's answer to the last one, in words; nodes that have not answered are missing.
    answers: BTreeMap<NodeId, String>,
    /// The owner waits for the answers to a rehearsal that is being prepared.
    drilling: bool,
}

impl Rehearsals {
    /// Plans a rehearsal: there is a new block to propose.
    pub(super) fn plan(&mut self, now: Now) {
        let earliest = self.last.map_or(now.mono, |last| last + SPACING);
        self.due = Some(earliest.max(now.mono + DELAY));
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.due
    }

    /// The last verdict of a node.
    pub fn verdict(&self, now: Now, node: NodeId) -> Option<RehearsalVerdict> {
        let (at, verdict) = self.verdicts.get(&node)?;
        Some(RehearsalVerdict { at: now.date_of(*at), ..verdict.clone() })
    }
}

impl Engine {
    /// Starts a rehearsal of the current job. An empty job is skipped: it is replaced within
    /// moments.
    pub(super) fn rehearse(&mut self, now: Now) {
        self.rehearsals.due = None;
        let Some(job) = self.pool.jobs().latest().filter(|job| !job.work.empty) else { return };
        self.rehearsals.last = Some(now.mono);
        self.effects.push_back(Effect::Assemble(Box::new(Candidate::of(job))));
    }

    pub(super) fn rehearse_at_once(&mut self, now: Now) {
        self.rehearsals.drilling = true;
        self.rehearsals.answers.clear();
        self.rehearse(now);
    }

    pub(super) fn propose(&mut self, now: Now, block: BlockHash, height: u32, hex: &Arc<str>) {
        self.rehearsals.asked = Some((block, height));
        self.rehearsals.answers.clear();
        self.rehearsals.drilling = false;
        for node in self.node_ids() {
            self.ask(node, Ask::Propose { block, hex: hex.clone() });
        }
        self.failover_input(now, Input::CheckPermissions);
    }

    pub(super) fn proposed(
        &mut self,
        now: Now,
        node: NodeId,
        block: BlockHash,
        verdict: &Result<Option<String>, RpcError>,
    ) {
        let Some((_, height)) = self.rehearsals.asked.filter(|(hash, _)| *hash == block) else {
            return;
        };
        let name = self.name(node);
        let words = match verdict {
            Ok(None) => "would accept it".to_owned(),
            Ok(Some(reason)) if reason == OTHER_TIP => "is on another tip just now".to_owned(),
            Ok(Some(reason)) => format!("would REFUSE it: {reason}"),
            Err(error) => format!("cannot be asked: {error}"),
        };
        self.rehearsals.answers.insert(node, words);
        let refused = match verdict {
            Ok(None) => None,
            // Not judged: the previous verdict stays.
            Ok(Some(reason)) if reason == OTHER_TIP => return,
            Err(_) => return,
            Ok(Some(reason)) => Some(reason.clone()),
        };
        let verdict = RehearsalVerdict { at: now.unix, height: height.into(), refused };
        let before = self.rehearsals.verdicts.insert(node, (now.mono, verdict.clone()));
        if before.is_some_and(|(_, before)| before.refused == verdict.refused) {
            return;
        }
        let (level, text) = match verdict.refused {
            None => (Level::Info, format!("Node {name} would accept our block {height}.")),
            Some(reason) => {
                (Level::Critical, format!("Node {name} would REFUSE our block {height}: {reason}."))
            }
        };
        self.tell(EventKind::Node, level, text);
    }

    /// The answers of all nodes to the block of [`Input::Rehearse`](super::Input::Rehearse); `None`
    /// while an answer is missing, unless it is `late`.
    pub fn rehearsal_result(&self, late: bool) -> Option<String> {
        let (rehearsals, nodes) = (&self.rehearsals, self.node_ids());
        let all =
            !rehearsals.drilling && nodes.iter().all(|node| rehearsals.answers.contains_key(node));
        if !all && !late {
            return None;
        }
        let height = rehearsals.asked.map_or(0, |(_, height)| height);
        let words = nodes.iter().map(|node| {
            let answer = rehearsals.answers.get(node).map_or("did not answer", String::as_str);
            let refusal = self.failover.permissions(*node).and_then(Permissions::refusal);
            let refusal = refusal.map_or_else(String::new, |words| format!(", but it {words}"));
            format!(" {} {answer}{refusal}.", self.name(*node))
        });
        Some(format!("Block {height} was shown to the nodes:{}", words.collect::<String>()))
    }
}
