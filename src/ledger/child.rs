//! sled in a process of its own.
//!
//! The daemon never opens sled. Each opening builds 20 MB of histograms that are never freed, starts
//! seven threads, and on a damaged file may panic or never return. So this program starts itself
//! again for a moment: once at the start, to check the ledger and hand the cache over
//! (`soloist ledger check --repair --hand-over`), and now and then to write into it
//! (`soloist ledger cache`). What goes between the two stands in memory files, so that neither
//! waits for the other to read.
//!
//! **A child always ends.** Its parent kills it after a time, and it ends itself a little later if
//! the parent is gone. It holds `cache.lock` as long as it has the cache open; the next one waits.
//!
//! # The message
//!
//! Eight bytes `SOLOCCH1`; the sequence number (8 bytes) and the number of entries (4); for each
//! the length of its key (1), the key, the length of its value (4), the value, which is frames of
//! [`super::record`]; at last the CRC-32 of all before it. Numbers are little-endian.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, Signal};

use crate::exit::complain;

use super::cache::{Cache, CacheError, Cached, Entry};
use super::record::{decode_all, encode};

/// A writing child is killed after this time.
pub const SAVE_LIMIT: Duration = Duration::from_secs(10);
/// The exit code of a child that found the cache in use by another.
pub const BUSY: u8 = 3;

/// A child ends itself after this time: longer than any parent waits for it.
const OWN_LIMIT: Duration = Duration::from_secs(12);
const HEADER: &[u8; 8] = b"SOLOCCH1";
/// No cache makes a message this long.
const MAX_MESSAGE: u64 = 32 << 20;

/// Why a child did not do what it was for.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The system starts no process, or has no memory for its message.
    #[error("no process could be started for it: {0}")]
    NotStarted(#[from] io::Error),
    /// It took too long and was killed. What hangs in the disk may live on for a while.
    #[error("it took longer than {} s", .0.as_secs())]
    TookTooLong(Duration),
    /// It ended otherwise than it should: sled panicked, or the disk failed.
    #[error("its process ended with {0}")]
    Failed(ExitStatus),
    /// A process of the last run still has the cache open.
    #[error("another process has it open")]
    Busy,
}

/// Lets a child write entries into the cache of the data directory `data` and make them durable.
/// Blocks for at most [`SAVE_LIMIT`].
pub fn save(exe: &Path, data: &Path, entries: &[Entry], sequence: u64) -> Result<(), ChildError> {
    let mut input = memory(&message(entries, sequence))?;
    input.rewind()?;
    let mut command = Command::new(exe);
    command.args(["ledger", "cache", "--data"]).arg(data);
    command.stdin(input).stdout(Stdio::null()).stderr(Stdio::null());
    let status = wait(&mut command, SAVE_LIMIT)?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) if code == i32::from(BUSY) => Err(ChildError::Busy),
        _ => Err(ChildError::Failed(status)),
    }
}

