//! The container and the app for Umbrel agree with the program: ports, paths, settings, and what a proxy in
//! front of the page does to a request.

// A test's helpers may panic.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use hyper::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Method, Uri};
use serde_json::Value;
use soloist::config::{self, Config, Flags, SECTIONS, Surroundings};
use soloist::server::http::guard::{Reach, check_head};
use soloist::status::{Snapshot, json, verdict};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The value of the first line with this key, without quotation marks.
fn value<'t>(text: &'t str, key: &str) -> &'t str {
    let line = text.lines().find_map(|line| line.trim_start_matches([' ', '-']).strip_prefix(key));
    line.unwrap_or_else(|| panic!("{key}")).trim().trim_matches('"')
}

fn defaults() -> Config {
    let surroundings = Surroundings {
        file_dir: "/data".into(),
        home: None,
        runtime_dir: None,
        data_dir: "/data".into(),
    };
    let text = "[payout]\naddress = \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"\n\
                [node]\nrpc_url = \"http://a:b@10.0.0.1\"\n";
    let built = config::build(Some(("soloist.toml", text)), &Flags::default(), &surroundings);
    built.unwrap_or_else(|problems| panic!("{problems}")).config
}

#[test]
fn ports_and_paths_are_the_programs() {
    let (manifest, compose) = (read("umbrel/umbrel-app.yml"), read("umbrel/docker-compose.yml"));
    let config = defaults();
    let page = config.http.listen[0].port().to_string();
    let miners = config.stratum.listen[0].port().to_string();
    let id = value(&manifest, "id:");
    assert_eq!(value(&compose, "APP_HOST:"), format!("{id}_server_1"));
    assert_eq!(value(&compose, "APP_PORT:"), page);
    let published =
        compose.lines().find_map(|line| line.trim().strip_prefix("- \"")?.split_once(':'));
    let (outside, inside) = published.unwrap();
    assert_eq!(inside, format!("{miners}/tcp\""));
    let reached = value(&compose, "SOLOIST_REACHED_AT:");
    assert_eq!(reached, format!("${{DEVICE_DOMAIN_NAME}}:{outside}"));
    assert!(manifest.contains(&format!("port {outside}.")), "the owner is told the port of miners");
    assert_ne!(value(&manifest, "port:"), outside);

    let (port, path) = value(&manifest, "endpoint:").split_once('/').unwrap();
    assert_eq!(port, format!("server:{page}"));
    assert!(compose.contains("\n  server:\n"));
    assert_eq!(path, "api/widget");

    let file = read("container/Containerfile");
    assert_eq!(value(&file, "EXPOSE "), format!("{miners}/tcp {page}/tcp"));
    assert_eq!(value(&file, "VOLUME "), "/data");
    assert!(compose.contains(":/data\n"));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(value(&manifest, "version:"), version);
    assert_eq!(value(&compose, "image:"), format!("localhost/soloist:{version}"));
}

#[test]
fn the_widgets_example_has_the_facts_that_are_served() {
    let manifest = read("umbrel/umbrel-app.yml");
    let snapshot = Snapshot::default();
    let served: Value =
        serde_json::from_slice(&json::widget(&snapshot, &verdict(&snapshot))).unwrap();
    assert_eq!(value(&manifest, "type:"), served["type"].as_str().unwrap());
    assert_eq!(value(&manifest, "refresh:"), served["refresh"].as_str().unwrap());
    let titles: Vec<&str> =
        manifest.lines().filter_map(|line| line.trim().strip_prefix("- title: ")).collect();
    let items = served["items"].as_array().unwrap();
    let expected: Vec<String> = items.iter().map(|item| item["title"].to_string()).collect();
    assert_eq!(titles, expected);
}

