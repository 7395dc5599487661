//! The bodies are those of the devices' servers in tests: every field that the firmware's source writes.

use serde_json::{Map, Value, json};

use super::*;

const AXEOS_2_15: &str = include_str!("../../../tests/common/device/axeos-2.15.json");
const AXEOS_2_14: &str = include_str!("../../../tests/common/device/axeos-2.14.json");
const AXEOS_2_13: &str = include_str!("../../../tests/common/device/axeos-2.13.json");
const AXEOS_2_8: &str = include_str!("../../../tests/common/device/axeos-2.8.json");
const NERDQAXE: &str = include_str!("../../../tests/common/device/nerdqaxe-1.0.38.json");
const NMAXE: &str = include_str!("../../../tests/common/device/nmaxe-3.0.json");
const ALL: [&str; 6] = [AXEOS_2_15, AXEOS_2_14, AXEOS_2_13, AXEOS_2_8, NERDQAXE, NMAXE];

fn told(body: &str) -> Telemetry {
    read(body.as_bytes()).unwrap_or_else(|fault| panic!("{fault}: {body}"))
}

/// The body with other values; `null` takes a field away.
fn with(body: &str, changes: Value) -> Telemetry {
    let (Ok(Value::Object(mut info)), Value::Object(changes)) =
        (serde_json::from_str(body), changes)
    else {
        panic!("no object: {body}");
    };
    merge(&mut info, changes);
    told(&Value::Object(info).to_string())
}

fn merge(into: &mut Map<String, Value>, changes: Map<String, Value>) {
    for (name, value) in changes {
        match (into.get_mut(&name), value) {
            (_, Value::Null) => drop(into.remove(&name)),
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => drop(into.insert(name, value)),
        }
    }
}

fn pool_of(host: &str, port: u16, user: &str, in_use: bool) -> Pool {
    Pool { host: host.to_owned(), port, user: user.to_owned(), in_use }
}

fn almost(value: Option<f64>, expected: f64) -> bool {
    value.is_some_and(|value| (value - expected).abs() <= expected.abs() * 1e-9)
}

#[test]
fn axeos_from_2_15_tells_everything() {
    let device = told(AXEOS_2_15);
    let expected = Telemetry {
        model: "Bitaxe Gamma 601 (BM1370)".to_owned(),
        firmware: "v2.15.0".to_owned(),
        hostname: "bitaxe".to_owned(),
        mac: Some([0x3c, 0x84, 0x27, 0xaa, 0xbb, 0xcc]),
        hashrate: Some(1_066.742_187_5e9),
        expected: Some(1_071e9),
        watts: Some(18.1),
        volts: Some(5.093_75),
        nominal_volts: Some(5.0),
        chip_c: Some(58.25),
        regulator_c: Some(61.0),
        limit_c: Some(75.0),
        fans: vec![Fan { rpm: Some(4_211.0), percent: Some(43.0) }],
        rssi_dbm: Some(-55.0),
        uptime_s: Some(28_761),
        accepted: Some(412),
        rejected: Some(1),
        best: Some(4_293_912_034.0),
        boards: vec![1_066.74e9],
        pools: vec![pool_of("192.168.1.10", 3333, "bc1qexample.gamma", true)],
        on_fallback: Some(false),
        way: Way::List,
        speaks_v2: true,
        ..Telemetry::silent(Family::AxeOs)
    };
    assert_eq!(device, expected);
    assert!(device.joules_per_terahash().is_some_and(|energy| (16.9..17.0).contains(&energy)));
}

#[test]
fn axeos_before_2_15_has_two_pools() {
    for (body, firmware) in [(AXEOS_2_14, "v2.14.2"), (AXEOS_2_13, "v2.13.0")] {
        let device = told(body);
        assert_eq!(device.firmware, firmware);
        assert_eq!((device.family, device.way), (Family::AxeOs, Way::Pair));
        assert_eq!(device.pools, [pool_of("192.168.1.10", 3333, "bc1qexample.gamma", true)]);
        assert_eq!((device.watts, device.chip_c), (Some(18.1), Some(58.25)));
    }
    let fallback = json!({"isUsingFallbackStratum": 1, "fallbackStratumURL": "solo.example",
        "fallbackStratumPort": 3334, "fallbackStratumUser": "bc1q"});
    let device = with(AXEOS_2_13, fallback);
    assert_eq!(device.on_fallback, Some(true));
    assert_eq!(device.pool(), Some(&pool_of("solo.example", 3334, "bc1q", true)));
    assert!(!device.pools[0].in_use);
}

