//! The door in a hostile house: a thousand connections that say nothing, hardly anything, or half a
//! handshake, from two hundred addresses, held against the miners' port and the page. Miners that have
//! mined here come back at once, new ones get in, and the page answers. In a network of its own, by IPv4
//! and IPv6. Beside it, half handshakes of Stratum V2 alone, in thousands.
//!
//! Twenty seconds; `SOLOIST_DOOR=300` says for how many, `SOLOIST_LONG=1` is five minutes.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_io::{Async, Timer};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use smol::LocalExecutor;
use socket2::{Domain, Socket, Type};
use soloist::demo::chain::{Outcome, Rules, SandboxChain};
use soloist::demo::coins::free_script;
use soloist::demo::node::{SandboxConfig, SandboxNode};

use crate::common::daemon::{Daemon, Miner};
use crate::common::miner_v2::{Introduction, Line, MinerV2};
use crate::common::network::in_a_network_of_its_own;
use crate::common::{free_port, wait_for};

/// Our addresses in it.
const BOX: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 66, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 0, 1)),
];

/// The first act of Stratum V2, after which nothing comes that fits.
const HALF_A_HANDSHAKE: [u8; 64] = [0xa7; 64];

const KNOWN_AT_MOST: Duration = Duration::from_secs(1);
const NEW_AT_MOST: Duration = Duration::from_secs(10);
const PAGE_AT_MOST: Duration = Duration::from_secs(1);

#[test]
fn a_hostile_house_keeps_neither_miners_nor_readers_out() {
    let name = "door_e2e::a_hostile_house_keeps_neither_miners_nor_readers_out";
    in_the_house(name, inside);
}

/// `SOLOIST_LONG=1`: ten thousand.
#[test]
fn half_handshakes_of_stratum_v2_are_bounded_and_told_and_keep_no_miner_out() {
    let name = "door_e2e::half_handshakes_of_stratum_v2_are_bounded_and_told_and_keep_no_miner_out";
    in_the_house(name, half_handshakes);
}

fn in_the_house(name: &str, inside: fn()) {
    in_a_network_of_its_own(name, "the door", || {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, most.min(8192), most).unwrap();
        make_network();
        inside();
    });
}

