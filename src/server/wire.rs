//! What stands between the bytes of a miner's socket and its messages: nothing, TLS, or the encryption
//! of Stratum V2.

use std::io::{Read, Write};

use futures_rustls::rustls::ServerConnection;

use crate::stratum::frame::Framing;
use crate::stratum::opening::{self, Opening};
use crate::stratum::v2::frame::{self, Opener};
use crate::stratum::v2::noise::{ACT_1, ACT_2, Identity, Transport};

/// See the module's description.
pub(super) enum Wire {
    /// The caller has not sent enough to be told; what came so far.
    Unknown(Vec<u8>),
    /// Nothing but Stratum V2 is spoken here, and its handshake is not whole yet.
    Greeting(Vec<u8>),
    /// Bytes as they are.
    Plain,
    /// TLS, from its handshake on.
    Tls(Box<ServerConnection>),
    /// Stratum V2, after its handshake.
    Noise(Box<Noise>),
}

/// Both directions of a Stratum V2 connection.
pub(super) struct Noise {
    transport: Transport,
    opener: Opener,
}

/// Why a connection cannot be read further.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The caller is at the wrong port: it speaks this.
    Misplaced(Opening),
    /// In words.
    Broken(String),
}

/// What a chunk turned out to be.
#[derive(Default)]
pub(super) struct Taken {
    /// The bytes of messages.
    pub plain: Vec<u8>,
    /// What the encryption itself answers, for the socket.
    pub answer: Vec<u8>,
}

impl Wire {
    /// Whether bytes are messages as they are.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Wire::Plain)
    }

    /// Whether nobody on the way can read along, or change what he reads.
    pub(super) fn is_encrypted(&self) -> bool {
        match self {
            Wire::Tls(tls) => !tls.is_handshaking(),
            Wire::Noise(_) => true,
            Wire::Unknown(_) | Wire::Greeting(_) | Wire::Plain => false,
        }
    }

    /// Whether a TLS handshake goes on.
    pub(super) fn is_tls_handshaking(&self) -> bool {
        matches!(self, Wire::Tls(tls) if tls.is_handshaking())
    }

    /// Takes a part of `chunk` in. `identity` is what is shown to miners of Stratum V2; `None` where it
    /// is not spoken. What was taken before the fault stands.
    pub(super) fn take_in(
        &mut self,
        chunk: &mut &[u8],
        framing: &mut Framing,
        identity: Option<&Identity>,
        taken: &mut Taken,
    ) -> Result<(), Unreadable> {
        match self {
            Wire::Plain => {
                taken.plain.extend_from_slice(std::mem::take(chunk));
                Ok(())
            }
            Wire::Tls(tls) => take_tls(tls, chunk, taken),
            Wire::Noise(noise) => {
                let chunk = std::mem::take(chunk);
                let opened = noise.opener.take(&mut noise.transport, chunk, &mut taken.plain);
                opened.map_err(|error| Unreadable::Broken(error.to_string()))
            }
            Wire::Unknown(before) => {
                before.extend_from_slice(std::mem::take(chunk));
                match opening::recognise(before) {
                    None => Ok(()),
                    Some(Opening::V1) => {
                        taken.plain = std::mem::take(before);
                        *self = Wire::Plain;
                        Ok(())
                    }
                    Some(Opening::V2) if identity.is_some() => {
                        let bytes = std::mem::take(before);
                        self.shake_hands(bytes, framing, identity, taken)
                    }
                    Some(other) => Err(Unreadable::Misplaced(other)),
                }
            }
            Wire::Greeting(before) => {
                before.extend_from_slice(std::mem::take(chunk));
                if before.len() < ACT_1 {
                    return Ok(());
                }
                let bytes = std::mem::take(before);
                self.shake_hands(bytes, framing, identity, taken)
            }
        }
    }

    /// Answers the first act, and takes what follows on it.
    fn shake_hands(
        &mut self,
        bytes: Vec<u8>,
        framing: &mut Framing,
        identity: Option<&Identity>,
        taken: &mut Taken,
    ) -> Result<(), Unreadable> {
        let (act_1, rest) = bytes.split_first_chunk().ok_or_else(|| broken("too few bytes"))?;
        let identity = identity.ok_or(Unreadable::Misplaced(Opening::V2))?;
        let (act_2, transport) = respond(identity, act_1)?;
        taken.answer.extend_from_slice(&act_2);
        *framing = Framing::Frames;
        *self = Wire::Noise(Box::new(Noise { transport, opener: Opener::default() }));
        self.take_in(&mut &rest[..], framing, None, taken)
    }

    /// Appends what is to be written in place of `bytes`.
    pub(super) fn seal(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Wire::Unknown(_) | Wire::Greeting(_) | Wire::Plain => out.extend_from_slice(bytes),
            Wire::Tls(tls) => {
                // Before the handshake is over this is kept, up to a bound; a miner is told nothing
                // then.
                tls.writer().write_all(bytes).ok();
                to_send(tls, out);
            }
            Wire::Noise(noise) => frame::seal(&mut noise.transport, bytes, out),
        }
    }

    /// Appends the alert with which a TLS stream ends; nothing for any other.
    pub(super) fn close_notify(&mut self, out: &mut Vec<u8>) {
        if let Wire::Tls(tls) = self {
            tls.send_close_notify();
            to_send(tls, out);
        }
    }
}

impl Default for Wire {
    fn default() -> Wire {
        Wire::Unknown(Vec::new())
    }
}

fn respond(
    identity: &Identity,
    act_1: &[u8; ACT_1],
) -> Result<([u8; ACT_2], Transport), Unreadable> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(broken)?;
    identity.respond(act_1, &random).map_err(broken)
}

fn broken(error: impl std::fmt::Display) -> Unreadable {
    Unreadable::Broken(error.to_string())
}

fn take_tls(
    tls: &mut ServerConnection,
    chunk: &mut &[u8],
    taken: &mut Taken,
) -> Result<(), Unreadable> {
    let tls_error = |error: &dyn std::fmt::Display| broken(format!("TLS: {error}"));
    let outcome = match tls.read_tls(chunk) {
        // After its goodbye nothing counts.
        Ok(0) => {
            *chunk = &[];
            Ok(())
        }
        Ok(_) => tls.process_new_packets().map(drop).map_err(|error| tls_error(&error)),
        Err(error) => Err(tls_error(&error)),
    };
    // An error here is the end of the stream, which the socket shows as well.
    tls.reader().read_to_end(&mut taken.plain).ok();
    to_send(tls, &mut taken.answer);
    outcome
}

/// Appends the bytes that TLS has ready for the socket.
fn to_send(tls: &mut ServerConnection, out: &mut Vec<u8>) {
    while tls.wants_write() {
        // Writing to memory cannot fail.
        if tls.write_tls(out).is_err() {
            break;
        }
    }
}
