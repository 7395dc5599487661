//! What stands at a ZMQ address, against real sockets: publishers by IPv4, IPv6 and names, and all
//! that is none. Real nodes for their RPC, their port for peers, and a publisher by IPv6.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use smol::LocalExecutor;
use soloist::chain::BlockHash;
use soloist::ids::NodeId;
use soloist::node::{NodeEvent, NodeEventKind, TipSource, ZmqState};
use soloist::peer_address::P2pAddress;
use soloist::rpc::{Auth, NodeConfig, NodeHandle, probe_zmq};

use crate::common::daemon::{Daemon, node_entries};
use crate::common::node::{Kind, PATIENCE, RealNode};
use crate::common::{free_port, wait_for};

/// A node of which only the publisher matters.
struct Watched {
    executor: LocalExecutor<'static>,
    events: async_channel::Receiver<NodeEvent>,
    state: Cell<ZmqState>,
    _handle: NodeHandle,
}

impl Watched {
    fn new(endpoint: &str) -> Watched {
        let config = NodeConfig {
            name: "test".into(),
            url: "http://127.0.0.1:1".into(),
            auth: Auth::None,
            certificate: None,
            zmq: Some(endpoint.into()),
            p2p: P2pAddress::Off,
        };
        let executor = LocalExecutor::new();
        let (sender, events) = async_channel::unbounded();
        let handle = NodeHandle::start(NodeId(3), &config, sender, &executor).unwrap();
        Watched { executor, events, state: Cell::new(ZmqState::Connecting), _handle: handle }
    }

    /// The next tip, if one comes in time; states are kept meanwhile.
    fn tip(&self, limit: Duration) -> Option<BlockHash> {
        let deadline = Instant::now() + limit;
        loop {
            let next = async { self.events.recv().await.ok() };
            let timer = async {
                smol::Timer::at(deadline).await;
                None
            };
            let event = smol::block_on(self.executor.run(smol::future::or(next, timer)))?;
            match event.kind {
                NodeEventKind::Tip { hash, source: TipSource::Zmq, .. } => return Some(hash),
                NodeEventKind::Zmq(state) => {
                    assert_ne!(state, self.state.get(), "only what changes is told");
                    self.state.set(state);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn wait_state(&self, state: ZmqState) {
        wait_for(&format!("{state:?}"), || {
            assert_eq!(self.tip(Duration::from_millis(50)), None);
            (self.state.get() == state).then_some(())
        });
    }

    /// Announces until it hears.
    fn wait_heard(&self, socket: &zmq::Socket) {
        wait_for("a tip", || {
            let hash = [7; 32];
            socket.send_multipart([&b"hashblock"[..], &hash, &[0; 4]], 0).unwrap();
            (self.tip(Duration::from_millis(100)) == Some(BlockHash(hash))).then_some(())
        });
    }
}

fn publisher(endpoint: &str) -> zmq::Socket {
    let socket = zmq::Context::new().socket(zmq::PUB).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_ipv6(endpoint.contains('[')).unwrap();
    wait_for("the port", || socket.bind(endpoint).ok());
    socket
}

/// A port at which `answer` is all that is ever said, after the first bytes that come.
fn server(answer: &'static [u8], close: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            thread::spawn(move || {
                if close {
                    return;
                }
                let _ = client.read(&mut [0; 64]);
                client.write_all(answer).ok();
                client.read_to_end(&mut Vec::new()).ok();
            });
        }
    });
    endpoint
}

fn probed(endpoint: &str) -> (ZmqState, Duration) {
    let started = Instant::now();
    let state = smol::block_on(probe_zmq(endpoint));
    println!("{endpoint}: {state:?} after {:?}", started.elapsed());
    (state, started.elapsed())
}

const HTTP_400: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

#[test]
fn what_is_no_publisher_is_told_from_nobody_and_from_a_wrong_name() {
    let reply = zmq::Context::new().socket(zmq::REP).unwrap();
    reply.set_linger(0).unwrap();
    let elsewhere = format!("tcp://127.0.0.1:{}", free_port());
    reply.bind(&elsewhere).unwrap();
    for (what, endpoint, state) in [
        ("nobody", format!("tcp://127.0.0.1:{}", free_port()), ZmqState::Refused),
        ("nobody by IPv6", format!("tcp://[::1]:{}", free_port()), ZmqState::Refused),
        ("nobody at a file", "ipc:///nonexistent/soloist".to_owned(), ZmqState::Refused),
        ("a web server", server(HTTP_400, false), ZmqState::NoPublisher),
        ("a silent port", server(b"", false), ZmqState::NoPublisher),
        ("a port that hangs up", server(b"", true), ZmqState::NoPublisher),
        ("SSH", server(b"SSH-2.0-OpenSSH_9.2\r\n", false), ZmqState::NoPublisher),
        (
            "half a greeting",
            server(b"\xff\0\0\0\0\0\0\0\x01\x7f\x03", false),
            ZmqState::NoPublisher,
        ),
        ("another kind of ZMQ", elsewhere, ZmqState::NoPublisher),
        ("a name of nobody", "tcp://soloist.invalid:28332".to_owned(), ZmqState::NameUnknown),
        ("no port", "tcp://127.0.0.1:99999".to_owned(), ZmqState::NameUnknown),
    ] {
        let (probed, took) = probed(&endpoint);
        assert_eq!(probed, state, "{what}");
        assert!(took < Duration::from_secs(6), "{what}: {took:?}");
        // The watch says the same, once.
        let node = Watched::new(&endpoint);
        node.wait_state(state);
    }
}

