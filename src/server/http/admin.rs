//! Set-up and settings: everything on the page that changes something.
//!
//! A POST must pass these checks first: source address, rate, Host, `Origin` equal to Host, a form
//! of at most 16 kB within 10 s, then a valid session and its form token (the set-up, which has no
//! session yet, exists only while nothing is configured). The PIN is hashed on a pool thread.

pub mod devices;
mod mqtt;
pub mod pair;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header;
use hyper::{Request, Response, StatusCode};

use crate::notify::SinkId;
use crate::settings::access::{self, Access, Token, Try};
use crate::settings::devices::{DevicePlan, DeviceStep, PointWish};
use crate::settings::{
    self, MqttValues, NODES_MAX, NodeValues, PairValues, Remark, Service, SinkValues, SinkWish,
    TOPICS, Values,
};
use crate::status::{AlarmView, SinkView, format};
use crate::stratum::firmware::plain_number;
use crate::timeout::within;

use super::forms::{self, Page, Typed};
use super::route::{self, Body};
use super::{BACKUP_BODY_MAX, BODY_MAX, Http, multipart};

use devices::DeviceList;
use pair::SavedPair;

/// What the daemon found out about new values.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Sentences about what was found: who is paid, each node as `soloist check` says it.
    pub findings: Vec<String>,
    /// Why the values cannot be taken, each with what to write instead; empty when they can.
    pub problems: Vec<Remark>,
    /// What speaks against the values: a new node that cannot be used now. They are taken only when
    /// the owner, who has read this, wants it all the same.
    pub doubts: Vec<Remark>,
}

impl Checked {
    /// They may be saved, after a second and deliberate press where there are doubts.
    fn may_pass(&self, anyway: bool) -> bool {
        self.problems.is_empty() && (anyway || self.doubts.is_empty())
    }
}

/// What the owner does with the values in force.
#[derive(Clone, Debug)]
pub enum Change {
    /// Put these in their place.
    Save(Values),
    /// Take the last change back.
    Undo,
    /// Let the payout address that waits be forgotten.
    Cancel,
    /// Forget the other box of the pair, after a while.
    Forget,
    /// Let the change of the other box that waits be forgotten.
    Keep,
}

/// Something that the owner starts by hand.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Start the daemon anew.
    Restart,
    /// Start the board anew.
    Reboot,
    /// Shut the board down.
    PowerOff,
    /// Show the block that would be sent now to every node, and tell what they say.
    FireDrill,
    /// Let the other box of the pair take the address of the miners.
    GiveAddress,
    /// Drop the miners with these ids from the list, with their counts.
    Forget(Vec<String>),
    /// Two miners are one that was renamed: what was counted for the first id becomes the second's, and
    /// the first is no more.
    Join(String, String),
    /// Do not count this alarm for a while, as somebody at this address wishes.
    Snooze(AlarmView, Snooze, IpAddr),
    /// Let the alarm with this id count again.
    Wake(String),
    /// Read the update feed now.
    CheckUpdate,
    /// Install the version that it names.
    InstallUpdate,
    /// End the connection of the miner with this id; it comes back by itself.
    Kick(String),
    /// Fix the difficulty of the miner with this id; `None`: it is found by itself again.
    Fix(String, Option<f64>),
    /// Log this much from now on, until the next start.
    LogLevel(log::LevelFilter),
    /// Keep what is said to and by the miner with this id for five minutes.
    Record(String),
}

/// For how long an alarm is snoozed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snooze {
    /// 60 minutes.
    Hour,
    /// 24 hours.
    Day,
    /// Seven days.
    Week,
}

impl Snooze {
    /// The time.
    pub fn time(self) -> Duration {
        const HOUR: Duration = Duration::from_secs(3600);
        match self {
            Snooze::Hour => HOUR,
            Snooze::Day => 24 * HOUR,
            Snooze::Week => 7 * 24 * HOUR,
        }
    }

    /// With its article.
    pub fn words(self) -> &'static str {
        match self {
            Snooze::Hour => "an hour",
            Snooze::Day => "a day",
            Snooze::Week => "a week",
        }
    }

    fn from_form(form: &Form) -> Option<Snooze> {
        match form.get("time")? {
            "hour" => Some(Snooze::Hour),
            "day" => Some(Snooze::Day),
            "week" => Some(Snooze::Week),
            _ => None,
        }
    }
}

impl Action {
    /// What a form from this address asks for, where these alarms stand; `None` for nonsense.
    fn from_form(form: &Form, alarms: &[AlarmView], from: IpAddr) -> Option<Action> {
        let miner = || form.get("miner").filter(|id| !id.is_empty()).map(str::to_owned);
        Some(match form.get("action")? {
            "restart" => Action::Restart,
            "reboot" => Action::Reboot,
            "poweroff" => Action::PowerOff,
            "drill" => Action::FireDrill,
            "give_address" => Action::GiveAddress,
            "fix" => {
                let wish = form.get("difficulty")?.replace('\u{202f}', "");
                let level = plain_number(&wish).filter(|level| FIXED.contains(level));
                if level.is_none() && !wish.is_empty() {
                    return None;
                }
                Action::Fix(miner()?, level)
            }
            "forget" => {
                let ids = form.all("miner").filter(|id| !id.is_empty());
                Action::Forget(ids.map(str::to_owned).collect())
            }
            "join" => Action::Join(form.get("from")?.to_owned(), miner()?),
            "snooze" => {
                let alarm =
                    alarms.iter().find(|alarm| Some(alarm.id.as_str()) == form.get("alarm"))?;
                Action::Snooze(alarm.clone(), Snooze::from_form(form)?, from)
            }
            "wake" => Action::Wake(form.get("alarm")?.to_owned()),
            "check_update" => Action::CheckUpdate,
            "install_update" => Action::InstallUpdate,
            "kick" => Action::Kick(miner()?),
            "level" => Action::LogLevel(form.get("level")?.parse().ok()?),
            "record" => Action::Record(miner()?),
            _ => return None,
        })
    }

    /// Whether a slip of the finger would hurt: then the button is held, or a box ticked.
    fn is_grave(&self) -> bool {
        matches!(
            self,
            Action::Restart
                | Action::Reboot
                | Action::PowerOff
                | Action::InstallUpdate
                | Action::Forget(_)
        )
    }

