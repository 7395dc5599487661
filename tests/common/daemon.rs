//! The program itself as a child process, and a miner of few words.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use soloist::chain::BlockHash;
use soloist::difficulty::{Difficulty, Target};
use soloist::hash::sha256d;

use super::manager::Manager;
use super::network::inside_network_of;
use super::{free_port, wait_for};

/// Pays to a key that nobody has; good on regtest.
pub const PAYOUT: &str = "bcrt1qqqqsyqcyq5rqwzqfpg9scrgwpugpzysnard0ew";

/// `soloist run` with a config and a data directory of its own.
pub struct Daemon {
    pub stratum: SocketAddr,
    pub http: SocketAddr,
    dir: tempfile::TempDir,
    /// What systemd would give it below /run; only in memory it is used.
    runtime: Option<tempfile::TempDir>,
    /// What its next start finds in its environment beside the usual.
    pub env: Vec<(String, String)>,
    /// Keeps its sockets over restarts, as systemd does.
    pub manager: Option<Manager>,
    /// Another build than the one under test.
    pub program: Option<PathBuf>,
    /// A process whose network it is in, instead of the test's.
    pub network_of: Option<u32>,
    child: Option<Child>,
}

impl Daemon {
    /// Starts it with the `[node]` part of a config.
    pub fn start(nodes: &str) -> Daemon {
        let mut daemon = Daemon::still();
        daemon.configure(nodes, "");
        daemon.launch();
        daemon
    }

    /// Starts it as a fresh box does: nobody is paid, and no node is named.
    #[allow(dead_code)]
    pub fn fresh() -> Daemon {
        let mut daemon = Daemon::still();
        let text = format!(
            "# Fresh.\n[payout]\n# Mine.\naddress = \"\"\n[node]\n# Upstairs.\nrpc_url = \"\"\n\
             [stratum]\nlisten = \"{}\"\n[http]\nlisten = \"{}\"\n[data]\ndir = \"{}\"\n\
             [log]\nlevel = \"debug\"\n",
            daemon.stratum,
            daemon.http,
            daemon.data().display(),
        );
        daemon.write_config(&text);
        daemon.launch();
        daemon
    }

    /// Not running, and without a config.
    pub fn still() -> Daemon {
        Daemon {
            stratum: SocketAddr::from(([127, 0, 0, 1], free_port())),
            http: SocketAddr::from(([127, 0, 0, 1], free_port())),
            dir: tempfile::tempdir().unwrap(),
            runtime: tempfile::tempdir_in("/dev/shm").ok(),
            env: Vec::new(),
            manager: None,
            program: None,
            network_of: None,
            child: None,
        }
    }

    /// Writes the config anew; `more` goes to its end.
    pub fn configure(&self, nodes: &str, more: &str) {
        let text = format!(
            "[payout]\naddress = \"{PAYOUT}\"\n[stratum]\nlisten = \"{}\"\n\
             [http]\nlisten = \"{}\"\n[data]\ndir = \"{}\"\n[log]\nlevel = \"debug\"\n{more}\n{nodes}",
            self.stratum,
            self.http,
            self.dir.path().join("data").display(),
        );
        self.write_config(&text);
    }

    /// Changes what stands in the config, for the next start or reload.
    pub fn edit(&self, change: impl FnOnce(&str) -> String) {
        let text = fs::read_to_string(self.config()).unwrap();
        self.write_config(&change(&text));
    }

    /// Whole or not at all: a daemon that was only just started may be reading it.
    fn write_config(&self, text: &str) {
        let new = self.dir.path().join("soloist.toml.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.config()).unwrap();
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("soloist.toml")
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The directory in memory that it keeps jobs in, if this machine has one.
    pub fn runtime(&self) -> Option<&Path> {
        self.runtime.as_ref().map(tempfile::TempDir::path)
    }

    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let program = self.program.clone().unwrap_or_else(program);
        let mut command = match &self.manager {
            Some(manager) => manager.command(&program),
            None => match self.network_of {
                Some(pid) => inside_network_of(pid, program),
                None => Command::new(program),
            },
        };
        if let Some(runtime) = &self.runtime {
            command.env("RUNTIME_DIRECTORY", runtime.path());
        }
        let child = command
            .args(["run", "--config"])
            .arg(self.config())
            .env("RUST_BACKTRACE", "1")
            .env("STATE_DIRECTORY", self.data())
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.as_ref().expect("it runs").id() as i32)
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// SIGTERM, and its exit.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let child = self.child.as_mut().unwrap();
        let status = wait_for("the daemon to end", || child.try_wait().unwrap());
        self.child = None;
        status
    }

