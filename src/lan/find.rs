//! Devices in the own network that are not here yet: who announces itself by mDNS, and, where the owner
//! asks for it, whoever answers at one of the subnet's addresses.
//!
//! The search by mDNS is RFC 6762's one-shot query (section 5.1): from a port of our own, so that no
//! socket of 5353 is shared with the system's own resolver; the answers come back to that port.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, Question, TYPE};
use smol::LocalExecutor;

use crate::devices::Api;
use crate::devices::rounds::Place;
use crate::timeout::within;

/// What ESP-Miner announces itself as from 2.15 on (`components/connect/connect.c`).
const SERVICE: &str = "_axeos._sub._http._tcp.local";
/// Where all of mDNS is sent.
const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), 5353);
/// How long answers are waited for.
const LISTEN: Duration = Duration::from_secs(2);
/// Bytes of an answer: the longest that mDNS allows.
const PACKET_MAX: usize = 9000;
/// Packets that are read in each network, whoever sends them: eight for each device.
const PACKETS_MAX: usize = 8 * FOUND_MAX;
/// Devices that one search finds at most.
pub const FOUND_MAX: usize = 64;
/// Subnets that are searched at most. A scan of four takes about twenty seconds.
const NETWORKS_MAX: usize = 4;
/// Addresses that are tried at a time.
const TRIED_MAX: usize = 16;
/// How long an address is tried.
const TRY: Duration = Duration::from_millis(700);
/// Between two tries: 100 a second.
const PACE: Duration = Duration::from_millis(10);

/// An own address and the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The own address.
    pub own: Ipv4Addr,
    /// Bits of the prefix.
    pub prefix: u8,
}

impl Network {
    /// Whether an address is in it.
    fn has(self, ip: IpAddr) -> bool {
        let IpAddr::V4(ip) = ip.to_canonical() else { return false };
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
        u32::from(ip) & mask == u32::from(self.own) & mask
    }

    /// The other addresses in it; of a network larger than a /24, those of the /24 around the own one.
    pub fn others(self) -> impl Iterator<Item = Ipv4Addr> {
        let prefix = self.prefix.clamp(24, 32);
        let size = 1u32 << (32 - prefix);
        let own = u32::from(self.own);
        let first = own & !(size - 1);
        // Neither the network's own address nor the one for all.
        let hosts =
            if size > 2 { first + 1..=first + (size - 2) } else { first..=first + (size - 1) };
        hosts.filter(move |ip| *ip != own).map(Ipv4Addr::from)
    }
}

/// The networks that a search goes through: private ones alone, those first from which a miner has called.
pub fn searched(
    own: impl IntoIterator<Item = Network>,
    miners: impl IntoIterator<Item = IpAddr>,
) -> Vec<Network> {
    let is_private = |network: &Network| Place::at(network.own.into()).is_private();
    let mut networks: Vec<Network> = own.into_iter().filter(is_private).collect();
    let miners: Vec<IpAddr> = miners.into_iter().collect();
    networks.sort_by_key(|network| !miners.iter().any(|miner| network.has(*miner)));
    networks.truncate(NETWORKS_MAX);
    networks
}

/// The addresses of devices that announce themselves, in two seconds. Each own address asks in its
/// network.
pub async fn announced(own: &[Network]) -> Vec<IpAddr> {
    let found = RefCell::new(BTreeSet::new());
    let listen = own.iter().map(|network| listen(network.own, &found));
    let all = async {
        let executor = LocalExecutor::new();
        let tasks: Vec<_> = listen.map(|listen| executor.spawn(listen)).collect();
        executor
            .run(async {
                for task in tasks {
                    task.await;
                }
            })
            .await;
    };
    within(LISTEN, all).await;
    found.into_inner().into_iter().collect()
}

