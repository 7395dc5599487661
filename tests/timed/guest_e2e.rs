//! A good guest at the node: however often Soloist starts anew, and however long no block comes, the
//! node answers its other clients, and a solved block gets out. The nodes have few RPC threads and a
//! mempool that stands still: real ones of Bitcoin Core where one can be had (`BITCOIND`, else
//! `SOLOIST_CORE`), else test servers that hold threads as Core does. The output says which.
//!
//! Here restarts alone, half a minute of them. With `SOLOIST_LONG=1` 20 restarts within 3 minutes
//! and then 45 minutes without a block, on nodes of 1, 2 and 4 threads at once.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use soloist::rpc::NodeConfig;

use crate::common::daemon::{Daemon, Miner, node_entries};
use crate::common::few_threads::{self, FewThreads};
use crate::common::node::{RealNode, base64};

/// Another client's call takes at most so long, each time.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
/// No call of ours holds a thread for longer.
const HELD_AT_MOST: Duration = Duration::from_secs(1);
/// Threads that one Soloist takes at a time, the submission of blocks aside.
const THREADS_AT_MOST: usize = 2;
/// From the miner's share until the block is in the node's chain.
const ON_CHAIN_WITHIN: Duration = Duration::from_secs(1);
/// After this time a client, or a miner, gives up.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn the_node_answers_its_other_clients_and_a_block_gets_out() {
    let _alone = crate::alone();
    let trials = match std::env::var_os("SOLOIST_LONG") {
        None => [(2, 1), (2, 2)]
            .map(|(threads, soloists)| Trial {
                threads,
                soloists,
                zmq: false,
                restarts: 8,
                every: Duration::from_millis(1500),
                quiet: Duration::from_secs(5),
            })
            .to_vec(),
        Some(_) => [(1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (4, 2)]
            .map(|(threads, soloists)| (threads, soloists, false))
            .into_iter()
            .chain([(4, 1, true)])
            .map(|(threads, soloists, zmq)| Trial {
                threads,
                soloists,
                zmq,
                restarts: 20,
                every: Duration::from_millis(8500),
                quiet: Duration::from_secs(45 * 60),
            })
            .collect(),
    };
    let broken: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = trials.iter().map(|trial| scope.spawn(|| trial.run())).collect();
        running.into_iter().flat_map(|trial| trial.join().unwrap()).collect()
    });
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// What a node and its guests go through.
#[derive(Clone)]
struct Trial {
    /// The node's RPC threads.
    threads: usize,
    /// Soloists at the node.
    soloists: usize,
    /// The node publishes its blocks, and Soloist listens.
    zmq: bool,
    /// `kill -9` and SIGTERM by turns, of every Soloist, this often and so far apart.
    restarts: usize,
    every: Duration,
    /// No block comes for so long after that.
    quiet: Duration,
}

