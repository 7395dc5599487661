//! The connection between the boxes of a pair: TCP, encrypted and authenticated by the code that both know.
//!
//! ```text
//! handshake:  Noise_NNpsk0_25519_ChaChaPoly_SHA256; the pre-shared key is that of the code
//! frame:      length u16, big-endian | ciphertext
//! stream:     what the frames hold, one after the other: length u32, little-endian | message
//! ```
//!
//! Who does not know the code gets no further than the first message, and reads nothing. Each connection
//! has its own keys, so a code that becomes known later opens no recording. Both boxes listen, and each
//! calls while it has no connection. Only the partner's address is let in. What is said and when is decided
//! in [`crate::pair`].

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use async_io::{Async, Timer};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use smol::{LocalExecutor, Task};
use snow::params::NoiseParams;
use snow::{Builder, HandshakeState, TransportState};

use crate::pair::message::{BadMessage, MESSAGE_MAX, Message};
use crate::pair::{Code, LinkId};
use crate::timeout::within;

/// Time for a connection to be made, and for its handshake.
const CONNECT_AT_MOST: Duration = Duration::from_secs(5);

/// Time in which the other box takes some of what is sent.
const PROGRESS_AT_MOST: Duration = Duration::from_secs(10);

/// The first pause between two calls, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Connections of the other box's address that have not shown that they know the code.
const UNPROVEN_MAX: usize = 4;

/// Bytes of a frame, with its tag.
const FRAME_MAX: usize = 65_535;
const TAG: usize = 16;

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";
const PROLOGUE: &[u8] = b"soloist pair 1";

/// What becomes known.
#[derive(Debug)]
pub enum News {
    /// A connection is there, and the other side knows the code.
    Connected {
        /// Which one.
        link: LinkId,
        /// This box called.
        called: bool,
    },
    /// A message came.
    Told(LinkId, Message),
    /// A connection ended.
    Closed(LinkId),
    /// The other side does not know the code.
    OtherCode,
    /// It cannot be listened to the other box.
    Deaf(SocketAddr, String),
}

/// Where the other box is, and how it is recognised.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The other box.
    pub partner: SocketAddr,
    /// Where it is listened to.
    pub listen: Vec<SocketAddr>,
    /// The code.
    pub code: Code,
}

/// All connections to the other box. Dropping it ends them.
pub struct PairLinks {
    shared: Rc<Shared>,
    _tasks: Vec<Task<()>>,
}

struct Shared {
    key: [u8; 32],
    news: Sender<News>,
    next: Cell<u64>,
    /// Whether the other box is to be called.
    calls: Cell<bool>,
    /// Connections that have not shown that they know the code.
    unproven: Cell<usize>,
    links: RefCell<BTreeMap<LinkId, Say>>,
}

/// The way to the task of a connection.
struct Say {
    /// In the order of their urgency.
    said: Sender<Said>,
    /// What goes when nothing else waits. Only one waits: who asks for more does not read.
    last: Sender<Vec<u8>>,
}

