//! The life of a solved block: it is offered to every node until one shows it in its best chain,
//! and then watched until its coinbase can be spent.
//!
//! ```text
//!                       a node shows it in its best chain
//!  Candidate ────────────────────────────────────────────────► Accepted ── 100 confirmations ──► Mature
//!     │  │                                                      ▲ ▲ │
//!     │  │ a node has it beside another of its height           │ │ │ no node shows it in its best
//!     │  └────────────────────► Beside ── the next block ───────┘ │ │ chain any more
//!     │ all nodes                 │        is on ours             │ ▼
//!     │ refuse it                 └── the next block is ───────► Orphaned ── 100 blocks later ──► Stale
//!     ▼                               on the other
//!  Refused ── still offered: a node that was behind may take it ──► Accepted
//! ```
//!
//! The answer of `submitblock` (`null`, `duplicate`, `inconclusive`, nothing) changes no state. It
//! only decides when to look at the node, and to look again after 0.1 s, 0.2 s, … until the state
//! is known. The proof is the node's best chain: the header has confirmations and the block of that
//! height is ours ([`Position`]), or our block is the node's tip. The one exception is a refusal.
//!
//! The block is offered to each node separately, at once and in parallel; `NodeOffer` has the pauses. A
//! node is asked about one block at a time, undecided blocks first. A new height ends nothing: the
//! new block may be on our own block's fork.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::SolvedBlock;
use super::offer::{FIRST_RETRY, NodeOffer, is_repeat};
use crate::chain::BlockHash;
use crate::clock::Now;
use crate::ids::NodeId;
use crate::node::{Ask, Position, RpcError, SubmitAnswer};
use crate::priority_queue::Urgency;

/// Confirmations at which the coinbase can be spent in the next block.
pub const MATURITY: u32 = 100;

/// Number of blocks after which a race for a height is over.
const CONTESTED: u32 = 6;
/// When the question where a node has a block is given up. Longer than the deadlines of its calls.
const UNANSWERED: Duration = Duration::from_secs(30);

/// The state of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockState {
    /// Submitted. No node has shown yet where it has the block.
    Candidate,
    /// A node has it beside another block of the same height: the next block decides.
    Beside,
    /// Every node that answered refused it; the reason is the first one's.
    Refused {
        /// The node's reason.
        reason: String,
    },
    /// A node has it in its best chain, with this many confirmations at the last look.
    Accepted {
        /// The node that showed it first.
        by: NodeId,
        /// At least 1.
        confirmations: u32,
    },
    /// The nodes' best chains have another block of its height, and more blocks on that.
    Orphaned,
    /// 100 confirmations: the reward is the owner's. Final.
    Mature,
    /// 100 blocks passed without it in the best chain. Final.
    Stale,
}

/// Inputs about blocks.
#[derive(Clone, Debug)]
pub enum Input {
    /// A block was solved.
    Solved(Arc<SolvedBlock>),
    /// A block of an earlier run, with its state. It is offered to every node once more: one may
    /// have lost it.
    Restored(Arc<SolvedBlock>, BlockState),
    /// A block that an earlier run called accepted on a node's answer alone. It is offered with
    /// normal urgency, and accepted when a node shows it.
    Unproven(Arc<SolvedBlock>),
    /// A node answered [`Output::Submit`].
    Answered {
        /// Which node.
        node: NodeId,
        /// Which block.
        block: BlockHash,
        /// Its answer, or the error.
        answer: Result<SubmitAnswer, RpcError>,
    },
    /// A node answered [`Ask::Position`].
    Position {
        /// Which node.
        node: NodeId,
        /// Which block.
        block: BlockHash,
        /// Where the node has it; `None` if the node did not say.
        position: Option<Position>,
    },
    /// A node showed without a question that the block is in its best chain. A question in progress
    /// goes on.
    InChain {
        /// Which node.
        node: NodeId,
        /// Which block.
        block: BlockHash,
        /// At least 1.
        confirmations: u32,
    },
    /// [`Ask::Position`] found no place at the node: too much was asked at once.
    NotAsked {
        /// Which node.
        node: NodeId,
        /// Which block.
        block: BlockHash,
    },
    /// A node reported its tip, in any way.
    Tip {
        /// Which node.
        node: NodeId,
        /// The tip of its best chain.
        hash: BlockHash,
    },
    /// The present nodes.
    Nodes(Vec<NodeId>),
    /// The best height that any node has reported.
    Height(u32),
    /// Time passed.
    Tick,
}

/// Actions for blocks.
#[derive(Clone, Debug)]
pub enum Output {
    /// Call `submitblock`.
    Submit {
        /// On which node.
        node: NodeId,
        /// The block.
        block: Arc<SolvedBlock>,
        /// Urgent while no node has it.
        urgency: Urgency,
    },
    /// Ask where a block stands with a node ([`Ask::Position`]); or, that a node that has two blocks
    /// of one height prefer ours ([`Ask::Precious`]).
    Ask {
        /// Which node.
        node: NodeId,
        /// What.
        ask: Ask,
    },
    /// A node began or ceased to show the block in its best chain.
    Shown {
        /// Which node.
        node: NodeId,
        /// The block.
        block: BlockHash,
        /// Whether it is there.
        in_chain: bool,
    },
    /// The state of the block changed: store and report it.
    Changed {
        /// The block.
        block: Arc<SolvedBlock>,
        /// The previous state.
        from: BlockState,
        /// The new state.
        state: BlockState,
    },
}

/// All blocks that are not final.
#[derive(Debug, Default)]
pub struct Submissions {
    nodes: Vec<NodeId>,
    talks: BTreeMap<NodeId, Talk>,
    height: u32,
    blocks: Vec<Tracked>,
}

/// The state of a node that does not depend on a block.
#[derive(Debug, Default)]
struct Talk {
    /// Its tip, and since when we have known it.
    tip: Option<(BlockHash, Instant)>,
    /// The question in progress.
    asked: Option<(BlockHash, Instant)>,
    /// Whether it had no room for a question.
    full_until: Option<Instant>,
}

