//! Notifications of new tips over ZMQ (`zmqpubhashblock`), through libzmq's file descriptor in
//! async-io.
//!
//! They are hints: a subscriber does not learn what it misses, and a connection can die silently.
//! The regular poll continues beside them.
//!
//! We resolve names and reconnect ourselves (see [`super::lookup`]), because libzmq never tells why
//! it cannot connect. An address is good when the handshake is done.

use std::convert::Infallible;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use futures_lite::future;

use super::lookup::Lookup;
use crate::chain::BlockHash;
use crate::node::{NodeEventKind, TipSource, ZmqState};
use crate::timeout::{until, within};

/// One context, with its one I/O thread, for all sockets. It lives as long as the process:
/// ending a context can block.
static CONTEXT: LazyLock<zmq::Context> = LazyLock::new(zmq::Context::new);

const TOPIC: &[u8] = b"hashblock";

/// libzmq's descriptor is edge-triggered and shared by all that happens inside it, so an edge
/// can be lost between two looks at it. This long may such a tip wait.
const FALLBACK: Duration = Duration::from_millis(500);

/// After so many messages in a row the other tasks have their turn.
const BATCH: usize = 64;

/// Between the loss of a connection and the next attempt.
const MIN_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(8);

/// Until an address has accepted a connection.
const CONNECT_AT_MOST: Duration = Duration::from_secs(3);
/// From then on until the handshake is done. The publisher's library does it, however busy the
/// node is.
const HANDSHAKE_AT_MOST: Duration = Duration::from_secs(3);

/// Listens to one publisher until it is dropped, and calls `report` for all that is new.
///
/// It connects again by itself after any loss, trying each address of a name in turn.
pub(super) async fn watch(endpoint: &str, mut report: impl AsyncFnMut(NodeEventKind)) {
    let mut lookup = Lookup::new(endpoint);
    let (mut told, mut pause) = (ZmqState::Connecting, MIN_PAUSE);
    loop {
        let (state, why) = match reach(&mut lookup).await {
            Ok(mut subscriber) => {
                log::debug!("ZMQ {endpoint}: connected");
                told = ZmqState::Connected;
                report(NodeEventKind::Zmq(told)).await;
                let since = Instant::now();
                let Err(error) = subscriber.listen(endpoint, &mut report).await;
                if since.elapsed() > MAX_PAUSE {
                    pause = MIN_PAUSE;
                }
                (ZmqState::Connecting, error.to_string())
            }
            Err((state, why)) => (state, why),
        };
        let level = if state == told { log::Level::Debug } else { log::Level::Warn };
        let next = pause.as_secs_f32();
        log::log!(level, "ZMQ {endpoint}: {why}; next attempt in {next} s");
        if state != told {
            told = state;
            report(NodeEventKind::Zmq(state)).await;
        }
        Timer::after(pause).await;
        pause = MAX_PAUSE.min(pause * 2);
    }
}

/// Whether a publisher answers at an address: one look, some three seconds for each address that
/// its name has. Never [`ZmqState::Connecting`].
pub async fn probe(endpoint: &str) -> ZmqState {
    match reach(&mut Lookup::new(endpoint)).await {
        Ok(_) => ZmqState::Connected,
        Err((state, why)) => {
            log::debug!("ZMQ {endpoint}: {why}");
            state
        }
    }
}

/// Tries the addresses in turn; else how it stands, and why for the log.
async fn reach(lookup: &mut Lookup) -> Result<Subscriber, (ZmqState, String)> {
    let endpoints = lookup
        .endpoints()
        .await
        .map_err(|error| (ZmqState::NameUnknown, format!("the name is unknown ({error})")))?;
    first_publisher(&endpoints).await
}

async fn first_publisher(endpoints: &[String]) -> Result<Subscriber, (ZmqState, String)> {
    let (mut state, mut whys) = (ZmqState::Refused, Vec::new());
    for endpoint in endpoints {
        let mut subscriber = match Subscriber::connect(endpoint) {
            Ok(subscriber) => subscriber,
            Err(error) => {
                whys.push(format!("{endpoint}: {error}"));
                continue;
            }
        };
        whys.push(match subscriber.handshake().await {
            Ok(Handshake::Done) => return Ok(subscriber),
            Ok(Handshake::NotConnected) => format!("{endpoint}: nobody listens"),
            // Where one address of several has something, it is what the owner meant.
            Ok(Handshake::NotDone) => {
                state = ZmqState::NoPublisher;
                format!("{endpoint}: no publisher answers")
            }
            Err(error) => format!("{endpoint}: {error}"),
        });
    }
    Err((state, whys.join(", ")))
}

