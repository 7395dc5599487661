//! What systemd does for a service with a store of file descriptors: takes descriptors by `NOTIFY_SOCKET`,
//! and hands them to the next start.
#![allow(unsafe_code)]

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// The store has room for so many (`FileDescriptorStoreMax=`).
const STORE_MAX: usize = 1100;

/// A manager of services with one service.
pub struct Manager {
    dir: tempfile::TempDir,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stored: Mutex<Vec<Stored>>,
    told: Mutex<Vec<String>>,
    ends: AtomicBool,
}

struct Stored {
    name: String,
    fd: OwnedFd,
    /// It is dropped when its other end hangs up (`FDPOLL=`).
    polled: bool,
}

impl Manager {
    pub fn new() -> Manager {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        let thread = std::thread::spawn(move || {
            while !own.ends.load(Ordering::Acquire) {
                own.receive(&socket);
            }
        });
        Manager { dir, shared, thread: Some(thread) }
    }

    /// The names of what is stored.
    pub fn names(&self) -> Vec<String> {
        self.shared.drop_ended();
        self.shared.stored.lock().unwrap().iter().map(|one| one.name.clone()).collect()
    }

    pub fn miners(&self) -> usize {
        self.names().iter().filter(|name| name.starts_with("miner-")).count()
    }

    /// Puts something into the store by itself.
    pub fn put(&self, name: &str, fd: OwnedFd) {
        let stored = Stored { name: name.to_owned(), fd, polled: false };
        self.shared.stored.lock().unwrap().push(stored);
    }

    /// Whether the service has said this.
    pub fn was_told(&self, line: &str) -> bool {
        self.shared.told.lock().unwrap().iter().any(|text| text.lines().any(|told| told == line))
    }

    /// The service was stopped for good.
    pub fn release(&self) {
        self.shared.stored.lock().unwrap().clear();
    }

    /// A command that starts `program` with everything that is stored.
    pub fn command(&self, program: &Path) -> Command {
        self.shared.drop_ended();
        let stored = self.shared.stored.lock().unwrap();
        // Above all numbers that the child uses.
        let copy = |fd: &OwnedFd| {
            let copy = fcntl(fd.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(3000)).unwrap();
            // SAFETY: it was made just now, for nobody else.
            unsafe { OwnedFd::from_raw_fd(copy) }
        };
        let copies: Vec<OwnedFd> = stored.iter().map(|one| copy(&one.fd)).collect();
        let names: Vec<&str> = stored.iter().map(|one| one.name.as_str()).collect();
        // systemd writes the process's own number there.
        let mut command = Command::new("sh");
        command.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""]).arg(program);
        command.env("NOTIFY_SOCKET", self.dir.path().join("notify"));
        command.env("LISTEN_FDS", copies.len().to_string());
        command.env("LISTEN_FDNAMES", names.join(":"));
        let place = move || {
            for (fd, to) in copies.iter().zip(3..) {
                // SAFETY: in the child, between fork and exec; it makes no use of Rust's memory.
                if unsafe { nix::libc::dup2(fd.as_raw_fd(), to) } < 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        };
        // SAFETY: dup2 alone is called, which may be called there.
        unsafe { command.pre_exec(place) };
        command
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Release);
        self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn receive(&self, socket: &UnixDatagram) {
        let mut buffer = [0; 4096];
        let mut room = nix::cmsg_space!([RawFd; 8]);
        let (text, fds) = {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let Ok(message) = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut room), flags)
            else {
                return;
            };
            let fds: Vec<OwnedFd> = message
                .cmsgs()
                .unwrap()
                .filter_map(|part| match part {
                    ControlMessageOwned::ScmRights(fds) => Some(fds),
                    _ => None,
                })
                .flatten()
                // SAFETY: the kernel has made them for this message.
                .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
                .collect();
            (message.bytes, fds)
        };
        let text = String::from_utf8_lossy(&buffer[..text]).into_owned();
        let has = |line: &str| text.lines().any(|told| told == line);
        let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or("stored");
        let mut stored = self.stored.lock().unwrap();
        if has("FDSTOREREMOVE=1") {
            stored.retain(|known| known.name != name);
        } else if has("FDSTORE=1") {
            for fd in fds {
                let is_new = stored.iter().all(|known| what(&known.fd) != what(&fd));
                if is_new && stored.len() < STORE_MAX {
                    let polled = !has("FDPOLL=0");
                    stored.push(Stored { name: name.to_owned(), fd, polled });
                }
            }
        }
        drop(stored);
        self.told.lock().unwrap().push(text);
        self.drop_ended();
    }

    /// Forgets what the other end has hung up, as systemd does.
    fn drop_ended(&self) {
        self.stored.lock().unwrap().retain(|Stored { fd, polled, .. }| {
            let mut asked = [PollFd::new(fd.as_fd(), PollFlags::empty())];
            poll(&mut asked, PollTimeout::ZERO).unwrap();
            let happened = asked[0].revents().unwrap();
            !polled || !happened.intersects(PollFlags::POLLHUP | PollFlags::POLLERR)
        });
    }
}

/// The socket that a descriptor leads to.
fn what(fd: &OwnedFd) -> std::path::PathBuf {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap()
}
