//! The forms of values: syntax, bounds, and what to write instead of a wrong value.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

use super::declare::Form;
use super::problem::{Wrong, wrong};
use super::url::{self, RpcUrl};
use super::{MAX_HOSTS, MAX_PEERS, P2pAddress, Secret, Tag, p2p};
use crate::address::Address;
use crate::coinbase::MAX_TAG;
use crate::devices::pointing::Command;
use crate::devices::rounds::Place;
use crate::mqtt::Broker;
use crate::pair::code::{BadCode, CODE_MIN, HEX_MIN};
use crate::pair::place::BadVirtualAddress;
use crate::pair::{self, Code, VirtualAddress};
use crate::peer_address::{NamedPeer, PeerAddress};
use crate::settings::access::{self, PIN_MAX, PIN_MIN};
use crate::update::TimeOfDay;
use crate::update::feed::is_address;

/// Any text but an empty one.
pub(super) fn text() -> Form<String> {
    Form::new("text", |_, value| not_empty(as_text(value)?))
}

/// A file or a directory.
pub(super) fn path() -> Form<PathBuf> {
    const KIND: &str = "a path; a relative one starts at the file, `~/` is the user's home";
    let mut form = Form::new(KIND, |site, value| {
        let written = not_empty(as_text(value)?)?;
        Ok(match (written.strip_prefix("~/"), &site.surroundings.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => site.surroundings.file_dir.join(written),
        })
    });
    form.facts.is_path = true;
    form
}

pub(super) fn truth() -> Form<bool> {
    Form::new("`true` or `false`", |site, value| {
        let instead = || format!("Write {0} = true or {0} = false.", site.name);
        value.as_bool().ok_or_else(|| ("it is neither true nor false".to_owned(), instead()))
    })
}

/// A count of something, from 1.
pub(super) fn count(most: usize) -> Form<usize> {
    Form::new(format!("a whole number from 1 to {most}"), move |_, value| {
        let number = value.as_integer().and_then(|number| usize::try_from(number).ok());
        number.filter(|number| (1..=most).contains(number)).ok_or_else(|| {
            let instead = "Write a number such as 8 or 64, without quotation marks.".to_owned();
            (format!("it is not a whole number from 1 to {most}"), instead)
        })
    })
}

pub(super) fn number(bounds: RangeInclusive<f64>, instead: &'static str) -> Form<f64> {
    let what = format!("a number from {} to {}", bounds.start(), bounds.end());
    Form::new(what.clone(), move |_, value| {
        let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
        let number = number.filter(|number| bounds.contains(number));
        number.ok_or_else(|| (format!("it is not {what}"), instead.to_owned()))
    })
}

pub(super) fn one_of(
    numbers: &'static [usize],
    otherwise: &'static str,
    instead: &'static str,
) -> Form<usize> {
    let list: Vec<String> = numbers.iter().map(usize::to_string).collect();
    Form::new(list.join(" or "), move |_, value| {
        let number = value.as_integer().and_then(|number| usize::try_from(number).ok());
        let number = number.filter(|number| numbers.contains(number));
        number.ok_or_else(|| (otherwise.to_owned(), instead.to_owned()))
    })
}

/// One of some words, in capitals or not. `otherwise` is what is wrong with any other.
pub(super) fn choice<T: Clone + 'static>(
    words: &'static [(&'static str, T)],
    otherwise: &'static str,
    instead: &'static str,
) -> Form<T> {
    let list: Vec<String> = words.iter().map(|(word, _)| format!("`\"{word}\"`")).collect();
    Form::new(format!("one of {}", list.join(", ")), move |_, value| {
        let written = as_text(value)?.trim();
        let chosen = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(written));
        chosen.map_or_else(|| wrong(otherwise, instead), |(_, chosen)| Ok(chosen.clone()))
    })
}

