//! Connections of miners that outlive this run: written down while they are served, left to the next run,
//! and taken up from the run before.
//!
//! ```text
//!  first job ──► a ticket: the socket to systemd's store, the session into the file
//!  it changes ─► the session into the file again          it ends ──► out of both
//!
//!  SIGTERM, crash ──► systemd starts the next run with the sockets ─┐
//!  SIGUSR2 ──► the program starts itself anew with the sockets ─────┴► the file says what each is
//! ```
//!
//! The file is beside that of the jobs, in memory ([`super::job_file`]); without one nothing is handed
//! over. A share writes nothing here. What belongs to one line is written before the miner sees the line,
//! so that a kill at any moment leaves a file that is right, but for the moment in which the kernel takes a
//! part of a line.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::clock::Now;
use crate::handover::{self, HandedConnection, HandedOver, Terms, UNSENT_MAX, Unusable};
use crate::ids::{ConnId, Ticket};
use crate::ledger::totals::LedgerEvent;
use crate::listed::listed;
use crate::os::fd_store::FdStore;
use crate::os::{self, inherited};
use crate::server::kept::KeptListeners;
use crate::server::stratum::handover::{NotServed, Unfinished};
use crate::status::miners::class;
use crate::status::{self as view, EventKind, Level};
use crate::stratum::handover::Unfit;

use super::State;
use super::job_file::moment;
use super::memory_file::{Left, MemoryFile};

/// Its name.
const FILE: &str = "connections";

/// Bytes of the file that are read, and beyond which no further connection is handed over.
const FILE_MAX: u64 = 4 << 20;

/// Bytes beyond which the file is begun anew with what still counts.
const FILE_LONG: u64 = 512 * 1024;

/// How long callers wait at listeners that go on, while there is no work yet. After that they are refused,
/// so that they use their other pool.
const LISTENERS_WAIT: Duration = Duration::from_secs(5);

/// How a listener and a connection are called in systemd's store.
const LISTENER: &str = "listener-";
const MINER: &str = "miner-";

listed! {
    /// Why a connection of the run before did not go on.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub(super) enum NotTaken {
        /// The miner ended it meanwhile.
        Left,
        /// There is no word about it.
        Unknown,
        /// A line to it was cut by the crash.
        Cut,
        /// It has another extranonce than its firmware is to have now.
        Extranonce,
        /// It came by a port that is no more.
        Port,
        /// There is no place.
        NoPlace,
        /// The system refuses it.
        System,
    }
}

impl NotTaken {
    fn label(self) -> &'static str {
        match self {
            NotTaken::Left => "left",
            NotTaken::Unknown => "unknown",
            NotTaken::Cut => "cut",
            NotTaken::Extranonce => "extranonce",
            NotTaken::Port => "port",
            NotTaken::NoPlace => "no_place",
            NotTaken::System => "system",
        }
    }

    fn words(self) -> &'static str {
        match self {
            NotTaken::Left => "the miner had left",
            NotTaken::Unknown => "nothing is known of it",
            NotTaken::Cut => "a line to it was cut by the crash",
            NotTaken::Extranonce => "its firmware is to have another extranonce now",
            NotTaken::Port => "it came by a port that is no more",
            NotTaken::NoPlace => "there is no place for it",
            NotTaken::System => "the system refuses it",
        }
    }
}

/// See the module's description.
pub(super) struct Handover {
    file: Option<MemoryFile>,
    store: FdStore,
    tickets: BTreeMap<ConnId, Ticket>,
    /// Copies of the listening sockets.
    listeners: Vec<(String, OwnedFd)>,
    /// The sockets of the run before, until they are taken up.
    sockets: Vec<(Ticket, OwnedFd)>,
    left: Result<HandedOver, Unusable>,
    /// When callers that wait are refused.
    listeners_until: Option<Instant>,
    /// When this run was told to end, by the time since the system started.
    told: Option<Duration>,
    taken_up: u64,
    not_taken: [u64; NotTaken::COUNT],
}

