//! The Stratum port: the sockets of miners.
//!
//! Every connection is a task on the daemon's executor. It reads bytes and passes them to the
//! [`Handler`]. [`Server::send`] writes straight to the socket. Bytes that the kernel does not take
//! at once are kept up to a limit; a miner that does not read is disconnected, because its jobs
//! would be stale before it saw them.
//!
//! **Floods** are slowed down by not reading: TCP makes the sender wait, and nobody is banned. In a
//! reconnect storm, connections of a household beyond the limit are served a few seconds later.
//! Loopback is exempt.
//!
//! **Places** are given by the [`Door`]: a connection that has not said who it is gives way when the
//! room is needed. What it has sent until then is still read, because it could be a block.
//!
//! **Encryption.** A caller's first bytes tell whether it speaks Stratum V1 or V2, which is encrypted. TLS
//! is optional and has separate listeners; a handshake of TLS that takes too long ends the connection.
//! What stands between the bytes of a socket and its messages is in `wire.rs`; everything else is the
//! same.
//!
//! **Closed listeners.** While there is no work the addresses stay bound but do not listen: the
//! kernel refuses connections, and a miner switches to its second pool at once.

pub mod handover;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use async_io::{Async, Timer};
use futures_lite::future;
use futures_rustls::rustls::ServerConnection;
use smol::{LocalExecutor, Task};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::door::{self, Acquaintance, Door, Refused};
use crate::ids::ConnId;
use crate::stratum::frame::Framing;
use crate::stratum::opening::Opening;
use crate::stratum::v2::noise::Identity;
use crate::timeout::within;

use super::kept::KeptListeners;
use super::rtt;
use super::tls::Certificate;
use super::wire::{Taken, Unreadable, Wire};

/// What is read at one go. A burst of shares fits.
const CHUNK: usize = 8 * 1024;

/// What is kept for a miner that does not read. A job with its branch has 3 kB at most, so this is
/// ten minutes of jobs.
const MAX_PENDING: usize = 64 * 1024;

/// How long a TLS handshake may take. An ESP32 needs one to three seconds for it.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// How long a connection waits at most before it is read: see [`Handler::held`].
const HELD_AT_MOST: Duration = Duration::from_secs(2);

/// How long a closed connection may take to say goodbye.
const LINGER: Duration = Duration::from_secs(5);

/// What one connection may send at once, and per second after that. An ASIC sends a share of 150
/// bytes every ten seconds, and a few dozen at once after a pause.
const BURST: f64 = 64.0 * 1024.0;
const BYTES_PER_SECOND: f64 = 16.0 * 1024.0;

/// So many connections of a household in ten seconds are served at once; each further one waits a
/// second longer, up to five. See [`door::Limits::calls`].
const STORM: usize = 8;

/// Connections that have not said who they are, beside those that have. As many miners as have places
/// may come back at once.
const HALL_MAX: usize = 256;

/// How long a miner has for its first share until others may have its place.
const TRIAL: Duration = Duration::from_secs(120);

/// What is still read of a connection that gave way, in chunks.
const LAST_WORDS: usize = 8;

/// Connections that wait to be accepted: everybody may come back at once after a restart.
pub const BACKLOG: i32 = 512;

/// Room that is kept for what is encrypted: a job with all that stands before it.
const KEPT_SEALED: usize = 4 * 1024;

/// So many round trips are read at one go.
const ROUND_TRIPS: usize = 64;

/// After an error of `accept` (no descriptors left): how long to wait.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Who is told what happens at the port.
pub trait Handler {
    /// A miner connected.
    fn connected(&self, conn: ConnId, peer: IpAddr);
    /// Bytes came: the handler takes the messages out of them.
    ///
    /// # Errors
    /// In words, when the connection cannot be read further.
    fn received(&self, conn: ConnId, framing: &mut Framing, chunk: &[u8]) -> Result<(), String>;
    /// A caller speaks what is not spoken here. It is closed.
    fn misplaced(&self, conn: ConnId, peer: IpAddr, speaks: Opening);
    /// What a connection has begun to say, or to be told, and not ended, is another than before.
    fn unfinished(&self, _conn: ConnId) {}
    /// The connection is gone. Why, in words.
    fn closed(&self, conn: ConnId, why: &str);
    /// Nothing is read of a connection that was just made before this channel ends, or for a moment.
    fn held(&self, _conn: ConnId) -> Option<Receiver<Infallible>> {
        None
    }
    /// A connection was refused before it became one.
    fn refused(&self, peer: IpAddr, why: Turned);
    /// A connection that had not said who it is was closed to make room for another one.
    fn gave_way(&self, peer: IpAddr);
    /// Since when miners have come from this address.
    fn acquaintance(&self, peer: IpAddr) -> Acquaintance;
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// Nobody is let in, for this reason.
    All(&'static str),
    /// There is no place.
    NoPlace(Refused),
}

/// How many are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Miners, all together.
    pub connections: usize,
    /// From one household, as long as they have not mined; loopback is exempt.
    pub per_address: usize,
}

