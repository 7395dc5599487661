//! The sockets of the miners: their bytes go to the engine, its answers to them.

use std::net::IpAddr;
use std::time::Instant;

use crate::clock::Now;
use crate::config::Config;
use crate::difficulty::Difficulty;
use crate::engine::Input;
use crate::ids::{ConnId, Extranonce1};
use crate::ledger::record::RejectReason;
use crate::ledger::totals::{LedgerEvent, WorkerId};
use crate::reject::Reject;
use crate::status::miners::{class, own_name};
use crate::status::{EventKind, Level, words};
use crate::stratum::frame::Framing;
use crate::stratum::outbox::CloseReason;
use crate::stratum::session::{Rules, SessionKey};

use super::ledger::CountedShare;
use super::{State, canary};

/// Maximum refused peers that the page shows.
const MAX_REFUSED_PEERS: usize = 20;

/// The reason shown on the page for a miner that is refused before the set-up.
pub(super) const NOT_SET_UP: &str = "this box is not set up yet";

/// The rules for miners, from the config.
pub(super) fn rules(config: &Config, session_key: SessionKey) -> Rules {
    Rules {
        session_key,
        password: config.stratum.password.as_ref().map(|secret| secret.expose().to_owned()),
        overrides: config.stratum.firmwares.clone(),
        payee_chains: super::chains_of_payees(config),
    }
}

impl State {
    pub(super) fn miner_connected(&mut self, now: Now, conn: ConnId, peer: IpAddr) {
        self.counters.connected();
        log::debug!(conn = conn.0, peer:%; "miner {}: connected from {peer}", conn.0);
        // Without the system's random numbers use the connection's number, which is unique too.
        let extranonce1 = getrandom::u32().unwrap_or(conn.0 as u32).to_be_bytes();
        let extranonce1 = Extranonce1(extranonce1);
        self.engine_input(now, Input::Connected { conn, peer, extranonce1 });
        self.expect_partners_miner(now, conn);
    }

    pub(super) fn received(
        &mut self,
        now: Now,
        conn: ConnId,
        framing: &mut Framing,
        chunk: &[u8],
    ) -> Result<(), String> {
        let shares = self.counters.accepted + self.counters.rejected;
        let result = self.engine.received(now, conn, framing, chunk);
        self.carry_out(now);
        if self.counters.accepted + self.counters.rejected > shares {
            self.timings.share_answer.add(now.mono.elapsed());
        }
        result.map_err(|error| error.to_string())
    }

    /// A connection ended.
    pub(super) fn miner_gone(&mut self, now: Now, conn: ConnId, why: &str) {
        for channel in self.engine.pool().channels(conn) {
            self.miner_left(now, channel, why);
        }
        log::debug!(conn = conn.0; "miner {}: {why}", conn.0);
        self.engine_input(now, Input::Disconnected(conn));
    }

    /// Notes all that is to be known of a miner that leaves: of a connection, or of one of its channels.
    pub(super) fn miner_left(&mut self, now: Now, conn: ConnId, why: &str) {
        if let Some(session) = self.engine.pool().session(conn) {
            let name = session.worker().map(str::to_owned);
            let (level, wish) = (session.proven_difficulty(), session.wish());
            let worker = self.ledger.workers.remove(&conn);
            match worker {
                Some(worker) => {
                    self.keep_difficulty(now, worker, level, wish);
                    self.ledger_event(now, LedgerEvent::Disconnected(worker));
                }
                None if self.canary.is(conn) => {}
                None => self.counters.handshake_failures += 1,
            }
            if let Some(name) = name.filter(|_| worker.is_some()) {
                let text = format!("Miner {} left: {why}.", self.shown_name(&name));
                self.tell(now, EventKind::Miner, Level::Info, text);
            }
        }
        self.canary.closed(conn);
        self.ledger.latest.remove(&conn);
        self.ledger.take_unnamed(conn);
        self.connection_ends(now, conn);
    }

    pub(super) fn share_counted(&mut self, now: Now, conn: ConnId, share: CountedShare) {
        self.proved(now, conn);
        // The canary's shares are not the owner's and count in no total.
        if self.canary.is(conn) {
            return;
        }
        self.counters.accepted += 1;
        self.ledger.share_was(conn, None);
        match self.ledger.workers.get(&conn).copied() {
            Some(worker) => self.count_for(now, worker, share),
            None => self.ledger.keep_unnamed(conn, share),
        }
    }

    fn count_for(&mut self, now: Now, worker: WorkerId, share: CountedShare) {
        let CountedShare { credited, reached, height } = share;
        let (difficulty, actual) = (credited.0, reached.0);
        self.count_share(now, worker, LedgerEvent::Share { worker, difficulty, actual, height });
    }

    pub(super) fn share_rejected(
        &mut self,
        now: Now,
        conn: ConnId,
        why: &Reject,
        reached: Option<Difficulty>,
    ) {
        if self.canary.is(conn) {
            return;
        }
        self.counters.rejected += 1;
        log::debug!("miner {}: {why}", conn.0);
        let Some(reason) = reason(why) else { return };
        self.ledger.share_was(conn, Some(reason));
        let pool = self.engine.pool();
        if let Some(session) = pool.session(conn) {
            self.timings.rejected(class(&session.profile().model), reason);
        }
        if let Some(worker) = self.ledger.workers.get(&conn).copied() {
            let actual = reached.map_or(0.0, |reached| reached.0);
            let height = pool.jobs().work().map_or(0, |work| work.template.height);
            let event = LedgerEvent::Reject { worker, reason, actual, height };
            self.count_share(now, worker, event);
        }
    }

