//! One miner's session: which messages it may send, in which order, and which it gets.
//!
//! ```text
//!             subscribe + authorize, in either order
//!   Greeting ────────────────────────────────────────► Settling
//!      │                                                  │ a suggestion, or SETTLE later:
//!      │ INTRODUCTION later                               │ ONE set_difficulty, notify(clean)
//!      ▼                                                  ▼
//!    Closing                                           Mining ──┐ difficulty changes:
//!                                                         ▲     │ ONE set_difficulty,
//!                                                         └─────┘ notify(clean) with a new id
//! ```
//!
//! Only answers are sent before `Mining`, because Avalons treat the first line after their
//! configure as its answer. While `Settling`, a suggestion (ESP-Miner sends it after the answer to
//! authorize, NerdMiner 200 ms later) still decides the first difficulty.
//!
//! **Difficulty belongs to the job.** A share is checked against the difficulty that was in force
//! when its job was sent, so a change never makes an honest share wrong. Job ids rise, so a short
//! list of difficulties, each with its first job id, is enough. The payee of a block is stored in
//! the same way, where miners may be paid by name.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
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
use crate::share::{Seen, Share, Submission};
use crate::signal::VERSION_MASK;
use crate::vardiff::{Start, Vardiff};

use super::firmware::{self, Override, Profile, SIGN_OF_LIFE, Saved, Unclear};
use super::message::{self, Authorize, Configure, Id, Message, Method, Request, Submit, Subscribe};
use super::outbox::{CloseReason, Outbox, Output};
use super::reply;

/// How long the first difficulty waits for the miner's own suggestion.
const SETTLE: Duration = Duration::from_millis(400);

/// How long a connection may take to subscribe and authorize.
const INTRODUCTION: Duration = Duration::from_secs(60);

/// Lines in a row that are no messages, after which the other end is no miner.
const MAX_NONSENSE: u32 = 16;

/// Difficulties remembered, each with the first job that had it.
const MAX_LEVELS: usize = 16;

/// What `client.get_version` is told.
const VERSION: &str = concat!("Soloist/", env!("CARGO_PKG_VERSION"));

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
    /// If set, `mining.authorize` must bring it.
    pub password: Option<String>,
    /// The owner's own start difficulties, before those of the table.
    pub overrides: Vec<Override>,
    /// Miners whose name is an address of one of these chains are paid there; empty if the owner
    /// does not allow it.
    pub payee_chains: Vec<Chain>,
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

/// The job records that wait for the shell to store them.
#[derive(Debug, Default)]
pub struct JobRecords {
    /// Whether anybody keeps them; nothing is noted otherwise.
    pub wanted: bool,
    /// Those that were not taken yet.
    pub list: Vec<JobRecord>,
}

impl JobRecords {
    /// Notes what `record` says, if it is wanted.
    pub fn note(&mut self, record: impl FnOnce() -> JobRecord) {
        if self.wanted {
            self.list.push(record());
        }
    }
}

/// What outlives a connection: see [`Session::park`].
#[derive(Debug)]
pub struct Parked {
    since: Instant,
    given: Given,
}

/// What a miner was given with its jobs.
#[derive(Debug, Default)]
struct Given {
    levels: Levels,
    /// Whom the blocks of its jobs pay.
    payees: History<Script>,
}

/// One miner's session. See the module's description.
#[derive(Debug)]
pub struct Session {
    identity: Identity,
    phase: Phase,
    subscribed: bool,
    /// The name by which the miner authorized itself.
    worker: Option<String>,
    user_agent: String,
    profile: Profile,
    /// Resumed an earlier session: its shares are judged before it authorizes.
    resumed: bool,
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
    suggestion: Option<f64>,
    connected_at: Now,
    nonsense: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
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

/// What was in force from which job on, oldest first.
#[derive(Debug)]
struct History<T>(VecDeque<(JobId, T)>);

/// The difficulties that a miner was given.
type Levels = History<Difficulty>;

impl Session {
    /// A session that has heard nothing yet.
    pub fn new(now: Now, identity: Identity) -> Session {
        Session {
            identity,
            phase: Phase::Greeting { until: now.mono + INTRODUCTION },
            subscribed: false,
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
            connected_at: now,
            nonsense: 0,
        }
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
        if self.is_mining() && self.profile.shows_messages {
            out.reply(self.conn(), |b| reply::show_message(b, text));
        }
    }

    /// Notes what it was given, for a run that knows none of it.
    pub fn remind(&self, job_records: &mut JobRecords) {
        self.given.remind(self.extranonce1(), job_records);
    }

