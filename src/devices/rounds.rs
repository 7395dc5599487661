//! Which device is asked when, and what is known of each. Pure.
//!
//! ```text
//!   wanted ─▶ (waits) ── its time, and fewer than two are asked ─▶ (asked) ─┬─ answer ─▶ waits 30 s
//!                ▲                                                          ├─ fault ──▶ waits longer each time
//!                └──────────────────────────────────────────────────────────┘
//!   not wanted for ten minutes ─▶ forgotten
//! ```
//!
//! Whoever is asked is either the address of a miner that is connected, or was ten minutes ago (it may be
//! mining on its second pool now), and then a private one; or the owner wrote it down. Never more than two
//! are asked at a time, and never more than four in a second.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::trouble::{Watch, WatchedTrouble};
use super::{Api, Fault, Hint, Telemetry};
use crate::clock::Now;
use crate::ids::QuestionId;
use crate::peer_address::is_private;

/// From one answer of a device to the next question.
pub const INTERVAL: Duration = Duration::from_secs(30);
/// Between two questions, whoever is asked.
const PACE: Duration = Duration::from_millis(250);
/// Questions at a time.
const ASKED_MAX: usize = 2;
/// Devices that are known at a time: as many as an interval has room for.
pub const DEVICES_MAX: usize = 100;
/// A device whose miner has left is asked for so long: it may be starting anew, or mine elsewhere.
const KEPT: Duration = Duration::from_secs(600);
/// The longest wait for a device that has answered in this run.
const KNOWN_AT_MOST: Duration = Duration::from_secs(300);
/// The longest wait for one that has not: most likely it has no API.
const UNKNOWN_AT_MOST: Duration = Duration::from_secs(3600);
/// What a device said is true for so long.
pub const FRESH: Duration = Duration::from_secs(120);

/// Where a device is asked. Its `Display` is the address, with the port if it is not the usual one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Its address.
    pub ip: IpAddr,
    /// Where the owner wrote another port than its API's usual one.
    pub port: Option<u16>,
}

impl Place {
    /// At the usual port.
    pub fn at(ip: IpAddr) -> Place {
        Place { ip: ip.to_canonical(), port: None }
    }

    /// Address and port for this API.
    pub fn socket(self, api: Api) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(api.port()))
    }

    /// Whether it may be asked because a miner connects from there.
    pub fn is_private(self) -> bool {
        let scoped = matches!(self.ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        is_private(self.ip) && !scoped
    }

    /// Whether it may be asked because the owner wrote it down: this machine too, where a tunnel may end.
    pub fn may_be_named(self) -> bool {
        self.is_private() || self.ip.is_loopback()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}", SocketAddr::new(self.ip, port)),
            None => write!(f, "{}", self.ip),
        }
    }
}

/// Somebody to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where.
    pub place: Place,
    /// How.
    pub hint: Hint,
}

/// A question to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// By which its answer is known.
    pub id: QuestionId,
    /// Who is asked.
    pub place: Place,
    /// How.
    pub api: Api,
}

/// What is known of a device.
#[derive(Debug)]
pub struct Device {
    hint: Hint,
    /// By which it is asked next.
    api: Api,
    wanted_at: Instant,
    next: Instant,
    asked: Option<QuestionId>,
    /// It is asked once more as soon as it has answered.
    again: bool,
    failures: u32,
    told: Option<Box<Told>>,
    fault: Option<(Instant, Fault)>,
    watch: Watch,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    telemetry: Telemetry,
    shares: Option<Shares>,
}

/// What a device counted of its shares, and what was counted here in the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Since then.
    pub since: Instant,
    /// The counts at that moment: the device's, and ours.
    first: (u64, u64),
    /// The counts at its last answer.
    last: (u64, u64),
}

impl Shares {
    /// Shares that the device has sent since then, as it says.
    pub fn device(&self) -> u64 {
        self.last.0 - self.first.0
    }

    /// Shares that came here in the same time.
    pub fn here(&self) -> u64 {
        self.last.1 - self.first.1
    }
}

