use super::*;
use crate::devices::Family;
use crate::status::{JobView, RateView, verdict};

/// A device that answers, and claims so much.
fn device(miner: &str, hashrate: f64, expected: Option<f64>) -> DeviceView {
    DeviceView {
        address: "192.168.1.9".to_owned(),
        family: Family::AxeOs.name().to_owned(),
        miner: Some(miner.to_owned()),
        fresh: true,
        hashrate: Some(hashrate),
        expected,
        ..DeviceView::default()
    }
}

/// A miner of a model with this data sheet, of which shares prove so much.
fn miner(claimed: Option<f64>, proven: f64) -> MinerView {
    let rate = RateView {
        hashrate: proven,
        shares: 360,
        window_s: 3_600,
        measured_s: 3_600,
        low: proven * 0.9,
        high: Some(proven * 1.1),
    };
    MinerView {
        id: "7".to_owned(),
        name: "gamma".to_owned(),
        difficulty: 1_000.0,
        claimed,
        claimed_by: claimed.map_or_else(String::new, |_| "data sheet".to_owned()),
        rate,
        rate_hour: rate,
        rate_day: RateView { window_s: 86_400, ..rate },
        ..MinerView::default()
    }
}

/// Names of the alarms of a snapshot with this miner and this device.
fn alarms(mut miner: MinerView, device: DeviceView) -> Vec<String> {
    let devices = vec![device];
    claim(std::slice::from_mut(&mut miner), &devices);
    let job = JobView { to_owner_sat: 1, value_sat: 1, ..JobView::default() };
    let snapshot = Snapshot {
        now: 1_000_000,
        configured: true,
        job: Some(job),
        miners: vec![miner],
        devices,
        ..Snapshot::default()
    };
    verdict(&snapshot).alarms.into_iter().map(|alarm| alarm.id).collect()
}

#[test]
fn no_word_of_a_device_stops_an_alarm_about_proven_work() {
    let slow = || miner(Some(1.1e12), 0.5e12);
    assert_eq!(alarms(slow(), DeviceView::default()), ["miner_slow:7"], "without a device");
    for (hashrate, expected) in [
        (0.0, None),
        (1.0, Some(1.0)),
        (0.5e12, Some(0.5e12)),
        (f64::NAN, Some(f64::NAN)),
        (-1e12, Some(-1e12)),
        (1.1e12, Some(1.1e12)),
    ] {
        let told = alarms(slow(), device("7", hashrate, expected));
        assert_eq!(told, ["miner_slow:7"], "{hashrate} and {expected:?}");
    }
}

#[test]
fn a_device_that_claims_more_than_it_proves_is_told_of() {
    // Its model has no data sheet, or one of less: only the device says what it should do.
    let claims = || device("7", 2.0e12, Some(2.1e12));
    assert_eq!(alarms(miner(None, 1.0e12), claims()), ["miner_slow:7"]);
    assert_eq!(alarms(miner(Some(1.1e12), 1.0e12), claims()), ["miner_slow:7"]);
    assert_eq!(alarms(miner(None, 2.0e12), claims()), Vec::<String>::new());
    // What was said long ago is no claim.
    let old = DeviceView { fresh: false, ..claims() };
    assert_eq!(alarms(miner(Some(1.1e12), 1.0e12), old), Vec::<String>::new());
    // Nor is another's.
    let other = DeviceView { miner: Some("8".to_owned()), ..claims() };
    assert_eq!(alarms(miner(Some(1.1e12), 1.0e12), other), Vec::<String>::new());
}

#[test]
fn what_several_devices_under_one_name_claim_is_added_up_like_their_shares() {
    let mut miners = [miner(Some(1.1e12), 1.2e12)];
    let both =
        [device("7", 1.0e12, None), device("8", 9e12, None), device("7", 1.0e12, Some(1.2e12))];
    claim(&mut miners, &both);
    assert_eq!(miners[0].claimed, Some(2.2e12));
}

#[test]
fn who_claims_it_is_said() {
    let mut miners = [miner(Some(1.1e12), 1.0e12)];
    claim(&mut miners, &[device("7", 1.0e12, None)]);
    assert_eq!((miners[0].claimed, miners[0].claimed_by.as_str()), (Some(1.1e12), "data sheet"));
    claim(&mut miners, &[device("7", 1.0e12, Some(1.2e12))]);
    assert_eq!((miners[0].claimed, miners[0].claimed_by.as_str()), (Some(1.2e12), "AxeOS"));
}

#[test]
fn each_trouble_is_an_alarm_with_a_next_step() {
    for trouble in Trouble::ALL {
        let told = TroubleView { what: trouble, since: 999_000 };
        let device = DeviceView {
            chip_c: Some(74.0),
            limit_c: Some(75.0),
            volts: Some(4.6),
            pool: Some("solo.example.org:3333".to_owned()),
            troubles: vec![told],
            ..device("7", 1.0e12, Some(1.2e12))
        };
        let snapshot = Snapshot {
            now: 1_000_000,
            miners: vec![miner(None, 1.0e12)],
            devices: vec![device],
            ..Snapshot::default()
        };
        let mut all = Alarms(Vec::new());
        super::alarms(&snapshot, &mut all);
        let [alarm] = all.0.as_slice() else { panic!("{trouble:?}: {:?}", all.0) };
        assert_eq!(alarm.id, format!("device_{}:7", trouble.name()));
        assert!(alarm.text.contains("gamma") && alarm.text.ends_with('.'), "{}", alarm.text);
        assert!(alarm.advice.ends_with('.') && alarm.advice.len() > 20, "{}", alarm.advice);
        assert_eq!((alarm.since, alarm.level), (Some(999_000), Level::Warning));
    }
}

