//! What needs no node, no browser, no network and no rights: the cores in virtual time, golden files,
//! the sentences of config and `check`, the ledger and the spool in a temporary folder, and the rules
//! that the tree itself keeps. As root, two tests of a full disk mount a small one.

// Nobody outside sees a test's helpers.
#![allow(unreachable_pub)]

#[path = "../common"]
mod common {
    #![allow(dead_code, clippy::unwrap_used)]
    pub mod miner_v2;
}
#[path = "../ledger_world/mod.rs"]
mod ledger_world;

mod config_check;
mod config_errors;
mod config_files;
mod config_reference;
mod container;
mod dialogues;
mod failover_model;
mod first_days;
mod golden_blocks;
mod hardening;
mod hash_vectors;
mod home_assistant;
mod ledger_backup;
mod ledger_core;
mod ledger_heat;
mod ledger_store;
mod ledger_years;
mod manual;
mod modules;
mod pointing;
mod spool_files;
mod v2_miner;
mod vardiff_sim;
mod world;