impl Handover {
    /// Takes the open sockets, and reads what the run before has left in `dir`. Listeners whose address is
    /// not `wanted` any more are shut.
    pub(super) fn open(
        now: Now,
        dir: Option<&Path>,
        terms: Terms,
        wanted: impl Fn(SocketAddr) -> bool,
    ) -> (Handover, KeptListeners) {
        let mut handover = Handover {
            file: None,
            store: FdStore::new(),
            tickets: BTreeMap::new(),
            listeners: Vec::new(),
            sockets: Vec::new(),
            left: Ok(HandedOver::default()),
            listeners_until: None,
            told: None,
            taken_up: 0,
            not_taken: [0; NotTaken::COUNT],
        };
        let mut listeners = Vec::new();
        for (name, fd) in inherited::take() {
            if let Some(ticket) = ticket_of(&name) {
                handover.sockets.push((ticket, fd));
            } else if name.starts_with(LISTENER) {
                let listener = TcpListener::from(fd);
                if !listener.local_addr().is_ok_and(&wanted) {
                    handover.store.remove(now.mono, &name);
                }
                listeners.push(listener);
            }
        }
        if !listeners.is_empty() {
            handover.listeners_until = Some(now.mono + LISTENERS_WAIT);
        }
        if let Some(dir) = dir {
            match open(now, dir, terms) {
                Ok((file, left)) => (handover.file, handover.left) = (Some(file), left),
                Err(error) => log::warn!(
                    "{}: {error}: miners' connections will not outlive a restart",
                    dir.display()
                ),
            }
        }
        (handover, KeptListeners::new(listeners, wanted))
    }

    /// Whether connections outlive this run when it ends by itself.
    pub(super) fn is_kept(&self) -> bool {
        self.file.is_some() && self.store.is_there()
    }

    /// Whether they can be left to a run that takes this one's place.
    pub(super) fn can_be_left(&self) -> bool {
        self.file.is_some()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [self.store.next_deadline(), self.listeners_until].into_iter().flatten().min()
    }

    /// Whether systemd has been told everything.
    pub(super) fn is_done(&self) -> bool {
        self.store.is_done()
    }

    /// Keeps a listener for the next run.
    pub(super) fn keep_listener(&mut self, now: Now, address: SocketAddr, socket: impl AsFd) {
        let Ok(socket) = socket.as_fd().try_clone_to_owned() else { return };
        // systemd has colons between the names.
        let name = format!("{LISTENER}{address}").replace(':', "_");
        if self.is_kept() {
            self.store.put_listener(now.mono, &name, &socket);
        }
        self.listeners.push((name, socket));
    }

    pub(super) fn has_ticket(&self, conn: ConnId) -> bool {
        self.tickets.contains_key(&conn)
    }

    /// Whether any connection is kept.
    pub(super) fn has_tickets(&self) -> bool {
        !self.tickets.is_empty()
    }

    /// Connections that went on from the run before.
    pub(super) fn taken_up(&self) -> u64 {
        self.taken_up
    }

    /// Those that did not, by cause.
    pub(super) fn not_taken_up(&self) -> Vec<view::CountView> {
        let counts = NotTaken::ALL.iter().zip(self.not_taken);
        counts.map(|(why, count)| view::CountView { what: why.label().into(), count }).collect()
    }

    fn drop_socket(&mut self, now: Now, ticket: Ticket, socket: OwnedFd) {
        TcpStream::from(socket).shutdown(Shutdown::Both).ok();
        self.store.remove(now.mono, &name_of(ticket));
    }
}

fn name_of(ticket: Ticket) -> String {
    format!("{MINER}{:016x}", ticket.0)
}

fn ticket_of(name: &str) -> Option<Ticket> {
    let hex = name.strip_prefix(MINER).filter(|hex| hex.len() == 16)?;
    u64::from_str_radix(hex, 16).ok().map(Ticket)
}

