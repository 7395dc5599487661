//! Solved blocks: to all nodes and into the spool at once, then to the ledger and the page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use async_channel::Sender;

use crate::block::submission::{BlockState, Input, Output, Submissions};
use crate::block::{SolvedBlock, SubmitAnswer};
use crate::chain::BlockHash;
use crate::clock::Now;
use crate::difficulty::{Difficulty, NBits, Target};
use crate::ledger::record::{self, FoundBlock, WorkerNumber};
use crate::ledger::totals::LedgerEvent;
use crate::node::{NodeId, RpcError};
use crate::pool::ConnId;
use crate::priority::{self, Urgency};
use crate::spool::{Answer, Entry, Spool, SpooledBlock};
use crate::status::{AnswerView, EventKind, Level};

use super::{Event, State};

/// What the spool's thread reports.
#[derive(Debug)]
pub struct Spooled {
    block: BlockHash,
    /// In words, why it could not be written.
    result: Result<(), String>,
}

/// The blocks that were found.
pub struct Blocks {
    submissions: Submissions,
    /// The hex of blocks that are on their way, made once for all nodes.
    hex: BTreeMap<BlockHash, Arc<str>>,
    /// What the nodes said, for the page.
    pub answers: BTreeMap<BlockHash, Vec<AnswerView>>,
    /// When each was solved, and how long the first acceptance took.
    timing: BTreeMap<BlockHash, (Instant, Option<Duration>)>,
    /// Answers to miners that wait until their block is on the card.
    held: Vec<Held>,
    spool: Option<Spool>,
    orders: Option<priority::Sender<SpoolOrder>>,
    /// Why the spool cannot be used.
    pub trouble: Option<String>,
    found: Vec<Entry>,
    notes: Vec<String>,
    /// Lost in an earlier run, which said so.
    known_lost: BTreeSet<BlockHash>,
}

struct Held {
    block: BlockHash,
    conn: ConnId,
    bytes: Vec<u8>,
    /// A card that takes longer is in trouble, and the miner's patience has an end.
    until: Instant,
}

/// See [`Held`].
const HOLD: Duration = Duration::from_secs(10);

enum SpoolOrder {
    Write(Arc<SolvedBlock>),
    Mark(BlockHash, record::BlockState),
    Answered(BlockHash, Answer),
}

impl SpoolOrder {
    /// A block comes before all that is noted about others.
    fn urgency(&self) -> Urgency {
        match self {
            SpoolOrder::Write(_) => Urgency::Urgent,
            SpoolOrder::Mark(..) | SpoolOrder::Answered(..) => Urgency::CanWait,
        }
    }
}

impl Blocks {
    /// Opens the spool. Trouble with it is told on the page and does not keep us from mining.
    pub fn open(data: &Path) -> Blocks {
        let mut blocks = Blocks {
            submissions: Submissions::default(),
            hex: BTreeMap::new(),
            answers: BTreeMap::new(),
            timing: BTreeMap::new(),
            held: Vec::new(),
            spool: None,
            orders: None,
            trouble: None,
            found: Vec::new(),
            notes: Vec::new(),
            known_lost: BTreeSet::new(),
        };
        match Spool::open(&data.join("spool")) {
            Ok((spool, notes)) => {
                blocks.notes = notes;
                match spool.pending() {
                    Ok(found) => blocks.found = found,
                    Err(error) => blocks.trouble = Some(error.to_string()),
                }
                blocks.spool = Some(spool);
            }
            Err(error) => blocks.trouble = Some(error.to_string()),
        }
        blocks
    }

    /// When the submissions are to be ticked.
    pub fn next_deadline(&self) -> Option<Instant> {
        let held = self.held.iter().map(|held| held.until).min();
        [self.submissions.next_deadline(), held].into_iter().flatten().min()
    }

    /// Keeps the answer to a miner until its block is on the card; false where there is none.
    pub fn hold_answer(&mut self, now: Now, block: BlockHash, conn: ConnId, bytes: &[u8]) -> bool {
        // Only a block that was handed to the spool just now is waited for.
        let is_new = self.timing.get(&block).is_some_and(|(since, _)| *since == now.mono);
        if !is_new || self.orders.is_none() {
            return false;
        }
        let until = now.mono + HOLD;
        self.held.push(Held { block, conn, bytes: bytes.to_vec(), until });
        true
    }

    /// The answers that need not wait any more.
    fn release(&mut self, free: impl Fn(&Held) -> bool) -> Vec<Held> {
        self.held.extract_if(.., |held| free(held)).collect()
    }

