//! The whole program beside real full nodes: a miner's share becomes a block of the node's chain,
//! and nothing that anybody sends keeps it from that. bcoin always, Bitcoin Core where `BITCOIND`
//! names its binary.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::json;

use crate::common::daemon::{Daemon, Miner, PAYOUT, node_entries};
use crate::common::fault::{Fault, FaultProxy};
use crate::common::node::{Kind, RealNode};
use crate::common::wait_for;

/// Nodes with segwit active.
fn nodes() -> Vec<RealNode> {
    let nodes = RealNode::all();
    for node in &nodes {
        node.generate(if node.kind == Kind::Bcoin { 440 } else { 2 });
    }
    nodes
}

#[test]
fn a_miner_finds_blocks_that_the_node_connects_and_a_restart_forgets_nothing() {
    for node in nodes() {
        let mut daemon = Daemon::start(&node_entries(&[node.config()]));
        daemon.wait_ready();
        let start = node.height();
        let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370/v2.13.1", "anna.bitaxe");
        let mut hashes = Vec::new();
        for n in 1..=20 {
            let (answer, hash) = miner.mine();
            assert_eq!(answer["result"], true, "{answer}");
            wait_for("the node to have the block", || {
                (node.tip().to_string() == hash).then_some(())
            });
            assert_eq!(node.height(), start + n);
            hashes.push(hash);
            miner.wait_new_tip();
        }

        // Others' blocks are heard of as well.
        node.generate(1);
        miner.wait_new_tip();

        let status = daemon.status().unwrap();
        assert_eq!(status["payout"]["address"], PAYOUT);
        assert_eq!(status["job"]["outputs"][0]["address"], PAYOUT);
        let all_known = || {
            let blocks = daemon.blocks();
            let accepted = blocks.iter().filter(|block| block["state"] == "accepted").count();
            (blocks.len() == 20 && accepted == 20).then_some(blocks)
        };
        let blocks = wait_for("all blocks to be shown as accepted", all_known);
        assert_eq!(blocks[0]["hash"], *hashes.last().unwrap());
        println!(
            "{:?}: 20 blocks; RSS {} kB (debug build), {} threads",
            node.kind,
            daemon.proc_status("VmRSS:"),
            daemon.proc_status("Threads:")
        );

        drop(miner);
        assert!(daemon.stop().success());
        daemon.launch();
        daemon.wait_ready();
        let restored = wait_for("the ledger to be read", || {
            Some(daemon.blocks()).filter(|blocks| blocks.len() == 20)
        });
        assert_eq!(restored[0]["hash"], *hashes.last().unwrap());
        let miners = daemon.get("/api/miners").unwrap();
        assert_eq!(miners["miners"][0]["name"], "anna.bitaxe", "{miners}");
        assert_eq!(miners["miners"][0]["accepted"], 20, "{miners}");
    }
}

#[test]
fn nothing_that_a_stranger_sends_disturbs_a_miner() {
    let Some(node) = RealNode::bcoin() else { return };
    node.generate(440);
    let mut daemon = Daemon::start(&node_entries(&[node.config()]));
    daemon.wait_ready();
    let mut miner = Miner::connect(daemon.stratum, "NerdMinerV2/V1.8.3", "nerd");
    let endless = vec![b'x'; 1 << 20];
    let nested = "[".repeat(7000);
    let inputs: Vec<(&str, Vec<u8>)> = vec![
        ("1 MB without a line feed", endless),
        ("broken JSON", b"{\"id\":1,\"method\":\n{]}\n\"\\u12\n".repeat(20)),
        ("a browser", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20)),
        ("TLS", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, b'\n']),
        ("nesting", format!("{{\"id\":{nested}\n").into_bytes()),
        ("wrong types", b"{\"id\":{},\"method\":7,\"params\":\"x\"}\n".to_vec()),
        (
            "numbers out of range",
            b"{\"id\":-1e999,\"method\":\"mining.submit\",\"params\":[1e999,-5,18446744073709551616,-1,{}]}\n\
              {\"id\":1,\"method\":\"mining.suggest_difficulty\",\"params\":[-1e308]}\n\
              {\"id\":1,\"method\":\"mining.suggest_difficulty\",\"params\":[1e-308]}\n\
              {\"id\":1,\"method\":\"mining.configure\",\"params\":[[\"version-rolling\"],{\"version-rolling.mask\":\"zz\"}]}\n"
                .to_vec(),
        ),
        ("nothing but NUL", vec![0; 5000]),
    ];
    for (name, bytes) in inputs {
        let mut stranger = TcpStream::connect(daemon.stratum).unwrap();
        stranger.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // The daemon may cut it at any point.
        stranger.write_all(&bytes).ok();
        stranger.shutdown(Shutdown::Write).ok();
        let mut said = Vec::new();
        stranger.read_to_end(&mut said).ok();
        let said = String::from_utf8_lossy(&said);
        println!("{name}: {}", said.lines().next().unwrap_or("(closed without a word)"));
        let (answer, _) = miner.mine();
        assert_eq!(answer["result"], true, "after {name}: {answer}");
        miner.wait_new_tip();
        assert!(daemon.is_running());
    }
    // A miner that closes its half and still wants answers.
    let mut half = TcpStream::connect(daemon.stratum).unwrap();
    half.write_all(b"{\"id\":5,\"method\":\"mining.ping\",\"params\":[]}\n").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    let mut said = String::new();
    half.read_to_string(&mut said).unwrap();
    assert!(said.contains("\"id\":5"), "{said}");
    assert!(!daemon.log().contains("panicked"));
}