/// Reads the file, and begins a new one with the same content.
fn open(
    now: Now,
    dir: &Path,
    terms: Terms,
) -> io::Result<(MemoryFile, Result<HandedOver, Unusable>)> {
    let boot_id = os::boot_id();
    let left = match MemoryFile::left(dir, FILE, FILE_MAX)? {
        Left::Bytes(bytes) => handover::read(moment(now), &boot_id, terms, &bytes),
        Left::Nothing => Ok(HandedOver::default()),
        Left::Unreadable => Err(Unusable::Damaged),
    };
    let mut records = Vec::new();
    for (ticket, connection) in left.iter().flat_map(|left| &left.connections) {
        handover::write(moment(now), *ticket, connection, &mut records);
    }
    let file = MemoryFile::begin(dir, FILE, handover::header(&boot_id, terms), &records)?;
    Ok((file, left))
}

impl State {
    /// What the next run has to know of a session has changed.
    pub(super) fn session_changed(&mut self, now: Now, conn: ConnId) {
        if !self.handover.is_kept() {
            return;
        }
        let Some(connection) = self.handed(conn) else { return };
        let known = self.handover.tickets.get(&conn).copied();
        let Some(ticket) = known.or_else(new_ticket) else { return };
        let mut record = Vec::new();
        handover::write(moment(now), ticket, &connection, &mut record);
        self.write_connections(now, &record);
        if known.is_none()
            && self.handover.is_kept()
            && let Some(socket) = self.server.keep_socket(conn)
        {
            self.handover.tickets.insert(conn, ticket);
            self.handover.store.put(now.mono, &name_of(ticket), &socket);
        }
    }

    /// A connection ends: it is not for the next run.
    pub(super) fn connection_ends(&mut self, now: Now, conn: ConnId) {
        let Some(ticket) = self.handover.tickets.remove(&conn) else { return };
        let mut record = Vec::new();
        handover::write_gone(ticket, &mut record);
        self.write_connections(now, &record);
        self.handover.store.remove(now.mono, &name_of(ticket));
    }

    pub(super) fn tick_handover(&mut self, now: Now) {
        self.handover.store.tick(now.mono);
        if self.handover.listeners_until.is_some_and(|at| now.mono >= at) {
            self.handover.listeners_until = None;
            if !self.engine.pool().is_open() && !self.server.refuses_all() {
                self.server.shut();
            }
        }
    }

    /// What the next run has to know of a connection; `None` where it cannot go on.
    fn handed(&self, conn: ConnId) -> Option<HandedConnection> {
        if self.canary.is(conn) || !self.server.is_plain(conn) {
            return None;
        }
        let session = self.engine.pool().session(conn)?.handed()?;
        let Unfinished { begun, unsent } = self.server.unfinished(conn);
        let (proved, clogged) = (self.server.is_proved(conn), !unsent.is_empty());
        Some(HandedConnection { session, proved, begun, unsent: Vec::new(), clogged })
    }

    fn write_connections(&mut self, now: Now, records: &[u8]) {
        let Some(file) = &mut self.handover.file else { return };
        let is_long = file.size() > FILE_LONG;
        let mut outcome = file.append(records);
        if outcome.is_ok() && is_long {
            let tickets: Vec<_> =
                self.handover.tickets.iter().map(|(conn, ticket)| (*conn, *ticket)).collect();
            let mut all = Vec::new();
            for (conn, ticket) in tickets {
                if let Some(connection) = self.handed(conn) {
                    handover::write(moment(now), ticket, &connection, &mut all);
                }
            }
            let Some(file) = &mut self.handover.file else { return };
            outcome = file.begin_anew(&all);
        }
        if let Err(error) = outcome {
            self.give_up(&error);
        }
    }

    /// The file cannot be written: what it says is not true any more.
    fn give_up(&mut self, error: &io::Error) {
        if let Some(file) = self.handover.file.take() {
            file.give_up(error, "miners' connections would not outlive a restart");
        }
    }

    /// Whether this run leaves a connection to the next one.
    pub(super) fn leaves(&self, conn: ConnId, by_itself: bool) -> bool {
        let is_kept = match by_itself {
            true => self.handover.can_be_left(),
            false => self.handover.is_kept() && self.handover.has_ticket(conn),
        };
        is_kept
            && self.handed(conn).is_some()
            && self.server.unfinished(conn).unsent.len() <= UNSENT_MAX
    }

    /// The run was told to end.
    pub(super) fn note_the_end(&mut self) {
        self.handover.told.get_or_insert(os::uptime());
    }

