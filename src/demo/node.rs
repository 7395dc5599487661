//! A sandbox node: the chain of [`super::chain`] behind real sockets on loopback.
//!
//! JSON-RPC over HTTP with basic auth, long polls, and a ZMQ socket that publishes `hashblock`,
//! each as Bitcoin Core does it. A node runs on a thread of its own and shares nothing with the
//! daemon. It can be killed, which drops its connections at once, and started again at the same
//! addresses with the same chain. Linked nodes send each other their blocks.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_io::{Async, Timer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bitcoin::{Block, BlockHash};
use futures_lite::future;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use smol::LocalExecutor;
use smol_hyper::rt::FuturesIo;

use super::chain::{Outcome, Rules, SandboxChain};
use super::publisher::Publisher;
use super::rpc::{self, Effect, Request};

/// Longest request: a block of 4 MB in hex, and room.
const MAX_BODY: usize = 9_000_000;
/// Core answers a long poll after a minute if the mempool changed, then every ten seconds.
const MEMPOOL_FIRST: Duration = Duration::from_secs(60);
const MEMPOOL_AGAIN: Duration = Duration::from_secs(10);

/// How a sandbox node is set up.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// Shown in events.
    pub name: String,
    /// For basic auth.
    pub user: String,
    /// For basic auth.
    pub password: String,
    /// The chain's difficulty.
    pub rules: Rules,
    /// How many transactions appear in the mempool with every new tip.
    pub transactions_per_block: usize,
    /// How often another transaction appears in between.
    pub transaction_every: Duration,
}

/// A block came to a node by `submitblock`.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The node's name.
    pub node: String,
    /// The block's hash.
    pub hash: BlockHash,
    /// What became of it.
    pub outcome: Outcome,
    /// Height of the tip afterwards.
    pub height: u32,
}

/// A node that can be started, killed and asked. Dropping it kills it.
pub struct SandboxNode {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    config: SandboxConfig,
    rpc: SocketAddr,
    zmq: Option<String>,
    chain: Mutex<SandboxChain>,
    inbox: Mutex<Option<async_channel::Sender<Message>>>,
    peers: Mutex<Vec<Weak<Shared>>>,
    events: Option<mpsc::Sender<Submitted>>,
}

enum Message {
    Block(Arc<Block>),
    Transactions(usize),
    Kill,
}

impl SandboxNode {
    /// Starts a node on two free ports of loopback. `events` hears of every block
    /// that is handed in.
    ///
    /// Errors: no port could be had.
    pub fn start(
        config: SandboxConfig,
        chain: SandboxChain,
        events: Option<mpsc::Sender<Submitted>>,
    ) -> io::Result<SandboxNode> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let publisher = Publisher::bind(None)?;
        let zmq = publisher.address()?;
        let shared = Arc::new(Shared {
            config,
            rpc: listener.local_addr()?,
            zmq,
            chain: Mutex::new(chain),
            inbox: Mutex::new(None),
            peers: Mutex::new(Vec::new()),
            events,
        });
        let mut node = SandboxNode { shared, thread: None };
        node.run(listener, publisher)?;
        Ok(node)
    }

    /// Kills the node: it stops listening and drops its connections. The chain is kept.
    pub fn kill(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if let Some(inbox) = lock(&self.shared.inbox).take() {
            // A full inbox cannot be: it is unbounded. A closed one means it is gone already.
            let _ = inbox.try_send(Message::Kill);
        }
        if thread.join().is_err() {
            log::error!("the sandbox node {} ended with a panic", self.shared.config.name);
        }
    }

    /// Starts a killed node again, at the same addresses; it first takes over the blocks that its
    /// peers have meanwhile. Errors: another program took a port.
    pub fn restart(&mut self) -> io::Result<()> {
        if self.thread.is_some() {
            return Ok(());
        }
        let listener = TcpListener::bind(self.shared.rpc)?;
        let publisher = retry(|| Publisher::bind(self.shared.zmq.as_deref()))?;
        self.run(listener, publisher)
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.thread.is_some()
    }

    /// Links two nodes: a block that one accepts is handed to the other, and both get what they
    /// lack now.
    pub fn link(a: &SandboxNode, b: &SandboxNode) {
        for (from, to) in [(a, b), (b, a)] {
            lock(&from.shared.peers).push(Arc::downgrade(&to.shared));
            to.shared.catch_up_with(&from.shared);
        }
    }

    /// Adds transactions to the mempool.
    pub fn add_transactions(&self, count: usize) {
        self.shared.send(Message::Transactions(count));
    }

    /// The RPC address with user and password, as a config takes it.
    pub fn url(&self) -> String {
        let Shared { config, rpc, .. } = &*self.shared;
        format!("http://{}:{}@{rpc}", config.user, config.password)
    }

    /// The RPC address.
    pub fn rpc_address(&self) -> SocketAddr {
        self.shared.rpc
    }

    /// The ZMQ address that publishes `hashblock`; none in a program without ZMQ.
    pub fn zmq_address(&self) -> Option<&str> {
        self.shared.zmq.as_deref()
    }

    /// The chain, to look at. Hold it briefly: the node waits meanwhile.
    pub fn chain(&self) -> MutexGuard<'_, SandboxChain> {
        lock(&self.shared.chain)
    }

    fn run(&mut self, listener: TcpListener, publisher: Publisher) -> io::Result<()> {
        let (sender, inbox) = async_channel::unbounded();
        let listener = Async::new(listener)?;
        *lock(&self.shared.inbox) = Some(sender);
        // Only after the inbox is open, so that no block falls between.
        for peer in lock(&self.shared.peers).iter().filter_map(Weak::upgrade) {
            self.shared.catch_up_with(&peer);
        }
        let shared = self.shared.clone();
        let name = format!("sandbox-{}", shared.config.name);
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let executor = Rc::new(LocalExecutor::new());
            // As with Bitcoin Core, the tip of the start is no news.
            let announced = {
                let mut chain = lock(&shared.chain);
                chain.add_transactions(shared.config.transactions_per_block);
                RefCell::new(Some(chain.tip()))
            };
            let desk = Rc::new(Desk {
                shared,
                publisher,
                sequence: RefCell::new(0),
                announced,
                waiting: RefCell::new(Vec::new()),
            });
            let serve = desk.clone().serve(listener, executor.clone());
            let work = future::or(serve, future::or(desk.clone().deliver(inbox), desk.trickle()));
            async_io::block_on(executor.run(work));
        })?;
        self.thread = Some(thread);
        Ok(())
    }
}

