//! A session that goes on in the next run of the program, on the same connection.
//!
//! What is here changes rarely: when a miner introduces itself, wishes for something, or is given another
//! difficulty. What it was given with which job is in the journal of jobs ([`crate::job_journal`]); the
//! next run finds it by the extranonce1.

use std::time::Instant;

use crate::ids::Extranonce1;
use crate::vardiff::Start;

use super::firmware::{Saved, Unclear};

/// A session of Stratum V1 that has had its first job.
#[derive(Clone, Debug, PartialEq)]
pub struct HandedSession {
    /// Its extranonce1.
    pub extranonce1: Extranonce1,
    /// Bytes of extranonce2 that it was told.
    pub extranonce2_size: usize,
    /// What the miner says that it is.
    pub user_agent: String,
    /// The name by which it authorized itself.
    pub worker: String,
    /// Since when it is connected.
    pub connected_at: Instant,
    /// Where vardiff is, and how firm that is.
    pub level: Start,
    /// The difficulty to remember for its next visit.
    pub proven: Option<f64>,
    /// What is kept of the worker from an earlier session.
    pub saved: Option<Saved>,
    /// What its password asks for.
    pub asked: Result<Option<f64>, Unclear>,
    /// The difficulty that it last wished for.
    pub wish: Option<f64>,
}

/// Why a session cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Another session has its extranonce1.
    TwiceThere,
    /// The firmware is to have an extranonce2 of another size now.
    OtherExtranonce,
}
