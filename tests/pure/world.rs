//! The whole in virtual time: several nodes that die, hang, lag and lose messages, nodes of strangers,
//! a dozen miners that speak Stratum and hash for real, and the daemon's pure cores between them, put
//! together as the daemon does. A day passes in seconds, and the same seed gives the same day.
//!
//! `WORLD_SEED=n` chooses the day of the long world and the first of the short ones.

mod audit;
mod chain;
mod daemon;
mod figures;
mod miner;
mod node;
mod peer;
mod random;
mod rules;
mod sim;
mod strangers;
mod strangers_audit;

use std::collections::BTreeSet;

use figures::quantile;
use sim::{Fault, Plan, SECOND, World};
use soloist::failover::Follow;
use soloist::peer_address::Outside;

/// Virtual time since the start.
pub type Micros = u64;

const MINUTE: Micros = 60 * SECOND;
const HOUR: Micros = 60 * MINUTE;

/// Regtest: every second hash is a block, so that every share is.
const EASY: u32 = 0x207f_ffff;
/// 1024 times easier than difficulty 1: one in ten shares at the lowest difficulty is a block.
const HARDER: u32 = 0x1e03_fffc;

const FAULTS: &[Fault] = &[
    Fault::Kill,
    Fault::Kill,
    Fault::Hang,
    Fault::Hang,
    Fault::Cut,
    Fault::Lag,
    Fault::TemplateError,
    Fault::Forbid,
    Fault::SlowTemplates,
    Fault::ZmqOff,
    Fault::RpcHung,
    Fault::RpcForbidden,
    Fault::RpcBusy,
    Fault::RpcBroken,
    Fault::RpcRefused,
    Fault::PortClosed,
    Fault::ClockAhead,
    Fault::ClockBehind,
    Fault::ClockNear,
];

/// The first of the faults leave the clocks alone.
const RIGHT_CLOCKS: usize = 16;

const DAY: Plan = Plan {
    nodes: 3,
    miners: 12,
    fault_every: Some(2 * MINUTE),
    faults: FAULTS,
    share_every: 40 * MINUTE,
    bits: EASY,
    hard: false,
    races: false,
    split_every: Some(2 * HOUR),
    follow: None,
    ports: false,
    outside: None,
};

fn seed() -> u64 {
    let default = 20_261_121;
    std::env::var("WORLD_SEED").ok().map_or(default, |seed| seed.parse().expect("a number"))
}

/// Runs a world, lets it come to rest without faults, and asks for the fate of every block.
fn run(seed: u64, plan: Plan, span: Micros) -> World {
    println!("WORLD_SEED={seed}: {} nodes, {} miners", plan.nodes, plan.miners);
    rest(World::new(seed, plan), span)
}

/// Goes on with a world to its end.
fn rest(mut world: World, span: Micros) -> World {
    world.run(span);
    world.calm = true;
    world.run(15 * MINUTE);
    // After a split healed, the daemon's next look at each block is still to come.
    while world.reorganised_at().is_some_and(|at| world.now < at + 2 * MINUTE) {
        world.run(MINUTE);
    }
    audit::last_judgement(&mut world);
    world
}

#[test]
fn a_day_with_a_fault_every_two_minutes() {
    let world = run(seed(), DAY, 24 * HOUR);
    world.figures.print();
    let figures = &world.figures;
    assert!(figures.counted > 100 && figures.stale > 0 && figures.duplicates > 0);
    assert!(figures.in_chain > 50 && figures.orphaned > 0);
    assert!(figures.failovers > 50 && figures.gates > 0 && figures.restarts > 0);
    assert!(figures.empty_works > 0);
    assert!(figures.splits > 2 && figures.healed > 2 && figures.chain_tips > 0);
    let times = &figures.tip_to_work;
    assert!(quantile(times, 0.5) < 0.5 && quantile(times, 0.99) < 1.5, "new tips take too long");
}

