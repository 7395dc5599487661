//! The content of the file and the flags, as tables of values with their positions. Undeclared
//! names are refused.

use std::ops::Range;

use serde::Deserialize;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Value};

use super::declare::{Facts, SectionFacts};
use super::flags::{Flags, NODE};
use super::problem::{At, Problem};
use super::sections::SECTIONS;

/// One value, and where it was written. Not `Debug`: it may be a password.
pub(super) struct Setting {
    pub name: String,
    /// With its section, such as `node.backup.name`; the flag's name on the command line.
    pub key: String,
    pub at: At,
    pub value: Value,
    /// It stands between double quotes, with a backslash in it: some of its characters are not
    /// written as they are.
    pub escaped: bool,
}

/// A section as it was written.
pub(super) struct Table {
    /// Such as `node.backup`; `--node` for one of the command line.
    pub key: &'static str,
    pub at: At,
    pub settings: Vec<Setting>,
}

/// Everything that was written.
pub(super) struct Written {
    /// The file as a whole: where missing settings are reported.
    pub whole: At,
    tables: Vec<Table>,
}

impl Table {
    pub(super) fn get(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }

    /// Where the setting stands, else the section.
    pub(super) fn place(&self, name: &str) -> &At {
        self.get(name).map_or(&self.at, |setting| &setting.at)
    }

    /// Nothing is written, or what a shipped file says before its owner has: `""` or `[]`.
    pub(super) fn is_blank(&self, name: &str) -> bool {
        self.get(name).is_none_or(|setting| is_empty(&setting.value))
    }

    pub(super) fn key_of(&self, name: &str) -> String {
        format!("{}.{name}", self.key)
    }

    /// Takes a setting out, as if it were not written.
    pub(super) fn forget(&mut self, name: &str) {
        self.settings.retain(|setting| setting.name != name);
    }

    /// Lays the flags that are declared with these settings over them.
    fn lay_over(&mut self, facts: Vec<Facts>, flags: &Flags) {
        for facts in facts {
            let (Some(value), Some(flag)) = (flags.setting(&facts), facts.flag) else { continue };
            self.forget(facts.name);
            let (name, key, at) =
                (facts.name.to_owned(), flag.name.to_owned(), At::Flag(flag.name));
            self.settings.push(Setting { name, key, at, value, escaped: false });
        }
    }
}

impl Written {
    /// Nothing, in a file or (`At::Nowhere`) without one.
    pub(super) fn nothing(whole: At) -> Written {
        let single = SECTIONS.iter().filter(|section| !section.is_list() && section.name != "node");
        let empty = |section: &SectionFacts| {
            let settings = Vec::new();
            Table { key: section.name, at: whole.clone(), settings }
        };
        Written { tables: single.map(empty).collect(), whole }
    }

    /// Reads `text`, and everything in it that cannot be read, by its line; `file` is its name in
    /// messages.
    pub(super) fn read(file: &str, text: &str) -> (Written, Vec<Problem>) {
        let place = Place { file, text };
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut written = Written::nothing(At::File(file.to_owned()));
        let mut problems: Vec<Problem> = errors.iter().map(|error| place.explain(error)).collect();
        place.sections("", root.into_inner(), &mut written, &mut problems);
        problems.sort_by_key(|problem| problem.at.number());
        // Of one line the first mistake: the others mostly follow from it.
        problems.dedup_by_key(|problem| problem.at.number());
        (written, problems)
    }

    /// Where settings stand.
    pub(super) fn places(&self) -> Vec<At> {
        let settings = self.tables.iter().flat_map(|table| &table.settings);
        settings.map(|setting| setting.at.clone()).collect()
    }

    /// The one table of a section. It is always there; it may be empty.
    pub(super) fn one(&mut self, section: &str) -> &mut Table {
        let at = self.tables.iter().position(|table| table.key == section);
        &mut self.tables[at.expect("each section has its table from the start")]
    }

    /// The tables of these sections, in their order.
    pub(super) fn all<'a>(&'a self, sections: &'a [&str]) -> impl Iterator<Item = &'a Table> {
        self.tables.iter().filter(|table| sections.contains(&table.key))
    }

    /// Takes all tables of these sections out.
    pub(super) fn forget(&mut self, sections: &[&str]) {
        self.tables.retain(|table| !sections.contains(&table.key));
    }

