//! The sandbox node of `soloist demo`, with blocks made by hand: it must accept what a full node
//! accepts and refuse the rest in Bitcoin Core's words, or it would prove nothing.
#![cfg(feature = "demo")]
// The lint spares test functions, but not the helpers beside them.
#![allow(clippy::unwrap_used)]

#[path = "../common/faults.rs"]
mod faults;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bitcoin::absolute::LockTime;
use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Witness,
};
use faults::{FAULTS, commit, seal};
use serde_json::{Value, json};
use soloist::demo::chain::{Outcome, Proposal, Rules, SandboxChain, solve, subsidy};
use soloist::demo::check::Refusal;
use soloist::demo::coins::free_script;
use soloist::demo::miner::{CpuMiner, MinerConfig, MinerEvent};
use soloist::demo::node::{SandboxConfig, SandboxNode, Submitted};

const NOW: u64 = 1_700_000_000;
const LONG: Duration = Duration::from_secs(60);

/// A chain with mature coins, and `transactions` in its mempool.
fn chain(transactions: usize) -> SandboxChain {
    let mut chain = SandboxChain::new(Rules::regtest());
    for height in 1..=103 {
        assert_eq!(chain.mine(free_script(), NOW - 7_200 + height * 60), Outcome::Connected);
    }
    assert!(chain.add_split(50));
    assert_eq!(chain.mine(free_script(), NOW), Outcome::Connected);
    assert_eq!(chain.add_transactions(transactions), transactions);
    chain
}

fn good(chain: &SandboxChain) -> Block {
    chain.assemble(ScriptBuf::new_op_return([]), NOW)
}

#[test]
fn a_good_block_is_connected_once() {
    let mut chain = chain(7);
    let block = seal(good(&chain));
    assert_eq!(block.txdata.len(), 8);
    assert_eq!(chain.submit(block.clone(), NOW), Outcome::Connected);
    assert_eq!(chain.tip(), block.block_hash());
    assert_eq!(chain.mempool_len(), 0);
    assert_eq!(chain.submit(block, NOW), Outcome::Duplicate);
}

#[test]
fn every_fault_is_refused_in_the_words_of_core() {
    let mut chain = chain(3);
    let tip = chain.tip();
    for (reason, spoil) in FAULTS {
        let mut block = good(&chain);
        spoil(&mut block);
        if let Outcome::Refused(refusal) = chain.submit(seal(block), NOW) {
            assert_eq!(refusal.to_string(), *reason);
        } else {
            panic!("{reason}: not refused");
        }
        assert_eq!(chain.tip(), tip, "{reason}");
    }
    // None of them left a mark: the good block is still good.
    let block = seal(good(&chain));
    assert_eq!(chain.submit(block, NOW), Outcome::Connected);
}

#[test]
fn work_and_merkle_root_are_checked() {
    let mut chain = chain(2);
    let mut block = good(&chain);
    let target = block.header.target();
    while target.is_met_by(block.block_hash()) {
        block.header.nonce += 1;
    }
    assert_eq!(chain.submit(block, NOW), Outcome::Refused(Refusal::HighHash));

    // A target that is easier than the chain allows is no work either.
    let mut block = good(&chain);
    block.header.bits = CompactTarget::from_consensus(0x2100_ffff);
    assert_eq!(chain.submit(block, NOW), Outcome::Refused(Refusal::HighHash));

    let mut block = good(&chain);
    block.header.merkle_root = TxMerkleNode::from_byte_array([3; 32]);
    assert_eq!(chain.submit(solve(block), NOW), Outcome::Refused(Refusal::MerkleRoot));

    let mut block = seal(good(&chain));
    block.txdata.clear();
    assert_eq!(chain.submit(block, NOW), Outcome::Refused(Refusal::Length));
}

#[test]
fn a_coinbase_is_spent_only_when_it_is_mature() {
    let mut chain = chain(1);
    let young = chain.block(&chain.hash_at(10).unwrap()).unwrap().txdata[0].compute_txid();
    let mut block = good(&chain);
    // At height 105 a coinbase of height 6 is a block too young; that of height 10 is five.
    block.txdata[1].input[0].previous_output = OutPoint { txid: young, vout: 0 };
    commit(&mut block);
    assert_eq!(chain.submit(seal(block), NOW), Outcome::Refused(Refusal::ImmatureSpend));
}

