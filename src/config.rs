//! The owner's settings: `soloist.toml` and the command line → [`Config`].
//!
//! ```
//! use soloist::config::{self, Flags, Surroundings};
//!
//! let text = r#"
//!     [node]
//!     rpc_url = "http://anna:secret@192.168.1.10:8332"
//!     zmq_hashblock_addr = "tcp://192.168.1.10:28332"
//!
//!     [payout]
//!     address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
//! "#;
//! let file = Some(("soloist.toml", text));
//! let built = config::build(file, &Flags::default(), &Surroundings::default())?;
//! assert_eq!(built.config.nodes[0].url, "http://192.168.1.10:8332/");
//! assert_eq!(built.config.stratum.max_connections, 64);
//! // One node only: a sentence for the owner.
//! assert_eq!(built.warnings.len(), 1);
//! # Ok::<(), config::Problems>(())
//! ```
//!
//! Each setting is declared once, in `sections.rs`. The file, and the flags that override it,
//! become tables of values with their positions; undeclared names are refused (`written.rs`). Each
//! value is read by its declared form (`forms.rs`, `url.rs`) into a type that has its unit. Then
//! the rules between settings are checked (`validate.rs`). All mistakes are reported at once, each
//! with its file, its line and what to write instead ([`Problem`]). [`build`] is pure; [`load`]
//! reads the file and the environment and calls it. `tests/pure/config_reference.rs` makes the
//! reference `docs/settings.md` and `image/soloist.toml` from the same declarations.
//!
//! The chain is not configured: the node tells it, and [`crate::address::Address::fits`] is checked
//! then.

mod certificate;
mod declare;
mod diff;
mod escapes;
mod flags;
mod forms;
mod load;
mod p2p;
mod problem;
mod rewrite;
mod sections;
mod url;
mod validate;
mod written;

use std::fmt;
use std::path::PathBuf;

pub use certificate::CertificateFile;
pub use declare::{Facts, Flag, Line, PageValue, Reload, SectionFacts};
pub use diff::Change;
pub use flags::{BadFlag, Flags};
pub use load::{Loaded, data_dir, file_for_run, load, load_for_run, runtime_dir, save, try_text};
pub use problem::{At, Problem, Problems};
pub use rewrite::{page_settings, rewrite, rewrite_pin, rewrite_section};
pub use sections::{
    Data, Devices, Failover, Http, Log, Mqtt, P2p, Pair, Payout, SECTIONS, Stratum, Update,
};

use written::Written;

use crate::notify::Sink;
pub use crate::peer_address::P2pAddress;
pub use crate::rpc::{Auth, NodeConfig};
use crate::{home_assistant, mqtt};

/// The most miners that `max_connections` allows.
pub const MAX_CONNECTIONS: usize = 1024;
/// The most `[[stratum.firmware]]`: each new miner is compared with all of them.
pub const MAX_FIRMWARES: usize = 100;
/// The most nodes of strangers that the owner names: each is connected to when a block is offered.
pub const MAX_PEERS: usize = 16;
/// The most names by which the page is reached, and pages that may show it.
pub const MAX_HOSTS: usize = 16;
/// Where the TCP server for miners listens by default: every address of the machine.
pub const STRATUM_PORT: u16 = 3333;
/// Where the page is served by default. Port 80 would need privileges that a program started by
/// hand does not have; the image's unit grants them and its file says 80.
pub const HTTP_PORT: u16 = 8080;
/// The port of a node's RPC where an `http://` URL names none: Bitcoin Core's for the main chain.
pub const RPC_PORT: u16 = 8332;
/// The same for `https://`, which no node speaks: it is the port of the proxy in front of it.
pub const HTTPS_PORT: u16 = 443;

/// Everything that the daemon needs to know from its owner. Valid by construction.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The nodes in the order of preference; names are unique. Empty only before the set-up.
    pub nodes: Vec<NodeConfig>,
    /// `[payout]`
    pub payout: Payout,
    /// `[stratum]`
    pub stratum: Stratum,
    /// `[http]`
    pub http: Http,
    /// `[devices]`: the miners' own APIs.
    pub devices: Devices,
    /// `[data]`
    pub data: Data,
    /// `[failover]`
    pub failover: Failover,
    /// `[p2p]`: what is done with nodes of strangers.
    pub p2p: P2p,
    /// `[mqtt]`: Home Assistant.
    pub mqtt: Mqtt,
    /// `[pair]`: two boxes as one.
    pub pair: Pair,
    /// `[update]`: new versions.
    pub update: Update,
    /// `[log]`
    pub log: Log,
    /// `[[notify]]`: who is told what. At most [`crate::settings::SINKS_MAX`].
    pub notify: Vec<Sink>,
}

