//! The whole program where time counts: what a node's other clients, a miner beside a hundred readers,
//! a hundred miners in a hard house, and a miner of two boxes have to wait for. Another test on the same processors would be
//! measured with it. So they have a binary of their own, which cargo runs by itself, and in it only
//! one runs at a time: each begins with [`alone`].

// Nobody outside sees a test's helpers.
#![allow(unreachable_pub)]

use std::sync::{Mutex, MutexGuard, PoisonError};

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, clippy::unwrap_used)]
#[path = "../ledger_world/disk.rs"]
mod disk;

mod devices_load;
mod guest_e2e;
mod page_load;
mod pair_e2e;
mod soak;

/// Waits until no other test of this binary runs; none begins while the guard lives.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