fn inside() {
    let seconds = std::env::var("SOLOIST_DOOR").ok().and_then(|text| text.parse().ok());
    let long = std::env::var_os("SOLOIST_LONG").map(|_| 300);
    let length = Duration::from_secs(seconds.or(long).unwrap_or(20));
    let node = node();
    let mut daemon = Daemon::start(&entry_of(&node));
    daemon.edit(|text| {
        text.replace(&format!("\"{}\"", daemon.stratum), &everywhere(daemon.stratum.port()))
            .replace(&format!("\"{}\"", daemon.http), &everywhere(daemon.http.port()))
            .replace("[http]\n", "[http]\npin = \"246813\"\n")
            .replace("level = \"debug\"", "level = \"info\"")
    });
    daemon.stop();
    daemon.launch();
    daemon.wait_ready();
    let ports = (daemon.stratum.port(), daemon.http.port());

    // Two miners that have mined here, one of them in the IPv6 network of half the attackers.
    let known = [address(200, 1), "fd66::fffe".parse().unwrap()];
    for (from, to) in known.into_iter().zip(BOX) {
        let mut miner =
            Miner::begin(connect(from, (to, ports.0).into()).unwrap(), "bitaxe", "known");
        assert_eq!(miner.mine().0["result"], true);
    }
    daemon.stop();
    let text = std::fs::read_to_string(daemon.data().join("known-miners")).unwrap_or_default();
    assert!(known.iter().all(|known| text.contains(&known.to_string())), "{text}");
    daemon.launch();
    daemon.wait_ready();

    let mut owner = Owner::log_in("fd66::fffd".parse().unwrap(), (BOX[1], ports.1).into());

    let over = Arc::new(AtomicBool::new(false));
    let attack = thread::spawn({
        let over = over.clone();
        move || attack(ports, &over)
    });
    thread::sleep(Duration::from_secs(3));
    let watch = |name: &'static str,
                 at_most: Duration,
                 mut trial: Box<dyn FnMut(usize) -> Duration + Send>| {
        let over = over.clone();
        thread::spawn(move || {
            let mut times = Vec::new();
            let mut round = 0;
            while !over.load(Ordering::Relaxed) {
                times.push(trial(round));
                round += 1;
                thread::sleep(Duration::from_millis(1300));
            }
            (name, at_most, times)
        })
    };
    let stratum = move |n: usize| SocketAddr::new(BOX[n], ports.0);
    let page = move |n: usize| SocketAddr::new(BOX[n], ports.1);
    let mut watches = Vec::new();
    let names = [
        ["known miner, IPv4", "new miner, IPv4", "page, IPv4"],
        ["known miner, IPv6", "new miner, IPv6", "page, IPv6"],
    ];
    for (n, names) in names.into_iter().enumerate() {
        let from = known[n];
        let first_job = move |_| job_within(from, stratum(n), KNOWN_AT_MOST * 10);
        watches.push(watch(names[0], KNOWN_AT_MOST, Box::new(first_job)));
        let newcomer = move |round: usize| match n {
            0 => address(201, round as u8),
            _ => network(0x2000 + round as u16),
        };
        let first_job = move |round| job_within(newcomer(round), stratum(n), NEW_AT_MOST * 3);
        watches.push(watch(names[1], NEW_AT_MOST, Box::new(first_job)));
        let reader = if n == 0 { address(202, 1) } else { network(0x3000) };
        let answer = move |_| answer_within(reader, page(n), PAGE_AT_MOST * 10);
        watches.push(watch(names[2], PAGE_AT_MOST, Box::new(answer)));
    }
    watches.push(watch("owner, IPv6", PAGE_AT_MOST, Box::new(move |_| owner.asks())));
    thread::sleep(length);
    let metrics = daemon.text("/metrics");
    let shown = daemon.text("/");
    let status = daemon.status().unwrap();
    over.store(true, Ordering::Relaxed);

    println!("{:<20} {:>6} {:>10} {:>10}", "in ms", "times", "median", "max");
    let mut late = Vec::new();
    for watch in watches {
        let (name, at_most, mut times) = watch.join().unwrap();
        times.sort();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (median, max) = (times[times.len() / 2], *times.last().unwrap());
        println!("{name:<20} {:>6} {:>10.1} {:>10.1}", times.len(), ms(median), ms(max));
        if max > at_most {
            late.push(format!("{name}: {max:?}"));
        }
    }
    let (tries, open) = attack.join().unwrap();
    println!("{tries} connections of attackers in {length:?}, {open} open at the end");
    let mut dropped = metrics.lines().filter(|line| line.contains("_drops_total{"));
    println!("{}", dropped.clone().collect::<Vec<_>>().join("\n"));
    assert!(late.is_empty(), "{late:?}");
    for port in ["stratum", "page"] {
        let row = format!("soloist_{port}_drops_total{{cause=\"made_room\"}} ");
        let count = dropped.find_map(|line| line.strip_prefix(&row)?.parse::<u64>().ok());
        assert!(count > Some(0), "{port}: {count:?}");
        assert!(status[port]["made_room"]["count"].as_u64() > Some(0), "{}", status[port]);
    }
    assert!(shown.contains("were closed to make room, most from"), "the page tells of it");
    let told = daemon.log().matches("to make room").count();
    assert!((2..=2 + 2 * (length.as_secs() as usize / 60)).contains(&told), "{told} events");

    // All places are taken by miners who say who they are and send no share.
    let idle: Vec<TcpStream> =
        (0..80).filter_map(|n| introduced(address(203, n), (BOX[0], ports.0).into())).collect();
    assert!(idle.len() >= 64, "{}", idle.len());
    let mut back = Vec::new();
    for (from, to) in known.into_iter().zip(BOX) {
        let started = Instant::now();
        let mut stream = connect(from, (to, ports.0).into()).unwrap();
        first_job(&mut stream, "known").expect("a job");
        let took = started.elapsed();
        back.push(stream);
        println!("{from} among {} idle miners: {took:?}", idle.len());
        assert!(took < KNOWN_AT_MOST, "{took:?}");
    }
    // What the page shows may be a second old.
    wait_for("the count of seats without a share", || {
        let metrics = daemon.text("/metrics");
        let row = "soloist_stratum_drops_total{cause=\"no_share\"} ";
        let count = metrics.lines().find_map(|line| line.strip_prefix(row)?.parse::<u64>().ok());
        (count > Some(0)).then_some(())
    });
}

