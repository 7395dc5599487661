//! Two boxes and a miner, each in a network of its own on one bridge. Real keepalived holds the shared address, with
//! the configuration that Soloist makes; the boxes are real daemons, each with a sandbox node. What breaks at the
//! box that has the address, and how long the miner is without a job.
//!
//! The times are medians of three; `SOLOIST_PAIR=9` says of how many.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use soloist::demo::chain::{Outcome, Rules, SandboxChain};
use soloist::demo::coins::free_script;
use soloist::demo::node::{SandboxConfig, SandboxNode};

use crate::common::daemon::{Daemon, Miner, program};
use crate::common::network::{in_a_network_of_its_own, inside_network_of};
use crate::common::wait_for;
use crate::{alone, disk::Disk};

/// The miner, and the machine of both nodes.
const HERE: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 100);
const SHARED: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 240);
const SECRET: &str = "7KQ2M-XW4RT-9BZ0C-HJ6PD-V5EY3-8NAFG";
const STRATUM: u16 = 3333;
const PAGE: u16 = 8080;
/// The miner is without a job for no longer, as a median.
const AT_MOST: Duration = Duration::from_secs(3);

/// One of the two boxes.
struct TheBox {
    own: Ipv4Addr,
    /// Its network lives as long as this process, and is named by it.
    network: Child,
    /// Our end of its cable.
    cable: String,
    daemon: Daemon,
    keepalived: Option<Child>,
    node: SandboxNode,
    /// Nothing of it says anything any more.
    is_dead: Arc<AtomicBool>,
    _way_to_node: Forward,
    disk: Option<Disk>,
    dir: tempfile::TempDir,
}

