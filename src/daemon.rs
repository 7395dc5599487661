//! Builds everything, owns the loop, and carries out what the engine decides.
//!
//! ```text
//!  nodes ──► queue ──► engine ──► effects ──► nodes, miners, spool, ledger, page
//!  miners ──────────────┘
//! ```
//!
//! All state is in one `State` on one thread. Events of the miners' sockets go straight into the
//! engine; everything else comes through one queue. After each event the loop asks for the next
//! deadline of the engine and the other parts, and sleeps until then.

mod actions;
mod admin;
mod blocks;
mod broker;
mod canary;
mod devices;
mod doors;
mod effects;
mod handover;
mod housekeeping;
mod job_file;
mod ledger;
mod marks;
mod memory_file;
mod miners;
mod mqtt;
mod nodes;
mod notifications;
mod outside;
mod pair;
mod pair_copy;
mod partner;
mod pointed;
mod recorder;
mod sections;
mod share_file;
mod silence;
mod sinks;
mod snoozes;
mod standing;
mod strangers;
mod timings;
mod updates;
mod view;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

use async_channel::{Receiver, Sender};
use async_io::{Async, Timer};
use futures_lite::future;
use smol::LocalExecutor;

use crate::block::StoredState;
use crate::chain::BlockHash;
use crate::clock::{Calendar, Now, Step};
use crate::config::{self, Config, Flags, Loaded};
use crate::devices::rounds::Question;
use crate::devices::{Fault, Telemetry};
use crate::door::Acquaintance;
use crate::engine::{self, Engine};
use crate::exit::Exit;
use crate::failover::Setup;
use crate::fsutil::{self, Rights};
use crate::ids::{ConnId, NodeId, OutsideId};
use crate::job::JobId;
use crate::ledger::totals::LedgerEvent;
use crate::ledger::transfer::AUTHORITY_KEY;
use crate::node::NodeEvent;
use crate::os::{self, Order, Signals, Systemd};
use crate::p2p;
use crate::peer_address::ListedPeer;
use crate::server::background_executor;
use crate::server::http::admin::{Admin, Local};
use crate::server::http::{self, Http, NoBlock};
use crate::server::kept::KeptListeners;
use crate::server::stratum::{BACKLOG, Handler, Limits, Server, Turned};
use crate::server::tls::{self, Certificate};
use crate::spool::MAX_MATURE;
use crate::status::{EventKind, EventView, HistoryView, Level, Snapshot, format};
use crate::stratum::frame::Framing;
use crate::stratum::opening::Opening;
use crate::stratum::session::SessionKey;
use crate::stratum::v2::noise::{AuthorityKey, Identity};

pub use admin::Source;

use admin::Owner;
use blocks::{NotInSpool, SpooledBlocks};
use canary::Canary;
use devices::Devices;
use doors::{Doors, Port};
use handover::Handover;
use housekeeping::Housekeeping;
use job_file::JobFile;
use ledger::LedgerHandle;
use mqtt::Mqtt;
use nodes::Nodes;
use notifications::Notifications;
use outside::Outside;
use pair::{PairEvent, PairSide};
use pointed::PointedDevices;
use recorder::{Recording, Said};
use share_file::ShareFile;
use snoozes::Snoozes;
use timings::Timings;
use updates::Updates;
use view::pages;

/// Maximum time that a stop waits for a block that no node has yet. The unit's TimeoutStopSec is
/// longer.
const STOP_AT_MOST: Duration = Duration::from_secs(50);

/// Maximum time that it waits after that for all that is to be written down.
const CLOSING_AT_MOST: Duration = Duration::from_secs(5);

/// Maximum time that the end waits for what closed connections are still sent.
const FAREWELL_AT_MOST: Duration = Duration::from_millis(200);

/// Clocks that differ by no more, seconds, show the same time.
const CLOCKS_AGREE: u64 = 60;

/// Maximum events that the page lists.
const MAX_EVENTS: usize = 100;

/// The events in the queue.
#[derive(Debug)]
enum Event {
    Node(NodeEvent),
    /// Something happened on the connection to a node's P2P port.
    Peer(NodeId, p2p::Event),
    /// Something happened on a connection to an outside node.
    Outside(OutsideId, p2p::Event),
    /// What the DNS seeds told.
    Seeds(Vec<ListedPeer>),
    /// The ledger's writer answered.
    Ledger(Box<(crate::ledger::writer::LedgerWriter, LedgerEvent)>),
    /// A block was written to the spool, or could not be.
    Spooled(blocks::Spooled),
    /// The coinbase of a block in the spool was read.
    Coinbase(BlockHash, Option<timings::FoundCoinbase>),
    /// A notification was sent, or the reason why not.
    Sent(crate::notify::SendId, Result<(), String>),
    /// What the connection to the MQTT broker tells, with its number.
    Mqtt(u64, crate::mqtt::News),
    /// Something about the other box of the pair.
    Pair(PairEvent),
    /// A device answered a question, or did not.
    Device(Question, Result<Box<Telemetry>, Fault>),
    /// Something about a new version was read, written or fetched.
    Update(crate::update::Input),
    /// The state of the card was read, or a copy was made.
    Housekeeping(housekeeping::Found),
    /// The board was read.
    Board(Box<(crate::os::board::Board, crate::os::board::Reading)>),
    /// The hash of this PIN.
    Pin(config::Secret, String),
    /// The block of a rehearsal is assembled.
    Assembled {
        hash: BlockHash,
        height: u32,
        hex: Arc<str>,
    },
    Order(Command),
    /// A deadline came nearer while the loop slept.
    Rearm,
}

/// A command to the running daemon.
#[derive(Debug)]
pub enum Command {
    /// Stop in an orderly way.
    Stop,
    /// Stop in an orderly way, and start the program anew in the place of this process, with the miners'
    /// connections.
    Renew,
    /// Use this config from now on, without disconnecting a miner.
    Reload(Box<Config>),
    /// The file has these mistakes. Where nothing but payout address and nodes is missing, this is the
    /// config without them, which a box that waits for its set-up takes over.
    ReloadUnfinished(config::Problems, Option<Box<Config>>),
}

