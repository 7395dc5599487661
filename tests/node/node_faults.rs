//! Every way in which a node can fail to be one, and what `check`, the page and the log say of it:
//! one table, held as a snapshot. Real nodes answer where they can be brought to it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use soloist::peer_address::P2pAddress;
use soloist::rpc::{Auth, NodeConfig};

use crate::common::daemon::{Daemon, node_entries};
use crate::common::fault::{Fault, FaultProxy, http};
use crate::common::node::RealNode;
use crate::common::{free_port, wait_for};

/// A node that goes wrong in one way.
struct Case {
    config: NodeConfig,
    /// What must live as long as the case.
    _proxy: Option<FaultProxy>,
}

fn case(name: &str, url: String, auth: Auth, proxy: Option<FaultProxy>) -> Case {
    let name = name.to_owned();
    let config = NodeConfig { name, url, auth, certificate: None, zmq: None, p2p: P2pAddress::Off };
    Case { config, _proxy: proxy }
}

fn password(user: &str, pass: &str) -> Auth {
    Auth::UserPass { user: user.into(), pass: pass.into() }
}

/// A server that does this to everybody.
fn fault(name: &str, fault: Fault) -> Case {
    let proxy = FaultProxy::answering(fault);
    case(name, proxy.url(), password("anna", "geheim"), Some(proxy))
}

