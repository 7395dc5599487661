//! A network of its own for a test, with no other machine in it.

use std::env;
use std::process::{Command, Stdio};

/// The test whose process is in the network of its own.
const INSIDE: &str = "SOLOIST_INSIDE";

/// Runs `inside` in a process of its own, in which nothing but this test, by its `name`, runs and whose network
/// has a loopback alone. Says that `what` was not tested where that is not possible.
pub fn in_a_network_of_its_own(name: &str, what: &str, inside: impl FnOnce()) {
    if env::var(INSIDE).is_ok_and(|test| test == name) {
        assert!(quiet(Command::new("ip").args(["link", "set", "lo", "up"])));
        return inside();
    }
    if !quiet(Command::new("unshare").args(["--net", "ip", "link", "set", "lo", "up"])) {
        println!(
            "*** NOT TESTED ***: {what} (no network of its own: root, unshare and ip are needed)"
        );
        return;
    }
    let status = Command::new("unshare")
        .arg("--net")
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, name)
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

fn quiet(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
