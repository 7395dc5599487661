//! What forty devices cost that are asked, beside forty miners: processor time, memory, bytes on the card,
//! and how long a share waits for its answer. In one run with the same program that asks nobody and, where
//! `SOLOIST_OLD` names it, with the build before. A table is printed; nothing of it is asserted.
//!
//! In a network of its own, as only private addresses are asked. `SOLOIST_DEVICES=20` says for how many
//! seconds; with `SOLOIST_LONG=1` it is eleven minutes, so that the ledger's batch of ten minutes is in it.
//! Without either it does not run: its figures are for people.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use serde_json::json;

use crate::common::daemon::{Daemon, Miner};
use crate::common::device::{Device, Kind};
use crate::common::free_port;
use crate::common::network::{connect_from, in_a_network_of_its_own};
use crate::common::sandbox::sandbox_with;

const MINERS: u8 = 40;
/// Where the box is.
const BOX: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Where a miner is, and its device.
fn place(miner: u8) -> IpAddr {
    Ipv4Addr::new(10, 77, 1, miner + 1).into()
}

#[test]
fn forty_devices_that_are_asked_beside_forty_miners() {
    let Some(length) = length() else {
        println!("not run: SOLOIST_DEVICES=20 runs it for 20 s");
        return;
    };
    let _alone = crate::alone();
    let name = "devices_load::forty_devices_that_are_asked_beside_forty_miners";
    in_a_network_of_its_own(name, "forty devices", || inside(length));
}

/// One of the programs that are compared.
struct Contender {
    name: &'static str,
    daemon: Daemon,
    miners: Vec<Miner>,
}

impl Contender {
    fn start(name: &'static str, entry: &str, more: &str, build: Option<&str>) -> Contender {
        let mut daemon = Daemon::still();
        daemon.program = build.map(Into::into);
        daemon.stratum = SocketAddr::from((BOX, free_port()));
        daemon.configure(entry, more);
        daemon.edit(|text| text.replace("level = \"debug\"", "level = \"info\""));
        daemon.launch();
        daemon.wait_ready();
        let begin = |miner| {
            let stream = connect_from(place(miner), daemon.stratum);
            Miner::begin(stream, "bitaxe/BM1370/v2.15.0", &format!("miner{miner}"))
        };
        let miners = (0..MINERS).map(begin).collect();
        Contender { name, daemon, miners }
    }

    fn processor(&self) -> Duration {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.daemon.pid())).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    }

    fn written(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/io", self.daemon.pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
        line.parse().unwrap()
    }
}

/// How long it runs.
fn length() -> Option<Duration> {
    let seconds = env::var("SOLOIST_DEVICES").ok().and_then(|text| text.parse().ok());
    let long = env::var_os("SOLOIST_LONG").map(|_| 660);
    seconds.or(long).map(Duration::from_secs)
}

fn inside(length: Duration) {
    let ip = |args: &[&str]| assert!(Command::new("ip").args(args).status().unwrap().success());
    ip(&["link", "set", "lo", "up"]);
    ip(&["addr", "add", &format!("{BOX}/32"), "dev", "lo"]);
    for miner in 0..MINERS {
        ip(&["addr", "add", &format!("{}/32", place(miner)), "dev", "lo"]);
    }
    let devices: Vec<Device> = (0..MINERS)
        .map(|miner| Device::start(Kind::AxeOs2_15, SocketAddr::from((place(miner), 80))))
        .collect();
    let (_node, entry) = sandbox_with(0x1d00_ffff);
    let old = env::var("SOLOIST_OLD").ok();
    let mut contenders = vec![
        Contender::start("asks forty devices", &entry, "", None),
        Contender::start("asks nobody", &entry, "[devices]\nask = false\n", None),
    ];
    if let Some(old) = &old {
        contenders.push(Contender::start("the build before", &entry, "", Some(old)));
    }
    // The first answers, and the memory for them.
    thread::sleep(Duration::from_secs(12));
    let asked = devices.iter().filter(|device| !device.requests().is_empty()).count();
    println!("{asked} of {MINERS} devices were asked at least once; then {} s", length.as_secs());
    let over = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let questions = || devices.iter().map(|device| device.requests().len()).sum::<usize>();
    let asked_before = questions();
    let before: Vec<(Duration, u64)> =
        contenders.iter().map(|one| (one.processor(), one.written())).collect();
    let loads: Vec<_> = contenders
        .iter_mut()
        .map(|contender| {
            let (miners, over) = (std::mem::take(&mut contender.miners), over.clone());
            thread::spawn(move || load(miners, &over))
        })
        .collect();
    thread::sleep(length);
    let used: Vec<(Duration, u64, [u64; 2])> = contenders
        .iter()
        .zip(&before)
        .map(|(one, (processor, written))| {
            let memory = ["VmRSS:", "RssAnon:"].map(|name| one.daemon.proc_status(name));
            (one.processor() - *processor, one.written() - *written, memory)
        })
        .collect();
    let seconds = begun.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    println!(
        "| | % of a core | resident, kB | of it anonymous | written, kB | share: median | p99 |"
    );
    println!("|---|---|---|---|---|---|---|");
    for ((contender, (processor, written, [resident, anonymous])), load) in
        contenders.iter().zip(used).zip(loads)
    {
        let mut times = load.join().unwrap();
        times.sort_unstable();
        let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
        println!(
            "| {} | {:.3} | {resident} | {anonymous} | {} | {:.3} ms | {:.3} ms |",
            contender.name,
            processor.as_secs_f64() / seconds * 100.0,
            written / 1000,
            at(50),
            at(99),
        );
    }
    let asked = questions() - asked_before;
    println!("{asked} questions in {seconds:.0} s");
    assert!(asked > 0, "the devices were not asked");
}

/// Forty miners, each with a share every two seconds; each is too easy, and answered so after it was checked
/// completely.
fn load(mut miners: Vec<Miner>, over: &AtomicBool) -> Vec<Duration> {
    let mut times = Vec::new();
    let mut nonce = 0u32;
    while !over.load(Ordering::Relaxed) {
        for miner in &mut miners {
            nonce += 1;
            let job = miner.job[0].clone();
            let time = miner.job[7].clone();
            let share =
                json!(["worker", job, format!("{nonce:016x}"), time, format!("{nonce:08x}")]);
            let sent = Instant::now();
            miner.call("mining.submit", share);
            times.push(sent.elapsed());
            thread::sleep(Duration::from_millis(50));
        }
    }
    times
}
