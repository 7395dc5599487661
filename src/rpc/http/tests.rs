//! The transport against servers of its own: how many connections it opens, and what it says of
//! those that go wrong.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::super::link;
use super::*;
use crate::node::fault::{RpcError, Spoken, TlsFault};

/// A server of HTTP that answers whatever it is asked.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

/// What it does with a request on a connection, by the number of the request on it, from 1 on.
#[derive(Clone, Copy)]
enum Does {
    Answers,
    /// Answers and closes.
    AnswersAndCloses,
    /// Reads it and closes, as if its goodbye and the request had crossed.
    Closes,
    SaysNothing,
}

impl Server {
    fn start(does: impl Fn(usize) -> Does + Send + Sync + 'static) -> Server {
        Server::on("127.0.0.1:0", None, does).unwrap()
    }

    fn on(
        place: &str,
        tls: Option<Arc<ServerConfig>>,
        does: impl Fn(usize) -> Does + Send + Sync + 'static,
    ) -> std::io::Result<Server> {
        let listener = TcpListener::bind(place)?;
        let server = Server {
            address: listener.local_addr()?,
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let (connections, requests) = (server.connections.clone(), server.requests.clone());
        let does = Arc::new(does);
        // Both end with the process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (requests, does, tls) = (requests.clone(), does.clone(), tls.clone());
                thread::spawn(move || match tls {
                    None => serve(client, &requests, &*does),
                    Some(config) => {
                        let session = ServerConnection::new(config).unwrap();
                        serve(StreamOwned::new(session, client), &requests, &*does);
                    }
                });
            }
        });
        Ok(server)
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn serve(mut client: impl Read + Write, requests: &AtomicUsize, does: &dyn Fn(usize) -> Does) {
    for number in 1.. {
        let mut request = Vec::new();
        // All that is asked here ends like this.
        while !request.ends_with(b"\r\n\r\n{}") {
            let mut byte = [0; 1024];
            match client.read(&mut byte) {
                Ok(0) | Err(_) => return,
                Ok(n) => request.extend_from_slice(&byte[..n]),
            }
        }
        requests.fetch_add(1, Ordering::SeqCst);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        match does(number) {
            Does::Answers => client.write_all(answer).unwrap(),
            Does::AnswersAndCloses => return client.write_all(answer).unwrap(),
            Does::Closes => return,
            Does::SaysNothing => {}
        }
    }
}

fn client(url: &str) -> Client {
    Client::new(url, None)
}

fn post(client: &Client, deadline: Duration) -> Result<u16, RpcError> {
    let ask = Ask { body: "{}".into(), authorization: None, deadline, limit: 100 };
    let (answer, link) = client.post(ask)?;
    assert_eq!(answer.body, b"ok");
    client.keep(link);
    Ok(answer.status)
}

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_connection_serves_many_calls() {
    let server = Server::start(|_| Does::Answers);
    let one = client(&server.url());
    for _ in 0..100 {
        assert_eq!(post(&one, SOON), Ok(200));
    }
    println!("100 calls in turn: {} connection(s)", server.connections());
    assert_eq!((server.connections(), server.requests(), one.connections()), (1, 100, 1));

    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| (0..20).for_each(|_| assert_eq!(post(&one, SOON), Ok(200))));
        }
    });
    let opened = server.connections();
    println!("100 more of five threads: {opened} connection(s) in all, {} kept", one.connections());
    assert!(one.connections() <= IDLE_MAX, "{}", one.connections());
    drop(one);
}

#[test]
fn a_spare_is_there_before_it_is_needed() {
    let server = Server::start(|_| Does::Answers);
    let one = client(&server.url());
    one.keep_spare(SOON).unwrap();
    one.keep_spare(SOON).unwrap();
    assert_eq!(one.connections(), 1);
    assert_eq!(post(&one, SOON), Ok(200));
    assert_eq!((server.connections(), one.connections()), (1, 1));
}

