//! The whole program beside real full nodes, with miners connected. bcoin comes by `npm`; Bitcoin Core
//! is used where `BITCOIND` names its binary.
//!
//! These tests run beside each other, so that none may hold a time to less than some seconds; what
//! does stands in `tests/timed`.

// Nobody outside sees a test's helpers.
#![allow(unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;

mod block_truth;
mod clock_e2e;
mod daemon_e2e;
mod daemon_page;
mod devices_e2e;
mod failover_e2e;
mod handover_e2e;
mod miners_e2e;
mod outside_e2e;
mod p2p_e2e;
mod pair_e2e;
mod pair_page_e2e;
mod permissions_e2e;
mod rules_e2e;
mod spool_e2e;
mod v2_e2e;
