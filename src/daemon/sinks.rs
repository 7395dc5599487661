//! The places for notifications on the page: each is tested, written into the config file as a
//! `[[notify]]`, and in force at once.

use std::net::IpAddr;
use std::rc::Weak;
use std::time::Duration;

use async_io::Timer;

use crate::config::{self, Config, Incomplete, Problem, Problems};
use crate::engine;
use crate::notify::{self, Input, Sink, SinkId};
use crate::os;
use crate::server::http::admin::{Local, SinkEntry};
use crate::settings::{self, Remark, SinkChange, SinkValues};
use crate::timeout::within;

use super::admin::{self, Source};
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
        let known = self.state.borrow().known_sinks();
        Box::pin(blocking::unblock(move || {
            let text = known.and_then(|known| Ok((known.text()?, known)));
            let (mut text, known) = match text {
                Ok(found) => found,
                Err(remarks) => return new.iter().map(|_| Err(remarks.clone())).collect(),
            };
            let mut place = known.in_force.len();
            let add = |sink| {
                let change = SinkChange { place, before: None, after: Some(sink) };
                let attempt = attempt(&known.source, &text, &change)?;
                text = attempt.text;
                place += 1;
                let host = attempt.sink.map_or_else(String::new, |sink| sink.kind.host());
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
            let plan = planned?;
            let attempt = blocking::unblock(move || plan.attempt()).await?;
            let Some(sink) = attempt.sink else { return Err(vec![gone()]) };
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
    pub(super) fn apply_sink(&self, from: IpAddr, change: SinkChange) -> Local<Result<(), String>> {
        let planned = self.state.borrow().plan_sink_change(change);
        let put = self.put_sink(from, planned);
        let sentences = |remarks: Vec<Remark>| {
            remarks.into_iter().map(|remark| remark.text).collect::<Vec<_>>().join(" ")
        };
        Box::pin(async move { put.await.map_err(sentences) })
    }

    fn put_sink(
        &self,
        from: IpAddr,
        planned: Result<Plan, Vec<Remark>>,
    ) -> Local<Result<(), Vec<Remark>>> {
        let this = self.this.clone();
        Box::pin(async move {
            let plan = planned?;
            let (id, change) = (plan.id, plan.change.clone());
            let before = plan.known.in_force.get(change.place).cloned();
            let before = before.filter(|_| change.before.is_some());
            let attempt = blocking::unblock(move || {
                let attempt = plan.attempt()?;
                admin::save(&plan.known.source.file, &attempt.text)
                    .map_err(|why| vec![Remark::whole(why)])?;
                Ok::<Attempt, Vec<Remark>>(attempt)
            });
            let Attempt { config, sink, .. } = attempt.await?;
            let Some(daemon) = this.upgrade() else { return Ok(()) };
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
            daemon.put_into_force(config);
            let mut state = daemon.state.borrow_mut();
            let now = state.now();
            let change = settings::Input::Sink(change);
            state.engine_input(now, engine::Input::Change { from, change });
            Ok(())
        })
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

    fn known_sinks(&self) -> Result<Known, Vec<Remark>> {
        let source = self.owner.source.clone();
        let source = source.ok_or_else(|| vec![Remark::whole(admin::no_file())])?;
        Ok(Known { source, in_force: self.config.notify.clone() })
    }

    /// What is to become of the file. `new` gets the secrets that were not typed.
    fn plan_sink(
        &self,
        id: Option<SinkId>,
        mut new: Option<SinkValues>,
    ) -> Result<Plan, Vec<Remark>> {
        let known = self.known_sinks()?;
        let find = |id| self.notifications.ids().iter().position(|known| *known == id);
        let place = match id {
            Some(id) => find(id).ok_or_else(|| vec![gone()])?,
            None => known.in_force.len(),
        };
        let before = known.in_force.get(place).map(Sink::values);
        if let (Some(new), Some(before)) = (&mut new, &before) {
            new.fill_secrets(before);
        }
        Ok(Plan { known, id, change: SinkChange { place, before, after: new } })
    }

    /// The same for a change that was made up elsewhere. What it changes must be what is there.
    fn plan_sink_change(&self, change: SinkChange) -> Result<Plan, Vec<Remark>> {
        let known = self.known_sinks()?;
        if let Some(before) = &change.before
            && known.in_force.get(change.place).map(Sink::values).as_ref() != Some(before)
        {
            return Err(vec![gone()]);
        }
        let id = change.before.as_ref().and_then(|_| {
            let ids = self.notifications.ids();
            ids.get(change.place).copied()
        });
        Ok(Plan { known, id, change })
    }
}

/// What there is.
struct Known {
    source: Source,
    in_force: Vec<Sink>,
}

/// A change of one place, to be made on a pool thread.
struct Plan {
    known: Known,
    /// Whose messages are to go elsewhere, or to end.
    id: Option<SinkId>,
    change: SinkChange,
}

/// What would be in force.
struct Attempt {
    /// The text of the file.
    text: String,
    config: Config,
    /// The place that was changed or added.
    sink: Option<Sink>,
}

impl Plan {
    /// What would result. Changes nothing.
    fn attempt(&self) -> Result<Attempt, Vec<Remark>> {
        attempt(&self.known.source, &self.known.text()?, &self.change)
    }
}

impl Known {
    /// The text of the file, whose places are those in force.
    fn text(&self) -> Result<String, Vec<Remark>> {
        let whole = |problem: String| vec![Remark::whole(problem)];
        let text = admin::read(&self.source.file).map_err(whole)?;
        // What is wrong elsewhere in the file is no matter of this form; what is missing, the set-up's.
        let sentences = |problems: &Problems| {
            admin::sentences(problems).into_iter().map(Remark::whole).collect::<Vec<_>>()
        };
        let old = try_text(&self.source, &text).map_err(|problems| sentences(&problems))?;
        if old.notify != self.in_force {
            return Err(whole(
                "The file was changed, and its places for notifications are not those in force: \
                 reload the service first."
                    .to_owned(),
            ));
        }
        Ok(text)
    }
}

fn try_text(source: &Source, text: &str) -> Result<Config, Problems> {
    config::try_text(&source.flags, &source.file, text, Incomplete::Allowed)
}

/// What would result of a change of this text.
fn attempt(source: &Source, text: &str, change: &SinkChange) -> Result<Attempt, Vec<Remark>> {
    let text = config::rewrite_sink(text, change).map_err(|why| vec![Remark::whole(why)])?;
    let config = try_text(source, &text).map_err(|problems| remarks(&problems))?;
    let sink = change.after.as_ref().and_then(|_| config.notify.get(change.place)).cloned();
    Ok(Attempt { text, config, sink })
}

/// The file was right before, so what is wrong with a place is wrong with the new one.
fn remarks(problems: &Problems) -> Vec<Remark> {
    let remark = |(problem, words): (&Problem, String)| match problem.key.strip_prefix("notify") {
        Some(name) => {
            let field = name.strip_prefix('.').unwrap_or("topics");
            // How it is written in a file is of no use here.
            let instead = problem.instead.replace("url = ", "").replace('"', "");
            Remark::at(field, format!("{}. {instead}", admin::capital(&problem.what)))
        }
        None => Remark::whole(words),
    };
    problems.0.iter().zip(admin::sentences(problems)).map(remark).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::At;

    #[test]
    fn what_is_wrong_with_a_place_stands_at_its_field_without_the_words_of_a_file() {
        let at = || At::Line { file: "f".to_owned(), line: 7 };
        let problem = |key: &str, what: &str, instead: &str| Problem {
            at: at(),
            key: key.to_owned(),
            what: what.to_owned(),
            instead: instead.to_owned(),
        };
        let found = Problems(vec![
            problem("notify.url", "the topic is missing", "Write url = \"https://ntfy.sh/t\"."),
            problem("notify", "nothing would be told", "Leave one of the switches on."),
            problem("http.name", "it is too long", "Shorten it."),
        ]);
        let remarks = remarks(&found);
        assert_eq!(remarks[0], Remark::at("url", "The topic is missing. Write https://ntfy.sh/t."));
        assert_eq!(remarks[1].field, "topics");
        assert_eq!(remarks[2].field, "");
    }
}
