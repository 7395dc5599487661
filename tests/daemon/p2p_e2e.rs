//! The second road: a solved block and the news of tips by a node's P2P port, under the whole program.
//! The faults are at RPC, in a proxy before a real node: bcoin always, Bitcoin Core where `BITCOIND`
//! names its binary.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
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
        let entry = node_entries(&[NodeConfig { zmq_hashblock: None, ..config }]);
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
