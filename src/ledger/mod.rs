//! The ledger. (Documentation follows.)
mod codec;
pub mod history;
pub mod luck;
pub mod record;
pub mod totals;
