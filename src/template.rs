//! `getblocktemplate` JSON → [`Template`] (BIP 22, 23, 141, 145).
//!
//! Parsing borrows from the node's answer and copies only what a block needs later. Transactions
//! are kept as bytes and shared: a template mostly repeats its predecessor's transactions, so a
//! [`TxCache`] returns those that it has seen, and many templates of a tip cost little more memory
//! than one. The merkle branch is part of the template, so that everything that is slow with 4,000
//! transactions happens here, on the thread that received the answer.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chain::{BlockHash, Chain, Txid};
use crate::difficulty::{NBits, Target};
use crate::merkle;

/// All that a job and a block are made from. Hashes in internal byte order.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// Height of the block to be found.
    pub height: u32,
    /// `nVersion` as the node wants it. Bits that miners roll (BIP 320) are cleared by the job.
    pub version: u32,
    /// The tip that the block builds on.
    pub prev: BlockHash,
    /// The target in the header's form.
    pub nbits: NBits,
    /// The target as a number, from `nbits`.
    pub target: Target,
    /// The node's clock when it made the template, Unix seconds.
    pub curtime: u32,
    /// The least time that the header may have: median of the last eleven blocks, plus one.
    pub mintime: u32,
    /// Subsidy and fees, satoshis: what the coinbase may pay at the most.
    pub value: u64,
    /// The transactions after the coinbase, in block order.
    pub txs: Vec<Arc<Tx>>,
    /// The way from the coinbase to the merkle root, see [`merkle::Tree::branch`].
    pub branch: Vec<[u8; 32]>,
    /// The script of the output that commits to all witnesses (BIP 141), when segwit is active.
    pub witness_commitment: Option<Vec<u8>>,
    /// Changes of the rules that a block can vote for.
    pub version_bits: VersionBits,
}

/// What a template says of version bits (BIP 9).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionBits {
    /// `vbavailable`: names of changes of the rules that are not in force yet, each with its bit
    /// (0 to 28). At most [`MAX_DEPLOYMENTS`], of at most [`MAX_DEPLOYMENT_NAME`] characters.
    pub available: Vec<(String, u8)>,
    /// `vbrequired`: the bits without which the node would refuse a block.
    pub required: u32,
}

/// Names of changes of the rules that are kept of a template: one for each bit.
pub const MAX_DEPLOYMENTS: usize = 29;

/// Characters that are kept of such a name.
pub const MAX_DEPLOYMENT_NAME: usize = 32;

/// One transaction of a template.
#[derive(Debug, PartialEq)]
pub struct Tx {
    /// Id without witness: the leaf of the merkle tree.
    pub txid: Txid,
    /// Id with witness (`hash` in the template): the leaf of the witness tree.
    pub wtxid: Txid,
    /// Serialised, with witness.
    pub bytes: Box<[u8]>,
    /// Fee in satoshis; negative or missing values are taken as 0.
    pub fee: u64,
}

/// Why an answer is no usable template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Not JSON, or a field is missing or of another type: not a node, or a broken answer.
    #[error("not a block template: {0}")]
    Json(String),
    /// A field has the right type but an impossible value.
    #[error("block template: {field}: {why}")]
    Field {
        /// Name in the template.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A rule that must be understood to build a block (BIP 9's `!`), and is not.
    #[error("the node's chain needs the rule `{0}`, which this version does not know: update it")]
    UnknownRule(String),
}

/// The transactions of the last template that was parsed with it, and the tree over them.
#[derive(Debug, Default)]
pub struct TxCache {
    txs: HashMap<Txid, Arc<Tx>>,
    tree: merkle::Tree,
}

/// Rules that change how a block is built and that this module and `coinbase` follow. A rule with
/// a `!` that is not here makes a template unusable (BIP 9). `signet` is missing on purpose: its
/// blocks need a signature that only the network's operators can make (BIP 325).
const KNOWN_RULES: [&str; 3] = ["csv", "segwit", "taproot"];

/// 21 million bitcoin, in satoshis: no coinbase can be worth more.
const MAX_MONEY: u64 = 2_100_000_000_000_000;

/// Blocks from one change of the target to the next.
const RETARGET: u32 = 2016;

