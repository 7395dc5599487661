//! Written values → a valid [`Config`]: the rules between settings. The rules of a single setting
//! are declared with it (`sections.rs`). All mistakes are collected; none stops the reading.

use std::net::{IpAddr, SocketAddr};

use super::declare::{Form, Section, Site};
use super::escapes;
use super::problem::{At, Problem, Problems};
use super::sections::{
    Data, Devices, Failover, FirmwareSettings, Http, KINDS, Log, Mqtt, NodeSettings,
    NotifySettings, P2p, Pair, Payout, Stratum, Update,
};
use super::url::RpcUrl;
use super::written::{NODES, Table, Written};
use super::{
    Auth, Built, CertificateFile, Config, Incomplete, MAX_FIRMWARES, NodeConfig, P2pAddress,
    Secret, Surroundings,
};
use crate::notify::{BadSink, Sink, SinkKind, Topic};
use crate::peer_address::{NamedPeer, Outside, PeerHost};
use crate::settings::{SINKS_MAX, ServiceKind};
use crate::signal;
use crate::stratum::firmware::Override;

pub(super) fn validate(
    mut written: Written,
    surroundings: &Surroundings,
    incomplete: Incomplete,
) -> Result<Built, Problems> {
    let mut check = Check::new(surroundings);
    // Without a page nobody could fill them.
    let http = written.one("http");
    let has_page = http.get("listen").is_none() || !http.is_blank("listen");
    let incomplete = if has_page { incomplete } else { Incomplete::Refused };
    let nodes = check.nodes(&mut written, incomplete);
    let payout = check.payout(&mut written, incomplete);
    let mut stratum = Stratum::read(written.one("stratum"), &mut check);
    stratum.firmwares = check.firmwares(&written);
    check.warn_about_password(&stratum);
    let http = Http::read(written.one("http"), &mut check);
    check.ports(&stratum, &http, &mut written);
    let data = Data::read(written.one("data"), &mut check);
    let data = Data { runtime: surroundings.runtime_dir.clone(), ..data };
    let failover = Failover::read(written.one("failover"), &mut check);
    let p2p = check.outside(&mut written);
    let devices = Devices::read(written.one("devices"), &mut check);
    let mqtt = check.mqtt(&mut written);
    let pair = check.pair(&mut written);
    let update = check.update(&mut written);
    let log = Log::read(written.one("log"), &mut check);
    let notify = check.sinks(&written);
    check.warn_about_nodes(&nodes);
    check.warn_about_ports(&stratum, &http);
    check.warn_about_outside(&p2p, &nodes);

    match check.problems.is_empty() {
        true => Ok(Built {
            config: Config {
                nodes,
                payout,
                stratum,
                http,
                data,
                failover,
                p2p,
                devices,
                mqtt,
                pair,
                update,
                log,
                notify,
            },
            warnings: check.warnings,
            certificates: check.certificates,
        }),
        false => Err(Problems(check.problems)),
    }
}

pub(super) struct Check<'a> {
    surroundings: &'a Surroundings,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    certificates: Vec<CertificateFile>,
}

impl<'a> Check<'a> {
    pub(super) fn new(surroundings: &'a Surroundings) -> Check<'a> {
        let (problems, warnings, certificates) = Default::default();
        Check { surroundings, problems, warnings, certificates }
    }

    #[cfg(test)]
    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The valid value of a setting; what holds without it if it was not written or is wrong.
    pub(super) fn value<T: 'static>(
        &mut self,
        table: &Table,
        name: &'static str,
        form: &Form<T>,
    ) -> T {
        let site = Site { name, surroundings: self.surroundings };
        let Some(setting) = table.get(name) else { return form.fallback(&site) };
        if form.facts.pasted {
            self.warnings.extend(escapes::warning(setting));
        }
        (form.read)(&site, &setting.value).unwrap_or_else(|(what, instead)| {
            self.problem(&setting.at, &setting.key, &what, &instead);
            form.fallback(&site)
        })
    }

