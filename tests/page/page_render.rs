//! What the page says in each state, how large it is, and whether Prometheus can read the metrics.

// A test's helpers may panic.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use soloist::status::html::Miners;
use soloist::status::{
    MinerState, RejectReason, RejectView, Snapshot, State, html, json, metrics, verdict,
};

use crate::sample;

fn page(snapshot: &Snapshot) -> String {
    html::page(snapshot, &verdict(snapshot), Miners::Few)
}

/// The page's text without markup, in one line, with plain spaces.
fn text(snapshot: &Snapshot) -> String {
    strip(&page(snapshot))
}

/// The same of any page.
fn strip(html: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in html.chars() {
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
                "no peers",
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
            &["Mining block 925 114 with 40 miners at 2.15 PH/s.", "40 of 40 mining", "rack-11"],
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
    let both = html::pair(&sample::hostile(), &verdict(&sample::hostile()));
    assert_eq!(both.matches("<script").count(), 1, "our own");
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
    let packed = |text: &str, level| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap().len()
    };
    let assets = packed(html::STYLE, 9) + packed(&html::script(), 9) + packed(html::ICON, 9);
    let home = packed(&page(&sample::home()), 4) + assets;
    assert!(home <= 14_336, "{home} bytes for four miners");
    let mut encrypted = sample::home();
    encrypted.miners.iter_mut().zip(sample::encrypted().miners).for_each(|(a, b)| a.link = b.link);
    let encrypted = packed(&page(&encrypted), 4) + assets;
    assert!(encrypted <= 14_336, "{encrypted} bytes for four miners, three of them encrypted");
    let forty = packed(&page(&sample::forty()), 4) + assets;
    assert!(forty <= 14_336, "{forty} bytes for forty miners");
    // And as it is, for the plainest of readers.
    let plain = page(&sample::home()).len() + html::STYLE.len() + html::script().len();
    assert!(plain <= 45_000, "{plain} bytes");
    eprintln!(
        "first view: {home} bytes packed, {plain} plain; three of four encrypted {encrypted} packed; \
         forty miners {forty} packed"
    );
}

