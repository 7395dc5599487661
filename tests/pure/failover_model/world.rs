//! Nodes and shells in virtual time: obeys the machine's commands as honest shells do, and checks
//! with each command what must never happen.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use soloist::chain::{BlockHash, Chain};
use soloist::clock::{Now, Reading};
use soloist::difficulty::{NBits, Target};
use soloist::failover::{
    BLOCKS_DEADLINE, CHAIN_TIPS_DEADLINE, DEFAULT_GRACE, ErrorKind, Event, FETCH_BURST,
    FETCH_DEADLINE, FETCH_EVERY, Failover, Follow, HEALTH_DEADLINE, Input, LeadWhy, NodeSpec,
    Output, PERMISSIONS_DEADLINE, PERMISSIONS_GAP, POLL_DEADLINE, POLL_EVERY, PROBE_NOBODY, Setup,
    WAIT,
};
use soloist::ids::NodeId;
use soloist::node::{
    Ask, Command, HealthReport, InvalidBranch, Method, NodeEvent, NodeEventKind, Permission,
    Permissions, RpcError, TipHeader, TipSource,
};
use soloist::template::{Template, VersionBits};

pub const MS: Duration = Duration::from_millis(1);
pub const SEC: Duration = Duration::from_secs(1);
pub const GRACE: Duration = DEFAULT_GRACE;
/// The true time at the start.
const UNIX: u64 = 1_700_000_000;

/// Marks a trial among the calls under way: it has no method of its own, and this one is not used.
const TRIAL: Method = Method::PreciousBlock;

/// The first node's rules are known after this at the latest: it is asked again after 60 s, and both
/// questions take 28 s at the most, with the patience for news.
pub const JUDGED_AFTER: Duration = Duration::from_secs(100);

/// How a simulated node behaves.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    Up,
    /// The process is gone: connections break, new ones are refused.
    Killed,
    /// The process is stopped: connections stay, nothing is answered.
    Hung,
    /// Every call is answered by this error.
    Errors(RpcError),
}

#[derive(Clone, Copy, Debug)]
pub struct Block {
    pub hash: BlockHash,
    pub height: u64,
    pub work: u64,
    /// By its header: when it was mined.
    pub time: u64,
    parent: usize,
    /// The first block of its chain that each set of rules refuses.
    breaks: [Option<usize>; RULES],
}

/// Sets of rules beside the one that takes all blocks. Set 1 refuses what breaks it, and so on.
pub const RULES: usize = 2;

#[derive(Clone, Debug)]
pub struct Sim {
    pub id: NodeId,
    pub mode: Mode,
    /// `getblocktemplate` alone is answered by this error.
    pub template_error: Option<RpcError>,
    /// Index into the world's blocks.
    pub tip: usize,
    tip_since: Instant,
    /// Takes in no blocks.
    pub stuck: bool,
    /// Its set of rules; 0 takes all blocks.
    pub rules: usize,
    /// What it has refused, and when: the first block of each branch.
    pub refused: Vec<(usize, Instant)>,
    /// The same with what it has taken back since: news of it may be under way.
    ever_refused: Vec<usize>,
    /// What its owner had it refuse.
    invalidated: Vec<usize>,
    /// It answers `getchaintips`.
    pub tells: bool,
    pub chain: String,
    pub initial_download: bool,
    pub connections: u64,
    /// By so much its clock is ahead of the true time, seconds.
    pub clock_ahead: i64,
    /// Its answers have a `Date`, so far ahead of its clock (a proxy's), seconds.
    pub date: Option<i64>,
    pub headers_ahead: u64,
    /// Our user may not call these.
    pub forbidden: Vec<Command>,
    pub zmq: bool,
    /// We are connected to its P2P port.
    pub p2p: bool,
    /// The shell answers polls.
    pub polls: bool,
    pub rtt: Duration,
    pub template_takes: Duration,
    /// Threads for RPC. With one, whatever is asked waits for the end of a call that waits.
    pub threads: u32,
    /// It has `waitfornewblock`, and lets us call it.
    pub knows_wait: bool,
    /// It, or something before it, answers what is to wait at once.
    pub impatient: bool,
    /// It answered beside a call that waits, since it was last away.
    answers_beside: bool,
    /// Its end is seen by an idle connection at once.
    pub hangs_up: bool,
    pub breaker: BreakerModel,
    /// Starts of template calls.
    fetches: Vec<Instant>,
    /// When it was last asked what we may call.
    permit_asked: Option<Instant>,
    pub has_reported: bool,
    /// The tip of the last template that was handed in.
    pub template_tip: Option<usize>,
}

/// The reference model of the breaker: what was handed in, counted.
#[derive(Clone, Debug, Default)]
pub struct BreakerModel {
    pub failures: u32,
    pub open_since: Option<Instant>,
    pub wait: Duration,
}

#[derive(Clone, Debug)]
struct Pending {
    at: Instant,
    order: u64,
    node: NodeId,
    method: Method,
    sent: Instant,
    deadline: Duration,
    answer: Result<NodeEventKind, RpcError>,
    pushed: bool,
}

