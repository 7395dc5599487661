//! Good configs: what each setting becomes, the shipped file, the order of logins, and reloads.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use soloist::config::{
    self, Auth, Built, Change, Config, Flags, NodeConfig, P2pAddress, SECTIONS, Secret,
    Surroundings,
};
use soloist::devices::pointing::Command;
use soloist::failover::Follow;
use soloist::mqtt::{Broker, Version};

use soloist::notify::{Sink, SinkKind, Topic};
use soloist::peer_address::Outside;
use soloist::signal::Signals;
use soloist::stratum::firmware::Override;
use soloist::update::Mode;

const ADDRESS: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
const OTHER_ADDRESS: &str = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa";

fn built(text: &str) -> Built {
    let surroundings = Surroundings {
        file_dir: "/etc/soloist".into(),
        home: Some("/home/anna".into()),
        runtime_dir: None,
        data_dir: "/var/lib/soloist".into(),
    };
    match config::build(Some(("soloist.toml", text)), &Flags::default(), &surroundings) {
        Ok(built) => built,
        Err(problems) => panic!("{problems}"),
    }
}

fn with_payout(rest: &str) -> Config {
    built(&format!("[payout]\naddress = \"{ADDRESS}\"\n{rest}")).config
}

fn minimal(rest: &str) -> Config {
    with_payout(&format!("[node]\nrpc_url = \"http://a:b@10.0.0.1\"\n{rest}"))
}

#[test]
fn the_defaults() {
    let config = minimal("");
    assert_eq!(
        config.nodes,
        [NodeConfig {
            name: "10.0.0.1:8332".to_owned(),
            url: "http://10.0.0.1:8332/".to_owned(),
            auth: Auth::UserPass { user: "a".to_owned(), pass: "b".to_owned() },
            certificate: None,
            zmq: None,
            p2p: P2pAddress::Default,
        }]
    );
    assert_eq!(config.payout.address.as_ref().unwrap().to_string(), ADDRESS);
    assert_eq!(config.payout.tag.as_str(), "/Soloist/");
    assert_eq!(shown(&config.stratum.listen), ["0.0.0.0:3333", "[::]:3333"]);
    assert_eq!((config.stratum.max_connections, config.stratum.reached_at), (64, None));
    assert_eq!(config.stratum.max_connections_per_address, 8);
    assert_eq!(config.stratum.password, None);
    assert_eq!(shown(&config.http.listen), ["0.0.0.0:8080", "[::]:8080"]);
    assert_eq!(config.http.name, "Soloist");
    assert!(config.http.json);
    assert!(config.http.hosts.is_empty() && config.http.embed.is_empty());
    // As browsers write them.
    let http =
        minimal("[http]\nembed = [\"https://ha.example:443\", \"http://ha.example:80/\"]").http;
    assert_eq!(http.embed, ["https://ha.example", "http://ha.example"]);
    assert_eq!(config.notify, []);
    assert_eq!(config.data.dir, Path::new("/var/lib/soloist"));
    assert_eq!(config.failover.grace, soloist::failover::DEFAULT_GRACE);
    assert_eq!(config.failover.follow, Follow::Work);
    assert_eq!(config.p2p.outside, Outside::Block);
    assert_eq!((config.p2p.peers, config.p2p.proxy, config.p2p.dns_seeds), (vec![], None, false));
    assert_eq!(config.payout.signals(), Signals::default());
    assert_eq!(config.log.level, log::LevelFilter::Info);
}

