//! Nodes that do not let us call what we need, under the whole program: Bitcoin Core with an
//! `rpcwhitelist` where `BITCOIND` names its binary, and bcoin behind a proxy that answers as Core
//! does.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use serde_json::{Value, json};
use soloist::node;
use soloist::rpc::{Auth, NodeConfig};

use crate::common::daemon::{Daemon, Miner, PAYOUT, node_entries, patient};
use crate::common::fault::{Fault, FaultProxy};
use crate::common::node::{Kind, RealNode};
use crate::common::wait_for;

/// `anna` with the password `geheim`, as `share/rpcauth/rpcauth.py` writes it.
const RPCAUTH: &str = "-rpcauth=anna:0123456789abcdef$\
                       ec77944ba872176851ca090783f8082e02d46747824a81bb94b7b456bb71fbe6";

/// A node at which our user may not call everything.
struct Limited {
    node: RealNode,
    /// Before a bcoin, which knows no whitelist.
    proxy: Option<FaultProxy>,
    config: NodeConfig,
}

impl Limited {
    /// One of each kind that this machine has.
    fn all(forbidden: &[&'static str]) -> Vec<Limited> {
        let core = RealNode::core_with(&core_arguments(forbidden)).map(|node| {
            node.generate(2);
            let auth = Auth::UserPass { user: "anna".into(), pass: "geheim".into() };
            let config = NodeConfig { auth, ..node.config() };
            Limited { node, proxy: None, config }
        });
        let bcoin = RealNode::bcoin().map(|node| {
            node.generate(440);
            let proxy = FaultProxy::start(node.address());
            proxy.set(Fault::forbidden_methods(forbidden));
            let config = node.config_through(proxy.address());
            Limited { node, proxy: Some(proxy), config }
        });
        [core, bcoin].into_iter().flatten().collect()
    }

    fn user(&self) -> &str {
        if self.node.kind == Kind::Core { "anna" } else { "x" }
    }

    /// The owner corrects bitcoin.conf and starts the node anew.
    fn mend(&mut self) {
        match &self.proxy {
            Some(proxy) => {
                proxy.set(Fault::Refuse);
                std::thread::sleep(std::time::Duration::from_secs(2));
                proxy.set(Fault::Pass);
            }
            None => {
                // Writes the chain state out.
                self.node.call("gettxoutsetinfo", json!([]));
                self.node.kill();
                self.node.more = core_arguments(&[]).iter().map(ToString::to_string).collect();
                self.node.launch();
            }
        }
    }
}

/// A whitelist of all that we use but these; the tests' own calls are not limited.
fn core_arguments(forbidden: &[&str]) -> [&'static str; 3] {
    let names = node::Command::ALL.into_iter().map(node::Command::name);
    let allowed: Vec<&str> = names.filter(|name| !forbidden.contains(name)).collect();
    let whitelist = format!("-rpcwhitelist=anna:{}", allowed.join(","));
    [RPCAUTH, "-rpcwhitelistdefault=0", whitelist.leak()]
}

/// `soloist check` with the daemon's config: its exit code and all that it says.
fn check(daemon: &Daemon) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_soloist"))
        .args(["check", "--config"])
        .arg(daemon.config())
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn node_view(daemon: &Daemon, place: usize) -> Option<Value> {
    Some(daemon.get("/api/nodes")?["nodes"].get(place)?.clone())
}

/// The alarms of this kind, by the end of their id.
fn alarms(daemon: &Daemon) -> Option<Vec<Value>> {
    let all = daemon.get("/health/detailed")?["alarms"].as_array()?.clone();
    let ours = |alarm: &Value| alarm["id"].as_str().unwrap().starts_with("permissions:");
    Some(all.into_iter().filter(ours).collect())
}

#[test]
fn the_only_node_that_takes_no_block_from_us_is_told_before_it_costs_one() {
    for mut limited in Limited::all(&["submitblock"]) {
        let daemon = Daemon::start(&node_entries(std::slice::from_ref(&limited.config)));
        daemon.wait_ready();
        let alarm = wait_for("the alarm", || alarms(&daemon)?.first().cloned());
        assert_eq!(alarm["level"], "critical");
        let words = "does not let us call submitblock: a block that we find could not be handed \
                     to it";
        assert_eq!(alarm["text"], format!("Node {} {words}.", limited.config.name));
        let line = format!("rpcwhitelist={}:getblocktemplate,submitblock,", limited.user());
        assert!(alarm["advice"].as_str().unwrap().contains(&line), "{alarm}");
        let ready = daemon.get("/health/ready").unwrap();
        assert_eq!(ready["status"], "not ready");
        assert_eq!(
            (&ready["submission"], &ready["chain_initialized"]),
            (&json!(false), &json!(true))
        );
        let view = node_view(&daemon, 0).unwrap();
        assert_eq!(view["state"], "leading", "its work is good");
        assert_eq!(view["permissions"]["refused"], json!(["submitblock"]));
        let page = daemon.text("/");
        let whole = node::Permissions::unknown(limited.user()).whitelist_line();
        let shown = page.matches(&whole).count();
        assert_eq!(shown, 3, "whole in the alarm, at the node and among the events: {page}");
        let log = daemon.log();
        assert!(log.contains(words) && log.contains(&line), "in the log");

        let (code, text) = check(&daemon);
        assert_eq!(code, 69, "{text}");
        assert!(text.contains(&format!("It {words}.")) && text.contains(&line), "{text}");
        for told in [&text, &log, &alarm.to_string(), &view.to_string()] {
            assert!(!told.contains("geheim") && !told.contains("only for tests"), "{told}");
        }

        // The miners go on, and a block waits for the owner to mend it.
        let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
        let (answer, hash) = miner.mine();
        assert_eq!(answer["result"], true, "{answer}");
        assert_ne!(limited.node.tip().to_string(), hash);
        limited.mend();
        wait_for("the block to be in the chain", || {
            (limited.node.tip().to_string() == hash).then_some(())
        });
        wait_for("the alarm to be over", || alarms(&daemon)?.is_empty().then_some(()));
        wait_for("the daemon to be ready", || {
            (daemon.get("/health/ready")?["status"] == "ready").then_some(())
        });
        let (code, text) = check(&daemon);
        assert_eq!(code, 0, "{text}");
        assert!(daemon.log().contains("lets us call all that mining needs now"));
    }
}

#[test]
fn a_node_that_takes_no_block_from_us_stands_behind_one_that_does() {
    for limited in Limited::all(&["submitblock"]) {
        let good = match limited.node.kind {
            Kind::Core => RealNode::core_with(&[]).unwrap(),
            Kind::Bcoin => RealNode::bcoin().unwrap(),
        };
        good.learn_from(&limited.node, limited.node.height());
        let daemon = Daemon::start(&node_entries(&[limited.config.clone(), good.config()]));
        daemon.wait_ready();
        wait_for("the other node to lead", || {
            let other = node_view(&daemon, 1)?;
            (other["state"] == "leading").then_some(())
        });
        let first = node_view(&daemon, 0).unwrap();
        assert_eq!(first["state"], "forbidden");
        assert_eq!(first["why"], "It does not let us call submitblock.");
        assert_eq!(alarms(&daemon).unwrap().len(), 1);
        wait_for("the daemon to be ready", || {
            (daemon.get("/health/ready")?["status"] == "ready").then_some(())
        });
        let (code, text) = check(&daemon);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("One node needs your attention."), "{text}");
        let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
        let (_, hash) = miner.mine();
        wait_for("the block at the good node", || (good.tip().to_string() == hash).then_some(()));
    }
}

