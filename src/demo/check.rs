//! The checks of a full node before it accepts a block, and its words when it refuses one.
//!
//! Written after Bitcoin Core's `validation.cpp` (`CheckBlock`, `ContextualCheckBlockHeader`,
//! `ContextualCheckBlock`) on top of the `bitcoin` crate's decoding, and deliberately without any
//! of the daemon's own code: a mistake there must not be repeated here. Rules that need the coins
//! (fees, maturity, scripts) are checked in [`super::chain`] when the block is connected.

use std::collections::HashSet;

use bitcoin::block::Header;
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::script::Builder;
use bitcoin::{Amount, Block, CompactTarget, OutPoint, Target, Transaction, WitnessCommitment};

/// Most weight of a block (BIP 141).
pub const MAX_BLOCK_WEIGHT: u64 = 4_000_000;
/// Most signature operations of a block, in BIP 141's cost units.
pub const MAX_SIGOPS_COST: usize = 80_000;
/// The easiest target of a regtest chain.
pub const POW_LIMIT: u32 = 0x207f_ffff;
/// How far a block's time may lie ahead of the node's clock, in seconds.
const MAX_FUTURE: u64 = 2 * 60 * 60;
/// The first bytes of the output that carries the witness commitment (BIP 141).
const COMMITMENT_PREFIX: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// Why a block is refused. The text is Bitcoin Core's reason string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The hash is above the target, or the target is easier than the chain allows.
    #[error("high-hash")]
    HighHash,
    /// The parent is unknown.
    #[error("prev-blk-not-found")]
    ParentUnknown,
    /// The parent was refused before.
    #[error("bad-prevblk")]
    ParentInvalid,
    /// Not the difficulty that is due.
    #[error("bad-diffbits")]
    BadDiffBits,
    /// Not later than the median of the eleven blocks before (BIP 113).
    #[error("time-too-old")]
    TimeTooOld,
    /// More than two hours ahead of the clock.
    #[error("time-too-new")]
    TimeTooNew,
    /// A version below 4, which BIP 34, 66 and 65 retired.
    #[error("bad-version(0x{0:08x})")]
    BadVersion(u32),
    /// The header's merkle root is not that of the transactions.
    #[error("bad-txnmrklroot")]
    MerkleRoot,
    /// The merkle tree repeats itself (CVE-2012-2459).
    #[error("bad-txns-duplicate")]
    DuplicateTransactions,
    /// No transactions, or too many bytes without witness.
    #[error("bad-blk-length")]
    Length,
    /// The first transaction is not a coinbase.
    #[error("bad-cb-missing")]
    CoinbaseMissing,
    /// A later transaction is a coinbase.
    #[error("bad-cb-multiple")]
    CoinbaseMultiple,
    /// The coinbase's script is not 2 to 100 bytes long.
    #[error("bad-cb-length")]
    CoinbaseLength,
    /// The coinbase's script does not begin with the height (BIP 34).
    #[error("bad-cb-height")]
    CoinbaseHeight,
    /// The coinbase takes more than subsidy and fees.
    #[error("bad-cb-amount")]
    CoinbaseAmount,
    /// A commitment is there, but the coinbase's witness is not one item of 32 bytes.
    #[error("bad-witness-nonce-size")]
    WitnessNonceSize,
    /// The commitment does not fit the witnesses.
    #[error("bad-witness-merkle-match")]
    WitnessCommitment,
    /// Witnesses without a commitment.
    #[error("unexpected-witness")]
    UnexpectedWitness,
    /// Heavier than 4,000,000 weight units.
    #[error("bad-blk-weight")]
    Weight,
    /// Too many signature operations.
    #[error("bad-blk-sigops")]
    SigOps,
    /// A transaction without inputs.
    #[error("bad-txns-vin-empty")]
    NoInputs,
    /// A transaction without outputs.
    #[error("bad-txns-vout-empty")]
    NoOutputs,
    /// An output above 21 million, or the sum of them.
    #[error("bad-txns-vout-toolarge")]
    OutputTooLarge,
    /// A transaction spends the same output twice.
    #[error("bad-txns-inputs-duplicate")]
    InputTwice,
    /// A null input in a transaction that is not the coinbase.
    #[error("bad-txns-prevout-null")]
    NullInput,
    /// A transaction's lock time is not reached.
    #[error("bad-txns-nonfinal")]
    NotFinal,
    /// An input is unknown or spent.
    #[error("bad-txns-inputs-missingorspent")]
    InputMissing,
    /// A coinbase is spent before its hundredth confirmation.
    #[error("bad-txns-premature-spend-of-coinbase")]
    ImmatureSpend,
    /// Outputs above inputs.
    #[error("bad-txns-in-belowout")]
    OutputsAboveInputs,
    /// The witness does not satisfy the output. The sandbox knows one script, OP_TRUE in P2WSH.
    #[error("block-script-verify-flag-failed (Witness program hash mismatch)")]
    Script,
}

