//! The ledger. (Documentation follows.)
mod codec;
pub mod record;
