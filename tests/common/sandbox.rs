//! A sandbox node for the program under test, and its entry in a config.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use soloist::demo;
use soloist::demo::chain::Rules;
use soloist::demo::node::{SandboxConfig, SandboxNode};

/// A node whose blocks need five shares' work, and its `[node]` entry.
pub fn sandbox() -> (SandboxNode, String) {
    // 0x1d00ffff is difficulty 1; a target 2048 times as large is 0.0005.
    sandbox_with(0x1e07_fff8)
}

/// The same with blocks of another difficulty.
pub fn sandbox_with(bits: u32) -> (SandboxNode, String) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let chain = demo::chain_before(now, bits);
    let config = SandboxConfig {
        name: "sandbox".into(),
        user: "u".into(),
        password: "p".into(),
        rules: Rules { easy_blocks: chain.height(), bits, pace: None },
        transactions_per_block: 20,
        transaction_every: Duration::from_secs(3600),
    };
    let node = SandboxNode::start(config, chain, None).unwrap();
    let entry = format!(
        "[node]\nrpc_url = \"{}\"\nrpc_user = \"u\"\nrpc_pass = \"p\"\nzmq_hashblock_addr = \"{}\"\n\
         p2p_addr = \"off\"\n",
        node.url(),
        node.zmq_address().unwrap()
    );
    (node, entry)
}
