//! A file in memory, beside that of the jobs, for what the next run has to know: it is appended to, and begun
//! anew with what still counts.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::sys::statfs::statfs;

use super::job_file::is_memory;
use crate::fsutil::{self, Rights};

/// What the run before has left.
pub(super) enum Left {
    Nothing,
    Bytes(Vec<u8>),
    Unreadable,
}

#[derive(Debug)]
pub(super) struct MemoryFile {
    path: PathBuf,
    header: Vec<u8>,
    file: File,
    size: u64,
}

impl MemoryFile {
    /// Reads what is there, at most `limit` bytes.
    ///
    /// # Errors
    /// The directory is not in memory, or not there.
    pub(super) fn left(dir: &Path, name: &str, limit: u64) -> io::Result<Left> {
        if !is_memory(statfs(dir)?.filesystem_type()) {
            return Err(io::Error::other("it is not in memory"));
        }
        let path = dir.join(name);
        Ok(match fsutil::read_bounded(&path, limit) {
            Ok(bytes) => Left::Bytes(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Left::Nothing,
            Err(error) => {
                log::warn!("{}: {error}", path.display());
                Left::Unreadable
            }
        })
    }

    /// Begins it with these records, in place of what is there: a crash in between loses nothing.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn begin(
        dir: &Path,
        name: &str,
        header: Vec<u8>,
        records: &[u8],
    ) -> io::Result<MemoryFile> {
        let path = dir.join(name);
        let (file, size) = written(&path, &header, records)?;
        Ok(MemoryFile { path, header, file, size })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes in it.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn append(&mut self, records: &[u8]) -> io::Result<()> {
        self.file.write_all(records)?;
        self.size += records.len() as u64;
        Ok(())
    }

    pub(super) fn begin_anew(&mut self, records: &[u8]) -> io::Result<()> {
        (self.file, self.size) = written(&self.path, &self.header, records)?;
        Ok(())
    }

    /// Removes it, and says what that may cost: what it says is not true any more.
    pub(super) fn give_up(self, error: &io::Error, cost: &str) {
        log::warn!("{}: {error}: {cost}", self.path.display());
        fs::remove_file(&self.path).ok();
    }
}

fn written(path: &Path, header: &[u8], records: &[u8]) -> io::Result<(File, u64)> {
    let bytes = [header, records].concat();
    let file = fsutil::replace_and_open(path, &bytes, Rights::Set(0o600))?;
    Ok((file, bytes.len() as u64))
}
