//! Two rule sets in one house, under the whole program with a miner connected: two real Bitcoin
//! Cores that refuse each other's blocks (`invalidateblock` marks a block as a node's own rules
//! would), and both settings of `follow`. The page's words are printed. Also the version bits that
//! the owner sets, on each real node.
#![allow(clippy::unwrap_used)]

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::common::daemon::{Daemon, Miner, node_entries};
use crate::common::node::{Kind, RealNode};
use crate::common::wait_for;

/// Two Cores that refuse each other's block of height 3; the second is one block ahead.
fn house() -> Option<[RealNode; 2]> {
    let (first, second) = (RealNode::core()?, RealNode::core()?);
    second.generate(2);
    first.learn_from(&second, 2);
    let theirs = second.generate(1)[0];
    first.learn_from(&second, 3);
    refuse(&first, &theirs.to_string());
    let own = extend(&first);
    hand_over(&first, &second, &own);
    refuse(&second, &own);
    second.generate(1);
    // Neither takes the other's chain.
    for (from, to) in [(&first, &second), (&second, &first)] {
        let tip = to.tip();
        hand_over(from, to, &from.tip().to_string());
        assert_eq!(to.tip(), tip);
    }
    assert_eq!((first.height(), second.height()), (3, 4));
    Some([first, second])
}

fn refuse(node: &RealNode, block: &str) {
    node.call("invalidateblock", json!([block]));
}

/// A block that differs from what the other node would make in the same second.
fn extend(node: &RealNode) -> String {
    let made = node.call("generatetoaddress", json!([1, node.payout(9)]));
    made[0].as_str().unwrap().to_owned()
}

fn hand_over(from: &RealNode, to: &RealNode, block: &str) {
    let bytes = from.call("getblock", json!([block, 0]));
    to.call("submitblock", json!([bytes]));
}

fn start(nodes: &[RealNode; 2], follow: &str) -> Daemon {
    let mut daemon = Daemon::start("");
    daemon.kill();
    configure(&daemon, nodes, follow);
    daemon.launch();
    daemon.wait_ready();
    daemon
}

fn configure(daemon: &Daemon, nodes: &[RealNode; 2], follow: &str) {
    let entries = node_entries(&[nodes[0].config(), nodes[1].config()]);
    let entries = entries
        .replace(&nodes[0].config().name, "attic")
        .replace(&nodes[1].config().name, "cellar");
    daemon.configure(&entries, &format!("[failover]\nfollow = \"{follow}\"\n"));
}

fn node(daemon: &Daemon, name: &str) -> Option<Value> {
    let nodes = daemon.get("/api/nodes")?;
    nodes["nodes"].as_array()?.iter().find(|node| node["name"] == name).cloned()
}

fn wait_leader(daemon: &Daemon, name: &str) {
    wait_for(&format!("{name} to lead"), || {
        let works = daemon.status()?["job"]["node"] == name;
        (works && node(daemon, name)?["state"] == "leading").then_some(())
    });
}

fn wait_split(daemon: &Daemon, name: &str) -> Value {
    wait_for(&format!("{name} to be known for other rules"), || {
        node(daemon, name).filter(|node| node["state"] == "other_rules")
    })
}

fn print_page(daemon: &Daemon, when: &str) {
    let status = daemon.status().unwrap();
    println!("\n{when}:\n  {} {}", status["state"], status["sentence"]);
    for alarm in status["alarms"].as_array().unwrap() {
        println!("  alarm: {} {}", alarm["text"], alarm["advice"]);
    }
    for name in ["attic", "cellar"] {
        let node = node(daemon, name).unwrap();
        println!("  {name}, block {}, {}: {}", node["height"], node["state"], node["why"]);
    }
}

fn why(node: &Value) -> &str {
    node["why"].as_str().unwrap()
}

