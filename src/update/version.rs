//! The number of a version.

use std::fmt;
use std::str::FromStr;

/// The highest number in a version.
const NUMBER_MAX: u32 = 999_999;

/// Three numbers, compared as numbers: 0.10.0 is later than 0.9.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32, pub u32, pub u32);

/// The text is none of the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a version is three numbers with points, such as 0.3.0")]
pub struct BadVersion;

impl FromStr for Version {
    type Err = BadVersion;

    /// `0.3.0`: each number at most 999,999, without leading zeros, and nothing else.
    fn from_str(text: &str) -> Result<Version, BadVersion> {
        let mut numbers = text.split('.').map(number);
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(a), Some(b), Some(c), None) => Ok(Version(a?, b?, c?)),
            _ => Err(BadVersion),
        }
    }
}

fn number(text: &str) -> Result<u32, BadVersion> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let has_zeros = text.len() > 1 && text.starts_with('0');
    let number = text.parse().ok().filter(|number| *number <= NUMBER_MAX);
    number.filter(|_| is_plain && !has_zeros).ok_or(BadVersion)
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_as_numbers() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("0.10.0") > version("0.9.99"));
        assert!(version("1.0.0") > version("0.999999.999999"));
        assert_eq!(version("0.3.0").to_string(), "0.3.0");
        for bad in [
            "",
            "0.3",
            "0.3.0.1",
            "0.3.x",
            "v0.3.0",
            "0.03.0",
            "0.3.0 ",
            "+0.3.0",
            "0.-3.0",
            "0.3.1000000",
            "0.3.99999999999",
            "0..3",
            "٣.0.0",
        ] {
            assert_eq!(bad.parse::<Version>(), Err(BadVersion), "{bad}");
        }
    }
}
