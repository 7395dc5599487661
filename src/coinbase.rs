//! The coinbase transaction, split where the miner inserts its extranonce.
//!
//! ```text
//! version 2 | 1 input: null outpoint
//!   scriptSig: height (BIP 34) | push: /tag/ | push of 12: extranonce      at most 100 bytes
//!   sequence 0xfffffffe
//! 1 or 2 outputs: value → owner | 0 → witness commitment (BIP 141)
//! lock time height − 1
//! ```
//!
//! Sequence and lock time are those of Bitcoin Core's own miner: valid today, and as BIP 54 would
//! require of every coinbase. One output pays the owner everything; there is no fee to anybody.

/// Bytes of extranonce in every coinbase: extranonce1 and extranonce2 together.
pub const EXTRANONCE_SIZE: usize = 12;

/// The longest tag, with its slashes. Keeps scriptSig at or below 100 bytes (consensus) and the
/// whole coinbase at or below [`MAX_SIZE`] with every address type and height.
pub const MAX_TAG: usize = 64;

/// The longest coinbase without witness. NerdMiner reads no more than 255 bytes.
pub const MAX_SIZE: usize = 245;

/// The longest output script of an address: taproot and P2WSH.
const MAX_SCRIPT: usize = 34;

/// 0xfffffffe, little-endian: the lock time counts.
const SEQUENCE: [u8; 4] = [0xfe, 0xff, 0xff, 0xff];

/// What a coinbase says.
#[derive(Clone, Copy, Debug)]
pub struct CoinbaseSpec<'a> {
    /// Height of the block, from the template.
    pub height: u32,
    /// What the block may pay, satoshis, from the template.
    pub value: u64,
    /// The owner's output script.
    pub payout_script: &'a [u8],
    /// The owner's words, ASCII, at most [`MAX_TAG`] bytes, put into the block as they are.
    pub tag: &'a str,
    /// The witness commitment's script, when segwit is active.
    pub witness_commitment: Option<&'a [u8]>,
}

/// A coinbase without witness, in two halves: `coinbase1 | extranonce | coinbase2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coinbase {
    /// All before the extranonce.
    pub coinbase1: Vec<u8>,
    /// All after the extranonce.
    pub coinbase2: Vec<u8>,
    /// Whether the block's coinbase needs its witness: the reserved value of BIP 141.
    pub has_witness: bool,
}

impl Coinbase {
    /// Builds both halves.
    pub fn new(spec: &CoinbaseSpec<'_>) -> Coinbase {
        debug_assert!(spec.tag.len() <= MAX_TAG);
        let height = height_push(spec.height);
        let tag = tag_push(spec.tag);
        let script_len = height.len() + 1 + EXTRANONCE_SIZE + tag.len();

        let mut coinbase1 = Vec::with_capacity(64);
        coinbase1.extend_from_slice(&2u32.to_le_bytes());
        coinbase1.push(1);
        coinbase1.extend_from_slice(&[0; 32]);
        coinbase1.extend_from_slice(&u32::MAX.to_le_bytes());
        coinbase1.push(script_len as u8);
        coinbase1.extend_from_slice(&height);
        // All that does not change stands before what does: its hash is prepared once for a job.
        coinbase1.extend_from_slice(&tag);
        coinbase1.push(EXTRANONCE_SIZE as u8);

        let mut coinbase2 = Vec::with_capacity(128);
        coinbase2.extend_from_slice(&SEQUENCE);
        coinbase2.push(1 + u8::from(spec.witness_commitment.is_some()));
        push_output(&mut coinbase2, spec.value, spec.payout_script);
        if let Some(script) = spec.witness_commitment {
            push_output(&mut coinbase2, 0, script);
        }
        coinbase2.extend_from_slice(&(spec.height - 1).to_le_bytes());
        Coinbase { coinbase1, coinbase2, has_witness: spec.witness_commitment.is_some() }
    }

