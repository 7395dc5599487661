//! Connections of miners that outlive the program: restarts, crashes and updates of the real program under
//! miners that mine, with the part of systemd that keeps sockets.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use soloist::chain::BlockHash;
use soloist::difficulty::Target;
use soloist::hash::{Midstate, header_hashes};

use crate::common::daemon::Daemon;
use crate::common::manager::Manager;
use crate::common::miner_v2::{Goal, Introduction, MinerV2};
use crate::common::sandbox::sandbox;
use crate::common::{free_port, wait_for};
use crate::miners_e2e::{Client, SHARE, decode, secure, targets, tcp};

type Plain = Client<TcpStream>;

/// A daemon whose sockets are kept; `None` where this machine has no directory in memory.
fn managed(entry: &str, more: &str) -> Option<Daemon> {
    let mut daemon = Daemon::still();
    if daemon.runtime().is_none() {
        println!("*** NOT TESTED *** no /dev/shm here");
        return None;
    }
    daemon.manager = Some(Manager::new());
    daemon.configure(entry, more);
    daemon.launch();
    daemon.wait_ready();
    Some(daemon)
}

fn manager(daemon: &Daemon) -> &Manager {
    daemon.manager.as_ref().unwrap()
}

fn wait_kept(daemon: &Daemon, miners: usize) {
    let kept = || (manager(daemon).miners() == miners).then_some(());
    wait_for(&format!("{miners} sockets to be kept"), kept);
}

fn begin(daemon: &Daemon, name: &str) -> Plain {
    let mut client = Client::subscribe(tcp(daemon.stratum), None);
    client.begin(name);
    client
}

/// Reads until the connection ends.
fn wait_end(client: &mut Plain) {
    while client.reader.read_line(&mut String::new()).unwrap_or(0) > 0 {}
}

/// How many runs there were.
fn runs(daemon: &Daemon) -> usize {
    daemon.log().matches(" started.").count()
}

/// What became of the connections, as the newest run tells it.
fn told(daemon: &Daemon) -> String {
    let line = wait_for("the line of the log", || {
        let log = daemon.log();
        let (_, run) = log.rsplit_once(" started.")?;
        run.lines().find(|line| line.contains("went on over")).map(str::to_owned)
    });
    line.split_once("] ").map_or(line.clone(), |(_, text)| text.to_owned())
}

/// The connections file of the daemon.
fn file(daemon: &Daemon) -> PathBuf {
    daemon.runtime().unwrap().join("connections")
}

/// A share of the present job, found by the fastest way there is.
fn quick<S: Read + Write>(client: &Client<S>, n: u64, easy: Target, hard: Target) -> Value {
    let header = client.header(n);
    let tail = header[64..76].first_chunk().unwrap();
    let midstate = Midstate::of_header(&header);
    let top = (65_535.0 / 65_536.0 / SHARE) as u32;
    let mut from = 0;
    loop {
        let hit = header_hashes(&midstate, tail, from..=u32::MAX, top).unwrap();
        let hash = BlockHash(hit.hash);
        if easy.is_met_by(&hash) && !hard.is_met_by(&hash) {
            return client.share(n, hit.nonce);
        }
        from = hit.nonce + 1;
    }
}

/// Sends a call; its answer, null where none comes within the connection's patience, or `None` where the
/// connection ends before.
fn try_call<S: Read + Write>(client: &mut Client<S>, method: &str, params: Value) -> Option<Value> {
    let id = client.next_id;
    client.next_id += 1;
    let line = format!("{}\n", json!({"id": id, "method": method, "params": params}));
    client.reader.get_mut().write_all(line.as_bytes()).ok()?;
    client.reader.get_mut().flush().ok()?;
    loop {
        let mut line = String::new();
        match client.reader.read_line(&mut line) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(Value::Null),
            Err(_) => return None,
        }
        // A line that is not whole, or one that was put into another, is none.
        let value: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if value["method"] == "mining.notify" {
            client.job = value["params"].clone();
        }
        if value["id"] == id && value["method"].is_null() {
            return Some(value);
        }
    }
}

/// What one miner has seen.
#[derive(Debug, Default)]
struct Seen {
    accepted: u64,
    refused: Vec<String>,
    unanswered: u64,
    ended: u64,
    longest: Duration,
}