pub struct World {
    pub failover: Failover,
    pub start: Instant,
    pub now: Instant,
    pub sims: Vec<Sim>,
    pub blocks: Vec<Block>,
    /// The block with most work by each set of rules.
    best: [usize; RULES + 1],
    pub follow: Follow,
    /// Since when the first node has answered everything in time.
    judge_since: Option<(NodeId, Instant)>,
    /// When another was last given the lead although the first node had a newer tip, which the next
    /// poll would have told.
    pub lead_by_old_news: Option<Instant>,
    places: HashMap<BlockHash, usize>,
    pub order: Vec<NodeId>,
    pub chains: Vec<Chain>,
    pending: Vec<Pending>,
    count: u64,
    /// Everything that was commanded, with its time.
    pub log: Vec<(Instant, Output)>,
    pub keep_log: bool,
    trace: bool,
    pub leader: Option<NodeId>,
    pub gated: bool,
    /// The tip served last, and when.
    pub served: Option<(usize, Instant)>,
    pub names: BTreeSet<&'static str>,
    pub leads: BTreeMap<String, u64>,
    pub commands: u64,
    pub ticks: u64,
    pub allow_older: bool,
    /// Calls that waited at a node.
    pub waits: u64,
    /// By so much this box's clock is ahead of the true time, seconds.
    pub box_ahead: i64,
    /// Clocks that were seen to be set: whose, and by how much.
    pub clocks_set: Vec<(Option<NodeId>, i64)>,
}

pub fn hash(n: u64) -> BlockHash {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    bytes[8] = 1;
    BlockHash(bytes)
}

pub fn id(n: u32) -> NodeId {
    NodeId(n)
}

pub fn refused() -> RpcError {
    RpcError::Refused
}

/// What a node says to a method that it does not have.
pub fn unknown() -> RpcError {
    RpcError::Rpc { code: -32601, message: "Method not found".into() }
}

/// A template without transactions.
pub fn template(
    height: u32,
    prev: BlockHash,
    curtime: u32,
    mintime: u32,
    took: Duration,
) -> NodeEventKind {
    let nbits = NBits(0x207f_ffff);
    let template = Arc::new(Template {
        height,
        version: 0x2000_0000,
        prev,
        nbits,
        target: Target::from_nbits(nbits).expect("the easiest target"),
        curtime,
        mintime,
        value: 0,
        txs: Vec::new(),
        branch: Vec::new(),
        witness_commitment: None,
        version_bits: VersionBits::default(),
    });
    NodeEventKind::Template { template, took, parsing: Duration::ZERO }
}

fn waited(hash: BlockHash, height: u64, took: Duration) -> NodeEventKind {
    NodeEventKind::Tip { hash, height: Some(height), source: TipSource::Wait, took }
}

pub fn warming() -> RpcError {
    RpcError::Rpc { code: -28, message: "Loading block index…".into() }
}

impl World {
    /// Nodes 0, 1, … in this order of preference, all at the tip of height 100.
    pub fn new(count: u32) -> World {
        let start = Instant::now() + Duration::from_secs(1_000_000);
        let order: Vec<NodeId> = (0..count).map(NodeId).collect();
        let chains = vec![Chain::Main];
        let now = Now { mono: start, unix: 0 };
        let mut world = World {
            failover: Failover::new(now, setup(&order, &chains, Follow::Work)),
            start,
            now: start,
            sims: Vec::new(),
            blocks: vec![Block {
                hash: hash(100),
                height: 100,
                work: 1000,
                time: UNIX,
                parent: 0,
                breaks: [None; RULES],
            }],
            best: [0; RULES + 1],
            follow: Follow::Work,
            judge_since: None,
            lead_by_old_news: None,
            places: HashMap::from([(hash(100), 0)]),
            order: order.clone(),
            chains,
            pending: Vec::new(),
            count: 0,
            log: Vec::new(),
            keep_log: true,
            trace: std::env::var_os("FAILOVER_TRACE").is_some(),
            leader: None,
            gated: true,
            served: None,
            names: BTreeSet::new(),
            leads: BTreeMap::new(),
            commands: 0,
            ticks: 0,
            allow_older: false,
            waits: 0,
            box_ahead: 0,
            clocks_set: Vec::new(),
        };
        for id in order {
            world.add_sim(id);
        }
        world
    }

    pub fn add_sim(&mut self, id: NodeId) {
        self.sims.push(Sim {
            id,
            mode: Mode::Up,
            template_error: None,
            tip: self.best(),
            tip_since: self.now,
            stuck: false,
            rules: 0,
            refused: Vec::new(),
            ever_refused: Vec::new(),
            invalidated: Vec::new(),
            tells: true,
            chain: "main".into(),
            initial_download: false,
            connections: 8,
            clock_ahead: 0,
            date: Some(0),
            headers_ahead: 0,
            forbidden: Vec::new(),
            zmq: true,
            p2p: false,
            polls: true,
            rtt: MS,
            template_takes: MS * 10,
            threads: 4,
            knows_wait: true,
            impatient: false,
            answers_beside: false,
            hangs_up: true,
            breaker: BreakerModel::default(),
            fetches: Vec::new(),
            permit_asked: None,
            has_reported: false,
            template_tip: None,
        });
    }

    /// Its answers under way arrive late, and are ignored.
    pub fn remove_sim(&mut self, id: NodeId) {
        self.sims.retain(|sim| sim.id != id);
        self.pending.retain(|pending| pending.node != id);
    }

    pub fn sim(&mut self, id: NodeId) -> &mut Sim {
        self.sims.iter_mut().find(|sim| sim.id == id).expect("a known node")
    }

    /// The block with most work, the oldest among equals.
    pub fn best(&self) -> usize {
        self.best[0]
    }

    /// The same by a set of rules.
    pub fn best_by(&self, rules: usize) -> usize {
        self.best[rules]
    }