/// In the list, on each miner's page, in the API and in the metrics.
#[test]
fn who_is_encrypted_is_told_and_what_each_miner_speaks() {
    let s = sample::encrypted();
    let told = verdict(&s);
    let list = page(&s);
    let row = |id: &str| {
        let row = list.split(&format!("id=\"m-{id}\"")).nth(1).unwrap();
        row.split("</tr>").next().unwrap().to_owned()
    };
    let own = |id: &str| strip(&html::miner(&s, &told, id, None).unwrap());
    let metrics = metrics::metrics(&s, &told);
    for (id, lock, words, api_says) in [
        (
            "gamma",
            Some("Encrypted: Stratum V2, extended channel"),
            "Speaks Stratum V2 encrypted, extended channel",
            r#"{"protocol":"v2","channel":"extended","encrypted":true}"#,
        ),
        (
            "quad",
            Some("Encrypted: Stratum V2, standard channel"),
            "Speaks Stratum V2 encrypted, standard channel",
            r#"{"protocol":"v2","channel":"standard","encrypted":true}"#,
        ),
        (
            "living-room",
            Some("Encrypted: Stratum V1 in TLS"),
            "Speaks Stratum V1 encrypted by TLS",
            r#"{"protocol":"v1","channel":null,"encrypted":true}"#,
        ),
        ("desk", None, "From 192.168.1.54 Connections", "null"),
    ] {
        // Its title is what a screen reader says.
        let mark = lock.map(|words| format!("<i class=\"lock\" role=\"img\" title=\"{words}\">"));
        assert_eq!(row(id).contains("lock"), lock.is_some(), "{id}: {}", row(id));
        assert!(mark.is_none_or(|mark| row(id).contains(&mark)), "{id}: {}", row(id));
        assert!(own(id).contains(words), "{id}: {}", own(id));
        let api = String::from_utf8(json::miner(&s, id).unwrap()).unwrap();
        assert!(api.contains(&format!("\"link\":{api_says}")), "{api}");
    }
    for (series, count) in [
        (r#"protocol="v1",encrypted="no""#, 0),
        (r#"protocol="v1",encrypted="yes""#, 1),
        (r#"protocol="v2",encrypted="yes""#, 2),
    ] {
        let line = format!("soloist_miners_connected{{{series}}} {count}\n");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    // A miner that is not encrypted is told how it can be, if it can be.
    let mut s = sample::home();
    let own = |s: &Snapshot| html::miner(s, &told, "gamma", None).unwrap();
    assert!(!page(&s).contains("class=\"lock\""));
    assert!(own(&s).contains("not encrypted. <a href=\"/v2\">"), "{}", own(&s));
    s.connect.v2 = None;
    assert!(strip(&own(&s)).contains("Speaks Stratum V1 not encrypted Connections"), "{}", own(&s));
    assert!(!page(&s).contains("/v2"));
    // From the start, without a miner.
    let none = metrics::metrics(&sample::new(), &verdict(&sample::new()));
    assert_eq!(none.matches("\nsoloist_miners_connected{").count(), 3);
}

/// The page that says how, with the key as text and as a QR code of all in one.
#[test]
fn how_to_connect_by_stratum_v2_is_told_in_the_firmwares_words() {
    let mut s = sample::home();
    let told = verdict(&s);
    let key = s.connect.v2.clone().unwrap().authority_key;
    let words = strip(&html::v2(&s, &told));
    for said in [
        "Stratum Host 192.168.1.20 , Stratum Port 3333 , Stratum Protocol Stratum V2",
        "SV2 Channel Type Extended Channels",
        "SV2 Authority Pubkey",
        "SV2 Authority Public Key",
        "SV2: Auth failed - check key",
        "SV2: Auth required - no key",
        "SV2: Pool unreachable",
        "SV2: Pool not responding",
        "SV2: Pool rejected config",
        "SV2: Pool rejected miner",
        "Without a key the connection is encrypted all the same",
        &format!("All in one stratum2+tcp://192.168.1.20:3333/{key}"),
    ] {
        assert!(words.contains(said), "{said}: {words}");
    }
    // In one element, for the button that copies it.
    assert!(html::v2(&s, &told).contains(&format!("<code>{key}</code>")));
    assert!(html::v2_qr(&s).unwrap().contains("viewBox=\"0 0 41 41\""));
    s.connect.v2.as_mut().unwrap().url = None;
    let words = strip(&html::v2(&s, &told));
    assert!(words.contains(&key) && !words.contains("All in one") && html::v2_qr(&s).is_none());
    s.connect.v2 = None;
    assert!(strip(&html::v2(&s, &told)).contains("It is off here"));
}

#[test]
fn while_a_miner_is_gone_whose_shares_count_yet_the_page_says_so() {
    let mut s = sample::home();
    let words = "mining, with what desk sent before";
    assert!(!text(&s).contains("sent before"));
    s.miners[3].state = MinerState::Gone;
    assert!(text(&s).contains(words), "{}", text(&s));
    s.miners[2].state = MinerState::Gone;
    assert!(text(&s).contains("with what 2 miners sent before"), "{}", text(&s));
    for miner in &mut s.miners {
        miner.last_share_at = Some(s.now - 300);
    }
    assert!(!text(&s).contains("sent before"));
}

#[test]
fn where_nobody_knows_when_blocks_come_no_time_is_told() {
    let mut s = sample::found();
    s.blocks[0].confirmations = Some(1);
    assert!(text(&s).contains("spendable in about 16 h 30 min."), "{}", text(&s));
    s.chain = "regtest".to_owned();
    assert!(text(&s).contains("Spendable after 99 more blocks."), "{}", text(&s));
    s.blocks[0].confirmations = Some(99);
    assert!(text(&s).contains("Spendable after one more block."), "{}", text(&s));
}

#[test]
fn of_many_miners_those_that_need_a_look_and_a_dozen_stand_on_the_page_and_the_others_behind_a_press()
 {
    let mut s = sample::forty();
    let rows = |s: &Snapshot, miners| {
        let page = html::page(s, &verdict(s), miners);
        let list = page.split_once("<tbody>").unwrap().1.split_once("</tbody>").unwrap().0;
        let names = list.split("href=\"/miners/").skip(1).map(|row| row.split('"').next().unwrap());
        (names.map(str::to_owned).collect::<Vec<_>>(), page.contains("id=\"find\""), strip(&page))
    };
    let (names, tools, text) = rows(&s, Miners::Few);
    assert_eq!((names.len(), tools), (12, false));
    assert!(text.contains("and 28 more , all mining, 1.51 PH/s together"), "{text}");
    let (names, tools, text) = rows(&s, Miners::All);
    assert_eq!((names.len(), tools), (40, true));
    assert!(!text.contains("more, all mining"), "{text}");
    // Missing, quiet, too slow, or with an alarm of another kind.
    s.miners[20].state = MinerState::Gone;
    s.miners[21].state = MinerState::Quiet;
    s.miners[22].claimed = Some(s.miners[22].rate.hashrate * 3.0);
    s.alarms = vec![soloist::status::AlarmView {
        id: format!("miner_payee:{}", s.miners[23].id),
        text: "It pays somebody else.".to_owned(),
        ..Default::default()
    }];
    let (names, ..) = rows(&s, Miners::Few);
    assert_eq!(names[12..], ["rack-20", "rack-21", "rack-22", "rack-23"]);
    // A press for three is none worth.
    s.miners.truncate(15);
    assert_eq!(rows(&s, Miners::Few).0.len(), 15);
    // What is live follows what is shown.
    let s = sample::forty();
    for (miners, count) in [(Miners::Few, 12), (Miners::All, 40)] {
        let parts = html::sections(&s, &verdict(&s), miners);
        let list = parts.iter().find(|part| part.id == "miners").unwrap();
        assert_eq!(list.rows.len(), count);
    }
}

#[test]
fn live_parts_are_still_when_nothing_happens_but_time() {
    let before = sample::home();
    let mut after = before.clone();
    after.now += 1;
    let render = |s: &Snapshot| html::sections(s, &verdict(s), Miners::Few);
    let (before, after) = (render(&before), render(&after));
    let moved: Vec<&str> = before
        .iter()
        .zip(after.iter())
        .filter(|(a, b)| a != b)
        .map(|(a, _)| a.id.as_str())
        .collect();
    // The chart moves along by a pixel now and then; nothing else.
    assert!(moved.iter().all(|id| *id == "rate"), "{moved:?}");
}

#[test]
fn every_live_part_has_its_place_on_the_page() {
    for (name, snapshot) in sample::all() {
        let page = page(&snapshot);
        for section in html::sections(&snapshot, &verdict(&snapshot), Miners::Few) {
            let id = section.id;
            assert_eq!(page.matches(&format!("id=\"{id}\"")).count(), 1, "{name}: {id}");
        }
    }
}

#[test]
fn a_share_of_one_miner_of_forty_changes_its_row_and_no_other() {
    let before = sample::forty();
    let mut after = before.clone();
    after.miners[7].accepted += 1;
    let section = |s: &Snapshot| {
        html::sections(s, &verdict(s), Miners::Few)
            .into_iter()
            .find(|part| part.id == "miners")
            .unwrap()
    };
    let (a, b) = (section(&before), section(&after));
    assert_eq!(a.frame, b.frame);
    let changed: Vec<_> =
        a.rows.iter().zip(&b.rows).filter(|(a, b)| a != b).map(|(_, b)| b).collect();
    let [row] = changed.as_slice() else { panic!("{} rows", changed.len()) };
    assert_eq!(row.id, "m-rack-07");
    assert!(b.html.contains(&row.html) && !b.frame.contains(&row.html));
    assert!(row.html.len() < 1_500, "{} bytes", row.html.len());
    // A miner that goes away is drawn in another way, so the frame is another one.
    after.miners[7].state = MinerState::Gone;
    assert_ne!(section(&after).frame, a.frame);
}

#[test]
fn a_chart_is_sent_once_a_minute_and_the_figures_above_it_at_once() {
    let before = sample::home();
    let mut after = before.clone();
    after.now += 1;
    after.totals.rate_5m.hashrate *= 2.0;
    after.miners[0].rate.hashrate *= 2.0;
    after.history.day.last_mut().unwrap().hashrate *= 0.5;
    let parts = |s: &Snapshot| {
        let told = verdict(s);
        let home = html::sections(s, &told, Miners::Few);
        let miner = html::miner_sections(s, &told, "gamma", Some(&s.history));
        let is_rate = |part: &html::Section| matches!(part.id.as_str(), "rate" | "m-rate");
        home.into_iter().chain(miner).filter(is_rate).collect::<Vec<_>>()
    };
    let (a, b) = (parts(&before), parts(&after));
    assert_eq!(a.len(), 2);
    after.now += 60;
    for ((a, b), later) in a.iter().zip(&b).zip(parts(&after)) {
        assert_ne!(a.html, b.html);
        assert_eq!(a.frame, b.frame);
        assert_ne!(a.rows, b.rows);
        assert!(b.html.contains(&b.rows[0].html));
        assert_ne!(later.frame, b.frame);
    }
}

/// Where no device tells anything the page is as it was before there were devices.
#[test]
fn heat_and_power_are_drawn_where_they_are_told() {
    let s = sample::heat();
    let miner = |s: &Snapshot| {
        let history = sample::miner_history(s);
        html::miner(s, &verdict(s), "gamma", Some(&history)).unwrap()
    };
    let figures = |page: &str, what: &str| page.matches(&format!("aria-label=\"{what}, ")).count();
    let (all, own) = (page(&s), miner(&s));
    for (what, of_all, of_one) in [("Hashrate", 3, 3), ("Power", 3, 3), ("Hottest chip", 0, 3)] {
        assert_eq!((figures(&all, what), figures(&own, what)), (of_all, of_one), "{what}");
    }
    assert!(text(&s).contains("Power of 3 miners"));
    let words = strip(&own);
    assert!(
        words.contains("Hottest chip; dashed: its mean") && !words.contains("Power of"),
        "{words}"
    );
    assert_eq!(own.matches("path class=\"mean\"").count(), 3);
    let label = own.split("aria-label=\"Hottest chip, 24 hours").nth(1).unwrap();
    let label = label.split('"').next().unwrap();
    assert!(label.starts_with(": between 31\u{202f}°C and 6"), "{label}");
    // On the same axis of time as the hashrate above it, however short it was told.
    let times = |page: &str, what: &str| {
        let before = page.split(&format!("aria-label=\"{what}, All time")).next().unwrap();
        let figure = before.rsplit("<figure").next().unwrap();
        let until = figure.split(" data-top").next().unwrap();
        until.to_owned()
    };
    assert_eq!(times(&own, "Power"), times(&own, "Hashrate"));
    // What is told by one kind alone draws that alone.
    let mut watts = sample::miner_history(&s);
    watts.heat.day.clear();
    watts.heat.month.iter_mut().for_each(|point| point.celsius_max = None);
    watts.heat.all.clear();
    let own = html::miner(&s, &verdict(&s), "gamma", Some(&watts)).unwrap();
    assert_eq!((figures(&own, "Power"), figures(&own, "Hottest chip")), (1, 0));
    assert_eq!(own.matches("Nothing recorded yet.").count(), 2);
    assert!(!html::tv(&s, &verdict(&s)).contains("Power"));
    // Without: not one byte.
    let mut without = s.clone();
    without.history.heat = Default::default();
    assert!(page(&without) == page(&sample::home()));
    for page in [page(&without), miner(&without)] {
        assert!(!["heat", "data-unit", "Power", "Hottest"].iter().any(|word| page.contains(word)));
    }
    // In the API: of a range its own list.
    let told = |range| {
        let bytes = json::history(&s, Some(range)).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        told["heat"].as_array().unwrap().len()
    };
    assert_eq!((told("day"), told("month"), told("all")), (138, 120, 20));
}

#[test]
fn of_devices_under_one_name_each_is_shown_and_of_those_that_mine_elsewhere_what_they_cost() {
    let s = sample::devices();
    let told = verdict(&s);
    let own = |id: &str| strip(&html::miner(&s, &told, id, None).unwrap());
    let quad = own("quad");
    assert!(quad.contains("2 devices mine under this name"), "{quad}");
    let [paused, twin] = [&s.devices[1], &s.devices[5]];
    for device in [paused, twin] {
        assert!(quad.contains(&device.address), "{} in {quad}", device.address);
    }
    assert!(!own("gamma").contains("mine under this name"));
    // In the list: the hottest of them, and what they need together.
    let power = paused.watts.unwrap() + twin.watts.unwrap();
    let hottest = paused.chip_c.unwrap().max(twin.chip_c.unwrap());
    let list = text(&s);
    assert!(list.contains(&format!(", {hottest:.0} °C, {power:.1} W")), "{list}");
    // One that mines elsewhere pays for other chances.
    let sum = s.power.as_ref().unwrap();
    assert!(sum.watts_here < sum.watts && sum.watts_here > 0.0, "{sum:?}");
    let cost = sum.cost.as_ref().unwrap();
    let amount = |amount| strip(&cost.amount(amount));
    let here = format!("a month; {} a day of it here, for a chance of", amount(cost.day_here));
    assert!(list.contains(&here), "{here} in {list}");
    let block = amount(cost.block(&soloist::status::odds(&s).unwrap()).unwrap());
    assert!(list.contains(&format!("a block costs {block} of power")), "{list}");
}

#[test]
fn a_miners_page_is_live_and_loads_itself_again_when_the_miner_is_forgotten() {
    let s = sample::home();
    let told = verdict(&s);
    let page = html::miner(&s, &told, "gamma", Some(&s.history)).unwrap();
    assert!(page.contains("data-live=\"?miner=gamma\""));
    assert!(page.contains("v2.13.1"), "its firmware's version");
    let parts = html::miner_sections(&s, &told, "gamma", Some(&s.history));
    assert_eq!(parts.len(), 4);
    for part in &parts {
        assert_eq!(page.matches(&format!("id=\"{}\"", part.id)).count(), 1, "{}", part.id);
    }
    let mut after = s.clone();
    after.miners[0].accepted += 1;
    let moved = html::miner_sections(&after, &told, "gamma", Some(&s.history));
    let moved = moved.iter().zip(&parts).filter(|(a, b)| a != b).map(|(a, _)| a.id.as_str());
    assert_eq!(moved.collect::<Vec<_>>(), ["m-shares"]);
    let gone = html::miner_sections(&s, &told, "nobody", None);
    assert!(!gone.is_empty() && gone.iter().all(|part| !page.contains(&part.id)));
}

/// The part of the page about both boxes, and their own page, as a reader sees them.
fn pair_texts(snapshot: &Snapshot) -> (String, String) {
    let sections = html::sections(snapshot, &verdict(snapshot), Miners::Few);
    let part = sections.iter().find(|section| section.id == "pair");
    let page = html::pair(snapshot, &verdict(snapshot));
    (part.map_or_else(String::new, |part| strip(&part.html)), strip(&page))
}

#[test]
fn both_boxes_stand_on_one_page_and_which_one_serves() {
    let s = sample::pair();
    let (part, own_page) = pair_texts(&s);
    for words in [
        "This box has the address attic",
        "The other box stands by cellar",
        "block 925 114",
        "2 miners",
        "2.40 TH/s",
    ] {
        assert!(part.contains(words), "{words}: {part}");
    }
    assert!(!part.contains("payout"), "there is nothing to say of it: {part}");
    for words in [
        "This box serves the miners, and the other one stands by.",
        "The connection was lost once since the start.",
        "after 1.4 s, and the miners were there 2.2 s later at most.",
        "version 0.2.0 (1a2b3c4)",
        // Both together.
        "Miners 6 Hashrate 14.5 TH/s",
        "Best share 750 G",
        "1 on the way",
        "Both boxes pay the same address",
        "Every block of this box that is not final is on the other box's card as well.",
    ] {
        assert!(own_page.contains(words), "{words}: {own_page}");
    }
    let page = html::pair(&s, &verdict(&s));
    assert!(page.contains("href=\"http://192.168.1.21/\""), "no way to the other box's page");

    let s = sample::pair_away();
    let (part, own_page) = pair_texts(&s);
    for words in
        ["The other box not connected cellar last seen", "waits until the other box is connected"]
    {
        assert!(part.contains(words), "{words}: {part}");
    }
    for words in [
        "This box serves the miners, and is alone.",
        "The other box, cellar, is not connected",
        "attic is older than cellar and skips what that tells beyond blocks",
        "61 min fast",
        "One block of this box waits to be kept by the other box too.",
        "A new address was entered at the other box",
        "The other box's part is of when it was last seen.",
    ] {
        assert!(own_page.contains(words), "{words}: {own_page}");
    }
}

#[test]
fn without_a_partner_nothing_of_a_pair_is_shown_or_measured() {
    let s = sample::home();
    assert_eq!(pair_texts(&s).0, "");
    assert!(!page(&s).contains("Two boxes") && !page(&s).contains("/pair"));
    assert!(!metrics::metrics(&s, &verdict(&s)).contains("soloist_pair"));
    let alone = strip(&html::pair(&s, &verdict(&s)));
    assert!(alone.contains("This box is one by itself"), "{alone}");
    let told = metrics::metrics(&sample::pair(), &verdict(&sample::pair()));
    for line in ["soloist_pair_connected 1", "soloist_pair_active 1", "soloist_pair_other_ready 1"]
    {
        assert!(told.lines().any(|known| known == line), "{line}: {told}");
    }
    // What the other box said before it went is no measurement.
    let away = metrics::metrics(&sample::pair_away(), &verdict(&sample::pair_away()));
    assert!(away.contains("soloist_pair_connected 0") && !away.contains("soloist_pair_other"));
}

#[test]
fn which_box_serves_is_told_in_every_case() {
    let told = |own, other, ready| {
        let mut s = sample::pair();
        let pair = s.pair.as_mut().unwrap();
        pair.own.active = own;
        let other_box = pair.other.as_mut().unwrap();
        (other_box.active, other_box.ready) = (other, ready);
        pair_texts(&s).1
    };
    let (yes, no) = (Some(true), Some(false));
    for (own, other, ready, words) in [
        (yes, no, yes, "This box serves the miners, and the other one stands by."),
        (yes, no, no, "This box serves the miners, and the other one is not ready."),
        (no, yes, yes, "The other box serves the miners, and this one stands by."),
        (yes, yes, yes, "Both boxes have the address of the miners."),
        (no, no, yes, "Neither box has the address of the miners."),
    ] {
        let page = told(own, other, ready);
        assert!(page.contains(words), "{words}: {page}");
    }
    let mut s = sample::pair();
    s.pair.as_mut().unwrap().virtual_address = None;
    assert!(pair_texts(&s).1.contains("Two boxes, without an address that moves."));
}

#[test]
fn the_page_about_both_boxes_is_live_and_loads_itself_again_when_the_other_one_is_forgotten() {
    let s = sample::pair();
    let told = verdict(&s);
    let page = html::pair(&s, &told);
    let parts = html::pair_sections(&s, &told);
    for part in &parts {
        assert_eq!(page.matches(&format!("id=\"{}\"", part.id)).count(), 1, "{}", part.id);
    }
    let mut later = s.clone();
    later.now += 1;
    assert_eq!(html::pair_sections(&later, &told), parts, "nothing happened but time");
    later.pair.as_mut().unwrap().other.as_mut().unwrap().miners += 1;
    let moved = html::pair_sections(&later, &told);
    let moved = moved.iter().zip(&parts).filter(|(a, b)| a != b).map(|(a, _)| a.id.as_str());
    assert_eq!(moved.collect::<Vec<_>>(), ["pair-other"]);
    let gone = html::pair_sections(&sample::home(), &told);
    assert!(!gone.is_empty() && gone.iter().all(|part| !page.contains(&part.id)));
}

#[test]
fn no_address_stands_on_a_page_where_it_could_not_be_hidden() {
    let mut pages = Vec::new();
    for (name, mut s) in sample::all() {
        let address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
        let words = format!("It pays {address}.");
        s.alarms.push(soloist::status::AlarmView { text: words.clone(), ..Default::default() });
        if let Some(event) = s.events.first_mut() {
            event.text.clone_from(&words);
        }
        if let Some(miner) = s.miners.first_mut() {
            miner.name = format!("{address}.other");
        }
        let told = verdict(&s);
        pages.push((name, page(&s)));
        pages.push((name, html::tv(&s, &told)));
        pages.push((name, html::blocks(&s, &told)));
        pages.push((name, html::v2(&s, &told)));
        pages.push((name, html::pair(&s, &told)));
        for part in html::sections(&s, &told, Miners::Few) {
            pages.push((name, part.html));
            pages.extend(part.rows.into_iter().map(|row| (name, row.html)));
        }
        for miner in &s.miners {
            pages.extend(html::miner(&s, &told, &miner.id, None).map(|page| (name, page)));
        }
    }
    for (name, page) in pages {
        for (at, _) in
            page.match_indices("bc1q").filter(|(at, _)| !page[*at..].starts_with("bc1q<"))
        {
            let before = &page[..at];
            // In a title there is no element, and the title is what the reader's own browser shows.
            let hidden = before.ends_with("<span class=\"own\">")
                || before.rfind("<title>") > before.rfind("</title>");
            let word = page[at..].split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap();
            assert!(hidden || word.len() < 26, "{name}: {}", &page[at.saturating_sub(80)..at + 60]);
        }
    }
}

#[test]
fn a_fresh_box_tells_the_miners_that_knock_already() {
    let mut s = sample::new();
    assert!(!page(&s).contains("id=\"miners\""));
    s.knocking = sample::home().knocking;
    s.knocking.push(soloist::status::RefusedPeerView {
        address: "192.168.1.77".to_owned(),
        at: s.now,
        times: 3,
        why: "This box is not set up yet.".to_owned(),
    });
    let text = text(&s);
    assert!(text.contains("192.168.1.77") && text.contains("not set up yet"), "{text}");
}

#[test]
fn numbers_and_words_are_a_native_speakers() {
    // On a test chain every share may be enough for a block.
    let mut s = sample::home();
    s.totals.best = 1.1;
    s.totals.rate_1h.hashrate = 1e12;
    s.totals.work_since_block = 340.0;
    if let Some(job) = &mut s.job {
        job.difficulty = 1.0;
        job.transactions = 2;
    }
    for share in &mut s.best_shares {
        (share.difficulty, share.network_difficulty) = (1.1, 1.0);
    }
    let text = text(&s);
    for words in [
        "Best share so far 1.1 enough for a block",
        "A block today nearly certain",
        "340 times what a block takes on average",
        "in fees of 1 transaction,",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("110 %") && !text.contains("(s)"), "{text}");
    // Who fixed a difficulty.
    s.miners[0].difficulty_locked = true;
    let told = |s: &Snapshot| html::miner(s, &verdict(s), "gamma", None).unwrap();
    assert!(told(&s).contains("fixed by you"));
    s.miners[0].difficulty_by_password = true;
    assert!(told(&s).contains("fixed by the miner's own password"), "{}", told(&s));
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
