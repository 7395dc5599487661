//! What the programs that were written for public-pool and goPool ask for, played by their own calls: which
//! addresses, and what they do with each field. From exergyheat/ha-integration-public-pool (2026-01),
//! getumbrel/umbrel-public-pool-widget (2025-02), public-pool's own page and goPool's JSON (2026-04).

// A test's helpers may panic.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use soloist::server::http::Options;
use soloist::status::Snapshot;

use crate::sample;
use crate::server::Server;

/// A client of the box.
struct Client(Server);

impl Client {
    fn of(snapshot: Snapshot) -> Client {
        let options = Options { requests_per_s: 100_000, ..Options::default() };
        Client(Server::start(snapshot, options, false))
    }

    /// `None` for anything but 200 with JSON.
    fn get(&self, path: &str) -> Option<Value> {
        let url = format!("http://{}{path}", self.0.address);
        let answer = minreq::get(url).with_timeout(20).send().unwrap();
        let kind = answer.headers.iter().find(|(name, _)| name == "content-type");
        let is_json = kind.is_some_and(|(_, kind)| kind == "application/json");
        (answer.status_code == 200 && is_json)
            .then(|| serde_json::from_str(answer.as_str().unwrap()).unwrap())
    }
}

/// A number, or a text that is one: what Python's `float()` takes.
fn float(value: &Value) -> f64 {
    match value {
        Value::Number(number) => number.as_f64().unwrap(),
        Value::String(text) => text.parse().unwrap(),
        other => panic!("{other} is no number"),
    }
}

/// `2026-11-21T07:39:12.000Z`, or without the fraction.
fn is_date(value: &Value) -> bool {
    let text = value.as_str().unwrap();
    let pattern = "0000-00-00T00:00:00";
    let fits =
        |(c, wanted): (char, char)| if wanted == '0' { c.is_ascii_digit() } else { c == wanted };
    text.ends_with('Z') && text.len() > pattern.len() && text.chars().zip(pattern.chars()).all(fits)
}

/// As in a path: everything but letters, digits and `-._~`.
fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let one = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(one).collect()
}

/// Home Assistant: a try at the set-up, then three calls a minute. Gives the workers' names.
fn home_assistant(client: &Client, address: &str) -> Vec<String> {
    let tried = client.get(&format!("/api/client/{address}")).expect("the set-up takes no 404");
    assert!(tried.get("workersCount").is_some() && tried.get("workers").is_some());

    let pool = client.get("/api/pool").unwrap();
    assert!(pool["totalHashRate"].is_number() && pool["fee"].is_number());
    assert!(pool["totalMiners"].is_u64() && pool["blockHeight"].is_u64());
    assert!(pool["blocksFound"].is_array(), "it counts them, and keeps them as an attribute");
    let network = client.get("/api/network").unwrap();
    for field in ["difficulty", "networkhashps"] {
        assert!(float(&network[field]) >= 0.0);
    }
    assert!(network["blocks"].is_u64());

    let ours = client.get(&format!("/api/client/{address}")).unwrap();
    assert!(float(&ours["bestDifficulty"]) >= 0.0);
    let workers = ours["workers"].as_array().unwrap();
    assert_eq!(ours["workersCount"].as_u64().unwrap() as usize, workers.len());
    let mut names = Vec::new();
    for worker in workers {
        let name = worker["name"].as_str().unwrap();
        assert!(!name.is_empty(), "the sensor is named by it");
        assert!(float(&worker["hashRate"]) >= 0.0 && float(&worker["bestDifficulty"]) >= 0.0);
        assert!(is_date(&worker["startTime"]) && is_date(&worker["lastSeen"]), "{worker}");
        assert!(worker["sessionId"].is_string());
        names.push(name.to_owned());
    }
    names
}

/// The widget of umbrelOS: one call, of which it shows four figures as text.
fn umbrel(client: &Client) {
    let pool = client.get("/api/pool").unwrap();
    assert!(pool["totalHashRate"].is_number(), "it is divided by 1000 until it is short");
    assert!(pool["blocksFound"].is_array(), "its length is shown");
    assert!(!pool["totalMiners"].is_null() && !pool["blockHeight"].is_null());
}