#[test]
fn publishers_are_reached_by_number_and_by_name() {
    let port = free_port();
    for (bound, endpoint) in [
        (format!("tcp://127.0.0.1:{port}"), format!("tcp://127.0.0.1:{port}")),
        (format!("tcp://[::1]:{port}"), format!("tcp://[::1]:{port}")),
        (format!("tcp://127.0.0.1:{port}"), format!("tcp://localhost:{port}")),
    ] {
        let socket = publisher(&bound);
        assert_eq!(probed(&endpoint).0, ZmqState::Connected);
        let node = Watched::new(&endpoint);
        node.wait_state(ZmqState::Connected);
        node.wait_heard(&socket);
        drop(socket);
        node.wait_state(ZmqState::Refused);
        let socket = publisher(&bound);
        node.wait_state(ZmqState::Connected);
        node.wait_heard(&socket);
    }
    let dir = tempfile::tempdir().unwrap();
    let endpoint = format!("ipc://{}/zmq", dir.path().display());
    let socket = publisher(&endpoint);
    let node = Watched::new(&endpoint);
    node.wait_state(ZmqState::Connected);
    node.wait_heard(&socket);
}

#[test]
fn a_real_nodes_other_ports_are_no_publishers_and_its_own_is_by_ipv6() {
    let (zmq, peers) = (free_port(), free_port());
    let core = RealNode::core_with(&[
        &format!("-zmqpubhashblock=tcp://[::1]:{zmq}"),
        "-listen=1",
        &format!("-bind=127.0.0.1:{peers}"),
    ]);
    // A Core without ZMQ serves other tests.
    let core = core.filter(|core| core.zmq().is_some());
    for node in [RealNode::bcoin(), core].into_iter().flatten() {
        let (state, _) = probed(&format!("tcp://{}", node.address()));
        assert_eq!(state, ZmqState::NoPublisher, "the RPC of {:?}", node.kind);
        if node.kind == Kind::Core {
            let (state, _) = probed(&format!("tcp://127.0.0.1:{peers}"));
            assert_eq!(state, ZmqState::NoPublisher, "its port for peers");
            let watched = Watched::new(&format!("tcp://[::1]:{zmq}"));
            watched.wait_state(ZmqState::Connected);
            // The subscription may take a moment to be in force.
            let mut made = Vec::new();
            let heard = wait_for("news by IPv6", || {
                made.extend(node.generate(1));
                watched.tip(Duration::from_millis(200))
            });
            assert!(made.contains(&heard));
        }
    }
}

/// The whole program: its page says what answers, and an alarm names both times.
#[test]
fn a_publisher_that_is_never_heard_is_an_alarm() {
    for node in RealNode::all() {
        node.generate(if node.kind == Kind::Bcoin { 440 } else { 2 });
        let silent = server(b"", false);
        let config = NodeConfig { zmq: Some(silent.clone()), ..node.config() };
        let daemon = Daemon::start(&node_entries(&[config]));
        daemon.wait_ready();
        wait_for("the state", || {
            let state = daemon.get("/api/nodes")?["nodes"][0]["zmq_state"].clone();
            (state == "no_publisher").then_some(())
        });
        let alarm = || {
            let alarms = daemon.status()?["alarms"].as_array()?.clone();
            alarms.into_iter().find(|a| a["id"].as_str().unwrap().starts_with("zmq:"))
        };
        assert_eq!(alarm(), None, "nothing was missed yet");
        node.generate(1);
        let since = Instant::now();
        let alarm = wait_for("the alarm", alarm);
        assert!(since.elapsed() >= Duration::from_secs(8) && since.elapsed() < PATIENCE);
        let text = alarm["text"].as_str().unwrap();
        assert!(text.contains(&format!("at {silent} has said nothing since")), "{text}");
        assert_eq!(text.matches(" UTC").count(), 2, "both times: {text}");
        let advice = alarm["advice"].as_str().unwrap();
        assert!(advice.contains("zmqpubhashblock=tcp://0.0.0.0:28332"), "{advice}");
        // Said at the next thing that the node tells.
        wait_for("the log", || daemon.log().contains("has said nothing since").then_some(()));
        println!("{:?}: {text} {advice}", node.kind);
    }
}
