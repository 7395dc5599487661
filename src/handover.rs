//! The miners' connections, as bytes, so that they outlive the program: a restart, an update or a crash
//! costs a miner of plain Stratum V1 nothing but a moment.
//!
//! The sockets themselves are kept by systemd ([`crate::os::fd_store`]), each by its [`Ticket`]. What the
//! next run has to know of each is kept in memory as long as the system runs (`/run`), in a file that is
//! only appended to: the newest record of a ticket counts. The jobs and who was given which difficulty
//! stand in the file beside it ([`crate::job_journal`]).
//!
//! ```text
//! file:    "soloist connections 1\n" | boot id, 36 bytes | terms, 8 bytes | records
//! record:  see `framed`
//! ```
//!
//! **When nothing of it is believed:** another version of the file, another boot, other terms, or a record
//! whose checksum is wrong. A file that is cut short was cut by a crash within the last record: all before
//! it count.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::coinbase::EXTRANONCE_SIZE;
use crate::framed::{self, Fields, write_bytes};
use crate::hash;
use crate::ids::{Extranonce1, Ticket};
use crate::job_journal::Moment;
use crate::stratum::firmware::{Saved, Unclear};
use crate::stratum::handover::HandedSession;
use crate::stratum::session::Rules;
use crate::vardiff::Start;

/// A connection that goes on in the next run.
#[derive(Clone, Debug, PartialEq)]
pub struct HandedConnection {
    /// The miner's session.
    pub session: HandedSession,
    /// A share of it was accepted lately.
    pub proved: bool,
    /// The beginning of a line whose end has not come yet.
    pub begun: Vec<u8>,
    /// What it is to be sent before anything else. Known after an orderly end alone.
    pub unsent: Vec<u8>,
    /// The kernel did not take all that it was to be sent: after a crash nobody knows how much.
    pub clogged: bool,
}

/// What an earlier run left.
#[derive(Debug, Default, PartialEq)]
pub struct HandedOver {
    /// Its connections.
    pub connections: BTreeMap<Ticket, HandedConnection>,
    /// When it was told to end, by the time since the system started; `None` if it crashed.
    pub ended: Option<Duration>,
}

/// Why a file is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Another version of this program wrote it, or it is something else.
    #[error("another version of Soloist wrote it")]
    OtherVersion,
    /// The system was started since.
    #[error("the system was started since")]
    OtherBoot,
    /// Password or key are others.
    #[error("miners' password or the data directory is another one")]
    OtherTerms,
    /// A checksum is wrong.
    #[error("it is damaged")]
    Damaged,
}

const MAGIC: &[u8] = b"soloist connections 1\n";

/// The longest record: a long name and user agent, the beginning of a line, and what waits to be sent.
const MAX_RECORD: usize = 32 * 1024;

/// More than this is not handed over of what a miner has not read: it is closed instead.
pub const UNSENT_MAX: usize = 8 * 1024;

const CONNECTION: u8 = 1;
const GONE: u8 = 2;
const END: u8 = 3;

/// What a session rests on that no session can change: the extranonce's layout, the key that its session
/// id is signed with, the password that it was let in by.
pub type Terms = [u8; 8];

/// The terms by these rules.
pub fn terms(rules: &Rules) -> Terms {
    let password = rules.password.as_deref().unwrap_or_default();
    let parts = [&rules.session_key.0[..], &[EXTRANONCE_SIZE as u8], password.as_bytes()];
    let digest = hash::sha256d(&parts.concat());
    let mut terms = [0; 8];
    terms.copy_from_slice(&digest[..8]);
    terms
}

/// The beginning of a file. `boot_id` identifies this boot.
pub fn header(boot_id: &str, terms: Terms) -> Vec<u8> {
    [MAGIC, format!("{boot_id:36.36}").as_bytes(), &terms].concat()
}

/// Appends what is to be known of a connection from now on.
pub fn write(now: Moment, ticket: Ticket, connection: &HandedConnection, out: &mut Vec<u8>) {
    let HandedConnection { session, proved, begun, unsent, clogged } = connection;
    framed::write(out, CONNECTION, |b| {
        b.extend_from_slice(&ticket.0.to_le_bytes());
        b.push(u8::from(*proved) | u8::from(*clogged) << 1);
        b.extend_from_slice(&session.extranonce1.0);
        b.push(session.extranonce2_size as u8);
        let age = now.mono.saturating_duration_since(session.connected_at);
        let since = now.uptime.saturating_sub(age);
        b.extend_from_slice(&(since.as_millis() as u64).to_le_bytes());
        let (kind, level) = match session.level {
            Start::Fixed(level) => (0, level),
            Start::Known(level) => (1, level),
            Start::Guess(level) => (2, level),
        };
        write_float(b, kind, level);
        write_option(b, session.proven);
        match session.saved {
            None => b.push(0),
            Some(Saved::Fixed(level)) => write_float(b, 1, level),
            Some(Saved::Level { difficulty, wish }) => {
                write_float(b, 2, difficulty);
                write_option(b, wish);
            }
        }
        match session.asked {
            Ok(asked) => write_option(b, asked),
            Err(Unclear) => b.push(2),
        }
        write_option(b, session.wish);
        for bytes in [session.user_agent.as_bytes(), session.worker.as_bytes(), begun, unsent] {
            write_bytes(b, bytes);
        }
    });
}

