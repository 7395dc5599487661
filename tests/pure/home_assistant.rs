//! What Home Assistant is told: the messages word for word, when they are sent, and that Home Assistant
//! knows every key in them. Where `HOMEASSISTANT_PYTHON` names a Python with the package `homeassistant`,
//! its own schemas check the announcements as well (`tests/tools/home_assistant.py`).
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use soloist::clock::Now;
use soloist::devices::pointing::Command;
use soloist::devices::trouble::Trouble;
use soloist::home_assistant::{EXPIRES, Heard, Message, Names, Publisher, REFRESH};
use soloist::status::{
    BestShareView, BlockState, BlockView, BuildView, ConnectView, DeviceView, FanView, JobView,
    MinerState, MinerView, NetworkView, NodeState, NodeView, PowerView, RateView, RejectReason,
    RejectView, Snapshot, TotalsView, TroubleView, verdict,
};

const BEGINNING: u64 = 1_790_000_000;

fn names() -> Names {
    Names {
        discovery: "homeassistant".to_owned(),
        topic: "soloist".to_owned(),
        id: "1a2b3c4d5e".to_owned(),
    }
}

/// A house with a Bitaxe that tells of itself, and a NerdMiner that cannot.
fn house() -> Snapshot {
    let rate = |hashrate: f64, shares: u64| RateView { hashrate, shares, ..Default::default() };
    let gamma = MinerView {
        id: "1".into(),
        name: "gamma".into(),
        model: "Bitaxe Gamma".into(),
        rate_hour: rate(1.163_4e12, 360),
        rate_day: rate(1.171e12, 8_600),
        claimed: Some(1.2e12),
        accepted: 12_345,
        rejects: vec![RejectView { reason: RejectReason::Stale, count: 12 }],
        difficulty: 1024.0,
        best: 4.567_89e9,
        ..Default::default()
    };
    let nerd = MinerView {
        id: "2".into(),
        name: "nerd".into(),
        model: "NerdMiner".into(),
        rate_hour: rate(68_400.0, 40),
        rate_day: rate(70_120.0, 1_000),
        accepted: 1_000,
        difficulty: 0.001_5,
        best: 12.3,
        ..Default::default()
    };
    let device = DeviceView {
        address: "192.168.1.40".into(),
        miner: Some("1".into()),
        firmware: "v2.15.0".into(),
        fresh: true,
        watts: Some(17.43),
        joules_per_terahash: Some(14.98),
        chip_c: Some(58.25),
        fans: vec![FanView { rpm: Some(4_210.0), percent: Some(47.0) }],
        rssi_dbm: Some(-52.0),
        commands: Command::ALL.to_vec(),
        ..Default::default()
    };
    let node = |name: &str, state| NodeView {
        name: name.into(),
        leads: state == NodeState::Leading,
        state,
        ..Default::default()
    };
    Snapshot {
        now: BEGINNING + 100_000,
        started_at: BEGINNING,
        name: "Cellar".into(),
        chain: "main".into(),
        configured: true,
        build: BuildView { version: "0.1.0".into(), ..Default::default() },
        connect: ConnectView { page: Some("http://192.168.1.5/".into()), ..Default::default() },
        job: Some(JobView {
            template_age_s: 12.4,
            difficulty: 1.5e14,
            height: 900_001,
            to_owner_sat: 1,
            value_sat: 1,
            ..Default::default()
        }),
        network: NetworkView { height: Some(900_000), ..Default::default() },
        nodes: vec![node("attic", NodeState::Leading), node("cloud", NodeState::Standby)],
        miners: vec![gamma, nerd],
        devices: vec![device],
        power: Some(PowerView { watts: 17.43, devices: 1, ..Default::default() }),
        totals: TotalsView {
            rate_5m: rate(1.15e12, 30),
            rate_1h: rate(1.163_4e12, 400),
            rate_24h: rate(1.171e12, 9_600),
            best: 4.567_89e9,
            blocks_found: 1,
            ..Default::default()
        },
        best_shares: vec![BestShareView { miner: "gamma".into(), ..Default::default() }],
        ..Default::default()
    }
}

