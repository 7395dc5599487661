//! See the check of this name in `checks.rs`. Seeds: `cargo +nightly fuzz run feed fuzz/seeds/feed`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../checks.rs"]
mod checks;

fuzz_target!(|data: &[u8]| {
    checks::feed(data);
});
