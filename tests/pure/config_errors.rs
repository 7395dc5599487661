//! Every mistake in a config gets its line and a sentence that says what to write instead.

use proptest::prelude::*;
use soloist::config::{self, Flags, Problems, Surroundings};

const ADDRESS: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

fn build(text: &str) -> Result<config::Built, Problems> {
    config::build(Some(("soloist.toml", text)), &Flags::default(), &Surroundings::default())
}

/// A valid file with `line` added below its section, instead of the valid line of the same key.
fn with(section: &str, line: &str) -> String {
    let key = line.split('=').next().unwrap_or_default().trim();
    let node = "rpc_url = \"http://a:geheim@10.0.0.1:8332\"".to_owned();
    let payout = format!("address = \"{ADDRESS}\"");
    let mut file = Vec::new();
    for (own, valid) in [("node", node), ("payout", payout)] {
        file.push(format!("[{own}]"));
        if key.is_empty() || !valid.starts_with(key) {
            file.push(valid);
        }
        if own == section {
            file.push(line.to_owned());
        }
    }
    if !matches!(section, "node" | "payout") {
        file.push(format!("[{section}]\n{line}"));
    }
    file.join("\n") + "\n"
}

#[test]
fn every_mistake_in_a_file() {
    let cases = [
        // Unknown names.
        ("node", "rcp_url = \"http://10.0.0.1:8332\""),
        ("node", "rpcpassword = \"geheim\""),
        ("node", "payout_address = \"geheim\""),
        ("node", "max_connections = 3"),
        ("node", "frobnicate = 1"),
        ("stratum", "lissten = \"0.0.0.0:3333\""),
        ("strattum", "listen = \"0.0.0.0:3333\""),
        // Not TOML, or another shape.
        ("node", "rpc_url = http://a:geheim@10.0.0.1"),
        ("node", "rpc_pass = \"geheim"),
        ("node", "rpc_pass = geheim"),
        ("node", "rpc_pass \"geheim\""),
        ("node", "name = \"a\"\nname = \"b\""),
        ("node", "backup = \"http://a:geheim@10.0.0.1\""),
        ("node", "backup = [\"http://a:geheim@10.0.0.1\"]"),
        ("stratum", "= 3"),
        ("x]", ""),
        // Nodes.
        ("node", "rpc_url = 8332"),
        ("node", "rpc_url = \"\""),
        ("node", "rpc_url = \"a:geheim@10.0.0.1:8332\""),
        ("node", "rpc_url = \"https://a:geheim@10.0.0.1:83320\""),
        ("node", "rpc_url = \"tcp://10.0.0.1:28332\""),
        ("node", "rpc_url = \"http://a:geheim@0.0.0.0:8332\""),
        ("node", "rpc_url = \"http://a:geheim@10.0.0.1:83320\""),
        ("node", "rpc_url = \"http://a:geheim@fd00::1\""),
        ("node", "rpc_url = \"http://geheim@10.0.0.1\""),
        ("node", "rpc_url = \"http://a:@10.0.0.1\""),
        ("node", "rpc_pass = \"geheim\""),
        ("node", "rpc_pass = 12345678"),
        ("node", "rpc_user = \"anna\""),
        ("node", "rpc_user = \"anna:x\"\nrpc_pass = \"geheim\""),
        ("node", "rpc_cookie_path = \" \""),
        ("node", "rpc_url = \"http://a:geheim@[fe80::1]:8332\""),
        ("node", "rpc_cert_path = 3"),
        ("node", "rpc_cert_path = \"\""),
        ("node", "rpc_cert_path = \"node.pem\""),
        ("node", "zmq_hashblock_addr = \"28332\""),
        ("node", "zmq_hashblock_addr = \"tcp://::1:28332\""),
        ("node", "zmq_hashblock_addr = \"tcp://*:28332\""),
        ("node", "zmq_hashblock_addr = \"tcp://10.0.0.1\""),
        ("node", "p2p_addr = 8333"),
        ("node", "p2p_addr = \"8333\""),
        ("node", "p2p_addr = \"tcp://10.0.0.1:8333\""),
        ("node", "p2p_addr = \"fd00::1:8333\""),
        ("node", "p2p_addr = \"10.0.0.1:0\""),
        ("node", "p2p_addr = \"10.0.0.1:8332\""),
        ("node", "p2p_addr = \"abcdefgh.onion:8333\""),
        ("node", "p2p_port = 8333"),
        ("node", "name = \"a name that is much longer than the page has room for\""),
        ("node", "[[node.backup]]\nname = \"b\""),
        ("node", "[[node.backup]]\nrpc_url = \"http://10.0.0.1\""),
        ("node", "name = \"a\"\n[[node.backup]]\nrpc_url = \"http://10.0.0.2\"\nname = \"a\""),
        // Payout.
        ("payout", "address = \"\""),
        ("payout", "address = 1"),
        ("payout", "address = \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5\""),
        ("payout", "address = \"KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWn\""),
        ("payout", "tag = \"Anna's café\""),
        (
            "payout",
            "tag = \"a tag that is longer than what fits into the coinbase of a block today\"",
        ),
        // The rest.
        ("stratum", "listen = []"),
        ("stratum", "listen = \"3333\""),
        ("stratum", "listen = [\"10.0.0.1\"]"),
        ("stratum", "listen = \"solo.local:3333\""),
        ("stratum", "listen = [3333]"),
        ("stratum", "listen = \"0.0.0.0:65536\""),
        ("payout", "tag = \"a\\tb\""),
        ("stratum", "max_connections = 0"),
        ("stratum", "max_connections = 1025"),
        ("stratum", "max_connections = -1"),
        ("stratum", "max_connections = \"64\""),
        ("stratum", "max_connections_per_address = 99999999999999999999"),
        ("stratum", "password = \"geheim, geheim\""),
        ("stratum", "firmware = \"bitaxe\""),
        ("stratum", "[[stratum.firmware]]\nprefix = \"bitaxe/\""),
        ("stratum", "[[stratum.firmware]]\nprefix = \"\"\ndifficulty = 1"),
        ("stratum", "[[stratum.firmware]]\ndifficulty = 0"),
        ("stratum", "[[stratum.firmware]]\nprefix = \"x\"\ndifficulty = nan"),
        ("stratum", "[[stratum.firmware]]\nprefix = \"x\"\nshares_per_minute = \"6\""),
        ("stratum", "[[stratum.firmware]]\nprefix = \"x\"\nextranonce2_size = 3"),
        ("stratum", "[[stratum.firmware]]\nprefix = \"x\"\ndificulty = 3"),
        ("http", "listen = \"0.0.0.0:3333\""),
        ("http", "json = \"yes\""),
        ("data", "dir = \"\""),
        ("failover", "grace = \"soon\""),
        ("failover", "grace = -3"),
        ("failover", "grace = \"1 h\""),
        ("failover", "grace = \"99999999999999999 h\""),
        ("failover", "follow = \"most\""),
        ("failover", "follow = 1"),
        ("payout", "follow = \"first\""),
        ("p2p", "outside = \"on\""),
        ("p2p", "outside = false"),
        ("p2p", "outsde = \"off\""),
        ("node", "outside = \"off\""),
        ("p2p", "peers = 8333"),
        ("p2p", "peers = [8333]"),
        ("p2p", "peers = [\"77.1.2.3\", \"\"]"),
        ("p2p", "peers = \"8333\""),
        ("p2p", "peers = [\"77.1.2.3\", \"tcp://a:geheim@77.1.2.3:8333\"]"),
        ("p2p", "peers = [\"2a01::1:8333\"]"),
        ("p2p", "peers = [\"abcdefgh.onion\"]"),
        (
            "p2p",
            "peers = [\"abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwx.onion:8333\"]",
        ),
        (
            "p2p",
            "peers = [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", \"i\", \"j\", \"k\", \
             \"l\", \"m\", \"n\", \"o\", \"p\", \"q\"]",
        ),
        ("stratum", "reached_at = \"stratum+tcp://192.168.1.20:3333\""),
        ("stratum", "reached_at = \"0.0.0.0:3333\""),
        ("p2p", "proxy = 9050"),
        ("p2p", "proxy = \"socks5://a:geheim@127.0.0.1:9050\""),
        ("p2p", "proxy = \"0.0.0.0:9050\""),
        ("p2p", "dns_seeds = \"yes\""),
        ("mqtt", "broker = 1883"),
        ("mqtt", "broker = \"mqtt://anna:geheim@192.168.1.20\""),
        ("mqtt", "broker = \"192.168.1.20:99999\""),
        ("mqtt", "version = 5"),
        ("mqtt", "version = \"4\""),
        ("mqtt", "topic_prefix = \"a/#\""),
        ("mqtt", "discovery_prefix = \"/ha/\""),
        ("mqtt", "buttons = [\"blink\", \"explode\"]"),
        ("mqtt", "password = \"geheim\""),
        ("mqtt", "tls_cert_path = \"ca.pem\""),
        ("mqtt", "host = \"192.168.1.20\""),
        ("pair", "partner = 3337"),
        ("pair", "partner = \"solo2.local\""),
        ("pair", "partner = \"0.0.0.0\""),
        ("pair", "partner = \"192.168.1.21\""),
        ("pair", "secret = \"12345678\""),
        ("pair", "secret = \"hunter_2\""),
        ("pair", "virtual_address = \"192.168.1.240\""),
        ("pair", "virtual_address = \"192.168.1.255/24\""),
        ("pair", "virtual_address = \"v\""),
        (
            "pair",
            "partner = \"192.168.1.21\"\nsecret = \"7KQ2M-XW4RT-9BZ0C-HJ6PD-V5EY3-8NAFG\"\n\
             virtual_address = \"192.168.1.21/24\"",
        ),
        ("pair", "interface = \"the first one\""),
        ("pair", "listen = \"\""),
        ("update", "feed = true"),
        ("update", "feed = \"example.org/feed.json\""),
        ("update", "feed = \"https://anna:geheim@example.org/feed.json\""),
        ("update", "feed = \"https://example.org/feed.json?box=7\""),
        ("update", "feed = \"https://exa mple.org/feed.json\""),
        ("update", "mode = \"always\""),
        ("update", "mode = true"),
        ("update", "at = \"4:00\""),
        ("update", "at = 4"),
        ("update", "feed = \"http://example.org/feed.json\"\ntls_cert_path = \"ca.pem\""),
        ("update", "hour = \"04:00\""),
        ("payout", "set_version_bits = 4"),
        ("payout", "set_version_bits = [\"4\"]"),
        ("payout", "set_version_bits = [13]"),
        ("payout", "clear_version_bits = [2, 28]"),
        ("payout", "clear_version_bits = [29]"),
        ("payout", "set_version_bits = [32]"),
        ("payout", "set_version_bits = [-1]"),
        ("payout", "set_version_bits = [1, 4]\nclear_version_bits = [4, 0]"),
        ("log", "level = \"loud\""),
        ("http", "hosts = [\"http://solo.example.org\"]"),
        ("http", "hosts = \"solo.example.org:8080\""),
        ("http", "hosts = [\"192.168.1.20\"]"),
        ("http", "hosts = [\"solo .example.org\"]"),
        ("http", "hosts = [8080]"),
        (
            "http",
            "hosts = [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", \"i\", \"j\", \"k\", \
             \"l\", \"m\", \"n\", \"o\", \"p\", \"q\"]",
        ),
        ("http", "embed = \"*\""),
        ("http", "embed = [\"homeassistant.local:8123\"]"),
        ("http", "embed = [\"http://homeassistant.local:8123/lovelace\"]"),
        ("http", "name = \"\""),
        ("http", "pin = 7391"),
        ("http", "pin = \"1234\""),
        // Notifications.
        ("notify", "kind = \"ntfy\""),
        ("node", "chat = 7"),
        ("[notify]", "url = \"https://ntfy.sh/geheim\""),
        ("[notify]", "kind = \"mail\"\nurl = \"https://ntfy.sh/geheim\""),
        ("[notify]", "kind = \"ntfy\""),
        ("[notify]", "kind = \"ntfy\"\nurl = \"geheim.ntfy.sh/x\""),
        ("[notify]", "kind = \"ntfy\"\nurl = \"https://geheim.sh\""),
        ("[notify]", "kind = \"ntfy\"\nurl = 7"),
        ("[notify]", "kind = \"ntfy\"\nurl = \"https://ntfy.sh/x\"\ntoken = \"geheim geheim\""),
        ("[notify]", "kind = \"telegram\"\nchat = 7"),
        ("[notify]", "kind = \"telegram\"\ntoken = \"geheim\"\nchat = 7"),
        ("[notify]", "kind = \"telegram\"\ntoken = \"1:geheim\""),
        (
            "[notify]",
            "kind = \"email\"\nurl = \"geheim.example\"\nfrom = \"a@x.org\"\nto = \"b@x.org\"",
        ),
        ("[notify]", "kind = \"email\"\nurl = \"smtps://x.org\"\nto = \"b@x.org\""),
        (
            "[notify]",
            "kind = \"email\"\nurl = \"smtps://x.org\"\nfrom = \"a@x.org\"\nto = \"geheim\"",
        ),
        (
            "[notify]",
            "kind = \"email\"\nurl = \"smtps://x.org\"\nfrom = \"a@x.org\"\nto = \"b@x.org\"\n\
             password = \"geheim\"",
        ),
        ("[notify]", "kind = \"slack\"\nurl = \"https://x/geheim\"\nblok = true"),
        ("[notify]", "kind = \"slack\"\nurl = \"https://x/geheim\"\nblock = \"yes\""),
        (
            "[notify]",
            "kind = \"slack\"\nurl = \"https://x/geheim\"\nblock = false\nbest = false\n\
             miner = false\nnode = false\ndown = false\nalarm = false\nupdate = false",
        ),
    ];
    let mut story = String::new();
    for (section, line) in cases {
        let problems = build(&with(section, line)).expect_err(line);
        for problem in &problems.0 {
            assert!(problem.instead.ends_with(['.', '?']), "{}", problem.instead);
        }
        story += &format!("[{section}] {}\n  {problems}\n", line.replace('\n', " ⏎ "));
        let said = format!("{problems} {problems:?}");
        assert!(!said.contains("geheim"), "{said}");
        assert!(!said.contains("KwDiBf"), "{said}");
        assert!(!said.contains("12345678"), "{said}");
    }
    insta::assert_snapshot!(story);
}

