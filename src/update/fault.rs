//! Every failure of the feed and of an update, by its cause, in words for the owner.

use std::time::Duration;

use thiserror::Error;

use super::version::Version;
use crate::node::fault::TlsFault;

/// Why a feed or an update cannot be used. `Display` is a clause behind "the feed cannot be used:" or "the
/// update cannot be installed:".
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    // -- the way there --
    /// Nobody has this name, or nobody tells.
    #[error("the name {0} is not known")]
    UnknownName(String),
    /// No connection, in the system's words.
    #[error("its server cannot be reached: {0}")]
    NoConnection(String),
    /// No secure connection.
    #[error("{}", tls_words(.0))]
    Tls(TlsFault),
    /// The file of the certificate that is trusted alone.
    #[error("the certificate file cannot be used: {0}")]
    Certificate(String),
    /// HTTP 3xx. It is not followed.
    #[error("its server sends us on to another address{}", onward(.0))]
    Redirect(String),
    /// Another status of HTTP than 200, or no HTTP at all (0).
    #[error("{}", status_words(*.0))]
    Status(u16),
    /// More bytes than it may have.
    #[error("what its server sends is longer than {0} bytes")]
    TooLong(u64),
    /// Ended before its end.
    #[error("the connection broke off before the end")]
    Cut,
    /// Not there within this time, or nothing more of it.
    #[error("its server did not send it within {} s", .0.as_secs())]
    Slow(Duration),

    // -- what came --
    /// A page for people, as a hotel's network sends in any other's place.
    #[error("a web page came in its place")]
    WebPage,
    /// The system's public key is not there, or cannot be read: the system's words.
    #[error("the key that it must be signed by cannot be read: {0}")]
    NoKey(String),
    /// The file of the key holds none.
    #[error("the file of the key that it must be signed by holds no key of minisign")]
    BadKey,
    /// The file beside it is no signature.
    #[error("the file beside it is no signature of minisign")]
    NoSignature,
    /// Signed, by somebody else.
    #[error("it is signed by another key than the one that this system trusts")]
    OtherKey,
    /// The signature does not fit the bytes.
    #[error("its signature is wrong: it was changed on its way, or forged")]
    WrongSignature,
    /// Signed by the right key, as another file: the trusted comment.
    #[error("it is another signed file in its place: {0}")]
    OtherFile(String),
    /// Signed, and not JSON.
    #[error("it is signed, but no feed")]
    NotJson,
    /// A later format.
    #[error("it has format {0}, which this version does not know")]
    Format(u64),
    /// A value is missing, or not as it should be.
    #[error("its value \"{0}\" is not as it should be")]
    Value(&'static str),
    /// An earlier feed than one that was accepted.
    #[error("it is older (number {got}) than one that was read before (number {seen})")]
    Older {
        /// The largest serial that was ever accepted.
        seen: u64,
        /// Its own.
        got: u64,
    },
    /// Another feed of the same number.
    #[error("it is another one than was read before under the same number {0}")]
    Changed(u64),

    // -- the card --
    /// What must be remembered cannot be: the system's words.
    #[error("the card does not take what must be remembered of it: {0}")]
    NotKept(String),
    /// No room for the update.
    #[error("the card has room for {} MB, and it needs {} MB", mega(*.free), mega(*.needed))]
    NoRoom {
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// The card did not take it: the system's words.
    #[error("the card does not take it: {0}")]
    Write(String),

    // -- the update --
    /// Fewer bytes than the feed says.
    #[error("it has {got} bytes instead of {wanted}")]
    Length {
        /// By the feed.
        wanted: u64,
        /// That came.
        got: u64,
    },
    /// Another file than the feed means.
    #[error("it is not the file that the feed means (SHA-256)")]
    Hash,
    /// The system's own words, from `soloist-update`.
    #[error("{0}")]
    Refused(String),
    /// Nobody carried out what was asked of the system.
    #[error("no unit of this system took the request")]
    NobodyTook,
    /// It was installed, and the version of before runs again.
    #[error(
        "it did not start, or did not prove itself within ten minutes, and version {0} runs again"
    )]
    CameBack(Version),
}

