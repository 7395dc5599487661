//! The messages of Stratum V2 that a miner and a pool exchange: [`parse`] reads a miner's, the other
//! functions append one frame each to a buffer.
//!
//! Everything borrows from the frame: a share allocates nothing. What follows on a message's last field
//! is ignored, as the specification wants it of versions to come. All numbers are little-endian; 32
//! bytes of a hash stand in the order in which they stand in a block's header, 32 bytes of a target are
//! a number, little-endian.
//!
//! Source: the Stratum V2 specification, chapters 3 (Protocol Overview) and 5 (Mining Protocol).

use std::borrow::Cow;

use crate::difficulty::{Difficulty, Target};
use crate::job::JobId;

use super::frame::{self, Frame};

/// Message types.
pub mod kind {
    #![allow(missing_docs)] // The names are the specification's.
    pub const SETUP_CONNECTION: u8 = 0x00;
    pub const SETUP_CONNECTION_SUCCESS: u8 = 0x01;
    pub const SETUP_CONNECTION_ERROR: u8 = 0x02;
    pub const OPEN_STANDARD_MINING_CHANNEL: u8 = 0x10;
    pub const OPEN_STANDARD_MINING_CHANNEL_SUCCESS: u8 = 0x11;
    pub const OPEN_MINING_CHANNEL_ERROR: u8 = 0x12;
    pub const OPEN_EXTENDED_MINING_CHANNEL: u8 = 0x13;
    pub const OPEN_EXTENDED_MINING_CHANNEL_SUCCESS: u8 = 0x14;
    pub const NEW_MINING_JOB: u8 = 0x15;
    pub const UPDATE_CHANNEL: u8 = 0x16;
    pub const UPDATE_CHANNEL_ERROR: u8 = 0x17;
    pub const CLOSE_CHANNEL: u8 = 0x18;
    pub const SUBMIT_SHARES_STANDARD: u8 = 0x1a;
    pub const SUBMIT_SHARES_EXTENDED: u8 = 0x1b;
    pub const SUBMIT_SHARES_SUCCESS: u8 = 0x1c;
    pub const SUBMIT_SHARES_ERROR: u8 = 0x1d;
    pub const NEW_EXTENDED_MINING_JOB: u8 = 0x1f;
    pub const SET_NEW_PREV_HASH: u8 = 0x20;
    pub const SET_TARGET: u8 = 0x21;
    pub const SET_CUSTOM_MINING_JOB: u8 = 0x22;
    pub const SET_CUSTOM_MINING_JOB_ERROR: u8 = 0x24;
}

/// The protocol that a connection is for: 0 is mining.
pub const MINING: u8 = 0;

/// The only version of the protocol.
pub const VERSION: u16 = 2;

/// Flags of SetupConnection.
pub mod flag {
    /// The miner understands no extended jobs.
    pub const REQUIRES_STANDARD_JOBS: u32 = 1 << 0;
    /// The miner wants to choose its transactions itself.
    pub const REQUIRES_WORK_SELECTION: u32 = 1 << 1;
    /// The miner wants to roll version bits.
    pub const REQUIRES_VERSION_ROLLING: u32 = 1 << 2;
}

/// What a miner says.
#[derive(Clone, Debug, PartialEq)]
pub enum Message<'a> {
    /// Who it is: the first message.
    SetupConnection(Setup<'a>),
    /// A channel is to be opened.
    OpenChannel(Open<'a>),
    /// A channel's hashrate or its easiest target is another one now.
    UpdateChannel(Update),
    /// A channel is at its end.
    CloseChannel {
        /// Which.
        channel: u32,
    },
    /// A share.
    Submit(Submit<'a>),
    /// A job of the miner's own, which we do not do.
    CustomJob {
        /// On which channel.
        channel: u32,
        /// The request's number.
        request: u32,
    },
    /// Any other, of whatever extension. It is ignored.
    Unknown,
}

/// SetupConnection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup<'a> {
    /// [`MINING`], or another protocol.
    pub protocol: u8,
    /// The oldest version that the miner speaks.
    pub min_version: u16,
    /// The newest.
    pub max_version: u16,
    /// See [`flag`].
    pub flags: u32,
    /// Who made the miner, or its program: ESP-Miner says `bitaxe`, NerdQAxe+ its model.
    pub vendor: Cow<'a, str>,
    /// The chip, as both say it.
    pub hardware: Cow<'a, str>,
    /// The firmware's version; both say nothing.
    pub firmware: Cow<'a, str>,
}

/// OpenStandardMiningChannel or OpenExtendedMiningChannel.
#[derive(Clone, Debug, PartialEq)]
pub struct Open<'a> {
    /// The number of the request, for the answer.
    pub request: u32,
    /// The worker's name.
    pub user: Cow<'a, str>,
    /// Hashes a second that the miner says it makes.
    pub hashrate: f32,
    /// The difficulty of the easiest target that it takes.
    pub least: Difficulty,
    /// Bytes of extranonce that it wants to have for itself; `None` for a standard channel, which has
    /// none.
    pub extranonce: Option<u16>,
}