#[test]
fn a_file_without_anything_and_a_list_of_nodes() {
    let mut story = String::new();
    for text in ["", "[node]\n", "[[node]]\nrpc_url = \"http://a:geheim@b\"\n", "node = 3\n"] {
        story += &format!("{text:?}\n{}\n", build(text).unwrap_err());
    }
    insta::assert_snapshot!(story);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = "[node]\nrpc_url = \"x\"\n\n[payout]\naddress = \"y\"\n\n[log]\nlevel = 3\n";
    let problems = build(text).unwrap_err();
    let lines: Vec<String> = problems.0.iter().map(|problem| problem.at.to_string()).collect();
    assert_eq!(lines, ["soloist.toml:2: ", "soloist.toml:5: ", "soloist.toml:8: "]);
}

#[test]
fn mistakes_on_the_command_line() {
    let flags = |given: &[(&str, &str)]| {
        given.iter().fold(Flags::default(), |flags, (name, value)| flags.with(name, *value))
    };
    let cases = [
        flags(&[]),
        flags(&[("--payout", ADDRESS)]),
        flags(&[("--node", "a:geheim@10.0.0.1")]),
        flags(&[
            ("--node", "http://a:geheim@10.0.0.1"),
            ("--zmq", "28332"),
            ("--node", "http://10.0.0.1"),
            ("--payout", "bc1q"),
            ("--listen", "3333"),
            ("--http", "localhost:80"),
            ("--log", "loud"),
            ("--tag", "ä"),
            ("--outside", "on"),
            ("--peer", "77.1.2.3"),
            ("--peer", "8333"),
            ("--outside-proxy", "socks5://127.0.0.1:9050"),
        ]),
        flags(&[
            ("--node", "http://10.0.0.1"),
            ("--payout", ADDRESS),
            ("--peer", "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwx.onion"),
        ]),
    ];
    let mut story = String::new();
    for flags in cases {
        let problems = config::build(None, &flags, &Surroundings::default()).unwrap_err();
        story += &format!("{problems}\n\n");
        assert!(!format!("{flags:?} {problems:?} {story}").contains("geheim"));
    }
    insta::assert_snapshot!(story);
}