/// Asks in the network of an own address, and listens until it is dropped.
async fn listen(own: Ipv4Addr, found: &RefCell<BTreeSet<IpAddr>>) {
    let asked = ask(own).await;
    let socket = match asked {
        Ok(socket) => socket,
        Err(error) => return log::debug!("mDNS from {own}: {error}"),
    };
    let mut packet = vec![0; PACKET_MAX];
    for _ in 0..PACKETS_MAX {
        let Ok((length, from)) = socket.recv_from(&mut packet).await else { return };
        // Who answers is who is meant: an answer that names another address names it in vain.
        let is_device = announces(&packet[..length]) && Place::at(from.ip()).is_private();
        if is_device && found.borrow().len() < FOUND_MAX {
            found.borrow_mut().insert(from.ip());
        }
        // While packets wait, reading them never does: a flood would stop the miners' loop.
        futures_lite::future::yield_now().await;
    }
}

async fn ask(own: Ipv4Addr) -> std::io::Result<Async<UdpSocket>> {
    let socket = Async::<UdpSocket>::bind(SocketAddr::new(own.into(), 0))?;
    // Not beyond the own network.
    socket.get_ref().set_multicast_ttl_v4(1)?;
    socket.send_to(&query(), SocketAddr::V4(GROUP)).await?;
    Ok(socket)
}

/// The question for all devices of this service, to be answered to us alone.
fn query() -> Vec<u8> {
    let mut packet = Packet::new_query(0);
    let name = Name::new_unchecked(SERVICE);
    packet.questions.push(Question::new(
        name,
        QTYPE::TYPE(TYPE::PTR),
        QCLASS::CLASS(CLASS::IN),
        true,
    ));
    packet.build_bytes_vec().unwrap_or_default()
}

/// Whether a packet names an instance of the service.
fn announces(packet: &[u8]) -> bool {
    let Ok(packet) = Packet::parse(packet) else { return false };
    packet.answers.iter().any(|answer| {
        let is_service = answer.name.to_string().eq_ignore_ascii_case(SERVICE);
        is_service && matches!(answer.rdata, RData::PTR(_))
    })
}

/// Those of these addresses at which something listens where a device would, with how it is to be asked.
/// At most sixteen are tried at a time, and a hundred in a second.
pub async fn scan(addresses: Vec<Ipv4Addr>) -> Vec<(Place, Api)> {
    let found = RefCell::new(Vec::new());
    let executor = LocalExecutor::new();
    let (give, take) = async_channel::bounded::<()>(TRIED_MAX);
    let found_here = &found;
    let search = async {
        let mut tasks = Vec::new();
        for (ip, api) in addresses.into_iter().flat_map(|ip| [(ip, Api::Http), (ip, Api::Cgminer)])
        {
            if give.send(()).await.is_err() {
                break;
            }
            let take = take.clone();
            tasks.push(executor.spawn(async move {
                let place = Place::at(ip.into());
                let connect = super::connect(place.socket(api));
                let is_there = within(TRY, connect).await.is_some_and(|stream| stream.is_ok());
                // Not held while this waits: another task may find something.
                if is_there && found_here.borrow().len() < 2 * FOUND_MAX {
                    found_here.borrow_mut().push((place, api));
                }
                take.recv().await.ok();
            }));
            Timer::at(Instant::now() + PACE).await;
        }
        for task in tasks {
            task.await;
        }
    };
    executor.run(search).await;
    drop(executor);
    found.into_inner()
}

