//! Miners that have mined here before: by address and name, since when, and on how many days.
//!
//! An address alone is what is known of a caller before it speaks. Neither is a secret, but a device has to
//! take a miner's address away from it to be taken for it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Acquaintance;

/// Miners that are remembered. The one that mined on the fewest days makes room, of several the one that
/// was here longest ago.
const KNOWN_MAX: usize = 256;

/// Who has not mined for so many days is forgotten.
const FORGOTTEN_AFTER: u64 = 60;

const DAY: u64 = 86_400;

/// See the module's description.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KnownMiners {
    miners: BTreeMap<IpAddr, Vec<Known>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Known {
    name: String,
    /// Unix seconds of the first share.
    since: u64,
    /// Days since 1970 of the last one.
    last: u64,
    /// Days with a share.
    days: u64,
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    address: IpAddr,
    name: String,
    since: u64,
    last: u64,
    days: u64,
}

impl KnownMiners {
    /// Since when a miner has come from this address, whatever its name.
    pub fn address(&self, address: IpAddr) -> Acquaintance {
        let known = self.miners.get(&address.to_canonical())?;
        known.iter().map(|known| known.since).min()
    }

    /// Since when the miner of this name has come from this address.
    pub fn miner(&self, address: IpAddr, name: &str) -> Acquaintance {
        let known = self.miners.get(&address.to_canonical())?;
        known.iter().find(|known| known.name == name).map(|known| known.since)
    }

    /// A share of it was accepted. True when this is worth being written down: it is new, or it is the
    /// first share of its day.
    pub fn mined(&mut self, unix: u64, address: IpAddr, name: &str) -> bool {
        let (address, today) = (address.to_canonical(), unix / DAY);
        let known = self.miners.entry(address).or_default();
        if let Some(known) = known.iter_mut().find(|known| known.name == name) {
            // A clock that was set back counts no day twice.
            let is_news = today > known.last;
            if is_news {
                (known.last, known.days) = (today, known.days.saturating_add(1));
            }
            return is_news;
        }
        known.push(Known { name: name.to_owned(), since: unix, last: today, days: 1 });
        self.forget(today);
        true
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.miners.values().map(Vec::len).sum()
    }

    /// Nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.miners.is_empty()
    }

    fn forget(&mut self, today: u64) {
        self.keep(|known| known.last + FORGOTTEN_AFTER >= today);
        // Of the new one and others alike, the new one stays.
        for _ in KNOWN_MAX..self.len() {
            let all = self.miners.iter().flat_map(|(address, known)| {
                let each = known.iter().enumerate();
                each.map(|(at, known)| (known.days, known.last, known.since, *address, at))
            });
            let Some((.., address, at)) = all.min() else { return };
            if let Some(known) = self.miners.get_mut(&address) {
                known.remove(at);
            }
        }
        self.keep(|_| true);
    }

    fn keep(&mut self, stays: impl Fn(&Known) -> bool) {
        self.miners.retain(|_, known| {
            known.retain(&stays);
            !known.is_empty()
        });
    }

    /// As the text of a file: a line in JSON for each.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (address, known) in &self.miners {
            for known in known {
                let Known { name, since, last, days } = known.clone();
                let line = Line { address: *address, name, since, last, days };
                text.push_str(&serde_json::to_string(&line).unwrap_or_default());
                text.push('\n');
            }
        }
        text
    }

    /// From such a text. A damaged line costs only itself.
    pub fn from_text(text: &str) -> KnownMiners {
        let mut known = KnownMiners::default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        for Line { address, name, since, last, days } in lines.take(KNOWN_MAX) {
            let of_address = known.miners.entry(address.to_canonical()).or_default();
            if of_address.iter().all(|known| known.name != name) {
                of_address.push(Known { name, since, last, days });
            }
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + n).to_be_bytes())
    }

    #[test]
    fn a_miner_is_known_by_address_and_name_from_its_first_share_on() {
        let mut known = KnownMiners::default();
        let one = "192.168.1.7".parse().unwrap();
        assert_eq!(known.address(one), None);
        assert!(known.mined(1000, one, "garage"));
        assert!(known.mined(2000, "::ffff:192.168.1.7".parse().unwrap(), "attic"));
        assert!(!known.mined(3000, one, "garage"), "of the same day");
        assert_eq!(known.address(one), Some(1000));
        assert_eq!(known.miner(one, "attic"), Some(2000));
        assert_eq!(known.miner(one, "cellar"), None);
        assert!(known.mined(DAY + 1, one, "garage"));
        assert!(!known.mined(DAY - 1, one, "garage"), "the clock was set back");
        assert_eq!(known.miner(one, "garage"), Some(1000));
    }

    #[test]
    fn a_flood_of_new_miners_drives_out_none_of_two_days() {
        let mut known = KnownMiners::default();
        for day in 0..2 {
            for n in 0..20 {
                known.mined(day * DAY + u64::from(n), address(n), "old");
            }
        }
        for n in 0..10_000 {
            known.mined(2 * DAY + u64::from(n), address(1000 + n), "new");
            assert!(known.len() <= KNOWN_MAX);
        }
        assert!((0..20).all(|n| known.miner(address(n), "old").is_some()));
        assert!(known.address(address(10_999)).is_some(), "the newest is known");
        // Who is away for two months makes room.
        known.mined((2 + FORGOTTEN_AFTER) * DAY, address(7), "old");
        known.mined((2 + FORGOTTEN_AFTER) * DAY, address(5000), "late");
        assert!(known.address(address(8)).is_none());
        assert!(known.address(address(7)).is_some());
    }

    #[test]
    fn the_file_is_read_as_it_was_written_and_damage_costs_only_its_lines() {
        let mut known = KnownMiners::default();
        known.mined(1000, address(1), "a \"b\"\n\t\u{202e}c");
        known.mined(2000, address(1), "");
        known.mined(3000, "2001:db8::7".parse().unwrap(), "six");
        let text = known.to_text();
        assert_eq!(text.lines().count(), 3);
        assert_eq!(KnownMiners::from_text(&text), known);
        let damaged = format!("{{\n{text}\u{fffd}{{\"address\":\"x\"}}\n{text}");
        assert_eq!(KnownMiners::from_text(&damaged), known);
        let flood: String = (0..10_000)
            .map(|n| {
                text.lines().next().unwrap().replace("10.0.0.1", &address(n).to_string()) + "\n"
            })
            .collect();
        assert!(KnownMiners::from_text(&flood).len() <= KNOWN_MAX);
    }
}
