//! `soloist demo`: the whole system on one machine, without a network or another program.
//!
//! It runs two sandbox nodes, the daemon exactly as it runs at home, and a miner on the CPU, all
//! connected by real sockets on loopback. The miner finds a block every few seconds; after a while
//! the first node is killed and the second takes over. The nodes and the miner share no code with
//! the daemon, so tests use them too.
//!
//! ```text
//!  SandboxNode A ─┐                     ┌─ CpuMiner
//!       │ link    ├──► daemon::serve ◄──┤
//!  SandboxNode B ─┘                     └─ your browser
//! ```

pub mod chain;
pub mod check;
pub mod coins;
pub mod miner;
pub mod node;
mod publisher;
pub mod rpc;
mod story;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::LevelFilter;
use smol::LocalExecutor;

use crate::config::{self, Config, Flags, Surroundings};
use crate::daemon::{self, Command};
use crate::difficulty::HASHES_PER_DIFFICULTY;
use crate::exit::Exit;
use crate::logger;
use crate::os::Signals;

use chain::{Outcome, Rules, SandboxChain, bits_for};
use coins::free_script;
use node::{SandboxConfig, SandboxNode};
use story::{Pace, Story};

/// What the command line says.
#[derive(Clone, Debug, PartialEq)]
pub struct Args {
    /// End after this time; without it a signal ends the demo.
    pub seconds: Option<u64>,
    /// Where the page is served; else port 8080 of loopback, or a free one.
    pub http: Option<SocketAddr>,
    /// Where miners connect; else port 3333 of loopback, or a free one.
    pub listen: Option<SocketAddr>,
    /// How much of the daemon's own log is shown.
    pub log: LevelFilter,
}

/// Nobody's: the blocks of the sandbox are worth nothing. The address is the example of BIP 173,
/// in regtest's spelling.
const PAYOUT: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
/// Blocks before the demo begins: enough for mature coins, whose spending fills the blocks.
const BEFORE: u32 = 104;
/// A block is found in this time, on average.
const BLOCK_TIME: f64 = 3.5;
/// The difficulty of the miner's shares, the lowest that the daemon gives.
const SHARE_DIFFICULTY: f64 = 0.0001;

/// Runs the demo. [`Exit::Ok`] if a block was accepted, [`Exit::Unavailable`] if none was, or if
/// there was no port to listen on.
pub fn run(args: &Args) -> Exit {
    logger::start(args.log);
    // Before any thread: all of them inherit it.
    let signals = match Signals::block() {
        Ok(signals) => signals,
        Err(why) => return failed("signals", &why),
    };
    let pace = Pace::of_this_machine(args.seconds);
    let (node_events, heard_of_nodes) = mpsc::channel();
    let nodes = match start_nodes(&pace, &node_events) {
        Ok(nodes) => nodes,
        Err(why) => return failed("no sandbox node could be started", &why),
    };
    let data = std::env::temp_dir().join(format!("soloist-demo-{}", std::process::id()));
    let config = match configure(args, &nodes, data.clone()) {
        Ok(config) => config,
        Err(why) => return failed("no port could be had", &why),
    };

    let (commands, orders) = async_channel::unbounded();
    let over = Arc::new(AtomicBool::new(false));
    let (started, addresses) = mpsc::channel();
    let story =
        Story { nodes, pace, heard_of_nodes, over: over.clone(), commands: commands.clone() };
    let teller = std::thread::Builder::new()
        .name("demo-story".into())
        .spawn(move || addresses.recv().ok().map(|addresses| story.tell(&addresses)));
    let teller = match teller {
        Ok(teller) => teller,
        Err(why) => return failed("no thread could be had", &why),
    };

    let executor = Rc::new(LocalExecutor::new());
    let stop_on_signal = executor.spawn(async move {
        signals.next().await;
        // Only a daemon that has ended does not hear it.
        let _ = commands.send(Command::Stop).await;
    });
    let exit = daemon::serve(executor, config, None, orders, move |addresses| {
        // The story is waiting for it.
        let _ = started.send(addresses.clone());
    });
    drop(stop_on_signal);
    over.store(true, Ordering::Relaxed);
    let summary = teller.join();
    // It holds nothing of worth, and is in the system's folder for such things.
    let _ = std::fs::remove_dir_all(data);
    match summary {
        Ok(Some(summary)) if exit == Exit::Ok => {
            story::line(format_args!("{summary}"));
            if summary.blocks > 0 { Exit::Ok } else { Exit::Unavailable }
        }
        _ if exit == Exit::Ok => Exit::Software,
        _ => exit,
    }
}

/// A chain with mature coins that stands just before now, and whose next block needs `bits`. The
/// same arguments give the same blocks.
pub fn chain_before(now: u64, bits: u32) -> SandboxChain {
    chain_with(now, Rules { easy_blocks: BEFORE, bits, pace: None })
}

fn chain_with(now: u64, rules: Rules) -> SandboxChain {
    let mut chain = SandboxChain::new(rules);
    while chain.height() < BEFORE {
        if chain.height() == BEFORE - 1 {
            chain.add_split(40);
        }
        let time = now - 120 * u64::from(BEFORE - chain.height());
        let outcome = chain.mine(free_script(), time);
        debug_assert_eq!(outcome, Outcome::Connected);
    }
    chain
}

