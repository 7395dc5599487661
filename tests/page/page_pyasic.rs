//! pyasic reads the same devices as we do. Both must agree on every field that both know, or the table in
//! docs/devices.md says why not. `SOLOIST_WRITE=1 cargo test --test page pyasic` writes it.

// A test's helpers may panic.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use serde_json::Value;
use soloist::devices::{Api, Telemetry};

use crate::common::device::{Device, Kind, ask};
use crate::page_scanned::{FOLDER, python};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/devices.md");

/// Fields, and where they come from.
type Sources = &'static [(&'static str, &'static str)];

/// The devices by their kinds, and where their families' fields come from.
const DEVICES: [(Kind, &str, Sources); 8] = [
    (Kind::AxeOs2_15, "AxeOS 2.15 (Bitaxe Gamma)", &AXEOS),
    (Kind::AxeOs2_13, "AxeOS 2.13 (Bitaxe Gamma)", &AXEOS),
    (Kind::AxeOs2_8, "AxeOS 2.8 (Bitaxe Ultra)", &AXEOS),
    (Kind::NerdQAxe, "NerdQAxe 1.0.38 (NerdQAxe++)", &NERDQAXE),
    (Kind::NmAxe, "NMAxe 3.0", &NMAXE),
    (Kind::Nano3s, "Avalon Nano 3S", &AVALON),
    (Kind::AvalonQ, "Avalon Q in standby", &AVALON),
    (Kind::Antminer, "Antminer S19j Pro, stock", &ANTMINER),
];

const AXEOS: [(&str, &str); 17] = [
    ("hash rate", "`hashRate`, GH/s"),
    ("expected", "`expectedHashrate`, GH/s, or `frequency` × `smallCoreCount` × chips"),
    ("power", "`power`"),
    ("input", "`voltage`, mV"),
    ("nominal input", "`nominalVoltage`"),
    ("chip", "the higher of `temp`, `temp2`; -1 is none"),
    ("regulator", "`vrTemp`; 0 is none"),
    ("chip's limit", "`THROTTLE_TEMP` of the firmware"),
    ("fans", "`fanrpm`, `fan2rpm`"),
    ("Wi-Fi", "`wifiRSSI`"),
    ("up", "`uptimeSeconds`"),
    ("shares", "`sharesAccepted`, `sharesRejected`"),
    ("best", "`bestDiff`, before 2.11 as `4.29G`"),
    ("firmware", "`version`"),
    ("MAC, name", "`macAddr`, `hostname`"),
    ("boards", "`hashrateMonitor.asics[].total`, GH/s, from 2.11 on"),
    ("pool", "`pools` by `primaryPoolIndex`, before 2.15 `stratumURL` and so on"),
];
const NERDQAXE: [(&str, &str); 17] = [
    ("hash rate", "`hashRate`, GH/s"),
    ("expected", "`frequency` × `smallCoreCount` × `asicCount`"),
    ("power", "`power`"),
    ("input", "`voltage`, mV"),
    ("nominal input", "5 or 12, by `minVoltage` and `maxVoltage`"),
    ("chip", "the highest of `temp`, `asicTemps[]`; 0 is none"),
    ("regulator", "`vrTemp`"),
    ("chip's limit", "`overheat_temp`"),
    ("fans", "`fans[].rpm`, or `fanrpm`, `fanrpm2`"),
    ("Wi-Fi", "`wifiRSSI`"),
    ("up", "`uptimeSeconds`"),
    ("shares", "`sharesAccepted`, `sharesRejected`"),
    ("best", "`bestDiff`, before 1.0.35 as `4.29G`"),
    ("firmware", "`version`"),
    ("MAC, name", "`macAddr`, `hostname`"),
    ("boards", "not told"),
    ("pool", "`stratumURL` and so on, by `stratum.usingFallback`"),
];
const NMAXE: [(&str, &str); 14] = [
    ("hash rate", "`miner.hashRate`, GH/s, of three minutes"),
    ("expected", "`asic.freqReq` × `asic.smallCoreCnt` × `asic.count`"),
    ("power", "`power.power`"),
    ("input", "`power.vbus`, mV"),
    ("chip", "`temps.asic`"),
    ("regulator", "`temps.vcore`"),
    ("fans", "`fans[].rpm`"),
    ("Wi-Fi", "`identity.rssi`"),
    ("up", "`miner.uptimeSeconds`"),
    ("shares", "`miner.sAccepted`, `miner.sRejected`"),
    ("best", "`miner.bestDiffEver`, as `1.23M`"),
    ("firmware", "`identity.fwVersion`"),
    ("MAC, name", "`identity.hostName`; no MAC"),
    ("pool", "`stratum.url`, `stratum.user`: only the one in use"),
];
const AVALON: [(&str, &str); 13] = [
    ("hash rate", "`MM ID0`: `GHSspd`, GH/s"),
    ("expected", "`GHSmm`, GH/s"),
    ("power", "`PS`, the last of seven; `WALLPOWER`"),
    ("chip", "`TMax`; 0 is none"),
    ("air", "`ITemp`, `Temp`; -273 is none"),
    ("fans", "`Fan1` and so on"),
    ("up", "summary `Elapsed`"),
    ("shares", "summary `Accepted`, `Rejected`"),
    ("best", "summary `Best Share`"),
    ("firmware", "version `LVERSION`, `VERSION`"),
    ("MAC, name", "version `MAC`"),
    ("boards", "`MGHS`, GH/s, where there are several"),
    ("pool", "pools `URL`, `User`, by `Priority` and `Stratum Active`"),
];
const ANTMINER: [(&str, &str); 11] = [
    ("hash rate", "summary `GHS 5s`"),
    ("expected", "stats `total_rateideal`, GH/s"),
    ("power", "not told"),
    ("chip", "stats, the highest of `temp1`, `temp2_1`, `temp_chip1` and so on"),
    ("fans", "stats `fan1` and so on; 0 is none"),
    ("up", "summary `Elapsed`"),
    ("shares", "summary `Accepted`, `Rejected`"),
    ("best", "summary `Best Share`"),
    ("firmware", "version, the field of the program's name"),
    ("boards", "stats `chain_rate1` and so on, GH/s"),
    ("pool", "pools `URL`, `User`, by `Priority` and `Stratum Active`"),
];

