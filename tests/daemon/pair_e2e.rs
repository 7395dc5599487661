//! Two boxes as one: two daemons, each with a node of its own, and the connection between them.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::json;
use soloist::demo;
use soloist::demo::chain::Rules;
use soloist::demo::node::{SandboxConfig, SandboxNode};

use crate::common::daemon::{Browser, Daemon, Miner, PAYOUT};
use crate::common::miner_v2::{Introduction, MinerV2, authority};
use crate::common::network::{connect_from, in_a_network_of_its_own};
use crate::common::{free_port, wait_for};

const CODE: &str = "7KQ2M-XW4RT-9BZ0C-HJ6PD-V5EY3-8NAFG";
/// Pays to another key that nobody has.
const OTHER: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

/// Every second hash is a block.
const EASY: u32 = 0x207f_ffff;
/// None is.
const HARD: u32 = 0x1d00_ffff;
/// Where both boxes are in a network of the test's own, and the address that miners use.
const HOUSE: &str = "10.88.0.1";
const SHARED: &str = "10.88.0.240";

/// A box with its node.
struct Home {
    node: SandboxNode,
    daemon: Daemon,
    pair: u16,
    /// To the other box and from it, where they can be cut.
    ways: Vec<Way>,
}

/// Two boxes whose nodes begin with the same chain; not running.
fn homes(bits: u32) -> [Home; 2] {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    ["attic", "cellar"].map(|name| {
        let chain = demo::chain_before(now, bits);
        let config = SandboxConfig {
            name: name.into(),
            user: "u".into(),
            password: "p".into(),
            rules: Rules { easy_blocks: chain.height(), bits, pace: None },
            transactions_per_block: 20,
            transaction_every: Duration::from_secs(3600),
        };
        let node = SandboxNode::start(config, chain, None).unwrap();
        Home { node, daemon: Daemon::still(), pair: free_port(), ways: Vec::new() }
    })
}

impl Home {
    fn launch(&mut self, partner: u16, code: &str) {
        let pair = format!(
            "[pair]\npartner = \"127.0.0.1:{partner}\"\nlisten = \"127.0.0.1:{}\"\nsecret = \"{code}\"\n",
            self.pair
        );
        self.launch_with(&pair);
    }

    /// In the network of the test's own, where miners use the shared address.
    fn launch_shared(&mut self, partner: u16) {
        self.daemon.stratum = SocketAddr::new(SHARED.parse().unwrap(), self.daemon.stratum.port());
        let pair = format!(
            "[pair]\npartner = \"{HOUSE}:{partner}\"\nlisten = \"{HOUSE}:{}\"\nsecret = \"{CODE}\"\n\
             virtual_address = \"{SHARED}/24\"\n",
            self.pair
        );
        self.launch_with(&pair);
    }

    fn launch_with(&mut self, pair: &str) {
        let entry = format!(
            "[node]\nrpc_url = \"{}\"\nrpc_user = \"u\"\nrpc_pass = \"p\"\nzmq_hashblock_addr = \"{}\"\n\
             p2p_addr = \"off\"\n[p2p]\noutside = \"off\"\n{pair}",
            self.node.url(),
            self.node.zmq_address().unwrap(),
        );
        self.daemon.configure(&entry, "");
        self.daemon.launch();
    }

    /// A file of its directory in memory.
    fn in_memory(&self, name: &str) -> Vec<u8> {
        fs::read(self.daemon.runtime().unwrap().join(name)).unwrap_or_default()
    }

    fn wait_log(&self, words: &str) {
        wait_for(words, || self.daemon.log().contains(words).then_some(()));
    }

    /// How often the log says it.
    fn says(&self, words: &str) -> usize {
        self.daemon.log().matches(words).count()
    }

    fn spool_has(&self, hash: &str) -> bool {
        let Ok(files) = fs::read_dir(self.daemon.data().join("spool")) else { return false };
        let mut names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.any(|name| name.ends_with(&format!("{hash}.block")))
    }

    fn node_has(&self, hash: &str) -> bool {
        self.node.chain().block(&hash.parse::<bitcoin::BlockHash>().unwrap()).is_some()
    }

    fn pays(&self) -> String {
        let status = self.daemon.status().unwrap_or_default();
        status["payout"]["address"].as_str().unwrap_or_default().to_owned()
    }

