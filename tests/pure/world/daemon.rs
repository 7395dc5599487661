//! The daemon's engine without its shell: what it wants done to sockets, threads and files is written
//! down as [`Want`]s.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use soloist::block::submission::BlockState;
use soloist::block::{SolvedBlock, StoredState};
use soloist::chain::{BlockHash, Chain};
use soloist::clock::Now;
use soloist::engine::{Effect, Engine, Input, Payout, Settings, WorkFrom, stored};
use soloist::event::EventKind;
use soloist::failover::{self, Follow, GateWhy, LeadWhy, NodeSpec, Setup};
use soloist::ids::{ConnId, Extranonce1, NodeId, OutsideId};
use soloist::node::{Ask, NodeEvent};
use soloist::outside;
use soloist::p2p;
use soloist::peer_address::{ListedPeer, PeerAddress};
use soloist::priority_queue::Urgency;
use soloist::reject::Reject;
use soloist::signal::Signals;
use soloist::stratum::firmware::Saved;
use soloist::stratum::frame::Framing;
use soloist::stratum::outbox::{CloseReason, Output};
use soloist::stratum::session::{Rules, SessionKey};

/// What the shells are to do.
#[derive(Debug)]
pub enum Want {
    Ask(NodeId, Ask),
    Submit(NodeId, Arc<SolvedBlock>, Urgency),
    Send(ConnId, Vec<u8>),
    Close(ConnId, CloseReason),
    /// A block that is news.
    Solved(Arc<SolvedBlock>),
    Counted,
    Refused(Reject),
    Gated(GateWhy),
    Ungated,
    Lead {
        first: bool,
        why: LeadWhy,
    },
    /// New work went out to all.
    Work {
        new_tip: bool,
        empty: bool,
    },
    BlockState(BlockHash, BlockState),
    PeerConnect(NodeId),
    Peer(NodeId, p2p::Order),
    OutsideConnect {
        id: OutsideId,
        address: PeerAddress,
        chain: Chain,
    },
    Outside(OutsideId, p2p::Order),
    OutsideDrop(OutsideId),
    AskSeeds(Chain),
    /// Addresses of strangers are written to the card.
    Keep(Chain, Vec<PeerAddress>),
    /// The owner is told something of the nodes.
    Told(String),
}

/// The owner's settings.
pub struct Wishes {
    pub follow: Follow,
    pub chain: Chain,
    pub outside: outside::Settings,
}

/// The owner's script: P2WPKH of nobody.
const PAYOUT: [u8; 22] = [0, 20, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7];

/// The engine, and what its shell remembers.
pub struct Daemon {
    pub engine: Engine,
    /// Difficulties to remember, by worker; in truth the ledger's.
    levels: BTreeMap<String, f64>,
    /// Addresses of strangers, as they are on the card.
    kept: Vec<PeerAddress>,
    wants: Vec<Want>,
    /// The next deadline, as long as nothing was handed in since it was asked for.
    deadline: Option<Option<Instant>>,
    pub largest_outbox: usize,
}

/// What a restart finds on the card.
#[derive(Default)]
pub struct Card {
    pub levels: BTreeMap<String, f64>,
    pub spool: Vec<(Arc<SolvedBlock>, StoredState)>,
    pub kept: Vec<PeerAddress>,
}

impl Daemon {
    pub fn new(
        now: Now,
        nodes: &[NodeId],
        wishes: Wishes,
        first_job_id: u32,
        card: Card,
    ) -> Daemon {
        let setup = Setup {
            nodes: nodes
                .iter()
                .map(|id| NodeSpec { id: *id, name: format!("n{}", id.0) })
                .collect(),
            chains: vec![wishes.chain],
            grace: failover::DEFAULT_GRACE,
            follow: wishes.follow,
        };
        let rules = Rules {
            session_key: SessionKey([7; 32]),
            password: None,
            overrides: Vec::new(),
            payee_chains: Vec::new(),
        };
        let payout = Payout {
            script: PAYOUT.to_vec(),
            tag: "/Soloist/world/".to_owned(),
            signals: Signals::default(),
        };
        let outside = wishes.outside;
        let settings = Settings { setup, payout: Some(payout), rules, outside };
        let mut daemon = Daemon {
            engine: Engine::new(now, settings, first_job_id, None),
            levels: card.levels,
            kept: card.kept.clone(),
            wants: Vec::new(),
            deadline: None,
            largest_outbox: 0,
        };
        if !card.kept.is_empty() {
            daemon.hand_in(now, Input::KeptAddresses(card.kept));
        }
        for (block, state) in card.spool {
            daemon.hand_in(now, Input::Restored { block, state, answers: Vec::new() });
        }
        daemon.tick(now);
        daemon
    }

    /// What a power cut leaves: the spool is written with each block and with each state.
    pub fn card(&self) -> Card {
        let blocks = self.engine.blocks().iter();
        let spool = blocks.map(|(block, state)| (block.clone(), stored(state))).collect();
        Card { levels: self.levels.clone(), spool, kept: self.kept.clone() }
    }

    pub fn wants(&mut self) -> Vec<Want> {
        std::mem::take(&mut self.wants)
    }

    /// What is wanted and was not taken yet.
    pub fn pending(&self) -> &[Want] {
        &self.wants
    }

    pub fn next_deadline(&mut self) -> Option<Instant> {
        *self.deadline.get_or_insert_with(|| self.engine.next_deadline())
    }

