//! Settings on the page: they are tested, written into the config file, and applied in the same way
//! as a reload. The file is written on a pool thread.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use crate::check::{self, FaultAt, Judgement, NodeFault};
use crate::clock::Now;
use crate::commands;
use crate::config::{self, At, Auth, Config, Flags, Incomplete, NodeConfig, Problems, Secret};
use crate::engine::Input;
use crate::import;
use crate::ledger::backup;
use crate::ledger::record::Record;
use crate::ledger::totals::{Ledger, LedgerEvent};
use crate::ledger::transfer::{self, SAME_KEY, settings_with};
use crate::notify::SinkId;
use crate::os;
use crate::server::http::admin::devices::DeviceList;
use crate::server::http::admin::pair::SavedPair;
use crate::server::http::admin::{
    Action, Change, Checked, Control, Download, Local, NO_PIN, RestoreOutcome, SinkEntry,
};
use crate::settings::devices::{DevicePlan, DeviceStep, PointWish};
use crate::settings::{
    self, MqttValues, NodeValues, PairValues, Remark, SectionChange, SinkValues, Values, access,
};
use crate::status::miners::{address_of, without_address};
use crate::status::{AuditView, EventKind, Level};
use crate::stratum::session::Session;
use crate::stratum::v2::noise::Identity;
use crate::timeout::within;

use super::{Daemon, Event, State, sinks};

/// Time limit of a node for the test of its settings, its template and our block among the questions.
const NODE_AT_MOST: Duration = Duration::from_secs(15);
/// The author of changes that do not come from the page, in the list of changes.
const OURSELVES: &str = "this box";
/// Why a backup is refused.
const NOT_EMPTY: &str = "This box has counted shares already, or its card is not read yet: a backup \
                         is for a fresh one.";

/// The source of the config, where changes are saved.
#[derive(Clone, Debug)]
pub struct Source {
    /// The command line, which overrides the file.
    pub flags: Flags,
    /// The file.
    pub file: PathBuf,
    /// Why settings other than the file's are in use, see [`crate::safe_start`].
    pub instead_why: Option<String>,
}

/// State for the page's settings.
#[derive(Debug, Default)]
pub(super) struct Owner {
    /// `None` when everything came from the command line.
    pub source: Option<Source>,
    /// The hash of the PIN, once it is computed.
    pub pin: Option<String>,
    /// What is to be saved and applied, with the addresses that it came from.
    pub to_apply: Vec<(IpAddr, ToApply)>,
}

/// Something that is to be saved and applied.
#[derive(Debug)]
pub(super) enum ToApply {
    Values(Values),
    Section(SectionChange),
}

impl Control for Daemon {
    fn values(&self) -> Values {
        self.state.borrow().values().without_passwords()
    }

    fn check(&self, values: Values) -> Local<Checked> {
        let state = self.state.borrow();
        let Some(source) = state.owner.source.clone() else {
            return Box::pin(async { refused(vec![Remark::whole(no_file())]) });
        };
        let values = completed(values, &state.config);
        let in_force = state.config.nodes.clone();
        let carriers = state.carriers_of_another(&values.payout);
        Box::pin(async move {
            let tried =
                blocking::unblock(move || attempt(&source, &values).map(|(config, _)| config));
            match tried.await {
                Ok(config) => {
                    let mut checked = ask(&config, &in_force).await;
                    checked.findings.extend(carriers);
                    checked
                }
                Err(problems) => refused(problems),
            }
        })
    }

    fn change(&self, from: IpAddr, change: Change) -> Local<Vec<String>> {
        let current = self.values();
        let change = match change {
            Change::Save(new) => settings::Input::Change { current, new },
            Change::Undo => settings::Input::Undo { current },
            Change::Cancel => settings::Input::Cancel,
            Change::Keep => settings::Input::Keep,
            Change::Forget if self.state.borrow().pair.is_none() => {
                return Box::pin(async { vec!["This box has no other one.".to_owned()] });
            }
            Change::Forget => settings::Input::Pair(self.state.borrow().forgetting()),
        };
        let mut state = self.state.borrow_mut();
        let now = state.now();
        state.engine_input(now, Input::Change { from, change });
        self.rearm(&state);
        let values = std::mem::take(&mut state.owner.to_apply);
        drop(state);
        self.apply_all(values)
    }

