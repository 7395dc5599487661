//! The world: an event queue in virtual time between nodes, miners and the daemon's cores.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use soloist::block::SolvedBlock;
use soloist::block::submission::BlockState;
use soloist::chain::{BlockHash, Chain};
use soloist::clock::Now;
use soloist::failover::{Follow, LeadWhy, Standing};
use soloist::ids::{ConnId, NodeId, OutsideId};
use soloist::node::{
    Ask, Method, NodeEvent, NodeEventKind, RpcError, SubmitAnswer, TipSource, WAIT,
};
use soloist::p2p::Down;
use soloist::peer_address::Outside;
use soloist::priority_queue::Urgency;
use soloist::reject::Reject;
use soloist::stratum::frame::Framing;
use soloist::stratum::outbox::CloseReason;
use soloist::template::Template;

use super::Micros;
use super::chain::{Block, Blocks, View};
use super::daemon::{Card, Daemon, Want, Wishes};
use super::figures::Figures;
use super::miner::{Clock, Kind, Miner, Setup, Share};
use super::node::{
    Answer, Answered, Call, MAX_FUTURE, Mempool, Mode, Node, Pending, Shell, Words, is_too_new,
    lane,
};
use super::peer::{Owner, Port, Step};
use super::random::Random;
use super::rules::Power;
use super::strangers::{self, Strangers};

pub const SECOND: Micros = 1_000_000;
pub const MS: Micros = 1000;
/// For so long it is believed that a block is in a node's best chain, with the call that asked.
const SHOWN_FOR: Micros = 100 * SECOND;
/// 2026-11-21: what the clocks show at the start, in virtual time.
pub const UNIX: u64 = 1_795_000_000;

/// What sort of world.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub nodes: usize,
    pub miners: usize,
    /// Mean time from fault to fault; none without it.
    pub fault_every: Option<Micros>,
    /// What may go wrong with a node; what is here twice comes twice as often.
    pub faults: &'static [Fault],
    /// Mean time between one miner's shares.
    pub share_every: Micros,
    /// Compact target of all blocks.
    pub bits: u32,
    /// Shares are real ones: few of them are blocks.
    pub hard: bool,
    /// Others solve the height of our blocks as well, and answers to submissions get lost.
    pub races: bool,
    /// Mean time from the end of a split of the rules to the next; some nodes have strict rules then.
    pub split_every: Option<Micros>,
    /// Which chain is followed; by the seed without it.
    pub follow: Option<Follow>,
    /// Each node has its own P2P port; by the seed without it.
    pub ports: bool,
    /// What the owner wants of strangers, and how many there are, all well; by the seed without it.
    pub outside: Option<(Outside, u64)>,
}

#[derive(Debug)]
pub enum Event {
    /// A call has come to the node.
    Reach(usize, u64),
    /// An answer comes out of the node's shell.
    Answered(usize, u64, Answered),
    /// The shell's patience ends.
    Deadline(usize, u64),
    /// A node's life, the message's number, and the tip.
    Zmq(usize, u32, BlockHash),
    /// Something happens at a node's P2P port; the number of the connection.
    Port(usize, u64, Step),
    /// Something happens on a connection to a stranger; its number.
    Outside(OutsideId, u64, strangers::Step),
    /// The DNS seeds answer the daemon that has been running since then.
    Seeds(Micros),
    /// A stranger changes its ways.
    Fate,
    /// A block comes to a peer, sent by one of that life. The last two places are the rest of the world.
    Relay {
        from: Option<(usize, u32)>,
        to: usize,
        block: usize,
    },
    OthersBlock,
    /// A block that breaks the strict rules is due.
    Split,
    /// Hash power goes from some rules to the others.
    Shift,
    Fault,
    Mend(usize, Fault),
    /// A call that waits at a node has waited for long enough, or there is news.
    Waited(usize, u64),
    ToMiner(usize, ConnId, Vec<u8>),
    /// The pool's end of the connection is closed.
    Fin(usize, ConnId),
    /// Bytes come to the pool.
    ToPool(ConnId, Vec<u8>, Option<Share>),
    /// The pool learns that a connection is gone.
    Gone(ConnId),
    Connect(usize, u32),
    MinerShares(usize, u32),
    MinerSuggests(usize, u32),
    MinerLeaves(usize, u32),
    Restart,
    Audit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Kill,
    Warm,
    Hang,
    Cut,
    Lag,
    TemplateError,
    Forbid,
    SlowTemplates,
    ZmqOff,
    /// RPC alone is away: it says nothing, or 403, 503 or 500 to everything, or is closed.
    RpcHung,
    RpcForbidden,
    RpcBusy,
    RpcBroken,
    RpcRefused,
    /// The P2P port alone is away.
    PortClosed,
    /// It has lost all its peers, and does not know that there are new blocks.
    Alone,
    /// Its clock is set ahead by so much that others refuse its blocks.
    ClockAhead,
    /// Its clock is set back by so much that it refuses the blocks of others.
    ClockBehind,
    /// Its clock is set off by less than an hour, which harms nobody.
    ClockNear,
}

struct Wire {
    miner: usize,
    lines: Framing,
    open: bool,
}

/// A block of ours, as the world knows it.
pub struct Solved {
    pub place: usize,
    pub at: Micros,
}

pub struct World {
    seed: u64,
    pub now: Micros,
    base: Instant,
    pub random: Random,
    pub plan: Plan,
    /// The owner's setting.
    pub follow: Follow,
    queue: BinaryHeap<Reverse<(Micros, u64)>>,
    events: BTreeMap<u64, Event>,
    count: u64,
    pub blocks: Blocks,
    pub mempool: Mempool,
    /// The rest of the world: those who follow most work, and those with strict rules.
    pub net: View,
    pub strict_net: View,
    pub power: Power,
    pub strangers: Strangers,
    pub nodes: Vec<Node>,
    pub miners: Vec<Miner>,
    wires: BTreeMap<ConnId, Wire>,
    next_conn: u64,
    pub open: bool,
    pub daemon: Daemon,
    pub solved: Vec<Solved>,
    /// What the pool reported of the bytes that it reads now.
    reading: Vec<Want>,
    /// Height of the block that the newest work builds on, and that block.
    pub work_height: u32,
    pub work_tip: Option<usize>,
    /// Whose work it is, and since when.
    pub work_by: (usize, Micros),
    /// Tips that the daemon has heard of, and those of which a P2P port told first.
    pub heard: HashSet<usize>,
    pub heard_by_p2p: HashSet<usize>,
    /// Since when no node's RPC has answered.
    pub no_rpc_since: Option<Micros>,
    pub figures: Figures,
    pub calm: bool,
    /// When any node was known to be well last that has the blocks of the last job, and when one was that
    /// must give work.
    pub confirmed_at: Micros,
    pub last_usable: Micros,
    /// When a node led last.
    pub led_at: Micros,
    pub shut_since: Option<Micros>,
    digest: u64,
    restarted_at: Micros,
    /// Of templates whose time was not the true one: when they were made, and by how much.
    odd_times: VecDeque<(Micros, i64)>,
    /// When the newest template was made: while none is, those before it stay in use.
    template_at: Micros,
}

