//! The canary: shares of our own through the real port, by each protocol, beside a chain that is too
//! hard for it to find a block. The real daemon and a sandbox node.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use soloist::demo::chain::{Outcome, Rules, SandboxChain};
use soloist::demo::coins::free_script;
use soloist::demo::node::{SandboxConfig, SandboxNode};

use crate::common::daemon::Daemon;
use crate::common::wait_for;

#[test]
fn the_canary_passes_and_stands_in_no_total() {
    // Difficulty 1 from the first block that can be mined on.
    let rules = Rules { easy_blocks: 103, bits: 0x1d00_ffff, pace: None };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut chain = SandboxChain::new(rules);
    for height in 1..=103 {
        assert_eq!(chain.mine(free_script(), now - 7200 + height * 60), Outcome::Connected);
    }
    let node = SandboxNode::start(
        SandboxConfig {
            name: "hard".into(),
            user: "u".into(),
            password: "p".into(),
            rules,
            transactions_per_block: 3,
            transaction_every: Duration::from_secs(600),
        },
        chain,
        None,
    )
    .unwrap();
    let entry = format!(
        "[node]\nrpc_url = \"http://{}\"\nrpc_user = \"u\"\nrpc_pass = \"p\"\n\
         p2p_addr = \"off\"\n",
        node.rpc_address()
    );
    let daemon = Daemon::start(&entry);
    daemon.wait_ready();
    let mut ways = BTreeSet::new();
    let canary = wait_for("the canary's share by each way", || {
        std::thread::sleep(Duration::from_millis(300));
        let canary = daemon.status()?["canary"].clone();
        let passed = canary["passed"].as_u64().filter(|passed| *passed > 0)?;
        ways.insert(canary["way"].as_str()?.to_owned());
        (passed >= 4).then_some(canary)
    });
    let all = ["Stratum V1", "Stratum V2 (extended channel)", "Stratum V2 (standard channel)"];
    assert_eq!(ways, BTreeSet::from(all.map(str::to_owned)));
    assert_eq!((&canary["ok"], &canary["failed"]), (&true.into(), &0.into()), "{canary}");
    assert!(canary["round_trip_ms"].as_f64().unwrap() > 0.0, "{canary}");
    let status = daemon.status().unwrap();
    assert_eq!(status["miners"], 0, "{status}");
    assert_eq!(status["totals"]["accepted"], 0, "{status}");
    assert_eq!(status["stratum"]["shares_accepted"], 0, "{status}");
    assert_eq!(daemon.get("/health/ready").unwrap()["canary"], true);
    let metrics = daemon.text("/metrics");
    assert!(metrics.contains("soloist_canary_ok 1"), "{metrics}");
    assert!(!daemon.log().contains("Miner canary"), "{}", daemon.log());
}
