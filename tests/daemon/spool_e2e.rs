//! The spool of a running daemon: mature blocks leave it, nothing else does, and no disk holds up the
//! thread that serves the miners. Most of it depends on no node, and none answers then.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use soloist::block::SolvedBlock;
use soloist::block::StoredState;
use soloist::chain::BlockHash;
use soloist::hash::sha256d;
use soloist::spool::{MAX_MATURE, Spool};

use crate::common::daemon::{Daemon, Miner, node_entries, patient};
use crate::common::node::RealNode;
use crate::common::wait_for;

/// Nobody listens there.
const NODE: &str = "[node]\nrpc_url = \"http://127.0.0.1:1\"\nrpc_user = \"a\"\nrpc_pass = \"b\"\n\
                    p2p_addr = \"off\"\n";

/// Stopped, with a data directory.
fn daemon() -> Daemon {
    let mut daemon = Daemon::start(NODE);
    wait_for("the page", || daemon.status());
    assert!(daemon.stop().success());
    daemon
}

fn block(height: u32) -> SolvedBlock {
    let mut bytes = vec![7; 120];
    bytes[..4].copy_from_slice(&height.to_le_bytes());
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 100_000;
    SolvedBlock {
        hash: BlockHash(sha256d(&bytes[..80])),
        height,
        unix: unix + u64::from(height),
        reward: 5_000_000_000,
        worker: "garage".into(),
        from_partner: false,
        bytes,
    }
}

fn put(daemon: &Daemon, heights: impl IntoIterator<Item = u32>, state: &StoredState) {
    let (spool, _) = Spool::open(&daemon.data().join("spool")).unwrap();
    for height in heights {
        let block = block(height);
        spool.write(&block).unwrap();
        spool.mark(&block.hash, state.clone()).unwrap();
    }
}

/// The heights of the blocks that lie in the spool.
fn kept(daemon: &Daemon) -> BTreeSet<u32> {
    let files = fs::read_dir(daemon.data().join("spool")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".block")).map(|name| name[..10].parse().unwrap()).collect()
}

/// What the card has of the ledger: height and state of each block.
fn booked(daemon: &Daemon) -> BTreeSet<(u32, String)> {
    let export = Command::new(env!("CARGO_BIN_EXE_soloist"))
        .args(["export", "blocks", "--data"])
        .arg(daemon.data())
        .output()
        .unwrap();
    let text = String::from_utf8(export.stdout).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().unwrap_or_default();
    let column = |name: &str| head.iter().position(|cell| *cell == name).unwrap();
    if head.is_empty() {
        return BTreeSet::new();
    }
    let (height, state) = (column("height"), column("state"));
    lines.map(|line| (line[height].parse().unwrap(), line[state].to_owned())).collect()
}

fn download(daemon: &Daemon, height: u32) -> (u16, String) {
    let url = format!("http://{}/api/blocks/{}.hex", daemon.http, block(height).hash);
    let answer = patient(&minreq::get(url).with_timeout(10)).unwrap();
    (answer.status_code, answer.as_str().unwrap().to_owned())
}

#[test]
fn mature_blocks_leave_the_spool_and_their_records_stay() {
    let mut daemon = daemon();
    let many = MAX_MATURE as u32 + 5;
    let lost = [901, 902];
    put(&daemon, 1..=many, &StoredState::Mature);
    put(&daemon, lost, &StoredState::Stale);
    put(&daemon, [903], &StoredState::Candidate);
    let left: BTreeSet<u32> = (6..=many).chain(lost).chain([903]).collect();

    // Without a ledger nothing is forgotten, whatever the spool says.
    let ledger = daemon.data().join("ledger");
    let aside = daemon.data().join("aside");
    fs::rename(&ledger, &aside).unwrap();
    fs::write(&ledger, "in its place").unwrap();
    daemon.launch();
    wait_for("the failure", || daemon.log().contains("ledger cannot be opened").then_some(()));
    thread::sleep(Duration::from_secs(1));
    assert_eq!(kept(&daemon).len(), many as usize + 3);
    daemon.kill();
    fs::remove_file(&ledger).unwrap();
    fs::rename(&aside, &ledger).unwrap();

    // The ledger has heard of none of them: they are booked, and then the oldest go.
    daemon.launch();
    wait_for("the oldest to go", || {
        let kept = kept(&daemon);
        // Whatever is gone is on the card.
        let booked = booked(&daemon);
        for height in (1..=many).filter(|height| !kept.contains(height)) {
            assert!(booked.contains(&(height, "mature".into())), "{height}: {booked:?}");
        }
        (kept == left).then_some(())
    });
    assert_eq!(booked(&daemon).len(), many as usize + 3);

    let (code, words) = download(&daemon, 3);
    assert_eq!(code, 404);
    assert!(words.contains("Block 3 is not kept here any more: it is mature"), "{words}");
    assert!(words.contains(&format!("getblock {} 0", block(3).hash)), "{words}");
    let hex: String = block(6).bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(download(&daemon, 6), (200, hex));
    assert_eq!(download(&daemon, 9999).1, "This block is not kept here.\n");

    // The power goes; the next start has nothing to say of them.
    daemon.kill();
    let before = daemon.log().len();
    daemon.launch();
    wait_for("the ledger", || (daemon.blocks().len() == 100).then_some(()));
    wait_for("the block that is on its way", || {
        daemon.log()[before..].contains("Block 903 of the spool is offered").then_some(())
    });
    thread::sleep(Duration::from_secs(1));
    assert_eq!(kept(&daemon), left);
    assert_eq!(booked(&daemon).len(), many as usize + 3);
    let log = daemon.log()[before..].to_owned();
    for words in ["booked now", "is mature", "has left the spool", "stays in the spool"] {
        assert!(!log.contains(words), "{words}");
    }
    assert_eq!(download(&daemon, 3).0, 404);
    // A stop would wait for the block that is on its way.
    daemon.kill();
}

