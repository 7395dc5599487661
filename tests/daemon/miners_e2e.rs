//! Miners at the real program: a restart under twenty of them, and miners that encrypt.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_rustls::rustls;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use soloist::chain::BlockHash;
use soloist::demo::node::SandboxNode;
use soloist::difficulty::{Difficulty, Target};
use soloist::hash::sha256d;

use crate::common::daemon::{Daemon, node_entries};
use crate::common::node::{Kind, RealNode};
use crate::common::sandbox::sandbox;
use crate::common::{free_port, wait_for};

/// Shares of everybody here: the least difficulty there is, 430,000 hashes.
pub const SHARE: f64 = 0.0001;

/// A miner on any stream, which hashes with code of its own.
pub struct Client<S> {
    pub reader: BufReader<S>,
    pub extranonce1: Vec<u8>,
    pub session: String,
    pub job: Value,
    pub next_id: u64,
}

impl<S: Read + Write> Client<S> {
    /// Says hello, with a session of before if there is one.
    pub fn subscribe(stream: S, session: Option<&str>) -> Client<S> {
        let mut client = Client {
            reader: BufReader::new(stream),
            extranonce1: Vec::new(),
            session: String::new(),
            job: Value::Null,
            next_id: 1,
        };
        let answer = match session {
            Some(session) => client.call("mining.subscribe", json!(["cgminer/4.11.1", session])),
            None => client.call("mining.subscribe", json!(["cgminer/4.11.1"])),
        };
        client.extranonce1 = decode(answer["result"][1].as_str().unwrap());
        client.session = answer["result"][0][0][1].as_str().unwrap().to_owned();
        client
    }

    /// Logs in and waits for a job.
    pub fn begin(&mut self, name: &str) {
        self.call("mining.authorize", json!([name, format!("d={SHARE}")]));
        while self.job.is_null() {
            self.line();
        }
    }

    pub fn line(&mut self) -> Value {
        let mut line = String::new();
        assert_ne!(self.reader.read_line(&mut line).expect("a line"), 0, "hung up");
        let value: Value = serde_json::from_str(&line).unwrap();
        if value["method"] == "mining.notify" {
            self.job = value["params"].clone();
        }
        value
    }

    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        let line = format!("{}\n", json!({"id": id, "method": method, "params": params}));
        self.reader.get_mut().write_all(line.as_bytes()).unwrap();
        self.reader.get_mut().flush().unwrap();
        loop {
            let line = self.line();
            if line["id"] == id && line["method"].is_null() {
                return line;
            }
        }
    }

    /// The header of the present job with this extranonce2 and nonce 0.
    pub fn header(&self, extranonce2: u64) -> [u8; 80] {
        let job = self.job.as_array().unwrap();
        let text = |i: usize| job[i].as_str().unwrap();
        let number = |i: usize| u32::from_str_radix(text(i), 16).unwrap();
        let extranonce2 = extranonce2.to_be_bytes();
        let (head, tail) = (decode(text(2)), decode(text(3)));
        let coinbase = [&head[..], &self.extranonce1, &extranonce2, &tail].concat();
        let root = job[4].as_array().unwrap().iter().fold(sha256d(&coinbase), |root, node| {
            sha256d(&[root.as_slice(), &decode(node.as_str().unwrap())].concat())
        });
        let mut header = number(5).to_le_bytes().to_vec();
        decode(text(1)).chunks(4).for_each(|word| header.extend(word.iter().rev()));
        header.extend_from_slice(&root);
        header.extend_from_slice(&number(7).to_le_bytes());
        header.extend_from_slice(&number(6).to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        header.try_into().unwrap()
    }

    /// The parameters of a share of the present job.
    pub fn share(&self, extranonce2: u64, nonce: u32) -> Value {
        let en2 = faster_hex::hex_string(&extranonce2.to_be_bytes());
        json!(["w", self.job[0], en2, self.job[7], format!("{nonce:08x}")])
    }

    /// A share of the present job that reaches `easy` and not `hard`, and its hash.
    pub fn mine(&self, extranonce2: u64, easy: Target, hard: Option<Target>) -> (Value, BlockHash) {
        let mut header = self.header(extranonce2);
        for nonce in 0u32.. {
            header[76..].copy_from_slice(&nonce.to_le_bytes());
            let hash = sha256d(&header);
            let hash = BlockHash(hash);
            if easy.is_met_by(&hash) && hard.is_none_or(|hard| !hard.is_met_by(&hash)) {
                return (self.share(extranonce2, nonce), hash);
            }
        }
        unreachable!("four billion hashes")
    }
}

