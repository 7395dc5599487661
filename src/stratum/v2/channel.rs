//! A channel of Stratum V2: what its messages ask of its session, and the frames that a job takes.
//!
//! A job for a new tip is announced first and then begun by SetNewPrevHash; on the same tip it is begun
//! as it comes. A new difficulty always stands directly before the job that it is for: ESP-Miner applies
//! it with the next job, NerdQAxe+ at once.
//!
//! A standard channel has no extranonce: its miner gets the merkle root, which is kept, so that a share
//! costs the hash of its header and no more.

use std::collections::VecDeque;

use serde::Serialize;

use crate::chain::BlockHash;
use crate::coinbase::EXTRANONCE_SIZE;
use crate::difficulty::{Difficulty, HASHES_PER_DIFFICULTY};
use crate::ids::ConnId;
use crate::job::JobId;
use crate::reject::{Fault, Reject};
use crate::share::RolledVersion;
use crate::stratum::firmware::Class;
use crate::stratum::outbox::{Outbox, Output};
use crate::stratum::session::{Context, Front, Handout, Identity, Phase, Rules, Sent, Session};

use super::message::{self, JobHead, Open, Opened, Submit, Update};

/// Merkle roots that a standard channel keeps. A share for an older job costs a few hashes more.
const KEPT_ROOTS: usize = 8;

/// Bytes of our part of the extranonce on an extended channel.
const PREFIX: usize = 4;

/// Hashes a second that ESP-Miner and NerdQAxe+ say they make, whatever they are.
const SAID_BY_ALL: f32 = 1e12;

/// The specification's codes for what [`Open`] and [`Update`] share.
const TARGET: &str = "max-target-out-of-range";
const HASHRATE: &str = "invalid-nominal-hashrate";

/// The number of the group that all channels of a connection are in. None of ours is sent to it.
const GROUP: u32 = 0;

/// What a miner gets to work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    /// Headers.
    Standard,
    /// Coinbase and merkle branch: it makes the headers itself.
    Extended,
}

/// See the module's description.
#[derive(Debug)]
pub(in crate::stratum) struct Channel {
    /// See [`number_of`].
    number: u32,
    /// The request that is to be answered with the first job.
    request: Option<u32>,
    kind: Kind,
    /// The block that its present job builds on.
    prev: Option<BlockHash>,
    /// Shares that count and are not answered yet.
    counted: Counted,
}

#[derive(Debug)]
enum Kind {
    Standard {
        /// The merkle roots of its latest jobs.
        roots: VecDeque<(JobId, [u8; 32])>,
    },
    Extended,
}

/// Shares for one SubmitShares.Success.
#[derive(Debug, Default)]
struct Counted {
    last: u32,
    count: u32,
    sum: f64,
}

/// The number by which a channel is called on its connection: from 1, because 0 is the [`GROUP`]'s.
pub(crate) fn number_of(channel: ConnId) -> u32 {
    channel.channel() + 1
}

/// The channel of a connection that is called by this number; `None` if none can be.
pub(crate) fn numbered(conn: ConnId, number: u32) -> Option<ConnId> {
    Some(conn.with_channel(u16::try_from(number.checked_sub(1)?).ok()?))
}

impl Channel {
    /// Its kind.
    pub(in crate::stratum) fn kind(&self) -> ChannelKind {
        match self.kind {
            Kind::Standard { .. } => ChannelKind::Standard,
            Kind::Extended => ChannelKind::Extended,
        }
    }

    /// Sends a job, and what has to stand before it.
    pub(in crate::stratum) fn hand_out(
        &mut self,
        identity: &Identity,
        handout: &Handout<'_>,
        out: &mut Outbox,
    ) {
        let job = handout.job;
        let work = &job.work;
        let coinbase = handout.coinbase.unwrap_or(&work.coinbase);
        let extranonce = identity.extranonce();
        let is_new_tip = self.prev.replace(work.template.prev) != Some(work.template.prev);
        out.reply(identity.conn.connection(), |b| {
            if let Some(level) = handout.level {
                match self.request.take() {
                    Some(request) => message::opened(b, &self.opened(request, level, &extranonce)),
                    None => message::set_target(b, self.number, level),
                }
            }
            let ntime = (!is_new_tip).then_some(job.ntime);
            let version = work.version();
            let head = JobHead { channel: self.number, job: job.id, ntime, version };
            match &mut self.kind {
                Kind::Standard { roots } => {
                    let root = work.merkle_root(coinbase, &extranonce);
                    message::new_job(b, &head, &root);
                    if roots.len() >= KEPT_ROOTS {
                        roots.pop_front();
                    }
                    roots.push_back((job.id, root));
                }
                Kind::Extended => {
                    // The coinbase's first half ends where the extranonce begins.
                    let halves = (&coinbase.coinbase1[..], &coinbase.coinbase2[..]);
                    message::new_extended_job(b, &head, &work.template.branch, halves);
                }
            }
            if is_new_tip {
                let prev = &work.template.prev.0;
                let rest = (job.ntime, work.template.nbits.0);
                message::set_new_prev_hash(b, self.number, job.id, prev, rest);
            }
        });
    }