#[test]
fn axeos_2_8_writes_difficulties_with_a_suffix_and_has_no_regulator() {
    let device = told(AXEOS_2_8);
    assert_eq!(device.model, "Bitaxe Ultra 204 (BM1366)");
    assert!(almost(device.best, 4.29e9), "{:?}", device.best);
    assert_eq!(device.regulator_c, None);
    assert!(almost(device.expected, 433.59e9), "{:?}", device.expected);
    assert!(almost(device.volts, 5.105));
    // 2.6 has neither; its chips and their cores are told.
    let older = with(AXEOS_2_8, json!({"expectedHashrate": null}));
    assert!(almost(older.expected, 485e6 * 894.0), "{:?}", older.expected);
}

#[test]
fn nerdqaxe_tells_everything() {
    let device = told(NERDQAXE);
    let expected = Telemetry {
        model: "NerdQAxe++ (BM1370)".to_owned(),
        firmware: "v1.0.38".to_owned(),
        hostname: "nerdqaxe".to_owned(),
        mac: Some([0x34, 0x85, 0x18, 0xaa, 0xbb, 0xcc]),
        hashrate: Some(4_893.1e9),
        expected: Some(600e6 * 2_040.0 * 4.0),
        watts: Some(71.4),
        volts: Some(12.12),
        nominal_volts: Some(12.0),
        chip_c: Some(57.5),
        regulator_c: Some(66.2),
        limit_c: Some(70.0),
        fans: vec![Fan { rpm: Some(3_400.0), percent: Some(62.0) }],
        rssi_dbm: Some(-52.0),
        uptime_s: Some(28_761),
        accepted: Some(412),
        rejected: Some(1),
        best: Some(4_293_912_034.0),
        pools: vec![pool_of("192.168.1.10", 3333, "bc1qexample.qaxe", true)],
        on_fallback: Some(false),
        way: Way::Pair,
        speaks_v2: true,
        ..Telemetry::silent(Family::NerdQAxe)
    };
    assert_eq!(device, expected);
    assert_eq!(with(NERDQAXE, json!({"otp": true})).way, Way::PairWithLogin);
}

#[test]
fn a_nerdqaxe_with_two_pools_at_once_has_no_fallback() {
    let second = json!({"fallbackStratumURL": "solo.example", "fallbackStratumPort": 3334,
        "fallbackStratumUser": "bc1q", "stratum": {"activePoolMode": 1, "usingFallback": null,
        "pools": [{"connected": false}, {"connected": true}]}});
    let device = with(NERDQAXE, second);
    assert_eq!(device.on_fallback, None);
    assert_eq!(device.pools.iter().map(|pool| pool.in_use).collect::<Vec<_>>(), [false, true]);
    // Before 1.0.35.
    let old = json!({"stratum": null, "isUsingFallbackStratum": true});
    assert_eq!(with(NERDQAXE, old).on_fallback, Some(true));
}

#[test]
fn a_nerdqaxe_that_is_off_says_why_as_far_as_it_can() {
    let paused = with(NERDQAXE, json!({"shutdown": true, "hashRate": 0, "coreVoltageActual": 0}));
    assert!(paused.paused && !paused.overheated && paused.power_fault.is_empty());
    let hot = with(NERDQAXE, json!({"asicTemps": [56, 70.5], "coreVoltageActual": 0}));
    assert!(hot.overheated && hot.power_fault.is_empty());
    let off = with(NERDQAXE, json!({"coreVoltageActual": 0}));
    assert!(!off.overheated && !off.paused);
    assert_eq!(off.power_fault, "the voltage of its chips is switched off");
    let starting = with(NERDQAXE, json!({"coreVoltageActual": 0, "uptimeSeconds": 20}));
    assert_eq!(starting.power_fault, "");
}

#[test]
fn nmaxe_tells_less_and_in_another_shape() {
    let device = told(NMAXE);
    let expected = Telemetry {
        model: "NMAxe (BM1370)".to_owned(),
        firmware: "v3.0.21".to_owned(),
        hostname: "nmaxe-001".to_owned(),
        hashrate: Some(990.5e9),
        expected: Some(490e6 * 2_040.0),
        watts: Some(12.5),
        volts: Some(5.0),
        chip_c: Some(62.7),
        regulator_c: Some(45.2),
        fans: vec![Fan { rpm: Some(2_800.0), percent: Some(60.0) }],
        rssi_dbm: Some(-55.0),
        uptime_s: Some(86_400),
        accepted: Some(1_024),
        rejected: Some(3),
        best: Some(1.23e6),
        pools: vec![pool_of("192.168.1.10", 3333, "bc1qexample.nm", true)],
        ..Telemetry::silent(Family::NmAxe)
    };
    assert_eq!(device, expected);
    assert!(with(NMAXE, json!({"miner": {"paused": true}})).paused);
    assert_ne!(with(NMAXE, json!({"miner": {"state": "error"}})).hardware_fault, "");
    let lottery =
        with(NMAXE, json!({"asic": null, "power": null, "fans": null, "temps": {"asic": null}}));
    assert_eq!((lottery.watts, lottery.chip_c, lottery.expected), (None, None, None));
    assert_eq!(lottery.model, "NMAxe");
}

