//! The agreement of two boxes on whom their blocks pay: never two addresses at the same time.
//!
//! ```text
//!  proposer                                    the other
//!  Settled ── Ask ───────────────────────────► Settled
//!                                              Consenting: on its card, hands out no work from here on
//!  Settled ◄────────────────────────── Yes ─── Consented
//!  Deciding: on its card
//!  Settled (new) ── Decided ─────────────────► Settled (new): hands out work again
//! ```
//!
//! It is a two-phase commit. A box that has consented and loses the other one does not know what was
//! decided. It hands out no work, and the address that miners use moves to the other box. When they are
//! connected again, the first message of the other one tells it; or the owner removes the other box from
//! the settings. A yes counts only on the connection on which it was asked for, so a question whose
//! connection ended is undone.
//!
//! What must survive a power cut is in one [`Record`], which is on the card before anything that rests on
//! it is said. Pure: the shell writes it and reports back.

use crate::framed::{self, Fields};

use super::message::{Agreed, BoxId, Hello, Message, Proposal};

/// Begins the file.
const MAGIC: &[u8] = b"soloist pair 1\n";

/// Bytes of the file that are read.
pub const FILE_MAX: usize = 4096;

/// What a box must know after a power cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// What is agreed. Number 0: nothing yet.
    pub agreed: Agreed,
    /// What it has consented to, until it hears what was decided.
    pub consent: Option<Agreed>,
    /// An address that still stands in its settings, and was overtaken by what is agreed: no wish of the
    /// owner's.
    pub overtaken: Option<String>,
    /// The other box, by which it is told on which side of the extranonces this one is.
    pub partner: Option<BoxId>,
}

impl Record {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        framed::write(&mut bytes, 1, |out| {
            out.extend_from_slice(&self.agreed.number.to_le_bytes());
            framed::write_bytes(out, self.agreed.address.as_bytes());
            let consent = self.consent.clone().unwrap_or_default();
            out.extend_from_slice(&consent.number.to_le_bytes());
            framed::write_bytes(out, consent.address.as_bytes());
            framed::write_bytes(out, self.overtaken.as_deref().unwrap_or_default().as_bytes());
            out.extend_from_slice(&self.partner.map_or(0, |BoxId(id)| id).to_le_bytes());
        });
        bytes
    }

    /// Reads it; `None` if it is none, or damaged.
    pub fn decode(bytes: &[u8]) -> Option<Record> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let payload = framed::take(&mut rest, FILE_MAX)?;
        let mut fields = Fields(payload.strip_prefix(&[1])?);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let agreed = Agreed { number: fields.long()?, address: text(fields.bytes()?)? };
        let consent = Agreed { number: fields.long()?, address: text(fields.bytes()?)? };
        let overtaken = text(fields.bytes()?)?;
        let partner = fields.long()?;
        Some(Record {
            agreed,
            consent: (consent.number > 0).then_some(consent),
            overtaken: (!overtaken.is_empty()).then_some(overtaken),
            partner: (partner > 0).then_some(BoxId(partner)),
        })
    }
}

/// What the owner sees of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is agreed: the boxes have not met, or their settings name different addresses.
    Apart {
        /// What the other box would have, where it is known.
        other: Option<String>,
    },
    /// Both pay this.
    Agreed,
    /// The settings name another address, and the other box has not agreed to it yet.
    Waiting {
        /// The address.
        address: String,
        /// The other box is not connected.
        alone: bool,
    },
    /// This box has consented to this address, and does not know what was decided; or it does not know
    /// whether its own decision is on the card.
    InDoubt(String),
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Input {
    /// The settings name this address; empty before the set-up.
    Wanted(String),
    /// Both boxes have said who they are.
    Met(Hello),
    /// The connection ended.
    Lost,
    /// A message of the agreement came.
    Told(Message),
    /// [`Output::Write`] is done: it is on the card, or it is not.
    Written(bool),
    /// It is time to try once more what failed: a question that was answered by no, or a write.
    Retry,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Write this down, so that it survives a power cut, and report it. One at a time.
    Write(Record),
    /// Say this to the other box.
    Say(Message),
    /// The settings are to name this address.
    Adopt(String),
    /// [`Agreement::address`] or [`Agreement::serves`] is another.
    Changed,
}