pub fn decode(hex: &str) -> Vec<u8> {
    let mut bytes = vec![0; hex.len() / 2];
    faster_hex::hex_decode(hex.as_bytes(), &mut bytes).unwrap();
    bytes
}

pub fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// What a share must reach here, and what a block must.
pub fn targets(node: &SandboxNode) -> (Target, Target) {
    let bits = node.chain().template(0)["bits"].as_str().unwrap().to_owned();
    let bits = soloist::difficulty::NBits(u32::from_str_radix(&bits, 16).unwrap());
    (Target::from_difficulty(Difficulty(SHARE)), Target::from_nbits(bits).unwrap())
}

#[test]
fn kill_and_restart_under_twenty_miners_loses_nothing() {
    const MINERS: usize = 20;
    let (node, entry) = sandbox();
    let mut daemon = Daemon::start(&entry);
    if daemon.runtime().is_none() {
        println!("no /dev/shm here: not tried");
        return;
    }
    daemon.wait_ready();
    let (easy, hard) = targets(&node);
    let mut clients: Vec<_> = (0..MINERS)
        .map(|n| {
            let mut client = Client::subscribe(tcp(daemon.stratum), None);
            client.begin(&format!("anna.{n}"));
            client
        })
        .collect();
    let started = Instant::now();
    // One is counted before, all others wait while the daemon is away; one is a block.
    let (counted, _) = clients[0].mine(1, easy, Some(hard));
    assert_eq!(clients[0].call("mining.submit", counted.clone())["result"], true);
    let (first, second) = clients.split_at(MINERS / 2);
    let find = |clients: &[Client<TcpStream>]| -> Vec<Value> {
        clients.iter().map(|client| client.mine(2, easy, Some(hard)).0).collect()
    };
    let shares = std::thread::scope(|scope| {
        let half = scope.spawn(|| find(first));
        let other = find(second);
        [half.join().unwrap(), other].concat()
    });
    let (block, block_hash) = clients[7].mine(3, hard, None);
    println!("{:.1} s to find {} shares and a block", started.elapsed().as_secs_f64(), MINERS + 1);

    daemon.kill();
    let sessions: Vec<String> = clients.iter().map(|client| client.session.clone()).collect();
    drop(clients);
    let restarted = Instant::now();
    daemon.launch();
    let address = daemon.stratum;
    let threads: Vec<_> = sessions
        .into_iter()
        .zip(shares)
        .enumerate()
        .map(|(n, (session, share))| {
            std::thread::spawn(move || {
                let stream = wait_for("the port", || TcpStream::connect(address).ok());
                stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                let mut client = Client::subscribe(stream, Some(&session));
                assert_eq!(client.session, session);
                // As cgminer does it: first what waits, then the name.
                let answer = client.call("mining.submit", share);
                client.begin(&format!("anna.{n}"));
                (client, answer, restarted.elapsed())
            })
        })
        .collect();
    let back: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let last = back.iter().map(|(_, _, took)| *took).max().unwrap();
    let lost = back.iter().filter(|(_, answer, _)| answer["result"] != true).count();
    println!(
        "{MINERS} miners are back {:.2} s after the start; {lost} shares lost",
        last.as_secs_f64()
    );
    let answers: Vec<_> = back.iter().map(|(_, answer, _)| answer).collect();
    assert_eq!(lost, 0, "{answers:?}");
    assert!(last < Duration::from_secs(20), "{last:?}");

    let mut clients: Vec<_> = back.into_iter().map(|(client, ..)| client).collect();
    let again = clients[0].call("mining.submit", counted);
    assert_eq!(again["error"][0], 22, "it was counted before: {again}");
    let answer = clients[7].call("mining.submit", block);
    assert_eq!(answer["result"], true, "{answer}");
    wait_for("the node to have the block", || {
        let tip = node.chain().tip().to_string();
        (tip == block_hash.to_string()).then_some(())
    });

    // A file that is damaged or cut costs its jobs and nothing else.
    let file = daemon.runtime().unwrap().join("jobs");
    for spoil in [
        (|bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2)) as fn(&mut Vec<u8>),
        |bytes| bytes[60] ^= 1,
        |bytes| *bytes = vec![0xff; 5000],
    ] {
        daemon.kill();
        let mut bytes = fs::read(&file).unwrap();
        spoil(&mut bytes);
        fs::write(&file, bytes).unwrap();
        daemon.launch();
        daemon.wait_ready();
        Client::subscribe(tcp(daemon.stratum), None).begin("anna");
        wait_for("the file to be good again", || {
            fs::read(&file).ok().filter(|bytes| bytes.starts_with(b"soloist jobs")).map(drop)
        });
    }
}

