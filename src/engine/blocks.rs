//! Solved blocks: they go to all nodes and to the card at once, then to the ledger and the page.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Effect, Engine};
use crate::address::Address;
use crate::block::submission::{BlockState, Input, Output, Submissions};
use crate::block::{NodeAnswer, SolvedBlock, StoredState, refusal_advice};
use crate::chain::BlockHash;
use crate::clock::{Now, millis};
use crate::event::{EventKind, Level};
use crate::ids::{ConnId, NodeId};
use crate::node::{RpcError, SubmitAnswer};
use crate::outside;
use crate::stratum::outbox;

/// Maximum time that a miner's answer waits for the card: a card that takes longer is faulty, and
/// the miner would give up.
const CARD_AT_MOST: Duration = Duration::from_secs(10);

/// Shown for `submitblock`'s `null`.
const NO_OBJECTION: &str = "no objection";
const DUPLICATE: &str = "duplicate";
/// Shown until the node answers `submitblock`, if it asked for the block by P2P.
const ASKED_FOR_IT: &str = "asked for it by P2P";
/// Shown instead of an answer, if the node got the block from elsewhere.
const HAS_IT: &str = "has it";

/// The blocks that are not final.
#[derive(Debug, Default)]
pub struct Blocks {
    submissions: Submissions,
    /// The nodes' answers.
    answers: BTreeMap<BlockHash, Vec<NodeAnswer>>,
    /// When each was solved, and how long it took until a node showed it in its best chain.
    timing: BTreeMap<BlockHash, (Instant, Option<Duration>)>,
    /// Answers to miners that wait until their block is on the card.
    held: Vec<Held>,
    /// Blocks that an earlier run already reported as lost.
    known_lost: BTreeSet<BlockHash>,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) block: BlockHash,
    conn: ConnId,
    bytes: Vec<u8>,
    pub(super) until: Instant,
}

impl Blocks {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let held = self.held.iter().map(|held| held.until).min();
        [self.submissions.next_deadline(), held].into_iter().flatten().min()
    }

    /// Keeps the answer to a miner until its block is on the card.
    pub(super) fn hold_answer(&mut self, now: Now, block: BlockHash, conn: ConnId, bytes: Vec<u8>) {
        self.held.push(Held { block, conn, bytes, until: now.mono + CARD_AT_MOST });
    }

    /// Whether some block is undecided: no node has shown yet where it stands.
    pub fn has_undecided(&self) -> bool {
        self.submissions.has_undecided()
    }

    /// Whether the answer to a miner waits for the card.
    pub fn holds_answers(&self) -> bool {
        !self.held.is_empty()
    }

    /// Number of blocks that no node has shown in its best chain yet.
    pub fn waiting(&self) -> usize {
        self.waiting_blocks().count()
    }

    /// The blocks that no node has shown in its best chain yet.
    pub(super) fn waiting_blocks(&self) -> impl Iterator<Item = &Arc<SolvedBlock>> {
        let waits = |state: &BlockState| match state {
            BlockState::Candidate | BlockState::Beside | BlockState::Refused { .. } => true,
            BlockState::Accepted { .. }
            | BlockState::Orphaned
            | BlockState::Mature
            | BlockState::Stale => false,
        };
        self.iter().filter(move |(_, state)| waits(state)).map(|(block, _)| block)
    }

    /// Every block that is not final, with its state.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<SolvedBlock>, &BlockState)> {
        self.submissions.blocks()
    }

    /// The state of a block that is not final yet.
    pub fn state(&self, hash: BlockHash) -> Option<BlockState> {
        self.iter().find(|(block, _)| block.hash == hash).map(|(_, state)| state.clone())
    }

    /// A block that is not final yet, with its bytes.
    pub fn live(&self, hash: BlockHash) -> Option<&Arc<SolvedBlock>> {
        self.iter().map(|(block, _)| block).find(|block| block.hash == hash)
    }

    /// Time from the solving share until a node first showed the block in its best chain.
    pub fn accepted_after(&self, hash: BlockHash) -> Option<Duration> {
        self.timing.get(&hash)?.1
    }

    /// The last answer of each node about a block.
    pub fn answers(&self, hash: BlockHash) -> &[NodeAnswer] {
        self.answers.get(&hash).map_or(&[], Vec::as_slice)
    }
}

impl Engine {
    /// A miner's user without the owner's address in front of it, as it is shown everywhere.
    pub(super) fn name_of(&self, user: &str) -> String {
        let named = user.split_once('.').filter(|(address, name)| {
            let owner = self.payout.as_ref().map(|payout| payout.script.as_slice());
            let address = address.parse::<Address>().ok();
            !name.trim().is_empty() && address.is_some_and(|it| Some(it.script()) == owner)
        });
        named.map_or(user, |(_, name)| name).to_owned()
    }

