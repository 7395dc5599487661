//! News of new tips over ZMQ (`zmqpubhashblock`), through libzmq's file descriptor in async-io.
//!
//! A hint, never the truth: a subscriber is not told of what it misses, and a connection can die
//! in silence. The regular poll goes on beside it.

use std::convert::Infallible;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use futures_lite::future;

use crate::chain::BlockHash;

/// One context, with its one I/O thread, for all sockets. It lives as long as the process:
/// ending a context can block.
static CONTEXT: LazyLock<zmq::Context> = LazyLock::new(zmq::Context::new);

const TOPIC: &[u8] = b"hashblock";

/// libzmq's descriptor is edge-triggered and shared by all that happens inside it, so an edge
/// can be lost between two looks at it. This long may such a tip wait.
const FALLBACK: Duration = Duration::from_millis(500);

/// After so many messages in a row the other tasks have their turn.
const BATCH: usize = 64;

/// Listens to one publisher until it is dropped, and calls `tip` for each new tip it announces.
///
/// It connects again by itself after any loss. An address that makes no sense is logged and tried
/// again now and then, in vain.
pub async fn watch(endpoint: &str, mut tip: impl AsyncFnMut(BlockHash)) {
    let mut pause = MIN_PAUSE;
    loop {
        let started = Instant::now();
        let error = match Subscriber::connect(endpoint) {
            Ok(mut subscriber) => match subscriber.listen(endpoint, &mut tip).await {
                Ok(never) => match never {},
                Err(error) => error,
            },
            Err(error) => error,
        };
        pause = if started.elapsed() > MAX_PAUSE { MIN_PAUSE } else { MAX_PAUSE.min(pause * 2) };
        log::warn!("ZMQ {endpoint}: {error}; next attempt in {} s", pause.as_secs_f32());
        Timer::after(pause).await;
    }
}

/// Between the loss of a connection and the next attempt.
const MIN_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(8);

struct Subscriber {
    /// Declared before the socket that it borrows from, so that it is dropped first.
    readiness: Async<BorrowedFd<'static>>,
    socket: zmq::Socket,
    /// Tells of the socket's connections. libzmq connects again after most losses, but never
    /// after a protocol error or a message that is too long, and does not say so: every loss of
    /// an established connection is therefore answered with a new socket.
    monitor: zmq::Socket,
}