    /// Lays the flags over what the file says.
    pub(super) fn lay_over(&mut self, flags: &Flags) {
        let nodes = flags.nodes();
        if !nodes.is_empty() {
            self.forget(&NODES);
        }
        for node in nodes {
            let mut table = Table { key: NODE, at: At::Flag(NODE), settings: Vec::new() };
            table.lay_over(facts("node"), &node);
            self.tables.push(table);
        }
        for table in self.tables.iter_mut().filter(|table| !NODES.contains(&table.key)) {
            table.lay_over(facts(table.key), flags);
        }
    }
}

/// Where nodes are written.
pub(super) const NODES: [&str; 3] = ["node", "node.backup", NODE];

/// `""` or `[]`.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

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

    /// Goes through the sections of `table`, which is the file or the section `path`.
    fn sections(
        &self,
        path: &str,
        table: DeTable,
        written: &mut Written,
        problems: &mut Vec<Problem>,
    ) {
        let mut entries: Vec<_> = table.into_iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let name = key.get_ref().as_ref();
            let full = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            let section = SECTIONS.iter().find(|section| section.name == full);
            let (span, value) = (value.span(), value.into_inner());
            match (section, value) {
                (Some(section), DeValue::Table(table)) if !section.is_list() => {
                    self.section(section, span, table, written, problems);
                }
                (Some(section), DeValue::Array(list)) if section.is_list() => {
                    for one in list {
                        let span = one.span();
                        match one.into_inner() {
                            DeValue::Table(table) => {
                                self.section(section, span, table, written, problems);
                            }
                            _ => problems.push(self.no_section(span)),
                        }
                    }
                }
                (Some(_), _) => problems.push(self.no_section(span)),
                (None, value) if facts(path).iter().any(|facts| facts.name == name) => {
                    let table = written.tables.last_mut().expect("its section comes before it");
                    match self.setting(name, full, Spanned::new(span, value)) {
                        Ok(setting) => table.settings.push(setting),
                        Err(problem) => problems.push(problem),
                    }
                }
                (None, _) => problems.push(self.unknown(path, name, key.span())),
            }
        }
    }

    fn section(
        &self,
        section: &SectionFacts,
        span: Range<usize>,
        table: DeTable,
        written: &mut Written,
        problems: &mut Vec<Problem>,
    ) {
        // Settings before the sections within: they belong to the table that is made here.
        let at = self.line(span);
        written.tables.retain(|table| section.is_list() || table.key != section.name);
        written.tables.push(Table { key: section.name, at, settings: Vec::new() });
        let within = |name: &str| {
            let full = format!("{}.{name}", section.name);
            SECTIONS.iter().any(|section| section.name == full)
        };
        let (inner, own): (DeTable, DeTable) =
            table.into_iter().partition(|(key, _)| within(key.get_ref()));
        self.sections(section.name, own, written, problems);
        self.sections(section.name, inner, written, problems);
    }

    fn setting(
        &self,
        name: &str,
        key: String,
        value: Spanned<DeValue>,
    ) -> Result<Setting, Problem> {
        let at = self.line(value.span());
        let written = self.text.get(value.span()).unwrap_or_default();
        let escaped = written.starts_with('"') && written.contains('\\');
        let value = Value::deserialize(ValueDeserializer::from(value))
            .map_err(|error| self.explain(&error))?;
        Ok(Setting { name: name.to_owned(), key, at, value, escaped })
    }

    fn no_section(&self, span: Range<usize>) -> Problem {
        let single = SECTIONS.iter().filter(|section| !section.is_list());
        let mut single: Vec<String> = single.map(|section| section.heading()).collect();
        let last = single.pop().unwrap_or_default();
        let instead = format!(
            "Write sections as {} and {last} on a line of their own, each backup node as [[node.backup]], \
             each kind of miner as [[stratum.firmware]] and each place for notifications as [[notify]].",
            single.join(", ")
        );
        self.problem(Some(span), "", "this is not a section", &instead)
    }

    fn unknown(&self, section: &str, key: &str, span: Range<usize>) -> Problem {
        // A quoted key may be of any length and hold line feeds.
        let shown: String = key.escape_debug().take(60).collect();
        self.problem(Some(span), &shown, "there is no such setting", &instead_of(key, section))
    }

    /// The parser's error in the owner's words. Its own text is used only where it cannot quote a
    /// value, because the value may be a password.
    fn explain(&self, error: &toml::de::Error) -> Problem {
        let message = error.message();
        let not_toml = format!("this is not TOML ({})", without_values(message));
        let (what, instead) = if message.contains("i128") || message.contains("u128") {
            ("the number is too large", "Write a smaller one.")
        } else if message.starts_with("duplicate key") {
            let instead = "Keep one of the two; a second node goes below [[node.backup]].";
            ("this was already written above", instead)
        } else if message.starts_with("string values must be quoted") {
            let instead = "Write the value between quotation marks: rpc_url = \
                           \"http://192.168.1.10:8332\".";
            ("the value lacks its quotation marks", instead)
        } else {
            let instead = "Write lines of the form key = \"value\" below a [section]; numbers, \
                           true and false stand without quotation marks.";
            (not_toml.as_str(), instead)
        };
        self.problem(error.span(), "", what, instead)
    }

    fn problem(&self, span: Option<Range<usize>>, key: &str, what: &str, instead: &str) -> Problem {
        let at = span.map_or_else(|| At::File(self.file.to_owned()), |span| self.line(span));
        let [key, what, instead] = [key, what, instead].map(str::to_owned);
        Problem { at, key, what, instead }
    }
}

