//! Nodes of strangers, under the whole program: an own node that is away, or behind, and another real node
//! outside. The own one is bcoin or, where `BITCOIND` names its binary, Bitcoin Core; so is the outside one.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use soloist::rpc::NodeConfig;

use crate::common::daemon::{Daemon, Miner, node_entries};
use crate::common::fault::{Fault, FaultProxy};
use crate::common::node::{Kind, RealNode};
use crate::common::{free_port, wait_for};

/// The house's node, whose RPC is behind a proxy and whose P2P port is off, and a stranger's.
struct World {
    own: RealNode,
    proxy: FaultProxy,
    stranger: RealNode,
}

impl World {
    /// One with each kind of node that this machine has, both on the same tip.
    fn all() -> Vec<World> {
        let pairs = RealNode::all_listening().into_iter().zip(RealNode::all_listening());
        pairs
            .map(|(own, stranger)| {
                // bcoin has segwit from 432 on.
                let height = if own.kind == Kind::Bcoin { 440 } else { 10 };
                own.generate(height);
                stranger.learn_from(&own, height.into());
                World { proxy: FaultProxy::start(own.address()), own, stranger }
            })
            .collect()
    }

    fn config(&self, outside: &str, peers: &[SocketAddr]) -> String {
        let config = self.own.config_through(self.proxy.address());
        let entry = node_entries(&[NodeConfig { zmq: None, ..config }]);
        let peers: Vec<String> = peers.iter().map(|peer| format!("\"{peer}\"")).collect();
        format!("{entry}\n[p2p]\noutside = \"{outside}\"\npeers = [{}]\n", peers.join(", "))
    }

    fn daemon(&self, outside: &str) -> Daemon {
        let daemon = Daemon::start(&self.config(outside, &[self.stranger.p2p_address()]));
        daemon.wait_ready();
        daemon
    }

    /// The own node is back, and has what the stranger has.
    fn come_back(&self) {
        self.own.learn_from(&self.stranger, self.stranger.height());
        self.proxy.set(Fault::Pass);
    }
}

fn outside(daemon: &Daemon) -> Option<Value> {
    Some(daemon.get("/api/nodes")?["outside"].clone())
}

/// Until the daemon knows of a connected outside node that it is at this height.
fn wait_watched(daemon: &Daemon, height: u64) {
    wait_for("an outside node to be watched", || {
        (outside(daemon)?["connections"][0]["height"] == height).then_some(())
    });
}

fn block(daemon: &Daemon, hash: &str) -> Option<Value> {
    daemon.blocks().into_iter().find(|block| block["hash"] == *hash)
}

fn trials() -> usize {
    if std::env::var_os("SOLOIST_LONG").is_some() { 20 } else { 2 }
}

/// The time from the share to the stranger's tip, while the own node is away. Two trials, twenty with
/// `SOLOIST_LONG=1`.
fn shares_to_the_strangers_tip(world: &World, mode: &str) -> Vec<f64> {
    let daemon = world.daemon(mode);
    let mut miner = Miner::connect(daemon.stratum, "test", "anna");
    let mut arrivals = Vec::new();
    for _ in 0..trials() {
        if mode == "watch" {
            wait_watched(&daemon, world.own.height());
        }
        world.proxy.set(Fault::Refuse);
        let (share, hash) = miner.solve();
        let began = Instant::now();
        assert_eq!(miner.call("mining.submit", share)["result"], true);
        wait_for("the stranger to have it", || {
            (world.stranger.tip().to_string() == hash).then_some(())
        });
        arrivals.push(began.elapsed().as_secs_f64() * 1e3);
        let taken = wait_for("the page to know it", || {
            let block = block(&daemon, &hash)?;
            (block["outside"]["shown"] == 1).then_some(block)
        });
        assert_eq!(taken["state"], "candidate", "no own node has it");
        world.come_back();
        wait_for("it to be accepted", || {
            (block(&daemon, &hash)?["state"] == "accepted").then_some(())
        });
        miner.wait_new_tip();
    }
    if mode == "block" {
        wait_for("strangers to be left alone", || {
            (outside(&daemon)?["connections"] == serde_json::json!([])).then_some(())
        });
    }
    arrivals
}