#[test]
fn every_setting() {
    let config = minimal(
        r#"
        zmq_hashblock_addr = "tcp://10.0.0.1:28332"
        name = " attic "
        [stratum]
        listen = "192.168.1.5:3333"
        max_connections = 1024
        max_connections_per_address = 1
        password = "sesame"
        [[stratum.firmware]]
        prefix = "NerdMiner"
        difficulty = 0.001
        shares_per_minute = 2.5
        [[stratum.firmware]]
        prefix = "MRR"
        extranonce2_size = 4
        [http]
        name = "attic box"
        pin = "geheim"
        listen = ["[fd00::1]:80", "10.0.0.9:80", "10.0.0.9:80"]
        hosts = ["Solo.Example.org.", "solo.example.org", "attic.tail1234.ts.net"]
        embed = "HTTP://homeassistant.local:8123/"
        json = false
        [data]
        dir = "data"
        [failover]
        grace = "2 min"
        follow = "first"
        [p2p]
        outside = "Watch"
        peers = ["node.example", "[2a01::1]:8334", "77.1.2.3:8333", "77.1.2.3:8333"]
        proxy = "127.0.0.1"
        dns_seeds = true
        [log]
        level = "DEBUG"
        [[notify]]
        kind = "ntfy"
        url = "https://ntfy.sh/a-topic"
        token = "tk_geheim"
        best = false
        update = false
        [[notify]]
        kind = "Telegram"
        token = "123456:ABC-geheim"
        chat = -100123
        [[notify]]
        kind = "webhook"
        url = "http://192.168.1.5:8123/api/webhook/x"
        [[notify]]
        kind = "email"
        url = "smtps://mail.example.org"
        user = "anna"
        password = "geheim"
        from = "box@example.org"
        to = "Anna <anna@example.org>"
        miner = false
        "#,
    );
    assert_eq!(config.nodes[0].name, "attic");
    assert_eq!(config.nodes[0].zmq.as_deref(), Some("tcp://10.0.0.1:28332"));
    assert_eq!(shown(&config.stratum.listen), ["192.168.1.5:3333"]);
    assert_eq!(config.stratum.max_connections, 1024);
    assert_eq!(config.stratum.max_connections_per_address, 1);
    assert_eq!(config.stratum.password, Some(Secret::new("sesame")));
    assert_eq!(
        config.stratum.firmwares,
        [
            Override {
                prefix: "NerdMiner".to_owned(),
                start_difficulty: Some(0.001),
                shares_per_minute: Some(2.5),
                extranonce2_size: None,
            },
            Override { prefix: "MRR".to_owned(), extranonce2_size: Some(4), ..Override::default() },
        ]
    );
    assert_eq!(shown(&config.http.listen), ["[fd00::1]:80", "10.0.0.9:80"]);
    assert_eq!(config.http.name, "attic box");
    assert_eq!(config.http.pin, Some(Secret::new("geheim")));
    assert_eq!(config.http.hosts, ["solo.example.org", "attic.tail1234.ts.net"]);
    assert_eq!(config.http.embed, ["http://homeassistant.local:8123"]);
    assert!(!config.http.json);
    let topics = |without: &[Topic]| -> Vec<Topic> {
        let told = |topic: &Topic| *topic != Topic::Test && !without.contains(topic);
        let all = [
            Topic::Block,
            Topic::Best,
            Topic::Miner,
            Topic::Node,
            Topic::Down,
            Topic::Alarm,
            Topic::Update,
            Topic::Test,
        ];
        all.into_iter().filter(told).collect()
    };
    assert_eq!(
        config.notify,
        [
            Sink {
                kind: SinkKind::Ntfy {
                    url: "https://ntfy.sh/a-topic".to_owned(),
                    token: Some("tk_geheim".to_owned()),
                },
                topics: topics(&[Topic::Best, Topic::Update]),
            },
            Sink {
                kind: SinkKind::Telegram {
                    token: "123456:ABC-geheim".to_owned(),
                    chat: "-100123".to_owned(),
                },
                topics: topics(&[]),
            },
            Sink {
                kind: SinkKind::Webhook { url: "http://192.168.1.5:8123/api/webhook/x".to_owned() },
                topics: topics(&[]),
            },
            Sink {
                kind: SinkKind::Email {
                    url: "smtps://mail.example.org".to_owned(),
                    login: Some(("anna".to_owned(), "geheim".to_owned())),
                    from: "box@example.org".to_owned(),
                    to: "Anna <anna@example.org>".to_owned(),
                },
                topics: topics(&[Topic::Miner]),
            },
        ]
    );
    assert!(!format!("{config:?}").contains("geheim"));
    assert_eq!(config.data.dir, Path::new("/etc/soloist/data"));
    assert_eq!(config.failover.grace, Duration::from_secs(120));
    assert_eq!(config.failover.follow, Follow::First);
    assert_eq!(config.p2p.outside, Outside::Watch);
    let peers: Vec<String> = config.p2p.peers.iter().map(ToString::to_string).collect();
    assert_eq!(peers, ["node.example", "[2a01::1]:8334", "77.1.2.3:8333"]);
    assert_eq!(config.p2p.proxy.unwrap().to_string(), "127.0.0.1:9050");
    assert!(config.p2p.dns_seeds);
    assert_eq!(config.log.level, log::LevelFilter::Debug);
    let grace = |text: &str| minimal(&format!("[failover]\ngrace = {text}")).failover.grace;
    assert_eq!(grace("0"), Duration::ZERO);
    assert_eq!(grace("45"), Duration::from_secs(45));
    assert_eq!(grace("\"10min\""), Duration::from_secs(600));
    assert_eq!(minimal("[http]\nlisten = []").http.listen, []);
    assert_eq!(minimal("[p2p]\npeers = \"\"").p2p.peers, []);
    assert_eq!(minimal("[p2p]\npeers = \"a.b\"").p2p.peers.len(), 1);
}

#[test]
fn the_tag_gets_its_slashes_and_fits_to_the_last_byte() {
    let tag = |text: &str| {
        let file = format!(
            "[payout]\naddress = \"{ADDRESS}\"\ntag = \"{text}\"\n[node]\nrpc_url = \"http://a:b@c\""
        );
        built(&file).config.payout.tag.as_str().to_owned()
    };
    assert_eq!(tag("Anna's basement"), "/Anna's basement/");
    assert_eq!(tag("/Anna's basement/"), "/Anna's basement/");
    assert_eq!(tag(" / "), "");
    assert_eq!(tag(&"x".repeat(62)).len(), soloist::coinbase::MAX_TAG);
}