impl Template {
    /// Reads the `result` of `getblocktemplate`.
    ///
    /// # Errors
    /// See [`TemplateError`]. A template that this accepts can be built into a block; whether
    /// the node's transactions are valid is the node's affair.
    pub fn parse(json: &[u8], cache: &mut TxCache) -> Result<Template, TemplateError> {
        let raw: RawTemplate<'_> =
            serde_json::from_slice(json).map_err(|e| TemplateError::Json(e.to_string()))?;
        for rule in raw.rules.iter().flatten() {
            if let Some(rule) = rule.strip_prefix('!')
                && !KNOWN_RULES.contains(&rule)
            {
                return Err(TemplateError::UnknownRule(rule.to_string()));
            }
        }
        let nbits = u32::from_str_radix(&raw.bits, 16)
            .map_err(|e| field("bits", format!("{e}: {}", raw.bits)))?;
        let target = Target::from_nbits(NBits(nbits)).map_err(|e| field("bits", e.to_string()))?;
        let prev = raw
            .previousblockhash
            .parse()
            .map_err(|_| field("previousblockhash", "not 64 hex digits"))?;
        if raw.height == 0 || raw.height > i32::MAX as u32 {
            return Err(field("height", format!("{} cannot be mined", raw.height)));
        }
        if raw.coinbasevalue > MAX_MONEY {
            return Err(field("coinbasevalue", format!("{} satoshis", raw.coinbasevalue)));
        }
        if raw.mintime.is_some_and(|mintime| mintime > raw.curtime) {
            return Err(field("mintime", "later than curtime"));
        }
        let txs = raw.transactions.iter().map(|tx| cache.get(tx)).collect::<Result<Vec<_>, _>>()?;
        cache.txs = txs.iter().map(|tx| (tx.txid, tx.clone())).collect();
        // No block may have one twice, and the cache could not tell their data apart.
        if cache.txs.len() != txs.len() {
            return Err(field("transactions", "one of them stands there twice"));
        }
        // The first leaf stands for the coinbase: no neighbour depends on it.
        cache.tree.update(std::iter::once([0; 32]).chain(txs.iter().map(|tx| tx.txid.0)).collect());
        let has_segwit = raw
            .rules
            .as_ref()
            .map(|rules| rules.iter().any(|rule| rule.trim_start_matches('!') == "segwit"));
        let witness_commitment = match (&raw.default_witness_commitment, has_segwit) {
            // bcoin hands one out before segwit is active, and refuses the block that has it.
            (_, Some(false)) | (None, None) => None,
            (Some(hex), _) => Some(commitment_script(hex)?),
            // BIP 145 lets a node leave it out, and then it is ours to make.
            (None, Some(true)) => Some(witness_commitment(&txs)),
        };
        Ok(Template {
            height: raw.height,
            version: raw.version as u32,
            prev,
            nbits: NBits(nbits),
            target,
            curtime: raw.curtime,
            mintime: raw.mintime.unwrap_or(raw.curtime),
            value: raw.coinbasevalue,
            branch: cache.tree.branch(),
            txs,
            witness_commitment,
            version_bits: VersionBits::read(raw.vbavailable, raw.vbrequired),
        })
    }

    /// An empty block's template on `tip`, a block that the node has just taken in and that is higher
    /// than [`Template::prev`] or stands beside it. It lets miners leave the dead tip at once, while the
    /// node is still choosing transactions.
    ///
    /// `None` where [`empty_is_possible`] says so. `header` is what the tip's header says: with a wrong
    /// height the block would be worth nothing, and its own time must be later than the median time.
    /// `node_time` is the node's clock now, see [`crate::job::Work::node_time`].
    pub fn empty_on(
        &self,
        tip: BlockHash,
        header: TipHeader,
        chain: Chain,
        node_time: u32,
    ) -> Option<Template> {
        let mintime = self.mintime.max(header.median_time) + 1;
        let height = u32::try_from(header.height).ok()?.checked_add(1)?;
        if tip == self.prev || !empty_is_possible(chain, self.height.into(), height.into()) {
            return None;
        }
        let halving = if chain == Chain::Regtest { 150 } else { 210_000 };
        Some(Template {
            height,
            version: self.version,
            prev: tip,
            nbits: self.nbits,
            target: self.target,
            curtime: node_time.max(mintime),
            mintime,
            value: (50 * 100_000_000_u64).checked_shr(height / halving).unwrap_or(0),
            txs: Vec::new(),
            branch: Vec::new(),
            witness_commitment: self.witness_commitment.as_ref().map(|_| witness_commitment(&[])),
            version_bits: self.version_bits.clone(),
        })
    }

