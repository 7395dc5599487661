//! The ledger in a process of its own that is killed, starved of space, cut off from its disk, and
//! given a damaged directory. Each test prints what it measured. `SOLOIST_LONG=1` runs all trials.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "ledger_world/disk.rs"]
mod disk;
mod ledger_world;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use disk::{Disk, Mounted, run};
use ledger_world::{Random, World, picture};
use sha2::{Digest, Sha256};
use soloist::block::SolvedBlock;
use soloist::chain::BlockHash;
use soloist::clock::Now;
use soloist::ledger::record::{StoredState, scan};
use soloist::ledger::totals::{Ledger, LedgerEvent, Storage};
use soloist::ledger::{check, child};
use soloist::spool::Spool;

const START: u64 = 1_790_000_000;
/// With each so many blocks a miner was renamed: then journal and cache are written anew.
const JOINED_EVERY: u64 = 15;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    match words[..] {
        ["ledger", "check", "--repair", "--hand-over", "--data", dir] => {
            abort_on_panic();
            let now = Now { mono: Instant::now(), unix: START };
            let data = Path::new(dir);
            return check::run(&check::Check { data, repair: true, hand_over: true }, now);
        }
        ["ledger", "cache", "--data", dir] => {
            abort_on_panic();
            return child::serve(Path::new(dir));
        }
        ["start", dir] => start(Path::new(dir)),
        ["write", dir, keep_free] => write_for_ever(Path::new(dir), keep_free.parse().unwrap()),
        ["spool", dir] => write_spool(Path::new(dir)),
        ["day", dir, miners, heat] => {
            a_day(Path::new(dir), miners.parse().unwrap(), heat == "heat")
        }
        ["sled", dir, fsync] => write_sled(Path::new(dir), fsync == "fsync"),
        _ => return run_tests(&words),
    }
    ExitCode::SUCCESS
}

