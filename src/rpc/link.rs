//! One connection to a node: TCP, TLS where the URL says so, and HTTP/1.1 on it.

use std::future::{self, Future};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_io::Async;
use futures_lite::{AsyncRead, AsyncWrite, FutureExt};
use futures_rustls::TlsConnector;
use futures_rustls::rustls::ClientConfig;
use futures_rustls::rustls::pki_types::ServerName;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, DATE, HeaderMap, HeaderName, LOCATION};
use hyper::{Request, Response};
use smol_hyper::rt::FuturesIo;

use super::http::Answer;
use super::place::Place;
use super::tls;
use crate::node::fault::{RpcError, Spoken};
use crate::timeout;

/// The longest head of an answer. Core's has some 200 bytes.
pub(super) const HEAD_MAX: usize = 8192;
/// For so long may the other side leave sent bytes unacknowledged, until the connection counts as
/// broken: a kept one may lead to a machine that was unplugged meanwhile.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);
/// As much of an answer's beginning is remembered as tells one protocol from another.
const FIRST: usize = 64;

/// A connection that takes one request after the other.
pub(super) struct Link {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` when it has ended. hyper does its reading and writing in it, while a call drives it.
    connection: Option<http1::Connection<FuturesIo<Noted>, Full<Bytes>>>,
    first: First,
    /// Our address on it.
    pub ours: Option<IpAddr>,
    /// When the last call on it ended.
    pub used: Instant,
    /// For how long it may lie idle.
    pub lasts: Duration,
    _open: Open,
}

/// Why a call on a connection failed.
pub(super) enum Lost {
    /// The connection ended before a single byte of an answer came.
    Unheard(RpcError),
    /// Anything else.
    Failed(RpcError),
}

/// Counts a connection for as long as it lives.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Connects to the first of `addresses` that takes a connection, and says which. Each gets its share
/// of the time that is left, so that a dead one (IPv6 in a house that has none) costs the others
/// nothing; before the last one, a share is kept for the call itself. `within` is the whole time.
///
/// # Errors
/// Why the last address took none.
pub async fn connect(
    addresses: &[SocketAddr],
    deadline: Instant,
    within: Duration,
) -> Result<(Async<TcpStream>, SocketAddr), RpcError> {
    let mut last = RpcError::NoConnection(within);
    for (number, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = match addresses.len() - number {
            1 => left,
            others => left / (others as u32 + 1),
        };
        match timeout::within(share, Async::<TcpStream>::connect(*address)).await {
            Some(Ok(stream)) => return Ok((stream, *address)),
            Some(Err(error)) => last = unconnected(error),
            None => last = RpcError::NoConnection(within),
        }
    }
    Err(last)
}

fn unconnected(error: io::Error) -> RpcError {
    use io::ErrorKind as K;
    match error.kind() {
        K::ConnectionRefused => RpcError::Refused,
        K::TimedOut => RpcError::Unreachable("it does not answer".into()),
        K::HostUnreachable => RpcError::Unreachable("no route to its address".into()),
        K::NetworkUnreachable => RpcError::Unreachable("no network leads there".into()),
        K::ConnectionReset => RpcError::Transport("it was broken at once".into()),
        _ => RpcError::Unreachable(error.to_string()),
    }
}

impl Link {
    /// Makes a connection of HTTP from one of TCP, with TLS if there is a `trust` for it.
    /// `open` counts it; `certificate` is the owner's file.
    pub(super) async fn start(
        stream: Async<TcpStream>,
        place: &Place,
        certificate: Option<&Path>,
        trust: Option<Arc<ClientConfig>>,
        open: &Arc<AtomicUsize>,
    ) -> Result<Link, RpcError> {
        open.fetch_add(1, Ordering::SeqCst);
        let open = Open(open.clone());
        let tcp = stream.get_ref();
        let ours = tcp.local_addr().ok().map(|address| address.ip());
        // Both are help, not need: without them it is slower.
        tcp.set_nodelay(true).ok();
        socket2::SockRef::from(tcp).set_tcp_user_timeout(Some(UNACKNOWLEDGED)).ok();

        let stream: Box<dyn Duplex> =
            match trust {
                None => Box::new(stream),
                Some(trust) => {
                    let name = ServerName::try_from(place.host.clone())
                        .map_err(|_| RpcError::Address("its host is no name for TLS".into()))?;
                    let secure = TlsConnector::from(trust).connect(name, stream).await;
                    Box::new(secure.map_err(|error| {
                        RpcError::Tls(tls::fault(&error, &place.host, certificate))
                    })?)
                }
            };
        let first = First::default();
        let io = FuturesIo::new(Noted { stream, first: first.clone() });
        let (sender, connection) = http1::Builder::new()
            .max_header_size(HEAD_MAX)
            // A block of 8 MB is sent from where it lies.
            .writev(true)
            .handshake(io)
            .await
            .map_err(|error| RpcError::Transport(error.to_string()))?;
        let (used, lasts) = (Instant::now(), Duration::MAX);
        let connection = Some(connection);
        Ok(Link { sender, connection, first, ours, used, lasts, _open: open })
    }

    /// Sends a request and reads the whole answer, at most `limit` bytes of body.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        limit: usize,
        port: u16,
    ) -> Result<Answer, Lost> {
        self.first.clear();
        let (sender, connection, first) = (&mut self.sender, &mut self.connection, &self.first);
        let talk = async {
            let answer = match async {
                sender.ready().await?;
                sender.send_request(request).await
            }
            .await
            {
                Ok(answer) => answer,
                Err(error) => return Err(first.lost(&error, port)),
            };
            read(answer, limit).await.map_err(Lost::Failed)
        };
        let drive = async {
            if let Some(running) = connection {
                // Its error, too, comes out at the request.
                let _ = running.await;
                *connection = None;
            }
            future::pending().await
        };
        let answer = talk.or(drive).await?;
        self.used = Instant::now();
        if let Some(limit) = answer.kept_for {
            self.lasts = limit;
        }
        Ok(answer)
    }

    /// What speaks there, where it is no HTTP: for a call that ran out of time.
    pub(super) fn misheard(&self, port: u16) -> Option<RpcError> {
        self.first.misheard(port).map(RpcError::NotHttp)
    }

    /// Whether another request can be sent: the other side has neither ended the connection nor
    /// said anything unasked.
    pub(super) async fn is_open(&mut self) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        let ended = future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *connection).poll(cx))).await;
        if ended.is_ready() {
            self.connection = None;
        }
        self.connection.is_some() && self.sender.is_ready()
    }
}

async fn read(answer: Response<hyper::body::Incoming>, limit: usize) -> Result<Answer, RpcError> {
    let status = answer.status().as_u16();
    let headers = answer.headers();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let of: Option<u64> = text(CONTENT_LENGTH).and_then(|length| length.trim().parse().ok());
    if of.is_some_and(|length| length > limit as u64) {
        return Err(RpcError::TooLarge(limit));
    }
    let location = text(LOCATION).map(str::to_owned);
    let date = text(DATE).map(str::to_owned);
    let kept_for = kept_for(headers);
    let mut body = Vec::with_capacity(of.unwrap_or(0) as usize);
    let mut incoming = answer.into_body();
    while let Some(frame) = incoming.frame().await {
        let Ok(frame) = frame else { return Err(RpcError::Cut { got: body.len(), of }) };
        let Some(data) = frame.data_ref() else { continue };
        if body.len() + data.len() > limit {
            return Err(RpcError::TooLarge(limit));
        }
        body.extend_from_slice(data);
    }
    Ok(Answer { status, location, body, date, kept_for })
}

/// `Keep-Alive: timeout=5` is what bcoin says. A second is kept for the way.
fn kept_for(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(HeaderName::from_static("keep-alive"))?.to_str().ok()?;
    let (_, rest) = value.split_once("timeout=")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some(Duration::from_secs(digits.parse::<u64>().ok()?.saturating_sub(1)))
}

/// Anything that carries bytes both ways.
trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// The first bytes of an answer.
#[derive(Clone, Default)]
struct First(Arc<Mutex<Vec<u8>>>);

impl First {
    fn bytes(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        self.bytes().clear();
    }

    fn note(&self, came: &[u8]) {
        let mut first = self.bytes();
        let room = FIRST - first.len();
        first.extend_from_slice(&came[..came.len().min(room)]);
    }

    /// What speaks there, unless it is HTTP or says nothing.
    fn misheard(&self, port: u16) -> Option<Spoken> {
        const HTTP: &[u8] = b"HTTP/";
        let first = self.bytes();
        let compared = first.len().min(HTTP.len());
        match Spoken::by(&first) {
            _ if first.is_empty() && !is_p2p(port) => None,
            _ if first.is_empty() => Some(Spoken::P2p),
            _ if first[..compared] == HTTP[..compared] => None,
            // Its encrypted transport (BIP 324) answers with random bytes.
            Spoken::Other(_) if is_p2p(port) => Some(Spoken::P2p),
            spoken => Some(spoken),
        }
    }

    /// What a connection's end before the head of an answer means.
    fn lost(&self, error: &hyper::Error, port: u16) -> Lost {
        let unheard = self.bytes().is_empty();
        let reason = match self.misheard(port) {
            Some(spoken) => RpcError::NotHttp(spoken),
            None if error.is_parse_too_large() => RpcError::TooLarge(HEAD_MAX),
            None if error.is_parse() => RpcError::Malformed(format!("its HTTP head: {error}")),
            None if !unheard => RpcError::Cut { got: 0, of: None },
            None => RpcError::Transport(broken(error)),
        };
        if unheard { Lost::Unheard(reason) } else { Lost::Failed(reason) }
    }
}

fn broken(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    match cause.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            "it was reset without an answer".into()
        }
        Some(io::ErrorKind::TimedOut) => "nothing that we sent arrived".into(),
        _ => "it was closed without an answer".into(),
    }
}

/// The usual P2P ports of the main chain, testnet3, testnet4, signet and regtest.
fn is_p2p(port: u16) -> bool {
    matches!(port, 8333 | 18333 | 48333 | 38333 | 18444)
}

/// A stream that remembers how an answer begins.
struct Noted {
    stream: Box<dyn Duplex>,
    first: First,
}

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Ok(came)) = polled {
            self.first.note(&buf[..came]);
        }
        polled
    }
}

impl AsyncWrite for Noted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
