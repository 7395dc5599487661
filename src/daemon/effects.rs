//! Carries out the engine's effects: at the nodes, at the miners' sockets, on the card, in the
//! ledger and on the page.

use std::time::Instant;

use crate::clock::Now;
use crate::engine::{Effect, Input, WorkFrom, stored};
use crate::ids::{ConnId, NodeId};
use crate::ledger::record::Dent;
use crate::ledger::totals::LedgerEvent;
use crate::node::Ask;
use crate::share::Candidate;
use crate::stratum::outbox::Output;

use super::admin::ToApply;
use super::ledger::CountedShare;
use super::{Event, State};

impl State {
    pub(super) fn engine_input(&mut self, now: Now, input: Input) {
        self.engine.handle(now, input);
        self.carry_out(now);
    }

    pub(super) fn tick_engine(&mut self, now: Now) {
        if self.engine.next_deadline().is_some_and(|at| now.mono >= at) {
            self.engine_input(now, Input::Tick);
        }
    }

    /// Carries out all effects in their order. Inputs that they cause go to the engine at once; the
    /// new effects come after those that are left.
    pub(super) fn carry_out(&mut self, now: Now) {
        while let Some(effect) = self.engine.next_effect() {
            self.effect(now, effect);
        }
    }

    fn effect(&mut self, now: Now, effect: Effect) {
        match effect {
            Effect::Ask { node, ask } => self.ask(now, node, ask),
            Effect::Submit { node, block, urgency } => {
                if let Some(handle) = self.nodes.handle(node) {
                    handle.submit(block.hash, self.blocks.hex(&block), urgency);
                }
            }
            Effect::PeerConnect { node, chain } => {
                self.nodes.connect_peer(node, chain, &self.executor, &self.queue);
            }
            Effect::Peer { node, order } => self.nodes.order_peer(node, order),
            Effect::OutsideConnect { id, address, chain } => {
                self.connect_outside(id, &address, chain);
            }
            Effect::Outside { id, order } => self.outside.order(id, order),
            Effect::OutsideDrop(id) => self.outside.drop(id),
            Effect::AskSeeds(chain) => self.ask_seeds(chain),
            Effect::KeepAddresses { chain, list } => self.outside.keep(chain, &list),
            Effect::Pool(output) => self.pool_output(now, output),
            Effect::SendHeld { conn, bytes } => self.send_held(now, conn, &bytes),
            Effect::Remember(job_records) => {
                self.job_file.keep(now, job_records);
                self.own_jobs_grew(now);
            }
            Effect::SessionChanged(conn) => self.session_changed(now, conn),
            Effect::Work(from) => self.work_begins(from),
            Effect::WorkSent(from) => self.work_sent(now, from),
            Effect::Open => {
                self.ledger_event(now, LedgerEvent::OutageOver);
                self.server.open();
                self.show_status();
            }
            Effect::Shut(_) => {
                let (kind, about) = (Dent::Outage, String::new());
                self.ledger_event(now, LedgerEvent::Dent { kind, about });
                self.server.shut();
                self.show_status();
            }
            Effect::Lead { node, from, why } => {
                self.counters.failovers += u64::from(from.is_some());
                if from.is_some() {
                    let (kind, about) = (Dent::Failover, self.nodes.name(node));
                    self.ledger_event(now, LedgerEvent::Dent { kind, about });
                }
                log::info!("node {} leads: {why}", self.nodes.name(node));
            }
            Effect::ClockSet { node, by } => {
                let whose = node.map(|node| format!("node {}", self.nodes.name(node)));
                let whose = whose.as_deref().unwrap_or("this box");
                log::info!("the clock of {whose} was set: it moved by {by} s");
            }
            Effect::Answered { block, node, words } => self.keep_answer(now, block, node, words),
            Effect::Stands { block, state } => {
                self.keep_state(now, &block, stored(&state));
            }
            Effect::Final(block) => {
                self.blocks.drop_hex(block);
                self.final_in_pair(now, block);
            }
            Effect::Assemble(candidate) => self.put_together(*candidate),
            Effect::Apply { from, values } => {
                self.owner.to_apply.push((from, ToApply::Values(*values)));
            }
            Effect::ApplySection { from, change } => {
                self.owner.to_apply.push((from, ToApply::Section(*change)));
            }
            Effect::Audit { from, text } => self.audit(now, from, &text),
            Effect::PayoutDue => {
                let current = self.values().without_passwords();
                self.engine.handle(now, Input::InForce(current));
            }
            Effect::Tell { kind, level, text } => self.tell(now, kind, level, text),
        }
    }

