//! A channel: its jobs, the headers that it makes of them, and the rules that hold for everything that
//! a server says of it.
//!
//! The rules are the specification's (section 5.3), and what the firmwares of home miners can take:
//! ESP-Miner 2.14 to 2.15 and NerdQAxe+ 1.0.37.

use std::collections::{BTreeMap, BTreeSet};

use mining_sv2::*;
use sha2::{Digest, Sha256};
use soloist::hash::{Midstate, header_hashes};

use super::line::Frame;
use super::message::frame;

/// NerdQAxe and ESP-Miner 2.14 hang up on a longer payload.
const LONGEST_JOB: usize = 2048;
/// ESP-Miner drops a job with more.
const MOST_BRANCHES: usize = 20;
/// The firmwares keep an extranonce in so many bytes, and do not check.
const LONGEST_EXTRANONCE: usize = 32;
/// Version bits that every firmware rolls.
pub const ROLLED: u32 = 0x1fff_e000;

/// What kind of channel it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Standard,
    /// With so many bytes of extranonce for the miner.
    Extended {
        size: usize,
    },
}

/// What a miner has been told about a channel.
pub struct Channel {
    pub kind: Kind,
    /// The server's part of the extranonce.
    pub prefix: Vec<u8>,
    /// The target for jobs to come, little-endian.
    pub target: [u8; 32],
    /// Every job of this channel by its id.
    jobs: BTreeMap<u32, Job>,
    /// Jobs without a time, for a tip to come.
    future: BTreeSet<u32>,
    tip: Option<Tip>,
    current: Option<u32>,
    pub jobs_seen: usize,
    /// A target without a job: NerdQAxe applies it to the job that it has, on which the server does not.
    announced: bool,
    /// Number of targets told since the channel was opened.
    pub targets_seen: usize,
    /// The tip on which a share was found last.
    pub left: [u8; 32],
    next_sequence: u32,
    /// Shares without a verdict.
    pending: BTreeSet<u32>,
    /// Sum of the difficulties that the server counted.
    pub counted: u64,
    /// Number of shares in the largest `SubmitShares.Success`.
    pub largest_batch: u32,
    tries: u64,
}

/// What a job's header is made of.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: u32,
    pub version: u32,
    pub root: Root,
    /// Its own target: a change does not apply to jobs that were there and had a time.
    pub target: [u8; 32],
    pub tip: Option<Tip>,
    pub ntime: u32,
}

/// Where its merkle root comes from.
#[derive(Clone, Debug)]
pub enum Root {
    Given([u8; 32]),
    Made { head: Vec<u8>, tail: Vec<u8>, path: Vec<[u8; 32]> },
}

/// The block that a job builds on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// In the order in which it stands in a header.
    pub prev_hash: [u8; 32],
    pub nbits: u32,
    pub min_ntime: u32,
}

/// How good a share is to be.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// It solves a block.
    Block,
    /// It reaches its job's target, whatever else.
    Share,
    /// It reaches its job's target and solves no block.
    OnlyShare,
    /// It does neither.
    Nothing,
}

/// A share.
#[derive(Clone, Debug)]
pub struct Found {
    pub channel: u32,
    pub job: u32,
    pub nonce: u32,
    pub ntime: u32,
    /// The header's whole version, rolled.
    pub version: u32,
    /// The miner's part; empty on a standard channel.
    pub extranonce: Vec<u8>,
    pub kind: Kind,
    pub header: [u8; 80],
    /// Little-endian, as it comes.
    pub hash: [u8; 32],
}

impl Channel {
    pub fn new(kind: Kind, prefix: Vec<u8>, target: [u8; 32]) -> Channel {
        let size = match kind {
            Kind::Standard => 0,
            Kind::Extended { size } => size,
        };
        assert!(prefix.len() + size <= LONGEST_EXTRANONCE, "{} + {size} bytes", prefix.len());
        assert_ne!(target, [0; 32], "nobody reaches this target");
        Channel {
            kind,
            prefix,
            target,
            jobs: BTreeMap::new(),
            future: BTreeSet::new(),
            tip: None,
            current: None,
            jobs_seen: 0,
            announced: true,
            targets_seen: 0,
            left: [0; 32],
            next_sequence: 0,
            pending: BTreeSet::new(),
            counted: 0,
            largest_batch: 0,
            tries: 0,
        }
    }

    /// The job that is to be worked on.
    pub fn job(&self) -> Option<&Job> {
        self.jobs.get(&self.current?)
    }

    /// The hash on which that job builds.
    pub fn tip(&self) -> Option<[u8; 32]> {
        Some(self.job()?.tip?.prev_hash)
    }

    pub fn standard_job(&mut self, job: &NewMiningJobOwned) {
        assert_eq!(self.kind, Kind::Standard, "{job}");
        let root = Root::Given(job.merkle_root.to_array());
        self.take(job.job_id, job.min_ntime.clone().into_inner(), job.version, root);
    }