enum Said {
    Urgent(Vec<u8>),
    Normal(Vec<u8>),
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("what came is not what was sent: {0}")]
    Cipher(#[from] snow::Error),
    #[error("{0}")]
    Message(#[from] BadMessage),
    #[error("it took nothing of what was sent")]
    Stuck,
}

impl PairLinks {
    /// Listens to the other box and calls it; what becomes known goes to `news`.
    pub fn start(
        executor: &Rc<LocalExecutor<'static>>,
        settings: Settings,
        news: Sender<News>,
    ) -> PairLinks {
        let shared = Rc::new(Shared {
            key: settings.code.key(),
            news,
            next: Cell::new(1),
            calls: Cell::new(true),
            unproven: Cell::new(0),
            links: RefCell::default(),
        });
        let mut tasks = Vec::new();
        let partner = settings.partner;
        for address in settings.listen {
            match listen(address) {
                Ok(listener) => {
                    let (shared, spawner) = (shared.clone(), Rc::downgrade(executor));
                    let serve = async move {
                        loop {
                            let Ok((stream, peer)) = listener.accept().await else {
                                Timer::after(PAUSES.0).await;
                                continue;
                            };
                            let Some(spawner) = spawner.upgrade() else { return };
                            shared.clone().answer(&spawner, stream, peer.ip(), partner.ip());
                        }
                    };
                    tasks.push(executor.spawn(serve));
                }
                Err(error) => {
                    let deaf = News::Deaf(address, error.to_string());
                    shared.news.try_send(deaf).ok();
                }
            }
        }
        tasks.push(executor.spawn(shared.clone().call(partner)));
        PairLinks { shared, _tasks: tasks }
    }

    /// Says something, a block before all else that waits, and jobs after it.
    pub fn say(&self, link: LinkId, message: &Message) {
        let links = self.shared.links.borrow();
        let Some(to) = links.get(&link) else { return };
        let bytes = message.encode();
        match message {
            // Before its greeting nothing of a box is listened to.
            Message::Hello(_) | Message::Block(_) => {
                to.said.try_send(Said::Urgent(bytes)).ok();
            }
            Message::JobsPart(_) => drop(to.last.try_send(bytes)),
            _ => drop(to.said.try_send(Said::Normal(bytes))),
        }
    }

    /// Ends a connection.
    pub fn close(&self, link: LinkId) {
        self.shared.links.borrow_mut().remove(&link);
    }

    /// Whether the other box is to be called.
    pub fn set_calls(&self, calls: bool) {
        self.shared.calls.set(calls);
    }
}

impl Shared {
    /// Calls the other box whenever there is no connection, with pauses that become longer.
    async fn call(self: Rc<Shared>, partner: SocketAddr) {
        let mut pause = PAUSES.0;
        loop {
            if !self.calls.get() {
                pause = PAUSES.0;
                Timer::after(PAUSES.0).await;
                continue;
            }
            let opening = async {
                let stream = Async::<TcpStream>::connect(partner).await?;
                self.shake_hands(stream, true).await
            };
            match within(CONNECT_AT_MOST, opening).await {
                Some(Ok(open)) => {
                    pause = PAUSES.0;
                    self.clone().serve(open, true).await;
                }
                // It hung up at our first message: it could not read it.
                Some(Err(Ended::Io(error))) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.news.send(News::OtherCode).await.ok();
                }
                Some(Err(Ended::Cipher(_))) => drop(self.news.send(News::OtherCode).await),
                Some(Err(error)) => log::debug!("the other box at {partner}: {error}"),
                None => log::debug!("the other box at {partner} does not answer"),
            }
            // Not both at the same time, again and again.
            let jitter = Duration::from_millis(u64::from(getrandom::u32().unwrap_or(0) % 500));
            Timer::after(pause + jitter).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Takes a connection in, if it is the other box's.
    fn answer(
        self: Rc<Shared>,
        executor: &LocalExecutor<'static>,
        stream: Async<TcpStream>,
        peer: IpAddr,
        partner: IpAddr,
    ) {
        let is_partner = peer.to_canonical() == partner.to_canonical();
        if !is_partner || self.unproven.get() >= UNPROVEN_MAX {
            return;
        }
        self.unproven.set(self.unproven.get() + 1);
        let answering = async move {
            let open = within(CONNECT_AT_MOST, self.shake_hands(stream, false)).await;
            self.unproven.set(self.unproven.get() - 1);
            match open {
                Some(Ok(open)) => self.serve(open, false).await,
                Some(Err(Ended::Cipher(_))) => drop(self.news.send(News::OtherCode).await),
                Some(Err(error)) => log::debug!("the other box at {peer}: {error}"),
                None => log::debug!("the other box at {peer} says nothing"),
            }
        };
        executor.spawn(answering).detach();
    }

    /// Both messages of the handshake.
    async fn shake_hands(
        &self,
        mut stream: Async<TcpStream>,
        called: bool,
    ) -> Result<(Async<TcpStream>, TransportState), Ended> {
        stream.get_ref().set_nodelay(true).ok();
        let mut state = handshake(&self.key, called)?;
        let mut buffer = vec![0; FRAME_MAX];
        for turn in 0..2 {
            if called == (turn == 0) {
                let length = state.write_message(&[], &mut buffer)?;
                write_frame(&mut stream, &buffer[..length]).await?;
            } else {
                let frame = read_frame(&mut stream).await?;
                state.read_message(&frame, &mut buffer)?;
            }
        }
        Ok((stream, state.into_transport_mode()?))
    }

    /// One connection, from its handshake to its end.
    async fn serve(
        self: Rc<Shared>,
        (stream, transport): (Async<TcpStream>, TransportState),
        called: bool,
    ) {
        let link = LinkId(self.next.get());
        self.next.set(link.0 + 1);
        let (say, said) = async_channel::unbounded();
        let (last, say_last) = async_channel::bounded(1);
        self.links.borrow_mut().insert(link, Say { said: say, last });
        self.news.send(News::Connected { link, called }).await.ok();
        let transport = RefCell::new(transport);
        let reads = self.read(link, &stream, &transport);
        let ended = future::or(reads, write(&stream, &transport, (said, say_last))).await;
        if let Err(ended) = ended {
            log::debug!("the connection to the other box ended: {ended}");
        }
        self.links.borrow_mut().remove(&link);
        self.news.send(News::Closed(link)).await.ok();
    }

    async fn read(
        &self,
        link: LinkId,
        mut stream: &Async<TcpStream>,
        transport: &RefCell<TransportState>,
    ) -> Result<(), Ended> {
        let mut stream_bytes: Vec<u8> = Vec::new();
        let mut plain = vec![0; FRAME_MAX];
        loop {
            let frame = read_frame(&mut stream).await?;
            let length = transport.borrow_mut().read_message(&frame, &mut plain)?;
            stream_bytes.extend_from_slice(&plain[..length]);
            while let Some((head, rest)) = stream_bytes.split_first_chunk::<4>() {
                let length = u32::from_le_bytes(*head) as usize;
                if length > MESSAGE_MAX {
                    return Err(BadMessage::TooLong.into());
                }
                let Some(message) = rest.get(..length) else { break };
                // What a later version says is skipped.
                if let Some(message) = Message::decode(message)? {
                    self.news.send(News::Told(link, message)).await.ok();
                }
                stream_bytes.drain(..4 + length);
            }
            // A block needs its room once.
            if stream_bytes.is_empty() {
                stream_bytes.shrink_to(FRAME_MAX);
            }
            future::yield_now().await;
        }
    }
}

/// Writes what is said, urgent things first; ends when nothing more will be.
async fn write(
    mut stream: &Async<TcpStream>,
    transport: &RefCell<TransportState>,
    (said, last): (Receiver<Said>, Receiver<Vec<u8>>),
) -> Result<(), Ended> {
    let (mut urgent, mut normal) = (VecDeque::new(), VecDeque::new());
    let mut cipher = vec![0; FRAME_MAX];
    loop {
        if urgent.is_empty() && normal.is_empty() {
            let more = async { last.recv().await.map(Said::Normal) };
            let Ok(first) = future::or(said.recv(), more).await else { return Ok(()) };
            sort(first, &mut urgent, &mut normal);
        }
        while let Ok(next) = said.try_recv() {
            sort(next, &mut urgent, &mut normal);
        }
        let Some(bytes) = urgent.pop_front().or_else(|| normal.pop_front()) else { continue };
        let head = (bytes.len() as u32).to_le_bytes();
        let whole = [head.as_slice(), &bytes].concat();
        for part in whole.chunks(FRAME_MAX - TAG) {
            let length = transport.borrow_mut().write_message(part, &mut cipher)?;
            let writing = write_frame(&mut stream, &cipher[..length]);
            within(PROGRESS_AT_MOST, writing).await.ok_or(Ended::Stuck)??;
        }
    }
}

fn sort(said: Said, urgent: &mut VecDeque<Vec<u8>>, normal: &mut VecDeque<Vec<u8>>) {
    match said {
        Said::Urgent(bytes) => urgent.push_back(bytes),
        Said::Normal(bytes) => normal.push_back(bytes),
    }
}

fn handshake(key: &[u8; 32], called: bool) -> Result<HandshakeState, snow::Error> {
    let params: NoiseParams = PATTERN.parse()?;
    let builder = Builder::new(params).prologue(PROLOGUE)?.psk(0, key)?;
    if called { builder.build_initiator() } else { builder.build_responder() }
}

async fn write_frame(
    stream: &mut (impl futures_lite::AsyncWrite + Unpin),
    frame: &[u8],
) -> io::Result<()> {
    let length = u16::try_from(frame.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(frame).await
}

async fn read_frame(stream: &mut (impl futures_lite::AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let mut frame = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

fn listen(address: SocketAddr) -> io::Result<Async<TcpListener>> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(8)?;
    Async::new(TcpListener::from(socket))
}