type Test = (&'static str, fn());

fn run_tests(words: &[&str]) -> ExitCode {
    let tests: [Test; 8] = [
        ("damage_never_hangs_and_never_hides", damage_never_hangs_and_never_hides),
        ("a_day_writes_little", a_day_writes_little),
        ("heat_adds_little_to_a_day", heat_adds_little_to_a_day),
        ("a_hanging_check_is_ended", a_hanging_check_is_ended),
        ("kill_9_loses_nothing_flushed", kill_9_loses_nothing_flushed),
        ("a_full_disk_stops_nothing", a_full_disk_stops_nothing),
        ("a_failing_disk_stops_nothing", a_failing_disk_stops_nothing),
        ("power_cuts_lose_nothing_flushed", power_cuts_lose_nothing_flushed),
    ];
    let list = words.contains(&"--list");
    let filters: Vec<&&str> = words.iter().filter(|word| !word.starts_with('-')).collect();
    for (name, test) in tests {
        if list {
            println!("{name}: test");
        } else if filters.is_empty() || filters.iter().any(|filter| name.contains(**filter)) {
            let begin = Instant::now();
            test();
            println!("test {name} ... ok ({:.1} s)", begin.elapsed().as_secs_f64());
        }
    }
    ExitCode::SUCCESS
}

fn long() -> bool {
    std::env::var_os("SOLOIST_LONG").is_some_and(|value| value != "0")
}

fn seed() -> u64 {
    let seed = std::env::var("SOLOIST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 7919 + 1);
    println!("SOLOIST_SEED={seed}");
    seed
}

// -- what the children do --

/// As in the daemon, a panic in any thread ends the process.
fn abort_on_panic() {
    std::panic::set_hook(Box::new(|info| {
        eprintln!("{info}");
        std::process::abort();
    }));
}

/// Opens the ledger as the daemon does, counts a share, and stops. Prints the notes.
fn start(dir: &Path) {
    abort_on_panic();
    let mut world = guarded(dir, START + 40 * 86_400);
    world.read();
    assert_eq!(world.ledger.storage(), &Storage::Ready);
    for note in world.ledger.notes() {
        println!("{note}");
    }
    let worker = world.ledger.worker(world.now(), "after the damage", "test");
    world.mine(worker, 60, 10);
    assert_eq!(world.ledger.storage(), &Storage::Ready);
    world.stop();
}

/// Mines and finds a block each quarter of an (unreal) hour. Says `START <blocks> <shares>` and
/// then `ACK <blocks> <shares>` whenever the store has called a batch durable.
fn write_for_ever(dir: &Path, keep_free: u64) {
    abort_on_panic();
    let mut world = guarded(dir, START);
    world.keeper.as_mut().unwrap().keep_free(keep_free);
    world.read();
    let say = |word: &str, ledger: &Ledger| {
        let totals = ledger.total().totals();
        println!("{word} {} {}", totals.blocks, totals.ever.accepted);
        std::io::stdout().flush().unwrap();
    };
    for note in world.ledger.notes() {
        println!("NOTE {note}");
    }
    // A batch that was cut may have a worker's tally without the total's; a history that was taken over
    // twice would be five hundred shares too many.
    let of_workers =
        world.ledger.workers().map(|(_, worker)| worker.totals().ever.accepted).sum::<u64>();
    assert!(of_workers <= world.ledger.total().totals().ever.accepted + 400, "{of_workers}");
    say("START", &world.ledger);
    let last = world.ledger.blocks().last().map(|block| block.unix);
    if let Some(unix) = last {
        world.set_unix(unix + 1);
    }
    let workers: Vec<_> =
        (0..3).map(|n| world.ledger.worker(world.now(), &format!("w{n}"), "test")).collect();
    loop {
        for _ in 0..15 {
            world.advance(60);
            workers.iter().for_each(|&worker| world.share(worker, 512.0));
        }
        let number = u64::from(world.ledger.total().totals().blocks) + 1;
        if number % JOINED_EVERY == 0 {
            let from = world.ledger.worker(world.now(), "renamed", "test");
            (0..500).for_each(|_| world.share(from, 1.0));
            world.tell(LedgerEvent::Join { from, into: workers[1] });
        }
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        world.tell(LedgerEvent::BlockFound {
            worker: workers[0],
            hash: BlockHash(hash),
            height: number as u32,
            difficulty: 1e9,
            reward: 1,
            payee: String::new(),
        });
        match world.ledger.storage() {
            Storage::Ready => say("ACK", &world.ledger),
            Storage::Failing { .. } => say("FAILING", &world.ledger),
            other => panic!("{other:?}"),
        }
    }
}

/// A day of miners with six shares a minute each, a new difficulty every ten minutes and a found
/// block, each of which is asked for its heat twice a minute or never; says how many bytes the kernel
/// wrote for it.
fn a_day(dir: &Path, count: u64, heat: bool) {
    abort_on_panic();
    let mut world = guarded(dir, START / 86_400 * 86_400);
    world.read();
    let miners: Vec<_> = (0..count)
        .map(|n| world.ledger.worker(world.now(), &format!("miner {n}"), "bitaxe"))
        .collect();
    // The first hour has the bests of a new ledger and is not like the others.
    let hours = |world: &mut World, hours: u64| {
        for second in 0..hours * 3600 {
            world.advance(1);
            if second % 10 == 0 {
                miners.iter().for_each(|&miner| world.share(miner, 512.0));
            }
            if heat && second % 30 == 7 {
                for (n, &worker) in (0..).zip(&miners) {
                    let warm = ((second / 30 + n * 7) % 50) as f32 / 10.0;
                    let (celsius, watts) = (Some(58.0 + warm), Some(17.0 + warm));
                    world.tell(LedgerEvent::Heat { worker, celsius, watts });
                }
            }
            if second % 600 == 300 {
                for &worker in &miners {
                    world.tell(LedgerEvent::Level { worker, difficulty: second as f64 });
                }
            }
        }
    };
    let new = written("write_bytes:");
    hours(&mut world, 1);
    println!("({} kB in a new ledger's first hour)", (written("write_bytes:") - new) / 1000);
    hours(&mut world, 24);
    let before = (written("write_bytes:"), written("wchar:"));
    hours(&mut world, 12);
    let worker = miners[0];
    let hash = BlockHash([9; 32]);
    world.tell(LedgerEvent::BlockFound {
        worker,
        hash,
        height: 1,
        difficulty: 1e9,
        reward: 5,
        payee: String::new(),
    });
    world.tell(LedgerEvent::Block { hash, state: StoredState::Accepted { node: "attic".into() } });
    hours(&mut world, 12);
    println!("WRITTEN {} 0", written("write_bytes:") - before.0);
    println!("({} kB handed to the kernel)", (written("wchar:") - before.1) / 1000);
    world.stop();
}

/// A number of /proc/self/io: `write_bytes:` is what the kernel wrote to disks for us.
fn written(key: &str) -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim().parse().unwrap()
}

/// Writes numbers into sled and says `ACK <number> 0` after its flush alone, or after an fsync too.
fn write_sled(dir: &Path, fsync: bool) {
    abort_on_panic();
    let path = dir.join("sled");
    let db = sled::Config::new()
        .path(&path)
        .cache_capacity(4 << 20)
        .segment_size(64 << 10)
        .flush_every_ms(None)
        .open()
        .unwrap();
    let file = fs::File::open(path.join("db")).unwrap();
    file.sync_all().unwrap();
    fs::File::open(&path).unwrap().sync_all().unwrap();
    fs::File::open(dir).unwrap().sync_all().unwrap();
    println!("START 0 0");
    for number in 1_u64.. {
        db.insert(number.to_be_bytes(), vec![7_u8; 1000]).unwrap();
        db.flush().unwrap();
        if fsync {
            file.sync_all().unwrap();
        }
        println!("ACK {number} 0");
        std::io::stdout().flush().unwrap();
        // The disk is small.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Spools blocks of up to 300 kB, marks every other one, and says `ACK <number> 0` after each.
fn write_spool(dir: &Path) {
    abort_on_panic();
    let (spool, _) = Spool::open(&dir.join("spool")).unwrap();
    println!("START 0 0");
    let mut random = Random(77);
    for number in 1_u64..70 {
        let mut bytes = vec![0_u8; 80 + random.below(300_000) as usize];
        bytes.iter_mut().for_each(|byte| *byte = random.next() as u8);
        let hash = BlockHash(Sha256::digest(Sha256::digest(&bytes[..80])).into());
        let worker = "w".to_owned();
        let block = SolvedBlock {
            hash,
            height: number as u32,
            unix: number,
            reward: 1,
            worker,
            from_partner: false,
            bytes,
        };
        spool.write(&block).unwrap();
        if number % 2 == 0 {
            spool.mark(&hash, StoredState::Accepted { node: "attic".into() }).unwrap();
        }
        println!("ACK {number} 0");
        std::io::stdout().flush().unwrap();
        std::thread::sleep(Duration::from_millis(3));
    }
    std::thread::sleep(Duration::from_secs(60));
}

/// Up to which number all spooled blocks are there, with their marks.
fn spooled_on(place: &Path, image: &[u8]) -> (u64, u64) {
    let (mounted, mount) = mount_image(place, image);
    let (spool, _) = Spool::open(&mount.join("spool")).unwrap();
    let list = spool.list().unwrap();
    let whole = list.iter().zip(1_u64..).take_while(|(entry, number)| {
        let marked = entry.progress.state != StoredState::Candidate;
        entry.block.unix == *number && (marked || number % 2 == 1 || *number == list.len() as u64)
    });
    let count = whole.count() as u64;
    drop(mounted);
    (count, 0)
}

/// A child that writes, and what it said last.
struct Writer {
    child: Child,
    started: (u64, u64),
    acknowledged: Arc<[AtomicU64; 2]>,
    lines: mpsc::Receiver<String>,
}

impl Writer {
    fn new(arguments: &[&str]) -> Writer {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let acknowledged = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let (to, lines) = mpsc::channel();
        let seen = acknowledged.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some((blocks, shares)) = numbers(&line, "ACK") {
                    seen[1].store(shares, Ordering::SeqCst);
                    seen[0].store(blocks, Ordering::SeqCst);
                }
                let _ = to.send(line);
            }
        });
        let mut writer = Writer { child, started: (0, 0), acknowledged, lines };
        let line = writer.wait_for("START");
        writer.started = numbers(&line, "START").unwrap();
        writer
    }

    /// The next line that begins so.
    fn wait_for(&mut self, word: &str) -> String {
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            let line = self.lines.recv_timeout(Duration::from_secs(60)).expect("the writer lives");
            if line.starts_with(word) {
                return line;
            }
        }
        panic!("the writer has not said {word} for a minute");
    }

    fn acknowledged(&self) -> (u64, u64) {
        let blocks = self.acknowledged[0].load(Ordering::SeqCst);
        (blocks, self.acknowledged[1].load(Ordering::SeqCst))
    }

    fn kill(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "the writer ended by itself");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // What it had said before it died counts too.
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn numbers(line: &str, word: &str) -> Option<(u64, u64)> {
    let mut rest = line.strip_prefix(word)?.split_whitespace();
    Some((rest.next()?.parse().ok()?, rest.next()?.parse().ok()?))
}

