//! The miners as devices, as far as they tell: their views, what they need in power and money, and the
//! alarms that follow from what they say.

use std::time::Instant;

use serde::Serialize;

use crate::clock::Now;
use crate::devices::pointing::{self, Command};
use crate::devices::rounds::{Device, Place};
use crate::devices::trouble::Trouble;
use crate::devices::{Pool, Telemetry};

use super::verdict::Alarms;
use super::{About, AlarmKind, Level, MinerView, Odds, Snapshot, format};

/// A device with an API of its own. All of it is what the device says, and as old as its last answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DeviceView {
    /// Its address, with the port if that is not the usual one.
    pub address: String,
    /// Its API: `axeos`, `nerdqaxe`, `nmaxe`, `avalon`, `cgminer`; empty until it has answered.
    pub family: String,
    /// Id of the miner that it is; `None` where none mines here from its address, or several do.
    pub miner: Option<String>,
    /// A miner at its address is connected to this box.
    pub mines_here: bool,
    /// Its model.
    pub model: String,
    /// Version of its firmware.
    pub firmware: String,
    /// Its name in the network.
    pub hostname: String,
    /// When it last answered.
    pub answered_at: Option<u64>,
    /// The answer is at most two minutes old: it counts for sums and alarms.
    pub fresh: bool,
    /// Since when it does not answer.
    pub silent_since: Option<u64>,
    /// Why, as a clause; empty where it answers.
    pub silent_why: String,
    /// Hash rate now, H/s.
    pub hashrate: Option<f64>,
    /// Hash rate that its settings promise, H/s.
    pub expected: Option<f64>,
    /// Power, W.
    pub watts: Option<f64>,
    /// Energy for a terahash, J.
    pub joules_per_terahash: Option<f64>,
    /// Voltage at its power input, V.
    pub volts: Option<f64>,
    /// The hottest chip, °C.
    pub chip_c: Option<f64>,
    /// The voltage regulator, °C.
    pub regulator_c: Option<f64>,
    /// The air that it takes in, °C.
    pub air_c: Option<f64>,
    /// From which temperature of the chip on it protects itself, °C.
    pub limit_c: Option<f64>,
    /// Its fans.
    pub fans: Vec<FanView>,
    /// Strength of its Wi-Fi signal, dBm.
    pub rssi_dbm: Option<f64>,
    /// How long it has been running, seconds.
    pub uptime_s: Option<u64>,
    /// Shares accepted since its start, as it counts them.
    pub accepted: Option<u64>,
    /// Shares rejected since its start, as it counts them.
    pub rejected: Option<u64>,
    /// Difficulty of its best share ever, as it says.
    pub best: Option<f64>,
    /// Its shares beside those that came here.
    pub shares: Option<DeviceSharesView>,
    /// Hash rates of its boards or chips, H/s.
    pub boards: Vec<f64>,
    /// The pool that it mines on, `host:port`.
    pub pool: Option<String>,
    /// All its pools, in the order in which it prefers them.
    pub pools: Vec<String>,
    /// It mines on another pool than the one it prefers.
    pub on_fallback: Option<bool>,
    /// What it reports of its power, in its own words; empty where nothing is wrong.
    pub power_fault: String,
    /// What it reports of another part, in the same way.
    pub hardware_fault: String,
    /// What is wrong with it.
    pub troubles: Vec<TroubleView>,
    /// What it can be told. Only with the PIN, so it is not told to everybody.
    #[serde(skip)]
    pub commands: Vec<Command>,
}

/// A fan of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct FanView {
    /// Revolutions a minute.
    pub rpm: Option<f64>,
    /// How much of its speed it is told to run at, percent.
    pub percent: Option<f64>,
}

/// Shares of a device in the same time, counted at both ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceSharesView {
    /// Since then: the first answer, or the device's last start.
    pub since: u64,
    /// Answered shares as the device counts them, accepted or rejected.
    pub device: u64,
    /// Shares that came here.
    pub here: u64,
}

impl DeviceSharesView {
    /// Shares that the device counts and that never came here. A few can be on their way.
    pub fn lost(&self) -> u64 {
        self.device.saturating_sub(self.here)
    }
}

/// Something that is wrong with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TroubleView {
    /// What.
    pub what: Trouble,
    /// Since when.
    pub since: u64,
}

