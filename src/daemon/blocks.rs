//! Solved blocks: to all nodes and into the spool at once, then to the ledger and the page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use async_channel::Sender;

use crate::block::SolvedBlock;
use crate::block::submission::{BlockState, Input, Output, Submissions};
use crate::chain::BlockHash;
use crate::clock::Now;
use crate::difficulty::{Difficulty, NBits, Target};
use crate::ids::{ConnId, NodeId};
use crate::ledger::record::{self, FoundBlock, WorkerNumber};
use crate::ledger::totals::LedgerEvent;
use crate::node::{Position, RpcError, SubmitAnswer};
use crate::priority::{self, Urgency};
use crate::spool::{Answer, Entry, Spool, SpooledBlock};
use crate::status::{AnswerView, EventKind, Level, refusal_advice};

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
    /// When each was solved, and how long it took until a node showed it in its best chain.
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

    /// A block is on its way of which no node has shown yet where it stands.
    pub fn is_busy(&self) -> bool {
        self.submissions.is_busy()
    }

    /// Blocks that no node has shown in its best chain yet.
    pub fn waiting(&self) -> usize {
        let waits = |state: &BlockState| match state {
            BlockState::Candidate | BlockState::Beside | BlockState::Refused { .. } => true,
            BlockState::Accepted { .. }
            | BlockState::Orphaned
            | BlockState::Mature
            | BlockState::Stale => false,
        };
        self.submissions.blocks().filter(|(_, state)| waits(state)).count()
    }

    /// Where a block stands that is not final yet.
    pub fn state(&self, hash: BlockHash) -> Option<BlockState> {
        let mut blocks = self.submissions.blocks();
        blocks.find(|(block, _)| block.hash == hash).map(|(_, state)| state.clone())
    }

    /// From the solving share to the first node that showed it in its best chain.
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
        self.say = Some(format!("BLOCK {} solved by {}!", block.height, block.worker));
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
            let state = self.restored(&entry.progress.state);
            if matches!(state, BlockState::Orphaned) {
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
            let input = match entry.progress.state {
                record::BlockState::Accepted { .. } => Input::Unproven(block),
                _ => Input::Restored(block, state),
            };
            self.blocks_input(now, input);
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
        let answers = self.blocks.answers.entry(block).or_default();
        let before = answers.iter().find(|old| old.node == name);
        let taken = before.is_some_and(|before| before.taken);
        // That it has answered before is no reason; the one that it gave then stays.
        let repeated = answer.as_ref().is_ok_and(SubmitAnswer::is_repeat);
        let words = match (&answer, before) {
            (_, Some(before)) if repeated && is_reason(&before.words) => before.words.clone(),
            (Ok(SubmitAnswer::Accepted), _) => NO_OBJECTION.to_owned(),
            (Ok(SubmitAnswer::Duplicate), _) => DUPLICATE.to_owned(),
            (Ok(SubmitAnswer::Inconclusive(words)), _) => words.clone(),
            (Ok(SubmitAnswer::Rejected(reason)), _) => reason.clone(),
            (Err(error), _) => error.to_string(),
        };
        let said = AnswerView { node: name.clone(), taken, words: words.clone() };
        // A node that is down is asked again and again, and one that has the block is asked after each
        // start: once said is enough.
        if !answers.iter().any(|old| old == &said || taken && repeated && old.node == said.node) {
            answers.retain(|old| old.node != said.node);
            answers.push(said);
            // That a node still has an old block is no news.
            let known = matches!(self.blocks.state(block), Some(BlockState::Accepted { .. }));
            let is_fine = matches!(answer, Ok(SubmitAnswer::Accepted | SubmitAnswer::Duplicate));
            if !(is_fine && known) {
                let level = if is_fine { Level::Info } else { Level::Warning };
                let text = format!("Node {name} about block {block}: {words}.");
                self.tell(now, EventKind::Block, level, text);
            }
            let answer = Answer { unix: now.unix, node: name, answer: words };
            self.blocks.spool(SpoolOrder::Answered(block, answer), &self.queue);
        }
        self.blocks_input(now, Input::Answered { node, block, answer });
    }

    pub(super) fn position(
        &mut self,
        now: Now,
        node: NodeId,
        block: BlockHash,
        answer: &Result<Position, RpcError>,
    ) {
        let position = answer.as_ref().ok().copied();
        self.blocks_input(now, Input::Position { node, block, position });
    }

    /// The page shows of each node whether it has the block in its best chain.
    fn shown(&mut self, node: NodeId, block: BlockHash, in_chain: bool) {
        let name = self.nodes.name(node);
        let answers = self.blocks.answers.entry(block).or_default();
        match answers.iter_mut().find(|answer| answer.node == name) {
            Some(answer) => {
                answer.taken = in_chain;
                if in_chain && is_reason(&answer.words) {
                    answer.words = HAS_IT.to_owned();
                }
            }
            // It got the block from another node, before it answered us.
            None => {
                answers.push(AnswerView { node: name, taken: in_chain, words: "has it".to_owned() })
            }
        }
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
            Output::Look { node, block, height } => {
                if self.with_handle(node, |handle| handle.position(block, height)) == Some(false) {
                    self.blocks_input(now, Input::NotAsked { node, block });
                }
            }
            Output::Shown { node, block, in_chain } => self.shown(node, block, in_chain),
            Output::Changed { block, from, state } => self.block_changed(now, &block, &from, state),
        }
    }

    fn block_changed(
        &mut self,
        now: Now,
        block: &SolvedBlock,
        from: &BlockState,
        state: BlockState,
    ) {
        let height = block.height;
        let (level, text) = match (from, &state) {
            (BlockState::Candidate, BlockState::Candidate) => return,
            // One confirmation more is seen on the page; it is no news, and not worth a write.
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
            (_, BlockState::Refused { reason }) => (Level::Critical, refused(height, reason)),
            (_, BlockState::Accepted { by, .. }) => {
                let name = self.nodes.name(*by);
                self.say = Some(format!("BLOCK {height} is accepted by node {name}!"));
                if let Some((since, took @ None)) = self.blocks.timing.get_mut(&block.hash) {
                    *took = Some(now.mono.saturating_duration_since(*since));
                }
                let text =
                    format!("BLOCK {height} IS ACCEPTED: node {name} has it in its best chain.");
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
        if matches!(state, BlockState::Mature | BlockState::Stale) {
            self.blocks.hex.remove(&block.hash);
        }
        // What was said when it happened is not said again after each start.
        let known_lost = self.blocks.known_lost.contains(&block.hash);
        if known_lost && matches!(state, BlockState::Orphaned | BlockState::Stale) {
            return;
        }
        self.blocks.known_lost.remove(&block.hash);
        self.tell(now, EventKind::Block, level, text);
        let recorded = recorded(&state);
        self.blocks.spool(SpoolOrder::Mark(block.hash, recorded.clone()), &self.queue);
        self.ledger_event(now, LedgerEvent::Block { hash: block.hash, state: recorded });
    }

    /// The reverse of [`recorded`], after a restart. Whatever it is, it is offered anew; what no
    /// node has shown yet comes first.
    fn restored(&self, state: &record::BlockState) -> BlockState {
        let first = self.nodes.ids().first().copied();
        let restored = match state {
            // Written by older versions, which took a node's answer for it.
            record::BlockState::Accepted { .. } | record::BlockState::Candidate => None,
            record::BlockState::Confirmed { confirmations } => {
                let confirmations = (*confirmations).max(1);
                first.map(|by| BlockState::Accepted { by, confirmations })
            }
            record::BlockState::Stale => Some(BlockState::Orphaned),
            record::BlockState::Mature => Some(BlockState::Mature),
            record::BlockState::Rejected { reason } => {
                Some(BlockState::Refused { reason: reason.clone() })
            }
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
                state: recorded(&state),
                state_unix: now.unix,
            };
            let (hash, recorded) = (kept.hash, kept.state.clone());
            let booked = self.books.ledger.total().totals().blocks;
            self.ledger_event(now, LedgerEvent::BlockKept(Box::new(kept)));
            if self.books.ledger.total().totals().blocks > booked {
                let text = format!("The ledger missed block {}: it is booked now.", block.height);
                self.tell(now, EventKind::Block, Level::Info, text);
            }
            // An older version called it accepted by a node's answer alone.
            let known = self.books.ledger.blocks().find(|known| known.hash == hash);
            if recorded == record::BlockState::Candidate
                && known.is_some_and(|k| matches!(k.state, record::BlockState::Accepted { .. }))
            {
                self.ledger_event(now, LedgerEvent::Block { hash, state: recorded });
            }
        }
    }

    fn payee(&self, now: Now, block: &SolvedBlock) -> String {
        let script = super::view::coinbase_of(&block.bytes).map(|(_, script)| script);
        self.paid(now, script.as_deref())
    }
}

