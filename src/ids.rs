//! Identifiers: the small numbers of nodes, connections and miners.

/// A node's place in the daemon's table. Never reused within one run, so that a late event of a
/// node removed by a reload is recognised and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// A miner's connection, or one of the channels of a connection that has several (Stratum V2): the first
/// channel has the connection's own id. Connections are numbered by the server; no number is used twice
/// within one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

impl ConnId {
    /// Where the channel's number begins. 2^48 connections take longer than any run.
    const CHANNEL_AT: u32 = 48;

    /// The socket that it is on.
    pub fn connection(self) -> ConnId {
        ConnId(self.0 & ((1 << ConnId::CHANNEL_AT) - 1))
    }

    /// Its number on its connection, from 0.
    pub fn channel(self) -> u32 {
        (self.0 >> ConnId::CHANNEL_AT) as u32
    }

    /// A channel of the same connection.
    pub fn with_channel(self, channel: u16) -> ConnId {
        ConnId(self.connection().0 | u64::from(channel) << ConnId::CHANNEL_AT)
    }
}

/// What a miner's connection is called where it outlives this run of the program. Random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// A connection to a P2P port of somebody else's node. Never used twice within one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutsideId(pub u32);

/// A question to a miner's own API. Never used twice within one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuestionId(pub u64);

/// The part of the coinbase that is unique to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Extranonce1(pub [u8; 4]);

impl Extranonce1 {
    /// The next one, for when this one is taken.
    pub fn next(self) -> Extranonce1 {
        Extranonce1(u32::from_be_bytes(self.0).wrapping_add(1).to_be_bytes())
    }

    /// The same on one side of all of them: the boxes of a pair give away different halves.
    pub fn on_side(mut self, side: Option<bool>) -> Extranonce1 {
        if let Some(upper) = side {
            self.0[0] = self.0[0] & 0x7f | u8::from(upper) << 7;
        }
        self
    }
}