impl Fault {
    /// What the owner can do. `date` is what the box's clock shows, in words.
    pub fn remedy(&self, date: &str) -> String {
        let text = match self {
            Fault::UnknownName(_) | Fault::NoConnection(_) => {
                "Look at the address in feed, below [update], and at the box's way to the Internet."
            }
            Fault::Tls(TlsFault::Date) => {
                return format!(
                    "The clock of this box shows {date}: if that is wrong, let the box reach a time \
                     server. If it is right, the certificate of the server has run out."
                );
            }
            Fault::Tls(TlsFault::Plain) => {
                "Write http:// in feed, below [update], or another port."
            }
            Fault::Certificate(_) => "Look at tls_cert_path, below [update].",
            Fault::Tls(_) => {
                "A network that wants a log-in, as in a hotel, shows a certificate of its own: log in \
                 there. Otherwise look at feed and tls_cert_path, below [update]."
            }
            Fault::Redirect(_) | Fault::WebPage => {
                "A network that wants a log-in, as in a hotel, answers like this: log in there. Otherwise \
                 write the address to which it leads as feed, below [update]."
            }
            Fault::Status(_) => "Look at the address in feed, below [update].",
            Fault::TooLong(_) | Fault::NotJson | Fault::Value(_) => {
                "It is for who publishes the feed to mend it."
            }
            Fault::Cut | Fault::Slow(_) => "It is tried again by itself.",
            Fault::NoKey(_) | Fault::BadKey => {
                "Write a file with the public key of who publishes the feed as key_path, below [update]."
            }
            Fault::NoSignature => {
                "Look at the address in feed, below [update]: the signature must be beside it, with .minisig \
                 behind its name."
            }
            Fault::OtherKey | Fault::WrongSignature | Fault::OtherFile(_) | Fault::Hash => {
                "Install nothing from there. If it stays so tomorrow, ask who publishes the feed."
            }
            Fault::Older { .. } | Fault::Changed(_) => {
                "Somebody may want to keep you on an old version. If it stays so tomorrow, ask who publishes \
                 the feed."
            }
            Fault::Format(_) => "Update this box by hand once: RELEASING.md says how.",
            Fault::NotKept(_) | Fault::NoRoom { .. } | Fault::Write(_) => {
                "Make room on the card, or replace it. Mining is not affected."
            }
            Fault::Length { .. } => "It is tried again tomorrow.",
            Fault::Refused(_) => {
                "Nothing has changed. The log has more; it can be tried again by hand."
            }
            Fault::NobodyTook => "Say on the box: systemctl status soloist-request.path.",
            Fault::CameBack(_) => {
                "Mining goes on with it. The new version is not tried again by itself; a later one is."
            }
        };
        text.to_owned()
    }

    /// Whether it cannot be explained by a network that is away for a while: it is told at once.
    pub fn is_grave(&self) -> bool {
        matches!(
            self,
            Fault::NoKey(_)
                | Fault::BadKey
                | Fault::OtherKey
                | Fault::WrongSignature
                | Fault::OtherFile(_)
                | Fault::NotJson
                | Fault::Format(_)
                | Fault::Value(_)
                | Fault::Older { .. }
                | Fault::Changed(_)
                | Fault::NotKept(_)
        )
    }

    /// One word for programs.
    pub fn label(&self) -> &'static str {
        match self {
            Fault::UnknownName(_) => "unknown_name",
            Fault::NoConnection(_) => "no_connection",
            Fault::Tls(TlsFault::Date) => "certificate_date",
            Fault::Tls(_) => "tls",
            Fault::Certificate(_) => "certificate_file",
            Fault::Redirect(_) => "redirect",
            Fault::Status(_) => "status",
            Fault::TooLong(_) => "too_long",
            Fault::Cut => "cut",
            Fault::Slow(_) => "slow",
            Fault::WebPage => "web_page",
            Fault::NoKey(_) => "no_key",
            Fault::BadKey => "bad_key",
            Fault::NoSignature => "no_signature",
            Fault::OtherKey => "other_key",
            Fault::WrongSignature => "wrong_signature",
            Fault::OtherFile(_) => "other_file",
            Fault::NotJson => "not_json",
            Fault::Format(_) => "format",
            Fault::Value(_) => "value",
            Fault::Older { .. } => "older",
            Fault::Changed(_) => "changed",
            Fault::NotKept(_) => "not_kept",
            Fault::NoRoom { .. } => "no_room",
            Fault::Write(_) => "write",
            Fault::Length { .. } => "length",
            Fault::Hash => "hash",
            Fault::Refused(_) => "refused",
            Fault::NobodyTook => "nobody_took",
            Fault::CameBack(_) => "came_back",
        }
    }
}

fn tls_words(fault: &TlsFault) -> String {
    match fault {
        TlsFault::Plain => "its server does not speak TLS, and the address says https".to_owned(),
        TlsFault::Untrusted => {
            "the certificate of its server is not signed by anyone whom this box trusts".to_owned()
        }
        TlsFault::NotPinned(file) => {
            format!("the certificate of its server is another one than that in {file}")
        }
        TlsFault::Name(host) => {
            format!("the certificate of its server is for another name than {host}")
        }
        TlsFault::Date => "the certificate of its server is not valid at this date".to_owned(),
        TlsFault::Other(words) => format!("the secure connection failed: {words}"),
    }
}

fn onward(to: &str) -> String {
    if to.is_empty() { String::new() } else { format!(" ({to})") }
}

fn status_words(status: u16) -> String {
    match status {
        0 => "what answers there does not speak HTTP".to_owned(),
        404 => "it is not there (HTTP 404)".to_owned(),
        status => format!("its server answers with HTTP status {status}"),
    }
}

fn mega(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}
