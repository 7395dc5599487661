//! One story per test. The world checks besides, with each command, what must never happen.

use std::time::Duration;

use soloist::chain::Chain;
use soloist::failover::*;
use soloist::ids::NodeId;
use soloist::node::fault::Login;
use soloist::node::{Ask, Command, Method, NodeEventKind, RpcError, TipHeader, TipSource};

use super::world::*;

/// A world in which node 0 has led for 20 s and a little (polls happen at many offsets).
fn settled(count: u32) -> World {
    let mut world = World::new(count);
    world.run(MS * 100);
    world.announce();
    world.run(SEC * 20 - MS * 100);
    assert_eq!(world.leader, Some(id(0)));
    assert!(are_all_well(&world), "{}", world.failover.states());
    world.log.clear();
    world
}

fn leads(node: NodeId) -> impl Fn(&Output) -> bool {
    move |output| matches!(output, Output::Lead { node: by, .. } if *by == node)
}

fn serves(node: NodeId) -> impl Fn(&Output) -> bool {
    move |output| matches!(output, Output::Serve { node: by, .. } if *by == node)
}

fn fetches(node: NodeId) -> impl Fn(&Output) -> bool {
    move |output| matches!(output, Output::Ask { node: by, ask: Ask::Template(_) } if *by == node)
}

fn polls(node: NodeId) -> impl Fn(&Output) -> bool {
    move |output| matches!(output, Output::Ask { node: by, ask: Ask::Tip | Ask::WaitForTip } if *by == node)
}

fn asks(node: NodeId) -> impl Fn(&Output) -> bool {
    move |output| matches!(output, Output::Ask { node: by, ask: Ask::Health } if *by == node)
}

fn are_all_well(world: &World) -> bool {
    world.failover.nodes(world.now).all(|view| *view.standing == Standing::Healthy)
}

fn standing(world: &World, node: NodeId) -> Standing {
    let mut nodes = world.failover.nodes(world.now);
    nodes.find(|view| view.id == node).expect("a known node").standing.clone()
}

/// Prints median and maximum; returns the maximum.
fn print_figures(what: &str, mut figures: Vec<Duration>) -> Duration {
    figures.sort();
    let (median, max) = (figures[figures.len() / 2], figures[figures.len() - 1]);
    println!("{what}: median {median:?}, maximum {max:?}, {} trials", figures.len());
    max
}

// -- the start --

#[test]
fn the_preferred_node_leads_first_even_if_it_is_slower() {
    let mut world = World::new(3);
    world.sim(id(0)).rtt = MS * 300;
    world.run(SEC * 5);
    assert_eq!(world.lead_reasons(), [(id(0), LeadWhy::First)]);
    assert!(!world.gated);
    assert!(world.events("miners-let-in").is_empty(), "the first opening is no event");
    assert!(world.events("node-failover").is_empty());
}

#[test]
fn a_preferred_node_that_says_nothing_is_waited_for_one_second() {
    let mut world = World::new(2);
    world.sim(id(0)).mode = Mode::Hung;
    world.run(SEC * 5);
    let first = world.when(leads(id(1)))[0];
    assert!(first >= SETTLE && first < SETTLE + MS * 100, "{first:?}");
}

#[test]
fn a_preferred_node_that_refuses_is_not_waited_for() {
    let mut world = World::new(2);
    world.kill(id(0));
    world.run(SEC * 5);
    assert!(world.when(leads(id(1)))[0] < MS * 100);
}

#[test]
fn a_lagging_preferred_node_does_not_lead_at_the_start() {
    let mut world = World::new(2);
    for _ in 0..3 {
        let block = world.mine_on(world.best());
        world.sim(id(1)).tip = block;
    }
    world.run(SEC * 5);
    assert_eq!(world.lead_reasons(), [(id(1), LeadWhy::First)]);
    assert_eq!(standing(&world, id(0)), Standing::Behind(3));
    assert_eq!(world.failover.states(), "n0 is behind by 3 blocks; n1 is fit");
}

#[test]
fn without_nodes_there_is_nothing_to_do() {
    let mut world = World::new(0);
    world.hand_in(Input::Tick);
    assert_eq!(world.failover.next_deadline(), None);
    assert!(world.log.is_empty(), "{:?}", world.log);
}

// -- the regular calls --

#[test]
fn polls_health_and_heartbeats_keep_their_intervals() {
    let mut world = settled(3);
    world.run(SEC * 120);
    for node in (0..3).map(id) {
        let polls = world.when(polls(node));
        assert!(polls.windows(2).all(|pair| pair[1] - pair[0] == POLL_EVERY), "{polls:?}");
        assert_eq!(polls.len(), 80);
        let asks = world.when(asks(node));
        assert!(asks.windows(2).all(|pair| pair[1] - pair[0] == HEALTH_EVERY), "{asks:?}");
        assert_eq!(asks.len(), 10);
    }
    let starts: Vec<_> = (0..3).map(|node| world.when(asks(id(node)))[0]).collect();
    assert!(starts[0] != starts[1] && starts[1] != starts[2], "staggered");
    let beats = world.when(serves(id(0)));
    assert_eq!(beats.len(), 4);
    assert!(beats.windows(2).all(|pair| pair[1] - pair[0] <= HEARTBEAT + SEC), "{beats:?}");
    assert!(world.when(fetches(id(1))).is_empty(), "a backup is left in peace");
}

/// A world in which no node announces its tips.
fn silent(count: u32) -> World {
    let mut world = World::new(count);
    for sim in &mut world.sims {
        sim.zmq = false;
    }
    world
}

fn waits(node: NodeId) -> impl Fn(&Output) -> bool {
    move |output| matches!(output, Output::Ask { node: by, ask: Ask::WaitForTip } if *by == node)
}

#[test]
fn calls_wait_at_a_leader_that_does_not_announce_and_answers_beside_them() {
    let mut world = silent(2);
    world.run(SEC * 20);
    assert_eq!(world.failover.nodes(world.now).next().unwrap().news_by, NewsBy::Wait);
    let calls = world.when(waits(id(0)));
    assert!(calls.len() > 70, "{} calls of a quarter of a second in 20 s", calls.len());
    assert!(world.when(waits(id(1))).is_empty(), "the backup's news are not waited for");
    let mined = world.age();
    world.mine();
    world.run(SEC * 2);
    let served = world.when(|output| matches!(output, Output::Serve { new_tip: true, .. }));
    let took = *served.last().unwrap() - mined;
    assert!(took < MS * 50, "{took:?}");
    world.kill(id(0));
    world.run(SEC * 10);
    assert!(!world.when(waits(id(1))).is_empty(), "the new leader's are");
}

#[test]
fn a_node_that_announces_its_tips_is_left_in_peace() {
    let mut world = settled(2);
    world.run(SEC * 60);
    assert_eq!(world.failover.nodes(world.now).next().unwrap().news_by, NewsBy::Zmq);
    assert!(world.when(waits(id(0))).is_empty());
    assert!(
        world.when(|output| matches!(output, Output::Ask { ask: Ask::TryWait, .. })).is_empty()
    );
}

#[test]
fn a_node_whose_announcements_end_is_asked_from_then_on() {
    let mut world = settled(2);
    world.sim(id(0)).zmq = false;
    world.mine();
    world.run(SEC * 3);
    assert!(world.when(waits(id(0))).is_empty(), "ZMQ may be a little late");
    world.run(SEC * 10);
    assert_eq!(world.failover.nodes(world.now).next().unwrap().news_by, NewsBy::Wait);
    world.sim(id(0)).zmq = true;
    world.mine();
    world.run(SEC);
    assert_eq!(world.failover.nodes(world.now).next().unwrap().news_by, NewsBy::Zmq);
}