#[test]
fn whatever_a_node_answers_the_daemon_lives_and_says_so() {
    let Some(node) = RealNode::bcoin() else { return };
    node.generate(440);
    let proxy = FaultProxy::start(node.address());
    let mut daemon = Daemon::start(&node_entries(&[node.config_through(proxy.address())]));
    daemon.wait_ready();
    let mut miner = Miner::connect(daemon.stratum, "cgminer/4.11.1", "avalon");
    let faults = [
        ("HTML", Fault::http(200, "<html>router login</html>")),
        ("401", Fault::http(401, "")),
        ("500", Fault::http(500, "Internal Server Error")),
        ("-28", Fault::rpc_error(-28, "Loading block index…")),
        ("an empty body", Fault::http(200, "")),
        ("null", Fault::result("null")),
        ("a template of nonsense", Fault::result(r#"{"height":-1,"bits":[],"transactions":{}}"#)),
        ("100 MB", Fault::Flood(100 << 20)),
        ("an answer cut off", Fault::Cut(40)),
        ("nothing, for ever", Fault::Hang),
        ("no connection", Fault::Refuse),
    ];
    for (name, fault) in faults {
        proxy.set(fault);
        let words = wait_for("the page to say that the node is in trouble", || {
            let nodes = daemon.get("/api/nodes")?;
            let node = &nodes["nodes"][0];
            (node["state"] != "leading").then(|| node["why"].as_str().unwrap().to_string())
        });
        println!("{name}: {words}");
        // The miner keeps its job meanwhile.
        assert!(daemon.is_running());
        assert_eq!(miner.call("mining.ping", json!([]))["result"], "pong");
        proxy.set(Fault::Pass);
        wait_for("the node to lead again", || {
            let nodes = daemon.get("/api/nodes")?;
            (nodes["nodes"][0]["state"] == "leading").then_some(())
        });
        node.generate(1);
        miner.wait_new_tip();
        let (answer, _) = miner.mine();
        assert_eq!(answer["result"], true, "after {name}: {answer}");
        miner.wait_new_tip();
    }
    assert!(!daemon.log().contains("panicked"));
}

/// A miner that we did not write: pooler's cpuminer, where `MINERD` names it.
#[test]
fn a_stock_miner_finds_a_block() {
    let Some(minerd) = std::env::var_os("MINERD") else {
        println!("MINERD does not name pooler's minerd: not tried");
        return;
    };
    for node in nodes() {
        let daemon = Daemon::start(&node_entries(&[node.config()]));
        daemon.wait_ready();
        let start = node.height();
        let mut miner = std::process::Command::new(&minerd)
            .args(["-a", "sha256d", "-t", "1", "-u", "anna.cpu", "-p", "x"])
            .args(["-o", &format!("stratum+tcp://{}", daemon.stratum)])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        wait_for("minerd's block", || (node.height() > start).then_some(()));
        miner.kill().unwrap();
        miner.wait().unwrap();
        let blocks = wait_for("the page to show it", || {
            Some(daemon.blocks()).filter(|blocks| !blocks.is_empty())
        });
        println!("{:?}: minerd found {}", node.kind, blocks.last().unwrap()["hash"]);
    }
}
