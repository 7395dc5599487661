//! What `soloist` does in place of running: one file for each command that is more than a call.

pub mod ledger;
