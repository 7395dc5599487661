//! Solved blocks on the card: one durable file each.
//!
//! A shell; the file format ([`encode`], [`decode`]) is pure. All calls block on the card and take
//! `&self`, so that any thread may make them; the daemon writes solved blocks on a separate thread
//! while the submit threads already run. Change the state of a block on one thread only: a change
//! reads, modifies and writes the file.
//!
//! A block stays until it is mature, and the newest [`MAX_MATURE`] mature blocks stay for the
//! page's download. A block that lost stays for ever: "lost" is only the nodes' present view, and a
//! node that was set up anew from an old copy says it as well. Each such file has cost the work of
//! a block.
//!
//! ```text
//! <data>/spool/0000900123-<hash>.block    the block
//!              0000900123-<hash>.state    its state, and the nodes' answers
//!              damaged/                   unreadable files; never deleted
//! ```
//!
//! # The block's file
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `SOLOBLK1`; the digit is the version |
//! | 8 | 4 | height, little-endian like all numbers here |
//! | 12 | 8 | when it was solved, Unix seconds |
//! | 20 | 8 | value of its coinbase, satoshi |
//! | 28 | 4 | length n of the block |
//! | 32 | n | the block as the network serialises it (BIP 144) |
//! | 32+n | m | the worker's name, UTF-8; behind it `PARTNER` where the other box of a pair solved it |
//! | 32+n+m | 32 | SHA-256 of everything before |
//!
//! If the checksum is wrong, the block may still be intact: when header, merkle root and witness
//! commitment match each other and the file's name, a node will accept the block, and it is used.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::block::{SolvedBlock, StoredState};
use crate::chain::BlockHash;
use crate::fsutil::{self, Rights};

const HEADER: &[u8; 8] = b"SOLOBLK1";
/// Stands behind the worker's name, in which no such character is: a version that does not know of it reads
/// a strange name and loses nothing.
const PARTNER: &[u8] = b"\0other box";
const HEAD: usize = 32;
const DIGEST: usize = 32;
/// More than the largest block (4,000,000 weight units) with its name.
const MAX_FILE: u64 = 5_000_000;
/// So many mature blocks are kept, the newest.
pub const MAX_MATURE: usize = 100;
/// So many answers of nodes are kept for each block, the newest.
pub const MAX_ANSWERS: usize = 100;

/// What a node said about a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// When, Unix seconds.
    pub unix: u64,
    /// The node's name.
    pub node: String,
    /// Its answer in words.
    pub answer: String,
}

/// How far a block has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Where it stands.
    #[serde(flatten)]
    pub state: StoredState,
    /// The nodes' answers, the oldest first; at most [`MAX_ANSWERS`].
    #[serde(default)]
    pub answers: Vec<Answer>,
    /// When it was solved, Unix seconds, where the clock was set after that. The block's own file is
    /// never written again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solved: Option<u64>,
}

impl Progress {
    /// Mature: nothing is left to do for it.
    pub fn is_final(&self) -> bool {
        self.state == StoredState::Mature
    }
}

/// A block of the spool and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The block.
    pub block: SolvedBlock,
    /// How far it has come.
    pub progress: Progress,
}

impl Entry {
    fn new(block: SolvedBlock, progress: Progress) -> Entry {
        let unix = progress.solved.unwrap_or(block.unix);
        Entry { block: SolvedBlock { unix, ..block }, progress }
    }
}

/// Why the spool could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The file system said so: full, read-only, or dying.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The system's words.
        source: io::Error,
    },
    /// There is no such block.
    #[error("the spool has no such block")]
    Unknown,
    /// The block's file is damaged.
    #[error("the block's file is damaged: {0}")]
    Damaged(#[from] BadBlock),
    /// [`Spool::forget`] of a block that is not mature.
    #[error("the block is not mature yet")]
    NotMature,
    /// The block given is none: its hash is not that of its header.
    #[error("the bytes are not the block of this hash")]
    WrongHash,
}

