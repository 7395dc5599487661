//! What is remembered over a power cut and an update: one small file on the data partition.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Fault;
use super::feed::{FEED_MAX, Feed};
use super::version::Version;

/// The format of the file.
const FORMAT: u32 = 1;
/// Bytes of the file that are read: the feed with every byte escaped, and some more.
pub const FILE_MAX: u64 = 512 * 1024;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The newest feed that was accepted, as it came.
    pub feed: Option<String>,
    /// Its serial: no feed with a smaller one is accepted.
    pub serial: u64,
    /// When a check last found a good feed, Unix seconds.
    pub seen_at: u64,
    /// When the last check ended, whatever came of it, Unix seconds.
    pub checked_at: u64,
    /// The version of which the owner was last told.
    pub told: Option<Version>,
    /// The version that was last handed to the system to be installed.
    pub tried: Option<Tried>,
}

/// A version that was handed to the system to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Which.
    pub version: Version,
    /// When, Unix seconds.
    pub at: u64,
    /// Why it does not run, as it is known by now.
    pub failed: Option<Failed>,
}

/// Why an installation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The system said no, in its own words.
    Refused(String),
    /// The version of before came back.
    CameBack,
}

/// The file, field by field.
#[derive(Serialize, Deserialize)]
struct File {
    soloist_update: u32,
    serial: u64,
    seen_at: u64,
    checked_at: u64,
    feed: Option<String>,
    told: Option<String>,
    tried: Option<TriedFile>,
}

#[derive(Serialize, Deserialize)]
struct TriedFile {
    version: String,
    at: u64,
    refused: Option<String>,
    came_back: bool,
}

impl Kept {
    /// Reads the file's content.
    ///
    /// # Errors
    /// A clause: it was damaged, or is of a later version.
    pub fn read(bytes: &[u8]) -> Result<Kept, String> {
        let file: File = serde_json::from_slice(bytes).map_err(|_| "it is damaged".to_owned())?;
        if file.soloist_update != FORMAT {
            return Err(format!("it has format {}", file.soloist_update));
        }
        let version = |text: &String| text.parse().ok();
        let tried = file.tried.and_then(|tried| {
            let failed = match (tried.refused, tried.came_back) {
                (Some(words), _) => Some(Failed::Refused(words)),
                (None, true) => Some(Failed::CameBack),
                (None, false) => None,
            };
            Some(Tried { version: version(&tried.version)?, at: tried.at, failed })
        });
        Ok(Kept {
            feed: file.feed.filter(|feed| feed.len() <= FEED_MAX),
            serial: file.serial,
            seen_at: file.seen_at,
            checked_at: file.checked_at,
            told: file.told.as_ref().and_then(version),
            tried,
        })
    }

    /// The file's content.
    pub fn bytes(&self) -> Vec<u8> {
        let tried = self.tried.as_ref().map(|tried| TriedFile {
            version: tried.version.to_string(),
            at: tried.at,
            refused: match &tried.failed {
                Some(Failed::Refused(words)) => Some(words.clone()),
                _ => None,
            },
            came_back: tried.failed == Some(Failed::CameBack),
        });
        let file = File {
            soloist_update: FORMAT,
            serial: self.serial,
            seen_at: self.seen_at,
            checked_at: self.checked_at,
            feed: self.feed.clone(),
            told: self.told.map(|version| version.to_string()),
            tried,
        };
        serde_json::to_vec(&file).unwrap_or_default()
    }

    /// Takes in a feed that was found good otherwise.
    ///
    /// # Errors
    /// [`Fault::Older`] or [`Fault::Changed`]; nothing has changed then.
    pub fn accept(&mut self, feed: &Feed, text: &str, unix: u64) -> Result<(), Fault> {
        if feed.serial < self.serial {
            return Err(Fault::Older { seen: self.serial, got: feed.serial });
        }
        let is_other = |before: &String| Sha256::digest(before) != Sha256::digest(text);
        if feed.serial == self.serial && self.feed.as_ref().is_some_and(is_other) {
            return Err(Fault::Changed(feed.serial));
        }
        self.serial = feed.serial;
        self.feed = Some(text.to_owned());
        self.seen_at = unix;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::feed::tests::{example, feed};
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut kept = Kept::default();
        assert_eq!(Kept::read(&kept.bytes()), Ok(kept.clone()));
        kept.accept(&feed(), &example(), 5).unwrap();
        kept.told = Some(Version(0, 3, 0));
        for failed in
            [None, Some(Failed::CameBack), Some(Failed::Refused("It says \"no\".".into()))]
        {
            kept.tried = Some(Tried { version: Version(0, 3, 0), at: 7, failed });
            assert_eq!(Kept::read(&kept.bytes()), Ok(kept.clone()));
        }
    }

    #[test]
    fn the_largest_feed_fits_into_the_file_that_is_read() {
        let kept = Kept { feed: Some("\u{1}".repeat(FEED_MAX)), ..Kept::default() };
        assert!(kept.bytes().len() as u64 <= FILE_MAX, "{}", kept.bytes().len());
    }

    #[test]
    fn a_damaged_file_is_told() {
        let good = Kept::default().bytes();
        for end in 0..good.len() {
            assert_eq!(Kept::read(&good[..end]), Err("it is damaged".to_owned()));
        }
        let later = String::from_utf8(good).unwrap().replace("update\":1", "update\":2");
        assert_eq!(Kept::read(later.as_bytes()), Err("it has format 2".to_owned()));
    }

    #[test]
    fn no_feed_is_accepted_that_is_older_or_another_one_of_the_same_number() {
        let mut kept = Kept::default();
        let at = |serial: u64| {
            let feed = Feed { serial, ..feed() };
            let text = example().replace("1234", &serial.to_string());
            (feed, text)
        };
        let (second, text) = at(2);
        kept.accept(&second, &text, 10).unwrap();
        // The same once more is the usual case.
        kept.accept(&second, &text, 20).unwrap();
        assert_eq!(kept.seen_at, 20);
        let before = kept.clone();
        let (first, old) = at(1);
        assert_eq!(kept.accept(&first, &old, 30), Err(Fault::Older { seen: 2, got: 1 }));
        assert_eq!(kept.accept(&second, &format!("{text} "), 30), Err(Fault::Changed(2)));
        assert_eq!(kept, before);
        let (third, new) = at(3);
        kept.accept(&third, &new, 30).unwrap();
        assert_eq!(kept.serial, 3);
        // The number is known even where the feed itself could not be kept.
        kept.feed = None;
        assert_eq!(kept.accept(&second, &text, 40), Err(Fault::Older { seen: 3, got: 2 }));
    }
}
