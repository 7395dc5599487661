//! Two things for the tests: [`Judge`], Bitcoin Core's consensus engine with a regtest chain of
//! its own, and [`Maker`], which makes blocks by the very path that the daemon goes, from the
//! text of `getblocktemplate` to the bytes for `submitblock`.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bitcoin::hashes::{Hash, sha256d};
use bitcoinkernel::prelude::*;
use bitcoinkernel::{
    Block, BlockValidationStateRef, ChainType, ChainstateManager, Context, ContextBuilder, Log,
    LogCategory, LogLevel, Logger, ProcessBlockResult, ValidationMode,
};
use soloist::block;
use soloist::clock::Now;
use soloist::coinbase::EXTRANONCE_SIZE;
use soloist::ids::NodeId;
use soloist::job::{Job, Jobs, Work};
use soloist::share::{RolledVersion, Share, Submission};
use soloist::template::{Template, TxCache};

/// Bitcoin Core's consensus engine on a fresh regtest chain.
///
/// Unless it is kept in a directory, its databases live in memory and its block files in a
/// temporary one. Only one exists at a
/// time, because the engine's log, from which reasons are read, is one for the whole process.
pub struct Judge {
    engine: ChainstateManager,
    _context: Context,
    verdicts: Arc<Mutex<Verdicts>>,
    _directory: Option<tempfile::TempDir>,
    _alone: MutexGuard<'static, ()>,
}

/// Hashes of checked blocks, and what the check found.
type Verdicts = Vec<([u8; 32], ValidationMode)>;

/// What the engine made of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Checked, found valid, and the tip of the chain.
    Connected,
    /// The engine has it already.
    Duplicate,
    /// Refused, with the engine's reason.
    Refused(String),
    /// Valid, but not the tip.
    Aside,
}

impl Judge {
    /// A chain of the genesis block alone. Waits until no other judge exists.
    pub fn new() -> Judge {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut judge = Judge::open(directory.path(), true);
        judge._directory = Some(directory);
        judge
    }

    /// The chain that is kept in a directory, or a new one there. Dropping the judge saves it.
    pub fn at(directory: &Path) -> Judge {
        Judge::open(directory, false)
    }

    fn open(directory: &Path, in_memory: bool) -> Judge {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = lock(&ALONE);
        listen();
        let verdicts = Arc::new(Mutex::new(Verdicts::new()));
        let record = verdicts.clone();
        let context = ContextBuilder::new()
            .chain_type(ChainType::Regtest)
            .with_block_checked_validation(
                move |block: Block, state: BlockValidationStateRef<'_>| {
                    lock(&record).push((block.hash().to_bytes(), state.mode()));
                },
            )
            .build()
            .expect("the engine starts");
        let data = directory.to_str().expect("its name is text");
        let blocks = format!("{data}/blocks");
        let engine = ChainstateManager::builder(&context, data, &blocks)
            .expect("the directory is usable")
            .worker_threads(0)
            .block_tree_db_in_memory(in_memory)
            .chainstate_db_in_memory(in_memory)
            .build()
            .expect("the chain starts");
        engine.import_blocks().expect("the genesis block is activated");
        Judge { engine, _context: context, verdicts, _directory: None, _alone: alone }
    }

    /// Hands a serialised block to the engine.
    ///
    /// `process_block` says `NewBlock` of every block that was worth storing, also of one that
    /// overpays and is refused a moment later. So two other witnesses are heard: the verdict of
    /// the check itself, and the tip.
    pub fn submit(&self, bytes: &[u8]) -> Verdict {
        let Ok(block) = Block::new(bytes) else { return Verdict::Refused("not a block".into()) };
        let hash = block.hash().to_bytes();
        lock(&self.verdicts).clear();
        lock(log()).clear();
        let result = self.engine.process_block(&block);
        if result == ProcessBlockResult::Duplicate {
            return Verdict::Duplicate;
        }
        let verdict = lock(&self.verdicts).iter().find(|(of, _)| *of == hash).map(|(_, v)| *v);
        match (result, verdict) {
            (ProcessBlockResult::NewBlock, Some(ValidationMode::Valid)) => {
                assert_eq!(self.tip(), hash, "valid and on a longer chain, yet not the tip");
                Verdict::Connected
            }
            (ProcessBlockResult::NewBlock, None) => Verdict::Aside,
            _ => {
                assert_ne!(self.tip(), hash, "refused, and yet the tip");
                Verdict::Refused(reason().unwrap_or_else(|| format!("{result:?} {verdict:?}")))
            }
        }
    }

    /// Hash of the tip, in internal byte order.
    pub fn tip(&self) -> [u8; 32] {
        self.engine.active_chain().tip().block_hash().to_bytes()
    }

    /// Height of the tip.
    pub fn height(&self) -> u32 {
        self.engine.active_chain().height() as u32
    }
}

