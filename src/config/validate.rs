//! What was written → a valid [`Config`]; every mistake is collected, none stops the rest.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Value;

use super::escapes;
use super::problem::{At, Problem, Problems};
use super::settings::{FirmwareSettings, NodeSettings, NotifySettings, Setting, Settings};
use super::url::{self, RpcUrl, Wrong};
use super::{
    Auth, Built, CertificateFile, Config, Data, Failover, Gaps, HTTP_PORT, Http, Log,
    MAX_CONNECTIONS, MAX_FIRMWARES, MAX_SINKS, NodeConfig, Payout, STRATUM_PORT, Secret, Stratum,
    Surroundings, Tag,
};
use crate::address::Address;
use crate::coinbase::MAX_TAG;
use crate::failover::Follow;
use crate::logger;
use crate::notify::{BadSink, Sink, SinkKind};
use crate::settings::access;
use crate::signal::{self, Signals};
use crate::stratum::firmware::Override;

pub(super) fn validate(
    settings: &Settings,
    surroundings: &Surroundings,
    gaps: Gaps,
) -> Result<Built, Problems> {
    let mut check = Check {
        surroundings,
        gaps,
        problems: Vec::new(),
        warnings: Vec::new(),
        certificates: Vec::new(),
    };
    // Without a page nobody could fill them.
    if settings.http_listen.as_ref().is_some_and(|listen| is_empty(&listen.value)) {
        check.gaps = Gaps::Refused;
    }
    let nodes = check.nodes(settings);
    let address = check.address(settings);
    let tag = check.optional(&settings.tag, tag).unwrap_or_else(|| Tag("/Soloist/".to_owned()));
    let signals = check.signals(settings);
    let per_miner = check.optional(&settings.per_miner, |value| match value {
        Value::Boolean(per_miner) => Ok(*per_miner),
        _ => wrong("it is neither true nor false", "Write per_miner = true or per_miner = false."),
    });
    let per_miner = per_miner.unwrap_or(false);
    let stratum = check.stratum(settings);
    let http = check.http(settings);
    check.ports(&stratum, &http, settings);
    check.https_port(&stratum, &http, settings);
    let dir = check.optional(&settings.dir, |value| text(value).and_then(not_empty));
    let dir = dir.map_or_else(|| surroundings.data_dir.clone(), |dir| check.path(&dir));
    let copy_to = check.optional(&settings.copy_to, |value| text(value).and_then(not_empty));
    let copy_to = copy_to.map(|place| check.path(&place));
    let grace = check.optional(&settings.grace, grace).unwrap_or(Duration::from_secs(90));
    let follow = check.optional(&settings.follow, follow).unwrap_or_default();
    let level = check.optional(&settings.level, level).unwrap_or(log::LevelFilter::Info);
    let format = check.optional(&settings.format, format).unwrap_or_default();
    let notify = check.sinks(settings);
    check.warn_about_nodes(&nodes);
    check.warn_about_ports(&stratum, &http);

    match check.problems.is_empty() {
        true => Ok(Built {
            config: Config {
                nodes,
                payout: Payout { address, tag, signals, per_miner },
                stratum,
                http,
                data: Data { dir, copy_to, runtime: surroundings.runtime_dir.clone() },
                failover: Failover { grace, follow },
                log: Log { level, format },
                notify,
            },
            warnings: check.warnings,
            certificates: check.certificates,
        }),
        false => Err(Problems(check.problems)),
    }
}

/// What a shipped file says where the owner has not written anything yet: `""` or `[]`.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

struct Check<'a> {
    surroundings: &'a Surroundings,
    gaps: Gaps,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    certificates: Vec<CertificateFile>,
}

