//! Every decision of the daemon on the path of a block, as one state machine in virtual time.
//!
//! ```text
//!            ┌─────────────────────── Engine ───────────────────────┐
//!  nodes ──► │ Failover ──► Work ──► Pool ──► Blocks ──► Rehearsals │ ──► effects
//! miners ──► └──────────────────────────────────────────────────────┘
//! ```
//!
//! The shell ([`crate::daemon`], or the simulated world of the tests) hands in what happens, takes
//! one [`Effect`] after the other until there is none, and calls again at
//! [`Engine::next_deadline`], as with quinn-proto's endpoint. It carries the effects out in their
//! order and decides nothing. It hands in at once what it learns meanwhile; the new effects come
//! after those that are left.
//!
//! A miner's bytes are borrowed ([`Engine::received`]), because this is the hot path.

mod blocks;
mod effect;
mod nodes;
mod peers;
pub mod rehearsal;
mod strangers;
#[cfg(test)]
mod tests;
mod work;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crate::block::{NodeAnswer, SolvedBlock, StoredState, submission};
use crate::chain::{BlockHash, Chain};
use crate::clock::Now;
use crate::event::{EventKind, Level};
use crate::failover::{self, Failover, Setup};
use crate::ids::{ConnId, Extranonce1, NodeId, OutsideId};
use crate::job_journal::RestoredJobs;
use crate::node::{Ask, NodeEvent};
use crate::outside::{self, OutsidePeers};
use crate::p2p;
use crate::peer_address::{ListedPeer, PeerAddress};
use crate::pool::{self, Pool};
use crate::settings::{self, Changes, Values};
use crate::signal::Signals;
use crate::stratum::firmware::Saved;
use crate::stratum::frame::{Framing, LineTooLong, Lines};
use crate::stratum::handover::{HandedSession, Unfit};
use crate::stratum::outbox::{Outbox, Output};
use crate::stratum::session::Rules;
use crate::stratum::v2;
use crate::template::Template;

pub use blocks::{Blocks, stored};
pub use effect::{Effect, WorkFrom};
pub use peers::{PeerState, Peers};
use rehearsal::Rehearsals;
use work::Halt;

/// The owner's settings for mining.
#[derive(Debug)]
pub struct Settings {
    /// The nodes, the chains that the payout fits, the grace, and whose rules decide.
    pub setup: Setup,
    /// Who is paid; `None` before the set-up, when no node is asked for work.
    pub payout: Option<Payout>,
    /// The rules for sessions of miners.
    pub rules: Rules,
    /// What is done with nodes of strangers.
    pub outside: outside::Settings,
}

/// What the owner's blocks look like.
#[derive(Clone, Debug, PartialEq)]
pub struct Payout {
    /// The output script.
    pub script: Vec<u8>,
    /// The text in the coinbase.
    pub tag: String,
    /// The version bits that are set and cleared.
    pub signals: Signals,
}