/// The own address by which a device is reached; nothing is sent for that.
pub fn own_address_towards(device: IpAddr) -> Option<IpAddr> {
    let any = if device.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(SocketAddr::new(device, 9)).ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_unspecified()).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_network_is_searched_without_its_ends_and_without_us() {
        let others = |own: &str, prefix| {
            let all: Vec<Ipv4Addr> =
                Network { own: own.parse().unwrap(), prefix }.others().collect();
            (all.len(), all.first().copied(), all.last().copied())
        };
        let ip = |text: &str| Some(text.parse::<Ipv4Addr>().unwrap());
        assert_eq!(others("192.168.1.20", 24), (253, ip("192.168.1.1"), ip("192.168.1.254")));
        assert_eq!(others("192.168.1.20", 28), (13, ip("192.168.1.17"), ip("192.168.1.30")));
        // A large one only around us.
        assert_eq!(others("10.1.2.3", 8), (253, ip("10.1.2.1"), ip("10.1.2.254")));
        assert_eq!(others("10.1.2.3", 31), (1, ip("10.1.2.2"), ip("10.1.2.2")));
        assert_eq!(others("10.1.2.3", 32).0, 0);
        assert_eq!(others("255.255.255.255", 24).0, 254);
    }

    #[test]
    fn only_private_networks_are_searched_and_not_many() {
        let network = |own: &str| Network { own: own.parse().unwrap(), prefix: 24 };
        let four = ["192.168.1.20", "10.8.0.2", "172.17.0.1", "192.168.2.20"].map(network);
        let all = || [network("8.8.8.8")].into_iter().chain(four).chain([network("10.9.0.2")]);
        assert_eq!(searched(all(), []), four);
        // Where the miners are is searched in any case.
        let miners = ["8.8.8.9", "::ffff:10.9.0.77", "fd66::7"].map(|ip| ip.parse().unwrap());
        let first = ["10.9.0.2", "192.168.1.20", "10.8.0.2", "172.17.0.1"].map(network);
        assert_eq!(searched(all(), miners), first);
    }

    #[test]
    fn an_address_is_in_its_own_network_alone() {
        let has = |own: &str, prefix, ip: &str| {
            Network { own: own.parse().unwrap(), prefix }.has(ip.parse().unwrap())
        };
        assert!(has("192.168.1.20", 24, "192.168.1.254"));
        assert!(!has("192.168.1.20", 24, "192.168.2.1"));
        assert!(has("10.1.2.3", 8, "10.200.0.1"));
        assert!(has("10.1.2.3", 32, "10.1.2.3") && !has("10.1.2.3", 32, "10.1.2.2"));
        assert!(has("10.1.2.3", 0, "8.8.8.8"));
    }

    #[test]
    fn a_device_is_known_by_the_service_that_it_answers_for() {
        use simple_dns::ResourceRecord;
        use simple_dns::rdata::PTR;
        assert!(!announces(&query()), "a question is no answer");
        assert!(!announces(b"nonsense") && !announces(&[]));
        let answer = |service: &'static str| {
            let mut packet = Packet::new_reply(0);
            let instance = PTR(Name::new_unchecked("Bitaxe Gamma 601 (BBCC)._http._tcp.local"));
            let name = Name::new_unchecked(service);
            let record = ResourceRecord::new(name, CLASS::IN, 120, RData::PTR(instance));
            packet.answers.push(record);
            packet.build_bytes_vec().unwrap()
        };
        assert!(announces(&answer(SERVICE)));
        assert!(announces(&answer("_AxeOS._sub._http._tcp.local")));
        assert!(!announces(&answer("_http._tcp.local")), "a printer");
    }

    #[test]
    fn the_question_wants_its_answer_for_us_alone() {
        let bytes = query();
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.questions.len(), 1);
        assert!(packet.questions[0].unicast_response);
        assert_eq!(packet.questions[0].qname.to_string(), SERVICE);
    }

    #[test]
    fn whoever_listens_is_found() {
        let _device = match TcpListener::bind("127.0.0.77:4028") {
            Ok(listener) => listener,
            Err(error) => return eprintln!("*** NOT TESTED ***: a scan (port 4028: {error})"),
        };
        let addresses = (70..80).map(|last| Ipv4Addr::new(127, 0, 0, last)).collect();
        let found = smol::block_on(scan(addresses));
        let place = Place::at(Ipv4Addr::new(127, 0, 0, 77).into());
        assert!(found.contains(&(place, Api::Cgminer)), "{found:?}");
        assert!(
            !found
                .iter()
                .any(|(found, _)| *found == Place::at(Ipv4Addr::new(127, 0, 0, 78).into()))
        );
    }

    #[test]
    fn the_own_address_is_the_one_on_the_way() {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(own_address_towards(loopback), Some(loopback));
    }
}