    /// The same coinbase with another output script in place of the owner's: same value, same
    /// words, same commitment. `None` for a coinbase that [`Coinbase::new`] did not make, or a
    /// script longer than any address has.
    pub fn paying(&self, script: &[u8]) -> Option<Coinbase> {
        if script.len() > MAX_SCRIPT {
            return None;
        }
        if !self.coinbase2.starts_with(&SEQUENCE) {
            return None;
        }
        // Sequence, count of outputs, value.
        let at = SEQUENCE.len() + 1 + 8;
        let length = usize::from(*self.coinbase2.get(at)?);
        let after = self.coinbase2.get(at + 1 + length..)?;
        let mut coinbase2 = self.coinbase2[..at].to_vec();
        coinbase2.push(script.len() as u8);
        coinbase2.extend_from_slice(script);
        coinbase2.extend_from_slice(after);
        Some(Coinbase { coinbase2, ..self.clone() })
    }

    /// The whole transaction without witness: what its txid is the hash of.
    pub fn without_witness(&self, extranonce: &[u8; EXTRANONCE_SIZE]) -> Vec<u8> {
        [&self.coinbase1, extranonce.as_slice(), &self.coinbase2].concat()
    }

    /// The whole transaction as it stands in a block (BIP 144), with the reserved value of 32 zero
    /// bytes as its witness where there is a commitment.
    pub fn in_block(&self, extranonce: &[u8; EXTRANONCE_SIZE]) -> Vec<u8> {
        let stripped = self.without_witness(extranonce);
        if !self.has_witness {
            return stripped;
        }
        let (body, lock_time) = stripped.split_at(stripped.len() - 4);
        let mut tx = Vec::with_capacity(stripped.len() + 36);
        tx.extend_from_slice(&body[..4]);
        tx.extend_from_slice(&[0, 1]);
        tx.extend_from_slice(&body[4..]);
        tx.extend_from_slice(&[1, 32]);
        tx.extend_from_slice(&[0; 32]);
        tx.extend_from_slice(lock_time);
        tx
    }
}

/// The height as BIP 34 wants it: what `CScript() << height` writes, which is one opcode up to 16
/// and a minimal little-endian push above.
fn height_push(height: u32) -> Vec<u8> {
    match height {
        0 => vec![0x00],
        1..=16 => vec![0x50 + height as u8],
        _ => {
            let mut number = height.to_le_bytes().to_vec();
            while number.last() == Some(&0) {
                number.pop();
            }
            // The top bit is the sign.
            if number.last().is_some_and(|top| top & 0x80 != 0) {
                number.push(0);
            }
            let mut push = vec![number.len() as u8];
            push.extend_from_slice(&number);
            push
        }
    }
}

/// The tag as a push, so that explorers that read the script as one show it.
fn tag_push(tag: &str) -> Vec<u8> {
    if tag.is_empty() {
        return Vec::new();
    }
    let mut push = vec![tag.len() as u8];
    push.extend_from_slice(tag.as_bytes());
    push
}