/// The power of all devices that tell it, and what that costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PowerView {
    /// Power, W.
    pub watts: f64,
    /// How many devices tell theirs.
    pub devices: u64,
    /// Energy for a terahash, J, of those that tell their hash rate as well.
    pub joules_per_terahash: Option<f64>,
    /// The part of it that works for this box: of the devices that mine here, W.
    pub watts_here: f64,
    /// What it costs.
    pub cost: Option<CostView>,
}

/// What electricity costs, in the owner's currency.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CostView {
    /// The currency; may be empty.
    pub currency: String,
    /// A day of 24 hours.
    pub day: f64,
    /// A month: a twelfth of 365.25 days.
    pub month: f64,
    /// A day of the devices that mine here: what is paid for the chance of a block.
    pub day_here: f64,
}

impl DeviceView {
    /// Of a device at `place`. `miner` is the id of the one miner there, now or before it left; `mines_here`:
    /// whether one is connected from there.
    pub fn of(
        now: Now,
        place: Place,
        device: &Device,
        miner: Option<String>,
        mines_here: bool,
    ) -> DeviceView {
        let date = |moment: Instant| now.date_of(moment);
        let fault = device.fault();
        let view = DeviceView {
            address: place.to_string(),
            miner,
            mines_here,
            answered_at: device.answered_at().map(date),
            fresh: device.says(now.mono).is_some(),
            silent_since: fault.map(|(since, _)| date(since)),
            silent_why: fault.map_or_else(String::new, |(_, why)| why.to_string()),
            shares: device.shares().map(|shares| DeviceSharesView {
                since: date(shares.since),
                device: shares.device(),
                here: shares.here(),
            }),
            troubles: device
                .troubles(now.mono)
                .map(|told| TroubleView { what: told.trouble, since: date(told.since) })
                .collect(),
            ..DeviceView::default()
        };
        match device.telemetry() {
            Some(telemetry) => view.with(telemetry),
            None => view,
        }
    }

    /// Of a device that a search found, and that is not asked since.
    pub fn found(place: Place, telemetry: &Telemetry) -> DeviceView {
        DeviceView { address: place.to_string(), ..DeviceView::default() }.with(telemetry)
    }

    fn with(self, told: &Telemetry) -> DeviceView {
        let place = |pool: &Pool| match pool.port {
            0 => pool.host.clone(),
            port => format!("{}:{port}", pool.host),
        };
        DeviceView {
            family: told.family.name().to_owned(),
            model: told.model.clone(),
            firmware: told.firmware.clone(),
            hostname: told.hostname.clone(),
            hashrate: told.hashrate,
            expected: told.expected,
            watts: told.watts,
            joules_per_terahash: told.joules_per_terahash(),
            volts: told.volts,
            chip_c: told.chip_c,
            regulator_c: told.regulator_c,
            air_c: told.air_c,
            limit_c: told.limit_c,
            fans: told
                .fans
                .iter()
                .map(|fan| FanView { rpm: fan.rpm, percent: fan.percent })
                .collect(),
            rssi_dbm: told.rssi_dbm,
            uptime_s: told.uptime_s,
            accepted: told.accepted,
            rejected: told.rejected,
            best: told.best,
            boards: told.boards.clone(),
            pool: told.pool().map(place),
            pools: told.pools.iter().map(place).collect(),
            on_fallback: told.on_fallback,
            power_fault: told.power_fault.clone(),
            hardware_fault: told.hardware_fault.clone(),
            commands: pointing::commands(told),
            ..self
        }
    }

    /// Without what others need not know of the house: its name and its pools.
    pub fn for_support(self) -> DeviceView {
        DeviceView { hostname: String::new(), pool: None, pools: Vec::new(), ..self }
    }

    /// What it claims to do, H/s: what its settings promise, or what it says it does, if that is more.
    pub fn claims(&self) -> Option<f64> {
        let rates = [self.expected, self.hashrate].into_iter().flatten();
        rates.filter(|_| self.fresh).reduce(f64::max).filter(|rate| *rate > 0.0)
    }

    /// `axeos` for people.
    pub fn api_words(&self) -> &'static str {
        let family = crate::devices::Family::ALL.into_iter();
        family
            .filter(|family| family.name() == self.family)
            .map(|family| family.words())
            .next()
            .unwrap_or("its API")
    }
}