/// What happens.
#[derive(Debug)]
pub enum Input {
    /// A node said or failed to say something.
    Node(NodeEvent),
    /// Something happened on the connection to a node's P2P port.
    Peer(NodeId, p2p::Event),
    /// Something happened on a connection to an outside node.
    Outside(OutsideId, p2p::Event),
    /// Addresses of outside nodes that an earlier run kept. Handed in before anything else.
    KeptAddresses(Vec<PeerAddress>),
    /// In answer to [`Effect::AskSeeds`]: what the DNS seeds told.
    Seeds(Vec<ListedPeer>),
    /// [`Ask::Position`] could not be asked: too many calls to the node are waiting.
    NotAsked {
        /// Which node.
        node: NodeId,
        /// Which block.
        block: BlockHash,
    },
    /// A miner connected. If its extranonce1 is in use, the engine chooses another one.
    Connected {
        /// Its connection; an id is never used twice.
        conn: ConnId,
        /// Its address.
        peer: IpAddr,
        /// A random extranonce1.
        extranonce1: Extranonce1,
    },
    /// A miner's connection ended, and with it all its channels.
    Disconnected(ConnId),
    /// In answer to [`Output::Left`]: all that is to be known of the miner is noted.
    Left(ConnId),
    /// The ledger's data about a worker, in answer to [`Output::Authorized`].
    Known {
        /// Its connection.
        conn: ConnId,
        /// Its difficulty.
        saved: Saved,
    },
    /// A connection's name from now on, in the place of the one that it authorised with.
    Rename {
        /// Its connection.
        conn: ConnId,
        /// The name.
        name: String,
    },
    /// The owner fixes a miner's difficulty, or (`None`) returns it to vardiff.
    Fix {
        /// Its connection.
        conn: ConnId,
        /// The difficulty.
        difficulty: Option<f64>,
    },
    /// The settings were read again.
    Settings(Box<Settings>),
    /// A block of an earlier run, as the spool has it. Handed in before anything else.
    Restored {
        /// The block.
        block: Arc<SolvedBlock>,
        /// Where it stood.
        state: StoredState,
        /// The last answer of each node.
        answers: Vec<NodeAnswer>,
    },
    /// The other box of the pair solved a block.
    Partner(Arc<SolvedBlock>),
    /// What the other box of the pair has given its miners, now that they come here.
    PartnersJobs(Box<RestoredJobs>),
    /// Whether work may be handed out: not while the boxes of a pair do not know whom it pays.
    HandOut(bool),
    /// The half of the extranonces that this box gives away; `None` is all.
    Side(Option<bool>),
    /// A block or its state is on the card, or writing it failed.
    SpoolDone(BlockHash),
    /// [`Effect::Assemble`] is done.
    Assembled {
        /// Hash of the block's header.
        hash: BlockHash,
        /// Its height.
        height: u32,
        /// Its bytes, in hex.
        hex: Arc<str>,
    },
    /// The owner wants to see a rehearsal now.
    Rehearse,
    /// The owner changes a setting on the page.
    Change {
        /// The address that the change came from.
        from: IpAddr,
        /// The change.
        change: settings::Input,
    },
    /// In answer to [`Effect::PayoutDue`]: the values in force.
    InForce(Values),
    /// [`Engine::next_deadline`] has come.
    Tick,
}

/// See the module's description.
#[derive(Debug)]
pub struct Engine {
    setup: Setup,
    payout: Option<Payout>,
    failover: Failover,
    pool: Pool,
    outbox: Outbox,
    /// The latest template of each node, and when it was made.
    latest: BTreeMap<NodeId, (Arc<Template>, Instant)>,
    blocks: Blocks,
    peers: Peers,
    outside: OutsidePeers,
    rehearsals: Rehearsals,
    changes: Changes,
    /// The address that the last change came from: the one that waits, if any does.
    changed_from: Option<IpAddr>,
    /// The text that miners will show next.
    notice: Option<String>,
    /// When miners of the run before are sent away, if there is no work by then.
    work_by: Option<Instant>,
    halt: Halt,
    effects: VecDeque<Effect>,
}

impl Engine {
    /// An engine with its settings, and with the jobs that an earlier run left in memory. For
    /// `first_job_id` see [`Pool::new`].
    pub fn new(
        now: Now,
        settings: Settings,
        first_job_id: u32,
        restored: Option<RestoredJobs>,
    ) -> Engine {
        let Settings { setup, payout, rules, outside } = settings;
        let mut pool = Pool::new(rules, first_job_id);
        if let Some(restored) = restored {
            pool.restore_jobs(now, restored);
        }
        let mut engine = Engine {
            failover: Failover::new(now, setup.clone()),
            setup,
            payout,
            pool,
            outbox: Outbox::new(),
            latest: BTreeMap::new(),
            blocks: Blocks::default(),
            peers: Peers::default(),
            outside: OutsidePeers::default(),
            rehearsals: Rehearsals::default(),
            changes: Changes::new(),
            changed_from: None,
            notice: None,
            work_by: None,
            halt: Halt::default(),
            effects: VecDeque::new(),
        };
        engine.blocks_input(now, submission::Input::Nodes(engine.node_ids()));
        engine.outside_input(now, outside::Input::Settings(outside));
        engine.follow_peers(now);
        engine
    }

