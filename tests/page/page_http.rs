//! The HTTP server over real sockets: every address, and hostile readers.

// A test's helpers may panic.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use soloist::door::Limits;
use soloist::server::http::Options;
use soloist::server::http::guard::Reach;
use soloist::status::Snapshot;

use crate::{sample, server};

struct Server(server::Server);

impl Server {
    fn start(snapshot: Snapshot, options: Options) -> Server {
        Server(server::Server::start(snapshot, options, true))
    }

    fn home() -> Server {
        Server::start(sample::home(), lenient())
    }

    /// Sends these bytes and reads until the server closes or falls silent for a while.
    fn raw(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may close while we still write: that is an answer, too.
        let _ = stream.write_all(request);
        read_all(stream)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.0.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn get(&self, path: &str) -> Answer {
        self.get_with(path, "solo.local", "")
    }

    fn get_with(&self, path: &str, host: &str, more: &str) -> Answer {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n");
        Answer::parse(&self.raw(request.as_bytes()))
    }
}

struct Answer {
    code: u16,
    head: String,
    body: String,
}

impl Answer {
    fn parse(text: &str) -> Answer {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Answer { code, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

fn read_all(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 65_536];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Limits that one address of a test does not reach.
fn lenient() -> Options {
    Options { requests_per_s: 100_000, ..Options::default() }
}

#[test]
fn every_address_answers() {
    let server = Server::start(sample::found(), lenient());
    for path in [
        "/",
        "/style.css",
        "/app.js",
        "/tv",
        "/tv.css",
        "/blocks",
        "/manifest.webmanifest",
        "/icon-192.png",
        "/icon-512.png",
        "/icon.svg",
        "/favicon.ico",
        "/qr.svg",
        "/help",
        "/help/alarms",
        "/help.css",
        "/v2",
        "/v2.svg",
        "/metrics",
        "/health",
        "/health/live",
        "/health/ready",
        "/health/detailed",
        "/api/status",
        "/api/miners",
        "/api/miners/gamma",
        "/api/nodes",
        "/api/blocks",
        "/api/blocks?limit=1",
        "/api/widget",
        "/api/history",
        "/api/history?range=day",
        "/api/pool",
        "/api/info",
        "/api/info/chart",
        "/api/network",
        "/api/client/bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
        "/api/client/bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq/chart",
        "/api/client/bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq/living-room",
        "/api/client/bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq/living-room/living-room",
        "/api/openapi.json",
        "/miners/gamma",
    ] {
        let answer = server.get(path);
        assert_eq!(answer.code, 200, "{path}: {}", answer.body);
        assert!(!answer.body.is_empty(), "{path}");
        assert!(answer.head.contains("content-security-policy: default-src 'none'"), "{path}");
        assert!(!answer.head.contains("access-control"), "{path}");
        if path.starts_with("/api") || path.starts_with("/health") {
            assert!(answer.head.contains("content-type: application/json"), "{path}");
            answer.json();
        }
    }
    let status = server.get("/api/status").json();
    assert_eq!(status["state"], "OK");
    assert_eq!(status["miners_connected"], 4);
    assert_eq!(status["payout"]["address"], "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq");
    assert_eq!(server.get("/api/openapi.json").body, soloist::status::json::OPENAPI);
    assert_eq!(server.get("/api/client/bc1qother").code, 404);
    assert_eq!(server.get("/api/history?range=week").code, 400);
}

#[test]
fn readers_who_can_unpack_get_it_packed() {
    let server = Server::home();
    let length = |answer: &Answer| -> usize {
        let line = answer.head.lines().find_map(|l| l.strip_prefix("content-length: "));
        line.unwrap().parse().unwrap()
    };
    for path in ["/", "/style.css", "/app.js", "/api/status", "/metrics"] {
        let plain = server.get(path);
        let packed = server.get_with(path, "solo.local", "Accept-Encoding: br, gzip\r\n");
        assert!(packed.head.contains("content-encoding: gzip"), "{path}");
        assert!(!plain.head.contains("content-encoding"), "{path}");
        assert!(length(&packed) * 10 < length(&plain) * 6, "{path}");
    }
}

#[test]
fn a_found_block_can_be_downloaded_whole() {
    let server = Server::start(sample::found(), lenient());
    let hash = sample::found().blocks[0].hash.clone();
    let answer = server.get(&format!("/api/blocks/{hash}.hex"));
    assert_eq!(answer.code, 200);
    assert_eq!(answer.body.len(), 4_000_000);
    assert!(answer.head.contains(&format!("filename=\"block-{hash}.hex\"")));
    assert_eq!(server.get(&format!("/api/blocks/{}.hex", "0".repeat(64))).code, 404);
    for name in ["..%2f..%2fetc%2fpasswd", "../../etc/passwd", "zz", "", &"0".repeat(65)] {
        assert_eq!(server.get(&format!("/api/blocks/{name}")).code, 404, "{name}");
    }
}

#[test]
fn paths_lead_to_no_file() {
    let server = Server::home();
    for path in [
        "/../../etc/passwd",
        "//etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/style.css/../../x",
        "/miners/../../etc/passwd",
        "/api/miners/%00",
        "/.git/config",
        "/api/client/a/b/c/d",
        "/api/client//",
        "/miners/",
        "/static/..\\..\\x",
    ] {
        let answer = server.get(path);
        assert!(matches!(answer.code, 400 | 404), "{path}: {}", answer.code);
        assert!(!answer.body.contains("root:"), "{path}");
    }
    let long = format!("/{}", "a".repeat(100_000));
    assert!(matches!(server.get(&long).code, 0 | 414 | 431), "a path of 100 kB");
}

#[test]
fn foreign_hosts_and_bad_requests_are_refused() {
    let server = Server::home();
    for host in ["evil.example", "solo.local.evil.example", "evil.example:3333"] {
        assert_eq!(server.get_with("/api/status", host, "").code, 421, "{host}");
    }
    for host in ["127.0.0.1:8080", "[::1]", "localhost", "solo", "solo.local", "Solo.LAN"] {
        assert_eq!(server.get_with("/api/status", host, "").code, 200, "{host}");
    }
    assert_eq!(Answer::parse(&server.raw(b"GET / HTTP/1.1\r\n\r\n")).code, 400);
    let two = server.get_with("/", "solo.local", "Host: evil.example\r\n");
    assert_eq!(two.code, 400);
    let absolute = server.get_with("http://evil.example/", "solo.local", "");
    assert_eq!(absolute.code, 421);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "CONNECT"] {
        let target = if method == "CONNECT" { "solo.local:80" } else { "/" };
        let request = format!("{method} {target} HTTP/1.1\r\nHost: solo.local\r\n\r\n");
        assert_eq!(Answer::parse(&server.raw(request.as_bytes())).code, 405, "{method}");
    }
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\r\n\r\n",
    ] {
        let mut stream = server.connect();
        stream.write_all(nonsense).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = read_all(stream);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    assert_eq!(server.get("/health").code, 200);
}

#[test]
fn a_name_that_is_refused_is_told_with_the_line_that_lets_it_in() {
    let server = Server::home();
    let refused = server.get_with("/", "Solo.Example.org:8080", "");
    assert_eq!(refused.code, 421);
    assert!(refused.body.contains("below [http]"), "{}", refused.body);
    let line = "hosts = [\"solo.example.org\"]\n";
    assert!(refused.body.contains(line), "{}", refused.body);
    // What is no name is not repeated.
    let odd = server.get_with("/", "<b>.example.org", "");
    assert!(odd.code == 421 && !odd.body.contains("<b>"), "{}", odd.body);

    let reach = Reach {
        hosts: vec!["solo.example.org".to_owned()],
        domains: vec!["fritz.box".to_owned()],
        embed: Vec::new(),
    };
    let server = Server(server::Server::reached(reach, sample::home(), lenient(), false));
    for host in ["Solo.Example.org:8080", "solo.fritz.box"] {
        assert_eq!(server.get_with("/", host, "").code, 200, "{host}");
    }
    assert_eq!(server.get_with("/", "fritz.box.example.org", "").code, 421);
}

/// Umbrel's proxy passes the browser's Host and adds where it came from.
#[test]
fn the_page_works_behind_umbrels_proxy() {
    let server = Server::home();
    let added = "X-Forwarded-Proto: http\r\nX-Forwarded-Host: umbrel.local:4848\r\n\
                 X-Forwarded-For: 192.168.1.30\r\n";
    for path in ["/", "/style.css", "/api/status"] {
        assert_eq!(server.get_with(path, "umbrel.local:4848", added).code, 200, "{path}");
    }
    // Over its Tor service or a VPN: by the setting.
    let onion = format!("{}.onion", "a".repeat(56));
    assert_eq!(server.get_with("/", &onion, added).code, 421);
    let reach = Reach { hosts: vec![onion.clone()], ..Reach::default() };
    let server = Server(server::Server::reached(reach, sample::home(), lenient(), false));
    assert_eq!(server.get_with("/", &onion, added).code, 200);
}

#[test]
fn only_pages_that_the_owner_names_may_show_this_one_and_read_it() {
    const HOME: &str = "http://homeassistant.local:8123";
    let ask = |server: &Server, path: &str, origin: &str| {
        server.get_with(path, "192.168.1.20", &format!("Origin: {origin}\r\n"))
    };
    let shut = Server::home();
    let answer = ask(&shut, "/", HOME);
    assert!(answer.head.contains("frame-ancestors 'none'"), "{}", answer.head);
    assert!(answer.head.contains("x-frame-options: deny"), "{}", answer.head);
    assert!(!answer.head.contains("access-control"), "{}", answer.head);

    let reach = Reach { embed: vec![HOME.to_owned()], ..Reach::default() };
    let open = Server(server::Server::reached(reach, sample::home(), lenient(), false));
    for path in ["/", "/miners/gamma", "/api/status", "/metrics", "/style.css"] {
        let answer = ask(&open, path, HOME);
        assert!(answer.head.contains(&format!("frame-ancestors {HOME}")), "{}", answer.head);
        assert!(answer.head.contains("default-src 'none'"), "{}", answer.head);
        assert!(!answer.head.contains("x-frame-options"), "{}", answer.head);
        let allowed = format!("access-control-allow-origin: {HOME}");
        assert!(answer.head.contains(&allowed), "{path}: {}", answer.head);
        assert!(!answer.head.contains("allow-credentials"), "{}", answer.head);
    }
    for origin in [
        "http://evil.example",
        "null",
        "http://homeassistant.local",
        "https://homeassistant.local:8123",
    ] {
        let answer = ask(&open, "/api/status", origin);
        assert!(!answer.head.contains("access-control"), "{origin}: {}", answer.head);
    }
    // What has a form stays alone.
    let settings = ask(&open, "/settings", HOME);
    assert!(settings.head.contains("frame-ancestors 'none'"), "{}", settings.head);
    assert!(!settings.head.contains("access-control"), "{}", settings.head);
}

#[test]
fn a_large_body_is_refused_without_being_read() {
    let server = Server::home();
    let mut stream = server.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: solo.local\r\nContent-Length: 10000000\r\n\r\n")
        .unwrap();
    let block = vec![b'x'; 100_000];
    let mut sent = 0;
    for _ in 0..100 {
        match stream.write_all(&block) {
            Ok(()) => sent += block.len(),
            Err(_) => break,
        }
    }
    // Closed on us, or answered: either way nobody kept the 10 MB.
    let answer = read_all(stream);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "after {sent}: {answer}");
    let head = server.get_with("/", "solo.local", "Content-Length: 10000000\r\n");
    assert_eq!(head.code, 413);
    let chunked = server.get_with("/", "solo.local", "Transfer-Encoding: chunked\r\n");
    assert_eq!(chunked.code, 413);
    let many: String = (0..200).map(|i| format!("X-{i}: y\r\n")).collect();
    assert!(matches!(server.get_with("/", "solo.local", &many).code, 0 | 431));
    let wide = format!("X: {}\r\n", "y".repeat(100_000));
    assert!(matches!(server.get_with("/", "solo.local", &wide).code, 0 | 431));
    assert_eq!(server.get("/health").code, 200);
}

#[test]
fn slow_heads_are_cut_off_and_hold_nobody_up() {
    let options = Options { head_timeout: Duration::from_millis(700), ..lenient() };
    let server = Server::start(sample::home(), options);
    let mut slow = server.connect();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: solo").unwrap();
    let mut idle = server.connect();
    let begun = Instant::now();
    assert_eq!(server.get("/health").code, 200);
    for byte in b".local\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
        thread::sleep(Duration::from_millis(50));
        if slow.write_all(&[*byte]).is_err() {
            break;
        }
    }
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    let _ = idle.read_to_end(&mut rest);
    assert!(begun.elapsed() < Duration::from_secs(15), "both were closed long before 20 s");
}

#[test]
fn a_reader_who_does_not_read_is_dropped() {
    let options = Options { write_timeout: Duration::from_millis(500), ..lenient() };
    let server = Server::start(sample::found(), options);
    let hash = sample::found().blocks[0].hash.clone();
    let mut stuck = server.connect();
    let request = format!("GET /api/blocks/{hash} HTTP/1.1\r\nHost: a\r\n\r\n");
    for _ in 0..20 {
        let _ = stuck.write_all(request.as_bytes());
    }
    let begun = Instant::now();
    while stuck.write_all(b"\r\n").is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the stuck reader keeps its place");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn too_many_requests_are_turned_away() {
    let options = Options { requests_per_s: 20, ..Options::default() };
    let server = Server::start(sample::home(), options);
    let codes: Vec<u16> = (0..120).map(|_| server.get("/health/live").code).collect();
    assert!(codes.iter().filter(|code| **code == 200).count() >= 40);
    assert!(codes.contains(&429));
    assert!(codes.iter().all(|code| matches!(code, 200 | 429)), "{codes:?}");
}

/// Readers who wait, of whom one asked lately, are joined by ten more who say nothing.
#[test]
fn who_asks_nothing_gives_way_when_all_places_are_taken() {
    let places = Limits { hall: 4, seats: 2, ..Options::default().places };
    let server = Server::start(sample::home(), Options { places, ..lenient() });
    let mut reader = server.connect();
    let mut silent = Vec::new();
    for n in 0..12 {
        reader.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(read_one(&mut reader).starts_with("HTTP/1.1 200"), "after {n} others");
        silent.push(server.connect());
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.get("/health").code, 200);
    let mut rest = Vec::new();
    for silent in &mut silent[..8] {
        silent.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(
            silent.read_to_end(&mut rest).unwrap_or(0),
            0,
            "long before the 10 s for a head"
        );
    }
}

#[test]
fn a_reader_of_live_updates_too_many_is_told_so_and_all_others_are_served() {
    let places = Limits { seats: 2, ..Options::default().places };
    let server = Server::start(sample::home(), Options { places, ..lenient() });
    let listen = || {
        let mut stream = server.connect();
        stream.write_all(b"GET /api/events HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut first = [0; 1024];
        let n = stream.read(&mut first).unwrap();
        (stream, String::from_utf8_lossy(&first[..n]).into_owned())
    };
    // This machine is known: none of its readers makes room for another of them.
    let (_first, _second) = (listen(), listen());
    let (_, third) = listen();
    assert!(third.starts_with("HTTP/1.1 503"), "{third}");
    assert_eq!(server.get("/health").code, 200, "all others are served");
}

#[test]
fn one_snapshot_serves_many_readers() {
    let options = Options { fresh: Duration::from_secs(3600), ..lenient() };
    let server = Server::start(sample::home(), options);
    for _ in 0..50 {
        assert_eq!(server.get("/api/nodes").json()["failovers"], 1);
    }
}

#[test]
fn the_live_channel_sends_what_changed() {
    let options = Options {
        fresh: Duration::from_millis(10),
        live_interval: Duration::from_millis(100),
        ..lenient()
    };
    let server = Server::start(sample::home(), options);
    let mut stream = server.connect();
    stream.write_all(b"GET /api/events HTTP/1.1\r\nHost: solo.local\r\n\r\n").unwrap();
    let mut text = String::new();
    let mut chunk = [0; 65_536];
    let begun = Instant::now();
    // The number of failovers, which stands in the nodes' part, rises with each snapshot.
    while text.matches("data: nodes\n").count() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{text}");
        let n = stream.read(&mut chunk).unwrap();
        assert!(n > 0, "the channel ended");
        text.push_str(&String::from_utf8_lossy(&chunk[..n]));
    }
    assert!(text.to_ascii_lowercase().contains("content-type: text/event-stream"));
    assert_eq!(text.matches("data: miners\n").count(), 1, "it has not changed");
    assert!(text.contains("event: now\ndata: 1795246752\n\n"));
}

#[test]
fn strangers_words_stay_words() {
    let server = Server::start(sample::hostile(), lenient());
    for path in ["/", "/miners/gamma", "/miners/living-room"] {
        let page = server.get(path).body;
        assert!(!page.contains("<script>"), "{path}");
        assert!(!page.contains("<img src=x"), "{path}");
        assert!(!page.contains('\u{202e}'), "{path}");
    }
    assert!(server.get("/").body.contains("&lt;script&gt;"));
    let miners = server.get("/api/miners");
    assert_eq!(miners.json()["miners"][0]["name"], "<script>alert(1)</script>");
    assert!(miners.head.contains("x-content-type-options: nosniff"));

    let mut stream = server.connect();
    stream.write_all(b"GET /api/events HTTP/1.1\r\nHost: solo.local\r\n\r\n").unwrap();
    let mut text = String::new();
    let mut chunk = [0; 65_536];
    while !text.contains("event: now") {
        let n = stream.read(&mut chunk).unwrap();
        assert!(n > 0);
        text.push_str(&String::from_utf8_lossy(&chunk[..n]));
    }
    assert!(!text.contains("\nevent: part\ndata: state\ndata: owned"));
}

#[test]
fn health_codes_follow_the_state() {
    let down = Server::start(sample::no_node(), lenient());
    assert_eq!(down.get("/health").code, 503);
    assert_eq!(down.get("/health/ready").code, 503);
    assert_eq!(down.get("/health/detailed").code, 503);
    assert_eq!(down.get("/health/live").code, 200);
    let up = Server::home();
    assert_eq!(up.get("/health").json()["status"], "healthy");
    assert_eq!(up.get("/health/ready").json()["chain_initialized"], true);
}

#[test]
fn the_api_can_be_switched_off() {
    let server = Server::start(sample::home(), Options { json: false, ..lenient() });
    assert_eq!(server.get("/api/status").code, 404);
    assert_eq!(server.get("/").code, 200);
    assert_eq!(server.get("/metrics").code, 200);
}

#[test]
fn many_readers_at_once_get_their_answers() {
    let server = Server::start(sample::home(), lenient());
    let address = server.0.address;
    let readers: Vec<_> = (0..100)
        .map(|i| {
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                let paths = ["/", "/api/status", "/metrics", "/api/miners", "/health"];
                let mut good = 0;
                for round in 0..10 {
                    let path = paths[(i + round) % paths.len()];
                    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
                    stream.write_all(request.as_bytes()).unwrap();
                    good += u32::from(read_one(&mut stream).starts_with("HTTP/1.1 200"));
                }
                good
            })
        })
        .collect();
    let good: u32 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
    assert_eq!(good, 1000);
}

