//! The firmwares of home miners, recognised by their user agent: start difficulty, share rate, and
//! abilities of each.
//!
//! ```
//! use soloist::stratum::firmware::{Class, identify};
//!
//! let miner = identify("bitaxe/BM1370/v2.13.1", &[]);
//! assert_eq!(miner.model, "Bitaxe Gamma (BM1370)");
//! assert_eq!(miner.class, Class::Asic);
//! assert_eq!(miner.start_difficulty, 1000.0);
//! ```
//!
//! **Which difficulty a miner starts with**, first match wins (see [`starting_point`]):
//! 1. what the owner fixed for this miner on the page;
//! 2. `d=` in the password, which is fixed too: its owner wrote it by hand;
//! 3. what the miner suggests, if it suggested something else when it was last here;
//! 4. the level that this miner had when it was last here;
//! 5. what the miner suggests;
//! 6. the owner's table in the config, then the table of this file.
//!
//! If the difficulty is not fixed, [`crate::vardiff`] starts from it.

use std::borrow::Cow;

use crate::devices::{Api, Hint};
use crate::vardiff::{self, Aim, Start};

/// What sort of device mines. (The label `class` of the metrics is another thing: the first
/// word of the model, from `class` in `status/miners.rs`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A microcontroller: 50 to 1000 kH/s, a share now and then.
    Esp32,
    /// A program on a computer.
    Cpu,
    /// A machine with mining chips.
    Asic,
    /// A market that rents out hashrate; it may be any amount.
    Rental,
    /// Nothing we know.
    Unknown,
}

impl Class {
    /// Shares a minute to aim at: enough for a smooth picture, few enough for a weak Wi-Fi.
    fn shares_per_minute(self) -> f64 {
        match self {
            Class::Esp32 => 2.0,
            Class::Cpu | Class::Asic | Class::Rental | Class::Unknown => 6.0,
        }
    }
}

/// What is known about one miner from its user agent and the owner's overrides.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The device or program in words for the page, such as `Bitaxe Gamma (BM1370)`.
    pub model: String,
    /// What sort of device it is.
    pub class: Class,
    /// Difficulty to start with, where nothing better is known.
    pub start_difficulty: f64,
    /// What vardiff works towards. An Antminer takes minutes from its connection to its first hash;
    /// silence must not lead it to the floor before.
    pub aim: Aim,
    /// Bytes of extranonce2 to offer: 8 for all known firmwares (NerdMiner takes 2, 4 or 8,
    /// Whatsminer and cgminer at most 8, rentals at least 4), unless the owner says 4.
    pub extranonce2_size: usize,
    /// It shows `client.show_message` to a person.
    pub shows_messages: bool,
    /// The API by which it tells of itself as a device.
    pub api: Hint,
}

/// The owner's word on a firmware, from the config.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Override {
    /// How the user agent begins; upper and lower case are the same.
    pub prefix: String,
    /// Difficulty to start with.
    pub start_difficulty: Option<f64>,
    /// Shares a minute to aim at.
    pub shares_per_minute: Option<f64>,
    /// Bytes of extranonce2: 4 or 8.
    pub extranonce2_size: Option<usize>,
}

/// The profile for a user agent. Of the owner's overrides the one with the longest fitting prefix
/// counts.
pub fn identify(user_agent: &str, overrides: &[Override]) -> Profile {
    let entry = TABLE.iter().find(|entry| entry.fits(user_agent)).unwrap_or(&UNKNOWN);
    let by_owner = overrides
        .iter()
        .filter(|entry| starts_with(user_agent, &entry.prefix))
        .max_by_key(|entry| entry.prefix.len());
    let start = by_owner.and_then(|entry| entry.start_difficulty).unwrap_or(entry.start);
    Profile {
        model: model(entry, user_agent),
        class: entry.class,
        start_difficulty: start,
        aim: Aim {
            shares_per_minute: by_owner
                .and_then(|entry| entry.shares_per_minute)
                .unwrap_or(entry.class.shares_per_minute()),
            least_when_silent: match entry.class {
                Class::Asic | Class::Rental => start / 64.0,
                Class::Esp32 | Class::Cpu | Class::Unknown => 0.0,
            },
            least: entry.least,
        },
        extranonce2_size: by_owner.and_then(|entry| entry.extranonce2_size).unwrap_or(8),
        shows_messages: entry.shows_messages,
        api: match (entry.api, entry.class) {
            (Some(api), _) => Hint::Known(api),
            (None, Class::Asic | Class::Unknown) => Hint::Unknown,
            (None, Class::Esp32 | Class::Cpu | Class::Rental) => Hint::None,
        },
    }
}

