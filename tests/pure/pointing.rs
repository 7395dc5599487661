//! What is sent to a device to point it here and back, byte for byte. The device's answers are those of the
//! devices' servers in tests, which are written from the firmwares' sources.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;

use serde_json::{Map, Value, json};
use soloist::devices::pointing::{
    Call, Command, NoPlan, Plan, PoolWish, Wish, by_hand, command, commands, plan,
};
use soloist::devices::{Family, axeos};

const AXEOS_2_15: &str = include_str!("../common/device/axeos-2.15.json");
const AXEOS_2_14: &str = include_str!("../common/device/axeos-2.14.json");
const AXEOS_2_13: &str = include_str!("../common/device/axeos-2.13.json");
const AXEOS_2_8: &str = include_str!("../common/device/axeos-2.8.json");
const NERDQAXE: &str = include_str!("../common/device/nerdqaxe-1.0.38.json");
const NMAXE: &str = include_str!("../common/device/nmaxe-3.0.json");
/// Those that can be pointed.
const ALL: [(&str, &str); 5] = [
    ("AxeOS 2.15", AXEOS_2_15),
    ("AxeOS 2.14", AXEOS_2_14),
    ("AxeOS 2.13", AXEOS_2_13),
    ("AxeOS 2.8", AXEOS_2_8),
    ("NerdQAxe 1.0.38", NERDQAXE),
];

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

fn with_fallback(password: Option<&str>) -> Wish {
    let fallback = PoolWish {
        host: "solo.example".to_owned(),
        port: 3334,
        user: "bc1qours".to_owned(),
        password: password.map(str::to_owned),
    };
    Wish { fallback: Some(fallback), ..wish() }
}

fn with_v2() -> Wish {
    Wish {
        port: 3336,
        v2_key: Some("9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh".to_owned()),
        ..wish()
    }
}

/// The body with other values; `null` takes a field away.
fn with(body: &str, changes: Value) -> String {
    let mut info: Map<String, Value> = serde_json::from_str(body).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(info.remove(name)),
            value => drop(info.insert(name.clone(), value.clone())),
        }
    }
    Value::Object(info).to_string()
}

fn planned(info: &str, wish: &Wish) -> Plan {
    plan(info.as_bytes(), wish).unwrap_or_else(|none| panic!("{none}: {wish:?}"))
}

fn written(title: &str, plan: &Plan) -> String {
    let mut text = format!("== {title}\n");
    let calls = |text: &mut String, calls: &[Call]| {
        for call in calls {
            writeln!(text, "  {} {} {}", call.method.name(), call.path, call.body).unwrap();
        }
    };
    calls(&mut text, &plan.calls);
    for row in &plan.rows {
        writeln!(text, "  {}: {} -> {}", row.what, row.old, row.new).unwrap();
    }
    writeln!(text, "undo of {} {:02x?}", plan.undo.model, plan.undo.mac.unwrap_or_default())
        .unwrap();
    calls(&mut text, &plan.undo.calls);
    for sentence in &plan.not_restored {
        writeln!(text, "  {sentence}").unwrap();
    }
    text
}

