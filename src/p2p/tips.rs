//! What the peer's best chain is: it announces new tips by their headers, and is asked where these do not
//! link, or whether it has the tip that the owner of the connection knows.
//!
//! A peer says what comes after a tip only when it believes that we have that tip. So at first, and
//! whenever we may have missed something, it is asked for what follows the parents of our newest headers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::chain::BlockHash;
use crate::clock::Now;

use super::ask::{Ask, What};
use super::headers::{Header, MEDIAN, Ring, read_headers};
use super::wire::{self, BLOCK, MAX_HEADERS, WITNESS_BLOCK};
use super::{Down, Event, Output, Peer};

/// From a question that found nothing to the same again.
const AGAIN: Duration = Duration::from_secs(30);
/// The same where the answer was 2,000 headers long.
const AGAIN_UNKNOWN: Duration = Duration::from_secs(120);

/// What is known of the peer's best chain.
#[derive(Debug, Default)]
pub(super) struct Tips {
    ring: Ring,
    /// Whether the ring ends where the peer's best chain does, by what it said over this connection.
    is_settled: bool,
    /// The tip that was told last.
    told: Option<BlockHash>,
    wanted: Option<Wanted>,
    walk: Option<Walk>,
    /// When the peer is asked what follows the ring.
    resync_at: Option<Instant>,
    /// Headers that do not link lead to no question before that.
    stray_until: Option<Instant>,
}

/// The owner's tip.
#[derive(Debug)]
struct Wanted {
    hash: BlockHash,
    height: u32,
    /// What was told of it over this connection.
    verdict: Option<bool>,
    /// When the peer is asked again.
    again: Option<Instant>,
}

/// The way from a hash back through its parents, until they link or suffice for a median time.
#[derive(Debug)]
struct Walk {
    /// The next header.
    want: BlockHash,
    /// Those that came, the newest last.
    headers: VecDeque<Header>,
    /// The newest one's height.
    height: Option<u32>,
}

impl Tips {
    /// Bytes on the heap.
    pub(super) fn memory(&self) -> usize {
        let walk = self.walk.as_ref().map_or(0, |walk| walk.headers.capacity());
        self.ring.memory() + walk * size_of::<Header>()
    }

    /// The connection is over: another one may lead to a peer that has gone on, or to another peer.
    pub(super) fn on_down(&mut self) {
        self.is_settled = false;
        self.told = None;
        self.walk = None;
        self.resync_at = None;
        self.stray_until = None;
        if let Some(wanted) = &mut self.wanted {
            (wanted.verdict, wanted.again) = (None, None);
        }
    }

    /// Blocks on top of one in the peer's best chain, plus itself.
    pub(super) fn confirmations(&self, hash: &BlockHash) -> Option<u32> {
        self.ring.confirmations(hash).filter(|_| self.is_settled)
    }

    /// Whether the owner's tip is among the headers.
    fn has_wanted(&self) -> bool {
        self.wanted.as_ref().is_some_and(|wanted| self.ring.position(&wanted.hash).is_some())
    }

    fn start_walk(&mut self, want: BlockHash, height: Option<u32>) {
        self.walk = Some(Walk { want, headers: VecDeque::new(), height });
    }

    /// Whether there is nothing to go by: no header, and none on the way.
    fn is_lost(&self) -> bool {
        let is_waiting = self.wanted.as_ref().is_some_and(|wanted| wanted.verdict.is_none());
        self.ring.len() == 0 && self.walk.is_none() && !is_waiting
    }
}

impl Peer {
    pub(super) fn on_order(
        &mut self,
        now: Now,
        hash: BlockHash,
        height: u32,
        out: &mut Vec<Output>,
    ) {
        let tips = &mut self.tips;
        tips.ring.set_height(&hash, height);
        if let Some(wanted) = tips.wanted.as_mut().filter(|wanted| wanted.hash == hash) {
            wanted.height = height;
            out.extend(wanted.verdict.map(|verdict| Output::Event(Event::Same(verdict))));
            return;
        }
        tips.wanted = Some(Wanted { hash, height, verdict: None, again: None });
        if self.is_ready() {
            self.look_for_wanted(now);
            self.on_chain(now, out);
        }
    }

    /// After the handshake.
    pub(super) fn on_ready(&mut self, now: Now) {
        // Its node believes that we know nothing.
        self.tips.resync_at = Some(now.mono);
        self.look_for_wanted(now);
    }

