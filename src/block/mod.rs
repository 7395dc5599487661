//! A solved block: from the 80 bytes that were verified to the bytes that nodes are given.

mod offer;
pub mod submission;

use std::sync::Arc;

use crate::chain::BlockHash;
use crate::template::Tx;

/// A block whose header meets the network's target, whole and ready to be submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SolvedBlock {
    /// Hash of the header.
    pub hash: BlockHash,
    /// Height in the chain.
    pub height: u32,
    /// The block that it builds on.
    pub prev: BlockHash,
    /// What its coinbase pays, satoshis.
    pub value: u64,
    /// The worker that found it, as it calls itself.
    pub worker: String,
    /// When its share came in, Unix seconds by our own clock.
    pub solved_at: u64,
    /// The serialised block, with witness (BIP 144).
    pub bytes: Vec<u8>,
}

/// Puts a block together. The header is the very 80 bytes whose hash was checked, never built
/// again from fields; `coinbase` is the transaction as it stands in a block.
pub fn assemble(header: &[u8; 80], coinbase: &[u8], txs: &[Arc<Tx>]) -> Vec<u8> {
    let size = 80 + 9 + coinbase.len() + txs.iter().map(|tx| tx.bytes.len()).sum::<usize>();
    let mut block = Vec::with_capacity(size);
    block.extend_from_slice(header);
    push_compact_size(&mut block, 1 + txs.len() as u64);
    block.extend_from_slice(coinbase);
    for tx in txs {
        block.extend_from_slice(&tx.bytes);
    }
    block
}

/// The count of transactions, in Bitcoin's variable-length form.
fn push_compact_size(out: &mut Vec<u8>, n: u64) {
    match n {
        0..=0xfc => out.push(n as u8),
        0xfd..=0xffff => {
            out.push(0xfd);
            out.extend_from_slice(&(n as u16).to_le_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xfe);
            out.extend_from_slice(&(n as u32).to_le_bytes());
        }
        _ => {
            out.push(0xff);
            out.extend_from_slice(&n.to_le_bytes());
        }
    }
}

/// A node's answer to `submitblock` (BIP 22), by what it says of the block's bytes. None of them
/// says that the block is in the node's best chain: that is what a [`Position`] shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitAnswer {
    /// `null`: no objection. The block is the node's new tip; with bcoin it may also stand beside the
    /// tip.
    Accepted,
    /// The node has seen these bytes before, and nothing else: bcoin says it of a block that it
    /// refused, Core of one that lost.
    Duplicate,
    /// The node holds it but has not (yet) put it into its best chain: another block came first,
    /// or it lacks the parent. Not lost: it may still win.
    Inconclusive(String),
    /// Refused, with the node's reason, such as `high-hash` or `bad-cb-amount`.
    Rejected(String),
}

impl SubmitAnswer {
    /// Reads the `result` of `submitblock`: `null`, or Core's and bcoin's words (bcoin writes
    /// `rejected: bad-cb-amount`, or `invalid-…`, where Core gives the bare reason).
    pub fn parse(result: Option<&str>) -> SubmitAnswer {
        let Some(said) = result else { return SubmitAnswer::Accepted };
        let reason = said.strip_prefix("rejected: ").unwrap_or(said).trim();
        match reason {
            "" => SubmitAnswer::Accepted,
            "duplicate" => SubmitAnswer::Duplicate,
            "inconclusive" | "duplicate-inconclusive" | "inconclusive-not-best-prevblk" => {
                SubmitAnswer::Inconclusive(reason.to_string())
            }
            _ => SubmitAnswer::Rejected(reason.to_string()),
        }
    }

    /// Whether it only says that the node has answered before: the reason was in its first answer.
    pub fn is_repeat(&self) -> bool {
        match self {
            SubmitAnswer::Duplicate => true,
            SubmitAnswer::Rejected(reason) => reason == "duplicate-invalid",
            SubmitAnswer::Accepted | SubmitAnswer::Inconclusive(_) => false,
        }
    }
}

/// Where a block stands with a node, by what the node shows of its best chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// In the node's best chain.
    InChain {
        /// 1 for the tip; `None` where the node may not be asked for it.
        confirmations: Option<u32>,
    },
    /// The node knows the block and has it outside its best chain.
    Outside {
        /// Confirmations of the block that has its height there: 1 is a tie with the tip, more is a
        /// race that is decided for now, 0 means that the best chain is shorter.
        rival: u32,
    },
    /// The node does not know the block.
    Missing,
    /// The node may not be asked, and the block is not its tip.
    Untold,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_the_right_length() {
        let encoded = |n| {
            let mut out = Vec::new();
            push_compact_size(&mut out, n);
            faster_hex::hex_string(&out)
        };
        assert_eq!(encoded(0xfc), "fc");
        assert_eq!(encoded(0xfd), "fdfd00");
        assert_eq!(encoded(0xffff), "fdffff");
        assert_eq!(encoded(0x1_0000), "fe00000100");
        assert_eq!(encoded(0x1_0000_0000), "ff0000000001000000");
    }

    #[test]
    fn answers_are_understood() {
        use SubmitAnswer::*;
        for (said, meant) in [
            (None, Accepted),
            (Some("duplicate"), Duplicate),
            (Some("rejected: duplicate"), Duplicate),
            (Some("inconclusive"), Inconclusive("inconclusive".into())),
            (Some("high-hash"), Rejected("high-hash".into())),
            (Some("rejected: bad-cb-amount"), Rejected("bad-cb-amount".into())),
            (Some("duplicate-invalid"), Rejected("duplicate-invalid".into())),
        ] {
            assert_eq!(SubmitAnswer::parse(said), meant);
        }
        assert!(Duplicate.is_repeat() && Rejected("duplicate-invalid".into()).is_repeat());
        assert!(!Accepted.is_repeat() && !Rejected("bad-cb-amount".into()).is_repeat());
    }
}
