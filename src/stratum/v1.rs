//! Stratum V1: lines of JSON. What a miner's line asks of its session, and the lines that a job takes.
//!
//! Only answers are sent before the first job, because Avalons treat the first line after their
//! configure as its answer. For [`SETTLE`] after the miner has said who it is, a suggestion (ESP-Miner
//! sends it after the answer to authorize, NerdMiner 200 ms later) still decides the first difficulty.

use std::time::Duration;

use crate::coinbase::EXTRANONCE_SIZE;
use crate::ids::ConnId;
use crate::reject::Reject;
use crate::share::RolledVersion;
use crate::signal::VERSION_MASK;

use super::message::{self, Authorize, Configure, Id, Message, Method, Request, Submit, Subscribe};
use super::outbox::{CloseReason, Outbox, Output};
use super::reply;
use super::session::{Context, Front, Handout, Phase, Sent, Session};

/// How long the first difficulty waits for the miner's own suggestion.
const SETTLE: Duration = Duration::from_millis(400);

/// Lines in a row that are no messages, after which the other end is no miner.
const MAX_NONSENSE: u32 = 16;

/// What `client.get_version` is told.
const VERSION: &str = concat!("Soloist/", env!("CARGO_PKG_VERSION"));

/// What is known of a miner's lines.
#[derive(Debug, Default)]
pub(super) struct V1 {
    subscribed: bool,
    /// Lines in a row that were no messages.
    nonsense: u32,
}

impl V1 {
    /// A miner that has introduced itself in the run before.
    pub(super) fn introduced() -> V1 {
        V1 { subscribed: true, nonsense: 0 }
    }
}

/// Sends a job: one set_difficulty at most, followed at once by the notify that it is for. With a new id
/// and as a clean job a difficulty is applied by every firmware (ESP-Miner repeats shares and NerdQAxe
/// waits otherwise).
pub(super) fn hand_out(conn: ConnId, handout: &Handout<'_>, out: &mut Outbox) {
    let Handout { level, job, coinbase, clean, line } = *handout;
    if let Some(line) = line.filter(|_| coinbase.is_none()) {
        if let Some(level) = level {
            out.reply(conn, |b| reply::set_difficulty(b, level.0));
        }
        let line = line.get_or_init(|| out.write(job.notify_line(clean).as_bytes()));
        out.send(conn, line.clone());
        return;
    }
    let line = match coinbase {
        Some(coinbase) => job.notify_line_with(coinbase, clean),
        None => job.notify_line(clean),
    };
    out.reply(conn, |b| {
        if let Some(level) = level {
            reply::set_difficulty(b, level.0);
        }
        b.extend_from_slice(line.as_bytes());
    });
}

/// Shows a text to a person at the miner.
pub(super) fn say(conn: ConnId, text: &str, out: &mut Outbox) {
    out.reply(conn, |b| reply::show_message(b, text));
}

impl Session {
    /// Takes a line.
    pub fn line(&mut self, context: &mut Context<'_>, line: &[u8], out: &mut Outbox) {
        if self.phase == Phase::Closing {
            return;
        }
        let Front::V1(front) = &mut self.front else { return };
        let line = super::frame::text(line);
        match message::parse(&line) {
            Ok(Message::Request(request)) => {
                front.nonsense = 0;
                self.request(context, request, out);
            }
            Ok(Message::Response(_)) => front.nonsense = 0,
            Err(malformed) => {
                front.nonsense += 1;
                let is_no_miner = front.nonsense >= MAX_NONSENSE;
                let why = Reject::Malformed(malformed.fault);
                out.reply(self.conn(), |b| reply::rejected(b, malformed.id, &why));
                out.push(Output::Rejected { conn: self.conn(), why, reached: None });
                if is_no_miner {
                    self.close(CloseReason::NotStratum, out);
                }
            }
        }
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
            self.identify(&subscribe.user_agent, context.rules);
        }
        let is_first = !std::mem::replace(&mut self.v1().subscribed, true);
        if is_first
            && let Some(wanted) = &subscribe.session_id
            && let Some(extranonce1) = context.rules.session_key.verify(wanted)
        {
            self.identity.extranonce1 = extranonce1;
            self.resumed = true;
            if let Some(parked) = context.parked.remove(&extranonce1) {
                self.resume(parked);
            }
        }
        let session_id = context.rules.session_key.sign(self.extranonce1());
        let (extranonce, split) = (self.identity.extranonce(), self.extranonce2_at());
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
        if !context.rules.let_in(&login.password) {
            let wrong = Reject::WrongPassword;
            out.reply(self.conn(), |b| reply::rejected(b, id, &wrong));
            out.push(Output::Rejected { conn: self.conn(), why: wrong, reached: None });
            self.close(CloseReason::BadPassword, out);
            return;
        }
        out.reply(self.conn(), |b| reply::accepted(b, id));
        self.log_in(context, &login.user, &login.password, out);
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

    /// It has said all that it has to say before its first job.
    fn introduced(&mut self, context: &Context<'_>) {
        if self.v1().subscribed
            && self.worker.is_some()
            && let Phase::Greeting { .. } = self.phase
        {
            self.phase = Phase::Settling { until: context.now.mono + SETTLE };
        }
    }

    fn submit(
        &mut self,
        context: &mut Context<'_>,
        id: Id<'_>,
        submit: &Submit<'_>,
        out: &mut Outbox,
    ) {
        let conn = self.conn();
        let mut extranonce = self.identity.extranonce();
        submit.extranonce2(&mut extranonce[self.extranonce2_at()..]);
        let sent = Sent {
            job: submit.job_id.parse().ok(),
            extranonce,
            ntime: submit.ntime,
            nonce: submit.nonce,
            version: RolledVersion::Bits(submit.version_bits.unwrap_or(0)),
            root: None,
            worker: &submit.worker,
        };
        match self.evaluate(context, &sent, out) {
            Ok(counted) => {
                out.reply(conn, |b| reply::accepted(b, id));
                if self.count(context.now.mono, &counted, out) {
                    self.send_level(context, out);
                }
            }
            Err((why, reached)) => {
                out.reply(conn, |b| reply::rejected(b, id, &why));
                out.push(Output::Rejected { conn, why, reached });
            }
        }
    }

    /// Where extranonce2 begins.
    fn extranonce2_at(&self) -> usize {
        EXTRANONCE_SIZE - self.profile.extranonce2_size
    }

    /// What is known of its lines.
    fn v1(&mut self) -> &mut V1 {
        match &mut self.front {
            Front::V1(front) => front,
            Front::V2(_) => unreachable!("lines are read where none but lines came"),
        }
    }
}
