//! A miner as a device: heat, power, fans, signal and pool, as it says itself.

use maud::{Markup, html};

use crate::status::{DeviceView, Odds, PowerView, format};

use super::{View, age, fact};

/// Beside a miner's model in the list: `, 58 °C, 18 W`; `None` where nothing fresh is known.
pub(super) fn short(view: &View<'_>, miner: &str) -> Option<String> {
    // Of several under one name, the hottest, and what they need together.
    let fresh = || view.s.devices_of(miner).filter(|device| device.fresh);
    let hottest = fresh().filter_map(|device| device.chip_c).reduce(f64::max);
    let power = fresh().filter_map(|device| device.watts).reduce(|a, b| a + b);
    let told: Vec<String> = hottest.map(celsius).into_iter().chain(power.map(watts)).collect();
    (!told.is_empty()).then(|| format!(", {}", told.join(", ")))
}

/// Below the list of miners: what all of them need.
pub(super) fn together(view: &View<'_>) -> Markup {
    let Some(power) = &view.s.power else { return html! {} };
    html! {
        p.quiet {
            "Together " b { (watts(power.watts)) }
            @if let Some(joules) = power.joules_per_terahash { ", " (energy(joules)) }
            (costs(power, crate::status::odds(view.s)))
            "."
        }
    }
}

/// What the power costs, and for which chance.
fn costs(power: &PowerView, odds: Option<Odds>) -> Markup {
    let Some(cost) = &power.cost else { return html! {} };
    let odds = odds.as_ref();
    let chance = odds.map(|odds| odds.per_day).filter(|chance| *chance > 0.0);
    let block = odds.and_then(|odds| cost.block(odds));
    html! {
        ": " (cost.amount(cost.day)) " a day, " (cost.amount(cost.month)) " a month"
        // Those that mine elsewhere have no part in the chance.
        @if power.watts - power.watts_here > 0.05 { "; " (cost.amount(cost.day_here)) " a day of it here" }
        @if let Some(chance) = chance { ", for a chance of " (format::one_in(chance)) " a day" }
        @if let Some(block) = block { "; a block costs " (cost.amount(block)) " of power on average" }
    }
}

/// The part of a miner's own page; `None` where its device tells nothing.
pub(super) fn part(view: &View<'_>, miner: &str) -> Option<Markup> {
    let devices: Vec<&DeviceView> = view.s.devices_of(miner).collect();
    match devices.as_slice() {
        [] => None,
        [device] => Some(facts(view, device)),
        several => Some(html! {
            p.warn {
                (several.len()) " devices mine under this name: their shares are added up, and the charts of heat \
                 and power mix what they tell. Give each a name of its own behind the address in its user."
            }
            @for device in several {
                h3 { (device.address) }
                (facts(view, device))
            }
        }),
    }
}

fn facts(view: &View<'_>, device: &DeviceView) -> Markup {
    let known = |value: Option<f64>| value.filter(|_| device.fresh);
    html! {
        @if let Some(since) = device.silent_since {
            p.warn {
                "The device has told nothing since " (age::date(since)) ": " (device.silent_why) "."
            }
        }
        dl.facts {
            @if let Some(chip) = known(device.chip_c) {
                (fact("Chip", celsius(chip), html! {
                    @if let Some(limit) = device.limit_c { "protects itself from " (celsius(limit)) }
                }))
            }
            @if let Some(regulator) = known(device.regulator_c) {
                (fact("Regulator", celsius(regulator), ""))
            }
            @if let Some(air) = known(device.air_c) { (fact("Air", celsius(air), "")) }
            @if let Some(power) = known(device.watts) {
                (fact("Power", watts(power), html! {
                    @if let Some(joules) = device.joules_per_terahash { (energy(joules)) }
                }))
            }
            @if let Some(volts) = known(device.volts) {
                (fact("Input", format!("{volts:.2}\u{202f}V"), ""))
            }
            @if !device.fans.is_empty() && device.fresh { (fans(device)) }
            @if let Some(signal) = known(device.rssi_dbm) {
                (fact("Wi-Fi", format!("{signal:.0}\u{202f}dBm"), reception(signal)))
            }
            @if let Some(rate) = known(device.hashrate) {
                (fact("Says it does", format::hashrate(rate), html! {
                    @if let Some(expected) = device.expected.filter(|expected| *expected > 0.0) {
                        "its settings promise " (format::hashrate(expected))
                    }
                }))
            }
            @if let Some(shares) = &device.shares {
                (fact("Shares it counts", format::thousands(shares.device), html! {
                    (format::thousands(shares.here)) " came here, since " (age::date(shares.since))
                    @if shares.lost() > 2 { ": some were lost on the way, look at its Wi-Fi" }
                }))
            }
            @if let Some(pool) = device.pool.as_deref().filter(|_| device.fresh) {
                (fact("Its pool", super::breaking(pool), html! {
                    @if device.on_fallback == Some(true) { "its second one" }
                }))
            }
            @if let Some(uptime) = device.uptime_s.filter(|_| device.fresh) {
                (fact("Running for", format::duration(uptime), ""))
            }
            @if !device.firmware.is_empty() {
                (fact("Firmware", format::tame(&device.firmware), device.api_words()))
            }
        }
        p.quiet {
            "This is what the device says of itself"
            @if let Some(at) = device.answered_at { ", " (view.ago(at)) }
            ". " a href="/devices" { "Point devices here, let them blink, restart them" } "."
        }
    }
}

fn fans(device: &DeviceView) -> Markup {
    let rpm: Vec<String> = device
        .fans
        .iter()
        .filter_map(|fan| fan.rpm)
        .map(|rpm| format::thousands(rpm.round() as u64))
        .collect();
    let percent = device.fans.iter().find_map(|fan| fan.percent);
    let name = if device.fans.len() > 1 { "Fans" } else { "Fan" };
    let speed = match rpm.is_empty() {
        true => "–".to_owned(),
        false => format!("{} rpm", rpm.join(", ")),
    };
    fact(
        name,
        speed,
        html! { @if let Some(percent) = percent { "set to " (format!("{percent:.0}")) "\u{202f}%" } },
    )
}

/// `58 °C`.
pub(super) fn celsius(value: f64) -> String {
    format!("{value:.0}\u{202f}°C")
}

/// `18.1 W`, `1450 W`.
pub(super) fn watts(value: f64) -> String {
    match value {
        value if value < 99.95 => format!("{value:.1}\u{202f}W"),
        value => format!("{}\u{202f}W", format::thousands(value.round() as u64)),
    }
}

/// `17.0 J/TH`.
fn energy(joules_per_terahash: f64) -> String {
    format!("{joules_per_terahash:.1}\u{202f}J/TH")
}

/// What a signal's strength means.
fn reception(dbm: f64) -> &'static str {
    match dbm {
        dbm if dbm >= -67.0 => "good",
        dbm if dbm >= -75.0 => "weak",
        _ => "very weak: shares may be lost",
    }
}
