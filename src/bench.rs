//! `soloist bench`: how fast this machine hashes, with every backend that it can run.
//!
//! On a board that has a file in `board/`, the rate of the backend in use is also compared with the
//! rate expected there, because a board that is hot or lacks power slows down without a message.

use crate::hash::Backend;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// What a board's file says of its hashing.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// The board.
    pub board: String,
    /// The name of the backend that should be in use.
    pub backend: String,
    /// Headers that one core should hash by it in a second.
    pub headers_per_second: f64,
}

/// Measures every backend, fastest first, and writes the figures as text. Takes about a second for
/// each. Errors are those of `out`.
pub fn run(expected: Option<&Expected>, out: &mut dyn Write) -> io::Result<()> {
    let active = Backend::active();
    for backend in Backend::available() {
        let in_use = if std::ptr::eq(backend, active) { ", in use" } else { "" };
        let self_test = match backend.self_test() {
            Ok(()) => "self-test passed".to_string(),
            Err(mismatch) => format!("SELF-TEST FAILED: {mismatch}"),
        };
        writeln!(out, "hash backend {}{in_use}: {self_test}", backend.name())?;
        let figures = Figures::measure(backend);
        write!(out, "{}", figures.text())?;
        if !in_use.is_empty() {
            write!(out, "{}", compared(&figures, expected, backend.name()))?;
        }
    }
    Ok(())
}

/// What one core does by one backend.
struct Figures {
    headers_per_second: f64,
    pairs_per_second: f64,
    shares_per_second: f64,
    /// The time of a share over that of its compressions alone, called one after another.
    share_overhead: f64,
    /// Transactions beside the coinbase, and the time for their merkle branch.
    branches: [(usize, Duration); 3],
}

impl Figures {
    fn measure(backend: &Backend) -> Figures {
        let share = Share::new(backend);
        let shares_per_second = rate(|| {
            black_box(share.hash(backend));
            1
        });
        let compressions_per_second = rate(|| {
            bare_compressions(backend, Share::COMPRESSIONS);
            Share::COMPRESSIONS
        });
        Figures {
            headers_per_second: headers_per_second(backend),
            pairs_per_second: pairs_per_second(backend),
            shares_per_second,
            share_overhead: compressions_per_second
                / (shares_per_second * Share::COMPRESSIONS as f64),
            branches: [1, 1000, 4000].map(|count| (count, branch_time(backend, count))),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {name:<16}{value}");
        };
        line("headers", format!("{:.3} MH/s per core", self.headers_per_second / 1e6));
        line("merkle pairs", format!("{:.3} MH/s per core", self.pairs_per_second / 1e6));
        line(
            "shares",
            format!(
                "{:.0} per second, each {:.2} times the cost of its {} compressions",
                self.shares_per_second,
                self.share_overhead,
                Share::COMPRESSIONS
            ),
        );
        for (count, time) in self.branches {
            let name = if count == 1 { "transaction" } else { "transactions" };
            let microseconds = time.as_secs_f64() * 1e6;
            line("merkle branch", format!("{microseconds:.1} µs for {count} {name}"));
        }
        text
    }
}

/// Units of work per second, over [`BUDGET`]; `work` returns how many it did.
fn rate(mut work: impl FnMut() -> usize) -> f64 {
    // Once for the caches and the clock of the processor.
    work();
    let start = Instant::now();
    let mut done = 0;
    loop {
        done += work();
        let elapsed = start.elapsed();
        if elapsed >= BUDGET {
            return done as f64 / elapsed.as_secs_f64();
        }
    }
}

/// The time for one figure.
const BUDGET: Duration = Duration::from_millis(150);

fn headers_per_second(backend: &Backend) -> f64 {
    const NONCES: u32 = 4096;
    let midstate = backend.midstate(&[0x5a; 64]);
    let mut first = 0u32;
    rate(|| {
        // A target that nothing meets, so that the whole range is searched: hits would cost more.
        let range = first..=first.saturating_add(NONCES - 1);
        black_box(backend.header_hashes(&midstate, black_box(b"twelve bytes"), range, 0));
        first = first.wrapping_add(NONCES);
        NONCES as usize
    })
}

fn pairs_per_second(backend: &Backend) -> f64 {
    let level = txids(backend, 1024);
    rate(|| {
        black_box(backend.merkle_pairs(black_box(&level)));
        level.len() / 2
    })
}

fn branch_time(backend: &Backend, transactions: usize) -> Duration {
    let txids = txids(backend, transactions);
    let per_second = rate(|| {
        black_box(merkle_branch(backend, black_box(&txids)));
        1
    });
    Duration::from_secs_f64(1.0 / per_second)
}

fn txids(backend: &Backend, count: usize) -> Vec<[u8; 32]> {
    (0..count as u32).map(|i| backend.sha256d(&i.to_le_bytes())).collect()
}

/// The neighbours on the coinbase's way to the root, by a backend of choice.
fn merkle_branch(backend: &Backend, txids: &[[u8; 32]]) -> Vec<[u8; 32]> {
    // The coinbase is not known yet: what stands in its place reaches no neighbour.
    let mut level = vec![[0; 32]];
    level.extend_from_slice(txids);
    let mut branch = Vec::new();
    while level.len() > 1 {
        branch.push(level[1]);
        if level.len() % 2 == 1 {
            level.extend(level.last().copied());
        }
        level = backend.merkle_pairs(&level);
    }
    branch
}