/// A file with every setting and a secret in every place where one can stand.
const FULL: &str = r#"
[node]
rpc_url = "http://anna:S3cr3t@10.0.0.1:8332"
zmq_hashblock_addr = "tcp://10.0.0.1:28332"
rpc_user = "anna"
rpc_pass = "S3cr3t"
name = "attic"
[[node.backup]]
rpc_url = "http://10.0.0.2:8332"
rpc_pass = 'S3cr3t'
rpc_user = "anna"
[payout]
address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
tag = "hello"
[stratum]
listen = ["0.0.0.0:3333", "[::]:3333"]
max_connections = 64
password = "S3cr3t"
[[stratum.firmware]]
prefix = "bitaxe/"
difficulty = 1000.5
[http]
json = false
[failover]
grace = "90 s"
[p2p]
peers = ["77.1.2.3:8333"]
proxy = "127.0.0.1:9050"
[log]
level = "info"
"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Damage of a few characters: an answer, never a panic, and never the secret.
    #[test]
    fn damaged_files_give_no_secret_away(
        damage in prop::collection::vec((0..FULL.len(), "[\\[\\]\"'=#.,{}:/@ \n\\\\a-c0-9\u{e9}]{0,2}", 0usize..3), 1..4)
    ) {
        let mut text: Vec<char> = FULL.chars().collect();
        for (place, new, gone) in damage {
            let place = place.min(text.len());
            let end = (place + gone).min(text.len());
            text.splice(place..end, new.chars());
        }
        let text: String = text.into_iter().collect();
        match build(&text) {
            Ok(built) => {
                let said = format!("{:?}", built.warnings);
                prop_assert!(!said.contains("S3cr3t"), "{said}\n{text}");
            }
            Err(problems) => {
                let said = format!("{problems} {problems:?}");
                prop_assert!(!said.contains("S3cr3t"), "{said}\n{text}");
            }
        }
    }

    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,200}", lines in "(\\[?[a-z.]{0,8}\\]? ?=? ?[\"0-9a-z]{0,8}\n){0,9}") {
        let _ = build(&text);
        let _ = build(&lines);
    }
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once() {
    let text = format!(
        "[node]\nrpc_url = http://a:geheim@10.0.0.1\nrpc_usr = \"a\"\n[payout]\naddress = \"{ADDRESS}\"\n\
         tag = \"{}\"\n[stratum]\nlisten = \"0.0.0.0:3333\nmax_connections = 3\nmax_conections = 3\n\
         [nothing]\nx = 1\n",
        "x".repeat(99)
    );
    let problems = build(&text).unwrap_err().to_string();
    let told: Vec<&str> = problems.lines().collect();
    let lines = [2, 3, 6, 8, 10, 11];
    assert_eq!(told.len(), lines.len(), "{problems}");
    for (told, line) in told.iter().zip(lines) {
        assert!(told.starts_with(&format!("soloist.toml:{line}: ")), "{problems}");
    }
    assert!(!problems.contains("geheim"), "{problems}");
}
