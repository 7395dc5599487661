//! The feed: what `feed.json` says, each value held to the table of `docs/update-feed.md`.

use serde_json::{Map, Value};
use time::{Date, Month};

use super::Fault;
use super::version::Version;
use crate::devices::is_visible;

/// Bytes of a feed.
pub const FEED_MAX: usize = 65_536;
/// The format that is read.
const FORMAT: u64 = 1;
/// Above all serials: what every reader of JSON takes for a whole number.
const SERIALS: u64 = 1 << 53;
/// Bytes of the text on what changes.
const CHANGES_MAX: usize = 8_000;
/// Bytes of the address of an update.
const URL_MAX: usize = 500;
/// Bytes of the reason why a version is withdrawn.
const REASON_MAX: usize = 300;
/// Versions that are withdrawn.
const WITHDRAWN_MAX: usize = 100;

/// What a feed says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// A later feed has a larger one.
    pub serial: u64,
    /// When it was made, Unix seconds.
    pub issued: u64,
    /// The version that every box should have.
    pub release: Release,
    /// Versions that nobody should run any more.
    pub withdrawn: Vec<Withdrawn>,
}

/// A version, and its update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its number.
    pub version: Version,
    /// `YYYY-MM-DD`.
    pub date: String,
    /// What changes, one point a line.
    pub changes: String,
    /// Where the update is. Its own signature is there with `.minisig`.
    pub url: String,
    /// Bytes of the update.
    pub size: u64,
    /// Of the update.
    pub sha256: [u8; 32],
    /// The oldest version that can be updated to this one in one step.
    pub minimum: Version,
}

/// A version that nobody should run any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// Its number.
    pub version: Version,
    /// Why, one line.
    pub reason: String,
}

impl Feed {
    /// Reads a feed whose signature was found good. Keys that are not known are passed over.
    ///
    /// # Errors
    /// [`Fault::NotJson`], [`Fault::Format`], or [`Fault::Value`] with the name of the first value that is
    /// missing or not as the table has it.
    pub fn read(bytes: &[u8]) -> Result<Feed, Fault> {
        if bytes.len() > FEED_MAX {
            return Err(Fault::TooLong(FEED_MAX as u64));
        }
        let document: Value = serde_json::from_slice(bytes).map_err(|_| Fault::NotJson)?;
        let feed = Object::of(Some(&document)).ok_or(Fault::NotJson)?;
        match feed.number("soloist_feed")? {
            FORMAT => {}
            other => return Err(Fault::Format(other)),
        }
        let release = read_release(&feed.object("release")?)?;
        let listed = feed.0.get("withdrawn").and_then(Value::as_array);
        let listed = listed.filter(|list| list.len() <= WITHDRAWN_MAX);
        let listed = listed.ok_or(Fault::Value("withdrawn"))?;
        let withdrawn: Vec<Withdrawn> =
            listed.iter().map(read_withdrawn).collect::<Result<_, _>>()?;
        if withdrawn.iter().any(|withdrawn| withdrawn.version == release.version) {
            return Err(Fault::Value("withdrawn"));
        }
        let serial = feed.number("serial")?;
        Ok(Feed {
            serial: Some(serial)
                .filter(|n| (1..SERIALS).contains(n))
                .ok_or(Fault::Value("serial"))?,
            issued: moment(feed.text("issued")?).ok_or(Fault::Value("issued"))?,
            release,
            withdrawn,
        })
    }

    /// Why a version is withdrawn; `None` if it is not.
    pub fn reason(&self, version: Version) -> Option<&str> {
        let withdrawn = self.withdrawn.iter().find(|withdrawn| withdrawn.version == version)?;
        Some(&withdrawn.reason)
    }
}