impl World {
    pub fn new(seed: u64, plan: Plan) -> World {
        let mut random = Random::new(seed);
        let base = Instant::now() + Duration::from_secs(1_000_000);
        let blocks = Blocks::new(840_600, UNIX as u32 - 60);
        let follow = [Follow::Work, Follow::First][random.index(2)];
        let follow = plan.follow.unwrap_or(follow);
        let strangers = Strangers::new(seed, &plan);
        let chain = strangers.chain;
        let mut nodes: Vec<Node> = (0..plan.nodes)
            .map(|index| node(&mut random, index, &blocks, plan.bits, chain))
            .collect();
        ports(&mut random, &mut nodes, plan.ports);
        if plan.split_every.is_some() {
            rule_sets(&mut random, &mut nodes, plan.follow);
        }
        let miners: Vec<Miner> = (0..plan.miners)
            .map(|index| Miner::new(index, miner(&mut random, index, &plan)))
            .collect();
        let ids: Vec<NodeId> = (0..plan.nodes as u32).map(NodeId).collect();
        let now = Now { mono: base, unix: UNIX };
        let card = Card::default();
        let wishes = Wishes { follow, chain, outside: strangers.settings.clone() };
        let first_job_id = random.next() as u32;
        let mut world = World {
            seed,
            now: 0,
            base,
            plan,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            count: 0,
            mempool: Mempool::default(),
            net: View::new(&blocks),
            strict_net: View::new(&blocks),
            power: Power::new(),
            follow,
            work_height: 0,
            work_tip: None,
            work_by: (0, 0),
            heard: HashSet::new(),
            heard_by_p2p: HashSet::new(),
            no_rpc_since: None,
            blocks,
            nodes,
            miners,
            wires: BTreeMap::new(),
            next_conn: 1,
            open: false,
            daemon: Daemon::new(now, &ids, wishes, first_job_id, card),
            strangers,
            solved: Vec::new(),
            reading: Vec::new(),
            figures: Figures::default(),
            calm: false,
            confirmed_at: 0,
            last_usable: 0,
            led_at: 0,
            shut_since: None,
            digest: 0,
            restarted_at: 0,
            odd_times: VecDeque::new(),
            template_at: 0,
            random,
        };
        world.in_(world.plan.share_every.min(60 * SECOND), Event::OthersBlock);
        world.in_(SECOND, Event::Audit);
        if world.plan.split_every.is_some() {
            world.shift_power();
            world.plan_split();
        }
        if let Some(mean) = plan.fault_every {
            let wait = world.random.wait(mean);
            world.in_(30 * SECOND + wait, Event::Fault);
            let restart = world.random.between(7200, 4 * 7200);
            world.in_(restart * SECOND, Event::Restart);
            if plan.outside.is_none() && !world.strangers.list.is_empty() {
                world.in_(300 * SECOND, Event::Fate);
            }
        }
        for miner in 0..plan.miners {
            let wait = world.random.below(2 * SECOND);
            world.in_(wait, Event::Connect(miner, 0));
        }
        world.obey();
        world
    }

    /// Lets time pass.
    pub fn run(&mut self, span: Micros) {
        let end = self.now + span;
        loop {
            let next = self.queue.peek().map(|Reverse((at, _))| *at).unwrap_or(Micros::MAX);
            let deadline = self.daemon.next_deadline().map_or(Micros::MAX, |at| {
                let nanos = at.saturating_duration_since(self.base).as_nanos();
                Micros::try_from(nanos.div_ceil(1000)).unwrap_or(Micros::MAX)
            });
            let at = next.min(deadline);
            if at > end {
                break;
            }
            self.now = self.now.max(at);
            self.figures.events += 1;
            if next <= deadline {
                let Some(Reverse((_, order))) = self.queue.pop() else { break };
                if let Some(event) = self.events.remove(&order) {
                    self.happens(event);
                }
            }
            let now = self.clock();
            self.daemon.tick(now);
            self.obey();
        }
        self.now = end;
    }

    /// What was said to all miners, in one number.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Ends the test.
    pub fn fail(&self, why: impl std::fmt::Display) -> ! {
        for (index, node) in self.nodes.iter().enumerate() {
            eprintln!(
                "  n{index}: {:?}, RPC {:?}, P2P {:?} since {:?} s, {:?}, well since {:?} s, tip {}, strict {}, on a refused chain {}, \
                 tells {}, shows its tip alone {}",
                node.mode,
                node.rpc_out,
                node.port.owner,
                node.port.ready_since.map(|since| since / SECOND),
                node.words,
                node.well_since.map(|since| since / SECOND),
                self.blocks.get(node.view.tip).height,
                node.strict,
                self.blocks.get(node.view.tip).breaks.is_some(),
                node.tells,
                node.forbids_headers,
            );
        }
        let mono = self.clock().mono;
        for view in self.daemon.engine.failover().nodes(mono) {
            eprintln!("  the daemon of {}: {}", view.name, view.standing);
        }
        self.strangers.print();
        for view in self.daemon.engine.outside().connections() {
            eprintln!("  the daemon of {}: {:?}", view.address, view.height);
        }
        eprintln!(
            "  follow = {:?}, work on {}, {}",
            self.follow,
            self.work_height,
            self.daemon.engine.failover().states()
        );
        let seconds = self.now as f64 / 1e6;
        panic!("WORLD_SEED={} {:?}, at {seconds:.3} s: {why}", self.seed, self.plan);
    }

    pub fn clock(&self) -> Now {
        let mono = self.base + Duration::from_micros(self.now);
        Now { mono, unix: UNIX + self.now / SECOND }
    }

