//! What Soloist says of a block, over time, for each way in which a node answers `submitblock`: page,
//! ledger, spool and notifications beside what the node has in its best chain. bcoin always, Bitcoin
//! Core where `BITCOIND` names its binary.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use soloist::block::SolvedBlock;
use soloist::block::StoredState;
use soloist::clock::Now;
use soloist::job::Job;
use soloist::ledger::totals::{Ledger, LedgerEvent};
use soloist::ledger::writer::LedgerWriter;
use soloist::spool::Spool;

use crate::common::craft::{Solved, job, solve, template};
use crate::common::daemon::{Daemon, Miner, node_entries, patient};
use crate::common::node::{Kind, RealNode};
use crate::common::sink::Sink;
use crate::common::wait_for;

/// Asks for the blocks again and again and notes each change of state.
struct Timeline {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    /// By hash: milliseconds since the block was seen first, and the state.
    states: BTreeMap<String, Vec<(u128, String)>>,
    first: BTreeMap<String, Instant>,
    last: BTreeMap<String, Value>,
}

impl Timeline {
    fn start(http: SocketAddr) -> Timeline {
        let (seen, stop) =
            (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let (shared, end) = (seen.clone(), stop.clone());
        let thread = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(60));
                let request = minreq::get(format!("http://{http}/api/blocks")).with_timeout(10);
                let Ok(answer) = patient(&request) else { continue };
                let Ok(answer) = serde_json::from_slice::<Value>(answer.as_bytes()) else {
                    continue;
                };
                let blocks = answer["blocks"].as_array().cloned().unwrap_or_default();
                let mut seen = shared.lock().unwrap();
                for block in blocks {
                    let hash = block["hash"].as_str().unwrap().to_owned();
                    let state = block["state"].as_str().unwrap().to_owned();
                    let first = *seen.first.entry(hash.clone()).or_insert_with(Instant::now);
                    let states = seen.states.entry(hash.clone()).or_default();
                    if states.last().is_none_or(|(_, last)| *last != state) {
                        states.push((first.elapsed().as_millis(), state));
                    }
                    seen.last.insert(hash, block);
                }
            }
        });
        Timeline { seen, stop, thread: Some(thread) }
    }

    fn states(&self, hash: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.states.get(hash).into_iter().flatten().map(|(_, state)| state.clone()).collect()
    }

    fn last(&self, hash: &str) -> Value {
        self.seen.lock().unwrap().last.get(hash).cloned().unwrap_or_default()
    }

    /// Waits until the block is shown so.
    fn reaches(&self, hash: &str, state: &str) -> Value {
        wait_for(&format!("{hash} to be {state}"), || {
            Some(self.last(hash)).filter(|block| block["state"] == state)
        })
    }

    fn print(&self, kind: Kind, row: &str, hash: &str) {
        let seen = self.seen.lock().unwrap();
        let states: Vec<String> =
            seen.states[hash].iter().map(|(ms, state)| format!("{state} at {ms} ms")).collect();
        let last = &seen.last[hash];
        let answers: Vec<String> = last["answers"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|answer| format!("{} (in its chain: {})", answer["words"], answer["taken"]))
            .collect();
        println!(
            "{kind:?}, {row}: {}; the node's words {}; accepted after {} ms",
            states.join(", "),
            answers.join(", "),
            last["accepted_after_ms"]
        );
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().ok();
    }
}

/// Puts a block where the next start offers it to the nodes.
fn spool(daemon: &Daemon, name: &str, height: u32, block: &Solved) {
    let (spool, _) = Spool::open(&daemon.data().join("spool")).unwrap();
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    spool
        .write(&SolvedBlock {
            hash: block.hash,
            height,
            unix,
            reward: 1,
            worker: name.into(),
            from_partner: false,
            bytes: block.bytes.clone(),
        })
        .unwrap();
}

fn export(daemon: &Daemon) -> String {
    let export = Command::new(env!("CARGO_BIN_EXE_soloist"))
        .args(["export", "blocks", "--data"])
        .arg(daemon.data())
        .output()
        .unwrap();
    String::from_utf8(export.stdout).unwrap()
}

/// A block of one's own beside one that the node got first.
fn tie(daemon: &Daemon, node: &RealNode, worker: &str) -> (String, String) {
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370/v2.13.1", worker);
    let (share, hash) = wait_for("a job on the tip", || {
        let (share, hash) = miner.solve();
        // The job's previous block, as its words of four bytes are turned.
        let prev: Vec<&str> =
            (0..8).map(|n| &miner.job[1].as_str().unwrap()[8 * n..][..8]).collect();
        let prev = prev.into_iter().rev().collect::<String>();
        if prev != node.tip().to_string() {
            miner.wait_job();
            return None;
        }
        Some((share, hash))
    });
    let rival = node.generate(1)[0].to_string();
    miner.call("mining.submit", share);
    (hash, rival)
}

