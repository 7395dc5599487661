//! The policy of the nodes in virtual time: scenarios, and random operations against a model.

mod clocks;
mod rules;
mod scenarios;
mod world;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use soloist::chain::Chain;
use soloist::clock::Reading;
use soloist::failover::{Follow, REPEAT_KNOWN, Standing};
use soloist::ids::NodeId;
use soloist::node::fault::Login;
use soloist::node::{
    Command, Method, NodeEvent, NodeEventKind, Permission, Permissions, RpcError, SubmitAnswer,
    TipHeader, TipSource,
};
use world::{MS, Mode, SEC, World, hash, refused, template, warming};

const OPERATIONS: u64 = 100_000;
/// A node that has been well for this long must be known to be well: the longest wait of the
/// breaker, its probe, and what follows.
const KNOWN_WELL: Duration = Duration::from_secs(90);
/// A leader must be gone when it has been unwell for so long and a well one is known: it does not
/// answer or lacks blocks; is on the wrong chain, in initial download, or without peers (the next
/// health report tells); gives no template, or one with a time far off (the next heartbeat tells);
/// takes in no blocks; would not take ours, and one on the same tip would (the question at the
/// rehearsal tells, at most once a minute). Nobody leads: the same as the first.
const GONE_AFTER: [Duration; 5] = [
    Duration::from_secs(8),
    Duration::from_secs(20),
    Duration::from_secs(45),
    Duration::from_secs(95),
    Duration::from_secs(75),
];

/// splitmix64: enough randomness for operations, and a seed is one number.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// The reference model: for how long each node has been well in truth, and what follows from it.
///
/// Well is: answers everything in time, is on the right chain, and has a tip with as much work as
/// any other node has had for two seconds, and would take our block.
#[derive(Default)]
struct Truth {
    well_since: Vec<(NodeId, Instant)>,
    leader: Option<NodeId>,
    leader_unwell_since: [Option<Instant>; GONE_AFTER.len()],
    preferred_since: Option<(NodeId, Instant)>,
    best: Vec<(u64, Instant)>,
    looks: u64,
    /// Nodes that were said to differ on the rules, at all looks.
    disputes: u64,
    unfounded: BTreeMap<NodeId, Instant>,
    /// Looks at which a node was known to be well, so that something could be checked.
    checked: u64,
}

impl Truth {
    fn look(&mut self, world: &World) {
        self.looks += 1;
        self.look_at_disputes(world);
        match world.follow {
            Follow::Work => self.look_by_work(world),
            Follow::First => self.look_by_first(world),
        }
    }

    /// Who is said to refuse a block has refused it, and who is said to follow it does or did.
    fn look_at_disputes(&mut self, world: &World) {
        for view in world.failover.nodes(world.now) {
            let (Standing::Refuses(dispute) | Standing::Refused(dispute)) = view.standing else {
                self.unfounded.remove(&view.id);
                continue;
            };
            self.disputes += 1;
            let refuser = world.sims.iter().find(|sim| format!("n{}", sim.id.0) == dispute.refuser);
            let Some(refuser) = refuser else { continue };
            let has_refused = refuser.refused.iter().any(|(block, _)| {
                let block = world.blocks[*block];
                block.height >= dispute.height && (!dispute.exact || block.hash == dispute.block)
            });
            // It may have been told to take it some minutes ago; while it cannot be asked, what was
            // known holds.
            if has_refused || !refuser.tells || refuser.mode != Mode::Up {
                self.unfounded.remove(&view.id);
                continue;
            }
            let since = *self.unfounded.entry(view.id).or_insert(world.now);
            assert!(
                world.now - since < REPEAT_KNOWN + SEC * 60,
                "{dispute:?} is made up: {:?}",
                refuser.refused
            );
        }
    }

