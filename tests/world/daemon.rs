//! The pure cores, put together as the daemon puts them together, without its I/O: what it would
//! do to sockets, threads and files is written down as [`Want`]s.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use soloist::block::SolvedBlock;
use soloist::block::submission::{self, BlockState, Submissions};
use soloist::chain::{BlockHash, Chain};
use soloist::clock::Now;
use soloist::failover::{self, Failover, Follow, GateWhy, LeadWhy, NodeSpec, Setup, TemplateSeen};
use soloist::ids::{ConnId, Extranonce1, NodeId};
use soloist::job::Work;
use soloist::node::{NodeEvent, NodeEventKind};
use soloist::pool::{self, Pool};
use soloist::priority::Urgency;
use soloist::reject::Reject;
use soloist::stratum::firmware::Saved;
use soloist::stratum::frame::Lines;
use soloist::stratum::outbox::{CloseReason, Outbox};
use soloist::stratum::session::{Rules, SessionKey};
use soloist::template::Template;

/// What the shells are to do.
#[derive(Debug)]
pub enum Want {
    Fetch(NodeId),
    Poll(NodeId),
    /// The tip, after a quarter of a second or when it changes.
    Wait(NodeId),
    TryWait(NodeId),
    Header(NodeId, BlockHash),
    Health(NodeId),
    Permissions(NodeId),
    ChainTips(NodeId),
    /// The blocks of the node's best chain at these heights.
    BlocksAt(NodeId, Vec<u64>),
    Submit(NodeId, Arc<SolvedBlock>, Urgency),
    Precious(NodeId, BlockHash),
    Position(NodeId, BlockHash),
    Send(ConnId, Vec<u8>),
    Close(ConnId, CloseReason),
    /// The pool saw a block; whether it is news is the submissions' to know.
    Solved(Arc<SolvedBlock>),
    Counted,
    Refused(Reject),
    Gated(GateWhy),
    Ungated,
    Lead {
        first: bool,
        why: LeadWhy,
    },
    /// New work went out to all.
    Work {
        new_tip: bool,
        empty: bool,
    },
    BlockState(BlockHash, BlockState),
}

/// The owner's script: P2WPKH of nobody.
const PAYOUT: [u8; 22] = [0, 20, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7];

/// All that the daemon knows.
pub struct Daemon {
    pub failover: Failover,
    pub pool: Pool,
    pub submissions: Submissions,
    outbox: Outbox,
    latest: BTreeMap<NodeId, (Arc<Template>, Instant)>,
    /// Difficulties to remember, by worker; in truth the ledger's.
    levels: BTreeMap<String, f64>,
    wants: Vec<Want>,
    /// The next deadline, as long as nothing was handed in since it was asked for.
    deadline: Option<Option<Instant>>,
    pub largest_outbox: usize,
}

/// What a restart finds on the card.
pub struct Card {
    pub levels: BTreeMap<String, f64>,
    pub spool: Vec<(Arc<SolvedBlock>, BlockState)>,
}

impl Daemon {
    pub fn new(
        now: Now,
        nodes: &[NodeId],
        follow: Follow,
        first_job_id: u32,
        card: Card,
    ) -> Daemon {
        let setup = Setup {
            nodes: nodes
                .iter()
                .map(|id| NodeSpec {
                    id: *id,
                    name: format!("n{}", id.0),
                    host: format!("10.0.0.{}", id.0),
                })
                .collect(),
            chains: vec![Chain::Main],
            grace: failover::DEFAULT_GRACE,
            follow,
        };
        let rules = Rules {
            session_key: SessionKey([7; 32]),
            password: None,
            overrides: Vec::new(),
            payee_chains: Vec::new(),
        };
        let mut daemon = Daemon {
            failover: Failover::new(now, setup),
            pool: Pool::new(rules, first_job_id),
            submissions: Submissions::default(),
            outbox: Outbox::new(),
            latest: BTreeMap::new(),
            levels: card.levels,
            wants: Vec::new(),
            deadline: None,
            largest_outbox: 0,
        };
        daemon.blocks_input(now, submission::Input::Nodes(nodes.to_vec()));
        for (block, state) in card.spool {
            daemon.failover.solved(block.hash, block.height.into());
            daemon.blocks_input(now, submission::Input::Restored(block, restored(state)));
        }
        daemon.tick(now);
        daemon
    }

    /// What a power cut leaves: the spool is written with each block and with each state.
    pub fn card(&self) -> Card {
        let spool = self.submissions.blocks().map(|(block, state)| (block.clone(), state.clone()));
        Card { levels: self.levels.clone(), spool: spool.collect() }
    }

