//! The spool on a real directory.
#![allow(clippy::unwrap_used)]

use std::fs;

use soloist::block::SolvedBlock;
use soloist::block::StoredState;
use soloist::chain::BlockHash;
use soloist::spool::{Answer, Spool, SpoolError};

/// Bitcoin's first block: a whole block that is always at hand.
fn genesis() -> SolvedBlock {
    let block = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin);
    SolvedBlock {
        hash: soloist::chain::Chain::Main.genesis(),
        height: 0,
        unix: 1_231_006_505,
        reward: 5_000_000_000,
        worker: "garage".into(),
        from_partner: false,
        bytes: bitcoin::consensus::serialize(&block),
    }
}

fn regtest() -> SolvedBlock {
    let block = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
    let hash = soloist::chain::Chain::Regtest.genesis();
    SolvedBlock { hash, height: 900_123, bytes: bitcoin::consensus::serialize(&block), ..genesis() }
}

#[test]
fn a_block_lives_from_solved_to_mature() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, told) = Spool::open(dir.path()).unwrap();
    assert!(told.is_empty());
    let block = regtest();
    spool.write(&block).unwrap();
    spool.write(&genesis()).unwrap();
    let name = format!("0000900123-{}.block", block.hash);
    assert!(dir.path().join(&name).exists());

    let pending = spool.pending().unwrap();
    assert_eq!(pending.len(), 2);
    assert_eq!(pending[1].block, block);
    assert_eq!(pending[1].progress.state, StoredState::Candidate);

    spool
        .answered(&block.hash, Answer { unix: 1, node: "attic".into(), answer: "accepted".into() })
        .unwrap();
    spool.mark(&block.hash, StoredState::Accepted { node: "attic".into() }).unwrap();
    assert!(matches!(spool.forget(&block.hash), Err(SpoolError::NotMature)));

    // Another start, another thread.
    let (spool, told) = Spool::open(dir.path()).unwrap();
    assert!(told.is_empty());
    let read = std::thread::spawn({
        let (spool, hash) = (spool.clone(), block.hash);
        move || spool.read(&hash).unwrap()
    });
    let entry = read.join().unwrap();
    assert_eq!(entry.progress.state, StoredState::Accepted { node: "attic".into() });
    assert_eq!(entry.progress.answers.len(), 1);

    spool.mark(&block.hash, StoredState::Mature).unwrap();
    assert_eq!(spool.pending().unwrap().len(), 1);
    assert_eq!(spool.list().unwrap().len(), 2);
    spool.forget(&block.hash).unwrap();
    assert!(matches!(spool.read(&block.hash), Err(SpoolError::Unknown)));
    assert_eq!(spool.list().unwrap().len(), 1);
}

/// The clock was set after it was solved: its date moves, and its own file stays as it is.
#[test]
fn a_blocks_date_moves_and_its_file_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(dir.path()).unwrap();
    let block = regtest();
    spool.write(&block).unwrap();
    let file = || fs::read(dir.path().join(format!("0000900123-{}.block", block.hash))).unwrap();
    let written = file();
    let right = block.unix + 34_560_000;
    spool.date(&block.hash, right).unwrap();
    spool.mark(&block.hash, StoredState::Accepted { node: "attic".into() }).unwrap();
    let (spool, told) = Spool::open(dir.path()).unwrap();
    assert!(told.is_empty(), "{told:?}");
    for entry in [spool.pending().unwrap()[0].clone(), spool.read(&block.hash).unwrap()] {
        assert_eq!(entry.block, SolvedBlock { unix: right, ..block.clone() });
        assert!(matches!(entry.progress.state, StoredState::Accepted { .. }));
    }
    assert_eq!(file(), written);
    assert!(matches!(spool.date(&genesis().hash, 1), Err(SpoolError::Unknown)));
}

#[test]
fn a_file_that_was_not_renamed_yet_is_taken_in() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(dir.path()).unwrap();
    let block = regtest();
    spool.write(&block).unwrap();
    let name = dir.path().join(format!("0000900123-{}.block", block.hash));
    let temp = dir.path().join(format!("0000900123-{}.block.new", block.hash));
    fs::rename(&name, &temp).unwrap();
    let (spool, told) = Spool::open(dir.path()).unwrap();
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(spool.pending().unwrap()[0].block, block);
    assert!(name.exists() && !temp.exists());
}

