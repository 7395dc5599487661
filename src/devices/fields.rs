//! An answer's fields, each read by itself: one of a wrong type is missing, and the others are not.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Unreadable, text};

/// An object of JSON whose values are read when they are asked for. Of a name that comes twice the last
/// counts.
pub(super) struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    /// An object without any.
    pub(super) fn nothing() -> Fields<'a> {
        Fields(BTreeMap::new())
    }

    /// # Errors
    /// It is no JSON, or something else than an object.
    pub(super) fn of(json: &'a str) -> Result<Fields<'a>, Unreadable> {
        let fields = serde_json::from_str(json).map(Fields);
        fields.map_err(|_| {
            let is_json = serde_json::from_str::<&RawValue>(json).is_ok();
            let is_page = json.trim_start().starts_with('<');
            if is_json || is_page { Unreadable::NoMiner } else { Unreadable::Malformed }
        })
    }

    /// The value as it was told.
    pub(super) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A number, or a text that is one: `"4.29G"` is 4,290,000,000.
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        number(self.raw(name)?)
    }

    /// A number of things. What no such number can be is missing.
    pub(super) fn whole(&self, name: &str) -> Option<u64> {
        // 2^53: beyond it, a number of JSON need not be exact.
        let told = self.number(name).filter(|told| (0.0..9.007e15).contains(told))?;
        Some(told as u64)
    }

    /// `true` and `false`, or a number: firmwares changed from 1 and 0.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.raw(name)?.get() {
            "true" => Some(true),
            "false" => Some(false),
            other => other.parse().ok().map(|number: f64| number != 0.0),
        }
    }

    /// A text as it was told; a number or a list is none.
    pub(super) fn string(&self, name: &str) -> Option<String> {
        let raw = self.raw(name)?.get();
        if !raw.starts_with('"') {
            return None;
        }
        serde_json::from_str(raw).ok()
    }

    /// A text for people; empty where there is none.
    pub(super) fn text(&self, name: &str) -> String {
        text(&self.string(name).unwrap_or_default())
    }

    pub(super) fn object(&self, name: &str) -> Option<Fields<'a>> {
        Fields::of(self.raw(name)?.get()).ok()
    }

    /// The entries of a list; none where there is no list.
    pub(super) fn list(&self, name: &str) -> Vec<&'a RawValue> {
        let list = self.raw(name).map(|raw| serde_json::from_str(raw.get()));
        list.and_then(Result::ok).unwrap_or_default()
    }

    /// The entries of a list that are objects.
    pub(super) fn objects(&self, name: &str) -> Vec<Fields<'a>> {
        self.list(name).into_iter().filter_map(|raw| Fields::of(raw.get()).ok()).collect()
    }

    /// All names with what can be read as a number.
    pub(super) fn numbers(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().filter_map(|(name, raw)| Some((name.as_str(), number(raw)?)))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// As [`Fields::number`].
pub(super) fn number(raw: &RawValue) -> Option<f64> {
    let raw = raw.get();
    if raw.starts_with(['{', '[', 't', 'f', 'n']) {
        return None;
    }
    match Cow::<str>::deserialize(&mut serde_json::Deserializer::from_str(raw)) {
        Ok(told) => suffixed(&told),
        Err(_) => raw.parse().ok(),
    }
}

/// `12.5`, `4.29G`, `1.2 k`, `13,500.00`: a number with the sign of a power of a thousand, or with commas
/// between its thousands.
pub(super) fn suffixed(told: &str) -> Option<f64> {
    let told = told.trim();
    let power = |sign| match sign {
        'k' | 'K' => Some(1e3),
        'M' => Some(1e6),
        'G' => Some(1e9),
        'T' => Some(1e12),
        'P' => Some(1e15),
        'E' => Some(1e18),
        _ => None,
    };
    let digits = |told: &str| {
        let mut groups = told.trim().split(',').skip(1);
        if groups.any(|group| group.split('.').next().is_none_or(|whole| whole.len() != 3)) {
            return None;
        }
        let number = told.trim().replace(',', "").parse().ok();
        // Without this, Rust would read "inf" and "nan".
        number.filter(|number: &f64| number.is_finite())
    };
    match told.chars().next_back().and_then(power) {
        Some(power) => Some(digits(&told[..told.len() - 1])? * power),
        None => digits(told),
    }
}

/// What devices send for JSON, as JSON: without NULs, with `null` for `nan` and `inf`, with the comma
/// that Antminers leave out between two objects (`}{`), and with spaces for control characters in texts.
/// What is broken otherwise stays broken.
pub(super) fn mended(told: &str) -> String {
    let mut mended = String::with_capacity(told.len());
    let mut told = told.trim_matches(|c: char| c == '\0' || c.is_whitespace()).chars().peekable();
    let (mut in_text, mut ended_object) = (false, false);
    while let Some(c) = told.next() {
        if in_text {
            mended.push(if c.is_control() { ' ' } else { c });
            match c {
                '\\' => mended.extend(told.next()),
                '"' => in_text = false,
                _ => {}
            }
            continue;
        }
        let ended_before = ended_object;
        ended_object = c == '}' || (ended_before && c.is_whitespace());
        match c {
            '{' if ended_before => mended.push_str(",{"),
            '"' => {
                in_text = true;
                mended.push(c);
            }
            '-' if told.peek().is_some_and(char::is_ascii_alphabetic) => {}
            // An exponent's sign belongs to its number.
            'e' | 'E' if mended.ends_with(|before: char| before.is_ascii_digit()) => mended.push(c),
            c if c.is_ascii_alphabetic() => {
                let mut word = String::from(c);
                while let Some(more) = told.next_if(char::is_ascii_alphabetic) {
                    word.push(more);
                }
                let is_no_number =
                    ["nan", "inf", "infinity"].contains(&word.to_ascii_lowercase().as_str());
                mended.push_str(if is_no_number { "null" } else { &word });
            }
            '\0' => {}
            c => mended.push(c),
        }
    }
    mended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_a_wrong_type_costs_itself_alone() {
        let json = r#"{"a": "x", "b": null, "c": [1], "d": {"e": 2}, "f": 1e999, "g": 7, "g": 8,
            "h": "\ud800", "i": true}"#;
        let fields = Fields::of(json).unwrap_or_else(|fault| panic!("{fault}"));
        for name in ["a", "b", "c", "d", "h", "i", "nothing"] {
            assert_eq!(fields.number(name), None, "{name}");
        }
        assert_eq!(fields.number("f"), Some(f64::INFINITY));
        assert_eq!(fields.whole("f"), None);
        assert_eq!(fields.number("g"), Some(8.0));
        assert_eq!(fields.text("h"), "");
        assert_eq!(fields.text("g"), "");
        assert_eq!(fields.flag("i"), Some(true));
        assert_eq!(fields.flag("a"), None);
        assert_eq!(fields.list("a").len(), 0);
        assert_eq!(fields.object("d").and_then(|d| d.number("e")), Some(2.0));
    }

    #[test]
    fn numbers_are_read_with_their_suffix() {
        for (told, number) in [
            ("4.29G", Some(4.29e9)),
            ("91.8 M", Some(91.8e6)),
            ("12", Some(12.0)),
            ("13,500.25", Some(13_500.25)),
            ("13,5", None),
            ("-3.5", Some(-3.5)),
            ("", None),
            ("G", None),
            ("nan", None),
            ("inf", None),
            ("1.2X", None),
            ("4.29µ", None),
        ] {
            assert_eq!(suffixed(told), number, "{told}");
        }
    }

    #[test]
    fn broken_json_is_mended_where_it_is_known_how_it_breaks() {
        for (told, whole) in [
            ("{\"a\":1}\0\n", r#"{"a":1}"#),
            (r#"[{"a":1}{"b":2} {"c":3}]"#, r#"[{"a":1},{"b":2} ,{"c":3}]"#),
            (
                r#"{"a":nan,"b":-inf,"c":true,"d":-1.5e+7}"#,
                r#"{"a":null,"b":null,"c":true,"d":-1.5e+7}"#,
            ),
            (r#"{"a":"}{ nan \" }{"}"#, r#"{"a":"}{ nan \" }{"}"#),
            ("{\"a\":\"x\ty\"}", r#"{"a":"x y"}"#),
        ] {
            assert_eq!(mended(told), whole);
            assert!(serde_json::from_str::<serde_json::Value>(&mended(told)).is_ok(), "{told}");
        }
    }

    #[test]
    fn what_is_no_object_is_no_miner_and_what_is_no_json_is_malformed() {
        for (told, fault) in [
            ("[]", Unreadable::NoMiner),
            ("3", Unreadable::NoMiner),
            ("<!DOCTYPE html><title>Soloist</title>", Unreadable::NoMiner),
            ("", Unreadable::Malformed),
            ("{\"power\":", Unreadable::Malformed),
            ("\u{fffd}\u{1}", Unreadable::Malformed),
        ] {
            assert_eq!(Fields::of(told).err(), Some(fault), "{told}");
        }
    }
}
