//! The events of the demo, printed in plain lines: it starts the miner, kills the first node,
//! starts it again, and counts.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bitcoin::BlockHash;

use crate::daemon::{Addresses, Command};

use super::SHARE_DIFFICULTY;
use super::chain::{self, Outcome};
use super::miner::{CpuMiner, MinerConfig, MinerEvent};
use super::node::{SandboxNode, Submitted};

/// When the first node is killed, and when it comes back, without `--seconds`.
const KILL_AFTER: Duration = Duration::from_secs(25);
const BACK_AFTER: Duration = Duration::from_secs(60);
/// With `--seconds`: at these parts of the whole.
const KILL_AT: f64 = 0.4;
const BACK_AT: f64 = 0.75;

/// How fast everything goes.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// End after this time.
    pub seconds: Option<u64>,
    /// Part of a core that the miner takes.
    pub duty: f64,
    /// Average time between blocks, seconds.
    pub block_time: f64,
    /// The difficulty of the first block, as a compact target.
    pub bits: u32,
    /// How it goes on.
    pub of_chain: chain::Pace,
}

/// Everything that the story needs to go on.
pub(super) struct Story {
    /// Both nodes; the first will be killed.
    pub nodes: [SandboxNode; 2],
    /// How fast.
    pub pace: Pace,
    /// What the nodes report.
    pub heard_of_nodes: mpsc::Receiver<Submitted>,
    /// The daemon has ended.
    pub over: Arc<AtomicBool>,
    /// To the daemon.
    pub commands: async_channel::Sender<Command>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// How long it ran.
    pub seconds: u64,
    /// Blocks of ours that a node connected, each counted once.
    pub blocks: usize,
    /// Of these, connected while the first node was dead.
    pub meanwhile: usize,
    /// Blocks of ours that a node refused.
    pub refused_blocks: usize,
    /// Shares that the daemon accepted.
    pub shares: u64,
    /// Shares that it refused.
    pub refused_shares: u64,
    /// Whether the first node was killed.
    pub killed: bool,
}