impl Seen {
    fn note(&mut self, sent: Instant, answer: Option<Result<(), String>>) {
        match answer {
            Some(Ok(())) => {
                self.accepted += 1;
                self.longest = self.longest.max(sent.elapsed());
            }
            Some(Err(why)) => self.refused.push(why),
            None => (self.unanswered, self.ended) = (self.unanswered + 1, self.ended + 1),
        }
    }
}

fn verdict(answer: &Value) -> Result<(), String> {
    if answer["result"] == true { Ok(()) } else { Err(answer.to_string()) }
}

/// A miner that has a job; `None` where its connection ends before.
fn hello<S: Read + Write>(stream: S, name: &str) -> Option<Client<S>> {
    let mut client = Client {
        reader: BufReader::new(stream),
        extranonce1: Vec::new(),
        session: String::new(),
        job: Value::Null,
        next_id: 1,
    };
    let answer = try_call(&mut client, "mining.subscribe", json!(["cgminer/4.11.1"]))?;
    client.extranonce1 = decode(answer["result"][1].as_str()?);
    try_call(&mut client, "mining.authorize", json!([name, format!("d={SHARE}")]))?;
    while client.job.is_null() {
        // A run that was killed does not answer; the next one hangs up who has no job.
        let answer = try_call(&mut client, "mining.ping", json!([]))?;
        if answer.is_null() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(client)
}

/// A miner of Stratum V1 that mines until it is told to end, and comes back whenever it is hung up.
fn mine_v1<S: Read + Write>(
    connect: impl Fn() -> Option<S>,
    name: &str,
    (easy, hard): (Target, Target),
    ends: &AtomicBool,
) -> Seen {
    let mut seen = Seen::default();
    let mut n = 0;
    while !ends.load(Ordering::Acquire) {
        let Some(stream) = connect() else {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        let Some(mut client) = hello(stream, name) else { continue };
        while !ends.load(Ordering::Acquire) {
            n += 1;
            let share = quick(&client, n, easy, hard);
            let sent = Instant::now();
            let answer = try_call(&mut client, "mining.submit", share);
            let hung_up = answer.is_none();
            // The run that has read it was killed before it answered.
            match answer {
                Some(Value::Null) => seen.unanswered += 1,
                answer => seen.note(sent, answer.as_ref().map(verdict)),
            }
            if hung_up {
                break;
            }
            std::thread::sleep(PAUSE);
        }
    }
    seen
}

/// The same by Stratum V2.
fn mine_v2(address: SocketAddr, name: &str, ends: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !ends.load(Ordering::Acquire) {
        let hello = catch_unwind(AssertUnwindSafe(|| {
            let mut miner = MinerV2::connect(address, None, &Introduction::BITAXE);
            let channel = miner.open_extended(&format!("{name},d={SHARE}"), 4);
            miner.wait_work(channel);
            (miner, channel)
        }));
        let Ok((mut miner, channel)) = hello else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        while !ends.load(Ordering::Acquire) {
            let sent = Instant::now();
            let answer = catch_unwind(AssertUnwindSafe(|| {
                let found = miner.find(channel, Goal::OnlyShare);
                miner.submit_one(&found)
            }));
            let hung_up = answer.is_err();
            seen.note(sent, answer.ok());
            if hung_up {
                break;
            }
            std::thread::sleep(PAUSE);
        }
    }
    seen
}

/// From one share of a miner to the next: the machine is to have time for the daemon.
const PAUSE: Duration = Duration::from_millis(2000);

const PLAIN: usize = 32;
const TLS: usize = 4;
const V2: usize = 4;

/// Forty miners of all kinds mine while `disturb` does something to the daemon; what each has seen, and the
/// daemon with its ledger read.
fn forty_miners(disturb: impl FnOnce(&mut Daemon)) -> Option<(Daemon, BTreeMap<String, Seen>)> {
    let (node, entry) = sandbox();
    let mut daemon = managed(&entry, "")?;
    let tls = SocketAddr::from(([127, 0, 0, 1], free_port()));
    daemon.stop();
    daemon
        .edit(|text| text.replace("[stratum]\n", &format!("[stratum]\ntls_listen = \"{tls}\"\n")));
    daemon.launch();
    daemon.wait_ready();
    let cert = daemon.data().join("tls/cert.pem");
    let pem = wait_for("the certificate", || fs::read_to_string(&cert).ok());
    let (stratum, goals) = (daemon.stratum, targets(&node));
    let ends = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for n in 0..PLAIN + TLS + V2 {
            let (ends, pem) = (&ends, &pem);
            let name = match n {
                n if n < PLAIN => format!("plain.{n}"),
                n if n < PLAIN + TLS => format!("tls.{n}"),
                n => format!("v2.{n}"),
            };
            let own = name.clone();
            let mine = move || match n {
                n if n < PLAIN => {
                    let connect = || {
                        let stream = TcpStream::connect(stratum).ok()?;
                        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
                        Some(stream)
                    };
                    mine_v1(connect, &own, goals, ends)
                }
                n if n < PLAIN + TLS => {
                    let connect = || {
                        TcpStream::connect(tls).ok()?;
                        let secure = || secure(tls, "127.0.0.1", pem).ok();
                        catch_unwind(AssertUnwindSafe(secure)).ok().flatten()
                    };
                    mine_v1(connect, &own, goals, ends)
                }
                _ => mine_v2(stratum, &own, ends),
            };
            threads.push((name, scope.spawn(mine)));
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            wait_kept(&daemon, PLAIN);
            std::thread::sleep(Duration::from_secs(2));
            disturb(&mut daemon);
            std::thread::sleep(Duration::from_secs(2));
        }));
        ends.store(true, Ordering::Release);
        let seen = threads.into_iter().map(|(name, one)| (name, one.join().unwrap())).collect();
        outcome.map(|()| seen).unwrap_or_else(|_| panic!("{}", daemon.log()))
    });
    Some((daemon, seen))
}