    /// The first node leads while it is well, and on the best chain by its rules.
    fn look_by_first(&mut self, world: &World) {
        let Some(first) = world.order.first() else { return };
        let sim = world.sims.iter().find(|sim| sim.id == *first).expect("known");
        let permitted = |tip: usize| world.refusal(*first, tip).is_none();
        let tips = world.sims.iter().filter(|sim| world.order.contains(&sim.id)).map(|sim| sim.tip);
        // Of two blocks of equal work the one seen first is kept, whoever has it.
        let work = |tip: usize| world.blocks[tip].work;
        let at_the_tip = tips
            .filter(|tip| *tip != sim.tip && permitted(*tip))
            .all(|tip| work(tip) < work(sim.tip));
        // Whose rules decide, and who leads by them, are two questions: with another on the same
        // chain a node leads that has peers, a clock, and takes our block.
        let good = sim.connections > 0 && sim.clock_ahead == 0;
        let permits = !sim.forbidden.iter().any(|command| command.is_needed());
        let well = world.judge_has_decided()
            && at_the_tip
            && good
            && permits
            && !sim.stuck
            && sim.headers_ahead == 0;
        if !well {
            self.preferred_since = None;
            return;
        }
        let (_, since) = *match &mut self.preferred_since {
            Some(known) if known.0 == *first => known,
            other => other.insert((*first, world.now)),
        };
        // Without ZMQ it may lose the lead by two blocks that came within a second, of which the
        // next poll would have told. It gets it back as after other trouble.
        let since = world.lead_by_old_news.map_or(since, |lost| lost.max(since));
        if world.now - since >= KNOWN_WELL {
            self.checked += 1;
            assert_eq!(
                world.leader,
                Some(*first),
                "its rules do not decide after {:?}: {:?}",
                world.age(),
                world
                    .failover
                    .nodes(world.now)
                    .map(|view| (view.id, view.height, view.standing.clone()))
                    .collect::<Vec<_>>()
            );
        }
    }

    fn look_by_work(&mut self, world: &World) {
        let now = world.now;
        let tips = world.sims.iter().filter(|sim| world.order.contains(&sim.id));
        let most = tips.map(|sim| world.blocks[sim.tip].work).max().unwrap_or(0);
        if self.best.last().is_none_or(|(work, _)| *work < most) {
            self.best.push((most, now));
        }
        let (settled, _) =
            *self.best.iter().rev().find(|(_, at)| now - *at >= SEC * 2).unwrap_or(&(0, now));
        let is_well = |id: NodeId| {
            let sim = world.sims.iter().find(|sim| sim.id == id).expect("known");
            let answers = sim.mode == Mode::Up && sim.template_error.is_none();
            let quick = sim.rtt < MS * 300 && sim.template_takes < SEC;
            let right = sim.chain == "main" && !sim.initial_download && sim.headers_ahead == 0;
            let right = right && sim.connections > 0 && sim.clock_ahead == 0;
            let at_the_tip = world.blocks[sim.tip].work >= settled;
            let permits = !sim.forbidden.iter().any(|command| command.is_needed());
            answers && quick && right && at_the_tip && permits && !sim.stuck
        };
        let before = std::mem::take(&mut self.well_since);
        for id in world.order.iter().copied().filter(|id| is_well(*id)) {
            let since = before.iter().find(|(known, _)| *known == id).map_or(now, |(_, at)| *at);
            self.well_since.push((id, since));
        }
        let known_well = self.well_since.iter().find(|(_, since)| now - *since >= KNOWN_WELL);
        let Some((well, _)) = known_well else {
            self.leader_unwell_since = Default::default();
            self.preferred_since = None;
            return;
        };
        self.checked += 1;
        if self.leader != world.leader {
            self.leader = world.leader;
            self.leader_unwell_since = Default::default();
        }
        // In a split a leader that would not take our block is as good as a node on the other side.
        let on_its_side = |tip: usize| {
            let known = self.well_since.iter().filter(|(_, since)| now - *since >= KNOWN_WELL);
            let mut known = known.filter_map(|(id, _)| world.sims.iter().find(|s| s.id == *id));
            known.any(|sim| sim.tip == tip)
        };
        // Somebody must lead, and not somebody unwell for long.
        let unwell = match world.sims.iter().find(|sim| Some(sim.id) == world.leader) {
            None => [true, false, false, false, false],
            Some(sim) => [
                sim.mode != Mode::Up || world.blocks[sim.tip].work < settled,
                sim.chain != "main" || sim.initial_download || sim.connections == 0,
                sim.template_error.is_some()
                    || (sim.clock_ahead != 0 && clocks_tell(world, sim.id)),
                sim.headers_ahead > 0,
                sim.forbidden.iter().any(|command| command.is_needed()) && on_its_side(sim.tip),
            ],
        };
        for (kind, unwell) in unwell.into_iter().enumerate() {
            let since = &mut self.leader_unwell_since[kind];
            *since = unwell.then(|| since.unwrap_or(now));
            assert!(
                since.is_none_or(|since| now - since < GONE_AFTER[kind]),
                "{:?} leads, unwell by {kind}, although {well:?} has been well: {:?}",
                world.leader,
                world
                    .failover
                    .nodes(now)
                    .map(|view| {
                        let sim = world.sims.iter().find(|sim| sim.id == view.id).expect("known");
                        (view.id, view.standing, &sim.template_error, sim.clock_ahead, sim.date)
                    })
                    .collect::<Vec<_>>()
            );
        }
        let leader = world.leader.filter(|_| unwell == [false; 5]);
        // There is work.
        assert!(!world.gated || leader.is_none(), "no work although {leader:?} is well");
        // The most preferred of those known to be well, or one preferred even to it, leads (but in
        // a split one that is on the leader's side).
        let tip = |id| world.sims.iter().find(|sim| Some(sim.id) == id).map(|sim| sim.tip);
        let one_side = tip(Some(*well)) == tip(leader);
        let place = |id: NodeId| world.order.iter().position(|known| *known == id);
        if one_side && leader.is_some_and(|leader| place(leader) > place(*well)) {
            let (_, since) = *match &mut self.preferred_since {
                Some(known) if known.0 == *well => known,
                other => other.insert((*well, now)),
            };
            assert!(now - since < SEC * 40, "{leader:?} leads for too long instead of {well:?}");
        } else {
            self.preferred_since = None;
        }
    }
}