impl Default for Judge {
    fn default() -> Judge {
        Judge::new()
    }
}

/// Makes blocks with the daemon's cores.
pub struct Maker {
    jobs: Jobs,
    cache: TxCache,
    started: Instant,
    extranonce: u64,
}

/// What the daemon would hand to its nodes, and what it was made from.
pub struct Made {
    /// The serialised block.
    pub bytes: Vec<u8>,
    /// Its parts, to make faulty blocks from.
    pub job: Job,
    /// The submission of the miner that solved it.
    pub submission: Submission,
    /// The share as it was proved.
    pub share: Share,
}

impl Default for Maker {
    fn default() -> Maker {
        Maker {
            jobs: Jobs::new(0x1234),
            cache: TxCache::default(),
            started: Instant::now(),
            extranonce: 0,
        }
    }
}

impl Maker {
    /// From a node's answer to `getblocktemplate` to a job, as the daemon does it.
    pub fn job(&mut self, template: &str, payout: &[u8], tag: &str) -> Job {
        let template = Template::parse(template.as_bytes(), &mut self.cache)
            .expect("the node's template is read");
        let work = Work::new(Arc::new(template), NodeId(0), self.started, false, payout, tag);
        // Time stands still: what the header says is the template's own time.
        let now = Now { mono: self.started, unix: 0 };
        self.jobs.set_work(now, work);
        self.jobs.issue(now).expect("there is work").clone()
    }

    /// Does the miner's part: tries nonces until a share solves the block, then puts the block
    /// together as the daemon does.
    pub fn solve(&mut self, job: Job, version_bits: Option<u32>) -> Made {
        self.extranonce += 1;
        let mut extranonce = [0xe7; EXTRANONCE_SIZE];
        extranonce[4..].copy_from_slice(&self.extranonce.to_be_bytes());
        let version = RolledVersion::Bits(version_bits.unwrap_or(0));
        let mut submission =
            Submission { job: job.id, extranonce, ntime: job.ntime, nonce: 0, version };
        loop {
            let share = Share::prove(&job, &submission);
            if share.solves {
                return made(job, submission, share);
            }
            submission.nonce += 1;
        }
    }
}

/// Puts the block together as the daemon does on a solved share.
fn made(job: Job, submission: Submission, share: Share) -> Made {
    let coinbase = job.work.coinbase.in_block(&submission.extranonce);
    let bytes = block::assemble(&share.header, &coinbase, &job.work.template.txs);
    Made { bytes, job, submission, share }
}

/// Hash of a header.
pub fn header_hash(header: &[u8]) -> [u8; 32] {
    sha256d::Hash::hash(header).to_byte_array()
}

/// What the engine said since the last block was handed in.
fn log() -> &'static Mutex<Vec<String>> {
    static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());
    &LOG
}

fn listen() {
    struct Ear;
    impl Log for Ear {
        fn log(&self, message: &str) {
            if message.contains("FAILED") || message.contains("failed") {
                lock(log()).push(message.trim_end().to_owned());
            }
        }
    }
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let logger = Logger::new(Ear).expect("the engine's log can be heard");
        logger.set_level_category(LogCategory::All, LogLevel::Info);
        // It listens as long as the process lives.
        std::mem::forget(logger);
    });
}

/// The reason in `… AcceptBlock FAILED (reason, more)` or `ConnectBlock … failed, reason, more`.
fn reason() -> Option<String> {
    let lines = lock(log());
    lines.iter().find_map(|line| {
        let said = match line.split_once("AcceptBlock FAILED (") {
            Some((_, said)) => said.strip_suffix(')')?,
            None => line.split_once("ConnectBlock ")?.1.split_once(" failed, ")?.1,
        };
        Some(said.split(", ").next().unwrap_or(said).to_owned())
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long something took, for the record.
pub fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    let took: Duration = started.elapsed();
    println!("{what}: {:.1} s", took.as_secs_f64());
    result
}
