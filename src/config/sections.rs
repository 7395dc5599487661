//! Every setting, declared once. From these declarations are made: the fields of the config, the
//! reading of the file with its defaults and bounds, the suggestions for unknown names, the
//! messages and the effect of a reload, `image/soloist.toml` and `docs/settings.md`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::declare::Line::{Example, Set};
use super::declare::{Facts, Form, Reload, Section, SectionFacts, section, sections};
use super::diff::{Change, each_once};
use super::forms::{
    address, broker, buttons, chat, choice, count, everywhere, feed, hosts, interface, listen,
    miner_password, name, number, one_of, origins, p2p, pair_code, partner, password, path, peers,
    pin, places, proxy, reached, rpc_url, span, tag, text, time_of_day, token, topic, truth,
    version_bits, virtual_address, zmq,
};
use super::url::RpcUrl;
use super::validate::Check;
use super::written::Table;
use super::{HTTP_PORT, MAX_CONNECTIONS, P2pAddress, STRATUM_PORT, Secret, Tag};
use crate::address::Address;
use crate::devices::pointing::Command;
use crate::devices::rounds::Place;
use crate::failover::{DEFAULT_GRACE, Follow};
use crate::feed::{SYSTEM_KEY, Source};
use crate::logger;
use crate::mqtt::{Broker, Version};
use crate::pair::{self, VirtualAddress};
use crate::peer_address::{NamedPeer, Outside, PeerAddress};
use crate::settings::{MqttValues, PairValues, SERVICE_NAMES, ServiceKind};
use crate::signal::{self, Signals};
use crate::stratum::firmware::Override;
use crate::update::{Mode, TimeOfDay};

section! {
    /// Who is paid, and what the block says.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Payout {
        // Its chain must still be compared with the node's.
        /// A receive address of your own wallet, of any type: bc1q…, bc1p…, 3… or 1…. The whole
        /// reward goes there. Nobody else takes a share, and no key is ever on this box.
        address: Option<Address> = address()
            .optional("must be given; the page asks for it where it is missing")
            .line(Set("\"\"", None))
            .flag("--payout", "ADDRESS", "The address that a block pays")
            .page(|values| &values.payout),
            Live => |old, new| {
                let [from, to] = [old, new].map(|payout| {
                    payout.address.as_ref().map_or_else(String::new, ToString::to_string)
                });
                let from = if from.is_empty() { from } else { format!(", no longer {from}") };
                format!("A block now pays {to}{from}.")
            };

        /// Your words in the block, for everybody to read: at most 62 English letters, digits,
        /// spaces and signs.
        tag: Tag = tag()
            .default("\"Soloist\"")
            .flag("--tag", "TEXT", "Your text in the block")
            .page(|values| &values.tag),
            Live => |old, new| {
                format!("A block now says '{}', no longer '{}'.", new.tag.as_str(), old.tag.as_str())
            };

        /// true: a miner whose user begins with an address (bc1q…, bc1q….attic or bc1q…_attic) is paid
        /// there for the blocks that it finds itself. All other blocks are yours.
        per_miner: bool = truth().default("false"),
            Live => |_, new| match new.per_miner {
                true => "A miner whose user begins with an address is now paid there.".to_owned(),
                false => "All blocks pay the owner, whatever the miners' users are.".to_owned(),
            };

        /// For those who know what a version bit says (BIP 9): bits from 0 to 12 that your block
        /// sets or clears, whatever the node says. A bit that the node demands stays. The page
        /// shows what your block would signal.
        set_version_bits: u32 = version_bits().default("[]"), Live => Payout::told_signals;

        /// Bits that your block clears, as set_version_bits sets them. A bit can be in only one of
        /// the two lists.
        clear_version_bits: u32 = version_bits().default("[]"),
            Live joined => Payout::told_signals;
    }
}

impl Payout {
    /// The owner's settings for single version bits of a block.
    pub fn signals(&self) -> Signals {
        Signals { set: self.set_version_bits, clear: self.clear_version_bits }
    }

    fn told_signals(_: &Payout, new: &Payout) -> String {
        let [set, clear] = [new.set_version_bits, new.clear_version_bits].map(|bits| {
            let bits: Vec<String> = signal::numbers(bits).map(|bit| bit.to_string()).collect();
            if bits.is_empty() { "none".to_owned() } else { bits.join(", ") }
        });
        format!("Of a block's version bits the settings set {set} and clear {clear}.")
    }
}