    /// Begins to find out whether the peer has the owner's tip.
    fn look_for_wanted(&mut self, now: Now) {
        let tips = &mut self.tips;
        let Some(wanted) = &tips.wanted else { return };
        if !tips.has_wanted() {
            let (hash, height) = (wanted.hash, wanted.height);
            // The walk before, if there is one, has no sense any more.
            self.asks.retain(|ask| !matches!(ask.what, What::Header(_)));
            tips.start_walk(hash, Some(height));
        } else if !tips.is_settled {
            tips.resync_at = Some(now.mono);
        }
    }

    fn say_same(&mut self, now: Now, is_same: bool, out: &mut Vec<Output>) {
        let Some(wanted) = &mut self.tips.wanted else { return };
        wanted.again = (!is_same).then(|| now.mono + AGAIN);
        if wanted.verdict.replace(is_same) != Some(is_same) {
            out.push(Output::Event(Event::Same(is_same)));
        }
    }

    /// A question about the chain stays without an answer.
    fn on_no_answer(&mut self, now: Now, out: &mut Vec<Output>) {
        let is_open = self.tips.wanted.as_ref().is_some_and(|wanted| wanted.verdict != Some(true));
        if is_open && self.tips.walk.is_none() {
            self.say_same(now, false, out);
        }
    }

    pub(super) fn on_headers(
        &mut self,
        now: Now,
        payload: &[u8],
        out: &mut Vec<Output>,
    ) -> Result<(), Down> {
        let list = read_headers(payload).map_err(Down::Nonsense)?;
        let Some(first) = list.first().copied() else {
            self.on_empty_headers(now, out);
            return Ok(());
        };
        let asked = self.asks.iter().position(|ask| ask.what == What::Header(first.hash));
        if asked.is_none() && self.is_from_the_start(&first) {
            self.on_unknown_locator(now, out);
            return Ok(());
        }
        if !list.iter().all(Header::has_work) {
            return Err(Down::Nonsense("headers without proof of work"));
        }
        if let Some(asked) = asked {
            self.asks.remove(asked);
            self.on_walked(now, first);
            if list.len() == 1 {
                return Ok(());
            }
        }
        self.find_in_headers(now, &list, out);
        let is_answer = |ask: &Ask| matches!(&ask.what, What::Follows(locator) if locator.contains(&first.prev));
        let is_answered = self.asks.iter().any(is_answer);
        self.asks.retain(|ask| !is_answer(ask));
        let list = self.with_offered_parents(list);
        match self.tips.ring.link(&list[0].prev) {
            Some(keep) => self.on_linked(now, keep, &list, is_answered, out)?,
            None => self.on_stray(now, &list),
        }
        self.on_chain(now, out);
        Ok(())
    }

    /// Whether these headers follow block 0 although we know more: the peer knows nothing of what it was
    /// asked about.
    fn is_from_the_start(&self, first: &Header) -> bool {
        let is_asked = self.asks.iter().any(|ask| !matches!(ask.what, What::Header(_)));
        first.prev == self.chain.genesis()
            && is_asked
            && self.tips.ring.link(&first.prev).is_none()
            && self.offers.iter().all(|offer| offer.header.prev != first.prev)
    }

    /// Takes the oldest question with a locator.
    fn take_oldest_ask(&mut self) -> Option<Ask> {
        let at = self.asks.iter().position(|ask| !matches!(ask.what, What::Header(_)))?;
        Some(self.asks.remove(at))
    }

    fn on_unknown_locator(&mut self, now: Now, out: &mut Vec<Output>) {
        match self.take_oldest_ask().map(|ask| ask.what) {
            Some(What::Block { block, .. }) => self.on_unknown_parent(now, block),
            // It is on another chain than our headers, or was put up anew.
            Some(What::Follows(_)) => {
                self.tips.ring = Ring::default();
                self.tips.is_settled = false;
                self.on_no_answer(now, out);
                let again = self.tips.wanted.as_mut().and_then(|wanted| wanted.again.as_mut());
                if let Some(again) = again {
                    *again = now.mono + AGAIN_UNKNOWN;
                }
            }
            Some(What::Header(_)) | None => {}
        }
    }

