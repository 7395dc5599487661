//! How the firmwares take requests: `main/http_server/http_server.c` and `main/nvs_config.c` of ESP-Miner
//! (2.8.1, 2.13, 2.14.2 and 2.15), `main/http_server/*.cpp` and `main/stratum/stratum_manager.cpp` of
//! ESP-Miner-NerdQAxePlus (1.0.38), `src/web/http_server.cpp` of ESP-Miner-NMAxe (3.0).

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::{Kind, MinesOn, Request, merge};

/// Of a device. What it tells is in three parts: what it measures, what is stored, and of that what it runs
/// with since its start.
pub(super) struct Firmware {
    kind: Kind,
    /// All that it tells; of what is stored, what it had at first.
    told: Map<String, Value>,
    /// Each setting by its key, with the passwords that it never tells.
    stored: Map<String, Value>,
    /// The places of AxeOS 2.15's list, each with its password.
    places: Vec<Option<Map<String, Value>>>,
    /// What it runs with.
    running: Running,
}

#[derive(Clone, Default)]
struct Running {
    stored: Map<String, Value>,
    places: Vec<Option<Map<String, Value>>>,
}

pub(super) struct Answer {
    pub(super) status: &'static str,
    pub(super) kind: &'static str,
    pub(super) body: String,
    pub(super) is_chunked: bool,
    pub(super) restarts: bool,
}

impl Answer {
    fn json(body: String) -> Answer {
        let (status, kind) = ("200 OK", "application/json");
        Answer { status, kind, body, is_chunked: false, restarts: false }
    }

    fn message(message: &str) -> Answer {
        Answer::json(json!({"message": message}).to_string())
    }

    fn text(status: &'static str, body: &str) -> Answer {
        Answer { status, kind: "text/html", ..Answer::json(body.to_owned()) }
    }