/// As in the daemon: this program again opens the cache.
fn guarded(dir: &Path, unix: u64) -> World {
    World::guarded(dir, unix, std::env::current_exe().unwrap())
}

fn open(dir: &Path) -> (Ledger, Vec<String>) {
    let world = World::open(dir, START);
    assert_eq!(world.ledger.storage(), &Storage::Ready);
    let notes = world.ledger.notes().map(str::to_owned).collect();
    (world.ledger, notes)
}

// -- damage --

/// Cuts, zeros, flips and swaps in a real ledger's files, missing and empty files, stray files of
/// sled: each start ends soon, keeps every record before the damage, and tells what was lost.
fn damage_never_hangs_and_never_hides() {
    let trials = if long() { 1000 } else { 25 };
    let seed = seed();
    let original = tempfile::tempdir().unwrap();
    real_ledger(original.path());
    let journal = fs::read(original.path().join("ledger/journal")).unwrap();
    let (whole, notes) = open(original.path());
    assert!(notes.is_empty(), "{notes:?}");
    println!(
        "a ledger of {} blocks, {} shares, journal of {} bytes, {} files",
        whole.blocks().len(),
        whole.total().totals().ever.accepted,
        journal.len(),
        files(original.path()).len()
    );
    let place = tempfile::tempdir().unwrap();
    let (mut died, mut hung) = (0, 0);
    let (mut slowest, mut told, mut lossy, mut least) = (Duration::ZERO, 0, 0, u64::MAX);
    for trial in 0..trials {
        let mut random = Random(seed.wrapping_add(trial).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let dir = place.path().join(format!("{trial}"));
        copy(original.path(), &dir);
        let mut intact = journal.len();
        let mut what = Vec::new();
        for _ in 0..=random.below(3) {
            what.push(damage(&dir, &journal, &mut intact, &mut random));
        }
        let begin = Instant::now();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("start")
            .arg(&dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while child.try_wait().unwrap().is_none() {
            if begin.elapsed() > Duration::from_secs(10) {
                child.kill().unwrap();
                panic!("trial {trial}: the start hangs after {what:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        slowest = slowest.max(begin.elapsed());
        let output = child.wait_with_output().unwrap();
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "trial {trial}: {what:?}: {} {errors}", output.status);

        let (after, _) = open(&dir);
        let prefix = scan(&journal[..intact]);
        let before = Ledger::replay(Now { mono: Instant::now(), unix: START }, &prefix.records);
        keeps(&before, &after).unwrap_or_else(|lost| panic!("trial {trial}: {what:?}: {lost}"));
        // Six shares came after the damage.
        let accepted = after.total().totals().ever.accepted - 6;
        let had = whole.total().totals().ever.accepted;
        assert!(accepted <= had, "trial {trial}: {what:?}: counted twice: {accepted} > {had}");
        least = least.min(accepted);
        told += u32::from(!words.is_empty());
        died += u32::from(words.contains("check of the ledger died"));
        hung += u32::from(words.contains("check of the ledger did not end"));
        if accepted < had {
            lossy += 1;
            assert!(!words.is_empty(), "trial {trial}: {what:?}: {accepted} of {had}, not told");
        }
        fs::remove_dir_all(&dir).unwrap();
    }
    println!(
        "{trials} damages: slowest start {} ms, 0 hangs, 0 deaths; {lossy} lost some shares, \
         {told} had something to tell; {died} checks died and {hung} hung in the daemon's place; fewest shares left {least}",
        slowest.as_millis()
    );
}

/// Three days of five workers, twelve blocks.
fn real_ledger(dir: &Path) {
    let mut world = World::open(dir, START);
    world.tell(LedgerEvent::Network { difficulty: 1e7 });
    let workers: Vec<_> =
        (0..5).map(|n| world.ledger.worker(world.now(), &format!("miner {n}"), "bitaxe")).collect();
    for step in 0..3 * 24 * 6_u64 {
        for &worker in &workers {
            world.mine(worker, 120, 15);
        }
        if step % 36 == 5 {
            let mut hash = [7; 32];
            hash[..8].copy_from_slice(&step.to_le_bytes());
            let (worker, hash) = (workers[(step % 5) as usize], BlockHash(hash));
            world.tell(LedgerEvent::BlockFound {
                worker,
                hash,
                height: step as u32,
                difficulty: 1e8,
                reward: 5,
                payee: String::new(),
            });
            world.tell(LedgerEvent::Audit(format!("step {step}")));
        }
        for &worker in &workers {
            world.tell(LedgerEvent::Level { worker, difficulty: 512.0 });
        }
    }
    world.stop();
}

/// Does one thing to one file (or to all) and moves `intact` to the first damaged byte of the
/// journal.
fn damage(dir: &Path, journal: &[u8], intact: &mut usize, random: &mut Random) -> String {
    let all = files(dir);
    // The journal and sled's files are what matters: choose them more often.
    let important: Vec<PathBuf> = all
        .iter()
        .filter(|path| path.ends_with("journal") || path.to_string_lossy().contains("cache/"))
        .cloned()
        .collect();
    let list = if random.below(4) > 0 && !important.is_empty() { &important } else { &all };
    if list.is_empty() {
        return "nothing left".into();
    }
    let path = &list[random.below(list.len() as u64) as usize];
    let Ok(mut bytes) = fs::read(path) else { return "gone".into() };
    let name = path.strip_prefix(dir).unwrap().display().to_string();
    let length = bytes.len() as u64;
    let at = random.below(length.max(1)) as usize;
    let mut first = at;
    let how = match random.below(11) {
        0 => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
        1 => {
            // The usual cut: the last few kilobytes.
            first = bytes.len().saturating_sub(random.below(70_000) as usize);
            bytes.truncate(first);
            format!("tail cut at {first}")
        }
        2 => {
            let end = (at + random.below(8192) as usize + 1).min(bytes.len());
            bytes[at..end].fill(0);
            format!("zeros {at}..{end}")
        }
        3 => {
            first = bytes.len().saturating_sub(random.below(70_000) as usize);
            bytes[first..].fill(0);
            format!("zero tail from {first}")
        }
        4 | 5 if !bytes.is_empty() => {
            bytes[at] ^= 1 << random.below(8);
            format!("flip at {at}")
        }
        6 if bytes.len() >= 8192 => {
            let pages = length / 4096;
            let (a, b) = (random.below(pages) as usize, random.below(pages) as usize);
            for index in 0..4096 {
                bytes.swap(a * 4096 + index, b * 4096 + index);
            }
            first = a.min(b) * 4096;
            format!("pages {a} and {b} swapped")
        }
        7 => {
            fs::remove_file(path).unwrap();
            if name.ends_with("journal") {
                *intact = 0;
            }
            return format!("{name}: missing");
        }
        8 => {
            bytes.clear();
            first = 0;
            "empty".into()
        }
        9 => {
            // sled keeps snapshots of its page table under such names.
            let stray =
                dir.join("ledger/cache").join(format!("snap.{:016X}", random.below(1 << 20)));
            let junk: Vec<u8> = (0..random.below(200)).map(|_| random.below(256) as u8).collect();
            let _ = fs::write(&stray, junk);
            return "stray snap file".into();
        }
        10 if random.below(8) == 0 => {
            all.iter().for_each(|path| fs::write(path, []).unwrap());
            *intact = 0;
            return "all files empty".into();
        }
        _ => {
            let junk: Vec<u8> = (0..random.below(5000)).map(|_| random.below(256) as u8).collect();
            bytes.extend_from_slice(&junk);
            first = bytes.len();
            format!("{} stray bytes behind", junk.len())
        }
    };
    if name.ends_with("journal") {
        *intact = (*intact).min(first.min(journal.len()));
    }
    fs::write(path, bytes).unwrap();
    format!("{name}: {how}")
}

/// Everything that `before` knows, `after` knows too.
fn keeps(before: &Ledger, after: &Ledger) -> Result<(), String> {
    let hashes: Vec<_> = after.blocks().map(|block| block.hash).collect();
    for block in before.blocks() {
        if !hashes.contains(&block.hash) {
            return Err(format!("block {} is lost", block.hash));
        }
    }
    for entry in before.audit() {
        if !after.audit().any(|other| other == entry) {
            return Err(format!("audit entry {} is lost", entry.text));
        }
    }
    let after_picture = picture(after);
    for (name, device, totals, ..) in picture(before).workers {
        let found = after_picture.workers.iter().find(|other| other.0 == name && other.1 == device);
        let accepted = found.map_or(0, |worker| worker.2.ever.accepted);
        if accepted < totals.ever.accepted {
            return Err(format!("{name}: {accepted} of {} shares", totals.ever.accepted));
        }
    }
    let (had, has) = (before.total().totals(), after.total().totals());
    if has.ever.accepted < had.ever.accepted || has.blocks < had.blocks {
        return Err(format!("total: {has:?} after {had:?}"));
    }
    let best = |ledger: &Ledger| ledger.bests().first().map_or(0.0, |best| best.difficulty);
    if best(after) < best(before) { Err("the best share is lost".into()) } else { Ok(()) }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            files.extend(self::files(&entry.path()));
        } else if entry.file_name() != "lock" {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).unwrap();
        }
    }
}

/// A simulated day costs at most 5 MB by the kernel's count, and little more with what the file
/// system adds.
fn a_day_writes_little() {
    let (bytes, _) = written_in_a_day(10, false);
    assert!((1..=5_000_000).contains(&bytes), "{bytes} bytes in a day");
}

/// Forty miners that tell of heat and power twice a minute cost at most a tenth more than forty that
/// do not, by the kernel's count and with what the file system adds.
fn heat_adds_little_to_a_day() {
    let (without, with) = (written_in_a_day(40, false), written_in_a_day(40, true));
    let part = |with: u64, without: u64| with as f64 / without as f64;
    let kernel = part(with.0, without.0);
    println!("heat of forty miners: {kernel:.3} times as many bytes by /proc/self/io");
    assert!(kernel <= 1.1, "{kernel}");
    if let (Some(with), Some(without)) = (with.1, without.1) {
        let device = part(with, without);
        println!("  {device:.3} times as many that reached the device");
        assert!(device <= 1.1, "{device}");
    }
}

/// Bytes that a day of so many miners writes: by the kernel's count, and those that reach the device
/// where that can be seen.
fn written_in_a_day(miners: u32, heat: bool) -> (u64, Option<u64>) {
    let place = tempfile::tempdir().unwrap();
    let disk = emulated_disk(place.path());
    let dir = match &disk {
        Ok(_) => place.path().join("mnt"),
        Err(why) => {
            skip(&format!("what ext4 adds: {why}"));
            // Not under /tmp, which may be memory.
            let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("day");
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir_all(&dir).unwrap();
            dir
        }
    };
    let told = if heat { "heat" } else { "no heat" };
    let output = Command::new(std::env::current_exe().unwrap())
        .arg("day")
        .arg(&dir)
        .args([&miners.to_string(), told])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (bytes, _) = text.lines().find_map(|line| numbers(line, "WRITTEN")).unwrap();
    println!("a day of {miners} miners, {told}: {} kB written by /proc/self/io", bytes / 1000);
    text.lines().filter(|line| line.starts_with('(')).for_each(|line| println!("  {line}"));
    // Two days and an hour passed in all.
    let device = disk.ok().map(|disk| disk.written() / 2);
    if let Some(device) = device {
        println!("  {} kB a day reached the device with all that ext4 adds", device / 1000);
    }
    (bytes, device)
}

/// A check that never ends is ended, and the cache is set aside unread.
fn a_hanging_check_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    real_ledger(dir.path());
    let hang = dir.path().join("hang");
    fs::write(&hang, "#!/bin/sh\nexec sleep 600\n").unwrap();
    run(Command::new("chmod").arg("+x").arg(&hang)).unwrap();
    let begin = Instant::now();
    let guarded = check::guard(&hang, dir.path(), Duration::from_millis(300));
    assert!(matches!(guarded, check::Guarded::Broken { .. }), "{guarded:?}");
    assert!(begin.elapsed() < Duration::from_secs(8));
    let (ledger, notes) = open(dir.path());
    assert!(notes.iter().any(|note| note.contains("set aside")), "{notes:?}");
    assert_eq!(ledger.total().totals().blocks, 12);
    assert!(dir.path().join("ledger/aside/cache-1").exists());
    // One that dies, as in a panic of sled, is the same.
    fs::write(&hang, "#!/bin/sh\nkill -ABRT $$\n").unwrap();
    let guarded = check::guard(&hang, dir.path(), Duration::from_secs(8));
    assert!(matches!(guarded, check::Guarded::Broken { .. }), "{guarded:?}");
    let (_, notes) = open(dir.path());
    assert!(notes.iter().any(|note| note.contains("set aside")), "{notes:?}");
    // One that hands nothing over is not believed.
    fs::write(&hang, "#!/bin/sh\nexit 0\n").unwrap();
    let guarded = check::guard(&hang, dir.path(), Duration::from_secs(8));
    assert!(matches!(guarded, check::Guarded::Broken { .. }), "{guarded:?}");
    // A child that dies while it writes costs its cache, and neither shares nor the ledger.
    let place = tempfile::tempdir().unwrap();
    let this = std::env::current_exe().unwrap();
    let this = this.display();
    let script =
        format!("#!/bin/sh\ncase $2 in check) exec '{this}' \"$@\";; esac\nkill -ABRT $$\n");
    fs::write(&hang, script).unwrap();
    let mut world = World::guarded(place.path(), START, hang.clone());
    world.read();
    let worker = world.ledger.worker(world.now(), "w", "x");
    world.mine(worker, 8 * 3600, 60);
    assert_eq!(world.ledger.storage(), &Storage::Ready);
    assert!(world.ledger.notes().any(|note| note.contains("begun anew")), "not told");
    let had = world.ledger.total().totals().ever.accepted;
    world.stop();
    assert_eq!(open(place.path()).0.total().totals().ever.accepted, had);
    let missing = check::guard(Path::new("/nonexistent"), dir.path(), Duration::from_secs(1));
    assert!(matches!(missing, check::Guarded::NotStarted { .. }), "{missing:?}");
}

