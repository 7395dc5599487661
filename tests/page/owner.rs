//! An owner's box that keeps its settings in memory.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use smol::{Async, LocalExecutor};
use soloist::clock::Now;
use soloist::devices::pointing::{Command, Wish, by_hand};
use soloist::devices::{Family, Way};
use soloist::notify::SinkId;
use soloist::server::http::admin::devices::{DeviceEntry, DeviceList, Pointed};
use soloist::server::http::admin::pair::SavedPair;
use soloist::server::http::admin::{Action, Admin, Change, Checked, Control, Local, SinkEntry};
use soloist::server::http::{Http, NoBlock, Options, View};
use soloist::settings::devices::{DevicePlan, DeviceStep, PointWish};
use soloist::settings::{
    Changes, Input, MqttChange, MqttValues, Output, PairChange, PairValues, Remark, SectionChange,
    SinkChange, SinkValues, TOPICS, Values, invitation,
};
use soloist::status::{AlarmView, DeviceView, MinerState, PairChangeView, SinkView, Snapshot};

use crate::sample;

/// Serves the box on a port of its own, which is told, until the channel closes.
pub fn serve(
    kept: Arc<Mutex<Kept>>,
    tell: &Sender<SocketAddr>,
    stopped: &async_channel::Receiver<()>,
) {
    let executor = Rc::new(LocalExecutor::new());
    let admin = Admin::new(Rc::new(OwnersBox(kept.clone())));
    let options = Options { requests_per_s: 100_000, ..Options::default() };
    let http = Http::with_admin(Rc::new(OwnersBox(kept)), admin, options);
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap();
    tell.send(listener.get_ref().local_addr().unwrap()).unwrap();
    executor.spawn(http.serve(executor.clone(), listener, None)).detach();
    let _ = smol::block_on(executor.run(stopped.recv()));
}

/// What the daemon would keep.
#[derive(Default)]
pub struct Kept {
    pub values: Values,
    pub pin: Option<String>,
    pub changes: Changes,
    pub audit: Vec<String>,
    pub actions: Vec<Action>,
    pub alarms: Vec<AlarmView>,
    pub sinks: Vec<(SinkId, SinkValues)>,
    /// The places that were told of a test, saved or not.
    pub tests: Vec<SinkValues>,
    /// The MQTT broker in force, and those that were tried.
    pub mqtt: MqttValues,
    pub brokers: Vec<MqttValues>,
    /// The other box, as the file would say it.
    pub pair: PairValues,
    /// The box is new: nobody is connected, and no device is known, until it looks for miners.
    pub is_new: bool,
}

impl Kept {
    /// A change of a section comes into force.
    fn put(&mut self, change: SectionChange) {
        match &change {
            SectionChange::Sink(change) => self.put_sink(change),
            SectionChange::Mqtt(change) => self.mqtt = change.after.clone(),
            SectionChange::Pair(change) => self.pair = change.after.clone(),
        }
        let now = Now { mono: Instant::now(), unix: 0 };
        self.changes.handle(now, Input::Section(change), &mut Vec::new());
    }

    fn put_sink(&mut self, change: &SinkChange) {
        let next = SinkId(self.sinks.iter().map(|(id, _)| id.0).max().unwrap_or(0) + 1);
        if change.before.is_some() {
            self.sinks.remove(change.place);
        }
        let new = change.after.clone().map(|new| (next, new));
        new.into_iter().for_each(|new| self.sinks.insert(change.place, new));
    }

    /// With simple rules in place of the config's, which are tested with the daemon.
    fn completed(
        &self,
        id: Option<SinkId>,
        mut new: SinkValues,
    ) -> Result<SinkValues, Vec<Remark>> {
        if let Some((_, known)) = self.sinks.iter().find(|(known, _)| Some(*known) == id) {
            new.fill_secrets(known);
        }
        let mut remarks = Vec::new();
        let has_url = new.service().is_some_and(|s| s.fields.iter().any(|f| f.name == "url"));
        if has_url && !new.get("url").contains("://") {
            remarks.push(Remark::at("url", "This is no address."));
        }
        if new.silent.len() == TOPICS.len() {
            remarks.push(Remark::at("topics", "Nothing would be told."));
        }
        if remarks.is_empty() { Ok(new) } else { Err(remarks) }
    }
}

