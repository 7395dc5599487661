//! Devices are pointed here and back, by sockets, on servers that behave as the firmwares' sources say: their
//! settings before and after are compared field by field.

// A test's helpers may panic.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Map, Value, json};
use soloist::devices::pointing::{
    Call, Command, Method, NoPlan, Plan, PoolWish, Wish, command, plan,
};
use soloist::devices::{Family, axeos, bounds};

use crate::common::device::{Device, Hostile, Kind, MinesOn, lie, send};
use crate::common::wait_for;

const POINTED: [Kind; 5] =
    [Kind::AxeOs2_15, Kind::AxeOs2_14, Kind::AxeOs2_13, Kind::AxeOs2_8, Kind::NerdQAxe];
const KEY: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";

fn start(kind: Kind) -> Device {
    Device::start(kind, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

fn wish() -> Wish {
    Wish {
        host: "192.168.1.2".to_owned(),
        port: 3333,
        user: "bc1qours.kitchen".to_owned(),
        password: None,
        v2_key: None,
        fallback: None,
    }
}

fn fallback(password: Option<&str>) -> Option<PoolWish> {
    let (host, user) = ("solo.example".to_owned(), "bc1qours".to_owned());
    Some(PoolWish { host, port: 3334, user, password: password.map(str::to_owned) })
}

fn wishes() -> Vec<Wish> {
    let password = || Some("ours".to_owned());
    vec![
        wish(),
        Wish { fallback: fallback(None), ..wish() },
        Wish { fallback: fallback(Some("d=1")), password: password(), ..wish() },
        Wish { v2_key: Some(KEY.to_owned()), port: 3336, ..wish() },
        Wish { v2_key: Some(KEY.to_owned()), port: 3336, fallback: fallback(None), ..wish() },
    ]
}

/// What an owner may have set, of each kind.
fn situations(kind: Kind) -> Vec<Value> {
    let place = |id: u64| {
        json!({"id": id, "stratumURL": format!("pool{id}.example"), "stratumPort": 3333 + id,
            "stratumUser": format!("user{id}"), "stratumProtocol": "SV1",
            "stratumSuggestedDifficulty": 100 + id, "stratumExtranonceSubscribe": true, "stratumTLS": 1,
            "stratumCert": "cert", "stratumDecodeCoinbase": false, "stratumV2ChannelType": "standard",
            "stratumV2AuthorityPubkey": "", "stratumV2RequireAuth": false})
    };
    let places = |ids: &[u64]| ids.iter().map(|id| place(*id)).collect::<Vec<_>>();
    let mut all = vec![json!({})];
    match kind {
        Kind::AxeOs2_15 => all.extend([
            json!({"pools": places(&[0, 1, 2]), "useFallbackStratum": true}),
            json!({"pools": places(&[0, 1, 2, 3, 4, 5, 6, 7])}),
            json!({"pools": places(&[3, 4]), "primaryPoolIndex": 4, "secondaryPoolIndex": 3}),
            json!({"pools": [{"id": 5, "stratumURL": "192.168.1.2", "stratumPort": 3333,
                "stratumUser": "bc1qolder", "stratumProtocol": "SV1", "stratumSuggestedDifficulty": 7,
                "stratumExtranonceSubscribe": true, "stratumTLS": 1, "stratumCert": "cert",
                "stratumDecodeCoinbase": false, "stratumV2ChannelType": "standard",
                "stratumV2AuthorityPubkey": "", "stratumV2RequireAuth": false}]}),
        ]),
        Kind::AxeOs2_14 => all.extend([
            json!({"stratumTLS": 2, "stratumProtocol": "SV2", "stratumV2AuthorityPubkey": "old",
                "fallbackStratumURL": "other.example", "fallbackStratumUser": "someone",
                "fallbackStratumTLS": 1}),
        ]),
        Kind::NerdQAxe => all.extend([
            json!({"stratumTLS": true, "stratumProtocol": 1, "sv2AuthorityPubkey": "old"}),
            json!({"fallbackStratumURL": "other.example", "fallbackStratumTLS": true, "flipscreen": true,
                "stratum": {"poolMode": 1, "activePoolMode": 1}}),
        ]),
        _ => all.push(json!({"fallbackStratumURL": "other.example", "fallbackStratumUser": "someone"})),
    }
    all
}

fn told(device: &Device) -> Vec<u8> {
    let call = Call { method: Method::Get, path: axeos::INFO.to_owned(), body: String::new() };
    let (status, body) = send(device.address, &call);
    assert_eq!(status, 200);
    body.into_bytes()
}

fn carry_out(device: &Device, calls: &[Call], restarts: bool) {
    let before = device.restarted();
    for call in calls {
        let (status, said) = send(device.address, call);
        assert_eq!(status, 200, "{:?}: {} {}: {said}", device.kind, call.path, call.body);
    }
    assert_eq!(restarts, calls.iter().any(|call| call.path.ends_with("/restart")));
    if restarts {
        wait_for("the restart", || (device.restarted() > before).then_some(()));
    }
}

/// The names of settings that differ; of a list, with their places.
fn different(a: &Value, b: &Value) -> BTreeSet<String> {
    fn compare(path: &str, a: &Value, b: &Value, found: &mut BTreeSet<String>) {
        match (a, b) {
            (Value::Object(a_fields), Value::Object(b_fields)) => {
                let names: BTreeSet<&String> = a_fields.keys().chain(b_fields.keys()).collect();
                for name in names {
                    let get =
                        |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
                    compare(&format!("{path}.{name}"), &get(a_fields), &get(b_fields), found);
                }
            }
            (Value::Array(a_list), Value::Array(b_list)) if a_list.len() == b_list.len() => {
                for (place, (a, b)) in a_list.iter().zip(b_list).enumerate() {
                    compare(&format!("{path}[{place}]"), a, b, found);
                }
            }
            (a, b) if a != b => drop(found.insert(path.trim_start_matches('.').to_owned())),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    compare("", a, b, &mut found);
    found
}

fn planned(device: &Device, wish: &Wish) -> Option<Plan> {
    match plan(&told(device), wish) {
        Ok(plan) => Some(plan),
        Err(NoPlan::NoV2) => None,
        Err(other) => panic!("{:?}: {other}", device.kind),
    }
}

#[test]
fn pointing_changes_the_pool_alone_and_undo_brings_all_back_but_what_it_says() {
    let mut cases = 0;
    for kind in POINTED {
        for situation in situations(kind) {
            for wish in wishes() {
                let device = start(kind);
                device.set(situation.clone());
                let Some(plan) = planned(&device, &wish) else { continue };
                let case = format!("{kind:?}, {situation}, {wish:?}");
                let before = device.settings();

                carry_out(&device, &plan.calls, plan.restarts);
                let after = device.settings();
                let changed = different(&before, &after);
                let is_of_the_pool = |name: &String| {
                    let of_the_pool =
                        ["tratum", "pools[", "PoolIndex", "poolMode", "sv2AuthorityPubkey"];
                    of_the_pool.iter().any(|part| name.contains(part))
                };
                assert!(changed.iter().all(is_of_the_pool), "{case}: {changed:?}");
                let MinesOn { host, port, user, password, is_v2 } = device.mines_on();
                assert_eq!(
                    (host.as_str(), port, user.as_str()),
                    (&*wish.host, wish.port, &*wish.user),
                    "{case}"
                );
                assert_eq!(is_v2, wish.v2_key.is_some(), "{case}");
                if let Some(wished) = &wish.password {
                    assert_eq!(*wished, password, "{case}");
                }
                // So it is seen that the settings were taken.
                let mut again = Wish { password: None, ..wish.clone() };
                again.fallback = again.fallback.map(|pool| PoolWish { password: None, ..pool });
                assert_eq!(
                    soloist::devices::pointing::plan(&told(&device), &again),
                    Err(NoPlan::AlreadyHere)
                );

                carry_out(&device, &plan.undo.calls, plan.undo.restarts);
                let lost = different(&before, &device.settings());
                let is_said =
                    |name: &String| name.contains("assword") && !plan.not_restored.is_empty();
                assert!(lost.iter().all(is_said), "{case}: {lost:?}");
                cases += 1;
            }
        }
    }
    assert!(cases >= 50, "{cases}");
    println!("{cases} ways here and back");
}

#[test]
fn of_a_list_no_entry_and_no_password_is_lost() {
    let device = start(Kind::AxeOs2_15);
    let before = device.settings();
    let plan = planned(&device, &wish()).unwrap();
    carry_out(&device, &plan.calls, plan.restarts);
    let after = device.settings();
    assert_eq!(before["pools"][0], after["pools"][0]);
    assert_eq!(after["pools"][0]["stratumPassword"], "of the pool");
    assert_eq!((&after["primaryPoolIndex"], &after["secondaryPoolIndex"]), (&json!(2), &json!(0)));
    carry_out(&device, &plan.undo.calls, plan.undo.restarts);
    assert_eq!(before, device.settings());

    // Where this box has a place already, its other fields stay.
    let device = start(Kind::AxeOs2_15);
    device.set(situations(Kind::AxeOs2_15).pop().unwrap());
    let before = device.settings();
    let plan = planned(&device, &wish()).unwrap();
    carry_out(&device, &plan.calls, plan.restarts);
    let changed = different(&before, &device.settings());
    let ours =
        ["pools[5].stratumTLS", "pools[5].stratumUser", "primaryPoolIndex", "secondaryPoolIndex"];
    assert_eq!(changed, BTreeSet::from(ours.map(str::to_owned)));
}

/// By these the servers were written; the plans depend on them.
#[test]
fn the_servers_have_the_firmwares_traps() {
    let patch = |device: &Device, body: Value| {
        let call =
            Call { method: Method::Patch, path: "/api/system".to_owned(), body: body.to_string() };
        send(device.address, &call)
    };
    // 2.15 says yes to the keys of before and does nothing.
    let list = start(Kind::AxeOs2_15);
    let before = list.settings();
    assert_eq!(
        patch(&list, json!({"stratumURL": "elsewhere", "stratumPort": 1})),
        (200, String::new())
    );
    assert_eq!(list.settings(), before);
    let place = json!({"id": 0, "stratumURL": "a", "stratumPort": 1, "stratumUser": "b"});
    assert_eq!(patch(&list, json!({"pools": [place]})).0, 200);
    let after = list.settings();
    assert_eq!(after["pools"][0]["stratumPassword"], "x");
    assert_eq!(after["pools"][0]["stratumSuggestedDifficulty"], 0);
    // It is told at once, and used after a restart.
    assert_eq!(list.info()["stratumURL"], "a");
    assert_eq!(list.mines_on().host, "192.168.1.10");
    for wrong in [json!({"pools": [{"id": 8}]}), json!({"pools": 7}), json!({"overheat_mode": 1})] {
        assert_eq!(patch(&list, wrong), (400, "Wrong API input".to_owned()));
    }
    let first = Call {
        method: Method::Delete,
        path: "/api/system/pools/0".to_owned(),
        body: String::new(),
    };
    assert_eq!(send(list.address, &first).0, 400);
    assert_eq!(patch(&list, json!({"hostname": "x".repeat(10_300)})).0, 500);

    // 2.14 says yes to the list.
    let pair = start(Kind::AxeOs2_14);
    let before = pair.settings();
    assert_eq!(patch(&pair, json!({"pools": [place], "primaryPoolIndex": 1})).0, 200);
    assert_eq!(pair.settings(), before);
    assert_eq!(patch(&pair, json!({"stratumPort": "1"})).0, 400);

    // NerdQAxe takes nothing but booleans, says yes to the rest, and connects by itself.
    let nerd = start(Kind::NerdQAxe);
    assert_eq!(patch(&nerd, json!({"stratumTLS": 1, "stratumPort": 3336})).0, 200);
    assert_eq!(nerd.settings()["stratumTLS"], false);
    assert_eq!(nerd.mines_on().port, 3336);
    nerd.set(json!({"otp": true}));
    assert_eq!(patch(&nerd, json!({"stratumPort": 1})), (401, "OTP/Session required".to_owned()));
    assert_eq!(plan(&told(&nerd), &wish()), Err(NoPlan::NeedsLogin));
}

#[test]
fn a_page_of_another_origin_is_not_let_in() {
    let ask = |kind, origin: &str| {
        let device = start(kind);
        let request = minreq::get(format!("http://{}{}", device.address, axeos::INFO));
        request.with_header("Origin", origin).with_timeout(10).send().unwrap().status_code
    };
    for kind in POINTED {
        assert_eq!(ask(kind, "https://192.168.1.2"), 401, "{kind:?}");
        assert_eq!(ask(kind, "http://example.com"), 401, "{kind:?}");
        assert_eq!(ask(kind, "http://192.168.1.2"), 200, "{kind:?}");
    }
    assert_eq!(ask(Kind::AxeOs2_15, "http://192.168.1.2:8080"), 401);
    assert_eq!(ask(Kind::AxeOs2_15, "http://soloist.local:8080"), 200);
    assert_eq!(ask(Kind::AxeOs2_13, "http://soloist.local"), 401);
}

#[test]
fn commands_are_obeyed() {
    let device = |kind, family: Family| {
        let device = start(kind);
        let state = |device: &Device| axeos::read(&told(device)).unwrap();
        assert_eq!(state(&device).family, family);
        let say = |what| {
            let call = command(family, what).unwrap();
            carry_out(&device, std::slice::from_ref(&call), call.path.ends_with("/restart"));
        };
        if family != Family::NerdQAxe {
            say(Command::Identify);
        }
        say(Command::Pause);
        assert!(state(&device).paused, "{kind:?}");
        say(Command::Resume);
        assert!(!state(&device).paused, "{kind:?}");
        say(Command::Restart);
    };
    device(Kind::AxeOs2_15, Family::AxeOs);
    device(Kind::AxeOs2_14, Family::AxeOs);
    device(Kind::NerdQAxe, Family::NerdQAxe);
    device(Kind::NmAxe, Family::NmAxe);
}

#[test]
fn a_device_that_lies_costs_nothing() {
    let truth: Map<String, Value> = serde_json::from_str(Kind::AxeOs2_15.told()).unwrap();
    let lies = [
        Hostile::WrongTypes,
        Hostile::NotNumbers,
        Hostile::Huge,
        Hostile::Markup,
        Hostile::Claims(Ipv4Addr::new(10, 0, 0, 7)),
    ];
    for hostile in lies {
        let body = lie(hostile, &truth);
        let device =
            axeos::read(body.as_bytes()).unwrap_or_else(|fault| panic!("{hostile:?}: {fault}"));
        assert!(device.watts.is_none_or(|watts| bounds::WATTS.contains(&watts)), "{hostile:?}");
        if matches!(hostile, Hostile::Huge | Hostile::NotNumbers | Hostile::WrongTypes) {
            assert_eq!(
                (device.watts, device.hashrate, device.chip_c),
                (None, None, None),
                "{hostile:?}"
            );
        }
        assert!(!device.hostname.chars().any(|c| c == '\u{202e}'), "{hostile:?}");
        // Over sockets too, and planning it hurts nobody.
        let server = start(Kind::Hostile(hostile));
        assert_eq!(told(&server), body.as_bytes(), "{hostile:?}");
        let _ = plan(body.as_bytes(), &wish());
    }
}
