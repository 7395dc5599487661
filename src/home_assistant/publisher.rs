//! What the broker is to be sent next.
//!
//! There is no queue that could grow: of each device only the newest values are kept, and a message is made
//! when the connection has room for it. What a slow broker did not take is replaced by what is so now.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::appliance::{Appliance, best_event, block_event};
use super::entity::RateUnit;
use super::miner::Miner;
use super::{MINERS_MAX, Message, Names, REFRESH};
use crate::clock::Now;
use crate::devices::pointing::Command;
use crate::status::{BlockState, MinerState, Snapshot, Verdict};

/// Events that wait for the broker; then the oldest goes.
const EVENTS_MAX: usize = 16;
/// Announcements that are remembered, so that they can be taken away from the broker.
pub const ANNOUNCED_MAX: usize = 1024;
/// Home Assistant subscribes to a device's values some time after its announcement.
const SETTLE: Duration = Duration::from_secs(2);
/// Home Assistant drops an announcement that comes while it works on the one before.
const ANNOUNCE_PAUSE: Duration = Duration::from_secs(10);
/// After a start, the miners come back within this time. Until then nothing of an earlier run is taken away: with
/// its announcement Home Assistant would forget what the owner made of a device.
const RETURN: Duration = Duration::from_secs(300);
/// A block that was solved so long before the start, in seconds, is no news.
const OLD_S: u64 = 3600;

/// Keeps what the broker has and what it is to have. Feed it a snapshot every few seconds.
#[derive(Debug)]
pub struct Publisher {
    names: Names,
    allowed: Vec<Command>,
    /// `None` is the box. It is the first, because miners are reached through it.
    devices: BTreeMap<Option<String>, Device>,
    /// Topics of announcements that the broker may have, from earlier runs as well.
    announced: BTreeSet<String>,
    /// Those of them that only earlier runs have announced.
    earlier: BTreeSet<String>,
    /// When the first message was asked for.
    begun: Option<Instant>,
    events: VecDeque<Message>,
    /// When the box last said that it is there.
    hello: Option<Instant>,
    /// When Home Assistant last said that it has started.
    birth: Option<Instant>,
    blocks: Option<HashMap<String, BlockState>>,
    best: f64,
    /// What is on its way and not confirmed yet.
    sent: Option<Sent>,
}

/// One device.
#[derive(Debug)]
struct Device {
    /// The entities that it has, or had in this run.
    has: BTreeSet<&'static str>,
    unit: Option<RateUnit>,
    announcement: String,
    announcement_topic: String,
    /// What the broker has of it in this connection, and since when.
    announced: Option<(String, Instant)>,
    topic: String,
    values: String,
    prompt: Map<String, Value>,
    told: Option<(Map<String, Value>, Instant)>,
    not_before: Option<Instant>,
}

/// What is on its way.
#[derive(Debug)]
enum Sent {
    Removed(String),
    Event,
    Announced(Option<String>, String),
}

impl Publisher {
    /// Nothing is known. `announced` are the topics that [`Publisher::announced`] told in earlier runs, and
    /// `allowed` the buttons that the owner wants.
    pub fn new(names: Names, allowed: Vec<Command>, announced: BTreeSet<String>) -> Publisher {
        Publisher {
            names,
            allowed,
            devices: BTreeMap::new(),
            earlier: announced.clone(),
            announced,
            begun: None,
            events: VecDeque::new(),
            hello: None,
            birth: None,
            blocks: None,
            best: 0.0,
            sent: None,
        }
    }

    /// Topics of announcements that the broker has or may have: to be kept over restarts, before any of them is
    /// sent.
    pub fn announced(&self) -> &BTreeSet<String> {
        &self.announced
    }

    /// How many devices there are.
    pub fn devices(&self) -> usize {
        self.devices.len()
    }

