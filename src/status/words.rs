//! States and reasons in words.

use super::{BlockState, MinerState, NodeState, RejectReason, format};

impl RejectReason {
    /// In one or two words after a number, for a row.
    pub fn short(self) -> &'static str {
        match self {
            RejectReason::StaleAtChange => "at a change",
            RejectReason::Stale => "too late",
            RejectReason::UnknownJob => "unknown job",
            RejectReason::Duplicate => "repeated",
            RejectReason::LowDifficulty => "too easy",
            RejectReason::BadTime => "wrong time",
            RejectReason::BadVersion => "wrong version",
            RejectReason::Malformed => "unreadable",
            RejectReason::Unauthorized => "too early",
        }
    }

    /// What happened, for a list.
    pub fn words(self) -> &'static str {
        match self {
            RejectReason::StaleAtChange => "on their way when the block changed",
            RejectReason::Stale => "for an old block",
            RejectReason::UnknownJob => "for a job we do not know",
            RejectReason::Duplicate => "sent twice by the firmware",
            RejectReason::LowDifficulty => "below the set difficulty",
            RejectReason::BadTime => "with a wrong block time",
            RejectReason::BadVersion => "with version bits that were not agreed",
            RejectReason::Malformed => "not readable",
            RejectReason::Unauthorized => "before the miner had logged in",
        }
    }

    /// Whether nobody can avoid it: counted apart from what the miner or its Wi-Fi is to blame for.
    pub fn is_unavoidable(self) -> bool {
        match self {
            RejectReason::StaleAtChange => true,
            RejectReason::Stale
            | RejectReason::UnknownJob
            | RejectReason::Duplicate
            | RejectReason::LowDifficulty
            | RejectReason::BadTime
            | RejectReason::BadVersion
            | RejectReason::Malformed
            | RejectReason::Unauthorized => false,
        }
    }

    /// What it tells about the miner, for its own page.
    pub fn meaning(self) -> &'static str {
        match self {
            RejectReason::StaleAtChange => "Normal: nobody can avoid these.",
            RejectReason::Stale => "The miner takes new work late. Look at its Wi-Fi.",
            RejectReason::UnknownJob => "Usual after a reconnect. Many of them: restart the miner.",
            RejectReason::Duplicate => "A habit of some firmware. It costs nothing.",
            RejectReason::LowDifficulty => {
                "The miner has not taken the new difficulty yet. Many of them: update its firmware."
            }
            RejectReason::BadTime => "The miner changes the block's time too far.",
            RejectReason::BadVersion => {
                "The miner rolls bits it was not given. Update its firmware."
            }
            RejectReason::Malformed => "The miner sends what is no share. Update its firmware.",
            RejectReason::Unauthorized => "Usual after a reconnect. It costs nothing.",
        }
    }
}

/// A miner's name begins like an address, and `fault` is why that is not paid.
pub(crate) fn payee_fault(name: &str, fault: &str) -> String {
    format!(
        "The user of miner {} begins like an address, but {fault}. Its blocks pay you.",
        format::tame(name)
    )
}

/// What to do about it.
pub(crate) const CORRECT_PAYEE: &str = "Correct the user in the miner's own settings.";

/// A miner's password asks for a difficulty that cannot be read.
pub(crate) fn unclear_difficulty(name: &str) -> String {
    format!(
        "The password of miner {} asks for a difficulty that is not a plain number.",
        format::tame(name)
    )
}

/// What to do about it.
pub(crate) const PLAIN_DIFFICULTY: &str =
    "It is ignored. Write it without separators, as in d=5000, or fix the difficulty on the page.";

impl NodeState {
    /// One word or two.
    pub fn words(self) -> &'static str {
        match self {
            NodeState::Leading => "leads",
            NodeState::Standby => "stands by",
            NodeState::Syncing => "downloading",
            NodeState::Warming => "starting up",
            NodeState::NoPeers => "has no peers",
            NodeState::WrongClock => "clock is wrong",
            NodeState::Lagging => "lags behind",
            NodeState::OtherRules => "other rules",
            NodeState::Doubtful => "not trusted",
            NodeState::Forbidden => "forbids our calls",
            NodeState::NoTemplate => "gives no work",
            NodeState::Unusable => "cannot be used",
            NodeState::Down => "down",
            NodeState::Unknown => "not asked yet",
        }
    }
}

impl MinerState {
    /// One word.
    pub fn words(self) -> &'static str {
        match self {
            MinerState::Mining => "mining",
            MinerState::Quiet => "quiet",
            MinerState::Gone => "missing",
        }
    }
}

impl BlockState {
    /// A few words.
    pub fn words(self) -> &'static str {
        match self {
            BlockState::Candidate => "sent, not yet confirmed by a node",
            BlockState::Beside => "beside another block",
            BlockState::Accepted => "accepted",
            BlockState::Mature => "spendable",
            BlockState::Orphaned => "lost to another block",
            BlockState::Refused => "refused",
        }
    }
}