impl Limits {
    fn of_door(self) -> door::Limits {
        door::Limits {
            seats: self.connections,
            hall: self.connections.max(HALL_MAX),
            seats_each: self.per_address,
            hall_each: self.per_address,
            trial: TRIAL,
            calls: STORM,
        }
    }
}

/// The port and its connections.
pub struct Server {
    this: Weak<Server>,
    executor: Rc<LocalExecutor<'static>>,
    handler: Weak<dyn Handler>,
    door: RefCell<Door>,
    /// Why nobody is let in although the listeners are open.
    turning: Cell<Option<&'static str>>,
    listeners: RefCell<Vec<Listener>>,
    connections: RefCell<BTreeMap<ConnId, Rc<Connection>>>,
    next: Cell<u64>,
    /// Whose round trip is read next.
    round_trips_from: Cell<ConnId>,
    /// What all connections read into: each chunk is used up before the next read.
    buffer: RefCell<Box<[u8]>>,
    /// The same once it is decrypted.
    taken: RefCell<Taken>,
    /// What is encrypted for the next write.
    sealed: RefCell<Vec<u8>>,
    /// What miners of Stratum V2 are shown; `None` where it is not spoken.
    identity: RefCell<Option<Rc<Identity>>>,
    /// Nothing more is read: the next run does that.
    frozen: Cell<bool>,
}

/// One address. The socket stays bound from start to end, so that nobody else takes it.
struct Listener {
    address: SocketAddr,
    socket: Rc<Async<TcpListener>>,
    speaks: Speaks,
    /// While the listener is open.
    accepting: Option<Task<()>>,
}

/// What is spoken at a listener.
#[derive(Clone)]
enum Speaks {
    /// Stratum V1 or V2, whichever a caller begins with.
    Either,
    /// Stratum V2 alone.
    V2,
    /// Stratum V1 within TLS, with what is shown to callers.
    Tls(Rc<Certificate>),
}

struct Connection {
    id: ConnId,
    peer: IpAddr,
    stream: Async<TcpStream>,
    wire: RefCell<Wire>,
    framing: RefCell<Framing>,
    /// It was the middle of a line when it was last told of.
    begun: Cell<bool>,
    /// A copy of the socket is kept elsewhere: it does not end by being dropped here.
    is_kept: Cell<bool>,
    /// What the kernel has not taken yet. While it is not empty, a task is at it.
    pending: RefCell<Vec<u8>>,
    /// Our side has ended it.
    ending: Cell<bool>,
    /// Closed when it gave way to another connection.
    place: (Sender<()>, Receiver<()>),
    /// As last read.
    round_trip: Cell<Option<Duration>>,
}

impl Server {
    /// Binds the addresses, or goes on with those of the run before (`kept`). The listeners are shut.
    ///
    /// # Errors
    /// The first address that cannot be had, and the system's reason.
    pub fn bind(
        executor: Rc<LocalExecutor<'static>>,
        handler: Weak<dyn Handler>,
        addresses: &[SocketAddr],
        limits: Limits,
        kept: &KeptListeners,
    ) -> Result<Rc<Server>, (SocketAddr, io::Error)> {
        let mut listeners = Vec::new();
        for address in addresses {
            let listener = Listener::new(*address, Speaks::Either, kept);
            listeners.push(listener.map_err(|error| (*address, error))?);
        }
        Ok(Rc::new_cyclic(|this| Server {
            this: this.clone(),
            executor,
            handler,
            door: RefCell::new(Door::new(limits.of_door())),
            turning: Cell::new(None),
            listeners: RefCell::new(listeners),
            connections: RefCell::default(),
            next: Cell::new(1),
            round_trips_from: Cell::new(ConnId(0)),
            buffer: RefCell::new(vec![0; CHUNK].into_boxed_slice()),
            taken: RefCell::default(),
            sealed: RefCell::default(),
            identity: RefCell::default(),
            frozen: Cell::new(false),
        }))
    }

    /// Adds listeners behind which TLS is spoken. They are shut, too.
    ///
    /// # Errors
    /// The first address that cannot be had, and the system's reason.
    pub fn bind_tls(
        &self,
        addresses: &[SocketAddr],
        certificate: &Rc<Certificate>,
        kept: &KeptListeners,
    ) -> Result<(), (SocketAddr, io::Error)> {
        self.bind_more(addresses, &Speaks::Tls(certificate.clone()), kept)
    }

    /// Adds listeners at which nothing but Stratum V2 is spoken. They are shut, too.
    ///
    /// # Errors
    /// The first address that cannot be had, and the system's reason.
    pub fn bind_v2(
        &self,
        addresses: &[SocketAddr],
        kept: &KeptListeners,
    ) -> Result<(), (SocketAddr, io::Error)> {
        self.bind_more(addresses, &Speaks::V2, kept)
    }

