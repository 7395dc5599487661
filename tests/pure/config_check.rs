//! What `soloist check` says, for the situations that an owner meets.

use std::path::PathBuf;
use std::time::Duration;

use soloist::chain::Chain;
use soloist::check::{Answer, Extras, story};
use soloist::config::{self, Flags, Loaded, Surroundings};
use soloist::exit::Exit;
use soloist::mqtt;
use soloist::node::fault::Login;
use soloist::node::{Command, HealthReport, Permission, Permissions, RpcError, ZmqState};
use soloist::p2p::Down;
use soloist::peers::{Found, Probe};
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
        version: Some("/Satoshi:30.0.0/".to_owned()),
        local_relay: Some(true),
        clock: None,
        warnings: String::new(),
        facts: Default::default(),
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

/// Everything is allowed but these.
fn all_but(forbidden: &[Command]) -> Permissions {
    let mut all = Permissions::all("anna");
    forbidden.iter().for_each(|command| all.set(*command, Permission::Forbidden));
    all
}

fn p2p(found: Found) -> Probe {
    Probe { place: "192.168.1.10:8333".to_owned(), found }
}

fn ready(blocks: u64) -> Answer {
    Answer {
        health: Ok(health(Chain::Main, blocks)),
        permissions: Ok(all_but(&[])),
        template: Ok(template(blocks + 1)),
        proposal: Some(Ok(None)),
        zmq: Some(ZmqState::Connected),
        p2p: Some(p2p(Found::Node)),
    }
}

fn failed(error: RpcError) -> Answer {
    Answer {
        health: Err(error.clone()),
        permissions: Err(error.clone()),
        template: Err(error),
        proposal: None,
        zmq: None,
        p2p: None,
    }
}

fn told(config: &str, answers: &[Answer], wanted: Exit) -> String {
    let (text, exit) = story(&loaded(config), answers, &Extras::default());
    assert_eq!(exit, wanted, "{text}");
    assert!(!text.contains("geheim"), "{text}");
    text
}

/// Home Assistant is no matter of mining: the exit code is the nodes'.
#[test]
fn the_mqtt_broker_is_told_of_and_mining_does_not_depend_on_it() {
    let config = format!(
        "{ONE_NODE}\n[mqtt]\nbroker = \"homeassistant.local\"\npassword = \"geheim\"\nuser = \"anna\"\n"
    );
    let fault = mqtt::Fault {
        setting: "password",
        words: "it refuses the user or the password".to_owned(),
        remedy: "Write a user and a password that the broker knows.".to_owned(),
    };
    let told = |broker: Option<Result<(), mqtt::Fault>>| {
        let extras = Extras { broker, feed: None };
        let (text, exit) = story(&loaded(&config), &[ready(884_201)], &extras);
        assert_eq!(exit, Exit::Ok, "{text}");
        assert!(!text.contains("geheim"), "{text}");
        text
    };
    assert!(!told(None).contains("MQTT"));
    let taken = told(Some(Ok(())));
    assert!(
        taken.contains(
            "\nHome Assistant, by the MQTT broker homeassistant.local\n   The broker takes us.\n"
        ),
        "{taken}"
    );
    insta::assert_snapshot!(told(Some(Err(fault))));
}

#[test]
fn one_node_and_all_is_well() {
    insta::assert_snapshot!(told(ONE_NODE, &[ready(884_201)], Exit::Ok));
}

#[test]
fn a_node_that_may_not_be_handed_a_block_is_unusable() {
    let mut answer = ready(884_201);
    answer.permissions = Ok(all_but(&[Command::SubmitBlock, Command::GetChainTips]));
    insta::assert_snapshot!(told(ONE_NODE, &[answer.clone()], Exit::Unavailable));
    // Another one leads.
    let text = told(TWO_NODES, &[answer, ready(884_201)], Exit::Ok);
    assert!(text.contains("with the work of cellar. One node needs your attention."), "{text}");
}