fn entry_of(node: &SandboxNode) -> String {
    format!(
        "[node]\nrpc_url = \"http://{}\"\nrpc_user = \"u\"\nrpc_pass = \"p\"\np2p_addr = \"off\"\n",
        node.rpc_address()
    )
}

fn everywhere(port: u16) -> String {
    format!("[\"0.0.0.0:{port}\", \"[::]:{port}\"]")
}

/// Connections that greet as a miner of Stratum V2 does and say no more, or only half of that.
fn half_handshakes() {
    let length = if std::env::var_os("SOLOIST_LONG").is_some() { 10_000 } else { 4_000 };
    let node = node();
    let mut daemon = Daemon::start(&entry_of(&node));
    let v2 = free_port();
    daemon.edit(|text| {
        text.replace(
            &format!("listen = \"{}\"", daemon.stratum),
            &format!(
                "listen = {}\nv2_listen = {}",
                everywhere(daemon.stratum.port()),
                everywhere(v2)
            ),
        )
        .replace("level = \"debug\"", "level = \"info\"")
    });
    daemon.stop();
    daemon.launch();
    daemon.wait_ready();
    let to = |from: IpAddr, port| box_for(from, port);
    let v1 = daemon.stratum.port();

    // A miner of either protocol has mined here.
    let (old, new) = (address(200, 1), address(200, 2));
    let mut miner = Miner::begin(connect(old, to(old, v1)).unwrap(), "bitaxe", "known");
    assert_eq!(miner.mine().0["result"], true);
    let (mut miner, channel) = v2_miner(new, to(new, v2)).unwrap();
    // The first one's share may have been a block, and this one's job of before it.
    wait_for("a share of V2 that counts", || match miner.mine(channel).0 {
        Ok(()) => Some(()),
        Err(why) => {
            assert_eq!(why, "stale-share");
            None
        }
    });
    drop(miner);
    daemon.stop();
    daemon.launch();
    daemon.wait_ready();

    let pid = daemon.pid();
    let descriptors = move || std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let (calm, resident) = (descriptors(), daemon.proc_status("VmRSS:"));
    let over = Arc::new(AtomicBool::new(false));
    let watch = thread::spawn({
        let over = over.clone();
        move || {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = most.max(descriptors());
                thread::sleep(Duration::from_millis(20));
            }
            most
        }
    });
    let trials = [(old, v1), (new, v2)].map(|(from, port)| {
        let (over, to) = (over.clone(), to(from, port));
        thread::spawn(move || {
            let mut times = Vec::new();
            while !over.load(Ordering::Relaxed) {
                times.push(match port == v1 {
                    true => job_within(from, to, KNOWN_AT_MOST * 10),
                    false => within(KNOWN_AT_MOST * 10, || v2_miner(from, to).map(drop)),
                });
                // More often, and it would be a storm.
                thread::sleep(Duration::from_millis(1300));
            }
            times
        })
    });
    let started = Instant::now();
    let crowd = attackers();
    // As many as this process may have open; the box has closed the older ones long since.
    let mut open = VecDeque::new();
    for n in 0..length {
        let from = crowd[n % crowd.len()];
        let Ok(mut stream) = connect(from, to(from, v2)) else { continue };
        let mut greeting = HALF_A_HANDSHAKE;
        greeting[..8].copy_from_slice(&(n as u64).to_le_bytes());
        // One in four stops in the middle of it.
        stream.write_all(&greeting[..if n % 4 == 0 { 40 } else { 64 }]).ok();
        if open.len() == 4096 {
            open.pop_front();
        }
        open.push_back(stream);
    }
    let (took, held) = (started.elapsed(), descriptors());
    thread::sleep(Duration::from_secs(3));
    over.store(true, Ordering::Relaxed);
    let (most, grown) = (watch.join().unwrap(), daemon.proc_status("VmHWM:"));
    println!(
        "{length} half handshakes in {took:?}: {calm} open descriptors before, at most {most}, {held} at \
         the end; {resident} kB resident before, at most {grown}"
    );
    for (name, trial) in ["known miner, V1", "known miner, V2"].into_iter().zip(trials) {
        let mut times = trial.join().unwrap();
        times.sort();
        let (median, max) = (times[times.len() / 2], *times.last().unwrap());
        println!("{name}: {} times, median {median:?}, max {max:?}", times.len());
        assert!(max < KNOWN_AT_MOST, "{name}: {max:?}");
    }
    // The hall has 256 places; a few are on their way out.
    assert!(most <= calm + 256 + 100, "{most} open descriptors");
    assert!(grown <= resident + 8 * 1024, "{grown} kB after {resident}");

    let row = "soloist_stratum_drops_total{cause=\"made_room\"} ";
    let counted = wait_for("the count", || {
        let metrics = daemon.text("/metrics");
        let count: usize = metrics.lines().find_map(|line| line.strip_prefix(row)?.parse().ok())?;
        (count + 256 + 50 >= length).then_some(count)
    });
    println!("{counted} made room");
    assert!(daemon.log().contains("to make room"));
    assert!(daemon.text("/").contains("were closed to make room, most from"));
    drop(open);
    wait_for("all of them to be gone", || (descriptors() <= calm + 10).then_some(()));
}