#[test]
fn a_node_with_one_thread_is_polled_and_tried_again_after_ten_minutes() {
    let mut world = silent(1);
    world.sim(id(0)).threads = 1;
    world.run(SEC * 20);
    let view = world.failover.nodes(world.now).next().unwrap();
    assert_eq!(view.news_by, NewsBy::Soon { crowded: true });
    assert!(world.when(waits(id(0))).is_empty());
    let mined = world.age();
    world.mine();
    world.run(SEC);
    let served = world.when(|output| matches!(output, Output::Serve { new_tip: true, .. }));
    let took = *served.last().unwrap() - mined;
    assert!(took <= POLL_SOON + MS * 20, "{took:?}");
    world.run(TRY_WAIT_AGAIN);
    let trials = world.when(|output| matches!(output, Output::Ask { ask: Ask::TryWait, .. }));
    assert_eq!(trials.len(), 2, "{trials:?}");
}

#[test]
fn a_node_without_the_call_is_polled_and_not_tried_again_until_it_was_away() {
    let mut world = silent(1);
    world.sim(id(0)).knows_wait = false;
    world.run(SEC * 3600);
    let trials = |world: &World| {
        world.when(|output| matches!(output, Output::Ask { ask: Ask::TryWait, .. })).len()
    };
    assert_eq!(trials(&world), 1);
    assert!(world.when(waits(id(0))).is_empty());
    world.kill(id(0));
    world.run(SEC * 30);
    world.revive(id(0));
    world.run(SEC * 30);
    // Once more when its connection ended, and once when it was back.
    assert_eq!(trials(&world), 3);
    assert!(world.events("node-failover").is_empty());
}

#[test]
fn a_call_that_does_not_wait_is_not_made_again() {
    let mut world = silent(1);
    world.sim(id(0)).impatient = true;
    world.run(SEC * 20);
    assert!(world.when(waits(id(0))).len() <= 1);
    let polls = world.when(polls(id(0))).len();
    assert!(polls <= 85, "four a second, not {polls} in 20 s");
}

#[test]
fn a_connection_that_ends_idle_moves_nothing() {
    let mut world = settled(2);
    for _ in 0..10 {
        world.say(id(0), NodeEventKind::HungUp);
        world.run(SEC * 8);
    }
    assert_eq!(world.leader, Some(id(0)));
    assert!(world.events("node-failover").is_empty());
    assert!(world.when(fetches(id(1))).is_empty(), "the backup is left in peace");
    assert_eq!(standing(&world, id(0)), Standing::Healthy, "no failure was counted");
}

// -- failover --

#[test]
fn a_killed_leader_is_replaced_at_once() {
    let mut figures = Vec::new();
    for offset in 0..30 {
        let mut world = settled(2);
        world.run(MS * 57 * offset);
        let killed = world.age();
        world.kill(id(0));
        world.run(SEC * 3);
        let moved = world.when(leads(id(1)))[0] - killed;
        figures.push(moved);
        assert!(moved < MS * 100, "after {moved:?}");
        assert_eq!(world.events("node-failover").len(), 1);
        assert!(world.when(serves(id(1)))[0] - killed < MS * 100);
        assert!(!world.gated);
    }
    print_figures("killed leader, work from the backup (virtual time)", figures);
}

#[test]
fn a_killed_leader_whose_connections_stay_is_replaced_with_the_next_poll() {
    for offset in 0..30 {
        let mut world = settled(2);
        world.run(MS * 57 * offset);
        world.sim(id(0)).hangs_up = false;
        let killed = world.age();
        world.kill(id(0));
        world.run(SEC * 3);
        let moved = world.when(leads(id(1)))[0] - killed;
        assert!(moved < POLL_EVERY + MS * 100, "after {moved:?}");
    }
}

#[test]
fn a_hung_leader_is_replaced_in_less_than_three_seconds() {
    let mut figures = Vec::new();
    for offset in 0..60 {
        let mut world = settled(2);
        world.sim(id(1)).template_takes = MS * 600;
        world.run(MS * 31 * offset);
        let hung = world.age();
        world.sim(id(0)).mode = Mode::Hung;
        world.run(SEC * 5);
        figures.push(world.when(serves(id(1)))[0] - hung);
        assert!(matches!(world.lead_reasons()[0].1, LeadWhy::Unfit(Standing::Silent(_))));
    }
    let worst = print_figures("hung leader, work from the backup (virtual time)", figures);
    assert!(worst < SEC * 3, "{worst:?}");
    assert!(worst > SEC * 2, "the offsets did not meet the worst case: {worst:?}");
}

#[test]
fn a_hung_leader_with_slow_templates_is_given_longer_but_not_much() {
    let mut world = settled(2);
    world.sim(id(0)).template_takes = MS * 900;
    world.run(SEC * 200);
    let hung = world.age();
    world.log.clear();
    world.sim(id(0)).mode = Mode::Hung;
    world.run(SEC * 6);
    let moved = world.when(leads(id(1)))[0] - hung;
    assert!(moved > MS * 1800 && moved < POLL_EVERY + SILENT_AT_MOST + MS * 50, "{moved:?}");
}

#[test]
fn a_leader_that_is_slow_once_keeps_the_lead() {
    let mut world = settled(2);
    world.sim(id(0)).mode = Mode::Hung;
    let poll = world.when(polls(id(0))).len();
    while world.when(polls(id(0))).len() == poll {
        world.run(MS * 10);
    }
    world.run(MS * 900);
    world.revive(id(0));
    world.run(SEC * 20);
    assert_eq!(world.leader, Some(id(0)));
    assert!(world.lead_reasons().is_empty());
    assert_eq!(world.when(fetches(id(1))).len(), 1, "the next node's template was at hand");
    assert_eq!(world.served_by(id(1)), 0, "and not used");
}

#[test]
fn every_failure_of_the_leaders_template_call_hops_at_once() {
    for error in [
        refused(),
        RpcError::Timeout(SEC),
        RpcError::Unauthorized(Login::Password),
        RpcError::Http(500),
        RpcError::Malformed("<html>".into()),
        RpcError::TooLarge(1),
        warming(),
        RpcError::Rpc { code: -9, message: "not connected".into() },
        RpcError::Rpc { code: -10, message: "initial download".into() },
        RpcError::Downloading { blocks: 1, headers: 2, permille: 3 },
        RpcError::Rpc { code: -1, message: "bad-txns".into() },
    ] {
        let mut world = settled(2);
        world.sim(id(0)).template_error = Some(error.clone());
        world.mine();
        world.run(SEC * 2);
        assert_eq!(world.leader, Some(id(1)), "{error}");
        let failed = world.when(fetches(id(0)))[0];
        let moved = world.when(leads(id(1)))[0];
        assert!(moved - failed < MS * 100, "{error}: {:?}", moved - failed);
        assert!(world.events("rpc-down").is_empty());
        assert_eq!(world.events("node-failover").len(), 1);
        world.run(SEC * 30);
        assert_eq!(world.leader, Some(id(1)), "it does not return without a template: {error}");
        world.sim(id(0)).template_error = None;
        world.run(SEC * 30);
        assert_eq!(world.leader, Some(id(0)), "{error}");
    }
}

#[test]
fn a_refused_password_is_told_in_the_event() {
    let mut world = settled(2);
    world.sim(id(0)).mode = Mode::Errors(RpcError::Unauthorized(Login::Password));
    world.run(SEC * 20);
    let told: Vec<_> = world.events("node-failover").iter().map(Event::to_string).collect();
    assert_eq!(
        told,
        ["Node n1 leads instead of n0. Reason, about n0: it refuses our user or password (HTTP \
          401)."]
    );
    let told: Vec<_> = world.events("node-down").iter().map(Event::to_string).collect();
    assert_eq!(
        told,
        [
            "Node n0 cannot be used: it refuses our user or password (HTTP 401). Compare rpc_user and \
          rpc_pass with the rpcauth or rpcuser line of its bitcoin.conf."
        ]
    );
    assert_eq!(
        world.failover.states(),
        "n0 cannot be used (it refuses our user or password (HTTP 401)); n1 is fit"
    );
}