    /// Of a PATCH that was taken.
    fn nothing() -> Answer {
        Answer { is_chunked: true, ..Answer::text("200 OK", "") }
    }
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
enum Takes {
    /// A text of so many characters.
    Text(usize, usize),
    /// A number between these.
    Number(f64, f64),
    /// `true`, `false`, 1 or 0.
    Flag,
    /// `true` or `false`: NerdQAxe passes over anything else.
    Bool,
}
use Takes::{Bool, Flag, Number, Text};

const PORT: Takes = Number(0.0, 65_535.0);
/// What AxeOS takes in every version from 2.9 on; those of pools are below.
const AXEOS: [(&str, Takes); 18] = [
    ("ssid", Text(1, 32)),
    ("wifiPass", Text(0, 63)),
    ("hostname", Text(1, 32)),
    ("frequency", Number(1.0, 65_535.0)),
    ("coreVoltage", Number(1.0, 65_535.0)),
    ("overclockEnabled", Flag),
    // Nothing but 0.
    ("overheat_mode", Number(0.0, 0.0)),
    ("autofanspeed", Flag),
    ("manualFanSpeed", Number(0.0, 100.0)),
    ("minFanSpeed", Number(0.0, 99.0)),
    ("temptarget", Number(35.0, 66.0)),
    ("display", Text(0, 3_999)),
    ("rotation", Number(0.0, 270.0)),
    ("invertscreen", Flag),
    ("displayOffset", Number(0.0, 65_535.0)),
    ("displayTimeout", Number(-1.0, 65_535.0)),
    ("statsFrequency", Number(0.0, 65_535.0)),
    ("useFallbackStratum", Flag),
];
/// Of 2.15 alone.
const LIST: [(&str, Takes); 3] = [
    ("primaryPoolIndex", Number(0.0, 7.0)),
    ("secondaryPoolIndex", Number(0.0, 7.0)),
    ("useCustomWWW", Flag),
];
/// Of 2.13, for the first pool and with `fallbackStratum` for the second.
const PAIR: [(&str, Takes); 9] = [
    ("URL", Text(0, 3_999)),
    ("Port", PORT),
    ("User", Text(0, 3_999)),
    ("Password", Text(0, 3_999)),
    ("SuggestedDifficulty", Number(0.0, 65_535.0)),
    ("ExtranonceSubscribe", Flag),
    ("TLS", Number(0.0, 3.0)),
    ("Cert", Text(0, 3_999)),
    ("DecodeCoinbase", Flag),
];
/// Of 2.14 besides.
const PAIR_V2: [(&str, Takes); 3] =
    [("Protocol", Text(3, 3)), ("V2ChannelType", Text(8, 8)), ("V2AuthorityPubkey", Text(0, 52))];
/// Of 2.8, which passes over what it does not take.
const AXEOS_2_8: [(&str, Takes); 24] = [
    ("stratumURL", Text(0, 3_999)),
    ("stratumPort", PORT),
    ("stratumUser", Text(0, 3_999)),
    ("stratumPassword", Text(0, 3_999)),
    ("fallbackStratumURL", Text(0, 3_999)),
    ("fallbackStratumPort", PORT),
    ("fallbackStratumUser", Text(0, 3_999)),
    ("fallbackStratumPassword", Text(0, 3_999)),
    ("ssid", Text(0, 3_999)),
    ("wifiPass", Text(0, 3_999)),
    ("hostname", Text(0, 3_999)),
    ("coreVoltage", Number(1.0, 65_535.0)),
    ("frequency", Number(1.0, 65_535.0)),
    ("overheat_mode", Number(0.0, 65_535.0)),
    ("display", Text(0, 3_999)),
    ("flipscreen", Number(0.0, 65_535.0)),
    ("invertscreen", Number(0.0, 65_535.0)),
    ("displayTimeout", Number(-1.0, 65_535.0)),
    ("autofanspeed", Number(0.0, 65_535.0)),
    ("fanspeed", Number(0.0, 65_535.0)),
    ("temptarget", Number(0.0, 65_535.0)),
    ("statsLimit", Number(0.0, 65_535.0)),
    ("statsDuration", Number(0.0, 65_535.0)),
    ("overclockEnabled", Number(0.0, 65_535.0)),
];
/// Of NerdQAxe, which does so as well.
const NERDQAXE: [(&str, Takes); 45] = [
    ("ssid", Text(0, 3_999)),
    ("wifiPass", Text(0, 3_999)),
    ("hostname", Text(0, 3_999)),
    ("coreVoltage", Number(1.0, 65_535.0)),
    ("frequency", Number(1.0, 65_535.0)),
    ("jobInterval", Number(1.0, 65_535.0)),
    ("stratumDifficulty", Number(0.0, 4_294_967_295.0)),
    ("flipscreen", Bool),
    ("overheat_temp", PORT),
    ("invertscreen", Bool),
    ("invertfanpolarity", Bool),
    ("autofanspeed", PORT),
    ("manualFanSpeed", PORT),
    ("autoscreenoff", Bool),
    ("stratum_keep", Flag),
    ("pidTargetTemp", PORT),
    ("pidP", Number(0.0, 655.0)),
    ("pidI", Number(0.0, 655.0)),
    ("pidD", Number(0.0, 655.0)),
    ("vrFrequency", Number(0.0, 4_294_967_295.0)),
    ("coinbaseVerifyMode", PORT),
    ("coinbaseMaxFee", Number(0.0, 6_553.0)),
    ("coinbaseVerifyForce", Bool),
    ("fallbackCoinbaseVerifyMode", PORT),
    ("fallbackCoinbaseMaxFee", Number(0.0, 6_553.0)),
    ("fallbackCoinbaseVerifyForce", Bool),
    ("poolMode", PORT),
    ("stratumURL", Text(0, 3_999)),
    ("stratumPort", PORT),
    ("stratumUser", Text(0, 3_999)),
    ("stratumPassword", Text(0, 3_999)),
    ("stratumEnonceSubscribe", Bool),
    ("stratumTLS", Bool),
    ("stratumProtocol", PORT),
    ("sv2AuthorityPubkey", Text(0, 3_999)),
    ("sv2ChannelType", PORT),
    ("fallbackStratumURL", Text(0, 3_999)),
    ("fallbackStratumPort", PORT),
    ("fallbackStratumUser", Text(0, 3_999)),
    ("fallbackStratumPassword", Text(0, 3_999)),
    ("fallbackStratumEnonceSubscribe", Bool),
    ("fallbackStratumTLS", Bool),
    ("fallbackStratumProtocol", PORT),
    ("fallbackSv2AuthorityPubkey", Text(0, 3_999)),
    ("fallbackSv2ChannelType", PORT),
];

impl Firmware {
    pub(super) fn new(kind: Kind) -> Firmware {
        let told: Map<String, Value> = serde_json::from_str(kind.told()).unwrap();
        let mut firmware = Firmware {
            kind,
            stored: Map::new(),
            places: vec![None; 8],
            running: Running::default(),
            told,
        };
        for (name, _) in firmware.keys() {
            if let Some(value) = firmware.told.get(&name) {
                firmware.stored.insert(name, value.clone());
            }
        }
        for (name, secret) in [
            ("wifiPass", "of the Wi-Fi"),
            ("stratumPassword", "of the pool"),
            ("fallbackStratumPassword", "of the fallback"),
        ] {
            if firmware.takes(name).is_some() {
                firmware.stored.insert(name.to_owned(), json!(secret));
            }
        }
        firmware.place_all(None);
        if let Some(place) = &mut firmware.places[0] {
            place.insert("stratumPassword".to_owned(), json!("of the pool"));
        }
        if let Some(stratum) = firmware.told.get("stratum").filter(|_| kind == Kind::NerdQAxe) {
            firmware.stored.insert("poolMode".to_owned(), stratum["poolMode"].clone());
        }
        firmware.load();
        firmware
    }

