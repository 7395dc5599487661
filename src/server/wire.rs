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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stratum::v2::noise::Initiator;

    /// A connection's bytes, as the server hands them in.
    struct End {
        wire: Wire,
        framing: Framing,
        identity: Option<Identity>,
        taken: Taken,
    }

    impl End {
        fn new() -> End {
            let identity = Identity::new(&[1; 32], &[2; 32]).unwrap();
            let (wire, framing) = (Wire::default(), Framing::lines());
            End { wire, framing, identity: Some(identity), taken: Taken::default() }
        }

        fn take(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
            let identity = self.identity.as_ref();
            self.wire.take_in(&mut &bytes[..], &mut self.framing, identity, &mut self.taken)
        }
    }

    const LINE: &[u8] = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n";
    const FRAME: [u8; 8] = [0, 0, 9, 2, 0, 0, 7, 7];

    /// A miner's handshake and one frame, cut into chunks of `n` bytes.
    fn greet(end: &mut End, n: usize) {
        let miner = Initiator::new(&[3; 32]).unwrap();
        for chunk in miner.act_1().chunks(n) {
            end.take(chunk).unwrap();
        }
        let act_2 = std::mem::take(&mut end.taken.answer);
        let act_2 = act_2.as_slice().try_into().unwrap();
        let authority = end.identity.as_ref().unwrap().authority();
        let mut transport = miner.finish(act_2, Some(&authority)).unwrap();
        let mut sealed = Vec::new();
        frame::seal(&mut transport, &FRAME, &mut sealed);
        for chunk in sealed.chunks(n) {
            end.take(chunk).unwrap();
        }
        assert_eq!(end.taken.plain, FRAME);
        assert!(matches!(end.framing, Framing::Frames) && end.wire.is_encrypted());
        let mut answer = Vec::new();
        end.wire.seal(&FRAME, &mut answer);
        let mut opened = Vec::new();
        Opener::default().take(&mut transport, &answer, &mut opened).unwrap();
        assert_eq!(opened, FRAME);
    }

    #[test]
    fn v1_and_v2_on_one_port_however_they_are_cut() {
        for n in 1..=70 {
            let mut end = End::new();
            for chunk in LINE.chunks(n) {
                end.take(chunk).unwrap();
            }
            assert_eq!(end.taken.plain, LINE);
            assert!(end.wire.is_plain() && matches!(end.framing, Framing::Lines(_)));
            greet(&mut End::new(), n);
            let mut alone = End { wire: Wire::Greeting(Vec::new()), ..End::new() };
            greet(&mut alone, n);
        }
    }

    #[test]
    fn what_is_not_spoken_here_is_named() {
        for (bytes, speaks) in [
            (&b"GET / HTTP/1.1\r\n"[..], Opening::Http),
            (b"\x16\x03\x01\x00\xc4\x01\x00", Opening::Tls),
            (b"hello\n", Opening::Text),
        ] {
            assert_eq!(End::new().take(bytes), Err(Unreadable::Misplaced(speaks)));
        }
        let act_1 = Initiator::new(&[3; 32]).unwrap().act_1();
        let mut off = End { identity: None, ..End::new() };
        assert_eq!(off.take(&act_1), Err(Unreadable::Misplaced(Opening::V2)));
        let mut off = End { identity: None, ..End::new() };
        off.take(LINE).unwrap();
        assert_eq!(off.taken.plain, LINE);
    }

    #[test]
    fn a_stranger_in_the_middle_ends_the_connection_and_what_came_before_counts() {
        let mut end = End::new();
        let miner = Initiator::new(&[3; 32]).unwrap();
        end.take(&miner.act_1()).unwrap();
        let act_2 = end.taken.answer.as_slice().try_into().unwrap();
        let mut transport = miner.finish(act_2, None).unwrap();
        let mut sealed = Vec::new();
        frame::seal(&mut transport, &FRAME, &mut sealed);
        let whole = sealed.len();
        frame::seal(&mut transport, &FRAME, &mut sealed);
        sealed[whole + 3] ^= 1;
        assert!(matches!(end.take(&sealed), Err(Unreadable::Broken(_))));
        assert_eq!(end.taken.plain, FRAME);
    }
}