    fn nodes(&mut self, written: &mut Written, incomplete: Incomplete) -> Vec<NodeConfig> {
        // Nothing but empty quotation marks: to be filled on the page.
        if incomplete == Incomplete::Allowed
            && written.all(&NODES).all(|node| node.is_blank("rpc_url"))
        {
            return Vec::new();
        }
        if written.all(&NODES).next().is_none() {
            let instead = match written.whole {
                At::Nowhere => {
                    "Write --node http://user:password@192.168.1.10:8332, or --config with a file."
                }
                _ => {
                    "Write a section [node] with rpc_url = \"http://192.168.1.10:8332\", \
                     rpc_user and rpc_pass."
                }
            };
            self.problem(&written.whole, "node", "no node is named", instead);
        }
        let mut primary = None;
        let mut nodes: Vec<NodeConfig> = Vec::new();
        for (place, table) in written.all(&NODES).enumerate() {
            let settings = NodeSettings::read(table, self);
            let own = self.user_and_pass(table, &settings);
            if place == 0 {
                primary = own.clone();
            }
            let Some(node) = self.node(table, settings, own, &primary) else { continue };
            if nodes.iter().any(|other| other.url == node.url) {
                let what = format!("{} is already in the list", node.url);
                let instead = "Remove one of the two, or write the other node's address.";
                self.problem(&table.at, &table.key_of("rpc_url"), &what, instead);
            } else if nodes.iter().any(|other| other.name == node.name) {
                let what = format!("another node is already called '{}'", node.name);
                self.problem(&table.at, &table.key_of("name"), &what, "Write another name.");
            }
            nodes.push(node);
        }
        nodes
    }