    /// Writes down everything that the next run has to know, and gives out the sockets for it. The last
    /// thing that is done.
    pub(super) fn leave_connections(&mut self, now: Now) -> Vec<(String, OwnedFd)> {
        let mut sockets = Vec::new();
        let mut records = Vec::new();
        let conns: Vec<ConnId> = self.engine.pool().sessions().map(|one| one.conn()).collect();
        for conn in conns {
            let Some(mut connection) = self.handed(conn) else { continue };
            let known = self.handover.tickets.get(&conn).copied();
            let Some(ticket) = known.or_else(new_ticket) else { continue };
            let Some(socket) = self.server.keep_socket(conn) else { continue };
            connection.unsent = self.server.unfinished(conn).unsent;
            if records.len() as u64 + connection.unsent.len() as u64 > FILE_MAX / 2 {
                self.server.cut(conn);
                continue;
            }
            handover::write(moment(now), ticket, &connection, &mut records);
            sockets.push((name_of(ticket), socket));
        }
        if let Some(told) = self.handover.told {
            handover::write_end(told, &mut records);
        }
        if let Some(file) = &mut self.handover.file
            && let Err(error) = file.begin_anew(&records)
        {
            self.give_up(&error);
        }
        sockets.append(&mut self.handover.listeners);
        sockets
    }

    /// Goes on with the connections of the run before.
    pub(super) fn take_up_connections(&mut self, now: Now) {
        let sockets = std::mem::take(&mut self.handover.sockets);
        let left = std::mem::replace(&mut self.handover.left, Ok(HandedOver::default()));
        let (mut left, unusable) = match left {
            Ok(left) => (left, None),
            Err(why) => (HandedOver::default(), Some(why)),
        };
        let crashed = left.ended.is_none();
        let (mut taken, mut not) = (0_u64, [0_u64; NotTaken::COUNT]);
        for (ticket, socket) in sockets {
            let handed = left.connections.remove(&ticket);
            match self.take_up(now, ticket, socket, handed, crashed) {
                Ok(()) => taken += 1,
                Err(why) => not[why.index()] += 1,
            }
        }
        (self.handover.taken_up, self.handover.not_taken) = (taken, not);
        // What nobody keeps open any more.
        let mut gone = Vec::new();
        left.connections.keys().for_each(|ticket| handover::write_gone(*ticket, &mut gone));
        self.write_connections(now, &gone);
        if taken + not.iter().sum::<u64>() > 0 {
            let away = left.ended.map(|ended| os::uptime().saturating_sub(ended));
            let why = unusable.map(|why| why.to_string());
            let (level, text) = words(taken, &not, away, why.as_deref());
            self.tell(now, EventKind::System, level, text);
        }
    }

    fn take_up(
        &mut self,
        now: Now,
        ticket: Ticket,
        socket: OwnedFd,
        handed: Option<HandedConnection>,
        crashed: bool,
    ) -> Result<(), NotTaken> {
        let copy = socket.try_clone().map_err(|_| NotTaken::System);
        let served =
            copy.and_then(|copy| self.serve_again(now, ticket, copy.into(), handed, crashed));
        match served {
            Ok(()) => Ok(()),
            Err(why) => {
                self.handover.drop_socket(now, ticket, socket);
                let mut record = Vec::new();
                handover::write_gone(ticket, &mut record);
                self.write_connections(now, &record);
                Err(why)
            }
        }
    }

