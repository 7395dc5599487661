//! New versions: feeds and updates from real servers, by HTTP and HTTPS, with signatures that the release's own
//! writer and minisign make. Without minisign and Python each test says that it checked nothing.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use futures_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use soloist::feed::{self, Download, Source};
use soloist::update::Fault;

use crate::common::daemon::{Browser, Daemon, Miner};
use crate::common::sandbox::{sandbox, sandbox_with};
use crate::common::{free_port, wait_for};

/// What the server does with a request for a file.
#[derive(Clone)]
enum Reply {
    Whole(Vec<u8>),
    /// These bytes, and then the end of the connection.
    Raw(Vec<u8>),
    /// A head and this part, and then no end of it.
    Endless,
    /// Nothing.
    Silent,
    /// A byte each second.
    Drip,
}

/// A web server of its own port.
#[derive(Clone)]
struct Server {
    port: u16,
    files: Arc<Mutex<HashMap<String, Reply>>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(tls: Option<Arc<ServerConfig>>) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Server { port, files: Arc::default(), heads: Arc::default() };
        let shared = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (server, tls) = (shared.clone(), tls.clone());
                thread::spawn(move || {
                    let stream = stream.unwrap();
                    stream.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
                    match tls {
                        None => server.serve(stream),
                        Some(tls) => {
                            let tls = ServerConnection::new(tls).unwrap();
                            server.serve(StreamOwned::new(tls, stream))
                        }
                    }
                });
            }
        });
        server
    }

    fn put(&self, path: &str, reply: Reply) {
        self.files.lock().unwrap().insert(path.to_owned(), reply);
    }

    fn serve(&self, mut stream: impl Read + Write) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).ok()? == 0 {
                return None;
            }
            head.push(byte[0]);
            // Somebody who speaks TLS to a port without it.
            if head[0] == 0x16 {
                return stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok();
            }
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1)?.to_owned();
        self.heads.lock().unwrap().push(head);
        let reply = self.files.lock().unwrap().get(&path).cloned();
        let ok = |length: u64| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        let send = |stream: &mut dyn Write, bytes: &[u8]| {
            stream.write_all(bytes).and_then(|()| stream.flush()).ok()
        };
        match reply {
            None => send(&mut stream, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?,
            Some(Reply::Whole(bytes)) => {
                send(&mut stream, ok(bytes.len() as u64).as_bytes())?;
                send(&mut stream, &bytes)?;
            }
            Some(Reply::Raw(bytes)) => send(&mut stream, &bytes)?,
            Some(Reply::Endless) => {
                send(&mut stream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                while send(&mut stream, format!("1000\r\n{}\r\n", " ".repeat(0x1000)).as_bytes())
                    .is_some()
                {}
            }
            Some(Reply::Silent) => thread::sleep(Duration::from_secs(100)),
            Some(Reply::Drip) => {
                send(&mut stream, ok(60_000).as_bytes())?;
                while send(&mut stream, b" ").is_some() {
                    thread::sleep(Duration::from_secs(1));
                }
            }
        }
        Some(())
    }
}

/// Whoever publishes: a key, and the tools of the release.
struct Publisher {
    dir: tempfile::TempDir,
}

