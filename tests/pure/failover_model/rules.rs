//! Two rule sets in one house: node 0 refuses what others take, and both settings of `follow`.

use soloist::chain::Chain;
use soloist::failover::*;
use soloist::ids::NodeId;
use soloist::node::Ask;

use super::world::*;

/// Nodes 0, 1, … at one tip, of which node 0 leads and refuses what breaks the first set of rules.
fn house(count: u32, follow: Follow) -> World {
    let mut world = World::new(count);
    world.sim(id(0)).rules = 1;
    world.set_follow(follow);
    world.run(SEC * 20);
    assert_eq!(world.leader, Some(id(0)));
    world.log.clear();
    world
}

/// A block on the best chain that node 0 refuses, given to all.
fn split(world: &mut World) -> usize {
    let block = world.mine_breaking(world.best(), 1);
    give(world, block);
    block
}

/// A block on top of `parent`, given to all.
fn mine_on(world: &mut World, parent: usize) -> usize {
    let block = world.mine_on(parent);
    give(world, block);
    block
}

fn give(world: &mut World, block: usize) {
    for id in world.order.clone() {
        world.give(id, block);
    }
}

fn standing(world: &World, node: NodeId) -> Standing {
    let mut nodes = world.failover.nodes(world.now);
    nodes.find(|view| view.id == node).expect("a known node").standing.clone()
}

fn words(world: &World, node: NodeId) -> String {
    let mut nodes = world.failover.nodes(world.now);
    nodes.find(|view| view.id == node).expect("a known node").rules.unwrap_or_default()
}

fn asked(world: &World, node: NodeId) -> usize {
    world.when(|output| *output == Output::Ask { node, ask: Ask::ChainTips }).len()
}

fn tip(world: &World) -> usize {
    world.served.expect("something is served").0
}

