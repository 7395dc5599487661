//! Why a miner's call is rejected, with Stratum's error code, the text for the miner, and more for the
//! log.
//!
//! [`Reject::text`] is what a miner is sent, and constant: AxeOS keeps a table of the texts that it was
//! sent, with ten rows that are never emptied, so a number in a text would fill it within minutes. The
//! numbers are in `Display`, for our log.

use std::fmt::{self, Display};
use std::time::Duration;

/// A share for the previous block that comes this soon after the new one was already on its way; the
/// miner could not know.
const AT_CHANGE: Duration = Duration::from_secs(1);

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Reject {
    /// 20: the call cannot be read.
    Malformed(Fault),
    /// 20: the header's time is before what the network accepts.
    NtimeTooOld,
    /// 20: the header's time is too far ahead of the job's.
    NtimeTooNew,
    /// 20: bits were rolled that the miner may not roll.
    VersionBits {
        /// The bits as submitted.
        bits: u32,
        /// The bits that may be rolled.
        mask: u32,
    },
    /// 21: the share builds on a block that is no longer the tip.
    Stale(Late),
    /// 21: the same, but it was on its way when the block changed. See [`Reject::stale`].
    StaleAtChange(Late),
    /// 21: no such job.
    UnknownJob,
    /// 22: this very share was submitted before.
    Duplicate,
    /// 23: the hash is above the target.
    LowDifficulty {
        /// The difficulty of the share's hash.
        share: f64,
        /// The difficulty of its job.
        wanted: f64,
    },
    /// 24: a submit before `mining.authorize`.
    Unauthorized,
    /// 24: the owner has set a password and this is not it.
    WrongPassword,
    /// -3: no such method.
    UnknownMethod,
}

/// A share that is late, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// The height of the block that made it stale.
    pub height: u64,
    /// How long that block has been known.
    pub known_for: Duration,
}

impl Reject {
    /// A share that builds on a block that is no longer the tip.
    pub fn stale(late: Late) -> Reject {
        match late.known_for <= AT_CHANGE {
            true => Reject::StaleAtChange(late),
            false => Reject::Stale(late),
        }
    }

    /// What the miner is told: always the same for the same reason.
    pub fn text(&self) -> &'static str {
        match self {
            Reject::Malformed(fault) => fault.text(),
            Reject::NtimeTooOld => "ntime is too old",
            Reject::NtimeTooNew => "ntime is too far in the future",
            Reject::VersionBits { .. } => "version bits outside the mask",
            Reject::Stale(_) | Reject::StaleAtChange(_) => "stale",
            Reject::UnknownJob => "job not found",
            Reject::Duplicate => "duplicate share",
            Reject::LowDifficulty { .. } => "low difficulty share",
            Reject::Unauthorized => "unauthorized",
            Reject::WrongPassword => "wrong password",
            Reject::UnknownMethod => "Method not found",
        }
    }

    /// Stratum's code for it.
    pub fn code(&self) -> i32 {
        match self {
            Reject::Malformed(_)
            | Reject::NtimeTooOld
            | Reject::NtimeTooNew
            | Reject::VersionBits { .. } => 20,
            Reject::Stale(_) | Reject::StaleAtChange(_) | Reject::UnknownJob => 21,
            Reject::Duplicate => 22,
            Reject::LowDifficulty { .. } => 23,
            Reject::Unauthorized | Reject::WrongPassword => 24,
            Reject::UnknownMethod => -3,
        }
    }
}

/// The text and its numbers, for the log.
impl Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reject::Malformed(fault) => fault.fmt(f),
            Reject::VersionBits { bits, mask } => {
                write!(f, "version bits {bits:08x} are outside the mask {mask:08x}")
            }
            Reject::Stale(late) => write!(f, "stale: {late}"),
            Reject::StaleAtChange(late) => write!(f, "on its way when the block changed: {late}"),
            Reject::LowDifficulty { share, wanted } => {
                write!(f, "low difficulty share ({} of {})", Amount(*share), Amount(*wanted))
            }
            Reject::NtimeTooOld
            | Reject::NtimeTooNew
            | Reject::UnknownJob
            | Reject::Duplicate
            | Reject::Unauthorized
            | Reject::WrongPassword
            | Reject::UnknownMethod => f.write_str(self.text()),
        }
    }
}

impl Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.known_for.as_secs_f64();
        write!(f, "block {} arrived {seconds:.1} s before", Grouped(self.height))
    }
}

/// A whole number with commas between thousands.
struct Grouped(u64);

impl Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 / 1000 {
            0 => write!(f, "{}", self.0),
            thousands => write!(f, "{},{:03}", Grouped(thousands), self.0 % 1000),
        }
    }
}

