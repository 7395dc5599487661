//! sha256d, the double SHA-256 of Bitcoin, with the fastest instructions of the processor.
//!
//! ```
//! use soloist::hash::{self, Midstate, PrefixState};
//!
//! // Any bytes.
//! let digest = hash::sha256d(b"abc");
//!
//! // A coinbase whose first part stays the same from share to share.
//! let prefix = PrefixState::new(b"a");
//! assert_eq!(prefix.sha256d(&[b"b", b"c"]), digest);
//!
//! // A level of a merkle tree, and a search for a nonce.
//! let parents = hash::merkle_pairs(&[digest; 4]);
//! assert_eq!(parents.len(), 2);
//! let header = [0u8; 80];
//! let tail = [0u8; 12];
//! let midstate = Midstate::of_header(&header);
//! let hit = hash::header_hashes(&midstate, &tail, 0..=1000, 0x00ff_ffff).expect("odds of 256");
//! assert_eq!(hit.hash[31], 0);
//! ```
//!
//! The backends are (see [`Backend`]): `soft`, plain integer arithmetic and the reference; `sha2`,
//! the crate of that name with the SHA-NI instructions of x86-64; `neon`, four headers or pairs in
//! parallel in the vector registers of any 64-bit ARM, also as `neon+1` with a fifth in the integer
//! registers; and `armv8`, the SHA-256 instructions, which a Raspberry Pi 5 has and its
//! predecessors lack. The first call tests them and picks one for the life of the process; a
//! backend that disagrees with `soft` is not used, with a warning.
//!
//! All digests have the byte order that SHA-256 writes, which is the order inside headers and
//! transactions, and the reverse of the order that block explorers print.

mod backend;
#[cfg(any(test, target_arch = "aarch64"))]
mod lanes;
mod prefix;
pub mod soft;

#[cfg(target_arch = "aarch64")]
mod armv8;
#[cfg(target_arch = "aarch64")]
mod neon;

pub use backend::{Backend, Mismatch};
pub use prefix::PrefixState;
use std::ops::RangeInclusive;

/// SHA-256 of SHA-256 of `bytes`, in the order in which the digest is written.
pub fn sha256d(bytes: &[u8]) -> [u8; 32] {
    Backend::active().sha256d(bytes)
}

/// The root of a merkle tree above its leftmost leaf `first`: `branch` holds the right neighbours on
/// the way up, the lowest first. Without a branch the leaf is the root.
pub fn branch_root(first: &[u8; 32], branch: &[[u8; 32]]) -> [u8; 32] {
    Backend::active().branch_root(first, branch)
}

/// One level of a merkle tree: the hash of each pair of neighbours. `hashes` has even length; the
/// last of an odd number is left out, since it is the caller who knows what to pair it with.
pub fn merkle_pairs(hashes: &[[u8; 32]]) -> Vec<[u8; 32]> {
    Backend::active().merkle_pairs(hashes)
}

/// The first nonce of `nonces`, in rising order, whose header's hash has a top word at or below
/// `top_word`, with that hash; `None` if there is none.
///
/// The header is the 64 bytes of `midstate`, then `tail` (the last 4 bytes of the merkle root,
/// ntime and nbits: bytes 64 to 75), then the nonce. The top word is the most significant 32 bits of
/// the hash read as a number, so `top_word` is the same part of a target. A hit is only *near* the
/// target: the caller compares the whole hash, and goes on behind this nonce if it is above.
pub fn header_hashes(
    midstate: &Midstate,
    tail: &[u8; 12],
    nonces: RangeInclusive<u32>,
    top_word: u32,
) -> Option<HeaderHit> {
    Backend::active().header_hashes(midstate, tail, nonces, top_word)
}

/// What [`header_hashes`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderHit {
    /// The nonce, as the number that stands little-endian in bytes 76 to 79.
    pub nonce: u32,
    /// The header's hash, computed again by [`soft`] from all 80 bytes' worth of state.
    pub hash: [u8; 32],
}

/// SHA-256's state after the first 64 bytes of a block header: version, previous block, and the
/// merkle root but for its last 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Midstate(State);

impl Midstate {
    /// Absorbs the first 64 bytes of a header.
    pub fn new(first: &[u8; 64]) -> Midstate {
        Backend::active().midstate(first)
    }

    /// The same, of a whole header: bytes 64 to 79 are not looked at.
    pub fn of_header(header: &[u8; 80]) -> Midstate {
        let (first, _) = header.split_first_chunk().expect("80 bytes hold 64");
        Midstate::new(first)
    }
}

/// SHA-256's chaining value: eight words of 32 bits.
pub type State = [u32; 8];

/// Two neighbours of a merkle tree: the 64 bytes that are hashed.
type Pair = [[u8; 32]; 2];

/// A search for a nonce, in the words that SHA-256 works on.
struct Scan {
    midstate: State,
    /// Bytes 64 to 75 of the header, big-endian.
    tail: [u32; 3],
    /// The greatest top word that passes.
    top_word: u32,
}

