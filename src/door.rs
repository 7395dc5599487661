//! Who has a place at a port when there are more callers than places.
//!
//! ```text
//!            enter                 sit
//!   caller ────────► hall (quiet) ──────► seat ──► leave
//! ```
//!
//! A caller waits in the hall until it has said who it is; what it then holds is a seat. So whoever says
//! nothing never holds the place of somebody who does. A full hall makes room for everybody who comes: out
//! of the household that holds most of it, or has lately come and gone most often without a word, the one
//! that waits longest gives way.
//!
//! A seat is proved by what it is there for: a share. A bound for each household applies to seats without
//! proof alone, because all miners of a house may come from one address. When all seats are taken, those
//! without proof give way, to a household that has fewer of them or after a trial.
//!
//! **Who has been here before** always finds a place: it is counted by itself and not with its household,
//! gives way to no stranger in the hall, and gets the seat of whoever came here later than it did.
//!
//! The miners' port and the page each have a door. On the page every connection waits in the hall, between
//! its requests as well; seats are for readers of live updates, which prove nothing.

pub mod known;
pub mod tally;

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::ids::ConnId;

/// Households whose coming and going is remembered. The one that was here longest ago is forgotten.
const CALLERS_MAX: usize = 1024;

/// How long their coming and going is remembered.
const MEMORY: Duration = Duration::from_secs(600);

/// In which time the calls of a household are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// Each call beyond [`Limits::calls`] waits a second longer, up to this.
const WAIT_AT_MOST: Duration = Duration::from_secs(5);

/// Who left the hall sooner had no chance to say anything: that does not count against its household.
const CHANCE: Duration = Duration::from_secs(1);

/// A seat without a share for so long is without proof.
const PROOF: Duration = Duration::from_secs(600);

/// Whose place it is: everything that one household can have for nothing counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Household {
    /// An IPv4 address, also in IPv6's writing.
    V4(Ipv4Addr),
    /// An IPv6 network of 64 bits: every device in it makes as many addresses as it likes.
    V6([u16; 4]),
    /// One IPv6 address that is known here: it is told from others of its network.
    Host(Ipv6Addr),
}

impl Household {
    /// The household of an address.
    pub fn of(address: IpAddr) -> Household {
        match address.to_canonical() {
            IpAddr::V4(v4) => Household::V4(v4),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Household::V6([a, b, c, d])
            }
        }
    }

    /// An address by itself.
    pub fn alone(address: IpAddr) -> Household {
        match address.to_canonical() {
            IpAddr::V4(v4) => Household::V4(v4),
            IpAddr::V6(v6) => Household::Host(v6),
        }
    }
}

impl fmt::Display for Household {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Household::V4(address) => address.fmt(f),
            Household::V6([a, b, c, d]) => {
                write!(f, "{}/64", Ipv6Addr::new(*a, *b, *c, *d, 0, 0, 0, 0))
            }
            Household::Host(address) => address.fmt(f),
        }
    }
}

/// Since when somebody has been known here, in Unix seconds: the earlier, the better. `None` is a stranger.
pub type Acquaintance = Option<u64>;

/// An acquaintance that is older than all others: this machine itself.
pub const EVER: Acquaintance = Some(0);

/// How many are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Seats.
    pub seats: usize,
    /// Places in the hall.
    pub hall: usize,
    /// Seats of strangers of one household without proof.
    pub seats_each: usize,
    /// Places of one household in the hall.
    pub hall_each: usize,
    /// How long a seat without proof is safe from others of its household, and from strangers who have
    /// as many.
    pub trial: Duration,
    /// So many calls of a household in ten seconds are served at once. Further ones wait, and nobody
    /// else gives way to them.
    pub calls: usize,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no place, and nobody to give way.
    Full,
    /// The household has as many seats as strangers may have.
    TooMany,
}

/// A caller is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entered {
    /// Who has lost its place to it.
    pub gives_way: Option<ConnId>,
    /// How long it is to wait before it is listened to.
    pub wait: Duration,
}

/// See the module's description.
#[derive(Debug)]
pub struct Door {
    limits: Limits,
    places: BTreeMap<ConnId, Place>,
    callers: BTreeMap<Household, Caller>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    address: IpAddr,
    /// Whom it is counted with.
    household: Household,
    /// This machine: no bound for households applies.
    is_local: bool,
    known: Acquaintance,
    /// Since when it is here, or was last heard; for a seat, since when it has that.
    since: Instant,
    at: At,
    /// It has said something whole, whatever comes later.
    spoke: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Hall,
    /// With its last share.
    Seat(Option<Instant>),
}

/// A household's coming and going.
#[derive(Debug)]
struct Caller {
    calls: VecDeque<Instant>,
    /// How many came and went without a word.
    silent: u32,
    last: Instant,
}

impl Place {
    fn is_proved(&self, now: Instant) -> bool {
        matches!(self.at, At::Seat(Some(last)) if now.saturating_duration_since(last) < PROOF)
    }