/// Why both differ; empty where they must not.
fn reason(kind: Kind, field: &str) -> &'static str {
    let is_esp =
        matches!(kind, Kind::AxeOs2_15 | Kind::AxeOs2_13 | Kind::AxeOs2_8 | Kind::NerdQAxe);
    match (field, kind) {
        ("power", _) if is_esp => "pyasic rounds to whole watts",
        ("regulator", Kind::AxeOs2_8) => "0 is a board without that sensor",
        ("boards", Kind::Antminer) => "",
        ("boards", _) => "pyasic takes the device's rate for that of one board",
        ("hash rate", Kind::AvalonQ) => "pyasic tells the average since the start; it stands still",
        ("hash rate", Kind::Antminer) => "pyasic adds up the boards' rates",
        ("chip", Kind::AvalonQ) => "0 is told in standby",
        ("chip", Kind::Antminer) => "pyasic takes `temp1`, which is the board's on this model",
        ("fans", Kind::AvalonQ | Kind::Antminer) => "pyasic's class has two",
        ("firmware", Kind::Nano3s | Kind::AvalonQ) => "pyasic tells the version of cgminer",
        ("firmware", Kind::Antminer) => "pyasic tells when it was built",
        _ => "",
    }
}

struct Row {
    field: &'static str,
    unit: &'static str,
    ours: String,
    theirs: String,
}

/// What both say, in the same units. `told` is what `read.py` printed.
fn rows(kind: Kind, device: &Telemetry, told: &Value) -> Vec<Row> {
    let row = |field, unit, ours: Option<String>, theirs: Option<String>| Row {
        field,
        unit,
        ours: ours.unwrap_or_default(),
        theirs: theirs.unwrap_or_default(),
    };
    let number = |field, unit, ours: Option<f64>, key: &str, factor: f64| {
        let theirs = told[key].as_f64().map(|theirs| theirs * factor);
        row(field, unit, ours.map(shown), theirs.map(shown))
    };
    let list = |values: Vec<f64>| {
        let shown: Vec<String> = values.into_iter().map(shown).collect();
        (!shown.is_empty()).then(|| shown.join(", "))
    };
    let numbers = |key: &str| {
        list(told[key].as_array().into_iter().flatten().filter_map(Value::as_f64).collect())
    };
    let terahashes = |rate: Option<f64>| rate.map(|rate| rate / 1e12);
    let shares = device.accepted.zip(device.rejected);
    let mac = device.mac.map(|mac| mac.map(|byte| format!("{byte:02X}")).join(":"));
    let names = |mac: Option<String>, name: &str| {
        let parts: Vec<String> =
            mac.into_iter().chain((!name.is_empty()).then(|| name.to_owned())).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    };
    // pyasic's "board" is the regulator of those that have a regulator's sensor.
    let regulator = if kind.is_http() { "board" } else { "" };
    vec![
        number("hash rate", "TH/s", terahashes(device.hashrate), "hashrate", 1.0),
        number("expected", "TH/s", terahashes(device.expected), "expected", 1.0),
        number("power", "W", device.watts, "watts", 1.0),
        number("input", "V", device.volts, "volts", 1e-3),
        number("nominal input", "V", device.nominal_volts, "", 1.0),
        number("chip", "°C", device.chip_c, "chip", 1.0),
        number("regulator", "°C", device.regulator_c, regulator, 1.0),
        number("air", "°C", device.air_c, "air", 1.0),
        number("chip's limit", "°C", device.limit_c, "", 1.0),
        row(
            "fans",
            "rpm",
            list(device.fans.iter().filter_map(|fan| fan.rpm).collect()),
            numbers("fans"),
        ),
        number("Wi-Fi", "dBm", device.rssi_dbm, "", 1.0),
        number("up", "s", device.uptime_s.map(|seconds| seconds as f64), "uptime", 1.0),
        row("shares", "", shares.map(|(good, bad)| format!("{good}, {bad}")), None),
        number("best", "", device.best, "", 1.0),
        row("firmware", "", text(&device.firmware), told["firmware"].as_str().and_then(text)),
        row(
            "MAC, name",
            "",
            names(mac, &device.hostname),
            names(
                told["mac"].as_str().map(str::to_owned),
                told["hostname"].as_str().unwrap_or_default(),
            ),
        ),
        row(
            "boards",
            "TH/s",
            list(device.boards.iter().map(|rate| rate / 1e12).collect()),
            numbers("boards"),
        ),
        row("pool", "", pools(device), pools_told(told)),
    ]
}

