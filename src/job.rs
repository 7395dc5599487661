//! Template + coinbase → [`Job`], and the [`Jobs`] that miners may still send shares for.
//!
//! A [`Work`] is a template with the owner's coinbase; all miners hash the same work at one time. A
//! [`Job`] is one `mining.notify`: an id and a time on top of a work. Every notify gets a job of
//! its own, because ESP-Miner drops ids that it has seen, and NerdMiner restarts its nonces with
//! every job, so that an equal header would be hashed twice.
//!
//! **What is stale.** Jobs belong to the tip that they build on. With a new tip the old jobs move
//! to a short list, which serves only to recognise late shares and to catch a block among them.
//!
//! **Time.** A job's ntime is the template's `curtime` plus the monotonic time since the template
//! came, never the board's own clock, because a Pi has none. Within one tip it increases from job
//! to job, and is ahead of the node's clock by at most `MAX_LEAD`.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::chain::BlockHash;
use crate::clock::Now;
use crate::coinbase::{Coinbase, CoinbaseSpec, EXTRANONCE_SIZE};
use crate::hash::{self, PrefixState};
use crate::ids::NodeId;
use crate::signal::Signals;
use crate::template::Template;

/// Maximum jobs of the current tip; the oldest are dropped. With a job for all every 30 s, and one
/// more for each miner whose difficulty changes, this lasts for hours.
const MAX_JOBS: usize = 2048;

/// Maximum works of the current tip: each holds a list of its transactions. At one every 30 s this
/// is half an hour.
const MAX_WORKS: usize = 64;

/// How long jobs of earlier tips are kept after the tip changed.
const KEEP_OLD: Duration = Duration::from_secs(180);

/// Maximum jobs of earlier tips.
const MAX_OLD_JOBS: usize = 512;

/// Maximum seconds by which a job's time may be ahead of the node's clock, when jobs are made
/// faster than one a second (many miners at once; they differ by extranonce1 anyway). Nodes refuse
/// blocks more than two hours ahead.
const MAX_LEAD: u32 = 60;

/// A job's id: a counter, shown in hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub u32);

/// A template and the owner's coinbase over it, with the parts of `mining.notify` that all jobs of
/// it share.
#[derive(Debug)]
pub struct Work {
    /// The template.
    pub template: Arc<Template>,
    /// The coinbase, in halves.
    pub coinbase: Coinbase,
    /// The node that the template came from.
    pub node: NodeId,
    /// When the template came.
    pub received: Instant,
    /// Whether we made it for a new tip without waiting for the node's transactions.
    pub empty: bool,
    /// The hash state after the coinbase's first half, computed once for all shares: a tag of 16
    /// bytes or more fills a SHA-256 block, which saves one compression per share.
    prefix: PrefixState,
    /// `","<prevhash>","<coinbase1>",…,"<nbits>","`: a notify's text between job id and ntime. Made for
    /// the first miner that reads lines.
    middle: OnceCell<String>,
    /// See [`Work::version`].
    version: u32,
    /// The other box of the pair made it, for its miners.
    is_partners: bool,
}

/// One `mining.notify`.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its id. No id is used twice, not even by different runs: see [`Jobs::new`].
    pub id: JobId,
    /// The header's time, Unix seconds.
    pub ntime: u32,
    /// Its work.
    pub work: Rc<Work>,
}

/// The jobs that were sent out.
///
/// Pure: times and the first id are handed in.
#[derive(Debug)]
pub struct Jobs {
    next_id: u32,
    /// The work that new jobs are made from.
    work: Option<Rc<Work>>,
    /// When the current tip was taken over.
    tip_since: Option<Instant>,
    /// Jobs of the current tip, by rising id.
    current: VecDeque<Job>,
    /// Jobs of the current tip from an earlier run, by rising id.
    restored: Vec<Job>,
    /// Jobs of earlier tips, and when their tip was replaced.
    old: VecDeque<(Job, Instant)>,
    /// Jobs that the other box of the pair gave its miners.
    partners: PartnersJobs,
    last_ntime: u32,
}

