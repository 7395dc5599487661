//! Why a node cannot be used: every failure by its cause, in one sentence, with what to do about it.
//!
//! This is the only classification: `check`, the set-up, the page, the log, the events and the
//! metrics use it. Each cause has its own [`label`](RpcError::label), a clause
//! ([`Display`](std::fmt::Display)) that can follow "node attic:", and a
//! [`remedy`](RpcError::remedy).

use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

/// Why a call failed, or why a node that answers cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RpcError {
    // -- no connection --
    /// The URL cannot be called.
    #[error("its address cannot be used: {0}")]
    Address(String),
    /// The name is in no directory, or none could be asked.
    #[error("the name {0} is not known")]
    UnknownName(String),
    /// The machine is there, and nothing listens at the port.
    #[error("nothing listens at its port (connection refused)")]
    Refused,
    /// No way leads to the machine; the system's words.
    #[error("its machine cannot be reached ({0})")]
    Unreachable(String),
    /// The connection was not taken for so long: a machine that is off, or a firewall.
    #[error("its machine took no connection within {}", seconds(.0))]
    NoConnection(Duration),
    /// The connection broke, in these words.
    #[error("the connection broke: {0}")]
    Transport(String),
    /// Connected, but no whole answer in this time.
    #[error("no answer within {}", seconds(.0))]
    Timeout(Duration),

    // -- TLS --
    /// No secure connection.
    #[error("{0}")]
    Tls(TlsFault),
    /// The file with the certificate to be trusted cannot be used.
    #[error("the certificate file {path} cannot be used: {why}")]
    Certificate {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },

    // -- something else than a node's HTTP --
    /// What came is no HTTP.
    #[error("{0}")]
    NotHttp(Spoken),
    /// A page for people, with this HTTP status.
    #[error("a web page answers there instead of a node (HTTP {0})")]
    WebPage(u16),
    /// HTTP 3xx. It is not followed: the password belongs to one address alone.
    #[error("it sends us on to another address{}", onward(.to))]
    Redirect {
        /// Where to, without query; empty where it does not say.
        to: String,
    },

    // -- refused by HTTP --
    /// HTTP 401.
    #[error("{0}")]
    Unauthorized(Login),
    /// HTTP 403 to whatever we ask: `rpcallowip`.
    #[error("it does not answer callers from this machine's address (HTTP 403)")]
    ForbiddenAddress {
        /// Our address as the node sees it, unless something stands between.
        ours: Option<IpAddr>,
    },
    /// HTTP 403 to this method alone: `rpcwhitelist`. (Core says the same of a method that it does
    /// not have to a user with a whitelist.)
    #[error("our user may not call {method} (HTTP 403)")]
    Forbidden {
        /// The method, as Bitcoin Core calls it.
        method: &'static str,
    },
    /// HTTP 404 without an error of the node in it: the URL's path.
    #[error("it has no RPC at that path (HTTP 404)")]
    WrongPath,
    /// HTTP 413: a proxy's limit, for Core takes blocks of any size.
    #[error("a proxy before it refuses requests as long as ours (HTTP 413)")]
    TooLong,
    /// HTTP 503 of Core's full queue.
    #[error("it is overloaded: too many requests wait for it (HTTP 503)")]
    QueueFull,
    /// HTTP 503 in other words: the node stops, or a proxy in front of it waits for it.
    #[error("it is not available at the moment (HTTP 503)")]
    Unavailable,
    /// HTTP 502 or 504.
    #[error("a proxy answers, but not the node behind it (HTTP {0})")]
    Gateway(u16),
    /// Another HTTP status without a JSON-RPC error in the body.
    #[error("it answers with HTTP status {0}")]
    Http(u16),
    /// The cookie file cannot be read.
    #[error("the cookie file {path} cannot be read: {why}")]
    Cookie {
        /// The file.
        path: String,
        /// The system's words.
        why: String,
    },

    // -- the node's own no --
    /// The node's own error: -28 warming up, -9 no peers, -10 initial download, and the rest.
    #[error("{}", own_words(*code, message))]
    Rpc {
        /// JSON-RPC error code.
        code: i64,
        /// The node's words.
        message: String,
    },
    /// By its health report it is in initial download.
    #[error(
        "it is downloading the chain, {blocks} of {headers} blocks, {}.{} % verified",
        permille / 10, permille % 10
    )]
    Downloading {
        /// Height of its tip.
        blocks: u64,
        /// Height of its best header.
        headers: u64,
        /// Thousandths of the chain that are verified.
        permille: u16,
    },
    /// Its templates need a rule (BIP 9's `!`) that this version does not know.
    #[error("its chain needs the rule {0}, which this version of Soloist does not know")]
    UnknownRule(String),
    /// Its blocks need a signature (BIP 325).
    #[error("it is on signet, whose blocks only the operators of that network can sign")]
    Signet,
    /// It is on a chain where the payout address is worth nothing.
    #[error("it is on the wrong chain ({0})")]
    WrongChain(String),

    // -- answers that cannot be used --
    /// The answer ended too soon.
    #[error("its answer broke off after {got} bytes{}", announced(.of))]
    Cut {
        /// Bytes of the body that came.
        got: usize,
        /// How many were announced.
        of: Option<u64>,
    },
    /// More bytes than an honest answer has.
    #[error("its answer is longer than {0} bytes")]
    TooLarge(usize),
    /// Not JSON-RPC, or a field is missing or of another type.
    #[error("its answer makes no sense: {0}")]
    Malformed(String),
}