    pub fn tick(&mut self, now: Now) {
        if self.next_deadline().is_some_and(|at| now.mono >= at) {
            self.hand_in(now, Input::Tick);
        }
    }

    pub fn node_event(&mut self, now: Now, event: NodeEvent) {
        self.hand_in(now, Input::Node(event));
    }

    pub fn peer_event(&mut self, now: Now, node: NodeId, event: p2p::Event) {
        self.hand_in(now, Input::Peer(node, event));
    }

    pub fn outside_event(&mut self, now: Now, id: OutsideId, event: p2p::Event) {
        self.hand_in(now, Input::Outside(id, event));
    }

    pub fn seeds(&mut self, now: Now, list: Vec<ListedPeer>) {
        self.hand_in(now, Input::Seeds(list));
    }

    pub fn connect(&mut self, now: Now, conn: ConnId, peer: std::net::IpAddr, random: [u8; 4]) {
        let extranonce1 = Extranonce1(random);
        self.hand_in(now, Input::Connected { conn, peer, extranonce1 });
    }

    /// Bytes from a miner. False when they cannot be read.
    pub fn received(&mut self, now: Now, conn: ConnId, lines: &mut Framing, chunk: &[u8]) -> bool {
        let fine = self.engine.received(now, conn, lines, chunk).is_ok();
        self.carry_out(now);
        fine
    }

    pub fn closed(&mut self, now: Now, conn: ConnId) {
        if let Some(session) = self.engine.pool().session(conn)
            && let Some((name, level)) = session.worker().zip(session.proven_difficulty())
        {
            self.levels.insert(name.to_owned(), level);
        }
        self.hand_in(now, Input::Disconnected(conn));
    }

    fn hand_in(&mut self, now: Now, input: Input) {
        self.engine.handle(now, input);
        self.carry_out(now);
    }

    fn carry_out(&mut self, now: Now) {
        self.deadline = None;
        while let Some(effect) = self.engine.next_effect() {
            if let Some(want) = self.want(now, effect) {
                self.wants.push(want);
            }
        }
    }

    fn want(&mut self, now: Now, effect: Effect) -> Option<Want> {
        Some(match effect {
            Effect::Ask { node, ask } => Want::Ask(node, ask),
            Effect::Pool(output) => return self.pool_want(now, output),
            Effect::Submit { node, block, urgency } => Want::Submit(node, block, urgency),
            Effect::SendHeld { conn, bytes } => Want::Send(conn, bytes),
            Effect::WorkSent(from) => Want::Work {
                new_tip: matches!(from, WorkFrom::Template { new_tip: true } | WorkFrom::Tip),
                empty: from == WorkFrom::Tip,
            },
            Effect::Open => Want::Ungated,
            Effect::Shut(why) => Want::Gated(why),
            Effect::Lead { from, why, .. } => Want::Lead { first: from.is_none(), why },
            Effect::Stands { block, state } => Want::BlockState(block.hash, state),
            Effect::Assemble(candidate) => {
                let (hash, height) = (candidate.hash, candidate.height);
                let hex = faster_hex::hex_string(&candidate.bytes()).into();
                self.engine.handle(now, Input::Assembled { hash, height, hex });
                return None;
            }
            Effect::PeerConnect { node, .. } => Want::PeerConnect(node),
            Effect::Peer { node, order } => Want::Peer(node, order),
            Effect::OutsideConnect { id, address, chain } => {
                Want::OutsideConnect { id, address, chain }
            }
            Effect::Outside { id, order } => Want::Outside(id, order),
            Effect::OutsideDrop(id) => Want::OutsideDrop(id),
            Effect::AskSeeds(chain) => Want::AskSeeds(chain),
            Effect::KeepAddresses { chain, list } => {
                self.kept.clone_from(&list);
                Want::Keep(chain, list)
            }
            Effect::Tell { kind: EventKind::Node, text, .. } => Want::Told(text),
            Effect::Remember(_)
            | Effect::SessionChanged(_)
            | Effect::Work(_)
            | Effect::ClockSet { .. }
            | Effect::Answered { .. }
            | Effect::Final(_)
            | Effect::Apply { .. }
            | Effect::ApplySection { .. }
            | Effect::Audit { .. }
            | Effect::PayoutDue
            | Effect::Tell { .. } => return None,
        })
    }

    fn pool_want(&mut self, now: Now, output: Output) -> Option<Want> {
        Some(match output {
            Output::Block(block) => {
                // Written in no time.
                self.engine.handle(now, Input::SpoolDone(block.hash));
                Want::Solved(block)
            }
            Output::Send { conn, bytes } => {
                self.largest_outbox = self.largest_outbox.max(bytes.end);
                Want::Send(conn, self.engine.bytes(&bytes).to_vec())
            }
            Output::Close { conn, why } => Want::Close(conn, why),
            Output::Authorized { conn } => {
                let session = self.engine.pool().session(conn)?;
                let difficulty = *self.levels.get(session.worker()?)?;
                let saved = Saved::Level { difficulty, wish: None };
                self.engine.handle(now, Input::Known { conn, saved });
                return None;
            }
            Output::Left { conn } => {
                self.engine.handle(now, Input::Left(conn));
                return None;
            }
            Output::Share { .. } => Want::Counted,
            Output::Rejected { why, .. } => Want::Refused(why),
        })
    }
}
