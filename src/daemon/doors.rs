//! Who is not let in, and who loses a place to others: counted, told and shown. Who has mined here before,
//! on the card.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_channel::Sender;

use crate::clock::Now;
use crate::door::known::KnownMiners;
use crate::door::tally::{Sum, Tally};
use crate::door::{Household, Refused};
use crate::fsutil::{self, Rights};
use crate::ids::ConnId;
use crate::listed::listed;
use crate::server::stratum::Turned;
use crate::status::{self as view, EventKind, Level};
use crate::stratum::opening::Opening;
use crate::stratum::outbox::CloseReason;

use super::{Event, State};

/// Bytes that the file of known miners may have: 256 lines with the longest names are shorter.
const FILE_MAX: u64 = 512 * 1024;

/// The file is written at most so often.
const KEEP_EVERY: Duration = Duration::from_secs(60);

listed! {
    /// Why a connection of a miner was refused or ended by us, for the metrics.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub(super) enum Dropped {
        /// The box is not set up.
        NotSetUp,
        /// No place, and nobody to give way.
        Full,
        /// Too many of one address without a share.
        TooMany,
        /// It said nothing, and made room for another.
        MadeRoom,
        /// It had no share, and made room for another.
        NoShare,
        /// It did not introduce itself in time.
        Silent,
        /// Wrong password.
        BadPassword,
        /// No Stratum.
        NotStratum,
        /// No work to give.
        NoWork,
        /// The miner came back on another connection.
        Resumed,
    }
}

impl Dropped {
    fn label(self) -> &'static str {
        match self {
            Dropped::NotSetUp => "not_set_up",
            Dropped::Full => "full",
            Dropped::TooMany => "too_many",
            Dropped::MadeRoom => "made_room",
            Dropped::NoShare => "no_share",
            Dropped::Silent => "silent",
            Dropped::BadPassword => "bad_password",
            Dropped::NotStratum => "not_stratum",
            Dropped::NoWork => "no_work",
            Dropped::Resumed => "resumed",
        }
    }
}

impl From<CloseReason> for Dropped {
    fn from(why: CloseReason) -> Dropped {
        match why {
            CloseReason::NoWork => Dropped::NoWork,
            CloseReason::Resumed => Dropped::Resumed,
            CloseReason::Silent => Dropped::Silent,
            CloseReason::BadPassword => Dropped::BadPassword,
            CloseReason::NotStratum => Dropped::NotStratum,
        }
    }
}

/// Which door.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Port {
    Miners,
    Page,
}

/// See the module's description.
pub(super) struct Doors {
    miners: [u64; Dropped::COUNT],
    at_miners: Tally,
    page_full: u64,
    page_made_room: u64,
    at_page: Tally,
    pub(super) known: KnownMiners,
    file: PathBuf,
    /// When the file was last written, and whether something is new since.
    kept: Option<Instant>,
    news: bool,
    writing: Arc<AtomicBool>,
}

impl Doors {
    /// With the miners that an earlier run has known. A file that is damaged costs what is damaged.
    pub(super) fn new(data: &Path) -> Doors {
        let file = data.join("known-miners");
        let size = fs::metadata(&file).map_or(0, |data| data.len());
        let known = if size > FILE_MAX {
            log::warn!("{} is too long: it is not read", file.display());
            KnownMiners::default()
        } else {
            let text = fs::read(&file).unwrap_or_default();
            KnownMiners::from_text(&String::from_utf8_lossy(&text))
        };
        Doors {
            miners: [0; Dropped::COUNT],
            at_miners: Tally::default(),
            page_full: 0,
            page_made_room: 0,
            at_page: Tally::default(),
            known,
            file,
            kept: None,
            news: false,
            writing: Arc::default(),
        }
    }

    pub(super) fn count(&mut self, why: Dropped) {
        self.miners[why.index()] += 1;
    }

