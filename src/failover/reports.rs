//! Handles the reports of nodes: results become facts, failures become states.

use std::time::{Duration, Instant};

use super::io::{Event, Output};
use super::node::{Failure, HeldTemplate, Tier, Waiting};
use super::stats::ErrorKind;
use super::tips::Place;
use super::watch::Waits;
use super::{
    FETCH_RETRY, Failover, HEALTH_EVERY, LONGEST_PAUSE, PERMISSIONS_EVERY, PERMISSIONS_GAP, WAIT,
};
use crate::chain::{BlockHash, Chain};
use crate::node::{
    HealthReport, Method, NodeEventKind, RpcError, TipHeader, TipSource, permissions,
};
use crate::template::Template;

impl Failover {
    pub(super) fn hear(
        &mut self,
        at: Instant,
        index: usize,
        news: NodeEventKind,
        out: &mut Vec<Output>,
    ) {
        match news {
            NodeEventKind::Template { template, took, .. } => {
                self.template(at, index, &template, took, out)
            }
            NodeEventKind::Tip { hash, height, source, took } => {
                self.tip(at, index, (hash, source), took, out);
                if let Some(height) = height {
                    self.tips.learn(hash, height, None);
                }
            }
            NodeEventKind::Header { hash, header } => {
                self.succeeded(at, index, Method::GetBlockHeader, None, out);
                self.nodes[index].header.answered(hash, header.median_time);
                self.tips.learn(hash, header.height, None);
            }
            NodeEventKind::WaitTried(outcome) => {
                if outcome.is_ok() {
                    self.alive(at, index, out);
                }
                self.nodes[index].wait_tried(at, &outcome);
            }
            // It may have ended what was idle, or be another process when it answers next.
            NodeEventKind::HungUp => {
                let node = &mut self.nodes[index];
                node.poll.due = at;
                node.waits = Waits::default();
            }
            NodeEventKind::Health { report, took } => self.health(at, index, *report, took, out),
            NodeEventKind::ChainTips { refused, took } => {
                self.succeeded(at, index, Method::GetChainTips, Some(took), out);
                self.hear_refused(index, refused);
            }
            NodeEventKind::BlocksAt { blocks, took } => {
                self.succeeded(at, index, Method::GetBlockHash, Some(took), out);
                self.hear_blocks(at, index, &blocks, out);
            }
            NodeEventKind::Addresses { took, .. } => {
                self.succeeded(at, index, Method::GetNodeAddresses, Some(took), out);
            }
            NodeEventKind::Permissions { permissions, took } => {
                self.nodes[index].permit.sent = None;
                self.succeeded(at, index, Method::Permissions, Some(took), out);
                self.permissions_heard(index, permissions, out);
            }
            NodeEventKind::Failed { method, error, .. } => {
                self.failed(at, index, method, &error, out)
            }
            NodeEventKind::Submitted { answer, took, .. } => match answer {
                Ok(_) => self.succeeded(at, index, Method::SubmitBlock, Some(took), out),
                Err(error) => self.failed(at, index, Method::SubmitBlock, &error, out),
            },
            NodeEventKind::Proposed { verdict, .. } => match verdict {
                Ok(_) => self.succeeded(at, index, Method::Proposal, None, out),
                Err(error) => self.failed(at, index, Method::Proposal, &error, out),
            },
            NodeEventKind::Position { answer: Err(error), .. } => {
                self.failed(at, index, Method::GetBlockHeader, &error, out)
            }
            NodeEventKind::Position { answer: Ok(_), .. } | NodeEventKind::Zmq(_) => {}
        }
    }

    /// A tip by ZMQ or by a poll.
    fn tip(
        &mut self,
        at: Instant,
        index: usize,
        (hash, source): (BlockHash, TipSource),
        took: Duration,
        out: &mut Vec<Output>,
    ) {
        let method = match source {
            TipSource::Poll => Method::GetBestBlockHash,
            TipSource::Wait => Method::WaitForNewBlock,
            TipSource::Zmq | TipSource::P2p | TipSource::Template => {
                self.alive(at, index, out);
                self.tip_announced(at, index, hash, source);
                return;
            }
        };
        let sent = self.nodes[index].poll.sent.take();
        // A call that waits takes as long as nothing happens, which says nothing of the node.
        let latency = (source == TipSource::Poll).then_some(took);
        self.succeeded(at, index, method, latency, out);
        let node = &mut self.nodes[index];
        if source == TipSource::Wait && node.tip == Some(hash) && took < WAIT / 2 {
            // It does not wait, whatever it is: nothing is gained by asking it without a pause.
            node.waits = Waits::Refused;
        }
        // What a waiting call says, it says at its end, not when it was sent.
        let sent = if source == TipSource::Wait && sent.is_some() { Some(at) } else { sent };
        if node.tip == Some(hash) || node.is_later_news(sent) {
            self.tip_news(at, index, hash, source);
        } else {
            // Asked before the latest news and answered after it: ask again.
            node.poll.due = at;
        }
    }

