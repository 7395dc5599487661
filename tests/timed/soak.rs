//! A long time in a hard house: a hundred miners with vardiff that now and then all come anew, two
//! real nodes with a block every 20 s, one of them killed and started again every minute, reloads,
//! and readers of the page. At the end no valid share was refused and nothing has grown.
//!
//! Only where `SOLOIST_SOAK=180` says for how many seconds, or `SOLOIST_LONG=1` for half an hour. Much
//! more hashing is done in `--profile dist`.
//!
//! On regtest every share that is worth anything is a block. So the nodes stand behind a proxy that
//! says "difficulty 1" in their templates, and the blocks are the nodes' own.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../load/src/fleet.rs"]
mod fleet;
#[allow(dead_code)]
#[path = "../load/src/soak.rs"]
mod house;
#[allow(dead_code)]
#[path = "../load/src/miner.rs"]
mod miner;
#[allow(dead_code)]
#[path = "../load/src/v2.rs"]
mod v2;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::common::daemon::{Daemon, node_entries};
use crate::common::node::{Kind, RealNode};

const MINERS: usize = 100;
const BLOCK_EVERY: Duration = Duration::from_secs(20);
const KILL_EVERY: Duration = Duration::from_secs(60);
const RELOAD_EVERY: Duration = Duration::from_secs(45);

#[test]
fn a_hard_house() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let long = std::env::var_os("SOLOIST_LONG").map(|_| 1800);
    let Some(seconds) = number("SOLOIST_SOAK").or(long) else {
        println!("NOT done: the soak (SOLOIST_SOAK=180 or SOLOIST_LONG=1)");
        return;
    };
    let _alone = crate::alone();
    let length = Duration::from_secs(seconds);
    let start = || RealNode::core().or_else(RealNode::bcoin);
    let (Some(first), Some(second)) = (start(), start()) else { return };
    first.generate(if first.kind == Kind::Bcoin { 440 } else { 2 });
    second.learn_from(&first, first.height());
    let configs = [&first, &second].map(|node| node.config_through(proxy(node.address())));

    let mut daemon = Daemon::start(&node_entries(&configs));
    daemon.wait_ready();
    daemon.stop();
    daemon.edit(|text| {
        text.replace("[stratum]\n", "[stratum]\nmax_connections = 512\n")
            .replace("level = \"debug\"", "level = \"info\"")
    });
    daemon.launch();
    daemon.wait_ready();

    let over = Arc::new(AtomicBool::new(false));
    let chain = thread::spawn({
        let over = over.clone();
        move || keep_chain(first, second, &over)
    });
    let plan = house::Plan {
        server: daemon.stratum,
        page: Some(daemon.http),
        miners: MINERS,
        hashrate: if cfg!(debug_assertions) { 1_000.0 } else { 15_000.0 },
        storm_every: Duration::from_secs(30).min(length / 3),
    };
    let started = Instant::now();
    let (mut reloaded, mut early) = (Instant::now(), None);
    let mut soaked = house::run(&plan, |_| {
        if reloaded.elapsed() >= RELOAD_EVERY.min(length / 3) {
            reloaded = Instant::now();
            daemon.signal(Signal::SIGHUP);
        }
        if started.elapsed() >= length / 3 {
            early.get_or_insert_with(|| held(&daemon));
        }
        started.elapsed() < length
    })
    .unwrap();
    let (early, late) = (early.unwrap(), held(&daemon));
    over.store(true, Ordering::Relaxed);
    let (blocks, kills) = chain.join().unwrap();

    let log = daemon.log();
    let lines = log.lines().filter(|line| !line.contains("[DEBUG]")).count();
    println!("{length:.0?}: {blocks} blocks, {kills} kills of a node, {lines} lines of log");
    let difficulties = std::mem::take(&mut soaked.difficulties);
    let (least, most) = difficulties
        .iter()
        .fold((f64::MAX, 0.0_f64), |(least, most), each| (least.min(*each), most.max(*each)));
    println!("{soaked:?}, at the end of {least} to {most}");
    println!("after a third: {early:?}, at the end: {late:?}");
    assert_eq!(soaked.refusals, 0, "valid shares were refused: {:?}", soaked.refused);
    assert!(soaked.accepted > 0 && soaked.new_tips > MINERS as u64, "nothing happened");
    assert_eq!(soaked.failed_pages, 0);
    assert!(daemon.is_running() && !log.contains("panicked"));
    // A reader of the page and a call of a node may just be under way.
    assert!(late.threads <= early.threads + 10, "threads");
    assert!(late.fds <= early.fds + 60, "descriptors");
    // What is still warming up in the first minutes of a debug build is allowed for.
    assert!(late.rss_kb <= early.rss_kb * 5 / 4 + 3000, "memory");
    let rate = lines as f64 / length.as_secs_f64();
    // Each storm lets 50 miners go and come: two lines each.
    assert!(rate < 20.0, "{rate:.1} lines of log per second");
}

#[derive(Debug)]
struct Held {
    rss_kb: u64,
    threads: u64,
    fds: usize,
}

fn held(daemon: &Daemon) -> Held {
    Held {
        rss_kb: daemon.proc_status("VmRSS:"),
        threads: daemon.proc_status("Threads:"),
        fds: fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count(),
    }
}

/// Mines, kills and revives until it is over. How many blocks and kills there were.
fn keep_chain(first: RealNode, mut second: RealNode, over: &AtomicBool) -> (u64, u64) {
    let (mut blocks, mut kills) = (0, 0);
    let mut mined: Option<Instant> = None;
    let mut killed = Instant::now();
    while !over.load(Ordering::Relaxed) {
        if mined.is_none_or(|at| at.elapsed() >= BLOCK_EVERY) {
            mined = Some(Instant::now());
            // A node may be busy just now; the next block comes anyway.
            blocks +=
                u64::from(first.try_call("generatetoaddress", json!([1, first.payout(7)])).is_ok());
            second.learn_from(&first, first.height());
        }
        if killed.elapsed() >= KILL_EVERY {
            killed = Instant::now();
            kills += 1;
            second.kill();
            thread::sleep(Duration::from_secs(3));
            second.launch();
            second.learn_from(&first, first.height());
        }
        thread::sleep(Duration::from_millis(100));
    }
    (blocks, kills)
}

/// Stands before a node and says difficulty 1 instead of regtest's; our proposals, whose bits are
/// then wrong, are right.
fn proxy(node: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || pass_on(client, node));
        }
    });
    address
}

/// One request and its answer. A node that is down is a connection that ends.
fn pass_on(mut client: TcpStream, node: SocketAddr) -> Option<()> {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while !is_whole(&request) {
        match client.read(&mut chunk).ok()? {
            0 => return None,
            n => request.extend_from_slice(&chunk[..n]),
        }
    }
    let mut there = TcpStream::connect(node).ok()?;
    there.write_all(&request).ok()?;
    let mut answer = Vec::new();
    while !is_whole(&answer) {
        match there.read(&mut chunk).ok()? {
            0 => break,
            n => answer.extend_from_slice(&chunk[..n]),
        }
    }
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let body = body.replace("207fffff", "1d00ffff");
    let body = ["\"bad-diffbits\"", "\"rejected: bad-diffbits\""]
        .iter()
        .fold(body, |body, verdict| body.replace(verdict, "null"));
    let status = head.lines().next()?;
    write!(client, "{status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()
}

fn is_whole(message: &[u8]) -> bool {
    let Some(end) = message.windows(4).position(|end| end == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&message[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.is_some_and(|length| {
        length.trim().parse::<usize>().is_ok_and(|length| message.len() >= end + 4 + length)
    })
}