/// A share of a job with 4,000 transactions: what must be hashed to judge it.
struct Share {
    prefix: crate::hash::PrefixState,
    branch: Vec<[u8; 32]>,
    header: [u8; 80],
}

impl Share {
    /// The end of the coinbase (of 282 bytes: 3 blocks behind the prefix, 1 for the second hash),
    /// 12 steps of the branch, and the header.
    const COMPRESSIONS: usize = 4 + 12 * 3 + 3;

    fn new(backend: &Backend) -> Share {
        Share { prefix: backend.prefix(&[1; 150]), branch: txids(backend, 12), header: [2; 80] }
    }

    fn hash(&self, backend: &Backend) -> [u8; 32] {
        let (extranonces, coinbase2) = (black_box([3; 12]), [4; 120]);
        let coinbase = backend.sha256d_after(&self.prefix, &[&extranonces, &coinbase2]);
        let root = backend.branch_root(&coinbase, &self.branch);
        let mut header = self.header;
        header[36..68].copy_from_slice(&root);
        backend.sha256d(&header)
    }
}

/// As many compressions, one after another, without any of the copying and padding around them.
fn bare_compressions(backend: &Backend, count: usize) {
    let mut state = [5; 8];
    let block = black_box([[6; 64]]);
    for _ in 0..count {
        backend.compress(&mut state, &block);
    }
    black_box(state);
}

/// A line about the rate against that of the board's file; empty where nothing is expected.
fn compared(figures: &Figures, expected: Option<&Expected>, backend: &str) -> String {
    let Some(expected) = expected else { return String::new() };
    let ratio = figures.headers_per_second / expected.headers_per_second;
    let verdict = if backend.trim_end_matches("+1") != expected.backend {
        format!("the backend should be {}", expected.backend)
    } else if ratio < SLOW {
        "slower than expected: throttled?".to_string()
    } else {
        "as expected".to_string()
    };
    format!(
        "  {:<16}{:.0} % of the modelled {:.3} MH/s for a {}; {verdict}\n",
        "against model",
        ratio * 100.0,
        expected.headers_per_second / 1e6,
        expected.board,
    )
}

/// The model leaves out caches and whatever else runs, so only half of it is a reason to ask.
const SLOW: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::soft;

    #[test]
    fn every_backend_is_reported_and_one_is_in_use() {
        let mut out = Vec::new();
        run(None, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for backend in Backend::available() {
            assert!(text.contains(&format!("hash backend {}", backend.name())), "{text}");
        }
        assert_eq!(text.matches(", in use: self-test passed").count(), 1, "{text}");
        for line in ["headers", "merkle pairs", "shares", "for 1 transaction\n", "for 4000"] {
            assert_eq!(text.matches(line).count(), Backend::available().len(), "{line}: {text}");
        }
    }

    #[test]
    fn the_share_is_hashed_like_one() {
        let soft = Backend::reference();
        let share = Share::new(soft);
        let coinbase = [&[1; 150][..], &[3; 12], &[4; 120]].concat();
        let mut root = soft::sha256d(&coinbase);
        for neighbour in &share.branch {
            root = soft::sha256d(&[root, *neighbour].concat());
        }
        let mut header = [2; 80];
        header[36..68].copy_from_slice(&root);
        assert_eq!(share.hash(soft), soft::sha256d(&header));
        // 282 bytes, 128 of them in whole blocks of the prefix, and 9 at least of padding.
        assert_eq!((282u64 - 128 + 9).div_ceil(64) + 1 + 12 * 3 + 3, Share::COMPRESSIONS as u64);
    }

    #[test]
    fn a_branch_leads_to_the_root() {
        let soft = Backend::reference();
        let txids = txids(soft, 6);
        let branch = merkle_branch(soft, &txids);
        let coinbase = [9; 32];
        let root = soft.branch_root(&coinbase, &branch);
        let mut level = [&[coinbase], &txids[..]].concat();
        while level.len() > 1 {
            if level.len() % 2 == 1 {
                level.push(level[level.len() - 1]);
            }
            level = soft.merkle_pairs(&level);
        }
        assert_eq!(level, [root]);
    }

    #[test]
    fn a_slow_board_is_named() {
        let expected = Expected {
            board: "Raspberry Pi 4".to_owned(),
            backend: "neon".to_owned(),
            headers_per_second: 3.087e6,
        };
        let line = |ratio: f64, backend| {
            let branches = [(0, Duration::ZERO); 3];
            let figures = Figures {
                headers_per_second: ratio * expected.headers_per_second,
                pairs_per_second: 0.0,
                shares_per_second: 0.0,
                share_overhead: 0.0,
                branches,
            };
            compared(&figures, Some(&expected), backend)
        };
        let slow = line(0.4, "neon");
        assert!(slow.contains("40 % of the modelled 3.087 MH/s for a Raspberry Pi 4;"), "{slow}");
        assert!(slow.contains("throttled?"));
        assert!(line(0.8, "neon").contains("80 %"));
        assert!(line(0.8, "neon").contains("as expected"));
        assert!(line(0.8, "neon+1").contains("as expected"));
        assert!(line(0.8, "soft").contains("the backend should be neon"));
    }
}
