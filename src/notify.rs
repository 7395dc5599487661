//! Notifications: ntfy, Telegram, Discord, Slack, a plain webhook and e-mail.
//!
//! ```text
//! Snapshots ─▶ Watch (what is news) ─▶ Outbox (to whom, when again) ─▶ send (pool thread)
//!                pure                     pure                            │
//!                                          ▲──────── how it went ─────────┘
//! ```
//!
//! Mining never waits for this: the pure parts cost microseconds, the network part runs on a pool
//! thread with a deadline, and every queue is bounded.

mod mail;
mod outbox;
mod send;
mod sink;
mod watch;

pub use outbox::{Input, Outbox, SendId, SinkId, test_message};
pub use send::{SendError, send};
pub use sink::{BadSink, Encryption, Mail, Post, Request, Sink, SinkKind};
pub use watch::{Heading, Watch};

use crate::listed::listed;
use crate::status::Level;

listed! {
    /// What a message is about: each sink has a switch for each.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Topic {
        /// A block was found, accepted, lost.
        Block,
        /// A new best share.
        Best,
        /// A miner is missing or back, quiet, slow.
        Miner,
        /// Another node leads; a node is down or back.
        Node,
        /// No block can be found now, or again.
        Down,
        /// Any other alarm: board, storage, payout address.
        Alarm,
        /// A new version is ready.
        Update,
        /// The test button.
        Test,
    }
}

impl Topic {
    /// The name in the config: `block`, `best`, `miner`, …
    pub fn name(self) -> &'static str {
        match self {
            Topic::Block => "block",
            Topic::Best => "best",
            Topic::Miner => "miner",
            Topic::Node => "node",
            Topic::Down => "down",
            Topic::Alarm => "alarm",
            Topic::Update => "update",
            Topic::Test => "test",
        }
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is about.
    pub topic: Topic,
    /// How loud.
    pub level: Level,
    /// A few words.
    pub title: String,
    /// One or two sentences.
    pub text: String,
    /// When it happened, Unix seconds.
    pub at: u64,
}