/// What is declared below a section; nothing for the file itself.
fn facts(section: &str) -> Vec<Facts> {
    let section = SECTIONS.iter().find(|known| known.name == section);
    section.map_or_else(Vec::new, |section| (section.facts)())
}

/// What an unknown key of a section should have been: a setting under another name, or the
/// nearest one.
fn instead_of(key: &str, section: &str) -> String {
    if let Some((_, right)) = OTHER_NAMES.iter().find(|(other, _)| *other == key) {
        return format!("Write {right}.");
    }
    let within = SECTIONS.iter().filter_map(|inner| match inner.name.rsplit_once('.') {
        Some((outer, name)) => (outer == section).then_some(name),
        None => section.is_empty().then_some(inner.name),
    });
    let own = facts(section).into_iter().map(|facts| facts.name);
    let known: Vec<&str> = own.chain(within).collect();
    if let Some(near) = nearest(key, &known) {
        return format!("Did you mean '{near}'?");
    }
    match section_of(key) {
        Some(section) => format!("'{key}' belongs below {section}."),
        None => format!("Here one of these can stand: {}.", known.join(", ")),
    }
}

/// The one section that a key belongs to; the nodes' sections are one.
fn section_of(key: &str) -> Option<String> {
    let has = |section: &&SectionFacts| (section.facts)().iter().any(|facts| facts.name == key);
    let mut sections = SECTIONS.iter().filter(|section| section.name != "node.backup").filter(has);
    match (sections.next(), sections.next()) {
        (Some(only), None) => Some(only.heading()),
        _ => None,
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
    ("p2p", "p2p_addr"),
    ("p2p_port", "p2p_addr, with the host before the port"),
    ("url", "rpc_url, with the user and the password in rpc_user and rpc_pass"),
    ("addnode", "peers, below [p2p]"),
    ("onion", "proxy, below [p2p]"),
    ("dnsseed", "dns_seeds, below [p2p]"),
    ("mqtt_host", "broker, below [mqtt]"),
    ("mqtt_broker", "broker, below [mqtt]"),
    ("peer", "partner, below [pair]"),
    ("virtual_ip", "virtual_address, below [pair]"),
    ("network", "nothing: the chain is read from the node"),
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

/// The message up to the first quotation mark or backtick, from where it could quote the file.
fn without_values(message: &str) -> &str {
    let end = message.find(['"', '`', '\n']).unwrap_or(message.len());
    message[..end].trim_end_matches([' ', ',', ':']).trim_end_matches(", expected")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("rpc_url", "rpc_url"), 0);
        assert_eq!(distance("rcp_url", "rpc_url"), 2);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    /// Each setting can be written below its section, and a stray one is sent there.
    #[test]
    fn every_declared_name_is_known_where_it_belongs() {
        for section in SECTIONS {
            for facts in (section.facts)() {
                let text = format!("{}\n{} = 1\n", section.heading(), facts.name);
                assert_eq!(Written::read("f", &text).1, [], "{text}");
                let (_, problems) = Written::read("f", &format!("[nowhere]\n{text}"));
                assert_eq!(problems[0].key, "nowhere", "{text}");
                if let Some(home) = section_of(facts.name) {
                    assert!(home == section.heading() || section.name == "node.backup", "{home}");
                }
            }
        }
        let (_, problems) = Written::read("f", "node = 3");
        let [problem] = problems.as_slice() else { panic!("it is no section: {problems:?}") };
        for heading in SECTIONS.iter().map(SectionFacts::heading) {
            assert!(problem.instead.contains(&heading), "{heading}: {}", problem.instead);
        }
        assert_eq!(section_of("grace").as_deref(), Some("[failover]"));
        assert_eq!(section_of("chat").as_deref(), Some("[[notify]]"));
        assert_eq!(section_of("listen"), None, "there are two");
    }
}
