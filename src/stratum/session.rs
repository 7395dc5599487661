//! One miner's session, whatever the miner speaks: its name, its difficulty, whom its blocks pay, and
//! the verdict on its shares.
//!
//! ```text
//!             the miner says who it is
//!   Greeting ──────────────────────────► Settling
//!      │                                    │ a suggestion, or soon after:
//!      │ INTRODUCTION later                 │ ONE difficulty with a job
//!      ▼                                    ▼
//!    Closing                             Mining ──┐ difficulty changes:
//!                                           ▲     │ ONE difficulty with a job
//!                                           └─────┘ of a new id
//! ```
//!
//! The session decides; a front end reads what the miner sends and writes what it is sent:
//! `v1.rs` lines of JSON, [`super::v2`] frames. What a miner was given with its jobs is in
//! [`super::given`].

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::address::{self, Address};
use crate::block::{self, SolvedBlock};
use crate::chain::Chain;
use crate::clock::Now;
use crate::coinbase::{Coinbase, EXTRANONCE_SIZE};
use crate::difficulty::Difficulty;
use crate::hash;
use crate::ids::{ConnId, Extranonce1};
use crate::job::{Job, JobId, Jobs, Lookup};
use crate::job_journal::{JobRecord, Script};
use crate::reject::{Late, Reject};
use crate::share::{RolledVersion, Seen, Share, Submission};
use crate::vardiff::{Start, Vardiff};

use super::firmware::{self, Override, Profile, SIGN_OF_LIFE, Saved, Unclear};
use super::given::{Elsewhere, Given, JobRecords, Parked};
use super::handover::{HandedSession, Unfit};
use super::outbox::{CloseReason, Outbox, Output};
use super::v1::V1;
use super::v2::channel::{Channel, ChannelKind};

/// How long a connection may take to say who is at its end.
const INTRODUCTION: Duration = Duration::from_secs(60);

/// Names and user agents are cut to this many characters.
const MAX_NAME: usize = 128;

/// Signs session ids.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey(pub [u8; 32]);

/// What does not change from line to line.
#[derive(Debug, PartialEq)]
pub struct Rules {
    /// Signs session ids, so that one from before a restart is known to be ours.
    pub session_key: SessionKey,
    /// If set, a miner must bring it: as the password of `mining.authorize`, or after a comma in its
    /// name where there is no password (Stratum V2).
    pub password: Option<String>,
    /// The owner's own start difficulties, before those of the table.
    pub overrides: Vec<Override>,
    /// Miners whose name is an address of one of these chains are paid there; empty if the owner
    /// does not allow it.
    pub payee_chains: Vec<Chain>,
}

impl Rules {
    /// Whether the owner has set no password, or it is among the parts of this one.
    pub(crate) fn let_in(&self, password: &str) -> bool {
        let right = |wanted: &String| password.split(',').any(|part| part.trim() == wanted);
        self.password.as_ref().is_none_or(right)
    }
}

/// Who is at the other end of the socket.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The connection.
    pub conn: ConnId,
    /// The miner's address.
    pub peer: IpAddr,
    /// Its extranonce1.
    pub extranonce1: Extranonce1,
}

impl Identity {
    /// The extranonce as far as it is ours, with zeros after it. A miner that takes a shorter
    /// extranonce2 is given some of the zeros as part of its extranonce1.
    pub(super) fn extranonce(&self) -> [u8; EXTRANONCE_SIZE] {
        let mut extranonce = [0; EXTRANONCE_SIZE];
        extranonce[..4].copy_from_slice(&self.extranonce1.0);
        extranonce
    }
}

/// What a session works with besides itself.
#[derive(Debug)]
pub struct Context<'a> {
    /// The time.
    pub now: Now,
    /// What does not change.
    pub rules: &'a Rules,
    /// The jobs.
    pub jobs: &'a mut Jobs,
    /// The shares that were counted.
    pub seen: &'a mut Seen,
    /// Miners that left and may come back.
    pub parked: &'a mut BTreeMap<Extranonce1, Parked>,
    /// What the other box of the pair gave its miners, and counted.
    pub partners: &'a Elsewhere,
    /// What a restart must not forget.
    pub job_records: &'a mut JobRecords,
}

