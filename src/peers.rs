//! Connections to P2P ports: the sockets of [`Peer`], which decides everything.
//!
//! ```text
//!   orders ─────▶ ┌──────┐ Connect, Send, SendBlock, Close ┌────────┐
//!                 │ Peer │ ──────────────────────────────▶ │ socket │ ◀──▶ the node
//!   events ◀───── └──────┘ ◀────────────────────────────── └────────┘
//!                            Connected, Bytes, Closed, Tick
//! ```
//!
//! One task a connection, on the daemon's one thread. It reads also while a long block leaves slowly,
//! and gives way to the others after each step, however much the node sends.

mod probe;
mod socks;

pub use probe::{Found, Probe};

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use async_io::{Async, Timer};
use futures_lite::{AsyncRead, AsyncWrite, future};
use smol::lock::Mutex;
use smol::{LocalExecutor, Task};

use crate::block::SolvedBlock;
use crate::chain::Chain;
use crate::clock::Now;
use crate::node::RpcError;
use crate::os;
use crate::p2p::{Down, Event, Input, Order, Output, Peer};
use crate::peer_address::{PeerAddress, PeerHost};
use crate::rpc::{self, HostLookup};

/// Until one of the node's addresses has accepted a connection, all tries together.
const CONNECT_AT_MOST: Duration = Duration::from_secs(10);
/// For so long may the node take none of the bytes that wait for it.
const PROGRESS_AT_MOST: Duration = Duration::from_secs(30);
/// Bytes that may wait for the node. The longest block has 4 MB; four of them and some messages.
const WAITING_MAX: usize = 16 << 20;
/// Bytes that are read at once.
const READ_AT_ONCE: usize = 16 * 1024;

/// A connection that is kept to one P2P port. Dropping it ends it, when the executor runs next.
pub struct PeerHandle {
    place: String,
    orders: Sender<Order>,
    _task: Task<()>,
}

impl PeerHandle {
    /// Keeps a peer of `chain` connected to `place`, or to the SOCKS5 proxy `via` that connects to it. By
    /// a proxy no name of `place` is looked up here; the proxy does that. An onion is reached by a proxy
    /// alone. What becomes known goes to `events`, in order; while that is full, the node is not listened
    /// to.
    pub fn start(
        executor: &LocalExecutor<'_>,
        place: PeerAddress,
        via: Option<&PeerAddress>,
        chain: Chain,
        events: Sender<Event>,
    ) -> PeerHandle {
        // It only tells whether we met ourselves, and no node is that.
        let nonce = getrandom::u64().unwrap_or_default();
        let peer = Peer::new(os::now(), chain, nonce);
        let peer = if via.is_some() { peer.by_proxy() } else { peer };
        PeerHandle::with(executor, Road::new(place, via), peer, events, PROGRESS_AT_MOST)
    }

    fn with(
        executor: &LocalExecutor<'_>,
        road: Road,
        machine: impl Machine + 'static,
        events: Sender<Event>,
        patience: Duration,
    ) -> PeerHandle {
        let place = road.place.to_string();
        let (orders, given) = async_channel::unbounded();
        let line = Line { road: Rc::new(road), state: State::Closed };
        let shell = Shell { machine, line, events, patience };
        PeerHandle { place, orders, _task: executor.spawn(shell.run(given)) }
    }

    /// `host:port`, an IPv6 address in brackets.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Gives an order. It is carried out when the executor runs next.
    pub fn give(&self, order: Order) {
        // The task ends only with this handle, or when nobody listens to it any more.
        self.orders.try_send(order).ok();
    }
}

/// What is driven here: [`Peer`], or something simpler in tests.
trait Machine {
    fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Vec<Output>);
    fn next_deadline(&self) -> Option<Instant>;
}

impl Machine for Peer {
    fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Vec<Output>) {
        Peer::handle(self, now, input, out);
    }

    fn next_deadline(&self) -> Option<Instant> {
        Peer::next_deadline(self)
    }
}

struct Shell<M> {
    machine: M,
    line: Line,
    events: Sender<Event>,
    /// [`PROGRESS_AT_MOST`]
    patience: Duration,
}

/// The connection to the node.
struct Line {
    road: Rc<Road>,
    state: State,
}

/// The way to a P2P port.
struct Road {
    /// The port.
    place: PeerAddress,
    /// The SOCKS5 proxy by which it is reached.
    via: Option<PeerAddress>,
    /// Looks up where the socket leads: to the proxy if there is one. It outlives each attempt: what
    /// hangs in it is waited for again.
    lookup: Mutex<HostLookup>,
}

