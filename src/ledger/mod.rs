//! The ledger: what was mined, by whom, and what came of it, kept for years on a card that dies of
//! small writes and loses its power without warning.
//!
//! Pure parts: [`record`] (the journal's records and their form on disk), [`history`] (rings of
//! points), [`luck`] (what the work would find on average), [`totals`] (the ledger in memory and
//! the policy of what to write when), [`backup`] (one file). Shells: [`store`] (journal, cache,
//! snapshots), [`keeper`] (answers what the ledger asks for), [`check`] (the guarded opening).
//!
//! # How the daemon uses it
//!
//! - Once at the start: [`totals::Ledger::new`] and [`keeper::Keeper::new`]; nothing is read yet and
//!   shares may be counted at once.
//! - A miner authorises: [`totals::Ledger::worker`] gives the handle for its shares; then
//!   [`totals::LedgerEvent::Connected`]. `get(id).level` is the difficulty to start it with.
//! - Each share: [`totals::LedgerEvent::Share`] or [`totals::LedgerEvent::Reject`]. No allocation,
//!   no I/O.
//! - A [`totals::LedgerEvent::Tick`] at [`totals::Ledger::next_deadline`].
//! - Outputs `Open` and `Save` go to [`keeper::Keeper::work`] on a pool thread, its answer back into
//!   [`totals::Ledger::handle`]. There is never more than one under way.
//! - At the end: [`totals::LedgerEvent::Stop`], and wait for the answer to the batch with `close`.
//!
//! What a page shows of the card: [`totals::Ledger::storage`] and [`totals::Ledger::notes`].
//!
//! # Why not the database alone
//!
//! sled 0.34's `flush` does not survive every power cut, and some damage makes it panic or hang.
//! So an append-only journal of our own is the truth, and sled holds what can be lost.

pub mod backup;
mod cache;
pub mod card;
pub mod check;
mod codec;
pub mod export;
pub mod history;
mod journal;
pub mod keeper;
pub mod luck;
pub mod record;
pub mod store;
pub mod totals;
pub mod transfer;
