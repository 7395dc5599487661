//! What hashing costs, by every backend of this processor: `cargo bench --bench hash`.
//!
//! `share` is to be compared with its `bare compressions`, which calls the crate sha2's compression
//! function as often as a share needs it and does nothing else.

use std::hint::black_box;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use soloist::hash::{Backend, PrefixState};

fn main() {
    headers();
    pairs();
    branch();
    share();
    single();
}

fn headers() {
    println!("header of a job, each of 1024");
    for backend in Backend::available() {
        let midstate = backend.midstate(&[0x5a; 64]);
        time(backend.name(), 1024, || {
            backend.header_hashes(&midstate, black_box(b"twelve bytes"), 0..=1023, 0)
        });
    }
}

fn pairs() {
    println!("pair of a merkle tree, each of 1000");
    let level = txids(2000);
    for backend in Backend::available() {
        time(backend.name(), 1000, || backend.merkle_pairs(black_box(&level)));
    }
    time("sha2's Digest", 1000, || sha2_pairs(black_box(&level)));
}

/// The merkle branch of a template with 4,000 transactions.
fn branch() {
    println!("branch of 4000");
    let level = txids(4000);
    for backend in Backend::available() {
        let by_backend = |level: &[[u8; 32]]| backend.merkle_pairs(level);
        time(backend.name(), 1, || merkle_branch(level.clone(), by_backend));
    }
    time("sha2's Digest", 1, || merkle_branch(level.clone(), sha2_pairs));
}

/// A share of a job with 4,000 transactions: the end of a coinbase of 282 bytes, 12 steps of the
/// branch, and the header, which makes 4 + 36 + 3 compressions.
fn share() {
    println!("share");
    let branch = txids(12);
    for backend in Backend::available() {
        let prefix = backend.prefix(&[1; 150]);
        time(backend.name(), 1, || judge(backend, &prefix, &branch, black_box(&[3; 12])));
    }
    let blocks = black_box([[6; 64]]);
    time("bare compressions", 1, || {
        let mut state = black_box([5; 8]);
        for _ in 0..43 {
            sha2::block_api::compress256(&mut state, &blocks);
        }
        state
    });
}

fn single() {
    println!("header of 80 bytes");
    for backend in Backend::available() {
        time(backend.name(), 1, || backend.sha256d(black_box(&[7; 80])));
    }
    time("sha2's Digest", 1, || sha2_sha256d(black_box(&[7; 80])));
}

/// Prints the median of a hundred samples of some milliseconds each, divided by the calls in a sample and
/// the `elements` of a call, and how far the middle half of the samples lies apart.
fn time<T>(name: &str, elements: u32, mut call: impl FnMut() -> T) {
    let mut sample = |calls: u32| {
        let start = Instant::now();
        (0..calls).for_each(|_| drop(black_box(call())));
        start.elapsed()
    };
    let mut calls = 1;
    while sample(calls) < Duration::from_millis(2) {
        calls *= 2;
    }
    let mut each: Vec<f64> = (0..100)
        .map(|_| sample(calls).as_secs_f64() * 1e9 / f64::from(calls) / f64::from(elements))
        .collect();
    each.sort_by(f64::total_cmp);
    println!("    {name:24} {:10.1} ns  ({:.1} to {:.1})", each[50], each[25], each[75]);
}

fn judge(
    backend: &Backend,
    prefix: &PrefixState,
    branch: &[[u8; 32]],
    extranonces: &[u8],
) -> [u8; 32] {
    let coinbase = backend.sha256d_after(prefix, &[extranonces, &[4; 120]]);
    let root = backend.branch_root(&coinbase, branch);
    let mut header = [2; 80];
    header[36..68].copy_from_slice(&root);
    backend.sha256d(&header)
}

fn merkle_branch(
    mut level: Vec<[u8; 32]>,
    pairs: impl Fn(&[[u8; 32]]) -> Vec<[u8; 32]>,
) -> Vec<[u8; 32]> {
    let mut branch = Vec::new();
    while level.len() > 1 {
        branch.push(level[1]);
        if level.len() % 2 == 1 {
            level.extend(level.last().copied());
        }
        level = pairs(&level);
    }
    branch
}

fn txids(count: u32) -> Vec<[u8; 32]> {
    (0..count).map(|i| sha2_sha256d(&i.to_le_bytes())).collect()
}

fn sha2_pairs(level: &[[u8; 32]]) -> Vec<[u8; 32]> {
    level.chunks_exact(2).map(|pair| sha2_sha256d(pair.as_flattened())).collect()
}

fn sha2_sha256d(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}
