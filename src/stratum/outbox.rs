//! What the pool wants done, in the order in which it is to be done.

use std::ops::Range;
use std::sync::Arc;

use crate::block::SolvedBlock;
use crate::difficulty::Difficulty;
use crate::ids::ConnId;
use crate::reject::Reject;

/// Room that an outbox keeps between uses.
const KEPT_BYTES: usize = 64 * 1024;
const KEPT_ITEMS: usize = 4096;

/// One thing to be done or noted.
#[derive(Debug)]
pub enum Output {
    /// A share solved a block. It stands before everything else that follows from the share.
    Block(Arc<SolvedBlock>),
    /// Bytes for a miner; see [`Outbox::bytes`].
    Send {
        /// To whom.
        conn: ConnId,
        /// Which of the outbox's bytes.
        bytes: Range<usize>,
    },
    /// Close the connection (FIN), after what was sent before.
    Close {
        /// Which.
        conn: ConnId,
        /// Why, for the log and the page.
        why: CloseReason,
    },
    /// A miner left, and its connection goes on: it was one of several channels.
    Left {
        /// Its channel.
        conn: ConnId,
    },
    /// A miner said who it is; its session has the name and the user agent.
    Authorized {
        /// Its connection.
        conn: ConnId,
    },
    /// A share counted.
    Share {
        /// Whose.
        conn: ConnId,
        /// What it is worth: the difficulty of its job.
        credited: Difficulty,
        /// What its hash reached.
        reached: Difficulty,
        /// Height of the block that it was for.
        height: u32,
    },
    /// A share did not count.
    Rejected {
        /// Whose.
        conn: ConnId,
        /// Why.
        why: Reject,
        /// What its hash reached, if there was a job to hash it for.
        reached: Option<Difficulty>,
    },
}

/// Why a connection is closed by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// There is no valid work: the miner is to use its other pool until there is.
    NoWork,
    /// The miner came back on another connection.
    Resumed,
    /// It did not introduce itself in time.
    Silent,
    /// The shared password is wrong.
    BadPassword,
    /// It sends what is no Stratum.
    NotStratum,
}

impl CloseReason {
    /// The reason in words.
    pub fn words(self) -> &'static str {
        match self {
            CloseReason::NoWork => "there is no work to give",
            CloseReason::Resumed => "the miner came back on another connection",
            CloseReason::Silent => "it did not say who it is",
            CloseReason::BadPassword => "wrong password",
            CloseReason::NotStratum => "it does not speak Stratum",
        }
    }
}

/// Outputs, and the bytes that they send: a line for a thousand miners is written once.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    items: Vec<Output>,
    /// The item that sends last, while what follows for the same miner may be joined to it.
    open: Option<usize>,
}

impl Outbox {
    /// An empty outbox. To be used again and again, for its memory.
    pub fn new() -> Outbox {
        Outbox::default()
    }

    /// Adds an output. What is only noted changes nothing about the order of what is sent, and stands before
    /// the answer that goes out: a share that was answered has been counted, whenever the program is killed.
    pub fn push(&mut self, output: Output) {
        match (&output, &mut self.open) {
            (Output::Share { .. } | Output::Rejected { .. }, Some(at)) => {
                self.items.insert(*at, output);
                *at += 1;
            }
            (Output::Share { .. } | Output::Rejected { .. }, None) => self.items.push(output),
            // A block's answer is kept apart, because it may have to wait.
            _ => {
                self.open = None;
                self.items.push(output);
            }
        }
    }

    /// Stores bytes to be sent by [`Outbox::send`], once or many times.
    pub fn write(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// Sends stored bytes. What follows on bytes for the same miner is joined to them, so that the
    /// answers to a burst of shares cost one system call.
    pub fn send(&mut self, conn: ConnId, range: Range<usize>) {
        if let Some(Output::Send { conn: last, bytes }) = self.open.map(|at| &mut self.items[at])
            && *last == conn
            && bytes.end == range.start
        {
            bytes.end = range.end;
            return;
        }
        let answers_block = matches!(self.items.last(), Some(Output::Block(_)));
        self.open = (!answers_block).then_some(self.items.len());
        self.items.push(Output::Send { conn, bytes: range });
    }

    /// Sends what `write` appends.
    pub fn reply(&mut self, conn: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let end = self.bytes.len();
        self.send(conn, start..end);
    }

    /// The bytes of a [`Output::Send`].
    pub fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }

