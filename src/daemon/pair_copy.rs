//! The copy of the other box's file of jobs, and the parts of this box's file that the other one asks for:
//! see [`crate::pair::copy`].
//!
//! The copy is in the directory in memory that jobs are kept in, and is no part of this process. It is read
//! when a miner comes to the address that both boxes have: on a pool thread, and until it is read nothing is
//! read of the miners that come there, so that what they were about to send finds it.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use nix::sys::statfs::statfs;

use crate::clock::Now;
use crate::engine;
use crate::fsutil;
use crate::ids::ConnId;
use crate::job_journal::{Moment, RestoredJobs};
use crate::os;
use crate::pair::Input;
use crate::pair::copy::{COPY_MAX, PART_MAX, Write};
use crate::pair::message::{JobsPart, JobsWanted};

use super::job_file::{self, is_memory};
use super::memory_file::MemoryFile;
use super::pair::PairEvent;
use super::{Event, State};

/// The copy, beside the file of this box's own jobs.
const FILE: &str = "pair-jobs";

/// Miners that come one after the other cause no reading each, if the copy grows meanwhile: they wait for
/// the next.
const READ_EVERY: Duration = Duration::from_millis(500);

/// While new work with all of its transactions is being written, it is looked for so often.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct JobsCopy {
    /// The directory in memory, where there is one.
    dir: Option<PathBuf>,
    /// The copy as it is written.
    file: Option<MemoryFile>,
    /// The other box's uptime, and when it told it.
    told: Option<Moment>,
    reading: Option<Reading>,
    /// So much of it was read, and when.
    read: Option<(u64, Instant)>,
    /// When it is looked for more of this box's own file.
    look: Option<Instant>,
}

/// The copy is being read, or is about to be.
#[derive(Debug)]
struct Reading {
    /// Its end tells the miners that wait.
    _done: Sender<Infallible>,
    waits: Receiver<Infallible>,
    /// When it begins, if it has not begun.
    begins_at: Option<Instant>,
    /// Another miner came since it began.
    again: bool,
}

impl JobsCopy {
    /// Nothing is copied yet; what another run has copied is of no use.
    pub(super) fn open(dir: Option<&Path>) -> JobsCopy {
        let in_memory = |dir: &&Path| statfs(*dir).is_ok_and(|fs| is_memory(fs.filesystem_type()));
        let dir = dir.filter(in_memory).map(Path::to_path_buf);
        if let Some(dir) = &dir {
            fs::remove_file(dir.join(FILE)).ok();
        }
        JobsCopy { dir, ..JobsCopy::default() }
    }

    /// Whether there is a place for a copy.
    pub(super) fn has_place(&self) -> bool {
        self.dir.is_some()
    }

    fn write(&mut self, now: Now, write: Write) -> io::Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let uptime_ms = match (write, &mut self.file) {
            (Write::Begin(part), _) => {
                self.file = Some(MemoryFile::begin(dir, FILE, Vec::new(), &part.bytes)?);
                self.read = self.read.map(|(_, at)| (0, at));
                part.uptime_ms
            }
            (Write::Append(part), Some(file)) => {
                file.append(&part.bytes)?;
                part.uptime_ms
            }
            // It could not be begun.
            (Write::Append(_), None) => return Ok(()),
        };
        self.told = Some(Moment { mono: now.mono, uptime: Duration::from_millis(uptime_ms) });
        Ok(())
    }

    /// Whether there is anything in the copy that was not read.
    fn has_news(&self) -> bool {
        let size = self.file.as_ref().map_or(0, MemoryFile::size);
        size > self.read.map_or(0, |(read, _)| read)
    }

    /// When it may be read again.
    fn may_be_read_at(&self, now: Now) -> Instant {
        self.read.map_or(now.mono, |(_, last)| now.mono.max(last + READ_EVERY))
    }

    /// A miner came to the shared address: it waits for a reading, if there is anything new to read.
    fn expect(&mut self, now: Now) {
        if let Some(reading) = &mut self.reading {
            reading.again |= reading.begins_at.is_none();
        } else if self.has_news() {
            let (done, waits) = async_channel::bounded(1);
            let begins_at = Some(self.may_be_read_at(now));
            self.reading = Some(Reading { _done: done, waits, begins_at, again: false });
        }
    }

    /// Begins a reading that is due: the copy's path, and the other box's uptime now.
    fn begin_to_read(&mut self, now: Now) -> Option<(PathBuf, Moment)> {
        let (file, told) = (self.file.as_ref()?, self.told?);
        self.reading.as_mut()?.begins_at.take_if(|at| now.mono >= *at)?;
        self.read = Some((file.size(), now.mono));
        let uptime = told.uptime + now.mono.saturating_duration_since(told.mono);
        Some((file.path().to_owned(), Moment { mono: now.mono, uptime }))
    }

    /// It was read. Who came meanwhile waits for another reading, if there is more.
    fn was_read(&mut self, now: Now) {
        let begins_at = Some(self.may_be_read_at(now));
        let again = self.has_news();
        self.reading = self.reading.take().filter(|reading| reading.again && again);
        if let Some(reading) = &mut self.reading {
            (reading.begins_at, reading.again) = (begins_at, false);
        }
    }

    /// When it is to be looked for more of this box's own jobs, or the copy is to be read.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let reads = self.reading.as_ref().and_then(|reading| reading.begins_at);
        [self.look, reads].into_iter().flatten().min()
    }

    /// A part of this box's own file; `None` if there is no more of it.
    fn own_part(&self, wanted: JobsWanted) -> Option<JobsPart> {
        let file = File::open(job_file::path(self.dir.as_ref()?)).ok()?;
        let there = file.metadata().ok()?;
        // A file that is begun anew is another one, and a memory file system gives no number twice.
        let number = there.ino();
        let is_same = wanted.file == number && wanted.from <= there.len();
        let from = if is_same { wanted.from } else { 0 };
        let mut bytes = vec![0; PART_MAX];
        let length = file.read_at(&mut bytes, from).ok()?;
        bytes.truncate(length);
        let uptime_ms = os::uptime().as_millis() as u64;
        (length > 0).then_some(JobsPart { file: number, from, uptime_ms, bytes })
    }
}

