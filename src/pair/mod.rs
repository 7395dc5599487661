//! Two boxes as one: what they tell each other, and what neither does without the other.
//!
//! Each box is whole: it has its own nodes, its own card and its own ledger. They are connected so that
//!
//! * a block that one of them solves is at once on the other one's card and at its nodes ([`Message::Block`]);
//! * a miner that comes to the other one begins at the difficulty that it had ([`Message::Levels`]);
//! * what a miner found for a job of the one counts at the other ([`copy`]);
//! * both pay the same address at all times ([`agreement`]);
//! * a miner of Stratum V2 knows both by one key ([`Message::Authority`]);
//! * no two of their miners search the same space ([`Pair::side`]).
//!
//! [`Pair`] is one box's end of it, without I/O. The shell ([`crate::daemon`]) makes connections, encrypts
//! them, and hands in what comes. Two connections may be there at the same time, as both boxes call; of
//! those the one that the lower box made stays.

pub mod agreement;
pub mod code;
pub mod copy;
pub mod drill;
pub mod message;
pub mod place;
#[cfg(test)]
mod tests;
pub mod watch;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::block::SolvedBlock;
use crate::chain::BlockHash;
use crate::clock::Now;
use crate::difficulty::{NBits, Target};
use crate::event::Level as Severity;

use agreement::{Agreement, Record, Standing};
use copy::{Copying, Write};
use message::{
    Authority, BoxId, Connection, ENTRIES_MAX, Hello, JobsPart, JobsWanted, Level, Message, State,
};

pub use code::Code;
pub use place::VirtualAddress;

/// Where the boxes of a pair listen to each other unless the owner says otherwise.
pub const PORT: u16 = 3337;

/// Each box tells how it is so often, which is also the sign that it lives.
pub const STATE_EVERY: Duration = Duration::from_secs(2);

/// A box that says nothing for so long is gone.
pub const SILENCE: Duration = Duration::from_secs(8);

/// After so long what failed is tried once more.
const RETRY: Duration = Duration::from_secs(5);

/// Time for the first message on a new connection.
const HELLO_AT_MOST: Duration = Duration::from_secs(5);

/// A connection between the boxes. Never used twice within one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// What happens.
#[derive(Clone, Debug)]
pub enum Input {
    /// A connection is there, and the other side knows the code.
    Connected {
        /// Which one.
        link: LinkId,
        /// This box called.
        called: bool,
    },
    /// It ended.
    Closed(LinkId),
    /// A message came.
    Told(LinkId, Message),
    /// This box solved a block, or has one from an earlier run that is not final.
    Solved(Arc<SolvedBlock>),
    /// Such a block is final.
    Final(BlockHash),
    /// A block of the other box is on this one's card.
    Kept(BlockHash),
    /// The settings name this payout address; empty before the set-up.
    Wanted(String),
    /// [`Output::Write`] is done: it is on the card, or it is not.
    Written(bool),
    /// How this box is, in answer to [`Output::Report`].
    Report(Box<Report>),
    /// There is more in this box's file of jobs.
    JobsGrew,
    /// A part of it, in answer to [`Output::ReadJobs`].
    Jobs(JobsPart),
    /// [`Pair::next_deadline`] has come.
    Tick,
}

/// What the shell knows of this box.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How it is.
    pub state: State,
    /// The difficulties of all its miners.
    pub levels: Vec<Level>,
    /// Their connections with the address that moves.
    pub connections: Vec<Connection>,
    /// Its key of Stratum V2.
    pub authority: Option<Authority>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Say this. A block goes before everything that waits.
    Say(LinkId, Message),
    /// End a connection.
    Close(LinkId),
    /// Write this down, so that it survives a power cut, and report it. One at a time.
    Write(Record),
    /// The settings are to name this payout address.
    Adopt(String),
    /// [`Pair::payout`], [`Pair::serves`] or [`Pair::side`] may be another.
    Changed,
    /// A block of the other box: keep it, submit it, and hand in [`Input::Kept`].
    Take(Arc<SolvedBlock>),
    /// The connections of the other box's miners.
    Connections(Vec<Connection>),
    /// Hand in how this box is.
    Report,
    /// Miners of Stratum V2 are to know this box by the other one's key from now on.
    TakeKey(Authority),
    /// Hand in this part of this box's file of jobs, if there is more of it, and else say by
    /// [`Input::JobsGrew`] when there is.
    ReadJobs(JobsWanted),
    /// Write this into the copy of the other box's file of jobs.
    Copy(Write),
    /// An event for the owner.
    Tell(Severity, String),
}

