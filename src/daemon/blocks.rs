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
use crate::ledger::totals::{Ledger, LedgerEvent};
use crate::node::{Position, RpcError, SubmitAnswer};
use crate::priority::{self, Urgency};
use crate::spool::{Answer, Entry, MAX_MATURE, Spool, SpoolError, SpooledBlock};
use crate::status::{AnswerView, EventKind, Level, refusal_advice};

use super::{Event, State};

/// What the spool's thread reports.
#[derive(Debug)]
pub enum Spooled {
    /// A block or its state was written, or in words, why it could not be.
    Written(BlockHash, Result<(), String>),
    /// A mature block was removed, or why it could not be.
    Forgotten(BlockHash, Result<(), String>),
    /// A mature block that the ledger does not know was read, or why it could not be.
    Missed(BlockHash, Result<Box<Booking>, String>),
}

/// What the ledger books of a block of the spool.
#[derive(Debug)]
pub struct Booking {
    found: FoundBlock,
    /// What its coinbase pays to.
    script: Option<Vec<u8>>,
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
    /// The mature blocks that lie in the spool, by height.
    mature: BTreeSet<(u32, BlockHash)>,
    /// Those of them that are older than all that the full ledger lists.
    outlived: BTreeSet<BlockHash>,
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
    Forget(BlockHash),
    /// Read a mature block for the ledger.
    Miss(BlockHash),
}

impl SpoolOrder {
    /// A block comes before all that is noted about others.
    fn urgency(&self) -> Urgency {
        match self {
            SpoolOrder::Write(_) => Urgency::Urgent,
            SpoolOrder::Mark(..)
            | SpoolOrder::Answered(..)
            | SpoolOrder::Forget(_)
            | SpoolOrder::Miss(_) => Urgency::CanWait,
        }
    }
}