    /// Takes in what is so now.
    pub fn look(&mut self, snapshot: &Snapshot, verdict: &Verdict) {
        let appliance = Appliance::new(snapshot, verdict);
        let object = self.names.box_id();
        let device = self
            .devices
            .entry(None)
            .or_insert_with(|| Device::new(self.names.announcement(&object), self.names.state()));
        device.learn(appliance.known(), appliance.rate());
        let (has, unit) = (|key: &str| device.has.contains(key), device.unit());
        let announcement = appliance.announcement(&self.names, has, unit).to_string();
        let values = appliance.values(has, unit);
        device.set(announcement, values);

        let mut miners: Vec<_> = snapshot.miners.iter().collect();
        miners.sort_by_key(|miner| miner.state == MinerState::Gone);
        miners.truncate(MINERS_MAX);
        self.devices.retain(|id, _| {
            id.as_ref().is_none_or(|id| miners.iter().any(|miner| miner.id == *id))
        });
        for miner in miners {
            let object = self.names.miner_id(&miner.id);
            let device = self.devices.entry(Some(miner.id.clone())).or_insert_with(|| {
                let topic = self.names.miner_state(&miner.id);
                Device::new(self.names.announcement(&object), topic)
            });
            let miner = Miner::new(miner, snapshot, verdict);
            device.learn(miner.known(), miner.rate());
            let (has, unit) = (|key: &str| device.has.contains(key), device.unit());
            let buttons = miner.buttons(&self.allowed);
            let announcement =
                miner.announcement(&self.names, snapshot, has, unit, &buttons).to_string();
            let values = miner.values(has, unit);
            device.set(announcement, values);
        }
        let topics = self.devices.values().map(|device| device.announcement_topic.clone());
        for topic in topics {
            self.earlier.remove(&topic);
            self.announced.insert(topic);
        }
        while self.announced.len() > ANNOUNCED_MAX {
            let wanted = |topic: &String| self.is_wanted(topic);
            let Some(old) = self.announced.iter().find(|topic| !wanted(topic)).cloned() else {
                break;
            };
            self.announced.remove(&old);
        }
        self.find_events(snapshot);
    }

    /// Whether this miner has this button.
    pub fn has_button(&self, miner: &str, command: Command) -> bool {
        self.allowed.contains(&command) && self.devices.contains_key(&Some(miner.to_owned()))
    }

    fn is_wanted(&self, topic: &str) -> bool {
        self.devices.values().any(|device| device.announcement_topic == topic)
    }

    fn find_events(&mut self, snapshot: &Snapshot) {
        let begun = self.blocks.is_some();
        let known = self.blocks.get_or_insert_default();
        for block in snapshot.blocks.iter().rev() {
            let before = known.insert(block.hash.clone(), block.state);
            // As for the notifications: what is old, or was so before the start, is no news.
            let old = before.is_none() && block.at.saturating_add(OLD_S) < snapshot.started_at;
            let is_fresh = block.state_at > 0 && block.state_at >= snapshot.started_at;
            if (begun || is_fresh) && before != Some(block.state) && !old {
                let topic = self.names.event("block");
                self.events.push_back(Message::event(topic, &block_event(block)));
            }
        }
        known.retain(|hash, _| snapshot.blocks.iter().any(|block| block.hash == *hash));
        let best = snapshot.totals.best;
        if best > self.best {
            // The first of all is no record.
            if begun && self.best > 0.0 {
                let topic = self.names.event("best");
                // A newer record is all that one wants to hear of.
                self.events.retain(|event| event.topic != topic);
                self.events.push_back(Message::event(topic, &best_event(snapshot)));
            }
            self.best = best;
        }
        while self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
    }

    /// A new connection: the broker may have nothing of this run.
    pub fn connected(&mut self) {
        self.hello = None;
        self.sent = None;
        for device in self.devices.values_mut() {
            device.announced = None;
            device.told = None;
            device.not_before = None;
        }
    }

    /// Home Assistant has started, and knows nothing. Whoever says so again and again is not heard.
    pub fn heard_birth(&mut self, now: Instant) {
        if self.birth.is_some_and(|at| now < at + ANNOUNCE_PAUSE) {
            return;
        }
        self.birth = Some(now);
        self.hello = None;
        self.devices.values_mut().for_each(Device::again);
    }

    /// The next message, if one is due. One that is to be confirmed holds back all others of that kind until
    /// [`Publisher::answered`].
    pub fn next(&mut self, now: Now) -> Option<Message> {
        self.begun.get_or_insert(now.mono);
        if self.hello.is_none_or(|at| now.mono >= at + REFRESH) {
            self.hello = Some(now.mono);
            return Some(Message::plain(self.names.status(), "online".to_owned()));
        }
        if self.sent.is_none()
            && let Some((sent, message)) = self.next_confirmed(now.mono)
        {
            self.sent = Some(sent);
            return Some(message);
        }
        let device = self.devices.values_mut().find(|device| device.tells(now.mono))?;
        device.told = Some((device.prompt.clone(), now.mono));
        Some(Message::plain(device.topic.clone(), device.values.clone()))
    }