/// Beside this node and the box there is a third clock, by which it is seen which is wrong.
fn clocks_tell(world: &World, node: NodeId) -> bool {
    let others = world.sims.iter().filter(|sim| sim.id != node && world.order.contains(&sim.id));
    let mut others = others.filter(|sim| sim.mode == Mode::Up && sim.clock_ahead == 0);
    others.any(|sim| sim.date.is_some() && sim.chain == "main")
}

/// One operation; returns how much time is to pass besides.
fn operate(world: &mut World, random: &mut Random, next_id: &mut u32) -> Duration {
    let ids: Vec<NodeId> = world.order.clone();
    if ids.is_empty() {
        reload(world, random, next_id);
        return Duration::ZERO;
    }
    let id = *random.pick(&ids);
    match random.below(100) {
        0..20 => {
            let best = world.best();
            let block = world.mine_on(best);
            for id in &ids {
                world.give(*id, block);
                world.run(MS * random.below(400) as u32);
            }
        }
        20..24 => {
            let parent = world.best();
            let (a, b) = (world.mine_on(parent), world.mine_on(parent));
            for id in &ids {
                let block = if random.below(2) == 0 { a } else { b };
                world.give(*id, block);
                world.run(MS * random.below(100) as u32);
            }
        }
        24..30 => {
            world.kill(id);
            // What comes back is another process, perhaps with other settings.
            world.sim(id).threads = *random.pick(&[1, 2, 4, 16]);
            world.sim(id).knows_wait = random.below(4) > 0;
        }
        30..34 => world.sim(id).mode = Mode::Hung,
        34..38 => {
            let errors = [
                warming(),
                refused(),
                RpcError::Unauthorized(Login::Password),
                RpcError::Http(500),
                RpcError::QueueFull,
                RpcError::Forbidden { method: "getblocktemplate" },
                RpcError::Rpc { code: -1, message: "no".into() },
                RpcError::Rpc { code: -10, message: "initial download".into() },
                RpcError::Malformed("<html>".into()),
            ];
            world.sim(id).mode = Mode::Errors(random.pick(&errors).clone());
        }
        38..40 => {
            let needed = [Command::SubmitBlock, Command::GetBlockHash];
            let useful = [Command::PreciousBlock, Command::GetNetworkInfo];
            let all = [&needed[..1], &needed[1..], &useful[..1], &useful[..]];
            let forbidden = *random.pick(&all);
            world.forbid(id, forbidden);
        }
        40..41 => world.sim(id).template_error = Some(RpcError::Http(500)),
        41..44 => world.sim(id).stuck = true,
        44..46 => world.sim(id).chain = "testnet4".into(),
        46 => world.sim(id).initial_download = true,
        47 => {
            world.sim(id).connections = 0;
            let error = RpcError::Rpc { code: -9, message: "not connected".into() };
            world.sim(id).template_error = Some(error);
        }
        48..50 => world.sim(id).headers_ahead = 1,
        50 => world.sim(id).zmq = !world.sim(id).zmq,
        51 => {
            let on = !world.sim(id).p2p;
            world.set_p2p(id, on);
        }
        // One at a time: when most clocks are wrong, nobody can tell.
        52..54 if world.sims.iter().all(|sim| sim.clock_ahead == 0) => {
            world.sim(id).clock_ahead = *random.pick(&[3 * 3600, -3 * 3600]);
            // A clock that is behind is not seen in templates.
            let tells = random.below(2) == 0 || world.sim(id).clock_ahead < 0;
            world.sim(id).date = tells.then_some(0);
        }
        52..56 => world.sim(id).rtt = MS * (1 + random.below(40) * random.below(40)) as u32,
        56..59 => world.sim(id).template_takes = MS * (1 + random.below(3000)) as u32,
        59..84 => heal(world, id),
        84..88 => {
            for id in ids {
                heal(world, id);
            }
            return SEC * random.below(150) as u32;
        }
        88..90 => reload(world, random, next_id),
        90..93 => late_news(world, random),
        93..96 => return SEC * random.below(30) as u32,
        96..97 => return SEC * random.below(240) as u32,
        97..99 => split(world, random, &ids),
        _ => world.hand_in(soloist::failover::Input::Tick),
    }
    Duration::ZERO
}

