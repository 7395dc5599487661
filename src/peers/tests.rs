//! Real sockets on loopback, and a machine that writes down what it is told.

mod socks;

use std::cell::RefCell;
use std::net::{Ipv4Addr, TcpListener};

use futures_lite::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::chain::BlockHash;
use crate::timeout::within;

const PATIENCE: Duration = Duration::from_secs(20);
/// Long blocks of ours.
const BLOCK: usize = 2_000_000;

/// Connects at its first tick, and answers each byte as [`answers`] says.
#[derive(Clone, Default)]
struct Noted(Rc<RefCell<Notes>>);

#[derive(Default)]
struct Notes {
    inputs: Vec<String>,
    deadline: Option<Instant>,
}

impl Noted {
    fn inputs(&self) -> Vec<String> {
        self.0.borrow().inputs.clone()
    }

    async fn wait_for(&self, words: &str) {
        let wait = async {
            while !self.inputs().iter().any(|input| input == words) {
                Timer::after(Duration::from_millis(2)).await;
            }
        };
        let found = within(PATIENCE, wait).await;
        found.unwrap_or_else(|| panic!("no {words} in {:?}", self.inputs()));
    }
}

/// `b`: a block; `c`: close; `r`: close and connect; `e`: two events; anything else: its capital.
/// Bytes after a zero only take time.
fn answers(byte: u8, out: &mut Vec<Output>) {
    match byte {
        b'b' => out.push(Output::SendBlock(block())),
        b'c' => out.extend([Output::Send(b"bye".to_vec()), Output::Close]),
        b'r' => out.extend([Output::Close, Output::Connect]),
        b'e' => out.extend([Event::Same(true), Event::Same(false)].map(Output::Event)),
        other => out.push(Output::Send(vec![other.to_ascii_uppercase()])),
    }
}

impl Machine for Noted {
    fn handle(&mut self, _now: Now, input: Input<'_>, out: &mut Vec<Output>) {
        let mut notes = self.0.borrow_mut();
        let words = match input {
            Input::Tick if notes.inputs.is_empty() => {
                out.push(Output::Connect);
                "start".to_owned()
            }
            Input::Tick => {
                notes.deadline = None;
                "tick".to_owned()
            }
            Input::Order(Order::Withdraw(_)) => {
                out.push(Output::Send(b"w".to_vec()));
                "order".to_owned()
            }
            Input::Order(_) => "another order".to_owned(),
            Input::Connected => "connected".to_owned(),
            Input::Closed(down) => format!("{down:?}"),
            Input::Bytes([0, ..]) => return std::thread::sleep(Duration::from_millis(1)),
            Input::Bytes(bytes) => {
                bytes.iter().for_each(|byte| answers(*byte, out));
                String::from_utf8_lossy(bytes).into_owned()
            }
        };
        notes.inputs.push(words);
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.0.borrow().deadline
    }
}

fn block() -> Arc<SolvedBlock> {
    Arc::new(SolvedBlock {
        hash: BlockHash([1; 32]),
        height: 1,
        unix: 0,
        reward: 0,
        worker: String::new(),
        from_partner: false,
        bytes: (0..BLOCK).map(|place| (place % 251) as u8).collect(),
    })
}

struct Scene {
    listener: Async<TcpListener>,
    noted: Noted,
    events: Receiver<Event>,
    /// `None` after its drop.
    handle: Option<PeerHandle>,
}

impl Scene {
    async fn accept(&self) -> Async<TcpStream> {
        let accepted = within(PATIENCE, self.listener.accept()).await.expect("it connects");
        accepted.unwrap().0
    }

    fn order(&self) {
        self.handle.as_ref().unwrap().give(Order::Withdraw(BlockHash([0; 32])));
    }
}

/// Where a listener is.
fn place(listener: &Async<TcpListener>) -> PeerAddress {
    listener.get_ref().local_addr().unwrap().into()
}