#[test]
fn short_worlds_of_all_sizes() {
    let mut follows = Vec::new();
    for n in 0..10 {
        let plan = Plan {
            nodes: 1 + n as usize % 4,
            miners: 1 + 3 * (n as usize % 5),
            fault_every: (n != 0).then_some((30 + 20 * n) * SECOND),
            share_every: 10 * MINUTE,
            split_every: Some(15 * MINUTE),
            ..DAY
        };
        let world = run(seed() + 1 + n, plan, HOUR);
        assert!(world.figures.counted > 0, "nothing happened");
        follows.push(world.follow);
    }
    assert!(follows.contains(&Follow::Work) && follows.contains(&Follow::First));
}

#[test]
fn shares_that_are_no_blocks() {
    let plan = Plan {
        nodes: 2,
        miners: 3,
        fault_every: Some(3 * MINUTE),
        faults: FAULTS,
        share_every: 3 * MINUTE,
        bits: HARDER,
        hard: true,
        split_every: None,
        ..DAY
    };
    let world = run(seed(), plan, 20 * MINUTE);
    world.figures.print();
    assert!(world.figures.counted > world.figures.in_chain + world.figures.orphaned);
}

/// Every second block of ours has a rival of its height, and every third answer to a submission is
/// lost, so that the node says `duplicate` of a block that it may hold beside its tip. What is called
/// accepted was in a node's best chain: the world looks at each change of a state.
#[test]
fn races_for_the_same_height() {
    for n in 0..3 {
        let plan = Plan {
            nodes: 1 + n as usize,
            miners: 6,
            fault_every: (n == 2).then_some(2 * MINUTE),
            // All clocks are right: a sane node whose answer got lost counts as one that failed, and
            // cannot take the lead from a wrong clock.
            faults: &FAULTS[..RIGHT_CLOCKS],
            share_every: 6 * MINUTE,
            races: true,
            split_every: None,
            ..DAY
        };
        let world = run(seed() + n, plan, 2 * HOUR);
        world.figures.print();
        assert!(world.figures.ties > 10 && world.figures.orphaned > 5, "too few races");
    }
}

/// A clock is set hours ahead, hours back or a little off, again and again, while nodes die. Work by a
/// clock that is hours off ends when it is noticed, a block that was too new is not lost, and a node
/// that was behind takes what it refused.
#[test]
fn clocks_that_are_hours_off() {
    const CLOCKS: &[Fault] = &[
        Fault::ClockAhead,
        Fault::ClockAhead,
        Fault::ClockBehind,
        Fault::ClockBehind,
        Fault::ClockNear,
        Fault::Kill,
        Fault::Lag,
    ];
    let (mut too_new, mut taken_later) = (0, 0);
    let mut faults = BTreeSet::new();
    for n in 0..3 {
        let plan = Plan {
            nodes: 1 + n as usize,
            miners: 6,
            fault_every: Some(2 * MINUTE),
            faults: CLOCKS,
            share_every: 6 * MINUTE,
            split_every: None,
            ..DAY
        };
        let world = run(seed() + n, plan, 2 * HOUR);
        world.figures.print();
        let figures = &world.figures;
        faults.extend(figures.faults.keys().cloned());
        assert!(figures.misled > 0 && figures.others_too_new > 0, "no clock was ever wrong");
        assert!(figures.in_chain > 20, "too few blocks");
        assert!(n == 0 || figures.clock_failovers > 0, "no lead was taken from a wrong clock");
        (too_new, taken_later) = (too_new + figures.too_new, taken_later + figures.taken_later);
    }
    for fault in ["ClockAhead", "ClockBehind", "ClockNear"] {
        assert!(faults.contains(fault), "no {fault}");
    }
    assert!(too_new > 0 && taken_later > 0, "no block was too new");
}

