//! SOCKS5 (RFC 1928): has a proxy, such as Tor, connect to a P2P port.

use std::future::pending;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use async_io::Async;
use futures_lite::future;
use tokio_socks::io::Compat;
use tokio_socks::tcp::Socks5Stream;
use tokio_socks::{Error, TargetAddr};

use crate::p2p::Down;
use crate::peer_address::{PeerAddress, PeerHost};
use crate::timeout::within;

/// Time for the first word of a proxy: until then it has nobody else to wait for.
const GREETING_AT_MOST: Duration = Duration::from_secs(5);

/// Asks the proxy at the other end of `stream` to connect to `target`. Then the stream leads there. A
/// name goes to the proxy as it is. How long the proxy may take to connect is for the caller to say.
///
/// # Errors
/// [`Down::Proxy`] if the proxy cannot be used, otherwise why it cannot connect to `target`.
pub(super) async fn connect(
    stream: &Async<TcpStream>,
    proxy: &PeerAddress,
    target: &PeerAddress,
) -> Result<(), Down> {
    let greeting = async {
        match within(GREETING_AT_MOST, stream.readable()).await {
            Some(_) => pending().await,
            None => Err(unfit(proxy, "it does not answer")),
        }
    };
    future::or(ask(stream, proxy, target), greeting).await
}

async fn ask(
    stream: &Async<TcpStream>,
    proxy: &PeerAddress,
    target: &PeerAddress,
) -> Result<(), Down> {
    let place = match &target.host {
        PeerHost::Ip(ip) => TargetAddr::Ip(SocketAddr::new(*ip, target.port)),
        // No longer one fits into the request.
        PeerHost::Onion(name) | PeerHost::Name(name) if name.len() <= 255 => {
            TargetAddr::Domain(name.into(), target.port)
        }
        PeerHost::Onion(_) | PeerHost::Name(_) => return unreachable("its name is too long"),
    };
    // Where the proxy wants a login (RFC 1929), one that was never used before: Tor has a circuit of its
    // own for each (`IsolateSOCKSAuth`), so that no exit sees two connections of one house. Bitcoin Core
    // does the same (`-proxyrandomize`). The system's random numbers do not fail; if they did, circuits
    // would be shared.
    let word = format!("{:016x}", getrandom::u64().unwrap_or_default());
    let socket = Compat::new(stream);
    let asked = Socks5Stream::connect_with_password_and_socket(socket, place, &word, &word).await;
    let Err(error) = asked else { return Ok(()) };
    match error {
        Error::ConnectionRefused => Err(Down::Refused),
        Error::HostUnreachable => unreachable("the proxy does not find its host"),
        Error::NetworkUnreachable => unreachable("no network leads there"),
        Error::TtlExpired => unreachable("it does not answer the proxy"),
        Error::ConnectionNotAllowedByRuleset => unreachable("the proxy does not allow it"),
        Error::AddressTypeNotSupported => unreachable("the proxy knows no such addresses"),
        Error::GeneralSocksServerFailure => unreachable("the proxy says no more than that"),
        // This is the library's error for codes that it does not know, such as Tor's own (0xf0 to 0xf7).
        Error::UnknownAuthMethod => unreachable("the proxy gives a reason that nobody knows"),
        Error::CommandNotSupported => Err(unfit(proxy, "it does not connect to anything")),
        Error::NoAcceptableAuthMethods | Error::PasswordAuthFailure(_) => {
            Err(unfit(proxy, "it wants a password of its own"))
        }
        Error::Io(_) => Err(unfit(proxy, "it hangs up")),
        _ => Err(unfit(proxy, "it speaks no SOCKS5")),
    }
}

fn unreachable(why: &str) -> Result<(), Down> {
    Err(Down::Unreachable(why.to_owned()))
}

/// The proxy at `place` cannot be used.
pub(super) fn unfit(place: &PeerAddress, why: impl ToString) -> Down {
    Down::Proxy { place: place.to_string(), why: why.to_string() }
}
