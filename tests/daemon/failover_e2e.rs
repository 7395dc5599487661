//! Nodes that die, freeze, lag and come back, under the whole program with a miner connected. Real
//! nodes: two of Bitcoin Core where `BITCOIND` names its binary, else two of bcoin. The figures are
//! printed; a few trials each, and twenty with `SOLOIST_LONG=1`. With `SOLOIST_BIN` it is another
//! build's: tests/load/README.md compares two.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::daemon::{Daemon, Miner, node_entries};
use crate::common::fault::{Fault, FaultProxy};
use crate::common::node::{Kind, RealNode};
use crate::common::wait_for;

fn trials(few: usize) -> usize {
    if std::env::var_os("SOLOIST_LONG").is_some() { 20 } else { few }
}

/// Two nodes of one kind with the same chain, segwit active.
fn pair() -> Option<[RealNode; 2]> {
    let start = || RealNode::core().or_else(RealNode::bcoin);
    let (first, second) = (start()?, start()?);
    first.generate(if first.kind == Kind::Bcoin { 440 } else { 2 });
    follow(&second, &first);
    Some([first, second])
}

/// Hands over the blocks that `node` lacks.
fn follow(node: &RealNode, other: &RealNode) {
    for height in node.height() + 1..=other.height() {
        let hash = other.call("getblockhash", serde_json::json!([height]));
        let block = other.call("getblock", serde_json::json!([hash, 0]));
        node.call("submitblock", serde_json::json!([block]));
    }
    assert_eq!(node.tip(), other.tip());
}

fn leader(daemon: &Daemon) -> Option<String> {
    let nodes = daemon.get("/api/nodes")?;
    let nodes = nodes["nodes"].as_array()?;
    let leader = nodes.iter().find(|node| node["state"] == "leading")?;
    Some(leader["name"].as_str()?.to_string())
}

fn job_node(daemon: &Daemon) -> Option<String> {
    Some(daemon.status()?["job"]["node"].as_str()?.to_string())
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{what}: median {median:.2?}, at most {most:.2?} ({} trials)", times.len());
}

/// The process ends at once; what it had told us of is on its disk, as it would be on a node that
/// has run for longer than these tests.
fn kill(node: &mut RealNode) {
    if node.kind == Kind::Core {
        // Writes the chain state out.
        node.call("gettxoutsetinfo", serde_json::json!([]));
    }
    node.kill();
}

/// From the leader's death to the first job of the other node; then back to the first.
fn leader_falls(how: &str, fall: impl Fn(&mut RealNode), rise: impl Fn(&mut RealNode)) {
    let Some([mut first, second]) = pair() else { return };
    let mut daemon = Daemon::start(&node_entries(&[first.config(), second.config()]));
    daemon.wait_ready();
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    let (mut away, mut back) = (Vec::new(), Vec::new());
    for _ in 0..trials(2) {
        wait_for("the first node to lead", || {
            (job_node(&daemon)? == first.config().name).then_some(())
        });
        // Its answer comes after all jobs that were sent before.
        miner.call("mining.ping", serde_json::json!([]));
        fall(&mut first);
        let fell = Instant::now();
        // The page is up to a second old: the job that came is looked at until it is shown.
        miner.wait_job();
        let took = fell.elapsed();
        wait_for("the job to be the other node's", || {
            (job_node(&daemon)? == second.config().name).then_some(())
        });
        assert!(fell.elapsed() < took + Duration::from_secs(10), "it was another job");
        away.push(took);
        // A block at this moment is a block of the other node's chain.
        let (answer, hash) = miner.mine();
        assert_eq!(answer["result"], true, "{answer}");
        wait_for("the other node to have it", || (second.tip().to_string() == hash).then_some(()));
        miner.wait_new_tip();
        rise(&mut first);
        let rose = Instant::now();
        // It has not caught up: it must not lead.
        std::thread::sleep(Duration::from_secs(2));
        if first.height() < second.height() {
            assert_eq!(leader(&daemon), Some(second.config().name));
        }
        wait_for("the first node to know the chain", || {
            follow(&first, &second);
            Some(())
        });
        let caught_up = Instant::now();
        wait_for("the first node to lead again", || {
            (leader(&daemon)? == first.config().name).then_some(())
        });
        back.push(caught_up.elapsed());
        assert!(rose.elapsed() >= caught_up.elapsed());
    }
    print(&format!("{:?}: leader {how} → job of the backup", first.kind), away);
    print(&format!("{:?}: recovered → it leads again", first.kind), back);
    assert!(daemon.is_running());
    assert!(!daemon.log().contains("panicked"));
}