#[test]
fn a_block_refused_for_its_contents_is_remembered() {
    let mut chain = chain(0);
    let mut block = good(&chain);
    block.txdata[0].output[0].value += Amount::from_sat(1);
    let block = seal(block);
    assert_eq!(chain.submit(block.clone(), NOW), Outcome::Refused(Refusal::CoinbaseAmount));
    assert_eq!(chain.submit(block.clone(), NOW), Outcome::DuplicateInvalid);
    assert_eq!(chain.propose(&block, NOW), Proposal::DuplicateInvalid);
    let mut child = good(&chain);
    child.header.prev_blockhash = block.block_hash();
    assert_eq!(chain.submit(seal(child), NOW), Outcome::Refused(Refusal::ParentInvalid));
}

#[test]
fn the_longer_branch_wins_and_takes_its_coins_along() {
    let mut chain = chain(4);
    let first = seal(good(&chain));
    let mut other = good(&chain);
    other.txdata.truncate(2);
    other.txdata[0].output[0].value = subsidy(105);
    commit(&mut other);
    let other = seal(other);
    assert_eq!(chain.submit(first.clone(), NOW), Outcome::Connected);
    assert_eq!(chain.submit(other.clone(), NOW), Outcome::Aside);
    assert_eq!(chain.header(&other.block_hash()).unwrap()["confirmations"], -1);
    assert_eq!(chain.mempool_len(), 0);

    // preciousblock turns the tie; what the other block had left out waits again.
    assert!(chain.prefer(&other.block_hash()));
    assert_eq!(chain.tip(), other.block_hash());
    assert_eq!(chain.mempool_len(), 3);
    assert!(chain.prefer(&first.block_hash()));
    assert_eq!(chain.tip(), first.block_hash());
    assert!(!chain.prefer(&BlockHash::from_byte_array([1; 32])));

    // A child that overpays makes its branch lose again.
    let mut child = good(&chain);
    child.header.prev_blockhash = other.block_hash();
    child.txdata[0].output[0].value += Amount::from_sat(1);
    assert_eq!(chain.submit(seal(child), NOW), Outcome::Refused(Refusal::CoinbaseAmount));
    assert_eq!(chain.tip(), first.block_hash());

    let mut child = good(&chain);
    child.header.prev_blockhash = other.block_hash();
    let child = seal(child);
    assert_eq!(chain.submit(child.clone(), NOW), Outcome::Connected);
    assert_eq!(chain.tip(), child.block_hash());
    assert_eq!(chain.height(), 106);
    assert_eq!(chain.mine(free_script(), NOW), Outcome::Connected);
}

#[test]
fn a_proposal_needs_no_work_and_changes_nothing() {
    let mut chain = chain(3);
    let mut block = good(&chain);
    let target = block.header.target();
    while target.is_met_by(block.block_hash()) {
        block.header.nonce += 1;
    }
    assert_eq!(chain.propose(&block, NOW), Proposal::Fine);
    assert_eq!(chain.propose(&block, NOW), Proposal::Fine);
    let mut over = block.clone();
    over.txdata[0].output[0].value += Amount::from_sat(1);
    over.header.merkle_root = over.compute_merkle_root().unwrap();
    assert_eq!(chain.propose(&over, NOW), Proposal::Refused(Refusal::CoinbaseAmount));
    let mut late = block.clone();
    late.header.prev_blockhash = chain.hash_at(50).unwrap();
    assert_eq!(chain.propose(&late, NOW), Proposal::NotOnTip);
    assert_eq!(chain.height(), 104);
}