    /// The first block of a chain that a node refuses by its rules, or has been told to.
    pub fn refusal(&self, node: NodeId, block: usize) -> Option<usize> {
        let sim = self.sims.iter().find(|sim| sim.id == node)?;
        let by_rules = sim.rules.checked_sub(1).and_then(|rules| self.blocks[block].breaks[rules]);
        by_rules
            .or_else(|| sim.invalidated.iter().copied().find(|refused| self.is_on(*refused, block)))
    }

    /// Whether a block that was refused is `tip` or one of its ancestors.
    fn has(&self, tip: usize, refused: usize) -> bool {
        // A block that breaks rules is known by all that follow it; the rest is a few.
        let by_rules = self.blocks[refused].breaks.contains(&Some(refused));
        match by_rules {
            true => self.blocks[tip].breaks.contains(&Some(refused)),
            false => self.is_on(refused, tip),
        }
    }

    /// Whether a block is `tip` or one of its ancestors.
    pub fn is_on(&self, block: usize, tip: usize) -> bool {
        self.ancestor(tip, self.blocks[block].height) == Some(block)
    }

    fn ancestor(&self, tip: usize, height: u64) -> Option<usize> {
        let mut at = tip;
        while self.blocks[at].height > height {
            at = self.blocks[at].parent;
        }
        (self.blocks[at].height == height).then_some(at)
    }

    fn block(&self, hash: BlockHash) -> Option<Block> {
        self.blocks.get(*self.places.get(&hash)?).copied()
    }

    /// The true time, Unix seconds.
    pub fn unix(&self) -> u64 {
        UNIX + self.age().as_secs()
    }

    /// Time since the start.
    pub fn age(&self) -> Duration {
        self.now - self.start
    }

    // -- what happens to nodes --

    /// A new block on top of another, known to no node yet.
    pub fn mine_on(&mut self, parent: usize) -> usize {
        self.mine_breaking(parent, 0)
    }

    /// The same, and the block breaks a set of rules.
    pub fn mine_breaking(&mut self, parent: usize, rules: usize) -> usize {
        let Block { height, work, mut breaks, .. } = self.blocks[parent];
        let (hash, place) = (hash(1000 + self.blocks.len() as u64), self.blocks.len());
        if let Some(set) = rules.checked_sub(1) {
            breaks[set] = breaks[set].or(Some(place));
        }
        let (work, time) = (work + 10, self.unix());
        self.blocks.push(Block { hash, height: height + 1, work, time, parent, breaks });
        self.places.insert(hash, place);
        for set in 0..=RULES {
            let fits = set == 0 || breaks[set - 1].is_none();
            if fits && work > self.blocks[self.best[set]].work {
                self.best[set] = place;
            }
        }
        place
    }

    fn note_refusal(&mut self, id: NodeId, block: usize) {
        let now = self.now;
        let sim = self.sim(id);
        if !sim.refused.iter().any(|(known, _)| *known == block) {
            sim.refused.push((block, now));
            sim.ever_refused.push(block);
        }
    }

    /// The node goes by other rules from now on, and leaves what they refuse.
    pub fn set_rules(&mut self, id: NodeId, rules: usize) {
        // What it refused by its old rules is looked at anew.
        self.forgive(id);
        self.sim(id).rules = rules;
        let tip = self.sim(id).tip;
        if let Some(refused) = self.refusal(id, tip) {
            self.note_refusal(id, refused);
            self.set_tip(id, self.blocks[refused].parent);
        }
    }

    /// All blocks are taken again.
    pub fn forgive(&mut self, id: NodeId) {
        let sim = self.sim(id);
        (sim.rules, sim.tells) = (0, true);
        sim.refused.clear();
        sim.invalidated.clear();
    }

    /// The owner calls `invalidateblock`: the node leaves the block for the one below it.
    pub fn invalidate(&mut self, id: NodeId, block: usize) {
        self.note_refusal(id, block);
        self.sim(id).invalidated.push(block);
        if self.is_on(block, self.sims.iter().find(|sim| sim.id == id).expect("known").tip) {
            self.set_tip(id, self.blocks[block].parent);
        }
    }

    /// A node hears of a block; it takes it if the block has more work than its tip.
    pub fn give(&mut self, id: NodeId, block: usize) {
        let (work, tip) = (self.blocks[block].work, self.sim(id).tip);
        let sim = self.sim(id);
        let lives = sim.mode == Mode::Up || sim.p2p && matches!(sim.mode, Mode::Errors(_));
        if sim.stuck || !lives || tip == block {
            return;
        }
        if work <= self.blocks[tip].work {
            return;
        }
        match self.refusal(id, block) {
            None => self.set_tip(id, block),
            Some(refused) => {
                self.note_refusal(id, refused);
                // It connects what comes before.
                let parent = self.blocks[refused].parent;
                if self.blocks[parent].work > self.blocks[tip].work {
                    self.set_tip(id, parent);
                }
            }
        }
    }

    /// The node's tip changes, whatever the work.
    pub fn set_tip(&mut self, id: NodeId, block: usize) {
        let now = self.now;
        let sim = self.sim(id);
        (sim.tip, sim.tip_since) = (block, now);
        let Block { hash, height, .. } = self.blocks[block];
        if self.sim(id).zmq {
            let (source, took) = (TipSource::Zmq, Duration::ZERO);
            let news = NodeEventKind::Tip { hash, height: None, source, took };
            self.push(id, Method::GetBestBlockHash, MS, SEC * 3600, Ok(news), true);
        }
        self.announce_by_p2p(id);
        let now = self.now;
        for waiting in self.pending.iter_mut().filter(|pending| {
            pending.node == id && pending.method == Method::WaitForNewBlock && now < pending.at
        }) {
            waiting.at = waiting.at.min(now + MS);
            if waiting.answer.is_ok() {
                waiting.answer = Ok(waited(hash, height, now - waiting.sent));
            }
        }
    }