/// A publisher, the broker behind it, and virtual time.
struct Scene {
    publisher: Publisher,
    start: Instant,
    second: f64,
    s: Snapshot,
    /// What a broker keeps.
    retained: BTreeMap<String, String>,
}

impl Scene {
    fn new(allowed: &[Command], announced: &[&str]) -> Scene {
        let announced: BTreeSet<String> = announced.iter().map(|t| (*t).to_owned()).collect();
        let retained =
            announced.iter().map(|topic| (topic.clone(), "of an earlier run".to_owned())).collect();
        let publisher = Publisher::new(names(), allowed.to_vec(), announced);
        let (start, second, s) = (Instant::now(), 0.0, house());
        Scene { publisher, start, second, s, retained }
    }

    fn now(&self) -> Now {
        let since = Duration::from_secs_f64(self.second);
        Now { mono: self.start + since, unix: BEGINNING + self.second as u64 }
    }

    fn look(&mut self) {
        let verdict = verdict(&self.s);
        self.publisher.look(&self.s, &verdict);
    }

    /// What is sent now to a broker that takes everything at once.
    fn sent(&mut self) -> Vec<Message> {
        let mut all = Vec::new();
        while let Some(message) = self.publisher.next(self.now()) {
            assert!(all.len() < 2_000, "it sends without end");
            assert!(!message.topic.contains(['+', '#', '\0']), "{}", message.topic);
            if message.retained {
                match message.payload.as_str() {
                    "" => drop(self.retained.remove(&message.topic)),
                    payload => {
                        drop(self.retained.insert(message.topic.clone(), payload.to_owned()));
                    }
                }
            }
            if message.confirmed {
                self.publisher.answered(self.now());
            }
            all.push(message);
        }
        all
    }

    /// What is sent until that second, with a look every five seconds.
    fn until(&mut self, second: f64) -> Vec<Message> {
        let mut all = Vec::new();
        while self.second < second {
            self.look();
            all.extend(self.sent());
            let due = self.publisher.next_deadline();
            self.second = match due.map(|due| (due - self.start).as_secs_f64()) {
                Some(due) if due > self.second && due < self.second + 5.0 => due,
                _ => (self.second / 5.0).floor() * 5.0 + 5.0,
            };
        }
        all
    }

    fn announcement(&self, device: &str) -> Value {
        let text = &self.retained[&format!("homeassistant/device/{device}/config")];
        serde_json::from_str(text).unwrap()
    }
}

fn of<'a>(messages: &'a [Message], topic: &str) -> Vec<&'a Message> {
    messages.iter().filter(|message| message.topic == topic).collect()
}

fn value(message: &Message) -> Value {
    serde_json::from_str(&message.payload).unwrap()
}

const BOX: &str = "soloist/1a2b3c4d5e/state";
const GAMMA: &str = "soloist/1a2b3c4d5e/miner/1/state";
const NERD: &str = "soloist/1a2b3c4d5e/miner/2/state";

#[test]
fn what_home_assistant_is_told() {
    let mut scene = Scene::new(&[Command::Identify, Command::Pause], &[]);
    let sent = scene.until(5.0);
    let told: Vec<String> = sent
        .iter()
        .map(|message| {
            let text = match serde_json::from_str::<Value>(&message.payload) {
                Ok(value) => serde_json::to_string_pretty(&value).unwrap(),
                Err(_) => message.payload.clone(),
            };
            let retained = if message.retained { " (retained)" } else { "" };
            format!("{}{retained}\n{text}", message.topic)
        })
        .collect();
    insta::assert_snapshot!(told.join("\n\n"));
    // Nothing but announcements is kept by a broker.
    for message in &sent {
        let is_announcement = message.topic.ends_with("/config");
        assert_eq!(message.retained, is_announcement, "{}", message.topic);
    }
}