/// Runs the daemon until a signal ends it. `loaded` is the config as [`config::load`] read it with
/// these `flags`; SIGHUP reads it again.
pub fn run(loaded: Loaded, flags: &Flags) -> Exit {
    // Before any thread: all of them inherit it.
    let signals = match Signals::block() {
        Ok(signals) => signals,
        Err(error) => {
            log::error!("signals: {error}");
            return Exit::Software;
        }
    };
    let (sender, commands) = async_channel::unbounded();
    let executor = Rc::new(LocalExecutor::new());
    let flags = flags.clone();
    let source = loaded.file.map(|file| {
        let instead_why = loaded.instead_why;
        Source { flags: flags.clone(), file, instead_why }
    });
    let task = executor.spawn(obey(signals, flags, sender));
    let exit = serve(executor, loaded.config, source, commands, |_| {});
    drop(task);
    exit
}

/// The mistakes of a file, and its config as far as nothing but payout address and nodes is missing.
type BadFile = (config::Problems, Option<Box<Config>>);

/// Turns signals into commands. The config is read on a pool thread, so that a disk that hangs
/// delays neither the miners nor a stop.
async fn obey(signals: Signals, flags: Flags, commands: Sender<Command>) {
    enum Woken {
        Told(Order),
        Read(Box<Result<Loaded, BadFile>>),
    }
    let read = || {
        let flags = flags.clone();
        blocking::unblock(move || {
            let unfinished =
                || config::load_for_run(&flags).ok().map(|loaded| Box::new(loaded.config));
            config::load(&flags).map_err(|problems| (problems, unfinished()))
        })
    };
    let mut reading = None;
    // A SIGHUP that came while the file was being read: the file may have been read too early.
    let mut again = false;
    loop {
        let told = async { Woken::Told(signals.next().await) };
        let done = async {
            match &mut reading {
                Some(reading) => Woken::Read(Box::new(reading.await)),
                None => future::pending().await,
            }
        };
        let command = match future::or(told, done).await {
            Woken::Told(Order::Stop) => Command::Stop,
            Woken::Told(Order::Renew) => Command::Renew,
            Woken::Told(Order::Reload) if reading.is_some() => {
                again = true;
                continue;
            }
            Woken::Told(Order::Reload) => {
                reading = Some(read());
                continue;
            }
            Woken::Read(loaded) => {
                reading = std::mem::take(&mut again).then(read);
                match *loaded {
                    Ok(loaded) => {
                        loaded.warnings.iter().for_each(|warning| log::warn!("{warning}"));
                        Command::Reload(Box::new(loaded.config))
                    }
                    Err((problems, config)) => Command::ReloadUnfinished(problems, config),
                }
            }
        };
        if commands.send(command).await.is_err() {
            return;
        }
    }
}

/// The addresses that the daemon listens on.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The Stratum port.
    pub stratum: Vec<SocketAddr>,
    /// The page.
    pub http: Vec<SocketAddr>,
}

/// Runs the daemon on the calling thread until it is told to stop. `source` is where settings can
/// be saved, if anywhere. `started` is called once all ports are bound.
pub fn serve(
    executor: Rc<LocalExecutor<'static>>,
    config: Config,
    source: Option<Source>,
    commands: Receiver<Command>,
    started: impl FnOnce(&Addresses),
) -> Exit {
    let local = executor.clone();
    let people = Rc::new(LocalExecutor::new());
    let beside = people.clone();
    let main = local.run(async move {
        let (queue, events) = async_channel::unbounded();
        let daemon = match Daemon::new(executor.clone(), people, config, source, queue.clone()) {
            Ok(daemon) => daemon,
            Err(exit) => return exit,
        };
        let addresses = match daemon.open_http() {
            Ok(http) => Addresses { stratum: daemon.server.addresses(), http },
            Err(exit) => return exit,
        };
        // Choose and test the hash backend now, not with the first share.
        crate::hash::Backend::active();
        let ports = |addresses: &[SocketAddr]| {
            let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            if texts.is_empty() { "no port".to_owned() } else { texts.join(" and ") }
        };
        let data = daemon.state.borrow().config.data.dir.display().to_string();
        log::info!(
            "Miners connect to {}, the page is at {}, and the data is in {data}.",
            ports(&addresses.stratum),
            ports(&addresses.http)
        );
        if let Some(key) = daemon.state.borrow().authority_key() {
            log::info!("Miners of Stratum V2 know this box by the key {}.", key.text());
        }
        started(&addresses);
        executor
            .spawn(async move {
                while let Ok(command) = commands.recv().await {
                    queue.send(Event::Order(command)).await.ok();
                }
            })
            .detach();
        daemon.main_loop(events).await
    });
    async_io::block_on(background_executor::run(main, beside))
}

/// The shared state: miners' sockets, the page and the loop all use it through this.
struct Daemon {
    this: Weak<Daemon>,
    executor: Rc<LocalExecutor<'static>>,
    /// For the page: it runs in the time that the miners leave.
    people: Rc<LocalExecutor<'static>>,
    server: Rc<Server>,
    /// For the TLS ports.
    certificate: Option<Rc<Certificate>>,
    state: RefCell<State>,
    /// The time at which the loop will wake; nothing is due before.
    armed: Cell<Option<Instant>>,
    /// Listeners of the run before, until the ports have taken theirs.
    kept: RefCell<KeptListeners>,
    queue: Sender<Event>,
}