#[derive(Debug)]
struct Tracked {
    block: Arc<SolvedBlock>,
    state: BlockState,
    /// Whether it is urgent; not if an earlier run called it accepted.
    hurries: bool,
    offers: BTreeMap<NodeId, NodeOffer>,
}

/// What all nodes together show of a block.
enum Evidence {
    InChain {
        by: NodeId,
        confirmations: u32,
    },
    Beside,
    Lost,
    Buried,
    Refused(String),
    /// Every node has said that it does not have it, and none has another block in its place.
    Nowhere,
    None,
}

impl Submissions {
    /// Takes an input.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Solved(block) => {
                if self.track(now, block.clone(), BlockState::Candidate, true, out) {
                    // Offers come first: records follow them.
                    let (from, state) = (BlockState::Candidate, BlockState::Candidate);
                    out.push(Output::Changed { block, from, state });
                }
            }
            Input::Restored(block, state) => {
                self.track(now, block, state, true, out);
            }
            Input::Unproven(block) => {
                self.track(now, block, BlockState::Candidate, false, out);
            }
            Input::Answered { node, block, answer } => {
                if let Some(tracked) = self.find(block) {
                    tracked.answered(now, node, answer.as_ref().ok(), out);
                }
            }
            Input::Position { node, block, position } => {
                self.end_question(node, block);
                if let Some(tracked) = self.find(block) {
                    tracked.update(node, out, |offer| offer.looked(now.mono, position));
                }
            }
            Input::InChain { node, block, confirmations } => {
                let position = Some(Position::InChain { confirmations: Some(confirmations) });
                if let Some(tracked) = self.find(block) {
                    tracked.update(node, out, |offer| offer.looked(now.mono, position));
                }
            }
            Input::NotAsked { node, block } => {
                self.end_question(node, block);
                self.talk(node).full_until = Some(now.mono + FIRST_RETRY);
                if let Some(tracked) = self.find(block) {
                    tracked.update(node, out, |offer| offer.not_asked(now.mono));
                }
            }
            Input::Tip { node, hash } => self.tip(now, node, hash, out),
            Input::Nodes(nodes) => {
                self.nodes = nodes;
                self.talks.retain(|node, _| self.nodes.contains(node));
                for tracked in &mut self.blocks {
                    tracked.offers.retain(|node, _| self.nodes.contains(node));
                }
            }
            Input::Height(height) => self.height = self.height.max(height),
            Input::Tick => {}
        }
        for tracked in &mut self.blocks {
            tracked.offer(now, &self.nodes, out);
            tracked.settle(now, self.height, &self.talks, out);
        }
        self.blocks.retain(|t| !matches!(t.state, BlockState::Mature | BlockState::Stale));
        self.look(now, out);
    }

    /// When [`Input::Tick`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let offers = self.blocks.iter().flat_map(|tracked| tracked.offers.values());
        let offers = offers.filter_map(NodeOffer::due);
        let looks = self.nodes.iter().filter_map(|node| self.next_look(*node));
        offers.chain(looks).min()
    }

    /// The blocks that are not final yet, with their states.
    pub fn blocks(&self) -> impl Iterator<Item = (&Arc<SolvedBlock>, &BlockState)> {
        self.blocks.iter().map(|tracked| (&tracked.block, &tracked.state))
    }

    /// Whether some block is undecided: no node has shown yet where it has the block. A stop must
    /// wait for it.
    pub fn has_undecided(&self) -> bool {
        self.blocks.iter().any(|tracked| tracked.state == BlockState::Candidate)
    }

    /// Offers a block to all nodes, unless it is known already.
    fn track(
        &mut self,
        now: Now,
        block: Arc<SolvedBlock>,
        state: BlockState,
        hurries: bool,
        out: &mut Vec<Output>,
    ) -> bool {
        if self.find(block.hash).is_some() {
            return false;
        }
        let mut tracked = Tracked { block, state, hurries, offers: BTreeMap::new() };
        tracked.offer(now, &self.nodes, out);
        self.blocks.push(tracked);
        true
    }

    fn tip(&mut self, now: Now, node: NodeId, hash: BlockHash, out: &mut Vec<Output>) {
        if self.blocks.is_empty() {
            return;
        }
        let before = self.talk(node).tip;
        let is_news = before.is_none_or(|(before, _)| before != hash);
        if is_news {
            self.talk(node).tip = Some((hash, now.mono));
        }
        let height = self.height;
        for tracked in &mut self.blocks {
            // Reports of a tip may be late: look also at a block that has lost.
            if tracked.block.hash == hash && tracked.state != BlockState::Orphaned {
                tracked.update(node, out, |offer| offer.is_tip(now.mono));
            } else if is_news && tracked.is_contested(height) {
                tracked.update(node, out, |offer| offer.tip_changed(now.mono));
            }
        }
    }

    /// Asks each idle node about the block that needs it most.
    fn look(&mut self, now: Now, out: &mut Vec<Output>) {
        for node in self.nodes.clone() {
            if self.next_look(node).is_none_or(|due| now.mono < due) {
                continue;
            }
            if let Some((block, _)) = self.talk(node).asked.take()
                && let Some(tracked) = self.find(block)
            {
                // Given up.
                tracked.update(node, out, |offer| offer.looked(now.mono, None));
            }
            let is_due = |tracked: &&mut Tracked| {
                let due = tracked.offers.get(&node).and_then(NodeOffer::look_due);
                due.is_some_and(|due| now.mono >= due)
            };
            let due = self.blocks.iter_mut().filter(is_due);
            let Some(tracked) = due.max_by_key(|tracked| tracked.priority()) else { continue };
            let (block, height) = (tracked.block.hash, tracked.block.height);
            tracked.update(node, out, NodeOffer::asked);
            self.talk(node).asked = Some((block, now.mono));
            out.push(Output::Ask { node, ask: Ask::Position { block, height } });
        }
    }

    /// When a node may be asked about the next block, or the question in progress is given up.
    fn next_look(&self, node: NodeId) -> Option<Instant> {
        let talk = self.talks.get(&node);
        if let Some((_, since)) = talk.and_then(|talk| talk.asked) {
            return Some(since + UNANSWERED);
        }
        let offers = self.blocks.iter().filter_map(|tracked| tracked.offers.get(&node));
        let due = offers.filter_map(NodeOffer::look_due).min()?;
        Some(talk.and_then(|talk| talk.full_until).map_or(due, |full| due.max(full)))
    }

    fn end_question(&mut self, node: NodeId, block: BlockHash) {
        let asked = &mut self.talk(node).asked;
        if asked.is_some_and(|(asked, _)| asked == block) {
            *asked = None;
        }
    }

    fn talk(&mut self, node: NodeId) -> &mut Talk {
        self.talks.entry(node).or_default()
    }

    fn find(&mut self, hash: BlockHash) -> Option<&mut Tracked> {
        self.blocks.iter_mut().find(|tracked| tracked.block.hash == hash)
    }
}