/// The shares that the ledger has of each miner.
fn counted(daemon: &Daemon, seen: &BTreeMap<String, Seen>) -> BTreeMap<String, u64> {
    let mined = seen.values().filter(|seen| seen.accepted > 0).count();
    wait_for("the ledger to be read", || {
        let miners = daemon.get("/api/miners")?;
        let miners = miners["miners"].as_array()?.iter();
        let counted: BTreeMap<String, u64> = miners
            .filter_map(|miner| {
                Some((miner["name"].as_str()?.to_owned(), miner["accepted"].as_u64()?))
            })
            .collect();
        (counted.len() >= mined).then_some(counted)
    })
}

/// How many of these miners' shares were counted, and what is wrong with it.
fn compare(
    seen: &BTreeMap<String, Seen>,
    counted: &BTreeMap<String, u64>,
) -> (u64, Vec<(String, i64)>) {
    let all = seen.values().map(|seen| seen.accepted).sum();
    let wrong = seen.iter().filter_map(|(name, seen)| {
        let by = counted.get(name).copied().unwrap_or(0) as i64 - seen.accepted as i64;
        (by != 0).then(|| (name.clone(), by))
    });
    (all, wrong.collect())
}

#[test]
fn restarts_under_forty_miners_lose_no_connection_and_no_share() {
    let rounds = if std::env::var_os("SOLOIST_LONG").is_some() { 50 } else { 5 };
    let run = forty_miners(|daemon| {
        for _ in 0..rounds {
            let runs = runs(daemon);
            assert!(daemon.stop().success());
            daemon.launch();
            // A signal before that would find a program that does not know it yet.
            wait_for("the next run", || (self::runs(daemon) > runs).then_some(()));
            std::thread::sleep(Duration::from_millis(600));
        }
    });
    let Some((mut daemon, seen)) = run else { return };
    // What is on the card, not what is in memory.
    assert!(daemon.stop().success());
    daemon.launch();
    let counted = counted(&daemon, &seen);
    let (all, wrong) = compare(&seen, &counted);
    let plain = || seen.iter().filter(|(name, _)| name.starts_with("plain"));
    let lost: u64 = plain().map(|(_, seen)| seen.ended).sum();
    let longest = plain().map(|(_, seen)| seen.longest).max().unwrap();
    let others: u64 = seen.values().map(|seen| seen.ended).sum::<u64>() - lost;
    println!(
        "{rounds} restarts under {PLAIN} plain miners, {TLS} with TLS and {V2} of Stratum V2: {all} shares \
         accepted, {lost} plain connections lost ({others} of the others ended), the longest wait for an \
         answer {longest:?}"
    );
    assert_eq!(lost, 0, "{seen:#?}");
    assert!(seen.values().all(|seen| seen.refused.is_empty()), "{seen:#?}");
    assert_eq!(wrong, [], "counted too many or too few");
    assert!(all > 2 * rounds, "they mined");
}

