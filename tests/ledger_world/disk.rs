//! A disk that loses what was not flushed: a FUSE file of which the kernel makes a loop device.
//!
//! It knows which writes were followed by a flush. What a power cut leaves is what was flushed and
//! any part, in sectors, of what was not. It can also begin to fail every write with EIO.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyWrite, Request, WriteFlags,
};

const SECTOR: usize = 512;

#[derive(Default)]
struct Medium {
    durable: Vec<u8>,
    current: Vec<u8>,
    unflushed: Vec<(usize, Vec<u8>)>,
    failing: bool,
    flushes: u64,
    written: u64,
}

/// The disk, and the ext4 that is mounted from it.
pub struct Disk {
    medium: Arc<Mutex<Medium>>,
    mounted: Option<Mounted>,
    session: Option<BackgroundSession>,
}

impl Disk {
    /// Makes the disk with an empty ext4 of `bytes` and mounts it at `dir/mnt`.
    pub fn new(dir: &Path, bytes: usize) -> io::Result<Disk> {
        let blank = dir.join("blank");
        std::fs::File::create(&blank)?.set_len(bytes as u64)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&blank))?;
        let image = std::fs::read(&blank)?;
        let medium = Medium { durable: image.clone(), current: image, ..Medium::default() };
        let medium = Arc::new(Mutex::new(medium));
        let fuse = dir.join("fuse");
        std::fs::create_dir_all(&fuse)?;
        let session = fuser::spawn_mount(Device(medium.clone()), &fuse, &Config::default())?;
        let mut disk = Disk { medium, mounted: None, session: Some(session) };
        disk.mounted = Some(Mounted::new(&fuse.join("disk"), &dir.join("mnt"))?);
        Ok(disk)
    }

    /// What a power cut at this moment leaves. `keep` says of each unflushed sector whether it
    /// reached the medium.
    pub fn cut(&self, mut keep: impl FnMut() -> bool) -> Vec<u8> {
        let medium = self.medium.lock().unwrap();
        let mut image = medium.durable.clone();
        for (offset, bytes) in &medium.unflushed {
            for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                if keep() {
                    let at = offset + number * SECTOR;
                    image[at..at + sector.len()].copy_from_slice(sector);
                }
            }
        }
        image
    }

    /// From now on every write and flush fails with EIO, or no longer.
    pub fn fail(&self, failing: bool) {
        self.medium.lock().unwrap().failing = failing;
    }

    /// Bytes that were written to it since it was made.
    pub fn written(&self) -> u64 {
        self.medium.lock().unwrap().written
    }

    pub fn flushes(&self) -> u64 {
        self.medium.lock().unwrap().flushes
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.mounted = None;
        if let Some(session) = self.session.take() {
            let _ = session.umount_and_join();
        }
    }
}

/// An image that is mounted through a loop device until it is dropped.
pub struct Mounted {
    device: String,
    place: PathBuf,
}

impl Mounted {
    pub fn new(image: &Path, place: &Path) -> io::Result<Mounted> {
        std::fs::create_dir_all(place)?;
        let device = run(Command::new("losetup").args(["-f", "--show"]).arg(image))?;
        let mounted = Mounted { device: device.trim().into(), place: place.into() };
        run(Command::new("mount").args(["-t", "ext4"]).arg(&mounted.device).arg(place))?;
        Ok(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A child of a killed process may still hold a file for a moment.
        for _ in 0..150 {
            match run(Command::new("umount").arg(&self.place)) {
                Ok(_) => break,
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
        let _ = run(Command::new("losetup").args(["-d", &self.device]));
    }
}

pub fn run(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("{command:?}: {words}")))
}

struct Device(Arc<Mutex<Medium>>);

impl Device {
    fn attributes(&self, inode: u64) -> FileAttr {
        let size = self.0.lock().unwrap().current.len() as u64;
        let root = inode == 1;
        FileAttr {
            ino: INodeNo(inode),
            size: if root { 0 } else { size },
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if root { FileType::Directory } else { FileType::RegularFile },
            perm: if root { 0o755 } else { 0o600 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        }
    }
}

const FOREVER: Duration = Duration::from_secs(86_400);

impl Filesystem for Device {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == "disk" {
            reply.entry(&FOREVER, &self.attributes(2), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &self.attributes(inode.into()));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(1), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let medium = self.0.lock().unwrap();
        let start = (offset as usize).min(medium.current.len());
        let end = (start + size as usize).min(medium.current.len());
        reply.data(&medium.current[start..end]);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut medium = self.0.lock().unwrap();
        let start = offset as usize;
        if medium.failing || start + data.len() > medium.current.len() {
            return reply.error(Errno::EIO);
        }
        medium.current[start..start + data.len()].copy_from_slice(data);
        medium.written += data.len() as u64;
        medium.unflushed.push((start, data.to_vec()));
        reply.written(data.len() as u32);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut medium = self.0.lock().unwrap();
        if medium.failing {
            return reply.error(Errno::EIO);
        }
        for (start, bytes) in std::mem::take(&mut medium.unflushed) {
            medium.durable[start..start + bytes.len()].copy_from_slice(&bytes);
        }
        medium.flushes += 1;
        reply.ok();
    }
}
