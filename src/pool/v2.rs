//! Stratum V2 in the pool: what belongs to a connection, and which channel a message is for.

#[cfg(test)]
mod tests;

use super::Pool;
use crate::clock::Now;
use crate::ids::ConnId;
use crate::reject::{Fault, Reject};
use crate::stratum::outbox::{CloseReason, Outbox, Output};
use crate::stratum::session::{Identity, Session};
use crate::stratum::v2::channel::{self, Refused};
use crate::stratum::v2::connection::{Connection, MAX_CHANNELS, MAX_NONSENSE, agree};
use crate::stratum::v2::frame::Frame;
use crate::stratum::v2::message::{self, Message, Open, Setup, Submit};

impl Pool {
    /// Takes a frame of Stratum V2 from a miner. [`Pool::answer`] is to follow on the last one that
    /// came with it.
    pub fn frame(&mut self, now: Now, conn: ConnId, frame: &Frame<'_>, out: &mut Outbox) {
        let connection = match self.v2.get_mut(&conn) {
            Some(connection) => connection,
            None => match self.sessions.get(&conn) {
                Some(session) => {
                    let connection = Connection::new(session.peer(), session.extranonce1());
                    self.v2.entry(conn).or_insert(connection)
                }
                None => return,
            },
        };
        let is_closing = connection.is_closing;
        match message::parse(frame) {
            // A share is judged all the same: it could be a block.
            message if is_closing && !matches!(message, Ok(Message::Submit(_))) => {}
            Ok(message) => {
                connection.nonsense = 0;
                self.message(now, conn, message, out);
            }
            Err(error) => {
                log::debug!("miner {}: {error}", conn.0);
                let why = Reject::Malformed(Fault::BadFrame(frame.kind));
                out.push(Output::Rejected { conn, why, reached: None });
                connection.nonsense += 1;
                if connection.nonsense >= MAX_NONSENSE {
                    self.end(conn, CloseReason::NotStratum, out);
                }
            }
        }
    }

    /// Sends the answer that shares share.
    pub fn answer(&mut self, conn: ConnId, out: &mut Outbox) {
        let due = self.v2.get_mut(&conn).and_then(|connection| connection.answers_due.take());
        if let Some(session) = due.and_then(|channel| self.sessions.get_mut(&channel)) {
            session.answer_shares(out);
        }
    }

    fn message(&mut self, now: Now, conn: ConnId, message: Message<'_>, out: &mut Outbox) {
        match message {
            Message::Submit(submit) => self.submit(now, conn, &submit, out),
            Message::SetupConnection(setup) => self.set_up(conn, &setup, out),
            Message::OpenChannel(open) => self.open_channel(now, conn, &open, out),
            Message::UpdateChannel(update) => match self.channel(conn, update.channel) {
                Some(channel) => {
                    self.answer(conn, out);
                    self.with_session(now, channel, |session, context| {
                        session.update_channel(context, &update, out);
                    });
                }
                None => out.reply(conn, |b| {
                    message::update_error(b, update.channel, "invalid-channel-id");
                }),
            },
            Message::CloseChannel { channel } => {
                if let Some(channel) = self.channel(conn, channel) {
                    self.answer(conn, out);
                    self.with_session(now, channel, |session, _| session.leave(out));
                }
            }
            Message::CustomJob { channel, request } => out.reply(conn, |b| {
                message::custom_job_error(b, channel, request, "jd-not-supported");
            }),
            Message::Unknown => {}
        }
    }

    fn set_up(&mut self, conn: ConnId, setup: &Setup<'_>, out: &mut Outbox) {
        let Some(connection) = self.v2.get_mut(&conn) else { return };
        // A second one changes nothing.
        if connection.setup.is_some() {
            return;
        }
        match agree(setup) {
            Ok(agreed) => {
                connection.setup = Some(agreed);
                out.reply(conn, message::setup_success);
            }
            Err(refused) => {
                log::info!("miner {}: no connection: {}", conn.0, refused.code);
                out.reply(conn, |b| message::setup_error(b, refused.flags, refused.code));
                self.end(conn, CloseReason::NotStratum, out);
            }
        }
    }