impl Drop for SandboxNode {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Shared {
    fn send(&self, message: Message) {
        if let Some(inbox) = &*lock(&self.inbox) {
            // Closed only while it is being killed: then it takes the block over at its restart.
            let _ = inbox.try_send(message);
        }
    }

    /// Takes over what `peer` has and this node lacks. Never holds both chains at once.
    fn catch_up_with(&self, peer: &Shared) {
        let known = lock(&self.chain).hashes().to_vec();
        let missing = lock(&peer.chain).blocks_after(&known);
        missing.into_iter().for_each(|block| self.send(Message::Block(block)));
    }
}

/// What the tasks of one node share on its thread.
struct Desk {
    shared: Arc<Shared>,
    publisher: Publisher,
    sequence: RefCell<u32>,
    announced: RefCell<Option<BlockHash>>,
    /// Long polls that wait for the next tip; dropped to wake them.
    waiting: RefCell<Vec<async_channel::Sender<Infallible>>>,
}

impl Desk {
    /// Accepts connections until the node is killed.
    async fn serve(self: Rc<Desk>, listener: Async<TcpListener>, executor: Rc<LocalExecutor<'_>>) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => executor.spawn(connection(self.clone(), stream)).detach(),
                // Out of descriptors or the like: it passes.
                Err(_) => drop(Timer::after(Duration::from_millis(100)).await),
            }
        }
    }

    /// Takes blocks from peers until the node is killed.
    async fn deliver(self: Rc<Desk>, inbox: async_channel::Receiver<Message>) {
        while let Ok(message) = inbox.recv().await {
            match message {
                Message::Block(block) => {
                    let hash = block.block_hash();
                    let outcome = lock(&self.shared.chain).submit((*block).clone(), unix_now());
                    if !matches!(outcome, Outcome::Duplicate | Outcome::DuplicateInvalid) {
                        self.relay(hash, outcome);
                    }
                    self.announce();
                }
                Message::Transactions(count) => {
                    lock(&self.shared.chain).add_transactions(count);
                }
                Message::Kill => return,
            }
        }
    }

    /// Lets a transaction appear now and then, as on a living network.
    async fn trickle(self: Rc<Desk>) {
        loop {
            Timer::after(self.shared.config.transaction_every).await;
            lock(&self.shared.chain).add_transactions(1);
        }
    }

    /// Answers a request; one that is to wait for news waits first.
    async fn answer(&self, request: &Request) -> Result<serde_json::Value, rpc::Failure> {
        if let Some(id) = request.longpoll_id() {
            self.wait_for_news(id).await;
        }
        if let Some(patience) = request.patience() {
            future::or(self.new_tip(), async {
                Timer::after(patience).await;
            })
            .await;
        }
        let (result, effect) = rpc::answer(&mut lock(&self.shared.chain), request, unix_now());
        match effect {
            Effect::None => {}
            Effect::Preferred => self.announce(),
            Effect::Submitted(hash, outcome) => {
                if let Some(events) = &self.shared.events {
                    let node = self.shared.config.name.clone();
                    let height = lock(&self.shared.chain).height();
                    // Nobody listens any more: then nobody wants to know.
                    let _ = events.send(Submitted { node, hash, outcome, height });
                }
                self.relay(hash, outcome);
                self.announce();
            }
        }
        result
    }

    /// Returns at once if the tip is not that of `id`, else on a new tip; after a minute also if
    /// the mempool changed.
    async fn wait_for_news(&self, id: &str) {
        let started = Instant::now();
        let mut pause = MEMPOOL_FIRST;
        loop {
            let current = lock(&self.shared.chain).longpoll_id();
            let same_tip = current.get(..64) == id.get(..64);
            if !same_tip || (current != id && started.elapsed() >= MEMPOOL_FIRST) {
                return;
            }
            let time_is_up = async {
                Timer::after(pause).await;
            };
            future::or(self.new_tip(), time_is_up).await;
            pause = MEMPOOL_AGAIN;
        }
    }

    /// Returns when the tip changes.
    async fn new_tip(&self) {
        let (waker, news) = async_channel::bounded::<Infallible>(1);
        {
            let mut waiting = self.waiting.borrow_mut();
            waiting.retain(|other| !other.is_closed());
            waiting.push(waker);
        }
        let _ = news.recv().await;
    }

    /// Tells everybody who waits that the tip is new, if it is.
    fn announce(&self) {
        let tip = {
            let mut chain = lock(&self.shared.chain);
            let tip = chain.tip();
            if *self.announced.borrow() == Some(tip) {
                return;
            }
            chain.add_transactions(self.shared.config.transactions_per_block);
            tip
        };
        *self.announced.borrow_mut() = Some(tip);
        self.waiting.borrow_mut().clear();
        let mut sequence = self.sequence.borrow_mut();
        if let Err(why) = self.publisher.send(tip, *sequence) {
            log::warn!("the sandbox node {} cannot publish: {why}", self.shared.config.name);
        }
        *sequence = sequence.wrapping_add(1);
    }

    /// Hands a good block to the linked nodes.
    fn relay(&self, hash: BlockHash, outcome: Outcome) {
        if !matches!(outcome, Outcome::Connected | Outcome::Aside) {
            return;
        }
        let block = lock(&self.shared.chain).block(&hash).cloned();
        let Some(block) = block else { return };
        for peer in lock(&self.shared.peers).iter().filter_map(Weak::upgrade) {
            peer.send(Message::Block(block.clone()));
        }
    }
}

