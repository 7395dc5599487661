//! Shared by all commands: the exit codes, and the program's name and version.

use std::process::ExitCode;

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
    /// `check`: no node can give work now. `run`: nothing to listen on (EX_UNAVAILABLE).
    Unavailable = 69,
    /// An internal error: please report it (EX_SOFTWARE).
    Software = 70,
    /// A file or directory of our own cannot be written (EX_CANTCREAT).
    CannotWrite = 73,
    /// Standard output was closed or is full (EX_IOERR).
    Output = 74,
    /// The config is wrong: starting again does not help (EX_CONFIG).
    Config = 78,
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