/// Some nodes refuse blocks by strict rules, others follow most work, and the rest of the world mines by
/// both: chains split and come together again while nodes die and lag. The owner follows the one or the
/// other.
#[test]
fn two_sets_of_rules() {
    let (mut refused, mut obeyed) = (0, 0);
    for n in 0..4 {
        let follow = [Follow::Work, Follow::First][n as usize % 2];
        let plan = Plan {
            nodes: 2 + n as usize / 2,
            miners: 4,
            fault_every: (n > 1).then_some(4 * MINUTE),
            // All clocks are right.
            faults: &FAULTS[..RIGHT_CLOCKS],
            share_every: 8 * MINUTE,
            split_every: Some(12 * MINUTE),
            follow: Some(follow),
            ..DAY
        };
        let world = run(seed() + n, plan, 2 * HOUR);
        world.figures.print();
        let figures = &world.figures;
        assert!(figures.splits > 0 && figures.healed > 0, "no split began and healed");
        assert!(figures.chain_tips > 0, "nobody was asked what it refuses");
        refused += figures.refused_by_rules;
        obeyed += figures.obeyed;
        if follow == Follow::First {
            assert!(figures.blocks_at > 0 && figures.disputes > 0, "no refusal was found out");
        }
    }
    assert!(refused > 0, "no block of ours was refused by rule");
    assert!(obeyed > 0, "the first node never held the miners to the shorter chain");
}

/// RPC alone is away, or the P2P port alone, of a lone node and in sets: blocks reach a node by the other
/// road, and the miners follow its tips as long as empty jobs can be made.
#[test]
fn one_of_two_roads() {
    const ROADS: &[Fault] = &[
        Fault::RpcHung,
        Fault::RpcForbidden,
        Fault::RpcBusy,
        Fault::RpcBroken,
        Fault::RpcRefused,
        Fault::PortClosed,
        Fault::Kill,
        Fault::Hang,
    ];
    let mut faults = BTreeSet::new();
    for n in 0..2 {
        let plan = Plan {
            nodes: 1 + 2 * n as usize,
            miners: 6,
            fault_every: Some(if n == 0 { 3 * MINUTE } else { 30 * SECOND }),
            faults: ROADS,
            share_every: 6 * MINUTE,
            split_every: None,
            ports: true,
            ..DAY
        };
        let world = run(seed() + n, plan, 2 * HOUR);
        world.figures.print();
        let figures = &world.figures;
        faults.extend(figures.faults.keys().cloned());
        assert!(figures.by_p2p > 5 && figures.works_by_p2p > 30, "too little by P2P");
        let alone = figures.by_p2p_alone > 3 && figures.works_without_rpc > 3;
        assert!(alone && figures.without_rpc > 300, "too little without RPC");
    }
    for fault in ROADS {
        assert!(faults.contains(&format!("{fault:?}")), "no {fault:?}");
    }
}

/// The own nodes are away again and again, all roads to them at once, while strangers live, sleep or lie:
/// blocks come to the network by those who are well, and nobody else is believed in anything.
#[test]
fn own_nodes_away_and_strangers_of_all_sorts() {
    const AWAY: &[Fault] = &[Fault::Kill, Fault::Hang, Fault::Cut, Fault::Lag];
    let (mut by_strangers, mut lies, mut alarms) = (0, 0, 0);
    let (mut settings, mut chains) = (BTreeSet::new(), BTreeSet::new());
    for n in 0..8 {
        let plan = Plan {
            nodes: 1,
            miners: 6,
            fault_every: Some(3 * MINUTE),
            faults: AWAY,
            share_every: 4 * MINUTE,
            split_every: (n % 4 == 3).then_some(12 * MINUTE),
            ..DAY
        };
        let mut world = World::new(seed() + n, plan);
        world.run(30 * MINUTE);
        // The addresses that are on the card are known again.
        world.restart();
        let world = rest(world, 15 * MINUTE);
        world.figures.print();
        let figures = &world.figures;
        by_strangers += figures.by_strangers;
        (lies, alarms) = (lies + figures.lies, alarms + figures.alarms);
        settings.insert(format!("{:?}", world.strangers.settings.outside));
        chains.insert(format!("{:?}", world.strangers.chain));
    }
    assert!(by_strangers > 5 && lies > 50 && alarms > 3, "{by_strangers}, {lies}, {alarms}");
    assert_eq!((settings.len(), chains.len()), (3, 2), "{settings:?} {chains:?}");
}