/// Why there is no secure connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TlsFault {
    /// Signed by nobody whom this machine knows.
    #[error("its certificate is not signed by anyone whom this machine trusts")]
    Untrusted,
    /// Another one than in the file that the owner gave.
    #[error("its certificate is another one than that in {0}")]
    NotPinned(String),
    /// The certificate does not name the host of the URL.
    #[error("its certificate is for another name than {0}")]
    Name(String),
    /// Run out, or not yet valid.
    #[error("its certificate is not valid at this date")]
    Date,
    /// It answers our TLS with something else.
    #[error("it does not speak TLS, and rpc_url says https")]
    Plain,
    /// Anything else, in rustls' words.
    #[error("the secure connection failed: {0}")]
    Other(String),
}

/// What speaks at an address instead of HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Spoken {
    /// TLS, by an alert or a handshake record.
    #[error("it speaks TLS, and rpc_url says http")]
    Tls,
    /// A ZMQ publisher, by its greeting.
    #[error("that is its ZMQ port, not its RPC port")]
    Zmq,
    /// Bitcoin's P2P port, by the magic of its messages or its usual number.
    #[error("that is its port for other nodes (P2P), not its RPC port")]
    P2p,
    /// Something else, beginning with these words.
    #[error("what answers there does not speak HTTP (it says {0})")]
    Other(String),
}

/// How we introduced ourselves to a node that answered 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Login {
    /// Not at all.
    #[error("it wants a user and a password, and none are set (HTTP 401)")]
    None,
    /// By the cookie file as it stands now.
    #[error("it refuses the cookie in rpc_cookie_path (HTTP 401)")]
    Cookie,
    /// By the user of a cookie, written down by hand.
    #[error(
        "it refuses the user __cookie__, whose password is another one at each start (HTTP 401)"
    )]
    CookieUser,
    /// By a password that looks like what follows the user in an `rpcauth` line.
    #[error("it refuses our password, which looks like the hash of an rpcauth line (HTTP 401)")]
    Hash,
    /// By user and password.
    #[error("it refuses our user or password (HTTP 401)")]
    Password,
}

impl Login {
    /// What a user and a password look like.
    pub fn of(user: &str, password: &str) -> Login {
        let hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        // `rpcauth=user:salt$hash`: HMAC-SHA256 is 64 hex digits, the salt mostly 32.
        let hash = match password.split_once('$') {
            Some((salt, hash)) => hex(salt, salt.len()) && hex(hash, 64),
            None => hex(password, 64),
        };
        match user {
            "__cookie__" => Login::CookieUser,
            _ if hash => Login::Hash,
            _ => Login::Password,
        }
    }
}