#[test]
fn what_is_sent_to_point_a_device_here() {
    let told = ALL.map(|(name, info)| written(name, &planned(info, &wish())));
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn what_is_sent_for_a_fallback() {
    let told = ALL.map(|(name, info)| written(name, &planned(info, &with_fallback(Some("d=1")))));
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn what_is_sent_for_stratum_v2() {
    let told =
        [ALL[0], ALL[1], ALL[4]].map(|(name, info)| written(name, &planned(info, &with_v2())));
    insta::assert_snapshot!(told.join("\n"));
    for (name, info) in ALL {
        assert_eq!(
            axeos::read(info.as_bytes()).is_ok_and(|told| told.speaks_v2),
            !["AxeOS 2.13", "AxeOS 2.8"].contains(&name),
            "{name}"
        );
    }
    assert_eq!(plan(AXEOS_2_13.as_bytes(), &with_v2()), Err(NoPlan::NoV2));
}

#[test]
fn what_is_sent_from_settings_of_other_kinds() {
    let entry = |id, port, url: &str| {
        json!({"id": id, "stratumURL": url, "stratumPort": port, "stratumUser": "bc1qold",
            "stratumPassword": "*****", "stratumTLS": 1, "stratumProtocol": "SV1",
            "stratumSuggestedDifficulty": 1000, "stratumDecodeCoinbase": false, "more": 7})
    };
    let full: Vec<Value> = (0..8).map(|id| entry(id, 3333, &format!("pool{id}.example"))).collect();
    let old_user = json!([entry(0, 3333, "solo.example"), entry(4, 3333, "192.168.1.2")]);
    let told = [
        ("a full list", planned(&with(AXEOS_2_15, json!({"pools": full})), &wish())),
        ("a place of ours with another user", {
            planned(&with(AXEOS_2_15, json!({"pools": old_user, "secondaryPoolIndex": 4})), &wish())
        }),
        ("the fallback is preferred", {
            planned(&with(AXEOS_2_15, json!({"useFallbackStratum": 1})), &wish())
        }),
        (
            "a password of ours",
            planned(AXEOS_2_15, &Wish { password: Some("secret".into()), ..wish() }),
        ),
        ("2.14 with TLS, V2, and on its fallback", {
            let told =
                json!({"stratumTLS": 2, "stratumProtocol": "SV2", "isUsingFallbackStratum": 1});
            planned(&with(AXEOS_2_14, told), &wish())
        }),
        ("NerdQAxe with TLS, V2 and two pools at once", {
            let told = json!({"stratumTLS": true, "stratumProtocol": 1,
                "stratum": {"poolMode": 1, "activePoolMode": 1}});
            planned(&with(NERDQAXE, told), &wish())
        }),
        ("NerdQAxe with a password", {
            planned(NERDQAXE, &Wish { password: Some("secret".into()), ..wish() })
        }),
    ];
    insta::assert_snapshot!(told.map(|(name, plan)| written(name, &plan)).join("\n"));
}

/// What the device would tell if it did all that a plan says, as far as a pair of pools goes.
fn applied(info: &str, plan: &Plan) -> String {
    let patch = plan.calls.iter().find(|call| call.path == "/api/system").unwrap();
    with(info, serde_json::from_str(&patch.body).unwrap())
}

#[test]
fn a_device_that_is_here_already_is_left_alone() {
    for (name, info) in &ALL[1..] {
        for wish in [wish(), with_fallback(None)] {
            let here = applied(info, &planned(info, &wish));
            assert_eq!(plan(here.as_bytes(), &wish), Err(NoPlan::AlreadyHere), "{name}");
        }
    }
    let ours = json!({"id": 2, "stratumURL": "192.168.1.2", "stratumPort": 3333,
        "stratumUser": "bc1qours.kitchen", "stratumProtocol": "SV1", "stratumTLS": 0});
    let here = |first| with(AXEOS_2_15, json!({"pools": [ours], "primaryPoolIndex": first}));
    assert_eq!(plan(here(2).as_bytes(), &wish()), Err(NoPlan::AlreadyHere));
    // In its list, but not the first.
    let body = planned(&here(0), &wish()).calls[0].body.clone();
    assert_eq!(body, r#"{"primaryPoolIndex":2}"#);
}

#[test]
fn a_device_that_asks_for_a_login_is_not_asked_to_change() {
    let info = with(NERDQAXE, json!({"otp": true}));
    assert_eq!(plan(info.as_bytes(), &wish()), Err(NoPlan::NeedsLogin));
}

#[test]
fn the_others_are_told_what_to_type() {
    let told =
        Family::ALL.map(|family| format!("{}: {}", family.words(), by_hand(family, &wish())));
    insta::assert_snapshot!(told.join("\n"));
    let nmaxe = plan(NMAXE.as_bytes(), &wish());
    assert_eq!(nmaxe, Err(NoPlan::ByHand(by_hand(Family::NmAxe, &wish()))));
    assert!(plan(b"{}", &wish()).is_err());
    assert!(plan(b"<html>", &wish()).is_err());
}

#[test]
fn commands_are_those_of_the_family() {
    let mut told = String::new();
    for family in Family::ALL {
        for what in [Command::Identify, Command::Pause, Command::Resume, Command::Restart] {
            let call = command(family, what);
            let call =
                call.map(|call| format!("{} {} {}", call.method.name(), call.path, call.body));
            writeln!(told, "{} {what:?}: {}", family.name(), call.unwrap_or("-".to_owned()))
                .unwrap();
        }
    }
    insta::assert_snapshot!(told);
}

#[test]
fn settings_too_long_to_be_true_are_not_sent_back() {
    let info = with(AXEOS_2_13, json!({"stratumUser": "x".repeat(20_000)}));
    assert!(matches!(plan(info.as_bytes(), &wish()), Err(NoPlan::Unreadable(_))));
}

#[test]
fn a_password_is_in_no_log_and_in_no_undo() {
    let secret = Wish { password: Some("hush".to_owned()), ..with_fallback(Some("hush")) };
    assert!(!format!("{secret:?}").contains("hush"));
    for (name, info) in ALL {
        let plan = planned(info, &secret);
        assert!(!format!("{plan:?}").contains("hush"), "{name}");
        let undo = serde_json::to_string(&plan.undo).unwrap();
        assert!(!undo.contains("hush"), "{name}");
        assert_eq!(
            serde_json::from_str::<soloist::devices::pointing::Undo>(&undo).unwrap(),
            plan.undo
        );
    }
}

/// Whatever a device tells, planning ends with a plan or with words.
#[test]
fn no_answer_hurts_the_planning() {
    let wrong = [
        json!(null),
        json!([7, {}]),
        json!({"a": 1}),
        json!(-1),
        json!(1e300),
        json!("<b>"),
        json!(true),
    ];
    for (_, info) in ALL {
        let names: Vec<String> = serde_json::from_str::<Map<String, Value>>(info)
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        for name in names {
            for value in &wrong {
                let told = with(info, json!({name.as_str(): value}));
                for wish in [wish(), with_fallback(None), with_v2()] {
                    if let Ok(plan) = plan(told.as_bytes(), &wish) {
                        assert!(plan.calls.len() <= 2, "{name}: {value}");
                        assert!(plan.undo.calls.len() <= 4, "{name}: {value}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_device_is_told_only_what_its_firmware_knows() {
    let told = |body: &str| {
        let device = axeos::read(body.as_bytes()).unwrap();
        let names: Vec<&str> = commands(&device).into_iter().map(Command::name).collect();
        names.join(" ")
    };
    assert_eq!(told(AXEOS_2_15), "blink pause resume restart");
    assert_eq!(told(AXEOS_2_14), "blink pause resume restart");
    assert_eq!(told(AXEOS_2_13), "blink restart");
    assert_eq!(told(AXEOS_2_8), "restart");
    assert_eq!(told(NERDQAXE), "pause resume restart");
    // A version that nobody can read is no reason to offer less.
    let odd = AXEOS_2_13.replace("v2.13.0", "mine");
    assert_eq!(told(&odd), "blink pause resume restart");
}