    /// The outputs so far.
    pub fn items(&self) -> &[Output] {
        &self.items
    }

    /// Takes the outputs; their bytes stay until [`Outbox::clear`].
    pub fn take(&mut self) -> Vec<Output> {
        self.open = None;
        std::mem::take(&mut self.items)
    }

    /// Gives the emptied list back, for its memory.
    pub fn give_back(&mut self, mut items: Vec<Output>) {
        if self.items.is_empty() && items.capacity() <= KEPT_ITEMS {
            items.clear();
            self.items = items;
        }
    }

    /// Empties the outbox and keeps its memory, unless it has become large.
    pub fn clear(&mut self) {
        self.open = None;
        self.items.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ConnId = ConnId(1);
    const TWO: ConnId = ConnId(2);

    fn share(conn: ConnId) -> Output {
        let difficulty = Difficulty(1.0);
        Output::Share { conn, credited: difficulty, reached: difficulty, height: 1 }
    }

    fn block() -> Output {
        Output::Block(Arc::new(SolvedBlock {
            hash: crate::chain::BlockHash([0; 32]),
            height: 1,
            unix: 0,
            reward: 0,
            worker: String::new(),
            from_partner: false,
            bytes: Vec::new(),
        }))
    }

    /// What is sent, in order.
    fn sent(out: &Outbox) -> Vec<(u64, &str)> {
        let text = |bytes| std::str::from_utf8(out.bytes(bytes)).unwrap();
        out.items()
            .iter()
            .filter_map(|item| match item {
                Output::Send { conn, bytes } => Some((conn.0, text(bytes))),
                _ => None,
            })
            .collect()
    }

    fn answer(out: &mut Outbox, conn: ConnId, text: &str) {
        out.reply(conn, |bytes| bytes.extend_from_slice(text.as_bytes()));
    }

    #[test]
    fn answers_to_a_burst_are_joined_and_a_blocks_answer_stands_alone() {
        let mut out = Outbox::new();
        answer(&mut out, ONE, "a");
        out.push(share(ONE));
        answer(&mut out, ONE, "b");
        out.push(block());
        answer(&mut out, ONE, "c");
        out.push(share(ONE));
        answer(&mut out, ONE, "d");
        answer(&mut out, ONE, "e");
        answer(&mut out, TWO, "f");
        answer(&mut out, ONE, "g");
        out.push(Output::Close { conn: ONE, why: CloseReason::Silent });
        answer(&mut out, ONE, "h");
        assert_eq!(sent(&out), [(1, "ab"), (1, "c"), (1, "de"), (2, "f"), (1, "g"), (1, "h")]);
    }

    #[test]
    fn shares_are_counted_before_they_are_answered() {
        let mut out = Outbox::new();
        for text in ["a", "b", "c"] {
            answer(&mut out, ONE, text);
            out.push(share(ONE));
        }
        answer(&mut out, TWO, "d");
        out.push(share(TWO));
        assert_eq!(sent(&out), [(1, "abc"), (2, "d")]);
        let order: Vec<_> =
            out.items().iter().map(|item| matches!(item, Output::Send { .. })).collect();
        assert_eq!(order, [false, false, false, true, false, true]);
    }

    #[test]
    fn a_broadcast_is_not_joined_across_miners() {
        let mut out = Outbox::new();
        let line = out.write(b"job");
        out.send(ONE, line.clone());
        out.send(TWO, line.clone());
        out.send(TWO, line);
        assert_eq!(sent(&out), [(1, "job"), (2, "job"), (2, "job")]);
        let items = out.take();
        out.clear();
        out.give_back(items);
        assert!(out.items().is_empty() && out.items.capacity() >= 3);
        answer(&mut out, ONE, "x");
        assert_eq!(sent(&out), [(1, "x")]);
    }
}