/// UpdateChannel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// Which channel.
    pub channel: u32,
    /// See [`Open::hashrate`].
    pub hashrate: f32,
    /// See [`Open::least`].
    pub least: Difficulty,
}

/// SubmitSharesStandard or SubmitSharesExtended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submit<'a> {
    /// On which channel.
    pub channel: u32,
    /// The miner's number of the share, for the answer.
    pub sequence: u32,
    /// The job.
    pub job: JobId,
    /// The header's nonce.
    pub nonce: u32,
    /// The header's time.
    pub ntime: u32,
    /// The header's version, all of it.
    pub version: u32,
    /// The miner's part of the extranonce; `None` on a standard channel.
    pub extranonce: Option<&'a [u8]>,
}

/// A message is shorter than its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of type {0:#04x} is too short")]
pub struct TooShort(pub u8);

/// Reads a miner's frame.
///
/// # Errors
/// [`TooShort`], if a field is missing.
pub fn parse<'a>(frame: &Frame<'a>) -> Result<Message<'a>, TooShort> {
    if frame.extension != 0 {
        return Ok(Message::Unknown);
    }
    read(frame.kind, Fields(frame.payload)).ok_or(TooShort(frame.kind))
}

fn read<'a>(kind: u8, mut fields: Fields<'a>) -> Option<Message<'a>> {
    Some(match kind {
        kind::SUBMIT_SHARES_STANDARD | kind::SUBMIT_SHARES_EXTENDED => Message::Submit(Submit {
            channel: fields.u32()?,
            sequence: fields.u32()?,
            job: JobId(fields.u32()?),
            nonce: fields.u32()?,
            ntime: fields.u32()?,
            version: fields.u32()?,
            extranonce: match kind {
                kind::SUBMIT_SHARES_EXTENDED => Some(fields.short()?),
                _ => None,
            },
        }),
        kind::SETUP_CONNECTION => {
            let protocol = fields.bytes::<1>()?[0];
            let (min_version, max_version) = (fields.u16()?, fields.u16()?);
            let flags = fields.u32()?;
            let (_host, _port) = (fields.text()?, fields.u16()?);
            let (vendor, hardware, firmware) = (fields.text()?, fields.text()?, fields.text()?);
            let _device = fields.text()?;
            let setup =
                Setup { protocol, min_version, max_version, flags, vendor, hardware, firmware };
            Message::SetupConnection(setup)
        }
        kind::OPEN_STANDARD_MINING_CHANNEL | kind::OPEN_EXTENDED_MINING_CHANNEL => {
            Message::OpenChannel(Open {
                request: fields.u32()?,
                user: fields.text()?,
                hashrate: fields.f32()?,
                least: Target::from_le_bytes(fields.bytes()?).difficulty(),
                extranonce: match kind {
                    kind::OPEN_EXTENDED_MINING_CHANNEL => Some(fields.u16()?),
                    _ => None,
                },
            })
        }
        kind::UPDATE_CHANNEL => Message::UpdateChannel(Update {
            channel: fields.u32()?,
            hashrate: fields.f32()?,
            least: Target::from_le_bytes(fields.bytes()?).difficulty(),
        }),
        kind::CLOSE_CHANNEL => Message::CloseChannel { channel: fields.u32()? },
        kind::SET_CUSTOM_MINING_JOB => {
            Message::CustomJob { channel: fields.u32()?, request: fields.u32()? }
        }
        _ => Message::Unknown,
    })
}