/// The only node dies, strangers live. The block comes to the network by them, also after a restart of
/// the daemon, and is accepted when the node is back.
#[test]
fn a_dead_node_and_strangers_that_live() {
    for outside in [Outside::Block, Outside::Watch] {
        let plan = Plan {
            nodes: 1,
            miners: 6,
            fault_every: None,
            share_every: 3 * MINUTE,
            split_every: None,
            ports: true,
            outside: Some((outside, 12)),
            ..DAY
        };
        let mut world = World::new(seed(), plan);
        world.run(10 * MINUTE);
        assert_eq!(world.figures.by_strangers, 0, "the own node was there");
        world.inflict(0, Fault::Kill, 20 * MINUTE);
        world.run(80 * SECOND);
        let (taken, open) = (world.figures.by_strangers, world.strangers.open.len());
        assert!(taken > 0 && open > 0, "{taken}, {open}");
        let before = world.figures.outside_connections;
        world.restart();
        assert!(world.strangers.open.len() < 2 && world.strangers.known.len() > 6);
        world.run(10 * SECOND);
        assert!(world.figures.outside_connections > before + 5, "nobody was called");
        let accepted = |world: &World| world.figures.block_states.get("Accepted").copied();
        let before = accepted(&world);
        let world = rest(world, 25 * MINUTE);
        world.figures.print();
        assert!(accepted(&world) > before && world.figures.in_chain > 0);
    }
}

/// A node stands still for an hour while the world goes on. The owner is told once, by what strangers
/// show or by the headers that the node itself has, and once when it is over. The work stays the node's.
#[test]
fn a_node_that_stands_still_for_an_hour() {
    let ways = [
        (Outside::Watch, Fault::Alone, 1),
        (Outside::Block, Fault::Lag, 0),
        (Outside::Off, Fault::Lag, 0),
        (Outside::Block, Fault::Alone, 0),
    ];
    for (outside, fault, by_strangers) in ways {
        let plan = Plan {
            nodes: 1,
            miners: 1,
            fault_every: None,
            share_every: 100 * HOUR,
            split_every: None,
            ports: true,
            outside: Some((outside, 6)),
            ..DAY
        };
        let mut world = World::new(seed(), plan);
        world.run(10 * MINUTE);
        world.inflict(0, fault, HOUR);
        world.run(10 * SECOND);
        let height = world.work_height;
        world.run(HOUR - 20 * SECOND);
        let is_seen = outside == Outside::Watch || fault == Fault::Lag;
        let told = world.figures.alarms;
        assert_eq!((told, world.figures.alarms_by_strangers), (u64::from(is_seen), by_strangers));
        assert_eq!(world.daemon.engine.outside().behind().is_some(), is_seen);
        assert_eq!((world.work_height, world.figures.failovers), (height, 0));
        world.run(5 * MINUTE);
        // A node that has its blocks again shows no more headers than blocks in this world.
        let caught_up = world.figures.caught_up;
        assert_eq!((world.figures.alarms, caught_up > 0), (told, by_strangers > 0));
        assert_eq!(world.daemon.engine.outside().behind(), None);
        assert!(world.work_height > height + 20);
    }
}

/// RPC alone is away: the node's P2P port shows that it goes on with the world.
#[test]
fn a_node_whose_rpc_is_away_is_not_behind() {
    let plan = Plan {
        nodes: 1,
        miners: 1,
        fault_every: None,
        share_every: 100 * HOUR,
        split_every: None,
        ports: true,
        outside: Some((Outside::Watch, 6)),
        ..DAY
    };
    let mut world = World::new(seed(), plan);
    world.run(10 * MINUTE);
    world.inflict(0, Fault::RpcHung, 30 * MINUTE);
    let height = world.work_height;
    world.run(29 * MINUTE);
    assert_eq!(world.figures.alarms, 0);
    assert!(world.work_height > height + 10, "no work by P2P");
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let digest = |seed| {
        let mut world = World::new(seed, DAY);
        world.run(HOUR);
        (world.digest(), world.figures.events)
    };
    assert_eq!(digest(seed()), digest(seed()));
    assert_ne!(digest(seed()), digest(seed() + 1));
}
