//! A node with few RPC threads, and with Bitcoin Core's manner of losing them, for machines that
//! have no Core: bcoin answers everybody at once and shows nothing of it.
//!
//! As in Core (`httpserver.cpp`, `rpc/mining.cpp`), a connection costs no thread, whether kept or
//! not; a call does, from the moment it is taken up until it is answered, and nobody notices that
//! its client has gone. A long poll of `getblocktemplate` waits for another tip (the mempool here
//! stands still), `waitfornewblock` for another tip or its time-out. What the calls say comes from
//! the sandbox's chain.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use soloist::demo::chain::{Outcome, Rules, SandboxChain};
use soloist::demo::coins::free_script;
use soloist::demo::rpc::{self, Failure, Request};
use soloist::peer_address::P2pAddress;
use soloist::rpc::{Auth, NodeConfig};

use super::node::base64;

/// Core's `rpcworkqueue`: calls that wait for a thread before others are sent away.
const QUEUE: usize = 64;
/// The longest body: a block of 4 MB in hex, and room.
const MAX_BODY: usize = 9_000_000;

pub const USER: &str = "guest";
pub const PASSWORD: &str = "only for tests";

/// The node. Ended when it is dropped.
pub struct FewThreads {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    chain: Mutex<SandboxChain>,
    /// The tip is another, or the node ends.
    news: Condvar,
    queue: Mutex<VecDeque<Call>>,
    arrived: Condvar,
    /// What runs, and since when: one entry for each thread that is taken.
    active: Mutex<Vec<(String, Instant)>>,
    stop: AtomicBool,
}

/// A request that waits for a thread, and where its answer goes.
struct Call {
    body: Vec<u8>,
    answer: mpsc::Sender<(u16, Vec<u8>)>,
}

