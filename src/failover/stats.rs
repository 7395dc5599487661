//! Counts per node and method: durations, successes, errors by kind.

use std::time::Duration;

use crate::histogram::Histogram;
use crate::listed::listed;
use crate::node::RpcError;
use crate::node::fault::Spoken;

listed! {
    /// The kinds of failure that are counted apart: what the owner can do differs.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum ErrorKind {
        /// Off, unreachable, connection or answer broken.
        Transport,
        /// No connection or no answer in time: hung or overloaded.
        Timeout,
        /// Password, cookie or `rpcallowip`.
        Auth,
        /// Another HTTP status: a proxy, or the wrong path.
        Http,
        /// Warming up, no peers, initial download: the node asks for patience.
        Waiting,
        /// Another error of the node.
        Rpc,
        /// Not an answer of a Bitcoin node.
        Malformed,
        /// No secure connection, or TLS at one end only.
        Tls,
        /// Overloaded: its queue is full.
        Busy,
        /// The method is not allowed to us.
        Forbidden,
    }
}

impl ErrorKind {
    /// The kind of an error.
    pub fn of(error: &RpcError) -> ErrorKind {
        use RpcError as E;
        match error {
            E::Address(_)
            | E::UnknownName(_)
            | E::Refused
            | E::Unreachable(_)
            | E::Transport(_)
            | E::Cut { .. } => ErrorKind::Transport,
            E::NoConnection(_) | E::Timeout(_) => ErrorKind::Timeout,
            E::Unauthorized(_) | E::ForbiddenAddress { .. } | E::Cookie { .. } => ErrorKind::Auth,
            E::Redirect { .. }
            | E::WrongPath
            | E::TooLong
            | E::Unavailable
            | E::Gateway(_)
            | E::Http(_) => ErrorKind::Http,
            E::Rpc { code: -28 | -9 | -10, .. } | E::Downloading { .. } => ErrorKind::Waiting,
            E::Rpc { .. } | E::UnknownRule(_) | E::Signet | E::WrongChain(_) => ErrorKind::Rpc,
            E::NotHttp(Spoken::Tls) | E::Tls(_) | E::Certificate { .. } => ErrorKind::Tls,
            E::NotHttp(_) | E::WebPage(_) | E::TooLarge(_) | E::Malformed(_) => {
                ErrorKind::Malformed
            }
            E::QueueFull => ErrorKind::Busy,
            E::Forbidden { .. } => ErrorKind::Forbidden,
        }
    }

    /// A word for labels: lower case, no spaces.
    pub fn label(self) -> &'static str {
        match self {
            ErrorKind::Transport => "transport",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Auth => "auth",
            ErrorKind::Http => "http",
            ErrorKind::Waiting => "waiting",
            ErrorKind::Rpc => "rpc",
            ErrorKind::Malformed => "malformed",
            ErrorKind::Tls => "tls",
            ErrorKind::Busy => "busy",
            ErrorKind::Forbidden => "forbidden",
        }
    }
}

/// One method at one node since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MethodStats {
    /// Calls that succeeded.
    pub successes: u64,
    /// Durations of those that were measured.
    pub latency: Histogram,
    /// Failed calls by kind, in the order of [`ErrorKind::ALL`].
    pub errors: [u64; ErrorKind::COUNT],
}

impl MethodStats {
    pub(super) fn succeeded(&mut self, took: Option<Duration>) {
        self.successes += 1;
        if let Some(took) = took {
            self.latency.add(took);
        }
    }

    pub(super) fn failed(&mut self, error: &RpcError) {
        self.errors[ErrorKind::of(error).index()] += 1;
    }

    /// Failed calls.
    pub fn failures(&self) -> u64 {
        self.errors.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::fault::Login;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn errors_are_counted_by_kind() {
        let mut stats = MethodStats::default();
        stats.succeeded(Some(MS));
        stats.failed(&RpcError::Unauthorized(Login::Password));
        stats.failed(&RpcError::Rpc { code: -28, message: "Loading block index…".into() });
        stats.failed(&RpcError::Rpc { code: -1, message: "no".into() });
        assert_eq!(stats.errors, [0, 0, 1, 0, 1, 1, 0, 0, 0, 0]);
        assert_eq!(stats.failures(), 3);
        assert_eq!(stats.successes, 1);
    }
}