/// The state of the daemon.
struct State {
    config: Config,
    started: Now,
    clock: Calendar,
    executor: Rc<LocalExecutor<'static>>,
    server: Rc<Server>,
    /// What miners of Stratum V2 are shown, where it is spoken.
    identity: Option<Rc<Identity>>,
    queue: Sender<Event>,
    systemd: Systemd,
    engine: Engine,
    nodes: Nodes,
    outside: Outside,
    blocks: SpooledBlocks,
    ledger: LedgerHandle,
    notifications: Notifications,
    mqtt: Mqtt,
    updates: Updates,
    devices: Devices,
    pointed: PointedDevices,
    /// Where the owner has two boxes.
    pair: Option<Box<PairSide>>,
    /// What the file says of the other box, from the next start on.
    saved_pair: config::Pair,
    timings: Timings,
    housekeeping: Housekeeping,
    owner: Owner,
    job_file: JobFile,
    share_file: ShareFile,
    canary: Canary,
    recording: Option<Recording>,
    snoozes: Snoozes,
    news: VecDeque<EventView>,
    next_news: u64,
    refused_peers: VecDeque<miners::RefusedPeer>,
    doors: Doors,
    counters: Counters,
    next_watchdog: Option<Instant>,
    handover: Handover,
    stopping: Option<Stopping>,
}

/// The end of this run.
#[derive(Clone, Copy, Debug)]
struct Stopping {
    /// Until when it goes on at most.
    until: Instant,
    /// The program starts anew in the place of this process.
    renews: bool,
    /// Nothing more is read from miners: all that was counted is being written down.
    is_frozen: bool,
}

/// Counts since the start, for the metrics; `effects.rs` and `miners.rs` raise them. None ever falls: a
/// falling counter is a restart to Prometheus.
#[derive(Debug, Default)]
struct Counters {
    connections: u64,
    /// The last connection that was counted was the canary's, and the next one is not counted.
    counted_the_canary: bool,
    handshake_failures: u64,
    accepted: u64,
    /// Not exported, for the ledger counts by reason: tells that a line held a share.
    rejected: u64,
    templates: u64,
    jobs: u64,
    tips: u64,
    failovers: u64,
}

impl Counters {
    /// A connection came. Nobody knows yet whose it is.
    fn connected(&mut self) {
        if !std::mem::take(&mut self.counted_the_canary) {
            self.connections += 1;
        }
    }

    /// A connection that was counted proved to be the canary's.
    fn was_the_canary(&mut self) {
        self.counted_the_canary = true;
    }
}

impl Daemon {
    fn new(
        executor: Rc<LocalExecutor<'static>>,
        people: Rc<LocalExecutor<'static>>,
        mut config: Config,
        source: Option<Source>,
        queue: Sender<Event>,
    ) -> Result<Rc<Daemon>, Exit> {
        let now = os::now();
        let pair = PairSide::open(&mut config);
        let runtime = config.data.runtime.as_deref();
        let (job_file, restored) = JobFile::open(now, runtime);
        let last_job = restored.as_ref().and_then(|restored| restored.last_job);
        let side = pair.as_ref().and_then(|pair| pair.side());
        let mut secrets = Secrets::load(&config.data.dir, last_job, side).map_err(|error| {
            log::error!("no random numbers: {error}");
            Exit::Software
        })?;
        if let Some(code) = config.pair.code().filter(|_| pair.is_some()) {
            secrets.session_key = SessionKey(code.session_key());
        }
        let terms = crate::handover::terms(&miners::rules(&config, secrets.session_key.clone()));
        let wanted = listened_at(&config);
        let (handover, kept) =
            Handover::open(now, runtime, terms, |address| wanted.contains(&address));
        let mut once = Some((restored, handover, ShareFile::open(runtime), pair));
        let mut failure = None;
        let daemon = Rc::new_cyclic(|this: &Weak<Daemon>| {
            let handler: Weak<dyn Handler> = this.clone();
            let limits = limits(&config);
            let bind = |addresses: &[SocketAddr]| {
                Server::bind(executor.clone(), handler.clone(), addresses, limits, &kept)
            };
            let server = bind(&config.stratum.listen).unwrap_or_else(|(address, error)| {
                failure = Some((address, error));
                bind(&[]).unwrap_or_else(|_| unreachable!("no address cannot fail"))
            });
            let certificate = certificate(&config);
            if let Some(certificate) = &certificate {
                open_tls(&config, &server, certificate, &kept);
            }
            open_v2(&config, &server, secrets.identity.clone(), &kept);
            let nodes = Nodes::start(config.nodes_in_use(), &executor, &queue);
            let settings = settings(&config, &nodes, secrets.session_key.clone());
            let (restored, handover, share_file, pair) =
                once.take().unwrap_or_else(|| unreachable!("it is made once"));
            let state = State {
                started: now,
                clock: Calendar::new(now, os::slept()),
                executor: executor.clone(),
                server: server.clone(),
                identity: secrets.identity.clone(),
                queue: queue.clone(),
                systemd: Systemd::new(),
                engine: Engine::new(now, settings, secrets.first_job_id.0, restored),
                nodes,
                outside: Outside::new(&config.data.dir),
                blocks: SpooledBlocks::open(&config.data.dir),
                ledger: LedgerHandle::new(now, &config.data.dir, queue.clone()),
                notifications: Notifications::new(now, &config),
                mqtt: Mqtt::default(),
                updates: Updates::open(&config.data.dir),
                devices: Devices::new(now, &config, people.clone()),
                pointed: PointedDevices::open(&config.data.dir),
                pair,
                saved_pair: config.pair.clone(),
                timings: Timings::new(now, &config.data.dir),
                housekeeping: Housekeeping::new(now, &config.data.dir),
                owner: Owner { source: source.clone(), ..Owner::default() },
                job_file,
                share_file,
                canary: Canary::new(),
                recording: None,
                snoozes: Snoozes::default(),
                news: VecDeque::new(),
                next_news: 1,
                refused_peers: VecDeque::new(),
                doors: Doors::new(&config.data.dir),
                counters: Counters::default(),
                next_watchdog: None,
                handover,
                stopping: None,
                config,
            };
            Daemon {
                this: this.clone(),
                executor: executor.clone(),
                people: people.clone(),
                server,
                certificate,
                state: RefCell::new(state),
                armed: Cell::new(None),
                kept: RefCell::new(kept),
                queue,
            }
        });
        match failure {
            None => Ok(daemon),
            Some((address, error)) => {
                let instead = taken(&error, "--listen, or listen below [stratum],");
                log::error!("cannot listen for miners on {address}: {error}{instead}");
                Err(Exit::Unavailable)
            }
        }
    }

