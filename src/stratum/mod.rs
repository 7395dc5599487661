//! Stratum v1.

pub mod firmware;
pub mod frame;
pub mod message;
pub mod outbox;
pub mod reply;
pub mod session;
