//! Settings from the command line: each flag is declared with the setting that it overrides.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::Value;

use super::declare::{Facts, Flag};
use super::sections::SECTIONS;
use super::url;
use super::written::is_empty;

/// The flags of the command line. They override the file for this run and are never written back.
#[derive(Clone, Default, PartialEq)]
pub struct Flags {
    /// `--config FILE`
    pub config: Option<PathBuf>,
    /// Name and value of each flag, in the given order.
    given: Vec<(&'static str, String)>,
}

/// Why a flag is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFlag {
    /// No setting declares it.
    Unknown,
    /// It belongs to a node, and no `--node` precedes it.
    LacksNode,
}

/// Begins a node; the other flags of that node follow it. If there is a `--node`, the nodes of the
/// file are not used.
pub(super) const NODE: &str = "--node";

impl Flags {
    /// `--config FILE` alone.
    pub fn file(path: impl Into<PathBuf>) -> Flags {
        Flags { config: Some(path.into()), given: Vec::new() }
    }

    /// The full name of a declared flag: `--payout` for `payout`.
    pub fn known(name: &str) -> Option<&'static str> {
        declared().map(|(_, _, flag)| flag.name).find(|flag| flag.strip_prefix("--") == Some(name))
    }

    /// Adds a flag. If a setting takes only one value, the last flag counts.
    ///
    /// # Errors
    /// See [`BadFlag`].
    pub fn give(&mut self, flag: &str, value: impl Into<String>) -> Result<(), BadFlag> {
        let mut declared = declared();
        let (section, _, flag) =
            declared.find(|(_, _, known)| known.name == flag).ok_or(BadFlag::Unknown)?;
        if section == "node" && flag.name != NODE && self.value(NODE).is_none() {
            return Err(BadFlag::LacksNode);
        }
        self.given.push((flag.name, value.into()));
        Ok(())
    }

    /// These flags and one more.
    ///
    /// # Panics
    /// If [`Flags::give`] fails: this is for flags that the program itself makes.
    #[must_use]
    pub fn with(mut self, flag: &str, value: impl Into<String>) -> Flags {
        self.give(flag, value).expect("the flag is declared");
        self
    }

    /// The last value of a flag.
    pub fn value(&self, flag: &str) -> Option<&str> {
        self.given.iter().rfind(|(name, _)| *name == flag).map(|(_, value)| value.as_str())
    }

    /// `--data DIR`
    pub fn data(&self) -> Option<&Path> {
        self.value("--data").map(Path::new)
    }

    /// As [`Flags::value`], as a setting's value; a list of all values if the setting takes a list.
    pub(super) fn setting(&self, facts: &Facts) -> Option<Value> {
        let flag = facts.flag?.name;
        let all = self.given.iter().filter(|(name, _)| *name == flag);
        let mut all: Vec<Value> = all.map(|(_, value)| Value::String(value.clone())).collect();
        let last = all.pop()?;
        Some(match facts.is_list {
            true => Value::Array(all.into_iter().chain([last]).collect()),
            false => last,
        })
    }

    /// The flags of each node.
    pub(super) fn nodes(&self) -> Vec<Flags> {
        let mut nodes: Vec<Flags> = Vec::new();
        let of_nodes = |name: &str| {
            declared().any(|(section, _, flag)| section == "node" && flag.name == name)
        };
        for one in self.given.iter().filter(|(name, _)| of_nodes(name)) {
            if one.0 == NODE {
                nodes.push(Flags::default());
            }
            nodes.last_mut().expect("--node comes first").given.push(one.clone());
        }
        nodes
    }

    /// Paths on the command line are relative to the working directory, not to the config file.
    pub(super) fn absolute(&self) -> Flags {
        let is_path =
            |name: &str| declared().any(|(_, facts, flag)| flag.name == name && facts.is_path);
        let mut flags = self.clone();
        for (_, value) in flags.given.iter_mut().filter(|(name, _)| is_path(name)) {
            if let Ok(path) = std::path::absolute(&*value) {
                *value = path.to_string_lossy().into_owned();
            }
        }
        flags
    }

    /// The lines of `--help` for all flags, those of nodes first.
    pub fn help() -> String {
        let (nodes, others): (Vec<_>, Vec<_>) =
            declared().partition(|(section, _, _)| *section == "node");
        nodes.into_iter().chain(others).map(|(_, facts, flag)| help_of(&facts, flag)).collect()
    }
}

/// A URL may hold a password.
impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.given.iter().map(|(name, value)| (name, url::without_credentials(value)));
        write!(f, "Flags({:?}, {:?})", self.config, shown.collect::<Vec<_>>())
    }
}

/// Every flag with its section and its setting.
fn declared() -> impl Iterator<Item = (&'static str, Facts, Flag)> {
    let sections = SECTIONS.iter().filter(|section| !section.is_list());
    let all = sections.flat_map(|section| (section.facts)().into_iter().map(|f| (section.name, f)));
    all.filter_map(|(section, facts)| facts.flag.map(|flag| (section, facts, flag)))
}

fn help_of(facts: &Facts, flag: Flag) -> String {
    let default = match facts.default.as_ref().and_then(|default| default.parse().ok()) {
        Some(value) if is_empty(&value) => String::new(),
        Some(Value::Array(list)) => {
            let list: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
            format!(" (default {})", list.join(" and "))
        }
        Some(Value::String(text)) => format!(" (default {text})"),
        _ => String::new(),
    };
    let mut text = String::new();
    let mut line = format!("      {:<20}", format!("{} {}", flag.name, flag.value));
    for word in format!("{}{default}", flag.help).split(' ') {
        if line.len() + 1 + word.len() > 98 {
            text += &format!("{}\n", line.trim_end());
            line = " ".repeat(26);
        }
        line += &format!("{}{word}", if line.ends_with(' ') { "" } else { " " });
    }
    format!("{text}{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_tells_defaults_but_empty_ones() {
        let help = Flags::help();
        for line in [
            "      --peer H:P          A node of others that is connected to before any other; may be",
            "      --outside-proxy H:P The SOCKS5 proxy",
            "off, block or watch (default\n                          block)\n",
        ] {
            assert!(help.contains(line), "{help}");
        }
        assert!(!help.contains("(default )"), "{help}");
        assert!(help.lines().all(|line| line.len() <= 100), "{help}");
    }
}