// -- kill -9 --

fn kill_9_loses_nothing_flushed() {
    let kills = if long() { 300 } else { 30 };
    let mut random = Random(seed() | 1);
    let dir = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut aside, mut early) = ((0, 0), 0, 0);
    for kill in 0..kills {
        if kill % 3 == 0 {
            // At any moment of the start too.
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["write", dir.path().to_str().unwrap(), "0"])
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_micros(random.below(40_000)));
            child.kill().unwrap();
            child.wait().unwrap();
            aside += u32::from(dir.path().join("ledger/cache.bad").exists());
            early += 1;
        }
        let mut writer = Writer::new(&["write", dir.path().to_str().unwrap(), "0"]);
        let (blocks, shares) = writer.started;
        assert!(
            blocks >= acknowledged.0 && shares >= acknowledged.1,
            "kill {kill}: {acknowledged:?} were acknowledged, {:?} are there",
            writer.started
        );
        std::thread::sleep(Duration::from_micros(random.below(150_000)));
        writer.kill();
        acknowledged = writer.acknowledged().max(acknowledged);
        aside += u32::from(dir.path().join("ledger/cache.bad").exists());
    }
    let (ledger, _) = open(dir.path());
    assert!(u64::from(ledger.total().totals().blocks) >= acknowledged.0);
    let lost = dir.path().join("ledger/aside/cache-1").exists();
    println!("caches were set aside: {lost}");
    println!(
        "{kills} times kill -9 (and {early} times while starting): {} blocks and {} shares acknowledged, 0 lost; {aside} hit the \
         opening of the cache",
        acknowledged.0, acknowledged.1
    );
    assert!(acknowledged.0 > kills);
}