/// See the module's description.
#[derive(Debug)]
pub struct Pair {
    /// What every first message says.
    hello: Hello,
    agreement: Agreement,
    /// Connections on which the other side has not said who it is: whether this box called, and since when.
    strangers: BTreeMap<LinkId, (bool, Instant)>,
    live: Option<Live>,
    /// When the last connection ended, and what was known of the other box then.
    last: Option<(Instant, Live)>,
    /// Why what answered last is not the other box; nothing once one is connected.
    refused: Option<Refused>,
    /// Own blocks that are not final and not on the other one's card.
    unkept: BTreeMap<BlockHash, Arc<SolvedBlock>>,
    /// The difficulties of miners that are at the other box, or were there last.
    levels: BTreeMap<(String, String), Level>,
    /// What the other box was told last.
    told_levels: BTreeMap<(String, String), Level>,
    told_connections: Vec<Connection>,
    /// This box has a place for a copy of the other one's jobs.
    copies: bool,
    copy: Copying,
    /// What the other box would have of this one's jobs.
    asked: Option<JobsWanted>,
    next_report: Option<Instant>,
    retry: Option<Instant>,
    own: State,
}

/// The connection that counts.
#[derive(Debug)]
struct Live {
    link: LinkId,
    called: bool,
    partner: Hello,
    state: Option<State>,
    /// The keys of Stratum V2 that were told on it: the own one, and the other one's.
    keys: (Option<Authority>, Option<Authority>),
    /// So many seconds its clock was ahead of this box's, when it told its state.
    clock_ahead_s: Option<i64>,
    since: Instant,
    heard: Instant,
}

/// Why somebody who knows the code is not the other box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is this box itself.
    Itself,
    /// It speaks nothing that this version knows.
    Protocol,
}

/// What the owner sees of the other box.
#[derive(Clone, Debug)]
pub struct PartnerView<'a> {
    /// Connected since then.
    pub since: Instant,
    /// Who it is.
    pub hello: &'a Hello,
    /// How it is.
    pub state: Option<&'a State>,
    /// So many seconds its clock is ahead of this box's; the way here counts as nothing.
    pub clock_ahead_s: Option<i64>,
}

impl Live {
    fn view(&self) -> PartnerView<'_> {
        PartnerView {
            since: self.since,
            hello: &self.partner,
            state: self.state.as_ref(),
            clock_ahead_s: self.clock_ahead_s,
        }
    }
}

impl Pair {
    /// This box's end. `hello` says who it is; `record` is what is on its card.
    pub fn new(hello: Hello, record: Option<Record>) -> Pair {
        let agreement = Agreement::new(hello.id, record);
        Pair {
            hello,
            agreement,
            strangers: BTreeMap::new(),
            live: None,
            last: None,
            refused: None,
            unkept: BTreeMap::new(),
            levels: BTreeMap::new(),
            told_levels: BTreeMap::new(),
            told_connections: Vec::new(),
            copies: false,
            copy: Copying::default(),
            asked: None,
            next_report: None,
            retry: None,
            own: State::default(),
        }
    }

    /// This box has a place for a copy of the other one's jobs.
    pub fn with_copies(mut self) -> Pair {
        self.copies = true;
        self
    }

    /// The address that blocks pay; `None` where the settings decide alone.
    pub fn payout(&self) -> Option<&str> {
        self.agreement.address()
    }

    /// Whether work may be handed out.
    pub fn serves(&self) -> bool {
        self.agreement.serves()
    }

    /// On which side of the extranonces this box is.
    pub fn side(&self) -> Option<bool> {
        self.agreement.side()
    }

    /// How far the boxes agree on the payout.
    pub fn standing(&self) -> Standing {
        self.agreement.standing()
    }

