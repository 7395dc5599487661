//! A virtual node: its view of the chain, its moods, its templates as JSON, and what it checks of a
//! block before it takes it. The shell of the daemon that stands before it is here, too: which
//! calls are under way and what waits for them.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, Block, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
};
use soloist::block::SolvedBlock;
use soloist::chain::{BlockHash, Chain};
use soloist::clock::{Now, Reading};
use soloist::demo::check::{self, Due, Pow};
use soloist::node::{
    Ask, Command, HealthReport, InvalidBranch, Method, Permission, Permissions, Position, RpcError,
    TipHeader,
};
use soloist::peer_address::ListedPeer;
use soloist::template::{Template, TxCache};

use super::Micros;
use super::chain::{Blocks, View};
use super::peer::Port;
use super::rules::Refused;
use super::sim::Fault;

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Up,
    /// It has just started and asks for patience (-28).
    Warming,
    /// The process is gone: connections are refused.
    Killed,
    /// The process is stopped: connections stay, nothing is answered until it goes on.
    Hung,
    /// The cable is out: nothing arrives, and what was under way is lost.
    Cut,
}

/// A call of the daemon to a node.
#[derive(Clone, Debug)]
pub enum Call {
    Ask(Ask),
    Submit(Arc<SolvedBlock>),
}

impl Call {
    pub fn method(&self) -> Method {
        match self {
            Call::Submit(_) => Method::SubmitBlock,
            Call::Ask(ask) => ask.method(),
        }
    }
}

/// Which of the shell's lanes a question takes, the quick or the slow one.
pub fn lane(ask: &Ask) -> usize {
    match ask {
        Ask::Tip | Ask::WaitForTip | Ask::Header(_) | Ask::Health | Ask::Position { .. } => 0,
        Ask::Template(_) | Ask::TryWait | Ask::Precious(_) | Ask::Propose { .. } => 1,
        Ask::Permissions | Ask::ChainTips | Ask::BlocksAt(_) | Ask::Addresses => 1,
    }
}

/// What a node answers.
#[derive(Clone, Debug)]
pub enum Answer {
    Template(Arc<Template>),
    Tip(BlockHash),
    Waited(BlockHash, u64),
    Beside(bool),
    Header(TipHeader),
    Health(Box<HealthReport>),
    Permissions(Permissions),
    /// The branches that it has refused.
    ChainTips(Vec<InvalidBranch>),
    BlocksAt(Vec<(u64, BlockHash)>),
    Addresses(Vec<ListedPeer>),
    /// The words of `submitblock`.
    Submitted(Option<String>),
    Precious,
    Position(Position),
}

pub type Answered = Result<Answer, RpcError>;

/// A call under way.
pub struct Pending {
    pub call: Call,
    pub sent: Micros,
    /// The node was stopped before the answer was out.
    pub held: Option<Answered>,
}

/// The shell before a node, after `src/rpc/watch.rs`.
#[derive(Default)]
pub struct Shell {
    /// 0: no fetch under way, 1: one, 2: one and another wanted after it.
    pub fetch: u8,
    pub poll: bool,
    pub health: bool,
    pub header: bool,
    pub trial: bool,
    pub positions: u8,
    pub permissions: bool,
    pub chain_tips: bool,
    pub blocks_at: bool,
    pub addresses: bool,
    pub precious: bool,
    /// The lanes, the quick and the slow one: whether a call is under way, and what waits for its end.
    pub lanes: [(bool, VecDeque<Ask>); 2],
    /// Blocks that wait for the thread for blocks, the urgent ones first.
    pub blocks: [VecDeque<Arc<SolvedBlock>>; 2],
    pub submits: bool,
}

/// Whose words a node speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// Bitcoin Core: `inconclusive` for a block beside the tip, `duplicate` when it comes again.
    Core,
    /// The same with `duplicate-inconclusive` the second time.
    OldCore,
    /// bcoin: `null` for any valid block, `duplicate` for all that it has seen, had or refused. It
    /// keeps a block without its parent.
    Bcoin,
}