#[test]
fn reason_and_advice_belong_together_and_the_last_one_wins() {
    let mut world = settled(2);
    let told = |world: &World, node: usize| {
        let view = world.failover.nodes(world.now).nth(node).unwrap();
        let reason = view.reason.clone();
        assert_eq!(view.hint, reason.as_ref().map(RpcError::remedy));
        reason
    };
    // A method that it lacks is no reason against a node that is well.
    let lacks = RpcError::Rpc { code: -32601, message: "Method not found".into() };
    let failed =
        |error: &RpcError, method| NodeEventKind::Failed { method, error: error.clone(), took: MS };
    world.say(id(1), failed(&lacks, Method::Proposal));
    assert_eq!(told(&world, 1), None);
    // Down by one cause, then by another.
    for error in [RpcError::Refused, RpcError::Unauthorized(Login::Hash), RpcError::QueueFull] {
        world.sim(id(1)).mode = Mode::Errors(error.clone());
        world.run(SEC * 30);
        assert_eq!(told(&world, 1), Some(error));
        assert_eq!(standing(&world, id(1)), Standing::Down);
    }
    // It is back: what was is no reason any more.
    world.sim(id(1)).mode = Mode::Up;
    world.run(SEC * 120);
    assert_eq!(told(&world, 1), None);
    // Without templates the template's failure counts, whatever else fails later.
    let forbidden = RpcError::Forbidden { method: "getblocktemplate" };
    world.sim(id(0)).template_error = Some(forbidden.clone());
    world.run(SEC * 60);
    world.say(id(0), failed(&lacks, Method::Proposal));
    assert_eq!(told(&world, 0), Some(forbidden.clone()));
    let events: Vec<_> = world.events("node-no-template").iter().map(Event::to_string).collect();
    assert_eq!(events, [format!("Node n0 gives no work: {forbidden}. {}", forbidden.remedy())]);
}

#[test]
fn a_node_that_tells_no_addresses_is_as_well_as_before() {
    let mut world = settled(2);
    let before = world.leader;
    for error in [
        RpcError::Rpc { code: -32601, message: "Method not found".into() },
        RpcError::Forbidden { method: "getnodeaddresses" },
        RpcError::Rpc { code: -28, message: "Loading".into() },
        RpcError::Refused,
        RpcError::Timeout(SEC * 5),
        RpcError::Malformed("?".into()),
    ] {
        for node in [id(0), id(1)] {
            for _ in 0..5 {
                let (method, error) = (Method::GetNodeAddresses, error.clone());
                world.say(node, NodeEventKind::Failed { method, error, took: MS });
            }
            let view = world.failover.nodes(world.now).nth(node.0 as usize).unwrap();
            assert_eq!((view.reason, view.last_error), (None, None), "{error:?}");
            assert_eq!(standing(&world, node), Standing::Healthy, "{error:?}");
        }
    }
    world.run(SEC * 10);
    assert_eq!(world.leader, before);
    assert!(are_all_well(&world) && forbidden_events(&world).is_empty());
}

#[test]
fn one_bounded_pass_over_the_nodes_then_a_pause() {
    let mut world = settled(4);
    for node in 1..4 {
        world.sim(id(node)).template_error = Some(RpcError::Http(500));
    }
    world.kill(id(0));
    world.run(MS * 500);
    for node in 1..4 {
        let at = world.when(fetches(id(node)));
        assert_eq!(at.len(), 1, "each is tried once, node {node}");
    }
    world.run(SEC * 60);
    for node in 1..4 {
        let at = world.when(fetches(id(node)));
        assert!(at.len() >= 3 && at.len() < 60, "tried again, with pauses: {}", at.len());
    }
    world.sim(id(2)).template_error = None;
    world.run(SEC * 20);
    assert_eq!(world.leader, Some(id(2)));
}

#[test]
fn a_candidate_that_hangs_is_passed_by() {
    let mut world = settled(3);
    world.sim(id(1)).template_takes = SEC * 9;
    world.kill(id(0));
    let killed = world.age();
    world.run(SEC * 4);
    let moved = world.when(leads(id(2)))[0] - killed;
    assert!(moved < TRY + MS * 200, "{moved:?}");
}

#[test]
fn the_lead_returns_within_thirty_seconds_of_recovery() {
    let mut figures = Vec::new();
    for away in (1..40).map(|n| n * 11).chain([1, 3, 6]) {
        let mut world = settled(2);
        world.kill(id(0));
        world.run(SEC * away);
        let back = world.age();
        world.revive(id(0));
        world.run(SEC * 40);
        let returned = world.when(leads(id(0)))[0] - back;
        assert!(returned < SEC * 30, "after {away} s away: {returned:?}");
        assert!(returned >= STEADY);
        figures.push(returned);
        let events = world.events("node-failover");
        assert!(matches!(
            &events[..],
            [
                Event::NodeFailover { back: false, .. },
                Event::NodeFailover { back: true, why: LeadWhy::Return, .. }
            ]
        ));
    }
    print_figures("return after the preferred node's recovery (virtual time)", figures);
}

#[test]
fn the_lead_does_not_return_before_the_preferred_node_has_caught_up() {
    let mut world = settled(2);
    world.kill(id(0));
    world.run(SEC * 10);
    for _ in 0..3 {
        world.mine();
        world.run(SEC);
    }
    world.revive(id(0));
    world.sim(id(0)).stuck = true;
    world.run(SEC * 120);
    assert_eq!(world.leader, Some(id(1)));
    assert_eq!(standing(&world, id(0)), Standing::Behind(3));
    let caught_up = world.age();
    world.sim(id(0)).stuck = false;
    let best = world.best();
    world.give(id(0), best);
    world.run(SEC * 30);
    let returned = world.when(leads(id(0)))[0];
    assert!(returned >= caught_up + STEADY, "{returned:?}");
    assert_eq!(world.events("node-caught-up").len(), 1);
}

#[test]
fn a_node_between_does_not_take_the_lead_while_a_preferred_one_leads() {
    let mut world = settled(3);
    world.run(SEC * 300);
    assert!(world.lead_reasons().is_empty(), "sticky");
}

#[test]
fn with_three_nodes_the_lead_climbs_back_step_by_step() {
    let mut world = settled(3);
    world.kill(id(0));
    world.kill(id(1));
    world.run(SEC * 10);
    assert_eq!(world.leader, Some(id(2)));
    world.revive(id(1));
    world.run(SEC * 40);
    assert_eq!(world.leader, Some(id(1)));
    world.revive(id(0));
    world.run(SEC * 40);
    assert_eq!(world.leader, Some(id(0)));
}

#[test]
fn a_long_time_on_a_backup_is_told_once() {
    let mut world = settled(2);
    world.kill(id(0));
    world.run(LONG_ON_BACKUP * 3);
    let told: Vec<_> = world.events("long-on-backup").iter().map(Event::to_string).collect();
    assert_eq!(
        told,
        ["Backup node n1 has given the work for 60 min: n0 is down (nothing listens at its \
          port (connection refused))."]
    );
}

// -- waiting --

#[test]
fn warming_up_is_waiting_with_the_nodes_own_words() {
    let mut world = settled(2);
    world.sim(id(0)).mode = Mode::Errors(warming());
    world.run(SEC * 60);
    assert_eq!(world.leader, Some(id(1)));
    assert!(world.events("node-down").is_empty(), "no failure of the breaker");
    let told: Vec<_> = world.events("node-waiting").iter().map(Event::to_string).collect();
    assert_eq!(told, ["Node n0 is starting up: Loading block index."], "said once");
    world.sim(id(0)).mode =
        Mode::Errors(RpcError::Rpc { code: -28, message: "Verifying blocks…".into() });
    world.run(SEC * 10);
    assert_eq!(world.failover.states(), "n0 is starting up: Verifying blocks; n1 is fit");
    let asked = world.when(asks(id(0)));
    let gap = asked[asked.len() - 1] - asked[asked.len() - 2];
    assert!(gap <= HEALTH_WAITING, "{gap:?}");
    world.revive(id(0));
    world.run(SEC * 30);
    assert_eq!(world.leader, Some(id(0)));
}

#[test]
fn initial_download_is_waiting_on_the_main_network() {
    let mut world = World::new(2);
    world.sim(id(0)).initial_download = true;
    world.run(SEC * 30);
    assert_eq!(world.leader, Some(id(1)));
    let words = standing(&world, id(0)).to_string();
    assert_eq!(words, "is downloading the chain, 100 blocks so far, 100.0 %");
    world.sim(id(0)).initial_download = false;
    world.run(SEC * 30);
    assert_eq!(world.leader, Some(id(0)));
}

