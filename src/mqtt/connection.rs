//! The sockets of the connection: TCP, TLS, and the bytes that wait for the broker.

use std::future::pending;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::io::{ReadHalf, WriteHalf, split};
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, future};
use futures_rustls::TlsConnector;
use futures_rustls::rustls::pki_types::ServerName;

use super::{Fault, Settings};
use crate::node::fault::TlsFault;
use crate::rpc::{self, HostLookup};
use crate::timeout::until;

/// From the look-up of the name to the end of the handshake of TLS.
const CONNECT_AT_MOST: Duration = Duration::from_secs(15);
/// For so long may the broker take none of the bytes that wait for it.
const PROGRESS_AT_MOST: Duration = Duration::from_secs(15);
/// Bytes that are read at once.
const READ_AT_ONCE: usize = 4096;

/// A connection, encrypted or not.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Connects to the broker, whose addresses `lookup` finds.
///
/// # Errors
/// Why not.
pub(super) async fn connect(
    settings: &Settings,
    lookup: &mut HostLookup,
) -> Result<Box<dyn Duplex>, Fault> {
    let deadline = Instant::now() + CONNECT_AT_MOST;
    let host = settings.broker.host.clone();
    let addresses = lookup.addresses().await.map_err(|error| {
        let words = match error.kind() {
            ErrorKind::TimedOut => format!("the name {host} is not found out in time"),
            _ => format!("the name {host} is not known"),
        };
        Fault::new("broker", words, NAME)
    })?;
    let connected = rpc::connect(&addresses, deadline, CONNECT_AT_MOST).await;
    let (stream, _) =
        connected.map_err(|error| Fault::new("broker", error.to_string(), UNREACHED))?;
    // Both are help, not need.
    stream.get_ref().set_nodelay(true).ok();
    socket2::SockRef::from(stream.get_ref()).set_tcp_user_timeout(Some(PROGRESS_AT_MOST)).ok();
    if !settings.tls {
        return Ok(Box::new(stream));
    }
    let certificate = settings.certificate.as_deref();
    let trust = rpc::trust(certificate)
        .map_err(|error| Fault::new("tls_cert_path", error.to_string(), FILE))?;
    let name = ServerName::try_from(host.clone())
        .map_err(|_| Fault::new("broker", "its host is no name for TLS", NAME))?;
    let secure = until(deadline, TlsConnector::from(trust).connect(name, stream)).await;
    match secure {
        Some(Ok(stream)) => Ok(Box::new(stream)),
        Some(Err(error)) => Err(untrusted(rpc::tls_fault(&error, &host, certificate))),
        None => {
            let words = format!("no secure connection within {} s", CONNECT_AT_MOST.as_secs());
            Err(Fault::no_broker(words, true))
        }
    }
}

const NAME: &str = "Write its IP address, which always works. A name that ends in .local needs mDNS where \
                    this box runs.";
const UNREACHED: &str = "Is the broker started, does it listen to other machines, and is this its address and \
                         its port?";
const FILE: &str = "Write the path of a file on this box that holds the broker's certificate, or its \
                    authority's, as PEM.";

fn untrusted(fault: TlsFault) -> Fault {
    let words = fault.to_string();
    match fault {
        TlsFault::Plain => Fault::new(
            "tls",
            "it does not speak TLS at this port",
            "Leave TLS off, or write the broker's port for TLS: 8883 as a rule.",
        ),
        TlsFault::Untrusted => Fault::new(
            "tls_cert_path",
            words,
            "Copy the broker's certificate, or its authority's, to this box and name the file.",
        ),
        TlsFault::NotPinned(_) => Fault::new(
            "tls_cert_path",
            words,
            "Put the broker's certificate of now into the file, or that of the authority that signed it.",
        ),
        TlsFault::Name(_) => Fault::new(
            "broker",
            words,
            "Write the broker by a name that its certificate is for, or put the certificate itself into a \
             file and name that.",
        ),
        TlsFault::Date => Fault::new(
            "tls",
            words,
            "Renew the certificate, or set this box's clock if it is wrong.",
        ),
        TlsFault::Other(_) => Fault::new("tls", words, "Look into the broker's log."),
    }
}

/// What happened to the bytes.
pub(super) enum Moved {
    /// These came.
    Read(Vec<u8>),
    /// Some left.
    Left,
    /// None will come or leave any more, and why.
    Broke(String),
}

/// An open connection.
pub(super) struct Line {
    reader: ReadHalf<Box<dyn Duplex>>,
    writer: WriteHalf<Box<dyn Duplex>>,
    buffer: Box<[u8]>,
    /// What the broker has not taken yet.
    waiting: Vec<u8>,
    /// The encryption may hold back what it took.
    unflushed: bool,
    /// When something last left, or began to wait.
    progress: Instant,
}

impl Line {
    /// Nothing waits yet.
    pub(super) fn new(stream: Box<dyn Duplex>) -> Line {
        let (reader, writer) = split(stream);
        let buffer = vec![0; READ_AT_ONCE].into_boxed_slice();
        let (waiting, unflushed, progress) = (Vec::new(), false, Instant::now());
        Line { reader, writer, buffer, waiting, unflushed, progress }
    }

    /// Everything was taken.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.is_empty() && !self.unflushed
    }

    /// Lets these bytes wait for their turn.
    pub(super) fn send(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        if self.has_room() {
            self.progress = Instant::now();
        }
        self.waiting.extend(bytes);
    }

    /// Writes what waits until something came or left. It can be dropped and begun again: what was taken is
    /// noted before anything else is waited for.
    pub(super) async fn next(&mut self) -> Moved {
        let broken = |error: io::Error| Moved::Broke(format!("the connection broke: {error}"));
        let stuck = (!self.has_room()).then(|| self.progress + PROGRESS_AT_MOST);
        let Line { reader, writer, buffer, waiting, unflushed, progress } = self;
        let late = async {
            match stuck {
                Some(at) => drop(Timer::at(at).await),
                None => pending().await,
            }
            Moved::Broke("it takes nothing of what is sent".to_owned())
        };
        let read = async {
            match reader.read(buffer).await {
                Ok(0) => Moved::Broke("it ended the connection".to_owned()),
                Ok(read) => Moved::Read(buffer[..read].to_vec()),
                Err(error) => broken(error),
            }
        };
        let write = async {
            let left = if !waiting.is_empty() {
                writer.write(waiting).await
            } else if *unflushed {
                writer.flush().await.map(|()| 0)
            } else {
                pending().await
            };
            match left {
                Ok(0) if !waiting.is_empty() => Moved::Broke("it takes nothing more".to_owned()),
                Ok(taken) => {
                    *unflushed = taken > 0;
                    waiting.drain(..taken);
                    *progress = Instant::now();
                    Moved::Left
                }
                Err(error) => broken(error),
            }
        };
        future::or(late, future::or(read, write)).await
    }

    /// Until everything was taken, or nothing will be.
    pub(super) async fn empty(&mut self) {
        while !self.has_room() {
            if let Moved::Broke(_) = self.next().await {
                return;
            }
        }
    }
}