#[test]
fn the_leader_is_killed() {
    leader_falls("killed", kill, RealNode::launch);
}

#[test]
fn the_leader_is_frozen() {
    leader_falls("frozen (SIGSTOP)", |node| node.freeze(), |node| node.thaw());
}

#[test]
fn a_block_that_is_solved_when_nodes_are_dead_reaches_the_chain() {
    let Some([mut first, mut second]) = pair() else { return };
    let daemon = Daemon::start(&node_entries(&[first.config(), second.config()]));
    daemon.wait_ready();
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    let (mut one_dead, mut all_dead) = (Vec::new(), Vec::new());
    for _ in 0..trials(2) {
        let (share, hash) = miner.solve();
        kill(&mut first);
        let solved = Instant::now();
        assert_eq!(miner.call("mining.submit", share)["result"], true);
        wait_for("the other node to have the block", || {
            (second.tip().to_string() == hash).then_some(())
        });
        one_dead.push(solved.elapsed());
        miner.wait_new_tip();

        let (share, hash) = miner.solve();
        kill(&mut second);
        assert_eq!(miner.call("mining.submit", share)["result"], true);
        second.launch();
        let returned = Instant::now();
        wait_for("the block to be on its chain", || {
            (second.tip().to_string() == hash).then_some(())
        });
        all_dead.push(returned.elapsed());
        first.launch();
        follow(&first, &second);
        miner.wait_new_tip();
    }
    print("leader dead: solved → on the other node's chain", one_dead);
    print("all nodes dead: first node answers → the block is on its chain", all_dead);
}

#[test]
fn a_block_that_is_solved_when_the_leader_answers_500_or_hangs_reaches_the_chain() {
    let Some([first, second]) = pair() else { return };
    let proxy = FaultProxy::start(first.address());
    let config = first.config_through(proxy.address());
    let daemon = Daemon::start(&node_entries(&[config, second.config()]));
    daemon.wait_ready();
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    for (name, fault) in [("500", Fault::http(500, "")), ("hangs", Fault::Hang)] {
        let mut times = Vec::new();
        for _ in 0..trials(2) {
            let (share, hash) = miner.solve();
            proxy.set(fault.clone());
            let solved = Instant::now();
            assert_eq!(miner.call("mining.submit", share)["result"], true);
            wait_for("the other node to have the block", || {
                (second.tip().to_string() == hash).then_some(())
            });
            times.push(solved.elapsed());
            proxy.set(Fault::Pass);
            follow(&first, &second);
            miner.wait_new_tip();
        }
        print(&format!("leader {name}: solved → on the other node's chain"), times);
    }
}

/// kill -9 of the daemon at various moments after it took the share, with a node that is frozen, so
/// that the block cannot be there yet.
#[test]
fn a_block_survives_the_daemons_death() {
    let Some([node, _]) = pair() else { return };
    let proxy = FaultProxy::start(node.address());
    let mut daemon = Daemon::start(&node_entries(&[node.config_through(proxy.address())]));
    let mut times = Vec::new();
    for trial in 0..trials(4) {
        daemon.wait_ready();
        let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
        let (share, hash) = miner.solve();
        proxy.set(Fault::Hang);
        assert_eq!(miner.call("mining.submit", share)["result"], true);
        std::thread::sleep(Duration::from_millis((trial * 37 % 400) as u64));
        daemon.kill();
        assert_ne!(node.tip().to_string(), hash, "the block was not to be there yet");
        proxy.set(Fault::Pass);
        daemon.launch();
        let started = Instant::now();
        wait_for("the block to reach the chain after the restart", || {
            (node.tip().to_string() == hash).then_some(())
        });
        times.push(started.elapsed());
    }
    print("kill -9 after the share: restart → on the chain", times);
    assert!(daemon.is_running());
}

