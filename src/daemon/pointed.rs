//! Devices that are pointed here by the owner's press, and back again.
//!
//! ```text
//!   preview (asks the device) ─ press ─▶ asks it again: the same? ─▶ undo to the card ─▶ settings to the
//!   device ─▶ reads them back ─▶ restart ─▶ first share, or what to type by hand
//! ```
//!
//! Nothing is sent to an address that is neither a miner's nor named by the owner nor found by a search,
//! and nothing without the PIN.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Weak;
use std::time::{Duration, Instant};

use async_io::Timer;
use serde::{Deserialize, Serialize};

use crate::clock::Now;
use crate::devices::pointing::{self, Call, Command, Method, NoPlan, Plan, PoolWish, Undo, Wish};
use crate::devices::rounds::Place;
use crate::devices::{Api, Telemetry, axeos};
use crate::fsutil::{self, Rights};
use crate::lan::find::{self, Network};
use crate::lan::{self, Reply};
use crate::os;
use crate::server::http::admin::Local;
use crate::server::http::admin::devices::{DeviceEntry, DeviceList, Pointed};
use crate::settings::devices::{DevicePlan, DeviceStep, PointWish};
use crate::status::{DeviceView, EventKind, Level};

use super::{Daemon, State};

/// Devices whose settings of before are kept.
const KEPT: usize = 32;
/// Bytes of their file that are read.
const FILE_MAX: u64 = 256 * 1024;
/// How long the first share of a device is waited for.
const FIRST_SHARE: Duration = Duration::from_secs(600);
/// A device writes its settings a moment after its answer.
const SETTLE: Duration = Duration::from_millis(1500);
/// How long what a search found is known.
const FOUND: Duration = Duration::from_secs(1800);

/// What was pointed here, and what a search has found.
pub(super) struct PointedDevices {
    file: PathBuf,
    /// The oldest first.
    list: Vec<PointedDevice>,
    found: Vec<FoundDevice>,
    searched: Option<Instant>,
    searching: bool,
}

/// A device that was pointed here.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PointedDevice {
    ip: IpAddr,
    port: Option<u16>,
    /// Unix seconds.
    at: u64,
    undo: Undo,
    #[serde(skip)]
    watch: Option<FirstShare>,
}

#[derive(Clone, Copy, Debug)]
enum FirstShare {
    Awaited(Instant),
    After(Duration),
    Missed,
}

struct FoundDevice {
    place: Place,
    at: Instant,
    telemetry: Telemetry,
}

impl PointedDevice {
    fn place(&self) -> Place {
        Place { ip: self.ip, port: self.port }
    }
}

impl PointedDevices {
    /// Those of earlier runs. A file that cannot be read is told of and left alone.
    pub(super) fn open(data: &Path) -> PointedDevices {
        let file = data.join("pointed-devices.json");
        let size = fs::metadata(&file).map_or(0, |data| data.len());
        let list = match fs::read(&file) {
            _ if size > FILE_MAX => {
                log::warn!("{} is too long: it is not read", file.display());
                Vec::new()
            }
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                log::warn!("{}: {error}", file.display());
                Vec::new()
            }),
            Err(_) => Vec::new(),
        };
        PointedDevices { file, list, found: Vec::new(), searched: None, searching: false }
    }

    fn get(&self, place: Place) -> Option<&PointedDevice> {
        self.list.iter().rev().find(|device| device.place() == place)
    }

    /// Keeps what puts a device back, on the card before anything is sent.
    fn keep(&mut self, now: Now, place: Place, undo: Undo) -> std::io::Result<()> {
        // Pointed here twice: the settings of before are those before the first time.
        let same = |known: &PointedDevice| undo.mac.is_some() && known.undo.mac == undo.mac;
        if self.get(place).is_some_and(same) {
            return Ok(());
        }
        self.list.retain(|device| device.place() != place);
        if self.list.len() >= KEPT {
            self.list.remove(0);
        }
        let (ip, port, at) = (place.ip, place.port, now.unix);
        self.list.push(PointedDevice { ip, port, at, undo, watch: None });
        self.write()
    }

    fn forget(&mut self, place: Place) {
        self.list.retain(|device| device.place() != place);
        if let Err(error) = self.write() {
            log::warn!("{}: {error}", self.file.display());
        }
    }

    /// A few kilobytes, on the owner's press.
    fn write(&self) -> std::io::Result<()> {
        let text = serde_json::to_vec(&self.list)?;
        Ok(fsutil::replace(&self.file, &text, Rights::Set(0o600))?)
    }

    fn await_share(&mut self, now: Now, place: Place) {
        if let Some(device) = self.list.iter_mut().find(|device| device.place() == place) {
            device.watch = Some(FirstShare::Awaited(now.mono));
        }
    }
}

