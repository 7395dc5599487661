//! The connection to an MQTT broker, by which Home Assistant is told and may press buttons.
//!
//! ```text
//!   snapshots ──▶ ┌────── a thread of its own ──────┐
//!  (the newest)   │ Publisher ──▶ Session ──▶ link  │ ◀──▶ broker
//!   news ◀─────── └─────────────────────────────────┘
//!                   pure          pure       sockets
//! ```
//!
//! Mining never waits for it. The daemon's loop leaves the newest snapshot and goes on; the messages, the
//! look-up of a name and the arithmetic of TLS are done by the thread. It makes the next message when the
//! connection has taken the one before, so nothing grows behind a broker that is slow, stands still or is away.

#[cfg(feature = "mqtt")]
mod connection;
#[cfg(feature = "mqtt")]
mod link;
#[cfg(feature = "mqtt")]
mod probe;
#[cfg(feature = "mqtt")]
mod session;
#[cfg(not(feature = "mqtt"))]
mod without;

#[cfg(feature = "mqtt")]
pub use link::Handle;
#[cfg(feature = "mqtt")]
pub use probe::{TRY_AT_MOST, probe};
#[cfg(not(feature = "mqtt"))]
pub use without::{Handle, TRY_AT_MOST, probe};

use std::fmt;
use std::path::PathBuf;

use crate::devices::pointing::Command;

/// What the daemon is told.
#[derive(Debug)]
pub enum News {
    /// The broker took us.
    Up,
    /// It is away, or does not take us. Why, as a clause about it.
    Down(String),
    /// A button was pressed, of the miner with this id.
    Press(String, Command),
}

/// Where news go. Called on the connection's thread.
pub type Told = Box<dyn Fn(News) + Send>;

/// The versions of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1: every broker speaks it.
    #[default]
    V3_1_1,
    /// 5: what is told of values expires at the broker as well.
    V5,
}

impl Version {
    /// Both by their names, the default first.
    pub const ALL: [(&str, Version); 2] =
        [(Version::V3_1_1.name(), Version::V3_1_1), (Version::V5.name(), Version::V5)];

    /// Its number, as the file and the broker have it.
    pub const fn name(self) -> &'static str {
        match self {
            Version::V3_1_1 => "3.1.1",
            Version::V5 => "5",
        }
    }
}

/// Where the broker is. Its `Display` is as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// Without one, the usual: 1883, or 8883 with TLS.
    pub port: Option<u16>,
}

impl Broker {
    /// Where brokers listen without TLS.
    pub const PORT: u16 = 1883;

    #[cfg(feature = "mqtt")]
    fn port(&self, tls: bool) -> u16 {
        self.port.unwrap_or(if tls { 8883 } else { Broker::PORT })
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        match host.contains(':') {
            true => write!(f, "[{host}]")?,
            false => f.write_str(host)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Why a broker cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The setting of `[mqtt]` that the owner looks at first.
    pub setting: &'static str,
    /// What is wrong, as a clause about the broker.
    pub words: String,
    /// What to do about it, in whole sentences.
    pub remedy: String,
}

#[cfg(feature = "mqtt")]
impl Fault {
    fn new(setting: &'static str, words: impl Into<String>, remedy: impl Into<String>) -> Fault {
        Fault { setting, words: words.into(), remedy: remedy.into() }
    }

    /// What answers is hardly a broker, or not as it is spoken to.
    fn no_broker(words: impl Into<String>, tls: bool) -> Fault {
        Fault::new(
            "broker",
            words,
            match tls {
                true => "Write the broker's port for TLS: 8883 as a rule.",
                false => {
                    "Write the broker's port: 1883 as a rule. A port for TLS, such as 8883, needs TLS to be \
                 set."
                }
            },
        )
    }
}

/// How to connect, and what to allow. Not `Debug`: it holds a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where to.
    pub broker: Broker,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The certificates (PEM) that are trusted; the system's roots where there is no file.
    pub certificate: Option<PathBuf>,
    /// The broker's user.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// Which version is spoken.
    pub version: Version,
    /// By what the messages are known.
    pub names: crate::home_assistant::Names,
    /// The buttons that the owner allows.
    pub buttons: Vec<Command>,
    /// Where the announcements are remembered that the broker may have.
    pub file: PathBuf,
}
