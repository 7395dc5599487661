//! Addresses of nodes: the RPC's URL and the ZMQ endpoint.

use std::net::{IpAddr, Ipv6Addr};

use super::{RPC_PORT, Secret};

/// An RPC URL in its parts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RpcUrl {
    /// `http://host:port/path` without credentials.
    pub url: String,
    /// Without brackets.
    pub host: String,
    pub port: u16,
    /// User and password of `http://user:password@…`, percent-decoded.
    pub credentials: Option<(String, Secret)>,
}

/// What is wrong, and what to write instead. Never repeats credentials.
pub(super) type Wrong = (String, String);

/// Reads `http://[user:password@]host[:port][/path]`.
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
    match scheme.as_str() {
        "http" => {}
        "https" => {
            return wrong(
                "nodes speak plain http, not https",
                &format!("Write {}, over your own network or a tunnel.", corrected(place)),
            );
        }
        "tcp" => {
            return wrong(
                "tcp:// is the form of zmq_hashblock_addr",
                "Write the node's RPC here: http:// with its address and port, mostly 8332.",
            );
        }
        _ => return wrong("it does not begin with http://", "Write http://192.168.1.10:8332."),
    }
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
    let (host, port) = host_and_port(authority)?;
    let port = port.unwrap_or(RPC_PORT);
    let credentials = match userinfo {
        Some(userinfo) => Some(credentials(userinfo)?),
        None => None,
    };
    let url = format!("http://{}:{port}{path}", bracketed(&host));
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
    match host_and_port(place)? {
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

fn host_and_port(authority: &str) -> Result<(String, Option<u16>), Wrong> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let Some((host, port)) = rest.split_once(']') else {
                return wrong("the bracket of the IPv6 address is not closed", EXAMPLE);
            };
            if host.parse::<Ipv6Addr>().is_err() {
                return wrong("what stands in brackets is not an IPv6 address", EXAMPLE);
            }
            match (port.strip_prefix(':'), port) {
                (Some(port), _) => (host, Some(port)),
                (None, "") => (host, None),
                (None, _) => return wrong("only a port can follow the bracket", EXAMPLE),
            }
        }
        None if authority.parse::<Ipv6Addr>().is_ok() => {
            return wrong("an IPv6 address needs brackets", &format!("Write [{authority}]:8332."));
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return wrong("the address of the node is missing", EXAMPLE);
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if !host.chars().all(allowed) || host.len() > 253 {
        return wrong("this is not the name or the address of a machine", EXAMPLE);
    }
    if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
        return wrong(
            &format!("{host} means every address of the node itself, not where it can be found"),
            "Write the node's own address, or 127.0.0.1 if it runs on this machine.",
        );
    }
    let port = match port.map(str::parse::<u16>) {
        None => None,
        Some(Ok(port)) if port > 0 => Some(port),
        Some(_) => return wrong("the port is not a number from 1 to 65535", EXAMPLE),
    };
    Ok((host.to_ascii_lowercase(), port))
}

const EXAMPLE: &str = "Write it like 192.168.1.10:8332, node.local:8332 or [fd00::10]:8332.";

fn credentials(userinfo: &str) -> Result<(String, Secret), Wrong> {
    const INSTEAD: &str =
        "Write http://user:password@host:8332, or the two in rpc_user and rpc_pass.";
    let Some((user, password)) = userinfo.split_once(':') else {
        return wrong("it names a user but no password", INSTEAD);
    };
    match (decode(user), decode(password)) {
        (Some(user), Some(password)) if !user.is_empty() && !password.is_empty() => {
            Ok((user, Secret::new(password)))
        }
        _ => wrong("its user or its password is empty or not UTF-8", INSTEAD),
    }
}

/// Percent-decoding (RFC 3986). A '%' without two hex digits stands for itself.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits =
            tail.first_chunk::<2>().filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        match (first, digits.and_then(|digits| std::str::from_utf8(digits).ok())) {
            (b'%', Some(digits)) => {
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// What to write instead of `place`: the place itself if it surely is one, else an example. A text
/// that is no IP address may be a password that strayed here, and is not repeated.
fn corrected(place: &str) -> String {
    let authority = place.split('/').next().unwrap_or_default();
    let port = |port: Option<u16>| port.unwrap_or(RPC_PORT);
    match host_and_port(authority) {
        Ok((host, own)) if host.parse::<IpAddr>().is_ok() => {
            format!("http://{}:{}", bracketed(&host), port(own))
        }
        _ => "http://192.168.1.10:8332".to_owned(),
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn wrong<T>(what: &str, instead: &str) -> Result<T, Wrong> {
    Err((what.to_owned(), instead.to_owned()))
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
        assert_eq!(zmq("ipc:///run/node"), Ok(Some("ipc:///run/node".to_owned())));
        for bad in [
            "28332",
            "tcp://10.0.0.1",
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
            "https://user:geheim@10.0.0.1",
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
