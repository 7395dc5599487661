//! Blocks of our own making on real full nodes: the cores build and solve them from the nodes'
//! templates, the node client proposes and submits them. bcoin always, Bitcoin Core where
//! `BITCOIND` names its binary.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bitcoin::absolute::LockTime;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::hashes::Hash;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use serde_json::json;
use smol::LocalExecutor;
use soloist::chain::Chain;
use soloist::ids::NodeId;
use soloist::node::{NodeEventKind, Position, SubmitAnswer};
use soloist::priority_queue::Urgency;
use soloist::rpc::NodeHandle;
use soloist::signal::VERSION_MASK;
use soloist::template::{Template, TipHeader};

use crate::common::craft::{Solved, anyone_can_spend, job, solve, template};
use crate::common::node::{Kind, RealNode};

/// Blocks until segwit is active: bcoin's regtest votes for it as mainnet did.
fn activate_segwit(node: &RealNode) {
    node.generate(if node.kind == Kind::Bcoin { 440 } else { 2 });
}

#[test]
fn real_nodes_accept_our_blocks() {
    for node in RealNode::all() {
        let rpc = node.rpc();
        activate_segwit(&node);
        let ours = job(template(&rpc));
        assert!(ours.work.template.witness_commitment.is_some());
        let paying = solve(&ours, 2, Some(VERSION_MASK));
        assert_eq!(rpc.propose(&paying.hex), Ok(None));
        assert_eq!(rpc.submit_block(&paying.hex), Ok(SubmitAnswer::Accepted));
        let height = ours.work.template.height;
        let tip = Position::InChain { confirmations: Some(1) };
        assert_eq!(rpc.best_chain_position(paying.hash, height), Ok(tip));
        // The header's bytes are those that were hashed, rolled version bits and all.
        let raw = node.call("getblockheader", json!([paying.hash.to_string(), false]));
        assert_eq!(raw.as_str().unwrap(), &paying.hex[..160]);
        let version = u32::from_le_bytes(bytes(&paying.hex[..8]).try_into().unwrap());
        assert_eq!(version & VERSION_MASK, VERSION_MASK);

        // The coinbase matures, and a chain of transactions with witnesses spends it.
        node.generate(100);
        let mut from = (paying.coinbase, ours.work.template.value);
        let mut sent = Vec::new();
        for _ in 0..20 {
            let tx = spend(from);
            let id = node.call("sendrawtransaction", json!([serialize_hex(&tx)]));
            assert_eq!(id, json!(tx.compute_txid().to_string()));
            from = (tx.compute_txid().to_byte_array(), tx.output[0].value.to_sat());
            sent.push(id);
        }
        let ours = job(template(&rpc));
        assert_eq!(ours.work.template.txs.len(), sent.len());
        assert_eq!(ours.work.template.fees(), 20 * FEE);
        let with_txs = solve(&ours, 3, Some(0x00aa_a000));
        assert_eq!(rpc.propose(&with_txs.hex), Ok(None));
        assert_eq!(rpc.submit_block(&with_txs.hex), Ok(SubmitAnswer::Accepted));
        let block = node.call("getblock", json!([with_txs.hash.to_string()]));
        assert_eq!(block["tx"].as_array().unwrap()[1..], sent[..]);
        assert_eq!(node.tip(), with_txs.hash);
    }
}

#[test]
fn blocks_before_and_at_the_activation_of_segwit_are_accepted() {
    // bcoin's regtest activates it at block 432; Core's has it from the first block on.
    let Some(node) = RealNode::bcoin() else { return };
    let rpc = node.rpc();
    let submit = |template: Template| {
        let height = template.height;
        let has_commitment = template.witness_commitment.is_some();
        let block = solve(&job(template), 1, None);
        assert_eq!(rpc.propose(&block.hex), Ok(None), "block {height}");
        assert_eq!(rpc.submit_block(&block.hex), Ok(SubmitAnswer::Accepted), "block {height}");
        assert_eq!((node.tip(), node.height()), (block.hash, height.into()));
        (block.hash, has_commitment)
    };
    let (_, committed) = submit(template(&rpc));
    assert!(!committed, "bcoin offers a commitment for block 1 and refuses it");

    node.generate(428);
    let mut commitments = Vec::new();
    for height in 430..=434 {
        let template = template(&rpc);
        assert_eq!(template.height, height);
        commitments.push(submit(template).1);
    }
    assert_eq!(commitments, [false, false, true, true, true]);

    // An empty block on the last tip before segwit takes over its template's ways.
    let before = node.call("getblockhash", json!([431])).as_str().unwrap().to_owned();
    let first = node.call("getblockhash", json!([432]));
    node.call("invalidateblock", json!([first]));
    assert_eq!(node.tip().to_string(), before);
    let at_431 = node.call("getblockhash", json!([430])).as_str().unwrap().parse().unwrap();
    let last = Template { height: 431, prev: at_431, witness_commitment: None, ..template(&rpc) };
    let header = TipHeader { height: 431, median_time: 0 };
    let before = before.parse().unwrap();
    let empty = last.empty_on(before, header, Chain::Regtest, last.curtime).unwrap();
    assert_eq!((empty.height, &empty.witness_commitment), (432, &None));
    submit(empty);
}