section! {
    /// A node as it is written in the file, from which [`super::NodeConfig`] is made. Not `Debug`:
    /// the URL may hold a password.
    pub(super) struct NodeSettings {
        /// Where the node's RPC answers: a name, an IPv4 address, or an IPv6 address in brackets,
        /// and a port: 8332 where none is written, 443 behind https. A user and a password in it
        /// count before rpc_user and rpc_pass, and for this node alone.
        rpc_url: Option<RpcUrl> = rpc_url()
            .optional("must be given; the page asks for it where no node is named")
            .line(Set("\"\"", None))
            .flag("--node", "URL", "A node: http://user:password@host:8332. The first one is \
                preferred, each further --node is a backup. Replaces the nodes of the config file"),
            Live joined pasted;

        /// The RPC user, as in the node's rpcauth line.
        rpc_user: Option<String> = text()
            .optional("none; a backup is asked with that of [node]")
            .line(Example("\"soloist\"")),
            Live joined secret pasted;

        /// The password itself, not the rpcauth line.
        rpc_pass: Option<Secret> = password()
            .optional("none; a backup is asked with that of [node]")
            .line(Example("\"the password that rpcauth.py printed\""))
            .note("A password with a backslash stands in single quotes: between double quotes \\b, \
                \\t and others make characters that nobody sees."),
            Live joined secret pasted;

        /// Where the node announces new blocks. Without it the box asks every second or two.
        zmq_hashblock_addr: Option<String> = zmq()
            .absent("none", |_| None)
            .line(Example("\"tcp://192.168.1.10:28332\""))
            .note("\nBoth take a name, an IPv4 address, or an IPv6 address in brackets: \
                http://[fd00::10]:8332. A node that is reached through a proxy may have https:// \
                in rpc_url, with port 443 where none is written. If the proxy's certificate is one \
                of your own, a file (PEM) beside this one is trusted, and no other:\n\
                \u{20}  rpc_cert_path = \"node.pem\"")
            .flag("--zmq", "tcp://H:P", "Where the preceding --node publishes hashblock"),
            Live;

        /// Where the node listens to other nodes (its P2P port). A solved block goes to it there too,
        /// beside RPC, and new blocks are heard from there. Nothing needs to be written: it is the
        /// host of rpc_url, with the usual port of the node's chain (8333, testnet3 18333, testnet4
        /// 48333, signet 38333, regtest 18444). "off" or "" does without.
        p2p_addr: P2pAddress = p2p()
            .absent("the host of rpc_url, with the usual port of the chain", |_| {
                P2pAddress::Default
            })
            .line(Example("\"192.168.1.10:8333\""))
            .flag("--p2p", "H:P", "Where the preceding --node listens to other nodes, or off"),
            Live;

        /// The only certificate (PEM) that is trusted where rpc_url begins with https://, such as a
        /// proxy's own.
        rpc_cert_path: Option<PathBuf> = path()
            .optional("the system's authorities are trusted")
            .flag("--cert", "FILE", "The only certificate (PEM) that is trusted for the https:// \
                URL of the preceding --node"),
            Live;

        /// For a node on this machine: its cookie file, instead of rpc_user and rpc_pass.
        rpc_cookie_path: Option<PathBuf> = path()
            .optional("none")
            .line(Example("\"/home/bitcoin/.bitcoin/.cookie\""))
            .flag("--cookie", "FILE", "The cookie file of the preceding --node instead of a \
                password"),
            Live;

        /// What the page calls it.
        name: Option<String> = name().optional("host and port").line(Example("\"attic\"")), Live;
    }
}

section! {
    /// The server for miners.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Stratum {
        // Never empty. An IPv6 socket must be limited to IPv6 (`IPV6_V6ONLY`), because the default
        // names both families on one port.
        /// Where miners connect: every address of this machine, port 3333.
        listen: Vec<SocketAddr> = listen()
            .except(Vec::is_empty, "miners need at least one address to connect to",
                "Write listen = \"0.0.0.0:3333\", or leave the line out.")
            .default(everywhere(STRATUM_PORT))
            .flag("--listen", "IP:PORT", "Where miners connect"),
            Restart => |_, _| "Miners connect to other addresses or ports.".to_owned();

        /// Where miners that encrypt connect (stratum+tls). Off unless a port is written here. Give
        /// the miner the certificate that is made at the first start, tls/cert.pem in the data
        /// directory.
        tls_listen: Vec<SocketAddr> = listen().default("\"\""),
            Restart => |_, _| "Miners connect to other addresses or ports.".to_owned();

        /// Whether Stratum V2 is spoken too, on the same port: its miners are recognised by the first
        /// bytes that they send. It is encrypted.
        v2: bool = truth().default("true"), Live => |_, new| match new.v2 {
            true => "Stratum V2 is spoken.".to_owned(),
            false => "Stratum V2 is not spoken to miners that connect from now on.".to_owned(),
        };

        /// Where nothing but Stratum V2 is spoken. Off unless a port is written here; it is rarely
        /// needed, because the ports above speak both.
        v2_listen: Vec<SocketAddr> = listen().default("\"\""),
            Restart => |_, _| "Miners connect to other addresses or ports.".to_owned();

        /// How miners reach this machine, where that is not by an address and a port of its own: from a
        /// container, or behind a router. The page shows it, and it is what a miner is pointed at.
        reached_at: Option<PeerAddress> = reached()
            .default("\"\"")
            .flag("--reached-at", "H:P", "How miners reach this machine, where that is not by an address \
                of its own, as in a container"),
            Live => |_, new| match &new.reached_at {
                Some(place) => format!("Miners are told {place} as the address of this machine."),
                None => "Miners are told this machine's own address.".to_owned(),
            };

        /// Maximum miners that are connected at a time: of all (up to 1024), and of those from one
        /// address, or one IPv6 network (/64), that have not mined yet.
        max_connections: usize = count(MAX_CONNECTIONS).default("64"),
            Live => |_, _| "The limits of connections are others.".to_owned();

        /// Maximum connections from one address, or one IPv6 network (/64), that have not mined yet.
        /// Miners that mine, or have mined here before, are not counted, nor are this machine's own.
        max_connections_per_address: usize = count(MAX_CONNECTIONS).default("8"),
            Live joined => |_, _| "The limits of connections are others.".to_owned();

        /// A password that every miner must send. Empty lets everybody in your network mine for
        /// you.
        password: Option<Secret> = miner_password().default("\"\""),
            Live secret => |_, _| "The miners' password is another.".to_owned();
    }
    also {
        /// `[[stratum.firmware]]`: the owner's word on kinds of miners. At most
        /// [`super::MAX_FIRMWARES`].
        firmwares: Vec<Override>, Live =>
            |_, _| "What is said about kinds of miners counts from their next connection.".to_owned();
    }
}

