//! `soloist::hash` and the figures of `soloist bench`, and nothing else.

#[path = "../../../src/bench.rs"]
pub mod bench;
#[path = "../../../src/hash/mod.rs"]
pub mod hash;