impl Spoken {
    /// By the first bytes of an answer that is no HTTP.
    pub fn by(first: &[u8]) -> Spoken {
        match first {
            // Content type alert or handshake, then version 3.x (RFC 8446, 5.1).
            [21 | 22, 3, 0..=4, ..] => Spoken::Tls,
            // ZMTP's signature: ff, eight bytes, 7f.
            [0xff, _, _, _, _, _, _, _, _, 0x7f, ..] => Spoken::Zmq,
            // main, testnet3, testnet4, signet, regtest.
            [0xf9, 0xbe, 0xb4, 0xd9, ..]
            | [0x0b, 0x11, 0x09, 0x07, ..]
            | [0x1c, 0x16, 0x3f, 0x28, ..]
            | [0x0a, 0x03, 0xcf, 0x40, ..]
            | [0xfa, 0xbf, 0xb5, 0xda, ..] => Spoken::P2p,
            // The key of its encrypted transport (BIP 324), of 64 random bytes: some 40 of them are
            // nothing that a text has.
            [..] if first.len() >= 64 && odd(first) * 20 > first.len() * 9 => Spoken::P2p,
            _ => Spoken::Other(first[..first.len().min(16)].escape_ascii().to_string()),
        }
    }
}

fn odd(bytes: &[u8]) -> usize {
    let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    bytes.iter().filter(|byte| !is_text(byte)).count()
}

