//! The miners as devices, at the real program: what they tell, what is told to them, and what hostile ones
//! can do. The devices behave as their firmwares' sources say (`tests/common/device.rs`).
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use soloist::demo::node::SandboxNode;

use crate::common::daemon::{Browser, Daemon, Miner, PAYOUT};
use crate::common::device::{Device, Hostile, Kind};
use crate::common::network::connect_from;
use crate::common::sandbox::sandbox_with;
use crate::common::{free_port, wait_for};

/// A node whose blocks every second hash solves, and its entry in a config.
fn node() -> (SandboxNode, String) {
    sandbox_with(0x207f_ffff)
}

/// Devices at addresses of their own, 127.0.0.41 and so on.
fn devices(kinds: &[Kind], first: u8) -> Vec<Device> {
    let start = |(place, kind): (usize, &Kind)| {
        let ip = Ipv4Addr::new(127, 0, 0, first + place as u8);
        Device::start(*kind, SocketAddr::from((ip, free_port())))
    };
    kinds.iter().enumerate().map(start).collect()
}

/// Starts the box; it asks these devices, and its PIN is 7391x.
fn start(entry: &str, devices: &[Device]) -> Daemon {
    let mut daemon = Daemon::still();
    let addresses: Vec<String> =
        devices.iter().map(|device| format!("\"{}\"", device.address)).collect();
    let more = format!(
        "[devices]\naddresses = [{}]\nprice_per_kwh = 0.5\ncurrency = \"€\"\n",
        addresses.join(", ")
    );
    daemon.configure(entry, &more);
    daemon.edit(|text| text.replace("[http]", "[http]\npin = \"7391x\""));
    daemon.launch();
    daemon.wait_ready();
    daemon
}

fn log_in(daemon: &Daemon) -> Browser<'_> {
    let mut browser = Browser { daemon, cookie: String::new() };
    wait_for("the PIN", || {
        browser.post("/login", "pin=7391x");
        (!browser.cookie.is_empty()).then_some(())
    });
    browser
}

/// What the API tells of the device at this address.
fn told(daemon: &Daemon, device: &Device) -> Option<Value> {
    let all = daemon.get("/api/devices")?;
    let address = device.address.to_string();
    all["devices"].as_array()?.iter().find(|told| told["address"] == address.as_str()).cloned()
}

fn fresh(daemon: &Daemon, device: &Device) -> Value {
    wait_for("an answer of the device", || {
        told(daemon, device).filter(|told| told["fresh"] == true)
    })
}

/// A press on the page of devices; what it answers.
fn press(browser: &mut Browser<'_>, device: &Device, step: &str, more: &str) -> String {
    let token = browser.token();
    let form = format!("token={token}&device={}&step={step}{more}", device.address);
    let answer = browser.post("/devices", &form);
    assert_eq!(answer.status_code, 200, "{step}");
    answer.as_str().unwrap().to_owned()
}

