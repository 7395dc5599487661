//! Blocks made by the daemon's cores, judged by Bitcoin Core's engine and by the sandbox node.

#[path = "../../common"]
mod common {
    #![allow(dead_code, missing_docs)]
    pub mod miner_v2;
}
#[path = "../../common/faults.rs"]
mod faults;
#[path = "blocks/frames.rs"]
mod frames;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::{Address, Amount, Block, OutPoint, ScriptBuf};
use faults::{FAULTS, commit, seal};
use soloist::block;
use soloist::demo::chain::{Outcome, Rules, SandboxChain, subsidy};
use soloist::demo::coins::free_script;
use soloist::share::Share;
use soloist::signal::VERSION_MASK;
use soloist_judge::{Judge, Made, Maker, Verdict, header_hash, timed};

/// One address of each type, on regtest.
const ADDRESSES: [(&str, &str); 5] = [
    ("P2PKH", "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"),
    ("P2SH", "2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc"),
    ("P2WPKH", "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"),
    ("P2WSH", "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry"),
    ("P2TR", "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6"),
];

/// Genesis of regtest, and a minute for each block.
const EPOCH: u64 = 1_296_688_602;

/// The sandbox node and the engine side by side, and the daemon's cores between them.
struct Court {
    judge: Judge,
    sandbox: SandboxChain,
    maker: Maker,
    connected: BTreeMap<String, usize>,
    _copy: Option<tempfile::TempDir>,
}

impl Court {
    fn new() -> Court {
        Court {
            judge: Judge::new(),
            sandbox: SandboxChain::new(Rules::regtest()),
            maker: Maker::default(),
            connected: BTreeMap::new(),
            _copy: None,
        }
    }

    /// A court whose chain has mature coins enough for `transactions`.
    fn with_coins(transactions: usize) -> Court {
        let mut court = Court::new();
        while court.sandbox.height() < 101 {
            court.connect("coins", &free_script(), None);
        }
        assert!(court.sandbox.add_split(transactions + transactions / 4));
        court.connect("split", &free_script(), None);
        court
    }

    /// A court at `height`, on a chain that the sandbox made.
    fn at(height: u32) -> Court {
        let mut sandbox = SandboxChain::new(Rules::regtest());
        timed("the sandbox's chain", || {
            while sandbox.height() < height {
                let now = EPOCH + 60 * (u64::from(sandbox.height()) + 1);
                assert_eq!(sandbox.mine(free_script(), now), Outcome::Connected);
            }
        });
        let kept = kept_chain(&sandbox);
        // Judged on a copy, so that what is kept stays as it is.
        let copy = tempfile::tempdir().expect("a temporary directory");
        copy_all(&kept, copy.path());
        let judge = Judge::at(copy.path());
        assert_eq!(judge.tip(), sandbox.tip().to_byte_array());
        Court {
            judge,
            sandbox,
            maker: Maker::default(),
            connected: BTreeMap::new(),
            _copy: Some(copy),
        }
    }

    fn now(&self) -> u64 {
        EPOCH + 60 * (u64::from(self.sandbox.height()) + 1)
    }

    /// Makes the next block by the daemon's path, without handing it in.
    fn make(&mut self, payout: &ScriptBuf, version_bits: Option<u32>) -> Made {
        let template = self.sandbox.template(self.now()).to_string();
        let job = self.maker.job(&template, payout.as_bytes(), "/soloist/");
        self.maker.solve(job, version_bits)
    }

    /// Makes the next block, and both must connect it.
    fn connect(&mut self, kind: &str, payout: &ScriptBuf, version_bits: Option<u32>) -> Made {
        let made = self.make(payout, version_bits);
        let height = self.sandbox.height() + 1;
        assert_eq!(self.judge.submit(&made.bytes), Verdict::Connected, "{kind} at {height}");
        assert_eq!(self.judge.tip(), made.share.hash.0);
        assert_eq!(self.judge.tip(), header_hash(&made.bytes[..80]));
        assert_eq!(self.judge.height(), height);
        let block = deserialize(&made.bytes).expect("the engine could read it too");
        assert_eq!(self.sandbox.submit(block, self.now()), Outcome::Connected, "{kind}");
        *self.connected.entry(kind.into()).or_default() += 1;
        made
    }

