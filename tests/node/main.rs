//! The node client, and `soloist check`, against real full nodes and against servers that answer
//! wrongly. bcoin comes by `npm`; Bitcoin Core is used where `BITCOIND` names its binary.

// Nobody outside sees a test's helpers.
#![allow(unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;

mod bcoin_e2e;
mod config_real_nodes;
mod node_faults;
mod node_rpc;
mod node_words;
mod node_zmq;
