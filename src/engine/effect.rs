//! What the engine wants done.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use crate::block::SolvedBlock;
use crate::block::submission::BlockState;
use crate::chain::BlockHash;
use crate::difficulty::Difficulty;
use crate::event::{EventKind, Level};
use crate::failover::{GateWhy, LeadWhy};
use crate::ids::{ConnId, NodeId};
use crate::job_journal::JobRecord;
use crate::node::Ask;
use crate::priority_queue::Urgency;
use crate::reject::Reject;
use crate::settings::Values;
use crate::share::Candidate;
use crate::stratum::outbox::CloseReason;

/// One thing to be done or noted. They are carried out in their order.
#[derive(Debug)]
pub enum Effect {
    /// Ask a node. Where there is none of this id any more, nothing is asked. Where it has no place
    /// for [`Ask::Position`], [`Input::NotAsked`](super::Input::NotAsked) is handed in.
    Ask {
        /// Which.
        node: NodeId,
        /// What.
        ask: Ask,
    },
    /// Hand a solved block to a node: `submitblock`.
    Submit {
        /// To which.
        node: NodeId,
        /// The block.
        block: Arc<SolvedBlock>,
        /// Urgent while no node has it.
        urgency: Urgency,
    },
    /// Bytes for a miner: see [`Engine::bytes`](super::Engine::bytes).
    Send {
        /// To whom.
        conn: ConnId,
        /// Which of the engine's bytes.
        bytes: Range<usize>,
    },
    /// The answer to a miner's block, which waited until the block was on the card.
    SendHeld {
        /// To whom.
        conn: ConnId,
        /// The answer.
        bytes: Vec<u8>,
    },
    /// Close a miner's connection (FIN), after what was sent before.
    Close {
        /// Which.
        conn: ConnId,
        /// Why.
        why: CloseReason,
    },
    /// A miner said who it is; its session has the name. What is known of it is handed in as
    /// [`Input::Known`](super::Input::Known).
    Authorized {
        /// Its connection.
        conn: ConnId,
    },
    /// A share counted.
    Share {
        /// Whose.
        conn: ConnId,
        /// What it is worth: the difficulty of its job.
        credited: Difficulty,
        /// What its hash reached.
        reached: Difficulty,
        /// Height of the block that it was for.
        height: u32,
    },
    /// A share did not count.
    Rejected {
        /// Whose.
        conn: ConnId,
        /// Why.
        why: Reject,
        /// What its hash reached, if there was a job to hash it for.
        reached: Option<Difficulty>,
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
    /// A block was solved: write it to the card and book it. The nodes are asked before.
    Solved(Arc<SolvedBlock>),
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
    /// [`Input::Assembled`](super::Input::Assembled).
    Assemble(Box<Candidate>),
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