    /// SIGKILL, until nothing of it listens any more: a program that it was about to start has its sockets for
    /// a moment longer.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
            if self.manager.is_none() && self.network_of.is_none() {
                wait_for("its port to be free", || TcpListener::bind(self.http).ok());
            }
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        let url = format!("http://{}{path}", self.http);
        let answer = patient(&minreq::get(&url).with_timeout(10)).ok()?;
        serde_json::from_slice(answer.as_bytes()).ok()
    }

    /// A page as text.
    pub fn text(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.http);
        let answer = patient(&minreq::get(&url).with_timeout(10)).unwrap();
        assert_eq!(answer.status_code, 200, "{path}");
        answer.as_str().unwrap().to_owned()
    }

    pub fn status(&self) -> Option<Value> {
        self.get("/api/status")
    }

    /// Waits until miners are let in.
    pub fn wait_ready(&self) {
        wait_for("the daemon to let miners in", || TcpStream::connect(self.stratum).ok());
    }

    /// A line of `/proc/PID/status`, kB or a plain number.
    pub fn proc_status(&self, name: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// The blocks that the page shows, newest first.
    pub fn blocks(&self) -> Vec<Value> {
        let blocks = self.get("/api/blocks").unwrap_or_default();
        blocks["blocks"].as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("--- the daemon's log ---");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        self.kill();
    }
}

/// The program under test. `SOLOIST_BIN` names another build of it, so that two can be measured in
/// one sitting: `SOLOIST_BIN=../old/target/debug/soloist cargo test --test daemon failover_e2e`.
pub fn program() -> PathBuf {
    let other = std::env::var_os("SOLOIST_BIN").map(PathBuf::from);
    other.unwrap_or_else(|| env!("CARGO_BIN_EXE_soloist").into())
}

/// A Stratum miner for regtest, where every second hash is a block: it hashes with code of its own
/// and sends what it is told to.
pub struct Miner {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    extranonce1: Vec<u8>,
    /// By which it is known when it comes back.
    session: Value,
    pub job: Value,
    /// The tip of the job that was solved last, or that was waited for.
    left: Value,
    pub jobs_seen: usize,
    next_id: u64,
    counter: u64,
}

impl Miner {
    /// Connects, introduces itself and waits for its first job.
    pub fn connect(address: SocketAddr, user_agent: &str, worker: &str) -> Miner {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Miner::begin(stream, user_agent, worker)
    }

    /// The same over a connection that is there.
    pub fn begin(stream: TcpStream, user_agent: &str, worker: &str) -> Miner {
        Miner::try_begin(stream, user_agent, worker).expect("a job")
    }

    /// The same; `None` where the connection ends before.
    pub fn try_begin(stream: TcpStream, user_agent: &str, worker: &str) -> Option<Miner> {
        let mut miner = Miner::subscribe(stream, json!([user_agent]))?;
        miner.try_call("mining.authorize", json!([worker, "x"]))?;
        let seen = miner.jobs_seen;
        while miner.jobs_seen == seen {
            miner.next_line()?;
        }
        miner.left = miner.job[1].clone();
        Some(miner)
    }

    /// Comes back to another place as cgminer does: as the same session, with the job that it had, and
    /// without having said who it is.
    #[allow(dead_code)]
    pub fn resume(&self, address: SocketAddr, user_agent: &str) -> Miner {
        let stream = TcpStream::connect(address).unwrap();
        self.try_resume(stream, user_agent).expect("an answer")
    }

    /// The same over a connection that is there; `None` where the connection ends before.
    #[allow(dead_code)]
    pub fn try_resume(&self, stream: TcpStream, user_agent: &str) -> Option<Miner> {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let again = Miner::subscribe(stream, json!([user_agent, self.session]))?;
        assert_eq!((&again.session, &again.extranonce1), (&self.session, &self.extranonce1));
        Some(Miner { job: self.job.clone(), counter: self.counter, ..again })
    }