#[test]
fn kills_under_forty_miners_lose_no_connection_and_count_nothing_twice() {
    const KILLS: u64 = 10;
    let run = forty_miners(|daemon| {
        for _ in 0..KILLS {
            daemon.kill();
            daemon.launch();
            std::thread::sleep(Duration::from_millis(1000));
        }
    });
    let Some((mut daemon, seen)) = run else { return };
    assert!(daemon.stop().success());
    daemon.launch();
    let counted = counted(&daemon, &seen);
    let (all, wrong) = compare(&seen, &counted);
    let plain = || seen.iter().filter(|(name, _)| name.starts_with("plain"));
    let lost: u64 = plain().map(|(_, seen)| seen.ended).sum();
    let unanswered: u64 = seen.values().map(|seen| seen.unanswered).sum();
    println!(
        "{KILLS} kills under {} miners: {all} shares accepted, {lost} plain connections lost, {unanswered} \
         shares unanswered, the ledger against the answers: {wrong:?}",
        seen.len()
    );
    assert_eq!(lost, 0, "{seen:#?}");
    assert!(seen.values().all(|seen| seen.refused.is_empty()), "{seen:#?}");
    // What was answered is counted, and once; what was read and not answered may be.
    for (name, by) in wrong {
        let unanswered = seen[&name].unanswered as i64;
        assert!((0..=unanswered).contains(&by), "{name}: {by}, {unanswered} unanswered");
    }
}

#[test]
fn a_connection_goes_on_over_restarts_and_crashes_and_no_share_counts_twice() {
    let (node, entry) = sandbox();
    let Some(mut daemon) = managed(&entry, "") else { return };
    let (easy, hard) = targets(&node);
    let mut client = begin(&daemon, "anna");
    wait_kept(&daemon, 1);
    for round in 0..6 {
        let share = quick(&client, round, easy, hard);
        let started = Instant::now();
        if round % 2 == 1 {
            daemon.kill()
        } else {
            assert!(daemon.stop().success())
        }
        daemon.launch();
        let answer = client.call("mining.submit", share.clone());
        println!("{:?} to the answer", started.elapsed());
        assert_eq!(answer["result"], true, "{answer}");
        let again = client.call("mining.submit", share);
        assert_eq!(again["error"][0], 22, "{again}");
        assert!(
            told(&daemon).contains("1 connection of a miner went on over"),
            "{}",
            told(&daemon)
        );
    }
    // The other ends do not wait for a box that was stopped for good.
    assert!(daemon.stop().success());
    manager(&daemon).release();
    wait_end(&mut client);
    daemon.launch();
    daemon.wait_ready();
    // A miner that leaves is not kept.
    let client = begin(&daemon, "anna");
    wait_kept(&daemon, 1);
    drop(client);
    wait_kept(&daemon, 0);
}

