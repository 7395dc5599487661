//! What is shown of updates.

use serde::Serialize;

/// What is known of new versions. As everywhere, `*_at` is Unix time in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct UpdateView {
    /// Where the feed is.
    pub feed: String,
    /// `tell` or `install`.
    pub mode: String,
    /// The version of this system.
    pub version: String,
    /// Whether this system can install an update: the box can.
    pub can_install: bool,
    /// The feed is being read.
    pub checking: bool,
    /// When the last check ended, whatever came of it.
    pub checked_at: Option<u64>,
    /// When the next one comes.
    pub next_check_at: Option<u64>,
    /// When a check last found a good feed.
    pub seen_at: Option<u64>,
    /// The number of the newest feed that was accepted.
    pub serial: Option<u64>,
    /// When that one was made.
    pub issued_at: Option<u64>,
    /// The clock of this box shows an earlier time than that: it is wrong.
    pub clock_behind: bool,
    /// The version that the feed names.
    pub release: Option<ReleaseView>,
    /// The state in a sentence.
    pub summary: String,
    /// What is to be done about it: `none`, `offered`, `out_of_reach` or `back`.
    pub step: String,
    /// The version of this system should not be run any more.
    pub withdrawn: Option<WithdrawnView>,
    /// What is being done: empty, `fetching`, `ready` (it is on the card) or `installing`.
    pub phase: String,
    /// What an update that is ready waits for, as a clause behind "it is installed when"; empty where
    /// none is ready.
    pub waits_for: String,
    /// Bytes of the update that have come so far.
    pub fetched: u64,
    /// When it is installed by itself.
    pub install_at: Option<u64>,
    /// Why the last check failed; `None` if it did not.
    pub check_failure: Option<FailureView>,
    /// Why the last installation failed, or came to nothing.
    pub install_failure: Option<FailureView>,
}

/// The version that the feed names.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReleaseView {
    /// Its number.
    pub version: String,
    /// Of its release, `YYYY-MM-DD`.
    pub date: String,
    /// What changes, one point a line.
    pub changes: String,
    /// Bytes of its update.
    pub size: u64,
    /// The oldest version that can be updated to it in one step.
    pub minimum: String,
}

/// The version of this system should not be run any more.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WithdrawnView {
    /// Why.
    pub reason: String,
}

/// Why something failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FailureView {
    /// The version that was to be installed; empty for a check.
    pub version: String,
    /// One word for programs.
    pub cause: String,
    /// A clause: why.
    pub why: String,
    /// What to do about it.
    pub remedy: String,
    /// Since when it is so.
    pub since: Option<u64>,
    /// It is told at once; else only when it lasts for days.
    pub grave: bool,
    /// For how many days it has been so.
    pub days: u64,
}
