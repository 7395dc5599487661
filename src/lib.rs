//! Soloist: a home appliance for solo Bitcoin mining.
//!
//! The library is the daemon without its `main`: pure cores first, in the order in which data
//! passes through them, then the thin shells that do I/O. Read top to bottom, the list of modules
//! below is the way of the data: node → template → job → share → block → node.
//!
//! **Determinism.** No pure module reads a clock, draws a random number or does I/O. Time comes in
//! as [`clock::Now`], extranonces and job ids are handed in; the same inputs give the same outputs.
//! The tests of the whole therefore run in virtual time.

// -- pure --
pub mod address;
pub mod block;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod coinbase;
pub mod config;
pub mod difficulty;
pub mod exit;
pub mod failover;
pub mod hash;
pub mod ids;
pub mod job;
pub mod memo;
pub mod merkle;
pub mod node;
pub mod pool;
pub mod reject;
pub mod settings;
pub mod share;
pub mod signal;
pub mod status;
pub mod stratum;
pub mod template;
pub mod vardiff;

// -- shells --
pub mod bench;
pub mod check;
pub mod daemon;
#[cfg(feature = "demo")]
pub mod demo;
pub mod fsutil;
pub mod import;
pub mod ledger;
pub mod logger;
pub mod notify;
pub mod os;
pub mod priority;
pub mod rpc;
pub mod safe_start;
pub mod server;
pub mod spool;
