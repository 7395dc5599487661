//! The places for notifications on the page: each is tested, written into the config file as a
//! `[[notify]]`, and in force at once.

use std::net::IpAddr;
use std::rc::Weak;
use std::time::Duration;

use async_io::Timer;

use crate::config::Config;
use crate::notify::{self, Input, Sink, SinkId};
use crate::os;
use crate::server::http::admin::{Local, SinkEntry};
use crate::settings::{Remark, SectionChange, SinkChange, SinkValues};
use crate::timeout::within;

use super::sections::{Known, Plan};
use super::{Daemon, State};

/// Time limit of a test message.
const ANSWER_AT_MOST: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl Daemon {
    /// Tests places that are to be added one after the other.
    pub(super) fn checked_sinks(
        &self,
        new: Vec<SinkValues>,
    ) -> Local<Vec<Result<String, Vec<Remark>>>> {
        let known = self.state.borrow().known_sections();
        Box::pin(blocking::unblock(move || {
            let nothing = SectionChange::Sink(SinkChange { place: 0, before: None, after: None });
            let text = known.and_then(|known| Ok((known.text(&nothing)?, known)));
            let (mut text, known) = match text {
                Ok(found) => found,
                Err(remarks) => return new.iter().map(|_| Err(remarks.clone())).collect(),
            };
            let mut place = known.in_force.notify.len();
            let add = |sink| {
                let change = SinkChange { place, before: None, after: Some(sink) };
                let attempt = known.attempt(&text, &SectionChange::Sink(change.clone()))?;
                text = attempt.text;
                place += 1;
                let host = sink_of(&change, &attempt.config);
                let host = host.map_or_else(String::new, |sink| sink.kind.host());
                Ok(format!("Messages go to {host}."))
            };
            new.into_iter().map(add).collect()
        }))
    }

    /// Sends a test message with settings that are not saved.
    pub(super) fn tried_sink(
        &self,
        id: Option<SinkId>,
        new: SinkValues,
    ) -> Local<Result<String, Vec<Remark>>> {
        let state = self.state.borrow();
        let planned = state.plan_sink(id, Some(new));
        let name = state.config.http.name.clone();
        Box::pin(async move {
            let planned = planned?;
            let change = planned.change.clone();
            let plan = planned.plan();
            let attempt = blocking::unblock(move || plan.attempt()).await?;
            let Some(sink) = sink_of(&change, &attempt.config) else { return Err(vec![gone()]) };
            let request = sink.kind.request(&name, &notify::test_message(os::now()));
            let field = |field: &str, why: String| {
                Err(vec![Remark::at(field, format!("The test message was not sent: {why}."))])
            };
            match within(ANSWER_AT_MOST, notify::send(request)).await {
                Some(Ok(())) => Ok(format!(
                    "{} took the test message. Look whether it has arrived; it is saved by Save alone.",
                    sink.kind.host()
                )),
                Some(Err(error)) => field(sink.kind.field_of(&error), error.to_string()),
                None => field("url", format!("no answer within {} s", ANSWER_AT_MOST.as_secs())),
            }
        })
    }

    /// Saves a place, one more, or the list without it.
    pub(super) fn changed_sink(
        &self,
        from: IpAddr,
        id: Option<SinkId>,
        new: Option<SinkValues>,
    ) -> Local<Result<(), Vec<Remark>>> {
        let planned = self.state.borrow().plan_sink(id, new);
        self.put_sink(from, planned)
    }

    /// The same for a change that takes another one back.
    pub(super) fn apply_sink(
        &self,
        from: IpAddr,
        change: SinkChange,
    ) -> Local<Result<(), Vec<Remark>>> {
        let planned = self.state.borrow().plan_sink_change(change);
        self.put_sink(from, planned)
    }

    fn put_sink(
        &self,
        from: IpAddr,
        planned: Result<Planned, Vec<Remark>>,
    ) -> Local<Result<(), Vec<Remark>>> {
        let planned = match planned {
            Ok(planned) => planned,
            Err(remarks) => return Box::pin(async { Err(remarks) }),
        };
        let (id, change) = (planned.id, planned.change.clone());
        let before = planned.known.in_force.notify.get(change.place).cloned();
        let before = before.filter(|_| change.before.is_some());
        let farewell = move |daemon: &Daemon, config: &Config| {
            let sink = sink_of(&change, config);
            let words = match &sink {
                Some(_) => "The box's messages go elsewhere from now on",
                None => "The box sends no more messages here",
            };
            let stays = before.map(|before| before.kind) == sink.map(|sink| sink.kind);
            if let (Some(id), false) = (id, stays) {
                let mut state = daemon.state.borrow_mut();
                let now = state.now();
                if let Some(place) = state.notifications.ids().iter().position(|known| *known == id)
                {
                    let words = format!("{words}. That was done on its page, from {from}.");
                    state.notifications_input(now, Input::Farewell(place, words));
                }
            }
        };
        self.put_section(from, Ok(planned.plan()), farewell)
    }
}

