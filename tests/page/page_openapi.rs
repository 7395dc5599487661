//! Holds `docs/openapi.json` against the API's real answers: the file is what the answers of all
//! sample states are, taken together. `UPDATE_OPENAPI=1 cargo test --test page page_openapi` writes
//! it anew; the difference is then to be looked at, because a field that vanishes or changes its
//! type breaks somebody's widget.

// A test's helpers may panic.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use soloist::settings::{SERVICES, TOPICS};
use soloist::status::{Snapshot, Verdict, gopool, health, json as api, verdict};

use crate::sample;

type Answer = fn(&Snapshot, &Verdict) -> Option<Vec<u8>>;

/// Path, parameters, summary, answer.
const PATHS: [(&str, &[&str], &str, Answer); 28] = [
    ("/api/status", &[], "The state of the whole.", |s, j| Some(api::status(s, j))),
    ("/api/miners", &[], "All miners, and who knocks.", |s, _| Some(api::miners(s))),
    ("/api/miners/{id}", &["id"], "One miner.", |s, _| api::miner(s, &s.miners.first()?.id)),
    ("/api/nodes", &[], "All nodes.", |s, _| Some(api::nodes(s))),
    (
        "/api/devices",
        &[],
        "What the miners' own APIs tell of them, and the power that they need together.",
        |s, _| Some(api::devices(s)),
    ),
    ("/api/update", &[], "New versions; null where no feed is read.", |s, _| Some(api::update(s))),
    ("/api/pair", &[], "Both boxes of a pair; null where the settings name no partner.", |s, _| {
        Some(api::pair(s))
    }),
    ("/api/blocks", &["?limit"], "Found blocks, newest first.", |s, _| Some(api::blocks(s, 100))),
    ("/api/widget", &[], "Four facts for Umbrel's desktop.", |s, j| Some(api::widget(s, j))),
    (
        "/api/history",
        &["?range"],
        "Hashrate, shares and the power of all miners over time: with range (day, month, all) \
      one list `points` and one `heat`, without it all three.",
        |s, _| api::history(s, None),
    ),
    (
        "/api/miners/{id}/history",
        &["id"],
        "Hashrate, shares, temperature and power of one miner over time.",
        |s, _| Some(api::miner_history(s, &sample::miner_history(s))),
    ),
    ("/api/pool", &[], "As public-pool.", |s, _| Some(api::public_pool(s))),
    ("/api/info", &[], "As public-pool.", |s, _| Some(api::public_pool_info(s))),
    ("/api/info/chart", &[], "As public-pool.", |s, _| Some(api::public_pool_chart(s))),
    ("/api/network", &[], "As public-pool.", |s, _| Some(api::public_pool_network(s))),
    (
        "/api/client/{address}",
        &["address"],
        "As public-pool; 404 for an address that is not paid \
      here.",
        |s, _| api::public_pool_client(s, &s.payout.address),
    ),
    ("/api/client/{address}/chart", &["address"], "As public-pool.", |s, _| {
        api::public_pool_client_chart(s, &s.payout.address)
    }),
    (
        "/api/client/{address}/{worker}",
        &["address", "worker"],
        "As public-pool: all workers that are listed by this name.",
        |s, _| api::public_pool_worker(s, &s.payout.address, &s.miners.first()?.name),
    ),
    (
        "/api/client/{address}/{worker}/{session}",
        &["address", "worker", "session"],
        "As public-pool: one of them, by its sessionId.",
        |s, _| {
            let miner = s.miners.first()?;
            api::public_pool_session(s, &s.payout.address, &miner.name, &miner.id)
        },
    ),
    ("/api/overview", &[], "As goPool.", |s, _| Some(gopool::overview(s))),
    ("/api/pool-page", &[], "As goPool.", |s, _| Some(gopool::pool_page(s))),
    ("/api/server", &[], "As goPool.", |s, _| Some(gopool::server(s))),
    ("/api/node", &[], "As goPool.", |s, _| Some(gopool::node(s))),
    ("/api/pool-hashrate", &[], "As goPool.", |s, _| Some(gopool::pool_hashrate(s))),
    ("/health", &[], "200 while a block can be found, else 503.", |s, j| {
        Some(health::health(s, j).body)
    }),
    ("/health/live", &[], "200 while the loop runs.", |s, _| Some(health::live(s).body)),
    ("/health/ready", &[], "200 when miners may be sent here, else 503.", |s, _| {
        Some(health::ready(s).body)
    }),
    ("/health/detailed", &[], "The beginning of a support bundle.", |s, j| {
        Some(health::detailed(s, j).body)
    }),
];