/// One node.
pub struct Node {
    pub words: Words,
    pub chain: Chain,
    /// Its user may not ask for headers: only its tip tells.
    pub forbids_headers: bool,
    /// It goes by the strict rules; else it takes whatever has most work.
    pub strict: bool,
    /// Our user may call `getchaintips`.
    pub tells: bool,
    /// What it has refused by its rules, as long as it remembers it: bcoin forgets it at once.
    pub refused: Vec<Refused>,
    /// The last blocks of all branches that it ever refused.
    pub ever_refused: Vec<usize>,
    /// Since when its chain has been on this side of the strict rules: without a block that breaks
    /// them, or with one.
    pub side_since: Micros,
    /// Since when it has answered and given templates, so that its rules count where they decide, and
    /// since when it has not.
    pub judges_since: Option<Micros>,
    pub away_since: Option<Micros>,
    /// Blocks that wait for their parents.
    pub orphans: Vec<usize>,
    pub mode: Mode,
    /// Counts its deaths: what a dead one had sent does not arrive.
    pub life: u32,
    /// Since when nothing has been wrong with it.
    pub well_since: Option<Micros>,
    /// Since when it has answered nothing.
    pub mute_since: Option<Micros>,
    /// Since when neither its RPC nor its ZMQ has said anything, whatever its P2P port says.
    pub unheard_since: Option<Micros>,
    /// What was under way when it came back may be lost until its deadline.
    pub was_cut: bool,
    /// Blocks of ours that it said it has.
    pub has_said: HashSet<usize>,
    pub view: View,
    pub calls: BTreeMap<u64, Pending>,
    pub shell: Shell,
    pub cache: TxCache,
    /// One way of a message, microseconds.
    pub distance: Micros,
    pub template_takes: Micros,
    pub busy_until: Micros,
    pub zmq: bool,
    /// The tip that its ZMQ told of last, and the number of the next message.
    pub announced: usize,
    /// Its threads for RPC; the calls that they serve, and those that wait for one.
    pub threads: usize,
    pub serving: BTreeSet<u64>,
    pub queue: VecDeque<u64>,
    /// By how many seconds its clock is off, as clocks are.
    pub clock_offset: i64,
    // -- faults --
    /// By how many seconds somebody set its clock wrong, and when it was set last.
    pub clock_wrong: i64,
    pub clock_since: Micros,
    /// Blocks of ours that were too new for it.
    pub too_new: HashSet<usize>,
    /// Blocks of ours whose parent it lacked.
    pub lacked_parent: HashSet<usize>,
    pub zmq_off: bool,
    pub lag_until: Micros,
    /// While it lags, it does not even hear of new blocks.
    pub is_alone: bool,
    pub template_error: Option<RpcError>,
    /// RPC alone does not work.
    pub rpc_out: Option<Fault>,
    /// Since when nothing comes from its P2P port although connections stay: it is stopped, or the cable
    /// is out.
    pub quiet_since: Option<Micros>,
    pub port: Port,
    /// Our user may not call `submitblock`.
    pub forbids: bool,
    pub slow: Micros,
    pub bits: u32,
}

/// What is in everybody's mempool now, and what was in it before.
#[derive(Default)]
pub struct Mempool {
    made: Vec<Arc<(Transaction, String)>>,
    places: BTreeMap<Txid, u64>,
}

impl Mempool {
    /// A new transaction now and then; blocks take none out, for nobody spends here.
    pub fn version(now: Micros) -> u64 {
        now / 17_000_000
    }

    fn content(&mut self, version: u64) -> Vec<Arc<(Transaction, String)>> {
        let (first, count) = (version as usize, version as usize % 7);
        while self.made.len() < first + count {
            let n = self.made.len() as u64;
            let tx = transaction(n);
            self.places.insert(tx.compute_txid(), n);
            let hex = faster_hex::hex_string(&bitcoin::consensus::serialize(&tx));
            self.made.push(Arc::new((tx, hex)));
        }
        self.made[first..first + count].to_vec()
    }

    fn fee(&self, txid: &Txid) -> Option<u64> {
        self.places.get(txid).map(|n| fee(*n))
    }
}

fn fee(n: u64) -> u64 {
    1000 + n % 977
}

fn transaction(n: u64) -> Transaction {
    let mut funding = [3; 32];
    funding[..8].copy_from_slice(&n.to_le_bytes());
    let input = TxIn {
        previous_output: OutPoint { txid: Txid::from_byte_array(funding), vout: 0 },
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::from_slice(&[vec![1; 3 + n as usize % 40]]),
    };
    let output = TxOut { value: Amount::from_sat(n), script_pubkey: vec![0x51].into() };
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![input],
        output: vec![output],
    }
}

impl Node {
    pub fn is_up(&self) -> bool {
        self.mode == Mode::Up
    }

    /// Nothing is wrong with it that would keep it from giving work and from taking blocks.
    pub fn is_well(&self) -> bool {
        let works = self.template_error.is_none() && self.slow == 0 && !self.forbids;
        self.answers() && works && !self.is_hours_off()
    }

