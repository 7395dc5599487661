//! A miner's side of Stratum V2: the reference implementation's encryption, and frames written out here.

use std::io;

use noise_sv2::{Initiator, NoiseEngine};

/// Bytes of the pool's answer to the first message.
const ACT_2: usize = 234;
/// Bytes that the encryption adds.
const TAG: usize = 16;
const HEADER: usize = 6;

/// What a miner of Stratum V2 speaks through.
pub struct V2 {
    pub standard: bool,
    state: State,
    /// Encrypted bytes whose part is not whole yet.
    partial: Vec<u8>,
    /// The header of a frame whose payload has not come yet.
    header: Option<[u8; HEADER]>,
    pub channel: u32,
}

enum State {
    Greeting(Box<Initiator>),
    Open(Box<NoiseEngine>),
    Broken,
}

/// One message.
pub struct Frame {
    pub kind: u8,
    pub payload: Vec<u8>,
}

impl V2 {
    /// Begins; the second value is the first message.
    pub fn new(standard: bool) -> io::Result<(V2, Vec<u8>)> {
        let mut initiator = Initiator::without_pk().map_err(broken)?;
        let act_1 = initiator.step_0().map_err(broken)?.to_vec();
        let state = State::Greeting(initiator);
        let (partial, header) = (Vec::new(), None);
        Ok((V2 { standard, state, partial, header, channel: 0 }, act_1))
    }

    /// Takes bytes of the socket; the messages in them, and whether the handshake ended just now.
    pub fn take(&mut self, bytes: &[u8]) -> io::Result<(Vec<Frame>, bool)> {
        self.partial.extend_from_slice(bytes);
        let mut shaken = false;
        if let State::Greeting(_) = self.state {
            let Some(act_2) = self.partial.first_chunk::<ACT_2>().copied() else {
                return Ok((Vec::new(), false));
            };
            let State::Greeting(mut initiator) = std::mem::replace(&mut self.state, State::Broken)
            else {
                return Ok((Vec::new(), false));
            };
            self.state = State::Open(Box::new(initiator.step_2(act_2).map_err(broken)?));
            self.partial.drain(..ACT_2);
            shaken = true;
        }
        let State::Open(engine) = &mut self.state else { return Err(broken("broken")) };
        let (mut frames, mut used) = (Vec::new(), 0);
        loop {
            let wanted = self.header.map_or(HEADER, |header| length(&header)) + TAG;
            let Some(part) = self.partial.get(used..used + wanted) else { break };
            used += wanted;
            let mut part = part.to_vec();
            engine.decrypt(&mut part).map_err(broken)?;
            match self.header.take() {
                Some(header) => frames.push(Frame { kind: header[2], payload: part }),
                None => {
                    let header: [u8; HEADER] = part.as_slice().try_into().map_err(broken)?;
                    match length(&header) {
                        0 => frames.push(Frame { kind: header[2], payload: Vec::new() }),
                        _ => self.header = Some(header),
                    }
                }
            }
        }
        self.partial.drain(..used);
        Ok((frames, shaken))
    }

    /// Appends a message, encrypted.
    pub fn write(&mut self, kind: u8, payload: &[u8], out: &mut Vec<u8>) {
        let State::Open(engine) = &mut self.state else { return };
        let bit = if kind >= 0x1a { 0x80 } else { 0 };
        let length = (payload.len() as u32).to_le_bytes();
        let header = vec![0, bit, kind, length[0], length[1], length[2]];
        for mut part in [header, payload.to_vec()] {
            if engine.encrypt(&mut part).is_ok() {
                out.extend_from_slice(&part);
            }
        }
    }

    /// SetupConnection, as ESP-Miner writes it. `agent` is `vendor/hardware`.
    pub fn set_up(&mut self, agent: &str, out: &mut Vec<u8>) {
        let (vendor, hardware) = agent.split_once('/').unwrap_or((agent, ""));
        let mut payload = vec![0, 2, 0, 2, 0, u8::from(self.standard), 0, 0, 0];
        text(&mut payload, "127.0.0.1");
        payload.extend_from_slice(&3333_u16.to_le_bytes());
        [vendor, hardware, "", ""].iter().for_each(|part| text(&mut payload, part));
        self.write(0x00, &payload, out);
    }

    /// OpenStandardMiningChannel or OpenExtendedMiningChannel.
    /// `wish` is the difficulty that the hashrate stands for; what firmwares say stands for none.
    pub fn open(&mut self, user: &str, wish: Option<f64>, out: &mut Vec<u8>) {
        let mut payload = 1_u32.to_le_bytes().to_vec();
        text(&mut payload, user);
        // Six shares a minute are usual.
        let hashrate = wish.map_or(1e12, |difficulty| difficulty * 2_f64.powi(32) / 10.0);
        payload.extend_from_slice(&(hashrate as f32).to_le_bytes());
        payload.extend_from_slice(&[0xff; 32]);
        if self.standard {
            return self.write(0x10, &payload, out);
        }
        payload.extend_from_slice(&2_u16.to_le_bytes());
        self.write(0x13, &payload, out);
    }
}

fn length(header: &[u8; HEADER]) -> usize {
    u32::from_le_bytes([header[3], header[4], header[5], 0]) as usize
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

fn broken(error: impl std::fmt::Debug) -> io::Error {
    io::Error::other(format!("Stratum V2: {error:?}"))
}

/// Fields of a message, one after the other. Too few are zeros.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    pub fn u32(&mut self) -> u32 {
        self.bytes(4).try_into().map_or(0, u32::from_le_bytes)
    }

    pub fn u16(&mut self) -> u16 {
        self.bytes(2).try_into().map_or(0, u16::from_le_bytes)
    }

    pub fn u8(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }
}
