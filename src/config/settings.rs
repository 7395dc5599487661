//! Settings that were given but not yet validated: from the file, with the flags laid over them.

use std::path::PathBuf;

use toml::Value;

use super::problem::At;
use crate::notify::Topic;

/// What the command line says. It goes over the file for this run and is never written back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flags {
    /// `--config FILE`
    pub config: Option<PathBuf>,
    /// `--node URL`, any number. If there is one, the nodes of the file are not used.
    pub nodes: Vec<NodeFlag>,
    /// `--payout ADDRESS`
    pub payout: Option<String>,
    /// `--tag TEXT`
    pub tag: Option<String>,
    /// `--listen ADDRESS:PORT`, any number.
    pub listen: Vec<String>,
    /// `--http ADDRESS:PORT`, any number.
    pub http: Vec<String>,
    /// `--data DIR`
    pub data: Option<PathBuf>,
    /// `--log LEVEL`
    pub log: Option<String>,
}

/// One `--node`, with the flags that follow it.
#[derive(Clone, PartialEq)]
pub struct NodeFlag {
    /// `--node URL`
    pub url: String,
    /// `--zmq tcp://…`
    pub zmq: Option<String>,
    /// `--cookie FILE`
    pub cookie: Option<String>,
    /// `--cert FILE`
    pub cert: Option<String>,
}

/// The URL may hold a password.
impl std::fmt::Debug for NodeFlag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = super::url::without_credentials(&self.url);
        let NodeFlag { zmq, cookie, cert, .. } = self;
        write!(f, "NodeFlag({url}, zmq {zmq:?}, cookie {cookie:?}, cert {cert:?})")
    }
}

/// One value, and where it was written. Not `Debug`: it may be a password.
pub(super) struct Setting {
    pub key: String,
    pub at: At,
    pub value: Value,
    /// It stands between double quotes, with a backslash in it: some of its characters are not
    /// written as they are.
    pub escaped: bool,
}

/// One node as it was written.
pub(super) struct NodeSettings {
    pub at: At,
    /// `node` or `node.backup`
    pub key: &'static str,
    pub name: Option<Setting>,
    pub rpc_url: Option<Setting>,
    pub zmq_hashblock_addr: Option<Setting>,
    pub rpc_cookie_path: Option<Setting>,
    pub rpc_user: Option<Setting>,
    pub rpc_pass: Option<Setting>,
    pub rpc_cert_path: Option<Setting>,
}

/// One `[[stratum.firmware]]` as it was written.
pub(super) struct FirmwareSettings {
    pub at: At,
    pub prefix: Option<Setting>,
    pub difficulty: Option<Setting>,
    pub shares_per_minute: Option<Setting>,
    pub extranonce2_size: Option<Setting>,
}

/// One `[[notify]]` as it was written.
pub(super) struct NotifySettings {
    pub at: At,
    pub kind: Option<Setting>,
    pub url: Option<Setting>,
    pub token: Option<Setting>,
    pub chat: Option<Setting>,
    pub user: Option<Setting>,
    pub password: Option<Setting>,
    pub from: Option<Setting>,
    pub to: Option<Setting>,
    pub switches: [(Topic, Option<Setting>); 7],
}

/// Everything that was written.
pub(super) struct Settings {
    /// The file as a whole: where missing settings are reported.
    pub whole: At,
    pub nodes: Vec<NodeSettings>,
    pub address: Option<Setting>,
    pub tag: Option<Setting>,
    pub set_version_bits: Option<Setting>,
    pub clear_version_bits: Option<Setting>,
    pub per_miner: Option<Setting>,
    pub stratum_listen: Option<Setting>,
    pub tls_listen: Option<Setting>,
    pub max_connections: Option<Setting>,
    pub max_connections_per_address: Option<Setting>,
    pub password: Option<Setting>,
    pub firmwares: Vec<FirmwareSettings>,
    pub name: Option<Setting>,
    pub pin: Option<Setting>,
    pub http_listen: Option<Setting>,
    pub http_tls_listen: Option<Setting>,
    pub json: Option<Setting>,
    pub dir: Option<Setting>,
    pub copy_to: Option<Setting>,
    pub grace: Option<Setting>,
    pub follow: Option<Setting>,
    pub level: Option<Setting>,
    pub format: Option<Setting>,
    pub notify: Vec<NotifySettings>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            whole: At::Nowhere,
            nodes: Vec::new(),
            address: None,
            tag: None,
            set_version_bits: None,
            clear_version_bits: None,
            per_miner: None,
            stratum_listen: None,
            tls_listen: None,
            max_connections: None,
            max_connections_per_address: None,
            password: None,
            firmwares: Vec::new(),
            name: None,
            pin: None,
            http_listen: None,
            http_tls_listen: None,
            json: None,
            dir: None,
            copy_to: None,
            grace: None,
            follow: None,
            level: None,
            format: None,
            notify: Vec::new(),
        }
    }
}

impl Settings {
    /// Lays the flags over what the file says.
    pub fn lay_over(&mut self, flags: &Flags) {
        if !flags.nodes.is_empty() {
            self.nodes = flags.nodes.iter().map(NodeSettings::from_flag).collect();
        }
        let text = |value: &String| Value::String(value.clone());
        let list = |values: &[String]| {
            (!values.is_empty()).then(|| Value::Array(values.iter().map(text).collect()))
        };
        // The shell has made a relative path absolute by the working directory already.
        let path = |path: &PathBuf| Value::String(path.to_string_lossy().into_owned());
        over(&mut self.address, "--payout", flags.payout.as_ref().map(text));
        over(&mut self.tag, "--tag", flags.tag.as_ref().map(text));
        over(&mut self.stratum_listen, "--listen", list(&flags.listen));
        over(&mut self.http_listen, "--http", list(&flags.http));
        over(&mut self.dir, "--data", flags.data.as_ref().map(path));
        over(&mut self.level, "--log", flags.log.as_ref().map(text));
    }
}

impl NodeSettings {
    fn from_flag(flag: &NodeFlag) -> NodeSettings {
        let setting = |name, value: &String| setting(name, Value::String(value.clone()));
        NodeSettings {
            at: At::Flag("--node"),
            key: "--node",
            name: None,
            rpc_url: Some(setting("--node", &flag.url)),
            zmq_hashblock_addr: flag.zmq.as_ref().map(|zmq| setting("--zmq", zmq)),
            rpc_cookie_path: flag.cookie.as_ref().map(|path| setting("--cookie", path)),
            rpc_user: None,
            rpc_pass: None,
            rpc_cert_path: flag.cert.as_ref().map(|path| setting("--cert", path)),
        }
    }
}

fn over(slot: &mut Option<Setting>, flag: &'static str, value: Option<Value>) {
    if let Some(value) = value {
        *slot = Some(setting(flag, value));
    }
}

fn setting(flag: &'static str, value: Value) -> Setting {
    Setting { key: flag.to_owned(), at: At::Flag(flag), value, escaped: false }
}
