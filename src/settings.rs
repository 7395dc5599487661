//! Changes that the owner makes on the page: which one waits, which one can be undone, and the list
//! of changes. Pure.
//!
//! With the PIN, everything can be changed at once except the payout address: a new address waits
//! ten minutes, is announced, and can be cancelled during that time. A waiting change does not
//! survive a restart: the old address stays in force, which is the safe side.
//!
//! ```text
//!              Change(other address)               10 min
//!   (nothing) ──────────────────────▶ waiting ───────────────▶ Apply
//!       ▲                              │   ▲ │
//!       └──────────── Cancel ──────────┘   └─┘ Change(another address): begins anew
//! ```
//!
//! The other box of a pair has its word in the payout: who it is, its code, and that it is forgotten wait for
//! the same time, and are never taken back at once.

pub mod access;
pub mod devices;
mod mqtt;
mod pair;
mod sinks;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::clock::Now;

pub use mqtt::{MqttChange, MqttValues};
pub use pair::{PairChange, PairValues, invitation};
pub use sinks::{
    SERVICE_NAMES, SERVICES, Service, ServiceKind, SinkChange, SinkField, SinkValues, SinkWish,
    TOPICS,
};

/// How long a new payout address waits.
pub const PAYOUT_DELAY: Duration = Duration::from_secs(600);
/// The most nodes that the form takes.
pub const NODES_MAX: usize = 5;
/// The most places for notifications: `[[notify]]` in the file.
pub const SINKS_MAX: usize = 8;

/// What can be changed on the page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// The appliance's name.
    pub name: String,
    /// The payout address; empty before the set-up.
    pub payout: String,
    /// The words in the block, without the slashes around them.
    pub tag: String,
    /// The nodes by priority.
    pub nodes: Vec<NodeValues>,
}

/// One node in the form, or in the JSON of a program that sets the box up.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeValues {
    /// RPC address, `http://192.168.1.10:8332`, without user and password.
    pub url: String,
    /// RPC user; empty for a cookie file.
    #[serde(default)]
    pub user: String,
    /// RPC password; `None` is the one in force for the same address and user (see
    /// [`Values::fill_passwords`]). Never shown again.
    #[serde(default)]
    pub password: Option<String>,
    /// PEM file whose certificates alone are trusted for https; empty for the system's roots.
    #[serde(default)]
    pub certificate: String,
    /// `hashblock` address, `tcp://192.168.1.10:28332`; empty for none.
    #[serde(default)]
    pub zmq: String,
    /// Address of the P2P port, `192.168.1.10:8333`; empty for the usual one, `off` for none.
    #[serde(default)]
    pub p2p: String,
}

/// Something that is said about a value, to stand at its field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remark {
    /// The field's name in the form: `payout`, `tag`, `name`, `pin`, `pin2`, and those of a node with
    /// its place behind, as `url0`, `user0`, `password0`, `zmq0`, `p2p0` and `cert0`. Empty where it is
    /// about no single field.
    pub field: String,
    /// In whole sentences.
    pub text: String,
}

impl Remark {
    /// About this field.
    pub fn at(field: impl Into<String>, text: impl Into<String>) -> Remark {
        Remark { field: field.into(), text: text.into() }
    }

    /// About no single field.
    pub fn whole(text: impl Into<String>) -> Remark {
        Remark::at("", text)
    }
}

impl NodeValues {
    /// Nothing is written.
    pub fn is_blank(&self) -> bool {
        *self == NodeValues::default()
    }

    /// The owner emptied the address of this known node, to remove it.
    fn removes(&self, known: &NodeValues) -> bool {
        self.url.is_empty()
            && self.password.is_none()
            && (&self.user, &self.certificate, &self.zmq, &self.p2p)
                == (&known.user, &known.certificate, &known.zmq, &known.p2p)
    }
}

impl Values {
    /// Without the nodes of which nothing is written, and those of `known` that the owner removes by
    /// emptying the address. What was typed without an address stays: it is to be told of.
    pub fn without_removed(mut self, known: &[NodeValues]) -> Values {
        self.nodes
            .retain(|node| !node.is_blank() && !known.iter().any(|known| node.removes(known)));
        self
    }

    /// The same without the passwords, as the page may have it.
    pub fn without_passwords(mut self) -> Values {
        self.nodes.iter_mut().for_each(|node| node.password = None);
        self
    }