    /// Starts the page on its addresses.
    fn open_http(&self) -> Result<Vec<SocketAddr>, Exit> {
        let config = self.state.borrow().config.http.clone();
        let Some(this) = self.this.upgrade() else { return Ok(Vec::new()) };
        let options = http::Options { json: config.json, ..http::Options::default() };
        let admin = Admin::new(this.clone());
        let server = Http::with_admin(this, admin, options);
        let mut addresses = Vec::new();
        let kept = self.kept.take();
        for address in config.listen {
            let listener = listen(address, &kept).map_err(|error| {
                let instead = taken(&error, "--http, or listen below [http],");
                log::error!("cannot serve the page on {address}: {error}{instead}");
                Exit::Unavailable
            })?;
            addresses.push(listener.get_ref().local_addr().unwrap_or(address));
            self.keep_listener(address, &listener);
            let task = server.clone().serve(self.people.clone(), listener, None);
            self.people.spawn(task).detach();
        }
        // A fault of it must not disable the page without TLS.
        for address in config.tls_listen.iter().filter(|_| self.certificate.is_some()) {
            match listen(*address, &kept) {
                Ok(listener) => {
                    self.keep_listener(*address, &listener);
                    let (executor, certificate) = (self.people.clone(), self.certificate.clone());
                    let task = server.clone().serve(executor, listener, certificate);
                    self.people.spawn(task).detach();
                }
                Err(error) => log::error!("cannot serve the page by HTTPS on {address}: {error}"),
            }
        }
        for (address, listener) in self.server.listening() {
            self.state.borrow_mut().handover.keep_listener(os::now(), address, &listener);
        }
        Ok(addresses)
    }

    fn keep_listener(&self, address: SocketAddr, listener: &Async<TcpListener>) {
        self.state.borrow_mut().handover.keep_listener(os::now(), address, listener.get_ref());
    }

    /// Nothing more is read from miners: who cannot go on in the next run is heard a last time and closed,
    /// and all that was counted is written down.
    fn freeze(&self) {
        let (listeners_stay, leaves) = self.state.borrow_mut().begin_to_freeze();
        self.server.freeze(listeners_stay, |conn| leaves.contains(&conn));
        let mut state = self.state.borrow_mut();
        let now = state.now();
        state.stop_ledger(now, !leaves.is_empty());
    }

    async fn main_loop(self: Rc<Self>, events: Receiver<Event>) -> Exit {
        self.state.borrow_mut().start(os::now());
        self.executor.spawn(canary::run(self.this.clone())).detach();
        loop {
            let deadline = self.state.borrow().next_deadline();
            self.armed.set(deadline);
            let timer = async {
                match deadline {
                    Some(at) => drop(Timer::at(at).await),
                    None => future::pending().await,
                }
                None
            };
            let event = future::or(async { events.recv().await.ok() }, timer).await;
            let mut state = self.state.borrow_mut();
            let now = state.now();
            state.timings.woke(now.mono, self.armed.get());
            if let Some(event) = event {
                state.event(now, event);
            }
            // Queued events come before any deadline.
            while let Ok(event) = events.try_recv() {
                state.event(now, event);
            }
            let now = state.now();
            state.tick(now);
            if state.may_end(now) {
                break;
            }
            let freezes = state.freezes(now);
            let due = std::mem::take(&mut state.owner.to_apply);
            let pressed = state.mqtt.take_pressed();
            drop(state);
            if freezes {
                self.freeze();
            }
            if !pressed.is_empty() {
                self.carry_out_pressed(pressed);
            }
            if !due.is_empty() {
                let apply = self.apply_all(due);
                let apply = async move {
                    for problem in apply.await {
                        log::error!("settings: the new payout address could not be set: {problem}");
                    }
                };
                self.people.spawn(apply).detach();
            }
        }
        self.say_farewell().await;
        let renews = self.state.borrow().stopping.is_some_and(|stopping| stopping.renews);
        let sockets = self.state.borrow_mut().leave_connections(os::now());
        log::info!("Stopped.");
        if renews && let Err(error) = os::inherited::start_again(&sockets) {
            log::error!("the program cannot be started anew: {error}");
            return Exit::Software;
        }
        Exit::Ok
    }

    /// Sends the farewells before the process ends. Nobody waits for them longer than it takes where
    /// connections go on meanwhile.
    async fn say_farewell(&self) {
        let by = Instant::now() + FAREWELL_AT_MOST;
        let go_on = self.state.borrow().handover.has_tickets();
        while Instant::now() < by && (!go_on || self.server.has_unsent_farewells()) {
            Timer::after(Duration::from_millis(5)).await;
        }
    }

    /// Wakes the loop if something became due before its wake-up time.
    fn rearm(&self, state: &State) {
        let next = state.next_deadline();
        if next.is_some() && self.armed.get().is_none_or(|armed| next < Some(armed)) {
            self.armed.set(next);
            self.queue.try_send(Event::Rearm).ok();
        }
    }
}

impl Handler for Daemon {
    fn connected(&self, conn: ConnId, peer: IpAddr) {
        let mut state = self.state.borrow_mut();
        let now = state.now();
        state.miner_connected(now, conn, peer);
        self.rearm(&state);
    }

    fn received(&self, conn: ConnId, framing: &mut Framing, chunk: &[u8]) -> Result<(), String> {
        let mut state = self.state.borrow_mut();
        let now = state.now();
        let said = match framing {
            Framing::Lines(_) => Said::Lines(chunk),
            Framing::Frames => Said::Frames(chunk),
        };
        state.overhear(now, conn, recorder::From::Miner, said);
        let result = state.received(now, conn, framing, chunk);
        self.rearm(&state);
        result
    }

    fn misplaced(&self, conn: ConnId, peer: IpAddr, speaks: Opening) {
        let mut state = self.state.borrow_mut();
        let now = state.now();
        state.misplaced(now, conn, peer, speaks);
    }