/// A share that is late because the block has just changed is not laid at the miner's door; one that
/// comes more than a second later is. Page, API and metrics tell them apart, over a restart too.
#[test]
fn a_share_on_its_way_at_a_change_of_the_block_is_told_from_a_late_one() {
    let (node, entry) = sandbox();
    let mut daemon = Daemon::start(&entry);
    daemon.wait_ready();
    let (easy, hard) = targets(&node);
    let mut client = Client::subscribe(tcp(daemon.stratum), None);
    client.begin("anna");
    let shares = [1, 2, 3].map(|n| client.mine(n, easy, Some(hard)).0);
    let mut bert = Client::subscribe(tcp(daemon.stratum), None);
    bert.begin("bert");
    let (block, _) = bert.mine(4, hard, None);

    let submit = |client: &mut Client<TcpStream>, share: &Value| {
        let answer = client.call("mining.submit", share.clone());
        assert_eq!(answer["error"][0], 21, "{answer}");
        // AxeOS counts by the text, so that it is the same for both.
        assert_eq!(answer["error"][1], "stale", "{answer}");
    };

    let old = client.job.clone();
    let changed = Instant::now();
    assert_eq!(bert.call("mining.submit", block)["result"], true);
    while client.job[1] == old[1] {
        client.line();
    }
    submit(&mut client, &shares[0]);
    let took = changed.elapsed();
    assert!(took < Duration::from_secs(1), "this machine is too slow to be early: {took:?}");
    std::thread::sleep(Duration::from_millis(1100));
    for late in &shares[1..] {
        submit(&mut client, late);
    }
    // Work makes a miner known to the ledger for good.
    let (counted, _) = client.mine(5, easy, Some(hard));
    assert_eq!(client.call("mining.submit", counted)["result"], true);

    let told = |daemon: &Daemon| {
        let shown = wait_for("the miner in the API", || {
            let miners = daemon.get("/api/miners")?;
            let mut miners = miners["miners"].as_array()?.iter();
            miners.find(|miner| miner["name"] == "anna" && miner["accepted"] == 1).cloned()
        });
        assert_eq!(
            shown["rejects"],
            json!([
                {"reason": "stale", "count": 2},
                {"reason": "stale_at_change", "count": 1},
            ])
        );
        let page = daemon.text(&format!("/miners/{}", shown["id"].as_str().unwrap()));
        for words in ["on their way when the block changed", "Normal: nobody can avoid these."] {
            assert!(page.contains(words), "{page}");
        }
        let server = daemon.get("/api/server").unwrap();
        assert_eq!(server["reject_reasons"], json!({"stale": 2, "stale_at_change": 1}));
        assert_eq!(server["stale_shares"], 3);
        shown
    };
    let shown = told(&daemon);
    let latest = json!(["stale_at_change", "stale", "stale", null]);
    assert_eq!(shown["latest"], latest);
    let metrics = daemon.text("/metrics");
    for sample in [
        "soloist_shares_rejected_total{reason=\"stale_at_change\",class=\"avalon\"} 1\n",
        "soloist_shares_rejected_total{reason=\"stale\",class=\"avalon\"} 2\n",
        "soloist_miner_shares_rejected_total{miner=\"anna\",id=\"1\",reason=\"stale_at_change\"} 1\n",
        // What has not happened yet is there as well.
        "soloist_shares_rejected_total{reason=\"duplicate\",class=\"avalon\"} 0\n",
        "soloist_miner_shares_rejected_total{miner=\"anna\",id=\"1\",reason=\"duplicate\"} 0\n",
        "soloist_stratum_drops_total{cause=\"too_many\"} 0\n",
        "soloist_rpc_errors_total{node=\"127.0.0.1:",
    ] {
        assert!(metrics.contains(sample), "{sample} in\n{metrics}");
    }

    drop((client, bert));
    assert!(daemon.stop().success());
    daemon.launch();
    told(&daemon);
}

