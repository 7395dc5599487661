//! Real mainnet blocks, put together by our own cores: the template side is rebuilt from the block,
//! the share side from its header, and what comes out must be the block, byte for byte.
//!
//! - the genesis block and block 100000 (four transactions, before segwit);
//! - block 702861: segwit with its commitment, and a header in which the miner rolled every bit that
//!   BIP 320 allows (version 0x3fffe004).
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Instant;

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hex::{DisplayHex, FromHex};
use soloist::block;
use soloist::chain::{BlockHash, Chain};
use soloist::coinbase::{Coinbase, EXTRANONCE_SIZE};
use soloist::difficulty::Difficulty;
use soloist::ids::NodeId;
use soloist::job::{Job, JobId, Work};
use soloist::share::{RolledVersion, Share, Submission};
use soloist::signal::VERSION_MASK;
use soloist::template::{Template, TxCache, witness_commitment};
use soloist::{hash, merkle};

/// Header and coinbase of block 100000; the ids of its other transactions.
const HEADER_100000: &str = "0100000050120119172a610421a6c3011dd330d9df07b63616c2cc1f1cd00200000000006657a9252aacd5c0b2940996ecff952228c3067cc38d4885efb5a4ac4247e9f337221b4d4c86041b0f2b5710";
const COINBASE_100000: &str = "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff08044c86041b020602ffffffff0100f2052a010000004341041b0e8c2567c12536aa13357b79a073dc4444acb83c4ec7a0e2f99dd7457516c5817242da796924ca4e99947d087fedf9ce467cb9f7c6287078f801df276fdf84ac00000000";
const TXIDS_100000: [&str; 3] = [
    "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
    "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
    "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
];

/// The template that a node would have given for this block, without its coinbase.
fn template(block: &bitcoin::Block, height: u32) -> Template {
    let header = &block.header;
    let transactions: Vec<_> = block.txdata[1..]
        .iter()
        .map(|tx| {
            serde_json::json!({
                "data": serialize(tx).to_lower_hex_string(),
                "txid": tx.compute_txid().to_string(),
                "hash": tx.compute_wtxid().to_string(),
                "fee": 0,
            })
        })
        .collect();
    let value: u64 = block.txdata[0].output.iter().map(|output| output.value.to_sat()).sum();
    let json = serde_json::json!({
        "version": header.version.to_consensus() & !(VERSION_MASK as i32),
        "rules": ["csv", "!segwit", "taproot"],
        "previousblockhash": header.prev_blockhash.to_string(),
        "transactions": transactions,
        "coinbasevalue": value,
        "mintime": header.time - 600,
        "curtime": header.time,
        "bits": format!("{:08x}", header.bits.to_consensus()),
        "height": height,
    });
    Template::parse(&serde_json::to_vec(&json).unwrap(), &mut TxCache::default()).unwrap()
}

/// A real coinbase cut where `extranonce_at` says, as if its miner had counted there.
fn cut(coinbase: &[u8], extranonce_at: usize, has_witness: bool) -> (Coinbase, [u8; 12]) {
    let (before, rest) = coinbase.split_at(extranonce_at);
    let (extranonce, after) = rest.split_at(EXTRANONCE_SIZE);
    let halves = Coinbase { coinbase1: before.to_vec(), coinbase2: after.to_vec(), has_witness };
    (halves, extranonce.try_into().unwrap())
}

/// Mines the block again with the numbers that its miner found.
fn mine_again(
    template: Template,
    coinbase: Coinbase,
    extranonce: [u8; 12],
    header: &[u8],
) -> Share {
    let header: bitcoin::block::Header = deserialize(header).unwrap();
    let template = Arc::new(template);
    let work = Work::with_coinbase(template, coinbase, NodeId(0), Instant::now(), false);
    let job = Job { id: JobId(1), ntime: header.time, work: work.into() };
    let submission = Submission {
        job: job.id,
        extranonce,
        ntime: header.time,
        nonce: header.nonce,
        version: RolledVersion::Bits(header.version.to_consensus() as u32 & VERSION_MASK),
    };
    let share = Share::prove(&job, &submission);
    assert_eq!(share.check_rules(&job, &submission, header.time, Difficulty(1.0)), Ok(()));
    share
}

