//! Sections of the file that have a form of their own on the page, `[[notify]]`, `[mqtt]` and
//! `[pair]`: a change is tried, written into the file, and in force at once, but for `[pair]`, which waits for a
//! restart.

use std::net::IpAddr;

use crate::config::{self, Config, Incomplete, Problem, Problems};
use crate::engine;
use crate::server::http::admin::Local;
use crate::settings::{self, Remark, SectionChange};

use super::admin::{self, Source};
use super::{Daemon, State};

/// The file, and what is in force.
pub(super) struct Known {
    source: Source,
    pub in_force: Config,
}

/// A change of a section, to be made on a pool thread.
pub(super) struct Plan {
    pub known: Known,
    pub change: SectionChange,
}

/// What would be in force.
pub(super) struct Attempt {
    /// The text of the file.
    pub text: String,
    pub config: Config,
}

impl Plan {
    /// What would result. Changes nothing.
    pub(super) fn attempt(&self) -> Result<Attempt, Vec<Remark>> {
        self.known.attempt(&self.known.text(&self.change)?, &self.change)
    }

    /// The same, and saves it.
    fn save(&self) -> Result<Attempt, Vec<Remark>> {
        let attempt = self.attempt()?;
        admin::save(&self.known.source.file, &attempt.text)
            .map_err(|why| vec![Remark::whole(why)])?;
        Ok(attempt)
    }
}

impl Known {
    /// The text of the file, whose section that `change` is of is the one in force.
    pub(super) fn text(&self, change: &SectionChange) -> Result<String, Vec<Remark>> {
        let whole = |problem: String| vec![Remark::whole(problem)];
        let text = admin::read(&self.source.file).map_err(whole)?;
        // What is wrong elsewhere in the file is no matter of this form; what is missing, the set-up's.
        let sentences = |problems: &Problems| {
            admin::sentences(problems).into_iter().map(Remark::whole).collect::<Vec<_>>()
        };
        let old = self.try_text(&text).map_err(|problems| sentences(&problems))?;
        let (same, what) = match change {
            SectionChange::Sink(_) => {
                (old.notify == self.in_force.notify, "places for notifications are")
            }
            SectionChange::Mqtt(_) => (old.mqtt == self.in_force.mqtt, "MQTT broker is"),
            SectionChange::Pair(_) => (old.pair == self.in_force.pair, "[pair] is"),
        };
        match same {
            true => Ok(text),
            false => Err(whole(format!(
                "The file was changed, and its {what} not what is in force: reload the service first."
            ))),
        }
    }

    /// What would result of a change of this text.
    pub(super) fn attempt(
        &self,
        text: &str,
        change: &SectionChange,
    ) -> Result<Attempt, Vec<Remark>> {
        let text = config::rewrite_section(text, change).map_err(|why| vec![Remark::whole(why)])?;
        let config =
            self.try_text(&text).map_err(|problems| remarks(change.section(), &problems))?;
        Ok(Attempt { text, config })
    }

    fn try_text(&self, text: &str) -> Result<Config, Problems> {
        let Source { flags, file, .. } = &self.source;
        config::try_text(flags, file, text, Incomplete::Allowed)
    }
}

impl State {
    pub(super) fn known_sections(&self) -> Result<Known, Vec<Remark>> {
        let source = self.owner.source.clone();
        let source = source.ok_or_else(|| vec![Remark::whole(admin::no_file())])?;
        // The pair is as the file says it from the next start on.
        let in_force = Config { pair: self.saved_pair.clone(), ..self.config.clone() };
        Ok(Known { source, in_force })
    }
}

impl Daemon {
    /// Saves a change and puts it into force. `before` is called when it is saved and not in force yet.
    pub(super) fn put_section(
        &self,
        from: IpAddr,
        planned: Result<Plan, Vec<Remark>>,
        before: impl FnOnce(&Daemon, &Config) + 'static,
    ) -> Local<Result<(), Vec<Remark>>> {
        let this = self.this.clone();
        Box::pin(async move {
            let plan = planned?;
            let mut change = plan.change.clone();
            let Attempt { config, .. } = blocking::unblock(move || plan.save()).await?;
            // As it is in force: with the defaults of what is not written, by which undoing knows it.
            match &mut change {
                SectionChange::Mqtt(change) => change.after = config.mqtt.values(),
                SectionChange::Pair(change) => change.after = config.pair.values(),
                SectionChange::Sink(_) => {}
            }
            let Some(daemon) = this.upgrade() else { return Ok(()) };
            before(&daemon, &config);
            daemon.put_into_force(config);
            let mut state = daemon.state.borrow_mut();
            let now = state.now();
            let change = settings::Input::Section(change);
            state.engine_input(now, engine::Input::Change { from, change });
            Ok(())
        })
    }

    /// Saves a change that takes another one back, and puts it into force.
    pub(super) fn apply_section(
        &self,
        from: IpAddr,
        change: SectionChange,
    ) -> Local<Result<(), String>> {
        let put = match change {
            SectionChange::Sink(change) => self.apply_sink(from, change),
            SectionChange::Mqtt(change) => self.apply_mqtt(from, *change),
            SectionChange::Pair(change) => self.apply_pair(from, *change),
        };
        let sentences = |remarks: Vec<Remark>| {
            remarks.into_iter().map(|remark| remark.text).collect::<Vec<_>>().join(" ")
        };
        Box::pin(async move { put.await.map_err(sentences) })
    }
}

/// The file was right before, so what is wrong with a section is wrong with its new values.
fn remarks(section: &str, problems: &Problems) -> Vec<Remark> {
    let remark = |(problem, words): (&Problem, String)| match problem.key.strip_prefix(section) {
        Some(name) => {
            // Of a section as a whole: what it tells of, which a place for notifications alone can lack.
            let field = name.strip_prefix('.').unwrap_or("topics");
            // How it is written in a file is of no use here.
            let instead = problem.instead.replace("url = ", "").replace('"', "");
            Remark::at(field, format!("{}. {instead}", admin::capital(&problem.what)))
        }
        None => Remark::whole(words),
    };
    problems.0.iter().zip(admin::sentences(problems)).map(remark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::At;

    #[test]
    fn what_is_wrong_with_a_section_stands_at_its_field_without_the_words_of_a_file() {
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
        let told = remarks("notify", &found);
        assert_eq!(told[0], Remark::at("url", "The topic is missing. Write https://ntfy.sh/t."));
        assert_eq!(told[1].field, "topics");
        assert_eq!(told[2].field, "");
        let found = Problems(vec![problem("mqtt.broker", "the address is missing", "Write it.")]);
        assert_eq!(
            remarks("mqtt", &found),
            [Remark::at("broker", "The address is missing. Write it.")]
        );
        assert_eq!(remarks("notify", &found)[0].field, "");
    }
}
