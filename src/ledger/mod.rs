//! The ledger: what was mined, by whom, and what came of it, kept for years on a card that dies of
//! small writes and loses its power without warning.
//!
//! Pure parts: [`record`] (the journal's records and their form on disk), [`history`] (rings of
//! points), [`totals`] (the ledger in memory and the policy of what to write when), [`backup`] (one
//! file), [`export`] (CSV and JSON). Shells: [`store`] (journal, cache, snapshots), [`writer`] (answers what the ledger asks for), [`check`]
//! (the guarded opening), [`child`] (sled in a process of its own), [`transfer`] (backup, restore, copies), [`disk_health`] (space and wear).
//!
//! # How the daemon uses it
//!
//! - Once at the start: [`totals::Ledger::new`] and [`writer::LedgerWriter::new`]; nothing is read yet and
//!   shares may be counted at once.
//! - A miner authorises: [`totals::Ledger::worker`] gives the handle for its shares; then
//!   [`totals::LedgerEvent::Connected`]. `get(id).level` is the difficulty to start it with.
//! - Each share: [`totals::LedgerEvent::Share`] or [`totals::LedgerEvent::Reject`]. No allocation,
//!   no I/O.
//! - A [`totals::LedgerEvent::Tick`] at [`totals::Ledger::next_deadline`].
//! - Outputs `Open` and `Save` go to [`writer::LedgerWriter::work`] on a pool thread, its answer back into
//!   [`totals::Ledger::handle`]. There is never more than one under way.
//! - At the end: [`totals::LedgerEvent::Stop`], and wait for the answer to the batch with `close`.
//!
//! Every ten minutes [`disk_health::read`] on a pool thread and [`disk_health::Card::reading`]; when that says so,
//! [`totals::LedgerEvent::Shrink`].
//!
//! What a page shows of the card: [`totals::Ledger::storage`] and [`totals::Ledger::notes`].
//!
//! # Why not the database alone
//!
//! sled 0.34's `flush` does not survive every power cut, and some damage makes it panic or hang.
//! So an append-only journal of our own is the truth, and sled holds what the journal leaves out
//! when it is written anew: the minutes of a day, and copies of the sums. And sled takes 20 MB of
//! memory and seven threads: it is opened in children that live for a moment ([`child`]).
//!
//! # What can be lost, and when
//!
//! | what happens | what is lost at most |
//! |---|---|
//! | orderly stop, restart | nothing |
//! | kill, power cut | ten minutes of counts and charts; no block, no setting; a best share of the last minute |
//! | the cache breaks, or no child can be started | minute charts from before the journal was last written anew |
//! | the journal breaks | what neither it nor the newest snapshot (at most a day old) nor the cache's sums (three hours) still hold; told |
//! | the card is full, read-only or gone | nothing while the power stays; it is written when it can be |

pub mod backup;
mod cache;
pub mod check;
pub mod child;
mod codec;
pub mod disk_health;
pub mod export;
pub mod half_hours;
pub mod history;
pub mod journal;
pub mod record;
pub mod seal;
pub mod store;
pub mod totals;
pub mod transfer;
pub mod writer;