/// What waits for the card.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Writing {
    /// A consent; then yes is said to this question.
    Consent { agreed: Agreed, ask: u64 },
    /// A decision of our own, which answers this question.
    Decision { agreed: Agreed, ask: u64 },
    /// What is in force already.
    Note,
}

/// See the module's description.
#[derive(Debug)]
pub struct Agreement {
    own: BoxId,
    /// As it is in force: ahead of the card only by notes.
    record: Record,
    wanted: String,
    /// The other box, while it is connected.
    partner: Option<Hello>,
    /// The other box is not the one with which the agreement was made, and has another one.
    is_stranger: bool,
    writing: Option<Writing>,
    /// The record in force differs from what was last given to the card.
    to_note: bool,
    /// The question that waits for its answer.
    asking: Option<Proposal>,
    /// It was answered by yes.
    granted: bool,
    next_ask: u64,
    /// The other box's question, while a note is on its way to the card.
    asked: Option<Proposal>,
    /// The other box's question that was consented to on this connection.
    consented: Option<u64>,
    /// A decision that could not be written: it may be on the card all the same. The question that it
    /// answers is withdrawn when the card is known to have what was before.
    unsure: Option<(Agreed, u64)>,
    /// Something failed: not before [`Input::Retry`].
    failed: bool,
}

impl Agreement {
    /// Goes on with what is on the card.
    pub fn new(own: BoxId, record: Option<Record>) -> Agreement {
        Agreement {
            own,
            record: record.unwrap_or_default(),
            wanted: String::new(),
            partner: None,
            is_stranger: false,
            writing: None,
            to_note: false,
            asking: None,
            granted: false,
            next_ask: 1,
            asked: None,
            consented: None,
            unsure: None,
            failed: false,
        }
    }

    /// The address that blocks pay; `None` where the settings decide alone.
    pub fn address(&self) -> Option<&str> {
        (self.record.agreed.number > 0).then_some(&self.record.agreed.address)
    }

    /// Whether work may be handed out.
    pub fn serves(&self) -> bool {
        let is_consenting = matches!(self.writing, Some(Writing::Consent { .. }));
        self.record.consent.is_none() && !is_consenting && self.unsure.is_none()
    }

    /// On which side of the extranonces this box is; `None` until the other one is known.
    pub fn side(&self) -> Option<bool> {
        self.record.partner.map(|partner| self.own > partner)
    }

    /// What is in force, and perhaps on its way to the card.
    #[cfg(test)]
    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// Whether something waits for [`Input::Retry`].
    pub fn wants_retry(&self) -> bool {
        self.failed && (self.proposal().is_some() || self.to_note || self.unsure.is_some())
    }

    /// What the owner sees.
    pub fn standing(&self) -> Standing {
        let unsure = self.unsure.as_ref().map(|(agreed, _)| agreed);
        if let Some(doubtful) = self.record.consent.as_ref().or(unsure) {
            return Standing::InDoubt(doubtful.address.clone());
        }
        if self.record.agreed.number == 0 || self.is_stranger {
            let other = self.partner.as_ref().map(|hello| match &hello.agreed {
                Some(agreed) => agreed.address.clone(),
                None => hello.wanted.clone(),
            });
            return Standing::Apart { other };
        }
        match self.proposal() {
            Some(address) => Standing::Waiting { address, alone: self.partner.is_none() },
            None => Standing::Agreed,
        }
    }

    /// Fills in what the first message says of it.
    pub fn introduce(&self, hello: &mut Hello) {
        hello.id = self.own;
        hello.wanted = self.wanted.clone();
        hello.agreed = (self.record.agreed.number > 0).then(|| self.record.agreed.clone());
        let is_deciding = matches!(self.writing, Some(Writing::Decision { .. }));
        hello.deciding = is_deciding || self.unsure.is_some();
    }

    /// Takes an input and adds what is to be done to `out`.
    pub fn handle(&mut self, input: Input, out: &mut Vec<Output>) {
        let before = (self.address().map(str::to_owned), self.serves());
        match input {
            Input::Wanted(address) => self.wanted(address, out),
            Input::Met(hello) => self.met(hello, out),
            Input::Lost => self.lost(),
            Input::Told(message) => self.told(message, out),
            Input::Written(is_done) => self.written(is_done, out),
            Input::Retry => {
                self.failed = false;
                self.to_note |= self.unsure.is_some();
            }
        }
        // What is on its way to the card first has to arrive.
        if let Some(proposal) = self.asked.take_if(|_| self.writing.is_none()) {
            self.asked(proposal, out);
        }
        self.granted &= self.asking.is_some();
        if self.granted && self.writing.is_none() {
            self.decide(out);
        }
        self.ask(out);
        self.note(out);
        if before != (self.address().map(str::to_owned), self.serves()) {
            out.push(Output::Changed);
        }
    }