impl Scan {
    fn new(midstate: &Midstate, tail: &[u8; 12], top_word: u32) -> Scan {
        let (words, _) = tail.as_chunks::<4>();
        let tail = std::array::from_fn(|i| u32::from_be_bytes(words[i]));
        Scan { midstate: midstate.0, tail, top_word }
    }

    /// The hash of the header with `nonce`.
    fn hash_by(&self, compress: impl Fn(&mut State, &[[u8; 64]]), nonce: u32) -> [u8; 32] {
        let mut block = [0; 64];
        for (bytes, word) in block.as_chunks_mut::<4>().0.iter_mut().zip(self.tail) {
            *bytes = word.to_be_bytes();
        }
        block[12..16].copy_from_slice(&nonce.to_le_bytes());
        block[16] = 0x80;
        block[62..].copy_from_slice(&(80u16 * 8).to_be_bytes());
        let mut state = self.midstate;
        compress(&mut state, &[block]);
        second_hash(compress, &state)
    }

    /// Whether a hash is low enough.
    fn passes(&self, hash: &[u8; 32]) -> bool {
        let [.., a, b, c, d] = *hash;
        u32::from_le_bytes([a, b, c, d]) <= self.top_word
    }
}

/// [`sha256d`] with the given compression function.
fn sha256d_by(compress: impl Fn(&mut State, &[[u8; 64]]), bytes: &[u8]) -> [u8; 32] {
    // A header is as long as that, and every share has one: no prefix is kept for it.
    let mut blocks = [[0; 64]; 2];
    let Some(room) = blocks.as_flattened_mut().get_mut(..bytes.len()).filter(|b| b.len() < 120)
    else {
        return PrefixState::EMPTY.finish(compress, &[bytes]);
    };
    room.copy_from_slice(bytes);
    blocks.as_flattened_mut()[bytes.len()] = 0x80;
    let count = if bytes.len() < 56 { 1 } else { 2 };
    blocks[count - 1][56..].copy_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());
    let mut state = soft::IV;
    compress(&mut state, &blocks[..count]);
    second_hash(compress, &state)
}

/// The root above `first`, whose neighbours on the way up are `branch`.
fn branch_by(
    compress: impl Fn(&mut State, &[[u8; 64]]),
    first: &[u8; 32],
    branch: &[[u8; 32]],
) -> [u8; 32] {
    // The padding is laid out once for all steps.
    let (mut pair, mut digest) = ([[0; 64], PADDING_OF_64], PADDING_OF_32);
    pair[0][..32].copy_from_slice(first);
    for neighbour in branch {
        pair[0][32..].copy_from_slice(neighbour);
        let mut state = soft::IV;
        compress(&mut state, &pair);
        digest[..32].copy_from_slice(&to_bytes(&state));
        state = soft::IV;
        compress(&mut state, &[digest]);
        pair[0][..32].copy_from_slice(&to_bytes(&state));
    }
    let [root, ..] = pair[0].as_chunks().0 else { unreachable!("64 bytes are two of 32") };
    *root
}

/// A scan one nonce at a time.
fn scan_by(
    compress: impl Fn(&mut State, &[[u8; 64]]),
    scan: &Scan,
    mut nonces: RangeInclusive<u32>,
) -> Option<u32> {
    nonces.find(|&nonce| scan.passes(&scan.hash_by(&compress, nonce)))
}

/// Pairs one at a time.
fn pairs_by(compress: impl Fn(&mut State, &[[u8; 64]]), pairs: &[Pair], out: &mut [[u8; 32]]) {
    for (pair, out) in pairs.iter().zip(out) {
        *out = pair_by(&compress, pair);
    }
}

/// One pair: the 64 bytes, a block that is padding alone, and the second hash.
fn pair_by(compress: impl Fn(&mut State, &[[u8; 64]]), pair: &Pair) -> [u8; 32] {
    let mut blocks = [[0; 64], PADDING_OF_64];
    blocks[0].copy_from_slice(pair.as_flattened());
    let mut state = soft::IV;
    compress(&mut state, &blocks);
    second_hash(compress, &state)
}

/// The second SHA-256: of the 32 bytes of the first.
fn second_hash(compress: impl Fn(&mut State, &[[u8; 64]]), first: &State) -> [u8; 32] {
    let mut block = PADDING_OF_32;
    block[..32].copy_from_slice(&to_bytes(first));
    let mut state = soft::IV;
    compress(&mut state, &[block]);
    to_bytes(&state)
}

fn to_bytes(state: &State) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    bytes
}

/// The block behind a message of 64 bytes: the end bit, zeros, and the length in bits.
const PADDING_OF_64: [u8; 64] = padding(0, 512);

/// The block of a message of 32 bytes, whose place is still empty.
const PADDING_OF_32: [u8; 64] = padding(32, 256);

const fn padding(end: usize, bits: u16) -> [u8; 64] {
    let mut block = [0; 64];
    block[end] = 0x80;
    [block[62], block[63]] = bits.to_be_bytes();
    block
}