#[test]
fn devices_tell_of_themselves_and_are_pointed_here_and_back() {
    let (_node, entry) = node();
    let kinds = [Kind::AxeOs2_15, Kind::AxeOs2_14, Kind::NerdQAxe, Kind::Nano3s];
    let devices = devices(&kinds, 41);
    let daemon = start(&entry, &devices);
    for device in &devices {
        let told = fresh(&daemon, device);
        assert!(told["hashrate"].as_f64().unwrap() > 1e11, "{told}");
        assert!(told["watts"].as_f64().unwrap() > 5.0, "{told}");
        assert!(told["chip_c"].as_f64().unwrap() > 30.0, "{told}");
    }
    let power = daemon.get("/api/devices").unwrap()["power"].clone();
    assert_eq!(power["devices"], 4, "{power}");
    // They are only asked: none is connected here, so none has a part in the chance of a block.
    assert_eq!((&power["watts_here"], &power["cost"]["day_here"]), (&json!(0.0), &json!(0.0)));
    let day = power["watts"].as_f64().unwrap() * 24.0 / 1000.0 * 0.5;
    assert!((power["cost"]["day"].as_f64().unwrap() - day).abs() < 1e-6, "{power}");
    let metrics = daemon.text("/metrics");
    assert_eq!(metrics.matches("soloist_device_power_watts{").count(), 4, "{metrics}");
    let everything = metrics + &daemon.get("/api/devices").unwrap().to_string() + &daemon.text("/");
    for secret in ["\"ssid\"", "bc1qexample", "stratumUser"] {
        assert!(!everything.contains(secret), "{secret} is told to everybody");
    }

    // Nobody without the PIN.
    let mut stranger = Browser { daemon: &daemon, cookie: String::new() };
    let form = format!("device={}&step=restart&sure=yes", devices[0].address);
    assert_eq!(stranger.post("/devices", &form).status_code, 303);
    assert!(stranger.page("/devices").contains("PIN"));
    assert_eq!(devices[0].restarted(), 0);

    let mut browser = log_in(&daemon);
    let port = daemon.stratum.port();
    for device in &devices[..3] {
        let before = (device.settings(), device.mines_on());
        // Each names a second pool as well.
        let second = "&pool=second.example.org:3334&pool_user=me";
        let plan = press(&mut browser, device, "plan", second);
        // Where a long one may break is no part of it.
        let shown = plan.replace("<wbr>", "");
        assert!(shown.contains(&format!("127.0.0.1:{port}")), "{plan}");
        let (_, seen) = plan.split_once("name=\"seen\" value=\"").expect("a plan");
        let seen = seen.split('"').next().unwrap().to_owned();
        assert_eq!(device.settings(), before.0, "a look changes nothing");

        // Another plan than the one that was shown.
        let other = format!("{second}&seen=0123456789abcdef");
        let page = press(&mut browser, device, "point", &other);
        assert!(page.contains("others than those that were shown"), "{page}");
        assert_eq!(device.settings(), before.0);

        let page = press(&mut browser, device, "point", &format!("{second}&seen={seen}"));
        assert!(page.contains("Its first share is awaited"), "{page}");
        assert!(device.settings().to_string().contains("second.example.org"));
        let on = wait_for("the device to mine here", || {
            Some(device.mines_on()).filter(|on| on.host == "127.0.0.1")
        });
        assert_eq!(on.port, port, "{on:?}");
        assert!(on.user.starts_with(&format!("{PAYOUT}.")), "{on:?}");
        // In a list ours has a place of its own; elsewhere the password stays.
        let password = match device.kind {
            Kind::AxeOs2_15 => "x",
            _ => before.1.password.as_str(),
        };
        assert_eq!(on.password, password);

        // The first share is noticed.
        let stream = connect_from(device.address.ip(), daemon.stratum);
        let mut miner = Miner::begin(stream, "bitaxe/BM1370/v2.15.0", &on.user);
        assert_eq!(miner.mine().0["result"], true);
        wait_for("the first share", || {
            browser.page("/devices").contains("Its first share came after").then_some(())
        });
        wait_for("that it mines here", || {
            let all = daemon.get("/api/devices")?;
            let mines_here = told(&daemon, device)?["mines_here"] == true;
            (mines_here && all["power"]["watts_here"] == told(&daemon, device)?["watts"])
                .then_some(())
        });
        drop(miner);

        let page = press(&mut browser, device, "back", "");
        assert!(page.contains("has its settings of before again"), "{page}");
        wait_for("the old pool", || (device.mines_on() == before.1).then_some(()));
        assert_eq!(device.settings(), before.0, "{:?}: not all is as before", device.kind);
    }
    // An Avalon is told what to type.
    let page = press(&mut browser, &devices[3], "plan", "");
    assert!(page.contains("as the first pool: stratum+tcp://127.0.0.1"), "{page}");

    // What a device tells comes with the next answer, and its trouble is an alarm at once.
    devices[0].set(json!({"isUsingFallbackStratum": 1}));
    let page = press(&mut browser, &devices[0], "blink", "");
    assert!(page.contains("blinks"), "{page}");
    wait_for("the alarm", || {
        let status = daemon.status()?;
        let alarms = status["alarms"].as_array()?.clone();
        alarms
            .iter()
            .any(|alarm| alarm["text"].as_str().unwrap().contains("second pool"))
            .then_some(())
    });
}

#[test]
fn what_is_needed_for_the_way_back_survives_a_restart() {
    let (_node, entry) = node();
    let devices = devices(&[Kind::AxeOs2_15], 61);
    let mut daemon = start(&entry, &devices);
    fresh(&daemon, &devices[0]);
    let before = devices[0].settings();
    {
        let mut browser = log_in(&daemon);
        let plan = press(&mut browser, &devices[0], "plan", "");
        let (_, seen) = plan.split_once("name=\"seen\" value=\"").expect("a plan");
        let seen = seen.split('"').next().unwrap().to_owned();
        press(&mut browser, &devices[0], "point", &format!("&seen={seen}"));
    }
    assert_ne!(devices[0].settings(), before);
    wait_for("the device's restart", || (devices[0].restarted() > 0).then_some(()));
    daemon.kill();
    daemon.launch();
    daemon.wait_ready();
    fresh(&daemon, &devices[0]);
    let mut browser = log_in(&daemon);
    assert!(browser.page("/devices").contains("Put its old settings back"));
    // Another device has the address meanwhile: it gets nothing.
    let own = devices[0].info()["macAddr"].clone();
    devices[0].set(json!({"macAddr": "02:00:00:00:00:01"}));
    let pointed = devices[0].settings();
    let page = press(&mut browser, &devices[0], "back", "");
    assert!(page.contains("Another device has this address now"), "{page}");
    assert_eq!(devices[0].settings(), pointed);
    devices[0].set(json!({"macAddr": own}));
    press(&mut browser, &devices[0], "back", "");
    assert_eq!(devices[0].settings(), before);
}

