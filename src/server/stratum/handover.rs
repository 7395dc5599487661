//! Connections that go on in the next run of the program.

use std::io::Read;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

use async_io::Async;

use crate::door::{Acquaintance, Refused};
use crate::ids::ConnId;
use crate::stratum::frame::{Framing, Lines};

use super::super::wire::Wire;
use super::{Connection, LAST_WORDS, Server, Speaks};

/// What was begun on a connection and has not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// The beginning of a line of the miner's.
    pub begun: Vec<u8>,
    /// What it is to be sent and the kernel has not taken.
    pub unsent: Vec<u8>,
}

/// Why a connection of the run before is not served.
#[derive(Debug, thiserror::Error)]
pub enum NotServed {
    /// There is no place for it.
    #[error("there is no place")]
    NoPlace(Refused),
    /// The system's words.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl Server {
    /// The sockets of the listeners, with their addresses.
    pub fn listening(&self) -> Vec<(SocketAddr, OwnedFd)> {
        let listeners = self.listeners.borrow();
        let copy = |socket: &Async<std::net::TcpListener>| socket.get_ref().try_clone().ok();
        let all = listeners.iter();
        all.filter_map(|one| Some((one.address, copy(&one.socket)?.into()))).collect()
    }

    /// Whether connections at this address of ours are served without TLS.
    pub fn listens_at(&self, local: SocketAddr) -> bool {
        let listeners = self.listeners.borrow();
        let mut plain = listeners.iter().filter(|one| matches!(one.speaks, Speaks::Either));
        plain.any(|one| {
            let ip = one.address.ip();
            one.address.port() == local.port() && (ip.is_unspecified() || ip == local.ip())
        })
    }

    /// Whether bytes on this connection are lines as they are, and it is not ending.
    pub fn is_plain(&self, conn: ConnId) -> bool {
        let connections = self.connections.borrow();
        let connection = connections.get(&conn);
        connection.is_some_and(|one| one.wire.borrow().is_plain() && !one.ending.get())
    }

    /// A copy of the socket, to be kept elsewhere. From now on the connection ends by more than that its
    /// socket is dropped here.
    pub fn keep_socket(&self, conn: ConnId) -> Option<OwnedFd> {
        let connections = self.connections.borrow();
        let connection = connections.get(&conn)?;
        let copy = connection.stream.get_ref().try_clone().ok()?;
        connection.is_kept.set(true);
        Some(copy.into())
    }

    /// What was begun on a connection and has not ended.
    pub fn unfinished(&self, conn: ConnId) -> Unfinished {
        let connections = self.connections.borrow();
        let Some(connection) = connections.get(&conn) else { return Unfinished::default() };
        Unfinished {
            // While its lines are being read, nobody knows yet: it is told of anew after that.
            begun: connection.framing.try_borrow().map_or(Vec::new(), |one| one.begun().to_vec()),
            unsent: connection.pending.borrow().clone(),
        }
    }

    /// Whether a share of it was accepted lately.
    pub fn is_proved(&self, conn: ConnId) -> bool {
        self.door.borrow().is_proved(Instant::now(), conn.connection())
    }

    /// Nothing more is read or accepted: the next run goes on with the connections that `goes_on` names,
    /// and with the listeners if they stay. All others are heard a last time and closed.
    pub fn freeze(&self, listeners_stay: bool, goes_on: impl Fn(ConnId) -> bool) {
        match listeners_stay {
            true => self.listeners.borrow_mut().iter_mut().for_each(|one| one.accepting = None),
            false => self.shut(),
        }
        self.frozen.set(true);
        let all: Vec<Rc<Connection>> = self.connections.borrow().values().cloned().collect();
        for connection in all.iter().filter(|connection| !goes_on(connection.id)) {
            self.hear_last_words(connection);
            self.close(connection.id);
        }
    }

    /// What closed connections were sent and the kernel has not taken.
    pub fn has_unsent_farewells(&self) -> bool {
        let connections = self.connections.borrow();
        let mut ending = connections.values().filter(|connection| connection.ending.get());
        ending.any(|connection| !connection.pending.borrow().is_empty())
    }

    /// Reads what has come: it could be a block.
    fn hear_last_words(&self, connection: &Connection) {
        let Some(handler) = self.handler.upgrade() else { return };
        for _ in 0..LAST_WORDS {
            if connection.ending.get() {
                return;
            }
            let outcome = connection.stream.get_ref().read(&mut self.buffer.borrow_mut());
            match outcome {
                Ok(n) if n > 0 && self.took(connection, &*handler, n).is_ok() => {}
                _ => return,
            }
        }
    }

    /// Serves a connection of the run before, whose miner has said who it is. Nothing is read of it before
    /// this thread waits again.
    ///
    /// # Errors
    /// There is no place for it, or it cannot be served.
    pub fn take_up(
        self: &Rc<Self>,
        stream: TcpStream,
        peer: IpAddr,
        known: Acquaintance,
        unfinished: Unfinished,
    ) -> Result<ConnId, NotServed> {
        let stream = Async::new(stream)?;
        let (now, id) = (Instant::now(), ConnId(self.next.replace(self.next.get() + 1)));
        let mut door = self.door.borrow_mut();
        // It waited before, where it had to.
        let entered = door.enter(now, id, peer, known).map_err(NotServed::NoPlace)?;
        let seated = door.sit(now, id, known);
        if seated.is_err() {
            door.leave(now, id);
        }
        drop(door);
        let gives_way = [entered.gives_way, seated.map_err(NotServed::NoPlace)?];
        gives_way.into_iter().flatten().for_each(|other| self.close(other));
        let connection = self.connection(id, peer, stream);
        *connection.wire.borrow_mut() = Wire::Plain;
        connection.begun.set(!unfinished.begun.is_empty());
        *connection.framing.borrow_mut() = Framing::Lines(Lines::within(unfinished.begun));
        if !unfinished.unsent.is_empty() {
            *connection.pending.borrow_mut() = unfinished.unsent;
            self.flush_later(connection.clone());
        }
        self.executor.spawn(self.clone().serve(connection)).detach();
        Ok(id)
    }

    /// Ends a connection without a goodbye.
    pub fn cut(&self, conn: ConnId) {
        if let Some(connection) = self.connections.borrow().get(&conn.connection()) {
            connection.ending.set(true);
            connection.stream.get_ref().shutdown(Shutdown::Both).ok();
        }
    }
}