// -- full and failing disks --

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn skip(why: &str) {
    println!("SKIPPED, not tested on this machine: {why}");
    eprintln!("SKIPPED, not tested on this machine: {why}");
}

/// ENOSPC at all sorts of places: nothing dies, everything is counted, and it is all written when
/// there is space again.
fn a_full_disk_stops_nothing() {
    if !is_root() {
        return skip("mounting a small tmpfs needs root");
    }
    let place = tempfile::tempdir().unwrap();
    let mount = run(Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=16m", "none"])
        .arg(place.path()));
    if let Err(error) = mount {
        return skip(&format!("no tmpfs can be mounted: {error}"));
    }
    let _unmount = Unmount(place.path().to_owned());
    let rounds = if long() { 60 } else { 6 };
    let mut random = Random(seed() | 1);
    let filler = place.path().join("filler");
    let mut failed = 0;
    for _ in 0..rounds {
        let mut writer = Writer::new(&["write", place.path().to_str().unwrap(), "0"]);
        writer.wait_for("ACK");
        // Fill what is there but for a few pages, so that it breaks at another write each time.
        let leave = random.below(40) * 4096;
        fill(&filler, place.path(), leave);
        writer.wait_for("FAILING");
        failed += 1;
        for _ in 0..20 {
            writer.lines.recv_timeout(Duration::from_secs(60)).expect("it goes on in memory");
        }
        fs::remove_file(&filler).unwrap();
        let line = writer.wait_for("ACK");
        let (blocks, shares) = numbers(&line, "ACK").unwrap();
        // Every share of the time without space is there: each block stands for 45, and some for
        // those of a miner that was renamed.
        let (blocks_before, shares_before) = writer.started;
        let joins = blocks / JOINED_EVERY - blocks_before / JOINED_EVERY;
        let expected = 45 * (blocks - blocks_before) + 500 * joins;
        assert_eq!(shares - shares_before, expected, "{line}");
        writer.kill();
        let (ledger, _) = open(place.path());
        assert!(u64::from(ledger.total().totals().blocks) >= blocks);
    }
    println!("{failed} times a full disk: 0 deaths, 0 shares lost");
}

