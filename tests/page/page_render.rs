//! What the page says in each state, how large it is, and whether Prometheus can read the metrics.

// A test's helpers may panic.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use soloist::status::{RejectReason, RejectView, Snapshot, State, html, metrics, verdict};

use crate::sample;

fn page(snapshot: &Snapshot) -> String {
    html::page(snapshot, &verdict(snapshot))
}

/// The page's text without markup, in one line, with plain spaces.
fn text(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in page(snapshot).chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                out.push(' ');
            }
            '\u{202f}' if !inside => out.push(' '),
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn each_state_tells_a_first_time_reader_what_goes_on() {
    let states: [(Snapshot, State, &[&str]); 14] = [
        (
            sample::home(),
            State::Ok,
            &[
                "Mining block 925 114 with 4 miners at 12.1 TH/s.",
                "3.1387 4126 BTC",
                "bc1q ar0s rrr7 xfkv y5l6 43ly dnw9 re59 gtzz wf5m dq",
                "would take our block",
                "98 % of its claim",
                "1 in 630 000",
                "User, in every miner bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq .gamma",
                "58 addresses are known; a block that none of your nodes shows within 2 s is offered \
                 to 8 of them.",
                // 459 × 2016 = 925 344.
                "Difficulty changes in 230 blocks",
            ],
        ),
        (
            sample::new(),
            State::Down,
            &["Not set up yet.", "Enter your payout address and your node.", "192.168.1.20"],
        ),
        (
            sample::no_node(),
            State::Down,
            &[
                "None of the 2 nodes answers.",
                "Check that the nodes run and that this box reaches them.",
                "Until then the miners are on their second pool",
                "Node attic does not answer: nothing listens at its port (connection refused).",
                "connection refused",
                "was on block 925 113",
            ],
        ),
        (
            sample::syncing(),
            State::Down,
            &[
                "Waiting for node attic, which is downloading the chain: 731 206 of 925 113 \
                 blocks, 73 % done.",
                "mining starts by itself when it is ready, in about 19 h",
                "73 % downloaded, about 19 h to go",
                "192.168.1.51",
                "Nobody mines now",
            ],
        ),
        (
            sample::unusable(),
            State::Down,
            &[
                "Node attic cannot be used now: it refuses our user or password (HTTP 401). The \
                 miners have the last job for 74 s yet.",
                "Compare rpc_user and rpc_pass",
                "attic cannot be used 192.168.1.10:8332",
            ],
        ),
        (
            sample::lonely(),
            State::Down,
            &[
                "Waiting for node attic, which has no peers.",
                "Check its internet connection: mining starts by itself when it has a peer.",
                "has no peers",
                "0 peers",
            ],
        ),
        (
            sample::clocks(),
            State::Degraded,
            &[
                "with 2 things to look at",
                "The clock of node attic is 3 h fast, so it leads only when no other can: others \
                 refuse its blocks.",
                "on Linux: timedatectl set-ntp true.",
                "clock is wrong",
                "clock 3 h fast",
                "Node cellar takes no transactions from others, so its blocks carry no fees.",
                "Remove blocksonly=1 from its bitcoin.conf and restart it.",
                "Blocks carry the node's time, so mining is safe.",
            ],
        ),
        (
            sample::lagging(),
            State::Degraded,
            &[
                "with 2 things to look at",
                "Node cellar is 3 blocks behind.",
                "Miner quad is connected but has sent no share for 15 min.",
                "Another payout address than yours stands in the user of desk.",
            ],
        ),
        (
            sample::outside(),
            State::Ok,
            &[
                "59 addresses are known, and reached by your proxy; a block that none of your nodes \
                 shows within 2 s is offered to 8 of them.",
                "They are on the same block as your nodes.",
                "77.1.2.3:8333 , block 925 113 /Satoshi:29.1.0/Knots:20250903/",
                ".onion:8333 , being connected",
            ],
        ),
        (
            sample::behind(),
            State::Degraded,
            &[
                "at 12.1 TH/s, but the network is 3 blocks ahead.",
                "Your nodes have been standing at block 925113 for 31 minutes; the network is at \
                 925116 (by 3 of 3 outside nodes).",
                "Ahead of your nodes: 3 of 3.",
                "block 925 116, 3 ahead",
                "Work 12 s old on an old block",
            ],
        ),
        (
            sample::split(),
            State::Degraded,
            &[
                "with 2 things to look at",
                "Node cellar goes by other rules than another of yours.",
                "It has refused block 925111",
                "It votes by version bit 2, bit 4 (reduced_data), set by you.",
                "Version bit 2 stays set although the settings clear it: node attic takes no block \
                 without it.",
            ],
        ),
        (
            sample::one_miner(),
            State::Ok,
            &[
                "Mining block 925 114 with one miner at 1.30 TH/s.",
                "≈ 1.30 TH/s",
                "This is the only node",
            ],
        ),
        (
            sample::forty(),
            State::Ok,
            &["Mining block 925 114 with 40 miners at 2.16 PH/s.", "40 of 40 mining", "rack-39"],
        ),
        (
            sample::found(),
            State::Ok,
            &[
                "Block found",
                "solved by gamma",
                "3 of 100 confirmations",
                "cellar : duplicate",
                "It stands beside another block of the same height.",
                "asked for by 3 outside nodes after 2.3 s, shown by 2 after 4.1 s",
                "asked for by one outside node",
                "Every node refused it: time-too-new.",
                "set the clocks by NTP",
            ],
        ),
    ];
    for (snapshot, state, phrases) in states {
        assert_eq!(verdict(&snapshot).state, state);
        let text = text(&snapshot);
        assert!(text.contains(state.word()));
        for phrase in phrases {
            let there = text.contains(phrase) || text.contains(&phrase.replace(" :", ":"));
            assert!(there, "“{phrase}” is missing in: {text}");
        }
    }
}

