//! systemd's store of file descriptors (`FileDescriptorStoreMax=`, sd_notify(3)): what is in it stays open
//! when this program ends, however it ends, and is handed to the next run ([`super::inherited`]).
//!
//! systemd may be busy for seconds, and nobody here waits for it: what it does not take at once is offered
//! again.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

/// Orders that wait for systemd: those of all places, twice over.
const WAITING_MAX: usize = 4096;

/// When systemd is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// The store, if systemd started us.
#[derive(Debug)]
pub struct FdStore {
    socket: Option<UnixDatagram>,
    waiting: VecDeque<Order>,
    again: Option<Instant>,
}

#[derive(Debug)]
struct Order {
    text: String,
    fd: Option<OwnedFd>,
}

impl FdStore {
    /// Looks at the environment.
    pub fn new() -> FdStore {
        let path = std::env::var_os("NOTIFY_SOCKET");
        let socket = path.and_then(|path| {
            let connect = || {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                socket.connect(&path)?;
                Ok(socket)
            };
            let failed = |error: &io::Error| log::warn!("systemd's store of descriptors: {error}");
            connect().inspect_err(failed).ok()
        });
        FdStore { socket, waiting: VecDeque::new(), again: None }
    }

    /// Whether there may be a store. Whether the unit allows it to hold anything is not told by every
    /// systemd.
    pub fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// Puts a connection in, under a name without colons, until its other end hangs up. One that is in
    /// already stays in, under the name that it has.
    pub fn put(&mut self, now: Instant, name: &str, fd: impl AsFd) {
        self.put_with(now, format!("FDSTORE=1\nFDNAME={name}\n"), fd);
    }

    /// Puts a listener in. One that does not listen at the moment looks as if it were hung up, and stays.
    pub fn put_listener(&mut self, now: Instant, name: &str, fd: impl AsFd) {
        self.put_with(now, format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}\n"), fd);
    }

    fn put_with(&mut self, now: Instant, text: String, fd: impl AsFd) {
        // A copy, as the original may be closed before systemd takes it.
        match fd.as_fd().try_clone_to_owned() {
            Ok(fd) => self.order(now, text, Some(fd)),
            Err(error) => log::warn!("systemd's store of descriptors: {error}"),
        }
    }

    /// Takes the descriptors of this name out.
    pub fn remove(&mut self, now: Instant, name: &str) {
        self.order(now, format!("FDSTOREREMOVE=1\nFDNAME={name}\n"), None);
    }

    /// When [`FdStore::tick`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.again
    }

    /// Whether systemd has taken everything.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Offers what waits.
    pub fn tick(&mut self, now: Instant) {
        if self.again.is_none_or(|at| now < at) {
            return;
        }
        self.again = None;
        self.send(now);
    }

    fn order(&mut self, now: Instant, text: String, fd: Option<OwnedFd>) {
        if self.socket.is_none() {
            return;
        }
        if self.waiting.len() >= WAITING_MAX {
            log::warn!("systemd's store of descriptors: it takes nothing; an order was dropped");
            return;
        }
        self.waiting.push_back(Order { text, fd });
        // In their order: nothing overtakes.
        if self.again.is_none() {
            self.send(now);
        }
    }

    fn send(&mut self, now: Instant) {
        let Some(socket) = &self.socket else { return };
        while let Some(order) = self.waiting.front() {
            match send(socket, order) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.again = Some(now + AGAIN);
                    return;
                }
                Err(error) => log::warn!("systemd's store of descriptors: {error}"),
                Ok(()) => {}
            }
            self.waiting.pop_front();
        }
    }
}

impl Default for FdStore {
    fn default() -> FdStore {
        FdStore::new()
    }
}

fn send(socket: &UnixDatagram, order: &Order) -> io::Result<()> {
    let fds: Vec<_> = order.fd.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let rights = if fds.is_empty() { &[] } else { &rights[..] };
    let text = [IoSlice::new(order.text.as_bytes())];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg(socket.as_raw_fd(), &text, rights, flags, None::<&UnixAddr>)?;
    Ok(())
}