    fn pool_output(&mut self, now: Now, output: Output) {
        match output {
            Output::Block(block) => self.keep_solved(now, &block),
            Output::Send { conn, bytes } => {
                let bytes = self.engine.bytes(&bytes);
                self.server.send(conn, bytes);
                self.timings.first_send.get_or_insert_with(Instant::now);
                if self.recording.is_some() {
                    let bytes = bytes.to_vec();
                    self.overhear_us(now, conn, &bytes);
                }
            }
            Output::Close { conn, why } => self.close_miner(now, conn, why),
            Output::Left { conn } => {
                self.miner_left(now, conn, "it closed its channel");
                self.engine.handle(now, Input::Left(conn));
            }
            Output::Authorized { conn } => self.authorized(now, conn),
            Output::Share { conn, credited, reached, height } => {
                self.share_counted(now, conn, CountedShare { credited, reached, height });
            }
            Output::Rejected { conn, why, reached } => {
                self.share_rejected(now, conn, &why, reached);
            }
        }
    }

    fn ask(&mut self, now: Now, node: NodeId, ask: Ask) {
        let Some(handle) = self.nodes.handle(node) else { return };
        if let Ask::Template(why) = ask {
            log::debug!("node {}: fetching a template: {why:?}", self.nodes.name(node));
            self.timings.requested(Instant::now());
        }
        // Whether there was a place for it matters where nobody asks again.
        let position = if let Ask::Position { block, .. } = ask { Some(block) } else { None };
        if !handle.ask(ask)
            && let Some(block) = position
        {
            self.engine.handle(now, Input::NotAsked { node, block });
        }
    }

    fn send_held(&mut self, now: Now, conn: ConnId, bytes: &[u8]) {
        self.server.send(conn, bytes);
        self.overhear_us(now, conn, bytes);
    }

    fn work_begins(&mut self, from: WorkFrom) {
        self.counters.jobs += 1;
        match from {
            WorkFrom::Template { new_tip } => {
                self.counters.templates += 1;
                self.counters.tips += u64::from(new_tip);
            }
            WorkFrom::Tip | WorkFrom::Settings => {}
        }
        self.timings.job_begins(Instant::now());
    }

    fn work_sent(&mut self, now: Now, from: WorkFrom) {
        let Some(work) = self.engine.pool().jobs().work() else { return };
        let (tip, height, sent) = (work.template.prev, work.template.height, Instant::now());
        if self.engine.pool().sessions().next().is_some() {
            self.timings.job_sent(sent, tip);
        }
        match from {
            WorkFrom::Template { new_tip: true } => {
                self.timings.served(sent, tip);
                log::info!(
                    "new tip at {}: now mining {height} from node {}, {} transactions",
                    height - 1,
                    self.nodes.name(work.node),
                    work.template.txs.len()
                );
                let difficulty = work.template.target.difficulty().0;
                self.ledger_event(now, LedgerEvent::Network { difficulty });
            }
            WorkFrom::Tip => {
                self.timings.served(sent, tip);
                log::info!("new tip {tip}: an empty block on it until the node's template comes");
            }
            WorkFrom::Template { new_tip: false } | WorkFrom::Settings => {}
        }
        self.show_status();
    }

    /// Assembles a rehearsal's block on a pool thread.
    fn put_together(&self, candidate: Candidate) {
        let queue = self.queue.clone();
        blocking::unblock(move || {
            let hex = faster_hex::hex_string(&candidate.bytes()).into();
            let Candidate { hash, height, .. } = candidate;
            queue.send_blocking(Event::Assembled { hash, height, hex }).ok();
        })
        .detach();
    }
}