    fn serve_again(
        &mut self,
        now: Now,
        ticket: Ticket,
        stream: TcpStream,
        handed: Option<HandedConnection>,
        crashed: bool,
    ) -> Result<(), NotTaken> {
        let HandedConnection { session, proved, begun, unsent, clogged } =
            handed.ok_or(NotTaken::Unknown)?;
        if clogged && crashed {
            return Err(NotTaken::Cut);
        }
        let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else {
            return Err(NotTaken::Left);
        };
        let peer = peer.ip().to_canonical();
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        if !self.server.listens_at(local) || !self.config.is_set_up() {
            return Err(NotTaken::Port);
        }
        let known = self.doors.known.miner(peer, &session.worker);
        let unfinished = Unfinished { begun, unsent };
        let conn =
            self.server.take_up(stream, peer, known, unfinished).map_err(|why| match why {
                NotServed::NoPlace(_) => NotTaken::NoPlace,
                NotServed::Io(_) => NotTaken::System,
            })?;
        if let Err(why) = self.engine.take_up(now, conn, peer, session) {
            self.server.cut(conn);
            return Err(match why {
                Unfit::OtherExtranonce => NotTaken::Extranonce,
                Unfit::TwiceThere => NotTaken::Unknown,
            });
        }
        if proved {
            self.server.prove(conn);
        }
        // Before the engine's effects: it has a ticket, and needs no other.
        self.handover.tickets.insert(conn, ticket);
        self.server.keep_socket(conn);
        self.carry_out(now);
        self.book_again(now, conn);
        Ok(())
    }

    /// The ledger's worker of a connection that goes on.
    fn book_again(&mut self, now: Now, conn: ConnId) {
        let Some(session) = self.engine.pool().session(conn) else { return };
        let (device, peer) = (session.profile().model.clone(), session.peer());
        let name = self.ledger_name(session.worker().unwrap_or_default(), &device, peer);
        let worker = self.ledger.core.worker(now, &name, &device);
        self.timings.met(class(&device));
        self.ledger.workers.insert(conn, worker);
        self.ledger_event(now, LedgerEvent::Connected(worker));
    }
}

fn new_ticket() -> Option<Ticket> {
    getrandom::u64().ok().map(Ticket)
}

/// What became of the connections of the run before. `away` is the time since it was told to end; `None`
/// if it crashed.
fn words(
    taken: u64,
    not: &[u64; NotTaken::COUNT],
    away: Option<Duration>,
    unusable: Option<&str>,
) -> (Level, String) {
    let lost: u64 = not.iter().sum();
    let run = match away {
        Some(away) => format!("a restart of {} ms", away.as_millis()),
        None => "the end of the last run, which was not in order".to_owned(),
    };
    let all = taken + lost;
    let miners = if all == 1 { "connection of a miner" } else { "connections of miners" };
    if lost == 0 {
        return (Level::Info, format!("{all} {miners} went on over {run}."));
    }
    let mut causes: Vec<String> = NotTaken::ALL
        .iter()
        .zip(not)
        .filter(|(_, count)| **count > 0)
        .map(|(why, count)| format!("{} ({count})", why.words()))
        .collect();
    if let Some(why) = unusable {
        causes = vec![format!("the file that describes them cannot be used: {why}")];
    }
    let text = format!(
        "{taken} of {all} {miners} went on over {run}. The others were closed: {}.",
        causes.join(", ")
    );
    (Level::Warning, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_the_connections_is_told_in_one_sentence() {
        let mut not = [0; NotTaken::COUNT];
        let told = |taken, not: &_, away, why| words(taken, not, away, why).1;
        assert_eq!(
            told(40, &not, Some(Duration::from_millis(1234)), None),
            "40 connections of miners went on over a restart of 1234 ms."
        );
        not[NotTaken::Left.index()] = 1;
        not[NotTaken::Cut.index()] = 2;
        assert_eq!(
            told(7, &not, None, None),
            "7 of 10 connections of miners went on over the end of the last run, which was not in order. \
             The others were closed: the miner had left (1), a line to it was cut by the crash (2)."
        );
        let mut not = [0; NotTaken::COUNT];
        not[NotTaken::Unknown.index()] = 1;
        assert_eq!(
            told(0, &not, None, Some("it is damaged")),
            "0 of 1 connection of a miner went on over the end of the last run, which was not in order. \
             The others were closed: the file that describes them cannot be used: it is damaged."
        );
    }

    #[test]
    fn names_in_the_store_are_told_apart() {
        let ticket = Ticket(0x0123_4567_89ab_cdef);
        assert_eq!(name_of(ticket), "miner-0123456789abcdef");
        assert_eq!(ticket_of(&name_of(ticket)), Some(ticket));
        for other in ["miner-1", "listener-0.0.0.0_3333", "miner-0123456789abcdeg", "", "miner-"] {
            assert_eq!(ticket_of(other), None, "{other}");
        }
    }
}
