//! What is wrong with a device by what it says of itself, and since when. Pure.
//!
//! Each trouble has a time for which it must last: one odd answer is none.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{FANS_MAX, Fan, Telemetry};
use crate::listed::listed;

listed! {
    /// What can be wrong.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Trouble {
        /// It stopped or slowed down because it was too hot.
        Overheated,
        /// It is near the temperature at which it will.
        Hot,
        /// A fan is told to turn and does not.
        FanStopped,
        /// It reports that something is wrong with its power.
        PowerFault,
        /// It reports that another part of it is broken.
        HardwareFault,
        /// The voltage at its input is near the one at which it switches off.
        PowerSag,
        /// It runs slower than it is set to.
        Throttled,
        /// Somebody paused it.
        Paused,
        /// It does not hash, and nobody paused it.
        Stopped,
        /// It mines on the pool that it falls back on.
        OnFallback,
        /// A board or a chip gives next to nothing, while others work.
        BoardGone,
        /// It is far slower than its own settings promise.
        Slow,
    }
}

/// So near its limit a chip is hot, °C.
const NEAR_C: f64 = 3.0;
/// From here on a voltage regulator is hot, °C: ESP-Miner stops at 105 (`TPS546_THROTTLE_TEMP`).
const REGULATOR_HOT_C: f64 = 100.0;
/// Below this part of its nominal voltage, a supply is too weak. ESP-Miner's boards switch off at 0.90 to
/// 0.92 of it (`TPS546_INIT_VIN_OFF`).
const SAG: f64 = 0.93;
/// Below this part of what its settings promise, a device is slow.
const SLOW: f64 = 0.7;
/// Below this part of the best board's rate, a board is gone.
const GONE: f64 = 0.1;
/// After its start, a device needs so long for its full rate, seconds.
const WARM_UP_S: u64 = 300;

impl Trouble {
    /// As in the metrics; the API writes the same.
    pub fn name(self) -> &'static str {
        match self {
            Trouble::Overheated => "overheated",
            Trouble::Hot => "hot",
            Trouble::FanStopped => "fan_stopped",
            Trouble::PowerFault => "power_fault",
            Trouble::HardwareFault => "hardware_fault",
            Trouble::PowerSag => "power_sag",
            Trouble::Throttled => "throttled",
            Trouble::Paused => "paused",
            Trouble::Stopped => "stopped",
            Trouble::OnFallback => "on_fallback",
            Trouble::BoardGone => "board_gone",
            Trouble::Slow => "slow",
        }
    }

    /// How long it must last until it counts.
    fn lasts(self) -> Duration {
        Duration::from_secs(match self {
            Trouble::Overheated
            | Trouble::PowerFault
            | Trouble::HardwareFault
            | Trouble::Paused
            | Trouble::OnFallback => 0,
            Trouble::Hot | Trouble::FanStopped | Trouble::PowerSag => 60,
            Trouble::Throttled | Trouble::Stopped => 120,
            Trouble::BoardGone => 300,
            Trouble::Slow => 600,
        })
    }

    /// Whether an answer tells of it.
    fn is_told(self, device: &Telemetry, turned: &[bool]) -> bool {
        let hashes = device.hashrate.is_some_and(|rate| rate > 0.0);
        let is_warm = device.uptime_s.is_none_or(|uptime| uptime >= WARM_UP_S);
        match self {
            Trouble::Overheated => device.overheated,
            Trouble::Hot => {
                let limit = device.limit_c.map(|limit| limit - NEAR_C);
                let chip = device.chip_c.zip(limit).is_some_and(|(chip, limit)| chip >= limit);
                chip || device.regulator_c.is_some_and(|regulator| regulator >= REGULATOR_HOT_C)
            }
            Trouble::FanStopped => {
                let stands = device.fans.iter().enumerate().any(|(place, fan)| {
                    let is_told_to = fan.percent.is_some_and(|percent| percent > 0.0);
                    // A board tells of connectors, and only one of several need have a fan.
                    let is_there = device.fans.len() == 1 || turned.get(place) == Some(&true);
                    fan.rpm == Some(0.0) && is_told_to && is_there
                });
                stands || fan_is_missing(device, turned)
            }
            Trouble::PowerFault => !device.power_fault.is_empty(),
            Trouble::HardwareFault => !device.hardware_fault.is_empty(),
            Trouble::PowerSag => device
                .volts
                .zip(device.nominal_volts)
                .is_some_and(|(volts, nominal)| volts > 0.0 && volts < SAG * nominal),
            // Chips that stand still, without a pool or in a pause, have no clock to speak of.
            Trouble::Throttled => device.throttled && hashes && !device.overheated,
            Trouble::Paused => device.paused,
            Trouble::Stopped => {
                device.hashrate == Some(0.0) && !device.paused && !device.overheated && is_warm
            }
            Trouble::OnFallback => device.on_fallback == Some(true),
            Trouble::BoardGone => {
                let best = device.boards.iter().copied().fold(0.0, f64::max);
                is_warm && device.boards.iter().any(|rate| *rate < GONE * best)
            }
            Trouble::Slow => {
                let rates = device.hashrate.zip(device.expected);
                let is_slow = rates.is_some_and(|(rate, expected)| rate < SLOW * expected);
                hashes && is_warm && is_slow
            }
        }
    }
}

/// A fan that has turned is told of no more, while another one turns: a fan after the first is told of only
/// while it turns by AxeOS, and each of them by Antminers.
fn fan_is_missing(device: &Telemetry, turned: &[bool]) -> bool {
    let is_driven = |fan: &Fan| {
        fan.rpm.is_some_and(|rpm| rpm > 0.0) && fan.percent.is_none_or(|percent| percent > 0.0)
    };
    let missing = turned.iter().skip(device.fans.len()).any(|turned| *turned);
    missing && device.fans.iter().any(is_driven)
}

/// A trouble that has lasted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchedTrouble {
    /// What it is.
    pub trouble: Trouble,
    /// Since when.
    pub since: Instant,
}

/// Since when a device tells of each trouble.
#[derive(Debug, Default)]
pub struct Watch {
    since: [Option<Instant>; Trouble::COUNT],
    /// Which of its fans have been seen to turn.
    turned: [bool; FANS_MAX],
}

impl Watch {
    /// Takes an answer.
    pub fn saw(&mut self, now: Instant, device: &Telemetry) {
        for (turned, fan) in self.turned.iter_mut().zip(&device.fans) {
            *turned |= fan.rpm.is_some_and(|rpm| rpm > 0.0);
        }
        for trouble in Trouble::ALL {
            let since = &mut self.since[trouble.index()];
            let is_told = trouble.is_told(device, &self.turned);
            *since = is_told.then(|| since.unwrap_or(now));
        }
    }

    /// What has lasted long enough, in the order of [`Trouble`].
    pub fn troubles(&self, now: Instant) -> impl Iterator<Item = WatchedTrouble> {
        Trouble::ALL.into_iter().filter_map(move |trouble| {
            let since = self.since[trouble.index()]?;
            let lasted = now.saturating_duration_since(since) >= trouble.lasts();
            lasted.then_some(WatchedTrouble { trouble, since })
        })
    }
}

#[cfg(test)]
mod tests;