#[test]
fn a_node_is_not_called_up_to_date_while_the_network_is_ahead() {
    assert!(text(&sample::outside()).contains("block 925 113, up to date"));
    let behind = text(&sample::behind());
    assert!(
        !behind.contains("up to date") && !behind.contains("Node cellar is behind"),
        "{behind}"
    );
}

#[test]
fn the_page_says_in_both_modes_where_the_money_goes() {
    let all = "The money goes to you whatever the miner sends.";
    let own = "A miner whose user begins with another Bitcoin address pays that address; all others pay \
               you.";
    let itself = "A miner whose user begins with an address is paid there for its own block.";
    let home = text(&sample::home());
    assert!(home.contains(all) && !home.contains(own) && !home.contains(itself), "{home}");
    let per_miner = sample::per_miner();
    let page = text(&per_miner);
    assert!(page.contains(own) && page.contains(itself) && !page.contains(all), "{page}");
    let miner = html::miner(&per_miner, &verdict(&per_miner), "2", None).unwrap();
    assert!(miner.contains("Its block pays") && miner.contains("<span>w508</span>"), "{miner}");
}

#[test]
fn shares_that_were_on_their_way_stand_beside_the_rejected_ones() {
    let mut snapshot = sample::one_miner();
    let reject = |reason, count| RejectView { reason, count };
    let mut shown = |rejects: &[RejectView]| {
        snapshot.miners[0].rejects = rejects.to_vec();
        text(&snapshot)
    };
    let (on_way, late) =
        (reject(RejectReason::StaleAtChange, 23), reject(RejectReason::Stale, 12_000));
    assert!(shown(&[on_way]).contains("none rejected, 23 at a change"));
    assert!(shown(&[late, on_way]).contains("12 000 rejected (too late), 23 at a change"));
    assert!(shown(&[late]).contains("12 000 rejected (too late) "));
}