/// In place of `submitblock`'s `null`.
const NO_OBJECTION: &str = "no objection";
const DUPLICATE: &str = "duplicate";
/// In place of an answer, where the node got the block by another way.
const HAS_IT: &str = "has it";

/// Whether a node's last words are a reason: one word, while a call's failure is a sentence.
fn is_reason(words: &str) -> bool {
    let answer = SubmitAnswer::parse(Some(words));
    let refuses = matches!(answer, SubmitAnswer::Rejected(_)) && !answer.is_repeat();
    refuses && !words.contains(' ') && words != "accepted"
}

/// How spool and ledger name the state. A block that is not the best chain's may come back until it
/// is final. One that stands beside another is looked at anew after a restart.
fn recorded(state: &BlockState) -> record::BlockState {
    match state {
        BlockState::Candidate | BlockState::Beside => record::BlockState::Candidate,
        BlockState::Refused { reason } => record::BlockState::Rejected { reason: reason.clone() },
        BlockState::Accepted { confirmations, .. } => {
            record::BlockState::Confirmed { confirmations: *confirmations }
        }
        BlockState::Mature => record::BlockState::Mature,
        BlockState::Orphaned | BlockState::Stale => record::BlockState::Stale,
    }
}

fn refused(height: u32, reason: &str) -> String {
    let advice = refusal_advice(reason);
    format!("Every node refuses block {height}: {reason}. {advice}")
}

/// What the spool keeps of a node's answer, for the page. Whether the node has the block now is for
/// the node to show.
fn said_before(answer: Answer) -> AnswerView {
    AnswerView { node: answer.node, taken: false, words: answer.answer }
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
            shown.iter().map(|a| (&*a.node, &*a.words, a.taken)).collect::<Vec<_>>(),
            [("b", "accepted", false), ("a", "accepted", false)]
        );
    }
}