impl Tracked {
    fn answered(
        &mut self,
        now: Now,
        node: NodeId,
        answer: Option<&SubmitAnswer>,
        out: &mut Vec<Output>,
    ) {
        let Some(offer) = self.offers.get_mut(&node) else { return };
        offer.answered(now.mono, answer);
        match answer {
            Some(
                SubmitAnswer::Accepted | SubmitAnswer::Duplicate | SubmitAnswer::Inconclusive(_),
            ) => {
                // A block that has blocks on top needs no preference; after a start there may be
                // many.
                let is_safe = matches!(self.state, BlockState::Accepted { confirmations: 2.., .. });
                if !is_safe && self.hurries {
                    out.push(Output::Ask { node, ask: Ask::Precious(self.block.hash) });
                }
            }
            Some(SubmitAnswer::Rejected(_)) | None => {}
        }
    }

    /// Changes the state of a node, and reports when the block entered its best chain or left it.
    fn update(&mut self, node: NodeId, out: &mut Vec<Output>, change: impl FnOnce(&mut NodeOffer)) {
        let Some(offer) = self.offers.get_mut(&node) else { return };
        let before = offer.has_shown_it();
        change(offer);
        let in_chain = offer.has_shown_it();
        if in_chain != before {
            out.push(Output::Shown { node, block: self.block.hash, in_chain });
        }
    }

    /// Submits the block to the nodes that are due.
    fn offer(&mut self, now: Now, nodes: &[NodeId], out: &mut Vec<Output>) {
        let urgency = match self.state {
            BlockState::Candidate | BlockState::Beside if self.hurries => Urgency::Urgent,
            _ => Urgency::Normal,
        };
        for node in nodes {
            let offer = self.offers.entry(*node).or_insert_with(|| NodeOffer::new(now.mono));
            if offer.due().is_some_and(|due| now.mono >= due) {
                offer.submitted(now.mono);
                out.push(Output::Submit { node: *node, block: self.block.clone(), urgency });
            }
        }
    }

    /// Updates the state of the block from what the nodes show.
    fn settle(
        &mut self,
        now: Now,
        height: u32,
        talks: &BTreeMap<NodeId, Talk>,
        out: &mut Vec<Output>,
    ) {
        use BlockState::{Accepted, Beside, Candidate, Mature, Orphaned, Refused, Stale};
        let next = match (&self.state, self.evidence(now, height, talks)) {
            (Mature | Stale, _) | (_, Evidence::None) => return,
            (_, Evidence::InChain { confirmations: MATURITY.., .. }) => Mature,
            (Accepted { by, .. }, Evidence::InChain { confirmations, .. }) => {
                Accepted { by: *by, confirmations }
            }
            (_, Evidence::InChain { by, confirmations }) => Accepted { by, confirmations },
            (_, Evidence::Buried) => Stale,
            (_, Evidence::Lost) => Orphaned,
            // A decided state stays until a chain has the block.
            (Orphaned, Evidence::Beside | Evidence::Refused(_) | Evidence::Nowhere) => return,
            (Candidate | Beside | Refused { .. } | Accepted { .. }, Evidence::Beside) => Beside,
            (Refused { reason: before }, Evidence::Refused(reason)) if is_repeat(&reason) => {
                Refused { reason: before.clone() }
            }
            (Candidate | Beside | Refused { .. } | Accepted { .. }, Evidence::Refused(reason)) => {
                Refused { reason }
            }
            (Candidate | Beside | Refused { .. }, Evidence::Nowhere) => return,
            // The nodes that had it have lost it: start again.
            (Accepted { .. }, Evidence::Nowhere) => Candidate,
        };
        if self.state != next {
            let from = std::mem::replace(&mut self.state, next.clone());
            out.push(Output::Changed { block: self.block.clone(), from, state: next });
        }
    }

    fn evidence(&self, now: Now, height: u32, talks: &BTreeMap<NodeId, Talk>) -> Evidence {
        let above = height.saturating_sub(self.block.height);
        let in_chain = self
            .offers
            .iter()
            .filter_map(|(node, offer)| Some((offer.in_chain(now.mono, above + 1)?, *node)));
        // The first node of those that show most.
        let best = in_chain.reduce(|best, other| if other.0 > best.0 { other } else { best });
        if let Some((confirmations, by)) = best {
            return Evidence::InChain { by, confirmations };
        }
        let offers = || self.offers.values();
        // After a start one node may be quicker to deny the block than another to show it.
        if matches!(self.state, BlockState::Accepted { .. }) && !offers().all(NodeOffer::is_heard) {
            return Evidence::None;
        }
        let nobody_has_it = !self.offers.is_empty() && offers().all(NodeOffer::is_without);
        let is_gone = || {
            let mut all = self.offers.iter();
            let is_without = |node, offer: &NodeOffer| {
                offer.is_without() || offer.is_untold() && self.is_denied_by_a_twin(node, talks)
            };
            !self.offers.is_empty() && all.all(|(node, offer)| is_without(*node, offer))
        };
        if offers().any(NodeOffer::has_buried_another) || above >= MATURITY && is_gone() {
            return Evidence::Buried;
        }
        match offers().filter_map(NodeOffer::rival).max() {
            Some(2..) => return Evidence::Lost,
            Some(1) => return Evidence::Beside,
            Some(0) | None => {}
        }
        let refusals: Option<Vec<&str>> = offers().map(NodeOffer::refusal).collect();
        let refusals = refusals.unwrap_or_default();
        match refusals.iter().find(|reason| !is_repeat(reason)).or(refusals.first()) {
            Some(reason) => Evidence::Refused((*reason).to_owned()),
            None if nobody_has_it => Evidence::Nowhere,
            None => Evidence::None,
        }
    }

