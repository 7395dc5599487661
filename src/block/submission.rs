//! What becomes of a solved block: offered to every node until one has it, then watched until its
//! coinbase can be spent.
//!
//! ```text
//!            any node accepts            confirmations ≥ 100
//!  Candidate ───────────────► Accepted ─────────────────────► Mature
//!      │  ▲                     │    ▲
//!      │  └── every node lost ──┘    │ back in the best chain
//!      │      it (never seen yet)    ▼
//!      │ refused by all nodes      Orphaned ── 100 blocks later ──► Stale
//!      ▼
//!   Refused ── still offered: a node that was behind may take it ──► Accepted
//! ```
//!
//! Each node is offered the block by itself, at once and in parallel. A node that cannot be
//! reached is tried again after 0.1 s, 0.2 s, … up to 5 s, for as long as the block is not mature;
//! a node that refuses it is asked again once a minute (each second while it lacks the parent). Nothing
//! stops at a new height: the new block may be on our own block's fork.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{SolvedBlock, SubmitAnswer};
use crate::chain::BlockHash;
use crate::clock::Now;
use crate::node::{NodeId, RpcError};
use crate::priority::Urgency;

/// Confirmations at which the coinbase can be spent in the next block.
pub const MATURITY: i64 = 100;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_secs(60);
const LACKS_PARENT: Duration = Duration::from_secs(1);
/// When the confirmations of an accepted block are asked for first.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// How often the confirmations of an accepted block are asked for.
const WATCH: Duration = Duration::from_secs(30);
/// When they are asked for again if the node had no place for the question.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// An answer to a submission that has not come after this long will not come: the node is tried
/// again. Longer than the deadline of the call.
const LOST: Duration = Duration::from_secs(150);

/// Where a block stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockState {
    /// No node has it yet.
    Candidate,
    /// Every node that answered refused it; the reason is the first one's.
    Refused {
        /// The node's words.
        reason: String,
    },
    /// A node has it in its best chain, with this many confirmations by the last look.
    Accepted {
        /// The node that took it first.
        by: NodeId,
        /// 1 when it is the tip; 0 before the first look.
        confirmations: i64,
    },
    /// It was accepted and has left the best chain: another block won.
    Orphaned {
        /// The node that took it first.
        by: NodeId,
    },
    /// 100 confirmations: the reward is the owner's. Final.
    Mature,
    /// 100 blocks passed without it in the best chain. Final.
    Stale,
}

/// What happens to blocks.
#[derive(Clone, Debug)]
pub enum Input {
    /// A block was solved.
    Solved(Arc<SolvedBlock>),
    /// A block of an earlier run, and where it stood. It is offered to every node once more: one
    /// may have lost it.
    Restored(Arc<SolvedBlock>, BlockState),
    /// A node answered [`Output::Submit`].
    Answered {
        /// Which node.
        node: NodeId,
        /// Which block.
        block: BlockHash,
        /// Its answer, or why there is none.
        answer: Result<SubmitAnswer, RpcError>,
    },
    /// A node answered [`Output::AskConfirmations`].
    Confirmations {
        /// Which node.
        node: NodeId,
        /// Which block.
        block: BlockHash,
        /// Confirmations, -1 when not in the best chain, `None` when the node does not know it.
        confirmations: Option<i64>,
    },
    /// [`Output::AskConfirmations`] found no place at the node: too many were asked for at once.
    NotAsked(BlockHash),
    /// The nodes that there are now.
    Nodes(Vec<NodeId>),
    /// The best height that any node has told of.
    Height(u32),
    /// Time passed.
    Tick,
}

/// What is to be done for blocks.
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
    /// Call `preciousblock`, so that a node that has two blocks of one height prefers ours.
    Precious {
        /// On which node.
        node: NodeId,
        /// The block.
        block: BlockHash,
    },
    /// Ask for the confirmations.
    AskConfirmations {
        /// Which node.
        node: NodeId,
        /// The block.
        block: BlockHash,
    },
    /// The block stands elsewhere now: to be recorded and told.
    Changed {
        /// The block.
        block: Arc<SolvedBlock>,
        /// Where it stands.
        state: BlockState,
    },
}

