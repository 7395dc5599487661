//! A solved block as it is shown and stored.

use serde::{Deserialize, Serialize};

/// The state of a block, as the spool and the ledger store it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StoredState {
    /// Solved. No node is known to have it in its best chain; one may have it beside another block.
    #[default]
    Candidate,
    /// A node answered that it accepted it. Only older versions wrote this; a block that a node
    /// shows is `Confirmed`.
    Accepted {
        /// The node's name.
        node: String,
    },
    /// In the best chain.
    Confirmed {
        /// Number of blocks on top of it, plus itself.
        confirmations: u32,
    },
    /// Confirmed 100 times: its coins can be spent.
    Mature,
    /// Another block won.
    Stale,
    /// Every node refused it.
    Rejected {
        /// The first node's reason.
        reason: String,
    },
}

/// A node's answer about a solved block, for the page.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NodeAnswer {
    /// The node's name.
    pub node: String,
    /// Whether it shows the block in its best chain.
    pub taken: bool,
    /// Its answer: `no objection`, `duplicate`, `inconclusive`, or the reason of the refusal.
    pub words: String,
    /// From the share's arrival until its P2P port asked for the block, milliseconds; `None` where it
    /// did not.
    pub p2p_after_ms: Option<f64>,
    /// From the share's arrival until it first showed the block in its best chain, milliseconds.
    pub shown_after_ms: Option<f64>,
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
