//! The devices with `GET /api/system/info`: ESP-Miner's AxeOS before and from 2.15, and the families that
//! serve another body at the same path (`nerdqaxe`, `nmaxe`).
//!
//! Units and meanings are from ESP-Miner's source: `main/http_server/system_api_json.c` (before 2.14 in
//! `http_server.c`), `main/tasks/power_management_task.c`, `main/device_config.h`.

use super::fields::{Fields, mended, number};
use super::{
    BOARDS_MAX, Family, Fan, POOLS_MAX, Pool, Telemetry, Unreadable, Way, bounds, host_of, mac,
    nerdqaxe, nmaxe, pointing, within,
};

/// Where these devices tell of themselves.
pub const INFO: &str = "/api/system/info";

/// From where on AxeOS protects the chip, °C: `THROTTLE_TEMP` in `power_management_task.c`, of every version.
const LIMIT_C: f64 = 75.0;
/// Hashes a second in the gigahashes that all of them tell.
pub(super) const GIGA: f64 = 1e9;

/// What the device says, of any of these families.
///
/// # Errors
/// See [`Unreadable`]. A field that is missing, of a wrong type or out of its bounds costs itself alone.
pub fn read(body: &[u8]) -> Result<Telemetry, Unreadable> {
    with_info(body, |info| match family(info)? {
        Family::NerdQAxe => Ok(nerdqaxe::read(info)),
        Family::NmAxe => Ok(nmaxe::read(info)),
        _ => Ok(axeos(info)),
    })
}

/// Reads the body's fields. What is no JSON is tried again with what firmwares get wrong about it.
pub(super) fn with_info<T>(
    body: &[u8],
    read: impl FnOnce(&Fields<'_>) -> Result<T, Unreadable>,
) -> Result<T, Unreadable> {
    let told = String::from_utf8_lossy(body);
    match Fields::of(&told) {
        Ok(info) => read(&info),
        Err(Unreadable::Malformed) => read(&Fields::of(&mended(&told))?),
        Err(no_miner) => Err(no_miner),
    }
}

/// Whose body it is.
pub(super) fn family(info: &Fields<'_>) -> Result<Family, Unreadable> {
    if info.object("identity").is_some() && info.object("miner").is_some() {
        return Ok(Family::NmAxe);
    }
    if !info.has("ASICModel") || !info.has("hashRate") {
        return Err(Unreadable::NoMiner);
    }
    // AxeOS tells its model at another path.
    Ok(if info.has("deviceModel") { Family::NerdQAxe } else { Family::AxeOs })
}

fn axeos(info: &Fields<'_>) -> Telemetry {
    let paused = info.flag("miningPaused") == Some(true);
    Telemetry {
        model: model(info),
        firmware: info.text("version"),
        hostname: info.text("hostname"),
        mac: mac(&info.text("macAddr")),
        hashrate: hashrate(info, "hashRate"),
        // 0 while it stands still, from 2.14 on.
        expected: hashrate(info, "expectedHashrate")
            .filter(|rate| *rate > 0.0)
            .or_else(|| promised(info)),
        watts: bounded(info, "power", &bounds::WATTS),
        volts: volts(info, "voltage"),
        nominal_volts: bounded(info, "nominalVoltage", &bounds::VOLTS),
        chip_c: hottest([celsius(info, "temp"), celsius(info, "temp2")]),
        regulator_c: celsius(info, "vrTemp"),
        limit_c: Some(LIMIT_C),
        fans: fans(info, [("fanrpm", "fanspeed"), ("fan2rpm", "fanspeed")]),
        rssi_dbm: bounded(info, "wifiRSSI", &bounds::DBM),
        uptime_s: info.whole("uptimeSeconds"),
        accepted: info.whole("sharesAccepted"),
        rejected: info.whole("sharesRejected"),
        best: bounded(info, "bestDiff", &bounds::DIFFICULTY),
        boards: chips(info),
        pools: pools(info),
        on_fallback: info
            .flag("isUsingFallbackStratum")
            .map(|there| there && !prefers_fallback(info)),
        paused,
        overheated: info.flag("overheat_mode") == Some(true) || (cools_down(info) && !paused),
        throttled: is_slow(info),
        power_fault: info.text("power_fault"),
        hardware_fault: info.text("hardware_fault"),
        way: match (info.has("pools"), info.has("stratumURL")) {
            (true, _) => Way::List,
            (false, true) => Way::Pair,
            (false, false) => Way::ByHand,
        },
        speaks_v2: pointing::knows_v2(info),
        ..Telemetry::silent(Family::AxeOs)
    }
}

/// `Bitaxe Gamma 601 (BM1370)`.
pub(super) fn model(info: &Fields<'_>) -> String {
    let (board, chip) = (info.text("boardVersion"), info.text("ASICModel"));
    let name = match board.as_str() {
        "2.2" | "102" => "Bitaxe Max",
        "0.11" | "201" | "202" | "203" | "204" | "205" | "207" => "Bitaxe Ultra",
        "302" | "303" => "Bitaxe Hex",
        "400" | "401" | "402" | "403" => "Bitaxe Supra",
        "600" | "601" | "602" | "603" => "Bitaxe Gamma",
        "650" => "Bitaxe GammaDuo",
        "701" | "702" => "Bitaxe SupraHex",
        "800" | "801" => "Bitaxe GammaTurbo",
        // A board of somebody else's, with this firmware.
        _ => "AxeOS",
    };
    let mut model = name.to_owned();
    if !board.is_empty() {
        model.push_str(&format!(" {board}"));
    }
    if !chip.is_empty() {
        model.push_str(&format!(" ({chip})"));
    }
    super::text(&model)
}

/// H/s by the settings: each small core of a chip does a hash with each cycle of its clock.
pub(super) fn promised(info: &Fields<'_>) -> Option<f64> {
    let told = info.number("asicCount").filter(|chips| *chips > 0.0);
    let counted = chip_fields(info).len();
    let chips = told.or((counted > 0).then_some(counted as f64))?;
    let megahashes = info.number("frequency")? * info.number("smallCoreCount")? * chips;
    within(megahashes * 1e6, &bounds::HASHRATE).filter(|rate| *rate > 0.0)
}

fn chip_fields<'a>(info: &Fields<'a>) -> Vec<Fields<'a>> {
    info.object("hashrateMonitor").map(|monitor| monitor.objects("asics")).unwrap_or_default()
}