    pub(super) fn extended_job(&mut self, job: &NewExtendedMiningJobOwned) {
        assert_ne!(self.kind, Kind::Standard, "{job}");
        assert!(job.version_rolling_allowed, "the firmwares roll whatever they are told: {job}");
        let path: Vec<_> = job.merkle_path.iter().map(|hash| hash.to_array()).collect();
        assert!(path.len() <= MOST_BRANCHES, "{job}");
        let head = job.coinbase_tx_prefix.as_bytes().to_vec();
        let tail = job.coinbase_tx_suffix.as_bytes().to_vec();
        let size = 25 + 32 * path.len() + head.len() + tail.len();
        assert!(size <= LONGEST_JOB, "{size} bytes: {job}");
        assert_ne!(head[4..6], [0, 1], "a coinbase with a witness has another id: {job}");
        self.take(
            job.job_id,
            job.min_ntime.clone().into_inner(),
            job.version,
            Root::Made { head, tail, path },
        );
    }

    fn take(&mut self, id: u32, ntime: Option<u32>, version: u32, root: Root) {
        assert_eq!(version & ROLLED, 0, "these bits are the miner's: {version:08x}");
        assert_ne!(ntime, Some(0), "the firmwares take it for a job of a tip to come");
        let job = Job { id, version, root, target: self.target, tip: self.tip, ntime: 0 };
        self.announced = false;
        let before = self.jobs.insert(id, job);
        assert!(before.is_none(), "job {id} twice");
        self.jobs_seen += 1;
        let Some(ntime) = ntime else {
            // Two whose ids differ by eight would share a place in the firmwares.
            let same = self.future.iter().find(|other| *other % 8 == id % 8);
            assert!(same.is_none(), "jobs {same:?} and {id} wait for the same tip");
            self.future.insert(id);
            return;
        };
        let tip = self.tip.expect("the first job of a channel waits for its tip");
        assert!(ntime >= tip.min_ntime, "job {id} has a time before its tip's");
        self.jobs.get_mut(&id).unwrap().ntime = ntime;
        self.current = Some(id);
    }

    pub(super) fn prev_hash(&mut self, it: &SetNewPrevHashOwned) {
        let id = it.job_id;
        assert!(self.future.remove(&id), "it names no job that waits: {it}");
        let tip =
            Tip { prev_hash: it.prev_hash.to_array(), nbits: it.nbits, min_ntime: it.min_ntime };
        self.tip = Some(tip);
        let job = self.jobs.get_mut(&id).unwrap();
        (job.tip, job.ntime, job.target) = (Some(tip), it.min_ntime, self.target);
        self.future.clear();
        self.current = Some(id);
    }

    pub(super) fn set_target(&mut self, target: [u8; 32]) {
        assert_ne!(target, [0; 32], "nobody reaches this target");
        assert!(!self.announced, "two targets before a job");
        assert_ne!(self.target, target, "a change that is none");
        self.target = target;
        self.announced = true;
        self.targets_seen += 1;
    }

    pub(super) fn accepted(&mut self, it: &SubmitSharesSuccess) -> Vec<u32> {
        let later = it.last_sequence_number.checked_add(1).expect("a sequence number in use");
        let rest = self.pending.split_off(&later);
        let done = std::mem::replace(&mut self.pending, rest);
        assert!(done.contains(&it.last_sequence_number), "{it}");
        assert_eq!(done.len(), it.new_submits_accepted_count as usize, "{it}");
        self.counted += it.new_shares_sum;
        self.largest_batch = self.largest_batch.max(it.new_submits_accepted_count);
        done.into_iter().collect()
    }

    pub(super) fn refused(&mut self, sequence: u32) {
        assert!(self.pending.remove(&sequence), "share {sequence} was not sent, or is decided");
    }