/// Why bytes are no block's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBlock {
    /// Shorter than it says: the power went before it was written.
    #[error("it is cut off")]
    Short,
    /// Another kind of file, or one of a newer Soloist.
    #[error("it is not a block's file")]
    NotABlock,
    /// The checksum is wrong, and the block in it is not whole.
    #[error("its checksum is wrong")]
    Checksum,
    /// The block is not the one of the file's name.
    #[error("it holds another block than its name says")]
    WrongHash,
}

/// The spool's directory.
#[derive(Clone, Debug)]
pub struct Spool {
    dir: PathBuf,
}

impl Spool {
    /// Opens the spool and puts it in order: a finished file that was not renamed yet is taken in,
    /// a damaged one is set aside. What was set aside is told in sentences.
    pub fn open(dir: &Path) -> Result<(Spool, Vec<String>), SpoolError> {
        fsutil::create_directory(&dir.join("damaged")).map_err(failed("create the spool"))?;
        let spool = Spool { dir: dir.to_owned() };
        let mut told = Vec::new();
        for name in spool.names()? {
            if let Some(note) = spool.tidy(&name)? {
                told.push(note);
            }
        }
        Ok((spool, told))
    }

    /// Writes a solved block. When this returns `Ok` it survives a power cut.
    pub fn write(&self, block: &SolvedBlock) -> Result<(), SpoolError> {
        if header_hash(&block.bytes) != Some(block.hash) {
            return Err(SpoolError::WrongHash);
        }
        self.put(&self.path(block.height, &block.hash, "block"), &encode(block))
            .map_err(failed("write the block"))
    }

    /// All blocks, the oldest height first. Damaged ones are left out.
    pub fn list(&self) -> Result<Vec<Entry>, SpoolError> {
        self.entries(|_| true)
    }

    /// The blocks that are not mature: to be submitted (again) or watched. The others are not read.
    pub fn pending(&self) -> Result<Vec<Entry>, SpoolError> {
        self.entries(|progress| !progress.is_final())
    }

    /// Height and hash of the mature blocks. None of them is read.
    pub fn mature(&self) -> Result<Vec<(u32, BlockHash)>, SpoolError> {
        let blocks = self.names()?.into_iter().filter_map(|name| parse_name(&name, "block"));
        Ok(blocks.filter(|(height, hash)| self.progress(*height, hash).is_final()).collect())
    }

    fn entries(&self, wanted: impl Fn(&Progress) -> bool) -> Result<Vec<Entry>, SpoolError> {
        let mut entries = Vec::new();
        for name in self.names()? {
            let Some((height, hash)) = parse_name(&name, "block") else { continue };
            let progress = self.progress(height, &hash);
            if wanted(&progress)
                && let Ok(block) = self.load(&name, &hash)
            {
                entries.push(Entry::new(block, progress));
            }
        }
        entries.sort_by_key(|entry| (entry.block.height, entry.block.unix));
        Ok(entries)
    }

    /// One block, for the download on the page.
    pub fn read(&self, hash: &BlockHash) -> Result<Entry, SpoolError> {
        let (height, name) = self.named(hash)?;
        let block = self.load(&name, hash)?;
        let progress = self.progress(height, hash);
        Ok(Entry::new(block, progress))
    }

    /// Notes where a block stands.
    pub fn mark(&self, hash: &BlockHash, state: StoredState) -> Result<(), SpoolError> {
        self.change(hash, |progress| progress.state = state)
    }

    /// Notes when a block was solved, by a clock that was set since.
    pub fn date(&self, hash: &BlockHash, unix: u64) -> Result<(), SpoolError> {
        self.change(hash, |progress| progress.solved = Some(unix))
    }

    /// Notes what a node said about a block.
    pub fn answered(&self, hash: &BlockHash, answer: Answer) -> Result<(), SpoolError> {
        self.change(hash, |progress| {
            progress.answers.push(answer);
            let spare = progress.answers.len().saturating_sub(MAX_ANSWERS);
            progress.answers.drain(..spare);
        })
    }

