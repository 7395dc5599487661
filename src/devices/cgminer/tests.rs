//! The answers are those of the devices' servers in tests.

use serde_json::{Value, json};

use super::*;
use crate::devices::Way;

const NANO3S: &str = include_str!("../../../tests/common/device/nano3s.json");
const AVALON_Q: &str = include_str!("../../../tests/common/device/avalon-q.json");
const ANTMINER: &str = include_str!("../../../tests/common/device/antminer.json");

/// What a device answers to our commands, with the NUL at the end; an error to those it does not know.
fn answers(device: &str) -> Vec<Answer> {
    let Ok(device) = serde_json::from_str::<Value>(device) else { panic!("no JSON: {device}") };
    let unknown = json!({"STATUS": [{"STATUS": "E", "When": 1, "Code": 14, "Msg": "Invalid command",
        "Description": "cgminer"}], "id": 1});
    let answer =
        |to| Answer { to, body: format!("{}\0", device.get(to).unwrap_or(&unknown)).into_bytes() };
    COMMANDS.into_iter().map(answer).collect()
}

fn told(answers: &[Answer]) -> Telemetry {
    read(answers).unwrap_or_else(|fault| panic!("{fault}"))
}

/// The same with another text in place of one.
fn changed(device: &str, from: &str, to: &str) -> Telemetry {
    let other = device.replace(from, to);
    assert_ne!(other, device, "{from}");
    told(&answers(&other))
}

fn pool_of(host: &str, in_use: bool) -> Pool {
    Pool { host: host.to_owned(), port: 3333, user: "bc1qexample.nano".to_owned(), in_use }
}

#[test]
fn an_avalon_nano_tells_everything() {
    let expected = Telemetry {
        model: "Avalon Nano3s".to_owned(),
        firmware: "25021401_56abae7".to_owned(),
        mac: Some([0xe0, 0xe1, 0xa9, 0x3f, 0x30, 0x53]),
        hashrate: Some(6_598.84e9),
        expected: Some(6_783.65e9),
        watts: Some(133.0),
        chip_c: Some(95.0),
        fans: vec![Fan { rpm: Some(1_520.0), percent: Some(33.0) }],
        uptime_s: Some(10_027),
        accepted: Some(2_612),
        rejected: Some(2),
        best: Some(224_199_508.0),
        pools: vec![pool_of("192.168.1.10", true), pool_of("solo.example", false)],
        on_fallback: Some(false),
        way: Way::ByHand,
        ..Telemetry::silent(Family::Avalon)
    };
    assert_eq!(told(&answers(NANO3S)), expected);
}

#[test]
fn an_avalon_q_in_standby_is_paused_although_its_averages_stay_high() {
    let device = told(&answers(AVALON_Q));
    assert_eq!((device.family, device.model.as_str()), (Family::Avalon, "Avalon Q"));
    assert!(device.paused);
    assert_eq!((device.hashrate, device.watts), (Some(0.0), Some(146.0)));
    assert_eq!((device.air_c, device.chip_c), (Some(26.0), None));
    assert_eq!(device.fans.len(), 4);
    // Its part of `stats` is empty. Without `estats` the rest is told.
    let without = told(&answers(AVALON_Q)[..4]);
    assert_eq!((without.family, without.watts, without.paused), (Family::Avalon, None, false));
    assert_eq!(without.accepted, Some(2_612));
}

#[test]
fn the_watts_of_avalons_stand_at_different_places() {
    let with = |from, to| changed(NANO3S, from, to).watts;
    assert_eq!(with("Ver[Nano3s-", "Ver[nano3-"), Some(3_756.0));
    assert_eq!(with("PS[0 0 27541 4 0 3756 133]", "PS[0 1217 1279 221 2834 1280]"), Some(2_834.0));
    assert_eq!(with("PS[0 0 27541", "WALLPOWER[3731] PS[0 0 27541"), Some(3_731.0));
    for unknown in
        ["PS[133]", "PS[]", "PS[0 0 27541 4 0 x 133]", "PS[0 0 27541 4 0 3756 -1]", "PS[0 0", ""]
    {
        assert_eq!(with("PS[0 0 27541 4 0 3756 133]", unknown), None, "{unknown}");
    }
}

#[test]
fn the_keys_of_avalons_are_whole_words() {
    assert_eq!(changed(NANO3S, "TMax[95]", "MTMax[99] TMax[94]").chip_c, Some(94.0));
    assert_eq!(changed(NANO3S, "GHSspd[6598.84]", "GHSspd[nan]").hashrate, Some(5_443_351.11e6));
    assert_eq!(changed(NANO3S, "ITemp[-273]", "ITemp[31]").air_c, Some(31.0));
    let three = changed(NANO3S, "MGHS[6695.18]", "MGHS[59459.52 61407.83 63139.66]");
    assert_eq!(three.boards, [59_459.52e9, 61_407.83e9, 63_139.66e9]);
}

#[test]
fn an_antminer_tells_its_boards_and_its_fallback() {
    let expected = Telemetry {
        model: "Antminer S19j Pro".to_owned(),
        firmware: "bmminer 2.0.0".to_owned(),
        hashrate: Some(90_123.97e9),
        expected: Some(90_000e9),
        chip_c: Some(69.0),
        fans: [5_786.0, 5_790.0, 5_802.0].map(|rpm| Fan { rpm: Some(rpm), percent: None }).to_vec(),
        uptime_s: Some(4_815),
        accepted: Some(1_402),
        rejected: Some(3),
        best: Some(81_234_567.0),
        boards: vec![30_041.2e9, 30_040.1e9, 30_042.6e9],
        pools: vec![pool_of("192.168.1.10", false), pool_of("solo.example", true)],
        on_fallback: Some(true),
        ..Telemetry::silent(Family::Cgminer)
    };
    assert_eq!(told(&answers(ANTMINER)), expected);
}

#[test]
fn the_comma_that_antminers_leave_out_is_not_missed() {
    let mut told_badly = answers(ANTMINER);
    for answer in &mut told_badly {
        answer.body = String::from_utf8_lossy(&answer.body).replace("},{", "}{").into_bytes();
    }
    assert_eq!(told(&told_badly), told(&answers(ANTMINER)));
}

#[test]
fn one_bad_answer_costs_itself_alone() {
    let whole = told(&answers(NANO3S));
    for bad in
        ["", "nonsense", "[]", "{\"STATS\":7}", "{\"POOLS\":[1,null,{}]}", "{\"SUMMARY\":[[]]}"]
    {
        for place in 0..COMMANDS.len() {
            let mut some = answers(NANO3S);
            some[place].body = bad.as_bytes().to_vec();
            let device = told(&some);
            assert_eq!(device.family, Family::Avalon, "{bad}");
            match COMMANDS[place] {
                "version" => assert_eq!(device.hashrate, whole.hashrate),
                "summary" => assert_eq!(device.pools, whole.pools),
                _ => assert_eq!(device.accepted, whole.accepted),
            }
        }
    }
}

#[test]
fn what_is_no_miner_is_not_taken_for_one() {
    let all = |body: &str| {
        let answer = |to| Answer { to, body: body.as_bytes().to_vec() };
        read(&COMMANDS.map(answer)).err()
    };
    assert_eq!(all("{}"), Some(Unreadable::NoMiner));
    assert_eq!(all("<html>"), Some(Unreadable::NoMiner));
    assert_eq!(all("STATUS=S,When=1|"), Some(Unreadable::Malformed));
    assert_eq!(read(&[]).err(), Some(Unreadable::Malformed));
}