impl Check<'_> {
    fn nodes(&mut self, settings: &Settings) -> Vec<NodeConfig> {
        // Nothing but empty quotation marks: to be filled on the page.
        let is_gap =
            |node: &NodeSettings| node.rpc_url.as_ref().is_none_or(|url| is_empty(&url.value));
        if self.gaps == Gaps::LeftToThePage && settings.nodes.iter().all(is_gap) {
            return Vec::new();
        }
        if settings.nodes.is_empty() {
            let instead = match settings.whole {
                At::Nowhere => {
                    "Write --node http://user:password@192.168.1.10:8332, or --config with a file."
                }
                _ => {
                    "Write a section [node] with rpc_url = \"http://192.168.1.10:8332\", \
                     rpc_user and rpc_pass."
                }
            };
            self.problem(&settings.whole, "node", "no node is named", instead);
        }
        let primary = settings.nodes.first().and_then(|node| self.user_and_pass(node));
        let mut nodes: Vec<NodeConfig> = Vec::new();
        for written in &settings.nodes {
            let Some(node) = self.node(written, &primary) else { continue };
            if nodes.iter().any(|other| other.url == node.url) {
                let what = format!("{} is already in the list", node.url);
                let instead = "Remove one of the two, or write the other node's address.";
                self.problem(&written.at, &key_of(written, "rpc_url"), &what, instead);
            } else if nodes.iter().any(|other| other.name == node.name) {
                let what = format!("another node is already called '{}'", node.name);
                self.problem(&written.at, &key_of(written, "name"), &what, "Write another name.");
            }
            nodes.push(node);
        }
        nodes
    }

    fn node(
        &mut self,
        written: &NodeSettings,
        primary: &Option<(String, Secret)>,
    ) -> Option<NodeConfig> {
        let own = self.user_and_pass(written);
        let zmq =
            self.optional(&written.zmq_hashblock_addr, |value| text(value).and_then(url::zmq));
        let cookie = self.optional(&written.rpc_cookie_path, |v| text(v).and_then(not_empty));
        let certificate = self.optional(&written.rpc_cert_path, |v| text(v).and_then(not_empty));
        let name = self.optional(&written.name, node_name);
        [&written.rpc_url, &written.rpc_user, &written.rpc_pass]
            .into_iter()
            .for_each(|setting| self.warn_about_escapes(setting));
        if written.rpc_url.is_none() {
            self.problem(
                &written.at,
                &key_of(written, "rpc_url"),
                "it is missing",
                "Write rpc_url = \"http://192.168.1.10:8332\", with your node's address.",
            );
        }
        let RpcUrl { url, host, port, credentials } =
            self.optional(&written.rpc_url, |value| text(value).and_then(url::rpc_url))?;
        let certificate = certificate.map(|path| self.path(&path));
        if let (Some(path), Some(Setting { at, key, .. })) = (&certificate, &written.rpc_cert_path)
        {
            if url.starts_with("https://") {
                let (path, at, key) = (path.clone(), at.clone(), key.clone());
                self.certificates.push(CertificateFile { path, at, key });
            } else {
                let what = "a certificate is only looked at over https";
                let instead = "Write https:// in rpc_url, or remove this line.";
                self.problem(at, key, what, instead);
            }
        }
        let name = name.unwrap_or_else(|| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        });
        if matches!(port, 8333 | 18333 | 48333 | 38333 | 18444) {
            self.warnings.push(format!(
                "{url} names port {port}, which nodes use among themselves. The RPC's port is \
                 mostly 8332."
            ));
        }
        if cookie.is_some() && (credentials.is_some() || own.is_some()) {
            self.warnings.push(format!(
                "For the node {name} both a cookie file and a password are set. The cookie \
                 file is used."
            ));
        } else if credentials.is_some() && own.is_some() {
            self.warnings.push(format!(
                "For the node {name} a password is set both in rpc_url and in rpc_pass. The \
                 one in rpc_url is used."
            ));
        }
        if credentials.is_some() && written.at == At::Flag("--node") {
            self.warnings.push(
                "A password on the command line can be read by every user of this machine. For \
                 more than a trial, write it into a file and use --config."
                    .to_owned(),
            );
        }
        let auth = match (cookie, credentials.or(own).or_else(|| primary.clone())) {
            (Some(path), _) => Auth::Cookie(self.path(&path)),
            (None, Some((user, password))) => Auth::Basic { user, password },
            (None, None) => Auth::None,
        };
        Some(NodeConfig { name, url, host, port, auth, certificate, zmq: zmq.flatten() })
    }

    /// `rpc_user` and `rpc_pass`, which belong together.
    fn user_and_pass(&mut self, node: &NodeSettings) -> Option<(String, Secret)> {
        let user = self.optional(&node.rpc_user, |value| text(value).and_then(not_empty));
        let password = self.optional(&node.rpc_pass, |value| text(value).and_then(not_empty));
        match (user, password) {
            (Some(user), Some(password)) if !user.contains(':') => {
                Some((user, Secret::new(password)))
            }
            (Some(_), Some(_)) => {
                let (what, instead) = ("a user cannot contain ':'", "Write the user alone.");
                self.problem(&node.at, &key_of(node, "rpc_user"), what, instead);
                None
            }
            (Some(_), None) if node.rpc_pass.is_none() => {
                let instead = "Write rpc_pass = \"…\" below rpc_user.";
                self.problem(&node.at, &key_of(node, "rpc_pass"), "it is missing", instead);
                None
            }
            (None, Some(_)) if node.rpc_user.is_none() => {
                let instead = "Write rpc_user = \"…\" above rpc_pass.";
                self.problem(&node.at, &key_of(node, "rpc_user"), "it is missing", instead);
                None
            }
            _ => None,
        }
    }

    fn address(&mut self, settings: &Settings) -> Option<Address> {
        if self.gaps == Gaps::LeftToThePage
            && settings.address.as_ref().is_none_or(|address| is_empty(&address.value))
        {
            return None;
        }
        if settings.address.is_none() {
            let instead = match settings.whole {
                At::Nowhere => "Write --payout with a receive address of your own wallet.",
                _ => {
                    "Below [payout] write address = \"bc1q…\", a receive address of your own \
                     wallet."
                }
            };
            self.problem(&settings.whole, "payout.address", "nobody would be paid", instead);
        }
        self.optional(&settings.address, |value| {
            text(value)?
                .parse::<Address>()
                .map_err(|error| (error.to_string(), error.instead().to_owned()))
        })
    }

    fn signals(&mut self, settings: &Settings) -> Signals {
        let set = self.optional(&settings.set_version_bits, version_bits).unwrap_or(0);
        let clear = self.optional(&settings.clear_version_bits, version_bits).unwrap_or(0);
        if let Some(bit) = signal::numbers(set & clear).next()
            && let Some(written) = &settings.clear_version_bits
        {
            let what = format!("bit {bit} is in set_version_bits as well");
            self.problem(&written.at, &written.key, &what, "Remove it from one of the two.");
        }
        Signals { set, clear }
    }

    fn stratum(&mut self, settings: &Settings) -> Stratum {
        let listen = self.optional(&settings.stratum_listen, |value| match listen(value) {
            Ok(list) if list.is_empty() => wrong(
                "miners need at least one address to connect to",
                "Write listen = \"0.0.0.0:3333\", or leave the line out.",
            ),
            other => other,
        });
        let count = |value: &Value| count(value, MAX_CONNECTIONS);
        Stratum {
            listen: listen.unwrap_or_else(|| everywhere(STRATUM_PORT)),
            tls_listen: self.optional(&settings.tls_listen, listen_tls).unwrap_or_default(),
            max_connections: self.optional(&settings.max_connections, count).unwrap_or(64),
            max_connections_per_address: self
                .optional(&settings.max_connections_per_address, count)
                .unwrap_or(8),
            password: self.password(settings),
            firmwares: self.firmwares(settings),
        }
    }

    fn password(&mut self, settings: &Settings) -> Option<Secret> {
        let password = self.optional(&settings.password, miner_password)?;
        if password.is_empty() {
            return None;
        }
        if password.len() > 19 {
            self.warnings.push(
                "The password of [stratum] is longer than 19 characters. NerdMiners cannot send \
                 it: they have room for 19."
                    .to_owned(),
            );
        }
        Some(Secret::new(password))
    }

    fn firmwares(&mut self, settings: &Settings) -> Vec<Override> {
        if let Some(first_too_many) = settings.firmwares.get(MAX_FIRMWARES) {
            let what = format!("these are more than {MAX_FIRMWARES}");
            let instead = "Join some of them by a shorter prefix.";
            self.problem(&first_too_many.at, "stratum.firmware", &what, instead);
        }
        settings.firmwares.iter().filter_map(|written| self.firmware(written)).collect()
    }

    fn firmware(&mut self, written: &FirmwareSettings) -> Option<Override> {
        const KEY: &str = "stratum.firmware.prefix";
        let prefix = self.optional(&written.prefix, |value| text(value).and_then(not_empty));
        let start_difficulty = self.optional(&written.difficulty, |value| {
            number(
                value,
                0.0001,
                1e15,
                "Write the difficulty to start with, such as 0.001 or 4000.",
            )
        });
        let shares_per_minute = self.optional(&written.shares_per_minute, |value| {
            number(value, 0.1, 60.0, "Write how many shares a minute are wanted; 6 is usual.")
        });
        let extranonce2_size =
            self.optional(&written.extranonce2_size, |value| match value.as_integer() {
                Some(4) => Ok(4),
                Some(8) => Ok(8),
                _ => wrong("it is neither 4 nor 8", "Write 8, or 4 for a rental that asks for it."),
            });
        if written.prefix.is_none() {
            let instead = "Write prefix = \"bitaxe/\": how the name begins by which such miners \
                           introduce themselves. The page shows it.";
            self.problem(&written.at, KEY, "it is missing", instead);
        } else if written.difficulty.is_none()
            && written.shares_per_minute.is_none()
            && written.extranonce2_size.is_none()
        {
            let instead = "Write difficulty, shares_per_minute or extranonce2_size below it.";
            self.problem(&written.at, KEY, "nothing is said about such miners", instead);
        }
        Some(Override { prefix: prefix?, start_difficulty, shares_per_minute, extranonce2_size })
    }

    fn http(&mut self, settings: &Settings) -> Http {
        let json = self.optional(&settings.json, |value| match value {
            Value::Boolean(json) => Ok(*json),
            _ => wrong("it is neither true nor false", "Write json = true or json = false."),
        });
        Http {
            name: self.optional(&settings.name, node_name).unwrap_or_else(|| "Soloist".to_owned()),
            pin: self.pin(settings),
            listen: self
                .optional(&settings.http_listen, listen)
                .unwrap_or_else(|| everywhere(HTTP_PORT)),
            tls_listen: self.optional(&settings.http_tls_listen, listen_tls).unwrap_or_default(),
            json: json.unwrap_or(true),
        }
    }

    fn pin(&mut self, settings: &Settings) -> Option<Secret> {
        self.warn_about_escapes(&settings.pin);
        self.optional(&settings.pin, pin).flatten()
    }

    fn sinks(&mut self, settings: &Settings) -> Vec<Sink> {
        if let Some(first_too_many) = settings.notify.get(MAX_SINKS) {
            let what = format!("these are more than {MAX_SINKS}");
            self.problem(&first_too_many.at, "notify", &what, "Remove some of them.");
        }
        settings.notify.iter().filter_map(|written| self.sink(written)).collect()
    }

    fn sink(&mut self, written: &NotifySettings) -> Option<Sink> {
        let before = self.problems.len();
        let mut topics = Vec::new();
        for (topic, switch) in &written.switches {
            let read = |value: &Value| {
                value.as_bool().ok_or((
                    "it is neither true nor false".to_owned(),
                    format!("Write {0} = true or {0} = false.", topic.name()),
                ))
            };
            if self.optional(switch, read).unwrap_or(true) {
                topics.push(*topic);
            }
        }
        let plain = |value: &Value| text(value).and_then(not_empty);
        let url = self.optional(&written.url, plain);
        let token = self.optional(&written.token, sink_token);
        // A chat's number may stand without quotation marks.
        let chat = self.optional(&written.chat, |value| match value {
            Value::Integer(number) => Ok(number.to_string()),
            other => plain(other),
        });
        let user = self.optional(&written.user, plain);
        let password = self.optional(&written.password, plain);
        [&written.user, &written.password]
            .into_iter()
            .for_each(|setting| self.warn_about_escapes(setting));
        let from = self.optional(&written.from, plain);
        let to = self.optional(&written.to, plain);
        const KINDS: &str = "Write one of \"ntfy\", \"telegram\", \"discord\", \"slack\", \
                             \"webhook\" and \"email\".";
        if written.kind.is_none() {
            let what = "it is missing";
            self.problem(&written.at, "notify.kind", what, KINDS);
        }
        let kind = self.optional(&written.kind, plain)?;
        let url = || url.unwrap_or_default();
        let kind = match kind.to_ascii_lowercase().as_str() {
            "ntfy" => SinkKind::Ntfy { url: url(), token },
            "telegram" => SinkKind::Telegram {
                token: token.unwrap_or_default(),
                chat: chat.unwrap_or_default(),
            },
            "discord" => SinkKind::Discord { url: url() },
            "slack" => SinkKind::Slack { url: url() },
            "webhook" => SinkKind::Webhook { url: url() },
            "email" => {
                let half = match (&user, &password) {
                    (Some(_), None) => Some("notify.password"),
                    (None, Some(_)) => Some("notify.user"),
                    _ => None,
                };
                if let Some(missing) = half {
                    let instead = "Write both user and password, or neither.";
                    self.problem(&written.at, missing, "it is missing", instead);
                }
                SinkKind::Email {
                    url: url(),
                    login: user.zip(password),
                    from: from.unwrap_or_default(),
                    to: to.unwrap_or_default(),
                }
            }
            _ => {
                let at = written.kind.as_ref().map_or(&written.at, |kind| &kind.at);
                self.problem(at, "notify.kind", "there is no such service", KINDS);
                return None;
            }
        };
        // What was wrong already is not told twice.
        if self.problems.len() > before {
            return None;
        }
        if let Err(bad) = kind.check() {
            self.bad_sink(written, &bad);
        }
        if topics.is_empty() {
            let instead = "Leave one of the switches on, or remove this [[notify]].";
            self.problem(&written.at, "notify", "nothing would be told", instead);
        }
        Some(Sink { kind, topics })
    }

    /// The check's words without the address, which may be a secret.
    fn bad_sink(&mut self, written: &NotifySettings, bad: &BadSink) {
        let (key, setting, what, instead) = match bad {
            BadSink::Url(_) => (
                "notify.url",
                &written.url,
                "this is not an http:// or https:// address",
                "Write the whole address that the service shows, such as \
                 url = \"https://ntfy.sh/my-topic\".",
            ),
            BadSink::NoTopic => (
                "notify.url",
                &written.url,
                "the topic is missing",
                "Write it at the end of the address, as in url = \"https://ntfy.sh/my-topic\".",
            ),
            BadSink::Token => (
                "notify.token",
                &written.token,
                "this is not the token of a Telegram bot",
                "Write the one that @BotFather gave you; it looks like \"123456:ABC-DEF\".",
            ),
            BadSink::Chat => (
                "notify.chat",
                &written.chat,
                "nobody would be written to",
                "Write the number of your chat with the bot, or \"@channel\".",
            ),
            BadSink::MailServer(_) => (
                "notify.url",
                &written.url,
                "this is not the address of a mail server",
                "Write it as url = \"smtps://mail.example.org\"; name and password go into user and \
                 password.",
            ),
            BadSink::From => (
                "notify.from",
                &written.from,
                "this is no e-mail address",
                "Write the sender that your mail server lets you use.",
            ),
            BadSink::To => (
                "notify.to",
                &written.to,
                "this is no e-mail address",
                "Write the address that reads the messages.",
            ),
        };
        let at = setting.as_ref().map_or(&written.at, |setting| &setting.at);
        match setting {
            Some(_) => self.problem(at, key, what, instead),
            None => self.problem(at, key, "it is missing", instead),
        }
    }

    /// Miners, miners with TLS and browsers cannot share a port.
    fn ports(&mut self, stratum: &Stratum, http: &Http, settings: &Settings) {
        let place = |settings: [&Option<Setting>; 2], key: &str| match settings
            .into_iter()
            .flatten()
            .next()
        {
            Some(setting) => (setting.at.clone(), setting.key.clone()),
            None => (At::Nowhere, key.to_owned()),
        };
        let clashes = |own: &[SocketAddr], others: &[SocketAddr]| {
            let taken = |address: &&SocketAddr| others.iter().any(|other| clash(other, address));
            own.iter().find(taken).map(SocketAddr::port)
        };
        let mut clashing = |port: Option<u16>, (at, key): (At, String), instead: &str| {
            if let Some(port) = port {
                let at = if at == At::Nowhere { settings.whole.clone() } else { at };
                let what = format!("miners already connect to port {port}");
                self.problem(&at, &key, &what, instead);
            }
        };
        clashing(
            clashes(&stratum.tls_listen, &stratum.listen),
            place([&settings.tls_listen, &None], "stratum.tls_listen"),
            "Write another port, such as 0.0.0.0:4333 for TLS.",
        );
        clashing(
            clashes(&http.listen, &[&stratum.listen[..], &stratum.tls_listen].concat()),
            place([&settings.http_listen, &settings.stratum_listen], "http.listen"),
            "Write another port, such as 0.0.0.0:8080 for the page.",
        );
    }

    /// Readers who encrypt have a port of their own.
    fn https_port(&mut self, stratum: &Stratum, http: &Http, settings: &Settings) {
        let others = [&stratum.listen[..], &stratum.tls_listen, &http.listen].concat();
        let taken = |own: &&SocketAddr| others.iter().any(|other| clash(other, own));
        if let (Some(own), Some(setting)) =
            (http.tls_listen.iter().find(taken), &settings.http_tls_listen)
        {
            let what = format!("port {} is in use for something else here", own.port());
            let instead = "Write another port, such as 0.0.0.0:8443.";
            self.problem(&setting.at, &setting.key, &what, instead);
        }
    }

    /// Port 0 is for tests, which read the real one from the log.
    fn warn_about_ports(&mut self, stratum: &Stratum, http: &Http) {
        let all = stratum.listen.iter().chain(&stratum.tls_listen).chain(&http.listen);
        if all.into_iter().any(|address| address.port() == 0) {
            self.warnings.push(
                "Port 0 lets the system choose a port at each start. Miners need one that stays."
                    .to_owned(),
            );
        }
    }

    /// Characters that nobody sees in what was pasted between double quotes.
    fn warn_about_escapes(&mut self, setting: &Option<Setting>) {
        self.warnings.extend(setting.as_ref().and_then(escapes::warning));
    }

    fn warn_about_nodes(&mut self, nodes: &[NodeConfig]) {
        if let [_] = nodes {
            self.warnings.push(
                "Only one node is set: a restart of it can cost a block. Add a second one below \
                 [[node.backup]]."
                    .to_owned(),
            );
        }
        if !nodes.is_empty() && nodes.iter().all(|node| node.zmq.is_none()) {
            self.warnings.push(
                "No node has zmq_hashblock_addr set. New blocks are noticed by asking, which is \
                 up to 2 s slower."
                    .to_owned(),
            );
        }
        for (place, node) in nodes.iter().enumerate() {
            if node.auth == Auth::None {
                self.warnings.push(format!(
                    "The node {} has no password and no cookie file. Bitcoin Core will refuse us.",
                    node.name
                ));
            }
            if let Some(twin) = nodes[..place].iter().find(|other| machine(other) == machine(node))
            {
                self.warnings.push(format!(
                    "The nodes {} and {} run on the same machine. That covers a crash of one, but \
                     not a power cut.",
                    twin.name, node.name
                ));
            }
        }
    }

    /// The validated value of a setting; `None` if it was not written or is wrong.
    fn optional<T>(
        &mut self,
        setting: &Option<Setting>,
        read: impl FnOnce(&Value) -> Result<T, Wrong>,
    ) -> Option<T> {
        let setting = setting.as_ref()?;
        match read(&setting.value) {
            Ok(value) => Some(value),
            Err((what, instead)) => {
                self.problem(&setting.at, &setting.key, &what, &instead);
                None
            }
        }
    }

    fn problem(&mut self, at: &At, key: &str, what: &str, instead: &str) {
        let problem = Problem {
            at: at.clone(),
            key: key.to_owned(),
            what: what.to_owned(),
            instead: instead.to_owned(),
        };
        // rpc_user and rpc_pass of the primary are read twice: once as everybody's.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// A path of the file: `~/` is the user's home, a relative one starts at the file.
    fn path(&self, written: &str) -> PathBuf {
        match (written.strip_prefix("~/"), &self.surroundings.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => self.surroundings.file_dir.join(Path::new(written)),
        }
    }
}