/// Nothing that changes something is let past Umbrel's login.
#[test]
fn what_is_open_without_umbrels_login_only_tells() {
    let compose = read("umbrel/docker-compose.yml").replace("\\\n        ", "");
    let open: Vec<&str> = value(&compose, "PROXY_AUTH_WHITELIST:").split(',').collect();
    let api: Value = serde_json::from_str(json::OPENAPI).unwrap();
    for path in &open {
        let begins = path.trim_end_matches('*');
        let known = api["paths"].as_object().unwrap();
        let described = known.keys().filter(|known| match path.ends_with('*') {
            true => known.starts_with(begins),
            false => known == path,
        });
        let described: Vec<&String> = described.collect();
        let tells = described.iter().all(|path| known[*path].get("post").is_none());
        let is_known = !described.is_empty() || path.starts_with("/health") || *path == "/metrics";
        assert!(is_known && tells, "{path}");
    }
    assert!(open.len() > 8, "{open:?}");
}

#[test]
fn what_the_environment_says_are_settings_and_each_is_read() {
    let entrypoint = read("container/entrypoint");
    let mut heading = "";
    let mut settings = 0;
    for line in entrypoint.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix("echo \"[") {
            heading = section.split(']').next().unwrap();
        }
        if let Some(rest) = line.strip_prefix("line ") {
            let name = rest.split(' ').next().unwrap();
            let section = SECTIONS.iter().find(|section| section.name == heading).unwrap();
            let known = (section.facts)().iter().any(|facts| facts.name == name);
            assert!(known, "{name} below [{heading}]");
            settings += 1;
        }
    }
    assert!(settings >= 7, "{settings}");
    let names = |text: &str| -> BTreeSet<String> {
        let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
        let words = text.split(|c| !is_name(c)).filter(|word| word.starts_with("SOLOIST_"));
        words.map(str::to_owned).collect()
    };
    assert_eq!(names(&read("umbrel/docker-compose.yml")), names(&entrypoint));
    assert_eq!(names(&read("container/README.md")), names(&entrypoint));
}

#[test]
fn the_container_is_run_as_the_service_is() {
    let (unit, file) = (read("systemd/soloist.service"), read("container/Containerfile"));
    let environment = unit.lines().filter_map(|line| line.strip_prefix("Environment="));
    let memory =
        environment.flat_map(|line| line.split(' ')).filter(|set| !set.starts_with("SOLOIST"));
    let memory: Vec<&str> = memory.collect();
    assert_eq!(memory.len(), 4, "{memory:?}");
    for set in memory {
        assert!(file.contains(set), "container/Containerfile: {set}");
    }
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    let compose = read("umbrel/docker-compose.yml");
    assert_eq!(value(&compose, "stop_grace_period:"), format!("{stop}s"));
    assert!(read("container/README.md").contains(&format!("podman stop -t {stop}")));
    for rule in ["read_only: true", "user: \"1000:1000\"", "- ALL", "- no-new-privileges:true"] {
        assert!(compose.contains(rule), "{rule}");
    }
}

/// Umbrel's proxy passes the browser's `Host` on as it is, and its port with it.
#[test]
fn the_page_answers_behind_umbrels_proxy() {
    let uri = Uri::from_static("/settings");
    let request = |host: &'static str, origin: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static(host));
        let method = match origin {
            Some(origin) => {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
                Method::POST
            }
            None => Method::GET,
        };
        let takes = origin.map(|_| 16 * 1024);
        check_head(&method, &uri, &headers, takes, &Reach::default())
    };
    for host in ["umbrel.local:3380", "192.168.1.5:3380", "umbrel:3380"] {
        assert_eq!(request(host, None), Ok(()), "{host}");
    }
    // A form, and the widget, which Umbrel asks for by the container's address.
    assert_eq!(request("umbrel.local:3380", Some("http://umbrel.local:3380")), Ok(()));
    assert_eq!(request("10.21.0.17:8080", None), Ok(()));
    // Another app on the same Umbrel is another site.
    assert!(request("umbrel.local:3380", Some("http://umbrel.local:2100")).is_err());
    assert!(request("soloist.example.com:3380", None).is_err());
}
