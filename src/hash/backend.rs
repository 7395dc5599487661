//! The ways to compute sha256d, how they are tested, and which one is used.

use super::{HeaderHit, Midstate, Pair, PrefixState, Scan, State, branch_by, sha256d_by, soft};
use log::{info, warn};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::OnceLock;
use std::time::Instant;

/// One way to compute sha256d. All of them give the same digests; [`Backend::active`] is the one
/// that the functions of this module use.
pub struct Backend {
    name: &'static str,
    /// Absorbs whole blocks into a state.
    compress: fn(&mut State, &[[u8; 64]]),
    /// The first nonce that passes.
    scan: fn(&Scan, RangeInclusive<u32>) -> Option<u32>,
    /// The double hash of each pair; both slices have the same length.
    pairs: fn(&[Pair], &mut [[u8; 32]]),
}

/// The reference.
static SOFT: Backend =
    Backend { name: "soft", compress: soft::compress, scan: soft::scan, pairs: soft::pairs };

/// The crate sha2: SHA-NI where the processor has it, else its own integer arithmetic.
#[cfg(not(target_arch = "aarch64"))]
static SHA2: Backend = Backend {
    name: "sha2",
    compress: sha2::block_api::compress256,
    scan: |scan, nonces| super::scan_by(sha2::block_api::compress256, scan, nonces),
    pairs: |pairs, out| super::pairs_by(sha2::block_api::compress256, pairs, out),
};

/// Vector registers for headers and pairs, integer arithmetic for single blocks.
#[cfg(target_arch = "aarch64")]
static NEON: Backend = Backend {
    name: "neon",
    compress: soft::compress,
    scan: super::neon::scan_by_four,
    pairs: super::neon::pairs_by_four,
};

/// The same with a fifth lane in the integer registers.
#[cfg(target_arch = "aarch64")]
static NEON_AND_ONE: Backend = Backend {
    name: "neon+1",
    compress: soft::compress,
    scan: super::neon::scan_by_five,
    pairs: super::neon::pairs_by_five,
};

/// The SHA-256 instructions of ARMv8. The functions check that the processor has them.
#[cfg(target_arch = "aarch64")]
static ARMV8: Backend = Backend {
    name: "armv8",
    compress: super::armv8::compress,
    scan: super::armv8::scan,
    pairs: super::armv8::pairs,
};

impl Backend {
    /// The backend in use, chosen at the first call and logged then; the daemon makes that call at
    /// its start. Of [`Backend::available`] it is the first that passes its self-test. Of the two
    /// forms of `neon` it is the faster on this very processor: this is the one place where the core
    /// looks at a clock, and nothing but speed depends on it.
    pub fn active() -> &'static Backend {
        static ACTIVE: OnceLock<&'static Backend> = OnceLock::new();
        ACTIVE.get_or_init(|| choose(&ranks()))
    }

    /// The reference, `soft`.
    pub fn reference() -> &'static Backend {
        &SOFT
    }

    /// The backends that this processor can run, fastest first (but for the two forms of `neon`); the
    /// last is always `soft`.
    pub fn available() -> Vec<&'static Backend> {
        ranks().concat()
    }

    /// `soft`, `sha2`, `neon`, `neon+1` or `armv8`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Compares the backend with published digests and with `soft`. Takes about 10 ms on the
    /// slowest board.
    pub fn self_test(&self) -> Result<(), Mismatch> {
        known_digests(self)?;
        messages(self)?;
        headers(self)?;
        pairs(self)
    }

    /// Absorbs whole blocks into `state`.
    pub fn compress(&self, state: &mut State, blocks: &[[u8; 64]]) {
        (self.compress)(state, blocks);
    }

    /// See [`super::sha256d`].
    pub fn sha256d(&self, bytes: &[u8]) -> [u8; 32] {
        sha256d_by(self.compress, bytes)
    }

    /// See [`Midstate::new`].
    pub fn midstate(&self, first: &[u8; 64]) -> Midstate {
        let mut state = soft::IV;
        self.compress(&mut state, &[*first]);
        Midstate(state)
    }

    /// See [`PrefixState::new`].
    pub fn prefix(&self, prefix: &[u8]) -> PrefixState {
        let mut state = PrefixState::EMPTY;
        state.absorb(self.compress, prefix);
        state
    }

    /// See [`PrefixState::sha256d`].
    pub fn sha256d_after(&self, prefix: &PrefixState, suffix: &[&[u8]]) -> [u8; 32] {
        prefix.finish(self.compress, suffix)
    }

    /// See [`super::branch_root`].
    pub fn branch_root(&self, first: &[u8; 32], branch: &[[u8; 32]]) -> [u8; 32] {
        branch_by(self.compress, first, branch)
    }

    /// See [`super::merkle_pairs`].
    pub fn merkle_pairs(&self, hashes: &[[u8; 32]]) -> Vec<[u8; 32]> {
        let (pairs, _) = hashes.as_chunks();
        let mut out = vec![[0; 32]; pairs.len()];
        (self.pairs)(pairs, &mut out);
        out
    }

    /// See [`super::header_hashes`].
    pub fn header_hashes(
        &self,
        midstate: &Midstate,
        tail: &[u8; 12],
        nonces: RangeInclusive<u32>,
        top_word: u32,
    ) -> Option<HeaderHit> {
        let scan = Scan::new(midstate, tail, top_word);
        let nonce = (self.scan)(&scan, nonces)?;
        // The scan has looked at one word of eight. Hits are rare, so the reference may say the rest.
        Some(HeaderHit { nonce, hash: scan.hash_by(soft::compress, nonce) })
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Backend").field(&self.name).finish()
    }
}