fn key_of(node: &NodeSettings, key: &str) -> String {
    format!("{}.{key}", node.key)
}

/// Two names of this machine count as one.
fn machine(node: &NodeConfig) -> &str {
    match node.host.parse::<IpAddr>() {
        Ok(ip) if ip.is_loopback() => "localhost",
        _ => &node.host,
    }
}

fn clash(a: &SocketAddr, b: &SocketAddr) -> bool {
    let everything = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port()
        && a.port() != 0
        && a.is_ipv4() == b.is_ipv4()
        && (everything || a.ip() == b.ip())
}

/// Every IPv4 and every IPv6 address of the machine.
fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()]
}

fn text(value: &Value) -> Result<&str, Wrong> {
    match value {
        Value::String(text) => Ok(text),
        _ => wrong("it is not a text", "Write it between quotation marks."),
    }
}

fn not_empty(text: &str) -> Result<String, Wrong> {
    match text.trim() {
        "" => {
            wrong("it is empty", "Write a value between the quotation marks, or remove the line.")
        }
        text => Ok(text.to_owned()),
    }
}

fn node_name(value: &Value) -> Result<String, Wrong> {
    let name = not_empty(text(value)?)?;
    if name.chars().count() > 32 || name.chars().any(char::is_control) {
        return wrong(
            "a name has at most 32 characters on one line",
            "Write a short one, such as \"attic\".",
        );
    }
    Ok(name)
}

