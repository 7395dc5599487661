//! The file that lets miners' jobs survive a restart of the daemon: see [`crate::memo`].
//!
//! It lies in the directory that systemd makes for the service below `/run`, which is memory: it
//! costs the card nothing, and a power cut forgets it, as it forgets what the miners had to send.
//! Without such a directory, or with one that is on a disk, nothing is kept. A thread of its own
//! writes, so that no job waits for it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};

use crate::clock::Now;
use crate::memo::{self, Encoder, Memo, Moment, Recall};
use crate::os;
use crate::stratum::session::Extranonce1;

use super::State;

/// A file that has grown beyond this is begun anew with the newest work. A tip that lasts an hour
/// needs some ten megabytes.
const MAX_FILE: u64 = 12 << 20;

/// The file and its thread.
#[derive(Debug, Default)]
pub struct Memory {
    orders: Option<mpsc::Sender<(Moment, Vec<Memo>)>>,
}

impl Memory {
    /// Reads what an earlier run left in `dir`, and goes on with it. `None` for the recall when
    /// nothing is kept.
    pub fn open(now: Now, dir: Option<&Path>) -> (Memory, Option<Recall>) {
        let Some(dir) = dir else { return (Memory::default(), None) };
        match open(moment(now), dir) {
            Ok((orders, recall)) => (Memory { orders: Some(orders) }, Some(recall)),
            Err(error) => {
                log::warn!("{}: {error}: jobs will not survive a restart", dir.display());
                (Memory::default(), None)
            }
        }
    }

    fn keep(&mut self, now: Now, memos: Vec<Memo>) {
        if let Some(orders) = &self.orders
            && orders.send((moment(now), memos)).is_err()
        {
            self.orders = None;
        }
    }
}

impl State {
    /// Hands the pool's memos to the thread.
    pub(super) fn keep_memos(&mut self, now: Now) {
        let memos = self.pool.memos();
        if memos.len() > 0 {
            let memos = memos.collect();
            self.memory.keep(now, memos);
        }
    }
}

fn moment(now: Now) -> Moment {
    Moment { mono: now.mono, uptime: os::uptime() }
}

fn open(now: Moment, dir: &Path) -> io::Result<(mpsc::Sender<(Moment, Vec<Memo>)>, Recall)> {
    if !is_memory(statfs(dir)?.filesystem_type()) {
        return Err(io::Error::other("it is not in memory"));
    }
    let boot_id = os::boot_id();
    let path = dir.join("jobs");
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(&path) {
        // Twice the limit: the last record may go beyond it.
        file.take(2 * MAX_FILE).read_to_end(&mut bytes)?;
    }
    let (recall, good) = Recall::read(now, &boot_id, &bytes);
    if !bytes.is_empty() {
        let (jobs, left) = (recall.jobs.len(), bytes.len() - good);
        log::info!("{}: {jobs} job(s) of an earlier run, {left} bytes unreadable", path.display());
    }
    let header = memo::header(&boot_id);
    let mut file = File::options().append(true).create(true).mode(0o600).open(&path)?;
    file.set_len(good as u64)?;
    if good == 0 {
        file.write_all(&header)?;
    }
    let size = good.max(header.len()) as u64;
    let encoder = Encoder::following(&recall);
    let mut writer = Writer { path, header, file, size, encoder, newest: Newest::default() };
    let (orders, memos) = mpsc::channel::<(Moment, Vec<Memo>)>();
    let write_all = move || {
        while let Ok((now, memos)) = memos.recv() {
            if let Err(error) = writer.write(now, &memos) {
                log::warn!("{}: {error}: jobs will not survive a restart", writer.path.display());
                fs::remove_file(&writer.path).ok();
                return;
            }
        }
    };
    thread::Builder::new().name("memory".into()).spawn(write_all)?;
    Ok((orders, recall))
}

fn is_memory(kind: FsType) -> bool {
    /// ramfs: linux/magic.h.
    const RAMFS_MAGIC: i64 = 0x8584_58f6;
    kind == TMPFS_MAGIC || kind.0 as i64 == RAMFS_MAGIC
}

struct Writer {
    path: PathBuf,
    header: Vec<u8>,
    file: File,
    size: u64,
    encoder: Encoder,
    newest: Newest,
}

/// With what a file begins that is begun anew within a tip.
#[derive(Default)]
struct Newest {
    levels: BTreeMap<Extranonce1, Memo>,
    payees: BTreeMap<Extranonce1, Memo>,
    /// The work and its jobs.
    work: Vec<Memo>,
}

impl Writer {
    fn write(&mut self, now: Moment, memos: &[Memo]) -> io::Result<()> {
        // With a new tip nothing of the old one is worth keeping.
        let tip = memos.iter().rposition(|memo| matches!(memo, Memo::Tip));
        if tip.is_some() {
            self.newest = Newest::default();
        }
        let memos = &memos[tip.map_or(0, |tip| tip + 1)..];
        memos.iter().for_each(|memo| self.newest.take(memo));
        if tip.is_some() {
            return self.begin(now, memos.iter());
        }
        let mut bytes = Vec::new();
        memos.iter().for_each(|memo| self.encoder.encode(now, memo, &mut bytes));
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

    /// A new file in place of the old one, which stays whole until the new one is.
    fn begin<'a>(&mut self, now: Moment, memos: impl Iterator<Item = &'a Memo>) -> io::Result<()> {
        self.encoder = Encoder::default();
        let mut bytes = self.header.clone();
        memos.for_each(|memo| self.encoder.encode(now, memo, &mut bytes));
        let new = self.path.with_extension("new");
        fs::remove_file(&new).ok();
        let mut file = File::options().append(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&bytes)?;
        fs::rename(&new, &self.path)?;
        (self.file, self.size) = (file, bytes.len() as u64);
        Ok(())
    }
}

impl Newest {
    fn take(&mut self, memo: &Memo) {
        match memo {
            Memo::Tip | Memo::Share(_) => {}
            Memo::Work { .. } => self.work = vec![memo.clone()],
            Memo::Job { .. } => self.work.push(memo.clone()),
            Memo::Level { extranonce1, .. } => drop(self.levels.insert(*extranonce1, memo.clone())),
            Memo::Payee { extranonce1, .. } => drop(self.payees.insert(*extranonce1, memo.clone())),
        }
    }
}