impl Subscriber {
    #[allow(unsafe_code)]
    fn connect(endpoint: &str) -> io::Result<Subscriber> {
        let socket = CONTEXT.socket(zmq::SUB)?;
        socket.set_linger(0)?;
        // A hashblock message has 9 + 32 + 4 bytes. Anything long costs the sender its connection.
        socket.set_maxmsgsize(4096)?;
        socket.set_rcvhwm(1000)?;
        socket.set_ipv6(endpoint.contains('['))?;
        // A dead cable is noticed after 15 s by ZMQ's own heartbeat, and the peer forgets us
        // after 30 s; the kernel's keep-alive is for publishers without heartbeats.
        socket.set_heartbeat_ivl(5_000)?;
        socket.set_heartbeat_timeout(15_000)?;
        socket.set_heartbeat_ttl(30_000)?;
        socket.set_tcp_keepalive(1)?;
        socket.set_tcp_keepalive_idle(30)?;
        socket.set_tcp_keepalive_intvl(10)?;
        socket.set_tcp_keepalive_cnt(3)?;
        // As long as nobody listens there, libzmq itself tries again, ever more rarely.
        socket.set_connect_timeout(5_000)?;
        socket.set_reconnect_ivl(500)?;
        socket.set_reconnect_ivl_max(8_000)?;
        socket.set_subscribe(TOPIC)?;

        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("inproc://monitor-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        socket.monitor(&name, DISCONNECTED.into())?;
        let monitor = CONTEXT.socket(zmq::PAIR)?;
        monitor.set_linger(0)?;
        monitor.connect(&name)?;
        socket.connect(endpoint)?;

        // SAFETY: libzmq keeps the descriptor open until the socket is closed. Both live in this
        // struct, whose field order drops `readiness` first, and neither leaves it.
        let fd = unsafe { BorrowedFd::borrow_raw(socket.get_fd()?) };
        // libzmq has made it non-blocking, and nobody reads or writes it but libzmq.
        let readiness = Async::new_nonblocking(fd)?;
        Ok(Subscriber { readiness, socket, monitor })
    }

    /// Returns only with an error: the connection is lost, or libzmq fails.
    async fn listen(
        &mut self,
        endpoint: &str,
        tip: &mut impl AsyncFnMut(BlockHash),
    ) -> io::Result<Infallible> {
        let mut last: Option<HashBlock> = None;
        let mut lost = false;
        loop {
            // Asked before the messages are read, so that those that came before the loss count.
            lost |= receive(&self.monitor)?.is_some();
            let mut newest = None;
            let mut drained = false;
            for _ in 0..BATCH {
                let Some(frames) = receive(&self.socket)? else {
                    drained = true;
                    break;
                };
                let Some(message) = HashBlock::parse(&frames) else {
                    log::debug!("ZMQ {endpoint}: a message that is no hashblock");
                    continue;
                };
                if let Some(words) = message.irregular(last) {
                    log::info!("ZMQ {endpoint}: {words}");
                }
                newest = Some(message.hash);
                last = Some(message);
            }
            // Of several tips in one batch only the last is still the tip.
            if let Some(hash) = newest {
                tip(hash).await;
            }
            if !drained {
                future::yield_now().await;
                continue;
            }
            if lost {
                return Err(io::Error::other("the connection was lost"));
            }
            // Asking for the events lets libzmq work off what woke it and arms the next edge.
            if !self.socket.get_events()?.contains(zmq::POLLIN) {
                let fallback = async {
                    Timer::after(FALLBACK).await;
                    Ok(())
                };
                future::or(self.readiness.readable(), fallback).await?;
            }
        }
    }
}

/// libzmq's event for the end of a connection, however it ended.
const DISCONNECTED: u16 = zmq::SocketEvent::DISCONNECTED as u16;

/// The next message, `None` when there is none. Of its frames only the first four are kept.
fn receive(socket: &zmq::Socket) -> io::Result<Option<Vec<zmq::Message>>> {
    let mut frames = Vec::new();
    loop {
        match socket.recv_msg(zmq::DONTWAIT) {
            Ok(frame) => {
                let more = frame.get_more();
                if frames.len() < 4 {
                    frames.push(frame);
                }
                if !more {
                    return Ok(Some(frames));
                }
            }
            Err(zmq::Error::EINTR) => {}
            Err(zmq::Error::EAGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A `hashblock` message: topic, hash, sequence number (Bitcoin Core, doc/zmq.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HashBlock {
    hash: BlockHash,
    /// Counts up by one per message and publisher, from 0 at the node's start.
    sequence: Option<u32>,
}

impl HashBlock {
    /// `None` for anything else. The sequence number may be missing, as from other programs.
    fn parse<F: std::ops::Deref<Target = [u8]>>(frames: &[F]) -> Option<HashBlock> {
        let (topic, hash, sequence) = match frames {
            [topic, hash] => (topic, hash, None),
            [topic, hash, sequence] => {
                let sequence = sequence[..].try_into().ok()?;
                (topic, hash, Some(u32::from_le_bytes(sequence)))
            }
            _ => return None,
        };
        let mut hash: [u8; 32] = hash[..].try_into().ok()?;
        // It comes in the order in which hashes are shown.
        hash.reverse();
        (topic[..] == *TOPIC).then_some(HashBlock { hash: BlockHash(hash), sequence })
    }

    /// What is remarkable about the sequence number after the last one, in words.
    fn irregular(&self, last: Option<HashBlock>) -> Option<String> {
        let (before, now) = (last?.sequence?, self.sequence?);
        match now.wrapping_sub(before) {
            1 => None,
            0 => Some(format!("message {now} came twice")),
            _ if now < before => Some(format!("counts from {now} again: the node was restarted")),
            step => Some(format!("{} messages were lost before {now}", step - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: [u8; 32] = {
        let mut hash = [0; 32];
        hash[31] = 7;
        hash
    };

    fn frames(parts: &[&[u8]]) -> Option<HashBlock> {
        HashBlock::parse(parts)
    }

    #[test]
    fn a_hashblock_is_read_in_display_order() {
        let message = frames(&[b"hashblock", &HASH, &[1, 2, 0, 0]]).unwrap();
        assert_eq!(message.sequence, Some(0x201));
        assert_eq!(message.hash.0[0], 7);
        assert!(message.hash.to_string().ends_with("07"));
        assert_eq!(frames(&[b"hashblock", &HASH]).unwrap().sequence, None);
    }

    #[test]
    fn anything_else_is_none() {
        for parts in [
            &[][..],
            &[b"hashblock".as_slice()],
            &[b"hashblock2", &HASH],
            &[b"rawblock", &HASH],
            &[b"hashblock", &HASH[1..]],
            &[b"hashblock", &HASH, &[1]],
            &[b"hashblock", &HASH, &[0; 4], &[0; 4]],
        ] {
            assert_eq!(frames(parts), None, "{parts:?}");
        }
    }

    #[test]
    fn gaps_and_restarts_are_noticed() {
        let at = |sequence| HashBlock { hash: BlockHash(HASH), sequence };
        assert_eq!(at(Some(9)).irregular(None), None);
        assert_eq!(at(Some(9)).irregular(Some(at(None))), None);
        assert_eq!(at(None).irregular(Some(at(Some(9)))), None);
        assert_eq!(at(Some(9)).irregular(Some(at(Some(8)))), None);
        assert_eq!(at(Some(0)).irregular(Some(at(Some(u32::MAX)))), None);
        assert!(at(Some(9)).irregular(Some(at(Some(9)))).unwrap().contains("twice"));
        assert!(at(Some(9)).irregular(Some(at(Some(5)))).unwrap().starts_with("3 messages"));
        assert!(at(Some(0)).irregular(Some(at(Some(5)))).unwrap().contains("restarted"));
    }
}
