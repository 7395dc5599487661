//! Requests by HTTP and HTTPS, each on a connection of its own.
//!
//! All of it runs on the executor of whoever asks. Redirects are not followed.

use std::path::Path;
use std::time::Duration;

use async_io::Async;
use futures_lite::{AsyncRead, AsyncWrite, FutureExt};
use futures_rustls::TlsConnector;
use futures_rustls::rustls::pki_types::ServerName;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, LOCATION};
use hyper::{Request, Response, Uri};

use crate::devices;
use crate::node::fault::RpcError;
use crate::rpc::{self, HostLookup};
use crate::timeout::within;
use crate::update::Fault;

/// Bytes of the head of an answer.
const HEAD_MAX: usize = 32 * 1024;
/// Longest time for a connection, the look-up of the name included.
const CONNECT_AT_MOST: Duration = Duration::from_secs(15);

/// Sends a request, and hands its answer to `read`, which takes of the body what it wants. A connection that
/// breaks is what `broken` makes of it.
///
/// # Errors
/// Those of `read` and `broken`.
pub async fn exchange<T, E>(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    request: Request<Full<Bytes>>,
    broken: impl Fn(hyper::Error) -> E,
    read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, E>,
) -> Result<T, E> {
    let io = smol_hyper::rt::FuturesIo::new(stream);
    let handshake = http1::Builder::new().max_buf_size(HEAD_MAX).handshake::<_, Full<Bytes>>(io);
    let (mut sender, connection) = handshake.await.map_err(&broken)?;
    let talk = async {
        let answer = sender.send_request(request).await.map_err(&broken)?;
        read(answer).await
    };
    let drive = async {
        connection.await.map_err(&broken)?;
        // The other side ended the connection: its answer, if there is one, is in `talk`.
        std::future::pending().await
    };
    talk.or(drive).await
}

/// Fetches what is at an address, piece by piece, at most `limit` bytes. Nothing about this program or its
/// owner is in the request. `certificate` is a file whose content alone is trusted; without one it is what
/// the system trusts.
///
/// # Errors
/// See [`Fault`]: no way there, another status than 200, more bytes than `limit`, nothing within `patience`
/// for the head or for a next piece, an end before the end, and those of `take`.
pub async fn fetch(
    url: &str,
    certificate: Option<&Path>,
    limit: u64,
    patience: Duration,
    mut take: impl AsyncFnMut(&[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let uri: Uri = url.parse().map_err(|_| no_connection("its address is not one of the web"))?;
    let connected = within(CONNECT_AT_MOST, connect(&uri, certificate)).await;
    let stream = connected.unwrap_or(Err(Fault::Slow(CONNECT_AT_MOST)))?;
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(HOST, host).header(CONNECTION, "close");
    let request = request.body(Full::default()).map_err(|_| Fault::Status(0))?;
    let slow = || Fault::Slow(patience);
    let (head, is_there) = async_channel::bounded::<()>(1);
    let talk = exchange(stream, request, broken, async |answer| {
        head.close();
        judge(&answer, limit)?;
        let mut body = answer.into_body();
        let mut count = 0;
        while let Some(frame) = within(patience, body.frame()).await.ok_or_else(slow)? {
            let Ok(piece) = frame.map_err(broken)?.into_data() else { continue };
            count += piece.len() as u64;
            if count > limit {
                return Err(Fault::TooLong(limit));
            }
            take(&piece).await?;
        }
        Ok(())
    });
    // Until the head is there; from then on each piece has its own time.
    let headless = async {
        match within(patience, is_there.recv()).await {
            Some(_) => std::future::pending().await,
            None => Err(slow()),
        }
    };
    talk.or(headless).await
}

fn judge(answer: &Response<Incoming>, limit: u64) -> Result<(), Fault> {
    match answer.status().as_u16() {
        200 => {}
        300..400 => {
            let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            // The rest of it may be of any length, and is of no use.
            let host = to.and_then(|to| to.parse::<Uri>().ok()?.host().map(devices::text));
            return Err(Fault::Redirect(host.unwrap_or_default()));
        }
        status => return Err(Fault::Status(status)),
    }
    match answer.body().size_hint().lower() > limit {
        true => Err(Fault::TooLong(limit)),
        false => Ok(()),
    }
}

fn broken(error: hyper::Error) -> Fault {
    if error.is_parse() { Fault::Status(0) } else { Fault::Cut }
}

fn no_connection(words: &str) -> Fault {
    Fault::NoConnection(words.to_owned())
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

async fn connect(uri: &Uri, certificate: Option<&Path>) -> Result<Box<dyn Duplex>, Fault> {
    let secure = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let addresses = HostLookup::new(host.clone(), port).addresses().await;
    let addresses = addresses.map_err(|_| Fault::UnknownName(devices::text(&host)))?;
    let deadline = std::time::Instant::now() + CONNECT_AT_MOST;
    let connected = rpc::connect(&addresses, deadline, CONNECT_AT_MOST).await;
    let (stream, _): (Async<_>, _) =
        connected.map_err(|error| no_connection(&error.to_string()))?;
    if !secure {
        return Ok(Box::new(stream));
    }
    let trust = rpc::trust(certificate).map_err(|error| match error {
        RpcError::Certificate { why, .. } => Fault::Certificate(why),
        other => no_connection(&other.to_string()),
    })?;
    let name = ServerName::try_from(host.clone())
        .map_err(|_| no_connection("its host is no name for TLS"))?;
    let secured = TlsConnector::from(trust).connect(name, stream).await;
    let secured =
        secured.map_err(|error| Fault::Tls(rpc::tls_fault(&error, &host, certificate)))?;
    Ok(Box::new(secured))
}