/// A start reads what is to be submitted or watched, and nothing else.
#[test]
fn mature_blocks_are_not_read_at_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(dir.path()).unwrap();
    let (done, open) = (regtest(), genesis());
    spool.write(&done).unwrap();
    spool.write(&open).unwrap();
    assert_eq!(spool.mature().unwrap(), []);
    spool.mark(&done.hash, StoredState::Mature).unwrap();
    spool.mark(&open.hash, StoredState::Stale).unwrap();
    let name = dir.path().join(format!("0000900123-{}.block", done.hash));
    fs::write(&name, "whoever reads this calls it damaged").unwrap();

    let (spool, told) = Spool::open(dir.path()).unwrap();
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(spool.mature().unwrap(), [(900_123, done.hash)]);
    let pending = spool.pending().unwrap();
    assert_eq!(pending.iter().map(|entry| entry.block.hash).collect::<Vec<_>>(), [open.hash]);
    assert!(matches!(spool.read(&done.hash), Err(SpoolError::Damaged(_))));
    // What lost its place may come back.
    assert!(matches!(spool.forget(&open.hash), Err(SpoolError::NotMature)));
}

/// Whenever the power goes, a forgotten block is there with its state or is gone; it never comes back
/// as a new one.
#[test]
fn a_power_cut_while_a_block_is_forgotten_brings_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(dir.path()).unwrap();
    let (done, lost) = (regtest(), genesis());
    for (block, state) in [(&done, StoredState::Mature), (&lost, StoredState::Stale)] {
        spool.write(block).unwrap();
        spool.mark(&block.hash, state).unwrap();
    }
    // The block goes first: where it cannot be removed, its state stays.
    let place = |block: &SolvedBlock, end: &str| {
        dir.path().join(format!("{:010}-{}.{end}", block.height, block.hash))
    };
    fs::rename(place(&done, "block"), dir.path().join("elsewhere")).unwrap();
    fs::create_dir(place(&done, "block")).unwrap();
    assert!(matches!(spool.forget(&done.hash), Err(SpoolError::Io { .. })));
    assert!(place(&done, "state").exists());

    // The power went between the two.
    fs::remove_dir(place(&done, "block")).unwrap();
    fs::remove_file(place(&lost, "block")).unwrap();
    let (spool, told) = Spool::open(dir.path()).unwrap();
    assert!(told.is_empty(), "{told:?}");
    assert!(spool.list().unwrap().is_empty() && spool.mature().unwrap().is_empty());
    assert!(!place(&done, "state").exists());
    assert!(place(&lost, "state").exists(), "it tells of a block that is missing");
}

#[test]
fn every_cut_of_a_file_is_recognised_set_aside_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let block = genesis();
    let whole = soloist::spool::encode(&block);
    let name = format!("0000000000-{}.block", block.hash);
    for (count, cut) in (0..whole.len()).step_by(7).enumerate() {
        fs::write(dir.path().join(&name), &whole[..cut]).unwrap();
        let (spool, told) = Spool::open(dir.path()).unwrap();
        let listed = spool.list().unwrap();
        // A cut behind the block costs the name and the checksum, not the block.
        if cut >= 32 + block.bytes.len() {
            assert_eq!(listed[0].block.bytes, block.bytes);
            fs::remove_file(dir.path().join(&name)).unwrap();
        } else {
            assert_eq!((listed.len(), told.len()), (0, 1), "cut at {cut}");
            assert_eq!(fs::read_dir(dir.path().join("damaged")).unwrap().count(), count + 1);
        }
    }
}

#[test]
fn a_damaged_state_means_submit_again() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(dir.path()).unwrap();
    let block = regtest();
    spool.write(&block).unwrap();
    spool.mark(&block.hash, StoredState::Mature).unwrap();
    assert!(spool.pending().unwrap().is_empty());
    let state = dir.path().join(format!("0000900123-{}.state", block.hash));
    let mut bytes = fs::read(&state).unwrap();
    bytes[12] ^= 1;
    fs::write(&state, bytes).unwrap();
    let (spool, told) = Spool::open(dir.path()).unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(spool.pending().unwrap()[0].progress.state, StoredState::Candidate);
}

#[test]
fn bytes_that_are_not_the_block_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(dir.path()).unwrap();
    let wrong = SolvedBlock { hash: BlockHash([1; 32]), ..regtest() };
    assert!(matches!(spool.write(&wrong), Err(SpoolError::WrongHash)));
    let short = SolvedBlock { bytes: vec![0; 79], ..regtest() };
    assert!(matches!(spool.write(&short), Err(SpoolError::WrongHash)));
}
