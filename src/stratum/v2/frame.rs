//! The frames of Stratum V2: whole ones on the way to a miner and from it, and their encryption.
//!
//! ```text
//! extension type: u16 | message type: u8 | length of the payload: u24 | payload
//! ```
//!
//! All numbers are little-endian. On the wire the header (6 bytes) and the payload (in parts of at most
//! 65,519 bytes) are encrypted one by one, each with a tag of 16 bytes. A payload of no bytes has no
//! part at all.

use super::noise::{NoiseError, TAG, Transport};

/// Bytes of a header.
pub const HEADER: usize = 6;

/// The longest payload that is taken. The longest that a miner has reason to send is a
/// SetupConnection with five texts of 255 bytes.
pub const MAX_PAYLOAD: usize = 8 * 1024;

/// The longest part that is encrypted at once.
const MAX_PART: usize = 65_535 - TAG;

/// The bit of the extension type that marks a message about one channel.
const CHANNEL_BIT: u16 = 0x8000;

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Which extension of the protocol it belongs to, without the channel bit; 0 is the protocol
    /// itself.
    pub extension: u16,
    /// Which message it is: [`super::message`].
    pub kind: u8,
    /// The message.
    pub payload: &'a [u8],
}

/// The bytes of a connection cannot be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// See [`NoiseError`].
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// A payload is longer than [`MAX_PAYLOAD`].
    #[error("a message of {0} bytes is longer than {MAX_PAYLOAD}")]
    TooLong(usize),
}

/// Appends a frame whose payload is what `write` appends.
pub(super) fn write(out: &mut Vec<u8>, kind: u8, channel: bool, write: impl FnOnce(&mut Vec<u8>)) {
    let extension = if channel { CHANNEL_BIT } else { 0 };
    out.extend_from_slice(&extension.to_le_bytes());
    out.extend_from_slice(&[kind, 0, 0, 0]);
    let start = out.len();
    write(out);
    let length = (out.len() - start) as u32;
    out[start - 3..start].copy_from_slice(&length.to_le_bytes()[..3]);
}

/// Takes the first frame from whole ones; `None` when there is none left.
pub fn next<'a>(frames: &mut &'a [u8]) -> Option<Frame<'a>> {
    let (header, rest) = frames.split_first_chunk::<HEADER>()?;
    let (payload, rest) = rest.split_at_checked(length(header))?;
    *frames = rest;
    let extension = u16::from_le_bytes([header[0], header[1]]) & !CHANNEL_BIT;
    Some(Frame { extension, kind: header[2], payload })
}

/// Encrypts whole frames.
pub fn seal(transport: &mut Transport, mut frames: &[u8], out: &mut Vec<u8>) {
    while let Some((header, rest)) = frames.split_first_chunk::<HEADER>() {
        let (payload, rest) = rest.split_at(length(header).min(rest.len()));
        frames = rest;
        transport.seal(header, out);
        payload.chunks(MAX_PART).for_each(|part| transport.seal(part, out));
    }
}

/// Decrypts one connection's bytes into whole frames, however the network cuts them.
#[derive(Debug, Default)]
pub struct Opener {
    /// Bytes of a part whose end has not come yet.
    partial: Vec<u8>,
    /// The header of a frame whose payload has not come yet.
    header: Option<[u8; HEADER]>,
}

impl Opener {
    /// Decrypts what `chunk` completes, and appends whole frames to `frames`.
    ///
    /// # Errors
    /// The stream cannot be read further: close the connection. The frames before the fault are good.
    pub fn take(
        &mut self,
        transport: &mut Transport,
        mut chunk: &[u8],
        frames: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        loop {
            let wanted = match &self.header {
                None => HEADER + TAG,
                Some(header) => length(header) + TAG,
            };
            if self.partial.len() + chunk.len() < wanted {
                self.partial.extend_from_slice(chunk);
                return Ok(());
            }
            let (part, rest) = chunk.split_at(wanted - self.partial.len());
            chunk = rest;
            let done = frames.len();
            if self.partial.is_empty() {
                self.part(transport, part, frames)
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(part);
                self.part(transport, &whole, frames)
            }
            .inspect_err(|_| frames.truncate(done))?;
        }
    }