impl Trial {
    /// Prints what was seen; what must not be is returned in words.
    fn run(&self) -> Vec<String> {
        let host = Host::start(self.threads);
        // Asked while it answers.
        let name = host.name();
        let mut config = host.config();
        if !self.zmq {
            config.zmq = None;
        } else if config.zmq.is_none() {
            say(&format!("*** NOT TESTED *** {name} has no ZMQ"));
            return Vec::new();
        }
        let client = host.client();
        let observer = Observer::start(client.clone());
        let mut daemons: Vec<Daemon> =
            (0..self.soloists).map(|_| Daemon::start(&node_entries(&[config.clone()]))).collect();

        let begun = Instant::now();
        let mut starts: Vec<Option<Duration>> = daemons.iter().map(wait_ready).collect();
        for number in 0..self.restarts {
            if observer.is_ignored() {
                break;
            }
            thread::sleep((self.every * (number as u32 + 1)).saturating_sub(begun.elapsed()));
            // Whatever a run asks at its start has been asked by then.
            thread::sleep(Duration::from_millis(500));
            for daemon in &mut daemons {
                end(daemon, number % 2 == 0);
                daemon.launch();
            }
            starts.extend(daemons.iter().map(wait_ready));
        }
        let restarted = begun.elapsed();
        // What a run that was killed had asked is over as well.
        thread::sleep(HELD_AT_MOST);
        observer.restarts_are_over();
        let quiet = Instant::now();
        while quiet.elapsed() < self.quiet && !observer.is_ignored() {
            thread::sleep(Duration::from_millis(100));
        }
        let waited = quiet.elapsed();
        let seen = observer.end();
        let blocks: Vec<_> = daemons.iter().map(|daemon| block(daemon, &client)).collect();

        let zmq = if self.zmq { ", ZMQ" } else { "" };
        let title = format!(
            "{name}, rpcthreads={}{zmq}, Soloists: {}; {} starts in {restarted:.0?}, then {waited:.0?} \
             without a block",
            self.threads,
            self.soloists,
            starts.len(),
        );
        say(&format!("{title}\n{}", report(&seen, &starts, &blocks)));
        let broken = self.broken(&seen, &starts, &blocks);
        broken.into_iter().map(|what| format!("{title}: {what}")).collect()
    }

    fn broken(
        &self,
        seen: &Seen,
        starts: &[Option<Duration>],
        blocks: &[Result<Duration, String>],
    ) -> Vec<String> {
        let mut broken = Vec::new();
        let slow = seen.times.iter().filter(|took| **took > ANSWERED_WITHIN).count();
        if let Some((at, why)) = &seen.unanswered {
            broken.push(format!("after {at:.0?} another client was not answered: {why}"));
        }
        if slow > 0 {
            broken.push(format!("{slow} calls of another client took over {ANSWERED_WITHIN:?}"));
        }
        if seen.longest.1 > HELD_AT_MOST {
            let (method, held) = &seen.longest;
            broken.push(format!("{method} held a thread for {held:.1?}"));
        }
        let allowed = THREADS_AT_MOST * self.soloists;
        if seen.threads > allowed {
            broken.push(format!("{} threads were taken, {allowed} are allowed", seen.threads));
        }
        if starts.contains(&None) {
            broken.push("not every start let miners in".into());
        }
        for block in blocks {
            match block {
                Ok(took) if *took <= ON_CHAIN_WITHIN => {}
                Ok(took) => broken.push(format!("a block was on the chain after {took:.1?}")),
                Err(why) => broken.push(format!("a block did not get out: {why}")),
            }
        }
        broken
    }
}

fn report(seen: &Seen, starts: &[Option<Duration>], blocks: &[Result<Duration, String>]) -> String {
    let mut times = seen.times.clone();
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    let worst = times.last().copied().unwrap_or_default();
    let unanswered = match &seen.unanswered {
        None => "each was answered".into(),
        Some((at, why)) => format!("NOT ANSWERED any more after {at:.1?} ({why})"),
    };
    let slowest = starts.iter().flatten().max().copied().unwrap_or_default();
    let let_in = starts.iter().flatten().count();
    let (method, held) = &seen.longest;
    let mut text = format!(
        "  another client's getblockcount: {} calls, median {:.1?}, 99 of 100 within {:.1?}, worst \
         {worst:.1?}; {unanswered}\n  threads held: at most {} ({} while it was restarted), longest \
         by {method}: {held:.1?} ({} samples)\n  connections at the node: at most {}\n  miners let \
         in after {let_in} of {} starts, at most {slowest:.1?} after it\n",
        times.len(),
        at(50),
        at(99),
        seen.threads,
        seen.threads_at_restarts,
        seen.samples,
        seen.connections,
        starts.len(),
    );
    for block in blocks {
        text += &match block {
            Ok(took) => format!("  share of a block → in the node's chain: {took:.1?}\n"),
            Err(why) => format!("  share of a block: NOT IN THE CHAIN ({why})\n"),
        };
    }
    text
}