/// What was kept about a miner (same worker name, same user agent) from earlier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Saved {
    /// The owner fixed the difficulty on the page.
    Fixed(f64),
    /// The level that vardiff had found.
    Level {
        /// The level.
        difficulty: f64,
        /// What the miner suggested at that time, as far as it is known.
        wish: Option<f64>,
    },
}

/// NerdMiner and its kin suggest this every 30 s, whatever they were given: it keeps the connection
/// alive.
pub const SIGN_OF_LIFE: f64 = 0.00015;

/// Which difficulty wins; the order is in the module's description. `asked` is that of the password.
pub fn starting_point(
    saved: Option<Saved>,
    asked: Option<f64>,
    suggestion: Option<f64>,
    profile: &Profile,
) -> Start {
    match (saved, asked, suggestion) {
        (Some(Saved::Fixed(difficulty)), _, _) => Start::Fixed(difficulty),
        (_, Some(difficulty), _) => Start::Fixed(difficulty),
        (Some(Saved::Level { difficulty, wish: Some(before) }), None, Some(wish))
            if wish != before && wish != difficulty && wish != SIGN_OF_LIFE =>
        {
            Start::Guess(wish)
        }
        (Some(Saved::Level { difficulty, .. }), None, _) => Start::Known(difficulty),
        (None, None, Some(difficulty)) => Start::Guess(difficulty),
        (None, None, None) => Start::Guess(profile.start_difficulty),
    }
}

/// A password asks for a difficulty, and it cannot be told which: `d=5k`, or `d=5,000`, which may be
/// 5 or 5000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclear;

/// The difficulty in a password such as `x,d=512`: keys `d`, `diff` or `difficulty`, between
/// commas, semicolons, ampersands or spaces. `None` where it asks for none.
///
/// # Errors
/// It asks for one, and none is a plain number that is finite and above 0.
pub fn password_difficulty(password: &str) -> Result<Option<f64>, Unclear> {
    let mut answer = Ok(None);
    // Spaces around the sign are none between parts.
    let signs: Vec<&str> = password.split('=').map(str::trim).collect();
    let text = signs.join("=");
    let mut end = 0;
    for part in text.split(BETWEEN) {
        end += part.len();
        let after = &text[end..];
        end += after.len().min(1);
        let Some((key, value)) = part.split_once('=') else { continue };
        if !["d", "diff", "difficulty"].iter().any(|known| key.eq_ignore_ascii_case(known)) {
            continue;
        }
        match plain_number_before(value, after) {
            Some(difficulty) => return Ok(Some(difficulty)),
            None => answer = Err(Unclear),
        }
    }
    answer
}

/// What separates the parts of a password.
const BETWEEN: [char; 4] = [',', ';', '&', ' '];

/// As [`plain_number`]; `after` is what follows it in the password.
fn plain_number_before(value: &str, after: &str) -> Option<f64> {
    // `5,000`, `5 000` and `0,5`.
    let next = after.strip_prefix([',', ' ']).and_then(|after| after.split(BETWEEN).next());
    match next.is_some_and(is_digits) {
        true => None,
        false => plain_number(value),
    }
}

