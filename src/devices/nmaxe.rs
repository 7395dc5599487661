//! NMAxe, NMQAxe and NMMiner: another body at the path of AxeOS, by `src/web/http_server.cpp` and
//! `docs/API.md` of ESP-Miner-NMAxe 3.0. Their MAC is not told, nor whether they are too hot.

use super::axeos::{GIGA, bounded, celsius, hashrate, volts};
use super::fields::Fields;
use super::{FANS_MAX, Family, Fan, Pool, Telemetry, bounds, host_of, port_of, text, within};

pub(super) fn read(info: &Fields<'_>) -> Telemetry {
    let part = |name| info.object(name).unwrap_or_else(Fields::nothing);
    let (identity, miner, power) = (part("identity"), part("miner"), part("power"));
    let (temps, asic) = (part("temps"), part("asic"));
    Telemetry {
        model: model(&identity, &asic),
        firmware: identity.text("fwVersion"),
        hostname: identity.text("hostName"),
        hashrate: hashrate(&miner, "hashRate"),
        expected: expected(&asic),
        watts: bounded(&power, "power", &bounds::WATTS),
        volts: volts(&power, "vbus"),
        chip_c: celsius(&temps, "asic"),
        regulator_c: celsius(&temps, "vcore"),
        fans: fans(info),
        rssi_dbm: bounded(&identity, "rssi", &bounds::DBM),
        uptime_s: miner.whole("uptimeSeconds"),
        accepted: miner.whole("sAccepted"),
        rejected: miner.whole("sRejected"),
        best: bounded(&miner, "bestDiffEver", &bounds::DIFFICULTY),
        pools: pool(&part("stratum")).into_iter().collect(),
        paused: miner.flag("paused") == Some(true),
        hardware_fault: String::from(match miner.string("state").as_deref() {
            Some("error") => "it says of itself: error",
            _ => "",
        }),
        ..Telemetry::silent(Family::NmAxe)
    }
}

fn model(identity: &Fields<'_>, asic: &Fields<'_>) -> String {
    let (shown, board, chip) =
        (identity.text("displayName"), identity.text("hwModel"), asic.text("model"));
    let name = if shown.is_empty() { board } else { shown };
    if chip.is_empty() { name } else { text(&format!("{name} ({chip})")) }
}

/// H/s. `smallCoreCnt` is that of one chip (`get_asic_small_cores`), although the documentation says that
/// it is that of all.
fn expected(asic: &Fields<'_>) -> Option<f64> {
    let cores = asic.number("smallCoreCnt")? * asic.number("count")?;
    let gigahashes = asic.number("freqReq")? * cores / 1e3;
    within(gigahashes * GIGA, &bounds::HASHRATE).filter(|rate| *rate > 0.0)
}

fn fans(info: &Fields<'_>) -> Vec<Fan> {
    let fan = |fan: &Fields<'_>| Fan {
        rpm: bounded(fan, "rpm", &bounds::RPM),
        percent: bounded(fan, "speed", &bounds::PERCENT),
    };
    info.objects("fans").iter().map(fan).take(FANS_MAX).collect()
}

/// It tells only the pool that it mines on.
fn pool(stratum: &Fields<'_>) -> Option<Pool> {
    let url = stratum.text("url");
    let host = host_of(&url).to_owned();
    let (port, user) = (port_of(&url).unwrap_or_default(), stratum.text("user"));
    (!host.is_empty()).then_some(Pool { host, port, user, in_use: true })
}
