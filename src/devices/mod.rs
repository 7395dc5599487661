//! The miners as devices: what they tell by their own APIs, and how they are pointed at this box.
//!
//! | Family | API | Read by |
//! |---|---|---|
//! | AxeOS, NerdQAxe, NMAxe | HTTP, port 80, `GET /api/system/info` | [`axeos`] |
//! | Avalon, and whatever else speaks cgminer's API | TCP, port 4028, one command for each connection | [`cgminer`] |
//!
//! All of it is pure: who is asked when ([`rounds`]), what an answer says ([`Telemetry`]), what is wrong
//! by it ([`trouble`]), and what is sent to point a device here ([`pointing`]). `lan` has the sockets.
//!
//! What a device says is only shown. It is bounded and its units are checked where it is read; nothing of
//! it decides about work, shares or payment, and no alarm about proven work depends on it.

mod avalon;
pub mod axeos;
pub mod cgminer;
mod fields;
mod nerdqaxe;
mod nmaxe;
pub mod pointing;
pub mod rounds;
pub mod trouble;

use std::ops::RangeInclusive;

use crate::listed::listed;

/// Bytes of an answer that are read.
pub const ANSWER_MAX: usize = 64 * 1024;
/// Characters of a text that are kept.
pub const TEXT_MAX: usize = 64;
/// Pools of a device that are kept.
pub const POOLS_MAX: usize = 8;
/// Fans of a device that are kept.
pub const FANS_MAX: usize = 8;
/// Hash boards, or chips, whose rates are kept.
pub const BOARDS_MAX: usize = 16;

listed! {
    /// Which API a device has, and so how it is asked and pointed at a pool.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Family {
        /// ESP-Miner of the Bitaxe.
        AxeOs,
        /// NerdAxe, NerdQAxe and their kin.
        NerdQAxe,
        /// NMAxe and NMQAxe.
        NmAxe,
        /// Canaan's machines for the home.
        Avalon,
        /// Another machine with the API of cgminer.
        Cgminer,
    }
}

impl Family {
    /// As in `/api/devices` and the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Family::AxeOs => "axeos",
            Family::NerdQAxe => "nerdqaxe",
            Family::NmAxe => "nmaxe",
            Family::Avalon => "avalon",
            Family::Cgminer => "cgminer",
        }
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Family::AxeOs => "AxeOS",
            Family::NerdQAxe => "NerdQAxe",
            Family::NmAxe => "NMAxe",
            Family::Avalon => "Avalon",
            Family::Cgminer => "cgminer's API",
        }
    }

    /// How it is asked.
    pub fn api(self) -> Api {
        match self {
            Family::AxeOs | Family::NerdQAxe | Family::NmAxe => Api::Http,
            Family::Avalon | Family::Cgminer => Api::Cgminer,
        }
    }
}

/// How a device is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Api {
    /// `GET /api/system/info`, port 80.
    Http,
    /// Commands in JSON, port 4028.
    Cgminer,
}

impl Api {
    /// Where it is served.
    pub fn port(self) -> u16 {
        match self {
            Api::Http => 80,
            Api::Cgminer => 4028,
        }
    }
}

/// By which API a miner is tried, as far as its firmware is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// It has none.
    None,
    /// By this.
    Known(Api),
    /// By one after the other.
    Unknown,
}

/// What a device says of itself. `None` is what it does not tell, or tells beyond the bounds of what can
/// be true. Texts are of at most [`TEXT_MAX`] visible characters.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// Its API.
    pub family: Family,
    /// `Bitaxe Gamma 601 (BM1370)`: as much of it as the device tells.
    pub model: String,
    /// Version of its firmware, as it writes it.
    pub firmware: String,
    /// Its name in the network.
    pub hostname: String,
    /// By which it is known again at another address.
    pub mac: Option<[u8; 6]>,
    /// Hash rate now, H/s.
    pub hashrate: Option<f64>,
    /// Hash rate that its own settings promise, H/s.
    pub expected: Option<f64>,
    /// Power, W.
    pub watts: Option<f64>,
    /// Voltage at its power input, V.
    pub volts: Option<f64>,
    /// What that should be, V.
    pub nominal_volts: Option<f64>,
    /// The hottest chip, °C.
    pub chip_c: Option<f64>,
    /// The voltage regulator, °C.
    pub regulator_c: Option<f64>,
    /// The air that it takes in, °C.
    pub air_c: Option<f64>,
    /// From which temperature of the chip on it protects itself, °C: its own setting or the constant of
    /// its firmware.
    pub limit_c: Option<f64>,
    /// Its fans.
    pub fans: Vec<Fan>,
    /// Strength of its Wi-Fi signal, dBm.
    pub rssi_dbm: Option<f64>,
    /// How long it has been running, seconds.
    pub uptime_s: Option<u64>,
    /// Shares that its pools accepted since its start.
    pub accepted: Option<u64>,
    /// Shares that they rejected.
    pub rejected: Option<u64>,
    /// Difficulty of its best share ever.
    pub best: Option<f64>,
    /// Hash rates of its boards, or of its chips where it has one board, H/s; empty where it does not
    /// tell them apart.
    pub boards: Vec<f64>,
    /// Its pools, in the order in which it prefers them.
    pub pools: Vec<Pool>,
    /// It mines on another pool than the one it prefers.
    pub on_fallback: Option<bool>,
    /// Somebody paused it.
    pub paused: bool,
    /// It has switched itself off, or slowed down, because it was too hot.
    pub overheated: bool,
    /// It runs slower than it is set to.
    pub throttled: bool,
    /// What is wrong with its power, in its own words, or in ours where it tells only a number; empty
    /// where nothing is.
    pub power_fault: String,
    /// What else is wrong with it, in the same way: AxeOS stops mining when it can no longer set its fan.
    pub hardware_fault: String,
    /// How it can be pointed at another pool.
    pub way: Way,
    /// Its firmware has Stratum V2.
    pub speaks_v2: bool,
}