pub struct OwnersBox(Arc<Mutex<Kept>>);

impl View for OwnersBox {
    fn snapshot(&self) -> Rc<Snapshot> {
        let kept = self.0.lock().unwrap();
        let mut s = match (kept.values.payout.is_empty(), kept.is_new) {
            (true, _) => sample::new(),
            (false, true) => sample::lonely(),
            (false, false) => sample::home(),
        };
        // With an alarm, a miner is missing as well.
        if let (Some(miner), false) = (s.miners.last_mut(), kept.alarms.is_empty()) {
            miner.state = MinerState::Gone;
            s.alarms.clone_from(&kept.alarms);
        }
        s.payout.pending = kept.changes.pending().cloned();
        // As after a restart.
        if !kept.pair.partner.is_empty() {
            s.pair = sample::pair().pair;
        }
        s.pair_change = kept.changes.pair().map(|(change, _)| PairChangeView {
            partner: change.after.partner.clone(),
            due_at: sample::NOW + 600,
        });
        Rc::new(s)
    }

    fn history(&self, miner: &str) -> Option<soloist::status::HistoryView> {
        let snapshot = self.snapshot();
        let known = snapshot.miners.iter().any(|known| known.id == miner);
        known.then(|| snapshot.history.clone())
    }

    fn block(&self, _: &str) -> Local<Result<Vec<u8>, NoBlock>> {
        Box::pin(async { Err(NoBlock::Unknown) })
    }
}

impl OwnersBox {
    /// Devices of each kind, as the sample has them.
    fn device_entries() -> Vec<DeviceEntry> {
        let ways = [Way::List, Way::PairWithLogin, Way::ByHand, Way::Pair];
        let entry = |(way, view): (Way, DeviceView)| DeviceEntry {
            commands: match way {
                Way::List => Command::ALL.to_vec(),
                Way::Pair | Way::PairWithLogin => vec![Command::Restart],
                Way::ByHand => Vec::new(),
            },
            way,
            mines_here: way == Way::Pair || way == Way::PairWithLogin,
            speaks_v2: way == Way::List,
            pointed: (way == Way::Pair).then(|| Pointed {
                at: sample::NOW - 600,
                words: "Its first share came after 24 s.".to_owned(),
            }),
            by_hand: by_hand(
                Family::Avalon,
                &Wish {
                    host: "192.168.1.20".to_owned(),
                    port: 3333,
                    user: format!("{}.living-room", sample::OWNER),
                    password: None,
                    v2_key: None,
                    fallback: None,
                },
            ),
            view: match way {
                Way::List => DeviceView { pool: Some("solo.example.org:3333".to_owned()), ..view },
                _ => view,
            },
        };
        ways.into_iter().zip(sample::devices().devices).map(entry).collect()
    }
}

impl Control for OwnersBox {
    fn devices(&self) -> DeviceList {
        let is_new = self.0.lock().unwrap().is_new;
        DeviceList {
            devices: if is_new { Vec::new() } else { OwnersBox::device_entries() },
            asks: true,
            searched_at: (!is_new).then_some(sample::NOW - 60),
            networks: vec!["192.168.1.20/24".to_owned()],
        }
    }

