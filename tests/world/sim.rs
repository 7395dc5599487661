//! The world: an event queue in virtual time between nodes, miners and the daemon's cores.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use soloist::block::{SolvedBlock, SubmitAnswer};
use soloist::chain::BlockHash;
use soloist::clock::Now;
use soloist::node::{Method, NodeEvent, NodeEventKind, NodeId, RpcError, TipSource};
use soloist::pool::{CloseReason, ConnId};
use soloist::stratum::frame::Lines;
use soloist::stratum::reply::Reject;

use crate::Micros;
use crate::chain::{Block, Blocks, View};
use crate::daemon::{Card, Daemon, Want};
use crate::figures::Figures;
use crate::miner::{Kind, Miner, Setup, Share};
use crate::node::{Answer, Answered, Ask, Call, Mempool, Mode, Node, Shell};
use crate::random::Random;

pub const SECOND: Micros = 1_000_000;
const MS: Micros = 1000;
/// 2026-11-21: what the clocks show at the start, in virtual time.
const UNIX: u64 = 1_795_000_000;

/// What sort of world.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub nodes: usize,
    pub miners: usize,
    /// Mean time from fault to fault; none without it.
    pub fault_every: Option<Micros>,
    /// Mean time between one miner's shares.
    pub share_every: Micros,
    /// Compact target of all blocks.
    pub bits: u32,
    /// Shares are real ones: few of them are blocks.
    pub hard: bool,
}

