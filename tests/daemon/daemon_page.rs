//! What the whole program tells its owner, and what the owner can change while it mines. A real
//! node, the real daemon and a miner.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use soloist::ledger::transfer;

use crate::common::daemon::{Browser, Daemon, Miner, PAYOUT, node_entries, patient};
use crate::common::fault::{Fault, FaultProxy};
use crate::common::node::{Kind, RealNode};
use crate::common::sink::Sink;
use crate::common::wait_for;

/// A node with segwit active.
fn node() -> Option<RealNode> {
    let node = RealNode::core().or_else(RealNode::bcoin)?;
    node.generate(if node.kind == Kind::Bcoin { 440 } else { 2 });
    Some(node)
}

/// A mail server without encryption, that keeps what it is sent.
struct PostOffice {
    url: String,
    letters: mpsc::Receiver<String>,
}

impl PostOffice {
    fn start() -> PostOffice {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let (sender, letters) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let say = |stream: &mut BufReader<std::net::TcpStream>, line: &str| {
                    stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).ok();
                };
                say(&mut stream, "220 test");
                let (mut letter, mut inside, mut line) = (String::new(), false, String::new());
                while stream.read_line(&mut line).unwrap_or(0) > 0 {
                    match line.trim_end() {
                        "." => {
                            inside = false;
                            say(&mut stream, "250 taken");
                            sender.send(std::mem::take(&mut letter)).ok();
                        }
                        text if inside => letter = letter + text + "\n",
                        "DATA" => {
                            inside = true;
                            say(&mut stream, "354 go on");
                        }
                        "QUIT" => say(&mut stream, "221 bye"),
                        _ => say(&mut stream, "250 fine"),
                    }
                    line.clear();
                }
            }
        });
        PostOffice { url, letters }
    }

    /// Waits for a letter with these words.
    fn hears(&self, words: &str) -> String {
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let letter = self.letters.recv_timeout(left);
            let letter = letter.unwrap_or_else(|_| panic!("no letter with '{words}'"));
            if letter.contains(words) {
                return letter;
            }
        }
    }
}

#[test]
fn a_webhook_hears_of_a_block_and_of_another_leader_and_a_dead_one_costs_nothing() {
    let Some(node) = node() else { return };
    let (first, second) = (FaultProxy::start(node.address()), FaultProxy::start(node.address()));
    let nodes = node_entries(&[
        node.config_through(first.address()),
        soloist::rpc::NodeConfig { name: "cellar".into(), ..node.config_through(second.address()) },
    ]);
    let mut daemon = Daemon::start(&nodes);
    daemon.wait_ready();
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");

    // Named while it runs: one that listens, one where nobody is, one that never answers.
    let sink = Sink::start();
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let hook = |url: &str| format!("[[notify]]\nkind = \"webhook\"\nurl = \"{url}\"\n");
    let more = hook(&sink.url)
        + &hook("http://127.0.0.1:1/")
        + &hook(&format!("http://{}/", mute.local_addr().unwrap()));
    // The same by mail: one that takes it, one where nobody is.
    let office = PostOffice::start();
    let mail = |url: &str| {
        format!(
            "[[notify]]\nkind = \"email\"\nurl = \"{url}\"\nfrom = \"box@example.org\"\n\
             to = \"Anna <anna@example.org>\"\n"
        )
    };
    let more = more + &mail(&office.url) + &mail("smtp://127.0.0.1:1");
    daemon.configure(&nodes, &more);
    daemon.signal(Signal::SIGHUP);
    wait_for("the reload", || daemon.log().contains("Notifications go to").then_some(()));

    let (answer, hash) = miner.mine_and_go_on();
    assert_eq!(answer["result"], true, "{answer}");
    wait_for("the node to have the block", || (node.tip().to_string() == hash).then_some(()));
    let post = sink.hears("Block found");
    assert_eq!((&post["topic"], &post["name"]), (&"block".into(), &"Soloist".into()));
    assert!(post["text"].as_str().unwrap().contains("anna"), "{post}");
    let letter = office.hears("Subject: Soloist: Block found");
    assert!(letter.contains("anna@example.org") && letter.contains("in the chain"), "{letter}");

    // What was measured on the way, and the block as the node has it.
    let block = node.call("getblock", serde_json::json!([hash]));
    let shown = wait_for("the block's page", || {
        Some(daemon.blocks()).filter(|blocks| blocks.first().is_some_and(|b| b["txid"] != ""))
    });
    assert_eq!(shown[0]["txid"], block["tx"][0]);
    let metrics = daemon.text("/metrics");
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} in\n{metrics}")).parse().unwrap()
    };
    let rtt = metrics.lines().find(|line| line.starts_with("soloist_miner_rtt_seconds{"));
    let rtt: f64 = rtt.and_then(|line| line.rsplit_once(' ')).unwrap().1.parse().unwrap();
    assert!(rtt > 0.0 && rtt < 5.0, "{rtt}");
    let anna = daemon.get("/api/miners").unwrap()["miners"][0].clone();
    assert_eq!(anna["connects"], 1, "{anna}");
    let page = daemon.text(&format!("/miners/{}", anna["id"].as_str().unwrap()));
    assert!(page.contains("Round trip"), "{page}");
    assert!(value("soloist_tip_to_job_seconds_count") >= 2.0);
    assert!(value("soloist_notify_fanout_seconds_count") >= 1.0);
    assert!(value("soloist_share_answer_seconds_count") >= 1.0);
    assert!(value("soloist_loop_lag_p99_seconds") < 60.0);
    assert!(value("soloist_box_disk_free_bytes") > 0.0);
    assert!(value("soloist_storage_size_bytes") > 0.0);

    first.set(Fault::Refuse);
    let post = sink.hears("Another node leads");
    assert!(office.hears("Another node leads").contains("cellar"));
    assert!(post["text"].as_str().unwrap().contains("cellar"), "{post}");

    // The other two are said to fail, and the miner has noticed nothing.
    let (answer, _) = miner.mine_and_go_on();
    assert_eq!(answer["result"], true, "{answer}");
    assert!(daemon.is_running());
    assert!(daemon.log().contains("A notification was not sent"), "{}", daemon.log());

    // Taken away again: nobody is told any more.
    daemon.configure(&nodes, "");
    daemon.signal(Signal::SIGHUP);
    wait_for("the second reload", || {
        (daemon.log().matches("Notifications go to").count() == 2).then_some(())
    });
    sink.posts.try_iter().for_each(drop);
    first.set(Fault::Pass);
    let (answer, _) = miner.mine_and_go_on();
    assert_eq!(answer["result"], true, "{answer}");
    assert!(sink.posts.recv_timeout(Duration::from_secs(8)).is_err());
}

fn says(miner: &Miner, words: &str) -> bool {
    let coinbase = format!("{}{}", miner.job[2].as_str().unwrap(), miner.job[3].as_str().unwrap());
    coinbase.contains(&faster_hex::hex_string(words.as_bytes()))
}