    /// Saves another name on the page, and leaves the rest as the form shows it.
    fn saves_its_name(&self, name: &str) {
        let mut browser = Browser { daemon: &self.daemon, cookie: String::new() };
        wait_for("the PIN to be read", || {
            browser.settings().contains("action=\"/login\"").then_some(())
        });
        assert_eq!(browser.post("/login", "pin=7391x").status_code, 303);
        let page = browser.settings();
        let shown = |field: &str| {
            let (_, rest) = page.split_once(&format!("name=\"{field}\" value=\"")).unwrap();
            rest.split('"').next().unwrap().to_owned()
        };
        let kept = ["token", "payout", "tag", "url0", "user0", "zmq0", "p2p0"]
            .map(|field| format!("{field}={}", shown(field)));
        let form = format!("{}&name={name}&step=save", kept.join("&"));
        let answer = browser.post("/settings", &form);
        assert_eq!(answer.status_code, 303, "{}", answer.as_str().unwrap());
    }

    /// Writes another payout address into the file, by hand.
    fn wish(&self, address: &str) {
        let before = self.pays();
        self.daemon.edit(|text| text.replace(&before, address));
        self.daemon.signal(Signal::SIGHUP);
    }
}

fn both(code: [&str; 2]) -> [Home; 2] {
    let [mut a, mut b] = homes(EASY);
    a.launch(b.pair, code[0]);
    b.launch(a.pair, code[1]);
    a.daemon.wait_ready();
    b.daemon.wait_ready();
    [a, b]
}

fn wait_met(homes: &[Home; 2]) {
    for home in homes {
        home.wait_log("The other box, Soloist, is connected.");
    }
}

/// The node of the box that solves it is dead, and its own card is the only other place.
#[test]
fn a_block_that_is_solved_at_one_box_is_kept_and_submitted_by_the_other() {
    let mut homes = both([CODE, CODE]);
    wait_met(&homes);
    let mut miner = Miner::connect(homes[0].daemon.stratum, "cgminer/4.11.1", "garage");
    homes[0].node.kill();
    let solved = Instant::now();
    let (answer, hash) = miner.mine();
    assert_eq!(answer["result"], true, "{answer}");
    wait_for("the block at the other box's node", || homes[1].node_has(&hash).then_some(()));
    println!("the other box's node had it {:?} after the share", solved.elapsed());
    wait_for("the block in the other box's spool", || homes[1].spool_has(&hash).then_some(()));
    homes[1].wait_log("at the other box");
    homes[1].wait_log("IS ACCEPTED");
    assert!(homes[0].spool_has(&hash));
    // It is counted where it was solved, and there alone, also after a restart.
    assert_eq!(homes[0].daemon.blocks().len(), 1);
    homes[1].daemon.kill();
    homes[1].daemon.launch();
    homes[1].daemon.wait_ready();
    assert!(homes[1].spool_has(&hash));
    assert_eq!(homes[1].daemon.blocks().len(), 0);
    assert_eq!(homes[1].says("is booked now"), 0);

    // One that is solved while the other box is away is told when it comes.
    homes[0].node.restart().unwrap();
    miner.wait_new_tip_or(&homes[0]);
    homes[1].daemon.kill();
    let (_, second) = miner.mine();
    wait_for("the second block in the spool", || homes[0].spool_has(&second).then_some(()));
    homes[1].daemon.launch();
    wait_for("the second block at the other box", || homes[1].spool_has(&second).then_some(()));
}

trait WaitNode {
    fn wait_new_tip_or(&mut self, home: &Home);
}

impl WaitNode for Miner {
    /// The node of its box is back, and has been given the block.
    fn wait_new_tip_or(&mut self, home: &Home) {
        home.wait_log("IS ACCEPTED");
        self.wait_new_tip();
    }
}

#[test]
fn a_box_with_another_code_is_not_listened_to_and_both_say_so() {
    let homes = both([CODE, "0123456789abcdef0123456789abcdef"]);
    homes[0].wait_log("The other box has another code");
    homes[1].wait_log("The other box has another code");
    for home in &homes {
        assert_eq!(home.says("is connected"), 0);
    }
}