    fn node(
        &mut self,
        table: &Table,
        settings: NodeSettings,
        own: Option<(String, Secret)>,
        primary: &Option<(String, Secret)>,
    ) -> Option<NodeConfig> {
        if table.get("rpc_url").is_none() {
            self.problem(
                &table.at,
                &table.key_of("rpc_url"),
                "it is missing",
                "Write rpc_url = \"http://192.168.1.10:8332\", with your node's address.",
            );
        }
        let RpcUrl { url, host, port, credentials } = settings.rpc_url?;
        let certificate = settings.rpc_cert_path;
        if let (Some(path), Some(written)) = (&certificate, table.get("rpc_cert_path")) {
            let (at, key) = (written.at.clone(), written.key.clone());
            if url.starts_with("https://") {
                self.certificates.push(CertificateFile { path: path.clone(), at, key });
            } else {
                let what = "a certificate is only looked at over https";
                let instead = "Write https:// in rpc_url, or remove this line.";
                self.problem(&at, &key, what, instead);
            }
        }
        let name = settings.name.unwrap_or_else(|| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        });
        if is_usual_p2p_port(port) {
            self.warnings.push(format!(
                "{url} names port {port}, which nodes use among themselves. The RPC's port is \
                 mostly 8332."
            ));
        }
        let cookie = settings.rpc_cookie_path;
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
        if credentials.is_some() && table.at == At::Flag("--node") {
            self.warnings.push(
                "A password on the command line can be read by every user of this machine. For \
                 more than a trial, write it into a file and use --config."
                    .to_owned(),
            );
        }
        let auth = match (cookie, credentials.or(own).or_else(|| primary.clone())) {
            (Some(path), _) => Auth::Cookie(path),
            (None, Some((user, password))) => {
                Auth::UserPass { user, pass: password.expose().to_owned() }
            }
            (None, None) => Auth::None,
        };
        let p2p = settings.p2p_addr;
        let written = settings.zmq_hashblock_addr.is_some();
        let zmq = settings.zmq_hashblock_addr.filter(|_| cfg!(feature = "zmq"));
        if written && zmq.is_none() {
            self.warnings.push(format!(
                "This program was built without ZMQ, so zmq_hashblock_addr of the node {name} is not \
                 used. Build it with --features zmq to hear of its blocks a little sooner."
            ));
        }
        if p2p == (P2pAddress::At { host: host.clone(), port: Some(port) }) {
            let written = table.get("p2p_addr").map_or(&table.at, |written| &written.at);
            let what = "this is the address of its RPC";
            let instead = "Write the port on which it listens to other nodes, mostly 8333, or \
                           remove this line.";
            self.problem(&written.clone(), &table.key_of("p2p_addr"), what, instead);
        }
        Some(NodeConfig { name, url, auth, certificate, zmq, p2p })
    }

    /// `rpc_user` and `rpc_pass`, which belong together.
    fn user_and_pass(
        &mut self,
        table: &Table,
        settings: &NodeSettings,
    ) -> Option<(String, Secret)> {
        match (settings.rpc_user.clone(), settings.rpc_pass.clone()) {
            (Some(user), Some(password)) if !user.contains(':') => Some((user, password)),
            (Some(_), Some(_)) => {
                let (what, instead) = ("a user cannot contain ':'", "Write the user alone.");
                self.problem(&table.at, &table.key_of("rpc_user"), what, instead);
                None
            }
            (Some(_), None) if table.get("rpc_pass").is_none() => {
                let instead = "Write rpc_pass = \"…\" below rpc_user.";
                self.problem(&table.at, &table.key_of("rpc_pass"), "it is missing", instead);
                None
            }
            (None, Some(_)) if table.get("rpc_user").is_none() => {
                let instead = "Write rpc_user = \"…\" above rpc_pass.";
                self.problem(&table.at, &table.key_of("rpc_user"), "it is missing", instead);
                None
            }
            _ => None,
        }
    }

    fn payout(&mut self, written: &mut Written, incomplete: Incomplete) -> Payout {
        let whole = written.whole.clone();
        let table = written.one("payout");
        if incomplete == Incomplete::Allowed && table.is_blank("address") {
            table.forget("address");
        } else if table.get("address").is_none() {
            let instead = match whole {
                At::Nowhere => "Write --payout with a receive address of your own wallet.",
                _ => {
                    "Below [payout] write address = \"bc1q…\", a receive address of your own \
                     wallet."
                }
            };
            self.problem(&whole, "payout.address", "nobody would be paid", instead);
        }
        let payout = Payout::read(table, self);
        let both = payout.set_version_bits & payout.clear_version_bits;
        if let Some(bit) = signal::numbers(both).next()
            && let Some(clear) = table.get("clear_version_bits")
        {
            let what = format!("bit {bit} is in set_version_bits as well");
            self.problem(&clear.at, &clear.key, &what, "Remove it from one of the two.");
        }
        payout
    }

    /// `[p2p]`
    fn outside(&mut self, written: &mut Written) -> P2p {
        let table = written.one("p2p");
        let before = self.problems.len();
        let p2p = P2p::read(table, self);
        let onion = p2p.peers.iter().find(|peer| matches!(peer.host, PeerHost::Onion(_)));
        // What was wrong already is not told twice.
        if let (Some(onion), Some(peers)) = (onion, table.get("peers"))
            && p2p.proxy.is_none()
            && self.problems.len() == before
        {
            let what = format!("{onion} is reached through Tor alone");
            let instead = match peers.at {
                At::Flag(_) => "Add --outside-proxy 127.0.0.1:9050, where Tor's proxy listens.",
                _ => "Write proxy = \"127.0.0.1:9050\" below [p2p], where Tor's proxy listens.",
            };
            self.problem(&peers.at, &peers.key, &what, instead);
        }
        p2p
    }

    fn warn_about_outside(&mut self, p2p: &P2p, nodes: &[NodeConfig]) {
        if p2p.outside == Outside::Off && !p2p.peers.is_empty() {
            self.warnings.push(
                "The nodes in peers of [p2p] are not used, as outside is \"off\" there.".to_owned(),
            );
        }
        if p2p.dns_seeds && p2p.proxy.is_some() {
            self.warnings.push(
                "The DNS seeds are not asked although dns_seeds is true: with a proxy they never \
                 are."
                    .to_owned(),
            );
        }
        for peer in &p2p.peers {
            if let Some(own) = nodes.iter().find(|node| is_own(peer, node)) {
                self.warnings.push(format!(
                    "{peer} in peers of [p2p] is your own node {}, which gets each block anyway. \
                     Name nodes of others there.",
                    own.name
                ));
            }
        }
    }

    /// `[update]`
    fn update(&mut self, written: &mut Written) -> Update {
        let table = written.one("update");
        let update = Update::read(table, self);
        if let (Some(path), Some(written)) = (&update.tls_cert_path, table.get("tls_cert_path")) {
            let (at, key) = (written.at.clone(), written.key.clone());
            if update.feed.as_ref().is_none_or(|feed| feed.starts_with("https://")) {
                self.certificates.push(CertificateFile { path: path.clone(), at, key });
            } else {
                let what = "a certificate is only looked at with https://";
                self.problem(&at, &key, what, "Write https:// in feed, or remove this line.");
            }
        }
        update
    }

    /// `[mqtt]`
    fn mqtt(&mut self, written: &mut Written) -> Mqtt {
        let table = written.one("mqtt");
        let mqtt = Mqtt::read(table, self);
        if let (Some(path), Some(written)) = (&mqtt.tls_cert_path, table.get("tls_cert_path")) {
            let (at, key) = (written.at.clone(), written.key.clone());
            if mqtt.tls {
                self.certificates.push(CertificateFile { path: path.clone(), at, key });
            } else {
                let what = "a certificate is only looked at with TLS";
                self.problem(&at, &key, what, "Write tls = true, or remove this line.");
            }
        }
        if let (Some(password), None) = (table.get("password"), table.get("user")) {
            let (at, key) = (password.at.clone(), password.key.clone());
            let what = "MQTT has no password without a user";
            self.problem(&at, &key, what, "Write user = \"…\" above it.");
        }
        mqtt
    }

    /// `[pair]`
    fn pair(&mut self, written: &mut Written) -> Pair {
        let table = written.one("pair");
        let before = self.problems.len();
        let pair = Pair::read(table, self);
        // What was wrong already is not told twice.
        let (Some(partner), true) = (pair.partner, self.problems.len() == before) else {
            return pair;
        };
        if pair.secret.is_none() {
            let what = "the boxes recognise each other by a code, and there is none";
            let instead = "Write secret = \"…\" with at least 26 random letters and digits, the same on both \
                           boxes.";
            self.problem(&table.at, &table.key_of("secret"), what, instead);
        }
        let Some(address) = pair.virtual_address else {
            self.warnings.push(
                "The box has a partner, but no virtual_address is set below [pair]: miners do not move to \
                 the other box by themselves."
                    .to_owned(),
            );
            return pair;
        };
        if let Some(written) = table.get("virtual_address")
            && address.ip == partner.ip()
        {
            let (at, key) = (written.at.clone(), written.key.clone());
            let what = "this is the address of the other box";
            self.problem(&at, &key, what, "Write one that no device has.");
        } else if !address.is_near(partner.ip()) {
            self.warnings.push(format!(
                "The other box of the pair, {}, is not in the network of the address {address} that miners \
                 use.",
                partner.ip()
            ));
        }
        pair
    }

    fn warn_about_password(&mut self, stratum: &Stratum) {
        if stratum.password.as_ref().is_some_and(|password| password.expose().len() > 19) {
            self.warnings.push(
                "The password of [stratum] is longer than 19 characters. NerdMiners cannot send \
                 it: they have room for 19."
                    .to_owned(),
            );
        }
    }

    fn firmwares(&mut self, written: &Written) -> Vec<Override> {
        if let Some(first_too_many) = written.all(&["stratum.firmware"]).nth(MAX_FIRMWARES) {
            let what = format!("these are more than {MAX_FIRMWARES}");
            let instead = "Join some of them by a shorter prefix.";
            self.problem(&first_too_many.at, "stratum.firmware", &what, instead);
        }
        written.all(&["stratum.firmware"]).filter_map(|table| self.firmware(table)).collect()
    }

    fn firmware(&mut self, table: &Table) -> Option<Override> {
        let settings = FirmwareSettings::read(table, self);
        let key = table.key_of("prefix");
        if table.get("prefix").is_none() {
            let instead = "Write prefix = \"bitaxe/\": how the name begins by which such miners \
                           introduce themselves. The page shows it.";
            self.problem(&table.at, &key, "it is missing", instead);
        } else if table.settings.len() == 1 {
            let instead = "Write difficulty, shares_per_minute or extranonce2_size below it.";
            self.problem(&table.at, &key, "nothing is said about such miners", instead);
        }
        Some(Override {
            prefix: settings.prefix?,
            start_difficulty: settings.difficulty,
            shares_per_minute: settings.shares_per_minute,
            extranonce2_size: settings.extranonce2_size,
        })
    }

    fn sinks(&mut self, written: &Written) -> Vec<Sink> {
        if let Some(first_too_many) = written.all(&["notify"]).nth(SINKS_MAX) {
            let what = format!("these are more than {SINKS_MAX}");
            self.problem(&first_too_many.at, "notify", &what, "Remove some of them.");
        }
        written.all(&["notify"]).filter_map(|table| self.sink(table)).collect()
    }

    fn sink(&mut self, table: &Table) -> Option<Sink> {
        let before = self.problems.len();
        let settings = NotifySettings::read(table, self);
        if table.get("kind").is_none() {
            self.problem(&table.at, "notify.kind", "it is missing", KINDS);
        }
        // Without `..`, so that none of them is forgotten.
        let NotifySettings {
            kind,
            url,
            token,
            chat,
            user,
            password,
            from,
            to,
            block,
            best,
            miner,
            node,
            down,
            alarm,
            update,
        } = settings;
        let url = url.unwrap_or_default();
        let kind = match kind? {
            ServiceKind::Ntfy => SinkKind::Ntfy { url, token },
            ServiceKind::Telegram => SinkKind::Telegram {
                token: token.unwrap_or_default(),
                chat: chat.unwrap_or_default(),
            },
            ServiceKind::Discord => SinkKind::Discord { url },
            ServiceKind::Slack => SinkKind::Slack { url },
            ServiceKind::Webhook => SinkKind::Webhook { url },
            ServiceKind::Email => {
                let half = match (&user, &password) {
                    (Some(_), None) => Some("notify.password"),
                    (None, Some(_)) => Some("notify.user"),
                    _ => None,
                };
                if let Some(missing) = half {
                    let instead = "Write both user and password, or neither.";
                    self.problem(&table.at, missing, "it is missing", instead);
                }
                SinkKind::Email {
                    url,
                    login: user.zip(password),
                    from: from.unwrap_or_default(),
                    to: to.unwrap_or_default(),
                }
            }
        };
        let is_told = |topic: &Topic| match topic {
            Topic::Block => block,
            Topic::Best => best,
            Topic::Miner => miner,
            Topic::Node => node,
            Topic::Down => down,
            Topic::Alarm => alarm,
            Topic::Update => update,
            // It has no switch: see [`Sink::wants`].
            Topic::Test => false,
        };
        let topics: Vec<Topic> = Topic::ALL.into_iter().filter(is_told).collect();
        // What was wrong already is not told twice.
        if self.problems.len() > before {
            return None;
        }
        if let Err(bad) = kind.check() {
            self.bad_sink(table, bad);
        }
        if topics.is_empty() {
            let instead = "Leave one of the switches on, or remove this [[notify]].";
            self.problem(&table.at, "notify", "nothing would be told", instead);
        }
        Some(Sink { kind, topics })
    }

    /// The check's words without the address, which may be a secret.
    fn bad_sink(&mut self, table: &Table, bad: BadSink) {
        let (name, what, instead) = match bad {
            BadSink::Url => (
                "url",
                "this is not an http:// or https:// address",
                "Write the whole address that the service shows, such as \
                 url = \"https://ntfy.sh/my-topic\".",
            ),
            BadSink::NoTopic => (
                "url",
                "the topic is missing",
                "Write it at the end of the address, as in url = \"https://ntfy.sh/my-topic\".",
            ),
            BadSink::Token => (
                "token",
                "this is not the token of a Telegram bot",
                "Write the one that @BotFather gave you; it looks like \"123456:ABC-DEF\".",
            ),
            BadSink::Chat => (
                "chat",
                "nobody would be written to",
                "Write the number of your chat with the bot, or \"@channel\".",
            ),
            BadSink::MailServer => (
                "url",
                "this is not the address of a mail server",
                "Write it as url = \"smtps://mail.example.org\"; name and password go into user and \
                 password.",
            ),
            BadSink::From => (
                "from",
                "this is no e-mail address",
                "Write the sender that your mail server lets you use.",
            ),
            BadSink::To => {
                ("to", "this is no e-mail address", "Write the address that reads the messages.")
            }
        };
        let key = table.key_of(name);
        match table.get(name) {
            Some(setting) => self.problem(&setting.at, &key, what, instead),
            None => self.problem(&table.at, &key, "it is missing", instead),
        }
    }

    /// Miners, miners with TLS or Stratum V2 alone, readers and readers who encrypt cannot share a port.
    fn ports(&mut self, stratum: &Stratum, http: &Http, written: &mut Written) {
        // The page's port may be the default, and the miners' the one that is written.
        let page = if written.one("http").get("listen").is_some() { "http" } else { "stratum" };
        let doors = [
            ("stratum", "tls_listen", &stratum.tls_listen, "0.0.0.0:4333 for TLS"),
            ("stratum", "v2_listen", &stratum.v2_listen, "0.0.0.0:3336 for Stratum V2"),
            (page, "listen", &http.listen, "0.0.0.0:8080 for the page"),
            ("http", "tls_listen", &http.tls_listen, "0.0.0.0:8443"),
        ];
        let mut others = stratum.listen.clone();
        for (section, name, own, such_as) in doors {
            let taken = own.iter().find(|own| others.iter().any(|other| clash(other, own)));
            if let Some(port) = taken.map(SocketAddr::port) {
                let what = match (section, name) {
                    ("http", "tls_listen") => {
                        format!("port {port} is in use for something else here")
                    }
                    _ => format!("miners already connect to port {port}"),
                };
                let table = written.one(section);
                let key = table.get(name).map_or("http.listen".to_owned(), |own| own.key.clone());
                let instead = format!("Write another port, such as {such_as}.");
                self.problem(&table.place(name).clone(), &key, &what, &instead);
            }
            others.extend(own);
        }
    }

    /// Port 0 is for tests, which read the real one from the log.
    fn warn_about_ports(&mut self, stratum: &Stratum, http: &Http) {
        let miners = stratum.listen.iter().chain(&stratum.tls_listen).chain(&stratum.v2_listen);
        let all = miners.chain(&http.listen);
        if all.into_iter().any(|address| address.port() == 0) {
            self.warnings.push(
                "Port 0 lets the system choose a port at each start. Miners need one that stays."
                    .to_owned(),
            );
        }
    }

    fn warn_about_nodes(&mut self, nodes: &[NodeConfig]) {
        if let [_] = nodes {
            self.warnings.push(
                "Only one node is set: a restart of it can cost a block. Add a second one below \
                 [[node.backup]]."
                    .to_owned(),
            );
        }
        let unannounced = |node: &NodeConfig| node.zmq.is_none() && node.p2p == P2pAddress::Off;
        if !nodes.is_empty() && nodes.iter().all(unannounced) {
            self.warnings.push(
                "No node has zmq_hashblock_addr set, and p2p_addr is off. New blocks are noticed by \
                 asking, which is up to a quarter of a second slower."
                    .to_owned(),
            );
        }
        for (place, node) in nodes.iter().enumerate() {
            let twin = nodes[..place].iter().find(|other| same_p2p(other, node));
            if let Some(twin) = twin {
                self.warnings.push(format!(
                    "The nodes {} and {} have the same P2P address, which can belong to only one of \
                     them. Write p2p_addr for the other, or p2p_addr = \"off\".",
                    twin.name, node.name
                ));
            }
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
}

/// Two names of this machine count as one.
fn machine(node: &NodeConfig) -> String {
    without_other_names(&host(node)).to_owned()
}

/// Of its RPC.
fn host(node: &NodeConfig) -> String {
    node.place().map_or_else(String::new, |(host, _)| host)
}

fn without_other_names(host: &str) -> &str {
    match host.parse::<IpAddr>() {
        Ok(ip) if ip.is_loopback() => "localhost",
        _ => host,
    }
}

/// The ports by which [`crate::chain::Chain::p2p_port`] knows the chains.
fn is_usual_p2p_port(port: u16) -> bool {
    matches!(port, 8333 | 18333 | 48333 | 38333 | 18444)
}

/// Whether a named node is at the P2P port of an own one. A port that is not written is a usual one.
fn is_own(peer: &NamedPeer, node: &NodeConfig) -> bool {
    let (host, port) = match &node.p2p {
        P2pAddress::Off => return false,
        P2pAddress::Default => (host(node), None),
        P2pAddress::At { host, port } => (host.clone(), *port),
    };
    let same_port = match (peer.port, port) {
        (None, None) => true,
        (None, Some(port)) | (Some(port), None) => is_usual_p2p_port(port),
        (Some(one), Some(other)) => one == other,
    };
    same_port && PeerHost::read(&host) == peer.host
}

/// Whether both would be looked for at one port, whatever their chain is.
fn same_p2p(a: &NodeConfig, b: &NodeConfig) -> bool {
    let place = |node: &NodeConfig| match &node.p2p {
        P2pAddress::Off => None,
        P2pAddress::Default => Some((machine(node), None)),
        P2pAddress::At { host, port } => Some((without_other_names(host).to_owned(), *port)),
    };
    place(a).is_some() && place(a) == place(b)
}

fn clash(a: &SocketAddr, b: &SocketAddr) -> bool {
    let everything = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port()
        && a.port() != 0
        && a.is_ipv4() == b.is_ipv4()
        && (everything || a.ip() == b.ip())
}