    fn subscribe(stream: TcpStream, subscribe: Value) -> Option<Miner> {
        stream.set_nodelay(true).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        let mut miner = Miner {
            stream,
            reader,
            extranonce1: Vec::new(),
            session: Value::Null,
            job: Value::Null,
            left: Value::Null,
            jobs_seen: 0,
            next_id: 1,
            counter: 0,
        };
        let rolling = json!([["version-rolling"], {"version-rolling.mask": "ffffffff"}]);
        miner.try_call("mining.configure", rolling)?;
        let answer = miner.try_call("mining.subscribe", subscribe)?;
        miner.session = answer["result"][0][0][1].clone();
        miner.extranonce1 = decode(answer["result"][1].as_str().unwrap());
        Some(miner)
    }

    pub fn send(&mut self, line: &Value) {
        self.stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The next line, or `None` at the end of the connection.
    pub fn next_line(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("the daemon says nothing: {error}"),
        }
        let value: Value = serde_json::from_str(&line).unwrap();
        if value["method"] == "mining.notify" {
            self.job = value["params"].clone();
            self.jobs_seen += 1;
        }
        Some(value)
    }

    /// Sends a call and waits for its answer; notifications are taken in meanwhile.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, params).expect("an answer")
    }

    fn try_call(&mut self, method: &str, params: Value) -> Option<Value> {
        let id = self.next_id;
        self.next_id += 1;
        let call = format!("{}\n", json!({"id": id, "method": method, "params": params}));
        self.stream.write_all(call.as_bytes()).ok()?;
        loop {
            let line = self.next_line()?;
            if line["id"] == id && line["method"].is_null() {
                return Some(line);
            }
        }
    }

    /// Waits for a further job.
    pub fn wait_job(&mut self) {
        let seen = self.jobs_seen;
        while self.jobs_seen == seen {
            self.next_line().expect("a job");
        }
    }

    /// Waits for a job on another tip than that of the job solved last, or waited for last. The
    /// successor of a block may come before the answer to its share, which waits for the card.
    pub fn wait_new_tip(&mut self) -> Instant {
        let asked = Instant::now();
        while self.job[1] == self.left {
            self.next_line().expect("a job");
            let waited = asked.elapsed();
            assert!(waited < Duration::from_secs(120), "no job on another tip for {waited:?}");
        }
        self.left = self.job[1].clone();
        Instant::now()
    }

    /// Solves the present job, submits it, and waits for a job on another tip.
    #[allow(dead_code)]
    pub fn mine_and_go_on(&mut self) -> (Value, String) {
        let mined = self.mine();
        if mined.0["result"] == true {
            self.wait_new_tip();
        }
        mined
    }

    /// The parameters of a share that solves the present job, and the block's hash.
    pub fn solve(&mut self) -> (Value, String) {
        self.search(|hash| hash[31] < 0x7f)
    }

    /// The parameters of a share of the present job that reaches a difficulty.
    #[allow(dead_code)]
    pub fn share(&mut self, difficulty: f64) -> Value {
        let target = Target::from_difficulty(Difficulty(difficulty));
        self.search(|hash| target.is_met_by(&BlockHash(*hash))).0
    }

    fn search(&mut self, is_good: impl Fn(&[u8; 32]) -> bool) -> (Value, String) {
        self.counter += 1;
        self.left = self.job[1].clone();
        let extranonce2 = self.counter.to_be_bytes();
        let job = self.job.as_array().unwrap();
        let text = |i: usize| job[i].as_str().unwrap();
        let number = |i: usize| u32::from_str_radix(text(i), 16).unwrap();
        let mut coinbase = decode(text(2));
        coinbase.extend_from_slice(&self.extranonce1);
        coinbase.extend_from_slice(&extranonce2);
        coinbase.extend_from_slice(&decode(text(3)));
        let mut root = sha256d(&coinbase);
        for node in job[4].as_array().unwrap() {
            let node = decode(node.as_str().unwrap());
            root = sha256d(&[root.as_slice(), &node].concat());
        }
        let mut header = Vec::new();
        let bits = (self.counter as u32 % 0xffff) << 13 & 0x1fff_e000;
        header.extend_from_slice(&(number(5) | bits).to_le_bytes());
        for word in decode(text(1)).chunks(4) {
            header.extend(word.iter().rev());
        }
        header.extend_from_slice(&root);
        header.extend_from_slice(&number(7).to_le_bytes());
        header.extend_from_slice(&number(6).to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        for nonce in 0u32.. {
            header[76..].copy_from_slice(&nonce.to_le_bytes());
            let mut hash = sha256d(&header);
            if is_good(&hash) {
                hash.reverse();
                let share = json!([
                    "worker",
                    text(0),
                    faster_hex::hex_string(&extranonce2),
                    text(7),
                    format!("{nonce:08x}"),
                    format!("{bits:08x}"),
                ]);
                return (share, faster_hex::hex_string(&hash));
            }
        }
        unreachable!("one of so many hashes is good")
    }

    /// Solves the present job and submits it; the answer and the block's hash.
    pub fn mine(&mut self) -> (Value, String) {
        let (share, hash) = self.solve();
        (self.call("mining.submit", share), hash)
    }
}

