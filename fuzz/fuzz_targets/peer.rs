//! See `peer.rs` beside this directory. Seeds: `cargo +nightly fuzz run peer fuzz/seeds/peer`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../peer.rs"]
mod peer;

fuzz_target!(|data: &[u8]| {
    peer::peer(data);
});
