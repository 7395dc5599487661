//! The other side of Stratum V2: what a miner says, and the headers that it makes of what it is told. For
//! the canary and for tests.
//!
//! ```text
//! SetupConnection ─► Success ─► Open…Channel ─► Success ─► a job and SetNewPrevHash ─► Task
//! ```
//!
//! It reads by [`super::describe`], not by the functions that write what it reads, and makes its headers
//! from the messages alone. It rolls a version bit, as the firmwares do. Pure.

use crate::difficulty::Target;
use crate::hash;

use super::channel::ChannelKind;
use super::describe::{Description, Value, describe};
use super::frame::{self, Frame};
use super::message::{MINING, VERSION, flag, kind};

/// The version bit that it rolls: one of those that BIP 320 gives to miners.
const ROLLED: u32 = 1 << 13;

/// Bytes of extranonce that it asks for on an extended channel: as many as ESP-Miner 2.15 does.
const EXTRANONCE: u16 = 2;

/// Who the miner is.
#[derive(Clone, Debug)]
pub struct Login {
    /// The kind of channel that it opens.
    pub kind: ChannelKind,
    /// Its user, with the port's password after a comma if there is one. At most 255 bytes, as all texts.
    pub user: String,
    /// Who made it.
    pub vendor: String,
    /// Its version.
    pub firmware: String,
    /// Hashes a second that it says it makes.
    pub hashrate: f32,
}

/// A miner with one channel.
#[derive(Debug)]
pub struct Miner {
    login: Login,
    channel: Option<Channel>,
    /// The job that a SetNewPrevHash may begin.
    announced: Option<Job>,
    prev: Option<Prev>,
    sequence: u32,
}

/// The channel as it was opened.
#[derive(Debug)]
struct Channel {
    number: u32,
    target: Target,
    /// The pool's part of the extranonce, and zeros in place of ours.
    extranonce: Vec<u8>,
    /// Bytes of ours at its end.
    own: usize,
}

/// A job without what stands in SetNewPrevHash.
#[derive(Clone, Copy, Debug)]
struct Job {
    id: u32,
    version: u32,
    root: [u8; 32],
    target: Target,
}

#[derive(Clone, Copy, Debug)]
struct Prev {
    hash: [u8; 32],
    bits: u32,
}

/// A header that waits for a nonce.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Task {
    /// The header, with nonce 0.
    pub header: [u8; 80],
    /// What its hash has to meet.
    pub target: Target,
    job: u32,
    ntime: u32,
    version: u32,
}

/// What the miner learned from a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// Nothing to act on.
    Nothing,
    /// Work, in the place of what it had before.
    Task(Task),
    /// The share of this number counts, and all before it.
    Counts(u32),
}

/// Why it is no miner of this pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwanted {
    /// The pool refuses the connection, the channel or a share, by this message.
    #[error("{0}")]
    Refused(String),
    /// A message cannot be read, or says what makes no sense; this one.
    #[error("{0} cannot be read")]
    Unreadable(String),
}

impl Miner {
    /// A miner, which says its first words.
    pub fn new(login: Login, out: &mut Vec<u8>) -> Miner {
        let flags = match login.kind {
            ChannelKind::Standard => flag::REQUIRES_STANDARD_JOBS,
            ChannelKind::Extended => 0,
        };
        frame::write(out, kind::SETUP_CONNECTION, false, |out| {
            out.push(MINING);
            [VERSION, VERSION].iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
            out.extend_from_slice(&flags.to_le_bytes());
            text(out, "");
            out.extend_from_slice(&0u16.to_le_bytes());
            [&login.vendor, "", &login.firmware, ""].iter().for_each(|words| text(out, words));
        });
        Miner { login, channel: None, announced: None, prev: None, sequence: 0 }
    }

