//! Shared by all commands: the exit codes, the program's name and version, and how a command speaks.
//!
//! `println!` ends the program where nobody reads any more (`soloist check-ledger | head -1`) or the disk
//! is full, in the midst of what it does. So commands use [`say`] and [`complain`], which go on; Clippy
//! refuses the macros.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit codes of the program, as in `sysexits.h`, by what the user can do about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well. `check`: a block could be mined now.
    Ok = 0,
    /// A word or a flag on the command line is unknown (EX_USAGE).
    Usage = 64,
    /// `restore`: the backup is damaged, or the passphrase is wrong (EX_DATAERR).
    Data = 65,
    /// `check`: no node can give work now. `run`: nothing to listen on. `pair`: no address is shared, or
    /// this box is not ready (EX_UNAVAILABLE).
    Unavailable = 69,
    /// An internal error: please report it (EX_SOFTWARE).
    Software = 70,
    /// A file or directory of our own cannot be written (EX_CANTCREAT).
    CannotWrite = 73,
    /// Standard output was closed or is full (EX_IOERR).
    Output = 74,
    /// `pair keepalived`: there is no way to the other box yet (EX_TEMPFAIL).
    NotYet = 75,
    /// The config is wrong: starting again does not help (EX_CONFIG).
    Config = 78,
}

/// Something that was said has reached nobody.
static UNHEARD: AtomicBool = AtomicBool::new(false);

/// Writes a line to standard output. Where that is not possible the command goes on, and
/// [`Exit::if_heard`] tells.
pub fn say(line: impl Display) {
    if writeln!(io::stdout(), "{line}").is_err() {
        UNHEARD.store(true, Ordering::Relaxed);
    }
}

/// Writes a line to standard error, if anybody reads it.
pub fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

impl Exit {
    /// The same, but [`Exit::Output`] where all went well and not all of it was heard.
    pub fn if_heard(self) -> Exit {
        let lost = io::stdout().flush().is_err() || UNHEARD.load(Ordering::Relaxed);
        if self == Exit::Ok && lost { Exit::Output } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// The program's name and version, as `soloist version` and the log's first line print it.
pub fn version() -> &'static str {
    concat!("soloist ", env!("CARGO_PKG_VERSION"))
}