fn tag(value: &Value) -> Result<Tag, Wrong> {
    let written = text(value)?.trim().trim_matches('/');
    if written.is_empty() {
        return Ok(Tag(String::new()));
    }
    let strange = |(_, c): &(usize, char)| !matches!(c, ' '..='~');
    if let Some((place, c)) = written.chars().enumerate().find(strange) {
        return wrong(
            &format!("{} (character {}) cannot stand in a block", shown(c), place + 1),
            "Write only English letters, digits, spaces and signs.",
        );
    }
    let tag = format!("/{written}/");
    if tag.len() > MAX_TAG {
        return wrong(
            &format!("it takes {} bytes with its slashes, and {MAX_TAG} fit", tag.len()),
            &format!("Remove at least {} characters.", tag.len() - MAX_TAG),
        );
    }
    Ok(Tag(tag))
}

/// A character in quotation marks; one that cannot be seen by its number.
fn shown(c: char) -> String {
    if c.is_control() { format!("U+{:04X}", c as u32) } else { format!("'{c}'") }
}

/// A password that every firmware can send: no spaces, and no comma, which separates `d=1000`.
fn miner_password(value: &Value) -> Result<String, Wrong> {
    let password = text(value)?;
    if password.len() > 64 || password.chars().any(|c| !c.is_ascii_graphic() || c == ',') {
        return wrong(
            "not every miner could send it",
            "Write at most 64 letters, digits and signs, without spaces and commas.",
        );
    }
    Ok(password.to_owned())
}

