//! Holds `docs/openapi.json` against the API's real answers: the file is what the answers of all
//! sample states are, taken together. `UPDATE_OPENAPI=1 cargo test --test page page_openapi` writes
//! it anew; the difference is then to be looked at, because a field that vanishes or changes its
//! type breaks somebody's widget.

// A test's helpers may panic.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use soloist::status::{Snapshot, Verdict, gopool, health, json as api, verdict};

use crate::sample;

type Answer = fn(&Snapshot, &Verdict) -> Option<Vec<u8>>;

/// Path, parameters, summary, answer.
const PATHS: [(&str, &[&str], &str, Answer); 22] = [
    ("/api/status", &[], "The state of the whole.", |s, j| Some(api::status(s, j))),
    ("/api/miners", &[], "All miners, and who knocks.", |s, _| Some(api::miners(s))),
    ("/api/miners/{id}", &["id"], "One miner.", |s, _| api::miner(s, &s.miners.first()?.id)),
    ("/api/nodes", &[], "All nodes.", |s, _| Some(api::nodes(s))),
    ("/api/blocks", &["?limit"], "Found blocks, newest first.", |s, _| Some(api::blocks(s, 100))),
    (
        "/api/history",
        &["?range"],
        "Hashrate and shares over time: with range (day, month, all) one \
      list `points`, without it all three.",
        |s, _| api::history(s, None),
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
        Some(api::public_pool_chart(s))
    }),
    ("/api/client/{address}/{worker}", &["address", "worker"], "As public-pool.", |s, _| {
        api::public_pool_worker(s, &s.payout.address, &s.miners.first()?.name)
    }),
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

#[test]
fn the_file_says_what_the_api_answers() {
    let mut paths = Map::new();
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
            "description": "Read-only. Times are Unix seconds (`*_at`, `since`, `now`) unless a name \
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