    /// The difficulty that its next share is to reach.
    pub fn difficulty(&self) -> Option<Difficulty> {
        self.given.levels.latest().copied()
    }

    /// Since when it is connected.
    pub fn connected_at(&self) -> Now {
        self.connected_at
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
        self.saved = Some(saved);
        if self.is_mining() && !self.is_fixed() && self.proven_difficulty().is_none() {
            self.choose_anew(self.level(), context, out);
        }
    }

    /// Calls its worker by another name.
    pub fn rename(&mut self, name: String) {
        self.worker = Some(name);
    }

    /// The owner fixes its difficulty, or (`None`) leaves it to vardiff again, from where it is. In
    /// force at once: a difficulty and a clean job.
    pub fn fix(&mut self, context: &mut Context<'_>, difficulty: Option<f64>, out: &mut Outbox) {
        let level = self.level();
        self.saved = match difficulty {
            Some(difficulty) => Some(Saved::Fixed(difficulty)),
            None => level.map(|l| Saved::Level { difficulty: l.0, wish: self.suggestion }),
        };
        if self.is_mining() {
            self.choose_anew(level, context, out);
        }
    }

    /// Takes a job that is sent to all: `line` are its bytes in the outbox.
    pub fn broadcast(
        &mut self,
        now: Now,
        (job, clean): (&Job, bool),
        line: &Range<usize>,
        job_records: &mut JobRecords,
        out: &mut Outbox,
    ) {
        let (Phase::Mining, Some(vardiff)) = (self.phase, &mut self.vardiff) else { return };
        let network = job.work.template.target.difficulty().0;
        // The network's difficulty changes with a block, and then the job is a clean one.
        if let Some(level) = vardiff.set_network(network, now.mono) {
            self.give_level(job.id, Difficulty(level), job_records);
            out.reply(self.conn(), |b| reply::set_difficulty(b, level));
        }
        match self.give_payee(job, job_records) {
            None => out.send(self.conn(), line.clone()),
            Some(coinbase) => {
                let line = job.notify_line_with(&coinbase, clean);
                out.reply(self.conn(), |b| b.extend_from_slice(line.as_bytes()));
            }
        }
    }

    fn give_level(&mut self, from: JobId, difficulty: Difficulty, job_records: &mut JobRecords) {
        self.given.levels.push(from, difficulty);
        let extranonce1 = self.extranonce1();
        job_records.note(|| JobRecord::Level { extranonce1, from, difficulty });
    }

    /// Notes whom the job's block is to pay; the coinbase, if that is not the owner.
    fn give_payee(&mut self, job: &Job, job_records: &mut JobRecords) -> Option<Coinbase> {
        let coinbase = self.payee.as_ref().and_then(|script| job.work.coinbase.paying(script));
        let script = self.payee.clone().filter(|_| coinbase.is_some());
        let payees = &mut self.given.payees;
        // The owner's turn is noted too, if another's comes after it.
        if payees.latest() != Some(&script) && !(payees.0.is_empty() && script.is_none()) {
            payees.push(job.id, script.clone());
            let (extranonce1, from) = (self.extranonce1(), job.id);
            job_records.note(|| JobRecord::Payee { extranonce1, from, script });
        }
        coinbase
    }

