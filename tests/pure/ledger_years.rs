//! Ten years of ten miners: what the ledger weighs, on the card and in a backup.
//!
//! With `SOLOIST_LONG=1` all ten years are lived through, in steps of ten minutes, so that the cache
//! is written as often as in life. Without it the first years are laid in as the journal's records
//! of history, and only the last ten days are lived through.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use soloist::chain::BlockHash;
use soloist::ledger::backup;
use soloist::ledger::record::{
    Counts, FILE_HEADER, Grain, MAX_POINTS, Point, Record, StoredState, Totals, WorkerNumber,
    encode,
};
use soloist::ledger::store::Store;
use soloist::ledger::totals::{BACKUP_BUDGET, LedgerEvent, Storage};

use crate::ledger_world::World;

const START: u64 = 1_790_000_000 / 86_400 * 86_400;

#[test]
fn ten_years_stay_within_the_bound() {
    let long = std::env::var_os("SOLOIST_LONG").is_some_and(|value| value != "0");
    let step = 600;
    let days = 3653;
    let lived = if long { days } else { 10 };
    // In memory: sixty thousand fsyncs would wear out this machine's disk.
    let dir = match fs::metadata("/dev/shm") {
        Ok(_) => tempfile::tempdir_in("/dev/shm").unwrap(),
        Err(_) => tempfile::tempdir().unwrap(),
    };
    let mut world = World::open(dir.path(), START);
    world.tell(LedgerEvent::Network { difficulty: 1e14 });
    let mut miners: Vec<_> = (0..10)
        .map(|n| world.ledger.worker(world.now(), &format!("miner {n}"), "bitaxe"))
        .collect();
    if !long {
        world.stop();
        lay_in(dir.path(), days - lived);
        world = World::open(dir.path(), START + (days - lived) * 86_400);
        world.tell(LedgerEvent::Network { difficulty: 1e14 });
        miners = (0..10)
            .map(|n| world.ledger.worker(world.now(), &format!("miner {n}"), "bitaxe"))
            .collect();
    }
    let had = world.ledger.total().totals().ever.accepted;
    let (mut most, mut most_journal) = (0, 0);
    let before = written();
    for day in days - lived..days {
        for _ in 0..86_400 / step {
            world.advance(step);
            for &miner in &miners {
                world.share(miner, 1e5);
            }
        }
        if day % 300 == 299 {
            // A miner is replaced by a new one.
            let name = format!("miner of day {day}");
            let place = (day / 300 % 10) as usize;
            miners[place] = world.ledger.worker(world.now(), &name, "nerdqaxe");
        }
        if day % 100 == 50 {
            let mut hash = [1; 32];
            hash[..4].copy_from_slice(&(day as u32).to_le_bytes());
            let (hash, worker) = (BlockHash(hash), miners[0]);
            world.tell(LedgerEvent::BlockFound {
                worker,
                hash,
                height: day as u32,
                difficulty: 1e14,
                reward: 1,
                payee: String::new(),
            });
            world.tell(LedgerEvent::Block { hash, state: StoredState::Mature });
        }
        if day % 5 == 0 {
            world.tell(LedgerEvent::Audit(format!("Day {day}: the page was asked for a backup.")));
        }
        if day % 50 == 0 || day >= days - 10 {
            most = most.max(directory_bytes(dir.path()));
            let journal = dir.path().join("ledger/journal");
            most_journal = most_journal.max(fs::metadata(journal).unwrap().len());
        }
    }
    assert_eq!(world.ledger.storage(), &Storage::Ready);
    let notes: Vec<_> = world.ledger.notes().collect();
    assert!(notes.is_empty(), "{notes:?}");
    let per_day = (written() - before) / lived;
    let totals = world.ledger.total().totals();
    let backup = backup::write(&world.ledger.records(BACKUP_BUDGET)).len();
    println!(
        "ten years of ten miners: at most {} kB on the card ({} kB journal), {} kB written a day, \
         backup of {} kB, {} workers known, {} points in memory",
        most / 1000,
        most_journal / 1000,
        per_day / 1000,
        backup / 1000,
        world.ledger.workers().count(),
        world.ledger.workers().map(|(_, worker)| worker.history(Grain::Day).len()).sum::<usize>(),
    );
    assert_eq!(totals.ever.accepted - had, lived * (86_400 / step) * 10);
    assert_eq!(world.ledger.total().history(Grain::Day).len() as u64, days + 1);
    // The replaced miners are gone after 30 days, all but the one of the last days.
    assert!(world.ledger.workers().count() <= 11);
    assert!(most <= 64 << 20, "{most} bytes");
    assert!(backup <= backup::MAX_BACKUP, "{backup} bytes");
    let snapshots = Store::snapshots(dir.path());
    assert_eq!(snapshots.len(), 7);
    assert!(snapshots.iter().all(|(_, result)| result.is_ok()), "{snapshots:?}");
    let last = world.picture();
    world.stop();
    assert!(World::open(dir.path(), START + days * 86_400).picture() == last);
}