/// Jobs of the other box of a pair, all on one tip, by rising id.
#[derive(Debug, Default)]
struct PartnersJobs {
    jobs: Vec<Job>,
    /// Since when this box mines on a later tip.
    overtaken: Option<Instant>,
}

/// The result of looking up a job id that a miner sent.
#[derive(Debug)]
pub enum Lookup<'a> {
    /// A job of the current tip.
    Current(&'a Job),
    /// A job of an earlier tip, and when that tip was replaced.
    Stale(&'a Job, Instant),
    /// An id that was never issued, or is forgotten.
    Unknown,
}

/// Two boxes gave their jobs the same ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SameIds;

/// The effect of new work on the miners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It builds on another block: the miners' present jobs are worthless.
    NewTip,
    /// The same tip with other transactions or time.
    Refresh,
}

impl Work {
    /// Builds the coinbase and the text that all jobs of this work share.
    pub fn new(
        template: Arc<Template>,
        node: NodeId,
        received: Instant,
        empty: bool,
        payout_script: &[u8],
        tag: &str,
    ) -> Work {
        let coinbase = Coinbase::new(&CoinbaseSpec {
            height: template.height,
            value: template.value,
            payout_script,
            tag,
            witness_commitment: template.witness_commitment.as_deref(),
        });
        Work::with_coinbase(template, coinbase, node, received, empty)
    }

    /// Work with a coinbase that was made elsewhere.
    pub fn with_coinbase(
        template: Arc<Template>,
        coinbase: Coinbase,
        node: NodeId,
        received: Instant,
        empty: bool,
    ) -> Work {
        let version = Signals::default().version(&template);
        let prefix = PrefixState::new(&coinbase.coinbase1);
        let middle = OnceCell::new();
        let is_partners = false;
        Work { template, coinbase, node, received, empty, prefix, middle, version, is_partners }
    }

    /// The same work, made by the other box of the pair.
    pub fn of_partner(mut self) -> Work {
        self.is_partners = true;
        self
    }

    /// Whether the other box of the pair made it: who was given what with its jobs is known from there.
    pub fn is_partners(&self) -> bool {
        self.is_partners
    }

    /// The same work with the owner's setting for single version bits.
    pub fn signalling(mut self, signals: &Signals) -> Work {
        self.version = signals.version(&self.template);
        self.middle.take();
        self
    }

    /// The block version of the jobs: the node's, modified by the owner's setting, with the bits
    /// that miners may roll cleared. So it makes no difference whether a firmware sets, replaces or
    /// toggles these bits.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The merkle root of the block with this coinbase, in internal byte order. The coinbase may
    /// differ from the owner's only after the extranonce.
    pub fn merkle_root(&self, coinbase: &Coinbase, extranonce: &[u8; EXTRANONCE_SIZE]) -> [u8; 32] {
        debug_assert_eq!(coinbase.coinbase1, self.coinbase.coinbase1);
        let coinbase_txid = self.prefix.sha256d(&[extranonce, &coinbase.coinbase2]);
        hash::branch_root(&coinbase_txid, &self.template.branch)
    }

    /// The node's clock now: the template's time plus the time since it came.
    pub fn node_time(&self, now: Instant) -> u32 {
        let elapsed = now.saturating_duration_since(self.received).as_secs();
        self.template.curtime.saturating_add(u32::try_from(elapsed).unwrap_or(u32::MAX))
    }

    /// When the second of [`Work::node_time`] began.
    pub fn second_began(&self, now: Instant) -> Instant {
        let elapsed = now.saturating_duration_since(self.received).as_secs();
        self.received + Duration::from_secs(elapsed)
    }
}

impl JobId {
    /// Number of ids for one run: enough for a year with a job every 30 s and some more for changes
    /// of difficulty.
    const RUN: u32 = 1 << 20;

    /// The first id of a run, by the run's number. The ids of 4096 runs do not overlap.
    pub fn first_of(run: u32) -> JobId {
        JobId(run.wrapping_mul(JobId::RUN))
    }

    /// This run, or the next one that a box on this side may have: of the boxes of a pair one has the even
    /// runs, the other one the odd ones, so that no two jobs have one id.
    pub fn run_on_side(run: u32, side: Option<bool>) -> u32 {
        let fits = side.is_none_or(|odd| (run % 2 == 1) == odd);
        if fits { run } else { run.wrapping_add(1) }
    }

