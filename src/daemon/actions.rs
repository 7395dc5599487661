//! Actions that the owner starts on the page, and data that only the owner may read.

use std::path::PathBuf;
use std::rc::Weak;
use std::time::Duration;

use async_io::Timer;

use crate::clock::Now;
use crate::config::{Auth, Config};
use crate::difficulty::Difficulty;
use crate::engine::Input;
use crate::fsutil::{self, Rights};
use crate::ids::ConnId;
use crate::ledger::totals::{LedgerEvent, NoJoin, WorkerId};
use crate::server::http::admin::{Action, Download, Local};
use crate::status::{DeviceView, EventKind, Level, format, json, metrics, verdict};
use crate::{exit, logger, os};

use super::recorder::{self, Recording, Said};
use super::{Command, Daemon, Event, State};

/// Time limit of a fire drill, for the nodes.
const ANSWER_AT_MOST: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The environment variable with the path of a file that a systemd unit watches: root carries out
/// the word in it (`restart`, `shutdown`, and on the box `update`). The daemon itself may neither restart the box nor shut
/// it down. The image has such a unit, and `systemd/soloist-power.path` is one for other machines.
const REQUEST_FILE: &str = "SOLOIST_REQUEST";

impl Daemon {
    /// Carries out an action of the owner.
    pub(super) fn act_on(&self, action: Action) -> Local<Result<String, String>> {
        match action {
            Action::Restart => {
                let done = self.restart();
                Box::pin(async move { done })
            }
            Action::Reboot => Box::pin(request("restart", "reboot")),
            Action::PowerOff => Box::pin(request("shutdown", "poweroff")),
            Action::FireDrill => Box::pin(drill(self.this.clone())),
            Action::GiveAddress => {
                let done = self.give_address();
                Box::pin(async move { done })
            }
            Action::Forget(ids) => {
                let done = self.forget(&ids);
                Box::pin(async move { done })
            }
            Action::Join(from, into) => {
                let mut state = self.state.borrow_mut();
                let now = state.now();
                let done = state.join(now, &from, &into);
                self.rearm(&state);
                Box::pin(async move { done })
            }
            Action::Snooze(alarm, time, from) => {
                let mut state = self.state.borrow_mut();
                let now = state.now();
                let done = state.snoozes.add(now, &alarm, time.time(), from);
                Box::pin(async move { done.map(|()| format!("Snoozed for {}.", time.words())) })
            }
            Action::Wake(alarm) => {
                let was = self.state.borrow_mut().snoozes.end(&alarm);
                let words = if was { "It counts again." } else { "Its time was over already." };
                Box::pin(async move { Ok(words.to_owned()) })
            }
            Action::CheckUpdate => match self.this.upgrade() {
                Some(this) => Box::pin(this.check_for_update()),
                None => Box::pin(async { Err("Shutting down.".to_owned()) }),
            },
            Action::InstallUpdate => {
                let done = self.install_update();
                Box::pin(async move { done })
            }
            Action::Kick(id) => {
                let done = self.state.borrow_mut().kick(&id);
                Box::pin(async move { done })
            }
            Action::Fix(id, difficulty) => {
                let done = self.fix(&id, difficulty);
                Box::pin(async move { done })
            }
            Action::LogLevel(level) => {
                logger::set_level(level);
                let words = format!("The log's level is {level} until the next start.");
                Box::pin(async move { Ok(words) })
            }
            Action::Record(id) => {
                let mut state = self.state.borrow_mut();
                let now = state.now();
                let done = state.record(now, id);
                Box::pin(async move { done })
            }
        }
    }

    fn restart(&self) -> Result<String, String> {
        if !os::is_kept_alive() {
            return Err("This program was not started by systemd: nobody would start it again. \
                        Start it anew by hand."
                .to_owned());
        }
        self.queue
            .try_send(Event::Order(Command::Stop))
            .map_err(|_| "It is stopping already.".to_owned())?;
        Ok("Soloist starts anew: this page is back in a few seconds.".to_owned())
    }

    fn fix(&self, id: &str, difficulty: Option<f64>) -> Result<String, String> {
        let mut state = self.state.borrow_mut();
        let now = state.now();
        let done = state.fix(now, id, difficulty);
        self.rearm(&state);
        done
    }

