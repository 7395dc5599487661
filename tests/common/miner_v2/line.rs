//! An encrypted connection, made by the reference implementation's own crates.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use codec_sv2::{
    Decrypted, Handshake, NoiseDecoder, NoiseEncoder, TransportDecryptState, TransportEncryptState,
};
use framing_sv2::framing::SerializedFrame;
use noise_sv2::{INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE, Initiator};

/// The bit of the extension type that says: this is for one channel.
pub const CHANNEL_MESSAGE: u16 = 0x8000;
/// For what must come at once on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A message as it is on the wire below the encryption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub extension: u16,
    pub kind: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Header and payload.
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_le_bytes();
        let mut bytes = self.extension.to_le_bytes().to_vec();
        bytes.push(self.kind);
        bytes.extend_from_slice(&length[..3]);
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

/// What came within a time.
#[derive(Debug)]
pub enum Received {
    Frame(Frame),
    Closed,
    Nothing,
}

/// A miner's end of a connection.
pub struct Line {
    stream: TcpStream,
    encoder: NoiseEncoder,
    decoder: NoiseDecoder,
    encrypt: TransportEncryptState,
    /// Gone after a frame that could not be decrypted.
    decrypt: Option<TransportDecryptState>,
    /// Bytes on the wire, of both directions, the handshake included.
    pub sent: usize,
    pub received: usize,
}

impl Line {
    /// Connects and greets. With the key of an authority only a server with its certificate will do.
    /// Errors: no connection, no handshake, or another authority, in words.
    pub fn connect(address: SocketAddr, authority: Option<[u8; 32]>) -> Result<Line, String> {
        let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        Line::greet(stream, authority)
    }

    /// The same over a connection that is there.
    pub fn greet(mut stream: TcpStream, authority: Option<[u8; 32]>) -> Result<Line, String> {
        let words = |error: io::Error| format!("handshake: {error}");
        stream.set_nodelay(true).map_err(words)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(words)?;
        let initiator = match authority {
            Some(key) => Initiator::from_raw_k(key),
            None => Initiator::without_pk(),
        };
        let initiator = Handshake::initiator(initiator.map_err(|error| format!("{error:?}"))?);
        let (first, initiator) = initiator.step_0().map_err(|error| error.to_string())?;
        stream.write_all(first.payload()).map_err(words)?;
        let mut second = [0; INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE];
        stream.read_exact(&mut second).map_err(words)?;
        let transport = initiator.step_2(second).map_err(|error| error.to_string())?;
        let (encrypt, decrypt) = transport.split();
        Ok(Line {
            stream,
            encoder: NoiseEncoder::new(),
            decoder: NoiseDecoder::new(),
            encrypt,
            decrypt: Some(decrypt),
            sent: first.payload().len(),
            received: second.len(),
        })
    }

    /// Sends messages in one piece.
    pub fn send(&mut self, frames: &[Frame]) -> io::Result<()> {
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| self.encrypt(frame)).collect();
        self.send_raw(&bytes)
    }

    /// A message as it would be sent, for those who send a part of it.
    pub fn encrypt(&mut self, frame: &Frame) -> Vec<u8> {
        let frame = SerializedFrame::from_bytes(frame.bytes()).unwrap();
        assert!(frame.encoded_length() >= 6);
        self.encoder.encode_transport(frame, &mut self.encrypt).unwrap()
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sent += bytes.len();
        self.stream.write_all(bytes)
    }

    /// The next message. Panics where something comes that is none.
    pub fn receive(&mut self, within: Duration) -> Received {
        // A read of no byte at all would be taken for the end.
        self.stream.set_read_timeout(Some(within.max(Duration::from_millis(1)))).unwrap();
        match self.stream.peek(&mut [0]) {
            Ok(0) => return Received::Closed,
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Received::Nothing;
            }
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return Received::Closed,
            Err(e) => panic!("{e}"),
        }
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut decrypt = self.decrypt.take().expect("nothing could be decrypted any more");
        loop {
            let room = self.decoder.writable();
            self.received += room.len();
            if let Err(error) = self.stream.read_exact(room) {
                panic!("the server leaves in the middle of a message: {error}");
            }
            match self.decoder.next_transport_frame(decrypt).expect("a message of the protocol") {
                Decrypted::Incomplete(_, state) => decrypt = state,
                Decrypted::Frame(mut frame, state) => {
                    self.decrypt = Some(state);
                    let header = frame.header();
                    let payload = frame.payload().to_vec();
                    return Received::Frame(Frame {
                        extension: header.ext_type(),
                        kind: header.msg_type(),
                        payload,
                    });
                }
            }
        }
    }

    /// The connection itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}
