//! A submitted share → its header, its hash, and the verdict.
//!
//! The order matters. First the header is built as the miner hashed it and the hash is compared
//! with the network's target: a block is a block whatever else is wrong with the share. Only then
//! come the rules by which shares are counted.

use crate::chain::BlockHash;
use crate::coinbase::EXTRANONCE_SIZE;
use crate::difficulty::{Difficulty, Target};
use crate::job::{Job, JobId, VERSION_MASK};
use crate::{hash, merkle};

/// How far a share's time may lie before the node's clock or after it: from the template's
/// `mintime` to the clock plus this, seconds. Nodes refuse blocks more than 7200 s ahead.
const MAX_AHEAD: u32 = 7000;

/// What a miner submits, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The job.
    pub job: JobId,
    /// extranonce1 and extranonce2 as they stand in the coinbase.
    pub extranonce: [u8; EXTRANONCE_SIZE],
    /// The header's time.
    pub ntime: u32,
    /// The header's nonce.
    pub nonce: u32,
    /// The rolled version bits (BIP 310's sixth parameter).
    pub version_bits: Option<u32>,
}

/// A share with its proof of work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// The 80 bytes that were hashed. A block is made from these and no others.
    pub header: [u8; 80],
    /// Their hash.
    pub hash: BlockHash,
    /// The hash meets the network's target: this is a block.
    pub solves: bool,
    /// The difficulty that the hash reaches, for ranking.
    pub difficulty: Difficulty,
}

/// Why a share does not count. Stratum's numbers and words are in [`crate::stratum::message`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The header's time is before the last blocks' median or too far ahead.
    BadTime,
    /// Version bits outside of BIP 320's mask.
    BadVersion,
    /// The hash is above the job's target.
    LowDifficulty {
        /// What the hash reaches.
        reached: Difficulty,
        /// What the job asked for.
        wanted: Difficulty,
    },
}

impl Share {
    /// Builds the header that the miner hashed, and hashes it. `job` is the one that the
    /// submission names.
    pub fn prove(job: &Job, submission: &Submission) -> Share {
        let work = &job.work;
        let coinbase_txid = hash::sha256d(&work.coinbase.without_witness(&submission.extranonce));
        let root = merkle::root_from_branch(coinbase_txid, &work.template.branch);
        // Bits beyond the mask are set here too, as the miner did; `judge` objects to them.
        let version = work.version() | submission.version_bits.unwrap_or(0);

        let mut header = [0; 80];
        header[..4].copy_from_slice(&version.to_le_bytes());
        header[4..36].copy_from_slice(&work.template.prev.0);
        header[36..68].copy_from_slice(&root);
        header[68..72].copy_from_slice(&submission.ntime.to_le_bytes());
        header[72..76].copy_from_slice(&work.template.nbits.0.to_le_bytes());
        header[76..].copy_from_slice(&submission.nonce.to_le_bytes());

        let hash = BlockHash(hash::sha256d(&header));
        Share {
            header,
            hash,
            solves: work.template.target.is_met_by(&hash),
            difficulty: Difficulty::of_hash(&hash),
        }
    }

    /// The rules that a share of a current job must keep to be counted; `node_time` is
    /// [`crate::job::Work::node_time`], `wanted` the difficulty that the miner was given with the
    /// job. Duplicates are the caller's to see.
    pub fn judge(
        &self,
        job: &Job,
        submission: &Submission,
        node_time: u32,
        wanted: Difficulty,
    ) -> Result<(), Fault> {
        let earliest = job.work.template.mintime;
        if !(earliest..=node_time.saturating_add(MAX_AHEAD)).contains(&submission.ntime) {
            return Err(Fault::BadTime);
        }
        if submission.version_bits.unwrap_or(0) & !VERSION_MASK != 0 {
            return Err(Fault::BadVersion);
        }
        if !self.solves && !Target::from_difficulty(wanted).is_met_by(&self.hash) {
            return Err(Fault::LowDifficulty { reached: self.difficulty, wanted });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::work;
    use std::rc::Rc;
    use std::time::Instant;

    fn job() -> Job {
        Job { id: JobId(1), ntime: 1_700_000_000, work: Rc::new(work(1, Instant::now())) }
    }

    fn submission() -> Submission {
        let (job, extranonce) = (JobId(1), [9; EXTRANONCE_SIZE]);
        Submission { job, extranonce, ntime: 1_700_000_000, nonce: 42, version_bits: None }
    }

    #[test]
    fn the_header_is_what_a_miner_hashes() {
        let (job, submission) =
            (job(), Submission { version_bits: Some(0x00a0_2000), ..submission() });
        let share = Share::prove(&job, &submission);
        let header: bitcoin::block::Header =
            bitcoin::consensus::deserialize(&share.header).unwrap();
        assert_eq!(header.version.to_consensus(), 0x20a0_2010);
        assert_eq!(header.prev_blockhash.to_string(), BlockHash([1; 32]).to_string());
        assert_eq!((header.time, header.nonce), (1_700_000_000, 42));
        assert_eq!(header.bits.to_consensus(), 0x1d00ffff);
        assert_eq!(header.block_hash().to_string(), share.hash.to_string());
    }

    #[test]
    fn rules_are_judged() {
        let (job, easy) = (job(), Difficulty(1e-12));
        let judge = |submission: &Submission, wanted| {
            Share::prove(&job, submission).judge(&job, submission, 1_700_000_100, wanted)
        };
        assert_eq!(judge(&submission(), easy), Ok(()));
        for ntime in [0, 1_699_998_999, 1_700_007_101, u32::MAX] {
            let submission = Submission { ntime, ..submission() };
            assert_eq!(judge(&submission, easy), Err(Fault::BadTime), "{ntime}");
        }
        for ntime in [1_699_999_000, 1_700_007_100] {
            assert_eq!(judge(&Submission { ntime, ..submission() }, easy), Ok(()), "{ntime}");
        }
        for (bits, verdict) in
            [(VERSION_MASK, Ok(())), (1 << 29, Err(Fault::BadVersion)), (1, Err(Fault::BadVersion))]
        {
            let submission = Submission { version_bits: Some(bits), ..submission() };
            assert_eq!(judge(&submission, easy), verdict, "{bits:08x}");
        }
        let hard = Difficulty(1e6);
        assert!(matches!(judge(&submission(), hard), Err(Fault::LowDifficulty { .. })));
    }

    #[test]
    fn every_field_changes_the_hash() {
        let job = job();
        let base = submission();
        let mut seen = std::collections::HashSet::new();
        let mut extranonce = base.extranonce;
        extranonce[11] ^= 1;
        for submission in [
            base,
            Submission { nonce: 43, ..base },
            Submission { ntime: base.ntime + 1, ..base },
            Submission { version_bits: Some(1 << 13), ..base },
            Submission { extranonce, ..base },
        ] {
            assert!(seen.insert(Share::prove(&job, &submission).hash));
        }
    }
}