section! {
    /// One `[[stratum.firmware]]` as it is written.
    pub(super) struct FirmwareSettings {
        /// How the user agent of such miners begins; capitals count as small letters. The longest
        /// prefix that fits counts.
        prefix: Option<String> = text().optional("must be given"), Live;

        /// The difficulty to start with.
        difficulty: Option<f64> =
            number(0.0001..=1e15, "Write the difficulty to start with, such as 0.001 or 4000.")
            .optional("Soloist's own value for such miners"), Live;

        /// Shares a minute to aim at.
        shares_per_minute: Option<f64> =
            number(0.1..=60.0, "Write how many shares a minute are wanted; 6 is usual.")
            .optional("Soloist's own value for such miners"), Live;

        /// Bytes of extranonce2.
        extranonce2_size: Option<usize> = one_of(&[4, 8],
            "it is neither 4 nor 8", "Write 8, or 4 for a rental that asks for it.")
            .optional("Soloist's own value for such miners"), Live;
    }
}

section! {
    /// The page and the API.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Http {
        /// What the page and the notifications call this box.
        name: String = name().default("\"Soloist\"").page(|values| &values.name),
            Live => |old, new| format!("The box is called {}, no longer {}.", new.name, old.name);

        // The PIN itself or what `crate::settings::access::hash_pin` made of it.
        /// Whoever knows it can change settings on the page: at least 4 characters. Without one the
        /// page only shows. The page replaces it by a hash when it is changed there.
        pin: Option<Secret> = pin().default("\"\""),
            Live secret pasted => |_, _| "The PIN of the page is another.".to_owned();

        // Empty when the owner switched the page off.
        /// Where the page is served: every address of this machine, port 8080. An empty list
        /// switches it off.
        listen: Vec<SocketAddr> = listen()
            .default(everywhere(HTTP_PORT))
            .line(Set("[\"0.0.0.0:80\", \"[::]:80\"]",
                Some("Port 80, so that a browser needs only the address of the box.")))
            .flag("--http", "IP:PORT", "Where the page is served"),
            Restart => |_, _| "The page is served on other addresses or ports.".to_owned();

        /// The page over HTTPS, with the box's own certificate, of which browsers warn, or with
        /// yours in its place: tls/cert.pem and tls/key.pem in the data directory. Off unless a
        /// port is written here.
        tls_listen: Vec<SocketAddr> = listen().default("\"\""),
            Restart => |_, _| "The page is served on other addresses or ports.".to_owned();

        /// Names by which you reach the page besides its IP addresses and names such as solo.local,
        /// solo.lan and those of this network's own domain: the name that a VPN or your own DNS gives
        /// it, such as ["solo.example.org"]. Any other name is refused, because a page of the Internet
        /// could use one to reach into your network.
        hosts: Vec<String> = hosts().default("[]"),
            Live => |_, new| match new.hosts.as_slice() {
                [] => "The page answers to no further names.".to_owned(),
                hosts => format!("The page also answers to {}.", hosts.join(", ")),
            };

        /// Other pages that may show this page in a frame, and whose scripts may read it and /api/…:
        /// how the address begins at which you open them. For the web page card of Home Assistant it is
        /// ["http://homeassistant.local:8123"]. Settings are never shown in a frame.
        embed: Vec<String> = origins().default("[]"),
            Live => |_, new| match new.embed.as_slice() {
                [] => "No other page may show this one any more.".to_owned(),
                pages => format!("The page may be shown and read by {}.", pages.join(", ")),
            };

        /// Whether programs may read /api/….
        json: bool = truth().default("true"),
            Restart => |_, new| {
                format!("The API is switched {}.", if new.json { "on" } else { "off" })
            };
    }
}