/// Nodes come to differ on the rules, or blocks by which they differ are mined.
fn split(world: &mut World, random: &mut Random, ids: &[NodeId]) {
    let rules = random.below(world::RULES as u64 + 1) as usize;
    let id = *random.pick(ids);
    let tip = world.sim(id).tip;
    match random.below(5) {
        0 => {
            world.set_rules(id, rules);
            world.sim(id).tells = random.below(8) > 0;
        }
        // All go by the same rules again: who refused a block takes it.
        1 => {
            ids.iter().for_each(|id| world.forgive(*id));
        }
        2 => {
            let block = world.mine_breaking(tip, rules);
            ids.iter().for_each(|id| world.give(*id, block));
        }
        3 => {
            let parent = world.best_by(rules);
            let block = world.mine_on(parent);
            ids.iter().for_each(|id| world.give(*id, block));
        }
        _ => {
            let block = world.mine_on(tip);
            ids.iter().for_each(|id| world.give(*id, block));
        }
    }
}

/// Everything well again; it has the best block if it takes any.
fn heal(world: &mut World, id: NodeId) {
    let rules = world.sim(id).rules;
    let (best, own) = (world.best(), world.best_by(rules));
    let sim = world.sim(id);
    sim.template_error = None;
    sim.stuck = false;
    sim.chain = "main".into();
    sim.initial_download = false;
    sim.headers_ahead = 0;
    sim.forbidden.clear();
    sim.connections = 8;
    sim.clock_ahead = 0;
    sim.rtt = MS * 2;
    sim.template_takes = MS * 30;
    world.revive(id);
    world.give(id, best);
    world.give(id, own);
}

fn reload(world: &mut World, random: &mut Random, next_id: &mut u32) {
    let mut order: Vec<NodeId> = world.order.clone();
    if !order.is_empty() && random.below(2) == 0 {
        let place = random.below(order.len() as u64) as usize;
        let id = order.remove(place);
        world.remove_sim(id);
    }
    if order.len() < 4 && random.below(3) > 0 {
        *next_id += 1;
        world.add_sim(NodeId(*next_id));
        order.push(NodeId(*next_id));
    }
    for place in (1..order.len()).rev() {
        order.swap(place, random.below(place as u64 + 1) as usize);
    }
    world.reload(order, vec![Chain::Main]);
}

/// News that no honest shell would send now: unknown nodes, answers to questions nobody asked.
fn late_news(world: &mut World, random: &mut Random) {
    let node = NodeId(random.below(2) as u32 * 1_000_000);
    let news = match random.below(3) {
        0 => NodeEventKind::Failed { method: Method::Proposal, error: refused(), took: MS },
        1 => NodeEventKind::Tip {
            hash: hash(random.below(50)),
            height: (random.below(2) == 0).then(|| random.below(50)),
            source: TipSource::Zmq,
            took: MS,
        },
        _ => NodeEventKind::Submitted {
            block: hash(1),
            answer: Ok(SubmitAnswer::Accepted),
            took: MS,
        },
    };
    if node == NodeId(1_000_000) {
        world.say(node, news);
    }
}

