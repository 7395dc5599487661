//! The page in a real browser, narrow and wide, light and dark: no overflow, no complaint on the
//! console, no finding of axe-core, usable by keyboard, live. Needs `chromium` and `node`; axe-core
//! comes by `npm install` in `tests/page`.

// A test's helpers may panic.
#![allow(clippy::unwrap_used)]

#[path = "page/owner.rs"]
#[allow(dead_code)]
mod owner;
#[path = "page/sample.rs"]
mod sample;
#[path = "page/server.rs"]
mod server;

use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread;

use server::Server;
use soloist::server::http::Options;

#[test]
fn the_page_works_in_a_browser() {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
    for needed in [chromium.as_str(), "node"] {
        if Command::new(needed).arg("--version").output().is_err() {
            eprintln!("SKIPPED: {needed} is not installed: the page was not tried in a browser");
            return;
        }
    }
    let options = || Options { requests_per_s: 100_000, ..Options::default() };
    let servers: Vec<(&str, Server)> = sample::all()
        .into_iter()
        .map(|(name, snapshot)| (name, Server::start(snapshot, options(), false)))
        .chain([("changing", Server::start(sample::home(), options(), true))])
        .collect();
    // A box that nobody has set up yet.
    let (tell, told) = mpsc::channel();
    let (_stop, stopped) = async_channel::bounded::<()>(1);
    thread::spawn(move || owner::serve(Arc::default(), &tell, &stopped));
    let fresh = told.recv().unwrap();
    let addresses: serde_json::Map<String, serde_json::Value> = servers
        .iter()
        .map(|(name, server)| (*name, server.address))
        .chain([("fresh", fresh)])
        .map(|(name, address)| (name.to_owned(), format!("http://{address}").into()))
        .collect();
    let mut walk = Command::new("node");
    walk.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page/browser.mjs"))
        .arg(serde_json::Value::from(addresses).to_string())
        .env("CHROMIUM", &chromium);
    // Where the pictures go; none are taken without it.
    if let Ok(directory) = std::env::var("PAGE_SHOTS") {
        walk.arg(directory);
    }
    let output = walk.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    eprintln!("{said}");
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}