    fn can_undo(&self) -> bool {
        self.state.borrow().engine.changes().can_undo()
    }

    fn pin(&self) -> Option<String> {
        self.state.borrow().owner.pin.clone()
    }

    fn set_pin(&self, hash: &str) -> Local<Result<(), String>> {
        let hash = hash.to_owned();
        self.write(move |source| {
            let text = config::rewrite_pin(&read(&source.file)?, &hash)?;
            // In the set-up the PIN comes first, and nobody is paid yet.
            let config = config::try_text(&source.flags, &source.file, &text, Incomplete::Allowed)
                .map_err(|problems| sentences(&problems).join(" "))?;
            save(&source.file, &text).map(|()| config)
        })
    }

    fn why_closed(&self) -> String {
        let state = self.state.borrow();
        match (&state.owner.source, &state.config.http.pin) {
            (None, _) => no_file(),
            (Some(_), None) => NO_PIN.to_owned(),
            (Some(_), Some(_)) => "The PIN is being read: try again in a second.".to_owned(),
        }
    }

    fn audit(&self, from: IpAddr, text: String) {
        let mut state = self.state.borrow_mut();
        let now = state.now();
        state.audit(now, from, &text);
        self.rearm(&state);
    }

    fn act(&self, action: Action) -> Local<Result<String, String>> {
        self.act_on(action)
    }

    fn restore(&self, file: Vec<u8>, passphrase: String) -> Local<Result<RestoreOutcome, String>> {
        let (this, source) = (self.this.clone(), self.state.borrow().owner.source.clone());
        Box::pin(async move {
            let source = source.ok_or_else(no_file)?;
            let ready = |daemon: &Daemon| daemon.state.borrow().ledger.core.can_restore();
            if !this.upgrade().is_some_and(|daemon| ready(&daemon)) {
                return Err(NOT_EMPTY.to_owned());
            }
            let data = this.upgrade().map(|daemon| daemon.state.borrow().config.data.dir.clone());
            let data = data.ok_or_else(|| NOT_EMPTY.to_owned())?;
            let read = blocking::unblock(move || {
                let mut read = old_card(&source, &file, &passphrase)?;
                let identity = old_key(&data, &file, &mut read.2);
                Ok::<_, String>((read, identity))
            });
            let (read, identity) = read.await?;
            let Some(daemon) = this.upgrade().filter(|daemon| ready(daemon)) else {
                return Err(NOT_EMPTY.to_owned());
            };
            let (config, records, brought) = read;
            {
                let mut state = daemon.state.borrow_mut();
                let now = state.now();
                if let Some(identity) = identity {
                    state.take_identity(identity);
                }
                state.ledger_event(now, LedgerEvent::Restore(records));
                for sentence in &brought.sentences {
                    state.tell(now, EventKind::System, Level::Info, sentence.clone());
                }
                daemon.rearm(&state);
            }
            if let Some(config) = config {
                daemon.put_into_force(config);
            }
            Ok(brought)
        })
    }

    fn backup(&self, passphrase: String) -> Local<Result<Vec<u8>, String>> {
        let state = self.state.borrow();
        let (data, source) = (state.config.data.dir.clone(), state.owner.source.clone());
        Box::pin(blocking::unblock(move || {
            let text = source.map(|source| read(&source.file)).transpose()?;
            let passphrase = Some(passphrase).filter(|passphrase| !passphrase.is_empty());
            commands::ledger::made(os::now(), &data, text.as_deref(), passphrase.as_deref())
                .map_err(|(_, why)| why)
        }))
    }

    fn sinks(&self) -> Vec<SinkEntry> {
        self.state.borrow().sink_entries()
    }

    fn check_sinks(&self, new: Vec<SinkValues>) -> Local<Vec<Result<String, Vec<Remark>>>> {
        self.checked_sinks(new)
    }

    fn try_sink(&self, id: Option<SinkId>, new: SinkValues) -> Local<Result<String, Vec<Remark>>> {
        self.tried_sink(id, new)
    }

