//! Backup, restore, snapshots, copies and export of a real ledger.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use soloist::chain::BlockHash;
use soloist::clock::Now;
use soloist::ledger::backup::{self, BackupError, MAX_BACKUP};
use soloist::ledger::check::{Check, check};
use soloist::ledger::export;
use soloist::ledger::record::{Grain, Record, StoredState};
use soloist::ledger::store::{Store, StoreError};
use soloist::ledger::totals::{Ledger, LedgerEvent};
use soloist::ledger::transfer::{self, TransferError};

use crate::ledger_world::{World, picture};

const START: u64 = 1_790_000_000;

fn now() -> Now {
    Now { mono: Instant::now(), unix: START }
}

/// Ten days of three miners, one of them with a name that wants to be a formula.
fn mined(dir: &Path) -> World {
    let mut world = World::open(dir, START);
    world.tell(LedgerEvent::Network { difficulty: 1e9 });
    let names = ["garage", "attic, \"left\"", "=1+1"];
    let miners = names.map(|name| world.ledger.worker(world.now(), name, "bitaxe"));
    for _ in 0..10 * 24 {
        miners.iter().for_each(|&miner| world.mine(miner, 1200, 120));
    }
    world.tell(LedgerEvent::Fix { worker: miners[0], difficulty: Some(512.0) });
    world.tell(LedgerEvent::Fix { worker: miners[1], difficulty: Some(7.0) });
    world.tell(LedgerEvent::Fix { worker: miners[1], difficulty: None });
    let hash = BlockHash([3; 32]);
    let (height, difficulty, reward) = (900_001, 1e12, 312_500_000);
    let worker = miners[1];
    world.tell(LedgerEvent::BlockFound {
        worker,
        hash,
        height,
        difficulty,
        reward,
        payee: String::new(),
    });
    world.tell(LedgerEvent::Block { hash, state: StoredState::Accepted { node: "shed".into() } });
    world
}

#[test]
fn a_backup_moves_the_ledger_to_a_new_card() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut world = mined(old.path());
    // Made beside the running daemon; everything was journalled by the block.
    let config = b"[payout]\naddress = \"bc1q\"\n".as_slice();
    let file = transfer::make_from_card(now(), old.path(), &[("soloist.toml", config)]).unwrap();
    assert!(file.len() < MAX_BACKUP, "{} bytes", file.len());
    println!("backup of ten days: {} bytes", file.len());
    assert!(
        matches!(transfer::restore(now(), old.path(), &file), Err(TransferError::Store(_))),
        "not under a running Soloist"
    );

    let restored = transfer::restore(now(), new.path(), &file).unwrap();
    let attached = transfer::attachments(&file).unwrap();
    assert_eq!(attached, [("soloist.toml".to_owned(), config.to_vec())]);
    assert_eq!((restored.workers, restored.blocks), (3, 1));
    let mut moved = World::open(new.path(), START + 86_400 * 11);
    assert_eq!(moved.ledger.notes().count(), 0);
    assert!(moved.picture() == world.picture());
    let fixed: Vec<_> = moved.ledger.workers().map(|(_, worker)| worker.fixed).collect();
    assert_eq!(fixed, [Some(512.0), None, None]);

    // Onto a card that already has a ledger: the old one is set aside, not lost.
    let other = moved.ledger.worker(moved.now(), "other", "x");
    moved.mine(other, 600, 60);
    moved.stop();
    transfer::restore(now(), new.path(), &file).unwrap();
    assert!(World::open(new.path(), START + 86_400 * 12).picture() == world.picture());
    let aside = new.path().join("ledger/aside");
    assert!(aside.join("journal-1").exists() && aside.join("cache-1").exists());
    world.tell(LedgerEvent::Stop);
}