/// A span of time of at most so many minutes.
pub(super) fn span(minutes: u64, too_long: &'static str, instead: &'static str) -> Form<Duration> {
    let kind = format!(
        "a span of time, such as `\"90 s\"` or `\"2 min\"` (a plain number is seconds), of at most \
         {minutes} min"
    );
    Form::new(kind, move |_, value| match duration(value)? {
        span if span > Duration::from_secs(minutes * 60) => wrong(too_long, instead),
        span => Ok(span),
    })
}

/// A payout address of any type and chain.
pub(super) fn address() -> Form<Address> {
    Form::new("a Bitcoin address", |_, value| {
        let address = as_text(value)?.parse::<Address>();
        address.map_err(|error| (error.to_string(), error.instead().to_owned()))
    })
}

pub(super) fn rpc_url() -> Form<RpcUrl> {
    const KIND: &str = "`http://host:port` or `https://host:port`, with or without \
                        `user:password@` before the host";
    Form::new(KIND, |_, value| url::rpc_url(as_text(value)?))
}

/// An empty one is none.
pub(super) fn zmq() -> Form<Option<String>> {
    Form::new("`tcp://host:port` or `ipc://path`", |_, value| url::zmq(as_text(value)?))
}

pub(super) fn p2p() -> Form<P2pAddress> {
    Form::new("`host`, `host:port` or `\"off\"`", |_, value| p2p::own(as_text(value)?))
}

