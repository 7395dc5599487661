//! The second road: a solved block and the news of tips by a node's P2P port, under the whole program.
//! The faults are at RPC, in a proxy before a real node: bcoin always, Bitcoin Core where `BITCOIND`
//! names its binary.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use soloist::rpc::NodeConfig;

use crate::common::daemon::{Daemon, Miner, node_entries};
use crate::common::fault::{Fault, FaultProxy};
use crate::common::node::{Kind, RealNode};
use crate::common::{free_port, wait_for};

/// A real node that listens, with a proxy before its RPC.
struct Node {
    node: RealNode,
    proxy: FaultProxy,
}

impl Node {
    /// One of each kind that this machine has.
    fn all() -> Vec<Node> {
        let listening = RealNode::all_listening().into_iter();
        listening
            .map(|node| {
                // bcoin has segwit from 432 on.
                node.generate(if node.kind == Kind::Bcoin { 440 } else { 10 });
                Node { proxy: FaultProxy::start(node.address()), node }
            })
            .collect()
    }

    /// Its part of the config, without ZMQ.
    fn entry(&self, p2p: SocketAddr) -> String {
        let config = self.node.config_through(self.proxy.address());
        let entry = node_entries(&[NodeConfig { zmq: None, ..config }]);
        entry.replace("p2p_addr = \"off\"", &format!("p2p_addr = \"{p2p}\""))
    }

    /// The daemon with this node alone, once a block can reach it both ways.
    fn daemon(&self) -> Daemon {
        let daemon = Daemon::start(&self.entry(self.node.p2p_address()));
        daemon.wait_ready();
        p2p_is(&daemon, "own");
        daemon
    }
}

/// The node's P2P port as the page shows it, once it is in this state.
fn p2p_is(daemon: &Daemon, state: &str) -> Value {
    wait_for(&format!("the P2P port to be {state}"), || {
        let view = daemon.get("/api/nodes")?["nodes"][0]["p2p"].clone();
        (view["state"] == state).then_some(view)
    })
}

fn faults() -> Vec<(&'static str, Fault)> {
    vec![
        ("hangs", Fault::Hang),
        ("answers 403", Fault::forbidden_address()),
        ("answers 503", Fault::queue_full()),
        ("answers 500", Fault::http(500, "")),
        ("refuses connections", Fault::Refuse),
    ]
}

/// Two trials for each fault, twenty with `SOLOIST_LONG=1`. The first comes before the fault is noticed,
/// the others on jobs that no RPC has brought.
#[test]
fn a_block_reaches_the_only_node_by_p2p_while_its_rpc_is_away() {
    let trials = if std::env::var_os("SOLOIST_LONG").is_some() { 20 } else { 2 };
    for node in Node::all() {
        let daemon = node.daemon();
        let mut miner = Miner::connect(daemon.stratum, "test", "anna");
        for (words, fault) in faults() {
            node.proxy.set(fault);
            let (mut arrivals, mut acceptances) = (Vec::new(), Vec::new());
            for _ in 0..trials {
                let (share, hash) = miner.solve();
                let began = Instant::now();
                let answer = miner.call("mining.submit", share);
                assert_eq!(answer["result"], true);
                wait_for("the node to have it", || {
                    (node.node.tip().to_string() == hash).then_some(())
                });
                arrivals.push(began.elapsed().as_secs_f64() * 1e3);
                // The miner goes on with the block after it.
                miner.wait_new_tip();
                let block = wait_for("it to be accepted", || {
                    let block = daemon.blocks().into_iter().find(|block| block["hash"] == *hash)?;
                    (block["state"] == "accepted").then_some(block)
                });
                let answer = &block["answers"][0];
                assert!(answer["p2p_after_ms"].is_number() && answer["taken"] == true, "{block}");
                acceptances.push(block["accepted_after_ms"].as_f64().unwrap());
            }
            println!(
                "{:?}, RPC {words}: share to the node's tip {}, as the daemon knows it {}",
                node.node.kind,
                median_and_maximum(arrivals),
                median_and_maximum(acceptances)
            );
            node.proxy.set(Fault::Pass);
            wait_for("the node to lead again", || {
                (daemon.get("/api/nodes")?["nodes"][0]["state"] == "leading").then_some(())
            });
        }
        let log = daemon.log();
        assert!(log.contains("it came by its P2P port"), "the race is told");
    }
}

