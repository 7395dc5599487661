//! A solved block in pieces: compact blocks (BIP 152, version 2: ids with witness).

use std::ops::Range;

use bitcoin::hashes::{Hash, sha256, siphash24};

use crate::hash::sha256d;

use super::wire::{Fields, push_count};

/// Where each transaction of a block stands; `None` if its bytes are no block.
fn transactions(block: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut fields = Fields(block);
    fields.take(80)?;
    let count = fields.count()?;
    let mut list = Vec::new();
    for _ in 0..count {
        let start = block.len() - fields.0.len();
        skip_transaction(&mut fields)?;
        list.push(start..block.len() - fields.0.len());
    }
    (fields.0.is_empty() && !list.is_empty()).then_some(list)
}

/// Skips a transaction: version, inputs, outputs, the witness of each input (BIP 144), lock time.
fn skip_transaction(fields: &mut Fields<'_>) -> Option<()> {
    fields.take(4)?;
    let has_witness = fields.0.first() == Some(&0);
    if has_witness {
        fields.take(2)?;
    }
    let inputs = fields.count()?;
    for _ in 0..inputs {
        fields.take(36)?;
        skip_bytes(fields)?;
        fields.take(4)?;
    }
    for _ in 0..fields.count()? {
        fields.take(8)?;
        skip_bytes(fields)?;
    }
    for _ in 0..if has_witness { inputs } else { 0 } {
        for _ in 0..fields.count()? {
            skip_bytes(fields)?;
        }
    }
    fields.take(4)?;
    Some(())
}

fn skip_bytes(fields: &mut Fields<'_>) -> Option<()> {
    let length = fields.count()?;
    fields.take(length)?;
    Some(())
}

/// A block as `cmpctblock`: its header, a short id for each transaction, and the coinbase, which no
/// node has. `None` if its bytes are no block.
pub(super) fn cmpctblock(block: &[u8], nonce: u64) -> Option<Vec<u8>> {
    let transactions = transactions(block)?;
    let (coinbase, others) = transactions.split_first()?;
    let mut out = Vec::with_capacity(80 + 8 + 5 + others.len() * 6 + 2 + coinbase.len());
    out.extend_from_slice(&block[..80]);
    out.extend_from_slice(&nonce.to_le_bytes());
    // The key of the short ids: the first 16 bytes of the hash of header and nonce.
    let key = sha256::Hash::hash(&out).to_byte_array();
    let mut key = Fields(&key);
    let (k0, k1) = (key.u64()?, key.u64()?);
    push_count(&mut out, others.len());
    for range in others {
        // The id with witness is the double hash of all of its bytes.
        let id = sha256d(&block[range.clone()]);
        let short = siphash24::Hash::hash_with_keys(k0, k1, &id);
        out.extend_from_slice(&short.to_byte_array()[..6]);
    }
    // One transaction as it is, the first.
    out.extend_from_slice(&[1, 0]);
    out.extend_from_slice(&block[coinbase.clone()]);
    Some(out)
}

/// The `blocktxn` that answers a `getblocktxn` behind its block hash; `None` if that asks for what the
/// block does not have.
pub(super) fn blocktxn(block: &[u8], mut request: Fields<'_>) -> Option<Vec<u8>> {
    let transactions = transactions(block)?;
    let count = request.count()?;
    let mut out = sha256d(block.get(..80)?).to_vec();
    push_count(&mut out, count);
    // Each index is given as its distance to the one after the last.
    let mut next = 0_usize;
    for _ in 0..count {
        let index = next.checked_add(request.count()?)?;
        out.extend_from_slice(&block[transactions.get(index)?.clone()]);
        next = index + 1;
    }
    request.0.is_empty().then_some(out)
}

#[cfg(test)]
mod tests {
    use bitcoin::bip152::{BlockTransactions, BlockTransactionsRequest, HeaderAndShortIds};
    use bitcoin::consensus::{deserialize, serialize};

    use super::*;
    use crate::chain::Chain;
    use crate::p2p::tests::model::solve;

    #[test]
    fn compact_blocks_are_those_of_crate_bitcoin() {
        for txs in [0, 1, 7, 300] {
            let block = solve(Chain::Regtest.genesis(), 1, txs);
            let ours = cmpctblock(&block.bytes, 0x0102_0304_0506_0708).unwrap();
            let block: bitcoin::Block = deserialize(&block.bytes).unwrap();
            let theirs =
                HeaderAndShortIds::from_block(&block, 0x0102_0304_0506_0708, 2, &[]).unwrap();
            assert_eq!(ours, serialize(&theirs));
        }
    }

    #[test]
    fn transactions_are_cut_out_as_crate_bitcoin_does() {
        let solved = solve(Chain::Regtest.genesis(), 1, 300);
        let block: bitcoin::Block = deserialize(&solved.bytes).unwrap();
        for indexes in [vec![], vec![0], vec![1, 2, 3, 300], (0..=300).collect()] {
            let request = BlockTransactionsRequest { block_hash: block.block_hash(), indexes };
            let theirs = BlockTransactions::from_request(&request, &block).unwrap();
            let request = serialize(&request);
            let ours = blocktxn(&solved.bytes, Fields(&request[32..])).unwrap();
            assert_eq!(ours, serialize(&theirs));
        }
    }

    #[test]
    fn what_a_block_does_not_have_is_not_given() {
        let block = solve(Chain::Regtest.genesis(), 1, 2);
        let get = |request: &[u8]| blocktxn(&block.bytes, Fields(request));
        assert!(get(&[1, 2]).is_some());
        for wrong in
            [&[1, 3][..], &[2, 2, 0], &[1], &[], &[1, 0, 0], &[0xfe, 0xff, 0xff, 0xff, 0xff]]
        {
            assert_eq!(get(wrong), None, "{wrong:?}");
        }
        assert_eq!(get(&[2, 0, 0xfe, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn bytes_that_are_no_block_make_no_compact_block() {
        let block = solve(Chain::Regtest.genesis(), 1, 2);
        for end in 0..block.bytes.len() {
            assert_eq!(cmpctblock(&block.bytes[..end], 1), None, "{end}");
        }
        assert_eq!(cmpctblock(&[&block.bytes[..], &[0]].concat(), 1), None);
        assert_eq!(cmpctblock(&[&block.bytes[..80], &[0]].concat(), 1), None);
        assert_eq!(cmpctblock(&[&block.bytes[..80], &[0xff; 100]].concat(), 1), None);
    }
}
