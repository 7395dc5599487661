//! The connections to outside nodes, and their addresses on the card.

use std::collections::BTreeMap;
use std::fs;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use async_channel::Sender;
use smol::LocalExecutor;

use crate::chain::Chain;
use crate::clock::Now;
use crate::engine::Input;
use crate::fsutil::{self, Rights};
use crate::ids::OutsideId;
use crate::outside;
use crate::p2p::Order;
use crate::peer_address::{ListedPeer, PeerAddress, PeerHost};
use crate::peers::PeerHandle;

use super::nodes::forward;
use super::{Event, State};

/// Bytes that the file of addresses may have: 64 lines of an onion address are shorter.
const FILE_MAX: u64 = 16 * 1024;

/// What a node tells that a DNS seed knows: the seeds are asked for such nodes alone, by the `x9` before
/// their names (`NODE_NETWORK` and `NODE_WITNESS`).
const SEEDED_SERVICES: u64 = 9;

/// The DNS seeds of a chain (`vSeeds` of Core's `src/kernel/chainparams.cpp`).
fn seeds(chain: Chain) -> &'static [&'static str] {
    match chain {
        Chain::Main => &[
            "seed.bitcoin.sipa.be",
            "dnsseed.bluematt.me",
            "seed.bitcoin.jonasschnelli.ch",
            "seed.btc.petertodd.net",
            "seed.bitcoin.sprovoost.nl",
            "dnsseed.emzy.de",
            "seed.bitcoin.wiz.biz",
        ],
        Chain::Testnet3 => &["testnet-seed.bitcoin.jonasschnelli.ch", "seed.tbtc.petertodd.net"],
        Chain::Testnet4 => &["seed.testnet4.bitcoin.sprovoost.nl", "seed.testnet4.wiz.biz"],
        Chain::Signet => &["seed.signet.bitcoin.sprovoost.nl"],
        Chain::Regtest => &[],
    }
}

/// The connections to outside nodes.
pub(super) struct Outside {
    handles: BTreeMap<OutsideId, PeerHandle>,
    file: PathBuf,
}

impl Outside {
    /// No connection; the addresses are kept in the data directory.
    pub(super) fn new(data: &Path) -> Outside {
        Outside { handles: BTreeMap::new(), file: data.join("outside-nodes") }
    }

    /// Begins a connection.
    pub(super) fn connect(
        &mut self,
        id: OutsideId,
        address: &PeerAddress,
        via: Option<&PeerAddress>,
        chain: Chain,
        executor: &Rc<LocalExecutor<'static>>,
        queue: &Sender<Event>,
    ) {
        let events = forward(executor, queue, move |event| Event::Outside(id, event));
        let handle = PeerHandle::start(executor, address.clone(), via, chain, events);
        self.handles.insert(id, handle);
    }

    /// Passes an order on.
    pub(super) fn order(&self, id: OutsideId, order: Order) {
        if let Some(handle) = self.handles.get(&id) {
            handle.give(order);
        }
    }

    /// Ends a connection.
    pub(super) fn drop(&mut self, id: OutsideId) {
        self.handles.remove(&id);
    }

    /// The addresses that an earlier run kept. A file that is damaged costs what is damaged.
    pub(super) fn kept(&self) -> Vec<PeerAddress> {
        let size = fs::metadata(&self.file).map_or(0, |data| data.len());
        if size > FILE_MAX {
            log::warn!("{} is too long: it is not read", self.file.display());
            return Vec::new();
        }
        let text = fs::read(&self.file).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().filter_map(read).collect()
    }

    /// Keeps these addresses for the next start, on a thread of the pool.
    pub(super) fn keep(&self, chain: Chain, list: &[PeerAddress]) {
        let lines = list.iter().map(|address| format!("{address}\n")).collect::<String>();
        let text = format!("# Nodes of {} that other nodes told of.\n{lines}", chain.name());
        let file = self.file.clone();
        blocking::unblock(move || {
            if let Err(error) = fsutil::replace(&file, text.as_bytes(), Rights::Set(0o600)) {
                log::warn!("{}: {error}", file.display());
            }
        })
        .detach();
    }
}

