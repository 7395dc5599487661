//! Home Assistant by MQTT: the real program beside a real mosquitto, which keeps what is retained over its
//! own death, and beside brokers that are away or stand still. Without mosquitto the first two say that they
//! checked nothing.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::common::daemon::{Browser, Daemon, Miner, PAYOUT};
use crate::common::device::{Device, Kind};
use crate::common::network::connect_from;
use crate::common::sandbox::sandbox_with;
use crate::common::{free_port, wait_for};

/// Every second hash solves a block.
const EASY: u32 = 0x207f_ffff;

/// mosquitto on a port of the loopback, with a directory of its own.
struct Broker {
    port: u16,
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Broker {
    /// `None` where mosquitto is not installed.
    fn start(more: impl FnOnce(&Broker) -> String) -> Option<Broker> {
        let is_there = |program| Command::new(program).arg("--help").output().is_ok();
        if !is_there("mosquitto") || !is_there("mosquitto_sub") {
            println!(
                "*** NOT TESTED *** Debian's mosquitto and mosquitto-clients are not installed"
            );
            return None;
        }
        let mut broker =
            Broker { port: free_port(), dir: tempfile::tempdir().unwrap(), child: None };
        let more = more(&broker);
        // It would give up root's rights, and with them the directory.
        let user = if nix::unistd::geteuid().is_root() { "user root\n" } else { "" };
        let config = format!(
            "{user}listener {} 127.0.0.1\npersistence true\npersistence_location {}/\n\
             autosave_interval 1\nautosave_on_changes true\n{more}",
            broker.port,
            broker.dir.path().display(),
        );
        fs::write(broker.path("mosquitto.conf"), config).unwrap();
        broker.launch();
        Some(broker)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn launch(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(self.path("mosquitto.conf")).arg("-v");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        wait_for("mosquitto", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// As by a power cut.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn say(&self, topic: &str, payload: &str, more: &[&str]) {
        let port = self.port.to_string();
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "127.0.0.1", "-p", &port, "-t", topic, "-m", payload]).args(more);
        assert!(command.status().unwrap().success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            println!("{}", fs::read_to_string(self.path("log")).unwrap_or_default());
        }
    }
}

/// A message, and whether it was retained before.
#[derive(Clone, Debug)]
struct Heard {
    retained: bool,
    topic: String,
    payload: String,
}

/// Whoever listens to everything, as Home Assistant could.
struct Listener {
    child: Child,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Listener {
    fn start(broker: &Broker, more: &[&str]) -> Listener {
        let port = broker.port.to_string();
        let mut child = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-p", &port, "-t", "#", "-F", "%r\t%t\t%p"])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (lines, to) = (BufReader::new(child.stdout.take().unwrap()).lines(), heard.clone());
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut parts = line.splitn(3, '\t').map(str::to_owned);
                let retained = parts.next().as_deref() == Some("1");
                let (Some(topic), Some(payload)) = (parts.next(), parts.next()) else { continue };
                to.lock().unwrap().push(Heard { retained, topic, payload });
            }
        });
        Listener { child, heard }
    }

    fn all(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    fn forget(&self) {
        self.heard.lock().unwrap().clear();
    }

    /// The newest message there.
    fn newest(&self, topic: &str) -> Option<String> {
        self.all().into_iter().rev().find(|heard| heard.topic == topic).map(|heard| heard.payload)
    }

    fn value(&self, topic: &str) -> Option<Value> {
        serde_json::from_str(&self.newest(topic)?).ok()
    }

    /// The topics that are retained at the broker.
    fn retained(broker: &Broker) -> Vec<String> {
        let late = Listener::start(broker, &[]);
        // All of it comes at once, at the subscription.
        thread::sleep(Duration::from_secs(1));
        let retained = late.all().into_iter().filter(|heard| heard.retained);
        let mut topics: Vec<String> = retained.map(|heard| heard.topic).collect();
        topics.sort();
        topics
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What the page's API says of the broker.
fn told(daemon: &Daemon) -> Option<Value> {
    Some(daemon.status()?["mqtt"].clone()).filter(|told| !told.is_null())
}

fn wait_connected(daemon: &Daemon) {
    wait_for("the broker", || told(daemon).filter(|told| told["connected"] == true));
}

/// The API's answers are up to a second old.
fn id_of(daemon: &Daemon, name: &str) -> String {
    wait_for(name, || {
        let miners = daemon.get("/api/miners")?;
        let miner = miners["miners"].as_array()?.iter().find(|miner| miner["name"] == name)?;
        Some(miner["id"].as_str()?.to_owned())
    })
}

#[test]
fn home_assistant_is_told_and_nothing_false_survives_a_power_cut() {
    let Some(mut broker) = Broker::start(|_| "allow_anonymous true\n".to_owned()) else { return };
    let listener = Listener::start(&broker, &[]);
    let (_node, entry) = sandbox_with(EASY);
    let ip = Ipv4Addr::new(127, 0, 0, 61);
    let device = Device::start(Kind::AxeOs2_15, SocketAddr::from((ip, free_port())));
    let mut daemon = Daemon::still();
    let more = format!(
        "[devices]\naddresses = [\"{}\"]\n[mqtt]\nbroker = \"127.0.0.1:{}\"\nbuttons = [\"blink\"]\n",
        device.address, broker.port
    );
    daemon.configure(&entry, &more);
    daemon.edit(|text| text.replace("[http]", "[http]\npin = \"7391x\""));
    daemon.launch();
    daemon.wait_ready();
    let stream = connect_from(ip.into(), daemon.stratum);
    let mut gamma = Miner::begin(stream, "bitaxe/BM1370/v2.15.0", &format!("{PAYOUT}.gamma"));
    let mut nerd = Miner::connect(daemon.stratum, "NerdMinerV2", &format!("{PAYOUT}.nerd"));
    // Who never had a share is not missed.
    assert_eq!(nerd.mine().0["result"], true);
    gamma.wait_new_tip();
    wait_connected(&daemon);
    let (gamma_id, nerd_id) = (id_of(&daemon, "gamma"), id_of(&daemon, "nerd"));

    // The box, and a device for each miner.
    let announcement = wait_for("the announcement of the box", || {
        listener.all().into_iter().find(|heard| {
            heard.topic.starts_with("homeassistant/device/") && heard.payload.contains("\"blocks\"")
        })
    });
    let box_id = announcement.topic.split('/').nth(2).unwrap().to_owned();
    let id = box_id.strip_prefix("soloist_").unwrap().to_owned();
    let announced = |miner: &str| format!("homeassistant/device/{box_id}_{miner}/config");
    let of_gamma = wait_for("that of the miner, with its device", || {
        let value = listener.value(&announced(&gamma_id))?;
        (!value["cmps"]["power"].is_null()).then_some(value)
    });
    assert_eq!(of_gamma["dev"]["via_device"], box_id.as_str());
    assert_eq!(of_gamma["dev"]["name"], "gamma");
    assert_eq!(of_gamma["cmps"]["restart"], json!({"p": "button"}), "only blink is allowed");
    let state = |miner: &str| format!("soloist/{id}/miner/{miner}/state");
    let values = wait_for("its values", || {
        listener.value(&state(&gamma_id)).filter(|value| value["power"].is_number())
    });
    assert_eq!((&values["availability"], &values["mining"]), (&json!("online"), &json!("ON")));
    assert_eq!(listener.newest(&format!("soloist/{id}/status")).as_deref(), Some("online"));
    wait_for("the other miner", || listener.value(&state(&nerd_id)));

    // A block.
    assert_eq!(gamma.mine().0["result"], true);
    let event = wait_for("the block", || {
        let event = listener.value(&format!("soloist/{id}/event/block"))?;
        (event["miner"] == "gamma").then_some(event)
    });
    assert!(["solved", "accepted"].contains(&event["event_type"].as_str().unwrap()), "{event}");

    // A button that is allowed, one that is not, and nonsense.
    let press = format!("soloist/{id}/miner/{gamma_id}/press");
    for word in ["restart", "pause", "format", ""] {
        broker.say(&press, word, &[]);
    }
    broker.say(&press, "blink", &[]);
    let blinked = || device.requests().iter().filter(|r| r.contains("identify")).count();
    wait_for("the press", || (blinked() == 1).then_some(()));
    assert_eq!(device.restarted(), 0);
    assert!(!device.requests().iter().any(|request| request.contains("pause")));
    assert_eq!(told(&daemon).unwrap()["presses"], 1);
    let audit = daemon.text("/");
    assert!(audit.contains("MQTT: Device"), "{audit}");

    // A miner dies.
    drop(nerd);
    let died = Instant::now();
    wait_for("that it is away", || {
        let value = listener.value(&state(&nerd_id))?;
        (value["availability"] == "offline").then_some(())
    });
    println!("a miner that dies is unavailable after {:?}", died.elapsed());
    assert!(died.elapsed() < Duration::from_secs(15));

    // Nothing but announcements is kept at the broker.
    let kept = Listener::retained(&broker);
    let mut all = vec![
        format!("homeassistant/device/{box_id}/config"),
        announced(&gamma_id),
        announced(&nerd_id),
    ];
    all.sort();
    assert_eq!(kept, all);

    // The power goes, for the box and the broker. Somebody has left a press there.
    broker.say(&press, "blink", &["-r"]);
    wait_for("the second press", || (blinked() == 2).then_some(()));
    thread::sleep(Duration::from_secs(2));
    daemon.kill();
    broker.kill();
    broker.launch();
    let kept = Listener::retained(&broker);
    assert!(kept.iter().all(|topic| topic.ends_with("/config") || *topic == press), "{kept:?}");
    // The box is back, and forgets a miner. What it did not announce itself stays for some minutes.
    daemon.launch();
    daemon.wait_ready();
    wait_connected(&daemon);
    let mut lamp = Miner::connect(daemon.stratum, "NerdMinerV2", &format!("{PAYOUT}.lamp"));
    assert_eq!(lamp.mine().0["result"], true);
    let lamp_id = id_of(&daemon, "lamp");
    let is_kept = |miner: &str| Listener::retained(&broker).contains(&announced(miner));
    wait_for("the new miner", || is_kept(&lamp_id).then_some(()));
    drop(lamp);
    let mut browser = Browser { daemon: &daemon, cookie: String::new() };
    wait_for("the PIN", || {
        browser.post("/login", "pin=7391x");
        (!browser.cookie.is_empty()).then_some(())
    });
    let token = browser.token();
    let form = format!("token={token}&action=forget&miner={lamp_id}&sure=yes");
    wait_for("the press", || {
        let page = browser.post("/action", &form);
        page.as_str().unwrap().contains("is forgotten").then_some(())
    });
    wait_for("the forgotten miner", || (!is_kept(&lamp_id)).then_some(()));
    assert!([gamma_id, nerd_id].iter().any(|miner| is_kept(miner)));
    assert_eq!(blinked(), 2, "what was retained is no press");

    // Without a farewell the broker speaks for it; with one it says so itself.
    let listener = Listener::start(&broker, &[]);
    let status = format!("soloist/{id}/status");
    wait_for("the box", || listener.newest(&status).filter(|word| word == "online"));
    daemon.kill();
    wait_for("the last will", || listener.newest(&status).filter(|word| word == "offline"));
    daemon.launch();
    daemon.wait_ready();
    wait_connected(&daemon);
    wait_for("the box", || listener.newest(&status).filter(|word| word == "online"));
    listener.forget();
    assert!(daemon.stop().success());
    wait_for("the farewell", || listener.newest(&status).filter(|word| word == "offline"));
    // Not one of all that was said was retained, but for the announcements.
    assert!(listener.all().iter().all(|heard| !heard.retained || heard.topic.ends_with("/config")));
}

/// One that speaks TLS alone, with a certificate of an authority of its own in `ca.pem`, and lets in anna alone,
/// by her password gehe1m. `stranger.pem` is another authority's.
fn secured() -> Option<Broker> {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "authority");
    let new = || CertifiedIssuer::self_signed(authority.clone(), KeyPair::generate().unwrap());
    let (issuer, stranger) = (new().unwrap(), new().unwrap());
    let key = KeyPair::generate().unwrap();
    let mut own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    own.distinguished_name.push(DnType::CommonName, "broker");
    let certificate = own.signed_by(&key, &issuer).unwrap();
    Broker::start(|broker| {
        fs::write(broker.path("cert.pem"), certificate.pem()).unwrap();
        fs::write(broker.path("key.pem"), key.serialize_pem()).unwrap();
        fs::write(broker.path("ca.pem"), issuer.pem()).unwrap();
        fs::write(broker.path("stranger.pem"), stranger.pem()).unwrap();
        let users = broker.path("users");
        let made = Command::new("mosquitto_passwd")
            .args(["-b", "-c"])
            .arg(&users)
            .args(["anna", "gehe1m"])
            .status();
        assert!(made.unwrap().success());
        let dir = broker.dir.path().display().to_string();
        format!(
            "allow_anonymous false\npassword_file {dir}/users\ncertfile {dir}/cert.pem\n\
             keyfile {dir}/key.pem\n"
        )
    })
}

#[test]
fn a_wrong_password_and_a_wrong_certificate_are_said_and_the_right_ones_work() {
    let Some(broker) = secured() else { return };
    let (_node, entry) = sandbox_with(EASY);
    let mut daemon = Daemon::still();
    let section = |certificate: &str, password: &str, version: &str| {
        format!(
            "[mqtt]\nbroker = \"127.0.0.1:{}\"\ntls = true\ntls_cert_path = \"{}\"\nuser = \"anna\"\n\
             password = \"{password}\"\nversion = \"{version}\"\n",
            broker.port,
            broker.path(certificate).display(),
        )
    };
    daemon.configure(&entry, &section("stranger.pem", "gehe1m", "5"));
    daemon.launch();
    daemon.wait_ready();
    let says = |what: &str| {
        wait_for(what, || {
            let told = told(&daemon)?;
            told["error"].as_str()?.contains(what).then_some(told)
        });
    };
    says("its certificate is another one than that in");
    let reload = |certificate: &str, password: &str, version: &str| {
        daemon.configure(&entry, &section(certificate, password, version));
        daemon.signal(Signal::SIGHUP);
    };
    let sent = || -> Option<u64> {
        let metrics = daemon.text("/metrics");
        let line =
            metrics.lines().find_map(|line| line.strip_prefix("soloist_mqtt_messages_total "));
        line?.parse().ok()
    };
    let mut before = 0;
    for version in ["5", "3.1.1"] {
        reload("ca.pem", "falsch1", version);
        says("it refuses the user or the password");
        assert!(sent() >= Some(before), "a counter fell: {:?}, {before} before", sent());
        assert!(daemon.text("/").contains("it refuses the user or the password"));
        reload("ca.pem", "gehe1m", version);
        wait_connected(&daemon);
        before = wait_for("a message more", || sent().filter(|sent| *sent > before));
    }
    let certificate = broker.path("ca.pem");
    let more = ["-u", "anna", "-P", "gehe1m", "--cafile", certificate.to_str().unwrap()];
    let listener = Listener::start(&broker, &more);
    wait_for("the values", || {
        listener.all().into_iter().find(|heard| heard.topic.ends_with("/state"))
    });
    let metrics = daemon.text("/metrics");
    assert!(metrics.contains("soloist_mqtt_connected 1"), "{metrics}");
    let everything = metrics + &daemon.log() + &daemon.text("/") + &daemon.text("/api/status");
    for secret in ["gehe1m", "falsch1"] {
        assert!(!everything.contains(secret), "{secret} is told");
    }
}

/// What stands at an input of a form.
fn beside(page: &str, setting: &str) -> String {
    let about = format!("id=\"about-mqtt-{setting}\"");
    let (_, rest) =
        page.split_once(&about).unwrap_or_else(|| panic!("nothing at {setting} in {page}"));
    rest.split("</span></span>").next().unwrap().to_owned()
}

/// What is said of a broker that cannot be used, at which setting; on the page and by `soloist check` alike.
#[test]
fn the_broker_is_tried_and_named_on_the_page_and_checked_on_the_command_line() {
    let Some(mut broker) = secured() else { return };
    let (_node, entry) = sandbox_with(EASY);
    let mut daemon = Daemon::still();
    daemon.configure(&entry, "[mqtt] # Home.\n");
    daemon.edit(|text| text.replace("[http]", "[http]\npin = \"7391x\""));
    daemon.launch();
    daemon.wait_ready();
    let mut browser = Browser { daemon: &daemon, cookie: String::new() };
    wait_for("the PIN", || {
        browser.post("/login", "pin=7391x");
        (!browser.cookie.is_empty()).then_some(())
    });
    let token = browser.token();
    let mut post = |form: &str| {
        let answer = browser.post("/mqtt", &format!("token={token}&{form}"));
        let page = answer.as_str().unwrap().to_owned();
        assert_eq!(answer.status_code, 200, "{page}");
        page
    };
    // It listens, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap();
    let place = format!("mqtt-broker=127.0.0.1:{}", broker.port);
    let file = |name: &str| format!("mqtt-tls_cert_path={}", broker.path(name).display());
    let (ca, stranger, missing) = (file("ca.pem"), file("stranger.pem"), file("none.pem"));
    let login = "mqtt-user=anna&mqtt-password=gehe1m";
    let away = free_port();
    for (form, setting, words) in [
        (format!("mqtt-broker=127.0.0.1:{away}"), "broker", "nothing listens at its port"),
        ("mqtt-broker=broker.invalid".to_owned(), "broker", "the name broker.invalid is not known"),
        (format!("mqtt-broker={}", daemon.http), "broker", "it sends what is not MQTT"),
        (format!("mqtt-broker={}&mqtt-tls=yes", daemon.http), "tls", "it does not speak TLS"),
        // In the open at a port for TLS.
        (place.clone(), "broker", "it ends the connection as soon as"),
        (format!("mqtt-broker={silent}"), "broker", "no answer within"),
        (format!("{place}&mqtt-tls=yes&{login}"), "tls_cert_path", "is not signed by anyone"),
        (
            format!("{place}&mqtt-tls=yes&{login}&{stranger}"),
            "tls_cert_path",
            "is another one than that in",
        ),
        (format!("{place}&mqtt-tls=yes&{login}&{missing}"), "tls_cert_path", "No such file"),
        (format!("{place}&mqtt-tls=yes&{ca}"), "password", "it refuses the user or the password"),
        (
            format!(
                "{place}&mqtt-tls=yes&{ca}&mqtt-user=anna&mqtt-password=falsch1&mqtt-version=5"
            ),
            "password",
            "it refuses the user or the password",
        ),
        (format!("mqtt-broker=&{login}"), "broker", "Write where the broker is."),
        (
            "mqtt-broker=mqtt://ha".to_owned(),
            "broker",
            "Nothing stands before the address of a broker",
        ),
    ] {
        let began = Instant::now();
        let page = post(&format!("step=try&{form}"));
        let told = beside(&page, setting);
        assert!(told.contains(words), "{form}: {told}");
        println!(
            "{setting:>14} after {:>5} ms: {}",
            began.elapsed().as_millis(),
            told.split("<span>").last().unwrap()
        );
    }
    assert!(told(&daemon).is_none(), "nothing is saved by a try");

    // The right one. A try beside the connection that it makes does not end it.
    let right = format!("{place}&mqtt-tls=yes&{ca}&{login}&mqtt-buttons=blink&mqtt-version=5");
    assert!(post(&format!("step=try&{right}")).contains("takes us. It is saved by Save alone."));
    let page = post(&format!("step=save&{right}"));
    assert!(
        page.contains("Home Assistant is told by the MQTT broker") && !page.contains("gehe1m"),
        "{page}"
    );
    wait_connected(&daemon);
    for _ in 0..3 {
        assert!(post("step=test").contains("takes us."));
    }
    assert_eq!(told(&daemon).unwrap()["lost"]["disconnects"], 0);
    let log = fs::read_to_string(broker.path("log")).unwrap();
    assert!(!log.contains("already connected"), "{log}");
    let written = fs::read_to_string(daemon.config()).unwrap();
    assert!(written.contains("[mqtt] # Home.") && written.contains("gehe1m"), "{written}");

    // The password stays, and is never shown.
    let page = post("step=edit");
    assert!(page.contains("value=\"anna\"") && !page.contains("gehe1m"), "{page}");
    let page =
        post(&format!("step=save&{}", right.replace("gehe1m", "").replace("blink", "pause")));
    assert!(page.contains("The settings of the MQTT broker"), "{page}");
    wait_connected(&daemon);
    assert!(fs::read_to_string(daemon.config()).unwrap().contains("buttons = [\"pause\"]"));

    // On the command line.
    let check = || {
        let output = Command::new(env!("CARGO_BIN_EXE_soloist"))
            .args(["check", "--config"])
            .arg(daemon.config())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains("gehe1m"), "{text}");
        text
    };
    assert!(check().contains("The broker takes us."), "{}", check());
    assert!(told(&daemon).unwrap()["connected"] == true);
    broker.kill();
    let text = check();
    let words = "The broker cannot be used now: nothing listens at its port (connection refused).";
    assert!(text.contains(words) && text.contains("Mining does not need it."), "{text}");
    assert!(text.contains("A block could be mined now"), "{text}");

    // Taken away, and back by the undo, with its password. A file that was changed meanwhile is left alone.
    assert!(post("step=save").contains("Home Assistant is not told by MQTT any more."));
    wait_for("the end of it", || told(&daemon).is_none().then_some(()));
    assert!(!fs::read_to_string(daemon.config()).unwrap().contains("gehe1m"));
    daemon.edit(|text| text.replace("broker = \"\"", "broker = \"elsewhere\""));
    let page = post(&format!("step=save&{right}"));
    assert!(page.contains("reload the service first"), "{page}");
    daemon.edit(|text| text.replace("broker = \"elsewhere\"", "broker = \"\""));
    broker.launch();
    browser.post("/settings", &format!("token={token}&step=undo"));
    wait_connected(&daemon);
    assert!(fs::read_to_string(daemon.config()).unwrap().contains("gehe1m"));
    let everything =
        daemon.log() + &daemon.text("/") + &browser.settings() + &browser.page("/support.txt");
    for secret in ["gehe1m", "falsch1"] {
        assert!(!everything.contains(secret), "{secret} is told");
    }
}