/// Writes into the ledger what an older version wrote after `null` or `duplicate`.
fn book_as_accepted(daemon: &Daemon, hashes: &[&String]) {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let now = Now { mono: Instant::now(), unix };
    let (mut ledger, mut out) = (Ledger::new(now), Vec::new());
    let mut keeper = LedgerWriter::in_process(daemon.data());
    let booked = hashes.iter().map(|hash| LedgerEvent::Block {
        hash: hash.parse().unwrap(),
        state: StoredState::Accepted { node: "x".into() },
    });
    for event in [LedgerEvent::Tick].into_iter().chain(booked).chain([LedgerEvent::Stop]) {
        ledger.handle(now, event, &mut out);
        while let Some(output) = out.pop() {
            if let Some(answer) = keeper.work(&output) {
                ledger.handle(now, answer, &mut out);
            }
        }
    }
}

/// The notifications that came, all of them.
struct Posts {
    sink: Sink,
    all: Vec<Value>,
}

impl Posts {
    fn told(&mut self, name: &str, title: &str) -> usize {
        self.all.extend(self.sink.posts.try_iter());
        let about =
            |post: &&Value| post["title"] == title && post["text"].as_str().unwrap().contains(name);
        self.all.iter().filter(about).count()
    }

    fn hears(&mut self, name: &str, title: &str) {
        wait_for(&format!("'{title}' with {name}"), || (self.told(name, title) > 0).then_some(()));
    }
}

fn thousands(height: &Value) -> String {
    soloist::status::format::thousands(height.as_u64().unwrap())
}

fn raw(node: &RealNode, hash: &str) -> Value {
    node.call("getblock", json!([hash, 0]))
}