#[test]
fn a_kept_connection_that_was_closed_costs_nothing() {
    // Closed in silence between two calls: seen before anything is sent.
    let server = Server::start(|_| Does::AnswersAndCloses);
    let one = client(&server.url());
    for _ in 0..3 {
        assert_eq!(post(&one, SOON), Ok(200));
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!((server.connections(), server.requests()), (3, 3));

    // Closed at the very moment of the next call: sent once more on a new one.
    let server = Server::start(|number| if number == 1 { Does::Answers } else { Does::Closes });
    let one = client(&server.url());
    assert_eq!(post(&one, SOON), Ok(200));
    assert_eq!(post(&one, SOON), Ok(200));
    assert_eq!((server.connections(), server.requests()), (2, 3));

    // A new connection that is closed without an answer is told, and not tried for ever.
    let server = Server::start(|_| Does::Closes);
    let error = post(&client(&server.url()), SOON);
    assert_eq!(error, Err(RpcError::Transport("it was closed without an answer".into())));
    assert_eq!(server.requests(), 1);
}

#[test]
fn a_connection_that_hung_is_not_used_again() {
    let server =
        Server::start(|number| if number == 1 { Does::Answers } else { Does::SaysNothing });
    let one = client(&server.url());
    let short = Duration::from_millis(150);
    assert_eq!(post(&one, SOON), Ok(200));
    let started = Instant::now();
    assert_eq!(post(&one, short), Err(RpcError::Timeout(short)));
    assert!(started.elapsed() >= short && started.elapsed() < SOON, "{:?}", started.elapsed());
    assert_eq!(one.connections(), 0);
    assert_eq!(post(&one, SOON), Ok(200));
    assert_eq!(server.connections(), 2);
}

#[test]
fn numbers_of_ipv6_and_names_are_called() {
    match Server::on("[::1]:0", None, |_| Does::Answers) {
        Ok(server) => assert_eq!(post(&client(&server.url()), SOON), Ok(200)),
        Err(error) => eprintln!("*** NOT TESTED *** IPv6: {error}"),
    }
    // It mostly has two addresses, of which one listens here.
    let server = Server::start(|_| Does::Answers);
    let url = format!("http://localhost:{}", server.address.port());
    assert_eq!(post(&client(&url), SOON), Ok(200));
}

#[test]
fn a_dead_address_of_two_takes_no_more_than_its_share() {
    let server = Server::start(|_| Does::Answers);
    // Nobody takes its connections, and there is no more room in its queue.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let silent = full.local_addr().unwrap().as_socket().unwrap();
    let _waiting: Vec<_> =
        (0..4).map(|_| TcpStream::connect_timeout(&silent, Duration::from_millis(100))).collect();
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

    let within = Duration::from_secs(3);
    let connect = |addresses: &[SocketAddr]| {
        let started = Instant::now();
        let deadline = started + within;
        let reached = async_io::block_on(link::connect(addresses, deadline, within));
        (reached.map(|(_, address)| address), started.elapsed())
    };
    // Three of them wait.
    thread::scope(|scope| {
        let alone = scope.spawn(|| connect(&[silent]).0);
        let both = scope.spawn(|| connect(&[silent, refused]).0);
        let (reached, took) = connect(&[silent, server.address]);
        assert_eq!(reached, Ok(server.address));
        assert!(took >= Duration::from_millis(900) && took < within, "{took:?}");
        assert_eq!(connect(&[refused, server.address]).0, Ok(server.address));
        assert_eq!(alone.join().unwrap(), Err(RpcError::NoConnection(within)));
        assert_eq!(both.join().unwrap(), Err(RpcError::Refused));
    });
}

#[test]
fn an_unusual_port_says_who_listens() {
    let says = |bytes: &'static [u8], at_once: bool| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            if !at_once {
                client.read_exact(&mut [0; 1]).unwrap();
            }
            client.write_all(bytes).unwrap();
            client.read_to_end(&mut Vec::new()).ok();
        });
        // It keeps the connection open and says no more.
        post(&client(&url), Duration::from_millis(300))
    };
    let zmq = says(b"\xff\0\0\0\0\0\0\0\x01\x7f", true);
    assert_eq!(zmq, Err(RpcError::NotHttp(Spoken::Zmq)));
    assert_eq!(says(b"\x15\x03\x01\0\x02\x02\x46", false), Err(RpcError::NotHttp(Spoken::Tls)));
    // What may still become HTTP is only late.
    assert_eq!(says(b"HTT", false), Err(RpcError::Timeout(Duration::from_millis(300))));
}