/// Milliseconds from a share to its answer: the median, and what 99 of 100 need at most.
fn answers(miner: &mut Miner, time: Duration) -> (f64, f64, usize) {
    let (share, _) = miner.solve();
    let until = Instant::now() + time;
    let mut took = Vec::new();
    while Instant::now() < until {
        let sent = Instant::now();
        // It counts once. The others are hashed as well, and refused.
        miner.call("mining.submit", share.clone());
        took.push(sent.elapsed().as_secs_f64() * 1e3);
        thread::sleep(Duration::from_millis(2));
    }
    took.sort_by(f64::total_cmp);
    (took[took.len() / 2], took[took.len() * 99 / 100], took.len())
}

#[test]
fn a_broker_that_is_away_or_stands_still_costs_mining_nothing() {
    // It takes the connection and the first words, and then reads no more.
    let still = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = still.local_addr().unwrap().port();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let held = taken.clone();
    thread::spawn(move || {
        for stream in still.incoming() {
            let mut stream = stream.unwrap();
            socket2::SockRef::from(&stream).set_recv_buffer_size(2048).ok();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(&[0x20, 2, 0, 0]);
            held.lock().unwrap().push(stream);
        }
    });
    let (_node, entry) = sandbox_with(EASY);
    let mut daemon = Daemon::still();
    daemon.configure(&entry, "");
    daemon.launch();
    daemon.wait_ready();
    let mut miners: Vec<Miner> = (0..20)
        .map(|n| Miner::connect(daemon.stratum, "bitaxe/x", &format!("{PAYOUT}.m{n}")))
        .collect();
    let mut miner = miners.pop().unwrap();
    let time = Duration::from_secs(6);
    let without = answers(&mut miner, time);
    let with = |section: &str| {
        daemon.configure(&entry, section);
        daemon.signal(Signal::SIGHUP);
    };
    with(&format!("[mqtt]\nbroker = \"127.0.0.1:{}\"\n", free_port()));
    wait_for("the broker that is away", || {
        told(&daemon).filter(|told| told["error"].as_str().is_some_and(|why| !why.is_empty()))
    });
    let away = answers(&mut miner, time);
    with(&format!("[mqtt]\nbroker = \"127.0.0.1:{port}\"\n"));
    wait_for("the broker that stands still", || (!taken.lock().unwrap().is_empty()).then_some(()));
    let stalled = answers(&mut miner, time);
    for (what, (median, most, count)) in
        [("no broker", without), ("broker away", away), ("broker stalled", stalled)]
    {
        println!("{what}: {count} shares answered, median {median:.2} ms, p99 {most:.2} ms");
        assert!(count > 100, "{what}");
    }
    // Whatever else this machine does: it is no second.
    assert!(away.1.max(stalled.1) < without.1 * 3.0 + 100.0);
    // It is noticed.
    wait_for("that it takes nothing", || {
        let told = told(&daemon)?;
        let why = told["error"].as_str()?;
        (why.contains("no answer within") || why.contains("takes nothing")).then_some(())
    });
}
