//! What the engine wants done.

use std::net::IpAddr;
use std::sync::Arc;

use crate::block::SolvedBlock;
use crate::block::submission::BlockState;
use crate::chain::BlockHash;
use crate::event::{EventKind, Level};
use crate::failover::{FetchWhy, GateWhy, LeadWhy};
use crate::ids::{ConnId, NodeId};
use crate::job_journal::JobRecord;
use crate::priority_queue::Urgency;
use crate::settings::Values;
use crate::share::Candidate;
use crate::stratum::outbox::Output;

/// One thing to be done or noted. They are carried out in their order.
#[derive(Debug)]
pub enum Effect {
    /// Ask a node. Where there is none of this id any more, nothing is asked.
    Ask {
        /// Which.
        node: NodeId,
        /// What.
        ask: Ask,
    },
    /// What the pool wants done, as it wants it. The bytes of what is sent are
    /// [`Engine::bytes`](super::Engine::bytes). What is known of a miner that is authorized is handed
    /// in as [`Input::Known`](super::Input::Known); a block is written to the card and booked, the
    /// nodes are asked before.
    Pool(Output),
    /// The answer to a miner's block, which waited until the block was on the card.
    SendHeld {
        /// To whom.
        conn: ConnId,
        /// The answer.
        bytes: Vec<u8>,
    },
    /// Keep this over a restart, before what follows is sent.
    Remember(Vec<JobRecord>),
    /// The miners get new work; what is sent to them follows.
    Work(WorkFrom),
    /// All miners were sent the new work.
    WorkSent(WorkFrom),
    /// Let miners in.
    Open,
    /// There is no valid work: let no miner in.
    Shut(GateWhy),
    /// A node leads from now on: for the log.
    Lead {
        /// The new leader.
        node: NodeId,
        /// Who led before; `None` at the start.
        from: Option<NodeId>,
        /// Why.
        why: LeadWhy,
    },
    /// A clock was set: for the log.
    ClockSet {
        /// Whose; `None` is this box.
        node: Option<NodeId>,
        /// Seconds by which it moved; negative is back.
        by: i64,
    },
    /// A node said something new about a block: write it down.
    Answered {
        /// Which block.
        block: BlockHash,
        /// The node's name.
        node: String,
        /// Its words.
        words: String,
    },
    /// A block stands elsewhere now: write it down and book it.
    Stands {
        /// Which.
        block: Arc<SolvedBlock>,
        /// Where. [`stored`](super::stored) is how that is written down.
        state: BlockState,
    },
    /// Nothing will be done for this block any more.
    Final(BlockHash),
    /// Put the bytes of this block together, without haste, and hand them in as
    /// [`Input::Rehearsal`](super::Input::Rehearsal).
    Rehearse(Box<Candidate>),
    /// Save these values and put them into force, without dropping a miner.
    Apply {
        /// From where the change came.
        from: IpAddr,
        /// All that can be changed on the page.
        values: Box<Values>,
    },
    /// Write this down in the list of changes.
    Audit {
        /// From where the change came.
        from: IpAddr,
        /// A sentence.
        text: String,
    },
    /// The payout address that waits is to be put into force: hand in what is in force now, as
    /// [`Input::InForce`](super::Input::InForce).
    PayoutDue,
    /// For the page and the log. Whoever is notified hears by what the page shows
    /// ([`crate::notify::Watch`]).
    Tell {
        /// Of what kind.
        kind: EventKind,
        /// How bad.
        level: Level,
        /// A sentence.
        text: String,
    },
}

/// From what new work is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkFrom {
    /// A node's template.
    Template {
        /// It builds on another tip than the work before.
        new_tip: bool,
    },
    /// A tip alone, until its template is there: an empty block.
    Tip,
    /// The template before: the payout has changed.
    Settings,
}

/// What a node is asked.
#[derive(Clone, Debug)]
pub enum Ask {
    /// `getblocktemplate`.
    Template(FetchWhy),
    /// `getbestblockhash`.
    Tip,
    /// The tip, after a quarter of a second or as soon as it changes.
    WaitForTip,
    /// Whether it answers another call while one waits.
    TryWait,
    /// Height and median time of a tip.
    Header(BlockHash),
    /// How it is.
    Health,
    /// What it lets us do.
    Permissions,
    /// Which branches it refuses.
    ChainTips,
    /// Which blocks its best chain has at these heights.
    BlocksAt(Vec<u64>),
    /// `submitblock`.
    Submit {
        /// The block.
        block: Arc<SolvedBlock>,
        /// Urgent while no node has it.
        urgency: Urgency,
    },
    /// `preciousblock`.
    Precious(BlockHash),
    /// Where a block stands with it. Where it has no place for the question,
    /// [`Input::NotAsked`](super::Input::NotAsked) is handed in.
    Position {
        /// The block.
        block: BlockHash,
        /// Its height.
        height: u32,
    },
    /// Whether it would take a block: `getblocktemplate` with `"mode":"proposal"`.
    Propose {
        /// Hash of its header.
        block: BlockHash,
        /// Its bytes, in hex.
        hex: Arc<str>,
    },
}
