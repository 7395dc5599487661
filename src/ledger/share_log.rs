//! The shares that were counted and are not on the card yet, as bytes: the journal gets them every ten
//! minutes, and a crash of the daemon is to lose none that a miner was told "true" for.
//!
//! Each share bears its number among all that the ledger has ever counted ([`Ledger::shares`]), so that the
//! next run, which sees how many are on the card, counts none twice. What was counted before the ledger was
//! read has no number yet; it cannot be on the card.
//!
//! ```text
//! file:    "soloist shares 1\\n" | boot id, 36 bytes | records
//! record:  see `framed`
//! ```
//!
//! A file that is cut short or damaged counts up to there.
//!
//! [`Ledger::shares`]: super::totals::Ledger::shares

use super::record::RejectReason;
use crate::framed::{self, Fields, write_bytes};

/// A share that was counted.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedShare {
    /// Its number; `None` before the ledger was read.
    pub number: Option<u64>,
    /// Name of its worker.
    pub worker: String,
    /// Its worker's device.
    pub device: String,
    /// Why it was refused; `None` for an accepted one.
    pub refused: Option<RejectReason>,
    /// What is credited for it.
    pub difficulty: f64,
    /// Its real difficulty.
    pub actual: f64,
    /// Height of the block that it worked on.
    pub height: u32,
}

const MAGIC: &[u8] = b"soloist shares 1\n";

/// The longest record: a worker's name and its device.
const MAX_RECORD: usize = 1024;

const SHARE: u8 = 1;
const ACCEPTED: u8 = 255;

/// The beginning of a file. `boot_id` identifies this boot.
pub fn header(boot_id: &str) -> Vec<u8> {
    [MAGIC, format!("{boot_id:36.36}").as_bytes()].concat()
}

/// Appends a share.
pub fn write(share: &LoggedShare, out: &mut Vec<u8>) {
    framed::write(out, SHARE, |b| {
        b.extend_from_slice(&share.number.unwrap_or(0).to_le_bytes());
        b.push(share.refused.map_or(ACCEPTED, |reason| reason.index() as u8));
        b.extend_from_slice(&share.difficulty.to_le_bytes());
        b.extend_from_slice(&share.actual.to_le_bytes());
        b.extend_from_slice(&share.height.to_le_bytes());
        write_bytes(b, share.worker.as_bytes());
        write_bytes(b, share.device.as_bytes());
    });
}

/// The shares of a file; none of another boot or version.
pub fn read(boot_id: &str, bytes: &[u8]) -> Vec<LoggedShare> {
    let mut shares = Vec::new();
    let Some(mut rest) = bytes.strip_prefix(header(boot_id).as_slice()) else { return shares };
    while let Some(share) = framed::take(&mut rest, MAX_RECORD).and_then(share) {
        shares.push(share);
    }
    shares
}

fn share(record: &[u8]) -> Option<LoggedShare> {
    let (kind, fields) = record.split_first()?;
    let mut fields = Fields(fields);
    if *kind != SHARE {
        return None;
    }
    let number = Some(fields.long()?).filter(|number| *number > 0);
    let refused = match fields.array()? {
        [ACCEPTED] => None,
        [reason] => Some(*RejectReason::ALL.get(usize::from(reason))?),
    };
    let (difficulty, actual) = (fields.float()?, fields.float()?);
    let height = fields.number()?;
    let mut text = || String::from_utf8(fields.bytes()?.to_vec()).ok();
    let (worker, device) = (text()?, text()?);
    Some(LoggedShare { number, worker, device, refused, difficulty, actual, height })
}

/// Those of an earlier run that are not on the card, where so many shares are.
pub fn missing(shares: Vec<LoggedShare>, on_card: u64) -> Vec<LoggedShare> {
    let is_missing = |share: &LoggedShare| share.number.is_none_or(|number| number > on_card);
    shares.into_iter().filter(is_missing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "01234567-89ab-cdef-0123-456789abcdef";

    fn share(n: u64) -> LoggedShare {
        LoggedShare {
            number: (n > 0).then_some(n),
            worker: format!("anna.γ{n}"),
            device: "Bitaxe Gamma (BM1370)".into(),
            refused: (n % 3 == 2).then_some(RejectReason::LowDifficulty),
            difficulty: 1000.0,
            actual: 1234.5 * n as f64,
            height: 900_000,
        }
    }

    fn file() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = header(BOOT);
        let mut ends = vec![bytes.len()];
        for n in 0..6 {
            write(&share(n), &mut bytes);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn shares_are_read_as_far_as_the_file_is_whole() {
        let (bytes, ends) = file();
        let all: Vec<_> = (0..6).map(share).collect();
        assert_eq!(read(BOOT, &bytes), all);
        for length in 0..bytes.len() {
            let whole = ends.iter().filter(|end| **end <= length).count().saturating_sub(1);
            assert_eq!(read(BOOT, &bytes[..length]), all[..whole], "{length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let record = ends.iter().filter(|end| **end <= bit / 8).count().saturating_sub(1);
            let whole = if bit / 8 < ends[0] { 0 } else { record };
            assert_eq!(read(BOOT, &bytes), all[..whole], "bit {bit}");
        }
        assert!(read("11234567-89ab-cdef-0123-456789abcdef", &bytes).is_empty());
    }

    #[test]
    fn what_is_on_the_card_is_not_counted_again() {
        let all: Vec<_> = (0..6).map(share).collect();
        assert_eq!(missing(all.clone(), 3), [share(0), share(4), share(5)]);
        assert_eq!(missing(all.clone(), 0), all);
        assert_eq!(missing(all, 99), [share(0)], "what had no number was never written");
    }
}