/// Cookie file, then the URL, then the node's own pair, then the pair of `[node]`.
#[test]
fn the_order_of_logins() {
    let config = with_payout(
        r#"
        [node]
        rpc_url = "http://10.0.0.1"
        rpc_user = "global"
        rpc_pass = "geheim1"
        [[node.backup]]
        rpc_url = "http://own:geheim2@10.0.0.2"
        rpc_cookie_path = "~/.bitcoin/.cookie"
        rpc_user = "x"
        rpc_pass = "y"
        [[node.backup]]
        rpc_url = "http://own:geheim2@10.0.0.3"
        rpc_user = "x"
        rpc_pass = "y"
        [[node.backup]]
        rpc_url = "http://10.0.0.4"
        rpc_user = "mine"
        rpc_pass = "geheim3"
        [[node.backup]]
        rpc_url = "http://10.0.0.5"
        [[node.backup]]
        rpc_url = "http://10.0.0.6"
        rpc_cookie_path = "cookie"
        "#,
    );
    let basic = |user: &str, password: &str| Auth::UserPass {
        user: user.to_owned(),
        pass: password.to_owned(),
    };
    let logins: Vec<Auth> = config.nodes.iter().map(|node| node.auth.clone()).collect();
    assert_eq!(
        logins,
        [
            basic("global", "geheim1"),
            Auth::Cookie("/home/anna/.bitcoin/.cookie".into()),
            basic("own", "geheim2"),
            basic("mine", "geheim3"),
            basic("global", "geheim1"),
            Auth::Cookie("/etc/soloist/cookie".into()),
        ]
    );
    let shown = format!("{config:?}");
    assert!(!shown.contains("geheim"), "{shown}");
}

#[test]
fn the_password_of_a_url_is_not_lent_to_other_nodes() {
    let config = with_payout(
        "[node]\nrpc_url = \"http://a:b@10.0.0.1\"\n[[node.backup]]\nrpc_url = \"http://10.0.0.2\"",
    );
    assert_eq!(config.nodes[1].auth, Auth::None);
}

#[test]
fn warnings_are_whole_sentences() {
    let text = format!(
        r#"
        [payout]
        address = "{ADDRESS}"
        [node]
        rpc_url = "http://a:b@127.0.0.1:8333"
        rpc_user = "x"
        rpc_pass = "y"
        [[node.backup]]
        rpc_url = "http://[::1]:8332"
        rpc_cookie_path = "cookie"
        rpc_user = "x"
        rpc_pass = "y"
        [[node.backup]]
        rpc_url = "http://10.0.0.3"
        rpc_user = "ge\theim"
        rpc_pass = "x'ge\\heim\u0001"
        [stratum]
        listen = "0.0.0.0:0"
        password = "a password that is long"
        [p2p]
        outside = "off"
        peers = ["127.0.0.1", "10.0.0.3:8333", "10.0.0.3:8444"]
        proxy = "127.0.0.1:9050"
        dns_seeds = true
        "#
    )
    .replace("a password that is long", "a-password-that-is-long");
    let warnings = built(&text).warnings.join("\n");
    assert!(!warnings.contains("eim"), "{warnings}");
    insta::assert_snapshot!(warnings);
}

