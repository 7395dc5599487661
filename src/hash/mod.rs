//! sha256d, the double SHA-256 of Bitcoin.

use sha2::{Digest, Sha256};

/// SHA-256 of SHA-256 of `bytes`, in the order in which the digest is written.
pub fn sha256d(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}

/// One level of a merkle tree: the hash of each pair of neighbours. `hashes` has even length.
pub fn merkle_pairs(hashes: &[[u8; 32]]) -> Vec<[u8; 32]> {
    hashes.as_chunks::<2>().0.iter().map(|pair| sha256d(pair.as_flattened())).collect()
}
