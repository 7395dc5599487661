//! How a setting is declared: from one declaration [`section!`] makes the field of the config, its
//! reading with default and bounds, the message of a reload, and its entries in `soloist.toml` and
//! `docs/settings.md`. The declarations are in `sections.rs`.

use toml::Value;

use super::Surroundings;
use super::diff::Change;
use super::problem::{Wrong, wrong};
use super::validate::Check;
use super::written::Table;
use crate::settings::Values;

/// Where a setting is among what the page changes.
pub type PageValue = fn(&Values) -> &str;

/// Whether a running daemon takes a change over when it reads the file again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reload {
    /// It does.
    #[default]
    Live,
    /// It is bound or opened once, at the start.
    Restart,
}

/// How a setting stands in `image/soloist.toml`.
#[derive(Clone, Copy, Debug, Default)]
pub enum Line {
    /// `#key = default`, below its words.
    #[default]
    Default,
    /// `#key = example`, below its words.
    Example(&'static str),
    /// `key = value`, below these words instead of its own.
    Set(&'static str, Option<&'static str>),
    /// Not at all: another setting's note speaks of it, or an example of the section.
    Hidden,
}

/// A flag that goes over the setting.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Such as `--payout`.
    pub name: &'static str,
    /// What `--help` calls its value.
    pub value: &'static str,
    /// What `--help` says of it.
    pub help: &'static str,
}

/// What is declared of a setting, but for its Rust type.
#[derive(Debug, Default)]
pub struct Facts {
    /// Without its section.
    pub name: &'static str,
    /// Its sentences, one line of the declaration each.
    pub words: &'static str,
    /// Whether a reload takes it.
    pub reload: Reload,
    /// Type, unit and bounds.
    pub kind: String,
    /// As TOML. A setting without one is told apart from any value, or is asked for.
    pub default: Option<String>,
    /// What holds when nothing is written and there is no default.
    pub otherwise: &'static str,
    /// How it stands in the file to begin with.
    pub line: Line,
    /// The line follows the one above it directly; its words stand in the reference alone.
    pub joined: bool,
    /// Words below the line.
    pub note: &'static str,
    /// It opens a door: a backup carries it under a passphrase only.
    pub secret: bool,
    /// It is pasted mostly: characters that nobody sees get a warning.
    pub pasted: bool,
    /// A file or a directory.
    pub is_path: bool,
    /// It takes a list: of its flag all values count, else the last one.
    pub is_list: bool,
    /// The flag that goes over it.
    pub flag: Option<Flag>,
    /// Where it is among what the page changes.
    pub page: Option<PageValue>,
}

/// Where a value is written, as far as it says what the value means.
pub(super) struct Site<'a> {
    pub name: &'static str,
    pub surroundings: &'a Surroundings,
}

type Read<T> = Box<dyn Fn(&Site, &Value) -> Result<T, Wrong>>;

/// How a setting is written, and what it is in Rust.
pub(super) struct Form<T> {
    pub facts: Facts,
    pub read: Read<T>,
    /// What it is when nothing is written, where there is no default in TOML.
    pub absent: Option<fn(&Surroundings) -> T>,
}

impl<T: 'static> Form<T> {
    pub(super) fn new(
        kind: impl Into<String>,
        read: impl Fn(&Site, &Value) -> Result<T, Wrong> + 'static,
    ) -> Form<T> {
        let facts = Facts { kind: kind.into(), ..Facts::default() };
        Form { facts, read: Box::new(read), absent: None }
    }

    /// The same form, for a setting that may be left out: `otherwise` says what holds then.
    pub(super) fn optional(self, otherwise: &'static str) -> Form<Option<T>> {
        let read = self.read;
        Form {
            facts: Facts { otherwise, line: Line::Hidden, ..self.facts },
            read: Box::new(move |site, value| read(site, value).map(Some)),
            absent: Some(|_| None),
        }
    }

    pub(super) fn default(mut self, toml: impl Into<String>) -> Form<T> {
        self.facts.default = Some(toml.into());
        self
    }

    pub(super) fn absent(
        mut self,
        otherwise: &'static str,
        value: fn(&Surroundings) -> T,
    ) -> Form<T> {
        self.facts.otherwise = otherwise;
        self.absent = Some(value);
        self
    }

    /// The same form, but for some values.
    pub(super) fn except(
        self,
        bad: fn(&T) -> bool,
        what: &'static str,
        instead: &'static str,
    ) -> Form<T> {
        let read = self.read;
        let read: Read<T> = Box::new(move |site, value| match read(site, value)? {
            value if bad(&value) => wrong(what, instead),
            value => Ok(value),
        });
        Form { read, ..self }
    }

    pub(super) fn line(mut self, line: Line) -> Form<T> {
        self.facts.line = line;
        self
    }

    pub(super) fn note(mut self, note: &'static str) -> Form<T> {
        self.facts.note = note;
        self
    }

    pub(super) fn flag(
        mut self,
        name: &'static str,
        value: &'static str,
        help: &'static str,
    ) -> Form<T> {
        self.facts.flag = Some(Flag { name, value, help });
        self
    }

    pub(super) fn page(mut self, value: PageValue) -> Form<T> {
        self.facts.page = Some(value);
        self
    }

    /// What holds when nothing (or nothing valid) is written.
    pub(super) fn fallback(&self, site: &Site) -> T {
        match (&self.facts.default, self.absent) {
            (Some(default), _) => {
                let value = default.parse().expect("a test parses each default");
                (self.read)(site, &value).expect("a test reads each default")
            }
            (None, Some(absent)) => absent(site.surroundings),
            (None, None) => unreachable!("a test asks each setting for what holds without it"),
        }
    }
}

