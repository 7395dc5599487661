//! Why a miner's call is rejected, with Stratum's error code and a helpful message.

use std::fmt::{self, Display};
use std::time::Duration;

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
    Stale {
        /// The height of the block that made it stale.
        height: u64,
        /// How long that block has been known.
        known_for: Duration,
    },
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

impl Reject {
    /// Stratum's code for it.
    pub fn code(&self) -> i32 {
        match self {
            Reject::Malformed(_)
            | Reject::NtimeTooOld
            | Reject::NtimeTooNew
            | Reject::VersionBits { .. } => 20,
            Reject::Stale { .. } | Reject::UnknownJob => 21,
            Reject::Duplicate => 22,
            Reject::LowDifficulty { .. } => 23,
            Reject::Unauthorized | Reject::WrongPassword => 24,
            Reject::UnknownMethod => -3,
        }
    }
}

impl Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reject::Malformed(fault) => fault.fmt(f),
            Reject::NtimeTooOld => f.write_str("ntime is too old"),
            Reject::NtimeTooNew => f.write_str("ntime is too far in the future"),
            Reject::VersionBits { bits, mask } => {
                write!(f, "version bits {bits:08x} are outside the mask {mask:08x}")
            }
            Reject::Stale { height, known_for } => write!(
                f,
                "stale: block {} arrived {:.1} s before",
                Grouped(*height),
                known_for.as_secs_f64()
            ),
            Reject::UnknownJob => f.write_str("job not found"),
            Reject::Duplicate => f.write_str("duplicate share"),
            Reject::LowDifficulty { share, wanted } => {
                write!(f, "low difficulty share ({} of {})", Amount(*share), Amount(*wanted))
            }
            Reject::Unauthorized => f.write_str("unauthorized"),
            Reject::WrongPassword => f.write_str("wrong password"),
            Reject::UnknownMethod => f.write_str("Method not found"),
        }
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

/// What is wrong with a line, in words that may be sent to the miner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It does not begin with a brace. Usual cause: HTTP or TLS on this port.
    #[error("a message is a JSON object on one line")]
    NotAnObject,
    /// Not JSON, a key that stands twice, or an id, method or params that a JSON reader refuses.
    #[error("bad JSON: {0}")]
    NotJson(String),
    /// The id is an array or an object.
    #[error("the id must be a number, a string or null")]
    BadId,
    /// Neither a call nor an answer, or the method is not a string.
    #[error("no method")]
    NoMethod,
    /// `params` is not an array.
    #[error("{0}: params must be an array")]
    BadParams(&'static str),
    /// One parameter is missing or of no use.
    #[error("{method}: {field} must be {wanted}")]
    BadField {
        /// The call.
        method: &'static str,
        /// The parameter.
        field: &'static str,
        /// What it should have been.
        wanted: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(Grouped(1_000_042).to_string(), "1,000,042");
        assert_eq!(Grouped(999).to_string(), "999");
    }
}