    fn unfinished(&self, conn: ConnId) {
        let mut state = self.state.borrow_mut();
        let now = state.now();
        if state.handover.has_ticket(conn) {
            state.session_changed(now, conn);
        }
    }

    fn closed(&self, conn: ConnId, why: &str) {
        let mut state = self.state.borrow_mut();
        let now = state.now();
        state.miner_gone(now, conn, why);
    }

    fn refused(&self, peer: IpAddr, why: Turned) {
        let mut state = self.state.borrow_mut();
        let now = state.now();
        state.miner_refused(now, peer, why);
    }

    fn held(&self, conn: ConnId) -> Option<Receiver<Infallible>> {
        self.state.borrow().awaits_jobs_copy(conn)
    }

    fn gave_way(&self, peer: IpAddr) {
        let mut state = self.state.borrow_mut();
        let now = state.now();
        state.made_room(now, Port::Miners, peer);
    }

    fn acquaintance(&self, peer: IpAddr) -> Acquaintance {
        self.state.borrow().doors.known.address(peer)
    }
}

impl http::View for Daemon {
    fn snapshot(&self) -> Rc<Snapshot> {
        let now = self.state.borrow_mut().now();
        Rc::new(self.state.borrow().snapshot(now))
    }

    fn history(&self, miner: &str) -> Option<HistoryView> {
        let now = self.state.borrow_mut().now();
        self.state.borrow().miner_history(now, miner)
    }

    fn reach(&self) -> http::guard::Reach {
        let state = self.state.borrow();
        http::guard::Reach {
            hosts: state.config.http.hosts.clone(),
            domains: state.timings.reading.search_domains.clone(),
            embed: state.config.http.embed.clone(),
        }
    }

    fn made_room(&self, peer: IpAddr) {
        let mut state = self.state.borrow_mut();
        let now = state.now();
        state.made_room(now, Port::Page, peer);
    }

    fn refused(&self) {
        self.state.borrow_mut().reader_refused();
    }

    fn block(&self, hash: &str) -> Local<Result<Vec<u8>, NoBlock>> {
        let Ok(hash) = hash.parse() else { return Box::pin(async { Err(NoBlock::Unknown) }) };
        let state = self.state.borrow();
        if let Some(block) = state.engine.blocks().live(hash).cloned() {
            return Box::pin(async move { Ok(block.bytes.clone()) });
        }
        let read = state.blocks.read(hash);
        let known = state.ledger.core.blocks().find(|block| block.hash == hash);
        let mature = known.filter(|block| block.state == StoredState::Mature);
        let height = mature.map(|block| block.height);
        Box::pin(async move {
            read.await.map_err(|why| match (why, height) {
                (NotInSpool::Unreadable(why), _) => NoBlock::Unreadable(why),
                (NotInSpool::Absent, Some(height)) => {
                    NoBlock::Forgotten { height, kept: MAX_MATURE }
                }
                (NotInSpool::Absent, None) => NoBlock::Unknown,
            })
        })
    }
}

/// What to do about a port that cannot be had.
fn taken(error: &io::Error, setting: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(". Another program has this port: end it, or {setting} names another one.")
        }
        io::ErrorKind::PermissionDenied => {
            format!(". Ports below 1024 need a permission: {setting} names another one.")
        }
        _ => String::new(),
    }
}

impl State {
    /// Reads both clocks. Whatever happens next finds everything dated by the clock as it is now.
    fn now(&mut self) -> Now {
        let (now, step) = self.clock.read(os::now(), os::slept());
        if let Some(step) = step {
            self.clock_set(now, step);
        }
        now
    }

    /// The wall clock was set, or is known to be behind: what this run has dated is dated anew. Whatever
    /// is kept as a moment of monotonic time needs nothing.
    fn clock_set(&mut self, now: Now, Step { by, set }: Step) {
        let redate = |date: &mut u64| *date = date.saturating_add_signed(by);
        self.news.iter_mut().for_each(|event| redate(&mut event.at));
        self.housekeeping.copied_at.iter_mut().for_each(redate);
        self.canary.clock_set(by);
        self.snoozes.clock_set(by);
        self.notifications.clock_set(by);
        self.ledger_event(now, LedgerEvent::ClockSet { by });
        let (way, span) = if by > 0 { ("forward", by) } else { ("back", -by) };
        let span = format::duration(span.unsigned_abs());
        let text = match set {
            true => format!("The clock of this box was set {way} by {span}."),
            false => format!(
                "The clock of this box is {span} behind the end of its last run: until it is set, all \
                 is dated from there on."
            ),
        };
        self.tell(now, EventKind::System, Level::Info, text);
        if set {
            self.ledger_event(now, LedgerEvent::ClockKnown);
        }
        self.date_spool();
    }

    /// The ledger was read: no date of this run shall be before the end of the last one.
    fn look_at_earlier_runs(&mut self, now: Now) {
        if let Some(unix) = self.ledger.core.earliest().filter(|_| !self.system_knows_the_time()) {
            self.clock.not_before(Now { unix, ..now });
        }
    }

    /// Finds out whether the clock is right, where nobody has set it in this run.
    fn look_at_the_clock(&mut self, now: Now) {
        if self.ledger.core.is_clock_known() && self.clock.raised() == 0 {
            return;
        }
        if self.system_knows_the_time() || self.nodes_agree_on_the_time(now) {
            self.clock.trust();
            let now = self.now();
            self.ledger_event(now, LedgerEvent::ClockKnown);
            self.date_spool();
        }
    }

    fn system_knows_the_time(&self) -> bool {
        let reading = &self.timings.reading;
        reading.board.clock_synced == Some(true) || reading.rtc_agrees
    }

    /// A node on this machine has this machine's clock.
    fn nodes_agree_on_the_time(&self, now: Now) -> bool {
        let own = os::addresses();
        let is_elsewhere = |host: &str| match host.parse::<IpAddr>() {
            Ok(ip) => !ip.is_loopback() && !own.contains(&ip),
            Err(_) => host != "localhost",
        };
        let raised = i64::try_from(self.clock.raised()).unwrap_or(i64::MAX);
        let clocks = self.engine.failover().clocks(now.mono);
        let this_box = clocks.and_then(|clocks| clocks.this_box);
        this_box.is_some_and(|clock| clock.ahead.abs_diff(raised) <= CLOCKS_AGREE)
            && self
                .nodes
                .iter()
                .all(|(_, node)| node.config.place().is_some_and(|(host, _)| is_elsewhere(&host)))
    }

