//! How a device is pointed at this box and back: what is sent, what stands there before and after, and what
//! cannot be brought back. Nothing is sent here.
//!
//! | | Settings | Ours | A password |
//! |---|---|---|---|
//! | AxeOS from 2.15 | a list of eight places, and which of them are the first and the second | gets a place of its own, the old one stays and becomes the second | stays with its place |
//! | AxeOS before | one pool and a second, each in settings of its own | replaces the first | stays, whoever the pool is |
//! | NerdQAxe | the same, by other names and types | replaces the first | stays |
//! | the others | | by hand | |
//!
//! By ESP-Miner's `main/http_server/http_server.c` and `main/nvs_config.c`, and ESP-Miner-NerdQAxePlus's
//! `main/http_server/handler_system.cpp` and `main/stratum/stratum_manager.cpp`. Each takes keys that it does
//! not know with status 200, so that only another look at its settings tells whether they were taken.

mod list;
mod pair;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fields::Fields;
use super::{Family, Telemetry, Unreadable, axeos, mac, nerdqaxe};
use crate::listed::listed;

/// Bytes that are sent at once: AxeOS takes no more.
pub const BODY_MAX: usize = 10_239;

/// Where a device is to mine.
#[derive(Clone, PartialEq, Eq)]
pub struct Wish {
    /// This box, as the device reaches it: a name or an address.
    pub host: String,
    /// The port there: that of V2 if there is a key.
    pub port: u16,
    /// The user that the device is to send.
    pub user: String,
    /// The password that it is to send; `None` leaves the one that it has.
    pub password: Option<String>,
    /// For Stratum V2: the key by which the device knows this box.
    pub v2_key: Option<String>,
    /// Where it is to mine while this box is away; `None` leaves that to what it has.
    pub fallback: Option<PoolWish>,
}

/// Another pool, by Stratum V1 without encryption.
#[derive(Clone, PartialEq, Eq)]
pub struct PoolWish {
    /// Name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user there.
    pub user: String,
    /// The password there; `None` is `x`, or what the device has stored at that place.
    pub password: Option<String>,
}

// Their passwords stay out of the log.
impl fmt::Debug for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Wish({} as {}, fallback: {:?})",
            place(&self.host, self.port),
            self.user,
            self.fallback
        )
    }
}
impl fmt::Debug for PoolWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PoolWish({} as {})", place(&self.host, self.port), self.user)
    }
}

/// A request to a device.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// The path, from the slash on.
    pub path: String,
    /// JSON, or nothing. It may hold a password.
    pub body: String,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({} {}, {} bytes)", self.method.name(), self.path, self.body.len())
    }
}

/// A method of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// `GET`.
    Get,
    /// `POST`.
    Post,
    /// `PATCH`.
    Patch,
    /// `DELETE`, which takes a place out of AxeOS's list.
    Delete,
}

impl Method {
    /// As in a request's first line.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// What pointing a device here does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is sent, one after the other; each must be answered with 200.
    pub calls: Vec<Call>,
    /// What changes, for the page.
    pub rows: Vec<Row>,
    /// The device restarts, so that it is away for half a minute.
    pub restarts: bool,
    /// How it is taken back.
    pub undo: Undo,
    /// What that does not bring back, in sentences.
    pub not_restored: Vec<String>,
}

/// A setting, now and afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which.
    pub what: &'static str,
    /// Its value now; empty where there is none.
    pub old: String,
    /// Its value afterwards.
    pub new: String,
}

/// How a device gets its old settings back. It holds no password, but users, which may be addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// The device; it may have another address by then.
    pub mac: Option<[u8; 6]>,
    /// The device, in words.
    pub model: String,
    /// What is sent, one after the other.
    pub calls: Vec<Call>,
    /// The device restarts.
    pub restarts: bool,
}