/// A miner of Stratum V2 with its first job.
fn v2_miner(from: IpAddr, to: SocketAddr) -> Option<(MinerV2, u32)> {
    let line = Line::greet(connect(from, to).ok()?, None).ok()?;
    let mut miner = MinerV2::begin(line, to, &Introduction::BITAXE).ok()?;
    let channel = miner.try_open("known.v2", Some(2)).ok()?;
    miner.wait_work(channel);
    Some((miner, channel))
}

/// A miner that said who it is, with its job.
fn introduced(from: IpAddr, to: SocketAddr) -> Option<TcpStream> {
    let mut stream = connect(from, to).ok()?;
    first_job(&mut stream, "idle")?;
    Some(stream)
}

fn box_for(from: IpAddr, port: u16) -> SocketAddr {
    (BOX[usize::from(from.is_ipv6())], port).into()
}

fn address(c: u8, d: u8) -> IpAddr {
    Ipv4Addr::new(10, 66, c, d).into()
}

/// An address in a network of its own.
fn network(n: u16) -> IpAddr {
    Ipv6Addr::new(0xfd66, 0, 0, n, 0, 0, 0, 7).into()
}

/// A hundred IPv4 addresses, fifty of one IPv6 network, and fifty of fifty networks.
fn attackers() -> Vec<IpAddr> {
    let four = (0..100).map(|n| address(100, n));
    let one = (0..50).map(|n| Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 1, n).into());
    four.chain(one).chain((1..=50).map(network)).collect()
}

/// A pair of interfaces of which one has all addresses: what one sends to another stays in the machine.
fn make_network() {
    let mut script = String::from("link add house type veth peer name wall\n");
    script += "link set house up\nlink set wall up\n";
    let mut all = attackers();
    all.extend(BOX);
    all.push("fd66::fffd".parse().unwrap());
    all.extend([
        address(200, 1),
        address(200, 2),
        "fd66::fffe".parse().unwrap(),
        address(202, 1),
        network(0x3000),
    ]);
    all.extend((0..=255).map(|n| address(201, n)));
    all.extend((0..256).map(|n| network(0x2000 + n)));
    all.extend((0..80).map(|n| address(203, n)));
    for address in all {
        // A tentative IPv6 address cannot be bound to.
        script += &match address {
            IpAddr::V4(address) => format!("addr add {address}/16 dev house\n"),
            IpAddr::V6(address) => format!("addr add {address}/64 dev house nodad\n"),
        };
    }
    let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    ip.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(ip.wait().unwrap().success());
}