section! {
    /// What to do when nodes fail.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Failover {
        /// How long miners still get the last work, before their connections are closed so that
        /// they turn to the second pool in their own settings. When three quarters of it have passed
        /// and no node has confirmed the last block any more, work may go back to an earlier one.
        grace: Duration =
            span(10, "miners would work for more than 10 minutes on a job that may be stale",
                "Write at most \"10 min\"; \"90 s\" is a good value.")
            .default(format!("\"{} s\"", DEFAULT_GRACE.as_secs())),
            Live => |old, new| {
                let [from, to] = [old, new].map(|failover| failover.grace.as_secs());
                format!("Without any node the last job is served for {to} s, no longer {from} s.")
            };

        /// When two of your nodes follow different rules, one refuses a block that the other takes,
        /// and each goes on by itself. "work" follows the chain with most work. "first" follows the
        /// first node's rules while it answers: the others step in only with what it does not
        /// refuse, and with whatever they have while it is away. The page says which it is.
        follow: Follow = choice(&[("work", Follow::Work), ("first", Follow::First)],
                "nothing can be followed by that name",
                "Write \"work\" for the chain with most work, or \"first\" for the rules of the \
                first node.")
            .default("\"work\""),
            Live => |_, new| {
                let counts = match new.follow {
                    Follow::Work => "the chain with most work counts",
                    Follow::First => "the first node's rules count",
                };
                format!("Where nodes refuse each other's blocks, {counts}.")
            };
    }
}

section! {
    /// What is done with nodes of strangers.
    #[derive(Clone, Debug, PartialEq)]
    pub struct P2p {
        /// "block": when a block is solved and none of your nodes confirms it within two seconds,
        /// the box connects to eight nodes of strangers in different networks and offers it there
        /// too. Each of them learns the address of your house (or of the proxy) and that this block
        /// was solved there; whom the block pays is public in any case. Until then no stranger is
        /// connected to.
        ///
        /// "watch": the same, and four such connections are open all the time, by which the box also
        /// notices that your nodes are behind the world. These strangers see at all times that
        /// something called /Soloist:version/ runs at your address.
        ///
        /// "off": no stranger is ever connected to.
        outside: Outside = choice(&[
                ("block", Outside::Block), ("off", Outside::Off), ("watch", Outside::Watch)],
                "there is no such way with nodes of strangers",
                "Write \"block\" to offer them a block that no own node confirms, \"watch\" to \
                have connections to them all the time, or \"off\".")
            .default("\"block\"")
            .flag("--outside", "WAY", "What is done with nodes of strangers: off, block or watch"),
            Live => |_, new| match new.outside {
                Outside::Off => "No node of a stranger is connected to any more.".to_owned(),
                Outside::Block => {
                    "A block that no own node confirms is offered to nodes of strangers.".to_owned()
                }
                Outside::Watch => {
                    "Connections to nodes of strangers are open all the time.".to_owned()
                }
            };

        /// Nodes of others that you trust to be up, such as a friend's: they are connected to before
        /// any other. A name, an IPv4 address, an IPv6 address in brackets or an onion address, each
        /// with its port; without one it is the usual port of the chain. An onion address needs a
        /// proxy. The addresses of other strangers are asked of your own nodes (getnodeaddresses).
        peers: Vec<NamedPeer> = peers()
            .default("[]")
            .flag("--peer", "H:P", "A node of others that is connected to before any other; may be \
                given several times"),
            Live => |_, new| match new.peers.as_slice() {
                [] => "No node of others is named any more.".to_owned(),
                peers => {
                    let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
                    format!("These nodes of others are connected to first: {}.", peers.join(", "))
                }
            };

        /// A SOCKS5 proxy, such as that of Tor: "127.0.0.1:9050". All connections to nodes of
        /// strangers go through it then, and it resolves their names. None goes past it: while the
        /// proxy is away, no stranger is reached. Strangers see the proxy's address instead of
        /// yours. Your own nodes are never connected to through it.
        proxy: Option<PeerAddress> = proxy()
            .default("\"\"")
            .flag("--outside-proxy", "H:P", "The SOCKS5 proxy through which nodes of strangers are \
                connected to, such as Tor's 127.0.0.1:9050"),
            Live => |_, new| match &new.proxy {
                Some(proxy) => format!("Nodes of strangers are connected to through {proxy}."),
                None => "Nodes of strangers are connected to without a proxy.".to_owned(),
            };

        /// true: where none of your nodes tells addresses, the DNS seeds of the chain are asked, as
        /// a new node asks them. They and whoever carries your DNS learn that somebody in your house
        /// looks for Bitcoin nodes. With a proxy they are never asked.
        dns_seeds: bool = truth().default("false"),
            Live => |_, new| match new.dns_seeds {
                true => "Where no node tells addresses, DNS seeds are asked.".to_owned(),
                false => "DNS seeds are no longer asked.".to_owned(),
            };
    }
}

section! {
    /// What is asked of the miners as devices.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Devices {
        /// Whether the miners' own APIs are asked, every 30 s: heat, power, fans, signal and pool. Only
        /// private addresses are asked, of miners that are connected, and those below. Nothing but the page
        /// and the alarms depends on the answers.
        ask: bool = truth().default("true"), Live => |_, new| match new.ask {
            true => "The miners' own APIs are asked.".to_owned(),
            false => "The miners' own APIs are no longer asked.".to_owned(),
        };

        /// Further devices that are asked: private IP addresses, with a port where it is another than 80
        /// or 4028, such as ["192.168.1.40", "192.168.1.41:8080"].
        addresses: Vec<Place> = places().default("[]"), Live => |_, new| match new.addresses.as_slice() {
            [] => "No further devices are asked.".to_owned(),
            places => {
                let places: Vec<String> = places.iter().map(ToString::to_string).collect();
                format!("These devices are asked too: {}.", places.join(", "))
            }
        };

        /// What a kilowatt-hour costs you: the page then says what your miners cost a day and a month.
        price_per_kwh: Option<f64> =
            number(0.0..=1e6, "Write a price such as 0.31, without the currency.")
            .optional("no costs are shown")
            .line(Example("0.31")), Live => |_, _| "The price of electricity is another.".to_owned();

        /// The currency of that price.
        currency: Option<String> = name().optional("the amounts stand alone").line(Example("\"€\"")),
            Live joined => |_, _| "The price of electricity is another.".to_owned();
    }
}

