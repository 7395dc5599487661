//! What an Avalon says of itself in the field `MM ID0` of `stats`, or `MM ID0:Summary` (Avalon Q): keys with
//! their values in brackets, `Fan1[1520] FanR[33%] PS[0 0 27541 4 0 3756 133]`. The firmware is closed; keys,
//! units and meanings are from answers of devices.

use super::fields::{Fields, suffixed};
use super::{BOARDS_MAX, FANS_MAX, Family, Fan, Telemetry, bounds, text, within};

/// What that field says.
pub(super) struct Module(String);

impl Module {
    /// The first of the sections that says something.
    pub(super) fn of(stats: &[Fields<'_>]) -> Option<Module> {
        stats.iter().find_map(|section| {
            let name = section.names().find(|name| name.starts_with("MM ID"))?.to_owned();
            section.string(&name).filter(|told| told.contains('[')).map(Module)
        })
    }

    /// Puts what it says into `device`, which has the rest of the answers.
    pub(super) fn tell(&self, device: &mut Telemetry) {
        device.family = Family::Avalon;
        if device.firmware.is_empty() {
            device.firmware = text(self.value("Ver").unwrap_or_default());
        }
        // The average since the start stays high in standby; this one does not.
        let rate = |name| within(self.number(name)? * 1e9, &bounds::HASHRATE);
        device.hashrate = rate("GHSspd").or(device.hashrate);
        device.expected = rate("GHSmm").filter(|rate| *rate > 0.0);
        device.boards = self.boards();
        device.watts = self.watts();
        device.chip_c = self.celsius("TMax").filter(|celsius| *celsius > 0.0);
        // A sensor that is missing tells -273.
        device.air_c = self.celsius("ITemp").or_else(|| self.celsius("Temp"));
        device.fans = self.fans();
        // 0 is one on a cable.
        device.rssi_dbm =
            self.number("RSSI").and_then(|dbm| within(dbm, &bounds::DBM)).filter(|dbm| *dbm < 0.0);
        device.paused = self.value("SYSTEMSTATU").is_some_and(|status| status.contains("In Idle"))
            || self.number("SoftOFF").is_some_and(|off| off > 0.0);
    }

    /// H/s, where there is more than one board.
    fn boards(&self) -> Vec<f64> {
        let told = self.numbers("MGHS").into_iter();
        let boards: Vec<f64> = told
            .filter_map(|rate| within(rate * 1e9, &bounds::HASHRATE))
            .take(BOARDS_MAX)
            .collect();
        if boards.len() > 1 { boards } else { Vec::new() }
    }

    /// W. `PS` has seven numbers, of which the last is the power at the wall; that of the Nano 3 is not, and
    /// older machines have no such number, but tell that of their boards.
    fn watts(&self) -> Option<f64> {
        let told = self.numbers("PS");
        let is_nano3 = self.value("Ver").is_some_and(|version| version.starts_with("nano3-"));
        let by_supply = match (told.len(), is_nano3) {
            (7, false) => told.get(6),
            (7, true) => told.get(5),
            (6, _) => told.get(4),
            _ => None,
        };
        let watts = self.number("WALLPOWER").or_else(|| by_supply.copied())?;
        within(watts, &bounds::WATTS).filter(|watts| *watts > 0.0)
    }

    fn fans(&self) -> Vec<Fan> {
        let percent = self.value("FanR").and_then(|told| suffixed(told.trim_end_matches('%')));
        let percent = percent.and_then(|percent| within(percent, &bounds::PERCENT));
        let rpm = |place| within(self.number(&format!("Fan{place}"))?, &bounds::RPM);
        (1..=FANS_MAX).map_while(rpm).map(|rpm| Fan { rpm: Some(rpm), percent }).collect()
    }

    fn celsius(&self, key: &str) -> Option<f64> {
        within(self.number(key)?, &bounds::CELSIUS)
    }

    fn number(&self, key: &str) -> Option<f64> {
        suffixed(self.value(key)?)
    }

    /// Those of a list; empty where one of them is none, since their places have meanings.
    fn numbers(&self, key: &str) -> Vec<f64> {
        let told = self.value(key).unwrap_or_default().split_whitespace();
        told.map(suffixed).collect::<Option<Vec<f64>>>().unwrap_or_default()
    }

    /// What stands in the brackets behind a key.
    fn value(&self, key: &str) -> Option<&str> {
        let mut rest = self.0.as_str();
        while let Some(at) = rest.find(key) {
            let is_whole = !rest[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            rest = &rest[at + key.len()..];
            if is_whole && let Some(value) = rest.strip_prefix('[') {
                return value.split(']').next();
            }
        }
        None
    }
}