    fn is_list(&self) -> bool {
        self.kind == Kind::AxeOs2_15
    }

    fn is_axeos(&self) -> bool {
        !matches!(self.kind, Kind::NerdQAxe | Kind::NmAxe)
    }

    /// The keys that a PATCH takes.
    fn keys(&self) -> Vec<(String, Takes)> {
        let own = |keys: &[(&str, Takes)]| {
            keys.iter().map(|(name, takes)| ((*name).to_owned(), *takes)).collect::<Vec<_>>()
        };
        let pair = |keys: &[(&str, Takes)]| {
            let named = |prefix: &'static str| {
                keys.iter().map(move |(name, takes)| (format!("{prefix}{name}"), *takes))
            };
            named("stratum").chain(named("fallbackStratum")).collect::<Vec<_>>()
        };
        match self.kind {
            Kind::AxeOs2_15 => [own(&AXEOS), own(&LIST)].concat(),
            Kind::AxeOs2_14 => [own(&AXEOS), pair(&PAIR), pair(&PAIR_V2)].concat(),
            Kind::AxeOs2_13 => [own(&AXEOS), pair(&PAIR)].concat(),
            Kind::AxeOs2_8 => own(&AXEOS_2_8),
            Kind::NerdQAxe => own(&NERDQAXE),
            _ => Vec::new(),
        }
    }

    fn takes(&self, key: &str) -> Option<Takes> {
        self.keys().into_iter().find(|(name, _)| name == key).map(|(_, takes)| takes)
    }

    /// Fills the list from what is told of it.
    fn place_all(&mut self, entries: Option<&Value>) {
        if !self.is_list() {
            return;
        }
        let entries = entries.or(self.told.get("pools")).cloned().unwrap_or_default();
        for entry in entries.as_array().into_iter().flatten() {
            let id = entry["id"].as_u64().unwrap() as usize;
            let mut place = entry.as_object().unwrap().clone();
            place.remove("id");
            let old = self.places[id].as_ref().and_then(|old| old.get("stratumPassword").cloned());
            place.insert(
                "stratumPassword".to_owned(),
                old.unwrap_or(json!(format!("of place {id}"))),
            );
            self.places[id] = Some(place);
        }
    }

    /// Takes what is stored into use.
    fn load(&mut self) {
        self.running = Running { stored: self.stored.clone(), places: self.places.clone() };
        if let (Some(mode), Some(stratum)) =
            (self.stored.get("poolMode"), self.told.get_mut("stratum"))
        {
            stratum["activePoolMode"] = mode.clone();
        }
    }

    pub(super) fn start_anew(&mut self) {
        self.load();
        // Pauses are not stored. It begins with the pool that its owner prefers.
        let on_second = self.is_list() && is_true(self.stored.get("useFallbackStratum"));
        for (name, value) in [
            ("uptimeSeconds", json!(0)),
            ("isUsingFallbackStratum", json!(u8::from(on_second))),
            ("overheat_mode", json!(0)),
        ] {
            if self.told.contains_key(name) {
                self.told.insert(name.to_owned(), value);
            }
        }
        for flag in ["miningPaused", "shutdown"] {
            if is_true(self.told.get(flag)) {
                self.still(flag, false);
            }
        }
    }

