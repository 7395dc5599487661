//! Any bytes as a spooled block.
#![no_main]

use libfuzzer_sys::fuzz_target;
use soloist::chain::BlockHash;
use soloist::spool::{decode, encode};

fuzz_target!(|data: &[u8]| {
    let Some((hash, file)) = data.split_first_chunk::<32>() else { return };
    if let Ok(block) = decode(file, &BlockHash(*hash)) {
        assert_eq!(decode(&encode(&block), &block.hash), Ok(block));
    }
});