/// A key that is none would end Stratum V2 for good: it is left out, and so is one that is cut.
#[test]
fn only_a_key_of_use_travels() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join(transfer::AUTHORITY_KEY);
    for (bytes, is_one) in [(vec![5; 32], true), (vec![0; 32], false), (vec![5; 31], false)] {
        fs::write(&key, &bytes).unwrap();
        assert_eq!(transfer::authority_key(dir.path()).is_some(), is_one, "{bytes:?}");
    }
    assert_eq!(transfer::authority_key(Path::new("/nowhere")), None);
    fs::write(&key, [9; 32]).unwrap();
    let ledger = Ledger::new(now());
    let restore = |bytes: &[u8]| {
        let file = transfer::make(&ledger, &[(transfer::AUTHORITY_KEY, bytes)]).unwrap();
        transfer::restore_key(dir.path(), &file).unwrap()
    };
    assert!(!restore(&[0; 32]) && !restore(&[5; 31]) && !restore(&[0xff; 32]));
    let before = dir.path().join("authority-key.before");
    assert!(restore(&[9; 32]) && !before.exists(), "the same");
    assert_eq!(fs::read(&key).unwrap(), [9; 32]);
    assert!(restore(&[5; 32]));
    assert_eq!(fs::read(&key).unwrap(), [5; 32]);
    assert_eq!(fs::read(&before).unwrap(), [9; 32]);
    // A backup from before there was a key.
    let file = transfer::make(&ledger, &[]).unwrap();
    assert!(!transfer::restore_key(dir.path(), &file).unwrap());
    assert!(matches!(
        transfer::restore_key(dir.path(), &file[1..]),
        Err(TransferError::Backup(BackupError::NotABackup | BackupError::Damaged))
    ));
    assert_eq!(fs::read(&key).unwrap(), [5; 32]);
}

#[test]
fn a_bad_backup_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let world = mined(dir.path());
    let before = world.picture();
    let file = transfer::make(&world.ledger, &[]).unwrap();
    world.stop();
    for bad in [&file[..file.len() - 1], b"", b"SOLOBAK1", b"PK\x03\x04"] {
        assert!(matches!(
            transfer::restore(now(), dir.path(), bad),
            Err(TransferError::Backup(BackupError::Damaged | BackupError::NotABackup))
        ));
    }
    assert!(World::open(dir.path(), START + 86_400 * 11).picture() == before);
    // Names in a backup are names, not paths.
    let attachment = |name: &str| Record::Attachment { name: name.into(), bytes: vec![1] };
    let names = ["../../etc/passwd", "/etc/passwd", ".bashrc", "", "good.toml"];
    let evil = backup::write(&names.map(attachment));
    let target = tempfile::tempdir().unwrap();
    transfer::restore(now(), target.path(), &evil).unwrap();
    assert_eq!(transfer::attachments(&evil).unwrap(), [("good.toml".to_owned(), vec![1])]);
    let large = vec![0; 61 * 1024];
    let ledger = Ledger::new(now());
    assert!(matches!(
        transfer::make(&ledger, &[("x", &large)]),
        Err(TransferError::TooLarge(name)) if name == "x"
    ));
}

