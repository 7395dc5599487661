//! What Home Assistant is told, and in which form. Pure.
//!
//! ```text
//!               ┌─ entities: what there is to tell ─┐
//!   Snapshot ──▶│ box.rs, miner.rs                  │──▶ Publisher ──▶ messages, one by one
//!               └───────────────────────────────────┘      │
//!                          what the broker has was sent so far
//! ```
//!
//! The box is a device of Home Assistant's, and each miner is one that is reached through it. A device is
//! announced by one retained message (device-based discovery, Home Assistant 2024.12 and later); all its values
//! come in one other message, which is never retained and expires: after a power cut brokers bring retained
//! messages of long ago back. The same table of entities makes both, so a value cannot lack its entity.

mod appliance;
mod entity;
mod miner;
mod publisher;

pub use publisher::{ANNOUNCED_MAX, Publisher};

use std::time::Duration;

use crate::devices::pointing::Command;

/// So long a value counts in Home Assistant, unless it comes anew: then it is shown as unavailable.
pub const EXPIRES: Duration = Duration::from_secs(90);
/// So often everything is told anew, changed or not. Two such messages may be lost.
pub const REFRESH: Duration = Duration::from_secs(30);
/// Miners that are told of: those that are connected first.
pub const MINERS_MAX: usize = 200;

/// By what the messages are known at the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Where Home Assistant looks for announcements: `homeassistant`.
    pub discovery: String,
    /// What our own topics begin with: `soloist`.
    pub topic: String,
    /// This box, told from others at the same broker: letters and digits.
    pub id: String,
}

impl Names {
    /// How the box is called in identifiers.
    fn box_id(&self) -> String {
        format!("soloist_{}", self.id)
    }

    /// How a miner is called in them.
    fn miner_id(&self, miner: &str) -> String {
        format!("soloist_{}_{}", self.id, plain(miner))
    }

    fn announcement(&self, object: &str) -> String {
        format!("{}/device/{object}/config", self.discovery)
    }

    /// Says `online`; the broker says `offline` there when the box is gone.
    pub fn status(&self) -> String {
        format!("{}/{}/status", self.topic, self.id)
    }

    fn state(&self) -> String {
        format!("{}/{}/state", self.topic, self.id)
    }

    fn event(&self, what: &str) -> String {
        format!("{}/{}/event/{what}", self.topic, self.id)
    }

    fn miner_state(&self, miner: &str) -> String {
        format!("{}/{}/miner/{}/state", self.topic, self.id, plain(miner))
    }

    fn press(&self, miner: &str) -> String {
        format!("{}/{}/miner/{}/press", self.topic, self.id, plain(miner))
    }

    /// Where the presses of all buttons arrive.
    pub fn presses(&self) -> String {
        format!("{}/{}/miner/+/press", self.topic, self.id)
    }

    /// Where Home Assistant says that it has started.
    pub fn birth(&self) -> String {
        format!("{}/status", self.discovery)
    }
}

/// A message to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where to. Without wildcards.
    pub topic: String,
    /// JSON or a word; empty to take a retained message away.
    pub payload: String,
    /// The broker keeps it for those that come later, and confirms that it has it.
    pub retained: bool,
    /// The broker confirms that it has it.
    pub confirmed: bool,
}

/// What somebody at the broker said that concerns us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Home Assistant has started: it wants to be told everything anew.
    Birth,
    /// A button was pressed, of the miner with this id.
    Press(String, Command),
}

impl Heard {
    /// Reads a message. What is retained was said long ago.
    pub fn read(names: &Names, topic: &str, payload: &[u8], retained: bool) -> Option<Heard> {
        if retained {
            return None;
        }
        if topic == names.birth() {
            return (payload == b"online").then_some(Heard::Birth);
        }
        let rest = topic.strip_prefix(&format!("{}/{}/miner/", names.topic, names.id))?;
        let miner = rest.strip_suffix("/press")?;
        let command = Command::ALL.into_iter().find(|c| c.name().as_bytes() == payload)?;
        (miner == plain(miner)).then(|| Heard::Press(miner.to_owned(), command))
    }
}

/// As much of a text as can stand in an identifier and in a topic: no wildcard, no slash. A miner's id consists
/// of nothing else anyway.
fn plain(text: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    text.chars().filter(is_plain).take(64).collect()
}