    /// The fees of all transactions, satoshis.
    pub fn fees(&self) -> u64 {
        self.txs.iter().map(|tx| tx.fee).sum()
    }
}

/// What is known of a tip, as far as an empty block on it needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TipHeader {
    /// Its height.
    pub height: u64,
    /// Median of the times of it and the ten blocks before it, Unix seconds: the next block's time
    /// must be later (0 where the node does not tell).
    pub median_time: u32,
}

/// Whether a block of the height `to` can be made without a node from a template for the height
/// `from`: the target is the same only between two retargets, and nowhere for sure on the test networks
/// with their minimum-difficulty rule (testnet3, testnet4). Blocks of signet are signed.
pub fn empty_is_possible(chain: Chain, from: u64, to: u64) -> bool {
    let period = |height: u64| height / u64::from(RETARGET);
    match chain {
        Chain::Main | Chain::Regtest => from <= to && period(from) == period(to),
        Chain::Testnet3 | Chain::Testnet4 | Chain::Signet => false,
    }
}

/// The script of the witness commitment over a coinbase and `txs`, with the reserved value of 32
/// zero bytes (BIP 141).
pub fn witness_commitment(txs: &[Arc<Tx>]) -> Vec<u8> {
    // The coinbase's own wtxid counts as zero.
    let leaves = std::iter::once([0; 32]).chain(txs.iter().map(|tx| tx.wtxid.0)).collect();
    let mut preimage = [0; 64];
    preimage[..32].copy_from_slice(&merkle::root(leaves));
    let mut script = COMMITMENT_HEADER.to_vec();
    script.extend_from_slice(&crate::hash::sha256d(&preimage));
    script
}

/// `OP_RETURN`, push of 36 bytes, and BIP 141's four.
const COMMITMENT_HEADER: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

impl VersionBits {
    /// The change of the rules that a bit votes for, where the node told its name.
    pub fn name(&self, bit: u8) -> Option<&str> {
        self.available.iter().find(|(_, there)| *there == bit).map(|(name, _)| name.as_str())
    }

    /// Mining does without them, so what cannot be read counts as not said.
    fn read(available: Option<&RawValue>, required: Option<&RawValue>) -> VersionBits {
        let names: BTreeMap<Cow<'_, str>, u8> =
            available.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        let tame = |name: &str| {
            let name = name.trim_start_matches('!').chars().filter(|c| !c.is_control());
            name.take(MAX_DEPLOYMENT_NAME).collect()
        };
        let votes = names.iter().filter(|(_, bit)| **bit < 29).take(MAX_DEPLOYMENTS);
        VersionBits {
            available: votes.map(|(name, bit)| (tame(name), *bit)).collect(),
            required: required.and_then(|raw| raw.get().parse().ok()).unwrap_or(0),
        }
    }
}

#[derive(Deserialize)]
struct RawTemplate<'a> {
    version: i32,
    /// Missing where a node knows nothing of BIP 9: then it is not asked.
    #[serde(borrow)]
    rules: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    previousblockhash: Cow<'a, str>,
    #[serde(borrow)]
    transactions: Vec<RawTx<'a>>,
    coinbasevalue: u64,
    #[serde(borrow)]
    vbavailable: Option<&'a RawValue>,
    #[serde(borrow)]
    vbrequired: Option<&'a RawValue>,
    mintime: Option<u32>,
    curtime: u32,
    #[serde(borrow)]
    bits: Cow<'a, str>,
    height: u32,
    #[serde(borrow)]
    default_witness_commitment: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct RawTx<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(borrow)]
    txid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    hash: Cow<'a, str>,
    fee: Option<i64>,
}