#[test]
fn what_mining_does_not_need_may_be_forbidden_without_harm() {
    let forbidden =
        ["getnetworkinfo", "preciousblock", "getchaintips", "waitfornewblock", "getblockheader"];
    for limited in Limited::all(&forbidden) {
        let daemon = Daemon::start(&node_entries(std::slice::from_ref(&limited.config)));
        daemon.wait_ready();
        wait_for("the daemon to be ready", || {
            let node = node_view(&daemon, 0)?;
            let ready = daemon.get("/health/ready")?["status"] == "ready";
            (ready && !node["permissions"].is_null()).then_some(())
        });
        let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
        for _ in 0..3 {
            let (answer, hash) = miner.mine_and_go_on();
            assert_eq!(answer["result"], true, "{answer}");
            wait_for("the block", || (limited.node.tip().to_string() == hash).then_some(()));
        }
        assert_eq!(alarms(&daemon).unwrap(), Vec::<Value>::new());
        let node = node_view(&daemon, 0).unwrap();
        assert_eq!(node["state"], "leading");
        assert_eq!(node["peers"], Value::Null);
        assert_eq!(node["permissions"]["refused"], json!([]));
        assert!(node["permissions"]["shortage"].as_str().unwrap().contains("getnetworkinfo"));
        let (code, text) = check(&daemon);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("which mining does not need"), "{text}");
    }
}

#[test]
fn the_set_up_tells_what_a_node_forbids_before_it_is_saved() {
    for limited in Limited::all(&["submitblock", "preciousblock"]) {
        let daemon = Daemon::fresh();
        wait_for("the page", || daemon.status());
        let Auth::UserPass { user, pass } = &limited.config.auth else { panic!("a password") };
        let wish = json!({
            "name": "attic", "payout": PAYOUT, "pin": "7391x", "save": false,
            "nodes": [{ "url": limited.config.url, "user": user, "password": pass }],
        });
        let request = minreq::post(format!("http://{}/api/setup", daemon.http))
            .with_header("Content-Type", "application/json")
            .with_body(wish.to_string())
            .with_timeout(60);
        let answer = patient(&request).unwrap();
        let words = answer.as_str().unwrap();
        // It is to be saved only on purpose.
        assert_eq!(answer.status_code, 422, "{words}");
        assert!(words.contains("\"fields\":[\"user0\"]"), "{words}");
        for told in ["does not let us call submitblock: ", "answers: chain regtest"] {
            assert!(words.contains(told), "{words}");
        }
        assert!(words.contains(&format!("rpcwhitelist={user}:getblocktemplate,")), "{words}");
        assert!(!words.contains(pass.as_str()), "{words}");
    }
}

#[test]
fn a_node_that_does_not_tell_its_chain_is_named_with_what_it_refuses() {
    for limited in Limited::all(&["getblockchaininfo"]) {
        let daemon = Daemon::start(&node_entries(std::slice::from_ref(&limited.config)));
        let alarm = wait_for("the alarm", || alarms(&daemon)?.first().cloned());
        assert!(alarm["text"].as_str().unwrap().contains("call getblockchaininfo: "), "{alarm}");
        wait_for("the page to say so", || {
            let status = daemon.get("/health/detailed")?;
            status["reason"].as_str()?.contains("call getblockchaininfo: ").then_some(())
        });
        let (code, text) = check(&daemon);
        assert_eq!(code, 69, "{text}");
        assert!(text.contains("It does not let us call getblockchaininfo: "), "{text}");
        assert!(!text.contains("our password") && !text.contains("rpcallowip"), "{text}");
    }
}