    fn start(&mut self, now: Now) {
        self.tell(
            now,
            EventKind::System,
            Level::Info,
            format!("{} started.", crate::exit::version()),
        );
        let (boot, up) = (os::boot_id(), os::seconds_up());
        self.ledger_event(now, LedgerEvent::Started { boot, up });
        self.open_pair(now);
        self.restore_blocks(now);
        self.restore_addresses(now);
        self.read_pin();
        self.turn_miners_away();
        self.take_up_connections(now);
        self.open_mqtt(now);
        self.update_settings(now);
        self.tick(now);
        // Ready to serve as soon as a node is: `systemctl start` must not wait for hours while one
        // downloads the chain. The status line says what is missing.
        self.systemd.ready();
    }

    fn event(&mut self, now: Now, event: Event) {
        match event {
            Event::Node(event) => self.node_event(now, event),
            Event::Peer(node, event) => self.peer_event(now, node, event),
            Event::Outside(id, event) => self.engine_input(now, engine::Input::Outside(id, event)),
            Event::Seeds(list) => self.engine_input(now, engine::Input::Seeds(list)),
            Event::Ledger(answer) => self.ledger_answer(now, *answer),
            Event::Spooled(spooled) => self.spooled(now, spooled),
            Event::Coinbase(block, coinbase) => {
                self.timings.coinbases.borrow_mut().insert(block, coinbase);
            }
            Event::Sent(id, result) => self.sent(now, id, result),
            Event::Mqtt(number, news) => self.mqtt_news(now, number, news),
            Event::Update(input) => self.update_input(now, input),
            Event::Pair(event) => self.pair_event(now, event),
            Event::Device(question, answer) => self.device_answered(now, question, answer),
            Event::Housekeeping(found) => self.cared(now, found),
            Event::Board(reading) => self.board_read(now, *reading),
            Event::Pin(pin, hash) => self.pin_read(&pin, hash),
            Event::Assembled { hash, height, hex } => {
                self.engine_input(now, engine::Input::Assembled { hash, height, hex });
            }
            Event::Order(Command::Stop) => self.stop(now, false),
            Event::Order(Command::Renew) => self.stop(now, true),
            Event::Order(Command::Reload(config)) => self.reload(now, *config),
            Event::Order(Command::ReloadUnfinished(problems, config)) => {
                match config.filter(|_| !self.config.is_set_up()) {
                    Some(config) => self.reload(now, *config),
                    None => {
                        problems.0.iter().for_each(|problem| log::error!("{problem}"));
                        log::error!("The config was not read: everything stays as it is.");
                    }
                }
            }
            Event::Rearm => {}
        }
    }

    fn tick(&mut self, now: Now) {
        self.tick_engine(now);
        self.tick_ledger(now);
        self.tick_timings(now);
        self.tick_housekeeping(now);
        self.tick_notifications(now);
        self.tick_mqtt(now);
        self.tick_updates(now);
        self.tick_devices(now);
        self.tick_pair(now);
        self.tick_handover(now);
        self.doors.keep(now, self.stopping.is_some(), &self.queue);
        self.feed_watchdog(now);
    }