#[test]
fn what_was_begun_ends_without_the_browser_that_asked_for_it() {
    let (_node, entry) = node();
    let devices = devices(&[Kind::AxeOs2_15], 65);
    let device = &devices[0];
    let daemon = start(&entry, &devices);
    fresh(&daemon, device);
    let mut browser = log_in(&daemon);
    let report = browser.page("/support.txt");
    assert!(report.contains("== Devices") && report.contains("\"axeos\""), "{report}");
    assert!(!report.contains("bc1qexample"), "{report}");
    let (_, told) = report.split_once("== Devices").unwrap();
    assert!(!told.contains(&device.mines_on().host), "{told}");

    let plan = press(&mut browser, device, "plan", "");
    let (_, seen) = plan.split_once("name=\"seen\" value=\"").expect("a plan");
    let seen = seen.split('"').next().unwrap();
    let form =
        format!("token={}&device={}&step=point&seen={seen}", browser.token(), device.address);
    let head = format!(
        "POST /devices HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nCookie: {1}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {2}\r\n\r\n{form}",
        daemon.http,
        browser.cookie,
        form.len()
    );
    let mut tab = TcpStream::connect(daemon.http).unwrap();
    tab.write_all(head.as_bytes()).unwrap();
    let sent = |device: &Device| device.requests().iter().any(|asked| asked.starts_with("PATCH"));
    wait_for("the settings to be sent", || sent(device).then_some(()));
    assert_eq!(device.restarted(), 0, "it is closed too late for this test");
    drop(tab);
    wait_for("the device to mine here", || {
        (device.restarted() == 1 && device.mines_on().host == "127.0.0.1").then_some(())
    });
    wait_for("the page to say so", || {
        browser.page("/devices").contains("Its first share is awaited").then_some(())
    });
    // Nothing is asked any more; the first share is noticed all the same.
    daemon.edit(|text| text.replace("[devices]", "[devices]\nask = false"));
    daemon.signal(Signal::SIGHUP);
    let user = device.mines_on().user;
    let stream = connect_from(device.address.ip(), daemon.stratum);
    let mut miner = Miner::begin(stream, "bitaxe/BM1370/v2.15.0", &user);
    assert_eq!(miner.mine().0["result"], true);
    wait_for("the first share", || {
        daemon.log().contains("its first share came after").then_some(())
    });
}

#[test]
fn a_place_that_is_ours_from_before_is_used_again() {
    let (_node, entry) = node();
    let devices = devices(&[Kind::AxeOs2_15], 69);
    let device = &devices[0];
    let before = device.settings();
    let daemon = start(&entry, &devices);
    fresh(&daemon, device);
    let mut browser = log_in(&daemon);
    let mut point = || {
        let plan = press(&mut browser, device, "plan", "");
        let (_, seen) = plan.split_once("name=\"seen\" value=\"").expect("a plan");
        let seen = seen.split('"').next().unwrap().to_owned();
        let page = press(&mut browser, device, "point", &format!("&seen={seen}"));
        assert!(page.contains("Its first share is awaited"), "{page}");
        wait_for("the device to mine here", || {
            (device.mines_on().host == "127.0.0.1").then_some(())
        });
    };
    point();
    // Its owner goes back by hand, and comes again: nothing but the numbers of the places is sent.
    device.set(json!({"primaryPoolIndex": 0, "secondaryPoolIndex": 1}));
    assert_ne!(device.mines_on().host, "127.0.0.1");
    let by_hand = device.settings();
    point();
    let page = press(&mut browser, device, "back", "");
    assert!(page.contains("has its settings of before again"), "{page}");
    wait_for("the settings of before", || (device.settings() == by_hand).then_some(()));
    assert_ne!(by_hand, before, "the entry in the list is its owner's to take out");
}

