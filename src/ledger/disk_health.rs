//! The state of the card: free space, and the bytes that we write per day.
//!
//! Pure except for [`read`], which asks the kernel.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::clock::Now;
use crate::os::board::Disk;

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

/// Keeps a day of readings.
#[derive(Debug, Default)]
pub struct Card {
    readings: VecDeque<(Instant, Reading)>,
    dropped: Option<Instant>,
}

impl Card {
    /// Takes a reading. When the card is nearly full, the oldest history is to be dropped now
    /// ([`super::totals::LedgerEvent::Shrink`]): this is the sentence that tells so.
    pub fn reading(&mut self, now: Now, reading: Reading) -> Option<String> {
        // One reading from before the day is kept, to span all of it.
        while let Some((second, _)) = self.readings.get(1)
            && (now.mono.saturating_duration_since(*second) >= DAY
                || self.readings.len() >= MAX_READINGS)
        {
            self.readings.pop_front();
        }
        self.readings.push_back((now.mono, reading));
        let used = reading.size.saturating_sub(reading.free);
        let percent = used as f64 * 100.0 / (reading.size.max(1)) as f64;
        let lately = self.dropped.is_some_and(|at| now.mono < at + DROP_EVERY);
        if percent < DROP_PERCENT || reading.read_only || lately {
            return None;
        }
        self.dropped = Some(now.mono);
        Some(format!(
            "The card is {percent:.0} % full ({} MB free): the oldest history is dropped. Mining \
             goes on.",
            reading.free / 1_000_000
        ))
    }

    /// Bytes that we wrote in the last 24 hours, or since the start if that is later, and the seconds
    /// that this spans; `None` before the first reading.
    pub fn own_written(&self) -> Option<(u64, u64)> {
        let (first_at, first) = self.readings.front()?;
        let (last_at, last) = self.readings.back()?;
        let seconds = last_at.saturating_duration_since(*first_at).as_secs();
        Some((last.own_written.saturating_sub(first.own_written), seconds))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(free: u64, own: u64) -> Reading {
        Reading { size: 1000, free, read_only: false, own_written: own }
    }

    #[test]
    fn it_drops_at_90_once_an_hour() {
        let start = Instant::now();
        let at = |seconds| Now { mono: start + Duration::from_secs(seconds), unix: seconds };
        let mut card = Card::default();
        assert!(card.own_written().is_none());
        assert!(card.reading(at(0), reading(300, 0)).is_none());
        assert!(card.reading(at(600), reading(101, 0)).is_none());
        let words = card.reading(at(1200), reading(100, 0)).unwrap();
        assert!(words.starts_with("The card is 90 % full (0 MB free): "), "{words}");
        assert!(card.reading(at(1800), reading(90, 0)).is_none());
        assert!(card.reading(at(1200 + 3600), reading(90, 0)).is_some());
        let read_only = Reading { read_only: true, ..reading(0, 0) };
        assert!(card.reading(at(99_999), read_only).is_none());
    }

    #[test]
    fn bytes_are_those_of_the_last_day() {
        let start = Instant::now();
        let mut card = Card::default();
        for step in 0..1000_u64 {
            let mono = start + Duration::from_secs(step * 600);
            card.reading(Now { mono, unix: 0 }, reading(500, step * 100));
        }
        assert_eq!(card.own_written(), Some((144 * 100, 86_400)));
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
