//! Files that were replaced, on a disk that loses what was not flushed.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../ledger_world/disk.rs"]
mod disk;

use std::fs;

use disk::{Disk, Mounted};
use soloist::fsutil::{Rights, replace};

/// The number of a run, which a power cut must not give to the next one, and every other file that
/// is replaced: what was reported as written is there after a cut at that moment, in one piece.
#[test]
fn a_file_that_was_replaced_survives_a_power_cut() {
    let place = tempfile::tempdir().unwrap();
    let disk = match Disk::new(place.path(), 16 << 20) {
        Ok(disk) => disk,
        Err(why) => {
            println!("NOT checked: power cuts (no emulated disk: {why})");
            return;
        }
    };
    let run = place.path().join("mnt/run");
    for number in 1..=12_u32 {
        let text = format!("{number}\n").repeat(1000);
        replace(&run, text.as_bytes(), Rights::Keep(0o644)).unwrap();
        // None of what was not flushed has reached the medium, or every other sector of it.
        let mut sector = 0;
        let image = disk.cut(|| {
            sector += 1;
            number % 2 == 0 && sector % 2 == 0
        });
        let after = place.path().join("after");
        fs::write(&after, image).unwrap();
        let mounted = Mounted::new(&after, &place.path().join("after.mnt")).unwrap();
        let found = fs::read_to_string(place.path().join("after.mnt/run")).unwrap_or_default();
        drop(mounted);
        assert!(found == text, "{number}: {} is there", found.lines().next().unwrap_or("nothing"));
    }
}