    /// When the file is to be written.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.news.then_some(self.kept.map(|at| at + KEEP_EVERY)).flatten()
    }

    /// Writes the file on a thread of the pool, if something is new and it was not written just before; at
    /// the end of the program in any case. The loop is woken when it is done.
    pub(super) fn keep(&mut self, now: Now, at_the_end: bool, queue: &Sender<Event>) {
        let lately = self.kept.is_some_and(|at| now.mono < at + KEEP_EVERY);
        if !self.news || (lately && !at_the_end) || !self.is_kept() {
            return;
        }
        (self.news, self.kept) = (false, Some(now.mono));
        let (file, text, queue) = (self.file.clone(), self.known.to_text(), queue.clone());
        let writing = self.writing.clone();
        writing.store(true, Ordering::Release);
        blocking::unblock(move || {
            if let Err(error) = fsutil::replace(&file, text.as_bytes(), Rights::Set(0o600)) {
                log::warn!("{}: {error}", file.display());
            }
            writing.store(false, Ordering::Release);
            queue.send_blocking(Event::Rearm).ok();
        })
        .detach();
    }

    /// Whether nothing is being written.
    pub(super) fn is_kept(&self) -> bool {
        !self.writing.load(Ordering::Acquire)
    }

    /// The counts of the miners' port by cause.
    pub(super) fn miners_dropped(&self) -> Vec<view::CountView> {
        let counts = Dropped::ALL.iter().zip(self.miners);
        counts.map(|(why, count)| view::CountView { what: why.label().into(), count }).collect()
    }

    /// What those who said nothing lost at the miners' port.
    pub(super) fn miners_made_room(&self, now: Now) -> Option<view::MadeRoomView> {
        self.at_miners.sum(now).map(made_room)
    }

    /// The page's door.
    pub(super) fn page_view(&self, now: Now) -> view::PageView {
        let count = |what: &str, count| view::CountView { what: what.into(), count };
        view::PageView {
            dropped: vec![count("full", self.page_full), count("made_room", self.page_made_room)],
            made_room: self.at_page.sum(now).map(made_room),
        }
    }
}

fn made_room(sum: Sum) -> view::MadeRoomView {
    view::MadeRoomView {
        count: sum.count,
        since: sum.since,
        at: sum.last,
        most: sum.most.to_string(),
    }
}

/// The event. The first of a flood is told at once, and nobody knows yet how many will follow.
fn words(port: Port, count: u64, most: Household) -> String {
    let which = match port {
        Port::Miners => "to the miners' port that said nothing",
        Port::Page => "to the page that only held their places",
    };
    match count {
        1 => format!("Connections {which} are being closed to make room, the first from {most}."),
        _ => format!(
            "{} connections {which} were closed to make room, most from {most}.",
            view::format::thousands(count)
        ),
    }
}

impl State {
    /// A miner's connection was refused.
    pub(super) fn miner_refused(&mut self, now: Now, peer: IpAddr, why: Turned) {
        let (count, words) = match why {
            Turned::All(words) => (Dropped::NotSetUp, words),
            Turned::NoPlace(Refused::Full) => (Dropped::Full, "all places are taken"),
            Turned::NoPlace(Refused::TooMany) => {
                (Dropped::TooMany, "too many connections from one address that have not mined yet")
            }
        };
        self.doors.count(count);
        self.remember_refused(now, peer, words);
    }

    /// A caller speaks what is not spoken at its port.
    pub(super) fn misplaced(&mut self, now: Now, conn: ConnId, peer: IpAddr, speaks: Opening) {
        self.doors.count(Dropped::NotStratum);
        log::info!("miner {} at {peer}: closed: {}", conn.0, speaks.words());
        self.remember_refused(now, peer, speaks.words());
    }

    /// A connection that said nothing was closed for another one.
    pub(super) fn made_room(&mut self, now: Now, port: Port, peer: IpAddr) {
        let household = Household::of(peer);
        let (tally, kind) = match port {
            Port::Miners => {
                self.doors.count(Dropped::MadeRoom);
                (&mut self.doors.at_miners, EventKind::Miner)
            }
            Port::Page => {
                self.doors.page_made_room += 1;
                (&mut self.doors.at_page, EventKind::System)
            }
        };
        if let Some(count) = tally.add(now, household) {
            let most = tally.sum(now).map_or(household, |sum| sum.most);
            self.tell(now, kind, Level::Warning, words(port, count, most));
        }
    }

