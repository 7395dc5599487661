//! Identifiers: the small numbers of nodes, connections and miners.

/// A node's place in the daemon's table. Never reused within one run, so that a late event of a
/// node removed by a reload is recognised and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// A miner's connection. Given by the server, never used twice within one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// A connection to a P2P port of somebody else's node. Never used twice within one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutsideId(pub u32);

/// The part of the coinbase that is unique to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Extranonce1(pub [u8; 4]);

impl Extranonce1 {
    /// The next one, for when this one is taken.
    pub fn next(self) -> Extranonce1 {
        Extranonce1(u32::from_be_bytes(self.0).wrapping_add(1).to_be_bytes())
    }
}
