//! Questions to devices in the own network: HTTP, and cgminer's API. Each has a deadline and takes a
//! bounded number of bytes; redirects are not followed, and nothing but addresses is connected to.
//!
//! All of it runs on the executor of whoever asks, without a thread.

pub mod find;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use async_io::Async;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use http_body_util::{BodyExt, Full, Limited};
use hyper::Method;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};

use crate::devices::rounds::Place;
use crate::devices::{ANSWER_MAX, Answer, Api, Fault};
use crate::timeout::within;
use crate::web;

/// Longest time for one question, from the connection to the last byte of its answer.
const DEADLINE: Duration = Duration::from_secs(6);
/// Bytes that are read of cgminer's API at once.
const READ_AT_ONCE: usize = 4096;

/// What a device answers to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    /// The body, at most [`ANSWER_MAX`] bytes.
    pub body: Vec<u8>,
}

/// Asks a device for what it says of itself: its raw answers, to be read by [`Api::read`].
///
/// # Errors
/// See [`Fault`]. Of several questions, one that is answered is enough.
pub async fn ask(place: Place, api: Api) -> Result<Vec<Answer>, Fault> {
    let at = place.socket(api);
    let mut answers = Vec::new();
    let mut fault = None;
    for to in api.questions() {
        let body = match api {
            Api::Http => get(at, to).await,
            Api::Cgminer => command(at, to).await,
        };
        match body {
            Ok(body) => answers.push(Answer { to, body }),
            // Whoever does not answer at all is not asked more.
            Err(why @ (Fault::Closed(_) | Fault::Silent)) => return Err(why),
            Err(why) => fault = Some(why),
        }
    }
    match (answers.is_empty(), fault) {
        (true, Some(fault)) => Err(fault),
        _ => Ok(answers),
    }
}

async fn get(at: SocketAddr, path: &str) -> Result<Vec<u8>, Fault> {
    match request(at, Method::GET, path, "").await? {
        Reply { status: 200, body } => Ok(body),
        Reply { status, .. } => Err(Fault::Status(status)),
    }
}

/// One HTTP request on a connection of its own. `body` is JSON, or empty.
///
/// # Errors
/// See [`Fault`]; a status is none.
pub async fn request(
    at: SocketAddr,
    method: Method,
    path: &str,
    body: &str,
) -> Result<Reply, Fault> {
    let exchange = async {
        let stream = connect(at).await?;
        exchange(stream, at, method, path, body.to_owned()).await
    };
    within(DEADLINE, exchange).await.unwrap_or(Err(Fault::Silent))
}

async fn connect(at: SocketAddr) -> Result<Async<TcpStream>, Fault> {
    Async::<TcpStream>::connect(at).await.map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => Fault::Closed(at.port()),
        _ => Fault::Silent,
    })
}

async fn exchange(
    stream: Async<TcpStream>,
    at: SocketAddr,
    method: Method,
    path: &str,
    body: String,
) -> Result<Reply, Fault> {
    let host = match at.port() {
        80 => at.ip().to_string(),
        _ => at.to_string(),
    };
    let mut request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("soloist/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close");
    if !body.is_empty() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let request = request.body(Full::new(body.into())).map_err(|_| Fault::Broken)?;
    web::exchange(
        stream,
        request,
        |_| Fault::Broken,
        async |answer| {
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
            let body =
                body.map_err(|error| match error.is::<http_body_util::LengthLimitError>() {
                    true => Fault::TooLong,
                    false => Fault::Broken,
                })?;
            Ok(Reply { status, body: body.to_bytes().into() })
        },
    )
    .await
}

/// One command of cgminer's API, on a connection of its own: the device closes it after its answer.
async fn command(at: SocketAddr, command: &str) -> Result<Vec<u8>, Fault> {
    let talk = async {
        let mut stream = connect(at).await?;
        let line = format!("{{\"command\":\"{command}\"}}");
        stream.write_all(line.as_bytes()).await.map_err(|_| Fault::Broken)?;
        let mut answer = Vec::new();
        let mut chunk = vec![0; READ_AT_ONCE];
        loop {
            match stream.read(&mut chunk).await {
                // Some end with a reset what they have said.
                Err(_) | Ok(0) if answer.is_empty() => return Err(Fault::Broken),
                Err(_) | Ok(0) => return Ok(answer),
                Ok(count) if answer.len() + count > ANSWER_MAX => return Err(Fault::TooLong),
                Ok(count) => answer.extend(&chunk[..count]),
            }
            // Some wait for us to close.
            if answer.last() == Some(&0) {
                return Ok(answer);
            }
        }
    };
    within(DEADLINE, talk).await.unwrap_or(Err(Fault::Silent))
}

#[cfg(test)]
mod tests;