impl State {
    /// For the page.
    pub(super) fn sink_entries(&self) -> Vec<SinkEntry> {
        let told = self.notifications.ids().into_iter().zip(self.notifications.views());
        let entry = |(sink, (id, view)): (&Sink, _)| SinkEntry {
            id,
            values: sink.values().without_secrets(),
            host: sink.kind.host(),
            view,
        };
        self.config.notify.iter().zip(told).map(entry).collect()
    }

    /// What is to become of the file. `new` gets the secrets that were not typed.
    fn plan_sink(
        &self,
        id: Option<SinkId>,
        mut new: Option<SinkValues>,
    ) -> Result<Planned, Vec<Remark>> {
        let known = self.known_sections()?;
        let find = |id| self.notifications.ids().iter().position(|known| *known == id);
        let place = match id {
            Some(id) => find(id).ok_or_else(|| vec![gone()])?,
            None => known.in_force.notify.len(),
        };
        let before = known.in_force.notify.get(place).map(Sink::values);
        if let (Some(new), Some(before)) = (&mut new, &before) {
            new.fill_secrets(before);
        }
        Ok(Planned { known, id, change: SinkChange { place, before, after: new } })
    }

    /// The same for a change that was made up elsewhere. What it changes must be what is there.
    fn plan_sink_change(&self, change: SinkChange) -> Result<Planned, Vec<Remark>> {
        let known = self.known_sections()?;
        if let Some(before) = &change.before
            && known.in_force.notify.get(change.place).map(Sink::values).as_ref() != Some(before)
        {
            return Err(vec![gone()]);
        }
        let id = change.before.as_ref().and_then(|_| {
            let ids = self.notifications.ids();
            ids.get(change.place).copied()
        });
        Ok(Planned { known, id, change })
    }
}

/// A change of one place, which is still to be made.
struct Planned {
    known: Known,
    /// Whose messages are to go elsewhere, or to end.
    id: Option<SinkId>,
    change: SinkChange,
}

impl Planned {
    fn plan(self) -> Plan {
        Plan { known: self.known, change: SectionChange::Sink(self.change) }
    }
}

/// The place that was changed or added.
fn sink_of(change: &SinkChange, config: &Config) -> Option<Sink> {
    change.after.as_ref().and_then(|_| config.notify.get(change.place)).cloned()
}

fn gone() -> Remark {
    Remark::whole("This place has changed meanwhile, or is gone: look at the list.")
}

/// Sends a test message to a saved place, and tells what became of it.
pub(super) async fn test(daemon: Weak<Daemon>, id: SinkId) -> Result<String, String> {
    let stopping = || "Shutting down.".to_owned();
    let view_of = |state: &State| {
        let place = state.notifications.ids().iter().position(|known| *known == id)?;
        Some((place, state.notifications.views().swap_remove(place)))
    };
    let before = {
        let strong = daemon.upgrade().ok_or_else(stopping)?;
        let mut state = strong.state.borrow_mut();
        let (place, before) = view_of(&state).ok_or_else(|| gone().text)?;
        state.notifications_input(os::now(), Input::Test(place));
        strong.rearm(&state);
        before
    };
    let mut waited = Duration::ZERO;
    loop {
        Timer::after(LOOK_EVERY).await;
        waited += LOOK_EVERY;
        let strong = daemon.upgrade().ok_or_else(stopping)?;
        let (_, now) = view_of(&strong.state.borrow()).ok_or_else(|| gone().text)?;
        let kind = &now.kind;
        // A try that fails is told by its date: its words may be those of an earlier one.
        return match (now.sent > before.sent, now.failed_tries > before.failed_tries) {
            (true, _) => Ok(format!("{kind} took the test message: look whether it has arrived.")),
            (false, true) => Err(format!(
                "{kind}: the test message was not sent: {}. It is tried again.",
                now.error
            )),
            _ if waited < ANSWER_AT_MOST => continue,
            _ => Err(format!("{kind}: no answer yet.")),
        };
    }
}