/// Who calls between two runs waits for the next one, whatever it speaks.
#[test]
fn who_calls_between_two_runs_waits_for_the_next_one() {
    let (node, entry) = sandbox();
    let Some(mut daemon) = managed(&entry, "") else { return };
    begin(&daemon, "anna");
    for crashes in [false, true] {
        if crashes {
            daemon.kill()
        } else {
            assert!(daemon.stop().success())
        }
        let address = daemon.stratum;
        let callers: Vec<_> = (0..6)
            .map(|n| {
                std::thread::spawn(move || match n {
                    0..3 => {
                        let mut client: Plain = Client::subscribe(tcp(address), None);
                        client.begin("bert");
                    }
                    _ => {
                        let mut miner = MinerV2::connect(address, None, &Introduction::BITAXE);
                        let channel = miner.open_extended("anna", 4);
                        miner.wait_work(channel);
                    }
                })
            })
            .collect();
        // The page's readers wait as well.
        let page = daemon.http;
        let reader = std::thread::spawn(move || {
            minreq::get(format!("http://{page}/api/status"))
                .with_timeout(60)
                .send()
                .unwrap()
                .status_code
        });
        std::thread::sleep(Duration::from_millis(300));
        daemon.launch();
        for caller in callers {
            assert!(caller.join().is_ok(), "crashed: {crashes}");
        }
        assert_eq!(reader.join().unwrap(), 200);
    }
    // A node that has no work: who calls is refused after a while, to use another pool.
    assert!(daemon.stop().success());
    drop(node);
    daemon.launch();
    wait_for("callers to be refused", || TcpStream::connect(daemon.stratum).is_err().then_some(()));
}

/// The time from the signal to the first answered share, with the connection kept and with a new one. That
/// one is of another build where `SOLOIST_BESIDE` names it.
#[test]
fn the_gap_of_a_restart_is_a_part_of_what_a_new_connection_costs() {
    const ROUNDS: usize = 7;
    let (node, entry) = sandbox();
    let (easy, hard) = targets(&node);
    let gap = |daemon: &mut Daemon, keeps: bool| -> Duration {
        let mut client = begin(daemon, "anna");
        if keeps {
            wait_kept(daemon, 1);
        }
        let share = quick(&client, 1, easy, hard);
        // As a real ledger has it: something to be written.
        let other = quick(&client, 2, easy, hard);
        assert_eq!(client.call("mining.submit", other)["result"], true);
        let (address, session) = (daemon.stratum, client.session.clone());
        let signalled = Instant::now();
        daemon.signal(Signal::SIGTERM);
        let answered = std::thread::spawn(move || {
            if !keeps {
                while client.reader.read_line(&mut String::new()).unwrap_or(0) > 0 {}
                let stream = loop {
                    if let Ok(stream) = TcpStream::connect(address) {
                        break stream;
                    }
                    std::thread::sleep(Duration::from_millis(2));
                };
                client = Client::subscribe(stream, Some(&session));
            } else {
                // While the run before still reads, it would answer.
                std::thread::sleep(Duration::from_millis(5));
            }
            let answer = client.call("mining.submit", share);
            assert_eq!(answer["result"], true, "{answer}");
            (signalled.elapsed(), client)
        });
        assert!(daemon.stop().success());
        daemon.launch();
        let (gap, client) = answered.join().unwrap();
        drop(client);
        daemon.wait_ready();
        gap
    };
    let Some(mut kept) = managed(&entry, "") else { return };
    let mut alone = Daemon::still();
    // An older build, which cannot do it.
    alone.program = std::env::var_os("SOLOIST_BESIDE").map(PathBuf::from);
    let knows_p2p = alone.program.is_none();
    alone.configure(&if knows_p2p { entry } else { entry.replace("p2p_addr = \"off\"\n", "") }, "");
    alone.launch();
    alone.wait_ready();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        with.push(gap(&mut kept, true));
        without.push(gap(&mut alone, false));
    }
    with.sort();
    without.sort();
    let median = |all: &[Duration]| all[all.len() / 2].as_secs_f64() * 1e3;
    println!(
        "from the signal to the first answered share, medians of {ROUNDS}: {:.0} ms with the connection kept \
         ({with:?}), {:.0} ms with a new one ({without:?}): {:.2} of it",
        median(&with),
        median(&without),
        median(&with) / median(&without)
    );
}