#[test]
fn by_most_work_the_owner_hears_which_block_is_refused() {
    let Some(nodes) = house() else { return };
    let [first, second] = &nodes;
    let refused = second.call("getblockhash", json!([3]));
    let daemon = start(&nodes, "work");
    wait_leader(&daemon, "cellar");
    let attic = wait_split(&daemon, "attic");
    print_page(&daemon, "follow = \"work\", cellar is ahead");
    assert_eq!(attic["dispute"]["block"], refused);
    assert_eq!(
        (&attic["dispute"]["height"], &attic["dispute"]["exact"]),
        (&json!(3), &json!(true))
    );
    assert_eq!(attic["dispute"]["follower"], "cellar");
    assert_eq!(attic["lag_blocks"], Value::Null, "it is no lag");
    let said = why(&attic);
    for part in ["has refused block 3", "not to blame", "follow = \"work\"", "cellar takes it"] {
        assert!(said.contains(part), "{said}");
    }
    // A block goes where its rules are.
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    let (answer, hash) = miner.mine();
    assert_eq!(answer["result"], true, "{answer}");
    wait_for("cellar to have the block", || (second.tip().to_string() == hash).then_some(()));
    assert_eq!(first.height(), 3);
    // The other chain gets ahead: the most work decides.
    for _ in 0..4 {
        extend(first);
    }
    wait_leader(&daemon, "attic");
    let cellar = wait_split(&daemon, "cellar");
    assert_eq!(cellar["dispute"]["refuser"], "cellar");
    assert_eq!(cellar["dispute"]["block"], first.call("getblockhash", json!([3])));
    print_page(&daemon, "follow = \"work\", attic is ahead");
    // Whoever connects now gets the job that counts.
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "berta");
    let (answer, hash) = miner.mine();
    assert_eq!(answer["result"], true, "{answer}");
    wait_for("attic to have the block", || (first.tip().to_string() == hash).then_some(()));
    // The owner takes back what they refuse: one chain again, and the first leads.
    for (from, to) in [(first, second), (second, first)] {
        let block = from.call("getblockhash", json!([3]));
        to.call("reconsiderblock", json!([block]));
    }
    second.learn_from(first, first.height());
    wait_for("the nodes to agree", || {
        (node(&daemon, "cellar")?["state"] == "standby").then_some(())
    });
    assert_eq!(node(&daemon, "attic").unwrap()["dispute"], Value::Null);
    assert!(daemon.log().contains("are on one chain again"));
}

#[test]
fn with_first_the_first_nodes_rules_decide_while_it_answers() {
    let Some(mut nodes) = house() else { return };
    let daemon = start(&nodes, "first");
    wait_leader(&daemon, "attic");
    let cellar = wait_split(&daemon, "cellar");
    print_page(&daemon, "follow = \"first\", attic answers");
    assert!(why(&cellar).contains("which node attic has refused"), "{cellar}");
    let attic = node(&daemon, "attic").unwrap();
    assert!(why(&attic).contains("The rules of attic decide while it answers"), "{attic}");
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    // The other chain goes on; nobody here follows it.
    nodes[1].generate(3);
    std::thread::sleep(std::time::Duration::from_secs(5));
    let parent = daemon.status().unwrap()["job"]["parent"].clone();
    assert_eq!(parent, nodes[0].tip().to_string());
    let (answer, hash) = miner.mine();
    assert_eq!(answer["result"], true, "{answer}");
    wait_for("attic to have the block", || (nodes[0].tip().to_string() == hash).then_some(()));
    assert_ne!(nodes[1].tip().to_string(), hash);
    miner.wait_new_tip();

    // While the first is away, the other steps in, and the page says what that means.
    nodes[0].call("gettxoutsetinfo", json!([]));
    nodes[0].kill();
    wait_leader(&daemon, "cellar");
    let cellar = wait_for("the page to say that attic's rules are not looked at", || {
        node(&daemon, "cellar").filter(|node| why(node).contains("are not looked at"))
    });
    print_page(&daemon, "follow = \"first\", attic is away");
    assert_eq!(cellar["state"], "leading");
    miner.wait_new_tip();
    let (answer, hash) = miner.mine();
    assert_eq!(answer["result"], true, "{answer}");
    wait_for("cellar to have the block", || (nodes[1].tip().to_string() == hash).then_some(()));
    miner.wait_new_tip();

    // It is back, and decides again, although its chain has less work.
    nodes[0].launch();
    wait_leader(&daemon, "attic");
    wait_split(&daemon, "cellar");
    assert_eq!(daemon.status().unwrap()["job"]["parent"], nodes[0].tip().to_string());
    print_page(&daemon, "follow = \"first\", attic is back");
    // A reload changes who is followed.
    configure(&daemon, &nodes, "work");
    daemon.signal(Signal::SIGHUP);
    wait_leader(&daemon, "cellar");
    wait_split(&daemon, "attic");
    assert!(daemon.log().contains("the chain with most work counts"));
    assert!(!daemon.log().contains("panicked"));
}

