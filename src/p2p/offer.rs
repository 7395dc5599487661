//! The blocks that we offer: announced, sent when asked for, and then the question whether the peer has
//! them in its best chain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::block::SolvedBlock;
use crate::chain::BlockHash;
use crate::clock::Now;

use super::ask::{Ask, What};
use super::compact;
use super::headers::Header;
use super::wire::{self, BLOCK, COMPACT_BLOCK, Fields, WITNESS_BLOCK};
use super::{Down, Event, Form, Output, Peer};

/// Blocks that are kept.
const KEPT: usize = 4;
/// How long a block is served after it was withdrawn.
const SERVED: Duration = Duration::from_secs(600);
/// How often a block is sent over one connection, whole or in part. Core asks three times at the most:
/// in compact form, for the transactions that it lacks, and for all of it if these do not fit together
/// (`src/net_processing.cpp`); bcoin asks once. So nobody can draw more than three blocks of 4 MB.
const SERVINGS: u32 = 3;
/// From the announcement to the question whether the peer has it already, by another way.
const UNASKED: Duration = Duration::from_millis(500);
/// From an answer that is "not yet" to the next question; doubled each time.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest of these pauses.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// The pause where the peer does not know the block's parent: its answer is 2,000 headers long.
const PAUSE_UNKNOWN: Duration = Duration::from_secs(30);

/// A block that is offered.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) block: Arc<SolvedBlock>,
    /// Its header as we read one.
    pub(super) header: Header,
    since: Instant,
    /// It is no longer announced, and served until then.
    withdrawn_until: Option<Instant>,
    /// Whether a peer had it in its best chain, over any connection.
    was_in_chain: bool,
    /// What happened over this connection.
    heard: Heard,
}

#[derive(Debug)]
struct Heard {
    is_whole_asked: bool,
    is_compact_asked: bool,
    servings: u32,
    is_in_chain: bool,
    /// When the peer is asked whether it has it in its best chain.
    ask_at: Option<Instant>,
    pause: Duration,
}

impl Heard {
    const NOTHING: Heard = Heard {
        is_whole_asked: false,
        is_compact_asked: false,
        servings: 0,
        is_in_chain: false,
        ask_at: None,
        pause: PAUSE,
    };
}

impl Offer {
    /// What happened over the connection is over.
    pub(super) fn on_down(&mut self) {
        self.heard = Heard::NOTHING;
    }

    fn is_open(&self) -> bool {
        self.withdrawn_until.is_none()
    }

    /// It has been sent, so it may be in the best chain in a moment.
    fn on_sent(&mut self, now: Now) {
        self.heard.servings += 1;
        self.ask_at(now.mono);
    }

    fn ask_at(&mut self, at: Instant) {
        if self.is_open() && !self.heard.is_in_chain {
            self.heard.ask_at = Some(at);
            self.heard.pause = PAUSE;
        }
    }

    /// The peer does not have it in its best chain yet, or does not say.
    pub(super) fn on_not_yet(&mut self, now: Now) {
        self.heard.ask_at.get_or_insert(now.mono + self.heard.pause);
        self.heard.pause = (self.heard.pause * 2).min(PAUSE_MAX);
    }

    fn after(&self, now: Now) -> Duration {
        now.mono.saturating_duration_since(self.since)
    }
}

impl Peer {
    pub(super) fn on_offer(&mut self, now: Now, block: Arc<SolvedBlock>, out: &mut Vec<Output>) {
        let Some(header) = block.bytes.first_chunk() else { return };
        let header = Header::read(header);
        let known = self.offers.iter().position(|offer| offer.block.hash == block.hash);
        if let Some(at) = known {
            let was_withdrawn = self.offers[at].withdrawn_until.take().is_some();
            self.connect_for_block(now, false, out);
            if was_withdrawn && self.is_ready() {
                self.announce(now, at, out);
            }
            return;
        }
        if self.offers.len() == KEPT {
            let withdrawn = self.offers.iter().position(|offer| !offer.is_open());
            self.offers.remove(withdrawn.unwrap_or(0));
        }
        self.offers.push(Offer {
            block,
            header,
            since: now.mono,
            withdrawn_until: None,
            was_in_chain: false,
            heard: Heard::NOTHING,
        });
        if self.is_ready() {
            self.announce(now, self.offers.len() - 1, out);
            self.find_in_ring(now, out);
        } else {
            self.connect_for_block(now, true, out);
        }
    }

    pub(super) fn on_withdraw(&mut self, now: Now, hash: BlockHash) {
        for offer in self.offers.iter_mut().filter(|offer| offer.block.hash == hash) {
            offer.withdrawn_until.get_or_insert(now.mono + SERVED);
            offer.heard.ask_at = None;
        }
        self.asks.retain(|ask| !matches!(ask.what, What::Block { block, .. } if block == hash));
    }

    /// Forgets what was withdrawn long ago.
    pub(super) fn forget_offers(&mut self, now: Now) {
        self.offers.retain(|offer| offer.withdrawn_until.is_none_or(|until| until > now.mono));
    }