#[test]
fn what_is_said_of_a_block_is_what_the_chain_has() {
    for make in [RealNode::bcoin, RealNode::core] {
        let (Some(node), Some(other)) = (make(), make()) else { continue };
        let kind = node.kind;
        node.generate(if kind == Kind::Bcoin { 440 } else { 2 });
        other.learn_from(&node, node.height());

        let mut posts = Posts { sink: Sink::start(), all: Vec::new() };
        let nodes = node_entries(&[node.config()]);
        let mut daemon = Daemon::start(&nodes);
        daemon.wait_ready();
        daemon.stop();
        let hook = format!("[[notify]]\nkind = \"webhook\"\nurl = \"{}\"\n", posts.sink.url);
        daemon.configure(&nodes, &hook);
        daemon.launch();
        daemon.wait_ready();
        let timeline = Timeline::start(daemon.http);

        // A new best block.
        let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370/v2.13.1", "best");
        let (_, best) = miner.mine();
        timeline.reaches(&best, "accepted");
        assert_eq!(node.tip().to_string(), best);
        miner.wait_new_tip();
        drop(miner);
        posts.hears("best", "Block found");

        // A tie that the next block decides for us.
        other.learn_from(&node, node.height());
        let (wins, _) = tie(&daemon, &node, "tie-that-wins");
        let preferred = if kind == Kind::Core { "accepted" } else { "beside" };
        timeline.reaches(&wins, preferred);
        if kind == Kind::Bcoin {
            thread::sleep(Duration::from_secs(2));
            assert_eq!(timeline.last(&wins)["state"], "beside", "until the next block");
        }
        let url = format!("http://{}/api/blocks/{wins}.hex", daemon.http);
        let hex = patient(&minreq::get(url).with_timeout(10)).unwrap();
        other.call("submitblock", json!([hex.as_str().unwrap().trim()]));
        assert_eq!(other.tip().to_string(), wins);
        let child = other.generate(1)[0].to_string();
        node.call("submitblock", json!([raw(&other, &child)]));
        assert_eq!(node.tip().to_string(), child);
        timeline.reaches(&wins, "accepted");
        posts.hears("tie-that-wins", "Block found");

        // A tie that it decides for the other one. Core prefers ours, until it is told otherwise.
        let (loses_tie, rival) = tie(&daemon, &node, "tie-that-loses");
        if kind == Kind::Core {
            timeline.reaches(&loses_tie, "accepted");
            node.call("preciousblock", json!([rival]));
        }
        timeline.reaches(&loses_tie, "beside");
        assert_eq!(node.tip().to_string(), rival);
        node.generate(1);
        let lost = timeline.reaches(&loses_tie, "orphaned");
        posts.hears(&format!("height {}", thousands(&lost["height"])), "Block lost");
        println!();
        for (row, hash) in [("new best block", &best), ("tie that wins", &wins)] {
            timeline.print(kind, row, hash);
        }

        // Blocks that no job of Soloist would make: they lie in the spool, as after a power cut.
        let losing = template(&node.rpc());
        let losing_height = losing.height;
        let losing = solve(&job(losing), 1, None);
        node.generate(2);
        other.learn_from(&node, node.height());
        other.generate(1);
        let orphan = template(&other.rpc());
        let orphan_height = orphan.height;
        let orphan = solve(&job(orphan), 2, None);
        let mut greedy = template(&node.rpc());
        let height = greedy.height;
        greedy.value += 1;
        let greedy = solve(&job(greedy), 3, None);
        let early = job(template(&node.rpc()));
        let early = solve(&Job { ntime: early.ntime + 3 * 3600, ..early }, 4, None);
        daemon.stop();
        let before = export(&daemon);
        spool(&daemon, "loses", losing_height, &losing);
        spool(&daemon, "lacks-its-parent", orphan_height, &orphan);
        spool(&daemon, "wrong-value", height, &greedy);
        spool(&daemon, "three-hours-ahead", height, &early);
        // What an older version made of `duplicate`.
        let (kept, _) = Spool::open(&daemon.data().join("spool")).unwrap();
        for hash in [&best, &loses_tie] {
            let accepted = StoredState::Accepted { node: "x".into() };
            kept.mark(&hash.parse().unwrap(), accepted).unwrap();
        }
        book_as_accepted(&daemon, &[&best, &loses_tie]);
        assert_eq!(export(&daemon).matches(",accepted,x,").count(), 2);
        daemon.launch();
        daemon.wait_ready();
        let [losing, orphan, greedy, early] =
            [losing, orphan, greedy, early].map(|block| block.hash.to_string());
        timeline.reaches(&losing, "orphaned");
        let lacks_parent = if kind == Kind::Bcoin { "bad-prevblk" } else { "prev-blk-not-found" };
        let reasons =
            [(&orphan, lacks_parent), (&greedy, "bad-cb-amount"), (&early, "time-too-new")];
        for (hash, reason) in reasons {
            assert_eq!(timeline.reaches(hash, "refused")["reason"], reason);
        }
        for (_, reason) in reasons {
            posts.hears(reason, "Block refused");
        }
        // The same again, more than once where the parent is missing.
        thread::sleep(Duration::from_secs(3));
        daemon.stop();
        daemon.launch();
        daemon.wait_ready();
        wait_for("the second answers", || {
            let log = daemon.log();
            let starts = log.rsplit("Stopped.").next().unwrap_or_default();
            // Each of the blocks that are not final is handed over at the start.
            (starts.matches("submitblock of").count() >= 7).then_some(())
        });
        thread::sleep(Duration::from_secs(2));
        for (hash, reason) in reasons {
            assert_eq!(timeline.reaches(hash, "refused")["reason"], reason);
        }
        timeline.reaches(&losing, "orphaned");
        timeline.reaches(&loses_tie, "orphaned");
        timeline.reaches(&best, "accepted");

        // The parent comes.
        node.learn_from(&other, other.height());
        timeline.reaches(&orphan, "accepted");
        posts.hears("lacks-its-parent", "Block found");
        let in_chain = node.call("getblockhash", json!([orphan_height]));
        assert_eq!(in_chain, orphan.as_str());

        let rows = [
            ("new best block, then the same again", "best", &best),
            ("tie that the next block decides for us", "tie-that-wins", &wins),
            ("tie that it decides for the other", "tie-that-loses", &loses_tie),
            ("loses, and again", "loses", &losing),
            ("unknown parent, again, and it comes", "lacks-its-parent", &orphan),
            ("wrong value, and again", "wrong-value", &greedy),
            ("header three hours ahead", "three-hours-ahead", &early),
        ];
        println!();
        for (row, _, hash) in rows {
            timeline.print(kind, row, hash);
        }

        // What never was in a chain was never called accepted, by nobody.
        daemon.stop();
        let ledger = export(&daemon);
        println!("the ledger before and after:\n{before}{ledger}");
        let won: BTreeSet<&str> = match kind {
            Kind::Bcoin => ["best", "tie-that-wins", "lacks-its-parent"].into(),
            // Core preferred it for a while.
            Kind::Core => ["best", "tie-that-wins", "lacks-its-parent", "tie-that-loses"].into(),
        };
        for (row, name, hash) in rows {
            let states = timeline.states(hash);
            let accepted = states.iter().any(|state| state == "accepted");
            assert_eq!(accepted, won.contains(name), "{row}: {states:?}");
            let line = ledger.lines().find(|line| line.contains(hash.as_str())).unwrap();
            let is_won = won.contains(name) && name != "tie-that-loses";
            let confirmed = line.contains(",confirmed,");
            assert_eq!(confirmed, is_won, "{row}: {line}");
            assert!(!line.contains(",accepted,"), "{row}: {line}");
            if !won.contains(name) {
                assert_eq!(posts.told(name, "Block found"), 0, "{row}: {:?}", posts.all);
            }
        }
        let posts = posts.all;
        let too_new = posts.iter().find(|post| {
            post["title"] == "Block refused"
                && post["text"].as_str().unwrap().contains("time-too-new")
        });
        let too_new = too_new.unwrap_or_else(|| panic!("{posts:?}"));
        assert!(too_new["text"].as_str().unwrap().contains("set the clocks by NTP"), "{too_new}");
        println!("notifications:");
        for post in posts.iter().filter(|post| post["topic"] == "block") {
            println!("  {}: {}", post["title"], post["text"]);
        }
    }
}