/// A block that matures while the daemon runs takes the place of the oldest.
#[test]
fn a_block_that_matures_takes_the_place_of_the_oldest() {
    let Some(node) = RealNode::bcoin() else { return };
    node.generate(440);
    let mut daemon = daemon();
    daemon.configure(&node_entries(&[node.config()]), "");
    put(&daemon, 1..=MAX_MATURE as u32, &StoredState::Mature);
    daemon.launch();
    daemon.wait_ready();
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "attic");
    let (answer, hash) = miner.mine_and_go_on();
    assert_eq!(answer["result"], true, "{answer}");
    drop(miner);
    let own = |state: &str| {
        daemon.blocks().into_iter().find(|block| block["hash"] == hash && block["state"] == state)
    };
    let height = wait_for("its acceptance", || own("accepted")?["height"].as_u64()) as u32;
    let all: BTreeSet<u32> = (1..=MAX_MATURE as u32).chain([height]).collect();
    assert_eq!(kept(&daemon), all);
    node.generate(98);
    thread::sleep(Duration::from_secs(2));
    assert_eq!(kept(&daemon), all, "it is not mature yet");
    node.generate(2);
    wait_for("its maturity", || own("mature"));
    wait_for("the oldest to go", || {
        let left: BTreeSet<u32> = all.iter().copied().filter(|height| *height != 1).collect();
        (kept(&daemon) == left).then_some(())
    });
    assert!(booked(&daemon).contains(&(height, "mature".into())));
    assert!(booked(&daemon).contains(&(1, "mature".into())));
    assert!(download(&daemon, 1).1.contains("not kept here any more"));
    assert!(daemon.stop().success());
}

/// The power went when the spool knew that a block is mature, and the ledger did not: the ledger
/// learns it at the next start, and nobody is told twice.
#[test]
fn the_ledger_learns_from_the_spool_that_a_block_is_mature() {
    let mut daemon = daemon();
    put(&daemon, [7], &StoredState::Confirmed { confirmations: 99 });
    daemon.launch();
    wait_for("its record", || {
        booked(&daemon)
            .iter()
            .any(|(height, state)| (*height, &**state) == (7, "confirmed"))
            .then_some(())
    });
    daemon.kill();
    put(&daemon, [7], &StoredState::Mature);
    let before = daemon.log().len();
    daemon.launch();
    wait_for("the ledger to know it", || {
        booked(&daemon).contains(&(7, "mature".into())).then_some(())
    });
    assert_eq!(daemon.blocks()[0]["state"], "mature");
    assert!(!daemon.log()[before..].contains("is mature"));
    assert_eq!(kept(&daemon), [7].into());
    assert!(daemon.stop().success());
}

/// A pipe in the place of a file: whoever opens it waits until somebody opens the other end, as with a
/// disk that hangs.
fn hang(file: &Path) -> PathBuf {
    let old = file.with_extension("old");
    fs::rename(file, &old).unwrap();
    mkfifo(file, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    old
}

fn answers(daemon: &Daemon) {
    for _ in 0..5 {
        let begun = Instant::now();
        let url = format!("http://{}/health/live", daemon.http);
        let answer = patient(&minreq::get(url).with_timeout(5)).expect("it hangs");
        assert_eq!(answer.status_code, 200);
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_hanging_disk_holds_up_neither_page_nor_stop() {
    let mut daemon = daemon();
    put(&daemon, [7, 8], &StoredState::Mature);
    daemon.launch();
    wait_for("the ledger", || (daemon.blocks().len() == 2).then_some(()));

    // A block of the spool is downloaded.
    let name = format!("{:010}-{}.block", 8, block(8).hash);
    hang(&daemon.data().join("spool").join(&name));
    let url = format!("http://{}/api/blocks/{}.hex", daemon.http, block(8).hash);
    let waits = thread::spawn(move || patient(&minreq::get(url).with_timeout(4)).is_err());
    thread::sleep(Duration::from_millis(300));
    answers(&daemon);
    assert_eq!(download(&daemon, 7).0, 200);
    assert!(waits.join().unwrap(), "the pipe was read");

    // The config is read again, twice: the second time it says something new.
    let config = daemon.config();
    let old = hang(&config);
    daemon.signal(Signal::SIGHUP);
    thread::sleep(Duration::from_millis(300));
    answers(&daemon);
    daemon.signal(Signal::SIGHUP);
    thread::sleep(Duration::from_millis(300));
    let text = fs::read_to_string(&old).unwrap();
    let mut pipe = fs::File::options().write(true).open(&config).unwrap();
    let changed = text.replace("level = \"debug\"", "level = \"info\"");
    fs::write(&old, changed).unwrap();
    fs::rename(&old, &config).unwrap();
    pipe.write_all(text.as_bytes()).unwrap();
    drop(pipe);
    wait_for("both readings", || {
        let log = daemon.log();
        let first = log.find("Config read: nothing changed.")?;
        log[first..].contains("Config: ").then_some(())
    });

    hang(&config);
    daemon.signal(Signal::SIGHUP);
    thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    assert!(daemon.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