    /// Handles one input; the effects follow by [`Engine::next_effect`].
    pub fn handle(&mut self, now: Now, input: Input) {
        self.take(now, input);
        self.say(now);
    }

    fn take(&mut self, now: Now, input: Input) {
        match input {
            Input::Node(event) => self.node_event(now, event),
            Input::Peer(node, event) => self.peer_event(now, node, event),
            Input::Outside(id, event) => self.outside_input(now, outside::Input::Peer(id, event)),
            Input::KeptAddresses(list) => {
                self.outside_input(now, outside::Input::Kept(&list));
            }
            Input::Seeds(list) => self.outside_input(now, outside::Input::Told(&list)),
            Input::NotAsked { node, block } => {
                self.blocks_input(now, submission::Input::NotAsked { node, block });
            }
            Input::Connected { conn, peer, extranonce1 } => {
                self.pool_input(now, pool::Input::Connect { conn, peer, extranonce1 });
            }
            Input::Disconnected(conn) => self.pool_input(now, pool::Input::Closed { conn }),
            Input::Left(conn) => self.pool_input(now, pool::Input::Left { conn }),
            Input::Rename { conn, name } => {
                self.pool_input(now, pool::Input::Rename { conn, name });
            }
            Input::Known { conn, saved } => {
                self.pool_input(now, pool::Input::Saved { conn, saved });
            }
            Input::Fix { conn, difficulty } => {
                self.pool_input(now, pool::Input::Fix { conn, difficulty });
            }
            Input::Settings(settings) => self.reload(now, *settings),
            Input::Restored { block, state, answers } => {
                self.restored(now, block, state, answers);
            }
            Input::Partner(block) => self.solved_by_partner(now, block),
            Input::PartnersJobs(copied) => self.take_partners(now, *copied),
            Input::HandOut(hands_out) => self.hand_out(now, hands_out),
            Input::Side(side) => self.pool_input(now, pool::Input::Side(side)),
            Input::SpoolDone(block) => self.answer_held(|held| held.block == block),
            Input::Assembled { hash, height, hex } => self.propose(now, hash, height, &hex),
            Input::Rehearse => self.rehearse_at_once(now),
            Input::Change { from, change } => {
                self.changed_from = Some(from);
                self.change(now, change);
            }
            Input::InForce(current) => self.change(now, settings::Input::Tick { current }),
            Input::Tick => self.tick(now),
        }
    }

    /// Goes on with a miner's session of the run before, on its connection. If no work comes within the
    /// grace, it is sent away as in an outage.
    ///
    /// # Errors
    /// It cannot go on: close the connection.
    pub fn take_up(
        &mut self,
        now: Now,
        conn: ConnId,
        peer: IpAddr,
        handed: HandedSession,
    ) -> Result<(), Unfit> {
        self.pool.take_up(now, conn, peer, handed)?;
        self.work_by.get_or_insert(now.mono + self.setup.grace);
        self.remember();
        Ok(())
    }

    /// Takes bytes from a miner; `framing` has what came before.
    ///
    /// # Errors
    /// A line is too long: close the connection.
    pub fn received(
        &mut self,
        now: Now,
        conn: ConnId,
        framing: &mut Framing,
        chunk: &[u8],
    ) -> Result<(), LineTooLong> {
        let result = match framing {
            Framing::Lines(lines) => self.lines(now, conn, lines, chunk),
            Framing::Frames => {
                self.frames(now, conn, chunk);
                Ok(())
            }
        };
        self.settle(now);
        self.say(now);
        result
    }