    /// All of them, or none.
    fn forget(&self, ids: &[String]) -> Result<String, String> {
        let mut state = self.state.borrow_mut();
        let now = state.now();
        let mut workers = Vec::new();
        for id in ids {
            let worker = state.worker_of(id).ok_or("There is no such miner.")?;
            let name = format::tame(&state.name_of(worker));
            if state.ledger.workers.values().any(|connected| *connected == worker) {
                return Err(format!("Miner {name} is connected: send it elsewhere first."));
            }
            workers.push((worker, name));
        }
        workers.sort_by_key(|(worker, _)| *worker);
        workers.dedup_by_key(|(worker, _)| *worker);
        for (worker, _) in &workers {
            state.ledger_event(now, LedgerEvent::Forget(*worker));
        }
        self.rearm(&state);
        let names: Vec<&str> = workers.iter().map(|(_, name)| name.as_str()).collect();
        Ok(match names.as_slice() {
            [name] => format!("Miner {name} is forgotten."),
            names => format!("{} miners are forgotten: {}.", names.len(), names.join(", ")),
        })
    }
}

impl State {
    /// Fixes the difficulty of a miner, connected or not. A connected miner stays connected.
    fn fix(&mut self, now: Now, id: &str, difficulty: Option<f64>) -> Result<String, String> {
        let worker = self.worker_of(id).ok_or("There is no such miner.")?;
        let name = self.name_of(worker);
        let words = |level: Option<f64>| match level {
            Some(level) => Difficulty(level).to_string(),
            None => "found by itself".to_owned(),
        };
        let before = self.ledger.core.get(worker).and_then(|worker| worker.fixed);
        if before != difficulty {
            let (by, key) = ("page".to_owned(), format!("miner.{name}.difficulty"));
            let (old, new) = (words(before), words(difficulty));
            self.ledger_event(now, LedgerEvent::Setting { by, key, old, new });
            self.ledger_event(now, LedgerEvent::Fix { worker, difficulty });
        }
        self.fix_sessions(now, worker, difficulty);
        Ok(match difficulty {
            Some(level) => format!("The difficulty of {name} is fixed at {}.", Difficulty(level)),
            None => format!("The difficulty of {name} is found by itself again."),
        })
    }

    /// Makes one miner of two: `from` was the name of `into`.
    fn join(&mut self, now: Now, from: &str, into: &str) -> Result<String, String> {
        let unknown = "There is no such miner.";
        let (from, into) =
            (self.worker_of(from).ok_or(unknown)?, self.worker_of(into).ok_or(unknown)?);
        let [old, new] = [from, into].map(|id| format::tame(&self.shown_name(&self.name_of(id))));
        self.ledger.core.can_join(from, into).map_err(|why| match why {
            NoJoin::Unknown => unknown.to_owned(),
            NoJoin::Same => "This is the same miner already.".to_owned(),
            NoJoin::Mines => {
                format!("Miner {old} is connected: only one that is gone can become another.")
            }
            NoJoin::NotNow => "The history is not read yet: try again in a minute.".to_owned(),
        })?;
        let fixed = |state: &State| state.ledger.core.get(into).and_then(|worker| worker.fixed);
        let before = fixed(self);
        self.ledger_event(now, LedgerEvent::Join { from, into });
        let connects = self.ledger.connects.remove(&from).unwrap_or_default();
        *self.ledger.connects.entry(into).or_default() += connects;
        let difficulty = fixed(self);
        if difficulty != before {
            self.fix_sessions(now, into, difficulty);
        }
        let done = format!("The history of {old} is now that of {new}.");
        self.tell(now, EventKind::Miner, Level::Info, done.clone());
        Ok(done)
    }

    fn fix_sessions(&mut self, now: Now, worker: WorkerId, difficulty: Option<f64>) {
        let of_it = self.ledger.workers.iter().filter(|(_, known)| **known == worker);
        let conns: Vec<ConnId> = of_it.map(|(conn, _)| *conn).collect();
        for conn in conns {
            self.engine_input(now, Input::Fix { conn, difficulty });
        }
    }

    pub(super) fn worker_of(&self, id: &str) -> Option<WorkerId> {
        let mut workers = self.ledger.core.workers();
        workers.find(|(_, worker)| worker.number.0.to_string() == id).map(|(id, _)| id)
    }

    fn name_of(&self, worker: WorkerId) -> String {
        self.ledger.core.get(worker).map_or_else(String::new, |worker| worker.name.clone())
    }

    fn kick(&mut self, id: &str) -> Result<String, String> {
        let worker = self.worker_of(id).ok_or("There is no such miner.")?;
        let name = self.name_of(worker);
        let conn = self.ledger.workers.iter().find(|(_, known)| **known == worker);
        let (conn, _) = conn.ok_or_else(|| format!("Miner {name} is not connected."))?;
        self.server.close(*conn);
        Ok(format!("Miner {name} is disconnected; it comes back by itself."))
    }