/// One answer with a Content-Length on a kept connection.
fn read_one(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 65_536];
    loop {
        let n = stream.read(&mut chunk).unwrap();
        assert!(n > 0, "the connection ended early");
        bytes.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let length: usize = head
            .lines()
            .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
            .unwrap();
        if bytes.len() >= head.len() + 4 + length {
            return text.into_owned();
        }
    }
}

#[test]
fn the_page_is_served_by_https_and_a_new_certificate_counts_at_once() {
    use std::sync::Arc;

    use futures_rustls::rustls::pki_types::pem::PemObject;
    use futures_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use futures_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
    use soloist::server::tls::Certificate;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let (tell, told) = std::sync::mpsc::channel();
    let (stop, stopped) = async_channel::bounded::<()>(1);
    let thread = thread::spawn(move || {
        use std::rc::Rc;
        struct Home;
        impl soloist::server::http::View for Home {
            fn snapshot(&self) -> Rc<Snapshot> {
                Rc::new(sample::home())
            }
            fn history(&self, _: &str) -> Option<soloist::status::HistoryView> {
                None
            }

            fn block(
                &self,
                _: &str,
            ) -> soloist::server::http::admin::Local<Result<Vec<u8>, soloist::server::http::NoBlock>>
            {
                Box::pin(async { Err(soloist::server::http::NoBlock::Unknown) })
            }
        }
        let executor = Rc::new(smol::LocalExecutor::new());
        let names = ["127.0.0.1".to_owned()];
        let certificate = Rc::new(Certificate::load_or_make(&path, &names).unwrap());
        let http = soloist::server::http::Http::new(Rc::new(Home), lenient());
        let listener = smol::Async::<std::net::TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap();
        tell.send(listener.get_ref().local_addr().unwrap()).unwrap();
        executor.spawn(http.serve(executor.clone(), listener, Some(certificate))).detach();
        let _ = smol::block_on(executor.run(stopped.recv()));
    });
    let address = told.recv().unwrap();
    let get = || -> Result<String, std::io::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(dir.path().join("cert.pem")).unwrap()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let client = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut stream = StreamOwned::new(client, stream);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        let mut bytes = Vec::new();
        // The server may end without TLS's own goodbye.
        let _ = stream.read_to_end(&mut bytes);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let page = get().unwrap();
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("</html>"), "{page}");
    // Who speaks without TLS, or says nothing, is let go and holds nobody up.
    let mut plain = TcpStream::connect(address).unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    assert!(!read_all(plain).contains("HTTP/1.1 200"));
    let _silent = TcpStream::connect(address).unwrap();
    // Another certificate in its place.
    let old = std::fs::read_to_string(dir.path().join("cert.pem")).unwrap();
    let other = tempfile::tempdir().unwrap();
    Certificate::load_or_make(other.path(), &["127.0.0.1".to_owned()]).unwrap();
    for file in ["key.pem", "cert.pem"] {
        std::fs::copy(other.path().join(file), dir.path().join(file)).unwrap();
    }
    assert_ne!(std::fs::read_to_string(dir.path().join("cert.pem")).unwrap(), old);
    let page = get().unwrap();
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    stop.close();
    thread.join().unwrap();
}