#[test]
fn a_lagging_node_does_not_lead() {
    let Some([first, second]) = pair() else { return };
    // The preferred node answers quickly and is three blocks behind.
    second.generate(3);
    let daemon = Daemon::start(&node_entries(&[first.config(), second.config()]));
    daemon.wait_ready();
    let name = second.config().name;
    wait_for("the node at the tip to lead", || (leader(&daemon)? == name).then_some(()));
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_secs(20) {
        assert_eq!(leader(&daemon).as_ref(), Some(&name));
        std::thread::sleep(Duration::from_millis(300));
    }
    let nodes = daemon.get("/api/nodes").unwrap();
    let lagging = nodes["nodes"].as_array().unwrap().iter().find(|n| n["name"] != name).unwrap();
    println!("the page says of the lagging node: {}", lagging["why"]);
    assert_eq!(lagging["lag_blocks"], 3);
    follow(&first, &second);
    wait_for("the preferred node to lead", || {
        (leader(&daemon)? == first.config().name).then_some(())
    });
}

#[test]
fn the_page_says_at_once_that_no_node_answers_and_not_after_the_grace() {
    let Some([mut node, _]) = pair() else { return };
    let daemon = Daemon::start(&node_entries(&[node.config()]));
    daemon.wait_ready();
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    wait_for("the miner", || daemon.status().filter(|status| status["miners_connected"] == 1));
    kill(&mut node);
    let killed = Instant::now();
    let status = wait_for("the headline", || {
        let status = daemon.status()?;
        (!status["sentence"].as_str()?.starts_with("Mining")).then_some(status)
    });
    println!("said after {:.1?}: {}", killed.elapsed(), status["sentence"]);
    let sentence = status["sentence"].as_str().unwrap();
    assert!(sentence.contains(" does not answer: nothing listens at its port"), "{sentence}");
    assert!(sentence.contains("The miners have the last job for "), "{sentence}");
    assert_eq!(status["state"], "DOWN");
    assert!(killed.elapsed() < Duration::from_secs(20), "the grace is 90 s");
    assert_eq!(miner.call("mining.ping", serde_json::json!([]))["result"], "pong", "still served");
}

#[test]
fn without_any_node_miners_are_sent_away_and_let_in_again() {
    let Some([mut node, _]) = pair() else { return };
    let daemon = {
        let mut daemon = Daemon::start("");
        daemon.kill();
        daemon.configure(&node_entries(&[node.config()]), "[failover]\ngrace = 5\n");
        daemon.launch();
        daemon
    };
    daemon.wait_ready();
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    kill(&mut node);
    let killed = Instant::now();
    while miner.next_line().is_some() {}
    println!("grace of 5 s: the miner's socket was closed after {:.1?}", killed.elapsed());
    assert!(killed.elapsed() >= Duration::from_secs(4));
    assert!(std::net::TcpStream::connect(daemon.stratum).is_err(), "connections are refused");
    let status: Value = daemon.status().unwrap();
    println!("the page says: {} {}", status["sentence"], status["advice"]);
    assert_eq!(status["state"], "DOWN");
    node.launch();
    let back = Instant::now();
    daemon.wait_ready();
    println!("node answers → miners are let in: {:.1?}", back.elapsed());
    let (answer, _) = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna").mine();
    assert_eq!(answer["result"], true);
}

#[test]
fn a_reload_changes_the_nodes_and_drops_no_miner() {
    let Some([first, second]) = pair() else { return };
    let mut daemon = Daemon::start(&node_entries(&[first.config()]));
    daemon.wait_ready();
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    daemon.configure(&node_entries(&[second.config(), first.config()]), "");
    daemon.signal(Signal::SIGHUP);
    wait_for("the new primary to lead", || {
        (leader(&daemon)? == second.config().name).then_some(())
    });
    // A bad file changes nothing and says why.
    std::fs::write(daemon.config(), "[node]\nrpc_uri = 5\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    wait_for("the log to say what is wrong", || {
        daemon.log().contains("everything stays as it is").then_some(())
    });
    assert_eq!(leader(&daemon), Some(second.config().name));
    daemon.configure(&node_entries(&[second.config()]), "");
    daemon.signal(Signal::SIGHUP);
    wait_for("the other node to be gone", || {
        let nodes = daemon.get("/api/nodes")?;
        (nodes["nodes"].as_array()?.len() == 1).then_some(())
    });
    let (answer, hash) = miner.mine();
    assert_eq!(answer["result"], true);
    wait_for("the node to have the block", || (second.tip().to_string() == hash).then_some(()));
    assert!(daemon.is_running());
}

