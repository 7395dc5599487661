//! Real full nodes on regtest, each a process of its own with its own directory and ports: bcoin,
//! and Bitcoin Core where `BITCOIND` names its binary. What can be seen on Core alone also runs on
//! the one of `SOLOIST_CORE`, which `tests/tools/core` builds.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use soloist::chain::BlockHash;
use soloist::peer_address::P2pAddress;
use soloist::rpc::{Auth, NodeConfig, Rpc};

use super::{free_port, wait_for};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// bcoin 1.0.2: no ZMQ, no taproot, no `preciousblock`, addresses `rb1…`.
    Bcoin,
    /// The binary that `BITCOIND` names.
    Core,
}

/// A running node. Killed, by its own process id, when it is dropped.
pub struct RealNode {
    pub kind: Kind,
    pub rpc_port: u16,
    p2p_port: u16,
    zmq_port: u16,
    /// More of the command line, for a start of its own kind.
    pub more: Vec<String>,
    program: PathBuf,
    /// It publishes new blocks by ZMQ: a Core that was built with it.
    publishes: bool,
    dir: tempfile::TempDir,
    child: Option<Child>,
}

/// bcoin's API key here.
const PASSWORD: &str = "only for tests";

impl RealNode {
    /// A new bcoin at the genesis block.
    pub fn bcoin() -> Option<RealNode> {
        Some(RealNode::start(Kind::Bcoin, bcoin_program()?, &[]))
    }

    /// A new Bitcoin Core at the genesis block, where `BITCOIND` is set.
    pub fn core() -> Option<RealNode> {
        let Some(program) = std::env::var_os("BITCOIND") else {
            loudly("Bitcoin Core is not tested: BITCOIND does not name its binary");
            return None;
        };
        Some(RealNode::start(Kind::Core, program.into(), &[]))
    }

    /// A new Bitcoin Core with arguments of its own, such as `-rpcthreads=2`: the binary of
    /// `BITCOIND`, else that of `SOLOIST_CORE`, which tests leave alone that bcoin serves as well.
    pub fn core_with(more: &[&str]) -> Option<RealNode> {
        let program = ["BITCOIND", "SOLOIST_CORE"].into_iter().find_map(std::env::var_os)?;
        Some(RealNode::start(Kind::Core, program.into(), more))
    }

    /// The same, which listens at [`RealNode::p2p_address`].
    pub fn core_listening_with(more: &[&str]) -> Option<RealNode> {
        let program = ["BITCOIND", "SOLOIST_CORE"].into_iter().find_map(std::env::var_os)?;
        Some(RealNode::start_with(Kind::Core, program.into(), more, true))
    }

    /// One of each kind that this machine has, each of which listens at [`RealNode::p2p_address`]. A
    /// bcoin does so only some time after its RPC answers.
    pub fn all_listening() -> Vec<RealNode> {
        let core = std::env::var_os("BITCOIND").map(|program| (Kind::Core, program.into()));
        let bcoin = bcoin_program().map(|program| (Kind::Bcoin, program));
        let start = |(kind, program)| RealNode::start_with(kind, program, &[], true);
        [bcoin, core].into_iter().flatten().map(start).collect()
    }

    /// One of each kind that this machine has.
    pub fn all() -> Vec<RealNode> {
        [RealNode::bcoin(), RealNode::core()].into_iter().flatten().collect()
    }

    fn start(kind: Kind, program: PathBuf, more: &[&str]) -> RealNode {
        RealNode::start_with(kind, program, more, false)
    }

    fn start_with(kind: Kind, program: PathBuf, more: &[&str], listens: bool) -> RealNode {
        let mut node = RealNode {
            kind,
            rpc_port: free_port(),
            p2p_port: free_port(),
            zmq_port: free_port(),
            more: more.iter().map(ToString::to_string).collect(),
            program,
            publishes: false,
            dir: tempfile::tempdir().unwrap(),
            child: None,
        };
        if listens {
            let port = node.p2p_port;
            node.more.extend(match kind {
                Kind::Bcoin => vec![
                    "--listen=true".to_owned(),
                    "--host=127.0.0.1".to_owned(),
                    format!("--port={port}"),
                ],
                Kind::Core => vec![
                    "-listen=1".to_owned(),
                    format!("-bind=127.0.0.1:{port}"),
                    "-listenonion=0".to_owned(),
                ],
            });
        }
        node.launch();
        // A Core without ZMQ takes the setting without a word and does not know this method.
        node.publishes =
            kind == Kind::Core && node.try_call("getzmqnotifications", json!([])).is_ok();
        node
    }

