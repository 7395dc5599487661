//! The file that lets miners' jobs survive a restart of the daemon: see [`crate::job_journal`].
//!
//! The file is in the directory that systemd makes for the service below `/run`, which is in
//! memory. It causes no writes to the card, and a power cut deletes it together with the shares
//! that the miners had to send. Without such a directory, or if it is on a disk, nothing is kept.
//!
//! A small record (a job, a difficulty, work without transactions or with a few) is written before
//! it is sent to miners, which takes microseconds: no kill can lose it. New work with all of its
//! transactions takes milliseconds, so a thread writes it, and all records that follow meanwhile. A
//! kill within these milliseconds loses that work's jobs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};

use crate::clock::Now;
use crate::fsutil::{self, Rights};
use crate::ids::Extranonce1;
use crate::job_journal::{self, Encoder, JobRecord, Moment, RestoredJobs};
use crate::os;

/// Bytes beyond which a new file with the newest work is begun. A tip that lasts an hour needs some
/// ten megabytes.
const MAX_FILE: u64 = 12 << 20;

/// Bytes of transactions beyond which the thread writes the work: copying as many takes a Pi some
/// tenths of a millisecond.
const LARGE: usize = 128 << 10;

/// The file and its thread.
#[derive(Debug, Default)]
pub(super) struct JobFile {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
    orders: mpsc::Sender<(Moment, Vec<JobRecord>)>,
}

#[derive(Debug)]
struct Shared {
    /// Never contended: the loop takes it only while nothing is left for the thread.
    writer: Mutex<Writer>,
    /// Number of orders that the thread has not carried out.
    waiting: AtomicUsize,
}

impl JobFile {
    /// Reads the jobs that an earlier run left in `dir`, and continues with that file. The restored
    /// jobs are `None` if there are none.
    pub(super) fn open(now: Now, dir: Option<&Path>) -> (JobFile, Option<RestoredJobs>) {
        let Some(dir) = dir else { return (JobFile::default(), None) };
        match open(moment(now), dir) {
            Ok((open, restored)) => (JobFile { open: Some(open) }, Some(restored)),
            Err(error) => {
                log::warn!("{}: {error}: jobs will not survive a restart", dir.display());
                (JobFile::default(), None)
            }
        }
    }

    /// Stores job records; small ones are written before it returns.
    pub(super) fn keep(&mut self, now: Now, job_records: Vec<JobRecord>) {
        let Some(Open { shared, orders }) = &self.open else { return };
        if !job_records.iter().any(is_large)
            && shared.waiting.load(Ordering::Acquire) == 0
            && let Ok(mut writer) = shared.writer.try_lock()
        {
            writer.keep(moment(now), &job_records);
            return;
        }
        shared.waiting.fetch_add(1, Ordering::AcqRel);
        if orders.send((moment(now), job_records)).is_err() {
            self.open = None;
        }
    }

    /// Whether everything is written.
    pub(super) fn is_written(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.shared.waiting.load(Ordering::Acquire) == 0)
    }
}

fn is_large(record: &JobRecord) -> bool {
    let JobRecord::Work { template, .. } = record else { return false };
    template.txs.iter().map(|tx| tx.bytes.len()).sum::<usize>() > LARGE
}

/// The file, in this directory.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("jobs")
}

pub(super) fn moment(now: Now) -> Moment {
    Moment { mono: now.mono, uptime: os::uptime() }
}

