//! The whole program on a machine whose clock is set while it mines: it starts 400 days behind, as a Pi
//! without a network would, and gets the time later. libfaketime sets the clock of the daemon alone; its
//! monotonic time runs on.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use soloist::demo::miner::{CpuMiner, MinerConfig};

use crate::common::daemon::Daemon;
use crate::common::sandbox::sandbox;
use crate::common::wait_for;

fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn faketime() -> Option<PathBuf> {
    let library = |dir: fs::DirEntry| dir.path().join("faketime/libfaketimeMT.so.1");
    fs::read_dir("/usr/lib").ok()?.flatten().map(library).find(|library| library.exists())
}

/// A box whose clock is that of the file, and the file; `None` without libfaketime.
fn box_with_a_clock(entry: &str) -> Option<(Daemon, PathBuf)> {
    let Some(library) = faketime() else {
        assert!(std::env::var_os("SOLOIST_REQUIRE_NODES").is_none(), "there is no libfaketime");
        println!("*** NOT TESTED *** there is no libfaketime");
        return None;
    };
    let mut daemon = Daemon::still();
    daemon.configure(entry, "");
    let clock = daemon.config().with_file_name("clock");
    fs::write(&clock, "-400d\n").unwrap();
    daemon.env = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("NO_FAKE_STAT", "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec();
    Some((daemon, clock))
}

fn miner(daemon: &Daemon) -> CpuMiner {
    let (events, _heard) = mpsc::channel();
    let config = MinerConfig {
        server: daemon.stratum,
        user: "anna".into(),
        password: "d=0.0001".into(),
        user_agent: "cpuminer/2.5.1".into(),
        suggest: None,
        duty: 0.5,
    };
    CpuMiner::start(config, events).unwrap()
}

/// The run ends, and the power with it, before the network's time comes. The next one knows by how much
/// its dates are wrong, as the time since the boot runs on through both.
#[test]
fn a_run_that_never_knew_the_time_is_dated_by_the_next_one() {
    let (_node, entry) = sandbox();
    let Some((mut daemon, clock)) = box_with_a_clock(&entry) else { return };
    let began = unix();
    daemon.launch();
    daemon.wait_ready();
    let first = miner(&daemon);
    let shares = |status: &Value| status["totals"]["accepted"].as_u64().unwrap();
    let blocks = |daemon: &Daemon| daemon.get("/api/blocks").unwrap()["blocks"].clone();
    wait_for("ten shares", || daemon.status().filter(|s| shares(s) >= 10));
    wait_for("a block", || (!blocks(&daemon).as_array()?.is_empty()).then_some(()));
    let counted = shares(&daemon.status().unwrap());
    drop(first);
    assert!(daemon.stop().success());
    // The next one, by the same clock; then the time comes.
    daemon.launch();
    daemon.wait_ready();
    wait_for("the ledger", || daemon.status().filter(|s| shares(s) >= counted));
    let first_block = |daemon: &Daemon| blocks(daemon).as_array().unwrap().last().cloned().unwrap();
    let behind = unix() - first_block(&daemon)["at"].as_u64().unwrap();
    assert!(behind > 399 * 86_400, "{behind}");
    fs::write(&clock, "+0d\n").unwrap();
    let is_right = |at: &Value, what: &str| {
        let at = at.as_u64().unwrap();
        let right = began - 61..=unix() + 1;
        assert!(right.contains(&at), "{what}: {at} is not in {right:?}");
    };
    wait_for("the time", || daemon.status().filter(|s| s["now"].as_u64().unwrap() >= began));
    is_right(&daemon.status().unwrap()["totals"]["since"], "the ledger began");
    for block in blocks(&daemon).as_array().unwrap() {
        is_right(&block["at"], "a block");
    }
    // What the first run counted is all there, as soon as it is moved.
    let ranges = ["day", "month", "all"];
    let accepted = |history: &Value, range: &str| {
        let points = history[range].as_array().into_iter().flatten();
        points.map(|point| point["accepted"].as_u64().unwrap()).sum::<u64>()
    };
    let history = wait_for("the history", || {
        let history = daemon.get("/api/history")?;
        let is_whole = |range: &&str| accepted(&history, range) >= counted;
        ranges.iter().all(is_whole).then_some(history)
    });
    for range in ranges {
        is_right(&history[range][0]["from"], range);
    }
    let marks = history["marks"].as_array().unwrap();
    let starts: Vec<&Value> = marks.iter().filter(|mark| mark["kind"] == "start").collect();
    assert_eq!(starts.len(), 2, "{marks:?}");
    starts.iter().for_each(|mark| is_right(&mark["at"], "a start"));
    let miners = daemon.get("/api/miners").unwrap();
    for date in ["first_seen_at", "last_share_at", "best_at"] {
        is_right(&miners["miners"][0][date], date);
    }
    // The block's own file stays as it was written; its date stands beside it.
    let dated = || {
        let files = fs::read_dir(daemon.data().join("spool")).unwrap().flatten();
        let states = files.filter(|file| file.file_name().to_string_lossy().ends_with(".state"));
        let texts = states.map(|file| fs::read_to_string(file.path()).unwrap());
        let solved = texts.filter_map(|text| {
            let state: Value = serde_json::from_str(text.split_once('\n')?.1).ok()?;
            state.get("solved").cloned()
        });
        solved.collect::<Vec<Value>>()
    };
    let kept = wait_for("the spool's dates", || Some(dated()).filter(|dates| !dates.is_empty()));
    kept.iter().for_each(|at| is_right(at, "a block in the spool"));

    // The power goes, and the box comes back with a clock that is a day behind: it was later already.
    daemon.kill();
    fs::write(&clock, "-1d\n").unwrap();
    daemon.launch();
    daemon.wait_ready();
    wait_for("what is certain", || {
        daemon.status().filter(|s| s["now"].as_u64().unwrap().abs_diff(unix()) < 60)
    });
    let text = daemon.text("/");
    assert!(text.contains("behind the end of its last run"), "{text}");
}

#[test]
fn what_was_recorded_before_the_clock_was_right_is_dated_by_it_afterwards() {
    let (_node, entry) = sandbox();
    let Some((mut daemon, clock)) = box_with_a_clock(&entry) else { return };
    let (began, started) = (unix(), Instant::now());
    daemon.launch();
    daemon.wait_ready();
    let _miner = miner(&daemon);
    let status = || wait_for("the status", || daemon.status());
    let shares = |status: &Value| status["totals"]["accepted"].as_u64().unwrap();
    let before = wait_for("ten shares", || daemon.status().filter(|s| shares(s) >= 10));
    let behind = unix() - before["now"].as_u64().unwrap();
    assert!(behind.abs_diff(400 * 86_400) < 30, "the clock is not faked: {behind}");

    for (fast, what) in [("+0d", "the network's time"), ("+13m", "too fast"), ("+0d", "right")] {
        fs::write(&clock, format!("{fast}\n")).unwrap();
        let fast = if fast == "+13m" { 780 } else { 0 };
        let after = wait_for(what, || {
            daemon.status().filter(|s| s["now"].as_u64().unwrap().abs_diff(unix() + fast) < 60)
        });
        let now = after["now"].as_u64().unwrap();
        let is_of_this_run = |at: &Value, what: &str| {
            let at = at.as_u64().unwrap();
            let right = began + fast - 61..=now;
            assert!(right.contains(&at), "{what}: {at} is not in {right:?}");
        };
        let totals = &after["totals"];
        is_of_this_run(&totals["since"], "the ledger began");
        for window in ["rate_5m", "rate_1h", "rate_24h"] {
            let measured = totals[window]["measured_s"].as_u64().unwrap();
            assert!(measured <= started.elapsed().as_secs() + 1, "{window}: {measured} s");
            // All shares count, in the time in which they came.
            assert!(totals[window]["shares"].as_u64().unwrap() >= 10, "{window}: {totals}");
        }
        let history = daemon.get("/api/history").unwrap();
        for range in ["day", "month", "all"] {
            let points = history[range].as_array().unwrap();
            assert!(!points.is_empty(), "{range}");
            for point in points {
                assert!(point["at"].as_u64().unwrap() <= now, "{range}: {point}");
            }
        }
        is_of_this_run(&history["day"][0]["from"], "the first minute");
        let miners = daemon.get("/api/miners").unwrap();
        let miner = &miners["miners"][0];
        for date in ["since", "first_seen_at", "last_share_at", "best_at"] {
            is_of_this_run(&miner[date], date);
        }
    }
    // The page tells it as well, until as many blocks have come as it shows events.
    let log = daemon.log();
    // To the second it is as much, or one second less.
    let was_set = |by: &[&str]| {
        by.iter().any(|by| log.contains(&format!("The clock of this box was set {by}")))
    };
    assert!(was_set(&["forward by 400 days.", "forward by 399 days"]), "{log}");
    assert!(was_set(&["back by 13\u{202f}min", "back by 12\u{202f}min"]), "{log}");
    let totals = status();
    println!(
        "{} shares, clock set 400 days, +13 and -13 min: {} H/s over {} s",
        shares(&totals),
        totals["totals"]["rate_24h"]["hashrate"],
        totals["totals"]["rate_24h"]["measured_s"]
    );
    assert!(started.elapsed() < Duration::from_secs(240));
}