    /// A tip that the node announced by itself.
    fn tip_announced(&mut self, at: Instant, index: usize, hash: BlockHash, source: TipSource) {
        let node = &mut self.nodes[index];
        if node.tip.is_some_and(|tip| tip != hash) && node.has_held(hash) {
            // Late news, or the node went back to a former tip: the poll tells.
            node.poll.due = at;
        } else {
            self.tip_news(at, index, hash, source);
        }
    }

    /// A tip by the node's P2P port. With its header in hand, an empty job on it needs no call.
    pub(super) fn announced(
        &mut self,
        at: Instant,
        index: usize,
        hash: BlockHash,
        header: Option<TipHeader>,
    ) {
        self.nodes[index].peer_tip = Some((hash, header));
        self.tip_announced(at, index, hash, TipSource::P2p);
        if let Some(header) = header {
            self.nodes[index].header.known(hash, header.median_time);
            self.tips.learn(hash, header.height, None);
        }
    }

    fn template(
        &mut self,
        at: Instant,
        index: usize,
        template: &Template,
        took: Duration,
        out: &mut Vec<Output>,
    ) {
        let sent = self.nodes[index].fetch.sent.take();
        self.succeeded(at, index, Method::GetBlockTemplate, Some(took), out);
        self.nodes[index].remember_duration(took);
        // The template was made somewhere within the call.
        self.note_template_time(index, template, at.checked_sub(took).unwrap_or(at), out);
        // The tip's height is one less than that of the block to be mined.
        let height = u64::from(template.height).saturating_sub(1);
        let tip_height = self.nodes[index].tip.and_then(|tip| self.tips.height(tip));
        let node = &mut self.nodes[index];
        if !node.checked || node.wrong_chain.is_some() {
            return;
        }
        node.waiting = None;
        node.waiting_said = false;
        node.template_error = None;
        node.fetch_after = None;
        node.template_failures = 0;
        let is_new =
            !node.has_held(template.prev) && tip_height.is_none_or(|before| height > before);
        if node.tip != Some(template.prev) && !node.is_later_news(sent) && !is_new {
            // It was under way when the tip changed: the node has moved on since, or has gone back
            // (then the poll tells).
            node.poll.due = at;
            return;
        }
        node.template = Some(HeldTemplate { prev: template.prev, at, served: false });
        self.tip_news(at, index, template.prev, TipSource::Template);
        self.tips.learn(template.prev, height, None);
    }

    fn health(
        &mut self,
        at: Instant,
        index: usize,
        report: HealthReport,
        took: Duration,
        out: &mut Vec<Output>,
    ) {
        let sent = self.nodes[index].ask.sent.take();
        self.succeeded(at, index, Method::Health, Some(took), out);
        self.check_chain(index, &report, out);
        if !self.nodes[index].checked {
            self.want_permissions(at, index, PERMISSIONS_GAP);
        }
        let node = &mut self.nodes[index];
        node.checked = true;
        let blocks_before = node.health.as_ref().map(|(report, _)| report.blocks);
        if report.headers <= report.blocks {
            node.headers_ahead_since = None;
        } else if node.headers_ahead_since.is_none() || blocks_before != Some(report.blocks) {
            node.headers_ahead_since = Some(at);
        }
        node.health = Some((report.clone(), at));
        if node.wrong_chain.is_some() {
            node.waiting = None;
            return;
        }
        if report.initial_download && node.is_main() {
            // Bitcoin Core gives no template on the main network in this state; on test networks
            // it does.
            // Without a peer the download stands still.
            let why = match node.has_no_peers() {
                true => Waiting::NoPeers,
                false => Waiting::download(&report),
            };
            self.wait_for(index, why, out);
        } else {
            let is_alone = node.has_no_peers();
            node.waiting = node.waiting.take().filter(|why| *why == Waiting::NoPeers && is_alone);
        }
        if let Some(date) = report.clock {
            self.note_date(index, date, out);
        }
        let node = &mut self.nodes[index];
        if node.tip == Some(report.best) || node.is_later_news(sent) {
            self.tip_news(at, index, report.best, TipSource::Poll);
        } else {
            node.poll.due = at;
        }
        self.tips.learn(report.best, report.blocks, Some(report.chainwork));
    }