impl State {
    /// Looks whether devices that were pointed here have sent their first share.
    pub(super) fn look_for_first_shares(&mut self, now: Now) {
        let awaited = |device: &PointedDevice| match device.watch {
            Some(FirstShare::Awaited(since)) => Some((device.ip, since)),
            _ => None,
        };
        let waiting: Vec<(IpAddr, Instant)> =
            self.pointed.list.iter().filter_map(awaited).collect();
        for (ip, since) in waiting {
            let shares = self.engine.pool().sessions().filter(|s| s.peer().to_canonical() == ip);
            let worker = shares.filter_map(|session| self.ledger.workers.get(&session.conn()));
            let first = worker
                .filter_map(|worker| self.ledger.core.get(*worker)?.share_at)
                .filter(|at| *at >= since)
                .max();
            let (watch, level, words) = match first {
                Some(at) => {
                    let after = at.saturating_duration_since(since);
                    let words = format!(
                        "The device at {ip} mines here: its first share came after {} s.",
                        after.as_secs()
                    );
                    (FirstShare::After(after), Level::Info, words)
                }
                None if now.mono.saturating_duration_since(since) >= FIRST_SHARE => {
                    let words = format!(
                        "The device at {ip} was pointed here, and no share of it has come for ten \
                         minutes: look at its own page."
                    );
                    (FirstShare::Missed, Level::Warning, words)
                }
                None => continue,
            };
            let device = self.pointed.list.iter_mut().find(|device| device.ip == ip);
            if let Some(device) = device {
                device.watch = Some(watch);
            }
            self.tell(now, EventKind::Miner, level, words);
        }
    }

    /// All devices that the owner can do something with.
    pub(super) fn device_list(&self, now: Now) -> DeviceList {
        let asked = self.device_views(now).into_iter().filter_map(|view| {
            let place = self.place(&view.address)?;
            let known = self.known_device(place)?;
            Some(self.device_entry(now, place, known, view))
        });
        let found = self.pointed.found.iter().filter(|found| {
            now.mono.saturating_duration_since(found.at) < FOUND
                && self.devices.rounds().get(found.place).is_none_or(|d| d.telemetry().is_none())
        });
        let found = found.map(|found| {
            let view = DeviceView::found(found.place, &found.telemetry);
            self.device_entry(now, found.place, &found.telemetry, view)
        });
        DeviceList {
            devices: asked.chain(found).collect(),
            asks: self.config.devices.ask,
            searched_at: self.pointed.searched.map(|at| now.date_of(at)),
            networks: find::searched(networks())
                .iter()
                .map(|network| format!("{}/{}", network.own, network.prefix.max(24)))
                .collect(),
        }
    }

    fn device_entry(
        &self,
        now: Now,
        place: Place,
        known: &Telemetry,
        view: DeviceView,
    ) -> DeviceEntry {
        let pointed = self.pointed.get(place);
        DeviceEntry {
            commands: Command::ALL
                .into_iter()
                .filter(|command| pointing::command(known.family, *command).is_some())
                .collect(),
            way: known.way,
            mines_here: self.mines_here(known),
            speaks_v2: known.speaks_v2 && self.authority_key().is_some(),
            pointed: pointed.map(|device| Pointed {
                at: device.at,
                words: match device.watch {
                    None => String::new(),
                    Some(FirstShare::Awaited(since)) => format!(
                        "Its first share is awaited, for {} s so far.",
                        now.mono.saturating_duration_since(since).as_secs()
                    ),
                    Some(FirstShare::After(after)) => {
                        format!("Its first share came after {} s.", after.as_secs())
                    }
                    Some(FirstShare::Missed) => {
                        format!("No share has come. {}", self.to_type(place, known))
                    }
                },
            }),
            by_hand: self.to_type(place, known),
            view,
        }
    }

    /// The device that the owner means, if it is one of those that may be told anything.
    fn place(&self, address: &str) -> Option<Place> {
        let asked = self.devices.rounds().devices().map(|(place, _)| place);
        let found = self.pointed.found.iter().map(|found| found.place);
        asked.chain(found).find(|place| place.to_string() == address)
    }