/// All blocks that are on their way.
#[derive(Debug, Default)]
pub struct Submissions {
    nodes: Vec<NodeId>,
    height: u32,
    blocks: Vec<Tracked>,
}

#[derive(Debug)]
struct Tracked {
    block: Arc<SolvedBlock>,
    state: BlockState,
    offers: BTreeMap<NodeId, Offer>,
    next_watch: Instant,
}

/// How one node stands to one block.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Offer {
    Waiting {
        at: Instant,
        delay: Duration,
    },
    InFlight {
        since: Instant,
        delay: Duration,
    },
    Has,
    /// `held`: it keeps the block all the same, outside its best chain.
    Refuses {
        reason: String,
        held: bool,
        ask_again: Instant,
    },
}

impl Submissions {
    /// Takes an input.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Solved(block) => {
                if self.track(now, block.clone(), BlockState::Candidate, out) {
                    // Offers come first: whatever is recorded follows on them.
                    out.push(Output::Changed { block, state: BlockState::Candidate });
                }
            }
            Input::Restored(block, state) => {
                self.track(now, block, state, out);
            }
            Input::Answered { node, block, answer } => {
                if let Some(tracked) = self.find(block) {
                    tracked.answered(now, node, answer, out);
                }
            }
            Input::Confirmations { node, block, confirmations } => {
                let height = self.height;
                if let Some(tracked) = self.find(block) {
                    tracked.looked_at(node, confirmations, height, out);
                }
            }
            Input::NotAsked(block) => {
                if let Some(tracked) = self.find(block) {
                    tracked.next_watch = tracked.next_watch.min(now.mono + LOOK_AGAIN);
                }
            }
            Input::Nodes(nodes) => {
                self.nodes = nodes;
                for tracked in &mut self.blocks {
                    tracked.offers.retain(|node, _| self.nodes.contains(node));
                }
            }
            Input::Height(height) => self.height = self.height.max(height),
            Input::Tick => {}
        }
        for tracked in &mut self.blocks {
            tracked.advance(now, &self.nodes, self.height, out);
        }
        self.blocks.retain(|t| !matches!(t.state, BlockState::Mature | BlockState::Stale));
    }

    /// When [`Input::Tick`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.blocks.iter().filter_map(|tracked| tracked.next_deadline()).min()
    }

    /// The blocks that are not final yet, and where they stand.
    pub fn blocks(&self) -> impl Iterator<Item = (&Arc<SolvedBlock>, &BlockState)> {
        self.blocks.iter().map(|tracked| (&tracked.block, &tracked.state))
    }

    /// Whether a block is on its way that no node has yet: a stop has to wait for it.
    pub fn is_busy(&self) -> bool {
        self.blocks.iter().any(|tracked| tracked.state == BlockState::Candidate)
    }

    /// Offers a block to all nodes, unless it is known already.
    fn track(
        &mut self,
        now: Now,
        block: Arc<SolvedBlock>,
        state: BlockState,
        out: &mut Vec<Output>,
    ) -> bool {
        if self.find(block.hash).is_some() {
            return false;
        }
        let mut tracked =
            Tracked { block, state, offers: BTreeMap::new(), next_watch: now.mono + FIRST_LOOK };
        tracked.advance(now, &self.nodes, self.height, out);
        self.blocks.push(tracked);
        true
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
        answer: Result<SubmitAnswer, RpcError>,
        out: &mut Vec<Output>,
    ) {
        let Some(offer) = self.offers.get_mut(&node) else { return };
        match answer {
            Ok(SubmitAnswer::Accepted | SubmitAnswer::Duplicate) => {
                *offer = Offer::Has;
                // A block that others stand on needs no preference; after a start there may be many.
                if !matches!(self.state, BlockState::Accepted { confirmations: 2.., .. }) {
                    out.push(Output::Precious { node, block: self.block.hash });
                }
                if matches!(self.state, BlockState::Candidate | BlockState::Refused { .. }) {
                    self.next_watch = now.mono + FIRST_LOOK;
                    self.change(BlockState::Accepted { by: node, confirmations: 0 }, out);
                }
            }
            Ok(SubmitAnswer::Inconclusive(reason)) => {
                // The node holds the block beside another of the same height.
                out.push(Output::Precious { node, block: self.block.hash });
                let ask_again = now.mono + LAST_RETRY;
                *offer = Offer::Refuses { reason, held: true, ask_again };
            }
            Ok(SubmitAnswer::Rejected(reason)) => {
                // The node lacks our block's parent and is about to get it from its peers.
                let is_behind = ["prev-blk-not-found", "bad-prevblk"].contains(&&*reason);
                let wait = if is_behind { LACKS_PARENT } else { ASK_AGAIN };
                *offer = Offer::Refuses { reason, held: false, ask_again: now.mono + wait };
                self.refused(out);
            }
            Err(_) => {
                let delay = match offer {
                    Offer::Waiting { delay, .. } | Offer::InFlight { delay, .. } => *delay,
                    Offer::Has | Offer::Refuses { .. } => FIRST_RETRY,
                };
                *offer =
                    Offer::Waiting { at: now.mono + delay, delay: (delay * 2).min(LAST_RETRY) };
            }
        }
    }

    /// Says so when nobody is left to hope for.
    fn refused(&mut self, out: &mut Vec<Output>) {
        let mut reasons = self.offers.values().map(|offer| match offer {
            Offer::Refuses { reason, .. } => Some(reason),
            _ => None,
        });
        if self.state == BlockState::Candidate
            && let Some(Some(reason)) = reasons.next()
            && reasons.all(|reason| reason.is_some())
        {
            let reason = reason.clone();
            self.change(BlockState::Refused { reason }, out);
        }
    }

    fn looked_at(
        &mut self,
        node: NodeId,
        confirmations: Option<i64>,
        height: u32,
        out: &mut Vec<Output>,
    ) {
        let buried = height >= self.block.height + MATURITY as u32;
        let first = match &self.state {
            BlockState::Accepted { by, .. } | BlockState::Orphaned { by } => *by,
            BlockState::Candidate | BlockState::Refused { .. } => node,
            BlockState::Mature | BlockState::Stale => return,
        };
        match confirmations {
            Some(n) if n >= MATURITY => self.change(BlockState::Mature, out),
            Some(n) if n >= 1 => {
                self.change(BlockState::Accepted { by: first, confirmations: n }, out);
            }
            Some(_) if buried => self.change(BlockState::Stale, out),
            Some(_) => self.change(BlockState::Orphaned { by: first }, out),
            // A node that does not know the block (restarted without it) is offered it again.
            None => {
                self.offers.remove(&node);
            }
        }
    }

    fn advance(&mut self, now: Now, nodes: &[NodeId], height: u32, out: &mut Vec<Output>) {
        if matches!(self.state, BlockState::Mature | BlockState::Stale) {
            return;
        }
        for node in nodes {
            let offer = self
                .offers
                .entry(*node)
                .or_insert(Offer::Waiting { at: now.mono, delay: FIRST_RETRY });
            if offer.is_due(now.mono) {
                *offer = Offer::InFlight { since: now.mono, delay: offer.delay() };
                let urgency = match self.state {
                    BlockState::Candidate => Urgency::Urgent,
                    _ => Urgency::CanWait,
                };
                out.push(Output::Submit { node: *node, block: self.block.clone(), urgency });
            }
        }
        if now.mono >= self.next_watch {
            self.next_watch = now.mono + WATCH;
            // A node that lost an accepted block and took it back beside the winner knows as well
            // as another that it is orphaned.
            let was_accepted =
                matches!(self.state, BlockState::Accepted { .. } | BlockState::Orphaned { .. });
            let holders = self.offers.iter().filter(|(_, offer)| match offer {
                Offer::Has => true,
                Offer::Refuses { held, .. } => *held && was_accepted,
                Offer::Waiting { .. } | Offer::InFlight { .. } => false,
            });
            let mut has_holder = false;
            for (node, _) in holders {
                has_holder = true;
                out.push(Output::AskConfirmations { node: *node, block: self.block.hash });
            }
            let lost = match self.state {
                BlockState::Candidate | BlockState::Refused { .. } => true,
                BlockState::Orphaned { .. } => !has_holder,
                BlockState::Accepted { .. } | BlockState::Mature | BlockState::Stale => false,
            };
            if lost && height >= self.block.height + MATURITY as u32 {
                self.change(BlockState::Stale, out);
            }
        }
    }

    fn change(&mut self, state: BlockState, out: &mut Vec<Output>) {
        if self.state != state {
            self.state = state;
            out.push(Output::Changed { block: self.block.clone(), state: self.state.clone() });
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let offers = self.offers.values().filter_map(|offer| offer.due());
        offers.chain([self.next_watch]).min()
    }
}

