//! What differs between two configs, for a reload that changes only that.

use std::fmt;

use super::{Config, NodeConfig};
use crate::failover::Follow;
use crate::signal::{self, Signals};

/// One difference. `Display` is a sentence for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A node that was not there, by its name.
    NodeAdded(String),
    /// A node that is gone, by its name.
    NodeRemoved(String),
    /// A node of the same name with another URL, login, certificate or ZMQ address.
    NodeChanged {
        /// The node's name.
        node: String,
        /// What differs: `address`, `login`, `certificate`, `ZMQ address`.
        what: Vec<&'static str>,
    },
    /// The same nodes in another order of preference.
    NodesReordered(Vec<String>),
    /// Another payout address: every job must be made anew.
    PayoutAddress {
        /// The old one; empty before the set-up.
        from: String,
        /// The new one.
        to: String,
    },
    /// Another tag: every job must be made anew.
    Tag {
        /// The old one.
        from: String,
        /// The new one.
        to: String,
    },
    /// Other version bits are set or cleared: every job must be made anew.
    Signals {
        /// What is set and cleared now.
        to: Signals,
    },
    /// Miners are paid by their names, or no longer.
    PerMiner {
        /// Whether they are now.
        on: bool,
    },
    /// Other addresses for miners.
    StratumListen,
    /// Other limits of connections. Miners that are connected stay.
    ConnectionLimits,
    /// Another password for miners. Miners that are connected stay.
    StratumPassword,
    /// Another word on kinds of miners. It counts from a miner's next connection.
    Firmwares,
    /// Other addresses for the page.
    HttpListen,
    /// The API was switched on or off.
    Json {
        /// Whether it is on now.
        on: bool,
    },
    /// Another place for copies of the ledger, or none.
    CopyTo,
    /// Another data directory.
    DataDir,
    /// Another grace, in seconds.
    Grace {
        /// The old one.
        from: u64,
        /// The new one.
        to: u64,
    },
    /// Another chain is followed when the nodes do not agree on the rules.
    Follow {
        /// Which one.
        to: Follow,
    },
    /// Another name of the box.
    Name {
        /// The old one.
        from: String,
        /// The new one.
        to: String,
    },
    /// Another PIN for the settings on the page, or none any more.
    Pin,
    /// Other places for notifications, or other things that they are told.
    Notify,
    /// Another form of the log.
    LogFormat,
    /// Another log level.
    LogLevel {
        /// The old one.
        from: log::LevelFilter,
        /// The new one.
        to: log::LevelFilter,
    },
}