/// The scene's shell connects to the scene's own listener, whose buffers are small.
fn scene(patience: Duration, play: impl AsyncFnOnce(&mut Scene)) {
    let executor = LocalExecutor::new();
    let listener = Async::<TcpListener>::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket2::SockRef::from(listener.get_ref()).set_recv_buffer_size(64 * 1024).unwrap();
    let (noted, (sender, events)) = (Noted::default(), async_channel::unbounded());
    let road = Road::new(place(&listener), None);
    let handle = PeerHandle::with(&executor, road, noted.clone(), sender, patience);
    let mut scene = Scene { listener, noted, events, handle: Some(handle) };
    smol::block_on(executor.run(play(&mut scene)));
}

async fn read(stream: &Async<TcpStream>, bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    let all = within(PATIENCE, pin!(stream).read_exact(&mut read)).await;
    all.expect("the bytes come").unwrap();
    read
}

async fn write(stream: &Async<TcpStream>, bytes: &[u8]) {
    within(PATIENCE, pin!(stream).write_all(bytes)).await.expect("they are taken").unwrap();
}

async fn ends(stream: &Async<TcpStream>) {
    let end = within(PATIENCE, pin!(stream).read(&mut [0; 9])).await.expect("it ends");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

fn closed_by(host: &str, port: u16) -> Down {
    let place = PeerAddress { host: PeerHost::read(host), port };
    smol::block_on(open(Rc::new(Road::new(place, None)))).map(|_| ()).unwrap_err()
}

/// A port of this machine on which nothing listens.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn who_cannot_be_reached_is_told_why() {
    let free = free_port();
    assert_eq!(closed_by("127.0.0.1", free), Down::Refused);
    // RFC 6761: nobody has it.
    let unknown = closed_by("soloist.invalid", 8333);
    assert!(matches!(unknown, Down::Unreachable(_)), "{unknown:?}");
    let onion = closed_by(&format!("{}.onion", "a".repeat(56)), 8333);
    assert_eq!(onion, Down::Unreachable("an onion address needs a proxy such as Tor's".into()));
    // The machine hears of it too.
    let (executor, noted) = (LocalExecutor::new(), Noted::default());
    let (sender, _events) = async_channel::unbounded();
    let road = Road::new(PeerAddress::ip(Ipv4Addr::LOCALHOST.into(), free), None);
    let _peer = PeerHandle::with(&executor, road, noted.clone(), sender, PATIENCE);
    smol::block_on(executor.run(noted.wait_for("Refused")));
    assert_eq!(noted.inputs(), ["start", "Refused"]);
}

#[test]
fn a_name_leads_to_the_node_and_no_packet_waits_for_another() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let place = PeerAddress { host: PeerHost::read("localhost"), port };
    let socket = smol::block_on(open(Rc::new(Road::new(place, None)))).unwrap();
    let tcp = socket.stream.get_ref();
    assert!(tcp.nodelay().unwrap());
    let unacknowledged = socket2::SockRef::from(tcp).tcp_user_timeout().unwrap();
    assert_eq!(unacknowledged, Some(PROGRESS_AT_MOST));
}

#[test]
fn bytes_orders_and_deadlines_come_to_the_machine() {
    scene(PATIENCE, async |scene| {
        let node = scene.accept().await;
        scene.noted.wait_for("connected").await;
        write(&node, b"hallo").await;
        assert_eq!(read(&node, 5).await, b"HALLO");
        scene.order();
        assert_eq!(read(&node, 1).await, b"w");
        assert_eq!(scene.noted.inputs(), ["start", "connected", "hallo", "order"]);
        // A deadline that an input brings is waited for.
        let due = Instant::now() + Duration::from_millis(50);
        scene.noted.0.borrow_mut().deadline = Some(due);
        scene.order();
        scene.noted.wait_for("tick").await;
        assert!(Instant::now() >= due);
    });
}

#[test]
fn events_come_in_order() {
    scene(PATIENCE, async |scene| {
        let node = scene.accept().await;
        write(&node, b"ee").await;
        for same in [true, false, true, false] {
            let event = within(PATIENCE, scene.events.recv()).await.unwrap();
            assert_eq!(event, Ok(Event::Same(same)));
        }
        // Whom nobody listens to is no longer connected.
        scene.events.close();
        write(&node, b"e").await;
        ends(&node).await;
    });
}

