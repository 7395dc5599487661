//! The pool and the sockets of the miners: lines in, outputs out.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::clock::Now;
use crate::config::Config;
use crate::ids::{ConnId, Extranonce1};
use crate::ledger::record::RejectReason;
use crate::ledger::totals::LedgerEvent;
use crate::pool::Input;
use crate::reject::Reject;
use crate::status::miners::class;
use crate::status::{EventKind, Level};
use crate::stratum::firmware::Saved;
use crate::stratum::frame::Lines;
use crate::stratum::outbox::Output;
use crate::stratum::session::{Rules, SessionKey};

use super::{State, recorder};

/// Refused callers that the page shows.
const MAX_KNOCKS: usize = 20;

/// A share for the previous block that comes this soon after the new one was on its way when the
/// block changed; the miner could not know.
const AT_CHANGE: Duration = Duration::from_secs(1);

/// What a miner is told of on the page, before there is anybody to be paid.
pub const NOT_SET_UP: &str = "this box is not set up yet";

/// The pool's rules by the config.
pub fn rules(config: &Config, session_key: SessionKey) -> Rules {
    Rules {
        session_key,
        password: config.stratum.password.as_ref().map(|secret| secret.expose().to_owned()),
        overrides: config.stratum.firmwares.clone(),
        payee_chains: match config.payout.per_miner {
            true => super::chains(config),
            false => Vec::new(),
        },
    }
}

impl State {
    pub(super) fn miner_connected(&mut self, now: Now, conn: ConnId, peer: IpAddr) {
        self.counters.connections += 1;
        log::debug!(conn = conn.0, peer:%; "miner {}: connected from {peer}", conn.0);
        // Without the system's random numbers the connection's number is as unique.
        let extranonce1 = getrandom::u32().unwrap_or(conn.0 as u32).to_be_bytes();
        let extranonce1 = Extranonce1(extranonce1);
        self.pool_input(now, Input::Connect { conn, peer, extranonce1 });
    }

