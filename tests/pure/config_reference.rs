//! The two files that are made from the declarations of the settings (`src/config/sections.rs`):
//! the config that the image carries, and the reference. After a change of a declaration this
//! command rewrites them: `SOLOIST_WRITE=1 cargo test --test pure config_reference`

use std::fs;
use std::path::Path;

use soloist::config::{Facts, Line, Reload, SECTIONS, SectionFacts};

#[test]
fn the_files_of_the_declarations_are_up_to_date() {
    let files = [("image/soloist.toml", file()), ("docs/settings.md", page())];
    for (name, wanted) in files {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        if std::env::var_os("SOLOIST_WRITE").is_some() {
            fs::write(&path, &wanted).expect("the tree can be written");
        }
        let text = fs::read_to_string(&path).expect("it is there");
        let differs = text.lines().zip(wanted.lines()).find(|(is, wanted)| is != wanted);
        assert!(
            text == wanted,
            "{name} is not what src/config/sections.rs declares, first here: {differs:?}. Say: \
             SOLOIST_WRITE=1 cargo test --test pure config_reference"
        );
    }
}

/// Width of the file, in characters.
const WIDTH: usize = 100;

const HEAD: &str = "Soloist's settings. Lines that begin with # are explanations or show a default: \
                    remove the # to change it. After a change say 'soloist check', then 'systemctl \
                    reload soloist'. Miners stay connected, and a file with a mistake changes \
                    nothing.\n\
                    \n\
                    This file may hold passwords. Only its owner should be able to read it: chmod \
                    600 soloist.toml";

/// `image/soloist.toml`: what the box starts with, with its defaults as comments.
fn file() -> String {
    let mut text = comment(HEAD);
    for section in SECTIONS {
        text.push('\n');
        if !section.title.is_empty() {
            text += &format!("{:-<97}\n\n", format!("# ---- {} ", section.title));
        }
        text += &comment(section.words);
        if let Some(example) = section.example {
            let example = example.replace('\n', "\n#");
            text += &format!("#\n#{}\n#{example}\n", section.heading());
            continue;
        }
        text += &format!("{}\n", section.heading());
        let shown =
            (section.facts)().into_iter().filter(|facts| !matches!(facts.line, Line::Hidden));
        for (place, facts) in shown.enumerate() {
            if !facts.joined {
                text += if place > 0 { "\n" } else { "" };
                text += &comment(match facts.line {
                    Line::Set(_, Some(words)) => words,
                    _ => facts.words,
                });
            }
            let name = facts.name;
            text += &match &facts.line {
                Line::Set(value, _) => format!("{name} = {value}\n"),
                Line::Example(value) => format!("#{name} = {value}\n"),
                _ => format!("#{name} = {}\n", facts.default.unwrap_or_default()),
            };
            let apart = if facts.note.starts_with('\n') { "\n" } else { "" };
            text += &format!("{apart}{}", comment(facts.note.trim_start()));
        }
    }
    text
}

/// `docs/settings.md`: every setting with its bounds and default.
fn page() -> String {
    let mut text = "# Settings\n\n\
        Made from the declarations in `src/config/sections.rs`; `tests/pure/config_reference.rs` says how.\n\n\
        The settings are in `soloist.toml`; [image/soloist.toml](../image/soloist.toml) is an \
        example. A flag overrides the file for one run. `soloist check` reports mistakes with their \
        lines and changes nothing. `systemctl reload soloist` (or SIGHUP) reads the file again. The \
        settings below say whether a reload applies them at once, without disconnecting a miner, or \
        only the next start. A file with a mistake changes nothing.\n"
        .to_owned();
    for section in SECTIONS {
        text += &format!("\n## `{}`\n", section.heading());
        text += &markdown(section.words);
        let facts = (section.facts)();
        let is_the_same = |other: &&SectionFacts| std::ptr::fn_addr_eq(other.facts, section.facts);
        match SECTIONS.iter().find(is_the_same) {
            Some(first) if first.name != section.name => {
                text += &format!("\nThe settings are those of `{}`.\n", first.heading());
            }
            _ => facts.iter().for_each(|facts| text += &entry(facts)),
        }
    }
    text
}

/// One setting of the page.
fn entry(facts: &Facts) -> String {
    let default = match &facts.default {
        Some(default) => format!("default `{default}`"),
        None => format!("without it: {}", facts.otherwise),
    };
    let reload = match facts.reload {
        Reload::Live => "a reload applies it",
        Reload::Restart => "the next start applies it",
    };
    let mut all = vec![facts.kind.clone(), default, reload.to_owned()];
    all.extend(facts.flag.map(|flag| format!("flag `{} {}`", flag.name, flag.value)));
    all.extend(facts.page.map(|_| "also on the page".to_owned()));
    all.extend(facts.secret.then(|| "in a backup only with a passphrase".to_owned()));
    format!("\n### `{}`\n{}\n- {}\n", facts.name, markdown(facts.words), all.join("\n- "))
}

/// Lines of the file's comments; what is indented by two spaces stays as it is.
fn comment(words: &str) -> String {
    let mut text = String::new();
    for paragraph in paragraphs(words) {
        let mut line = "#".to_owned();
        for word in paragraph.wrap() {
            if line.chars().count() + 1 + word.chars().count() > WIDTH && line.len() > 1 {
                text += &format!("{line}\n");
                line = "#".to_owned();
            }
            line += &format!(" {word}");
        }
        text += &format!("{line}\n");
    }
    text
}

fn markdown(words: &str) -> String {
    let mut text = String::new();
    let mut before = Paragraph::Words(String::new());
    for paragraph in paragraphs(words) {
        match (&before, &paragraph) {
            (Paragraph::Verbatim(_), Paragraph::Verbatim(line)) => text += &format!("  {line}\n"),
            (_, Paragraph::Verbatim(line)) => text += &format!("\n  {line}\n"),
            (_, Paragraph::Words(line)) if line.is_empty() => {}
            (_, Paragraph::Words(line)) => text += &format!("\n{line}\n"),
        }
        before = paragraph;
    }
    text
}

enum Paragraph {
    Words(String),
    /// One line that is not wrapped.
    Verbatim(String),
}

impl Paragraph {
    fn wrap(&self) -> Vec<&str> {
        match self {
            Paragraph::Words(words) => words.split_whitespace().collect(),
            Paragraph::Verbatim(line) => vec![line],
        }
    }
}

/// Lines that belong together are joined.
fn paragraphs(words: &str) -> Vec<Paragraph> {
    let mut paragraphs = Vec::new();
    for line in words.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)) {
        match paragraphs.last_mut() {
            _ if line.starts_with("  ") => paragraphs.push(Paragraph::Verbatim(line.to_owned())),
            Some(Paragraph::Words(words)) if !words.is_empty() && !line.trim().is_empty() => {
                *words += &format!(" {}", line.trim());
            }
            _ => paragraphs.push(Paragraph::Words(line.trim().to_owned())),
        }
    }
    paragraphs
}