impl Device {
    fn new(now: Instant, hint: Hint) -> Device {
        Device {
            hint,
            api: match hint {
                Hint::Known(api) => api,
                Hint::Unknown | Hint::None => Api::Http,
            },
            wanted_at: now,
            next: now,
            asked: None,
            again: false,
            failures: 0,
            told: None,
            fault: None,
            watch: Watch::default(),
        }
    }

    /// What it said last, whenever that was.
    pub fn telemetry(&self) -> Option<&Telemetry> {
        self.told.as_ref().map(|told| &told.telemetry)
    }

    /// What it says: the answer is fresh.
    pub fn says(&self, now: Instant) -> Option<&Telemetry> {
        let told = self.told.as_ref()?;
        (now.saturating_duration_since(told.at) <= FRESH).then_some(&told.telemetry)
    }

    /// When it answered last.
    pub fn answered_at(&self) -> Option<Instant> {
        self.told.as_ref().map(|told| told.at)
    }

    /// Since when it does not answer, and why.
    pub fn fault(&self) -> Option<(Instant, &Fault)> {
        self.fault.as_ref().map(|(since, fault)| (*since, fault))
    }

    /// Its shares as it counts them, beside ours.
    pub fn shares(&self) -> Option<Shares> {
        self.told.as_ref()?.shares
    }

    /// What is wrong with it by what it says; nothing while it says nothing.
    pub fn troubles(&self, now: Instant) -> impl Iterator<Item = WatchedTrouble> {
        let says = self.says(now).is_some();
        self.watch.troubles(now).filter(move |_| says)
    }

    /// When it is to be asked, unless it is being asked.
    fn due(&self) -> Option<Instant> {
        self.asked.is_none().then_some(self.next)
    }

    fn answered(&mut self, now: Instant, telemetry: Telemetry, ours: Option<u64>) {
        self.api = telemetry.family.api();
        self.failures = 0;
        self.fault = None;
        self.next = now + INTERVAL;
        self.watch.saw(now, &telemetry);
        let before = self.told.take();
        let shares = shares(now, before.as_deref(), &telemetry, ours);
        self.told = Some(Box::new(Told { at: now, telemetry, shares }));
    }

    fn failed(&mut self, now: Instant, fault: Fault) {
        self.failures = self.failures.saturating_add(1);
        let since = self.fault.take().map_or(now, |(since, _)| since);
        self.fault = Some((since, fault));
        let at_most = match self.told {
            Some(_) => KNOWN_AT_MOST,
            None => UNKNOWN_AT_MOST,
        };
        let mut other_api_first = false;
        // After a while, another device may have the address.
        let is_lost = |told: &Told| now.saturating_duration_since(told.at) >= KEPT;
        if self.told.as_deref().is_none_or(is_lost) && self.hint == Hint::Unknown {
            // Both are tried before it is left alone for a while.
            other_api_first = self.api == Api::Http;
            self.api = match self.api {
                Api::Http => Api::Cgminer,
                Api::Cgminer => Api::Http,
            };
        }
        // A device that starts anew is away for twenty seconds.
        let doublings = self.failures.saturating_sub(2).min(16);
        let wait = at_most.min(INTERVAL * (1 << doublings));
        self.next = now + if other_api_first { PACE } else { wait };
    }
}

/// Begins anew where the device did: its counts fell, it is at another pool, or another device is there.
fn shares(
    now: Instant,
    before: Option<&Told>,
    telemetry: &Telemetry,
    ours: Option<u64>,
) -> Option<Shares> {
    let counts = (telemetry.accepted?.saturating_add(telemetry.rejected.unwrap_or(0)), ours?);
    let known = before.and_then(|told| told.shares);
    let is_same = before.is_some_and(|told| {
        let before = &told.telemetry;
        before.mac == telemetry.mac && before.pool() == telemetry.pool()
    });
    let goes_on =
        known.filter(|known| is_same && counts.0 >= known.last.0 && counts.1 >= known.last.1);
    Some(match goes_on {
        Some(known) => Shares { last: counts, ..known },
        None => Shares { since: now, first: counts, last: counts },
    })
}

/// All devices.
#[derive(Debug, Default)]
pub struct Rounds {
    devices: BTreeMap<Place, Device>,
    asked: usize,
    last_asked: Option<Instant>,
    last_id: u64,
}

