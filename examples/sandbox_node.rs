//! A node with a chain of its own, for a server under load: `cargo run --example sandbox_node -- BITS
//! TRANSACTIONS`.
//!
//! BITS is the compact target of its blocks in hex: at `1d00ffff`, as on the main network in 2009, no
//! share of the load solves one, so that shares that count can be measured (`--grind`). TRANSACTIONS
//! stand in every template. Prints what belongs below `[node]`.

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, thread};

use soloist::demo::node::{SandboxConfig, SandboxNode};
use soloist::demo::{chain::Rules, chain_before};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let bits = u32::from_str_radix(&arguments.next().unwrap_or("1d00ffff".into()), 16)?;
    let transactions = arguments.next().map_or(Ok(0), |text| text.parse::<usize>())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let config = SandboxConfig {
        name: "sandbox".into(),
        user: "load".into(),
        password: "load".into(),
        rules: Rules::regtest(),
        transactions_per_block: transactions,
        transaction_every: Duration::from_secs(3_600),
    };
    let node = SandboxNode::start(config, chain_before(now, bits), None)?;
    node.add_transactions(transactions);
    println!("rpc_url = \"http://load:load@{}\"", node.rpc_address());
    if let Some(address) = node.zmq_address() {
        println!("zmq_hashblock_addr = \"{address}\"");
    }
    loop {
        thread::park();
    }
}