impl Undo {
    /// Puts back what `earlier` puts back, and what only this one does: the device was pointed here twice.
    /// Where both of them together are too long to be sent, the earlier one.
    pub fn after(&self, earlier: &Undo) -> Undo {
        let mut settings = Map::new();
        let mut pools: BTreeMap<u64, Value> = BTreeMap::new();
        let mut freed = BTreeSet::new();
        // Of what both of them put back, the earlier one has the older value.
        for call in self.calls.iter().chain(&earlier.calls) {
            match serde_json::from_str(&call.body) {
                Ok(Value::Object(mut before)) if call.method == Method::Patch => {
                    let listed = before.remove("pools");
                    for pool in listed.iter().filter_map(Value::as_array).flatten() {
                        pools.extend(pool["id"].as_u64().map(|id| (id, pool.clone())));
                    }
                    settings.extend(before);
                }
                _ => freed.extend(freed_place(call)),
            }
        }

        pools.retain(|id, _| !freed.contains(id));
        if !pools.is_empty() {
            settings.insert("pools".to_owned(), pools.into_values().collect());
        }
        let restarts = self.restarts || earlier.restarts;
        let patch = (!settings.is_empty()).then(|| patch(settings));
        if patch.as_ref().is_some_and(|patch| patch.body.len() > BODY_MAX) {
            return earlier.clone();
        }
        let calls = patch.into_iter().chain(freed.into_iter().map(list::delete));
        let calls = calls.chain(restarts.then(restart)).collect();
        Undo { calls, restarts, ..earlier.clone() }
    }

    /// Whether the device with this answer keeps its pools where they are put back: an update of the firmware
    /// may have moved them, and then takes the old keys with status 200 and changes nothing.
    pub fn fits(&self, info: &[u8]) -> bool {
        let names = |of: fn(&str) -> bool| {
            self.calls.iter().any(|call| {
                let before: Map<String, Value> =
                    serde_json::from_str(&call.body).unwrap_or_default();
                before.keys().any(|name| of(name))
            })
        };
        let is_listed = names(|name| name == "pools" || name.ends_with("PoolIndex"))
            || self.calls.iter().any(|call| freed_place(call).is_some());
        let is_pair =
            names(|name| name.starts_with("stratum") || name.starts_with("fallbackStratum"));
        match axeos::with_info(info, |info| Ok(info.has("pools"))) {
            Ok(true) => !is_pair,
            Ok(false) => !is_listed,
            Err(_) => false,
        }
    }
}

/// Which place of a list a call takes out.
fn freed_place(call: &Call) -> Option<u64> {
    let place = call.path.strip_prefix(list::PLACE)?;
    place.parse().ok().filter(|_| call.method == Method::Delete)
}

/// What these calls write at which places of a list: the hosts.
pub fn placed(calls: &[Call]) -> Vec<(u64, String)> {
    let mut placed = Vec::new();
    for call in calls {
        let settings: Value = serde_json::from_str(&call.body).unwrap_or_default();
        let pools = settings.get("pools").and_then(Value::as_array);
        placed.extend(pools.into_iter().flatten().filter_map(|pool| {
            Some((pool["id"].as_u64()?, pool["stratumURL"].as_str()?.to_owned()))
        }));
    }
    placed
}

/// Whether a call would take out of the list what was not [`placed`] there, or is not there any more.
pub fn is_anothers(info: &[u8], call: &Call, placed: &[(u64, String)]) -> bool {
    let Some(freed) = freed_place(call) else { return false };
    let there = axeos::with_info(info, |info| {
        let pools = info.objects("pools");
        let pool = pools.iter().find(|pool| pool.whole("id") == Some(freed));
        Ok(pool.and_then(|pool| pool.string("stratumURL")))
    });
    let ours = placed.iter().find(|(id, _)| *id == freed).map(|(_, host)| host);
    there.is_ok_and(|there| there.as_ref() != ours)
}

/// Why nothing is sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlan {
    /// The device has these settings.
    #[error("it is set to mine here already")]
    AlreadyHere,
    /// It wants a one-time password. After five wrong ones it lets nobody in for five minutes.
    #[error(
        "it asks for a one-time password before it takes settings: type them in on its own page"
    )]
    NeedsLogin,
    /// It has only Stratum V1.
    #[error("its firmware does not speak Stratum V2")]
    NoV2,
    /// Its owner must type it in; these words say what.
    #[error("{0}")]
    ByHand(String),
    /// What it says of itself.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// What to send to the device whose answer to [`axeos::INFO`] is `info`. Whether it was taken is seen when
/// the same wish, without passwords, has [`NoPlan::AlreadyHere`] for its next answer after the restart.
///
/// # Errors
/// See [`NoPlan`].
pub fn plan(info: &[u8], wish: &Wish) -> Result<Plan, NoPlan> {
    let planned = axeos::with_info(info, |info| {
        let family = axeos::family(info)?;
        Ok(match family {
            Family::AxeOs if info.has("pools") => list::plan(info, wish),
            Family::AxeOs | Family::NerdQAxe if info.has("stratumURL") => {
                pair::plan(family, info, wish)
            }
            _ => Err(NoPlan::ByHand(by_hand(family, wish))),
        })
    });
    let plan: Plan = planned??;
    // No device that tells the truth has settings of that length.
    let mut calls = plan.calls.iter().chain(&plan.undo.calls);
    if calls.any(|call| call.body.len() > BODY_MAX) {
        return Err(Unreadable::Malformed.into());
    }
    Ok(plan)
}

