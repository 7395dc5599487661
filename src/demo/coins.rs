//! The coins of the sandbox chain: which outputs exist, and what a block does to them.

use std::collections::HashMap;

use bitcoin::{Amount, Block, OutPoint, ScriptBuf, Transaction, TxOut, Witness};

use super::check::{MAX_SIGOPS_COST, Refusal};

/// Blocks after which a coinbase may be spent.
pub const MATURITY: u32 = 100;

/// An unspent output.
#[derive(Clone, Debug)]
pub struct Coin {
    /// Amount and script.
    pub output: TxOut,
    /// Height of the block that made it.
    pub height: u32,
    /// Whether a coinbase made it.
    pub coinbase: bool,
}

/// All unspent outputs at one tip.
#[derive(Default)]
pub struct Coins(HashMap<OutPoint, Coin>);

/// What a block did, in its order, so that it can be taken back.
#[derive(Default)]
pub struct Undo(Vec<Step>);

enum Step {
    Created(OutPoint),
    Spent(OutPoint, Coin),
}

impl Coins {
    /// The coin, if it is unspent.
    pub fn get(&self, outpoint: &OutPoint) -> Option<&Coin> {
        self.0.get(outpoint)
    }

    /// All unspent outputs, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&OutPoint, &Coin)> {
        self.0.iter()
    }

    /// Spends and creates what `block` says. `subsidy` is what its coinbase may take beside the
    /// fees. On a refusal nothing has changed.
    pub fn connect(
        &mut self,
        block: &Block,
        height: u32,
        subsidy: Amount,
    ) -> Result<Undo, Refusal> {
        let mut undo = Undo::default();
        match self.try_connect(block, height, subsidy, &mut undo) {
            Ok(()) => Ok(undo),
            Err(refusal) => {
                self.disconnect(undo);
                Err(refusal)
            }
        }
    }

    /// Takes a block back.
    pub fn disconnect(&mut self, undo: Undo) {
        for step in undo.0.into_iter().rev() {
            match step {
                Step::Created(outpoint) => self.0.remove(&outpoint),
                Step::Spent(outpoint, coin) => self.0.insert(outpoint, coin),
            };
        }
    }

    fn try_connect(
        &mut self,
        block: &Block,
        height: u32,
        subsidy: Amount,
        undo: &mut Undo,
    ) -> Result<(), Refusal> {
        let mut fees = Amount::ZERO;
        let mut sigops = 0;
        for tx in &block.txdata {
            sigops +=
                tx.total_sigop_cost(|outpoint| self.get(outpoint).map(|coin| coin.output.clone()));
            if sigops > MAX_SIGOPS_COST {
                return Err(Refusal::SigOps);
            }
            if !tx.is_coinbase() {
                fees += self.spend(tx, height, undo)?;
            }
            self.create(tx, height, undo);
        }
        let taken: Amount = block.txdata[0].output.iter().map(|output| output.value).sum();
        if taken > subsidy + fees {
            return Err(Refusal::CoinbaseAmount);
        }
        Ok(())
    }

    /// Spends the inputs of `tx` and gives its fee.
    fn spend(&mut self, tx: &Transaction, height: u32, undo: &mut Undo) -> Result<Amount, Refusal> {
        let mut value = Amount::ZERO;
        for input in &tx.input {
            let outpoint = input.previous_output;
            let coin = self.0.remove(&outpoint).ok_or(Refusal::InputMissing)?;
            value += coin.output.value;
            let mature = !coin.coinbase || height - coin.height >= MATURITY;
            let free = is_free(&coin.output.script_pubkey) && opens(&input.witness);
            undo.0.push(Step::Spent(outpoint, coin));
            if !mature {
                return Err(Refusal::ImmatureSpend);
            }
            if !free || !input.script_sig.is_empty() {
                return Err(Refusal::Script);
            }
        }
        let out = tx.output.iter().map(|output| output.value).sum();
        value.checked_sub(out).ok_or(Refusal::OutputsAboveInputs)
    }

    fn create(&mut self, tx: &Transaction, height: u32, undo: &mut Undo) {
        let txid = tx.compute_txid();
        for (vout, output) in (0..).zip(&tx.output) {
            if output.script_pubkey.is_op_return() {
                continue;
            }
            let outpoint = OutPoint { txid, vout };
            let coin = Coin { output: output.clone(), height, coinbase: tx.is_coinbase() };
            self.0.insert(outpoint, coin);
            undo.0.push(Step::Created(outpoint));
        }
    }
}

/// The one script that the sandbox lets anyone spend: P2WSH of OP_TRUE. A real node lets it too,
/// and the spending transaction has a witness.
pub fn free_script() -> ScriptBuf {
    ScriptBuf::new_p2wsh(&op_true().wscript_hash())
}

/// The witness that spends [`free_script`].
pub fn free_witness() -> Witness {
    Witness::from_slice(&[op_true().as_bytes()])
}

/// Whether anyone may spend this output.
pub fn is_free(script: &ScriptBuf) -> bool {
    *script == free_script()
}

fn opens(witness: &Witness) -> bool {
    *witness == free_witness()
}

fn op_true() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51])
}