    pub fn in_(&mut self, wait: Micros, event: Event) {
        self.count += 1;
        self.queue.push(Reverse((self.now + wait, self.count)));
        self.events.insert(self.count, event);
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Reach(node, call) => self.reach(node, call),
            Event::Answered(node, call, answer) => self.answered(node, call, answer),
            Event::Deadline(node, call) => {
                if let Some(found) = self.nodes[node].calls.get(&call) {
                    let error = RpcError::Timeout(found.call.method().deadline());
                    self.finish(node, call, Err(error));
                }
            }
            Event::Zmq(index, life, hash) => {
                let node = &self.nodes[index];
                if node.life == life && node.is_up() {
                    let (source, took) = (TipSource::Zmq, Duration::ZERO);
                    self.tell(index, NodeEventKind::Tip { hash, height: None, source, took });
                }
            }
            Event::Port(node, number, step) => self.port_step(node, number, step),
            Event::Outside(id, number, step) => self.outside_step(id, number, step),
            Event::Seeds(run) => self.seeds_answer(run),
            Event::Fate => self.fate(),
            Event::Relay { from, to, block } => self.relay(from, to, block),
            Event::OthersBlock => self.others_block(),
            Event::Split => self.begin_split(),
            Event::Shift => self.shift_power(),
            Event::Fault => self.fault(),
            Event::Mend(node, fault) => self.mend(node, fault),
            Event::Waited(node, call) => self.waited(node, call),
            Event::ToMiner(miner, conn, bytes) => self.miner_hears(miner, conn, &bytes),
            Event::Fin(miner, conn) => {
                if self.miners[miner].conn == Some(conn) {
                    self.lose_miner(miner, 5 * SECOND);
                }
            }
            Event::ToPool(conn, bytes, share) => self.pool_hears(conn, &bytes, share),
            Event::Gone(conn) => self.gone(conn),
            Event::Connect(miner, epoch) => self.connect(miner, epoch),
            Event::MinerShares(miner, epoch) => self.miner_shares(miner, epoch),
            Event::MinerSuggests(miner, epoch) => {
                if self.miners[miner].epoch == epoch {
                    let line = self.miners[miner].suggest();
                    self.miner_says(miner, &line, None);
                    self.in_(30 * SECOND, Event::MinerSuggests(miner, epoch));
                }
            }
            Event::MinerLeaves(miner, epoch) => {
                if self.miners[miner].epoch == epoch {
                    self.miner_leaves(miner);
                }
            }
            Event::Restart => self.restart(),
            Event::Audit => {
                super::audit::audit(self);
                super::strangers_audit::audit(self);
                self.in_(SECOND, Event::Audit);
            }
        }
    }

    // -- what the daemon wants --

    pub fn obey(&mut self) {
        for want in self.daemon.wants() {
            match want {
                Want::Ask(node, ask) => {
                    self.may_ask(&ask);
                    self.asked(node.0 as usize, ask);
                }
                Want::Submit(node, block, urgency) => {
                    self.book(&block);
                    let node = node.0 as usize;
                    let [urgent, others] = &mut self.nodes[node].shell.blocks;
                    match urgency {
                        Urgency::Urgent => urgent.push_back(block),
                        Urgency::Normal => others.push_back(block),
                    }
                    self.submit_next(node);
                }
                Want::Send(conn, bytes) => self.send(conn, bytes),
                Want::Close(conn, why) => self.close(conn, why),
                Want::Gated(why) => {
                    let quiet = self.now - self.last_usable;
                    if quiet < 87 * SECOND {
                        self.fail(format!("gated ({why}), but a node was usable {quiet} µs ago"));
                    }
                    if let Some(index) = super::audit::confirmed_by_p2p(self) {
                        self.fail(format!("gated ({why}), but n{index} has the tip by P2P"));
                    }
                    self.open = false;
                    self.shut_since = Some(self.now);
                    self.figures.gates += 1;
                }
                Want::Ungated => {
                    self.open = true;
                    if let Some(since) = self.shut_since.take() {
                        self.figures.gated += self.now - since;
                    }
                }
                Want::Lead { first, why } => {
                    self.figures.failovers += u64::from(!first);
                    let is_clock = matches!(why, LeadWhy::Unfit(Standing::WrongClock(_)));
                    self.figures.clock_failovers += u64::from(is_clock);
                }
                Want::Work { new_tip, empty } => self.work(new_tip, empty),
                Want::BlockState(hash, state) => {
                    let place = self.blocks.find(hash).expect("a block of ours");
                    let since = self.now.saturating_sub(SHOWN_FOR);
                    let has_it = |node: &Node| node.view.had_in_chain(&self.blocks, place, since);
                    if matches!(state, BlockState::Accepted { .. } | BlockState::Mature)
                        && !self.nodes.iter().any(has_it)
                    {
                        self.fail(format!("{state:?}, though no node has it in its chain"));
                    }
                    let name = format!("{state:?}");
                    let name = name.split(' ').next().unwrap_or_default().to_owned();
                    *self.figures.block_states.entry(name).or_default() += 1;
                    self.note_offered(hash, &state);
                }
                Want::PeerConnect(node) => self.peer_connect(node.0 as usize),
                Want::Peer(node, order) => self.peer_order(node.0 as usize, order),
                want @ (Want::OutsideConnect { .. }
                | Want::Outside(..)
                | Want::OutsideDrop(_)
                | Want::AskSeeds(_)
                | Want::Keep(..)
                | Want::Told(_)) => self.obey_outside(want),
                Want::Solved(block) => {
                    self.book(&block);
                    self.note_offered(block.hash, &BlockState::Candidate);
                    self.reading.push(Want::Solved(block));
                }
                want @ (Want::Counted | Want::Refused(_)) => self.reading.push(want),
            }
        }
    }

    fn work(&mut self, new_tip: bool, empty: bool) {
        let Some(work) = self.daemon.engine.pool().jobs().work() else { return };
        let Some(tip) = self.blocks.find(work.template.prev) else {
            self.fail("work on a block that nobody has");
        };
        let height = self.blocks.get(tip).height;
        if work.template.height != height + 1 {
            self.fail(format!("work at height {} on {height}", work.template.height));
        }
        self.figures.works += 1;
        self.figures.works_by_p2p += u64::from(new_tip && self.heard_by_p2p.contains(&tip));
        self.figures.works_without_rpc += u64::from(empty && self.no_rpc_since.is_some());
        self.work_tip = Some(tip);
        let node = work.node.0 as usize;
        if self.work_by.0 != node {
            self.work_by = (node, self.now);
        }
        self.figures.empty_works += u64::from(empty);
        if new_tip
            && height > self.work_height
            && let Some(since) = super::audit::known_since(self, height - 1)
        {
            self.figures.tip_to_work.push(self.now - since);
        }
        self.work_height = height;
        if self.is_forbidden(tip, 0) {
            self.fail("work on a block that the first node has refused");
        }
    }

    // -- the shells of the nodes --

    /// What is asked one at a time is not asked while the place for it in the shell is taken.
    fn asked(&mut self, node: usize, ask: Ask) {
        let shell = &mut self.nodes[node].shell;
        let place = match &ask {
            Ask::Template(_) => {
                shell.fetch = (shell.fetch + 1).min(2);
                if shell.fetch == 1 {
                    self.ask(node, ask);
                }
                return;
            }
            Ask::Position { .. } => {
                shell.positions += 1;
                if shell.positions > 2 {
                    self.fail("more questions for blocks than a node has places");
                }
                return self.ask(node, ask);
            }
            // The nodes of this world say nothing to a block that is only shown.
            Ask::Propose { .. } => return,
            Ask::Tip | Ask::WaitForTip => &mut shell.poll,
            Ask::TryWait => &mut shell.trial,
            Ask::Header(_) => &mut shell.header,
            Ask::Health => &mut shell.health,
            Ask::Permissions => &mut shell.permissions,
            Ask::ChainTips => &mut shell.chain_tips,
            Ask::BlocksAt(_) => &mut shell.blocks_at,
            Ask::Addresses => &mut shell.addresses,
            Ask::Precious(_) => &mut shell.precious,
        };
        if !std::mem::replace(place, true) {
            self.figures.waits += u64::from(matches!(ask, Ask::WaitForTip));
            self.ask(node, ask);
        }
    }

    /// A call takes its lane, or waits there; a template overtakes what waits.
    fn ask(&mut self, node: usize, ask: Ask) {
        let (busy, queue) = &mut self.nodes[node].shell.lanes[lane(&ask)];
        match (std::mem::replace(busy, true), &ask) {
            (false, _) => self.call(node, Call::Ask(ask)),
            (true, Ask::Template(_) | Ask::Header(_)) => queue.push_front(ask),
            (true, _) => queue.push_back(ask),
        }
    }

    fn next_in_lane(&mut self, node: usize, lane: usize) {
        let (busy, queue) = &mut self.nodes[node].shell.lanes[lane];
        match queue.pop_front() {
            Some(ask) => self.call(node, Call::Ask(ask)),
            None => *busy = false,
        }
    }

    fn submit_next(&mut self, node: usize) {
        let shell = &mut self.nodes[node].shell;
        if shell.submits {
            return;
        }
        let [urgent, others] = &mut shell.blocks;
        if let Some(block) = urgent.pop_front().or_else(|| others.pop_front()) {
            shell.submits = true;
            self.call(node, Call::Submit(block));
        }
    }

    fn call(&mut self, node: usize, call: Call) {
        self.count += 1;
        let id = self.count;
        let deadline = call.method().deadline().as_micros() as Micros;
        let pending = Pending { call, sent: self.now, held: None };
        self.nodes[node].calls.insert(id, pending);
        let way = self.way(node);
        self.in_(way, Event::Reach(node, id));
        self.in_(deadline, Event::Deadline(node, id));
    }

    pub fn way(&mut self, node: usize) -> Micros {
        let distance = self.nodes[node].distance;
        distance / 2 + self.random.below(distance + 1)
    }

    /// A call comes to the node.
    fn reach(&mut self, index: usize, id: u64) {
        let node = &self.nodes[index];
        let (mode, is_stuck, out) = (node.mode, node.is_stuck(), node.rpc_error());
        let Some(pending) = self.nodes[index].calls.get_mut(&id) else {
            return self.serve_next(index);
        };
        match mode {
            Mode::Cut | Mode::Hung => {}
            Mode::Killed => {
                let refused = RpcError::Refused;
                self.finish(index, id, Err(refused));
            }
            Mode::Warming => {
                let message = "Loading block index…".to_owned();
                self.reply(index, id, MS, Err(RpcError::Rpc { code: -28, message }));
            }
            Mode::Up if is_stuck => {}
            Mode::Up if let Some(error) = out => self.reply(index, id, MS, Err(error)),
            Mode::Up => {
                let call = pending.call.clone();
                let node = &mut self.nodes[index];
                if node.serving.contains(&id) || node.queue.contains(&id) {
                    return;
                }
                if node.serving.len() >= node.threads {
                    node.queue.push_back(id);
                    return;
                }
                node.serving.insert(id);
                // The guest's rule: two of the node's threads, and a third for a block.
                let ours = node.serving.iter().filter_map(|id| node.calls.get(id));
                let ordinary = ours.filter(|pending| matches!(pending.call, Call::Ask(_))).count();
                assert!(ordinary <= 2, "{ordinary} ordinary calls at n{index} at once");
                self.process(index, id, &call);
            }
        }
    }

    fn process(&mut self, index: usize, id: u64, call: &Call) {
        let clock = self.clock();
        let (now, unix) = (self.now, clock.unix);
        let node = &mut self.nodes[index];
        let mut takes = MS;
        let answer = match call {
            Call::Ask(Ask::WaitForTip | Ask::TryWait) => {
                self.in_(WAIT.as_micros() as Micros, Event::Waited(index, id));
                return;
            }
            Call::Ask(Ask::Header(hash)) => {
                let message = "Block not found".to_owned();
                let header = node.header(&self.blocks, *hash);
                header.map(Answer::Header).ok_or(RpcError::Rpc { code: -5, message })
            }
            Call::Ask(Ask::Template(_)) => match &node.template_error {
                Some(error) => Err(error.clone()),
                None => {
                    takes = node.template_takes + node.slow;
                    let template = node.template(&self.blocks, &mut self.mempool, now, unix);
                    self.note_time(&template);
                    Ok(Answer::Template(Arc::new(template)))
                }
            },
            Call::Ask(Ask::Tip) => Ok(Answer::Tip(self.blocks.get(node.view.tip).hash)),
            Call::Ask(Ask::Health) => {
                let best = if node.strict { self.strict_net.tip } else { self.net.tip };
                let header = self.blocks.get(best).height;
                let knows_more = node.lag_until > now && !node.is_alone;
                let header = if knows_more { header } else { 0 };
                Ok(Answer::Health(Box::new(node.report(&self.blocks, header, clock))))
            }
            Call::Ask(Ask::Permissions) => {
                takes = 10 * MS;
                Ok(Answer::Permissions(node.permissions()))
            }
            Call::Submit(_) if node.forbids => Err(RpcError::Forbidden { method: "submitblock" }),
            Call::Ask(Ask::ChainTips) => {
                self.figures.chain_tips += 1;
                node.chain_tips(&self.blocks)
            }
            Call::Ask(Ask::BlocksAt(heights)) => {
                self.figures.blocks_at += 1;
                Ok(Answer::BlocksAt(node.blocks_at(&self.blocks, heights)))
            }
            Call::Submit(block) => {
                takes = 20 * MS;
                let words = node.submit(&self.blocks, &self.mempool, block, unix);
                let words = self.take_submission(index, block, words);
                match self.plan.races && self.random.one_in(3) {
                    true => Err(RpcError::Transport("connection reset".into())),
                    false => Ok(Answer::Submitted(words)),
                }
            }
            Call::Ask(Ask::Precious(_) | Ask::Addresses) if node.words == Words::Bcoin => {
                Err(RpcError::Rpc { code: -32601, message: "Method not found".into() })
            }
            Call::Ask(Ask::Addresses) => Ok(Answer::Addresses(self.strangers.listed(unix))),
            Call::Ask(Ask::Precious(hash)) => {
                if let Some(block) = self.blocks.find(*hash)
                    && node.view.precious(&self.blocks, block, now)
                {
                    self.figures.precious += 1;
                    self.tip_moved(index);
                }
                Ok(Answer::Precious)
            }
            Call::Ask(Ask::Position { block, .. }) => {
                Ok(Answer::Position(node.position(&self.blocks, *block)))
            }
            Call::Ask(Ask::Propose { .. }) => unreachable!("it is not asked"),
        };
        self.reply(index, id, takes, answer);
    }

    /// A call that waited is answered, if it has not been before.
    fn waited(&mut self, index: usize, id: u64) {
        let node = &self.nodes[index];
        let Some(pending) = node.calls.get(&id).filter(|_| node.serving.contains(&id)) else {
            // Its client has given it up: the thread is free again.
            self.thread_free(index, id);
            return;
        };
        if pending.held.is_some() {
            return;
        }
        let tip = self.blocks.get(node.view.tip);
        let answer = match pending.call {
            Call::Ask(Ask::TryWait) => Answer::Beside(node.threads > 1),
            _ => Answer::Waited(tip.hash, u64::from(tip.height)),
        };
        self.reply(index, id, MS / 10, Ok(answer));
    }

    /// A thread of the node has answered: the next call has its turn.
    fn thread_free(&mut self, index: usize, id: u64) {
        let node = &mut self.nodes[index];
        if node.serving.remove(&id) {
            self.serve_next(index);
        }
    }

    /// The first call in the queue whose client still waits.
    fn serve_next(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        while let Some(next) = node.queue.pop_front() {
            if node.calls.contains_key(&next) {
                return self.in_(0, Event::Reach(index, next));
            }
        }
    }

    fn take_submission(
        &mut self,
        index: usize,
        block: &SolvedBlock,
        words: Result<usize, String>,
    ) -> Option<String> {
        let place = self.blocks.find(block.hash);
        let known = place.is_some_and(|place| self.nodes[index].view.knows(place));
        if words.is_ok() || known {
            self.nodes[index].has_said.extend(place);
        }
        match words {
            Ok(place) => {
                let was_too_new = self.nodes[index].too_new.remove(&place);
                self.figures.taken_later += u64::from(was_too_new);
                let moved = self.take(index, place);
                self.figures.ties += u64::from(!moved);
                let words = self.nodes[index].words;
                (!moved && words != Words::Bcoin).then(|| "inconclusive".to_owned())
            }
            Err(words) if words == "time-too-new" => {
                self.figures.too_new += 1;
                self.nodes[index].too_new.extend(place);
                Some(words)
            }
            Err(words) => {
                let is_strict = self.nodes[index].strict;
                let breaks = place.is_some_and(|place| self.blocks.get(place).breaks.is_some());
                if is_strict && breaks {
                    self.figures.refused_by_rules += 1;
                }
                if words.contains("prev") {
                    self.nodes[index].lacked_parent.extend(place);
                }
                let known = [
                    "duplicate",
                    "duplicate-inconclusive",
                    "prev-blk-not-found",
                    "rejected: duplicate",
                    "rejected: bad-prevblk",
                    if is_strict && breaks { "bad-prevblk" } else { "duplicate" },
                ];
                if !known.contains(&&*words) {
                    self.fail(format!("node n{index} refuses block {}: {words}", block.height));
                }
                Some(words)
            }
        }
    }

    /// The node answers: one call after the other, as one that holds its lock.
    fn reply(&mut self, index: usize, id: u64, takes: Micros, answer: Answered) {
        let start = self.now.max(self.nodes[index].busy_until);
        self.nodes[index].busy_until = start + takes;
        let way = self.way(index);
        self.in_(start + takes - self.now + way, Event::Answered(index, id, answer));
    }

    fn answered(&mut self, index: usize, id: u64, answer: Answered) {
        let (mode, is_stuck) = (self.nodes[index].mode, self.nodes[index].is_stuck());
        if !is_stuck || !self.nodes[index].calls.contains_key(&id) {
            self.thread_free(index, id);
        }
        let Some(pending) = self.nodes[index].calls.get_mut(&id) else { return };
        match mode {
            _ if is_stuck => pending.held = Some(answer),
            Mode::Up | Mode::Warming | Mode::Hung => self.finish(index, id, answer),
            // Lost; the shell's deadline comes.
            Mode::Cut => {}
            Mode::Killed => {}
        }
    }

    /// A call is over. What the shell does then is in `src/rpc/watch.rs`.
    fn finish(&mut self, index: usize, id: u64, answer: Answered) {
        let Some(pending) = self.nodes[index].calls.remove(&id) else { return };
        let took = Duration::from_micros(self.now - pending.sent);
        let method = pending.call.method();
        let shell = &mut self.nodes[index].shell;
        // A fetch that was asked for meanwhile follows before anything else.
        let again = matches!(pending.call, Call::Ask(Ask::Template(_)))
            && shell.fetch == 2
            && answer.is_ok();
        match &pending.call {
            call if again => self.call(index, call.clone()),
            Call::Ask(ask) => self.next_in_lane(index, lane(ask)),
            Call::Submit(_) => {}
        }
        let shell = &mut self.nodes[index].shell;
        match (pending.call, answer) {
            (Call::Ask(Ask::Template(_)), answer) => {
                shell.fetch = u8::from(again);
                self.tell(index, template_event(answer, method, took));
            }
            (Call::Ask(Ask::Tip | Ask::WaitForTip), answer) => {
                shell.poll = false;
                self.tell(
                    index,
                    match answer {
                        Ok(Answer::Tip(hash)) => {
                            NodeEventKind::Tip { hash, height: None, source: TipSource::Poll, took }
                        }
                        Ok(Answer::Waited(hash, height)) => {
                            let height = Some(height);
                            NodeEventKind::Tip { hash, height, source: TipSource::Wait, took }
                        }
                        answer => failed(answer, method, took),
                    },
                );
            }
            (Call::Ask(Ask::TryWait), answer) => {
                shell.trial = false;
                let outcome = match answer {
                    Ok(Answer::Beside(beside)) => Ok(beside),
                    Ok(_) => unreachable!("a trial answers yes or no"),
                    Err(error) => Err(error),
                };
                self.tell(index, NodeEventKind::WaitTried(outcome));
            }
            (Call::Ask(Ask::Header(hash)), answer) => {
                shell.header = false;
                self.tell(
                    index,
                    match answer {
                        Ok(Answer::Header(header)) => NodeEventKind::Header { hash, header },
                        answer => failed(answer, method, took),
                    },
                );
            }
            (Call::Ask(Ask::Health), answer) => {
                shell.health = false;
                self.tell(
                    index,
                    match answer {
                        Ok(Answer::Health(report)) => NodeEventKind::Health { report, took },
                        answer => failed(answer, method, took),
                    },
                );
            }
            (Call::Ask(Ask::Permissions), answer) => {
                shell.permissions = false;
                self.tell(
                    index,
                    match answer {
                        Ok(Answer::Permissions(permissions)) => {
                            NodeEventKind::Permissions { permissions, took }
                        }
                        answer => failed(answer, method, took),
                    },
                );
            }
            (Call::Ask(Ask::ChainTips), answer) => {
                shell.chain_tips = false;
                self.tell(
                    index,
                    match answer {
                        Ok(Answer::ChainTips(refused)) => {
                            NodeEventKind::ChainTips { refused, took }
                        }
                        answer => failed(answer, method, took),
                    },
                );
            }
            (Call::Ask(Ask::BlocksAt(_)), answer) => {
                shell.blocks_at = false;
                self.tell(
                    index,
                    match answer {
                        Ok(Answer::BlocksAt(blocks)) => NodeEventKind::BlocksAt { blocks, took },
                        answer => failed(answer, method, took),
                    },
                );
            }
            (Call::Ask(Ask::Addresses), answer) => {
                shell.addresses = false;
                self.tell(
                    index,
                    match answer {
                        Ok(Answer::Addresses(list)) => NodeEventKind::Addresses { list, took },
                        answer => failed(answer, method, took),
                    },
                );
            }
            (Call::Submit(block), answer) => {
                shell.submits = false;
                let answer = match answer {
                    Ok(Answer::Submitted(words)) => Ok(SubmitAnswer::parse(words.as_deref())),
                    Ok(_) => unreachable!("submitblock answers in words"),
                    Err(error) => Err(error),
                };
                self.tell(index, NodeEventKind::Submitted { block: block.hash, answer, took });
                self.submit_next(index);
            }
            (Call::Ask(Ask::Precious(_)), answer) => {
                shell.precious = false;
                if answer.is_err() {
                    self.tell(index, failed(answer, method, took));
                }
            }
            (Call::Ask(Ask::Propose { .. }), _) => unreachable!("it is not asked"),
            (Call::Ask(Ask::Position { block, .. }), answer) => {
                shell.positions -= 1;
                let answer = answer.map(|answer| match answer {
                    Answer::Position(position) => position,
                    answer => unreachable!("{answer:?} is no place of a block"),
                });
                self.tell(index, NodeEventKind::Position { block, answer, took });
            }
        }
    }

    fn tell(&mut self, node: usize, kind: NodeEventKind) {
        let tip = match &kind {
            NodeEventKind::Template { template, .. } => Some(template.prev),
            NodeEventKind::Tip { hash, .. } => Some(*hash),
            NodeEventKind::Health { report, .. } => Some(report.best),
            _ => None,
        };
        self.heard.extend(tip.and_then(|tip| self.blocks.find(tip)));
        let event = NodeEvent { node: NodeId(node as u32), kind };
        let now = self.clock();
        self.daemon.node_event(now, event);
        self.obey();
    }

    // -- blocks --

    /// The world learns of a block of ours.
    fn book(&mut self, block: &SolvedBlock) {
        if self.blocks.find(block.hash).is_some() {
            return;
        }
        let mut prev = [0; 32];
        prev.copy_from_slice(&block.bytes[4..36]);
        let Some(parent) = self.blocks.find(BlockHash(prev)) else {
            self.fail("solved on a block that nobody has");
        };
        let mut time = [0; 4];
        time.copy_from_slice(&block.bytes[68..72]);
        let place = self.blocks.mine(block.hash, parent, u32::from_le_bytes(time), false);
        if self.blocks.get(place).height != block.height {
            self.fail("solved at a height that its parent does not have");
        }
        self.solved.push(Solved { place, at: self.now });
        if self.plan.races && self.random.one_in(2) {
            self.rival(place);
        }
    }

    /// Somebody else's block of the same height comes to all just before ours.
    fn rival(&mut self, ours: usize) {
        let (parent, time) = (self.blocks.get(ours).parent, self.blocks.get(ours).time);
        let hash = BlockHash(self.random.bytes());
        let block = self.blocks.mine(hash, parent, time, false);
        for to in 0..self.nodes.len() + 2 {
            self.in_(0, Event::Relay { from: None, to, block });
        }
    }

    /// A peer tells a block to all others; the last two places among them are the rest of the world.
    pub fn spread(&mut self, from: usize, block: usize) {
        for to in (0..self.nodes.len() + 2).filter(|to| *to != from) {
            let mut way = self.random.between(50 * MS, 900 * MS);
            if self.random.one_in(10) {
                way += self.random.below(5 * SECOND);
            }
            let from = self.nodes.get(from).map(|node| (from, node.life));
            self.in_(way, Event::Relay { from, to, block });
        }
    }

    fn relay(&mut self, from: Option<(usize, u32)>, to: usize, block: usize) {
        if let Some((from, life)) = from {
            let sender = &self.nodes[from];
            if sender.life != life || matches!(sender.mode, Mode::Killed | Mode::Cut) {
                return;
            }
        }
        let unix = self.clock().unix;
        let Some(node) = self.nodes.get_mut(to) else { return self.rest_hears(to, block) };
        if !node.is_up() || node.view.knows(block) {
            return;
        }
        if node.lag_until > self.now {
            let wait = node.lag_until - self.now + SECOND;
            self.in_(wait, Event::Relay { from: None, to, block });
            return;
        }
        // A block from the future is not refused for ever: it is told of again with the next one.
        let (clock, strict) = (node.clock(unix), node.strict);
        let too_new = |block: &Block| is_too_new(block, clock);
        let refuses = |block: &Block| too_new(block) || strict && block.breaks.is_some();
        let in_time = node.view.acceptable(&self.blocks, block, too_new);
        self.figures.others_too_new += u64::from(in_time != Some(block));
        node.refuse(&self.blocks, block, unix, self.now);
        if let Some(block) = node.view.acceptable(&self.blocks, block, refuses) {
            self.take(to, block);
        }
    }

    /// When a block is no longer too new for a node, by the clock that it has now.
    pub fn acceptable_from(&self, node: usize, block: usize) -> Micros {
        let time = u64::from(self.blocks.get(block).time);
        let shows = self.nodes[node].clock(UNIX) + MAX_FUTURE;
        time.saturating_sub(shows) * SECOND
    }

    /// A node gets a block, and connects what waited for it. True when the tip moved.
    pub fn take(&mut self, index: usize, block: usize) -> bool {
        let moved = self.nodes[index].view.accept(&self.blocks, block, self.now);
        self.spread(index, block);
        if moved {
            self.tip_moved(index);
        }
        let unix = self.clock().unix;
        while let Some(orphan) = self.nodes[index].adopt(&self.blocks, unix) {
            self.take(index, orphan);
        }
        moved
    }

    /// The node's tip is another one: it says so to whom it may concern.
    fn tip_moved(&mut self, index: usize) {
        self.note_side(index);
        self.port_sees_tip(index);
        let way = self.way(index);
        for hash in self.announcements(index) {
            let lost = self.random.one_in(20);
            let node = &mut self.nodes[index];
            let life = node.life;
            if node.zmq && !node.zmq_off && !lost {
                self.in_(way, Event::Zmq(index, life, hash));
            }
        }
        let waiting: Vec<u64> = self.nodes[index]
            .serving
            .iter()
            .copied()
            .filter(|id| {
                let pending = self.nodes[index].calls.get(id);
                pending.is_some_and(|pending| matches!(pending.call, Call::Ask(Ask::WaitForTip)))
            })
            .collect();
        for id in waiting {
            self.in_(0, Event::Waited(index, id));
        }
    }

    /// Its chain may have changed the side in a split.
    fn note_side(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let breaks = |place: usize| self.blocks.get(place).breaks;
        if breaks(node.view.tip) != breaks(node.announced) {
            node.side_since = self.now;
        }
    }

    /// The tips that a node tells of, as Bitcoin Core does: each block that it goes higher.
    fn announcements(&mut self, index: usize) -> Vec<BlockHash> {
        let node = &mut self.nodes[index];
        let tip = node.view.tip;
        let height = self.blocks.get(std::mem::replace(&mut node.announced, tip)).height;
        let mut place = tip;
        let mut hashes = vec![self.blocks.get(tip).hash];
        while self.blocks.get(place).height > height + 1 {
            place = self.blocks.get(place).parent;
            hashes.push(self.blocks.get(place).hash);
        }
        hashes.reverse();
        hashes
    }

    // -- faults --

    fn fault(&mut self) {
        let mean = self.plan.fault_every.unwrap_or(Micros::MAX);
        let wait = self.random.wait(mean);
        self.in_(wait, Event::Fault);
        if self.calm {
            return;
        }
        if self.random.one_in(25) {
            // The whole house is without network or power.
            let span = self.random.between(20, 300) * SECOND;
            let house = [Fault::Kill, Fault::Cut, Fault::RpcHung, Fault::RpcForbidden];
            let fault = house[self.random.index(4)];
            for node in 0..self.nodes.len() {
                self.inflict(node, fault, span);
            }
            return;
        }
        let node = self.random.index(self.nodes.len());
        // From 2 s to 4 min, short ones as often as long ones.
        let span = (2 * SECOND) << self.random.below(8);
        let span = span / 2 + self.random.below(span);
        let fault = self.plan.faults[self.random.index(self.plan.faults.len())];
        match fault {
            Fault::ClockAhead | Fault::ClockBehind | Fault::ClockNear => {
                self.set_clock(node, fault, 2 * span.max(60 * SECOND));
            }
            fault => self.inflict(node, fault, span),
        }
    }

    pub fn inflict(&mut self, index: usize, fault: Fault, span: Micros) {
        if !self.nodes[index].answers() {
            return;
        }
        *self.figures.faults.entry(format!("{fault:?}")).or_default() += 1;
        let now = self.now;
        let loses = self.random.one_in(2);
        let node = &mut self.nodes[index];
        match fault {
            Fault::Kill => self.kill(index, loses),
            Fault::Warm => {}
            Fault::Hang => {
                (node.mode, node.was_cut) = (Mode::Hung, false);
                self.port_is_quiet(index);
            }
            Fault::Cut => {
                (node.mode, node.was_cut) = (Mode::Cut, true);
                self.port_is_quiet(index);
            }
            Fault::Lag => node.lag_until = now + span,
            Fault::Alone => (node.lag_until, node.is_alone) = (now + span, true),
            Fault::TemplateError => {
                let message = "Out of memory".to_owned();
                node.template_error = Some(RpcError::Rpc { code: -7, message });
            }
            Fault::Forbid => node.forbids = true,
            Fault::SlowTemplates => node.slow = 4 * SECOND,
            Fault::ZmqOff => node.zmq_off = true,
            Fault::RpcHung
            | Fault::RpcForbidden
            | Fault::RpcBusy
            | Fault::RpcBroken
            | Fault::RpcRefused => node.rpc_out = Some(fault),
            Fault::PortClosed => {
                node.port.closed = true;
                self.port_down(index, Down::Closed);
            }
            Fault::ClockAhead | Fault::ClockBehind | Fault::ClockNear => {}
        }
        self.judge_health(index);
        self.in_(span, Event::Mend(index, fault));
    }

    /// Somebody sets a clock wrong: of one node at a time, for two of them may outvote a right one.
    fn set_clock(&mut self, index: usize, fault: Fault, span: Micros) {
        if self.nodes.iter().any(|node| node.clock_wrong != 0) {
            return;
        }
        *self.figures.faults.entry(format!("{fault:?}")).or_default() += 1;
        let hours = self.random.between(MAX_FUTURE + 300, 6 * 3600) as i64;
        let near = self.random.between(600, 55 * 60) as i64;
        let is_behind = self.random.one_in(2);
        let node = &mut self.nodes[index];
        node.clock_since = self.now;
        node.clock_wrong = match fault {
            Fault::ClockAhead => hours,
            Fault::ClockBehind => -hours,
            _ if is_behind => -near,
            _ => near,
        };
        self.judge_health(index);
        self.in_(span, Event::Mend(index, fault));
    }

    /// What the clocks show that work may have been made by: the true time, and those of templates that
    /// may still be in use.
    fn clocks(&self) -> Clock {
        let unix = self.clock().unix;
        let recent = self.odd_times.iter().filter(|(at, _)| self.template_at < at + 150 * SECOND);
        let (slowest, fastest) = recent
            .fold((0, 0), |(slowest, fastest), (_, off)| (slowest.min(*off), fastest.max(*off)));
        unix.saturating_add_signed(slowest)..=unix.saturating_add_signed(fastest)
    }

    /// Notes the time of a template where it is not the true one: its node's clock is wrong, or blocks
    /// from the future hold it up.
    fn note_time(&mut self, template: &Template) {
        self.template_at = self.now;
        let off = i64::from(template.curtime) - self.clock().unix as i64;
        if off.unsigned_abs() > 20 {
            self.odd_times.retain(|(at, _)| self.now - at < 150 * SECOND);
            self.odd_times.push_back((self.now, off));
        }
    }

    fn kill(&mut self, index: usize, loses: bool) {
        let threads = threads(&mut self.random);
        let node = &mut self.nodes[index];
        (node.mode, node.was_cut) = (Mode::Killed, false);
        node.rpc_out = node.rpc_out.filter(|fault| *fault != Fault::RpcHung);
        node.life += 1;
        node.orphans.clear();
        node.busy_until = 0;
        if loses {
            // A crash, and the last minute was not on its disk.
            let since = self.now.saturating_sub(60 * SECOND);
            node.view.lose(&self.blocks, since, self.now);
            node.refused.retain(|refused| refused.at < since);
            self.figures.crashes += 1;
        }
        self.note_side(index);
        let node = &mut self.nodes[index];
        node.announced = node.view.tip;
        node.serving.clear();
        node.queue.clear();
        // What comes back is another process, perhaps with other settings.
        node.threads = threads;
        let calls: Vec<u64> = node.calls.keys().copied().collect();
        for id in calls {
            let broken = RpcError::Transport("connection reset".into());
            self.finish(index, id, Err(broken));
        }
        // The connections end with the process.
        if self.nodes[index].port.is_own() {
            self.port_down(index, Down::Closed);
        }
        self.tell(index, NodeEventKind::HungUp);
    }

    fn mend(&mut self, index: usize, fault: Fault) {
        let warm = self.random.between(1, 20) * SECOND;
        let node = &mut self.nodes[index];
        match (fault, node.mode) {
            (Fault::Kill, Mode::Killed) => {
                node.mode = Mode::Warming;
                self.in_(warm, Event::Mend(index, Fault::Warm));
            }
            (Fault::Warm, Mode::Warming) => {
                node.mode = Mode::Up;
                self.meet_peers(index);
            }
            (Fault::Hang, Mode::Hung) => {
                node.mode = Mode::Up;
                self.thaw(index);
                self.port_goes_on(index);
                self.meet_peers(index);
            }
            (Fault::Cut, Mode::Cut) => {
                node.mode = Mode::Up;
                self.port_goes_on(index);
                self.meet_peers(index);
            }
            (Fault::TemplateError, _) => node.template_error = None,
            (Fault::Forbid, _) => node.forbids = false,
            (Fault::SlowTemplates, _) => node.slow = 0,
            (Fault::ZmqOff, _) => node.zmq_off = false,
            (fault, _) if node.rpc_out == Some(fault) => {
                node.rpc_out = None;
                if fault == Fault::RpcHung && node.is_up() {
                    self.thaw(index);
                }
            }
            (Fault::PortClosed, _) => node.port.closed = false,
            (Fault::Alone, _) => node.is_alone = false,
            (Fault::ClockAhead | Fault::ClockBehind | Fault::ClockNear, _) => {
                (node.clock_wrong, node.clock_since) = (0, self.now);
                if node.is_up() {
                    self.meet_peers(index);
                }
            }
            _ => {}
        }
        self.judge_health(index);
    }

    /// What was asked or said while it stood still goes on.
    fn thaw(&mut self, index: usize) {
        // What it worked at for clients that have gone is over.
        let node = &mut self.nodes[index];
        node.serving.retain(|id| node.calls.contains_key(id));
        self.serve_next(index);
        let ids: Vec<u64> = self.nodes[index].calls.keys().copied().collect();
        for id in ids {
            let held = self.nodes[index].calls.get_mut(&id).and_then(|pending| pending.held.take());
            match held {
                Some(answer) => self.in_(MS, Event::Answered(index, id, answer)),
                None => self.in_(MS, Event::Reach(index, id)),
            }
        }
    }

    /// A node that was away gets what it missed, and tells what only it has.
    fn meet_peers(&mut self, index: usize) {
        let own = self.nodes[index].view.tip;
        self.spread(index, own);
        let mut tips = vec![self.net.tip, self.strict_net.tip];
        tips.extend(self.nodes.iter().filter(|node| node.is_up()).map(|node| node.view.tip));
        for block in tips {
            let wait = self.random.between(200 * MS, 4 * SECOND);
            self.in_(wait, Event::Relay { from: None, to: index, block });
        }
    }

    pub fn judge_health(&mut self, index: usize) {
        let now = self.now;
        let node = &mut self.nodes[index];
        node.well_since = match node.is_well() {
            true => node.well_since.or(Some(now)),
            false => None,
        };
        let answers = node.answers() && node.template_error.is_none();
        // One that takes long over its templates answers nothing meanwhile, so that nobody knows.
        let judges = answers && node.slow == 0;
        node.judges_since = judges.then(|| node.judges_since.unwrap_or(now));
        node.away_since = (!answers).then(|| node.away_since.unwrap_or(now));
        // The daemon learns only after a while that a stopped process says nothing by P2P.
        let no_rpc = matches!(node.mode, Mode::Killed | Mode::Hung | Mode::Cut)
            || node.rpc_out.is_some() && (!node.zmq || node.zmq_off);
        node.unheard_since = no_rpc.then(|| node.unheard_since.unwrap_or(now));
        let mute = no_rpc && !node.port.is_own();
        node.mute_since = match mute {
            true => node.mute_since.or(Some(now)),
            false => None,
        };
    }

    // -- miners --

    fn connect(&mut self, index: usize, epoch: u32) {
        if self.miners[index].epoch != epoch || self.miners[index].conn.is_some() {
            return;
        }
        if !self.open {
            // Refused; cgminer tries again after 5 s.
            self.in_(5 * SECOND, Event::Connect(index, epoch));
            return;
        }
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        let wire = Wire { miner: index, lines: Framing::lines(), open: true };
        self.wires.insert(conn, wire);
        let (now, random) = (self.clock(), self.random.bytes());
        let peer = IpAddr::from([192, 168, 1, 10 + index as u8]);
        self.daemon.connect(now, conn, peer, random);
        self.obey();
        self.figures.connections += 1;
        for line in self.miners[index].connected(self.now, conn) {
            self.miner_says(index, &line, None);
        }
        let epoch = self.miners[index].epoch;
        let wait = self.random.wait(self.miners[index].setup.share_every);
        self.in_(wait, Event::MinerShares(index, epoch));
        if self.miners[index].setup.kind == Kind::Nerd && !self.plan.hard {
            self.in_(30 * SECOND, Event::MinerSuggests(index, epoch));
        }
        let stay = self.random.wait(2 * 3600 * SECOND);
        self.in_(stay, Event::MinerLeaves(index, epoch));
    }

    fn miner_says(&mut self, index: usize, line: &serde_json::Value, share: Option<Share>) {
        let Some(conn) = self.miners[index].conn else { return };
        let text = format!("{line}\n").into_bytes();
        let distance = self.miners[index].setup.distance;
        let way = distance / 2 + self.random.below(distance + 1);
        let at = (self.now + way).max(self.miners[index].outbound + 1);
        self.miners[index].outbound = at;
        // The network cuts where it likes.
        let cut = if self.random.one_in(4) { self.random.index(text.len()) } else { 0 };
        let (head, tail) = text.split_at(cut);
        self.in_(at - self.now, Event::ToPool(conn, head.to_vec(), None));
        self.in_(at - self.now, Event::ToPool(conn, tail.to_vec(), share));
    }

    fn miner_shares(&mut self, index: usize, epoch: u32) {
        if self.miners[index].epoch != epoch {
            return;
        }
        let wait = self.random.wait(self.miners[index].setup.share_every);
        self.in_(wait, Event::MinerShares(index, epoch));
        let hard = self.plan.hard;
        if let Some((line, share)) = self.miners[index].share(&mut self.random, hard) {
            self.figures.shares += 1;
            self.miner_says(index, &line, Some(share));
        }
        if self.random.one_in(20)
            && let Some((line, share)) = self.miners[index].repeat()
        {
            self.figures.shares += 1;
            self.miner_says(index, &line, Some(share));
        }
    }

    /// Its cable is out, its owner restarts it, its Wi-Fi is gone.
    fn miner_leaves(&mut self, index: usize) {
        let Some(conn) = self.miners[index].conn else { return };
        let pause = self.random.between(1, 20) * SECOND;
        self.lose_miner(index, pause);
        // A clean end is seen at once, a broken one when TCP gives up.
        let seen = if self.random.one_in(2) { MS } else { self.random.between(5, 120) * SECOND };
        self.in_(seen, Event::Gone(conn));
    }

    fn lose_miner(&mut self, index: usize, pause: Micros) {
        self.miners[index].lost();
        let epoch = self.miners[index].epoch;
        self.in_(pause, Event::Connect(index, epoch));
    }

    fn gone(&mut self, conn: ConnId) {
        if self.wires.remove(&conn).is_some() {
            let now = self.clock();
            self.daemon.closed(now, conn);
            self.obey();
        }
    }

    fn pool_hears(&mut self, conn: ConnId, bytes: &[u8], share: Option<Share>) {
        let Some(wire) = self.wires.get_mut(&conn).filter(|wire| wire.open) else { return };
        let miner = wire.miner;
        // It is no more on this connection: the bytes were lost with it.
        if self.miners[miner].conn != Some(conn) {
            return;
        }
        let mut lines = std::mem::take(&mut wire.lines);
        let tip = self.daemon.engine.pool().jobs().work().map(|work| work.template.prev);
        let now = self.clock();
        self.reading.clear();
        if !self.daemon.received(now, conn, &mut lines, bytes) {
            self.fail("a line that cannot be read");
        }
        if let Some(wire) = self.wires.get_mut(&conn) {
            wire.lines = lines;
        }
        self.obey();
        let read = std::mem::take(&mut self.reading);
        match share {
            Some(share) => super::audit::judge(self, tip, share, &read),
            None if read.is_empty() => {}
            None => self.fail(format!("{read:?} without a share")),
        }
    }

    fn send(&mut self, conn: ConnId, bytes: Vec<u8>) {
        for byte in &bytes {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
        let Some(wire) = self.wires.get(&conn).filter(|wire| wire.open) else { return };
        let index = wire.miner;
        if self.miners[index].conn != Some(conn) && self.miners[index].conn.is_some() {
            // It has come back on another wire and does not listen to this one.
            return;
        }
        let distance = self.miners[index].setup.distance;
        let way = distance / 2 + self.random.below(distance + 1);
        let at = (self.now + way).max(self.miners[index].inbound + 1);
        self.miners[index].inbound = at;
        self.in_(at - self.now, Event::ToMiner(index, conn, bytes));
    }

    fn close(&mut self, conn: ConnId, why: CloseReason) {
        let Some(wire) = self.wires.get_mut(&conn) else { return };
        wire.open = false;
        let index = wire.miner;
        *self.figures.closed.entry(why.words()).or_default() += 1;
        // One that left without a word before it was known may be told so.
        let is_there = self.miners[index].conn == Some(conn);
        if is_there && !matches!(why, CloseReason::NoWork | CloseReason::Resumed) {
            self.fail(format!("miner {index} was sent away: {}", why.words()));
        }
        let at = self.miners[index].inbound.max(self.now) + self.miners[index].setup.distance;
        self.in_(at - self.now, Event::Fin(index, conn));
        self.in_(MS, Event::Gone(conn));
    }

    fn miner_hears(&mut self, index: usize, conn: ConnId, bytes: &[u8]) {
        if self.miners[index].conn != Some(conn) {
            return;
        }
        let clock = self.clocks();
        let before = self.miners[index].job.as_ref().map(|job| job.prev);
        let heard = match self.miners[index].hear(self.now, clock, bytes) {
            Ok(heard) => heard,
            Err(why) => self.fail(format!("miner {index}: {why}")),
        };
        if heard.job {
            self.figures.jobs += 1;
            super::audit::job(self, index, before);
        }
        for line in heard.say {
            self.miner_says(index, &line, None);
        }
    }

    // -- the daemon itself --

    /// A power cut: what is not on the card is gone.
    pub fn restart(&mut self) {
        let wait = self.random.between(7200, 4 * 7200);
        self.in_(wait * SECOND, Event::Restart);
        if self.calm {
            return;
        }
        self.figures.restarts += 1;
        let card = self.daemon.card();
        for index in 0..self.miners.len() {
            if self.miners[index].conn.is_some() {
                self.lose_miner(index, 5 * SECOND);
            }
            self.miners[index].forget_ids();
        }
        self.wires.clear();
        for node in &mut self.nodes {
            node.calls.clear();
            node.shell = Shell::default();
        }
        let ids: Vec<NodeId> = (0..self.nodes.len() as u32).map(NodeId).collect();
        let first_job_id = self.random.next() as u32;
        self.figures.largest_outbox = self.figures.largest_outbox.max(self.daemon.largest_outbox);
        self.open = false;
        self.shut_since = None;
        self.restarted_at = self.now;
        self.work_height = 0;
        self.work_tip = None;
        self.heard.clear();
        self.heard_by_p2p.clear();
        for node in &mut self.nodes {
            node.port.forget_all();
        }
        self.strangers.restart(self.now, &card.kept);
        let (chain, outside) = (self.strangers.chain, self.strangers.settings.clone());
        let wishes = Wishes { follow: self.follow, chain, outside };
        self.daemon = Daemon::new(self.clock(), &ids, wishes, first_job_id, card);
        self.note_restored();
        self.obey();
    }

    /// When one of our nodes last gave up more than a block.
    pub fn reorganised_at(&self) -> Option<Micros> {
        self.nodes.iter().filter_map(|node| node.view.reorganised_at).max()
    }

    /// Since when the daemon runs.
    pub fn up_since(&self) -> Micros {
        self.restarted_at
    }
}