fn push_output(tx: &mut Vec<u8>, value: u64, script: &[u8]) {
    tx.extend_from_slice(&value.to_le_bytes());
    tx.push(script.len() as u8);
    tx.extend_from_slice(script);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::consensus::deserialize;
    use bitcoin::{Script, ScriptBuf, Transaction};

    const COMMITMENT: [u8; 38] = [0x6a; 38];

    fn spec<'a>(height: u32, script: &'a [u8], tag: &'a str) -> CoinbaseSpec<'a> {
        let witness_commitment = Some(COMMITMENT.as_slice());
        CoinbaseSpec { height, value: 312_500_000, payout_script: script, tag, witness_commitment }
    }

    #[test]
    fn another_implementation_reads_it() {
        let script = [0x51; 34];
        let coinbase = Coinbase::new(&spec(840_000, &script, "/Soloist/"));
        let extranonce = [7; EXTRANONCE_SIZE];
        let tx: Transaction = deserialize(&coinbase.in_block(&extranonce)).unwrap();
        assert!(tx.is_coinbase());
        assert_eq!(tx.version.0, 2);
        assert_eq!(tx.lock_time.to_consensus_u32(), 839_999);
        assert_eq!(tx.input[0].witness.nth(0), Some([0u8; 32].as_slice()));
        assert_eq!(tx.output[0].value.to_sat(), 312_500_000);
        assert_eq!(tx.output[0].script_pubkey.as_bytes(), script);
        assert_eq!(tx.output[1].value.to_sat(), 0);
        let stripped: Transaction = deserialize(&coinbase.without_witness(&extranonce)).unwrap();
        assert_eq!(stripped.compute_txid(), tx.compute_txid());
        let pushes: Vec<Vec<u8>> = tx.input[0]
            .script_sig
            .instructions()
            .map(|i| i.unwrap().push_bytes().unwrap().as_bytes().to_vec())
            .collect();
        assert_eq!(pushes, [vec![0x40, 0xd1, 0x0c], b"/Soloist/".to_vec(), vec![7; 12]]);
    }

    #[test]
    fn a_coinbase_before_segwit_has_no_witness() {
        let script = [0x51];
        let coinbase =
            Coinbase::new(&CoinbaseSpec { witness_commitment: None, ..spec(1, &script, "") });
        let tx: Transaction = deserialize(&coinbase.in_block(&[0; 12])).unwrap();
        assert_eq!((tx.output.len(), tx.input[0].witness.len()), (1, 0));
    }

    #[test]
    fn another_payee_changes_the_script_and_nothing_else() {
        let (owner, other) = ([0x51; 34], [0x52; 22]);
        let longest = "x".repeat(MAX_TAG);
        for tag in ["", "/Soloist/", &longest] {
            for witness_commitment in [None, Some(COMMITMENT.as_slice())] {
                let spec = CoinbaseSpec { witness_commitment, ..spec(840_000, &owner, tag) };
                let theirs = Coinbase::new(&CoinbaseSpec { payout_script: &other, ..spec });
                let ours = Coinbase::new(&spec);
                assert_eq!(ours.paying(&other), Some(theirs.clone()), "{tag}");
                assert_eq!(theirs.paying(&owner), Some(ours), "{tag}");
                let tx: Transaction = deserialize(&theirs.in_block(&[7; 12])).unwrap();
                assert_eq!(tx.output[0].script_pubkey.as_bytes(), other);
                assert_eq!(tx.output[0].value.to_sat(), spec.value);
            }
        }
        let whole = Coinbase::new(&spec(1, &owner, ""));
        assert_eq!(whole.paying(&[0x51; 35]), None);
        let cut = Coinbase { coinbase2: whole.coinbase2[..20].to_vec(), ..whole };
        assert_eq!(cut.paying(&other), None);
    }

    #[test]
    fn heights_are_pushed_as_the_bitcoin_crate_pushes_them() {
        let edges = [1, 15, 16, 17, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 8388607];
        for height in edges.into_iter().chain([8388608, 16777216, i32::MAX as u32]) {
            let theirs = ScriptBuf::builder().push_int(i64::from(height)).into_script();
            assert_eq!(Script::from_bytes(&height_push(height)), theirs.as_script(), "{height}");
        }
    }

    #[test]
    fn the_largest_coinbase_fits() {
        // The year 2200 is near height 10,000,000; the longest standard script has 34 bytes.
        let tag = "x".repeat(MAX_TAG);
        let coinbase = Coinbase::new(&spec(20_000_000, &[0x51; 34], &tag));
        assert!(coinbase.coinbase1[41] <= 100);
        let length = coinbase.without_witness(&[0; EXTRANONCE_SIZE]).len();
        assert!(length <= MAX_SIZE, "{length}");
    }
}