/// Builds a block from a template's JSON alone, as a miner without a daemon would.
fn block_from(template: &Value) -> Block {
    let height = template["height"].as_i64().unwrap();
    let coinbase = Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: Builder::new().push_int(height).push_slice(b"by hand").into_script(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[0u8; 32]]),
        }],
        output: vec![
            TxOut {
                value: Amount::from_sat(template["coinbasevalue"].as_u64().unwrap()),
                script_pubkey: free_script(),
            },
            TxOut {
                value: Amount::ZERO,
                script_pubkey: ScriptBuf::from_hex(
                    template["default_witness_commitment"].as_str().unwrap(),
                )
                .unwrap(),
            },
        ],
    };
    let mut txdata = vec![coinbase];
    for tx in template["transactions"].as_array().unwrap() {
        txdata.push(deserialize_hex(tx["data"].as_str().unwrap()).unwrap());
    }
    let header = bitcoin::block::Header {
        version: bitcoin::block::Version::from_consensus(
            template["version"].as_i64().unwrap() as i32
        ),
        prev_blockhash: template["previousblockhash"].as_str().unwrap().parse().unwrap(),
        merkle_root: TxMerkleNode::all_zeros(),
        time: template["curtime"].as_u64().unwrap() as u32,
        bits: CompactTarget::from_unprefixed_hex(template["bits"].as_str().unwrap()).unwrap(),
        nonce: 0,
    };
    seal(Block { header, txdata })
}

#[test]
fn the_template_says_what_it_holds() {
    let chain = chain(10);
    let template = chain.template(NOW);
    let transactions = template["transactions"].as_array().unwrap();
    assert_eq!(transactions.len(), 10);
    let mut fees = 0;
    for (index, tx) in transactions.iter().enumerate() {
        let decoded: Transaction = deserialize_hex(tx["data"].as_str().unwrap()).unwrap();
        assert_eq!(tx["txid"], decoded.compute_txid().to_string());
        assert_eq!(tx["hash"], decoded.compute_wtxid().to_string());
        assert_ne!(tx["txid"], tx["hash"], "it has a witness");
        assert_eq!(tx["weight"], decoded.weight().to_wu());
        for depends in tx["depends"].as_array().unwrap() {
            let other = &transactions[depends.as_u64().unwrap() as usize - 1];
            assert_eq!(other["txid"], decoded.input[0].previous_output.txid.to_string());
            assert!(depends.as_u64().unwrap() <= index as u64, "parents come first");
        }
        fees += tx["fee"].as_u64().unwrap();
    }
    assert!(transactions.iter().any(|tx| !tx["depends"].as_array().unwrap().is_empty()));
    assert_eq!(template["coinbasevalue"], subsidy(105).to_sat() + fees);
    assert_eq!(template["height"], 105);
    assert_eq!(template["bits"], "207fffff");
    assert_eq!(
        template["target"],
        "7fffff0000000000000000000000000000000000000000000000000000000000"
    );
}

#[test]
fn the_subsidy_halves_as_on_regtest() {
    let expected =
        [(1, 5_000_000_000), (149, 5_000_000_000), (150, 2_500_000_000), (450, 625_000_000)];
    for (height, sat) in expected {
        assert_eq!(subsidy(height).to_sat(), sat);
    }
    assert_eq!(subsidy(150 * 64), Amount::ZERO);
}

// -- over sockets --

fn config(name: &str) -> SandboxConfig {
    SandboxConfig {
        name: name.into(),
        user: "someone".into(),
        password: "s3cret:with:colons".into(),
        rules: Rules::regtest(),
        transactions_per_block: 3,
        transaction_every: Duration::from_secs(3_600),
    }
}

fn node(name: &str, events: Option<mpsc::Sender<Submitted>>) -> SandboxNode {
    SandboxNode::start(config(name), chain(0), events).unwrap()
}

fn post(node: &SandboxNode, authorization: &str, body: &str) -> Option<(u16, Value)> {
    let response = minreq::post(format!("http://{}/", node.rpc_address()))
        .with_header("Authorization", authorization)
        .with_body(body)
        .with_timeout(LONG.as_secs())
        .send()
        .ok()
        .filter(|response| !response.headers.is_empty())?;
    let value = serde_json::from_slice(response.as_bytes()).unwrap_or(Value::Null);
    Some((response.status_code, value))
}

// "someone:s3cret:with:colons"
const AUTH: &str = "Basic c29tZW9uZTpzM2NyZXQ6d2l0aDpjb2xvbnM=";

fn call(node: &SandboxNode, method: &str, params: Value) -> Result<Value, i64> {
    let body = json!({ "id": 7, "method": method, "params": params }).to_string();
    let (status, answer) = post(node, AUTH, &body).expect("the node answers");
    assert_eq!(answer["id"], 7);
    match answer["error"]["code"].as_i64() {
        Some(code) => Err(code),
        None => {
            assert_eq!(status, 200);
            Ok(answer["result"].clone())
        }
    }
}