enum State {
    Closed,
    /// It is being looked up and connected to.
    Opening(Pin<Box<dyn Future<Output = Result<Socket, Down>>>>),
    Open(Socket),
}

/// Nobody wants to hear of the peer any more.
struct Unheard;

/// What is to be told to the machine.
enum News {
    Order(Order),
    Connected,
    /// So many bytes are in the buffer.
    Bytes(usize),
    Closed(Down),
    Tick,
    HandleDropped,
}

impl<M: Machine> Shell<M> {
    async fn run(mut self, orders: Receiver<Order>) {
        let mut buffer = vec![0; READ_AT_ONCE].into_boxed_slice();
        let mut out = Vec::new();
        // The machine connects by itself, at its first tick.
        let mut news = News::Tick;
        loop {
            let input = match news {
                News::Order(order) => Input::Order(order),
                News::Connected => Input::Connected,
                News::Bytes(read) => Input::Bytes(&buffer[..read]),
                News::Closed(down) => Input::Closed(down),
                News::Tick => Input::Tick,
                News::HandleDropped => return,
            };
            self.machine.handle(os::now(), input, &mut out);
            for output in out.drain(..) {
                if let Err(Unheard) = self.line.carry_out(output, &self.events).await {
                    return;
                }
            }
            self.line.write_at_once();
            // A node that sends without end must not keep the thread for itself.
            future::yield_now().await;
            news = self.next(&orders, &mut buffer).await;
        }
    }

    /// Waits for what comes first. A deadline goes before the rest, then orders do.
    async fn next(&mut self, orders: &Receiver<Order>, buffer: &mut [u8]) -> News {
        let tick = async {
            at(self.machine.next_deadline()).await;
            News::Tick
        };
        let order = async { orders.recv().await.map_or(News::HandleDropped, News::Order) };
        let line = self.line.next(buffer, self.patience);
        future::or(tick, future::or(order, line)).await
    }
}

impl Line {
    async fn carry_out(&mut self, output: Output, events: &Sender<Event>) -> Result<(), Unheard> {
        match output {
            Output::Connect => self.state = State::Opening(Box::pin(open(self.road.clone()))),
            Output::Send(bytes) => self.send(Chunk::Bytes(bytes)),
            Output::SendBlock(block) => self.send(Chunk::Block(block)),
            Output::Close => {
                // What was said last may say why.
                self.write_at_once();
                self.state = State::Closed;
            }
            Output::Event(event) => events.send(event).await.map_err(|_| Unheard)?,
        }
        Ok(())
    }

    fn send(&mut self, chunk: Chunk) {
        if let State::Open(socket) = &mut self.state {
            socket.send(chunk);
        }
    }

    /// Hands the system what it takes without waiting. Errors show when the socket is waited for.
    fn write_at_once(&mut self) {
        if let State::Open(socket) = &mut self.state {
            socket.write_at_once();
        }
    }

    async fn next(&mut self, buffer: &mut [u8], patience: Duration) -> News {
        let news = match &mut self.state {
            State::Closed => pending().await,
            State::Opening(opening) => match opening.await {
                Ok(socket) => {
                    self.state = State::Open(socket);
                    return News::Connected;
                }
                Err(down) => News::Closed(down),
            },
            State::Open(socket) => match socket.next(buffer, patience).await {
                Ok(read) => return News::Bytes(read),
                Err(down) => News::Closed(down),
            },
        };
        self.state = State::Closed;
        news
    }
}

async fn open(road: Rc<Road>) -> Result<Socket, Down> {
    let stream = match &road.via {
        None => road.connect(&road.place).await?,
        Some(proxy) => {
            let stream = road.connect(proxy).await.map_err(|down| socks::unfit(proxy, &down))?;
            socks::connect(&stream, proxy, &road.place).await?;
            stream
        }
    };
    Ok(Socket { stream, waiting: VecDeque::new(), waits: 0, sent: 0, progress: Instant::now() })
}

impl Road {
    fn new(place: PeerAddress, via: Option<&PeerAddress>) -> Road {
        let first = via.unwrap_or(&place);
        let lookup = Mutex::new(HostLookup::new(first.host.to_string(), first.port));
        Road { via: via.cloned(), place, lookup }
    }