/// A node on whose chain every second hash is a block.
fn node() -> SandboxNode {
    let rules = Rules::regtest();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut chain = SandboxChain::new(rules);
    for height in 1..=103 {
        assert_eq!(chain.mine(free_script(), now - 7200 + height * 60), Outcome::Connected);
    }
    let config = SandboxConfig {
        name: "easy".into(),
        user: "u".into(),
        password: "p".into(),
        rules,
        transactions_per_block: 3,
        transaction_every: Duration::from_secs(600),
    };
    SandboxNode::start(config, chain, None).unwrap()
}

fn socket(from: IpAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address((from, 0).into()), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    Ok(socket)
}

fn connect(from: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = socket(from)?;
    socket.connect_timeout(&to.into(), Duration::from_secs(5))?;
    Ok(socket.into())
}

/// The time until a miner has its job. It comes back a second after it was sent away, and sends
/// everything at one go, as ESP-Miner does.
fn job_within(from: IpAddr, to: SocketAddr, at_most: Duration) -> Duration {
    within(at_most, || first_job(&mut connect(from, to).ok()?, "known"))
}

/// The same for whoever tries so.
fn within(at_most: Duration, attempt: impl Fn() -> Option<()>) -> Duration {
    let started = Instant::now();
    while started.elapsed() < at_most {
        if attempt().is_some() {
            return started.elapsed();
        }
        thread::sleep(Duration::from_secs(1));
    }
    started.elapsed()
}

fn first_job(stream: &mut TcpStream, name: &str) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let hello = format!(
        "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"bitaxe/BM1370/v2.13.1\"]}}\n\
         {{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"{name}\",\"x\"]}}\n\
         {{\"id\":3,\"method\":\"mining.suggest_difficulty\",\"params\":[1000]}}\n"
    );
    stream.write_all(hello.as_bytes()).ok()?;
    let mut lines = BufReader::new(stream).lines();
    lines.find_map(|line| line.ok()?.contains("mining.notify\",\"params").then_some(()))
}

/// The time until the page is there.
fn answer_within(from: IpAddr, to: SocketAddr, at_most: Duration) -> Duration {
    let started = Instant::now();
    while started.elapsed() < at_most {
        if page(from, to).is_some() {
            return started.elapsed();
        }
        thread::sleep(Duration::from_millis(200));
    }
    started.elapsed()
}

fn page(from: IpAddr, to: SocketAddr) -> Option<()> {
    let mut stream = connect(from, to).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: solo\r\nConnection: close\r\n\r\n").ok()?;
    let mut page = String::new();
    stream.read_to_string(&mut page).ok()?;
    (page.starts_with("HTTP/1.1 200") && page.contains("</html>")).then_some(())
}

/// The owner's browser, in the network of half the attackers, with one connection all the time.
struct Owner {
    cookie: String,
    stream: BufReader<TcpStream>,
}

impl Owner {
    fn log_in(from: IpAddr, to: SocketAddr) -> Owner {
        let stream = connect(from, to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut owner = Owner { cookie: String::new(), stream: BufReader::new(stream) };
        let form = "Origin: http://solo\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                    Content-Length: 10\r\n\r\npin=246813";
        let head = wait_for("the PIN to be known", || {
            let head = owner.call(&format!("POST /login HTTP/1.1\r\nHost: solo\r\n{form}"));
            head.contains("set-cookie: ").then_some(head)
        });
        let (_, cookie) = head.split_once("set-cookie: ").unwrap();
        owner.cookie = cookie.split(';').next().unwrap().to_owned();
        owner
    }

    /// How long the answer took. The connection must not have ended since the last one.
    fn asks(&mut self) -> Duration {
        let started = Instant::now();
        let request = format!("GET / HTTP/1.1\r\nHost: solo\r\nCookie: {}\r\n\r\n", self.cookie);
        assert!(self.call(&request).starts_with("http/1.1 200"), "the owner is not answered");
        started.elapsed()
    }

    /// The head of the answer, in small letters.
    fn call(&mut self, request: &str) -> String {
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            line.make_ascii_lowercase();
            assert!(!line.is_empty(), "the owner's connection was closed");
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
            head += &line;
        }
        self.stream.read_exact(&mut vec![0; length]).unwrap();
        head
    }
}