#[test]
fn snapshots_are_kept_for_a_week_and_can_be_restored() {
    let dir = tempfile::tempdir().unwrap();
    let world = mined(dir.path());
    let snapshots = Store::snapshots(dir.path());
    assert_eq!(snapshots.len(), 7);
    assert!(snapshots.iter().all(|(_, result)| result.is_ok()), "{snapshots:?}");
    let days: Vec<u32> = snapshots.iter().map(|(day, _)| *day).collect();
    assert!(days.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{days:?}");
    let last = world.picture();
    world.stop();

    // The journal is gone: the newest snapshot and the cache stand in for it, and it is told.
    fs::remove_file(dir.path().join("ledger/journal")).unwrap();
    let (day, records) = Store::newest_snapshot(dir.path()).unwrap();
    let kept = Ledger::replay(now(), &records);
    assert_eq!((day, kept.workers().count()), (*days.last().unwrap(), 3));
    let world = World::open(dir.path(), START + 86_400 * 11);
    let notes: Vec<_> = world.ledger.notes().collect();
    assert!(notes.len() == 1 && notes[0].contains("missing"), "{notes:?}");
    // The cache had the sums of the last stop; the block of the last day is lost with the journal.
    assert_eq!(world.picture().total.ever, last.total.ever);
    // History is in the snapshot alone.
    assert!(world.picture().days.len() >= 10, "{:?}", world.picture().days.len());
    assert!(kept.total().totals().ever.accepted > last.total.ever.accepted * 8 / 10);
}

#[test]
fn a_check_tells_and_changes_nothing_unless_it_is_to_repair() {
    let dir = tempfile::tempdir().unwrap();
    mined(dir.path()).stop();
    let sound = check(&Check { data: dir.path(), repair: false, hand_over: false }).unwrap();
    assert!(sound.notes.is_empty() && sound.records > 100, "{sound:?}");
    assert_eq!(sound.snapshots.len(), 7);

    let journal = dir.path().join("ledger/journal");
    let mut bytes = fs::read(&journal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let seen = check(&Check { data: dir.path(), repair: false, hand_over: false }).unwrap();
    assert_eq!(seen.notes.len(), 1, "{seen:?}");
    assert_eq!(fs::read(&journal).unwrap(), bytes, "only looked at");

    let repaired = check(&Check { data: dir.path(), repair: true, hand_over: false }).unwrap();
    assert_eq!(repaired.notes, seen.notes);
    assert_ne!(fs::read(&journal).unwrap(), bytes);
    assert_eq!(fs::read(dir.path().join("ledger/aside/journal-1")).unwrap(), bytes);
    // The daemon, which finds all in order, still tells it: once.
    let world = World::open(dir.path(), START + 86_400 * 11);
    assert_eq!(world.ledger.notes().collect::<Vec<_>>(), seen.notes);
    world.stop();
    assert_eq!(World::open(dir.path(), START + 86_400 * 12).ledger.notes().count(), 0);
}

#[test]
fn copies_go_to_another_file_system_and_only_the_newest_stay() {
    let (data, stick) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let result = transfer::copy_to(stick.path(), data.path(), 20_000, b"x");
    assert!(matches!(result, Err(TransferError::NotMounted(_))), "{result:?}");
    let root = nix::unistd::geteuid().is_root();
    let mount = |arguments: &[&str]| {
        Command::new("mount").args(arguments).arg(stick.path()).status().unwrap().success()
    };
    if !root || !mount(&["-t", "tmpfs", "-o", "size=1m", "none"]) {
        eprintln!("SKIPPED, not tested on this machine: copies to a stick need root");
        return;
    }
    for day in 20_000..20_010 {
        transfer::copy_to(stick.path(), data.path(), day, &vec![1; 50_000]).unwrap();
    }
    assert_eq!(fs::read_dir(stick.path()).unwrap().count(), 7);
    // A full stick is an error, and leaves no half file.
    let full = transfer::copy_to(stick.path(), data.path(), 20_011, &vec![1; 900_000]);
    assert!(matches!(full, Err(TransferError::Store(StoreError::Io { .. }))), "{full:?}");
    assert_eq!(fs::read_dir(stick.path()).unwrap().count(), 7);
    assert!(Command::new("umount").arg(stick.path()).status().unwrap().success());
}

#[test]
fn exports_agree_with_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let world = mined(dir.path());
    let blocks = export::blocks_csv(&world.ledger);
    let lines: Vec<&str> = blocks.split("\r\n").collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[1].contains("\"attic, \"\"left\"\"\"") && lines[1].contains(",accepted,shed,"));

    let days = export::history_csv(&world.ledger, Grain::Day);
    let total: u32 = days
        .lines()
        .filter(|line| line.starts_with(",,"))
        .map(|line| line.split(',').nth(4).unwrap().parse::<u32>().unwrap())
        .sum();
    let accepted = world.ledger.total().totals().ever.accepted;
    assert_eq!(u64::from(total), accepted);
    assert!(days.contains("'=1+1,bitaxe"));
    assert_eq!(export::workers_csv(&world.ledger).lines().count(), 5);

    let json: serde_json::Value = serde_json::from_str(&export::json(&world.ledger)).unwrap();
    assert_eq!(json["total"]["ever"]["accepted"], accepted);
    assert_eq!(json["workers"].as_array().unwrap().len(), 3);
    assert_eq!(json["blocks"][0]["state"], "accepted");
    assert_eq!(json["blocks"][0]["node"], "shed");
    assert_eq!(json["workers"][2]["name"], "=1+1");
    let same = picture(&world.ledger);
    world.stop();
    assert!(picture(&World::open(dir.path(), START + 86_400 * 11).ledger) == same);
}

#[test]
fn a_nearly_full_card_makes_the_ledger_smaller() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = mined(dir.path());
    let aside = dir.path().join("ledger/aside");
    fs::create_dir_all(&aside).unwrap();
    fs::write(aside.join("journal-1"), vec![0; 100_000]).unwrap();
    let points = |world: &World| -> usize {
        let grains = [Grain::Minute, Grain::Hour, Grain::Day];
        let workers = world.ledger.workers().map(|(_, worker)| worker);
        let all = workers.chain([world.ledger.total()]);
        all.map(|worker| grains.map(|grain| worker.history(grain).len()).iter().sum::<usize>())
            .sum()
    };
    let (before, totals) = (points(&world), world.picture().total);
    world.tell(LedgerEvent::Shrink);
    assert!(points(&world) < before);
    assert!(world.picture().total == totals, "sums are not history");
    assert!(!aside.exists());
    // Two that were left, and perhaps the one of today.
    assert!((2..=3).contains(&Store::snapshots(dir.path()).len()));
    for _ in 0..200 {
        world.tell(LedgerEvent::Shrink);
    }
    assert!(world.picture().total == totals);
    let last = world.picture();
    world.stop();
    assert!(World::open(dir.path(), START + 86_400 * 11).picture() == last);
}