#[test]
fn the_payout_address_changes_on_both_boxes_or_on_neither() {
    let mut homes = both([CODE, CODE]);
    wait_met(&homes);
    let record = homes[1].daemon.data().join("pair");
    wait_for("the first agreement", || {
        let text = fs::read(&record).unwrap_or_default();
        text.windows(PAYOUT.len()).any(|part| part == PAYOUT.as_bytes()).then_some(())
    });
    homes[0].wish(OTHER);
    for home in &homes {
        wait_for("the new address", || (home.pays() == OTHER).then_some(()));
    }
    // The file of the box that was not asked follows.
    wait_for("the other box's file", || {
        fs::read_to_string(homes[1].daemon.config()).unwrap().contains(OTHER).then_some(())
    });

    // Alone, neither changes it, not even by a restart.
    homes[1].daemon.kill();
    homes[0].wait_log("is not connected");
    let read = homes[0].says("Config");
    homes[0].wish(PAYOUT);
    wait_for("the settings to be read", || (homes[0].says("Config") > read).then_some(()));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(homes[0].pays(), OTHER);
    homes[0].daemon.kill();
    homes[0].daemon.edit(|text| text.replace("[http]", "[http]\npin = \"7391x\""));
    homes[0].daemon.launch();
    homes[0].daemon.wait_ready();
    assert_eq!(homes[0].pays(), OTHER);
    // Whoever saves something else on the page has not given the new address up.
    homes[0].saves_its_name("loft");
    let file = fs::read_to_string(homes[0].daemon.config()).unwrap();
    assert!(file.contains("\"loft\"") && file.contains(PAYOUT), "{file}");
    assert_eq!(homes[0].pays(), OTHER);
    // When both are there, it is asked again.
    homes[1].daemon.launch();
    for home in &homes {
        wait_for("the old address", || (home.pays() == PAYOUT).then_some(()));
    }
}

