//! What hashing costs, by every backend of this processor: `cargo bench --bench hash`.
//!
//! `share` is to be compared with `share/bare compressions`, which calls the crate sha2's compression
//! function as often as a share needs it and does nothing else.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sha2::{Digest, Sha256};
use soloist::hash::{Backend, PrefixState};
use std::hint::black_box;

criterion_group!(benches, headers, pairs, branch, share, single);
criterion_main!(benches);

fn headers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("headers");
    group.throughput(Throughput::Elements(1024));
    for backend in Backend::available() {
        let midstate = backend.midstate(&[0x5a; 64]);
        group.bench_function(backend.name(), |bencher| {
            bencher.iter(|| {
                let tail = black_box(b"twelve bytes");
                backend.header_hashes(&midstate, tail, 0..=1023, 0)
            });
        });
    }
}

fn pairs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pairs");
    let level = txids(2000);
    group.throughput(Throughput::Elements(1000));
    for backend in Backend::available() {
        group.bench_function(backend.name(), |bencher| {
            bencher.iter(|| backend.merkle_pairs(black_box(&level)));
        });
    }
    group.bench_function("sha2's Digest", |bencher| {
        bencher.iter(|| sha2_pairs(black_box(&level)));
    });
}

/// The merkle branch of a template with 4,000 transactions.
fn branch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("branch of 4000");
    let level = txids(4000);
    for backend in Backend::available() {
        group.bench_function(backend.name(), |bencher| {
            let by_backend = |level: &[[u8; 32]]| backend.merkle_pairs(level);
            bencher.iter_batched(
                || level.clone(),
                |level| merkle_branch(level, by_backend),
                BatchSize::LargeInput,
            );
        });
    }
    group.bench_function("sha2's Digest", |bencher| {
        bencher.iter_batched(
            || level.clone(),
            |level| merkle_branch(level, sha2_pairs),
            BatchSize::LargeInput,
        );
    });
}

/// A share of a job with 4,000 transactions: the end of a coinbase of 282 bytes, 12 steps of the
/// branch, and the header, which makes 4 + 36 + 3 compressions.
fn share(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("share");
    let branch = txids(12);
    for backend in Backend::available() {
        let prefix = backend.prefix(&[1; 150]);
        group.bench_function(backend.name(), |bencher| {
            bencher.iter(|| judge(backend, &prefix, &branch, black_box(&[3; 12])));
        });
    }
    group.bench_function("bare compressions", |bencher| {
        let blocks = black_box([[6; 64]]);
        bencher.iter(|| {
            let mut state = black_box([5; 8]);
            for _ in 0..43 {
                sha2::block_api::compress256(&mut state, &blocks);
            }
            state
        });
    });
}

fn single(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("header of 80 bytes");
    for backend in Backend::available() {
        group.bench_function(backend.name(), |bencher| {
            bencher.iter(|| backend.sha256d(black_box(&[7; 80])));
        });
    }
    group.bench_function("sha2's Digest", |bencher| {
        bencher.iter(|| sha2_sha256d(black_box(&[7; 80])));
    });
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