    /// Whether a block is offered that the peer never had in its best chain.
    pub(super) fn has_waiting_block(&self) -> bool {
        self.offers.iter().any(|offer| offer.is_open() && !offer.was_in_chain)
    }

    pub(super) fn announce_all(&mut self, now: Now, out: &mut Vec<Output>) {
        for at in 0..self.offers.len() {
            if self.offers[at].is_open() {
                self.announce(now, at, out);
            }
        }
    }

    /// Announces again what builds on the peer's new tip and was not asked for: the peer may not have
    /// had its parent before.
    pub(super) fn announce_on(&mut self, now: Now, tip: BlockHash, out: &mut Vec<Output>) {
        for at in 0..self.offers.len() {
            let Offer { header, heard, .. } = &self.offers[at];
            let is_unasked = heard.servings == 0 && !heard.is_in_chain;
            if header.prev == tip && is_unasked && self.offers[at].is_open() {
                self.announce(now, at, out);
            }
        }
    }

    /// By its header, which Core wants, and by its hash, which bcoin wants.
    fn announce(&mut self, now: Now, at: usize, out: &mut Vec<Output>) {
        let Offer { block, .. } = &self.offers[at];
        self.send("headers", &wire::headers([&block.bytes[..80]].into_iter()), out);
        self.send("inv", &wire::entries(&[(BLOCK, block.hash)]), out);
        self.offers[at].ask_at(now.mono + UNASKED);
    }

    pub(super) fn on_getdata(
        &mut self,
        now: Now,
        payload: &[u8],
        out: &mut Vec<Output>,
    ) -> Result<(), Down> {
        let entries = wire::read_entries(payload).ok_or(Down::Nonsense("a broken getdata"))?;
        let mut missing = Vec::new();
        for (kind, hash) in entries {
            let offer = self.offers.iter().position(|offer| offer.block.hash == hash);
            let is_served = offer.is_some_and(|at| self.serve(now, at, kind, out));
            if !is_served {
                missing.push((kind, hash));
            }
        }
        if !missing.is_empty() {
            self.send("notfound", &wire::entries(&missing), out);
        }
        Ok(())
    }

    /// Sends a block; whether it could.
    fn serve(&mut self, now: Now, at: usize, kind: u32, out: &mut Vec<Output>) -> bool {
        let offer = &self.offers[at];
        if offer.heard.servings >= SERVINGS {
            return false;
        }
        let block = offer.block.clone();
        let form = match kind {
            // Both with witness. Who asks for a plain block wants it without, and only nodes before
            // segwit do that; the handshake turned those away. Others understand what they get.
            WITNESS_BLOCK | BLOCK => {
                // The shell sends the bytes themselves, so that they are not copied here.
                let head = wire::head(self.chain, "block", &block.bytes);
                out.push(Output::Send(head.to_vec()));
                out.push(Output::SendBlock(block.clone()));
                self.link.give_time(now, block.bytes.len());
                Form::Whole
            }
            COMPACT_BLOCK => {
                let Some(compact) = compact::cmpctblock(&block.bytes, self.nonce) else {
                    return false;
                };
                self.send("cmpctblock", &compact, out);
                Form::Compact
            }
            _ => return false,
        };
        let offer = &mut self.offers[at];
        offer.on_sent(now);
        let is_asked = match form {
            Form::Whole => &mut offer.heard.is_whole_asked,
            Form::Compact => &mut offer.heard.is_compact_asked,
        };
        if !std::mem::replace(is_asked, true) {
            let after = offer.after(now);
            out.push(Output::Event(Event::Asked { block: block.hash, form, after }));
        }
        true
    }

    pub(super) fn on_getblocktxn(
        &mut self,
        now: Now,
        payload: &[u8],
        out: &mut Vec<Output>,
    ) -> Result<(), Down> {
        let mut fields = Fields(payload);
        let hash = fields.hash().ok_or(Down::Nonsense("a broken getblocktxn"))?;
        let offer = self.offers.iter().position(|offer| offer.block.hash == hash);
        let Some(at) = offer.filter(|at| self.offers[*at].heard.servings < SERVINGS) else {
            return Ok(());
        };
        let wrong = Down::Nonsense("it asks for transactions that the block does not have");
        let transactions = compact::blocktxn(&self.offers[at].block.bytes, fields).ok_or(wrong)?;
        self.send("blocktxn", &transactions, out);
        self.link.give_time(now, transactions.len());
        self.offers[at].on_sent(now);
        Ok(())
    }

