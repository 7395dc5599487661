//! "Record five minutes of this miner": the lines that the miner and we exchange, for a download; the
//! messages of Stratum V2 in words. Pure.
//!
//! One recording at a time, in memory only, and bounded: a flooding miner ends its recording early.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::clock::Now;
use crate::stratum::v2::describe::describe;
use crate::stratum::v2::frame;

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

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Said<'a> {
    /// Stratum V1, or what is meant for it.
    Lines(&'a [u8]),
    /// Stratum V2: whole frames, before they are encrypted.
    Frames(&'a [u8]),
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

    /// Adds what was sent: messages of Stratum V2 in words, lines as they are; bytes in them that are not
    /// text are escaped.
    pub(super) fn add(&mut self, now: Instant, from: From, said: Said<'_>) {
        match said {
            Said::Lines(bytes) => {
                for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                    let line = line.escape_ascii().to_string().replace("\\\"", "\"");
                    self.add_line(now, from, line.trim_end_matches("\\n"));
                }
            }
            Said::Frames(mut frames) => {
                while let Some(frame) = frame::next(&mut frames) {
                    self.add_line(now, from, &describe(&frame).to_string());
                }
            }
        }
    }

    fn add_line(&mut self, now: Instant, from: From, line: &str) {
        if !self.runs(now) {
            return;
        }
        if self.text.len() + line.len() > BYTES_MAX {
            self.full = true;
            self.text += "(too much: the recording ends here)\n";
            return;
        }
        let at = now.saturating_duration_since(self.started.mono).as_secs_f64();
        let arrow = if from == From::Miner { '>' } else { '<' };
        self.text += &format!("{at:9.3} {arrow} {line}\n");
    }

    /// The whole recording.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stratum::v2::message;

    #[test]
    fn lines_are_kept_with_their_time_until_the_end() {
        let start = Now { mono: Instant::now(), unix: 1000 };
        let at = |seconds| start.mono + Duration::from_secs(seconds);
        let mut recording = Recording::new(start, "1".into(), "anna", None);
        recording.add(at(1), From::Miner, Said::Lines(b"{\"id\":1}\n\x00\xff\n"));
        recording.add(at(2), From::Us, Said::Lines(b"{\"id\":1,\"result\":true}\n"));
        recording.add(at(300), From::Miner, Said::Lines(b"late\n"));
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

    /// Both directions, several frames at once, a text with a line feed in it.
    #[test]
    fn frames_are_kept_in_words() {
        let start = Now { mono: Instant::now(), unix: 1000 };
        let mut recording = Recording::new(start, "1".into(), "anna", None);
        // CloseChannel of channel 1, and a message of an extension that nobody knows.
        let theirs =
            b"\x00\x80\x18\x08\x00\x00\x01\x00\x00\x00\x03a\nb\x02\x00\x01\x01\x00\x00\x2a";
        recording.add(start.mono, From::Miner, Said::Frames(theirs));
        let mut ours = Vec::new();
        message::submit_success(&mut ours, 1, 7, 2, 1024);
        message::submit_error(&mut ours, 1, 8, "stale-share");
        recording.add(start.mono, From::Us, Said::Frames(&ours));
        let lines: Vec<&str> = recording.text().lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "    0.000 > CloseChannel channel_id=1 reason_code=\"a\\nb\"",
                "    0.000 > message 0x01 of extension 0x0002, then 2a",
                "    0.000 < SubmitShares.Success channel_id=1 last_sequence_number=7 \
                 new_submits_accepted_count=2 new_shares_sum=1024",
                "    0.000 < SubmitShares.Error channel_id=1 sequence_number=8 \
                 error_code=\"stale-share\"",
            ]
        );
    }

    #[test]
    fn a_flood_ends_it() {
        let start = Now { mono: Instant::now(), unix: 1000 };
        let mut recording = Recording::new(start, "1".into(), "anna", None);
        for _ in 0..10_000 {
            recording.add(start.mono, From::Miner, Said::Lines(&[b'x'; 1000]));
        }
        assert!(recording.text().len() <= BYTES_MAX + 100);
        assert!(!recording.runs(start.mono));
    }
}