    /// The number of the run that issued it.
    pub fn run(self) -> u32 {
        self.0 / JobId::RUN
    }

    /// Whether it was issued before another. Ids wrap after 2^32 jobs.
    pub fn is_before(self, other: JobId) -> bool {
        self != other && other.0.wrapping_sub(self.0) < 1 << 31
    }
}

impl Job {
    /// The line of `mining.notify` for this job, with its line feed. `clean` tells the miner to
    /// drop its present jobs.
    pub fn notify_line(&self, clean: bool) -> String {
        let Work { template, coinbase, middle, version, .. } = &*self.work;
        self.line(middle.get_or_init(|| notify_middle(template, coinbase, *version)), clean)
    }

    /// The same for a miner with another coinbase than the owner's.
    pub fn notify_line_with(&self, coinbase: &Coinbase, clean: bool) -> String {
        self.line(&notify_middle(&self.work.template, coinbase, self.work.version), clean)
    }

    fn line(&self, middle: &str, clean: bool) -> String {
        format!(
            "{{\"id\":null,\"method\":\"mining.notify\",\"params\":[\"{}{}{:08x}\",{}]}}\n",
            self.id, middle, self.ntime, clean
        )
    }
}

impl Jobs {
    /// No jobs yet. Ids count up from `first_id`, which must be above all ids of earlier runs
    /// ([`JobId::first_of`]), so that a job from before a restart is not mistaken for a new one.
    pub fn new(first_id: u32) -> Jobs {
        Jobs {
            next_id: first_id,
            work: None,
            tip_since: None,
            current: VecDeque::new(),
            restored: Vec::new(),
            old: VecDeque::new(),
            partners: PartnersJobs::default(),
            last_ntime: 0,
        }
    }

    /// Restores the jobs of an earlier run, by rising id and all on one tip. Call it before any
    /// work.
    pub fn restore_jobs(&mut self, jobs: Vec<Job>) {
        self.restored = jobs;
    }

    /// Whether jobs of an earlier run build on this tip.
    pub fn has_restored(&self, tip: BlockHash) -> bool {
        self.restored.last().is_some_and(|job| job.work.template.prev == tip)
    }

    /// Takes new work; jobs are made from it by [`Jobs::issue`].
    pub fn set_work(&mut self, now: Now, work: Work) -> Change {
        let tip = work.template.prev;
        let change = match &self.work {
            Some(old) if old.template.prev == tip => Change::Refresh,
            _ => Change::NewTip,
        };
        if change == Change::NewTip {
            // An earlier run's jobs on the same tip stay valid.
            let kept = match self.work.is_none() && self.has_restored(tip) {
                true => std::mem::take(&mut self.restored),
                false => Vec::new(),
            };
            self.retire(now);
            self.tip_since = Some(now.mono);
            self.last_ntime = kept.iter().map(|job| job.ntime).max().unwrap_or(0);
            self.restored = kept;
        }
        self.work = Some(Rc::new(work));
        self.compare_with_partners(now);
        change
    }

    /// Drops the work, when no node has valid work any more. Its jobs become jobs of an earlier
    /// tip.
    pub fn drop_work(&mut self, now: Now) {
        self.retire(now);
        self.work = None;
        self.tip_since = None;
    }

    /// Makes a job from the current work, if there is any. Its id is new, and its time is later
    /// than the previous job's as far as `MAX_LEAD` allows.
    pub fn issue(&mut self, now: Now) -> Option<&Job> {
        let work = self.work.clone()?;
        let node_time = work.node_time(now.mono).max(work.template.mintime);
        let ntime = (self.last_ntime + 1).clamp(node_time, node_time.saturating_add(MAX_LEAD));
        self.last_ntime = ntime;
        let id = JobId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        self.forget_oldest(&work);
        self.current.push_back(Job { id, ntime, work });
        self.current.back()
    }

    /// The newest job.
    pub fn latest(&self) -> Option<&Job> {
        self.current.back()
    }

