//! The sandbox of `soloist demo` and of the tests: full nodes and a miner, both small, inside the
//! process, spoken to over real sockets.

pub mod chain;
pub mod check;
pub mod coins;
pub mod miner;
pub mod node;
pub mod rpc;