/// A miner's user and password say what cannot be followed: the page, the API and the log say it, from the
/// moment at which the owner lets users decide.
#[test]
fn a_mistyped_address_and_an_unclear_difficulty_are_told() {
    const THEIRS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    let (_node, entry) = sandbox();
    let daemon = Daemon::start(&entry);
    daemon.wait_ready();
    let login = |name: &str, password: &str| {
        let mut client = Client::subscribe(tcp(daemon.stratum), None);
        client.call("mining.authorize", json!([name, password]));
        while client.job.is_null() {
            client.line();
        }
        client
    };
    let mistyped = format!("{}_shed", THEIRS.replace("qw5", "qq5"));
    let _clients =
        [login(&format!("{THEIRS}_attic"), "x"), login(&mistyped, "x"), login("nerd", "d=5,000")];
    let miner = |name: &str| {
        let miners = daemon.get("/api/miners").unwrap();
        let mut miners = miners["miners"].as_array().unwrap().iter();
        miners.find(|miner| miner["name"] == name).cloned().unwrap()
    };
    let alarms = || -> Vec<String> {
        let status = daemon.status().unwrap();
        let alarms = status["alarms"].as_array().unwrap().iter();
        alarms.map(|alarm| alarm["text"].as_str().unwrap().to_owned()).collect()
    };
    let unclear = "The password of miner nerd asks for a difficulty that is not a plain number.";
    let unpaid = "begins like an address, but its checksum does not match";
    wait_for("the alarm", || alarms().iter().any(|text| text == unclear).then_some(()));
    assert!(daemon.log().contains(unclear) && !daemon.log().contains("d=5,000"));
    // The owner has not let users decide: no name is an address.
    assert!(!alarms().iter().any(|text| text.contains(unpaid)), "{:?}", alarms());
    let itself = "is paid there for its own block";
    assert!(!daemon.text("/").contains(itself));

    daemon.edit(|text| text.replacen("[payout]\n", "[payout]\nper_miner = true\n", 1));
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    wait_for("the alarm", || alarms().iter().any(|text| text.contains(unpaid)).then_some(()));
    assert!(daemon.log().contains(unpaid));
    let owner = daemon.status().unwrap()["payout"]["address"].clone();
    assert_eq!(miner(&format!("{THEIRS}_attic"))["pays"], THEIRS);
    assert_eq!(miner(&mistyped)["pays"], owner);
    assert!(miner(&mistyped)["pays_fault"].as_str().unwrap().starts_with("its checksum"));
    let page = daemon.text("/");
    assert!(page.contains(itself));
    let own_page = daemon.text(&format!("/miners/{}", miner(&mistyped)["id"].as_str().unwrap()));
    assert!(own_page.contains("Correct the user") && own_page.contains("Its block pays"));
}

