//! The nodes' shells: starts, stops and reloads them, and keeps for the page what they report.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::Sender;
use smol::LocalExecutor;

use crate::chain::Chain;
use crate::clock::Now;
use crate::config::{Config, NodeConfig};
use crate::engine;
use crate::failover::NodeSpec;
use crate::ids::NodeId;
use crate::node::{NodeEvent, NodeEventKind, TipSource, ZmqState};
use crate::os;
use crate::p2p::{self, Order};
use crate::peer_address::{PeerAddress, PeerHost};
use crate::peers::PeerHandle;
use crate::rpc::NodeHandle;
use crate::status::{About, AlarmKind, AlarmView, EventKind, Level, LossView, format};
use crate::stratum::session::SessionKey;
use crate::template::Template;

use super::silence::Silence;
use super::{Event, State};

/// The nodes in the order of preference.
pub(super) struct Nodes {
    table: BTreeMap<NodeId, Node>,
    order: Vec<NodeId>,
    next_id: u32,
}

/// One node as the daemon holds it.
pub(super) struct Node {
    /// As configured.
    pub config: NodeConfig,
    /// Its shell; `None` if its threads could not be started.
    pub handle: Option<NodeHandle>,
    /// Its latest template, and when it came.
    pub latest: Option<(Arc<Template>, Instant)>,
    /// When it last answered anything, Unix seconds.
    pub answered_at: Option<Instant>,
    /// How often its RPC fell silent.
    pub rpc_lost: LossView,
    /// How often its publisher was lost.
    pub zmq_lost: LossView,
    /// Whether a message ever came over ZMQ.
    pub zmq_heard: bool,
    /// State of the subscription to its publisher; `None` where none is configured.
    pub zmq: Option<ZmqState>,
    /// The connection to its P2P port; `None` where the owner does not want it, or its chain is not
    /// known yet.
    pub peer: Option<PeerHandle>,
    /// Whether its publisher announces what it should.
    silence: Silence,
    /// The owner was told that the publisher is silent.
    silent: bool,
    /// Verified share of the chain, now and some minutes ago, to estimate when it will be ready.
    progress: VecDeque<(Instant, f64)>,
}

/// Samples of a download's progress: their number and distance.
const PROGRESS_SAMPLES: usize = 10;
const PROGRESS_APART: Duration = Duration::from_secs(60);

impl Node {
    /// Whether the publisher is never heard although the node has new blocks.
    pub(super) fn zmq_alarm(&self, now: Now) -> Option<AlarmView> {
        let (address, state) = (self.config.zmq.as_ref()?, self.zmq?);
        let silent = self.silence.silent(now, state == ZmqState::Connected)?;
        let since = match silent.heard {
            Some(heard) => format!("since {}", format::date(heard)),
            None => format!("since {}, when it was first tried", format::date(silent.begun)),
        };
        let name = &self.config.name;
        Some(AlarmView {
            id: format!("{}:{name}", AlarmKind::Zmq.name()),
            kind: AlarmKind::Zmq,
            about: About::Node,
            level: Level::Warning,
            text: format!(
                "ZMQ of node {name} at {address} has said nothing {since}, while the node had a \
                 new block at {}.",
                format::date(silent.block)
            ),
            advice: match state.remedy(address) {
                Some(remedy) => format!("{} {remedy}", state.sentence(address)),
                None => format!(
                    "Its bitcoin.conf needs zmqpubhashblock={}, and zmq_hashblock_addr the same \
                     port: what answers there publishes something else, or is another node's.",
                    if address.starts_with("ipc://") { address } else { "tcp://0.0.0.0:28332" }
                ),
            },
            since: Some(silent.heard.unwrap_or(silent.begun)),
        })
    }

    /// Seconds until the chain is verified, extrapolated from the last minutes.
    pub(super) fn sync_eta_s(&self) -> Option<u64> {
        let ((then, before), (now, done)) = (*self.progress.front()?, *self.progress.back()?);
        let passed = now.saturating_duration_since(then).as_secs_f64();
        let speed = (done - before) / passed;
        (passed >= 30.0 && speed > 0.0).then(|| ((1.0 - done).max(0.0) / speed) as u64)
    }

    fn heard_progress(&mut self, now: Instant, progress: f64) {
        // The last one is always the newest.
        let since = |place: usize| {
            let at = self.progress.len().checked_sub(place).and_then(|at| self.progress.get(at));
            at.map(|(at, _)| now.saturating_duration_since(*at))
        };
        if since(2).is_some_and(|before_last| before_last < PROGRESS_APART) {
            self.progress.pop_back();
        }
        self.progress.push_back((now, progress));
        if self.progress.len() > PROGRESS_SAMPLES {
            self.progress.pop_front();
        }
    }
}