    /// Takes a solved block. The calls to the nodes come first, then the card, then everything
    /// else. `None` if the block is known already.
    pub(super) fn solved(&mut self, now: Now, block: Arc<SolvedBlock>) -> Option<BlockHash> {
        let rest = self.submit(now, &block)?;
        let (height, worker, hash) = (block.height, self.name_of(&block.worker), block.hash);
        let text = format!("BLOCK {height} solved by {worker}: {hash}. It was sent to all nodes.");
        self.tell(EventKind::Block, Level::Info, text);
        self.notice = Some(format!("BLOCK {height} solved by {worker}!"));
        rest.into_iter().for_each(|output| self.blocks_output(now, output));
        self.offer_outside(now, &block);
        Some(hash)
    }

    /// Takes a block that the other box of the pair solved: it is kept and submitted as an own one.
    pub(super) fn solved_by_partner(&mut self, now: Now, block: Arc<SolvedBlock>) {
        let Some(rest) = self.submit(now, &block) else { return };
        let (height, worker, hash) = (block.height, self.name_of(&block.worker), block.hash);
        let text = format!(
            "BLOCK {height} solved by {worker} at the other box: {hash}. It was sent to all nodes here too."
        );
        self.tell(EventKind::Block, Level::Info, text);
        rest.into_iter().for_each(|output| self.blocks_output(now, output));
        self.offer_outside(now, &block);
    }

    /// Sends a block to all nodes and to the card; what else is to be done comes after that. `None` if it is
    /// known already.
    fn submit(&mut self, now: Now, block: &Arc<SolvedBlock>) -> Option<Vec<Output>> {
        let mut outputs = Vec::new();
        self.failover.solved(block.hash, block.height.into());
        let input = Input::Solved(block.clone());
        self.blocks.submissions.handle(now, input, &mut outputs);
        if outputs.is_empty() {
            return None;
        }
        self.blocks.timing.insert(block.hash, (now.mono, None));
        let (submits, rest): (Vec<Output>, Vec<Output>) =
            outputs.into_iter().partition(|output| matches!(output, Output::Submit { .. }));
        submits.into_iter().for_each(|output| self.blocks_output(now, output));
        self.effects.push_back(Effect::Pool(outbox::Output::Block(block.clone())));
        Some(rest)
    }

    /// Takes a block of an earlier run. It is offered again in any state; undecided blocks come
    /// first.
    pub(super) fn restored(
        &mut self,
        now: Now,
        block: Arc<SolvedBlock>,
        state: StoredState,
        answers: Vec<NodeAnswer>,
    ) {
        let first = self.setup.nodes.first().map(|node| node.id);
        let unproven = matches!(state, StoredState::Accepted { .. });
        let state = match state {
            // Older versions wrote this on a node's answer alone.
            StoredState::Accepted { .. } | StoredState::Candidate => BlockState::Candidate,
            StoredState::Confirmed { confirmations } => {
                let confirmations = confirmations.max(1);
                first.map_or(BlockState::Candidate, |by| BlockState::Accepted { by, confirmations })
            }
            StoredState::Stale => BlockState::Orphaned,
            StoredState::Mature => BlockState::Mature,
            StoredState::Rejected { reason } => BlockState::Refused { reason },
        };
        match state {
            BlockState::Orphaned => drop(self.blocks.known_lost.insert(block.hash)),
            BlockState::Candidate => {
                let height = block.height;
                let text = format!("Block {height} of the spool is offered to the nodes again.");
                self.tell(EventKind::Block, Level::Info, text);
            }
            _ => {}
        }
        self.blocks.answers.insert(block.hash, answers);
        self.failover.solved(block.hash, block.height.into());
        let is_settled = matches!(state, BlockState::Accepted { .. } | BlockState::Mature);
        if !is_settled && !matches!(state, BlockState::Orphaned) {
            self.offer_outside(now, &block);
        }
        let input = if unproven { Input::Unproven(block) } else { Input::Restored(block, state) };
        self.blocks_input(now, input);
    }