/// Fills the file system but for `leave` bytes, while others write to it.
fn fill(filler: &Path, dir: &Path, leave: u64) {
    let mut file = fs::File::create(filler).unwrap();
    loop {
        let stat = nix::sys::statvfs::statvfs(dir).unwrap();
        let free = stat.blocks_available() * stat.fragment_size();
        if free <= leave || file.write_all(&vec![0; (free - leave).min(65_536) as usize]).is_err() {
            return;
        }
    }
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg("-l").arg(&self.0));
    }
}

/// EIO from the disk at all sorts of places (ext4 then makes itself read-only): nothing dies, and
/// what was acknowledged is there when the disk is looked at again.
fn a_failing_disk_stops_nothing() {
    let rounds = if long() { 30 } else { 4 };
    let mut random = Random(seed() | 1);
    for round in 0..rounds {
        let place = tempfile::tempdir().unwrap();
        let disk = match emulated_disk(place.path()) {
            Ok(disk) => disk,
            Err(why) => return skip(&why),
        };
        let mount = place.path().join("mnt");
        let mut writer = Writer::new(&["write", mount.to_str().unwrap(), "0"]);
        writer.wait_for("ACK");
        std::thread::sleep(Duration::from_micros(random.below(50_000)));
        disk.fail(true);
        writer.wait_for("FAILING");
        let acknowledged = writer.acknowledged();
        for _ in 0..20 {
            let line = writer.lines.recv_timeout(Duration::from_secs(60));
            assert!(line.expect("it goes on in memory").starts_with("FAILING"));
        }
        writer.kill();
        let image = disk.cut(|| random.below(2) == 0);
        drop(disk);
        let (blocks, shares) = look_at(place.path(), &image);
        assert!(
            blocks >= acknowledged.0 && shares >= acknowledged.1,
            "round {round}: {acknowledged:?} were acknowledged, {blocks} {shares} are there"
        );
    }
    println!("{rounds} times EIO on every write: 0 deaths, 0 acknowledged records lost");
}