/// Writes a journal as compaction would have written it after so many days.
fn lay_in(dir: &Path, days: u64) {
    let mut records = Vec::new();
    let day = |unix: u64| (START + unix) / 86_400;
    for number in 0..=10_u32 {
        let worker = WorkerNumber(number);
        if number > 0 {
            let (name, device) = (format!("miner {}", number - 1), "bitaxe".to_owned());
            records.push(Record::Worker { number: worker, name, device, unix: START });
        }
        let last_seen = START + days * 86_400;
        let ever = Counts { accepted: days * 144, work: days as f64 * 144e5, ..Counts::default() };
        let totals =
            Totals { ever, last_seen, tallies: 10, first_seen: START, ..Totals::default() };
        records.push(Record::Totals { worker, totals });
        let point = |period: u64, accepted: u32| Point {
            period: period as u32,
            accepted: accepted + period as u32 % 7,
            rejected: period as u32 % 5,
            work: 1e7 + period as f32,
            best: 1e9 / (period as f32),
            online: 3_600,
            squares: 0.0,
        };
        let all_days: Vec<Point> =
            (day(0)..day(days * 86_400)).map(|day| point(day, 144)).collect();
        let end = (START + days * 86_400) / 3600;
        let all_hours: Vec<Point> = (end - 90 * 24..end).map(|hour| point(hour, 6)).collect();
        for (grain, points) in [(Grain::Day, all_days), (Grain::Hour, all_hours)] {
            for points in points.chunks(MAX_POINTS) {
                records.push(Record::Points { worker, grain, points: points.to_vec() });
            }
        }
    }
    let mut journal = FILE_HEADER.to_vec();
    for (sequence, record) in (1..).zip(&records) {
        encode(record, sequence, &mut journal);
    }
    let dir = dir.join("ledger");
    fs::remove_dir_all(&dir).unwrap();
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("journal"), journal).unwrap();
}

/// Strangers on the network make up names and find shares: the tables and the card stay bounded.
#[test]
fn ten_thousand_workers_do_not_grow_it_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), START);
    for number in 0..10_000_u32 {
        let name = format!("{number:0>100}");
        let worker = world.ledger.worker(world.now(), &name, &"d".repeat(60));
        world.tell(LedgerEvent::Connected(worker));
        world.share(worker, 1e-3);
        world.tell(LedgerEvent::Disconnected(worker));
        world.advance(7);
    }
    assert_eq!(world.ledger.workers().count(), 1024);
    assert_eq!(world.ledger.total().totals().ever.accepted, 10_000);
    let bytes = directory_bytes(dir.path());
    println!("ten thousand workers: {} kB on the card", bytes / 1000);
    assert!(bytes < 64 << 20);
    let last = world.picture();
    world.stop();
    assert!(World::open(dir.path(), START + 86_400).picture() == last);
}

fn directory_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => directory_bytes(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Bytes that this thread handed to the kernel: other tests write beside it.
fn written() -> u64 {
    let io = fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar:")).unwrap();
    line.trim().parse().unwrap()
}