fn random_operations(seed: u64, operations: u64, follow: Follow) -> (World, Truth) {
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut world = World::new(3);
    world.keep_log = false;
    world.set_follow(follow);
    let mut next_id = 100;
    let mut truth = Truth::default();
    for _ in 0..operations {
        let more = operate(&mut world, &mut random, &mut next_id);
        // Time passes in steps, so that the truth is looked at often.
        let mut span = more + MS * (random.below(40) * random.below(40)) as u32;
        while span > Duration::ZERO {
            let step = span.min(MS * 500);
            world.run(step);
            truth.look(&world);
            span -= step;
        }
    }
    (world, truth)
}

fn seed(usual: u64) -> u64 {
    let seed = std::env::var("FAILOVER_SEED").ok().and_then(|seed| seed.parse().ok());
    seed.unwrap_or(usual)
}

#[test]
fn a_hundred_thousand_random_operations_keep_the_promises() {
    let (world, truth) = random_operations(seed(20_260_321), OPERATIONS, Follow::Work);
    print(&world, &truth);
    // The walk was worth something: every event occurred, except an hour on a backup.
    assert_eq!(world.names.len(), 19, "{:?}", world.names);
    assert!(truth.checked > truth.looks / 4);
    assert!(truth.disputes > 100);
}

#[test]
fn a_hundred_thousand_random_operations_keep_to_the_first_nodes_rules() {
    let (world, truth) = random_operations(seed(20_260_322), OPERATIONS, Follow::First);
    print(&world, &truth);
    assert!(truth.checked > truth.looks / 100);
    assert!(truth.disputes > 100);
}

fn print(world: &World, truth: &Truth) {
    println!(
        "{} virtual hours, {} commands, {} ticks, {} leads, events {:?}",
        world.age().as_secs() / 3600,
        world.commands,
        world.ticks,
        world.leads.values().sum::<u64>(),
        world.names
    );
    println!("{} calls waited at a leader that did not announce its tips", world.waits);
    assert!(world.waits > 1000);
    let set = |by: i64| world.clocks_set.iter().filter(|(_, set)| *set == by).count();
    println!("{} clocks seen to be set", world.clocks_set.len());
    assert!(set(3 * 3600) > 100 && set(-3 * 3600) > 100, "the walk has no wrong clocks");
    assert!(world.leads.contains_key("its clock is  h fast"), "and none that cost the lead");
    for (why, count) in &world.leads {
        println!("{count:6} × {why}");
    }
    println!("{} times a node was said to differ on the rules", truth.disputes);
    println!("{} of {} looks had a node known to be well", truth.checked, truth.looks);
    let seconds = world.age().as_secs();
    assert!(world.ticks < seconds * 40, "{} ticks in {seconds} s", world.ticks);
}

