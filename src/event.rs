//! Severity and kind of an event for the owner.

use serde::Serialize;

/// How bad something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Good to know.
    #[default]
    Info,
    /// Should be looked at.
    Warning,
    /// Mining, money or blocks suffer.
    Critical,
}

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A block was found, accepted, orphaned.
    Block,
    /// A new best share.
    Best,
    /// A miner came, left, fell quiet.
    Miner,
    /// A node came, left, took the lead.
    Node,
    /// Start, stop, settings, storage, board.
    #[default]
    System,
}
