//! Soloist: a home appliance for solo Bitcoin mining.
//!
//! The library is the daemon without its `main`. The modules are listed below in layers: **each
//! uses only modules of the layers above it** (`tests/pure/modules.rs` checks this), so the list
//! can be read from the top. The pure modules come first, then those that do I/O. The path of a
//! block is node → template → job → share → block → node.
//!
//! **Determinism.** No pure module reads a clock, draws a random number or does I/O. Time is handed
//! in as [`clock::Now`], and so are random extranonces and job ids; the same inputs give the same
//! outputs. Tests of the whole engine therefore run in virtual time.

#![warn(clippy::print_stdout, clippy::print_stderr)]

// -- sha256d: pure, except that it picks the fastest backend once --
pub mod hash;

// -- pure: basic types --
pub mod chain;
pub mod clock;
pub mod coinbase;
pub mod event;
pub mod framed;
pub mod histogram;
pub mod ids;
pub mod listed;
pub mod priority_queue;
pub mod reject;
pub mod vardiff;

// -- pure: where other nodes are --
pub mod peer_address;

// -- pure --
pub mod address;
pub mod devices;
pub mod difficulty;
pub mod door;
pub mod merkle;

// -- pure: what shares prove --
pub mod rate;

// -- pure: a node's work --
pub mod template;

// -- pure --
pub mod node;
pub mod signal;

// -- pure: which node leads, what miners work on, what becomes of a block --
pub mod block;
pub mod failover;
pub mod job;

// -- pure --
pub mod job_journal;
pub mod p2p;
pub mod share;

// -- pure: one miner; the nodes of strangers --
pub mod outside;
pub mod stratum;

// -- pure: all miners --
pub mod handover;
pub mod pool;

// -- pure: changes that the owner makes on the page --
pub mod settings;

// -- pure: two boxes as one --
pub mod pair;

// -- pure: the address that both have --
pub mod virtual_address;

// -- pure: new versions of this program --
pub mod update;

// -- pure: the daemon's decisions --
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

// -- I/O: the web --
pub mod web;

// -- I/O --
pub mod feed;
pub mod lan;
pub mod ledger;
pub mod pair_link;
pub mod peers;

// -- I/O --
pub mod spool;

// -- what people see --
pub mod status;

// -- pure: what Home Assistant is told --
pub mod home_assistant;

// -- messages to the owner, and to Home Assistant --
pub mod mqtt;
pub mod notify;

// -- the config file, the ports --
pub mod config;
pub mod server;

// -- I/O --
pub mod check;
pub mod commands;
pub mod import;
pub mod safe_start;

// -- the main loop --
pub mod daemon;

// -- the daemon with built-in nodes and a built-in miner --
#[cfg(feature = "demo")]
pub mod demo;

// -- the command line --
pub mod cli;