impl TheBox {
    fn start(n: u8, card: Option<fn(&Path, &Path) -> Disk>) -> TheBox {
        let own = Ipv4Addr::new(10, 88, 0, n);
        let network = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec sleep 3600"])
            .stdout(Stdio::piped())
            .spawn();
        let mut network = network.unwrap();
        let mut line = String::new();
        BufReader::new(network.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let (pid, cable) = (network.id(), format!("cable{n}"));
        ip(&format!("link add {cable} type veth peer name eth0 netns {pid}"));
        ip(&format!("link set {cable} master house up"));
        let inside = format!(
            "link set lo up\nlink set eth0 up\naddr add {own}/24 dev eth0\naddr add fd88::{n}/64 dev eth0 nodad\n"
        );
        batch(inside_network_of(pid, "ip"), &inside);

        let node = node();
        let way_to_node = Forward::start(node.rpc_address());
        let entry = format!(
            "[node]\nrpc_url = \"http://u:p@{}\"\np2p_addr = \"off\"\n",
            way_to_node.listen
        );
        let mut daemon = Daemon::still();
        daemon.network_of = Some(pid);
        daemon.stratum = ([0, 0, 0, 0], STRATUM).into();
        daemon.http = ([0, 0, 0, 0], PAGE).into();
        let partner = Ipv4Addr::new(10, 88, 0, 3 - n);
        let pair = format!(
            "[pair]\npartner = \"{partner}\"\nvirtual_address = \"{SHARED}/24\"\nsecret = \"{SECRET}\"\n"
        );
        daemon.configure(&entry, &pair);
        daemon.edit(|text| text.replace("level = \"debug\"", "level = \"info\""));
        daemon.stratum = (own, STRATUM).into();
        daemon.http = (own, PAGE).into();
        fs::create_dir(daemon.data()).unwrap();
        let disk = card.map(|make| make(daemon.config().parent().unwrap(), &daemon.data()));
        // As if they had met before: their jobs have different ids.
        fs::write(daemon.data().join("run"), format!("{}\n", 1000 * u32::from(n))).unwrap();
        daemon.launch();
        daemon.wait_ready();
        let dir = tempfile::tempdir().unwrap();
        TheBox {
            own,
            network,
            cable,
            daemon,
            keepalived: None,
            node,
            is_dead: Arc::default(),
            disk,
            _way_to_node: way_to_node,
            dir,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts keepalived, which shares the address with the other box.
    fn hold(&mut self) {
        let made = inside_network_of(self.network.id(), program())
            .args(["pair", "keepalived", "--config"])
            .arg(self.daemon.config())
            .arg("--connections")
            .arg(self.file("connections"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        fs::write(self.file("keepalived.conf"), made.stdout).unwrap();
        // Those of one that was killed; a unit's directory goes with it.
        for pid in ["pid", "vrrp_pid"] {
            fs::remove_file(self.file(pid)).ok();
        }
        let log = fs::File::options().create(true).append(true).open(self.file("log")).unwrap();
        let keepalived = inside_network_of(self.network.id(), "keepalived")
            .args(["--dont-fork", "--log-console", "--log-detail"])
            .arg("--use-file")
            .arg(self.file("keepalived.conf"))
            .arg("--pid")
            .arg(self.file("pid"))
            .arg("--vrrp_pid")
            .arg(self.file("vrrp_pid"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.keepalived = Some(keepalived.unwrap());
        self.is_dead.store(false, Ordering::Relaxed);
    }

    fn has_the_address(&self) -> bool {
        let shown = inside_network_of(self.network.id(), "ip").args(["-o", "addr"]).output();
        let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
        shown.contains(&format!(" {SHARED}/"))
    }

    /// All that runs on it.
    fn processes(&self) -> Vec<Pid> {
        let mut all = vec![self.daemon.pid().as_raw() as u32];
        all.extend(self.keepalived.as_ref().map(Child::id));
        for n in 0.. {
            let Some(parent) = all.get(n) else { break };
            let children = format!("/proc/{parent}/task/{parent}/children");
            let children = fs::read_to_string(children).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        all.into_iter().map(|pid| Pid::from_raw(pid as i32)).collect()
    }

    /// Children first: keepalived's child gives the address up when its parent ends.
    fn signal_all(&self, signal: Signal) {
        for pid in self.processes().into_iter().rev() {
            // One may have ended.
            let _ = kill(pid, signal);
        }
    }

    fn kill_all(&mut self) {
        self.is_dead.store(true, Ordering::Relaxed);
        self.signal_all(Signal::SIGKILL);
        self.daemon.kill();
        if let Some(mut keepalived) = self.keepalived.take() {
            keepalived.wait().unwrap();
        }
    }

    /// A file of its directory in memory.
    fn in_memory(&self, name: &str) -> Vec<u8> {
        fs::read(self.daemon.runtime().unwrap().join(name)).unwrap_or_default()
    }

    fn cable(&self, state: &str) {
        ip(&format!("link set {} {state}", self.cable));
    }

    fn is_ready(&self) -> bool {
        let url = format!("http://{}/health/ready", self.daemon.http);
        minreq::get(url).with_timeout(2).send().is_ok_and(|answer| answer.status_code == 200)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }
}

impl Drop for TheBox {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- keepalived's log at {} ---\n{}", self.own, self.log());
        }
        if self.keepalived.is_some() {
            self.signal_all(Signal::SIGKILL);
            self.keepalived.take().unwrap().wait().ok();
        }
        self.daemon.kill();
        if self.disk.is_some() {
            Command::new("umount").arg("-l").arg(self.daemon.data()).status().ok();
        }
        self.network.kill().ok();
        self.network.wait().ok();
    }
}

/// The house: a bridge, and both boxes at it.
struct House {
    boxes: [TheBox; 2],
    /// Whether a box tells the other of its miners' connections.
    tells: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    teller: Option<JoinHandle<()>>,
}

impl House {
    fn start(card: Option<fn(&Path, &Path) -> Disk>) -> House {
        ip("link add house type bridge forward_delay 0");
        ip("link set house up");
        ip(&format!("addr add {HERE}/24 dev house"));
        let mut boxes = [1, 2].map(|n| TheBox::start(n, card));
        SandboxNode::link(&boxes[0].node, &boxes[1].node);
        boxes.iter_mut().for_each(TheBox::hold);
        let tells = Arc::new(AtomicBool::new(true));
        let over = Arc::new(AtomicBool::new(false));
        let teller = {
            let places = [0, 1].map(|n: usize| {
                (boxes[n].network.id(), boxes[1 - n].file("connections"), boxes[n].is_dead.clone())
            });
            let (tells, over) = (tells.clone(), over.clone());
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    for (network, file, is_dead) in &places {
                        if !is_dead.load(Ordering::Relaxed) {
                            tell(*network, file, tells.load(Ordering::Relaxed));
                        }
                    }
                    thread::sleep(Duration::from_millis(100));
                }
            })
        };
        House { boxes, tells, over, teller: Some(teller) }
    }

    /// Waits until one box has the address and both are well; which one it is.
    fn wait_for_one(&self) -> usize {
        wait_for("both boxes to be ready, and one to have the address", || {
            let has = [0, 1].map(|n: usize| self.boxes[n].has_the_address());
            let ready = self.boxes.iter().all(TheBox::is_ready);
            (ready && has[0] != has[1]).then_some(usize::from(has[1]))
        })
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(teller) = self.teller.take() {
            teller.join().ok();
        }
    }
}

/// Writes what the channel between the boxes would tell: the miners' connections to the shared address in a network.
/// One with none of them may have just lost the address.
fn tell(network: u32, file: &Path, tells: bool) {
    let table = fs::read_to_string(format!("/proc/{network}/net/tcp")).unwrap_or_default();
    let mut text = String::new();
    for line in table.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (ours, miner) = (address(words[1]), address(words[2]));
        // 01: established.
        if words[3] == "01" && ours == SocketAddr::from((SHARED, STRATUM)) {
            text += &format!("{ours} {miner}\n");
        }
    }
    if !tells {
        text.clear();
    }
    let new = file.with_extension("new");
    if fs::write(&new, text).is_ok() {
        fs::rename(new, file).ok();
    }
}

/// As `/proc/net/tcp` writes it: in the machine's byte order.
fn address(text: &str) -> SocketAddr {
    let (ip, port) = text.split_once(':').unwrap();
    let ip = u32::from_str_radix(ip, 16).unwrap().to_ne_bytes();
    SocketAddr::new(IpAddr::from(ip), u16::from_str_radix(port, 16).unwrap())
}

/// A node that is reached from the whole house.
struct Forward {
    listen: SocketAddr,
}

impl Forward {
    fn start(to: SocketAddr) -> Forward {
        let listener = TcpListener::bind((HERE, 0)).unwrap();
        let listen = listener.local_addr().unwrap();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // A dead node hangs up.
                let Ok(far) = TcpStream::connect(to) else { continue };
                for (mut from, mut to) in
                    [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)]
                {
                    thread::spawn(move || {
                        io::copy(&mut from, &mut to).ok();
                        to.shutdown(Shutdown::Both).ok();
                        from.shutdown(Shutdown::Both).ok();
                    });
                }
            }
        });
        Forward { listen }
    }
}