    /// Both must refuse the bytes, for the same reason, and stay at their tip.
    fn refuse(&mut self, what: &str, bytes: &[u8], reason: &str) {
        let tip = self.judge.tip();
        let block: Block = deserialize(bytes).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(self.judge.submit(bytes), Verdict::Refused(reason.into()), "{what}");
        match self.sandbox.submit(block, self.now()) {
            Outcome::Refused(refusal) => assert_eq!(refusal.to_string(), reason, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!(self.judge.tip(), tip, "{what}");
        assert_eq!(self.sandbox.tip().to_byte_array(), tip, "{what}");
    }

    fn report(&self) {
        println!(
            "{} blocks connected: {:?}",
            self.connected.values().sum::<usize>(),
            self.connected
        );
    }
}

/// The folder in which the engine holds the sandbox's chain; what it lacks is handed to it first.
fn kept_chain(sandbox: &SandboxChain) -> PathBuf {
    let cache = std::env::var_os("SOLOIST_TEST_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").expect("a home folder")).join(".cache/soloist-tests")
    });
    let folder = cache.join(format!("regtest-{}", sandbox.tip()));
    std::fs::create_dir_all(&folder).expect("the cache folder can be made");
    let judge = Judge::at(&folder);
    let known = judge.height();
    timed(&format!("the engine's chain from height {known} on"), || {
        for height in known + 1..=sandbox.height() {
            let hash = sandbox.hash_at(height).expect("it is below the tip");
            let block = sandbox.block(&hash).expect("it is in the chain");
            assert_eq!(judge.submit(&serialize(&**block)), Verdict::Connected, "{height}");
            if height % 2_000 == 0 {
                println!("height {height} …");
            }
        }
    });
    folder
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("the folder can be read").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

fn script(address: &str) -> ScriptBuf {
    Address::from_str(address).unwrap().assume_checked().script_pubkey()
}

fn scripts() -> impl Iterator<Item = (&'static str, ScriptBuf)> {
    ADDRESSES.into_iter().map(|(kind, address)| (kind, script(address)))
}

fn parse(made: &Made) -> Block {
    deserialize(&made.bytes).unwrap()
}

#[test]
fn every_address_with_every_number_of_transactions() {
    let mut court = Court::with_coins(4_000);
    type IsIt = fn(&ScriptBuf) -> bool;
    let fits: [(&str, IsIt); 5] = [
        ("P2PKH", |s| s.is_p2pkh()),
        ("P2SH", |s| s.is_p2sh()),
        ("P2WPKH", |s| s.is_p2wpkh()),
        ("P2WSH", |s| s.is_p2wsh()),
        ("P2TR", |s| s.is_p2tr()),
    ];
    for ((kind, payout), (name, is_it)) in scripts().zip(fits) {
        assert!(kind == name && is_it(&payout), "{kind} is what it says");
        for count in [0, 1, 2, 3, 1000, 4000] {
            assert_eq!(court.sandbox.add_transactions(count), count);
            let fees: u64 = {
                let template = court.sandbox.template(court.now());
                let listed = template["transactions"].as_array().unwrap().clone();
                assert_eq!(listed.len(), count);
                listed.iter().map(|tx| tx["fee"].as_u64().unwrap()).sum()
            };
            let made = court.connect(&format!("{kind} with {count}"), &payout, None);
            let block = parse(&made);
            assert_eq!(block.txdata.len(), count + 1);
            assert!(block.txdata[1..].iter().all(|tx| !tx.input[0].witness.is_empty()));
            // Everything to the owner, and to nobody else.
            let coinbase = &block.txdata[0];
            assert_eq!(coinbase.output.len(), 2);
            assert_eq!(coinbase.output[0].script_pubkey, payout);
            let due = subsidy(court.sandbox.height()) + Amount::from_sat(fees);
            assert_eq!((coinbase.output[0].value, coinbase.output[1].value), (due, Amount::ZERO));
            // Before the push of twelve bytes for the extranonces.
            let script_sig = coinbase.input[0].script_sig.as_bytes();
            assert!(script_sig[..script_sig.len() - 13].ends_with(b"/soloist/"));
        }
    }
    // Merkle trees of every shape up to 33 leaves.
    let payouts: Vec<_> = scripts().collect();
    for count in 0..=32 {
        assert_eq!(court.sandbox.add_transactions(count), count);
        court.connect("tree shapes", &payouts[count % 5].1, None);
    }
    court.report();
}

