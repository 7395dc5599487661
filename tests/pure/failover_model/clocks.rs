//! Clocks that are wrong, and nodes without peers. The world's own clock is the true one.

use soloist::chain::Chain;
use soloist::failover::*;
use soloist::ids::NodeId;
use soloist::node::RpcError;

use super::world::*;

const H: i64 = 3600;

/// A world in which node 0 has led for 20 s.
fn settled(count: u32) -> World {
    let mut world = World::new(count);
    world.run(SEC * 20);
    assert_eq!(world.leader, Some(id(0)));
    world.log.clear();
    world
}

fn standing(world: &World, node: NodeId) -> Standing {
    let mut nodes = world.failover.nodes(world.now);
    nodes.find(|view| view.id == node).expect("a known node").standing.clone()
}

fn hint(world: &World, node: NodeId) -> String {
    let mut nodes = world.failover.nodes(world.now);
    nodes.find(|view| view.id == node).expect("a known node").hint.clone().expect("a hint")
}

fn lonely() -> RpcError {
    RpcError::Rpc { code: -9, message: "Bitcoin Core is not connected!".into() }
}

#[test]
fn a_node_three_hours_ahead_does_not_lead_and_leads_again_when_it_is_set_right() {
    let mut world = World::new(2);
    world.sim(id(0)).clock_ahead = 3 * H;
    world.run(SEC * 20);
    assert_eq!(world.lead_reasons(), [(id(1), LeadWhy::First)], "not even at the start");
    let Standing::WrongClock(ahead) = standing(&world, id(0)) else { panic!("it is trusted") };
    assert!((ahead - 3 * H).abs() <= 1, "{ahead} s");
    assert!(hint(&world, id(0)).contains("timedatectl"));
    assert_eq!(
        world.failover.states(),
        "n0 has a clock that is 3 h fast, so that others refuse its blocks; n1 is fit"
    );
    world.sim(id(0)).clock_ahead = 0;
    world.run(SEC * 150);
    assert_eq!(world.leader, Some(id(0)));
}

#[test]
fn a_leader_whose_clock_is_set_wrong_loses_the_lead_to_one_that_is_right() {
    for by in [3 * H, REFUSED_FROM + 2, -REFUSED_FROM - 2, -30 * H] {
        let mut world = settled(2);
        world.sim(id(0)).clock_ahead = by;
        world.run(SEC * 60);
        let (leader, why) = world.lead_reasons()[0].clone();
        let LeadWhy::Unfit(Standing::WrongClock(seen)) = why else { panic!("{by}: {why:?}") };
        assert!(leader == id(1) && (seen - by).abs() <= 1, "{by}: {seen}");
        let (node, seen) = world.clocks_set[0];
        assert!(node == Some(id(0)) && (seen - by).abs() <= 1, "the rehearsal is repeated: {seen}");
        // The lead moves with a template in hand.
        assert!(!world.gated && world.events("rpc-down").is_empty());
    }
    let mut world = settled(2);
    world.sim(id(0)).clock_ahead = REFUSED_FROM - 60;
    world.run(SEC * 60);
    assert_eq!(world.leader, Some(id(0)), "its blocks would be accepted");
}

#[test]
fn the_boxs_own_clock_moves_nobody() {
    for by in [5 * H, -5 * H, -1_700_000_000] {
        for count in [1, 2] {
            let mut world = settled(count);
            world.box_ahead = by;
            world.run(SEC * 120);
            assert_eq!(world.leader, Some(id(0)));
            assert_eq!(world.lead_reasons(), []);
            let [(None, seen)] = world.clocks_set[..] else { panic!("{:?}", world.clocks_set) };
            assert!((seen - by).abs() <= 1, "{seen}");
            let clocks = world.failover.clocks(world.now).expect("clocks");
            let this_box = clocks.this_box.expect("there are nodes");
            assert!((this_box.ahead - by).abs() <= 1, "{this_box:?}");
            // With one node nobody knows, unless the chain does.
            assert_eq!(this_box.odd, count == 2 || by < -2 * H, "{count} {by}");
        }
    }
}

