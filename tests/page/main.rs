//! The page, the API and the settings: over sample data, over real sockets, and in a real browser. The
//! browser's two tests need `chromium` and `node`, one of them two real nodes, Prometheus's rules need
//! `promtool`, and two tests with pyasic `python3`; each says so where it is missing. Devices are servers of
//! ours on the loopback.

// A test's helpers may panic, and nobody outside sees them.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;

mod owner;
mod sample;
mod server;

mod page_browser;
mod page_clients;
mod page_devices;
mod page_http;
mod page_manual;
mod page_openapi;
mod page_pyasic;
mod page_render;
mod page_scanned;
mod page_settings;