impl TxCache {
    fn get(&self, raw: &RawTx<'_>) -> Result<Arc<Tx>, TemplateError> {
        let wtxid: Txid = raw.hash.parse().map_err(|_| field("hash", "not 64 hex digits"))?;
        // Nodes from before segwit give only `hash`, which then is the txid.
        let txid: Txid = match &raw.txid {
            Some(hex) => hex.parse().map_err(|_| field("txid", "not 64 hex digits"))?,
            None => wtxid,
        };
        if let Some(tx) = self.txs.get(&txid)
            && tx.wtxid == wtxid
        {
            return Ok(tx.clone());
        }
        let bytes = decode(&raw.data).ok_or_else(|| field("data", "not hex"))?;
        if bytes.len() < MIN_TX {
            return Err(field("data", format!("{} bytes are no transaction", bytes.len())));
        }
        let fee = raw.fee.and_then(|fee| u64::try_from(fee).ok()).unwrap_or(0);
        Ok(Arc::new(Tx { txid, wtxid, bytes: bytes.into_boxed_slice(), fee }))
    }
}

/// Version, counts, one input, one output and lock time: nothing shorter is a transaction.
const MIN_TX: usize = 60;

fn commitment_script(hex: &str) -> Result<Vec<u8>, TemplateError> {
    let script = decode(hex).ok_or_else(|| field("default_witness_commitment", "not hex"))?;
    if script.len() != 38 || !script.starts_with(&COMMITMENT_HEADER) {
        return Err(field("default_witness_commitment", "not a commitment of 38 bytes"));
    }
    Ok(script)
}

fn decode(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) {
        return None;
    }
    let mut bytes = vec![0; hex.len() / 2];
    faster_hex::hex_decode(hex.as_bytes(), &mut bytes).ok()?;
    Some(bytes)
}