/// What to write as `kind`.
pub(super) const KINDS: &str = "Write one of \"ntfy\", \"telegram\", \"discord\", \"slack\", \
                                \"webhook\" and \"email\".";

section! {
    /// One `[[notify]]` as it is written. Not `Debug`: it holds secrets.
    pub(super) struct NotifySettings {
        /// The service that carries the messages.
        kind: Option<ServiceKind> = choice(&SERVICE_NAMES, "there is no such service", KINDS)
            .optional("must be given"), Live;

        /// The URL of the ntfy topic, the webhook or the mail server.
        url: Option<String> = text().optional("must be given, but for telegram"), Live;

        /// The token of a protected ntfy topic, or of the Telegram bot.
        token: Option<String> = token().optional("none"), Live secret;

        /// The number of your chat with the bot, with or without quotation marks.
        chat: Option<String> = chat().optional("must be given for telegram"), Live secret;

        /// The user name at the mail server.
        user: Option<String> = text().optional("none"), Live pasted;

        /// The password at the mail server. It is never sent unencrypted.
        password: Option<String> = text().optional("none"), Live secret pasted;

        /// The sender's address.
        from: Option<String> = text().optional("must be given for email"), Live;

        /// The recipient's address.
        to: Option<String> = text().optional("must be given for email"), Live;

        /// A block is found, accepted or lost.
        block: bool = truth().default("true"), Live;

        /// A new best share, at most one an hour.
        best: bool = truth().default("true"), Live;

        /// A miner is missing, back, quiet or slow.
        miner: bool = truth().default("true"), Live;

        /// Another node leads, or one is down or back.
        node: bool = truth().default("true"), Live;

        /// There is no mining, or there is again.
        down: bool = truth().default("true"), Live;

        /// About the board, the card and the payout address.
        alarm: bool = truth().default("true"), Live;

        /// A new version is ready.
        update: bool = truth().default("true"), Live;
    }
}

section! {
    /// Home Assistant, by an MQTT broker. Announced are the box and each miner, with what they do; see
    /// docs/home-assistant.md.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Mqtt {
        /// The broker that Home Assistant listens to, such as that of the Mosquitto add-on: a name or an
        /// IP address, with a port where it is another than 1883, or 8883 with TLS. Nothing is told as
        /// long as none is named. Mining never waits for it.
        broker: Option<Broker> = broker()
            .default("\"\"")
            .line(Example("\"homeassistant.local\"")),
            Live => Mqtt::says;

        /// true: the connection is encrypted, and the broker's certificate is checked.
        tls: bool = truth().default("false"), Live => Mqtt::says;

        /// The only certificate (PEM) that is trusted for it: the broker's own, or that of the authority
        /// that signed it. Left out, the system's authorities are trusted.
        tls_cert_path: Option<PathBuf> = path().optional("the system's authorities are trusted"),
            Live joined => Mqtt::says;

        /// A user of the broker's.
        user: Option<String> = text().optional("none").line(Example("\"soloist\"")),
            Live pasted => Mqtt::says;

        /// Its password. Without TLS, whoever can listen in your network can read it.
        password: Option<Secret> = password().optional("none").line(Example("\"…\"")),
            Live joined secret pasted => Mqtt::says;

        /// The version of MQTT: "3.1.1", which every broker speaks, or "5", by which values expire at the
        /// broker as well.
        version: Version = choice(&Version::ALL,
                "this version is not spoken", "Write \"3.1.1\" or \"5\".")
            .default("\"3.1.1\""),
            Live => Mqtt::says;

        /// What the topics of this box begin with.
        topic_prefix: String = topic().default("\"soloist\""), Live => Mqtt::says;

        /// Where Home Assistant looks for announcements: its discovery prefix.
        discovery_prefix: String = topic().default("\"homeassistant\""), Live joined => Mqtt::says;

        /// What Home Assistant may tell the miners: any of "blink", "pause", "resume" and "restart", as
        /// far as a miner knows it. Whoever may write to the broker can do it then, without the PIN.
        buttons: Vec<Command> = buttons().default("[]"), Live => Mqtt::says;
    }
}

impl Mqtt {
    fn says(_: &Mqtt, new: &Mqtt) -> String {
        match &new.broker {
            Some(broker) => {
                format!("Home Assistant is told by the MQTT broker {broker}, with these settings.")
            }
            None => "Home Assistant is not told by MQTT.".to_owned(),
        }
    }

