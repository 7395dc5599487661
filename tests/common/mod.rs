//! What the tests of the whole share: real nodes, and a network that fails on demand.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

pub mod craft;
pub mod daemon;
pub mod device;
pub mod fault;
pub mod few_threads;
pub mod manager;
pub mod miner_v2;
pub mod network;
pub mod node;
pub mod sandbox;
pub mod sink;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Waits until `condition` gives something; the limit is generous, because machines are noisy.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < Duration::from_secs(120), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port of the loopback that is free now and is given to nobody else here. Below the range from
/// which the system takes the ports of outgoing connections, so that it stays free.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    loop {
        let step = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 20_000 + (step % 12_000) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