    pub(super) fn submitted(
        &mut self,
        now: Now,
        node: NodeId,
        block: BlockHash,
        answer: Result<SubmitAnswer, RpcError>,
    ) {
        let name = self.name(node);
        let answers = self.blocks.answers.entry(block).or_default();
        let before = answers.iter().find(|old| old.node == name);
        let taken = before.is_some_and(|before| before.taken);
        // "duplicate" is no reason for a refusal: the reason that it gave before stays.
        let repeated = answer.as_ref().is_ok_and(SubmitAnswer::is_repeat);
        let words = match (&answer, before) {
            (_, Some(before)) if repeated && is_reason(&before.words) => before.words.clone(),
            (Ok(SubmitAnswer::Accepted), _) => NO_OBJECTION.to_owned(),
            (Ok(SubmitAnswer::Duplicate), _) => DUPLICATE.to_owned(),
            (Ok(SubmitAnswer::Inconclusive(words)), _) => words.clone(),
            (Ok(SubmitAnswer::Rejected(reason)), _) => reason.clone(),
            (Err(error), _) => error.to_string(),
        };
        let before = before.cloned().unwrap_or_default();
        let said = NodeAnswer { node: name.clone(), taken, words: words.clone(), ..before };
        // A node that is down is asked repeatedly, and a node that has the block is asked after
        // each start: report each answer once.
        if !answers.iter().any(|old| old == &said || taken && repeated && old.node == said.node) {
            answers.retain(|old| old.node != said.node);
            answers.push(said);
            // It is not worth reporting that a node still has an old block.
            let known = matches!(self.blocks.state(block), Some(BlockState::Accepted { .. }));
            let is_fine = matches!(answer, Ok(SubmitAnswer::Accepted | SubmitAnswer::Duplicate));
            if !(is_fine && known) {
                // That a node cannot be asked is told by its own alarm, not once for each block.
                let level = match answer {
                    Err(_) => Level::Info,
                    Ok(_) if is_fine => Level::Info,
                    Ok(_) => Level::Warning,
                };
                let text = format!("Node {name} about block {block}: {words}.");
                self.tell(EventKind::Block, level, text);
            }
            self.effects.push_back(Effect::Answered { block, node: name, words });
        }
        self.blocks_input(now, Input::Answered { node, block, answer });
    }

    /// Sends the answers to miners that no longer have to wait.
    pub(super) fn answer_held(&mut self, free: impl Fn(&Held) -> bool) {
        for Held { conn, bytes, .. } in self.blocks.held.extract_if(.., |held| free(held)) {
            self.effects.push_back(Effect::SendHeld { conn, bytes });
        }
    }

    pub(super) fn blocks_input(&mut self, now: Now, input: Input) {
        let mut outputs = Vec::new();
        self.blocks.submissions.handle(now, input, &mut outputs);
        outputs.into_iter().for_each(|output| self.blocks_output(now, output));
    }

    fn blocks_output(&mut self, now: Now, output: Output) {
        match output {
            Output::Submit { node, block, urgency } => {
                self.effects.push_back(Effect::Submit { node, block: block.clone(), urgency });
                self.offer_to_peer(node, &block);
            }
            Output::Ask { node, ask } => self.ask(node, ask),
            Output::Shown { node, block, in_chain } => {
                self.shown(now, node, block, in_chain);
                if in_chain {
                    self.withdraw_from_peer(node, block);
                    self.outside_input(now, outside::Input::Settled(block));
                }
            }
            Output::Changed { block, from, state } => {
                self.block_changed(now, block, &from, state);
            }
        }
    }

    /// Notes for the page whether a node has the block in its best chain.
    fn shown(&mut self, now: Now, node: NodeId, block: BlockHash, in_chain: bool) {
        let since = self.blocks.timing.get(&block).map(|(since, _)| *since);
        let answer = self.answer_of(node, block);
        answer.taken = in_chain;
        // It got the block from another node or by its P2P port, before it answered us.
        if answer.words.is_empty() || in_chain && is_reason(&answer.words) {
            answer.words = HAS_IT.to_owned();
        }
        if let (true, None, Some(since)) = (in_chain, answer.shown_after_ms, since) {
            answer.shown_after_ms = Some(millis(now.mono.saturating_duration_since(since)));
        }
    }

    /// A node's P2P port asked for a block. That is no acceptance yet.
    pub(super) fn asked_by_p2p(&mut self, node: NodeId, block: BlockHash, after: Duration) {
        let answer = self.answer_of(node, block);
        if answer.p2p_after_ms.is_some() {
            return;
        }
        answer.p2p_after_ms = Some(millis(after));
        if answer.words.is_empty() {
            answer.words = ASKED_FOR_IT.to_owned();
        }
        let (name, after) = (self.name(node), millis(after));
        let text =
            format!("Node {name} asked for block {block} by its P2P port after {after:.1} ms.");
        self.tell(EventKind::Block, Level::Info, text);
    }