    pub(super) fn set(&mut self, changes: Map<String, Value>) {
        if let Some(pools) = changes.get("pools") {
            self.place_all(Some(pools));
        }
        for (name, value) in &changes {
            let is_stored = self.takes(name).is_some() || self.stored.contains_key(name);
            if is_stored && !value.is_null() {
                self.stored.insert(name.clone(), value.clone());
                self.running.stored.insert(name.clone(), value.clone());
            }
        }
        self.running.places = self.places.clone();
        if let Some(mode) = changes.get("stratum").and_then(|stratum| stratum.get("poolMode")) {
            self.stored.insert("poolMode".to_owned(), mode.clone());
            self.running.stored.insert("poolMode".to_owned(), mode.clone());
        }
        merge(&mut self.told, changes);
    }

    pub(super) fn settings(&self) -> Map<String, Value> {
        let mut settings = self.stored.clone();
        if self.is_list() {
            settings.insert("pools".to_owned(), json!(self.places));
        }
        settings
    }

    /// What is told of settings is what is stored, also before they take effect; only AxeOS 2.15 tells its
    /// choice of places as it runs with it.
    pub(super) fn info(&self) -> Map<String, Value> {
        let mut info = self.told.clone();
        for (name, value) in &self.stored {
            let is_told = !name.to_ascii_lowercase().contains("pass") && info.contains_key(name);
            if is_told {
                info.insert(name.clone(), as_told(&info[name], value));
            }
        }
        if let (Some(mode), Some(stratum)) = (self.stored.get("poolMode"), info.get_mut("stratum"))
        {
            stratum["poolMode"] = mode.clone();
        }
        if self.is_list() {
            for name in ["primaryPoolIndex", "secondaryPoolIndex", "useFallbackStratum"] {
                info.insert(name.to_owned(), as_told(&info[name], &self.running.stored[name]));
            }
            let places = self.places.iter().enumerate().filter_map(|(id, place)| {
                let mut place = place.clone()?;
                place.insert("id".to_owned(), json!(id));
                place.insert("stratumPassword".to_owned(), json!("*****"));
                Some(Value::Object(place))
            });
            info.insert("pools".to_owned(), places.collect());
            self.copy_pool(&mut info, "primaryPoolIndex", "stratum");
            self.copy_pool(&mut info, "secondaryPoolIndex", "fallbackStratum");
        }
        info
    }

    /// The flat keys, which older readers know.
    fn copy_pool(&self, info: &mut Map<String, Value>, index: &str, prefix: &str) {
        let place = self.place(&self.places, &self.running.stored, index);
        let names: Vec<String> =
            info.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
        for name in names {
            let key = format!("stratum{}", &name[prefix.len()..]);
            let empty = match key.as_str() {
                "stratumPort" => json!(3333),
                "stratumDecodeCoinbase" => json!(true),
                "stratumExtranonceSubscribe" => json!(false),
                "stratumSuggestedDifficulty" | "stratumTLS" => json!(0),
                "stratumProtocol" => json!("SV1"),
                "stratumV2ChannelType" => json!("extended"),
                _ => json!(""),
            };
            let value = place.and_then(|place| place.get(&key)).cloned().unwrap_or(empty);
            info.insert(name, value);
        }
    }