/// Public-pool's page: from an address to each of its workers, and on to each session.
fn own_page(client: &Client, address: &str) {
    let points = |value: &Value| {
        let points = value.as_array().unwrap();
        for point in points {
            assert!(is_date(&point["label"]) && float(&point["data"]) >= 0.0, "{point}");
        }
    };
    let ours = client.get(&format!("/api/client/{address}")).unwrap();
    points(&client.get(&format!("/api/client/{address}/chart")).unwrap());
    for listed in ours["workers"].as_array().unwrap() {
        let (name, session) =
            (listed["name"].as_str().unwrap(), listed["sessionId"].as_str().unwrap());
        let path = format!("/api/client/{address}/{}", escaped(name));
        let worker = client.get(&path).unwrap_or_else(|| panic!("no worker at {path}"));
        assert_eq!(worker["name"], name);
        assert!(worker["bestDifficulty"].is_number());
        points(&worker["chartData"]);
        let path = format!("{path}/{session}");
        let one = client.get(&path).unwrap_or_else(|| panic!("no session at {path}"));
        assert_eq!((&one["name"], &one["sessionId"]), (&name.into(), &session.into()));
        assert!(one["bestDifficulty"].is_number() && is_date(&one["startTime"]));
        points(&one["chartData"]);
        assert!(client.get(&format!("{path}x")).is_none());
    }
}

#[test]
fn programs_written_for_public_pool_read_what_they_ask_for() {
    for (name, snapshot) in sample::all() {
        let address = snapshot.payout.address.clone();
        let client = Client::of(snapshot);
        umbrel(&client);
        if !address.is_empty() {
            println!("{name}");
            home_assistant(&client, &address);
            own_page(&client, &address);
        }
        assert!(client.get("/api/client/bc1qother").is_none());
        assert!(client.get("/api/client/bc1qother/chart").is_none());
    }
}

#[test]
fn an_address_that_is_paid_lists_its_own_miners() {
    let snapshot = sample::per_miner();
    let owner = snapshot.payout.address.clone();
    let client = Client::of(snapshot);
    for (address, names) in [
        // A mistyped address pays the owner; what stands after it is the name all the same.
        (owner.as_str(), vec!["gamma", "shed"]),
        (sample::THEIRS, vec!["attic", "garage / left", "worker"]),
        // It is missing, but its address is still known.
        (sample::AWAY, vec![]),
    ] {
        let mut listed = home_assistant(&client, address);
        listed.sort();
        assert_eq!(listed, names, "{address}");
        own_page(&client, address);
    }
    let best = |address: &str| {
        client.get(&format!("/api/client/{address}")).unwrap()["bestDifficulty"].as_f64().unwrap()
    };
    assert!(best(sample::THEIRS) > 0.0 && best(sample::THEIRS) < 1e9, "of its own miners");
}

#[test]
fn two_machines_of_one_name_are_one_worker_with_two_sessions() {
    let mut snapshot = sample::home();
    snapshot.miners[1].name = "gamma".to_owned();
    let (a, b) = (snapshot.miners[0].clone(), snapshot.miners[1].clone());
    let address = snapshot.payout.address.clone();
    let client = Client::of(snapshot);
    own_page(&client, &address);
    let worker = client.get(&format!("/api/client/{address}/gamma")).unwrap();
    assert_eq!(worker["bestDifficulty"], a.best.max(b.best).floor());
    let last = worker["chartData"].as_array().unwrap().last().unwrap()["data"].as_f64().unwrap();
    assert!((last - a.trend[47] - b.trend[47]).abs() < 1.0);
}

#[test]
fn programs_written_for_gopool_read_what_they_ask_for() {
    let client = Client::of(sample::home());
    let node = client.get("/api/node").unwrap();
    assert_eq!(
        ["node_connections", "node_connections_in", "node_connections_out"]
            .map(|field| node[field].as_u64().unwrap()),
        [11, 1, 10]
    );
    assert_eq!(node["node_size_on_disk_bytes"], 812_000_000_000_u64);
    assert_eq!(node["node_pruned"], false);
    let overview = client.get("/api/overview").unwrap();
    for kind in overview["miner_types"].as_array().unwrap() {
        let versions = kind["versions"].as_array().unwrap();
        let sum: u64 = versions.iter().map(|version| version["workers"].as_u64().unwrap()).sum();
        assert_eq!(kind["total_workers"], sum, "{kind}");
    }
    assert_eq!(overview["miner_types"][1]["versions"][0]["version"], "v2.13.1");

    let tls =
        |snapshot| Client::of(snapshot).get("/api/overview").unwrap()["active_tls_miners"].clone();
    assert_eq!([tls(sample::home()), tls(sample::encrypted())], [0, 1].map(Value::from));

    let failing = Client::of(sample::no_node());
    let server = failing.get("/api/server").unwrap();
    let feed = &server["job_feed"];
    assert_eq!(feed["last_error"], server["rpc_error"]);
    assert!(is_date(&feed["last_error_at"]));
    assert!(!feed["error_history"].as_array().unwrap().is_empty());
    assert!(failing.get("/api/pool-page").unwrap()["rpc_errors"].as_u64().unwrap() > 0);
}