    /// We are connected to the node's P2P port, or no longer.
    pub fn set_p2p(&mut self, id: NodeId, on: bool) {
        self.sim(id).p2p = on;
        match on {
            true => self.announce_by_p2p(id),
            false => self.hand_in(Input::PeerLost(id)),
        }
    }

    fn announce_by_p2p(&mut self, node: NodeId) {
        let Sim { tip, p2p: true, .. } = *self.sim(node) else { return };
        let Block { hash, height, .. } = self.blocks[tip];
        let header = Some(TipHeader { height, median_time: 7 });
        self.hand_in(Input::Announced { node, hash, header });
    }

    /// ZMQ says what every node's tip is, so that it is known to work.
    pub fn announce(&mut self) {
        for sim in self.sims.clone() {
            if sim.zmq {
                let hash = self.blocks[sim.tip].hash;
                let (source, took) = (TipSource::Zmq, Duration::ZERO);
                self.say(sim.id, NodeEventKind::Tip { hash, height: None, source, took });
            }
        }
    }

    /// A new block that all nodes hear of at once.
    pub fn mine(&mut self) -> usize {
        let block = self.mine_on(self.best());
        for id in self.sims.iter().map(|sim| sim.id).collect::<Vec<_>>() {
            self.give(id, block);
        }
        block
    }

    /// The process dies: what is under way breaks now.
    pub fn kill(&mut self, id: NodeId) {
        let sim = self.sim(id);
        sim.mode = Mode::Killed;
        let p2p = std::mem::take(&mut sim.p2p);
        // A host that is gone with its network does not even break a connection.
        let hangs_up = sim.hangs_up;
        let broken = RpcError::Transport("connection reset".into());
        let now = self.now;
        self.pending.retain(|pending| pending.node != id || !pending.pushed);
        for pending in self.pending.iter_mut().filter(|pending| pending.node == id) {
            pending.at = now;
            pending.answer = Err(broken.clone());
        }
        if hangs_up {
            self.push(
                id,
                Method::GetBestBlockHash,
                Duration::ZERO,
                SEC,
                Ok(NodeEventKind::HungUp),
                true,
            );
        }
        if p2p {
            self.hand_in(Input::PeerLost(id));
        }
    }

    pub fn revive(&mut self, id: NodeId) {
        self.sim(id).mode = Mode::Up;
        let rtt = self.sim(id).rtt;
        let now = self.now;
        for pending in self.pending.iter_mut().filter(|pending| pending.node == id) {
            pending.at = pending.at.min(now + rtt);
        }
    }

    pub fn reload(&mut self, order: Vec<NodeId>, chains: Vec<Chain>) {
        self.order = order;
        self.chains = chains;
        let setup = setup(&self.order, &self.chains, self.follow);
        self.hand_in(Input::Reload(setup));
    }

    pub fn set_follow(&mut self, follow: Follow) {
        self.follow = follow;
        self.reload(self.order.clone(), self.chains.clone());
    }

    // -- time --