    /// As the page's form has it, with the password.
    pub fn values(&self) -> MqttValues {
        let shown = |value: &Option<String>| value.clone().unwrap_or_default();
        let path = self.tls_cert_path.as_ref();
        MqttValues {
            broker: self.broker.as_ref().map_or_else(String::new, Broker::to_string),
            tls: self.tls,
            tls_cert_path: path
                .map_or_else(String::new, |path| path.to_string_lossy().into_owned()),
            user: shown(&self.user),
            password: self.password.as_ref().map(|password| password.expose().to_owned()),
            version: self.version.name().to_owned(),
            topic_prefix: self.topic_prefix.clone(),
            discovery_prefix: self.discovery_prefix.clone(),
            buttons: self.buttons.iter().map(|button| button.name().to_owned()).collect(),
        }
    }
}

section! {
    /// Two boxes as one.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Pair {
        // The other box; nothing of a pair runs without one.
        /// The IP address of the other box, with a port where it is another than 3337. The other box names
        /// this one. Nothing of all this runs as long as none is named.
        partner: Option<SocketAddr> = partner()
            .default("\"\"")
            .note("Both boxes also know a code, of your own making; whoever has it can pose as one of \
                them:\n\u{20}  secret = \"at least 26 random letters and digits\""),
            Restart => Pair::says;

        /// The address that the miners use, with the length of the network's prefix: one that no device has
        /// and that the router does not give away. One of the two boxes has it at a time (VRRP, by
        /// keepalived).
        virtual_address: Option<VirtualAddress> = virtual_address()
            .default("\"\"")
            .line(Example("\"192.168.1.240/24\"")),
            Restart => Pair::says;

        /// The network interface that gets this address. Empty: the one by which the other box is reached.
        interface: Option<String> = interface().default("\"\""),
            Restart joined => Pair::says;

        // As it is typed. `Pair::code` reads it.
        /// A code that both boxes know: at least 26 random letters and digits. By it they recognise each
        /// other, and what they tell each other is encrypted.
        secret: Option<Secret> = pair_code()
            .optional("must be given where a partner is named"),
            Restart secret pasted => |_, _| "The code of the pair is another.".to_owned();

        /// Where this box listens to the other one: every address of this machine, port 3337.
        listen: Vec<SocketAddr> = listen()
            .except(Vec::is_empty, "the other box needs an address to connect to",
                "Write listen = \"0.0.0.0:3337\", or leave the line out.")
            .default(everywhere(pair::PORT)),
            Restart => |_, _| "The other box of the pair connects to other addresses or ports.".to_owned();
    }
}

impl Pair {
    /// The code; there is one wherever a partner is named.
    pub fn code(&self) -> Option<pair::Code> {
        pair::Code::read(self.secret.as_ref()?.expose()).ok()
    }

    /// As the page's form has it.
    pub fn values(&self) -> PairValues {
        let partner = |partner: &SocketAddr| match partner.port() {
            pair::PORT => partner.ip().to_string(),
            _ => partner.to_string(),
        };
        PairValues {
            partner: self.partner.as_ref().map_or_else(String::new, partner),
            virtual_address: self.virtual_address.map_or_else(String::new, |it| it.to_string()),
            secret: self.secret.as_ref().map(|secret| secret.expose().to_owned()),
        }
    }

    fn says(_: &Pair, new: &Pair) -> String {
        let Some(partner) = new.partner else { return "This box is one by itself.".to_owned() };
        let miners = match new.virtual_address {
            Some(address) => format!("miners use {}", address.ip),
            None => "miners have no address that moves between them".to_owned(),
        };
        format!("The other box of the pair is {partner}, and {miners}.")
    }
}

section! {
    /// New versions of Soloist. docs/updates.md says what is done with a feed.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Update {
        /// The address of the update feed, a small signed file that tells of the newest version. It is read
        /// once a day; nothing about you or this box is in the request. Nothing is asked as long as none is
        /// named.
        feed: Option<String> = feed()
            .default("\"\"")
            .line(Example("\"https://example.org/soloist/feed.json\"")),
            Live => Update::says;

        /// "tell": the page and a message say that there is a new version, and a press installs it.
        /// "install": it is also fetched and installed by itself, at the hour below. "off": the feed is not
        /// read. Only the box can install; elsewhere "install" does what "tell" does.
        mode: Mode = choice(&[
                ("tell", Mode::Tell), ("install", Mode::Install), ("off", Mode::Off)],
                "nothing is done by that name",
                "Write \"tell\", \"install\" or \"off\".")
            .default("\"tell\""),
            Live => Update::says;

        /// When an update is installed by itself: a time of day, UTC. The miners are without work for a
        /// minute then. It waits while a block is on its way, and for another day while no node gives work.
        at: TimeOfDay = time_of_day().default("\"04:00\""), Live => Update::says;

        /// The public key (minisign) that the feed must be signed by. The box installs only what is signed
        /// by its own key, whatever stands here.
        key_path: Option<PathBuf> =
            path().optional("this system's, /usr/share/soloist/update.pub"),
            Live joined => Update::says;

        /// The only certificate (PEM) that is trusted where feed begins with https://, such as that of a
        /// server of your own. Left out, the system's authorities are trusted.
        tls_cert_path: Option<PathBuf> = path().optional("the system's authorities are trusted"),
            Live joined => Update::says;
    }
}