impl RpcError {
    /// A name for metrics and structured logs; it never changes.
    pub fn label(&self) -> &'static str {
        match self {
            RpcError::Address(_) => "address",
            RpcError::UnknownName(_) => "unknown-name",
            RpcError::Refused => "refused",
            RpcError::Unreachable(_) => "unreachable",
            RpcError::NoConnection(_) => "no-connection",
            RpcError::Transport(_) => "broken",
            RpcError::Timeout(_) => "timeout",
            RpcError::Tls(TlsFault::Untrusted) => "tls-untrusted",
            RpcError::Tls(TlsFault::NotPinned(_)) => "tls-not-pinned",
            RpcError::Tls(TlsFault::Name(_)) => "tls-name",
            RpcError::Tls(TlsFault::Date) => "tls-date",
            RpcError::Tls(TlsFault::Plain) => "tls-to-plain-port",
            RpcError::Tls(TlsFault::Other(_)) => "tls",
            RpcError::Certificate { .. } => "certificate-file",
            RpcError::NotHttp(Spoken::Tls) => "plain-to-tls-port",
            RpcError::NotHttp(Spoken::Zmq) => "zmq-port",
            RpcError::NotHttp(Spoken::P2p) => "p2p-port",
            RpcError::NotHttp(Spoken::Other(_)) => "not-http",
            RpcError::WebPage(_) => "web-page",
            RpcError::Redirect { .. } => "redirect",
            RpcError::Unauthorized(Login::None) => "login-missing",
            RpcError::Unauthorized(Login::Cookie) => "login-cookie",
            RpcError::Unauthorized(Login::CookieUser) => "login-cookie-user",
            RpcError::Unauthorized(Login::Hash) => "login-hash",
            RpcError::Unauthorized(Login::Password) => "login",
            RpcError::ForbiddenAddress { .. } => "forbidden-address",
            RpcError::Forbidden { .. } => "forbidden-method",
            RpcError::WrongPath => "path",
            RpcError::TooLong => "request-too-long",
            RpcError::QueueFull => "queue-full",
            RpcError::Unavailable => "unavailable",
            RpcError::Gateway(_) => "gateway",
            RpcError::Http(_) => "http",
            RpcError::Cookie { .. } => "cookie-file",
            RpcError::Rpc { code: -28, .. } => "warming-up",
            RpcError::Rpc { code: -9, .. } => "no-peers",
            RpcError::Rpc { code: -10, .. } | RpcError::Downloading { .. } => "initial-download",
            RpcError::Rpc { .. } => "rpc",
            RpcError::UnknownRule(_) => "unknown-rule",
            RpcError::Signet => "signet",
            RpcError::WrongChain(_) => "wrong-chain",
            RpcError::Cut { .. } => "cut",
            RpcError::TooLarge(_) => "too-large",
            RpcError::Malformed(_) => "malformed",
        }
    }

    /// What the owner can do about it, in whole sentences.
    pub fn remedy(&self) -> String {
        let fixed = match self {
            RpcError::Address(_) => {
                "Write rpc_url like http://192.168.1.10:8332, with your node's address."
            }
            RpcError::UnknownName(_) => {
                "Check the name in rpc_url, or write the node's IP address there."
            }
            RpcError::Refused => {
                "Check that the node runs and that the port in rpc_url is that of its RPC, mostly \
                 8332. On another machine its bitcoin.conf needs server=1, rpcbind=0.0.0.0 and an \
                 rpcallowip that includes this machine."
            }
            RpcError::Unreachable(_) => {
                "Check the address in rpc_url, and the cable or Wi-Fi of both machines."
            }
            RpcError::NoConnection(_) => {
                "Check that its machine is switched on, that the address in rpc_url is right, and \
                 that no firewall there keeps this machine out."
            }
            RpcError::Transport(_) => {
                "If it happens again, look into the node's own log, debug.log, and at the network."
            }
            RpcError::Timeout(_) => {
                "The node is frozen or overloaded: look at its machine, restart it if needed."
            }
            RpcError::Tls(fault) => fault.remedy(),
            RpcError::Certificate { .. } => {
                "Let rpc_cert_path name a file with the node's certificate (text that begins with \
                 -----BEGIN CERTIFICATE-----) that the user of soloist can read."
            }
            RpcError::NotHttp(spoken) => spoken.remedy(),
            RpcError::WebPage(_) => {
                "That is the port of a web server, a router or the node's own page: write the \
                 address of the node's RPC in rpc_url, mostly with port 8332."
            }
            RpcError::Redirect { to } if to.starts_with("https:") => {
                "Write https:// instead of http:// in rpc_url."
            }
            RpcError::Redirect { .. } => {
                "Write the address at which the node itself answers in rpc_url."
            }
            RpcError::Unauthorized(login) => login.remedy(),
            RpcError::ForbiddenAddress { ours: Some(ours) } => {
                return format!("Write rpcallowip={ours} into its bitcoin.conf and restart it.");
            }
            RpcError::ForbiddenAddress { ours: None } => {
                "Its bitcoin.conf needs an rpcallowip that includes this machine."
            }
            RpcError::Forbidden { method } => {
                return format!(
                    "Add {method} to the rpcwhitelist line of our user in its bitcoin.conf and \
                     restart it."
                );
            }
            RpcError::WrongPath => "Take out what stands behind the port in rpc_url.",
            RpcError::TooLong => {
                "Raise the limit of that proxy, as a block is a request of up to 8 MB: for nginx, \
                 client_max_body_size 16m;"
            }
            RpcError::QueueFull => {
                "Write rpcthreads=16 and rpcworkqueue=128 into its bitcoin.conf, and look which \
                 other programs ask it."
            }
            RpcError::Unavailable => {
                "The node starts, stops or is behind a proxy that waits for it: if this lasts, look \
                 at its machine."
            }
            RpcError::Gateway(_) => "Check that the node behind that proxy runs.",
            RpcError::Http(_) => {
                "See the node's own log, debug.log, and that of a proxy if there is one before it."
            }
            RpcError::Cookie { .. } => {
                "The file exists while the node runs, and the user of soloist must be able to read \
                 it; rpccookieperms=group in bitcoin.conf lets the node's group do so."
            }
            RpcError::Rpc { code: -28, .. } => "Nothing to do: it gets ready by itself.",
            RpcError::Rpc { code: -9, .. } => {
                "Check the node's internet connection, and connect= and onlynet= in its bitcoin.conf."
            }
            RpcError::Rpc { code: -10, .. } | RpcError::Downloading { .. } => {
                "Nothing to do but to wait: this can take days."
            }
            RpcError::Rpc { .. } => {
                "These are the node's own words: its log, debug.log, may say more."
            }
            RpcError::UnknownRule(_) => {
                "Update Soloist, or use a node of another version until then."
            }
            RpcError::Signet => "Use a node of the main chain, or of testnet4 or regtest to try.",
            RpcError::WrongChain(_) => "Check the node's address and port, and the payout address.",
            RpcError::Cut { .. } => {
                "Perhaps it was just stopped: if it happens again, look at the network between the \
                 two machines, and at a proxy if there is one."
            }
            RpcError::TooLarge(_) => {
                "No node answers so much: check that rpc_url is the address of its RPC."
            }
            RpcError::Malformed(_) => {
                "Perhaps something else than a Bitcoin node answers there: check the address and \
                 the port."
            }
        };
        fixed.to_owned()
    }

    /// Nothing came back: "it does not answer" is true. Otherwise something answered, or was not
    /// even asked, and the owner looks elsewhere.
    pub fn is_silence(&self) -> bool {
        matches!(
            self,
            RpcError::Refused
                | RpcError::Unreachable(_)
                | RpcError::NoConnection(_)
                | RpcError::Transport(_)
                | RpcError::Timeout(_)
        )
    }

    /// The node gets ready by itself, or may be well again in a minute.
    pub fn passes(&self) -> bool {
        matches!(
            self,
            RpcError::Timeout(_)
                | RpcError::QueueFull
                | RpcError::Unavailable
                | RpcError::Cut { .. }
                | RpcError::Downloading { .. }
                | RpcError::Rpc { code: -28 | -9 | -10, .. }
        )
    }
}

