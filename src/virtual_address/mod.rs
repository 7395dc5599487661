//! One address that two boxes share: miners use it, keepalived (VRRP, RFC 5798) holds it at the box that is well,
//! and whoever gets it tells the other's miners that their connections are dead.
//!
//! Pure: [`keepalived`] is what keepalived is told, and [`tickle`] the bytes that wake a miner. The commands are in
//! `commands/pair.rs`.

pub mod keepalived;
pub mod tickle;
