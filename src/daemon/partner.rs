//! The other box of a pair as the owner sets it on the page: named, taken away, forgotten for good, and given
//! the miners' address for a drill.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::clock::Now;
use crate::config::Pair as PairConfig;
use crate::engine;
use crate::os;
use crate::pair::drill::Drill;
use crate::server::http::admin::Local;
use crate::server::http::admin::pair::SavedPair;
use crate::settings::{self, PairChange, PairValues, Remark, SectionChange, invitation};
use crate::status::{EventKind, Level};

use super::pair::PairSide;
use super::sections::Plan;
use super::{Daemon, State};

/// Nobody takes a partner away by emptying a field: the payout depends on it.
const FORGET_IT: &str =
    "Where the other box is gone for good, forget it: by the button in the settings.";

impl Daemon {
    /// Tries a change of the other box. Who it is, and its code, wait as a new payout address does; the
    /// address that the miners use is saved at once. What the second box is told, where there is something
    /// to tell.
    pub(super) fn changed_pair(
        &self,
        from: IpAddr,
        new: PairValues,
    ) -> Local<Result<Option<String>, Vec<Remark>>> {
        let planned = self.state.borrow().plan_pair(new);
        let this = self.this.clone();
        Box::pin(async move {
            let (change, plan) = planned?;
            let gone = || vec![Remark::whole("Shutting down.")];
            if !change.has_to_wait() {
                let put = this.upgrade().ok_or_else(gone)?.put_section(from, Ok(plan), |_, _| {});
                return put.await.map(|()| None);
            }
            let attempt = blocking::unblock(move || plan.attempt()).await?;
            let daemon = this.upgrade().ok_or_else(gone)?;
            let mut state = daemon.state.borrow_mut();
            let now = state.now();
            // As it is written: with the defaults, by which the file is known again.
            let after = attempt.config.pair.values();
            let change = settings::Input::Pair(Box::new(PairChange { after, ..change }));
            state.engine_input(now, engine::Input::Change { from, change });
            daemon.rearm(&state);
            Ok(invited(&attempt.config.pair))
        })
    }

    /// Saves a change whose time is over, and puts it into force as far as that needs no restart. What it
    /// changes must be what is there.
    pub(super) fn apply_pair(
        &self,
        from: IpAddr,
        change: PairChange,
    ) -> Local<Result<(), Vec<Remark>>> {
        let state = self.state.borrow();
        let planned = match state.saved_pair.values() == change.before {
            true => state.plan_change(change),
            false => Err(vec![Remark::whole("The other box was changed meanwhile.")]),
        };
        drop(state);
        self.put_section(from, planned, |daemon, config| {
            let mut state = daemon.state.borrow_mut();
            let now = state.now();
            match (config.pair.partner, &state.pair) {
                (None, Some(_)) => state.end_pair(now, config.pair.clone()),
                (Some(_), None) => state.begin_pair(now, config.pair.clone()),
                // It runs with another partner or code until the next start.
                (Some(_), Some(_)) | (None, None) => {}
            }
        })
    }

    /// Lets the other box take the address of the miners.
    pub(super) fn give_address(&self) -> Result<String, String> {
        let mut state = self.state.borrow_mut();
        let now = state.now();
        let begun = state.give_address(now);
        self.rearm(&state);
        begun
    }
}

impl State {
    pub(super) fn saved_pair(&self) -> SavedPair {
        SavedPair {
            values: self.saved_pair.values().without_secret(),
            waits: self.saved_pair != self.config.pair,
        }
    }

    /// What is to become of the file. `new` gets the code that was not typed.
    fn plan_pair(&self, new: PairValues) -> Result<(PairChange, Plan), Vec<Remark>> {
        if new.partner.is_empty() {
            let words =
                if self.pair.is_some() { FORGET_IT } else { "Write the other box's address." };
            return Err(vec![Remark::at("partner", words)]);
        }
        let before = self.saved_pair.values();
        let after = new.completed(&before)?;
        if let Some(remark) = names_itself(&after.partner) {
            return Err(vec![remark]);
        }
        let change = PairChange { before, after };
        Ok((change.clone(), self.plan_change(change)?))
    }