fn emulated_disk(place: &Path) -> Result<Disk, String> {
    if !is_root() {
        return Err("an emulated disk needs root".into());
    }
    Disk::new(place, 32 << 20).map_err(|error| format!("no emulated disk: {error}"))
}

/// Mounts an image (which replays ext4's own journal) and reads the ledger on it.
fn look_at(place: &Path, image: &[u8]) -> (u64, u64) {
    let (mounted, mount) = mount_image(place, image);
    let (ledger, _) = open(&mount);
    let totals = ledger.total().totals();
    drop(ledger);
    drop(mounted);
    (totals.blocks.into(), totals.ever.accepted)
}

fn mount_image(place: &Path, image: &[u8]) -> (Mounted, PathBuf) {
    let file = place.join("after");
    fs::write(&file, image).unwrap();
    let mount = place.join("after.mnt");
    (Mounted::new(&file, &mount).unwrap(), mount)
}

// -- power --

/// Cuts the power of a disk that loses what was not flushed: at most any part of it, in sectors,
/// has reached the medium. The same with sled alone shows that the test can fail.
fn power_cuts_lose_nothing_flushed() {
    let cuts = if long() { 60 } else { 20 };
    let mut random = Random(seed() | 1);

    let mut lost = 0;
    let ledger =
        power_cuts(cuts, &mut random, |mount| Writer::new(&["write", mount, "0"]), look_at);
    let Some(ledger) = ledger else { return };
    for &(acknowledged, found) in &ledger {
        lost += u64::from(found.0 < acknowledged.0 || found.1 < acknowledged.1);
    }
    let most = ledger.iter().map(|(acknowledged, _)| acknowledged.0).max();
    println!("{cuts} power cuts of the ledger (up to {most:?} blocks): {lost} lost a record");
    assert_eq!(lost, 0, "{ledger:?}");

    // The comparisons need fewer.
    let cuts = if long() { cuts } else { 8 };
    let spool = power_cuts(cuts, &mut random, |mount| Writer::new(&["spool", mount]), spooled_on);
    let spool = spool.expect("it worked just now");
    let lost = spool.iter().filter(|(acknowledged, found)| found.0 < acknowledged.0).count();
    let most = spool.iter().map(|(acknowledged, _)| acknowledged.0).max();
    println!("{cuts} power cuts of the spool (up to {most:?} blocks): {lost} lost a block");
    assert_eq!(lost, 0, "{spool:?}");

    for how in ["flush", "fsync"] {
        let start = |mount: &str| Writer::new(&["sled", mount, how]);
        let runs = power_cuts(cuts, &mut random, start, sled_on).expect("it worked just now");
        let bad = runs.iter().filter(|(acknowledged, found)| found.0 < acknowledged.0);
        let records: u64 =
            runs.iter().map(|(acknowledged, found)| acknowledged.0.saturating_sub(found.0)).sum();
        let bad = bad.count();
        println!(
            "{cuts} power cuts of sled with its {how}: {bad} lost records, {records} together"
        );
        if how == "flush" {
            assert!(bad > 0, "this test cannot tell a flush from none: {runs:?}");
        }
    }
}