#[test]
fn the_only_node_leads_whatever_its_clock() {
    let mut world = settled(1);
    world.sim(id(0)).clock_ahead = 3 * H;
    world.run(SEC * 60);
    assert_eq!((world.leader, standing(&world, id(0))), (Some(id(0)), Standing::Healthy));
    let clocks = world.failover.clocks(world.now).expect("clocks");
    assert!(!clocks.nodes[0].expect("it tells").odd, "or is it this box?");
    // And so does the last one that answers.
    let mut world = settled(2);
    world.sim(id(0)).clock_ahead = 3 * H;
    world.run(SEC * 60);
    world.kill(id(1));
    world.run(SEC * 30);
    assert_eq!(world.leader, Some(id(0)));
}

#[test]
fn where_two_nodes_differ_and_this_box_knows_nothing_the_earlier_time_leads() {
    let mut world = World::new(2);
    world.box_ahead = 500 * 24 * H;
    world.sim(id(0)).clock_ahead = 3 * H;
    world.run(SEC * 20);
    assert_eq!(world.leader, Some(id(1)), "its time is accepted by both");
}

#[test]
fn a_node_without_dates_is_known_by_its_templates() {
    let mut world = World::new(2);
    for node in [0, 1] {
        world.sim(id(node)).date = None;
    }
    world.sim(id(0)).clock_ahead = 3 * H;
    world.run(SEC * 60);
    // The other clock is this box's alone: nothing is known of node 1 before it gave a template.
    assert_eq!(world.leader, Some(id(0)));
    world.sim(id(1)).date = Some(0);
    world.run(SEC * 30);
    assert_eq!(world.leader, Some(id(1)));
    world.sim(id(0)).clock_ahead = 0;
    world.run(SEC * 150);
    assert_eq!(world.leader, Some(id(0)), "its templates are looked at now and then");
}

#[test]
fn a_proxys_clock_is_not_the_nodes() {
    // At the start only the proxy's is known; a template tells better.
    let mut world = World::new(2);
    world.sim(id(0)).date = Some(3 * H);
    world.run(SEC * 150);
    assert_eq!(world.leader, Some(id(0)));
    world.log.clear();
    world.run(SEC * 600);
    assert_eq!(world.lead_reasons(), []);
}

#[test]
fn a_test_networks_time_is_its_own_affair() {
    let mut world = World::new(2);
    for node in [0, 1] {
        world.sim(id(node)).chain = "regtest".into();
        world.sim(id(node)).has_reported = true;
    }
    world.sim(id(0)).clock_ahead = 3 * H;
    world.reload(vec![id(0), id(1)], vec![Chain::Regtest]);
    world.run(SEC * 60);
    assert_eq!(world.leader, Some(id(0)));
}

#[test]
fn a_node_that_loses_its_peers_hands_the_lead_over_and_says_why() {
    let mut world = settled(2);
    world.sim(id(0)).connections = 0;
    world.sim(id(0)).template_error = Some(lonely());
    world.run(SEC * 60);
    assert_eq!(world.leader, Some(id(1)));
    assert_eq!(standing(&world, id(0)).to_string(), "has no peers: it hears of no new blocks");
    assert!(hint(&world, id(0)).contains("internet connection"), "not: it gets ready by itself");
    assert_eq!(world.failover.states(), "n0 has no peers: it hears of no new blocks; n1 is fit");
    world.sim(id(0)).connections = 1;
    world.sim(id(0)).template_error = None;
    world.run(SEC * 60);
    assert_eq!(world.leader, Some(id(0)));
}

#[test]
fn a_backup_without_peers_is_no_backup() {
    let mut world = settled(2);
    world.sim(id(1)).connections = 0;
    world.run(SEC * 30);
    assert_eq!(standing(&world, id(1)), Standing::NoPeers, "nobody asked it for a template");
    assert_eq!(world.leader, Some(id(0)));
    // One that gives templates all the same is better than nothing.
    world.kill(id(0));
    world.run(SEC * 30);
    assert_eq!(world.leader, Some(id(1)));
}

#[test]
fn the_only_node_without_peers_says_so() {
    let mut world = settled(1);
    world.sim(id(0)).connections = 0;
    world.sim(id(0)).template_error = Some(lonely());
    world.run(SEC * 60);
    assert_eq!(standing(&world, id(0)), Standing::Waiting(Waiting::NoPeers));
    let told: Vec<_> = world.events("node-waiting").iter().map(Event::to_string).collect();
    assert_eq!(told, ["Node n0 has no peers: it hears of no new blocks."]);
    assert_eq!(world.leader, None);
    let states = world.failover.states();
    assert!(states.starts_with("n0 has no peers: "), "{states}");
}