    fn record(&mut self, now: Now, id: String) -> Result<String, String> {
        if self.recording.as_ref().is_some_and(|running| running.runs(now.mono)) {
            return Err("Another recording runs: wait until its five minutes are over.".to_owned());
        }
        let worker = self.worker_of(&id).ok_or("There is no such miner.")?;
        let name = self.name_of(worker);
        let conn = self.ledger.workers.iter().find(|(_, known)| **known == worker);
        let peer = conn.and_then(|(conn, _)| self.server.peer(*conn));
        let words = format!("Miner {name} is recorded for five minutes: see /recordings/{id}.");
        // Anybody may be behind a proxy on loopback.
        let peer = peer.filter(|peer| !peer.is_loopback());
        self.recording = Some(Recording::new(now, id, &name, peer));
        Ok(words)
    }

    /// Adds what was sent to or by the recorded miner to the recording; of a connection with several
    /// miners on it, all.
    pub(super) fn overhear(
        &mut self,
        now: Now,
        conn: ConnId,
        from: recorder::From,
        said: Said<'_>,
    ) {
        let Some(recording) = self.recording.as_ref().filter(|r| r.runs(now.mono)) else { return };
        let mut workers = self
            .engine
            .pool()
            .channels(conn)
            .filter_map(|channel| self.ledger.core.get(*self.ledger.workers.get(&channel)?))
            .peekable();
        let is_it = match workers.peek() {
            Some(_) => workers.any(|worker| worker.number.0.to_string() == recording.miner),
            None => recording.peer.is_some() && recording.peer == self.server.peer(conn),
        };
        if is_it && let Some(recording) = &mut self.recording {
            recording.add(now.mono, from, said);
        }
    }

    /// The same of what this box sends.
    pub(super) fn overhear_us(&mut self, now: Now, conn: ConnId, bytes: &[u8]) {
        let said = match self.engine.pool().speaks_v2(conn) {
            true => Said::Frames(bytes),
            false => Said::Lines(bytes),
        };
        self.overhear(now, conn, recorder::From::Us, said);
    }

    pub(super) fn overheard(&self, miner: &str) -> Option<Download> {
        let recording = self.recording.as_ref().filter(|recording| recording.miner == miner)?;
        let text = without_secrets(&self.config, recording.text().to_owned());
        Some(Download { name: format!("miner-{miner}.txt"), text })
    }

    pub(super) fn log_tail(&self) -> String {
        without_secrets(&self.config, logger::tail())
    }

    /// The report for support: one text with everything that helps to find a fault.
    pub(super) fn support(&self, now: Now) -> Download {
        let mut snapshot = self.snapshot(now);
        snapshot.devices = snapshot.devices.into_iter().map(DeviceView::for_support).collect();
        let verdict = verdict(&snapshot);
        let status = json::status(&snapshot, &verdict);
        let text = format!(
            "{}, report of Unix time {}\n\n== Config\n{:#?}\n\n== Status\n{}\n\n== Miners\n{}\n\n\
             == Devices\n{}\n\n== Pair\n{}\n\n== Metrics\n{}\n\n== Log\n{}",
            exit::version(),
            now.unix,
            self.config,
            String::from_utf8_lossy(&status),
            String::from_utf8_lossy(&json::miners(&snapshot)),
            String::from_utf8_lossy(&json::devices(&snapshot)),
            String::from_utf8_lossy(&json::pair(&snapshot)),
            metrics::metrics(&snapshot, &verdict),
            logger::tail(),
        );
        let name = format!("soloist-{}.txt", now.unix);
        Download { name, text: without_secrets(&self.config, text) }
    }
}

/// Removes secrets from a text: passwords, tokens, and the payout address.
fn without_secrets(config: &Config, mut text: String) -> String {
    let mut secrets: Vec<&str> = Vec::new();
    for node in &config.nodes {
        if let Auth::UserPass { pass, .. } = &node.auth {
            secrets.push(pass);
        }
    }
    secrets.extend(config.stratum.password.as_ref().map(|password| password.expose()));
    secrets.extend(config.http.pin.as_ref().map(|pin| pin.expose()));
    secrets.extend(config.mqtt.password.as_ref().map(|password| password.expose()));
    secrets.extend(config.pair.secret.as_ref().map(|secret| secret.expose()));
    secrets.extend(config.notify.iter().flat_map(|sink| sink.kind.secrets()));
    let owner = config.payout.address.as_ref().map_or_else(String::new, ToString::to_string);
    secrets.push(&owner);
    // A longer one may hold a shorter one.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    // A password of a character or two would take the text apart, and hides nothing.
    for secret in secrets.into_iter().filter(|secret| secret.len() > 2) {
        text = text.replace(secret, "(removed)");
    }
    text
}

/// Why the system was not asked.
#[derive(Debug)]
pub(super) enum Unasked {
    /// Nothing says how, on this machine.
    NoSystem,
    /// The request could not be written.
    Failed(std::io::Error),
    /// No unit took it.
    NobodyTook,
}

