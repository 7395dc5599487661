//! What `soloist check` says, for the situations that an owner meets.

use std::path::PathBuf;
use std::time::Duration;

use soloist::chain::Chain;
use soloist::check::{Answer, story};
use soloist::cli::Exit;
use soloist::config::{self, Flags, Loaded, Surroundings};
use soloist::node::{HealthReport, RpcError};
use soloist::template::{Template, TxCache};

const ONE_NODE: &str = r#"
[node]
rpc_url = "http://anna:geheim@192.168.1.10:8332"
zmq_hashblock_addr = "tcp://192.168.1.10:28332"

[payout]
address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
tag = "Anna's basement"
"#;

const TWO_NODES: &str = r#"
[node]
name = "attic"
rpc_url = "http://192.168.1.10:8332"
rpc_user = "anna"
rpc_pass = "geheim"
zmq_hashblock_addr = "tcp://192.168.1.10:28332"

[[node.backup]]
name = "cellar"
rpc_url = "http://192.168.1.11:8332"
zmq_hashblock_addr = "tcp://192.168.1.11:28332"

[payout]
address = "3P14159f73E4gFr7JterCCQh9QjiTjiZrG"
tag = ""
"#;

fn loaded(text: &str) -> Loaded {
    let built =
        config::build(Some(("soloist.toml", text)), &Flags::default(), &Surroundings::default())
            .expect("the test's config is valid");
    Loaded {
        config: built.config,
        file: Some(PathBuf::from("soloist.toml")),
        warnings: built.warnings,
        instead_why: None,
    }
}

fn health(chain: Chain, blocks: u64) -> HealthReport {
    HealthReport {
        chain: chain.name().to_owned(),
        genesis: Some(chain.genesis()),
        blocks,
        headers: blocks,
        best: chain.genesis(),
        chainwork: [0; 32],
        initial_download: false,
        progress: 1.0,
        tip_time: 0,
        connections: Some(12),
        local_relay: Some(true),
        clock: None,
        version: "/Satoshi:30.0.0/".to_owned(),
        warnings: String::new(),
    }
}

fn template(height: u64) -> Template {
    let json = format!(
        r#"{{
        "version": 536870912, "height": {height}, "bits": "1702905c", "curtime": 1763700000,
        "mintime": 1763690000, "coinbasevalue": 313100000, "transactions": [],
        "rules": ["csv", "!segwit", "taproot"],
        "previousblockhash": "00000000000000000001f8b4a0e2c7d2f1f0f0e8a5a2a7a1a6d1f8c3b2a19080"
    }}"#
    );
    Template::parse(json.as_bytes(), &mut TxCache::default()).expect("the test's template is valid")
}

fn ready(blocks: u64) -> Answer {
    Answer {
        health: Ok(health(Chain::Main, blocks)),
        template: Ok(template(blocks + 1)),
        proposal: Some(Ok(None)),
        zmq: Some(Ok(())),
    }
}

fn failed(error: RpcError) -> Answer {
    Answer { health: Err(error.clone()), template: Err(error), proposal: None, zmq: None }
}

fn told(config: &str, answers: &[Answer], wanted: Exit) -> String {
    let (text, exit) = story(&loaded(config), answers);
    assert_eq!(exit, wanted, "{text}");
    assert!(!text.contains("geheim"), "{text}");
    text
}

#[test]
fn one_node_and_all_is_well() {
    insta::assert_snapshot!(told(ONE_NODE, &[ready(884_201)], Exit::Ok));
}

#[test]
fn the_preferred_node_is_away() {
    let away = failed(RpcError::Transport("connection refused".to_owned()));
    insta::assert_snapshot!(told(TWO_NODES, &[away, ready(884_201)], Exit::Ok));
}

#[test]
fn a_node_that_lags_does_not_lead() {
    let answers = [ready(884_198), ready(884_201)];
    let text = told(TWO_NODES, &answers, Exit::Ok);
    assert!(text.contains("3 blocks behind the best of your nodes"), "{text}");
    assert!(text.contains("with the work of cellar. One node needs your attention."), "{text}");
    // One block may be a question of the second in which we asked.
    let text = told(TWO_NODES, &[ready(884_200), ready(884_201)], Exit::Ok);
    assert!(text.contains("with the work of attic."), "{text}");
}

#[test]
fn the_address_is_of_another_chain() {
    let mut answer = ready(100);
    answer.health = Ok(health(Chain::Regtest, 100));
    insta::assert_snapshot!(told(ONE_NODE, &[answer.clone()], Exit::Config));
    // With one fitting node the other is only pointed out.
    let text = told(TWO_NODES, &[answer, ready(884_201)], Exit::Ok);
    assert!(text.contains("with the work of cellar"), "{text}");
}

#[test]
fn a_false_first_block_is_another_chain() {
    let mut answer = ready(884_201);
    let mut false_health = health(Chain::Main, 884_201);
    false_health.genesis = Some(Chain::Testnet4.genesis());
    answer.health = Ok(false_health);
    let text = told(ONE_NODE, &[answer], Exit::Config);
    assert!(text.contains("first block is not that of the chain 'main'"), "{text}");
}

#[test]
fn a_node_that_downloads() {
    let mut answer = ready(412_000);
    answer.health = Ok(HealthReport {
        headers: 884_201,
        initial_download: true,
        progress: 0.314,
        connections: Some(1),
        warnings: "This is a pre-release test build".to_owned(),
        ..health(Chain::Main, 412_000)
    });
    answer.template = Err(RpcError::Rpc {
        code: -10,
        message: "Bitcoin Core is in initial sync and waiting for blocks...".to_owned(),
    });
    answer.proposal = None;
    answer.zmq = Some(Err("connection refused".to_owned()));
    insta::assert_snapshot!(told(ONE_NODE, &[answer], Exit::Unavailable));
}

#[test]
fn a_node_that_would_refuse_the_block() {
    let mut answer = ready(884_201);
    answer.proposal = Some(Ok(Some("bad-cb-amount".to_owned())));
    let text = told(ONE_NODE, &[answer], Exit::Unavailable);
    assert!(text.contains("It would refuse the block that we would send: bad-cb-amount"), "{text}");
}

#[test]
fn every_failure_has_its_advice() {
    let failures = [
        RpcError::Transport("connection refused".to_owned()),
        RpcError::Timeout(Duration::from_secs(5)),
        RpcError::Auth(401),
        RpcError::Auth(403),
        RpcError::Cookie { path: "/x/.cookie".to_owned(), why: "no such file".to_owned() },
        RpcError::Http(404),
        RpcError::Rpc { code: -28, message: "Loading block index…".to_owned() },
        RpcError::Rpc { code: -9, message: "Bitcoin Core is not connected!".to_owned() },
        RpcError::Rpc { code: -32601, message: "Method not found".to_owned() },
        RpcError::TooLarge(1_048_576),
        RpcError::Malformed("expected value".to_owned()),
    ];
    let mut all = String::new();
    for failure in failures {
        let text = told(ONE_NODE, &[failed(failure)], Exit::Unavailable);
        let node: Vec<&str> = text.lines().filter(|line| line.starts_with("   ")).collect();
        assert_eq!(node.len(), 2, "{text}");
        all += &format!("{}\n", node.join("\n"));
    }
    insta::assert_snapshot!(all);
}