/// A number that is finite, above 0, and can be read in one way only: not `5,000`, and not `5.000`,
/// which is five to one and five thousand to another.
pub fn plain_number(text: &str) -> Option<f64> {
    let is_grouped = text.split_once('.').is_some_and(|(whole, rest)| {
        rest.len() == 3 && is_digits(rest) && !whole.trim_start_matches('0').is_empty()
    });
    let number: f64 = text.parse().ok().filter(|_| !is_grouped)?;
    (number.is_finite() && number > 0.0).then_some(number)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// How a user agent is recognised. Upper and lower case are the same.
enum Mark {
    Begins(&'static str),
    /// For agents that begin with a date or a device's name.
    Contains(&'static str),
}

/// What to call the device.
enum Called {
    /// Always the same.
    Name(&'static str),
    /// By the chip in `bitaxe/BM1370/…`.
    Bitaxe,
    /// `NerdQAxe++/BM1370/…`: the first two parts.
    NameAndChip,
    /// The part that begins with this word, up to the next slash or pipe.
    From(&'static str),
    /// The first part, and the version in brackets.
    AsItSays,
}

struct Entry {
    mark: Mark,
    called: Called,
    class: Class,
    start: f64,
    least: f64,
    shows_messages: bool,
    /// By which it tells of itself, where that is known.
    api: Option<Api>,
}

impl Entry {
    const fn new(mark: Mark, called: Called, class: Class, start: f64) -> Entry {
        let least = vardiff::FLOOR;
        Entry { mark, called, class, start, least, shows_messages: false, api: None }
    }

    const fn tells_by(self, api: Api) -> Entry {
        Entry { api: Some(api), ..self }
    }

    /// It reads a difficulty as a whole number: 0.001 would be 0.
    const fn reads_whole_numbers(self) -> Entry {
        Entry { least: 1.0, ..self }
    }

    const fn shows_messages(self) -> Entry {
        Entry { shows_messages: true, ..self }
    }

    fn fits(&self, user_agent: &str) -> bool {
        match self.mark {
            Mark::Begins(prefix) => starts_with(user_agent, prefix),
            Mark::Contains(part) => contains(user_agent, part).is_some(),
        }
    }
}

const UNKNOWN: Entry = Entry::new(Begins(""), AsItSays, Class::Unknown, 1000.0);

use Api::{Cgminer, Http};
use Called::{AsItSays, Bitaxe, From, Name, NameAndChip};
use Class::{Asic, Cpu, Esp32, Rental};
use Mark::{Begins, Contains};

/// The first entry that fits counts.
///
/// Start values: an ESP32 at 500 kH/s submits every 13 s at 0.0015; a Bitaxe at 1.2 TH/s every
/// 3.6 s at 1000; an S21 at 200 TH/s every 1.4 s at 65536. Each is at most what the slowest of
/// its kind manages, because the way up is quick and the way down is slow. Markets hang up below
/// about half a million.
///
/// NerdMiner, HAN SOLO miner, LeafMiner and the machines from NerdAxe to NerdEKO are known to submit
/// a share twice. So no miner's duplicates are told as a fault (`tells_of_a_fault` in
/// `status/verdict.rs`).
///
/// `status/nominal.rs` has the number of chips and the data-sheet rates, where they are known.
const TABLE: &[Entry] = &[
    // Microcontrollers.
    Entry::new(Begins("NerdMiner"), Name("NerdMiner"), Esp32, 0.0015),
    Entry::new(Begins("HAN_SOLO"), Name("HAN SOLO miner"), Esp32, 0.0015),
    Entry::new(Begins("HeliosMiner"), Name("HeliosMiner"), Esp32, 0.0015),
    Entry::new(Begins("NMMiner"), Name("NMMiner"), Esp32, 0.0015),
    Entry::new(Begins("ESP32"), Name("ESP32 miner"), Esp32, 0.0015),
    Entry::new(Begins("BitsyMiner"), Name("BitsyMiner"), Esp32, 0.0015),
    Entry::new(Begins("SparkMiner"), Name("SparkMiner"), Esp32, 0.0015),
    Entry::new(Begins("LeafMiner"), Name("LeafMiner"), Esp32, 0.0015),
    // Programs.
    Entry::new(Begins("cpuminer"), AsItSays, Cpu, 0.05),
    // Small open machines.
    Entry::new(Begins("NerdNOS"), NameAndChip, Asic, 100.0),
    Entry::new(Begins("bitaxe"), Bitaxe, Asic, 1000.0).tells_by(Http).shows_messages(),
    Entry::new(Begins("NMAxe"), NameAndChip, Asic, 1000.0).tells_by(Http),
    Entry::new(Begins("NMQAxe"), NameAndChip, Asic, 4000.0).tells_by(Http),
    Entry::new(Begins("LuckyMiner"), NameAndChip, Asic, 1000.0).tells_by(Http),
    Entry::new(Begins("Zyber"), NameAndChip, Asic, 1000.0).tells_by(Http),
    Entry::new(Begins("NerdAxe"), NameAndChip, Asic, 1000.0).tells_by(Http).reads_whole_numbers(),
    Entry::new(Begins("NerdQAxe"), NameAndChip, Asic, 4000.0).tells_by(Http).reads_whole_numbers(),
    Entry::new(Begins("NerdHaxe"), NameAndChip, Asic, 6000.0).tells_by(Http).reads_whole_numbers(),
    Entry::new(Begins("NerdOCTAXE"), NameAndChip, Asic, 8000.0)
        .tells_by(Http)
        .reads_whole_numbers(),
    Entry::new(Begins("NerdQX"), NameAndChip, Asic, 8000.0).tells_by(Http).reads_whole_numbers(),
    Entry::new(Begins("NerdEKO"), NameAndChip, Asic, 12000.0).tells_by(Http).reads_whole_numbers(),
    Entry::new(Begins("Q1370"), NameAndChip, Asic, 4000.0).tells_by(Http).reads_whole_numbers(),
    Entry::new(Begins("Q1373"), NameAndChip, Asic, 1000.0).tells_by(Http).reads_whole_numbers(),
    // Whole machines, by firmware. LuxOS and Braiins OS begin with the device or a date.
    Entry::new(Contains("LUXminer"), From("Antminer"), Asic, 65536.0).tells_by(Cgminer),
    Entry::new(Contains("bosminer"), Name("Braiins OS"), Asic, 65536.0).tells_by(Cgminer),
    Entry::new(Begins("Braiins OS"), Name("Braiins OS"), Asic, 65536.0).tells_by(Cgminer),
    Entry::new(Begins("xminer"), Name("VNish"), Asic, 65536.0).tells_by(Cgminer),
    Entry::new(Begins("PowerPlay-BM"), Name("ePIC"), Asic, 65536.0),
    Entry::new(Begins("whatsminer"), Name("Whatsminer"), Asic, 65536.0),
    Entry::new(Contains("Antminer S9"), From("Antminer"), Asic, 8000.0).tells_by(Cgminer),
    Entry::new(Contains("Antminer"), From("Antminer"), Asic, 65536.0),
    Entry::new(Begins("bmminer"), Name("Antminer"), Asic, 8000.0).tells_by(Cgminer),
    Entry::new(Begins("cgminer/4.11.1"), Name("Avalon (cgminer 4.11.1)"), Asic, 4000.0)
        .tells_by(Cgminer)
        .shows_messages(),
    Entry::new(Begins("cgminer"), AsItSays, Asic, 1000.0).tells_by(Cgminer).shows_messages(),
    Entry::new(Begins("bfgminer"), AsItSays, Asic, 1000.0).tells_by(Cgminer).shows_messages(),
    // Markets.
    Entry::new(Begins("NiceHash"), Name("NiceHash"), Rental, 524_288.0),
    Entry::new(Begins("MRR-Hash"), Name("Mining Rig Rentals"), Rental, 524_288.0),
    Entry::new(Begins("MiningRigRentals"), Name("Mining Rig Rentals"), Rental, 524_288.0),
];

/// The longest name that the page shows, in characters.
const LONGEST_MODEL: usize = 48;

fn model(entry: &Entry, user_agent: &str) -> String {
    let mut parts = user_agent.split(['/', '|']).map(str::trim);
    let first = parts.next().unwrap_or_default();
    let second = parts.next().filter(|part| !part.is_empty());
    let name: Cow<'_, str> = match entry.called {
        Name(name) => name.into(),
        Bitaxe => match second {
            Some("BM1397") => "Bitaxe Max (BM1397)".into(),
            Some("BM1366") => "Bitaxe Ultra (BM1366)".into(),
            Some("BM1368") => "Bitaxe Supra (BM1368)".into(),
            Some("BM1370") => "Bitaxe Gamma (BM1370)".into(),
            Some(chip) => format!("Bitaxe ({chip})").into(),
            None => "Bitaxe".into(),
        },
        NameAndChip => match second.filter(|part| part.starts_with("BM")) {
            Some(chip) => format!("{first} ({chip})").into(),
            None => first.into(),
        },
        From(word) => match contains(user_agent, word) {
            Some(at) => user_agent[at..].split(['/', '|']).next().unwrap_or(word).into(),
            None => "LuxOS".into(),
        },
        AsItSays if first.is_empty() => "unknown miner".into(),
        AsItSays => match second {
            Some(version) => format!("{first} {version}").into(),
            None => first.into(),
        },
    };
    name.chars().filter(|letter| !letter.is_control()).take(LONGEST_MODEL).collect()
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.as_bytes()
        .get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// Where `part`, which is ASCII, begins in `text`.
fn contains(text: &str, part: &str) -> Option<usize> {
    text.as_bytes()
        .windows(part.len())
        .position(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_known_user_agent_finds_its_place() {
        for (user_agent, model, class, start) in [
            ("bitaxe/BM1366/v2.9.0", "Bitaxe Ultra (BM1366)", Asic, 1000.0),
            ("bitaxe/BM1368", "Bitaxe Supra (BM1368)", Asic, 1000.0),
            ("bitaxe/BM1370/v2.13.1", "Bitaxe Gamma (BM1370)", Asic, 1000.0),
            ("bitaxe/BM1373/v3", "Bitaxe (BM1373)", Asic, 1000.0),
            ("NerdQAxe++/BM1370/v1.0.36", "NerdQAxe++ (BM1370)", Asic, 4000.0),
            ("NerdOCTAXE-γ/BM1370/v1.0.36", "NerdOCTAXE-γ (BM1370)", Asic, 8000.0),
            ("NerdAxe/BM1366/v1.0.36", "NerdAxe (BM1366)", Asic, 1000.0),
            ("NerdHaxe-γ/BM1370/v1.0.38", "NerdHaxe-γ (BM1370)", Asic, 6000.0),
            ("NerdEKO/BM1370/v1.0.38", "NerdEKO (BM1370)", Asic, 12000.0),
            ("Q1370/BM1370/v1.0.38", "Q1370 (BM1370)", Asic, 4000.0),
            ("Q1373/BM1373/v1.0.38", "Q1373 (BM1373)", Asic, 1000.0),
            ("NMAxeGamma/v3.1.03", "NMAxeGamma", Asic, 1000.0),
            ("NMQAxe++Rev6.1/v3.1.03", "NMQAxe++Rev6.1", Asic, 4000.0),
            ("NerdMinerV2/V1.8.3", "NerdMiner", Esp32, 0.0015),
            ("NerdMinerV2", "NerdMiner", Esp32, 0.0015),
            ("HAN_SOLOminer/1.0", "HAN SOLO miner", Esp32, 0.0015),
            ("NMMiner", "NMMiner", Esp32, 0.0015),
            ("NMAxe/v3.0.11", "NMAxe", Asic, 1000.0),
            ("SparkMiner/v2.9.5", "SparkMiner", Esp32, 0.0015),
            ("NerdNOS/BM1397/v1", "NerdNOS (BM1397)", Asic, 100.0),
            ("cgminer/4.11.1", "Avalon (cgminer 4.11.1)", Asic, 4000.0),
            ("cgminer/4.12.0-wrk", "cgminer 4.12.0-wrk", Asic, 1000.0),
            ("bfgminer/5.5.0-unknown", "bfgminer 5.5.0-unknown", Asic, 1000.0),
            ("bmminer/2.0.0/Antminer S9/14000", "Antminer S9", Asic, 8000.0),
            (
                "Antminer S19j Pro+/Wed Jun 28 10:11:12 CST 2023",
                "Antminer S19j Pro+",
                Asic,
                65536.0,
            ),
            ("Antminer S21/Fri Feb  2 10:11:12 CST 2024", "Antminer S21", Asic, 65536.0),
            (
                "Antminer S19k Pro|LUXminer 2026.4.3.192353-abc|BHB56902|x",
                "Antminer S19k Pro",
                Asic,
                65536.0,
            ),
            ("LUXminer 2026", "LuxOS", Asic, 65536.0),
            (
                "2026-04-14-0-a1b2c3-26.04-plus;bosminer-plus-tuner 0.9.0-abc",
                "Braiins OS",
                Asic,
                65536.0,
            ),
            ("Braiins OS 2019-06-05", "Braiins OS", Asic, 65536.0),
            ("xminer-1.2.7", "VNish", Asic, 65536.0),
            ("whatsminer/v1.1", "Whatsminer", Asic, 65536.0),
            ("PowerPlay-BM/1.0", "ePIC", Asic, 65536.0),
            ("cpuminer/2.5.1", "cpuminer 2.5.1", Cpu, 0.05),
            ("cpuminer-opt-26.1-x86_64L", "cpuminer-opt-26.1-x86_64L", Cpu, 0.05),
            ("NiceHash/1.0.0", "NiceHash", Rental, 524_288.0),
            ("MRR-Hash/1.0.0", "Mining Rig Rentals", Rental, 524_288.0),
            ("MiningRigRentals/Test/1.0", "Mining Rig Rentals", Rental, 524_288.0),
            ("BITAXE/bm1370", "Bitaxe (bm1370)", Asic, 1000.0),
            ("γγγ", "γγγ", Class::Unknown, 1000.0),
            ("", "unknown miner", Class::Unknown, 1000.0),
        ] {
            let profile = identify(user_agent, &[]);
            assert_eq!(
                (profile.model.as_str(), profile.class, profile.start_difficulty),
                (model, class, start),
                "{user_agent}"
            );
            assert_eq!(profile.extranonce2_size, 8);
        }
    }

    #[test]
    fn share_rates_follow_the_class() {
        assert_eq!(identify("NerdMinerV2/V1.8.3", &[]).aim.shares_per_minute, 2.0);
        assert_eq!(identify("bitaxe/BM1370/v2.13.1", &[]).aim.shares_per_minute, 6.0);
        assert_eq!(identify("Antminer S21/x", &[]).aim.least_when_silent, 1024.0);
        assert_eq!(identify("strange", &[]).aim.least_when_silent, 0.0);
    }

    #[test]
    fn a_firmware_that_reads_whole_numbers_is_given_no_less_than_1() {
        for (agent, least) in [
            ("NerdQAxe++/BM1370/v1.0.38", 1.0),
            ("NerdAxe/BM1370/v1.0.38", 1.0),
            ("Q1373/BM1373/v1.0.38", 1.0),
            ("bitaxe/BM1370/v2.15.0", vardiff::FLOOR),
            ("NerdMinerV2", vardiff::FLOOR),
        ] {
            assert_eq!(identify(agent, &[]).aim.least, least, "{agent}");
        }
    }

    #[test]
    fn no_entry_hides_a_later_one() {
        for (at, entry) in TABLE.iter().enumerate() {
            let sample = match entry.mark {
                Begins(text) | Contains(text) => text,
            };
            let found = TABLE.iter().position(|entry| entry.fits(sample));
            assert_eq!(found, Some(at), "{sample}");
        }
    }

    #[test]
    fn the_owner_overrides_the_table_and_the_longest_prefix_counts() {
        let entry = |prefix: &str, start| Override {
            prefix: prefix.into(),
            start_difficulty: Some(start),
            ..Override::default()
        };
        let small = Override {
            prefix: "bitaxe/BM1366".into(),
            extranonce2_size: Some(4),
            shares_per_minute: Some(3.0),
            ..Override::default()
        };
        let overrides = [entry("Bitaxe", 500.0), entry("bitaxe/BM1370", 2000.0), small];
        assert_eq!(identify("bitaxe/BM1370/v2", &overrides).start_difficulty, 2000.0);
        assert_eq!(identify("bitaxe/BM1368", &overrides).start_difficulty, 500.0);
        let small = identify("bitaxe/BM1366/v2", &overrides);
        assert_eq!(
            (small.start_difficulty, small.extranonce2_size, small.aim.shares_per_minute),
            (1000.0, 4, 3.0)
        );
        assert_eq!(identify("other", &overrides).start_difficulty, 1000.0);
    }

    #[test]
    fn the_order_of_who_decides() {
        let profile = identify("bitaxe/BM1370/v2.13.1", &[]);
        let start = |saved, asked, suggestion| starting_point(saved, asked, suggestion, &profile);
        let level = |wish| Some(Saved::Level { difficulty: 2800.0, wish });
        let fixed = Some(Saved::Fixed(64.0));
        assert_eq!(start(None, None, None), Start::Guess(1000.0));
        assert_eq!(start(None, None, Some(512.0)), Start::Guess(512.0));
        assert_eq!(start(None, Some(256.0), Some(512.0)), Start::Fixed(256.0));
        assert_eq!(start(level(None), None, Some(512.0)), Start::Known(2800.0));
        assert_eq!(start(level(Some(512.0)), None, Some(512.0)), Start::Known(2800.0));
        assert_eq!(start(level(Some(1000.0)), None, None), Start::Known(2800.0));
        assert_eq!(start(level(Some(1000.0)), Some(256.0), Some(512.0)), Start::Fixed(256.0));
        assert_eq!(start(fixed, Some(256.0), Some(512.0)), Start::Fixed(64.0));
        // A newer wish, one that is what we gave, and one that is none.
        assert_eq!(start(level(Some(1000.0)), None, Some(512.0)), Start::Guess(512.0));
        assert_eq!(start(level(Some(1000.0)), None, Some(2800.0)), Start::Known(2800.0));
        assert_eq!(start(level(Some(0.0012)), None, Some(SIGN_OF_LIFE)), Start::Known(2800.0));
    }

    #[test]
    fn passwords_with_and_without_a_difficulty() {
        for (password, difficulty) in [
            ("x,d=512", Ok(Some(512.0))),
            ("d=0.001", Ok(Some(0.001))),
            ("d=12.345", Err(Unclear)),
            ("d=1e3", Ok(Some(1000.0))),
            ("x;diff=1000", Ok(Some(1000.0))),
            ("DIFFICULTY = 2", Ok(Some(2.0))),
            ("x, d= 7 ,y", Ok(Some(7.0))),
            ("difficulty=2 x", Ok(Some(2.0))),
            ("x,D=7", Ok(Some(7.0))),
            ("d=512,word", Ok(Some(512.0))),
            ("", Ok(None)),
            ("x", Ok(None)),
            ("word=512", Ok(None)),
            ("a=b=512", Ok(None)),
            ("=", Ok(None)),
            ("d=x,diff=3", Ok(Some(3.0))),
            // What can be read in two ways, or in none.
            ("d=5,000", Err(Unclear)),
            ("d=5,000,000", Err(Unclear)),
            ("d=5 000", Err(Unclear)),
            ("d=5.000", Err(Unclear)),
            ("d=5'000", Err(Unclear)),
            ("d=5_000", Err(Unclear)),
            ("d=0,5", Err(Unclear)),
            ("d=5k", Err(Unclear)),
            ("d=", Err(Unclear)),
            ("d=0", Err(Unclear)),
            ("d=-5", Err(Unclear)),
            ("d=inf", Err(Unclear)),
            ("d=nan", Err(Unclear)),
            ("d=1e999", Err(Unclear)),
        ] {
            assert_eq!(password_difficulty(password), difficulty, "{password}");
        }
    }

    proptest! {
        #[test]
        fn any_password_is_read(password in prop_oneof![".{0,40}", "[d=,. 0-9γ]{0,20}"]) {
            if let Ok(Some(difficulty)) = password_difficulty(&password) {
                prop_assert!(difficulty.is_finite() && difficulty > 0.0);
            }
        }

        #[test]
        fn any_user_agent_has_a_short_and_clean_model(
            user_agent in prop_oneof![
                "\\PC{0,80}",
                "(bitaxe|NerdQAxe|antminer|x luxminer|cgminer)[/| ]\\PC{0,80}",
                any::<String>(),
            ],
        ) {
            let profile = identify(&user_agent, &[]);
            prop_assert!(profile.model.chars().count() <= LONGEST_MODEL);
            prop_assert!(!profile.model.chars().any(char::is_control));
            prop_assert!(profile.start_difficulty > 0.0);
        }
    }
}