    fn is_seated(&self) -> bool {
        matches!(self.at, At::Seat(_))
    }

    /// A stranger's seat without proof.
    fn is_on_trial(&self, now: Instant) -> bool {
        self.is_seated() && self.known.is_none() && !self.is_proved(now)
    }
}

impl Door {
    /// An empty house.
    pub fn new(limits: Limits) -> Door {
        Door { limits, places: BTreeMap::new(), callers: BTreeMap::new() }
    }

    /// Other limits, for callers to come.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Who is in, seated or not.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Nobody is in.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The household that a place counts for.
    pub fn household(&self, conn: ConnId) -> Option<Household> {
        Some(self.places.get(&conn)?.household)
    }

    /// Whether it has a seat.
    pub fn is_seated(&self, conn: ConnId) -> bool {
        self.places.get(&conn).is_some_and(Place::is_seated)
    }

    /// Whether a share of it was accepted lately.
    pub fn is_proved(&self, now: Instant, conn: ConnId) -> bool {
        self.places.get(&conn).is_some_and(|place| place.is_proved(now))
    }

    /// A caller comes from this address, which is known or not.
    ///
    /// # Errors
    /// When there is no room in the hall: those who are in it are all known, or all other households make
    /// less use of it than the caller's.
    pub fn enter(
        &mut self,
        now: Instant,
        conn: ConnId,
        address: IpAddr,
        known: Acquaintance,
    ) -> Result<Entered, Refused> {
        let is_local = address.to_canonical().is_loopback();
        let known = if is_local { EVER } else { known };
        let household =
            if known.is_some() { Household::alone(address) } else { Household::of(address) };
        let calls = self.called(now, household);
        let beyond = if is_local { 0 } else { calls.saturating_sub(self.limits.calls) };
        let gives_way = self.room_in_hall(household, is_local, known, beyond > 0)?;
        if let Some(other) = gives_way {
            self.leave(now, other);
        }
        let place =
            Place { address, household, is_local, known, since: now, at: At::Hall, spoke: false };
        self.places.insert(conn, place);
        Ok(Entered { gives_way, wait: Duration::from_secs(beyond as u64).min(WAIT_AT_MOST) })
    }

    /// Who gives way to a caller, if anybody must.
    fn room_in_hall(
        &self,
        household: Household,
        is_local: bool,
        known: Acquaintance,
        calls_often: bool,
    ) -> Result<Option<ConnId>, Refused> {
        let hall = || self.places.iter().filter(|(_, place)| !place.is_seated());
        let own = || hall().filter(|(_, place)| place.household == household);
        let oldest_own = || own().min_by_key(|(_, place)| place.since).map(|(conn, _)| *conn);
        // Many known miners may be behind one address; so may be somebody else.
        let each = match known {
            Some(_) => self.limits.hall_each.max(self.limits.hall / 4),
            None => self.limits.hall_each,
        };
        if !is_local && own().count() >= each {
            return Ok(oldest_own());
        }
        if hall().count() < self.limits.hall {
            return Ok(None);
        }
        if known.is_none() && calls_often {
            return oldest_own().map(Some).ok_or(Refused::Full);
        }
        let mut held: BTreeMap<Household, usize> = BTreeMap::new();
        let strangers = || hall().filter(|(_, place)| place.known.is_none());
        strangers().for_each(|(_, place)| *held.entry(place.household).or_default() += 1);
        let weight = |household: Household| {
            let silent = self.callers.get(&household).map_or(0, |caller| caller.silent as usize);
            held.get(&household).copied().unwrap_or(0) + silent
        };
        let worst = strangers()
            .max_by_key(|(_, place)| (weight(place.household), Reverse(place.since)))
            .map(|(conn, place)| (*conn, weight(place.household)));
        match worst {
            Some((conn, _)) if known.is_some() => Ok(Some(conn)),
            Some((conn, theirs)) if weight(household) < theirs => Ok(Some(conn)),
            Some(_) => oldest_own().map(Some).ok_or(Refused::Full),
            None if known.is_some() => {
                Ok(hall().min_by_key(|(_, place)| place.since).map(|(conn, _)| *conn))
            }
            None => Err(Refused::Full),
        }
    }

    /// It said something whole, but needs no seat: it waits from now on.
    pub fn heard(&mut self, now: Instant, conn: ConnId) {
        if let Some(place) = self.places.get_mut(&conn) {
            place.spoke = true;
            if !place.is_seated() {
                place.since = now;
            }
        }
    }

    /// Somebody is known after all, by what it said: it is counted by itself from now on.
    pub fn recognise(&mut self, conn: ConnId, known: Acquaintance) {
        if let Some(place) = self.places.get_mut(&conn)
            && known.is_some()
        {
            place.known = place.known.or(known);
            place.household = Household::alone(place.address);
        }
    }

    /// What a place is known as.
    pub fn acquaintance(&self, conn: ConnId) -> Acquaintance {
        self.places.get(&conn).and_then(|place| place.known)
    }