    fn open_channel(&mut self, now: Now, conn: ConnId, open: &Open<'_>, out: &mut Outbox) {
        let Some(connection) = self.v2.get_mut(&conn) else { return };
        let Some(agreed) = connection.setup.clone() else {
            return self.end(conn, CloseReason::NotStratum, out);
        };
        let not_here = if open.extranonce.is_some() && agreed.standard_jobs_only {
            Some("extended-channels-not-supported-for-standard-jobs")
        } else if connection.opened >= MAX_CHANNELS {
            Some("channel-capacity-exhausted")
        } else {
            None
        };
        let admitted = match not_here {
            Some(code) => Err(Refused::Terms(code)),
            None => channel::admit(open, &self.rules),
        };
        let channel = conn.with_channel(connection.opened);
        if let Err(refused) = admitted {
            log::info!("miner {}: no channel: {}", conn.0, refused.code());
            out.reply(conn, |b| message::open_error(b, open.request, refused.code()));
            if let Refused::Password = refused {
                let why = Reject::WrongPassword;
                out.push(Output::Rejected { conn: channel, why, reached: None });
                self.end(conn, CloseReason::BadPassword, out);
            }
            return;
        }
        connection.opened += 1;
        let (peer, last) = (connection.peer, connection.last_extranonce1);
        if channel != conn {
            let extranonce1 = self.free_extranonce1(last.next());
            self.extranonces.insert(extranonce1, channel);
            if let Some(connection) = self.v2.get_mut(&conn) {
                connection.last_extranonce1 = extranonce1;
            }
            let session = Session::new(now, Identity { conn: channel, peer, extranonce1 });
            self.sessions.insert(channel, session);
        }
        self.with_session(now, channel, |session, context| {
            session.open_channel(context, &agreed.user_agent, open, out);
        });
    }

    fn submit(&mut self, now: Now, conn: ConnId, submit: &Submit<'_>, out: &mut Outbox) {
        let Some(channel) = self.channel(conn, submit.channel) else {
            self.answer(conn, out);
            out.reply(conn, |b| {
                let code = "invalid-channel-id";
                message::submit_error(b, submit.channel, submit.sequence, code);
            });
            return;
        };
        let due = self.v2.get(&conn).and_then(|connection| connection.answers_due);
        if due != Some(channel) {
            self.answer(conn, out);
            if let Some(connection) = self.v2.get_mut(&conn) {
                connection.answers_due = Some(channel);
            }
        }
        self.with_session(now, channel, |session, context| {
            session.submit_share(context, submit, out);
        });
    }

    /// Ends a connection. Of what still comes on it only shares are read.
    pub(super) fn end(&mut self, conn: ConnId, why: CloseReason, out: &mut Outbox) {
        if let Some(connection) = self.v2.get_mut(&conn) {
            connection.is_closing = true;
        }
        out.push(Output::Close { conn, why });
    }

    /// Whether a miner of Stratum V2 is at the other end.
    pub fn speaks_v2(&self, conn: ConnId) -> bool {
        self.v2.contains_key(&conn.connection())
    }

    /// The channels that were opened on a connection, whether they are still open or not; for a miner of
    /// V1 itself.
    pub fn channels(&self, conn: ConnId) -> impl Iterator<Item = ConnId> + use<> {
        let opened = self.v2.get(&conn).map_or(0, |connection| connection.opened);
        (0..opened.max(1)).map(move |channel| conn.with_channel(channel))
    }

    /// The session of a channel that is open.
    fn channel(&self, conn: ConnId, number: u32) -> Option<ConnId> {
        let channel = channel::numbered(conn, number)?;
        self.sessions.get(&channel).is_some_and(Session::is_channel).then_some(channel)
    }
}
