//! The connection to nodes: JSON-RPC and ZMQ, and the threads and tasks that watch a node.
//!
//! A shell without policy: [`crate::failover`] decides which node leads, when to fetch, and which
//! node to probe. This module carries that out and reports the results as
//! [`NodeEvent`](crate::node::NodeEvent)s.

mod chain_tips;
mod client;
mod date;
mod http;
mod lane;
mod link;
// Half of it is for ZMQ alone.
#[cfg_attr(not(feature = "zmq"), expect(dead_code))]
mod lookup;
mod node_addresses;
mod place;
mod tls;
mod tripwire;
pub mod watch;
#[cfg(feature = "zmq")]
mod zmq_fd;

pub use client::{Auth, NodeConfig, Rpc};
pub use link::connect;
pub use lookup::HostLookup;
pub use tls::{client as trust, fault as tls_fault};
pub use watch::NodeHandle;
#[cfg(feature = "zmq")]
pub use zmq_fd::probe as probe_zmq;
