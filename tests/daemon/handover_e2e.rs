//! Connections of miners that outlive the program: restarts, crashes and updates of the real program under
//! miners that mine, with the part of systemd that keeps sockets.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::net::TcpStream;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::common::daemon::Daemon;
use crate::common::manager::Manager;
use crate::common::sandbox::sandbox;
use crate::common::wait_for;
use crate::miners_e2e::{Client, targets, tcp};

fn managed(entry: &str) -> Daemon {
    let mut daemon = Daemon::still();
    daemon.manager = Some(Manager::new());
    daemon.configure(entry, "");
    daemon.launch();
    daemon.wait_ready();
    daemon
}

fn manager(daemon: &Daemon) -> &Manager {
    daemon.manager.as_ref().unwrap()
}

#[test]
fn a_connection_goes_on_over_a_restart_and_a_crash() {
    let (node, entry) = sandbox();
    let mut daemon = managed(&entry);
    if daemon.runtime().is_none() {
        println!("no /dev/shm here: not tried");
        return;
    }
    let (easy, hard) = targets(&node);
    let mut client: Client<TcpStream> = Client::subscribe(tcp(daemon.stratum), None);
    client.begin("anna");
    wait_for("the socket to be kept", || (manager(&daemon).miners() == 1).then_some(()));
    for (round, crashes) in [false, true, false, true].into_iter().enumerate() {
        let (share, _) = client.mine(round as u64, easy, Some(hard));
        let started = Instant::now();
        if crashes { daemon.kill() } else { assert!(daemon.stop().success()) }
        let stopped = started.elapsed();
        daemon.launch();
        let answer = client.call("mining.submit", share.clone());
        println!("{stopped:?} to the end, {:?} to the answer", started.elapsed());
        assert_eq!(answer["result"], true, "{answer}");
        let again = client.call("mining.submit", share);
        assert_eq!(again["error"][0], 22, "{again}");
    }
    let log = daemon.log();
    assert_eq!(log.matches("1 connection of a miner went on over").count(), 4, "{log}");
    drop(client);
    wait_for("the socket to be dropped", || (manager(&daemon).miners() == 0).then_some(()));
    daemon.signal(Signal::SIGTERM);
}
