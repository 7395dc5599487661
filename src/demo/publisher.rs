//! Tells of a sandbox node's new tips by ZMQ (`zmqpubhashblock`), as Bitcoin Core does, in a program that
//! is built with `zmq`; else it tells nobody, and the daemon asks the node instead.

use std::io;

use bitcoin::BlockHash;
#[cfg(feature = "zmq")]
use bitcoin::hashes::Hash;

pub(super) struct Publisher {
    #[cfg(feature = "zmq")]
    socket: zmq::Socket,
}

#[cfg(feature = "zmq")]
impl Publisher {
    /// `at`: an address that it had before; a free port of loopback otherwise.
    ///
    /// Errors: no socket could be had, or the port is taken.
    pub(super) fn bind(at: Option<&str>) -> io::Result<Publisher> {
        let socket = zmq::Context::new().socket(zmq::PUB)?;
        socket.set_linger(0)?;
        socket.bind(at.unwrap_or("tcp://127.0.0.1:*"))?;
        Ok(Publisher { socket })
    }

    /// Where it publishes.
    pub(super) fn address(&self) -> io::Result<Option<String>> {
        let endpoint = self.socket.get_last_endpoint()?;
        endpoint.map(Some).map_err(|_| io::Error::other("the ZMQ endpoint is not text"))
    }

    /// Publishes one tip. `sequence`: how many were published before it.
    pub(super) fn send(&self, tip: BlockHash, sequence: u32) -> io::Result<()> {
        // Core publishes the hash in the order in which it is shown.
        let mut hash = tip.to_byte_array();
        hash.reverse();
        let message = [&b"hashblock"[..], &hash, &sequence.to_le_bytes()];
        Ok(self.socket.send_multipart(message, 0)?)
    }
}

#[cfg(not(feature = "zmq"))]
impl Publisher {
    pub(super) fn bind(_at: Option<&str>) -> io::Result<Publisher> {
        Ok(Publisher {})
    }

    pub(super) fn address(&self) -> io::Result<Option<String>> {
        Ok(None)
    }

    pub(super) fn send(&self, _tip: BlockHash, _sequence: u32) -> io::Result<()> {
        Ok(())
    }
}