/// What is no JSON, or follows from no snapshot.
fn others() -> Vec<(&'static str, Value)> {
    let text = |kind: &str| json!({ (kind): { "schema": { "type": "string" } } });
    let get = |summary: &str, parameters: Vec<Value>, content: Value| {
        json!({
            "summary": summary,
            "parameters": parameters,
            "responses": { "200": { "description": "The answer.", "content": content } },
        })
    };
    let strings = json!({ "type": "array", "items": { "type": "string" } });
    let object = |required: &[&str], properties: Value| json!({ "type": "object", "required": required, "properties": properties });
    let one = |schema: Value| json!({ "application/json": { "schema": schema } });
    let string = json!({ "type": "string" });
    let node = object(
        &["url"],
        json!({
            "url": string, "user": string, "password": { "type": ["string", "null"] },
            "certificate": string, "zmq": string, "p2p": string,
        }),
    );
    // As a `[[notify]]` of the file: with the names of its service's fields, and of the topics.
    let mut place = serde_json::Map::new();
    place.insert("kind".into(), json!({ "enum": SERVICES.map(|service| service.name) }));
    for field in SERVICES.iter().flat_map(|service| service.fields) {
        place.insert(field.name.into(), json!({ "type": ["string", "integer"] }));
    }
    for (topic, words) in TOPICS {
        let switch = json!({ "type": "boolean", "default": true, "description": words });
        place.insert(topic.into(), switch);
    }
    let place = object(&["kind"], Value::Object(place));
    let wish = object(
        &["payout", "nodes", "pin"],
        json!({
            "name": string, "payout": string, "tag": { "type": ["string", "null"] },
            "nodes": { "type": "array", "items": node }, "pin": string,
            "notify": { "type": "array", "items": place },
            "save": { "type": "boolean" }, "anyway": { "type": "boolean" },
        }),
    );
    let tried = one(object(
        &["saved", "findings", "problems", "fields", "can_be_saved_anyway"],
        json!({
            "saved": { "type": "boolean" }, "findings": strings, "problems": strings,
            "fields": strings, "can_be_saved_anyway": { "type": "boolean" },
        }),
    ));
    let brought =
        one(object(&["done", "problems"], json!({ "done": strings, "problems": strings })));
    let answers = |content: &Value, codes: &[(&str, &str)]| {
        let answers = codes.iter().map(|(code, description)| {
            let answer = json!({ "description": description, "content": content });
            ((*code).to_owned(), answer)
        });
        Value::Object(answers.collect())
    };
    let open = one(object(&["open"], json!({ "open": { "type": "boolean" } })));
    vec![
        ("/metrics", json!({ "get": get("For Prometheus.", Vec::new(), text("text/plain")) })),
        (
            "/api/events",
            json!({ "get": get(
                "The parts of the page that change, as server-sent events: with each the Unix time, \
                 and HTML by the id of its element. For the page itself: the HTML may change at any \
                 time.",
                Vec::new(),
                text("text/event-stream"),
            ) }),
        ),
        (
            "/api/blocks/{hash}.hex",
            json!({ "get": get(
                "A found block, whole, in hex; 404 where it is not kept.",
                vec![parameter("hash")],
                text("text/plain"),
            ) }),
        ),
        (
            "/api/openapi.json",
            json!({ "get": get("This file.", Vec::new(), one(json!({ "type": "object" }))) }),
        ),
        (
            "/api/setup",
            json!({
                "get": get("Whether the box waits to be set up.", Vec::new(), open),
                "post": {
                    "summary": "Sets the box up, until somebody has; without save it only tries. anyway \
                                saves in spite of problems, where the answer says \
                                can_be_saved_anyway. fields names the field of each problem: \
                                notify0.url is the url of the first place for notifications.",
                    "requestBody": { "required": true, "content": one(wish) },
                    "responses": answers(&tried, &[
                        ("200", "The values are good, and saved if that was asked for."),
                        ("409", "It is set up already."),
                        ("422", "The values cannot be taken: problems says why."),
                    ]),
                },
            }),
        ),
        (
            "/api/restore",
            json!({ "post": {
                "summary": "Takes an old card's backup, until the box is set up.",
                "requestBody": { "required": true, "content": { "multipart/form-data": {
                    "schema": object(&["backup"], json!({
                        "backup": { "type": "string", "format": "binary" },
                        "passphrase": string,
                    })),
                } } },
                "responses": answers(&brought, &[
                    ("200", "What is there now."),
                    ("400", "The form did not arrive whole."),
                    ("409", "It is set up already."),
                    ("422", "The backup cannot be used: problems says why."),
                    ("503", "Another one is being read."),
                ]),
            } }),
        ),
        (
            "/api/join",
            json!({ "post": {
                "summary": "Makes one miner of two: the history of from, which is missing, becomes that of into, and from is gone.",
                "requestBody": { "required": true, "content": one(object(
                    &["pin", "from", "into"],
                    json!({ "pin": string, "from": string, "into": string }),
                )) },
                "responses": answers(&brought, &[
                    ("200", "They are one."),
                    ("403", "This is not the PIN."),
                    ("422", "They cannot be joined: problems says why."),
                    ("429", "Too many PINs were tried: not before Retry-After."),
                ]),
            } }),
        ),
    ]
}