    fn change_sink(
        &self,
        from: IpAddr,
        id: Option<SinkId>,
        new: Option<SinkValues>,
    ) -> Local<Result<(), Vec<Remark>>> {
        self.changed_sink(from, id, new)
    }

    fn test_sink(&self, id: SinkId) -> Local<Result<String, String>> {
        Box::pin(sinks::test(self.this.clone(), id))
    }

    fn mqtt(&self) -> MqttValues {
        self.state.borrow().config.mqtt.values().without_password()
    }

    fn try_mqtt(&self, new: Option<MqttValues>) -> Local<Result<String, Vec<Remark>>> {
        self.tried_mqtt(new)
    }

    fn change_mqtt(&self, from: IpAddr, new: MqttValues) -> Local<Result<(), Vec<Remark>>> {
        self.changed_mqtt(from, new)
    }

    fn pair(&self) -> SavedPair {
        self.state.borrow().saved_pair()
    }

    fn change_pair(
        &self,
        from: IpAddr,
        new: PairValues,
    ) -> Local<Result<Option<String>, Vec<Remark>>> {
        self.changed_pair(from, new)
    }

    fn devices(&self) -> DeviceList {
        let now = self.state.borrow_mut().now();
        self.state.borrow().device_list(now)
    }

    fn plan_device(&self, address: &str, wish: PointWish) -> Local<Result<DevicePlan, String>> {
        self.planned_device(address, wish)
    }

    fn tell_device(&self, address: &str, step: DeviceStep) -> Local<Result<String, String>> {
        self.told_device(address, step)
    }

    fn find_devices(&self) -> Local<Result<String, String>> {
        self.found_devices()
    }

    fn log_tail(&self) -> String {
        self.state.borrow().log_tail()
    }

    fn recording(&self, miner: &str) -> Option<Download> {
        self.state.borrow().overheard(miner)
    }

    fn support(&self) -> Option<Download> {
        let now = self.state.borrow_mut().now();
        Some(self.state.borrow().support(now))
    }
}

impl Daemon {
    /// Saves and applies one after the other. Returns a sentence for each failure.
    pub(super) fn apply_all(&self, all: Vec<(IpAddr, ToApply)>) -> Local<Vec<String>> {
        let this = self.this.clone();
        Box::pin(async move {
            let mut problems = Vec::new();
            for (from, what) in all {
                let Some(daemon) = this.upgrade() else { break };
                let applied = match what {
                    ToApply::Values(values) => daemon.apply(&values),
                    ToApply::Section(change) => daemon.apply_section(from, change),
                };
                drop(daemon);
                let Err(problem) = applied.await else { continue };
                if let Some(daemon) = this.upgrade() {
                    daemon.audit(from, format!("That failed: {problem}"));
                }
                problems.push(problem);
            }
            problems
        })
    }

    fn apply(&self, values: &Values) -> Local<Result<(), String>> {
        let values = completed(values.clone(), &self.state.borrow().config);
        self.write(move |source| {
            let (config, text) = attempt(source, &values).map_err(|problems| {
                let words: Vec<String> = problems.into_iter().map(|problem| problem.text).collect();
                words.join(" ")
            })?;
            save(&source.file, &text).map(|()| config)
        })
    }

    /// Runs `write` on a pool thread and applies the config that it returns.
    fn write(
        &self,
        write: impl FnOnce(&Source) -> Result<Config, String> + Send + 'static,
    ) -> Local<Result<(), String>> {
        let (this, source) = (self.this.clone(), self.state.borrow().owner.source.clone());
        Box::pin(async move {
            let source = source.ok_or_else(no_file)?;
            let config = blocking::unblock(move || write(&source)).await?;
            let Some(daemon) = this.upgrade() else { return Ok(()) };
            daemon.put_into_force(config);
            Ok(())
        })
    }