/// Why a block cannot be downloaded.
#[derive(Debug)]
pub enum NotInSpool {
    /// There is no such file.
    Absent,
    /// In words, why its file cannot be read.
    Unreadable(String),
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
            mature: BTreeSet::new(),
            outlived: BTreeSet::new(),
        };
        match Spool::open(&data.join("spool")) {
            Ok((spool, notes)) => {
                blocks.notes = notes;
                match spool.pending().and_then(|found| Ok((found, spool.mature()?))) {
                    Ok((found, mature)) => {
                        blocks.found = found;
                        blocks.mature = mature.into_iter().collect();
                    }
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

    /// A whole block that is not final yet.
    pub fn live(&self, hash: BlockHash) -> Option<&Arc<SolvedBlock>> {
        self.submissions.blocks().map(|(block, _)| block).find(|block| block.hash == hash)
    }

    /// Reads a whole block of the spool, on a pool thread.
    pub fn read(
        &self,
        hash: BlockHash,
    ) -> impl Future<Output = Result<Vec<u8>, NotInSpool>> + use<> {
        let spool = self.spool.clone();
        blocking::unblock(move || match spool.map(|spool| spool.read(&hash)) {
            None | Some(Err(SpoolError::Unknown)) => Err(NotInSpool::Absent),
            Some(Err(error)) => Err(NotInSpool::Unreadable(error.to_string())),
            Some(Ok(entry)) => Ok(entry.block.bytes),
        })
    }

    /// Takes the mature blocks that are too many, the oldest, of which the ledger keeps a record
    /// that survives a power cut.
    fn take_spare(&mut self, ledger: &Ledger) -> Vec<BlockHash> {
        let spare = self.mature.len().saturating_sub(MAX_MATURE);
        let oldest = self.mature.iter().take(spare).copied();
        let is_mature = |hash| {
            let known = ledger.blocks().find(|block| block.hash == hash);
            known.is_some_and(|block| block.state == record::BlockState::Mature)
        };
        let booked: Vec<(u32, BlockHash)> = oldest
            .filter(|(_, hash)| {
                is_mature(*hash) && ledger.is_block_saved(hash) || self.outlived.contains(hash)
            })
            .collect();
        for block in &booked {
            self.mature.remove(block);
        }
        booked.into_iter().map(|(_, hash)| hash).collect()
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
    let words = |error: SpoolError| error.to_string();
    for order in orders {
        let done = match order {
            SpoolOrder::Write(block) => {
                let spooled = SpooledBlock {
                    hash: block.hash,
                    height: block.height,
                    unix: block.solved_at,
                    reward: block.value,
                    worker: block.worker.clone(),
                    bytes: block.bytes.clone(),
                };
                Spooled::Written(block.hash, spool.write(&spooled).map_err(words))
            }
            SpoolOrder::Mark(hash, state) => {
                Spooled::Written(hash, spool.mark(&hash, state).map_err(words))
            }
            SpoolOrder::Answered(hash, answer) => {
                Spooled::Written(hash, spool.answered(&hash, answer).map_err(words))
            }
            SpoolOrder::Forget(hash) => {
                Spooled::Forgotten(hash, spool.forget(&hash).map_err(words))
            }
            SpoolOrder::Miss(hash) => {
                let read = spool.read(&hash).map_err(words);
                let booking = read.map(|entry| {
                    let state = entry.progress.state;
                    Box::new(Booking::of(&unspooled(entry.block), state))
                });
                Spooled::Missed(hash, booking)
            }
        };
        if queue.send_blocking(Event::Spooled(done)).is_err() {
            return;
        }
    }
}

impl Booking {
    /// Who is paid, and when it came to this state, is left to the loop.
    fn of(block: &SolvedBlock, state: record::BlockState) -> Booking {
        let found = FoundBlock {
            hash: block.hash,
            height: block.height,
            unix: block.solved_at,
            worker: WorkerNumber::TOTAL,
            name: block.worker.clone(),
            difficulty: Difficulty::of_hash(&block.hash).0,
            network_difficulty: network_difficulty(block),
            reward: block.value,
            payee: String::new(),
            state,
            state_unix: 0,
        };
        let script = super::view::coinbase_of(&block.bytes).map(|(_, script)| script);
        Booking { found, script }
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
        match spooled {
            Spooled::Written(block, result) => {
                self.answer_held(|held| held.block == block);
                match result {
                    Ok(()) => self.blocks.trouble = None,
                    Err(why) => {
                        let text = format!("Block {block} cannot be kept on the card: {why}.");
                        self.tell(now, EventKind::Block, Level::Critical, text);
                        self.blocks.trouble = Some(why);
                    }
                }
            }
            Spooled::Forgotten(block, Ok(())) => {
                self.figures.coinbases.borrow_mut().insert(block, None);
                log::info!("Mature block {block} has left the spool; its record stays.");
            }
            // The next start tries again.
            Spooled::Forgotten(block, Err(why)) => {
                log::warn!("Mature block {block} stays in the spool: {why}.");
            }
            Spooled::Missed(block, Ok(booking)) => {
                self.book_kept(now, *booking);
                if !self.books.ledger.blocks().any(|known| known.hash == block) {
                    self.blocks.outlived.insert(block);
                }
                self.forget_blocks();
            }
            Spooled::Missed(block, Err(why)) => {
                log::warn!("Mature block {block} is not in the ledger and cannot be read: {why}.");
            }
        }
    }

    /// Mature blocks leave the spool when they are too many and their record is on the card.
    pub(super) fn forget_blocks(&mut self) {
        for hash in self.blocks.take_spare(&self.books.ledger) {
            self.blocks.spool(SpoolOrder::Forget(hash), &self.queue);
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
        if recorded == record::BlockState::Mature {
            self.blocks.mature.insert((height, block.hash));
        }
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

    /// Tells the ledger that was just opened of every block of the spool: the power may have gone when
    /// the spool had it, or knew where it stands, and the ledger did not.
    pub(super) fn book_kept_blocks(&mut self, now: Now) {
        let blocks: Vec<_> =
            self.blocks.submissions.blocks().map(|(b, state)| (b.clone(), state.clone())).collect();
        for (block, state) in blocks {
            let (hash, recorded) = (block.hash, recorded(&state));
            self.book_kept(now, Booking::of(&block, recorded.clone()));
            // An older version called it accepted by a node's answer alone.
            let known = self.books.ledger.blocks().find(|known| known.hash == hash);
            if recorded == record::BlockState::Candidate
                && known.is_some_and(|k| matches!(k.state, record::BlockState::Accepted { .. }))
            {
                self.ledger_event(now, LedgerEvent::Block { hash, state: recorded });
            }
        }
        // A mature block is read only when the ledger has never heard of it.
        let known: BTreeSet<_> = self.books.ledger.blocks().map(|block| block.hash).collect();
        for (_, hash) in self.blocks.mature.clone() {
            if known.contains(&hash) {
                let state = record::BlockState::Mature;
                self.ledger_event(now, LedgerEvent::Block { hash, state });
            } else {
                self.blocks.spool(SpoolOrder::Miss(hash), &self.queue);
            }
        }
        self.forget_blocks();
    }

    fn book_kept(&mut self, now: Now, Booking { mut found, script }: Booking) {
        found.payee = self.paid(now, script.as_deref());
        found.state_unix = now.unix;
        let (height, booked) = (found.height, self.books.ledger.total().totals().blocks);
        self.ledger_event(now, LedgerEvent::BlockKept(Box::new(found)));
        if self.books.ledger.total().totals().blocks > booked {
            let text = format!("The ledger missed block {height}: it is booked now.");
            self.tell(now, EventKind::Block, Level::Info, text);
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
        while let Ok(Event::Spooled(Spooled::Written(block, result))) = events.recv_blocking() {
            done.push((block, result.is_ok()));
        }
        assert_eq!(done, [(solved, true), (old, false), (old, false)]);
        assert!(spool.read(&solved).is_ok());
    }

    #[test]
    fn only_what_the_card_knows_to_be_mature_is_spare() {
        let hash = |number: u32| BlockHash([number as u8; 32]);
        let found = |number: u32, state| {
            record::Record::Block(FoundBlock {
                hash: hash(number),
                height: number,
                unix: 1,
                worker: WorkerNumber::TOTAL,
                name: "w".into(),
                difficulty: 1.0,
                network_difficulty: 1.0,
                reward: 1,
                payee: String::new(),
                state,
                state_unix: 1,
            })
        };
        let now = Now { mono: Instant::now(), unix: 1 };
        let mut ledger = Ledger::new(now);
        let mut tell = |event| {
            ledger.handle(now, event, &mut Vec::new());
            let dir = tempfile::tempdir().unwrap();
            let mut blocks = Blocks::open(dir.path());
            blocks.mature = (0..MAX_MATURE as u32 + 3).map(|n| (n, hash(n))).collect();
            blocks.outlived.insert(hash(2));
            let spare = blocks.take_spare(&ledger);
            assert!(spare.iter().all(|hash| !blocks.mature.iter().any(|(_, h)| h == hash)));
            spare
        };
        assert_eq!(tell(LedgerEvent::Tick), [hash(2)], "no record is kept of it any more");
        // The last is one of the newest hundred.
        let records = vec![
            found(0, record::BlockState::Mature),
            found(1, record::BlockState::Confirmed { confirmations: 99 }),
            found(3, record::BlockState::Mature),
        ];
        let opened = crate::ledger::totals::Opened { records, ..Default::default() };
        assert_eq!(tell(LedgerEvent::Opened(Box::new(opened))), [hash(0), hash(2)]);
        // The first batch has a snapshot and no news of it.
        let saved = || LedgerEvent::Saved(Ok(Default::default()));
        tell(saved());
        let mature = LedgerEvent::Block { hash: hash(1), state: record::BlockState::Mature };
        assert_eq!(tell(mature), [hash(0), hash(2)], "not on the card yet");
        assert_eq!(tell(saved()), [hash(0), hash(1), hash(2)]);
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