    fn on_empty_headers(&mut self, now: Now, out: &mut Vec<Output>) {
        let ask = self.take_oldest_ask().or_else(|| self.asks.pop());
        let is_alone = self.tips.ring.tip().is_some_and(Header::is_first);
        match ask.map(|ask| ask.what) {
            // Nothing follows block 0, the only one whose locator has itself.
            Some(What::Follows(_)) if is_alone => {
                self.tips.is_settled = true;
                self.on_chain(now, out);
            }
            Some(what) => self.on_unanswered(now, &what, out),
            None => {}
        }
    }

    fn on_unanswered(&mut self, now: Now, what: &What, out: &mut Vec<Output>) {
        match what {
            What::Header(_) => {
                self.tips.walk = None;
                self.on_no_answer(now, out);
            }
            What::Follows(_) => self.on_no_answer(now, out),
            What::Block { block, .. } => {
                let offer = self.offers.iter_mut().find(|offer| offer.block.hash == *block);
                if let Some(offer) = offer {
                    offer.on_not_yet(now);
                }
            }
        }
    }

    /// A header on the way back.
    fn on_walked(&mut self, now: Now, header: Header) {
        let tips = &mut self.tips;
        let Some(walk) = tips.walk.as_mut().filter(|walk| walk.want == header.hash) else { return };
        walk.headers.push_front(header);
        let link = tips.ring.link(&header.prev);
        if link.is_none() && walk.headers.len() < MEDIAN && !header.is_first() {
            walk.want = header.prev;
            return;
        }
        let Some(mut walk) = tips.walk.take() else { return };
        match link {
            Some(keep) => tips.ring.splice(keep, walk.headers.make_contiguous()),
            None => tips.ring = Ring::new(walk.headers, walk.height),
        }
        if let (Some(tip), Some(height)) = (tips.ring.tip().copied(), walk.height) {
            tips.ring.set_height(&tip.hash, height);
        }
        // That it knows the header does not say that it is in its best chain.
        tips.is_settled = false;
        tips.resync_at = Some(now.mono);
    }

    /// Puts offered headers in front, down to one that links: the peer believes that we know them.
    fn with_offered_parents(&self, mut list: Vec<Header>) -> Vec<Header> {
        for _ in 0..self.offers.len() {
            let is_linked = self.tips.ring.link(&list[0].prev).is_some();
            let parent = self.offers.iter().find(|offer| offer.header.hash == list[0].prev);
            if let Some(parent) = parent.filter(|_| !is_linked) {
                list.insert(0, parent.header);
            }
        }
        list
    }

    /// Headers that follow the first `keep` of the ring.
    fn on_linked(
        &mut self,
        now: Now,
        keep: usize,
        list: &[Header],
        is_answer: bool,
        out: &mut Vec<Output>,
    ) -> Result<(), Down> {
        let tips = &mut self.tips;
        let overlap = tips.ring.overlap(keep, list);
        let (keep, new) = (keep + overlap, &list[overlap..]);
        if !tips.ring.allows(self.chain, keep, new) {
            return Err(Down::Nonsense("headers with a target against the rules"));
        }
        // An answer says where the best chain ends. What is announced is one that was found better, so it
        // is no shorter, or the owner of the node has called back blocks.
        let is_shorter = keep + new.len() < tips.ring.len();
        if is_shorter && !is_answer {
            if !new.is_empty() {
                tips.resync_at = Some(now.mono);
            }
            return Ok(());
        }
        // The owner's tip may be among what stays, what goes or what comes.
        let wanted = tips.wanted.as_ref().map(|wanted| wanted.hash);
        let is_gone = wanted.is_some_and(|hash| tips.ring.has_after(keep, &hash));
        let is_there = wanted.is_some_and(|hash| {
            tips.ring.position(&hash).is_some_and(|place| place < keep)
                || new.iter().any(|header| header.hash == hash)
        });
        tips.ring.splice(keep, new);
        // More follows a list that is full.
        tips.is_settled = list.len() < MAX_HEADERS;
        if !tips.is_settled {
            tips.resync_at = Some(now.mono + AGAIN);
        }
        if is_there {
            self.say_same(now, true, out);
        } else if is_gone {
            match tips.wanted.take_if(|wanted| wanted.verdict == Some(true)) {
                // The node has left it: its RPC will tell another one.
                Some(_) => {}
                None => self.say_same(now, false, out),
            }
        }
        Ok(())
    }