fn text(told: &str) -> Option<String> {
    (!told.is_empty()).then(|| told.to_owned())
}

fn shown(number: f64) -> String {
    ((number * 1e6).round() / 1e6).to_string()
}

fn pools(device: &Telemetry) -> Option<String> {
    let pools =
        device.pools.iter().map(|pool| format!("{}:{} {}", pool.host, pool.port, pool.user));
    text(&pools.collect::<Vec<_>>().join(", "))
}

/// pyasic tells places that are empty, too.
fn pools_told(told: &Value) -> Option<String> {
    let pools = told["pools"].as_array().into_iter().flatten();
    let pools = pools.filter_map(|pool| {
        let url = pool[0].as_str()?.strip_prefix("stratum+tcp://")?;
        Some(format!("{url} {}", pool[1].as_str().unwrap_or_default()))
    });
    text(&pools.collect::<Vec<_>>().join(", "))
}

#[test]
fn pyasic_and_we_agree_on_every_field_or_the_table_says_why_not() {
    let Some(python) = python() else {
        let strict = std::env::var_os("SOLOIST_REQUIRE_NODES").is_some_and(|value| value == "1");
        assert!(!strict, "pyasic is missing: it needs python3, its venv (python3-venv) and pip");
        eprintln!("*** NOT TESTED *** pyasic cannot be installed: devices were not read by it");
        return;
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let devices = DEVICES.map(|(kind, ..)| Device::start(kind, address));
    let mut read = Command::new(python);
    read.arg(format!("{FOLDER}/read.py"));
    read.args(devices.iter().map(|device| format!("{:?}={}", device.kind, device.address)));
    let output = read.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let told: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(told.len(), devices.len(), "{said}{complaint}");

    let mut wrong = Vec::new();
    let mut compared = 0;
    let mut document = fs::read_to_string(format!("{FOLDER}/devices-head.md")).unwrap();
    for ((device, (kind, name, sources)), told) in devices.iter().zip(DEVICES).zip(&told) {
        let api = if kind.is_http() { Api::Http } else { Api::Cgminer };
        let ours = api.read(&ask(device)).unwrap();
        document += &format!("\n## {name}\n\n");
        if let Some(error) = told["error"].as_str() {
            assert_eq!(kind, Kind::NmAxe, "{error}");
            document +=
                "pyasic takes it for AxeOS and cannot read it: its `power` is an object.\n\n";
        }
        document += "| Field | Unit | From | Ours | pyasic's | |\n|---|---|---|---|---|---|\n";
        for Row { field, unit, ours, theirs } in rows(kind, &ours, told) {
            if ours.is_empty() && theirs.is_empty() {
                continue;
            }
            let source =
                sources.iter().find(|(named, _)| *named == field).map(|(_, source)| *source);
            let why = if told["error"].is_null() { reason(kind, field) } else { "" };
            let (is_equal, is_unknown) = (ours == theirs, theirs.is_empty());
            compared += u32::from(!is_unknown && !ours.is_empty());
            let note = match (is_equal, is_unknown, why) {
                (true, _, "") => "equal",
                (false, true, "") => "pyasic does not read it",
                (false, false, why) if !why.is_empty() => why,
                _ => {
                    wrong.push(format!("{name}, {field}: {ours} and {theirs}, because: {why:?}"));
                    continue;
                }
            };
            let source = source.unwrap_or_else(|| panic!("{name}: where is {field} from?"));
            document += &format!("| {field} | {unit} | {source} | {ours} | {theirs} | {note} |\n");
        }
    }
    println!("{document}");
    assert!(wrong.is_empty(), "{}\n{said}{complaint}", wrong.join("\n"));
    assert!(compared >= 60, "{compared}");
    if std::env::var_os("SOLOIST_WRITE").is_some() {
        fs::write(DOCUMENT, &document).unwrap();
    }
    let written = fs::read_to_string(DOCUMENT).unwrap_or_default();
    assert!(
        written == document,
        "docs/devices.md is old: SOLOIST_WRITE=1 cargo test --test page pyasic"
    );
}