    pub(super) fn check_chain(
        &mut self,
        index: usize,
        report: &HealthReport,
        out: &mut Vec<Output>,
    ) {
        let chain = Chain::from_name(&report.chain).filter(|chain| self.chains.contains(chain));
        let found = match (chain, report.genesis) {
            (None, _) => Some(report.chain.clone()),
            (Some(chain), Some(genesis)) if genesis != chain.genesis() => {
                Some(format!("{chain} with another first block, {genesis}"))
            }
            (Some(_), _) => None,
        };
        let node = &mut self.nodes[index];
        if node.wrong_chain != found
            && let Some(found) = &found
        {
            let wanted: Vec<&str> = self.chains.iter().map(|chain| chain.name()).collect();
            out.push(Output::Event(Event::WrongChain {
                node: node.spec.name.clone(),
                found: found.clone(),
                wanted: wanted.join(" or "),
            }));
            node.forget();
        }
        node.wrong_chain = found;
    }

    /// The node's tip is `hash`, as far as we can know.
    fn tip_news(&mut self, at: Instant, index: usize, hash: BlockHash, source: TipSource) {
        let node = &self.nodes[index];
        if !node.checked || node.wrong_chain.is_some() || node.waiting.is_some() {
            return;
        }
        let mut in_use: Vec<BlockHash> = self.nodes.iter().filter_map(|node| node.tip).collect();
        in_use.extend(self.work.map(|work| work.prev));
        let place = self.tips.announce(at, node.spec.id, hash, &in_use);
        let races = self.work.is_some() && node.behind.is_none();
        let is_leader = self.leader == Some(node.spec.id);
        let node = &mut self.nodes[index];
        match place {
            Place::First if races => node.race.won(source),
            Place::Followed(by) if races && by < HEALTH_EVERY => node.race.followed.add(by),
            Place::First | Place::Followed(_) | Place::Known => {}
        }
        let moved = node.move_to(hash, at);
        // Its P2P port may have told it before, while RPC was down.
        let told_by_p2p = node.peer_tip.is_some_and(|(tip, _)| tip == hash);
        let announced = if told_by_p2p { TipSource::P2p } else { source };
        node.announcements.heard(at, hash, announced, moved);
        if let Some((_, height)) = self.own.iter().find(|(own, _)| *own == hash) {
            self.tips.learn(hash, *height, None);
        }
        if moved && !self.tips.is_known(hash) {
            node.ask_soon = Some(at);
        }
        let good = node.standing.tier() <= Tier::Good;
        if let Some(work) = &mut self.work
            && work.prev == hash
            && (good || is_leader)
        {
            work.confirmed = at;
        }
    }

    // -- successes and failures --

    fn succeeded(
        &mut self,
        at: Instant,
        index: usize,
        method: Method,
        took: Option<Duration>,
        out: &mut Vec<Output>,
    ) {
        self.nodes[index].stats.entry(method).or_default().succeeded(took);
        self.alive(at, index, out);
    }

    /// The node showed a sign of life.
    fn alive(&mut self, at: Instant, index: usize, out: &mut Vec<Output>) {
        if self.nodes[index].breaker.failures() > 0 {
            // It may have been started anew, with another configuration.
            self.want_permissions(at, index, PERMISSIONS_GAP);
        }
        let node = &mut self.nodes[index];
        node.heard_at = Some(at);
        node.silent = None;
        node.suspect = false;
        if node.breaker.succeed() {
            node.ask_soon = Some(at);
            let since = node.down_since.take().unwrap_or(at);
            out.push(Output::Event(Event::NodeUp {
                node: node.spec.name.clone(),
                after: at.saturating_duration_since(since),
            }));
        }
    }