    fn place<'p>(
        &self,
        places: &'p [Option<Map<String, Value>>],
        stored: &Map<String, Value>,
        index: &str,
    ) -> Option<&'p Map<String, Value>> {
        places.get(stored.get(index)?.as_u64()? as usize)?.as_ref()
    }

    pub(super) fn mines_on(&self) -> MinesOn {
        let on_second = is_true(self.told.get("isUsingFallbackStratum"))
            || self
                .told
                .get("stratum")
                .is_some_and(|stratum| is_true(stratum.get("usingFallback")));
        let Running { stored, places } = &self.running;
        let (fields, prefix) = if self.is_list() {
            let index = if on_second { "secondaryPoolIndex" } else { "primaryPoolIndex" };
            (self.place(places, stored, index), "stratum")
        } else {
            (Some(stored), if on_second { "fallbackStratum" } else { "stratum" })
        };
        let get = |key: &str| fields.and_then(|fields| fields.get(&format!("{prefix}{key}")));
        let text = |key| get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        MinesOn {
            host: text("URL"),
            port: get("Port").and_then(Value::as_u64).unwrap_or_default() as u16,
            user: text("User"),
            password: text("Password"),
            is_v2: get("Protocol").is_some_and(|told| *told == json!("SV2") || *told == json!(1)),
        }
    }

    pub(super) fn answer(&mut self, request: &Request, caller: IpAddr) -> Answer {
        let path = request.path.split('?').next().unwrap_or_default();
        if path.starts_with("/api/") && self.kind != Kind::NmAxe && !self.lets_in(request, caller) {
            return Answer::text("401 Unauthorized", "Unauthorized");
        }
        match (request.method.as_str(), path) {
            ("GET", "/api/system/info") => {
                Answer { is_chunked: !self.is_axeos(), ..Answer::json(self.info_body()) }
            }
            ("GET", "/api/system/asic") if self.kind != Kind::NmAxe => Answer::json(self.asic()),
            ("PATCH", "/api/system") if self.kind != Kind::NmAxe => self.patch(request),
            ("POST", "/api/system/restart") => {
                let words = match self.kind {
                    Kind::AxeOs2_15 | Kind::AxeOs2_14 | Kind::AxeOs2_13 => {
                        Answer::message("System will restart shortly.")
                    }
                    Kind::NmAxe => Answer::json(r#"{"status":"ok"}"#.to_owned()),
                    _ => Answer::text("200 OK", "System will restart shortly."),
                };
                Answer { restarts: true, ..words }
            }
            ("POST", "/api/system/identify") if self.has(Kind::AxeOs2_13) => {
                Answer::message("The device says \"Hi!\" for 30 seconds.")
            }
            ("POST", "/api/system/pause") if self.has(Kind::AxeOs2_14) => self.pause(true),
            ("POST", "/api/system/resume") if self.has(Kind::AxeOs2_14) => self.pause(false),
            ("POST", "/api/system/shutdown") if self.kind == Kind::NerdQAxe => {
                self.still("shutdown", true);
                Answer::text("200 OK", "System will shutdown shortly.")
            }
            ("PATCH", "/api/mining/state") if self.kind == Kind::NmAxe => {
                let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
                self.told["miner"]["paused"] = json!(is_true(asked.get("paused")));
                Answer::json(r#"{"status":"ok"}"#.to_owned())
            }
            ("POST", "/api/swarm/find") if self.kind == Kind::NmAxe => {
                Answer::json(r#"{"status":"ok"}"#.to_owned())
            }
            ("DELETE", path) if self.is_list() && path.starts_with("/api/system/pools/") => {
                self.delete(path)
            }
            ("GET", "/") => Answer::text("200 OK", self.page()),
            (_, path)
                if path.starts_with("/api/") && self.is_axeos() && self.kind != Kind::AxeOs2_8 =>
            {
                let body = r#"{"error":"unknown route"}"#.to_owned();
                Answer { status: "404 Not Found", ..Answer::json(body) }
            }
            _ => Answer::text("302 Temporary Redirect", "Redirect to the captive portal"),
        }
    }

    /// Whether it is AxeOS from this version on.
    fn has(&self, since: Kind) -> bool {
        let order = [Kind::AxeOs2_8, Kind::AxeOs2_13, Kind::AxeOs2_14, Kind::AxeOs2_15];
        let place = |kind| order.iter().position(|other| *other == kind);
        place(self.kind).is_some_and(|place_of_this| Some(place_of_this) >= place(since))
    }

    fn info_body(&self) -> String {
        Value::Object(self.info()).to_string()
    }

    fn page(&self) -> &'static str {
        match self.kind {
            Kind::NerdQAxe => "<!doctype html><title>Nerd* Dashboard</title>",
            _ => "<!doctype html><title>AxeOS</title>",
        }
    }

    fn asic(&self) -> String {
        let chips = match self.told.get("asicCount") {
            Some(chips) => chips.clone(),
            None => json!(1),
        };
        json!({"ASICModel": self.told["ASICModel"], "deviceModel": "Gamma", "swarmColor": "green",
            "asicCount": chips, "hashDomains": 4, "defaultFrequency": 525,
            "frequencyOptions": [400, 490, 525, 550, 600, 625], "defaultVoltage": 1150,
            "voltageOptions": [1000, 1060, 1100, 1150, 1200, 1250]})
        .to_string()
    }

    fn pause(&mut self, paused: bool) -> Answer {
        self.still("miningPaused", paused);
        Answer::message(if paused { "Mining paused" } else { "Mining resumed" })
    }

    /// Stands still or goes on.
    fn still(&mut self, flag: &str, still: bool) {
        let at_first: Value = serde_json::from_str(self.kind.told()).unwrap();
        for name in ["hashRate", "expectedHashrate", "temp", "fanspeed"] {
            let Some(mut value) = at_first.get(name).cloned() else { continue };
            if still {
                value = match name {
                    "temp" => json!(-1),
                    "fanspeed" => json!(30),
                    _ => json!(0),
                };
            }
            self.told.insert(name.to_owned(), value);
        }
        self.told.insert(flag.to_owned(), json!(still));
    }

    /// `is_network_allowed`. A real one lets nobody in from the loopback; tests are there.
    fn lets_in(&self, request: &Request, caller: IpAddr) -> bool {
        let IpAddr::V4(caller) = caller else { return false };
        let is_private = caller.is_private() || caller.is_loopback();
        let Some(origin) = request.header("Origin") else { return is_private };
        let Some(host) = origin.strip_prefix("http://") else { return false };
        let is_address =
            |host: &str| host.parse().is_ok_and(|ip: std::net::Ipv4Addr| ip.is_private());
        let name = host.split([':', '/']).next().unwrap_or_default();
        match self.kind {
            Kind::NerdQAxe => {
                let own = self.told["hostname"].as_str();
                let is_known = Some(name) == own || name == "localhost" || name.ends_with(".local");
                is_known || (is_address(name) && is_private)
            }
            // An address with a port does not parse, and then has dots.
            Kind::AxeOs2_15 => {
                (is_address(host) && is_private) || name.ends_with(".local") || !name.contains('.')
            }
            _ => is_address(host) && is_private,
        }
    }

    fn patch(&mut self, request: &Request) -> Answer {
        if self.kind == Kind::NerdQAxe && is_true(self.told.get("otp")) {
            return Answer::text("401 Unauthorized", "OTP/Session required");
        }
        let most = if self.kind == Kind::NerdQAxe { 16_384 } else { 10_240 };
        if request.body.len() >= most {
            return Answer::text("500 Internal Server Error", "content too long");
        }
        let Ok(Value::Object(settings)) = serde_json::from_slice(&request.body) else {
            return Answer::text("400 Bad Request", "Invalid JSON");
        };
        let checks = self.has(Kind::AxeOs2_13);
        let mut taken = Vec::new();
        for (name, value) in &settings {
            match self.takes(name) {
                // Nobody is told that a key means nothing.
                None => {}
                Some(takes) if fits(takes, value) => taken.push((name.clone(), value.clone())),
                Some(_) if checks => return Answer::text("400 Bad Request", "Wrong API input"),
                Some(_) => {}
            }
        }
        let places = settings.get("pools").filter(|_| self.is_list());
        if places.is_some_and(|places| !are_places(places)) {
            return Answer::text("400 Bad Request", "Wrong API input");
        }
        self.stored.extend(taken);
        for place in places.and_then(Value::as_array).into_iter().flatten() {
            self.write_place(place);
        }
        if self.kind == Kind::NerdQAxe {
            // Its pools connect anew by themselves; its mode waits for a restart.
            let mode = self.running.stored["poolMode"].clone();
            self.running.stored = self.stored.clone();
            self.running.stored.insert("poolMode".to_owned(), mode);
        }
        Answer::nothing()
    }

    /// `update_pool_nvs`: what is left out goes to its default, and five stars keep the password.
    fn write_place(&mut self, told: &Value) {
        let id = told["id"].as_u64().unwrap() as usize;
        let old = self.places[id].as_ref().and_then(|old| old.get("stratumPassword").cloned());
        let password = match told.get("stratumPassword") {
            Some(stars) if *stars == json!("*****") => old.unwrap_or(json!("x")),
            Some(password) => password.clone(),
            None => json!("x"),
        };
        let or = |name: &str, default: Value| told.get(name).cloned().unwrap_or(default);
        let flag = |name: &str, default: bool| match told.get(name) {
            Some(value) => json!(is_true(Some(value))),
            None => json!(default),
        };
        let place = json!({
            "stratumProtocol": or("stratumProtocol", json!("SV1")),
            "stratumURL": told["stratumURL"],
            "stratumPort": told["stratumPort"],
            "stratumUser": told["stratumUser"],
            "stratumPassword": password,
            "stratumSuggestedDifficulty": or("stratumSuggestedDifficulty", json!(0)),
            "stratumExtranonceSubscribe": flag("stratumExtranonceSubscribe", false),
            "stratumTLS": or("stratumTLS", json!(0)),
            "stratumCert": or("stratumCert", json!("")),
            "stratumDecodeCoinbase": flag("stratumDecodeCoinbase", true),
            "stratumV2ChannelType": or("stratumV2ChannelType", json!("extended")),
            "stratumV2AuthorityPubkey": or("stratumV2AuthorityPubkey", json!("")),
            "stratumV2RequireAuth": flag("stratumV2RequireAuth", false),
        });
        self.places[id] = place.as_object().cloned();
    }

    fn delete(&mut self, path: &str) -> Answer {
        let id = path.rsplit('/').next().and_then(|id| id.parse::<usize>().ok());
        let Some(id) = id.filter(|id| *id < 8) else {
            return Answer::text("400 Bad Request", "Invalid pool index");
        };
        let is = |name| self.stored.get(name) == Some(&json!(id));
        if is("primaryPoolIndex") || is("secondaryPoolIndex") {
            let words = "Cannot delete a pool that is currently selected as primary or fallback";
            return Answer::text("400 Bad Request", words);
        }
        self.places[id] = None;
        Answer::message("Pool cleared successfully")
    }
}

fn is_true(told: Option<&Value>) -> bool {
    told.is_some_and(|told| {
        told.as_bool() == Some(true) || told.as_f64().is_some_and(|told| told != 0.0)
    })
}

/// A flag as it was told before: as 1 and 0, or as `true` and `false`.
fn as_told(before: &Value, value: &Value) -> Value {
    match before {
        Value::Bool(_) => json!(is_true(Some(value))),
        Value::Number(_) if value.is_boolean() => json!(u8::from(is_true(Some(value)))),
        _ => value.clone(),
    }
}

fn fits(takes: Takes, value: &Value) -> bool {
    let is_between =
        |least: f64, most: f64| value.as_f64().is_some_and(|told| (least..=most).contains(&told));
    match takes {
        Text(least, most) => {
            value.as_str().is_some_and(|text| (least..=most).contains(&text.len()))
        }
        Number(least, most) => is_between(least, most),
        Flag => value.is_boolean() || is_between(0.0, 1.0),
        Bool => value.is_boolean(),
    }
}

/// `validate_pool_json`.
fn are_places(places: &Value) -> bool {
    let is_place = |place: &Value| {
        let may = |name: &str, takes| place.get(name).is_none_or(|value| fits(takes, value));
        let must = |name: &str, takes| place.get(name).is_some_and(|value| fits(takes, value));
        let is_one_of = |name: &str, words: [&str; 2]| {
            place.get(name).is_none_or(|value| words.iter().any(|word| *value == json!(word)))
        };
        must("id", Number(0.0, 7.0))
            && must("stratumURL", Text(1, 255))
            && must("stratumPort", Number(1.0, 65_535.0))
            && must("stratumUser", Text(1, 255))
            && may("stratumPassword", Text(0, 255))
            && may("stratumSuggestedDifficulty", Number(0.0, 1e18))
            && may("stratumExtranonceSubscribe", Flag)
            && may("stratumTLS", Number(0.0, 2.0))
            && may("stratumCert", Text(0, 3_000))
            && may("stratumDecodeCoinbase", Flag)
            && may("stratumV2AuthorityPubkey", Text(0, 128))
            && may("stratumV2RequireAuth", Flag)
            && is_one_of("stratumProtocol", ["SV1", "SV2"])
            && is_one_of("stratumV2ChannelType", ["extended", "standard"])
    };
    places.as_array().is_some_and(|places| places.iter().all(is_place))
}
