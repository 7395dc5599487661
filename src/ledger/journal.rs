//! The journal file: it is appended to, made durable, and rewritten from time to time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::record::{FILE_HEADER, Record, encode_all};
use crate::fsutil::{self, Rights};

/// A journal that is longer than this is not read further, and not appended to: compaction keeps
/// it far below (see [`super::totals::JOURNAL_BUDGET`]).
pub const MAX_JOURNAL: u64 = 12 << 20;

const PAGE: usize = 4096;

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    sequence: u64,
    broken: bool,
}

impl Journal {
    /// The bytes of a journal file, at most twice [`MAX_JOURNAL`]; `None` when there is no file.
    ///
    /// Pages that a dying card does not give any more are read as zeros: the scan steps over them.
    /// An error means that nothing at all could be read.
    pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let length = file.metadata()?.len().min(2 * MAX_JOURNAL) as usize;
        let mut bytes = vec![0; length];
        let mut failed = None;
        let mut good = length == 0;
        for (number, page) in bytes.chunks_mut(PAGE).enumerate() {
            match file.read_exact_at(page, (number * PAGE) as u64) {
                Ok(()) => good = true,
                Err(error) => {
                    page.fill(0);
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) if !good => Err(error),
            _ => Ok(Some(bytes)),
        }
    }

    /// Opens a sound journal for appending; what stands behind `bytes` (a torn tail) is cut off.
    pub fn resume(path: &Path, bytes: u64, sequence: u64) -> io::Result<Journal> {
        let file = OpenOptions::new().append(true).open(path)?;
        if file.metadata()?.len() != bytes {
            file.set_len(bytes)?;
            file.sync_all()?;
        }
        Ok(Journal { path: path.to_owned(), file, bytes, sequence, broken: false })
    }

    /// Writes a journal anew, in place of the one that may be there: either the old one or the new
    /// one is whole after a power cut. The first record's number follows `sequence`.
    pub fn create(path: &Path, records: &[Record], sequence: u64) -> io::Result<Journal> {
        let mut bytes = FILE_HEADER.to_vec();
        encode_all(records, sequence + 1, &mut bytes);
        fsutil::replace(path, &bytes, Rights::Keep(0o666))?;
        let sequence = sequence + records.len() as u64;
        Journal::resume(path, bytes.len() as u64, sequence)
    }

    /// Appends records and makes them durable: once this returns `Ok` they survive a power cut.
    ///
    /// After an error nothing is appended any more (the kernel may have dropped what it could not
    /// write, and a second fsync would not tell): the journal must be written anew.
    pub fn append(&mut self, records: &[Record]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("it must be written anew"));
        }
        if records.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        encode_all(records, self.sequence + 1, &mut bytes);
        if self.bytes + bytes.len() as u64 > MAX_JOURNAL {
            return Err(io::Error::other("it has become too long and must be written anew"));
        }
        let result = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if let Err(error) = result {
            self.broken = true;
            // Best effort: a torn tail is recognised anyway.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += bytes.len() as u64;
        self.sequence += records.len() as u64;
        Ok(())
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of its last record.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// True when its file was removed or replaced under us, or its partition vanished.
    pub fn is_gone(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let (Ok(ours), Ok(there)) = (self.file.metadata(), fs::metadata(&self.path)) else {
            return true;
        };
        (ours.dev(), ours.ino()) != (there.dev(), there.ino())
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{AuditEntry, scan};
    use super::*;

    fn entry(unix: u64) -> Record {
        Record::Audit(AuditEntry { unix, text: "x".into() })
    }

    #[test]
    fn what_is_appended_is_read_again_and_a_torn_tail_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        assert!(Journal::read(&path).unwrap().is_none());
        let mut journal = Journal::create(&path, &[entry(1)], 0).unwrap();
        journal.append(&[entry(2), entry(3)]).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"JR torn").unwrap();

        let read = scan(&Journal::read(&path).unwrap().unwrap());
        assert_eq!((read.records.len(), read.torn_tail, read.last_sequence), (3, 7, 3));
        let mut journal = Journal::resume(&path, read.end, read.last_sequence).unwrap();
        journal.append(&[entry(4)]).unwrap();
        let read = scan(&Journal::read(&path).unwrap().unwrap());
        assert!(read.is_sound() && read.torn_tail == 0);
        assert_eq!(read.records, (1..=4).map(entry).collect::<Vec<_>>());
    }

    #[test]
    fn a_replaced_file_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let journal = Journal::create(&path, &[], 0).unwrap();
        assert!(!journal.is_gone());
        let newer = Journal::create(&path, &[entry(1)], 7).unwrap();
        assert!(journal.is_gone() && !newer.is_gone());
        fs::remove_file(&path).unwrap();
        assert!(newer.is_gone());
    }
}