    /// Starts the process (again) on the same ports and directory and waits until it answers. The
    /// chain of a bcoin is on disk as Core's is, so both come back with it.
    pub fn launch(&mut self) {
        self.launch_without_waiting();
        wait_for(&format!("{:?} to answer", self.kind), || {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                panic!("{:?} ended with {status}:\n{log}", self.kind);
            }
            self.try_call("getblockchaininfo", json!([])).ok()
        });
    }

    pub fn launch_without_waiting(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let dir = self.dir.path();
        let mut command = match self.kind {
            Kind::Bcoin => {
                let mut command = Command::new("node");
                command.arg(&self.program).env("NODE_BACKEND", "js").args([
                    "--network=regtest".to_string(),
                    "--memory=false".into(),
                    "--no-wallet".into(),
                    "--listen=false".into(),
                    "--only=127.0.0.1:1".into(),
                    "--workers=false".into(),
                    "--log-level=warning".into(),
                    "--http-host=127.0.0.1".into(),
                    format!("--http-port={}", self.rpc_port),
                    format!("--api-key={PASSWORD}"),
                    format!("--prefix={}", dir.display()),
                ]);
                command
            }
            Kind::Core => {
                let mut command = Command::new(&self.program);
                command.args([
                    "-regtest".to_string(),
                    "-server".into(),
                    "-listen=0".into(),
                    "-connect=0".into(),
                    "-dnsseed=0".into(),
                    "-printtoconsole=0".into(),
                    "-dbcache=4".into(),
                    "-par=1".into(),
                    format!("-port={}", self.p2p_port),
                    format!("-rpcport={}", self.rpc_port),
                    "-rpcbind=127.0.0.1".into(),
                    "-rpcallowip=127.0.0.1".into(),
                    format!("-zmqpubhashblock=tcp://127.0.0.1:{}", self.zmq_port),
                    format!("-datadir={}", dir.display()),
                ]);
                command
            }
        };
        let log = File::create(self.log()).unwrap();
        command.args(&self.more);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().expect("the node's program can be started"));
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("output.log")
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.rpc_port))
    }

    /// The user and the password that its RPC takes, as `user:password`.
    pub fn credentials(&self) -> Result<String, String> {
        match self.kind {
            Kind::Bcoin => Ok(format!("x:{PASSWORD}")),
            Kind::Core => fs::read_to_string(self.cookie()).map_err(|error| error.to_string()),
        }
    }

    /// Core's cookie file; it exists while Core runs.
    pub fn cookie(&self) -> PathBuf {
        self.dir.path().join("regtest/.cookie")
    }

    /// Where it listens for other nodes, if it is told to.
    pub fn p2p_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.p2p_port))
    }

    pub fn zmq(&self) -> Option<String> {
        self.publishes.then(|| format!("tcp://127.0.0.1:{}", self.zmq_port))
    }

    pub fn config(&self) -> NodeConfig {
        self.config_through(self.address())
    }

    /// The node's configuration for someone who reaches it at another address, such as a
    /// [`super::fault::FaultProxy`]'s.
    pub fn config_through(&self, address: SocketAddr) -> NodeConfig {
        NodeConfig {
            name: format!("{:?} {}", self.kind, self.rpc_port),
            url: format!("http://{address}"),
            auth: match self.kind {
                Kind::Bcoin => Auth::UserPass { user: "x".into(), pass: PASSWORD.into() },
                Kind::Core => Auth::Cookie(self.cookie()),
            },
            certificate: None,
            zmq: self.zmq(),
            p2p: P2pAddress::Off,
        }
    }

    pub fn rpc(&self) -> Rpc {
        Rpc::new(&self.config())
    }

    /// Any call, past the code under test. Panics on an error.
    pub fn call(&self, method: &str, params: Value) -> Value {
        self.try_call(method, params.clone())
            .unwrap_or_else(|error| panic!("{:?}: {method} {params}: {error}", self.kind))
    }

    /// Any call, past the code under test.
    pub fn try_call(&self, method: &str, params: Value) -> Result<Value, String> {
        let credentials = self.credentials()?;
        let answer = minreq::post(format!("http://{}", self.address()))
            .with_header("Content-Type", "application/json")
            .with_header("Authorization", format!("Basic {}", base64(credentials.as_bytes())))
            .with_body(json!({"method": method, "params": params, "id": 0}).to_string())
            .with_timeout(60)
            .send()
            .map_err(|error| error.to_string())?;
        let body: Value = serde_json::from_slice(answer.as_bytes()).map_err(|e| e.to_string())?;
        match &body["error"] {
            Value::Null => Ok(body["result"].clone()),
            error => Err(error.to_string()),
        }
    }

    /// Mines blocks that pay to nobody in particular; returns their hashes.
    pub fn generate(&self, blocks: u32) -> Vec<BlockHash> {
        let made = self.call("generatetoaddress", json!([blocks, self.payout(7)]));
        made.as_array()
            .unwrap()
            .iter()
            .map(|hash| hash.as_str().unwrap().parse().unwrap())
            .collect()
    }

    /// An address of this node's network (P2WPKH); another number is another address.
    pub fn payout(&self, number: u8) -> String {
        use bitcoin::bech32::{Fe32, Hrp, segwit};
        let prefix = match self.kind {
            Kind::Bcoin => "rb",
            Kind::Core => "bcrt",
        };
        segwit::encode(Hrp::parse(prefix).unwrap(), Fe32::Q, &[number; 20]).unwrap()
    }

    pub fn height(&self) -> u64 {
        self.call("getblockcount", json!([])).as_u64().unwrap()
    }

    pub fn tip(&self) -> BlockHash {
        self.call("getbestblockhash", json!([])).as_str().unwrap().parse().unwrap()
    }

    /// Hands every block of the other node's best chain to this one, up to a height. Both nodes
    /// stay strangers to each other otherwise: the tests decide who knows what.
    pub fn learn_from(&self, other: &RealNode, up_to: u64) {
        for height in 1..=up_to.min(other.height()) {
            let hash = other.call("getblockhash", json!([height]));
            let known = self.try_call("getblockhash", json!([height])).ok();
            if known.as_ref() != Some(&hash) {
                let block = other.call("getblock", json!([hash, 0]));
                self.call("submitblock", json!([block]));
            }
        }
    }

    /// The process ends at once, as in a power cut.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// SIGSTOP: its sockets stay open, and nothing answers. Returns when every thread stands still.
    pub fn freeze(&self) {
        kill(self.pid(), Signal::SIGSTOP).unwrap();
        let tasks = format!("/proc/{}/task", self.pid());
        wait_for("the process to stop", || {
            let stopped = |task: fs::DirEntry| {
                // The state follows the name, which stands in parentheses.
                let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
            };
            fs::read_dir(&tasks).unwrap().flatten().all(stopped).then_some(())
        });
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        kill(self.pid(), Signal::SIGCONT).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.as_ref().expect("it runs").id() as i32)
    }
}