impl Nodes {
    /// Starts a shell for each node.
    pub(super) fn start(
        configs: &[NodeConfig],
        executor: &Rc<LocalExecutor<'static>>,
        queue: &Sender<Event>,
    ) -> Nodes {
        let mut nodes = Nodes { table: BTreeMap::new(), order: Vec::new(), next_id: 0 };
        nodes.order = configs.iter().map(|config| nodes.add(config, executor, queue)).collect();
        nodes
    }

    /// Their description for [`Failover`](crate::failover::Failover).
    pub(super) fn specs(&self) -> Vec<NodeSpec> {
        self.iter().map(|(id, node)| NodeSpec { id, name: node.config.name.clone() }).collect()
    }

    /// The nodes in the order of preference.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.order.iter().filter_map(|id| Some((*id, self.table.get(id)?)))
    }

    /// One node.
    pub(super) fn get(&self, id: NodeId) -> Option<&Node> {
        self.table.get(&id)
    }

    /// A node's name; also for a node that was removed.
    pub(super) fn name(&self, id: NodeId) -> String {
        self.get(id).map_or_else(|| "a removed node".into(), |node| node.config.name.clone())
    }

    /// The shell of one node.
    pub(super) fn handle(&self, id: NodeId) -> Option<&NodeHandle> {
        self.get(id)?.handle.as_ref()
    }

    /// Starts and stops shells to match the config. A node whose settings did not change keeps its
    /// id and its connections.
    fn reload(
        &mut self,
        configs: &[NodeConfig],
        executor: &Rc<LocalExecutor<'static>>,
        queue: &Sender<Event>,
    ) {
        let mut order = Vec::new();
        for config in configs {
            let same = self.order.iter().copied().find(|id| {
                !order.contains(id) && self.get(*id).is_some_and(|node| node.config == *config)
            });
            order.push(same.unwrap_or_else(|| self.add(config, executor, queue)));
        }
        for id in std::mem::replace(&mut self.order, order) {
            if !self.order.contains(&id)
                && let Some(handle) = self.table.remove(&id).and_then(|node| node.handle)
            {
                handle.stop();
            }
        }
    }

    /// Keeps a connection to a node's P2P port, where the owner wants it. One that was there ends.
    pub(super) fn connect_peer(
        &mut self,
        id: NodeId,
        chain: Chain,
        executor: &Rc<LocalExecutor<'static>>,
        queue: &Sender<Event>,
    ) {
        let Some(node) = self.table.get_mut(&id) else { return };
        let place = node.config.p2p_place(chain);
        node.peer = place.map(|(host, port)| {
            let events = forward(executor, queue, move |event| Event::Peer(id, event));
            let place = PeerAddress { host: PeerHost::read(&host), port };
            PeerHandle::start(executor, place, None, chain, events)
        });
    }

    /// Passes an order on to the connection to a node's P2P port, if there is one.
    pub(super) fn order_peer(&self, id: NodeId, order: Order) {
        if let Some(peer) = self.get(id).and_then(|node| node.peer.as_ref()) {
            peer.give(order);
        }
    }

    fn add(
        &mut self,
        config: &NodeConfig,
        executor: &Rc<LocalExecutor<'static>>,
        queue: &Sender<Event>,
    ) -> NodeId {
        let id = NodeId(self.next_id);
        self.next_id += 1;
        let events = forward(executor, queue, Event::Node);
        let handle = NodeHandle::start(id, config, events, executor)
            .inspect_err(|error| log::error!("node {}: no threads: {error}", config.name))
            .ok();
        let node = Node {
            config: config.clone(),
            handle,
            latest: None,
            answered_at: None,
            rpc_lost: LossView::default(),
            zmq_lost: LossView::default(),
            zmq_heard: false,
            zmq: config.zmq.as_ref().map(|_| ZmqState::Connecting),
            peer: None,
            silence: Silence::new(os::now()),
            silent: false,
            progress: VecDeque::new(),
        };
        self.table.insert(id, node);
        id
    }
}

impl State {
    pub(super) fn node_event(&mut self, now: Now, event: NodeEvent) {
        if self.nodes.get(event.node).is_none() {
            return;
        }
        self.note(now, &event);
        self.engine_input(now, engine::Input::Node(event));
    }