/// A line of the file.
fn read(line: &str) -> Option<PeerAddress> {
    let (host, port) = line.trim().rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok()?;
    Some(PeerAddress { host: PeerHost::read(host), port }).filter(PeerAddress::is_public)
}

impl State {
    pub(super) fn connect_outside(&mut self, id: OutsideId, address: &PeerAddress, chain: Chain) {
        let via = self.config.p2p.proxy.as_ref();
        self.outside.connect(id, address, via, chain, &self.executor, &self.queue);
    }

    /// Hands the engine what an earlier run kept.
    pub(super) fn restore_addresses(&mut self, now: Now) {
        let kept = self.outside.kept();
        if !kept.is_empty() {
            self.engine_input(now, Input::KeptAddresses(kept));
        }
    }

    /// Asks the DNS seeds, on a thread of the pool: the system's resolver has its own time.
    pub(super) fn ask_seeds(&self, chain: Chain) {
        log::info!(
            "No node tells addresses of others: the DNS seeds of {} are asked.",
            chain.name()
        );
        let queue = self.queue.clone();
        blocking::unblock(move || {
            let ask = |seed: &&str| (format!("x9.{seed}"), chain.p2p_port()).to_socket_addrs().ok();
            let found = seeds(chain).iter().filter_map(ask).flatten();
            let list = found.map(|address| ListedPeer {
                address: address.into(),
                services: SEEDED_SERVICES,
                seen: 0,
            });
            queue.send_blocking(Event::Seeds(list.collect())).ok();
        })
        .detach();
    }
}

/// The engine's settings.
pub(super) fn settings(config: &crate::config::Config) -> outside::Settings {
    outside::Settings {
        outside: config.p2p.outside,
        peers: config.p2p.peers.clone(),
        by_proxy: config.p2p.proxy.is_some(),
        seeds: config.p2p.dns_seeds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_are_read_as_they_were_kept_and_a_damaged_file_costs_only_its_damage() {
        let dir = tempfile::tempdir().unwrap();
        let outside = Outside::new(dir.path());
        assert_eq!(outside.kept(), []);
        let onion = format!("{}.onion", "a".repeat(56));
        let list: Vec<PeerAddress> = ["77.1.2.3", "2a01:4f8::1", &onion]
            .map(|host| PeerAddress { host: PeerHost::read(host), port: 8333 })
            .into();
        smol::block_on(async {
            outside.keep(Chain::Main, &list);
            while outside.kept() != list {
                async_io::Timer::after(std::time::Duration::from_millis(5)).await;
            }
        });
        let mut text = fs::read(&outside.file).unwrap();
        text.extend(b"\xff\xfe:8333\n78.1.2.3:99999\n192.168.1.1:8333\nnode.example:8333\n\n:\n79.1.2.3:8333");
        fs::write(&outside.file, &text).unwrap();
        let last = PeerAddress { host: PeerHost::read("79.1.2.3"), port: 8333 };
        assert_eq!(outside.kept(), [&list[..], &[last]].concat());
        fs::write(&outside.file, vec![b'1'; FILE_MAX as usize + 1]).unwrap();
        assert_eq!(outside.kept(), []);
        fs::remove_file(&outside.file).unwrap();
        fs::create_dir(&outside.file).unwrap();
        assert_eq!(outside.kept(), []);
    }

    #[test]
    fn each_network_of_strangers_has_seeds() {
        for chain in [Chain::Main, Chain::Testnet3, Chain::Testnet4, Chain::Signet] {
            assert!(!seeds(chain).is_empty(), "{}", chain.name());
        }
        assert!(seeds(Chain::Regtest).is_empty());
    }
}