/// Five connections of each address, all the time: how many there were, and are.
fn attack((stratum, page): (u16, u16), over: &AtomicBool) -> (u64, u64) {
    let executor = LocalExecutor::new();
    let counts = Rc::new((Cell::new(0), Cell::new(0)));
    for from in attackers() {
        let to = |port| box_for(from, port);
        let subscribe = "{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"slow/1.0\"]}\n";
        let head = "GET / HTTP/1.1\r\nHost: solo\r\nUser-Agent: slow\r\nAccept: */*\r\n\r\n";
        let live = "GET /api/events HTTP/1.1\r\nHost: solo\r\n\r\n";
        let live = if reads_updates(from) { live.as_bytes() } else { b"" };
        for (port, at_once, slowly) in [
            (stratum, &b""[..], ""),
            (stratum, &HALF_A_HANDSHAKE, ""),
            (stratum, b"", subscribe),
            (page, b"", head),
            (page, live, ""),
        ] {
            executor.spawn(hold(from, to(port), at_once, slowly, counts.clone())).detach();
        }
    }
    async_io::block_on(executor.run(async {
        while !over.load(Ordering::Relaxed) {
            Timer::after(Duration::from_millis(100)).await;
        }
    }));
    (counts.0.get(), counts.1.get())
}

/// Half of the addresses read live updates, and do not read them.
fn reads_updates(from: IpAddr) -> bool {
    match from {
        IpAddr::V4(from) => from.octets()[3] % 2 == 0,
        IpAddr::V6(from) => (from.segments()[3] + from.segments()[7]) % 2 == 0,
    }
}

/// Holds a place as long as it is let, and comes back a moment later.
async fn hold(
    from: IpAddr,
    to: SocketAddr,
    at_once: &'static [u8],
    slowly: &'static str,
    counts: Rc<(Cell<u64>, Cell<u64>)>,
) {
    loop {
        if let Some(mut stream) = enter(from, to).await {
            counts.0.set(counts.0.get() + 1);
            counts.1.set(counts.1.get() + 1);
            stream.write_all(at_once).await.ok();
            for byte in slowly.bytes() {
                Timer::after(Duration::from_secs(1)).await;
                if stream.write_all(&[byte]).await.is_err() {
                    break;
                }
            }
            // Who has asked for something does not read it; the others wait for the end.
            match at_once {
                b"" => drop(stream.read_to_end(&mut Vec::new()).await),
                _ => until_closed(&stream).await,
            }
            counts.1.set(counts.1.get() - 1);
        }
        Timer::after(Duration::from_millis(200)).await;
    }
}

async fn enter(from: IpAddr, to: SocketAddr) -> Option<Async<TcpStream>> {
    let socket = socket(from).ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.connect(&to.into()).ok();
    let stream = Async::new_nonblocking(TcpStream::from(socket)).ok()?;
    let limit = async {
        Timer::after(Duration::from_secs(5)).await;
        Err(std::io::ErrorKind::TimedOut.into())
    };
    future::or(stream.writable(), limit).await.ok()?;
    stream.get_ref().peer_addr().ok()?;
    Some(stream)
}

/// Without reading: whether writing still works.
async fn until_closed(stream: &Async<TcpStream>) {
    while stream.get_ref().take_error().is_ok_and(|error| error.is_none())
        && (&*stream).write_all(b"\r\n").await.is_ok()
    {
        Timer::after(Duration::from_secs(1)).await;
    }
}
