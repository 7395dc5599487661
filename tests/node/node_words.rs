//! What real nodes say of their clocks, their peers and their transactions, and what the owner reads
//! then. Bitcoin Core where `BITCOIND` names its binary, on its own settings and also on the main
//! chain, of which it gets nothing; bcoin where it says the same.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use bitcoin::bech32::{Fe32, Hrp, segwit};
use serde_json::{Value, json};
use soloist::node::{HealthReport, RpcError};
use soloist::os;
use soloist::peer_address::P2pAddress;
use soloist::rpc::{Auth, NodeConfig, Rpc};
use soloist::template::TxCache;

use crate::common::daemon::{Daemon, PAYOUT, node_entries};
use crate::common::node::{Kind, RealNode};
use crate::common::{free_port, wait_for};

/// A Bitcoin Core with settings of its own. Killed, by its own process id, when it is dropped.
struct Core {
    rpc_port: u16,
    cookie: PathBuf,
    _dir: tempfile::TempDir,
    child: Child,
}

impl Core {
    /// `None` where `BITCOIND` names no binary. `cookie` is its place below the data directory.
    fn start(cookie: &str, settings: &[String]) -> Option<Core> {
        let program = std::env::var_os("BITCOIND")?;
        let (dir, rpc_port) = (tempfile::tempdir().unwrap(), free_port());
        let child = Command::new(program)
            .args(["-server", "-dnsseed=0", "-fixedseeds=0", "-natpmp=0", "-printtoconsole=0"])
            .args(["-dbcache=4", "-par=1", "-rpcbind=127.0.0.1", "-rpcallowip=127.0.0.1"])
            .arg(format!("-rpcport={rpc_port}"))
            .arg(format!("-datadir={}", dir.path().display()))
            .args(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let cookie = dir.path().join(cookie);
        let core = Core { rpc_port, cookie, _dir: dir, child };
        wait_for("Bitcoin Core to answer", || core.rpc().health().ok());
        Some(core)
    }

    /// On the main chain, where it may have this one peer, or listen for one.
    fn on_main(peer: &str, listen: &str) -> Option<Core> {
        Core::start(".cookie", &[format!("-connect={peer}"), listen.to_owned()])
    }

    fn rpc(&self) -> Rpc {
        Rpc::new(&NodeConfig {
            name: "attic".into(),
            url: format!("http://127.0.0.1:{}", self.rpc_port),
            auth: Auth::Cookie(self.cookie.clone()),
            certificate: None,
            zmq: None,
            p2p: P2pAddress::Off,
        })
    }

    fn health(&self) -> HealthReport {
        self.rpc().health().unwrap()
    }

    fn template_error(&self) -> RpcError {
        self.rpc().get_block_template(&Mutex::new(TxCache::default())).unwrap_err()
    }

    /// The daemon that has this node alone, and pays on the main chain.
    fn daemon(&self) -> Daemon {
        let daemon = Daemon::start(&format!(
            "[node]\nname = \"attic\"\nrpc_url = \"http://127.0.0.1:{}\"\nrpc_cookie_path = \"{}\"\n\
             p2p_addr = \"off\"\n",
            self.rpc_port,
            self.cookie.display()
        ));
        daemon.edit(|config| config.replace(PAYOUT, &payout()));
        daemon
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn payout() -> String {
    segwit::encode(Hrp::parse("bc").unwrap(), Fe32::Q, &[7; 20]).unwrap()
}

/// The page and the node in the API once it is in this state; neither may say what is not so.
fn shown(core: &Core, state: &str) -> (String, Value) {
    let mut daemon = core.daemon();
    daemon.stop();
    daemon.launch();
    let node = wait_for(state, || {
        let nodes = daemon.get("/api/nodes")?;
        let node = nodes["nodes"][0].clone();
        (node["state"] == state).then_some(node)
    });
    let page = daemon.text("/");
    for wrong in ["starting up", "up to date"] {
        assert!(!page.contains(wrong), "“{wrong}” on the page: {page}");
    }
    assert_eq!(node["lag_blocks"], Value::Null, "0 would be up to date");
    println!("{}: {}", daemon.status().unwrap()["sentence"], node["why"]);
    (page, node)
}

#[test]
fn the_date_of_an_answer_is_the_nodes_clock() {
    for node in RealNode::all() {
        let ahead = |rpc: &Rpc| {
            let clock = rpc.health().unwrap().clock.expect("a Date");
            let now = os::now();
            clock.shown_at(now.mono) - now.unix as i64
        };
        let rpc = node.rpc();
        let first = ahead(&rpc);
        println!("{:?}: {first} s by the Date", node.kind);
        assert!(first.abs() <= 2, "{:?}: {first}", node.kind);
        if node.kind == Kind::Core {
            let later = os::now().unix + 3 * 3600;
            node.call("setmocktime", json!([later]));
            let moved = ahead(&rpc);
            println!("{:?}: {moved} s after its clock was set", node.kind);
            assert!((3 * 3600 - 120..=3 * 3600).contains(&moved), "{moved}");
            let template = rpc.get_block_template(&Mutex::new(TxCache::default())).unwrap();
            assert_eq!(u64::from(template.curtime), later, "and so does the template");
            assert!(template.curtime > template.mintime);
        }
    }
}

#[test]
fn when_a_clock_is_set_the_nodes_are_asked_about_our_block_anew() {
    let Some(node) = RealNode::core() else { return };
    node.generate(2);
    let daemon = Daemon::start(&node_entries(&[node.config()]));
    let asked = || daemon.get("/api/nodes")?["nodes"][0]["rehearsal"]["at"].as_u64();
    let before = wait_for("the first rehearsal", asked);
    node.call("setmocktime", json!([os::now().unix + 3 * 3600]));
    wait_for("the clock to be seen", || {
        daemon.log().contains("was set: it moved by").then_some(())
    });
    let after = wait_for("another rehearsal", || asked().filter(|at| *at != before));
    println!("the clock was set: rehearsed again after {} s", after - before);
    assert_eq!(node.height(), 2, "no block came in between");
}

#[test]
fn a_node_that_takes_no_transactions_is_known_by_its_own_word() {
    let settings =
        |more: &str| ["-regtest", "-connect=0", "-listen=0", more].map(str::to_owned).to_vec();
    let Some(core) = Core::start("regtest/.cookie", &settings("-blocksonly=1")) else { return };
    assert_eq!(core.health().local_relay, Some(false));
    drop(core);
    let core = Core::start("regtest/.cookie", &settings("-blocksonly=0")).unwrap();
    assert_eq!(core.health().local_relay, Some(true));
}

#[test]
fn a_node_of_the_main_chain_without_peers_says_so_and_nothing_else() {
    let Some(core) = Core::on_main("0", "-listen=0") else { return };
    let report = core.health();
    assert_eq!((report.chain.as_str(), report.connections), ("main", Some(0)));
    assert!(matches!(core.template_error(), RpcError::Rpc { code: -9, .. }));
    let (page, node) = shown(&core, "no_peers");
    assert!(page.contains("Waiting for node attic, which has no peers."), "{page}");
    let why = node["why"].as_str().unwrap();
    assert!(why.starts_with("It has no peers: it hears of no new blocks. Check"), "{why}");
}

#[test]
fn a_node_of_the_main_chain_that_downloads_says_how_far_it_is() {
    let port = free_port();
    let listen = format!("-bind=127.0.0.1:{port}");
    let Some(peer) = Core::on_main("0", &listen) else { return };
    let core = Core::on_main(&format!("127.0.0.1:{port}"), "-listen=0").unwrap();
    wait_for("a peer", || (core.health().connections == Some(1)).then_some(()));
    assert!(core.health().initial_download);
    assert!(matches!(core.template_error(), RpcError::Rpc { code: -10, .. }));
    let (page, node) = shown(&core, "syncing");
    assert!(page.contains("Waiting for node attic, which is downloading the chain."), "{page}");
    let why = node["why"].as_str().unwrap();
    assert!(why.starts_with("It is downloading the chain, 0 blocks so far, 0.0 %."), "{why}");
    drop(peer);
    assert!(fs::exists(&core.cookie).unwrap());
}