#[test]
fn what_is_forbidden_is_told_by_its_name_and_not_as_a_wrong_address() {
    let mut answer = failed(RpcError::Forbidden { method: "getblockchaininfo" });
    answer.permissions = Ok(all_but(&[Command::GetBlockchainInfo]));
    let blind = told(ONE_NODE, &[answer], Exit::Unavailable);
    let mut answer = ready(884_201);
    answer.permissions = Ok(all_but(&[Command::GetBlockTemplate]));
    answer.template = Err(RpcError::Forbidden { method: "getblocktemplate" });
    let idle = told(ONE_NODE, &[answer], Exit::Unavailable);
    for (text, name) in [(blind, "getblockchaininfo"), (idle, "getblocktemplate")] {
        assert!(text.contains(&format!("It does not let us call {name}: ")), "{text}");
        assert!(text.contains("restart the node: rpcwhitelist=anna:getblocktemplate,"), "{text}");
        assert!(!text.contains("rpcallowip") && !text.contains("password"), "{text}");
    }
}

#[test]
fn what_mining_does_not_need_may_be_forbidden() {
    let mut answer = ready(884_201);
    let health = answer.health.as_mut().unwrap();
    (health.connections, health.version) = (None, None);
    answer.permissions = Ok(all_but(&[Command::GetNetworkInfo, Command::PreciousBlock]));
    insta::assert_snapshot!(told(ONE_NODE, &[answer], Exit::Ok));
}

#[test]
fn the_preferred_node_is_away() {
    let away = failed(RpcError::Refused);
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
    answer.zmq = Some(ZmqState::Refused);
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
fn what_answers_for_zmq_is_told() {
    use ZmqState::{Connected, NameUnknown, NoPublisher, Refused};
    let mut all = String::new();
    for state in [Connected, Refused, NoPublisher, NameUnknown] {
        let answer = Answer { zmq: Some(state), ..ready(884_201) };
        // It is slower without ZMQ, but mines.
        let text = told(ONE_NODE, &[answer], Exit::Ok);
        let line = text.lines().find(|line| line.contains("tcp://192.168.1.10:28332"));
        all += &format!("{}\n", line.unwrap_or_else(|| panic!("{text}")));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn what_is_at_the_p2p_port_is_told() {
    let down = [
        Down::Refused,
        Down::Unreachable("its name is unknown".to_owned()),
        Down::Proxy { place: "127.0.0.1:9050".to_owned(), why: "it hangs up".to_owned() },
        Down::Silent,
        Down::HungUp,
        Down::Closed,
        Down::OtherChain,
        Down::Unfit("it has no blocks"),
        Down::Nonsense("a message without end"),
        Down::Flood,
    ];
    let found = [Found::Node, Found::OtherTip].into_iter().chain(down.map(Found::Nothing));
    let mut all = String::new();
    for probe in found.map(p2p).chain([Probe::off()]) {
        let answer = Answer { p2p: Some(probe.clone()), ..ready(884_201) };
        // By RPC a block reaches it anyway.
        let text = told(ONE_NODE, &[answer], Exit::Ok);
        let line = text.lines().find(|line| line.contains("P2P"));
        let line = line.unwrap_or_else(|| panic!("{text}"));
        assert_eq!(line.contains("by RPC alone"), probe.found != Found::Node, "{line}");
        all += &format!("{}\n", line.trim());
    }
    // A node that refuses submitblock is told apart.
    for (found, words) in [
        (Found::Node, "A block would reach this node by its P2P port (192.168.1.10:8333) alone."),
        (Found::Nothing(Down::Refused), "No block can reach this node."),
    ] {
        let permissions = Ok(all_but(&[Command::SubmitBlock]));
        let answer = Answer { p2p: Some(p2p(found)), permissions, ..ready(884_201) };
        let text = told(ONE_NODE, &[answer], Exit::Unavailable);
        assert!(text.contains(words) && !text.contains("by RPC"), "{text}");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn every_failure_has_its_advice() {
    let failures = [
        RpcError::Refused,
        RpcError::Transport("it was closed without an answer".to_owned()),
        RpcError::Timeout(Duration::from_secs(5)),
        RpcError::Unauthorized(Login::Password),
        RpcError::ForbiddenAddress { ours: None },
        RpcError::Forbidden { method: "getblocktemplate" },
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
