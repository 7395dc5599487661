//! What the pool wants done, in the order in which it is to be done.

use std::ops::Range;

use crate::block::SolvedBlock;
use crate::difficulty::Difficulty;
use crate::stratum::reply::Reject;

/// A miner's connection. Given by the server, never used twice within one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// One thing to be done or noted.
#[derive(Debug)]
pub enum Output {
    /// A share solved a block. It stands before everything else that follows from the share.
    Block(Box<SolvedBlock>),
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
}

impl Outbox {
    /// An empty outbox. To be used again and again, for its memory.
    pub fn new() -> Outbox {
        Outbox::default()
    }

    /// Adds an output.
    pub fn push(&mut self, output: Output) {
        self.items.push(output);
    }

    /// Stores bytes to be sent by [`Outbox::send`], once or many times.
    pub fn write(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// Sends stored bytes. What follows directly on bytes for the same miner is joined to them.
    pub fn send(&mut self, conn: ConnId, range: Range<usize>) {
        if let Some(Output::Send { conn: last, bytes }) = self.items.last_mut()
            && *last == conn
            && bytes.end == range.start
        {
            bytes.end = range.end;
        } else {
            self.items.push(Output::Send { conn, bytes: range });
        }
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
        std::mem::take(&mut self.items)
    }

    /// Empties the outbox and keeps its memory, unless it has become large.
    pub fn clear(&mut self) {
        self.items.clear();
        self.bytes.clear();
        self.bytes.shrink_to(64 * 1024);
    }
}
