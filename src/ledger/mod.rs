//! The ledger: shares, blocks and history of each miner, kept for years on an SD card that small
//! writes wear out, and whose power may fail at any time.
//!
//! Pure parts: [`record`] (the journal's records and their form on disk), [`history`] (rings of
//! points), [`heat`] and [`heat_history`] (what the miners tell of temperature and power), `runs` (what the dates of earlier runs are worth), [`totals`] (the ledger in memory and the policy of what to write when), [`backup`] (one
//! file), [`export`] (CSV and JSON), [`share_log`] (counted shares that are not on the card yet). Shells: [`store`] (journal, cache, snapshots), [`writer`] (answers what the ledger asks for), [`check`]
//! (the guarded opening), [`child`] (sled in a process of its own), [`transfer`] (backup, restore,
//! copies), [`disk_health`] (space and wear).
//!
//! # How the daemon uses it
//!
//! - Once at the start: [`totals::Ledger::new`], [`totals::LedgerEvent::Started`], and
//!   [`writer::LedgerWriter::new`]. Nothing is read yet, and shares may be counted at once.
//! - When a miner authorises: [`totals::Ledger::worker`] returns the handle for its shares; then
//!   [`totals::LedgerEvent::Connected`]. `get(id).level` is its start difficulty.
//! - For each share: [`totals::LedgerEvent::Share`] or [`totals::LedgerEvent::Reject`]. No
//!   allocation, no I/O.
//! - For each answer of a miner's own API: [`totals::LedgerEvent::Heat`].
//! - A [`totals::LedgerEvent::Tick`] at [`totals::Ledger::next_deadline`].
//! - Outputs `Open` and `Save` go to [`writer::LedgerWriter::work`] on a pool thread, and its
//!   answer goes back into [`totals::Ledger::handle`]. At most one is in progress.
//! - At the end: [`totals::LedgerEvent::Stop`], or [`totals::LedgerEvent::Pause`]; then wait for the answer to the batch with `close`.
//!
//! Every ten minutes: [`disk_health::read`] on a pool thread and [`disk_health::Card::reading`]; if
//! that says so, [`totals::LedgerEvent::Shrink`].
//!
//! The page shows [`totals::Ledger::storage`] and [`totals::Ledger::notes`] of the card.
//!
//! # Why not the database alone
//!
//! Data that sled 0.34 has flushed does not survive every power cut, and some damage makes sled
//! panic or hang. So our own append-only journal is authoritative. sled holds what a rewritten
//! journal leaves out: the minutes of a day, and copies of the sums. sled also takes 20 MB of
//! memory and seven threads, so it is opened in short-lived child processes ([`child`]).
//!
//! # What can be lost, and when
//!
//! | what happens | what is lost at most |
//! |---|---|
//! | orderly stop, restart | nothing |
//! | kill | ten minutes of charts; where the shell keeps a [`share_log`], no count |
//! | power cut | ten minutes of counts and charts; no block, no setting; a best share of the last minute |
//! | the cache breaks, or no child can be started | minute charts from before the journal was last rewritten |
//! | the journal breaks | what neither it nor the newest snapshot (at most a day old) nor the cache's sums (three hours) still hold; the owner is told |
//! | the card is full, read-only or gone | nothing while the power stays; it is written when that is possible |

pub mod backup;
mod cache;
pub mod check;
pub mod child;
mod codec;
pub mod disk_health;
pub mod export;
pub mod half_hours;
pub mod heat;
pub mod heat_history;
pub mod history;
pub mod journal;
pub mod record;
mod runs;
pub mod seal;
pub mod share_log;
pub mod store;
pub mod totals;
pub mod transfer;
pub mod writer;