    pub(super) fn peer_event(&mut self, now: Now, node: NodeId, event: p2p::Event) {
        if let (p2p::Event::Tip { hash, .. }, true) = (&event, self.engine.peers().is_own(node)) {
            self.timings.tip(now.mono, *hash);
        }
        self.engine_input(now, engine::Input::Peer(node, event));
    }

    pub(super) fn reload_engine(&mut self, now: Now, old: &Config) {
        if old.nodes_in_use() != self.config.nodes_in_use() {
            self.nodes.reload(self.config.nodes_in_use(), &self.executor, &self.queue);
        }
        // Both boxes of a pair know a miner's session, also where the pair has begun after the start.
        let key = match self.pair.as_ref().and(self.config.pair.code()) {
            Some(code) => SessionKey(code.session_key()),
            None => self.engine.pool().rules().session_key.clone(),
        };
        let settings = super::settings(&self.config, &self.nodes, key);
        self.engine_input(now, engine::Input::Settings(Box::new(settings)));
        if super::chains_of_payees(old) != super::chains_of_payees(&self.config) {
            self.tell_of_unpaid_names(now);
        }
    }

    /// Notes the content of an event, before the engine handles it.
    fn note(&mut self, now: Now, event: &NodeEvent) {
        let Some(node) = self.nodes.table.get_mut(&event.node) else { return };
        match &event.kind {
            NodeEventKind::Template { template, took, parsing } => {
                // The node's clock was read when it made the template, somewhere within the call.
                let made = now.mono.checked_sub(*took).unwrap_or(now.mono);
                node.latest = Some((template.clone(), made));
                node.silence.seen(now, template.prev);
                self.timings.tip(now.mono, template.prev);
                self.timings.template(now.mono, template.prev, *parsing);
            }
            NodeEventKind::Tip { hash, source, .. } => {
                match source {
                    TipSource::Zmq => {
                        node.zmq_heard = true;
                        node.silence.heard(now, *hash);
                    }
                    _ => node.silence.seen(now, *hash),
                }
                self.timings.tip(now.mono, *hash);
            }
            NodeEventKind::Health { report, .. } => match report.initial_download {
                true => {
                    node.heard_progress(now.mono, report.progress);
                    node.silence.downloading();
                }
                false => node.progress.clear(),
            },
            NodeEventKind::Failed { method, error, .. } => {
                log::debug!("node {}: {method:?}: {error}", node.config.name);
                // One that was never there cannot be lost.
                if error.is_silence() && node.answered_at.is_some() {
                    node.rpc_lost.note(false);
                }
                return;
            }
            NodeEventKind::Proposed { verdict: Err(error), .. } => {
                log::debug!("node {}: rehearsal: {error}", node.config.name);
            }
            NodeEventKind::HungUp => return,
            // A publisher's library answers as long as the process exists.
            NodeEventKind::Zmq(state) => {
                let is_there = *state == ZmqState::Connected;
                if is_there || node.zmq == Some(ZmqState::Connected) {
                    node.zmq_lost.note(is_there);
                }
                node.zmq = Some(*state);
                return;
            }
            _ => {}
        }
        node.answered_at = Some(now.mono);
        node.rpc_lost.note(true);
        let alarm = node.zmq_alarm(now);
        if node.silent != alarm.is_some() {
            node.silent = alarm.is_some();
            let over = || format!("ZMQ of node {} answers again.", node.config.name);
            let (level, text) = match alarm {
                Some(alarm) => (Level::Warning, format!("{} {}", alarm.text, alarm.advice)),
                None => (Level::Info, over()),
            };
            self.tell(now, EventKind::Node, level, text);
        }
    }

    pub(super) fn show_status(&self) {
        let miners =
            self.engine.pool().sessions().filter(|s| s.is_mining() && !self.canary.is(s.conn()));
        let miners = miners.count();
        let words = match self.engine.pool().jobs().work() {
            Some(work) => format!(
                "mining block {} on node {}, miners: {miners}",
                work.template.height,
                self.nodes.name(work.node)
            ),
            None if !self.config.is_set_up() => "waiting to be set up on the page".to_string(),
            None => "waiting for a node".to_string(),
        };
        self.systemd.status(&words);
    }
}

/// Passes a node's events into the daemon's queue.
pub(super) fn forward<T: 'static>(
    executor: &LocalExecutor<'static>,
    queue: &Sender<Event>,
    wrap: impl Fn(T) -> Event + 'static,
) -> Sender<T> {
    let (sender, events) = async_channel::unbounded();
    let queue = queue.clone();
    executor
        .spawn(async move {
            while let Ok(event) = events.recv().await {
                if queue.send(wrap(event)).await.is_err() {
                    return;
                }
            }
        })
        .detach();
    sender
}