/// Whether [`Wish::v2_key`] can be had from the device with this answer.
pub(super) fn knows_v2(info: &Fields<'_>) -> bool {
    info.has("stratumProtocol")
}

/// What its owner types into a device of this family.
pub fn by_hand(family: Family, wish: &Wish) -> String {
    let Wish { host, port, user, .. } = wish;
    let url = format!("stratum+tcp://{}", place(host, *port));
    match family {
        Family::AxeOs | Family::NerdQAxe => format!(
            "On the miner's own page, under Pool: Stratum Host {host}, Stratum Port {port}, Stratum User \
             {user}. Save, then restart it."
        ),
        Family::NmAxe => format!(
            "On the miner's own page, under Settings, Mining: primary pool {url}, user {user}. Save, then \
             restart it."
        ),
        Family::Avalon => format!(
            "In the Avalon's app or on its own page, as the first pool: {url}, worker {user}. It restarts \
             by itself."
        ),
        Family::Cgminer => {
            format!("On the miner's own page, as the first pool: URL {url}, worker {user}.")
        }
    }
}

listed! {
    /// What a device can be told to do without changing its settings.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Command {
        /// Show which one it is. On AxeOS (from 2.12) a second time within half a minute ends it.
        Identify,
        /// Stop mining until it is told to go on, or restarts. AxeOS has it from 2.14 on, NerdQAxe from
        /// 1.0.35.
        Pause,
        /// Go on. NerdQAxe does it by a restart.
        Resume,
        /// Start anew.
        Restart,
    }
}

impl Command {
    /// In a form, and for the list of changes.
    pub fn name(self) -> &'static str {
        match self {
            Command::Identify => "blink",
            Command::Pause => "pause",
            Command::Resume => "resume",
            Command::Restart => "restart",
        }
    }
}

/// What a device can be told, by its firmware's version as far as that can be read.
pub fn commands(device: &Telemetry) -> Vec<Command> {
    let has = |command: &Command| {
        let since = match (device.family, command) {
            (Family::AxeOs, Command::Identify) => (2, 12),
            (Family::AxeOs, Command::Pause | Command::Resume) => (2, 14),
            _ => (0, 0),
        };
        version(&device.firmware).is_none_or(|version| version >= since)
            && self::command(device.family, *command).is_some()
    };
    Command::ALL.into_iter().filter(has).collect()
}

