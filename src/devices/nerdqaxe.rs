//! NerdAxe, NerdQAxe and their kin: what `GET /api/system/info` says, by `main/http_server/handler_system.cpp`
//! and `main/stratum/stratum_manager*.cpp` of ESP-Miner-NerdQAxePlus.

use super::axeos::{
    bounded, celsius, celsius_list, fans, hashrate, hottest, pair, promised, volts,
};
use super::fields::Fields;
use super::{FANS_MAX, Family, Fan, Telemetry, Way, bounds, mac, pointing, text};

/// The mode in which the hashes are divided between both pools.
pub(super) const DUAL: f64 = 1.0;

pub(super) fn read(info: &Fields<'_>) -> Telemetry {
    let chip_c =
        hottest(celsius_list(info, "asicTemps").into_iter().chain([celsius(info, "temp")]));
    // Its own limit is held against this one, too.
    let regulator_c = celsius(info, "vrTemp");
    let paused = info.flag("shutdown") == Some(true);
    let (limit_c, regulator_limit_c) = (celsius(info, "overheat_temp"), regulator_limit(info));
    let beyond =
        |told: Option<f64>, limit| told.zip(limit).is_some_and(|(told, limit)| told >= limit);
    let overheated = beyond(chip_c, limit_c) || beyond(regulator_c, regulator_limit_c);
    let mut device = Telemetry {
        model: model(info),
        firmware: info.text("version"),
        hostname: info.text("hostname"),
        mac: mac(&info.text("macAddr")),
        hashrate: hashrate(info, "hashRate"),
        expected: promised(info),
        watts: bounded(info, "power", &bounds::WATTS),
        volts: volts(info, "voltage"),
        nominal_volts: nominal_volts(info),
        chip_c,
        regulator_c,
        limit_c,
        fans: all_fans(info),
        rssi_dbm: bounded(info, "wifiRSSI", &bounds::DBM),
        uptime_s: info.whole("uptimeSeconds"),
        accepted: info.whole("sharesAccepted"),
        rejected: info.whole("sharesRejected"),
        best: bounded(info, "bestDiff", &bounds::DIFFICULTY),
        paused,
        overheated,
        power_fault: String::from(if is_cut_off(info) && !paused && !overheated {
            CUT_OFF
        } else {
            ""
        }),
        way: if info.flag("otp") == Some(true) { Way::PairWithLogin } else { Way::Pair },
        speaks_v2: pointing::knows_v2(info),
        ..Telemetry::silent(Family::NerdQAxe)
    };
    set_pools(&mut device, info);
    device
}

/// It tells neither an overheating nor a fault of its regulator. Both end with the chips' voltage at 0
/// until it is restarted (`PowerManagementTask::task`), and that is told.
const CUT_OFF: &str = "the voltage of its chips is switched off";
/// The voltage is 0 before the chips are started, too.
const STARTED_S: u64 = 120;

fn is_cut_off(info: &Fields<'_>) -> bool {
    info.number("coreVoltageActual") == Some(0.0)
        && info.whole("uptimeSeconds").is_some_and(|uptime| uptime > STARTED_S)
}

pub(super) fn model(info: &Fields<'_>) -> String {
    let (device, chip) = (info.text("deviceModel"), info.text("ASICModel"));
    if chip.is_empty() { device } else { text(&format!("{device} ({chip})")) }
}

/// V: the middle between the gauge's ends, which are given in volts: 5 or 12.
fn nominal_volts(info: &Fields<'_>) -> Option<f64> {
    let end = |name| bounded(info, name, &bounds::VOLTS).filter(|volts| *volts > 0.0);
    // NerdEKO's gauge begins at 8 V, and its supply has 12 V like that of others with such a gauge.
    Some(if (end("minVoltage")? + end("maxVoltage")?) / 2.0 < 8.0 { 5.0 } else { 12.0 })
}

/// °C, of the fan's channel that follows the regulator.
fn regulator_limit(info: &Fields<'_>) -> Option<f64> {
    celsius(info.objects("fans").get(1)?, "overheatTemp")
}

fn all_fans(info: &Fields<'_>) -> Vec<Fan> {
    let told = info.objects("fans");
    if told.is_empty() {
        return fans(info, [("fanrpm", "fanspeed"), ("fanrpm2", "fanspeed2")]);
    }
    let fan = |fan: &Fields<'_>| Fan {
        rpm: bounded(fan, "rpm", &bounds::RPM),
        percent: bounded(fan, "speedPerc", &bounds::PERCENT),
    };
    told.iter().map(fan).take(FANS_MAX).collect()
}

/// In its mode with two pools at once there is no fallback, and a pool is in use while it is connected.
fn set_pools(device: &mut Telemetry, info: &Fields<'_>) {
    let stratum = info.object("stratum");
    if let Some(stratum) = stratum.as_ref().filter(|it| it.number("activePoolMode") == Some(DUAL)) {
        device.pools = pair(info, false);
        for (pool, told) in device.pools.iter_mut().zip(stratum.objects("pools")) {
            pool.in_use = told.flag("connected") == Some(true);
        }
        return;
    }
    // Before 1.0.35 beside the rest.
    device.on_fallback = match &stratum {
        Some(stratum) => stratum.flag("usingFallback"),
        None => info.flag("isUsingFallbackStratum"),
    };
    device.pools = pair(info, device.on_fallback == Some(true));
}
