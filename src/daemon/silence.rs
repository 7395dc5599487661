//! Detects a ZMQ publisher that is never heard although its node has new blocks. Pure.
//!
//! ```text
//!              seen otherwise            10 s without ZMQ
//!   (nothing) ────────────────▶ waiting ──────────────────▶ missed, once more
//!       ▲                          │                           │
//!       └────────── heard ─────────┴───────────────────────────┘
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::chain::BlockHash;
use crate::clock::Now;

/// A tip that ZMQ has not announced this long after it was seen in another way counts as missed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Number of known tips: no node announces a return to one of them.
const KEPT: usize = 64;

/// The tips of one node that were announced by ZMQ or seen in another way.
#[derive(Debug)]
pub(super) struct Silence {
    begun: Instant,
    heard: Option<Instant>,
    known: VecDeque<BlockHash>,
    /// When a tip was first seen in another way, which ZMQ may still announce.
    waiting: Option<Instant>,
    /// Tips in a row that ZMQ did not announce, and when the last of them came.
    missed: u32,
    missed_at: Instant,
}

/// A silent publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Silent {
    /// When it was last heard, Unix seconds; `None` if never.
    pub heard: Option<u64>,
    /// Since when we are subscribed, Unix seconds.
    pub begun: u64,
    /// When the node had its last new block, Unix seconds.
    pub block: u64,
}

impl Silence {
    /// Starts the detection. The first tip that is seen was there before and does not count.
    pub(super) fn new(now: Now) -> Silence {
        Silence {
            begun: now.mono,
            heard: None,
            known: VecDeque::new(),
            waiting: None,
            missed: 0,
            missed_at: now.mono,
        }
    }

    /// ZMQ announced a tip.
    pub(super) fn heard(&mut self, now: Now, tip: BlockHash) {
        self.remember(tip);
        self.heard = Some(now.mono);
        (self.waiting, self.missed) = (None, 0);
    }

    /// The node's tip was seen in another way.
    pub(super) fn seen(&mut self, now: Now, tip: BlockHash) {
        if let Some(since) = self.waiting.take_if(|since| is_over(now, *since)) {
            self.missed += 1;
            self.missed_at = since;
        }
        let first = self.known.is_empty();
        if self.remember(tip) && !first {
            self.waiting = Some(now.mono);
        }
    }

    /// The node is in its initial download, during which it announces nothing.
    pub(super) fn downloading(&mut self) {
        self.known.clear();
        (self.waiting, self.missed) = (None, 0);
    }

    /// Whether the publisher is silent. On a good connection one message may be lost, but not two
    /// in a row.
    pub(super) fn silent(&self, now: Now, connected: bool) -> Option<Silent> {
        let over = self.waiting.filter(|since| is_over(now, *since));
        let missed = self.missed + u32::from(over.is_some());
        let enough = if connected { 2 } else { 1 };
        (missed >= enough).then(|| Silent {
            heard: self.heard.map(|heard| now.date_of(heard)),
            begun: now.date_of(self.begun),
            block: now.date_of(over.unwrap_or(self.missed_at)),
        })
    }

    /// True if the tip is new.
    fn remember(&mut self, tip: BlockHash) -> bool {
        if self.known.contains(&tip) {
            return false;
        }
        if self.known.len() == KEPT {
            self.known.pop_front();
        }
        self.known.push_back(tip);
        true
    }
}

/// Whether ZMQ had its time for a tip that was seen then.
fn is_over(now: Now, since: Instant) -> bool {
    now.mono.saturating_duration_since(since) >= PATIENCE
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene(Silence, Instant);

    impl Scene {
        fn new() -> Scene {
            let start = Instant::now();
            Scene(Silence::new(Now { mono: start, unix: 0 }), start)
        }

        fn at(&self, second: u64) -> Now {
            Now { mono: self.1 + Duration::from_secs(second), unix: second }
        }

        fn heard(&mut self, second: u64, tip: u8) {
            let now = self.at(second);
            self.0.heard(now, BlockHash([tip; 32]));
        }

        fn seen(&mut self, second: u64, tip: u8) {
            let now = self.at(second);
            self.0.seen(now, BlockHash([tip; 32]));
        }

        /// The time of the block, when it is silent: on a good connection, and without one.
        fn silent(&self, second: u64) -> [Option<u64>; 2] {
            [true, false].map(|on| self.0.silent(self.at(second), on).map(|silent| silent.block))
        }
    }

    #[test]
    fn two_blocks_in_a_row_are_an_alarm_and_one_without_a_connection() {
        let mut scene = Scene::new();
        scene.seen(1, 1);
        assert_eq!(scene.silent(1000), [None, None], "that tip was there before");
        scene.heard(60, 2);
        scene.seen(61, 2);
        scene.seen(600, 3);
        scene.seen(601, 3);
        assert_eq!(scene.silent(609), [None, None]);
        assert_eq!(scene.silent(610), [None, Some(600)]);
        scene.seen(1200, 4);
        assert_eq!(scene.silent(1209), [None, Some(600)]);
        assert_eq!(scene.silent(1210), [Some(1200), Some(1200)]);
        let silent = scene.0.silent(scene.at(1210), true).unwrap();
        assert_eq!((silent.heard, silent.begun), (Some(60), 0));
        scene.seen(1300, 4);
        assert_eq!(scene.silent(9000), [Some(1200), Some(1200)], "it stays");
        scene.heard(9001, 5);
        assert_eq!(scene.silent(9002), [None, None], "one message ends it");
    }

    #[test]
    fn a_single_lost_message_and_a_late_one_are_no_alarm() {
        let mut scene = Scene::new();
        scene.seen(0, 1);
        scene.seen(100, 2);
        scene.heard(200, 3);
        scene.seen(300, 4);
        scene.heard(309, 4);
        scene.seen(310, 4);
        scene.seen(400, 5);
        assert_eq!(scene.silent(10_000)[0], None);
        // Blocks in quick succession count as one.
        let mut scene = Scene::new();
        (0..9).for_each(|n| scene.seen(u64::from(n) * 9, n));
        assert_eq!(scene.silent(81), [None, None]);
        assert_eq!(scene.silent(82), [None, Some(72)]);
    }

    #[test]
    fn a_download_and_a_way_back_are_no_alarm() {
        let mut scene = Scene::new();
        for n in 0..50 {
            scene.seen(u64::from(n) * 30, n);
            if n % 2 == 0 {
                scene.0.downloading();
            }
        }
        assert_eq!(scene.silent(1499), [None, None]);
        scene.0.downloading();
        scene.seen(2000, 60);
        assert_eq!(scene.silent(3000), [None, None], "the tip at the end of it");
        scene.heard(3000, 61);
        // invalidateblock and reconsiderblock.
        scene.seen(3100, 60);
        scene.seen(3200, 61);
        scene.seen(3300, 60);
        assert_eq!(scene.silent(9000), [None, None]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut scene = Scene::new();
        (0..=255).for_each(|n| scene.seen(u64::from(n) * 600, n));
        assert_eq!(scene.0.known.len(), KEPT);
        assert_eq!(scene.silent(600 * 256), [Some(600 * 255), Some(600 * 255)]);
    }
}