fn decode(hex: &str) -> Vec<u8> {
    let mut bytes = vec![0; hex.len() / 2];
    faster_hex::hex_decode(hex.as_bytes(), &mut bytes).unwrap();
    bytes
}

/// Sends as a reader does that the page's own limit (20 requests a second) sent away: again, later.
pub fn patient(request: &minreq::Request) -> Result<minreq::Response, minreq::Error> {
    loop {
        let answer = request.clone().send()?;
        if answer.status_code != 429 {
            return Ok(answer);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Somebody at the page, with a browser's headers.
#[allow(dead_code)]
pub struct Browser<'a> {
    pub daemon: &'a Daemon,
    pub cookie: String,
}

#[allow(dead_code)]
impl Browser<'_> {
    pub fn post(&mut self, path: &str, form: &str) -> minreq::Response {
        let origin = format!("http://{}", self.daemon.http);
        let request = minreq::post(format!("{origin}{path}"))
            .with_header("Origin", &origin)
            .with_header("Cookie", &self.cookie)
            .with_header("Content-Type", "application/x-www-form-urlencoded")
            .with_body(form)
            .with_follow_redirects(false)
            .with_timeout(60);
        let answer = patient(&request).unwrap();
        let cookie = answer.headers.iter().find(|(name, _)| name == "set-cookie");
        if let Some((_, cookie)) = cookie {
            self.cookie = cookie.split(';').next().unwrap().to_owned();
        }
        answer
    }

    pub fn settings(&self) -> String {
        self.page("/settings")
    }

    pub fn page(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.daemon.http);
        let answer = minreq::get(url).with_header("Cookie", &self.cookie).with_timeout(60);
        patient(&answer).unwrap().as_str().unwrap().to_owned()
    }

    pub fn token(&self) -> String {
        let page = self.settings();
        let (_, rest) = page.split_once("name=\"token\" value=\"").expect("an open session");
        rest[..32].to_owned()
    }
}

/// The `[node]` entries for these nodes, in this order.
pub fn node_entries(nodes: &[soloist::rpc::NodeConfig]) -> String {
    use soloist::rpc::Auth;
    let mut text = String::new();
    for (i, node) in nodes.iter().enumerate() {
        text += if i == 0 { "[node]\n" } else { "[[node.backup]]\n" };
        text += &format!("name = \"{}\"\nrpc_url = \"{}\"\n", node.name, node.url);
        match &node.auth {
            Auth::Cookie(path) => text += &format!("rpc_cookie_path = \"{}\"\n", path.display()),
            Auth::UserPass { user, pass } => {
                text += &format!("rpc_user = \"{user}\"\nrpc_pass = \"{pass}\"\n");
            }
            Auth::None => {}
        }
        if let Some(zmq) = &node.zmq {
            text += &format!("zmq_hashblock_addr = \"{zmq}\"\n");
        }
        // The usual port may be another test's.
        text += "p2p_addr = \"off\"\n";
    }
    text
}

/// Bytes below a directory.
pub fn size_of(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).map(|entries| entries.flatten().collect::<Vec<_>>());
    entries
        .unwrap_or_default()
        .iter()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => size_of(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}