    pub(super) fn put_into_force(self: &Rc<Self>, config: Config) {
        let mut state = self.state.borrow_mut();
        let now = state.now();
        let (old, new) = (state.values(), values_of(&config));
        let urls = |values: &Values| {
            values.nodes.iter().map(|node| node.url.as_str()).collect::<Vec<_>>().join(", ")
        };
        let settings = config::page_settings().into_iter().map(|(section, name, value)| {
            (format!("{section}.{name}"), value(&old).to_owned(), value(&new).to_owned())
        });
        let nodes = ("node.rpc_url".to_owned(), urls(&old), urls(&new));
        for (key, old, new) in settings.chain([nodes]).filter(|(_, old, new)| old != new) {
            let by = "page".to_owned();
            state.ledger_event(now, LedgerEvent::Setting { by, key, old, new });
        }
        state.reload(now, config);
        self.rearm(&state);
    }
}

impl State {
    /// What the owner has set, with passwords. The payout address in it may wait for the other box of a pair:
    /// whoever saves another setting has not given that up.
    pub(super) fn values(&self) -> Values {
        let mut values = values_of(&self.config);
        if let Some(wanted) = self.wanted_payout() {
            wanted.clone_into(&mut values.payout);
        }
        values
    }

    pub(super) fn audit(&mut self, now: Now, from: IpAddr, text: &str) {
        self.tell(now, EventKind::System, Level::Info, format!("From {from}: {text}"));
        self.ledger_event(now, LedgerEvent::Audit(format!("{from}: {text}")));
    }

    /// Which miners carry the payout address of now in their user, in a sentence, if it is to be another
    /// one.
    fn carriers_of_another(&self, payout: &str) -> Option<String> {
        let present = self.config.payout.address.as_ref()?.to_string();
        let carries = |user: &&str| {
            address_of(user).is_some_and(|address| address.eq_ignore_ascii_case(&present))
        };
        let sessions = self.engine.pool().sessions().filter_map(Session::worker);
        let mut names: Vec<&str> =
            sessions.filter(carries).map(|user| without_address(user, &present)).collect();
        names.sort_unstable();
        names.dedup();
        if payout == present || names.is_empty() {
            return None;
        }
        let meaning = match self.config.payout.per_miner {
            true => "as per_miner is on, their blocks go on to pay the old one",
            false => "NerdQAxe+ can refuse work that does not pay the address that it carries",
        };
        Some(format!(
            "These miners carry the old payout address in their user: {}. Write the new one there when it \
             is in force, such as {payout}.{}; {meaning}. A miner that is renamed so keeps its history.",
            names.join(", "),
            names[0]
        ))
    }

    /// Computes the hash of the PIN on a pool thread, because the hash is slow by design.
    pub(super) fn read_pin(&mut self) {
        self.owner.pin = None;
        // Without a file nothing could be saved.
        let (Some(pin), Some(_)) = (&self.config.http.pin, &self.owner.source) else { return };
        let pin = pin.clone();
        if pin.expose().starts_with(access::HASH_PREFIX) {
            self.owner.pin = Some(pin.expose().to_owned());
            return;
        }
        let mut salt = access::Token::default();
        if let Err(error) = getrandom::fill(&mut salt) {
            log::error!("settings: no random numbers: {error}");
            return;
        }
        let queue = self.queue.clone();
        blocking::unblock(move || {
            let hash = access::hash_pin(pin.expose(), &salt);
            queue.send_blocking(Event::Pin(pin, hash)).ok();
        })
        .detach();
    }

    /// Stores the hash, unless the PIN was changed or removed meanwhile.
    pub(super) fn pin_read(&mut self, pin: &Secret, hash: String) {
        if self.config.http.pin.as_ref() == Some(pin) {
            self.owner.pin = Some(hash);
        }
    }

    /// The list of changes, the newest first.
    pub(super) fn audit_views(&self) -> Vec<AuditView> {
        let entries = self.ledger.core.audit().rev().take(100);
        entries
            .map(|entry| {
                let named = entry.text.split_once(": ");
                let named = named.filter(|(from, _)| from.parse::<IpAddr>().is_ok());
                let (from, text) = named.unwrap_or((OURSELVES, &entry.text));
                AuditView { at: entry.unix, from: from.to_owned(), text: text.to_owned() }
            })
            .collect()
    }
}

