//! Every fault of a block that a full node refuses, each made in a good block, with the reason in
//! Bitcoin Core's words. The sandbox node and Core's own engine are both held to it.

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::{Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Witness};
use soloist::demo::chain::solve;

/// Spoils a good block that has at least two transactions beside its coinbase.
pub type Spoil = fn(&mut Block);

/// Makes merkle root and proof of work fit again.
pub fn seal(mut block: Block) -> Block {
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    solve(block)
}

/// Makes the witness commitment fit again.
pub fn commit(block: &mut Block) {
    let root = block.witness_root().unwrap();
    let hash = Block::compute_witness_commitment(&root, &[0; 32]);
    let mut script = vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
    script.extend_from_slice(hash.as_ref());
    block.txdata[0].output[1].script_pubkey = ScriptBuf::from_bytes(script);
}

/// The height that the coinbase names.
fn height(block: &Block) -> i64 {
    block.bip34_block_height().unwrap() as i64
}

/// Reasons, and how to deserve them. Merkle root and proof of work are to be made to fit again.
pub const FAULTS: &[(&str, Spoil)] = &[
    ("bad-cb-amount", |block| block.txdata[0].output[0].value += Amount::from_sat(1)),
    ("bad-cb-height", |block| {
        block.txdata[0].input[0].script_sig =
            Builder::new().push_int(height(block) - 1).push_slice(b"sandbox").into_script();
    }),
    ("bad-cb-height", |block| {
        // The height without its length byte.
        block.txdata[0].input[0].script_sig = ScriptBuf::from_bytes(vec![105, 0, 0, 0]);
    }),
    ("bad-cb-length", |block| {
        let mut script = block.txdata[0].input[0].script_sig.to_bytes();
        script.resize(101, 0);
        block.txdata[0].input[0].script_sig = ScriptBuf::from_bytes(script);
    }),
    ("bad-witness-merkle-match", |block| {
        let mut script = block.txdata[0].output[1].script_pubkey.to_bytes();
        script[37] ^= 1;
        block.txdata[0].output[1].script_pubkey = ScriptBuf::from_bytes(script);
    }),
    ("bad-witness-merkle-match", |block| {
        // Another reserved value than the one committed to.
        block.txdata[0].input[0].witness = Witness::from_slice(&[[1u8; 32]]);
    }),
    ("bad-witness-nonce-size", |block| {
        block.txdata[0].input[0].witness = Witness::new();
    }),
    ("unexpected-witness", |block| {
        block.txdata[0].output.pop();
    }),
    ("bad-diffbits", |block| block.header.bits = CompactTarget::from_consensus(0x207f_fffe)),
    ("time-too-old", |block| block.header.time = 1),
    ("time-too-new", |block| block.header.time = u32::MAX),
    ("bad-version(0x00000003)", |block| {
        block.header.version = bitcoin::block::Version::from_consensus(3);
    }),
    ("prev-blk-not-found", |block| {
        block.header.prev_blockhash = BlockHash::from_byte_array([7; 32]);
    }),
    ("bad-cb-missing", |block| {
        block.txdata.remove(0);
    }),
    ("bad-cb-multiple", |block| {
        let mut second = block.txdata[0].clone();
        second.output[0].value = Amount::ZERO;
        block.txdata.push(second);
    }),
    ("bad-txns-duplicate", |block| {
        // With an odd number of leaves the last is paired with itself.
        block.txdata.truncate((block.txdata.len() - 1) | 1);
        let last = block.txdata.last().unwrap().clone();
        block.txdata.push(last);
    }),
    ("bad-txns-inputs-missingorspent", |block| {
        block.txdata[1].input[0].previous_output =
            OutPoint { txid: bitcoin::Txid::from_byte_array([9; 32]), vout: 0 };
        commit(block);
    }),
    ("bad-txns-in-belowout", |block| {
        block.txdata[1].output[0].value = Amount::from_btc(60.0).unwrap();
        commit(block);
    }),
    ("bad-txns-nonfinal", |block| {
        block.txdata[1].lock_time = LockTime::from_consensus(400_000_000);
        block.txdata[1].input[0].sequence = Sequence::ZERO;
        commit(block);
    }),
    ("bad-txns-inputs-duplicate", |block| {
        let input = block.txdata[1].input[0].clone();
        block.txdata[1].input.push(input);
        commit(block);
    }),
    ("bad-txns-vout-empty", |block| {
        block.txdata[1].output.clear();
        commit(block);
    }),
    ("bad-txns-vout-toolarge", |block| {
        block.txdata[1].output[0].value = Amount::MAX_MONEY + Amount::from_sat(1);
        commit(block);
    }),
    ("block-script-verify-flag-failed (Witness program hash mismatch)", |block| {
        block.txdata[1].input[0].witness = Witness::from_slice(&[[0x52u8]]);
        commit(block);
    }),
    ("bad-blk-weight", |block| {
        // In two halves, because decoders have limits of their own.
        for tx in &mut block.txdata[1..3] {
            tx.input[0].witness = Witness::from_slice(&[vec![0u8; 2_000_000]]);
        }
        commit(block);
    }),
    ("bad-blk-length", |block| {
        block.txdata[0].output[0].script_pubkey = ScriptBuf::from_bytes(vec![0x6a; 1_000_000]);
    }),
    ("bad-blk-sigops", |block| {
        // OP_CHECKMULTISIG counts as 20, times four outside a witness.
        block.txdata[0].output[0].script_pubkey = ScriptBuf::from_bytes(vec![0xae; 1_001]);
    }),
];
