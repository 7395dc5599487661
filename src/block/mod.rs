//! A solved block: from the 80 bytes that were verified to the bytes that nodes are given.

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

/// A node's answer to `submitblock` (BIP 22), by what it means for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitAnswer {
    /// `null`: the block is valid and in the node's best chain.
    Accepted,
    /// The node has it already and it is valid: as good as accepted.
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

    /// Whether the node holds the block as valid.
    pub fn is_accepted(&self) -> bool {
        matches!(self, SubmitAnswer::Accepted | SubmitAnswer::Duplicate)
    }
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
        assert!(Duplicate.is_accepted() && !Inconclusive(String::new()).is_accepted());
    }
}
