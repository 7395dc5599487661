//! A mistake in the settings, as the owner reads it.

use std::fmt;

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// A line of the config file, counted from 1.
    Line {
        /// The file as the owner named it.
        file: String,
        /// The line.
        line: usize,
    },
    /// Somewhere in the file, or missing from it.
    File(String),
    /// On the command line.
    Flag(&'static str),
    /// Neither file nor flags were given.
    Nowhere,
}

impl At {
    /// The line in the file; 0 for what has none.
    pub(super) fn number(&self) -> usize {
        match self {
            At::Line { line, .. } => *line,
            At::File(_) | At::Flag(_) | At::Nowhere => 0,
        }
    }
}

/// One mistake: where, which setting, what is wrong, what to write instead. No part of it ever
/// repeats a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was written.
    pub at: At,
    /// The setting, such as `node.rpc_url`; empty when it is about the file as a whole.
    pub key: String,
    /// What is wrong, without a full stop.
    pub what: String,
    /// What to write instead, as one or two sentences.
    pub instead: String,
}

/// What is wrong, and what to write instead. Never repeats a password.
pub(super) type Wrong = (String, String);

pub(super) fn wrong<T>(what: &str, instead: &str) -> Result<T, Wrong> {
    Err((what.to_owned(), instead.to_owned()))
}

/// All mistakes that were found, never none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Problems {
        Problems(vec![problem])
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Line { file, line } => write!(f, "{file}:{line}: "),
            At::File(file) => write!(f, "{file}: "),
            At::Flag(flag) => write!(f, "{flag}: "),
            At::Nowhere => Ok(()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.fmt(f)?;
        if !self.key.is_empty() && !matches!(self.at, At::Flag(_)) {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}. {}", self.what, self.instead)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
