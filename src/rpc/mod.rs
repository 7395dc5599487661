//! The nodes' wire: JSON-RPC and ZMQ, and the threads and tasks that watch a node.
//!
//! A shell. It holds no policy: which node leads, when to fetch and whom to probe is decided by
//! [`crate::failover`]; this module does what it is told and reports what happened as a
//! [`NodeEvent`](crate::node::NodeEvent).

mod chain_tips;
mod client;
mod date;
mod http;
mod lane;
mod link;
mod lookup;
mod place;
mod tls;
mod tripwire;
pub mod watch;
mod zmq_fd;

pub use client::{Auth, NodeConfig, Rpc};
pub use watch::NodeHandle;
pub use zmq_fd::probe as probe_zmq;
