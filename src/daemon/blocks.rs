//! Solved blocks: they go to all nodes and into the spool at once, then to the ledger and the page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use async_channel::Sender;

use crate::block::{NodeAnswer, SolvedBlock, StoredState};
use crate::chain::BlockHash;
use crate::clock::Now;
use crate::difficulty::{Difficulty, NBits, Target};
use crate::engine::{Input, stored};
use crate::ledger::record::{FoundBlock, WorkerNumber};
use crate::ledger::totals::{Ledger, LedgerEvent};
use crate::priority_queue::{self, Urgency};
use crate::spool::{Answer, Entry, MAX_MATURE, Spool, SpoolError};
use crate::status::{EventKind, Level};

use super::{Event, State};

/// What the spool's thread reports.
#[derive(Debug)]
pub(super) enum Spooled {
    /// A block or its state was written; or the reason why not.
    Written(BlockHash, Result<(), String>),
    /// A mature block was removed; or the reason why not.
    Forgotten(BlockHash, Result<(), String>),
    /// A mature block that the ledger does not know was read; or the reason why not.
    Missed(BlockHash, Result<Box<Booking>, String>),
}

/// The ledger's record of a block in the spool.
#[derive(Debug)]
pub(super) struct Booking {
    found: FoundBlock,
    /// The script that its coinbase pays.
    script: Option<Vec<u8>>,
    /// It is booked in the other box's ledger.
    is_partners: bool,
}

/// The solved blocks as the spool has them, and the bytes of those that are being submitted.
pub(super) struct SpooledBlocks {
    /// The hex of blocks that are being submitted, made once for all nodes.
    hex: BTreeMap<BlockHash, Arc<str>>,
    spool: Option<Spool>,
    orders: Option<priority_queue::Sender<SpoolOrder>>,
    /// Why the spool cannot be used.
    pub trouble: Option<String>,
    found: Vec<Entry>,
    notes: Vec<String>,
    /// The mature blocks in the spool, by height.
    mature: BTreeSet<(u32, BlockHash)>,
    /// Those of them that are older than every block in the full ledger.
    outlived: BTreeSet<BlockHash>,
}

enum SpoolOrder {
    Write(Arc<SolvedBlock>),
    Mark(BlockHash, StoredState),
    Answered(BlockHash, Answer),
    /// It was solved then, Unix seconds.
    Date(BlockHash, u64),
    Forget(BlockHash),
    /// Read a mature block for the ledger.
    Miss(BlockHash),
}

impl SpoolOrder {
    /// Writing a block comes before notes about other blocks.
    fn urgency(&self) -> Urgency {
        match self {
            SpoolOrder::Write(_) => Urgency::Urgent,
            SpoolOrder::Mark(..)
            | SpoolOrder::Answered(..)
            | SpoolOrder::Date(..)
            | SpoolOrder::Forget(_)
            | SpoolOrder::Miss(_) => Urgency::Normal,
        }
    }
}

/// Why a block cannot be downloaded.
#[derive(Debug)]
pub(super) enum NotInSpool {
    /// There is no such file.
    Absent,
    /// Its file cannot be read, for this reason.
    Unreadable(String),
}

