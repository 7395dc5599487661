//! The file as TOML: structures that refuse unknown keys and remember where each value stood.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use toml::{Spanned, Value};

use super::problem::{At, Problem};
use super::settings::{FirmwareSettings, NodeSettings, NotifySettings, Setting, Settings};
use crate::notify::Topic;

/// Reads `text`; `file` is its name in messages.
pub(super) fn read(file: &str, text: &str) -> Result<Settings, Problem> {
    let place = Place { file, text };
    let raw: RawConfig = toml::from_str(text).map_err(|error| explain(&place, &error))?;
    Ok(raw.into_settings(&place))
}

/// A value of any type: its type is judged later, in the owner's words.
type Leaf = Option<Spanned<Value>>;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawConfig {
    node: Option<Spanned<Section<RawNode>>>,
    payout: Option<Section<RawPayout>>,
    stratum: Option<Section<RawStratum>>,
    http: Option<Section<RawHttp>>,
    data: Option<Section<RawData>>,
    failover: Option<Section<RawFailover>>,
    notify: Vec<Spanned<Section<RawNotify>>>,
    log: Option<Section<RawLog>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawNode {
    name: Leaf,
    rpc_url: Leaf,
    zmq_hashblock_addr: Leaf,
    rpc_cookie_path: Leaf,
    rpc_user: Leaf,
    rpc_pass: Leaf,
    rpc_cert_path: Leaf,
    backup: Vec<Spanned<Section<RawBackup>>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawBackup {
    name: Leaf,
    rpc_url: Leaf,
    zmq_hashblock_addr: Leaf,
    rpc_cookie_path: Leaf,
    rpc_user: Leaf,
    rpc_pass: Leaf,
    rpc_cert_path: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawPayout {
    address: Leaf,
    tag: Leaf,
    set_version_bits: Leaf,
    clear_version_bits: Leaf,
    per_miner: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawStratum {
    listen: Leaf,
    tls_listen: Leaf,
    max_connections: Leaf,
    max_connections_per_address: Leaf,
    password: Leaf,
    firmware: Vec<Spanned<Section<RawFirmware>>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawFirmware {
    prefix: Leaf,
    difficulty: Leaf,
    shares_per_minute: Leaf,
    extranonce2_size: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawHttp {
    name: Leaf,
    pin: Leaf,
    listen: Leaf,
    tls_listen: Leaf,
    json: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawData {
    dir: Leaf,
    copy_to: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawFailover {
    grace: Leaf,
    follow: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawLog {
    level: Leaf,
    format: Leaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawNotify {
    kind: Leaf,
    url: Leaf,
    token: Leaf,
    chat: Leaf,
    user: Leaf,
    password: Leaf,
    from: Leaf,
    to: Leaf,
    block: Leaf,
    best: Leaf,
    miner: Leaf,
    node: Leaf,
    down: Leaf,
    alarm: Leaf,
    update: Leaf,
}

impl RawConfig {
    fn into_settings(self, place: &Place) -> Settings {
        let mut nodes = Vec::new();
        if let Some(node) = self.node {
            let at = place.line(node.span());
            let node = node.into_inner().0;
            let backups = node.backup;
            let leaf = |key, leaf| place.setting("node", key, leaf);
            nodes.push(NodeSettings {
                at,
                key: "node",
                name: leaf("name", node.name),
                rpc_url: leaf("rpc_url", node.rpc_url),
                zmq_hashblock_addr: leaf("zmq_hashblock_addr", node.zmq_hashblock_addr),
                rpc_cookie_path: leaf("rpc_cookie_path", node.rpc_cookie_path),
                rpc_user: leaf("rpc_user", node.rpc_user),
                rpc_pass: leaf("rpc_pass", node.rpc_pass),
                rpc_cert_path: leaf("rpc_cert_path", node.rpc_cert_path),
            });
            nodes.extend(backups.into_iter().map(|backup| backup_settings(place, backup)));
        }
        let payout = inner(self.payout);
        let stratum = inner(self.stratum);
        let http = inner(self.http);
        let data = inner(self.data);
        let failover = inner(self.failover);
        let log = inner(self.log);
        Settings {
            whole: At::File(place.file.to_owned()),
            nodes,
            address: place.setting("payout", "address", payout.address),
            tag: place.setting("payout", "tag", payout.tag),
            set_version_bits: place.setting("payout", "set_version_bits", payout.set_version_bits),
            clear_version_bits: place.setting(
                "payout",
                "clear_version_bits",
                payout.clear_version_bits,
            ),
            per_miner: place.setting("payout", "per_miner", payout.per_miner),
            stratum_listen: place.setting("stratum", "listen", stratum.listen),
            tls_listen: place.setting("stratum", "tls_listen", stratum.tls_listen),
            max_connections: place.setting("stratum", "max_connections", stratum.max_connections),
            max_connections_per_address: place.setting(
                "stratum",
                "max_connections_per_address",
                stratum.max_connections_per_address,
            ),
            password: place.setting("stratum", "password", stratum.password),
            firmwares: stratum.firmware.into_iter().map(|f| firmware_settings(place, f)).collect(),
            name: place.setting("http", "name", http.name),
            pin: place.setting("http", "pin", http.pin),
            http_listen: place.setting("http", "listen", http.listen),
            http_tls_listen: place.setting("http", "tls_listen", http.tls_listen),
            json: place.setting("http", "json", http.json),
            dir: place.setting("data", "dir", data.dir),
            copy_to: place.setting("data", "copy_to", data.copy_to),
            grace: place.setting("failover", "grace", failover.grace),
            follow: place.setting("failover", "follow", failover.follow),
            level: place.setting("log", "level", log.level),
            format: place.setting("log", "format", log.format),
            notify: self.notify.into_iter().map(|n| notify_settings(place, n)).collect(),
        }
    }
}

fn backup_settings(place: &Place, backup: Spanned<Section<RawBackup>>) -> NodeSettings {
    let at = place.line(backup.span());
    let backup = backup.into_inner().0;
    let leaf = |key, leaf| place.setting("node.backup", key, leaf);
    NodeSettings {
        at,
        key: "node.backup",
        name: leaf("name", backup.name),
        rpc_url: leaf("rpc_url", backup.rpc_url),
        zmq_hashblock_addr: leaf("zmq_hashblock_addr", backup.zmq_hashblock_addr),
        rpc_cookie_path: leaf("rpc_cookie_path", backup.rpc_cookie_path),
        rpc_user: leaf("rpc_user", backup.rpc_user),
        rpc_pass: leaf("rpc_pass", backup.rpc_pass),
        rpc_cert_path: leaf("rpc_cert_path", backup.rpc_cert_path),
    }
}

fn firmware_settings(place: &Place, firmware: Spanned<Section<RawFirmware>>) -> FirmwareSettings {
    let at = place.line(firmware.span());
    let firmware = firmware.into_inner().0;
    let leaf = |key, leaf| place.setting("stratum.firmware", key, leaf);
    FirmwareSettings {
        at,
        prefix: leaf("prefix", firmware.prefix),
        difficulty: leaf("difficulty", firmware.difficulty),
        shares_per_minute: leaf("shares_per_minute", firmware.shares_per_minute),
        extranonce2_size: leaf("extranonce2_size", firmware.extranonce2_size),
    }
}

fn notify_settings(place: &Place, notify: Spanned<Section<RawNotify>>) -> NotifySettings {
    let at = place.line(notify.span());
    let notify = notify.into_inner().0;
    let leaf = |key, leaf| place.setting("notify", key, leaf);
    NotifySettings {
        at,
        kind: leaf("kind", notify.kind),
        url: leaf("url", notify.url),
        token: leaf("token", notify.token),
        chat: leaf("chat", notify.chat),
        user: leaf("user", notify.user),
        password: leaf("password", notify.password),
        from: leaf("from", notify.from),
        to: leaf("to", notify.to),
        switches: [
            (Topic::Block, leaf("block", notify.block)),
            (Topic::Best, leaf("best", notify.best)),
            (Topic::Miner, leaf("miner", notify.miner)),
            (Topic::Node, leaf("node", notify.node)),
            (Topic::Down, leaf("down", notify.down)),
            (Topic::Alarm, leaf("alarm", notify.alarm)),
            (Topic::Update, leaf("update", notify.update)),
        ],
    }
}

fn inner<T: Default>(section: Option<Section<T>>) -> T {
    section.map(|section| section.0).unwrap_or_default()
}

/// A table. The derived structures alone would also take a list, value by value.
struct Section<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Section<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Section<T>, D::Error> {
        struct OnlyMap<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyMap<T> {
            type Value = Section<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED_SECTION)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Section<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Section)
            }
        }

        deserializer.deserialize_map(OnlyMap(PhantomData))
    }
}

const EXPECTED_SECTION: &str = "a section";

/// The file, for turning a span into a line.
struct Place<'a> {
    file: &'a str,
    text: &'a str,
}

impl Place<'_> {
    fn line(&self, span: Range<usize>) -> At {
        let start = span.start.min(self.text.len());
        let line = 1 + self.text.as_bytes()[..start].iter().filter(|&&byte| byte == b'\n').count();
        At::Line { file: self.file.to_owned(), line }
    }

    fn setting(&self, section: &str, key: &str, leaf: Leaf) -> Option<Setting> {
        let leaf = leaf?;
        let at = self.line(leaf.span());
        let written = self.text.get(leaf.span()).unwrap_or_default();
        let escaped = written.starts_with('"') && written.contains('\\');
        Some(Setting { key: format!("{section}.{key}"), at, value: leaf.into_inner(), escaped })
    }
}

/// The parser's error in the owner's words. Its own text is used only where it cannot quote a
/// value, because the value may be a password.
fn explain(place: &Place, error: &toml::de::Error) -> Problem {
    let at = match error.span() {
        Some(span) => place.line(span),
        None => At::File(place.file.to_owned()),
    };
    let message = error.message();
    let (key, what, instead) = if let Some(key) = between(message, "unknown field `", "`") {
        let known: Vec<&str> = message.split('`').skip(3).step_by(2).collect();
        // A quoted key may be of any length and hold line feeds.
        let shown = key.escape_debug().take(60).collect();
        (shown, "there is no such setting".to_owned(), instead_of(key, &known))
    } else if message.contains("i128") || message.contains("u128") {
        (String::new(), "the number is too large".to_owned(), "Write a smaller one.".to_owned())
    } else if message.contains(EXPECTED_SECTION) || message.starts_with("invalid type") {
        let instead = "Write sections as [node], [payout], [stratum], [http], [data], [failover] \
                       and [log] on a line of their own, each backup node as [[node.backup]], each kind of miner as \
                       [[stratum.firmware]] and each place for notifications as [[notify]].";
        (String::new(), "this is not a section".to_owned(), instead.to_owned())
    } else if message.starts_with("duplicate key") {
        let instead = "Keep one of the two; a second node goes below [[node.backup]].".to_owned();
        (String::new(), "this was already written above".to_owned(), instead)
    } else if message.starts_with("string values must be quoted") {
        let instead = "Write the value between quotation marks: rpc_url = \
                       \"http://192.168.1.10:8332\".";
        (String::new(), "the value lacks its quotation marks".to_owned(), instead.to_owned())
    } else {
        let instead = "Write lines of the form key = \"value\" below a [section]; numbers, true \
                       and false stand without quotation marks.";
        (
            String::new(),
            format!("this is not TOML ({})", without_values(message)),
            instead.to_owned(),
        )
    };
    Problem { at, key, what, instead }
}

/// What an unknown key should have been: a setting under another name, or the nearest one.
fn instead_of(key: &str, known: &[&str]) -> String {
    if let Some((_, right)) = OTHER_NAMES.iter().find(|(other, _)| *other == key) {
        return format!("Write {right}.");
    }
    if let Some(near) = nearest(key, known) {
        return format!("Did you mean '{near}'?");
    }
    match SECTIONS_OF.iter().find(|(other, _)| *other == key) {
        Some((_, section)) => format!("'{key}' belongs below [{section}]."),
        None => format!("Here one of these can stand: {}.", known.join(", ")),
    }
}

/// Names by which other programs call what we have.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("payout_address", "address, below [payout]"),
    ("btcaddress", "address, below [payout]"),
    ("btcsig", "tag, below [payout]"),
    ("pooltag_prefix", "tag, below [payout]"),
    ("rpcuser", "rpc_user"),
    ("rpcpassword", "rpc_pass"),
    ("rpc_password", "rpc_pass"),
    ("rpccookiefile", "rpc_cookie_path"),
    ("rpc_cert", "rpc_cert_path"),
    ("cert_path", "rpc_cert_path"),
    ("zmqpubhashblock", "zmq_hashblock_addr"),
    ("zmqblock", "zmq_hashblock_addr"),
    ("url", "rpc_url, with the user and the password in rpc_user and rpc_pass"),
    ("network", "nothing: the chain is read from the node"),
];

/// Where a key belongs that stands in the wrong section. Keys of more than one section are absent.
const SECTIONS_OF: &[(&str, &str)] = &[
    ("rpc_url", "node"),
    ("rpc_user", "node"),
    ("rpc_pass", "node"),
    ("rpc_cookie_path", "node"),
    ("rpc_cert_path", "node"),
    ("zmq_hashblock_addr", "node"),
    ("address", "payout"),
    ("tag", "payout"),
    ("per_miner", "payout"),
    ("set_version_bits", "payout"),
    ("clear_version_bits", "payout"),
    ("max_connections", "stratum"),
    ("max_connections_per_address", "stratum"),
    ("json", "http"),
    ("pin", "http"),
    ("dir", "data"),
    ("copy_to", "data"),
    ("grace", "failover"),
    ("follow", "failover"),
    ("level", "log"),
    ("format", "log"),
    ("kind", "[notify]"),
    ("token", "[notify]"),
    ("chat", "[notify]"),
    ("from", "[notify]"),
    ("to", "[notify]"),
];

/// The known key that is at most a third of its letters away.
fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let close = |known: &&str| distance(key, known) <= known.len().max(key.len()) / 3;
    known.iter().copied().filter(close).min_by_key(|known| distance(key, known))
}

/// Levenshtein's distance in bytes, case ignored.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let above = row[j + 1];
            let replace = diagonal + usize::from(x != y);
            row[j + 1] = replace.min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let rest = &text[text.find(from)? + from.len()..];
    Some(&rest[..rest.find(to)?])
}

/// The message up to the first quotation mark or backtick, from where it could quote the file.
fn without_values(message: &str) -> &str {
    let end = message.find(['"', '`', '\n']).unwrap_or(message.len());
    message[..end].trim_end_matches([' ', ',', ':']).trim_end_matches(", expected")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_places_agrees_with_the_structures() {
        // Each key is known below its section, and the parser's own list is complete: an unknown
        // key in every section names all keys that the list places there.
        for section in ["node", "payout", "stratum", "http", "data", "failover", "log", "[notify]"]
        {
            let text = format!("[{section}]\nqqqqqqqqqqqqqqqqqqqqqqq = 1\n");
            let Err(problem) = read("f", &text) else { panic!("{section}") };
            for (key, _) in SECTIONS_OF.iter().filter(|(_, own)| *own == section) {
                assert!(problem.instead.contains(key), "{section} {key}: {}", problem.instead);
            }
        }
    }

    #[test]
    fn distances() {
        assert_eq!(distance("rpc_url", "rpc_url"), 0);
        assert_eq!(distance("rcp_url", "rpc_url"), 2);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
