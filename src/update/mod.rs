//! New versions of this program: what the update feed says, what it means for this system, and when it is
//! installed. `docs/update-feed.md` is the contract.
//!
//! ```text
//! tick, press ─▶ Updates ─▶ check ──▶ crate::feed (pool thread) ─▶ signature, Feed ─▶ Updates
//!                   │                                                                    │
//!                   ├─▶ keep: the file on the data partition                             │
//!                   └─▶ download ─▶ crate::feed ─▶ hand over ─▶ soloist-update ◀─────────┘
//! ```
//!
//! Pure. A check comes once a day, whatever came of the last one. An update is installed only when the
//! owner wants it, when no block is on its way, and by itself only while a node gives work: else nobody
//! could see what the new version is worth.

mod fault;
pub mod feed;
mod finding;
mod kept;
mod signature;
mod updates;
mod version;
mod view;

pub use fault::Fault;
pub use feed::{Feed, Release};
pub use finding::{Step, sentence};
pub use kept::{FILE_MAX, Kept};
pub use signature::{SIGNATURE_MAX, verify};
pub use updates::{Facts, Fetched, Input, Output, Settings, Updates};
pub use version::Version;
pub use view::{FailureView, ReleaseView, UpdateView, WithdrawnView};

/// What is done about a new version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The feed is not read.
    Off,
    /// The owner is told.
    #[default]
    Tell,
    /// It is installed, where this system can do that.
    Install,
}

impl Mode {
    /// As in the config.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Off => "off",
            Mode::Tell => "tell",
            Mode::Install => "install",
        }
    }
}

/// A time of day, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOfDay {
    /// Seconds since midnight.
    seconds: u64,
}

/// A day, seconds.
const DAY: u64 = 86_400;

impl TimeOfDay {
    /// From `04:00`; `None` for anything else.
    pub fn read(text: &str) -> Option<TimeOfDay> {
        let (hours, minutes) = text.split_once(':')?;
        let number = |text: &str, below: u64| {
            let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u64>().ok().filter(|number| is_plain && *number < below)
        };
        Some(TimeOfDay { seconds: number(hours, 24)? * 3600 + number(minutes, 60)? * 60 })
    }

    /// Seconds since it was last so late, at this date.
    fn ago(self, unix: u64) -> u64 {
        (unix % DAY + DAY - self.seconds) % DAY
    }

    /// When it is so late next, or is now, Unix seconds.
    fn next(self, unix: u64) -> u64 {
        unix.saturating_add((DAY - self.ago(unix)) % DAY)
    }
}

impl std::fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}:{:02}", self.seconds / 3600, self.seconds / 60 % 60)
    }
}

#[cfg(test)]
mod tests;