/// A backend gave another digest than it must. Usual causes: a processor that claims instructions
/// which it lacks, an unstable overclock or supply, or a miscompiled program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hash backend {backend} is wrong about {what}")]
pub struct Mismatch {
    /// The backend's name.
    pub backend: &'static str,
    /// What it was asked to hash.
    pub what: String,
}

/// The backends that this processor can run, fastest first; those of one rank may be about equal.
fn ranks() -> Vec<Vec<&'static Backend>> {
    #[cfg(target_arch = "aarch64")]
    let mut ranks = vec![vec![&NEON, &NEON_AND_ONE], vec![&SOFT]];
    #[cfg(target_arch = "aarch64")]
    if super::armv8::detected() {
        ranks.insert(0, vec![&ARMV8]);
    }
    #[cfg(not(target_arch = "aarch64"))]
    let ranks = vec![vec![&SHA2], vec![&SOFT]];
    ranks
}

/// Of the first rank in which any backend passes its self-test, the fastest that does.
fn choose(ranks: &[Vec<&'static Backend>]) -> &'static Backend {
    for rank in ranks {
        let mut right = rank.clone();
        right.retain(|backend| match backend.self_test() {
            Ok(()) => true,
            Err(mismatch) => {
                warn!("{mismatch}; it is not used. Is this processor overclocked?");
                false
            }
        });
        if let Some(backend) = fastest(&right) {
            info!("hash backend {}: self-test passed", backend.name);
            return backend;
        }
    }
    warn!("no hash backend passed its self-test; going on with soft, and shares may be misjudged");
    &SOFT
}

/// The fastest over about a thousand headers, each backend having the best of three attempts; about
/// 5 ms on the slowest board. One alone is not timed.
fn fastest(backends: &[&'static Backend]) -> Option<&'static Backend> {
    let (midstate, tail) = (SOFT.midstate(&noise(5)), noise(6));
    let time = |backend: &Backend| {
        let start = Instant::now();
        std::hint::black_box(backend.header_hashes(&midstate, &tail, 0..=319, 0));
        start.elapsed()
    };
    match backends {
        [] | [_] => backends.first().copied(),
        _ => backends.iter().copied().min_by_key(|backend| (0..3).map(|_| time(backend)).min()),
    }
}

/// Digests that others have published, so that `soft` has a judge as well.
fn known_digests(backend: &Backend) -> Result<(), Mismatch> {
    // FIPS 180-4's two-block example, by SHA-256 alone: the state after both blocks.
    let message = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    let mut blocks = [[0; 64]; 2];
    blocks[0][..56].copy_from_slice(message);
    blocks[0][56] = 0x80;
    blocks[1][62..].copy_from_slice(&(56u16 * 8).to_be_bytes());
    let mut state = soft::IV;
    backend.compress(&mut state, &blocks);
    let published = [
        0x248d_6a61,
        0xd206_38b8,
        0xe5c0_2693,
        0x0c3e_6039,
        0xa33c_e459,
        0x64ff_2167,
        0xf6ec_edd4,
        0x19db_06c1,
    ];
    check(backend, state == published, || "the example of FIPS 180-4".into())?;

    // Bitcoin's first block: its header's hash, found again from a nonce shortly before its own.
    let header = genesis_header();
    let midstate = backend.midstate(header.first_chunk().expect("80 bytes hold 64"));
    let tail = header[64..76].try_into().expect("12 bytes");
    let hit = backend.header_hashes(&midstate, tail, 2_083_236_880..=2_083_236_900, 0);
    let hash = backend.sha256d(&header);
    let found = hit == Some(HeaderHit { nonce: 2_083_236_893, hash });
    check(backend, found && hash == GENESIS_HASH, || "the first block's header".into())
}

/// Messages of every length around the ends of blocks, whole and in two parts.
fn messages(backend: &Backend) -> Result<(), Mismatch> {
    let bytes: [u8; 200] = noise(1);
    for length in 0..bytes.len() {
        let message = &bytes[..length];
        let (prefix, suffix) = message.split_at(length * 2 / 3);
        let expected = soft::sha256d(message);
        let resumed = backend.sha256d_after(&backend.prefix(prefix), &[suffix]);
        let right = backend.sha256d(message) == expected && resumed == expected;
        check(backend, right, || format!("a message of {length} bytes"))?;
    }
    Ok(())
}

/// Every hit in a run of nonces, at a target that one in four passes, with runs that start and end
/// anywhere in a batch and reach the last nonce of all.
fn headers(backend: &Backend) -> Result<(), Mismatch> {
    let first = noise(2);
    let (midstate, expected) = (backend.midstate(&first), SOFT.midstate(&first));
    check(backend, midstate == expected, || "the first 64 bytes of a header".into())?;
    let tail = noise(3);
    for start in (u32::MAX - 40)..=(u32::MAX - 20) {
        let hits = |backend: &Backend, end| all_hits(backend, &midstate, &tail, start..=end);
        for end in [start + 13, u32::MAX] {
            let right = hits(backend, end) == hits(&SOFT, end);
            check(backend, right, || format!("headers with the nonces {start} to {end}"))?;
        }
    }
    Ok(())
}

fn all_hits(
    backend: &Backend,
    midstate: &Midstate,
    tail: &[u8; 12],
    nonces: RangeInclusive<u32>,
) -> Vec<HeaderHit> {
    let (mut start, end) = nonces.into_inner();
    let mut hits = Vec::new();
    while let Some(hit) = backend.header_hashes(midstate, tail, start..=end, u32::MAX / 4) {
        hits.push(hit);
        if hit.nonce == end {
            break;
        }
        start = hit.nonce + 1;
    }
    hits
}

/// Levels of a merkle tree of every width around that of a batch.
fn pairs(backend: &Backend) -> Result<(), Mismatch> {
    let bytes: [u8; 64 * 24] = noise(4);
    let (hashes, _) = bytes.as_chunks::<32>();
    for count in 0..=24 {
        let level = &hashes[..2 * count];
        let right = backend.merkle_pairs(level) == SOFT.merkle_pairs(level);
        check(backend, right, || format!("{count} pairs of a merkle tree"))?;
    }
    let (first, branch) = (&hashes[0], &hashes[1..5]);
    let right = backend.branch_root(first, branch) == SOFT.branch_root(first, branch);
    check(backend, right, || "a branch of a merkle tree".into())
}

fn check(backend: &Backend, right: bool, what: impl Fn() -> String) -> Result<(), Mismatch> {
    match right {
        true => Ok(()),
        false => Err(Mismatch { backend: backend.name, what: what() }),
    }
}

/// Bytes without a pattern, the same each time (SplitMix64).
fn noise<const N: usize>(seed: u64) -> [u8; N] {
    let mut state = seed;
    std::array::from_fn(|_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 56) as u8
    })
}

/// The header of Bitcoin's block 0.
fn genesis_header() -> [u8; 80] {
    let mut header = [0; 80];
    header[0] = 1;
    header[36..68].copy_from_slice(&[
        0x3b, 0xa3, 0xed, 0xfd, 0x7a, 0x7b, 0x12, 0xb2, 0x7a, 0xc7, 0x2c, 0x3e, 0x67, 0x76, 0x8f,
        0x61, 0x7f, 0xc8, 0x1b, 0xc3, 0x88, 0x8a, 0x51, 0x32, 0x3a, 0x9f, 0xb8, 0xaa, 0x4b, 0x1e,
        0x5e, 0x4a,
    ]);
    header[68..72].copy_from_slice(&1_231_006_505u32.to_le_bytes());
    header[72..76].copy_from_slice(&0x1d00_ffffu32.to_le_bytes());
    header[76..].copy_from_slice(&2_083_236_893u32.to_le_bytes());
    header
}

/// Its hash.
const GENESIS_HASH: [u8; 32] = [
    0x6f, 0xe2, 0x8c, 0x0a, 0xb6, 0xf1, 0xb3, 0x72, 0xc1, 0xa6, 0xa2, 0x46, 0xae, 0x63, 0xf7, 0x4f,
    0x93, 0x1e, 0x83, 0x65, 0xe1, 0x5a, 0x08, 0x9c, 0x68, 0xd6, 0x19, 0x00, 0x00, 0x00, 0x00, 0x00,
];

#[cfg(test)]
mod tests {
    use super::super::scan_by;
    use super::*;

    #[test]
    fn every_backend_passes_its_self_test() {
        for backend in Backend::available() {
            assert_eq!(backend.self_test(), Ok(()), "{}", backend.name);
        }
        assert_eq!(Backend::available().last().map(|last| last.name), Some("soft"));
    }

    /// A compression with one wrong bit in one round constant: by the linearity of the last
    /// addition, a wrong bit of the last constant is a wrong bit of `a` and `e`.
    fn wrong_constant(state: &mut State, blocks: &[[u8; 64]]) {
        for block in blocks {
            soft::compress(state, std::slice::from_ref(block));
            state[0] = state[0].wrapping_add(1);
            state[4] = state[4].wrapping_add(1);
        }
    }

    static WRONG_COMPRESS: Backend =
        Backend { name: "wrong compress", compress: wrong_constant, ..SOFT_COPY };
    static WRONG_SCAN: Backend = Backend {
        name: "wrong scan",
        scan: |scan, nonces| scan_by(wrong_constant, scan, nonces),
        ..SOFT_COPY
    };
    static LAZY_SCAN: Backend = Backend {
        name: "lazy scan",
        // Forgets the last nonce of a range.
        scan: |scan, nonces| soft::scan(scan, *nonces.start()..=nonces.end() - 1),
        ..SOFT_COPY
    };
    static WRONG_PAIRS: Backend = Backend {
        name: "wrong pairs",
        pairs: |pairs, out| super::super::pairs_by(wrong_constant, pairs, out),
        ..SOFT_COPY
    };
    static LAZY_PAIRS: Backend = Backend {
        name: "lazy pairs",
        // Forgets what is left behind the last whole batch of four.
        pairs: |pairs, out| {
            let whole = pairs.len() & !3;
            soft::pairs(&pairs[..whole], &mut out[..whole]);
        },
        ..SOFT_COPY
    };
    const SOFT_COPY: Backend =
        Backend { name: "soft", compress: soft::compress, scan: soft::scan, pairs: soft::pairs };

    #[test]
    fn the_self_test_sees_every_kind_of_fault() {
        for wrong in [&WRONG_COMPRESS, &WRONG_SCAN, &LAZY_SCAN, &WRONG_PAIRS, &LAZY_PAIRS] {
            let mismatch = wrong.self_test().expect_err(wrong.name);
            assert_eq!(mismatch.backend, wrong.name);
        }
    }

    #[test]
    fn a_wrong_backend_is_passed_over() {
        let right = Backend::available()[0];
        assert_eq!(choose(&[vec![&WRONG_SCAN], vec![right], vec![&SOFT]]).name, right.name);
        assert_eq!(choose(&[vec![&LAZY_SCAN, right], vec![&SOFT]]).name, right.name);
        assert_eq!(choose(&[vec![&WRONG_COMPRESS, &WRONG_PAIRS], vec![&SOFT]]).name, "soft");
        assert_eq!(choose(&[vec![&LAZY_PAIRS]]).name, "soft");
    }

    static SLOW: Backend = Backend {
        name: "slow",
        scan: |scan, nonces| {
            std::thread::sleep(std::time::Duration::from_millis(300));
            soft::scan(scan, nonces)
        },
        ..SOFT_COPY
    };

    #[test]
    fn of_one_rank_the_fastest_is_chosen() {
        assert_eq!(fastest(&[]).map(Backend::name), None);
        assert_eq!(fastest(&[&SLOW]).map(Backend::name), Some("slow"));
        assert_eq!(fastest(&[&SLOW, &SOFT]).map(Backend::name), Some("soft"));
        assert_eq!(fastest(&[&SOFT, &SLOW]).map(Backend::name), Some("soft"));
    }
}