/// How the beginning of a connection went.
enum Handshake {
    Done,
    NotConnected,
    NotDone,
}

/// One connection. It ends with the first loss.
struct Subscriber {
    socket: Readable,
    /// Tells of the connection.
    monitor: Readable,
    /// The monitor's name inside libzmq.
    name: String,
}

impl Drop for Subscriber {
    /// Ends the monitoring before the monitor's end that reads is closed.
    ///
    /// libzmq closes a connection some time after its socket, in its one I/O thread, and tells the
    /// monitor. Where nobody can read any more, that thread would wait for a reader for ever, and with
    /// it every other subscription (4.3.4, `socket_base_t::monitor_event`).
    fn drop(&mut self) {
        // The crate has no call that ends it, so another takes its place that is told nothing. Where
        // that one fails, there is none, which is as good.
        let _ = self.socket.socket.monitor(&format!("{}-ended", self.name), 0);
    }
}

/// What a connection's monitor is told of.
const EVENTS: [zmq::SocketEvent; 4] = [
    zmq::SocketEvent::CONNECTED,
    zmq::SocketEvent::CLOSED,
    zmq::SocketEvent::DISCONNECTED,
    zmq::SocketEvent::HANDSHAKE_SUCCEEDED,
];

/// A socket of libzmq, and its descriptor in async-io.
struct Readable {
    /// Declared before the socket that it borrows from, so that it is dropped first.
    readiness: Async<BorrowedFd<'static>>,
    socket: zmq::Socket,
}

impl Readable {
    #[allow(unsafe_code)]
    fn new(socket: zmq::Socket) -> io::Result<Readable> {
        // SAFETY: libzmq keeps the descriptor open until the socket is closed. Both live in this
        // struct, whose field order drops `readiness` first, and neither leaves it.
        let fd = unsafe { BorrowedFd::borrow_raw(socket.get_fd()?) };
        // libzmq has made it non-blocking, and nobody reads or writes it but libzmq.
        let readiness = Async::new_nonblocking(fd)?;
        Ok(Readable { readiness, socket })
    }

