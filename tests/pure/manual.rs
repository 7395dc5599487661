//! The manual in `docs/`, as the box serves it: each alarm has its section, each link leads somewhere, and no
//! setting is named that there is not. `tests/page/page_manual.rs` has the paths of the page.

// A test's helpers may panic.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use soloist::config::{self, Flags, SECTIONS, Surroundings};
use soloist::settings::{SERVICES, TOPICS};
use soloist::status::health::Ready;
use soloist::status::html::help::{CHAPTERS, Chapter};
use soloist::status::{AlarmKind, RejectReason, Snapshot};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// As it is written.
fn text(chapter: &Chapter) -> String {
    let name = if chapter.name.is_empty() { "README" } else { chapter.name };
    fs::read_to_string(docs().join(format!("{name}.md"))).unwrap()
}

fn chapter(name: &str) -> &'static Chapter {
    CHAPTERS.iter().find(|chapter| chapter.name == name).unwrap()
}

/// What stands between `before` and `after`, each time.
fn between<'t>(text: &'t str, before: &'t str, after: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(before).skip(1).filter_map(move |rest| Some(rest.split_once(after)?.0))
}

/// The code in the prose of a text.
fn code(text: &str) -> Vec<&str> {
    let mut in_block = false;
    let mut found = Vec::new();
    for line in text.lines() {
        in_block ^= line.starts_with("```");
        if !in_block && !line.starts_with("```") && !line.starts_with("    ") {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found
}

/// The anchor of each section about an alarm, with its words.
fn sections() -> Vec<(String, String)> {
    let text = text(chapter("alarms"));
    let section = |rest: &str| {
        let (anchor, rest) = rest.split_once("\"></a>").unwrap();
        let (_, words) = rest.split_once('\n').unwrap();
        (anchor.to_owned(), words.split("\n#").next().unwrap().trim().to_owned())
    };
    text.split("### <a id=\"").skip(1).map(section).collect()
}

#[test]
fn each_alarm_has_a_section_and_each_section_an_alarm() {
    let sections = sections();
    for kind in AlarmKind::ALL {
        let words = sections.iter().filter(|(anchor, _)| anchor == kind.name()).map(|(_, w)| w);
        let words: Vec<&String> = words.collect();
        assert_eq!(words.len(), 1, "docs/alarms.md, <a id=\"{}\"></a>", kind.name());
        assert!(words[0].split(' ').count() >= 12, "{kind:?}: {}", words[0]);
        assert!(chapter("alarms").html.contains(&format!("id=\"{}\"", kind.name())), "{kind:?}");
    }
    assert_eq!(sections.len(), AlarmKind::COUNT, "a section about no alarm");
}

/// A kind that nothing raises any more would have a section about nothing.
#[test]
fn each_kind_is_raised_somewhere() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = [
        "status/verdict.rs",
        "status/clocks.rs",
        "status/devices.rs",
        "status/pair.rs",
        "status/update.rs",
        "daemon/view.rs",
        "daemon/nodes.rs",
    ];
    let code: String =
        files.iter().map(|file| fs::read_to_string(src.join(file)).unwrap()).collect();
    for kind in AlarmKind::ALL {
        let by_trouble = kind.name().starts_with("device_");
        assert!(by_trouble || code.contains(&format!("AlarmKind::{kind:?}")), "{kind:?}");
    }
}

#[test]
fn each_reason_of_a_rejected_share_is_explained() {
    let text = text(chapter("alarms")).replace('\n', " ");
    for reason in RejectReason::ALL {
        // The two that tell of no fault are told together.
        let words = reason
            .words()
            .replace("on their way", "shares on their way")
            .replace("sent twice", "shares sent twice");
        let words = if reason.words() == words { format!("- {words}:") } else { words };
        assert!(text.contains(&words), "docs/alarms.md: {words}");
    }
}

#[test]
fn each_service_and_each_topic_of_messages_is_explained() {
    let text = text(chapter("messages"));
    for service in SERVICES {
        assert!(
            text.contains(&format!("**{}**", service.words)),
            "docs/messages.md: {}",
            service.words
        );
    }
    for (topic, _) in TOPICS {
        assert!(text.contains(&format!("- `{topic}`: ")), "docs/messages.md: {topic}");
    }
}

#[test]
fn each_link_between_chapters_leads_to_a_section() {
    let mut anchors = HashSet::new();
    for chapter in CHAPTERS {
        let path = if chapter.name.is_empty() {
            "/help".into()
        } else {
            format!("/help/{}", chapter.name)
        };
        for id in between(chapter.html, "id=\"", "\"") {
            assert!(anchors.insert(format!("{path}#{id}")), "{path}: two sections are called {id}");
        }
        anchors.insert(path);
    }
    let mut links = 0;
    for chapter in CHAPTERS {
        for link in between(chapter.html, "href=\"", "\"") {
            let at = match link.strip_prefix('#') {
                Some(anchor) if chapter.name.is_empty() => format!("/help#{anchor}"),
                Some(anchor) => format!("/help/{}#{anchor}", chapter.name),
                None => link.to_owned(),
            };
            if at.starts_with("/help") {
                assert!(anchors.contains(&at), "docs/{}.md: {link}", chapter.name);
                links += 1;
            }
        }
    }
    assert!(links > 40, "{links}");
}

#[test]
fn each_link_of_the_repository_leads_to_a_file() {
    for chapter in CHAPTERS {
        let text = text(chapter);
        for link in between(&text, "](", ")").filter(|link| !link.contains("://")) {
            let file = link.split('#').next().unwrap();
            let there = file.is_empty() || docs().join(file).exists();
            assert!(there, "docs/{}.md: {link}", chapter.name);
            // On the box it is a chapter, or only its text.
            let is_chapter = file.is_empty()
                || file == "README.md"
                || CHAPTERS.iter().any(|chapter| file == format!("{}.md", chapter.name));
            let shown = chapter.html.contains(&format!("href=\"{link}\""));
            assert!(is_chapter || !shown, "{link} is a link on the box");
        }
    }
}

/// The index names every chapter, in words of its own.
#[test]
fn the_index_leads_to_each_chapter() {
    let index = text(chapter(""));
    for chapter in CHAPTERS.iter().filter(|chapter| !chapter.name.is_empty()) {
        let link = format!("- [{}]({}.md): ", chapter.title, chapter.name);
        assert!(index.contains(&link), "docs/README.md: {link}");
    }
    assert!(CHAPTERS.len() >= 12, "{}", CHAPTERS.len());
}

#[test]
fn a_chapter_is_text_with_one_title_and_nothing_that_the_policy_forbids() {
    for chapter in CHAPTERS {
        assert!(!chapter.title.is_empty(), "{}", chapter.name);
        assert_eq!(chapter.html.matches("<h1").count(), 1, "{}", chapter.name);
        for forbidden in ["<script", "<style", " style=", "<img", "<a id"] {
            assert!(!chapter.html.contains(forbidden), "{}: {forbidden}", chapter.name);
        }
    }
}

fn build(text: &str) -> Result<(), String> {
    let surroundings = Surroundings {
        file_dir: "/etc/soloist".into(),
        home: Some("/home/anna".into()),
        runtime_dir: None,
        data_dir: "/var/lib/soloist".into(),
    };
    let built = config::build(Some(("soloist.toml", text)), &Flags::default(), &surroundings);
    built.map(|_| ()).map_err(|problems| problems.to_string())
}

#[test]
fn each_example_of_settings_is_read() {
    const PAYOUT: &str = "[payout]\naddress = \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"\n";
    const NODE: &str = "[node]\nrpc_url = \"http://a:b@10.0.0.1\"\n";
    let mut examples = 0;
    for chapter in CHAPTERS {
        let text = text(chapter);
        for example in between(&text, "```toml\n", "```") {
            let node = if example.contains("[node]\n") { "" } else { NODE };
            let whole = format!("{PAYOUT}{node}{example}");
            assert_eq!(build(&whole), Ok(()), "docs/{}.md:\n{example}", chapter.name);
            examples += 1;
        }
    }
    assert!(examples >= 10, "{examples}");
}

/// Names with an underscore that are no settings of ours, but of Home Assistant and of a broker.
const FOREIGN: [&str; 3] = ["json_attributes", "mosquitto_passwd", "value_template"];

#[test]
fn each_setting_that_is_named_is_one() {
    let names: BTreeSet<&str> =
        SECTIONS.iter().flat_map(|section| (section.facts)()).map(|facts| facts.name).collect();
    let headings: BTreeSet<String> =
        SECTIONS.iter().map(|section| section.heading().to_string()).collect();
    let ready = serde_json::to_value(Ready::of(&Snapshot::default())).unwrap();
    let alarms: BTreeSet<&str> = AlarmKind::ALL.iter().map(|kind| kind.name()).collect();
    let mut named = 0;
    // The reference is made from the declarations themselves.
    for chapter in CHAPTERS.iter().filter(|chapter| chapter.name != "settings") {
        let text = text(chapter);
        let at = format!("docs/{}.md", chapter.name);
        for code in code(&text) {
            // Of the file on the boot partition, and read by the box alone.
            if code.starts_with('[') && code.ends_with(']') && code != "[wifi]" {
                assert!(headings.contains(code), "{at}: {code} is no section");
            }
            let name = code.split(" = ").next().unwrap();
            let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
            let is_setting = code.contains(" = ") || name.contains('_');
            if !is_setting || !name.chars().all(is_name) || name.starts_with("soloist_") {
                continue;
            }
            let known = names.contains(name)
                || alarms.contains(name)
                || FOREIGN.contains(&name)
                || ready.get(name).is_some();
            assert!(known, "{at}: {code} is no setting");
            named += 1;
        }
        // Where a setting is said to be.
        let flat = text.replace('\n', " ");
        for (name, heading) in placed(&flat) {
            let section = SECTIONS.iter().find(|section| section.heading() == heading);
            let section = section.unwrap_or_else(|| panic!("{at}: {heading}"));
            let is_there = (section.facts)().iter().any(|facts| facts.name == name);
            assert!(is_there, "{at}: {name} is not below {heading}");
        }
    }
    assert!(named > 15, "{named}");
    for name in [
        "chain_initialized",
        "storage_available",
        "clock_sane",
        "submission",
        "canary",
        "keeps_address",
    ] {
        assert!(ready.get(name).is_some(), "{name}");
        assert!(text(chapter("monitoring")).contains(&format!("- `{name}`:")), "{name}");
    }
    assert_eq!(ready.as_object().unwrap().len(), 6, "docs/monitoring.md lists them");
}

/// "`name` below `[section]`", as it is written.
fn placed(text: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = text.split('`').collect();
    let mut found = Vec::new();
    for three in parts.windows(3) {
        if let [name, " below ", heading] = three
            && heading.starts_with('[')
            && *heading != "[wifi]"
        {
            found.push((name.split(" = ").next().unwrap(), *heading));
        }
    }
    found
}