    fn opened<'a>(
        &self,
        request: u32,
        level: Difficulty,
        extranonce: &'a [u8; EXTRANONCE_SIZE],
    ) -> Opened<'a> {
        let (prefix, size) = match self.kind {
            Kind::Standard { .. } => (&extranonce[..], None),
            Kind::Extended => (&extranonce[..PREFIX], Some((EXTRANONCE_SIZE - PREFIX) as u16)),
        };
        Opened { request, channel: self.number, group: GROUP, level, prefix, extranonce: size }
    }

    /// The merkle root of a job, if it is kept.
    fn root(&self, job: JobId) -> Option<[u8; 32]> {
        match &self.kind {
            Kind::Standard { roots } => {
                roots.iter().rev().find(|(id, _)| *id == job).map(|(_, root)| *root)
            }
            Kind::Extended => None,
        }
    }
}

/// Why a channel is not opened.
pub(crate) enum Refused {
    /// It cannot be had as it is asked for: the specification's code. Another one may be.
    Terms(&'static str),
    /// The owner's password is missing. The connection is to end.
    Password,
}

impl Refused {
    /// The specification's code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Refused::Terms(code) => code,
            Refused::Password => "unknown-user",
        }
    }
}

/// The name that a channel is asked for with, and the password. There is no field for one: what would
/// stand in it may follow on the name.
fn name_and_password<'a>(open: &'a Open<'_>) -> (&'a str, &'a str) {
    open.user.split_once(',').unwrap_or((&open.user, ""))
}

/// Whether a channel can be opened as it is asked for.
///
/// # Errors
/// It cannot.
pub(crate) fn admit(open: &Open<'_>, rules: &Rules) -> Result<(), Refused> {
    fits(open).map_err(Refused::Terms)?;
    if rules.let_in(name_and_password(open).1) { Ok(()) } else { Err(Refused::Password) }
}

impl Session {
    /// It is a channel from now on, because [`admit`] allows it. The answer follows with the first job.
    pub(crate) fn open_channel(
        &mut self,
        context: &mut Context<'_>,
        user_agent: &str,
        open: &Open<'_>,
        out: &mut Outbox,
    ) {
        let (name, password) = name_and_password(open);
        let conn = self.conn();
        self.front = Front::V2(Channel {
            number: number_of(conn),
            request: Some(open.request),
            kind: match open.extranonce {
                None => Kind::Standard { roots: VecDeque::new() },
                Some(_) => Kind::Extended,
            },
            prev: None,
            counted: Counted::default(),
        });
        self.identify(user_agent, context.rules);
        self.profile.aim.least = self.profile.aim.least.max(open.least.0);
        self.suggestion = self.wish_of(open.hashrate);
        self.log_in(context, name, password, out);
        // The ledger's word about it comes before the first job.
        self.phase = Phase::Settling { until: context.now.mono };
    }

    /// The channel's hashrate or easiest target has changed.
    pub(crate) fn update_channel(
        &mut self,
        context: &mut Context<'_>,
        update: &Update,
        out: &mut Outbox,
    ) {
        let code = if !is_target(update.least) {
            TARGET
        } else if !is_hashrate(update.hashrate) {
            HASHRATE
        } else {
            let user_agent = self.user_agent().to_owned();
            self.identify(&user_agent, context.rules);
            self.profile.aim.least = self.profile.aim.least.max(update.least.0);
            let wish = self.wish_of(update.hashrate).unwrap_or(0.0);
            let level = self.difficulty().map_or(0.0, |level| level.0);
            if wish > 0.0 || update.least.0 > level {
                self.suggest(context, wish.max(update.least.0), out);
            }
            return;
        };
        out.reply(self.conn().connection(), |b| message::update_error(b, update.channel, code));
    }

    /// The difficulty at which a hashrate makes as many shares as are wanted; `None` where the number is
    /// what every firmware says.
    fn wish_of(&self, hashrate: f32) -> Option<f64> {
        let says_something = match self.profile.class {
            Class::Unknown | Class::Rental => hashrate > 0.0 && hashrate != SAID_BY_ALL,
            Class::Esp32 | Class::Cpu | Class::Asic => false,
        };
        let shares_per_second = self.profile.aim.shares_per_minute / 60.0;
        says_something.then(|| f64::from(hashrate) / shares_per_second / HASHES_PER_DIFFICULTY)
    }

