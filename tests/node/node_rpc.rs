//! The node client against real sockets: every way in which a node can answer wrongly, real
//! nodes, and ZMQ with a real publisher.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::json;
use smol::LocalExecutor;
use soloist::chain::{BlockHash, Chain};
use soloist::ids::NodeId;
use soloist::node::fault::{Login, Spoken};
use soloist::node::{
    Ask, Command, FetchWhy, Method, NodeEvent, NodeEventKind, NodeFacts, Permission, Position,
    RpcError, SubmitAnswer, TipSource, WAIT,
};
use soloist::peer_address::{ListedPeer, P2pAddress};
use soloist::priority_queue::Urgency;
use soloist::rpc::{Auth, NodeConfig, NodeHandle, Rpc};
use soloist::template::TxCache;

use crate::common::fault::{Fault, FaultProxy, http};
use crate::common::node::{Kind, PATIENCE, RealNode};
use crate::common::{free_port, wait_for};

// -- answers that go wrong --

fn config(url: &str) -> NodeConfig {
    NodeConfig {
        name: "test".into(),
        url: url.into(),
        auth: Auth::None,
        certificate: None,
        zmq: None,
        p2p: P2pAddress::Off,
    }
}

fn rpc(proxy: &FaultProxy) -> Rpc {
    Rpc::new(&config(&proxy.url()))
}

/// What `getbestblockhash` makes of it.
fn best(fault: Fault) -> Result<BlockHash, RpcError> {
    rpc(&FaultProxy::answering(fault)).get_best_block_hash()
}

const GENESIS: &str = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206";