    fn lines(
        &mut self,
        now: Now,
        conn: ConnId,
        lines: &mut Lines,
        mut chunk: &[u8],
    ) -> Result<(), LineTooLong> {
        while let Some(line) = lines.next(&mut chunk)? {
            self.pool.line(now, conn, line, &mut self.outbox);
        }
        Ok(())
    }

    fn frames(&mut self, now: Now, conn: ConnId, mut frames: &[u8]) {
        while let Some(frame) = v2::frame::next(&mut frames) {
            self.pool.frame(now, conn, &frame, &mut self.outbox);
        }
        self.pool.answer(conn, &mut self.outbox);
    }

    /// The next effect to carry out; `None` when there is none.
    pub fn next_effect(&mut self) -> Option<Effect> {
        let effect = self.effects.pop_front();
        if effect.is_none() {
            self.outbox.clear();
        }
        effect
    }

    /// The bytes of an [`Output::Send`]. They are valid until all effects are taken.
    pub fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.outbox.bytes(range)
    }

    /// When [`Input::Tick`] is due. May be early, never late.
    pub fn next_deadline(&self) -> Option<Instant> {
        [
            self.outside.next_deadline(),
            self.failover.next_deadline(),
            self.pool.next_deadline(),
            self.blocks.next_deadline(),
            self.rehearsals.next_deadline(),
            self.changes.next_deadline(),
            self.work_by,
            self.halt.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Which node leads, and how each is.
    pub fn failover(&self) -> &Failover {
        &self.failover
    }

    /// The miners and their jobs.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The solved blocks that are not final.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// The connections to the nodes' P2P ports.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// The nodes' answers to the block that we would submit.
    pub fn rehearsals(&self) -> &Rehearsals {
        &self.rehearsals
    }

    /// The owner's changes on the page: which one waits, and whether it can be undone.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The nodes in the order of preference.
    pub fn node_ids(&self) -> Vec<NodeId> {
        self.setup.nodes.iter().map(|node| node.id).collect()
    }

    /// The chain that the nodes are on: the leader's, if it is known.
    pub fn chain(&self, now: Now) -> Option<Chain> {
        let leader = self.failover.leader();
        let mut reports = self
            .failover
            .nodes(now.mono)
            .filter_map(|node| Some((Some(node.id) == leader, node.health?.0.chain.clone())));
        let first = reports.next()?;
        let (_, name) = if first.0 { first } else { reports.find(|r| r.0).unwrap_or(first) };
        Chain::from_name(&name)
    }

    fn tick(&mut self, now: Now) {
        let due = |at: Option<Instant>| at.is_some_and(|at| now.mono >= at);
        if due(self.failover.next_deadline()) {
            self.failover_input(now, failover::Input::Tick);
        }
        if due(self.pool.next_deadline()) {
            self.pool_input(now, pool::Input::Tick);
        }
        if due(self.blocks.next_deadline()) {
            self.answer_held(|held| now.mono >= held.until);
            self.blocks_input(now, submission::Input::Tick);
        }
        if due(self.outside.next_deadline()) {
            self.outside_input(now, outside::Input::Tick);
        }
        if due(self.rehearsals.next_deadline()) {
            self.rehearse(now);
        }
        if due(self.halt.deadline()) {
            self.send_away(now);
        }
        if due(self.work_by) {
            self.work_by = None;
            if !self.pool.is_open() {
                self.pool_input(now, pool::Input::NoWork);
            }
        }
        if due(self.changes.next_deadline()) {
            self.effects.push_back(Effect::PayoutDue);
        }
    }

    fn change(&mut self, now: Now, change: settings::Input) {
        let mut outputs = Vec::new();
        self.changes.handle(now, change, &mut outputs);
        let Some(from) = self.changed_from else { return };
        for output in outputs {
            self.effects.push_back(match output {
                settings::Output::Apply(values) => Effect::Apply { from, values: Box::new(values) },
                settings::Output::Section(change) => {
                    Effect::ApplySection { from, change: Box::new(change) }
                }
                settings::Output::Audit(text) => Effect::Audit { from, text },
            });
        }
    }

    fn reload(&mut self, now: Now, settings: Settings) {
        let Settings { setup, payout, rules, outside } = settings;
        self.latest.retain(|id, _| setup.nodes.iter().any(|node| node.id == *id));
        self.setup = setup.clone();
        self.failover_input(now, failover::Input::Reload(setup));
        self.blocks_input(now, submission::Input::Nodes(self.node_ids()));
        self.outside_input(now, outside::Input::Settings(outside));
        self.follow_peers(now);
        let pays_others = rules.payee_chains != self.pool.rules().payee_chains;
        if rules != *self.pool.rules() {
            self.pool_input(now, pool::Input::Rules(Box::new(rules)));
        }
        if payout != self.payout || pays_others {
            self.payout = payout;
            self.renew_work(now);
        }
    }

    /// The other box's miners come: what they found for jobs of it is judged here.
    fn take_partners(&mut self, now: Now, copied: RestoredJobs) {
        let is_known = self.pool.jobs().has_any_partners();
        let (level, text) = match self.pool.take_partners(now, copied) {
            Ok(_) if is_known => return,
            Ok(jobs) => {
                let text = format!(
                    "Miners of the other box come here: what they found for its {jobs} jobs counts."
                );
                (Level::Info, text)
            }
            Err(why) => {
                let text = format!("Shares for jobs of the other box do not count here: {why}.");
                (Level::Warning, text)
            }
        };
        self.tell(EventKind::System, level, text);
    }

    fn pool_input(&mut self, now: Now, input: pool::Input) {
        self.pool.handle(now, input, &mut self.outbox);
        self.settle(now);
    }

    /// Turns the pool's outputs into effects, in their order: a block comes before its
    /// consequences.
    fn settle(&mut self, now: Now) {
        let mut solved = None;
        let mut outputs = self.outbox.take();
        // Jobs are remembered before miners get them, so that a kill loses none. Only a block comes
        // first.
        if !outputs.iter().any(|output| matches!(output, Output::Block(_))) {
            self.remember();
        }
        for output in outputs.drain(..) {
            match output {
                Output::Block(block) => solved = self.solved(now, block),
                Output::Send { conn, bytes } if let Some(block) = solved.take() => {
                    // "true" for a block promises that it survives a crash of ours.
                    let bytes = self.outbox.bytes(&bytes).to_vec();
                    self.blocks.hold_answer(now, block, conn, bytes);
                }
                output => self.effects.push_back(Effect::Pool(output)),
            }
        }
        self.outbox.give_back(outputs);
        self.remember();
    }

    /// Hands out the jobs that a restart must not lose.
    fn remember(&mut self) {
        let job_records: Vec<_> = self.pool.job_records().collect();
        if !job_records.is_empty() {
            self.effects.push_back(Effect::Remember(job_records));
        }
        let news = self.pool.news();
        self.effects.extend(news.map(Effect::SessionChanged));
    }

    /// Shows the newest message on the miners.
    fn say(&mut self, now: Now) {
        if let Some(text) = self.notice.take() {
            self.pool_input(now, pool::Input::Say(text));
        }
    }

    fn tell(&mut self, kind: EventKind, level: Level, text: String) {
        self.effects.push_back(Effect::Tell { kind, level, text });
    }

    fn ask(&mut self, node: NodeId, ask: Ask) {
        self.effects.push_back(Effect::Ask { node, ask });
    }

    /// A node's name; also for a node that was removed.
    fn name(&self, id: NodeId) -> String {
        let node = self.setup.nodes.iter().find(|node| node.id == id);
        node.map_or_else(|| "a removed node".into(), |node| node.name.clone())
    }
}