/// The keys of Home Assistant's `abbreviations.py` (2025.1) and `schemas.py` that we use.
#[test]
fn home_assistant_knows_every_key() {
    const ALL: [&str; 5] = ["dev", "o", "cmps", "stat_t", "avty"];
    const COMPONENT: [&str; 18] = [
        "p",
        "uniq_id",
        "name",
        "val_tpl",
        "exp_aft",
        "stat_cla",
        "dev_cla",
        "unit_of_meas",
        "ops",
        "ic",
        "ent_cat",
        "json_attr_t",
        "json_attr_tpl",
        "stat_t",
        "evt_typ",
        "cmd_t",
        "pl_prs",
        "avty_mode",
    ];
    const DEVICE: [&str; 7] = ["ids", "name", "mf", "mdl", "sw", "via_device", "cu"];
    let keys =
        |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    let mut scene = Scene::new(&Command::ALL, &[]);
    scene.until(5.0);
    assert_eq!(scene.retained.len(), 3);
    let mut ids = BTreeSet::new();
    for text in scene.retained.values() {
        let all: Value = serde_json::from_str(text).unwrap();
        for key in keys(&all) {
            assert!(ALL.contains(&key.as_str()) || key == "avty_mode", "{key}");
        }
        assert!(keys(&all["dev"]).iter().all(|key| DEVICE.contains(&key.as_str())), "{all}");
        assert_eq!(keys(&all["o"]), ["name", "sw"]);
        for (key, component) in all["cmps"].as_object().unwrap() {
            assert!(key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{key}");
            let known = |key: &String| COMPONENT.contains(&key.as_str());
            assert!(keys(component).iter().all(known), "{component}");
            let platform = component["p"].as_str().unwrap();
            if keys(component) == ["p"] {
                // One that is not there.
                assert_eq!(platform, "button", "{key}");
                continue;
            }
            assert!(ids.insert(component["uniq_id"].as_str().unwrap().to_owned()), "{component}");
            match platform {
                "sensor" | "binary_sensor" => {
                    assert_eq!(component["exp_aft"], EXPIRES.as_secs(), "{component}");
                    assert!(!component["val_tpl"].is_null(), "{component}");
                    // Home Assistant refuses an enum with a unit or a state class.
                    let is_enum = component["dev_cla"] == "enum";
                    assert_eq!(is_enum, !component["ops"].is_null(), "{component}");
                    assert!(!is_enum || component["stat_cla"].is_null(), "{component}");
                }
                "event" => assert!(!component["evt_typ"].as_array().unwrap().is_empty()),
                "button" => assert!(component["cmd_t"].as_str().unwrap().ends_with("/press")),
                other => panic!("{other}"),
            }
        }
    }
    // Three messages may come in the time of one value.
    assert!(REFRESH * 3 <= EXPIRES);
}

/// Home Assistant's own schemas, where the package is there.
#[test]
fn home_assistant_takes_the_announcements() {
    let Ok(python) = std::env::var("HOMEASSISTANT_PYTHON") else {
        println!("*** NOT TESTED *** HOMEASSISTANT_PYTHON names no Python with homeassistant");
        return;
    };
    let mut messages = Vec::new();
    for allowed in [&[][..], &Command::ALL[..]] {
        let mut scene = Scene::new(allowed, &[]);
        messages.extend(scene.until(5.0));
        scene.s.blocks.insert(0, block(BlockState::Accepted));
        scene.s.totals.best *= 2.0;
        messages.extend(scene.until(20.0));
    }
    let lines: Vec<Value> = messages
        .iter()
        .map(|message| json!({"topic": message.topic, "payload": message.payload}))
        .collect();
    let mut child = Process::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/home_assistant.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(json!(lines).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{words}");
    assert!(output.status.success(), "{words}");
}

#[test]
fn what_changes_is_told_at_once_and_the_rest_in_time() {
    let mut scene = Scene::new(&[], &[]);
    scene.until(5.0);
    // Nothing of note: a message for each device in half a minute.
    let quiet = scene.until(65.0);
    for topic in [BOX, GAMMA, NERD] {
        assert_eq!(of(&quiet, topic).len(), 2, "{topic}");
    }
    assert_eq!(of(&quiet, "soloist/1a2b3c4d5e/status").len(), 2);
    assert!(quiet.iter().all(|message| !message.retained));
    // Heat and hash rate wait.
    scene.s.devices[0].chip_c = Some(61.0);
    scene.s.miners[0].rate_hour.hashrate = 1e12;
    scene.s.miners[0].accepted += 1;
    assert_eq!(of(&scene.until(70.0), GAMMA).len(), 0);
    // A miner that is away does not.
    scene.s.miners[0].state = MinerState::Gone;
    let sent = scene.until(75.0);
    let [away] = of(&sent, GAMMA)[..] else { panic!("{sent:?}") };
    assert_eq!(value(away)["availability"], "offline");
    assert_eq!(value(away)["mining"], "OFF");
    assert_eq!(of(&sent, NERD).len(), 0);
    let [of_box] = of(&sent, BOX)[..] else { panic!("{sent:?}") };
    assert_eq!(value(of_box)["miners"], 1);
    // It is told that it is away as long as it is.
    let sent = scene.until(140.0);
    assert_eq!(of(&sent, GAMMA).len(), 2);
}

#[test]
fn what_a_silent_device_said_is_not_so_any_more() {
    let mut scene = Scene::new(&[], &[]);
    scene.until(5.0);
    let before = scene.retained.clone();
    scene.s.devices[0].fresh = false;
    let sent = scene.until(65.0);
    let last = value(of(&sent, GAMMA).last().unwrap());
    for key in ["power", "chip", "fan", "wifi", "efficiency"] {
        assert_eq!(last[key], Value::Null, "{key}");
    }
    assert!(last["hashrate"].as_f64().is_some());
    // Nor is it forgotten that it could tell it.
    scene.s.devices.clear();
    scene.until(125.0);
    let components = &scene.announcement("soloist_1a2b3c4d5e_1")["cmps"];
    assert_eq!(components["chip"]["unit_of_meas"], "°C");
    let kept: Value =
        serde_json::from_str(&before["homeassistant/device/soloist_1a2b3c4d5e_1/config"]).unwrap();
    assert_eq!(components.as_object().unwrap().len(), kept["cmps"].as_object().unwrap().len());
}

#[test]
fn a_miner_that_is_forgotten_is_taken_away_also_after_a_restart() {
    let mut scene = Scene::new(&[], &[]);
    scene.until(5.0);
    scene.s.miners.remove(1);
    scene.until(10.0);
    assert_eq!(scene.retained.len(), 2);
    assert_eq!(scene.publisher.announced().len(), 2);
    let gone = "homeassistant/device/soloist_1a2b3c4d5e_9/config";
    let elsewhere = "ha/device/soloist_1a2b3c4d5e/config";
    let mut scene = Scene::new(&[], &[gone, elsewhere]);
    // The miners of before need a while to come back.
    scene.until(290.0);
    assert_eq!(scene.retained.len(), 5);
    scene.until(340.0);
    assert_eq!(scene.retained.len(), 3);
    assert!(!scene.retained.contains_key(gone) && !scene.retained.contains_key(elsewhere));
    let kept: Vec<&String> = scene.publisher.announced().iter().collect();
    assert_eq!(kept, scene.retained.keys().collect::<Vec<_>>());
}

#[test]
fn no_button_is_there_that_the_owner_does_not_allow() {
    let mut scene = Scene::new(&[], &[]);
    scene.until(5.0);
    // They are taken away, should an earlier announcement have had them.
    for command in Command::ALL {
        let button = &scene.announcement("soloist_1a2b3c4d5e_1")["cmps"][command.name()];
        assert_eq!(*button, json!({"p": "button"}), "{}", command.name());
        assert!(!scene.publisher.has_button("1", command));
    }
    let mut scene = Scene::new(&[Command::Restart], &[]);
    scene.until(5.0);
    let components = &scene.announcement("soloist_1a2b3c4d5e_1")["cmps"];
    assert_eq!(components["restart"]["cmd_t"], "soloist/1a2b3c4d5e/miner/1/press");
    assert_eq!(components["restart"]["dev_cla"], "restart");
    assert_eq!(components["pause"], json!({"p": "button"}));
    // The NerdMiner cannot be told anything.
    let components = &scene.announcement("soloist_1a2b3c4d5e_2")["cmps"];
    assert_eq!(components["restart"], json!({"p": "button"}));
    assert!(scene.publisher.has_button("1", Command::Restart));
    assert!(!scene.publisher.has_button("1", Command::Pause));
    assert!(!scene.publisher.has_button("7", Command::Restart));
}

#[test]
fn what_is_heard_is_a_press_a_birth_or_nothing() {
    let names = names();
    let read = |topic: &str, payload: &str| Heard::read(&names, topic, payload.as_bytes(), false);
    let press = "soloist/1a2b3c4d5e/miner/1/press";
    assert_eq!(read(press, "blink"), Some(Heard::Press("1".into(), Command::Identify)));
    assert_eq!(read("homeassistant/status", "online"), Some(Heard::Birth));
    for (topic, payload) in [
        (press, "Blink"),
        (press, "blink\0"),
        (press, ""),
        ("soloist/1a2b3c4d5e/miner/1/2/press", "blink"),
        ("soloist/1a2b3c4d5e/miner/+/press", "blink"),
        ("soloist/other/miner/1/press", "blink"),
        ("soloist/1a2b3c4d5e/miner//press/press", "blink"),
        ("homeassistant/status", "offline"),
        ("", ""),
    ] {
        assert_eq!(read(topic, payload), None, "{topic} {payload}");
    }
    // A broker brings back what somebody let it keep long ago.
    assert_eq!(Heard::read(&names, press, b"restart", true), None);
    assert_eq!(Heard::read(&names, "homeassistant/status", b"online", true), None);
}

fn block(state: BlockState) -> BlockView {
    BlockView {
        hash: "00ab".into(),
        height: 900_001,
        at: BEGINNING + 100_000,
        miner: "gamma".into(),
        value_sat: 312_500_000,
        address: "bc1qowner".into(),
        state,
        ..Default::default()
    }
}

#[test]
fn a_block_and_a_record_are_told_once_and_late_if_the_broker_is_away() {
    const BLOCK: &str = "soloist/1a2b3c4d5e/event/block";
    const BEST: &str = "soloist/1a2b3c4d5e/event/best";
    let mut scene = Scene::new(&[], &[]);
    scene.s.blocks = vec![BlockView { hash: "old".into(), ..block(BlockState::Mature) }];
    let sent = scene.until(10.0);
    assert_eq!((of(&sent, BLOCK).len(), of(&sent, BEST).len()), (0, 0), "what was so is no news");
    // The broker is away: it is looked, and nothing is sent.
    scene.s.blocks.insert(0, block(BlockState::Candidate));
    scene.look();
    scene.s.blocks[0].state = BlockState::Accepted;
    scene.s.totals.best *= 2.0;
    scene.look();
    scene.s.totals.best *= 2.0;
    for _ in 0..100 {
        scene.look();
    }
    scene.publisher.connected();
    let sent = scene.until(15.0);
    let told: Vec<Value> = of(&sent, BLOCK).into_iter().map(value).collect();
    assert_eq!(told.len(), 2);
    assert_eq!(
        (&told[0]["event_type"], &told[1]["event_type"]),
        (&json!("solved"), &json!("accepted"))
    );
    assert_eq!(told[1]["reward_btc"], 3.125);
    assert!(!told[1].to_string().contains("bc1q"), "{}", told[1]);
    let best = of(&sent, BEST);
    assert_eq!(best.len(), 1, "only the newest record");
    assert_eq!(value(best[0])["difficulty"], 4.0 * 4.567_89e9);
    assert!(of(&scene.until(100.0), BLOCK).is_empty());
    // Events are few, whatever happens.
    for n in 0..100 {
        scene
            .s
            .blocks
            .insert(0, BlockView { hash: format!("{n}"), ..block(BlockState::Candidate) });
        scene.s.blocks.truncate(40);
        scene.look();
    }
    assert_eq!(of(&scene.until(105.0), BLOCK).len(), 16);
}

#[test]
fn a_slow_broker_gets_what_is_so_and_not_what_was() {
    let mut scene = Scene::new(&[], &[]);
    scene.until(5.0);
    // It takes nothing for ten minutes.
    for height in 0..120 {
        scene.s.network.height = Some(900_001 + height);
        scene.second += 5.0;
        scene.look();
    }
    let sent = scene.sent();
    let told = of(&sent, BOX);
    assert_eq!(told.len(), 1);
    assert_eq!(value(told[0])["height"], 900_120);
    // An announcement that is not confirmed holds back no values of others.
    scene.s.miners[0].name = "renamed".into();
    scene.second += 20.0;
    scene.look();
    let announcement = scene.publisher.next(scene.now()).unwrap();
    assert!(announcement.retained, "{announcement:?}");
    scene.s.network.height = Some(1);
    scene.look();
    let next = scene.publisher.next(scene.now()).unwrap();
    assert_eq!((next.topic.as_str(), next.confirmed), (BOX, false));
    assert_eq!(scene.publisher.next(scene.now()), None);
}

#[test]
fn home_assistant_is_told_everything_when_it_starts_but_not_again_and_again() {
    let mut scene = Scene::new(&[], &[]);
    scene.until(20.0);
    scene.publisher.heard_birth(scene.now().mono);
    let sent = scene.until(25.0);
    assert_eq!(sent.iter().filter(|message| message.retained).count(), 3);
    let values = |sent: &[Message]| sent.iter().filter(|m| m.topic.ends_with("/state")).count();
    assert!(values(&sent) >= 3, "{sent:?}");
    for _ in 0..100 {
        scene.publisher.heard_birth(scene.now().mono);
        scene.sent();
    }
    let sent = scene.until(40.0);
    assert!(sent.len() < 12, "{}", sent.len());
}

#[test]
fn names_of_strangers_are_bounded_and_cannot_lead_elsewhere() {
    let mut scene = Scene::new(&Command::ALL, &[]);
    let evil = "#/+\u{202e}\0\n{{ states }}".repeat(100);
    scene.s.miners[0].name.clone_from(&evil);
    scene.s.miners[0].model.clone_from(&evil);
    scene.s.miners[1].id = "../#+/x".into();
    scene.s.miners[1].name = "\u{200b}".into();
    scene.s.nodes[0].name.clone_from(&evil);
    scene.s.devices[0].firmware.clone_from(&evil);
    let sent = scene.until(40.0);
    for message in &sent {
        assert!(message.payload.len() < 16_000, "{} bytes", message.payload.len());
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-/".contains(&b);
        assert!(message.topic.bytes().all(plain), "{}", message.topic);
    }
    let device = &scene.announcement("soloist_1a2b3c4d5e_1")["dev"];
    for key in ["name", "mdl", "sw"] {
        let text = device[key].as_str().unwrap();
        assert!(text.chars().count() <= 65 && !text.contains(['\0', '\n', '\u{202e}']), "{text:?}");
    }
    assert_eq!(scene.announcement("soloist_1a2b3c4d5e_x")["dev"]["name"], "Miner ../#+/x");
    let told = value(of(&sent, BOX)[0]);
    assert!(told["node"].as_str().unwrap().chars().count() <= 255);
}

#[test]
fn so_many_miners_are_told_of_and_those_that_mine_first() {
    let mut scene = Scene::new(&[], &[]);
    let gone = scene.s.miners[0].clone();
    scene.s.miners = (0..1_000)
        .map(|n: u64| MinerView {
            id: n.to_string(),
            state: if n < 900 { MinerState::Gone } else { MinerState::Mining },
            ..gone.clone()
        })
        .collect();
    scene.s.devices.clear();
    scene.until(5.0);
    assert_eq!(scene.publisher.devices(), 201);
    for n in 900..1_000 {
        let topic = format!("homeassistant/device/soloist_1a2b3c4d5e_{n}/config");
        assert!(scene.retained.contains_key(&topic), "{n}");
    }
}

#[test]
fn a_device_that_says_that_it_is_paused_does_not_mine_and_is_a_problem() {
    let mut scene = Scene::new(&[], &[]);
    scene.until(5.0);
    scene.s.devices[0].troubles =
        vec![TroubleView { what: Trouble::Paused, since: scene.s.now - 60 }];
    let sent = scene.until(10.0);
    let told = value(of(&sent, GAMMA)[0]);
    assert_eq!((&told["mining"], &told["problem"]), (&json!("OFF"), &json!("ON")));
    assert!(of(&sent, NERD).is_empty());
}
