//! The ledger on a real directory: what is written comes back, also after damage.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use soloist::ledger::record::{Grain, RejectReason, StoredState};
use soloist::ledger::totals::{LedgerEvent, Storage};

use crate::ledger_world::{Picture, World};

#[test]
fn everything_comes_back_after_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), 1_790_000_000);
    world.tell(LedgerEvent::Network { difficulty: 1e6 });
    let garage = world.ledger.worker(world.now(), "garage", "bitaxe");
    world.tell(LedgerEvent::Level { worker: garage, difficulty: 512.0 });
    world.mine(garage, 7200, 10);
    world.tell(LedgerEvent::Reject {
        worker: garage,
        reason: RejectReason::Stale,
        actual: 1e9,
        height: 9,
    });
    let hash = soloist::chain::Chain::Regtest.genesis();
    world.tell(LedgerEvent::BlockFound {
        worker: garage,
        hash,
        height: 9,
        difficulty: 2e6,
        reward: 312_500_000,
        payee: String::new(),
    });
    world.tell(LedgerEvent::Block { hash, state: StoredState::Accepted { node: "attic".into() } });
    world.mine(garage, 600, 10);
    let before = world.picture();
    assert_eq!(before.total.blocks, 1);
    assert_eq!(before.total.ever.rejects[RejectReason::Stale.index()], 1);
    assert!(before.total.ever.accepted >= 770);
    world.stop();

    let mut world = World::open(dir.path(), 1_790_010_000);
    assert_eq!(world.ledger.storage(), &Storage::Ready);
    assert_eq!(world.ledger.notes().collect::<Vec<_>>(), Vec::<&str>::new());
    let after = world.picture();
    assert!(before == after);
    let again = world.ledger.worker(world.now(), "garage", "bitaxe");
    assert_eq!(world.ledger.get(again).unwrap().level, Some(512.0));
    assert!(world.ledger.get(again).unwrap().history(Grain::Minute).len() > 100);
    world.stop();
}

#[test]
fn what_was_counted_before_the_card_was_read_is_added_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path(), 1_790_000_000);
    let a = world.ledger.worker(world.now(), "a", "x");
    let b = world.ledger.worker(world.now(), "b", "x");
    world.mine(a, 4000, 10);
    world.mine(b, 4000, 20);
    let first = world.picture();
    world.stop();

    // The next start mines before it has read the card, in another order of workers.
    let mut world = World::unread(dir.path(), 1_790_020_000);
    let c = world.ledger.worker(world.now(), "c", "x");
    let b = world.ledger.worker(world.now(), "b", "x");
    world.mine(c, 100, 10);
    world.mine(b, 100, 10);
    let unread = world.picture();
    world.read();
    let merged = world.picture();
    assert_eq!(merged.total.ever.accepted, first.total.ever.accepted + unread.total.ever.accepted);
    let of = |name: &str, picture: &Picture| {
        let found = picture.workers.iter().find(|worker| worker.0 == name);
        found.map_or(0, |worker| worker.2.ever.accepted)
    };
    assert_eq!(of("a", &merged), of("a", &first));
    assert_eq!(of("b", &merged), of("b", &first) + of("b", &unread));
    assert_eq!(of("c", &merged), of("c", &unread));
    // The handles from before are still good.
    world.mine(c, 50, 10);
    assert_eq!(world.ledger.get(c).unwrap().name, "c");
    let last = world.picture();
    assert_eq!(of("c", &last), of("c", &merged) + 5);
    world.stop();
    assert!(World::open(dir.path(), 1_790_030_000).picture() == last);
}

#[test]
fn nearly_full_means_nothing_is_written_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::unread(dir.path(), 1_790_000_000);
    world.keeper.as_mut().unwrap().keep_free(u64::MAX);
    world.read();
    let worker = world.ledger.worker(world.now(), "w", "x");
    world.mine(worker, 4000, 10);
    let Storage::Failing { why, .. } = world.ledger.storage() else { panic!("it is written") };
    assert!(why.contains("full"), "{why}");
    assert_eq!(world.ledger.total().totals().ever.accepted, 400);
    assert_eq!(world.ledger.notes().count(), 1);
}

/// A partition that becomes read-only, and one that vanishes, while miners go on.
#[test]
fn a_partition_that_goes_and_comes_back_has_everything() {
    let place = tempfile::tempdir().unwrap();
    let mount = |arguments: &[&str]| {
        let status = Command::new("mount").args(arguments).arg(place.path()).status();
        status.is_ok_and(|status| status.success())
    };
    let root = nix::unistd::geteuid().is_root();
    if !root || !mount(&["-t", "tmpfs", "-o", "size=24m", "none"]) {
        eprintln!("SKIPPED, not tested on this machine: mounting needs root");
        return;
    }
    let _unmount = Unmount(place.path());
    let mut world = World::open(place.path(), 1_790_000_000);
    let worker = world.ledger.worker(world.now(), "w", "x");
    world.mine(worker, 4000, 10);
    assert_eq!(world.ledger.storage(), &Storage::Ready);

    // With an open file for writing a file system cannot be made read-only; a dying card's is.
    if mount(&["-o", "remount,ro"]) {
        world.mine(worker, 4000, 10);
        assert!(matches!(world.ledger.storage(), Storage::Failing { .. }));
        assert!(mount(&["-o", "remount,rw"]));
        world.mine(worker, 120, 10);
        assert_eq!(world.ledger.storage(), &Storage::Ready);
    }

    // Pulled out, and nothing in its place that can be written: a file where the folder was.
    assert!(Command::new("umount").arg("-l").arg(place.path()).status().unwrap().success());
    std::fs::write(place.path().join("ledger"), "").unwrap();
    world.mine(worker, 4000, 10);
    let Storage::Failing { why, .. } = world.ledger.storage() else { panic!("it is written") };
    println!("{why}");

    // Another card in its place: everything is written there.
    assert!(mount(&["-t", "tmpfs", "-o", "size=24m", "none"]));
    world.mine(worker, 120, 10);
    assert_eq!(world.ledger.storage(), &Storage::Ready);
    let last = world.picture();
    world.stop();
    assert!(World::open(place.path(), 1_790_100_000).picture() == last);
}

struct Unmount<'a>(&'a std::path::Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}