#[test]
fn initial_download_on_a_test_network_leads_as_a_last_resort() {
    let mut world = World::new(2);
    for node in [0, 1] {
        world.sim(id(node)).chain = "regtest".into();
    }
    for node in [0, 1] {
        world.sim(id(node)).initial_download = true;
        world.sim(id(node)).has_reported = true;
    }
    world.reload(vec![id(0), id(1)], vec![Chain::Regtest]);
    world.run(SEC * 5);
    assert_eq!(world.leader, Some(id(0)));
    world.sim(id(1)).initial_download = false;
    world.run(SEC * 30);
    assert_eq!(world.leader, Some(id(1)), "the better one is preferred");
}

// -- the wrong chain --

#[test]
fn a_node_on_the_wrong_chain_is_never_used_and_said_loudly() {
    let mut world = World::new(2);
    world.sim(id(0)).chain = "testnet4".into();
    world.run(SEC * 60);
    assert_eq!(world.leader, Some(id(1)));
    assert!(world.when(fetches(id(0))).is_empty() && world.when(polls(id(0))).is_empty());
    let events = world.events("wrong-chain");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].level(), soloist::event::Level::Critical);
    assert!(events[0].to_string().contains("testnet4, not main"), "{}", events[0]);
    world.sim(id(0)).chain = "main".into();
    world.run(SEC * 40);
    assert_eq!(world.leader, Some(id(0)), "put right");
}

#[test]
fn a_wrong_first_block_is_the_wrong_chain() {
    let mut world = settled(2);
    world.run(SEC * 3);
    let mut report = world.failover.nodes(world.now).next().unwrap().health.unwrap().0.clone();
    report.genesis = Some(Chain::Regtest.genesis());
    world.say(id(0), NodeEventKind::Health { report: Box::new(report), took: MS });
    assert!(matches!(standing(&world, id(0)), Standing::WrongChain(_)));
    world.run(SEC);
    assert_eq!(world.leader, Some(id(1)));
}

#[test]
fn a_node_that_comes_back_is_checked_before_it_is_used() {
    let mut world = settled(2);
    world.kill(id(0));
    world.run(SEC * 30);
    world.sim(id(0)).chain = "regtest".into();
    world.revive(id(0));
    world.log.clear();
    world.run(SEC * 60);
    assert_eq!(world.leader, Some(id(1)));
    assert!(world.when(fetches(id(0))).is_empty());
    assert_eq!(world.events("wrong-chain").len(), 1);
}

#[test]
fn another_payout_chain_drops_the_work_at_once() {
    let mut world = settled(2);
    world.reload(vec![id(0), id(1)], vec![Chain::Testnet4]);
    assert!(world.gated);
    assert_eq!(world.leader, None);
    world.reload(vec![id(0), id(1)], vec![Chain::Main]);
    world.run(SEC * 3);
    assert!(!world.gated && world.leader == Some(id(0)));
}

// -- lag, splits, reorganisations --

#[test]
fn a_leader_that_does_not_follow_loses_the_lead_after_three_seconds() {
    let mut world = settled(2);
    world.sim(id(0)).stuck = true;
    let mined = world.age();
    world.mine();
    world.run(SEC * 10);
    let served = world.when(serves(id(1)))[0] - mined;
    assert!(served < MS * 100, "the announcer's template is used at once: {served:?}");
    let moved = world.when(leads(id(1)))[0] - mined;
    assert!(moved >= FOLLOW && moved < FOLLOW + MS * 500, "{moved:?}");
    assert!(matches!(world.lead_reasons()[0].1, LeadWhy::DidNotFollow(_)));
}

#[test]
fn a_leader_that_follows_soon_keeps_the_lead() {
    let mut world = settled(2);
    let block = world.mine_on(world.best());
    world.give(id(1), block);
    world.run(MS * 1500);
    assert_eq!(world.served_by(id(1)), 1);
    world.give(id(0), block);
    world.run(SEC * 10);
    assert!(world.lead_reasons().is_empty());
    assert!(world.served_by(id(0)) >= 1);
    let race = *world.failover.nodes(world.now).next().unwrap().race;
    assert_eq!(race.followed.count(), 1);
    let race = *world.failover.nodes(world.now).nth(1).unwrap().race;
    assert_eq!(race.wins, [1, 0, 0, 0, 0], "first by ZMQ");
}

#[test]
fn a_new_tip_is_served_by_the_leader_that_announces_it() {
    let mut world = settled(2);
    let mined = world.age();
    world.mine();
    world.run(SEC * 2);
    let served = world.when(|output| matches!(output, Output::Serve { new_tip: true, .. }));
    assert_eq!(served.len(), 1, "one clean job");
    assert_eq!(world.served_by(id(0)), 1, "and no other right after it");
    assert!(served[0] - mined < MS * 50);
    assert!(world.when(fetches(id(1))).is_empty(), "the other is not asked");
    assert!(world.when(fetches(id(0))).len() <= 2);
}

#[test]
fn zmq_that_falls_silent_costs_one_poll_interval() {
    for offset in 0..20 {
        let mut world = settled(2);
        for node in [0, 1] {
            world.sim(id(node)).zmq = false;
        }
        world.run(MS * 73 * offset);
        let mined = world.age();
        world.mine();
        world.run(SEC * 3);
        let served = world.when(|output| matches!(output, Output::Serve { new_tip: true, .. }));
        assert!(served[0] - mined < POLL_EVERY + MS * 100);
    }
}

#[test]
fn a_leader_without_a_template_for_the_tip_it_has_is_helped() {
    let mut world = settled(2);
    world.sim(id(0)).template_takes = SEC * 8;
    let mined = world.age();
    world.mine();
    world.run(SEC * 6);
    let served = world.when(serves(id(1)))[0] - mined;
    assert!(served >= HELP_AFTER && served < HELP_AFTER + MS * 200, "{served:?}");
    let moved = world.when(leads(id(1)))[0] - mined;
    assert!(moved < SEC * 5, "{moved:?}");
}

#[test]
fn a_node_three_blocks_behind_never_leads_while_another_is_at_the_tip() {
    let mut world = settled(3);
    world.sim(id(1)).stuck = true;
    let first = world.blocks[world.best()].time;
    for number in 1..=3 {
        let block = world.mine();
        world.blocks[block].time = first + 600 * number;
        world.run(SEC * 10);
    }
    assert_eq!(standing(&world, id(1)), Standing::Behind(3));
    let view = world.failover.nodes(world.now).nth(1).unwrap();
    assert_eq!(view.lag_blocks, 3);
    assert_eq!(world.events("node-lagging").len(), 1);
    assert!(world.events("node-lagging")[0].to_string().contains("is behind by 1 block;"));
    world.kill(id(0));
    world.run(SEC * 2);
    assert_eq!(world.leader, Some(id(2)));
    world.run(SEC * 60);
    assert!(world.when(leads(id(1))).is_empty());
}

#[test]
fn an_older_tip_serves_only_when_the_newer_one_is_as_good_as_forgotten() {
    let mut world = settled(2);
    world.sim(id(1)).stuck = true;
    world.mine();
    world.run(SEC * 5);
    let killed = world.age();
    world.kill(id(0));
    world.run(SEC * 60);
    assert_eq!(world.served_by(id(1)), 0, "a step back is no progress");
    assert!(!world.gated, "the last job is served meanwhile");
    world.run(SEC * 40);
    let moved = world.when(serves(id(1)))[0] - killed;
    assert!(moved >= GRACE * 2 / 3 && moved < GRACE, "{moved:?}");
    assert!(world.events("miners-gated").is_empty());
}

#[test]
fn a_backup_that_catches_up_leads_at_once() {
    let mut world = settled(2);
    world.sim(id(1)).stuck = true;
    let block = world.mine();
    world.run(SEC * 5);
    world.kill(id(0));
    world.run(SEC * 30);
    let caught_up = world.age();
    world.sim(id(1)).stuck = false;
    world.give(id(1), block);
    world.run(SEC * 3);
    let moved = world.when(leads(id(1)))[0] - caught_up;
    assert!(moved < SEC, "{moved:?}");
}