    /// The current work.
    pub fn work(&self) -> Option<&Rc<Work>> {
        self.work.as_ref()
    }

    /// The current tip, and when it was taken over.
    pub fn tip(&self) -> Option<(BlockHash, Instant)> {
        Some((self.work.as_ref()?.template.prev, self.tip_since?))
    }

    /// Takes the jobs that the other box of the pair gave its miners, by rising id and all on one tip, in
    /// the place of those that it took before. They are current unless this box mines on a later tip: the
    /// other one may know of a block before it.
    ///
    /// # Errors
    /// One of their ids may name a job of this box. Nothing is taken.
    pub fn set_partners(&mut self, now: Now, mut jobs: Vec<Job>) -> Result<(), SameIds> {
        if jobs.iter().any(|job| self.may_be_own(job.id)) {
            return Err(SameIds);
        }
        jobs.drain(..jobs.len().saturating_sub(MAX_JOBS));
        self.partners = PartnersJobs { jobs, overtaken: None };
        self.compare_with_partners(now);
        Ok(())
    }

    /// Whether jobs of the other box of the pair build on this tip.
    pub fn has_partners(&self, tip: BlockHash) -> bool {
        self.partners.jobs.last().is_some_and(|job| job.work.template.prev == tip)
    }

    /// Whether any job of the other box of the pair is known.
    pub fn has_any_partners(&self) -> bool {
        !self.partners.jobs.is_empty()
    }

    /// Whether an id names a job of this box, or a job that it may still issue.
    fn may_be_own(&self, id: JobId) -> bool {
        id.run() == JobId(self.next_id).run() || !matches!(self.find_own(id), Lookup::Unknown)
    }

    /// Notes whether this box has come to a later tip than the other one, and forgets jobs that nobody
    /// mines on any more.
    fn compare_with_partners(&mut self, now: Now) {
        let Some(work) = &self.work else { return };
        let is_overtaken = self.partners.jobs.last().is_some_and(|job| {
            let theirs = &job.work.template;
            theirs.prev != work.template.prev && theirs.height <= work.template.height
        });
        if !is_overtaken {
            self.partners.overtaken = None;
            return;
        }
        let since = *self.partners.overtaken.get_or_insert(now.mono);
        if now.mono.saturating_duration_since(since) >= KEEP_OLD {
            self.partners = PartnersJobs::default();
        }
    }

    /// Looks up a job id.
    pub fn find(&self, id: JobId) -> Lookup<'_> {
        match self.find_own(id) {
            Lookup::Unknown => self.find_partners(id),
            own => own,
        }
    }

    fn find_partners(&self, id: JobId) -> Lookup<'_> {
        let PartnersJobs { jobs, overtaken } = &self.partners;
        let place = jobs.partition_point(|job| job.id.is_before(id));
        match (jobs.get(place).filter(|job| job.id == id), overtaken) {
            (Some(job), None) => Lookup::Current(job),
            (Some(job), Some(since)) => Lookup::Stale(job, *since),
            (None, _) => Lookup::Unknown,
        }
    }

    fn find_own(&self, id: JobId) -> Lookup<'_> {
        // Ids are issued in sequence, so the index follows from the id.
        if let Some(first) = self.current.front()
            && let Some(job) = self.current.get(id.0.wrapping_sub(first.id.0) as usize)
        {
            return Lookup::Current(job);
        }
        let place = self.restored.partition_point(|job| job.id.is_before(id));
        if let Some(job) = self.restored.get(place).filter(|job| job.id == id) {
            return Lookup::Current(job);
        }
        match self.old.iter().rev().find(|(job, _)| job.id == id) {
            Some((job, since)) => Lookup::Stale(job, *since),
            None => Lookup::Unknown,
        }
    }

    fn retire(&mut self, now: Now) {
        self.old.retain(|(_, since)| now.mono.saturating_duration_since(*since) < KEEP_OLD);
        let restored = self.restored.drain(..);
        self.old.extend(restored.chain(self.current.drain(..)).map(|job| (job, now.mono)));
        let excess = self.old.len().saturating_sub(MAX_OLD_JOBS);
        self.old.drain(..excess);
    }

    fn forget_oldest(&mut self, work: &Rc<Work>) {
        if self.current.len() >= MAX_JOBS {
            self.current.pop_front();
        }
        if self.current.back().is_some_and(|job| Rc::ptr_eq(&job.work, work)) {
            return;
        }
        let mut works = 1;
        for i in (0..self.current.len()).rev() {
            let next = self.current.get(i + 1).map_or(work, |job| &job.work);
            works += usize::from(!Rc::ptr_eq(&self.current[i].work, next));
            if works > MAX_WORKS {
                self.current.drain(..=i);
                return;
            }
        }
    }
}

