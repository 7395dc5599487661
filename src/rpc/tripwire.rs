//! An idle connection to a node's RPC port that carries no requests.
//!
//! A process that dies closes its sockets at that moment, so the end of this connection is the
//! first sign of a node's death: after a millisecond, while the next poll would need up to 1.5 s.
//! It uses none of the node's RPC threads. A node that closes idle connections (Bitcoin Core after
//! 30 s) costs one more poll each time.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use futures_lite::AsyncReadExt;

use super::link;

/// Between the starts of two attempts to connect.
const PAUSE: Duration = Duration::from_secs(2);
/// A connection may take this long to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// Keeps such a connection until it is dropped, and calls `hung_up` each time that the other side
/// closes it.
pub(super) async fn watch(host: String, port: u16, mut hung_up: impl AsyncFnMut()) {
    loop {
        let started = Instant::now();
        if let Some(mut stream) = connect(&host, port).await {
            // Nothing is asked, so nothing is answered: whatever comes, or the end, ends it.
            stream.read(&mut [0; 16]).await.ok();
            hung_up().await;
        }
        Timer::at(started + PAUSE).await;
    }
}

async fn connect(host: &str, port: u16) -> Option<Async<TcpStream>> {
    let place = (host.to_owned(), port);
    let resolve = blocking::unblock(move || place.to_socket_addrs().map(Iterator::collect));
    let addresses: Vec<SocketAddr> = resolve.await.unwrap_or_default();
    let connected = link::connect(&addresses, Instant::now() + CONNECT, CONNECT).await;
    connected.ok().map(|(stream, _)| stream)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use futures_lite::future;

    use super::*;

    #[test]
    fn a_connection_that_the_other_side_ends_is_told_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (kept, _) = listener.accept().unwrap();
            std::thread::sleep(Duration::from_millis(300));
            let closed = Instant::now();
            drop(kept);
            closed
        });
        let (told, times) = async_channel::bounded(1);
        let watching =
            watch("127.0.0.1".into(), port, async move || told.send(Instant::now()).await.unwrap());
        let heard = async_io::block_on(future::or(
            async {
                watching.await;
                None
            },
            async { times.recv().await.ok() },
        ));
        let (heard, closed) = (heard.unwrap(), server.join().unwrap());
        assert!(heard + Duration::from_millis(5) >= closed, "told before it happened");
        assert!(heard < closed + Duration::from_millis(500), "{:?}", heard - closed);
    }
}
