//! Addresses of other nodes' P2P ports, which of them are in different networks, and what the owner
//! wants of the nodes of strangers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::Serialize;

use crate::chain::Chain;

/// Where a node listens to other nodes. Its `Display` is `host:port`, an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerAddress {
    /// The host.
    pub host: PeerHost,
    /// The port.
    pub port: u16,
}

/// The host of a [`PeerAddress`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PeerHost {
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// A name ending in `.onion`, in lower case: reached by Tor alone.
    Onion(String),
    /// Any other name; only the owner gives such.
    Name(String),
}

/// An address that a node told, with what it knows of who listens there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPeer {
    /// The address.
    pub address: PeerAddress,
    /// The services of the node there, as that node or another told them.
    pub services: u64,
    /// When it was last heard of, Unix seconds.
    pub seen: u64,
}

/// A node outside the house that the owner names. Its `Display` is what can be written for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPeer {
    /// The host.
    pub host: PeerHost,
    /// Without one, the usual port of the chain, which only the own nodes tell.
    pub port: Option<u16>,
}

/// The address of a node's P2P port, as `p2p_addr` says it. Its `Display` is the text for the file
/// and for the page's form; that of [`P2pAddress::Default`] is empty, as nothing is written then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum P2pAddress {
    /// Nothing is written: the host of `rpc_url`, and the port of the node's chain.
    #[default]
    Default,
    /// The port is not used.
    Off,
    /// Another host or port.
    At {
        /// A name, an IPv4 address, or an IPv6 address without brackets.
        host: String,
        /// Without one, that of the node's chain.
        port: Option<u16>,
    },
}

/// What is done with nodes of strangers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outside {
    /// Nothing: none is ever connected to.
    Off,
    /// A solved block is offered to them where no own node confirms it.
    #[default]
    Block,
    /// The same, and some connections to them are open all the time.
    Watch,
}

/// A part of the internet that one party may well hold as a whole: what Bitcoin Core takes for a group
/// too (`NetGroupManager::GetGroup` of its `src/netgroup.cpp`, without a map of providers).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Network {
    /// The first 16 bits of an IPv4 address.
    V4([u8; 2]),
    /// The first 32 bits of an IPv6 address.
    V6([u8; 4]),
    /// The first 4 bits of an onion address.
    Onion(u8),
    /// A name.
    Name(String),
}

impl P2pAddress {
    /// Host and port to connect to, for a node whose RPC is at `rpc_host`; `None` if the owner
    /// does not want it.
    pub fn place(&self, rpc_host: &str, chain: Chain) -> Option<(String, u16)> {
        match self {
            P2pAddress::Default => Some((rpc_host.to_owned(), chain.p2p_port())),
            P2pAddress::Off => None,
            P2pAddress::At { host, port } => Some((host.clone(), port.unwrap_or(chain.p2p_port()))),
        }
    }
}

impl fmt::Display for P2pAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            P2pAddress::Default => Ok(()),
            P2pAddress::Off => f.write_str("off"),
            P2pAddress::At { host, port: None } => f.write_str(&bracketed(host)),
            P2pAddress::At { host, port: Some(port) } => write!(f, "{}:{port}", bracketed(host)),
        }
    }
}

/// As it stands before a port.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl PeerAddress {
    /// An IP address with its port. An IPv4 address that is written as IPv6 counts as what it is.
    pub fn ip(ip: IpAddr, port: u16) -> PeerAddress {
        PeerAddress { host: PeerHost::Ip(ip.to_canonical()), port }
    }

    /// The network that it belongs to.
    pub fn network(&self) -> Network {
        match &self.host {
            PeerHost::Ip(IpAddr::V4(ip)) => {
                let [a, b, ..] = ip.octets();
                Network::V4([a, b])
            }
            PeerHost::Ip(IpAddr::V6(ip)) => {
                let [a, b, c, d, ..] = ip.octets();
                Network::V6([a, b, c, d])
            }
            // Base 32 has five bits a letter.
            PeerHost::Onion(name) => Network::Onion(match name.as_bytes().first() {
                Some(letter @ b'a'..=b'z') => (letter - b'a') >> 1,
                Some(digit @ b'2'..=b'7') => (digit - b'2' + 26) >> 1,
                _ => 0,
            }),
            PeerHost::Name(name) => Network::Name(name.clone()),
        }
    }

    /// Whether a node of the public network can be there: no private address, and none that is kept for
    /// something else. A name is never taken for one.
    pub fn is_public(&self) -> bool {
        self.port != 0
            && match &self.host {
                PeerHost::Ip(IpAddr::V4(ip)) => is_public_v4(*ip),
                PeerHost::Ip(IpAddr::V6(ip)) => is_public_v6(*ip),
                onion @ PeerHost::Onion(_) => onion.is_onion(),
                PeerHost::Name(_) => false,
            }
    }
}

/// Whether an address belongs to a private network: RFC 1918, link-local, unique local (RFC 4193), and
/// 100.64.0.0/10, which providers use behind their NAT (RFC 6598) and VPNs such as Tailscale give to
/// their members. Not loopback.
pub fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_link_local() || (a == 100 && (64..=127).contains(&b))
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// See IANA's registry of special-purpose IPv4 addresses (RFC 6890).
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_special = match (a, b, c) {
        // This network, private, loopback, link-local, multicast and what is kept for later.
        (0 | 10 | 127, ..) | (169, 254, _) | (172, 16..=31, _) | (192, 168, _) | (224.., ..) => {
            true
        }
        // Behind a provider's NAT, protocol assignments, documentation, old 6to4, benchmarks.
        (100, 64..=127, _) | (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) => true,
        (192, 88, 99) | (198, 18..=19, _) => true,
        _ => false,
    };
    !is_special
}

