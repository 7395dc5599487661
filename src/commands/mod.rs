//! The commands of `soloist` other than `run`: one file for each command that needs more than a
//! call.

pub mod ledger;
pub mod pair;