/// The key that the page of this box shows to owners of Stratum V2 miners.
fn key(home: &Home) -> String {
    let status = home.daemon.status().unwrap_or_default();
    status["connect"]["v2"]["authority_key"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_miner_of_v2_knows_both_boxes_by_one_key() {
    let [mut a, mut b] = homes(EASY);
    a.launch(b.pair, CODE);
    a.daemon.wait_ready();
    let its_key = key(&a);
    let known = Some(authority(&its_key));
    let mut miner = MinerV2::connect(a.daemon.stratum, known, &Introduction::BITAXE);
    let channel = miner.open_extended("anna", 2);
    miner.wait_work(channel);
    b.launch(a.pair, CODE);
    b.daemon.wait_ready();
    assert_ne!(its_key, "");
    wait_for("one key", || (key(&b) == its_key).then_some(()));
    assert_eq!(key(&a), its_key);
    // While they agree on the payout, no work is handed out.
    let record = b.daemon.data().join("pair");
    wait_for("the agreement", || record.exists().then_some(()));
    // It goes to the other box, where it finds what it knows, also after a restart.
    for _ in 0..2 {
        let mut moved = wait_for("a place at the other box", || {
            MinerV2::try_connect(b.daemon.stratum, known, &Introduction::BITAXE).ok()
        });
        let channel = moved.open_extended("anna", 2);
        moved.wait_work(channel);
        b.daemon.kill();
        b.daemon.launch();
        b.daemon.wait_ready();
    }
    assert_eq!(b.says("know both boxes by one key"), 1);
    assert_eq!(a.says("know both boxes by one key"), 0);
}

/// What a miner is told, and pointed at, is the address that moves.
#[test]
fn the_page_names_the_address_that_both_share() {
    let [mut a, b] = homes(EASY);
    a.launch(b.pair, CODE);
    a.daemon.wait_ready();
    let connect = a.daemon.status().unwrap()["connect"].clone();
    assert_ne!(connect["addresses"][0], "192.0.2.240", "{connect}");
    let own = connect["page"].clone();
    a.daemon.kill();
    a.daemon.edit(|text| text.replace("[pair]", "[pair]\nvirtual_address = \"192.0.2.240/24\""));
    a.daemon.launch();
    a.daemon.wait_ready();
    let connect = a.daemon.status().unwrap()["connect"].clone();
    assert_eq!(connect["addresses"], serde_json::json!(["192.0.2.240"]), "{connect}");
    assert_eq!(connect["port"], a.daemon.stratum.port());
    assert_eq!(connect["page"], own);
    let url = connect["v2"]["url"].as_str().unwrap();
    assert!(url.starts_with("stratum2+tcp://192.0.2.240:"), "{url}");
}

/// Runs a test in a network of its own, in which both boxes have the shared address.
fn in_a_house(name: &str, inside: fn()) {
    in_a_network_of_its_own(name, "two boxes with a shared address", || {
        // Every address of the house is this machine's.
        for address in [format!("{HOUSE}/24"), SHARED.to_owned()] {
            let added = Command::new("ip").args(["addr", "add", &address, "dev", "lo"]).status();
            assert!(added.unwrap().success());
        }
        inside();
    });
}

/// Two boxes with a shared address that know each other since before this run.
fn shared(bits: u32) -> [Home; 2] {
    let [mut a, mut b] = homes(bits);
    let ways = [Way::start(b.pair), Way::start(a.pair)];
    let launch = |a: &mut Home, b: &mut Home| {
        a.launch_shared(ways[0].port);
        b.launch_shared(ways[1].port);
        a.daemon.wait_ready();
        b.daemon.wait_ready();
    };
    launch(&mut a, &mut b);
    for home in [&a, &b] {
        home.wait_log("is connected.");
        let record = home.daemon.data().join("pair");
        wait_for("the agreement", || record.exists().then_some(()));
    }
    a.daemon.kill();
    b.daemon.kill();
    // As both call, they may have met more than once.
    let before = [&a, &b].map(|home| home.says("is connected."));
    launch(&mut a, &mut b);
    for (home, before) in [&a, &b].into_iter().zip(before) {
        wait_for("both to have met again", || (home.says("is connected.") > before).then_some(()));
    }
    a.ways = ways.to_vec();
    [a, b]
}

/// The other box has heard of this miner, and has all jobs of its own.
fn wait_copied(from: &Home, to: &Home) {
    wait_for("the copy of the jobs to be whole", || {
        let copy = to.in_memory("pair-jobs");
        (copy.len() > 100 && copy == from.in_memory("jobs")).then_some(())
    });
}

/// The way from one box to the other, which can be cut, and the bytes that went over it, as they were sent:
/// encrypted.
#[derive(Clone)]
struct Way {
    port: u16,
    is_open: Arc<AtomicBool>,
    /// From the one that calls, and to it.
    bytes: [Arc<AtomicU64>; 2],
}

impl Way {
    fn start(to: u16) -> Way {
        let listener = TcpListener::bind((HOUSE, 0)).or_else(|_| TcpListener::bind("127.0.0.1:0"));
        let listener = listener.unwrap();
        let at = listener.local_addr().unwrap();
        let is_open = Arc::new(AtomicBool::new(true));
        let way = Way { port: at.port(), is_open, bytes: Default::default() };
        let own = way.clone();
        thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                while !own.is_open.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(20));
                }
                let Ok(called) = TcpStream::connect((at.ip(), to)) else { continue };
                let ends = [caller.try_clone().unwrap(), called.try_clone().unwrap()];
                own.carry(caller, called, 0);
                let [caller, called] = ends;
                own.carry(called, caller, 1);
            }
        });
        way
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream, direction: usize) {
        let way = self.clone();
        from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while way.is_open.load(Ordering::Relaxed) {
                match from.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) if to.write_all(&buffer[..n]).is_err() => break,
                    Ok(n) => drop(way.bytes[direction].fetch_add(n as u64, Ordering::Relaxed)),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
            }
            from.shutdown(Shutdown::Both).ok();
            to.shutdown(Shutdown::Both).ok();
        });
    }
}

#[test]
fn a_late_share_of_a_dead_box_counts_at_the_other_and_its_miner_keeps_its_difficulty() {
    let name = "pair_e2e::a_late_share_of_a_dead_box_counts_at_the_other_and_its_miner_keeps_its_difficulty";
    in_a_house(name, late_shares);
}

