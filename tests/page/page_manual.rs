//! The manual as it is served: every chapter, every path of the page that it names, and the way from an alarm
//! to its section. `tests/pure/manual.rs` has what the chapters say.

// A test's helpers may panic.
#![allow(clippy::unwrap_used)]

use soloist::server::http::Options;
use soloist::status::html::help::CHAPTERS;
use soloist::status::html::{self, Miners};
use soloist::status::{State, verdict};

use crate::sample;
use crate::server::Server;

fn get(server: &Server, path: &str) -> minreq::Response {
    let url = format!("http://{}{path}", server.address);
    minreq::get(url).with_timeout(20).send().unwrap()
}

fn start() -> Server {
    let options = Options { requests_per_s: 100_000, ..Options::default() };
    Server::start(sample::found(), options, false)
}

fn paths_in(html: &str) -> impl Iterator<Item = &str> {
    html.split("href=\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0))
}

#[test]
fn each_chapter_is_served_under_the_pages_own_policy() {
    let server = start();
    for chapter in CHAPTERS {
        let path = match chapter.name {
            "" => "/help".to_owned(),
            name => format!("/help/{name}"),
        };
        let answer = get(&server, &path);
        let text = answer.as_str().unwrap();
        assert_eq!(answer.status_code, 200, "{path}");
        assert!(text.contains(chapter.html), "{path}");
        assert!(text.contains("/help.css?v="), "{path}");
        // Somebody reads it: it does not load itself again.
        assert!(!text.contains("http-equiv") && !text.contains("data-live"), "{path}");
        let policy = |(name, value): &(String, String)| {
            name == "content-security-policy" && value.starts_with("default-src 'none'")
        };
        assert!(answer.headers.iter().any(policy), "{path}: {:?}", answer.headers);
    }
    assert_eq!(get(&server, "/help.css").status_code, 200);
    for path in ["/help/nothing", "/help/../settings", "/help/README", "/help/alarms/x"] {
        assert_eq!(get(&server, path).status_code, 404, "{path}");
    }
}

#[test]
fn each_path_that_a_chapter_names_is_there() {
    let server = start();
    let mut paths = 0;
    for chapter in CHAPTERS {
        for path in paths_in(chapter.html).filter(|path| path.starts_with('/')) {
            let code = get(&server, path).status_code;
            assert!(
                code == 200 || path.starts_with("/health/"),
                "{}: {path}: {code}",
                chapter.name
            );
            assert_ne!(code, 404, "{}: {path}", chapter.name);
            paths += 1;
        }
    }
    assert!(paths > 40, "{paths}");
}

#[test]
fn each_alarm_and_each_headline_that_needs_words_leads_to_its_section() {
    let alarms = CHAPTERS.iter().find(|chapter| chapter.name == "alarms").unwrap();
    let mut links = 0;
    for (name, snapshot) in sample::all() {
        let told = verdict(&snapshot);
        let page = html::page(&snapshot, &told, Miners::Few);
        let shown = || paths_in(&page).filter(|path| path.starts_with("/help/"));
        for path in shown() {
            let anchor = path.strip_prefix("/help/alarms#").unwrap();
            assert!(alarms.html.contains(&format!("id=\"{anchor}\"")), "{name}: {path}");
            links += 1;
        }
        for kind in told.alarms.iter().map(|alarm| alarm.kind).chain(told.about) {
            assert!(shown().any(|path| path == kind.help()), "{name}: {kind:?}");
        }
        let explains = told.state == State::Ok || told.about.is_some() || !told.alarms.is_empty();
        assert!(explains, "{name}: {}", told.sentence);
        for miner in &snapshot.miners {
            let own = html::miner(&snapshot, &told, &miner.id, None).unwrap();
            for alarm in
                told.alarms.iter().filter(|alarm| alarm.id.ends_with(&format!(":{}", miner.id)))
            {
                assert!(own.contains(&alarm.kind.help()), "{name}: {}", alarm.id);
            }
        }
    }
    assert!(links > 15, "{links}");
}
