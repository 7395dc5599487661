//! "Record five minutes of this miner": the raw lines that the miner and we exchange, for a
//! download. Pure.
//!
//! One recording at a time, in memory only, and bounded: a flooding miner ends its recording early.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::clock::Now;

/// Duration of a recording.
pub(super) const LENGTH: Duration = Duration::from_secs(300);
/// Maximum bytes kept. An ordinary miner needs 100 kB in this time.
const BYTES_MAX: usize = 512 * 1024;

/// The current recording, or the last one.
#[derive(Debug)]
pub(super) struct Recording {
    /// The miner's number.
    pub miner: String,
    /// Its address, so that its handshake is recorded when it reconnects.
    pub peer: Option<IpAddr>,
    started: Now,
    text: String,
    full: bool,
}

/// Who sent a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// The miner.
    Miner,
    /// This box.
    Us,
}

impl Recording {
    /// Starts a recording.
    pub(super) fn new(now: Now, miner: String, name: &str, peer: Option<IpAddr>) -> Recording {
        let text = format!(
            "Miner {name}, recorded from Unix time {}. Seconds, > from the miner, < to it.\n",
            now.unix
        );
        Recording { miner, peer, started: now, text, full: false }
    }

    /// Whether it still records.
    pub(super) fn runs(&self, now: Instant) -> bool {
        !self.full && now.saturating_duration_since(self.started.mono) < LENGTH
    }

    /// Adds bytes as they were sent; bytes that are not text are escaped.
    pub(super) fn add(&mut self, now: Instant, from: From, bytes: &[u8]) {
        if !self.runs(now) {
            return;
        }
        let at = now.saturating_duration_since(self.started.mono).as_secs_f64();
        let arrow = if from == From::Miner { '>' } else { '<' };
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = line.escape_ascii().to_string().replace("\\\"", "\"");
            if self.text.len() + line.len() > BYTES_MAX {
                self.full = true;
                self.text += "(too much: the recording ends here)\n";
                return;
            }
            self.text += &format!("{at:9.3} {arrow} {}\n", line.trim_end_matches("\\n"));
        }
    }

    /// The whole recording.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_with_their_time_until_the_end() {
        let start = Now { mono: Instant::now(), unix: 1000 };
        let at = |seconds| start.mono + Duration::from_secs(seconds);
        let mut recording = Recording::new(start, "1".into(), "anna", None);
        recording.add(at(1), From::Miner, b"{\"id\":1}\n\x00\xff\n");
        recording.add(at(2), From::Us, b"{\"id\":1,\"result\":true}\n");
        recording.add(at(300), From::Miner, b"late\n");
        let lines: Vec<&str> = recording.text().lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "    1.000 > {\"id\":1}",
                "    1.000 > \\x00\\xff",
                "    2.000 < {\"id\":1,\"result\":true}"
            ]
        );
        assert!(!recording.runs(at(300)));
    }

    #[test]
    fn a_flood_ends_it() {
        let start = Now { mono: Instant::now(), unix: 1000 };
        let mut recording = Recording::new(start, "1".into(), "anna", None);
        for _ in 0..10_000 {
            recording.add(start.mono, From::Miner, &[b'x'; 1000]);
        }
        assert!(recording.text().len() <= BYTES_MAX + 100);
        assert!(!recording.runs(start.mono));
    }
}