    /// A block is on its way that no node has yet.
    pub fn is_busy(&self) -> bool {
        self.submissions.is_busy()
    }

    /// Blocks that no node has confirmed yet.
    pub fn waiting(&self) -> usize {
        let waits = |state: &BlockState| {
            matches!(state, BlockState::Candidate | BlockState::Refused { .. })
        };
        self.submissions.blocks().filter(|(_, state)| waits(state)).count()
    }

    /// Where a block stands that is not final yet.
    pub fn state(&self, hash: BlockHash) -> Option<BlockState> {
        let mut blocks = self.submissions.blocks();
        blocks.find(|(block, _)| block.hash == hash).map(|(_, state)| state.clone())
    }

    /// From the solving share to the first node's acceptance.
    pub fn accepted_after(&self, hash: BlockHash) -> Option<Duration> {
        self.timing.get(&hash)?.1
    }

    /// A whole block, for the download.
    pub fn bytes(&self, hash: BlockHash) -> Option<Vec<u8>> {
        if let Some((block, _)) = self.submissions.blocks().find(|(b, _)| b.hash == hash) {
            return Some(block.bytes.clone());
        }
        Some(self.spool.as_ref()?.read(&hash).ok()?.block.bytes)
    }

    fn hex(&mut self, block: &SolvedBlock) -> Arc<str> {
        let make = || Arc::from(faster_hex::hex_string(&block.bytes));
        self.hex.entry(block.hash).or_insert_with(make).clone()
    }

    /// Orders the spool's thread, which is started with the first order: a block once in years
    /// needs no thread that waits for it.
    fn spool(&mut self, order: SpoolOrder, queue: &Sender<Event>) {
        let Some(spool) = &self.spool else { return };
        if self.orders.is_none() {
            let (sender, orders) = priority::channel();
            let (spool, queue) = (spool.clone(), queue.clone());
            let thread = thread::Builder::new().name("spool".into());
            match thread.spawn(move || write_all(&spool, orders, &queue)) {
                Ok(_) => self.orders = Some(sender),
                Err(error) => self.trouble = Some(format!("no thread for the spool: {error}")),
            }
        }
        if let Some(orders) = &self.orders {
            orders.send(order.urgency(), order);
        }
    }
}

fn write_all(spool: &Spool, orders: priority::Receiver<SpoolOrder>, queue: &Sender<Event>) {
    for order in orders {
        let (block, result) = match order {
            SpoolOrder::Write(block) => {
                let spooled = SpooledBlock {
                    hash: block.hash,
                    height: block.height,
                    unix: block.solved_at,
                    reward: block.value,
                    worker: block.worker.clone(),
                    bytes: block.bytes.clone(),
                };
                (block.hash, spool.write(&spooled))
            }
            SpoolOrder::Mark(hash, state) => (hash, spool.mark(&hash, state)),
            SpoolOrder::Answered(hash, answer) => (hash, spool.answered(&hash, answer)),
        };
        let result = result.map_err(|error| error.to_string());
        if queue.send_blocking(Event::Spooled(Spooled { block, result })).is_err() {
            return;
        }
    }
}

impl State {
    /// A block! The submit threads are woken first, then the spool's; everything else follows.
    pub(super) fn solved(&mut self, now: Now, block: SolvedBlock) {
        let block = Arc::new(block);
        let mut outputs = Vec::new();
        self.failover.solved(block.hash, block.height.into());
        let input = Input::Solved(block.clone());
        self.blocks.submissions.handle(now, input, &mut outputs);
        if outputs.is_empty() {
            return;
        }
        self.blocks.timing.insert(block.hash, (now.mono, None));
        let (submits, rest): (Vec<Output>, Vec<Output>) =
            outputs.into_iter().partition(|output| matches!(output, Output::Submit { .. }));
        submits.into_iter().for_each(|output| self.blocks_output(now, output));
        self.blocks.spool(SpoolOrder::Write(block.clone()), &self.queue);
        let text = format!(
            "BLOCK {} solved by {}: {}. It was sent to all nodes.",
            block.height, block.worker, block.hash
        );
        self.tell(now, EventKind::Block, Level::Info, text);
        self.say = Some(format!("BLOCK {} found by {}!", block.height, block.worker));
        self.book_block(now, &block);
        rest.into_iter().for_each(|output| self.blocks_output(now, output));
    }