#[test]
fn a_split_is_shown_and_mining_stays_on_the_first_seen() {
    let mut world = settled(2);
    let parent = world.best();
    let ours = world.mine_on(parent);
    let other = world.mine_on(parent);
    world.give(id(0), ours);
    world.run(MS * 500);
    world.give(id(1), other);
    world.run(SEC * 30);
    assert_eq!(world.leader, Some(id(0)));
    assert_eq!(world.served_by(id(1)), 0);
    let events = world.events("tip-split");
    assert_eq!(events.len(), 1);
    assert!(matches!(events[0], Event::TipSplit { height: 101, .. }));
    assert_eq!(standing(&world, id(1)), Standing::Rival);
    // The other branch gets a block: it has more work.
    let next = world.mine_on(other);
    world.give(id(1), next);
    world.run(MS * 200);
    assert_eq!(world.served_by(id(1)), 1);
    world.give(id(0), next);
    world.run(SEC * 30);
    assert_eq!(world.events("split-over").len(), 1);
    assert_eq!(world.leader, Some(id(0)));
}

#[test]
fn in_a_split_the_branch_seen_first_wins_even_against_the_leaders() {
    let mut world = settled(2);
    let parent = world.best();
    let first = world.mine_on(parent);
    let second = world.mine_on(parent);
    world.give(id(1), first);
    world.run(MS * 300);
    world.give(id(0), second);
    world.run(SEC * 20);
    let tip = world.worked_on();
    assert_eq!(tip, world.blocks[first].hash);
    assert_eq!(world.leader, Some(id(1)), "the lead follows the work");
    let clean = world.when(|output| matches!(output, Output::Serve { new_tip: true, .. }));
    assert_eq!(clean.len(), 1, "no hopping between branches");
}

#[test]
fn in_a_split_one_failed_call_does_not_change_the_branch() {
    let mut world = settled(2);
    let parent = world.best();
    let ours = world.mine_on(parent);
    let other = world.mine_on(parent);
    world.give(id(0), ours);
    world.run(MS * 500);
    world.give(id(1), other);
    world.run(SEC * 5);
    assert_eq!(standing(&world, id(1)), Standing::Rival);
    let before = world.when(polls(id(0))).len();
    world.sim(id(0)).mode = Mode::Errors(refused());
    while world.when(polls(id(0))).len() == before {
        world.run(MS);
    }
    world.run(MS * 100);
    assert_eq!(standing(&world, id(0)), Standing::Shaky);
    world.revive(id(0));
    world.run(SEC * 10);
    assert_eq!(world.served_by(id(1)), 0);
    assert_eq!(world.leader, Some(id(0)));
}

#[test]
fn a_burst_of_blocks_makes_no_storm_of_template_calls() {
    let mut world = settled(1);
    world.sim(id(0)).template_takes = MS * 2;
    world.sim(id(0)).hangs_up = false;
    for _ in 0..100 {
        world.mine();
        world.run(MS * 10);
    }
    world.run(SEC * 2);
    let calls = world.when(fetches(id(0))).len();
    assert!(calls <= 8 + 4, "{calls} calls");
    let tip = world.worked_on();
    assert_eq!(tip, world.blocks[world.best()].hash, "the last block is worked on");
}

#[test]
fn in_a_split_the_other_branch_serves_when_nobody_holds_ours() {
    let mut world = settled(2);
    let parent = world.best();
    let ours = world.mine_on(parent);
    let other = world.mine_on(parent);
    world.give(id(0), ours);
    world.run(MS * 500);
    world.give(id(1), other);
    world.run(SEC * 5);
    world.kill(id(0));
    world.run(SEC * 10);
    assert_eq!(world.leader, Some(id(1)));
    let tip = world.worked_on();
    assert_eq!(tip, world.blocks[other].hash);
}

#[test]
fn an_invalidated_tip_is_left_when_no_other_node_holds_it() {
    let mut world = settled(1);
    let parent = world.best();
    world.mine();
    world.run(SEC * 5);
    world.allow_older = true;
    world.set_tip(id(0), parent);
    world.run(SEC * 5);
    let tip = world.worked_on();
    assert_eq!(tip, world.blocks[parent].hash);
}

#[test]
fn an_invalidated_tip_is_kept_while_another_node_holds_it() {
    let mut world = settled(2);
    let parent = world.best();
    let tip = world.mine();
    world.run(SEC * 5);
    world.set_tip(id(0), parent);
    world.run(SEC * 10);
    assert_eq!((world.worked_on(), world.leader), (world.blocks[tip].hash, Some(id(1))));
    assert!(matches!(world.lead_reasons()[0].1, LeadWhy::Unfit(Standing::Behind(1))));
}

#[test]
fn fewer_blocks_with_more_work_are_the_better_chain() {
    let mut world = settled(2);
    let parent = world.best();
    world.mine();
    world.run(SEC * 5);
    // One heavy block beside two light ones.
    let heavy = world.mine_on(parent);
    world.blocks[heavy].work += 500;
    world.mine();
    world.run(SEC * 5);
    world.log.clear();
    world.give(id(1), heavy);
    world.run(MS * 1500);
    assert!(world.events("node-lagging").is_empty(), "height alone does not count");
    assert_eq!(world.worked_on(), world.blocks[heavy].hash);
    assert!(world.served_by(id(1)) > 0);
    world.run(SEC * 10);
    assert_eq!(world.leader, Some(id(1)));
    assert_eq!(standing(&world, id(0)), Standing::Weaker);
    assert!(world.failover.states().contains("n0 is on a chain with less work"));
    world.give(id(0), heavy);
    world.run(SEC * 30);
    assert_eq!(world.leader, Some(id(0)));
}

#[test]
fn late_news_of_the_old_tip_do_not_lead_back() {
    let mut world = settled(1);
    let old = world.blocks[world.best()];
    // A template call and a poll are under way when the block arrives.
    world.sim(id(0)).template_takes = MS * 400;
    world.run(SEC * 35);
    while world.log.last().is_none_or(|(_, output)| !polls(id(0))(output)) {
        world.log.clear();
        world.run(MS);
    }
    world.mine();
    world.run(SEC);
    world.log.clear();
    world.say(id(0), template(old.height as u32 + 1, old.hash, 0, 0, MS));
    assert_eq!(world.served_by(id(0)), 0);
    world.run(SEC * 3);
    let tip = world.worked_on();
    assert_ne!(tip, old.hash);
}

#[test]
fn late_zmq_news_do_not_lead_back() {
    let mut world = settled(1);
    let old = world.blocks[world.best()].hash;
    world.mine();
    world.run(MS * 100);
    let served = world.served_by(id(0));
    let news = NodeEventKind::Tip { hash: old, height: None, source: TipSource::Zmq, took: MS };
    let asked = world.now;
    world.say(id(0), news);
    assert_eq!(world.failover.nodes(world.now).next().unwrap().height, Some(101));
    world.run(SEC * 3);
    assert_eq!(world.served_by(id(0)), served);
    assert!(world.log.iter().any(|(at, output)| *at == asked && polls(id(0))(output)));
}

#[test]
fn a_node_that_stalls_does_not_lead_while_another_is_well() {
    let mut world = settled(2);
    world.sim(id(0)).headers_ahead = 1;
    world.run(STALLED_HEADERS + HEALTH_EVERY * 2);
    assert_eq!(world.leader, Some(id(1)));
    assert_eq!(world.lead_reasons()[0].1, LeadWhy::Unfit(Standing::Stalled));
}

#[test]
fn no_block_for_ninety_minutes_is_told() {
    let mut world = settled(1);
    world.run(STALLED_TIP);
    assert_eq!((world.leader, standing(&world, id(0))), (Some(id(0)), Standing::Stalled));
    assert_eq!(world.failover.states(), "n0 has stopped taking in blocks");
    assert!(!world.gated);
}

// -- nobody --