/// Between single quotes a backslash is one; between double quotes only some are meant.
#[test]
fn control_characters_are_told_where_they_are_written() {
    let told = |pass: &str| -> Vec<String> {
        let text = format!(
            "[payout]\naddress = \"{ADDRESS}\"\n[node]\nrpc_url = \"http://10.0.0.1\"\nrpc_user = \"x\"\n\
             rpc_pass = {pass}\n"
        );
        let warnings = built(&text).warnings;
        warnings.into_iter().filter(|warning| warning.contains("haracter ")).collect()
    };
    for fine in [r"'ge\theim'", r#""ge\\theim\"""#] {
        assert_eq!(told(fine), Vec::<String>::new(), "{fine}");
    }
    let one = told(r#""ge\theim""#);
    assert!(
        one[0].starts_with("In line 6 of soloist.toml, character 3 of node.rpc_pass is a tab, ")
    );
    assert!(one[0].contains(r"\t") && one[0].contains("single quotes"), "{one:?}");
    // Typed or pasted as it is, no backslash is to blame.
    let pasted = told("'geheim\t\u{200b}'");
    assert!(pasted[0].contains("character 7") && !pasted[0].contains(r"\t"), "{pasted:?}");
    assert_eq!((one.len(), pasted.len()), (1, 1));
}

/// A file that cannot be used is a mistake with its line; at the start it costs only its node.
#[test]
fn a_certificate_is_read_when_its_settings_are() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("soloist.toml");
    let text = format!(
        "[payout]\naddress = \"{ADDRESS}\"\n[node]\nrpc_url = \"https://u:geheim@node.local\"\n\
         rpc_cert_path = \"node.pem\"\n"
    );
    fs::write(&file, &text).unwrap();
    let flags = Flags::file(file.clone());
    let told = || {
        let strict = config::load(&flags).unwrap_err().to_string();
        let lenient = config::load_for_run(&flags).unwrap();
        assert!(lenient.warnings.contains(&strict), "{:?} {strict}", lenient.warnings);
        let page = config::try_text(&flags, &file, &text, config::Incomplete::Refused).unwrap_err();
        assert_eq!(page.to_string(), strict);
        strict
            .replace(dir.path().canonicalize().unwrap().to_str().unwrap(), "DIR")
            .replace(dir.path().to_str().unwrap(), "DIR")
    };
    let own = rcgen::generate_simple_self_signed(["node.local".to_owned()]).unwrap();
    let pem = dir.path().join("node.pem");
    let mut story = told();
    for content in ["words", &own.signing_key.serialize_pem(), &own.cert.pem()[..200]] {
        fs::write(&pem, content).unwrap();
        story += &format!("\n{}", told());
    }
    insta::assert_snapshot!(story);
    fs::write(&pem, own.cert.pem()).unwrap();
    let node = config::load(&flags).unwrap().config.nodes.remove(0);
    assert_eq!(node.certificate, Some(pem.canonicalize().unwrap()));
    assert_eq!(
        (node.url.as_str(), node.name.as_str()),
        ("https://node.local:443/", "node.local:443")
    );
}

/// The file that the image carries: as it is, it asks for the two things that only its owner
/// knows; with them it is valid, and the defaults that it shows are the real ones.
#[test]
fn the_shipped_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("image/soloist.toml");
    let shipped = fs::read_to_string(path).expect("the image has a config");
    let flags = Flags::default();
    let surroundings = Surroundings {
        runtime_dir: None,
        data_dir: "/var/lib/soloist".into(),
        ..Surroundings::default()
    };
    let problems = config::build(Some(("soloist.toml", &shipped)), &flags, &surroundings)
        .expect_err("the address must be missing");
    let missing: Vec<&str> = problems.0.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(missing, ["node.rpc_url", "payout.address"]);

    let filled = shipped
        .replace("address = \"\"", &format!("address = \"{ADDRESS}\""))
        .replace("rpc_url = \"\"", "rpc_url = \"http://a:b@192.168.1.10:8332\"");
    let build = |text: &str| config::build(Some(("f", text)), &flags, &surroundings);
    let plain = build(&filled).unwrap_or_else(|problems| panic!("{problems}")).config;
    assert_eq!(shown(&plain.http.listen), ["0.0.0.0:80", "[::]:80"]);

    // "#key = value" shows a default, "#[[section]]" an example; "# words" explains.
    let setting = |line: &&str| {
        line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase() || c == '[')
    };
    let shows: Vec<&str> = shipped.lines().filter(setting).collect();
    assert!(shows.len() > 14, "{shows:?}");
    let active: String = filled
        .lines()
        .map(|line| if setting(&line) { &line[1..] } else { line })
        .map(|line| format!("{line}\n"))
        .collect();
    let everything = build(&active).unwrap_or_else(|problems| panic!("{problems}")).config;
    assert_eq!(everything.nodes.len(), 2);
    // The examples of nodes and miners are no defaults.
    assert_eq!(everything.stratum.firmwares.len(), 1);
    let mut same = Config { nodes: plain.nodes.clone(), ..everything };
    same.stratum.firmwares.clear();
    assert_eq!(same.notify.len(), 1);
    same.notify.clear();
    // The place for copies is an example too.
    assert_eq!(same.data.copy_to.take().as_deref(), Some(Path::new("/media/backup")));
    // And so is a price.
    assert_eq!(same.devices.price_per_kwh.take(), Some(0.31));
    assert_eq!(same.devices.currency.take().as_deref(), Some("€"));
    // And so is a broker.
    assert_eq!(same.mqtt.broker.take().unwrap().to_string(), "homeassistant.local");
    assert_eq!(same.mqtt.user.take().as_deref(), Some("soloist"));
    assert!(same.mqtt.password.take().is_some());
    // And so is an address that moves between two boxes.
    assert_eq!(same.pair.virtual_address.take().unwrap().to_string(), "192.168.1.240/24");
    // And so is a feed.
    let feed = "https://example.org/soloist/feed.json";
    assert_eq!(same.update.feed.take().as_deref(), Some(feed));
    assert_eq!(same, plain);
}

