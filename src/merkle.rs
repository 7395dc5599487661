//! The merkle tree as a miner needs it: the branch that leads from the coinbase to the root.
//!
//! The coinbase is the first leaf and changes with every extranonce, so Stratum sends the
//! neighbours on its way up (`merkle_branch`), and the root is one hash per level.

use crate::chain::Txid;
use crate::hash;

/// The neighbours of the first leaf on its way to the root, lowest level first, for a tree whose
/// first leaf (the coinbase) is not known yet and whose other leaves are `txids` in block order.
/// Internal byte order. Empty for a block with only a coinbase.
pub fn branch(txids: impl Iterator<Item = Txid>) -> Vec<[u8; 32]> {
    // The first slot stands for the coinbase; what is hashed from it is never used.
    let mut level: Vec<[u8; 32]> =
        std::iter::once([0; 32]).chain(txids.map(|txid| txid.0)).collect();
    let mut branch = Vec::with_capacity(12);
    while level.len() > 1 {
        branch.push(level[1]);
        level = parents(level);
    }
    branch
}

/// The root over a first leaf and its branch.
pub fn root_from_branch(first: [u8; 32], branch: &[[u8; 32]]) -> [u8; 32] {
    branch.iter().fold(first, |node, neighbour| hash::merkle_pair(&node, neighbour))
}

/// The root over all leaves, as Core's `ComputeMerkleRoot`; zero for no leaves.
pub fn root(mut level: Vec<[u8; 32]>) -> [u8; 32] {
    while level.len() > 1 {
        level = parents(level);
    }
    level.first().copied().unwrap_or_default()
}

/// The level above: an odd last node is paired with itself.
fn parents(mut level: Vec<[u8; 32]>) -> Vec<[u8; 32]> {
    if level.len() % 2 == 1 {
        let last = level[level.len() - 1];
        level.push(last);
    }
    hash::merkle_pairs(&level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_root_of_block_100000() {
        let txids = [
            "8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87",
            "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
            "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
            "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
        ]
        .map(|hex| hex.parse::<Txid>().unwrap());
        let expected: Txid =
            "f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766".parse().unwrap();
        assert_eq!(root(txids.iter().map(|txid| txid.0).collect()), expected.0);
        let branch = branch(txids[1..].iter().copied());
        assert_eq!(branch.len(), 2);
        assert_eq!(root_from_branch(txids[0].0, &branch), expected.0);
    }

    proptest! {
        #[test]
        fn branch_and_tree_agree(leaves in prop::collection::vec(any::<[u8; 32]>(), 1..70)) {
            let branch = branch(leaves[1..].iter().map(|leaf| Txid(*leaf)));
            prop_assert_eq!(root_from_branch(leaves[0], &branch), root(leaves.clone()));
        }
    }
}