#[test]
fn every_bit_of_the_version_mask() {
    let mut court = Court::with_coins(100);
    let bits = (0..32).map(|bit| 1u32 << bit).filter(|bit| VERSION_MASK & bit != 0);
    let every: Vec<u32> = bits.chain([0, VERSION_MASK, VERSION_MASK & 0x0aaa_a000]).collect();
    assert_eq!(every.len(), 16 + 3);
    for (kind, payout) in scripts() {
        for bits in &every {
            court.sandbox.add_transactions(2);
            let made = court.connect(kind, &payout, Some(*bits));
            let version = parse(&made).header.version.to_consensus() as u32;
            assert_eq!(version, 0x2000_0000 | bits);
        }
    }
    court.report();
}

#[test]
fn heights_at_which_bip34_changes_its_encoding() {
    let mut court = Court::new();
    walk(&mut court, 300, &[2, 16, 17, 127, 128, 255, 256]);
    court.report();
}

/// 32,767 is the last height of two bytes, 32,768 the first of three.
///
/// On regtest the engine walks over its whole index after every block, so that the way there takes
/// minutes. Therefore the chain up to a few blocks before is kept in the cache folder, and made
/// there when it is missing or is another chain's.
#[test]
fn heights_at_which_bip34_needs_a_third_byte() {
    let mut court = Court::at(32_760);
    walk(&mut court, 32_772, &[32_766, 32_767, 32_768, 32_769]);
    court.report();
}

/// Connects blocks up to `last`; at the heights in `turning`, wrong ones are refused before.
fn walk(court: &mut Court, last: u32, turning: &[u32]) {
    let payouts: Vec<_> = scripts().collect();
    while court.sandbox.height() < last {
        let height = court.sandbox.height() + 1;
        let payout = &payouts[height as usize % 5].1;
        if turning.contains(&height) {
            refuse_wrong_heights(court, payout, height);
        }
        let made = court.connect("in a row", payout, None);
        let expected = Builder::new().push_int(i64::from(height)).into_script();
        let block = parse(&made);
        let script = block.txdata[0].input[0].script_sig.as_bytes();
        assert!(script.starts_with(expected.as_bytes()), "{height}");
    }
}

/// The height before, the height after, and the right one in another length.
fn refuse_wrong_heights(court: &mut Court, payout: &ScriptBuf, height: u32) {
    for wrong in [height - 1, height + 1] {
        // The daemon's own cores, misled by a template that gives another height.
        let template = court.sandbox.template(court.now());
        let mut misled = template.clone();
        misled["height"] = wrong.into();
        let job = court.maker.job(&misled.to_string(), payout.as_bytes(), "/soloist/");
        let made = court.maker.solve(job, None);
        let mut block = parse(&made);
        // A lock time of the next height would be another fault.
        block.txdata[0].lock_time = bitcoin::absolute::LockTime::ZERO;
        let bytes = serialize(&seal(block));
        court.refuse(&format!("height {wrong} at {height}"), &bytes, "bad-cb-height");
    }
    let mut block = parse(&court.make(payout, None));
    let right = Builder::new().push_int(i64::from(height)).into_script();
    let mut longer = vec![5];
    longer.extend_from_slice(&height.to_le_bytes());
    longer.push(0);
    longer.extend_from_slice(&block.txdata[0].input[0].script_sig.as_bytes()[right.len()..]);
    block.txdata[0].input[0].script_sig = ScriptBuf::from_bytes(longer);
    let bytes = serialize(&seal(block));
    court.refuse(&format!("five bytes at {height}"), &bytes, "bad-cb-height");
}