/// H/s of each chip.
fn chips(info: &Fields<'_>) -> Vec<f64> {
    let chips = chip_fields(info);
    chips.iter().filter_map(|chip| hashrate(chip, "total")).take(BOARDS_MAX).collect()
}

/// From 2.14 on, `overheat_mode` is 0 while the device cools down. What it does then is told: it stands
/// still and has written the full speed of the fan into its settings, which a pause (30 %), a missing pool
/// (30 %) and a start (70 %) do not. (`power_management_task.c`, `fan_controller_task.c`)
fn cools_down(info: &Fields<'_>) -> bool {
    let is = |name, value| info.number(name) == Some(value);
    info.has("miningPaused")
        && is("hashRate", 0.0)
        && is("expectedHashrate", 0.0)
        && is("fanspeed", 100.0)
        && is("manualFanSpeed", 100.0)
        && info.flag("autofanspeed") == Some(false)
}

/// The clock of the chips is below the setting. It climbs for some seconds after each start.
fn is_slow(info: &Fields<'_>) -> bool {
    match (info.number("actualFrequency"), info.number("frequency")) {
        (Some(actual), Some(set)) => actual > 0.0 && actual < 0.95 * set,
        _ => false,
    }
}

/// The owner told it to mine on the second pool of the two.
fn prefers_fallback(info: &Fields<'_>) -> bool {
    info.flag("useFallbackStratum") == Some(true)
}