    /// The address that the owner wants, and that needs the other box's consent.
    fn proposal(&self) -> Option<String> {
        let is_wish = !self.wanted.is_empty()
            && self.wanted != self.record.agreed.address
            && self.record.overtaken.as_ref() != Some(&self.wanted);
        // The first agreement is on what both settings name.
        let is_first = self.record.agreed.number == 0;
        let is_shared = self
            .partner
            .as_ref()
            .is_some_and(|partner| partner.agreed.is_none() && partner.wanted == self.wanted);
        (is_wish && (!is_first || is_shared)).then(|| self.wanted.clone())
    }

    fn wanted(&mut self, address: String, out: &mut Vec<Output>) {
        if self.wanted != address && self.partner.is_some() {
            out.push(Output::Say(Message::Wanted(address.clone())));
        }
        self.wanted = address;
        self.failed = false;
        match &self.record.overtaken {
            Some(overtaken) if *overtaken == self.wanted => {
                out.push(Output::Adopt(self.record.agreed.address.clone()));
            }
            Some(_) => {
                self.record.overtaken = None;
                self.to_note = true;
            }
            None => {}
        }
        if let Some(asked) = &self.asking
            && Some(&asked.agreed.address) != self.proposal().as_ref()
        {
            out.push(Output::Say(Message::Withdraw(asked.ask)));
            self.asking = None;
        }
        self.join();
    }

    fn lost(&mut self) {
        (self.partner, self.asking, self.asked, self.consented) = (None, None, None, None);
        (self.is_stranger, self.failed) = (false, false);
        if let Some(Writing::Consent { .. }) = self.writing {
            // Yes was never said, so nothing can be decided: what is on its way to the card is taken back.
            self.writing = Some(Writing::Note);
            self.to_note = true;
        }
    }

    fn met(&mut self, hello: Hello, out: &mut Vec<Output>) {
        self.lost();
        let known = self.record.partner;
        let is_same = known == Some(hello.id);
        let partner = self.partner.insert(hello).clone();
        if !is_same && self.record.consent.is_some() {
            // Only the one that asked knows what it has decided.
            self.is_stranger = true;
            return;
        }
        if !is_same {
            self.record.partner = Some(partner.id);
            self.to_note = true;
        }
        self.join();
        let (own, Some(theirs)) = (self.record.agreed.clone(), partner.agreed) else {
            self.undo(partner.deciding);
            return;
        };
        if own.number > 0
            && own.address != theirs.address
            && (!is_same || own.number == theirs.number)
        {
            self.is_stranger = true;
        } else if (own.number > 0 || self.record.consent.is_some()) && theirs.number > own.number {
            self.settle(theirs, out);
        } else {
            self.undo(partner.deciding);
        }
    }

    /// The other box has not decided what was consented to, and never will.
    fn undo(&mut self, is_deciding: bool) {
        if self.record.consent.is_some() && !is_deciding {
            self.record.consent = None;
            self.to_note = true;
        }
    }

    /// A box that is new to the other one joins what that has agreed to before, where its owner names the
    /// same address.
    fn join(&mut self) {
        let theirs = self.partner.as_ref().and_then(|partner| partner.agreed.clone());
        let theirs = theirs.filter(|theirs| theirs.address == self.wanted);
        if let Some(theirs) = theirs.filter(|_| self.record.agreed.number == 0) {
            self.record.agreed = theirs;
            self.record.consent = None;
            self.to_note = true;
        }
    }

    /// This is in force from now on, by the other box's word.
    fn settle(&mut self, agreed: Agreed, out: &mut Vec<Output>) {
        // Settings that named what was agreed before are no wish for it.
        if self.wanted == self.record.agreed.address && self.wanted != agreed.address {
            self.record.overtaken = Some(self.wanted.clone());
            out.push(Output::Adopt(agreed.address.clone()));
        }
        self.record.agreed = agreed;
        self.record.consent = None;
        self.consented = None;
        self.to_note = true;
    }

