//! A solved block: from its 80 verified header bytes to the bytes that nodes get, and its state
//! until it is mature.

mod offer;
pub mod submission;
mod told;

use std::sync::Arc;

use crate::chain::BlockHash;
use crate::template::Tx;

pub use told::{NodeAnswer, StoredState, refusal_advice};

/// A complete block whose header meets the network's target, ready to be submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SolvedBlock {
    /// Its hash: double SHA-256 of its first 80 bytes, the header.
    pub hash: BlockHash,
    /// Height in the chain.
    pub height: u32,
    /// When its share came in, Unix seconds by our own clock.
    pub unix: u64,
    /// What its coinbase pays, satoshis.
    pub reward: u64,
    /// The worker that found it, as it calls itself.
    pub worker: String,
    /// The other box of the pair solved it: it is kept and submitted here as well, and counted there.
    pub from_partner: bool,
    /// The serialised block, with witness (BIP 144), as `submitblock` takes it.
    pub bytes: Vec<u8>,
}

/// Assembles a block. `header` must be the 80 bytes whose hash was checked; it is never rebuilt
/// from fields. `coinbase` is the transaction as it is in a block.
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

/// The number of transactions, in Bitcoin's variable-length form.
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
}
