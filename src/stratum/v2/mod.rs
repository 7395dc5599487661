//! Stratum V2: encrypted frames in the place of lines.
//!
//! ```text
//! socket ─ noise ─► frames ─► Message ─► Connection ─► a channel's Session
//! ```
//!
//! A miner that mines for itself opens one channel; a proxy opens many on one connection. Each channel
//! is a miner with a [`Session`](super::session::Session) of its own, the same as a miner of V1 has.
//! Channels are never addressed as a group, and a miner is never sent a message that the firmwares do
//! not know: jobs, targets, answers.
//!
//! Source: the Stratum V2 specification.

pub mod channel;
pub mod connection;
pub mod describe;
pub mod frame;
pub mod message;
pub mod miner;
pub mod noise;