#[test]
fn errors_are_told_apart() {
    use RpcError::*;
    let quoted = format!("\"{GENESIS}\"");
    assert_eq!(best(Fault::result(&quoted)), Ok(Chain::Regtest.genesis()));

    assert_eq!(best(Fault::unauthorized()), Err(Unauthorized(Login::None)));
    let ours = Some([127, 0, 0, 1].into());
    assert_eq!(best(Fault::http(403, "forbidden")), Err(ForbiddenAddress { ours }));
    assert_eq!(best(Fault::http(500, "")), Err(Http(500)));
    assert_eq!(best(Fault::queue_full()), Err(QueueFull));
    assert_eq!(best(Fault::wrong_path()), Err(WrongPath));
    assert_eq!(best(Fault::http(404, "<html>not here</html>")), Err(WebPage(404)));
    assert_eq!(
        best(Fault::rpc_error(-28, "Verifying blocks…")),
        Err(Rpc { code: -28, message: "Verifying blocks…".into() })
    );
    // bcoin sends its errors with status 200.
    assert_eq!(
        best(Fault::http(200, r#"{"result":null,"error":{"message":"No.","code":-1},"id":1}"#)),
        Err(Rpc { code: -1, message: "No.".into() })
    );

    for (what, body) in [
        ("empty", String::new()),
        ("a web page", "<!DOCTYPE html><html><body>It works!</body></html>".into()),
        ("no JSON", "It works!".into()),
        ("no JSON-RPC", "{}".into()),
        ("no object", "[1,2,3]".into()),
        ("another type", r#"{"result":17,"error":null}"#.into()),
        ("no hash", r#"{"result":"zz","error":null}"#.into()),
        ("null", r#"{"result":null,"error":null}"#.into()),
        ("no UTF-8", String::from("{\"result\":\"\\ud800\"}")),
        ("a deep nest", "[".repeat(100_000)),
        ("trailing bytes", format!("{{\"result\":{quoted}}} and more")),
    ] {
        let answer = best(Fault::http(200, &body));
        let expected = match what {
            // Nothing but open brackets is, strictly, a beginning.
            "a deep nest" => matches!(answer, Err(Malformed(_) | Cut { .. })),
            "a web page" => answer == Err(WebPage(200)),
            _ => matches!(answer, Err(Malformed(_))),
        };
        assert!(expected, "{what}: {answer:?}");
    }
}

#[test]
fn broken_connections_are_told_apart() {
    use RpcError::*;
    // A redirect is not followed: the password belongs to this address alone.
    let elsewhere = FaultProxy::answering(Fault::result("true"));
    let to = format!("{}/", elsewhere.url());
    assert_eq!(best(Fault::redirect(&to)), Err(Redirect { to }));
    assert_eq!(elsewhere.connections(), 0);

    // Cut off: in the header, at its end, in the body by length, in the body by chunks.
    for cut in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{\"result\":\"00",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{\"result\":\"00",
        b"HTTP/1.1 200 OK\r\n\r\n{\"result\":\"00",
    ] {
        let answer = best(Fault::Answer(cut.to_vec()));
        match cut {
            b"" => assert!(matches!(answer, Err(Transport(_))), "{answer:?}"),
            _ => assert!(matches!(answer, Err(Cut { .. })), "{}: {answer:?}", cut.escape_ascii()),
        }
    }
    // Not HTTP at all.
    for greeting in [&b"SSH-2.0-OpenSSH_9.2\r\n\r\nhello"[..], b"\xff\xfe\x00\x80\xc3\x28\r\n\r\n"]
    {
        let answer = best(Fault::Answer(greeting.to_vec()));
        let answered = matches!(answer, Err(NotHttp(Spoken::Other(_))));
        assert!(answered, "{}: {answer:?}", greeting.escape_ascii());
    }
    let endless_header =
        [b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-Fill: abcdefghijklmnop\r\n".repeat(100_000)].concat();
    assert_eq!(best(Fault::Answer(endless_header)), Err(TooLarge(8192)));
    let bad_length = b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}".to_vec();
    assert!(matches!(best(Fault::Answer(bad_length)), Err(Malformed(_))));
    let bad_chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n".to_vec();
    assert!(matches!(best(Fault::Answer(bad_chunk)), Err(Cut { .. })));
    // Chunks that are whole.
    let chunks = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         b\r\n{{\"result\":\"\r\n42\r\n{GENESIS}\"}}\r\n0\r\n\r\n"
    );
    assert_eq!(best(Fault::Answer(chunks.into())), Ok(Chain::Regtest.genesis()));

    // Nobody there, no such name, no such scheme.
    let nobody = format!("http://127.0.0.1:{}", free_port());
    for (url, error) in [
        (nobody.as_str(), Refused),
        ("http://no-such-host.invalid:1", UnknownName("no-such-host.invalid".into())),
        ("https://127.0.0.1:1", Refused),
        ("ftp://x", Address("it must begin with http:// or https://".into())),
    ] {
        let answer = soloist::rpc::Rpc::new(&config(url)).get_best_block_hash();
        assert_eq!(answer, Err(error), "{url}");
    }
}

#[test]
fn a_silent_or_slow_node_costs_the_deadline_and_no_more() {
    let expected = Err(RpcError::Timeout(Method::GetBestBlockHash.deadline()));
    let quoted = format!("\"{GENESIS}\"");
    let node = FaultProxy::answering(Fault::result(&quoted));
    let started = Instant::now();
    let hanging = FaultProxy::start(node.address());
    hanging.set(Fault::Hang);
    assert_eq!(rpc(&hanging).get_best_block_hash(), expected);
    // Ten bytes a second: each read succeeds, and the whole never ends.
    let slow = FaultProxy::start(node.address());
    slow.set(Fault::Slow(10));
    assert_eq!(rpc(&slow).get_best_block_hash(), expected);
    assert!(started.elapsed() < Duration::from_secs(30));

    let cut = FaultProxy::start(node.address());
    cut.set(Fault::Cut(60));
    assert!(matches!(rpc(&cut).get_best_block_hash(), Err(RpcError::Cut { .. })));
    let late = FaultProxy::start(node.address());
    late.set(Fault::Delay(Duration::from_millis(300)));
    assert_eq!(rpc(&late).get_best_block_hash(), Ok(Chain::Regtest.genesis()));
    late.set(Fault::Refuse);
    assert_eq!(rpc(&late).get_best_block_hash(), Err(RpcError::Refused));
    late.set(Fault::Pass);
    wait_for("the proxy to listen again", || rpc(&late).get_best_block_hash().ok());
}

#[test]
fn answers_are_bounded() {
    // Announced: refused before it is read.
    let announced = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n".to_vec();
    assert_eq!(best(Fault::Answer(announced)), Err(RpcError::TooLarge(1 << 20)));
    // Not announced: read up to the limit.
    assert_eq!(best(Fault::Flood(100_000_000)), Err(RpcError::TooLarge(1 << 20)));
    let flood = FaultProxy::answering(Fault::Flood(100_000_000));
    let cache = Mutex::new(TxCache::default());
    assert_eq!(rpc(&flood).get_block_template(&cache).unwrap_err(), RpcError::TooLarge(32 << 20));
}

#[test]
fn a_new_cookie_is_read_when_the_old_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".cookie");
    let good = http(200, &format!(r#"{{"result":"{GENESIS}","error":null}}"#));
    let proxy = FaultProxy::answering(Fault::Script(vec![good.clone(), http(401, ""), good]));
    let rpc = Rpc::new(&NodeConfig { auth: Auth::Cookie(path.clone()), ..config(&proxy.url()) });

    assert!(matches!(rpc.get_best_block_hash(), Err(RpcError::Cookie { .. })));
    assert_eq!(proxy.connections(), 0, "without a password there is nothing to ask");
    std::fs::write(&path, "__cookie__:first\n").unwrap();
    assert!(rpc.get_best_block_hash().is_ok());
    std::fs::write(&path, "__cookie__:second\n").unwrap();
    assert!(rpc.get_best_block_hash().is_ok(), "refused once, then with the new cookie");
    let sent: Vec<String> = proxy
        .requests()
        .iter()
        .map(|request| {
            let line = request.lines().find(|l| l.starts_with("authorization: Basic ")).unwrap();
            line["authorization: Basic ".len()..].to_string()
        })
        .collect();
    let [first, second] = ["X19jb29raWVfXzpmaXJzdA==", "X19jb29raWVfXzpzZWNvbmQ="];
    assert_eq!(sent, [first, first, second]);

    // An unchanged one is not tried again: Core makes us wait for each wrong password.
    proxy.set(Fault::unauthorized());
    assert_eq!(rpc.get_best_block_hash(), Err(RpcError::Unauthorized(Login::Cookie)));
    assert_eq!(proxy.connections(), 4);
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(rpc.get_best_block_hash(), Err(RpcError::Cookie { .. })));
}

#[test]
fn a_fixed_password_is_sent_once() {
    let proxy = FaultProxy::answering(Fault::unauthorized());
    let auth = Auth::UserPass { user: "Aladdin".into(), pass: "open sesame".into() };
    let rpc = Rpc::new(&NodeConfig { auth, ..config(&proxy.url()) });
    assert_eq!(rpc.get_best_block_hash(), Err(RpcError::Unauthorized(Login::Password)));
    let requests = proxy.requests();
    assert_eq!(requests.len(), 1);
    // The example of RFC 7617.
    assert!(requests[0].contains("authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"));
}

fn health_script(chain: &str, network: &str) -> Fault {
    let result = |json: &str| http(200, &format!(r#"{{"result":{json},"error":null}}"#));
    Fault::Script(vec![
        result(chain),
        result(network),
        result(&format!("\"{GENESIS}\"")),
        http(500, ""),
    ])
}

#[test]
fn a_signet_is_asked_with_its_rule_once_it_is_known() {
    let chain = format!(
        r#"{{"chain":"signet","blocks":7,"headers":9,"bestblockhash":"{GENESIS}",
            "chainwork":"02","initialblockdownload":true,"verificationprogress":0.5,
            "time":1700000000,"warnings":["one","two"],"pruned":true,"size_on_disk":"much"}}"#
    );
    let proxy = FaultProxy::answering(Fault::http(500, ""));
    let rpc = rpc(&proxy);
    let cache = Mutex::new(TxCache::default());
    rpc.get_block_template(&cache).unwrap_err();
    proxy.set(health_script(
        &chain,
        r#"{"connections":3,"connections_in":2,"connections_out":1,
            "subversion":"/Satoshi:30.0.0/","warnings":["two"]}"#,
    ));
    let report = rpc.health().unwrap();
    let facts = NodeFacts {
        connections_in: Some(2),
        connections_out: Some(1),
        pruned: Some(true),
        size_on_disk: None,
    };
    assert_eq!(report.facts, facts, "what makes no sense and decides nothing does no harm");
    assert_eq!(report.chain, "signet");
    assert_eq!((report.blocks, report.headers, report.connections), (7, 9, Some(3)));
    assert_eq!((report.initial_download, report.progress), (true, 0.5));
    assert_eq!((report.tip_time, report.chainwork[31]), (1_700_000_000, 2));
    assert_eq!(
        (report.version.as_deref(), report.warnings.as_str()),
        (Some("/Satoshi:30.0.0/"), "one; two")
    );
    assert_eq!(report.genesis, Some(Chain::Regtest.genesis()));
    rpc.get_block_template(&cache).unwrap_err();
    rpc.propose("00").unwrap_err();

    let bodies: Vec<serde_json::Value> = proxy
        .requests()
        .iter()
        .map(|request| serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap())
        .filter(|body: &serde_json::Value| body["method"] == "getblocktemplate")
        .map(|body| body["params"].clone())
        .collect();
    assert_eq!(
        bodies,
        [
            json!([{"rules": ["segwit"]}]),
            json!([{"rules": ["segwit", "signet"]}]),
            json!([{"rules": ["segwit", "signet"], "mode": "proposal", "data": "00"}]),
        ]
    );
}

#[test]
fn impossible_health_makes_no_sense() {
    let good = format!(
        r#"{{"chain":"main","blocks":7,"headers":9,"bestblockhash":"{GENESIS}","chainwork":"02"}}"#
    );
    let proxy = FaultProxy::answering(Fault::http(500, ""));
    let rpc = rpc(&proxy);
    proxy.set(health_script(&good, "{}"));
    assert_eq!(rpc.health().unwrap().tip_time, 0, "what is missing is not made up");
    for (from, to) in [
        ("7", "-7"),
        ("7", "1e400"),
        ("7", "99999999999999999999999999"),
        ("7", "\"7\""),
        ("\"main\"", "null"),
        ("\"02\"", "\"xy\""),
        ("\"02\"", "2"),
        (GENESIS, "00"),
    ] {
        proxy.set(health_script(&good.replacen(from, to, 1), "{}"));
        let answer = rpc.health();
        assert!(matches!(answer, Err(RpcError::Malformed(_))), "{from} → {to}: {answer:?}");
    }
    proxy.set(health_script(&good, r#"{"connections":-1}"#));
    assert!(matches!(rpc.health(), Err(RpcError::Malformed(_))));
}

// -- the handle --

struct Watched {
    executor: LocalExecutor<'static>,
    events: async_channel::Receiver<NodeEvent>,
    handle: NodeHandle,
}

impl Watched {
    fn new(config: &NodeConfig) -> Watched {
        let executor = LocalExecutor::new();
        let (sender, events) = async_channel::unbounded();
        let handle = NodeHandle::start(NodeId(3), config, sender, &executor).unwrap();
        Watched { executor, events, handle }
    }

    /// The next event, if one comes in time.
    fn next_within(&self, limit: Duration) -> Option<NodeEventKind> {
        let next = async {
            loop {
                match self.events.recv().await.ok()? {
                    // The idle connection: a test of its own tells of it.
                    NodeEvent { kind: NodeEventKind::HungUp, .. } => {}
                    event => return Some(event),
                }
            }
        };
        let timer = async {
            smol::Timer::after(limit).await;
            None
        };
        let event = smol::block_on(self.executor.run(smol::future::or(next, timer)))?;
        assert_eq!(event.node, NodeId(3));
        match event.kind {
            // That is for tests/node/node_zmq.rs.
            NodeEventKind::Zmq(_) => self.next_within(limit),
            kind => Some(kind),
        }
    }

    fn next(&self) -> NodeEventKind {
        self.next_within(PATIENCE).expect("an event")
    }

    fn quiet(&self) {
        let event = self.next_within(Duration::from_millis(400));
        assert!(event.is_none(), "{event:?}");
    }

    fn zmq_tip(&self, limit: Duration) -> Option<BlockHash> {
        match self.next_within(limit)? {
            NodeEventKind::Tip { hash, source: TipSource::Zmq, took, .. } => {
                assert_eq!(took, Duration::ZERO);
                Some(hash)
            }
            other => panic!("{other:?}"),
        }
    }
}

const TEMPLATE: &str = r#"{"version":536870912,"rules":["csv","!segwit"],"vbavailable":{},
    "previousblockhash":"0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
    "transactions":[],"coinbaseaux":{},"coinbasevalue":5000000000,"longpollid":"L",
    "target":"7fffff0000000000000000000000000000000000000000000000000000000000",
    "mintime":1296688603,"mutable":["time","transactions","prevblock"],
    "noncerange":"00000000ffffffff","sigoplimit":80000,"sizelimit":4000000,
    "weightlimit":4000000,"curtime":1296688700,"bits":"207fffff","height":1}"#;

#[test]
fn calls_do_not_pile_up_at_a_node_that_hangs() {
    let server = FaultProxy::answering(Fault::result(TEMPLATE));
    let proxy = FaultProxy::start(server.address());
    proxy.set(Fault::Hang);
    let node = Watched::new(&config(&proxy.url()));
    let block = Chain::Regtest.genesis();
    for _ in 0..50 {
        node.handle.ask(Ask::Template(FetchWhy::NewTip));
    }
    assert!(
        node.handle.ask(Ask::Tip)
            && node.handle.ask(Ask::Health)
            && node.handle.ask(Ask::Propose { block, hex: "00".into() })
    );
    assert!(node.handle.ask(Ask::Precious(block)) && node.handle.ask(Ask::Addresses));
    assert!(node.handle.ask(Ask::ChainTips) && node.handle.ask(Ask::BlocksAt(vec![1])));
    assert!(
        node.handle.ask(Ask::Position { block, height: 0 })
            && node.handle.ask(Ask::Position { block, height: 0 })
    );
    for _ in 0..50 {
        assert!(!node.handle.ask(Ask::Tip) && !node.handle.ask(Ask::Health));
        assert!(
            !node.handle.ask(Ask::Propose { block, hex: "00".into() })
                && !node.handle.ask(Ask::Precious(block))
        );
        assert!(!node.handle.ask(Ask::Position { block, height: 0 }));
        assert!(!node.handle.ask(Ask::Addresses));
    }
    wait_for("the calls to arrive", || (proxy.connections() == 2).then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(proxy.connections(), 2, "one call in each lane, whatever was asked");

    // A solved block does not wait behind them: it has a thread of its own, and is under way.
    node.handle.submit(block, "00".into(), Urgency::Urgent);
    wait_for("the submission to arrive", || (proxy.connections() == 3).then_some(()));

    // All come to an end, the shortest deadline first.
    match node.next() {
        NodeEventKind::Failed {
            method: Method::GetBestBlockHash,
            error: RpcError::Timeout(deadline),
            took,
        } => {
            assert!(took >= deadline, "{took:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(node.handle.ask(Ask::Tip), "its place is free again");

    // Let the node answer: the fetch that was asked for meanwhile follows, once.
    proxy.set(Fault::Pass);
    let mut templates = 0;
    while let Some(event) = node.next_within(Duration::from_secs(3)) {
        templates += matches!(event, NodeEventKind::Template { .. }) as u32;
    }
    assert_eq!(templates, 2);
}

#[test]
fn addresses_of_other_nodes_are_told_or_the_reason_why_not() {
    let recorded = include_str!("getnodeaddresses.json");
    let server = FaultProxy::answering(Fault::result(recorded));
    let proxy = FaultProxy::start(server.address());
    let node = Watched::new(&config(&proxy.url()));
    assert!(node.handle.ask(Ask::Addresses));
    match node.next() {
        NodeEventKind::Addresses { list, .. } => {
            // Those of I2P and CJDNS are left out.
            assert_eq!(list.len(), 35);
            let written = |peer: &ListedPeer| recorded.contains(&peer.address.host.to_string());
            assert!(list.iter().all(written));
        }
        other => panic!("{other:?}"),
    }
    let asked = server.requests().concat();
    assert!(asked.contains(r#""method":"getnodeaddresses","params":[500]"#), "{asked}");

    for fault in [
        Fault::http(404, r#"{"result":null,"error":{"code":-32601,"message":"?"},"id":1}"#),
        Fault::forbidden_methods(&["getnodeaddresses"]),
        Fault::result("{}"),
    ] {
        proxy.set(fault);
        assert!(node.handle.ask(Ask::Addresses), "its place is free again");
        match node.next() {
            NodeEventKind::Failed { method: Method::GetNodeAddresses, error, .. } => {
                assert!(
                    matches!(
                        error,
                        RpcError::Rpc { code: -32601, .. }
                            | RpcError::Forbidden { method: "getnodeaddresses" }
                            | RpcError::Malformed(_)
                    ),
                    "{error:?}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_template_waits_for_one_question_of_permission_at_most() {
    let server = FaultProxy::answering(Fault::result(TEMPLATE));
    let proxy = FaultProxy::start(server.address());
    proxy.set(Fault::Delay(Duration::from_millis(50)));
    let node = Watched::new(&config(&proxy.url()));
    assert!(node.handle.ask(Ask::Permissions));
    wait_for("the first question", || (proxy.connections() >= 1).then_some(()));
    node.handle.ask(Ask::Template(FetchWhy::NewTip));
    let first = node.next();
    assert!(matches!(first, NodeEventKind::Template { .. }), "{first:?}");
    assert!(!node.handle.ask(Ask::Permissions), "its place is taken until all are answered");
    match node.next() {
        NodeEventKind::Permissions { permissions, took } => {
            assert!(permissions.are_enough());
            assert!(took >= Duration::from_millis(11 * 50), "{took:?} for eleven questions");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fetch_that_fails_is_not_repeated() {
    let server = FaultProxy::answering(Fault::rpc_error(-28, "Loading block index…"));
    let proxy = FaultProxy::start(server.address());
    // No answer before all three are asked.
    proxy.set(Fault::Hang);
    let node = Watched::new(&config(&proxy.url()));
    for _ in 0..3 {
        node.handle.ask(Ask::Template(FetchWhy::NewTip));
    }
    proxy.set(Fault::Pass);
    let failed = node.next();
    assert!(
        matches!(
            &failed,
            NodeEventKind::Failed {
                method: Method::GetBlockTemplate,
                error: RpcError::Rpc { code: -28, .. },
                ..
            }
        ),
        "{failed:?}"
    );
    node.quiet();
    node.handle.ask(Ask::Template(FetchWhy::NewTip));
    assert!(matches!(node.next(), NodeEventKind::Failed { .. }));
}

#[test]
fn stopping_never_waits() {
    let proxy = FaultProxy::answering(Fault::Hang);
    let node = Watched::new(&config(&proxy.url()));
    node.handle.ask(Ask::Tip);
    node.handle.ask(Ask::Template(FetchWhy::NewTip));
    node.handle.submit(Chain::Regtest.genesis(), "00".into(), Urgency::Normal);
    wait_for("all three", || (proxy.connections() == 3).then_some(()));
    for old in [Chain::Signet, Chain::Testnet4] {
        node.handle.submit(old.genesis(), "01".into(), Urgency::Normal);
    }
    node.handle.submit(Chain::Main.genesis(), "02".into(), Urgency::Urgent);
    let started = Instant::now();
    let Watched { handle, events, executor } = node;
    handle.stop();
    drop(executor);
    assert!(started.elapsed() < Duration::from_secs(1));
    // The other blocks waited for the first call's end. They are submitted all the same, and the one
    // that was solved just now overtakes those of an earlier run.
    proxy.set(Fault::result("null"));
    let mut submitted = Vec::new();
    smol::block_on(async {
        while let Ok(event) = events.recv().await {
            if let NodeEventKind::Submitted { block, answer, .. } = event.kind {
                assert_eq!(answer, Ok(SubmitAnswer::Accepted));
                submitted.push(block);
            }
        }
    });
    let order = [Chain::Regtest, Chain::Main, Chain::Signet, Chain::Testnet4];
    assert_eq!(submitted, order.map(Chain::genesis));
}

/// Where a method is forbidden (403 with an empty body) or unknown, the others serve as far as they go.
#[test]
fn where_a_block_stands_is_found_out_with_what_may_be_asked() {
    let ours = Chain::Regtest.genesis();
    let other = Chain::Main.genesis();
    let result = |json: String| match Fault::result(&json) {
        Fault::Answer(bytes) => bytes,
        _ => unreachable!("a result is an answer"),
    };
    let header =
        |confirmations: i64| result(format!(r#"{{"confirmations":{confirmations},"height":7}}"#));
    let hash = |hash: BlockHash| result(format!("\"{hash}\""));
    let error = |code: i64, message: &str| match Fault::rpc_error(code, message) {
        Fault::Answer(bytes) => bytes,
        _ => unreachable!("an error is an answer"),
    };
    // After a 403 it is asked without a password: 401 tells that our address is welcome.
    let (forbidden, stranger) = (|| http(403, ""), || http(401, ""));
    let unknown = || error(-32601, "Method not found");
    let in_chain = |confirmations| Ok(Position::InChain { confirmations });
    let rows = [
        (vec![header(3), hash(ours)], in_chain(Some(3))),
        // bcoin counts confirmations of a block outside its best chain.
        (vec![header(3), hash(other), header(2)], Ok(Position::Outside { rival: 2 })),
        (vec![header(-1), hash(other), header(1)], Ok(Position::Outside { rival: 1 })),
        (
            vec![header(-1), error(-8, "Block height out of range")],
            Ok(Position::Outside { rival: 0 }),
        ),
        (vec![error(-5, "Block not found")], Ok(Position::Missing)),
        (vec![forbidden(), stranger(), hash(ours)], in_chain(None)),
        (vec![unknown(), hash(other)], Ok(Position::Untold)),
        (vec![header(3), forbidden(), stranger(), hash(ours)], in_chain(Some(1))),
        (vec![forbidden(), stranger(), unknown(), hash(ours)], in_chain(Some(1))),
        (vec![forbidden(), stranger(), forbidden(), stranger(), hash(other)], Ok(Position::Untold)),
        (vec![forbidden(), stranger(), forbidden(), stranger(), forbidden(), stranger()], Err(())),
        (vec![header(3), error(-28, "Loading block index…")], Err(())),
    ];
    for (number, (answers, expected)) in rows.into_iter().enumerate() {
        let proxy = FaultProxy::answering(Fault::Script(answers));
        let rpc = Rpc::new(&config(&proxy.url()));
        let position = rpc.best_chain_position(ours, 7).map_err(|_| ());
        assert_eq!(position, expected, "row {number}");
    }
}

// -- real nodes --

fn template_of(rpc: &Rpc) -> soloist::template::Template {
    rpc.get_block_template(&Mutex::new(TxCache::default())).unwrap()
}

#[test]
fn a_real_node_is_understood() {
    for node in RealNode::all() {
        let rpc = node.rpc();
        let made = node.generate(3);
        let template = template_of(&rpc);
        assert_eq!((template.height, template.prev), (4, made[2]));

        let health = rpc.health().unwrap();
        assert_eq!(Chain::from_name(&health.chain), Some(Chain::Regtest));
        assert_eq!(health.genesis, Some(Chain::Regtest.genesis()));
        assert_eq!((health.blocks, health.headers, health.best), (3, 3, made[2]));
        // Work of 2 for each of four blocks.
        assert_eq!(health.chainwork[31], 8);
        assert!(health.version.is_some() && health.connections == Some(0), "{health:?}");
        assert_eq!(rpc.get_best_block_hash(), Ok(made[2]));

        let in_chain = |n| Ok(Position::InChain { confirmations: Some(n) });
        assert_eq!(rpc.best_chain_position(made[0], 1), in_chain(3));
        assert_eq!(rpc.best_chain_position(made[2], 3), in_chain(1));
        assert_eq!(rpc.best_chain_position(BlockHash([7; 32]), 3), Ok(Position::Missing));
        match (node.kind, rpc.precious_block(made[2])) {
            (Kind::Core, Ok(())) => {}
            (Kind::Bcoin, Err(RpcError::Rpc { code: -32601, .. })) => {}
            (_, other) => panic!("{other:?}"),
        }
        assert!(matches!(rpc.submit_block("00"), Err(RpcError::Rpc { .. })), "no block at all");

        // The wrong password.
        let auth = Auth::UserPass { user: "x".into(), pass: "wrong".into() };
        let stranger = Rpc::new(&NodeConfig { auth, ..node.config() });
        let refused = Err(RpcError::Unauthorized(Login::Password));
        assert_eq!(stranger.get_best_block_hash(), refused);
    }
}

#[test]
fn a_real_node_tells_other_nodes_where_it_can() {
    for node in RealNode::all() {
        let told = node.rpc().node_addresses();
        match node.kind {
            Kind::Core => assert_eq!(told, Ok(Vec::new())),
            Kind::Bcoin => {
                assert!(matches!(told, Err(RpcError::Rpc { code: -32601, .. })), "{told:?}");
                continue;
            }
        }
        for (address, port) in [("77.1.2.3", 8333), ("2a01:4f8:1::2", 18444), (ONION, 8333)] {
            node.call("addpeeraddress", json!([address, port]));
        }
        let mut list = node.rpc().node_addresses().unwrap();
        list.sort_by(|one, other| one.address.cmp(&other.address));
        let told: Vec<String> = list.iter().map(|peer| peer.address.to_string()).collect();
        assert_eq!(told, ["77.1.2.3:8333", "[2a01:4f8:1::2]:18444", &format!("{ONION}:8333")]);
        assert!(list.iter().all(|peer| peer.services == 9 && peer.seen > 1_700_000_000));
    }
}

/// The address of torproject.org: Bitcoin Core verifies the checksum in it.
const ONION: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";

#[test]
fn a_real_node_says_what_it_permits_and_is_not_changed_by_the_question() {
    for node in RealNode::all() {
        let made = node.generate(3);
        let permissions = node.rpc().permissions().unwrap();
        assert!(permissions.are_enough(), "{permissions:?}");
        let missing: Vec<Command> = Command::ALL
            .into_iter()
            .filter(|command| permissions.of(*command) != Permission::Allowed)
            .collect();
        match node.kind {
            Kind::Core => assert_eq!(missing, []),
            Kind::Bcoin => {
                let absent =
                    [Command::PreciousBlock, Command::WaitForNewBlock, Command::GetNodeAddresses];
                assert_eq!(missing, absent);
                assert_eq!(permissions.of(missing[0]), Permission::Missing);
            }
        }
        assert_eq!(permissions.shortage(), None);
        assert_eq!(node.tip(), made[2]);
        // What is forbidden is told from what fails, and from a wrong address.
        let proxy = FaultProxy::start(node.address());
        let rpc = Rpc::new(&node.config_through(proxy.address()));
        proxy.set(Fault::forbidden_methods(&["submitblock", "getnetworkinfo", "getblockhash"]));
        let permissions = rpc.permissions().unwrap();
        assert_eq!(permissions.refused(), [Command::SubmitBlock, Command::GetBlockHash]);
        assert_eq!(permissions.of(Command::GetNetworkInfo), Permission::Forbidden);
        assert!(!permissions.whitelist_line().contains("only for tests"), "its password");
        let health = rpc.health().unwrap();
        assert_eq!((health.blocks, health.genesis), (3, None));
        assert_eq!((health.connections, health.version), (None, None));
        let asked = |proxy: &FaultProxy| {
            let all = proxy.requests();
            all.iter().filter(|request| request.contains("\"getnetworkinfo\"")).count()
        };
        assert_eq!(asked(&proxy), 2);
        rpc.health().unwrap();
        assert_eq!(asked(&proxy), 2, "its log is not filled with our refusals");
        proxy.set(Fault::Pass);
        assert!(rpc.permissions().unwrap().are_enough());
        assert_eq!(rpc.health().unwrap().connections, Some(0));
        proxy.set(Fault::http(403, ""));
        let shut_out = rpc.permissions();
        assert!(matches!(shut_out, Err(RpcError::ForbiddenAddress { .. })), "{shut_out:?}");
    }
}

#[test]
fn a_user_who_may_call_nothing_is_told_from_an_address_that_is_not_let_in() {
    // The user stands in no whitelist, and those of another make that count.
    let whitelist = "-rpcwhitelist=__cookie__:getblockchaininfo";
    let auth = "-rpcauth=anna:0123456789abcdef$\
                ec77944ba872176851ca090783f8082e02d46747824a81bb94b7b456bb71fbe6";
    let Some(node) = RealNode::core_with(&[whitelist, auth]) else { return };
    let auth = Auth::UserPass { user: "anna".into(), pass: "geheim".into() };
    let rpc = Rpc::new(&NodeConfig { auth, ..node.config() });
    let permissions = rpc.permissions().unwrap();
    assert_eq!(permissions.refused().len(), 5, "{permissions:?}");
    assert!(permissions.whitelist_line().starts_with("rpcwhitelist=anna:getblocktemplate,"));
    // By the cookie one thing is allowed.
    let permissions = node.rpc().permissions().unwrap();
    assert_eq!(permissions.refused().len(), 4, "{permissions:?}");
    assert_eq!(permissions.of(Command::GetBlockchainInfo), Permission::Allowed);
    assert!(permissions.whitelist_line().starts_with("rpcwhitelist=__cookie__:"));
}

#[test]
fn real_answers_to_blocks_are_understood() {
    for kind in [RealNode::bcoin, RealNode::core] {
        let (Some(miner), Some(node)) = (kind(), kind()) else { continue };
        let rpc = node.rpc();
        // The first three are the same on both, then their ways part.
        let common = miner.generate(3);
        node.learn_from(&miner, 3);
        let next = miner.generate(1)[0];
        let hex = miner.call("getblock", json!([next.to_string(), 0]));
        let hex = hex.as_str().unwrap();

        assert_eq!(rpc.propose(hex), Ok(None), "it would be accepted");
        // Another byte in the merkle root, then another in the previous hash.
        let broken = |byte: usize| {
            let mut broken = hex.to_string();
            let flipped = if &hex[2 * byte..2 * byte + 1] == "0" { "1" } else { "0" };
            broken.replace_range(2 * byte..2 * byte + 1, flipped);
            broken
        };
        let refused = rpc.propose(&broken(40)).unwrap().expect("a reason");
        assert!(refused.contains("merkle") || refused.contains("txnmrklroot"), "{refused}");
        let stale = rpc.propose(&broken(10)).unwrap();
        assert_eq!(stale.as_deref(), Some("inconclusive-not-best-prevblk"));
        assert_eq!(node.tip(), common[2], "proposing changes nothing");

        // A flipped merkle root also changes the hash, which then may fail the target first.
        let answer = rpc.submit_block(&broken(40)).unwrap();
        assert!(matches!(answer, SubmitAnswer::Rejected(_)), "{answer:?}");
        assert_eq!(rpc.submit_block(hex), Ok(SubmitAnswer::Accepted));
        assert_eq!(rpc.submit_block(hex), Ok(SubmitAnswer::Duplicate));
        assert_eq!(node.tip(), next);

        // A rival at the same height: held, but not in the best chain.
        let rival = {
            let Some(other) = kind() else { continue };
            other.learn_from(&miner, 3);
            let made = other.call("generatetoaddress", json!([1, other.payout(9)]));
            let hash: BlockHash = made[0].as_str().unwrap().parse().unwrap();
            let hex = other.call("getblock", json!([hash.to_string(), 0]));
            let answer = rpc.submit_block(hex.as_str().unwrap()).unwrap();
            match node.kind {
                Kind::Core => assert_eq!(answer, SubmitAnswer::Inconclusive("inconclusive".into())),
                // bcoin says null of any valid block, in the best chain or not.
                Kind::Bcoin => assert_eq!(answer, SubmitAnswer::Accepted),
            }
            hash
        };
        assert_eq!(node.tip(), next, "the first seen stays");
        let in_chain = Ok(Position::InChain { confirmations: Some(1) });
        assert_eq!(rpc.best_chain_position(next, 4), in_chain);
        let outside = Ok(Position::Outside { rival: 1 });
        assert_eq!(rpc.best_chain_position(rival, 4), outside, "known, and not in the best chain");
        if node.kind == Kind::Core {
            rpc.precious_block(rival).unwrap();
            assert_eq!(node.tip(), rival);
        }
    }
}

#[test]
fn a_real_node_tells_a_call_that_waits_of_the_new_tip() {
    for real in RealNode::all() {
        let tip = *real.generate(1).last().unwrap();
        let node = Watched::new(&NodeConfig { zmq: None, ..real.config() });
        assert!(node.handle.ask(Ask::TryWait));
        let tried = node.next();
        if real.kind == Kind::Bcoin {
            let unknown = |error: &RpcError| matches!(error, RpcError::Rpc { code: -32601, .. });
            assert!(matches!(&tried, NodeEventKind::WaitTried(Err(e)) if unknown(e)), "{tried:?}");
            continue;
        }
        assert!(matches!(tried, NodeEventKind::WaitTried(Ok(true))), "{tried:?}");
        let wait = || {
            assert!(node.handle.ask(Ask::WaitForTip) && !node.handle.ask(Ask::Tip));
            node.next()
        };
        match wait() {
            NodeEventKind::Tip { hash, height: Some(1), source: TipSource::Wait, took } => {
                assert!(hash == tip && took >= WAIT, "{took:?}");
            }
            other => panic!("{other:?}"),
        }
        let mut waits = Vec::new();
        for height in 2..12 {
            assert!(node.handle.ask(Ask::WaitForTip));
            std::thread::sleep(WAIT / 5);
            let made = real.generate(1)[0];
            let returned = Instant::now();
            match node.next() {
                NodeEventKind::Tip { hash, height: told, source: TipSource::Wait, took } => {
                    assert_eq!((hash, told), (made, Some(height)));
                    assert!(took < WAIT, "{took:?}");
                }
                other => panic!("{other:?}"),
            }
            waits.push(returned.elapsed());
        }
        waits.sort();
        println!("waitfornewblock after generatetoaddress had returned: median {:?}", waits[5]);
    }
}

#[test]
fn a_real_node_with_one_thread_is_seen_to_have_none_to_spare() {
    for (threads, beside) in [(1, false), (2, true)] {
        let Some(real) = RealNode::core_with(&[&format!("-rpcthreads={threads}")]) else { return };
        let node = Watched::new(&NodeConfig { zmq: None, ..real.config() });
        assert!(node.handle.ask(Ask::TryWait));
        let tried = node.next();
        assert!(
            matches!(tried, NodeEventKind::WaitTried(Ok(seen)) if seen == beside),
            "{threads} thread(s): {tried:?}"
        );
    }
}

#[test]
fn the_header_of_a_real_tip_tells_its_height_and_median_time() {
    for real in RealNode::all() {
        let made = real.generate(12);
        let node = Watched::new(&real.config());
        assert!(node.handle.ask(Ask::Header(made[11])));
        let header = loop {
            match node.next() {
                NodeEventKind::Header { hash, header } if hash == made[11] => break header,
                NodeEventKind::Tip { source: TipSource::Zmq, .. } => {}
                other => panic!("{other:?}"),
            }
        };
        let template = template_of(&real.rpc());
        assert_eq!((header.height, header.median_time + 1), (12, template.mintime));
    }
}

#[test]
fn the_death_of_a_real_node_is_told_by_its_idle_connection() {
    for mut real in RealNode::all() {
        let node = Watched::new(&NodeConfig { zmq: None, ..real.config() });
        // Lets the executor connect.
        node.quiet();
        real.kill();
        let killed = Instant::now();
        let event = smol::block_on(node.executor.run(node.events.recv())).unwrap();
        assert!(matches!(event.kind, NodeEventKind::HungUp), "{event:?}");
        println!("{:?}: killed → told after {:?}", real.kind, killed.elapsed());
        assert!(killed.elapsed() < Duration::from_secs(1));
    }
}

#[test]
fn a_real_node_that_stops_and_starts_is_understood() {
    for mut real in RealNode::all() {
        let made = real.generate(2);
        let rpc = real.rpc();
        assert_eq!(rpc.get_best_block_hash(), Ok(made[1]));
        real.freeze();
        assert!(matches!(rpc.get_best_block_hash(), Err(RpcError::Timeout(_))));
        real.thaw();
        wait_for("it to go on", || rpc.get_best_block_hash().ok());
        real.kill();
        assert_eq!(rpc.get_best_block_hash(), Err(RpcError::Refused));
        real.launch_without_waiting();
        // While it starts: refused, warming up, or (Core) still with the old cookie.
        let mut seen = Vec::new();
        let best = wait_for("it to be back", || match rpc.get_best_block_hash() {
            Ok(best) => Some(best),
            Err(error) => {
                if !seen.contains(&error) {
                    seen.push(error);
                }
                None
            }
        });
        assert!(
            seen.iter().all(|error| matches!(
                error,
                RpcError::Refused
                    | RpcError::Transport(_)
                    | RpcError::Rpc { code: -28, .. }
                    | RpcError::Unauthorized(_)
                    | RpcError::Cookie { .. }
                    | RpcError::WrongPath
                    | RpcError::Unavailable
            )),
            "{seen:?}"
        );
        // Killed without warning, a node may have forgotten its last blocks.
        assert!(best == made[1] || real.kind == Kind::Core, "{best}");
    }
}

// -- ZMQ --

fn publisher(endpoint: &str) -> zmq::Socket {
    let socket = zmq::Context::new().socket(zmq::PUB).unwrap();
    socket.set_linger(0).unwrap();
    wait_for("the port", || socket.bind(endpoint).ok());
    socket
}

/// As Bitcoin Core sends it: the hash in the order in which it is shown.
fn announce(socket: &zmq::Socket, hash: BlockHash, sequence: u32) {
    let mut shown = hash.0;
    shown.reverse();
    socket.send_multipart([&b"hashblock"[..], &shown, &sequence.to_le_bytes()], 0).unwrap();
}

fn numbered(number: u32) -> BlockHash {
    let mut hash = [0; 32];
    hash[..4].copy_from_slice(&number.to_be_bytes());
    BlockHash(hash)
}

/// A subscriber that has just connected gets nothing of what was sent before: announce until it
/// hears.
fn announce_until_heard(node: &Watched, socket: &zmq::Socket, from: u32) -> u32 {
    for number in from.. {
        announce(socket, numbered(number), number);
        if let Some(hash) = node.zmq_tip(Duration::from_millis(100)) {
            assert!(hash >= numbered(from) && hash <= numbered(number), "{hash}");
            // Whatever is still under way.
            while node.zmq_tip(Duration::from_millis(100)).is_some() {}
            return number + 1;
        }
        assert!(number < from + 300, "never heard");
    }
    unreachable!()
}

fn zmq_config(endpoint: &str) -> NodeConfig {
    NodeConfig { zmq: Some(endpoint.into()), ..config("http://127.0.0.1:1") }
}

#[test]
fn zmq_survives_garbage_and_the_publishers_restart() {
    let endpoint = format!("tcp://127.0.0.1:{}", free_port());
    // Nobody publishes yet.
    let node = Watched::new(&zmq_config(&endpoint));
    node.quiet();
    let socket = publisher(&endpoint);
    let mut number = announce_until_heard(&node, &socket, 1);

    let hash = [1; 32];
    for garbage in [
        vec![&b"hashblock"[..]],
        vec![b"hashblock", b""],
        vec![b"hashblock", &hash[1..], &[0; 4]],
        vec![b"hashblock", &hash, &[0; 5]],
        vec![b"hashblock", &hash, &[0; 4], b"more", b"and", b"more"],
        vec![b"hashblockx", &hash, &[0; 4]],
        vec![b"rawblock", &hash, &[0; 4]],
        vec![b"hashblock", &[0; 4000], &[0; 4]],
    ] {
        socket.send_multipart(garbage, 0).unwrap();
    }
    node.quiet();
    announce(&socket, numbered(number), 7);
    assert_eq!(node.zmq_tip(PATIENCE), Some(numbered(number)), "goes on after garbage");

    // A message that is far too long costs the publisher its connection, not us our memory.
    socket.send_multipart([&b"hashblock"[..], &[0; 1 << 20]], 0).unwrap();
    number = announce_until_heard(&node, &socket, number + 1);

    // A burst: whatever is dropped of it, the last one is told.
    for step in 0..500 {
        announce(&socket, numbered(number + step), number + step);
    }
    let last = numbered(number + 499);
    wait_for("the end of the burst", || (node.zmq_tip(PATIENCE)? == last).then_some(()));

    drop(socket);
    node.quiet();
    let socket = publisher(&endpoint);
    announce_until_heard(&node, &socket, number + 500);
}

#[test]
fn zmq_at_an_address_that_speaks_otherwise_harms_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut client, _) = listener.accept().unwrap();
            client
                .write_all(&[b"HTTP/1.1 400 Bad Request\r\n\r\n", &[0xff; 4096][..]].concat())
                .ok();
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            client.read_to_end(&mut Vec::new()).ok();
        }
    });
    let node = Watched::new(&zmq_config(&endpoint));
    wait_for("two attempts", || {
        assert!(node.zmq_tip(Duration::from_millis(100)).is_none());
        server.is_finished().then_some(())
    });
    // No address at all: said in the log and tried again later.
    for endpoint in ["nonsense", "tcp://", "tcp://127.0.0.1:99999", "udp://127.0.0.1:1"] {
        Watched::new(&zmq_config(endpoint)).quiet();
    }
}

#[test]
fn zmq_connects_again_after_a_cut_and_after_a_silent_death() {
    let endpoint = format!("tcp://127.0.0.1:{}", free_port());
    let address = endpoint["tcp://".len()..].parse().unwrap();
    let proxy = FaultProxy::start(address);
    let socket = publisher(&endpoint);
    let node = Watched::new(&zmq_config(&format!("tcp://{}", proxy.address())));
    let number = announce_until_heard(&node, &socket, 1);
    proxy.set(Fault::Refuse);
    node.quiet();
    proxy.set(Fault::Pass);
    let number = announce_until_heard(&node, &socket, number);

    // The connection stays open and nothing comes any more, not even an answer to a heartbeat.
    let before = proxy.connections();
    proxy.set(Fault::Hang);
    wait_for("a new attempt", || {
        assert_eq!(node.zmq_tip(Duration::from_millis(100)), None);
        (proxy.connections() > before).then_some(())
    });
    proxy.set(Fault::Pass);
    announce_until_heard(&node, &socket, number);
}

#[test]
fn zmq_of_a_real_core_announces_its_tip() {
    let Some(real) = RealNode::core() else { return };
    let node = Watched::new(&real.config());
    // The subscription may take a moment to be in force.
    let mut made = Vec::new();
    let first = wait_for("news by ZMQ", || {
        made.extend(real.generate(1));
        node.zmq_tip(Duration::from_millis(200))
    });
    assert!(made.contains(&first));
    while node.zmq_tip(Duration::from_millis(500)).is_some() {}
    let mut took = Vec::new();
    for _ in 0..20 {
        let made = real.generate(1)[0];
        let done = Instant::now();
        assert_eq!(node.zmq_tip(PATIENCE), Some(made));
        took.push(done.elapsed());
    }
    took.sort();
    println!(
        "hashblock after generatetoaddress had returned: median {:?}, maximum {:?} of {}",
        took[10],
        took[19],
        took.len()
    );
}

#[test]
fn a_handle_keeps_the_transactions_of_its_templates_once() {
    let tx = format!("{}00", "02".repeat(60));
    let id = "11".repeat(32);
    let template = TEMPLATE.replace(
        "\"transactions\":[]",
        &format!(r#""transactions":[{{"data":"{tx}","txid":"{id}","hash":"{id}","fee":7}}]"#),
    );
    let proxy = FaultProxy::answering(Fault::result(&template));
    let node = Watched::new(&config(&proxy.url()));
    node.handle.ask(Ask::Template(FetchWhy::NewTip));
    let NodeEventKind::Template { template: first, .. } = node.next() else { panic!() };
    node.handle.ask(Ask::Template(FetchWhy::NewTip));
    let NodeEventKind::Template { template: second, .. } = node.next() else { panic!() };
    assert!(Arc::ptr_eq(&first.txs[0], &second.txs[0]), "kept once");
}