    /// Headers that do not link.
    fn on_stray(&mut self, now: Now, list: &[Header]) {
        let tips = &mut self.tips;
        if tips.stray_until.is_some_and(|until| until > now.mono) {
            return;
        }
        tips.stray_until = Some(now.mono + AGAIN);
        if let Some(last) = list.last().filter(|_| tips.is_lost()) {
            tips.start_walk(last.hash, None);
        } else {
            tips.resync_at = Some(now.mono);
        }
    }

    /// The peer tells of blocks by their hashes: it does not know whether we have their parents.
    pub(super) fn on_inv(&mut self, now: Now, payload: &[u8]) -> Result<(), Down> {
        let entries = wire::read_entries(payload).ok_or(Down::Nonsense("a broken inv"))?;
        for (kind, hash) in entries {
            let is_block = matches!(kind, BLOCK | WITNESS_BLOCK);
            if !is_block || self.on_own_inv(now, hash) || self.tips.ring.position(&hash).is_some() {
                continue;
            }
            if self.tips.is_lost() {
                self.tips.start_walk(hash, None);
            } else {
                self.tips.resync_at = Some(now.mono);
            }
        }
        Ok(())
    }

    /// Tells what follows from the peer's best chain, where it is known.
    fn on_chain(&mut self, now: Now, out: &mut Vec<Output>) {
        if !self.tips.is_settled {
            return;
        }
        if self.tips.has_wanted() {
            self.say_same(now, true, out);
        }
        self.find_in_ring(now, out);
        let ring = &self.tips.ring;
        let Some(tip) = ring.tip().copied().filter(|tip| self.tips.told != Some(tip.hash)) else {
            return;
        };
        out.push(Output::Event(Event::Tip {
            hash: tip.hash,
            height: ring.height(),
            median_time: ring.median_time(),
            time: tip.time,
            bits: tip.bits,
        }));
        self.tips.told = Some(tip.hash);
        self.announce_on(now, tip.hash, out);
    }

    /// What time brings: questions without an answer, and the same questions again.
    pub(super) fn ask_on_time(&mut self, now: Now, out: &mut Vec<Output>) {
        while let Some(at) = self.asks.iter().position(|ask| ask.deadline() <= now.mono) {
            let ask = self.asks.remove(at);
            self.on_unanswered(now, &ask.what, out);
        }
        if let Some(wanted) = &mut self.tips.wanted
            && wanted.again.is_some_and(|again| again <= now.mono)
        {
            wanted.again = None;
            self.look_for_wanted(now);
        }
    }

    /// Asks what is to be asked now, one question of a kind at a time.
    pub(super) fn ask_on(&mut self, now: Now, out: &mut Vec<Output>) {
        if !self.is_ready() {
            return;
        }
        let is_header = |ask: &Ask| matches!(ask.what, What::Header(_));
        if let Some(walk) = &self.tips.walk
            && !self.asks.iter().any(is_header)
        {
            self.ask(now, What::Header(walk.want), out);
        }
        if self.tips.resync_at.is_some_and(|at| at <= now.mono) && !self.is_resyncing() {
            self.tips.resync_at = None;
            let locator = self.tips.ring.locator();
            if !locator.is_empty() {
                self.ask(now, What::Follows(locator), out);
            }
        }
        self.ask_for_blocks(now, out);
    }

    fn is_resyncing(&self) -> bool {
        self.asks.iter().any(|ask| matches!(ask.what, What::Follows(_)))
    }

    pub(super) fn ask(&mut self, now: Now, what: What, out: &mut Vec<Output>) {
        const NONE: BlockHash = BlockHash([0; 32]);
        let payload = match &what {
            What::Header(hash) => wire::getheaders(&[], *hash),
            What::Follows(locator) => wire::getheaders(locator, NONE),
            What::Block { parent, .. } => wire::getheaders(&[*parent], NONE),
        };
        self.send("getheaders", &payload, out);
        self.asks.push(Ask::new(what, now.mono));
    }

    /// When something is due here.
    pub(super) fn tips_deadline(&self) -> Option<Instant> {
        let again = self.tips.wanted.as_ref().and_then(|wanted| wanted.again);
        let resync = self.tips.resync_at.filter(|_| !self.is_resyncing());
        [again, resync].into_iter().flatten().min().filter(|_| self.is_ready())
    }
}
