//! The block tree of the world, and how much of it a node has.

use std::collections::{HashMap, HashSet};

use soloist::chain::BlockHash;

use super::Micros;

/// One block, by whomever. All blocks have the same work, so the height says it.
pub struct Block {
    pub hash: BlockHash,
    pub parent: usize,
    pub height: u32,
    pub time: u32,
    /// The first block of its chain that the strict rules refuse: an ancestor, or itself.
    pub breaks: Option<usize>,
}

/// All blocks that there are; nodes name them by their place here.
pub struct Blocks {
    list: Vec<Block>,
    places: HashMap<BlockHash, usize>,
}

impl Blocks {
    /// Twelve blocks that everybody knows, ten minutes apart, the last one at this time.
    pub fn new(height: u32, time: u32) -> Blocks {
        let mut blocks = Blocks { list: Vec::new(), places: HashMap::new() };
        for n in 0..12 {
            let mut hash = [n as u8 + 1; 32];
            hash[31] = 0;
            blocks.add(Block {
                hash: BlockHash(hash),
                parent: (n as usize).saturating_sub(1),
                height: height - 11 + n,
                time: time - 600 * (11 - n),
                breaks: None,
            });
        }
        blocks
    }

    /// A new block on top of another. It stands on whatever rule-breaking block that one stands on, or
    /// `breaks` the strict rules itself.
    pub fn mine(&mut self, hash: BlockHash, parent: usize, time: u32, breaks: bool) -> usize {
        let Block { height, breaks: inherited, .. } = self.list[parent];
        let breaks = inherited.or(breaks.then_some(self.list.len()));
        self.add(Block { hash, parent, height: height + 1, time, breaks })
    }

    fn add(&mut self, block: Block) -> usize {
        self.places.insert(block.hash, self.list.len());
        self.list.push(block);
        self.list.len() - 1
    }

    pub fn get(&self, place: usize) -> &Block {
        &self.list[place]
    }

    pub fn find(&self, hash: BlockHash) -> Option<usize> {
        self.places.get(&hash).copied()
    }

    /// Median time of a block and the ten before it (BIP 113).
    pub fn median_time(&self, place: usize) -> u32 {
        let mut times = [0; 11];
        let mut at = place;
        for time in &mut times {
            *time = self.list[at].time;
            at = self.list[at].parent;
        }
        times.sort_unstable();
        times[5]
    }

    /// Height of the last block that two chains share.
    pub fn fork(&self, mut a: usize, mut b: usize) -> u32 {
        while a != b {
            let higher = if self.list[a].height > self.list[b].height { &mut a } else { &mut b };
            *higher = self.list[*higher].parent;
        }
        self.list[a].height
    }

    /// The block of that height below `tip`, or `None` where the chain is not that long.
    pub fn at_height(&self, tip: usize, height: u32) -> Option<usize> {
        let mut at = tip;
        if self.list[at].height < height {
            return None;
        }
        while self.list[at].height > height {
            at = self.list[at].parent;
        }
        Some(at)
    }
}

/// The blocks that one node has, and its best chain: of two with equal work the one seen first.
pub struct View {
    /// Each block, and when it came.
    known: HashMap<usize, Micros>,
    pub tip: usize,
    /// When each height was reached, rising.
    reached: Vec<(u32, Micros)>,
    /// Blocks that were in its best chain once: their contents were checked.
    connected: HashSet<usize>,
    /// Blocks that were in the best chain and are not any more, and since when.
    left: HashMap<usize, Micros>,
    /// How many blocks of its chain it has given up at once, at most.
    pub deepest_reorganisation: u32,
    /// When it last gave up more than one.
    pub reorganised_at: Option<Micros>,
}

impl View {
    pub fn new(blocks: &Blocks) -> View {
        let all: HashSet<usize> = (0..blocks.list.len()).collect();
        let tip = blocks.list.len() - 1;
        View {
            connected: all.clone(),
            left: HashMap::new(),
            deepest_reorganisation: 0,
            reorganised_at: None,
            known: all.into_iter().map(|block| (block, 0)).collect(),
            tip,
            reached: vec![(blocks.get(tip).height, 0)],
        }
    }

    pub fn knows(&self, block: usize) -> bool {
        self.known.contains_key(&block)
    }