/// Reads a backup, and saves its settings where the file has none.
fn old_card(
    source: &Source,
    file: &[u8],
    passphrase: &str,
) -> Result<(Option<Config>, Vec<Record>, RestoreOutcome), String> {
    let records = backup::read(file).map_err(|error| format!("{error}."))?;
    let passphrase = Some(passphrase).filter(|passphrase| !passphrase.is_empty());
    let settings = settings_with(file, passphrase).map_err(|why| why.to_string())?;
    let ledger = Ledger::replay(os::now(), &records);
    let totals = ledger.total().totals();
    let mut brought = RestoreOutcome {
        sentences: vec![format!(
            "The backup was taken up: {} miners, {} shares, {} blocks.",
            ledger.workers().count(),
            totals.ever.accepted,
            totals.blocks
        )],
        nodes: Vec::new(),
    };
    let Some((settings, whole)) = settings else { return Ok((None, records, brought)) };
    let text = read(&source.file)?;
    let try_text =
        |text: &str| config::try_text(&source.flags, &source.file, text, Incomplete::Allowed);
    let laid = import::overlay_old(&settings, &text).ok();
    let laid = laid.and_then(|laid| Some((try_text(&laid).ok()?, laid)));
    let Some((config, laid)) = laid else {
        brought.sentences.push("Its settings cannot be used here: write them anew.".to_owned());
        return Ok((None, records, brought));
    };
    let (config, laid) = match whole {
        true => (config, laid),
        false => {
            brought.nodes = values_of(&config).without_passwords().nodes;
            let laid = import::without_nodes(laid, &text);
            (try_text(&laid).map_err(|problems| sentences(&problems).join(" "))?, laid)
        }
    };
    save(&source.file, &laid)?;
    brought.sentences.push(match whole {
        true => "All its settings are in force, the PIN among them.".to_owned(),
        false => "Its settings are in force but for what it does not hold: the passwords of the \
                  nodes, the PIN and the notifications."
            .to_owned(),
    });
    Ok((Some(config), records, brought))
}

/// Takes over the key of Stratum V2, and says so.
fn old_key(data: &Path, file: &[u8], brought: &mut RestoreOutcome) -> Option<Identity> {
    match transfer::restore_key(data, file) {
        Ok(false) => None,
        Ok(true) => {
            let identity = super::identity(data).ok().flatten();
            brought.sentences.extend(identity.is_some().then(|| SAME_KEY.to_owned()));
            identity
        }
        Err(error) => {
            brought.sentences.push(format!("The key of Stratum V2 was not taken over: {error}."));
            None
        }
    }
}

pub(super) fn no_file() -> String {
    "This program was started by the command line alone: there is no file in which settings could \
     be saved. Start it with --config and a soloist.toml."
        .to_owned()
}

fn refused(problems: Vec<Remark>) -> Checked {
    Checked { problems, ..Checked::default() }
}

/// The values of a config, with passwords.
pub(super) fn values_of(config: &Config) -> Values {
    Values {
        name: config.http.name.clone(),
        payout: config.payout.address.as_ref().map_or_else(String::new, ToString::to_string),
        tag: config.payout.tag.as_str().trim_matches('/').to_owned(),
        nodes: config.nodes.iter().map(node_values).collect(),
    }
}

fn node_values(node: &NodeConfig) -> NodeValues {
    let (user, password) = match &node.auth {
        Auth::UserPass { user, pass } => (user.clone(), Some(pass.clone())),
        Auth::None | Auth::Cookie(_) => (String::new(), None),
    };
    NodeValues {
        url: node.url.trim_end_matches('/').to_owned(),
        user,
        password,
        certificate: node
            .certificate
            .as_ref()
            .map_or_else(String::new, |path| path.to_string_lossy().into_owned()),
        zmq: node.zmq.clone().unwrap_or_default(),
        p2p: node.p2p.to_string(),
    }
}

/// The form's values in normal form, with the passwords that the form does not contain.
fn completed(mut values: Values, config: &Config) -> Values {
    for node in &mut values.nodes {
        node.url = node.url.trim_end_matches('/').to_owned();
    }
    if let Ok(address) = values.payout.parse::<crate::address::Address>() {
        values.payout = address.to_string();
    }
    values.fill_passwords(&values_of(config).nodes);
    values
}

