//! `soloist::hash`, and nothing else.

#[path = "../../../src/hash/mod.rs"]
pub mod hash;
