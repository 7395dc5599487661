//! The pool: everything between work and miners, without I/O.
//!
//! It owns the [`Jobs`] and one [`Session`] per miner: a connection, or a channel of one. New work goes to every miner that is
//! ready; lines of miners become answers, counted shares and solved blocks. It is one state
//! machine, the same in virtual time as in real time:
//!
//! ```text
//!           set_work ──► Jobs ──► notify to every session that mines
//!  line or
//! frame ──► Session ──► Share ──► Block (first!), answer, Share or Reject
//! ```

mod partner;
#[cfg(test)]
mod tests;
mod v2;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::clock::Now;
use crate::ids::{ConnId, Extranonce1, NodeId};
use crate::job::{Change, Job, Jobs, Work};
use crate::job_journal::{JobRecord, RestoredJobs};
use crate::share::Seen;
use crate::stratum::firmware::Saved;
use crate::stratum::given::{Elsewhere, JobRecords, Parked};
use crate::stratum::handover::{HandedSession, Unfit};
use crate::stratum::outbox::{CloseReason, Outbox, Output};
use crate::stratum::session::{Context, Identity, Rules, Session};
use crate::stratum::v2::connection::Connection;

pub use partner::Untaken;

/// A job goes to every miner at least this often: cgminer treats a pool as dead after 90 s of
/// silence.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Minimum time between two texts that miners show, because a person reads them.
const NOTICES: Duration = Duration::from_secs(10);

/// The text that miners show when they are disconnected for lack of work.
const NO_WORK: &str = "Soloist: no Bitcoin node has work. Please use the other pool.";

/// The node id for work of an earlier run: its node has another id now.
const NOBODY: NodeId = NodeId(u32::MAX);

/// How long the extranonce1 and the difficulties of a disconnected miner are kept for its return.
const KEEP_PARKED: Duration = Duration::from_secs(600);

/// Maximum disconnected miners that are remembered; the one that left first is dropped.
const MAX_PARKED: usize = 1024;

/// Inputs of the pool. Lines come by [`Pool::line`] and frames by [`Pool::frame`], which borrow them.
#[derive(Debug)]
pub enum Input {
    /// A miner connected. If its extranonce1 is in use, the pool chooses another one.
    Connect {
        /// Its connection; an id is never used twice.
        conn: ConnId,
        /// Its address.
        peer: IpAddr,
        /// A random extranonce1.
        extranonce1: Extranonce1,
    },
    /// A connection ended, for whatever reason, and with it all its channels.
    Closed {
        /// Which one.
        conn: ConnId,
    },
    /// In answer to [`Output::Left`]: all that is to be known of the miner is noted.
    Left {
        /// Its channel.
        conn: ConnId,
    },
    /// The ledger's data about a worker, in answer to [`Output::Authorized`].
    Saved {
        /// Its connection.
        conn: ConnId,
        /// Its difficulty.
        saved: Saved,
    },
    /// The owner fixes a miner's difficulty, or (`None`) returns it to vardiff.
    Fix {
        /// Its connection.
        conn: ConnId,
        /// The difficulty.
        difficulty: Option<f64>,
    },
    /// A connection's name from now on, in the place of the one that it authorised with.
    Rename {
        /// Its connection.
        conn: ConnId,
        /// The name.
        name: String,
    },
    /// New work from a node.
    Work(Box<Work>),
    /// No node has had valid work for too long: send every miner to another pool.
    NoWork,
    /// The rules changed.
    Rules(Box<Rules>),
    /// Miners that come from now on get their extranonces from this half of all; `None` is all.
    Side(Option<bool>),
    /// A text for the miners that can show it, now or soon. A later text replaces one that still
    /// waits.
    Say(String),
    /// Time passed: [`Pool::next_deadline`] is reached.
    Tick,
}

/// See the module's description.
#[derive(Debug)]
pub struct Pool {
    rules: Rules,
    jobs: Jobs,
    seen: Seen,
    sessions: BTreeMap<ConnId, Session>,
    /// The connections that speak Stratum V2.
    v2: BTreeMap<ConnId, Connection>,
    /// The connection of each extranonce1. No two miners may search the same space.
    extranonces: BTreeMap<Extranonce1, ConnId>,
    /// The half of them that is given away.
    side: Option<bool>,
    parked: BTreeMap<Extranonce1, Parked>,
    /// What the other box of the pair gave its miners with the jobs of it that are known, and counted.
    partners: Elsewhere,
    /// When all miners last got a job.
    last_notify: Option<Instant>,
    job_records: JobRecords,
    /// Sessions of which the next run would have to know something new.
    news: Vec<ConnId>,
    /// The next text to show.
    notice: Option<String>,
    /// When a text was last shown.
    last_notice: Option<Instant>,
    /// At or before the first time at which a session wants a tick.
    wake: Option<Instant>,
}