fn open(now: Moment, dir: &Path) -> io::Result<(Open, RestoredJobs)> {
    if !is_memory(statfs(dir)?.filesystem_type()) {
        return Err(io::Error::other("it is not in memory"));
    }
    let boot_id = os::boot_id();
    let path = path(dir);
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(&path) {
        // Twice the limit: the last record may exceed it.
        file.take(2 * MAX_FILE).read_to_end(&mut bytes)?;
    }
    let (restored, good) = RestoredJobs::read(now, &boot_id, &bytes);
    if !bytes.is_empty() {
        let jobs = restored.records.iter().filter(|r| matches!(r, JobRecord::Job { .. })).count();
        let left = bytes.len() - good;
        log::info!("{}: jobs of an earlier run: {jobs}; unreadable bytes: {left}", path.display());
    }
    let header = job_journal::header(&boot_id);
    let mut file = File::options().append(true).create(true).mode(0o600).open(&path)?;
    file.set_len(good as u64)?;
    if good == 0 {
        file.write_all(&header)?;
    }
    let size = good.max(header.len()) as u64;
    let encoder = Encoder::following(&restored);
    let newest = Newest::default();
    let writer = Writer { path, header, file, size, encoder, newest, failed: false };
    let shared = Arc::new(Shared { writer: Mutex::new(writer), waiting: AtomicUsize::new(0) });
    let (orders, job_records) = mpsc::channel::<(Moment, Vec<JobRecord>)>();
    let own = shared.clone();
    let write_all = move || {
        while let Ok((now, job_records)) = job_records.recv() {
            if let Ok(mut writer) = own.writer.lock() {
                writer.keep(now, &job_records);
            }
            own.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    };
    thread::Builder::new().name("memory".into()).spawn(write_all)?;
    Ok((Open { shared, orders }, restored))
}

pub(super) fn is_memory(kind: FsType) -> bool {
    /// ramfs: linux/magic.h.
    const RAMFS_MAGIC: u32 = 0x8584_58f6;
    kind == TMPFS_MAGIC || kind.0 as u32 == RAMFS_MAGIC
}

#[derive(Debug)]
struct Writer {
    path: PathBuf,
    header: Vec<u8>,
    file: File,
    size: u64,
    encoder: Encoder,
    newest: Newest,
    /// Writing failed; the file is unusable until a new one is begun.
    failed: bool,
}

/// The first records of a file that is begun within a tip.
#[derive(Debug, Default)]
struct Newest {
    levels: BTreeMap<Extranonce1, JobRecord>,
    payees: BTreeMap<Extranonce1, JobRecord>,
    /// The work and its jobs.
    work: Vec<JobRecord>,
}

impl Writer {
    fn keep(&mut self, now: Moment, job_records: &[JobRecord]) {
        if self.failed && !job_records.iter().any(|record| matches!(record, JobRecord::Tip)) {
            return;
        }
        let outcome = self.write(now, job_records);
        self.failed = outcome.is_err();
        if let Err(error) = outcome {
            log::warn!("{}: {error}: jobs would not survive a restart", self.path.display());
            fs::remove_file(&self.path).ok();
        }
    }

    fn write(&mut self, now: Moment, job_records: &[JobRecord]) -> io::Result<()> {
        // With a new tip the old jobs are worthless.
        let tip = job_records.iter().rposition(|record| matches!(record, JobRecord::Tip));
        if tip.is_some() {
            self.newest = Newest::default();
        }
        let job_records = &job_records[tip.map_or(0, |tip| tip + 1)..];
        job_records.iter().for_each(|record| self.newest.take(record));
        if tip.is_some() {
            return self.begin(now, job_records.iter());
        }
        let mut bytes = Vec::new();
        job_records.iter().for_each(|record| self.encoder.encode(now, record, &mut bytes));
        self.file.write_all(&bytes)?;
        self.size += bytes.len() as u64;
        if self.size > MAX_FILE {
            let Newest { levels, payees, work } = std::mem::take(&mut self.newest);
            let all = levels.values().chain(payees.values()).chain(&work);
            let outcome = self.begin(now, all);
            self.newest = Newest { levels, payees, work };
            return outcome;
        }
        Ok(())
    }

    /// Replaces the old file by a new one; the old one stays intact until the new one is complete.
    fn begin<'a>(
        &mut self,
        now: Moment,
        job_records: impl Iterator<Item = &'a JobRecord>,
    ) -> io::Result<()> {
        self.encoder = Encoder::default();
        let mut bytes = self.header.clone();
        job_records.for_each(|record| self.encoder.encode(now, record, &mut bytes));
        let file = fsutil::replace_and_open(&self.path, &bytes, Rights::Set(0o600))?;
        (self.file, self.size) = (file, bytes.len() as u64);
        Ok(())
    }
}

impl Newest {
    fn take(&mut self, record: &JobRecord) {
        match record {
            JobRecord::Tip | JobRecord::Share(_) => {}
            JobRecord::Work { .. } => self.work = vec![record.clone()],
            JobRecord::Job { .. } => self.work.push(record.clone()),
            JobRecord::Level { extranonce1, .. } => {
                drop(self.levels.insert(*extranonce1, record.clone()))
            }
            JobRecord::Payee { extranonce1, .. } => {
                drop(self.payees.insert(*extranonce1, record.clone()))
            }
        }
    }
}