#[test]
fn real_nodes_refuse_what_is_wrong_before_and_after_the_work() {
    for node in RealNode::all() {
        activate_segwit(&node);
        let rpc = node.rpc();
        let tip = node.tip();
        let good = template(&rpc);

        let mut overpaying = good.clone();
        overpaying.value += 1;
        let mut uncommitted = good.clone();
        uncommitted.witness_commitment.as_mut().unwrap()[10] ^= 1;
        let mut low = good.clone();
        low.height -= 1;
        // bcoin's regtest does not ask for the height in the coinbase.
        let low = (node.kind == Kind::Core).then_some(("wrong height", low));
        let mut reasons = BTreeMap::new();
        let wrongs = [("overpays", overpaying), ("commits wrongly", uncommitted)];
        for (what, wrong) in wrongs.into_iter().chain(low) {
            let block = solve(&job(wrong), 4, None);
            let proposed = rpc.propose(&block.hex).unwrap().expect(what);
            match rpc.submit_block(&block.hex).unwrap() {
                // The same words at the rehearsal as at the performance.
                SubmitAnswer::Rejected(reason) => assert_eq!(reason, proposed, "{what}"),
                other => panic!("{what}: {other:?}"),
            }
            reasons.insert(what, proposed);
        }
        assert_eq!(reasons["overpays"], "bad-cb-amount");
        assert_eq!(reasons["commits wrongly"], "bad-witness-merkle-match");
        if node.kind == Kind::Core {
            assert_eq!(reasons["wrong height"], "bad-cb-height");
        }
        assert_eq!(node.tip(), tip);
    }
}

#[test]
fn a_block_reaches_every_node_and_one_that_lacks_the_parent_says_so() {
    for make in [RealNode::bcoin, RealNode::core] {
        let (Some(first), Some(second)) = (make(), make()) else { continue };
        activate_segwit(&first);
        let height = first.height();
        second.learn_from(&first, height);
        let executor = LocalExecutor::new();
        let (sender, events) = async_channel::unbounded();
        let handles: Vec<NodeHandle> = [&first, &second]
            .iter()
            .zip(0..)
            .map(|(node, id)| {
                NodeHandle::start(NodeId(id), &node.config(), sender.clone(), &executor).unwrap()
            })
            .collect();
        let answers = |block: &Solved| {
            for handle in &handles {
                handle.submit(block.hash, block.hex.clone(), Urgency::Urgent);
            }
            let mut answers = BTreeMap::new();
            while answers.len() < handles.len() {
                let event = smol::block_on(executor.run(events.recv())).unwrap();
                if let NodeEventKind::Submitted { block: hash, answer, .. } = event.kind {
                    assert_eq!(hash, block.hash);
                    answers.insert(event.node, answer.unwrap());
                }
            }
            answers.into_values().collect::<Vec<_>>()
        };
        let block = solve(&job(template(&first.rpc())), 5, None);
        assert_eq!(answers(&block), [SubmitAnswer::Accepted, SubmitAnswer::Accepted]);
        assert_eq!((first.tip(), second.tip()), (block.hash, block.hash));
        assert_eq!(answers(&block), [SubmitAnswer::Duplicate, SubmitAnswer::Duplicate]);

        // The second node does not get the next block, and so cannot judge the one after it.
        first.generate(1);
        let child = solve(&job(template(&first.rpc())), 6, None);
        let lacking = match second.kind {
            Kind::Bcoin => SubmitAnswer::Rejected("bad-prevblk".into()),
            Kind::Core => SubmitAnswer::Rejected("prev-blk-not-found".into()),
        };
        assert_eq!(answers(&child), [SubmitAnswer::Accepted, lacking]);
        // It has not written the block off for ever.
        second.learn_from(&first, height + 3);
        assert_eq!(answers(&child), [SubmitAnswer::Duplicate, SubmitAnswer::Duplicate]);
        // Once more, this time with the block submitted again instead of copied. bcoin has kept
        // it, and connects it by itself as soon as it has the parent.
        first.generate(1);
        let child = solve(&job(template(&first.rpc())), 7, None);
        answers(&child);
        second.learn_from(&first, height + 4);
        assert!(!matches!(answers(&child)[1], SubmitAnswer::Rejected(_)));
        assert_eq!(second.tip(), child.hash);
    }
}

const FEE: u64 = 1_000;

fn spend((txid, value): ([u8; 32], u64)) -> Transaction {
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(bitcoin::Txid::from_byte_array(txid), 0),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[vec![0x51]]),
        }],
        output: vec![TxOut {
            value: Amount::from_sat(value - FEE),
            script_pubkey: anyone_can_spend(),
        }],
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let mut bytes = vec![0; hex.len() / 2];
    faster_hex::hex_decode(hex.as_bytes(), &mut bytes).unwrap();
    bytes
}