/// Global unicast (2000::/3) without what is kept for documentation or is no place of its own: 6to4 and
/// Teredo lead to an IPv4 address, ORCHID is not routed (RFC 6890).
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    let is_special =
        matches!((a, b), (0x2001, 0 | 0x10..=0x2f | 0xdb8) | (0x2002, _) | (0x3fff, 0..=0xfff));
    (0x2000..=0x3fff).contains(&a) && !is_special
}

impl NamedPeer {
    /// The address; `usual` is the P2P port of the chain ([`crate::chain::Chain::p2p_port`]).
    pub fn address(&self, usual: u16) -> PeerAddress {
        PeerAddress { host: self.host.clone(), port: self.port.unwrap_or(usual) }
    }
}

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> PeerAddress {
        PeerAddress::ip(address.ip(), address.port())
    }
}

impl PeerHost {
    /// Whether it is the whole name of an onion service of version 3, the only one that Tor still
    /// knows: 32 bytes of key, a checksum of 2 and the version in base 32 (`rend-spec-v3.txt`). The
    /// checksum is not verified.
    pub fn is_onion(&self) -> bool {
        let PeerHost::Onion(name) = self else { return false };
        name.strip_suffix(".onion").is_some_and(|name| {
            name.len() == 56 && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
        })
    }

    /// Reads an IP address (without brackets) or a name.
    pub fn read(host: &str) -> PeerHost {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return PeerHost::Ip(ip.to_canonical());
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        if name.ends_with(".onion") { PeerHost::Onion(name) } else { PeerHost::Name(name) }
    }
}

impl fmt::Display for PeerHost {
    /// An IPv6 address stands without brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerHost::Ip(ip) => ip.fmt(f),
            PeerHost::Onion(name) | PeerHost::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for NamedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (host, Some(port)) => PeerAddress { host: host.clone(), port }.fmt(f),
            (PeerHost::Ip(IpAddr::V6(ip)), None) => write!(f, "[{ip}]"),
            (host, None) => host.fmt(f),
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            PeerHost::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str) -> PeerAddress {
        PeerAddress { host: PeerHost::read(host), port: 8333 }
    }

    #[test]
    fn networks_are_those_of_bitcoin_core() {
        assert_eq!(address("77.1.2.3").network(), Network::V4([77, 1]));
        assert_eq!(address("::ffff:77.1.2.3").network(), Network::V4([77, 1]));
        assert_eq!(address("2a01:4f8:1::2").network(), Network::V6([0x2a, 1, 4, 0xf8]));
        let onion = |first: char| address(&format!("{first}{}.onion", "a".repeat(55))).network();
        assert_eq!(onion('a'), Network::Onion(0));
        assert_eq!(onion('B'), Network::Onion(0));
        assert_eq!(onion('c'), Network::Onion(1));
        assert_eq!(onion('z'), Network::Onion(12));
        assert_eq!(onion('7'), Network::Onion(15));
        assert_eq!(address("Node.example").network(), Network::Name("node.example".into()));
    }

    #[test]
    fn only_what_the_internet_routes_is_public() {
        for public in ["77.1.2.3", "100.63.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.1"] {
            assert!(address(public).is_public(), "{public}");
        }
        for special in [
            "0.0.0.0",
            "10.1.1.1",
            "127.0.0.1",
            "100.64.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "192.168.1.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fd00::1",
            "fe80::1",
            "fc00::1",
            "2001:db8::1",
            "2001:0:1::1",
            "2002:4d01::1",
            "2001:20::1",
            "ff02::1",
            "64:ff9b::1",
            "node.example",
            "short.onion",
        ] {
            assert!(!address(special).is_public(), "{special}");
        }
        assert!(address("2a01:4f8::1").is_public());
        assert!(address(&format!("{}.onion", "a".repeat(56))).is_public());
        assert!(!PeerAddress { port: 0, ..address("77.1.2.3") }.is_public());
    }

    #[test]
    fn the_text_has_brackets_where_it_needs_them() {
        assert_eq!(address("77.1.2.3").to_string(), "77.1.2.3:8333");
        assert_eq!(address("2A01::1").to_string(), "[2a01::1]:8333");
        assert_eq!(address("Node.example.").to_string(), "node.example:8333");
        assert_eq!(PeerAddress::from(SocketAddr::from(([1, 2, 3, 4], 5))).to_string(), "1.2.3.4:5");
        let named = |host: &str, port| NamedPeer { host: PeerHost::read(host), port };
        assert_eq!(named("2a01::1", None).to_string(), "[2a01::1]");
        assert_eq!(named("2a01::1", Some(1)).to_string(), "[2a01::1]:1");
        assert_eq!(named("node.example", None).to_string(), "node.example");
    }

    #[test]
    fn a_named_peer_without_a_port_is_at_the_chains() {
        let named = |port| NamedPeer { host: PeerHost::read("node.example"), port };
        assert_eq!(named(None).address(18333).to_string(), "node.example:18333");
        assert_eq!(named(Some(7)).address(18333).to_string(), "node.example:7");
    }
}