/// The script that a worker's name asks to be paid, if the rules allow it: of an address at its
/// beginning, of a chain that the owner's address is of. `None` stands for the owner.
///
/// # Errors
/// The name begins like an address and cannot be paid: why, as a clause.
fn payee(name: &str, rules: &Rules) -> Result<Script, String> {
    if rules.payee_chains.is_empty() {
        return Ok(None);
    }
    let text = address::in_name(name);
    match text.parse::<Address>() {
        Ok(address) if rules.payee_chains.iter().any(|chain| address.fits(*chain)) => {
            Ok(Some(address.script().into()))
        }
        Ok(_) => Err("it is an address of another chain than yours".to_owned()),
        Err(fault) if address::is_meant(text) => Err(fault.to_string()),
        Err(_) => Ok(None),
    }
}

/// One miner's session. See the module's description.
#[derive(Debug)]
pub struct Session {
    pub(super) identity: Identity,
    pub(super) phase: Phase,
    pub(super) front: Front,
    /// The name by which the miner authorized itself.
    pub(super) worker: Option<String>,
    user_agent: String,
    pub(super) profile: Profile,
    /// Resumed an earlier session: its shares are judged before it authorizes.
    pub(super) resumed: bool,
    given: Given,
    /// Whom its blocks pay from now on; `None` for the owner.
    payee: Script,
    /// Why the address that its name begins with is not paid.
    payee_fault: Option<String>,
    /// From the first job on.
    vardiff: Option<Vardiff>,
    /// What decides the first difficulty: see [`firmware::starting_point`].
    saved: Option<Saved>,
    /// What its password asks for.
    asked: Result<Option<f64>, Unclear>,
    pub(super) suggestion: Option<f64>,
    connected_at: Instant,
    /// Since when this run hears it: what it sent the run before is no part of it.
    heard_since: Instant,
    /// It was begun by the run before, and the ledger has not spoken of it since.
    taken_up: bool,
    /// It is told anew what the next run has to know: see [`Session::take_news`].
    news: bool,
}

/// What a miner speaks.
#[derive(Debug)]
pub(super) enum Front {
    /// Stratum V1, or nothing yet.
    V1(V1),
    /// A channel of Stratum V2.
    V2(Channel),
}

/// A job for one miner, with all that it has to be told with it.
pub(super) struct Handout<'a> {
    /// The difficulty from this job on, where it is another one than before.
    pub level: Option<Difficulty>,
    /// The job.
    pub job: &'a Job,
    /// The coinbase, where it is not the owner's.
    pub coinbase: Option<&'a Coinbase>,
    /// The present jobs are to be dropped.
    pub clean: bool,
    /// The line of `mining.notify` in the outbox, where it is the same for all. Empty until one of them
    /// needs it.
    pub line: Option<&'a OnceCell<Range<usize>>>,
}

/// A share as it came.
pub(super) struct Sent<'a> {
    /// The job that it names; `None` if no job can have that id.
    pub job: Option<JobId>,
    /// The whole extranonce.
    pub extranonce: [u8; EXTRANONCE_SIZE],
    /// The header's time.
    pub ntime: u32,
    /// The header's nonce.
    pub nonce: u32,
    /// The header's version.
    pub version: RolledVersion,
    /// The merkle root, where it is known already.
    pub root: Option<[u8; 32]>,
    /// The name that it came with: for the block of a miner that has not said its name.
    pub worker: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    Greeting {
        until: Instant,
    },
    Settling {
        until: Instant,
    },
    Mining,
    /// We asked for the connection's end; nothing is to follow.
    Closing,
}

impl Session {
    /// A session that has heard nothing yet.
    pub fn new(now: Now, identity: Identity) -> Session {
        Session {
            identity,
            phase: Phase::Greeting { until: now.mono + INTRODUCTION },
            front: Front::V1(V1::default()),
            worker: None,
            user_agent: String::new(),
            profile: firmware::identify("", &[]),
            resumed: false,
            given: Given::default(),
            payee: None,
            payee_fault: None,
            vardiff: None,
            saved: None,
            asked: Ok(None),
            suggestion: None,
            connected_at: now.mono,
            heard_since: now.mono,
            taken_up: false,
            news: false,
        }
    }