impl Refusal {
    /// Whether the same header may belong to a good block: then the hash is not held against it.
    pub fn may_be_mutated(self) -> bool {
        matches!(
            self,
            Refusal::MerkleRoot
                | Refusal::DuplicateTransactions
                | Refusal::WitnessNonceSize
                | Refusal::WitnessCommitment
                | Refusal::UnexpectedWitness
        )
    }
}

/// Whether a proposal is checked (no proof of work yet) or a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pow {
    /// The hash must meet the header's target.
    Required,
    /// A proposal (BIP 23) has none.
    Ignored,
}

/// What a header is measured against.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// Compact target of the next block.
    pub bits: u32,
    /// Median time of the last eleven blocks, Unix seconds.
    pub median_time: u32,
    /// Height of the block.
    pub height: u32,
}

/// Checks that need nothing but the block: proof of work, merkle root, size, coinbase in first
/// place and nowhere else, sound transactions. Errors: as in Core's `CheckBlock`, in its order.
pub fn block_alone(block: &Block, pow: Pow) -> Result<(), Refusal> {
    if pow == Pow::Required {
        proof_of_work(&block.header)?;
    }
    if !block.check_merkle_root() {
        return Err(if block.txdata.is_empty() { Refusal::Length } else { Refusal::MerkleRoot });
    }
    if repeats_itself(block) {
        return Err(Refusal::DuplicateTransactions);
    }
    let stripped: usize = 80 + 5 + block.txdata.iter().map(Transaction::base_size).sum::<usize>();
    if stripped as u64 * 4 > MAX_BLOCK_WEIGHT {
        return Err(Refusal::Length);
    }
    if !block.txdata[0].is_coinbase() {
        return Err(Refusal::CoinbaseMissing);
    }
    if block.txdata[1..].iter().any(Transaction::is_coinbase) {
        return Err(Refusal::CoinbaseMultiple);
    }
    block.txdata.iter().try_for_each(transaction_alone)
}

/// Checks of a header against its place in the chain. `now`: the node's clock, Unix seconds.
pub fn header_in_place(header: &Header, due: Due, now: u64) -> Result<(), Refusal> {
    if header.bits != CompactTarget::from_consensus(due.bits) {
        return Err(Refusal::BadDiffBits);
    }
    if header.time <= due.median_time {
        return Err(Refusal::TimeTooOld);
    }
    if u64::from(header.time) > now + MAX_FUTURE {
        return Err(Refusal::TimeTooNew);
    }
    if header.version.to_consensus() < 4 {
        return Err(Refusal::BadVersion(header.version.to_consensus() as u32));
    }
    Ok(())
}

/// Checks of a block's contents against its place: lock times, height in the coinbase (BIP 34),
/// witness commitment (BIP 141), weight.
pub fn block_in_place(block: &Block, due: Due) -> Result<(), Refusal> {
    if !block.txdata.iter().all(|tx| is_final(tx, due)) {
        return Err(Refusal::NotFinal);
    }
    let coinbase = &block.txdata[0];
    let height = Builder::new().push_int(i64::from(due.height)).into_script();
    if !coinbase.input[0].script_sig.as_bytes().starts_with(height.as_bytes()) {
        return Err(Refusal::CoinbaseHeight);
    }
    witness_commitment(block)?;
    if block.weight().to_wu() > MAX_BLOCK_WEIGHT {
        return Err(Refusal::Weight);
    }
    Ok(())
}