    /// Takes one encrypted part. The header of a frame waits until its payload is there.
    fn part(
        &mut self,
        transport: &mut Transport,
        sealed: &[u8],
        frames: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        if let Some(header) = self.header.take() {
            frames.extend_from_slice(&header);
            return Ok(transport.open(sealed, frames)?);
        }
        let start = frames.len();
        transport.open(sealed, frames)?;
        let Some(header) = frames[start..].first_chunk::<HEADER>().copied() else { return Ok(()) };
        match length(&header) {
            0 => {}
            length if length > MAX_PAYLOAD => return Err(FrameError::TooLong(length)),
            _ => {
                frames.truncate(start);
                self.header = Some(header);
            }
        }
        Ok(())
    }

    /// Bytes of memory that it holds now.
    pub fn memory(&self) -> usize {
        self.partial.capacity()
    }
}

/// The length of the payload, from a header.
fn length(header: &[u8; HEADER]) -> usize {
    u32::from_le_bytes([header[3], header[4], header[5], 0]) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stratum::v2::noise::{Identity, Initiator};
    use proptest::prelude::*;

    fn shaken() -> (Transport, Transport) {
        let identity = Identity::new(&[1; 32], &[2; 32]).unwrap();
        let miner = Initiator::new(&[3; 32]).unwrap();
        let (act_2, ours) = identity.respond(&miner.act_1(), &[4; 32]).unwrap();
        (miner.finish(&act_2, None).unwrap(), ours)
    }

    fn frames(lengths: &[usize]) -> Vec<u8> {
        let mut frames = Vec::new();
        for (n, length) in lengths.iter().enumerate() {
            write(&mut frames, n as u8, n % 2 == 1, |out| out.resize(out.len() + length, n as u8));
        }
        frames
    }

    #[test]
    fn a_frame_is_written_as_it_is_read() {
        let bytes = frames(&[0, 300]);
        assert_eq!(bytes[..6], [0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[6..13], [0, 0x80, 1, 44, 1, 0, 1]);
        let mut rest = &bytes[..];
        let first = next(&mut rest).unwrap();
        assert_eq!((first.kind, first.extension, first.payload), (0, 0, &[][..]));
        let second = next(&mut rest).unwrap();
        assert_eq!((second.kind, second.extension, second.payload.len()), (1, 0, 300));
        assert_eq!(next(&mut rest), None);
        assert_eq!(next(&mut &bytes[..5]), None);
        assert_eq!(next(&mut &bytes[6..200]), None);
    }

    #[test]
    fn what_is_too_long_is_refused_and_what_came_before_stands() {
        let (mut miner, mut ours) = shaken();
        let mut sealed = Vec::new();
        seal(&mut miner, &frames(&[7, MAX_PAYLOAD, MAX_PAYLOAD + 1]), &mut sealed);
        let (mut opener, mut plain) = (Opener::default(), Vec::new());
        let outcome = opener.take(&mut ours, &sealed, &mut plain);
        assert_eq!(outcome, Err(FrameError::TooLong(MAX_PAYLOAD + 1)));
        assert_eq!(plain, frames(&[7, MAX_PAYLOAD]));
    }

    /// A job is far shorter, but what is longer than one part is sent as several.
    #[test]
    fn a_long_payload_is_sealed_in_parts() {
        let (mut miner, mut ours) = shaken();
        let mut sealed = Vec::new();
        seal(&mut ours, &frames(&[MAX_PART + 1]), &mut sealed);
        assert_eq!(sealed.len(), HEADER + MAX_PART + 1 + 3 * TAG);
        let mut plain = Vec::new();
        for part in
            [&sealed[..22], &sealed[22..22 + MAX_PART + TAG], &sealed[22 + MAX_PART + TAG..]]
        {
            miner.open(part, &mut plain).unwrap();
        }
        assert_eq!(plain, frames(&[MAX_PART + 1]));
    }

    proptest! {
        #[test]
        fn however_the_network_cuts_them(
            lengths in prop::collection::vec(0usize..200, 1..20),
            cuts in prop::collection::vec(1usize..100, 1..50),
        ) {
            let (mut miner, mut ours) = shaken();
            let mut sealed = Vec::new();
            seal(&mut miner, &frames(&lengths), &mut sealed);
            let (mut opener, mut plain) = (Opener::default(), Vec::new());
            let mut rest = &sealed[..];
            for cut in cuts.iter().cycle() {
                let (chunk, after) = rest.split_at((*cut).min(rest.len()));
                opener.take(&mut ours, chunk, &mut plain).unwrap();
                // Whole frames alone.
                let mut whole = &plain[..];
                while next(&mut whole).is_some() {}
                prop_assert!(whole.is_empty());
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(plain, frames(&lengths));
        }
    }
}
