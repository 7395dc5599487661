//! The network part: one POST with a deadline, or one e-mail, on a pool thread.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use async_io::Async;
use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::TlsConnector;
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::pki_types::ServerName;
use futures_rustls::rustls::{ClientConfig, RootCertStore};
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{StatusCode, Uri};

use super::{Post, Request, mail};
use crate::timeout::within;
use crate::web;

/// Longest time for one try, from the name's look-up to the answer.
pub(super) const DEADLINE: Duration = Duration::from_secs(15);
/// As much of an answer as is read.
const ANSWER_MAX: usize = 4096;

/// Why a try failed. Never holds the address: it may carry a secret.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Not an address that can be sent to.
    #[error("the address is not valid")]
    Url,
    /// The name is not known, or nobody answers there.
    #[error("cannot reach it: {0}")]
    Connect(io::Error),
    /// The certificate is not trusted, or the handshake broke.
    #[error("no secure connection: {0}")]
    Tls(io::Error),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Http(#[from] hyper::Error),
    /// The service said no: a wrong token, a wrong topic, too many messages.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// The mail server said no: a wrong password, an address that it does not know.
    #[error("the mail server answered {0}")]
    Refused(u16),
    /// The mail server does not encrypt although a password is to be sent, or it speaks otherwise.
    #[error("the mail server cannot be used: {0}")]
    Mail(String),
    /// Not done within 15 s.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Timeout,
}

/// Sends one request. Runs on the blocking pool: neither the look-up of a name nor the arithmetic of
/// TLS takes time from the daemon's loop. Redirects are not followed.
///
/// # Errors
/// See [`SendError`]; any status but 2xx is one.
pub async fn send(request: Request) -> Result<(), SendError> {
    blocking::unblock(move || match request {
        Request::Post(post) => {
            async_io::block_on(within(DEADLINE, posted(post))).unwrap_or(Err(SendError::Timeout))
        }
        Request::Mail(letter) => mail::deliver(&letter, &[], DEADLINE),
    })
    .await
}

async fn posted(request: Post) -> Result<(), SendError> {
    let uri: Uri = request.url.parse().map_err(|_| SendError::Url)?;
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(SendError::Url),
    };
    let host = uri.host().ok_or(SendError::Url)?.to_owned();
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = connect(&host, port).await?;
    if secure {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| SendError::Url)?;
        let stream = connector()?.connect(name, stream).await.map_err(SendError::Tls)?;
        exchange(stream, uri, request).await
    } else {
        exchange(stream, uri, request).await
    }
}

async fn connect(host: &str, port: u16) -> Result<Async<TcpStream>, SendError> {
    let addresses = smol::net::resolve((host.trim_matches(['[', ']']), port))
        .await
        .map_err(SendError::Connect)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match Async::<TcpStream>::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(SendError::Connect(last))
}

fn connector() -> Result<TlsConnector, SendError> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| SendError::Tls(io::Error::other(error)))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    uri: Uri,
    request: Post,
) -> Result<(), SendError> {
    let host = uri.authority().ok_or(SendError::Url)?.as_str();
    // A user name in the address is not for the Host header.
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut post = hyper::Request::post(path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("soloist/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "close");
    if let Some(authorization) = &request.authorization {
        post = post.header(AUTHORIZATION, authorization);
    }
    let post = post.body(Full::new(request.body.into())).map_err(|_| SendError::Url)?;
    web::exchange(stream, post, SendError::Http, async |answer| {
        let status = answer.status();
        // Read a little, so that a polite server sees its answer taken.
        let _ = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        if status.is_success() { Ok(()) } else { Err(SendError::Status(status)) }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    /// A server that takes one request and gives this answer; returns what it was sent.
    fn serve(answer: &'static [u8]) -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook?x=1", listener.local_addr().unwrap());
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = String::new();
            let mut chunk = [0; 4096];
            while !text.contains("{\"a\":1}") {
                let n = stream.read(&mut chunk).unwrap();
                assert!(n > 0);
                text.push_str(&String::from_utf8_lossy(&chunk[..n]));
            }
            stream.write_all(answer).unwrap();
            text
        });
        (url, thread)
    }

    fn try_send(url: String) -> Result<(), SendError> {
        let authorization = Some("Bearer secret".to_owned());
        let body = b"{\"a\":1}".to_vec();
        smol::block_on(send(Request::Post(Post { url, body, authorization })))
    }

    #[test]
    fn a_request_arrives_whole_and_the_answer_counts() {
        let (url, server) = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        try_send(url).unwrap();
        let text = server.join().unwrap();
        assert!(text.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{text}");
        assert!(text.contains("authorization: Bearer secret\r\n"));
        assert!(text.contains("content-length: 7\r\n"));

        let (url, server) = serve(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        assert!(matches!(try_send(url), Err(SendError::Status(StatusCode::FORBIDDEN))));
        server.join().unwrap();

        let location = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n";
        let (url, server) = serve(location);
        assert!(matches!(try_send(url), Err(SendError::Status(StatusCode::FOUND))));
        server.join().unwrap();
    }

    #[test]
    fn failures_are_told_without_the_address() {
        let (url, server) = serve(b"SSH-2.0-nonsense\r\n\r\n");
        let error = try_send(url).unwrap_err();
        assert!(matches!(error, SendError::Http(_)), "{error}");
        server.join().unwrap();

        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = try_send(format!("http://{closed}/bot123:secret")).unwrap_err();
        assert!(matches!(error, SendError::Connect(_)));
        assert!(!error.to_string().contains("secret"));
        assert!(matches!(try_send("gopher://x/".to_owned()), Err(SendError::Url)));
    }
}