/// Puts what devices claim beside what is known of their models. The higher claim counts: a device that
/// says less than its data sheet cannot talk an alarm about proven work away.
/// Of several devices under one name, the claims are added up, as their shares are.
pub fn claim(miners: &mut [MinerView], devices: &[DeviceView]) {
    for miner in miners {
        let its = || devices.iter().filter(|device| device.miner.as_ref() == Some(&miner.id));
        let claims: f64 = its().filter_map(DeviceView::claims).sum();
        let by = its().find(|device| device.claims().is_some()).map(DeviceView::api_words);
        if let Some(by) = by
            && miner.claimed.is_none_or(|claimed| claims > claimed)
        {
            miner.claimed = Some(claims);
            by.clone_into(&mut miner.claimed_by);
        }
    }
}

/// The power of all devices that tell it; `None` where none does.
pub fn power(devices: &[DeviceView], price: Option<f64>, currency: &str) -> Option<PowerView> {
    let telling = || devices.iter().filter(|device| device.fresh && device.watts.is_some());
    let watts: f64 = telling().filter_map(|device| device.watts).sum();
    let here = telling().filter(|device| device.mines_here);
    let watts_here: f64 = here.filter_map(|device| device.watts).sum();
    let measured = || telling().filter(|device| device.hashrate.is_some_and(|rate| rate > 0.0));
    let rate: f64 = measured().filter_map(|device| device.hashrate).sum();
    let measured_watts: f64 = measured().filter_map(|device| device.watts).sum();
    let count = telling().count() as u64;
    (count > 0).then(|| PowerView {
        watts,
        devices: count,
        watts_here,
        joules_per_terahash: (rate > 0.0).then(|| measured_watts / (rate / 1e12)),
        cost: price.map(|price| {
            let a_day = |watts: f64| watts * 24.0 / 1000.0 * price;
            CostView {
                currency: currency.to_owned(),
                day: a_day(watts),
                month: a_day(watts) * 365.25 / 12.0,
                day_here: a_day(watts_here),
            }
        }),
    })
}

impl CostView {
    /// `0.42 €`, `3.10 €`, `120 €`.
    pub fn amount(&self, amount: f64) -> String {
        let number = match amount {
            amount if amount < 100.0 => format!("{amount:.2}"),
            amount => format::thousands(amount.round() as u64),
        };
        match self.currency.as_str() {
            "" => number,
            currency => format!("{number}\u{202f}{}", format::tame(currency)),
        }
    }

    /// What the devices that mine here cost, on average, until a block is found; `None` without a hash
    /// rate, and where none of them tells its power.
    pub fn block(&self, odds: &Odds) -> Option<f64> {
        let block = self.day_here * odds.mean_s? / 86_400.0;
        (block > 0.0).then_some(block)
    }
}

/// What is wrong with devices by their own words, each with a next step. None of these takes the place of
/// an alarm about shares.
pub(super) fn alarms(snapshot: &Snapshot, alarms: &mut Alarms) {
    for device in snapshot.devices.iter().filter(|device| !device.troubles.is_empty()) {
        let name = snapshot.device_name(device);
        for told in &device.troubles {
            let (level, text, advice) = words(device, told.what, &name);
            let id = AlarmKind::from(told.what).of(snapshot.device_key(device));
            alarms.add_since(About::Miner, Some(told.since), level, id, text, advice);
        }
    }
}

impl Snapshot {
    /// By which a device's alarms are told from those of others: the miner's id, or its address where it is
    /// no miner, or where several devices mine under one name.
    fn device_key<'d>(&self, device: &'d DeviceView) -> &'d str {
        let same = self.devices.iter().filter(|other| other.miner == device.miner);
        match device.miner.as_deref() {
            Some(miner) if same.count() == 1 => miner,
            _ => &device.address,
        }
    }

    /// The device that a miner is; the first of several that mine under its name.
    pub fn device_of(&self, miner: &str) -> Option<&DeviceView> {
        self.devices_of(miner).next()
    }

    /// All devices that mine under a miner's name.
    pub fn devices_of(&self, miner: &str) -> impl Iterator<Item = &DeviceView> {
        self.devices.iter().filter(move |device| device.miner.as_deref() == Some(miner))
    }

    /// What the owner calls a device: its miner's name, or its own with the address.
    pub fn device_name(&self, device: &DeviceView) -> String {
        let miner = self.miners.iter().find(|miner| Some(&miner.id) == device.miner.as_ref());
        match miner {
            Some(miner) if !miner.name.is_empty() => format::tame(&miner.name),
            _ if device.hostname.is_empty() => device.address.clone(),
            _ => format!("{} at {}", format::tame(&device.hostname), device.address),
        }
    }
}