/// Nodes outside the house, each once; an empty text or list names none.
pub(super) fn peers() -> Form<Vec<NamedPeer>> {
    let kind = format!("`\"host:port\"` or `\"host\"`, or a list of at most {MAX_PEERS} of them");
    let mut form = Form::new(kind, |_, value| {
        let list = match value {
            Value::String(text) if text.is_empty() => &[],
            Value::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        if list.len() > MAX_PEERS {
            let what = format!("these are more than {MAX_PEERS} nodes");
            return wrong(&what, "Leave those that are nearly always up.");
        }
        let mut peers = Vec::new();
        for (place, value) in list.iter().enumerate() {
            let peer = as_text(value).and_then(p2p::peer).map_err(|(what, instead)| {
                let what = match list.len() {
                    1 => what,
                    _ => format!("number {} of the list: {what}", place + 1),
                };
                (what, instead)
            })?;
            if !peers.contains(&peer) {
                peers.push(peer);
            }
        }
        Ok(peers)
    });
    form.facts.is_list = true;
    form
}

/// A SOCKS5 proxy; an empty one is none.
pub(super) fn proxy() -> Form<Option<PeerAddress>> {
    const KIND: &str = "`host:port`, or `host` (port 9050), or `\"\"` for none";
    Form::new(KIND, |_, value| p2p::proxy(as_text(value)?))
}

/// Where miners reach this program; an empty one is where it listens.
pub(super) fn reached() -> Form<Option<PeerAddress>> {
    const KIND: &str = "`host:port`, or `host` (port 3333), or `\"\"`";
    Form::new(KIND, |_, value| p2p::reached(as_text(value)?))
}

/// An MQTT broker; an empty one is none.
pub(super) fn broker() -> Form<Option<Broker>> {
    const KIND: &str = "`host:port`, or `host` (port 1883, or 8883 with TLS), or `\"\"` for none";
    Form::new(KIND, |_, value| match as_text(value)?.trim() {
        "" => Ok(None),
        text => p2p::broker(text).map(Some),
    })
}

/// The other box of a pair; an empty one is none.
pub(super) fn partner() -> Form<Option<SocketAddr>> {
    const KIND: &str = "`IP` (port 3337) or `IP:PORT`, or `\"\"` for none";
    const INSTEAD: &str = "Write the IP address of the other box, such as \"192.168.1.21\".";
    Form::new(KIND, |_, value| {
        let text = as_text(value)?.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let plain = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let place = match (plain.parse::<IpAddr>(), text.parse::<SocketAddr>()) {
            (Ok(ip), _) => SocketAddr::new(ip, pair::PORT),
            (_, Ok(at)) => at,
            _ => return wrong("this is not an IP address", INSTEAD),
        };
        if place.ip().is_unspecified() || place.ip().is_multicast() || place.port() == 0 {
            return wrong("no box can be reached there", INSTEAD);
        }
        Ok(Some(place))
    })
}

/// The code of a pair.
pub(super) fn pair_code() -> Form<Secret> {
    let kind = format!(
        "at least {CODE_MIN} letters and digits, or {HEX_MIN} hexadecimal digits; spaces, hyphens and \
         capitals do not count"
    );
    Form::new(kind, |_, value| {
        let text = not_empty(as_text(value)?)?;
        let what = match Code::read(&text) {
            Ok(_) => return Ok(Secret::new(text)),
            Err(BadCode::Characters) => "a code has only letters, digits, spaces and hyphens",
            Err(BadCode::Short) => "this code could be guessed",
        };
        wrong(what, "Write at least 26 random letters and digits, the same on both boxes.")
    })
}

/// The address that miners use; an empty one is none.
pub(super) fn virtual_address() -> Form<Option<VirtualAddress>> {
    const KIND: &str = "`IP/PREFIX`, or `\"\"` for none";
    const INSTEAD: &str = "Write a free address of your network with the length of its prefix, such as \
                           \"192.168.1.240/24\".";
    Form::new(KIND, |_, value| {
        let text = as_text(value)?.trim();
        if text.is_empty() {
            return Ok(None);
        }
        match text.parse() {
            Ok(address) => Ok(Some(address)),
            Err(BadVirtualAddress::Address) => wrong("this is not an IP address", INSTEAD),
            Err(BadVirtualAddress::Prefix) => {
                wrong("the length of the network's prefix is missing or wrong", INSTEAD)
            }
            Err(BadVirtualAddress::Useless) => wrong("no miner could use this address", INSTEAD),
        }
    })
}

/// A network interface; an empty one is none.
pub(super) fn interface() -> Form<Option<String>> {
    Form::new("the name of a network interface, or `\"\"`", |_, value| {
        let name = as_text(value)?.trim();
        // As the kernel has it: 15 bytes, neither a slash nor a space.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@:".contains(&byte);
        if name.len() > 15 || !name.bytes().all(plain) {
            return wrong("this is not the name of an interface", "Write it like \"eth0\".");
        }
        Ok((!name.is_empty()).then(|| name.to_owned()))
    })
}

/// The address of an update feed; an empty one is none.
pub(super) fn feed() -> Form<Option<String>> {
    const KIND: &str = "`http://…` or `https://…`, the address of a feed, or `\"\"` for none";
    const INSTEAD: &str = "Write an address such as \"https://example.org/soloist/feed.json\".";
    Form::new(KIND, |_, value| match as_text(value)?.trim() {
        "" => Ok(None),
        url if url.contains(['?', '#']) => wrong(
            "a feed's address has no '?' and no '#': its signature is found by .minisig behind it",
            INSTEAD,
        ),
        url if url.contains('@') => wrong(
            "a user has no place in it: nothing about you is told to who serves the feed",
            INSTEAD,
        ),
        url if is_address(url) && url.parse::<hyper::Uri>().is_ok() => Ok(Some(url.to_owned())),
        _ => wrong("it is no address of a feed", INSTEAD),
    })
}

/// A time of day, such as `04:00`.
pub(super) fn time_of_day() -> Form<TimeOfDay> {
    Form::new("a time of day, `\"00:00\"` to `\"23:59\"`", |_, value| {
        let time = TimeOfDay::read(as_text(value)?.trim());
        time.map_or_else(|| wrong("it is no time of day", "Write it like \"04:00\"."), Ok)
    })
}

/// What MQTT topics begin with.
pub(super) fn topic() -> Form<String> {
    const KIND: &str = "text of at most 64 English letters, digits, `-`, `_`, `.` and `/`";
    Form::new(KIND, |_, value| {
        let topic = not_empty(as_text(value)?)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        if topic.len() > 64 || !topic.bytes().all(plain) || topic.split('/').any(str::is_empty) {
            return wrong(
                "topics do not begin like this",
                "Write at most 64 letters, digits and signs such as \"soloist\", with a slash only between \
                 them.",
            );
        }
        Ok(topic)
    })
}

/// What miners may be told.
pub(super) fn buttons() -> Form<Vec<Command>> {
    list_of("one of `\"blink\"`, `\"pause\"`, `\"resume\"`, `\"restart\"`", "buttons", |text| {
        let known = Command::ALL.into_iter().find(|command| command.name() == text);
        known.map_or_else(
            || {
                wrong(
                    "there is no such button",
                    "Write any of \"blink\", \"pause\", \"resume\" and \"restart\".",
                )
            },
            Ok,
        )
    })
}

/// Names by which the page is reached.
pub(super) fn hosts() -> Form<Vec<String>> {
    const EXAMPLE: &str = "Write the name alone, such as \"solo.fritz.box\".";
    list_of("a name", "names", |text| {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.parse::<IpAddr>().is_ok() || name.starts_with('[') {
            return wrong("the page answers at each IP address anyway", EXAMPLE);
        }
        if name.contains("://") || name.contains([':', '/']) {
            return wrong("nothing stands before or behind the name", EXAMPLE);
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if name.is_empty() || name.len() > 253 || !name.bytes().all(plain) {
            return wrong("this is not the name of a machine", EXAMPLE);
        }
        Ok(name)
    })
}

/// Origins of pages: where each of them is opened in the browser.
pub(super) fn origins() -> Form<Vec<String>> {
    const EXAMPLE: &str = "Write how the address begins at which you open that page, such as \
                           \"http://homeassistant.local:8123\".";
    list_of("`http://host:port` or `https://host:port`", "pages", |text| {
        let text = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
        if text == "*" {
            return wrong("every page of the Internet could then show and read this one", EXAMPLE);
        }
        let (usual, place) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(place), _) => (":80", place),
            (None, Some(place)) => (":443", place),
            (None, None) => return wrong("it begins neither with http:// nor https://", EXAMPLE),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if place.is_empty() || !place.bytes().all(plain) {
            return wrong("there is more in it than a host and a port", EXAMPLE);
        }
        // As browsers write it.
        Ok(text.strip_suffix(usual).map_or_else(|| text.clone(), str::to_owned))
    })
}

/// One text or a list of at most [`MAX_HOSTS`], each once; an empty text or list is none.
fn list_of<T: PartialEq + 'static>(
    one: &str,
    many: &'static str,
    read: impl Fn(&str) -> Result<T, Wrong> + 'static,
) -> Form<Vec<T>> {
    let kind = format!("{one}, or a list of at most {MAX_HOSTS} {many}");
    let mut form = Form::new(kind, move |_, value| {
        let list = match value {
            Value::String(text) if text.is_empty() => &[],
            Value::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        if list.len() > MAX_HOSTS {
            let what = format!("these are more than {MAX_HOSTS} {many}");
            return wrong(&what, "Leave those that you use.");
        }
        let mut all = Vec::new();
        for value in list {
            let one = read(as_text(value)?.trim())?;
            if !all.contains(&one) {
                all.push(one);
            }
        }
        Ok(all)
    });
    form.facts.is_list = true;
    form
}

/// Devices in the own network, by their addresses.
pub(super) fn places() -> Form<Vec<Place>> {
    const EXAMPLE: &str = "Write the IP address of the device, such as \"192.168.1.40\".";
    list_of("`\"IP\"` or `\"IP:PORT\"`", "devices", |text| {
        let place = match (text.parse::<IpAddr>(), text.parse::<SocketAddr>()) {
            (Ok(ip), _) => Place::at(ip),
            (_, Ok(at)) => Place { port: Some(at.port()), ..Place::at(at.ip()) },
            _ => return wrong("this is not an IP address", EXAMPLE),
        };
        if !place.may_be_named() {
            return wrong("this address is not in a private network", EXAMPLE);
        }
        Ok(place)
    })
}

/// What people call a thing.
pub(super) fn name() -> Form<String> {
    Form::new("text of at most 32 characters on one line", |_, value| {
        let name = not_empty(as_text(value)?)?;
        if name.chars().count() > 32 || name.chars().any(char::is_control) {
            return wrong(
                "a name has at most 32 characters on one line",
                "Write a short one, such as \"attic\".",
            );
        }
        Ok(name)
    })
}

/// Words for the coinbase, with or without the slashes around them.
pub(super) fn tag() -> Form<Tag> {
    let kind = format!("text of at most {} characters of printable ASCII", MAX_TAG - 2);
    Form::new(kind, |_, value| {
        let written = as_text(value)?.trim().trim_matches('/');
        if written.is_empty() {
            return Ok(Tag(String::new()));
        }
        let strange = |(_, c): &(usize, char)| !matches!(c, ' '..='~');
        if let Some((place, c)) = written.chars().enumerate().find(strange) {
            return wrong(
                &format!("{} (character {}) cannot stand in a block", shown(c), place + 1),
                "Write only English letters, digits, spaces and signs.",
            );
        }
        let tag = format!("/{written}/");
        if tag.len() > MAX_TAG {
            return wrong(
                &format!("it takes {} bytes with its slashes, and {MAX_TAG} fit", tag.len()),
                &format!("Remove at least {} characters.", tag.len() - MAX_TAG),
            );
        }
        Ok(Tag(tag))
    })
}

/// A character in quotation marks; one that cannot be seen by its number.
fn shown(c: char) -> String {
    if c.is_control() { format!("U+{:04X}", c as u32) } else { format!("'{c}'") }
}

/// A list of bits of the block's version, as a mask.
pub(super) fn version_bits() -> Form<u32> {
    const INSTEAD: &str = "Write numbers from 0 to 12 between brackets, such as [4].";
    Form::new("a list of whole numbers from 0 to 12", |_, value| {
        let Value::Array(list) = value else {
            return wrong("this is not a list of bits", INSTEAD);
        };
        list.iter().try_fold(0, |bits, bit| match bit.as_integer() {
            Some(bit @ 0..=12) => Ok(bits | 1 << bit),
            Some(bit @ 13..=28) => {
                let what = format!("bit {bit} belongs to the miners, which try all its values");
                wrong(&what, INSTEAD)
            }
            Some(bit @ 29..=31) => {
                let what = format!(
                    "bit {bit} says what the others mean (BIP 9) and can be neither set nor cleared"
                );
                wrong(&what, INSTEAD)
            }
            _ => wrong("this is not a bit of the block's version", INSTEAD),
        })
    })
}

/// A password that every firmware can send: no spaces, and no comma, which separates `d=1000`.
/// An empty one is none.
pub(super) fn miner_password() -> Form<Option<Secret>> {
    const KIND: &str = "text of at most 64 letters, digits and signs, without spaces and commas";
    Form::new(KIND, |_, value| {
        let password = as_text(value)?;
        if password.len() > 64 || password.chars().any(|c| !c.is_ascii_graphic() || c == ',') {
            return wrong(
                "not every miner could send it",
                "Write at most 64 letters, digits and signs, without spaces and commas.",
            );
        }
        Ok((!password.is_empty()).then(|| Secret::new(password)))
    })
}

/// A PIN, or its hash as the page writes it. An empty one is none.
pub(super) fn pin() -> Form<Option<Secret>> {
    let kind = format!("text of {PIN_MIN} to {PIN_MAX} characters, or the hash that the page made");
    Form::new(kind, |_, value| {
        let pin = as_text(value)?;
        if pin.is_empty() {
            return Ok(None);
        }
        if !pin.starts_with(access::HASH_PREFIX)
            && let Err(bad) = access::check_pin(pin)
        {
            let what = bad.to_string().trim_end_matches('.').to_owned();
            return Err((what, "Write another one, such as six letters and digits.".to_owned()));
        }
        Ok(Some(Secret::new(pin)))
    })
}

/// A password that is not looked at.
pub(super) fn password() -> Form<Secret> {
    Form::new("text", |_, value| not_empty(as_text(value)?).map(Secret::new))
}

/// A token that can stand in a header.
pub(super) fn token() -> Form<String> {
    Form::new("text without spaces", |_, value| {
        let token = not_empty(as_text(value)?)?;
        if token.chars().any(|c| !c.is_ascii_graphic()) {
            return wrong(
                "a token has neither spaces nor letters with accents",
                "Copy it once more from the service.",
            );
        }
        Ok(token)
    })
}

/// A chat's number or name.
pub(super) fn chat() -> Form<String> {
    Form::new("a whole number, or text", |_, value| match value {
        Value::Integer(number) => Ok(number.to_string()),
        other => not_empty(as_text(other)?),
    })
}

/// Where to listen; an empty text or list is nowhere.
pub(super) fn listen() -> Form<Vec<SocketAddr>> {
    const KIND: &str = "`\"IP:PORT\"`, or a list of at most 16 of them";
    let mut form = Form::new(KIND, |_, value| match value.as_str() {
        Some("") => Ok(Vec::new()),
        _ => addresses(value),
    });
    form.facts.is_list = true;
    form
}

/// Every IPv4 and every IPv6 address of the machine, as TOML.
pub(super) fn everywhere(port: u16) -> String {
    let of = |ip: IpAddr| SocketAddr::new(ip, port);
    let (v4, v6) = (of(Ipv4Addr::UNSPECIFIED.into()), of(Ipv6Addr::UNSPECIFIED.into()));
    format!("[\"{v4}\", \"{v6}\"]")
}

fn addresses(value: &Value) -> Result<Vec<SocketAddr>, Wrong> {
    let list = match value {
        Value::Array(list) => list.iter().map(as_text).collect::<Result<Vec<&str>, Wrong>>()?,
        other => vec![as_text(other)?],
    };
    if list.len() > 16 {
        return wrong(
            "these are more than 16 addresses",
            "Write \"0.0.0.0:PORT\" for all of them.",
        );
    }
    let mut addresses = Vec::new();
    for text in list {
        let address = listen_address(text.trim())?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

fn listen_address(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().or_else(|_| {
        let port = text.trim_start_matches([':', '*']);
        let instead = match (port.parse::<u16>(), text.parse::<IpAddr>()) {
            (Ok(port), _) => format!("Write \"0.0.0.0:{port}\"."),
            (_, Ok(IpAddr::V4(ip))) => format!("Write \"{ip}:3333\", with the port."),
            (_, Ok(IpAddr::V6(ip))) => format!("Write \"[{ip}]:3333\", with the port."),
            _ => "Write an IP address of this machine and a port, such as \"0.0.0.0:3333\" or \
                  \"[::]:3333\"; names do not work here."
                .to_owned(),
        };
        wrong("this is not an address and a port", &instead)
    })
}

/// `"90 s"`, `"2 min"`, or a plain number of seconds.
fn duration(value: &Value) -> Result<Duration, Wrong> {
    let parsed = match value {
        Value::Integer(seconds) => u64::try_from(*seconds).ok().map(|seconds| (seconds, "s")),
        Value::String(text) => {
            let text = text.trim();
            let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let (number, unit) = text.split_at(digits);
            number.parse().ok().map(|number| (number, unit.trim()))
        }
        _ => None,
    };
    let seconds = match parsed {
        Some((number, "" | "s" | "sec" | "second" | "seconds")) => Some(number),
        Some((number, "m" | "min" | "minute" | "minutes")) => number.checked_mul(60),
        Some((number, "h" | "hour" | "hours")) => number.checked_mul(3600),
        _ => None,
    };
    match seconds {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => wrong("this is not a span of time", "Write it like \"90 s\" or \"2 min\"."),
    }
}

pub(super) fn as_text(value: &Value) -> Result<&str, Wrong> {
    match value {
        Value::String(text) => Ok(text),
        _ => wrong("it is not a text", "Write it between quotation marks."),
    }
}

fn not_empty(text: &str) -> Result<String, Wrong> {
    match text.trim() {
        "" => {
            wrong("it is empty", "Write a value between the quotation marks, or remove the line.")
        }
        text => Ok(text.to_owned()),
    }
}
