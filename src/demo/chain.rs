//! A small block chain: the state of a full node, without network, disk or clock.
//!
//! It starts at regtest's genesis block with regtest's rules (subsidy halves every 150 blocks, no
//! retarget, BIP 34 and segwit from the first block on), and keeps side branches, the coins and a
//! mempool of synthetic transactions. Two things differ from regtest: from a chosen height on the
//! difficulty may be higher, and scripts are not run (only [`free_script`] can be spent).
//!
//! Pure: time is handed in. Blocks and templates are built only with the `bitcoin` crate, so that
//! the daemon's code is checked by independent code.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::hashes::Hash;
use bitcoin::pow::Work;
use bitcoin::script::Builder;
use bitcoin::transaction::Version as TxVersion;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, Network, OutPoint, ScriptBuf, Sequence, Target,
    Transaction, TxIn, TxMerkleNode, TxOut, Txid, Witness, WitnessMerkleNode, merkle_tree,
};
use faster_hex::hex_string;
use serde_json::{Value, json};

use super::check::{self, Due, MAX_BLOCK_WEIGHT, MAX_SIGOPS_COST, POW_LIMIT, Pow, Refusal};
use super::coins::{Coins, MATURITY, Undo, free_script, free_witness, is_free};

/// Blocks until the subsidy halves.
const HALVING: u32 = 150;
/// Weight that a template leaves free for the coinbase, as Core does.
const RESERVED_WEIGHT: u64 = 8_000;

/// What makes one sandbox chain different from another.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Blocks after genesis that are mined at regtest's difficulty, where every second hash will do.
    pub easy_blocks: u32,
    /// Compact target of every block after those, or, with a pace, of the first of them.
    pub bits: u32,
    /// The difficulty follows the time that the last blocks took.
    pub pace: Option<Pace>,
}

/// How fast blocks are to come.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Average time between blocks, seconds.
    pub block_time: f64,
    /// A block takes at least so many hashes on average.
    pub least_hashes: f64,
}

/// So many of the last times between blocks decide about the next difficulty.
const PACED_BY: u32 = 4;

impl Rules {
    /// Regtest itself.
    pub fn regtest() -> Rules {
        Rules { easy_blocks: 0, bits: POW_LIMIT, pace: None }
    }
}

/// The compact target that takes so many hashes on average.
pub(super) fn bits_for(hashes: f64) -> u32 {
    // 2^256 / hashes, with 64 bits of precision: hashes is far above 1 and far below 2^64.
    let quotient = (2f64.powi(96) / hashes) as u128;
    let mut bytes = [0; 32];
    bytes[20..].copy_from_slice(&quotient.to_le_bytes()[..12]);
    Target::from_le_bytes(bytes).to_compact_lossy().to_consensus()
}

/// How many hashes a block of this target takes on average.
fn hashes_of(bits: CompactTarget) -> f64 {
    let bytes = Target::from_compact(bits).to_be_bytes();
    let target = bytes.iter().fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte));
    2f64.powi(256) / target
}

/// What became of a block that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is the tip, or below the tip after a reorganisation.
    Connected,
    /// It is sound as far as checked, on a branch with no more work than ours.
    Aside,
    /// Handed in before.
    Duplicate,
    /// Handed in before, and refused then.
    DuplicateInvalid,
    /// Refused.
    Refused(Refusal),
}

/// What became of a proposal (BIP 23).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proposal {
    /// It would be accepted.
    Fine,
    /// This block is known already.
    Duplicate,
    /// This block was refused before.
    DuplicateInvalid,
    /// It does not build on the tip.
    NotOnTip,
    /// It would be refused.
    Refused(Refusal),
}

/// The chain, its coins and its mempool.
pub struct SandboxChain {
    rules: Rules,
    entries: HashMap<BlockHash, Entry>,
    active: Vec<BlockHash>,
    coins: Coins,
    mempool: Vec<Pending>,
    /// Counts every change of the mempool, for long polls.
    mempool_changes: u64,
}

struct Entry {
    block: Arc<Block>,
    height: u32,
    work: Work,
    invalid: bool,
    undo: Option<Undo>,
}

struct Pending {
    tx: Transaction,
    txid: Txid,
    fee: Amount,
}