    /// For the audit list.
    fn words(&self) -> String {
        match self {
            Action::Restart => "Restart of Soloist asked for.".to_owned(),
            Action::Reboot => "Restart of the box asked for.".to_owned(),
            Action::PowerOff => "Shutdown of the box asked for.".to_owned(),
            Action::FireDrill => "Fire drill asked for.".to_owned(),
            Action::GiveAddress => "The other box is to take the address of the miners.".to_owned(),
            Action::Forget(ids) => match ids.as_slice() {
                [id] => format!("Miner number {id} is to be forgotten."),
                ids => format!("Miners number {} are to be forgotten.", ids.join(", ")),
            },
            Action::Join(from, into) => {
                format!("The history of miner number {from} is to become that of number {into}.")
            }
            Action::Snooze(alarm, time, _) => {
                format!("An alarm is snoozed for {}: {}", time.words(), alarm.text)
            }
            Action::Wake(_) => "A snoozed alarm counts again.".to_owned(),
            Action::CheckUpdate => "The update feed is to be read.".to_owned(),
            Action::InstallUpdate => {
                "The version of the update feed is to be installed.".to_owned()
            }
            Action::Kick(id) => format!("Miner number {id} is to be disconnected."),
            Action::Fix(id, Some(level)) => {
                format!("The difficulty of miner number {id} is to be fixed at {level}.")
            }
            Action::Fix(id, None) => {
                format!("The difficulty of miner number {id} is to be found by itself.")
            }
            Action::LogLevel(level) => format!("Log level {level} until the next start."),
            Action::Record(id) => format!("Miner number {id} is recorded for five minutes."),
        }
    }
}

/// A place for notifications, as the owner may see it.
#[derive(Clone, Debug)]
pub struct SinkEntry {
    /// Until its messages go elsewhere, or until the next start.
    pub id: SinkId,
    /// Its settings, without the secrets.
    pub values: SinkValues,
    /// The machine that takes its messages.
    pub host: String,
    /// Whether they arrive.
    pub view: SinkView,
}

/// What a backup brought.
#[derive(Clone, Debug, Default)]
pub struct RestoreOutcome {
    /// Sentences about what is there now.
    pub sentences: Vec<String>,
    /// The nodes of before: their logins, which a plain backup lacks, have to be written anew.
    pub nodes: Vec<NodeValues>,
}

/// A text that only the owner may read.
pub struct Download {
    /// The file's name.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// A future on the daemon's executor.
pub type Local<T> = Pin<Box<dyn Future<Output = T>>>;

/// What the page can change. The daemon implements it.
pub trait Control {
    /// What is in force. Passwords are `None`.
    fn values(&self) -> Values;

    /// Tests new values: checksum and chain of the address, an answer of each node. Missing
    /// passwords are put in by [`Values::fill_passwords`], here and in [`Control::change`]. Takes seconds at most, and changes nothing.
    fn check(&self, values: Values) -> Local<Checked>;

    /// Changes what is in force: saves it atomically, without dropping a miner, and keeps the audit list.
    /// A new payout address waits first. Sentences where something could not be done.
    fn change(&self, from: IpAddr, change: Change) -> Local<Vec<String>>;

    /// Whether there is something to take back.
    fn can_undo(&self) -> bool;

    /// The stored PIN (see [`access::hash_pin`]); `None` before the set-up, and for a box that is
    /// configured by its file alone: its page then changes nothing.
    fn pin(&self) -> Option<String>;

    /// Stores a PIN.
    ///
    /// # Errors
    /// A sentence.
    fn set_pin(&self, hash: &str) -> Local<Result<(), String>>;

    /// Why [`Control::pin`] is `None`, and what to do about it.
    fn why_closed(&self) -> String {
        NO_PIN.to_owned()
    }

    /// Something was changed from this address. To be kept in the audit list.
    fn audit(&self, from: IpAddr, text: String);

    /// Does it, and tells in sentences what came of it.
    ///
    /// # Errors
    /// A sentence: not possible here.
    fn act(&self, action: Action) -> Local<Result<String, String>>;

    /// Puts a backup in the place of a ledger that has counted nothing, and its settings under those
    /// of the file. Only before the set-up.
    ///
    /// # Errors
    /// A sentence; nothing has changed then.
    fn restore(
        &self,
        _file: Vec<u8>,
        _passphrase: String,
    ) -> Local<Result<RestoreOutcome, String>> {
        Box::pin(async { Err("This box takes no backup.".to_owned()) })
    }

    /// The ledger and the settings as one file; secrets only with a passphrase, which may be empty.
    ///
    /// # Errors
    /// A sentence.
    fn backup(&self, _passphrase: String) -> Local<Result<Vec<u8>, String>> {
        Box::pin(async { Err("This box makes no backup.".to_owned()) })
    }

    /// The places for notifications, in their order.
    fn sinks(&self) -> Vec<SinkEntry> {
        Vec::new()
    }

    /// Tests places that are to be added one after the other, and changes nothing. For each, in a sentence,
    /// who takes its messages.
    ///
    /// # Errors
    /// What is wrong with it, each at its field.
    fn check_sinks(&self, new: Vec<SinkValues>) -> Local<Vec<Result<String, Vec<Remark>>>> {
        let none = |_| Err(vec![Remark::whole("This box sends no notifications.")]);
        Box::pin(async move { new.into_iter().map(none).collect() })
    }

    /// Sends a test message with new settings of this place, or of one more, and changes nothing. Secrets
    /// that are missing are put in by [`SinkValues::fill_secrets`], here and in [`Control::change_sink`]. A
    /// sentence on what became of it.
    ///
    /// # Errors
    /// What is wrong, each at its field.
    fn try_sink(
        &self,
        _id: Option<SinkId>,
        _new: SinkValues,
    ) -> Local<Result<String, Vec<Remark>>> {
        Box::pin(async { Err(vec![Remark::whole("This box sends no notifications.")]) })
    }

    /// Changes this place, adds one (without an id), or removes it (without settings): saved atomically and
    /// in force at once. The place of before is told, from which address that was done.
    ///
    /// # Errors
    /// What is wrong, each at its field; nothing has changed then.
    fn change_sink(
        &self,
        _from: IpAddr,
        _id: Option<SinkId>,
        _new: Option<SinkValues>,
    ) -> Local<Result<(), Vec<Remark>>> {
        Box::pin(async { Err(vec![Remark::whole("This box sends no notifications.")]) })
    }

    /// Sends a test message to a saved place, and tells what became of it.
    ///
    /// # Errors
    /// A sentence.
    fn test_sink(&self, _id: SinkId) -> Local<Result<String, String>> {
        Box::pin(async { Err("This box sends no notifications.".to_owned()) })
    }

    /// The MQTT broker by which Home Assistant is told, without the password.
    fn mqtt(&self) -> MqttValues {
        MqttValues::default()
    }

    /// Connects to the broker with new settings, or with those in force, and changes nothing. A password
    /// that is missing is put in by [`MqttValues::completed`], here and in [`Control::change_mqtt`]. A
    /// sentence on what came of it.
    ///
    /// # Errors
    /// What is wrong, each at its field.
    fn try_mqtt(&self, _new: Option<MqttValues>) -> Local<Result<String, Vec<Remark>>> {
        Box::pin(async { Err(vec![Remark::whole(NO_MQTT)]) })
    }