/// One RPC thread and one place to wait for it, and others who want both: the node itself says 503.
#[test]
fn a_block_reaches_a_node_that_is_really_overloaded() {
    let few = ["-rpcthreads=1", "-rpcworkqueue=1"];
    let Some(node) = RealNode::core_listening_with(&few) else { return };
    node.generate(10);
    let node = Node { proxy: FaultProxy::start(node.address()), node };
    let daemon = node.daemon();
    let mut miner = Miner::connect(daemon.stratum, "test", "anna");
    let (is_over, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    let wait = node.node.try_call("waitfornewblock", serde_json::json!([500]));
                    refused.fetch_add(usize::from(wait.is_err()), Relaxed);
                }
            });
        }
        let mut arrivals = Vec::new();
        for _ in 0..5 {
            thread::sleep(Duration::from_secs(1));
            let (share, hash) = miner.solve();
            let began = Instant::now();
            assert_eq!(miner.call("mining.submit", share)["result"], true);
            wait_for("it to be accepted", || {
                let block = daemon.blocks().into_iter().find(|block| block["hash"] == *hash)?;
                (block["state"] == "accepted").then_some(())
            });
            arrivals.push(began.elapsed().as_secs_f64() * 1e3);
            miner.wait_new_tip();
        }
        is_over.store(true, Relaxed);
        let refused = refused.load(Relaxed);
        assert!(refused > 10, "the node is not overloaded: {refused}");
        println!(
            "Core overloaded ({refused} calls of others refused): share to accepted {}",
            median_and_maximum(arrivals)
        );
    });
}