#[derive(Debug)]
enum Event {
    /// A call has come to the node.
    Reach(usize, u64),
    /// An answer comes out of the node's shell.
    Answered(usize, u64, Answered),
    /// The shell's patience ends.
    Deadline(usize, u64),
    /// A node's life, the message's number, and the tip.
    Zmq(usize, u32, u32, BlockHash),
    /// A block comes to a peer, sent by one of that life. The last place is the rest of the world.
    Relay {
        from: Option<(usize, u32)>,
        to: usize,
        block: usize,
    },
    OthersBlock,
    Fault,
    Mend(usize, Fault),
    /// The long poll's thread asks anew.
    LongpollAgain(usize, Option<String>),
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
enum Fault {
    Kill,
    Warm,
    Hang,
    Cut,
    Lag,
    TemplateError,
    SlowTemplates,
    ZmqOff,
    LongpollDead,
}

struct Wire {
    miner: usize,
    lines: Lines,
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
    random: Random,
    plan: Plan,
    queue: BinaryHeap<Reverse<(Micros, u64)>>,
    events: BTreeMap<u64, Event>,
    count: u64,
    pub blocks: Blocks,
    mempool: Mempool,
    /// The rest of the world.
    pub net: View,
    pub nodes: Vec<Node>,
    pub miners: Vec<Miner>,
    wires: BTreeMap<ConnId, Wire>,
    next_conn: u64,
    pub open: bool,
    pub daemon: Daemon,
    pub solved: Vec<Solved>,
    /// What the pool reported of the bytes that it reads now.
    reading: Vec<Want>,
    /// Height of the block that the newest work builds on.
    pub work_height: u32,
    pub figures: Figures,
    pub calm: bool,
    /// When any node was known to be well last.
    pub last_usable: Micros,
    /// When a node led last.
    pub led_at: Micros,
    pub shut_since: Option<Micros>,
    digest: u64,
    restarted_at: Micros,
}

impl World {
    pub fn new(seed: u64, plan: Plan) -> World {
        let mut random = Random::new(seed);
        let base = Instant::now() + Duration::from_secs(1_000_000);
        let blocks = Blocks::new(840_600, UNIX as u32 - 60);
        let nodes: Vec<Node> =
            (0..plan.nodes).map(|_| node(&mut random, &blocks, plan.bits)).collect();
        let miners: Vec<Miner> = (0..plan.miners)
            .map(|index| Miner::new(index, miner(&mut random, index, &plan)))
            .collect();
        let ids: Vec<NodeId> = (0..plan.nodes as u32).map(NodeId).collect();
        let now = Now { mono: base, unix: UNIX };
        let card = Card { levels: BTreeMap::new(), spool: Vec::new() };
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
            work_height: 0,
            blocks,
            nodes,
            miners,
            wires: BTreeMap::new(),
            next_conn: 1,
            open: false,
            daemon: Daemon::new(now, &ids, first_job_id, card),
            solved: Vec::new(),
            reading: Vec::new(),
            figures: Figures::default(),
            calm: false,
            last_usable: 0,
            led_at: 0,
            shut_since: None,
            digest: 0,
            restarted_at: 0,
            random,
        };
        world.in_(world.plan.share_every.min(60 * SECOND), Event::OthersBlock);
        world.in_(SECOND, Event::Audit);
        if let Some(mean) = plan.fault_every {
            let wait = world.random.wait(mean);
            world.in_(30 * SECOND + wait, Event::Fault);
            let restart = world.random.between(7200, 4 * 7200);
            world.in_(restart * SECOND, Event::Restart);
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
                "  n{index}: {:?}, well since {:?} s, tip {}",
                node.mode,
                node.well_since.map(|since| since / SECOND),
                self.blocks.get(node.view.tip).height,
            );
        }
        let mono = self.clock().mono;
        for view in self.daemon.failover.nodes(mono) {
            eprintln!("  the daemon of {}: {}", view.name, view.standing);
        }
        eprintln!(
            "  work on {}, {}",
            self.work_height,
            self.daemon.failover.overall(mono).sentence
        );
        let seconds = self.now as f64 / 1e6;
        panic!("WORLD_SEED={} {:?}, at {seconds:.3} s: {why}", self.seed, self.plan);
    }

    pub fn clock(&self) -> Now {
        let mono = self.base + Duration::from_micros(self.now);
        Now { mono, unix: UNIX + self.now / SECOND }
    }

    fn in_(&mut self, wait: Micros, event: Event) {
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
                    let error = RpcError::Timeout(found.ask.method().deadline());
                    self.finish(node, call, Err(error));
                }
            }
            Event::Zmq(index, life, number, hash) => {
                let node = &mut self.nodes[index];
                if node.life == life && node.is_up() {
                    let before = node.zmq_heard.replace((number, hash));
                    let after =
                        before.filter(|before| before.0 + 1 == number).map(|(_, hash)| hash);
                    let (source, took) = (TipSource::Zmq, Duration::ZERO);
                    self.tell(index, NodeEventKind::Tip { hash, after, source, took });
                }
            }
            Event::Relay { from, to, block } => self.relay(from, to, block),
            Event::OthersBlock => self.others_block(),
            Event::Fault => self.fault(),
            Event::Mend(node, fault) => self.mend(node, fault),
            Event::LongpollAgain(node, id) => self.longpoll(node, id),
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
                crate::audit::audit(self);
                self.in_(SECOND, Event::Audit);
            }
        }
    }

    // -- what the daemon wants --

    fn obey(&mut self) {
        for want in self.daemon.wants() {
            match want {
                Want::Fetch(node) => self.fetch(node.0 as usize),
                Want::Longpoll(node, id) => self.longpoll_order(node.0 as usize, id),
                Want::Poll(node) => {
                    let shell = &mut self.nodes[node.0 as usize].shell;
                    if !std::mem::replace(&mut shell.poll, true) {
                        self.call(node.0 as usize, Ask::Poll);
                    }
                }
                Want::Health(node) => {
                    let shell = &mut self.nodes[node.0 as usize].shell;
                    if !std::mem::replace(&mut shell.health, true) {
                        self.call(node.0 as usize, Ask::Health);
                    }
                }
                Want::ChainTips(node) => {
                    let shell = &mut self.nodes[node.0 as usize].shell;
                    if !std::mem::replace(&mut shell.chain_tips, true) {
                        self.call(node.0 as usize, Ask::ChainTips);
                    }
                }
                Want::Submit(node, block) => {
                    self.book(&block);
                    let node = node.0 as usize;
                    self.nodes[node].shell.blocks.push_back(block);
                    self.submit_next(node);
                }
                Want::Precious(node, hash) => {
                    let shell = &mut self.nodes[node.0 as usize].shell;
                    if !std::mem::replace(&mut shell.precious, true) {
                        self.call(node.0 as usize, Ask::Precious(hash));
                    }
                }
                Want::Confirmations(node, hash) => {
                    let shell = &mut self.nodes[node.0 as usize].shell;
                    if shell.headers < 2 {
                        shell.headers += 1;
                        self.call(node.0 as usize, Ask::Confirmations(hash));
                    }
                }
                Want::Send(conn, bytes) => self.send(conn, bytes),
                Want::Close(conn, why) => self.close(conn, why),
                Want::Gated(why) => {
                    let quiet = self.now - self.last_usable;
                    if quiet < 87 * SECOND {
                        self.fail(format!("gated ({why}), but a node was usable {quiet} µs ago"));
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
                Want::Lead { first } => self.figures.failovers += u64::from(!first),
                Want::Work { new_tip, empty } => self.work(new_tip, empty),
                Want::BlockState(state) => {
                    let name = format!("{state:?}");
                    let name = name.split(' ').next().unwrap_or_default().to_owned();
                    *self.figures.block_states.entry(name).or_default() += 1;
                }
                Want::Solved(block) => {
                    self.book(&block);
                    self.reading.push(Want::Solved(block));
                }
                want @ (Want::Counted | Want::Refused(_)) => self.reading.push(want),
            }
        }
    }

    fn work(&mut self, new_tip: bool, empty: bool) {
        let Some(work) = self.daemon.pool.jobs().work() else { return };
        let Some(tip) = self.blocks.find(work.template.prev) else {
            self.fail("work on a block that nobody has");
        };
        let height = self.blocks.get(tip).height;
        self.figures.works += 1;
        self.figures.empty_works += u64::from(empty);
        if new_tip
            && height > self.work_height
            && let Some(since) = crate::audit::known_since(self, height - 1)
        {
            self.figures.tip_to_work.push(self.now - since);
        }
        self.work_height = height;
    }

    // -- the shells of the nodes --

    fn fetch(&mut self, node: usize) {
        let shell = &mut self.nodes[node].shell;
        shell.fetch = (shell.fetch + 1).min(2);
        if shell.fetch == 1 {
            self.call(node, Ask::Template);
        }
    }

    fn longpoll_order(&mut self, node: usize, id: Option<String>) {
        let shell = &mut self.nodes[node].shell;
        if shell.longpolls {
            shell.ordered = Some(id);
        } else {
            self.longpoll(node, id);
        }
    }

    fn longpoll(&mut self, node: usize, id: Option<String>) {
        let shell = &mut self.nodes[node].shell;
        let id = shell.ordered.take().unwrap_or(id);
        shell.longpolls = id.is_some();
        if let Some(id) = id {
            self.call(node, Ask::Longpoll(id));
        }
    }

    fn submit_next(&mut self, node: usize) {
        let shell = &mut self.nodes[node].shell;
        if shell.submits {
            return;
        }
        if let Some(block) = shell.blocks.pop_front() {
            shell.submits = true;
            self.call(node, Ask::Submit(block));
        }
    }

    fn call(&mut self, node: usize, ask: Ask) {
        self.count += 1;
        let id = self.count;
        let deadline = ask.method().deadline().as_micros() as Micros;
        let call = Call { ask, sent: self.now, waits: false, held: None };
        self.nodes[node].calls.insert(id, call);
        let way = self.way(node);
        self.in_(way, Event::Reach(node, id));
        self.in_(deadline, Event::Deadline(node, id));
    }

    fn way(&mut self, node: usize) -> Micros {
        let distance = self.nodes[node].distance;
        distance / 2 + self.random.below(distance + 1)
    }

    /// A call comes to the node.
    fn reach(&mut self, index: usize, id: u64) {
        let mode = self.nodes[index].mode;
        let Some(call) = self.nodes[index].calls.get_mut(&id) else { return };
        match mode {
            Mode::Cut => {}
            Mode::Hung => call.waits = true,
            Mode::Killed => {
                let refused = RpcError::Transport("connection refused".into());
                self.finish(index, id, Err(refused));
            }
            Mode::Warming => {
                let message = "Loading block index…".to_owned();
                self.reply(index, id, MS, Err(RpcError::Rpc { code: -28, message }));
            }
            Mode::Up => {
                let ask = call.ask.clone();
                self.process(index, id, &ask);
            }
        }
    }

    fn process(&mut self, index: usize, id: u64, ask: &Ask) {
        let (now, unix) = (self.now, UNIX + self.now / SECOND);
        let node = &mut self.nodes[index];
        let mut takes = MS;
        let answer = match ask {
            Ask::Longpoll(known)
                if node.longpoll_dead || *known == node.longpollid(&self.blocks, now) =>
            {
                self.wait_for_news(index, id);
                return;
            }
            Ask::Template | Ask::Longpoll(_) => match &node.template_error {
                Some(error) => Err(error.clone()),
                None => {
                    takes = node.template_takes + node.slow;
                    let template = node.template(&self.blocks, &mut self.mempool, now, unix);
                    Ok(Answer::Template(Arc::new(template)))
                }
            },
            Ask::Poll => Ok(Answer::Tip(self.blocks.get(node.view.tip).hash)),
            Ask::Health => {
                let header = self.blocks.get(self.net.tip).height;
                let header = if node.lag_until > now { header } else { 0 };
                Ok(Answer::Health(node.report(&self.blocks, header)))
            }
            Ask::ChainTips => Ok(Answer::ChainTips),
            Ask::Submit(block) => {
                takes = 20 * MS;
                let words = node.submit(&self.blocks, &self.mempool, block, unix);
                Ok(Answer::Submitted(self.take_submission(index, block, words)))
            }
            Ask::Precious(hash) => {
                if let Some(block) = self.blocks.find(*hash)
                    && node.view.precious(&self.blocks, block, now)
                {
                    self.figures.precious += 1;
                    self.tip_moved(index);
                }
                Ok(Answer::Precious)
            }
            Ask::Confirmations(hash) => {
                Ok(Answer::Confirmations(node.confirmations(&self.blocks, *hash)))
            }
        };
        self.reply(index, id, takes, answer);
    }

    /// A long poll is answered when the mempool has changed after a minute, or with a new tip.
    fn wait_for_news(&mut self, index: usize, id: u64) {
        if let Some(call) = self.nodes[index].calls.get_mut(&id)
            && !std::mem::replace(&mut call.waits, true)
        {
            self.in_(60 * SECOND, Event::Reach(index, id));
        }
    }

    fn take_submission(
        &mut self,
        index: usize,
        block: &SolvedBlock,
        words: Result<usize, String>,
    ) -> Option<String> {
        let place = self.blocks.find(block.hash);
        if words.as_ref().map_or_else(|words| words.starts_with("duplicate"), |_| true) {
            self.nodes[index].has_said.extend(place);
        }
        match words {
            Ok(place) => {
                let moved = self.nodes[index].view.accept(&self.blocks, place, self.now);
                self.spread(Some(index), place);
                if moved {
                    self.tip_moved(index);
                }
                (!moved).then(|| "inconclusive".to_owned())
            }
            Err(words) => {
                let known = ["duplicate", "duplicate-inconclusive", "prev-blk-not-found"];
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
        let mode = self.nodes[index].mode;
        let Some(call) = self.nodes[index].calls.get_mut(&id) else { return };
        match mode {
            Mode::Up | Mode::Warming => self.finish(index, id, answer),
            Mode::Hung => call.held = Some(answer),
            // Lost; the shell's deadline comes.
            Mode::Cut => {}
            Mode::Killed => {}
        }
    }

    /// A call is over. What the shell does then is in `src/node/watch.rs`.
    fn finish(&mut self, index: usize, id: u64, answer: Answered) {
        let Some(call) = self.nodes[index].calls.remove(&id) else { return };
        let took = Duration::from_micros(self.now - call.sent);
        let method = call.ask.method();
        let shell = &mut self.nodes[index].shell;
        match (call.ask, answer) {
            (Ask::Template, answer) => {
                let again = shell.fetch == 2 && answer.is_ok();
                shell.fetch = u8::from(again);
                if again {
                    self.call(index, Ask::Template);
                }
                self.tell(index, template_event(answer, method, took));
            }
            (Ask::Longpoll(asked), answer) => {
                let ordered = shell.ordered.take().unwrap_or(Some(asked));
                let wanted = match &answer {
                    Ok(Answer::Template(template)) => {
                        ordered.and_then(|_| template.longpollid.clone())
                    }
                    Err(RpcError::Timeout(_)) => ordered,
                    _ => None,
                };
                // A question is asked anew as soon as 200 ms have passed since the last.
                shell.longpolls = wanted.is_some();
                if wanted.is_some() {
                    let spacing = 200 * MS;
                    let wait = spacing.saturating_sub(took.as_micros() as Micros);
                    self.in_(wait, Event::LongpollAgain(index, wanted));
                }
                if !matches!(answer, Err(RpcError::Timeout(_))) {
                    self.tell(index, template_event(answer, method, took));
                }
            }
            (Ask::Poll, answer) => {
                shell.poll = false;
                self.tell(
                    index,
                    match answer {
                        Ok(Answer::Tip(hash)) => {
                            NodeEventKind::Tip { hash, after: None, source: TipSource::Poll, took }
                        }
                        answer => failed(answer, method, took),
                    },
                );
            }
            (Ask::Health, answer) => {
                shell.health = false;
                self.tell(
                    index,
                    match answer {
                        Ok(Answer::Health(report)) => NodeEventKind::Health { report, took },
                        answer => failed(answer, method, took),
                    },
                );
            }
            (Ask::ChainTips, answer) => {
                shell.chain_tips = false;
                self.tell(
                    index,
                    match answer {
                        Ok(Answer::ChainTips) => {
                            NodeEventKind::ChainTips { refused: Vec::new(), took }
                        }
                        answer => failed(answer, method, took),
                    },
                );
            }
            (Ask::Submit(block), answer) => {
                shell.submits = false;
                let answer = match answer {
                    Ok(Answer::Submitted(words)) => Ok(SubmitAnswer::parse(words.as_deref())),
                    Ok(_) => unreachable!("submitblock answers in words"),
                    Err(error) => Err(error),
                };
                self.tell(index, NodeEventKind::Submitted { block: block.hash, answer, took });
                self.submit_next(index);
            }
            (Ask::Precious(_), answer) => {
                shell.precious = false;
                if answer.is_err() {
                    self.tell(index, failed(answer, method, took));
                }
            }
            (Ask::Confirmations(block), answer) => {
                shell.headers -= 1;
                self.tell(
                    index,
                    match answer {
                        Ok(Answer::Confirmations(confirmations)) => {
                            NodeEventKind::Confirmations { block, confirmations }
                        }
                        answer => failed(answer, method, took),
                    },
                );
            }
        }
    }

    fn tell(&mut self, node: usize, kind: NodeEventKind) {
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
        let Some(parent) = self.blocks.find(block.prev) else {
            self.fail("solved on a block that nobody has");
        };
        let mut time = [0; 4];
        time.copy_from_slice(&block.bytes[68..72]);
        let place = self.blocks.add(Block {
            hash: block.hash,
            parent,
            height: block.height,
            time: u32::from_le_bytes(time),
        });
        self.solved.push(Solved { place, at: self.now });
    }

    fn others_block(&mut self) {
        let wait = self.random.wait(60 * SECOND);
        self.in_(wait, Event::OthersBlock);
        let parent = self.net.tip;
        let clock = (UNIX + self.now / SECOND) as u32;
        let time = clock - 30 + self.random.below(60) as u32;
        let block = self.blocks.add(Block {
            hash: BlockHash(self.random.bytes()),
            parent,
            height: self.blocks.get(parent).height + 1,
            time: time.max(self.blocks.median_time(parent) + 1),
        });
        self.figures.others += 1;
        self.net.accept(&self.blocks, block, self.now);
        self.spread(None, block);
    }

    /// A block is told to all peers; the last place among them is the rest of the world.
    fn spread(&mut self, from: Option<usize>, block: usize) {
        for to in 0..=self.nodes.len() {
            if from.unwrap_or(self.nodes.len()) == to {
                continue;
            }
            let mut way = self.random.between(50 * MS, 900 * MS);
            if self.random.one_in(10) {
                way += self.random.below(5 * SECOND);
            }
            let from = from.map(|from| (from, self.nodes[from].life));
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
        let Some(node) = self.nodes.get_mut(to) else {
            let news = !self.net.knows(block);
            self.net.accept(&self.blocks, block, self.now);
            if news {
                self.spread(None, block);
            }
            return;
        };
        if !node.is_up() || node.view.knows(block) {
            return;
        }
        if node.lag_until > self.now {
            let wait = node.lag_until - self.now + SECOND;
            self.in_(wait, Event::Relay { from: None, to, block });
            return;
        }
        let moved = node.view.accept(&self.blocks, block, self.now);
        self.spread(Some(to), block);
        if moved {
            self.tip_moved(to);
        }
    }

    /// The node's tip is another one: it says so to whom it may concern.
    fn tip_moved(&mut self, index: usize) {
        let way = self.way(index);
        for hash in self.announcements(index) {
            let lost = self.random.one_in(20);
            let node = &mut self.nodes[index];
            let (life, number) = (node.life, node.zmq_number);
            node.zmq_number += 1;
            if node.zmq && !node.zmq_off && !lost {
                self.in_(way, Event::Zmq(index, life, number, hash));
            }
        }
        self.wake_longpolls(index);
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

    fn wake_longpolls(&mut self, index: usize) {
        let waiting: Vec<u64> = self.nodes[index]
            .calls
            .iter()
            .filter(|(_, call)| call.waits && matches!(call.ask, Ask::Longpoll(_)))
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            self.in_(MS, Event::Reach(index, id));
        }
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
            let fault = if self.random.one_in(2) { Fault::Kill } else { Fault::Cut };
            for node in 0..self.nodes.len() {
                self.inflict(node, fault, span);
            }
            return;
        }
        let node = self.random.index(self.nodes.len());
        // From 2 s to 4 min, short ones as often as long ones.
        let span = (2 * SECOND) << self.random.below(8);
        let span = span / 2 + self.random.below(span);
        let all = [
            Fault::Kill,
            Fault::Kill,
            Fault::Hang,
            Fault::Hang,
            Fault::Cut,
            Fault::Lag,
            Fault::TemplateError,
            Fault::SlowTemplates,
            Fault::ZmqOff,
            Fault::LongpollDead,
        ];
        let fault = all[self.random.index(all.len())];
        self.inflict(node, fault, span);
    }

    fn inflict(&mut self, index: usize, fault: Fault, span: Micros) {
        if !self.nodes[index].is_up() {
            return;
        }
        *self.figures.faults.entry(format!("{fault:?}")).or_default() += 1;
        let now = self.now;
        let loses = self.random.one_in(2);
        let node = &mut self.nodes[index];
        match fault {
            Fault::Kill => self.kill(index, loses),
            Fault::Warm => {}
            Fault::Hang => (node.mode, node.was_cut) = (Mode::Hung, false),
            Fault::Cut => (node.mode, node.was_cut) = (Mode::Cut, true),
            Fault::Lag => node.lag_until = now + span,
            Fault::TemplateError => {
                let message = "Out of memory".to_owned();
                node.template_error = Some(RpcError::Rpc { code: -7, message });
            }
            Fault::SlowTemplates => node.slow = 4 * SECOND,
            Fault::ZmqOff => node.zmq_off = true,
            Fault::LongpollDead => node.longpoll_dead = true,
        }
        self.judge_health(index);
        self.in_(span, Event::Mend(index, fault));
    }

    fn kill(&mut self, index: usize, loses: bool) {
        let node = &mut self.nodes[index];
        (node.mode, node.was_cut) = (Mode::Killed, false);
        node.life += 1;
        node.busy_until = 0;
        if loses {
            // A crash, and the last minute was not on its disk.
            node.view.lose(&self.blocks, self.now.saturating_sub(60 * SECOND));
            self.figures.crashes += 1;
        }
        (node.announced, node.zmq_number, node.zmq_heard) = (node.view.tip, 0, None);
        let calls: Vec<u64> = node.calls.keys().copied().collect();
        for id in calls {
            let broken = RpcError::Transport("connection reset".into());
            self.finish(index, id, Err(broken));
        }
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
                self.meet_peers(index);
            }
            (Fault::Cut, Mode::Cut) => {
                node.mode = Mode::Up;
                self.meet_peers(index);
            }
            (Fault::TemplateError, _) => node.template_error = None,
            (Fault::SlowTemplates, _) => node.slow = 0,
            (Fault::ZmqOff, _) => node.zmq_off = false,
            (Fault::LongpollDead, _) => {
                node.longpoll_dead = false;
                self.wake_longpolls(index);
            }
            _ => {}
        }
        self.judge_health(index);
    }

    /// What was asked or said while it stood still goes on.
    fn thaw(&mut self, index: usize) {
        let ids: Vec<u64> = self.nodes[index].calls.keys().copied().collect();
        for id in ids {
            let held = self.nodes[index].calls.get_mut(&id).and_then(|call| call.held.take());
            match held {
                Some(answer) => self.in_(MS, Event::Answered(index, id, answer)),
                None => self.in_(MS, Event::Reach(index, id)),
            }
        }
    }

    /// A node that was away gets what it missed, and tells what only it has.
    fn meet_peers(&mut self, index: usize) {
        let own = self.nodes[index].view.tip;
        self.spread(Some(index), own);
        let mut tips = vec![self.net.tip];
        tips.extend(self.nodes.iter().filter(|node| node.is_up()).map(|node| node.view.tip));
        for block in tips {
            let wait = self.random.between(200 * MS, 4 * SECOND);
            self.in_(wait, Event::Relay { from: None, to: index, block });
        }
    }

    fn judge_health(&mut self, index: usize) {
        let now = self.now;
        let node = &mut self.nodes[index];
        node.well_since = match node.is_well() {
            true => node.well_since.or(Some(now)),
            false => None,
        };
        let mute = matches!(node.mode, Mode::Killed | Mode::Hung | Mode::Cut);
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
        let wire = Wire { miner: index, lines: Lines::new(), open: true };
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
        let tip = self.daemon.pool.jobs().work().map(|work| work.template.prev);
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
            Some(share) => crate::audit::judge(self, tip, share, &read),
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
        if !matches!(why, CloseReason::NoWork | CloseReason::Resumed) {
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
        let clock = UNIX + self.now / SECOND;
        let before = self.miners[index].job.as_ref().map(|job| job.prev);
        let heard = match self.miners[index].hear(self.now, clock, bytes) {
            Ok(heard) => heard,
            Err(why) => self.fail(format!("miner {index}: {why}")),
        };
        if heard.job {
            self.figures.jobs += 1;
            crate::audit::job(self, index, before);
        }
        for line in heard.say {
            self.miner_says(index, &line, None);
        }
    }

    // -- the daemon itself --

    /// A power cut: what is not on the card is gone.
    fn restart(&mut self) {
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
        self.daemon = Daemon::new(self.clock(), &ids, first_job_id, card);
        self.obey();
    }

    /// Since when the daemon runs.
    pub fn up_since(&self) -> Micros {
        self.restarted_at
    }
}

fn template_event(answer: Answered, method: Method, took: Duration) -> NodeEventKind {
    match answer {
        Ok(Answer::Template(template)) => {
            NodeEventKind::Template { template, method, took, parsing: Duration::ZERO }
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

fn node(random: &mut Random, blocks: &Blocks, bits: u32) -> Node {
    Node {
        mode: Mode::Up,
        life: 0,
        well_since: Some(0),
        mute_since: None,
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
        announced: View::new(blocks).tip,
        zmq_number: 0,
        zmq_heard: None,
        zmq_off: false,
        longpoll_dead: false,
        lag_until: 0,
        template_error: None,
        slow: 0,
        bits,
    }
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
    matches!(why, Reject::Stale { .. })
}
