//! `soloist pair`: what keepalived and its unit call, for two boxes that share an address.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::ledger::Failed;
use crate::config::{self, Config, Flags};
use crate::exit::{Exit, complain, say};
use crate::fsutil::read_bounded;
use crate::os;
use crate::pair::Code;
use crate::virtual_address::keepalived::Keepalived;
use crate::virtual_address::tickle::{self, Connection, MAX_FILE};
use crate::virtual_address::{self, NoPlace};

/// How long the daemon may take to say that it is ready. It is asked once more before it counts as not ready.
const READY_WITHIN: Duration = Duration::from_millis(400);
/// When miners are told that their connections are dead, after the address came here. More than once: a segment may
/// be lost while switches learn where the address is now.
const ROUNDS: [Duration; 3] =
    [Duration::ZERO, Duration::from_millis(500), Duration::from_millis(1500)];

/// `soloist pair code`: prints a new code for both boxes.
pub fn code() -> Exit {
    let mut random = [0; 30];
    match getrandom::fill(&mut random) {
        Ok(()) => {
            say(Code::of(&random));
            Exit::Ok
        }
        Err(error) => {
            complain(format_args!("The system gives no random numbers: {error}."));
            Exit::Software
        }
    }
}

/// `soloist pair keepalived`: prints keepalived's configuration for the settings.
pub fn keepalived(flags: &Flags, connections: &Path) -> Exit {
    match configuration(flags, connections) {
        Ok(text) => {
            say(text.trim_end());
            Exit::Ok
        }
        Err((exit, why)) => {
            complain(why);
            exit
        }
    }
}

fn configuration(flags: &Flags, connections: &Path) -> Result<String, Failed> {
    let not_yet = |why: String| (Exit::NotYet, why);
    let loaded =
        config::load_for_run(flags).map_err(|problems| (Exit::Config, problems.to_string()))?;
    let Config { pair, http, .. } = &loaded.config;
    let (Some(partner), Some(shared)) = (pair.partner, pair.virtual_address) else {
        let why = "No address is shared: [pair] names no partner, or no virtual_address.";
        return Err((Exit::Unavailable, why.to_owned()));
    };
    let Some(page) = http.listen.first().map(|page| within_this_machine(*page)) else {
        let why = "Whether this box is ready is asked of its page, which is switched off: [http] listen is empty.";
        return Err((Exit::Config, why.to_owned()));
    };
    let via = os::way_to(partner.ip());
    let via =
        via.map_err(|error| not_yet(format!("There is no way to {}: {error}.", partner.ip())))?;
    let addresses = os::interface_addresses();
    let place = virtual_address::place(&addresses, via, pair.interface.as_deref(), shared);
    let (interface, own) = place.map_err(|why| match why {
        NoPlace::Family => (Exit::Config, why.to_string()),
        NoPlace::NoWay | NoPlace::NoInterface(_) => not_yet(why.to_string()),
    })?;
    let program = env::current_exe();
    let program =
        program.map_err(|error| (Exit::Software, format!("Where is this program? {error}.")))?;
    let (user, group) = os::user_and_group();
    let keepalived = Keepalived {
        interface,
        own,
        partner: partner.ip(),
        shared,
        program: &program,
        page,
        connections,
        user: &user,
        group: &group,
    };
    Ok(keepalived.to_string())
}

/// How a listener of this machine is reached from within.
fn within_this_machine(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// `soloist pair ready`: whether miners may be sent to this box, as its page says at `page`. Takes less than a second.
pub fn ready(page: SocketAddr) -> Exit {
    let until = Instant::now() + READY_WITHIN;
    if matches!(ask_ready(page), Ok(true)) {
        return Exit::Ok;
    }
    thread::sleep(until.saturating_duration_since(Instant::now()));
    match ask_ready(page) {
        Ok(true) => Exit::Ok,
        Ok(false) => Exit::Unavailable,
        Err(error) => {
            complain(format_args!("{page} does not answer: {error}."));
            Exit::Unavailable
        }
    }
}

fn ask_ready(page: SocketAddr) -> io::Result<bool> {
    let until = Instant::now() + READY_WITHIN;
    let mut stream = TcpStream::connect_timeout(&page, READY_WITHIN)?;
    stream.set_write_timeout(Some(READY_WITHIN))?;
    let request =
        format!("GET /health/ready HTTP/1.1\r\nHost: {page}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let wanted = b"HTTP/1.1 200 ";
    let mut said = [0; 13];
    let mut length = 0;
    while length < said.len() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut said[length..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => length += n,
        }
    }
    Ok(said == *wanted)
}

/// `soloist pair tickle`: resets the connections of a file, as far as their address is this machine's now. Needs the
/// right to send raw packets (CAP_NET_RAW).
pub fn tickle(file: &Path) -> Exit {
    let text = match read_bounded(file, MAX_FILE) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        // The other box has told of no miner, or was never heard.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Exit::Ok,
        Err(error) => {
            complain(format_args!("{} cannot be read: {error}.", file.display()));
            return Exit::Unavailable;
        }
    };
    let connections = tickle::connections(&text);
    let began = Instant::now();
    let mut outcome = Ok(0);
    for round in ROUNDS {
        thread::sleep(round.saturating_sub(began.elapsed()));
        outcome = send(&connections);
    }
    match outcome {
        Ok(told) => {
            say(format_args!("{told} of {} connections were told.", connections.len()));
            Exit::Ok
        }
        Err(error) => {
            complain(format_args!("No raw packets can be sent: {error}."));
            Exit::Unavailable
        }
    }
}

/// Sends one segment for each connection; how many went out. Whoever cannot be reached is left out, and so is an
/// address that is not this machine's.
fn send(connections: &[Connection]) -> io::Result<usize> {
    let mut sockets: BTreeMap<IpAddr, Option<Socket>> = BTreeMap::new();
    let mut sent = 0;
    for connection in connections {
        let ours = connection.ours.ip();
        let socket = match sockets.get(&ours) {
            Some(socket) => socket,
            None => {
                let socket = bound(ours)?;
                sockets.entry(ours).or_insert(socket)
            }
        };
        let Some(socket) = socket else { continue };
        // A raw socket's address has no port.
        let to = SocketAddr::new(connection.miner.ip(), 0);
        sent += usize::from(socket.send_to(&tickle::segment(connection), &to.into()).is_ok());
    }
    Ok(sent)
}

/// A raw socket that sends TCP from an address; `None` where the address is not this machine's.
fn bound(ip: IpAddr) -> io::Result<Option<Socket>> {
    let domain = if ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::TCP))?;
    // It is sent a copy of every segment that comes here, and reads none.
    socket.set_recv_buffer_size(1)?;
    socket.set_nonblocking(true)?;
    Ok(socket.bind(&SocketAddr::new(ip, 0).into()).is_ok().then_some(socket))
}