impl Change {
    /// Whether the running daemon can take it over. What cannot waits for a restart.
    pub fn is_live(&self) -> bool {
        match self {
            Change::NodeAdded(_)
            | Change::NodeRemoved(_)
            | Change::NodeChanged { .. }
            | Change::NodesReordered(_)
            | Change::PayoutAddress { .. }
            | Change::Tag { .. }
            | Change::Signals { .. }
            | Change::PerMiner { .. }
            | Change::ConnectionLimits
            | Change::StratumPassword
            | Change::Firmwares
            | Change::Grace { .. }
            | Change::Follow { .. }
            | Change::Name { .. }
            | Change::Pin
            | Change::CopyTo
            | Change::Notify
            | Change::LogLevel { .. }
            | Change::LogFormat => true,
            // Ports are bound once, at the start.
            Change::StratumListen | Change::HttpListen | Change::Json { .. } | Change::DataDir => {
                false
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::NodeAdded(node) => write!(f, "The node {node} is new."),
            Change::NodeRemoved(node) => write!(f, "The node {node} is no longer used."),
            Change::NodeChanged { node, what } => {
                write!(f, "The node {node} has another {}.", what.join(" and another "))
            }
            Change::NodesReordered(names) => {
                write!(f, "The nodes are preferred in this order: {}.", names.join(", "))
            }
            Change::PayoutAddress { from, to } if from.is_empty() => {
                write!(f, "A block now pays {to}.")
            }
            Change::PayoutAddress { from, to } => {
                write!(f, "A block now pays {to}, no longer {from}.")
            }
            Change::Tag { from, to } => write!(f, "A block now says '{to}', no longer '{from}'."),
            Change::Signals { to } => {
                let list = |bits| {
                    let bits: Vec<String> =
                        signal::numbers(bits).map(|bit| bit.to_string()).collect();
                    if bits.is_empty() { "none".to_owned() } else { bits.join(", ") }
                };
                let (set, clear) = (list(to.set), list(to.clear));
                write!(f, "Of a block's version bits the settings set {set} and clear {clear}.")
            }
            Change::PerMiner { on: true } => {
                f.write_str("A miner whose name is an address is now paid there.")
            }
            Change::PerMiner { on: false } => {
                f.write_str("All blocks pay the owner, whatever the miners' names are.")
            }
            Change::StratumListen => f.write_str("Miners connect to other addresses or ports."),
            Change::ConnectionLimits => f.write_str("The limits of connections are others."),
            Change::StratumPassword => f.write_str("The miners' password is another."),
            Change::Firmwares => {
                f.write_str("What is said about kinds of miners counts from their next connection.")
            }
            Change::HttpListen => f.write_str("The page is served on other addresses or ports."),
            Change::Json { on: true } => f.write_str("The API is switched on."),
            Change::Json { on: false } => f.write_str("The API is switched off."),
            Change::CopyTo => f.write_str("Copies of the ledger go elsewhere."),
            Change::DataDir => f.write_str("The data directory is another."),
            Change::Grace { from, to } => {
                write!(f, "Without any node the last job is served for {to} s, no longer {from} s.")
            }
            Change::Follow { to: Follow::Work } => f.write_str(
                "Where nodes refuse each other's blocks, the chain with most work counts.",
            ),
            Change::Follow { to: Follow::First } => {
                f.write_str("Where nodes refuse each other's blocks, the first node's rules count.")
            }
            Change::Name { from, to } => write!(f, "The box is called {to}, no longer {from}."),
            Change::Pin => f.write_str("The PIN of the page is another."),
            Change::Notify => {
                f.write_str("Notifications go to other places, or tell other things.")
            }
            Change::LogFormat => f.write_str("The log is written in another form."),
            Change::LogLevel { from, to } => {
                let (from, to) = (from.as_str().to_lowercase(), to.as_str().to_lowercase());
                write!(f, "The log's level is {to}, no longer {from}.")
            }
        }
    }
}

fn address(config: &Config) -> String {
    config.payout.address.as_ref().map_or_else(String::new, ToString::to_string)
}

pub(super) fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = nodes(&old.nodes, &new.nodes);
    if old.payout.address != new.payout.address {
        changes.push(Change::PayoutAddress { from: address(old), to: address(new) });
    }
    if old.payout.tag != new.payout.tag {
        changes.push(Change::Tag {
            from: old.payout.tag.as_str().to_owned(),
            to: new.payout.tag.as_str().to_owned(),
        });
    }
    if old.payout.signals != new.payout.signals {
        changes.push(Change::Signals { to: new.payout.signals });
    }
    if old.payout.per_miner != new.payout.per_miner {
        changes.push(Change::PerMiner { on: new.payout.per_miner });
    }
    let limits = |config: &Config| {
        (config.stratum.max_connections, config.stratum.max_connections_per_address)
    };
    let doors =
        |config: &Config| (config.stratum.listen.clone(), config.stratum.tls_listen.clone());
    if doors(old) != doors(new) {
        changes.push(Change::StratumListen);
    }
    if limits(old) != limits(new) {
        changes.push(Change::ConnectionLimits);
    }
    if old.stratum.password != new.stratum.password {
        changes.push(Change::StratumPassword);
    }
    if old.stratum.firmwares != new.stratum.firmwares {
        changes.push(Change::Firmwares);
    }
    if old.http.name != new.http.name {
        let (from, to) = (old.http.name.clone(), new.http.name.clone());
        changes.push(Change::Name { from, to });
    }
    if old.http.pin != new.http.pin {
        changes.push(Change::Pin);
    }
    let pages = |config: &Config| (config.http.listen.clone(), config.http.tls_listen.clone());
    if pages(old) != pages(new) {
        changes.push(Change::HttpListen);
    }
    if old.http.json != new.http.json {
        changes.push(Change::Json { on: new.http.json });
    }
    if old.data.copy_to != new.data.copy_to {
        changes.push(Change::CopyTo);
    }
    if (&old.data.dir, &old.data.runtime) != (&new.data.dir, &new.data.runtime) {
        changes.push(Change::DataDir);
    }
    let (from, to) = (old.failover.grace.as_secs(), new.failover.grace.as_secs());
    if from != to {
        changes.push(Change::Grace { from, to });
    }
    if old.failover.follow != new.failover.follow {
        changes.push(Change::Follow { to: new.failover.follow });
    }
    let (from, to) = (old.log.level, new.log.level);
    if from != to {
        changes.push(Change::LogLevel { from, to });
    }
    if old.log.format != new.log.format {
        changes.push(Change::LogFormat);
    }
    if old.notify != new.notify {
        changes.push(Change::Notify);
    }
    changes
}

fn nodes(old: &[NodeConfig], new: &[NodeConfig]) -> Vec<Change> {
    let find = |list: &[NodeConfig], name: &str| list.iter().position(|node| node.name == name);
    let mut changes = Vec::new();
    for node in new {
        match find(old, &node.name) {
            None => changes.push(Change::NodeAdded(node.name.clone())),
            Some(place) if old[place] != *node => changes.push(Change::NodeChanged {
                node: node.name.clone(),
                what: differences(&old[place], node),
            }),
            Some(_) => {}
        }
    }
    let gone = old.iter().filter(|node| find(new, &node.name).is_none());
    changes.extend(gone.map(|node| Change::NodeRemoved(node.name.clone())));
    // Those that stayed, in the old and in the new order.
    let stayed: Vec<&str> =
        old.iter().map(|n| n.name.as_str()).filter(|name| find(new, name).is_some()).collect();
    let reordered: Vec<&str> =
        new.iter().map(|n| n.name.as_str()).filter(|name| find(old, name).is_some()).collect();
    if stayed != reordered {
        let names = new.iter().map(|node| node.name.clone()).collect();
        changes.push(Change::NodesReordered(names));
    }
    changes
}

fn differences(old: &NodeConfig, new: &NodeConfig) -> Vec<&'static str> {
    [
        ("address", old.url != new.url),
        ("login", old.auth != new.auth),
        ("certificate", old.certificate != new.certificate),
        ("ZMQ address", old.zmq != new.zmq),
    ]
    .into_iter()
    .filter_map(|(what, differs)| differs.then_some(what))
    .collect()
}