#[test]
fn the_list_of_pools_is_told_in_the_order_of_preference() {
    let entry =
        |id, url| json!({"id": id, "stratumURL": url, "stratumPort": 3333, "stratumUser": "u"});
    let pools = json!([entry(0, "kept"), entry(3, "second"), entry(5, "first"), {"id": 6}]);
    let changes = |using, prefers| {
        json!({"pools": pools, "primaryPoolIndex": 5, "secondaryPoolIndex": 3,
            "isUsingFallbackStratum": using, "useFallbackStratum": prefers})
    };
    let hosts = |device: &Telemetry| {
        device.pools.iter().map(|pool| pool.host.clone()).collect::<Vec<_>>().join(" ")
    };
    let on_first = with(AXEOS_2_15, changes(0, 0));
    assert_eq!(hosts(&on_first), "first second kept");
    assert_eq!(on_first.pool().map(|pool| pool.host.as_str()), Some("first"));
    let on_second = with(AXEOS_2_15, changes(1, 0));
    assert_eq!(on_second.pool().map(|pool| pool.host.as_str()), Some("second"));
    assert_eq!(on_second.on_fallback, Some(true));
    // The owner wants it there.
    let wanted = with(AXEOS_2_15, changes(1, 1));
    assert_eq!(hosts(&wanted), "second first kept");
    assert_eq!(wanted.on_fallback, Some(false));
}

#[test]
fn states_are_told_as_the_firmwares_tell_them() {
    let paused = json!({"miningPaused": true, "hashRate": 0, "expectedHashrate": 0, "temp": -1,
        "fanspeed": 30});
    let paused = with(AXEOS_2_15, paused);
    assert!(paused.paused && !paused.overheated);
    assert_eq!(paused.chip_c, None);
    assert!(almost(paused.expected, 525e6 * 2_040.0), "{:?}", paused.expected);

    assert!(with(AXEOS_2_13, json!({"overheat_mode": 1})).overheated);
    let cooling = json!({"hashRate": 0, "expectedHashrate": 0, "temp": -1, "fanspeed": 100,
        "autofanspeed": 0, "manualFanSpeed": 100});
    assert!(with(AXEOS_2_15, cooling.clone()).overheated);
    // No pool: the same, with a slow fan.
    let mut no_pool = cooling;
    no_pool["fanspeed"] = json!(30);
    assert!(!with(AXEOS_2_15, no_pool).overheated);

    assert!(with(AXEOS_2_15, json!({"actualFrequency": 400})).throttled);
    assert!(!with(AXEOS_2_15, json!({"actualFrequency": 520})).throttled);
    let faults = json!({"power_fault": "Power Fault Detected.",
        "hardware_fault": "Fan Control Failed (Auto)"});
    let faults = with(AXEOS_2_15, faults);
    assert_eq!(faults.power_fault, "Power Fault Detected.");
    assert_eq!(faults.hardware_fault, "Fan Control Failed (Auto)");
    let stopped = with(AXEOS_2_15, json!({"fanrpm": 0}));
    assert_eq!(stopped.fans, [Fan { rpm: Some(0.0), percent: Some(43.0) }]);
    let hex = with(AXEOS_2_15, json!({"fan2rpm": 4000, "temp2": 61, "boardVersion": "303"}));
    assert_eq!((hex.fans.len(), hex.chip_c), (2, Some(61.0)));
    assert_eq!(hex.model, "Bitaxe Hex 303 (BM1370)");
}

/// Each field of each body, and of the objects in it, is replaced by each of these; the rest of the answer
/// stays as it was.
#[test]
fn no_value_of_any_field_costs_more_than_that_field() {
    let wrong = [
        json!(null),
        json!("text"),
        json!([1, "a"]),
        json!({"a": 1}),
        json!(-1),
        json!(1e300),
        json!(true),
        json!("<script>alert(1)</script>"),
        json!(""),
        json!("9".repeat(400)),
    ];
    for body in ALL {
        let whole = told(body);
        let Ok(Value::Object(info)) = serde_json::from_str::<Value>(body) else { panic!("{body}") };
        let mut places = Vec::new();
        for (name, value) in &info {
            let inner = value.as_object().into_iter().flat_map(Map::keys);
            places.extend(inner.map(|inner| (name, Some(inner))));
            places.push((name, None));
        }
        for (name, inner) in places {
            for value in &wrong {
                let mut changed = info.clone();
                match (inner, changed.get_mut(name)) {
                    (Some(inner), Some(object)) => object[inner] = value.clone(),
                    _ => drop(changed.insert(name.clone(), value.clone())),
                }
                let Ok(device) = read(Value::Object(changed).to_string().as_bytes()) else {
                    // By these it is known.
                    assert!(["identity", "miner"].contains(&name.as_str()), "{name}: {value}");
                    continue;
                };
                let differ = difference(&whole, &device);
                // An object that is replaced as a whole takes its fields along.
                let at_most = if inner.is_none() && info[name].is_object() { 8 } else { 3 };
                assert!(
                    differ <= at_most,
                    "{name}, {inner:?}: {value}: {differ} differ: {device:?}"
                );
                check_bounds(&device);
            }
        }
    }
}

