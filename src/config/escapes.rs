//! Finds control characters in a user or a password. Mostly a pasted password has a backslash,
//! which begins an escape in a TOML string with double quotes. Pure.

use toml::Value;

use super::problem::At;
use super::written::Setting;

/// A sentence about the first control character; never any other character of the value.
pub(super) fn warning(setting: &Setting) -> Option<String> {
    let Value::String(text) = &setting.value else { return None };
    let (before, character) = text.chars().enumerate().find(|(_, c)| c.is_control())?;
    let place = match &setting.at {
        At::Line { file, line } => format!("In line {line} of {file}, character"),
        _ => "Character".to_owned(),
    };
    let (name, escape) = name(character);
    let what = format!("{place} {} of {} is {name}", before + 1, setting.key);
    Some(match setting.escaped {
        false => format!("{what}. If it only came along with copying, write the line again."),
        true => format!(
            "{what}, because {escape} stands for one between double quotes. If the backslash is \
             meant, write it in single quotes ('…') or the backslash twice."
        ),
    })
}

/// A control character in words, and as the escape that makes it (TOML 1.1).
fn name(character: char) -> (String, String) {
    let (name, escape) = match character {
        '\u{8}' => ("a backspace", r"\b"),
        '\t' => ("a tab", r"\t"),
        '\n' => ("a line feed", r"\n"),
        '\u{c}' => ("a form feed", r"\f"),
        '\r' => ("a carriage return", r"\r"),
        '\u{1b}' => ("an escape character", r"\e"),
        other => {
            let number = u32::from(other);
            return (format!("the control character U+{number:04X}"), format!(r"\u{number:04X}"));
        }
    };
    (name.to_owned(), escape.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(value: &str, escaped: bool) -> Option<String> {
        let at = At::Line { file: "f".to_owned(), line: 7 };
        let value = Value::String(value.to_owned());
        let (name, key) = ("rpc_pass".to_owned(), "node.rpc_pass".to_owned());
        warning(&Setting { name, key, at, value, escaped })
    }

    #[test]
    fn the_first_control_character_is_told_with_its_place_and_nothing_else() {
        assert_eq!(told("geheim", true), None);
        assert_eq!(told("a\\b\"ü", true), None, "these are meant");
        for (value, words) in [
            ("geh\teim", r"character 4 of node.rpc_pass is a tab, because \t stands"),
            ("\u{8}geheim\t", r"character 1 of node.rpc_pass is a backspace, because \b"),
            (
                "äö\u{1}geheim",
                r"character 3 of node.rpc_pass is the control character U+0001, because \u0001",
            ),
            ("\u{1b}", r"an escape character, because \e"),
            ("\u{9b}", r"U+009B, because \u009B"),
        ] {
            let said = told(value, true).unwrap();
            assert!(said.starts_with("In line 7 of f, ") && said.contains(words), "{said}");
            assert!(
                said.ends_with("write it in single quotes ('…') or the backslash twice.")
                    && !said.contains("eim")
            );
        }
        let said = told("geheim\t", false).unwrap();
        assert!(
            said.ends_with("is a tab. If it only came along with copying, write the line again.")
        );
    }
}