    pub(super) fn failed(
        &mut self,
        at: Instant,
        index: usize,
        method: Method,
        error: &RpcError,
        out: &mut Vec<Output>,
    ) {
        let node = &mut self.nodes[index];
        node.stats.entry(method).or_default().failed(error);
        if ErrorKind::of(error) == ErrorKind::Transport {
            // What answers next may be another process, with other settings.
            node.waits = Waits::default();
        }
        if method == Method::GetNodeAddresses {
            // Mining does without it, and many nodes do not have it or forbid it.
            return;
        }
        if matches!(method, Method::GetChainTips | Method::GetBlockHash) {
            let was_awaited = self.inquiry_failed(index, method, error);
            // Mining does without them: only a node that is gone or not ready yet is told by it.
            let tells = matches!(ErrorKind::of(error), ErrorKind::Transport | ErrorKind::Waiting);
            if !was_awaited || !tells {
                return;
            }
        }
        let node = &mut self.nodes[index];
        let call = match method {
            Method::GetBlockTemplate => Some(&mut node.fetch),
            Method::GetBestBlockHash | Method::WaitForNewBlock => Some(&mut node.poll),
            Method::Health => Some(&mut node.ask),
            Method::Permissions => Some(&mut node.permit),
            _ => None,
        };
        if let Some(call) = call
            && call.sent.take().is_none()
        {
            // It was given up before; its failure was counted then.
            return;
        }
        if permissions::is_forbidden(error) || method == Method::Permissions {
            self.want_permissions(at, index, PERMISSIONS_EVERY);
        }
        let node = &mut self.nodes[index];
        if method == Method::GetBlockTemplate {
            let pause = FETCH_RETRY * 2u32.saturating_pow(node.template_failures);
            node.fetch_after = Some(at + pause.min(LONGEST_PAUSE));
            node.template_failures = (node.template_failures + 1).min(8);
        }
        match method {
            Method::WaitForNewBlock => {
                node.wait_tried(at, &Err(error.clone()));
                if is_refusal(error) {
                    // It answers, but not this: it is asked in another way from now on.
                    node.poll.due = at;
                    return self.alive(at, index, out);
                }
            }
            Method::GetBlockHeader => node.header.failed(),
            _ => {}
        }
        node.last_error = Some(Failure { error: error.clone(), at });
        match (ErrorKind::of(error), method) {
            (ErrorKind::Waiting, _) => {
                self.alive(at, index, out);
                if let RpcError::Rpc { code: -28, .. } = error {
                    // It has just started: perhaps with another configuration.
                    self.nodes[index].checked = false;
                }
                let health = self.nodes[index].health.as_ref();
                let why = match error {
                    RpcError::Rpc { code: -9, .. } => Waiting::NoPeers,
                    RpcError::Rpc { code: -10, .. } | RpcError::Downloading { .. } => {
                        match health {
                            Some((report, _)) if report.initial_download => {
                                Waiting::download(report)
                            }
                            _ => Waiting::Download(None),
                        }
                    }
                    RpcError::Rpc { message, .. } => Waiting::Starting(message.clone()),
                    error => Waiting::Starting(error.to_string()),
                };
                self.wait_for(index, why, out);
            }
            (ErrorKind::Rpc | ErrorKind::Forbidden, Method::GetBlockTemplate) => {
                let before = node.template_error.replace(error.clone());
                if before.is_none_or(|before| before.label() != error.label()) {
                    let (node, why) = (node.spec.name.clone(), error.clone());
                    out.push(Output::Event(Event::NoTemplate { node, why }));
                }
                self.alive(at, index, out);
            }
            (ErrorKind::Transport, _)
            | (
                _,
                Method::GetBestBlockHash
                | Method::WaitForNewBlock
                | Method::Health
                | Method::GetBlockTemplate,
            ) => {
                if method == Method::GetBlockTemplate {
                    node.template_error = Some(error.clone());
                }
                // While half-open only the probe counts, not a call from before.
                let counts = node.breaker.is_closed() || method == Method::Health;
                if counts && node.breaker.fail(at) {
                    node.down_since = Some(at);
                    node.forget();
                    out.push(Output::Event(Event::NodeDown {
                        node: node.spec.name.clone(),
                        why: error.clone(),
                    }));
                }
            }
            // Submissions and proposals have retries and words of their own.
            _ => {}
        }
    }

    /// The node asks for patience; said once, the reason is kept up to date.
    fn wait_for(&mut self, index: usize, why: Waiting, out: &mut Vec<Output>) {
        let node = &mut self.nodes[index];
        if !node.waiting_said {
            node.waiting_said = true;
            let (node, why) = (node.spec.name.clone(), why.clone());
            out.push(Output::Event(Event::Waiting { node, why }));
        }
        node.template = None;
        node.waiting = Some(why);
    }
}

/// The node does not know the method, or does not let us call it.
fn is_refusal(error: &RpcError) -> bool {
    matches!(ErrorKind::of(error), ErrorKind::Rpc | ErrorKind::Forbidden)
}