#[test]
fn a_block_at_the_moment_of_a_restart_is_in_the_chain_and_in_the_ledger_once() {
    let (node, entry) = sandbox();
    let Some(mut daemon) = managed(&entry, "") else { return };
    let (_, hard) = targets(&node);
    let mut client = begin(&daemon, "anna");
    wait_kept(&daemon, 1);
    let mut hashes = Vec::new();
    for round in 0..8 {
        let (block, hash) = client.mine(round, hard, None);
        let before = node.chain().tip().to_string();
        let wait = Duration::from_millis(4 * round);
        let mut stream = client.reader.get_ref().try_clone().unwrap();
        let id = client.next_id;
        client.next_id += 1;
        let line = format!("{}\n", json!({"id": id, "method": "mining.submit", "params": block}));
        let sender = std::thread::spawn(move || {
            std::thread::sleep(wait);
            stream.write_all(line.as_bytes()).unwrap();
        });
        let runs = runs(&daemon);
        assert!(daemon.stop().success());
        daemon.launch();
        sender.join().unwrap();
        let answer = loop {
            let line = client.line();
            if line["id"] == id && line["method"].is_null() {
                break line;
            }
        };
        assert_eq!(answer["result"], true, "round {round}: {answer}");
        wait_for("the node to have the block", || {
            (node.chain().tip().to_string() == hash.to_string()).then_some(())
        });
        assert_ne!(before, hash.to_string());
        while client.job[1].as_str() == block_parent(&before).as_deref() {
            client.line();
        }
        hashes.push(hash.to_string());
        // All of it may have been the run before's, and a signal would find a program that does not know it.
        wait_for("the next run", || (self::runs(&daemon) > runs).then_some(()));
    }
    assert!(daemon.stop().success());
    daemon.launch();
    let blocks = wait_for("the blocks", || {
        let blocks = daemon.blocks();
        (blocks.len() >= hashes.len()).then_some(blocks)
    });
    let mut known: Vec<&str> = blocks.iter().map(|block| block["hash"].as_str().unwrap()).collect();
    known.reverse();
    assert_eq!(known, hashes, "each once");
}

/// A hash as it stands in a job: its words of four bytes in the other order.
fn block_parent(shown: &str) -> Option<String> {
    let words: Vec<&str> = (0..8).map(|n| shown.get(8 * n..8 * n + 8)).collect::<Option<_>>()?;
    Some(words.into_iter().rev().collect())
}