    /// Puts in the passwords that the form did not carry, out of `known`, which has them. Only for
    /// the same address and user: a password must neither move to another node when one above it
    /// is removed, nor be sent to an address that it was not given for.
    pub fn fill_passwords(&mut self, known: &[NodeValues]) {
        for node in self.nodes.iter_mut().filter(|node| node.password.is_none()) {
            let same = known.iter().find(|k| k.url == node.url && k.user == node.user);
            node.password = same.and_then(|known| known.password.clone());
        }
    }
}

/// Without the password.
impl std::fmt::Debug for NodeValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let NodeValues { url, user, certificate, zmq, p2p, .. } = self;
        write!(f, "Node({url}, {user}, {certificate}, {zmq}, {p2p})")
    }
}

/// A change of the payout address that has not come into force yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PendingPayout {
    /// The new address.
    pub address: String,
    /// When it comes into force, Unix seconds.
    pub due_at: u64,
}

/// A change of a section of the file that has a form of its own, with its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionChange {
    /// One place for notifications: a `[[notify]]`.
    Sink(SinkChange),
    /// The MQTT broker: `[mqtt]`.
    Mqtt(Box<MqttChange>),
    /// The other box of a pair: `[pair]`, which takes a restart.
    Pair(Box<PairChange>),
}

impl SectionChange {
    /// The change that takes this one back.
    pub fn reversed(self) -> SectionChange {
        match self {
            SectionChange::Sink(change) => SectionChange::Sink(change.reversed()),
            SectionChange::Mqtt(change) => SectionChange::Mqtt(Box::new(change.reversed())),
            SectionChange::Pair(change) => SectionChange::Pair(Box::new(change.reversed())),
        }
    }

    /// In a sentence without secrets.
    pub fn words(&self) -> String {
        match self {
            SectionChange::Sink(change) => change.words(),
            SectionChange::Mqtt(change) => change.words(),
            SectionChange::Pair(change) => change.words(),
        }
    }

    /// The section's name in the file.
    pub fn section(&self) -> &'static str {
        match self {
            SectionChange::Sink(_) => "notify",
            SectionChange::Mqtt(_) => "mqtt",
            SectionChange::Pair(_) => "pair",
        }
    }
}

/// What the core is told. `current` is what is in force now.
#[derive(Clone, Debug)]
pub enum Input {
    /// The owner confirmed these values.
    Change {
        /// In force now.
        current: Values,
        /// To be in force.
        new: Values,
    },
    /// The owner changed a section with a form of its own, which is in force already: the last change from
    /// now on.
    Section(SectionChange),
    /// The owner takes back the last change.
    Undo {
        /// In force now.
        current: Values,
    },
    /// The waiting payout address is cancelled.
    Cancel,
    /// The other box of a pair is to be another one, or to be forgotten.
    Pair(Box<PairChange>),
    /// It is to stay as it is after all.
    Keep,
    /// Time has passed.
    Tick {
        /// In force now.
        current: Values,
    },
}

/// What the core wants done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Save these and put them into force, without dropping a miner.
    Apply(Values),
    /// Save this change of a section and put it into force.
    Section(SectionChange),
    /// Write this down.
    Audit(String),
}

/// The core.
#[derive(Debug, Default)]
pub struct Changes {
    last: Option<Last>,
    pending: Option<(PendingPayout, Instant)>,
    pair: Option<(Box<PairChange>, Instant)>,
}

/// The last change.
#[derive(Debug)]
enum Last {
    /// What was in force before, without passwords: the form shows none, so what was replaced cannot be
    /// brought back, and undoing keeps the one that is in force.
    Values(Values),
    /// With its secrets, or a place that was removed by mistake would have to be set up anew.
    Section(SectionChange),
}

impl Changes {
    /// Nothing waits, nothing can be undone.
    pub fn new() -> Changes {
        Changes::default()
    }