#[test]
fn what_the_cores_must_not_get_wrong() {
    let mut court = Court::with_coins(50);
    court.sandbox.add_transactions(6);
    let payout = script(ADDRESSES[4].1);
    let template = court.sandbox.template(court.now());

    // One satoshi too much, by a node that promises it.
    let mut greedy = template.clone();
    greedy["coinbasevalue"] = (template["coinbasevalue"].as_u64().unwrap() + 1).into();
    let job = court.maker.job(&greedy.to_string(), payout.as_bytes(), "/soloist/");
    let made = court.maker.solve(job, None);
    court.refuse("1 sat too much", &made.bytes, "bad-cb-amount");

    // A commitment to other witnesses.
    let mut other = template.clone();
    let mut commitment = template["default_witness_commitment"].as_str().unwrap().to_owned();
    let last = if commitment.ends_with('0') { "1" } else { "0" };
    commitment.replace_range(commitment.len() - 1.., last);
    other["default_witness_commitment"] = commitment.into();
    let job = court.maker.job(&other.to_string(), payout.as_bytes(), "/soloist/");
    let made = court.maker.solve(job, None);
    court.refuse("wrong commitment", &made.bytes, "bad-witness-merkle-match");

    // The node gives no commitment: the cores must make it themselves, and rightly.
    let mut without = template.clone();
    without.as_object_mut().unwrap().remove("default_witness_commitment");
    let job = court.maker.job(&without.to_string(), payout.as_bytes(), "/soloist/");
    let given = court.maker.job(&template.to_string(), payout.as_bytes(), "/soloist/");
    assert_eq!(
        job.work.template.witness_commitment, given.work.template.witness_commitment,
        "a commitment of our own is the node's"
    );

    // The rolled version bits left out of the block, for each single bit: its header is not the
    // one that was hashed, and its hash, which is as good as random, is above the target for some
    // nonce.
    for bit in (0..32).filter(|bit| VERSION_MASK >> bit & 1 == 1) {
        let job = court.maker.job(&template.to_string(), payout.as_bytes(), "/soloist/");
        let mut made = court.maker.solve(job, Some(1 << bit));
        loop {
            let mut forgotten = made.share.header;
            forgotten[..4].copy_from_slice(&0x2000_0000_u32.to_le_bytes());
            assert_ne!(made.share.header, forgotten, "the bit is in the header");
            if header_hash(&forgotten)[31] > 0x7f {
                let coinbase = made.job.work.coinbase.in_block(&made.submission.extranonce);
                let bytes = block::assemble(&forgotten, &coinbase, &made.job.work.template.txs);
                court.refuse(&format!("version bit {bit} forgotten"), &bytes, "high-hash");
                break;
            }
            made = court.maker.solve(made.job, Some(1 << bit));
        }
    }

    // The coinbase as the miner hashes it instead of as it stands in a block.
    let made = court.make(&payout, None);
    let work = &made.job.work;
    let stripped = work.coinbase.without_witness(&made.submission.extranonce);
    let bytes = block::assemble(&made.share.header, &stripped, &work.template.txs);
    court.refuse("coinbase without witness", &bytes, "bad-witness-nonce-size");

    // Another extranonce than the one that was hashed.
    let coinbase = work.coinbase.in_block(&[0; 12]);
    let bytes = block::assemble(&made.share.header, &coinbase, &work.template.txs);
    court.refuse("other extranonce", &bytes, "bad-txnmrklroot");

    // Transactions of another template, in another order, or one too few.
    let coinbase = work.coinbase.in_block(&made.submission.extranonce);
    let mut txs = work.template.txs.clone();
    txs.swap(0, 1);
    let bytes = block::assemble(&made.share.header, &coinbase, &txs);
    court.refuse("other order", &bytes, "bad-txnmrklroot");
    txs.pop();
    let bytes = block::assemble(&made.share.header, &coinbase, &txs);
    court.refuse("one transaction too few", &bytes, "bad-txnmrklroot");

    // Times at both ends: the least that the template allows is valid, one less is not.
    let mintime = template["mintime"].as_u64().unwrap() as u32;
    let at = |ntime: u32| {
        let mut submission = made.submission;
        submission.ntime = ntime;
        loop {
            let share = Share::prove(&made.job, &submission);
            if share.solves {
                let coinbase = made.job.work.coinbase.in_block(&submission.extranonce);
                return block::assemble(&share.header, &coinbase, &made.job.work.template.txs);
            }
            submission.nonce += 1;
        }
    };
    court.refuse("a second too early", &at(mintime - 1), "time-too-old");
    assert_eq!(court.judge.submit(&at(mintime)), Verdict::Connected);
}

