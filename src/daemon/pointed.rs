//! Devices that are pointed here by the owner's press, and back again.
//!
//! ```text
//!   preview (asks the device) ─ press ─▶ asks it again: the same? ─▶ undo to the card ─▶ settings to the
//!   device ─▶ reads them back ─▶ restart ─▶ first share, or what to type by hand
//! ```
//!
//! Nothing is sent to an address that is neither a miner's nor named by the owner nor found by a search,
//! and nothing without the PIN. What was begun goes on to its end when the browser that asked for it is closed:
//! a device must not stay half pointed.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Weak;
use std::time::{Duration, Instant};

use async_io::Timer;
use serde::{Deserialize, Serialize};

use crate::clock::Now;
use crate::devices::pointing::{self, Call, Command, Method, NoPlan, Plan, PoolWish, Undo, Wish};
use crate::devices::rounds::Place;
use crate::devices::{Api, Fault, Pool, Telemetry, Way, axeos};
use crate::fsutil::{self, Rights};
use crate::lan::find::{self, Network};
use crate::lan::{self, Reply};
use crate::os;
use crate::server::http::admin::Local;
use crate::server::http::admin::devices::{DeviceEntry, DeviceList, Pointed};
use crate::settings::devices::{DevicePlan, DeviceStep, PointWish};
use crate::status::{DeviceView, EventKind, Level};
use crate::stratum::session::Session;

use super::{Daemon, State};

/// Devices whose settings of before are kept.
const KEPT: usize = 32;
/// Bytes of their file that are read.
const FILE_MAX: u64 = 1024 * 1024;
/// How long the first share of a device is waited for.
const FIRST_SHARE: Duration = Duration::from_secs(600);
/// A device writes its settings a moment after its answer.
const SETTLE: Duration = Duration::from_millis(1500);
/// How long what a search found is known.
const FOUND: Duration = Duration::from_secs(1800);
/// After so long, a search asks nobody more of those that it has found.
const SEARCH: Duration = Duration::from_secs(90);

/// What was pointed here, and what a search has found.
pub(super) struct PointedDevices {
    file: PathBuf,
    /// The oldest first.
    list: Vec<PointedDevice>,
    found: Vec<FoundDevice>,
    searched: Option<Instant>,
    searching: bool,
    /// A device is being told something.
    telling: bool,
}

/// A device that was pointed here.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PointedDevice {
    ip: IpAddr,
    port: Option<u16>,
    /// Unix seconds.
    at: u64,
    undo: Undo,
    /// What was written at which places of its list.
    placed: Vec<(u64, String)>,
    /// All was sent; else the device may have some of its settings from us.
    done: bool,
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

    /// Whether it is the device with this MAC, or else the one at this place: addresses change.
    fn is(&self, place: Place, mac: Option<[u8; 6]>) -> bool {
        match (self.undo.mac, mac) {
            (Some(own), Some(mac)) => own == mac,
            _ => self.place() == place,
        }
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
        PointedDevices {
            file,
            list,
            found: Vec::new(),
            searched: None,
            searching: false,
            telling: false,
        }
    }

    fn get(&self, place: Place, mac: Option<[u8; 6]>) -> Option<&PointedDevice> {
        self.list.iter().find(|device| device.is(place, mac))
    }

    /// Keeps what puts a device back. `is_here` says that it is set to mine here now: if it was pointed here
    /// before, or half of it, its settings of before are those before the first time. Returns what was kept
    /// of it so far, for [`PointedDevices::put`].
    fn keep(&mut self, mut device: PointedDevice, is_here: bool) -> Option<PointedDevice> {
        let known = self.take(device.place(), device.undo.mac);
        if let Some(known) = known.as_ref().filter(|known| is_here || !known.done) {
            device.undo = device.undo.after(&known.undo);
            device.at = known.at;
            let is_new = |(id, _): &&(u64, String)| device.placed.iter().all(|(new, _)| new != id);
            let earlier: Vec<_> = known.placed.iter().filter(is_new).cloned().collect();
            device.placed.extend(earlier);
        }
        self.put(Some(device));
        known
    }

    fn take(&mut self, place: Place, mac: Option<[u8; 6]>) -> Option<PointedDevice> {
        let at = self.list.iter().position(|device| device.is(place, mac))?;
        Some(self.list.remove(at))
    }

    fn put(&mut self, device: Option<PointedDevice>) {
        if device.is_some() && self.list.len() >= KEPT {
            self.list.remove(0);
        }
        self.list.extend(device);
    }

    /// Notes that all was sent; the first share is awaited.
    fn is_done(&mut self, now: Now, place: Place, mac: Option<[u8; 6]>) {
        if let Some(device) = self.list.iter_mut().find(|device| device.is(place, mac)) {
            device.done = true;
            device.watch = Some(FirstShare::Awaited(now.mono));
        }
    }

    /// Whether a first share is awaited.
    pub(super) fn waits(&self) -> bool {
        self.list.iter().any(|device| matches!(device.watch, Some(FirstShare::Awaited(_))))
    }
}