    /// Changes the broker: saved atomically and in force at once. Without one nobody is told.
    ///
    /// # Errors
    /// What is wrong, each at its field; nothing has changed then.
    fn change_mqtt(&self, _from: IpAddr, _new: MqttValues) -> Local<Result<(), Vec<Remark>>> {
        Box::pin(async { Err(vec![Remark::whole(NO_MQTT)]) })
    }

    /// What the file says of the other box of a pair, without the code.
    fn pair(&self) -> SavedPair {
        SavedPair::default()
    }

    /// Changes the other box. Who it is, and its code, wait as a new payout address does: in one line what the
    /// second box is told. Another address for the miners is saved at once, and in force from the next start
    /// on: `None`. A code that is missing is put in by [`PairValues::completed`].
    ///
    /// # Errors
    /// What is wrong, each at its field; nothing has changed then.
    fn change_pair(
        &self,
        _from: IpAddr,
        _new: PairValues,
    ) -> Local<Result<Option<String>, Vec<Remark>>> {
        Box::pin(async { Err(vec![Remark::whole("This box is always one by itself.")]) })
    }

    /// The miners as devices.
    fn devices(&self) -> DeviceList {
        DeviceList::default()
    }

    /// What would be sent to the device at this address to point it here. Asks the device, changes
    /// nothing.
    ///
    /// # Errors
    /// A sentence: why it cannot be pointed here, and what to type instead.
    fn plan_device(&self, _address: &str, _wish: PointWish) -> Local<Result<DevicePlan, String>> {
        Box::pin(async { Err("This box asks no devices.".to_owned()) })
    }

    /// Does something with the device at this address, and tells what came of it.
    ///
    /// # Errors
    /// A sentence.
    fn tell_device(&self, _address: &str, _step: DeviceStep) -> Local<Result<String, String>> {
        Box::pin(async { Err("This box asks no devices.".to_owned()) })
    }

    /// Searches the own network for devices.
    ///
    /// # Errors
    /// A sentence.
    fn find_devices(&self) -> Local<Result<String, String>> {
        Box::pin(async { Err("This box asks no devices.".to_owned()) })
    }

    /// The last lines of the log, the newest last.
    fn log_tail(&self) -> String {
        String::new()
    }

    /// What was recorded of a miner; `None` when nothing was.
    fn recording(&self, _miner: &str) -> Option<Download> {
        None
    }

    /// Everything that helps to find a fault, without secrets.
    fn support(&self) -> Option<Download> {
        None
    }
}

/// The state of set-up and settings.
pub struct Admin {
    control: Rc<dyn Control>,
    access: RefCell<Access>,
    /// The first values are being saved.
    setting_up: Cell<bool>,
    /// A backup is being read or made: one at a time, for the memory's sake.
    restoring: Cell<bool>,
    /// A test message is on its way, or a broker is tried: each holds a thread.
    testing: Cell<bool>,
    /// A device is asked or told something, or all are searched for.
    device_busy: Cell<bool>,
}

/// What is done once at a time. Ends with the request, however that ends.
struct Busy(Rc<Admin>, fn(&Admin) -> &Cell<bool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.1(&self.0).set(false);
    }
}

/// What became of the first values.
enum FirstValues {
    /// They cannot be taken.
    Wrong(Checked),
    /// They can be taken, in spite of doubts if the owner wants it.
    Good(Checked),
    /// They are in force.
    Saved(Checked),
    /// There are others already.
    TooLate,
}

/// The first values of all.
struct First<'a> {
    values: &'a Values,
    pin: &'a str,
    /// Places for notifications, each with its place in what was sent.
    sinks: Vec<(usize, SinkValues)>,
}

/// A remark about one of several places for notifications.
fn at_place(place: usize, remark: Remark) -> Remark {
    let field = match remark.field.as_str() {
        "" => format!("notify{place}"),
        field => format!("notify{place}.{field}"),
    };
    Remark { field, ..remark }
}

/// What became of a try of the PIN.
enum PinTry {
    /// There is none.
    None,
    /// There were too many tries: none counts for so long.
    Locked(Duration),
    Wrong,
    Right,
}

/// `POST /api/join`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct JoinWish {
    pin: String,
    from: String,
    into: String,
}

/// `POST /api/setup`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstWish {
    #[serde(default)]
    name: String,
    payout: String,
    #[serde(default)]
    tag: Option<String>,
    nodes: Vec<NodeValues>,
    #[serde(default)]
    notify: Vec<SinkWish>,
    pin: String,
    #[serde(default)]
    save: bool,
    /// In spite of doubts: what the second press is on the page.
    #[serde(default)]
    anyway: bool,
}

impl FirstWish {
    fn values(&self) -> Values {
        let nodes = self.nodes.iter().take(NODES_MAX).map(|node| NodeValues {
            url: node.url.trim().to_owned(),
            user: node.user.trim().to_owned(),
            password: node.password.clone().filter(|password| !password.is_empty()),
            certificate: node.certificate.trim().to_owned(),
            zmq: node.zmq.trim().to_owned(),
            p2p: node.p2p.trim().to_owned(),
        });
        let name = if self.name.trim().is_empty() { "Soloist" } else { self.name.trim() };
        Values {
            name: name.to_owned(),
            payout: self.payout.split_whitespace().collect(),
            tag: self.tag.as_deref().unwrap_or("Soloist").trim().trim_matches('/').to_owned(),
            nodes: nodes.collect(),
        }
    }
}

/// Longest time for a form to arrive.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for the nodes to answer the test.
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest time for a backup to arrive.
const BACKUP_TIMEOUT: Duration = Duration::from_secs(30);
/// The most of a refused form that is read and thrown away, bytes.
const DISCARD_MAX: usize = 16 * 1024 * 1024;
/// What a difficulty can be fixed at: the floor of vardiff, and more than any network has.
const FIXED: std::ops::RangeInclusive<f64> = 0.0001..=1e15;
const COOKIE: &str = "soloist";

/// Why a page without PIN changes nothing, and the remedy.
pub const NO_PIN: &str = "This box is configured by its file, soloist.toml, and has no PIN. Write \
                          pin = \"…\" below [http] and reload the service.";

const NO_MQTT: &str = "This box speaks no MQTT.";

/// Whether a path is for the owner, or for whoever sets the box up.
pub fn shows(path: &str) -> bool {
    matches!(path, "/settings" | "/setup" | "/devices" | "/log" | "/support.txt" | "/api/setup")
        || path.starts_with("/recordings/")
        || path.starts_with("/join/")
}