/// Every address that the server knows is in the file.
#[test]
fn the_file_has_every_address() {
    let kept: Value = serde_json::from_str(api::OPENAPI).unwrap();
    let told: Vec<&String> = kept["paths"].as_object().unwrap().keys().collect();
    for file in ["route.rs", "admin.rs"] {
        let path = format!("{}/src/server/http/{file}", env!("CARGO_MANIFEST_DIR"));
        let code = std::fs::read_to_string(path).unwrap();
        let mut found = 0;
        for address in code.split('"').filter(|text| {
            ["/api/", "/health", "/metrics"].iter().any(|begin| text.starts_with(begin))
                && *text != "/api/"
        }) {
            found += 1;
            let is_told = |path: &&String| match address.ends_with('/') {
                true => path.starts_with(&format!("{address}{{")),
                false => path.as_str() == address,
            };
            assert!(told.iter().any(is_told), "{file}: {address} is not told of");
        }
        assert!(found >= 2, "{file} names {found} addresses");
    }
}

#[test]
fn the_file_says_what_the_api_answers() {
    let mut paths: Map<String, Value> =
        others().into_iter().map(|(path, told)| (path.to_owned(), told)).collect();
    for (path, parameters, summary, answer) in PATHS {
        let mut schema = Schema::default();
        for (_, snapshot) in sample::all() {
            if let Some(bytes) = answer(&snapshot, &verdict(&snapshot)) {
                schema.add(&serde_json::from_slice(&bytes).unwrap());
            }
        }
        assert!(schema.seen > 0, "{path} never answers");
        let parameters: Vec<Value> = parameters.iter().map(|name| parameter(name)).collect();
        paths.insert(
            path.to_owned(),
            json!({ "get": {
                "summary": summary,
                "parameters": parameters,
                "responses": { "200": {
                    "description": "The answer.",
                    "content": { "application/json": { "schema": schema.to_json() } },
                } },
            } }),
        );
    }
    let found = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Soloist",
            "version": api::API_VERSION,
            "description": "All but the posts of /api/setup, /api/restore and /api/join only reads. Times are Unix seconds (`*_at`, `since`, `now`) unless a name \
                ends in `_s` (a duration in seconds) or `_ms`; hashrates are hashes per second, \
                amounts satoshi (`*_sat`), difficulties in units of difficulty 1; null means \
                unknown. Fields may be added at any time.",
        },
        "paths": paths,
    });
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    let text = serde_json::to_string_pretty(&found).unwrap() + "\n";
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(file, &text).unwrap();
    }
    let kept = std::fs::read_to_string(file).unwrap();
    let first = kept.lines().zip(text.lines()).enumerate().find(|(_, (a, b))| a != b);
    assert!(
        kept == text,
        "docs/openapi.json differs from the answers, first at {first:?}; see the head of this test"
    );
}

fn parameter(name: &str) -> Value {
    match name.strip_prefix('?') {
        Some(name) => json!({ "name": name, "in": "query", "schema": { "type": "string" } }),
        None => json!({
            "name": name, "in": "path", "required": true, "schema": { "type": "string" },
        }),
    }
}

/// What a place of the answers was seen to hold.
#[derive(Default)]
struct Schema {
    seen: usize,
    types: std::collections::BTreeSet<&'static str>,
    fields: BTreeMap<String, Schema>,
    objects: usize,
    items: Option<Box<Schema>>,
}

impl Schema {
    fn add(&mut self, value: &Value) {
        self.seen += 1;
        match value {
            Value::Null => drop(self.types.insert("null")),
            Value::Bool(_) => drop(self.types.insert("boolean")),
            Value::Number(_) => drop(self.types.insert("number")),
            Value::String(_) => drop(self.types.insert("string")),
            Value::Array(items) => {
                self.types.insert("array");
                let schema = self.items.get_or_insert_default();
                items.iter().for_each(|item| schema.add(item));
            }
            Value::Object(fields) => {
                self.types.insert("object");
                self.objects += 1;
                for (name, field) in fields {
                    self.fields.entry(name.clone()).or_default().add(field);
                }
            }
        }
    }

    fn to_json(&self) -> Value {
        let mut schema = Map::new();
        let mut types: Vec<&str> = self.types.iter().copied().collect();
        match types.len() {
            0 => {}
            1 => drop(schema.insert("type".to_owned(), types.remove(0).into())),
            _ => drop(schema.insert("type".to_owned(), types.into())),
        }
        if let Some(items) = &self.items {
            schema.insert("items".to_owned(), items.to_json());
        }
        if self.objects > 0 {
            let always = self.fields.iter().filter(|(_, field)| field.seen == self.objects);
            let required: Vec<&str> = always.map(|(name, _)| name.as_str()).collect();
            schema.insert("required".to_owned(), required.into());
            let fields = self.fields.iter().map(|(name, field)| (name.clone(), field.to_json()));
            schema.insert("properties".to_owned(), Value::Object(fields.collect()));
        }
        Value::Object(schema)
    }
}
