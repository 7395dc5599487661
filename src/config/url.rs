//! Addresses of nodes: the RPC's URL and the ZMQ endpoint.

use std::net::{IpAddr, Ipv6Addr};

use percent_encoding::percent_decode_str;

use super::problem::{Wrong, wrong};
use super::{HTTPS_PORT, RPC_PORT, Secret};

/// An RPC URL in its parts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RpcUrl {
    /// `http://host:port/path` or `https://…`, without credentials.
    pub url: String,
    /// Without brackets.
    pub host: String,
    pub port: u16,
    /// User and password of `http://user:password@…`, percent-decoded.
    pub credentials: Option<(String, Secret)>,
}

/// The port of `zmqpubhashblock` in our examples. Bitcoin Core has none of its own.
const ZMQ_PORT: u16 = 28332;

/// Reads `http://[user:password@]host[:port][/path]`, or the same with `https`.
pub(super) fn rpc_url(text: &str) -> Result<RpcUrl, Wrong> {
    let text = text.trim();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None if text.is_empty() => {
            return wrong(
                "it is empty",
                "Write where the node's RPC answers: http://192.168.1.10:8332.",
            );
        }
        None => {
            let place = text.rsplit_once('@').map_or(text, |(_, place)| place);
            let instead = format!("Write {}.", corrected(place));
            return wrong("it does not begin with http://", &instead);
        }
    };
    // A password may hold any character, also '/' and '@' if its owner forgot to encode them.
    let (userinfo, place) = match rest.rsplit_once('@') {
        Some((userinfo, place)) => (Some(userinfo), place),
        None => (None, rest),
    };
    let default_port = match scheme.as_str() {
        "http" => RPC_PORT,
        "https" => HTTPS_PORT,
        "tcp" => {
            return wrong(
                "tcp:// is the form of zmq_hashblock_addr",
                "Write the node's RPC here: http:// with its address and port, mostly 8332.",
            );
        }
        _ => return wrong("it does not begin with http://", "Write http://192.168.1.10:8332."),
    };
    if place.contains(|c: char| c.is_whitespace() || c.is_control() || c == '?' || c == '#') {
        return wrong(
            "it holds a character that no address of a node has",
            "Write http://192.168.1.10:8332, with your node's address.",
        );
    }
    let (authority, path) = match place.find('/') {
        Some(slash) => place.split_at(slash),
        None => (place, "/"),
    };
    let (host, port) = host_and_port(authority, RPC_PORT)?;
    let port = port.unwrap_or(default_port);
    let credentials = match userinfo {
        Some(userinfo) => Some(credentials(userinfo)?),
        None => None,
    };
    let url = format!("{scheme}://{}:{port}{path}", bracketed(&host));
    Ok(RpcUrl { url, host, port, credentials })
}

/// Reads `tcp://host:port` or `ipc://path`; an empty text means that the node has no ZMQ.
pub(super) fn zmq(text: &str) -> Result<Option<String>, Wrong> {
    const EXAMPLE: &str = "Write the address of the node and the port of its zmqpubhashblock, such \
                           as tcp://192.168.1.10:28332, or \"\" for a node without ZMQ.";
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if text.strip_prefix("ipc://").is_some_and(|path| !path.is_empty()) {
        return Ok(Some(text.to_owned()));
    }
    let Some(place) = text.strip_prefix("tcp://") else {
        return wrong("it does not begin with tcp://", EXAMPLE);
    };
    if place.starts_with('*') {
        return wrong("'*' is what the node listens on, not where it can be found", EXAMPLE);
    }
    if place.contains(|c: char| c.is_whitespace() || c.is_control() || c == '@' || c == '/') {
        return wrong("only an address and a port can follow tcp://", EXAMPLE);
    }
    match host_and_port(place, ZMQ_PORT)? {
        (host, Some(port)) => Ok(Some(format!("tcp://{}:{port}", bracketed(&host)))),
        (_, None) => wrong("the port is missing", EXAMPLE),
    }
}

/// The text without what stands before the last '@', for showing.
pub(super) fn without_credentials(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://***@{place}"),
        (None, Some((_, place))) => format!("***@{place}"),
        (_, None) => url.to_owned(),
    }
}