impl TlsFault {
    fn remedy(&self) -> &'static str {
        match self {
            TlsFault::Untrusted => {
                "Copy the certificate of the node's proxy to this machine as a file and write its \
                 path in rpc_cert_path."
            }
            TlsFault::NotPinned(_) => {
                "If the node's proxy has a new certificate, replace that file by it; if not, \
                 another machine answers at that address."
            }
            TlsFault::Name(_) => {
                "Write the name in rpc_url that the certificate is made for, or the certificate's \
                 own file in rpc_cert_path."
            }
            TlsFault::Date => {
                "Look at this machine's clock; if it is right, the certificate must be renewed."
            }
            TlsFault::Plain => {
                "Write http:// instead of https:// in rpc_url: only a proxy before a node speaks \
                 https."
            }
            TlsFault::Other(_) => {
                "Check that the port in rpc_url is that of the node's https proxy."
            }
        }
    }
}

impl Spoken {
    fn remedy(&self) -> &'static str {
        match self {
            Spoken::Tls => "Write https:// in rpc_url, or the port of the node's plain RPC.",
            Spoken::Zmq => {
                "Write the port of its RPC in rpc_url, mostly 8332; this port belongs into \
                 zmq_hashblock_addr."
            }
            Spoken::P2p => "Write the port of its RPC in rpc_url: 8332 where its own is 8333.",
            Spoken::Other(_) => {
                "Another program has that port: write the port of the node's RPC in rpc_url, mostly \
                 8332."
            }
        }
    }
}

impl Login {
    fn remedy(&self) -> &'static str {
        match self {
            Login::None => {
                "Set rpc_cookie_path for a node on this machine, else rpc_user and rpc_pass."
            }
            Login::Cookie => {
                "Check that this is the file of the very node that rpc_url names: it writes a new \
                 one at each start."
            }
            Login::CookieUser => {
                "Take out rpc_user and rpc_pass and set rpc_cookie_path to the node's .cookie file."
            }
            Login::Hash => {
                "Write the password itself in rpc_pass, as it was shown when the rpcauth line was \
                 made: bitcoin.conf has only its hash."
            }
            Login::Password => {
                "Compare rpc_user and rpc_pass with the rpcauth or rpcuser line of its bitcoin.conf."
            }
        }
    }
}

/// A length of time in words: `2 s`, `0.25 s`.
fn seconds(time: &Duration) -> String {
    format!("{} s", (time.as_secs_f64() * 100.0).round() / 100.0)
}

fn onward(to: &str) -> String {
    if to.is_empty() { String::new() } else { format!(", {to}") }
}

fn announced(of: &Option<u64>) -> String {
    of.map_or_else(String::new, |of| format!(" of {of}"))
}