    /// It said who it is, and takes a seat. Whoever gives way for it is told, and is in the hall again
    /// until it leaves: a connection that is being closed is not free yet.
    ///
    /// # Errors
    /// When no seat can be had.
    pub fn sit(
        &mut self,
        now: Instant,
        conn: ConnId,
        known: Acquaintance,
    ) -> Result<Option<ConnId>, Refused> {
        let Some(place) = self.places.get_mut(&conn) else { return Ok(None) };
        place.spoke = true;
        place.known = if place.is_local { EVER } else { known };
        if place.is_seated() {
            return Ok(None);
        }
        let place = *place;
        let gives_way = self.room_to_sit(now, &place)?;
        let moves = [(Some(conn), At::Seat(None)), (gives_way, At::Hall)];
        for (conn, at) in moves {
            if let Some(place) = conn.and_then(|conn| self.places.get_mut(&conn)) {
                (place.at, place.since) = (at, now);
            }
        }
        Ok(gives_way)
    }

    /// Who gives its seat to somebody in the hall, if anybody must.
    fn room_to_sit(&self, now: Instant, comes: &Place) -> Result<Option<ConnId>, Refused> {
        let seats = || self.places.iter().filter(|(_, place)| place.is_seated());
        let on_trial = || seats().filter(|(_, place)| place.is_on_trial(now));
        let is_over =
            |place: &Place| now.saturating_duration_since(place.since) >= self.limits.trial;
        let mut held: BTreeMap<Household, usize> = BTreeMap::new();
        on_trial().for_each(|(_, place)| *held.entry(place.household).or_default() += 1);
        let held = |household: Household| held.get(&household).copied().unwrap_or(0);
        let own = held(comes.household);
        if comes.known.is_none() && own >= self.limits.seats_each {
            let oldest = on_trial()
                .filter(|(_, place)| place.household == comes.household)
                .min_by_key(|(_, place)| place.since);
            let gives_way = oldest.filter(|(_, place)| is_over(place)).map(|(conn, _)| *conn);
            return gives_way.map(Some).ok_or(Refused::TooMany);
        }
        if seats().count() < self.limits.seats {
            return Ok(None);
        }
        let strangers = on_trial()
            .filter(|(_, place)| {
                comes.known.is_some() || held(place.household) > own + 1 || is_over(place)
            })
            .max_by_key(|(_, place)| (held(place.household), Reverse(place.since)));
        if let Some((conn, _)) = strangers {
            return Ok(Some(*conn));
        }
        // Whoever was known here earlier stays: a fixed order, so that nobody is driven out in turns.
        let rank = |place: &Place| place.known.unwrap_or(u64::MAX);
        let latest =
            seats().max_by_key(|(_, place)| (rank(place), !place.is_proved(now), place.since));
        let gives_way = latest.filter(|(_, place)| rank(place) > rank(comes));
        gives_way.map(|(conn, _)| Some(*conn)).ok_or(Refused::Full)
    }

    /// A share of it was accepted. True when it had no proof: it may be new here.
    pub fn prove(&mut self, now: Instant, conn: ConnId) -> bool {
        let Some(place) = self.places.get_mut(&conn) else { return false };
        let is_news = !place.is_proved(now);
        if place.is_seated() {
            place.at = At::Seat(Some(now));
        }
        is_news
    }

    /// It is gone.
    pub fn leave(&mut self, now: Instant, conn: ConnId) {
        let Some(place) = self.places.remove(&conn) else { return };
        if !place.spoke && now.saturating_duration_since(place.since) >= CHANCE {
            let caller = self.caller(now, place.household);
            caller.silent = caller.silent.saturating_add(1);
            caller.last = now;
        }
    }

    /// Counts a call; how many there were lately.
    fn called(&mut self, now: Instant, household: Household) -> usize {
        let kept = self.limits.calls + WAIT_AT_MOST.as_secs() as usize;
        let caller = self.caller(now, household);
        caller.last = now;
        caller.calls.retain(|at| now.saturating_duration_since(*at) < WINDOW);
        caller.calls.push_back(now);
        if caller.calls.len() > kept {
            caller.calls.pop_front();
        }
        caller.calls.len()
    }

    fn caller(&mut self, now: Instant, household: Household) -> &mut Caller {
        let remembers = |caller: &Caller| now.saturating_duration_since(caller.last) < MEMORY;
        if !self.callers.contains_key(&household) && self.callers.len() >= CALLERS_MAX {
            self.callers.retain(|_, caller| remembers(caller));
            let oldest = self.callers.iter().min_by_key(|(_, caller)| caller.last);
            if let Some(oldest) = oldest.map(|(household, _)| *household)
                && self.callers.len() >= CALLERS_MAX
            {
                self.callers.remove(&oldest);
            }
        }
        let new = || Caller { calls: VecDeque::new(), silent: 0, last: now };
        let caller = self.callers.entry(household).or_insert_with(new);
        if !remembers(caller) {
            *caller = new();
        }
        caller
    }
}

#[cfg(test)]
mod tests;
