//! Rehearsals: the block that we would submit, shown to every node before it is solved.
//!
//! On each new height, and after each change of the payout, the current job is made into a whole
//! block, unsolved, and every node is asked whether it would take it (`getblocktemplate` with
//! `"mode":"proposal"`, BIP 23), and whether it would let us hand it in. A refusal is an alarm years
//! before it would cost a block. Nothing waits for a rehearsal: it starts a while after the job went out and is made on a pool thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::block;
use crate::chain::BlockHash;
use crate::clock::Now;
use crate::failover::Input;
use crate::ids::NodeId;
use crate::node::{Permissions, RpcError};
use crate::share::{Share, Submission};
use crate::status::{AlarmView, EventKind, Level, RehearsalView};

use super::{Event, State};

/// How long after a new tip: the nodes are busy with it at first.
const DELAY: Duration = Duration::from_secs(3);
/// Not more often than this.
const SPACING: Duration = Duration::from_secs(60);
/// A node that is on another tip than the block cannot judge it.
const OTHER_TIP: &str = "inconclusive-not-best-prevblk";

/// A block that is ready to be shown.
#[derive(Debug)]
pub struct Rehearsal {
    hash: BlockHash,
    height: u32,
    hex: Arc<str>,
}

/// What was asked, and what the nodes said.
#[derive(Debug, Default)]
pub struct Rehearsals {
    due: Option<Instant>,
    last: Option<Instant>,
    asked: Option<(BlockHash, u32)>,
    verdicts: BTreeMap<NodeId, RehearsalView>,
    /// What each node said to the last one, in words; what it has not said yet is not in it.
    answers: BTreeMap<NodeId, String>,
    /// The owner waits for the answers to one that is being made.
    drilling: bool,
}

impl Rehearsals {
    /// There is something new to rehearse.
    pub fn plan(&mut self, now: Now) {
        let earliest = self.last.map_or(now.mono, |last| last + SPACING);
        self.due = Some(earliest.max(now.mono + DELAY));
    }

    /// When the next one is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.due
    }

    /// What a node said last.
    pub fn verdict(&self, node: NodeId) -> Option<RehearsalView> {
        self.verdicts.get(&node).cloned()
    }

    /// One alarm for each node that would refuse our block.
    pub fn alarms(&self, name: impl Fn(NodeId) -> String) -> Vec<AlarmView> {
        let refusals = self
            .verdicts
            .iter()
            .filter_map(|(node, verdict)| Some((name(*node), verdict.refused.as_ref()?, verdict)));
        refusals
            .map(|(name, reason, verdict)| AlarmView {
                id: format!("rehearsal:{name}"),
                level: Level::Critical,
                text: format!("Node {name} would refuse our block {}: {reason}.", verdict.height),
                advice: "A found block could be lost. Update the node and Soloist, and compare \
                         what the other nodes say."
                    .into(),
                since: Some(verdict.at),
            })
            .collect()
    }
}

impl State {
    pub(super) fn tick_rehearsals(&mut self, now: Now) {
        if self.rehearsals.due.is_some_and(|due| now.mono >= due) {
            self.rehearsals.due = None;
            self.rehearse(now);
        }
    }

    /// Makes the current job into a block. An empty one stands in for the node's for moments only.
    fn rehearse(&mut self, now: Now) {
        let Some(job) = self.pool.jobs().latest().filter(|job| !job.work.empty) else { return };
        self.rehearsals.last = Some(now.mono);
        let submission = Submission::unsolved(job);
        let share = Share::prove(job, &submission);
        let coinbase = job.work.coinbase.in_block(&submission.extranonce);
        let template = job.work.template.clone();
        let queue = self.queue.clone();
        blocking::unblock(move || {
            let bytes = block::assemble(&share.header, &coinbase, &template.txs);
            let hex = faster_hex::hex_string(&bytes).into();
            let rehearsal = Rehearsal { hash: share.hash, height: template.height, hex };
            queue.send_blocking(Event::Rehearsal(rehearsal)).ok();
        })
        .detach();
    }

    /// Rehearses at once, because the owner wants to see it.
    pub(super) fn drill(&mut self, now: Now) {
        self.rehearsals.drilling = true;
        self.rehearsals.answers.clear();
        self.rehearsals.due = Some(now.mono);
    }

    /// What every node said to the block of [`State::drill`]; `None` as long as one thinks, unless
    /// it is `late`.
    pub(super) fn drill_result(&self, late: bool) -> Option<String> {
        let (rehearsals, nodes) = (&self.rehearsals, self.nodes.ids());
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
            format!(" {} {answer}{refusal}.", self.nodes.name(*node))
        });
        Some(format!("Block {height} was shown to the nodes:{}", words.collect::<String>()))
    }

    pub(super) fn propose(&mut self, now: Now, rehearsal: Rehearsal) {
        self.rehearsals.asked = Some((rehearsal.hash, rehearsal.height));
        self.rehearsals.answers.clear();
        self.rehearsals.drilling = false;
        for node in self.nodes.ids() {
            let hex = rehearsal.hex.clone();
            self.with_handle(node, |handle| handle.propose(rehearsal.hash, hex));
        }
        self.failover_input(now, Input::Rehearsed);
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
        let name = self.nodes.name(node);
        let words = match verdict {
            Ok(None) => "would accept it".to_owned(),
            Ok(Some(reason)) if reason == OTHER_TIP => "is on another tip just now".to_owned(),
            Ok(Some(reason)) => format!("would REFUSE it: {reason}"),
            Err(error) => format!("cannot be asked: {error}"),
        };
        self.rehearsals.answers.insert(node, words);
        let refused = match verdict {
            Ok(None) => None,
            // Not judged: what it said before stands.
            Ok(Some(reason)) if reason == OTHER_TIP => return,
            Err(error) => {
                log::debug!("node {name}: rehearsal: {error}");
                return;
            }
            Ok(Some(reason)) => Some(reason.clone()),
        };
        let view = RehearsalView { at: now.unix, height: height.into(), refused };
        let before = self.rehearsals.verdicts.insert(node, view.clone());
        if before.is_some_and(|before| before.refused == view.refused) {
            return;
        }
        let (level, text) = match view.refused {
            None => (Level::Info, format!("Node {name} would accept our block {height}.")),
            Some(reason) => {
                (Level::Critical, format!("Node {name} would REFUSE our block {height}: {reason}."))
            }
        };
        self.tell(now, EventKind::Node, level, text);
    }
}