#[test]
fn what_is_no_number_of_json_is_no_number() {
    let body = AXEOS_2_15
        .replace("\"power\": 18.1", "\"power\": NaN")
        .replace("\"temp\": 58.25", "\"temp\": 1e999")
        .replace("\"hashRate\": 1066.7421875", "\"hashRate\": -inf");
    let device = told(&body);
    assert_eq!((device.watts, device.chip_c, device.hashrate), (None, None, None));
    assert_eq!(device.volts, told(AXEOS_2_15).volts);
    let latin = AXEOS_2_15.replace("\"hostname\": \"bitaxe\"", "\"hostname\": \"küche\"");
    let latin: Vec<u8> = latin.chars().map(|c| c as u8).collect();
    assert_eq!(read(&latin).map(|device| device.watts), Ok(Some(18.1)));
}

#[test]
fn a_name_is_short_and_visible() {
    let name = format!("<b>\u{202e}\n{}", "x".repeat(200));
    let device = with(AXEOS_2_15, json!({"hostname": name, "version": name}));
    assert_eq!(device.hostname.chars().count(), crate::devices::TEXT_MAX);
    assert!(device.hostname.starts_with("<b>xxx"));
}

#[test]
fn long_lists_are_cut() {
    let pools: Vec<Value> = (0..500).map(|id| json!({"id": id, "stratumURL": "a"})).collect();
    let chips: Vec<Value> = (0..500).map(|_| json!({"total": 1})).collect();
    let device = with(AXEOS_2_15, json!({"pools": pools, "hashrateMonitor": {"asics": chips}}));
    assert_eq!((device.pools.len(), device.boards.len()), (POOLS_MAX, BOARDS_MAX));
    let fans: Vec<Value> = (0..500).map(|_| json!({"rpm": 1})).collect();
    assert_eq!(with(NERDQAXE, json!({"fans": fans})).fans.len(), crate::devices::FANS_MAX);
}

#[test]
fn what_is_no_miner_is_not_taken_for_one() {
    for (body, fault) in [
        ("{}", Unreadable::NoMiner),
        (r#"{"status":"ok","miners":[]}"#, Unreadable::NoMiner),
        (r#"{"version":"1","hostname":"nas"}"#, Unreadable::NoMiner),
        ("<!DOCTYPE html><title>AxeOS</title>", Unreadable::NoMiner),
        ("Unauthorized", Unreadable::Malformed),
        ("", Unreadable::Malformed),
    ] {
        assert_eq!(read(body.as_bytes()).err(), Some(fault), "{body}");
    }
    for body in ALL {
        let half = &body[..body.len() / 2];
        assert_eq!(read(half.as_bytes()).err(), Some(Unreadable::Malformed), "{half}");
    }
}

/// How many fields differ.
fn difference(a: &Telemetry, b: &Telemetry) -> usize {
    let lines = |device: &Telemetry| {
        let text = format!("{device:#?}");
        let mut field = String::new();
        let mut fields = std::collections::BTreeMap::new();
        for line in text.lines() {
            if line.starts_with("    ") && !line.starts_with("     ") && line.contains(": ") {
                field = line.split(": ").next().unwrap_or_default().to_owned();
            }
            fields.entry(field.clone()).or_insert_with(String::new).push_str(line);
        }
        fields
    };
    let (a, b) = (lines(a), lines(b));
    a.iter().filter(|(field, value)| b.get(*field) != Some(value)).count()
}

fn check_bounds(device: &Telemetry) {
    for (value, bounds) in [
        (device.hashrate, bounds::HASHRATE),
        (device.expected, bounds::HASHRATE),
        (device.watts, bounds::WATTS),
        (device.volts, bounds::VOLTS),
        (device.chip_c, bounds::CELSIUS),
        (device.regulator_c, bounds::CELSIUS),
        (device.limit_c, bounds::CELSIUS),
        (device.rssi_dbm, bounds::DBM),
        (device.best, bounds::DIFFICULTY),
    ] {
        assert!(value.is_none_or(|value| bounds.contains(&value)), "{value:?}: {device:?}");
    }
}
