//! Devices with the API of cgminer at TCP port 4028: one command for each connection, answered in JSON.
//! Names and units are from cgminer's `api.c`, and for Antminers and Avalons from answers of devices, since
//! their firmwares are closed. What Avalons add is in `avalon`.

use super::fields::{Fields, mended};
use super::{
    Answer, BOARDS_MAX, FANS_MAX, Family, Fan, POOLS_MAX, Pool, Telemetry, Unreadable, avalon,
    bounds, host_of, mac, port_of, text, within,
};

/// What is asked, one after the other. An Avalon Q leaves its part of `stats` empty now and then, and that of
/// `estats` is whole; another device may not know `estats`.
pub const COMMANDS: [&str; 5] = ["version", "summary", "pools", "stats", "estats"];

/// What the device says. Commands that it does not know, or whose answers cannot be read, cost what they
/// would have told.
///
/// # Errors
/// See [`Unreadable`]: no answer is readable, or none is of a miner.
pub fn read(answers: &[Answer]) -> Result<Telemetry, Unreadable> {
    let told: Vec<(&str, String)> = answers
        .iter()
        .map(|answer| (answer.to, mended(&String::from_utf8_lossy(&answer.body))))
        .collect();
    let mut sections = Sections::default();
    let mut fault = Unreadable::Malformed;
    for (command, json) in &told {
        match Fields::of(json) {
            Ok(answer) => {
                fault = Unreadable::NoMiner;
                sections.add(command, &answer);
            }
            Err(Unreadable::NoMiner) => fault = Unreadable::NoMiner,
            Err(Unreadable::Malformed) => {}
        }
    }
    sections.telemetry().ok_or(fault)
}

/// The sections of the answers, by the commands that they are answers to.
#[derive(Default)]
struct Sections<'a> {
    version: Option<Fields<'a>>,
    summary: Option<Fields<'a>>,
    pools: Vec<Fields<'a>>,
    /// Of both commands.
    stats: Vec<Fields<'a>>,
}

impl<'a> Sections<'a> {
    /// An error's answer has a status alone.
    fn add(&mut self, command: &str, answer: &Fields<'a>) {
        let section = |name| answer.objects(name);
        match command {
            "version" => self.version = section("VERSION").into_iter().next(),
            "summary" => self.summary = section("SUMMARY").into_iter().next(),
            "pools" => self.pools = section("POOLS"),
            "stats" | "estats" => self.stats.extend(section("STATS")),
            _ => {}
        }
    }

    /// `None` of something that is no miner.
    fn telemetry(self) -> Option<Telemetry> {
        let none = Fields::nothing;
        if self.version.is_none() && self.summary.is_none() {
            return None;
        }
        let (version, summary) =
            (self.version.unwrap_or_else(none), self.summary.unwrap_or_else(none));
        let mut device = Telemetry {
            model: model(&version, &self.stats),
            firmware: firmware(&version),
            mac: mac(&version.text("MAC")),
            hashrate: hashrate(&summary),
            // WhatsMiners.
            watts: within(summary.number("Power").unwrap_or(f64::NAN), &bounds::WATTS),
            uptime_s: summary.whole("Elapsed"),
            accepted: summary.whole("Accepted"),
            rejected: summary.whole("Rejected"),
            best: summary.number("Best Share").and_then(|best| within(best, &bounds::DIFFICULTY)),
            ..Telemetry::silent(Family::Cgminer)
        };
        set_pools(&mut device, &self.pools);
        let is_avalon = ["PROD", "MODEL"]
            .iter()
            .any(|name| version.text(name).to_ascii_lowercase().contains("avalon"));
        if let Some(module) = avalon::Module::of(&self.stats) {
            module.tell(&mut device);
        } else if is_avalon {
            device.family = Family::Avalon;
        } else {
            set_boards(&mut device, &self.stats);
        }
        Some(device)
    }
}

/// `Avalon Nano3s`, `Antminer S19j Pro`, or the program's own name.
fn model(version: &Fields<'_>, stats: &[Fields<'_>]) -> String {
    let (product, model) = (version.text("PROD"), version.text("MODEL"));
    if !product.is_empty() {
        let has = product.to_ascii_lowercase().contains(&model.to_ascii_lowercase());
        return if has { product } else { text(&format!("{product} {model}")) };
    }
    let mut types = stats.iter().map(|section| section.text("Type"));
    let told =
        [version.text("Type"), types.find(|told| !told.is_empty()).unwrap_or_default(), model];
    told.into_iter().find(|told| !told.is_empty()).unwrap_or_else(|| program(version))
}