impl Admin {
    /// Nobody is logged in.
    pub fn new(control: Rc<dyn Control>) -> Rc<Admin> {
        Rc::new(Admin {
            control,
            access: RefCell::new(Access::new()),
            setting_up: Cell::new(false),
            restoring: Cell::new(false),
            testing: Cell::new(false),
            device_busy: Cell::new(false),
        })
    }

    /// The longest body that a POST to this path may have; `None` where there is no form.
    pub fn takes(&self, path: &str) -> Option<u64> {
        match path {
            "/restore" | "/api/restore" if self.open_for_set_up() => Some(BACKUP_BODY_MAX),
            "/setup" | "/login" | "/logout" | "/settings" | "/pin" | "/action" | "/join"
            | "/devices" | "/api/setup" | "/api/join" | "/backup" | "/notify" | "/mqtt"
            | "/pair" | "/restore" | "/api/restore" => Some(BODY_MAX),
            _ => None,
        }
    }

    /// `GET /settings`.
    pub fn show(&self, http: &Http, request: &Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        if path == "/api/setup" {
            return route::json_answer(format!("{{\"open\":{}}}", self.open_for_set_up()));
        }
        match self.session(request) {
            Some(form) if path.starts_with("/join/") => {
                self.join_page(http, &form, &path["/join/".len()..], None)
            }
            Some(form) if path == "/devices" => self.devices_page(http, &form),
            Some(_) if !matches!(path, "/settings" | "/setup") => self.download(path),
            _ if self.open_for_set_up() => {
                let mut values = self.control.values();
                if values.name.is_empty() {
                    values.name.clone_from(&http.rendered().snapshot.name);
                }
                let typed = Typed { values: &values, pin: "", again: "" };
                self.page(http, Page::SetUp(typed, &Checked::default(), &[]))
            }
            Some(form) => self.settings_page(http, &form, Vec::new(), &[]),
            None if self.control.pin().is_some() => self.page(http, Page::Login("", None)),
            None => self.page(http, Page::FileOnly(&self.control.why_closed())),
        }
    }

    /// What a session may read besides the settings.
    fn download(&self, path: &str) -> Response<Body> {
        let download = match path {
            "/log" => Some(Download { name: String::new(), text: self.control.log_tail() }),
            "/support.txt" => self.control.support(),
            _ => path.strip_prefix("/recordings/").and_then(|id| self.control.recording(id)),
        };
        match download {
            Some(download) => route::attachment(&download.name, download.text),
            None => route::plain(StatusCode::NOT_FOUND, "There is nothing here.\n"),
        }
    }