/// A node on the chain that both nodes have.
fn node() -> SandboxNode {
    static BEGAN: Mutex<Option<u64>> = Mutex::new(None);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let began = *BEGAN.lock().unwrap().get_or_insert_with(now);
    let rules = Rules::regtest();
    let mut chain = SandboxChain::new(rules);
    for height in 1..=103 {
        assert_eq!(chain.mine(free_script(), began - 7200 + height * 60), Outcome::Connected);
    }
    let config = SandboxConfig {
        name: "own".into(),
        user: "u".into(),
        password: "p".into(),
        rules,
        transactions_per_block: 3,
        transaction_every: Duration::from_secs(600),
    };
    SandboxNode::start(config, chain, None).unwrap()
}

fn ip(line: &str) {
    batch(Command::new("ip"), line);
}

fn batch(mut ip: Command, lines: &str) {
    let mut child = ip.args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{lines}\n").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{lines}");
}

/// A miner at the shared address.
struct Rig {
    miner: Miner,
    stream: TcpStream,
}

impl Rig {
    /// As a miner does that is sent away: again.
    fn connect() -> Rig {
        let at = SocketAddr::from((SHARED, STRATUM));
        wait_for("a job at the shared address", || {
            let stream = TcpStream::connect_timeout(&at, Duration::from_secs(1)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let kept = stream.try_clone().unwrap();
            let miner = Miner::try_begin(stream, "bitaxe/BM1370/v2.15.0", "attic")?;
            Some(Rig { miner, stream: kept })
        })
    }

    /// Reads until its connection is reset.
    fn until_reset(mut self) {
        while self.miner.next_line().is_some() {}
    }
}

/// From when on the miner's time counts.
#[derive(Clone, Copy)]
enum From {
    Fault,
    NotReady,
}

/// What a fault cost: until the connection was reset, until there was a job again, and until a share counted.
#[derive(Clone, Copy)]
struct Outage {
    reset: Duration,
    job: Duration,
    share: Duration,
    /// The address went back when the box was mended.
    went_back: bool,
}

impl House {
    /// When a box said that it is not ready. A card that takes nothing is noticed when something is written to it: a
    /// block, or the shares of a minute.
    fn not_ready(&self, active: usize) -> Instant {
        let asked = Instant::now();
        while self.boxes[active].is_ready() {
            assert!(asked.elapsed() < Duration::from_secs(180), "it is ready for ever");
            thread::sleep(Duration::from_millis(50));
        }
        println!("noticed after {:?}", asked.elapsed());
        Instant::now()
    }