    /// Judges a share. One that counts is answered by [`Session::answer_shares`], together with those
    /// around it.
    pub(crate) fn submit_share(
        &mut self,
        context: &mut Context<'_>,
        submit: &Submit<'_>,
        out: &mut Outbox,
    ) {
        let sent = match self.sent(submit) {
            Ok(sent) => sent,
            Err((code, why)) => return self.refuse_share(submit.sequence, (code, why, None), out),
        };
        let before = out.items().len();
        match self.evaluate(context, &sent, out) {
            Ok(counted) => {
                let solved = matches!(out.items().get(before), Some(Output::Block(_)));
                if let Front::V2(channel) = &mut self.front {
                    channel.counted.last = submit.sequence;
                    channel.counted.count += 1;
                    channel.counted.sum += counted.credited.0;
                }
                if solved {
                    // Directly after its block, because it waits for the card.
                    self.answer_shares(out);
                }
                if self.count(context.now.mono, &counted, out) {
                    self.answer_shares(out);
                    self.send_level(context, out);
                }
            }
            Err((why, reached)) => {
                let code = code(&why);
                self.refuse_share(submit.sequence, (code, why, reached), out);
            }
        }
    }

    /// What the core is to judge.
    fn sent(&self, submit: &Submit<'_>) -> Result<Sent<'static>, (&'static str, Reject)> {
        const SIZE: Fault =
            Fault::BadField("submit: the extranonce must have the size that was agreed on");
        let Front::V2(channel) = &self.front else {
            return Err(("invalid-channel-id", Reject::Unauthorized));
        };
        let mut extranonce = self.identity.extranonce();
        match (&channel.kind, submit.extranonce) {
            (Kind::Standard { .. }, None) => {}
            (Kind::Extended, Some(theirs)) if theirs.len() == EXTRANONCE_SIZE - PREFIX => {
                extranonce[PREFIX..].copy_from_slice(theirs);
            }
            _ => return Err(("bad-extranonce-size", Reject::Malformed(SIZE))),
        }
        Ok(Sent {
            job: Some(submit.job),
            extranonce,
            ntime: submit.ntime,
            nonce: submit.nonce,
            version: RolledVersion::Whole(submit.version),
            root: channel.root(submit.job),
            worker: "",
        })
    }

    fn refuse_share(
        &mut self,
        sequence: u32,
        (code, why, reached): (&str, Reject, Option<Difficulty>),
        out: &mut Outbox,
    ) {
        self.answer_shares(out);
        let conn = self.conn();
        let channel = number_of(conn);
        out.reply(conn.connection(), |b| message::submit_error(b, channel, sequence, code));
        out.push(Output::Rejected { conn, why, reached });
    }

    /// Whether it is a channel that is open.
    pub(crate) fn is_channel(&self) -> bool {
        matches!(self.front, Front::V2(_)) && self.phase != Phase::Closing
    }

    /// The miner closes the channel.
    pub(crate) fn leave(&mut self, out: &mut Outbox) {
        self.phase = Phase::Closing;
        out.push(Output::Left { conn: self.conn() });
    }

    /// Answers the shares that count and are not answered yet.
    pub(crate) fn answer_shares(&mut self, out: &mut Outbox) {
        let conn = self.conn();
        let Front::V2(channel) = &mut self.front else { return };
        let Counted { last, count, sum } = std::mem::take(&mut channel.counted);
        if count > 0 {
            let number = channel.number;
            out.reply(conn.connection(), |b| {
                message::submit_success(b, number, last, count, sum as u64);
            });
        }
    }
}

/// Whether a channel can be had as it is asked for, or the specification's code for why not.
fn fits(open: &Open<'_>) -> Result<(), &'static str> {
    if !is_target(open.least) {
        return Err(TARGET);
    }
    if !is_hashrate(open.hashrate) {
        return Err(HASHRATE);
    }
    match open.extranonce {
        Some(size) if usize::from(size) > EXTRANONCE_SIZE - PREFIX => {
            Err("min-extranonce-size-too-large")
        }
        _ => Ok(()),
    }
}

/// Whether it is the difficulty of a target that a hash can meet.
fn is_target(least: Difficulty) -> bool {
    least.0.is_finite()
}

fn is_hashrate(hashrate: f32) -> bool {
    hashrate.is_finite() && hashrate >= 0.0
}

/// The specification's code for a share that does not count.
fn code(why: &Reject) -> &'static str {
    match why {
        Reject::Stale(_) | Reject::StaleAtChange(_) => "stale-share",
        Reject::UnknownJob => "invalid-job-id",
        Reject::Duplicate => "duplicate-share",
        Reject::LowDifficulty { .. } => "difficulty-too-low",
        Reject::VersionBits { .. } => "invalid-non-rollable-version-bit",
        Reject::NtimeTooOld
        | Reject::NtimeTooNew
        | Reject::Malformed(_)
        | Reject::Unauthorized
        | Reject::WrongPassword
        | Reject::UnknownMethod => "invalid-share",
    }
}