fn own_words(code: i64, message: &str) -> String {
    match code {
        -28 => format!("it is starting: {message} (-28)"),
        -9 => format!("it has no peers: {message} (-9)"),
        -10 => format!("it is still downloading the chain: {message} (-10)"),
        -32601 => format!("it lacks a method: {message} (-32601)"),
        _ => format!("it says {message} ({code})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_hash_is_known_by_its_form() {
        let hash = "0123456789abcdef".repeat(4);
        let line = format!("{}${hash}", "ab".repeat(16));
        for (user, password, login) in [
            ("anna", "geheim", Login::Password),
            ("anna", hash.as_str(), Login::Hash),
            ("anna", line.as_str(), Login::Hash),
            ("anna", &hash[1..], Login::Password),
            ("anna", "ab$cd", Login::Password),
            ("anna", "pa$$word", Login::Password),
            ("__cookie__", hash.as_str(), Login::CookieUser),
        ] {
            assert_eq!(Login::of(user, password), login, "{user} {password}");
        }
    }

    #[test]
    fn first_bytes_tell_who_speaks() {
        let cases: [(&[u8], Spoken); 8] = [
            (b"\x15\x03\x01\x00\x02\x02\x46", Spoken::Tls),
            (b"\x16\x03\x03\x00", Spoken::Tls),
            (b"\xff\0\0\0\0\0\0\0\x01\x7f", Spoken::Zmq),
            (b"\xf9\xbe\xb4\xd9version\0", Spoken::P2p),
            (b"\xfa\xbf\xb5\xda", Spoken::P2p),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Spoken::Other("SSH-2.0-OpenSSH_".into())),
            (b"\xff", Spoken::Other("\\xff".into())),
            (&std::array::from_fn::<u8, 64, _>(|n| (n as u8).wrapping_mul(37)), Spoken::P2p),
        ];
        for (first, spoken) in cases {
            assert_eq!(Spoken::by(first), spoken);
        }
    }

    /// One of each cause.
    fn all() -> Vec<RpcError> {
        use RpcError as E;
        let text = String::new;
        let words = |code| E::Rpc { code, message: text() };
        let mut all = vec![
            E::Address(text()),
            E::UnknownName(text()),
            E::Refused,
            E::Unreachable(text()),
            E::NoConnection(Duration::ZERO),
            E::Transport(text()),
            E::Timeout(Duration::ZERO),
            E::Certificate { path: text(), why: text() },
            E::WebPage(200),
            E::Redirect { to: text() },
            E::ForbiddenAddress { ours: None },
            E::Forbidden { method: "submitblock" },
            E::WrongPath,
            E::TooLong,
            E::QueueFull,
            E::Unavailable,
            E::Gateway(502),
            E::Http(418),
            E::Cookie { path: text(), why: text() },
            words(-28),
            words(-9),
            words(-10),
            words(-32601),
            words(-1),
            E::Downloading { blocks: 1, headers: 2, permille: 3 },
            E::UnknownRule(text()),
            E::Signet,
            E::WrongChain(text()),
            E::Cut { got: 1, of: None },
            E::TooLarge(1),
            E::Malformed(text()),
        ];
        use TlsFault as T;
        let file = text();
        let tls = [T::Untrusted, T::NotPinned(file), T::Name(text()), T::Date, T::Plain];
        all.extend(tls.into_iter().chain([T::Other(text())]).map(E::Tls));
        let spoken = [Spoken::Tls, Spoken::Zmq, Spoken::P2p, Spoken::Other(text())];
        all.extend(spoken.map(E::NotHttp));
        let login = [Login::None, Login::Cookie, Login::CookieUser, Login::Hash, Login::Password];
        all.extend(login.map(E::Unauthorized));
        all
    }

    #[test]
    fn no_two_causes_share_a_sentence() {
        let all = all();
        for (place, one) in all.iter().enumerate() {
            let (clause, remedy) = (one.to_string(), one.remedy());
            assert!(!clause.is_empty() && !clause.ends_with('.'), "{clause}");
            assert!(remedy.ends_with(['.', ';']) && remedy.len() > 20, "{clause}: {remedy}");
            for other in &all[..place] {
                assert_ne!(clause, other.to_string());
                // Only the initial download has two forms, and a method may be lacking in two ways.
                if one.label() != other.label() {
                    assert_ne!(remedy, other.remedy(), "{clause}");
                }
            }
        }
        // What an overloaded node is never called.
        for busy in [RpcError::QueueFull, RpcError::Timeout(Duration::ZERO), RpcError::Unavailable]
        {
            assert!(!format!("{busy} {}", busy.remedy()).contains("else"), "{busy}");
        }
    }

    #[test]
    fn times_are_told_in_seconds() {
        assert_eq!(seconds(&Duration::from_secs(2)), "2 s");
        assert_eq!(seconds(&Duration::from_millis(250)), "0.25 s");
    }
}