/// A template whose chain needs a rule.
fn template(rule: &str) -> Vec<u8> {
    let template = format!(
        r#"{{"version":536870912,"rules":["csv","!segwit","!{rule}"],"transactions":[],
            "previousblockhash":"0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
            "coinbasevalue":5000000000,"mintime":1296688603,"curtime":1296688700,
            "bits":"207fffff","height":1}}"#
    );
    http(200, &format!(r#"{{"result":{template},"error":null}}"#))
}

fn json_error(code: i64, message: &str) -> Vec<u8> {
    let error = format!(r#"{{"code":{code},"message":"{message}"}}"#);
    http(500, &format!(r#"{{"result":null,"error":{error}}}"#))
}

/// What any machine can be brought to.
fn cases() -> Vec<Case> {
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let anna = || password("anna", "geheim");
    let elsewhere = "https://node.example:8332/";
    let proxy = FaultProxy::answering(Fault::unauthorized());
    let mut cases = vec![
        // The first of the config: the others would inherit its password.
        case("login-missing", proxy.url(), Auth::None, Some(proxy)),
        case("name", "http://no-such-host.invalid:8332".into(), anna(), None),
        case("refused", nowhere, anna(), None),
        fault("silent", Fault::Hang),
        fault("closed", Fault::Answer(Vec::new())),
        fault("tls", Fault::tls_alert()),
        fault("other-program", Fault::ssh()),
        fault("web-page", Fault::web_page()),
        fault("redirect", Fault::redirect(elsewhere)),
        fault("forbidden-address", Fault::forbidden_address()),
        fault("queue-full", Fault::queue_full()),
        fault("stopping", Fault::http(503, "Request rejected during server shutdown")),
        fault("gateway", Fault::http(502, "<html>Bad Gateway</html>")),
        fault("too-long", Fault::http(413, "<html>Request Entity Too Large</html>")),
        fault("odd-status", Fault::http(418, "")),
        fault("warming-up", Fault::warming_up()),
        fault("cut", Fault::cut_body()),
        fault("flood", Fault::flood()),
        fault("malformed", Fault::http(200, "It works!")),
    ];
    let missing = Auth::Cookie("/nowhere/.cookie".into());
    cases.push(case("cookie-file", "http://127.0.0.1:1".into(), missing, None));
    cases
}

/// What only a real node can be brought to, by its answers or with single ones changed.
fn at(node: &RealNode) -> Vec<Case> {
    let changed = |name: &str, methods: &[&'static str], answer: Vec<u8>| {
        let proxy = FaultProxy::start(node.address());
        proxy.set(Fault::Only(methods.to_vec(), answer));
        case(name, proxy.url(), node.config().auth, Some(proxy))
    };
    let work = ["getblocktemplate"];
    let main = r#"{"result":{"chain":"main","blocks":1,"headers":1,"chainwork":"02",
        "bestblockhash":"0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"}}"#;
    // Behind a proxy each, as a config names no node twice.
    let passed = |name: &str, path: &str, auth| {
        let proxy = FaultProxy::start(node.address());
        case(name, format!("{}{path}", proxy.url()), auth, Some(proxy))
    };
    let hash = "0123456789abcdef".repeat(4);
    vec![
        changed("forbidden-method", &work, http(403, "")),
        changed("no-peers", &work, json_error(-9, "Bitcoin Core is not connected!")),
        changed("initial-download", &work, json_error(-10, "Bitcoin Core is in initial sync")),
        changed("own-words", &work, json_error(-1, "No.")),
        changed("unknown-rule", &work, template("quantum")),
        changed("signet", &work, template("signet")),
        changed("wrong-chain", &["getblockchaininfo"], http(200, main)),
        passed("login", "", password("anna", "geheim")),
        passed("login-hash", "", password("anna", &hash)),
        passed("login-cookie-user", "", password("__cookie__", "geheim")),
        passed("path", "/wrong", node.config().auth),
    ]
}

/// What only Bitcoin Core has, and what stands for it elsewhere.
fn at_core(core: Option<&RealNode>) -> Vec<Case> {
    let anna = || password("anna", "geheim");
    let Some(core) = core else {
        return vec![fault("zmq", Fault::zmq_greeting()), fault("p2p", Fault::p2p_message())];
    };
    let zmq = core.zmq().unwrap().replace("tcp:", "http:");
    vec![case("zmq", zmq, anna(), None), fault("p2p", Fault::p2p_message())]
}

/// The sentences of `check` of each node, in one paragraph.
fn checked(daemon: &Daemon) -> BTreeMap<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_soloist"))
        .args(["check", "--config"])
        .arg(daemon.config())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let mut by_node: BTreeMap<String, String> = BTreeMap::new();
    let mut current = None;
    for line in said.lines() {
        match (line.strip_prefix("   "), line.split_once(". ")) {
            // Its version and height, and what a test build warns of.
            (Some(sentence), _)
                if sentence.starts_with("It answers: ") || sentence.starts_with("It warns: ") => {}
            (Some(sentence), _) if current.is_some() => {
                let text: &mut String = by_node.entry(current.clone().unwrap()).or_default();
                *text = format!("{text} {sentence}").trim().to_owned();
            }
            (None, Some((number, rest))) if number.parse::<u32>().is_ok() => {
                current = rest.split(' ').next().map(str::to_owned);
            }
            _ => current = None,
        }
    }
    by_node
}

/// What the page says of each node, when it has made up its mind.
fn shown(daemon: &Daemon, names: &[String]) -> BTreeMap<String, String> {
    let early = ["It has not answered yet", "It failed its last call", "It is on the newest block"];
    let mut settled = BTreeMap::new();
    wait_for("the page to know of every node", || {
        let nodes = daemon.get("/api/nodes")?;
        for node in nodes["nodes"].as_array()? {
            let text = |key: &str| node[key].as_str().unwrap_or_default().to_owned();
            let mut why = text("why");
            // What it lets us call is asked beside the template: whichever answer is first, the other
            // follows.
            if why.starts_with("It does not let us call getblocktemplate.") {
                why = "It answers but gives no template: our user may not call getblocktemplate \
                       (HTTP 403)."
                    .to_owned();
            }
            if !why.is_empty() && !early.iter().any(|early| why.starts_with(early)) {
                settled.entry(text("name")).or_insert(why);
            }
        }
        let lacks = names.iter().find(|name| !settled.contains_key(*name));
        lacks.is_none().then_some(())
    });
    settled
}

/// The last thing that the log tells the owner of a node. What it lets us call is asked beside all
/// else, and may be told before or after the rest.
fn logged(log: &str, name: &str) -> String {
    let about = format!("Node {name} ");
    let mut told = log.lines().rev().filter_map(|line| Some(&line[line.find(&about)?..]));
    let last = told.next().unwrap_or_default();
    let is_permission = last.contains(" does not let us call ");
    told.find(|_| is_permission).unwrap_or(last).to_owned()
}

/// Ports differ from run to run, and so does which call was the first to fail.
fn tidy(text: &str) -> String {
    let mut tidy = text.to_owned();
    for number in ["127.0.0.1:", " within ", " longer than "] {
        let mut done = String::new();
        let mut rest = tidy.as_str();
        while let Some(at) = rest.find(number) {
            let (before, after) = rest.split_at(at + number.len());
            done += before;
            done += "N";
            rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        }
        tidy = done + rest;
    }
    tidy
}

#[test]
fn every_failure_has_a_sentence_and_advice_of_its_own() {
    // Core where there is one, as its answers are those that owners meet.
    let core = RealNode::core();
    let Some(node) = core.or_else(RealNode::bcoin) else { return };
    node.generate(1);
    let is_core = node.zmq().is_some();
    let mut all = cases();
    all.extend(at(&node));
    all.extend(at_core(is_core.then_some(&node)));
    let configs: Vec<NodeConfig> = all.iter().map(|case| case.config.clone()).collect();
    let names: Vec<String> = configs.iter().map(|config| config.name.clone()).collect();

    let daemon = Daemon::start(&node_entries(&configs));
    let page = shown(&daemon, &names);
    let check = checked(&daemon);
    let log = daemon.log();
    for secret in ["geheim", &"0123456789abcdef".repeat(4)] {
        assert!(!log.contains(secret) && !format!("{check:?}{page:?}").contains(secret));
    }

    let mut table = String::new();
    let mut heads: BTreeMap<String, &String> = BTreeMap::new();
    for name in &names {
        let check = tidy(check.get(name).map_or("", String::as_str));
        let page = tidy(page.get(name).map_or("", String::as_str));
        let log = tidy(&logged(&log, name));
        table += &format!("{name}\n  check: {check}\n  page:  {page}\n  log:   {log}\n");
        assert!(!check.is_empty() && !page.is_empty() && !log.is_empty(), "{name}:\n{table}");
        if let Some(other) = heads.insert(check, name) {
            panic!("{name} and {other} are told in the same words:\n{table}");
        }
        if ["silent", "queue-full", "stopping", "gateway"].contains(&name.as_str()) {
            assert!(!format!("{page}{log}").contains("else than a"), "{name} is a node");
        }
    }
    println!("{table}");
    let metrics = daemon.text("/metrics");
    for (node, cause) in [("refused", "refused"), ("queue-full", "queue-full"), ("zmq", "zmq-port")]
    {
        let line = format!("soloist_node_cause{{node=\"{node}\",cause=\"{cause}\"}} 1");
        assert!(metrics.contains(&line), "{line}");
    }
    match is_core {
        true => insta::assert_snapshot!("failures_with_core", table),
        false => insta::assert_snapshot!("failures_with_bcoin", table),
    }
}

/// A user's whitelist in the node itself, and its port for other nodes.
#[test]
fn a_real_core_says_who_may_do_what_and_which_port_is_which() {
    use soloist::node::{RpcError, fault::Spoken};
    use soloist::rpc::Rpc;
    // rpcauth's line for this user and password, by HMAC-SHA256 with this salt.
    let (salt, pass) = ("00112233445566778899aabbccddeeff", "geheim");
    let hash = {
        use ring::hmac;
        let key = hmac::Key::new(hmac::HMAC_SHA256, salt.as_bytes());
        faster_hex::hex_string(hmac::sign(&key, pass.as_bytes()).as_ref())
    };
    let methods = "getblockchaininfo,getnetworkinfo,getblockhash,getbestblockhash";
    let Some(core) = RealNode::core_with(&[
        &format!("-rpcauth=anna:{salt}${hash}"),
        &format!("-rpcauth=emil:{salt}${hash}"),
        &format!("-rpcwhitelist=anna:{methods}"),
        "-rpcwhitelistdefault=0",
        "-listen=1",
        "-bind=127.0.0.1",
    ]) else {
        return;
    };
    let as_user = |auth| NodeConfig { auth, ..core.config() };
    let anna = Rpc::new(&as_user(password("anna", pass)));
    assert!(anna.health().is_ok());
    assert_eq!(anna.submit_block("00"), Err(RpcError::Forbidden { method: "submitblock" }));
    // The very first call of a client, too, is told from a refused address.
    let fresh = Rpc::new(&as_user(password("anna", pass)));
    assert_eq!(fresh.submit_block("00"), Err(RpcError::Forbidden { method: "submitblock" }));
    assert!(Rpc::new(&as_user(password("emil", pass))).get_best_block_hash().is_ok());

    let p2p: SocketAddr = core.p2p_address();
    wait_for("its P2P port", || TcpStream::connect_timeout(&p2p, Duration::from_secs(1)).ok());
    let node = NodeConfig { url: format!("http://{p2p}"), ..as_user(password("anna", pass)) };
    let answer = Rpc::new(&node).get_best_block_hash();
    println!(
        "the P2P port of {}: {answer:?}",
        core.call("getnetworkinfo", serde_json::json!([]))["subversion"]
    );
    assert_eq!(answer, Err(RpcError::NotHttp(Spoken::P2p)));

    let started = std::time::Instant::now();
    let rpc = core.rpc();
    for _ in 0..100 {
        rpc.get_best_block_hash().unwrap();
    }
    let took = started.elapsed() / 100;
    println!("100 calls to Core over kept connections: {} open, {took:?} each", rpc.connections());
}