/// The first two numbers of `v2.15.0`.
fn version(firmware: &str) -> Option<(u32, u32)> {
    let mut numbers = firmware.trim_start_matches(['v', 'V']).split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// `None` where the family has no such request.
pub fn command(family: Family, command: Command) -> Option<Call> {
    let (method, path, body) = match (family, command) {
        (Family::AxeOs, Command::Identify) => (Method::Post, "/api/system/identify", ""),
        (Family::AxeOs, Command::Pause) => (Method::Post, "/api/system/pause", ""),
        (Family::AxeOs, Command::Resume) => (Method::Post, "/api/system/resume", ""),
        (Family::NerdQAxe, Command::Identify) => return None,
        (Family::NerdQAxe, Command::Pause) => (Method::Post, "/api/system/shutdown", ""),
        (Family::NmAxe, Command::Identify) => (Method::Post, "/api/swarm/find", "{}"),
        (Family::NmAxe, Command::Pause) => {
            (Method::Patch, "/api/mining/state", r#"{"paused":true}"#)
        }
        (Family::NmAxe, Command::Resume) => {
            (Method::Patch, "/api/mining/state", r#"{"paused":false}"#)
        }
        (Family::NerdQAxe, Command::Resume | Command::Restart)
        | (Family::AxeOs | Family::NmAxe, Command::Restart) => (Method::Post, RESTART, ""),
        (Family::Avalon | Family::Cgminer, _) => return None,
    };
    Some(Call { method, path: path.to_owned(), body: body.to_owned() })
}

const RESTART: &str = "/api/system/restart";

fn restart() -> Call {
    Call { method: Method::Post, path: RESTART.to_owned(), body: String::new() }
}

fn patch(settings: Map<String, Value>) -> Call {
    let body = Value::Object(settings).to_string();
    Call { method: Method::Patch, path: "/api/system".to_owned(), body }
}

fn undo(info: &Fields<'_>, calls: Vec<Call>) -> Undo {
    let restarts = calls.contains(&restart());
    let model = match info.has("deviceModel") {
        true => nerdqaxe::model(info),
        false => axeos::model(info),
    };
    Undo { mac: mac(&info.text("macAddr")), model, calls, restarts }
}

/// `host:port`; nothing where there is no host.
fn place(host: &str, port: u16) -> String {
    match host {
        "" => String::new(),
        host if host.contains(':') => format!("[{host}]:{port}"),
        host => format!("{host}:{port}"),
    }
}

/// A pool's host and port as they stand in settings with these names.
fn told_place(info: &Fields<'_>, url: &str, port: &str) -> String {
    place(
        &info.text(url),
        info.whole(port).and_then(|port| port.try_into().ok()).unwrap_or_default(),
    )
}

/// Adds a row if it changes.
fn row(rows: &mut Vec<Row>, what: &'static str, old: String, new: String) {
    if old != new {
        rows.push(Row { what, old, new });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn undo(settings: &[Value], freed: &[u64], restarts: bool) -> Undo {
        let patches = settings.iter().map(|before| patch(before.as_object().unwrap().clone()));
        let calls = patches
            .chain(freed.iter().copied().map(list::delete))
            .chain(restarts.then(restart))
            .collect();
        Undo { mac: Some([1; 6]), model: "a".to_owned(), calls, restarts }
    }

    #[test]
    fn the_way_back_after_two_times_leads_before_the_first() {
        let pair = |host, fallback| json!({"stratumURL": host, "fallbackStratumURL": fallback});
        let first = undo(&[json!({"stratumURL": "old.example", "stratumPort": 1})], &[], true);
        let second = undo(&[pair("box", "other.example")], &[], true);
        let both = json!({
            "fallbackStratumURL": "other.example", "stratumPort": 1, "stratumURL": "old.example"
        });
        assert_eq!(second.after(&first), undo(&[both], &[], true));
        assert_eq!(first.after(&first), first);

        // A place that was free at first is freed, whatever stood there in between.
        let first = undo(&[json!({"primaryPoolIndex": 0, "secondaryPoolIndex": 1})], &[2], true);
        let second = undo(
            &[json!({"pools": [{"id": 2, "stratumURL": "box"}], "secondaryPoolIndex": 0})],
            &[3],
            true,
        );
        let before = json!({"primaryPoolIndex": 0, "secondaryPoolIndex": 1});
        assert_eq!(second.after(&first), undo(&[before], &[2, 3], true));
        // It never grows beyond what can be sent.
        let long = json!({"pools": [{"id": 1, "stratumCert": "x".repeat(6_000)}]});
        let other = json!({"pools": [{"id": 2, "stratumCert": "x".repeat(6_000)}]});
        let (first, second) = (undo(&[long], &[], true), undo(&[other], &[], true));
        assert_eq!(second.after(&first), first);
    }

    #[test]
    fn settings_go_back_only_to_a_firmware_that_keeps_them_so() {
        let (pair, list) = (br#"{"stratumURL":"a"}"#, br#"{"stratumURL":"a","pools":[]}"#);
        let of_pair = undo(&[json!({"stratumURL": "old.example"})], &[], true);
        assert!(of_pair.fits(pair) && !of_pair.fits(list));
        let of_list = undo(&[], &[2], true);
        assert!(of_list.fits(list) && !of_list.fits(pair));
        let of_both = undo(&[json!({"useFallbackStratum": true})], &[], true);
        assert!(of_both.fits(list) && of_both.fits(pair) && !of_both.fits(b"<html>"));
    }

    #[test]
    fn a_place_that_somebody_else_has_filled_is_not_freed() {
        let ours = json!({"pools": [{"id": 2, "stratumURL": "box", "stratumPort": 1}]});
        let placed = placed(&[patch(ours.as_object().unwrap().clone()), restart()]);
        assert_eq!(placed, [(2, "box".to_owned())]);
        let is_anothers =
            |info: Value| is_anothers(info.to_string().as_bytes(), &list::delete(2), &placed);
        assert!(!is_anothers(ours.clone()));
        assert!(is_anothers(json!({"pools": [{"id": 2, "stratumURL": "solo.example"}]})));
        assert!(is_anothers(json!({"pools": [{"id": 1, "stratumURL": "box"}]})));
        assert!(!super::is_anothers(ours.to_string().as_bytes(), &restart(), &placed));
    }
}
