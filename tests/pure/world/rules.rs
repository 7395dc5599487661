//! Two sets of rules: strict ones refuse a block now and then that the others take. The rest of the
//! world mines by both, and its hash power shifts between them, so that splits begin and heal.

use soloist::chain::BlockHash;
use soloist::failover::Follow;
use soloist::node::{InvalidBranch, MAX_BRANCHES, RpcError};

use super::Micros;
use super::chain::{Blocks, View};
use super::node::{Answer, Answered, Node, Words, is_too_new};
use super::sim::{Event, SECOND, World};

/// The first node's rules are known after this at the latest: it is asked again after 60 s, and both
/// questions take 28 s at the most, with the patience for news.
pub const JUDGED_AFTER: Micros = 100 * SECOND;
/// Mean time between blocks of the rest of the world.
const BLOCK_EVERY: Micros = 60 * SECOND;
/// The same while the strict rules catch up, so that no split becomes a hundred blocks deep: what is
/// mature is never given up.
const CATCH_UP_EVERY: Micros = 20 * SECOND;
/// Mean time until the hash power shifts.
const SHIFT_EVERY: Micros = 8 * 60 * SECOND;

/// A branch that a node has refused.
pub struct Refused {
    /// The block that breaks its rules.
    pub first: usize,
    /// The last block of the branch whose header it took before it knew that.
    tip: usize,
    /// When it refused it.
    pub at: Micros,
}

/// How the rest of the world mines.
pub struct Power {
    /// Of a hundred blocks so many are mined by the strict rules.
    strict: u64,
    /// The next block by the other rules breaks the strict ones.
    breaks_next: bool,
    /// Until when a split may last before the strict rules get nearly all hash power.
    split_until: Option<Micros>,
}

impl Power {
    /// All by the rules of most work.
    pub fn new() -> Power {
        Power { strict: 0, breaks_next: false, split_until: None }
    }
}

impl Node {
    /// What it has of a chain that its rules refuse: whatever was refused stays so, and takes no header
    /// on top of it.
    pub fn has_refused(&self, blocks: &Blocks, block: usize) -> bool {
        let Some(first) = blocks.get(block).breaks else { return false };
        let height = blocks.get(block).height;
        let mut branches = self.refused.iter().filter(|refused| refused.first == first);
        branches.any(|refused| blocks.at_height(refused.tip, height) == Some(block))
    }

    /// It has refused a chain with this block, or this block is one of a branch that it has refused; also
    /// what it has forgotten since.
    pub fn ever_refused(&self, blocks: &Blocks, block: usize) -> bool {
        let height = blocks.get(block).height;
        let mut ever = self.ever_refused.iter();
        ever.any(|tip| blocks.at_height(*tip, height) == Some(block))
    }

    /// It hears of a chain with most work, up to `block`. By its rules it refuses what breaks them.
    pub fn refuse(&mut self, blocks: &Blocks, block: usize, unix: u64, now: Micros) {
        if !self.strict || self.words == Words::Bcoin {
            return;
        }
        let clock = self.clock(unix);
        let header = |block: &super::chain::Block| is_too_new(block, clock);
        let Some(tip) = self.view.acceptable(blocks, block, header) else { return };
        let Some(first) = blocks.get(tip).breaks else { return };
        // It does not try a chain that has no more work than its own.
        let has_more = blocks.get(tip).height > blocks.get(self.view.tip).height;
        if has_more && self.refused.iter().all(|refused| refused.first != first) {
            self.refused.push(Refused { first, tip, at: now });
            self.ever_refused.push(tip);
        }
    }

    /// The answer to `getchaintips`, as far as it is read.
    pub fn chain_tips(&self, blocks: &Blocks) -> Answered {
        if !self.tells {
            return Err(RpcError::Forbidden { method: "getchaintips" });
        }
        let mut branches: Vec<InvalidBranch> = self
            .refused
            .iter()
            .map(|refused| {
                let tip = blocks.get(refused.tip);
                let length = u64::from(tip.height - blocks.fork(refused.tip, self.view.tip));
                InvalidBranch { height: tip.height.into(), tip: tip.hash, length }
            })
            .collect();
        branches.sort_by_key(|branch| std::cmp::Reverse(branch.height));
        branches.truncate(MAX_BRANCHES);
        Ok(Answer::ChainTips(branches))
    }

    /// The answers to `getblockhash`: the blocks of its best chain.
    pub fn blocks_at(&self, blocks: &Blocks, heights: &[u64]) -> Vec<(u64, BlockHash)> {
        let at = |height: &u64| {
            let place = blocks.at_height(self.view.tip, u32::try_from(*height).ok()?)?;
            Some((*height, blocks.get(place).hash))
        };
        heights.iter().filter_map(at).collect()
    }

    /// It refuses blocks, and says which when it is asked.
    pub fn can_say_what_it_refuses(&self) -> bool {
        self.strict && self.tells && self.words != Words::Bcoin
    }
}

// -- the rest of the world --