/// The fields of a message, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes().copied().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes().copied().map(u32::from_le_bytes)
    }

    fn f32(&mut self) -> Option<f32> {
        self.bytes().copied().map(f32::from_le_bytes)
    }

    /// At most 255 bytes, after their number (STR0_255, B0_32).
    fn short(&mut self) -> Option<&'a [u8]> {
        let [length] = *self.bytes()?;
        let (bytes, rest) = self.0.split_at_checked(length.into())?;
        self.0 = rest;
        Some(bytes)
    }

    /// Text, which need not be UTF-8.
    fn text(&mut self) -> Option<Cow<'a, str>> {
        self.short().map(crate::stratum::frame::text)
    }
}

/// SetupConnection.Success: nothing that a miner can ask for is refused, so there are no flags.
pub fn setup_success(out: &mut Vec<u8>) {
    frame::write(out, kind::SETUP_CONNECTION_SUCCESS, false, |out| {
        out.extend_from_slice(&VERSION.to_le_bytes());
        u32s(out, &[0]);
    });
}

/// SetupConnection.Error. `flags` are those that we do not have, if that is why.
pub fn setup_error(out: &mut Vec<u8>, flags: u32, code: &str) {
    frame::write(out, kind::SETUP_CONNECTION_ERROR, false, |out| {
        u32s(out, &[flags]);
        short(out, code.as_bytes());
    });
}

/// What a channel is told when it is open.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// The number of the request.
    pub request: u32,
    /// The channel's number.
    pub channel: u32,
    /// The number of a group that the channel belongs to; jobs are never sent to a group.
    pub group: u32,
    /// The first difficulty.
    pub level: Difficulty,
    /// Our part of the extranonce.
    pub prefix: &'a [u8],
    /// Bytes of extranonce that are the miner's; `None` for a standard channel.
    pub extranonce: Option<u16>,
}

/// OpenStandardMiningChannel.Success or OpenExtendedMiningChannel.Success.
pub fn opened(out: &mut Vec<u8>, opened: &Opened<'_>) {
    let kind = match opened.extranonce {
        None => kind::OPEN_STANDARD_MINING_CHANNEL_SUCCESS,
        Some(_) => kind::OPEN_EXTENDED_MINING_CHANNEL_SUCCESS,
    };
    frame::write(out, kind, false, |out| {
        u32s(out, &[opened.request, opened.channel]);
        out.extend_from_slice(&target(opened.level));
        if let Some(size) = opened.extranonce {
            out.extend_from_slice(&size.to_le_bytes());
        }
        short(out, opened.prefix);
        u32s(out, &[opened.group]);
    });
}

/// OpenMiningChannel.Error.
pub fn open_error(out: &mut Vec<u8>, request: u32, code: &str) {
    frame::write(out, kind::OPEN_MINING_CHANNEL_ERROR, false, |out| {
        u32s(out, &[request]);
        short(out, code.as_bytes());
    });
}

/// UpdateChannel.Error.
pub fn update_error(out: &mut Vec<u8>, channel: u32, code: &str) {
    frame::write(out, kind::UPDATE_CHANNEL_ERROR, true, |out| {
        u32s(out, &[channel]);
        short(out, code.as_bytes());
    });
}

/// CloseChannel, for a reason in words.
pub fn close_channel(out: &mut Vec<u8>, channel: u32, why: &str) {
    frame::write(out, kind::CLOSE_CHANNEL, true, |out| {
        u32s(out, &[channel]);
        short(out, why.as_bytes());
    });
}

/// SetCustomMiningJob.Error.
pub fn custom_job_error(out: &mut Vec<u8>, channel: u32, request: u32, code: &str) {
    frame::write(out, kind::SET_CUSTOM_MINING_JOB_ERROR, true, |out| {
        u32s(out, &[channel, request]);
        short(out, code.as_bytes());
    });
}

