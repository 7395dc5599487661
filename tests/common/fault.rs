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
    /// These methods are answered as Bitcoin Core does where a user's whitelist lacks them: HTTP 403
    /// with an empty body. The others pass.
    Forbid(Vec<&'static str>),
    /// A sound beginning of an answer, then so many bytes of nothing in particular.
    Flood(usize),
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
            Fault::Forbid(methods) => self.forbid(client, &methods),
            fault => self.pump(client, fault),
        }
    }

    fn answer(&self, client: TcpStream, answer: &[u8]) -> std::io::Result<()> {
        let request = self.read_request(&client)?;
        self.requests.lock().unwrap().push(request);
        (&client).write_all(answer)?;
        // Closed in the orderly way: whatever was sent arrives.
        client.shutdown(Shutdown::Write)
    }

    /// One request of the connection: answered here, or by the node.
    fn forbid(self: &Arc<Shared>, client: TcpStream, methods: &[&str]) -> std::io::Result<()> {
        let request = self.read_request(&client)?;
        let (head, body) = request.split_once("\r\n\r\n").unwrap_or_default();
        let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        if methods.iter().any(|method| body["method"] == *method) {
            self.requests.lock().unwrap().push(request);
            (&client).write_all(&http(403, ""))?;
            return client.shutdown(Shutdown::Write);
        }
        let Some(upstream) = self.upstream else { return Ok(()) };
        let node = TcpStream::connect(upstream)?;
        let rest = &request[head.len()..];
        // One answer for each connection, also to a client that would keep it.
        (&node).write_all(format!("{head}\r\nConnection: close{rest}").as_bytes())?;
        self.carry(&node, &client, &Fault::Pass);
        client.shutdown(Shutdown::Both)
    }

    /// The whole request, so that closing the socket does not reset the connection.
    fn read_request(&self, client: &TcpStream) -> std::io::Result<String> {
        let mut request = Vec::new();
        let mut chunk = [0; 65536];
        loop {
            let text = String::from_utf8_lossy(&request);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .filter_map(|line| line.split_once(':'))
                    .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                    .and_then(|(_, value)| value.trim().parse::<usize>().ok())
                    .unwrap_or(0);
                if body.len() >= length {
                    return Ok(text.into_owned());
                }
            }
            match (&mut &*client).read(&mut chunk)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => request.extend_from_slice(&chunk[..n]),
            }
        }
    }

    /// Carries bytes both ways until one side ends.
    fn pump(self: &Arc<Shared>, client: TcpStream, fault: Fault) -> std::io::Result<()> {
        let Some(upstream) = self.upstream else { return Ok(()) };
        let node = TcpStream::connect(upstream)?;
        client.set_nodelay(true)?;
        node.set_nodelay(true)?;
        let (from, to, shared) = (client.try_clone()?, node.try_clone()?, self.clone());
        let requests = thread::spawn(move || shared.carry(&from, &to, &Fault::Pass));
        self.carry(&node, &client, &fault);
        // Breaks the other direction as well.
        node.shutdown(Shutdown::Both).ok();
        client.shutdown(Shutdown::Both).ok();
        requests.join().ok();
        Ok(())
    }

    fn carry(&self, mut from: &TcpStream, mut to: &TcpStream, fault: &Fault) {
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
            let mut part = &chunk[..got];
            match *fault {
                Fault::Delay(by) if carried == 0 => thread::sleep(by),
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
