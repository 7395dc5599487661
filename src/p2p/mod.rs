//! A node's P2P port: a second way for a solved block into a node, and for the news of its tip out of
//! it, without RPC.
//!
//! Every Bitcoin node listens there without any setting, and takes blocks from strangers. [`Peer`]
//! is one such connection as a pure state machine: handshake, pings, headers, and the blocks that we
//! offer. We keep no chain (only some headers below the node's tip), relay no transactions and ask for
//! none. Where the owner of the connection wants it, the node is asked for addresses of others.
//!
//! Protocol version 70016, plain transport ("v1"): see Bitcoin Core's `src/protocol.h` and BIPs 31,
//! 130, 144, 152 and 339.

mod addresses;
mod ask;
mod compact;
mod headers;
mod offer;
pub mod peer;
mod tips;
mod wire;

#[cfg(test)]
mod tests;

pub use peer::{Down, Event, Form, Input, Order, Output, Peer};
