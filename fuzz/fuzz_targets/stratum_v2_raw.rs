//! See `stratum_v2.rs` beside this directory. Seeds: `cargo +nightly fuzz run stratum_v2_raw
//! fuzz/seeds/stratum_v2_raw`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../stratum_v2.rs"]
mod stratum_v2;

fuzz_target!(|data: &[u8]| {
    stratum_v2::raw(data);
});
