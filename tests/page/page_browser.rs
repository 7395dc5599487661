//! The page in a real browser, narrow and wide, light and dark: no overflow, no complaint on the
//! console, no finding of axe-core, usable by keyboard, live. Once over sample data, and once with
//! the real daemon, two real nodes and six miners, from the set-up over the leader's death and a
//! found block to a change that is taken back. Needs `chromium` and `node`; axe-core comes by `npm`.

// A test's helpers may panic.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use serde_json::{Value, json};
use soloist::server::http::Options;
use soloist::status::{AlarmView, Level};

use crate::common::daemon::{Daemon, Miner, PAYOUT};
use crate::common::node::{Kind, RealNode};
use crate::common::wait_for;
use crate::server::Server;
use crate::{owner, sample};

/// Walks over these pages; `act` does to the box what the walk asks for.
fn walk(addresses: &Value, mut act: impl FnMut(&str) -> String) {
    let chromium = chromium();
    install_axe();
    let mut walk = Command::new("node");
    walk.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page/browser.mjs"))
        .arg(addresses.to_string())
        .env("CHROMIUM", &chromium)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    // Where the pictures go; none are taken without it.
    if let Ok(directory) = std::env::var("PAGE_SHOTS") {
        walk.arg(directory);
    }
    let mut child = walk.spawn().unwrap();
    let mut answers = child.stdin.take().unwrap();
    let mut said = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(wish) = line.strip_prefix("ASK ") {
            writeln!(answers, "{}", act(wish)).unwrap();
        }
        said += &line;
        said.push('\n');
    }
    let status = child.wait().unwrap();
    eprintln!("{said}");
    assert!(status.success(), "{said}");
}

fn chromium() -> String {
    std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned())
}

fn there_is_a_browser() -> bool {
    for needed in [chromium().as_str(), "node"] {
        if Command::new(needed).arg("--version").output().is_err() {
            eprintln!("SKIPPED: {needed} is not installed: the page was not tried in a browser");
            return false;
        }
    }
    true
}

/// Installs axe-core as `tests/page` pins it, if it is not there. The walk says when it is missing.
fn install_axe() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page");
    let lock = std::fs::File::open(dir.join("package.json")).unwrap();
    lock.lock().unwrap();
    if !dir.join("node_modules/axe-core/axe.min.js").exists() {
        let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        Command::new("npm").args(install).current_dir(&dir).output().ok();
    }
}

#[test]
fn the_page_works_in_a_browser() {
    if !there_is_a_browser() {
        return;
    }
    let options = || Options { requests_per_s: 100_000, ..Options::default() };
    let servers: Vec<(&str, Server)> = sample::all()
        .into_iter()
        .map(|(name, snapshot)| (name, Server::start(snapshot, options(), false)))
        .chain([("changing", Server::start(sample::home(), options(), true))])
        .collect();
    // A box that nobody has set up yet.
    let (tell, told) = mpsc::channel();
    let (_stop, stopped) = async_channel::bounded::<()>(1);
    let hot = AlarmView {
        id: "hot".to_owned(),
        level: Level::Warning,
        text: "This box is hot: 83 °C.".to_owned(),
        ..AlarmView::default()
    };
    let kept = owner::Kept { alarms: vec![hot], is_new: true, ..Default::default() };
    let kept = Arc::new(Mutex::new(kept));
    let shared = kept.clone();
    thread::spawn(move || owner::serve(shared, &tell, &stopped));
    let fresh = told.recv().unwrap();
    let addresses: serde_json::Map<String, Value> = servers
        .iter()
        .map(|(name, server)| (*name, server.address))
        .chain([("fresh", fresh)])
        .map(|(name, address)| (name.to_owned(), format!("http://{address}").into()))
        .collect();
    walk(&addresses.into(), |wish| match wish {
        // The ten minutes until a second box is joined are over.
        "pair" => {
            let pair = &mut kept.lock().unwrap().pair;
            pair.partner = "192.168.1.21".to_owned();
            pair.virtual_address = "192.168.1.240/24".to_owned();
            pair.secret = Some("7KQ2M-XW4RT-9BZ0C-HJ6PD-V5EY3-8NAFG".to_owned());
            String::new()
        }
        other => panic!("it asks for {other}"),
    });
}

/// Six kinds of miner, by what each calls itself.
const KINDS: [(&str, &str); 6] = [
    ("bitaxe/BM1370/v2.13.1", "gamma"),
    ("NerdMinerV2/V1.8.3", "desk"),
    ("cgminer/4.11.1", "living-room"),
    ("Antminer S19j Pro+/Wed Jun 28 10:08:51 CST 2023", "garage"),
    ("NerdQAxe++/BM1370/v1.0.36", "quad"),
    ("whatsminer/v1.1", "cellar"),
];

#[test]
fn an_owner_sets_a_box_up_and_watches_it_through_a_failover_and_a_block() {
    if !there_is_a_browser() {
        return;
    }
    let start = || RealNode::core().or_else(RealNode::bcoin);
    let (Some(mut first), Some(second)) = (start(), start()) else { return };
    first.generate(if first.kind == Kind::Bcoin { 440 } else { 2 });
    second.learn_from(&first, first.height());
    let daemon = Daemon::fresh();
    wait_for("the page", || daemon.status());
    // The page takes a name and a password; a cookie file holds both.
    let entry = |node: &RealNode| {
        let credentials = node.credentials().unwrap();
        let (user, password) = credentials.trim().split_once(':').unwrap();
        let url = format!("http://{}", node.address());
        json!({ "url": url, "user": user, "password": password })
    };
    let live = json!({ "live": {
        "url": format!("http://{}", daemon.http),
        "payout": PAYOUT,
        "nodes": [entry(&first), entry(&second)],
    }});
    let mut miners = Vec::new();
    walk(&live, |wish| match wish {
        "miners" => {
            daemon.wait_ready();
            let connect =
                |(agent, name): &(&str, &str)| Miner::connect(daemon.stratum, agent, name);
            miners = KINDS.iter().map(connect).collect();
            let models = wait_for("six miners", || {
                let miners = daemon.get("/api/miners")?;
                let models =
                    miners["miners"].as_array()?.iter().map(|miner| miner["model"].clone());
                let mut models: Vec<String> = models.map(|m| m.as_str().unwrap().into()).collect();
                models.sort();
                models.dedup();
                (models.len() == KINDS.len()).then_some(models)
            });
            json!(models).to_string()
        }
        "kill-leader" => {
            first.kill();
            String::new()
        }
        "block" => {
            let miner = &mut miners[0];
            // Its job may be the dead node's until the other's is read.
            miner.call("mining.ping", json!([]));
            let (answer, hash) = miner.mine();
            assert_eq!(answer["result"], true, "{answer}");
            wait_for("the other node to have it", || {
                (second.tip().to_string() == hash).then_some(())
            });
            hash
        }
        other => panic!("it asks for {other}"),
    });
    assert_eq!(miners.len(), KINDS.len(), "the walk came to its end");
    for miner in &mut miners {
        assert_eq!(miner.call("mining.ping", json!([]))["result"], "pong", "no miner was dropped");
    }
}
