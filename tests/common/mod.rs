//! What the tests of the whole share: real nodes, and a network that fails on demand.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

pub mod fault;
pub mod node;

use std::time::{Duration, Instant};

/// Waits until `condition` gives something; the limit is generous, because machines are noisy.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port of the loopback that is free now.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
