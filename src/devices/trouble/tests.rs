use super::*;
use crate::devices::{Family, Fan};

/// A device with nothing wrong.
fn healthy() -> Telemetry {
    Telemetry {
        hashrate: Some(1.07e12),
        expected: Some(1.071e12),
        chip_c: Some(58.0),
        limit_c: Some(75.0),
        regulator_c: Some(61.0),
        volts: Some(5.09),
        nominal_volts: Some(5.0),
        fans: vec![Fan { rpm: Some(4_211.0), percent: Some(43.0) }],
        uptime_s: Some(28_761),
        on_fallback: Some(false),
        boards: vec![266e9, 267e9, 266e9, 266e9],
        ..Telemetry::silent(Family::AxeOs)
    }
}

/// What is told of a device that has answered so for `seconds`, every 30 s.
fn after(seconds: u64, device: &Telemetry) -> Vec<Trouble> {
    let start = Instant::now();
    let mut watch = Watch::default();
    let mut now = start;
    for second in (0..=seconds).step_by(30) {
        now = start + Duration::from_secs(second);
        watch.saw(now, device);
    }
    watch.troubles(now).map(|watched| watched.trouble).collect()
}

#[test]
fn a_healthy_device_has_no_trouble() {
    assert_eq!(after(86_400, &healthy()), []);
    assert_eq!(after(86_400, &Telemetry::silent(Family::Cgminer)), []);
}

#[test]
fn each_trouble_is_told_after_its_time_and_not_before() {
    type Spoil = fn(&mut Telemetry);
    let cases: [(Trouble, u64, Spoil); Trouble::COUNT] = [
        (Trouble::Overheated, 0, |d| d.overheated = true),
        (Trouble::Hot, 60, |d| d.chip_c = Some(72.0)),
        (Trouble::FanStopped, 60, |d| d.fans[0].rpm = Some(0.0)),
        (Trouble::PowerFault, 0, |d| d.power_fault = "Power Fault Detected.".to_owned()),
        (Trouble::HardwareFault, 0, |d| d.hardware_fault = "Fan Control Failed".to_owned()),
        (Trouble::PowerSag, 60, |d| d.volts = Some(4.64)),
        (Trouble::Throttled, 120, |d| d.throttled = true),
        (Trouble::Paused, 0, |d| (d.paused, d.hashrate) = (true, Some(0.0))),
        (Trouble::Stopped, 120, |d| d.hashrate = Some(0.0)),
        (Trouble::OnFallback, 0, |d| d.on_fallback = Some(true)),
        (Trouble::BoardGone, 300, |d| d.boards[2] = 1e9),
        (Trouble::Slow, 600, |d| d.hashrate = Some(0.7e12)),
    ];
    for (place, (trouble, lasts, spoil)) in cases.into_iter().enumerate() {
        assert_eq!(place, trouble.index(), "each trouble has its case");
        let mut device = healthy();
        spoil(&mut device);
        assert_eq!(after(lasts, &device), [trouble]);
        if lasts > 0 {
            assert_eq!(after(lasts - 30, &device), [], "{trouble:?} is told too early");
        }
    }
}

#[test]
fn a_regulator_can_be_hot_while_the_chip_is_not() {
    let device = Telemetry { regulator_c: Some(101.0), ..healthy() };
    assert_eq!(after(60, &device), [Trouble::Hot]);
}

#[test]
fn one_good_answer_ends_a_trouble() {
    let start = Instant::now();
    let at = |second| start + Duration::from_secs(second);
    let hot = Telemetry { chip_c: Some(74.0), ..healthy() };
    let mut watch = Watch::default();
    watch.saw(at(0), &hot);
    watch.saw(at(30), &healthy());
    watch.saw(at(60), &hot);
    assert_eq!(watch.troubles(at(90)).count(), 0);
    let told: Vec<_> = watch.troubles(at(120)).collect();
    assert_eq!(told, [WatchedTrouble { trouble: Trouble::Hot, since: at(60) }]);
}

#[test]
fn a_device_that_starts_is_not_slow_yet() {
    let mut device = Telemetry { uptime_s: Some(20), hashrate: Some(0.0), ..healthy() };
    device.boards = vec![0.0, 266e9];
    assert_eq!(after(600, &device), []);
}

#[test]
fn a_device_that_stands_still_is_not_slower_than_it_is_set_to() {
    let device = Telemetry { paused: true, throttled: true, hashrate: Some(0.0), ..healthy() };
    assert_eq!(after(600, &device), [Trouble::Paused]);
}

#[test]
fn a_connector_without_a_fan_is_no_fan_that_stands_still() {
    let fan = |rpm| Fan { rpm: Some(rpm), percent: Some(62.0) };
    let one_of_two = Telemetry { fans: vec![fan(3_400.0), fan(0.0)], ..healthy() };
    assert_eq!(after(600, &one_of_two), []);
    // One that has turned before is one.
    let start = Instant::now();
    let mut watch = Watch::default();
    watch.saw(start, &Telemetry { fans: vec![fan(3_400.0), fan(3_300.0)], ..healthy() });
    for second in [30, 60, 90] {
        watch.saw(start + Duration::from_secs(second), &one_of_two);
    }
    let told: Vec<_> = watch.troubles(start + Duration::from_secs(90)).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].trouble, Trouble::FanStopped);
}

/// As AxeOS and Antminers tell it: by the answer's own reader.
#[test]
fn a_second_fan_that_is_told_of_no_more_has_stopped() {
    let axeos = |fan2rpm: &str| {
        let text = format!(
            r#"{{"ASICModel":"BM1370","version":"v2.15.0","hashRate":1066.7,"fanrpm":4211,"fanspeed":43{fan2rpm}}}"#
        );
        crate::devices::axeos::read(text.as_bytes()).unwrap()
    };
    let (both, one) = (axeos(r#","fan2rpm":4100"#), axeos(r#","fan2rpm":0"#));
    assert_eq!((both.fans.len(), one.fans.len()), (2, 1), "{one:?}");
    let told = |first: &Telemetry, then: &Telemetry| {
        let start = Instant::now();
        let mut watch = Watch::default();
        watch.saw(start, first);
        for second in [30, 60, 90] {
            watch.saw(start + Duration::from_secs(second), then);
        }
        let told = watch.troubles(start + Duration::from_secs(90));
        told.map(|watched| watched.trouble).collect::<Vec<_>>()
    };
    assert_eq!(told(&both, &one), [Trouble::FanStopped]);
    assert_eq!(told(&both, &axeos("")), [Trouble::FanStopped]);
    // There was never a second one.
    assert_eq!(told(&one, &one), []);
    // All are at rest, as they are told to, or nothing at all is told of them.
    let at_rest = Fan { rpm: Some(0.0), percent: Some(0.0) };
    assert_eq!(told(&both, &Telemetry { fans: vec![at_rest], ..one.clone() }), []);
    assert_eq!(told(&both, &Telemetry { fans: Vec::new(), ..one }), []);
    // Of four without a percentage.
    let fans = |count| Telemetry {
        fans: vec![Fan { rpm: Some(5_880.0), percent: None }; count],
        ..Telemetry::silent(Family::Cgminer)
    };
    assert_eq!(told(&fans(4), &fans(3)), [Trouble::FanStopped]);
    assert_eq!(told(&fans(4), &fans(0)), [], "it sleeps");
}

#[test]
fn the_api_and_the_metrics_call_a_trouble_the_same() {
    for trouble in Trouble::ALL {
        assert_eq!(serde_json::to_value(trouble).unwrap(), trouble.name());
    }
}
