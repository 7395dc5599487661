//! Stratum: what miners send and are sent, in V1 (lines of JSON) and V2 (frames).

pub mod firmware;
pub mod frame;
pub mod given;
pub mod handover;
pub mod message;
pub mod opening;
pub mod outbox;
pub mod reply;
pub mod session;
mod v1;
pub mod v2;
