//! A TCP proxy between a client and a node that fails in the ways in which networks and nodes do,
//! and by itself a server that answers whatever it is told to.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What happens to connections. `Refuse` and `Hang` also strike those that are open already.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Nothing bad.
    Pass,
    /// Nobody listens; open connections are broken.
    Refuse,
    /// Connections are taken, and then nothing more happens, as with a process that is stopped.
    Hang,
    /// The connection breaks after so many bytes of the answer.
    Cut(usize),
    /// The answer begins so much later.
    Delay(Duration),
    /// The answer comes at so many bytes a second.
    Slow(usize),
    /// These bytes are the answer to every request; the node is never asked.
    Answer(Vec<u8>),
    /// One answer per connection, in turn; the last one stays.
    Script(Vec<Vec<u8>>),
    /// A sound beginning of an answer, then so many bytes of nothing in particular.
    Flood(usize),
    /// These bytes at once, before anything is asked, and the same to whatever is.
    Greet(Vec<u8>),
    /// These methods get this answer, all others are passed on.
    Only(Vec<&'static str>, Vec<u8>),
}

impl Fault {
    /// An answer with any status and body.
    pub fn http(status: u16, body: &str) -> Fault {
        Fault::Answer(http(status, body))
    }

    /// A JSON-RPC error as Bitcoin Core sends it.
    pub fn rpc_error(code: i64, message: &str) -> Fault {
        let message = serde_json::Value::from(message);
        let body =
            format!(r#"{{"result":null,"error":{{"code":{code},"message":{message}}},"id":1}}"#);
        Fault::http(500, &body)
    }

    /// HTTP 403 with an empty body, to these methods only: Core's `rpcwhitelist`.
    pub fn forbidden_methods(methods: &[&'static str]) -> Fault {
        Fault::Only(methods.to_vec(), http(403, ""))
    }

    /// HTTP 403 with an empty body, whoever asks what: Core's `rpcallowip`.
    pub fn forbidden_address() -> Fault {
        Fault::http(403, "")
    }

    /// HTTP 401: a wrong user or password.
    pub fn unauthorized() -> Fault {
        Fault::http(401, "")
    }

    /// Core's full queue.
    pub fn queue_full() -> Fault {
        Fault::http(503, "Work queue depth exceeded")
    }

    /// No RPC at this path.
    pub fn wrong_path() -> Fault {
        Fault::http(404, "")
    }

    /// Starting, with Core's words.
    pub fn warming_up() -> Fault {
        Fault::rpc_error(-28, "Loading block index…")
    }

    /// Without peers, with Core's words.
    pub fn no_peers() -> Fault {
        Fault::rpc_error(-9, "Bitcoin Core is not connected!")
    }

    /// In initial download, with Core's words.
    pub fn initial_download() -> Fault {
        Fault::rpc_error(-10, "Bitcoin Core is in initial sync and waiting for blocks...")
    }

    /// The page of a router or a web server.
    pub fn web_page() -> Fault {
        Fault::http(200, "<!DOCTYPE html><html><body>It works!</body></html>")
    }

    /// A redirect.
    pub fn redirect(to: &str) -> Fault {
        let head = format!("HTTP/1.1 301 Moved\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        Fault::Answer(head.into_bytes())
    }

    /// What a port of TLS says to HTTP: the alert "unexpected message".
    pub fn tls_alert() -> Fault {
        Fault::Answer(b"\x15\x03\x03\x00\x02\x02\x0a".to_vec())
    }

    /// What nginx says to HTTP on a port of TLS.
    pub fn tls_wanted() -> Fault {
        Fault::http(400, "<center>The plain HTTP request was sent to HTTPS port</center>")
    }

    /// A ZMQ publisher's signature.
    pub fn zmq_greeting() -> Fault {
        Fault::Greet(b"\xff\0\0\0\0\0\0\0\x01\x7f".to_vec())
    }

    /// The P2P port of regtest, in its old transport.
    pub fn p2p_message() -> Fault {
        Fault::Answer(b"\xfa\xbf\xb5\xdaversion\0\0\0\0\0".to_vec())
    }

    /// Another program.
    pub fn ssh() -> Fault {
        Fault::Greet(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())
    }

    /// An answer that ends before its announced length.
    pub fn cut_body() -> Fault {
        Fault::Answer(
            b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{\"result\":{\"chain".to_vec(),
        )
    }

    /// An answer without end.
    pub fn flood() -> Fault {
        Fault::Flood(100_000_000)
    }

    /// A JSON-RPC result.
    pub fn result(json: &str) -> Fault {
        Fault::http(200, &format!(r#"{{"result":{json},"error":null,"id":1}}"#))
    }
}

/// An HTTP answer as bytes.
pub fn http(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Whatever\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A listening port of the loopback with a [`Fault`] that can be changed at any time.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    upstream: Option<SocketAddr>,
    fault: Mutex<Fault>,
    stop: AtomicBool,
    connections: AtomicUsize,
    requests: Mutex<Vec<String>>,
}

impl FaultProxy {
    /// A proxy in front of a node, passing everything at first.
    pub fn start(upstream: SocketAddr) -> FaultProxy {
        FaultProxy::new(Some(upstream), Fault::Pass)
    }

    /// A server without a node behind it.
    pub fn answering(fault: Fault) -> FaultProxy {
        FaultProxy::new(None, fault)
    }

    fn new(upstream: Option<SocketAddr>, fault: Fault) -> FaultProxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream,
            fault: Mutex::new(fault),
            stop: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            requests: Mutex::new(Vec::new()),
        });
        let state = shared.clone();
        let acceptor = thread::spawn(move || accept(listener, address, &state));
        FaultProxy { address, shared, acceptor: Some(acceptor) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:…`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, this happens.
    pub fn set(&self, fault: Fault) {
        let refuse = fault == Fault::Refuse;
        *self.shared.fault.lock().unwrap() = fault;
        if refuse {
            // Only when the listener is gone is a connection refused.
            super::wait_for("the proxy to refuse", || TcpStream::connect(self.address).err());
        }
    }

    /// Connections taken so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The requests that were answered or refused without a node, whole.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().ok();
        }
    }
}

/// What part of a message has come.
enum Came {
    /// Its beginning.
    First,
    More,
    /// The beginning of one for which there is another fault by now: the connection shall end.
    TooLate,
}

/// How soon a change of the fault reaches threads that wait.
const TICK: Duration = Duration::from_millis(10);

fn accept(listener: TcpListener, address: SocketAddr, shared: &Arc<Shared>) {
    let mut listener = Some(listener);
    while !shared.stop.load(Ordering::SeqCst) {
        if shared.is(&Fault::Refuse) {
            listener = None;
            thread::sleep(TICK);
            continue;
        }
        let Some(open) = &listener else {
            listener = TcpListener::bind(address).ok();
            thread::sleep(TICK);
            continue;
        };
        if !readable(open) {
            continue;
        }
        let Ok((client, _)) = open.accept() else { continue };
        if shared.is(&Fault::Refuse) {
            continue;
        }
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let shared = shared.clone();
        thread::spawn(move || shared.serve(client).ok());
    }
}

impl Shared {
    fn is(&self, fault: &Fault) -> bool {
        *self.fault.lock().unwrap() == *fault
    }

    fn gone(&self) -> bool {
        self.stop.load(Ordering::SeqCst) || self.is(&Fault::Refuse)
    }

    fn serve(self: &Arc<Shared>, client: TcpStream) -> std::io::Result<()> {
        while self.is(&Fault::Hang) && !self.gone() {
            thread::sleep(TICK);
        }
        let fault = {
            let mut current = self.fault.lock().unwrap();
            let fault = current.clone();
            if let Fault::Script(answers) = &mut *current
                && answers.len() > 1
            {
                answers.remove(0);
            }
            fault
        };
        match fault {
            Fault::Answer(answer) => self.answer(client, &answer),
            Fault::Script(answers) => self.answer(client, &answers[0]),
            Fault::Flood(bytes) => {
                self.read_request(&client)?;
                (&client).write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"result\":\"")?;
                let chunk = [b'x'; 65536];
                let mut sent = 0;
                while sent < bytes && !self.gone() {
                    (&client).write_all(&chunk)?;
                    sent += chunk.len();
                }
                Ok(())
            }
            Fault::Greet(greeting) => {
                (&client).write_all(&greeting)?;
                self.answer(client, b"")
            }
            Fault::Only(methods, answer) => self.relay(client, &methods, &answer),
            fault => self.pump(client, fault),
        }
    }

    /// Passes one request after the other, each on a connection of its own, but for some methods.
    fn relay(&self, client: TcpStream, methods: &[&str], answer: &[u8]) -> std::io::Result<()> {
        let Some(upstream) = self.upstream else { return Ok(()) };
        loop {
            let request = self.read_request(&client)?;
            let body = request.split_once("\r\n\r\n").unwrap().1;
            let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
            let method = body["method"].as_str().unwrap_or_default();
            if methods.contains(&method) {
                self.requests.lock().unwrap().push(request);
                (&client).write_all(answer)?;
                continue;
            }
            let node = TcpStream::connect(upstream)?;
            (&node).write_all(request.as_bytes())?;
            let passed = read_message(&node)?;
            (&client).write_all(&passed)?;
        }
    }

    fn answer(&self, client: TcpStream, answer: &[u8]) -> std::io::Result<()> {
        let request = self.read_request(&client)?;
        self.requests.lock().unwrap().push(request);
        (&client).write_all(answer)?;
        // Closed in the orderly way: whatever was sent arrives.
        client.shutdown(Shutdown::Write)
    }

    /// The whole request, so that closing the socket does not reset the connection.
    fn read_request(&self, client: &TcpStream) -> std::io::Result<String> {
        Ok(String::from_utf8_lossy(&read_message(client)?).into_owned())
    }

    /// Carries bytes both ways until one side ends.
    fn pump(self: &Arc<Shared>, client: TcpStream, fault: Fault) -> std::io::Result<()> {
        let Some(upstream) = self.upstream else { return Ok(()) };
        let node = TcpStream::connect(upstream)?;
        client.set_nodelay(true)?;
        node.set_nodelay(true)?;
        let (from, to, shared) = (client.try_clone()?, node.try_clone()?, self.clone());
        let asked = Arc::new(AtomicBool::new(false));
        let (open, own) = (asked.clone(), fault.clone());
        let requests = thread::spawn(move || {
            shared.carry(&from, &to, &Fault::Pass, || {
                // A connection that is kept between two calls has the fault that there is now.
                match open.swap(true, Ordering::SeqCst) {
                    true => Came::More,
                    false if shared.is_another(&own) => Came::TooLate,
                    false => Came::First,
                }
            });
        });
        self.carry(&node, &client, &fault, || match asked.swap(false, Ordering::SeqCst) {
            true => Came::First,
            false => Came::More,
        });
        // Breaks the other direction as well.
        node.shutdown(Shutdown::Both).ok();
        client.shutdown(Shutdown::Both).ok();
        requests.join().ok();
        Ok(())
    }

    /// Neither the fault that the connection began with, nor one that strikes open ones by itself.
    fn is_another(&self, own: &Fault) -> bool {
        let current = self.fault.lock().unwrap();
        *current != *own && !matches!(*current, Fault::Hang | Fault::Refuse)
    }

    /// `came` is asked of all that came before it is carried on.
    fn carry(
        &self,
        mut from: &TcpStream,
        mut to: &TcpStream,
        fault: &Fault,
        came: impl Fn() -> Came,
    ) {
        let mut chunk = vec![0; 65536];
        let mut carried = 0;
        loop {
            if self.gone() {
                return;
            }
            if self.is(&Fault::Hang) {
                thread::sleep(TICK);
                continue;
            }
            if !readable(from) {
                continue;
            }
            let length = match *fault {
                Fault::Slow(rate) => (rate / 20).max(1),
                _ => chunk.len(),
            };
            let got = match from.read(&mut chunk[..length]) {
                Ok(0) | Err(_) => {
                    to.shutdown(Shutdown::Write).ok();
                    return;
                }
                Ok(got) => got,
            };
            match came() {
                Came::First => {
                    carried = 0;
                    if let Fault::Delay(by) = *fault {
                        thread::sleep(by);
                    }
                }
                Came::More => {}
                Came::TooLate => {
                    from.shutdown(Shutdown::Both).ok();
                    to.shutdown(Shutdown::Both).ok();
                    return;
                }
            }
            let mut part = &chunk[..got];
            match *fault {
                Fault::Slow(_) => thread::sleep(Duration::from_millis(50)),
                Fault::Cut(after) => part = &part[..got.min(after.saturating_sub(carried))],
                _ => {}
            }
            // It may have become a hanging node while we waited.
            while self.is(&Fault::Hang) && !self.gone() {
                thread::sleep(TICK);
            }
            if self.gone() || to.write_all(part).is_err() {
                return;
            }
            carried += part.len();
            if matches!(*fault, Fault::Cut(after) if carried >= after) {
                return;
            }
        }
    }
}

/// Whether something has come within a tick.
fn readable(socket: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(TICK.as_millis() as u16)).is_ok_and(|ready| ready > 0)
}

/// A whole HTTP message: its head, and as much body as that announces.
fn read_message(mut from: &TcpStream) -> std::io::Result<Vec<u8>> {
    let mut message = Vec::new();
    let mut chunk = [0; 65536];
    loop {
        if let Some(end) = message.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&message[..end]).into_owned();
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .and_then(|(_, value)| value.trim().parse::<usize>().ok())
                .unwrap_or(0);
            if message.len() >= end + 4 + length {
                return Ok(message);
            }
        }
        match from.read(&mut chunk)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => message.extend_from_slice(&chunk[..n]),
        }
    }
}