impl Offer {
    fn due(&self) -> Option<Instant> {
        match self {
            Offer::Waiting { at, .. } => Some(*at),
            Offer::InFlight { since, .. } => Some(*since + LOST),
            Offer::Refuses { ask_again, .. } => Some(*ask_again),
            Offer::Has => None,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| now >= due)
    }

    fn delay(&self) -> Duration {
        match self {
            Offer::Waiting { delay, .. } | Offer::InFlight { delay, .. } => *delay,
            Offer::Has | Offer::Refuses { .. } => FIRST_RETRY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);
    const HASH: BlockHash = BlockHash([7; 32]);

    struct World {
        start: Instant,
        seconds: f64,
        submissions: Submissions,
    }

    impl World {
        fn new() -> World {
            let mut world =
                World { start: Instant::now(), seconds: 0.0, submissions: Submissions::default() };
            world.input(Input::Nodes(vec![A, B]));
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

        fn solve(&mut self) -> Vec<Output> {
            self.input(Input::Solved(Arc::new(SolvedBlock {
                hash: HASH,
                height: 700,
                prev: BlockHash([6; 32]),
                value: 1,
                worker: "w".into(),
                solved_at: 0,
                bytes: vec![1],
            })))
        }

        fn solved_block(&mut self) -> Arc<SolvedBlock> {
            match &self.solve()[2] {
                Output::Changed { block, .. } => block.clone(),
                other => panic!("{other:?}"),
            }
        }

        fn answer(&mut self, node: NodeId, answer: Result<SubmitAnswer, RpcError>) -> Vec<Output> {
            self.input(Input::Answered { node, block: HASH, answer })
        }

        fn look(&mut self, node: NodeId, confirmations: Option<i64>) -> Vec<Output> {
            self.input(Input::Confirmations { node, block: HASH, confirmations })
        }

        fn state(&self) -> Option<BlockState> {
            self.submissions.blocks().next().map(|(_, state)| state.clone())
        }
    }

    fn submitted(out: &[Output]) -> Vec<NodeId> {
        out.iter()
            .filter_map(|o| match o {
                Output::Submit { node, .. } => Some(*node),
                _ => None,
            })
            .collect()
    }

    fn down() -> Result<SubmitAnswer, RpcError> {
        Err(RpcError::Transport("refused".into()))
    }

    #[test]
    fn a_block_goes_to_all_nodes_before_anything_is_recorded() {
        let mut world = World::new();
        let out = world.solve();
        assert_eq!(submitted(&out), [A, B]);
        assert!(matches!(out[0], Output::Submit { .. }) && matches!(out[1], Output::Submit { .. }));
        assert!(matches!(out[2], Output::Changed { state: BlockState::Candidate, .. }));
        assert!(world.submissions.is_busy());
        assert!(world.solve().is_empty(), "the same block again changes nothing");
    }

    #[test]
    fn the_first_acceptance_wins_and_the_rest_go_on() {
        let mut world = World::new();
        world.solve();
        world.answer(B, Ok(SubmitAnswer::Accepted));
        assert_eq!(world.state(), Some(BlockState::Accepted { by: B, confirmations: 0 }));
        assert!(!world.submissions.is_busy());
        world.answer(A, down());
        world.seconds = 0.1;
        assert_eq!(submitted(&world.input(Input::Tick)), [A], "A is still offered the block");
        world.answer(A, Ok(SubmitAnswer::Duplicate));
        assert_eq!(world.state(), Some(BlockState::Accepted { by: B, confirmations: 0 }));
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
        assert_eq!(world.state(), Some(BlockState::Accepted { by: A, confirmations: 0 }));
    }

    #[test]
    fn an_answer_that_never_comes_is_not_waited_for() {
        let mut world = World::new();
        world.solve();
        world.seconds = LOST.as_secs_f64();
        assert_eq!(submitted(&world.input(Input::Tick)), [A, B]);
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
        world.seconds = 60.0;
        assert_eq!(submitted(&world.input(Input::Tick)), [A, B]);
        world.answer(B, Ok(SubmitAnswer::Accepted));
        assert!(matches!(world.state(), Some(BlockState::Accepted { by: B, .. })));
    }

    #[test]
    fn a_node_that_lacks_the_parent_is_asked_again_soon() {
        let mut world = World::new();
        world.solve();
        world.answer(A, Ok(SubmitAnswer::Rejected("prev-blk-not-found".into())));
        world.answer(B, Ok(SubmitAnswer::Accepted));
        world.seconds = 1.0;
        assert_eq!(submitted(&world.input(Input::Tick)), [A]);
    }

    #[test]
    fn an_accepted_block_is_watched_until_it_is_mature() {
        let mut world = World::new();
        world.solve();
        world.answer(A, Ok(SubmitAnswer::Accepted));
        world.seconds = 1.0;
        let out = world.input(Input::Tick);
        assert!(matches!(out[..], [Output::AskConfirmations { node: A, .. }]), "{out:?}");
        world.look(A, Some(1));
        assert_eq!(world.state(), Some(BlockState::Accepted { by: A, confirmations: 1 }));
        world.look(A, Some(-1));
        assert_eq!(world.state(), Some(BlockState::Orphaned { by: A }));
        world.look(A, Some(3));
        assert_eq!(world.state(), Some(BlockState::Accepted { by: A, confirmations: 3 }));
        let out = world.look(A, Some(100));
        assert!(matches!(&out[0], Output::Changed { state: BlockState::Mature, .. }));
        assert_eq!(world.state(), None);
        assert_eq!(world.submissions.next_deadline(), None);
    }

    #[test]
    fn a_lost_race_ends_as_stale_after_a_hundred_blocks() {
        let mut world = World::new();
        world.solve();
        world.answer(A, Ok(SubmitAnswer::Accepted));
        world.look(A, Some(-1));
        world.input(Input::Height(799));
        world.look(A, Some(-1));
        assert_eq!(world.state(), Some(BlockState::Orphaned { by: A }));
        world.input(Input::Height(800));
        let out = world.look(A, Some(-1));
        assert!(matches!(&out[0], Output::Changed { state: BlockState::Stale, .. }));
    }

    #[test]
    fn a_node_that_forgot_the_block_is_given_it_again() {
        let mut world = World::new();
        world.solve();
        world.answer(A, Ok(SubmitAnswer::Accepted));
        assert_eq!(submitted(&world.look(A, None)), [A]);
    }

    #[test]
    fn an_accepted_block_that_is_taken_back_beside_the_winner_is_orphaned() {
        let mut world = World::new();
        world.solve();
        for node in [A, B] {
            world.answer(node, Ok(SubmitAnswer::Accepted));
            // Both crash, lose it, and meet the winner before our block comes again.
            world.look(node, None);
            world.answer(node, Ok(SubmitAnswer::Inconclusive("inconclusive".into())));
        }
        assert!(matches!(world.state(), Some(BlockState::Accepted { .. })));
        let mut asked = Vec::new();
        for _ in 0..31 {
            world.seconds += 1.0;
            for output in world.input(Input::Tick) {
                match output {
                    Output::AskConfirmations { node, .. } => asked.push(node),
                    Output::Submit { node, .. } => {
                        let words = "duplicate-inconclusive".into();
                        world.answer(node, Ok(SubmitAnswer::Inconclusive(words)));
                    }
                    _ => {}
                }
            }
        }
        assert!(asked.contains(&A) && asked.contains(&B));
        world.look(A, Some(-1));
        assert_eq!(world.state(), Some(BlockState::Orphaned { by: A }));
        world.input(Input::Height(10_000_000));
        world.look(A, Some(-1));
        assert_eq!(world.state(), None, "final, and forgotten");
    }

    #[test]
    fn a_block_of_an_earlier_run_is_taken_up_where_it_stood() {
        let mut world = World::new();
        let block = world.solved_block();
        let mut world = World::new();
        let stood = BlockState::Accepted { by: A, confirmations: 3 };
        let out = world.input(Input::Restored(block, stood.clone()));
        assert_eq!((submitted(&out), out.len()), (vec![A, B], 2), "nothing is recorded anew");
        assert_eq!(world.state(), Some(stood.clone()));
        world.answer(A, Ok(SubmitAnswer::Duplicate));
        assert_eq!(world.state(), Some(stood));
        world.look(A, Some(4));
        assert_eq!(world.state(), Some(BlockState::Accepted { by: A, confirmations: 4 }));
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
        let precious = |out: &[Output]| out.iter().any(|o| matches!(o, Output::Precious { .. }));
        assert!(precious(&world.answer(A, Ok(SubmitAnswer::Accepted))));
        world.answer(B, down());
        world.look(A, Some(2));
        world.seconds = 0.1;
        assert_eq!(urgent(&world.input(Input::Tick)), [false]);
        assert!(!precious(&world.answer(B, Ok(SubmitAnswer::Duplicate))));
    }

    #[test]
    fn a_question_without_a_place_is_asked_again_soon() {
        let mut world = World::new();
        world.solve();
        world.answer(A, Ok(SubmitAnswer::Accepted));
        let asked = |out: Vec<Output>| {
            out.iter().filter(|o| matches!(o, Output::AskConfirmations { .. })).count()
        };
        world.seconds = 1.0;
        assert_eq!(asked(world.input(Input::Tick)), 1);
        world.input(Input::NotAsked(HASH));
        world.seconds = 2.0;
        assert_eq!(asked(world.input(Input::Tick)), 1);
        world.seconds = 3.0;
        assert_eq!(asked(world.input(Input::Tick)), 0, "this time there was a place");
    }

    #[test]
    fn a_lost_block_of_an_earlier_run_is_offered_without_haste_and_can_come_back() {
        let mut world = World::new();
        let block = world.solved_block();
        let restore = |world: &mut World| {
            let orphaned = BlockState::Orphaned { by: A };
            let out = world.input(Input::Restored(block.clone(), orphaned));
            assert_eq!(submitted(&out), [A, B]);
            let hurried = |o: &Output| matches!(o, Output::Submit { urgency: Urgency::Urgent, .. });
            assert!(!out.iter().any(hurried) && !world.submissions.is_busy());
        };
        let mut world = World::new();
        restore(&mut world);
        world.answer(A, Ok(SubmitAnswer::Accepted));
        world.look(A, Some(2));
        assert_eq!(world.state(), Some(BlockState::Accepted { by: A, confirmations: 2 }));

        // No node takes it: it is forgotten when it is buried.
        let mut world = World::new();
        restore(&mut world);
        for node in [A, B] {
            world.answer(node, Ok(SubmitAnswer::Rejected("bad-prevblk".into())));
        }
        world.input(Input::Height(800));
        world.seconds = 31.0;
        world.input(Input::Tick);
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