fn print(world: &World, mode: &str, mut ms: Vec<f64>) {
    ms.sort_by(f64::total_cmp);
    println!(
        "{:?}, own node away, outside = {mode:?}: share to the stranger's tip {:.1} ms (at most \
         {:.1}, {} trials)",
        world.stranger.kind,
        ms[ms.len() / 2],
        ms[ms.len() - 1],
        ms.len()
    );
}

#[test]
fn a_block_reaches_a_watched_stranger_at_once_when_the_own_node_is_away() {
    for world in World::all() {
        print(&world, "watch", shares_to_the_strangers_tip(&world, "watch"));
    }
}

#[test]
fn a_block_reaches_a_stranger_after_two_seconds_when_the_own_node_is_away() {
    for world in World::all() {
        let ms = shares_to_the_strangers_tip(&world, "block");
        assert!(ms.iter().all(|ms| *ms >= 2000.0), "own nodes have their time: {ms:?}");
        print(&world, "block", ms);
    }
}

#[test]
fn a_node_that_stands_still_is_told_with_heights_and_never_followed_by_the_jobs() {
    for world in World::all() {
        let daemon = world.daemon("watch");
        let height = world.own.height();
        wait_watched(&daemon, height);
        world.stranger.generate(4);
        wait_watched(&daemon, height + 4);
        let alarm = |id: &str| {
            let alarms = daemon.status()?["alarms"].clone();
            alarms.as_array()?.iter().find(|alarm| alarm["id"] == id).cloned()
        };
        assert_eq!(alarm("behind_world"), None, "a minute must pass");
        let began = Instant::now();
        let told = loop {
            match alarm("behind_world") {
                Some(told) => break told,
                None => assert!(began.elapsed() < Duration::from_secs(90), "it is never told"),
            }
            thread::sleep(Duration::from_millis(200));
        };
        assert!(began.elapsed() > Duration::from_secs(55), "{:?}", began.elapsed());
        let text = told["text"].as_str().unwrap();
        println!("{text}");
        assert!(text.contains(&format!("standing at block {height} for")), "{text}");
        assert!(text.contains(&format!("the network is at {}", height + 4)), "{text}");
        assert_eq!(daemon.status().unwrap()["job"]["height"], height + 1, "never mined on");
        world.come_back();
        wait_for("the alarm to end", || alarm("behind_world").is_none().then_some(()));
        assert!(daemon.log().contains("Your nodes have caught up with block"));
    }
}

/// A stranger that accepts connections and does something to them.
fn stranger(serve: impl Fn(std::net::TcpStream) + Send + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

#[test]
fn strangers_that_are_silent_mad_or_gone_cost_a_block_nothing() {
    let Some(world) = World::all().pop() else { return };
    let silent = stranger(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let mad = stranger(|mut stream| while stream.write_all(&[0x5a; 4096]).is_ok() {});
    let hangs_up = stranger(drop);
    let gone = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let peers = [silent, mad, hangs_up, gone, world.stranger.p2p_address()];
    let daemon = Daemon::start(&world.config("block", &peers));
    daemon.wait_ready();
    let mut miner = Miner::connect(daemon.stratum, "test", "anna");
    world.proxy.set(Fault::Refuse);
    let (answer, hash) = miner.mine();
    assert_eq!(answer["result"], true);
    wait_for("the stranger to have it", || {
        (world.stranger.tip().to_string() == hash).then_some(())
    });
    // The silent one holds its place no longer than a handshake may take.
    let address = silent.to_string();
    let is_kept = || {
        let connections = outside(&daemon).unwrap()["connections"].clone();
        connections.as_array().unwrap().iter().any(|kept| kept["address"] == address)
    };
    let began = Instant::now();
    while is_kept() {
        assert!(began.elapsed() < Duration::from_secs(20), "it holds a connection");
        thread::sleep(Duration::from_millis(100));
    }
    world.come_back();
    wait_for("it to be accepted", || (block(&daemon, &hash)?["state"] == "accepted").then_some(()));
}