/// Writes the list to the card; a slow one keeps nobody else waiting.
async fn write(this: &Weak<Daemon>) -> Result<(), String> {
    let daemon = this.upgrade().ok_or(STOPPING)?;
    let (file, text) = {
        let state = daemon.state.borrow();
        let text = serde_json::to_vec(&state.pointed.list).map_err(|error| error.to_string())?;
        (state.pointed.file.clone(), text)
    };
    drop(daemon);
    let written = blocking::unblock(move || fsutil::replace(&file, &text, Rights::Set(0o600)));
    written.await.map_err(|error| error.to_string())
}

/// The same, where the owner has to be told nothing else.
async fn write_or_log(this: &Weak<Daemon>) {
    if let Err(error) = write(this).await {
        log::warn!("the devices that were pointed here: {error}");
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
            networks: self
                .searched_networks()
                .iter()
                .map(|network| format!("{}/{}", network.own, network.prefix.max(24)))
                .collect(),
        }
    }

    /// The own networks that a search goes through.
    fn searched_networks(&self) -> Vec<Network> {
        let own = os::networks().into_iter().map(|(own, prefix)| Network { own, prefix });
        find::searched(own, self.engine.pool().sessions().map(Session::peer))
    }

    fn device_entry(
        &self,
        now: Now,
        place: Place,
        known: &Telemetry,
        view: DeviceView,
    ) -> DeviceEntry {
        let pointed = self.pointed.get(place, known.mac);
        DeviceEntry {
            commands: pointing::commands(known),
            way: known.way,
            mines_here: self.mines_here(known),
            speaks_v2: known.speaks_v2 && self.authority_key().is_some(),
            pointed: pointed.map(|device| Pointed {
                at: device.at,
                words: match device.watch {
                    None if !device.done => {
                        "That did not end: point it here once more, or put its old settings back."
                            .to_owned()
                    }
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
        device.pool().or(device.pools.first()).is_some_and(|pool| self.is_here(pool))
    }

    /// It mines here, or would if it did not mine on its second pool for now.
    fn is_set_here(&self, device: &Telemetry) -> bool {
        device.pools.first().is_some_and(|pool| self.is_here(pool)) || self.mines_here(device)
    }

    fn is_here(&self, pool: &Pool) -> bool {
        if let Some(place) = &self.config.stratum.reached_at {
            return pool.host.eq_ignore_ascii_case(&place.host.to_string())
                && pool.port == place.port;
        }
        let shared = self.shared_address();
        let ours =
            |ip: &IpAddr| ip.is_loopback() || Some(*ip) == shared || os::addresses().contains(ip);
        let port = match pool.host.parse::<IpAddr>() {
            Ok(ip) => Some(ip).filter(ours).map(|ip| self.stratum_port(ip)),
            Err(_) => {
                let is_named = os::hostname().is_some_and(|name| names(&pool.host, &name));
                let first = self.server.addresses().first().copied();
                first.filter(|_| is_named).map(|at| at.port())
            }
        };
        port == Some(pool.port)
    }

    /// What a device at this place is to have.
    fn wish(&self, place: Place, known: &Telemetry, wish: &PointWish) -> Result<Wish, String> {
        let (host, port) = match self.reached() {
            Some(reached) => (reached.host.to_string(), reached.port),
            None => {
                let host = find::own_address_towards(place.ip)
                    .ok_or_else(|| format!("No way leads from this box to {}.", place.ip))?;
                (host.to_string(), self.stratum_port(host))
            }
        };
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
        let name = worker
            .map_or_else(|| self.new_name(place, known), |worker| self.shown_name(&worker.name));
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let name: String = name.chars().filter(plain).take(32).collect();
        let name = if name.is_empty() { "miner".to_owned() } else { name };
        match self.owners_address() {
            owner if owner.is_empty() => name,
            owner => format!("{owner}.{name}"),
        }
    }

    /// The device's own name. Where another miner has that, as firmwares call all of theirs the same, with
    /// the end of its MAC address: by one name both would be one miner.
    fn new_name(&self, place: Place, known: &Telemetry) -> String {
        let name = known.hostname.as_str();
        let mines = self
            .ledger
            .core
            .workers()
            .any(|(_, worker)| self.shown_name(&worker.name).eq_ignore_ascii_case(name));
        let others = self.devices.rounds().devices().filter(|(other, _)| *other != place);
        let others = others.filter_map(|(_, device)| device.telemetry());
        let found = self.pointed.found.iter().filter(|found| found.place != place);
        let mut others = others.chain(found.map(|found| &found.telemetry));
        let is_taken = mines || others.any(|other| other.hostname.eq_ignore_ascii_case(name));
        match known.mac.filter(|_| is_taken) {
            Some([.., fifth, sixth]) => format!("{name}-{fifth:02x}{sixth:02x}"),
            None => name.to_owned(),
        }
    }

    /// The port for miners at this own address.
    pub(super) fn stratum_port(&self, own: IpAddr) -> u16 {
        let all = self.server.addresses();
        let covers = |at: &&SocketAddr| at.ip() == own || at.ip().is_unspecified();
        all.iter().find(covers).or(all.first()).map_or(0, SocketAddr::port)
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
        let mut state = self.state.borrow_mut();
        let Some(place) = state.place(address) else { return unknown() };
        let Some(known) = state.known_device(place).cloned() else { return unknown() };
        let this = self.this.clone();
        let work: Local<Result<String, String>> = match step {
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
                let Some(pointed) = state.pointed.get(place, known.mac).cloned() else {
                    return unknown();
                };
                Box::pin(async move { put_back(this, place, pointed).await })
            }
        };
        if std::mem::replace(&mut state.pointed.telling, true) {
            return Box::pin(async {
                Err("A device is being told something: try again in a few seconds.".to_owned())
            });
        }
        let this = self.this.clone();
        self.to_its_end(async move {
            let outcome = work.await;
            if let Some(daemon) = this.upgrade() {
                daemon.state.borrow_mut().pointed.telling = false;
            }
            outcome
        })
    }

    /// Does the work even if nobody waits for its outcome any more: whoever closes the browser drops what was
    /// to be answered.
    fn to_its_end(
        &self,
        work: impl Future<Output = Result<String, String>> + 'static,
    ) -> Local<Result<String, String>> {
        let (give, take) = async_channel::bounded(1);
        let work = async move {
            // Nobody may be there to take it.
            let _ = give.send(work.await).await;
        };
        self.people.spawn(work).detach();
        Box::pin(async move { take.recv().await.unwrap_or_else(|_| Err(STOPPING.to_owned())) })
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
        self.to_its_end(async move {
            let Some(daemon) = this.upgrade() else { return Err(STOPPING.to_owned()) };
            let networks = daemon.state.borrow().searched_networks();
            drop(daemon);
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

/// Whoever tells of itself, each device once.
async fn search(networks: &[Network]) -> Vec<(Place, Telemetry)> {
    let announced = find::announced(networks).await;
    let mut places: Vec<_> = announced.into_iter().map(|ip| (Place::at(ip), Api::Http)).collect();
    let mut addresses: Vec<_> = networks.iter().flat_map(|network| network.others()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    places.extend(find::scan(addresses).await);
    let mut found: Vec<(Place, Telemetry)> = Vec::new();
    let until = Instant::now() + SEARCH;
    for (place, api) in places {
        if Instant::now() >= until {
            break;
        }
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
            "It blinks, or shows on its screen which one it is, for half a minute; a second press ends it."
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
        NoPlan::AlreadyHere => {
            "This device has these settings already. If it does not mine here, restart it."
                .to_owned()
        }
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

/// Why a request failed.
struct Failed {
    /// The device refused it, and so did nothing.
    refused: bool,
    words: String,
}

impl From<Failed> for String {
    fn from(failed: Failed) -> String {
        failed.words
    }
}

/// Sends one request; its answer must be a good one.
async fn send(place: Place, call: &Call) -> Result<(), Failed> {
    let at = place.socket(Api::Http);
    let reply = lan::request(at, method(call.method), &call.path, &call.body).await;
    match reply {
        Ok(Reply { status: 200..=299, .. }) => Ok(()),
        Ok(Reply { status, body }) => {
            let words = crate::devices::text(&String::from_utf8_lossy(&body));
            let words = format!("The device refused it with HTTP {status}: {words}.");
            Err(Failed { refused: (400..500).contains(&status), words })
        }
        Err(fault) => {
            let words = format!("The device did not take it: {fault}.");
            Err(Failed { refused: matches!(fault, Fault::Closed(_)), words })
        }
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
    let there = axeos::read(&before).map_err(|why| format!("{why}."))?;
    let mac = plan.undo.mac;
    let earlier = {
        let daemon = this.upgrade().ok_or(STOPPING)?;
        let mut state = daemon.state.borrow_mut();
        let at = state.now().unix;
        let Place { ip, port } = place;
        let placed = pointing::placed(&plan.calls);
        let undo = plan.undo.clone();
        let device = PointedDevice { ip, port, at, undo, placed, done: false, watch: None };
        let is_here = state.is_set_here(&there);
        state.pointed.keep(device, is_here)
    };
    // Nothing of this press is in the device: what was known of it holds.
    let nothing_was_done = async || {
        if let Some(daemon) = this.upgrade() {
            let mut state = daemon.state.borrow_mut();
            state.pointed.take(place, mac);
            state.pointed.put(earlier.clone());
        }
        write_or_log(&this).await;
    };
    if let Err(error) = write(&this).await {
        nothing_was_done().await;
        return Err(format!(
            "Nothing was sent: what is needed for the way back cannot be saved: {error}."
        ));
    }
    let (settings, restart) = plan.calls.split_at(plan.calls.len() - usize::from(plan.restarts));
    for (nth, call) in settings.iter().enumerate() {
        if let Err(failed) = send(place, call).await {
            if nth == 0 && failed.refused {
                nothing_was_done().await;
            }
            return Err(failed.into());
        }
    }
    Timer::after(SETTLE).await;
    // A firmware takes what it does not know with the status of success. Which places of a list are used is
    // told only after the restart.
    let is_told = there.way != Way::List || !pointing::placed(settings).is_empty();
    if is_told && ignored(&before, &info(place).await?, &wish) {
        nothing_was_done().await;
        let words = pointing::by_hand(known.family, &wish);
        return Err(format!("The device took the settings and did not change them. {words}"));
    }
    for call in restart {
        send(place, call).await?;
    }
    {
        let daemon = this.upgrade().ok_or(STOPPING)?;
        let mut state = daemon.state.borrow_mut();
        let now = state.now();
        state.pointed.is_done(now, place, mac);
        state.devices.hurry(now, place);
        state.devices.look(now);
        daemon.rearm(&state);
    }
    write_or_log(&this).await;
    let restarts = if plan.restarts { " and starts anew" } else { "" };
    Ok(format!("The device is pointed here{restarts}. Its first share is awaited: see below."))
}

async fn put_back(
    this: Weak<Daemon>,
    place: Place,
    pointed: PointedDevice,
) -> Result<String, String> {
    let before = info(place).await?;
    let there = axeos::read(&before).map_err(|why| format!("{why}."))?;
    let undo = &pointed.undo;
    if undo.mac.is_some() && undo.mac != there.mac {
        return Err("Another device has this address now: nothing was sent.".to_owned());
    }
    if !undo.fits(&before) {
        return Err(
            "Its firmware is another one now, which keeps its pools in another way: nothing was sent. \
             Set its pool on its own page."
                .to_owned(),
        );
    }
    let mut left = "";
    for (nth, call) in undo.calls.iter().enumerate() {
        if pointing::is_anothers(&before, call, &pointed.placed) {
            left = " What stands at the place of its list where this box was written is something else \
                    now, and stays as it is.";
            continue;
        }
        if nth > 0 {
            Timer::after(SETTLE).await;
        }
        match send(place, call).await {
            Ok(()) => {}
            // All else goes back without this.
            Err(failed) if call.method == Method::Delete && failed.refused => {
                left =
                    " This box's entry stays in its list, unused: the device did not take it out.";
            }
            Err(failed) => return Err(failed.into()),
        }
    }
    {
        let daemon = this.upgrade().ok_or(STOPPING)?;
        let mut state = daemon.state.borrow_mut();
        let now = state.now();
        state.pointed.take(place, undo.mac);
        state.devices.hurry(now, place);
        daemon.rearm(&state);
    }
    write_or_log(&this).await;
    let restarts = if undo.restarts { " It starts anew." } else { "" };
    Ok(format!("The device has its settings of before again.{restarts}{left}"))
}

/// Whether a host is a name of the machine with this name.
fn names(host: &str, name: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let name = name.to_ascii_lowercase();
    host == name || host.strip_suffix(".local") == Some(&name)
}

fn hurry(this: &Weak<Daemon>, place: Place) {
    if let Some(daemon) = this.upgrade() {
        let mut state = daemon.state.borrow_mut();
        let now = state.now();
        state.devices.hurry(now, place);
        daemon.rearm(&state);
    }
}