    /// RPC answers.
    pub fn answers(&self) -> bool {
        self.is_up() && self.rpc_out.is_none()
    }

    /// RPC takes calls and says nothing.
    pub fn is_stuck(&self) -> bool {
        self.mode == Mode::Hung || self.rpc_out == Some(Fault::RpcHung)
    }

    /// What RPC says to each call while it does not work; nothing when it hangs.
    pub fn rpc_error(&self) -> Option<RpcError> {
        match self.rpc_out? {
            Fault::RpcForbidden => Some(RpcError::ForbiddenAddress { ours: None }),
            Fault::RpcBusy => Some(RpcError::QueueFull),
            Fault::RpcBroken => Some(RpcError::Http(500)),
            Fault::RpcRefused => Some(RpcError::Refused),
            _ => None,
        }
    }

    /// Its clock, Unix seconds.
    pub fn clock(&self, unix: u64) -> u64 {
        unix.saturating_add_signed(self.clock_offset + self.clock_wrong)
    }

    /// Others refuse the blocks made from its templates, or it refuses theirs.
    pub fn is_hours_off(&self) -> bool {
        self.clock_wrong.unsigned_abs() > MAX_FUTURE
    }

    /// A template, by way of its JSON.
    pub fn template(
        &mut self,
        blocks: &Blocks,
        mempool: &mut Mempool,
        now: Micros,
        unix: u64,
    ) -> Template {
        let tip = blocks.get(self.view.tip);
        let txs = mempool.content(Mempool::version(now));
        let mintime = u64::from(blocks.median_time(self.view.tip)) + 1;
        let value = subsidy(self.chain, tip.height + 1)
            + txs.iter().filter_map(|tx| mempool.fee(&tx.0.compute_txid())).sum::<u64>();
        let list: Vec<String> = txs
            .iter()
            .map(|tx| {
                let (txid, wtxid) = (tx.0.compute_txid(), tx.0.compute_wtxid());
                let fee = mempool.fee(&txid).unwrap_or(0);
                let data = &tx.1;
                format!(
                    r#"{{"data":"{data}","txid":"{txid}","hash":"{wtxid}","depends":[],"fee":{fee},"sigops":0,"weight":400}}"#
                )
            })
            .collect();
        let json = format!(
            r#"{{"capabilities":["proposal"],"version":536870912,"rules":["csv","!segwit","taproot"],
            "vbavailable":{{}},"vbrequired":0,"previousblockhash":"{}","transactions":[{}],
            "coinbaseaux":{{}},"coinbasevalue":{value},"mintime":{mintime},
            "mutable":["time","transactions","prevblock"],"curtime":{},"bits":"{:08x}","height":{}}}"#,
            tip.hash,
            list.join(","),
            self.clock(unix).max(mintime),
            self.bits,
            tip.height + 1,
        );
        Template::parse(json.as_bytes(), &mut self.cache).expect("an honest template")
    }

    pub fn report(&self, blocks: &Blocks, best_header: u32, now: Now) -> HealthReport {
        let tip = blocks.get(self.view.tip);
        let mut chainwork = [0; 32];
        chainwork[24..].copy_from_slice(&(u64::from(tip.height) * 1000).to_be_bytes());
        HealthReport {
            chain: self.chain.name().into(),
            genesis: Some(self.chain.genesis()),
            blocks: u64::from(tip.height),
            headers: u64::from(tip.height.max(best_header)),
            best: tip.hash,
            chainwork,
            initial_download: false,
            progress: 1.0,
            tip_time: u64::from(tip.time),
            connections: Some(8),
            local_relay: Some(true),
            clock: Some(Reading { unix: self.clock(now.unix), at: now.mono }),
            version: Some("/Virtual:1.0.0/".into()),
            warnings: String::new(),
            facts: Default::default(),
        }
    }

    /// What it says when it is asked what we may call.
    pub fn permissions(&self) -> Permissions {
        let mut all = Permissions::all("anna");
        if self.forbids {
            all.set(Command::SubmitBlock, Permission::Forbidden);
        }
        if !self.tells {
            all.set(Command::GetChainTips, Permission::Forbidden);
        }
        all
    }

    /// `submitblock`: the words, and the place of the block if the node has it now.
    pub fn submit(
        &mut self,
        blocks: &Blocks,
        mempool: &Mempool,
        block: &SolvedBlock,
        unix: u64,
    ) -> Result<usize, String> {
        let place = blocks.find(block.hash).expect("blocks are booked when they are solved");
        if self.view.knows(place) {
            return Err(match self.words {
                Words::OldCore if !self.view.connected(place) => "duplicate-inconclusive",
                Words::Core | Words::OldCore => "duplicate",
                Words::Bcoin => "rejected: duplicate",
            }
            .into());
        }
        if self.orphans.contains(&place) {
            return Err("rejected: duplicate".into());
        }
        let decoded: Block =
            bitcoin::consensus::deserialize(&block.bytes).map_err(|error| error.to_string())?;
        if decoded.block_hash().to_byte_array() != block.hash.0 {
            return Err("not the block that was announced".into());
        }
        let refused = |refusal: check::Refusal| refusal.to_string();
        check::block_alone(&decoded, Pow::Required).map_err(refused)?;
        let parent = BlockHash(decoded.header.prev_blockhash.to_byte_array());
        let Some(parent) = blocks.find(parent).filter(|parent| self.view.knows(*parent)) else {
            if self.words == Words::Bcoin {
                self.orphans.push(place);
                return Err("rejected: bad-prevblk".into());
            }
            // Bitcoin Core keeps what it has refused, and takes no header on top of it.
            let is_refused = self.has_refused(blocks, blocks.get(place).parent);
            return Err(if is_refused { "bad-prevblk" } else { "prev-blk-not-found" }.into());
        };
        let height = blocks.get(parent).height + 1;
        let due = Due { bits: self.bits, median_time: blocks.median_time(parent), height };
        check::header_in_place(&decoded.header, due, self.clock(unix)).map_err(refused)?;
        check::block_in_place(&decoded, due).map_err(refused)?;
        let fees: Option<u64> =
            decoded.txdata[1..].iter().map(|tx| mempool.fee(&tx.compute_txid())).sum();
        let fees = fees.ok_or("bad-txns-inputs-missingorspent")?;
        let taken: Amount = decoded.txdata[0].output.iter().map(|output| output.value).sum();
        if taken.to_sat() > subsidy(self.chain, height) + fees {
            return Err("bad-cb-amount".into());
        }
        if height != block.height {
            return Err("another height than announced".into());
        }
        Ok(place)
    }

    pub fn header(&self, blocks: &Blocks, hash: BlockHash) -> Option<TipHeader> {
        let place = blocks.find(hash).filter(|place| self.view.knows(*place))?;
        let height = u64::from(blocks.get(place).height);
        Some(TipHeader { height, median_time: blocks.median_time(place) })
    }

    /// A block that waited for its parent, which has come. One that is too new is forgotten: it may
    /// come again.
    pub fn adopt(&mut self, blocks: &Blocks, unix: u64) -> Option<usize> {
        let clock = self.clock(unix);
        loop {
            let ready = |place: &usize| self.view.knows(blocks.get(*place).parent);
            let at = self.orphans.iter().position(ready)?;
            let place = self.orphans.swap_remove(at);
            if !is_too_new(blocks.get(place), clock) {
                return Some(place);
            }
        }
    }

    /// What it shows of a block.
    pub fn position(&self, blocks: &Blocks, hash: BlockHash) -> Position {
        let tip = blocks.get(self.view.tip);
        let place = blocks.find(hash).filter(|place| self.view.knows(*place));
        if self.forbids_headers {
            let confirmations = Some(1);
            let is_tip = tip.hash == hash;
            return if is_tip { Position::InChain { confirmations } } else { Position::Untold };
        }
        let Some(place) = place else { return Position::Missing };
        let height = blocks.get(place).height;
        let confirmations = (tip.height + 1).saturating_sub(height);
        match self.view.is_in_chain(blocks, place) {
            true => Position::InChain { confirmations: Some(confirmations) },
            false => Position::Outside { rival: confirmations },
        }
    }
}

/// By how many seconds a block's time may be ahead of a node's clock.
pub const MAX_FUTURE: u64 = 2 * 3600;

/// A node whose clock shows this refuses the block, and takes it later.
pub fn is_too_new(block: &super::chain::Block, clock: u64) -> bool {
    u64::from(block.time) > clock + MAX_FUTURE
}

/// What a block creates; nothing after so many halvings.
fn subsidy(chain: Chain, height: u32) -> u64 {
    let interval = if chain == Chain::Regtest { 150 } else { 210_000 };
    (50 * 100_000_000_u64).checked_shr(height / interval).unwrap_or(0)
}
