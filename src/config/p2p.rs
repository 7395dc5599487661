//! Where P2P ports are: those of the own nodes, those of strangers, and the proxy on the way to them; and
//! other places that are written in the same way.

use super::STRATUM_PORT;
use super::problem::{Wrong, wrong};
use super::url::host_and_port;
use crate::mqtt::Broker;
use crate::peer_address::{NamedPeer, P2pAddress, PeerAddress, PeerHost};

/// The port of the examples: that of the main chain.
const PORT: u16 = 8333;
/// Where Tor's own SOCKS5 proxy listens unless its owner says otherwise.
const SOCKS_PORT: u16 = 9050;

/// Reads where an own node listens to other nodes: `host`, `host:port`, or `off` (also an empty text).
pub(super) fn own(text: &str) -> Result<P2pAddress, Wrong> {
    const EXAMPLE: &str = "Write the node's address and the port on which it listens to other \
                           nodes, such as 192.168.1.10:8333, or \"off\" to do without.";
    let text = text.trim();
    if text.is_empty() || text.eq_ignore_ascii_case("off") {
        return Ok(P2pAddress::Off);
    }
    let (host, port) = place(text, "a P2P port", PORT, EXAMPLE)?;
    if host.trim_end_matches('.').ends_with(".onion") {
        return wrong(
            "your own nodes are not reached over Tor yet",
            "Write the node's address in your network, such as 192.168.1.10:8333, or \"off\" \
             to do without.",
        );
    }
    Ok(P2pAddress::At { host, port })
}

/// Reads a node outside the house: `host` or `host:port`.
pub(super) fn peer(text: &str) -> Result<NamedPeer, Wrong> {
    const EXAMPLE: &str = "Write the address of a node and the port on which it listens to other \
                           nodes, such as node.example.org:8333.";
    let (host, port) = place(text.trim(), "a P2P port", PORT, EXAMPLE)?;
    let host = PeerHost::read(&host);
    match &host {
        PeerHost::Onion(_) if !host.is_onion() => wrong(
            "this is not the whole address of an onion service",
            "Write it with the 56 letters and digits that stand before .onion.",
        ),
        PeerHost::Name(name) if name.is_empty() => wrong("the address is missing", EXAMPLE),
        PeerHost::Name(name) if name.ends_with(".i2p") => wrong(
            "nodes in I2P cannot be reached",
            "Name one that has a host name, an IP address or an onion address.",
        ),
        PeerHost::Ip(_) | PeerHost::Onion(_) | PeerHost::Name(_) => Ok(NamedPeer { host, port }),
    }
}

/// Reads where a SOCKS5 proxy listens: `host` or `host:port`; `off` or an empty text is none.
pub(super) fn proxy(text: &str) -> Result<Option<PeerAddress>, Wrong> {
    const EXAMPLE: &str = "Write the address and the port of the SOCKS5 proxy alone, such as \
                           127.0.0.1:9050 for Tor on this machine, or \"\" to do without.";
    let text = text.trim();
    if text.is_empty() || text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    near(text, "a proxy", SOCKS_PORT, EXAMPLE, "the proxy is what leads into Tor").map(Some)
}

/// Reads where miners reach this program: `host` or `host:port`; an empty text is where it listens.
pub(super) fn reached(text: &str) -> Result<Option<PeerAddress>, Wrong> {
    const EXAMPLE: &str = "Write the address and the port that a miner uses, such as \
                           192.168.1.20:3333, or \"\" for the machine's own addresses.";
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    near(text, "this machine", STRATUM_PORT, EXAMPLE, "miners do not reach an onion service")
        .map(Some)
}

/// A place that is reached without Tor; `onion` says why it must be.
fn near(
    text: &str,
    what: &str,
    usual: u16,
    example: &str,
    onion: &str,
) -> Result<PeerAddress, Wrong> {
    let (host, port) = place(text, what, usual, example)?;
    match PeerHost::read(&host) {
        PeerHost::Onion(_) => wrong(onion, example),
        PeerHost::Name(name) if name.is_empty() => wrong("the address is missing", example),
        host => Ok(PeerAddress { host, port: port.unwrap_or(usual) }),
    }
}

