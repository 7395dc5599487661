//! The state of the subscription to a node's ZMQ publisher, in words. Pure.

use serde::Serialize;

/// How the subscription to a node's `zmqpubhashblock` stands, as far as the handshake tells. A
/// connection alone says nothing: any server takes one, and libzmq is silent about the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ZmqState {
    /// Not reached yet, or the connection was lost and is made anew.
    Connecting,
    /// A publisher has answered the handshake. It may still publish something else.
    Connected,
    /// Nobody listens, or no packet comes through.
    Refused,
    /// Something listens that is no publisher: the RPC, a web server, the port for peers, or one
    /// that says nothing.
    NoPublisher,
    /// The name leads to no address.
    NameUnknown,
}

impl ZmqState {
    /// What is so; `address` is the one in the settings.
    pub fn sentence(self, address: &str) -> String {
        match self {
            ZmqState::Connecting => format!("ZMQ at {address} is being connected to."),
            ZmqState::Connected => format!("It publishes at {address}."),
            ZmqState::Refused => {
                format!("Nothing listens at {address}, or this machine does not reach it.")
            }
            ZmqState::NoPublisher => {
                format!("Something listens at {address}, but no ZMQ publisher answers there.")
            }
            ZmqState::NameUnknown => format!("The name in {address} leads to no machine."),
        }
    }

    /// What to do; `None` where nothing is to be done.
    pub fn remedy(self, address: &str) -> Option<String> {
        // On the same machine both sides write the same.
        let local = address.starts_with("ipc://").then_some(address);
        let line = format!("zmqpubhashblock={}", local.unwrap_or("tcp://0.0.0.0:28332"));
        match self {
            ZmqState::Connecting | ZmqState::Connected => None,
            ZmqState::Refused | ZmqState::NoPublisher if local.is_some() => {
                Some(format!("Its bitcoin.conf needs {line}."))
            }
            ZmqState::Refused => Some(format!(
                "Its bitcoin.conf needs {line}, with the port of zmq_hashblock_addr, and its \
                 firewall must let that port in."
            )),
            ZmqState::NoPublisher => Some(format!(
                "Its bitcoin.conf needs {line}, and zmq_hashblock_addr the same port: the ports of \
                 its RPC and of its peers are others."
            )),
            ZmqState::NameUnknown => Some(
                "Correct the name in zmq_hashblock_addr, or write the node's IP address."
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_states_share_a_sentence_and_what_is_wrong_has_a_remedy() {
        let all = [
            ZmqState::Connecting,
            ZmqState::Connected,
            ZmqState::Refused,
            ZmqState::NoPublisher,
            ZmqState::NameUnknown,
        ];
        for address in ["tcp://node.local:28332", "ipc:///run/zmq"] {
            for (place, state) in all.iter().enumerate() {
                let sentence = state.sentence(address);
                assert!(sentence.contains(address) && sentence.ends_with('.'), "{sentence}");
                assert!(all[..place].iter().all(|other| other.sentence(address) != sentence));
                let remedy = state.remedy(address);
                let fine = matches!(state, ZmqState::Connecting | ZmqState::Connected);
                assert_eq!(remedy.is_none(), fine, "{remedy:?}");
                assert!(remedy.is_none_or(|remedy| remedy.ends_with('.')));
            }
        }
        let local = ZmqState::Refused.remedy("ipc:///run/zmq").unwrap();
        assert_eq!(local, "Its bitcoin.conf needs zmqpubhashblock=ipc:///run/zmq.");
    }
}