/// The child's side of [`save`], `soloist ledger cache`: standard input into the cache.
pub fn serve(data: &Path) -> ExitCode {
    live_shortly();
    let mut message = Vec::new();
    let read = io::stdin().lock().take(MAX_MESSAGE).read_to_end(&mut message);
    let message = read.ok().and_then(|_| read_message(&message));
    let Some(Cached { entries, sequence }) = message else {
        complain("This command is the daemon's own: it expects its message on standard input.");
        return ExitCode::FAILURE;
    };
    let result = Cache::open(&data.join("ledger/cache")).and_then(|(cache, _)| {
        let result = cache.save(&entries, sequence);
        // All is durable: the destructor would only do it again, and may panic. The lock is held
        // to the end.
        std::mem::forget(cache);
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(CacheError::Busy) => ExitCode::from(BUSY),
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}

/// For the child: it leaves the signals to its parent and does not outlive it by much.
pub fn live_shortly() {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    // Without it a stop of the whole group costs a cache; nothing more.
    let _ = signals.thread_block();
    std::thread::spawn(|| {
        std::thread::sleep(OWN_LIMIT);
        std::process::abort();
    });
}

/// Starts a child and waits for its end, at most `limit`; then kills it.
pub fn wait(command: &mut Command, limit: Duration) -> Result<ExitStatus, ChildError> {
    let mut child = command.spawn()?;
    let start = Instant::now();
    while start.elapsed() < limit {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            Err(error) => return Err(error.into()),
        }
    }
    // A process that hangs in the disk cannot be killed at once; we do not wait for it.
    let _ = child.kill();
    for _ in 0..100 {
        if matches!(child.try_wait(), Ok(Some(_))) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(ChildError::TookTooLong(limit))
}

/// A file in memory, with these bytes, at its end.
pub fn memory(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("soloist-ledger", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file)
}

/// All bytes of a file in memory, up to what a message can be.
pub fn whole(file: &mut File) -> io::Result<Vec<u8>> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(MAX_MESSAGE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The message of entries, and of what a child that checks the ledger hands over to its parent.
pub fn message(entries: &[Entry], sequence: u64) -> Vec<u8> {
    let mut message = HEADER.to_vec();
    message.extend_from_slice(&sequence.to_le_bytes());
    message.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    for (key, records) in entries {
        message.push(key.len() as u8);
        message.extend_from_slice(key);
        let place = message.len();
        message.extend_from_slice(&[0; 4]);
        records.iter().for_each(|record| encode(record, 0, &mut message));
        let length = (message.len() - place - 4) as u32;
        message[place..place + 4].copy_from_slice(&length.to_le_bytes());
    }
    let crc = crc32fast::hash(&message);
    message.extend_from_slice(&crc.to_le_bytes());
    message
}

/// Reads a [`message`]; `None` when it is not whole.
pub fn read_message(message: &[u8]) -> Option<Cached> {
    let (body, crc) = message.split_last_chunk()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let rest = body.strip_prefix(HEADER)?;
    let (sequence, rest) = rest.split_first_chunk()?;
    let (count, mut rest) = rest.split_first_chunk()?;
    let mut entries = Vec::new();
    for _ in 0..u32::from_le_bytes(*count) {
        let (&key, tail) = rest.split_first()?;
        let (key, tail) = tail.split_at_checked(key.into())?;
        let (length, tail) = tail.split_first_chunk()?;
        let (value, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        entries.push((key.to_vec(), decode_all(value)?));
        rest = tail;
    }
    rest.is_empty().then_some(Cached { entries, sequence: u64::from_le_bytes(*sequence) })
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::any_record;
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_message_comes_back_whole_or_not_at_all(
            entries in vec((vec(any::<u8>(), 0..20), vec(any_record(), 0..4)), 0..10),
            sequence: u64, at: prop::sample::Index, bit in 0..8_u32
        ) {
            let mut message = message(&entries, sequence);
            prop_assert_eq!(read_message(&message), Some(Cached { entries, sequence }));
            let at = at.index(message.len());
            prop_assert_eq!(read_message(&message[..at]), None);
            message[at] ^= 1 << bit;
            prop_assert_eq!(read_message(&message), None);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in vec(any::<u8>(), 0..200)) {
            let mut message = [HEADER.as_slice(), &bytes].concat();
            message.extend_from_slice(&crc32fast::hash(&message).to_le_bytes());
            let _ = read_message(&message);
        }
    }

    #[test]
    fn a_child_that_never_ends_is_killed() {
        let begin = Instant::now();
        let result = wait(Command::new("sleep").arg("600"), Duration::from_millis(100));
        assert!(matches!(result, Err(ChildError::TookTooLong(_))), "{result:?}");
        assert!(begin.elapsed() < Duration::from_secs(60));
        let result = wait(&mut Command::new("/nonexistent"), Duration::from_secs(1));
        assert!(matches!(result, Err(ChildError::NotStarted(_))), "{result:?}");
    }
}
