//! The state of the card: free space, and the bytes that we write per day.
//!
//! Pure except for [`read`], which asks the kernel.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::clock::Now;
use crate::os::board::Disk;

/// Used space in percent from which on the owner is warned.
pub const WARN_PERCENT: f64 = 80.0;
/// Used space in percent from which on the oldest history is dropped.
pub const DROP_PERCENT: f64 = 90.0;
/// A reading this often is enough.
pub const READ_EVERY: Duration = Duration::from_secs(600);
/// After dropping history nothing more is dropped for this time.
pub const DROP_EVERY: Duration = Duration::from_secs(3600);

const DAY: Duration = Duration::from_secs(86_400);
const MAX_READINGS: usize = 300;

/// What the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Size of the data partition in bytes.
    pub size: u64,
    /// Bytes free on it.
    pub free: u64,
    /// It is mounted read-only.
    pub read_only: bool,
    /// Bytes that this process has caused to be written since its start (`write_bytes` in
    /// /proc/self/io).
    pub own_written: u64,
}

/// How full the card is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// Enough.
    Good,
    /// More than [`WARN_PERCENT`] are used.
    Low,
    /// More than [`DROP_PERCENT`] are used: the oldest history is dropped.
    Full,
}

/// What a page shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CardHealth {
    /// How full it is.
    pub space: Space,
    /// Used space in percent.
    pub used_percent: f64,
    /// Free bytes.
    pub free: u64,
    /// It is mounted read-only.
    pub read_only: bool,
    /// Bytes that we wrote in the last 24 hours, or since the start if that is later, and the
    /// seconds that this spans.
    pub own_written: (u64, u64),
    /// All of it in a sentence.
    pub words: String,
}

/// Keeps a day of readings.
#[derive(Debug, Default)]
pub struct Card {
    readings: VecDeque<(Instant, Reading)>,
    dropped: Option<Instant>,
}

impl Card {
    /// Nothing is known yet.
    pub fn new() -> Card {
        Card::default()
    }

    /// Takes a reading. True when the oldest history is to be dropped now
    /// ([`super::totals::LedgerEvent::Shrink`]).
    pub fn reading(&mut self, now: Now, reading: Reading) -> bool {
        // One reading from before the day is kept, to span all of it.
        while let Some((second, _)) = self.readings.get(1)
            && (now.mono.saturating_duration_since(*second) >= DAY
                || self.readings.len() >= MAX_READINGS)
        {
            self.readings.pop_front();
        }
        self.readings.push_back((now.mono, reading));
        let lately = self.dropped.is_some_and(|at| now.mono < at + DROP_EVERY);
        if space(&reading) != Space::Full || reading.read_only || lately {
            return false;
        }
        self.dropped = Some(now.mono);
        true
    }

    /// What is known; `None` before the first reading.
    pub fn health(&self) -> Option<CardHealth> {
        let (first_at, first) = self.readings.front()?;
        let (last_at, last) = self.readings.back()?;
        let seconds = last_at.saturating_duration_since(*first_at).as_secs();
        let own = (last.own_written.saturating_sub(first.own_written), seconds);
        let (space, used_percent) = (space(last), used_percent(last));
        let words = match (last.read_only, space) {
            (true, _) => "The data partition is read-only: nothing is saved. The card may be \
                          dying; replace it."
                .to_owned(),
            (false, Space::Good) => {
                format!("{} of the card's data partition are free.", megabytes(last.free))
            }
            (false, Space::Low) => format!(
                "The card is {used_percent:.0} % full ({} free). Soloist itself needs at most \
                 64 MB.",
                megabytes(last.free)
            ),
            (false, Space::Full) => format!(
                "The card is {used_percent:.0} % full ({} free): the oldest history is dropped. \
                 Mining goes on.",
                megabytes(last.free)
            ),
        };
        Some(CardHealth {
            space,
            used_percent,
            free: last.free,
            read_only: last.read_only,
            own_written: own,
            words,
        })
    }
}

/// Asks the kernel. Quick, but it may hang on a dying card: call it on a pool thread.
pub fn read(data: &Path) -> io::Result<Reading> {
    let Disk { size, free, read_only } = Disk::of(data)?;
    let own_written = own_written(&fs::read_to_string("/proc/self/io")?).unwrap_or(0);
    Ok(Reading { size, free, read_only, own_written })
}

fn own_written(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

fn used_percent(reading: &Reading) -> f64 {
    let used = reading.size.saturating_sub(reading.free);
    used as f64 * 100.0 / (reading.size.max(1)) as f64
}

fn space(reading: &Reading) -> Space {
    match used_percent(reading) {
        percent if percent >= DROP_PERCENT => Space::Full,
        percent if percent >= WARN_PERCENT => Space::Low,
        _ => Space::Good,
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(free: u64, own: u64) -> Reading {
        Reading { size: 1000, free, read_only: false, own_written: own }
    }

    #[test]
    fn it_warns_at_80_and_drops_at_90_once_an_hour() {
        let start = Instant::now();
        let at = |seconds| Now { mono: start + Duration::from_secs(seconds), unix: seconds };
        let mut card = Card::new();
        assert!(card.health().is_none());
        assert!(!card.reading(at(0), reading(300, 0)));
        assert_eq!(card.health().unwrap().space, Space::Good);
        assert!(!card.reading(at(600), reading(200, 0)));
        assert_eq!(card.health().unwrap().space, Space::Low);
        assert!(card.reading(at(1200), reading(100, 0)));
        assert!(!card.reading(at(1800), reading(90, 0)));
        assert!(card.reading(at(1200 + 3600), reading(90, 0)));
        let read_only = Reading { read_only: true, ..reading(0, 0) };
        assert!(!card.reading(at(99_999), read_only));
        assert!(card.health().unwrap().words.contains("read-only"));
    }

    #[test]
    fn bytes_are_those_of_the_last_day() {
        let start = Instant::now();
        let mut card = Card::new();
        for step in 0..1000_u64 {
            let mono = start + Duration::from_secs(step * 600);
            card.reading(Now { mono, unix: 0 }, reading(500, step * 100));
        }
        let health = card.health().unwrap();
        assert_eq!(health.own_written, (144 * 100, 86_400));
        assert!(card.readings.len() <= MAX_READINGS);
    }

    #[test]
    fn the_kernels_tables_are_read() {
        assert_eq!(
            own_written("wchar: 5\nwrite_bytes: 4096\ncancelled_write_bytes: 1\n"),
            Some(4096)
        );
        let here = read(Path::new("/")).unwrap();
        assert!(here.size > 0 && here.free <= here.size);
    }
}