    fn plan_device(&self, _: &str, wish: PointWish) -> Local<Result<DevicePlan, String>> {
        Box::pin(async move {
            let row = |what: &str, old: &str, new: &str| [what, old, new].map(str::to_owned);
            let fallback = wish
                .fallback
                .map_or_else(String::new, |pool| format!("{}:{}", pool.host, pool.port));
            Ok(DevicePlan {
                rows: vec![
                    row("Pool", "solo.example.org:3333", "192.168.1.20:3333"),
                    row("User", "someone", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq.gamma"),
                    row("Second pool", "", &fallback),
                ],
                not_restored: vec!["Its password for the old pool is overwritten.".to_owned()],
                restarts: true,
                seen: "5ee9".to_owned(),
            })
        })
    }

    fn tell_device(&self, address: &str, step: DeviceStep) -> Local<Result<String, String>> {
        let done = match step {
            DeviceStep::Tell(command) => Ok(format!("{address} was told: {}.", command.name())),
            DeviceStep::Point { seen, .. } if seen == "5ee9" => {
                Ok("The device is pointed here, and starts anew.".to_owned())
            }
            DeviceStep::Point { .. } => Err("Its settings are others now.".to_owned()),
            DeviceStep::PutBack => Ok("The device has its settings of before again.".to_owned()),
        };
        Box::pin(async move { done })
    }

    fn find_devices(&self) -> Local<Result<String, String>> {
        self.0.lock().unwrap().is_new = false;
        Box::pin(async { Ok("2 devices were found.".to_owned()) })
    }

    fn values(&self) -> Values {
        self.0.lock().unwrap().values.clone().without_passwords()
    }

    fn check(&self, values: Values) -> Local<Checked> {
        Box::pin(async move {
            let mut checked = Checked::default();
            if values.payout.starts_with("bc1q") {
                checked.findings.push("The address is P2WPKH on main.".to_owned());
            } else {
                let words = "This is no address of the main chain.";
                checked.problems.push(Remark::at("payout", words));
            }
            if values.nodes.is_empty() {
                checked.problems.push(Remark::at("url0", "A node is needed."));
            }
            for (place, node) in values.nodes.iter().enumerate() {
                if node.url.is_empty() {
                    checked.problems.push(Remark::at(format!("url{place}"), "It has no address."));
                } else if node.url.contains("refuses") {
                    let words = format!("{}: It refuses our user or password.", node.url);
                    checked.doubts.push(Remark::at(format!("password{place}"), words));
                } else {
                    checked.findings.push(format!("{} says: <b>block 925113</b>", node.url));
                }
            }
            checked
        })
    }

    fn change(&self, _: IpAddr, change: Change) -> Local<Vec<String>> {
        let current = self.values();
        let change = match change {
            Change::Save(new) => Input::Change { current, new },
            Change::Undo => Input::Undo { current },
            Change::Cancel => Input::Cancel,
            Change::Forget => {
                let before = self.0.lock().unwrap().pair.clone();
                Input::Pair(Box::new(PairChange { before, after: PairValues::default() }))
            }
            Change::Keep => Input::Keep,
        };
        let now = Now { mono: Instant::now(), unix: 0 };
        let mut kept = self.0.lock().unwrap();
        let mut outputs = Vec::new();
        kept.changes.handle(now, change, &mut outputs);
        for output in outputs {
            match output {
                Output::Apply(values) => kept.values = values,
                Output::Section(change) => kept.put(change),
                Output::Audit(text) => kept.audit.push(text),
            }
        }
        Box::pin(async { Vec::new() })
    }

    fn can_undo(&self) -> bool {
        self.0.lock().unwrap().changes.can_undo()
    }

    fn pin(&self) -> Option<String> {
        self.0.lock().unwrap().pin.clone()
    }

    fn set_pin(&self, hash: &str) -> Local<Result<(), String>> {
        self.0.lock().unwrap().pin = Some(hash.to_owned());
        Box::pin(async { Ok(()) })
    }

    fn audit(&self, _: IpAddr, text: String) {
        self.0.lock().unwrap().audit.push(text);
    }

    fn backup(&self, passphrase: String) -> Local<Result<Vec<u8>, String>> {
        let made = match passphrase.as_str() {
            "short" => Err("The passphrase is too short.".to_owned()),
            passphrase => Ok(format!("backup {passphrase}").into_bytes()),
        };
        Box::pin(async { made })
    }

    fn sinks(&self) -> Vec<SinkEntry> {
        let entry = |(id, values): &(SinkId, SinkValues)| SinkEntry {
            id: *id,
            values: values.clone().without_secrets(),
            host: "ntfy.example".to_owned(),
            view: SinkView {
                kind: values.service().unwrap().words.to_owned(),
                ..Default::default()
            },
        };
        self.0.lock().unwrap().sinks.iter().map(entry).collect()
    }

    fn check_sinks(&self, new: Vec<SinkValues>) -> Local<Vec<Result<String, Vec<Remark>>>> {
        let kept = self.0.lock().unwrap();
        let check = |new| kept.completed(None, new).map(|_| "Messages go there.".to_owned());
        let outcomes = new.into_iter().map(check).collect();
        Box::pin(async { outcomes })
    }

    fn try_sink(&self, id: Option<SinkId>, new: SinkValues) -> Local<Result<String, Vec<Remark>>> {
        let mut kept = self.0.lock().unwrap();
        let tried = kept.completed(id, new).and_then(|new| {
            let is_deaf = new.get("url").contains("deaf");
            kept.tests.push(new);
            match is_deaf {
                true => Err(vec![Remark::at("url", "The test message was not sent: <b>deaf</b>.")]),
                false => Ok("It took the test message.".to_owned()),
            }
        });
        Box::pin(async { tried })
    }

    fn change_sink(
        &self,
        _: IpAddr,
        id: Option<SinkId>,
        new: Option<SinkValues>,
    ) -> Local<Result<(), Vec<Remark>>> {
        let mut kept = self.0.lock().unwrap();
        let new = new.map(|new| kept.completed(id, new)).transpose();
        let done = new.map(|new| {
            let place = kept.sinks.iter().position(|(known, _)| Some(*known) == id);
            let place = place.unwrap_or(kept.sinks.len());
            let before = kept.sinks.get(place).map(|(_, values)| values.clone());
            let change = SinkChange { place, before, after: new };
            kept.put(SectionChange::Sink(change));
        });
        Box::pin(async { done })
    }

    fn test_sink(&self, id: SinkId) -> Local<Result<String, String>> {
        let mut kept = self.0.lock().unwrap();
        let (_, sink) = kept.sinks.iter().find(|(known, _)| *known == id).cloned().unwrap();
        kept.tests.push(sink);
        Box::pin(async { Ok("It took the test message.".to_owned()) })
    }

    fn mqtt(&self) -> MqttValues {
        self.0.lock().unwrap().mqtt.clone().without_password()
    }

    fn try_mqtt(&self, new: Option<MqttValues>) -> Local<Result<String, Vec<Remark>>> {
        let mut kept = self.0.lock().unwrap();
        let known = kept.mqtt.clone();
        let tried = new.map_or(Ok(known.clone()), |new| new.completed(&known)).and_then(|new| {
            let is_deaf = new.broker.contains("deaf");
            kept.brokers.push(new);
            match is_deaf {
                true => Err(vec![Remark::at("password", "It refuses <b>us</b>.")]),
                false => Ok("The broker takes us.".to_owned()),
            }
        });
        Box::pin(async { tried })
    }

    fn change_mqtt(&self, _: IpAddr, new: MqttValues) -> Local<Result<(), Vec<Remark>>> {
        let mut kept = self.0.lock().unwrap();
        let before = kept.mqtt.clone();
        let done = match new.completed(&before) {
            Ok(after) if after.broker.contains("://") => {
                Err(vec![Remark::at("broker", "Nothing stands before the address.")])
            }
            Ok(after) => {
                kept.put(SectionChange::Mqtt(Box::new(MqttChange { before, after })));
                Ok(())
            }
            Err(remarks) => Err(remarks),
        };
        Box::pin(async { done })
    }

    fn pair(&self) -> SavedPair {
        let values = self.0.lock().unwrap().pair.clone().without_secret();
        SavedPair { values, waits: false }
    }

    fn change_pair(
        &self,
        _: IpAddr,
        new: PairValues,
    ) -> Local<Result<Option<String>, Vec<Remark>>> {
        let mut kept = self.0.lock().unwrap();
        let before = kept.pair.clone();
        let done = match new.completed(&before) {
            Ok(after) if !after.partner.starts_with("192.168.") => {
                Err(vec![Remark::at("partner", "This is no address in <b>this</b> house.")])
            }
            Ok(after) => {
                let secret = after.secret.clone().unwrap_or_default();
                let line = invitation(&secret, "192.168.1.20", &after.virtual_address);
                let change = Box::new(PairChange { before, after });
                if change.has_to_wait() {
                    let now = Now { mono: Instant::now(), unix: 0 };
                    kept.changes.handle(now, Input::Pair(change), &mut Vec::new());
                    Ok(Some(line))
                } else {
                    kept.put(SectionChange::Pair(change));
                    Ok(None)
                }
            }
            Err(remarks) => Err(remarks),
        };
        Box::pin(async { done })
    }

    fn act(&self, action: Action) -> Local<Result<String, String>> {
        self.0.lock().unwrap().actions.push(action);
        Box::pin(async { Ok("Done.".to_owned()) })
    }
}