    fn next_deadline(&self) -> Option<Instant> {
        [
            self.engine.next_deadline(),
            self.ledger.next_deadline(),
            self.notifications.next_deadline(),
            self.mqtt.next_deadline(),
            self.updates.next_deadline(),
            self.devices.next_deadline(),
            self.pair_deadline(),
            self.timings.next_deadline(),
            self.housekeeping.next_deadline(),
            self.doors.next_deadline(),
            self.next_watchdog,
            self.handover.next_deadline(),
            self.stopping.map(|stopping| stopping.until),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Keeps an event for the page, and logs it.
    fn tell(&mut self, now: Now, kind: EventKind, level: Level, text: String) {
        match level {
            Level::Info => log::info!("{text}"),
            Level::Warning => log::warn!("{text}"),
            Level::Critical => log::error!("{text}"),
        }
        let event = EventView { id: self.next_news, at: now.unix, kind, level, text };
        self.next_news += 1;
        self.news.push_front(event);
        self.news.truncate(MAX_EVENTS);
    }

    /// The run is to end; with `renews`, the program starts anew in the place of this process. Until a
    /// block that no node has yet is decided, those who are connected are served as ever.
    fn stop(&mut self, now: Now, renews: bool) {
        if self.stopping.is_some() {
            return;
        }
        self.note_the_end();
        if !renews {
            self.systemd.stopping();
        }
        let limit = if self.is_busy_with_a_block() { STOP_AT_MOST } else { Duration::ZERO };
        self.stopping = Some(Stopping { until: now.mono + limit, renews, is_frozen: false });
        log::info!("Stopping.");
        if !self.goes_on_after(renews) {
            self.server.shut();
        }
        self.mqtt.end();
    }

    /// Whether some of what is connected goes on in the next run.
    fn goes_on_after(&self, renews: bool) -> bool {
        if renews { self.handover.can_be_left() } else { self.handover.is_kept() }
    }

    /// A block is undecided, or its miner waits for an answer.
    fn is_busy_with_a_block(&self) -> bool {
        self.engine.blocks().has_undecided() || self.engine.blocks().holds_answers()
    }

    /// Whether [`Daemon::freeze`] is due.
    fn freezes(&self, now: Now) -> bool {
        self.stopping.is_some_and(|stopping| {
            !stopping.is_frozen && (!self.is_busy_with_a_block() || now.mono >= stopping.until)
        })
    }

    /// Whether the listeners stay, and which connections go on in the next run.
    fn begin_to_freeze(&mut self) -> (bool, BTreeSet<ConnId>) {
        let now = self.now();
        let Some(stopping) = &mut self.stopping else { return Default::default() };
        let renews = stopping.renews;
        (stopping.is_frozen, stopping.until) = (true, now.mono + CLOSING_AT_MOST);
        let conns = self.engine.pool().sessions().map(|session| session.conn());
        let leaves = conns.filter(|conn| self.leaves(*conn, renews)).collect();
        (self.goes_on_after(renews), leaves)
    }

    /// Whether the run may end: it waits, for a limited time, for all that is to be written down.
    fn may_end(&self, now: Now) -> bool {
        let Some(Stopping { until, is_frozen: true, .. }) = self.stopping else { return false };
        let done = !self.is_busy_with_a_block()
            && self.ledger.is_closed()
            && self.job_file.is_written()
            && self.handover.is_done()
            && self.doors.next_deadline().is_none()
            && self.doors.is_kept();
        if !done && now.mono >= until {
            log::warn!("Stopped before everything was done; what is in the spool is tried again.");
        }
        done || now.mono >= until
    }

    fn reload(&mut self, now: Now, mut config: Config) {
        self.systemd.reloading();
        self.saved_pair.clone_from(&config.pair);
        self.reload_pair(now, &mut config);
        let changes = self.config.diff(&config);
        if changes.is_empty() {
            self.tell(now, EventKind::System, Level::Info, "Config read: nothing changed.".into());
        }
        for change in &changes {
            let later = if change.is_live() { "" } else { " (from the next start on)" };
            self.tell(now, EventKind::System, Level::Info, format!("Config: {change}{later}"));
        }
        let config = config.taken_over(&self.config);
        let old = std::mem::replace(&mut self.config, config);
        self.new_settings(now);
        self.server.set_limits(limits(&self.config));
        self.server.set_identity(self.identity.clone().filter(|_| self.config.stratum.v2));
        self.turn_miners_away();
        crate::logger::set_level(self.config.log.level);
        crate::logger::set_format(self.config.log.format);
        self.reload_engine(now, &old);
        self.notifications.reload(now, &self.config);
        if old.mqtt != self.config.mqtt {
            self.open_mqtt(now);
        }
        if old.update != self.config.update {
            self.update_settings(now);
        }
        if old.devices != self.config.devices {
            self.devices.reload(now, &self.config);
        }
        if old.data.copy_to != self.config.data.copy_to {
            self.reload_housekeeping(now);
        }
        if old.http.pin != self.config.http.pin {
            self.read_pin();
        }
        self.systemd.ready();
    }

    /// The key by which miners of Stratum V2 know this box; `None` where it is not spoken.
    fn authority_key(&self) -> Option<AuthorityKey> {
        self.identity.as_ref().filter(|_| self.config.stratum.v2).map(|one| one.authority())
    }

    /// Miners of Stratum V2 that come from now on are shown this.
    fn take_identity(&mut self, identity: Identity) {
        self.identity = Some(Rc::new(identity));
        self.read_own_key();
        self.server.set_identity(self.identity.clone().filter(|_| self.config.stratum.v2));
    }

    /// A box that is not set up accepts connections of miners and refuses them, so that the page
    /// shows them with the reason.
    fn turn_miners_away(&mut self) {
        let why = (!self.config.is_set_up()).then_some(miners::NOT_SET_UP);
        if why.is_none() && !self.server.refuses_all() {
            return;
        }
        self.server.refuse_all(why);
        match why {
            Some(_) => {
                self.server.open();
                self.systemd.status("waiting to be set up on the page");
                for page in pages(&os::addresses(), &self.config.http.listen) {
                    log::warn!("Not set up yet: open {page} in a browser.");
                }
            }
            // `Failover` opens them with the first work.
            None => self.server.shut(),
        }
    }

    fn feed_watchdog(&mut self, now: Now) {
        let Some(interval) = self.systemd.watchdog() else { return };
        // An undecided block is worth more than a restart.
        if self.is_stuck() && !self.engine.blocks().has_undecided() {
            return;
        }
        if self.next_watchdog.is_none_or(|at| now.mono >= at) {
            self.systemd.alive();
            self.next_watchdog = Some(now.mono + interval);
        }
    }
}

/// Random numbers that live longer than a connection.
struct Secrets {
    /// Kept over restarts, so that a session id from before a restart is recognised as ours.
    session_key: SessionKey,
    /// Above all ids of earlier runs, so that a job from before a restart is recognised as old.
    first_job_id: JobId,
    /// What miners of Stratum V2 are shown. `None` if there is no key for it.
    identity: Option<Rc<Identity>>,
}

impl Secrets {
    /// Reads them from the data directory, or draws them. If the key cannot be saved, sessions
    /// cannot be resumed after a restart; nothing else is lost. `last_job` is the last remembered
    /// job of an earlier run. `side` is that of this box, where it is one of a pair.
    fn load(
        data: &Path,
        last_job: Option<JobId>,
        side: Option<bool>,
    ) -> Result<Secrets, getrandom::Error> {
        let path = data.join("session-key");
        let first_job_id = first_job_id(data, last_job, side)?;
        let session_key = kept_or_drawn(&path, "miners cannot resume over a restart")?;
        let session_key = SessionKey(session_key);
        Ok(Secrets { session_key, first_job_id, identity: identity(data)?.map(Rc::new) })
    }
}

/// What miners of Stratum V2 are shown. `None` if the key is of no use.
fn identity(data: &Path) -> Result<Option<Identity>, getrandom::Error> {
    let authority = kept_or_drawn(
        &data.join(AUTHORITY_KEY),
        "miners of Stratum V2 that check the key need another one after a restart",
    )?;
    let mut random = [0; 32];
    getrandom::fill(&mut random)?;
    let identity = Identity::new(&authority, &random);
    Ok(identity.inspect_err(|error| log::error!("no Stratum V2: {AUTHORITY_KEY}: {error}")).ok())
}

/// 32 random bytes that are kept in a file. `consequence` is what follows if they cannot be.
fn kept_or_drawn(path: &Path, consequence: &str) -> Result<[u8; 32], getrandom::Error> {
    match fs::read(path).map(|bytes| bytes.try_into()) {
        Ok(Ok(kept)) => return Ok(kept),
        Ok(Err(_)) => {
            log::error!("{}: it has not 32 bytes: made anew: {consequence}", path.display())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => log::error!("{}: {error}: made anew: {consequence}", path.display()),
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key)?;
    if let Err(error) = keep(path, &key, Rights::Set(0o600)) {
        log::warn!("{}: {error}: {consequence}", path.display());
    }
    Ok(key)
}

/// The first job id of this run, from a count of the runs in the data directory. If the count
/// cannot be saved, the id is random.
fn first_job_id(
    data: &Path,
    last_job: Option<JobId>,
    side: Option<bool>,
) -> Result<JobId, getrandom::Error> {
    let path = data.join("run");
    let kept: Option<u32> =
        fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
    let mut run = match kept {
        Some(last) => last.wrapping_add(1),
        None => getrandom::u32()?,
    };
    if let Some(last) = last_job.filter(|last| !last.is_before(JobId::first_of(run))) {
        run = last.run() + 1;
    }
    let run = JobId::run_on_side(run, side);
    // Before the first job goes out: a power cut must not give this run's number to the next one.
    if let Err(error) = keep(&path, format!("{run}\n").as_bytes(), Rights::Keep(0o666)) {
        log::warn!("{}: {error}: job ids are random", path.display());
    }
    Ok(JobId::first_of(run))
}

fn keep(path: &Path, bytes: &[u8], rights: Rights) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), fsutil::create_directory)?;
    Ok(fsutil::replace(path, bytes, rights)?)
}