    /// The coinbase of a job as this miner had it.
    fn coinbase_of<'a>(&self, job: &'a Job) -> Cow<'a, Coinbase> {
        let payee = self.given.payees.given(job.id).and_then(Option::as_ref);
        match payee.and_then(|script| job.work.coinbase.paying(script)) {
            Some(coinbase) => Cow::Owned(coinbase),
            None => Cow::Borrowed(&job.work.coinbase),
        }
    }

    /// Takes a line.
    pub fn line(&mut self, context: &mut Context<'_>, line: &[u8], out: &mut Outbox) {
        if self.phase == Phase::Closing {
            return;
        }
        let line = super::frame::text(line);
        match message::parse(&line) {
            Ok(Message::Request(request)) => {
                self.nonsense = 0;
                self.request(context, request, out);
            }
            Ok(Message::Response(_)) => self.nonsense = 0,
            Err(malformed) => {
                self.nonsense += 1;
                let why = Reject::Malformed(malformed.fault);
                out.reply(self.conn(), |b| reply::rejected(b, malformed.id, &why));
                out.push(Output::Rejected { conn: self.conn(), why, reached: None });
                if self.nonsense >= MAX_NONSENSE {
                    self.close(CloseReason::NotStratum, out);
                }
            }
        }
    }

    /// Does what has become due.
    pub fn tick(&mut self, context: &mut Context<'_>, out: &mut Outbox) {
        let now = context.now.mono;
        match self.phase {
            Phase::Greeting { until } if now >= until => self.close(CloseReason::Silent, out),
            Phase::Settling { until } if now >= until => self.start(context, out),
            Phase::Mining => {
                if self.vardiff.as_mut().and_then(|vardiff| vardiff.tick(now)).is_some() {
                    self.send_level(context, out);
                }
            }
            Phase::Greeting { .. } | Phase::Settling { .. } | Phase::Closing => {}
        }
    }

    /// What is kept of a miner that left, if it had work.
    pub fn park(self, now: Now) -> Option<Parked> {
        let had_work = !self.given.levels.0.is_empty();
        had_work.then_some(Parked { since: now.mono, given: self.given })
    }

    /// Takes up what was parked.
    pub fn resume(&mut self, parked: Parked) {
        self.given = parked.given;
    }

    fn request(&mut self, context: &mut Context<'_>, request: Request<'_>, out: &mut Outbox) {
        let id = request.id;
        match request.method {
            Method::Submit(submit) => self.submit(context, id, &submit, out),
            Method::Subscribe(subscribe) => self.subscribe(context, id, &subscribe, out),
            Method::Authorize(login) => self.authorize(context, id, &login, out),
            Method::Configure(configure) => self.configure(context, id, &configure, out),
            Method::SuggestDifficulty(wish) => {
                self.answer(id, out, |b| reply::accepted(b, id));
                if let Some(wish) = wish {
                    self.suggest(context, wish, out);
                }
            }
            Method::ExtranonceSubscribe | Method::Capabilities | Method::MultiVersion => {
                self.answer(id, out, |b| reply::accepted(b, id));
            }
            Method::Ping => self.answer(id, out, |b| reply::words(b, id, "pong")),
            Method::GetTransactions => self.answer(id, out, |b| reply::no_transactions(b, id)),
            Method::GetVersion => self.answer(id, out, |b| reply::words(b, id, VERSION)),
            Method::Pong => {}
            Method::Unknown(_) => {
                self.answer(id, out, |b| reply::rejected(b, id, &Reject::UnknownMethod))
            }
        }
    }

    /// Answers a call that nothing depends on, unless its id is null: bfgminer sends such calls
    /// before subscribe and takes the first line that it hears for the answer to that.
    fn answer(&self, id: Id<'_>, out: &mut Outbox, write: impl FnOnce(&mut Vec<u8>)) {
        if !id.is_null() {
            out.reply(self.conn(), write);
        }
    }

    fn subscribe(
        &mut self,
        context: &mut Context<'_>,
        id: Id<'_>,
        subscribe: &Subscribe<'_>,
        out: &mut Outbox,
    ) {
        if !subscribe.user_agent.is_empty() {
            self.user_agent = subscribe.user_agent.chars().take(MAX_NAME).collect();
            self.profile = firmware::identify(&self.user_agent, &context.rules.overrides);
        }
        if !self.subscribed
            && let Some(wanted) = &subscribe.session_id
            && let Some(extranonce1) = context.rules.session_key.verify(wanted)
        {
            self.identity.extranonce1 = extranonce1;
            self.resumed = true;
            if let Some(parked) = context.parked.remove(&extranonce1) {
                self.resume(parked);
            }
        }
        self.subscribed = true;
        let session_id = context.rules.session_key.sign(self.extranonce1());
        let (extranonce, split) = (self.extranonce_prefix(), self.extranonce2_at());
        out.reply(self.conn(), |b| {
            let size = EXTRANONCE_SIZE - split;
            reply::subscribed(b, id, &session_id, &extranonce[..split], size);
        });
        self.introduced(context);
    }

    fn authorize(
        &mut self,
        context: &mut Context<'_>,
        id: Id<'_>,
        login: &Authorize<'_>,
        out: &mut Outbox,
    ) {
        if let Some(password) = &context.rules.password
            && !login.password.split(',').any(|part| part.trim() == password)
        {
            let wrong = Reject::WrongPassword;
            out.reply(self.conn(), |b| reply::rejected(b, id, &wrong));
            out.push(Output::Rejected { conn: self.conn(), why: wrong, reached: None });
            self.close(CloseReason::BadPassword, out);
            return;
        }
        // The owner's own password may have digits.
        let secret = context.rules.password.as_deref();
        let parts = login.password.split(',').filter(|part| Some(part.trim()) != secret);
        let password: String = parts.collect::<Vec<_>>().join(",").chars().take(MAX_NAME).collect();
        self.asked = firmware::password_difficulty(&password);
        out.reply(self.conn(), |b| reply::accepted(b, id));
        let name: String = login.user.chars().take(MAX_NAME).collect();
        if self.worker.as_ref() != Some(&name) {
            self.worker = Some(name);
            self.apply(context.rules);
            out.push(Output::Authorized { conn: self.conn() });
        }
        self.introduced(context);
    }

    fn configure(
        &mut self,
        context: &mut Context<'_>,
        id: Id<'_>,
        configure: &Configure,
        out: &mut Outbox,
    ) {
        let mask = configure.version_rolling.then_some(configure.mask & VERSION_MASK);
        out.reply(self.conn(), |b| reply::configured(b, id, mask));
        if let Some(least) = configure.minimum_difficulty
            && self.suggestion.is_none()
        {
            self.suggest(context, least, out);
        }
    }

    fn introduced(&mut self, context: &Context<'_>) {
        if self.subscribed
            && self.worker.is_some()
            && let Phase::Greeting { .. } = self.phase
        {
            self.phase = Phase::Settling { until: context.now.mono + SETTLE };
        }
    }

    fn suggest(&mut self, context: &mut Context<'_>, wish: f64, out: &mut Outbox) {
        if self.is_mining() && self.is_old(wish) {
            return;
        }
        let is_newer = self.suggestion.replace(wish).is_some();
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
    fn send_level(&mut self, context: &mut Context<'_>, out: &mut Outbox) {
        let Some(level) = self.level() else { return };
        let Some(job) = context.jobs.issue(context.now) else { return };
        let job = job.clone();
        context.job_records.note(|| JobRecord::Job { id: job.id, ntime: job.ntime });
        self.give_level(job.id, level, context.job_records);
        let line = match self.give_payee(&job, context.job_records) {
            Some(coinbase) => job.notify_line_with(&coinbase, true),
            None => job.notify_line(true),
        };
        out.reply(self.conn(), |b| {
            reply::set_difficulty(b, level.0);
            b.extend_from_slice(line.as_bytes());
        });
    }

    fn submit(
        &mut self,
        context: &mut Context<'_>,
        id: Id<'_>,
        submit: &Submit<'_>,
        out: &mut Outbox,
    ) {
        let conn = self.conn();
        match self.evaluate(context, submit, out) {
            Ok(counted) => {
                out.reply(conn, |b| reply::accepted(b, id));
                out.push(Output::Share {
                    conn,
                    credited: counted.credited,
                    reached: counted.reached,
                    height: counted.height,
                });
                let now = context.now.mono;
                let vardiff = self.vardiff.as_mut();
                if vardiff.and_then(|v| v.share(now, counted.credited.0)).is_some() {
                    self.send_level(context, out);
                }
            }
            Err((why, reached)) => {
                out.reply(conn, |b| reply::rejected(b, id, &why));
                out.push(Output::Rejected { conn, why, reached });
            }
        }
    }

    /// Proves the share, hands on a block if it is one, and only then asks whether it counts.
    fn evaluate(
        &mut self,
        context: &mut Context<'_>,
        submit: &Submit<'_>,
        out: &mut Outbox,
    ) -> Result<Counted, (Reject, Option<Difficulty>)> {
        let now = context.now;
        let known = submit.job_id.parse().map(|id| context.jobs.find(id));
        let (job, stale_since) = match known {
            Ok(Lookup::Current(job)) => (job, None),
            Ok(Lookup::Stale(job, since)) => (job, Some(since)),
            Ok(Lookup::Unknown) | Err(_) => return Err((Reject::UnknownJob, None)),
        };
        let submission = self.submission(job.id, submit);
        let coinbase = self.coinbase_of(job);
        let share = Share::prove_with(job, &coinbase, &submission);
        if share.solves {
            let block = self.solved(now, (job, &coinbase), &submission, &share, submit);
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
        let own = self.given.levels.at(job.id).copied().unwrap_or(start);
        let least = self.given.levels.least_since(job.id).unwrap_or(own);
        let node_time = job.work.node_time(now.mono);
        let counts_at =
            |wanted| share.check_rules(job, &submission, node_time, wanted).map(|()| wanted);
        let credited =
            counts_at(own).or_else(|why| counts_at(least).map_err(|_| why)).map_err(refuse)?;
        if !context.seen.insert(&share.hash) {
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

    fn submission(&self, job: JobId, submit: &Submit<'_>) -> Submission {
        let mut extranonce = self.extranonce_prefix();
        submit.extranonce2(&mut extranonce[self.extranonce2_at()..]);
        Submission {
            job,
            extranonce,
            ntime: submit.ntime,
            nonce: submit.nonce,
            version_bits: submit.version_bits,
        }
    }

    fn solved(
        &self,
        now: Now,
        (job, coinbase): (&Job, &Coinbase),
        submission: &Submission,
        share: &Share,
        submit: &Submit<'_>,
    ) -> SolvedBlock {
        let template = &job.work.template;
        let coinbase = coinbase.in_block(&submission.extranonce);
        SolvedBlock {
            hash: share.hash,
            height: template.height,
            unix: now.unix,
            reward: template.value,
            worker: self.worker.clone().unwrap_or_else(|| submit.worker.to_string()),
            bytes: block::assemble(&share.header, &coinbase, &template.txs),
        }
    }

    /// The extranonce as far as it is ours, with zeros after it. A miner that takes a shorter
    /// extranonce2 is given some of the zeros as part of its extranonce1.
    fn extranonce_prefix(&self) -> [u8; EXTRANONCE_SIZE] {
        let mut extranonce = [0; EXTRANONCE_SIZE];
        extranonce[..4].copy_from_slice(&self.identity.extranonce1.0);
        extranonce
    }

    /// Where extranonce2 begins.
    fn extranonce2_at(&self) -> usize {
        EXTRANONCE_SIZE - self.profile.extranonce2_size
    }

    fn close(&mut self, why: CloseReason, out: &mut Outbox) {
        self.phase = Phase::Closing;
        out.push(Output::Close { conn: self.conn(), why });
    }
}

/// A share that counts.
struct Counted {
    credited: Difficulty,
    reached: Difficulty,
    height: u32,
}

impl<T> Default for History<T> {
    fn default() -> History<T> {
        History(VecDeque::new())
    }
}

impl<T> History<T> {
    fn push(&mut self, from: JobId, value: T) {
        if self.0.len() >= MAX_LEVELS {
            self.0.pop_front();
        }
        self.0.push_back((from, value));
    }

    fn latest(&self) -> Option<&T> {
        self.0.back().map(|(_, value)| value)
    }

    /// What was in force with a job: the last that came with it or before it. What came after all
    /// that is remembered stands for what is not.
    fn at(&self, job: JobId) -> Option<&T> {
        self.since(job).next()
    }

    /// What was given with a job or before it; nothing stands in for what came later.
    fn given(&self, job: JobId) -> Option<&T> {
        self.0.iter().rfind(|(from, _)| !job.is_before(*from)).map(|(_, value)| value)
    }

    /// What a job had and what came later.
    fn since(&self, job: JobId) -> impl Iterator<Item = &T> {
        let first = self.0.iter().rposition(|(from, _)| !job.is_before(*from)).unwrap_or(0);
        self.0.range(first.min(self.0.len())..).map(|(_, value)| value)
    }
}

impl Levels {
    /// The lowest difficulty since a job. ESP-Miner works on the old job at the new difficulty
    /// from when it has read that until it has read the new job.
    fn least_since(&self, job: JobId) -> Option<Difficulty> {
        self.since(job).copied().min_by(|a, b| a.0.total_cmp(&b.0))
    }
}

impl Given {
    /// Notes what is in force, for a run that knows none of it.
    fn remind(&self, extranonce1: Extranonce1, job_records: &mut JobRecords) {
        if let Some((from, difficulty)) = self.levels.0.back().copied() {
            job_records.note(|| JobRecord::Level { extranonce1, from, difficulty });
        }
        if let Some((from, script @ Some(_))) = self.payees.0.back().cloned() {
            job_records.note(|| JobRecord::Payee { extranonce1, from, script });
        }
    }
}

impl Parked {
    /// A miner of an earlier run, of which nothing is known yet.
    pub fn restored_session(now: Now) -> Parked {
        Parked { since: now.mono, given: Given::default() }
    }

    /// The earlier run gave it this difficulty.
    pub fn restore_level(&mut self, from: JobId, difficulty: Difficulty) {
        self.given.levels.push(from, difficulty);
    }

    /// In the earlier run its blocks paid this script, or the owner.
    pub fn restore_payee(&mut self, from: JobId, script: Script) {
        self.given.payees.push(from, script);
    }

    /// Notes what it was given, for a run that knows none of it.
    pub fn remind(&self, extranonce1: Extranonce1, job_records: &mut JobRecords) {
        self.given.remind(extranonce1, job_records);
    }

    /// When the miner left.
    pub fn since(&self) -> Instant {
        self.since
    }
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
