//! Whether the own nodes are behind the world: outside nodes, or the headers that an own node has itself,
//! show a chain of more blocks for more than a minute.
//!
//! Each header was checked for its proof of work and for a target that the rules allow, so that more blocks
//! are more work, and a lie costs as much as the truth. It is told all the same, and never mined on.

use std::time::{Duration, Instant};

use crate::clock::Now;

/// For so long must the world be ahead: a block takes its time to each node.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the outside nodes and the own ones show of the chain's height.
#[derive(Debug, Default)]
pub(super) struct Heights {
    /// The own nodes' best tip.
    pub(super) own: Option<u32>,
    /// The best header that an own node has, above its tip.
    pub(super) own_headers: Option<u32>,
    /// The tip of each outside node of which it is known.
    pub(super) outside: Vec<u32>,
}

/// How far the own nodes are behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The own nodes' height.
    pub own: u32,
    /// The world's.
    pub world: u32,
    /// How many outside nodes are ahead; 0 where an own node tells it.
    pub by: usize,
    /// Of how many whose height is known.
    pub of: usize,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// What is so now, and since when the world has been ahead.
    seen: Option<(Behind, Instant)>,
    /// It was told.
    is_told: bool,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The own nodes are behind.
    Behind(Behind),
    /// They have caught up with the height that was told.
    CaughtUp(Behind),
    /// Nobody shows a longer chain any more.
    Withdrawn(Behind),
}

impl Heights {
    /// What they show, if the own nodes are behind. At least half of the outside nodes must be ahead: one
    /// alone may tell what it likes.
    fn behind(&self) -> Option<Behind> {
        let own = self.own?;
        let mut ahead: Vec<u32> = self.outside.iter().copied().filter(|at| *at > own).collect();
        ahead.sort_unstable();
        let of = self.outside.len();
        if !ahead.is_empty() && ahead.len() * 2 >= of {
            // That at least half of those have.
            let world = ahead[ahead.len() / 2 - usize::from(ahead.len().is_multiple_of(2))];
            return Some(Behind { own, world, by: ahead.len(), of });
        }
        let world = self.own_headers.filter(|headers| *headers > own)?;
        Some(Behind { own, world, by: 0, of })
    }
}

impl Watch {
    /// Takes in the present heights; what is to be told.
    pub(super) fn update(&mut self, now: Now, heights: &Heights) -> Option<Change> {
        let Some(behind) = heights.behind() else {
            let (last, _) = self.seen.take()?;
            let is_there = heights.own.is_some_and(|own| own >= last.world);
            let end = if is_there { Change::CaughtUp(last) } else { Change::Withdrawn(last) };
            return std::mem::take(&mut self.is_told).then_some(end);
        };
        let since = match self.seen {
            // A node that takes in blocks, if slowly, begins its minute anew.
            Some((last, _)) if last.own < behind.own && !self.is_told => now.mono,
            Some((_, since)) => since,
            None => now.mono,
        };
        self.seen = Some((behind, since));
        if self.is_told || now.mono < since + PATIENCE {
            return None;
        }
        self.is_told = true;
        Some(Change::Behind(behind))
    }

    /// How far the own nodes are behind, once it was told, and since when that is so.
    pub(super) fn told(&self) -> Option<(Behind, Instant)> {
        self.seen.filter(|_| self.is_told)
    }

    /// When [`Watch::update`] is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let (_, since) = self.seen.filter(|_| !self.is_told)?;
        Some(since + PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heights(own: u32, outside: &[u32]) -> Heights {
        Heights { own: Some(own), own_headers: None, outside: outside.to_vec() }
    }

    struct Trial {
        now: Now,
        watch: Watch,
    }

    impl Trial {
        fn new() -> Trial {
            let now = Now { mono: Instant::now(), unix: 0 };
            Trial { now, watch: Watch::default() }
        }

        fn after(&mut self, seconds: u64, heights: &Heights) -> Option<Change> {
            self.now.mono += Duration::from_secs(seconds);
            self.watch.update(self.now, heights)
        }
    }

    #[test]
    fn a_minute_behind_is_told_once_and_so_is_its_end() {
        let mut trial = Trial::new();
        assert_eq!(trial.after(0, &heights(100, &[100, 100])), None);
        let late = heights(100, &[103, 104, 100]);
        assert_eq!(trial.after(5, &late), None);
        assert_eq!(trial.watch.next_deadline(), Some(trial.now.mono + PATIENCE));
        assert_eq!((trial.after(59, &late), trial.watch.told()), (None, None));
        let behind = Behind { own: 100, world: 103, by: 2, of: 3 };
        assert_eq!(trial.after(1, &late), Some(Change::Behind(behind)));
        assert_eq!(trial.after(900, &late), None);
        assert_eq!(trial.watch.told(), Some((behind, trial.now.mono - Duration::from_secs(960))));
        // Some blocks more do not end it.
        assert_eq!(trial.after(5, &heights(101, &[103, 104, 100])), None);
        let last = Behind { own: 101, ..behind };
        let there = heights(103, &[103, 104, 100]);
        assert_eq!(trial.after(5, &there), Some(Change::CaughtUp(last)));
        assert_eq!((trial.watch.told(), trial.watch.next_deadline()), (None, None));
        assert_eq!(trial.after(500, &there), None);
    }

    #[test]
    fn a_block_that_comes_within_the_minute_is_no_matter() {
        let mut trial = Trial::new();
        for block in 0..10 {
            assert_eq!(trial.after(1, &heights(100 + block, &[101 + block; 4])), None);
            assert_eq!(trial.after(50, &heights(101 + block, &[101 + block; 4])), None);
        }
        // Nor is a node that is always one behind, as long as it goes on.
        for block in 0..10 {
            assert_eq!(trial.after(50, &heights(200 + block, &[202 + block; 4])), None, "{block}");
        }
    }

    #[test]
    fn one_of_four_is_not_believed() {
        let mut trial = Trial::new();
        let lie = heights(100, &[900, 100, 100, 100]);
        assert_eq!(trial.after(0, &lie), None);
        assert_eq!(trial.after(1000, &lie), None);
        let two = heights(100, &[900, 101, 100, 100]);
        assert_eq!(trial.after(0, &two), None);
        let behind = Behind { own: 100, world: 101, by: 2, of: 4 };
        assert_eq!(trial.after(60, &two), Some(Change::Behind(behind)));
        // Without them the alarm ends.
        assert_eq!(trial.after(60, &lie), Some(Change::Withdrawn(behind)));
    }

    #[test]
    fn an_own_node_that_has_headers_without_their_blocks_tells_it_as_well() {
        let mut trial = Trial::new();
        let own = Heights { own_headers: Some(104), ..heights(100, &[]) };
        assert_eq!(trial.after(0, &own), None);
        let behind = Behind { own: 100, world: 104, by: 0, of: 0 };
        assert_eq!(trial.after(60, &own), Some(Change::Behind(behind)));
        assert_eq!(trial.after(0, &heights(104, &[])), Some(Change::CaughtUp(behind)));
        // Where nothing is known of the own nodes, nothing is told.
        let unknown = Heights { own: None, ..heights(0, &[500]) };
        assert_eq!(trial.after(0, &unknown), None);
        assert_eq!(trial.after(600, &unknown), None);
    }
}