    /// A session of the run before, which goes on over the same connection. `parked` is what it was given
    /// with its jobs, as far as that is known.
    ///
    /// # Errors
    /// What it was told cannot be kept up.
    pub fn take_up(
        now: Now,
        (conn, peer): (ConnId, IpAddr),
        handed: HandedSession,
        rules: &Rules,
        parked: Option<Parked>,
    ) -> Result<Session, Unfit> {
        let HandedSession { extranonce1, extranonce2_size, user_agent, worker, .. } = handed;
        let profile = firmware::identify(&user_agent, &rules.overrides);
        if profile.extranonce2_size != extranonce2_size {
            return Err(Unfit::OtherExtranonce);
        }
        let vardiff = Vardiff::resumed(profile.aim, handed.level, handed.proven, now.mono);
        let mut session = Session {
            phase: Phase::Mining,
            front: Front::V1(V1::introduced()),
            worker: Some(worker),
            user_agent,
            profile,
            resumed: true,
            given: parked.map(|parked| parked.given).unwrap_or_default(),
            vardiff: Some(vardiff),
            saved: handed.saved,
            asked: handed.asked,
            suggestion: handed.wish,
            connected_at: handed.connected_at,
            taken_up: true,
            news: true,
            ..Session::new(now, Identity { conn, peer, extranonce1 })
        };
        session.apply(rules);
        Ok(session)
    }

    /// What the next run has to know to go on with this session on the same connection. `None` where that
    /// is not possible: it has had no job yet, or speaks Stratum V2.
    pub fn handed(&self) -> Option<HandedSession> {
        let (Front::V1(_), Phase::Mining, Some(vardiff), Some(worker)) =
            (&self.front, self.phase, &self.vardiff, &self.worker)
        else {
            return None;
        };
        Some(HandedSession {
            extranonce1: self.extranonce1(),
            extranonce2_size: self.profile.extranonce2_size,
            user_agent: self.user_agent.clone(),
            worker: worker.clone(),
            connected_at: self.connected_at,
            level: vardiff.start_again(),
            proven: vardiff.proven(),
            saved: self.saved,
            asked: self.asked,
            wish: self.suggestion,
        })
    }

