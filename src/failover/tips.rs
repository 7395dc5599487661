//! The tips that the nodes announced: which node was first, and which chain has more work.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::chain::BlockHash;
use crate::histogram::Histogram;
use crate::ids::NodeId;
use crate::node::TipSource;

/// How many tips are remembered; a syncing node announces thousands.
const KEPT: usize = 64;

/// The announced tips, by hash, oldest first.
#[derive(Debug, Default)]
pub(super) struct Tips {
    blocks: VecDeque<Block>,
}

/// One announced tip.
#[derive(Debug)]
struct Block {
    hash: BlockHash,
    first: Instant,
    heard: Vec<NodeId>,
    height: Option<u64>,
    work: Option<[u8; 32]>,
}

/// The place of one announcement in the race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nobody had announced it.
    First,
    /// Another node was first, so much earlier.
    Followed(Duration),
    /// This node had announced it before.
    Known,
}

/// Wins and delays of one node in the race for new tips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RaceStats {
    /// Times it was first by ZMQ, a call that waited, a poll, a template and P2P, in this order.
    pub wins: [u64; 5],
    /// By how much it followed when another was first.
    pub followed: Histogram,
}

impl RaceStats {
    pub(super) fn won(&mut self, source: TipSource) {
        let place = match source {
            TipSource::Zmq => 0,
            TipSource::Wait => 1,
            TipSource::Poll => 2,
            TipSource::Template => 3,
            TipSource::P2p => 4,
        };
        self.wins[place] += 1;
    }
}

impl Tips {
    /// A node announces a tip. `in_use` are hashes that must not be forgotten.
    pub(super) fn announce(
        &mut self,
        at: Instant,
        node: NodeId,
        hash: BlockHash,
        in_use: &[BlockHash],
    ) -> Place {
        if let Some(block) = self.get_mut(hash) {
            if block.heard.contains(&node) {
                return Place::Known;
            }
            block.heard.push(node);
            return Place::Followed(at.saturating_duration_since(block.first));
        }
        if self.blocks.len() >= KEPT {
            let spare = self.blocks.iter().position(|block| !in_use.contains(&block.hash));
            self.blocks.remove(spare.unwrap_or(0));
        }
        let heard = vec![node];
        self.blocks.push_back(Block { hash, first: at, heard, height: None, work: None });
        Place::First
    }

    /// Height and work of a tip became known.
    pub(super) fn learn(&mut self, hash: BlockHash, height: u64, work: Option<[u8; 32]>) {
        if let Some(block) = self.get_mut(hash) {
            block.height = Some(height);
            block.work = work.or(block.work);
        }
    }

    /// When the tip was announced first.
    pub(super) fn first(&self, hash: BlockHash) -> Option<Instant> {
        self.get(hash).map(|block| block.first)
    }

    /// Whether `a` was announced after `b` (also when `b` is long forgotten).
    pub(super) fn is_after(&self, a: BlockHash, b: BlockHash) -> bool {
        let place = |hash| self.blocks.iter().position(|block| block.hash == hash);
        place(a) > place(b)
    }

    /// Height of a tip, where known.
    pub(super) fn height(&self, hash: BlockHash) -> Option<u64> {
        self.get(hash)?.height
    }

    /// Whether height and work are both known.
    pub(super) fn is_known(&self, hash: BlockHash) -> bool {
        self.get(hash).is_some_and(|block| block.height.is_some() && block.work.is_some())
    }

    /// Which of two tips has more work: by chain work where both are known, else by height where
    /// both are known, else `None`.
    pub(super) fn compare(&self, a: BlockHash, b: BlockHash) -> Option<Ordering> {
        if a == b {
            return Some(Ordering::Equal);
        }
        let (a, b) = (self.get(a)?, self.get(b)?);
        match (a.work, b.work) {
            // Big-endian: the order of the bytes is the order of the numbers.
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => Some(a.height?.cmp(&b.height?)),
        }
    }

    fn get(&self, hash: BlockHash) -> Option<&Block> {
        self.blocks.iter().rev().find(|block| block.hash == hash)
    }

    fn get_mut(&mut self, hash: BlockHash) -> Option<&mut Block> {
        self.blocks.iter_mut().rev().find(|block| block.hash == hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u8) -> BlockHash {
        BlockHash([n; 32])
    }

    #[test]
    fn the_first_wins_and_the_others_follow() {
        let mut tips = Tips::default();
        let t = Instant::now();
        let late = Duration::from_millis(40);
        assert_eq!(tips.announce(t, NodeId(1), hash(1), &[]), Place::First);
        assert_eq!(tips.announce(t + late, NodeId(2), hash(1), &[]), Place::Followed(late));
        assert_eq!(tips.announce(t + late, NodeId(2), hash(1), &[]), Place::Known);
        assert_eq!(tips.announce(t + late, NodeId(1), hash(1), &[]), Place::Known);
        assert_eq!(tips.first(hash(1)), Some(t));
        assert_eq!(tips.first(hash(2)), None);
    }

    #[test]
    fn work_decides_then_height_then_nothing() {
        let mut tips = Tips::default();
        let t = Instant::now();
        for n in 1..=3 {
            tips.announce(t, NodeId(1), hash(n), &[]);
        }
        assert_eq!(tips.compare(hash(1), hash(1)), Some(Ordering::Equal));
        assert_eq!(tips.compare(hash(1), hash(2)), None);
        tips.learn(hash(1), 10, None);
        tips.learn(hash(2), 11, None);
        assert_eq!(tips.compare(hash(1), hash(2)), Some(Ordering::Less));
        let work = |n| {
            let mut work = [0; 32];
            work[30] = n;
            Some(work)
        };
        tips.learn(hash(1), 10, work(9));
        assert_eq!(tips.compare(hash(1), hash(2)), Some(Ordering::Less), "only one is known");
        tips.learn(hash(2), 11, work(8));
        assert_eq!(tips.compare(hash(1), hash(2)), Some(Ordering::Greater));
        tips.learn(hash(1), 10, None);
        assert!(tips.is_known(hash(1)), "a template does not erase the work");
        assert!(!tips.is_known(hash(3)));
        assert_eq!(tips.compare(hash(1), hash(9)), None);
    }

    #[test]
    fn memory_is_bounded_and_keeps_what_is_in_use() {
        let mut tips = Tips::default();
        let t = Instant::now();
        for n in 0..200 {
            tips.announce(t, NodeId(1), hash(n), &[hash(0), hash(3)]);
        }
        assert_eq!(tips.blocks.len(), KEPT);
        assert!(tips.first(hash(0)).is_some() && tips.first(hash(3)).is_some());
        assert!(tips.first(hash(1)).is_none());
        assert!(tips.first(hash(199)).is_some());
    }
}