impl FewThreads {
    /// A node of so many RPC threads, with so many blocks.
    pub fn start(threads: usize, blocks: usize) -> FewThreads {
        let mut chain = SandboxChain::new(Rules::regtest());
        for _ in 0..blocks {
            assert_eq!(chain.mine(free_script(), unix_now()), Outcome::Connected);
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            chain: Mutex::new(chain),
            news: Condvar::new(),
            queue: Mutex::default(),
            arrived: Condvar::new(),
            active: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let mut handles = Vec::new();
        for _ in 0..threads {
            let shared = shared.clone();
            handles.push(thread::spawn(move || shared.work()));
        }
        let doors = shared.clone();
        handles.push(thread::spawn(move || doors.accept(&listener)));
        FewThreads { address, shared, threads: handles }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn config(&self) -> NodeConfig {
        NodeConfig {
            name: format!("few threads {}", self.address.port()),
            url: format!("http://{}", self.address),
            auth: Auth::UserPass { user: USER.into(), pass: PASSWORD.into() },
            certificate: None,
            zmq: None,
            p2p: P2pAddress::Off,
        }
    }
}

impl Drop for FewThreads {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // With the lock, so that nobody is between looking and waiting.
        drop(self.shared.chain.lock().unwrap());
        self.shared.news.notify_all();
        drop(self.shared.queue.lock().unwrap());
        self.shared.arrived.notify_all();
        // Wakes the thread that accepts.
        TcpStream::connect(self.address).ok();
        self.threads.drain(..).for_each(|thread| {
            thread.join().ok();
        });
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn accept(self: &Arc<Shared>, listener: &TcpListener) {
        while let Ok((client, _)) = listener.accept() {
            if self.stopped() {
                return;
            }
            let shared = self.clone();
            // Ends with its client.
            thread::spawn(move || shared.converse(&client).ok());
        }
    }

    /// The requests of one connection, one after the other.
    fn converse(&self, client: &TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut reader = BufReader::new(client);
        let expected = format!("Basic {}", base64(format!("{USER}:{PASSWORD}").as_bytes()));
        while let Some(request) = read_request(&mut reader)? {
            let (status, body) = match request.authorization.as_deref() == Some(&expected) {
                false => (401, Vec::new()),
                true => self.hand_over(request.body),
            };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\n\r\n"
            );
            (&*client).write_all(&[head.as_bytes(), &body].concat())?;
            if request.close || self.stopped() {
                break;
            }
        }
        client.shutdown(Shutdown::Both)
    }

    /// Waits until a thread has answered, whether the client is still there or not.
    fn hand_over(&self, body: Vec<u8>) -> (u16, Vec<u8>) {
        let (answer, answered) = mpsc::channel();
        {
            let mut queue = self.queue.lock().unwrap();
            if queue.len() >= QUEUE {
                return (503, b"Work queue depth exceeded".to_vec());
            }
            queue.push_back(Call { body, answer });
        }
        self.arrived.notify_one();
        // An error: the node ends.
        answered.recv().unwrap_or((503, Vec::new()))
    }

    /// One RPC thread.
    fn work(&self) {
        loop {
            let call = {
                let queue = self.queue.lock().unwrap();
                let idle = |queue: &mut VecDeque<Call>| queue.is_empty() && !self.stopped();
                let mut queue = self.arrived.wait_while(queue, idle).unwrap();
                if self.stopped() {
                    // Whoever waits for an answer sees its sender go.
                    queue.clear();
                    return;
                }
                queue.pop_front()
            };
            let Some(call) = call else { continue };
            let (id, result) = match Request::parse(&call.body) {
                Ok(request) => (request.id.clone(), self.run(&request)),
                Err(failure) => (Value::Null, Err(failure)),
            };
            let whole = (rpc::http_status(&result), rpc::body(&id, &result));
            // An error: the client has gone.
            call.answer.send(whole).ok();
        }
    }

    fn run(&self, request: &Request) -> Result<Value, Failure> {
        let entry = (request.method.clone(), Instant::now());
        self.active.lock().unwrap().push(entry.clone());
        let result = self.answer(request);
        let mut active = self.active.lock().unwrap();
        let place = active.iter().position(|running| *running == entry);
        active.remove(place.expect("it was put there"));
        result
    }

    fn answer(&self, request: &Request) -> Result<Value, Failure> {
        match request.method.as_str() {
            "getrpcinfo" => {
                let active = self.active.lock().unwrap();
                let commands: Vec<Value> = active
                    .iter()
                    .map(|(method, since)| {
                        let duration = since.elapsed().as_micros() as u64;
                        json!({"method": method, "duration": duration})
                    })
                    .collect();
                return Ok(json!({"active_commands": commands, "logpath": ""}));
            }
            "waitfornewblock" => {
                // No time-out, or 0: for ever.
                let limit = request.params.first().and_then(Value::as_u64).filter(|ms| *ms > 0);
                let known = self.chain.lock().unwrap().tip().to_string();
                self.wait_for_news(&known, limit.map(Duration::from_millis));
                let chain = self.chain.lock().unwrap();
                return Ok(json!({"hash": chain.tip().to_string(), "height": chain.height()}));
            }
            _ => {}
        }
        if let Some(id) = request.longpoll_id() {
            // The tip in hex, then the mempool's counter.
            self.wait_for_news(id.get(..64).unwrap_or(id), None);
        }
        let mut chain = self.chain.lock().unwrap();
        let tip = chain.tip();
        let (result, _) = rpc::answer(&mut chain, request, unix_now());
        if chain.tip() != tip {
            self.news.notify_all();
        }
        result
    }

    /// Until the tip is another than `known`, the time is over, or the node ends.
    fn wait_for_news(&self, known: &str, limit: Option<Duration>) {
        let chain = self.chain.lock().unwrap();
        let same = |chain: &mut SandboxChain| chain.tip().to_string() == known && !self.stopped();
        match limit {
            Some(limit) => drop(self.news.wait_timeout_while(chain, limit, same).unwrap()),
            None => drop(self.news.wait_while(chain, same).unwrap()),
        }
    }
}

struct HttpRequest {
    authorization: Option<String>,
    close: bool,
    body: Vec<u8>,
}

/// The next request, or `None` where the client has ended the connection.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<HttpRequest>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut request = HttpRequest { authorization: None, close: false, body: Vec::new() };
    let mut length = 0;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("authorization", value) => request.authorization = Some(value.to_owned()),
            ("connection", value) => request.close = value.eq_ignore_ascii_case("close"),
            ("content-length", value) => length = value.parse().unwrap_or(usize::MAX),
            _ => {}
        }
    }
    if length > MAX_BODY {
        return Err(io::ErrorKind::InvalidData.into());
    }
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