    /// Answers with the offered blocks that follow the peer's chain. Core asks each peer at first, and
    /// is to have its answer quickly.
    pub(super) fn on_getheaders(
        &mut self,
        payload: &[u8],
        out: &mut Vec<Output>,
    ) -> Result<(), Down> {
        let wrong = Down::Nonsense("a broken getheaders");
        let (mut known, stop) = wire::read_getheaders(payload).ok_or(wrong)?;
        let is_by_hash = known.is_empty();
        let mut list: Vec<&[u8]> = Vec::new();
        // In the order of their offering, so that one may follow another.
        for offer in self.offers.iter().filter(|offer| offer.is_open()) {
            let Offer { block, header, .. } = offer;
            let follows = known.contains(&header.prev) && !known.contains(&block.hash);
            if follows || (is_by_hash && stop == block.hash) {
                known = vec![block.hash];
                list.push(&block.bytes[..80]);
            }
        }
        self.send("headers", &wire::headers(list.into_iter()), out);
        Ok(())
    }

    /// The peer speaks of a block by its hash: whether it is one of ours. Then it may have it.
    pub(super) fn on_own_inv(&mut self, now: Now, hash: BlockHash) -> bool {
        let offer = self.offers.iter_mut().find(|offer| offer.block.hash == hash);
        let is_ours = offer.is_some();
        if let Some(offer) = offer.filter(|offer| offer.heard.ask_at.is_some()) {
            offer.heard.ask_at = Some(now.mono);
        }
        is_ours
    }

    /// Looks for offered blocks in headers that the peer has in its best chain.
    pub(super) fn find_in_headers(&mut self, now: Now, list: &[Header], out: &mut Vec<Output>) {
        for at in 0..self.offers.len() {
            let Offer { block, header, .. } = &self.offers[at];
            let (hash, parent) = (block.hash, header.prev);
            let starts_at = |header: &Header| header.hash == hash || header.prev == hash;
            if let Some(place) = list.iter().position(starts_at) {
                // Its child proves it as well.
                let is_child = list[place].hash != hash;
                let confirmations = list.len() - place + usize::from(is_child);
                self.on_in_chain(now, at, confirmations as u32, out);
            }
            let asked = |ask: &Ask| matches!(ask.what, What::Block { block, .. } if block == hash);
            let is_answer = list.first().is_some_and(|first| first.prev == parent);
            if is_answer && self.asks.iter().any(asked) {
                self.asks.retain(|ask| !asked(ask));
                if !self.offers[at].heard.is_in_chain {
                    self.offers[at].on_not_yet(now);
                }
            }
        }
    }

    /// Looks for offered blocks in what is known of the peer's best chain.
    pub(super) fn find_in_ring(&mut self, now: Now, out: &mut Vec<Output>) {
        for at in 0..self.offers.len() {
            if let Some(confirmations) = self.tips.confirmations(&self.offers[at].block.hash) {
                self.on_in_chain(now, at, confirmations, out);
            }
        }
    }

    fn on_in_chain(&mut self, now: Now, at: usize, confirmations: u32, out: &mut Vec<Output>) {
        let offer = &mut self.offers[at];
        offer.heard.ask_at = None;
        if !offer.is_open() || std::mem::replace(&mut offer.heard.is_in_chain, true) {
            return;
        }
        offer.was_in_chain = true;
        let (block, after) = (offer.block.hash, offer.after(now));
        out.push(Output::Event(Event::InChain { block, confirmations, after }));
    }

    /// The peer does not know the parent of a block, and sent 2,000 headers to say so. It is asked for
    /// one block each 30 s then, for this one last; those that it took have parents that it knows.
    pub(super) fn on_unknown_parent(&mut self, now: Now, block: BlockHash) {
        let is_it = |offer: &Offer| offer.block.hash == block;
        let Some(place) = self.offers.iter().position(is_it) else { return };
        let (before, after) = self.offers.split_at_mut(place + 1);
        let mut at = now.mono;
        for offer in after.iter_mut().chain(before) {
            let is_it = offer.block.hash == block;
            if is_it || (offer.heard.servings == 0 && offer.heard.ask_at.is_some()) {
                at += PAUSE_UNKNOWN;
                offer.heard.ask_at = Some(offer.heard.ask_at.map_or(at, |due| due.max(at)));
            }
        }
    }

    /// Asks what is due: is the block in the best chain? One after the other.
    pub(super) fn ask_for_blocks(&mut self, now: Now, out: &mut Vec<Output>) {
        let is_due = |offer: &&mut Offer| offer.heard.ask_at.is_some_and(|at| at <= now.mono);
        if self.is_asking_for_block() {
            return;
        }
        if let Some(offer) = self.offers.iter_mut().find(is_due) {
            offer.heard.ask_at = None;
            let (block, parent) = (offer.block.hash, offer.header.prev);
            self.ask(now, What::Block { block, parent }, out);
        }
    }

    fn is_asking_for_block(&self) -> bool {
        self.asks.iter().any(|ask| matches!(ask.what, What::Block { .. }))
    }

    /// When something is due here.
    pub(super) fn offers_deadline(&self) -> Option<Instant> {
        let may_ask = self.is_ready() && !self.is_asking_for_block();
        let due = |offer: &Offer| {
            let ask_at = offer.heard.ask_at.filter(|_| may_ask);
            [ask_at, offer.withdrawn_until].into_iter().flatten().min()
        };
        self.offers.iter().filter_map(due).min()
    }
}
