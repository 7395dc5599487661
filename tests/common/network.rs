//! Where a test's connections come from: addresses of their own, and a network with no other machine in it.

use std::env;
use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

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

/// A program in the network of another process.
pub fn inside_network_of(pid: u32, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{pid}/ns/net")).arg("--").arg(program);
    command
}

fn quiet(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// A miner's connection from an IPv4 address of its own.
pub fn connect_from(ip: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}