impl World {
    /// The places of both among the peers: those who follow most work, and those with strict rules.
    pub fn places_of_the_rest(&self) -> [usize; 2] {
        [self.nodes.len(), self.nodes.len() + 1]
    }

    pub fn view_of_the_rest(&mut self, place: usize) -> &mut View {
        if place == self.nodes.len() { &mut self.net } else { &mut self.strict_net }
    }

    pub fn others_block(&mut self) {
        let late = self.power.split_until.is_some_and(|until| self.now > until);
        let wait = self.random.wait(if late { CATCH_UP_EVERY } else { BLOCK_EVERY });
        self.in_(wait, Event::OthersBlock);
        let by_strict = self.random.below(100) < if late { 95 } else { self.power.strict };
        let place = self.places_of_the_rest()[usize::from(by_strict)];
        let parent = self.view_of_the_rest(place).tip;
        let breaks = !by_strict && std::mem::take(&mut self.power.breaks_next);
        let clock = self.clock().unix as u32;
        let time = clock - 30 + self.random.below(60) as u32;
        let time = time.max(self.blocks.median_time(parent) + 1);
        let hash = BlockHash(self.random.bytes());
        let block = self.blocks.mine(hash, parent, time, breaks);
        self.figures.others += 1;
        self.rest_takes(place, block);
    }

    /// A block comes to the rest of the world, which tells it to all others.
    pub fn rest_hears(&mut self, place: usize, block: usize) {
        let (unix, is_strict) = (self.clock().unix, place > self.nodes.len());
        let view = if is_strict { &self.strict_net } else { &self.net };
        let refuses = |block: &super::chain::Block| {
            is_too_new(block, unix) || is_strict && block.breaks.is_some()
        };
        if let Some(block) = view.acceptable(&self.blocks, block, refuses) {
            self.rest_takes(place, block);
        }
    }

    fn rest_takes(&mut self, place: usize, block: usize) {
        let now = self.now;
        let view = if place == self.nodes.len() { &mut self.net } else { &mut self.strict_net };
        view.accept(&self.blocks, block, now);
        self.spread(place, block);
        self.strangers_follow(place);
        self.look_at_split();
    }

    /// A split lasts while those who follow most work are on a block that the strict rules refuse.
    fn look_at_split(&mut self) {
        let is_split = self.blocks.get(self.net.tip).breaks.is_some();
        match (is_split, self.power.split_until) {
            (true, None) => {
                let span = self.random.between(2, 30) * 60 * SECOND;
                self.power.split_until = Some(self.now + span);
                self.figures.splits += 1;
            }
            (false, Some(_)) => {
                self.power.split_until = None;
                self.figures.healed += 1;
                self.plan_split();
            }
            _ => {}
        }
    }

    /// The next split, if there are any.
    pub fn plan_split(&mut self) {
        if let Some(mean) = self.plan.split_every {
            let wait = self.random.wait(mean);
            self.in_(wait, Event::Split);
        }
    }

    pub fn begin_split(&mut self) {
        self.power.breaks_next = true;
    }

    pub fn shift_power(&mut self) {
        self.power.strict = [10, 30, 50, 70, 90][self.random.index(5)];
        let wait = self.random.wait(SHIFT_EVERY);
        self.in_(wait, Event::Shift);
    }
}

// -- what the owner's setting allows --

impl World {
    /// From when on a node's newer tip must be followed, as far as its rules go; `None` while the
    /// owner's setting forbids it. The moment is that after which nothing more is to be found out, with
    /// the time that has to pass after any new tip.
    pub fn followed_from(&self, index: usize) -> Option<(Micros, Micros)> {
        let first = &self.nodes[0];
        if self.follow == Follow::Work || index == 0 {
            return Some((0, 0));
        }
        let away = first.away_since.map(|since| since.max(self.up_since()) + JUDGED_AFTER);
        if let Some(away) = away.filter(|away| *away <= self.now) {
            return Some((away, 0));
        }
        let node = &self.nodes[index];
        let is_refused =
            first.can_say_what_it_refuses() && self.blocks.get(node.view.tip).breaks.is_some();
        (!is_refused).then_some((node.side_since, JUDGED_AFTER))
    }

    /// Work on this block is forbidden: the first node's rules decide, it has refused an ancestor of it,
    /// and both have been so for longer than its asking can take and for `late` more.
    pub fn is_forbidden(&self, block: usize, late: Micros) -> bool {
        let first = &self.nodes[0];
        let decides = self.follow == Follow::First && first.can_say_what_it_refuses();
        let Some(breaks) = self.blocks.get(block).breaks.filter(|_| decides) else { return false };
        let Some(judges) = first.judges_since else { return false };
        // Of a chain that is no longer than its own it need not have been asked.
        if self.blocks.get(block).height <= self.blocks.get(first.view.tip).height {
            return false;
        }
        let mut refused = first.refused.iter().filter(|refused| refused.first == breaks);
        refused.any(|refused| {
            let since = refused.at.max(judges).max(self.up_since());
            self.now > since + JUDGED_AFTER + late
        })
    }
}