#[test]
fn when_all_are_down_the_last_job_is_served_for_the_grace() {
    let mut world = settled(2);
    let killed = world.age();
    world.kill(id(0));
    world.kill(id(1));
    world.run(SEC * 60);
    assert!(!world.gated);
    assert_eq!(world.leader, None);
    world.run(SEC * 60);
    let gated = world.when(|output| matches!(output, Output::Gate { .. }))[0] - killed;
    assert!(gated > GRACE - POLL_EVERY - SEC && gated <= GRACE, "{gated:?}");
    assert!(world.gated);
    let down = world.events("rpc-down");
    assert_eq!(down.len(), 1);
    assert!(down[0].to_string().starts_with(
        "No Bitcoin node is usable: n0 is down (nothing listens at its port (connection refused))"
    ));
    let back = world.age();
    world.revive(id(1));
    world.run(SEC * 10);
    let open = world.when(|output| matches!(output, Output::Ungate))[0] - back;
    assert!(open <= PROBE_NOBODY + MS * 100, "{open:?}");
    assert_eq!(world.events("rpc-recovered").len(), 1);
    assert_eq!(world.events("miners-let-in").len(), 1);
}

#[test]
fn a_single_node_that_fails_once_is_no_outage() {
    let mut world = settled(1);
    world.sim(id(0)).mode = Mode::Errors(refused());
    let before = world.when(polls(id(0))).len();
    while world.when(polls(id(0))).len() < before + 2 {
        world.run(MS * 10);
    }
    world.run(MS * 10);
    assert_eq!((world.leader, standing(&world, id(0))), (Some(id(0)), Standing::Shaky));
    world.revive(id(0));
    world.run(SEC * 10);
    assert_eq!(world.leader, Some(id(0)));
    assert!(world.log.iter().all(|(_, output)| !matches!(output, Output::Event(_))));
}

#[test]
fn the_breaker_is_driven_by_probes_of_one_call() {
    let mut world = settled(2);
    world.kill(id(1));
    let killed = world.age();
    world.run(SEC * 400);
    let asked: Vec<u64> = world
        .when(asks(id(1)))
        .into_iter()
        .filter(|at| *at > killed + SEC * 5)
        .map(|at| at.as_secs())
        .collect();
    let gaps: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps[..3], [10, 20, 40]);
    assert!(gaps.len() > 5 && gaps[3..].iter().all(|gap| *gap == 60), "{gaps:?}");
    assert!(world.when(polls(id(1))).iter().all(|at| *at < killed + SEC * 6));
    assert_eq!(world.events("node-down").len(), 1);
    world.revive(id(1));
    world.run(SEC * 61);
    assert_eq!(world.events("node-up").len(), 1);
    assert_eq!(standing(&world, id(1)), Standing::Healthy);
}

#[test]
fn a_shell_that_never_answers_blocks_nothing() {
    let mut world = World::new(2);
    world.sim(id(0)).polls = false;
    world.run(SEC * 60);
    let down = world.events("node-down");
    assert!(!down.is_empty());
    assert_eq!(
        down[0].to_string(),
        "Node n0 is down: no answer within 2 s. The node is frozen or overloaded: look at its \
         machine, restart it if needed."
    );
    assert_eq!(world.leader, Some(id(1)));
}

// -- reload --

#[test]
fn nodes_are_added_removed_and_reordered_without_a_gap() {
    let mut world = settled(2);
    world.add_sim(id(7));
    world.reload(vec![id(1), id(7), id(0)], vec![Chain::Main]);
    world.run(SEC * 5);
    assert_eq!(world.leader, Some(id(1)), "the order changed: the lead goes to the preferred");
    assert_eq!(standing(&world, id(7)), Standing::Healthy);
    world.reload(vec![id(7)], vec![Chain::Main]);
    world.run(SEC);
    assert_eq!(world.leader, Some(id(7)));
    assert!(!world.gated);
    assert!(matches!(world.lead_reasons().last(), Some((_, LeadWhy::Removed))));
    let tip = world.blocks[world.best()].hash;
    let news = NodeEventKind::Tip { hash: tip, height: None, source: TipSource::Zmq, took: MS };
    world.say(id(0), news);
    assert!(world.events("wrong-chain").is_empty(), "news of a removed node are ignored");
    world.reload(Vec::new(), vec![Chain::Main]);
    assert_eq!(world.leader, None);
    world.run(GRACE + SEC * 5);
    assert!(world.gated, "without nodes the last job ends as well");
}

// -- empty first --

#[test]
fn an_empty_job_goes_out_first_where_templates_are_slow() {
    let mut world = settled(2);
    world.sim(id(0)).hangs_up = false;
    assert!(!world.failover.empty_first(id(0)), "10 ms");
    world.mine();
    world.run(SEC * 5);
    let empty = |output: &Output| matches!(output, Output::EmptyJob { .. });
    assert!(world.when(empty).is_empty());
    world.sim(id(0)).template_takes = MS * 400;
    world.run(SEC * 150);
    assert!(world.failover.empty_first(id(0)));
    assert!(world.when(empty).is_empty(), "only for a new tip");
    let mined = world.age();
    world.log.clear();
    world.mine();
    world.run(SEC * 3);
    let (job, full) = (world.when(empty), world.when(serves(id(0))));
    assert_eq!(job.len(), 1);
    assert!(job[0] - mined < MS * 5 && full[0] - mined > MS * 400, "{:?}", job[0] - mined);
}

#[test]
fn no_empty_job_on_a_tip_that_the_leader_has_not_validated() {
    let mut world = settled(2);
    world.sim(id(0)).template_takes = MS * 400;
    world.run(SEC * 200);
    world.sim(id(0)).stuck = true;
    world.log.clear();
    world.mine();
    world.run(SEC * 2);
    assert_eq!(world.served_by(id(1)), 1);
    assert!(world.when(|output| matches!(output, Output::EmptyJob { .. })).is_empty());
}

/// A height that is not known for sure makes a block that every node refuses.
#[test]
fn an_empty_job_has_the_height_that_the_header_tells_and_needs_a_higher_tip() {
    // After `preciousblock` by another program ZMQ's next message names a block of the same height,
    // and after news that were missed one that is two blocks higher.
    for above in [0, 2] {
        let mut world = settled(1);
        world.sim(id(0)).template_takes = MS * 400;
        world.run(SEC * 200);
        let parent = world.best();
        let best = world.mine();
        world.run(SEC * 20);
        world.log.clear();
        let tip = match above {
            0 => world.mine_on(parent),
            _ => {
                let next = world.mine_on(best);
                world.mine_on(next)
            }
        };
        let Block { hash, height, .. } = world.blocks[tip];
        let (source, took) = (TipSource::Zmq, Duration::ZERO);
        world.sim(id(0)).template_error = Some(RpcError::Http(500));
        world.say(id(0), NodeEventKind::Tip { hash, height: None, source, took });
        let header = TipHeader { height, median_time: 0 };
        world.say(id(0), NodeEventKind::Header { hash, header });
        world.run(MS * 100);
        let told = |output: &Output| match output {
            Output::EmptyJob { header, .. } => {
                assert_eq!(header.height, height);
                true
            }
            _ => false,
        };
        assert_eq!(world.when(told).len(), above / 2);
        assert_eq!(world.when(fetches(id(0))).len(), 1, "the template is asked for all the same");
    }
}

#[test]
fn the_header_is_asked_before_the_template_and_the_template_not_much_later() {
    for (rtt, answers) in [(MS, true), (MS * 400, false)] {
        let mut world = settled(1);
        world.sim(id(0)).template_takes = MS * 400;
        world.run(SEC * 200);
        world.log.clear();
        world.sim(id(0)).rtt = rtt;
        let mined = world.age();
        world.mine();
        world.run(SEC * 2);
        let header = world.when(|output| matches!(output, Output::Ask { ask: Ask::Header(_), .. }));
        let (fetch, empty) = (
            world.when(fetches(id(0)))[0] - mined,
            world.when(|output| matches!(output, Output::EmptyJob { .. })),
        );
        assert_eq!(header.len(), 1);
        assert!(fetch <= MS + HEADER_FIRST, "{fetch:?}");
        assert_eq!(fetch < HEADER_FIRST, answers, "{fetch:?}");
        assert_eq!(empty.iter().any(|at| *at - mined < MS * 5), answers);
    }
}

