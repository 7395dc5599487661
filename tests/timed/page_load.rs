//! The page under load, beside a miner: a hundred readers over all addresses, and a real Prometheus
//! that scrapes; the miner must not notice. The real daemon and a real node.
//!
//! Three seconds by default. `SOLOIST_LONG=1` makes it a minute; with `--profile dist` as well, the
//! latency that the readers add to a share's answer is held to 5 ms at its 99th percentile (a build
//! without optimisation says nothing about that).
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::common::daemon::{Daemon, Miner, node_entries};
use crate::common::node::{Kind, RealNode};
use crate::common::{free_port, wait_for};

const PATHS: [&str; 24] = [
    "/",
    "/style.css",
    "/form.css",
    "/app.js",
    "/icon.svg",
    "/icon.svg",
    "/settings",
    "/miners/1",
    "/metrics",
    "/health",
    "/health/live",
    "/health/ready",
    "/health/detailed",
    "/api/status",
    "/api/miners",
    "/api/nodes",
    "/api/blocks",
    "/api/history",
    "/api/pool",
    "/api/info",
    "/api/network",
    "/api/overview",
    "/api/server",
    "/api/pool-hashrate",
];

const READERS: u8 = 100;

fn is_long() -> bool {
    std::env::var_os("SOLOIST_LONG").is_some()
}

fn span() -> Duration {
    Duration::from_secs(if is_long() { 60 } else { 3 })
}

/// One answer to a reader with an address of its own; its code.
fn read_as(reader: u8, address: SocketAddr, path: &str) -> u16 {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 1, reader], 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: solo.local\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = String::from_utf8_lossy(&answer);
    head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// How long answers to shares take, sorted. The share is a known one: it is hashed and judged like
/// any other, and finds no block.
fn latencies(miner: &mut Miner, share: &Value, span: Duration) -> Vec<Duration> {
    let until = Instant::now() + span;
    let mut all = Vec::new();
    while Instant::now() < until {
        let asked = Instant::now();
        let answer = miner.call("mining.submit", share.clone());
        all.push(asked.elapsed());
        assert_ne!(answer["error"], Value::Null, "{answer}");
        thread::sleep(Duration::from_millis(10));
    }
    all.sort_unstable();
    all
}

fn p99(sorted: &[Duration]) -> Duration {
    sorted[(sorted.len() * 99 / 100).min(sorted.len() - 1)]
}

/// Prometheus, ended with the test.
struct Prometheus {
    address: SocketAddr,
    child: Child,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    fn start(target: SocketAddr) -> Option<Prometheus> {
        let installed = Command::new("prometheus").arg("--version").output();
        if installed.is_err() {
            eprintln!("SKIPPED: prometheus is not installed: nobody scraped the metrics");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/monitoring/alerts.yml");
        let config = format!(
            "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: ['{rules}']\n\
             scrape_configs:\n- job_name: soloist\n  static_configs:\n  - targets: ['{target}']\n"
        );
        let file = dir.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Prometheus { address, child, _dir: dir })
    }

    /// The value of an expression, once it has one.
    fn value(&self, expression: &str) -> f64 {
        let url = format!("http://{}/api/v1/query", self.address);
        wait_for(expression, || {
            thread::sleep(Duration::from_millis(200));
            let request = minreq::get(&url).with_param("query", expression).with_timeout(10);
            let answer: Value = serde_json::from_slice(request.send().ok()?.as_bytes()).ok()?;
            answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
        })
    }