impl Story {
    /// Tells it, to its end.
    pub(super) fn tell(self, addresses: &Addresses) -> Summary {
        let Story { nodes: [mut first, second], pace, heard_of_nodes, over, commands } = self;
        let mut book = Book::new();
        introduce(&first, &second, &pace, addresses);
        let (miner_events, heard_of_miner) = mpsc::channel();
        let miner = addresses.stratum.first().and_then(|server| {
            let config = MinerConfig {
                server: *server,
                user: "demo.cpu".into(),
                // Fixed, because it would settle above the sandbox's own difficulty otherwise.
                password: format!("d={SHARE_DIFFICULTY}"),
                user_agent: "cpuminer-soloist-demo/1".into(),
                suggest: None,
                duty: pace.duty,
            };
            CpuMiner::start(config, miner_events).ok()
        });
        let (kill_at, back_at, end_at) = pace.times();
        while !over.load(Ordering::Relaxed) {
            while let Ok(event) = heard_of_miner.try_recv() {
                book.miner(event);
            }
            while let Ok(event) = heard_of_nodes.try_recv() {
                book.node(event);
            }
            let elapsed = book.started.elapsed();
            if end_at.is_some_and(|end| elapsed >= end) {
                break;
            }
            if !book.summary.killed && elapsed >= kill_at && book.summary.blocks > 0 {
                first.kill();
                heard_of_nodes.try_iter().for_each(|event| book.node(event));
                book.killed();
            }
            if book.dead && elapsed >= back_at {
                book.back(first.restart());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(miner);
        // Only a daemon that has ended does not hear it.
        let _ = commands.try_send(Command::Stop);
        // It may still hand in a block; the nodes live as long as it does.
        while !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
        heard_of_nodes.try_iter().for_each(|event| book.node(event));
        heard_of_miner.try_iter().for_each(|event| book.miner(event));
        book.summary.seconds = book.started.elapsed().as_secs();
        book.summary
    }
}

impl Pace {
    /// When the first node is killed, when it comes back, and when all ends.
    fn times(&self) -> (Duration, Duration, Option<Duration>) {
        match self.seconds.map(Duration::from_secs) {
            Some(end) => (end.mul_f64(KILL_AT), end.mul_f64(BACK_AT), Some(end)),
            None => (KILL_AFTER, BACK_AFTER, None),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { seconds, blocks, meanwhile, shares, .. } = self;
        write!(f, "After {seconds} s: {blocks} blocks accepted")?;
        if self.killed {
            write!(f, ", {meanwhile} of them while node A was dead")?;
        }
        write!(f, "; {} blocks refused; ", self.refused_blocks)?;
        write!(f, "{shares} shares accepted, {} refused.", self.refused_shares)?;
        if self.blocks == 0 { write!(f, " No block: this is a failure.") } else { Ok(()) }
    }
}

/// Writes down what happens.
struct Book {
    started: Instant,
    blocks: BTreeSet<BlockHash>,
    connected: bool,
    dead: bool,
    summary: Summary,
}

impl Book {
    fn new() -> Book {
        Book {
            started: Instant::now(),
            blocks: BTreeSet::new(),
            connected: false,
            dead: false,
            summary: Summary::default(),
        }
    }

    fn say(&self, words: &str) {
        line(format_args!("{:6.1} s  {words}", self.started.elapsed().as_secs_f64()));
    }

    fn node(&mut self, event: Submitted) {
        let Submitted { node, hash, outcome, height } = event;
        match outcome {
            Outcome::Connected if self.blocks.insert(hash) => {
                self.summary.blocks += 1;
                self.summary.meanwhile += usize::from(self.dead);
                let count = self.summary.blocks;
                let count = ordinal(count);
                self.say(&format!("Block {height}, our {count}, is accepted by node {node}."));
            }
            Outcome::Refused(reason) => {
                self.summary.refused_blocks += 1;
                self.say(&format!("Node {node} refused block {height}: {reason}."));
            }
            // The other node has it from its peer by now.
            Outcome::Connected | Outcome::Duplicate => {}
            Outcome::Aside => self.say(&format!("Node {node} keeps block {height} aside.")),
            Outcome::DuplicateInvalid => {}
        }
    }

    fn miner(&mut self, event: MinerEvent) {
        match event {
            MinerEvent::Authorised => {
                self.connected = true;
                self.say("The miner is connected.");
            }
            MinerEvent::Disconnected(why) if self.connected => {
                self.connected = false;
                self.say(&format!("The miner lost the server: {why}"));
            }
            // The daemon takes no miners before it has work for them.
            MinerEvent::Disconnected(_) => {}
            MinerEvent::Accepted { .. } => self.summary.shares += 1,
            MinerEvent::Refused { reason, .. } => {
                self.summary.refused_shares += 1;
                // It was on its way when the block changed.
                if !reason.contains("stale") {
                    self.say(&format!("A share was refused: {reason}"));
                }
            }
            MinerEvent::Job { .. } | MinerEvent::Submitted { .. } => {}
        }
    }

    fn killed(&mut self) {
        self.dead = true;
        self.summary.killed = true;
        self.say("Node A is killed. The daemon must go on with node B.");
    }

    fn back(&mut self, restarted: std::io::Result<()>) {
        self.dead = false;
        match restarted {
            Ok(()) => self.say("Node A is started again and takes over the blocks it missed."),
            Err(why) => self.say(&format!("Node A could not be started again: {why}")),
        }
    }
}

fn introduce(first: &SandboxNode, second: &SandboxNode, pace: &Pace, addresses: &Addresses) {
    let (a, b) = (first.rpc_address(), second.rpc_address());
    line(format_args!(
        "Two sandbox nodes listen at {a} (A) and {b} (B). Their coins are worth nothing."
    ));
    if let Some(page) = addresses.http.first() {
        line(format_args!("The page is at http://{page}/ (open it in a browser)."));
    }
    if let Some(stratum) = addresses.stratum.first() {
        let part = (pace.duty * 100.0).round();
        line(format_args!(
            "A miner on {part} % of one core works at {stratum}; expect a block every {:.0} s.",
            pace.block_time
        ));
    }
    match pace.seconds {
        Some(seconds) => line(format_args!("It ends after {seconds} s.")),
        None => line(format_args!("Ctrl-C ends it.")),
    }
}

/// Whoever reads it may have gone: the demo goes on.
pub(super) fn line(words: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{words}");
}

fn ordinal(n: usize) -> String {
    let ending = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals() {
        let said: Vec<String> = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(ordinal).into();
        assert_eq!(said.join(" "), "1st 2nd 3rd 4th 11th 12th 13th 21st 102nd 111th");
    }

    #[test]
    fn a_demo_without_a_block_says_so() {
        assert!(Summary::default().to_string().contains("failure"));
        let good = Summary { blocks: 2, meanwhile: 1, killed: true, ..Summary::default() };
        assert!(good.to_string().contains("2 blocks accepted, 1 of them while"));
        assert!(!good.to_string().contains("failure"));
    }
}