    /// Breaks something at the box that has the address, while a miner reads; which box that was, and what it cost.
    fn broken(&mut self, from: From, break_it: impl Fn(&mut TheBox)) -> (usize, Outage) {
        let active = self.wait_for_one();
        let mut rig = Rig::connect();
        assert_eq!(rig.miner.mine_and_go_on().0["result"], true);
        // The other box has heard of the connection, and has the new tip.
        thread::sleep(Duration::from_millis(500));
        let mut began = Instant::now();
        break_it(&mut self.boxes[active]);
        if matches!(from, From::NotReady) {
            // A block is what must be written at once. It counts all the same.
            assert_eq!(rig.miner.mine().0["result"], true);
            began = self.not_ready(active);
        }
        rig.until_reset();
        let reset = began.elapsed();
        let mut rig = Rig::connect();
        let job = began.elapsed();
        assert_eq!(rig.miner.mine().0["result"], true);
        let share = began.elapsed();
        assert!(self.boxes[1 - active].has_the_address());
        (active, Outage { reset, job, share, went_back: false })
    }

    /// The same, and then mends it.
    fn outage(&mut self, break_it: impl Fn(&mut TheBox), mend: impl Fn(&mut TheBox)) -> Outage {
        let (active, outage) = self.broken(From::Fault, break_it);
        mend(&mut self.boxes[active]);
        // Time enough for the box to be heard again.
        thread::sleep(Duration::from_secs(3));
        Outage { went_back: self.wait_for_one() == active, ..outage }
    }
}

#[test]
fn a_miner_has_a_job_again_whatever_breaks_at_the_box_that_has_the_address() {
    let name = "pair_e2e::a_miner_has_a_job_again_whatever_breaks_at_the_box_that_has_the_address";
    in_the_house(name, breaks);
}

#[test]
fn a_miner_that_reads_a_dead_connection_is_told() {
    in_the_house("pair_e2e::a_miner_that_reads_a_dead_connection_is_told", tickled);
}

#[test]
fn a_box_whose_card_takes_nothing_gives_the_address_up() {
    in_the_house("pair_e2e::a_box_whose_card_takes_nothing_gives_the_address_up", failing);
}

#[test]
fn what_a_miner_found_for_a_dead_box_counts_at_the_other() {
    in_the_house("pair_e2e::what_a_miner_found_for_a_dead_box_counts_at_the_other", late_blocks);
}

fn in_the_house(name: &str, inside: fn()) {
    let _alone = alone();
    let what = "two boxes that share an address";
    if Command::new("keepalived").arg("--version").output().is_err() {
        assert!(std::env::var_os("SOLOIST_REQUIRE_NODES").is_none(), "keepalived is missing");
        return println!("*** NOT TESTED *** {what}: Debian's keepalived is not installed");
    }
    in_a_network_of_its_own(name, what, inside);
}

fn breaks() {
    let mut house = House::start(None);
    let times = std::env::var("SOLOIST_PAIR").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let mut rows = Vec::new();
    let mut row = |what: &'static str, mut one: Box<dyn FnMut() -> Outage + '_>| {
        let mut outages: Vec<Outage> = (0..times).map(|_| one()).collect();
        outages.sort_by_key(|outage| outage.job);
        println!("{what}: {:?}", outages.iter().map(|outage| outage.job).collect::<Vec<_>>());
        rows.push((what, outages));
    };
    row(
        "all its processes killed",
        Box::new(|| {
            house.outage(TheBox::kill_all, |killed| {
                killed.daemon.launch();
                killed.hold();
            })
        }),
    );
    row(
        "switched off",
        Box::new(|| {
            let off = |it: &mut TheBox| {
                it.cable("down");
                it.kill_all();
            };
            house.outage(off, |killed| {
                killed.cable("up");
                killed.daemon.launch();
                killed.hold();
            })
        }),
    );
    row("unplugged", Box::new(|| house.outage(|it| it.cable("down"), |it| it.cable("up"))));
    row(
        "frozen",
        Box::new(|| {
            let stop = |it: &mut TheBox| it.signal_all(Signal::SIGSTOP);
            house.outage(stop, |it| it.signal_all(Signal::SIGCONT))
        }),
    );
    row(
        "its daemon killed",
        Box::new(|| house.outage(|it| it.daemon.kill(), |it| it.daemon.launch())),
    );
    row(
        "its daemon frozen",
        Box::new(|| {
            let stop = |it: &mut TheBox| it.daemon.signal(Signal::SIGSTOP);
            house.outage(stop, |it| it.daemon.signal(Signal::SIGCONT))
        }),
    );
    row(
        "its only node dead",
        Box::new(|| house.outage(|it| it.node.kill(), |it| it.node.restart().unwrap())),
    );
    println!("in s                        times    reset      job    share    worst  went back");
    for (what, outages) in &rows {
        let middle = outages[outages.len() / 2];
        let worst = outages.iter().map(|outage| outage.job).max().unwrap();
        let [reset, job, share, worst] =
            [middle.reset, middle.job, middle.share, worst].map(|time| time.as_secs_f64());
        let (count, back) =
            (outages.len(), outages.iter().filter(|outage| outage.went_back).count());
        println!(
            "{what:<26} {count:>6} {reset:>8.2} {job:>8.2} {share:>8.2} {worst:>8.2} {back:>10}"
        );
    }
    let late: Vec<_> =
        rows.iter().filter(|(_, outages)| outages[outages.len() / 2].job > AT_MOST).collect();
    assert!(late.is_empty(), "{:?}", late.iter().map(|(what, _)| what).collect::<Vec<_>>());
}

fn tickled() {
    let mut house = House::start(None);
    let told = house.outage(|it| it.cable("down"), |it| it.cable("up"));
    println!("told by the other box: its connection was reset after {:?}", told.reset);

    house.tells.store(false, Ordering::Relaxed);
    let active = house.wait_for_one();
    let rig = Rig::connect();
    thread::sleep(Duration::from_millis(500));
    house.boxes[active].cable("down");
    wait_for("the other box to have the address", || {
        house.boxes[1 - active].has_the_address().then_some(())
    });
    rig.stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let began = Instant::now();
    let mut rig = rig;
    let read = || {
        let mut line = String::new();
        let mut reader = BufReader::new(rig.stream.try_clone().unwrap());
        loop {
            match reader.read_line(&mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(error.kind()),
            }
        }
    };
    let kind = read();
    println!("not told: after {:?} it still reads ({kind:?})", began.elapsed());
    assert_eq!(kind, Some(io::ErrorKind::WouldBlock), "nobody told it");
    assert!(told.reset < Duration::from_secs(5), "{:?}", told.reset);
    // It notices when it sends.
    rig.miner.send(&serde_json::json!({"id": 99, "method": "mining.ping", "params": []}));
    rig.stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let began = Instant::now();
    rig.until_reset();
    println!("and is reset {:?} after it sent something", began.elapsed());
    house.boxes[active].cable("up");
}

/// With what the boxes tell each other themselves. On this chain every share is a block.
fn late_blocks() {
    let mut house = House::start(None);
    let mut times = Vec::new();
    for _ in 0..3 {
        let active = house.wait_for_one();
        let at = SocketAddr::from((SHARED, STRATUM));
        let mut miner = Miner::connect(at, "cgminer/4.11.1", "attic");
        let [here, other] = [active, 1 - active].map(|n: usize| &house.boxes[n]);
        wait_for("the copy of the jobs to be whole", || {
            let copy = other.in_memory("pair-jobs");
            (copy.len() > 100 && copy == here.in_memory("jobs")).then_some(())
        });
        let told = String::from_utf8(other.in_memory("pair-connections")).unwrap();
        assert!(told.starts_with(&format!("{at} {HERE}:")) && told.lines().count() == 1, "{told}");
        let (late, hash) = miner.solve();
        let began = Instant::now();
        house.boxes[active].kill_all();
        while miner.next_line().is_some() {}
        let mut again = wait_for("the miner to be back", || {
            let stream = TcpStream::connect_timeout(&at, Duration::from_secs(1)).ok()?;
            miner.try_resume(stream, "cgminer/4.11.1")
        });
        assert_eq!(again.call("mining.submit", late)["result"], true);
        times.push(began.elapsed());
        let other = &house.boxes[1 - active];
        wait_for("the block in the other box's ledger", || {
            let blocks = other.daemon.blocks();
            blocks.first().is_some_and(|block| block["hash"] == hash).then_some(())
        });
        let header = hash.parse().unwrap();
        wait_for("the block at its node", || {
            other.node.chain().block(&header).is_some().then_some(())
        });
        house.boxes[active].daemon.launch();
        house.boxes[active].hold();
        thread::sleep(Duration::from_secs(3));
    }
    times.sort();
    println!("from the death of a box to the first late share that counts: {times:?}");
    assert!(times[1] < AT_MOST, "{times:?}");
}

/// A card on which every write fails.
fn failing() {
    if let Err(error) = Disk::new(tempfile::tempdir().unwrap().path(), 32 << 20) {
        return println!("*** NOT TESTED *** a card that takes nothing: no emulated disk: {error}");
    }
    let mut house = House::start(Some(card));
    let fail = |it: &mut TheBox| it.disk.as_ref().unwrap().fail(true);
    let (_, outage) = house.broken(From::NotReady, fail);
    println!("a card that takes nothing: a job {:?} after that was noticed", outage.job);
    assert!(outage.job < AT_MOST * 3, "{:?}", outage.job);
}

/// An emulated card below `dir`, which is seen at `data`.
fn card(dir: &Path, data: &Path) -> Disk {
    let disk = Disk::new(dir, 32 << 20).unwrap();
    let bind = Command::new("mount").arg("--bind").arg(dir.join("mnt")).arg(data).status();
    assert!(bind.unwrap().success());
    disk
}