#[test]
fn a_node_that_refuses_a_block_is_told_from_one_that_lags() {
    let mut world = house(2, Follow::Work);
    let block = split(&mut world);
    world.run(SEC * 10);
    assert_eq!(world.leader, Some(id(1)), "by most work");
    let Standing::Refuses(dispute) = standing(&world, id(0)) else {
        panic!("{:?}", standing(&world, id(0)))
    };
    assert_eq!((dispute.height, dispute.block), (101, world.blocks[block].hash));
    assert!(dispute.exact);
    let view = world.failover.nodes(world.now).next().expect("node 0");
    assert_eq!(view.hint, None, "neither internet nor disk are to blame");
    let said = words(&world, id(0));
    println!("{said}");
    for part in [
        "It has refused block 101 (…",
        "which node n1 follows",
        "not to blame",
        "follow = \"work\"",
        "built by the rules of n1: n1 takes it, and n0 does not",
        "write follow = \"first\" below [failover]",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let events = world.events("rules-split");
    assert_eq!(events.len(), 1);
    assert!(events[0].to_string().contains(&dispute.block.to_string()), "{}", events[0]);
    // Each goes on by itself: the other's chain is looked at, and the node is not asked again.
    let mut own = world.sim(id(0)).tip;
    let mut others = block;
    for _ in 0..10 {
        others = mine_on(&mut world, others);
        world.run(SEC * 40);
        own = world.mine_on(own);
        world.give(id(0), own);
        world.run(SEC * 40);
        assert!(matches!(standing(&world, id(0)), Standing::Refuses(_)));
    }
    // In thirteen minutes: once, and once more after ten.
    assert_eq!(asked(&world, id(0)), 2);
    assert_eq!(asked(&world, id(1)), 0);
    assert_eq!((tip(&world), world.leader), (others, Some(id(1))));
    assert_eq!(world.events("rules-split").len(), 1);
    assert!(world.events("node-caught-up").is_empty());
    // The owner updates node 0.
    world.forgive(id(0));
    world.give(id(0), others);
    world.run(SEC * 20);
    assert_eq!(world.leader, Some(id(0)));
    assert_eq!(standing(&world, id(0)), Standing::Healthy);
    assert_eq!(world.events("rules-agree").len(), 1);
    assert_eq!(words(&world, id(0)), "");
}

#[test]
fn a_node_that_lags_is_asked_once_a_minute_and_is_not_said_to_refuse() {
    let mut world = house(2, Follow::Work);
    world.sim(id(0)).stuck = true;
    world.mine();
    world.run(SEC * 130);
    assert_eq!(standing(&world, id(0)), Standing::Behind(1));
    assert!(world.failover.nodes(world.now).next().expect("node 0").hint.is_some());
    assert_eq!(asked(&world, id(0)), 3);
    assert!(
        world.when(|output| matches!(output, Output::Ask { ask: Ask::BlocksAt(_), .. })).is_empty()
    );
    assert!(world.events("rules-split").is_empty());
}

#[test]
fn nobody_is_asked_while_all_is_well() {
    let mut world = house(3, Follow::First);
    for _ in 0..20 {
        world.mine();
        world.run(SEC * 100);
    }
    assert_eq!((0..3).map(|node| asked(&world, id(node))).sum::<usize>(), 0);
}

#[test]
fn a_branch_that_another_does_not_follow_is_no_reason() {
    let mut world = house(2, Follow::Work);
    // It has refused a block once, which nobody holds any more.
    let fork = world.mine_breaking(world.best(), 1);
    world.give(id(0), fork);
    let parent = world.blocks.len() - 2;
    let next = mine_on(&mut world, parent);
    world.run(SEC * 20);
    world.sim(id(0)).stuck = true;
    mine_on(&mut world, next);
    world.run(SEC * 20);
    assert_eq!(standing(&world, id(0)), Standing::Behind(1));
    assert_eq!(
        world.when(|output| matches!(output, Output::Ask { ask: Ask::BlocksAt(_), .. })).len(),
        1
    );
}

#[test]
fn a_node_that_may_not_be_asked_lags_and_the_page_says_why() {
    for follow in [Follow::Work, Follow::First] {
        let mut world = house(2, follow);
        world.sim(id(0)).tells = false;
        split(&mut world);
        world.run(SEC * 20);
        assert_eq!(standing(&world, id(0)), Standing::Behind(1));
        let said = words(&world, id(0));
        assert!(said.contains("rpcwhitelist, add getchaintips"), "{said}");
        assert_eq!(world.leader, Some(id(1)), "{follow:?}: better than a dead tip");
    }
}

#[test]
fn with_first_the_first_nodes_rules_decide() {
    let mut world = house(2, Follow::First);
    let mut own = world.sim(id(0)).tip;
    let mut others = split(&mut world);
    for _ in 0..10 {
        world.run(SEC * 30);
        others = mine_on(&mut world, others);
    }
    own = mine_on(&mut world, own);
    world.run(SEC * 30);
    assert_eq!(world.leader, Some(id(0)));
    assert_eq!(tip(&world), own, "its chain has less work");
    assert_eq!(world.served_by(id(1)), 0);
    assert!(world.when(|output| matches!(output, Output::Lead { .. })).is_empty());
    assert_eq!(standing(&world, id(0)), Standing::Healthy);
    assert!(matches!(standing(&world, id(1)), Standing::Refused(_)));
    assert_eq!(asked(&world, id(0)), 1);
    assert!(!world.gated);
    let (first, second) = (words(&world, id(0)), words(&world, id(1)));
    println!("{first}\n{second}");
    assert!(
        first.contains("The rules of n0 decide while it answers (follow = \"first\")"),
        "{first}"
    );
    assert!(first.contains("built by the rules of n0: n0 takes it"), "{first}");
    assert!(second.contains("It follows block 101 (…"), "{second}");
    assert!(second.contains("which node n0 has refused"), "{second}");
    // Its chain overtakes the other, which takes it.
    let height = |world: &World, node: usize| world.blocks[world.sims[node].tip].height;
    while height(&world, 0) <= world.blocks[others].height {
        own = mine_on(&mut world, own);
        world.run(SEC * 30);
    }
    assert_eq!(standing(&world, id(1)), Standing::Healthy);
    assert_eq!(world.events("rules-agree").len(), 1);
}

/// The other node is a block ahead, and the first one comes as far on its own chain before it can be asked.
#[test]
fn with_first_a_refused_chain_that_ties_is_not_followed() {
    let mut world = house(2, Follow::First);
    let mut others = split(&mut world);
    world.run(SEC * 20);
    let mut own = world.sim(id(0)).tip;
    own = world.mine_on(own);
    world.give(id(0), own);
    own = world.mine_on(own);
    give(&mut world, own);
    world.run(SEC * 20);
    assert_eq!(world.sim(id(1)).tip, own, "the other has taken the longer chain");
    let theirs = world.mine_on(others);
    others = world.mine_on(theirs);
    give(&mut world, others);
    world.run(SEC * 2);
    assert_eq!(tip(&world), own);
    own = world.mine_on(own);
    give(&mut world, own);
    for _ in 0..20 {
        world.run(MS * 100);
        assert_ne!(tip(&world), others);
    }
    assert_eq!(world.served_by(id(1)), 0);
    assert_eq!((world.leader, tip(&world)), (Some(id(0)), own));
}

#[test]
fn while_the_first_node_is_down_its_rules_are_not_looked_at() {
    let mut world = house(2, Follow::First);
    let own = world.sim(id(0)).tip;
    let others = split(&mut world);
    world.run(SEC * 20);
    assert_eq!(tip(&world), own);
    world.kill(id(0));
    world.run(SEC * 20);
    assert_eq!((world.leader, tip(&world)), (Some(id(1)), others));
    let said = words(&world, id(1));
    assert_eq!(said, "The rules of n0 are not looked at while it is away (follow = \"first\").");
    let others = mine_on(&mut world, others);
    world.run(SEC * 20);
    assert_eq!(tip(&world), others);
    // It is back: its rules count again, and what was worked on meanwhile is left.
    world.revive(id(0));
    world.run(SEC * 30);
    assert_eq!((world.leader, tip(&world)), (Some(id(0)), own));
    assert!(!world.gated);
    let back = world.events("node-failover").pop().expect("it leads again").to_string();
    assert!(back.contains("follows a block that node n0 has refused"), "{back}");
}

#[test]
fn a_first_node_without_templates_decides_nothing() {
    let mut world = house(2, Follow::First);
    let others = split(&mut world);
    world.run(SEC * 20);
    world.sim(id(0)).template_error = Some(soloist::node::RpcError::Http(500));
    world.run(SEC * 90);
    assert_eq!((world.leader, tip(&world)), (Some(id(1)), others), "miners never idle");
    world.sim(id(0)).template_error = None;
    world.run(SEC * 60);
    assert_eq!(world.leader, Some(id(0)));
}

#[test]
fn with_first_a_node_that_merely_lags_is_stepped_in_for() {
    let mut world = house(2, Follow::First);
    world.sim(id(0)).stuck = true;
    let block = world.mine();
    let mined = world.now;
    while world.leader != Some(id(1)) {
        world.run(MS * 10);
        assert!(world.now - mined < SEC * 5);
    }
    println!("with first a node that lags is replaced after {:?}", world.now - mined);
    assert_eq!(tip(&world), block);
    // It is known to lag: the next block waits for nothing.
    world.run(SEC * 30);
    let block = world.mine();
    world.run(MS * 100);
    assert_eq!(tip(&world), block);
}

#[test]
fn with_first_a_tip_waits_for_the_first_nodes_word() {
    let mut world = house(2, Follow::First);
    world.log.clear();
    let before = tip(&world);
    let block = world.mine_on(world.best());
    world.give(id(1), block);
    world.run(SEC);
    assert_eq!(tip(&world), before);
    world.give(id(0), block);
    world.run(MS * 5);
    // The other's template is in hand already.
    assert_eq!((tip(&world), world.leader), (block, Some(id(0))));
    assert_eq!(world.served_by(id(1)), 1);
}

#[test]
fn with_first_a_house_that_is_split_already_starts_with_the_first() {
    for follow in [Follow::Work, Follow::First] {
        let mut world = World::new(3);
        world.sim(id(0)).rules = 1;
        world.set_follow(follow);
        let own = world.mine_on(0);
        let others = world.mine_breaking(0, 1);
        let others = world.mine_on(others);
        for node in [0, 1, 2] {
            world.give(id(node), if node == 0 { own } else { others });
            world.give(id(node), others);
        }
        world.run(SEC * 20);
        let expected = match follow {
            Follow::Work => (Some(id(1)), others),
            Follow::First => (Some(id(0)), own),
        };
        assert_eq!((world.leader, tip(&world)), expected, "{follow:?}");
        if follow == Follow::First {
            assert_eq!(world.when(|o| matches!(o, Output::Lead { .. })).len(), 1, "at once");
            assert!(matches!(standing(&world, id(2)), Standing::Refused(_)));
        }
    }
}

#[test]
fn an_invalidated_tip_is_left_only_where_the_first_node_decides() {
    for follow in [Follow::Work, Follow::First] {
        let mut world = house(2, follow);
        let block = world.mine();
        world.run(SEC * 10);
        world.log.clear();
        world.invalidate(id(0), block);
        world.run(SEC * 10);
        match follow {
            Follow::Work => {
                assert_eq!((world.leader, tip(&world)), (Some(id(1)), block));
                assert!(matches!(standing(&world, id(0)), Standing::Refuses(_)));
            }
            Follow::First => {
                assert_eq!((world.leader, tip(&world)), (Some(id(0)), 0));
                assert_eq!(world.served_by(id(1)), 0, "no step to the other in between");
            }
        }
    }
}

#[test]
fn a_reload_changes_who_is_followed() {
    let mut world = house(2, Follow::Work);
    let own = world.sim(id(0)).tip;
    let others = split(&mut world);
    world.run(SEC * 20);
    assert_eq!((world.leader, tip(&world)), (Some(id(1)), others));
    world.set_follow(Follow::First);
    world.run(SEC * 10);
    assert_eq!((world.leader, tip(&world)), (Some(id(0)), own));
    world.set_follow(Follow::Work);
    world.run(SEC * 10);
    assert_eq!((world.leader, tip(&world)), (Some(id(1)), others));
    // Another first node has rules of its own.
    world.set_follow(Follow::First);
    world.run(SEC * 10);
    assert_eq!(world.leader, Some(id(0)));
    world.reload(vec![id(1), id(0)], vec![Chain::Main]);
    world.run(SEC * 20);
    assert_eq!((world.leader, tip(&world)), (Some(id(1)), others));
    assert!(matches!(standing(&world, id(0)), Standing::Refuses(_)));
}

#[test]
fn when_headers_came_first_the_first_refused_block_is_told_as_far_as_it_is_known() {
    let mut world = house(2, Follow::Work);
    // Node 0 has a block of its own before it refuses: the branch began one earlier.
    let own = world.mine_on(0);
    world.give(id(0), own);
    let theirs = world.mine_on(0);
    world.give(id(1), theirs);
    world.run(SEC * 20);
    let refused = world.mine_breaking(theirs, 1);
    give(&mut world, refused);
    let top = mine_on(&mut world, refused);
    world.run(SEC * 20);
    let Standing::Refuses(dispute) = standing(&world, id(0)) else {
        panic!("{:?}", standing(&world, id(0)))
    };
    assert_eq!((dispute.height, dispute.block), (101, world.blocks[theirs].hash));
    assert!(!dispute.exact);
    assert!(words(&world, id(0)).contains("or one soon after it"));
    assert_eq!(tip(&world), top);
}

#[test]
fn a_refusal_stands_while_another_node_cannot_be_looked_at() {
    let mut world = house(3, Follow::First);
    let own = world.sim(id(0)).tip;
    let mut others = split(&mut world);
    world.run(SEC * 20);
    assert_eq!(tip(&world), own);
    // Node 2 moves on, and fails when its chain is looked at: that says nothing of node 1's.
    for _ in 0..5 {
        world.sim(id(2)).mode = Mode::Up;
        others = mine_on(&mut world, others);
        world.run(MS * 5);
        world.sim(id(2)).mode = Mode::Errors(soloist::node::RpcError::Http(500));
        for _ in 0..40 {
            others = world.mine_on(others);
            world.give(id(1), others);
            world.run(MS * 300);
        }
        assert_eq!((world.leader, tip(&world)), (Some(id(0)), own));
    }
    assert_eq!(world.served_by(id(1)) + world.served_by(id(2)), 0);
    // Neither does it when node 0 says no longer what it has refused.
    world.sim(id(2)).mode = Mode::Up;
    world.sim(id(0)).tells = false;
    for _ in 0..40 {
        world.run(SEC * 20);
        others = mine_on(&mut world, others);
    }
    assert!(asked(&world, id(0)) > 1);
    assert_eq!(world.served_by(id(1)) + world.served_by(id(2)), 0);
}

#[test]
fn a_first_node_that_lags_behind_one_node_refuses_what_it_refused_of_another() {
    let mut world = house(3, Follow::First);
    // Node 2 goes by the rules of node 0, which takes in no blocks any more.
    world.sim(id(2)).rules = 1;
    let mut own = world.sim(id(0)).tip;
    let others = split(&mut world);
    let mut others = mine_on(&mut world, others);
    world.run(SEC * 20);
    assert_eq!(tip(&world), own);
    world.sim(id(0)).stuck = true;
    own = mine_on(&mut world, own);
    world.run(SEC * 20);
    assert_eq!((world.leader, tip(&world)), (Some(id(2)), own));
    for _ in 0..10 {
        others = mine_on(&mut world, others);
        world.run(SEC * 20);
        assert_eq!((world.leader, tip(&world)), (Some(id(2)), own));
    }
    assert_eq!(world.served_by(id(1)), 0);
    // Asked about node 2's chain in between, it refuses nothing; that is no news the next time.
    let split_by_first =
        |event: &Event| matches!(event, Event::RulesSplit(split) if split.refuser == "n0");
    assert_eq!(world.events("rules-split").iter().filter(|event| split_by_first(event)).count(), 1);
}