/// The addresses at which the config has us listen.
fn listened_at(config: &Config) -> BTreeSet<SocketAddr> {
    let (stratum, http) = (&config.stratum, &config.http);
    let all =
        [&stratum.listen, &stratum.tls_listen, &stratum.v2_listen, &http.listen, &http.tls_listen];
    all.into_iter().flatten().copied().collect()
}

fn limits(config: &Config) -> Limits {
    Limits {
        // One more for the canary.
        connections: config.stratum.max_connections + 1,
        per_address: config.stratum.max_connections_per_address,
    }
}

/// The TLS ports, if the owner wants them. Their failure must not keep the other miners from
/// mining.
fn open_tls(config: &Config, server: &Server, certificate: &Rc<Certificate>, kept: &KeptListeners) {
    if let Err((address, error)) = server.bind_tls(&config.stratum.tls_listen, certificate, kept) {
        log::error!("cannot listen for miners with TLS on {address}: {error}");
    }
}

/// Stratum V2, if the owner does not forbid it. Its failure must not keep the other miners from mining.
fn open_v2(config: &Config, server: &Server, identity: Option<Rc<Identity>>, kept: &KeptListeners) {
    server.set_identity(identity.filter(|_| config.stratum.v2));
    if let Err((address, error)) = server.bind_v2(&config.stratum.v2_listen, kept) {
        log::error!("cannot listen for miners with Stratum V2 on {address}: {error}");
    }
}

/// The box's own certificate, if a port needs it.
fn certificate(config: &Config) -> Option<Rc<Certificate>> {
    if config.stratum.tls_listen.is_empty() && config.http.tls_listen.is_empty() {
        return None;
    }
    let names = tls::local_names();
    let certificate = match Certificate::load_or_make(&config.data.dir.join("tls"), &names) {
        Ok(certificate) => Rc::new(certificate),
        Err(error) => {
            log::error!("no TLS: {error}");
            return None;
        }
    };
    log::info!("who encrypts is shown {}", certificate.path().display());
    let lacks = certificate.lacks(&names);
    if !lacks.is_empty() {
        log::warn!(
            "The certificate was not made for {}. A miner that goes there will refuse it: remove \
             cert.pem and key.pem in {} to have them made anew at the next start.",
            lacks.join(", "),
            config.data.dir.join("tls").display()
        );
    }
    Some(certificate)
}

/// The engine's settings, made from the config.
fn settings(config: &Config, nodes: &Nodes, session_key: SessionKey) -> engine::Settings {
    let setup = Setup {
        nodes: nodes.specs(),
        chains: chains(config),
        grace: config.failover.grace,
        follow: config.failover.follow,
    };
    let payout = config.payout.address.as_ref().map(|address| engine::Payout {
        script: address.script().to_vec(),
        tag: config.payout.tag.as_str().to_owned(),
        signals: config.payout.signals(),
    });
    engine::Settings {
        setup,
        payout,
        rules: miners::rules(config, session_key),
        outside: outside::settings(config),
    }
}

/// The chains that the payout address fits.
fn chains(config: &Config) -> Vec<crate::chain::Chain> {
    use crate::chain::Chain;
    [Chain::Main, Chain::Testnet3, Chain::Testnet4, Chain::Signet, Chain::Regtest]
        .into_iter()
        .filter(|chain| config.payout.address.as_ref().is_some_and(|address| address.fits(*chain)))
        .collect()
}

/// The chains on which miners are paid whose names are addresses; none if the owner does not allow it.
fn chains_of_payees(config: &Config) -> Vec<crate::chain::Chain> {
    if config.payout.per_miner { chains(config) } else { Vec::new() }
}

fn listen(address: SocketAddr, kept: &KeptListeners) -> std::io::Result<Async<TcpListener>> {
    use socket2::{Domain, Socket, Type};
    if let Some(listener) = kept.take(address) {
        return Async::new(listener);
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Async::new(TcpListener::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canarys_connections_are_not_counted_and_the_counter_never_falls() {
        let mut counters = Counters::default();
        let canary = |counters: &mut Counters| {
            counters.connected();
            counters.was_the_canary();
        };
        counters.connected();
        canary(&mut counters);
        assert_eq!(counters.connections, 2, "one ahead until the next one comes");
        counters.connected();
        assert_eq!(counters.connections, 2);
        (0..5).for_each(|_| canary(&mut counters));
        counters.connected();
        assert_eq!(counters.connections, 3);
    }
}