impl SandboxChain {
    /// A chain of the genesis block alone.
    pub fn new(rules: Rules) -> SandboxChain {
        let genesis = bitcoin::constants::genesis_block(Network::Regtest);
        let hash = genesis.block_hash();
        let work = genesis.header.work();
        let entry = Entry { block: Arc::new(genesis), height: 0, work, invalid: false, undo: None };
        SandboxChain {
            rules,
            entries: HashMap::from([(hash, entry)]),
            active: vec![hash],
            coins: Coins::default(),
            mempool: Vec::new(),
            mempool_changes: 0,
        }
    }

    /// Hash of the tip.
    pub fn tip(&self) -> BlockHash {
        *self.active.last().expect("the chain holds its genesis")
    }

    /// Height of the tip.
    pub fn height(&self) -> u32 {
        self.active.len() as u32 - 1
    }

    /// Hash of the block at `height` in the best chain.
    pub fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.active.get(height as usize).copied()
    }

    /// A block that was accepted or put aside.
    pub fn block(&self, hash: &BlockHash) -> Option<&Arc<Block>> {
        self.entries.get(hash).filter(|entry| !entry.invalid).map(|entry| &entry.block)
    }

    /// The hashes of the best chain, genesis first.
    pub fn hashes(&self) -> &[BlockHash] {
        &self.active
    }

    /// The blocks of the best chain that come after the last one in `known`.
    pub fn blocks_after(&self, known: &[BlockHash]) -> Vec<Arc<Block>> {
        let known: HashSet<&BlockHash> = known.iter().collect();
        let fork = self.active.iter().rposition(|hash| known.contains(hash));
        let missing = &self.active[fork.map_or(0, |index| index + 1)..];
        missing.iter().map(|hash| self.entry(hash).block.clone()).collect()
    }

    /// Number of transactions that wait for a block.
    pub fn mempool_len(&self) -> usize {
        self.mempool.len()
    }

    /// Checks a block as a node does and, if it is good, builds on it. `now`: Unix seconds.
    pub fn submit(&mut self, block: Block, now: u64) -> Outcome {
        let hash = block.block_hash();
        match self.entries.get(&hash) {
            Some(entry) if entry.invalid => return Outcome::DuplicateInvalid,
            Some(_) => return Outcome::Duplicate,
            None => {}
        }
        match self.try_submit(hash, block, now) {
            Err(refusal) => Outcome::Refused(refusal),
            Ok(()) if self.is_active(&hash) => Outcome::Connected,
            Ok(()) => Outcome::Aside,
        }
    }

    /// Says whether a block without proof of work would be accepted on the tip (BIP 23).
    pub fn propose(&mut self, block: &Block, now: u64) -> Proposal {
        match self.entries.get(&block.block_hash()) {
            Some(entry) if entry.invalid => return Proposal::DuplicateInvalid,
            Some(_) => return Proposal::Duplicate,
            None => {}
        }
        if block.header.prev_blockhash != self.tip() {
            return Proposal::NotOnTip;
        }
        let due = self.due(&self.tip());
        let verdict = check::block_alone(block, Pow::Ignored)
            .and_then(|()| check::header_in_place(&block.header, due, now))
            .and_then(|()| check::block_in_place(block, due))
            .and_then(|()| self.coins.connect(block, due.height, subsidy(due.height)));
        match verdict {
            Ok(undo) => {
                self.coins.disconnect(undo);
                Proposal::Fine
            }
            Err(refusal) => Proposal::Refused(refusal),
        }
    }

    /// `preciousblock`: prefers a block among branches of equal work. False if it is unknown.
    pub fn prefer(&mut self, hash: &BlockHash) -> bool {
        let Some(entry) = self.entries.get(hash) else { return false };
        if !entry.invalid && entry.work >= self.entry(&self.tip()).work {
            // A branch that cannot be connected leaves the tip where it was.
            let _ = self.activate(*hash);
        }
        true
    }

    /// What `getblocktemplate` answers (BIP 22, 23, 141, 145), with the fields that Core gives.
    pub fn template(&self, now: u64) -> Value {
        let due = self.due(&self.tip());
        let (chosen, fees) = self.choose();
        let index: HashMap<Txid, usize> = (1..).zip(&chosen).map(|(i, p)| (p.txid, i)).collect();
        let transactions: Vec<Value> =
            chosen.iter().map(|pending| self.template_transaction(pending, &index)).collect();
        let target = Target::from_compact(CompactTarget::from_consensus(due.bits));
        json!({
            "capabilities": ["proposal"],
            "version": 0x2000_0000,
            "rules": ["csv", "!segwit", "taproot"],
            "vbavailable": {},
            "vbrequired": 0,
            "previousblockhash": self.tip().to_string(),
            "transactions": transactions,
            "coinbaseaux": {},
            "coinbasevalue": (subsidy(due.height) + fees).to_sat(),
            "longpollid": self.longpoll_id(),
            "target": hex_string(&target.to_be_bytes()),
            "mintime": due.median_time + 1,
            "mutable": ["time", "transactions", "prevblock"],
            "noncerange": "00000000ffffffff",
            "sigoplimit": MAX_SIGOPS_COST,
            "sizelimit": MAX_BLOCK_WEIGHT,
            "weightlimit": MAX_BLOCK_WEIGHT,
            "curtime": self.time_for_next(now),
            "bits": format!("{:08x}", due.bits),
            "height": due.height,
            "default_witness_commitment": hex_string(commitment(&chosen).as_bytes()),
        })
    }

    /// The `longpollid` of the template that is valid now: the tip and the mempool's counter.
    pub fn longpoll_id(&self) -> String {
        format!("{}{}", self.tip(), self.mempool_changes)
    }

    /// What `getblockheader` answers, or `None` for a block that is not known.
    pub fn header(&self, hash: &BlockHash) -> Option<Value> {
        let entry = self.entries.get(hash)?;
        let header = &entry.block.header;
        let active = self.is_active(hash);
        let confirmations = if active { i64::from(self.height() - entry.height) + 1 } else { -1 };
        let mut answer = json!({
            "hash": hash.to_string(),
            "confirmations": confirmations,
            "height": entry.height,
            "version": header.version.to_consensus(),
            "versionHex": format!("{:08x}", header.version.to_consensus()),
            "merkleroot": header.merkle_root.to_string(),
            "time": header.time,
            "mediantime": self.median_time(hash),
            "nonce": header.nonce,
            "bits": format!("{:08x}", header.bits.to_consensus()),
            "difficulty": header.difficulty_float(),
            "chainwork": hex_string(&entry.work.to_be_bytes()),
            "nTx": entry.block.txdata.len(),
        });
        if entry.height > 0 {
            answer["previousblockhash"] = json!(header.prev_blockhash.to_string());
        }
        if let (true, Some(next)) = (active, self.hash_at(entry.height + 1)) {
            answer["nextblockhash"] = json!(next.to_string());
        }
        Some(answer)
    }

    /// The header of a known block as it is hashed, in hex.
    pub fn header_hex(&self, hash: &BlockHash) -> Option<String> {
        Some(serialize_hex(&self.entries.get(hash)?.block.header))
    }

    /// Puts up to `count` transactions with witnesses into the mempool and gives their number: it
    /// ends where no coin is left. Every fifth spends an output of the one before it.
    pub fn add_transactions(&mut self, count: usize) -> usize {
        let mut free = self.spendable();
        let mut last: Option<(OutPoint, TxOut)> = None;
        let mut added = 0;
        while added < count {
            let chained = if added % 5 == 4 { last.take() } else { None };
            let Some((outpoint, output)) = chained.or_else(|| free.pop()) else { break };
            let fee = Amount::from_sat(1_000 + 17 * (added as u64 % 50));
            let Some(value) = output.value.checked_sub(fee).filter(|v| v.to_sat() > 10_000) else {
                continue;
            };
            let tx = spend(outpoint, vec![value]);
            last = Some((OutPoint { txid: tx.compute_txid(), vout: 0 }, tx.output[0].clone()));
            self.queue(tx, fee);
            added += 1;
        }
        added
    }

    /// Puts one transaction into the mempool that splits the largest coin into `outputs` equal ones
    /// that anyone may spend. False where no coin is large enough.
    pub fn add_split(&mut self, outputs: usize) -> bool {
        let fee = Amount::from_sat(50 * outputs as u64 + 1_000);
        let largest = self.spendable().into_iter().max_by_key(|(_, output)| output.value);
        let Some((outpoint, output)) = largest else { return false };
        let Some(rest) = output.value.checked_sub(fee) else { return false };
        let each = rest / outputs.max(1) as u64;
        if each.to_sat() < 20_000 {
            return false;
        }
        let tx = spend(outpoint, vec![each; outputs]);
        self.queue(tx, output.value - each * outputs as u64);
        true
    }

    /// Mines one block with the mempool's transactions on the tip, paying `script`, and connects
    /// it. For chains at regtest's difficulty: it tries nonces until one will do.
    pub fn mine(&mut self, script: ScriptBuf, now: u64) -> Outcome {
        let block = self.assemble(script, now);
        self.submit(solve(block), now)
    }

    /// The block that [`SandboxChain::mine`] would solve, with nonce 0.
    pub fn assemble(&self, script: ScriptBuf, now: u64) -> Block {
        let due = self.due(&self.tip());
        let (chosen, fees) = self.choose();
        let mut block = Block {
            header: Header {
                version: Version::from_consensus(0x2000_0000),
                prev_blockhash: self.tip(),
                merkle_root: TxMerkleNode::all_zeros(),
                time: self.time_for_next(now),
                bits: CompactTarget::from_consensus(due.bits),
                nonce: 0,
            },
            txdata: vec![Transaction {
                version: TxVersion::TWO,
                lock_time: LockTime::ZERO,
                input: vec![TxIn {
                    previous_output: OutPoint::null(),
                    script_sig: Builder::new()
                        .push_int(i64::from(due.height))
                        .push_slice(b"sandbox")
                        .into_script(),
                    sequence: Sequence::MAX,
                    witness: Witness::from_slice(&[[0u8; 32]]),
                }],
                output: vec![
                    TxOut { value: subsidy(due.height) + fees, script_pubkey: script },
                    TxOut { value: Amount::ZERO, script_pubkey: commitment(&chosen) },
                ],
            }],
        };
        block.txdata.extend(chosen.iter().map(|pending| pending.tx.clone()));
        block.header.merkle_root = block.compute_merkle_root().expect("it has a coinbase");
        block
    }

    fn try_submit(&mut self, hash: BlockHash, block: Block, now: u64) -> Result<(), Refusal> {
        check::block_alone(&block, Pow::Required)?;
        let parent = self.entries.get(&block.header.prev_blockhash);
        let parent = parent.ok_or(Refusal::ParentUnknown)?;
        if parent.invalid {
            return Err(Refusal::ParentInvalid);
        }
        let work = parent.work + block.header.work();
        let due = self.due(&block.header.prev_blockhash);
        check::header_in_place(&block.header, due, now)?;
        let contents = check::block_in_place(&block, due);
        if contents.is_err_and(Refusal::may_be_mutated) {
            return contents;
        }
        let invalid = contents.is_err();
        let entry = Entry { block: Arc::new(block), height: due.height, work, invalid, undo: None };
        self.entries.insert(hash, entry);
        contents?;
        if work > self.entry(&self.tip()).work {
            self.activate(hash)?;
        }
        Ok(())
    }

    /// Makes `target` the tip. If a block on the way is refused, it and those after it are marked
    /// and the old tip stands again.
    fn activate(&mut self, target: BlockHash) -> Result<(), Refusal> {
        let mut coming = Vec::new();
        let mut at = target;
        while !self.is_active(&at) {
            coming.push(at);
            at = self.entry(&at).block.header.prev_blockhash;
        }
        let fork = self.entry(&at).height;
        let going = self.disconnect_to(fork);
        let mut verdict = Ok(());
        for (index, hash) in coming.iter().enumerate().rev() {
            verdict = self.connect(*hash);
            if verdict.is_err() {
                for bad in &coming[..=index] {
                    self.entry_mut(bad).invalid = true;
                }
                self.disconnect_to(fork);
                for old in going.iter().rev() {
                    self.connect(*old).expect("it was connected before");
                }
                break;
            }
        }
        self.refresh_mempool(&going);
        verdict
    }

    fn connect(&mut self, hash: BlockHash) -> Result<(), Refusal> {
        let (block, height) = (self.entry(&hash).block.clone(), self.entry(&hash).height);
        let undo = self.coins.connect(&block, height, subsidy(height))?;
        self.entry_mut(&hash).undo = Some(undo);
        self.active.push(hash);
        Ok(())
    }

    /// Takes back all blocks above `fork` and gives their hashes, the tip first.
    fn disconnect_to(&mut self, fork: u32) -> Vec<BlockHash> {
        let mut gone = Vec::new();
        while self.height() > fork {
            let hash = self.tip();
            let undo = self.entry_mut(&hash).undo.take().expect("a connected block has its undo");
            self.coins.disconnect(undo);
            self.active.pop();
            gone.push(hash);
        }
        gone
    }

    /// Keeps what can still be mined, in its order; transactions of blocks that were taken back
    /// come first.
    fn refresh_mempool(&mut self, taken_back: &[BlockHash]) {
        let mut waiting: Vec<Transaction> = Vec::new();
        for hash in taken_back.iter().rev() {
            waiting.extend(self.entry(hash).block.txdata.iter().skip(1).cloned());
        }
        waiting.extend(std::mem::take(&mut self.mempool).into_iter().map(|pending| pending.tx));
        let before = waiting.len();
        let mut made: HashMap<OutPoint, Amount> = HashMap::new();
        let mut spent = HashSet::new();
        for tx in waiting {
            let inputs: Option<Vec<Amount>> = tx
                .input
                .iter()
                .map(|input| {
                    let outpoint = input.previous_output;
                    let coin = self.coins.get(&outpoint).map(|coin| coin.output.value);
                    coin.or(made.get(&outpoint).copied()).filter(|_| !spent.contains(&outpoint))
                })
                .collect();
            let Some(inputs) = inputs else { continue };
            let paid: Amount = tx.output.iter().map(|output| output.value).sum();
            let Some(fee) = inputs.into_iter().sum::<Amount>().checked_sub(paid) else { continue };
            let txid = tx.compute_txid();
            spent.extend(tx.input.iter().map(|input| input.previous_output));
            made.extend((0..).zip(&tx.output).map(|(vout, o)| (OutPoint { txid, vout }, o.value)));
            self.mempool.push(Pending { tx, txid, fee });
        }
        if before != self.mempool.len() {
            self.mempool_changes += 1;
        }
    }

    fn queue(&mut self, tx: Transaction, fee: Amount) {
        let txid = tx.compute_txid();
        self.mempool.push(Pending { tx, txid, fee });
        self.mempool_changes += 1;
    }

    /// The mempool's transactions that fit into a block, in order, and the sum of their fees.
    fn choose(&self) -> (Vec<&Pending>, Amount) {
        let mut room = MAX_BLOCK_WEIGHT - RESERVED_WEIGHT;
        let mut fees = Amount::ZERO;
        let fitting = self.mempool.iter().take_while(|pending| {
            let weight = pending.tx.weight().to_wu();
            let fits = weight <= room;
            if fits {
                room -= weight;
                fees += pending.fee;
            }
            fits
        });
        (fitting.collect(), fees)
    }

    fn template_transaction(&self, pending: &Pending, index: &HashMap<Txid, usize>) -> Value {
        let tx = &pending.tx;
        let depends: Vec<usize> =
            tx.input.iter().filter_map(|i| index.get(&i.previous_output.txid).copied()).collect();
        let sigops = tx
            .total_sigop_cost(|outpoint| self.coins.get(outpoint).map(|coin| coin.output.clone()));
        json!({
            "data": serialize_hex(tx),
            "txid": pending.txid.to_string(),
            "hash": tx.compute_wtxid().to_string(),
            "depends": depends,
            "fee": pending.fee.to_sat(),
            "sigops": sigops,
            "weight": tx.weight().to_wu(),
        })
    }

    /// Mature coins that anyone may spend and nothing in the mempool spends, the oldest last.
    fn spendable(&self) -> Vec<(OutPoint, TxOut)> {
        let taken: HashSet<OutPoint> =
            self.mempool.iter().flat_map(|p| &p.tx.input).map(|i| i.previous_output).collect();
        let next = self.height() + 1;
        let mut coins: Vec<(u32, OutPoint, TxOut)> = self
            .coins
            .iter()
            .filter(|(_, coin)| is_free(&coin.output.script_pubkey))
            .filter(|(_, coin)| !coin.coinbase || next - coin.height >= MATURITY)
            .filter(|(outpoint, _)| !taken.contains(outpoint))
            .map(|(outpoint, coin)| (coin.height, *outpoint, coin.output.clone()))
            .collect();
        coins.sort_by_key(|(height, outpoint, _)| std::cmp::Reverse((*height, *outpoint)));
        coins.into_iter().map(|(_, outpoint, output)| (outpoint, output)).collect()
    }

    fn time_for_next(&self, now: u64) -> u32 {
        let earliest = self.median_time(&self.tip()) + 1;
        u32::try_from(now).unwrap_or(u32::MAX).max(earliest)
    }

    fn due(&self, parent: &BlockHash) -> Due {
        let height = self.entry(parent).height + 1;
        let bits =
            if height <= self.rules.easy_blocks { POW_LIMIT } else { self.bits_after(parent) };
        Due { bits, median_time: self.median_time(parent), height }
    }

    /// Of a block after the easy ones.
    fn bits_after(&self, parent: &BlockHash) -> u32 {
        let entry = self.entry(parent);
        let before = entry.height.saturating_sub(self.rules.easy_blocks + 1).min(PACED_BY);
        let Some(pace) = self.rules.pace.filter(|_| entry.height > self.rules.easy_blocks) else {
            return self.rules.bits;
        };
        let mut first = entry;
        for _ in 0..before {
            first = self.entry(&first.block.header.prev_blockhash);
        }
        let [now, then] = [entry, first].map(|entry| entry.block.header.time);
        let hashes = hashes_of(entry.block.header.bits);
        if before == 0 {
            return bits_for(hashes);
        }
        // Few blocks tell little: half of the way, on the scale of ratios.
        let took = f64::from(now.saturating_sub(then)) / f64::from(before);
        let slower = (took / pace.block_time).clamp(0.25, 4.0).sqrt();
        bits_for((hashes / slower).max(pace.least_hashes))
    }

    fn median_time(&self, hash: &BlockHash) -> u32 {
        let mut times = Vec::with_capacity(11);
        let mut entry = Some(self.entry(hash));
        while let Some(at) = entry.filter(|_| times.len() < 11) {
            times.push(at.block.header.time);
            entry = self.entries.get(&at.block.header.prev_blockhash);
        }
        times.sort_unstable();
        times[times.len() / 2]
    }

    fn is_active(&self, hash: &BlockHash) -> bool {
        self.entries
            .get(hash)
            .is_some_and(|entry| self.hash_at(entry.height).as_ref() == Some(hash))
    }

    fn entry(&self, hash: &BlockHash) -> &Entry {
        self.entries.get(hash).expect("only hashes of stored blocks are kept")
    }

    fn entry_mut(&mut self, hash: &BlockHash) -> &mut Entry {
        self.entries.get_mut(hash).expect("only hashes of stored blocks are kept")
    }
}