/// Past the test harness, which swallows what a test that passes prints.
fn say(words: &str) {
    writeln!(std::io::stderr(), "\n{words}").ok();
}

/// From the call until miners are let in, if they are.
fn wait_ready(daemon: &Daemon) -> Option<Duration> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if TcpStream::connect(daemon.stratum).is_ok() {
            return Some(started.elapsed());
        }
        thread::sleep(Duration::from_millis(20));
    }
    None
}

/// `kill -9`, or SIGTERM and what it takes after that.
fn end(daemon: &mut Daemon, at_once: bool) {
    if !at_once {
        daemon.signal(Signal::SIGTERM);
        let asked = Instant::now();
        while daemon.is_running() && asked.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(10));
        }
    }
    daemon.kill();
}

/// A miner solves a block; how long until it is the node's tip.
fn block(daemon: &Daemon, client: &Client) -> Result<Duration, String> {
    wait_ready(daemon).ok_or("miners are not let in")?;
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    // The node may have moved on since its first job: the other Soloist's miner was here as well.
    let tip = client.call("getbestblockhash", json!([]))?.0;
    while job_tip(&miner) != tip.as_str().unwrap_or_default() {
        miner.wait_job();
    }
    let (share, hash) = miner.solve();
    let sent = Instant::now();
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            while sent.elapsed() < 3 * PATIENCE {
                match client.call("getbestblockhash", json!([])) {
                    Ok((tip, _)) if tip == hash.as_str() => return Ok(sent.elapsed()),
                    Ok(_) => thread::sleep(Duration::from_millis(5)),
                    Err(why) => return Err(why),
                }
            }
            Err(format!("the node does not have it after {:.0?}", sent.elapsed()))
        });
        miner.call("mining.submit", share);
        watch.join().unwrap()
    })
}

/// The tip that a miner works on, as a node writes it: Stratum swaps the bytes of each word.
fn job_tip(miner: &Miner) -> String {
    let swapped = miner.job[1].as_str().unwrap_or_default();
    let words: Vec<&str> = (0..swapped.len() / 8).map(|i| &swapped[8 * i..8 * i + 8]).collect();
    words.into_iter().rev().collect()
}

/// The node that has the guests.
enum Host {
    Core(RealNode),
    Server(FewThreads),
}

impl Host {
    fn start(threads: usize) -> Host {
        match RealNode::core_with(&[&format!("-rpcthreads={threads}")]) {
            Some(node) => {
                node.generate(2);
                Host::Core(node)
            }
            None => Host::Server(FewThreads::start(threads, 2)),
        }
    }

    fn name(&self) -> String {
        match self {
            Host::Core(node) => {
                let info = node.call("getnetworkinfo", json!([]));
                format!("Bitcoin Core {}", info["subversion"].as_str().unwrap_or_default())
            }
            Host::Server(_) => "NOT Bitcoin Core but a test server".into(),
        }
    }

    fn config(&self) -> NodeConfig {
        match self {
            Host::Core(node) => node.config(),
            Host::Server(server) => server.config(),
        }
    }

    fn client(&self) -> Client {
        let (address, credentials) = match self {
            Host::Core(node) => (node.address(), node.credentials().unwrap()),
            Host::Server(server) => {
                (server.address(), format!("{}:{}", few_threads::USER, few_threads::PASSWORD))
            }
        };
        Client { address, authorization: format!("Basic {}", base64(credentials.as_bytes())) }
    }
}

/// Another program that uses the node.
#[derive(Clone)]
struct Client {
    address: SocketAddr,
    authorization: String,
}