fn read_release(release: &Object<'_>) -> Result<Release, Fault> {
    let date = release.text("date")?;
    let changes = release.text("changes")?;
    let url = release.text("url")?;
    let size = release.number("size")?;
    Ok(Release {
        version: release.version("version")?,
        date: day(date).map(|_| date.to_owned()).ok_or(Fault::Value("date"))?,
        changes: plain(changes, CHANGES_MAX, true).ok_or(Fault::Value("changes"))?,
        url: Some(url).filter(|url| is_address(url)).ok_or(Fault::Value("url"))?.to_owned(),
        size: Some(size).filter(|size| *size > 0).ok_or(Fault::Value("size"))?,
        sha256: sha256(release.text("sha256")?).ok_or(Fault::Value("sha256"))?,
        minimum: release.version("minimum")?,
    })
}

fn read_withdrawn(value: &Value) -> Result<Withdrawn, Fault> {
    let withdrawn = Object::of(Some(value)).ok_or(Fault::Value("withdrawn"))?;
    let reason = plain(withdrawn.text("reason")?, REASON_MAX, false);
    let reason = reason.ok_or(Fault::Value("reason"))?;
    Ok(Withdrawn { version: withdrawn.version("version")?, reason })
}

/// An object of the feed, whose values are named in faults.
struct Object<'a>(&'a Map<String, Value>);

impl<'a> Object<'a> {
    fn of(value: Option<&'a Value>) -> Option<Object<'a>> {
        value.and_then(Value::as_object).map(Object)
    }

    fn object(&self, name: &'static str) -> Result<Object<'a>, Fault> {
        Object::of(self.0.get(name)).ok_or(Fault::Value(name))
    }

    fn text(&self, name: &'static str) -> Result<&'a str, Fault> {
        self.0.get(name).and_then(Value::as_str).ok_or(Fault::Value(name))
    }

    fn number(&self, name: &'static str) -> Result<u64, Fault> {
        self.0.get(name).and_then(Value::as_u64).ok_or(Fault::Value(name))
    }

    fn version(&self, name: &'static str) -> Result<Version, Fault> {
        self.text(name)?.parse().map_err(|_| Fault::Value(name))
    }
}

/// Whether an address is one of the web, in ASCII, without a user's name in it.
pub fn is_address(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let is_plain = url.len() <= URL_MAX && url.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain && !host.is_empty() && !host.contains('@')
}

/// A text that can be shown to an owner as it is.
fn plain(text: &str, longest: usize, has_lines: bool) -> Option<String> {
    let is_bad = |c: char| match c {
        '\n' => !has_lines,
        c => !is_visible(c),
    };
    (text.len() <= longest && !text.contains(is_bad)).then(|| text.to_owned())
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    let is_plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut hash = [0; 32];
    let is_read = text.len() == 64 && faster_hex::hex_decode(text.as_bytes(), &mut hash).is_ok();
    (is_plain && is_read).then_some(hash)
}

/// `YYYY-MM-DD`, a day that there is.
fn day(text: &str) -> Option<Date> {
    let [year, month, day] = numbers(text, "dddd-dd-dd")?;
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    Date::from_calendar_date(year as i32, month, u8::try_from(day).ok()?).ok()
}

/// `YYYY-MM-DDTHH:MM:SSZ` in Unix seconds; nothing before 1970.
fn moment(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let time = rest.strip_prefix('T')?.strip_suffix('Z')?;
    let [hours, minutes, seconds] = numbers(time, "dd:dd:dd")?;
    let time = time::Time::from_hms(hours as u8, minutes as u8, seconds as u8).ok()?;
    u64::try_from(day(date)?.with_time(time).assume_utc().unix_timestamp()).ok()
}

/// The three numbers of a text in which a digit stands wherever `form` has a d, and else what `form` has.
fn numbers(text: &str, form: &str) -> Option<[u32; 3]> {
    let fits = |(c, form): (u8, u8)| if form == b'd' { c.is_ascii_digit() } else { c == form };
    if text.len() != form.len() || !text.bytes().zip(form.bytes()).all(fits) {
        return None;
    }
    let mut parts = text.split(['-', ':']).map(str::parse);
    Some([parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?])
}

#[cfg(test)]
pub(super) mod tests;