    /// Connects to `first`, the one that is looked up here.
    async fn connect(&self, first: &PeerAddress) -> Result<Async<TcpStream>, Down> {
        if let PeerHost::Onion(_) = first.host {
            // Who looks such a name up tells it to strangers and learns nothing (RFC 7686).
            return Err(Down::Unreachable("an onion address needs a proxy such as Tor's".into()));
        }
        let addresses = self.lookup.lock().await.addresses().await;
        let addresses = addresses.map_err(|error| match error.kind() {
            ErrorKind::TimedOut => Down::Unreachable("its name is not found out in time".into()),
            _ => Down::Unreachable("its name is unknown".into()),
        })?;
        let deadline = Instant::now() + CONNECT_AT_MOST;
        let connected = rpc::connect(&addresses, deadline, CONNECT_AT_MOST).await;
        let (stream, _) = connected.map_err(|error| match error {
            RpcError::Refused => Down::Refused,
            RpcError::NoConnection(_) => Down::Silent,
            RpcError::Transport(_) => Down::HungUp,
            RpcError::Unreachable(why) => Down::Unreachable(why),
            other => Down::Unreachable(other.to_string()),
        })?;
        // Both are help, not need. Without the first, each step of a block's way costs 40 ms; the
        // second notices a machine that was unplugged with bytes of ours under way.
        stream.get_ref().set_nodelay(true).ok();
        socket2::SockRef::from(stream.get_ref()).set_tcp_user_timeout(Some(PROGRESS_AT_MOST)).ok();
        Ok(stream)
    }
}

/// An open connection.
struct Socket {
    stream: Async<TcpStream>,
    /// What the node has not taken yet.
    waiting: VecDeque<Chunk>,
    /// The bytes of all that waits.
    waits: usize,
    /// How many bytes of the first chunk are on their way.
    sent: usize,
    /// When something last left, or began to wait.
    progress: Instant,
}

enum Chunk {
    Bytes(Vec<u8>),
    /// A block is never copied.
    Block(Arc<SolvedBlock>),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Bytes(bytes) => bytes,
            Chunk::Block(block) => &block.bytes,
        }
    }
}

impl Socket {
    fn send(&mut self, chunk: Chunk) {
        let length = chunk.bytes().len();
        if length == 0 {
            return;
        }
        if self.waiting.is_empty() {
            self.progress = Instant::now();
        }
        self.waits += length;
        self.waiting.push_back(chunk);
    }

    fn write_at_once(&mut self) {
        while let Some(first) = self.waiting.front() {
            match self.stream.get_ref().write(&first.bytes()[self.sent..]) {
                Ok(written) if written > 0 => self.wrote(written),
                // It is met again, or tried again, when the socket is waited for.
                _ => return,
            }
        }
    }

    fn wrote(&mut self, bytes: usize) {
        self.progress = Instant::now();
        self.sent += bytes;
        self.waits -= bytes;
        if self.waiting.front().is_some_and(|first| first.bytes().len() == self.sent) {
            self.waiting.pop_front();
            self.sent = 0;
        }
    }

    /// Writes what waits, until bytes came.
    async fn next(&mut self, buffer: &mut [u8], patience: Duration) -> Result<usize, Down> {
        // It asks and asks, and does not read the answers.
        if self.waits > WAITING_MAX {
            return Err(Down::Flood);
        }
        loop {
            let stuck = (!self.waiting.is_empty()).then(|| self.progress + patience);
            let late = async {
                at(stuck).await;
                Err(Down::Silent)
            };
            let step = poll_fn(|cx| self.poll_step(cx, buffer));
            if let Some(read) = future::or(step, late).await? {
                return Ok(read);
            }
        }
    }

    /// Bytes that came, or `None` for bytes that left.
    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<Option<usize>, Down>> {
        match pin!(&self.stream).poll_read(cx, buffer) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(Down::Closed)),
            Poll::Ready(Ok(read)) => return Poll::Ready(Ok(Some(read))),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(broken(&error))),
            Poll::Pending => {}
        }
        let Some(first) = self.waiting.front() else { return Poll::Pending };
        match pin!(&self.stream).poll_write(cx, &first.bytes()[self.sent..]) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(Down::Closed)),
            Poll::Ready(Ok(written)) => {
                self.wrote(written);
                Poll::Ready(Ok(None))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(broken(&error))),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// An open connection ended by itself.
fn broken(error: &io::Error) -> Down {
    match error.kind() {
        // Bytes of ours were not confirmed.
        ErrorKind::TimedOut => Down::Silent,
        ErrorKind::HostUnreachable => Down::Unreachable("no route to its address".into()),
        ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            Down::Unreachable("no network leads there".into())
        }
        _ => Down::Closed,
    }
}

/// Never, if there is no deadline.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => drop(Timer::at(deadline).await),
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