fn start_nodes(
    pace: &Pace,
    events: &mpsc::Sender<node::Submitted>,
) -> io::Result<[SandboxNode; 2]> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let rules = Rules { easy_blocks: BEFORE, bits: pace.bits, pace: Some(pace.of_chain) };
    let start = |name: &str| {
        let config = SandboxConfig {
            name: name.into(),
            user: "demo".into(),
            password: "demo".into(),
            rules,
            transactions_per_block: 6,
            transaction_every: Duration::from_secs(2),
        };
        SandboxNode::start(config, chain_with(now, rules), Some(events.clone()))
    };
    let nodes = [start("A")?, start("B")?];
    SandboxNode::link(&nodes[0], &nodes[1]);
    Ok(nodes)
}

/// The daemon's config, by the same way as a file's.
fn configure(args: &Args, nodes: &[SandboxNode], data: PathBuf) -> io::Result<Config> {
    let listen = args.listen.map_or_else(|| usual_or_free(config::STRATUM_PORT), Ok)?;
    let http = args.http.map_or_else(|| usual_or_free(config::HTTP_PORT), Ok)?;
    let mut flags = Flags::default()
        .with("--payout", PAYOUT)
        .with("--tag", "/soloist demo/")
        .with("--listen", listen.to_string())
        .with("--http", http.to_string())
        .with("--data", data.to_string_lossy());
    for node in nodes {
        flags = flags.with("--node", node.url()).with("--p2p", "off");
        if let Some(address) = node.zmq_address() {
            flags = flags.with("--zmq", address);
        }
    }
    let built = config::build(None, &flags, &Surroundings::default());
    built.map(|built| built.config).map_err(|problems| io::Error::other(problems.to_string()))
}

/// The usual port on loopback, or a free one where it is taken.
fn usual_or_free(port: u16) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    listener.local_addr()
}

impl Pace {
    /// Measures the CPU and chooses the difficulty by it.
    fn of_this_machine(seconds: Option<u64>) -> Pace {
        let rate = miner::measure();
        let least_per_block = 1.2 * SHARE_DIFFICULTY * HASHES_PER_DIFFICULTY;
        let block_time = seconds.map_or(BLOCK_TIME, |s| (s as f64 / 8.0).clamp(1.0, BLOCK_TIME));
        // A quarter of one core will do where it is fast enough for several shares per block.
        let duty = (2.5 * least_per_block / block_time / rate).clamp(0.25, 0.9);
        let per_block = (rate * duty * block_time).max(least_per_block);
        let block_time = per_block / (rate * duty);
        // What was measured may not stay so: the chain follows.
        let of_chain = chain::Pace { block_time, least_hashes: least_per_block };
        Pace { seconds, duty, block_time, bits: bits_for(per_block), of_chain }
    }
}

fn failed(what: &str, why: &io::Error) -> Exit {
    log::error!("The demo cannot start: {what}: {why}");
    Exit::Unavailable
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::Target;

    #[test]
    fn bits_take_the_hashes_they_should() {
        for hashes in [2.0e5, 4.3e6, 1.0e9] {
            let expected = 2f64.powi(256) / hashes;
            assert!((target(bits_for(hashes)) / expected - 1.0).abs() < 0.001, "{hashes}");
        }
    }

    #[test]
    fn the_difficulty_follows_the_time_that_blocks_take() {
        let pace = chain::Pace { block_time: 4.0, least_hashes: 20.0 };
        let rules = Rules { easy_blocks: 0, bits: bits_for(2_000.0), pace: Some(pace) };
        let mut chain = SandboxChain::new(rules);
        let mut now = 1_700_000_000;
        let mut hashes = |every: u64, blocks: u32| {
            for _ in 0..blocks {
                now += every;
                assert_eq!(chain.mine(free_script(), now), Outcome::Connected);
            }
            let bits = chain.template(now)["bits"].as_str().unwrap().to_owned();
            2f64.powi(256) / target(u32::from_str_radix(&bits, 16).unwrap())
        };
        // The machine is a quarter as fast as was measured, and then eight times as fast as that.
        let slow = hashes(16, 12);
        assert!((20.0..300.0).contains(&slow), "{slow}");
        let fast = hashes(2, 12);
        assert!(fast > 4.0 * slow, "{fast} after {slow}");
        assert!((19.0..21.0).contains(&hashes(60, 20)), "never below the least");
    }

    fn target(bits: u32) -> f64 {
        let target = Target::from_compact(bitcoin::CompactTarget::from_consensus(bits));
        target.to_be_bytes().iter().fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte))
    }

    #[test]
    fn both_nodes_begin_with_the_same_chain() {
        let (a, b) =
            (chain_before(1_700_000_000, 0x1f00_ffff), chain_before(1_700_000_000, 0x1f00_ffff));
        assert_eq!((a.height(), a.tip()), (BEFORE, b.tip()));
        assert_eq!(a.template(1_700_000_000)["bits"], "1f00ffff");
        let mut a = a;
        assert_eq!(a.add_transactions(40), 40, "there are coins to spend");
    }
}
