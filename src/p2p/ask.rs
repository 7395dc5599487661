//! Our questions. All of them are `getheaders`, and an answer does not say to which one it belongs.
//!
//! Core answers in order, with an empty `headers` where nothing follows; bcoin says nothing then. So
//! answers are told apart by what they hold: the asked header itself, or headers that follow a hash of
//! the locator that was sent. Only an empty answer is given to the oldest question that can have one.

use std::time::{Duration, Instant};

use crate::chain::BlockHash;

/// Time for an answer that may well be none.
const FOLLOWS: Duration = Duration::from_secs(2);
/// Time for a header that we know by its hash.
const HEADER: Duration = Duration::from_secs(5);

/// A question that has no answer yet.
#[derive(Debug)]
pub(super) struct Ask {
    /// What was asked.
    pub(super) what: What,
    /// When.
    at: Instant,
}

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The header with this hash.
    Header(BlockHash),
    /// What follows one of these in the peer's best chain.
    Follows(Vec<BlockHash>),
    /// Whether the block is in the peer's best chain: what follows its parent there.
    Block {
        /// The block.
        block: BlockHash,
        /// Its parent.
        parent: BlockHash,
    },
}

impl Ask {
    /// A question that is sent now.
    pub(super) fn new(what: What, at: Instant) -> Ask {
        Ask { what, at }
    }

    /// When no answer is expected any more.
    pub(super) fn deadline(&self) -> Instant {
        self.at
            + match self.what {
                What::Header(_) => HEADER,
                What::Follows(_) | What::Block { .. } => FOLLOWS,
            }
    }

    /// Bytes on the heap.
    pub(super) fn memory(&self) -> usize {
        match &self.what {
            What::Follows(locator) => locator.capacity() * size_of::<BlockHash>(),
            _ => 0,
        }
    }
}
