//! Which client may ask, and for which host: pure checks of a request's head.

use std::net::{IpAddr, Ipv6Addr};

use hyper::header::{self, HeaderMap};
use hyper::{Method, Uri};

use crate::peer_address::is_private;

/// By which names the page is reached, besides those that can only mean this box, and which other pages
/// may show it. All in small letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Names that the owner wrote.
    pub hosts: Vec<String>,
    /// Domains of this network: a name directly in one of them is given by the router or the VPN.
    pub domains: Vec<String>,
    /// Origins of pages that may show ours in a frame and whose scripts may read it.
    pub embed: Vec<String>,
}

impl Reach {
    /// Whether a name, in small letters, is one of ours.
    fn covers(&self, name: &str) -> bool {
        let in_domain = |domain: &String| {
            let label = name.strip_suffix(domain.as_str()).and_then(|rest| rest.strip_suffix('.'));
            label.is_some_and(|label| !label.is_empty() && !label.contains('.'))
        };
        self.hosts.iter().any(|host| host == name) || self.domains.iter().any(in_domain)
    }

    /// The `Origin` of a request, if it is that of a page that may read ours.
    pub fn origin<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let origin = headers.get(header::ORIGIN)?.to_str().ok()?;
        self.embed.iter().any(|page| page.eq_ignore_ascii_case(origin)).then_some(origin)
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// From a public address: 403.
    ForeignAddress,
    /// Too many requests from this address: 429.
    TooMany,
    /// No Host header, or more than one: 400.
    NoHost,
    /// A Host header that is not ours: 421. This is what DNS rebinding looks like.
    ForeignHost,
    /// A page of another site asks us to change something: 403.
    ForeignOrigin,
    /// Neither GET nor HEAD: 405.
    Method,
    /// A body, or one that is too large: 413.
    Body,
}

/// Checks a request's head. `takes`: the longest body of a POST to its path, if that has a form.
///
/// # Errors
/// See [`Refused`].
pub fn check_head(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    takes: Option<u64>,
    reach: &Reach,
) -> Result<(), Refused> {
    let mut given = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (given.next(), given.next()) else {
        return Err(Refused::NoHost);
    };
    let Ok(host) = host.to_str() else {
        return Err(Refused::ForeignHost);
    };
    let is_ours = |host: &str| host_is_ours(host, reach);
    if !is_ours(host) || uri.authority().is_some_and(|a| !is_ours(a.as_str())) {
        return Err(Refused::ForeignHost);
    }
    let length = headers.get(header::CONTENT_LENGTH).map(|v| v.to_str().ok()?.parse::<u64>().ok());
    let posts = takes.filter(|_| method == Method::POST);
    match length {
        Some(Some(length)) if length <= posts.unwrap_or(super::BODY_MAX) => {}
        Some(_) => return Err(Refused::Body),
        None => {}
    }
    if posts.is_some() {
        return if origin_is_ours(headers) { Ok(()) } else { Err(Refused::ForeignOrigin) };
    }
    if method != Method::GET && method != Method::HEAD {
        return Err(Refused::Method);
    }
    // A GET has no business with a body of unknown length.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Refused::Body);
    }
    Ok(())
}

/// Whether the `Origin` header, where there is one, names the very host that is asked: another
/// device of the same network is another site. Every browser sends it with a POST.
pub fn origin_is_ours(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        // Not a browser; or one that says by other means where it comes from.
        return headers
            .get("sec-fetch-site")
            .is_none_or(|site| site == "same-origin" || site == "none");
    };
    let (Ok(origin), Some(Ok(host))) =
        (origin.to_str(), headers.get(header::HOST).map(|host| host.to_str()))
    else {
        return false;
    };
    origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"))
        .is_some_and(|origin| origin.eq_ignore_ascii_case(host))
}

/// Whether a Host header (`name`, `name:port`, `[::1]:port`) can only mean this box.
///
/// A page of the Internet can let its own name point at our address (DNS rebinding); the browser
/// then sends that name. It cannot make the browser send an IP literal, a name without a dot, or a
/// name under a top-level domain that the public DNS never serves (RFC 6761, RFC 6762, RFC 8375,
/// ICANN's `internal`; `lan` is what most home routers use). Other names are ours only by `reach`.
pub fn host_is_ours(host: &str, reach: &Reach) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else {
                return false;
            };
            return address.parse::<Ipv6Addr>().is_ok() && port_is_fine(port);
        }
        None => match host.split_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => name,
            Some(_) => return false,
            None => host,
        },
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'.' || c == b'_';
    if name.is_empty() || !name.bytes().all(plain) {
        return false;
    }
    if name.parse::<IpAddr>().is_ok() {
        return true;
    }
    match name.rsplit_once('.') {
        None => true,
        Some((_, top)) => {
            matches!(top, "local" | "localhost" | "lan" | "internal")
                || name.ends_with(".home.arpa")
                || reach.covers(&name)
        }
    }
}

/// Whether a reader's address belongs to the owner's network: loopback, private (see [`is_private`]), or
/// in the same /64 as the address of ours that it reached (home networks give their devices global
/// IPv6 addresses).
pub fn address_is_ours(peer: IpAddr, local: Option<IpAddr>) -> bool {
    let peer = peer.to_canonical();
    let neighbour = match (peer, local) {
        (IpAddr::V6(peer), Some(IpAddr::V6(ours))) => peer.segments()[..4] == ours.segments()[..4],
        _ => false,
    };
    peer.is_loopback() || is_private(peer) || neighbour
}