#[test]
fn a_tip_whose_height_is_known_needs_a_header_for_its_median_time() {
    let mut world = settled(1);
    world.sim(id(0)).template_takes = MS * 400;
    world.run(SEC * 200);
    world.log.clear();
    let ours = world.mine_on(world.best());
    let Block { hash, height, .. } = world.blocks[ours];
    world.failover.solved(hash, height);
    // The node's clock is slow, so that the job before had the earliest time that was allowed then:
    // on a block of ours, as on any other, the earliest time is another one.
    world.set_tip(id(0), ours);
    world.run(MS * 50);
    assert_eq!(
        world.when(|output| matches!(output, Output::Ask { ask: Ask::Header(_), .. })).len(),
        1
    );
    let expected = TipHeader { height, median_time: 7 };
    let told =
        |output: &Output| matches!(output, Output::EmptyJob { header, .. } if *header == expected);
    assert_eq!(world.when(told).len(), 1);
}

// -- the P2P port --

#[test]
fn a_header_by_p2p_brings_the_empty_job_without_a_call() {
    let mut world = silent(1);
    world.sim(id(0)).template_takes = MS * 400;
    world.set_p2p(id(0), true);
    world.run(SEC * 200);
    world.log.clear();
    let mined = world.age();
    world.mine();
    assert_eq!(world.when(is_empty_job), [mined], "at the very moment");
    assert_eq!(world.when(fetches(id(0))), [mined], "and the template is not kept waiting");
    world.run(SEC);
    assert!(
        world.when(|output| matches!(output, Output::Ask { ask: Ask::Header(_), .. })).is_empty()
    );
    let race = &world.failover.nodes(world.now).next().unwrap().race;
    assert_eq!(race.wins, [0, 0, 0, 0, 1]);
}

#[test]
fn no_empty_job_by_p2p_without_all_headers_or_in_another_retarget_period() {
    for (has_header, more) in [(false, 0), (true, 2016)] {
        let mut world = silent(1);
        world.sim(id(0)).template_takes = MS * 400;
        world.set_p2p(id(0), true);
        world.run(SEC * 200);
        world.sim(id(0)).p2p = false;
        let block = world.mine_on(world.best());
        let Block { hash, height, .. } = world.blocks[block];
        let header = TipHeader { height: height + more, median_time: 7 };
        let header = has_header.then_some(header);
        world.log.clear();
        world.hand_in(Input::Announced { node: id(0), hash, header });
        assert!(world.when(is_empty_job).is_empty());
        assert_eq!(world.when(fetches(id(0))).len(), usize::from(has_header));
    }
}

#[test]
fn two_blocks_before_the_first_template_are_followed_both() {
    for rpc_hangs in [false, true] {
        let mut world = silent(1);
        world.sim(id(0)).template_takes = MS * 400;
        world.set_p2p(id(0), true);
        world.run(SEC * 200);
        if rpc_hangs {
            world.sim(id(0)).mode = Mode::Errors(RpcError::Timeout(SEC * 2));
        }
        world.log.clear();
        for blocks in 1..=3 {
            world.mine();
            assert_eq!(world.when(is_empty_job).len(), blocks);
            world.run(MS * 100);
        }
        world.run(GRACE * 2);
        assert!(!world.gated);
        assert_eq!(world.failover.carried_by_p2p(), rpc_hangs.then_some(id(0)));
        let empty_jobs = if rpc_hangs { 4 } else { 3 };
        if rpc_hangs {
            world.mine();
        }
        assert_eq!(world.when(is_empty_job).len(), empty_jobs);
    }
}

#[test]
fn no_work_goes_on_by_p2p_over_a_retarget() {
    let mut world = settled(1);
    world.set_p2p(id(0), true);
    world.sim(id(0)).mode = Mode::Errors(RpcError::Http(500));
    world.run(SEC * 30);
    world.sim(id(0)).p2p = false;
    let block = world.mine_on(world.best());
    let Block { hash, height, .. } = world.blocks[block];
    let header = Some(TipHeader { height: height + 2016, median_time: 7 });
    world.hand_in(Input::Announced { node: id(0), hash, header });
    assert!(world.when(is_empty_job).is_empty());
    assert_eq!(world.failover.carried_by_p2p(), None);
    world.run(GRACE + SEC);
    assert!(world.gated, "the work is stale, and nothing can follow it");
}

#[test]
fn tips_by_p2p_are_news_as_good_as_zmq_until_the_connection_ends() {
    let news = |world: &World| world.failover.nodes(world.now).next().unwrap().news_by;
    let mut world = silent(1);
    world.set_p2p(id(0), true);
    world.run(SEC * 20);
    assert_eq!(news(&world), NewsBy::P2p);
    world.log.clear();
    world.run(SEC * 20);
    assert!(world.when(waits(id(0))).is_empty());
    world.set_p2p(id(0), false);
    world.run(SEC * 20);
    assert_eq!(news(&world), NewsBy::Wait);
}

#[test]
fn the_work_goes_on_by_p2p_while_the_only_nodes_rpc_is_gone() {
    let errors = [
        RpcError::Http(500),
        RpcError::QueueFull,
        RpcError::ForbiddenAddress { ours: None },
        RpcError::Timeout(SEC * 2),
    ];
    for error in errors {
        let mut world = settled(1);
        world.sim(id(0)).zmq = false;
        world.set_p2p(id(0), true);
        world.run(SEC * 5);
        world.sim(id(0)).mode = Mode::Errors(error);
        world.run(SEC * 30);
        assert_eq!(world.leader, None, "a P2P port says nothing of RPC");
        assert_eq!(standing(&world, id(0)), Standing::Down);
        for _ in 0..3 {
            world.log.clear();
            let mined = world.age();
            world.mine();
            assert_eq!(world.when(is_empty_job), [mined]);
            world.run(GRACE * 2);
            assert!(!world.gated, "the node has confirmed the tip by P2P all the time");
        }
        assert_eq!(standing(&world, id(0)), Standing::Down);
        world.revive(id(0));
        world.run(SEC * 70);
        assert_eq!(world.leader, Some(id(0)));
        world.sim(id(0)).mode = Mode::Errors(RpcError::Http(500));
        world.run(SEC * 30);
        world.set_p2p(id(0), false);
        world.run(GRACE + SEC * 2);
        assert!(world.gated, "nobody confirms it any more");
        world.set_p2p(id(0), true);
        world.mine();
        world.run(SEC);
        assert!(world.gated, "what was given up begins again with a template alone");
    }
}

#[test]
fn a_tip_by_p2p_is_followed_beside_the_old_one_and_never_below_it_while_no_rpc_answers() {
    let mut world = settled(1);
    let parent = world.best();
    world.mine();
    world.run(SEC);
    world.sim(id(0)).mode = Mode::Errors(RpcError::Http(500));
    world.run(SEC * 30);
    world.log.clear();
    world.sim(id(0)).p2p = true;
    // Its owner calls back a block.
    world.set_tip(id(0), parent);
    assert!(world.when(is_empty_job).is_empty());
    assert_eq!(world.failover.carried_by_p2p(), None);
    world.run(SEC);
    let beside = world.mine_on(parent);
    world.set_tip(id(0), beside);
    assert_eq!(world.when(is_empty_job).len(), 1);
    world.run(GRACE * 2);
    assert_eq!(world.failover.carried_by_p2p(), Some(id(0)));
    assert!(!world.gated);
}

#[test]
fn an_empty_job_from_before_rpc_failed_is_not_made_again_and_the_next_one_follows_it() {
    let mut world = silent(1);
    world.sim(id(0)).template_takes = MS * 400;
    world.set_p2p(id(0), true);
    world.run(SEC * 200);
    world.log.clear();
    world.mine();
    assert_eq!(world.when(is_empty_job).len(), 1);
    world.sim(id(0)).mode = Mode::Errors(RpcError::Http(500));
    world.run(GRACE * 2);
    assert_eq!(standing(&world, id(0)), Standing::Down);
    assert_eq!(world.when(is_empty_job).len(), 1, "its height would be one too many");
    assert!(!world.gated, "the node has confirmed that tip by P2P all the time");
    let mined = world.age();
    world.mine();
    assert_eq!(world.when(is_empty_job)[1..], [mined]);
    assert!(world.when(fetches(id(0))).iter().all(|at| *at < mined), "{:?}", world.log);
}