    /// Takes up the blocks that an earlier run left in the spool.
    pub(super) fn restore_blocks(&mut self, now: Now) {
        self.blocks_input(now, Input::Nodes(self.nodes.ids()));
        for note in std::mem::take(&mut self.blocks.notes) {
            self.tell(now, EventKind::System, Level::Warning, note);
        }
        if let Some(trouble) = self.blocks.trouble.clone() {
            let text = format!("Solved blocks cannot be kept on the card: {trouble}.");
            self.tell(now, EventKind::System, Level::Critical, text);
        }
        for entry in std::mem::take(&mut self.blocks.found) {
            let state = self.restored(entry.progress.state);
            if matches!(state, BlockState::Orphaned { .. }) {
                self.blocks.known_lost.insert(entry.block.hash);
            }
            if state == BlockState::Candidate {
                let height = entry.block.height;
                let text = format!("Block {height} of the spool is offered to the nodes again.");
                self.tell(now, EventKind::Block, Level::Info, text);
            }
            let answers = entry.progress.answers.into_iter().map(said_before);
            self.blocks.answers.insert(entry.block.hash, newest_of_each(answers));
            let block = Arc::new(unspooled(entry.block));
            self.failover.solved(block.hash, block.height.into());
            self.blocks_input(now, Input::Restored(block, state));
        }
    }

    pub(super) fn submitted(
        &mut self,
        now: Now,
        node: NodeId,
        block: BlockHash,
        answer: Result<SubmitAnswer, RpcError>,
    ) {
        let name = self.nodes.name(node);
        let (taken, words) = match &answer {
            Ok(SubmitAnswer::Accepted) => (true, "accepted".to_string()),
            Ok(SubmitAnswer::Duplicate) => (true, "duplicate".to_string()),
            Ok(SubmitAnswer::Inconclusive(words)) => (false, words.clone()),
            Ok(SubmitAnswer::Rejected(reason)) => (false, reason.clone()),
            Err(error) => (false, error.to_string()),
        };
        let said = AnswerView { node: name.clone(), taken, words: words.clone() };
        let answers = self.blocks.answers.entry(block).or_default();
        // A node that is down is asked again and again, and one that has the block is asked after each
        // start: once said is enough.
        let same = |old: &AnswerView| old == &said || (old.node == said.node && old.taken && taken);
        if !answers.iter().any(same) {
            answers.retain(|old| old.node != said.node);
            answers.push(said);
            // That a node still has an old block is no news.
            let known = matches!(self.blocks.state(block), Some(BlockState::Accepted { .. }));
            if !(taken && known) {
                let level = if taken { Level::Info } else { Level::Warning };
                let text = format!("Node {name} about block {block}: {words}.");
                self.tell(now, EventKind::Block, level, text);
            }
            let answer = Answer { unix: now.unix, node: name, answer: words };
            self.blocks.spool(SpoolOrder::Answered(block, answer), &self.queue);
        }
        if taken && let Some((since, took @ None)) = self.blocks.timing.get_mut(&block) {
            *took = Some(now.mono.saturating_duration_since(*since));
        }
        self.blocks_input(now, Input::Answered { node, block, answer });
    }

    pub(super) fn confirmations(
        &mut self,
        now: Now,
        node: NodeId,
        block: BlockHash,
        confirmations: Option<i64>,
    ) {
        self.blocks_input(now, Input::Confirmations { node, block, confirmations });
    }

    pub(super) fn tick_blocks(&mut self, now: Now) {
        if self.blocks.next_deadline().is_some_and(|at| now.mono >= at) {
            self.answer_held(|held| now.mono >= held.until);
            self.blocks_input(now, Input::Tick);
        }
    }

    fn answer_held(&mut self, free: impl Fn(&Held) -> bool) {
        for held in self.blocks.release(free) {
            self.server.send(held.conn, &held.bytes);
        }
    }