#[test]
fn a_feed_is_read_as_its_section_says() {
    let build = |section: &str| {
        let text = format!(
            "[node]\nrpc_url = \"http://a:b@192.168.1.10\"\n[payout]\naddress = \"{ADDRESS}\"\n[update]\n{section}"
        );
        let surroundings =
            Surroundings { file_dir: "/etc/soloist".into(), ..Surroundings::default() };
        let built = config::build(Some(("f", &text)), &Flags::default(), &surroundings);
        built.unwrap_or_else(|problems| panic!("{problems}")).config
    };
    let nothing = build("");
    assert_eq!((nothing.update.feed.as_deref(), nothing.update.mode), (None, Mode::Tell));
    assert_eq!(nothing.update.at.to_string(), "04:00");
    assert_eq!(nothing.update.source(), None);
    let feed = "feed = \"https://example.org/feed.json\"";
    let source = build(feed).update.source().unwrap();
    assert_eq!(source.key, Path::new("/usr/share/soloist/update.pub"));
    assert_eq!(source.certificate, None);
    let all = build(&format!(
        "{feed}\nmode = \"install\"\nat = \"23:30\"\nkey_path = \"my.pub\"\ntls_cert_path = \"ca.pem\""
    ));
    let source = all.update.source().unwrap();
    assert_eq!(source.url, "https://example.org/feed.json");
    assert_eq!(source.key, Path::new("/etc/soloist/my.pub"));
    assert_eq!(source.certificate.as_deref(), Some(Path::new("/etc/soloist/ca.pem")));
    assert_eq!(build(&format!("{feed}\nmode = \"off\"")).update.source(), None);
    // All of it is taken over by a reload, and told in a sentence.
    let told: Vec<String> = nothing.diff(&all).iter().map(ToString::to_string).collect();
    let words = "New versions are told by the feed https://example.org/feed.json, and installed at 23:30 UTC.";
    assert_eq!(told, [words]);
    assert!(nothing.diff(&all).iter().all(config::Change::is_live));
    let words = "New versions are told by the feed https://example.org/feed.json.";
    assert_eq!(nothing.diff(&build(feed))[0].to_string(), words);
    assert_eq!(all.diff(&nothing)[0].to_string(), "No update feed is read.");
}

#[test]
fn a_pair_is_what_its_section_says() {
    let build = |section: &str| {
        let text = format!(
            "[node]\nrpc_url = \"http://a:b@192.168.1.10\"\n[payout]\naddress = \"{ADDRESS}\"\n[pair]\n{section}"
        );
        let built = config::build(Some(("f", &text)), &Flags::default(), &Surroundings::default());
        built.unwrap_or_else(|problems| panic!("{problems}"))
    };
    const CODE: &str = "secret = \"7KQ2M-XW4RT-9BZ0C-HJ6PD-V5EY3-8NAFG\"\n";
    let nothing = build("").config;
    assert_eq!((nothing.pair.partner, nothing.pair.code()), (None, None));
    // Without a partner the rest is nothing.
    assert_eq!(build(CODE).config.pair.partner, None);
    let all = build(&format!(
        "{CODE}partner = \"[fd00::21]:4000\"\nvirtual_address = \"fd00::240/64\"\ninterface = \"eth0\"\n\
         listen = \"[::]:4000\""
    ));
    assert_eq!(all.warnings.len(), 1, "one node only: {:?}", all.warnings);
    let all = all.config;
    assert_eq!(all.pair.partner.unwrap().to_string(), "[fd00::21]:4000");
    assert_eq!(all.pair.interface.as_deref(), Some("eth0"));
    assert!(all.pair.code().is_some());
    assert!(!format!("{all:?}").contains("7KQ2M"));
    let told: Vec<String> = nothing.diff(&all).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "The other box of the pair is [fd00::21]:4000, and miners use fd00::240.",
            "The code of the pair is another.",
            "The other box of the pair connects to other addresses or ports.",
        ]
    );
    assert_eq!(all.diff(&nothing)[0].to_string(), "This box is one by itself.");
    let bare = build(&format!("{CODE}partner = \"192.168.1.21\""));
    assert_eq!(bare.config.pair.partner.unwrap().to_string(), "192.168.1.21:3337");
    assert!(bare.warnings[0].contains("no virtual_address"), "{:?}", bare.warnings);
    let far = "partner = \"192.168.1.21\"\nvirtual_address = \"192.168.2.240/24\"";
    let far = build(&format!("{CODE}{far}"));
    assert!(far.warnings[0].contains("is not in the network"), "{:?}", far.warnings);
}