/// Asks the system for `what`; a unit of root's carries it out.
pub(super) async fn ask_system(what: &'static str) -> Result<(), Unasked> {
    let file = std::env::var_os(REQUEST_FILE).map(PathBuf::from).ok_or(Unasked::NoSystem)?;
    let (request, words) = (file.clone(), format!("{what}\n"));
    // Replaced as a whole: the watching unit reads the file as soon as it is there.
    let written =
        blocking::unblock(move || fsutil::replace(&request, words.as_bytes(), Rights::Keep(0o666)));
    written.await.map_err(|error| Unasked::Failed(error.source))?;
    // The unit removes the file before it acts.
    let mut waited = Duration::ZERO;
    loop {
        Timer::after(LOOK_EVERY).await;
        waited += LOOK_EVERY;
        let file = file.clone();
        let is_late = waited >= Duration::from_secs(5);
        let is_taken = blocking::unblock(move || {
            let taken = !file.exists();
            if is_late && !taken {
                let _ = std::fs::remove_file(file);
            }
            taken
        });
        match is_taken.await {
            true => return Ok(()),
            false if is_late => return Err(Unasked::NobodyTook),
            false => {}
        }
    }
}

/// Asks the system for `what`; `by_hand` is the systemctl command for the same.
async fn request(what: &'static str, by_hand: &'static str) -> Result<String, String> {
    match ask_system(what).await {
        Ok(()) => {}
        Err(Unasked::NoSystem) => {
            return Err(format!(
                "This program may not do that on this machine. Say there: systemctl {by_hand}."
            ));
        }
        Err(Unasked::Failed(error)) => {
            return Err(format!("That failed: {error}. Say on the box: systemctl {by_hand}."));
        }
        Err(Unasked::NobodyTook) => {
            return Err(format!(
                "Nobody did it: no unit watches for it here. Say on the box: systemctl {by_hand}."
            ));
        }
    }
    Ok(match what {
        "restart" => "The box starts anew: this page is back in a minute.",
        _ => "The box shuts down. Wait half a minute before you take its power away.",
    }
    .to_owned())
}

/// Runs a rehearsal now, and returns the answers of all nodes.
async fn drill(daemon: Weak<Daemon>) -> Result<String, String> {
    let with = |call: &dyn Fn(&mut State)| {
        let daemon = daemon.upgrade()?;
        let mut state = daemon.state.borrow_mut();
        call(&mut state);
        daemon.rearm(&state);
        Some(())
    };
    let gone = || "Shutting down.".to_owned();
    let strong = daemon.upgrade().ok_or_else(gone)?;
    let ready =
        strong.state.borrow().engine.pool().jobs().latest().is_some_and(|job| !job.work.empty);
    drop(strong);
    if !ready {
        return Err("There is no work to make a block of: no node gives any.".to_owned());
    }
    with(&|state| {
        let now = state.now();
        state.engine_input(now, Input::Rehearse);
    })
    .ok_or_else(gone)?;
    let mut waited = Duration::ZERO;
    loop {
        Timer::after(LOOK_EVERY).await;
        waited += LOOK_EVERY;
        let strong = daemon.upgrade().ok_or_else(gone)?;
        let state = strong.state.borrow();
        if let Some(words) = state.engine.rehearsal_result(waited >= ANSWER_AT_MOST) {
            return Ok(words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Flags, Surroundings};

    #[test]
    fn secrets_are_taken_out_wherever_they_stand() {
        let text = r#"
            [node]
            rpc_url = "http://192.168.1.10:8332"
            rpc_user = "anna"
            rpc_pass = "hunter2"
            [payout]
            address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
            [stratum]
            password = "letmein"
            [http]
            pin = "7391x"
            [[notify]]
            kind = "telegram"
            token = "123456:ABC-DEF"
            chat = 4711
            [[notify]]
            kind = "discord"
            url = "https://discord.com/api/webhooks/9/s3cret"
            [mqtt]
            broker = "192.168.1.20"
            user = "soloist"
            password = "m0squito"
            [pair]
            partner = "192.168.1.21"
            secret = "7KQ2M-XW4RT-9BZ0C-HJ6PD-V5EY3-8NAFG"
        "#;
        let built = config::build(Some(("f", text)), &Flags::default(), &Surroundings::default());
        let config = built.unwrap().config;
        let told = without_secrets(&config, format!("{text}\n{config:#?}"));
        for secret in [
            "hunter2",
            "letmein",
            "7391x",
            "123456:ABC",
            "s3cret",
            "m0squito",
            "7KQ2M-XW4RT",
            "bc1qw508",
        ] {
            assert!(!told.contains(secret), "{secret} in\n{told}");
        }
        assert!(told.contains("192.168.1.10"), "{told}");
    }
}