    /// Whether [`Session::handed`] has changed since the last call.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news) && self.is_mining() && matches!(self.front, Front::V1(_))
    }

    /// The connection.
    pub fn conn(&self) -> ConnId {
        self.identity.conn
    }

    /// The miner's address.
    pub fn peer(&self) -> IpAddr {
        self.identity.peer
    }

    /// The extranonce1.
    pub fn extranonce1(&self) -> Extranonce1 {
        self.identity.extranonce1
    }

    /// The name by which the miner authorized itself.
    pub fn worker(&self) -> Option<&str> {
        self.worker.as_deref()
    }

    /// What the miner says that it is.
    pub fn user_agent(&self) -> &str {
        &self.user_agent
    }

    /// The kind of its channel; `None` for a miner of Stratum V1.
    pub fn channel_kind(&self) -> Option<ChannelKind> {
        match &self.front {
            Front::V1(_) => None,
            Front::V2(channel) => Some(channel.kind()),
        }
    }

    /// What is known of its kind.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The difficulty to remember for its next visit: see [`Vardiff::proven`].
    pub fn proven_difficulty(&self) -> Option<f64> {
        self.vardiff.as_ref().and_then(Vardiff::proven)
    }

    /// Its difficulty is the owner's word and stays as it is.
    pub fn is_fixed(&self) -> bool {
        self.vardiff.as_ref().is_some_and(Vardiff::is_fixed)
    }

    /// The output script that a block of its next job pays; `None` for the owner's.
    pub fn payee(&self) -> Option<&[u8]> {
        self.payee.as_deref()
    }

    /// Why the address that its name begins with is not paid, as a clause; `None` where its name is no
    /// address, is paid, or decides nothing.
    pub fn payee_fault(&self) -> Option<&str> {
        self.payee_fault.as_deref()
    }

    /// Its password asks for a difficulty, and it cannot be told which.
    pub fn asks_unclearly(&self) -> bool {
        self.asked.is_err()
    }

    /// The difficulty that it last wished for.
    pub fn wish(&self) -> Option<f64> {
        self.suggestion
    }

    /// The rules changed: its jobs to come may pay somebody else.
    pub fn apply(&mut self, rules: &Rules) {
        let payee = self.worker.as_deref().map_or(Ok(None), |name| payee(name, rules));
        (self.payee, self.payee_fault) = match payee {
            Ok(payee) => (payee, None),
            Err(fault) => (None, Some(fault)),
        };
    }

    /// Tells a person at the miner something, if its firmware shows it.
    pub fn say(&self, text: &str, out: &mut Outbox) {
        if let Front::V1(_) = self.front
            && self.is_mining()
            && self.profile.shows_messages
        {
            super::v1::say(self.conn(), text, out);
        }
    }

    /// Notes what it was given, for a run that knows none of it.
    pub fn remind(&self, job_records: &mut JobRecords) {
        if self.can_resume() {
            self.given.remind(self.extranonce1(), job_records);
        }
    }

    /// The difficulty that its next share is to reach.
    pub fn difficulty(&self) -> Option<Difficulty> {
        self.given.levels.latest().copied()
    }

    /// Since when it is connected.
    pub fn connected_at(&self) -> Instant {
        self.connected_at
    }

    /// Since when its shares come to this run: later than [`Session::connected_at`] where the connection
    /// outlived a restart.
    pub fn heard_since(&self) -> Instant {
        self.heard_since
    }

    /// It has had a job and is to have every further one.
    pub fn is_mining(&self) -> bool {
        self.phase == Phase::Mining
    }

    /// When [`Session::tick`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Greeting { until } | Phase::Settling { until } => Some(until),
            Phase::Mining => self.vardiff.as_ref().and_then(Vardiff::next_deadline),
            Phase::Closing => None,
        }
    }

    /// What was kept of the worker from an earlier session. When it comes late, after a restart
    /// under a slow card, it counts while vardiff has not found a level of its own.
    pub fn restore(&mut self, context: &mut Context<'_>, saved: Saved, out: &mut Outbox) {
        // The run before knew it as well as the card does.
        if std::mem::take(&mut self.taken_up) && self.saved.is_some() {
            return;
        }
        self.saved = Some(saved);
        self.news = true;
        if self.is_mining() && !self.is_fixed() && self.proven_difficulty().is_none() {
            self.choose_anew(self.level(), context, out);
        }
    }

    /// Calls its worker by another name.
    pub fn rename(&mut self, name: String) {
        self.worker = Some(name);
        self.news = true;
    }

    /// The owner fixes its difficulty, or (`None`) leaves it to vardiff again, from where it is. In
    /// force at once: a difficulty and a clean job.
    pub fn fix(&mut self, context: &mut Context<'_>, difficulty: Option<f64>, out: &mut Outbox) {
        let level = self.level();
        self.news = true;
        self.saved = match difficulty {
            Some(difficulty) => Some(Saved::Fixed(difficulty)),
            None => level.map(|l| Saved::Level { difficulty: l.0, wish: self.suggestion }),
        };
        if self.is_mining() {
            self.choose_anew(level, context, out);
        }
    }

    /// Takes a job that is sent to all: `line` are its bytes in the outbox, once a miner needs them.
    pub fn broadcast(
        &mut self,
        now: Now,
        (job, clean): (&Job, bool),
        line: &OnceCell<Range<usize>>,
        job_records: &mut JobRecords,
        out: &mut Outbox,
    ) {
        let (Phase::Mining, Some(vardiff)) = (self.phase, &mut self.vardiff) else { return };
        let network = job.work.template.target.difficulty().0;
        // The network's difficulty changes with a block, and then the job is a clean one.
        vardiff.set_network(network, now.mono);
        // One that was found while there was no work is told with the first job.
        let level = Some(Difficulty(vardiff.difficulty()))
            .filter(|level| self.difficulty() != Some(*level));
        if let Some(level) = level {
            self.give_level(job.id, level, job_records);
        }
        let coinbase = self.give_payee(job, job_records);
        let coinbase = coinbase.as_ref();
        self.hand_out(&Handout { level, job, coinbase, clean, line: Some(line) }, out);
    }

    /// Sends a job.
    fn hand_out(&mut self, handout: &Handout<'_>, out: &mut Outbox) {
        match &mut self.front {
            Front::V1(_) => super::v1::hand_out(self.identity.conn, handout, out),
            Front::V2(channel) => channel.hand_out(&self.identity, handout, out),
        }
    }

    fn give_level(&mut self, from: JobId, difficulty: Difficulty, job_records: &mut JobRecords) {
        self.given.levels.push(from, difficulty);
        self.news = true;
        if self.can_resume() {
            let extranonce1 = self.extranonce1();
            job_records.note(|| JobRecord::Level { extranonce1, from, difficulty });
        }
    }

    /// Notes whom the job's block is to pay; the coinbase, if that is not the owner.
    fn give_payee(&mut self, job: &Job, job_records: &mut JobRecords) -> Option<Coinbase> {
        let coinbase = self.payee.as_ref().and_then(|script| job.work.coinbase.paying(script));
        let script = self.payee.clone().filter(|_| coinbase.is_some());
        let payees = &mut self.given.payees;
        // The owner's turn is noted too, if another's comes after it.
        if payees.latest() != Some(&script) && !(payees.is_empty() && script.is_none()) {
            payees.push(job.id, script.clone());
            if self.can_resume() {
                let (extranonce1, from) = (self.extranonce1(), job.id);
                job_records.note(|| JobRecord::Payee { extranonce1, from, script });
            }
        }
        coinbase
    }

    /// What it was given with a job and around it, by the box that made the job.
    fn given_with<'a>(&'a self, job: &Job, partners: &'a Elsewhere) -> Option<&'a Given> {
        match job.work.is_partners() {
            true => partners.given.get(&self.extranonce1()).map(|parked| &parked.given),
            false => Some(&self.given),
        }
    }

    /// The coinbase of a job as this miner had it.
    fn coinbase_of<'a>(job: &'a Job, given: Option<&Given>) -> Cow<'a, Coinbase> {
        let payee = given.and_then(|given| given.payees.given(job.id)?.as_ref());
        match payee.and_then(|script| job.work.coinbase.paying(script)) {
            Some(coinbase) => Cow::Owned(coinbase),
            None => Cow::Borrowed(&job.work.coinbase),
        }
    }

    /// Notes what the miner says that it is.
    pub(super) fn identify(&mut self, user_agent: &str, rules: &Rules) {
        self.user_agent = user_agent.chars().take(MAX_NAME).collect();
        self.profile = firmware::identify(&self.user_agent, &rules.overrides);
        self.news = true;
    }

    /// Notes by which name it mines, and what its password asks for.
    pub(super) fn log_in(
        &mut self,
        context: &Context<'_>,
        user: &str,
        password: &str,
        out: &mut Outbox,
    ) {
        // The owner's own password may have digits.
        let secret = context.rules.password.as_deref();
        let parts = password.split(',').filter(|part| Some(part.trim()) != secret);
        let password: String = parts.collect::<Vec<_>>().join(",").chars().take(MAX_NAME).collect();
        self.asked = firmware::password_difficulty(&password);
        self.news = true;
        let name: String = user.chars().take(MAX_NAME).collect();
        if self.worker.as_ref() != Some(&name) {
            self.worker = Some(name);
            self.taken_up = false;
            self.apply(context.rules);
            out.push(Output::Authorized { conn: self.conn() });
        }
    }

    /// Does what has become due. Why the connection is to end, if it is.
    pub fn tick(&mut self, context: &mut Context<'_>, out: &mut Outbox) -> Option<CloseReason> {
        let now = context.now.mono;
        match self.phase {
            Phase::Greeting { until } if now >= until => {
                self.phase = Phase::Closing;
                return Some(CloseReason::Silent);
            }
            Phase::Settling { until } if now >= until => self.start(context, out),
            Phase::Mining => {
                if self.vardiff.as_mut().and_then(|vardiff| vardiff.tick(now)).is_some() {
                    self.send_level(context, out);
                }
            }
            Phase::Greeting { .. } | Phase::Settling { .. } | Phase::Closing => {}
        }
        None
    }

    /// What is kept of a miner that left, if it had work and can come back: a channel of Stratum V2
    /// cannot be taken up again.
    pub fn park(self, now: Now) -> Option<Parked> {
        let had_work = !self.given.levels.is_empty();
        (had_work && self.can_resume()).then_some(Parked { since: now.mono, given: self.given })
    }

    /// Whether it may come back on another connection as the same session.
    fn can_resume(&self) -> bool {
        matches!(self.front, Front::V1(_))
    }

    /// Takes up what was parked.
    pub fn resume(&mut self, parked: Parked) {
        self.given = parked.given;
    }

    pub(super) fn suggest(&mut self, context: &mut Context<'_>, wish: f64, out: &mut Outbox) {
        if self.is_mining() && self.is_old(wish) {
            return;
        }
        let is_newer = self.suggestion.replace(wish).is_some();
        self.news = true;
        match self.phase {
            Phase::Greeting { .. } | Phase::Closing => {}
            Phase::Settling { .. } => self.start(context, out),
            Phase::Mining => {
                if is_newer {
                    // The level was found before.
                    self.saved = self.saved.filter(|saved| matches!(saved, Saved::Fixed(_)));
                }
                if !matches!(self.starting_point(), Start::Known(_)) {
                    self.choose_anew(self.difficulty(), context, out);
                }
            }
        }
    }

    /// The miner wished for this before, or it is no wish but a sign of life: it must not bring back
    /// a level that vardiff has left.
    fn is_old(&self, wish: f64) -> bool {
        let knows_better =
            self.suggestion.is_some() || self.saved.is_some() || self.proven_difficulty().is_some();
        self.suggestion == Some(wish) || (wish == SIGN_OF_LIFE && knows_better)
    }

    /// The first difficulty and the first job.
    fn start(&mut self, context: &mut Context<'_>, out: &mut Outbox) {
        self.phase = Phase::Mining;
        self.choose_level(context);
        self.send_level(context, out);
    }

    /// Who decides the level has changed: the miner hears of it only when it is another one.
    fn choose_anew(
        &mut self,
        before: Option<Difficulty>,
        context: &mut Context<'_>,
        out: &mut Outbox,
    ) {
        self.choose_level(context);
        if self.level() != before {
            self.send_level(context, out);
        }
    }

    fn choose_level(&mut self, context: &Context<'_>) {
        let start = self.starting_point();
        let network = context.jobs.work().map(|work| work.template.target.difficulty().0);
        self.vardiff = Some(Vardiff::new(self.profile.aim, start, network, context.now.mono));
    }

    fn starting_point(&self) -> Start {
        let asked = self.asked.unwrap_or(None);
        firmware::starting_point(self.saved, asked, self.suggestion, &self.profile)
    }

    fn level(&self) -> Option<Difficulty> {
        self.vardiff.as_ref().map(|vardiff| Difficulty(vardiff.difficulty()))
    }

    /// One set_difficulty, followed at once by a clean job with a new id: the only way in which
    /// every firmware applies it (ESP-Miner repeats shares and NerdQAxe waits otherwise).
    pub(super) fn send_level(&mut self, context: &mut Context<'_>, out: &mut Outbox) {
        let Some(level) = self.level() else { return };
        let Some(job) = context.jobs.issue(context.now) else { return };
        let job = job.clone();
        context.job_records.note(|| JobRecord::Job { id: job.id, ntime: job.ntime });
        self.give_level(job.id, level, context.job_records);
        let coinbase = self.give_payee(&job, context.job_records);
        let coinbase = coinbase.as_ref();
        let level = Some(level);
        self.hand_out(&Handout { level, job: &job, coinbase, clean: true, line: None }, out);
    }

    /// Notes a share that counts. Whether it changed the difficulty: [`Session::send_level`] is to
    /// follow, after the answer to the share.
    pub(super) fn count(&mut self, now: Instant, counted: &Counted, out: &mut Outbox) -> bool {
        let Counted { credited, reached, height } = *counted;
        out.push(Output::Share { conn: self.conn(), credited, reached, height });
        let Some(vardiff) = &mut self.vardiff else { return false };
        let firmness = |vardiff: &Vardiff| (vardiff.is_settling(), vardiff.proven());
        let before = firmness(vardiff);
        let changed = vardiff.share(now, credited.0).is_some();
        self.news |= firmness(vardiff) != before;
        changed
    }

    /// Proves the share, hands on a block if it is one, and only then asks whether it counts.
    pub(super) fn evaluate(
        &mut self,
        context: &mut Context<'_>,
        sent: &Sent<'_>,
        out: &mut Outbox,
    ) -> Result<Counted, (Reject, Option<Difficulty>)> {
        let now = context.now;
        let (job, stale_since) = match sent.job.map(|id| context.jobs.find(id)) {
            Some(Lookup::Current(job)) => (job, None),
            Some(Lookup::Stale(job, since)) => (job, Some(since)),
            Some(Lookup::Unknown) | None => return Err((Reject::UnknownJob, None)),
        };
        let given = self.given_with(job, context.partners);
        let submission = Submission {
            job: job.id,
            extranonce: sent.extranonce,
            ntime: sent.ntime,
            nonce: sent.nonce,
            version: sent.version,
        };
        let share = match &sent.root {
            Some(root) => Share::prove_below(job, root, &submission),
            None => Share::prove_with(job, &Session::coinbase_of(job, given), &submission),
        };
        if share.solves {
            let coinbase = Session::coinbase_of(job, given).in_block(&submission.extranonce);
            let block = self.solved(now, job, &coinbase, &share, sent.worker);
            out.push(Output::Block(Arc::new(block)));
        }
        let reached = share.difficulty;
        let refuse = |why| (why, Some(reached));
        if self.worker.is_none() && !self.resumed {
            return Err(refuse(Reject::Unauthorized));
        }
        if let Some(since) = stale_since {
            return Err(refuse(Reject::stale(Late {
                height: u64::from(job.work.template.height),
                known_for: now.mono.saturating_duration_since(since),
            })));
        }
        let start = Difficulty(self.profile.start_difficulty);
        let levels = given.map(|given| &given.levels);
        let own = levels.and_then(|levels| levels.at(job.id)).copied().unwrap_or(start);
        let least = levels.and_then(|levels| levels.least_since(job.id)).unwrap_or(own);
        let node_time = job.work.node_time(now.mono);
        let counts_at =
            |wanted| share.check_rules(job, &submission, node_time, wanted).map(|()| wanted);
        let credited =
            counts_at(own).or_else(|why| counts_at(least).map_err(|_| why)).map_err(refuse)?;
        let counted_there = context.partners.counted.contains(&Seen::key(&share.hash));
        if counted_there || !context.seen.insert(&share.hash) {
            return Err(refuse(Reject::Duplicate));
        }
        context.job_records.note(|| JobRecord::Share(Seen::key(&share.hash)));
        // On an easy chain each block counts, however little it reaches: that is what it is worth.
        let credited = match share.solves {
            true => Difficulty(credited.0.min(job.work.template.target.difficulty().0)),
            false => credited,
        };
        Ok(Counted { credited, reached, height: job.work.template.height })
    }

    fn solved(
        &self,
        now: Now,
        job: &Job,
        coinbase: &[u8],
        share: &Share,
        worker: &str,
    ) -> SolvedBlock {
        let template = &job.work.template;
        SolvedBlock {
            hash: share.hash,
            height: template.height,
            unix: now.unix,
            reward: template.value,
            worker: self.worker.clone().unwrap_or_else(|| worker.to_owned()),
            from_partner: false,
            bytes: block::assemble(&share.header, coinbase, &template.txs),
        }
    }

    pub(super) fn close(&mut self, why: CloseReason, out: &mut Outbox) {
        self.phase = Phase::Closing;
        out.push(Output::Close { conn: self.conn(), why });
    }
}