impl Pool {
    /// A pool without work. For `first_job_id` see [`Jobs::new`].
    pub fn new(rules: Rules, first_job_id: u32) -> Pool {
        Pool {
            rules,
            jobs: Jobs::new(first_job_id),
            seen: Seen::default(),
            sessions: BTreeMap::new(),
            v2: BTreeMap::new(),
            extranonces: BTreeMap::new(),
            side: None,
            parked: BTreeMap::new(),
            partners: Elsewhere::default(),
            last_notify: None,
            job_records: JobRecords::default(),
            news: Vec::new(),
            notice: None,
            last_notice: None,
            wake: None,
        }
    }

    /// Restores the jobs of an earlier run; call it before anything else. From now on job records
    /// are noted for [`Pool::job_records`].
    pub fn restore_jobs(&mut self, now: Now, restored: RestoredJobs) {
        self.job_records.wanted = true;
        let tip = restored.tip();
        let (mut work, mut jobs) = (None, Vec::new());
        for record in restored.records {
            match record {
                JobRecord::Tip => {}
                JobRecord::Work { template, coinbase, received, .. } => {
                    let on_tip = Some(template.prev) == tip;
                    work = on_tip.then(|| {
                        Rc::new(Work::with_coinbase(template, coinbase, NOBODY, received, false))
                    });
                }
                JobRecord::Job { id, ntime } => {
                    jobs.extend(work.clone().map(|work| Job { id, ntime, work }));
                }
                JobRecord::Level { extranonce1, from, difficulty } => {
                    self.restored_session(now, extranonce1).restore_level(from, difficulty);
                }
                JobRecord::Payee { extranonce1, from, script } => {
                    self.restored_session(now, extranonce1).restore_payee(from, script);
                }
                JobRecord::Share(key) => drop(self.seen.insert_key(key)),
            }
        }
        self.jobs.restore_jobs(jobs);
        while self.parked.len() > MAX_PARKED {
            self.parked.pop_first();
        }
    }

    fn restored_session(&mut self, now: Now, extranonce1: Extranonce1) -> &mut Parked {
        self.parked.entry(extranonce1).or_insert_with(|| Parked::restored_session(now))
    }