    /// Lets the time pass, answering the machine's calls.
    pub fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let answer = self.pending.iter().map(|pending| (pending.at, pending.order)).min();
            let deadline = self.failover.next_deadline();
            let next = match (answer, deadline) {
                (Some((at, _)), Some(deadline)) => at.min(deadline),
                (Some((at, _)), None) => at,
                (None, Some(deadline)) => deadline,
                (None, None) => break,
            };
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            match answer {
                Some((at, order)) if at <= next => self.answer(order),
                _ => {
                    self.ticks += 1;
                    self.hand_in(Input::Tick);
                }
            }
        }
        self.now = end;
    }

    fn answer(&mut self, order: u64) {
        let place = self.pending.iter().position(|pending| pending.order == order);
        let mut pending = self.pending.swap_remove(place.expect("it was just found"));
        let Some(sim) = self.sims.iter_mut().find(|sim| sim.id == pending.node) else { return };
        let deadline = pending.sent + pending.deadline;
        let news = match &sim.mode {
            // The end of a connection is the kernel's word, not the process's.
            _ if matches!(pending.answer, Ok(NodeEventKind::HungUp)) => pending.answer,
            Mode::Hung if pending.pushed => return,
            Mode::Hung if self.now < deadline => {
                pending.at = deadline;
                self.pending.push(pending);
                return;
            }
            Mode::Hung => Err(RpcError::Timeout(pending.deadline)),
            Mode::Errors(error) if !pending.pushed => Err(error.clone()),
            _ => pending.answer,
        };
        let took = self.now - pending.sent;
        let news = match news {
            Ok(news) => news,
            Err(error) if pending.method == TRIAL => NodeEventKind::WaitTried(Err(error)),
            Err(error) => NodeEventKind::Failed { method: pending.method, error, took },
        };
        self.say(pending.node, news);
    }

    /// A node's news reach the machine.
    pub fn say(&mut self, node: NodeId, news: NodeEventKind) {
        let now = self.now;
        if let Some(sim) = self.sims.iter_mut().find(|sim| sim.id == node) {
            match &news {
                NodeEventKind::WaitTried(outcome) => sim.answers_beside = *outcome == Ok(true),
                // What answers next may be another process.
                NodeEventKind::HungUp => sim.answers_beside = false,
                NodeEventKind::Failed { error, .. }
                    if ErrorKind::of(error) == ErrorKind::Transport =>
                {
                    sim.answers_beside = false;
                }
                _ => {}
            }
        }
        let template_tip = match &news {
            NodeEventKind::Template { template, .. } => self.places.get(&template.prev).copied(),
            _ => None,
        };
        if let Some(sim) = self.sims.iter_mut().find(|sim| sim.id == node) {
            sim.breaker.hear(now, &news);
            if matches!(&news, NodeEventKind::Health { report, .. } if report.chain == "main") {
                sim.has_reported = true;
            }
            if template_tip.is_some() && sim.has_reported {
                sim.template_tip = template_tip;
            }
        }
        self.hand_in(Input::Node(NodeEvent { node, kind: news }));
    }

    pub fn hand_in(&mut self, input: Input) {
        self.look_at_judge();
        let mut out = Vec::new();
        let unix = self.unix().saturating_add_signed(self.box_ahead);
        let now = Now { mono: self.now, unix };
        self.failover.handle(now, input, &mut out);
        assert!(out.len() < 200, "a flood of commands: {out:?}");
        for output in out {
            self.obey(output);
        }
        if let Some(deadline) = self.failover.next_deadline() {
            assert!(deadline > self.now, "the next deadline does not progress");
        } else {
            assert!(self.order.is_empty(), "nodes but no deadline");
        }
        // The leader is lost without a command, so the model reads it; but it never appears
        // without one.
        if self.failover.leader().is_none() {
            self.leader = None;
        }
        assert_eq!(self.failover.leader(), self.leader, "two ideas of who leads");
        assert_eq!(self.failover.is_gated(), self.gated);
    }

    // -- the shells --

    fn asked(&mut self, node: NodeId, ask: Ask) {
        match ask {
            Ask::Template(_) => {
                self.check_call(node, Method::GetBlockTemplate);
                self.check_rate(node);
                let takes = self.sim(node).template_takes;
                let news = self.template_news(node);
                self.push(node, Method::GetBlockTemplate, takes, FETCH_DEADLINE, news, false);
            }
            Ask::Tip | Ask::WaitForTip => {
                let waits = ask == Ask::WaitForTip;
                self.check_call(node, Method::GetBestBlockHash);
                self.check_call(node, Method::WaitForNewBlock);
                let sim = self.sim(node).clone();
                let Block { hash, height, .. } = self.blocks[sim.tip];
                if !sim.polls {
                    return;
                }
                if !waits {
                    let source = TipSource::Poll;
                    let news = NodeEventKind::Tip { hash, height: None, source, took: sim.rtt };
                    let method = Method::GetBestBlockHash;
                    return self.push(node, method, sim.rtt, POLL_DEADLINE, Ok(news), false);
                }
                // The rule of the guest: a call waits at one node, for a quarter of a second, and only
                // where that leaves a thread for everybody else.
                assert_eq!(self.leader, Some(node), "a call waits at a node that does not lead");
                assert!(sim.answers_beside, "{node:?} was not seen to answer beside a call");
                self.waits += 1;
                let wait = if sim.impatient { Duration::ZERO } else { WAIT };
                let (answer, takes) = match sim.knows_wait {
                    true => (Ok(waited(hash, height, wait)), wait + sim.rtt),
                    false => (Err(unknown()), sim.rtt),
                };
                self.push(
                    node,
                    Method::WaitForNewBlock,
                    takes,
                    POLL_DEADLINE + WAIT,
                    answer,
                    false,
                );
            }
            Ask::TryWait => {
                assert_eq!(self.leader, Some(node), "a trial at a node that does not lead");
                let sim = self.sim(node);
                let outcome = match sim.knows_wait {
                    true => Ok(sim.threads > 1),
                    false => Err(unknown()),
                };
                let news = NodeEventKind::WaitTried(outcome);
                self.push(node, TRIAL, WAIT, POLL_DEADLINE, Ok(news), false);
            }
            Ask::Header(tip) => {
                assert_eq!(self.leader, Some(node), "a header for nothing");
                let (rtt, block) = (self.sim(node).rtt, self.block(tip));
                let news = match block {
                    Some(Block { height, .. }) => Ok(NodeEventKind::Header {
                        hash: tip,
                        header: TipHeader { height, median_time: 7 },
                    }),
                    None => Err(RpcError::Rpc { code: -5, message: "Block not found".into() }),
                };
                self.push(node, Method::GetBlockHeader, rtt, SEC * 5, news, false);
            }
            Ask::Health => {
                self.check_call(node, Method::Health);
                let rtt = self.sim(node).rtt;
                let report = self.report(node);
                let news = NodeEventKind::Health { report: Box::new(report), took: rtt };
                self.push(node, Method::Health, rtt, HEALTH_DEADLINE, Ok(news), false);
            }
            Ask::Permissions => {
                self.check_call(node, Method::Permissions);
                let now = self.now;
                let last = self.sim(node).permit_asked.replace(now);
                assert!(last.is_none_or(|last| now - last >= PERMISSIONS_GAP), "asked too often");
                // Eleven calls, of which five count.
                let took = self.sim(node).rtt * 5;
                let permissions = self.permissions(node);
                let news = NodeEventKind::Permissions { permissions, took };
                self.push(node, Method::Permissions, took, PERMISSIONS_DEADLINE, Ok(news), false);
            }
            Ask::ChainTips => {
                self.check_call(node, Method::GetChainTips);
                let rtt = self.sim(node).rtt;
                let news =
                    NodeEventKind::ChainTips { refused: self.invalid_branches(node), took: rtt };
                let forbidden = RpcError::Forbidden { method: "getchaintips" };
                let answer = if self.sim(node).tells { Ok(news) } else { Err(forbidden) };
                self.push(node, Method::GetChainTips, rtt, CHAIN_TIPS_DEADLINE, answer, false);
            }
            Ask::BlocksAt(heights) => {
                self.check_call(node, Method::GetBlockHash);
                assert!(heights.len() <= 10 && heights.is_sorted(), "{heights:?}");
                let (rtt, tip) = (self.sim(node).rtt, self.sim(node).tip);
                let there =
                    |height: &u64| Some((*height, self.blocks[self.ancestor(tip, *height)?].hash));
                let blocks = heights.iter().filter_map(there).collect();
                let news = NodeEventKind::BlocksAt { blocks, took: rtt };
                self.push(node, Method::GetBlockHash, rtt, BLOCKS_DEADLINE, Ok(news), false);
            }
            Ask::Precious(_) | Ask::Position { .. } | Ask::Propose { .. } | Ask::Addresses => {
                panic!("that concerns a block: {ask:?}")
            }
        }
    }

    fn obey(&mut self, output: Output) {
        self.commands += 1;
        if self.trace {
            println!("{:10.3} {output:?}", self.age().as_secs_f64());
        }
        if self.keep_log {
            self.log.push((self.now, output.clone()));
        }
        match output {
            Output::Ask { node, ask } => self.asked(node, ask),
            Output::Lead { node, why, .. } => {
                assert_ne!(self.leader, Some(node), "it leads already");
                assert!(self.order.contains(&node), "a removed node leads");
                let sim = self.sim(node);
                assert!(sim.has_reported, "{node:?} leads unchecked");
                assert_eq!(sim.breaker.open_since, None, "{node:?} leads with an open breaker");
                self.leader = Some(node);
                if self.is_unheard_first() {
                    self.lead_by_old_news = Some(self.now);
                }
                let why = why.to_string().chars().filter(|c| !c.is_ascii_digit()).collect();
                *self.leads.entry(why).or_default() += 1;
            }
            Output::Serve { node, new_tip } => self.check_serve(node, new_tip),
            Output::EmptyJob { node, tip, header } => {
                let tip = self.places[&tip];
                let block = self.blocks[tip];
                let (before, _) = self.served.expect("served");
                // Where no RPC answers, the work itself moves to the new tip.
                let before = self.blocks[before].work;
                if self.leader_answers() {
                    assert_eq!(self.leader, Some(node), "an empty job on another's word");
                    assert!(self.failover.empty_first(node));
                    assert!(block.work > before);
                } else {
                    assert!(self.sim(node).p2p && self.sim(node).tip == tip);
                    self.check_rules(tip);
                    self.served = Some((tip, self.now));
                }
                assert!(block.work >= before);
                assert_eq!(block.height, header.height, "an empty block of a wrong height");
            }
            Output::Gate { why } => {
                assert!(!self.gated, "gated twice");
                self.gated = true;
                let (_, at) = self.served.take().expect("something was served before");
                if matches!(why, soloist::failover::GateWhy::Grace(_)) {
                    assert!(self.now >= at + GRACE, "gated within the grace");
                }
            }
            Output::Ungate => {
                assert!(self.gated && self.served.is_some(), "let in without work");
                self.gated = false;
            }
            Output::ClockSet { node, by } => self.clocks_set.push((node, by)),
            Output::Event(event) => {
                assert!(!event.to_string().is_empty());
                self.names.insert(event.name());
            }
        }
    }

    /// The leader's last call went well.
    fn leader_answers(&self) -> bool {
        use soloist::failover::Standing::{Down, NoTemplate, Shaky, Silent};
        self.failover.nodes(self.now).any(|node| {
            node.leads && !matches!(node.standing, Shaky | NoTemplate | Silent(_) | Down)
        })
    }

    /// One call of a kind at a time; none but a probe while the breaker is open.
    fn check_call(&mut self, node: NodeId, method: Method) {
        assert!(self.order.contains(&node), "{method:?} at a removed node");
        let now = self.now;
        let outstanding = self.pending.iter().any(|pending| {
            pending.node == node
                && pending.method == method
                && !pending.pushed
                && now < pending.sent + pending.deadline
        });
        assert!(!outstanding, "{method:?} at {node:?} while another is under way");
        let leader = self.failover.leader();
        let sim = self.sim(node);
        let Some(since) = sim.breaker.open_since else { return };
        assert_eq!(method, Method::Health, "{method:?} at {node:?} while its breaker is open");
        let wait = now - since;
        assert!(wait >= PROBE_NOBODY.min(sim.breaker.wait), "{node:?} is probed after {wait:?}");
        if leader.is_some() && wait < sim.breaker.wait.min(Duration::from_secs(15)) {
            // Allowed only at the moment that it was due while nobody led.
            panic!("{node:?} is probed after {wait:?}, due after {:?}", sim.breaker.wait);
        }
    }

    /// In any window: the burst, and one per interval.
    fn check_rate(&mut self, node: NodeId) {
        let now = self.now;
        let sim = self.sim(node);
        sim.fetches.push(now);
        let keep = sim.fetches.len().saturating_sub(40);
        sim.fetches.drain(..keep);
        for (back, from) in sim.fetches.iter().rev().enumerate() {
            let allowed = FETCH_BURST as f64 + (now - *from).div_duration_f64(FETCH_EVERY);
            assert!((back + 1) as f64 <= allowed + 1e-6, "a storm of template calls at {node:?}");
        }
    }

    fn check_serve(&mut self, node: NodeId, new_tip: bool) {
        let now = self.now;
        assert!(self.order.contains(&node), "a removed node's template is served");
        let sim = self.sim(node);
        assert!(sim.has_reported, "an unchecked node's template is served");
        let tip = sim.template_tip.expect("a template was handed in");
        self.check_rules(tip);
        if let Some((before, at)) = self.served
            && self.blocks[tip].work < self.blocks[before].work
            && !self.allow_older
            && !self.is_refused_by_first(before)
            && !self.has_refused(node, before)
        {
            let age = now - at;
            assert!(
                age >= GRACE * 3 / 4,
                "{node:?} leads back from {:?} to {:?} after only {age:?}: {:?}",
                self.blocks[before],
                self.blocks[tip],
                self.sims
                    .iter()
                    .map(|sim| (sim.id, sim.tip, sim.rules, &sim.mode, &sim.refused))
                    .collect::<Vec<_>>()
            );
            assert!(new_tip);
        }
        self.served = Some((tip, now));
    }

    // -- whose rules decide --

    /// The node has refused a block of this chain; it may have been on it before.
    fn has_refused(&self, node: NodeId, tip: usize) -> bool {
        let sim = self.sims.iter().find(|sim| sim.id == node).expect("a known node");
        sim.ever_refused.iter().any(|refused| self.has(tip, *refused))
    }

    /// With `follow = "first"`: the first node has refused a block of this chain.
    fn is_refused_by_first(&self, tip: usize) -> bool {
        let Some(first) = self.sims.iter().find(|sim| self.order.first() == Some(&sim.id)) else {
            return false;
        };
        self.follow == Follow::First
            && first.ever_refused.iter().any(|refused| self.has(tip, *refused))
    }

    /// Nothing is served that the first node has refused for longer than its asking can take
    /// (see [`JUDGED_AFTER`]), while it answers.
    fn check_rules(&self, tip: usize) {
        if !self.judge_has_decided() {
            return;
        }
        let first = self.sims.iter().find(|sim| self.order.first() == Some(&sim.id));
        for (refused, at) in first.into_iter().flat_map(|first| &first.refused) {
            assert!(
                self.now - *at < JUDGED_AFTER || !self.has(tip, *refused),
                "block {refused} is followed, although the first node refused it {:?} ago",
                self.now - *at
            );
        }
    }

    /// The first node has a tip that was not heard of yet: without ZMQ it is the next poll that tells.
    fn is_unheard_first(&self) -> bool {
        let Some(view) = self.failover.nodes(self.now).next() else { return false };
        let sim = self.sims.iter().find(|sim| sim.id == view.id).expect("a known node");
        view.tip != Some(self.blocks[sim.tip].hash)
            && self.now - sim.tip_since <= POLL_EVERY + sim.rtt
    }

    /// The first node has answered for so long that its rules must be known.
    pub fn judge_has_decided(&self) -> bool {
        self.judge_since.is_some_and(|(_, since)| self.now - since >= JUDGED_AFTER)
    }

    fn look_at_judge(&mut self) {
        let first = self.sims.iter().find(|sim| self.order.first() == Some(&sim.id));
        let judge = first.filter(|sim| {
            let answers = sim.mode == Mode::Up && sim.template_error.is_none() && sim.tells;
            let right = sim.chain == "main" && !sim.initial_download;
            self.follow == Follow::First
                && answers
                && right
                && sim.rtt < MS * 300
                && sim.template_takes < SEC
        });
        self.judge_since = match (self.judge_since, judge.map(|sim| sim.id)) {
            (Some((known, since)), Some(id)) if known == id => Some((known, since)),
            (_, id) => id.map(|id| (id, self.now)),
        };
    }

    /// Height of the last block that two chains share.
    fn fork(&self, mut a: usize, mut b: usize) -> u64 {
        while a != b {
            let higher =
                if self.blocks[a].height > self.blocks[b].height { &mut a } else { &mut b };
            *higher = self.blocks[*higher].parent;
        }
        self.blocks[a].height
    }

    /// As Core tells them: a branch by its first block, for it takes no header above that.
    fn invalid_branches(&self, node: NodeId) -> Vec<InvalidBranch> {
        let sim = self.sims.iter().find(|sim| sim.id == node).expect("a known node");
        let mut branches: Vec<InvalidBranch> = sim
            .refused
            .iter()
            .map(|(refused, _)| {
                let Block { height, hash, .. } = self.blocks[*refused];
                InvalidBranch { height, tip: hash, length: height - self.fork(*refused, sim.tip) }
            })
            .collect();
        branches.sort_by_key(|branch| std::cmp::Reverse(branch.height));
        branches.truncate(soloist::node::MAX_BRANCHES);
        branches
    }

    fn template_news(&mut self, node: NodeId) -> Result<NodeEventKind, RpcError> {
        let sim = self.sim(node).clone();
        if sim.mode == Mode::Killed {
            return Err(refused());
        }
        if let Some(error) = sim.template_error {
            return Err(error);
        }
        let block = self.blocks[sim.tip];
        let mintime = block.time.saturating_sub(3600);
        let clock = self.unix().saturating_add_signed(sim.clock_ahead);
        let height = block.height as u32 + 1;
        let (curtime, mintime) = (clock.max(mintime) as u32, mintime as u32);
        Ok(template(height, block.hash, curtime, mintime, sim.template_takes))
    }

    fn permissions(&mut self, node: NodeId) -> Permissions {
        let sim = self.sim(node);
        let mut all = Permissions::all("anna");
        sim.forbidden.iter().for_each(|command| all.set(*command, Permission::Forbidden));
        all
    }

    /// The node is started anew with another whitelist, too fast to be missed; a rehearsal follows.
    pub fn forbid(&mut self, id: NodeId, forbidden: &[Command]) {
        self.sim(id).forbidden = forbidden.to_vec();
        self.hand_in(Input::CheckPermissions);
    }

    fn report(&mut self, node: NodeId) -> HealthReport {
        let sim = self.sim(node).clone();
        let block = self.blocks[sim.tip];
        let mut chainwork = [0; 32];
        chainwork[24..].copy_from_slice(&block.work.to_be_bytes());
        let (unix, at) = (self.unix().saturating_add_signed(sim.clock_ahead), self.now);
        HealthReport {
            chain: sim.chain,
            genesis: None,
            blocks: block.height,
            headers: block.height + sim.headers_ahead,
            best: block.hash,
            chainwork,
            initial_download: sim.initial_download,
            progress: 1.0,
            tip_time: block.time,
            connections: Some(sim.connections),
            local_relay: Some(true),
            clock: sim.date.map(|ahead| Reading { unix: unix.saturating_add_signed(ahead), at }),
            version: Some("/Satoshi:30.0.0/".into()),
            warnings: String::new(),
            facts: Default::default(),
        }
    }

    fn push(
        &mut self,
        node: NodeId,
        method: Method,
        takes: Duration,
        deadline: Duration,
        answer: Result<NodeEventKind, RpcError>,
        pushed: bool,
    ) {
        let dead = self.sim(node).mode == Mode::Killed && !pushed;
        let (takes, answer) =
            if dead && answer.is_ok() { (MS, Err(refused())) } else { (takes, answer) };
        let takes = if pushed { takes } else { takes + self.crowd(node) };
        let (takes, answer) = if takes > deadline {
            (deadline, Err(RpcError::Timeout(deadline)))
        } else {
            (takes, answer)
        };
        self.count += 1;
        self.pending.push(Pending {
            at: self.now + takes,
            order: self.count,
            node,
            method,
            sent: self.now,
            deadline,
            answer,
            pushed,
        });
    }

    /// How long a call waits because the only thread of the node waits.
    fn crowd(&mut self, node: NodeId) -> Duration {
        if self.sim(node).threads > 1 {
            return Duration::ZERO;
        }
        let waiting = self
            .pending
            .iter()
            .filter(|pending| pending.node == node && pending.method == Method::WaitForNewBlock);
        waiting
            .map(|pending| pending.at.saturating_duration_since(self.now))
            .max()
            .unwrap_or_default()
    }

    // -- what tests ask --

    /// The moments at which this was commanded, since the start.
    pub fn when(&self, matches: impl Fn(&Output) -> bool) -> Vec<Duration> {
        let hits = self.log.iter().filter(|(_, output)| matches(output));
        hits.map(|(at, _)| *at - self.start).collect()
    }

    pub fn events(&self, name: &str) -> Vec<Event> {
        let events = self.log.iter().filter_map(|(_, output)| match output {
            Output::Event(event) if event.name() == name => Some(event.clone()),
            _ => None,
        });
        events.collect()
    }

    pub fn lead_reasons(&self) -> Vec<(NodeId, LeadWhy)> {
        let leads = self.log.iter().filter_map(|(_, output)| match output {
            Output::Lead { node, why, .. } => Some((*node, why.clone())),
            _ => None,
        });
        leads.collect()
    }

    /// The tip of the work that was served last.
    pub fn worked_on(&self) -> BlockHash {
        self.blocks[self.served.expect("work").0].hash
    }

    pub fn served_by(&self, node: NodeId) -> usize {
        self.when(|output| matches!(output, Output::Serve { node: by, .. } if *by == node)).len()
    }
}

