//! Programs that look for miners in the house find none here: pyasic, which Home Assistant's integrations
//! use, asks our page itself. Needs `python3` with `venv`; pyasic comes by pip, pinned by
//! `requirements.txt`.

// A test's helpers may panic.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use soloist::server::http::Options;

use crate::sample;
use crate::server::Server;

pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page");

/// A Python that has pyasic, made once for each version of the list; `None` where there is no Python to
/// make it with.
pub fn python() -> Option<PathBuf> {
    let wanted = fs::read_to_string(format!("{FOLDER}/requirements.txt")).unwrap();
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pyasic");
    let python = home.join("bin/python");
    let made_for = home.join("requirements.txt");
    if fs::read_to_string(&made_for).is_ok_and(|made_for| made_for == wanted) {
        return Some(python);
    }
    let ran = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let there_is = ran(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home))
        && ran(Command::new(&python).args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
            "-r",
            &format!("{FOLDER}/requirements.txt"),
        ]));
    if there_is {
        fs::write(made_for, wanted).unwrap();
    }
    there_is.then_some(python)
}

#[test]
fn pyasic_takes_our_page_for_no_miner() {
    let Some(python) = python() else {
        let strict = std::env::var_os("SOLOIST_REQUIRE_NODES").is_some_and(|value| value == "1");
        assert!(!strict, "pyasic is missing: it needs python3, its venv (python3-venv) and pip");
        eprintln!("SKIPPED: pyasic cannot be installed: the page was not shown to it");
        return;
    };
    let options = || Options { requests_per_s: 100_000, ..Options::default() };
    let servers: Vec<(&str, Server)> = sample::all()
        .into_iter()
        .map(|(name, snapshot)| (name, Server::start(snapshot, options(), false)))
        .collect();
    let mut scan = Command::new(python);
    scan.arg(format!("{FOLDER}/scan.py"));
    scan.args(servers.iter().map(|(_, server)| server.address.to_string()));
    let output = scan.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    let seen: Vec<&str> = said.lines().collect();
    // The first is a page of its own that it must know.
    assert_eq!(seen.first(), Some(&"BITAXE"), "{said}{complaint}");
    let taken_for = |((name, _), seen): (&(&str, Server), &&str)| format!("{name}: {seen}");
    let seen: Vec<String> = servers.iter().zip(&seen[1..]).map(taken_for).collect();
    let nothing: Vec<String> = servers.iter().map(|(name, _)| format!("{name}: None")).collect();
    assert_eq!(seen, nothing, "{complaint}");
}