/// Where templates take long, miners leave the dead tip for an empty block at once, and a block of
/// that is a block.
#[test]
fn an_empty_job_comes_first_where_templates_are_slow() {
    let Some([node, _]) = pair() else { return };
    let Some(zmq) = node.zmq() else {
        println!("bcoin has no ZMQ: the empty job is tried with Bitcoin Core only");
        return;
    };
    let proxy = FaultProxy::start(node.address());
    let slow = Duration::from_millis(300);
    proxy.set(Fault::Delay(slow));
    let config = soloist::rpc::NodeConfig {
        certificate: None,
        zmq: Some(zmq),
        ..node.config_through(proxy.address())
    };
    let daemon = Daemon::start(&node_entries(&[config]));
    daemon.wait_ready();
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    // The rule goes by what templates took lately.
    for _ in 0..5 {
        node.generate(1);
        miner.wait_new_tip();
    }
    let (mut empty, mut full) = (Vec::new(), Vec::new());
    for _ in 0..trials(5) {
        miner.wait_job();
        let asked = Instant::now();
        node.generate(1);
        empty.push(miner.wait_new_tip().duration_since(asked));
        let tip = miner.job[1].clone();
        let (share, hash) = miner.solve();
        miner.wait_job();
        assert_eq!(miner.job[1], tip, "the full template follows on the same tip");
        assert_eq!(miner.job[8], false);
        full.push(asked.elapsed());
        assert_eq!(miner.call("mining.submit", share)["result"], true);
        wait_for("the block of the empty job", || (node.tip().to_string() == hash).then_some(()));
        miner.wait_new_tip();
    }
    let nodes = daemon.get("/api/nodes").unwrap();
    let why = nodes["nodes"][0]["why"].as_str().unwrap();
    assert!(why.contains("empty job first"), "the page shows the rule: {why}");
    print(&format!("templates take {slow:?}: block of another → job on it"), empty);
    print("the same → job with the node's transactions", full);
}

#[test]
fn a_stop_waits_for_a_block_on_its_way() {
    let Some([node, _]) = pair() else { return };
    let proxy = FaultProxy::start(node.address());
    let mut daemon = Daemon::start(&node_entries(&[node.config_through(proxy.address())]));
    daemon.wait_ready();
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    let (share, hash) = miner.solve();
    proxy.set(Fault::Refuse);
    assert_eq!(miner.call("mining.submit", share)["result"], true);
    daemon.signal(Signal::SIGTERM);
    std::thread::sleep(Duration::from_secs(2));
    assert!(daemon.is_running(), "it waits for the block");
    proxy.set(Fault::Pass);
    wait_for("the block", || (node.tip().to_string() == hash).then_some(()));
    wait_for("the daemon to end", || (!daemon.is_running()).then_some(()));
}

#[test]
fn our_block_is_rehearsed_at_every_node() {
    let Some([first, second]) = pair() else { return };
    let daemon = Daemon::start(&node_entries(&[first.config(), second.config()]));
    daemon.wait_ready();
    let rehearsals = wait_for("both verdicts", || {
        let nodes = daemon.get("/api/nodes")?;
        let nodes = nodes["nodes"].as_array()?.clone();
        nodes.iter().all(|node| node["rehearsal"].is_object()).then_some(nodes)
    });
    for node in rehearsals {
        assert_eq!(node["rehearsal"]["refused"], Value::Null, "{node}");
        assert_eq!(node["rehearsal"]["height"], first.height() + 1);
    }
}

#[test]
fn the_last_of_three_nodes_goes_on() {
    let Some([mut first, mut second]) = pair() else { return };
    let third = RealNode::core().or_else(RealNode::bcoin).unwrap();
    follow(&third, &first);
    let configs = [first.config(), second.config(), third.config()];
    let daemon = Daemon::start(&node_entries(&configs));
    daemon.wait_ready();
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    kill(&mut first);
    second.freeze();
    let (answer, hash) = miner.mine();
    assert_eq!(answer["result"], true, "{answer}");
    wait_for("the third node to have the block", || {
        (third.tip().to_string() == hash).then_some(())
    });
    wait_for("the third node to lead", || (leader(&daemon)? == third.config().name).then_some(()));
    miner.wait_new_tip();
    second.thaw();
    // The order is the owner's preference: the second comes back before the third.
    wait_for("the second node to know the block", || {
        (second.tip().to_string() == hash).then_some(())
    });
    wait_for("the second node to lead", || {
        (leader(&daemon)? == second.config().name).then_some(())
    });
    second.kill();
    wait_for("the third node to lead again", || {
        (leader(&daemon)? == third.config().name).then_some(())
    });
    assert_eq!(miner.mine().0["result"], true);
}