impl Client {
    /// One call over a connection of its own, and how long it took.
    fn call(&self, method: &str, params: Value) -> Result<(Value, Duration), String> {
        let started = Instant::now();
        let answer = minreq::post(format!("http://{}", self.address))
            .with_header("Content-Type", "application/json")
            .with_header("Authorization", self.authorization.as_str())
            .with_body(json!({"method": method, "params": params, "id": 0}).to_string())
            .with_timeout(PATIENCE.as_secs())
            .send()
            .map_err(|error| format!("{method}: {error} after {:.1?}", started.elapsed()))?;
        let took = started.elapsed();
        let body: Value = serde_json::from_slice(answer.as_bytes())
            .map_err(|_| format!("{method}: HTTP {}", answer.status_code))?;
        match &body["error"] {
            Value::Null => Ok((body["result"].clone(), took)),
            error => Err(format!("{method}: {error}")),
        }
    }
}

/// What the other client has seen.
#[derive(Default)]
struct Seen {
    times: Vec<Duration>,
    /// When a call was not answered for the first time, and what came instead.
    unanswered: Option<(Duration, String)>,
    /// Threads of the node that others held, at most: after the restarts and during them.
    threads: usize,
    threads_at_restarts: usize,
    /// The call that was seen to hold one for longest.
    longest: (String, Duration),
    samples: usize,
    /// Connections at the node, at most.
    connections: usize,
}

/// The other client at work: asks for the height every 200 ms, and every second who else is there.
struct Observer {
    shared: Arc<Flags>,
    thread: JoinHandle<Seen>,
}

#[derive(Default)]
struct Flags {
    stop: AtomicBool,
    ignored: AtomicBool,
    restarts_are_over: AtomicBool,
}

impl Observer {
    fn start(client: Client) -> Observer {
        let shared = Arc::new(Flags::default());
        let flags = shared.clone();
        let thread = thread::spawn(move || {
            let mut seen = Seen::default();
            let started = Instant::now();
            for round in 0_u64.. {
                if flags.stop.load(Ordering::SeqCst) {
                    break;
                }
                let asked = Instant::now();
                // Its own connections are closed meanwhile.
                seen.connections = seen.connections.max(connections_at(client.address.port()));
                match client.call("getblockcount", json!([])) {
                    Ok((_, took)) => seen.times.push(took),
                    Err(why) => {
                        seen.unanswered.get_or_insert((asked.duration_since(started), why));
                        flags.ignored.store(true, Ordering::SeqCst);
                    }
                }
                if round.is_multiple_of(5)
                    && let Ok((info, _)) = client.call("getrpcinfo", json!([]))
                {
                    seen.sample(&info, flags.restarts_are_over.load(Ordering::SeqCst));
                }
                thread::sleep(Duration::from_millis(200).saturating_sub(asked.elapsed()));
            }
            seen
        });
        Observer { shared, thread }
    }

    /// The node has left a call unanswered.
    fn is_ignored(&self) -> bool {
        self.shared.ignored.load(Ordering::SeqCst)
    }

    fn restarts_are_over(&self) {
        self.shared.restarts_are_over.store(true, Ordering::SeqCst);
    }

    fn end(self) -> Seen {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

impl Seen {
    /// Takes in what `getrpcinfo` says.
    fn sample(&mut self, info: &Value, after_restarts: bool) {
        let running = info["active_commands"].as_array().unwrap();
        // One of them is this call itself.
        let threads = running.len() - 1;
        let most = if after_restarts { &mut self.threads } else { &mut self.threads_at_restarts };
        *most = threads.max(*most);
        for command in running {
            let held = Duration::from_micros(command["duration"].as_u64().unwrap());
            if held > self.longest.1 {
                self.longest = (command["method"].as_str().unwrap().to_owned(), held);
            }
        }
        self.samples += 1;
    }
}

/// Connections that are open at a port of this machine, from the port's side: also those whose other
/// end has gone.
fn connections_at(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let here = format!(":{port:04X}");
    let open = |line: &&str| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1).unwrap_or_default();
        // ESTABLISHED and CLOSE_WAIT.
        local.ends_with(&here) && matches!(fields.nth(1), Some("01" | "08"))
    };
    table.lines().skip(1).filter(open).count()
}
