//! What a miner was given with its jobs, and when: its difficulties and whom its blocks pay.
//!
//! **Difficulty belongs to the job.** A share is checked against the difficulty that was in force
//! when its job was sent, so a change never makes an honest share wrong. Job ids rise, so a short
//! list of difficulties, each with its first job id, is enough. The payee of a block is stored in
//! the same way, where miners may be paid by name.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use crate::clock::Now;
use crate::difficulty::Difficulty;
use crate::ids::Extranonce1;
use crate::job::JobId;
use crate::job_journal::{JobRecord, Script};

/// Difficulties remembered, each with the first job that had it.
const MAX_LEVELS: usize = 16;

/// The job records that wait for the shell to store them.
#[derive(Debug, Default)]
pub struct JobRecords {
    /// Whether anybody keeps them; nothing is noted otherwise.
    pub wanted: bool,
    /// Those that were not taken yet.
    pub list: Vec<JobRecord>,
}

impl JobRecords {
    /// Notes what `record` says, if it is wanted.
    pub fn note(&mut self, record: impl FnOnce() -> JobRecord) {
        if self.wanted {
            self.list.push(record());
        }
    }
}

/// What outlives a connection: see [`Session::park`](super::session::Session::park).
#[derive(Clone, Debug)]
pub struct Parked {
    pub(super) since: Instant,
    pub(super) given: Given,
}

/// What the other box of a pair gave its miners, and what it counted of them.
#[derive(Debug, Default)]
pub struct Elsewhere {
    /// What it gave each.
    pub given: BTreeMap<Extranonce1, Parked>,
    /// The shares, by [`crate::share::Seen::key`]. In order: who knows the code could choose them.
    pub counted: BTreeSet<u64>,
}

/// What a miner was given with its jobs.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    pub(super) levels: Levels,
    /// Whom the blocks of its jobs pay.
    pub(super) payees: History<Script>,
}

/// What was in force from which job on, oldest first.
#[derive(Clone, Debug)]
pub(super) struct History<T>(VecDeque<(JobId, T)>);

/// The difficulties that a miner was given.
pub(super) type Levels = History<Difficulty>;

impl<T> Default for History<T> {
    fn default() -> History<T> {
        History(VecDeque::new())
    }
}

impl<T> History<T> {
    pub(super) fn push(&mut self, from: JobId, value: T) {
        if self.0.len() >= MAX_LEVELS {
            self.0.pop_front();
        }
        self.0.push_back((from, value));
    }

    pub(super) fn latest(&self) -> Option<&T> {
        self.0.back().map(|(_, value)| value)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was in force with a job: the last that came with it or before it. What came after all
    /// that is remembered stands for what is not.
    pub(super) fn at(&self, job: JobId) -> Option<&T> {
        self.since(job).next()
    }

    /// What was given with a job or before it; nothing stands in for what came later.
    pub(super) fn given(&self, job: JobId) -> Option<&T> {
        self.0.iter().rfind(|(from, _)| !job.is_before(*from)).map(|(_, value)| value)
    }

    /// What a job had and what came later.
    fn since(&self, job: JobId) -> impl Iterator<Item = &T> {
        let first = self.0.iter().rposition(|(from, _)| !job.is_before(*from)).unwrap_or(0);
        self.0.range(first.min(self.0.len())..).map(|(_, value)| value)
    }
}

impl Levels {
    /// The lowest difficulty since a job. ESP-Miner works on the old job at the new difficulty
    /// from when it has read that until it has read the new job.
    pub(super) fn least_since(&self, job: JobId) -> Option<Difficulty> {
        self.since(job).copied().min_by(|a, b| a.0.total_cmp(&b.0))
    }
}

impl Given {
    /// Notes what is in force, for a run that knows none of it.
    pub(super) fn remind(&self, extranonce1: Extranonce1, job_records: &mut JobRecords) {
        if let Some((from, difficulty)) = self.levels.0.back().copied() {
            job_records.note(|| JobRecord::Level { extranonce1, from, difficulty });
        }
        if let Some((from, script @ Some(_))) = self.payees.0.back().cloned() {
            job_records.note(|| JobRecord::Payee { extranonce1, from, script });
        }
    }
}

impl Parked {
    /// A miner of an earlier run, of which nothing is known yet.
    pub fn restored_session(now: Now) -> Parked {
        Parked { since: now.mono, given: Given::default() }
    }

    /// The earlier run gave it this difficulty.
    pub fn restore_level(&mut self, from: JobId, difficulty: Difficulty) {
        self.given.levels.push(from, difficulty);
    }

    /// In the earlier run its blocks paid this script, or the owner.
    pub fn restore_payee(&mut self, from: JobId, script: Script) {
        self.given.payees.push(from, script);
    }

    /// Notes what it was given, for a run that knows none of it.
    pub fn remind(&self, extranonce1: Extranonce1, job_records: &mut JobRecords) {
        self.given.remind(extranonce1, job_records);
    }

    /// When the miner left.
    pub fn since(&self) -> Instant {
        self.since
    }
}
