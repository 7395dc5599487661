//! The sockets of the miners: their bytes go to the engine, its answers to them.

use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Now;
use crate::config::Config;
use crate::difficulty::Difficulty;
use crate::engine::Input;
use crate::ids::{ConnId, Extranonce1};
use crate::ledger::record::RejectReason;
use crate::ledger::totals::LedgerEvent;
use crate::reject::Reject;
use crate::status::miners::class;
use crate::status::{EventKind, Level};
use crate::stratum::firmware::Saved;
use crate::stratum::frame::Lines;
use crate::stratum::outbox::CloseReason;
use crate::stratum::session::{Rules, SessionKey};

use super::State;

/// Maximum refused peers that the page shows.
const MAX_REFUSED_PEERS: usize = 20;

/// A share for the previous block that comes this soon after the new one was already on its way;
/// the miner could not know.
const AT_CHANGE: Duration = Duration::from_secs(1);

/// The reason shown on the page for a miner that is refused before the set-up.
pub(super) const NOT_SET_UP: &str = "this box is not set up yet";

/// The rules for miners, from the config.
pub(super) fn rules(config: &Config, session_key: SessionKey) -> Rules {
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
        // Without the system's random numbers use the connection's number, which is unique too.
        let extranonce1 = getrandom::u32().unwrap_or(conn.0 as u32).to_be_bytes();
        let extranonce1 = Extranonce1(extranonce1);
        self.engine_input(now, Input::Connected { conn, peer, extranonce1 });
    }

    pub(super) fn lines(
        &mut self,
        now: Now,
        conn: ConnId,
        lines: &mut Lines,
        chunk: &[u8],
    ) -> Result<(), String> {
        let shares = self.counters.accepted + self.counters.rejected;
        let result = self.engine.received(now, conn, lines, chunk);
        self.carry_out(now);
        if self.counters.accepted + self.counters.rejected > shares {
            self.timings.share_answer.add(now.mono.elapsed());
        }
        result.map_err(|error| error.to_string())
    }

    pub(super) fn miner_gone(&mut self, now: Now, conn: ConnId, why: &str) {
        if let Some(session) = self.engine.pool().session(conn) {
            let name = session.worker().map(str::to_owned);
            let level = session.proven_difficulty();
            let worker = self.ledger.workers.remove(&conn);
            match worker {
                Some(worker) => {
                    if let Some(difficulty) = level {
                        self.ledger_event(now, LedgerEvent::Level { worker, difficulty });
                    }
                    self.ledger_event(now, LedgerEvent::Disconnected(worker));
                }
                None if self.canary.is(conn) => {}
                None => self.counters.handshake_failures += 1,
            }
            if let Some(name) = name.filter(|_| worker.is_some()) {
                let text = format!("Miner {name} left: {why}.");
                self.tell(now, EventKind::Miner, Level::Info, text);
            }
        }
        log::debug!(conn = conn.0; "miner {}: {why}", conn.0);
        self.canary.closed(conn);
        self.ledger.latest.remove(&conn);
        self.engine_input(now, Input::Disconnected(conn));
    }

    pub(super) fn share_counted(
        &mut self,
        now: Now,
        conn: ConnId,
        (credited, reached): (Difficulty, Difficulty),
        height: u32,
    ) {
        self.proved(now, conn);
        // The canary's shares are not the owner's and count in no total.
        if self.canary.is(conn) {
            return;
        }
        self.counters.accepted += 1;
        self.ledger.share_was(conn, None);
        if let Some(worker) = self.ledger.workers.get(&conn).copied() {
            let (difficulty, actual) = (credited.0, reached.0);
            self.ledger_event(now, LedgerEvent::Share { worker, difficulty, actual, height });
        }
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
            self.ledger_event(now, LedgerEvent::Reject { worker, reason, actual, height });
        }
    }

    pub(super) fn close_miner(&mut self, now: Now, conn: ConnId, why: CloseReason) {
        log::info!("miner {}: disconnected: {}", conn.0, why.words());
        self.doors.count(why.into());
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
            self.counters.connections -= 1;
            return;
        }
        let device = session.profile().model.clone();
        let text = format!("Miner {name} connected from {}: {device}.", session.peer());
        let worker = self.ledger.core.worker(now, &name, &device);
        let saved =
            self.ledger.core.get(worker).and_then(|worker| {
                worker.fixed.map(Saved::Fixed).or(worker.level.map(Saved::Level))
            });
        self.ledger.connected(worker);
        if let Some(old) = self.ledger.workers.insert(conn, worker) {
            self.ledger_event(now, LedgerEvent::Disconnected(old));
        }
        self.ledger_event(now, LedgerEvent::Connected(worker));
        self.tell(now, EventKind::Miner, Level::Info, text);
        if let Some(saved) = saved {
            self.engine.handle(now, Input::Known { conn, saved });
        }
    }

    pub(super) fn remember_refused(&mut self, now: Now, peer: IpAddr, why: &'static str) {
        let known = self
            .refused_peers
            .iter()
            .position(|refused| refused.peer == peer && refused.why == why);
        let before = known
            .and_then(|place| self.refused_peers.remove(place))
            .map_or(0, |refused| refused.times);
        self.refused_peers.push_front(RefusedPeer { at: now.unix, peer, why, times: before + 1 });
        self.refused_peers.truncate(MAX_REFUSED_PEERS);
    }
}

/// A peer that was refused.
pub(super) struct RefusedPeer {
    /// The last time, Unix seconds.
    pub at: u64,
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