fn celsius(value: Option<f64>) -> String {
    value.map_or_else(
        || "an unknown temperature".to_owned(),
        |value| format!("{value:.0}\u{202f}°C"),
    )
}

/// What a device says itself, in brackets.
fn said(words: &str) -> String {
    match words.trim_end_matches('.') {
        "" => String::new(),
        words => format!(" (\u{201c}{}\u{201d})", format::tame(words)),
    }
}

/// An alarm in words, and what to do.
fn words(device: &DeviceView, trouble: Trouble, name: &str) -> (Level, String, String) {
    let warning = |text: String, advice: &str| (Level::Warning, text, advice.to_owned());
    match trouble {
        Trouble::Overheated => warning(
            format!("Miner {name} protects itself from heat: it has stopped or slowed down."),
            "Clean its fan and heat sink and give it air. Then look at its own page: some firmwares stay \
             slow until their frequency and voltage are set again.",
        ),
        Trouble::Hot => {
            let hot = match (device.chip_c, device.limit_c) {
                (Some(chip), Some(limit)) if chip < limit - 3.0 => format!(
                    "The voltage regulator of miner {name} is hot: {}.",
                    celsius(device.regulator_c)
                ),
                (chip, Some(limit)) => format!(
                    "Miner {name} is hot: {}, and from {limit:.0}\u{202f}°C on it protects itself.",
                    celsius(chip)
                ),
                _ => format!(
                    "The voltage regulator of miner {name} is hot: {}.",
                    celsius(device.regulator_c)
                ),
            };
            warning(hot, "Give it air, clean its fan, or lower its frequency.")
        }
        Trouble::FanStopped => warning(
            format!("A fan of miner {name} stands still."),
            "Switch the miner off, look for what blocks the fan and at its plug, and replace it if it \
             does not turn.",
        ),
        Trouble::PowerFault => warning(
            format!("Miner {name} reports a fault of its power{}.", said(&device.power_fault)),
            "Look at its power supply and cable; then restart the miner.",
        ),
        Trouble::HardwareFault => warning(
            format!("Miner {name} reports that a part is broken{}.", said(&device.hardware_fault)),
            "Switch it off for a minute, look at its fan and cables, and on again.",
        ),
        Trouble::PowerSag => warning(
            format!(
                "The power supply of miner {name} is weak: {:.2}\u{202f}V arrive.",
                device.volts.unwrap_or_default()
            ),
            "Use a stronger supply and a shorter, thicker cable.",
        ),
        Trouble::Throttled => warning(
            format!("Miner {name} runs slower than it is set to."),
            "Look at its temperature and power supply.",
        ),
        Trouble::Paused => warning(
            format!("Miner {name} is paused."),
            "Resume it on its own page, or on the page Devices here.",
        ),
        Trouble::Stopped => warning(
            format!("Miner {name} says that it does not hash."),
            "Look at its own page, and restart it.",
        ),
        Trouble::OnFallback => {
            let pool = device.pool.as_deref().map(format::tame);
            let at = pool.map_or_else(String::new, |pool| format!(", {pool}"));
            warning(
                format!("Miner {name} mines on its second pool{at}."),
                "Most firmwares come back by themselves within minutes when this box answers; if this \
                 one does not, restart it.",
            )
        }
        Trouble::BoardGone => warning(
            format!("A part of the chips of miner {name} does not hash."),
            "Restart it. If that does not help, lower its frequency or look at its power supply.",
        ),
        Trouble::Slow => warning(
            format!(
                "Miner {name} says that it does {} of the {} that its settings promise.",
                format::hashrate(device.hashrate.unwrap_or_default()),
                format::hashrate(device.expected.unwrap_or_default())
            ),
            "Look at its temperature and voltage: a little less frequency or more voltage helps mostly.",
        ),
    }
}

#[cfg(test)]
mod tests;
