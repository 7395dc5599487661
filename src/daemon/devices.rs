//! The miners' own APIs: who is asked, and what becomes of the answers.
//!
//! Mining never waits for them: questions run on the page's executor, in the time that the miners leave.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use smol::LocalExecutor;

use crate::clock::Now;
use crate::config::Config;
use crate::devices::rounds::{Place, Question, Rounds, Wanted};
use crate::devices::{Fault, Hint, Telemetry};
use crate::lan;
use crate::ledger::totals::{LedgerEvent, WorkerId};
use crate::status::DeviceView;

use super::{Event, State};

/// How often it is looked who is to be asked.
const LOOK: Duration = Duration::from_secs(5);

/// What is known of the devices, and who is to be asked next.
pub(super) struct Devices {
    rounds: Rounds,
    /// The worker that last mined from an address, if it was one alone: a device whose miner has left is
    /// still the same.
    workers: BTreeMap<IpAddr, WorkerId>,
    /// When it is looked next who is to be asked, and whose first share has come; `None` where nobody is.
    look: Option<Instant>,
    executor: Rc<LocalExecutor<'static>>,
}

impl Devices {
    /// Nothing is known. Questions run on this executor.
    pub(super) fn new(now: Now, config: &Config, executor: Rc<LocalExecutor<'static>>) -> Devices {
        let look = config.devices.ask.then_some(now.mono);
        Devices { rounds: Rounds::default(), workers: BTreeMap::new(), look, executor }
    }

    /// Applies the settings.
    pub(super) fn reload(&mut self, now: Now, config: &Config) {
        self.look(now);
        if !config.devices.ask {
            self.rounds.clear();
            self.workers.clear();
        }
    }

    /// What is known of each.
    pub(super) fn rounds(&self) -> &Rounds {
        &self.rounds
    }

    /// The worker that mines from an address, or did before it left.
    pub(super) fn worker(&self, ip: IpAddr) -> Option<WorkerId> {
        self.workers.get(&ip).copied()
    }

    /// Asks this device next: something was done to it.
    pub(super) fn hurry(&mut self, now: Now, place: Place) {
        self.rounds.hurry(now, place);
    }

    /// Looks at once who is to be asked, and who has sent a first share.
    pub(super) fn look(&mut self, now: Now) {
        self.look = Some(now.mono);
    }

    /// When there is something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let look = self.look?;
        Some(self.rounds.next_deadline().map_or(look, |next| next.min(look)))
    }
}

impl State {
    pub(super) fn tick_devices(&mut self, now: Now) {
        let Some(look) = self.devices.look else { return };
        if look <= now.mono {
            self.look_for_first_shares(now);
            let asks = self.config.devices.ask;
            self.devices.look = (asks || self.pointed.waits()).then(|| now.mono + LOOK);
            if asks {
                let wanted = self.wanted_devices();
                self.devices.rounds.want(now, wanted);
            }
        }
        while let Some(question) = self.devices.rounds.next_question(now) {
            let queue = self.queue.clone();
            let ask = async move {
                let answer = lan::ask(question.place, question.api).await;
                let answer = answer.and_then(|answers| Ok(question.api.read(&answers)?));
                queue.send(Event::Device(question, answer.map(Box::new))).await.ok();
            };
            self.devices.executor.spawn(ask).detach();
        }
    }

    /// Takes an answer.
    pub(super) fn device_answered(
        &mut self,
        now: Now,
        question: Question,
        answer: Result<Box<Telemetry>, Fault>,
    ) {
        let worker = self.devices.workers.get(&question.place.ip).copied();
        // While it mines elsewhere, there is nothing to compare.
        let ip = question.place.ip;
        let is_here = self.engine.pool().sessions().any(|session| session.peer() == ip);
        let counted = worker.filter(|_| is_here).and_then(|worker| self.ledger.core.get(worker));
        let ours = counted.map(|worker| {
            let counts = &worker.totals().ever;
            counts.accepted + counts.rejects.iter().sum::<u64>()
        });
        let answer = answer.map(|telemetry| *telemetry);
        if let Err(fault) = &answer {
            log::debug!("device at {}: {fault}", question.place);
        }
        let told = self.devices.rounds.answered(now, question, answer, ours);
        let heat = told.map(|told| (told.chip_c, told.watts));
        if let (Some(worker), Some((celsius, watts))) = (worker, heat) {
            let [celsius, watts] = [celsius, watts].map(|value| value.map(|value| value as f32));
            self.ledger_event(now, LedgerEvent::Heat { worker, celsius, watts });
        }
    }

    /// The addresses of the miners that are connected, and those that the owner wrote down.
    fn wanted_devices(&mut self) -> Vec<Wanted> {
        let mut hints: BTreeMap<IpAddr, (Hint, Option<WorkerId>)> = BTreeMap::new();
        let sessions = self.engine.pool().sessions().filter(|session| {
            Place::at(session.peer()).is_private() || session.peer().is_loopback()
        });
        for session in sessions {
            let ip = session.peer().to_canonical();
            let Some(worker) = self.ledger.workers.get(&session.conn()).copied() else { continue };
            let hint = session.profile().api;
            hints
                .entry(ip)
                .and_modify(|known| {
                    // Several workers at one address are no device that could be told from others.
                    known.1 = known.1.filter(|known| *known == worker);
                    known.0 = if known.0 == hint { hint } else { Hint::Unknown };
                })
                .or_insert((hint, Some(worker)));
        }
        for (ip, (_, worker)) in &hints {
            match worker {
                Some(worker) => self.devices.workers.insert(*ip, *worker),
                None => self.devices.workers.remove(ip),
            };
        }
        let named = self.config.devices.addresses.iter().map(|place| {
            let known = hints.get(&place.ip).map(|(hint, _)| *hint);
            let hint = known.filter(|hint| *hint != Hint::None).unwrap_or(Hint::Unknown);
            Wanted { place: *place, hint }
        });
        let is_named = |ip: &IpAddr| self.config.devices.addresses.iter().any(|p| p.ip == *ip);
        let miners = hints
            .iter()
            .filter(|(ip, _)| Place::at(**ip).is_private() && !is_named(ip))
            .map(|(ip, (hint, _))| Wanted { place: Place::at(*ip), hint: *hint });
        let wanted: Vec<Wanted> = named.chain(miners).collect();
        let rounds = &self.devices.rounds;
        self.devices.workers.retain(|ip, _| {
            hints.contains_key(ip) || rounds.devices().any(|(place, _)| place.ip == *ip)
        });
        wanted
    }

    /// For the page.
    pub(super) fn device_views(&self, now: Now) -> Vec<DeviceView> {
        let devices = self.devices.rounds.devices();
        let known = devices.filter(|(place, device)| {
            let is_named = self.config.devices.addresses.contains(place);
            device.telemetry().is_some() || is_named
        });
        let views = known.map(|(place, device)| {
            let worker = self.devices.workers.get(&place.ip);
            let worker = worker.and_then(|worker| self.ledger.core.get(*worker));
            let miner = worker.map(|worker| worker.number.0.to_string());
            let ip = place.ip;
            let mines_here = self.engine.pool().sessions().any(|s| s.peer().to_canonical() == ip);
            DeviceView::of(now, place, device, miner, mines_here)
        });
        views.collect()
    }
}