    fn answer_of(&mut self, node: NodeId, block: BlockHash) -> &mut NodeAnswer {
        let name = self.name(node);
        let answers = self.blocks.answers.entry(block).or_default();
        let place = answers.iter().position(|answer| answer.node == name).unwrap_or_else(|| {
            answers.push(NodeAnswer { node: name, ..NodeAnswer::default() });
            answers.len() - 1
        });
        &mut answers[place]
    }

    fn block_changed(
        &mut self,
        now: Now,
        block: Arc<SolvedBlock>,
        from: &BlockState,
        state: BlockState,
    ) {
        let (height, hash) = (block.height, block.hash);
        let (level, text) = match (from, &state) {
            (BlockState::Candidate, BlockState::Candidate) => return,
            // The page shows one more confirmation; it needs no event and no write.
            (BlockState::Accepted { .. }, BlockState::Accepted { .. }) => return,
            (_, BlockState::Candidate) => (
                Level::Warning,
                format!("Block {height} was lost by the nodes that had it: it is sent again."),
            ),
            (_, BlockState::Beside) => (
                Level::Warning,
                format!(
                    "Block {height} stands beside another block of the same height: the next block \
                     decides which of them counts."
                ),
            ),
            (_, BlockState::Refused { reason }) => {
                let advice = refusal_advice(reason);
                let text = format!("Every node refuses block {height}: {reason}. {advice}");
                (Level::Critical, text)
            }
            (_, BlockState::Accepted { by, .. }) => {
                let name = self.name(*by);
                self.notice = Some(format!("BLOCK {height} is accepted by node {name}!"));
                if let Some((since, took @ None)) = self.blocks.timing.get_mut(&hash) {
                    *took = Some(now.mono.saturating_duration_since(*since));
                }
                let answer = self.answer_of(*by, hash);
                // `submitblock` answers "duplicate" where the other road was faster.
                let by_p2p = answer.p2p_after_ms.is_some() && answer.words != NO_OBJECTION;
                let road = if by_p2p { "its P2P port" } else { "RPC" };
                let race = match answer.shown_after_ms {
                    Some(ms) => format!(" {ms:.0} ms after the share; it came by {road}"),
                    None => String::new(),
                };
                let text = format!(
                    "BLOCK {height} IS ACCEPTED: node {name} has it in its best chain{race}."
                );
                (Level::Info, text)
            }
            (_, BlockState::Orphaned) => (
                Level::Warning,
                format!("Block {height} is not in the best chain: another block came first."),
            ),
            (_, BlockState::Mature) => {
                (Level::Info, format!("Block {height} is mature: its coins can be spent."))
            }
            (_, BlockState::Stale) => {
                (Level::Warning, format!("Block {height} did not make it into the chain."))
            }
        };
        if matches!(state, BlockState::Candidate) {
            self.offer_outside(now, &block);
        }
        if matches!(state, BlockState::Orphaned) {
            // Own nodes show another block in its place: strangers are not sought out for it.
            self.outside_input(now, outside::Input::Settled(hash));
        }
        if matches!(state, BlockState::Mature | BlockState::Stale) {
            self.effects.push_back(Effect::Final(hash));
            for node in self.node_ids() {
                self.withdraw_from_peer(node, hash);
            }
            self.outside_input(now, outside::Input::Settled(hash));
        }
        // An event that was reported when it happened is not reported again after each start.
        let known_lost = self.blocks.known_lost.contains(&hash);
        if known_lost && matches!(state, BlockState::Orphaned | BlockState::Stale) {
            return;
        }
        self.blocks.known_lost.remove(&hash);
        self.tell(EventKind::Block, level, text);
        self.effects.push_back(Effect::Stands { block, state });
    }
}

/// The state as spool and ledger store it. A block outside the best chain may come back until it is
/// final. A block that ties with another is checked again after a restart.
pub fn stored(state: &BlockState) -> StoredState {
    match state {
        BlockState::Candidate | BlockState::Beside => StoredState::Candidate,
        BlockState::Refused { reason } => StoredState::Rejected { reason: reason.clone() },
        BlockState::Accepted { confirmations, .. } => {
            StoredState::Confirmed { confirmations: *confirmations }
        }
        BlockState::Mature => StoredState::Mature,
        BlockState::Orphaned | BlockState::Stale => StoredState::Stale,
    }
}

/// Whether a node's answer is a reject reason: that is one word, while a call's failure is a
/// sentence.
fn is_reason(words: &str) -> bool {
    let answer = SubmitAnswer::parse(Some(words));
    let refuses = matches!(answer, SubmitAnswer::Rejected(_)) && !answer.is_repeat();
    refuses && !words.contains(' ') && words != "accepted"
}