#[test]
fn a_hot_regulator_is_not_called_a_hot_chip() {
    let told = TroubleView { what: Trouble::Hot, since: 1 };
    let device = DeviceView {
        chip_c: Some(58.0),
        limit_c: Some(75.0),
        regulator_c: Some(101.0),
        troubles: vec![told],
        ..device("7", 1e12, None)
    };
    let (_, text, _) = words(&device, Trouble::Hot, "gamma");
    assert_eq!(text, "The voltage regulator of miner gamma is hot: 101\u{202f}°C.");
}

#[test]
fn power_is_added_up_and_priced() {
    let told = |watts, hashrate| DeviceView {
        watts: Some(watts),
        mines_here: true,
        ..device("7", hashrate, None)
    };
    let silent = DeviceView { fresh: false, ..told(5_000.0, 9e12) };
    let elsewhere = DeviceView { mines_here: false, ..told(72.0, 4.8e12) };
    let devices = [told(18.0, 1.2e12), elsewhere, told(10.0, 0.0), silent];
    let sum = power(&devices, Some(0.3), "€").unwrap();
    assert_eq!((sum.watts, sum.watts_here, sum.devices), (100.0, 28.0, 3));
    // Without the one that does not hash.
    assert_eq!(sum.joules_per_terahash, Some(15.0));
    let cost = sum.cost.unwrap();
    assert!((cost.day - 0.72).abs() < 1e-9 && (cost.month - 21.915).abs() < 1e-9, "{cost:?}");
    assert!((cost.day_here - 0.2016).abs() < 1e-9, "{cost:?}");
    assert_eq!(
        (cost.amount(cost.day), cost.amount(1_234.5)),
        ("0.72\u{202f}€".into(), "1235\u{202f}€".into())
    );
    assert_eq!(power(&devices, None, "€").unwrap().cost, None);
    assert_eq!(power(&[], Some(0.3), "€"), None);
    assert_eq!(power(&[DeviceView::default()], Some(0.3), "€"), None);
}

#[test]
fn what_a_block_costs_follows_from_the_odds() {
    let cost = CostView { day: 5.0, day_here: 2.0, ..CostView::default() };
    let odds = Odds { mean_s: Some(86_400.0 * 365.0), ..Odds::default() };
    assert_eq!(cost.block(&odds), Some(730.0));
    assert_eq!(cost.block(&Odds { mean_s: None, ..odds }), None);
    // What mines elsewhere pays for other chances.
    assert_eq!(CostView { day_here: 0.0, ..cost }.block(&odds), None);
}

#[test]
fn a_device_is_named_as_the_owner_names_it() {
    let snapshot = Snapshot { miners: vec![miner(None, 1e12)], ..Snapshot::default() };
    assert_eq!(snapshot.device_name(&device("7", 1e12, None)), "gamma");
    let other = DeviceView { hostname: "bitaxe".to_owned(), ..device("8", 1e12, None) };
    assert_eq!(snapshot.device_name(&other), "bitaxe at 192.168.1.9");
    assert_eq!(snapshot.device_name(&device("8", 1e12, None)), "192.168.1.9");
}

#[test]
fn two_devices_under_one_name_have_alarms_of_their_own() {
    let hot = |address: &str| DeviceView {
        address: address.to_owned(),
        troubles: vec![TroubleView { what: Trouble::Hot, since: 1 }],
        ..device("7", 1e12, None)
    };
    let snapshot = Snapshot {
        configured: true,
        miners: vec![miner(None, 1e12)],
        devices: vec![hot("192.168.1.9"), hot("192.168.1.10")],
        ..Snapshot::default()
    };
    let ids: Vec<String> = verdict(&snapshot).alarms.into_iter().map(|alarm| alarm.id).collect();
    for id in ["device_hot:192.168.1.9", "device_hot:192.168.1.10"] {
        assert_eq!(ids.iter().filter(|known| *known == id).count(), 1, "{ids:?}");
    }
}

#[test]
fn for_support_a_device_tells_all_but_its_pools() {
    let told = DeviceView {
        pool: Some("pool.example:3333".to_owned()),
        pools: vec!["pool.example:3333".to_owned()],
        on_fallback: Some(true),
        troubles: vec![TroubleView { what: Trouble::OnFallback, since: 1 }],
        hostname: "bitaxe-of-anna".to_owned(),
        ..device("", 1e12, None)
    };
    let snapshot = Snapshot {
        configured: true,
        devices: vec![told.clone().for_support()],
        ..Snapshot::default()
    };
    let alarms = serde_json::to_string(&verdict(&snapshot).alarms.len()).unwrap();
    assert_ne!(alarms, "0");
    for text in [format!("{snapshot:?}"), format!("{:?}", verdict(&snapshot))] {
        assert!(!text.contains("pool.example") && !text.contains("anna"), "{text}");
    }
    assert_eq!(snapshot.devices[0].hashrate, told.hashrate);
}