    /// A POST that passed the checks of its head.
    pub async fn post(
        self: Rc<Self>,
        http: &Http,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Response<Body> {
        let path = request.uri().path().to_owned();
        if path == "/api/setup" {
            return self.set_up_by_json(http, request, peer).await;
        }
        if path == "/api/join" {
            return self.join_by_json(http, request, peer).await;
        }
        if path == "/restore" || path == "/api/restore" {
            return self.restore(http, request, peer).await;
        }
        let cookie = cookie(&request);
        let session = self.session(&request);
        let Some(form) = read_form(request).await else {
            return route::plain(StatusCode::BAD_REQUEST, "This form did not arrive whole.\n");
        };
        match path.as_str() {
            "/setup" if self.open_for_set_up() => return self.set_up(http, &form, peer).await,
            "/login" => return self.login(http, &form, peer).await,
            _ => {}
        }
        let Some(token) = session else {
            return route::see("/settings");
        };
        let theirs = form.get("token").and_then(access::token_from_hex);
        if !theirs.is_some_and(|theirs| access::same(&theirs, &token)) {
            return route::plain(
                StatusCode::FORBIDDEN,
                "This form is out of date: reload the page.\n",
            );
        }
        match path.as_str() {
            "/logout" => {
                if let Some(cookie) = cookie {
                    self.access.borrow_mut().close(&cookie);
                }
                route::see("/")
            }
            "/pin" => self.change_pin(http, &form, &token, peer).await,
            "/action" => self.act(http, &form, &token, peer).await,
            // Asks once more, with both names.
            "/join" => {
                let miner = form.get("miner").unwrap_or_default();
                self.join_page(http, &token, miner, form.get("other"))
            }
            "/backup" => self.backup(http, &form, &token, peer).await,
            "/notify" => self.notify(http, &form, &token, peer).await,
            "/mqtt" => self.mqtt(http, &form, &token, peer).await,
            "/pair" => self.pair(http, &form, &token, peer).await,
            "/devices" => self.device(http, &form, &token, peer).await,
            "/settings" => self.change(http, &form, &token, peer).await,
            _ => route::see("/settings"),
        }
    }

    async fn set_up(self: &Rc<Self>, http: &Http, form: &Form, peer: IpAddr) -> Response<Body> {
        let values = form.values().without_removed(&self.control.values().nodes);
        let [pin, again] = ["pin", "pin2"].map(|name| form.get(name).unwrap_or_default());
        let typed = Typed { values: &values, pin, again };
        let step = form.get("step");
        if step == Some("edit") {
            return self.page(http, Page::SetUp(typed, &Checked::default(), &[]));
        }
        let mut problems = Vec::new();
        if pin != again {
            problems.push(Remark::at("pin2", "The two PINs differ."));
        }
        let (save, anyway) = (step == Some("save"), form.wants_it_anyway());
        let first = First { values: &values, pin, sinks: Vec::new() };
        match self.first_values(http, first, problems, (save, anyway), peer).await {
            FirstValues::Wrong(checked) => self.page(http, Page::SetUp(typed, &checked, &[])),
            FirstValues::Good(checked) => self.page(http, Page::ConfirmSetUp(typed, &checked)),
            // The last step: the miners that are in the house already.
            FirstValues::Saved(_) => self.enter("/devices"),
            FirstValues::TooLate => route::see("/settings"),
        }
    }

    /// An old card's backup, by a form with the file in the field `backup`; the page answers with
    /// the set-up, as far as it is filled in now, and `/api/restore` in JSON.
    async fn restore(
        self: &Rc<Self>,
        http: &Http,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Response<Body> {
        let by_program = request.uri().path() == "/api/restore";
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let kind = kind.unwrap_or_default().to_owned();
        let (code, outcome) = if !self.open_for_set_up() {
            (StatusCode::CONFLICT, Err("This box is set up already.".to_owned()))
        } else if self.restoring.replace(true) {
            (StatusCode::SERVICE_UNAVAILABLE, Err("Another backup is being read.".to_owned()))
        } else {
            let _busy = Busy(self.clone(), |admin| &admin.restoring);
            let wanted = "multipart/form-data";
            let body = read_bounded(request, wanted, BACKUP_BODY_MAX, BACKUP_TIMEOUT).await;
            let fields = body.as_ref().and_then(|body| multipart::fields(&kind, body));
            let field = |name: &str| {
                fields.iter().flatten().find(|(known, _)| known == name).map(|(_, bytes)| *bytes)
            };
            let passphrase = String::from_utf8_lossy(field("passphrase").unwrap_or_default());
            match field("backup") {
                None => {
                    let why = "This form did not arrive whole.".to_owned();
                    (StatusCode::BAD_REQUEST, Err(why))
                }
                Some(file) => {
                    let passphrase = passphrase.trim().to_owned();
                    match self.control.restore(file.to_vec(), passphrase).await {
                        Ok(brought) => (StatusCode::OK, Ok(brought)),
                        Err(why) => (StatusCode::UNPROCESSABLE_ENTITY, Err(why)),
                    }
                }
            }
        };
        if let Ok(brought) = &outcome {
            self.control.audit(peer, brought.sentences.join(" "));
        }
        http.forget_rendered();
        let mut answer = match outcome {
            outcome if by_program => {
                let (done, problems) = match outcome {
                    Ok(brought) => (brought.sentences, Vec::new()),
                    Err(why) => (Vec::new(), vec![why]),
                };
                let body = serde_json::json!({ "done": done, "problems": problems });
                route::json_answer(body.to_string())
            }
            Ok(_) if !self.open_for_set_up() => return route::see("/settings"),
            Ok(brought) => {
                let mut values = self.control.values();
                if values.nodes.is_empty() {
                    values.nodes = brought.nodes;
                }
                let typed = Typed { values: &values, pin: "", again: "" };
                self.page(http, Page::SetUp(typed, &Checked::default(), &brought.sentences))
            }
            Err(_) if code == StatusCode::CONFLICT => return route::see("/settings"),
            Err(why) => {
                let values = self.control.values();
                let typed = Typed { values: &values, pin: "", again: "" };
                let problems = vec![Remark::at("backup", why)];
                let checked = Checked { problems, ..Checked::default() };
                self.page(http, Page::SetUp(typed, &checked, &[]))
            }
        };
        *answer.status_mut() = code;
        answer
    }

    /// The set-up for programs: the same as the form, in JSON. Tests without saving unless `save`
    /// is true, and saves in spite of doubts only if `anyway` is true as well. A browser cannot be made to send this by another site: JSON is asked about first
    /// (CORS), and `Origin` is compared as everywhere.
    async fn set_up_by_json(
        self: &Rc<Self>,
        http: &Http,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Response<Body> {
        let Some(body) = read_body(request, "application/json").await else {
            return route::plain(StatusCode::BAD_REQUEST, "JSON of at most 16 kB, please.\n");
        };
        let wish: FirstWish = match serde_json::from_slice(&body) {
            Ok(wish) => wish,
            // serde's words name a field or a place, and could quote what was sent.
            Err(error) => {
                let words = format!("This is not what is asked for (line {}).\n", error.line());
                return route::plain(StatusCode::BAD_REQUEST, &words);
            }
        };
        let values = wish.values().without_removed(&[]);
        let steps = (wish.save, wish.anyway);
        let (mut sinks, mut problems) = (Vec::new(), Vec::new());
        for (place, sink) in wish.notify.iter().enumerate() {
            match SinkValues::of_wish(sink) {
                Ok(sink) => sinks.push((place, sink)),
                Err(remark) => problems.push(at_place(place, remark)),
            }
        }
        let first = First { values: &values, pin: &wish.pin, sinks };
        let outcome = self.first_values(http, first, problems, steps, peer).await;
        let (code, saved, checked) = match outcome {
            FirstValues::Wrong(checked) => (StatusCode::UNPROCESSABLE_ENTITY, false, checked),
            FirstValues::Good(checked) => (StatusCode::OK, false, checked),
            FirstValues::Saved(checked) => (StatusCode::OK, true, checked),
            FirstValues::TooLate => {
                let problems = vec![Remark::whole("This box is set up already.")];
                (StatusCode::CONFLICT, false, Checked { problems, ..Checked::default() })
            }
        };
        let all = || checked.problems.iter().chain(&checked.doubts);
        let body = serde_json::json!({
            "saved": saved,
            "findings": checked.findings,
            "problems": all().map(|remark| remark.text.as_str()).collect::<Vec<_>>(),
            // The field of each problem, in the same order.
            "fields": all().map(|remark| remark.field.as_str()).collect::<Vec<_>>(),
            // Whether `anyway` would save it.
            "can_be_saved_anyway": checked.problems.is_empty() && !checked.doubts.is_empty(),
        });
        let mut answer = route::json_answer(body.to_string());
        *answer.status_mut() = code;
        answer
    }

    /// Tests the first values of all, and puts them into force if they are good and wanted, or wanted
    /// in spite of doubts. `problems` are known already; `steps`: to be saved, and in spite of doubts.
    async fn first_values(
        self: &Rc<Self>,
        http: &Http,
        First { values, pin, sinks }: First<'_>,
        mut problems: Vec<Remark>,
        (save, anyway): (bool, bool),
        peer: IpAddr,
    ) -> FirstValues {
        if !self.open_for_set_up() {
            return FirstValues::TooLate;
        }
        if let Err(bad) = access::check_pin(pin) {
            problems.push(Remark::at("pin", bad.to_string()));
        }
        let mut checked = self.check(values).await;
        problems.append(&mut checked.problems);
        checked.problems = problems;
        let tried = self.control.check_sinks(sinks.iter().map(|(_, sink)| sink.clone()).collect());
        for ((place, _), outcome) in sinks.iter().zip(tried.await) {
            match outcome {
                Ok(told) => checked.findings.push(told),
                Err(remarks) => {
                    checked.problems.extend(remarks.into_iter().map(|r| at_place(*place, r)));
                }
            }
        }
        if !checked.may_pass(anyway) {
            return FirstValues::Wrong(checked);
        }
        if !save {
            return FirstValues::Good(checked);
        }
        let Some(hash) = new_hash(pin.to_owned()).await else {
            checked.problems.push(Remark::whole("The system gives no random numbers."));
            return FirstValues::Wrong(checked);
        };
        // Somebody else may have been faster while the nodes answered, or is at it now.
        if !self.open_for_set_up() || self.setting_up.replace(true) {
            return FirstValues::TooLate;
        }
        // The PIN goes first: what can be paid must never be without one.
        let problems = match self.control.set_pin(&hash).await {
            Err(problem) => vec![problem],
            Ok(()) => {
                self.control.audit(peer, "Set up.".to_owned());
                self.control.change(peer, Change::Save(values.clone())).await
            }
        };
        if !problems.is_empty() {
            self.setting_up.set(false);
            http.forget_rendered();
            checked.problems = problems.into_iter().map(Remark::whole).collect();
            return FirstValues::Wrong(checked);
        }
        for (place, sink) in sinks {
            let kind = sink.service().map_or("", |service| service.words);
            match self.control.change_sink(peer, None, Some(sink)).await {
                Ok(()) => {
                    self.control.audit(peer, format!("A place for messages: {kind} is added."));
                }
                // The card, by now. What is paid is set up all the same.
                Err(remarks) => {
                    checked.problems.extend(remarks.into_iter().map(|r| at_place(place, r)));
                }
            }
        }
        self.setting_up.set(false);
        http.forget_rendered();
        FirstValues::Saved(checked)
    }

    async fn login(&self, http: &Http, form: &Form, peer: IpAddr) -> Response<Body> {
        let pin = form.get("pin").unwrap_or_default().to_owned();
        match self.try_pin(pin, peer).await {
            PinTry::None => route::see("/settings"),
            PinTry::Locked(wait) => locked(self.page(http, Page::Login("", Some(wait))), wait),
            PinTry::Wrong => {
                let mut answer = self.page(http, Page::Login("This is not the PIN.", None));
                *answer.status_mut() = StatusCode::FORBIDDEN;
                answer
            }
            PinTry::Right => self.enter("/settings"),
        }
    }

    async fn try_pin(&self, pin: String, peer: IpAddr) -> PinTry {
        let Some(stored) = self.control.pin() else { return PinTry::None };
        let tried = self.access.borrow_mut().may_try(Instant::now(), peer);
        if let Try::Locked { wait, is_news } = tried {
            if is_news {
                self.control
                    .audit(peer, "The PIN is locked for a minute: too many tries.".to_owned());
            }
            return PinTry::Locked(wait);
        }
        if blocking::unblock(move || access::pin_fits(&pin, &stored)).await {
            return PinTry::Right;
        }
        // One line for all tries of a minute: the list holds other news as well.
        if tried == Try::First {
            self.control.audit(peer, "A wrong PIN was tried.".to_owned());
        }
        PinTry::Wrong
    }

    /// Joins two miners for a program, which sends the PIN along. No other site can make a browser send
    /// this, see [`Admin::set_up_by_json`].
    async fn join_by_json(
        &self,
        http: &Http,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Response<Body> {
        let body = read_body(request, "application/json").await;
        let wish = body.and_then(|body| serde_json::from_slice::<JoinWish>(&body).ok());
        let Some(JoinWish { pin, from, into }) = wish else {
            let words = "JSON with pin, from and into, please: the ids are those of /api/miners.\n";
            return route::plain(StatusCode::BAD_REQUEST, words);
        };
        let (code, outcome) = match self.try_pin(pin, peer).await {
            PinTry::Locked(wait) => {
                let words = "Too many tries: the PIN is locked for a minute.\n";
                return locked(route::plain(StatusCode::TOO_MANY_REQUESTS, words), wait);
            }
            PinTry::None => (StatusCode::FORBIDDEN, Err(self.control.why_closed())),
            PinTry::Wrong => (StatusCode::FORBIDDEN, Err("This is not the PIN.".to_owned())),
            PinTry::Right => {
                let action = Action::Join(from, into);
                self.control.audit(peer, action.words());
                match self.control.act(action).await {
                    Ok(done) => (StatusCode::OK, Ok(done)),
                    Err(why) => (StatusCode::UNPROCESSABLE_ENTITY, Err(why)),
                }
            }
        };
        http.forget_rendered();
        let (done, problems) = match outcome {
            Ok(done) => (vec![done], Vec::new()),
            Err(why) => (Vec::new(), vec![why]),
        };
        let body = serde_json::json!({ "done": done, "problems": problems });
        let mut answer = route::json_answer(body.to_string());
        *answer.status_mut() = code;
        answer
    }

    /// Which other miner the one with this id is, and then whether that is meant.
    fn join_page(
        &self,
        http: &Http,
        token: &Token,
        id: &str,
        other: Option<&str>,
    ) -> Response<Body> {
        let rendered = http.rendered();
        let miners = &rendered.snapshot.miners;
        let find = |id: &str| miners.iter().find(|miner| miner.id == id);
        match (find(id), other.and_then(find)) {
            (Some(miner), other) => self.page(http, Page::Join(token, miner, other)),
            (None, _) => route::see("/settings"),
        }
    }

    async fn change(
        self: &Rc<Self>,
        http: &Http,
        form: &Form,
        token: &Token,
        peer: IpAddr,
    ) -> Response<Body> {
        let problems = match form.get("step") {
            Some("cancel") => self.control.change(peer, Change::Cancel).await,
            Some("undo") => self.control.change(peer, Change::Undo).await,
            step => {
                let in_force = self.control.values();
                let values = form.values().without_removed(&in_force.nodes);
                if step == Some("edit") {
                    return self.settings_with(http, token, &values, &Checked::default(), &[]);
                }
                let checked = self.check(&values).await;
                if !checked.may_pass(form.wants_it_anyway()) {
                    return self.settings_with(http, token, &values, &checked, &[]);
                }
                if step != Some("save") {
                    let changes = settings::diff(&in_force, &values);
                    return self.page(http, Page::Confirm(token, &values, &changes, &checked));
                }
                self.control.change(peer, Change::Save(values)).await
            }
        };
        http.forget_rendered();
        if problems.is_empty() {
            return route::see("/settings");
        }
        let problems = problems.into_iter().map(Remark::whole).collect();
        self.settings_page(http, token, problems, &[])
    }

    async fn change_pin(
        &self,
        http: &Http,
        form: &Form,
        token: &Token,
        peer: IpAddr,
    ) -> Response<Body> {
        let pin = form.get("pin").unwrap_or_default().to_owned();
        if let Err(bad) = access::check_pin(&pin) {
            let problem = Remark::at("pin", bad.to_string());
            return self.settings_page(http, token, vec![problem], &[]);
        }
        if form.get("pin2") != Some(&pin) {
            let problem = Remark::at("pin2", "The two PINs differ.");
            return self.settings_page(http, token, vec![problem], &[]);
        }
        let Some(hash) = new_hash(pin).await else {
            return out_of_luck();
        };
        if let Err(problem) = self.control.set_pin(&hash).await {
            return self.settings_page(http, token, vec![Remark::whole(problem)], &[]);
        }
        self.control.audit(peer, "The PIN is changed.".to_owned());
        self.access.borrow_mut().close_all();
        route::see("/settings")
    }

    async fn backup(
        self: &Rc<Self>,
        http: &Http,
        form: &Form,
        token: &Token,
        peer: IpAddr,
    ) -> Response<Body> {
        let made = if self.restoring.replace(true) {
            Err("Another backup is being made: try again in a few seconds.".to_owned())
        } else {
            let _busy = Busy(self.clone(), |admin| &admin.restoring);
            let passphrase = form.get("passphrase").unwrap_or_default().to_owned();
            self.control.backup(passphrase).await
        };
        match made {
            Ok(file) => {
                self.control.audit(peer, "A backup was downloaded.".to_owned());
                let day = format::iso(http.rendered().snapshot.now);
                route::file(&format!("soloist-{}.backup", &day[..10]), file)
            }
            Err(why) => {
                let problem = Remark::at("passphrase", why);
                self.settings_page(http, token, vec![problem], &[])
            }
        }
    }

    /// The places for notifications: `step` says what is to become of the one that `sink` names, or of a
    /// new one where that is empty.
    async fn notify(
        self: &Rc<Self>,
        http: &Http,
        form: &Form,
        token: &Token,
        peer: IpAddr,
    ) -> Response<Body> {
        let named = form.get("sink").filter(|id| !id.is_empty());
        let sinks = self.control.sinks();
        let known = named.map(|named| sinks.iter().find(|sink| sink.id.0.to_string() == named));
        let known = match known {
            Some(None) => {
                let words = "This place has changed meanwhile, or is gone: look at the list.";
                return self.settings_page(http, token, vec![Remark::whole(words)], &[]);
            }
            Some(Some(known)) => Some(known),
            None => None,
        };
        let id = known.map(|known| known.id);
        let step = form.get("step").unwrap_or_default();
        let typed = match (step, known) {
            ("edit", Some(known)) => Some(known.values.clone()),
            ("new", None) => form.get("kind").and_then(Service::of).map(SinkValues::blank),
            _ => form.sink(),
        };
        let show = |values: &SinkValues, problems: Vec<Remark>, done: &[String]| {
            let checked = Checked { problems, ..Checked::default() };
            self.page(http, Page::Sink { token, known, values, checked: &checked, done })
        };
        let failed = |why| self.settings_page(http, token, vec![Remark::whole(why)], &[]);
        match (step, typed) {
            ("test", _) => {
                let Some(id) = id else { return route::see("/settings") };
                self.control.audit(peer, "A test message was sent.".to_owned());
                let outcome = self.control.test_sink(id).await;
                http.forget_rendered();
                match outcome {
                    Ok(done) => self.settings_page(http, token, Vec::new(), &[done]),
                    Err(why) => failed(why),
                }
            }
            ("remove", _) => {
                let Some(known) = known else { return route::see("/settings") };
                if form.get("sure") != Some("yes") {
                    let problem = Remark::whole("Tick the box beside the button first.");
                    return show(&known.values, vec![problem], &[]);
                }
                match self.control.change_sink(peer, Some(known.id), None).await {
                    Ok(()) => {
                        let words =
                            format!("{} is removed: no more messages go there.", known.view.kind);
                        self.control.audit(peer, format!("A place for messages: {words}"));
                        http.forget_rendered();
                        self.settings_page(http, token, Vec::new(), &[words])
                    }
                    Err(problems) => show(&known.values, problems, &[]),
                }
            }
            (_, None) => route::see("/settings"),
            ("edit" | "new", Some(values)) => show(&values, Vec::new(), &[]),
            ("try", Some(values)) => {
                if self.testing.replace(true) {
                    let words = "Another test message is on its way: try again in a few seconds.";
                    return show(&values, vec![Remark::whole(words)], &[]);
                }
                let _busy = Busy(self.clone(), |admin| &admin.testing);
                self.control.audit(peer, "A test message was sent.".to_owned());
                match self.control.try_sink(id, values.clone()).await {
                    Ok(done) => show(&values, Vec::new(), &[done]),
                    Err(problems) => show(&values, problems, &[]),
                }
            }
            (_, Some(values)) => {
                match self.control.change_sink(peer, id, Some(values.clone())).await {
                    Ok(()) => {
                        let kind = values.service().map_or("", |service| service.words);
                        let what = if id.is_some() { "changed" } else { "added" };
                        let words = format!("{kind} is {what}.");
                        self.control.audit(peer, format!("A place for messages: {words}"));
                        http.forget_rendered();
                        self.settings_page(http, token, Vec::new(), &[words])
                    }
                    Err(problems) => show(&values, problems, &[]),
                }
            }
        }
    }

    async fn act(&self, http: &Http, form: &Form, token: &Token, peer: IpAddr) -> Response<Body> {
        let now = http.rendered();
        let Some(action) = Action::from_form(form, &now.verdict.alarms, peer) else {
            if form.get("action") != Some("fix") {
                return route::see("/settings");
            }
            let words = "This is no difficulty: write a plain number, such as 5000.";
            let problem = Remark::at("difficulty", words);
            return self.settings_page(http, token, vec![problem], &[]);
        };
        if action.is_grave() && form.get("sure") != Some("yes") {
            let problem = Remark::whole("Tick the box beside the button first.");
            return self.settings_page(http, token, vec![problem], &[]);
        }
        let refused = match &action {
            Action::Forget(ids) if ids.is_empty() => Some("Tick the miners first."),
            Action::Snooze(alarm, ..) if !alarm.may_be_snoozed() => {
                Some("This alarm cannot be snoozed: a block, or who is paid for it, is at stake.")
            }
            _ => None,
        };
        if let Some(why) = refused {
            return self.settings_page(http, token, vec![Remark::whole(why)], &[]);
        }
        self.control.audit(peer, action.words());
        let outcome = self.control.act(action).await;
        http.forget_rendered();
        match outcome {
            Ok(done) => self.settings_page(http, token, Vec::new(), &[done]),
            Err(problem) => self.settings_page(http, token, vec![Remark::whole(problem)], &[]),
        }
    }

    async fn check(&self, values: &Values) -> Checked {
        let checked = within(CHECK_TIMEOUT, self.control.check(values.clone())).await;
        checked.unwrap_or_else(|| {
            let problems = vec![Remark::whole("The nodes did not answer within 20 s.")];
            Checked { problems, ..Checked::default() }
        })
    }

    fn open_for_set_up(&self) -> bool {
        let values = self.control.values();
        self.control.pin().is_none() && (values.payout.is_empty() || values.nodes.is_empty())
    }

    fn session(&self, request: &Request<Incoming>) -> Option<Token> {
        let cookie = cookie(request)?;
        self.access.borrow_mut().session(Instant::now(), &cookie)
    }

    /// Whether the owner asks. An open page does not prolong the session by that.
    pub fn is_owners(&self, request: &Request<Incoming>) -> bool {
        let is_open = |cookie| self.access.borrow().is_open(Instant::now(), &cookie);
        cookie(request).is_some_and(is_open)
    }

    /// Opens a session and leads on.
    fn enter(&self, to: &'static str) -> Response<Body> {
        let (Some(cookie), Some(form)) = (random(), random()) else {
            return out_of_luck();
        };
        self.access.borrow_mut().open(Instant::now(), cookie, form);
        let mut answer = route::see(to);
        let cookie =
            format!("{COOKIE}={}; HttpOnly; SameSite=Strict; Path=/", access::token_hex(&cookie));
        if let Ok(cookie) = cookie.parse() {
            answer.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        answer
    }

    fn settings_page(
        &self,
        http: &Http,
        token: &Token,
        problems: Vec<Remark>,
        done: &[String],
    ) -> Response<Body> {
        let checked = Checked { problems, ..Checked::default() };
        self.settings_with(http, token, &self.control.values(), &checked, done)
    }

    /// With values that need not be those in force.
    fn settings_with(
        &self,
        http: &Http,
        token: &Token,
        values: &Values,
        checked: &Checked,
        done: &[String],
    ) -> Response<Body> {
        let (sinks, mqtt) = (self.control.sinks(), self.control.mqtt());
        let (pair, undo) = (self.control.pair(), self.control.can_undo());
        let (sinks, mqtt, pair) = (&sinks, &mqtt, &pair);
        self.page(http, Page::Settings { token, values, checked, done, sinks, mqtt, pair, undo })
    }

    fn page(&self, http: &Http, page: Page<'_>) -> Response<Body> {
        let rendered = http.rendered();
        route::html_answer(forms::render(&rendered.snapshot, &rendered.verdict, page))
    }
}

/// No PIN is tried for so long.
fn locked(mut answer: Response<Body>, wait: Duration) -> Response<Body> {
    *answer.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    if let Ok(seconds) = wait.as_secs().max(1).to_string().parse() {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    answer
}

fn out_of_luck() -> Response<Body> {
    route::plain(StatusCode::INTERNAL_SERVER_ERROR, "The system gives no random numbers.\n")
}

async fn new_hash(pin: String) -> Option<String> {
    let salt = random()?;
    Some(blocking::unblock(move || access::hash_pin(&pin, &salt)).await)
}

fn random() -> Option<Token> {
    let mut token = Token::default();
    match getrandom::fill(&mut token) {
        Ok(()) => Some(token),
        Err(error) => {
            log::error!("settings: no random numbers: {error}");
            None
        }
    }
}

fn cookie(request: &Request<Incoming>) -> Option<Token> {
    let cookies = request.headers().get_all(header::COOKIE).iter();
    cookies
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|c| access::token_from_hex(c.trim().strip_prefix(COOKIE)?.strip_prefix('=')?))
}

/// Reads what nobody wants, within limits of size and time.
pub async fn discard(body: Incoming) {
    let mut body = Limited::new(body, DISCARD_MAX);
    within(FORM_TIMEOUT, async { while let Some(Ok(_)) = body.frame().await {} }).await;
}

async fn read_form(request: Request<Incoming>) -> Option<Form> {
    let body = read_body(request, "application/x-www-form-urlencoded").await?;
    Some(Form::parse(std::str::from_utf8(&body).ok()?))
}

async fn read_body(request: Request<Incoming>, wanted: &str) -> Option<Bytes> {
    read_bounded(request, wanted, BODY_MAX, FORM_TIMEOUT).await
}

async fn read_bounded(
    request: Request<Incoming>,
    wanted: &str,
    limit: u64,
    patience: Duration,
) -> Option<Bytes> {
    let kind = request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    if !kind.starts_with(wanted) {
        return None;
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let body = Limited::new(request.into_body(), limit).collect();
    Some(within(patience, body).await?.ok()?.to_bytes())
}

/// Fields of a form, in their order.
struct Form(Vec<(String, String)>);

impl Form {
    fn parse(text: &str) -> Form {
        let pairs = form_urlencoded::parse(text.as_bytes());
        Form(pairs.map(|(name, value)| (name.into_owned(), value.trim().to_owned())).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The second, deliberate press: in spite of the doubts that were shown.
    fn wants_it_anyway(&self) -> bool {
        self.get("step") == Some("anyway") || self.get("anyway") == Some("yes")
    }

    /// A place for notifications; `None` for a service that nobody knows.
    fn sink(&self) -> Option<SinkValues> {
        let service = Service::of(self.get("kind")?)?;
        let mut values = SinkValues::blank(service);
        for field in service.fields {
            let typed = self.get(&forms::sinks::input_name(field.name));
            values.set(field.name, typed.unwrap_or_default());
        }
        let is_told = |topic: &str| self.all("topic").any(|told| told == topic);
        values.silent =
            TOPICS.map(|(topic, _)| topic).into_iter().filter(|t| !is_told(t)).collect();
        Some(values)
    }

    /// With the nodes of which nothing is written, so that the places are those of the form.
    fn values(&self) -> Values {
        let field = |name: String| self.get(&name).unwrap_or_default().to_owned();
        let nodes = (0..NODES_MAX).map(|i| NodeValues {
            url: field(format!("url{i}")),
            user: field(format!("user{i}")),
            password: self
                .get(&format!("password{i}"))
                .filter(|p| !p.is_empty())
                .map(str::to_owned),
            certificate: field(format!("cert{i}")),
            zmq: field(format!("zmq{i}")),
            p2p: field(format!("p2p{i}")),
        });
        Values {
            name: field("name".to_owned()),
            // People paste addresses in blocks of four, as the page shows them.
            payout: field("payout".to_owned()).split_whitespace().collect(),
            tag: self.get("tag").unwrap_or("Soloist").trim_matches('/').to_owned(),
            nodes: nodes.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read() {
        let form = Form::parse(
            "name=my+box%21&payout=bc1q+ar0s%20rrr7&url0=http%3A%2F%2Fa%3A8332&user0=u&password0=\
             &url1=&user1=ghost&url2=https://b&password2=p%26q&cert2=/b.pem&zmq2=tcp://b:1\
             &p2p2=b:8334&x",
        );
        let known =
            NodeValues { url: "http://gone".into(), user: "ghost".into(), ..Default::default() };
        let values = form.values().without_removed(&[known]);
        assert_eq!(values.name, "my box!");
        assert_eq!(values.payout, "bc1qar0srrr7");
        assert_eq!(values.nodes.len(), 2);
        let typed = form.values().without_removed(&[]);
        assert_eq!(typed.nodes[1].user, "ghost", "nobody removed it: it was typed");
        assert_eq!(values.nodes[0].url, "http://a:8332");
        assert_eq!(values.nodes[0].password, None);
        assert_eq!(values.nodes[1].password.as_deref(), Some("p&q"));
        assert_eq!(
            (values.nodes[0].certificate.as_str(), values.nodes[1].certificate.as_str()),
            ("", "/b.pem")
        );
        let ways = |place: usize| {
            let node: &NodeValues = &values.nodes[place];
            (node.zmq.as_str(), node.p2p.as_str())
        };
        assert_eq!((ways(0), ways(1)), (("", ""), ("tcp://b:1", "b:8334")));
    }
}