impl Drop for RealNode {
    fn drop(&mut self) {
        self.kill();
    }
}

/// bcoin's start script, installed once per machine under `~/.cache/soloist-tests`. Its version
/// is pinned by `tests/bcoin`; no install script of any package runs.
fn bcoin_program() -> Option<PathBuf> {
    let has = |program| {
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status()
    };
    if has("node").is_err() || has("npm").is_err() {
        loudly("bcoin is not tested: there is no node and npm (packages nodejs and npm)");
        return None;
    }
    let home = std::env::var_os("HOME").expect("HOME is set");
    let dir = Path::new(&home).join(".cache/soloist-tests/bcoin-1.0.2");
    fs::create_dir_all(&dir).unwrap();
    // Several tests may be the first at once.
    let lock = File::create(dir.join("lock")).unwrap();
    lock.lock().unwrap();
    let done = dir.join("installed");
    if !done.exists() {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bcoin");
        for file in ["package.json", "package-lock.json"] {
            fs::copy(from.join(file), dir.join(file)).unwrap();
        }
        let install = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&dir)
            .output()
            .unwrap();
        if !install.status.success() {
            let why = String::from_utf8_lossy(&install.stderr);
            loudly(&format!("bcoin is not tested: npm could not install it: {why}"));
            return None;
        }
        File::create(done).unwrap();
    }
    Some(dir.join("node_modules/bcoin/bin/node"))
}

/// Says it past the test harness, which would swallow it, and fails where nothing may be left
/// out (`SOLOIST_REQUIRE_NODES=1`, as in CI; Bitcoin Core stays optional).
fn loudly(words: &str) {
    writeln!(std::io::stderr(), "\n*** NOT TESTED *** {words}\n").ok();
    let required = std::env::var_os("SOLOIST_REQUIRE_NODES").is_some();
    assert!(!(required && words.starts_with("bcoin")), "{words}");
}

/// Whatever the code under test does, this is what goes over the wire.
pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Long enough for any call to a real node on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