#[test]
fn block_702861_with_witnesses_and_every_version_bit_rolled() {
    let raw = bitcoin_test_data::blocks::mainnet_702861();
    let block: bitcoin::Block = deserialize(raw).unwrap();
    assert_eq!(block.header.version.to_consensus(), 0x3fff_e004);
    let template = template(&block, 702_861);

    // The commitment that we make is the one that its coinbase holds.
    let ours = witness_commitment(&template.txs);
    let outputs = &block.txdata[0].output;
    assert!(outputs.iter().any(|output| output.script_pubkey.as_bytes() == ours));
    assert_eq!(template.witness_commitment.as_ref(), Some(&ours));

    let mut stripped = block.txdata[0].clone();
    stripped.input[0].witness.clear();
    let script_len = stripped.input[0].script_sig.len();
    // The last twelve bytes of its scriptSig: after version, input count, outpoint and length.
    let (coinbase, extranonce) = cut(&serialize(&stripped), 42 + script_len - 12, true);
    let in_block = coinbase.in_block(&extranonce);
    let txs = template.txs.clone();
    let share = mine_again(template, coinbase, extranonce, &raw[..80]);

    assert_eq!(share.header, raw[..80]);
    assert_eq!(share.hash.to_string(), block.block_hash().to_string());
    assert!(share.solves);
    assert!(block::assemble(&share.header, &in_block, &txs) == raw, "not the block byte for byte");
}

#[test]
fn without_the_version_bits_it_is_no_block() {
    let raw = bitcoin_test_data::blocks::mainnet_702861();
    let mut header: [u8; 80] = raw[..80].try_into().unwrap();
    let target = bitcoin_target(&header);
    assert!(target.is_met_by(&hash(&header)));
    header[..4].copy_from_slice(&0x2000_0004_u32.to_le_bytes());
    assert!(!target.is_met_by(&hash(&header)));
}

#[test]
fn block_100000_from_before_segwit() {
    let header = Vec::from_hex(HEADER_100000).unwrap();
    let coinbase = Vec::from_hex(COINBASE_100000).unwrap();
    let txids = TXIDS_100000.map(|hex| hex.parse::<soloist::chain::Txid>().unwrap());
    let coinbase_txid = soloist::hash::sha256d(&coinbase);
    let mut tree = merkle::Tree::default();
    tree.update(std::iter::once([0; 32]).chain(txids.into_iter().map(|txid| txid.0)).collect());
    let root = hash::branch_root(&coinbase_txid, &tree.branch());
    assert_eq!(root, header[36..68]);

    let header: [u8; 80] = header.try_into().unwrap();
    assert!(bitcoin_target(&header).is_met_by(&hash(&header)));
    assert_eq!(
        hash(&header).to_string(),
        "000000000003ba27aa200b1cecaad478d2b00432346c3f1f3986da1afd33e506"
    );
    assert!((bitcoin_target(&header).difficulty().0 - 14_484.162_361_225_4).abs() < 1e-9);
}

#[test]
fn the_genesis_block() {
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin);
    let raw = serialize(&genesis);
    let header: [u8; 80] = raw[..80].try_into().unwrap();
    assert_eq!(hash(&header), Chain::Main.genesis());
    let coinbase = serialize(&genesis.txdata[0]);
    assert_eq!(soloist::hash::sha256d(&coinbase), header[36..68]);
    assert_eq!(block::assemble(&header, &coinbase, &[]), raw);
    // The famous words are in a scriptSig of 77 bytes: twelve of them serve as extranonce.
    let (halves, extranonce) = cut(&coinbase, 60, false);
    assert_eq!(halves.in_block(&extranonce), coinbase);
}

fn hash(header: &[u8; 80]) -> BlockHash {
    BlockHash(soloist::hash::sha256d(header))
}

fn bitcoin_target(header: &[u8; 80]) -> soloist::difficulty::Target {
    let header: bitcoin::block::Header = deserialize(header).unwrap();
    let bits = soloist::difficulty::NBits(header.bits.to_consensus());
    soloist::difficulty::Target::from_nbits(bits).unwrap()
}