/// Tries nonces until the block meets its own target. For the lowest difficulties only.
pub fn solve(mut block: Block) -> Block {
    let target = block.header.target();
    while !target.is_met_by(block.header.block_hash()) {
        block.header.nonce = block.header.nonce.wrapping_add(1);
    }
    block
}

/// What a coinbase at `height` may take beside the fees.
pub fn subsidy(height: u32) -> Amount {
    Amount::from_sat(5_000_000_000u64.checked_shr(height / HALVING).unwrap_or(0))
}

/// The output script that commits to the witnesses of a block with these transactions (BIP 141),
/// with the reserved value of 32 zero bytes.
fn commitment(chosen: &[&Pending]) -> ScriptBuf {
    let leaves = std::iter::once(WitnessMerkleNode::all_zeros())
        .chain(chosen.iter().map(|p| WitnessMerkleNode::from(p.tx.compute_wtxid())));
    let root = merkle_tree::calculate_root(leaves).expect("it has a coinbase");
    let hash = Block::compute_witness_commitment(&root, &[0; 32]);
    let mut script = vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
    script.extend_from_slice(hash.as_ref());
    ScriptBuf::from_bytes(script)
}

fn spend(outpoint: OutPoint, values: Vec<Amount>) -> Transaction {
    let input = TxIn {
        previous_output: outpoint,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: free_witness(),
    };
    let output =
        values.into_iter().map(|value| TxOut { value, script_pubkey: free_script() }).collect();
    Transaction { version: TxVersion::TWO, lock_time: LockTime::ZERO, input: vec![input], output }
}
