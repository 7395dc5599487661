//! See the check of this name in `checks.rs`. Seeds: `cargo +nightly fuzz run pair fuzz/seeds/pair`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../checks.rs"]
mod checks;

fuzz_target!(|data: &[u8]| {
    checks::pair(data);
});