/// The file as it would be, and the config that would result. Changes nothing.
fn attempt(source: &Source, values: &Values) -> Result<(Config, String), Vec<Remark>> {
    let whole = |problem: String| vec![Remark::whole(problem)];
    let unaddressed = unaddressed(values);
    if !unaddressed.is_empty() {
        return Err(unaddressed);
    }
    let text = read(&source.file).map_err(whole)?;
    let try_text = |text: &str, gaps| config::try_text(&source.flags, &source.file, text, gaps);
    let old = try_text(&text, Incomplete::Allowed).map_err(|found| remarks(&found, None))?;
    let old = values_of(&old);
    let text = config::rewrite(&text, &old, values).map_err(whole)?;
    let config =
        try_text(&text, Incomplete::Refused).map_err(|found| remarks(&found, Some(&text)))?;
    let now = values_of(&config);
    let mut places = now.nodes.iter().zip(&values.nodes).enumerate();
    if let Some((place, (node, _))) = places.find(|(_, (now, new))| now.user != new.user) {
        let why = "The login of the first node would be sent there: write the user and the password \
                   that this node takes.";
        return Err(vec![Remark::at(format!("user{place}"), format!("{}: {why}", node.url))]);
    }
    let urls = |values: &Values| values.nodes.iter().map(|n| n.url.clone()).collect::<Vec<_>>();
    if (&now.payout, &now.tag) != (&values.payout, &values.tag)
        || now.nodes.len() != values.nodes.len()
        || (source.flags.value("--node").is_some() && urls(&now) != urls(values))
    {
        let why = "This is set on the command line, which goes over the file: remove it there.";
        return Err(whole(why.to_owned()));
    }
    Ok((config, text))
}

/// Nodes of which something is written, but not where they are; and no node at all.
fn unaddressed(values: &Values) -> Vec<Remark> {
    const WRITE: &str = "Write the address of the node's RPC, such as http://192.168.1.10:8332.";
    let mut remarks = Vec::new();
    for (place, node) in values.nodes.iter().enumerate().filter(|(_, node)| node.url.is_empty()) {
        let what = if node.is_blank() { "no node is named" } else { "this node has no address" };
        remarks.push(Remark::at(format!("url{place}"), format!("{}. {WRITE}", capital(what))));
    }
    if values.nodes.is_empty() {
        remarks.push(Remark::at("url0", format!("No node is named. {WRITE}")));
    }
    remarks
}

/// The text of the file. A missing file counts as empty: the set-up creates it.
pub(super) fn read(file: &Path) -> Result<String, String> {
    match std::fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|error| format!("{} cannot be read: {error}.", file.display())),
    }
}

pub(super) fn save(file: &Path, text: &str) -> Result<(), String> {
    config::save(file, text).map_err(|error| {
        format!("{} cannot be written: {error}. Nothing has changed.", file.display())
    })
}

/// Messages without the line numbers of a file that was never written.
pub(super) fn sentences(problems: &Problems) -> Vec<String> {
    let words = |problem: &config::Problem| match problem.key.as_str() {
        "" => format!("{}. {}", problem.what, problem.instead),
        key => format!("{key}: {}. {}", problem.what, problem.instead),
    };
    problems.0.iter().map(words).collect()
}

/// The same, each at its field of the form. `text` is that of the file with the form's values.
fn remarks(problems: &Problems, text: Option<&str>) -> Vec<Remark> {
    let at_field = |(problem, words): (&config::Problem, String)| match text
        .map_or_else(String::new, |text| field(problem, text))
    {
        field if field.is_empty() => Remark::whole(words),
        field => Remark::at(field, format!("{}. {}", capital(&problem.what), problem.instead)),
    };
    problems.0.iter().zip(sentences(problems)).map(at_field).collect()
}

/// The field of the form that a setting of the file comes from; empty where there is none.
fn field(problem: &config::Problem, text: &str) -> String {
    let key = problem.key.as_str();
    let (name, place) = match (key.strip_prefix("node.backup."), key.strip_prefix("node.")) {
        (Some(name), _) => (name, backup(&problem.at, text)),
        (None, Some(name)) => (name, 0),
        (None, None) => {
            let field = match key {
                "payout.address" => "payout",
                "payout.tag" => "tag",
                "http.name" => "name",
                "http.pin" => "pin",
                "node" => "url0",
                _ => "",
            };
            return field.to_owned();
        }
    };
    let field = match name {
        "rpc_user" => "user",
        "rpc_pass" => "password",
        "rpc_cert_path" => "cert",
        "zmq_hashblock_addr" => "zmq",
        "p2p_addr" => "p2p",
        _ => "url",
    };
    format!("{field}{place}")
}