/// The height in a job's coinbase (BIP 34), and its tip, as a miner is told them.
fn height_and_tip(job: &Value) -> (u64, String) {
    let coinbase = job[2].as_str().unwrap();
    // Version, one input of nothing, the script's length; then the height.
    let script = &coinbase[2 * (4 + 1 + 36 + 1)..];
    let byte = |at: usize| u64::from_str_radix(&script[2 * at..2 * at + 2], 16).unwrap();
    let height = match byte(0) {
        small @ 0x51..=0x60 => small - 0x50,
        length => (1..=length as usize).rev().fold(0, |height, at| height << 8 | byte(at)),
    };
    let tip: Vec<u8> = (0..32)
        .map(|at| u8::from_str_radix(&job[1].as_str().unwrap()[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    // Words of four bytes, each turned round; as a number it is told from its end.
    let tip: Vec<String> = tip.chunks(4).rev().flatten().map(|b| format!("{b:02x}")).collect();
    (height, tip.concat())
}

/// `invalidateblock`, `reconsiderblock` and `preciousblock` move the tip without one block more: every job of
/// every miner has the height that its own tip gives. Five rounds of four moves, twenty with
/// `SOLOIST_LONG=1`.
#[test]
fn the_height_of_a_job_is_right_when_the_tip_moves_without_a_new_block() {
    let rounds = if std::env::var_os("SOLOIST_LONG").is_some() { 20 } else { 5 };
    let Some(node) = RealNode::core_listening_with(&[]) else { return };
    node.generate(10);
    let node = Node { proxy: FaultProxy::start(node.address()), node };
    let daemon = node.daemon();
    let mut miner = Miner::connect(daemon.stratum, "test", "anna");
    let (mut jobs, mut empty) = (0, 0);
    for _ in 0..rounds {
        let first = node.node.generate(1)[0].to_string();
        let call = |method: &str, block: &str| node.node.call(method, serde_json::json!([block]));
        // One more block with a rival of the same height, which the node then prefers, and back.
        call("invalidateblock", &first);
        let other = serde_json::json!([1, node.node.payout(9)]);
        let second = node.node.call("generatetoaddress", other)[0].as_str().unwrap().to_owned();
        call("reconsiderblock", &first);
        call("preciousblock", &first);
        call("preciousblock", &second);
        call("preciousblock", &first);
        let tip = node.node.tip().to_string();
        assert_eq!(tip, first);
        loop {
            let (height, parent) = height_and_tip(&miner.job);
            let header = call("getblockheader", &parent);
            assert_eq!(height, header["height"].as_u64().unwrap() + 1, "a job on {parent}");
            jobs += 1;
            empty += usize::from(miner.job[4].as_array().unwrap().is_empty());
            if parent == tip {
                break;
            }
            miner.wait_job();
        }
    }
    println!(
        "{jobs} jobs after {rounds} rounds, {empty} without transactions: all heights are right"
    );
    let (answer, hash) = miner.mine();
    assert_eq!(answer["result"], true);
    wait_for("the node to have it", || (node.node.tip().to_string() == hash).then_some(()));
}

fn median_and_maximum(mut ms: Vec<f64>) -> String {
    ms.sort_by(f64::total_cmp);
    format!("{:.1} ms (at most {:.1}, {} trials)", ms[ms.len() / 2], ms[ms.len() - 1], ms.len())
}

#[test]
fn new_tips_are_heard_by_p2p_and_the_work_goes_on_without_rpc() {
    for node in Node::all() {
        let daemon = node.daemon();
        let mut miner = Miner::connect(daemon.stratum, "test", "anna");
        let mut tip = |how: &str| {
            let hash = node.node.generate(1)[0];
            miner.wait_new_tip();
            let height = wait_for(how, || {
                let job = daemon.status()?["job"].clone();
                (job["parent"] == hash.to_string()).then(|| job["height"].clone())
            });
            assert_eq!(height, node.node.height() + 1, "{how}");
        };
        tip("a tip");
        let news = &daemon.get("/api/nodes").unwrap()["nodes"][0]["news"];
        assert_eq!(news, "p2p");
        node.proxy.set(Fault::Hang);
        (0..3).for_each(|_| tip("a tip while RPC hangs"));
        thread::sleep(Duration::from_secs(12));
        (0..3).for_each(|_| tip("a tip while RPC is given up"));
        let (answer, hash) = miner.mine();
        assert_eq!(answer["result"], true);
        wait_for("the node to have it", || (node.node.tip().to_string() == hash).then_some(()));
    }
}

#[test]
fn a_node_that_is_started_anew_takes_the_block_by_p2p_before_its_rpc_is_there() {
    for mut node in Node::all() {
        let daemon = node.daemon();
        let mut miner = Miner::connect(daemon.stratum, "test", "anna");
        if node.node.kind == Kind::Core {
            // Writes the chain state out.
            node.node.call("gettxoutsetinfo", serde_json::json!([]));
        }
        node.node.kill();
        node.proxy.set(Fault::Hang);
        let (answer, hash) = miner.mine();
        assert_eq!(answer["result"], true);
        p2p_is(&daemon, "down");
        node.node.launch();
        wait_for("the node to have it", || (node.node.tip().to_string() == hash).then_some(()));
        wait_for("it to be accepted", || {
            let block = daemon.blocks().into_iter().find(|block| block["hash"] == *hash)?;
            (block["state"] == "accepted").then_some(())
        });
    }
}

#[test]
fn another_node_at_the_p2p_port_is_named_and_not_believed() {
    let (Some(ours), Some(other)) = (Node::all().pop(), Node::all().pop()) else { return };
    let daemon = Daemon::start(&ours.entry(other.node.p2p_address()));
    daemon.wait_ready();
    p2p_is(&daemon, "other");
    assert!(daemon.text("/").contains("it may be another node's"));
    let job = || daemon.status().unwrap()["job"]["height"].clone();
    let before = job();
    other.node.generate(5);
    thread::sleep(Duration::from_secs(2));
    assert_eq!(job(), before);
}

#[test]
fn a_p2p_port_that_is_of_no_use_costs_nothing_and_is_said_once() {
    let Some(node) = Node::all().pop() else { return };
    let web = FaultProxy::answering(Fault::web_page());
    let closed = SocketAddr::from(([127, 0, 0, 1], free_port()));
    for (address, words) in [
        (closed, "it refuses connections"),
        (node.node.address(), "what says is no Bitcoin P2P"),
        (web.address(), "what says is no Bitcoin P2P"),
    ] {
        let daemon = Daemon::start(&node.entry(address));
        daemon.wait_ready();
        let why = p2p_is(&daemon, "down")["why"].as_str().unwrap().to_owned();
        println!("{address}: {why}");
        let mut miner = Miner::connect(daemon.stratum, "test", "anna");
        assert_eq!(miner.mine_and_go_on().0["result"], true);
        thread::sleep(Duration::from_secs(5));
        let told = daemon.log().matches("Blocks reach the node by RPC alone").count();
        assert_eq!(told, 1, "{words}");
    }
}