    /// The other box, while it is connected.
    pub fn partner(&self) -> Option<PartnerView<'_>> {
        Some(self.live.as_ref()?.view())
    }

    /// When the other box was last connected in this run, and how it was.
    pub fn last(&self) -> Option<(Instant, PartnerView<'_>)> {
        self.last.as_ref().map(|(at, live)| (*at, live.view()))
    }

    /// Why what answered last is not the other box.
    pub fn refused(&self) -> Option<Refused> {
        self.refused
    }

    /// Who this box is.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Whether the shell should call: nobody is connected.
    pub fn calls(&self) -> bool {
        self.live.is_none()
    }

    /// Own blocks that are not final and not on the other one's card.
    pub fn unkept(&self) -> usize {
        self.unkept.len()
    }

    /// The difficulty that a miner had at the other box, if it was there last.
    pub fn take_level(&mut self, worker: &str, device: &str) -> Option<Level> {
        self.levels.remove(&(worker.to_owned(), device.to_owned()))
    }

    /// When [`Input::Tick`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let strangers = self.strangers.values().map(|(_, since)| *since + HELLO_AT_MOST).min();
        let silence = self.live.as_ref().map(|live| live.heard + SILENCE);
        [strangers, silence, self.next_report, self.retry].into_iter().flatten().min()
    }

    /// Takes an input and adds what is to be done to `out`.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Connected { link, called } => {
                self.strangers.insert(link, (called, now.mono));
                let mut hello = self.hello.clone();
                self.agreement.introduce(&mut hello);
                hello.chain.clone_from(&self.own.chain);
                out.push(Output::Say(link, Message::Hello(hello)));
            }
            Input::Closed(link) => self.closed(now, link, out),
            Input::Told(link, message) => self.told(now, link, message, out),
            Input::Solved(block) => self.solved(block, out),
            Input::Final(hash) => drop(self.unkept.remove(&hash)),
            Input::Kept(hash) => {
                if let Some(live) = &self.live {
                    out.push(Output::Say(live.link, Message::Kept(hash)));
                }
            }
            Input::Wanted(address) => self.agree(agreement::Input::Wanted(address), out),
            Input::Written(is_done) => self.agree(agreement::Input::Written(is_done), out),
            Input::Report(report) => self.report(*report, out),
            Input::JobsGrew => out.extend(self.asked.map(Output::ReadJobs)),
            Input::Jobs(part) => {
                if let (Some(live), Some(_)) = (&self.live, self.asked.take()) {
                    out.push(Output::Say(live.link, Message::JobsPart(part)));
                }
            }
            Input::Tick => self.tick(now, out),
        }
        self.retry = match (self.agreement.wants_retry(), self.retry) {
            (true, None) => Some(now.mono + RETRY),
            (true, at) => at,
            (false, _) => None,
        };
    }

    fn tick(&mut self, now: Now, out: &mut Vec<Output>) {
        let late = |since: Instant, most: Duration| now.mono >= since + most;
        for (link, _) in self.strangers.extract_if(.., |_, (_, since)| late(*since, HELLO_AT_MOST))
        {
            out.push(Output::Close(link));
        }
        if let Some(live) = &self.live
            && late(live.heard, SILENCE)
        {
            let link = live.link;
            out.push(Output::Close(link));
            self.closed(now, link, out);
        }
        if self.retry.take_if(|at| *at <= now.mono).is_some() {
            self.agree(agreement::Input::Retry, out);
        }
        if self.next_report.is_some_and(|at| at <= now.mono) {
            self.next_report = self.live.as_ref().map(|_| now.mono + STATE_EVERY);
            out.push(Output::Report);
        }
    }

    fn agree(&mut self, input: agreement::Input, out: &mut Vec<Output>) {
        let mut outputs = Vec::new();
        let side = self.side();
        self.agreement.handle(input, &mut outputs);
        for output in outputs {
            match output {
                agreement::Output::Write(record) => out.push(Output::Write(record)),
                agreement::Output::Adopt(address) => out.push(Output::Adopt(address)),
                agreement::Output::Changed => out.push(Output::Changed),
                agreement::Output::Say(message) => {
                    if let Some(live) = &self.live {
                        out.push(Output::Say(live.link, message));
                    }
                }
            }
        }
        if side != self.side() {
            out.push(Output::Changed);
        }
    }

    fn closed(&mut self, now: Now, link: LinkId, out: &mut Vec<Output>) {
        self.strangers.remove(&link);
        let Some(live) = self.live.take_if(|live| live.link == link) else { return };
        let name = live.partner.name.clone();
        self.last = Some((now.mono, live));
        self.next_report = None;
        self.copy.lost();
        self.asked = None;
        out.push(Output::Tell(
            Severity::Warning,
            format!("The other box, {name}, is not connected."),
        ));
        self.agree(agreement::Input::Lost, out);
    }

    fn told(&mut self, now: Now, link: LinkId, message: Message, out: &mut Vec<Output>) {
        if let Message::Hello(hello) = message {
            return self.met(now, link, hello, out);
        }
        let Some(live) = self.live.as_mut().filter(|live| live.link == link) else { return };
        live.heard = now.mono;
        match message {
            Message::Block(block) => self.take(*block, out),
            Message::Kept(hash) => drop(self.unkept.remove(&hash)),
            Message::State(state) => {
                live.clock_ahead_s =
                    Some(state.unix.cast_signed().saturating_sub(now.unix.cast_signed()));
                live.state = Some(state);
            }
            Message::Levels(levels) => {
                for level in levels {
                    let key = (level.worker.clone(), level.device.clone());
                    if self.levels.len() < ENTRIES_MAX || self.levels.contains_key(&key) {
                        self.levels.insert(key, level);
                    }
                }
            }
            Message::Connections(list) => {
                self.copy.set_needed(!list.is_empty() && self.is_of_our_chain());
                out.push(Output::Connections(list));
                self.ask_for_jobs(out);
            }
            Message::Authority(authority) => {
                live.keys.1 = Some(authority);
                self.compare_keys(out);
            }
            Message::JobsWanted(wanted) => {
                self.asked = Some(wanted);
                out.push(Output::ReadJobs(wanted));
            }
            Message::JobsPart(part) => {
                out.extend(self.copy.take(part).map(Output::Copy));
                self.ask_for_jobs(out);
            }
            Message::Wanted(_)
            | Message::Ask(_)
            | Message::Yes(_)
            | Message::No(_)
            | Message::Withdraw(_)
            | Message::Decided(_) => self.agree(agreement::Input::Told(message), out),
            Message::Hello(_) => {}
        }
    }

    fn met(&mut self, now: Now, link: LinkId, hello: Hello, out: &mut Vec<Output>) {
        // A second one on the same connection says nothing.
        let Some((called, _)) = self.strangers.remove(&link) else { return };
        if hello.id == self.hello.id || hello.protocol == 0 {
            out.push(Output::Close(link));
            let (refused, text) = match hello.protocol {
                0 => {
                    (Refused::Protocol, "The other box speaks no protocol that this version knows.")
                }
                _ => (Refused::Itself, "The partner in the settings is this box itself."),
            };
            // It is called again and again.
            if self.refused.replace(refused) != Some(refused) {
                out.push(Output::Tell(Severity::Warning, text.to_owned()));
            }
            return;
        }
        if let Some(live) = &self.live {
            let lower_calls = |called: bool| called == (self.hello.id < hello.id);
            let stays = live.partner.run == hello.run
                && live.partner.id == hello.id
                && lower_calls(live.called)
                && !lower_calls(called);
            if stays {
                return out.push(Output::Close(link));
            }
            let old = live.link;
            out.push(Output::Close(old));
            self.live = None;
            self.asked = None;
            self.agree(agreement::Input::Lost, out);
        } else {
            let text = format!("The other box, {}, is connected.", hello.name);
            out.push(Output::Tell(Severity::Info, text));
        }
        self.refused = None;
        self.copy.met(hello.run);
        self.live = Some(Live {
            link,
            called,
            partner: hello.clone(),
            state: None,
            keys: (None, None),
            clock_ahead_s: None,
            since: now.mono,
            heard: now.mono,
        });
        for block in self.unkept.values() {
            out.push(Output::Say(link, Message::Block(Box::new((**block).clone()))));
        }
        (self.told_levels, self.told_connections) = Default::default();
        self.agree(agreement::Input::Met(hello), out);
        self.next_report = Some(now.mono + STATE_EVERY);
        out.push(Output::Report);
    }

    fn solved(&mut self, block: Arc<SolvedBlock>, out: &mut Vec<Output>) {
        if block.from_partner {
            return;
        }
        if let Some(live) = &self.live {
            let message = Message::Block(Box::new((*block).clone()));
            out.push(Output::Say(live.link, message));
        }
        self.unkept.insert(block.hash, block);
    }

    /// The other box's word is enough for anything but work: whoever has the code must not be able to fill
    /// the card with what is no block.
    fn take(&mut self, block: SolvedBlock, out: &mut Vec<Output>) {
        let bits = block.bytes.get(72..76).and_then(|bits| bits.try_into().ok());
        let target = bits.and_then(|bits| Target::from_nbits(NBits(u32::from_le_bytes(bits))).ok());
        if !target.is_some_and(|target| target.is_met_by(&block.hash)) {
            let text = format!("The other box sent {} as a block, which is none.", block.hash);
            return out.push(Output::Tell(Severity::Warning, text));
        }
        if !self.is_of_our_chain() {
            let theirs = self.their_chain().unwrap_or_default();
            let text = format!(
                "Block {} of the other box is of the chain {theirs}, and this box mines on {}.",
                block.height, self.own.chain
            );
            return out.push(Output::Tell(Severity::Warning, text));
        }
        out.push(Output::Take(Arc::new(SolvedBlock { from_partner: true, ..block })));
    }

    /// The chain that the other box mines on, if it has told one.
    fn their_chain(&self) -> Option<&str> {
        let live = self.live.as_ref()?;
        let state = live.state.as_ref().map(|state| &state.chain);
        let chain = state.unwrap_or(&live.partner.chain);
        (!chain.is_empty()).then_some(chain)
    }

    /// Whether both boxes mine on one chain, as far as they know.
    fn is_of_our_chain(&self) -> bool {
        let is_known = !self.own.chain.is_empty();
        !is_known || self.their_chain().is_none_or(|theirs| theirs == self.own.chain)
    }

    fn ask_for_jobs(&mut self, out: &mut Vec<Output>) {
        if let (Some(live), true) = (&self.live, self.copies) {
            let wanted = self.copy.ask().map(Message::JobsWanted);
            out.extend(wanted.map(|wanted| Output::Say(live.link, wanted)));
        }
    }

    fn report(&mut self, report: Report, out: &mut Vec<Output>) {
        let Report { state, levels, connections, authority } = report;
        self.own = state.clone();
        let Some(live) = &mut self.live else { return };
        let link = live.link;
        out.push(Output::Say(link, Message::State(state)));
        if let (None, Some(authority)) = (&live.keys.0, authority) {
            out.push(Output::Say(link, Message::Authority(authority.clone())));
            live.keys.0 = Some(authority);
            self.compare_keys(out);
        }
        let levels: BTreeMap<(String, String), Level> = levels
            .into_iter()
            .take(ENTRIES_MAX)
            .map(|level| ((level.worker.clone(), level.device.clone()), level))
            .collect();
        let news: Vec<Level> = levels
            .iter()
            .filter(|(key, level)| self.told_levels.get(*key) != Some(*level))
            .map(|(_, level)| level.clone())
            .collect();
        // Who mines here was not at the other one last.
        self.levels.retain(|key, _| !levels.contains_key(key));
        if !news.is_empty() {
            out.push(Output::Say(link, Message::Levels(news)));
        }
        self.told_levels = levels;
        if connections != self.told_connections {
            let list = connections.iter().copied().take(ENTRIES_MAX).collect();
            out.push(Output::Say(link, Message::Connections(list)));
            self.told_connections = connections;
        }
    }
}

impl Pair {
    /// Where the keys of Stratum V2 differ, that of the box with more miners of Stratum V2 stays, or else the
    /// lower box's. Both compare the same two messages.
    fn compare_keys(&self, out: &mut Vec<Output>) {
        let Some(live) = &self.live else { return };
        let (Some(own), Some(theirs)) = &live.keys else { return };
        let own_stays = match own.miners.cmp(&theirs.miners) {
            Ordering::Equal => self.hello.id < live.partner.id,
            unequal => unequal.is_gt(),
        };
        if own.secret != theirs.secret && !own_stays {
            out.push(Output::TakeKey(theirs.clone()));
        }
    }
}

impl Hello {
    /// What this box says of itself.
    pub fn of(id: BoxId, run: u64, name: &str, version: &str) -> Hello {
        let (name, version) = (name.to_owned(), version.to_owned());
        Hello { protocol: message::PROTOCOL, id, run, name, version, ..Hello::default() }
    }
}