fn template_event(answer: Answered, method: Method, took: Duration) -> NodeEventKind {
    match answer {
        Ok(Answer::Template(template)) => {
            NodeEventKind::Template { template, took, parsing: Duration::ZERO }
        }
        answer => failed(answer, method, took),
    }
}

fn failed(answer: Answered, method: Method, took: Duration) -> NodeEventKind {
    match answer {
        Err(error) => NodeEventKind::Failed { method, error, took },
        Ok(answer) => unreachable!("{answer:?} answers no {method:?}"),
    }
}

fn node(random: &mut Random, index: usize, blocks: &Blocks, bits: u32, chain: Chain) -> Node {
    Node {
        chain,
        is_alone: false,
        words: [Words::Core, Words::OldCore, Words::Bcoin][random.index(3)],
        // One that can be asked must be left to know when a block is mature.
        forbids_headers: index > 0 && random.one_in(4),
        strict: false,
        tells: !random.one_in(8),
        refused: Vec::new(),
        ever_refused: Vec::new(),
        side_since: 0,
        judges_since: Some(0),
        away_since: None,
        orphans: Vec::new(),
        mode: Mode::Up,
        life: 0,
        well_since: Some(0),
        mute_since: None,
        unheard_since: None,
        was_cut: false,
        has_said: HashSet::new(),
        view: View::new(blocks),
        calls: BTreeMap::new(),
        shell: Shell::default(),
        cache: Default::default(),
        distance: random.between(200, 5 * MS),
        template_takes: [5 * MS, 80 * MS, 600 * MS][random.index(3)],
        busy_until: 0,
        zmq: !random.one_in(3),
        clock_offset: random.between(0, 10) as i64 - 5,
        clock_wrong: 0,
        clock_since: 0,
        too_new: HashSet::new(),
        lacked_parent: HashSet::new(),
        announced: View::new(blocks).tip,
        threads: threads(random),
        serving: BTreeSet::new(),
        queue: VecDeque::new(),
        zmq_off: false,
        lag_until: 0,
        template_error: None,
        rpc_out: None,
        quiet_since: None,
        port: Port::any(random),
        forbids: false,
        slow: 0,
        bits,
    }
}