async fn connection(desk: Rc<Desk>, stream: Async<TcpStream>) {
    let service = service_fn(|request| respond(&desk, request));
    // An error here is a client that went away or did not speak HTTP.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(FuturesIo::new(stream), service)
        .await;
}

async fn respond(
    desk: &Desk,
    request: hyper::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let config = &desk.shared.config;
    let login = STANDARD.encode(format!("{}:{}", config.user, config.password));
    let expected = format!("Basic {login}");
    let given = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
    if given != Some(expected.as_bytes()) {
        return Ok(reply(StatusCode::UNAUTHORIZED, Vec::new()));
    }
    if request.method() != Method::POST {
        let words = b"JSONRPC server handles only POST requests".to_vec();
        return Ok(reply(StatusCode::METHOD_NOT_ALLOWED, words));
    }
    let Ok(body) = Limited::new(request.into_body(), MAX_BODY).collect().await else {
        return Ok(reply(StatusCode::PAYLOAD_TOO_LARGE, Vec::new()));
    };
    let (id, result) = match Request::parse(&body.to_bytes()) {
        Ok(request) => (request.id.clone(), desk.answer(&request).await),
        Err(failure) => (serde_json::Value::Null, Err(failure)),
    };
    let status = StatusCode::from_u16(rpc::http_status(&result));
    Ok(reply(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), rpc::body(&id, &result)))
}

fn reply(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    if status == StatusCode::UNAUTHORIZED {
        let realm = hyper::header::HeaderValue::from_static("Basic realm=\"jsonrpc\"");
        headers.insert(WWW_AUTHENTICATE, realm);
    }
    response
}

/// libzmq gives a port back in the background, so a restart may have to wait for it.
fn retry<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let started = Instant::now();
    loop {
        match attempt() {
            Err(_) if started.elapsed() < Duration::from_secs(5) => {
                std::thread::sleep(Duration::from_millis(20));
            }
            done => return done,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