impl Update {
    /// Where the feed is, and whose key counts; `None` if none is to be read.
    pub fn source(&self) -> Option<Source> {
        Some(Source {
            url: self.feed.clone().filter(|_| self.mode != Mode::Off)?,
            key: self.key_path.clone().unwrap_or_else(|| PathBuf::from(SYSTEM_KEY)),
            certificate: self.tls_cert_path.clone(),
        })
    }

    fn says(_: &Update, new: &Update) -> String {
        match (&new.feed, new.mode) {
            (None, _) | (_, Mode::Off) => "No update feed is read.".to_owned(),
            (Some(feed), Mode::Tell) => format!("New versions are told by the feed {feed}."),
            (Some(feed), Mode::Install) => {
                format!(
                    "New versions are told by the feed {feed}, and installed at {} UTC.",
                    new.at
                )
            }
        }
    }
}

section! {
    /// Where the daemon keeps its files.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Data {
        // Spool, journal and ledger live below it.
        /// Found blocks, shares and history. The service sets this by itself.
        dir: PathBuf = path()
            .absent("the service's own directory, else ~/.local/state/soloist",
                |surroundings| surroundings.data_dir.clone())
            .line(Example("\"/var/lib/soloist\""))
            .flag("--data", "DIR", "Where found blocks and the ledger are kept"),
            Restart => |_, _| "The data directory is another.".to_owned();

        /// Where each night's snapshot of the ledger is copied to, without passwords: a stick or a
        /// share that is mounted there. The newest seven stay. Left out, it is not copied.
        copy_to: Option<PathBuf> = path().optional("not copied").line(Example("\"/media/backup\"")),
            Live => |_, _| "Copies of the ledger go elsewhere.".to_owned();
    }
    also {
        /// A directory in memory that outlives the daemon but not the system: what systemd names by
        /// `RuntimeDirectory=`. Jobs and connections of miners are kept
        /// there over a restart.
        runtime: Option<PathBuf>, Restart => |_, _| "The data directory is another.".to_owned();
    }
}

section! {
    /// What is logged.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Log {
        // The most talkative level that is shown.
        /// off, error, warn, info, debug or trace
        level: log::LevelFilter = choice(&[
                ("off", log::LevelFilter::Off), ("error", log::LevelFilter::Error),
                ("warn", log::LevelFilter::Warn), ("info", log::LevelFilter::Info),
                ("debug", log::LevelFilter::Debug), ("trace", log::LevelFilter::Trace)],
                "there is no such level",
                "Write one of \"off\", \"error\", \"warn\", \"info\", \"debug\" and \"trace\".")
            .default("\"info\"")
            .flag("--log", "LEVEL", "off, error, warn, info, debug or trace"),
            Live => |old, new| {
                let [from, to] = [old, new].map(|log| log.level.as_str().to_lowercase());
                format!("The log's level is {to}, no longer {from}.")
            };

        /// "auto" is text on a terminal and fields in the journal; "json" is an object per line.
        format: logger::Format = choice(&[
                ("auto", logger::Format::Auto), ("text", logger::Format::Text),
                ("json", logger::Format::Json)],
                "there is no such form",
                "Write one of \"auto\", \"text\" and \"json\".")
            .default("\"auto\""),
            Live => |_, _| "The log is written in another form.".to_owned();
    }
}