    fn known_device(&self, place: Place) -> Option<&Telemetry> {
        let asked = self.devices.rounds().get(place).and_then(|device| device.telemetry());
        let found = || self.pointed.found.iter().find(|found| found.place == place);
        asked.or_else(|| found().map(|found| &found.telemetry))
    }

    fn mines_here(&self, device: &Telemetry) -> bool {
        let own = os::addresses();
        let port = self.server.addresses().first().map_or(0, |at| at.port());
        device.pool().or(device.pools.first()).is_some_and(|pool| {
            let ours =
                pool.host.parse::<IpAddr>().is_ok_and(|ip| own.contains(&ip) || ip.is_loopback());
            let named = os::hostname().is_some_and(|name| {
                let host = pool.host.to_ascii_lowercase();
                host == name || host.strip_suffix(".local") == Some(name.as_str())
            });
            pool.port == port && (ours || named)
        })
    }

    /// What a device at this place is to have.
    fn wish(&self, place: Place, known: &Telemetry, wish: &PointWish) -> Result<Wish, String> {
        let host = find::own_address_towards(place.ip)
            .ok_or_else(|| format!("No way leads from this box to {}.", place.ip))?;
        let port = self.server.addresses().first().map_or(0, |at| at.port());
        let host = host.to_string();
        if wish.fallback.as_ref().is_some_and(|pool| (&pool.host, pool.port) == (&host, port)) {
            return Err("The second pool is this box itself: write another one.".to_owned());
        }
        let key = match wish.v2 {
            true => Some(self.authority_key().ok_or("This box does not speak Stratum V2.")?.text()),
            false => None,
        };
        Ok(Wish {
            host,
            port,
            user: self.user_for(place, known),
            password: self.config.stratum.password.as_ref().map(|p| p.expose().to_owned()),
            v2_key: key,
            fallback: wish.fallback.clone(),
        })
    }

    /// `ADDRESS.name`: the name that it has here, or its own.
    fn user_for(&self, place: Place, known: &Telemetry) -> String {
        let worker = self.devices.worker(place.ip).and_then(|id| self.ledger.core.get(id));
        let name =
            worker.map_or_else(|| known.hostname.clone(), |worker| self.shown_name(&worker.name));
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let name: String = name.chars().filter(plain).take(32).collect();
        let name = if name.is_empty() { "miner".to_owned() } else { name };
        match self.owners_address() {
            owner if owner.is_empty() => name,
            owner => format!("{owner}.{name}"),
        }
    }

    /// What is typed into a device that takes no settings from us.
    fn to_type(&self, place: Place, known: &Telemetry) -> String {
        match self.wish(place, known, &PointWish::default()) {
            Ok(wish) => {
                let words = pointing::by_hand(known.family, &wish);
                let password = match wish.password {
                    Some(_) => " The password is the miners' one of this box.",
                    None => "",
                };
                format!("{words}{password}")
            }
            Err(why) => why,
        }
    }
}

impl Daemon {
    /// What would be sent, by asking the device.
    pub(super) fn planned_device(
        &self,
        address: &str,
        wish: PointWish,
    ) -> Local<Result<DevicePlan, String>> {
        let state = self.state.borrow();
        let Some(place) = state.place(address) else { return unknown() };
        let Some(known) = state.known_device(place).cloned() else { return unknown() };
        let wish = state.wish(place, &known, &wish);
        Box::pin(async move { Ok(shown(&planned(place, &known, &wish?).await?.0)) })
    }

    /// Carries out what the owner wants of a device.
    pub(super) fn told_device(
        &self,
        address: &str,
        step: DeviceStep,
    ) -> Local<Result<String, String>> {
        let state = self.state.borrow();
        let Some(place) = state.place(address) else { return unknown() };
        let Some(known) = state.known_device(place).cloned() else { return unknown() };
        let this = self.this.clone();
        match step {
            DeviceStep::Tell(command) => {
                let Some(call) = pointing::command(known.family, command) else { return unknown() };
                Box::pin(async move {
                    send(place, &call).await?;
                    hurry(&this, place);
                    Ok(done(command).to_owned())
                })
            }
            DeviceStep::Point { wish, seen } => {
                let wish = state.wish(place, &known, &wish);
                Box::pin(async move { point(this, place, known, wish?, &seen).await })
            }
            DeviceStep::PutBack => {
                let Some(pointed) = state.pointed.get(place).cloned() else { return unknown() };
                Box::pin(async move { put_back(this, place, pointed).await })
            }
        }
    }