impl State {
    pub(super) fn write_jobs_copy(&mut self, now: Now, write: Write) {
        let Some(side) = &mut self.pair else { return };
        if let Err(error) = side.copy.write(now, write) {
            log::warn!("{FILE}: {error}: late shares of the other box's miners would not count");
            (side.copy.file, side.copy.told, side.copy.reading) = (None, None, None);
        }
    }

    /// The other box asks for a part of this box's file of jobs.
    pub(super) fn read_own_jobs(&mut self, now: Now, wanted: JobsWanted) {
        let is_written = self.job_file.is_written();
        let Some(side) = &mut self.pair else { return };
        match side.copy.own_part(wanted) {
            Some(part) => self.pair_input(now, Input::Jobs(part)),
            None if !is_written => side.copy.look = Some(now.mono + LOOK_EVERY),
            None => {}
        }
    }

    /// There may be more in this box's file of jobs.
    pub(super) fn own_jobs_grew(&mut self, now: Now) {
        if let Some(side) = &mut self.pair {
            side.copy.look = None;
            self.pair_input(now, Input::JobsGrew);
        }
    }

    /// A miner is here. At the shared address it may be one of the other box's.
    pub(super) fn expect_partners_miner(&mut self, now: Now, conn: ConnId) {
        if self.is_at_shared_address(conn)
            && let Some(side) = &mut self.pair
        {
            side.copy.expect(now);
            self.read_jobs_copy(now);
        }
    }

    /// Does what is due.
    pub(super) fn tick_jobs_copy(&mut self, now: Now) {
        let Some(side) = &self.pair else { return };
        if side.copy.look.is_some_and(|at| now.mono >= at) {
            self.own_jobs_grew(now);
        }
        self.read_jobs_copy(now);
    }

    fn read_jobs_copy(&mut self, now: Now) {
        let Some(side) = &mut self.pair else { return };
        let Some((path, moment)) = side.copy.begin_to_read(now) else { return };
        let queue = self.queue.clone();
        blocking::unblock(move || {
            let copied = match fsutil::read_bounded(&path, COPY_MAX) {
                Ok(bytes) => RestoredJobs::read_copy(moment, &bytes),
                Err(error) => {
                    log::warn!("{}: {error}", path.display());
                    RestoredJobs::default()
                }
            };
            queue.send_blocking(Event::Pair(PairEvent::Copied(Box::new(copied)))).ok();
        })
        .detach();
    }

    pub(super) fn take_jobs_copy(&mut self, now: Now, copied: Box<RestoredJobs>) {
        if copied.last_job.is_some() {
            self.engine_input(now, engine::Input::PartnersJobs(copied));
        }
        if let Some(side) = &mut self.pair {
            side.copy.was_read(now);
        }
    }

    /// What a miner that comes to the shared address waits for: the end of the channel.
    pub(super) fn awaits_jobs_copy(&self, conn: ConnId) -> Option<Receiver<Infallible>> {
        let reading = self.pair.as_ref()?.copy.reading.as_ref()?;
        self.is_at_shared_address(conn).then(|| reading.waits.clone())
    }

    fn is_at_shared_address(&self, conn: ConnId) -> bool {
        let shared = self.config.pair.virtual_address.filter(|_| self.pair.is_some());
        let Some(shared) = shared else { return false };
        let ends = self.server.ends(conn);
        ends.is_some_and(|(local, _)| local.ip().to_canonical() == shared.ip)
    }
}