    fn next_confirmed(&self, now: Instant) -> Option<(Sent, Message)> {
        let are_back = self.begun.is_some_and(|at| now >= at + RETURN);
        let mut unwanted = self.announced.iter().filter(|topic| !self.is_wanted(topic));
        if let Some(topic) = unwanted.find(|topic| are_back || !self.earlier.contains(*topic)) {
            let message = Message::retained(topic.clone(), String::new());
            return Some((Sent::Removed(topic.clone()), message));
        }
        if let Some((id, device)) = self.devices.iter().find(|(_, device)| device.announces(now)) {
            let text = device.announcement.clone();
            let message = Message::retained(device.announcement_topic.clone(), text.clone());
            return Some((Sent::Announced(id.clone(), text), message));
        }
        // After the announcements: whoever does not know the box yet does not hear its events.
        Some((Sent::Event, self.events.front()?.clone()))
    }

    /// The message that was to be confirmed was taken, or refused: then it would be the next time as well.
    pub fn answered(&mut self, now: Now) {
        match self.sent.take() {
            Some(Sent::Event) => drop(self.events.pop_front()),
            Some(Sent::Removed(topic)) if !self.is_wanted(&topic) => {
                self.announced.remove(&topic);
            }
            Some(Sent::Announced(id, text)) => {
                if let Some(device) = self.devices.get_mut(&id) {
                    device.announced = Some((text, now.mono));
                    device.told = None;
                    device.not_before = Some(now.mono + SETTLE);
                }
            }
            Some(Sent::Removed(_)) | None => {}
        }
    }

    /// The last message: the box is gone, and its miners with it.
    pub fn farewell(&self) -> Message {
        Message::plain(self.names.status(), "offline".to_owned())
    }

    /// When [`Publisher::next`] has one, if it had none.
    pub fn next_deadline(&self) -> Option<Instant> {
        let hello = self.hello.map(|at| at + REFRESH);
        let announces = self.devices.values().filter_map(Device::announces_at).min();
        let announces = announces.filter(|_| self.sent.is_none());
        let tells = self.devices.values().filter_map(Device::tells_at).min();
        [hello, announces, tells].into_iter().flatten().min()
    }
}

impl Device {
    fn new(announcement_topic: String, topic: String) -> Device {
        Device {
            has: BTreeSet::new(),
            unit: None,
            announcement: String::new(),
            announcement_topic,
            announced: None,
            topic,
            values: String::new(),
            prompt: Map::new(),
            told: None,
            not_before: None,
        }
    }

    fn learn(&mut self, known: impl Iterator<Item = &'static str>, rate: Option<f64>) {
        self.unit = self.unit.or(rate.map(RateUnit::of));
        // Its unit is announced once.
        let may_be = |key: &&str| !key.starts_with("hashrate") || self.unit.is_some();
        let known: Vec<_> = known.filter(may_be).collect();
        self.has.extend(known);
    }

    fn unit(&self) -> RateUnit {
        self.unit.unwrap_or(RateUnit::Giga)
    }

    fn set(&mut self, announcement: String, values: (Map<String, Value>, Map<String, Value>)) {
        self.announcement = announcement;
        self.values = Value::Object(values.0).to_string();
        self.prompt = values.1;
    }

    /// Tells everything anew.
    fn again(&mut self) {
        if let Some((text, _)) = &mut self.announced {
            text.clear();
        }
        self.told = None;
    }

    /// Whether its announcement is to be sent.
    fn announces(&self, now: Instant) -> bool {
        match &self.announced {
            None => true,
            Some((text, _)) if *text == self.announcement => false,
            Some((_, at)) => now >= *at + ANNOUNCE_PAUSE,
        }
    }

    /// When it will be, if not now.
    fn announces_at(&self) -> Option<Instant> {
        let (text, at) = self.announced.as_ref()?;
        (*text != self.announcement).then(|| *at + ANNOUNCE_PAUSE)
    }

    /// When its values are to be told; `None` before its announcement.
    fn tells_at(&self) -> Option<Instant> {
        let (_, announced) = self.announced.as_ref()?;
        let due =
            self.told.as_ref().map_or(*announced, |(prompt, at)| match *prompt == self.prompt {
                true => *at + REFRESH,
                false => *at,
            });
        Some(due.max(self.not_before.unwrap_or(due)))
    }

    fn tells(&self, now: Instant) -> bool {
        self.tells_at().is_some_and(|at| now >= at)
    }
}

impl Message {
    fn plain(topic: String, payload: String) -> Message {
        Message { topic, payload, retained: false, confirmed: false }
    }

    fn retained(topic: String, payload: String) -> Message {
        Message { topic, payload, retained: true, confirmed: true }
    }

    fn event(topic: String, payload: &Value) -> Message {
        Message { topic, payload: payload.to_string(), retained: false, confirmed: true }
    }
}