fn pools(info: &Fields<'_>) -> Vec<Pool> {
    let on_second = info.flag("isUsingFallbackStratum") == Some(true);
    let mut pools = if info.has("pools") { listed(info, on_second) } else { pair(info, on_second) };
    if prefers_fallback(info) && pools.len() > 1 {
        pools.swap(0, 1);
    }
    pools.truncate(POOLS_MAX);
    pools
}

/// From 2.15 on: the first and the second by their places, and those that are kept beside them.
fn listed(info: &Fields<'_>, on_second: bool) -> Vec<Pool> {
    let entries = info.objects("pools");
    let first = info.whole("primaryPoolIndex").unwrap_or(0);
    let second = info.whole("secondaryPoolIndex").unwrap_or(1);
    let rank = |entry: &Fields<'_>| match entry.whole("id") {
        Some(id) if id == first => 0,
        Some(id) if id == second => 1,
        _ => 2,
    };
    let mut ranked: Vec<(u8, Pool)> = entries
        .iter()
        .filter_map(|entry| {
            let rank = rank(entry);
            let in_use = rank == u8::from(on_second);
            Some((rank, pool(entry, ["stratumURL", "stratumPort", "stratumUser"], in_use)?))
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, pool)| pool).collect()
}

/// Before 2.15, and of NerdQAxe.
pub(super) fn pair(info: &Fields<'_>, on_second: bool) -> Vec<Pool> {
    let first = pool(info, ["stratumURL", "stratumPort", "stratumUser"], !on_second);
    let second = ["fallbackStratumURL", "fallbackStratumPort", "fallbackStratumUser"];
    first.into_iter().chain(pool(info, second, on_second)).collect()
}

fn pool(info: &Fields<'_>, [url, port, user]: [&str; 3], in_use: bool) -> Option<Pool> {
    let host = host_of(&info.text(url)).to_owned();
    let port = info.whole(port).and_then(|port| port.try_into().ok()).unwrap_or_default();
    (!host.is_empty()).then(|| Pool { host, port, user: info.text(user), in_use })
}

/// H/s of gigahashes.
pub(super) fn hashrate(info: &Fields<'_>, name: &str) -> Option<f64> {
    within(info.number(name)? * GIGA, &bounds::HASHRATE)
}

/// V of millivolts.
pub(super) fn volts(info: &Fields<'_>, name: &str) -> Option<f64> {
    within(info.number(name)? / 1e3, &bounds::VOLTS)
}

/// °C. A sensor that is missing tells 0 or -1.
pub(super) fn celsius(info: &Fields<'_>, name: &str) -> Option<f64> {
    bounded(info, name, &bounds::CELSIUS).filter(|celsius| *celsius > 0.0)
}

pub(super) fn bounded(
    info: &Fields<'_>,
    name: &str,
    bounds: &std::ops::RangeInclusive<f64>,
) -> Option<f64> {
    within(info.number(name)?, bounds)
}

pub(super) fn hottest(sensors: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    sensors.into_iter().flatten().reduce(f64::max)
}

/// The fans by their fields of revolutions and of percent. One after the first is there when it turns.
pub(super) fn fans<const N: usize>(info: &Fields<'_>, names: [(&str, &str); N]) -> Vec<Fan> {
    let fan = |(rpm, percent): (&str, &str)| Fan {
        rpm: bounded(info, rpm, &bounds::RPM),
        percent: bounded(info, percent, &bounds::PERCENT),
    };
    let mut fans: Vec<Fan> = names.into_iter().map(fan).collect();
    let mut number = 0;
    fans.retain(|fan| {
        number += 1;
        let turns = fan.rpm.is_some_and(|rpm| rpm > 0.0);
        turns || (number == 1 && *fan != Fan::default())
    });
    fans
}

/// The readings of a list that are of a sensor.
pub(super) fn celsius_list(info: &Fields<'_>, name: &str) -> Vec<Option<f64>> {
    let read = |raw| within(number(raw)?, &bounds::CELSIUS).filter(|celsius| *celsius > 0.0);
    info.list(name).into_iter().map(read).collect()
}

#[cfg(test)]
mod tests;