#[test]
fn home_assistant_is_told_as_its_section_says() {
    let build = |section: &str| {
        let text = format!(
            "[node]\nrpc_url = \"http://a:b@192.168.1.10\"\n[payout]\naddress = \"{ADDRESS}\"\n[mqtt]\n{section}"
        );
        let built = config::build(Some(("f", &text)), &Flags::default(), &Surroundings::default());
        built.unwrap_or_else(|problems| panic!("{problems}")).config
    };
    let nothing = build("");
    assert_eq!((nothing.mqtt.broker.as_ref(), nothing.mqtt.buttons.len()), (None, 0));
    assert_eq!(nothing.mqtt.version, Version::V3_1_1);
    assert_eq!(nothing.mqtt.topic_prefix, "soloist");
    assert_eq!(nothing.mqtt.discovery_prefix, "homeassistant");
    let all = build(
        "broker = \"[fd00::20]:1884\"\ntls = true\ntls_cert_path = \"ca.pem\"\nuser = \"anna\"\n\
         password = \"gehe1m\"\nversion = \"5\"\ntopic_prefix = \"house/miners\"\n\
         discovery_prefix = \"ha\"\nbuttons = [\"blink\", \"restart\", \"blink\"]",
    );
    let broker = Broker { host: "fd00::20".to_owned(), port: Some(1884) };
    assert_eq!(all.mqtt.broker.as_ref(), Some(&broker));
    assert_eq!(broker.to_string(), "[fd00::20]:1884");
    assert_eq!(all.mqtt.password.as_ref().map(|password| password.expose()), Some("gehe1m"));
    assert_eq!(all.mqtt.version, Version::V5);
    assert_eq!(all.mqtt.topic_prefix, "house/miners");
    assert_eq!(all.mqtt.buttons, [Command::Identify, Command::Restart]);
    assert!(!format!("{all:?}").contains("gehe1m"));
    // All of it is taken over by a reload, and told in a sentence without the password.
    let told: Vec<String> = nothing.diff(&all).iter().map(ToString::to_string).collect();
    let words = "Home Assistant is told by the MQTT broker [fd00::20]:1884, with these settings.";
    assert_eq!(told, [words]);
    assert!(nothing.diff(&all).iter().all(config::Change::is_live));
    assert_eq!(all.diff(&nothing)[0].to_string(), "Home Assistant is not told by MQTT.");
}

#[test]
fn the_command_line_alone() {
    let flags = Flags::default()
        .with("--node", "http://a:b@10.0.0.1:18443")
        .with("--zmq", "tcp://10.0.0.1:28332")
        .with("--p2p", "off")
        .with("--node", "http://127.0.0.1")
        .with("--cookie", "/home/b/.cookie")
        .with("--payout", ADDRESS)
        .with("--listen", "127.0.0.1:3334")
        .with("--http", "127.0.0.1:8081")
        .with("--http", "[::1]:8081")
        .with("--data", "/tmp/x")
        .with("--log", "info")
        .with("--log", "warn")
        .with("--tag", "me")
        .with("--outside", "watch")
        .with("--peer", "77.1.2.3:8333")
        .with("--peer", "node.example")
        .with("--outside-proxy", "[::1]:9150");
    let config =
        config::build(None, &flags, &Surroundings::default()).expect("the flags are good").config;
    assert_eq!(config.nodes[0].zmq.as_deref(), Some("tcp://10.0.0.1:28332"));
    assert_eq!(config.nodes[0].p2p, P2pAddress::Off);
    assert_eq!(config.nodes[1].auth, Auth::Cookie("/home/b/.cookie".into()));
    assert_eq!(config.nodes[1].p2p, P2pAddress::Default);
    assert_eq!(shown(&config.stratum.listen), ["127.0.0.1:3334"]);
    assert_eq!(shown(&config.http.listen), ["127.0.0.1:8081", "[::1]:8081"]);
    assert_eq!(config.data.dir, Path::new("/tmp/x"));
    assert_eq!(config.payout.tag.as_str(), "/me/");
    assert_eq!(config.p2p.outside, Outside::Watch);
    assert_eq!(config.p2p.peers.len(), 2);
    assert_eq!(config.p2p.peers[1].address(8333).to_string(), "node.example:8333");
    assert_eq!(config.p2p.proxy.unwrap().to_string(), "[::1]:9150");
    assert_eq!(config.log.level, log::LevelFilter::Warn);
}

#[test]
fn flags_go_over_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("soloist.toml");
    let text = format!(
        "[node]\nrpc_url = \"http://a:b@10.0.0.1\"\n[payout]\naddress = \"{ADDRESS}\"\n\
         [data]\ndir = \"data\"\n"
    );
    fs::write(&file, text).expect("written");
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
    let flags = Flags::file(file.clone()).with("--payout", OTHER_ADDRESS);

    mode(0o644);
    let loaded = config::load(&flags).expect("a good file");
    assert_eq!(loaded.config.payout.address.as_ref().unwrap().to_string(), OTHER_ADDRESS);
    assert_eq!(loaded.config.nodes[0].place().unwrap().0, "10.0.0.1");
    // Relative to the file, wherever the program was started.
    let real_dir = fs::canonicalize(dir.path()).expect("it exists");
    assert_eq!(loaded.config.data.dir, real_dir.join("data"));
    assert_eq!(loaded.file, Some(file.clone()));
    let readable =
        |loaded: &config::Loaded| loaded.warnings.iter().any(|w| w.contains("chmod 600"));
    assert!(readable(&loaded), "{:?}", loaded.warnings);
    mode(0o600);
    assert!(!readable(&config::load(&flags).expect("a good file")));
}