/// The host without brackets, an IPv6 address in its shortest form. `example` is the port that the
/// remedies show.
pub(super) fn host_and_port(authority: &str, example: u16) -> Result<(String, Option<u16>), Wrong> {
    let instead = format!(
        "Write it like 192.168.1.10:{example}, node.local:{example} or [fd00::10]:{example}."
    );
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let Some((host, port)) = rest.split_once(']') else {
                return wrong("the bracket of the IPv6 address is not closed", &instead);
            };
            let host = ipv6(host, &instead)?;
            match (port.strip_prefix(':'), port) {
                (Some(port), _) => (host, Some(port)),
                (None, "") => (host, None),
                (None, _) => return wrong("only a port can follow the bracket", &instead),
            }
        }
        // Whether its last part is a port cannot be told.
        None if is_ipv6(authority) => {
            let instead = format!(
                "Write the address in brackets and the port behind them: [fd00::10]:{example}."
            );
            return wrong("an IPv6 address needs brackets", &instead);
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host.to_ascii_lowercase(), Some(port)),
            None => (authority.to_ascii_lowercase(), None),
        },
    };
    if host.is_empty() {
        return wrong("the address is missing", &instead);
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if !host.chars().all(allowed) || host.len() > 253 {
        return wrong("this is not the name or the address of a machine", &instead);
    }
    if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
        return wrong(
            &format!("{host} means every address of that machine, not where it can be found"),
            "Write that machine's own address, or 127.0.0.1 if it is this one.",
        );
    }
    let port = match port.map(str::parse::<u16>) {
        None => None,
        Some(Ok(port)) if port > 0 => Some(port),
        Some(_) => return wrong("the port is not a number from 1 to 65535", &instead),
    };
    Ok((host, port))
}

/// What stands in brackets.
fn ipv6(text: &str, instead: &str) -> Result<String, Wrong> {
    let number = text.split('%').next().unwrap_or_default();
    match number.parse::<Ipv6Addr>() {
        // It would need the name of a network card, and that of this machine alone.
        Ok(ip) if ip.is_unicast_link_local() => wrong(
            "an address that begins with fe80 counts on one cable only",
            "Write that machine's other IPv6 address, which begins with fd, 2 or 3, or its IPv4 \
             address.",
        ),
        Ok(ip) if number == text => Ok(ip.to_string()),
        _ => wrong("what stands in brackets is not an IPv6 address", instead),
    }
}

/// Alone, or with a port behind it.
fn is_ipv6(text: &str) -> bool {
    let address = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    let with_port = |(host, port): (&str, &str)| address(host) && port.parse::<u16>().is_ok();
    address(text) || text.rsplit_once(':').is_some_and(with_port)
}

fn credentials(userinfo: &str) -> Result<(String, Secret), Wrong> {
    const INSTEAD: &str =
        "Write http://user:password@host:8332, or the two in rpc_user and rpc_pass.";
    let Some((user, password)) = userinfo.split_once(':') else {
        return wrong("it names a user but no password", INSTEAD);
    };
    // A '%' without two hex digits stands for itself.
    let decode = |text| percent_decode_str(text).decode_utf8();
    match (decode(user), decode(password)) {
        (Ok(user), Ok(password)) if !user.is_empty() && !password.is_empty() => {
            Ok((user.into_owned(), Secret::new(password)))
        }
        _ => wrong("its user or its password is empty or not UTF-8", INSTEAD),
    }
}

/// What to write instead of `place`: the place itself if it surely is one, else an example. A text
/// that is no IP address may be a password that strayed here, and is not repeated.
fn corrected(place: &str) -> String {
    let authority = place.split('/').next().unwrap_or_default();
    let port = |port: Option<u16>| port.unwrap_or(RPC_PORT);
    match host_and_port(authority, RPC_PORT) {
        Ok((host, own)) if host.parse::<IpAddr>().is_ok() => {
            format!("http://{}:{}", bracketed(&host), port(own))
        }
        _ => "http://192.168.1.10:8332".to_owned(),
    }
}