/// An Avalon's own version, or else `bmminer 2.0.0`.
fn firmware(version: &Fields<'_>) -> String {
    let own = [version.text("LVERSION"), version.text("VERSION")];
    own.into_iter().find(|own| !own.is_empty()).unwrap_or_else(|| program(version))
}

/// The field beside the version of the API is named after the program.
fn program(version: &Fields<'_>) -> String {
    let program = version.names().find(|name| name.to_ascii_lowercase().ends_with("miner"));
    match program {
        // Antminers' "Miner" is a version of their board.
        Some("Miner") | None => String::new(),
        Some(name) => text(&format!("{} {}", name.to_ascii_lowercase(), version.text(name))),
    }
}

/// H/s: the shortest average that is told, in gigahashes by Antminers and in megahashes by all others.
fn hashrate(summary: &Fields<'_>) -> Option<f64> {
    let rates =
        [("GHS 5s", 1e9), ("MHS 5s", 1e6), ("MHS 1m", 1e6), ("GHS av", 1e9), ("MHS av", 1e6)];
    let mut told = rates.into_iter().filter_map(|(name, unit)| Some(summary.number(name)? * unit));
    told.find_map(|rate| within(rate, &bounds::HASHRATE))
}

/// In the order of their priorities. Of several that are connected, the first is mined on.
fn set_pools(device: &mut Telemetry, sections: &[Fields<'_>]) {
    let mut told: Vec<(u64, bool, Pool)> = sections.iter().filter_map(pool).collect();
    told.sort_by_key(|(priority, ..)| *priority);
    let mut found = false;
    for (_, is_active, pool) in &mut told {
        pool.in_use = *is_active && !found;
        found |= *is_active;
    }
    device.on_fallback = found.then(|| !told[0].2.in_use);
    device.pools = told.into_iter().map(|(.., pool)| pool).take(POOLS_MAX).collect();
}

/// `None` of a place that is empty or switched off.
fn pool(section: &Fields<'_>) -> Option<(u64, bool, Pool)> {
    let url = section.text("URL");
    let host = host_of(&url).to_owned();
    if host.is_empty() || section.text("Status") == "Disabled" {
        return None;
    }
    let (port, user) = (port_of(&url).unwrap_or_default(), section.text("User"));
    let is_active = section.flag("Stratum Active") == Some(true);
    let priority = section.whole("Priority").unwrap_or(u64::MAX);
    Some((priority, is_active, Pool { host, port, user, in_use: false }))
}

/// What Antminers tell of their boards: `temp_chip1` is `58-58-66-66`, `temp2_1` is a number, and which of
/// them is the chip and which the board differs from model to model. The hottest is the chip.
fn set_boards(device: &mut Telemetry, stats: &[Fields<'_>]) {
    let mut fans = [None; FANS_MAX];
    let mut boards = [None; BOARDS_MAX];
    let mut chip_c: Option<f64> = None;
    for section in stats {
        for (name, number) in section.numbers() {
            let place =
                |prefix| name.strip_prefix(prefix).and_then(|place| place.parse::<usize>().ok());
            if let Some(fan) = place("fan").and_then(|place| fans.get_mut(place.wrapping_sub(1))) {
                *fan = within(number, &bounds::RPM);
            } else if let Some(board) = place("chain_rate").and_then(|place| boards.get_mut(place))
            {
                *board = within(number * 1e9, &bounds::HASHRATE);
            } else if is_temperature(name) {
                chip_c = hotter(chip_c, number);
            } else if name == "total_rateideal" {
                device.expected =
                    within(number * 1e9, &bounds::HASHRATE).filter(|rate| *rate > 0.0);
            }
        }
        for name in section.names().filter(|name| name.starts_with("temp_chip")) {
            for told in section.text(name).split('-') {
                chip_c = hotter(chip_c, told.parse().unwrap_or(f64::NAN));
            }
        }
    }
    device.chip_c = chip_c;
    device.boards = boards.into_iter().flatten().collect();
    // Places without a fan tell 0.
    let turning = fans.into_iter().flatten().filter(|rpm| *rpm > 0.0);
    device.fans = turning.map(|rpm| Fan { rpm: Some(rpm), percent: None }).collect();
}

/// `temp1`, `temp2_1`.
fn is_temperature(name: &str) -> bool {
    let place = name.strip_prefix("temp").unwrap_or_default();
    place.starts_with(|c: char| c.is_ascii_digit())
}

/// 0 is a place without a sensor.
fn hotter(hottest: Option<f64>, told: f64) -> Option<f64> {
    let told = within(told, &bounds::CELSIUS).filter(|celsius| *celsius > 0.0);
    hottest.into_iter().chain(told).reduce(f64::max)
}

#[cfg(test)]
mod tests;