/// A PIN, or its hash as the page writes it. Empty: none.
fn pin(value: &Value) -> Result<Option<Secret>, Wrong> {
    let pin = text(value)?;
    if pin.is_empty() {
        return Ok(None);
    }
    if !pin.starts_with(access::HASH_PREFIX)
        && let Err(bad) = access::check_pin(pin)
    {
        let what = bad.to_string().trim_end_matches('.').to_owned();
        return Err((what, "Write another one, such as six letters and digits.".to_owned()));
    }
    Ok(Some(Secret::new(pin)))
}

/// A token that can stand in a header.
fn sink_token(value: &Value) -> Result<String, Wrong> {
    let token = not_empty(text(value)?)?;
    if token.chars().any(|c| !c.is_ascii_graphic()) {
        return wrong(
            "a token has neither spaces nor letters with accents",
            "Copy it once more from the service.",
        );
    }
    Ok(token)
}

fn count(value: &Value, most: usize) -> Result<usize, Wrong> {
    let number = value.as_integer().and_then(|number| usize::try_from(number).ok());
    match number {
        Some(number) if (1..=most).contains(&number) => Ok(number),
        _ => wrong(
            &format!("it is not a whole number from 1 to {most}"),
            "Write a number such as 8 or 64, without quotation marks.",
        ),
    }
}

