//! Two boxes as one: two daemons, each with a node of its own, and the connection between them.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use soloist::demo;
use soloist::demo::chain::Rules;
use soloist::demo::node::{SandboxConfig, SandboxNode};

use crate::common::daemon::{Browser, Daemon, Miner, PAYOUT};
use crate::common::miner_v2::{Introduction, MinerV2, authority};
use crate::common::{free_port, wait_for};

const CODE: &str = "7KQ2M-XW4RT-9BZ0C-HJ6PD-V5EY3-8NAFG";
/// Pays to another key that nobody has.
const OTHER: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

/// A box with its node. Every second hash is a block.
struct Home {
    node: SandboxNode,
    daemon: Daemon,
    pair: u16,
}

/// Two boxes whose nodes begin with the same chain; not running.
fn homes() -> [Home; 2] {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    ["attic", "cellar"].map(|name| {
        let bits = 0x207f_ffff;
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
        Home { node, daemon: Daemon::still(), pair: free_port() }
    })
}

impl Home {
    fn launch(&mut self, partner: u16, code: &str) {
        let entry = format!(
            "[node]\nrpc_url = \"{}\"\nrpc_user = \"u\"\nrpc_pass = \"p\"\nzmq_hashblock_addr = \"{}\"\n\
             p2p_addr = \"off\"\n[p2p]\noutside = \"off\"\n[pair]\npartner = \"127.0.0.1:{partner}\"\n\
             listen = \"127.0.0.1:{}\"\nsecret = \"{code}\"\n",
            self.node.url(),
            self.node.zmq_address().unwrap(),
            self.pair
        );
        self.daemon.configure(&entry, "");
        self.daemon.launch();
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
    let [mut a, mut b] = homes();
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
    let [mut a, mut b] = homes();
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
    // It goes to the other box, where it finds what it knows, also after a restart.
    for _ in 0..2 {
        let mut moved = MinerV2::connect(b.daemon.stratum, known, &Introduction::BITAXE);
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
    let [mut a, b] = homes();
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