/// On a real node: the block is found while the daemon is dead.
#[test]
fn a_block_on_a_job_of_the_run_before_is_accepted_by_the_node() {
    for node in RealNode::all() {
        node.generate(if node.kind == Kind::Bcoin { 440 } else { 2 });
        let mut daemon = Daemon::start(&node_entries(&[node.config()]));
        if daemon.runtime().is_none() {
            println!("no /dev/shm here: not tried");
            return;
        }
        daemon.wait_ready();
        let mut client = Client::subscribe(tcp(daemon.stratum), None);
        client.begin("anna");
        let half = Target::from_nbits(soloist::difficulty::NBits(0x207f_ffff)).unwrap();
        daemon.kill();
        daemon.launch();
        let (share, hash) = client.mine(1, half, None);
        daemon.wait_ready();
        let mut back = Client::subscribe(tcp(daemon.stratum), Some(&client.session));
        let answer = back.call("mining.submit", share);
        assert_eq!(answer["result"], true, "{answer}");
        wait_for("the node to have the block", || {
            (node.tip().to_string() == hash.to_string()).then_some(())
        });
        println!("{:?} has {hash}", node.kind);
    }
}

pub type Secure = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// A TLS connection that trusts this certificate and no other.
pub fn secure(address: SocketAddr, name: &str, pem: &str) -> Result<Secure, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut tls = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = tcp(address);
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).map_err(|error| error.to_string())?;
    }
    Ok(rustls::StreamOwned::new(tls, stream))
}

#[test]
fn miners_that_encrypt_are_served_like_all_others() {
    let (node, entry) = sandbox();
    let mut daemon = Daemon::start(&entry);
    daemon.stop();
    let tls = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let listen = format!("[stratum]\ntls_listen = \"{tls}\"\n");
    daemon.edit(|text| text.replace("[stratum]\n", &listen));
    daemon.launch();
    daemon.wait_ready();
    let cert = daemon.data().join("tls/cert.pem");
    let pem = fs::read_to_string(&cert).unwrap();

    let mut client = Client::subscribe(secure(tls, "127.0.0.1", &pem).unwrap(), None);
    client.begin("anna.tls");
    let easy = Target::from_difficulty(Difficulty(SHARE));
    let (share, _) = client.mine(1, easy, None);
    assert_eq!(client.call("mining.submit", share)["result"], true);
    // By its names too, and not by another's.
    secure(tls, "soloist.local", &pem).unwrap();
    let error = secure(tls, "example.com", &pem).map(drop).unwrap_err();
    println!("another name: {error}");

    // What is no TLS is cut, and disturbs nobody.
    for bytes in [
        b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n".to_vec(),
        vec![0x16, 3, 1, 0xff, 0xff],
        vec![0; 100_000],
    ] {
        let mut stranger = tcp(tls);
        stranger.write_all(&bytes).ok();
        stranger.shutdown(std::net::Shutdown::Write).ok();
        let mut said = Vec::new();
        stranger.read_to_end(&mut said).ok();
        assert!(said.len() < 100, "an alert at most: {}", said.len());
    }
    // A handshake that never goes on ends by itself.
    if std::env::var_os("SOLOIST_LONG").is_some() {
        let mut silent = tcp(tls);
        assert_eq!(silent.read(&mut [0; 10]).unwrap_or(0), 0);
    }

    // Another certificate counts from the next connection on; who is connected stays.
    let other = tempfile::tempdir().unwrap();
    let names = ["127.0.0.1".to_owned()];
    soloist::server::tls::Certificate::load_or_make(other.path(), &names).unwrap();
    for name in ["key.pem", "cert.pem"] {
        fs::copy(other.path().join(name), cert.with_file_name(name)).unwrap();
    }
    assert!(secure(tls, "127.0.0.1", &pem).is_err(), "the old one is not shown any more");
    let fresh = fs::read_to_string(&cert).unwrap();
    let mut late = Client::subscribe(secure(tls, "127.0.0.1", &fresh).unwrap(), None);
    late.begin("bert.tls");
    assert_eq!(client.call("mining.ping", json!([]))["result"], "pong");

    // The goodbye is in order: close_notify, then the end.
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    let mut rest = String::new();
    late.reader.read_to_string(&mut rest).expect("close_notify, or rustls would complain");
    daemon.kill();
    drop(node);
}
