//! The shell around [`build`]: finds and reads the file and the environment.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::problem::At;
use super::{
    Auth, Built, CertificateFile, Config, Flags, Incomplete, Problem, Problems, Surroundings,
    build_with,
};
use crate::fsutil::{self, Rights};

/// A config, from where it came, and what its owner should know about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The config.
    pub config: Config,
    /// The file that was read, or `None` if everything came from the command line.
    pub file: Option<PathBuf>,
    /// Whole sentences about what is allowed but unwise.
    pub warnings: Vec<String>,
    /// Why these settings are used in place of those in `file`; see [`crate::safe_start`].
    pub instead_why: Option<String>,
}

/// More than any config has. Keeps a wrong path, such as a block file, out of memory.
const MAX_FILE: u64 = 1 << 20;

/// Reads the config that `flags` ask for: the file named there, else, unless `--node` and
/// `--payout` are given, `soloist.toml` in the working directory, in `/etc/soloist/` or in the data
/// directory. To be called again for a reload, with the same flags.
///
/// # Errors
/// The file cannot be read, or holds mistakes; see [`Problems`].
pub fn load(flags: &Flags) -> Result<Loaded, Problems> {
    load_with(flags, Incomplete::Refused)
}

/// As [`load`], but a config without payout address or nodes is taken: the page leads to the
/// set-up then. Where there is no file at all, it will be `soloist.toml` in the data directory.
///
/// # Errors
/// As for [`load`].
pub fn load_for_run(flags: &Flags) -> Result<Loaded, Problems> {
    load_with(flags, Incomplete::Allowed)
}

fn load_with(flags: &Flags, incomplete: Incomplete) -> Result<Loaded, Problems> {
    let file = find_file(flags, incomplete);
    let surroundings = surroundings(file.as_deref());
    let flags = flags.absolute();
    let (text, open_to_all) = match &file {
        // A file that was named must be there: its name may be mistyped.
        Some(path) if flags.config.is_some() || path.exists() => read(path)?,
        _ => (String::new(), false),
    };
    let name = file.as_ref().map(|path| path.display().to_string());
    let source = name.as_deref().map(|name| (name, text.as_str()));
    let Built { config, mut warnings, certificates } =
        build_with(source, &flags, &surroundings, incomplete)?;
    if let Err(problems) = check_certificates(&certificates) {
        match incomplete {
            Incomplete::Refused => return Err(problems),
            Incomplete::Allowed => warnings.extend(problems.0.iter().map(ToString::to_string)),
        }
    }
    let holds_password = config.stratum.password.is_some()
        || config.http.pin.is_some()
        || config.notify.iter().any(|sink| sink.kind.holds_secret())
        || config.nodes.iter().any(|node| matches!(node.auth, Auth::UserPass { .. }));
    if let (Some(name), true, true) = (name, open_to_all, holds_password) {
        warnings.push(format!(
            "{name} holds a password, and every user of this machine can read it. Say: chmod 600 \
             {name}"
        ));
    }
    Ok(Loaded { config, file, warnings, instead_why: None })
}

/// The config that `file` would give if it held `text`, by the same flags.
///
/// # Errors
/// As for [`load`].
pub fn try_text(
    flags: &Flags,
    file: &Path,
    text: &str,
    incomplete: Incomplete,
) -> Result<Config, Problems> {
    let name = file.display().to_string();
    let built =
        build_with(Some((&name, text)), &flags.absolute(), &surroundings(Some(file)), incomplete)?;
    if incomplete == Incomplete::Refused {
        check_certificates(&built.certificates)?;
    }
    Ok(built.config)
}

fn check_certificates(files: &[CertificateFile]) -> Result<(), Problems> {
    let problems: Vec<Problem> = files.iter().filter_map(|file| file.check().err()).collect();
    if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
}

/// The file that [`load_for_run`] reads, whether it is there or not; `None` where all settings come
/// from the command line.
pub fn file_for_run(flags: &Flags) -> Option<PathBuf> {
    find_file(flags, Incomplete::Allowed)
}

/// The data directory as it is before any file is read.
pub fn data_dir(flags: &Flags) -> PathBuf {
    flags.data().map_or_else(|| surroundings(None).data_dir, Path::to_owned)
}

/// The directory in memory that systemd gave the service, if any.
pub fn runtime_dir() -> Option<PathBuf> {
    // systemd may name several, with colons between them.
    let runtime_dir = env::var("RUNTIME_DIRECTORY").ok();
    let first = runtime_dir.as_deref().and_then(|dirs| dirs.split(':').next());
    first.filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// Writes the file so that a power cut leaves the old one or the new one, never a part. It keeps
/// its owner and rights; a link stays a link. A new file is for its owner's eyes only.
///
/// # Errors
/// The system's: mostly that the daemon's user may not write there.
pub fn save(file: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = file.parent().filter(|_| !file.exists()) {
        fsutil::create_directory(dir)?;
    }
    Ok(fsutil::replace(file, text.as_bytes(), Rights::Keep(0o600))?)
}

fn find_file(flags: &Flags, incomplete: Incomplete) -> Option<PathBuf> {
    if flags.config.is_some() {
        return flags.config.clone();
    }
    if flags.value("--node").is_some() && flags.value("--payout").is_some() {
        return None;
    }
    let places = ["soloist.toml", "/etc/soloist/soloist.toml"];
    let saved = data_dir(flags).join("soloist.toml");
    let places = places.into_iter().map(PathBuf::from).chain([saved.clone()]);
    let found = places.into_iter().find(|path| path.exists());
    found.or((incomplete == Incomplete::Allowed).then_some(saved))
}

/// The text, and whether users other than the owner and the group can read it.
fn read(path: &Path) -> Result<(String, bool), Problem> {
    let problem = |what: String, instead: &str| Problem {
        at: At::File(path.display().to_string()),
        key: String::new(),
        what,
        instead: instead.to_owned(),
    };
    let cannot_read = |error: io::Error| {
        problem(
            format!("the file cannot be read ({error})"),
            "Write the path of your soloist.toml after --config.",
        )
    };
    let file = File::open(path).map_err(cannot_read)?;
    let mode = file.metadata().map_err(cannot_read)?.permissions().mode();
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(cannot_read)?;
    if bytes.len() as u64 > MAX_FILE {
        let what = "the file is longer than 1 MB, so it is not a config".to_owned();
        return Err(problem(what, "Write the path of your soloist.toml after --config."));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid].iter().filter(|&&byte| byte == b'\n').count();
        problem(
            format!("line {line} is not UTF-8 text"),
            "Save the file as UTF-8, or write the line again with plain letters.",
        )
    })?;
    Ok((text, mode & 0o004 != 0))
}

fn surroundings(file: Option<&Path>) -> Surroundings {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = variable("HOME");
    // systemd names the unit's own directory; else the XDG base directories decide.
    let data_dir = variable("STATE_DIRECTORY")
        .or_else(|| variable("XDG_STATE_HOME").map(|state| state.join("soloist")))
        .or_else(|| home.as_ref().map(|home| home.join(".local/state/soloist")))
        .unwrap_or_else(|| PathBuf::from("soloist-data"));
    let file_dir = file
        .and_then(|path| fs::canonicalize(path).ok())
        .and_then(|path| path.parent().map(Path::to_owned))
        .unwrap_or_default();
    Surroundings { file_dir, home, runtime_dir: runtime_dir(), data_dir }
}