#[test]
fn files_that_cannot_be_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    fs::write(at("latin1"), b"[node]\nname = \"caf\xe9\"\n").expect("written");
    fs::write(at("long"), vec![b'#'; (1 << 20) + 1]).expect("written");
    let said = |path: PathBuf| {
        let flags = Flags::file(path);
        let problems = config::load(&flags).expect_err("not readable").to_string();
        problems.replace(&dir.path().display().to_string(), "DIR")
    };
    let all = [at("absent"), dir.path().to_owned(), at("latin1"), at("long")].map(said).join("\n");
    insta::assert_snapshot!(all);
}

#[test]
fn where_miners_reach_this_machine_is_read_with_and_without_a_port() {
    let reached = |text: &str| {
        let config = minimal(&format!("[stratum]\nreached_at = \"{text}\"\n"));
        config.stratum.reached_at.map(|place| place.to_string())
    };
    assert_eq!(reached(""), None);
    assert_eq!(reached("192.168.1.20").as_deref(), Some("192.168.1.20:3333"));
    assert_eq!(reached("umbrel.local:3381").as_deref(), Some("umbrel.local:3381"));
    assert_eq!(reached("[fd00::5]:3381").as_deref(), Some("[fd00::5]:3381"));
}

#[test]
fn a_reload_tells_what_changed() {
    let before = with_payout(
        r#"
        [node]
        name = "attic"
        rpc_url = "http://a:b@10.0.0.1"
        [[node.backup]]
        name = "cellar"
        rpc_url = "http://a:b@10.0.0.2"
        [[node.backup]]
        name = "shed"
        rpc_url = "http://a:b@10.0.0.3"
        "#,
    );
    let text = format!(
        r#"
        [payout]
        address = "{OTHER_ADDRESS}"
        tag = "hello"
        per_miner = true
        set_version_bits = [4, 0]
        clear_version_bits = [1]
        [node]
        name = "cellar"
        rpc_url = "https://a:c@10.0.0.2"
        rpc_cert_path = "cellar.pem"
        zmq_hashblock_addr = "tcp://10.0.0.2:28332"
        p2p_addr = "10.0.0.2:8334"
        [[node.backup]]
        name = "attic"
        rpc_url = "http://a:b@10.0.0.1"
        [[node.backup]]
        rpc_url = "http://a:b@10.0.0.4"
        [stratum]
        listen = "0.0.0.0:3334"
        tls_listen = "0.0.0.0:4333"
        v2 = false
        v2_listen = "0.0.0.0:3336"
        reached_at = "umbrel.local:3381"
        max_connections = 9
        max_connections_per_address = 3
        password = "geheim"
        [[stratum.firmware]]
        prefix = "x"
        difficulty = 1
        [http]
        name = "cellar"
        pin = "geheim"
        listen = "0.0.0.0:81"
        tls_listen = "0.0.0.0:8443"
        hosts = ["solo.example.org"]
        embed = ["http://homeassistant.local:8123"]
        json = false
        [devices]
        ask = false
        addresses = ["192.168.1.40"]
        price_per_kwh = 0.31
        currency = "€"
        [data]
        dir = "/elsewhere"
        copy_to = "/media/backup"
        [failover]
        grace = 30
        follow = "first"
        [p2p]
        outside = "watch"
        peers = ["77.1.2.3", "node.example:8334"]
        proxy = "127.0.0.1:9050"
        dns_seeds = true
        [mqtt]
        broker = "homeassistant.local"
        tls = true
        tls_cert_path = "broker.pem"
        user = "soloist"
        password = "geheim"
        version = "5"
        topic_prefix = "attic"
        discovery_prefix = "ha"
        buttons = ["blink"]
        [pair]
        partner = "192.168.1.21"
        secret = "geheim-7KQ2M-XW4RT-9BZ0C-HJ6PD-V5EY3"
        virtual_address = "192.168.1.241/24"
        interface = "eth1"
        listen = ["192.168.1.20:3338"]
        [update]
        feed = "https://example.org/feed.json"
        mode = "install"
        at = "05:00"
        key_path = "key.pub"
        tls_cert_path = "feed.pem"
        [log]
        level = "warn"
        format = "json"
        [[notify]]
        kind = "discord"
        url = "https://discord.example/api/webhooks/1/geheim"
        "#
    );
    let written: toml::Table = text.parse().unwrap();
    for section in SECTIONS.iter().filter(|s| !s.is_list() && s.name != "node") {
        for facts in (section.facts)() {
            let default = facts.default.map(|default| default.parse::<toml::Value>().unwrap());
            let value = written[section.name].get(facts.name);
            let is_another = value.is_some() && value != default.as_ref();
            assert!(is_another, "write another [{}] {} into this test", section.name, facts.name);
        }
    }
    let after = built(&text).config;
    assert_eq!(before.diff(&before), []);
    let changes = before.diff(&after);
    let sentences = told(&changes);
    assert!(!format!("{changes:?} {sentences:?}").contains("geheim"));
    insta::assert_snapshot!(sentences.join("\n"));
    let waits = changes.iter().filter(|change| !change.is_live());
    assert_eq!(
        told(&waits.clone().cloned().collect::<Vec<_>>()),
        [
            "Miners connect to other addresses or ports.",
            "The page is served on other addresses or ports.",
            "The API is switched off.",
            "The data directory is another.",
            "The other box of the pair is 192.168.1.21:3337, and miners use 192.168.1.241.",
            "The code of the pair is another.",
            "The other box of the pair connects to other addresses or ports.",
        ]
    );

    // What waits is not in force, and goes on being said. All else is.
    let in_force = after.clone().taken_over(&before);
    assert_eq!(in_force.data.dir, before.data.dir);
    assert_eq!(in_force.data.copy_to, after.data.copy_to);
    assert_eq!(in_force.http.listen, before.http.listen);
    assert_eq!(in_force.diff(&after), waits.cloned().collect::<Vec<_>>());
    assert!(before.diff(&in_force).iter().all(Change::is_live));

    // Adding and removing alone is no change of the order.
    let mut fewer = before.clone();
    fewer.nodes.remove(1);
    assert_eq!(told(&before.diff(&fewer)), ["The node cellar is no longer used."]);
    assert_eq!(told(&fewer.diff(&before)), ["The node cellar is new."]);

    // Another name is nothing more, and does not hide what else is another.
    let mut renamed = before.clone();
    renamed.nodes[1].name = "roof".to_owned();
    let words = "The node cellar is called roof now.";
    assert_eq!(told(&before.diff(&renamed)), [words]);
    renamed.nodes[1].zmq = Some("tcp://10.0.0.2:28332".to_owned());
    let more = "The node roof has another ZMQ address.";
    assert_eq!(told(&before.diff(&renamed)), [words, more]);
    // Two that change their names with one another are other nodes by these names.
    let mut swapped = before.clone();
    swapped.nodes[0].name = "cellar".to_owned();
    swapped.nodes[1].name = "attic".to_owned();
    assert!(!format!("{:?}", told(&before.diff(&swapped))).contains("called"));
}

