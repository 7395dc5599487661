//! Sockets that were open before this program began: systemd hands them over as it was given them
//! (`LISTEN_FDS`, sd_listen_fds(3)), and a run that starts the program in its own place leaves them open
//! (`SOLOIST_FDS`).

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::{AccessFlags, access, execve};

/// Names the open sockets for the program that takes this one's place: `name=number`, with commas.
const OWN: &str = "SOLOIST_FDS";

/// The variables by which descriptors are handed over.
const VARIABLES: [&str; 4] = [OWN, "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"];

/// The open sockets with their names. The first call has them all; each further one has none. To be
/// called before anything else opens or starts anything.
pub fn take() -> Vec<(String, OwnedFd)> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    let own = std::env::var(OWN).unwrap_or_default();
    let own = named(&own);
    let by_systemd = sd_notify::listen_fds_with_names().map(Iterator::collect);
    let by_systemd: Vec<_> = by_systemd.unwrap_or_else(|error: io::Error| {
        log::warn!("what systemd hands over: {error}");
        Vec::new()
    });
    let all = own.into_iter().chain(by_systemd.into_iter().map(|(fd, name)| (name, fd)));
    all.filter_map(|(name, fd)| Some((name, adopt(fd)?))).collect()
}

/// What stands in [`OWN`].
fn named(text: &str) -> Vec<(String, RawFd)> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.filter_map(|(name, fd)| Some((name.to_owned(), fd.parse().ok()?))).collect()
}

/// Takes a descriptor of this number that was open when the program began. `None` where there is none.
#[allow(unsafe_code)]
fn adopt(fd: RawFd) -> Option<OwnedFd> {
    use std::os::fd::{BorrowedFd, FromRawFd};
    // Those of input and output are the whole program's.
    if fd <= 2 {
        return None;
    }
    // SAFETY: it is borrowed for the one question whether it is open, which no answer makes unsound.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    // SAFETY: it is open, it was left to this program by name, and `take` gives each number out once,
    // before anything else here has opened a descriptor.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Where the file of this program is. An update puts another one there. The first call looks.
pub fn program() -> Option<&'static PathBuf> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(|| std::env::current_exe().ok()).as_ref()
}

/// Starts the program anew in the place of this process, with the same arguments, and leaves these sockets
/// open for it. Returns only if it cannot.
///
/// # Errors
/// The system's: there is no program any more, or it cannot be started.
pub fn start_again(sockets: &[(String, impl AsFd)]) -> io::Result<Infallible> {
    let program = program().ok_or(io::ErrorKind::NotFound)?;
    access(program, AccessFlags::X_OK)?;
    let mut names = Vec::new();
    for (name, socket) in sockets {
        fcntl(socket.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
        names.push(format!("{name}={}", socket.as_fd().as_raw_fd()));
    }
    let kept = std::env::vars_os().filter(|(name, _)| VARIABLES.iter().all(|other| name != other));
    let own = (OsString::from(OWN), OsString::from(names.join(",")));
    let line = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        CString::new(name.into_vec()).ok()
    };
    let environment: Vec<CString> = kept.chain([own]).filter_map(line).collect();
    let arguments = std::env::args_os().filter_map(|word| CString::new(word.into_vec()).ok());
    let arguments: Vec<CString> = arguments.collect();
    let path = CString::new(program.clone().into_os_string().into_vec())?;
    // With all signals as they are: one that comes meanwhile waits for the new run.
    Ok(execve(&path, &arguments, &environment)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_and_open_is_taken() {
        let text = "listener=7,miner-00ff=12,x,=,y=z,stdin=0";
        let expected = [("listener", 7), ("miner-00ff", 12), ("stdin", 0)];
        assert_eq!(named(text), expected.map(|(name, fd)| (name.to_owned(), fd)));
        assert!(named("").is_empty());
        assert!(adopt(0).is_none() && adopt(-1).is_none() && adopt(1_000_000).is_none());
    }
}