fn late_shares() {
    let mut homes = shared(HARD);
    let mut miner = Miner::connect(homes[0].daemon.stratum, "cgminer/4.11.1", "garage");
    miner.call("mining.suggest_difficulty", json!([0.0001]));
    miner.wait_job();
    // So many show that it is its difficulty.
    for _ in 0..8 {
        let share = miner.share(0.0001);
        assert_eq!(miner.call("mining.submit", share)["result"], true);
    }
    // What resets the miner's connection when the address has moved.
    wait_for("the other box to know the connection", || {
        let told = String::from_utf8(homes[1].in_memory("pair-connections")).unwrap();
        let ends = format!("{} 10.88.0.", homes[0].daemon.stratum);
        (told.lines().count() == 1 && told.starts_with(&ends)).then_some(())
    });
    let counted = miner.share(0.0001);
    assert_eq!(miner.call("mining.submit", counted.clone())["result"], true);
    let (late, later) = (miner.share(0.0001), miner.share(0.0001));
    // Difficulties are told every two seconds.
    thread::sleep(Duration::from_secs(3));
    // Somebody knocks at the other box, and the copy is read for it: no miner must miss what comes after.
    let _knock = TcpStream::connect(homes[1].daemon.stratum).unwrap();
    homes[1].wait_log("what they found for its");
    let after = miner.share(0.0001);
    assert_eq!(miner.call("mining.submit", after.clone())["result"], true);
    wait_copied(&homes[0], &homes[1]);
    println!("the copy has {} bytes", homes[1].in_memory("pair-jobs").len());

    homes[0].daemon.kill();
    let began = Instant::now();
    let mut again = miner.resume(homes[1].daemon.stratum, "cgminer/4.11.1");
    // As cgminer does: before it says who it is, and after.
    assert_eq!(again.call("mining.submit", late.clone())["result"], true);
    println!("the first late share counted {:?} after the miner came", began.elapsed());
    again.call("mining.authorize", json!(["garage", "x"]));
    assert_eq!(again.call("mining.submit", later)["result"], true);
    for twice in [counted, after, late] {
        assert_eq!(again.call("mining.submit", twice)["error"][0], 22);
    }
    let level = loop {
        let line = again.next_line().unwrap();
        if line["method"] == "mining.set_difficulty" {
            break line["params"][0].as_f64().unwrap();
        }
    };
    again.wait_job();
    let run =
        |miner: &Miner| u32::from_str_radix(miner.job[0].as_str().unwrap(), 16).unwrap() >> 20;
    assert_ne!(run(&miner) % 2, run(&again) % 2, "both boxes use the same ids");
    // Without the other box's word it would be the 4000 of its kind.
    assert!(level < 0.01, "{level}");
    let miners = homes[1].daemon.get("/api/miners").unwrap();
    let garage = &miners["miners"][0];
    assert_eq!((&garage["name"], &garage["accepted"]), (&json!("garage"), &json!(2)), "{garage}");
}

#[test]
fn a_block_for_a_job_of_a_dead_box_is_one_at_the_other() {
    in_a_house("pair_e2e::a_block_for_a_job_of_a_dead_box_is_one_at_the_other", late_block);
}

fn late_block() {
    let mut homes = shared(EASY);
    let mut miner = Miner::connect(homes[0].daemon.stratum, "cgminer/4.11.1", "garage");
    let (share, hash) = miner.solve();
    wait_copied(&homes[0], &homes[1]);
    homes[0].node.kill();
    homes[0].daemon.kill();
    let began = Instant::now();
    let mut again = miner.resume(homes[1].daemon.stratum, "cgminer/4.11.1");
    assert_eq!(again.call("mining.submit", share)["result"], true);
    wait_for("the block at the other box's node", || homes[1].node_has(&hash).then_some(()));
    println!("the other box's node had the late block {:?} after the miner came", began.elapsed());
    assert!(homes[1].spool_has(&hash));
    assert_eq!(homes[1].daemon.blocks().len(), 1);
}