fn number(value: &Value, least: f64, most: f64, instead: &str) -> Result<f64, Wrong> {
    let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
    match number {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        _ => wrong(&format!("it is not a number from {least} to {most}"), instead),
    }
}

fn listen(value: &Value) -> Result<Vec<SocketAddr>, Wrong> {
    let list = match value {
        Value::Array(list) => list.iter().map(text).collect::<Result<Vec<&str>, Wrong>>()?,
        other => vec![text(other)?],
    };
    if list.len() > 16 {
        return wrong(
            "these are more than 16 addresses",
            "Write \"0.0.0.0:PORT\" for all of them.",
        );
    }
    let mut addresses = Vec::new();
    for text in list {
        let address = listen_address(text.trim())?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// Like [`listen`]; an empty text is no address at all.
fn listen_tls(value: &Value) -> Result<Vec<SocketAddr>, Wrong> {
    match value.as_str() {
        Some("") => Ok(Vec::new()),
        _ => listen(value),
    }
}

fn listen_address(text: &str) -> Result<SocketAddr, Wrong> {
    let parsed: Result<SocketAddr, _> = text.parse();
    match parsed {
        Ok(address) => Ok(address),
        Err(_) => {
            let port = text.trim_start_matches([':', '*']);
            let instead = match (port.parse::<u16>(), text.parse::<IpAddr>()) {
                (Ok(port), _) => format!("Write \"0.0.0.0:{port}\"."),
                (_, Ok(IpAddr::V4(ip))) => format!("Write \"{ip}:3333\", with the port."),
                (_, Ok(IpAddr::V6(ip))) => format!("Write \"[{ip}]:3333\", with the port."),
                _ => "Write an IP address of this machine and a port, such as \"0.0.0.0:3333\" or \
                      \"[::]:3333\"; names do not work here."
                    .to_owned(),
            };
            wrong("this is not an address and a port", &instead)
        }
    }
}

fn grace(value: &Value) -> Result<Duration, Wrong> {
    let grace = duration(value)?;
    if grace > Duration::from_secs(600) {
        return wrong(
            "miners would work for more than 10 minutes on a job that may be stale",
            "Write at most \"10 min\"; \"90 s\" is a good value.",
        );
    }
    Ok(grace)
}

fn follow(value: &Value) -> Result<Follow, Wrong> {
    match text(value)?.trim() {
        "work" => Ok(Follow::Work),
        "first" => Ok(Follow::First),
        _ => wrong(
            "nothing can be followed by that name",
            "Write \"work\" for the chain with most work, or \"first\" for the rules of the first \
             node.",
        ),
    }
}

/// A list of bits of the block's version, as a mask.
fn version_bits(value: &Value) -> Result<u32, Wrong> {
    const INSTEAD: &str = "Write numbers from 0 to 12 between brackets, such as [4].";
    let Value::Array(list) = value else {
        return wrong("this is not a list of bits", INSTEAD);
    };
    let mut bits = 0;
    for bit in list {
        match bit.as_integer() {
            Some(bit @ 0..=12) => bits |= 1 << bit,
            Some(bit @ 13..=28) => {
                let what = format!("bit {bit} belongs to the miners, which try all its values");
                return wrong(&what, INSTEAD);
            }
            Some(bit @ 29..=31) => {
                let what = format!(
                    "bit {bit} says what the others mean (BIP 9) and can be neither set nor cleared"
                );
                return wrong(&what, INSTEAD);
            }
            _ => return wrong("this is not a bit of the block's version", INSTEAD),
        }
    }
    Ok(bits)
}

/// `"90 s"`, `"2 min"`, or a plain number of seconds.
fn duration(value: &Value) -> Result<Duration, Wrong> {
    let parsed = match value {
        Value::Integer(seconds) => u64::try_from(*seconds).ok().map(|seconds| (seconds, "s")),
        Value::String(text) => {
            let text = text.trim();
            let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let (number, unit) = text.split_at(digits);
            number.parse().ok().map(|number| (number, unit.trim()))
        }
        _ => None,
    };
    let seconds = match parsed {
        Some((number, "" | "s" | "sec" | "second" | "seconds")) => Some(number),
        Some((number, "m" | "min" | "minute" | "minutes")) => number.checked_mul(60),
        Some((number, "h" | "hour" | "hours")) => number.checked_mul(3600),
        _ => None,
    };
    match seconds {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => wrong("this is not a span of time", "Write it like \"90 s\" or \"2 min\"."),
    }
}

fn level(value: &Value) -> Result<log::LevelFilter, Wrong> {
    text(value)?.trim().parse().map_err(|_| {
        (
            "there is no such level".to_owned(),
            "Write one of \"off\", \"error\", \"warn\", \"info\", \"debug\" and \"trace\"."
                .to_owned(),
        )
    })
}

fn format(value: &Value) -> Result<logger::Format, Wrong> {
    match text(value)?.trim() {
        "auto" => Ok(logger::Format::Auto),
        "text" => Ok(logger::Format::Text),
        "json" => Ok(logger::Format::Json),
        _ => wrong("there is no such form", "Write one of \"auto\", \"text\" and \"json\"."),
    }
}

fn wrong<T>(what: &str, instead: &str) -> Result<T, Wrong> {
    Err((what.to_owned(), instead.to_owned()))
}