/// What a broken or hostile node may say at any time, asked or not.
fn junk(random: &mut Random, mono: Instant) -> NodeEventKind {
    let extremes = [0, 1, 99, 100, 101, 102, u64::MAX - 1, u64::MAX];
    let methods = [
        Method::GetBlockTemplate,
        Method::WaitForNewBlock,
        Method::Proposal,
        Method::SubmitBlock,
        Method::GetBestBlockHash,
        Method::Health,
        Method::GetBlockHeader,
        Method::PreciousBlock,
        Method::Permissions,
        Method::GetChainTips,
        Method::GetBlockHash,
        Method::GetNodeAddresses,
    ];
    let errors = [
        refused(),
        warming(),
        RpcError::Timeout(Duration::MAX),
        RpcError::ForbiddenAddress { ours: None },
        RpcError::Rpc { code: i64::MIN, message: String::new() },
        RpcError::Rpc { code: -9, message: "no peers".into() },
        RpcError::TooLarge(usize::MAX),
    ];
    let sources =
        [TipSource::Zmq, TipSource::P2p, TipSource::Wait, TipSource::Poll, TipSource::Template];
    let tip = hash(random.below(12));
    let took = *random.pick(&[Duration::ZERO, MS, Duration::MAX]);
    let method = *random.pick(&methods);
    match random.below(14) {
        11 => NodeEventKind::ChainTips {
            refused: (0..random.below(6))
                .map(|_| soloist::node::InvalidBranch {
                    height: *random.pick(&[1, 100, 101, u64::MAX]),
                    tip: hash(random.below(13)),
                    length: 1,
                })
                .collect(),
            took,
        },
        12 => NodeEventKind::BlocksAt {
            blocks: (0..random.below(20))
                .map(|_| (*random.pick(&extremes), hash(random.below(13))))
                .collect(),
            took,
        },
        13 => NodeEventKind::Addresses { list: Vec::new(), took },
        0..3 => {
            let mut any = || *random.pick(&extremes) as u32;
            let (height, curtime, mintime) = (any(), any(), any());
            template(height, tip, curtime, mintime, took)
        }
        3..5 => {
            let height = (random.below(2) == 0).then(|| *random.pick(&extremes));
            NodeEventKind::Tip { hash: tip, height, source: *random.pick(&sources), took }
        }
        5..8 => NodeEventKind::Health {
            report: Box::new(soloist::node::HealthReport {
                chain: (*random.pick(&["main", "main", "main", "regtest", ""])).into(),
                genesis: (random.below(9) == 0).then_some(tip),
                blocks: *random.pick(&extremes),
                headers: *random.pick(&extremes),
                best: tip,
                chainwork: [*random.pick(&[0, 1, 255]); 32],
                initial_download: random.below(9) == 0,
                progress: *random.pick(&[f64::NAN, f64::NEG_INFINITY, 0.5]),
                tip_time: *random.pick(&extremes),
                connections: (random.below(3) > 0).then(|| *random.pick(&extremes)),
                local_relay: None,
                clock: Some(Reading { unix: *random.pick(&extremes), at: mono }),
                version: None,
                warnings: String::new(),
                facts: Default::default(),
            }),
            took,
        },
        8 => match random.below(5) {
            0 => NodeEventKind::HungUp,
            1 => NodeEventKind::WaitTried(Ok(random.below(2) == 0)),
            2 => NodeEventKind::WaitTried(Err(random.pick(&errors).clone())),
            3 => NodeEventKind::Header {
                hash: tip,
                header: TipHeader { height: *random.pick(&extremes), median_time: u32::MAX },
            },
            _ => NodeEventKind::Failed { method, error: random.pick(&errors).clone(), took },
        },
        9 => {
            let all = [
                Permission::Allowed,
                Permission::Forbidden,
                Permission::Missing,
                Permission::Unknown,
            ];
            let mut permissions = Permissions::unknown("");
            Command::ALL.into_iter().for_each(|c| permissions.set(c, *random.pick(&all)));
            NodeEventKind::Permissions { permissions, took }
        }
        _ => match random.below(4) {
            0 => NodeEventKind::Proposed { block: tip, verdict: Ok(None) },
            1 => NodeEventKind::Proposed { block: tip, verdict: Err(random.pick(&errors).clone()) },
            2 => NodeEventKind::Position {
                block: tip,
                answer: Err(random.pick(&errors).clone()),
                took,
            },
            _ => NodeEventKind::Submitted { block: tip, answer: Ok(SubmitAnswer::Accepted), took },
        },
    }
}

#[test]
fn junk_costs_nothing_but_trust() {
    use soloist::clock::Now;
    use soloist::failover::{Failover, Input};
    let mut random = Random(7);
    let mut mono = Instant::now();
    let order: Vec<NodeId> = (0..3).map(NodeId).collect();
    let setup = world::setup(&order, &[Chain::Main], Follow::First);
    let mut failover = Failover::new(Now { mono, unix: 0 }, setup.clone());
    let (mut commands, mut serves) = (0, 0);
    for _ in 0..30_000 {
        mono += MS * (random.below(30) * random.below(30)) as u32;
        let node = NodeId(random.below(4) as u32);
        let input = match random.below(12) {
            0 => Input::Tick,
            1 if random.below(100) == 0 => Input::Reload(setup.clone()),
            _ => Input::Node(NodeEvent { node, kind: junk(&mut random, mono) }),
        };
        if random.below(50) == 0 {
            failover.solved(hash(random.below(12)), random.below(5));
        }
        let mut out = Vec::new();
        failover.handle(Now { mono, unix: 0 }, input, &mut out);
        commands += out.len();
        serves += out
            .iter()
            .filter(|output| matches!(output, soloist::failover::Output::Serve { .. }))
            .count();
        assert!(failover.next_deadline().is_some_and(|deadline| deadline > mono));
        // The page can be drawn at any time.
        assert!(!failover.states().is_empty());
        assert_eq!(failover.nodes(mono).count(), 3);
        assert!(failover.nodes(mono).filter(|view| view.leads).count() <= 1);
    }
    println!("{commands} commands, {serves} served");
    assert!(serves > 0, "the walk went nowhere");
    assert!(commands < 30_000 * 5, "{commands} commands");
}