    pub(super) fn spooled(&mut self, now: Now, spooled: Spooled) {
        self.answer_held(|held| held.block == spooled.block);
        match spooled.result {
            Ok(()) => self.blocks.trouble = None,
            Err(why) => {
                let text = format!("Block {} cannot be kept on the card: {why}.", spooled.block);
                self.tell(now, EventKind::Block, Level::Critical, text);
                self.blocks.trouble = Some(why);
            }
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
                let hex = self.blocks.hex(&block);
                self.with_handle(node, |handle| handle.submit(block.hash, hex, urgency));
            }
            Output::Precious { node, block } => {
                self.with_handle(node, |handle| handle.precious(block));
            }
            Output::AskConfirmations { node, block } => {
                if self.with_handle(node, |handle| handle.confirmations(block)) == Some(false) {
                    self.blocks_input(now, Input::NotAsked(block));
                }
            }
            Output::Changed { block, state } => self.block_changed(now, &block, state),
        }
    }

    fn block_changed(&mut self, now: Now, block: &SolvedBlock, state: BlockState) {
        let height = block.height;
        let (level, text) = match &state {
            BlockState::Candidate => return,
            BlockState::Refused { reason } => {
                (Level::Critical, format!("Every node refuses block {height}: {reason}."))
            }
            BlockState::Accepted { by, confirmations: 0 } => {
                let name = self.nodes.name(*by);
                self.say = Some(format!("BLOCK {height} is accepted by node {name}!"));
                (Level::Info, format!("BLOCK {height} IS ACCEPTED by node {name}."))
            }
            BlockState::Accepted { confirmations, .. } => {
                (Level::Info, format!("Block {height} has {confirmations} confirmation(s)."))
            }
            BlockState::Orphaned { .. } => (
                Level::Warning,
                format!("Block {height} has left the best chain: another block came first."),
            ),
            BlockState::Mature => {
                (Level::Info, format!("Block {height} is mature: its coins can be spent."))
            }
            BlockState::Stale => {
                (Level::Warning, format!("Block {height} did not make it into the chain."))
            }
        };
        if matches!(state, BlockState::Mature | BlockState::Stale) {
            self.blocks.hex.remove(&block.hash);
        }
        // One confirmation more is seen on the page; it is no news, and not worth a write. Nor is
        // after each start what was said when it happened.
        let known_lost = self.blocks.known_lost.contains(&block.hash);
        if matches!(state, BlockState::Accepted { confirmations: 2.., .. })
            || known_lost && matches!(state, BlockState::Orphaned { .. } | BlockState::Stale)
        {
            return;
        }
        self.blocks.known_lost.remove(&block.hash);
        self.tell(now, EventKind::Block, level, text);
        let recorded = self.recorded(&state);
        self.blocks.spool(SpoolOrder::Mark(block.hash, recorded.clone()), &self.queue);
        self.ledger_event(now, LedgerEvent::Block { hash: block.hash, state: recorded });
    }

    /// How spool and ledger name the state. A block that is not the best chain's may come back
    /// until it is final.
    fn recorded(&self, state: &BlockState) -> record::BlockState {
        match state {
            BlockState::Candidate => record::BlockState::Candidate,
            BlockState::Refused { reason } => {
                record::BlockState::Rejected { reason: reason.clone() }
            }
            BlockState::Accepted { by, confirmations: ..=0 } => {
                record::BlockState::Accepted { node: self.nodes.name(*by) }
            }
            BlockState::Accepted { confirmations, .. } => record::BlockState::Confirmed {
                confirmations: u32::try_from(*confirmations).unwrap_or(u32::MAX),
            },
            BlockState::Mature => record::BlockState::Mature,
            BlockState::Orphaned { .. } | BlockState::Stale => record::BlockState::Stale,
        }
    }

    /// The reverse of [`State::recorded`], after a restart. Whatever it is, it is offered anew; what no
    /// node has answered yet comes first.
    fn restored(&self, state: record::BlockState) -> BlockState {
        let by = |name: &str| {
            let found = self.nodes.iter().find(|(_, node)| node.config.name == name);
            found.map(|(id, _)| id).or(self.nodes.ids().first().copied())
        };
        let accepted = |by, confirmations| BlockState::Accepted { by, confirmations };
        let restored = match state {
            record::BlockState::Accepted { node } => by(&node).map(|by| accepted(by, 0)),
            record::BlockState::Confirmed { confirmations } => {
                by("").map(|by| accepted(by, confirmations.into()))
            }
            record::BlockState::Stale => by("").map(|by| BlockState::Orphaned { by }),
            record::BlockState::Mature => Some(BlockState::Mature),
            record::BlockState::Rejected { reason } => Some(BlockState::Refused { reason }),
            record::BlockState::Candidate => None,
        };
        restored.unwrap_or(BlockState::Candidate)
    }

    fn book_block(&mut self, now: Now, block: &SolvedBlock) {
        let found = LedgerEvent::BlockFound {
            worker: self.books.worker_by_name(now, &block.worker),
            hash: block.hash,
            height: block.height,
            difficulty: Difficulty::of_hash(&block.hash).0,
            reward: block.value,
            payee: self.payee(now, block),
        };
        self.ledger_event(now, found);
    }

    /// Tells the ledger that was just opened of every block that is on its way: the power may have
    /// gone when the spool had it and the ledger had not.
    pub(super) fn book_kept_blocks(&mut self, now: Now) {
        let blocks: Vec<_> =
            self.blocks.submissions.blocks().map(|(b, state)| (b.clone(), state.clone())).collect();
        for (block, state) in blocks {
            let kept = FoundBlock {
                hash: block.hash,
                height: block.height,
                unix: block.solved_at,
                worker: WorkerNumber::TOTAL,
                name: block.worker.clone(),
                difficulty: Difficulty::of_hash(&block.hash).0,
                network_difficulty: network_difficulty(&block),
                reward: block.value,
                payee: self.payee(now, &block),
                state: self.recorded(&state),
                state_unix: now.unix,
            };
            let booked = self.books.ledger.total().totals().blocks;
            self.ledger_event(now, LedgerEvent::BlockKept(Box::new(kept)));
            if self.books.ledger.total().totals().blocks > booked {
                let text = format!("The ledger missed block {}: it is booked now.", block.height);
                self.tell(now, EventKind::Block, Level::Info, text);
            }
        }
    }

    fn payee(&self, now: Now, block: &SolvedBlock) -> String {
        let script = super::view::coinbase_of(&block.bytes).map(|(_, script)| script);
        self.paid(now, script.as_deref())
    }
}