type Cut = ((u64, u64), (u64, u64));

fn power_cuts(
    cuts: u64,
    random: &mut Random,
    start: impl Fn(&str) -> Writer,
    look: impl Fn(&Path, &[u8]) -> (u64, u64),
) -> Option<Vec<Cut>> {
    let mut results = Vec::new();
    let runs = cuts.div_ceil(8);
    for _ in 0..runs {
        let place = tempfile::tempdir().unwrap();
        let disk = match emulated_disk(place.path()) {
            Ok(disk) => disk,
            Err(why) => {
                skip(&why);
                return None;
            }
        };
        let mount = place.path().join("mnt");
        let mut writer = start(mount.to_str().unwrap());
        writer.wait_for("ACK");
        for _ in 0..cuts.div_ceil(runs) {
            std::thread::sleep(Duration::from_micros(random.below(80_000)));
            // Acknowledged before the cut: must be on the medium.
            let acknowledged = writer.acknowledged();
            let odds = random.below(4);
            let image = disk.cut(|| random.below(4) < odds);
            results.push((acknowledged, look(place.path(), &image)));
        }
        assert!(disk.flushes() > 0);
        writer.kill();
    }
    Some(results)
}

/// How many numbers from 1 on sled still has; 0 when it does not open.
fn sled_on(place: &Path, image: &[u8]) -> (u64, u64) {
    let (mounted, mount) = mount_image(place, image);
    let path = mount.join("sled");
    let (to, found) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let db = sled::Config::new().path(path).segment_size(64 << 10).flush_every_ms(None).open();
        let mut count = 0;
        if let Ok(db) = &db {
            while let Ok(Some(_)) = db.get((count + 1_u64).to_be_bytes()) {
                count += 1;
            }
        }
        drop(db);
        let _ = to.send(count);
    });
    let count = found.recv_timeout(Duration::from_secs(10)).unwrap_or(0);
    let _ = reader.join();
    drop(mounted);
    (count, 0)
}