fn proof_of_work(header: &Header) -> Result<(), Refusal> {
    let target = Target::from_compact(header.bits);
    let limit = Target::from_compact(CompactTarget::from_consensus(POW_LIMIT));
    if target == Target::ZERO || target > limit || !target.is_met_by(header.block_hash()) {
        return Err(Refusal::HighHash);
    }
    Ok(())
}

/// CVE-2012-2459: where a level of the merkle tree has an odd end, repeating it gives the same
/// root, so equal neighbours betray a list that was tampered with.
fn repeats_itself(block: &Block) -> bool {
    let mut level: Vec<[u8; 32]> =
        block.txdata.iter().map(|tx| tx.compute_txid().to_byte_array()).collect();
    while level.len() > 1 {
        if level.chunks_exact(2).any(|pair| pair[0] == pair[1]) {
            return true;
        }
        let hash = |pair: &[[u8; 32]]| {
            sha256d::Hash::hash(&[pair[0], pair[pair.len() - 1]].concat()).to_byte_array()
        };
        level = level.chunks(2).map(hash).collect();
    }
    false
}

fn transaction_alone(tx: &Transaction) -> Result<(), Refusal> {
    if tx.input.is_empty() {
        return Err(Refusal::NoInputs);
    }
    if tx.output.is_empty() {
        return Err(Refusal::NoOutputs);
    }
    let total = tx.output.iter().try_fold(Amount::ZERO, |sum, output| {
        sum.checked_add(output.value).filter(|sum| *sum <= Amount::MAX_MONEY)
    });
    if total.is_none() {
        return Err(Refusal::OutputTooLarge);
    }
    let mut seen = HashSet::new();
    if !tx.input.iter().all(|input| seen.insert(input.previous_output)) {
        return Err(Refusal::InputTwice);
    }
    if tx.is_coinbase() {
        if !(2..=100).contains(&tx.input[0].script_sig.len()) {
            return Err(Refusal::CoinbaseLength);
        }
    } else if tx.input.iter().any(|input| input.previous_output == OutPoint::null()) {
        return Err(Refusal::NullInput);
    }
    Ok(())
}

/// BIP 113: lock times count against the median time of the blocks before.
fn is_final(tx: &Transaction, due: Due) -> bool {
    let lock = tx.lock_time.to_consensus_u32();
    let reached = if lock < 500_000_000 { due.height } else { due.median_time };
    lock == 0 || lock < reached || tx.input.iter().all(|input| input.sequence.0 == u32::MAX)
}

/// BIP 141: the last fitting output of the coinbase commits to all witnesses.
fn witness_commitment(block: &Block) -> Result<(), Refusal> {
    let coinbase = &block.txdata[0];
    let committed = coinbase.output.iter().rev().find_map(|output| {
        let script = output.script_pubkey.as_bytes();
        (script.len() >= 38 && script.starts_with(&COMMITMENT_PREFIX)).then(|| &script[6..38])
    });
    let Some(committed) = committed else {
        let any = block.txdata.iter().flat_map(|tx| &tx.input).any(|i| !i.witness.is_empty());
        return if any { Err(Refusal::UnexpectedWitness) } else { Ok(()) };
    };
    let witness = &coinbase.input[0].witness;
    let reserved = match (witness.len(), witness.nth(0)) {
        (1, Some(item)) if item.len() == 32 => item,
        _ => return Err(Refusal::WitnessNonceSize),
    };
    let root = block.witness_root().ok_or(Refusal::Length)?;
    let expected: WitnessCommitment = Block::compute_witness_commitment(&root, reserved);
    let expected: &[u8] = expected.as_ref();
    if expected == committed { Ok(()) } else { Err(Refusal::WitnessCommitment) }
}