sections! {
    "Who is paid" "payout" Payout;

    /// The node that is used as long as it is well. Its bitcoin.conf needs these lines, with the
    /// address of this box in rpcallowip:
    ///
    ///   server=1
    ///   rpcbind=0.0.0.0
    ///   rpcallowip=192.168.1.0/24
    ///   rpcauth=…                  (made by share/rpcauth/rpcauth.py of Bitcoin Core)
    ///   zmqpubhashblock=tcp://0.0.0.0:28332
    "Nodes" "node" NodeSettings;

    /// Any number of further nodes, each below a [[node.backup]] of its own, the better ones first.
    /// A solved block goes to all of them at once. Put them on other hardware and another power
    /// strip. A node without a password of its own is asked with rpc_user and rpc_pass of [node].
    "" "node.backup" NodeSettings many
r#"rpc_url = "http://192.168.1.11:8332"
zmq_hashblock_addr = "tcp://192.168.1.11:28332"
name = "cellar""#;

    "Miners" "stratum" Stratum;

    /// Start values for a kind of miners, chosen by how their user agent begins (the page shows
    /// it). Any number of these; all but the prefix may be left out. Mostly not needed: the common
    /// miners are known, and each finds its own difficulty within minutes.
    "" "stratum.firmware" FirmwareSettings many
r#"prefix = "bitaxe/"
difficulty = 1000
shares_per_minute = 6
extranonce2_size = 8"#;

    "The page" "http" Http;

    "The miners as devices" "devices" Devices;

    "When all nodes are away" "failover" Failover;

    "Nodes of strangers" "p2p" P2p;

    /// Where messages to you are sent, each place below a [[notify]] of its own, at most 8. kind is
    /// one of
    ///
    ///   ntfy      url of the topic, as in https://ntfy.sh/my-topic; a token if the topic is protected
    ///   telegram  token of your bot, and chat: the number of your chat with it
    ///   discord   url of the channel's webhook
    ///   slack     url of the incoming webhook
    ///   webhook   url of a server of your own; it gets a JSON object by POST
    ///   email     url of a mail server: smtps://mail.example.org (port 465), or smtp:// (port 587, by
    ///             STARTTLS); user and password, if it wants them; from and to, the two addresses. A
    ///             password is never sent unencrypted
    ///
    /// All of these are sent unless they are switched off: block (found, accepted, lost), best (a
    /// new best share, at most one an hour), miner (missing, back, quiet, slow), node (another one
    /// leads, one is down or back), down (no mining, and mining again), alarm (board, card, payout
    /// address), update (a new version is ready).
    "Notifications" "notify" NotifySettings many
r#"kind = "ntfy"
url = "https://ntfy.sh/a-topic-that-nobody-guesses"
best = false"#;

    "Home Assistant" "mqtt" Mqtt;

    /// Two boxes in one network, each with its own nodes and its own card. Miners use one address; it
    /// moves to the other box when the one that has it is no longer well. A block that one of them solves is
    /// kept and submitted by both.
    "Two boxes as one" "pair" Pair;

    "New versions" "update" Update;

    "Files and log" "data" Data;

    "" "log" Log;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Surroundings;
    use crate::config::written::Written;
    use crate::settings::{SERVICES, TOPICS};

    /// Whatever holds when nothing is written is a valid value.
    #[test]
    fn every_setting_can_be_left_out() {
        let surroundings = Surroundings::default();
        let mut check = Check::new(&surroundings);
        let text: String = SECTIONS.iter().map(|section| section.heading() + "\n").collect();
        let (written, problems) = Written::read("f", &text);
        assert_eq!(problems, [], "{text}");
        let names: Vec<&str> = SECTIONS.iter().map(|section| section.name).collect();
        for table in written.all(&names) {
            match table.key {
                "payout" => drop(Payout::read(table, &mut check)),
                "node" | "node.backup" => drop(NodeSettings::read(table, &mut check)),
                "stratum" => drop(Stratum::read(table, &mut check)),
                "stratum.firmware" => drop(FirmwareSettings::read(table, &mut check)),
                "http" => drop(Http::read(table, &mut check)),
                "devices" => drop(Devices::read(table, &mut check)),
                "failover" => drop(Failover::read(table, &mut check)),
                "p2p" => drop(P2p::read(table, &mut check)),
                "notify" => drop(NotifySettings::read(table, &mut check)),
                "mqtt" => drop(Mqtt::read(table, &mut check)),
                "pair" => drop(Pair::read(table, &mut check)),
                "update" => drop(Update::read(table, &mut check)),
                "data" => drop(Data::read(table, &mut check)),
                "log" => drop(Log::read(table, &mut check)),
                other => panic!("{other}"),
            }
        }
        assert_eq!(check.problems(), []);
    }

    /// What is declared is said: in sentences, with its kind, and with what holds without it.
    #[test]
    fn every_setting_says_what_it_is() {
        let mut names = BTreeSet::new();
        for section in SECTIONS {
            for facts in (section.facts)() {
                let name = format!("{}.{}", section.name, facts.name);
                assert!(facts.words.trim().len() > 10, "{name}");
                assert!(!facts.kind.is_empty(), "{name}");
                assert_ne!(facts.default.is_some(), !facts.otherwise.is_empty(), "{name}");
                assert!(names.insert(name.clone()), "{name} is declared twice");
                // The lists are compared as wholes, and a reload takes them as wholes.
                let in_a_list = section.is_list() || section.name == "node";
                assert!(!in_a_list || facts.reload == Reload::Live, "{name}");
            }
        }
        assert!(names.len() > 50, "{}", names.len());
    }

    /// What the file can say of a place for notifications, the page can say as well.
    #[test]
    fn the_form_of_a_place_has_each_of_its_settings() {
        for (name, _) in SERVICE_NAMES {
            assert!(KINDS.contains(&format!("\"{name}\"")), "{name}");
            let heading = SECTIONS.iter().find(|section| section.name == "notify").unwrap();
            assert!(
                heading.words.contains(&format!("\n   {name} ")),
                "{name} in {}",
                heading.words
            );
        }
        let (switches, fields): (Vec<Facts>, Vec<Facts>) =
            NotifySettings::facts().into_iter().partition(|facts| facts.default.is_some());
        let switches: Vec<&str> = switches.iter().map(|facts| facts.name).collect();
        assert_eq!(switches, TOPICS.map(|(topic, _)| topic));
        let fields: BTreeSet<&str> = fields.iter().map(|facts| facts.name).collect();
        let typed = SERVICES.iter().flat_map(|service| service.fields).map(|field| field.name);
        assert_eq!(fields, typed.chain(["kind"]).collect());
    }

    /// What opens a door is kept out of a backup's plain part.
    #[test]
    fn a_backup_seals_what_is_declared_secret() {
        let all = SECTIONS.iter().flat_map(|section| (section.facts)());
        let secret: BTreeSet<&str> =
            all.filter(|facts| facts.secret).map(|facts| facts.name).collect();
        assert_eq!(secret, BTreeSet::from(crate::ledger::seal::SECRETS));
    }
}