fn notify_middle(template: &Template, coinbase: &Coinbase, version: u32) -> String {
    let hex = |bytes: &[u8]| faster_hex::hex_string(bytes);
    let branch: Vec<String> =
        template.branch.iter().map(|node| format!("\"{}\"", hex(node))).collect();
    format!(
        "\",\"{}\",\"{}\",\"{}\",[{}],\"{:08x}\",\"{:08x}\",\"",
        template.prev.to_stratum(),
        hex(&coinbase.coinbase1),
        hex(&coinbase.coinbase2),
        branch.join(","),
        version,
        template.nbits.0,
    )
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for JobId {
    type Err = std::num::ParseIntError;

    /// Reads the output of `Display`; leading zeros and upper case are allowed.
    fn from_str(hex: &str) -> Result<JobId, Self::Err> {
        u32::from_str_radix(hex, 16).map(JobId)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::difficulty::{NBits, Target};

    /// A template without transactions on a tip that is named by one byte.
    pub(crate) fn template(tip: u8) -> Template {
        Template {
            height: 500 + u32::from(tip),
            version: 0x3000_0010,
            prev: BlockHash([tip; 32]),
            nbits: NBits(0x1d00ffff),
            target: Target::from_nbits(NBits(0x1d00ffff)).unwrap(),
            curtime: 1_700_000_000,
            mintime: 1_699_999_000,
            value: 312_500_000,
            txs: Vec::new(),
            branch: vec![[0xab; 32]],
            witness_commitment: Some(crate::template::witness_commitment(&[])),
            version_bits: Default::default(),
        }
    }

    pub(crate) fn work(tip: u8, at: Instant) -> Work {
        Work::new(Arc::new(template(tip)), NodeId(0), at, false, &[0x51], "/test/")
    }

    fn at(start: Instant, seconds: u64) -> Now {
        Now { mono: start + Duration::from_secs(seconds), unix: 0 }
    }

    #[test]
    fn a_notify_is_what_miners_expect() {
        let start = Instant::now();
        let mut jobs = Jobs::new(0xbeef);
        jobs.set_work(at(start, 0), work(1, start));
        let line = jobs.issue(at(start, 5)).unwrap().notify_line(true);
        assert!(line.ends_with("]}\n"));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let params = value["params"].as_array().unwrap();
        assert_eq!(params.len(), 9);
        assert_eq!(params[0], "beef");
        assert_eq!(params[1], "01".repeat(32));
        assert_eq!(params[4][0], "ab".repeat(32));
        assert_eq!(params[5], "20000010", "bits that miners roll are cleared, others are not");
        assert_eq!(params[6], "1d00ffff");
        assert_eq!(params[7], format!("{:08x}", 1_700_000_005));
        assert_eq!(params[8], true);
        assert_eq!((&value["id"], &value["method"]), (&().into(), &"mining.notify".into()));
    }

    #[test]
    fn the_owners_bits_are_in_the_job_and_in_the_block() {
        use crate::share::{RolledVersion, Share, Submission};
        let start = Instant::now();
        let signals = Signals { set: 1 << 9, clear: 1 << 4 };
        let mut jobs = Jobs::new(0);
        jobs.set_work(at(start, 0), work(1, start).signalling(&signals));
        let job = jobs.issue(at(start, 5)).unwrap();
        let value: serde_json::Value = serde_json::from_str(&job.notify_line(true)).unwrap();
        assert_eq!(value["params"][5], "20000200");
        let other = job.notify_line_with(&job.work.coinbase.clone(), true);
        assert_eq!(other, job.notify_line(true), "for every payee");
        let rolled = 0x1f00_2000;
        let extranonce = [0; EXTRANONCE_SIZE];
        let submission = Submission {
            job: job.id,
            extranonce,
            ntime: job.ntime,
            nonce: 0,
            version: RolledVersion::Bits(rolled),
        };
        let header = Share::prove(job, &submission).header;
        assert_eq!(header[..4], (0x2000_0200 | rolled).to_le_bytes());
    }

    #[test]
    fn ids_and_times_always_move_on() {
        let start = Instant::now();
        let mut jobs = Jobs::new(u32::MAX - 1);
        jobs.set_work(at(start, 0), work(1, start));
        let issued: Vec<Job> = (0..5).map(|_| jobs.issue(at(start, 0)).unwrap().clone()).collect();
        for pair in issued.windows(2) {
            assert_eq!(pair[1].id.0, pair[0].id.0.wrapping_add(1));
            assert!(pair[1].ntime > pair[0].ntime);
        }
        for _ in 0..2 * MAX_LEAD {
            assert!(jobs.issue(at(start, 0)).unwrap().ntime <= 1_700_000_000 + MAX_LEAD);
        }
        for job in issued {
            assert!(matches!(jobs.find(job.id), Lookup::Current(found) if found.id == job.id));
        }
        assert!(matches!(jobs.find(JobId(7777)), Lookup::Unknown));
    }

    #[test]
    fn the_runs_of_two_boxes_are_different_ones_and_rise() {
        for run in [0, 1, 4094, 4095, u32::MAX] {
            let of = |side| JobId::first_of(JobId::run_on_side(run, side));
            assert_eq!(of(None), JobId::first_of(run));
            assert_ne!(of(Some(false)).run(), of(Some(true)).run());
            for side in [false, true] {
                let next = JobId::run_on_side(run.wrapping_add(1), Some(side));
                let before = JobId::first_of(run.wrapping_sub(1));
                assert!(before.is_before(of(Some(side))));
                assert!(before.is_before(JobId::first_of(next)));
            }
        }
    }

    #[test]
    fn a_new_tip_makes_old_jobs_stale_and_later_forgets_them() {
        let start = Instant::now();
        let mut jobs = Jobs::new(1);
        assert_eq!(jobs.set_work(at(start, 0), work(1, start)), Change::NewTip);
        let old = jobs.issue(at(start, 0)).unwrap().id;
        assert_eq!(jobs.set_work(at(start, 1), work(1, start)), Change::Refresh);
        assert!(matches!(jobs.find(old), Lookup::Current(_)));
        assert_eq!(jobs.set_work(at(start, 9), work(2, start)), Change::NewTip);
        let Lookup::Stale(job, since) = jobs.find(old) else { panic!("not stale") };
        assert_eq!((job.id, since), (old, at(start, 9).mono));
        let newer = jobs.issue(at(start, 9)).unwrap().id;
        jobs.set_work(at(start, 10 + KEEP_OLD.as_secs()), work(3, start));
        assert!(matches!(jobs.find(old), Lookup::Unknown));
        assert!(matches!(jobs.find(newer), Lookup::Stale(..)));
        jobs.drop_work(at(start, 1000));
        assert!(jobs.issue(at(start, 1000)).is_none() && jobs.tip().is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let start = Instant::now();
        let mut jobs = Jobs::new(1);
        for _ in 0..3 * MAX_WORKS {
            jobs.set_work(at(start, 0), work(1, start));
            (0..3).for_each(|_| assert!(jobs.issue(at(start, 0)).is_some()));
        }
        assert_eq!(jobs.current.len(), 3 * MAX_WORKS);
        for _ in 0..2 * MAX_JOBS {
            jobs.issue(at(start, 0)).unwrap();
        }
        assert_eq!(jobs.current.len(), MAX_JOBS);
        let newest = jobs.latest().unwrap().id;
        assert!(matches!(jobs.find(newest), Lookup::Current(_)));
        jobs.set_work(at(start, 1), work(2, start));
        assert_eq!(jobs.old.len(), MAX_OLD_JOBS);
    }
}