// -- https --

struct Certified {
    pem: String,
    config: Arc<ServerConfig>,
}

fn tls(certificate: &rcgen::Certificate, key: &KeyPair) -> Certified {
    let provider = Arc::new(ring::default_provider());
    let key = key.serialize_der().try_into().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    Certified { pem: certificate.pem(), config: Arc::new(config) }
}

/// Signed by itself, for `localhost`.
fn self_signed() -> Certified {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    tls(&params.self_signed(&key).unwrap(), &key)
}

/// An authority, what it signs for `localhost`, and the same but long run out.
fn authority() -> (String, Certified, Certified) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let signed = |until| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        tls(&params.signed_by(&key, &issuer).unwrap(), &key)
    };
    (issuer.pem(), signed(2200), signed(2001))
}

/// Calls a server of that certificate by this host, trusting what the file holds.
fn secure_call(server: &Certified, host: &str, file: Option<&Path>) -> Result<u16, RpcError> {
    let server = Server::on("127.0.0.1:0", Some(server.config.clone()), |_| Does::Answers).unwrap();
    let url = format!("https://{host}:{}", server.address.port());
    let client = Client::new(&url, file.map(PathBuf::from));
    for _ in 0..3 {
        post(&client, SOON)?;
    }
    assert_eq!(server.connections(), 1, "a handshake for all three");
    Ok(200)
}

#[test]
fn a_certificate_is_trusted_as_its_owner_wants() {
    let dir = tempfile::tempdir().unwrap();
    let (own, other) = (self_signed(), self_signed());
    let (ca, signed, run_out) = authority();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (own_file, ca_file) = (write("own.pem", &own.pem), write("ca.pem", &ca));
    let both = write("both.pem", &format!("{}{ca}", own.pem));
    let failed = |fault| Err(RpcError::Tls(fault));
    let not_pinned = failed(TlsFault::NotPinned(own_file.display().to_string()));

    assert_eq!(secure_call(&own, "localhost", None), failed(TlsFault::Untrusted));
    assert_eq!(secure_call(&own, "localhost", Some(&own_file)), Ok(200));
    assert_eq!(secure_call(&own, "127.0.0.1", Some(&own_file)), Ok(200), "whatever its name");
    assert_eq!(secure_call(&other, "localhost", Some(&own_file)), not_pinned);
    assert_eq!(secure_call(&signed, "localhost", Some(&own_file)), not_pinned);

    assert_eq!(secure_call(&signed, "localhost", Some(&ca_file)), Ok(200));
    assert_eq!(secure_call(&signed, "localhost", Some(&both)), Ok(200));
    let name = failed(TlsFault::Name("127.0.0.1".into()));
    assert_eq!(secure_call(&signed, "127.0.0.1", Some(&ca_file)), name);
    assert_eq!(secure_call(&run_out, "localhost", Some(&ca_file)), failed(TlsFault::Date));

    for bad in [dir.path().join("none.pem"), write("empty.pem", ""), write("text.pem", "hello")] {
        let answer = secure_call(&own, "localhost", Some(&bad));
        assert!(matches!(answer, Err(RpcError::Certificate { .. })), "{answer:?}");
    }
}

#[test]
fn tls_at_one_end_only_is_known() {
    let own = self_signed();
    let secure = Server::on("127.0.0.1:0", Some(own.config), |_| Does::Answers).unwrap();
    let answer = post(&client(&secure.url()), SOON);
    assert_eq!(answer, Err(RpcError::NotHttp(Spoken::Tls)));

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.read_exact(&mut [0; 64]).unwrap();
        client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
        client.read_to_end(&mut Vec::new()).ok();
    });
    assert_eq!(post(&client(&url), SOON), Err(RpcError::Tls(TlsFault::Plain)));
}

#[test]
fn a_name_that_is_lost_means_what_it_meant() {
    let server = Server::start(|_| Does::Answers);
    let url = format!("http://no-such-host.invalid:{}", server.address.port());
    let one = client(&url);
    assert_eq!(post(&one, SOON), Err(RpcError::UnknownName("no-such-host.invalid".into())));
    let address = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), server.address.port());
    *one.known() = Known { addresses: vec![address], good: false };
    assert_eq!(post(&one, SOON), Ok(200));
}