#[test]
fn a_file_that_is_not_right_costs_its_connections_and_nothing_else() {
    let (node, entry) = sandbox();
    let Some(mut daemon) = managed(&entry, "") else { return };
    let (easy, hard) = targets(&node);
    type Spoil = fn(&mut Vec<u8>);
    let spoils: [(&str, Spoil); 6] = [
        ("it is damaged", |bytes| bytes[100] ^= 1),
        ("another version of Soloist wrote it", |bytes| bytes[20] = b'2'),
        ("another version of Soloist wrote it", |bytes| bytes[20] = b'0'),
        ("another version of Soloist wrote it", Vec::clear),
        ("it is damaged", |bytes| bytes.extend_from_slice(&[0xff; 5000])),
        ("another version of Soloist wrote it", |bytes| *bytes = vec![0xff; 5000]),
    ];
    for (why, spoil) in spoils {
        let mut client = begin(&daemon, "anna");
        wait_kept(&daemon, 1);
        daemon.kill();
        let mut bytes = fs::read(file(&daemon)).unwrap();
        spoil(&mut bytes);
        fs::write(file(&daemon), bytes).unwrap();
        daemon.launch();
        wait_end(&mut client);
        assert!(told(&daemon).ends_with(&format!("cannot be used: {why}.")), "{}", told(&daemon));
        wait_kept(&daemon, 0);
        daemon.wait_ready();
    }
    // No file, no word of the one connection, and what is no connection at all.
    let mut clients = [begin(&daemon, "anna"), begin(&daemon, "bert")];
    wait_kept(&daemon, 2);
    daemon.kill();
    fs::remove_file(file(&daemon)).unwrap();
    let strange = TcpListener::bind("127.0.0.1:0").unwrap();
    let strange_address = strange.local_addr().unwrap();
    manager(&daemon).put("listener-old", strange.into());
    manager(&daemon).put("miner-0000000000000007", fs::File::open("/dev/null").unwrap().into());
    manager(&daemon).put("whatever", fs::File::open("/dev/null").unwrap().into());
    daemon.launch();
    clients.iter_mut().for_each(wait_end);
    assert!(told(&daemon).contains("nothing is known of it (3)"), "{}", told(&daemon));
    wait_for("the port to be free", || TcpListener::bind(strange_address).ok());
    wait_for("the store to be empty of them", || {
        let names = manager(&daemon).names();
        names.iter().all(|name| !name.starts_with("miner") && name != "listener-old").then_some(())
    });
    daemon.wait_ready();

    // Settings that are others: what a miner was told cannot be kept up, or it may not be here.
    for (old, new, why) in [
        (
            "[stratum]\n",
            "[stratum]\npassword = \"secret\"\n",
            "miners' password or the data directory",
        ),
        (
            "[stratum]\npassword = \"secret\"\n",
            "[stratum]\n",
            "miners' password or the data directory",
        ),
        (
            "[log]\n",
            "[[stratum.firmware]]\nprefix = \"cgminer\"\nextranonce2_size = 4\n[log]\n",
            "its firmware is to have another extranonce now (1)",
        ),
        (
            "[[stratum.firmware]]\nprefix = \"cgminer\"\nextranonce2_size = 4\n[log]\n",
            "[log]\n",
            "its firmware is to have another extranonce now (1)",
        ),
    ] {
        let password = if old.contains("secret") { ",secret" } else { "" };
        let mut client: Plain = Client::subscribe(tcp(daemon.stratum), None);
        client.call("mining.authorize", json!(["anna", format!("d={SHARE}{password}")]));
        while client.job.is_null() {
            client.line();
        }
        wait_kept(&daemon, 1);
        assert!(daemon.stop().success());
        daemon.edit(|text| text.replacen(old, new, 1));
        daemon.launch();
        wait_end(&mut client);
        assert!(told(&daemon).contains(why), "{why}: {}", told(&daemon));
        drop(client);
        wait_kept(&daemon, 0);
    }

    // Another port: nobody listens at the old one any more.
    let mut client = begin(&daemon, "anna");
    wait_kept(&daemon, 1);
    assert!(daemon.stop().success());
    let old = daemon.stratum;
    daemon.stratum = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let new = daemon.stratum;
    daemon.edit(|text| text.replacen(&old.to_string(), &new.to_string(), 1));
    daemon.launch();
    wait_end(&mut client);
    assert!(told(&daemon).contains("it came by a port that is no more (1)"), "{}", told(&daemon));
    wait_for("the old port to be free", || TcpListener::bind(old).ok());
    daemon.wait_ready();
    // Who is paid is no matter of the connection.
    let mut client = begin(&daemon, "anna");
    wait_kept(&daemon, 1);
    assert!(daemon.stop().success());
    daemon.edit(|text| text.replacen("[payout]\n", "[payout]\nper_miner = true\n", 1));
    daemon.launch();
    let share = quick(&client, 1, easy, hard);
    assert_eq!(client.call("mining.submit", share)["result"], true);
}

#[test]
fn the_program_starts_itself_anew_on_sigusr2_and_its_miners_go_on() {
    let (node, entry) = sandbox();
    let daemon = Daemon::start(&entry);
    if daemon.runtime().is_none() {
        println!("*** NOT TESTED *** no /dev/shm here");
        return;
    }
    daemon.wait_ready();
    let (easy, hard) = targets(&node);
    let mut clients: Vec<Plain> = (0..5).map(|n| begin(&daemon, &format!("anna.{n}"))).collect();
    let pid = daemon.pid();
    for round in 0..3 {
        let shares: Vec<Value> =
            clients.iter().map(|client| quick(client, round, easy, hard)).collect();
        daemon.signal(Signal::SIGUSR2);
        // A second press while the first is being obeyed is no harm.
        daemon.signal(Signal::SIGUSR2);
        let started = Instant::now();
        for (client, share) in clients.iter_mut().zip(shares) {
            assert_eq!(client.call("mining.submit", share)["result"], true);
        }
        println!("five answers {:?} after the signal", started.elapsed());
        let runs = 2 + round as usize;
        wait_for("the next run", || {
            (daemon.log().matches(" started.").count() >= runs).then_some(())
        });
        std::thread::sleep(Duration::from_millis(1500));
        assert!(told(&daemon).contains("5 connections of miners went on over a restart of"));
    }
    assert_eq!(daemon.pid(), pid);
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    println!("{open} descriptors are open after three times");
    assert!(open < 60, "none is left over: {open}");
    let new = begin(&daemon, "bert");
    drop(new);
}