    /// Takes an input and adds what is to be done to `out`.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Change { current, new } => self.change(now, current, new, out),
            Input::Section(SectionChange::Pair(_)) => self.last = None,
            Input::Section(change) => self.last = Some(Last::Section(change)),
            Input::Undo { current } => match self.last.take() {
                Some(Last::Values(before)) => {
                    out.push(Output::Audit("The last change is taken back.".to_owned()));
                    self.change(now, current, before, out);
                }
                Some(Last::Section(change)) => {
                    let change = change.reversed();
                    let words = change.words();
                    out.push(Output::Audit(format!("The last change is taken back: {words}")));
                    out.push(Output::Section(change));
                }
                None => {}
            },
            Input::Cancel => {
                if let Some((pending, _)) = self.pending.take() {
                    out.push(Output::Audit(format!(
                        "The new payout address {} is cancelled.",
                        pending.address
                    )));
                }
            }
            Input::Pair(change) => {
                out.push(Output::Audit(format!(
                    "In {}\u{202f}min: {}",
                    PAYOUT_DELAY.as_secs() / 60,
                    change.words()
                )));
                self.pair = Some((change, now.mono + PAYOUT_DELAY));
            }
            Input::Keep => {
                if let Some((change, _)) = self.pair.take() {
                    out.push(Output::Audit(format!("Cancelled: {}", change.words())));
                }
            }
            Input::Tick { current } => {
                if let Some((change, _)) = self.pair.take_if(|(_, due)| *due <= now.mono) {
                    out.push(Output::Audit(change.words()));
                    out.push(Output::Section(SectionChange::Pair(change)));
                }
                if let Some((pending, _)) = self.pending.take_if(|(_, due)| *due <= now.mono) {
                    let new = Values { payout: pending.address, ..current.clone() };
                    out.push(Output::Audit(format!("Blocks now pay {}.", new.payout)));
                    self.last = Some(Last::Values(current));
                    out.push(Output::Apply(new));
                }
            }
        }
    }

    /// When [`Input::Tick`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let pair = self.pair.as_ref().map(|(_, due)| *due);
        [self.payout_due(), pair].into_iter().flatten().min()
    }

    /// When the payout address that waits comes into force.
    pub fn payout_due(&self) -> Option<Instant> {
        self.pending.as_ref().map(|(_, due)| *due)
    }

    /// The change of the other box that waits, and until when.
    pub fn pair(&self) -> Option<(&PairChange, Instant)> {
        self.pair.as_ref().map(|(change, due)| (&**change, *due))
    }

    /// The payout address that waits.
    pub fn pending(&self) -> Option<&PendingPayout> {
        self.pending.as_ref().map(|(pending, _)| pending)
    }

    /// Whether there is something to take back.
    pub fn can_undo(&self) -> bool {
        self.last.is_some()
    }

    fn change(&mut self, now: Now, current: Values, new: Values, out: &mut Vec<Output>) {
        let mut at_once = new.clone();
        // The first address of all has nobody to protect.
        if !current.payout.is_empty() && new.payout != current.payout {
            at_once.payout.clone_from(&current.payout);
            let due_at = now.unix + PAYOUT_DELAY.as_secs();
            let pending = PendingPayout { address: new.payout.clone(), due_at };
            self.pending = Some((pending, now.mono + PAYOUT_DELAY));
            out.push(Output::Audit(format!(
                "Payout address {} is to replace {} in {}\u{202f}min.",
                new.payout,
                current.payout,
                PAYOUT_DELAY.as_secs() / 60
            )));
        }
        let changes = diff(&current, &at_once);
        if changes.is_empty() {
            return;
        }
        for change in changes {
            out.push(Output::Audit(change));
        }
        self.last = (!current.payout.is_empty()).then_some(Last::Values(current));
        out.push(Output::Apply(at_once));
    }
}