/// Stratum V2: the header is made of the messages alone, by a miner of the reference implementation's
/// crates, with rolled version bits, and its 80 bytes are the block's.
#[test]
fn blocks_of_both_kinds_of_channel() {
    const BLOCKS: usize = 60;
    let mut court = Court::with_coins(500);
    let mut miners = frames::Miners::new();
    let scripts: Vec<_> = scripts().collect();
    for number in 0..BLOCKS {
        // Each kind of channel with each kind of address.
        let (miner, (kind, payout)) = (number % 2, &scripts[number % scripts.len()]);
        court.sandbox.add_transactions(number % 4 * 7);
        let template = court.sandbox.template(court.now()).to_string();
        miners.work(&template, payout.as_bytes());
        let (found, solved) = miners.solve(miner);
        assert_ne!(found.version & VERSION_MASK, 0);
        assert_eq!(solved.bytes[..80], found.header, "the bytes that were hashed");
        assert_eq!(solved.hash.0, header_hash(&found.header));
        let what = format!("{:?} to {kind}", found.kind);
        assert_eq!(court.judge.submit(&solved.bytes), Verdict::Connected, "{what}");
        let block = deserialize(&solved.bytes).unwrap();
        assert_eq!(court.sandbox.submit(block, court.now()), Outcome::Connected, "{what}");
    }
}

#[test]
fn the_sandbox_refuses_what_the_engine_refuses() {
    let mut court = Court::with_coins(50);
    court.sandbox.add_transactions(5);
    let payout = script(ADDRESSES[0].1);
    for (reason, spoil) in FAULTS {
        let mut block = parse(&court.make(&payout, None));
        spoil(&mut block);
        court.refuse(reason, &serialize(&seal(block)), reason);
    }
    // A coinbase that is spent a block too soon.
    let mut block = parse(&court.make(&payout, None));
    let young = court.sandbox.hash_at(court.sandbox.height() - 98).unwrap();
    let txid = court.sandbox.block(&young).unwrap().txdata[0].compute_txid();
    block.txdata[1].input[0].previous_output = OutPoint { txid, vout: 0 };
    commit(&mut block);
    let reason = "bad-txns-premature-spend-of-coinbase";
    court.refuse("young coin", &serialize(&seal(block)), reason);

    court.connect("after all that", &payout, None);
}

#[test]
fn the_judge_is_not_fooled() {
    let mut court = Court::with_coins(5);
    let payout = script(ADDRESSES[2].1);
    // The trap: the engine answers NewBlock to this one.
    let mut block = parse(&court.make(&payout, None));
    block.txdata[0].output[0].value += Amount::from_sat(1);
    let overpaying = seal(block);
    assert_eq!(
        court.judge.submit(&serialize(&overpaying)),
        Verdict::Refused("bad-cb-amount".into())
    );
    // Once more, and on top of it.
    assert!(matches!(court.judge.submit(&serialize(&overpaying)), Verdict::Refused(_)));
    let mut child = parse(&court.make(&payout, None));
    child.header.prev_blockhash = overpaying.block_hash();
    assert_eq!(
        court.judge.submit(&serialize(&seal(child))),
        Verdict::Refused("bad-prevblk".into())
    );
    let made = court.connect("good", &payout, None);
    assert_eq!(court.judge.submit(&made.bytes), Verdict::Duplicate);
    assert_eq!(court.judge.submit(b"not a block"), Verdict::Refused("not a block".into()));
}