    /// Whether another node on the same tip, and so on the same chain, has said since it reached
    /// the tip that it does not have the block.
    fn is_denied_by_a_twin(&self, node: NodeId, talks: &BTreeMap<NodeId, Talk>) -> bool {
        let tip = |node: NodeId| talks.get(&node).and_then(|talk| talk.tip);
        let Some((own, _)) = tip(node) else { return false };
        self.offers.iter().any(|(other, offer)| {
            tip(*other).is_some_and(|(hash, since)| hash == own && offer.is_without_since(since))
        })
    }

    /// The order in which a node is asked about several blocks.
    fn priority(&self) -> (bool, u32) {
        (self.hurries && self.state == BlockState::Candidate, self.block.height)
    }

    /// Whether the next blocks may still change its state.
    fn is_contested(&self, height: u32) -> bool {
        height <= self.block.height + CONTESTED
    }
}

#[cfg(test)]
mod tests {
    use super::super::offer::LOST;
    use super::*;

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);
    const HASH: BlockHash = BlockHash([7; 32]);
    const OTHER: BlockHash = BlockHash([8; 32]);

    struct World {
        start: Instant,
        seconds: f64,
        submissions: Submissions,
    }

    impl World {
        fn new() -> World {
            World::with(vec![A, B])
        }

        fn with(nodes: Vec<NodeId>) -> World {
            let mut world =
                World { start: Instant::now(), seconds: 0.0, submissions: Submissions::default() };
            world.input(Input::Nodes(nodes));
            world
        }

        fn now(&self) -> Now {
            Now { mono: self.start + Duration::from_secs_f64(self.seconds), unix: 0 }
        }

        fn input(&mut self, input: Input) -> Vec<Output> {
            let mut out = Vec::new();
            self.submissions.handle(self.now(), input, &mut out);
            out
        }

        fn at(&mut self, seconds: f64) -> Vec<Output> {
            self.seconds = seconds;
            self.input(Input::Tick)
        }

        fn solve(&mut self) -> Vec<Output> {
            self.input(Input::Solved(block()))
        }

        fn answer(&mut self, node: NodeId, answer: Result<SubmitAnswer, RpcError>) -> Vec<Output> {
            self.input(Input::Answered { node, block: HASH, answer })
        }

        fn say(&mut self, node: NodeId, words: Option<&str>) -> Vec<Output> {
            self.answer(node, Ok(SubmitAnswer::parse(words)))
        }

        fn look(&mut self, node: NodeId, position: Position) -> Vec<Output> {
            self.input(Input::Position { node, block: HASH, position: Some(position) })
        }

        fn tip(&mut self, node: NodeId, hash: BlockHash) -> Vec<Output> {
            self.input(Input::Tip { node, hash })
        }

        fn refusal(&self) -> Option<&str> {
            self.submissions.blocks[0].offers[&A].refusal()
        }

        fn state(&self) -> Option<BlockState> {
            self.submissions.blocks().next().map(|(_, state)| state.clone())
        }
    }

    fn block() -> Arc<SolvedBlock> {
        Arc::new(SolvedBlock {
            hash: HASH,
            height: 700,
            unix: 0,
            reward: 1,
            worker: "w".into(),
            from_partner: false,
            bytes: vec![1],
        })
    }

    fn in_chain(confirmations: u32) -> Position {
        Position::InChain { confirmations: Some(confirmations) }
    }

    fn accepted(by: NodeId, confirmations: u32) -> Option<BlockState> {
        Some(BlockState::Accepted { by, confirmations })
    }

    fn refused(reason: &str) -> Option<BlockState> {
        Some(BlockState::Refused { reason: reason.into() })
    }

    fn submitted(out: &[Output]) -> Vec<NodeId> {
        out.iter()
            .filter_map(|o| match o {
                Output::Submit { node, .. } => Some(*node),
                _ => None,
            })
            .collect()
    }

    fn looked(out: &[Output]) -> Vec<NodeId> {
        out.iter()
            .filter_map(|o| match o {
                Output::Ask { node, ask: Ask::Position { .. } } => Some(*node),
                _ => None,
            })
            .collect()
    }

    fn down() -> Result<SubmitAnswer, RpcError> {
        Err(RpcError::Transport("refused".into()))
    }

    // -- each row of what Core and bcoin say --

    #[test]
    fn a_new_best_block_is_accepted_when_the_node_shows_it() {
        let mut world = World::with(vec![A]);
        world.solve();
        let out = world.say(A, None);
        assert_eq!(looked(&out), [A], "looked at as soon as it answers");
        assert_eq!(world.state(), Some(BlockState::Candidate));
        assert!(world.submissions.has_undecided());
        let out = world.look(A, in_chain(1));
        assert_eq!(world.state(), accepted(A, 1));
        assert!(!world.submissions.has_undecided());
        assert!(out.iter().any(|o| matches!(o, Output::Shown { node: A, in_chain: true, .. })));
    }

    #[test]
    fn what_a_node_shows_unasked_does_not_end_the_question_under_way() {
        let mut world = World::with(vec![A]);
        world.solve();
        assert_eq!(looked(&world.say(A, None)), [A]);
        let in_chain = Input::InChain { node: A, block: HASH, confirmations: 1 };
        world.input(in_chain);
        assert_eq!(world.state(), accepted(A, 1));
        for seconds in [10.0, 20.0, 29.0] {
            assert_eq!(looked(&world.at(seconds)), [], "it is being asked, at {seconds} s");
        }
    }

    #[test]
    fn news_of_the_tip_is_proof_before_the_answer_comes() {
        let mut world = World::with(vec![A]);
        world.solve();
        world.tip(A, HASH);
        assert_eq!(world.state(), accepted(A, 1));
        assert_eq!(looked(&world.say(A, None)), [], "it has shown it already");
        assert_eq!(looked(&world.at(1.0)), [A]);
    }

    #[test]
    fn a_tie_is_neither_accepted_nor_refused_until_the_next_block_decides() {
        // Core: inconclusive, bcoin: null.
        for words in [Some("inconclusive"), None] {
            for wins in [true, false] {
                let mut world = World::with(vec![A]);
                world.solve();
                let out = world.say(A, words);
                assert!(
                    matches!(out[0], Output::Ask { node: A, ask: Ask::Precious(_) }),
                    "ours is preferred"
                );
                world.look(A, Position::Outside { rival: 1 });
                assert_eq!(world.state(), Some(BlockState::Beside));
                assert!(
                    !world.submissions.has_undecided(),
                    "a node holds it: a stop need not wait"
                );
                world.seconds = 500.0;
                // It is looked at every 5 s at least, and at once when the tip changes.
                assert_eq!(looked(&world.tip(A, OTHER)), [A]);
                world.look(A, if wins { in_chain(2) } else { Position::Outside { rival: 2 } });
                let expected = if wins { accepted(A, 2) } else { Some(BlockState::Orphaned) };
                assert_eq!(world.state(), expected);
            }
        }
    }

    #[test]
    fn the_same_again_is_looked_at_and_nothing_else() {
        for position in [in_chain(1), Position::Outside { rival: 1 }, Position::Missing] {
            let mut world = World::with(vec![A]);
            world.solve();
            assert_eq!(looked(&world.say(A, Some("duplicate"))), [A]);
            assert_eq!(world.state(), Some(BlockState::Candidate));
            world.look(A, position);
            let expected = match position {
                Position::InChain { .. } => accepted(A, 1),
                Position::Outside { .. } => Some(BlockState::Beside),
                Position::Missing | Position::Untold => {
                    refused("duplicate, though the node does not have it")
                }
            };
            assert_eq!(world.state(), expected);
        }
    }

    #[test]
    fn a_block_whose_parent_is_unknown_is_not_had_by_the_node_that_says_duplicate() {
        // bcoin the second time; Core repeats its reason.
        for reason in ["bad-prevblk", "prev-blk-not-found"] {
            let mut world = World::with(vec![A]);
            world.solve();
            world.say(A, Some(&format!("rejected: {reason}")));
            assert_eq!(world.state(), refused(reason));
            for second in [1, 3, 7, 15] {
                assert_eq!(submitted(&world.at(f64::from(second) - 0.1)), [], "second {second}");
                assert_eq!(submitted(&world.at(second.into())), [A], "second {second}");
                assert_eq!(looked(&world.say(A, Some("rejected: duplicate"))), [A]);
                world.look(A, Position::Missing);
                assert_eq!(world.state(), refused(reason));
                assert_eq!(world.refusal(), Some(reason));
            }
            // The parent comes: it is offered again at once, and bcoin has connected it by itself.
            let out = world.tip(A, OTHER);
            assert_eq!((submitted(&out), looked(&out)), (vec![A], vec![A]));
            world.look(A, in_chain(1));
            assert_eq!(world.state(), accepted(A, 1));
        }
    }

    #[test]
    fn a_wrong_block_stays_refused_for_its_first_reason() {
        for (again, shown) in [
            // Core keeps the header, bcoin nothing.
            ("duplicate-invalid", Position::Outside { rival: 0 }),
            ("rejected: duplicate", Position::Missing),
        ] {
            let mut world = World::with(vec![A]);
            world.solve();
            world.say(A, Some("bad-cb-amount"));
            assert_eq!(world.state(), refused("bad-cb-amount"));
            for minute in 1..10 {
                assert_eq!(submitted(&world.at(60.0 * f64::from(minute))), [A]);
                if looked(&world.say(A, Some(again))) == [A] {
                    world.look(A, shown);
                }
                world.tip(A, BlockHash([100 + minute as u8; 32]));
                world.look(A, shown);
                assert_eq!(world.state(), refused("bad-cb-amount"));
                assert_eq!(world.refusal(), Some("bad-cb-amount"));
            }

            // The next run hears only the repetition.
            let mut world = World::with(vec![A]);
            let stood = BlockState::Refused { reason: "bad-cb-amount".into() };
            world.input(Input::Restored(block(), stood));
            world.say(A, Some(again));
            world.look(A, shown);
            assert_eq!(world.state(), refused("bad-cb-amount"));
        }
    }

    #[test]
    fn a_block_from_the_future_is_refused_until_its_time_comes() {
        let mut world = World::with(vec![A]);
        world.solve();
        world.say(A, Some("time-too-new"));
        assert_eq!(world.state(), refused("time-too-new"));
        assert_eq!(submitted(&world.at(60.0)), [A]);
        world.say(A, None);
        world.look(A, in_chain(1));
        assert_eq!(world.state(), accepted(A, 1));
    }

    #[test]
    fn a_block_from_the_future_that_a_node_took_beside_its_tip_is_watched_and_offered_again() {
        let mut world = World::with(vec![A]);
        world.solve();
        world.say(A, Some("time-too-new"));
        assert_eq!(submitted(&world.at(60.0)), [A]);
        world.say(A, Some("inconclusive"));
        world.look(A, Position::Outside { rival: 2 });
        assert_eq!(world.state(), Some(BlockState::Orphaned), "it was not refused for good");
        // A crash, and the node has lost it.
        assert_eq!(looked(&world.at(90.0)), [A]);
        assert_eq!(submitted(&world.look(A, Position::Missing)), [A]);
    }

    #[test]
    fn no_answer_of_any_node_accepts_a_block() {
        let words = [None, Some("duplicate"), Some("inconclusive"), Some("bad-cb-amount")];
        for first in words {
            for second in words {
                let mut world = World::new();
                world.solve();
                world.say(A, first);
                world.say(B, second);
                world.answer(A, down());
                let state = world.state().unwrap();
                assert!(!matches!(state, BlockState::Accepted { .. }), "{first:?} {second:?}");
            }
        }
    }

    // -- how it is found out --

    #[test]
    fn a_node_is_looked_at_until_it_shows_where_the_block_stands() {
        let mut world = World::with(vec![A]);
        world.solve();
        world.say(A, None);
        let mut looks = vec![world.seconds];
        while world.seconds < 20.0 {
            world.input(Input::Position { node: A, block: HASH, position: None });
            world.seconds += 0.01;
            while looked(&world.input(Input::Tick)).is_empty() {
                world.seconds += 0.01;
            }
            looks.push(world.seconds);
        }
        let pauses: Vec<f64> =
            looks.windows(2).map(|pair| ((pair[1] - pair[0]) * 10.0).round() / 10.0).collect();
        assert_eq!(pauses[..7], [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]);
        assert!(world.submissions.has_undecided());
    }

    #[test]
    fn a_block_that_went_in_without_an_answer_is_found() {
        for answer in [None, Some(down())] {
            let mut world = World::with(vec![A]);
            world.solve();
            if let Some(answer) = answer {
                world.answer(A, answer);
            }
            assert_eq!(looked(&world.at(1.0)), [A]);
            world.look(A, in_chain(1));
            assert_eq!(world.state(), accepted(A, 1));
        }
    }

    #[test]
    fn where_the_chain_may_not_be_asked_for_a_tip_is_the_proof() {
        let mut world = World::with(vec![A]);
        world.solve();
        world.say(A, None);
        world.look(A, Position::Untold);
        assert_eq!(world.state(), Some(BlockState::Candidate));
        assert_eq!(submitted(&world.at(60.0)), [A], "kept, and offered again");
        world.tip(A, HASH);
        assert_eq!(world.state(), accepted(A, 1));
        // The number of its confirmations follows from the height that others tell.
        world.input(Input::Height(704));
        world.look(A, Position::InChain { confirmations: None });
        assert_eq!(world.state(), accepted(A, 5));
    }

    #[test]
    fn a_node_is_asked_for_one_block_at_a_time_and_for_the_newest_first() {
        let mut world = World::with(vec![A]);
        for n in 0..20 {
            let old =
                SolvedBlock { hash: BlockHash([100 + n; 32]), height: 600, ..(*block()).clone() };
            world.input(Input::Restored(Arc::new(old), BlockState::Orphaned));
        }
        world.at(1.0);
        assert_eq!(looked(&world.solve()), []);
        world.say(A, None);
        let first = BlockHash([100; 32]);
        let asked = |out: Vec<Output>| {
            out.into_iter().find_map(|o| match o {
                Output::Ask { ask: Ask::Position { block, .. }, .. } => Some(block),
                _ => None,
            })
        };
        let under_way = (0..20).map(|n| BlockHash([100 + n; 32])).find_map(|block| {
            let position = Some(Position::Missing);
            asked(world.input(Input::Position { node: A, block, position }))
        });
        assert_eq!(under_way, Some(HASH), "before {first}");
        // A question that is never answered does not stop the others.
        assert!(asked(world.at(40.0)).is_some());
    }

    #[test]
    fn late_news_of_a_tip_does_not_bring_a_lost_block_back() {
        let mut world = World::with(vec![A]);
        world.solve();
        world.tip(A, HASH);
        world.tip(A, OTHER);
        world.look(A, Position::Outside { rival: 2 });
        assert_eq!(world.state(), Some(BlockState::Orphaned));
        assert_eq!(looked(&world.tip(A, HASH)), [A]);
        assert_eq!(world.state(), Some(BlockState::Orphaned));
        world.look(A, in_chain(1));
        assert_eq!(world.state(), accepted(A, 1));
    }

    #[test]
    fn a_block_is_accepted_while_any_node_shows_it() {
        let mut world = World::new();
        world.solve();
        world.look(A, in_chain(1));
        world.say(B, Some("inconclusive"));
        world.look(B, Position::Outside { rival: 2 });
        assert_eq!(world.state(), accepted(A, 1));
        // The one that had it is gone, and the other goes on without.
        for second in [30.0, 60.0, 91.0] {
            world.at(second);
            world.look(B, Position::Outside { rival: 3 });
        }
        assert_eq!(world.state(), Some(BlockState::Orphaned));
    }

    #[test]
    fn what_an_older_version_called_accepted_is_looked_at_before_it_is_called_so_again() {
        let mut world = World::with(vec![A]);
        let out = world.input(Input::Unproven(block()));
        assert!(matches!(out[..], [Output::Submit { urgency: Urgency::Normal, .. }]), "{out:?}");
        assert_eq!(world.state(), Some(BlockState::Candidate));
        assert_eq!(looked(&world.say(A, Some("duplicate"))), [A]);
        world.look(A, in_chain(12));
        assert_eq!(world.state(), accepted(A, 12));
    }

    #[test]
    fn a_slow_node_may_speak_before_a_block_of_an_earlier_run_is_lost() {
        let mut world = World::new();
        world.input(Input::Restored(block(), accepted(A, 7).unwrap()));
        world.say(B, Some("duplicate"));
        world.look(B, Position::Outside { rival: 7 });
        assert_eq!(world.state(), accepted(A, 7));
        world.look(A, in_chain(8));
        assert_eq!(world.state(), accepted(A, 8));
    }

    // -- offers --

    #[test]
    fn a_block_goes_to_all_nodes_before_anything_is_recorded() {
        let mut world = World::new();
        let out = world.solve();
        assert_eq!(submitted(&out), [A, B]);
        assert!(matches!(out[0], Output::Submit { .. }) && matches!(out[1], Output::Submit { .. }));
        assert!(matches!(out[2], Output::Changed { state: BlockState::Candidate, .. }));
        assert!(world.submissions.has_undecided());
        assert!(world.solve().is_empty(), "the same block again changes nothing");
    }

    #[test]
    fn the_first_acceptance_wins_and_the_rest_go_on() {
        let mut world = World::new();
        world.solve();
        world.answer(B, Ok(SubmitAnswer::Accepted));
        world.look(B, in_chain(1));
        assert_eq!(world.state(), accepted(B, 1));
        assert!(!world.submissions.has_undecided());
        world.answer(A, down());
        assert_eq!(submitted(&world.at(0.1)), [A], "A is still offered the block");
        world.answer(A, Ok(SubmitAnswer::Duplicate));
        world.look(A, in_chain(1));
        assert_eq!(world.state(), accepted(B, 1));
    }

    #[test]
    fn a_node_that_is_down_is_tried_for_as_long_as_it_takes() {
        let mut world = World::new();
        world.solve();
        let mut tries = 0;
        world.answer(A, down());
        while world.seconds < 3600.0 {
            world.seconds += 0.05;
            for node in submitted(&world.input(Input::Tick)) {
                tries += usize::from(node == A);
                if node == A {
                    world.answer(A, down());
                }
            }
        }
        assert!((720..740).contains(&tries), "{tries}: soon every 5 s, for ever");
        world.answer(A, Ok(SubmitAnswer::Accepted));
        world.look(A, in_chain(1));
        assert_eq!(world.state(), accepted(A, 1));
    }

    #[test]
    fn an_answer_that_never_comes_is_not_waited_for() {
        let mut world = World::new();
        world.solve();
        assert_eq!(submitted(&world.at(LOST.as_secs_f64())), [A, B]);
    }

    #[test]
    fn refused_by_all_is_said_and_still_offered() {
        let mut world = World::new();
        world.solve();
        let refuse = || Ok(SubmitAnswer::Rejected("bad-cb-amount".into()));
        world.answer(A, refuse());
        assert_eq!(world.state(), Some(BlockState::Candidate));
        world.answer(B, refuse());
        assert!(matches!(world.state(), Some(BlockState::Refused { .. })));
        assert_eq!(submitted(&world.at(60.0)), [A, B]);
        world.answer(B, Ok(SubmitAnswer::Accepted));
        world.look(B, in_chain(1));
        assert_eq!(world.state(), accepted(B, 1));
    }

    #[test]
    fn a_node_that_lacks_the_parent_is_asked_again_soon() {
        let mut world = World::new();
        world.solve();
        world.answer(A, Ok(SubmitAnswer::Rejected("prev-blk-not-found".into())));
        world.answer(B, Ok(SubmitAnswer::Accepted));
        assert_eq!(submitted(&world.at(1.0)), [A]);
    }

    #[test]
    fn a_node_whose_rules_refuse_the_parent_is_not_asked_every_second() {
        let mut world = World::new();
        world.solve();
        let refuse = |world: &mut World| {
            world.answer(A, Ok(SubmitAnswer::Rejected("bad-prevblk".into())));
        };
        let tries = |world: &mut World, until: f64| {
            let mut tries = 0;
            while world.seconds < until {
                let seconds = world.seconds + 0.5;
                if submitted(&world.at(seconds)).contains(&A) {
                    tries += 1;
                    refuse(world);
                }
            }
            tries
        };
        refuse(&mut world);
        world.say(B, None);
        world.look(B, in_chain(1));
        assert_eq!(tries(&mut world, 3600.0), 64, "soon every 60 s");
        // Its tip changes: it may have got the parent, or is about to.
        assert_eq!(submitted(&world.tip(A, OTHER)), [A]);
        refuse(&mut world);
        assert_eq!(tries(&mut world, 3608.0), 3, "after 1, 2 and 4 s");
    }

    /// B shows its tip alone. It had the block as its tip, and is on A's chain now, where the block is not.
    #[test]
    fn what_a_node_may_not_be_asked_is_told_by_another_on_the_same_tip() {
        let refuse = |world: &mut World| world.say(A, Some("prev-blk-not-found"));
        let mut world = World::new();
        world.solve();
        refuse(&mut world);
        world.tip(B, HASH);
        assert_eq!(world.state(), accepted(B, 1));
        world.input(Input::Height(800));
        world.tip(B, OTHER);
        world.look(B, Position::Untold);
        refuse(&mut world);
        world.seconds += 100.0;
        world.input(Input::Tick);
        assert_eq!(world.state(), accepted(B, 1), "A may be on another chain");
        world.tip(A, OTHER);
        assert_eq!(world.state(), accepted(B, 1), "A may have got it with the tip");
        world.seconds += 1.0;
        refuse(&mut world);
        assert_eq!(world.state(), None, "stale");
    }

    #[test]
    fn an_accepted_block_is_watched_until_it_is_mature() {
        let mut world = World::with(vec![A]);
        world.solve();
        world.answer(A, Ok(SubmitAnswer::Accepted));
        world.look(A, in_chain(1));
        assert_eq!(world.state(), accepted(A, 1));
        let out = world.at(30.0);
        assert!(matches!(out[..], [Output::Ask { node: A, ask: Ask::Position { .. } }]), "{out:?}");
        world.look(A, Position::Outside { rival: 2 });
        assert_eq!(world.state(), Some(BlockState::Orphaned));
        world.look(A, in_chain(3));
        assert_eq!(world.state(), accepted(A, 3));
        let out = world.look(A, in_chain(100));
        assert!(matches!(&out[0], Output::Changed { state: BlockState::Mature, .. }));
        assert_eq!(world.state(), None);
        assert_eq!(world.submissions.next_deadline(), None);
    }

    #[test]
    fn a_lost_race_ends_as_stale_after_a_hundred_blocks() {
        let mut world = World::new();
        world.solve();
        world.answer(A, Ok(SubmitAnswer::Accepted));
        world.look(A, Position::Outside { rival: 2 });
        world.input(Input::Height(799));
        world.look(A, Position::Outside { rival: 99 });
        assert_eq!(world.state(), Some(BlockState::Orphaned));
        world.input(Input::Height(800));
        let out = world.look(A, Position::Outside { rival: 100 });
        assert!(matches!(&out[0], Output::Changed { state: BlockState::Stale, .. }));
    }

    #[test]
    fn a_node_that_forgot_the_block_is_given_it_again() {
        let mut world = World::new();
        world.solve();
        world.answer(A, Ok(SubmitAnswer::Accepted));
        world.look(A, in_chain(1));
        assert_eq!(submitted(&world.look(A, Position::Missing)), [A]);
    }

    #[test]
    fn a_block_that_all_nodes_have_lost_is_on_its_way_again() {
        let mut world = World::with(vec![A]);
        world.solve();
        world.answer(A, Ok(SubmitAnswer::Accepted));
        world.look(A, in_chain(1));
        let out = world.look(A, Position::Missing);
        assert_eq!(submitted(&out), [A]);
        assert_eq!(world.state(), Some(BlockState::Candidate));
        assert!(world.submissions.has_undecided());
    }

    #[test]
    fn an_accepted_block_that_is_taken_back_beside_the_winner_is_orphaned() {
        let mut world = World::new();
        world.solve();
        for node in [A, B] {
            world.answer(node, Ok(SubmitAnswer::Accepted));
            world.look(node, in_chain(1));
        }
        for node in [A, B] {
            // Both crash, lose it, and meet the winner before our block comes again.
            world.look(node, Position::Missing);
            let out = world.answer(node, Ok(SubmitAnswer::Inconclusive("inconclusive".into())));
            assert_eq!(looked(&out), [node]);
            world.look(node, Position::Outside { rival: 2 });
        }
        assert_eq!(world.state(), Some(BlockState::Orphaned));
        assert_eq!(looked(&world.at(31.0)), [A, B]);
        world.input(Input::Height(10_000_000));
        world.look(A, Position::Outside { rival: 10_000_000 - 700 });
        assert_eq!(world.state(), None, "final, and forgotten");
    }

    #[test]
    fn a_block_of_an_earlier_run_is_taken_up_where_it_stood() {
        let mut world = World::new();
        let stood = BlockState::Accepted { by: A, confirmations: 3 };
        let out = world.input(Input::Restored(block(), stood.clone()));
        assert_eq!((submitted(&out), out.len()), (vec![A, B], 2), "nothing is recorded anew");
        assert_eq!(world.state(), Some(stood.clone()));
        world.answer(A, Ok(SubmitAnswer::Duplicate));
        assert_eq!(world.state(), Some(stood));
        world.look(A, in_chain(4));
        assert_eq!(world.state(), accepted(A, 4));
    }

    #[test]
    fn what_a_node_has_already_does_not_hurry() {
        let mut world = World::new();
        let urgent = |out: &[Output]| -> Vec<bool> {
            let submits = out.iter().filter_map(|output| match output {
                Output::Submit { urgency, .. } => Some(*urgency == Urgency::Urgent),
                _ => None,
            });
            submits.collect()
        };
        assert_eq!(urgent(&world.solve()), [true, true]);
        let precious = |out: &[Output]| {
            out.iter().any(|o| matches!(o, Output::Ask { ask: Ask::Precious(_), .. }))
        };
        assert!(precious(&world.answer(A, Ok(SubmitAnswer::Accepted))));
        world.answer(B, down());
        world.look(A, in_chain(2));
        assert_eq!(urgent(&world.at(0.1)), [false]);
        assert!(!precious(&world.answer(B, Ok(SubmitAnswer::Duplicate))));
    }

    #[test]
    fn a_question_without_a_place_is_asked_again_soon() {
        let mut world = World::with(vec![A]);
        world.solve();
        assert_eq!(looked(&world.answer(A, Ok(SubmitAnswer::Accepted))), [A]);
        assert_eq!(looked(&world.input(Input::NotAsked { node: A, block: HASH })), []);
        assert_eq!(looked(&world.at(0.1)), [A]);
        assert_eq!(looked(&world.at(0.3)), [], "this time there was a place");
    }

    #[test]
    fn a_lost_block_of_an_earlier_run_is_offered_without_haste_and_can_come_back() {
        let restore = |world: &mut World| {
            let out = world.input(Input::Restored(block(), BlockState::Orphaned));
            assert_eq!(submitted(&out), [A, B]);
            let hurried = |o: &Output| matches!(o, Output::Submit { urgency: Urgency::Urgent, .. });
            assert!(!out.iter().any(hurried) && !world.submissions.has_undecided());
        };
        let mut world = World::new();
        restore(&mut world);
        world.answer(A, Ok(SubmitAnswer::Accepted));
        world.look(A, in_chain(2));
        assert_eq!(world.state(), accepted(A, 2));

        // No node takes it: it is forgotten when it is buried.
        let mut world = World::new();
        restore(&mut world);
        for node in [A, B] {
            world.answer(node, Ok(SubmitAnswer::Rejected("bad-prevblk".into())));
        }
        world.input(Input::Height(800));
        assert_eq!(world.state(), None);
    }

    #[test]
    fn a_new_node_is_offered_what_is_on_its_way() {
        let mut world = World::new();
        world.solve();
        let c = NodeId(2);
        assert_eq!(submitted(&world.input(Input::Nodes(vec![B, c]))), [c]);
    }
}