/// A share that counts.
pub(super) struct Counted {
    /// What it is worth.
    pub credited: Difficulty,
    /// What its hash reached.
    pub reached: Difficulty,
    /// Height of the block that it was for.
    pub height: u32,
}

impl SessionKey {
    /// The session id that stands for an extranonce1: both it and proof that we gave it, in hex.
    pub fn sign(&self, extranonce1: Extranonce1) -> String {
        faster_hex::hex_string(&[extranonce1.0, self.proof(extranonce1)].concat())
    }

    /// The extranonce1 of a session id that we gave, in this run or an earlier one.
    pub fn verify(&self, session_id: &str) -> Option<Extranonce1> {
        let mut bytes = [0; 8];
        if session_id.len() != 16 {
            return None;
        }
        faster_hex::hex_decode(session_id.as_bytes(), &mut bytes).ok()?;
        let (extranonce1, proof) = bytes.split_at(4);
        let extranonce1 = Extranonce1(extranonce1.try_into().ok()?);
        (self.proof(extranonce1) == proof).then_some(extranonce1)
    }

    /// Keeps strangers' ids apart from ours; nothing of value hangs on it.
    fn proof(&self, extranonce1: Extranonce1) -> [u8; 4] {
        let digest = hash::sha256d(&[self.0.as_slice(), &extranonce1.0].concat());
        [digest[0], digest[1], digest[2], digest[3]]
    }
}

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKey(…)")
    }
}
