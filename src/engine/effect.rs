//! What the engine wants the shell to do.

use std::net::IpAddr;
use std::sync::Arc;

use crate::block::SolvedBlock;
use crate::block::submission::BlockState;
use crate::chain::{BlockHash, Chain};
use crate::event::{EventKind, Level};
use crate::failover::{GateWhy, LeadWhy};
use crate::ids::{ConnId, NodeId, OutsideId};
use crate::job_journal::JobRecord;
use crate::node::Ask;
use crate::p2p;
use crate::peer_address::PeerAddress;
use crate::priority_queue::Urgency;
use crate::settings::{SectionChange, Values};
use crate::share::Candidate;
use crate::stratum::outbox::Output;

/// One action for the shell. Effects are carried out in their order.
#[derive(Debug)]
pub enum Effect {
    /// Ask a node. Where there is none of this id any more, nothing is asked. Where it has no place
    /// for [`Ask::Position`], [`Input::NotAsked`](super::Input::NotAsked) is handed in.
    Ask {
        /// Which node.
        node: NodeId,
        /// The call.
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
    /// Keep a connection to a node's P2P port, where the owner does not forbid it; a former one of
    /// another chain ends. What happens on it is handed in as [`Input::Peer`](super::Input::Peer).
    PeerConnect {
        /// Which node.
        node: NodeId,
        /// Its chain.
        chain: Chain,
    },
    /// An order for the connection to a node's P2P port.
    Peer {
        /// Which node.
        node: NodeId,
        /// The order.
        order: p2p::Order,
    },
    /// Keep a connection to an outside node. What happens on it is handed in as
    /// [`Input::Outside`](super::Input::Outside).
    OutsideConnect {
        /// Its name.
        id: OutsideId,
        /// Where to.
        address: PeerAddress,
        /// Its chain.
        chain: Chain,
    },
    /// An order for a connection to an outside node.
    Outside {
        /// Which one.
        id: OutsideId,
        /// The order.
        order: p2p::Order,
    },
    /// End a connection to an outside node.
    OutsideDrop(OutsideId),
    /// Ask the chain's DNS seeds for addresses, and hand them in as
    /// [`Input::Seeds`](super::Input::Seeds).
    AskSeeds(Chain),
    /// Keep these addresses of outside nodes for the next start.
    KeepAddresses {
        /// The chain of their nodes.
        chain: Chain,
        /// The addresses, the best ones first.
        list: Vec<PeerAddress>,
    },
    /// What the pool wants done. The bytes of a [`Output::Send`] are in
    /// [`Engine::bytes`](super::Engine::bytes). After [`Output::Authorized`] the shell hands in the
    /// ledger's data about the miner as [`Input::Known`](super::Input::Known). An
    /// [`Output::Block`] is written to the card and into the ledger; the calls to the nodes come
    /// before.
    Pool(Output),
    /// The answer to a miner's block, which waited until the block was on the card.
    SendHeld {
        /// To whom.
        conn: ConnId,
        /// The answer.
        bytes: Vec<u8>,
    },
    /// Store this for a restart, before the following effects are carried out.
    Remember(Vec<JobRecord>),
    /// What a restart must know of this session has changed: [`Session::handed`]. Store it before the
    /// following effects are carried out.
    ///
    /// [`Session::handed`]: crate::stratum::session::Session::handed
    SessionChanged(ConnId),
    /// The miners get new work; the [`Output::Send`]s follow.
    Work(WorkFrom),
    /// All miners were sent the new work.
    WorkSent(WorkFrom),
    /// Accept miners.
    Open,
    /// There is no valid work: refuse miners.
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
        /// Seconds by which it moved; negative is backwards.
        by: i64,
    },
    /// A node gave a new answer about a block: store it.
    Answered {
        /// Which block.
        block: BlockHash,
        /// The node's name.
        node: String,
        /// Its answer.
        words: String,
    },
    /// The state of a block changed: store it in the spool and in the ledger.
    Stands {
        /// Which block.
        block: Arc<SolvedBlock>,
        /// The new state. [`stored`](super::stored) is its stored form.
        state: BlockState,
    },
    /// This block is final: no more effects will name it.
    Final(BlockHash),
    /// Assemble the bytes of this block at low priority, and hand them in as
    /// [`Input::Assembled`](super::Input::Assembled).
    Assemble(Box<Candidate>),
    /// Save these values and apply them without disconnecting a miner.
    Apply {
        /// From where the change came.
        from: IpAddr,
        /// All that can be changed on the page.
        values: Box<Values>,
    },
    /// Save this change of a section and put it into force.
    ApplySection {
        /// From where the change came.
        from: IpAddr,
        /// The change.
        change: Box<SectionChange>,
    },
    /// Add this to the list of changes.
    Audit {
        /// From where the change came.
        from: IpAddr,
        /// A sentence.
        text: String,
    },
    /// The waiting payout address is due: hand in the values in force now, as
    /// [`Input::InForce`](super::Input::InForce).
    PayoutDue,
    /// An event for the page and the log. Notifications are made from the page's snapshot
    /// ([`crate::notify::Watch`]), not from this.
    Tell {
        /// Its kind.
        kind: EventKind,
        /// Its severity.
        level: Level,
        /// A sentence.
        text: String,
    },
}

/// What new work is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkFrom {
    /// A node's template.
    Template {
        /// Whether it builds on another tip than the previous work.
        new_tip: bool,
    },
    /// A tip alone, until its template arrives: an empty block.
    Tip,
    /// The previous template: the payout has changed.
    Settings,
}