/// What differs, in sentences without secrets.
pub fn diff(old: &Values, new: &Values) -> Vec<String> {
    let mut changes = Vec::new();
    let mut change = |what: &str, old: &str, new: &str| {
        if old != new {
            changes.push(match (old, new) {
                ("", new) => format!("{what} {new} is set."),
                (old, "") => format!("{what} {old} is removed."),
                (old, new) => format!("{what} {old} becomes {new}."),
            });
        }
    };
    change("Name", &old.name, &new.name);
    change("Payout address", &old.payout, &new.payout);
    change("Words in the block:", &old.tag, &new.tag);
    let none = NodeValues::default();
    for place in 0..old.nodes.len().max(new.nodes.len()) {
        let (a, b) = (old.nodes.get(place).unwrap_or(&none), new.nodes.get(place).unwrap_or(&none));
        let what = match place {
            0 => "First node".to_owned(),
            n => format!("Backup node {n}"),
        };
        change(&what, &a.url, &b.url);
        if !b.url.is_empty() {
            change(&format!("{what}: user"), &a.user, &b.user);
            change(&format!("{what}: certificate"), &a.certificate, &b.certificate);
            change(&format!("{what}: ZMQ"), &a.zmq, &b.zmq);
            change(&format!("{what}: P2P port"), &a.p2p, &b.p2p);
            if b.password.is_some() {
                change(&format!("{what}: password"), "", "(not shown)");
            }
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(payout: &str, name: &str) -> Values {
        Values { name: name.to_owned(), payout: payout.to_owned(), ..Values::default() }
    }

    struct Scene {
        settings: Changes,
        current: Values,
        start: Instant,
    }

    impl Scene {
        fn new(payout: &str) -> Scene {
            let current = values(payout, "solo");
            Scene { settings: Changes::new(), current, start: Instant::now() }
        }

        fn at(&mut self, second: u64, input: Input) -> Vec<Output> {
            let now = Now { mono: self.start + Duration::from_secs(second), unix: second };
            let mut out = Vec::new();
            self.settings.handle(now, input, &mut out);
            for output in &out {
                if let Output::Apply(values) = output {
                    self.current = values.clone();
                }
            }
            out
        }

        fn change(&mut self, second: u64, new: Values) -> Vec<Output> {
            let current = self.current.clone();
            self.at(second, Input::Change { current, new })
        }

        fn tick(&mut self, second: u64) -> Vec<Output> {
            let current = self.current.clone();
            self.at(second, Input::Tick { current })
        }
    }

    #[test]
    fn a_new_payout_address_waits_ten_minutes() {
        let mut scene = Scene::new("old");
        scene.change(0, values("new", "attic"));
        let pending = PendingPayout { address: "new".to_owned(), due_at: 600 };
        assert_eq!(scene.settings.pending(), Some(&pending));
        assert_eq!(scene.current, values("old", "attic"), "the rest is in force at once");
        assert!(scene.tick(599).is_empty());
        assert_eq!(scene.current.payout, "old");
        scene.tick(600);
        assert_eq!(scene.settings.pending(), None);
        assert_eq!(scene.current, values("new", "attic"));
        assert_eq!(scene.settings.next_deadline(), None);
    }

    #[test]
    fn a_waiting_address_can_be_cancelled_and_a_second_one_begins_anew() {
        let mut scene = Scene::new("old");
        scene.change(0, values("thief", "solo"));
        scene.at(599, Input::Cancel);
        assert!(scene.tick(10_000).is_empty());
        assert_eq!(scene.current.payout, "old");

        scene.change(10_000, values("a", "solo"));
        scene.change(10_500, values("b", "solo"));
        assert!(scene.tick(10_600).is_empty());
        scene.tick(11_100);
        assert_eq!(scene.current.payout, "b");
    }

    #[test]
    fn the_other_box_changes_and_is_forgotten_after_ten_minutes_unless_that_is_cancelled() {
        let pair = |partner: &str| PairValues {
            partner: partner.to_owned(),
            secret: Some("geheim".to_owned()),
            ..PairValues::default()
        };
        let change = |before: &str, after: &str| {
            Box::new(PairChange { before: pair(before), after: pair(after) })
        };
        let due = |out: &[Output]| {
            out.iter().any(|output| matches!(output, Output::Section(SectionChange::Pair(_))))
        };
        for (before, after) in [("", "a"), ("a", "b"), ("a", "")] {
            let mut scene = Scene::new("old");
            let told = scene.at(0, Input::Pair(change(before, after)));
            assert!(!due(&told) && !format!("{told:?}").contains("geheim"), "{told:?}");
            // A payout that waits has its own time.
            scene.change(60, values("new", "solo"));
            let ten_minutes = scene.start + PAYOUT_DELAY;
            assert_eq!(scene.settings.pair(), Some((&*change(before, after), ten_minutes)));
            assert_eq!(scene.settings.next_deadline(), Some(ten_minutes));
            assert_eq!(scene.settings.payout_due(), Some(ten_minutes + Duration::from_secs(60)));
            assert!(!due(&scene.tick(599)) && due(&scene.tick(600)));
            assert_eq!(scene.settings.pair(), None);
            assert!(scene.settings.pending().is_some(), "the payout waits on");
            // It is in force, and is not taken back at once.
            scene.at(601, Input::Section(SectionChange::Pair(change(before, after))));
            assert!(!scene.settings.can_undo());

            scene.at(700, Input::Pair(change(before, after)));
            assert_eq!(scene.at(800, Input::Keep).len(), 1);
            assert!(scene.at(900, Input::Keep).is_empty());
            assert!(!due(&scene.tick(1400)));
        }
    }

    #[test]
    fn undoing_a_payout_change_waits_as_well() {
        let mut scene = Scene::new("old");
        scene.change(0, values("new", "solo"));
        scene.tick(600);
        let current = scene.current.clone();
        scene.at(700, Input::Undo { current });
        assert_eq!(scene.current.payout, "new");
        scene.tick(1300);
        assert_eq!(scene.current.payout, "old");
    }

    #[test]
    fn undo_takes_back_the_last_change_once() {
        let mut scene = Scene::new("old");
        scene.change(0, values("old", "attic"));
        assert!(scene.settings.can_undo());
        let current = scene.current.clone();
        scene.at(1, Input::Undo { current });
        assert_eq!(scene.current.name, "solo");
        assert!(scene.change(2, values("old", "solo")).is_empty(), "nothing differs");
    }

    #[test]
    fn undo_takes_back_whatever_was_changed_last() {
        let mut scene = Scene::new("old");
        let hook = SinkValues::of("webhook", &[("url", "http://geheim")]);
        let removed = SinkChange { place: 1, before: Some(hook), after: None };
        let removed = SectionChange::Sink(removed);
        scene.change(0, values("old", "attic"));
        assert!(scene.at(1, Input::Section(removed.clone())).is_empty());
        let current = scene.current.clone();
        let out = scene.at(2, Input::Undo { current: current.clone() });
        let words = "The last change is taken back: Webhook is added.".to_owned();
        assert_eq!(out, [Output::Audit(words), Output::Section(removed.clone().reversed())]);
        assert!(!scene.settings.can_undo(), "until the shell has done it");
        assert_eq!(scene.current.name, "attic");
        assert!(scene.at(3, Input::Undo { current }).is_empty());
        // The other way round.
        scene.at(4, Input::Section(removed.clone()));
        scene.change(5, values("old", "cellar"));
        let current = scene.current.clone();
        scene.at(6, Input::Undo { current });
        assert_eq!(scene.current.name, "attic");
        assert!(!format!("{:?}", Last::Section(removed)).contains("geheim"));
    }

    #[test]
    fn the_first_set_up_is_in_force_at_once() {
        let mut scene = Scene::new("");
        let out = scene.change(0, values("first", "solo"));
        assert!(matches!(out.last(), Some(Output::Apply(v)) if v.payout == "first"));
        assert!(!scene.settings.can_undo());
    }

    #[test]
    fn passwords_stay_with_their_own_node() {
        let node = |url: &str, user: &str, password: Option<&str>| NodeValues {
            url: url.to_owned(),
            user: user.to_owned(),
            password: password.map(str::to_owned),
            ..NodeValues::default()
        };
        let known = [node("http://a", "u", Some("pa")), node("http://b", "u", Some("pb"))];
        let mut new = values("x", "solo");
        // The first is removed, a stranger is added, and one user is another.
        new.nodes = vec![
            node("http://b", "u", None),
            node("http://evil", "u", None),
            node("http://a", "other", None),
            node("http://a", "u", Some("new")),
        ];
        new.fill_passwords(&known);
        let passwords: Vec<_> = new.nodes.iter().map(|node| node.password.as_deref()).collect();
        assert_eq!(passwords, [Some("pb"), None, None, Some("new")]);
    }

    #[test]
    fn the_diff_names_what_changes_and_no_secret() {
        let node = |url: &str, password: Option<&str>| NodeValues {
            url: url.to_owned(),
            user: "u".to_owned(),
            password: password.map(str::to_owned),
            ..NodeValues::default()
        };
        let old = Values { nodes: vec![node("http://a:8332", None)], ..values("x", "solo") };
        let new = Values {
            nodes: vec![node("http://a:8332", Some("hunter2")), node("http://b:8332", None)],
            ..values("x", "solo")
        };
        let changes = diff(&old, &new);
        assert_eq!(changes[0], "First node: password (not shown) is set.");
        assert_eq!(changes[1], "Backup node 1 http://b:8332 is set.");
        assert!(!format!("{changes:?} {new:?}").contains("hunter2"));
        assert_eq!(diff(&new, &old).len(), 1);
    }
}