/// A difficulty, cut (never rounded up to what it falls short of): whole from 1 up, else to three
/// significant digits.
struct Amount(f64);

impl Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 1.0 {
            return write!(f, "{}", self.0.floor());
        }
        if self.0 <= 0.0 {
            return f.write_str("0");
        }
        let places = (2 - self.0.log10().floor() as i32).clamp(0, 20);
        let unit = 10f64.powi(places);
        // The nudge keeps 0.0015 from becoming 0.00149 because binary has no 0.0015.
        let cut = (self.0 * unit + 1e-6).floor() / unit;
        write!(f, "{cut}")
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not begin with a brace. Usual cause: HTTP or TLS on this port.
    NotAnObject,
    /// Not JSON, a key that stands twice, or an id, method or params that a JSON reader refuses; with
    /// the reader's words.
    NotJson(String),
    /// The id is an array or an object.
    BadId,
    /// Neither a call nor an answer, or the method is not a string.
    NoMethod,
    /// `params` of this call is not an array.
    BadParams(&'static str),
    /// One parameter is missing or of no use: the whole sentence.
    BadField(&'static str),
    /// A message of Stratum V2 is shorter than its fields; with its type.
    BadFrame(u8),
}

impl Fault {
    /// What the miner is told.
    pub fn text(&self) -> &'static str {
        match self {
            Fault::NotAnObject => "a message is a JSON object on one line",
            Fault::NotJson(_) => "bad JSON",
            Fault::BadId => "the id must be a number, a string or null",
            Fault::NoMethod => "no method",
            Fault::BadParams(_) => "params must be an array",
            Fault::BadField(sentence) => sentence,
            Fault::BadFrame(_) => "the message is too short",
        }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotJson(why) => write!(f, "bad JSON: {why}"),
            Fault::BadParams(method) => write!(f, "{method}: {}", self.text()),
            Fault::BadFrame(kind) => write!(f, "a message of type {kind:#04x} is too short"),
            Fault::NotAnObject | Fault::BadId | Fault::NoMethod | Fault::BadField(_) => {
                f.write_str(self.text())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(Grouped(1_000_042).to_string(), "1,000,042");
        assert_eq!(Grouped(999).to_string(), "999");
    }

    #[test]
    fn a_late_share_is_one_at_the_change_for_a_second() {
        let late = |ms| Late { height: 884_201, known_for: Duration::from_millis(ms) };
        assert_eq!(Reject::stale(late(1000)), Reject::StaleAtChange(late(1000)));
        assert_eq!(Reject::stale(late(1001)), Reject::Stale(late(1001)));
        let words = |ms| Reject::stale(late(ms)).to_string();
        assert_eq!(words(1240), "stale: block 884,201 arrived 1.2 s before");
        assert_eq!(
            words(420),
            "on its way when the block changed: block 884,201 arrived 0.4 s before"
        );
    }

    #[test]
    fn the_log_has_the_numbers() {
        let low = |share, wanted| Reject::LowDifficulty { share, wanted }.to_string();
        for (words, expected) in [
            (low(512.7, 1024.0), "low difficulty share (512 of 1024)"),
            (low(1023.999, 1024.0), "low difficulty share (1023 of 1024)"),
            (low(0.001_499_7, 0.0015), "low difficulty share (0.00149 of 0.0015)"),
            (low(0.0, 0.0001), "low difficulty share (0 of 0.0001)"),
            (
                Reject::VersionBits { bits: 0x1000, mask: 0x1fff_e000 }.to_string(),
                "version bits 00001000 are outside the mask 1fffe000",
            ),
        ] {
            assert_eq!(words, expected);
        }
    }

    /// AxeOS counts by text, in ten rows of 63 characters.
    #[test]
    fn what_a_miner_is_told_has_no_numbers_and_fits_into_a_row() {
        let late = |height| Late { height, known_for: Duration::from_millis(height) };
        let pairs = [
            (Reject::stale(late(1)), Reject::stale(late(5000))),
            (Reject::VersionBits { bits: 1, mask: 2 }, Reject::VersionBits { bits: 3, mask: 4 }),
            (
                Reject::LowDifficulty { share: 1.0, wanted: 2.0 },
                Reject::LowDifficulty { share: 3.0, wanted: 4.0 },
            ),
            (
                Reject::Malformed(Fault::NotJson("at column 7".to_owned())),
                Reject::Malformed(Fault::NotJson("at column 8".to_owned())),
            ),
            (
                Reject::Malformed(Fault::BadParams("submit")),
                Reject::Malformed(Fault::BadParams("subscribe")),
            ),
        ];
        for (one, other) in pairs {
            assert_eq!(one.text(), other.text());
            assert!(one.text().len() <= 63 && !one.text().contains(|c: char| c.is_ascii_digit()));
        }
    }
}