    pub fn wants(&mut self) -> Vec<Want> {
        std::mem::take(&mut self.wants)
    }

    pub fn next_deadline(&mut self) -> Option<Instant> {
        let cores = || {
            [
                self.failover.next_deadline(),
                self.pool.next_deadline(),
                self.submissions.next_deadline(),
            ]
        };
        *self.deadline.get_or_insert_with(|| cores().into_iter().flatten().min())
    }

    pub fn tick(&mut self, now: Now) {
        let due = |at: Option<Instant>| at.is_some_and(|at| now.mono >= at);
        if !due(self.next_deadline()) {
            return;
        }
        if due(self.failover.next_deadline()) {
            self.failover_input(now, failover::Input::Tick);
        }
        if due(self.pool.next_deadline()) {
            self.pool_input(now, pool::Input::Tick);
        }
        if due(self.submissions.next_deadline()) {
            self.blocks_input(now, submission::Input::Tick);
        }
    }

    // -- nodes --

    pub fn node_event(&mut self, now: Now, event: NodeEvent) {
        if let NodeEventKind::Template { template, took, .. } = &event.kind {
            let made = now.mono.checked_sub(*took).unwrap_or(now.mono);
            self.latest.insert(event.node, (template.clone(), made));
        }
        match &event.kind {
            NodeEventKind::Submitted { block, answer, .. } => {
                let (node, block, answer) = (event.node, *block, answer.clone());
                self.blocks_input(now, submission::Input::Answered { node, block, answer });
            }
            NodeEventKind::Position { block, answer, .. } => {
                let (node, block, position) = (event.node, *block, answer.as_ref().ok().copied());
                self.blocks_input(now, submission::Input::Position { node, block, position });
            }
            _ => {}
        }
        if let Some(input) = failover::Input::from_event(&event, facts) {
            self.failover_input(now, input);
        }
        let tip = match &event.kind {
            NodeEventKind::Template { template, .. } => Some(template.prev),
            NodeEventKind::Tip { hash, .. } => Some(*hash),
            NodeEventKind::Health { report, .. } => Some(report.best),
            _ => None,
        };
        if let Some(hash) = tip {
            self.blocks_input(now, submission::Input::Tip { node: event.node, hash });
        }
    }

    fn failover_input(&mut self, now: Now, input: failover::Input) {
        self.deadline = None;
        let mut outputs = Vec::new();
        self.failover.handle(now, input, &mut outputs);
        for output in outputs {
            self.failover_output(now, output);
        }
    }

    fn failover_output(&mut self, now: Now, output: failover::Output) {
        use failover::Output;
        match output {
            Output::FetchTemplate { node, .. } => self.wants.push(Want::Fetch(node)),
            Output::PollTip { node, waits: true } => self.wants.push(Want::Wait(node)),
            Output::PollTip { node, waits: false } => self.wants.push(Want::Poll(node)),
            Output::TryWait { node } => self.wants.push(Want::TryWait(node)),
            Output::AskHeader { node, tip } => self.wants.push(Want::Header(node, tip)),
            Output::AskHealth { node } => self.wants.push(Want::Health(node)),
            Output::AskPermissions { node } => self.wants.push(Want::Permissions(node)),
            Output::AskChainTips { node } => self.wants.push(Want::ChainTips(node)),
            Output::AskBlocksAt { node, heights } => self.wants.push(Want::BlocksAt(node, heights)),
            Output::Lead { from, why, .. } => {
                self.wants.push(Want::Lead { first: from.is_none(), why });
            }
            Output::Serve { node, new_tip } => {
                let Some((template, received)) = self.latest.get(&node).cloned() else { return };
                let height = template.height;
                self.set_work(now, template, node, received, false, new_tip);
                if new_tip {
                    self.blocks_input(now, submission::Input::Height(height - 1));
                    // The block is shown to all nodes, which is more than this world has.
                    self.failover_input(now, failover::Input::Rehearsed);
                }
            }
            Output::EmptyJob { node, tip, median_time } => {
                let Some(work) = self.pool.jobs().work().cloned() else { return };
                let node_time = work.node_time(now.mono);
                let empty = work.template.empty_on(tip, median_time, Chain::Main, node_time);
                if let Some(template) = empty {
                    self.set_work(now, Arc::new(template), node, now.mono, true, true);
                }
            }
            Output::Gate { why } => {
                self.wants.push(Want::Gated(why));
                self.pool_input(now, pool::Input::NoWork);
            }
            Output::Ungate => self.wants.push(Want::Ungated),
            Output::ClockSet { .. } | Output::Event(_) => {}
        }
    }