    /// Removes a mature block. Its record is to be on the card before: nothing else knows of it then.
    pub fn forget(&self, hash: &BlockHash) -> Result<(), SpoolError> {
        let (height, _) = self.named(hash)?;
        if !self.progress(height, hash).is_final() {
            return Err(SpoolError::NotMature);
        }
        // The block is gone for good before its state goes: a block without a state would be offered
        // to the nodes anew. A state without its block is removed by the next opening.
        let remove = |kind| fs::remove_file(self.path(height, hash, kind));
        remove("block")
            .and_then(|()| fsutil::sync_directory(&self.dir))
            .map_err(failed("remove the block"))?;
        remove("state").map_err(failed("remove the block's state"))
    }

    // -- files --

    fn path(&self, height: u32, hash: &BlockHash, kind: &str) -> PathBuf {
        self.dir.join(format!("{height:010}-{hash}.{kind}"))
    }

    fn names(&self) -> Result<Vec<String>, SpoolError> {
        let doing = "list the spool";
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed(doing))? {
            let entry = entry.map_err(failed(doing))?;
            if let Ok(name) = entry.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn named(&self, hash: &BlockHash) -> Result<(u32, String), SpoolError> {
        let names = self.names()?.into_iter();
        let mut found = names.filter_map(|name| {
            parse_name(&name, "block").filter(|(_, other)| other == hash).map(|(h, _)| (h, name))
        });
        found.next().ok_or(SpoolError::Unknown)
    }

    fn load(&self, name: &str, hash: &BlockHash) -> Result<SolvedBlock, SpoolError> {
        let path = self.dir.join(name);
        let length = fs::metadata(&path).map_err(failed("read the block"))?.len();
        if length > MAX_FILE {
            return Err(BadBlock::NotABlock.into());
        }
        let file = fs::read(&path).map_err(failed("read the block"))?;
        Ok(decode(&file, hash)?)
    }

    fn progress(&self, height: u32, hash: &BlockHash) -> Progress {
        let file = fs::read(self.path(height, hash, "state")).unwrap_or_default();
        // Without a readable state the block counts as not submitted: once more does no harm.
        read_progress(&file).unwrap_or_default()
    }

    fn change(
        &self,
        hash: &BlockHash,
        change: impl FnOnce(&mut Progress),
    ) -> Result<(), SpoolError> {
        let (height, _) = self.named(hash)?;
        let mut progress = self.progress(height, hash);
        let before = progress.clone();
        change(&mut progress);
        if progress == before && before != Progress::default() {
            return Ok(());
        }
        self.put(&self.path(height, hash, "state"), &write_progress(&progress))
            .map_err(failed("write the block's state"))
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        Ok(fsutil::replace(path, bytes, Rights::Keep(0o666))?)
    }

    /// Puts one name of the directory in order; tells if something was set aside.
    fn tidy(&self, name: &str) -> Result<Option<String>, SpoolError> {
        let (finished, is_temp) = match name.strip_suffix(".new") {
            Some(finished) => (finished, true),
            None => (name, false),
        };
        if let Some((height, hash)) = parse_name(finished, "block") {
            // What is done is not read at each start.
            if !is_temp && self.progress(height, &hash).is_final() {
                return Ok(None);
            }
            match self.load(name, &hash) {
                Ok(_) if is_temp => {
                    // Written whole, but the power went before the rename. It is not written again:
                    // until that was done there would be no copy at all.
                    let adopted = fsutil::adopt(&self.dir.join(finished)).map_err(io::Error::from);
                    adopted.map_err(failed("take in the block"))?;
                    return Ok(None);
                }
                Ok(_) => return Ok(None),
                Err(SpoolError::Damaged(why)) => return self.set_aside(name, &why.to_string()),
                // Not readable now; it stays where it is.
                Err(error) => return Ok(Some(format!("Spooled block {name}: {error}."))),
            }
        }
        if let Some((height, hash)) = parse_name(finished, "state") {
            if is_temp {
                let _ = fs::remove_file(self.dir.join(name));
                return Ok(None);
            }
            let file = fs::read(self.dir.join(name)).unwrap_or_default();
            return match read_progress(&file) {
                // The power went while the block was forgotten.
                Some(progress)
                    if progress.is_final() && !self.path(height, &hash, "block").exists() =>
                {
                    let _ = fs::remove_file(self.dir.join(name));
                    Ok(None)
                }
                Some(_) => Ok(None),
                None => self.set_aside(name, "it is no state"),
            };
        }
        Ok(None)
    }

    fn set_aside(&self, name: &str, why: &str) -> Result<Option<String>, SpoolError> {
        let damaged = self.dir.join("damaged");
        let free = (0..).map(|number| match number {
            0 => damaged.join(name),
            number => damaged.join(format!("{name}.{number}")),
        });
        let mut free = free.filter(|path| !path.exists());
        let place = free.next().expect("the numbers do not end");
        fs::rename(self.dir.join(name), &place).map_err(failed("set a damaged file aside"))?;
        fsutil::sync_directory(&self.dir).map_err(failed("set a damaged file aside"))?;
        Ok(Some(format!(
            "Spooled file {name} is damaged ({why}) and was kept as {}.",
            place.display()
        )))
    }
}

/// The bytes of a block's file.
pub fn encode(block: &SolvedBlock) -> Vec<u8> {
    let mut file = Vec::with_capacity(HEAD + block.bytes.len() + block.worker.len() + DIGEST);
    file.extend_from_slice(HEADER);
    file.extend_from_slice(&block.height.to_le_bytes());
    file.extend_from_slice(&block.unix.to_le_bytes());
    file.extend_from_slice(&block.reward.to_le_bytes());
    file.extend_from_slice(&(block.bytes.len() as u32).to_le_bytes());
    file.extend_from_slice(&block.bytes);
    file.extend(block.worker.bytes().filter(|byte| *byte != 0));
    if block.from_partner {
        file.extend_from_slice(PARTNER);
    }
    let digest = Sha256::digest(&file);
    file.extend_from_slice(&digest);
    file
}

/// Reads a block's file that is named after `hash`.
pub fn decode(file: &[u8], hash: &BlockHash) -> Result<SolvedBlock, BadBlock> {
    if !file.starts_with(HEADER) {
        return Err(if file.len() < HEADER.len() { BadBlock::Short } else { BadBlock::NotABlock });
    }
    let (head, rest) = file.split_at_checked(HEAD).ok_or(BadBlock::Short)?;
    let height = u32::from_le_bytes(head[8..12].try_into().expect("four bytes"));
    let unix = u64::from_le_bytes(head[12..20].try_into().expect("eight bytes"));
    let reward = u64::from_le_bytes(head[20..28].try_into().expect("eight bytes"));
    let length = u32::from_le_bytes(head[28..32].try_into().expect("four bytes"));
    let (bytes, rest) = rest.split_at_checked(length as usize).ok_or(BadBlock::Short)?;
    let worker = rest.len().checked_sub(DIGEST).map(|end| &rest[..end]);
    let sound = worker.is_some_and(|worker| {
        let digest = &rest[worker.len()..];
        Sha256::digest(&file[..file.len() - DIGEST]).as_slice() == digest
    });
    if header_hash(bytes) != Some(*hash) {
        return Err(if sound { BadBlock::WrongHash } else { BadBlock::Checksum });
    }
    if !sound && !is_whole(bytes) {
        return Err(BadBlock::Checksum);
    }
    let worker = worker.unwrap_or_default();
    let other = worker.strip_suffix(PARTNER);
    let (worker, from_partner) = (other.unwrap_or(worker), other.is_some());
    let worker = String::from_utf8_lossy(worker).into_owned();
    Ok(SolvedBlock {
        hash: *hash,
        height,
        unix,
        reward,
        worker,
        from_partner,
        bytes: bytes.to_vec(),
    })
}

/// Double SHA-256 of the first 80 bytes.
fn header_hash(block: &[u8]) -> Option<BlockHash> {
    let header = block.get(..80)?;
    Some(BlockHash(Sha256::digest(Sha256::digest(header)).into()))
}

/// Header, merkle root and witness commitment fit together.
fn is_whole(block: &[u8]) -> bool {
    bitcoin::consensus::deserialize::<bitcoin::Block>(block)
        .is_ok_and(|block| block.check_merkle_root() && block.check_witness_commitment())
}

/// `0000900123-<hash>.<kind>`.
fn parse_name(name: &str, kind: &str) -> Option<(u32, BlockHash)> {
    let (height, hash) = name.strip_suffix(kind)?.strip_suffix('.')?.split_once('-')?;
    Some((height.parse().ok()?, hash.parse().ok()?))
}

/// The state's file: the CRC-32 of the rest in hex, a line feed, JSON.
fn write_progress(progress: &Progress) -> Vec<u8> {
    let json = serde_json::to_vec(progress).expect("strings and numbers only");
    let mut file = format!("{:08x}\n", crc32fast::hash(&json)).into_bytes();
    file.extend_from_slice(&json);
    file
}

fn read_progress(file: &[u8]) -> Option<Progress> {
    let (crc, json) = file.split_at_checked(9)?;
    let expected = format!("{:08x}\n", crc32fast::hash(json));
    (crc == expected.as_bytes()).then(|| serde_json::from_slice(json).ok())?
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> SpoolError {
    move |source| SpoolError::Io { doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn block(bytes: Vec<u8>, worker: &str) -> SolvedBlock {
        let hash = header_hash(&bytes).unwrap();
        SolvedBlock {
            hash,
            height: 7,
            unix: 8,
            reward: 9,
            worker: worker.into(),
            from_partner: false,
            bytes,
        }
    }

    fn genesis() -> SolvedBlock {
        let block_ = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin);
        block(bitcoin::consensus::serialize(&block_), "garage")
    }

    proptest! {
        #[test]
        fn a_block_comes_back_and_damage_is_seen(
            bytes in vec(any::<u8>(), 80..500), worker in "[^\0]{0,20}", from_partner: bool,
            at: prop::sample::Index, bit in 0..8_u32
        ) {
            let block = SolvedBlock { from_partner, ..block(bytes, &worker) };
            let mut file = encode(&block);
            prop_assert_eq!(decode(&file, &block.hash), Ok(block.clone()));
            let at = at.index(file.len());
            prop_assert!(decode(&file[..at], &block.hash).is_err());
            file[at] ^= 1 << bit;
            // Random bytes are no block that could be saved by itself.
            prop_assert!(decode(&file, &block.hash).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..300)) {
            let hash = BlockHash([0; 32]);
            let _ = decode(&bytes, &hash);
            let _ = decode(&[HEADER.as_slice(), &bytes].concat(), &hash);
            let _ = read_progress(&bytes);
        }
    }

    #[test]
    fn a_whole_block_is_saved_from_a_damaged_file() {
        let block = genesis();
        let good = encode(&block);
        let mut saved = 0;
        for at in 0..good.len() {
            let mut file = good.clone();
            file[at] ^= 0x10;
            match decode(&file, &block.hash) {
                Ok(read) => {
                    assert_eq!(read.bytes, block.bytes, "byte {at}");
                    saved += 1;
                }
                Err(_) => assert!(at < HEAD || at < HEAD + block.bytes.len()),
            }
        }
        // Height, time, reward, name and checksum may break; magic, length and block may not.
        assert_eq!(saved, 20 + "garage".len() + DIGEST);
    }
}