#[test]
fn what_strangers_send_is_shown_as_text() {
    let page = page(&sample::hostile());
    let words = text(&sample::hostile());
    assert!(words.contains(
        "12 345 connections to the miners' port that said nothing were closed to make room, most \
         from 192.168.1.66"
    ));
    assert!(words.contains("1 connection to this page that only held its place was closed"));
    assert_eq!(page.matches("<script").count(), 1, "our own");
    assert!(page.contains("<small>/&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
}

#[test]
fn what_stands_at_a_publishers_address_is_told_with_its_remedy() {
    use soloist::node::ZmqState;
    let shown = |state, heard| {
        let mut snapshot = sample::home();
        snapshot.nodes[0].zmq_state = Some(state);
        snapshot.nodes[0].zmq = heard;
        text(&snapshot)
    };
    let (live, waiting) = (soloist::status::ZmqNews::Live, soloist::status::ZmqNews::Waiting);
    assert!(shown(ZmqState::Connected, live).contains("tells of blocks by ZMQ"));
    assert!(shown(ZmqState::Connected, waiting).contains("ZMQ connected, nothing heard yet"));
    for (state, words) in [
        (ZmqState::Refused, "ZMQ cannot be reached"),
        (ZmqState::NoPublisher, "no ZMQ publisher answers"),
        (ZmqState::NameUnknown, "ZMQ's name is unknown"),
    ] {
        let text = shown(state, live);
        let address = "tcp://192.168.1.10:28332";
        let whole = format!("{} {}", state.sentence(address), state.remedy(address).unwrap());
        assert!(text.contains(words) && text.contains(&whole), "{text}");
        assert!(!text.contains("tells of blocks by ZMQ"), "{text}");
    }
}

#[test]
fn the_first_view_is_small() {
    // As it goes over the wire: every browser takes gzip.
    let packed = |text: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(3));
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap().len()
    };
    let assets = packed(html::STYLE) + packed(&html::script());
    let home = packed(&page(&sample::home())) + assets;
    assert!(home <= 15_000, "{home} bytes for four miners");
    let forty = packed(&page(&sample::forty())) + assets;
    assert!(forty <= 15_000, "{forty} bytes for forty miners");
    // And as it is, for the plainest of readers.
    let plain = page(&sample::home()).len() + html::STYLE.len() + html::script().len();
    assert!(plain <= 37_000, "{plain} bytes");
    eprintln!("first view: {home} bytes packed, {plain} plain; forty miners {forty} packed");
}

#[test]
fn live_parts_are_still_when_nothing_happens_but_time() {
    let before = sample::home();
    let mut after = before.clone();
    after.now += 1;
    let render = |s: &Snapshot| html::sections(s, &verdict(s));
    let moved: Vec<&str> = render(&before)
        .iter()
        .zip(render(&after).iter())
        .filter(|(a, b)| a != b)
        .map(|(a, _)| a.id)
        .collect();
    // The chart moves along by a pixel now and then; nothing else.
    assert!(moved.iter().all(|id| *id == "rate"), "{moved:?}");
}

#[test]
fn every_live_part_has_its_place_on_the_page() {
    for (name, snapshot) in sample::all() {
        let page = page(&snapshot);
        for section in html::sections(&snapshot, &verdict(&snapshot)) {
            let id = section.id;
            assert_eq!(page.matches(&format!("id=\"{id}\"")).count(), 1, "{name}: {id}");
        }
    }
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    for (name, snapshot) in sample::all() {
        let page = page(&snapshot);
        for what in ["http://", "https://", "src=\"//", "style=\"", "onclick=", "javascript:"] {
            assert!(!page.contains(what), "{name}: {what}");
        }
    }
}

#[test]
fn prometheus_reads_the_metrics_of_every_state() {
    if Command::new("promtool").arg("--version").output().is_err() {
        eprintln!("SKIPPED: promtool is not installed (Debian package prometheus)");
        return;
    }
    for (name, snapshot) in sample::all() {
        let text = metrics::metrics(&snapshot, &verdict(&snapshot));
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.trim().is_empty(), "{name}: {said}");
    }
    let series = metrics::metrics(&sample::home(), &verdict(&sample::home()));
    let families = series.lines().filter(|line| line.starts_with("# TYPE")).count();
    assert!(families >= 40, "{families} families");
}

/// Every series that the alert rules and the dashboard name is one that we serve.
#[test]
fn alerts_and_dashboard_name_only_what_exists() {
    let served: String = sample::all()
        .iter()
        .map(|(_, snapshot)| metrics::metrics(snapshot, &verdict(snapshot)))
        .collect();
    let served: std::collections::HashSet<&str> = served
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    for file in ["alerts.yml", "grafana.json"] {
        let path = format!("{}/docs/monitoring/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let mut named = 0;
        for (at, _) in text.match_indices("soloist_") {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let name = text[at..].split(|c| !word(c)).next().unwrap();
            assert!(served.contains(name), "{file}: {name} is not served");
            named += 1;
        }
        assert!(named >= 15, "{file} names {named} series only");
    }
    if Command::new("promtool").arg("--version").output().is_err() {
        eprintln!("SKIPPED: promtool is not installed (Debian package prometheus)");
        return;
    }
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/monitoring/alerts.yml");
    let output = Command::new("promtool").args(["check", "rules", rules]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