/// bcoin forgets what it refuses: it looks like a node that lags.
#[test]
fn bcoin_does_not_tell_what_it_refuses() {
    let Some(bcoin) = RealNode::bcoin() else { return };
    bcoin.generate(3);
    let before = bcoin.rpc().refused_branches();
    let tip = bcoin.tip().to_string();
    refuse(&bcoin, &tip);
    assert_eq!(bcoin.height(), 2);
    let tips = bcoin.try_call("getchaintips", json!([]));
    println!("bcoin's getchaintips after invalidateblock: {tips:?}");
    let after = bcoin.rpc().refused_branches();
    println!("read as {before:?}, then {after:?}");
    assert!(after.is_err() || after == Ok(Vec::new()));
    let blocks = bcoin.rpc().blocks_at(&[1, 2, 3, 4]).unwrap();
    assert_eq!(blocks.len(), 2, "heights beyond its chain are left out: {blocks:?}");
}

#[test]
fn the_owners_version_bits_are_in_the_job_the_rehearsal_and_the_block() {
    for node in RealNode::all() {
        node.generate(if node.kind == Kind::Bcoin { 440 } else { 2 });
        let mut daemon = Daemon::start("");
        daemon.kill();
        daemon.configure(&node_entries(&[node.config()]), "");
        daemon.edit(|text| text.replace("[payout]\n", "[payout]\nset_version_bits = [4, 9]\n"));
        daemon.launch();
        daemon.wait_ready();
        let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
        let job = wait_for("the job", || {
            let job = daemon.status()?["job"].clone();
            job.is_object().then_some(job)
        });
        let bits: Vec<u64> =
            job["signals"].as_array().unwrap().iter().filter_map(|s| s["bit"].as_u64()).collect();
        println!(
            "{:?}: version {:08x}, {}",
            node.kind,
            job["version"].as_u64().unwrap(),
            job["signals"]
        );
        assert!(bits.contains(&4) && bits.contains(&9), "{bits:?}");
        let rehearsal = wait_for("a rehearsal", || {
            let nodes = daemon.get("/api/nodes")?;
            let rehearsal = nodes["nodes"][0]["rehearsal"].clone();
            rehearsal.is_object().then_some(rehearsal)
        });
        assert_eq!(rehearsal["refused"], Value::Null, "{rehearsal}");
        let (answer, hash) = miner.mine();
        assert_eq!(answer["result"], true, "{answer}");
        wait_for("the block", || (node.tip().to_string() == hash).then_some(()));
        let header = node.call("getblockheader", json!([hash]));
        let version = header["version"].as_u64().unwrap();
        assert_eq!(version & (1 << 4 | 1 << 9), 1 << 4 | 1 << 9, "{version:08x}");
        assert!(daemon.text("/").contains("It votes by version"));
    }
}