fn port_is_fine(rest: &str) -> bool {
    rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_cannot_be_rebound_are_ours() {
        for host in [
            "192.168.1.20",
            "192.168.1.20:80",
            "[fd00::1]",
            "[::1]:8080",
            "localhost:80",
            "solo",
            "solo.local",
            "SOLO.LOCAL.",
            "solo.lan",
            "box.home.arpa",
            "203.0.113.7",
        ] {
            assert!(host_is_ours(host, &Reach::default()), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "solo.example.org:8080",
            "local.evil.example",
            "solo.local.evil.com",
            "192.168.1.20.evil.com",
            "solo.local:80:90",
            "solo.local:http",
            "[::1",
            "[::1]x",
            "[evil.com]",
            "a@solo.local",
            "evil.com/.local",
            "solo.local\u{0}",
            "home.arpa.com",
            ".",
            "fritz.box",
        ] {
            assert!(!host_is_ours(host, &Reach::default()), "{host}");
        }
    }

    #[test]
    fn names_of_the_owner_and_of_the_network_are_ours_and_none_beside_them() {
        let reach = Reach {
            hosts: vec!["box.example.org".to_owned()],
            domains: vec!["fritz.box".to_owned(), "tail1234.ts.net".to_owned()],
            embed: Vec::new(),
        };
        for host in [
            "box.example.org",
            "Box.Example.org.:8080",
            "solo.fritz.box",
            "SOLO.FRITZ.BOX:80",
            "solo.tail1234.ts.net",
        ] {
            assert!(host_is_ours(host, &reach), "{host}");
        }
        for host in [
            "example.org",
            "evil.box.example.org",
            "box.example.org.evil.com",
            "fritz.box",
            ".fritz.box",
            "evilfritz.box",
            "a.b.fritz.box",
            "solo.fritz.box.evil.com",
            "ts.net",
            "evil.ts.net",
        ] {
            assert!(!host_is_ours(host, &reach), "{host}");
        }
    }

    #[test]
    fn only_the_own_network_is_let_in() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let local = Some(ip("2001:db8:1:2::20"));
        for peer in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.9",
            "192.168.7.7",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.255.254",
            "::1",
            "fd12::5",
            "fe80::1",
            "::ffff:192.168.1.2",
            "2001:db8:1:2:aaaa::5",
        ] {
            assert!(address_is_ours(ip(peer), local), "{peer}");
        }
        for peer in [
            "8.8.8.8",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "2001:db8:1:3::5",
            "::ffff:8.8.8.8",
        ] {
            assert!(!address_is_ours(ip(peer), local), "{peer}");
        }
        assert!(!address_is_ours(ip("2001:db8:1:2:aaaa::5"), None));
    }

    #[test]
    fn a_long_body_is_for_its_own_path_alone() {
        let check = |method: Method, takes, length: &str| {
            let mut map = HeaderMap::new();
            map.append("host", "solo.local".parse().unwrap());
            map.append("content-length", length.parse().unwrap());
            check_head(&method, &"/".parse().unwrap(), &map, takes, &Reach::default())
        };
        let long = Some(1 << 20);
        assert_eq!(check(Method::POST, long, "1048576"), Ok(()));
        assert_eq!(check(Method::POST, long, "1048577"), Err(Refused::Body));
        assert_eq!(check(Method::POST, Some(1 << 14), "16385"), Err(Refused::Body));
        assert_eq!(check(Method::POST, None, "16385"), Err(Refused::Body));
        assert_eq!(check(Method::GET, long, "16385"), Err(Refused::Body));
    }

    #[test]
    fn heads_are_checked_in_order() {
        let head = |pairs: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in pairs {
                map.append(*name, value.parse().unwrap());
            }
            map
        };
        let uri: Uri = "/".parse().unwrap();
        let reach = Reach::default();
        let check = |method, pairs: &[_]| check_head(&method, &uri, &head(pairs), None, &reach);
        assert_eq!(check(Method::GET, &[("host", "solo.local")]), Ok(()));
        assert_eq!(check(Method::GET, &[]), Err(Refused::NoHost));
        let twice = [("host", "solo.local"), ("host", "evil.com")];
        assert_eq!(check(Method::GET, &twice), Err(Refused::NoHost));
        assert_eq!(check(Method::GET, &[("host", "evil.com")]), Err(Refused::ForeignHost));
        assert_eq!(check(Method::DELETE, &[("host", "a")]), Err(Refused::Method));
        for length in ["99999999", "-1", "x"] {
            let pairs = [("host", "a"), ("content-length", length)];
            assert_eq!(check(Method::POST, &pairs), Err(Refused::Body));
        }
        let chunked = [("host", "a"), ("transfer-encoding", "chunked")];
        assert_eq!(check(Method::GET, &chunked), Err(Refused::Body));
        let absolute: Uri = "http://evil.com/".parse().unwrap();
        let host = head(&[("host", "solo.local")]);
        let asked = check_head(&Method::GET, &absolute, &host, None, &reach);
        assert_eq!(asked, Err(Refused::ForeignHost));

        let post = |pairs: &[(&'static str, &'static str)]| {
            check_head(&Method::POST, &uri, &head(pairs), Some(16 * 1024), &reach)
        };
        assert_eq!(post(&[("host", "solo.local")]), Ok(()));
        let own = [("host", "solo.local:8080"), ("origin", "http://Solo.local:8080")];
        assert_eq!(post(&own), Ok(()));
        for origin in ["https://evil.com", "null", "http://solo.local:81", "http://192.168.1.9"] {
            let foreign = [("host", "solo.local:8080"), ("origin", origin)];
            assert_eq!(post(&foreign), Err(Refused::ForeignOrigin), "{origin}");
        }
        let cross = [("host", "solo.local"), ("sec-fetch-site", "cross-site")];
        assert_eq!(post(&cross), Err(Refused::ForeignOrigin));
    }
}