/// What the spool keeps of a node's answer, for the page.
fn said_before(answer: Answer) -> AnswerView {
    let taken = ["accepted", "duplicate"].contains(&&*answer.answer);
    AnswerView { node: answer.node, taken, words: answer.answer }
}

/// A node that said more than one thing is shown with its last.
fn newest_of_each(answers: impl Iterator<Item = AnswerView>) -> Vec<AnswerView> {
    let mut newest: Vec<AnswerView> = Vec::new();
    for answer in answers {
        newest.retain(|old| old.node != answer.node);
        newest.push(answer);
    }
    newest
}

/// What the block's own header asks for; 0 where it asks for nothing possible.
fn network_difficulty(block: &SolvedBlock) -> f64 {
    let bits = block.bytes.get(72..76).and_then(|bits| bits.try_into().ok());
    let target = bits.and_then(|bits| Target::from_nbits(NBits(u32::from_le_bytes(bits))).ok());
    target.map_or(0.0, |target| target.difficulty().0)
}

fn unspooled(spooled: SpooledBlock) -> SolvedBlock {
    let mut prev = [0; 32];
    // The spool hands out whole blocks only, and a block begins with its header.
    prev.copy_from_slice(&spooled.bytes[4..36]);
    SolvedBlock {
        hash: spooled.hash,
        height: spooled.height,
        prev: BlockHash(prev),
        value: spooled.reward,
        worker: spooled.worker,
        solved_at: spooled.unix,
        bytes: spooled.bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_written_before_what_is_noted_about_others() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::open(dir.path()).unwrap();
        let (sender, orders) = priority::channel();
        let (queue, events) = async_channel::unbounded();
        let old = BlockHash([1; 32]);
        let bytes = vec![0; 100];
        let block = SolvedBlock {
            hash: BlockHash(crate::hash::sha256d(&bytes[..80])),
            height: 7,
            prev: BlockHash([0; 32]),
            value: 1,
            worker: "w".into(),
            solved_at: 1,
            bytes,
        };
        let solved = block.hash;
        let answer = Answer { unix: 1, node: "a".into(), answer: "duplicate".into() };
        for order in [
            SpoolOrder::Answered(old, answer),
            SpoolOrder::Mark(old, record::BlockState::Mature),
            SpoolOrder::Write(Arc::new(block)),
        ] {
            sender.send(order.urgency(), order);
        }
        drop(sender);
        write_all(&spool, orders, &queue);
        drop(queue);
        let mut done = Vec::new();
        while let Ok(Event::Spooled(spooled)) = events.recv_blocking() {
            done.push((spooled.block, spooled.result.is_ok()));
        }
        assert_eq!(done, [(solved, true), (old, false), (old, false)]);
        assert!(spool.read(&solved).is_ok());
    }

    #[test]
    fn a_node_is_shown_with_what_it_said_last() {
        let said = |node: &str, answer: &str| {
            said_before(Answer { unix: 1, node: node.into(), answer: answer.into() })
        };
        let told = [said("a", "connection refused"), said("b", "accepted"), said("a", "accepted")];
        let shown = newest_of_each(told.into_iter());
        assert_eq!(
            shown.iter().map(|a| (&*a.node, a.taken)).collect::<Vec<_>>(),
            [("b", true), ("a", true)]
        );
    }
}
