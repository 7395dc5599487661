//! Settings that keep Soloist from running give way to those that last worked, and the page says so.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;
use soloist::config::{self, Flags};
use soloist::safe_start;

use crate::common::daemon::{Daemon, PAYOUT};
use crate::common::wait_for;

/// Nobody listens there: the page is served all the same.
const NODE: &str = "[node]\nname = \"attic\"\nrpc_url = \"http://127.0.0.1:9\"\n\
                    p2p_addr = \"off\"\n";

fn alarm(daemon: &Daemon) -> Option<Option<String>> {
    let status = daemon.status()?;
    let alarms: Vec<Value> = status["alarms"].as_array()?.clone();
    let ours = alarms.iter().find(|alarm| alarm["id"] == "settings_not_used");
    Some(ours.map(|alarm| alarm["text"].as_str().unwrap().to_owned()))
}

/// A daemon that ran well with its settings: their copy is what ten minutes of work leave behind.
fn worked() -> (Daemon, String) {
    let mut daemon = Daemon::start(NODE);
    assert_eq!(wait_for("the page", || alarm(&daemon)), None);
    let text = fs::read_to_string(daemon.config()).unwrap();
    daemon.stop();
    keep(&daemon, &copy_of(&daemon.config(), &text));
    (daemon, text)
}

fn copy_of(file: &Path, text: &str) -> String {
    format!("# This last worked as {}\n{text}", file.display())
}

fn keep(daemon: &Daemon, copy: &str) {
    fs::write(daemon.data().join("soloist.toml.good"), copy).unwrap();
}

#[test]
fn a_mistake_in_the_file_does_not_keep_it_from_mining() {
    let (mut daemon, text) = worked();
    fs::write(daemon.config(), text.replace("rpc_url", "rpc_uri")).unwrap();
    daemon.launch();
    let said = wait_for("the page to say so", || alarm(&daemon)).unwrap();
    println!("{said}");
    assert!(said.contains("rpc_uri") && said.contains("last worked"), "{said}");
    assert!(daemon.get("/api/nodes").unwrap()["nodes"][0]["name"] == "attic");
    assert!(fs::read_to_string(daemon.config()).unwrap().contains("rpc_uri"), "it is the owner's");
    // Corrected and read again.
    fs::write(daemon.config(), text.replace("attic", "cellar")).unwrap();
    daemon.signal(Signal::SIGHUP);
    wait_for("the alarm to go", || alarm(&daemon)?.is_none().then_some(()));
    assert!(daemon.get("/api/nodes").unwrap()["nodes"][0]["name"] == "cellar");
}

#[test]
fn three_crashes_lead_back_to_what_worked() {
    let (mut daemon, text) = worked();
    if daemon.runtime().is_none() {
        println!("NOT tested: there is no /dev/shm");
        return;
    }
    fs::write(daemon.config(), text.replace("attic", "cellar")).unwrap();
    for _ in 0..3 {
        daemon.launch();
        assert_eq!(wait_for("the page", || alarm(&daemon)), None, "not yet");
        daemon.kill();
    }
    daemon.launch();
    let said = wait_for("the page to say so", || alarm(&daemon)).unwrap();
    assert!(said.contains("ended 3 times within ten minutes"), "{said}");
    assert!(daemon.log().contains("The config is not used: Soloist ended 3 times"));
    assert!(daemon.get("/api/nodes").unwrap()["nodes"][0]["name"] == "attic");
    // An end in order is no crash: the next start tries the owner's file again.
    daemon.stop();
    daemon.launch();
    assert_eq!(wait_for("the page", || alarm(&daemon)), None);
    assert!(daemon.get("/api/nodes").unwrap()["nodes"][0]["name"] == "cellar");
}

/// It would stop the miners, and open the set-up to whoever comes first.
#[test]
fn an_emptied_file_leads_back_to_what_worked() {
    let (mut daemon, text) = worked();
    let nobody = text.replace(PAYOUT, "");
    let all = ["", "[payout]\n", "\u{0}\u{0}\u{0}", &nobody, &text.replace(NODE, "")];
    for (before, emptied) in all.into_iter().enumerate() {
        fs::write(daemon.config(), emptied).unwrap();
        daemon.launch();
        let said = wait_for("the page to say so", || alarm(&daemon)).unwrap();
        println!("{said}");
        assert!(daemon.log().contains("runs with the settings that last worked"));
        assert_eq!(daemon.status().unwrap()["payout"]["address"], PAYOUT);
        assert_eq!(daemon.text("/api/setup"), "{\"open\":false}");
        // A reload is no way around it.
        daemon.signal(Signal::SIGHUP);
        wait_for("the log to say so", || {
            let refused = daemon.log().matches("everything stays as it is").count();
            (refused == before + 1).then_some(())
        });
        assert!(alarm(&daemon).unwrap().is_some());
        daemon.stop();
        assert_eq!(fs::read_to_string(daemon.config()).unwrap(), emptied, "it is the owner's");
    }
    // What the page says is the way to begin anew.
    fs::write(daemon.config(), nobody).unwrap();
    fs::remove_file(daemon.data().join("soloist.toml.good")).unwrap();
    daemon.launch();
    wait_for("the set-up", || daemon.status().filter(|status| status["configured"] == false));
    assert_eq!(daemon.text("/api/setup"), "{\"open\":true}");
}

#[test]
fn only_what_runs_is_kept_as_what_works() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("soloist.toml");
    let good = dir.path().join("soloist.toml.good");
    let text = format!("[payout]\naddress = \"{PAYOUT}\"\n{NODE}");
    fs::write(&file, &text).unwrap();
    let flags = Flags::file(file.clone()).with("--data", dir.path().to_str().unwrap());
    let running = config::load_for_run(&flags).unwrap().config;
    let keep = || safe_start::keep(&flags, &file, &running).unwrap();
    for later in ["", "[node", &text.replace("attic", "cellar"), &text.replace(PAYOUT, "")] {
        fs::write(&file, later).unwrap();
        assert!(!keep() && !good.exists(), "{later}");
    }
    // Other words for the same settings are the same.
    let text = format!("# Mine.\n{text}");
    fs::write(&file, &text).unwrap();
    assert!(keep());
    assert_eq!(fs::read_to_string(&good).unwrap(), copy_of(&file, &text));
    assert!(!keep(), "it is there already");
    // A box that is not set up has nothing to keep.
    fs::write(&file, "").unwrap();
    let empty = config::load_for_run(&flags).unwrap().config;
    assert!(!safe_start::keep(&flags, &file, &empty).unwrap());
    assert_eq!(fs::read_to_string(&good).unwrap(), copy_of(&file, &text));
}

#[test]
fn without_settings_that_worked_a_mistake_is_still_one() {
    let mut daemon = Daemon::start(NODE);
    wait_for("the page", || alarm(&daemon));
    daemon.stop();
    let text = fs::read_to_string(daemon.config()).unwrap();
    let file = daemon.config();
    for copy in [
        None,
        Some(copy_of(&file, &text.replace("rpc_url", "url"))),
        Some(copy_of(&file, "\u{0}[[")),
        Some("\u{0}[[".to_owned()),
        // What worked was another file's.
        Some(copy_of(&file.with_file_name("other.toml"), &text)),
    ] {
        let bad = text.replace("rpc_url", "rpc_uri");
        fs::write(daemon.config(), bad).unwrap();
        if let Some(copy) = copy {
            keep(&daemon, &copy);
        }
        daemon.launch();
        wait_for("it to end", || (!daemon.is_running()).then_some(()));
        assert!(daemon.log().contains("rpc_uri"));
        daemon.kill();
    }
}