impl Rounds {
    /// Takes who is to be asked; those without an API are not. Whoever is not among them any more is asked for a while yet, and then
    /// forgotten.
    pub fn want(&mut self, now: Now, wanted: impl IntoIterator<Item = Wanted>) {
        for Wanted { place, hint } in wanted.into_iter().filter(|one| one.hint != Hint::None) {
            if let Some(device) = self.devices.get_mut(&place) {
                device.wanted_at = now.mono;
                device.take_hint(now.mono, hint);
            } else if self.devices.len() < DEVICES_MAX {
                self.devices.insert(place, Device::new(now.mono, hint));
            }
        }
        let is_kept = |device: &Device| {
            device.asked.is_some() || now.mono.saturating_duration_since(device.wanted_at) < KEPT
        };
        self.devices.retain(|_, device| is_kept(device));
    }

    /// Forgets all of them: nobody is to be asked.
    pub fn clear(&mut self) {
        self.devices.clear();
        self.asked = 0;
    }

    /// The next question that is due.
    pub fn next_question(&mut self, now: Now) -> Option<Question> {
        let too_soon = self.last_asked.is_some_and(|last| now.mono < last + PACE);
        if self.asked >= ASKED_MAX || too_soon {
            return None;
        }
        let is_due = |device: &Device| device.due().is_some_and(|due| due <= now.mono);
        let due = self.devices.iter_mut().filter(|(_, device)| is_due(device));
        let (place, device) = due.min_by_key(|(_, device)| device.next)?;
        self.last_id += 1;
        let id = QuestionId(self.last_id);
        device.asked = Some(id);
        self.asked += 1;
        self.last_asked = Some(now.mono);
        Some(Question { id, place: *place, api: device.api })
    }

    /// When [`Rounds::next_question`] has one, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.asked >= ASKED_MAX {
            return None;
        }
        let next = self.devices.values().filter_map(Device::due).min()?;
        Some(self.last_asked.map_or(next, |last| next.max(last + PACE)))
    }

    /// Takes what came of a question. `ours` is how many shares of it, accepted and rejected, were counted
    /// here so far, if it is one of the miners that are connected. Its telemetry, if it told any.
    pub fn answered(
        &mut self,
        now: Now,
        question: Question,
        answer: Result<Telemetry, Fault>,
        ours: Option<u64>,
    ) -> Option<&Telemetry> {
        let device = self.devices.get_mut(&question.place)?;
        if device.asked != Some(question.id) {
            return None;
        }
        device.asked = None;
        self.asked -= 1;
        let again = std::mem::take(&mut device.again);
        match answer {
            Ok(telemetry) => {
                device.answered(now.mono, telemetry, ours);
                if again {
                    device.next = now.mono;
                }
                device.telemetry()
            }
            Err(fault) => {
                device.failed(now.mono, fault);
                None
            }
        }
    }

    /// Asks this device next, whatever its turn: something was done to it.
    pub fn hurry(&mut self, now: Now, place: Place) {
        if let Some(device) = self.devices.get_mut(&place) {
            device.next = now.mono;
            device.failures = 0;
            // What it is answering now may be from before.
            device.again = device.asked.is_some();
        }
    }

    /// All of them, by their addresses.
    pub fn devices(&self) -> impl Iterator<Item = (Place, &Device)> {
        self.devices.iter().map(|(place, device)| (*place, device))
    }

    /// The device there.
    pub fn get(&self, place: Place) -> Option<&Device> {
        self.devices.get(&place)
    }
}

impl Device {
    /// Another firmware connects from there than before. One with another API is another device: what was
    /// told there is not of it.
    fn take_hint(&mut self, now: Instant, hint: Hint) {
        if self.hint == hint {
            return;
        }
        self.hint = hint;
        let Hint::Known(api) = hint else { return };
        if self.api != api {
            *self =
                Device { wanted_at: self.wanted_at, asked: self.asked, ..Device::new(now, hint) };
        } else if self.told.is_none() {
            self.next = self.next.min(now + INTERVAL);
        }
    }
}

#[cfg(test)]
mod tests;