    fn told(&mut self, message: Message, out: &mut Vec<Output>) {
        let Some(partner) = &mut self.partner else { return };
        match message {
            Message::Wanted(address) => {
                partner.wanted = address;
                self.failed = false;
            }
            Message::Ask(proposal) => self.asked(proposal, out),
            Message::Yes(ask) => {
                self.granted = self.asking.as_ref().is_some_and(|asked| asked.ask == ask);
            }
            Message::No(ask) => {
                self.failed |= self.asking.take_if(|asked| asked.ask == ask).is_some();
            }
            Message::Withdraw(ask) => match self.writing {
                Some(Writing::Consent { ask: written, .. }) if written == ask => {
                    self.writing = Some(Writing::Note);
                    self.to_note = true;
                }
                _ if self.asked.take_if(|asked| asked.ask == ask).is_some() => {}
                _ if self.consented == Some(ask) => {
                    self.consented = None;
                    self.undo(false);
                }
                // After a restart of this box, or a new connection: what it consented to is undone.
                _ => {
                    partner.deciding = false;
                    if self.consented.is_none() && !self.is_stranger {
                        self.undo(false);
                    }
                }
            },
            Message::Decided(agreed) => {
                (partner.agreed, partner.deciding) = (Some(agreed.clone()), false);
                let is_next = agreed.number > self.record.agreed.number && !self.is_stranger;
                let is_mine = self.record.agreed.number > 0 || self.record.consent.is_some();
                if is_next && is_mine {
                    self.settle(agreed, out);
                }
            }
            Message::Hello(_)
            | Message::Block(_)
            | Message::Kept(_)
            | Message::State(_)
            | Message::Levels(_)
            | Message::Connections(_)
            | Message::Authority(_)
            | Message::JobsWanted(_)
            | Message::JobsPart(_) => {}
        }
    }

    fn decide(&mut self, out: &mut Vec<Output>) {
        let Some(Proposal { ask, agreed }) = self.asking.take() else { return };
        (self.granted, self.to_note) = (false, false);
        out.push(Output::Write(Record { agreed: agreed.clone(), ..self.record.clone() }));
        self.writing = Some(Writing::Decision { agreed, ask });
    }

    fn asked(&mut self, proposal: Proposal, out: &mut Vec<Output>) {
        let Proposal { ask, agreed } = proposal;
        let Some(partner) = &self.partner else { return };
        let own = &self.record.agreed;
        let is_next = agreed.number == own.number + 1 && !agreed.address.is_empty();
        let is_fit = own.number > 0 || agreed.address == self.wanted;
        let is_free = self.record.consent.is_none()
            && self.unsure.is_none()
            && !self.is_stranger
            && matches!(self.writing, None | Some(Writing::Note));
        // Both ask: the lower box goes first.
        let gives_way = self.asking.is_none() || partner.id < self.own;
        if !(is_next && is_fit && is_free && gives_way) {
            out.push(Output::Say(Message::No(ask)));
            return;
        }
        if self.writing.is_some() {
            self.asked = Some(Proposal { ask, agreed });
            return;
        }
        self.asking = None;
        self.to_note = false;
        out.push(Output::Write(Record { consent: Some(agreed.clone()), ..self.record.clone() }));
        self.writing = Some(Writing::Consent { agreed, ask });
    }

    fn written(&mut self, is_done: bool, out: &mut Vec<Output>) {
        match (self.writing.take(), is_done) {
            (Some(Writing::Consent { agreed, ask }), true) => {
                self.record.consent = Some(agreed);
                self.consented = Some(ask);
                out.push(Output::Say(Message::Yes(ask)));
            }
            (Some(Writing::Consent { ask, .. }), false) => {
                // It may be there all the same; that is undone when both meet again.
                (self.to_note, self.failed) = (true, true);
                out.push(Output::Say(Message::No(ask)));
            }
            (Some(Writing::Decision { agreed, .. }), true) => {
                self.record.overtaken = None;
                self.record.agreed = agreed.clone();
                // A wish that came meanwhile is the next question.
                out.push(Output::Say(Message::Decided(agreed)));
            }
            (Some(Writing::Decision { agreed, ask }), false) => {
                self.unsure = Some((agreed, ask));
                (self.to_note, self.failed) = (true, true);
            }
            (Some(Writing::Note), true) => {
                if let Some((_, ask)) = self.unsure.take() {
                    out.push(Output::Say(Message::Withdraw(ask)));
                }
            }
            (Some(Writing::Note), false) => (self.to_note, self.failed) = (true, true),
            (None, _) => {}
        }
    }

