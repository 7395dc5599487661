//! The program as a process, and the machine below it, without any full node: the command line, files
//! and power cuts, and what needs no more than a sandbox node or a node that is away. An emulated disk
//! needs root and FUSE, a network of its own needs root; without them the test says that it checked
//! nothing.

// Nobody outside sees a test's helpers.
#![allow(unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../ledger_world/mod.rs"]
mod ledger_world;

mod canary_e2e;
mod cli;
mod container;
mod door_e2e;
mod ledger_cli;
mod mdns_e2e;
mod mqtt_e2e;
mod power_cut;
mod safe_start;
mod sandbox;
mod update_e2e;