    /// Looks for devices that are not here yet: by mDNS, and at each address of the own networks.
    pub(super) fn found_devices(&self) -> Local<Result<String, String>> {
        let mut state = self.state.borrow_mut();
        if std::mem::replace(&mut state.pointed.searching, true) {
            return Box::pin(async {
                Err("A search is under way: wait until it ends.".to_owned())
            });
        }
        let this = self.this.clone();
        Box::pin(async move {
            let networks = find::searched(networks());
            let found = search(&networks).await;
            let Some(daemon) = this.upgrade() else { return Err(STOPPING.to_owned()) };
            let mut state = daemon.state.borrow_mut();
            let now = state.now();
            state.pointed.searching = false;
            state.pointed.searched = Some(now.mono);
            let count = found.len();
            let found = found.into_iter();
            state.pointed.found = found
                .map(|(place, telemetry)| FoundDevice { place, at: now.mono, telemetry })
                .collect();
            Ok(match count {
                0 => "No device was found that tells of itself.".to_owned(),
                1 => "One device was found.".to_owned(),
                n => format!("{n} devices were found."),
            })
        })
    }
}

const STOPPING: &str = "Shutting down.";

fn unknown<T: 'static>() -> Local<Result<T, String>> {
    Box::pin(async { Err("This device is not known any more: look at the list.".to_owned()) })
}

/// The own networks.
fn networks() -> impl Iterator<Item = Network> {
    os::networks().into_iter().map(|(own, prefix)| Network { own, prefix })
}

/// Whoever tells of itself, each device once.
async fn search(networks: &[Network]) -> Vec<(Place, Telemetry)> {
    let announced = find::announced(networks).await;
    let mut places: Vec<_> = announced.into_iter().map(|ip| (Place::at(ip), Api::Http)).collect();
    let mut addresses: Vec<_> = networks.iter().flat_map(|network| network.others()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    places.extend(find::scan(addresses).await);
    let mut found: Vec<(Place, Telemetry)> = Vec::new();
    for (place, api) in places {
        if found.len() >= find::FOUND_MAX || found.iter().any(|(known, _)| *known == place) {
            continue;
        }
        let Ok(answers) = lan::ask(place, api).await else { continue };
        if let Ok(telemetry) = api.read(&answers) {
            found.push((place, telemetry));
        }
    }
    found
}

/// What a device was told to do, and did.
fn done(command: Command) -> &'static str {
    match command {
        Command::Identify => {
            "It blinks, or shows on its screen which one it is, for half a minute."
        }
        Command::Pause => "It is paused, until it is resumed or starts anew.",
        Command::Resume => "It goes on.",
        Command::Restart => "It starts anew, which takes about 20 seconds.",
    }
}

/// Reads a device's settings and plans the change.
async fn planned(place: Place, known: &Telemetry, wish: &Wish) -> Result<(Plan, Vec<u8>), String> {
    if known.family.api() == Api::Cgminer {
        return Err(pointing::by_hand(known.family, wish));
    }
    let info = info(place).await?;
    let plan = pointing::plan(&info, wish).map_err(|why| match why {
        NoPlan::AlreadyHere => "This device has these settings already.".to_owned(),
        NoPlan::NeedsLogin => {
            let words = pointing::by_hand(known.family, wish);
            format!("This device asks for a one-time password before it takes settings. {words}")
        }
        NoPlan::ByHand(words) => words,
        NoPlan::NoV2 | NoPlan::Unreadable(_) => {
            format!("This device cannot be pointed here: {why}.")
        }
    })?;
    Ok((plan, info))
}

/// Whether a device whose answer was `before` ignored what it was sent. Passwords are never told, so they
/// are left out.
fn ignored(before: &[u8], now: &[u8], wish: &Wish) -> bool {
    let fallback = wish.fallback.clone().map(|pool| PoolWish { password: None, ..pool });
    let shown = Wish { password: None, fallback, ..wish.clone() };
    let left = |info: &[u8]| pointing::plan(info, &shown).map(|plan| plan.calls);
    left(now).is_ok_and(|left_now| left(before).is_ok_and(|left| left == left_now))
}

async fn info(place: Place) -> Result<Vec<u8>, String> {
    let at = place.socket(Api::Http);
    match lan::request(at, hyper::Method::GET, axeos::INFO, "").await {
        Ok(Reply { status: 200, body }) => Ok(body),
        Ok(Reply { status, .. }) => Err(format!("The device answers with HTTP {status}.")),
        Err(fault) => Err(format!("The device cannot be asked: {fault}.")),
    }
}

