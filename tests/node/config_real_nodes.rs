//! `soloist check` against real full nodes: bcoin always, Bitcoin Core where `BITCOIND` names it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use soloist::rpc::Auth;

use crate::common::node::{Kind, RealNode};
use crate::common::wait_for;

/// Runs the program with a file; returns what it says and its exit code.
fn check(dir: &Path, config: &str) -> (String, Option<i32>) {
    let file = dir.join("soloist.toml");
    fs::write(&file, config).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_soloist"))
        .args(["check", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    (said + &String::from_utf8(output.stderr).unwrap(), output.status.code())
}

/// The keys of a node's section.
fn section(node: &RealNode) -> String {
    let login = match node.config().auth {
        Auth::UserPass { user, pass } => format!("rpc_user = {user:?}\nrpc_pass = {pass:?}"),
        Auth::Cookie(path) => format!("rpc_cookie_path = {path:?}"),
        Auth::None => String::new(),
    };
    let zmq = node.zmq().unwrap_or_default();
    format!(
        "rpc_url = \"http://{}\"\n{login}\nzmq_hashblock_addr = \"{zmq}\"\np2p_addr = \"{}\"\n",
        node.address(),
        node.p2p_address(),
    )
}

#[test]
fn a_real_node_would_accept_the_block() {
    let dir = tempfile::tempdir().unwrap();
    for mut node in RealNode::all() {
        // bcoin's regtest votes for segwit as mainnet did.
        let blocks = if node.kind == Kind::Bcoin { 440 } else { 2 };
        node.generate(blocks);
        let own = node.payout(1);
        let config = |address: &str| {
            format!(
                "[node]\n{}\n[payout]\naddress = \"{address}\"\ntag = \"check\"\n",
                section(&node)
            )
        };

        let (said, code) = check(dir.path(), &config(&own));
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("would accept it but for the proof of work"), "{said}");
        assert!(said.contains(&format!("A block now, at height {}", blocks + 1)), "{said}");
        assert!(said.contains("(your address)"), "{said}");
        if node.kind == Kind::Core {
            assert!(said.contains("It publishes at tcp://"), "{said}");
        }

        let refuses = format!("P2P port at {} cannot be used: it refuses", node.p2p_address());
        assert!(said.contains(&refuses), "{said}");

        // A port that takes connections is no publisher yet.
        let rpc = format!("tcp://{}", node.address());
        let own_zmq = node.zmq().unwrap_or_default();
        let mistaken = config(&own).replace(
            &format!("zmq_hashblock_addr = \"{own_zmq}\""),
            &format!("zmq_hashblock_addr = \"{rpc}\""),
        );
        let (said, code) = check(dir.path(), &mistaken);
        assert_eq!(code, Some(0), "{said}");
        let sentence = format!("Something listens at {rpc}, but no ZMQ publisher answers there.");
        assert!(said.contains(&sentence), "{said}");

        // Base58 addresses are the same on all test networks.
        for address in ["mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", "2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc"]
        {
            let (said, code) = check(dir.path(), &config(address));
            assert_eq!(code, Some(0), "{said}");
        }

        let (said, code) = check(dir.path(), &config("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"));
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains("is an address of the main chain"), "{said}");

        let wrong = config(&own)
            .replace("rpc_pass = \"", "rpc_pass = \"not ")
            .replace("rpc_cookie_path", "rpc_user = \"x\"\nrpc_pass = \"y\"\n#");
        let (said, code) = check(dir.path(), &wrong);
        assert_eq!(code, Some(69), "{said}");
        assert!(said.contains("refuses our user or password"), "{said}");

        let last = config(&own);
        node.kill();
        let (said, code) = check(dir.path(), &last);
        assert_eq!(code, Some(69), "{said}");
        assert!(said.contains("No block could be mined now"), "{said}");
    }
}

#[test]
fn the_p2p_port_of_a_real_node_is_tried() {
    let dir = tempfile::tempdir().unwrap();
    for node in RealNode::all_listening() {
        let made = if node.kind == Kind::Bcoin { 440 } else { 2 };
        node.generate(made);
        let config = |node: &RealNode| {
            format!("[payout]\naddress = \"{}\"\n[node]\n{}", node.payout(1), section(node))
        };
        let own = node.p2p_address();
        let both = format!("A block would reach this node by RPC and by its P2P port ({own}).");
        // bcoin's RPC answers a little before it listens.
        wait_for("its P2P port", || {
            let (said, code) = check(dir.path(), &config(&node));
            assert_eq!(code, Some(0), "{said}");
            said.contains(&both).then_some(())
        });

        let off = config(&node).replace(&format!("p2p_addr = \"{own}\""), "p2p_addr = \"\"");
        let (said, code) = check(dir.path(), &off);
        assert!(said.contains("Its P2P port is switched off by p2p_addr."), "{said}");
        assert_eq!(code, Some(0), "{said}");

        // What speaks HTTP waits for more, or says what is no P2P.
        let rpc = node.address();
        let wrong = config(&node).replace(
            &format!("p2p_addr = \"{own}\""),
            &format!("p2p_addr = \"localhost:{}\"", rpc.port()),
        );
        let (said, code) = check(dir.path(), &wrong);
        assert!(said.contains("cannot be used: "), "{said}");
        assert_eq!(code, Some(0), "{said}");
    }
    // Another node's port has another tip.
    let [first, second] = [RealNode::all_listening(), RealNode::all_listening()]
        .map(|nodes| nodes.into_iter().next().expect("bcoin is always tested"));
    first.generate(440);
    let config =
        format!("[payout]\naddress = \"{}\"\n[node]\n{}", first.payout(1), section(&first))
            .replace(&first.p2p_address().to_string(), &second.p2p_address().to_string());
    wait_for("the other node's P2P port", || {
        let (said, code) = check(dir.path(), &config);
        assert_eq!(code, Some(0), "{said}");
        said.contains("does not show the tip that RPC tells").then_some(())
    });
}