    /// The next number for a share.
    pub fn next_sequence(&mut self) -> u32 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.sent(sequence);
        sequence
    }

    /// See [`super::Heard::end_of_burst`].
    pub fn end_of_burst(&self) {
        assert!(!self.announced, "a target without its job");
        assert!(self.future.is_empty(), "job {:?} without its tip", self.future);
    }

    /// A share was sent under this number.
    pub fn sent(&mut self, sequence: u32) {
        self.pending.insert(sequence);
    }

    /// A job by its id.
    pub fn job_of(&self, id: u32) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// Tries headers of the present job, each time with other version bits and, where it may, with
    /// another extranonce.
    pub(super) fn find(&mut self, goal: Goal) -> Found {
        let job = self.job().expect("work").clone();
        self.find_on(&job, goal)
    }

    /// The same on one of its jobs, for a hash that reaches the easier target and not the harder one.
    pub(super) fn find_between(&mut self, job: u32, easy: [u8; 32], hard: [u8; 32]) -> Found {
        assert!(!reaches(&easy, &hard), "nothing is between them");
        let job = Job { target: easy, ..self.job_of(job).expect("a job").clone() };
        loop {
            let found = self.find_on(&job, Goal::OnlyShare);
            if !reaches(&found.hash, &hard) {
                return found;
            }
        }
    }

    fn find_on(&mut self, job: &Job, goal: Goal) -> Found {
        let tip = job.tip.expect("a job with a tip");
        self.left = tip.prev_hash;
        let block = target_of(tip.nbits);
        // Only near them, and so by the fastest way there is.
        let easiest = match goal {
            Goal::Block => top(&block),
            Goal::Share | Goal::OnlyShare => top(&job.target),
            Goal::Nothing => u32::MAX,
        };
        loop {
            self.tries += 1;
            let bits = (self.tries as u32 % 0xffff + 1) << 13 & ROLLED;
            let version = job.version | bits;
            let extranonce = match self.kind {
                Kind::Standard => Vec::new(),
                Kind::Extended { size } => big_endian(self.tries, size),
            };
            let mut header = self.header(job, &tip, version, &extranonce);
            let midstate = Midstate::of_header(&header);
            let tail = *header[64..76].first_chunk().unwrap();
            let mut from = 0;
            while let Some(near) = header_hashes(&midstate, &tail, from..=u32::MAX >> 4, easiest) {
                let nonce = near.nonce;
                from = nonce + 1;
                header[76..].copy_from_slice(&nonce.to_le_bytes());
                // Judged by hashes that are not Soloist's.
                let hash = sha256d(&header);
                let (share, solves) = (reaches(&hash, &job.target), reaches(&hash, &block));
                let found = match goal {
                    Goal::Block => solves,
                    Goal::Share => share,
                    Goal::OnlyShare => share && !solves,
                    Goal::Nothing => !share && !solves,
                };
                if found {
                    let (kind, ntime) = (self.kind, job.ntime);
                    let channel = 0;
                    let job = job.id;
                    return Found {
                        channel,
                        job,
                        nonce,
                        ntime,
                        version,
                        extranonce,
                        kind,
                        header,
                        hash,
                    };
                }
            }
        }
    }

    /// The header with nonce 0.
    pub fn header(&self, job: &Job, tip: &Tip, version: u32, extranonce: &[u8]) -> [u8; 80] {
        let root = match &job.root {
            Root::Given(root) => *root,
            Root::Made { head, tail, path } => {
                let coinbase = [head, &self.prefix, extranonce, tail].concat();
                path.iter().fold(sha256d(&coinbase), |root, hash| sha256d(&[root, *hash].concat()))
            }
        };
        let mut header = [0; 80];
        header[..4].copy_from_slice(&version.to_le_bytes());
        header[4..36].copy_from_slice(&tip.prev_hash);
        header[36..68].copy_from_slice(&root);
        header[68..72].copy_from_slice(&job.ntime.to_le_bytes());
        header[72..76].copy_from_slice(&tip.nbits.to_le_bytes());
        header
    }
}

impl Found {
    /// The share as a message.
    pub fn frame(&self, sequence_number: u32) -> Frame {
        let Found { channel: channel_id, job: job_id, nonce, ntime, version, .. } = *self;
        match self.kind {
            Kind::Standard => frame(
                MESSAGE_TYPE_SUBMIT_SHARES_STANDARD,
                CHANNEL_BIT_SUBMIT_SHARES_STANDARD,
                SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version },
            ),
            Kind::Extended { .. } => frame(
                MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED,
                CHANNEL_BIT_SUBMIT_SHARES_EXTENDED,
                SubmitSharesExtended {
                    channel_id,
                    sequence_number,
                    job_id,
                    nonce,
                    ntime,
                    version,
                    extranonce: self.extranonce.as_slice().try_into().unwrap(),
                },
            ),
        }
    }

    /// The hash as people see it.
    pub fn shown(&self) -> String {
        self.hash.iter().rev().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// SHA-256 of SHA-256.
pub fn sha256d(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}

/// The most significant bits of a number.
fn top(number: &[u8; 32]) -> u32 {
    u32::from_le_bytes([28, 29, 30, 31].map(|at: usize| number[at]))
}

/// Whether a hash is at most the target; both are little-endian numbers.
pub fn reaches(hash: &[u8; 32], target: &[u8; 32]) -> bool {
    hash.iter().rev().le(target.iter().rev())
}

/// The target of a header's `nbits`, little-endian.
pub fn target_of(nbits: u32) -> [u8; 32] {
    let mut target = [0; 32];
    let bytes = (nbits >> 24) as usize;
    for (place, digit) in (0..3).map(|i| (bytes + i).checked_sub(3)).zip(nbits.to_le_bytes()) {
        if let Some(place) = place {
            target[place] = digit;
        }
    }
    target
}

/// A counter in so many bytes, as the firmwares write it.
fn big_endian(count: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    for (place, byte) in bytes.iter_mut().rev().zip(count.to_le_bytes()) {
        *place = byte;
    }
    bytes
}
