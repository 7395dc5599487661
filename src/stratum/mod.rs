//! Stratum v1 as home miners speak it.

pub mod firmware;
pub mod frame;
pub mod message;
pub mod reply;