    fn plan_change(&self, change: PairChange) -> Result<Plan, Vec<Remark>> {
        let change = SectionChange::Pair(Box::new(change));
        Ok(Plan { known: self.known_sections()?, change })
    }

    /// The change by which the other box is forgotten.
    pub(super) fn forgetting(&self) -> Box<PairChange> {
        let before = self.saved_pair.values();
        let after = PairValues { partner: String::new(), secret: None, ..before.clone() };
        Box::new(PairChange { before, after })
    }

    /// The first other box of this run is there: nothing else has to start anew for it.
    fn begin_pair(&mut self, now: Now, pair: PairConfig) {
        self.config.pair = pair;
        self.pair = PairSide::open(&mut self.config);
        self.open_pair(now);
        // As at a start: what is not final is kept by the other box too.
        let blocks: Vec<_> = self.engine.blocks().iter().map(|(block, _)| block.clone()).collect();
        for block in blocks {
            self.restored_in_pair(now, &block);
        }
    }

    /// From here on this box decides alone. It goes on in its half of the extranonces until the next start:
    /// the other one may be there after all.
    fn end_pair(&mut self, now: Now, pair: PairConfig) {
        self.config.pair = pair;
        let Some(side) = self.pair.take() else { return };
        if !side.hands_out() {
            self.engine_input(now, engine::Input::HandOut(true));
        }
        let files = side.files();
        drop(side);
        // At the next start what could not be removed is removed: no partner is named any more.
        let remove = move || files.iter().for_each(|file| remove(file));
        blocking::unblock(remove).detach();
        let text = "The other box is forgotten: this one decides alone whom its blocks pay.";
        self.tell(now, EventKind::System, Level::Warning, text.to_owned());
    }

    fn give_address(&mut self, now: Now) -> Result<String, String> {
        let has_address = self.has_shared_address();
        let here = self.pair_report(now).connections.len() as u32;
        let side = self.pair.as_mut().ok_or("This box has no other one.")?;
        match has_address {
            None => {
                return Err("No virtual_address is set below [pair]: no address moves.".to_owned());
            }
            Some(false) => {
                return Err("This box does not have the address of the miners.".to_owned());
            }
            Some(true) => {}
        }
        let there = side
            .ready_partner()
            .ok_or("The other box is not connected or not ready: it would not take the miners.")?;
        if !side.begin_drill(Drill::begin(now.mono, here, there), now) {
            return Err("A drill is going on already.".to_owned());
        }
        Ok("This box says that it is not ready: the other one takes the address in a few seconds. The page \
            Both boxes tells what comes of it."
            .to_owned())
    }
}

fn remove(file: &Path) {
    match std::fs::remove_file(file) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => log::error!("{}: {error}", file.display()),
    }
}

/// Whether the partner is this box, as it happens when an address is mixed up.
fn names_itself(partner: &str) -> Option<Remark> {
    let ip: IpAddr = partner.parse().ok()?;
    let words = "This is an address of this box: write the other one's.";
    os::addresses().contains(&ip).then(|| Remark::at("partner", words))
}

/// What the second box is told: the code, where this box is, and the address that the miners use.
fn invited(pair: &PairConfig) -> Option<String> {
    let PairValues { virtual_address, secret, .. } = pair.values();
    let own = os::way_to(pair.partner?.ip()).ok().map(|ip| {
        match pair.listen.first().map_or(crate::pair::PORT, SocketAddr::port) {
            crate::pair::PORT => ip.to_string(),
            port => SocketAddr::new(ip, port).to_string(),
        }
    });
    Some(invitation(&secret?, &own.unwrap_or_default(), &virtual_address))
}