#[test]
fn the_way_back_follows_the_device_to_another_address() {
    let (_node, entry) = node();
    let devices = devices(&[Kind::AxeOs2_15, Kind::AxeOs2_15], 67);
    let [old, new] = &devices[..] else { panic!("two devices") };
    let own = old.info()["macAddr"].clone();
    new.set(json!({"macAddr": "02:00:00:00:00:07"}));
    let daemon = start(&entry, &devices);
    for device in &devices {
        fresh(&daemon, device);
    }
    let before = old.settings();
    let mut browser = log_in(&daemon);
    let plan = press(&mut browser, old, "plan", "");
    let (_, seen) = plan.split_once("name=\"seen\" value=\"").expect("a plan");
    let seen = seen.split('"').next().unwrap().to_owned();
    press(&mut browser, old, "point", &format!("&seen={seen}"));
    let buttons = |page: String| page.matches("Put its old settings back").count();
    assert_eq!(buttons(browser.page("/devices")), 1);
    // The router has changed the addresses of both: what is at each is seen at its next answer.
    let pointed = old.settings();
    let [first, second] = [old, new].map(|device| device.info());
    let pools = |info: &Value| {
        let names = ["pools", "primaryPoolIndex", "secondaryPoolIndex", "macAddr"];
        Value::Object(names.map(|name| (name.to_owned(), info[name].clone())).into_iter().collect())
    };
    old.set(pools(&second));
    new.set(pools(&first));
    assert_ne!(old.settings(), pointed);
    for device in &devices {
        press(&mut browser, device, "blink", "");
    }
    let address = new.address.to_string();
    wait_for("the button at the new address", || {
        let page = browser.page("/devices");
        let at = page.find("Put its old settings back")?;
        // Its section is the one of the new address.
        let (shown, _) = page.split_at(at);
        (shown.rfind(&address) > shown.rfind(&old.address.to_string())).then_some(())
    });
    assert_eq!(new.info()["macAddr"], own);
    let page = press(&mut browser, new, "back", "");
    assert!(page.contains("has its settings of before again"), "{page}");
    wait_for("the old settings", || (new.settings()["pools"] == before["pools"]).then_some(()));
}

/// The difficulty of the one miner's shares: what a device claims does not move it.
fn miner_difficulty(daemon: &Daemon) -> Value {
    daemon.get("/api/miners").unwrap()["miners"][0]["difficulty"].clone()
}

#[test]
fn hostile_devices_cost_nothing() {
    let (_node, entry) = node();
    let kinds = [
        Hostile::TenMegabytes,
        Hostile::Endless,
        Hostile::Trickle,
        Hostile::Silent,
        Hostile::Redirect,
        Hostile::WrongTypes,
        Hostile::NotNumbers,
        Hostile::Huge,
        Hostile::Markup,
        Hostile::Claims(Ipv4Addr::new(127, 0, 0, 71)),
    ]
    .map(Kind::Hostile);
    let devices = devices(&kinds, 71);
    let daemon = start(&entry, &devices);
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370/v2.15.0", "anna");
    let before = daemon.proc_status("VmRSS:");
    let settings = || {
        let status = daemon.status().unwrap();
        let file = std::fs::read_to_string(daemon.config()).unwrap();
        (file, status["payout"].clone(), status["connect"].clone(), miner_difficulty(&daemon))
    };
    let settings_before = settings();
    let (started, mut slowest) = (Instant::now(), Duration::ZERO);
    // Each has been asked by both APIs, or has run into the deadline.
    while started.elapsed() < Duration::from_secs(20) {
        let asked = Instant::now();
        assert_eq!(miner.call("mining.ping", json!([]))["result"], "pong");
        slowest = slowest.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    println!(
        "slowest answer to the miner beside ten hostile devices: {slowest:?}; resident memory {} kB before, \
         {} kB after",
        before,
        daemon.proc_status("VmRSS:")
    );
    for device in &devices {
        if !matches!(device.kind, Kind::Hostile(Hostile::Silent | Hostile::Trickle)) {
            assert!(!device.requests().is_empty(), "{:?} was not asked", device.kind);
        }
    }
    assert_eq!(settings(), settings_before, "a device has changed a setting");
    // What is left of them: each told for what it is, and nothing as markup.
    let page = daemon.text("/");
    let list = log_in(&daemon).page("/devices");
    for text in [&page, &list] {
        assert!(!text.contains("<script>alert") && !text.contains("<img"), "{text}");
    }
    let all = daemon.get("/api/devices").unwrap();
    for told in all["devices"].as_array().unwrap() {
        for field in ["hashrate", "watts", "chip_c", "volts", "rssi_dbm", "best"] {
            let value = told[field].as_f64().unwrap_or_default();
            assert!(value.is_finite() && value < 1e18, "{field} of {told}");
        }
    }
    // A device that says that it is at another's address is where it answers.
    let liar = told(&daemon, &devices[9]).unwrap();
    assert_eq!(liar["address"], devices[9].address.to_string().as_str());
    assert_eq!(miner.mine().0["result"], true, "mining goes on");
}