    pub(super) fn close_miner(&mut self, now: Now, conn: ConnId, why: CloseReason) {
        log::info!("miner {}: disconnected: {}", conn.0, why.words());
        self.doors.count(why.into());
        self.connection_ends(now, conn);
        if let Some(peer) = self.server.peer(conn)
            && !self.ledger.workers.contains_key(&conn)
        {
            self.remember_refused(now, peer, why.words());
        }
        self.server.close(conn);
    }

    pub(super) fn authorized(&mut self, now: Now, conn: ConnId) {
        if !self.seat(now, conn) {
            return;
        }
        let Some(session) = self.engine.pool().session(conn) else { return };
        let name = session.worker().unwrap_or_default().to_owned();
        if self.canary.authorized(conn, &name) {
            self.counters.was_the_canary();
            let name = canary::SHOWN.to_owned();
            self.engine.handle(now, Input::Rename { conn, name });
            return;
        }
        let (device, peer) = (session.profile().model.clone(), session.peer());
        let user = name;
        let name = self.ledger_name(&user, &device, peer);
        let text = format!("Miner {} connected from {peer}: {device}.", self.shown_name(&name));
        let worker = self.ledger.core.worker(now, &name, &device);
        let saved = self.ledger.saved(worker);
        let (fault, asks_unclearly) = (session.payee_fault(), session.asks_unclearly());
        let notes: Vec<(Level, String)> = [
            fault.map(|fault| (Level::Warning, words::payee_fault(&name, fault))),
            asks_unclearly.then(|| (Level::Info, words::unclear_difficulty(&name))),
        ]
        .into_iter()
        .flatten()
        .collect();
        self.timings.met(class(&device));
        self.ledger.connected(worker);
        if let Some(old) = self.ledger.workers.insert(conn, worker) {
            self.ledger_event(now, LedgerEvent::Disconnected(old));
        }
        self.ledger_event(now, LedgerEvent::Connected(worker));
        for share in self.ledger.take_unnamed(conn) {
            self.count_for(now, worker, share);
        }
        self.tell(now, EventKind::Miner, Level::Info, text);
        for (level, note) in notes {
            self.tell(now, EventKind::Miner, level, note);
        }
        if let Some(saved) = self.saved_in_pair(&user, &device, saved) {
            self.engine.handle(now, Input::Known { conn, saved });
        }
    }

    /// Tells of each miner whose name begins like an address that is not paid.
    pub(super) fn tell_of_unpaid_names(&mut self, now: Now) {
        let sessions = self.engine.pool().sessions();
        let texts: Vec<String> = sessions
            .filter_map(|session| {
                Some(words::payee_fault(session.worker()?, session.payee_fault()?))
            })
            .collect();
        for text in texts {
            self.tell(now, EventKind::Miner, Level::Warning, text);
        }
    }

    /// Under which name the ledger keeps a miner. An address of the owner's in front of it, the present
    /// one or a former one, is no part of it: a miner keeps its history when it is told another payout
    /// address. A name that is in the ledger as it is stays, and so does one that another miner of the
    /// same kind uses at this moment without that address.
    pub(super) fn ledger_name(&self, user: &str, device: &str, peer: IpAddr) -> String {
        let ledger = &self.ledger.core;
        let mut same_kind: Vec<_> =
            ledger.workers().filter(|(_, worker)| worker.device == device).collect();
        if same_kind.iter().any(|(_, worker)| worker.name == user) {
            return user.to_owned();
        }
        let owner = self.owners_address();
        let name = own_name(user, &owner, ledger);
        same_kind.retain(|(_, worker)| own_name(&worker.name, &owner, ledger) == name);
        same_kind.sort_by_key(|(_, worker)| std::cmp::Reverse(worker.totals().last_share));
        let is_another = |id: WorkerId| {
            let conns = self.ledger.workers.iter().filter(|(_, worker)| **worker == id);
            let mut sessions = conns.filter_map(|(conn, _)| self.engine.pool().session(*conn));
            sessions.any(|session| session.peer() != peer && session.worker() != Some(user))
        };
        match same_kind.first() {
            Some((id, _)) if is_another(*id) => user.to_owned(),
            Some((_, worker)) => worker.name.clone(),
            None => name.to_owned(),
        }
    }

    /// The worker that a block names, whatever its device.
    pub(super) fn worker_by_name(&self, user: &str) -> Option<WorkerId> {
        let known = self.ledger.core.named(user);
        let owner = self.owners_address();
        known.or_else(|| self.ledger.core.named(own_name(user, &owner, &self.ledger.core)))
    }

    pub(super) fn remember_refused(&mut self, now: Now, peer: IpAddr, why: &'static str) {
        let known = self
            .refused_peers
            .iter()
            .position(|refused| refused.peer == peer && refused.why == why);
        let before = known
            .and_then(|place| self.refused_peers.remove(place))
            .map_or(0, |refused| refused.times);
        self.refused_peers.push_front(RefusedPeer { at: now.mono, peer, why, times: before + 1 });
        self.refused_peers.truncate(MAX_REFUSED_PEERS);
    }
}

/// A peer that was refused.
pub(super) struct RefusedPeer {
    /// The last time.
    pub at: Instant,
    /// Its address.
    pub peer: IpAddr,
    /// The reason.
    pub why: &'static str,
    /// How often, as long as it stays in the list.
    pub times: u64,
}

/// The ledger's reason for a reject; `None` if it was not about a share.
fn reason(why: &Reject) -> Option<RejectReason> {
    Some(match why {
        Reject::StaleAtChange(_) => RejectReason::StaleAtChange,
        Reject::Stale(_) => RejectReason::Stale,
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
