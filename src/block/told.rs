//! What is told and kept of a solved block.

use serde::{Deserialize, Serialize};

/// Where a block stands, as the spool and the ledger keep it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StoredState {
    /// Solved. No node has it in its best chain, as far as is known; one may have it beside another.
    #[default]
    Candidate,
    /// A node answered that it took it. Older versions wrote this; what a node shows is `Confirmed`.
    Accepted {
        /// The node's name.
        node: String,
    },
    /// In the best chain.
    Confirmed {
        /// Blocks on top of it and itself.
        confirmations: u32,
    },
    /// Confirmed 100 times: its coins can be spent.
    Mature,
    /// Another block won.
    Stale,
    /// Every node refused it.
    Rejected {
        /// The first node's words.
        reason: String,
    },
}

/// What a node said to a solved block, for the page.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NodeAnswer {
    /// The node's name.
    pub node: String,
    /// Whether it shows the block in its best chain.
    pub taken: bool,
    /// Its words: `no objection`, `duplicate`, `inconclusive`, or the reason of the refusal.
    pub words: String,
}

/// What the owner can do about a block that every node refuses for this reason.
pub fn refusal_advice(reason: &str) -> &'static str {
    match reason {
        "time-too-new" => {
            "The node's clock or this block's time is wrong: set the clocks by NTP. The block is \
             kept and sent again every minute."
        }
        "prev-blk-not-found" | "bad-prevblk" => {
            "The nodes lack the block before it. It is kept and sent again every second: look \
             whether the nodes have peers."
        }
        _ => "It is kept and sent again every minute; the node's log may say more.",
    }
}