/// A section of the file.
#[derive(Debug)]
pub struct SectionFacts {
    /// Such as `node.backup`.
    pub name: &'static str,
    /// The settings below it.
    pub facts: fn() -> Vec<Facts>,
    /// Begins a part of the file; empty where the part above goes on.
    pub title: &'static str,
    /// Stands above the section.
    pub words: &'static str,
    /// The lines of an example of a section of which there may be any number.
    pub example: Option<&'static str>,
}

impl SectionFacts {
    /// Whether any number of it may stand in the file.
    pub fn is_list(&self) -> bool {
        self.example.is_some()
    }

    /// As it is written.
    pub fn heading(&self) -> String {
        if self.is_list() { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }
}

/// A `[section]` that was declared by [`section!`].
pub(super) trait Section {
    /// Its settings, in the order of the file.
    fn facts() -> Vec<Facts>;
    /// The valid values of what was written, with defaults for the rest; mistakes go to `check`.
    fn read(table: &Table, check: &mut Check) -> Self;
    /// What a reload says, in the order of the file.
    fn changes(&self, new: &Self) -> Vec<Change>;
    /// The same, with what waits for a restart as it is in `running`.
    fn taken_over(self, running: &Self) -> Self;
}

/// Declares a section: for each setting its sentences (they stand in the file and in the
/// reference), name, type, form, whether a reload takes it, the fields of [`Facts`] that are true,
/// and what a reload says of it: without a sentence of its own only that it is another. Fields behind
/// `also` are no settings: rules fill them.
macro_rules! section {
    (
        $(#[$meta:meta])*
        $visible:vis struct $Section:ident {$(
            $(#[doc = $words:literal])*
            $setting:ident: $type:ty = $form:expr, $reload:ident $($mark:ident)* $(=> $says:expr)?;
        )*}
        $(also {$(
            $(#[$other_meta:meta])*
            $other:ident: $other_type:ty, $other_reload:ident => $other_says:expr;
        )*})?
    ) => {
        $(#[$meta])*
        // The words are the owner's: their brackets are no links.
        #[allow(rustdoc::broken_intra_doc_links, rustdoc::bare_urls)]
        $visible struct $Section {
            $($(#[doc = $words])* pub $setting: $type,)*
            $($($(#[$other_meta])* pub $other: $other_type,)*)?
        }

        impl Section for $Section {
            fn facts() -> Vec<Facts> {
                vec![$({
                    let form: Form<$type> = $form;
                    let (name, words) = (stringify!($setting), concat!($($words, "\n"),*));
                    let reload = Reload::$reload;
                    Facts { name, words, reload, $($mark: true,)* ..form.facts }
                }),*]
            }

            #[allow(unused_mut)]
            fn read(table: &Table, check: &mut Check) -> Self {
                $Section {
                    $($setting: {
                        let mut form: Form<$type> = $form;
                        $(form.facts.$mark = true;)*
                        check.value(table, stringify!($setting), &form)
                    },)*
                    $($($other: Default::default(),)*)?
                }
            }

            #[allow(unused_variables)]
            fn changes(&self, new: &Self) -> Vec<Change> {
                let mut changes: Vec<Change> = Vec::new();
                $(if self.$setting != new.$setting {
                    changes.push(Change::told(
                        self,
                        new,
                        Reload::$reload,
                        section!(@says $setting $($says)?),
                    ));
                })*
                $($(if self.$other != new.$other {
                    changes.push(Change::told(self, new, Reload::$other_reload, $other_says));
                })*)?
                each_once(changes)
            }

            fn taken_over(mut self, running: &Self) -> Self {
                $(if Reload::$reload == Reload::Restart {
                    self.$setting = running.$setting.clone();
                })*
                $($(if Reload::$other_reload == Reload::Restart {
                    self.$other = running.$other.clone();
                })*)?
                self
            }
        }
    };
    (@says $setting:ident) => {
        |_, _| concat!("The setting ", stringify!($setting), " is another.").to_owned()
    };
    (@says $setting:ident $says:expr) => { $says };
}
pub(super) use section;

/// Declares the sections, in the order of the file: `"title" "name" Section;`, with `many` and the
/// lines of an example where any number of it may stand in the file. The words stand above it.
macro_rules! sections {
    ($(
        $(#[doc = $words:literal])*
        $title:literal $name:literal $Section:ident $(many $example:literal)?;
    )*) => {
        /// All sections, in the order of the file.
        pub const SECTIONS: &[SectionFacts] = &[$(SectionFacts {
            name: $name,
            facts: $Section::facts,
            title: $title,
            words: concat!($($words, "\n"),*),
            example: sections!(@option $($example)?),
        }),*];
    };
    (@option) => { None };
    (@option $example:literal) => { Some($example) };
}
pub(super) use sections;