    fn set_work(
        &mut self,
        now: Now,
        template: Arc<Template>,
        node: NodeId,
        received: Instant,
        empty: bool,
        new_tip: bool,
    ) {
        let work = Work::new(template, node, received, empty, &PAYOUT, "/Soloist/world/");
        self.pool_input(now, pool::Input::Work(Box::new(work)));
        self.wants.push(Want::Work { new_tip, empty });
    }

    // -- miners --

    pub fn connect(&mut self, now: Now, conn: ConnId, peer: std::net::IpAddr, random: [u8; 4]) {
        let extranonce1 = Extranonce1(random);
        self.pool_input(now, pool::Input::Connect { conn, peer, extranonce1 });
    }

    /// Bytes from a miner. False when they cannot be read.
    pub fn received(
        &mut self,
        now: Now,
        conn: ConnId,
        lines: &mut Lines,
        mut chunk: &[u8],
    ) -> bool {
        let fine = loop {
            match lines.next(&mut chunk) {
                Ok(Some(line)) => self.pool.line(now, conn, line, &mut self.outbox),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        self.carry_out(now);
        fine
    }

    pub fn closed(&mut self, now: Now, conn: ConnId) {
        if let Some(session) = self.pool.session(conn)
            && let Some((name, level)) = session.worker().zip(session.proven_difficulty())
        {
            self.levels.insert(name.to_owned(), level);
        }
        self.pool_input(now, pool::Input::Closed { conn });
    }

    fn pool_input(&mut self, now: Now, input: pool::Input) {
        self.pool.handle(now, input, &mut self.outbox);
        self.carry_out(now);
    }

    fn carry_out(&mut self, now: Now) {
        self.deadline = None;
        use soloist::stratum::outbox::Output;
        let mut bytes_written = 0;
        for output in self.outbox.take() {
            match output {
                Output::Block(block) => self.solved(now, *block),
                Output::Send { conn, bytes } => {
                    bytes_written = bytes_written.max(bytes.end);
                    self.wants.push(Want::Send(conn, self.outbox.bytes(&bytes).to_vec()));
                }
                Output::Close { conn, why } => self.wants.push(Want::Close(conn, why)),
                Output::Authorized { conn } => {
                    let name = self.pool.session(conn).and_then(|session| session.worker());
                    if let Some(level) = name.and_then(|name| self.levels.get(name)) {
                        let saved = Saved::Level(*level);
                        let input = pool::Input::Saved { conn, saved };
                        self.pool.handle(now, input, &mut self.outbox);
                    }
                }
                Output::Share { .. } => self.wants.push(Want::Counted),
                Output::Rejected { why, .. } => self.wants.push(Want::Refused(why)),
            }
        }
        self.largest_outbox = self.largest_outbox.max(bytes_written);
        self.outbox.clear();
    }

    // -- blocks --

    fn solved(&mut self, now: Now, block: SolvedBlock) {
        let block = Arc::new(block);
        self.failover.solved(block.hash, block.height.into());
        self.wants.push(Want::Solved(block.clone()));
        self.blocks_input(now, submission::Input::Solved(block));
    }

    fn blocks_input(&mut self, now: Now, input: submission::Input) {
        self.deadline = None;
        use submission::Output;
        let mut outputs = Vec::new();
        self.submissions.handle(now, input, &mut outputs);
        for output in outputs {
            self.wants.push(match output {
                Output::Submit { node, block, urgency } => Want::Submit(node, block, urgency),
                Output::Precious { node, block } => Want::Precious(node, block),
                Output::Look { node, block, .. } => Want::Position(node, block),
                Output::Changed { block, state, .. } => Want::BlockState(block.hash, state),
                Output::Shown { .. } => continue,
            });
        }
    }
}

/// As the daemon reads its spool, which tells neither a lost block from a stale one nor one beside
/// another from one that was only sent.
fn restored(state: BlockState) -> BlockState {
    match state {
        BlockState::Stale => BlockState::Orphaned,
        BlockState::Beside => BlockState::Candidate,
        state => state,
    }
}

fn facts(template: &Template) -> TemplateSeen {
    TemplateSeen {
        height: u64::from(template.height),
        prev: template.prev,
        curtime: u64::from(template.curtime),
        mintime: u64::from(template.mintime),
    }
}