#[test]
fn a_node_that_hangs_up_is_heard_to_the_end() {
    scene(PATIENCE, async |scene| {
        let node = scene.accept().await;
        write(&node, b"last").await;
        drop(node);
        scene.noted.wait_for("Closed").await;
        assert_eq!(scene.noted.inputs(), ["start", "connected", "last", "Closed"]);
    });
}

#[test]
fn the_machine_closes_and_connects_again() {
    scene(PATIENCE, async |scene| {
        let first = scene.accept().await;
        write(&first, b"r").await;
        ends(&first).await;
        let second = scene.accept().await;
        write(&second, b"c").await;
        assert_eq!(read(&second, 3).await, b"bye");
        ends(&second).await;
        // What it closed itself is not told to it.
        assert_eq!(scene.noted.inputs(), ["start", "connected", "r", "connected", "c"]);
    });
}

#[test]
fn a_node_that_takes_our_block_slowly_is_heard_meanwhile() {
    scene(PATIENCE, async |scene| {
        let node = scene.accept().await;
        // More than the system's buffers take; the node reads nothing of it yet.
        write(&node, b"bbb").await;
        scene.noted.wait_for("bbb").await;
        write(&node, b"x").await;
        scene.noted.wait_for("x").await;
        scene.order();
        scene.noted.wait_for("order").await;
        let block = block();
        for _ in 0..3 {
            let mut rest = &block.bytes[..];
            while !rest.is_empty() {
                let part = rest.len().min(100_000);
                assert!(read(&node, part).await == rest[..part], "the block's bytes, in order");
                rest = &rest[part..];
                Timer::after(Duration::from_millis(1)).await;
            }
        }
        assert_eq!(read(&node, 2).await, b"Xw", "what was said later comes later");
    });
}

#[test]
fn a_node_that_takes_nothing_is_left() {
    let patience = Duration::from_millis(400);
    scene(patience, async |scene| {
        let node = scene.accept().await;
        write(&node, b"bbb").await;
        let since = Instant::now();
        scene.noted.wait_for("Silent").await;
        assert!(since.elapsed() >= patience);
        drop(node);
    });
    // As long as some bytes leave it is not.
    scene(patience, async |scene| {
        let node = scene.accept().await;
        write(&node, b"bbbbbbb").await;
        let since = Instant::now();
        let mut left = 7 * BLOCK;
        while left > 0 {
            let part = left.min(600_000);
            read(&node, part).await;
            left -= part;
            Timer::after(patience / 4).await;
        }
        assert!(since.elapsed() > patience * 2);
        assert_eq!(scene.noted.inputs(), ["start", "connected", "bbbbbbb"]);
    });
}

#[test]
fn a_node_that_asks_and_asks_without_reading_is_left() {
    scene(PATIENCE, async |scene| {
        let node = scene.accept().await;
        write(&node, &[b'b'; 20]).await;
        scene.noted.wait_for("Flood").await;
        drop(node);
    });
}

#[test]
fn a_node_that_sends_without_end_leaves_time_to_others() {
    scene(PATIENCE, async |scene| {
        let mut node = scene.accept().await.into_inner().unwrap();
        node.set_nonblocking(false).unwrap();
        // Faster than the machine here, for 8 s.
        let since = Instant::now();
        let flood = std::thread::spawn(move || {
            while since.elapsed() < Duration::from_secs(8)
                && node.write_all(&[0; 64 * 1024]).is_ok()
            {}
        });
        // The executor comes back to this future only after 200 turns of tasks.
        Timer::after(Duration::from_millis(5)).await;
        scene.order();
        scene.noted.wait_for("order").await;
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
        scene.handle = None;
        // The executor must run for that.
        let ended = blocking::unblock(move || flood.join().is_ok());
        assert_eq!(within(PATIENCE, ended).await, Some(true));
    });
}

#[test]
fn dropping_the_handle_ends_the_connection() {
    scene(PATIENCE, async |scene| {
        let node = scene.accept().await;
        scene.noted.wait_for("connected").await;
        scene.handle = None;
        ends(&node).await;
        let inputs = scene.noted.inputs();
        assert_eq!(inputs, ["start", "connected"]);
    });
}