impl BreakerModel {
    /// What counts and what does not is written here a second time, from the words of the policy.
    fn hear(&mut self, now: Instant, news: &NodeEventKind) {
        let NodeEventKind::Failed { method, error, took } = news else {
            if !matches!(news, NodeEventKind::HungUp | NodeEventKind::WaitTried(Err(_))) {
                *self = BreakerModel::default();
            }
            return;
        };
        match (method, error) {
            // Mining does without it.
            (Method::GetNodeAddresses, _) => {}
            (_, RpcError::Rpc { code: -28 | -9 | -10, .. })
            | (
                Method::GetBlockTemplate | Method::WaitForNewBlock,
                RpcError::Rpc { .. } | RpcError::Forbidden { .. },
            ) => *self = BreakerModel::default(),
            (Method::SubmitBlock | Method::Proposal, _) => {}
            // Mining does without them: only a broken connection tells of the node.
            (
                Method::GetBlockHeader
                | Method::Permissions
                | Method::GetChainTips
                | Method::GetBlockHash,
                error,
            ) if ErrorKind::of(error) != ErrorKind::Transport => {}
            _ if self.open_since.is_none() => {
                self.failures += 1;
                if self.failures == 3 {
                    self.open_since = Some(now);
                    self.wait = SEC * 5;
                }
            }
            // Other calls, and this one if it was sent before the opening, are late.
            (Method::Health, _) if now - *took > self.open_since.expect("it is open") => {
                self.open_since = Some(now);
                self.wait = (self.wait * 2).min(SEC * 60);
            }
            _ => {}
        }
    }
}

pub fn setup(order: &[NodeId], chains: &[Chain], follow: Follow) -> Setup {
    let spec = |id: &NodeId| NodeSpec { id: *id, name: format!("n{}", id.0) };
    Setup { nodes: order.iter().map(spec).collect(), chains: chains.to_vec(), grace: GRACE, follow }
}