/// Appends that a connection has ended.
pub fn write_gone(ticket: Ticket, out: &mut Vec<u8>) {
    framed::write(out, GONE, |b| b.extend_from_slice(&ticket.0.to_le_bytes()));
}

/// Appends that the run ends in order, and when it was told to. It is the last record.
pub fn write_end(told: Duration, out: &mut Vec<u8>) {
    framed::write(out, END, |b| b.extend_from_slice(&(told.as_micros() as u64).to_le_bytes()));
}

fn write_float(b: &mut Vec<u8>, kind: u8, number: f64) {
    b.push(kind);
    b.extend_from_slice(&number.to_le_bytes());
}

fn write_option(b: &mut Vec<u8>, number: Option<f64>) {
    match number {
        None => b.push(0),
        Some(number) => write_float(b, 1, number),
    }
}

/// Reads a file.
///
/// # Errors
/// Nothing of it can be believed.
pub fn read(
    now: Moment,
    boot_id: &str,
    terms: Terms,
    bytes: &[u8],
) -> Result<HandedOver, Unusable> {
    let mut handed = HandedOver::default();
    let mut rest = bytes.strip_prefix(MAGIC).ok_or(Unusable::OtherVersion)?;
    let header = header(boot_id, terms);
    let (boot, terms) = header[MAGIC.len()..].split_at(36);
    rest = rest.strip_prefix(boot).ok_or(Unusable::OtherBoot)?;
    rest = rest.strip_prefix(terms).ok_or(Unusable::OtherTerms)?;
    while !rest.is_empty() {
        let before = rest.len();
        let record = framed::take(&mut rest, MAX_RECORD);
        // A crash cuts the last record; it changes none.
        if record.is_none() && rest.len() == before && is_cut_short(rest) {
            return Ok(HandedOver { ended: None, ..handed });
        }
        record.and_then(|record| handed.take(now, record)).ok_or(Unusable::Damaged)?;
    }
    Ok(handed)
}

/// Whether a record begins here that ends after the file.
fn is_cut_short(rest: &[u8]) -> bool {
    match Fields(rest).number() {
        Some(length) => length as usize <= MAX_RECORD,
        None => true,
    }
}

impl HandedOver {
    fn take(&mut self, now: Moment, record: &[u8]) -> Option<()> {
        let (kind, fields) = record.split_first()?;
        let mut fields = Fields(fields);
        match *kind {
            CONNECTION => {
                let ticket = Ticket(fields.long()?);
                let connection = connection(now, &mut fields)?;
                self.connections.insert(ticket, connection);
            }
            GONE => drop(self.connections.remove(&Ticket(fields.long()?))),
            END => self.ended = Some(Duration::from_micros(fields.long()?)),
            _ => return None,
        }
        fields.0.is_empty().then_some(())
    }
}

fn connection(now: Moment, fields: &mut Fields<'_>) -> Option<HandedConnection> {
    let [flags] = fields.array()?;
    let extranonce1 = Extranonce1(fields.array()?);
    let [extranonce2_size] = fields.array()?;
    let since = Duration::from_millis(fields.long()?);
    let age = now.uptime.saturating_sub(since);
    let level = match fields.array()? {
        [0] => Start::Fixed(difficulty(fields)?),
        [1] => Start::Known(difficulty(fields)?),
        [2] => Start::Guess(difficulty(fields)?),
        _ => return None,
    };
    let proven = option(fields)?;
    let saved = match fields.array()? {
        [0] => None,
        [1] => Some(Saved::Fixed(difficulty(fields)?)),
        [2] => Some(Saved::Level { difficulty: difficulty(fields)?, wish: option(fields)? }),
        _ => return None,
    };
    let asked = match fields.array()? {
        [0] => Ok(None),
        [1] => Ok(Some(difficulty(fields)?)),
        [2] => Err(Unclear),
        _ => return None,
    };
    let wish = option(fields)?;
    let session = HandedSession {
        extranonce1,
        extranonce2_size: extranonce2_size.into(),
        connected_at: now.mono.checked_sub(age).unwrap_or(now.mono),
        level,
        proven,
        saved,
        asked,
        wish,
        user_agent: text(fields)?,
        worker: text(fields)?,
    };
    let (begun, unsent) = (fields.bytes()?.to_vec(), fields.bytes()?.to_vec());
    let (proved, clogged) = (flags & 1 != 0, flags & 2 != 0);
    Some(HandedConnection { session, proved, begun, unsent, clogged })
}

fn difficulty(fields: &mut Fields<'_>) -> Option<f64> {
    fields.float().filter(|number| number.is_finite() && *number > 0.0)
}

fn option(fields: &mut Fields<'_>) -> Option<Option<f64>> {
    match fields.array()? {
        [0] => Some(None),
        [1] => difficulty(fields).map(Some),
        _ => None,
    }
}

fn text(fields: &mut Fields<'_>) -> Option<String> {
    String::from_utf8(fields.bytes()?.to_vec()).ok()
}
