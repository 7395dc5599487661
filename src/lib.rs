//! Soloist: a home appliance for solo Bitcoin mining.
//!
//! The library is the daemon without its `main`. The modules stand below in layers: **each uses only
//! modules of the layers above it** (`tests/pure/modules.rs` holds it), so that whoever reads from the
//! top has read what a module builds on. The pure ones come first, then those that do I/O. A block's
//! way is node → template → job → share → block → node.
//!
//! **Determinism.** No pure module reads a clock, draws a random number or does I/O. Time comes in
//! as [`clock::Now`], extranonces and job ids are handed in; the same inputs give the same outputs.
//! The tests of the whole therefore run in virtual time.

// -- sha256d: pure, but for the choice of the quickest way at the start --
pub mod hash;

// -- pure: what everything is made of --
pub mod chain;
pub mod clock;
pub mod coinbase;
pub mod event;
pub mod ids;
pub mod priority_queue;
pub mod reject;
pub mod vardiff;

// -- pure --
pub mod address;
pub mod difficulty;
pub mod merkle;

// -- pure: a node's work --
pub mod template;

// -- pure --
pub mod node;
pub mod signal;

// -- pure: which node leads, what the miners work on, what becomes of a block --
pub mod block;
pub mod failover;
pub mod job;

// -- pure --
pub mod job_journal;
pub mod share;

// -- pure: one miner --
pub mod stratum;

// -- pure: all miners --
pub mod pool;

// -- pure: what the owner changes on the page --
pub mod settings;

// -- pure: all that the daemon decides --
pub mod engine;

// -- I/O: the system, the card, the nodes --
pub mod timeout;

// -- I/O --
pub mod bench;
pub mod exit;
pub mod fsutil;
pub mod logger;
pub mod rpc;

// -- I/O --
pub mod os;

// -- I/O --
pub mod ledger;

// -- I/O --
pub mod spool;

// -- what people see --
pub mod status;

// -- what they are told --
pub mod notify;

// -- the file of settings, the ports --
pub mod config;
pub mod server;

// -- I/O --
pub mod check;
pub mod commands;
pub mod import;
pub mod safe_start;

// -- the loop that owns it all --
pub mod daemon;

// -- the same without a node and a miner --
#[cfg(feature = "demo")]
pub mod demo;

// -- the command line --
pub mod cli;