    /// A connection to the page was refused.
    pub(super) fn reader_refused(&mut self) {
        self.doors.page_full += 1;
    }

    /// A miner said who it is, or sent a share: it takes a seat. False when there is none, or when these
    /// are the last words of one that has just lost its place.
    pub(super) fn seat(&mut self, now: Now, conn: ConnId) -> bool {
        let Some(session) = self.engine.pool().session(conn) else { return true };
        let peer = session.peer();
        let known = match session.worker() {
            Some(name) => self.doors.known.miner(peer, name),
            None => self.doors.known.address(peer),
        };
        match self.server.sit(conn, known) {
            Ok(None) => self.server.is_seated(conn),
            Ok(Some(other)) => {
                self.loses_seat(now, other);
                true
            }
            Err(why) => {
                self.miner_refused(now, peer, Turned::NoPlace(why));
                self.server.close(conn);
                false
            }
        }
    }

    fn loses_seat(&mut self, now: Now, conn: ConnId) {
        self.doors.count(Dropped::NoShare);
        self.connection_ends(now, conn);
        if let Some(peer) = self.server.peer(conn) {
            let why = "all places are taken, and others have mined here longer or more";
            log::info!("miner {} at {peer}: disconnected: {why}", conn.0);
            self.remember_refused(now, peer, why);
        }
        self.server.close(conn);
    }

    /// A share of a miner was accepted: it is known from now on.
    pub(super) fn proved(&mut self, now: Now, conn: ConnId) {
        if !self.server.is_seated(conn) && !self.seat(now, conn) {
            return;
        }
        if !self.server.prove(conn) {
            return;
        }
        if self.handover.has_ticket(conn) {
            self.session_changed(now, conn);
        }
        let Some(session) = self.engine.pool().session(conn) else { return };
        if let (peer, Some(name)) = (session.peer(), session.worker())
            && !peer.is_loopback()
            && self.doors.known.mined(now.unix, peer, name)
        {
            self.doors.news = true;
            self.doors.keep(now, false, &self.queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_miners_are_remembered_over_a_restart_and_a_file_too_long_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let (queue, written) = async_channel::unbounded();
        let mut doors = Doors::new(dir.path());
        assert!(doors.known.is_empty());
        let now = Now { mono: Instant::now(), unix: 1_795_246_752 };
        doors.keep(now, true, &queue);
        assert!(doors.is_kept(), "nothing is new");
        for (name, at_the_end, is_written) in
            [("garage", false, true), ("attic", false, false), ("cellar", true, true)]
        {
            assert!(doors.known.mined(now.unix, [192, 168, 1, 7].into(), name));
            doors.news = true;
            doors.keep(now, at_the_end, &queue);
            let due = (!is_written).then_some(now.mono + KEEP_EVERY);
            assert_eq!(doors.next_deadline(), due, "{name}");
            if is_written {
                smol::block_on(written.recv()).unwrap();
            }
            assert_eq!(Doors::new(dir.path()).known == doors.known, is_written, "{name}");
        }
        fs::write(dir.path().join("known-miners"), vec![b'{'; FILE_MAX as usize + 1]).unwrap();
        assert!(Doors::new(dir.path()).known.is_empty());
    }

    #[test]
    fn an_event_says_how_many_and_whose_they_were() {
        let most = Household::of([192, 168, 1, 66].into());
        assert_eq!(
            words(Port::Miners, 1, most),
            "Connections to the miners' port that said nothing are being closed to make room, the \
             first from 192.168.1.66."
        );
        assert_eq!(
            words(Port::Page, 57, Household::of("2001:db8::1".parse().unwrap())),
            "57 connections to the page that only held their places were closed to make room, most \
             from 2001:db8::/64."
        );
    }

    #[test]
    fn every_cause_is_counted_from_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let mut doors = Doors::new(dir.path());
        assert_eq!(doors.miners_dropped().len(), Dropped::COUNT);
        assert!(doors.miners_dropped().iter().all(|view| view.count == 0));
        doors.count(Dropped::Full);
        let full = doors.miners_dropped().into_iter().find(|view| view.what == "full");
        assert_eq!(full.map(|view| view.count), Some(1));
    }
}