/// In some worlds no owner has let us near a P2P port, in some each node has its own.
fn ports(random: &mut Random, nodes: &mut [Node], all: bool) {
    let none = random.one_in(6);
    for node in nodes {
        match (all, none) {
            (true, _) => node.port = Port::new(Owner::Own),
            (false, true) => node.port = Port::new(Owner::Off),
            (false, false) => {}
        }
    }
}

/// Some nodes have strict rules: of the first two one, so that there are both. Where the plan has the
/// first node's rules decide, it is that, and it says what it refuses.
fn rule_sets(random: &mut Random, nodes: &mut [Node], follow: Option<Follow>) {
    let decides = follow == Some(Follow::First);
    let strict = if decides { 0 } else { random.index(2) };
    for (index, node) in nodes.iter_mut().enumerate() {
        node.strict = if index < 2 { index == strict } else { random.one_in(2) };
        if decides && index == 0 {
            node.tells = true;
            node.words = [Words::Core, Words::OldCore][random.index(2)];
        }
    }
}

/// Threads for RPC: what owners set, four up to Bitcoin Core 28, sixteen since.
fn threads(random: &mut Random) -> usize {
    [1, 2, 4, 16][random.index(4)]
}

fn miner(random: &mut Random, index: usize, plan: &Plan) -> Setup {
    let kinds = [Kind::Bitaxe, Kind::Nerd, Kind::Avalon];
    Setup {
        kind: kinds[index % 3],
        distance: match index % 6 {
            // Far away, or on a bad Wi-Fi.
            5 => random.between(500 * MS, 2 * SECOND),
            _ => random.between(MS, 60 * MS),
        },
        share_every: plan.share_every,
        password: if plan.hard { "x,d=0.0001" } else { "x" },
    }
}

/// A reject that needs no excuse when the share was honest but late.
pub fn is_stale(why: &Reject) -> bool {
    matches!(why, Reject::Stale(_) | Reject::StaleAtChange(_))
}
