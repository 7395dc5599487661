//! `getnodeaddresses` → addresses of other nodes that a node knows.

use serde_json::Value;

use crate::node::{MAX_ADDRESSES, RpcError};
use crate::peer_address::{ListedPeer, PeerAddress, PeerHost};

/// Reads the `result` of `getnodeaddresses`: the first [`MAX_ADDRESSES`] that a node of the public
/// internet or of Tor can have, in the node's order, which is a random one. Entries of other networks
/// (I2P, CJDNS), private addresses and entries that make no sense are left out.
///
/// Bitcoin Core names the network of an entry since 22.0 (`getnodeaddresses` of its `src/rpc/net.cpp`,
/// `GetNetworkName` of `src/netbase.cpp`). Where it is not named, the address tells.
///
/// # Errors
/// [`RpcError::Malformed`] where it is no list.
pub(super) fn read(json: &str) -> Result<Vec<ListedPeer>, RpcError> {
    let entries: Vec<Value> = super::client::read_json(json)?;
    Ok(entries.iter().filter_map(listed).take(MAX_ADDRESSES).collect())
}

fn listed(entry: &Value) -> Option<ListedPeer> {
    let number = |key| entry.get(key).and_then(Value::as_u64);
    let host = PeerHost::read(entry.get("address")?.as_str()?);
    let named = match entry.get("network") {
        Some(network) => Some(network.as_str()?),
        None => None,
    };
    let fits = match (&host, named) {
        (_, None) => true,
        (PeerHost::Ip(ip), Some(network)) => network == if ip.is_ipv4() { "ipv4" } else { "ipv6" },
        (PeerHost::Onion(_), Some(network)) => network == "onion",
        (PeerHost::Name(_), Some(_)) => false,
    };
    let address = PeerAddress { host, port: u16::try_from(number("port")?).ok()? };
    (fits && address.is_public()).then_some(ListedPeer {
        address,
        services: number("services")?,
        seen: number("time")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONION: &str = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion";

    fn entry(address: &str, network: &str) -> String {
        format!(
            r#"{{"time":1700000000,"services":3081,"address":"{address}","port":8333,"network":"{network}"}}"#
        )
    }

    fn addresses(entries: &[String]) -> Vec<String> {
        let list = read(&format!("[{}]", entries.join(","))).unwrap();
        list.iter().map(|peer| peer.address.to_string()).collect()
    }

    #[test]
    fn addresses_of_the_internet_and_of_tor_are_read() {
        let list =
            read(&format!("[{}, {}]", entry("77.1.2.3", "ipv4"), entry(ONION, "onion"))).unwrap();
        let address = PeerAddress { host: PeerHost::read("77.1.2.3"), port: 8333 };
        assert_eq!(list[0], ListedPeer { address, services: 3081, seen: 1_700_000_000 });
        assert_eq!(list[1].address.to_string(), format!("{ONION}:8333"));
        assert_eq!(addresses(&[entry("2A01:0::1", "ipv6")]), ["[2a01::1]:8333"]);
        assert_eq!(addresses(&[]), [""; 0]);
    }

    #[test]
    fn a_node_that_names_no_network_is_read_by_the_address() {
        let without = |address: &str| {
            format!(r#"{{"time":1,"services":9,"address":"{address}","port":8333}}"#)
        };
        let i2p = format!("{}.b32.i2p", "a".repeat(52));
        let told = ["77.1.2.3", "2a01::1", ONION, &i2p, "fc00::1", "expyuzz4wqqyqhjn.onion"];
        let read = ["77.1.2.3:8333", "[2a01::1]:8333", &format!("{ONION}:8333")];
        assert_eq!(addresses(&told.map(without)), read);
    }

    #[test]
    fn one_bad_entry_does_not_spoil_the_list() {
        let i2p = format!("{}.b32.i2p", "a".repeat(52));
        let good = entry("77.1.2.3", "ipv4");
        let mut entries = vec![
            "7".to_owned(),
            "null".to_owned(),
            "[]".to_owned(),
            "{}".to_owned(),
            entry(&i2p, "i2p"),
            entry("fc00::1", "cjdns"),
            // What a node may say to lead us into the house.
            entry("192.168.1.1", "not_publicly_routable"),
            entry("192.168.1.1", "ipv4"),
            entry("127.0.0.1", "ipv4"),
            entry("::ffff:10.0.0.1", "ipv6"),
            entry("router.lan", "ipv4"),
            entry("short.onion", "onion"),
            // Address and network do not go together.
            entry("77.1.2.3", "ipv6"),
            entry("77.1.2.3", "onion"),
            entry("77.1.2.3", ""),
            entry("2a01::1", "ipv4"),
            entry(ONION, "ipv4"),
            good.replace("\"ipv4\"", "4"),
        ];
        for (from, to) in [
            ("1700000000", "-1"),
            ("\"time\":", "\"times\":"),
            ("3081", "\"network\""),
            ("3081", "1e99"),
            ("8333", "0"),
            ("8333", "65536"),
            ("8333", "-8333"),
            ("\"77.1.2.3\"", "77"),
        ] {
            assert!(good.contains(from));
            entries.push(good.replace(from, to));
        }
        entries.push(entry("88.1.2.3", "ipv4"));
        assert_eq!(addresses(&entries), ["88.1.2.3:8333"]);
    }

    #[test]
    fn a_long_list_is_cut() {
        let entries: Vec<String> =
            (0..3000).map(|n| entry(&format!("77.1.{}.{}", n / 256, n % 256), "ipv4")).collect();
        let read = addresses(&entries);
        assert_eq!(read.len(), MAX_ADDRESSES);
        assert_eq!(read[MAX_ADDRESSES - 1], "77.1.1.243:8333");
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        for bad in ["null", "{}", "7", "\"x\"", "[1"] {
            assert!(matches!(read(bad), Err(RpcError::Malformed(_))), "{bad}");
        }
    }
}
