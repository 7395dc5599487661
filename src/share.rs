//! A submitted share → its header, its hash, and the verdict.
//!
//! The order matters. First the header is built as the miner hashed it, and the hash is compared
//! with the network's target: a block is a block whatever else is wrong with the share. Only then
//! the rules for counting shares are checked.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::block;
use crate::chain::BlockHash;
use crate::coinbase::{Coinbase, EXTRANONCE_SIZE};
use crate::difficulty::{Difficulty, Target};
use crate::hash;
use crate::job::{Job, JobId};
use crate::reject::Reject;
use crate::signal::VERSION_MASK;
use crate::template::Template;

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
    /// The header's version.
    pub version: RolledVersion,
}

/// How a miner tells the version of the header that it hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolledVersion {
    /// The bits that it rolled (the sixth parameter of BIP 310), on top of the job's version.
    Bits(u32),
    /// All of it.
    Whole(u32),
}

impl RolledVersion {
    /// Nothing was rolled.
    pub const UNROLLED: RolledVersion = RolledVersion::Bits(0);

    /// What stands in the header, rightly rolled or not.
    fn in_header(self, job: u32) -> u32 {
        match self {
            // Bits beyond the mask are set here too, as the miner did; `check_rules` objects to them.
            RolledVersion::Bits(bits) => job | bits,
            RolledVersion::Whole(version) => version,
        }
    }

    /// The bits in which it differs from the job's version, or was told to.
    fn bits(self, job: u32) -> u32 {
        match self {
            RolledVersion::Bits(bits) => bits,
            RolledVersion::Whole(version) => version ^ job,
        }
    }
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

impl Share {
    /// Builds the header that the miner hashed, and hashes it. `job` is the one that the
    /// submission names.
    pub fn prove(job: &Job, submission: &Submission) -> Share {
        Share::prove_with(job, &job.work.coinbase, submission)
    }

    /// The same for a miner whose jobs had another coinbase than the owner's.
    pub fn prove_with(job: &Job, coinbase: &Coinbase, submission: &Submission) -> Share {
        let root = job.work.merkle_root(coinbase, &submission.extranonce);
        Share::prove_below(job, &root, submission)
    }

    /// The same where the merkle root is known already.
    pub fn prove_below(job: &Job, root: &[u8; 32], submission: &Submission) -> Share {
        let work = &job.work;
        let version = submission.version.in_header(work.version());

        let mut header = [0; 80];
        header[..4].copy_from_slice(&version.to_le_bytes());
        header[4..36].copy_from_slice(&work.template.prev.0);
        header[36..68].copy_from_slice(root);
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
    ///
    /// # Errors
    /// The rule that it breaks, as the miner is told.
    pub fn check_rules(
        &self,
        job: &Job,
        submission: &Submission,
        node_time: u32,
        wanted: Difficulty,
    ) -> Result<(), Reject> {
        if submission.ntime < job.work.template.mintime {
            return Err(Reject::NtimeTooOld);
        }
        if submission.ntime > node_time.saturating_add(MAX_AHEAD) {
            return Err(Reject::NtimeTooNew);
        }
        let bits = submission.version.bits(job.work.version());
        if bits & !VERSION_MASK != 0 {
            return Err(Reject::VersionBits { bits, mask: VERSION_MASK });
        }
        // On a chain as easy as regtest a block can be easier than a share.
        if !self.solves && !Target::from_difficulty(wanted).is_met_by(&self.hash) {
            return Err(Reject::LowDifficulty { share: self.difficulty.0, wanted: wanted.0 });
        }
        Ok(())
    }
}

/// The shares that were counted, so that none counts twice.
///
/// A share is known by its hash, which covers all that a miner can vary, the version bits too. The
/// first eight bytes suffice: a chance collision among a million shares has odds of one in 10^7.
/// Memory is bounded by forgetting the older half.
#[derive(Debug, Default)]
pub struct Seen {
    newer: Keys,
    older: Keys,
}

type Keys = HashSet<u64, BuildHasherDefault<AsItIs>>;

/// The keys are bytes of a double SHA-256 already, and each costs its sender the work of a share:
/// nobody can choose them so that they meet in one bucket.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        // Not used for a u64, but the trait wants it.
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Seen {
    /// Shares remembered in each half. A home's miners send this many in a week.
    const HALF: usize = 1 << 16;
    /// Room for so many is kept from tip to tip; a home's miners send fewer in ten minutes.
    const KEPT: usize = 1024;

    /// By what a share is known.
    pub fn key(hash: &BlockHash) -> u64 {
        let [key, ..] = hash.0.as_chunks::<8>().0 else { unreachable!("32 bytes are four eights") };
        u64::from_le_bytes(*key)
    }

    /// Remembers a share. False if it was remembered already.
    pub fn insert(&mut self, hash: &BlockHash) -> bool {
        self.insert_key(Seen::key(hash))
    }

    /// The same by its [`Seen::key`].
    pub fn insert_key(&mut self, key: u64) -> bool {
        if self.older.contains(&key) || !self.newer.insert(key) {
            return false;
        }
        if self.newer.len() >= Self::HALF {
            self.older = std::mem::take(&mut self.newer);
        }
        true
    }

    /// Forgets all: with a new tip no old share can come again.
    pub fn clear(&mut self) {
        self.newer.clear();
        self.newer.shrink_to(Seen::KEPT);
        self.older = Keys::default();
    }
}

/// The block of a job as it was given out, unsolved: its extranonce and nonce are zero. It can be
/// shown to a node as a proposal (BIP 23). To put its bytes together takes milliseconds.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Hash of the header.
    pub hash: BlockHash,
    /// Height in the chain.
    pub height: u32,
    header: [u8; 80],
    coinbase: Vec<u8>,
    template: Arc<Template>,
}

impl Candidate {
    /// Takes what the block is made of.
    pub fn of(job: &Job) -> Candidate {
        let submission = Submission {
            job: job.id,
            extranonce: [0; EXTRANONCE_SIZE],
            ntime: job.ntime,
            nonce: 0,
            version: RolledVersion::UNROLLED,
        };
        let share = Share::prove(job, &submission);
        let template = job.work.template.clone();
        Candidate {
            hash: share.hash,
            height: template.height,
            header: share.header,
            coinbase: job.work.coinbase.in_block(&submission.extranonce),
            template,
        }
    }