impl Publisher {
    /// `None` where a tool is missing.
    fn new() -> Option<Publisher> {
        let runs = |program: &str, argument| Command::new(program).arg(argument).output().is_ok();
        if !runs("minisign", "-v") || !runs("python3", "--version") {
            assert!(std::env::var_os("SOLOIST_REQUIRE_NODES").is_none(), "minisign is missing");
            println!("*** NOT TESTED *** minisign or python3 is not installed");
            return None;
        }
        let publisher = Publisher { dir: tempfile::tempdir().unwrap() };
        for key in ["ours", "other"] {
            let [public, secret] =
                ["pub", "key"].map(|end| publisher.path(&format!("{key}.{end}")));
            let mut command = Command::new("minisign");
            let done = command.args(["-G", "-W", "-p"]).arg(public).arg("-s").arg(secret).output();
            assert!(done.unwrap().status.success());
        }
        Some(publisher)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A feed by the release's own writer, which would refuse a wrong one, and its signature.
    fn feed(&self, document: &Value) -> (Vec<u8>, Vec<u8>) {
        let script = "import json, sys; from pathlib import Path; sys.path.insert(0, 'image/lib'); import feed; \
                      feed.write(json.load(sys.stdin), Path(sys.argv[1]))";
        let file = self.path("feed.json");
        let mut child = Command::new("python3")
            .args(["-B", "-c", script])
            .arg(&file)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("SOLOIST_SIGNING_KEY", self.path("ours.key"))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(document.to_string().as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        (fs::read(&file).unwrap(), fs::read(self.path("feed.json.minisig")).unwrap())
    }

    /// A signature over these bytes.
    fn sign(&self, bytes: &[u8], key: &str, comment: &str, more: &[&str]) -> Vec<u8> {
        let file = self.path("to-sign");
        fs::write(&file, bytes).unwrap();
        let mut command = Command::new("minisign");
        command.arg("-S").arg("-s").arg(self.path(&format!("{key}.key"))).arg("-m").arg(&file);
        command.args(["-t", comment]).args(more).stdin(Stdio::null());
        assert!(command.output().unwrap().status.success());
        fs::read(self.path("to-sign.minisig")).unwrap()
    }

    fn publish(&self, server: &Server, document: &Value) {
        let (feed, signature) = self.feed(document);
        server.put("/feed.json", Reply::Whole(feed));
        server.put("/feed.json.minisig", Reply::Whole(signature));
    }
}

fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Version 9.9.9, whose update is `update` at this server.
fn document(port: u16, serial: u64, update: &[u8]) -> Value {
    json!({
        "soloist_feed": 1, "serial": serial, "issued": "2026-11-01T10:00:00Z",
        "release": {
            "version": "9.9.9", "date": "2026-11-01", "changes": "- Tea is served.\n- <b>All</b> of it.",
            "url": format!("http://127.0.0.1:{port}/soloist.update"), "size": update.len(),
            "sha256": faster_hex::hex_string(&Sha256::digest(update)), "minimum": "0.1.0",
        },
        "withdrawn": [],
    })
}

/// An authority, its file, and what a server shows that it signed for 127.0.0.1, valid from and until these years.
fn certificate(dir: &Path, years: (i32, i32)) -> (PathBuf, Arc<ServerConfig>) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "authority");
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    own.not_before = date_time_ymd(years.0, 1, 1);
    own.not_after = date_time_ymd(years.1, 1, 1);
    let certificate = own.signed_by(&key, &issuer).unwrap();
    let file = dir.join(format!("authority-{}.pem", years.0));
    fs::write(&file, issuer.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (file, Arc::new(config))
}

#[test]
fn a_feed_of_the_releases_own_writer_is_read_by_http_and_https_and_tells_nothing_of_the_owner() {
    let Some(publisher) = Publisher::new() else { return };
    let (authority, tls) = certificate(publisher.dir.path(), (2020, 2090));
    for (scheme, tls) in [("http", None), ("https", Some(tls))] {
        let server = Server::start(tls.clone());
        publisher.publish(&server, &document(server.port, 7, b"update"));
        let host = format!("127.0.0.1:{}", server.port);
        let source = Source {
            url: format!("{scheme}://{host}/feed.json"),
            key: publisher.path("ours.pub"),
            certificate: tls.map(|_| authority.clone()),
        };
        let fetched = feed::fetch(&source).unwrap();
        assert_eq!(
            (fetched.feed.serial, fetched.feed.release.version.to_string()),
            (7, "9.9.9".to_owned())
        );
        let heads = server.heads.lock().unwrap().clone();
        let wanted = ["/feed.json", "/feed.json.minisig"].map(|path| {
            format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")
        });
        assert_eq!(heads, wanted, "by {scheme}");
        // What minisign of before wrote by default.
        let Some(Reply::Whole(bytes)) = server.files.lock().unwrap().get("/feed.json").cloned()
        else {
            panic!()
        };
        let legacy = publisher.sign(&bytes, "ours", "feed.json", &["-l"]);
        server.put("/feed.json.minisig", Reply::Whole(legacy));
        assert_eq!(feed::fetch(&source), Ok(fetched));
    }
}

/// What is served in a good feed's place, and the cause that is told of it.
#[test]
fn every_fault_of_a_feed_has_its_cause_and_its_bounds() {
    let Some(publisher) = Publisher::new() else { return };
    let good = document(1, 7, b"update");
    let (feed, signature) = publisher.feed(&good);
    let whole = |bytes: &[u8]| Reply::Whole(bytes.to_vec());
    let raw = |text: &str| Reply::Raw(text.as_bytes().to_vec());
    let signed = |text: &str| {
        (whole(text.as_bytes()), whole(&publisher.sign(text.as_bytes(), "ours", "feed.json", &[])))
    };
    let with_signature = |signature: Vec<u8>| (whole(&feed), Reply::Whole(signature));
    let portal = "<!DOCTYPE html><html><title>Welcome to our hotel</title>";
    let mut changed = feed.clone();
    changed[30] ^= 1;
    let head = "HTTP/1.1 200 OK\r\nContent-Length:";
    let seconds = |n| Fault::Slow(Duration::from_secs(n));
    let mut newer = good.clone();
    newer["soloist_feed"] = json!(2);
    let mut wrong = good.clone();
    wrong["release"]["size"] = json!(-1);
    let cases: Vec<(&str, (Reply, Reply), Fault)> = vec![
        (
            "another's signature",
            with_signature(publisher.sign(&feed, "other", "feed.json", &[])),
            Fault::OtherKey,
        ),
        (
            "a wrong trusted comment",
            with_signature(publisher.sign(&feed, "ours", "soloist-9.9.9-arm64.update", &[])),
            Fault::OtherFile("soloist-9.9.9-arm64.update".to_owned()),
        ),
        ("a changed feed", (whole(&changed), whole(&signature)), Fault::WrongSignature),
        (
            "no signature",
            (whole(&feed), raw("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")),
            Fault::NoSignature,
        ),
        ("a long signature", (whole(&feed), whole(&[b'x'; 1025])), Fault::NoSignature),
        (
            "a portal in place of both",
            (whole(portal.as_bytes()), whole(portal.as_bytes())),
            Fault::WebPage,
        ),
        ("a portal in place of the signature", with_signature(portal.into()), Fault::NoSignature),
        (
            "a redirect",
            (
                raw(
                    "HTTP/1.1 302 Found\r\nLocation: http://portal.example/log-in?from=x\r\nContent-Length: 0\r\n\r\n",
                ),
                Reply::Silent,
            ),
            Fault::Redirect("portal.example".to_owned()),
        ),
        (
            "a redirect to nowhere",
            (raw("HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n"), Reply::Silent),
            Fault::Redirect(String::new()),
        ),
        (
            "an error",
            (raw("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), Reply::Silent),
            Fault::Status(503),
        ),
        ("no HTTP", (raw("SSH-2.0-OpenSSH_9.2\r\n"), Reply::Silent), Fault::Status(0)),
        (
            "an endless head",
            (raw(&format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(100_000))), Reply::Silent),
            Fault::Status(0),
        ),
        ("an endless body", (Reply::Endless, Reply::Silent), Fault::TooLong(65_536)),
        (
            "a body that is announced too long",
            (raw(&format!("{head} 65537\r\n\r\n")), Reply::Silent),
            Fault::TooLong(65_536),
        ),
        (
            "a cut body",
            (raw(&format!("{head} 500\r\n\r\n{{\"soloist_feed\"")), Reply::Silent),
            Fault::Cut,
        ),
        ("nothing at all", (raw(""), Reply::Silent), Fault::Cut),
        ("silence", (Reply::Silent, Reply::Silent), seconds(30)),
        ("a byte each second", (Reply::Drip, Reply::Silent), seconds(30)),
        ("a signature that does not come", (whole(&feed), Reply::Silent), seconds(30)),
        ("signed nonsense", signed("tea"), Fault::NotJson),
        ("a later format", signed(&newer.to_string()), Fault::Format(2)),
        ("a wrong value", signed(&wrong.to_string()), Fault::Value("size")),
    ];
    let tries: Vec<_> = cases
        .into_iter()
        .map(|(name, (feed, signature), fault)| {
            let server = Server::start(None);
            server.put("/feed.json", feed);
            server.put("/feed.json.minisig", signature);
            let url = format!("http://127.0.0.1:{}/feed.json", server.port);
            let source = Source { url, key: publisher.path("ours.pub"), certificate: None };
            (
                name,
                fault,
                thread::spawn(move || (Instant::now(), feed::fetch(&source), Instant::now())),
            )
        })
        .collect();
    for (name, fault, tried) in tries {
        let (began, result, ended) = tried.join().unwrap();
        println!("{name}: {:.1} s", (ended - began).as_secs_f64());
        assert_eq!(result, Err(fault), "{name}");
    }
}

#[test]
fn the_way_to_a_feed_fails_by_its_cause() {
    let Some(publisher) = Publisher::new() else { return };
    let dir = publisher.dir.path();
    let (authority, tls) = certificate(dir, (2020, 2090));
    let (stranger, _) = certificate(dir, (2021, 2090));
    let (later, not_yet) = certificate(dir, (2088, 2090));
    let (plain, secure) = (Server::start(None), Server::start(Some(tls)));
    let future = Server::start(Some(not_yet));
    let fetch = |url: String, certificate: Option<&Path>, key: &str| {
        let certificate = certificate.map(Path::to_owned);
        feed::fetch(&Source { url, key: publisher.path(key), certificate }).unwrap_err()
    };
    let at = |scheme: &str, host: &str, port: u16| format!("{scheme}://{host}:{port}/feed.json");
    let ours = "ours.pub";
    let label = |fault: Fault| fault.label();
    assert_eq!(label(fetch(at("http", "soloist.invalid", 80), None, ours)), "unknown_name");
    assert_eq!(label(fetch(at("http", "127.0.0.1", free_port()), None, ours)), "no_connection");
    assert_eq!(label(fetch(at("https", "127.0.0.1", secure.port), None, ours)), "tls");
    assert_eq!(label(fetch(at("https", "127.0.0.1", secure.port), Some(&stranger), ours)), "tls");
    assert_eq!(label(fetch(at("https", "localhost", secure.port), Some(&authority), ours)), "tls");
    assert_eq!(label(fetch(at("https", "127.0.0.1", plain.port), Some(&authority), ours)), "tls");
    assert_eq!(
        label(fetch(at("https", "127.0.0.1", future.port), Some(&later), ours)),
        "certificate_date"
    );
    assert_eq!(
        label(fetch(at("https", "127.0.0.1", secure.port), Some(Path::new("/none")), ours)),
        "certificate_file"
    );
    assert_eq!(
        label(fetch(at("https", "127.0.0.1", secure.port), Some(&authority), "none.pub")),
        "no_key"
    );
    // By the right way it is merely not there, and then it is.
    let way = || at("https", "127.0.0.1", secure.port);
    assert_eq!(fetch(way(), Some(&authority), ours), Fault::Status(404));
    publisher.publish(&secure, &document(secure.port, 7, b"update"));
    assert_eq!(label(fetch(way(), Some(&authority), "authority-2020.pem")), "bad_key");
    assert_eq!(label(fetch(way(), Some(&authority), "other.pub")), "other_key");
}

/// A card of so many MB in memory; `None` without root.
struct Card(tempfile::TempDir);

impl Card {
    fn new(megabytes: u32) -> Option<Card> {
        if !nix::unistd::geteuid().is_root() {
            println!("*** NOT TESTED *** a card of its own needs root");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={megabytes}m");
        let mut mount = Command::new("mount");
        let done = mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).status();
        if !done.unwrap().success() {
            println!("*** NOT TESTED *** nothing can be mounted here");
            return None;
        }
        Some(Card(dir))
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0.path()).status().ok();
    }
}

#[test]
fn an_update_is_fetched_as_the_feed_has_it_or_not_at_all() {
    let Some(publisher) = Publisher::new() else { return };
    let server = Server::start(None);
    let update: Vec<u8> = (0..3_000_000_u32).map(|n| (n * 7 % 251) as u8).collect();
    let signature = publisher.sign(&update, "ours", "soloist.update", &[]);
    server.put("/soloist.update.minisig", Reply::Whole(signature));
    publisher.publish(&server, &document(server.port, 7, &update));
    let url = format!("http://127.0.0.1:{}/feed.json", server.port);
    let source = Source { url, key: publisher.path("ours.pub"), certificate: None };
    let release = feed::fetch(&source).unwrap().feed.release;
    let data = tempfile::tempdir().unwrap();
    let download = |progress: &Download| feed::download(&release, None, data.path(), progress);
    let is_empty = || !feed::place(data.path()).exists();

    let mut other = update.clone();
    other[1_000_000] ^= 1;
    let longer = [&update[..], b"x"].concat();
    let of = |bytes: &[u8]| {
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", update.len()).as_bytes(), bytes]
            .concat()
    };
    let faults = [
        (Reply::Whole(other), Fault::Hash),
        (Reply::Whole(longer), Fault::TooLong(3_000_000)),
        (Reply::Endless, Fault::TooLong(3_000_000)),
        (
            Reply::Whole(update[..2_000_000].to_vec()),
            Fault::Length { wanted: 3_000_000, got: 2_000_000 },
        ),
        (Reply::Raw(of(&update[..2_000_000])), Fault::Cut),
        (
            Reply::Raw(b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\n\r\n".to_vec()),
            Fault::Redirect("portal.example".to_owned()),
        ),
    ];
    for (reply, fault) in faults {
        server.put("/soloist.update", reply);
        assert_eq!(download(&Download::default()), Err(fault.clone()));
        assert!(is_empty(), "{fault}");
    }
    server.put("/soloist.update", Reply::Whole(update.clone()));
    let progress = Download::default();
    download(&progress).unwrap();
    assert_eq!(progress.bytes.load(Ordering::Relaxed), 3_000_000);
    let file = feed::place(data.path()).join("soloist.update");
    assert_eq!(fs::read(&file).unwrap(), update);
    // As the system looks at it then.
    let mut minisign = Command::new("minisign");
    minisign.args(["-V", "-q", "-p"]).arg(publisher.path("ours.pub")).arg("-m").arg(&file);
    assert!(minisign.status().unwrap().success());

    // While a block is on its way to the card, nothing more is written; and it can be given up.
    let progress = Arc::new(Download::default());
    progress.waits.store(true, Ordering::Relaxed);
    let (watched, release_, place) = (progress.clone(), release.clone(), data.path().to_owned());
    let thread = thread::spawn(move || feed::download(&release_, None, &place, &watched));
    thread::sleep(Duration::from_millis(600));
    assert_eq!(progress.bytes.load(Ordering::Relaxed), 0);
    progress.waits.store(false, Ordering::Relaxed);
    assert_eq!(thread.join().unwrap(), Ok(()));
    let progress = Download::default();
    progress.is_over.store(true, Ordering::Relaxed);
    assert_eq!(download(&progress), Err(Fault::Cut));
    assert!(is_empty());

    let Some(card) = Card::new(20) else { return };
    let result = feed::download(&release, None, card.0.path(), &Download::default());
    assert!(
        matches!(result, Err(Fault::NoRoom { needed, free }) if needed > 38_000_000 && free < 21_000_000),
        "{result:?}"
    );
    assert!(!feed::place(card.0.path()).exists());
}

const PIN: &str = "7391x";

/// A daemon with this node and this feed, the PIN, and a key.
fn daemon(entry: &str, publisher: &Publisher, server: &Server, more: &str) -> Daemon {
    let daemon = Daemon::still();
    let update = format!(
        "[update]\nfeed = \"http://127.0.0.1:{}/feed.json\"\nkey_path = \"{}\"\n{more}\n",
        server.port,
        publisher.path("ours.pub").display()
    );
    daemon.configure(entry, &update);
    daemon.edit(|text| text.replace("[http]\n", &format!("[http]\npin = \"{PIN}\"\n")));
    daemon
}

fn told(daemon: &Daemon) -> Value {
    wait_for("the API", || daemon.get("/api/update"))["update"].clone()
}

/// Somebody with the PIN.
fn owner(daemon: &Daemon) -> Browser<'_> {
    let mut browser = Browser { daemon, cookie: String::new() };
    // The stored PIN is hashed first.
    wait_for("the log-in", || {
        browser.post("/login", &format!("pin={PIN}"));
        browser.settings().contains("name=\"token\"").then_some(())
    });
    browser
}

fn press(browser: &mut Browser<'_>, action: &str) -> String {
    let token = browser.token();
    let answer = browser.post("/action", &format!("token={token}&sure=yes&action={action}"));
    answer.as_str().unwrap().to_owned()
}

/// The system's part of an installation: takes the request, looks at what was fetched, and says this.
struct System {
    dir: tempfile::TempDir,
}

impl System {
    fn new(daemon: &mut Daemon) -> System {
        let system = System { dir: tempfile::tempdir().unwrap() };
        daemon.env = vec![
            ("SOLOIST_REQUEST".to_owned(), system.path("request").display().to_string()),
            ("SOLOIST_UPDATE_TOLD".to_owned(), system.path("told").display().to_string()),
        ];
        system
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn is_asked(&self) -> bool {
        self.path("request").exists()
    }

    /// As `image/root/usr/lib/soloist/request` does it, with minisign itself.
    fn install(&self, daemon: &Daemon, publisher: &Publisher, says: &str) {
        let word = wait_for("the request", || fs::read_to_string(self.path("request")).ok());
        assert_eq!(word, "update\n");
        fs::remove_file(self.path("told")).ok();
        fs::remove_file(self.path("request")).unwrap();
        let file = feed::place(&daemon.data()).join("soloist.update");
        let mut minisign = Command::new("minisign");
        minisign.args(["-V", "-q", "-p"]).arg(publisher.path("ours.pub")).arg("-m").arg(&file);
        assert!(minisign.status().unwrap().success());
        fs::write(self.path("told.new"), says).unwrap();
        fs::rename(self.path("told.new"), self.path("told")).unwrap();
    }
}

#[test]
fn the_owner_is_told_and_a_press_installs() {
    let Some(publisher) = Publisher::new() else { return };
    let server = Server::start(None);
    let update = vec![7; 200_000];
    let signature = publisher.sign(&update, "ours", "soloist.update", &[]);
    server.put("/soloist.update", Reply::Whole(update.clone()));
    server.put("/soloist.update.minisig", Reply::Whole(signature));
    publisher.publish(&server, &document(server.port, 7, &update));
    let (_node, entry) = sandbox();
    let mut daemon = daemon(&entry, &publisher, &server, "");
    let system = System::new(&mut daemon);
    daemon.launch();
    daemon.wait_ready();
    let before = told(&daemon);
    assert_eq!((&before["step"], &before["can_install"]), (&json!("none"), &json!(true)));
    let mut browser = owner(&daemon);
    let page = press(&mut browser, "check_update");
    assert!(page.contains("Version 9.9.9 of 2026-11-01 is there; this is 0.1.0."), "{page}");
    let update_page = daemon.text("/update");
    assert!(
        update_page.contains("Tea is served.") && update_page.contains("&lt;b&gt;All"),
        "{update_page}"
    );
    assert!(daemon.text("/").contains("Version 9.9.9 is there: what changes"));
    let told_now = told(&daemon);
    assert_eq!((&told_now["step"], &told_now["serial"]), (&json!("offered"), &json!(7)));
    assert!(!system.is_asked());

    // Without the box's tick nothing happens, with it the system is asked once.
    let token = browser.token();
    let answer = browser.post("/action", &format!("token={token}&action=install_update"));
    assert!(answer.as_str().unwrap().contains("Tick the box"), "not asked to tick");
    press(&mut browser, "install_update");
    system.install(&daemon, &publisher, "1\nsoloist-update: slot B cannot be written\n");
    let failure = wait_for("the refusal", || {
        Some(told(&daemon)["install_failure"].clone()).filter(|f| !f.is_null())
    });
    assert_eq!(failure["why"], "slot B cannot be written");
    let alarms = daemon.status().unwrap()["alarms"].to_string();
    assert!(
        alarms.contains("Version 9.9.9 is not installed: slot B cannot be written."),
        "{alarms}"
    );
    assert!(!feed::place(&daemon.data()).exists());

    // It is known over a restart, and so is the feed. Then the system takes it.
    daemon.stop();
    daemon.launch();
    let after = told(&daemon);
    assert_eq!((&after["step"], &after["serial"]), (&json!("offered"), &json!(7)));
    assert_eq!(after["install_failure"]["cause"], "refused");
    let mut browser = owner(&daemon);
    press(&mut browser, "install_update");
    system.install(
        &daemon,
        &publisher,
        "0\nVersion 9.9.9 is started on trial at the next restart\n",
    );
    wait_for("the event", || {
        daemon
            .text("/")
            .contains("Version 9.9.9 is installed: the box starts anew with it.")
            .then_some(())
    });
    assert_eq!(told(&daemon)["phase"], "installing");
    // The same version starts again: the new one has not proved itself.
    daemon.stop();
    daemon.launch();
    let after = told(&daemon);
    assert_eq!(after["install_failure"]["cause"], "came_back");
    let log = daemon.log();
    assert_eq!(
        log.matches("is there; this is 0.1.0. What changes").count(),
        1,
        "told more than once"
    );

    // An older feed is refused, after the restart as well.
    publisher.publish(&server, &document(server.port, 6, &update));
    let mut browser = owner(&daemon);
    let page = press(&mut browser, "check_update");
    assert!(
        page.contains("it is older (number 6) than one that was read before (number 7)"),
        "{page}"
    );
    assert_eq!(told(&daemon)["serial"], 7);
    let metrics = daemon.text("/metrics");
    assert!(
        metrics.contains("soloist_update_available 1")
            && metrics.contains("soloist_update_check_failing 1")
    );
}

/// The minute of the day that begins so many seconds from now at the earliest, and when it does.
fn minute_after(seconds: u64) -> (String, u64) {
    let at = (unix() + seconds).div_ceil(60) * 60;
    (format!("{:02}:{:02}", at / 3600 % 24, at / 60 % 60), at)
}

#[test]
fn an_update_is_installed_by_itself_at_the_minute_that_the_owner_chose() {
    let Some(publisher) = Publisher::new() else { return };
    let server = Server::start(None);
    let update = vec![9; 100_000];
    let signature = publisher.sign(&update, "ours", "soloist.update", &[]);
    server.put("/soloist.update", Reply::Whole(update.clone()));
    server.put("/soloist.update.minisig", Reply::Whole(signature));
    publisher.publish(&server, &document(server.port, 7, &update));
    let (_node, entry) = sandbox();
    let (minute, at) = minute_after(20);
    let settings = format!("mode = \"install\"\nat = \"{minute}\"");
    let mut daemon = daemon(&entry, &publisher, &server, &settings);
    let system = System::new(&mut daemon);
    daemon.launch();
    daemon.wait_ready();
    let mut browser = owner(&daemon);
    press(&mut browser, "check_update");
    let ready =
        wait_for("the download", || Some(told(&daemon)).filter(|told| told["phase"] == "ready"));
    assert_eq!(ready["waits_for"], format!("it is {minute} UTC"));
    assert_eq!(ready["install_at"], at);
    assert!(!system.is_asked() && unix() < at);
    let asked = Instant::now();
    while !system.is_asked() {
        assert!(asked.elapsed() < Duration::from_secs(150), "it was not installed");
        thread::sleep(Duration::from_millis(100));
    }
    println!("asked {} s after the minute began", unix() - at);
    assert!(unix() >= at, "too early");
    system.install(
        &daemon,
        &publisher,
        "0\nVersion 9.9.9 is started on trial at the next restart\n",
    );
    wait_for("the end", || daemon.log().contains("Version 9.9.9 is installed").then_some(()));
}

/// A block that no node has taken holds an installation up, also by hand, and nothing else of it.
#[test]
fn nothing_is_installed_while_a_block_is_on_its_way() {
    let Some(publisher) = Publisher::new() else { return };
    let server = Server::start(None);
    let update = vec![3; 50_000];
    let signature = publisher.sign(&update, "ours", "soloist.update", &[]);
    server.put("/soloist.update", Reply::Whole(update.clone()));
    server.put("/soloist.update.minisig", Reply::Whole(signature));
    publisher.publish(&server, &document(server.port, 7, &update));
    // Every second hash solves a block.
    let (node, entry) = sandbox_with(0x207f_ffff);
    let mut daemon = daemon(&entry, &publisher, &server, "");
    let system = System::new(&mut daemon);
    daemon.launch();
    daemon.wait_ready();
    let mut browser = owner(&daemon);
    press(&mut browser, "check_update");
    let mut miner = Miner::connect(daemon.stratum, "cpuminer/2.5.1", "anna");
    // The node dies, and the miner goes on with its last job.
    drop(node);
    miner.mine();
    wait_for("the block", || daemon.blocks().first().cloned());
    let page = press(&mut browser, "install_update");
    assert!(page.contains("A solved block is on its way to the nodes"), "{page}");
    assert!(!system.is_asked());
    assert_eq!(told(&daemon)["phase"], "");
}

#[test]
fn a_program_without_the_boxs_image_tells_and_says_how_it_is_updated() {
    let Some(publisher) = Publisher::new() else { return };
    let server = Server::start(None);
    publisher.publish(&server, &document(server.port, 7, b"update"));
    let (_node, entry) = sandbox();
    let mut daemon = daemon(&entry, &publisher, &server, "mode = \"install\"");
    daemon.launch();
    daemon.wait_ready();
    let mut browser = owner(&daemon);
    press(&mut browser, "check_update");
    assert_eq!(told(&daemon)["can_install"], false);
    assert!(daemon.text("/update").contains("update its package or its container"));
    let page = press(&mut browser, "install_update");
    assert!(
        page.contains("did not come with the box&#39;s image")
            || page.contains("did not come with the box's image"),
        "{page}"
    );
    assert_eq!(told(&daemon)["phase"], "");
    assert!(!feed::place(&daemon.data()).exists());
}

fn faketime() -> Option<PathBuf> {
    let library = |dir: fs::DirEntry| dir.path().join("faketime/libfaketimeMT.so.1");
    fs::read_dir("/usr/lib").ok()?.flatten().map(library).find(|library| library.exists())
}

/// The clock of a box that shows this.
fn with_clock(library: &Path, shows: &str) -> Vec<(String, String)> {
    [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME", shows.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("NO_FAKE_STAT", "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// By HTTPS certificates do not hold, and by HTTP the clock is told as wrong. `soloist check` says it too.
#[test]
fn a_clock_of_1970_or_2099_is_told_and_installs_nothing() {
    let Some(publisher) = Publisher::new() else { return };
    let Some(library) = faketime() else {
        println!("*** NOT TESTED *** there is no libfaketime");
        return;
    };
    let (authority, tls) = certificate(publisher.dir.path(), (2020, 2090));
    let (plain, secure) = (Server::start(None), Server::start(Some(tls)));
    for server in [&plain, &secure] {
        publisher.publish(server, &document(plain.port, 7, b"update"));
    }
    let check = |feed: &str, clock: Option<&str>| {
        let config = publisher.path("soloist.toml");
        let text = format!(
            "[node]\nrpc_url = \"http://a:b@127.0.0.1:{}\"\n[payout]\naddress = \"{}\"\n[update]\nfeed = \"{feed}\"\n\
             key_path = \"ours.pub\"\n{}",
            free_port(),
            crate::common::daemon::PAYOUT,
            if feed.starts_with("https") {
                format!("tls_cert_path = \"{}\"\n", authority.display())
            } else {
                String::new()
            }
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_soloist"));
        command.arg("check").arg("--config").arg(config);
        command.envs(clock.map_or(Vec::new(), |clock| with_clock(&library, clock)));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let (by_http, by_https) = (
        format!("http://127.0.0.1:{}/feed.json", plain.port),
        format!("https://127.0.0.1:{}/feed.json", secure.port),
    );
    let good = "Version 9.9.9 of 2026-11-01 is there; this is 0.1.0. Its feed, number 7, was made on 2026-11-01 10:00 UTC.";
    for feed in [&by_http, &by_https] {
        let text = check(feed, None);
        assert!(text.contains(good), "{text}");
    }
    for (clock, shows) in
        [("@1970-01-02 00:00:00", "1970-01-0"), ("@2099-01-02 00:00:00", "2099-01-0")]
    {
        let text = check(&by_https, Some(clock));
        assert!(text.contains("the certificate of its server is not valid at this date"), "{text}");
        assert!(text.contains(&format!("The clock of this box shows {shows}")), "{text}");
        // The feed has no end of validity.
        assert!(check(&by_http, Some(clock)).contains(good), "{clock}");
    }

    let update = vec![5; 10_000];
    let signature = publisher.sign(&update, "ours", "soloist.update", &[]);
    plain.put("/soloist.update", Reply::Whole(update.clone()));
    plain.put("/soloist.update.minisig", Reply::Whole(signature));
    publisher.publish(&plain, &document(plain.port, 8, &update));
    let (_node, entry) = sandbox();
    for clock in ["@1970-01-02 00:00:30", "@2099-01-02 00:00:30"] {
        // It is within the hour by this clock.
        let settings = "mode = \"install\"\nat = \"00:00\"";
        let mut daemon = daemon(&entry, &publisher, &plain, settings);
        let system = System::new(&mut daemon);
        daemon.env.extend(with_clock(&library, clock));
        daemon.launch();
        daemon.wait_ready();
        let mut browser = owner(&daemon);
        press(&mut browser, "check_update");
        let ready = wait_for("the download", || {
            Some(told(&daemon)).filter(|told| told["phase"] == "ready")
        });
        assert_eq!(ready["waits_for"], "the clock of this box is right", "{clock}");
        assert_eq!(ready["clock_behind"], json!(clock.contains("1970")));
        thread::sleep(Duration::from_secs(25));
        assert!(!system.is_asked(), "{clock}");
        if clock.contains("1970") {
            assert!(daemon.log().contains("which is before the update feed was made: it is wrong"));
        }
    }
}

#[test]
fn a_feed_that_cannot_be_kept_is_told_and_installs_nothing() {
    let Some(publisher) = Publisher::new() else { return };
    let Some(card) = Card::new(60) else { return };
    let server = Server::start(None);
    let update = vec![1; 10_000];
    let signature = publisher.sign(&update, "ours", "soloist.update", &[]);
    server.put("/soloist.update", Reply::Whole(update.clone()));
    server.put("/soloist.update.minisig", Reply::Whole(signature));
    publisher.publish(&server, &document(server.port, 7, &update));
    let (_node, entry) = sandbox();
    let mut daemon = daemon(&entry, &publisher, &server, "");
    let system = System::new(&mut daemon);
    let data = format!("dir = \"{}\"", daemon.data().display());
    daemon.edit(|text| text.replace(&data, &format!("dir = \"{}\"", card.0.path().display())));
    daemon.launch();
    daemon.wait_ready();
    let mut browser = owner(&daemon);
    // Everything else fills it.
    let mut filler = fs::File::create(card.0.path().join("filler")).unwrap();
    while filler.write_all(&[1; 65_536]).is_ok() {}
    while filler.write_all(&[1; 16]).is_ok() {}
    press(&mut browser, "check_update");
    let failure = wait_for("the failure", || {
        Some(told(&daemon)["check_failure"].clone()).filter(|f| !f.is_null())
    });
    assert_eq!(failure["cause"], "not_kept", "{failure}");
    press(&mut browser, "install_update");
    let failure = wait_for("the failure", || {
        Some(told(&daemon)["install_failure"].clone()).filter(|f| !f.is_null())
    });
    assert_eq!(failure["cause"], "no_room", "{failure}");
    assert!(!system.is_asked());
    // There is room again, and the next check is as good as ever.
    drop(filler);
    fs::remove_file(card.0.path().join("filler")).unwrap();
    press(&mut browser, "check_update");
    wait_for("the end of it", || told(&daemon)["check_failure"].is_null().then_some(()));
    drop(daemon);
}

/// A feed that stands still costs the miners nothing: shares are answered while it is waited for.
#[test]
fn a_slow_feed_costs_the_miners_nothing() {
    let Some(publisher) = Publisher::new() else { return };
    let server = Server::start(None);
    server.put("/feed.json", Reply::Drip);
    let (_node, entry) = sandbox_with(0x207f_ffff);
    let mut daemon = daemon(&entry, &publisher, &server, "");
    daemon.launch();
    daemon.wait_ready();
    let mut browser = owner(&daemon);
    let token = browser.token();
    let mut miner = Miner::connect(daemon.stratum, "cpuminer/2.5.1", "anna");
    thread::scope(|scope| {
        let pressed = scope.spawn(move || {
            browser
                .post("/action", &format!("token={token}&action=check_update"))
                .as_str()
                .unwrap()
                .to_owned()
        });
        wait_for("the check", || told(&daemon)["checking"].as_bool().filter(|checking| *checking));
        let mut worst = Duration::ZERO;
        let mut blocks = 0;
        while !pressed.is_finished() {
            let asked = Instant::now();
            let (answer, _) = miner.mine_and_go_on();
            assert_eq!(answer["result"], true, "{answer}");
            worst = worst.max(asked.elapsed());
            blocks += 1;
            thread::sleep(Duration::from_millis(100));
        }
        println!("{blocks} blocks while the feed was waited for, the slowest in {worst:?}");
        assert!(blocks > 20);
        let page = pressed.join().unwrap();
        assert!(page.contains("its server did not send it within 30 s"), "{page}");
    });
}

#[test]
fn a_server_that_takes_connections_and_never_answers_is_given_up() {
    let Some(publisher) = Publisher::new() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://127.0.0.1:{}/feed.json", listener.local_addr().unwrap().port());
    let source = Source { url, key: publisher.path("ours.pub"), certificate: None };
    let began = Instant::now();
    let fault = feed::fetch(&source).unwrap_err();
    assert!(matches!(fault, Fault::Slow(_)), "{fault:?}");
    println!("given up after {:.0} s", began.elapsed().as_secs_f64());
}