fn field(field: &'static str, why: impl Into<String>) -> TemplateError {
    TemplateError::Field { field, why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREV: &str = "00000000000000000000a1b2c3d4e5f600000000000000000000a1b2c3d4e5f6";

    fn json(transactions: &str, more: &str) -> String {
        format!(
            r#"{{"version":536870912,"rules":["csv","!segwit","taproot"],"vbavailable":{{}},
            "previousblockhash":"{PREV}","transactions":[{transactions}],"coinbaseaux":{{}},
            "coinbasevalue":312512345,"longpollid":"{PREV}7","target":"00","mintime":1000,
            "mutable":["time","transactions","prevblock"],"noncerange":"00000000ffffffff",
            "sigoplimit":80000,"sizelimit":4000000,"weightlimit":4000000,"curtime":2000,
            "bits":"1d00ffff","height":840000{more}}}"#
        )
    }

    fn tx(n: u8) -> String {
        let hash = format!("{n:02x}").repeat(32);
        let data = format!("{n:02x}").repeat(80);
        format!(r#"{{"data":"{data}","txid":"{hash}","hash":"{hash}","depends":[],"fee":{n}}}"#)
    }

    fn parse(json: &str) -> Result<Template, TemplateError> {
        Template::parse(json.as_bytes(), &mut TxCache::default())
    }

    #[test]
    fn a_template_is_read() {
        let template = parse(&json(&format!("{},{}", tx(7), tx(9)), "")).unwrap();
        assert_eq!((template.height, template.curtime, template.mintime), (840000, 2000, 1000));
        assert_eq!(template.version, 0x2000_0000);
        assert_eq!((template.value, template.fees()), (312_512_345, 16));
        assert_eq!(template.prev.to_string(), PREV);
        assert_eq!(template.branch.len(), 2);
        assert_eq!(template.txs[1].bytes.len(), 80);
    }

    #[test]
    fn version_bits_are_read_and_never_cost_a_template() {
        let said = |available: &str, required: &str| {
            let more = format!(r#","vbrequired":{required}"#);
            let json = json("", &more).replacen(r#""vbavailable":{}"#, available, 1);
            parse(&json).unwrap().version_bits
        };
        let bits = said(r#""vbavailable":{"reduced_data":4,"!testdummy":28,"far":29}"#, "16");
        assert_eq!(bits.available, [("testdummy".to_owned(), 28), ("reduced_data".to_owned(), 4)]);
        assert_eq!(bits.required, 16);
        for (available, required) in [
            (r#""vbavailable":[]"#, "-1"),
            (r#""vbavailable":null"#, "\"x\""),
            (r#""vbavailable":{"a":"b"}"#, "1e99"),
            (r#""vbavailable":{"a":-1}"#, "null"),
            (r#""other":1"#, "{}"),
        ] {
            assert_eq!(said(available, required), VersionBits::default(), "{available}");
        }
        let many: Vec<String> =
            (0..200).map(|n| format!("\"{n}{}\":{}", "x".repeat(99), n % 29)).collect();
        let bits = said(&format!(r#""vbavailable":{{{}}}"#, many.join(",")), "0");
        assert_eq!(bits.available.len(), MAX_DEPLOYMENTS);
        assert!(bits.available.iter().all(|(name, _)| name.len() <= MAX_DEPLOYMENT_NAME));
    }

    #[test]
    fn a_transaction_that_comes_twice_is_refused() {
        let other_data = tx(7).replacen("\"data\":\"", "\"data\":\"ff", 1);
        for again in [tx(7), other_data] {
            let error = parse(&json(&format!("{},{},{again}", tx(7), tx(9)), "")).unwrap_err();
            assert!(error.to_string().contains("twice"), "{error}");
        }
    }

    #[test]
    fn transactions_are_shared_between_templates() {
        let mut cache = TxCache::default();
        let first = Template::parse(json(&tx(7), "").as_bytes(), &mut cache).unwrap();
        let both = json(&format!("{},{}", tx(7), tx(9)), "");
        let second = Template::parse(both.as_bytes(), &mut cache).unwrap();
        assert!(Arc::ptr_eq(&first.txs[0], &second.txs[0]));
        let third = Template::parse(json(&tx(9), "").as_bytes(), &mut cache).unwrap();
        assert!(Arc::ptr_eq(&second.txs[1], &third.txs[0]));
        assert_eq!(cache.txs.len(), 1, "what left the mempool is forgotten");
    }

    #[test]
    fn the_commitment_of_an_empty_block_is_made() {
        // sha256d of 64 zero bytes: the witness root of a lone coinbase, and the reserved value.
        let template = parse(&json("", "")).unwrap();
        let hex = "6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9";
        assert_eq!(faster_hex::hex_string(&template.witness_commitment.unwrap()), hex);
        let given = format!(r#","default_witness_commitment":"{hex}""#);
        let template = parse(&json("", &given)).unwrap();
        assert_eq!(faster_hex::hex_string(&template.witness_commitment.unwrap()), hex);
    }

    #[test]
    fn a_commitment_is_made_only_under_segwit() {
        let commitment = faster_hex::hex_string(&witness_commitment(&[]));
        let given = format!(r#","default_witness_commitment":"{commitment}""#);
        let with = |rules: &str, more: &str| {
            let json = json("", more).replace(r#""rules":["csv","!segwit","taproot"],"#, rules);
            parse(&json).unwrap().witness_commitment.is_some()
        };
        for (rules, offered, expected) in [
            (r#""rules":["csv","!segwit"],"#, true, true),
            (r#""rules":["segwit"],"#, true, true),
            (r#""rules":["!segwit"],"#, false, true),
            // bcoin before segwit.
            (r#""rules":["csv"],"#, true, false),
            (r#""rules":[],"#, true, false),
            (r#""rules":["!taproot","csv"],"#, false, false),
            // A node that does not tell its rules means what it offers.
            ("", true, true),
            ("", false, false),
        ] {
            let more = if offered { given.as_str() } else { "" };
            assert_eq!(with(rules, more), expected, "{rules} {offered}");
        }
        let before = r#""rules":["csv"],"#;
        let template = json("", &given).replace(r#""rules":["csv","!segwit","taproot"],"#, before);
        let header = TipHeader { height: 840_000, median_time: 0 };
        let empty =
            parse(&template).unwrap().empty_on(BlockHash([5; 32]), header, Chain::Main, 2030);
        assert_eq!(empty.unwrap().witness_commitment, None);
    }

    #[test]
    fn an_empty_block_follows_where_its_target_is_known() {
        let on = |height, median_time| TipHeader { height, median_time };
        let template = parse(&json(&tx(7), "")).unwrap();
        let tip = BlockHash([5; 32]);
        let empty = template.empty_on(tip, on(840_000, 0), Chain::Main, 2030).unwrap();
        assert_eq!((empty.height, empty.prev, empty.curtime), (840_001, tip, 2030));
        assert_eq!(empty.value, 312_500_000);
        assert!(empty.txs.is_empty() && empty.branch.is_empty());
        assert_eq!(empty.witness_commitment, Some(witness_commitment(&[])));
        assert_eq!((empty.nbits, empty.version), (template.nbits, template.version));
        assert_eq!(template.empty_on(tip, on(840_000, 0), Chain::Main, 0).unwrap().curtime, 1001);
        let later = template.empty_on(tip, on(840_000, 5000), Chain::Main, 2030).unwrap();
        assert_eq!((later.curtime, later.mintime), (5001, 5001), "later than the median time");
        assert_eq!(template.empty_on(tip, on(840_000, 0), Chain::Testnet4, 2030), None);
        // A tip that is more than one block higher is told by its height; one that is lower is none.
        let two = template.empty_on(tip, on(840_001, 0), Chain::Main, 2030).unwrap();
        assert_eq!(two.height, 840_002);
        let beside = template.empty_on(tip, on(839_999, 0), Chain::Main, 2030).unwrap();
        assert_eq!((beside.height, beside.prev), (840_000, tip));
        assert_eq!(template.empty_on(template.prev, on(839_999, 0), Chain::Main, 2030), None);
        for height in [839_998, 0, u64::MAX, u64::from(u32::MAX)] {
            assert_eq!(template.empty_on(tip, on(height, 0), Chain::Main, 2030), None);
        }
        // 840,672 is divisible by 2016.
        let before_retarget = Template { height: 840_671, ..template };
        let at_retarget = before_retarget.empty_on(tip, on(840_671, 0), Chain::Main, 2030);
        assert_eq!(at_retarget, None);
        assert_eq!(before_retarget.empty_on(tip, on(840_672, 0), Chain::Main, 2030), None);
        let last = Template { height: 20_000_000, ..before_retarget };
        assert_eq!(last.empty_on(tip, on(20_000_000, 0), Chain::Main, 2030).unwrap().value, 0);
    }

    #[test]
    fn what_is_no_template_is_refused_in_words() {
        let good = json(&tx(7), "");
        for (from, to, says) in [
            ("\"height\":840000", "\"height\":0", "height"),
            ("\"height\":840000", "\"height\":-1", "not a block template"),
            ("\"height\":840000", "\"height\":4294967295", "height"),
            ("\"height\":840000", "\"height\":1e99", "not a block template"),
            ("\"bits\":\"1d00ffff\"", "\"bits\":\"00000000\"", "bits"),
            ("\"bits\":\"1d00ffff\"", "\"bits\":\"x\"", "bits"),
            ("\"bits\":\"1d00ffff\"", "\"bits\":7", "not a block template"),
            ("312512345", "2100000000000001", "coinbasevalue"),
            ("312512345", "-5", "not a block template"),
            ("\"mintime\":1000", "\"mintime\":3000", "mintime"),
            ("\"!segwit\"", "\"!covenants\"", "`covenants`"),
            ("\"previousblockhash\":\"00", "\"previousblockhash\":\"0", "previousblockhash"),
            ("\"data\":\"07", "\"data\":\"7", "data"),
            ("\"data\":\"07", "\"data\":\"zz", "data"),
            ("\"txid\":\"07", "\"txid\":\"7", "txid"),
            ("}", "", "not a block template"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            let error = parse(&bad).unwrap_err().to_string();
            assert!(error.contains(says), "{from} → {to}: {error}");
        }
        let commitment = r#","default_witness_commitment":"6a24aa21a9ed""#;
        assert!(parse(&json("", commitment)).is_err());
        assert!(parse("<html>").is_err());
        assert!(parse("").is_err());
    }
}