/// A switch between the boxes that breaks, while miners reach one of them.
#[test]
fn a_block_that_is_solved_while_the_boxes_are_cut_off_is_told_when_they_meet() {
    let [mut a, mut b] = homes(EASY);
    let ways = [Way::start(b.pair), Way::start(a.pair)];
    a.launch(ways[0].port, CODE);
    b.launch(ways[1].port, CODE);
    a.daemon.wait_ready();
    b.daemon.wait_ready();
    let homes = [a, b];
    wait_met(&homes);
    ways.iter().for_each(|way| way.is_open.store(false, Ordering::Relaxed));
    for home in &homes {
        home.wait_log("is not connected");
    }
    let mut miner = Miner::connect(homes[0].daemon.stratum, "cgminer/4.11.1", "garage");
    let (answer, hash) = miner.mine();
    assert_eq!(answer["result"], true);
    homes[0].wait_log("IS ACCEPTED");
    assert!(!homes[1].spool_has(&hash) && !homes[1].node_has(&hash));
    ways.iter().for_each(|way| way.is_open.store(true, Ordering::Relaxed));
    wait_for("the block at the other box", || homes[1].spool_has(&hash).then_some(()));
    wait_for("the block at its node", || homes[1].node_has(&hash).then_some(()));
    assert_eq!([0, 1].map(|n: usize| homes[n].daemon.blocks().len()), [1, 0]);
}

#[test]
fn two_boxes_say_little_and_need_little() {
    in_a_house("pair_e2e::two_boxes_say_little_and_need_little", costs);
}

fn costs() {
    let homes = shared(HARD);
    let said = || {
        let ways = homes[0].ways.iter();
        ways.flat_map(|way| &way.bytes).map(|bytes| bytes.load(Ordering::Relaxed)).sum::<u64>()
    };
    let during = |what: &str, time: Duration| {
        let before = said();
        thread::sleep(time);
        let rate = (said() - before) as f64 / time.as_secs_f64();
        println!("{what}: {rate:.0} bytes a second between the boxes, both ways together");
        rate
    };
    thread::sleep(Duration::from_secs(3));
    let idle = during("idle", Duration::from_secs(20));
    let memory = |home: &Home| {
        let path = format!("/proc/{}/smaps_rollup", home.daemon.pid());
        let text = fs::read_to_string(path).unwrap();
        // Pages of the program itself are nobody's, or of several.
        let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let with = [0, 1].map(|n: usize| memory(&homes[n]));
    let mut alone = self::homes(HARD);
    // The boxes of the pair are in their second run.
    for _ in 0..2 {
        alone.iter_mut().for_each(|home| home.daemon.kill());
        alone.iter_mut().for_each(|home| home.launch_with(""));
        alone.iter().for_each(|home| home.daemon.wait_ready());
    }
    thread::sleep(Duration::from_secs(23));
    let without = [0, 1].map(|n: usize| memory(&alone[n]));
    println!("memory of the debug build, kB: with a pair {with:?}, without {without:?}");
    drop(alone);

    let start = Instant::now();
    let mut miners: Vec<Miner> = (0..40)
        .map(|n| {
            let from = Ipv4Addr::new(10, 88, 0, 20 + n).into();
            let stream = connect_from(from, homes[0].daemon.stratum);
            Miner::begin(stream, "cgminer/4.11.1", &format!("miner{n}"))
        })
        .collect();
    println!("40 miners connected in {:?}", start.elapsed());
    wait_copied(&homes[0], &homes[1]);
    during("40 miners without shares", Duration::from_secs(40));
    let miner = &mut miners[0];
    miner.call("mining.suggest_difficulty", json!([0.0001]));
    miner.wait_job();
    let shares: Vec<_> = (0..20).map(|_| miner.share(0.0001)).collect();
    wait_copied(&homes[0], &homes[1]);
    thread::sleep(Duration::from_secs(3));
    let before = said();
    let start = Instant::now();
    for share in shares {
        assert_eq!(miner.call("mining.submit", share)["result"], true);
    }
    wait_copied(&homes[0], &homes[1]);
    println!("20 shares: {} bytes, within {:?}", said() - before, start.elapsed());
    let copied = [0, 1].map(|n: usize| memory(&homes[n]));
    println!("with 40 miners at the first one, kB: {copied:?}");
    println!("the copy: {} bytes", homes[1].in_memory("pair-jobs").len());
    assert!(idle < 1000.0, "{idle}");
    let more = with.iter().sum::<u64>() as i64 - without.iter().sum::<u64>() as i64;
    assert!(more / 2 <= 512, "{more} kB in two boxes");
}