    /// The job records since the last call, in their order. Empty unless [`Pool::restore_jobs`] was
    /// called.
    pub fn job_records(&mut self) -> std::vec::Drain<'_, JobRecord> {
        self.job_records.list.drain(..)
    }

    /// Goes on with a session of the run before, whose connection is still there. Its shares are judged at
    /// once, by the jobs that were restored; call it after [`Pool::restore_jobs`].
    ///
    /// # Errors
    /// It cannot go on: close the connection.
    pub fn take_up(
        &mut self,
        now: Now,
        conn: ConnId,
        peer: IpAddr,
        handed: HandedSession,
    ) -> Result<(), Unfit> {
        let extranonce1 = handed.extranonce1;
        if self.extranonces.contains_key(&extranonce1) {
            return Err(Unfit::TwiceThere);
        }
        // What it was given stays for its return where it does not fit.
        let parked = self.parked.get(&extranonce1).cloned();
        let session = Session::take_up(now, (conn, peer), handed, &self.rules, parked)?;
        self.parked.remove(&extranonce1);
        self.extranonces.insert(extranonce1, conn);
        self.wake = earlier(self.wake, session.next_deadline());
        self.sessions.insert(conn, session);
        self.news.push(conn);
        Ok(())
    }

    /// The sessions of which [`Session::handed`] has changed since the last call.
    pub fn news(&mut self) -> std::vec::Drain<'_, ConnId> {
        self.news.drain(..)
    }

    /// Takes an input, and appends its outputs to `out`.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        match input {
            Input::Connect { conn, peer, extranonce1 } => {
                self.connect(now, conn, peer, extranonce1, out)
            }
            Input::Closed { conn } => {
                self.channels(conn).for_each(|channel| self.left(now, channel));
                self.v2.remove(&conn);
            }
            Input::Left { conn } => self.left(now, conn),
            Input::Saved { conn, saved } => {
                self.with_session(now, conn, |s, context| s.restore(context, saved, out));
            }
            Input::Fix { conn, difficulty } => {
                self.with_session(now, conn, |s, context| s.fix(context, difficulty, out));
            }
            Input::Rename { conn, name } => {
                self.with_session(now, conn, |s, _| s.rename(name));
            }
            Input::Work(work) => self.set_work(now, *work, out),
            Input::NoWork => self.drop_work(now, out),
            Input::Rules(rules) => {
                self.rules = *rules;
                self.sessions.values_mut().for_each(|session| session.apply(&self.rules));
            }
            Input::Side(side) => self.side = side,
            Input::Say(text) => {
                self.notice = Some(text);
                self.say(now, out);
            }
            Input::Tick => self.tick(now, out),
        }
    }

    /// Takes a line from a miner, without its line feed. This is the hot path.
    pub fn line(&mut self, now: Now, conn: ConnId, line: &[u8], out: &mut Outbox) {
        let extranonces = self.with_session(now, conn, |session, context| {
            let before = session.extranonce1();
            session.line(context, line, out);
            (before, session.extranonce1())
        });
        if let Some((before, after)) = extranonces
            && before != after
        {
            self.take_over(now, conn, before, after, out);
        }
    }

    /// Runs one session, and notes when it wants its next tick. `None` for an unknown connection.
    fn with_session<T>(
        &mut self,
        now: Now,
        conn: ConnId,
        work: impl FnOnce(&mut Session, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let session = self.sessions.get_mut(&conn)?;
        let mut context = Context {
            now,
            rules: &self.rules,
            jobs: &mut self.jobs,
            seen: &mut self.seen,
            parked: &mut self.parked,
            partners: &self.partners,
            job_records: &mut self.job_records,
        };
        let done = work(session, &mut context);
        if session.take_news() {
            self.news.push(conn);
        }
        self.wake = earlier(self.wake, session.next_deadline());
        Some(done)
    }

    /// When [`Input::Tick`] is due. May be early, never late.
    pub fn next_deadline(&self) -> Option<Instant> {
        let heartbeat = self.jobs.work().and(self.last_notify).map(|last| last + HEARTBEAT);
        let notice = self.notice.as_ref().and(self.last_notice).map(|last| last + NOTICES);
        earlier(earlier(self.wake, heartbeat), notice)
    }

    /// The sent jobs and the current work.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// When all miners last heard a job.
    pub fn last_notify(&self) -> Option<Instant> {
        self.last_notify
    }

    /// Every connected miner, for the status page.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    /// One connected miner.
    pub fn session(&self, conn: ConnId) -> Option<&Session> {
        self.sessions.get(&conn)
    }

    /// The rules for sessions of miners.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether miners are accepted.
    pub fn is_open(&self) -> bool {
        self.jobs.work().is_some()
    }

    fn connect(
        &mut self,
        now: Now,
        conn: ConnId,
        peer: IpAddr,
        extranonce1: Extranonce1,
        out: &mut Outbox,
    ) {
        if !self.is_open() {
            out.push(Output::Close { conn, why: CloseReason::NoWork });
            return;
        }
        let extranonce1 = self.free_extranonce1(extranonce1);
        self.extranonces.insert(extranonce1, conn);
        let session = Session::new(now, Identity { conn, peer, extranonce1 });
        self.wake = earlier(self.wake, session.next_deadline());
        self.sessions.insert(conn, session);
    }

    /// This one, or the next after it that nobody has.
    fn free_extranonce1(&self, extranonce1: Extranonce1) -> Extranonce1 {
        let mut extranonce1 = extranonce1.on_side(self.side);
        while self.extranonces.contains_key(&extranonce1) || self.parked.contains_key(&extranonce1)
        {
            extranonce1 = extranonce1.next().on_side(self.side);
        }
        extranonce1
    }

    fn left(&mut self, now: Now, conn: ConnId) {
        let Some(session) = self.sessions.remove(&conn) else { return };
        let extranonce1 = session.extranonce1();
        // A miner that reconnected already holds it.
        if self.extranonces.get(&extranonce1) != Some(&conn) {
            return;
        }
        self.extranonces.remove(&extranonce1);
        if let Some(parked) = session.park(now) {
            self.parked.retain(|_, parked| {
                now.mono.saturating_duration_since(parked.since()) < KEEP_PARKED
            });
            if self.parked.len() >= MAX_PARKED
                && let Some(oldest) =
                    self.parked.iter().min_by_key(|(_, parked)| parked.since()).map(|(e, _)| *e)
            {
                self.parked.remove(&oldest);
            }
            self.parked.insert(extranonce1, parked);
        }
    }

    /// A session resumed an earlier one and now has its extranonce1. If the earlier session is
    /// still connected, usually by a half-open socket, it is closed.
    fn take_over(
        &mut self,
        now: Now,
        conn: ConnId,
        before: Extranonce1,
        after: Extranonce1,
        out: &mut Outbox,
    ) {
        self.extranonces.remove(&before);
        let predecessor = self.extranonces.insert(after, conn);
        let Some(old) = predecessor.filter(|old| *old != conn) else { return };
        let parked = self.sessions.remove(&old).and_then(|session| session.park(now));
        if let (Some(parked), Some(session)) = (parked, self.sessions.get_mut(&conn)) {
            session.resume(parked);
        }
        out.push(Output::Close { conn: old, why: CloseReason::Resumed });
    }

    fn set_work(&mut self, now: Now, work: Work, out: &mut Outbox) {
        let goes_on = self.jobs.work().is_none() && self.jobs.has_restored(work.template.prev);
        let tip = work.template.prev;
        let change = self.jobs.set_work(now, work);
        if change == Change::NewTip && !goes_on {
            // The other box was on this tip before: shares of its jobs have counted here.
            if !self.jobs.has_partners(tip) {
                self.seen.clear();
            }
            if !self.jobs.has_any_partners() {
                self.partners = Elsewhere::default();
            }
            self.job_records.note(|| JobRecord::Tip);
            self.sessions.values().for_each(|session| session.remind(&mut self.job_records));
            let parked = self.parked.iter();
            parked.for_each(|(e, parked)| parked.remind(*e, &mut self.job_records));
        }
        if let Some(work) = self.jobs.work() {
            self.job_records.note(|| JobRecord::Work {
                template: work.template.clone(),
                coinbase: work.coinbase.clone(),
                version: work.version(),
                received: work.received,
            });
        }
        // Who mines on the jobs of the run before goes on with them.
        self.notify_all(now, change == Change::NewTip && !goes_on, out);
    }

    /// Sends one job to all; its line is written once, if anybody reads lines.
    fn notify_all(&mut self, now: Now, clean: bool, out: &mut Outbox) {
        let Some(job) = self.jobs.issue(now) else { return };
        self.job_records.note(|| JobRecord::Job { id: job.id, ntime: job.ntime });
        let line = OnceCell::new();
        self.last_notify = Some(now.mono);
        for session in self.sessions.values_mut() {
            session.broadcast(now, (job, clean), &line, &mut self.job_records, out);
            if session.take_news() {
                self.news.push(session.conn());
            }
        }
    }

    /// Shows the waiting text, unless another one was shown just before.
    fn say(&mut self, now: Now, out: &mut Outbox) {
        if self.last_notice.is_some_and(|last| now.mono < last + NOTICES) {
            return;
        }
        if let Some(text) = self.notice.take() {
            self.last_notice = Some(now.mono);
            self.sessions.values().for_each(|session| session.say(&text, out));
        }
    }

    fn drop_work(&mut self, now: Now, out: &mut Outbox) {
        self.jobs.drop_work(now);
        self.last_notify = None;
        self.notice = None;
        for session in self.sessions.values() {
            session.say(NO_WORK, out);
            out.push(Output::Close { conn: session.conn(), why: CloseReason::NoWork });
        }
        // Those whose channels have all left.
        let idle = self.v2.keys().filter(|conn| !self.sessions.contains_key(conn));
        idle.for_each(|conn| out.push(Output::Close { conn: *conn, why: CloseReason::NoWork }));
    }

    fn tick(&mut self, now: Now, out: &mut Outbox) {
        if self.last_notify.is_some_and(|last| now.mono >= last + HEARTBEAT) {
            self.notify_all(now, false, out);
        }
        self.say(now, out);
        self.wake = None;
        for conn in self.sessions.keys().copied().collect::<Vec<_>>() {
            let due = self.with_session(now, conn, |session, context| session.tick(context, out));
            if let Some(why) = due.flatten() {
                self.end(conn, why, out);
            }
        }
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
