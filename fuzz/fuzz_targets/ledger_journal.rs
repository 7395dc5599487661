//! Any bytes as a journal and as a backup: read without panic, in bounded time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use soloist::ledger::{backup, record};

fuzz_target!(|data: &[u8]| {
    let scan = record::scan(data);
    assert_eq!(scan.end + scan.torn_tail, data.len() as u64);
    let _ = backup::read(data);
});
