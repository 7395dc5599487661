//! The merkle branch from the coinbase to the root.
//!
//! The coinbase is the first leaf and changes with every extranonce. So Stratum sends its siblings
//! on the path to the root (`merkle_branch`), and the root costs one hash per level.

use crate::hash;

/// A tree that remembers itself, so that with new leaves only what lies above a changed one is
/// hashed again. A template that a node made anew for the same tip often begins as the last did.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The leaves, and above them level by level to the root. Odd levels stand without the copy of
    /// their last node.
    levels: Vec<Vec<[u8; 32]>>,
}

impl Tree {
    /// Replaces the leaves and returns how many pairs had to be hashed.
    pub fn update(&mut self, leaves: Vec<[u8; 32]>) -> usize {
        let old = std::mem::take(&mut self.levels);
        let old_level = |depth: usize| old.get(depth).map_or(&[][..], Vec::as_slice);
        let mut hashed = 0;
        let mut level = leaves;
        while level.len() > 1 {
            let depth = self.levels.len();
            let (above, count) = parents(&level, old_level(depth), old_level(depth + 1));
            hashed += count;
            self.levels.push(std::mem::replace(&mut level, above));
        }
        self.levels.push(level);
        hashed
    }

    /// The neighbours of the first leaf on its way to the root, lowest level first. Internal byte
    /// order. Whatever stands in the first leaf's place, they are the same.
    pub fn branch(&self) -> Vec<[u8; 32]> {
        self.levels.iter().filter_map(|level| level.get(1).copied()).collect()
    }

    /// The root, as Core's `ComputeMerkleRoot`; zero for no leaves.
    pub fn root(&self) -> [u8; 32] {
        self.levels.last().and_then(|level| level.first()).copied().unwrap_or_default()
    }
}

/// The root over all leaves, as Core's `ComputeMerkleRoot`; zero for no leaves.
pub fn root(leaves: Vec<[u8; 32]>) -> [u8; 32] {
    let mut tree = Tree::default();
    tree.update(leaves);
    tree.root()
}

/// The level above `level`, and how many pairs of it were hashed: where the `old` level has the same
/// pair at the same place, the node of the `old_above` level is taken.
fn parents(level: &[[u8; 32]], old: &[[u8; 32]], old_above: &[[u8; 32]]) -> (Vec<[u8; 32]>, usize) {
    let mut above = Vec::with_capacity(level.len().div_ceil(2));
    let mut new = Vec::with_capacity(level.len() + 1);
    let mut places = Vec::new();
    for (place, pair) in level.chunks(2).enumerate() {
        let pair = twins(pair);
        let same = old.chunks(2).nth(place).is_some_and(|old| twins(old) == pair);
        match old_above.get(place).filter(|_| same) {
            Some(node) => above.push(*node),
            None => {
                places.push(place);
                above.push([0; 32]);
                new.extend(pair);
            }
        }
    }
    for (place, node) in places.iter().zip(hash::merkle_pairs(&new)) {
        above[*place] = node;
    }
    (above, places.len())
}

/// An odd last node is paired with itself.
fn twins(pair: &[[u8; 32]]) -> [[u8; 32]; 2] {
    [pair[0], pair[pair.len() - 1]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Txid;
    use proptest::prelude::*;

    fn branch(txids: &[[u8; 32]]) -> Vec<[u8; 32]> {
        let mut tree = Tree::default();
        tree.update([&[[0; 32]], txids].concat());
        tree.branch()
    }

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
        let branch = branch(&txids.map(|txid| txid.0)[1..]);
        assert_eq!(branch.len(), 2);
        assert_eq!(hash::branch_root(&txids[0].0, &branch), expected.0);
    }

    #[test]
    fn only_what_changed_is_hashed_again() {
        let leaf = |n: u32| hash::sha256d(&n.to_le_bytes());
        let leaves: Vec<[u8; 32]> = (0..1024).map(leaf).collect();
        let mut tree = Tree::default();
        assert_eq!(tree.update(leaves.clone()), 1023);
        assert_eq!(tree.update(leaves.clone()), 0, "nothing changed");
        let mut last = leaves.clone();
        last[1023] = leaf(5000);
        assert_eq!(tree.update(last), 10, "one way to the root");
        let mut longer = leaves;
        longer.extend((2000..2100).map(leaf));
        assert!(tree.update(longer) < 10 + 100 + 11, "the old tree is below the new root's left");
    }

    proptest! {
        #[test]
        fn a_tree_that_remembers_is_a_new_one(
            steps in prop::collection::vec(prop::collection::vec(0u8..4, 0..40), 1..6),
        ) {
            let mut tree = Tree::default();
            for leaves in steps {
                let leaves: Vec<[u8; 32]> = leaves.iter().map(|n| [*n; 32]).collect();
                tree.update(leaves.clone());
                let mut new = Tree::default();
                new.update(leaves.clone());
                prop_assert_eq!(tree.root(), new.root());
                prop_assert_eq!(tree.branch(), new.branch());
                if let Some(first) = leaves.first() {
                    prop_assert_eq!(hash::branch_root(first, &tree.branch()), tree.root());
                }
            }
        }

        #[test]
        fn branch_and_tree_agree(leaves in prop::collection::vec(any::<[u8; 32]>(), 1..70)) {
            let branch = branch(&leaves[1..]);
            prop_assert_eq!(hash::branch_root(&leaves[0], &branch), root(leaves.clone()));
        }
    }
}