impl Telemetry {
    /// Of a device that tells nothing yet.
    pub fn silent(family: Family) -> Telemetry {
        Telemetry {
            family,
            model: String::new(),
            firmware: String::new(),
            hostname: String::new(),
            mac: None,
            hashrate: None,
            expected: None,
            watts: None,
            volts: None,
            nominal_volts: None,
            chip_c: None,
            regulator_c: None,
            air_c: None,
            limit_c: None,
            fans: Vec::new(),
            rssi_dbm: None,
            uptime_s: None,
            accepted: None,
            rejected: None,
            best: None,
            boards: Vec::new(),
            pools: Vec::new(),
            on_fallback: None,
            paused: false,
            overheated: false,
            throttled: false,
            power_fault: String::new(),
            hardware_fault: String::new(),
            way: Way::ByHand,
            speaks_v2: false,
        }
    }

    /// J/TH: how much energy its hashes cost.
    pub fn joules_per_terahash(&self) -> Option<f64> {
        let (watts, hashrate) = (self.watts?, self.hashrate?);
        (hashrate > 0.0).then(|| watts / (hashrate / 1e12))
    }

    /// The pool that it mines on.
    pub fn pool(&self) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.in_use)
    }
}

/// A fan.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fan {
    /// Revolutions a minute.
    pub rpm: Option<f64>,
    /// How much of its speed it is told to run at, percent.
    pub percent: Option<f64>,
}

/// A pool in a device's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Name or address, without a scheme.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user that the device sends. It may hold an address that is paid: it is never told without the
    /// PIN.
    pub user: String,
    /// It mines there now.
    pub in_use: bool,
}

/// How a device can be pointed at another pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It has a list of pools, to which one can be added (AxeOS from 2.15).
    List,
    /// It has one pool and one to fall back on, each in settings of its own.
    Pair,
    /// The same, and it asks for a login (a one-time password) before it takes them.
    PairWithLogin,
    /// Only by hand.
    ByHand,
}

/// One answer of a device: the body of an HTTP answer, or what it said to one command of cgminer's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The path, or the command.
    pub to: &'static str,
    /// The body. At most [`ANSWER_MAX`] bytes.
    pub body: Vec<u8>,
}

impl Api {
    /// What is asked, one after the other.
    pub fn questions(self) -> &'static [&'static str] {
        match self {
            Api::Http => &[axeos::INFO],
            Api::Cgminer => &cgminer::COMMANDS,
        }
    }

    /// What the device says of itself. Of several questions, the device need not know all.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn read(self, answers: &[Answer]) -> Result<Telemetry, Unreadable> {
        match (self, answers) {
            (Api::Http, [info]) => axeos::read(&info.body),
            (Api::Http, _) => Err(Unreadable::NoMiner),
            (Api::Cgminer, answers) => cgminer::read(answers),
        }
    }
}

/// Why a device told nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing listens at its port.
    #[error("nothing answers at port {0}")]
    Closed(u16),
    /// It cannot be reached, or not in time.
    #[error("it does not answer")]
    Silent,
    /// It answered with another status than 200.
    #[error("it answers with HTTP {0}")]
    Status(u16),
    /// It answered with more than [`ANSWER_MAX`] bytes.
    #[error("its answer is too long")]
    TooLong,
    /// It broke off, or did not speak HTTP.
    #[error("its answer breaks off")]
    Broken,
    /// Its answer makes no sense.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// Why an answer cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Neither JSON nor what the family sends otherwise.
    #[error("its answer cannot be read")]
    Malformed,
    /// It is JSON, or HTML, of something else than a miner.
    #[error("it does not look like a miner")]
    NoMiner,
}

/// Bounds of what can be true. Whatever is beyond them was not measured.
pub mod bounds {
    use super::RangeInclusive;

