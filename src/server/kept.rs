//! Listening sockets of the run before, which go on: who calls between two runs waits, instead of being
//! refused.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener};

use socket2::SockRef;

/// Those that no port has taken yet, by the address that they are bound to.
#[derive(Debug, Default)]
pub struct KeptListeners(RefCell<BTreeMap<SocketAddr, TcpListener>>);

impl KeptListeners {
    /// Of `all` those with a `wanted` address. The others stop listening at once, so that their ports are
    /// free, whoever else has a copy.
    pub fn new(
        all: impl IntoIterator<Item = TcpListener>,
        wanted: impl Fn(SocketAddr) -> bool,
    ) -> KeptListeners {
        let mut kept = BTreeMap::new();
        for listener in all {
            match listener.local_addr() {
                Ok(address) if wanted(address) => drop(kept.insert(address, listener)),
                _ => shut(&listener),
            }
        }
        KeptListeners(RefCell::new(kept))
    }

    /// The listener of this address.
    pub fn take(&self, address: SocketAddr) -> Option<TcpListener> {
        self.0.borrow_mut().remove(&address)
    }
}

impl Drop for KeptListeners {
    fn drop(&mut self) {
        self.0.get_mut().values().for_each(shut);
    }
}

/// Back to a bound socket, which anybody may bind beside.
fn shut(listener: &TcpListener) {
    SockRef::from(listener).shutdown(Shutdown::Read).ok();
}