    pub(super) fn lines(
        &mut self,
        now: Now,
        conn: ConnId,
        lines: &mut Lines,
        mut chunk: &[u8],
    ) -> Result<(), String> {
        let shares = self.counters.accepted + self.counters.rejected;
        let result = loop {
            match lines.next(&mut chunk) {
                Ok(Some(line)) => self.pool.line(now, conn, line, &mut self.outbox),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.to_string()),
            }
        };
        self.carry_out(now);
        if self.counters.accepted + self.counters.rejected > shares {
            self.figures.share_answer.add(now.mono.elapsed());
        }
        result
    }

    pub(super) fn miner_gone(&mut self, now: Now, conn: ConnId, why: &str) {
        if let Some(session) = self.pool.session(conn) {
            let name = session.worker().map(str::to_owned);
            let level = session.proven_difficulty();
            match self.books.workers.remove(&conn) {
                Some(worker) => {
                    if let Some(difficulty) = level {
                        self.ledger_event(now, LedgerEvent::Level { worker, difficulty });
                    }
                    self.ledger_event(now, LedgerEvent::Disconnected(worker));
                }
                None if self.canary.is(conn) => {}
                None => self.counters.handshake_failures += 1,
            }
            if let Some(name) = name.filter(|_| !self.canary.is(conn)) {
                let text = format!("Miner {name} left: {why}.");
                self.tell(now, EventKind::Miner, Level::Info, text);
            }
        }
        log::debug!(conn = conn.0; "miner {}: {why}", conn.0);
        self.canary.closed(conn);
        self.books.latest.remove(&conn);
        self.pool_input(now, Input::Closed { conn });
    }

    pub(super) fn miner_refused(&mut self, now: Now, peer: IpAddr, why: &'static str) {
        let kind = if why == NOT_SET_UP { "not_set_up" } else { "too_many" };
        *self.counters.dropped.entry(kind).or_default() += 1;
        self.knock(now, peer, why);
    }

    pub(super) fn tick_pool(&mut self, now: Now) {
        if self.pool.next_deadline().is_some_and(|at| now.mono >= at) {
            self.pool_input(now, Input::Tick);
        }
    }

    pub(super) fn reload_miners(&mut self, now: Now, old: &Config) {
        let said = |config: &Config| {
            let stratum = &config.stratum;
            let payees = rules(config, self.pool.session_key().clone()).payee_chains;
            (stratum.password.clone(), stratum.firmwares.clone(), payees)
        };
        if said(old) != said(&self.config) {
            let key = self.pool.session_key().clone();
            self.pool_input(now, Input::Rules(Box::new(rules(&self.config, key))));
        }
        if old.payout != self.config.payout {
            self.renew_work(now);
        }
    }

    pub(super) fn pool_input(&mut self, now: Now, input: Input) {
        self.pool.handle(now, input, &mut self.outbox);
        self.carry_out(now);
    }

    /// Does what the pool wants done, in its order: a block before all that follows from it.
    fn carry_out(&mut self, now: Now) {
        let mut solved = None;
        let mut outputs = self.outbox.take();
        // No miner has a job that a kill could make us forget. Only a block comes before that.
        if !outputs.iter().any(|output| matches!(output, Output::Block(_))) {
            self.keep_memos(now);
        }
        for output in outputs.drain(..) {
            match output {
                Output::Block(block) => {
                    solved = Some(block.hash);
                    self.solved(now, *block);
                }
                Output::Send { conn, bytes } => {
                    let bytes = self.outbox.bytes(&bytes);
                    // "true" to a block means that it survives our own death.
                    let kept = match solved.take() {
                        Some(block) => self.blocks.hold_answer(now, block, conn, bytes),
                        None => false,
                    };
                    if !kept {
                        self.server.send(conn, bytes);
                        self.figures.first_send.get_or_insert_with(Instant::now);
                    }
                    if self.recording.is_some() {
                        let bytes = bytes.to_vec();
                        self.overhear(now, conn, recorder::From::Us, &bytes);
                    }
                }
                Output::Close { conn, why } => {
                    log::info!("miner {}: disconnected: {}", conn.0, why.words());
                    if let Some(peer) = self.server.peer(conn)
                        && !self.books.workers.contains_key(&conn)
                    {
                        self.knock(now, peer, why.words());
                    }
                    self.server.close(conn);
                }
                Output::Authorized { conn } => self.authorized(now, conn),
                // Not the owner's, so in no total.
                Output::Share { conn, .. } if self.canary.is(conn) => {}
                Output::Rejected { conn, .. } if self.canary.is(conn) => {}
                Output::Share { conn, credited, reached, height } => {
                    self.counters.accepted += 1;
                    self.books.share_was(conn, None);
                    if let Some(worker) = self.books.workers.get(&conn).copied() {
                        let (difficulty, actual) = (credited.0, reached.0);
                        let share = LedgerEvent::Share { worker, difficulty, actual, height };
                        self.ledger_event(now, share);
                    }
                }
                Output::Rejected { conn, why, reached } => {
                    self.counters.rejected += 1;
                    log::debug!("miner {}: {why}", conn.0);
                    let Some(reason) = reason(&why) else { continue };
                    self.books.share_was(conn, Some(reason));
                    if let Some(session) = self.pool.session(conn) {
                        self.figures.rejected(class(&session.profile().model), reason);
                    }
                    if let Some(worker) = self.books.workers.get(&conn).copied() {
                        let actual = reached.map_or(0.0, |reached| reached.0);
                        let height = self.pool.jobs().work().map_or(0, |work| work.template.height);
                        let reject = LedgerEvent::Reject { worker, reason, actual, height };
                        self.ledger_event(now, reject);
                    }
                }
            }
        }
        self.outbox.clear();
        self.outbox.give_back(outputs);
        self.keep_memos(now);
        self.say_news(now);
    }

    /// Shows the newest piece of news at the miners.
    pub(super) fn say_news(&mut self, now: Now) {
        if let Some(text) = self.say.take() {
            self.pool_input(now, Input::Say(text));
        }
    }

    fn authorized(&mut self, now: Now, conn: ConnId) {
        let Some(session) = self.pool.session(conn) else { return };
        let name = session.worker().unwrap_or_default().to_owned();
        if self.canary.authorized(conn, &name) {
            self.counters.connections -= 1;
            return;
        }
        let device = session.profile().model.clone();
        let text = format!("Miner {name} connected from {}: {device}.", session.peer());
        let worker = self.books.ledger.worker(now, &name, &device);
        let saved =
            self.books.ledger.get(worker).and_then(|worker| {
                worker.fixed.map(Saved::Fixed).or(worker.level.map(Saved::Level))
            });
        self.books.connected(worker);
        if let Some(old) = self.books.workers.insert(conn, worker) {
            self.ledger_event(now, LedgerEvent::Disconnected(old));
        }
        self.ledger_event(now, LedgerEvent::Connected(worker));
        self.tell(now, EventKind::Miner, Level::Info, text);
        if let Some(saved) = saved {
            self.pool.handle(now, Input::Saved { conn, saved }, &mut self.outbox);
        }
    }

    fn knock(&mut self, now: Now, peer: IpAddr, why: &'static str) {
        let known = self.knocks.iter().position(|knock| knock.peer == peer && knock.why == why);
        let before =
            known.and_then(|place| self.knocks.remove(place)).map_or(0, |knock| knock.times);
        self.knocks.push_front(Knock { at: now.unix, peer, why, times: before + 1 });
        self.knocks.truncate(MAX_KNOCKS);
    }
}

/// Somebody who was not let in.
pub struct Knock {
    /// Last time, Unix seconds.
    pub at: u64,
    /// Who.
    pub peer: IpAddr,
    /// Why not.
    pub why: &'static str,
    /// How often, in a row of the list.
    pub times: u64,
}

/// What the ledger calls a reject; `None` for what was no share.
fn reason(why: &Reject) -> Option<RejectReason> {
    Some(match why {
        Reject::Stale { known_for, .. } if *known_for <= AT_CHANGE => RejectReason::StaleAtChange,
        Reject::Stale { .. } => RejectReason::Stale,
        Reject::UnknownJob => RejectReason::UnknownJob,
        Reject::Duplicate => RejectReason::Duplicate,
        Reject::LowDifficulty { .. } => RejectReason::LowDifficulty,
        Reject::NtimeTooOld | Reject::NtimeTooNew => RejectReason::BadTime,
        Reject::VersionBits { .. } => RejectReason::BadVersion,
        Reject::Malformed(_) => RejectReason::Malformed,
        Reject::Unauthorized => RejectReason::Unauthorized,
        Reject::WrongPassword | Reject::UnknownMethod => return None,
    })
}