    fn get(&self, path: &str) -> Value {
        let url = format!("http://{}{path}", self.address);
        let answer = minreq::get(url).with_timeout(10).send().unwrap();
        serde_json::from_slice(answer.as_bytes()).unwrap()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// How long a reader of an idle box waits for the first byte of an answer, connection included; a table
/// to read, for a build with `--profile dist` on a machine that does nothing else.
#[test]
fn the_first_byte_is_soon_there() {
    let _alone = crate::alone();
    let Some(node) = RealNode::core().or_else(RealNode::bcoin) else { return };
    node.generate(if node.kind == Kind::Bcoin { 440 } else { 2 });
    let daemon = Daemon::start(&node_entries(&[node.config()]));
    daemon.wait_ready();
    let _miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    println!("{:<20} {:>10} {:>10}", "first byte of", "median ms", "99 % ms");
    for path in ["/", "/style.css", "/api/status", "/metrics", "/health/live"] {
        let mut waited: Vec<Duration> = (0..100)
            .map(|_| {
                // Who asks more often is refused.
                thread::sleep(Duration::from_millis(120));
                let asked = Instant::now();
                let mut stream = TcpStream::connect(daemon.http).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                let head = "HTTP/1.1\r\nHost: solo.local\r\nConnection: close\r\n\r\n";
                stream.write_all(format!("GET {path} {head}").as_bytes()).unwrap();
                let mut first = [0; 12];
                stream.read_exact(&mut first).unwrap();
                let waited = asked.elapsed();
                assert_eq!(&first, b"HTTP/1.1 200", "{path}");
                waited
            })
            .collect();
        waited.sort_unstable();
        let millis = |waited: Duration| waited.as_secs_f64() * 1e3;
        println!("{path:<20} {:>10.2} {:>10.2}", millis(waited[50]), millis(p99(&waited)));
    }
}

#[test]
fn a_hundred_readers_and_prometheus_do_not_hold_a_miner_up() {
    let _alone = crate::alone();
    let Some(node) = RealNode::core().or_else(RealNode::bcoin) else { return };
    node.generate(if node.kind == Kind::Bcoin { 440 } else { 2 });
    let daemon = Daemon::start(&node_entries(&[node.config()]));
    daemon.wait_ready();
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    let (share, _) = miner.solve();
    assert_eq!(miner.call("mining.submit", share.clone())["result"], true);
    miner.wait_new_tip();
    let prometheus = Prometheus::start(daemon.http);
    let alone = latencies(&mut miner, &share, span());

    let (running, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let readers: Vec<_> = (1..=READERS)
        .map(|reader| {
            let (running, asked, address) = (running.clone(), asked.clone(), daemon.http);
            thread::spawn(move || {
                let mut refused = 0;
                for path in PATHS.iter().cycle().skip(usize::from(reader)) {
                    if !running.load(Ordering::Relaxed) {
                        return refused;
                    }
                    match read_as(reader, address, path) {
                        200 => {}
                        429 => refused += 1,
                        code => panic!("{path}: {code}"),
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                    // About what one reader may: 20 a second.
                    thread::sleep(Duration::from_millis(60));
                }
                refused
            })
        })
        .collect();
    let beside = latencies(&mut miner, &share, span());
    running.store(false, Ordering::Relaxed);
    let refused: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
    let asked = asked.load(Ordering::Relaxed);
    let (quiet, busy) = (p99(&alone), p99(&beside));
    println!(
        "{asked} answers ({refused} refused by rate) in {:?}; a share's answer: p99 {quiet:?} alone, \
         {busy:?} beside them, medians {:?} and {:?}",
        span(),
        alone[alone.len() / 2],
        beside[beside.len() / 2],
    );
    assert!(asked > u64::from(READERS), "every reader was answered");
    assert!(refused * 10 < asked, "they keep to the limit");
    let bound = if is_long() && !cfg!(debug_assertions) { 5 } else { 1000 };
    assert!(busy <= quiet + Duration::from_millis(bound), "{busy:?} beside {quiet:?}");

    if let Some(prometheus) = prometheus {
        assert_eq!(prometheus.value("up{job=\"soloist\"}"), 1.0);
        assert_eq!(prometheus.value("soloist_ready"), 1.0);
        assert!(prometheus.value("soloist_stratum_connections") >= 1.0);
        assert!(prometheus.value("count({__name__=~\"soloist_.*\"})") >= 40.0);
        let targets = prometheus.get("/api/v1/targets");
        assert_eq!(targets["data"]["activeTargets"][0]["lastError"], "", "{targets}");
        let rules = prometheus.get("/api/v1/rules");
        let groups = rules["data"]["groups"].as_array().unwrap();
        let all = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
        let sick: Vec<&Value> = all.filter(|rule| rule["health"] == "err").collect();
        assert!(!groups.is_empty() && sick.is_empty(), "{sick:?}");
    }
    assert_eq!(miner.call("mining.ping", json!([]))["result"], "pong");
}