#[test]
fn without_rpc_no_job_crosses_a_change_of_the_target() {
    let mut world = World::new(1);
    world.blocks[0].height = 2013;
    world.set_p2p(id(0), true);
    world.run(SEC * 20);
    world.sim(id(0)).mode = Mode::Errors(RpcError::Http(500));
    world.run(SEC * 30);
    world.log.clear();
    world.mine();
    assert_eq!(world.when(is_empty_job).len(), 1, "block 2015");
    // What the job of block 2016 must look like only a template tells, and so what follows it.
    for _ in 0..3 {
        world.mine();
        world.run(SEC * 20);
    }
    assert_eq!(world.when(is_empty_job).len(), 1);
    world.run(GRACE);
    assert!(world.gated, "nobody confirms the tip of the last job any more");
}

fn is_empty_job(output: &Output) -> bool {
    matches!(output, Output::EmptyJob { .. })
}

// -- the page --

#[test]
fn statistics_count_by_method_and_kind() {
    let mut world = settled(2);
    world.sim(id(1)).mode = Mode::Errors(RpcError::ForbiddenAddress { ours: None });
    world.run(SEC * 10);
    let view = world.failover.nodes(world.now).nth(1).unwrap();
    let polls = &view.stats[&Method::GetBestBlockHash];
    assert!(polls.successes > 10 && polls.latency.cumulated().next().unwrap().1 == polls.successes);
    assert_eq!(polls.errors[ErrorKind::Auth as usize], polls.failures());
    assert!(polls.failures() >= 2);
    assert_eq!(view.last_error.unwrap().0, &RpcError::ForbiddenAddress { ours: None });
    assert_eq!(view.standing, &Standing::Down);
    assert_eq!(
        world.failover.states(),
        "n0 is fit; n1 cannot be used (it does not answer callers from this machine's address (HTTP 403))"
    );
    assert!(view.hint.unwrap().contains("rpcallowip"));
}

// -- what a node lets us do --

/// The event names the method and brings the line for bitcoin.conf.
fn forbidden_events(world: &World) -> Vec<String> {
    world.events("node-forbids").iter().map(ToString::to_string).collect()
}

#[test]
fn a_node_that_would_not_take_our_block_does_not_lead_beside_one_that_would() {
    let mut world = World::new(2);
    world.sim(id(0)).forbidden = vec![Command::SubmitBlock];
    world.run(SEC * 20);
    assert_eq!(world.leader, Some(id(1)));
    let words = "does not let us call submitblock".to_owned();
    assert_eq!(standing(&world, id(0)), Standing::Forbidden(words.clone()));
    let (last, why) = world.lead_reasons().pop().unwrap();
    // It may have led for the moment until it was asked.
    assert!(
        last == id(1) && matches!(why, LeadWhy::First | LeadWhy::Unfit(Standing::Forbidden(_))),
        "{why}"
    );
    assert!(*world.when(leads(id(1))).last().unwrap() < MS * 200);
    assert_eq!(world.failover.states(), "n0 does not let us call submitblock; n1 is fit");
    let events = forbidden_events(&world);
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert!(event.starts_with("Node n0 does not let us call submitblock: a block that"), "{event}");
    assert!(event.contains("rpcwhitelist=anna:getblocktemplate,submitblock,"), "{event}");

    // It is heard of within a minute that the owner has mended it, and it leads again.
    world.log.clear();
    world.sim(id(0)).forbidden.clear();
    world.run(PERMISSIONS_EVERY + STEADY + SEC * 3);
    assert_eq!(world.leader, Some(id(0)));
    assert_eq!(world.events("node-permits").len(), 1);
    assert!(are_all_well(&world), "{}", world.failover.states());
}

#[test]
fn the_only_node_leads_although_it_would_not_take_our_block() {
    let mut world = World::new(1);
    world.sim(id(0)).forbidden = vec![Command::SubmitBlock];
    world.run(SEC * 20);
    assert_eq!(world.leader, Some(id(0)));
    assert!(!world.gated, "the owner can mend it while the miners go on");
    assert_eq!(world.failover.states(), "n0 does not let us call submitblock");
    // New tips are served as by any other, and so long that they begin with an empty job.
    world.sim(id(0)).template_takes = MS * 200;
    for _ in 0..8 {
        world.run(SEC * 20);
        world.mine();
    }
    world.run(SEC * 5);
    assert_eq!(world.served.map(|(tip, _)| tip), Some(world.best()));
    assert!(!world.when(|output| matches!(output, Output::EmptyJob { .. })).is_empty());
    assert_eq!(forbidden_events(&world).len(), 1, "said once");
}

#[test]
fn a_node_that_lacks_blocks_is_no_better_than_one_that_would_not_take_ours() {
    let mut world = settled(2);
    world.sim(id(1)).forbidden = vec![Command::SubmitBlock];
    world.hand_in(Input::CheckPermissions);
    world.run(PERMISSIONS_EVERY + SEC);
    world.sim(id(0)).stuck = true;
    world.mine();
    world.run(SEC * 20);
    // The block that is solved now goes to both, and the first takes it when it has caught up.
    assert_eq!(world.leader, Some(id(1)));
    world.sim(id(0)).stuck = false;
    let best = world.best();
    world.give(id(0), best);
    world.run(SEC * 10);
    assert_eq!(world.leader, Some(id(0)));
}

#[test]
fn what_mining_does_not_need_moves_nothing_and_is_told_once() {
    let mut world = settled(2);
    let before = world.leader;
    world.sim(id(0)).forbidden = vec![Command::PreciousBlock, Command::GetNetworkInfo];
    for _ in 0..5 {
        world.hand_in(Input::CheckPermissions);
        world.run(PERMISSIONS_EVERY);
    }
    assert_eq!((world.leader, standing(&world, id(0))), (before, Standing::Healthy));
    assert!(are_all_well(&world), "{}", world.failover.states());
    let told = world.events("node-forbids-some");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].to_string().contains("getnetworkinfo and preciousblock"), "{}", told[0]);
    assert!(forbidden_events(&world).is_empty());
}

#[test]
fn a_node_is_asked_what_it_permits_at_its_start_after_breaks_and_with_rehearsals() {
    let questions = |world: &World| {
        world.when(|output| matches!(output, Output::Ask { node, ask: Ask::Permissions } if *node == id(0)))
    };
    let mut world = World::new(2);
    world.run(SEC * 300);
    assert_eq!(questions(&world).len(), 1, "once, if nothing happens");
    assert!(questions(&world)[0] < MS * 100);
    for _ in 0..60 {
        world.hand_in(Input::CheckPermissions);
        world.run(SEC * 5);
    }
    let count = questions(&world).len();
    assert!((5..=7).contains(&count), "at most once a minute with rehearsals: {count}");
    // It is away for moments, so that no breaker opens: it may have another configuration since.
    world.run(PERMISSIONS_EVERY * 2);
    let before = questions(&world).len();
    world.kill(id(0));
    world.run(SEC * 2);
    world.revive(id(0));
    let back = world.age();
    world.run(SEC * 10);
    let after = questions(&world);
    assert_eq!(after.len(), before + 1);
    assert!(after[before] - back < FIRST_WAIT + SEC, "{:?}", after[before] - back);
    // A call that is forbidden all at once.
    world.run(PERMISSIONS_EVERY * 2);
    let before = questions(&world).len();
    world.sim(id(0)).template_error = Some(RpcError::Forbidden { method: "getblocktemplate" });
    world.sim(id(0)).forbidden = vec![Command::GetBlockTemplate];
    world.run(SEC * 60);
    assert!(questions(&world).len() > before);
    assert_eq!(world.leader, Some(id(1)));
    assert_eq!(standing(&world, id(0)), Standing::NoTemplate);
    assert_eq!(world.failover.states(), "n0 does not let us call getblocktemplate; n1 is fit");
    let view = world.failover.nodes(world.now).next().unwrap();
    assert_eq!(view.hint, None, "the advice about passwords and addresses is not for it");
}