#[test]
fn the_owner_changes_the_tag_while_a_miner_works_and_takes_it_back() {
    let Some(node) = node() else { return };
    let mut daemon = Daemon::start(&node_entries(&[node.config()]));
    daemon.wait_ready();
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    assert!(says(&miner, "/Soloist/"));
    let page = daemon.text("/settings");
    assert!(page.contains("has no PIN"), "{page}");

    // The owner writes a PIN into the file, and a comment that must stay.
    daemon.edit(|text| text.replace("[http]", "# my page\n[http]\npin = \"7391x\""));
    daemon.signal(Signal::SIGHUP);
    let mut browser = Browser { daemon: &daemon, cookie: String::new() };
    wait_for("the page to ask for the PIN", || {
        thread::sleep(Duration::from_millis(200));
        browser.settings().contains("action=\"/login\"").then_some(())
    });
    assert_eq!(browser.post("/login", "pin=1111x").status_code, 403);
    assert_eq!(browser.post("/login", "pin=7391x").status_code, 303);
    let token = browser.token();
    let page = browser.settings();
    let url = node.config().url.trim_end_matches('/').to_owned();
    assert!(page.contains(&url) && !page.contains("only for tests"), "{page}");

    let user = page.split_once("name=\"user0\" value=\"").unwrap().1;
    let user = user.split('"').next().unwrap().to_owned();
    let form = |payout: &str, tag: &str, step: &str| {
        format!(
            "token={token}&name=attic&payout={payout}&tag={tag}&url0={url}&user0={user}&p2p0=off&{step}"
        )
    };
    // What cannot be is refused, in words, and what is shown is not yet done.
    let before = std::fs::read_to_string(daemon.config()).unwrap();
    let long = browser.post("/settings", &form(PAYOUT, &"x".repeat(80), "step=save"));
    assert!(long.as_str().unwrap().contains("Remove at least 18 characters"));
    let shown = browser.post("/settings", &form(PAYOUT, "Anna+was+here", ""));
    let shown = shown.as_str().unwrap();
    assert!(shown.contains("Words in the block: Soloist becomes Anna was here."), "{shown}");
    assert!(shown.contains("answers: chain regtest"), "{shown}");
    assert!(shown.contains("The block says: /Anna was here/ (15 of 64 bytes)"), "{shown}");
    assert_eq!(std::fs::read_to_string(daemon.config()).unwrap(), before);

    assert_eq!(
        browser.post("/settings", &form(PAYOUT, "Anna+was+here", "step=save")).status_code,
        303
    );
    miner.wait_job();
    assert!(says(&miner, "/Anna was here/") && !says(&miner, "/Soloist/"));
    let (answer, hash) = miner.mine_and_go_on();
    assert_eq!(answer["result"], true, "{answer}");
    wait_for("the node to have the block", || (node.tip().to_string() == hash).then_some(()));
    let block = node.call("getblock", serde_json::json!([hash, 0]));
    assert!(block.as_str().unwrap().contains(&faster_hex::hex_string(b"/Anna was here/")));
    let saved = std::fs::read_to_string(daemon.config()).unwrap();
    assert!(saved.contains("# my page") && saved.contains("tag = \"Anna was here\""), "{saved}");
    let page = daemon.text("/");
    assert!(page.contains("attic") && page.contains("Anna was here"), "{page}");

    // Taken back, on the same connection.
    assert_eq!(browser.post("/settings", &format!("token={token}&step=undo")).status_code, 303);
    miner.wait_job();
    assert!(says(&miner, "/Soloist/"));
    assert!(browser.settings().contains("value=\"Soloist\""));

    // Another address waits, is shown, and is cancelled.
    let other = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    let answer = browser.post("/settings", &form(other, "Soloist", "step=save"));
    assert_eq!(answer.status_code, 303, "{}", answer.as_str().unwrap());
    assert!(browser.settings().contains("value=\"cancel\""));
    assert_eq!(daemon.status().unwrap()["payout"]["address"], PAYOUT);
    browser.post("/settings", &format!("token={token}&step=cancel"));
    assert!(!browser.settings().contains("value=\"cancel\""));

    // Another PIN: the old one does not stay in the file.
    let form = format!("token={token}&pin=8264y&pin2=8264y");
    assert_eq!(browser.post("/pin", &form).status_code, 303);
    let saved = std::fs::read_to_string(daemon.config()).unwrap();
    assert!(saved.contains("pin = \"argon2id:") && !saved.contains("7391x"), "{saved}");
    assert_eq!(browser.post("/login", "pin=8264y").status_code, 303);

    // A restart comes up with what was saved.
    assert_eq!(miner.call("mining.ping", serde_json::json!([]))["result"], "pong");
    drop(miner);
    assert!(daemon.stop().success());
    daemon.launch();
    daemon.wait_ready();
    assert!(says(&Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna"), "/Soloist/"));
    wait_for("the ledger", || {
        daemon.text("/").contains("The last change is taken back").then_some(())
    });
}

/// The number of the place for messages with these words in the list.
fn place(page: &str, words: &str) -> String {
    let (before, _) = page.split_once(words).unwrap_or_else(|| panic!("no {words} in {page}"));
    let (_, id) = before.rsplit_once("name=\"sink\" value=\"").unwrap();
    id.split('"').next().unwrap().to_owned()
}

#[test]
fn the_owner_has_messages_sent_elsewhere_on_the_page_and_who_loses_them_is_told() {
    let Some(node) = node() else { return };
    let mut daemon = Daemon::start(&node_entries(&[node.config()]));
    daemon.edit(|text| text.replace("[http]", "# my page\n[http]\npin = \"7391x\""));
    daemon.wait_ready();
    daemon.signal(Signal::SIGHUP);
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    let mut browser = Browser { daemon: &daemon, cookie: String::new() };
    wait_for("the page to take the PIN", || {
        thread::sleep(Duration::from_millis(200));
        (browser.post("/login", "pin=7391x").status_code == 303).then_some(())
    });
    let token = browser.token();
    let mut post = |form: &str| {
        let answer = browser.post("/notify", &format!("token={token}&{form}"));
        answer.as_str().unwrap().to_owned()
    };
    let file = || std::fs::read_to_string(daemon.config()).unwrap();
    let before = file();
    let (old, new) = (Sink::start(), Sink::start());
    let all = "topic=block&topic=miner&topic=node&topic=down&topic=alarm&topic=update";
    let hook = |url: &str| format!("kind=webhook&sink-url={url}&{all}");

    // The config's own words, at the field; nothing is written.
    let page = post("step=save&kind=ntfy&sink-url=https://ntfy.sh/&topic=block");
    assert!(
        page.contains("id=\"about-sink-url\"") && page.contains("The topic is missing."),
        "{page}"
    );
    let page = post("step=save&kind=telegram&sink-token=1:a&topic=block");
    assert!(page.contains("id=\"about-sink-chat\""), "{page}");
    let page = post(&format!("step=save&kind=webhook&sink-url={}", new.url));
    assert!(page.contains("Nothing would be told."), "{page}");
    let page = post(&format!("step=try&{}", hook("http://127.0.0.1:1/")));
    assert!(page.contains("The test message was not sent: cannot reach it"), "{page}");
    let page = post(&format!("step=try&{}", hook(&old.url)));
    assert!(page.contains("127.0.0.1 took the test message."), "{page}");
    assert_eq!(old.hears("Test")["text"], "Notifications work.");
    assert_eq!(file(), before);

    let page = post(&format!("step=save&{}", hook(&old.url)));
    assert!(page.contains("Webhook is added.") && !page.contains(&old.url), "{page}");
    let saved = file();
    assert!(saved.starts_with(&before) && saved.contains("[[notify]]"), "{saved}");
    let id = place(&page, "<b>Webhook</b>");
    assert!(post(&format!("step=test&sink={id}")).contains("took the test message"));
    old.hears("Test");
    let page = browser.settings();
    assert!(page.contains("The last message arrived"), "{page}");
    let shown = &daemon.status().unwrap()["notifications"];
    assert_eq!((&shown[0]["kind"], &shown[0]["sent"]), (&"Webhook".into(), &1.into()), "{shown}");

    // A found block goes there, and other words to the same place leave its counts alone.
    let mut post = |form: &str| {
        let answer = browser.post("/notify", &format!("token={token}&{form}"));
        answer.as_str().unwrap().to_owned()
    };
    let (answer, _) = miner.mine_and_go_on();
    assert_eq!(answer["result"], true, "{answer}");
    old.hears("Block found");
    post(&format!("step=save&sink={id}&kind=webhook&sink-url=&topic=block"));
    assert_eq!(daemon.status().unwrap()["notifications"][0]["failed"], 0);
    assert!(file().contains("best = false") && file().contains(&old.url), "{}", file());

    // Somebody sends them elsewhere: who read them is told from where.
    let page = post(&format!("step=save&sink={id}&{}", hook(&new.url)));
    assert!(page.contains("Webhook is changed."), "{page}");
    let last = old.hears("No more messages here");
    assert!(last["text"].as_str().unwrap().contains("from 127.0.0.1."), "{last}");
    let (answer, _) = miner.mine_and_go_on();
    assert_eq!(answer["result"], true, "{answer}");
    new.hears("Block found");

    // A file that was edited meanwhile is not overwritten.
    let id = place(&browser.settings(), "<b>Webhook</b>");
    let mut post = |form: &str| {
        let answer = browser.post("/notify", &format!("token={token}&{form}"));
        answer.as_str().unwrap().to_owned()
    };
    daemon.edit(|text| text.replace(&new.url, &old.url));
    let page = post(&format!("step=remove&sink={id}&sure=yes"));
    assert!(page.contains("reload the service first"), "{page}");
    assert!(file().contains(&old.url), "{}", file());
    daemon.edit(|text| text.replace(&old.url, &new.url));
    let page = post(&format!("step=remove&sink={id}&sure=yes"));
    assert!(page.contains("Webhook is removed"), "{page}");
    new.hears("No more messages here");
    assert!(!file().contains("notify") && file().contains("# my page"), "{}", file());
    assert!(daemon.text("/").contains("A place for messages: Webhook is removed"));

    // That was a mistake: Undo brings it back, its address as well, and takes that back again.
    let mut undo = || {
        assert!(browser.settings().contains("value=\"undo\""));
        let form = format!("token={token}&step=undo");
        assert_eq!(browser.post("/settings", &form).status_code, 303);
    };
    undo();
    assert!(file().contains("[[notify]]") && file().contains(&new.url), "{}", file());
    assert!(daemon.text("/").contains("The last change is taken back: Webhook is added."));
    let (answer, _) = miner.mine_and_go_on();
    assert_eq!(answer["result"], true, "{answer}");
    new.hears("Block found");
    undo();
    let last = new.hears("No more messages here");
    assert!(last["text"].as_str().unwrap().contains("from 127.0.0.1."), "{last}");
    assert!(!file().contains("notify") && file().contains("# my page"), "{}", file());
    // What it would take back is another by now: the file was edited.
    daemon.edit(|text| format!("{text}\n[[notify]]\nkind = \"slack\"\nurl = \"https://s/a\"\n"));
    let form = format!("token={token}&step=undo");
    let page = browser.post("/settings", &form);
    assert!(page.as_str().unwrap().contains("reload the service first"), "{page:?}");
    daemon.edit(|text| text.split_once("\n[[notify]]").unwrap().0.to_owned());
    let mut post = |form: &str| {
        let answer = browser.post("/notify", &format!("token={token}&{form}"));
        answer.as_str().unwrap().to_owned()
    };

    // What was saved is there after a restart; nothing was dropped meanwhile.
    post(&format!("step=save&{}", hook(&new.url)));
    assert_eq!(miner.call("mining.ping", serde_json::json!([]))["result"], "pong");
    drop(miner);
    assert!(daemon.stop().success());
    daemon.launch();
    daemon.wait_ready();
    assert_eq!(daemon.status().unwrap()["notifications"][0]["kind"], "Webhook");
    let log = daemon.log();
    assert!(
        !log.contains(&new.url) && !log.contains(&old.url),
        "an address may be a secret: {log}"
    );
}

/// Somebody who speaks JSON at the set-up, with these headers beside it.
fn set_up(daemon: &Daemon, headers: &[(&str, &str)], body: &Value) -> (u16, String) {
    let mut request = minreq::post(format!("http://{}/api/setup", daemon.http))
        .with_body(body.to_string())
        .with_timeout(60);
    if !headers.iter().any(|(name, _)| *name == "Content-Type") {
        request = request.with_header("Content-Type", "application/json");
    }
    for (name, value) in headers {
        request = request.with_header(*name, *value);
    }
    let answer = patient(&request).unwrap();
    (answer.status_code, answer.as_str().unwrap().to_owned())
}

#[test]
fn a_fresh_box_is_set_up_on_the_page_and_mines_without_a_restart() {
    let Some(node) = node() else { return };
    let mut daemon = Daemon::fresh();
    let status = wait_for("the page", || daemon.status());
    assert_eq!((&status["configured"], &status["state"]), (&false.into(), &"DOWN".into()));
    assert!(status["sentence"].as_str().unwrap().contains("Not set up"), "{status}");
    let ready = format!("http://{}/health/ready", daemon.http);
    assert_eq!(patient(&minreq::get(ready)).unwrap().status_code, 503);
    // `check` still says that nothing could be mined, and with the same exit code.
    let check = std::process::Command::new(env!("CARGO_BIN_EXE_soloist"))
        .args(["check", "--config"])
        .arg(daemon.config())
        .output()
        .unwrap();
    assert_eq!(check.status.code(), Some(78), "{check:?}");

    // A miner is sent away at once, and the page tells why.
    let mut knock = std::net::TcpStream::connect(daemon.stratum).unwrap();
    knock.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert!(matches!(knock.read(&mut [0; 10]), Ok(0) | Err(_)));
    let knock = wait_for("the knock", || daemon.get("/api/miners")?["knocking"].get(0).cloned());
    assert_eq!(knock["why"], "this box is not set up yet");

    let config = node.config();
    let (user, password) = match &config.auth {
        soloist::rpc::Auth::UserPass { user, pass } => (user.clone(), pass.clone()),
        // What Core writes there is a login like any other while it runs.
        soloist::rpc::Auth::Cookie(file) => {
            let text = std::fs::read_to_string(file).unwrap();
            let (user, pass) = text.trim().split_once(':').unwrap();
            (user.to_owned(), pass.to_owned())
        }
        other => panic!("{other:?}"),
    };
    let url = config.url.trim_end_matches('/');
    let wish = |payout: &str, password: &str, save: bool| {
        serde_json::json!({
            "name": "attic", "payout": payout, "pin": "7391x", "save": save,
            "nodes": [{ "url": url, "user": user, "password": password, "zmq": url.replace("http", "tcp"), "p2p": "off" }],
        })
    };
    let good = wish(PAYOUT, &password, true);
    assert_eq!(daemon.text("/api/setup"), "{\"open\":true}");
    // Not from another site, not by another name, not half.
    assert_eq!(set_up(&daemon, &[("Origin", "http://evil.example")], &good).0, 403);
    let body = good.to_string();
    let request = format!(
        "POST /api/setup HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = loop {
        let mut foreign = std::net::TcpStream::connect(daemon.http).unwrap();
        foreign.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        foreign.read_to_string(&mut answer).unwrap();
        // The page's own limit of 20 requests a second.
        if !answer.starts_with("HTTP/1.1 429 ") {
            break answer;
        }
        thread::sleep(Duration::from_millis(200));
    };
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    let plain = set_up(&daemon, &[("Content-Type", "text/plain")], &good);
    assert_eq!(plain.0, 400, "{}", plain.1);
    assert_eq!(set_up(&daemon, &[], &serde_json::json!({ "payout": PAYOUT })).0, 400);
    let before = std::fs::read_to_string(daemon.config()).unwrap();
    let mistyped = PAYOUT.replace("qqqqsy", "qqqqsz");
    let (code, words) = set_up(&daemon, &[], &wish(&mistyped, &password, true));
    assert!(code == 422 && words.contains("mistyped"), "{code} {words}");
    let (code, words) = set_up(&daemon, &[], &wish(OTHER_CHAIN, &password, true));
    assert!(
        code == 422 && words.contains("but the node is on the chain 'regtest'"),
        "{code} {words}"
    );
    let said = |words: &str| serde_json::from_str::<Value>(words).unwrap();
    // A wrong password is a problem like any other, but one that may be overruled.
    for save in [false, true] {
        let (code, words) = set_up(&daemon, &[], &wish(PAYOUT, "wrong", save));
        let said = said(&words);
        assert_eq!((code, &said["saved"]), (422, &false.into()), "{words}");
        let problem = said["problems"][0].as_str().unwrap();
        assert!(
            problem.contains("It cannot be used now: it refuses our user or password"),
            "{words}"
        );
        assert_eq!(said["fields"], serde_json::json!(["password0"]));
        assert_eq!(said["can_be_saved_anyway"], true);
    }
    let (code, words) = set_up(&daemon, &[], &wish(PAYOUT, &password, false));
    assert!(code == 200 && words.contains("answers: chain regtest"), "{code} {words}");
    assert!(words.contains("no ZMQ publisher answers there"), "its RPC is none: {words}");
    assert!(words.contains("Its P2P port is switched off by p2p_addr."), "{words}");
    let refused = wish(PAYOUT, &password, false).to_string();
    let refused = refused.replace("\"off\"", &format!("\"{}\"", node.p2p_address()));
    let (code, words) = set_up(&daemon, &[], &serde_json::from_str(&refused).unwrap());
    let sentence = format!("The P2P port at {} cannot be used: it refuses", node.p2p_address());
    assert!(code == 200 && words.contains(&sentence), "{code} {words}");
    assert_eq!(std::fs::read_to_string(daemon.config()).unwrap(), before, "only tested");

    let (code, words) = set_up(&daemon, &[], &good);
    assert!(code == 200 && words.contains("\"saved\":true"), "{code} {words}");
    assert_eq!(set_up(&daemon, &[], &good).0, 409, "open once only");
    daemon.wait_ready();
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    let (answer, hash) = miner.mine_and_go_on();
    assert_eq!(answer["result"], true, "{answer}");
    wait_for("the node to have the block", || (node.tip().to_string() == hash).then_some(()));
    let saved = std::fs::read_to_string(daemon.config()).unwrap();
    let p2p = "p2p_addr = \"off\"";
    for kept in ["# Fresh.", "# Mine.", "# Upstairs.", "pin = \"argon2id:", PAYOUT, p2p] {
        assert!(saved.contains(kept), "{kept} in\n{saved}");
    }
    assert!(!daemon.log().contains(&password) && !daemon.log().contains("7391x"));

    let mut browser = Browser { daemon: &daemon, cookie: String::new() };
    assert_eq!(browser.post("/login", "pin=7391x").status_code, 303);
    by_hand(&daemon, &mut browser, &mut miner, &password);
    drop((browser, miner));

    // It comes up again as it was set up.
    assert!(daemon.stop().success());
    daemon.launch();
    daemon.wait_ready();
    assert_eq!(daemon.status().unwrap()["payout"]["address"], PAYOUT);
    // The fixed difficulty too, under the miner's name.
    let miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    let known =
        wait_for("the miner", || daemon.get("/api/miners/1").filter(|m| m["difficulty"] == 2048.0));
    assert_eq!(known["difficulty_locked"], true, "{known}");
    drop(miner);
}

/// Places for messages are held to the same rules as on the page, each in its place of the call.
#[test]
fn the_set_up_by_a_program_says_where_messages_go() {
    let Some(node) = node() else { return };
    let credentials = node.credentials().unwrap();
    let (user, password) = credentials.trim().split_once(':').unwrap();
    let daemon = Daemon::fresh();
    wait_for("the page", || daemon.status());
    let (first, second) = (Sink::start(), Sink::start());
    let wish = |notify: &Value, save: bool| {
        let url = format!("http://{}", node.address());
        let wish = serde_json::json!({
            "payout": PAYOUT, "pin": "7391x", "save": save, "notify": notify,
            "nodes": [{ "url": url, "user": user, "password": password, "p2p": "off" }],
        });
        let (code, words) = set_up(&daemon, &[], &wish);
        (code, serde_json::from_str::<Value>(&words).unwrap_or_else(|_| panic!("{words}")))
    };
    let good = serde_json::json!({ "kind": "webhook", "url": first.url });
    let quiet = serde_json::json!({
        "kind": "webhook", "url": second.url, "block": false, "best": false, "miner": false,
    });
    let before = std::fs::read_to_string(daemon.config()).unwrap();
    let silent = serde_json::json!({
        "kind": "telegram", "token": "1:geheim", "chat": 7, "block": false, "best": false,
        "miner": false, "node": false, "down": false, "alarm": false, "update": false,
    });
    let bad = serde_json::json!([
        good, { "kind": "ntfy", "url": "https://ntfy.sh/" }, { "kind": "fax" }, silent,
        { "kind": "telegram", "token": "1:geheim" }, { "kind": "ntfy", "geheim": 7 },
    ]);
    let (code, said) = wish(&bad, true);
    assert_eq!((code, &said["saved"]), (422, &false.into()), "{said}");
    let fields = ["notify2.kind", "notify5", "notify1.url", "notify3.topics", "notify4.chat"];
    assert_eq!(said["fields"], serde_json::json!(fields), "{said}");
    let topic =
        "The topic is missing. Write it at the end of the address, as in https://ntfy.sh/my-topic.";
    assert_eq!(said["problems"][2], topic, "{said}");
    assert_eq!(said["can_be_saved_anyway"], false);
    let (code, said) = wish(&Value::from(vec![good.clone(); 9]), true);
    assert_eq!((code, &said["fields"]), (422, &serde_json::json!(["notify8.topics"])), "{said}");
    let both = serde_json::json!([good, quiet]);
    let (code, said) = wish(&both, false);
    assert_eq!(code, 200, "{said}");
    let told = said["findings"].as_array().unwrap().iter();
    assert_eq!(told.filter(|told| *told == "Messages go to 127.0.0.1.").count(), 2, "{said}");
    assert_eq!(std::fs::read_to_string(daemon.config()).unwrap(), before, "only tested");

    let (code, said) = wish(&both, true);
    let done = (code, &said["saved"], &said["problems"]);
    assert_eq!(done, (200, &true.into(), &serde_json::json!([])), "{said}");
    let saved = std::fs::read_to_string(daemon.config()).unwrap();
    assert_eq!(saved.matches("[[notify]]").count(), 2, "{saved}");
    assert!(saved.contains("miner = false") && saved.contains("# Upstairs."), "{saved}");
    daemon.wait_ready();
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    assert_eq!(miner.mine_and_go_on().0["result"], true);
    first.hears("Block found");
    let shown = &daemon.status().unwrap()["notifications"];
    assert_eq!((&shown[0]["kind"], &shown[1]["kind"]), (&"Webhook".into(), &"Webhook".into()));
    assert_eq!(shown[1]["sent"], 0, "it is not told of blocks: {shown}");
    let log = daemon.log();
    assert!(!log.contains("geheim") && !log.contains(&first.url), "{log}");
}

/// What answers wrongly, not at all or not yet is saved by a second press alone, and the page then says
/// of it what the set-up said.
#[test]
fn a_node_that_cannot_be_used_now_is_saved_only_on_purpose() {
    let Some(node) = node() else { return };
    let credentials = node.credentials().unwrap();
    let (user, password) = credentials.trim().split_once(':').unwrap();
    let daemon = Daemon::fresh();
    wait_for("the page", || daemon.status());
    let entry = |url: String| serde_json::json!({ "url": url, "user": user, "password": password, "p2p": "off" });
    let wish = |nodes: &[Value], more: &[(&str, bool)]| {
        let mut wish = serde_json::json!({ "payout": PAYOUT, "pin": "7391x", "nodes": nodes });
        more.iter().for_each(|(key, value)| wish[*key] = (*value).into());
        let (code, words) = set_up(&daemon, &[], &wish);
        (code, serde_json::from_str::<Value>(&words).unwrap_or_else(|_| panic!("{words}")))
    };
    let good = entry(format!("http://{}", node.address()));
    let page = FaultProxy::answering(Fault::web_page());
    let busy = FaultProxy::start(node.address());
    let Fault::Answer(initial) = Fault::initial_download() else { panic!("no answer") };
    busy.set(Fault::Only(vec!["getblocktemplate"], initial));
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dead = entry(format!("http://{nowhere}"));
    for (bad, sentence) in [
        (&dead, "It cannot be used now: nothing listens at its port (connection refused)."),
        (&entry(page.url()), "It cannot be used now: a web page answers there instead of a node"),
        (&entry(busy.url()), "It gives no work: it is still downloading the chain"),
    ] {
        for more in [&[("save", false)][..], &[("save", true)]] {
            let (code, said) = wish(&[good.clone(), bad.clone()], more);
            assert_eq!((code, &said["saved"]), (422, &false.into()), "{said}");
            let problem = said["problems"][0].as_str().unwrap();
            assert!(problem.contains(sentence), "{problem}");
            assert_eq!(said["fields"], serde_json::json!(["url1"]), "{said}");
            assert_eq!(said["can_be_saved_anyway"], true, "{said}");
            let found = said["findings"].to_string();
            assert!(found.contains("It was shown the block that we would send"), "{found}");
        }
    }
    // What cannot be read stands at its field, and nothing overrules it.
    let mut odd = dead.clone();
    odd["zmq"] = "nonsense".into();
    let (code, said) =
        wish(&[good.clone(), dead.clone(), odd], &[("save", true), ("anyway", true)]);
    assert_eq!((code, &said["can_be_saved_anyway"]), (422, &false.into()), "{said}");
    assert_eq!(said["fields"], serde_json::json!(["zmq2", "url2"]), "{said}");
    assert!(!std::fs::read_to_string(daemon.config()).unwrap().contains("argon2id"));

    let (code, said) = wish(&[dead], &[("save", true), ("anyway", true)]);
    assert_eq!((code, &said["saved"]), (200, &true.into()), "{said}");
    let status = wait_for("the page to know", || {
        daemon.status().filter(|status| status["sentence"].as_str().unwrap().starts_with("Node"))
    });
    let sentence = format!("Node {nowhere} does not answer: nothing listens at its port");
    assert!(status["sentence"].as_str().unwrap().starts_with(&sentence), "{status}");
    assert_eq!(status["state"], "DOWN");
}

/// The backup of a box that mined, with its settings in plain and, under a passphrase, all of them.
fn old_cards_backup() -> Vec<u8> {
    use soloist::clock::Now;
    use soloist::ledger::seal::{self, Dice};
    use soloist::ledger::totals::{Ledger, LedgerEvent};
    use soloist::ledger::transfer::{AUTHORITY_KEY, SEALED, SETTINGS};
    let now = Now { mono: Instant::now(), unix: 1_790_000_000 };
    let (mut ledger, mut out) = (Ledger::new(now), Vec::new());
    ledger.handle(now, LedgerEvent::Opened(Box::default()), &mut out);
    let worker = ledger.worker(now, "garage", "bitaxe");
    for _ in 0..7 {
        let share = LedgerEvent::Share { worker, difficulty: 1e3, actual: 2e3, height: 900_000 };
        ledger.handle(now, share, &mut out);
    }
    let text = format!(
        "[payout]\naddress = \"{PAYOUT}\"\ntag = \"Attic\"\n[node]\n\
         rpc_url = \"http://127.0.0.1:1\"\nrpc_user = \"u\"\nrpc_pass = \"geheim\"\n\
         [http]\nlisten = \"192.168.77.1:8080\"\npin = \"7391x\"\n[data]\ndir = \"/old\"\n\
         [[notify]]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:1/\"\n"
    );
    let plain = seal::without_secrets(&text).unwrap();
    let sealed = seal::seal(
        "correct horse battery",
        text.as_bytes(),
        Dice { salt: [1; 16], nonce: [2; 12] },
    );
    let key = (AUTHORITY_KEY, [5; 32].as_slice());
    let with = [(SETTINGS, plain.as_bytes()), (SEALED, sealed.as_slice()), key];
    soloist::ledger::transfer::make(&ledger, &with).unwrap()
}

/// Uploads a backup as a browser does.
fn upload(
    daemon: &Daemon,
    path: &str,
    origin: &str,
    file: &[u8],
    passphrase: &str,
) -> (u16, String) {
    let mut body = b"--xYz\r\nContent-Disposition: form-data; name=\"backup\"; \
        filename=\"a.backup\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        .to_vec();
    body.extend_from_slice(file);
    body.extend_from_slice(
        b"\r\n--xYz\r\nContent-Disposition: form-data; name=\"passphrase\"\r\n\r\n",
    );
    body.extend_from_slice(passphrase.as_bytes());
    body.extend_from_slice(b"\r\n--xYz--\r\n");
    let request = minreq::post(format!("http://{}{path}", daemon.http))
        .with_header("Content-Type", "multipart/form-data; boundary=xYz")
        .with_header(
            "Origin",
            if origin.is_empty() { format!("http://{}", daemon.http) } else { origin.to_owned() },
        )
        .with_follow_redirects(false)
        .with_body(body)
        .with_timeout(60);
    let answer = patient(&request).unwrap();
    (answer.status_code, answer.as_str().unwrap().to_owned())
}

#[test]
fn an_old_cards_backup_is_restored_in_the_set_up() {
    let file = old_cards_backup();
    let mut daemon = Daemon::fresh();
    let ready = |daemon: &Daemon| {
        wait_for("the ledger", || {
            daemon.status().filter(|status| status["storage"]["writable"] == true)
        })
    };
    ready(&daemon);
    let page = daemon.text("/settings");
    assert!(page.contains("action=\"/restore\" enctype=\"multipart/form-data\""), "{page}");

    // Not from another site, not damaged, not something else, not larger than any backup.
    assert_eq!(upload(&daemon, "/api/restore", "http://evil.example", &file, "").0, 403);
    let mut flipped = file.clone();
    flipped[100] ^= 1;
    let (code, words) = upload(&daemon, "/api/restore", "", &flipped, "");
    assert!(code == 422 && words.contains("checksum is wrong"), "{code} {words}");
    let (code, words) = upload(&daemon, "/api/restore", "", &[b'x'; 900_000], "");
    assert!(code == 422 && words.contains("not a Soloist backup"), "{code} {words}");
    let (code, words) = upload(&daemon, "/restore", "", &file, "correct horse batterie");
    assert!(code == 422 && words.contains("The passphrase is another one."), "{code} {words}");
    assert_eq!(upload(&daemon, "/api/restore", "", &vec![0; 12_000_000], "").0, 413);
    let before = std::fs::read_to_string(daemon.config()).unwrap();
    assert!(before.contains("address = \"\""), "{before}");

    let key = |daemon: &Daemon| daemon.status().unwrap()["connect"]["v2"]["authority_key"].clone();
    let own = key(&daemon);
    assert!(own.as_str().unwrap().starts_with('9'), "{own}");

    // In plain: the ledger, and the set-up is filled in as far as it can be.
    let (code, page) = upload(&daemon, "/restore", "", &file, "");
    assert!(code == 200 && page.contains("1 miners, 7 shares, 0 blocks"), "{code} {page}");
    for filled in [PAYOUT, "value=\"http://127.0.0.1:1\"", "value=\"Attic\"", "action=\"/setup\""] {
        assert!(page.contains(filled), "{filled} in {page}");
    }
    assert_eq!(daemon.text("/api/setup"), "{\"open\":true}");
    let shares = |daemon: &Daemon| {
        let miners = daemon.get("/api/miners").unwrap();
        (miners["miners"][0]["name"].clone(), miners["miners"][0]["accepted"].clone())
    };
    assert_eq!(shares(&daemon), ("garage".into(), 7.into()));
    // Miners that were told the old card's key know this one by it, from now on.
    let old = soloist::stratum::v2::noise::Identity::new(&[5; 32], &[1; 32]).unwrap().authority();
    assert_eq!(key(&daemon), old.text());
    assert_eq!(upload(&daemon, "/api/restore", "", &file, "").0, 422, "not counted twice");
    let saved = std::fs::read_to_string(daemon.config()).unwrap();
    for kept in ["# Fresh.", "# Mine.", PAYOUT, "Attic"] {
        assert!(saved.contains(kept), "{kept} in\n{saved}");
    }
    assert!(!saved.contains("192.168.77.1") && !saved.contains("/old"), "{saved}");

    // It is on the card: a power cut takes nothing of it.
    wait_for("the journal", || {
        let journal = std::fs::read(daemon.data().join("ledger/journal")).ok()?;
        journal.windows(6).any(|window| window == b"garage").then_some(())
    });
    daemon.kill();
    daemon.launch();
    ready(&daemon);
    assert_eq!(shares(&daemon), ("garage".into(), 7.into()));
    assert_eq!(key(&daemon), old.text());
}

#[test]
fn with_the_passphrase_an_old_card_brings_the_whole_set_up() {
    let daemon = Daemon::fresh();
    wait_for("the ledger", || {
        daemon.status().filter(|status| status["storage"]["writable"] == true)
    });
    let (code, words) =
        upload(&daemon, "/api/restore", "", &old_cards_backup(), "correct horse battery");
    assert!(code == 200 && words.contains("the PIN among them"), "{code} {words}");
    let status = wait_for("the set-up", || daemon.status().filter(|s| s["configured"] == true));
    assert_eq!(status["payout"]["address"], PAYOUT);
    assert_eq!(status["notifications"][0]["kind"], "Webhook", "{status}");
    assert_eq!(daemon.text("/api/setup"), "{\"open\":false}");
    // The door is shut, and its limit is that of any form.
    assert_eq!(upload(&daemon, "/api/restore", "", &[b'x'; 100_000], "").0, 413);
    assert_eq!(upload(&daemon, "/api/restore", "", b"x", "").0, 409);
    wait_for("the PIN", || {
        thread::sleep(Duration::from_millis(200));
        daemon.text("/settings").contains("action=\"/login\"").then_some(())
    });
    let mut browser = Browser { daemon: &daemon, cookie: String::new() };
    assert_eq!(browser.post("/login", "pin=7391x").status_code, 303);
    assert!(!daemon.log().contains("geheim") && !daemon.log().contains("correct horse"));
}

/// The user that is recommended begins with the payout address. When that changes, the owner is told
/// which miners carry the old one, and a miner that is told the new one is the same as before.
#[test]
fn a_miner_keeps_its_history_when_its_user_names_the_new_payout_address() {
    let Some(node) = node() else { return };
    let mut daemon = Daemon::start(&node_entries(&[node.config()]));
    daemon.wait_ready();
    daemon.edit(|text| text.replace("[http]", "[http]\npin = \"7391x\""));
    daemon.signal(Signal::SIGHUP);
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", &format!("{PAYOUT}.gamma"));
    let (answer, _) = miner.mine_and_go_on();
    assert_eq!(answer["result"], true, "{answer}");
    let only = |daemon: &Daemon, user: String| {
        wait_for("the miner", || {
            let miners = daemon.get("/api/miners")?["miners"].as_array()?.clone();
            assert_eq!(miners.len(), 1, "{miners:?}");
            miners.into_iter().next().filter(|miner| miner["user"] == user.as_str())
        })
    };
    let before = only(&daemon, format!("{PAYOUT}.gamma"));
    assert_eq!((&before["name"], &before["accepted"]), (&"gamma".into(), &1.into()));
    let page = daemon.text("/");
    assert!(page.contains("Miner gamma connected from"), "{page}");

    let mut browser = Browser { daemon: &daemon, cookie: String::new() };
    wait_for("the PIN", || {
        thread::sleep(Duration::from_millis(200));
        (browser.settings().contains("action=\"/login\"")).then_some(())
    });
    assert_eq!(browser.post("/login", "pin=7391x").status_code, 303);
    let (token, url) = (browser.token(), node.config().url.trim_end_matches('/').to_owned());
    let page = browser.settings();
    let user = page.split_once("name=\"user0\" value=\"").unwrap().1;
    let user = user.split('"').next().unwrap().to_owned();
    let form = |payout: &str| {
        format!("token={token}&name=x&payout={payout}&tag=x&url0={url}&user0={user}&p2p0=off")
    };
    let warned = "These miners carry the old payout address in their user: gamma.";
    let shown = browser.post("/settings", &form(THEIRS));
    assert!(shown.as_str().unwrap().contains(warned), "{}", shown.as_str().unwrap());
    let shown = browser.post("/settings", &form(PAYOUT));
    assert!(!shown.as_str().unwrap().contains("carry the old"), "{}", shown.as_str().unwrap());

    daemon.edit(|text| text.replace(PAYOUT, THEIRS));
    daemon.signal(Signal::SIGHUP);
    wait_for("the new address", || {
        daemon.status().filter(|status| status["payout"]["address"] == THEIRS)
    });
    let alarm = wait_for("the alarm", || {
        let status = daemon.status()?;
        let alarms = status["alarms"].as_array()?;
        alarms.iter().find(|alarm| alarm["id"] == "other_address").cloned()
    });
    assert!(alarm["text"].as_str().unwrap().contains("stands in the user of gamma"), "{alarm}");
    assert_eq!(alarm["level"], "info", "the work pays the owner: {alarm}");
    drop(miner);
    let again = Miner::connect(daemon.stratum, "bitaxe/BM1370", &format!("{THEIRS}.gamma"));
    let after = only(&daemon, format!("{THEIRS}.gamma"));
    for same in ["id", "name", "accepted", "best", "first_seen_at"] {
        assert_eq!(after[same], before[same], "{same}");
    }
    drop(again);
    assert!(daemon.stop().success());
    daemon.launch();
    daemon.wait_ready();
    let _again = Miner::connect(daemon.stratum, "bitaxe/BM1370", &format!("{THEIRS}.gamma"));
    assert_eq!(only(&daemon, format!("{THEIRS}.gamma"))["accepted"], 1);
}

/// A name that the owner writes is answered to from the next reload on.
#[test]
fn a_name_of_the_owners_counts_at_once() {
    let daemon = Daemon::fresh();
    wait_for("the page", || daemon.status());
    let code = |host: &str| {
        let mut stream = std::net::TcpStream::connect(daemon.http).unwrap();
        let request =
            format!("GET /health/live HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer[9..12].to_owned()
    };
    assert_eq!(code("solo.example.org"), "421");
    daemon.edit(|text| text.replace("[http]", "[http]\nhosts = \"Solo.Example.org\""));
    daemon.signal(Signal::SIGHUP);
    wait_for("the name", || (code("solo.example.org") == "200").then_some(()));
    assert_eq!(code("evil.example.org"), "421");
}

/// A miner's own address, which its user name begins with.
const THEIRS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

/// For the next start or reload.
fn pay_per_miner(daemon: &Daemon) {
    daemon.edit(|text| text.replacen("[payout]\n", "[payout]\nper_miner = true\n", 1));
}

/// Whom a block pays stands on its page, and still does when the block itself is kept no more.
#[test]
fn a_block_tells_whom_it_pays() {
    let Some(node) = node() else { return };
    let mut daemon = Daemon::start(&node_entries(&[node.config()]));
    daemon.wait_ready();
    pay_per_miner(&daemon);
    daemon.signal(Signal::SIGHUP);
    wait_for("the reload", || daemon.log().contains("Config: ").then_some(()));
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", &format!("{THEIRS}.attic"));
    let (answer, hash) = miner.mine_and_go_on();
    assert_eq!(answer["result"], true, "{answer}");
    let mined = |daemon: &Daemon| {
        wait_for("the block", || {
            daemon.blocks().into_iter().find(|block| block["hash"] == hash.as_str())
        })
    };
    assert_eq!(mined(&daemon)["address"], THEIRS);
    let its_coinbase = wait_for("its coinbase", || {
        mined(&daemon)["txid"].as_str().filter(|txid| !txid.is_empty()).map(str::to_owned)
    });
    assert_eq!(node.call("getblock", serde_json::json!([hash]))["tx"][0], its_coinbase.as_str());
    let paid = format!("It pays <code><span class=\"own\">{THEIRS}</span></code>");
    assert!(daemon.text("/").contains(&paid), "{}", daemon.text("/"));
    drop(miner);

    assert!(daemon.stop().success());
    std::fs::remove_dir_all(daemon.data().join("spool")).unwrap();
    daemon.launch();
    let kept = mined(&daemon);
    assert_eq!((&kept["address"], &kept["hex"]), (&THEIRS.into(), &false.into()));
    let export = std::process::Command::new(env!("CARGO_BIN_EXE_soloist"))
        .args(["export", "blocks", "--data"])
        .arg(daemon.data())
        .output()
        .unwrap();
    let export = String::from_utf8(export.stdout).unwrap();
    assert!(export.lines().any(|line| line.contains(&hash) && line.ends_with(THEIRS)), "{export}");
}

/// The power went when the spool had the block and the ledger had not: the ledger gets it at the
/// next start, once, as it was, whether a node answers or not.
#[test]
fn a_block_that_the_ledger_missed_is_booked_from_the_spool() {
    let Some(node) = node() else { return };
    let proxy = FaultProxy::start(node.address());
    let mut daemon = Daemon::start(&node_entries(&[node.config_through(proxy.address())]));
    daemon.wait_ready();
    assert!(daemon.stop().success());
    pay_per_miner(&daemon);
    let journal = daemon.data().join("ledger/journal");
    let before = std::fs::read(&journal).unwrap();

    daemon.launch();
    daemon.wait_ready();
    let mut miner = Miner::connect(daemon.stratum, "bitaxe/BM1370", &format!("{THEIRS}.attic"));
    let (answer, hash) = miner.mine_and_go_on();
    assert_eq!(answer["result"], true, "{answer}");
    let shown = |daemon: &Daemon| {
        wait_for("the block, accepted", || {
            let mut blocks = daemon.blocks();
            assert!(blocks.len() < 2, "{blocks:?}");
            let block = blocks.pop().filter(|block| block["state"] == "accepted")?;
            assert_eq!(block["hash"], hash.as_str());
            let keys = ["height", "at", "miner", "address", "value_sat", "network_difficulty"];
            Some(keys.map(|key| block[key].clone()))
        })
    };
    let found = shown(&daemon);
    // Its answer goes to the spool after it is shown.
    wait_for("the spool", || {
        let files = std::fs::read_dir(daemon.data().join("spool")).unwrap();
        let mut files = files.map(|file| file.unwrap().path());
        let is_accepted = |path: &std::path::Path| {
            let text = std::fs::read(path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            // Whichever is written last when this looks.
            ["accepted", "confirmed"]
                .iter()
                .any(|state| text.contains(&format!("\"state\":\"{state}\"")))
        };
        // Not what is only being written.
        files
            .any(|path| path.extension() != Some("new".as_ref()) && is_accepted(&path))
            .then_some(())
    });
    daemon.kill();
    drop(miner);
    std::fs::write(&journal, before).unwrap();
    std::fs::remove_dir_all(daemon.data().join("ledger/cache")).ok();

    proxy.set(Fault::Refuse);
    daemon.launch();
    assert_eq!(shown(&daemon), found);
    assert!(found.contains(&THEIRS.into()), "{found:?}");
    assert!(daemon.stop().success());
    proxy.set(Fault::Pass);
    daemon.launch();
    daemon.wait_ready();
    assert_eq!(shown(&daemon), found);
    assert_eq!(daemon.log().matches("it is booked now").count(), 1);
}

/// What the ledger knows of a miner from an earlier run decides where it begins, and a difficulty
/// that the owner fixed goes over all else.
#[test]
fn miners_begin_where_the_ledger_says() {
    use soloist::clock::Now;
    use soloist::ledger::totals::{Ledger, LedgerEvent};
    use soloist::ledger::writer::LedgerWriter;
    let Some(node) = node() else { return };
    let mut daemon = Daemon::start(&node_entries(&[node.config()]));
    daemon.wait_ready();
    assert!(daemon.stop().success());
    // A run of before: one miner had found its level, the other's was fixed.
    let now = Now { mono: Instant::now(), unix: 1_790_000_000 };
    let (mut ledger, mut out) = (Ledger::new(now), Vec::new());
    let mut keeper = LedgerWriter::in_process(daemon.data());
    let mut tell = |ledger: &mut Ledger, event| {
        ledger.handle(now, event, &mut out);
        while let Some(output) = out.pop() {
            if let Some(answer) = keeper.work(&output) {
                ledger.handle(now, answer, &mut out);
            }
        }
    };
    tell(&mut ledger, LedgerEvent::Tick);
    let model = soloist::stratum::firmware::identify("bitaxe/BM1370", &[]).model;
    let gamma = format!("{THEIRS}.gamma");
    for name in ["anna", "berta", &gamma] {
        let worker = ledger.worker(now, name, &model);
        let share = LedgerEvent::Share { worker, difficulty: 1e3, actual: 2e3, height: 1 };
        tell(&mut ledger, share);
        tell(&mut ledger, LedgerEvent::Level { worker, difficulty: 3500.0 });
        if name == "berta" {
            tell(&mut ledger, LedgerEvent::Fix { worker, difficulty: Some(50.0) });
        }
    }
    let change = LedgerEvent::Setting {
        by: "page".into(),
        key: "payout.address".into(),
        old: THEIRS.into(),
        new: PAYOUT.into(),
    };
    tell(&mut ledger, change);
    tell(&mut ledger, LedgerEvent::Stop);

    daemon.launch();
    daemon.wait_ready();
    let anna = || Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    let (mut here, _berta) = (anna(), Miner::connect(daemon.stratum, "bitaxe/BM1370", "berta"));
    let known = |name: &str| {
        let miners = daemon.get("/api/miners")?;
        miners["miners"].as_array()?.iter().find(|m| m["name"] == name).cloned()
    };
    let level = |name: &str, level: f64| {
        wait_for(name, || {
            let known = known(name)?;
            (known["difficulty"] == level && known["accepted"] == 1).then_some(())
        });
    };
    level("anna", 3500.0);
    level("berta", 50.0);
    // One that carried the address of before in its user, and now carries that of today.
    let _gamma = Miner::connect(daemon.stratum, "bitaxe/BM1370", &format!("{PAYOUT}.gamma"));
    level("gamma", 3500.0);
    assert_eq!(daemon.get("/api/miners").unwrap()["miners"].as_array().unwrap().len(), 3);
    // What she wishes for is known from her second visit on: then a newer wish goes over the level.
    for (wish, expected) in [(1000, 3500.0), (1000, 3500.0), (2000, 2000.0)] {
        let answer = here.call("mining.suggest_difficulty", serde_json::json!([wish]));
        assert_eq!(answer["result"], true);
        if expected == 2000.0 {
            here.wait_job();
        }
        level("anna", expected);
        drop(here);
        wait_for("anna to be gone", || (known("anna")?["state"] == "gone").then_some(()));
        here = anna();
    }
    // What she wished for is known after a restart, too: a newer wish goes over the level there.
    drop(here);
    assert!(daemon.stop().success());
    daemon.edit(|text| text.replace("[http]", "[http]\npin = \"7391x\""));
    daemon.launch();
    daemon.wait_ready();
    let known = |name: &str| {
        let miners = daemon.get("/api/miners")?;
        miners["miners"].as_array()?.iter().find(|m| m["name"] == name).cloned()
    };
    let mut here = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    here.call("mining.suggest_difficulty", serde_json::json!([1000]));
    wait_for("the newer wish", || (known("anna")?["difficulty"] == 1000.0).then_some(()));

    // She is given another name, and begins anew, until the owner says that it is she.
    let join = |from: &str, into: &str| {
        let body = serde_json::json!({ "pin": "7391x", "from": from, "into": into }).to_string();
        let request = minreq::post(format!("http://{}/api/join", daemon.http))
            .with_header("Content-Type", "application/json")
            .with_header("Origin", format!("http://{}", daemon.http))
            .with_body(body);
        let answer = patient(&request).unwrap();
        (answer.status_code, answer.as_str().unwrap().to_owned())
    };
    let id = |name: &str| known(name).unwrap()["id"].as_str().unwrap().to_owned();
    let (old, berta) = (id("anna"), id("berta"));
    let refused = join(&old, &berta);
    assert!(refused.0 == 422 && refused.1.contains("anna is connected"), "{refused:?}");
    drop(here);
    wait_for("anna to be gone", || (known("anna")?["state"] == "gone").then_some(()));
    let renamed = || Miner::connect(daemon.stratum, "bitaxe/BM1370", "annas new name");
    let _here = renamed();
    wait_for("the new name", || known("annas new name"));
    let new = id("annas new name");
    assert_eq!(known("annas new name").unwrap()["accepted"], 0);
    assert_eq!(join(&old, "999").0, 422);
    assert_eq!(join(&old, &new).0, 200);
    let joined = |known: &dyn Fn(&str) -> Option<serde_json::Value>| {
        assert!(known("anna").is_none());
        let shown = known("annas new name").unwrap();
        assert_eq!((&shown["accepted"], &shown["best"]), (&1.into(), &2000.0.into()), "{shown}");
        assert_eq!((&shown["id"], &shown["state"]), (&new.as_str().into(), &"mining".into()));
    };
    joined(&known);
    assert!(daemon.text("/metrics").contains("annas new name"));
    // What `soloist export` says, which reads the card.
    wait_for("the card to have it", || {
        let ledger = transfer::read_card(now, &daemon.data()).ok()??;
        let workers = soloist::ledger::export::workers_csv(&ledger);
        (workers.contains("annas new name") && !workers.contains("\nanna,")).then_some(())
    });
    // The power goes.
    daemon.kill();
    daemon.launch();
    daemon.wait_ready();
    let _here = Miner::connect(daemon.stratum, "bitaxe/BM1370", "annas new name");
    let known = |name: &str| {
        let miners = daemon.get("/api/miners")?;
        miners["miners"].as_array()?.iter().find(|m| m["name"] == name).cloned()
    };
    wait_for("her return", || (known("annas new name")?["state"] == "mining").then_some(()));
    joined(&known);
}

/// An address of another chain than the test's node.
const OTHER_CHAIN: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

/// What the owner can start by hand, and read.
fn by_hand(daemon: &Daemon, browser: &mut Browser<'_>, miner: &mut Miner, password: &str) {
    let token = browser.token();
    // A backup of the running box, with and without the secrets. Another data directory is only used
    // from the next start on.
    let (here, elsewhere) = ("[data]\ndir = \"", "[data]\ndir = \"/nowhere");
    daemon.edit(|text| text.replace(here, elsewhere));
    daemon.signal(Signal::SIGHUP);
    wait_for("the reload", || {
        daemon.log().contains("The data directory is another.").then_some(())
    });
    for (passphrase, sealed) in [("", 0), ("correct horse battery", 1)] {
        let form = format!("token={token}&passphrase={}", passphrase.replace(' ', "+"));
        let file = browser.post("/backup", &form);
        let files = transfer::attachments(file.as_bytes()).unwrap();
        let count = files.iter().filter(|(name, _)| name == transfer::SEALED).count();
        assert_eq!((files.len(), count), (2 + sealed, sealed));
        let text = transfer::settings_with(file.as_bytes(), Some(passphrase));
        assert_eq!(text.is_ok(), sealed == 1, "{text:?}");
    }
    daemon.edit(|text| text.replace(elsewhere, here));
    daemon.signal(Signal::SIGHUP);
    wait_for("the other reload", || daemon.log().contains("nothing changed").then_some(()));
    let mut press = |what: &str| {
        let page = browser.post("/action", &format!("token={token}&action={what}"));
        println!("{what}: {}", page.status_code);
        page.as_str().unwrap().to_owned()
    };
    let page = press("drill");
    assert!(page.contains("was shown to the nodes:") && page.contains("would accept it"), "{page}");
    // Nobody would start this one again, and it may not turn this machine off.
    assert!(press("restart").contains("Tick the box"));
    assert!(press("restart&sure=yes").contains("not started by systemd"));
    assert!(press("poweroff&sure=yes").contains("systemctl poweroff"));
    assert!(press("level&level=trace").contains("TRACE"));
    assert!(press("forget&sure=yes&miner=999").contains("no such miner"));
    assert!(press("forget&sure=yes&miner=1").contains("is connected"));
    assert!(press("record&miner=1").contains("/recordings/1"));
    assert!(press("record&miner=1").contains("Another recording runs"));

    // A fixed difficulty reaches the miner at once, with a clean job, and it stays connected.
    for unclear in ["-3", "5,000", "5.000", "5k"] {
        let page = press(&format!("fix&miner=1&difficulty={unclear}"));
        assert!(page.contains("write a plain number, such as 5000"), "{unclear}: {page}");
    }
    assert!(press("fix&miner=999&difficulty=3").contains("no such miner"));
    let page = press("fix&miner=1&difficulty=2048");
    assert!(page.contains("is fixed at 2048"), "{page}");
    let line = loop {
        let line = miner.next_line().expect("a difficulty");
        if line["method"] == "mining.set_difficulty" {
            break line;
        }
    };
    assert_eq!(line["params"][0], 2048);
    let line = miner.next_line().expect("its job");
    assert_eq!((&line["method"], &line["params"][8]), (&"mining.notify".into(), &true.into()));
    let shown = daemon.get("/api/miners/1").unwrap();
    assert_eq!((&shown["difficulty"], &shown["difficulty_locked"]), (&2048.0.into(), &true.into()));

    let (answer, _) = miner.mine_and_go_on();
    assert_eq!(answer["result"], true, "{answer}");
    let read = |path: &str| {
        let url = format!("http://{}{path}", daemon.http);
        let request = minreq::get(url).with_header("Cookie", &browser.cookie).with_timeout(60);
        let answer = patient(&request).unwrap();
        assert_eq!(answer.status_code, 200, "{path}");
        answer.as_str().unwrap().to_owned()
    };
    let recording = read("/recordings/1");
    assert!(recording.contains("> {") && recording.contains("mining.submit"), "{recording}");
    assert!(recording.contains("< {") && recording.contains("mining.notify"), "{recording}");
    let log = read("/log");
    assert!(log.contains("getblocktemplate") && log.contains(" request="), "{log}");
    let report = read("/support.txt");
    for part in ["== Config", "== Status", "soloist_ready", "== Log", "regtest"] {
        assert!(report.contains(part), "{part} in\n{report}");
    }
    for secret in [password, PAYOUT, "7391x", "argon2id:"] {
        assert!(!report.contains(secret) && !recording.contains(secret), "{secret}");
    }
    // Sent away once: its connection ends, and then it can be forgotten.
    let kick = format!("token={token}&action=kick&miner=1");
    let page = browser.post("/action", &kick).as_str().unwrap().to_owned();
    assert!(page.contains("is disconnected"), "{page}");
    let kicked = Instant::now();
    while miner.next_line().is_some() {
        assert!(kicked.elapsed() < Duration::from_secs(60), "the miner is still connected");
    }
    wait_for("the miner to be gone", || {
        let page = browser.post("/action", &kick).as_str().unwrap().to_owned();
        page.contains("is not connected").then_some(())
    });
    // Nobody else reads them.
    for path in ["/log", "/support.txt", "/recordings/1"] {
        let page = daemon.text(path);
        assert!(page.contains("action=\"/login\""), "{path}: {page}");
    }
}