/// Which backup node a line of the file belongs to, counted from 1.
fn backup(at: &At, text: &str) -> usize {
    let At::Line { line, .. } = at else { return 1 };
    let headings =
        text.lines().take(*line).filter(|line| line.trim_start().starts_with("[[node.backup]]"));
    headings.count().max(1)
}

/// As the beginning of a sentence, unless it begins with an address or a name.
pub(super) fn capital(words: &str) -> String {
    let first = words.split(' ').next().unwrap_or_default();
    if !first.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return words.to_owned();
    }
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Asks every node as `soloist check` does, and says the same of it. A node that cannot be used now
/// may be saved all the same, if that is wanted: it may be switched off, or be downloading. A node on a
/// chain that does not fit the address cannot. What is so of a node that is `in_force` already is no
/// doubt about the new values.
async fn ask(config: &Config, in_force: &[NodeConfig]) -> Checked {
    let mut checked = Checked::default();
    let Some(owner) = &config.payout.address else {
        let words = "Nobody would be paid: write a payout address.";
        return refused(vec![Remark::at("payout", words)]);
    };
    checked.findings.push(format!("A block pays {owner} ({}).", owner.kind()));
    checked.findings.push(check::says(&config.payout));
    let (sender, replies) = async_channel::unbounded();
    for (place, node) in config.nodes.iter().enumerate() {
        let (node, payout, sender) = (node.clone(), config.payout.clone(), sender.clone());
        // Not the pool: a node that never answers must not take one of its few threads.
        let asked = thread::Builder::new().name("ask".into()).spawn(move || {
            sender.send_blocking((place, check::ask(&node, &payout))).ok();
        });
        if let Err(error) = asked {
            let words = format!("No thread to ask the node with: {error}.");
            checked.problems.push(Remark::whole(words));
        }
    }
    drop(sender);
    let (mut places, mut answers) = (Vec::new(), Vec::new());
    let all = async {
        while let Ok((place, answer)) = replies.recv().await {
            places.push(place);
            answers.push(answer);
        }
    };
    within(NODE_AT_MOST, all).await;
    for (place, node) in config.nodes.iter().enumerate() {
        let answer = places.iter().position(|other| *other == place).map(|at| &answers[at]);
        let judgement = match answer {
            Some(answer) => check::judge(node, answer, owner, check::best_height(answer, &answers)),
            None => too_slow(),
        };
        let told = |sentences: &[String]| format!("{}: {}", node.name, sentences.join(" "));
        let is_wrong = judgement.state == check::State::WrongChain;
        let fault = judgement.fault.filter(|_| is_wrong || !in_force.contains(node));
        let Some(fault) = fault else {
            checked.findings.push(told(&judgement.sentences));
            continue;
        };
        let field = match fault.at {
            FaultAt::Payout => "payout".to_owned(),
            FaultAt::Url => format!("url{place}"),
            FaultAt::User => format!("user{place}"),
            FaultAt::Password => format!("password{place}"),
            FaultAt::Certificate => format!("cert{place}"),
        };
        let remark = Remark::at(field, told(&fault.sentences));
        let list = if is_wrong { &mut checked.problems } else { &mut checked.doubts };
        list.push(remark);
        let is_other = |sentence: &String| !fault.sentences.contains(sentence);
        let rest: Vec<String> = judgement.sentences.into_iter().filter(is_other).collect();
        if !rest.is_empty() {
            checked.findings.push(told(&rest));
        }
    }
    checked
}

/// Of a node that did not answer everything in time.
fn too_slow() -> Judgement {
    let limit = NODE_AT_MOST.as_secs();
    let sentences = vec![format!("It did not answer all questions within {limit} s.")];
    let fault = NodeFault { at: FaultAt::Url, sentences: sentences.clone() };
    Judgement { state: check::State::Waiting, sentences, fault: Some(fault) }
}
