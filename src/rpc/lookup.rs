//! Resolves the host name of a ZMQ address or of a P2P port to IP addresses.
//!
//! libzmq would resolve names itself, but tries only one address of each: with `ZMQ_IPV6` the IPv6
//! address if a name has both kinds, without it never an IPv6 address.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use smol::Task;

use crate::timeout::within;

/// A name that has not led anywhere after this time is unknown for now.
const AT_MOST: Duration = Duration::from_secs(5);
/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 4;

/// What stands behind `tcp://` or `ipc://`.
pub(super) enum Lookup {
    /// It needs no question.
    Plain(String),
    Name(HostLookup),
    Nonsense,
}

impl Lookup {
    /// Asks nothing yet. `endpoint` is `tcp://host:port` or `ipc://path`.
    pub(super) fn new(endpoint: &str) -> Lookup {
        place(endpoint)
    }

    /// The endpoints in numbers, in the order in which the system prefers them.
    ///
    /// # Errors
    /// As for [`HostLookup::addresses`], or [`io::ErrorKind::InvalidInput`] for what is no endpoint
    /// at all.
    pub(super) async fn endpoints(&mut self) -> io::Result<Vec<String>> {
        match self {
            Lookup::Plain(endpoint) => Ok(vec![endpoint.clone()]),
            Lookup::Nonsense => Err(io::ErrorKind::InvalidInput.into()),
            Lookup::Name(name) => {
                // A scope is a number of this machine, such as that of an fe80 address.
                let found = name.addresses().await?;
                Ok(found.iter().map(|address| format!("tcp://{address}")).collect())
            }
        }
    }
}

/// A host and a port, and the question under way which addresses the host has.
pub struct HostLookup {
    host: String,
    port: u16,
    /// The system's resolver cannot be called off. What hangs is waited for again, so that it
    /// never has more than one thread of the pool.
    running: Option<Task<io::Result<Vec<SocketAddr>>>>,
}

impl HostLookup {
    /// Asks nothing yet. `host` is a name, an IPv4 address, or an IPv6 address without brackets.
    pub fn new(host: String, port: u16) -> HostLookup {
        HostLookup { host, port, running: None }
    }

    /// At most four addresses, in the order in which the system prefers them; never none. It takes
    /// 5 s at most.
    ///
    /// # Errors
    /// Why there are none: the system's words, or [`io::ErrorKind::TimedOut`].
    pub async fn addresses(&mut self) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, self.port)]);
        }
        let (host, port) = (self.host.clone(), self.port);
        let ask = move || (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        let running = self.running.get_or_insert_with(|| blocking::unblock(ask));
        let found = within(AT_MOST, running).await.ok_or(io::ErrorKind::TimedOut)?;
        self.running = None;
        let mut addresses = Vec::new();
        for address in found? {
            if addresses.len() < ADDRESSES_MAX && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        match addresses.is_empty() {
            true => Err(io::ErrorKind::NotFound.into()),
            false => Ok(addresses),
        }
    }
}

fn place(endpoint: &str) -> Lookup {
    if endpoint.starts_with("ipc://") {
        return Lookup::Plain(endpoint.to_owned());
    }
    let parts = endpoint.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':'));
    let Some((host, Ok(port))) = parts.map(|(host, port)| (host, port.parse::<u16>())) else {
        return Lookup::Nonsense;
    };
    let number = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match number.parse::<IpAddr>() {
        Ok(_) => Lookup::Plain(endpoint.to_owned()),
        Err(_) if host.is_empty() || host.contains(['[', ']', ':']) => Lookup::Nonsense,
        Err(_) => Lookup::Name(HostLookup::new(host.to_owned(), port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(endpoint: &str) -> Result<Vec<String>, io::ErrorKind> {
        let answer = smol::block_on(Lookup::new(endpoint).endpoints());
        answer.map_err(|error| error.kind())
    }

    #[test]
    fn numbers_are_kept_and_names_are_looked_up() {
        for plain in ["tcp://10.0.0.1:28332", "tcp://[fd00::1]:28332", "ipc:///run/zmq"] {
            assert_eq!(found(plain), Ok(vec![plain.to_owned()]));
        }
        for nonsense in
            ["nonsense", "tcp://", "tcp://a", "tcp://a:99999", "udp://a:1", "tcp://[a]:1"]
        {
            assert_eq!(found(nonsense), Err(io::ErrorKind::InvalidInput), "{nonsense}");
        }
        let own = found("tcp://localhost:28332").unwrap();
        let loopback = ["tcp://127.0.0.1:28332".to_owned(), "tcp://[::1]:28332".to_owned()];
        assert!(own.iter().all(|endpoint| loopback.contains(endpoint)), "{own:?}");
        // RFC 6761: nobody has it.
        assert!(found("tcp://soloist.invalid:28332").is_err());
    }
}