impl SpooledBlocks {
    /// Opens the spool. If that fails, the page says so and mining continues.
    pub(super) fn open(data: &Path) -> SpooledBlocks {
        let mut blocks = SpooledBlocks {
            hex: BTreeMap::new(),
            spool: None,
            orders: None,
            trouble: None,
            found: Vec::new(),
            notes: Vec::new(),
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

    /// Reads a block from the spool, on a pool thread.
    pub(super) fn read(
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

    /// Takes the oldest mature blocks beyond [`MAX_MATURE`] whose record in the ledger survives a
    /// power cut.
    fn take_spare(&mut self, ledger: &Ledger) -> Vec<BlockHash> {
        let spare = self.mature.len().saturating_sub(MAX_MATURE);
        let oldest = self.mature.iter().take(spare).copied();
        let is_mature = |hash| {
            let known = ledger.blocks().find(|block| block.hash == hash);
            known.is_some_and(|block| block.state == StoredState::Mature)
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

    /// A block's hex, made once.
    pub(super) fn hex(&mut self, block: &SolvedBlock) -> Arc<str> {
        let make = || Arc::from(faster_hex::hex_string(&block.bytes));
        self.hex.entry(block.hash).or_insert_with(make).clone()
    }

    /// Whether a block is in the spool as a mature one.
    pub(super) fn is_mature(&self, block: BlockHash) -> bool {
        self.mature.iter().any(|(_, hash)| *hash == block)
    }

    /// Drops the hex of a block that is no longer sent.
    pub(super) fn drop_hex(&mut self, block: BlockHash) {
        self.hex.remove(&block);
    }

    /// Gives an order to the spool's thread. The first order starts it: blocks are too rare for a
    /// thread that waits for them.
    fn spool(&mut self, order: SpoolOrder, queue: &Sender<Event>) {
        let Some(spool) = &self.spool else { return };
        if self.orders.is_none() {
            let (sender, orders) = priority_queue::channel();
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

fn write_all(spool: &Spool, orders: priority_queue::Receiver<SpoolOrder>, queue: &Sender<Event>) {
    let words = |error: SpoolError| error.to_string();
    for order in orders {
        let done = match order {
            SpoolOrder::Write(block) => {
                Spooled::Written(block.hash, spool.write(&block).map_err(words))
            }
            SpoolOrder::Mark(hash, state) => {
                Spooled::Written(hash, spool.mark(&hash, state).map_err(words))
            }
            SpoolOrder::Answered(hash, answer) => {
                Spooled::Written(hash, spool.answered(&hash, answer).map_err(words))
            }
            SpoolOrder::Date(hash, unix) => {
                Spooled::Written(hash, spool.date(&hash, unix).map_err(words))
            }
            SpoolOrder::Forget(hash) => {
                Spooled::Forgotten(hash, spool.forget(&hash).map_err(words))
            }
            SpoolOrder::Miss(hash) => {
                let read = spool.read(&hash).map_err(words);
                let booking = read.map(|entry| {
                    let state = entry.progress.state;
                    Box::new(Booking::of(&entry.block, state))
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
    /// Who is paid is left to the loop, and when it came to this state to the ledger.
    fn of(block: &SolvedBlock, state: StoredState) -> Booking {
        let found = FoundBlock {
            hash: block.hash,
            height: block.height,
            unix: block.unix,
            worker: WorkerNumber::TOTAL,
            name: block.worker.clone(),
            difficulty: Difficulty::of_hash(&block.hash).0,
            network_difficulty: network_difficulty(block),
            reward: block.reward,
            payee: String::new(),
            state,
            state_unix: 0,
        };
        let script = super::view::coinbase_of(&block.bytes).map(|(_, script)| script);
        Booking { found, script, is_partners: block.from_partner }
    }
}

impl State {
    /// Takes over the blocks that an earlier run left in the spool.
    pub(super) fn restore_blocks(&mut self, now: Now) {
        for note in std::mem::take(&mut self.blocks.notes) {
            self.tell(now, EventKind::System, Level::Warning, note);
        }
        if let Some(trouble) = self.blocks.trouble.clone() {
            let text = format!("Solved blocks cannot be kept on the card: {trouble}.");
            self.tell(now, EventKind::System, Level::Critical, text);
        }
        for entry in std::mem::take(&mut self.blocks.found) {
            self.restored_in_pair(now, &entry.block);
            let answers = newest_of_each(entry.progress.answers.into_iter().map(said_before));
            let block = Arc::new(entry.block);
            let state = entry.progress.state;
            self.engine_input(now, Input::Restored { block, state, answers });
        }
    }

    /// Writes a block to the card and into the ledger; the calls to the nodes are under way.
    pub(super) fn keep_solved(&mut self, now: Now, block: &Arc<SolvedBlock>) {
        self.tell_partner_of(now, block);
        self.blocks.spool(SpoolOrder::Write(block.clone()), &self.queue);
        if self.blocks.orders.is_none() {
            // There is no spool to wait for.
            self.engine.handle(now, Input::SpoolDone(block.hash));
        }
        if !block.from_partner {
            self.book_block(now, block);
        }
    }

    /// Writes a block once more: that it is on the card is told anew.
    pub(super) fn keep_again(&mut self, block: &Arc<SolvedBlock>) {
        self.blocks.spool(SpoolOrder::Write(block.clone()), &self.queue);
    }

    pub(super) fn keep_answer(&mut self, now: Now, block: BlockHash, node: String, answer: String) {
        let answer = Answer { unix: now.unix, node, answer };
        self.blocks.spool(SpoolOrder::Answered(block, answer), &self.queue);
    }

    pub(super) fn keep_state(&mut self, now: Now, block: &SolvedBlock, state: StoredState) {
        let hash = block.hash;
        self.blocks.spool(SpoolOrder::Mark(hash, state.clone()), &self.queue);
        if state == StoredState::Mature {
            self.blocks.mature.insert((block.height, hash));
            if block.from_partner {
                // The other box's ledger has it.
                self.blocks.outlived.insert(hash);
            }
        }
        self.ledger_event(now, LedgerEvent::Block { hash, state });
    }

    pub(super) fn spooled(&mut self, now: Now, spooled: Spooled) {
        match spooled {
            Spooled::Written(block, result) => {
                self.engine_input(now, Input::SpoolDone(block));
                match result {
                    Ok(()) => {
                        self.blocks.trouble = None;
                        self.tell_partner_it_is_kept(now, block);
                    }
                    Err(why) => {
                        let text = format!("Block {block} cannot be kept on the card: {why}.");
                        self.tell(now, EventKind::Block, Level::Critical, text);
                        self.blocks.trouble = Some(why);
                    }
                }
            }
            Spooled::Forgotten(block, Ok(())) => {
                self.timings.coinbases.borrow_mut().insert(block, None);
                log::info!("Mature block {block} has left the spool; its record stays.");
            }
            // The next start tries again.
            Spooled::Forgotten(block, Err(why)) => {
                log::warn!("Mature block {block} stays in the spool: {why}.");
            }
            Spooled::Missed(block, Ok(booking)) if booking.is_partners => {
                self.blocks.outlived.insert(block);
                self.forget_blocks();
            }
            Spooled::Missed(block, Ok(booking)) => {
                self.book_kept(now, *booking);
                if !self.ledger.core.blocks().any(|known| known.hash == block) {
                    self.blocks.outlived.insert(block);
                }
                self.forget_blocks();
            }
            Spooled::Missed(block, Err(why)) => {
                log::warn!("Mature block {block} is not in the ledger and cannot be read: {why}.");
            }
        }
    }

    /// The dates of blocks have moved: the spool takes over those of the ledger.
    pub(super) fn date_spool(&mut self) {
        let live = self.engine.blocks().iter().filter_map(|(block, _)| {
            let known = self.ledger.core.blocks().find(|known| known.hash == block.hash)?;
            (known.unix != block.unix).then_some((block.hash, known.unix))
        });
        for (hash, unix) in live.collect::<Vec<_>>() {
            self.blocks.spool(SpoolOrder::Date(hash, unix), &self.queue);
        }
    }

    /// Removes mature blocks beyond [`MAX_MATURE`] whose record is on the card.
    pub(super) fn forget_blocks(&mut self) {
        for hash in self.blocks.take_spare(&self.ledger.core) {
            self.blocks.spool(SpoolOrder::Forget(hash), &self.queue);
        }
    }

    fn book_block(&mut self, now: Now, block: &SolvedBlock) {
        let Some(worker) = self.worker_by_name(&block.worker) else {
            // By the canary, by somebody who has not authorised, or by a worker that was forgotten:
            // none of them is made a miner of.
            let Booking { mut found, script, .. } = Booking::of(block, StoredState::Candidate);
            found.payee = self.paid(now, script.as_deref());
            return self.ledger_event(now, LedgerEvent::BlockKept(Box::new(found)));
        };
        let found = LedgerEvent::BlockFound {
            worker,
            hash: block.hash,
            height: block.height,
            difficulty: Difficulty::of_hash(&block.hash).0,
            reward: block.reward,
            payee: self.payee(now, block),
        };
        self.ledger_event(now, found);
    }

    /// Tells the ledger, which was just opened, of every block in the spool: a power cut may have
    /// come between the spool's write and the ledger's.
    pub(super) fn book_kept_blocks(&mut self, now: Now) {
        let blocks: Vec<_> = self
            .engine
            .blocks()
            .iter()
            .map(|(block, state)| (block.clone(), stored(state)))
            .collect();
        for (block, state) in blocks.into_iter().filter(|(block, _)| !block.from_partner) {
            let hash = block.hash;
            self.book_kept(now, Booking::of(&block, state.clone()));
            // An older version called it accepted on a node's answer alone.
            let known = self.ledger.core.blocks().find(|known| known.hash == hash);
            if state == StoredState::Candidate
                && known.is_some_and(|k| matches!(k.state, StoredState::Accepted { .. }))
            {
                self.ledger_event(now, LedgerEvent::Block { hash, state });
            }
        }
        // A mature block is read only when the ledger has never heard of it.
        let known: BTreeSet<_> = self.ledger.core.blocks().map(|block| block.hash).collect();
        for (_, hash) in self.blocks.mature.clone() {
            if known.contains(&hash) {
                let state = StoredState::Mature;
                self.ledger_event(now, LedgerEvent::Block { hash, state });
            } else {
                self.blocks.spool(SpoolOrder::Miss(hash), &self.queue);
            }
        }
        self.forget_blocks();
    }

    fn book_kept(&mut self, now: Now, Booking { mut found, script, .. }: Booking) {
        found.payee = self.paid(now, script.as_deref());
        let (height, booked) = (found.height, self.ledger.core.total().totals().blocks);
        self.ledger_event(now, LedgerEvent::BlockKept(Box::new(found)));
        if self.ledger.core.total().totals().blocks > booked {
            let text = format!("The ledger missed block {height}: it is booked now.");
            self.tell(now, EventKind::Block, Level::Info, text);
        }
    }

    fn payee(&self, now: Now, block: &SolvedBlock) -> String {
        let script = super::view::coinbase_of(&block.bytes).map(|(_, script)| script);
        self.paid(now, script.as_deref())
    }
}

/// A node's answer from the spool, for the page. Whether the node has the block now is not known
/// until the node shows it.
fn said_before(answer: Answer) -> NodeAnswer {
    NodeAnswer { node: answer.node, words: answer.answer, ..NodeAnswer::default() }
}

/// The last answer of each node.
fn newest_of_each(answers: impl Iterator<Item = NodeAnswer>) -> Vec<NodeAnswer> {
    let mut newest: Vec<NodeAnswer> = Vec::new();
    for answer in answers {
        newest.retain(|old| old.node != answer.node);
        newest.push(answer);
    }
    newest
}

/// The difficulty that the block's own header requires; 0 if its target is invalid.
fn network_difficulty(block: &SolvedBlock) -> f64 {
    let bits = block.bytes.get(72..76).and_then(|bits| bits.try_into().ok());
    let target = bits.and_then(|bits| Target::from_nbits(NBits(u32::from_le_bytes(bits))).ok());
    target.map_or(0.0, |target| target.difficulty().0)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::ledger::record::Record;

    #[test]
    fn a_block_is_written_before_what_is_noted_about_others() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::open(dir.path()).unwrap();
        let (sender, orders) = priority_queue::channel();
        let (queue, events) = async_channel::unbounded();
        let old = BlockHash([1; 32]);
        let bytes = vec![0; 100];
        let block = SolvedBlock {
            hash: BlockHash(crate::hash::sha256d(&bytes[..80])),
            height: 7,
            unix: 1,
            reward: 1,
            worker: "w".into(),
            from_partner: false,
            bytes,
        };
        let solved = block.hash;
        let answer = Answer { unix: 1, node: "a".into(), answer: "duplicate".into() };
        for order in [
            SpoolOrder::Answered(old, answer),
            SpoolOrder::Mark(old, StoredState::Mature),
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
            Record::Block(FoundBlock {
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
            let mut blocks = SpooledBlocks::open(dir.path());
            blocks.mature = (0..MAX_MATURE as u32 + 3).map(|n| (n, hash(n))).collect();
            blocks.outlived.insert(hash(2));
            let spare = blocks.take_spare(&ledger);
            assert!(spare.iter().all(|hash| !blocks.mature.iter().any(|(_, h)| h == hash)));
            spare
        };
        assert_eq!(tell(LedgerEvent::Tick), [hash(2)], "no record is kept of it any more");
        // The last is one of the newest hundred.
        let records = vec![
            found(0, StoredState::Mature),
            found(1, StoredState::Confirmed { confirmations: 99 }),
            found(3, StoredState::Mature),
        ];
        let opened = crate::ledger::totals::Opened { records, ..Default::default() };
        assert_eq!(tell(LedgerEvent::Opened(Box::new(opened))), [hash(0), hash(2)]);
        // The first batch has a snapshot and no news of it.
        let saved = || LedgerEvent::Saved(Ok(Default::default()));
        tell(saved());
        let mature = LedgerEvent::Block { hash: hash(1), state: StoredState::Mature };
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