/// A line that the run before has read half of, and lines that a miner has not read.
#[test]
fn half_a_line_in_either_direction_is_one_line_in_the_end() {
    let (node, entry) = sandbox();
    let Some(mut daemon) = managed(&entry, "") else { return };
    let (easy, hard) = targets(&node);
    let mut client = begin(&daemon, "anna");
    wait_kept(&daemon, 1);
    for (n, crashes) in [(1, false), (2, true)] {
        let share = quick(&client, n, easy, hard);
        let line =
            format!("{}\n", json!({"id": 1000 + n, "method": "mining.submit", "params": share}));
        let (head, tail) = line.as_bytes().split_at(40);
        client.reader.get_mut().write_all(head).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        if crashes {
            daemon.kill()
        } else {
            assert!(daemon.stop().success())
        }
        daemon.launch();
        std::thread::sleep(Duration::from_millis(300));
        client.reader.get_mut().write_all(tail).unwrap();
        let answer = loop {
            let line = client.line();
            if line["id"] == 1000 + n {
                break line;
            }
        };
        assert_eq!(answer["result"], true, "{answer}");
    }

    // A miner that does not read: what it was not sent is sent by the next run, after the half of a line
    // that the kernel took; after a crash nobody knows which half that was, and it is hung up.
    for crashes in [false, true] {
        let stream = slow_reader(daemon.stratum);
        let mut slow: Plain = Client::subscribe(stream, None);
        slow.begin("slow");
        wait_kept(&daemon, 2);
        // Not much more than it is willing to read of one miner: the rest would fill its end first.
        let word = format!("{}\n", json!({"id": 7, "method": "mining.ping", "params": []}));
        let mut asked: u64 = 0;
        let mut ask = |words: usize| {
            slow.reader.get_mut().write_all(word.repeat(words).as_bytes()).unwrap();
            asked += words as u64;
        };
        ask(800);
        let mut next = Instant::now();
        wait_for("a line to be stuck", || {
            if next <= Instant::now() {
                ask(40);
                next = Instant::now() + Duration::from_millis(100);
            }
            is_clogged(&daemon).then_some(())
        });
        let runs = runs(&daemon);
        if crashes {
            daemon.kill()
        } else {
            assert!(daemon.stop().success())
        }
        daemon.launch();
        wait_for("the next run", || (self::runs(&daemon) > runs).then_some(()));
        let (mut pongs, mut text) = (0, String::new());
        while pongs < asked && slow.reader.read_line(&mut text).is_ok_and(|read| read > 0) {
            if let Ok(line) = serde_json::from_str::<Value>(&text) {
                pongs += u64::from(line["result"] == "pong");
            } else {
                assert!(crashes, "no line: {text}");
            }
            text.clear();
        }
        println!("crashed: {crashes}; {pongs} of {asked} answers; {}", told(&daemon));
        if crashes {
            assert!(
                told(&daemon).contains("a line to it was cut by the crash (1)"),
                "{}",
                told(&daemon)
            );
        } else {
            assert_eq!(pongs, asked);
        }
        drop(slow);
        wait_kept(&daemon, 1);
        wait_for("the file to forget it", || (!is_clogged(&daemon)).then_some(()));
    }
}

/// A connection on which little fits.
fn slow_reader(address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    // As on an Ethernet: by the segments of the loopback the kernel would keep megabytes for it.
    socket.set_tcp_mss(1460).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Whether the file says of any connection that the kernel has not taken a line of it.
fn is_clogged(daemon: &Daemon) -> bool {
    use soloist::handover;
    use soloist::job_journal::Moment;
    use soloist::stratum::session::{Rules, SessionKey};
    let key = fs::read(daemon.data().join("session-key")).unwrap().try_into().unwrap();
    let rules = Rules {
        session_key: SessionKey(key),
        password: None,
        overrides: Vec::new(),
        payee_chains: Vec::new(),
    };
    let now = Moment { mono: Instant::now(), uptime: soloist::os::uptime() };
    let bytes = fs::read(file(daemon)).unwrap();
    let left =
        handover::read(now, &soloist::os::boot_id(), handover::terms(&rules), &bytes).unwrap();
    left.connections.values().any(|connection| connection.clogged)
}