impl Config {
    /// How the MQTT broker is connected to; `None` if the owner names none. `id` tells this box from others.
    pub fn broker(&self, id: &str) -> Option<mqtt::Settings> {
        let mqtt = &self.mqtt;
        Some(mqtt::Settings {
            broker: mqtt.broker.clone()?,
            tls: mqtt.tls,
            certificate: mqtt.tls_cert_path.clone(),
            user: mqtt.user.clone(),
            password: mqtt.password.as_ref().map(|password| password.expose().to_owned()),
            version: mqtt.version,
            names: home_assistant::Names {
                discovery: mqtt.discovery_prefix.clone(),
                topic: mqtt.topic_prefix.clone(),
                id: id.to_owned(),
            },
            buttons: mqtt.buttons.clone(),
            file: self.data.dir.join("mqtt-announced"),
        })
    }
}

/// The owner's words in the coinbase: printable ASCII between slashes, at most
/// [`crate::coinbase::MAX_TAG`] bytes, or nothing at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(String);

impl Tag {
    /// The text, slashes included.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A password. It never shows itself: `Debug` prints stars, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a password.
    pub fn new(password: impl Into<String>) -> Secret {
        Secret(password.into())
    }

    /// The password itself, for the one place that sends or compares it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What the settings depend on besides the file: directories of the machine. Handed in, so that
/// [`build`] stays pure.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The directory of the config file: relative paths in the file start there.
    pub file_dir: PathBuf,
    /// The user's home, for paths that begin with `~/`.
    pub home: Option<PathBuf>,
    /// The service's own directory in memory, if it has one.
    pub runtime_dir: Option<PathBuf>,
    /// Where data goes when `[data] dir` is not set.
    pub data_dir: PathBuf,
}

/// A valid config, and what its owner should know about it.
#[derive(Clone, Debug)]
pub struct Built {
    /// The config.
    pub config: Config,
    /// Whole sentences about what is allowed but unwise.
    pub warnings: Vec<String>,
    /// The certificates of the nodes, to be looked at by whoever can read files; [`load`] does.
    pub certificates: Vec<CertificateFile>,
}

/// Builds the config from `file` (its name for messages, and its text) with `flags` over it.
///
/// # Errors
/// Every problem that was found; a syntax error or an unknown key hides the ones behind it.
pub fn build(
    file: Option<(&str, &str)>,
    flags: &Flags,
    surroundings: &Surroundings,
) -> Result<Built, Problems> {
    build_with(file, flags, surroundings, Incomplete::Refused)
}

/// What happens when the payout address or the nodes are not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incomplete {
    /// It is a mistake.
    Refused,
    /// The page asks for them: see [`Config::is_set_up`]. Without a page it is a mistake. A
    /// certificate that cannot be used is a warning then: it costs its node, not the start.
    Allowed,
}

/// As [`build`], with a choice of what happens to a config that is not complete.
///
/// # Errors
/// As for [`build`].
pub fn build_with(
    file: Option<(&str, &str)>,
    flags: &Flags,
    surroundings: &Surroundings,
    incomplete: Incomplete,
) -> Result<Built, Problems> {
    let (mut written, mut problems) = match file {
        Some((name, text)) => Written::read(name, text),
        None => (Written::nothing(At::Nowhere), Vec::new()),
    };
    written.lay_over(flags);
    if problems.is_empty() {
        return validate::validate(written, surroundings, incomplete);
    }
    // What could be read may be wrong as well. What is missing may stand where it could not be read.
    let places = written.places();
    if let Err(Problems(more)) = validate::validate(written, surroundings, incomplete) {
        problems.extend(more.into_iter().filter(|problem| places.contains(&problem.at)));
        problems.sort_by_key(|problem| problem.at.number());
    }
    Err(Problems(problems))
}

impl Config {
    /// Whether it names who is paid and a node: without either, the page leads to the set-up.
    pub fn is_set_up(&self) -> bool {
        self.payout.address.is_some() && !self.nodes.is_empty()
    }

    /// The nodes that are asked: none before the set-up is complete, as nothing could be mined.
    pub fn nodes_in_use(&self) -> &[NodeConfig] {
        if self.is_set_up() { &self.nodes } else { &[] }
    }

    /// What differs in `new`, in the order of the file. Empty when nothing does.
    pub fn diff(&self, new: &Config) -> Vec<Change> {
        diff::diff(self, new)
    }

    /// What is in force once a daemon that is `running` has taken this config over. What is bound or opened
    /// once, at the start, stays as it is there: the data directory is that of the files that are open.
    pub fn taken_over(self, running: &Config) -> Config {
        diff::taken_over(self, running)
    }
}
