use super::*;

/// The example of `docs/update-feed.md`, by which the writer is tested as well.
pub(in crate::update) fn example() -> String {
    let page = include_str!("../../../docs/update-feed.md");
    let (_, rest) = page.split_once("```json\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

pub(in crate::update) fn feed() -> Feed {
    Feed::read(example().as_bytes()).unwrap()
}

#[test]
fn the_example_of_the_contract_is_read() {
    let feed = feed();
    assert_eq!((feed.serial, feed.issued), (1234, 1_796_119_200));
    let release = &feed.release;
    assert_eq!(release.version, Version(0, 3, 0));
    assert_eq!((release.date.as_str(), release.size), ("2026-12-01", 51_234_567));
    assert!(release.changes.starts_with("- A node that freezes"), "{}", release.changes);
    assert_eq!(release.changes.lines().count(), 2);
    assert_eq!((release.minimum, release.sha256[0]), (Version(0, 1, 0), 0xe3));
    assert!(release.url.ends_with("/soloist-0.3.0-arm64.update"));
    assert!(feed.reason(Version(0, 2, 1)).unwrap().contains("settings"));
    assert_eq!(feed.reason(Version(0, 2, 0)), None);
}

#[test]
fn keys_that_are_not_known_are_passed_over() {
    let text = example().replacen('{', "{ \"later\": [{}], ", 1);
    let text = text.replace("\"date\":", "\"tomorrow\": null, \"date\":");
    assert_eq!(Feed::read(text.as_bytes()), Ok(feed()));
}

/// One value changed, and the name by which it is told.
#[test]
fn every_value_is_held_to_the_table() {
    let long = |count: usize| format!("\"{}\"", "x".repeat(count));
    let many = (0..101).map(|n| format!("{{\"version\":\"9.{n}.0\",\"reason\":\"r\"}}"));
    let many = format!("[{}]", many.collect::<Vec<_>>().join(","));
    let address = |count: usize| format!("\"https://a/{}\"", "x".repeat(count));
    let wrong: &[(&str, &str, &[&str])] = &[
        ("soloist_feed", "soloist_feed", &["\"1\"", "null", "-1", "1.5"]),
        ("serial", "serial", &["0", "-1", "1.5", "9007199254740992", "\"5\"", "null", "1e400"]),
        (
            "issued",
            "issued",
            &[
                "\"2026-12-01\"",
                "\"2026-12-01T10:00:00\"",
                "\"2026-12-01 10:00:00Z\"",
                "\"2026-13-01T10:00:00Z\"",
                "\"2026-02-30T10:00:00Z\"",
                "\"2026-12-01T24:00:00Z\"",
                "\"2026-12-01T10:00:61Z\"",
                "\"1969-12-31T23:59:59Z\"",
                "\"2026-12-01T1é:00:0Z\"",
                "1",
            ],
        ),
        ("version", "version", &["\"0.3\"", "\"v0.3.0\"", "\"0.3.01\"", "3", "\"0.2.1\""]),
        ("date", "date", &["\"2026-2-1\"", "\"2026-02-29\"", "\"\"", "\"01.12.2026\"", "20261201"]),
        ("changes", "changes", &["\"a\\tb\"", "\"a\\u001bb\"", "\"a\\u202eb\"", "\"a\\rb\"", "5"]),
        (
            "url",
            "url",
            &[
                "\"ftp://a/b\"",
                "\"https://\"",
                "\"https:///b\"",
                "\"//a/b\"",
                "\"https://a/ü\"",
                "\"https://a/ b\"",
                "\"https://me:secret@a/b\"",
                "7",
            ],
        ),
        ("size", "size", &["0", "-5", "\"5\"", "5.5"]),
        ("sha256", "sha256", &["\"e3\"", "5"]),
        ("minimum", "minimum", &["\"0\"", "null"]),
        ("withdrawn", "withdrawn", &["{}", "null", "[5]"]),
    ];
    let example: Value = serde_json::from_str(&example()).unwrap();
    let with = |key: &str, value: &str| {
        let mut document = example.clone();
        // The text goes in as it is: numbers of any size, and escapes.
        let mark = "the value";
        let of_release = document["release"].get(key).is_some();
        let place = if of_release { &mut document["release"] } else { &mut document };
        place[key] = Value::from(mark);
        Feed::read(document.to_string().replace(&format!("\"{mark}\""), value).as_bytes())
    };
    for (key, told, values) in wrong {
        for value in *values {
            // A release that is withdrawn is told at the list.
            let told = if *value == "\"0.2.1\"" { "withdrawn" } else { told };
            let expected = match *value {
                "1e400" => Fault::NotJson,
                _ => Fault::Value(told),
            };
            assert_eq!(with(key, value), Err(expected), "{key} {value}");
        }
        // And it must be there.
        let mut document = example.clone();
        let of_release = document["release"].get(*key).is_some();
        let place = if of_release { &mut document["release"] } else { &mut document };
        place.as_object_mut().unwrap().remove(*key);
        assert_eq!(Feed::read(document.to_string().as_bytes()), Err(Fault::Value(told)), "{key}");
    }
    let upper = format!("\"{}\"", "E3".repeat(32));
    assert_eq!(with("sha256", &upper), Err(Fault::Value("sha256")));
    assert_eq!(with("changes", &long(8001)), Err(Fault::Value("changes")));
    assert!(with("changes", &long(8000)).is_ok());
    assert_eq!(with("url", &address(491)), Err(Fault::Value("url")));
    assert!(with("url", &address(490)).is_ok());
    assert_eq!(with("withdrawn", &many), Err(Fault::Value("withdrawn")));
    let reason = |reason: &str| {
        with("withdrawn", &format!("[{{\"version\":\"0.1.0\",\"reason\":{reason}}}]"))
    };
    assert_eq!(reason(&long(301)), Err(Fault::Value("reason")));
    assert!(reason(&long(300)).is_ok());
    assert_eq!(reason("\"two\\nlines\""), Err(Fault::Value("reason")));
    assert_eq!(with("soloist_feed", "2"), Err(Fault::Format(2)));
    assert!(with("serial", "9007199254740991").is_ok());
}

#[test]
fn what_is_no_feed_is_refused_and_nothing_panics() {
    for bad in ["", "null", "[]", "\"x\"", "{", "<html>", "\u{0}", &"[".repeat(5_000)] {
        assert_eq!(Feed::read(bad.as_bytes()), Err(Fault::NotJson), "{bad:.20}");
    }
    assert_eq!(Feed::read(b"\xff\xfe{}"), Err(Fault::NotJson));
    let padded = example() + &" ".repeat(FEED_MAX);
    assert_eq!(Feed::read(padded.as_bytes()), Err(Fault::TooLong(65_536)));
    // Every prefix, and every byte of it damaged.
    let bytes = example().into_bytes();
    for end in 0..bytes.len() {
        drop(Feed::read(&bytes[..end]));
        let mut damaged = bytes.clone();
        for wrong in [0, b'"', b'9', 0xff] {
            damaged[end] = wrong;
            drop(Feed::read(&damaged));
        }
    }
}