pub(super) fn broker(text: &str) -> Result<Broker, Wrong> {
    const EXAMPLE: &str = "Write the broker's address alone, such as homeassistant.local or \
                           192.168.1.20:1883.";
    let (host, port) = place(text, "a broker", Broker::PORT, EXAMPLE)?;
    match host.is_empty() {
        true => wrong("the address is missing", EXAMPLE),
        false => Ok(Broker { host, port }),
    }
}

/// Host and port of `text`, in which nothing else may stand. The problem calls the place by `what`,
/// and says `example` or shows the port `usual` in examples of its own.
fn place(
    text: &str,
    what: &str,
    usual: u16,
    example: &str,
) -> Result<(String, Option<u16>), Wrong> {
    if text.contains("://") {
        return wrong(&format!("nothing stands before the address of {what}"), example);
    }
    if text.starts_with('*') {
        return wrong("'*' is what a program listens on, not where it can be found", example);
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || "@/?#".contains(c)) {
        return wrong("this is not an address with or without a port", example);
    }
    let (host, port) = host_and_port(text, usual)?;
    if host.parse::<u16>().is_ok() {
        return wrong("this is a port without an address", example);
    }
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Chain;

    fn at(host: &str, port: Option<u16>) -> Result<P2pAddress, Wrong> {
        Ok(P2pAddress::At { host: host.to_owned(), port })
    }

    #[test]
    fn addresses_in_every_form() {
        assert_eq!(own("10.0.0.1:18444"), at("10.0.0.1", Some(18444)));
        assert_eq!(own(" Node.local "), at("node.local", None));
        assert_eq!(own("[FD00:0::10]:8333"), at("fd00::10", Some(8333)));
        assert_eq!(own("[fd00::10]"), at("fd00::10", None));
        for off in ["", " ", "off", "Off"] {
            assert_eq!(own(off), Ok(P2pAddress::Off));
        }
    }

    #[test]
    fn what_is_no_address_is_told_what_to_write() {
        for (bad, word) in [
            ("tcp://10.0.0.1:8333", "nothing stands before"),
            ("http://a:geheim@10.0.0.1", "nothing stands before"),
            ("*:8333", "listens on"),
            ("0.0.0.0:8333", "every address"),
            ("10.0.0.1:0", "not a number from 1"),
            ("10.0.0.1:99999", "not a number from 1"),
            ("10.0.0.1:", "not a number from 1"),
            ("fd00::1", "needs brackets"),
            ("fd00::1:8333", "needs brackets"),
            ("[fe80::1]:8333", "begins with fe80"),
            ("[fd00::1", "not closed"),
            ("8333", "without an address"),
            (":8333", "missing"),
            ("a b", "with or without a port"),
            ("10.0.0.1/24", "with or without a port"),
            ("geheim@10.0.0.1", "with or without a port"),
            ("abcdefghijklmnop.onion:8333", "Tor"),
            ("ABC.ONION.", "Tor"),
        ] {
            let (what, instead) = own(bad).unwrap_err();
            assert!(what.contains(word), "{bad}: {what}");
            assert!(instead.ends_with('.') && !instead.contains("8332"), "{bad}: {instead}");
            assert!(!format!("{what}{instead}").contains("geheim"), "{bad}: {what}. {instead}");
        }
    }

    #[test]
    fn nodes_of_strangers_in_every_form() {
        let onion = format!("{}.onion", "A2".repeat(28));
        for (written, read) in [
            ("77.1.2.3:8333", "77.1.2.3:8333"),
            (" Node.Example. ", "node.example"),
            ("[2A01:0::1]:1", "[2a01::1]:1"),
            ("[2a01::1]", "[2a01::1]"),
            ("[::ffff:77.1.2.3]:1", "77.1.2.3:1"),
            (&format!("{onion}:8333"), &format!("{}:8333", onion.to_lowercase())),
        ] {
            let peer = peer(written).unwrap();
            assert_eq!(peer.to_string(), read);
            assert_eq!(super::peer(read), Ok(peer));
        }
        for (bad, word) in [
            ("", "missing"),
            (" ", "missing"),
            ("..", "missing"),
            (":8333", "missing"),
            ("tcp://a:geheim@77.1.2.3:8333", "nothing stands before"),
            ("*:8333", "listens on"),
            ("0.0.0.0:8333", "every address"),
            ("77.1.2.3:0", "not a number from 1"),
            ("77.1.2.3:", "not a number from 1"),
            ("2a01::1:8333", "needs brackets"),
            ("8333", "without an address"),
            ("geheim@77.1.2.3", "with or without a port"),
            ("77.1.2.3/16", "with or without a port"),
            ("abcdefghijklmnop.onion:8333", "whole address"),
            (&format!("{}1.onion", "a".repeat(55)), "whole address"),
            ("abc.b32.i2p:0", "not a number from 1"),
            ("abc.b32.i2p", "I2P"),
        ] {
            let (what, instead) = peer(bad).unwrap_err();
            assert!(what.contains(word), "{bad}: {what}");
            assert!(instead.ends_with('.'), "{bad}: {instead}");
            assert!(!format!("{what}{instead}").contains("geheim"), "{bad}: {what}. {instead}");
        }
    }

    #[test]
    fn a_proxy_has_the_port_of_tor_unless_another_is_written() {
        let read = |text: &str| proxy(text).unwrap().map(|proxy| proxy.to_string());
        assert_eq!(read(" 127.0.0.1 ").as_deref(), Some("127.0.0.1:9050"));
        assert_eq!(read("[::1]:9150").as_deref(), Some("[::1]:9150"));
        assert_eq!(read("Tor.local:9050").as_deref(), Some("tor.local:9050"));
        for none in ["", " ", "off", "OFF"] {
            assert_eq!(read(none), None);
        }
        for (bad, word) in [
            ("socks5://127.0.0.1:9050", "nothing stands before the address of a proxy"),
            ("socks5h://a:geheim@127.0.0.1:9050", "nothing stands before"),
            ("a:geheim@127.0.0.1:9050", "with or without a port"),
            ("unix:/run/tor/socks", "with or without a port"),
            ("9050", "without an address"),
            (".", "missing"),
            ("0.0.0.0:9050", "every address"),
            ("127.0.0.1:0", "not a number from 1"),
            ("abc.onion:9050", "leads into Tor"),
        ] {
            let (what, instead) = proxy(bad).unwrap_err();
            assert!(what.contains(word), "{bad}: {what}");
            assert!(instead.ends_with('.') && !instead.contains("8333"), "{bad}: {instead}");
            assert!(!format!("{what}{instead}").contains("geheim"), "{bad}: {what}. {instead}");
        }
    }

    #[test]
    fn the_text_reads_as_what_it_was() {
        for text in ["off", "10.0.0.1", "10.0.0.1:1", "[fd00::10]", "[fd00::10]:8333", "a.b:9"] {
            let read = own(text).unwrap();
            assert_eq!(read.to_string(), text);
        }
        assert_eq!(P2pAddress::Default.to_string(), "");
    }

    #[test]
    fn what_is_not_written_is_the_rpcs_host_and_the_chains_port() {
        let place = |address: &P2pAddress, chain| address.place("node.local", chain);
        let of = |host: &str, port| Some((host.to_owned(), port));
        for (chain, port) in [
            (Chain::Main, 8333),
            (Chain::Testnet3, 18333),
            (Chain::Testnet4, 48333),
            (Chain::Signet, 38333),
            (Chain::Regtest, 18444),
        ] {
            assert_eq!(place(&P2pAddress::Default, chain), of("node.local", port));
            assert_eq!(place(&at("fd00::1", None).unwrap(), chain), of("fd00::1", port));
            assert_eq!(place(&at("b", Some(5)).unwrap(), chain), of("b", 5));
            assert_eq!(place(&P2pAddress::Off, chain), None);
        }
    }
}