    /// The next message, `None` when there is none. Of its frames only the first four are kept.
    fn receive(&self) -> io::Result<Option<Vec<zmq::Message>>> {
        let mut frames = Vec::new();
        loop {
            match self.socket.recv_msg(zmq::DONTWAIT) {
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

    /// Returns when there may be a message, at the latest after [`FALLBACK`].
    async fn readable(&self) -> io::Result<()> {
        // Asking for the events lets libzmq work off what woke it and arms the next edge.
        if self.socket.get_events()?.contains(zmq::POLLIN) {
            return Ok(());
        }
        within(FALLBACK, self.readiness.readable()).await.unwrap_or(Ok(()))
    }
}

impl Subscriber {
    /// Begins a connection; `endpoint` holds numbers, no name.
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
        // Never again by itself: it would not look the name up, nor after every kind of loss.
        socket.set_reconnect_ivl(-1)?;
        socket.set_subscribe(TOPIC)?;

        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("inproc://monitor-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let events = EVENTS.iter().fold(0, |events, event| events | event.to_raw());
        socket.monitor(&name, events.into())?;
        let monitor = CONTEXT.socket(zmq::PAIR)?;
        monitor.set_linger(0)?;
        monitor.connect(&name)?;
        let (socket, monitor) = (Readable::new(socket)?, Readable::new(monitor)?);
        let subscriber = Subscriber { socket, monitor, name };
        subscriber.socket.socket.connect(endpoint)?;
        Ok(subscriber)
    }

    /// Waits until a publisher has answered, or it is sure that none will.
    async fn handshake(&mut self) -> io::Result<Handshake> {
        use zmq::SocketEvent as Event;
        let (mut connected, mut deadline) = (false, Instant::now() + CONNECT_AT_MOST);
        loop {
            while let Some(event) = self.event()? {
                if event == Event::HANDSHAKE_SUCCEEDED.to_raw() {
                    return Ok(Handshake::Done);
                } else if event == Event::CONNECTED.to_raw() {
                    (connected, deadline) = (true, Instant::now() + HANDSHAKE_AT_MOST);
                } else if event == Event::DISCONNECTED.to_raw() {
                    return Ok(Handshake::NotDone);
                } else if event == Event::CLOSED.to_raw() {
                    return Ok(Handshake::NotConnected);
                }
            }
            if Instant::now() >= deadline {
                // Also where a server's greeting passes for ZMTP 1.0, of before 2013.
                return Ok(if connected { Handshake::NotDone } else { Handshake::NotConnected });
            }
            until(deadline, self.monitor.readable()).await.unwrap_or(Ok(()))?;
        }
    }

    /// The number of the monitor's next event: the first two bytes of its first frame.
    fn event(&self) -> io::Result<Option<u16>> {
        let frames = self.monitor.receive()?;
        let number = frames.as_ref().and_then(|frames| frames.first()?.first_chunk::<2>());
        Ok(number.map(|bytes| u16::from_ne_bytes(*bytes)))
    }

    /// Returns only with an error: the connection is lost, or libzmq fails.
    async fn listen(
        &mut self,
        endpoint: &str,
        report: &mut impl AsyncFnMut(NodeEventKind),
    ) -> io::Result<Infallible> {
        let mut last: Option<HashBlock> = None;
        let mut lost = false;
        loop {
            // Asked before the messages are read, so that those that came before the loss count.
            while let Some(event) = self.event()? {
                lost |= event == zmq::SocketEvent::DISCONNECTED.to_raw();
            }
            let mut newest = None;
            let mut drained = false;
            for _ in 0..BATCH {
                let Some(frames) = self.socket.receive()? else {
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
                // Its height is not told, and the messages' numbers do not prove it.
                let (source, took) = (TipSource::Zmq, Duration::ZERO);
                report(NodeEventKind::Tip { hash, height: None, source, took }).await;
            }
            if !drained {
                future::yield_now().await;
                continue;
            }
            if lost {
                return Err(io::Error::other("the connection was lost"));
            }
            future::or(self.socket.readable(), self.monitor.readable()).await?;
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

    /// Of a name's addresses the one that has a publisher is found, wherever it stands, and beside
    /// whatever else listens.
    #[test]
    fn each_address_of_a_name_is_tried() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = format!("tcp://{}", silent.local_addr().unwrap());
        let try_each = |own: &str| {
            let socket = CONTEXT.socket(zmq::PUB).unwrap();
            socket.set_linger(0).unwrap();
            socket.set_ipv6(own.contains('[')).unwrap();
            socket.bind(&format!("tcp://{own}:*")).unwrap();
            let endpoint = socket.get_last_endpoint().unwrap().unwrap();
            let port = endpoint.rsplit_once(':').unwrap().1;
            let (v4, v6) = (format!("tcp://127.0.0.1:{port}"), format!("tcp://[::1]:{port}"));
            let state = |endpoints: &[String]| {
                let found = smol::block_on(first_publisher(endpoints));
                found.map_or_else(|(state, _)| state, |_| ZmqState::Connected)
            };
            assert_eq!(state(&[v4.clone(), v6.clone()]), ZmqState::Connected, "{own}");
            assert_eq!(state(&[v6.clone(), v4.clone()]), ZmqState::Connected, "{own}");
            let other = if own.contains('[') { v4.clone() } else { v6.clone() };
            assert_eq!(state(std::slice::from_ref(&other)), ZmqState::Refused, "{own}");
            // These wait.
            std::thread::scope(|scope| {
                scope.spawn(|| assert_eq!(state(&[silent.clone(), other]), ZmqState::NoPublisher));
                let third = [silent.clone(), v6, v4];
                scope.spawn(move || assert_eq!(state(&third), ZmqState::Connected));
            });
        };
        std::thread::scope(|scope| {
            scope.spawn(|| try_each("127.0.0.1"));
            scope.spawn(|| try_each("[::1]"));
        });
    }

    /// Subscribers that end at every moment of a connection, as those of a publisher that comes and
    /// goes do, leave libzmq able to serve the next.
    #[test]
    fn subscribers_that_end_early_do_no_harm_to_the_next() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = format!("tcp://{}", silent.local_addr().unwrap());
        let publisher = CONTEXT.socket(zmq::PUB).unwrap();
        publisher.set_linger(0).unwrap();
        publisher.bind("tcp://127.0.0.1:*").unwrap();
        let publisher = publisher.get_last_endpoint().unwrap().unwrap();
        // libzmq ends sockets some time after they are closed and has room for 1023, which other tests
        // need as well: so few that all may be ending at once.
        for round in 0..40 {
            for endpoint in [&silent, &publisher, &"tcp://127.0.0.1:1".to_owned()] {
                let subscriber = Subscriber::connect(endpoint).unwrap();
                std::thread::sleep(Duration::from_micros(round % 20 * 25));
                drop(subscriber);
            }
        }
        let found = smol::block_on(first_publisher(&[publisher]));
        assert!(found.is_ok(), "{:?}", found.err());
    }

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