/// The head of a job, as both kinds of channels have it. A job for a new tip is announced without a
/// time, and begins with [`set_new_prev_hash`].
#[derive(Clone, Copy, Debug)]
pub struct JobHead {
    /// On which channel.
    pub channel: u32,
    /// The job.
    pub job: JobId,
    /// The header's time, if the job is for the present tip. Never 0: firmwares take that for none.
    pub ntime: Option<u32>,
    /// The header's version before any bit is rolled.
    pub version: u32,
}

impl JobHead {
    fn write(&self, out: &mut Vec<u8>) {
        u32s(out, &[self.channel, self.job.0]);
        match self.ntime {
            None => out.push(0),
            Some(ntime) => {
                out.push(1);
                u32s(out, &[ntime]);
            }
        }
        u32s(out, &[self.version]);
    }
}

/// NewMiningJob, for a standard channel.
pub fn new_job(out: &mut Vec<u8>, head: &JobHead, merkle_root: &[u8; 32]) {
    frame::write(out, kind::NEW_MINING_JOB, true, |out| {
        head.write(out);
        out.extend_from_slice(merkle_root);
    });
}

/// NewExtendedMiningJob. Version rolling is always allowed: firmwares roll without looking.
///
/// `branch` has at most 255 hashes; a template has at most 15.
pub fn new_extended_job(
    out: &mut Vec<u8>,
    head: &JobHead,
    branch: &[[u8; 32]],
    (coinbase1, coinbase2): (&[u8], &[u8]),
) {
    frame::write(out, kind::NEW_EXTENDED_MINING_JOB, true, |out| {
        head.write(out);
        out.extend_from_slice(&[1, branch.len() as u8]);
        branch.iter().for_each(|hash| out.extend_from_slice(hash));
        for half in [coinbase1, coinbase2] {
            out.extend_from_slice(&(half.len() as u16).to_le_bytes());
            out.extend_from_slice(half);
        }
    });
}

/// SetNewPrevHash: the job that was announced is to be worked on at once, and all before are stale.
pub fn set_new_prev_hash(
    out: &mut Vec<u8>,
    channel: u32,
    job: JobId,
    prev: &[u8; 32],
    (ntime, bits): (u32, u32),
) {
    frame::write(out, kind::SET_NEW_PREV_HASH, true, |out| {
        u32s(out, &[channel, job.0]);
        out.extend_from_slice(prev);
        u32s(out, &[ntime, bits]);
    });
}

/// SetTarget: holds for the jobs that come after it.
pub fn set_target(out: &mut Vec<u8>, channel: u32, level: Difficulty) {
    frame::write(out, kind::SET_TARGET, true, |out| {
        u32s(out, &[channel]);
        out.extend_from_slice(&target(level));
    });
}

/// SubmitShares.Success: `count` shares up to this one, worth `sum` together.
pub fn submit_success(out: &mut Vec<u8>, channel: u32, last: u32, count: u32, sum: u64) {
    frame::write(out, kind::SUBMIT_SHARES_SUCCESS, true, |out| {
        u32s(out, &[channel, last, count]);
        out.extend_from_slice(&sum.to_le_bytes());
    });
}

/// SubmitShares.Error.
pub fn submit_error(out: &mut Vec<u8>, channel: u32, sequence: u32, code: &str) {
    frame::write(out, kind::SUBMIT_SHARES_ERROR, true, |out| {
        u32s(out, &[channel, sequence]);
        short(out, code.as_bytes());
    });
}

fn u32s(out: &mut Vec<u8>, numbers: &[u32]) {
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
}

/// At most 255 bytes, after their number. Ours are constants, and shorter.
fn short(out: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(bytes.len() <= 255);
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}

/// A difficulty as a target, rounded down to its upper 48 bits.
///
/// NerdQAxe+ and ESP-Miner before 2.15 make a whole number of a target again, in floating point and
/// rounded down: of the target of 1000 as it is they may make 999, and send shares that do not count.
/// With 48 bits they get the number that was meant.
fn target(level: Difficulty) -> [u8; 32] {
    let mut target = Target::from_difficulty(level).to_le_bytes();
    let top = target.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    target[..(top + 1).saturating_sub(6)].fill(0);
    target
}