    /// The serialised block, with witness (BIP 144).
    pub fn bytes(&self) -> Vec<u8> {
        block::assemble(&self.header, &self.coinbase, &self.template.txs)
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
        Submission {
            job,
            extranonce,
            ntime: 1_700_000_000,
            nonce: 42,
            version: RolledVersion::UNROLLED,
        }
    }

    #[test]
    fn the_header_is_what_a_miner_hashes() {
        let (job, submission) =
            (job(), Submission { version: RolledVersion::Bits(0x00a0_2000), ..submission() });
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
            Share::prove(&job, submission).check_rules(&job, submission, 1_700_000_100, wanted)
        };
        assert_eq!(judge(&submission(), easy), Ok(()));
        for (ntime, verdict) in [
            (0, Err(Reject::NtimeTooOld)),
            (1_699_998_999, Err(Reject::NtimeTooOld)),
            (1_699_999_000, Ok(())),
            (1_700_007_100, Ok(())),
            (1_700_007_101, Err(Reject::NtimeTooNew)),
            (u32::MAX, Err(Reject::NtimeTooNew)),
        ] {
            assert_eq!(judge(&Submission { ntime, ..submission() }, easy), verdict, "{ntime}");
        }
        let beyond = |bits| Err(Reject::VersionBits { bits, mask: VERSION_MASK });
        for (bits, verdict) in [(VERSION_MASK, Ok(())), (1 << 29, beyond(1 << 29)), (1, beyond(1))]
        {
            let submission = Submission { version: RolledVersion::Bits(bits), ..submission() };
            assert_eq!(judge(&submission, easy), verdict, "{bits:08x}");
        }
        let hard = judge(&submission(), Difficulty(1e6));
        assert!(matches!(hard, Err(Reject::LowDifficulty { wanted: 1e6, .. })), "{hard:?}");
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
            Submission { version: RolledVersion::Bits(1 << 13), ..base },
            Submission { extranonce, ..base },
        ] {
            assert!(seen.insert(Share::prove(&job, &submission).hash));
        }
    }

    #[test]
    fn a_share_counts_once_and_memory_is_bounded() {
        let hash = |n: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            BlockHash(bytes)
        };
        let mut seen = Seen::default();
        assert!(seen.insert(&hash(1)) && !seen.insert(&hash(1)));
        for n in 2..300_000 {
            assert!(seen.insert(&hash(n)));
            assert!(!seen.insert(&hash(n)));
        }
        assert!(seen.newer.len() + seen.older.len() <= 2 * Seen::HALF);
        assert!(!seen.insert(&hash(299_000)));
        seen.clear();
        assert!(seen.insert(&hash(299_000)));
    }
}