    fn bind_more(
        &self,
        addresses: &[SocketAddr],
        speaks: &Speaks,
        kept: &KeptListeners,
    ) -> Result<(), (SocketAddr, io::Error)> {
        for address in addresses {
            let listener = Listener::new(*address, speaks.clone(), kept);
            self.listeners.borrow_mut().push(listener.map_err(|error| (*address, error))?);
        }
        Ok(())
    }

    /// Speaks Stratum V2 with callers to come, or (`None`) no longer.
    pub fn set_identity(&self, identity: Option<Rc<Identity>>) {
        *self.identity.borrow_mut() = identity;
    }

    /// The addresses without TLS, with the port that the system chose where 0 was asked for.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let listeners = self.listeners.borrow();
        let plain = listeners.iter().filter(|listener| matches!(listener.speaks, Speaks::Either));
        plain.map(|listener| listener.address).collect()
    }

    /// Opens all listeners.
    pub fn open(&self) {
        for listener in self.listeners.borrow_mut().iter_mut() {
            listener.open(self);
        }
    }

    /// Shuts all listeners. Open connections are not touched.
    pub fn shut(&self) {
        for listener in self.listeners.borrow_mut().iter_mut() {
            listener.shut();
        }
    }

    /// From now on callers are noted and sent away, with this reason; `None`: let in again.
    pub fn refuse_all(&self, why: Option<&'static str>) {
        self.turning.set(why);
    }

    /// Whether callers are sent away.
    pub fn refuses_all(&self) -> bool {
        self.turning.get().is_some()
    }

    /// Other limits, for connections to come.
    pub fn set_limits(&self, limits: Limits) {
        self.door.borrow_mut().set_limits(limits.of_door());
    }

    /// A miner said who it is, and is known or not: it has a seat from now on.
    ///
    /// # Errors
    /// When there is none for it. The connection is left to be closed.
    pub fn sit(&self, conn: ConnId, known: Acquaintance) -> Result<Option<ConnId>, Refused> {
        self.door.borrow_mut().sit(Instant::now(), conn.connection(), known)
    }

    /// A share of a miner was accepted. True for the first one in a while.
    pub fn prove(&self, conn: ConnId) -> bool {
        self.door.borrow_mut().prove(Instant::now(), conn.connection())
    }

    /// Whether a miner has a seat.
    pub fn is_seated(&self, conn: ConnId) -> bool {
        self.door.borrow().is_seated(conn.connection())
    }

    /// Sends bytes, in order and without waiting.
    pub fn send(&self, conn: ConnId, bytes: &[u8]) {
        let connection = self.connections.borrow().get(&conn.connection()).cloned();
        let Some(connection) = connection.filter(|connection| !connection.ending.get()) else {
            return;
        };
        if connection.wire.borrow().is_plain() {
            return self.write(connection, bytes);
        }
        let mut sealed = self.sealed.borrow_mut();
        sealed.clear();
        sealed.shrink_to(KEPT_SEALED);
        connection.wire.borrow_mut().seal(bytes, &mut sealed);
        self.write(connection, &sealed);
    }

    /// Ends a connection in order (FIN), after what was sent before.
    pub fn close(&self, conn: ConnId) {
        let connection = self.connections.borrow().get(&conn.connection()).cloned();
        let Some(connection) = connection.filter(|connection| !connection.ending.get()) else {
            return;
        };
        let mut goodbye = Vec::new();
        connection.wire.borrow_mut().close_notify(&mut goodbye);
        if !goodbye.is_empty() {
            self.write(connection.clone(), &goodbye);
        }
        if !connection.ending.replace(true) && connection.pending.borrow().is_empty() {
            connection.say_goodbye(&self.executor);
        }
    }

    /// Ends all connections and shuts the listeners, for the end of the program.
    pub fn close_all(&self) {
        self.shut();
        let all: Vec<ConnId> = self.connections.borrow().keys().copied().collect();
        all.into_iter().for_each(|conn| self.close(conn));
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Asks the kernel for the round trips of the next connections, at most `ROUND_TRIPS`: a
    /// system call each. A home's miners are all asked each time, hundreds take turns.
    pub fn read_round_trips(&self) {
        let connections = self.connections.borrow();
        let from = self.round_trips_from.get();
        let turn = connections.range(from..).chain(connections.range(..from));
        for (id, connection) in turn.take(ROUND_TRIPS) {
            connection.round_trip.set(rtt::round_trip(connection.stream.get_ref()));
            self.round_trips_from.set(ConnId(id.0 + 1));
        }
    }

    /// Round trip to the miner as the kernel measured it when it was last asked, see
    /// [`Server::read_round_trips`].
    pub fn round_trip(&self, conn: ConnId) -> Option<Duration> {
        self.connections.borrow().get(&conn.connection())?.round_trip.get()
    }

    /// The miner's address, while it is connected.
    pub fn peer(&self, conn: ConnId) -> Option<IpAddr> {
        Some(self.connections.borrow().get(&conn.connection())?.peer)
    }

    /// Both ends of a miner's TCP connection: ours, and the miner's.
    pub fn ends(&self, conn: ConnId) -> Option<(SocketAddr, SocketAddr)> {
        let connections = self.connections.borrow();
        let stream = connections.get(&conn.connection())?.stream.get_ref();
        Some((stream.local_addr().ok()?, stream.peer_addr().ok()?))
    }

    /// Whether a miner's connection is encrypted.
    pub fn is_encrypted(&self, conn: ConnId) -> bool {
        let connections = self.connections.borrow();
        let connection = connections.get(&conn.connection());
        connection.is_some_and(|connection| connection.wire.borrow().is_encrypted())
    }

    fn write(&self, connection: Rc<Connection>, bytes: &[u8]) {
        let mut pending = connection.pending.borrow_mut();
        let mut rest = bytes;
        if pending.is_empty() {
            match connection.stream.get_ref().write(bytes) {
                Ok(written) => rest = &bytes[written..],
                Err(error) if is_transient(&error) => {}
                // The reading side sees the end and says so.
                Err(_) => return,
            }
        }
        if rest.is_empty() {
            return;
        }
        let was_empty = pending.is_empty();
        pending.extend_from_slice(rest);
        if pending.len() > MAX_PENDING {
            pending.clear();
            drop(pending);
            log::info!("miner at {} does not read what it is sent: cut", connection.peer);
            connection.ending.set(true);
            connection.stream.get_ref().shutdown(Shutdown::Both).ok();
            return;
        }
        drop(pending);
        if was_empty {
            self.flush_later(connection);
        }
    }

    /// Sends what the kernel did not take, as soon as it does.
    fn flush_later(&self, connection: Rc<Connection>) {
        let (executor, handler) = (self.executor.clone(), self.handler.clone());
        let tell = move |conn| drop(handler.upgrade().inspect(|handler| handler.unfinished(conn)));
        let flushed = async move {
            tell(connection.id);
            flush(connection.clone(), executor).await;
            tell(connection.id);
        };
        self.executor.spawn(flushed).detach();
    }

    async fn accept(self: Rc<Self>, listener: Rc<Async<TcpListener>>, speaks: Speaks) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    self.admit(stream, peer, speaks.clone());
                    // However many come: miners that are there have their turn in between.
                    future::yield_now().await;
                }
                Err(error) => {
                    log::warn!("cannot accept a miner's connection: {error}");
                    Timer::after(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(self: &Rc<Self>, stream: Async<TcpStream>, peer: SocketAddr, speaks: Speaks) {
        let Some(handler) = self.handler.upgrade() else { return };
        let peer = peer.ip().to_canonical();
        if let Some(why) = self.turning.get() {
            handler.refused(peer, Turned::All(why));
            return;
        }
        let id = ConnId(self.next.replace(self.next.get() + 1));
        let known = handler.acquaintance(peer);
        let entered = self.door.borrow_mut().enter(Instant::now(), id, peer, known);
        let wait = match entered {
            Err(why) => {
                handler.refused(peer, Turned::NoPlace(why));
                return;
            }
            Ok(entered) => {
                if let Some(other) = entered.gives_way {
                    self.make_room(&*handler, other);
                }
                entered.wait
            }
        };
        let connection = self.connection(id, peer, stream);
        handler.connected(id, peer);
        let held = handler.held(id);
        let server = self.clone();
        let serve = async move {
            connection.wait(wait).await;
            if let Some(held) = held {
                within(HELD_AT_MOST, held.recv()).await;
            }
            match speaks {
                Speaks::Either => {}
                Speaks::V2 => *connection.wire.borrow_mut() = Wire::Greeting(Vec::new()),
                Speaks::Tls(certificate) => {
                    connection.expect_tls(&certificate).await;
                    server.executor.spawn(limit_handshake(Rc::downgrade(&connection))).detach();
                }
            }
            server.serve(connection).await;
        };
        self.executor.spawn(serve).detach();
    }

    /// A connection of which nothing is known yet.
    fn connection(&self, id: ConnId, peer: IpAddr, stream: Async<TcpStream>) -> Rc<Connection> {
        if let Err(error) = set_options(stream.get_ref()) {
            log::debug!("socket options for {peer}: {error}");
        }
        let connection = Rc::new(Connection {
            id,
            peer,
            stream,
            wire: RefCell::default(),
            framing: RefCell::default(),
            begun: Cell::new(false),
            is_kept: Cell::new(false),
            pending: RefCell::default(),
            ending: Cell::new(false),
            place: async_channel::bounded(1),
            round_trip: Cell::new(None),
        });
        self.connections.borrow_mut().insert(id, connection.clone());
        connection
    }

    /// A connection that has not said who it is gives its place to another one.
    fn make_room(&self, handler: &dyn Handler, conn: ConnId) {
        let connection = self.connections.borrow().get(&conn).cloned();
        if let Some(connection) = connection {
            connection.place.0.close();
            handler.gave_way(connection.peer);
        }
    }

    async fn serve(self: Rc<Self>, connection: Rc<Connection>) {
        let why = match self.read(&connection).await {
            Ok(()) if connection.gave_way() => {
                connection.stream.get_ref().shutdown(Shutdown::Both).ok();
                "it made room for others".to_string()
            }
            Ok(()) if connection.ending.get() => "closed by us".to_string(),
            Ok(()) => "closed by the miner".to_string(),
            Err(error) => error,
        };
        if connection.is_kept.get() {
            connection.stream.get_ref().shutdown(Shutdown::Both).ok();
        }
        self.connections.borrow_mut().remove(&connection.id);
        self.door.borrow_mut().leave(Instant::now(), connection.id);
        if let Some(handler) = self.handler.upgrade() {
            handler.closed(connection.id, &why);
        }
    }

    async fn read(&self, connection: &Connection) -> Result<(), String> {
        let mut allowance = Allowance::new(Instant::now());
        let mut last_words = LAST_WORDS;
        loop {
            if self.frozen.get() && !connection.ending.get() {
                future::pending::<()>().await;
            }
            if connection.gave_way() {
                let Some(left) = last_words.checked_sub(1) else { return Ok(()) };
                last_words = left;
            }
            let outcome = connection.stream.get_ref().read(&mut self.buffer.borrow_mut());
            match outcome {
                Ok(0) => return Ok(()),
                Ok(_) if connection.ending.get() => future::yield_now().await,
                Ok(n) => {
                    let Some(handler) = self.handler.upgrade() else { return Ok(()) };
                    self.took(connection, &*handler, n)?;
                    if !connection.peer.is_loopback() {
                        connection.wait(allowance.take(Instant::now(), n)).await;
                    }
                    // A full buffer may have more behind it; others have their turn first. After
                    // less there is nothing more, and asking would only cost a system call.
                    match n == CHUNK {
                        true => future::yield_now().await,
                        false => readable(connection).await?,
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if connection.gave_way() => return Ok(()),
                Err(error) if is_transient(&error) => readable(connection).await?,
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

impl Server {
    /// Hands on what the `n` bytes in the buffer hold.
    fn took(&self, connection: &Connection, handler: &dyn Handler, n: usize) -> Result<(), String> {
        let mut framing = connection.framing.borrow_mut();
        if connection.wire.borrow().is_plain() {
            handler.received(connection.id, &mut framing, &self.buffer.borrow()[..n])?;
        } else {
            self.unwrap(connection, handler, &mut framing, n)?;
        }
        let begun = !framing.begun().is_empty();
        drop(framing);
        if connection.begun.replace(begun) || begun {
            handler.unfinished(connection.id);
        }
        Ok(())
    }

    /// Hands on what the `n` bytes in the buffer hold, and sends what the encryption itself answers.
    fn unwrap(
        &self,
        connection: &Connection,
        handler: &dyn Handler,
        framing: &mut Framing,
        n: usize,
    ) -> Result<(), String> {
        let buffer = self.buffer.borrow();
        let mut chunk = &buffer[..n];
        let identity = self.identity.borrow().clone();
        let identity = identity.as_deref();
        while !chunk.is_empty() {
            let mut taken = self.taken.borrow_mut();
            taken.plain.clear();
            taken.answer.clear();
            let outcome =
                connection.wire.borrow_mut().take_in(&mut chunk, framing, identity, &mut taken);
            if !taken.answer.is_empty() {
                let connection = self.connections.borrow().get(&connection.id).cloned();
                connection.inspect(|connection| self.write(connection.clone(), &taken.answer));
            }
            // What came before a fault counts: it could be a block.
            if !taken.plain.is_empty() {
                handler.received(connection.id, framing, &taken.plain)?;
            }
            match outcome {
                Ok(()) => {}
                Err(Unreadable::Broken(why)) => return Err(why),
                Err(Unreadable::Misplaced(speaks)) => {
                    handler.misplaced(connection.id, connection.peer, speaks);
                    return Err(speaks.words().to_owned());
                }
            }
        }
        Ok(())
    }
}

/// Ends a connection whose handshake takes too long.
async fn limit_handshake(connection: Weak<Connection>) {
    Timer::after(HANDSHAKE).await;
    if let Some(connection) = connection.upgrade()
        && connection.wire.borrow().is_tls_handshaking()
    {
        log::debug!("miner at {}: no TLS handshake in time", connection.peer);
        connection.stream.get_ref().shutdown(Shutdown::Both).ok();
    }
}

/// What a connection may still send before it is made to wait.
struct Allowance {
    bytes: f64,
    at: Instant,
}

impl Allowance {
    fn new(now: Instant) -> Allowance {
        Allowance { bytes: BURST, at: now }
    }

    /// How long to wait after `bytes` more.
    fn take(&mut self, now: Instant, bytes: usize) -> Duration {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * BYTES_PER_SECOND;
        self.bytes = (self.bytes + earned).min(BURST) - bytes as f64;
        self.at = now;
        Duration::from_secs_f64((-self.bytes / BYTES_PER_SECOND).max(0.0))
    }
}

/// Waits until there is something to read, or the connection gives way.
async fn readable(connection: &Connection) -> Result<(), String> {
    let readable = async { connection.stream.readable().await.map_err(|error| error.to_string()) };
    let gives_way = async {
        connection.place.1.recv().await.ok();
        Ok(())
    };
    future::or(readable, gives_way).await
}

/// Sends what the kernel did not take at once.
async fn flush(connection: Rc<Connection>, executor: Rc<LocalExecutor<'static>>) {
    loop {
        if connection.stream.writable().await.is_err() {
            return;
        }
        let mut pending = connection.pending.borrow_mut();
        match connection.stream.get_ref().write(&pending) {
            Ok(written) => drop(pending.drain(..written)),
            Err(error) if is_transient(&error) => {}
            Err(_) => pending.clear(),
        }
        if pending.is_empty() {
            pending.shrink_to(0);
            drop(pending);
            if connection.ending.get() {
                connection.say_goodbye(&executor);
            }
            return;
        }
    }
}

impl Connection {
    /// It gave its place to another one.
    fn gave_way(&self) -> bool {
        self.place.1.is_closed()
    }

    /// Waits for so long, or until the connection gives way.
    async fn wait(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        let over = async {
            Timer::after(time).await;
        };
        let gives_way = async {
            self.place.1.recv().await.ok();
        };
        future::or(over, gives_way).await;
    }

    /// From now on all bytes are those of a TLS stream.
    async fn expect_tls(&self, certificate: &Certificate) {
        match ServerConnection::new(certificate.config().await) {
            Ok(mut tls) => {
                tls.set_buffer_limit(Some(MAX_PENDING));
                *self.wire.borrow_mut() = Wire::Tls(Box::new(tls));
            }
            Err(error) => {
                log::error!("no TLS for the miner at {}: {error}", self.peer);
                self.stream.get_ref().shutdown(Shutdown::Both).ok();
            }
        }
    }

    /// FIN, and an end by force for a miner that does not answer it.
    fn say_goodbye(self: &Rc<Self>, executor: &LocalExecutor<'static>) {
        self.stream.get_ref().shutdown(Shutdown::Write).ok();
        let connection = Rc::downgrade(self);
        executor
            .spawn(async move {
                Timer::after(LINGER).await;
                if let Some(connection) = connection.upgrade() {
                    connection.stream.get_ref().shutdown(Shutdown::Both).ok();
                }
            })
            .detach();
    }
}

impl Listener {
    fn new(address: SocketAddr, speaks: Speaks, kept: &KeptListeners) -> io::Result<Listener> {
        let socket = match kept.take(address) {
            Some(socket) => Async::new(socket)?,
            None => reserve(address)?,
        };
        let address = socket.get_ref().local_addr().unwrap_or(address);
        Ok(Listener { address, socket: Rc::new(socket), speaks, accepting: None })
    }

    fn open(&mut self, server: &Server) {
        let Some(this) = server.this.upgrade().filter(|_| self.accepting.is_none()) else { return };
        match SockRef::from(&self.socket).listen(BACKLOG) {
            Ok(()) => {
                let task = this.accept(self.socket.clone(), self.speaks.clone());
                self.accepting = Some(server.executor.spawn(task));
            }
            Err(error) => log::error!("cannot listen on {}: {error}", self.address),
        }
    }

    fn shut(&mut self) {
        self.accepting = None;
        if !SockRef::from(&self.socket).is_listener().unwrap_or(true) {
            return;
        }
        // On Linux this takes a listening socket back to bound: the kernel refuses connections,
        // also those that wait to be accepted.
        if let Err(error) = SockRef::from(&self.socket).shutdown(Shutdown::Read) {
            log::error!("cannot stop listening on {}: {error}", self.address);
        }
    }
}

/// A bound socket that does not listen yet.
fn reserve(mut address: SocketAddr) -> io::Result<Async<TcpListener>> {
    if address.port() == 0 {
        // A port that the system chose is given up by a shut listener; one that was asked for is kept.
        address = bind(address)?.get_ref().local_addr()?;
    }
    bind(address)
}

fn bind(address: SocketAddr) -> io::Result<Async<TcpListener>> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a moment ago must not keep us from our own port.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Async::new(TcpListener::from(socket))
}

/// Jobs go out at once, and a miner whose cable was cut is noticed within a minute.
fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Handler for Nobody {
        fn connected(&self, _: ConnId, _: IpAddr) {}
        fn received(&self, _: ConnId, _: &mut Framing, _: &[u8]) -> Result<(), String> {
            Ok(())
        }
        fn misplaced(&self, _: ConnId, _: IpAddr, _: Opening) {}
        fn closed(&self, _: ConnId, _: &str) {}
        fn refused(&self, _: IpAddr, _: Turned) {}
        fn gave_way(&self, _: IpAddr) {}
        fn acquaintance(&self, _: IpAddr) -> Acquaintance {
            None
        }
    }

    fn server() -> Rc<Server> {
        let handler: Rc<dyn Handler> = Rc::new(Nobody);
        let limits = Limits { connections: 4, per_address: 2 };
        let address = "127.0.0.1:0".parse().unwrap();
        Server::bind(
            Rc::default(),
            Rc::downgrade(&handler),
            &[address],
            limits,
            &KeptListeners::default(),
        )
        .unwrap_or_else(|(_, error)| panic!("{error}"))
    }

    #[test]
    fn round_trips_are_read_in_turns() {
        let handler: Rc<dyn Handler> = Rc::new(Nobody);
        let limits = Limits { connections: 100, per_address: 100 };
        let address = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(
            Rc::default(),
            Rc::downgrade(&handler),
            &[address],
            limits,
            &KeptListeners::default(),
        )
        .unwrap_or_else(|(_, error)| panic!("{error}"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ends = Vec::new();
        for port in 1..=100 {
            let mut end = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let stream = Async::new(listener.accept().unwrap().0).unwrap();
            let peer = SocketAddr::from(([192, 168, 1, 7], port));
            server.admit(stream, peer, Speaks::Either);
            server.send(ConnId(port.into()), b"x");
            std::io::Read::read_exact(&mut end, &mut [0]).unwrap();
            ends.push(end);
        }
        let known =
            || (1..=100).filter(|n| server.round_trip(ConnId(*n)).is_some()).collect::<Vec<u64>>();
        assert!(known().is_empty());
        server.read_round_trips();
        assert_eq!(known(), (1..=64).collect::<Vec<_>>());
        // From where it stopped, around the end, whoever left meanwhile.
        server.connections.borrow_mut().remove(&ConnId(65));
        server.read_round_trips();
        assert_eq!(known(), (1..=100).filter(|n| *n != 65).collect::<Vec<_>>());
        assert_eq!(server.round_trips_from.get(), ConnId(30));
    }

    /// Hears everything, knows one miner, and seats whoever says "here".
    #[derive(Default)]
    struct Porter {
        server: RefCell<Weak<Server>>,
        heard: RefCell<Vec<String>>,
        turned: RefCell<Vec<(IpAddr, Turned)>>,
        gave_way: RefCell<Vec<IpAddr>>,
        closed: RefCell<Vec<String>>,
    }

    const KNOWN: &str = "192.168.1.7";
    const HERE: &str = "{\"here\"}";
    const BLOCK: &str = "{\"a block\"}";

    impl Handler for Porter {
        fn connected(&self, _: ConnId, _: IpAddr) {}
        fn misplaced(&self, _: ConnId, _: IpAddr, _: Opening) {}
        fn received(&self, conn: ConnId, _: &mut Framing, chunk: &[u8]) -> Result<(), String> {
            self.heard.borrow_mut().push(String::from_utf8_lossy(chunk).into());
            let server = self.server.borrow().upgrade().unwrap();
            if chunk == HERE.as_bytes() && server.sit(conn, None).is_err() {
                server.close(conn);
            }
            Ok(())
        }
        fn closed(&self, _: ConnId, why: &str) {
            self.closed.borrow_mut().push(why.to_owned());
        }
        fn refused(&self, peer: IpAddr, why: Turned) {
            self.turned.borrow_mut().push((peer, why));
        }
        fn gave_way(&self, peer: IpAddr) {
            self.gave_way.borrow_mut().push(peer);
        }
        fn acquaintance(&self, peer: IpAddr) -> Acquaintance {
            (peer == KNOWN.parse::<IpAddr>().unwrap()).then_some(1000)
        }
    }

    /// A server with sockets whose other ends are said to be elsewhere.
    struct House {
        porter: Rc<Porter>,
        server: Rc<Server>,
        listener: TcpListener,
    }

    impl House {
        fn new(connections: usize, per_address: usize) -> House {
            let porter = Rc::new(Porter::default());
            let handler: Rc<dyn Handler> = porter.clone();
            let limits = Limits { connections, per_address };
            let server = Server::bind(
                Rc::default(),
                Rc::downgrade(&handler),
                &[],
                limits,
                &KeptListeners::default(),
            )
            .unwrap_or_else(|(_, error)| panic!("{error}"));
            *porter.server.borrow_mut() = Rc::downgrade(&server);
            House { porter, server, listener: TcpListener::bind("127.0.0.1:0").unwrap() }
        }

        fn come(&self, peer: &str, says: &str) -> TcpStream {
            let mut end = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
            end.write_all(says.as_bytes()).unwrap();
            let stream = Async::new(self.listener.accept().unwrap().0).unwrap();
            let peer = SocketAddr::new(peer.parse().unwrap(), 1);
            self.server.admit(stream, peer, Speaks::Either);
            end
        }

        /// In slices: a busy machine that lets this thread wait takes one of them, not all.
        fn run(&self, time: u64) {
            let executor = self.server.executor.clone();
            for _ in 0..time {
                async_io::block_on(executor.run(Timer::after(Duration::from_millis(1))));
            }
        }
    }

    #[test]
    fn who_says_nothing_holds_no_place_of_a_miner() {
        let house = House::new(4, 8);
        let silent: Vec<TcpStream> =
            (0..300).map(|n| house.come(&format!("192.168.2.{}", n % 60), "")).collect();
        house.run(50);
        assert_eq!(house.server.connections(), HALL_MAX);
        assert_eq!(house.porter.gave_way.borrow().len(), 300 - HALL_MAX);
        assert!(house.porter.closed.borrow().iter().all(|why| why == "it made room for others"));
        let miner = house.come(KNOWN, HERE);
        let other = house.come("192.168.3.1", HERE);
        house.run(50);
        assert_eq!(*house.porter.heard.borrow(), [HERE, HERE]);
        assert_eq!(house.porter.turned.borrow().len(), 0);
        drop((silent, miner, other));
    }

    /// A miner that comes back in a storm waits unread, with a block in what it sent.
    #[test]
    fn what_was_sent_is_read_before_a_place_is_lost() {
        let house = House::new(4, 300);
        let mut ends: Vec<TcpStream> = (0..STORM).map(|_| house.come("10.0.0.1", "")).collect();
        ends.push(house.come("10.0.0.1", BLOCK));
        house.run(50);
        assert!(house.porter.heard.borrow().is_empty(), "it waits");
        while house.server.connections() < HALL_MAX {
            ends.push(house.come(&format!("10.0.1.{}", ends.len() - STORM), ""));
        }
        for n in 0..=STORM {
            ends.push(house.come(&format!("10.0.2.{n}"), ""));
        }
        house.run(50);
        assert_eq!(*house.porter.heard.borrow(), [BLOCK]);
    }

    #[test]
    fn a_household_has_its_share_of_the_places_and_this_machine_all() {
        let house = House::new(4, 2);
        let mut ends = Vec::new();
        let mut come = |peer: &str| {
            ends.push(house.come(peer, HERE));
            house.run(20);
            let (open, closed) = (house.server.connections(), house.porter.closed.borrow().len());
            (open, closed)
        };
        assert_eq!(come("192.168.1.8"), (1, 0));
        assert_eq!(come("192.168.1.8"), (2, 0));
        // The same address in IPv6's writing is the same household.
        let (open, _) = come("::ffff:192.168.1.8");
        assert_eq!(open, 3, "sent away in order: the end is awaited");
        assert!(!house.server.is_seated(ConnId(3)));
        house.server.prove(ConnId(1));
        come("192.168.1.8");
        assert!(house.server.is_seated(ConnId(4)), "a miner that mines does not count");
        come("192.168.1.9");
        assert!(house.server.is_seated(ConnId(5)));
        for conn in [2, 4, 5] {
            house.server.prove(ConnId(conn));
        }
        come("192.168.1.10");
        assert!(!house.server.is_seated(ConnId(6)), "all places are taken");
        come("127.0.0.1");
        assert!(house.server.is_seated(ConnId(7)), "but not for this machine");
    }

    #[test]
    fn a_flood_is_slowed_to_its_rate_and_a_miner_is_not() {
        let start = Instant::now();
        let mut miner = Allowance::new(start);
        for second in 0..3600 {
            let now = start + Duration::from_secs(second);
            assert_eq!(miner.take(now, 50 * 150), Duration::ZERO);
        }
        let mut flood = Allowance::new(start);
        let (mut now, mut sent) = (start, 0);
        while now < start + Duration::from_secs(100) {
            now += flood.take(now, CHUNK) + Duration::from_millis(1);
            sent += CHUNK;
        }
        let allowed = BURST + 100.0 * BYTES_PER_SECOND;
        assert!((sent as f64) < 1.1 * allowed, "{sent}");
    }

    #[test]
    fn doors_refuse_before_they_are_opened_and_after_they_are_shut() {
        let server = server();
        let address = server.addresses()[0];
        let executor = server.executor.clone();
        for _ in 0..3 {
            assert!(TcpStream::connect(address).is_err());
            server.open();
            assert!(TcpStream::connect(address).is_ok());
            async_io::block_on(executor.run(future::yield_now()));
            server.shut();
        }
        assert!(TcpStream::connect(address).is_err());
    }
}