    /// Takes a message of the pool; what the miner answers is appended to `out`.
    ///
    /// # Errors
    /// The pool does not want it, or is none.
    pub fn hear(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<Heard, Unwanted> {
        let said = describe(frame);
        match frame.kind {
            _ if frame.extension != 0 => Ok(Heard::Nothing),
            kind::SETUP_CONNECTION_ERROR
            | kind::OPEN_MINING_CHANNEL_ERROR
            | kind::SUBMIT_SHARES_ERROR
            | kind::CLOSE_CHANNEL => Err(Unwanted::Refused(said.to_string())),
            _ => self
                .take(frame.kind, &said, out)
                .ok_or_else(|| Unwanted::Unreadable(said.name.unwrap_or("a message").to_owned())),
        }
    }

    /// Submits a share of a task.
    pub fn submit(&mut self, task: &Task, nonce: u32, out: &mut Vec<u8>) {
        let Some(channel) = &self.channel else { return };
        let kind = match self.login.kind {
            ChannelKind::Standard => kind::SUBMIT_SHARES_STANDARD,
            ChannelKind::Extended => kind::SUBMIT_SHARES_EXTENDED,
        };
        let numbers = [channel.number, self.sequence, task.job, nonce, task.ntime, task.version];
        self.sequence += 1;
        frame::write(out, kind, true, |out| {
            numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
            if self.login.kind == ChannelKind::Extended {
                let own = &channel.extranonce[channel.extranonce.len() - channel.own..];
                short(out, own);
            }
        });
    }

    /// `None` for a message that cannot be read.
    fn take(&mut self, kind: u8, said: &Description<'_>, out: &mut Vec<u8>) -> Option<Heard> {
        match kind {
            kind::SETUP_CONNECTION_SUCCESS => {
                self.open(out);
                Some(Heard::Nothing)
            }
            kind::OPEN_STANDARD_MINING_CHANNEL_SUCCESS
            | kind::OPEN_EXTENDED_MINING_CHANNEL_SUCCESS => {
                self.channel = Some(opened(said)?);
                Some(Heard::Nothing)
            }
            kind::SET_TARGET => {
                self.channel.as_mut()?.target = target(said, "maximum_target")?;
                Some(Heard::Nothing)
            }
            kind::NEW_MINING_JOB | kind::NEW_EXTENDED_MINING_JOB => self.job(said),
            kind::SET_NEW_PREV_HASH => {
                let hash = *said.bytes("prev_hash")?.first_chunk()?;
                let prev = Prev { hash, bits: said.number("nbits")? };
                self.prev = Some(prev);
                let (id, ntime) = (said.number("job_id")?, said.number("min_ntime")?);
                // One that was not announced before is a fault of the pool.
                let job = self.announced.filter(|job| job.id == id)?;
                Some(Heard::Task(task(&job, &prev, ntime)))
            }
            kind::SUBMIT_SHARES_SUCCESS => {
                Some(Heard::Counts(said.number("last_sequence_number")?))
            }
            _ => Some(Heard::Nothing),
        }
    }

    fn open(&self, out: &mut Vec<u8>) {
        let kind = match self.login.kind {
            ChannelKind::Standard => kind::OPEN_STANDARD_MINING_CHANNEL,
            ChannelKind::Extended => kind::OPEN_EXTENDED_MINING_CHANNEL,
        };
        frame::write(out, kind, false, |out| {
            out.extend_from_slice(&1u32.to_le_bytes());
            text(out, &self.login.user);
            out.extend_from_slice(&self.login.hashrate.to_le_bytes());
            out.extend_from_slice(&[0xff; 32]);
            if self.login.kind == ChannelKind::Extended {
                out.extend_from_slice(&EXTRANONCE.to_le_bytes());
            }
        });
    }

    fn job(&mut self, said: &Description<'_>) -> Option<Heard> {
        let channel = self.channel.as_ref()?;
        let root = match said.bytes("merkle_root") {
            Some(root) => *root.first_chunk()?,
            None => channel.root(said)?,
        };
        let version = said.number("version")? ^ ROLLED;
        let job = Job { id: said.number("job_id")?, version, root, target: channel.target };
        let Value::Option(ntime) = said.field("min_ntime")? else { return None };
        match ntime {
            None => {
                self.announced = Some(job);
                Some(Heard::Nothing)
            }
            Some(ntime) => Some(Heard::Task(task(&job, self.prev.as_ref()?, *ntime))),
        }
    }
}

impl Channel {
    /// The merkle root of an extended job.
    fn root(&self, said: &Description<'_>) -> Option<[u8; 32]> {
        let (prefix, suffix) =
            (said.bytes("coinbase_tx_prefix")?, said.bytes("coinbase_tx_suffix")?);
        let Value::Hashes(path) = said.field("merkle_path")? else { return None };
        let path: Vec<[u8; 32]> = path.iter().map(|hash| **hash).collect();
        let coinbase = [prefix, &self.extranonce, suffix].concat();
        Some(hash::branch_root(&hash::sha256d(&coinbase), &path))
    }
}

fn opened(said: &Description<'_>) -> Option<Channel> {
    let own = usize::try_from(said.number("extranonce_size").unwrap_or(0)).ok()?;
    let mut extranonce = said.bytes("extranonce_prefix")?.to_vec();
    // More than 32 bytes would be against the specification.
    if extranonce.len() + own > 32 {
        return None;
    }
    extranonce.resize(extranonce.len() + own, 0);
    let (number, target) = (said.number("channel_id")?, target(said, "target")?);
    Some(Channel { number, target, extranonce, own })
}

fn target(said: &Description<'_>, field: &str) -> Option<Target> {
    Some(Target::from_le_bytes(said.bytes(field)?.first_chunk()?))
}

fn task(job: &Job, prev: &Prev, ntime: u32) -> Task {
    let mut header = [0; 80];
    header[..4].copy_from_slice(&job.version.to_le_bytes());
    header[4..36].copy_from_slice(&prev.hash);
    header[36..68].copy_from_slice(&job.root);
    header[68..72].copy_from_slice(&ntime.to_le_bytes());
    header[72..76].copy_from_slice(&prev.bits.to_le_bytes());
    Task { header, target: job.target, job: job.id, ntime, version: job.version }
}

/// Text; what is longer than 255 bytes is cut.
fn text(out: &mut Vec<u8>, words: &str) {
    short(out, &words.as_bytes()[..words.len().min(255)]);
}

fn short(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::super::message::{self, JobHead, Opened};
    use super::*;
    use crate::difficulty::Difficulty;
    use crate::job::JobId;

    fn login(kind: ChannelKind) -> Login {
        let (user, vendor) = ("anna".to_owned(), "nobody".to_owned());
        Login { kind, user, vendor, firmware: "v1".to_owned(), hashrate: 1e6 }
    }

    /// What it makes of the pool's messages, one after the other.
    fn hear(miner: &mut Miner, bytes: &[u8], out: &mut Vec<u8>) -> Vec<Result<Heard, Unwanted>> {
        let (mut frames, mut heard) = (bytes, Vec::new());
        while let Some(frame) = frame::next(&mut frames) {
            heard.push(miner.hear(&frame, out));
        }
        heard
    }

    fn said(bytes: &[u8]) -> String {
        describe(&frame::next(&mut &bytes[..]).unwrap()).to_string()
    }

    #[test]
    fn it_says_what_firmwares_say() {
        let mut out = Vec::new();
        Miner::new(login(ChannelKind::Standard), &mut out);
        assert_eq!(
            said(&out),
            "SetupConnection protocol=0 min_version=2 max_version=2 flags=0x00000001 \
             endpoint_host=\"\" endpoint_port=0 vendor=\"nobody\" hardware_version=\"\" \
             firmware=\"v1\" device_id=\"\""
        );
        out.clear();
        let mut miner = Miner::new(login(ChannelKind::Extended), &mut Vec::new());
        let mut success = Vec::new();
        message::setup_success(&mut success);
        hear(&mut miner, &success, &mut out);
        assert_eq!(
            said(&out),
            format!(
                "OpenExtendedMiningChannel request_id=1 user_identity=\"anna\" \
                 nominal_hash_rate=1e6 max_target={} (difficulty 2.3e-10) min_extranonce_size=2",
                "ff".repeat(32)
            )
        );
    }

    /// The first block of all, as a pool would hand it out.
    #[test]
    fn the_header_is_that_of_the_first_block() {
        let coinbase = bytes_of(
            "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04\
             ffff001d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e20\
             6272696e6b206f66207365636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01\
             000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4c\
             ef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000",
        );
        // Four bytes of the pool's, and none of ours: what stands there is not zero.
        let (first, rest) = coinbase.split_at(42);
        let (prefix, last) = rest.split_at(4);
        let root = hash::sha256d(&coinbase);
        for kind in [ChannelKind::Standard, ChannelKind::Extended] {
            let mut miner = Miner::new(login(kind), &mut Vec::new());
            let mut told = Vec::new();
            let extranonce = (kind == ChannelKind::Extended).then_some(0);
            let level = Difficulty(1.0);
            let opened = Opened { request: 1, channel: 1, group: 0, level, prefix, extranonce };
            message::opened(&mut told, &opened);
            let head = JobHead { channel: 1, job: JobId(5), ntime: None, version: 1 ^ ROLLED };
            match kind {
                ChannelKind::Standard => message::new_job(&mut told, &head, &root),
                ChannelKind::Extended => {
                    message::new_extended_job(&mut told, &head, &[], (first, last));
                }
            }
            let rest = (0x495f_ab29, 0x1d00_ffff);
            message::set_new_prev_hash(&mut told, 1, JobId(5), &[0; 32], rest);
            let heard = hear(&mut miner, &told, &mut Vec::new());
            let Ok(Heard::Task(task)) = &heard[2] else { panic!("{heard:?}") };
            let mut header = task.header;
            header[76..].copy_from_slice(&2_083_236_893u32.to_le_bytes());
            let hash = crate::chain::BlockHash(hash::sha256d(&header));
            assert_eq!(
                hash.to_string(),
                "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
            );
            assert!(task.target.is_met_by(&hash));
            let mut out = Vec::new();
            miner.submit(task, 2_083_236_893, &mut out);
            let name = said(&out);
            assert!(name.contains("sequence_number=0 job_id=5 nonce=0x7c2bac1d"), "{name}");
            // A new target is for the next job.
            let mut told = Vec::new();
            message::set_target(&mut told, 1, Difficulty(512.0));
            message::new_job(&mut told, &JobHead { ntime: Some(9), ..head }, &root);
            let heard = hear(&mut miner, &told, &mut Vec::new());
            let Ok(Heard::Task(next)) = &heard[1] else { panic!("{heard:?}") };
            assert_eq!((next.ntime, next.target.difficulty().0.round()), (9, 512.0));
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_failure_and_no_panic() {
        let fresh = || Miner::new(login(ChannelKind::Extended), &mut Vec::new());
        let mut bytes = Vec::new();
        message::set_target(&mut bytes, 1, Difficulty(1.0));
        let head = JobHead { channel: 1, job: JobId(5), ntime: Some(7), version: 1 };
        message::new_job(&mut bytes, &head, &[0; 32]);
        message::set_new_prev_hash(&mut bytes, 1, JobId(5), &[0; 32], (1, 2));
        let opened = Opened {
            request: 1,
            channel: 1,
            group: 0,
            level: Difficulty(1.0),
            prefix: &[0; 4],
            extranonce: Some(u16::MAX),
        };
        message::opened(&mut bytes, &opened);
        for heard in hear(&mut fresh(), &bytes, &mut Vec::new()) {
            assert!(matches!(heard, Err(Unwanted::Unreadable(_))), "{heard:?}");
        }
        let mut bytes = Vec::new();
        message::setup_error(&mut bytes, 2, "unsupported-feature-flags");
        message::open_error(&mut bytes, 1, "unknown-user");
        message::submit_error(&mut bytes, 1, 0, "stale-share");
        for heard in hear(&mut fresh(), &bytes, &mut Vec::new()) {
            assert!(matches!(heard, Err(Unwanted::Refused(_))), "{heard:?}");
        }
        // Without a channel nothing can be submitted.
        let task = Task { header: [0; 80], target: Target::MAX, job: 1, ntime: 1, version: 1 };
        let mut out = Vec::new();
        fresh().submit(&task, 1, &mut out);
        assert!(out.is_empty());
    }

    fn bytes_of(hex: &str) -> Vec<u8> {
        let mut bytes = vec![0; hex.len() / 2];
        faster_hex::hex_decode(hex.as_bytes(), &mut bytes).unwrap();
        bytes
    }
}
