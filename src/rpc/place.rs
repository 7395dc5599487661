//! The address of a node's RPC: the parts of its URL.

use hyper::Uri;

use crate::node::fault::RpcError;

/// A URL without its user and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// By https.
    pub secure: bool,
    /// Without brackets.
    pub host: String,
    pub port: u16,
    /// For the header `Host`.
    pub authority: String,
    /// Path and query, at least `/`.
    pub path: String,
}

impl Place {
    /// Reads `http://host:port/path`; a `user:password@` in it is left out.
    pub(super) fn of(url: &str) -> Result<Place, RpcError> {
        let wrong = |why: &str| RpcError::Address(why.to_owned());
        let uri: Uri =
            without_userinfo(url).parse().map_err(|_| wrong("it is not a URL of the web"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("it must begin with http:// or https://")),
        };
        let host = uri.host().ok_or_else(|| wrong("it names no machine"))?;
        let authority = uri.authority().map_or(host, |authority| authority.as_str());
        Ok(Place {
            secure,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.to_owned(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
}

/// `http://user:password@host:8332` → `http://host:8332`.
pub(super) fn without_userinfo(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_string() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_apart() {
        let parts = |url: &str| {
            let place = Place::of(url).unwrap();
            (place.secure, place.host, place.port, place.authority, place.path)
        };
        let of = |secure, host: &str, port, authority: &str, path: &str| {
            (secure, host.to_owned(), port, authority.to_owned(), path.to_owned())
        };
        assert_eq!(parts("http://[::1]:8332"), of(false, "::1", 8332, "[::1]:8332", "/"));
        assert_eq!(parts("https://node/rpc/"), of(true, "node", 443, "node", "/rpc/"));
        assert_eq!(parts("http://u:p@10.0.0.1:1/"), of(false, "10.0.0.1", 1, "10.0.0.1:1", "/"));
        for bad in ["ftp://x", "10.0.0.1:8332", "http://", "", "http://a b"] {
            assert!(matches!(Place::of(bad), Err(RpcError::Address(_))), "{bad}");
        }
    }

    #[test]
    fn passwords_are_left_out() {
        assert_eq!(without_userinfo("http://host:1/a@b"), "http://host:1/a@b");
        assert_eq!(without_userinfo("http://u:p@ss@host:1"), "http://host:1");
    }
}