    /// When it got the block.
    pub fn since(&self, block: usize) -> Option<Micros> {
        self.known.get(&block).copied()
    }

    pub fn connected(&self, block: usize) -> bool {
        self.connected.contains(&block)
    }

    /// Whether it is in the best chain, or was since then.
    pub fn had_in_chain(&self, blocks: &Blocks, block: usize, since: Micros) -> bool {
        let was = self.left.get(&block).is_some_and(|left| *left >= since);
        was || self.is_in_chain(blocks, block)
    }

    pub fn is_in_chain(&self, blocks: &Blocks, block: usize) -> bool {
        blocks.at_height(self.tip, blocks.get(block).height) == Some(block)
    }

    /// When this chain became higher than `height`.
    pub fn passed(&self, height: u32) -> Option<Micros> {
        let first = self.reached.partition_point(|(reached, _)| *reached <= height);
        self.reached.get(first).map(|(_, at)| *at)
    }

    /// The last block on the way to `block` below the first one that is refused, by whatever rule, of
    /// those that are missing; `None` where it has that already.
    pub fn acceptable(
        &self,
        blocks: &Blocks,
        block: usize,
        refuses: impl Fn(&Block) -> bool,
    ) -> Option<usize> {
        let (mut at, mut last) = (block, block);
        while !self.knows(at) {
            let Block { parent, .. } = *blocks.get(at);
            if refuses(blocks.get(at)) {
                last = parent;
            }
            at = parent;
        }
        (!self.knows(last)).then_some(last)
    }

    /// Takes a block and those before it that are missing. True when the tip moved.
    pub fn accept(&mut self, blocks: &Blocks, block: usize, now: Micros) -> bool {
        let mut at = block;
        while !self.knows(at) {
            self.known.insert(at, now);
            at = blocks.get(at).parent;
        }
        let moves = blocks.get(block).height > blocks.get(self.tip).height;
        if moves {
            self.move_to(blocks, block, now);
        }
        moves
    }

    /// Prefers a block to another of the same height. True when the tip moved.
    pub fn precious(&mut self, blocks: &Blocks, block: usize, now: Micros) -> bool {
        let same = blocks.get(block).height == blocks.get(self.tip).height;
        let moves = self.knows(block) && same && block != self.tip;
        if moves {
            self.move_to(blocks, block, now);
        }
        moves
    }

    fn move_to(&mut self, blocks: &Blocks, tip: usize, now: Micros) {
        self.leave(blocks, tip, now);
        self.tip = tip;
        let height = blocks.get(tip).height;
        if self.reached.last().is_none_or(|(reached, _)| *reached < height) {
            self.reached.push((height, now));
        }
        let mut at = tip;
        while self.connected.insert(at) {
            at = blocks.get(at).parent;
        }
    }

    /// Notes which blocks the best chain ends to have when its tip becomes `tip`.
    fn leave(&mut self, blocks: &Blocks, tip: usize, now: Micros) {
        let fork = blocks.fork(self.tip, tip);
        let depth = blocks.get(self.tip).height - fork;
        self.deepest_reorganisation = self.deepest_reorganisation.max(depth);
        if depth > 1 {
            self.reorganised_at = Some(now);
        }
        let mut at = self.tip;
        while blocks.get(at).height > fork {
            self.left.insert(at, now);
            at = blocks.get(at).parent;
        }
    }

    /// A crash: what came after `since` was not on the disk yet. Of what is left the chain with most
    /// work is the best one, and of equals the one that came first.
    pub fn lose(&mut self, blocks: &Blocks, since: Micros, now: Micros) {
        self.known.retain(|_, at| *at < since.max(1));
        self.connected.retain(|block| self.known.contains_key(block));
        let order = |(block, at): (&usize, &Micros)| {
            (blocks.get(*block).height, std::cmp::Reverse((*at, *block)))
        };
        let best = self.known.iter().max_by_key(|known| order(*known)).map(|(block, _)| *block);
        let tip = best.unwrap_or_default();
        self.leave(blocks, tip, now);
        self.tip = tip;
        let mut at = tip;
        while self.connected.insert(at) {
            at = blocks.get(at).parent;
        }
        let height = blocks.get(self.tip).height;
        self.reached.retain(|(reached, _)| *reached <= height);
    }
}
