//! What a container is started by, and what the page tells where a machine's own addresses are of no use.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::common::daemon::{Daemon, PAYOUT};
use crate::common::wait_for;

const PROGRAM: &str = env!("CARGO_BIN_EXE_soloist");

/// Runs the container's entrypoint with another directory for its data, up to the start of the daemon.
fn enter(dir: &Path, environment: &[(&str, &str)]) -> String {
    let script = include_str!("../../container/entrypoint").replace("/data", dir.to_str().unwrap());
    let programs = Path::new(PROGRAM).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    // The daemon itself only says how it is used.
    let mut command = Command::new("sh");
    command.args(["-c", &script, "entrypoint", "--help"]).env("PATH", path);
    let memory = dir.join("tmp");
    fs::create_dir_all(&memory).unwrap();
    command.env("TMPDIR", &memory).env("RUNTIME_DIRECTORY", memory.join("soloist"));
    let done = command.envs(environment.iter().copied()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
    assert_eq!(fs::read_dir(&memory).unwrap().count(), 1, "a password was left behind");
    said
}

#[test]
fn the_environments_login_goes_over_the_files_and_nothing_else_changes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("soloist.toml");
    let node = |password: &'static str| {
        [
            ("SOLOIST_NODE_URL", "http://10.21.21.8:8332"),
            ("SOLOIST_NODE_USER", "umbrel"),
            ("SOLOIST_NODE_PASSWORD", password),
            ("SOLOIST_NODE_ZMQ", "tcp://10.21.21.8:28334"),
            ("SOLOIST_NODE_P2P", "10.21.21.8:8333"),
            ("SOLOIST_NODE_NAME", "Umbrel"),
            ("SOLOIST_REACHED_AT", "umbrel.local:3381"),
        ]
    };
    let read = || fs::read_to_string(&file).unwrap().parse::<toml::Table>().unwrap();
    let password = |table: &toml::Table| table["node"]["rpc_pass"].as_str().unwrap().to_owned();

    // Nothing is said: the page asks for all of it.
    enter(dir.path(), &[]);
    assert!(!file.exists());

    // Before the set-up, with all that a password can hold.
    enter(dir.path(), &node("a\"b\\c$d'e=="));
    assert_eq!(password(&read()), "a\"b\\c$d'e==");
    assert_eq!(read()["stratum"]["reached_at"].as_str(), Some("umbrel.local:3381"));

    // The owner sets it up, and adds a node.
    let own = format!(
        "{}\n[payout]\naddress = \"{PAYOUT}\"\n[http]\npin = \"739100\"\n[[node.backup]]\nrpc_url = \
         \"http://192.168.1.11:8332\"\n",
        fs::read_to_string(&file).unwrap()
    );
    fs::write(&file, own).unwrap();
    enter(dir.path(), &node("another=="));
    let table = read();
    assert_eq!(password(&table), "another==");
    assert_eq!(table["payout"]["address"].as_str(), Some(PAYOUT));
    assert_eq!(table["http"]["pin"].as_str(), Some("739100"));
    let backup = &table["node"]["backup"][0];
    assert_eq!(backup["rpc_url"].as_str(), Some("http://192.168.1.11:8332"));

    // A mistake in the environment changes nothing, and is said.
    let said = enter(dir.path(), &[("SOLOIST_NODE_URL", "ftp://10.21.21.8")]);
    assert!(said.contains("what keeps the settings of the environment"), "{said}");
    assert_eq!(read(), table);
}

#[test]
fn miners_are_told_where_they_reach_a_machine_that_does_not_know_it() {
    let daemon = Daemon::start("[node]\nrpc_url = \"http://127.0.0.1:9\"\np2p_addr = \"off\"\n");
    let connect = || Some(daemon.status()?["connect"].clone());
    let own = wait_for("the page", connect);
    daemon.edit(|text| {
        text.replace("[stratum]\n", "[stratum]\nreached_at = \"umbrel.local:3381\"\n")
    });
    daemon.signal(Signal::SIGHUP);
    let told = wait_for("the reload", || connect().filter(|told| *told != own));
    assert_eq!(told["addresses"], serde_json::json!(["umbrel.local"]));
    assert_eq!((&told["port"], &told["hostname"]), (&3381.into(), &serde_json::Value::Null));
    let url = told["v2"]["url"].as_str().unwrap();
    assert!(url.starts_with("stratum2+tcp://umbrel.local:3381/"), "{url}");
    let page = daemon.text("/");
    assert!(page.contains("<code>umbrel.local</code> port <code>3381</code>"), "{page}");
    assert!(!page.contains("/qr.svg"), "a code that leads to an address that nobody reaches");
}