fn told(changes: &[Change]) -> Vec<String> {
    changes.iter().map(Change::to_string).collect()
}

fn shown(addresses: &[std::net::SocketAddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn version_bits_are_a_mask() {
    let text = |lines: &str| {
        format!("[payout]\naddress = \"{ADDRESS}\"\n{lines}\n[node]\nrpc_url = \"http://a:b@c\"")
    };
    let signals = |lines: &str| built(&text(lines)).config.payout.signals();
    let lines = "set_version_bits = [0, 12, 4]\nclear_version_bits = [1]";
    assert_eq!(signals(lines), Signals { set: 0b1_0000_0001_0001, clear: 0b10 });
    assert_eq!(signals("set_version_bits = []"), Signals::default());
}

#[test]
fn doors_with_tls_and_payment_by_name_are_asked_for() {
    let node = "[node]\nrpc_url = \"http://a:b@192.168.1.10:8332\"\n";
    let plain = with_payout(node);
    assert_eq!((plain.stratum.tls_listen.len(), plain.payout.per_miner), (0, false));
    let asked = built(&format!(
        "[payout]\naddress = \"{ADDRESS}\"\nper_miner = true\n[stratum]\ntls_listen = \
         \"0.0.0.0:4333\"\n{node}"
    ))
    .config;
    assert_eq!(shown(&asked.stratum.tls_listen), ["0.0.0.0:4333"]);
    assert!(asked.payout.per_miner);
    let sentences = told(&plain.diff(&asked));
    assert!(sentences.iter().any(|s| s.contains("is now paid there")), "{sentences:?}");
    assert!(sentences.iter().any(|s| s.contains("other addresses or ports")), "{sentences:?}");
    for (stratum, http, key) in [
        ("tls_listen = \"0.0.0.0:3333\"", "", "stratum.tls_listen"),
        ("tls_listen = \"0.0.0.0:8080\"", "listen = \"0.0.0.0:8080\"", "http.listen"),
        ("tls_listen = \"4333\"", "", "stratum.tls_listen"),
    ] {
        let text = format!(
            "[payout]\naddress = \"{ADDRESS}\"\n[stratum]\n{stratum}\n[http]\n{http}\n{node}"
        );
        let flags = Flags::default();
        let problems = config::build(Some(("f", &text)), &flags, &Surroundings::default());
        let keys: Vec<_> = problems.unwrap_err().0.into_iter().map(|p| p.key).collect();
        assert_eq!(keys, [key], "{stratum} {http}");
    }
}