fn template(node: &SandboxNode) -> Value {
    call(node, "getblocktemplate", json!([{ "rules": ["segwit"] }])).unwrap()
}

fn submit(node: &SandboxNode, block: &Block) -> Value {
    call(node, "submitblock", json!([serialize_hex(block)])).unwrap()
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < LONG, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_block_made_from_a_template_over_http_is_accepted() {
    let (sender, events) = mpsc::channel();
    let node = node("a", Some(sender));
    let template = template(&node);
    assert_eq!(template["transactions"].as_array().unwrap().len(), 3);
    let block = block_from(&template);
    let proposal = json!([{ "mode": "proposal", "data": serialize_hex(&block) }]);
    assert_eq!(call(&node, "getblocktemplate", proposal), Ok(Value::Null));
    assert_eq!(submit(&node, &block), Value::Null);
    assert_eq!(submit(&node, &block), "duplicate");
    let hash = block.block_hash().to_string();
    assert_eq!(call(&node, "getbestblockhash", json!([])), Ok(json!(hash)));
    assert_eq!(call(&node, "getblockhash", json!([105])), Ok(json!(hash)));
    let header = call(&node, "getblockheader", json!([hash])).unwrap();
    assert_eq!(header["confirmations"], 1);
    assert_eq!(header["previousblockhash"], template["previousblockhash"]);
    let raw = call(&node, "getblockheader", json!([hash, false]));
    assert_eq!(raw, Ok(json!(serialize_hex(&block.header))));
    let info = call(&node, "getblockchaininfo", json!([])).unwrap();
    assert_eq!((&info["chain"], &info["blocks"]), (&json!("regtest"), &json!(105)));
    assert_eq!(info["bestblockhash"], hash);
    assert!(matches!(
        events.recv_timeout(LONG).unwrap(),
        Submitted { outcome: Outcome::Connected, height: 105, .. }
    ));
    let refused = seal(Block {
        header: bitcoin::block::Header { time: 0, ..block.header },
        txdata: block.txdata.clone(),
    });
    assert_eq!(submit(&node, &refused), "time-too-old");
}

#[test]
fn bad_requests_get_clear_errors() {
    let node = node("a", None);
    assert_eq!(post(&node, "Basic d3Jvbmc6d3Jvbmc=", "{}").unwrap().0, 401);
    assert_eq!(post(&node, "", "{}").unwrap().0, 401);
    for (body, status, code) in [
        ("", 500, -32700),
        ("{", 500, -32700),
        ("[]", 400, -32600),
        ("{\"method\":5}", 400, -32600),
        ("{\"method\":\"stop\"}", 404, -32601),
        ("{\"method\":\"submitblock\",\"params\":[\"00\"]}", 500, -22),
        ("{\"method\":\"submitblock\",\"params\":[]}", 500, -3),
        ("{\"method\":\"getblocktemplate\",\"params\":[]}", 500, -8),
        ("{\"method\":\"getblockheader\",\"params\":[\"zz\"]}", 500, -8),
        ("{\"method\":\"getblockhash\",\"params\":[99999999999]}", 500, -8),
    ] {
        let (got, answer) = post(&node, AUTH, body).unwrap();
        assert_eq!((got, answer["error"]["code"].as_i64()), (status, Some(code)), "{body}");
    }
    let unknown = json!(["00".repeat(32)]);
    assert_eq!(call(&node, "getblockheader", unknown.clone()), Err(-5));
    assert_eq!(call(&node, "preciousblock", unknown), Err(-5));
    let huge = "x".repeat(10_000_000);
    assert!(post(&node, AUTH, &huge).is_none_or(|(status, _)| status == 413));
    assert!(template(&node)["height"] == 105, "it lives on");
}

#[test]
fn a_long_poll_waits_for_the_next_tip() {
    let node = node("a", None);
    let before = template(&node);
    // One that is out of date is answered at once.
    let stale = json!([{ "rules": ["segwit"], "longpollid": "00" }]);
    assert_eq!(call(&node, "getblocktemplate", stale).unwrap()["height"], 105);

    let (sender, answered) = mpsc::channel();
    std::thread::scope(|scope| {
        let current = json!([{ "rules": ["segwit"], "longpollid": before["longpollid"] }]);
        let node = &node;
        scope.spawn(move || sender.send(call(node, "getblocktemplate", current)).unwrap());
        assert!(answered.recv_timeout(Duration::from_millis(300)).is_err(), "no news yet");
        assert_eq!(submit(node, &block_from(&before)), Value::Null);
        let news = answered.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
        assert_eq!(news["height"], 106);
    });
}

#[test]
fn a_wait_ends_with_its_time_or_the_next_block_and_what_is_no_time_is_refused_at_once() {
    let node = node("a", None);
    let before = template(&node);
    let tip = json!({ "hash": before["previousblockhash"], "height": 104 });
    assert_eq!(call(&node, "waitfornewblock", json!([50])), Ok(tip));

    // So it is asked whether the call is allowed: it must not wait for a day.
    let asked = Instant::now();
    assert_eq!(call(&node, "waitfornewblock", json!(["?"])), Err(-3));
    assert!(asked.elapsed() < Duration::from_secs(2), "refused at once");

    let (sender, answered) = mpsc::channel();
    std::thread::scope(|scope| {
        let node = &node;
        scope.spawn(move || sender.send(call(node, "waitfornewblock", json!([]))).unwrap());
        assert!(answered.recv_timeout(Duration::from_millis(300)).is_err(), "no news yet");
        assert_eq!(submit(node, &block_from(&before)), Value::Null);
        let news = answered.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
        assert_eq!(news["height"], 105);
    });
}

#[test]
fn hashblock_is_published_with_a_sequence() {
    let node = node("a", None);
    let socket = zmq::Context::new().socket(zmq::SUB).unwrap();
    socket.set_rcvtimeo(LONG.as_millis() as i32).unwrap();
    socket.set_subscribe(b"hashblock").unwrap();
    socket.connect(node.zmq_address().unwrap()).unwrap();
    // A subscription takes a moment to arrive, so blocks are mined until one is heard of.
    let (sender, heard) = mpsc::channel();
    let listener = std::thread::spawn(move || {
        for _ in 0..2 {
            sender.send(socket.recv_multipart(0).unwrap()).unwrap();
        }
    });
    let mut mined = Vec::new();
    let mut messages = Vec::new();
    while messages.len() < 2 {
        assert!(mined.len() < 100, "nothing was published");
        let block = block_from(&template(&node));
        assert_eq!(submit(&node, &block), Value::Null);
        mined.push(block.block_hash().to_string());
        messages.extend(heard.recv_timeout(Duration::from_millis(500)));
    }
    listener.join().unwrap();
    let mut last = None;
    for message in messages {
        assert_eq!(message[0], b"hashblock");
        let hash = faster_hex::hex_string(&message[1]);
        let place = mined.iter().position(|mined| *mined == hash).expect("one of ours");
        let sequence = u32::from_le_bytes(message[2].as_slice().try_into().unwrap()) as usize;
        if let Some((before, number)) = last {
            assert_eq!((place, sequence), (before + 1, number + 1));
        }
        last = Some((place, sequence));
    }
}

#[test]
fn linked_nodes_stay_in_step_through_a_kill() {
    let (mut a, b) = (node("a", None), node("b", None));
    SandboxNode::link(&a, &b);
    let block = block_from(&template(&a));
    assert_eq!(submit(&a, &block), Value::Null);
    eventually("b has a's block", || b.chain().tip() == block.block_hash());
    // As a daemon that submits to both would see it.
    assert_eq!(submit(&b, &block), "duplicate");
    let block = block_from(&template(&b));
    assert_eq!(submit(&b, &block), Value::Null);
    eventually("a has b's block", || a.chain().tip() == block.block_hash());

    let waiting = template(&a)["longpollid"].clone();
    let address = a.rpc_address();
    std::thread::scope(|scope| {
        let poll = scope.spawn(move || {
            let request = json!({
                "method": "getblocktemplate",
                "params": [{ "rules": ["segwit"], "longpollid": waiting }],
            });
            minreq::post(format!("http://{address}/"))
                .with_header("Authorization", AUTH)
                .with_body(request.to_string())
                .with_timeout(LONG.as_secs())
                .send()
        });
        std::thread::sleep(Duration::from_millis(200));
        a.kill();
        let outcome = poll.join().unwrap();
        // minreq makes a 503 without headers of a connection that ends before the status line.
        let dropped = outcome.as_ref().map_or(true, |response| response.headers.is_empty());
        assert!(dropped, "its connections are dropped: {outcome:?}");
    });
    assert!(!a.is_running());
    assert!(post(&a, AUTH, "{}").is_none(), "it does not listen");
    for _ in 0..3 {
        let block = block_from(&template(&b));
        assert_eq!(submit(&b, &block), Value::Null);
    }
    assert_eq!(a.chain().height(), 106);

    a.restart().unwrap();
    assert_eq!(a.rpc_address(), address);
    eventually("a caught up", || a.chain().tip() == b.chain().tip());
    assert_eq!(call(&a, "getblockcount", json!([])), Ok(json!(109)));
    let block = block_from(&template(&a));
    assert_eq!(submit(&a, &block), Value::Null);
    eventually("b has a's block again", || b.chain().tip() == block.block_hash());
}

// -- the miner --

/// A Stratum server of one job, with its own idea of everything: extranonce1 of four bytes,
/// extranonce2 of eight, and a block put together by the `bitcoin` crate.
fn serve_one_job(listener: &TcpListener, job: &Block, branch: &[[u8; 32]]) -> Vec<Block> {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let send = |value: Value| (&stream).write_all(format!("{value}\n").as_bytes()).unwrap();
    let mut solved = Vec::new();
    while let Some(Ok(line)) = lines.next() {
        let request: Value = serde_json::from_str(&line).unwrap();
        let (id, params) = (&request["id"], &request["params"]);
        match request["method"].as_str().unwrap() {
            "mining.configure" => {
                assert_eq!(params[1]["version-rolling.mask"], "1fffe000");
                let granted =
                    json!({ "version-rolling": true, "version-rolling.mask": "0000e000" });
                send(json!({ "id": id, "result": granted, "error": null }));
            }
            "mining.subscribe" => {
                let result = json!([[["mining.notify", "s"]], "a1b2c3d4", 8]);
                send(json!({ "id": id, "result": result, "error": null }));
            }
            "mining.authorize" => {
                assert_eq!(*params, json!(["me.cpu", "x,d=512"]));
                send(json!({ "id": id, "result": true, "error": null }));
                send(json!({ "id": null, "method": "mining.set_difficulty", "params": [3e-10] }));
                let (one, two) = halves(job);
                let mut prev = job.header.prev_blockhash.to_byte_array();
                prev.chunks_exact_mut(4).for_each(<[u8]>::reverse);
                let branch: Vec<String> =
                    branch.iter().map(|hash| faster_hex::hex_string(hash)).collect();
                send(json!({ "id": null, "method": "mining.notify", "params": [
                    "job7", faster_hex::hex_string(&prev), one, two, branch,
                    format!("{:08x}", job.header.version.to_consensus()),
                    format!("{:08x}", job.header.bits.to_consensus()),
                    format!("{:08x}", job.header.time),
                    true,
                ] }));
            }
            "mining.suggest_difficulty" => assert_eq!(params[0], 0.25),
            "mining.submit" => {
                assert_eq!((&params[0], &params[1]), (&json!("me.cpu"), &json!("job7")));
                let (one, two) = halves(job);
                let coinbase = format!("{one}a1b2c3d4{}{two}", params[2].as_str().unwrap());
                let mut coinbase: Transaction = deserialize_hex(&coinbase).unwrap();
                coinbase.input[0].witness = job.txdata[0].input[0].witness.clone();
                let mut block = job.clone();
                block.txdata[0] = coinbase;
                block.header.merkle_root = block.compute_merkle_root().unwrap();
                let word = |index: usize| u32::from_str_radix(params[index].as_str().unwrap(), 16);
                let version = job.header.version.to_consensus() as u32 | word(5).unwrap();
                block.header.version = bitcoin::block::Version::from_consensus(version as i32);
                block.header.time = word(3).unwrap();
                block.header.nonce = word(4).unwrap();
                solved.push(block);
                let error = json!([23, "low", null]);
                match solved.len() {
                    // Long enough to come to another version.
                    60_000.. => return solved,
                    // It hears of some answers only, because it hashes more than it listens.
                    n if n % 2 == 1 => send(json!({ "id": id, "result": true, "error": null })),
                    _ => send(json!({ "id": id, "result": null, "error": error })),
                }
            }
            other => panic!("{other}"),
        }
    }
    solved
}

/// The coinbase without witness in hex, before and after twelve marked bytes.
fn halves(job: &Block) -> (String, String) {
    let mut coinbase = job.txdata[0].clone();
    coinbase.input[0].witness = Witness::new();
    let whole = serialize_hex(&coinbase);
    let (one, two) = whole.split_once(&"ee".repeat(12)).unwrap();
    (one.into(), two.into())
}

#[test]
fn the_miner_hashes_what_the_server_says() {
    let mut chain = chain(2);
    let mut job = good(&chain);
    job.txdata[0].input[0].script_sig =
        Builder::new().push_int(105).push_slice([0xee; 12]).into_script();
    // Three leaves: the coinbase's neighbour, then the third with itself.
    let txid = |index: usize| job.txdata[index].compute_txid().to_byte_array();
    let pair = [txid(2), txid(2)].concat();
    let branch = [txid(1), bitcoin::hashes::sha256d::Hash::hash(&pair).to_byte_array()];

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = MinerConfig {
        server: listener.local_addr().unwrap(),
        user: "me.cpu".into(),
        password: "x,d=512".into(),
        user_agent: "test".into(),
        suggest: Some(0.25),
        duty: 1.0,
    };
    let (sender, events) = mpsc::channel();
    let miner = CpuMiner::start(config, sender).unwrap();
    let shares = serve_one_job(&listener, &job, &branch);
    assert!(miner.hashes() >= 60_000);
    drop(miner);

    let versions: BTreeSet<i32> =
        shares.iter().map(|share| share.header.version.to_consensus()).collect();
    assert_eq!(versions, BTreeSet::from([0x2000_0000, 0x2000_2000]));
    let hashes: BTreeSet<BlockHash> = shares.iter().map(Block::block_hash).collect();
    assert_eq!(hashes.len(), shares.len(), "no share twice");
    let events: Vec<MinerEvent> = events.try_iter().collect();
    assert_eq!(events[..2], [MinerEvent::Authorised, MinerEvent::Job { clean: true }]);
    // At this difficulty three hashes in four are shares, and two of these blocks. The miner's
    // hash must be that of the block as the server puts it together.
    let mut submitted = events.iter().filter_map(|event| match event {
        MinerEvent::Submitted { hash, block } => Some((hash, block)),
        _ => None,
    });
    for share in &shares {
        let (hash, block) = submitted.next().unwrap();
        assert_eq!(*hash, share.block_hash().to_string());
        assert_eq!(*block, share.header.target().is_met_by(share.block_hash()));
    }
    // Of the answers it hears a few or none here, because it hashes more than it listens; the demo's
    // test counts them.
    let block = shares.into_iter().find(|b| b.header.target().is_met_by(b.block_hash())).unwrap();
    assert_eq!(chain.submit(block, NOW), Outcome::Connected);
}

#[test]
fn the_miner_comes_back_to_a_server_that_talks_nonsense() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = MinerConfig {
        server: listener.local_addr().unwrap(),
        user: "me".into(),
        password: "x".into(),
        user_agent: "test".into(),
        suggest: None,
        duty: 0.1,
    };
    let (sender, events) = mpsc::channel();
    let _miner = CpuMiner::start(config, sender).unwrap();
    let answers = [
        "<html>\n".to_string(),
        "{\"method\":\"mining.notify\",\"params\":[1]}\n".into(),
        "{\"method\":\"mining.set_difficulty\",\"params\":[0]}\n".into(),
        "{\"id\":2,\"result\":[[],\"00\",99],\"error\":null}\n".into(),
        "{\"id\":3,\"result\":false,\"error\":null}\n".into(),
        "x".repeat(70_000),
    ];
    for answer in answers {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        match events.recv_timeout(LONG).unwrap() {
            MinerEvent::Disconnected(_) => {}
            other => panic!("{answer}: {other:?}"),
        }
    }
}

// -- all of it --

#[test]
fn the_demo_finds_blocks_and_goes_on_with_its_second_node() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_soloist"))
        .args(["demo", "--seconds", "16", "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for words in ["The page is at http://127.0.0.1:", "Block 105, our 1st", "Node A is killed"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(said.contains("; 0 blocks refused;") && said.contains(" blocks accepted"), "{said}");
}