/// What of a plan is shown.
fn shown(plan: &Plan) -> DevicePlan {
    let rows: Vec<[String; 3]> = plan
        .rows
        .iter()
        .map(|row| [row.what.to_owned(), row.old.clone(), row.new.clone()])
        .collect();
    let mut hasher = DefaultHasher::new();
    plan.calls.iter().for_each(|call| (&call.path, &call.body).hash(&mut hasher));
    rows.hash(&mut hasher);
    DevicePlan {
        rows,
        not_restored: plan.not_restored.clone(),
        restarts: plan.restarts,
        seen: format!("{:016x}", hasher.finish()),
    }
}

fn method(method: Method) -> hyper::Method {
    match method {
        Method::Get => hyper::Method::GET,
        Method::Post => hyper::Method::POST,
        Method::Patch => hyper::Method::PATCH,
        Method::Delete => hyper::Method::DELETE,
    }
}

/// Sends one request; its answer must be a good one.
async fn send(place: Place, call: &Call) -> Result<(), String> {
    let at = place.socket(Api::Http);
    let reply = lan::request(at, method(call.method), &call.path, &call.body).await;
    match reply {
        Ok(Reply { status: 200..=299, .. }) => Ok(()),
        Ok(Reply { status, body }) => {
            let words = crate::devices::text(&String::from_utf8_lossy(&body));
            Err(format!("The device refused it with HTTP {status}: {words}."))
        }
        Err(fault) => Err(format!("The device did not take it: {fault}.")),
    }
}

async fn point(
    this: Weak<Daemon>,
    place: Place,
    known: Telemetry,
    wish: Wish,
    seen: &str,
) -> Result<String, String> {
    let (plan, before) = planned(place, &known, &wish).await?;
    if shown(&plan).seen != seen {
        return Err(
            "The device's settings are others than those that were shown: look at them once \
                    more."
                .to_owned(),
        );
    }
    {
        let daemon = this.upgrade().ok_or(STOPPING)?;
        let mut state = daemon.state.borrow_mut();
        let now = state.now();
        let kept = state.pointed.keep(now, place, plan.undo.clone());
        kept.map_err(|error| {
            format!("Nothing was sent: what is needed for the way back cannot be saved: {error}.")
        })?;
    }
    let (settings, restart) = plan.calls.split_at(plan.calls.len() - usize::from(plan.restarts));
    for call in settings {
        send(place, call).await?;
    }
    Timer::after(SETTLE).await;
    // A firmware takes what it does not know with the status of success.
    if ignored(&before, &info(place).await?, &wish) {
        let words = pointing::by_hand(known.family, &wish);
        return Err(format!("The device took the settings and did not change them. {words}"));
    }
    for call in restart {
        send(place, call).await?;
    }
    let daemon = this.upgrade().ok_or(STOPPING)?;
    let mut state = daemon.state.borrow_mut();
    let now = state.now();
    state.pointed.await_share(now, place);
    state.devices.hurry(now, place);
    daemon.rearm(&state);
    let restarts = if plan.restarts { " and starts anew" } else { "" };
    Ok(format!("The device is pointed here{restarts}. Its first share is awaited: see below."))
}

async fn put_back(
    this: Weak<Daemon>,
    place: Place,
    pointed: PointedDevice,
) -> Result<String, String> {
    let there = axeos::read(&info(place).await?).map_err(|why| format!("{why}."))?;
    let is_same = pointed.undo.mac.is_none() || pointed.undo.mac == there.mac;
    if !is_same {
        return Err("Another device has this address now: nothing was sent.".to_owned());
    }
    for (nth, call) in pointed.undo.calls.iter().enumerate() {
        if nth > 0 {
            Timer::after(SETTLE).await;
        }
        send(place, call).await?;
    }
    let daemon = this.upgrade().ok_or(STOPPING)?;
    let mut state = daemon.state.borrow_mut();
    let now = state.now();
    state.pointed.forget(place);
    state.devices.hurry(now, place);
    daemon.rearm(&state);
    let restarts = if pointed.undo.restarts { " It starts anew." } else { "" };
    Ok(format!("The device has its settings of before again.{restarts}"))
}

fn hurry(this: &Weak<Daemon>, place: Place) {
    if let Some(daemon) = this.upgrade() {
        let mut state = daemon.state.borrow_mut();
        let now = state.now();
        state.devices.hurry(now, place);
        daemon.rearm(&state);
    }
}