    /// Asks for what the owner wants, if that is possible now.
    fn ask(&mut self, out: &mut Vec<Output>) {
        let Some(partner) = &self.partner else { return };
        let own = self.record.agreed.number;
        let theirs = partner.agreed.as_ref().map_or(0, |theirs| theirs.number);
        let is_free = self.asking.is_none()
            && self.writing.is_none()
            && self.unsure.is_none()
            && self.record.consent.is_none()
            && !self.failed
            && !self.is_stranger
            && theirs <= own;
        let Some(address) = self.proposal().filter(|_| is_free) else { return };
        let proposal = Proposal { ask: self.next_ask, agreed: Agreed { number: own + 1, address } };
        self.next_ask += 1;
        out.push(Output::Say(Message::Ask(proposal.clone())));
        self.asking = Some(proposal);
    }

    /// Brings what is in force to the card, where nothing else is on its way there.
    fn note(&mut self, out: &mut Vec<Output>) {
        if self.to_note && self.writing.is_none() && !self.failed {
            self.to_note = false;
            out.push(Output::Write(self.record.clone()));
            self.writing = Some(Writing::Note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings of the other box still name the former address, and its power is cut before they are
    /// written: that is no wish to go back.
    #[test]
    fn settings_that_were_overtaken_are_no_wish() {
        let agreed = |number: u64, address: &str| Agreed { number, address: address.to_owned() };
        let id = BoxId(9);
        let before = Record { agreed: agreed(1, "old"), partner: Some(id), ..Record::default() };
        let hello = |number: u64, address: &str| {
            let agreed = Some(agreed(number, address));
            Hello { id, agreed, wanted: address.to_owned(), protocol: 1, ..Hello::default() }
        };
        let mut out = Vec::new();
        let mut agreement = Agreement::new(BoxId(4), Some(before));
        agreement.handle(Input::Wanted("old".to_owned()), &mut out);
        agreement.handle(Input::Met(hello(1, "old")), &mut out);
        let proposal = Proposal { ask: 1, agreed: agreed(2, "new") };
        agreement.handle(Input::Told(Message::Ask(proposal)), &mut out);
        assert!(!agreement.serves());
        agreement.handle(Input::Written(true), &mut out);
        agreement.handle(Input::Told(Message::Decided(agreed(2, "new"))), &mut out);
        assert_eq!((agreement.address(), agreement.serves()), (Some("new"), true));
        assert!(out.contains(&Output::Adopt("new".to_owned())));
        let Some(Output::Write(record)) =
            out.iter().rfind(|output| matches!(output, Output::Write(_))).cloned()
        else {
            panic!("nothing is written: {out:?}");
        };

        let mut agreement = Agreement::new(BoxId(4), Record::decode(&record.encode()));
        let mut out = Vec::new();
        agreement.handle(Input::Wanted("old".to_owned()), &mut out);
        agreement.handle(Input::Met(hello(2, "new")), &mut out);
        assert_eq!(agreement.standing(), Standing::Agreed);
        assert_eq!(out, [Output::Adopt("new".to_owned())]);
        // The owner's wish comes after that.
        agreement.handle(Input::Wanted("new".to_owned()), &mut out);
        agreement.handle(Input::Written(true), &mut out);
        agreement.handle(Input::Wanted("old".to_owned()), &mut out);
        let proposal = Proposal { ask: 1, agreed: agreed(3, "old") };
        assert!(out.contains(&Output::Say(Message::Ask(proposal))), "{out:?}");
    }

    #[test]
    fn a_record_comes_back_and_damage_is_seen() {
        let agreed = Agreed { number: 4, address: "bc1qold".to_owned() };
        let consent = Agreed { number: 5, address: "bc1qnew".to_owned() };
        for record in [
            Record::default(),
            Record { agreed: agreed.clone(), ..Record::default() },
            Record {
                agreed,
                consent: Some(consent),
                overtaken: Some("bc1qolder".to_owned()),
                partner: Some(BoxId(7)),
            },
        ] {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Some(record));
            for at in 0..bytes.len() {
                assert_eq!(Record::decode(&bytes[..at]), None, "cut at {at}");
                let mut bad = bytes.clone();
                bad[at] ^= 0x20;
                assert_eq!(Record::decode(&bad), None, "byte {at}");
            }
        }
    }
}