pub(super) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, u16) {
        let url = rpc_url(text).unwrap();
        (url.url, url.host, url.port)
    }

    #[test]
    fn urls_in_every_form() {
        let of = |url: &str, host: &str, port| (url.to_owned(), host.to_owned(), port);
        assert_eq!(parts("http://10.0.0.1:18443"), of("http://10.0.0.1:18443/", "10.0.0.1", 18443));
        assert_eq!(parts(" http://Node.local "), of("http://node.local:8332/", "node.local", 8332));
        assert_eq!(parts("HTTP://[fd00::1]:1/x"), of("http://[fd00::1]:1/x", "fd00::1", 1));
        assert_eq!(parts("http://a:b@n:1/"), of("http://n:1/", "n", 1));
        let own = of("http://[fd00::10]:8332/", "fd00::10", 8332);
        assert_eq!(parts("http://[fd00::10]:8332"), own);
        assert_eq!(parts("http://[FD00:0::0:10]"), own);
        assert_eq!(parts("http://a:b@[::1]"), of("http://[::1]:8332/", "::1", 8332));
    }

    #[test]
    fn https_is_kept_and_has_the_port_of_a_proxy() {
        let of = |url: &str, host: &str, port| (url.to_owned(), host.to_owned(), port);
        assert_eq!(
            parts("https://Node.example"),
            of("https://node.example:443/", "node.example", 443)
        );
        assert_eq!(
            parts("HTTPS://a:b@[fd00::1]/rpc"),
            of("https://[fd00::1]:443/rpc", "fd00::1", 443)
        );
        assert_eq!(parts("https://10.0.0.1:8332/"), of("https://10.0.0.1:8332/", "10.0.0.1", 8332));
    }

    #[test]
    fn ipv6_addresses_are_told_how_to_be_written() {
        for (bad, word) in [
            ("fd00::1", "needs brackets"),
            ("fd00::1:8332", "needs brackets"),
            ("fd00::1:28332", "needs brackets"),
            ("fd00:1:2:3:4:5:6:7:28332", "needs brackets"),
            ("[fe80::1]", "begins with fe80"),
            ("[fe80::1%eth0]:8332", "begins with fe80"),
            ("[fd00::1%eth0]", "not an IPv6 address"),
            ("[fd00::1", "not closed"),
            ("[fd00::1]8332", "only a port"),
            ("[10.0.0.1]:8332", "not an IPv6 address"),
            ("[::]:8332", "every address"),
            ("a:b:1", "not a number"),
        ] {
            for (said, port) in [
                (rpc_url(&format!("http://{bad}")).unwrap_err(), "8332"),
                (zmq(&format!("tcp://{bad}")).unwrap_err(), "28332"),
            ] {
                assert!(said.0.contains(word), "{bad}: {}", said.0);
                let example = said.1.contains(&format!("[fd00::10]:{port}."));
                assert!(example || word.contains("fe80") || word.contains("every"), "{}", said.1);
            }
        }
    }

    #[test]
    fn credentials_with_any_character() {
        let pair = |text: &str| {
            let (user, password) = rpc_url(text).unwrap().credentials.unwrap();
            (user, password.expose().to_owned())
        };
        let of = |user: &str, password: &str| (user.to_owned(), password.to_owned());
        assert_eq!(pair("http://anna:geheim@n"), of("anna", "geheim"));
        assert_eq!(pair("http://anna:a%40b%3A@n"), of("anna", "a@b:"));
        assert_eq!(pair("http://anna:a@b:/c@n"), of("anna", "a@b:/c"));
        assert_eq!(pair("http://anna:100%@n"), of("anna", "100%"));
        assert_eq!(pair("http://anna:%zz@n"), of("anna", "%zz"));
    }

    #[test]
    fn zmq_endpoints() {
        assert_eq!(zmq(""), Ok(None));
        assert_eq!(zmq("tcp://10.0.0.1:28332"), Ok(Some("tcp://10.0.0.1:28332".to_owned())));
        assert_eq!(zmq("tcp://[::1]:28332"), Ok(Some("tcp://[::1]:28332".to_owned())));
        assert_eq!(zmq("tcp://Node.local:28332"), Ok(Some("tcp://node.local:28332".to_owned())));
        assert_eq!(zmq("ipc:///run/node"), Ok(Some("ipc:///run/node".to_owned())));
        for bad in [
            "28332",
            "tcp://10.0.0.1",
            "tcp://[::1]",
            "tcp://*:28332",
            "tcp://0.0.0.0:28332",
            "ipc://",
            "tcp://a b:1",
            "tcp://a:0",
            "tcp://a:99999",
            "http://a:1",
            "tcp://u:p@a:1",
        ] {
            assert!(zmq(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_message_repeats_a_password() {
        for bad in [
            "user:geheim@10.0.0.1",
            "https://user:geheim@10.0.0.1:0",
            "tcp://user:geheim@a:1",
            "http://user:geheim@0.0.0.0",
            "http://user:geheim@a b",
            "http://user:geheim@a:0",
            "http://user:geheim@",
            "ftp://user:geheim@a",
            "http://:geheim@a",
            "http://user:geheim@[::1",
            "user:geheim",
            "geheim",
            "https://user:geheim",
            "http://user:geheim@a?b",
            "http://user:geheim@::1",
        ] {
            let (what, instead) = rpc_url(bad).unwrap_err();
            assert!(!format!("{what}{instead}").contains("geheim"), "{bad}: {what}. {instead}");
            assert!(instead.ends_with('.'), "{instead}");
        }
        assert_eq!(without_credentials("http://user:geheim@a:1"), "http://***@a:1");
        assert_eq!(without_credentials("user:geheim@a:1"), "***@a:1");
        assert_eq!(without_credentials("http://a:1"), "http://a:1");
    }
}
