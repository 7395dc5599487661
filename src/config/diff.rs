//! The differences between two configs, for a reload that changes only these.

use std::fmt;

use super::declare::{Reload, Section};
use super::{Config, NodeConfig};

/// One difference. `Display` is a sentence for the log, which never shows a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    sentence: String,
    is_live: bool,
}

impl Change {
    /// What `says` tells of two sections that differ.
    pub(super) fn told<S>(
        old: &S,
        new: &S,
        reload: Reload,
        says: impl Fn(&S, &S) -> String,
    ) -> Change {
        Change { sentence: says(old, new), is_live: reload == Reload::Live }
    }

    /// Whether the running daemon can take it over. What cannot waits for a restart.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    fn live(sentence: impl Into<String>) -> Change {
        Change { sentence: sentence.into(), is_live: true }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

pub(super) fn diff(old: &Config, new: &Config) -> Vec<Change> {
    // Without `..`, so that no section is forgotten.
    let Config {
        nodes: new_nodes,
        payout,
        stratum,
        http,
        devices,
        data,
        failover,
        p2p,
        mqtt,
        pair,
        update,
        log,
        notify,
    } = new;
    let mut changes = nodes(&old.nodes, new_nodes);
    changes.extend(old.payout.changes(payout));
    changes.extend(old.stratum.changes(stratum));
    changes.extend(old.http.changes(http));
    changes.extend(old.data.changes(data));
    changes.extend(old.failover.changes(failover));
    changes.extend(old.p2p.changes(p2p));
    changes.extend(old.devices.changes(devices));
    changes.extend(old.mqtt.changes(mqtt));
    changes.extend(old.pair.changes(pair));
    changes.extend(old.update.changes(update));
    changes.extend(old.log.changes(log));
    if old.notify != *notify {
        changes.push(Change::live("Notifications go to other places, or tell other things."));
    }
    changes
}

pub(super) fn taken_over(new: Config, running: &Config) -> Config {
    Config {
        payout: new.payout.taken_over(&running.payout),
        stratum: new.stratum.taken_over(&running.stratum),
        http: new.http.taken_over(&running.http),
        devices: new.devices.taken_over(&running.devices),
        data: new.data.taken_over(&running.data),
        failover: new.failover.taken_over(&running.failover),
        p2p: new.p2p.taken_over(&running.p2p),
        mqtt: new.mqtt.taken_over(&running.mqtt),
        pair: new.pair.taken_over(&running.pair),
        update: new.update.taken_over(&running.update),
        log: new.log.taken_over(&running.log),
        // Their settings are all taken over: a test in sections.rs says so of each list.
        nodes: new.nodes,
        notify: new.notify,
    }
}

/// Some settings share a sentence.
pub(super) fn each_once(changes: Vec<Change>) -> Vec<Change> {
    let mut once: Vec<Change> = Vec::new();
    for change in changes {
        if !once.contains(&change) {
            once.push(change);
        }
    }
    once
}

fn nodes(old: &[NodeConfig], new: &[NodeConfig]) -> Vec<Change> {
    let find = |list: &[NodeConfig], name: &str| list.iter().position(|node| node.name == name);
    // By its address: what a node is called is the owner's business alone.
    let renamed = |node: &NodeConfig, from: &[NodeConfig], to: &[NodeConfig]| {
        let same = from.iter().find(|other| other.url == node.url)?;
        let is_renamed = find(to, &same.name).is_none() && find(from, &node.name).is_none();
        is_renamed.then(|| same.clone())
    };
    let mut changes = Vec::new();
    for node in new {
        let name = &node.name;
        if let Some(before) = renamed(node, old, new) {
            let words = format!("The node {} is called {name} now.", before.name);
            changes.push(Change::live(words));
            let same = NodeConfig { name: name.clone(), ..before };
            if same != *node {
                let what = differences(&same, node).join(" and another ");
                changes.push(Change::live(format!("The node {name} has another {what}.")));
            }
            continue;
        }
        match find(old, name) {
            None => changes.push(Change::live(format!("The node {name} is new."))),
            Some(place) if old[place] != *node => {
                let what = differences(&old[place], node).join(" and another ");
                changes.push(Change::live(format!("The node {name} has another {what}.")));
            }
            Some(_) => {}
        }
    }
    let is_gone =
        |node: &&NodeConfig| find(new, &node.name).is_none() && renamed(node, new, old).is_none();
    let gone = old.iter().filter(is_gone);
    changes.extend(
        gone.map(|node| Change::live(format!("The node {} is no longer used.", node.name))),
    );
    // Those that stayed, in the old and in the new order.
    let stayed: Vec<&str> =
        old.iter().map(|n| n.name.as_str()).filter(|name| find(new, name).is_some()).collect();
    let reordered: Vec<&str> =
        new.iter().map(|n| n.name.as_str()).filter(|name| find(old, name).is_some()).collect();
    if stayed != reordered {
        let names: Vec<&str> = new.iter().map(|node| node.name.as_str()).collect();
        let names = names.join(", ");
        changes.push(Change::live(format!("The nodes are preferred in this order: {names}.")));
    }
    changes
}

/// In what two nodes of the same name differ.
fn differences(old: &NodeConfig, new: &NodeConfig) -> Vec<&'static str> {
    // Without `..`, so that no field is forgotten.
    let NodeConfig { name: _, url, auth, certificate, zmq, p2p } = new;
    [
        ("address", old.url != *url),
        ("login", old.auth != *auth),
        ("certificate", old.certificate != *certificate),
        ("ZMQ address", old.zmq != *zmq),
        ("P2P address", old.p2p != *p2p),
    ]
    .into_iter()
    .filter_map(|(what, differs)| differs.then_some(what))
    .collect()
}