    /// Hash rate of one device, H/s.
    pub const HASHRATE: RangeInclusive<f64> = 0.0..=1e17;
    /// Power, W.
    pub const WATTS: RangeInclusive<f64> = 0.0..=100_000.0;
    /// Voltage at the power input, V.
    pub const VOLTS: RangeInclusive<f64> = 0.0..=1_000.0;
    /// Any temperature, °C.
    pub const CELSIUS: RangeInclusive<f64> = -50.0..=200.0;
    /// Revolutions of a fan a minute.
    pub const RPM: RangeInclusive<f64> = 0.0..=50_000.0;
    /// A fan's share of its speed, percent.
    pub const PERCENT: RangeInclusive<f64> = 0.0..=100.0;
    /// Signal of a Wi-Fi, dBm.
    pub const DBM: RangeInclusive<f64> = -120.0..=0.0;
    /// Difficulty of a share.
    pub const DIFFICULTY: RangeInclusive<f64> = 0.0..=1e18;
}

/// A number within its bounds; NaN is in none.
pub fn within(number: f64, bounds: &RangeInclusive<f64>) -> Option<f64> {
    bounds.contains(&number).then_some(number)
}

/// Whether a character is seen, and does not turn the direction of writing.
pub fn is_visible(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
    );
    !c.is_control() && !turns
}

/// As much of a text as is kept: visible characters, none that turns the direction of writing.
pub fn text(told: &str) -> String {
    told.trim().chars().filter(|c| is_visible(*c)).take(TEXT_MAX).collect()
}

/// `3C:84:27:AA:BB:CC`, with other signs between the bytes or with none.
fn mac(told: &str) -> Option<[u8; 6]> {
    let digits: String = told.chars().filter(|c| !matches!(c, ':' | '-' | ' ')).collect();
    if digits.len() != 12 {
        return None;
    }
    let mut mac = [0; 6];
    faster_hex::hex_decode(digits.as_bytes(), &mut mac).ok()?;
    (mac != [0; 6]).then_some(mac)
}

/// The host of `stratum+tcp://host:3333`, or of less than that.
fn host_of(url: &str) -> &str {
    let (host, _) = host_and_port(url);
    host.trim_matches(['[', ']'])
}

/// The port there; `None` where none is told.
fn port_of(url: &str) -> Option<u16> {
    host_and_port(url).1?.parse().ok()
}

fn host_and_port(url: &str) -> (&str, Option<&str>) {
    let place = url.split_once("://").map_or(url, |(_, place)| place);
    let place = place.split(['/', '?', '#']).next().unwrap_or_default().trim();
    // Some take a login there, which is nobody else's business.
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    match place.rsplit_once(':') {
        // IPv6 alone has more than one.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_true_is_not_taken() {
        assert_eq!(within(15.2, &bounds::WATTS), Some(15.2));
        for wrong in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            assert_eq!(within(wrong, &bounds::WATTS), None, "{wrong}");
        }
    }

    #[test]
    fn a_text_is_short_and_visible() {
        assert_eq!(text("  Bitaxe\u{202e}\u{0} Gamma\n "), "Bitaxe Gamma");
        assert_eq!(text(&"ä".repeat(1_000)).chars().count(), TEXT_MAX);
    }

    #[test]
    fn a_mac_is_read_with_and_without_its_colons() {
        let mac_of = [0x3c, 0x84, 0x27, 0xaa, 0xbb, 0xcc];
        for told in ["3C:84:27:AA:BB:CC", "3c-84-27-aa-bb-cc", "3c8427aabbcc"] {
            assert_eq!(mac(told), Some(mac_of), "{told}");
        }
        for none in
            ["", "00:00:00:00:00:00", "3c8427aabb", "3c8427aabbccdd", "zz8427aabbcc", "ää:ää:ää"]
        {
            assert_eq!(mac(none), None, "{none}");
        }
    }

    #[test]
    fn a_pools_url_has_a_host_and_perhaps_a_port() {
        for (url, host, port) in [
            ("192.168.1.10", "192.168.1.10", None),
            ("stratum+tcp://solo.example:3333", "solo.example", Some(3333)),
            ("stratum2+tcp://solo.example:3336/key", "solo.example", Some(3336)),
            ("solo.example:70000", "solo.example", None),
            ("stratum+tcp://bc1q:secret@solo.example:3333", "solo.example", Some(3333)),
            ("fd00::1", "fd00::1", None),
            ("stratum+tcp://[fd00::1]:3333", "fd00::1", Some(3333)),
            ("", "", None),
        ] {
            assert_eq!((host_of(url), port_of(url)), (host, port), "{url}");
        }
    }

    #[test]
    fn energy_needs_both_figures() {
        let mut device = Telemetry::silent(Family::AxeOs);
        device.watts = Some(18.0);
        assert_eq!(device.joules_per_terahash(), None);
        device.hashrate = Some(0.0);
        assert_eq!(device.joules_per_terahash(), None);
        device.hashrate = Some(1.2e12);
        assert_eq!(device.joules_per_terahash(), Some(15.0));
    }
}
