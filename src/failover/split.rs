//! Nodes with different rules: distinguishes a node that refuses a block from a node that lags.
//!
//! Both answer well and have less work than another node. `getchaintips` shows the difference, and
//! a refused block counts only if the other node's best chain has it:
//!
//! ```text
//!            it lags, its patience is over              no branch is refused
//!    REST ─────────────────────────────────► ASKED ─────────────────────────────► LAGS
//!     ▲                                        │                                   ▲ │ again after
//!     │ nobody has more work                   │ branches that it refuses          │ │ REPEAT, or on
//!     │                                        ▼                                   │ │ another tip
//!     └──────────────── ◄─────────────── LOOKED UP at the other node ──────────────┘ ▼
//!                                              │        none is in its chain       ASKED
//!                                              │ one is in its best chain
//!                                              ▼
//!                                           REFUSES   on the other's next tip: LOOKED UP again
//! ```
//!
//! `getchaintips` makes a node go through all blocks that it knows. So only a node that lags is
//! asked, once for each tip that it lags behind.
//!
//! **With [`Follow::Work`]** such a node is treated like one that lags, and is shown with another
//! reason. **With [`Follow::First`]** the first node's rules decide while it answers:
//!
//! - A tip of another node is followed when the first node has it, when it has no more work than
//!   the first node's and the first has refused no tip that this node had, or when the first node
//!   has said that it does not refuse it (`Failover::permits`). Until then the miners stay on the
//!   first node's tip: the others may be ahead only for a moment, which is no reason to change the
//!   rules.
//! - A node on a refused branch does not lead, and the others are not measured by it
//!   ([`Standing::Refused`](super::Standing::Refused)); so the first node is not behind it.
//! - Work on a refused branch sets no minimum: the first node's template replaces it, although its
//!   chain has less work (`Failover::floor`).
//! - The first node decides as long as it answers and gives templates. If it is down, silent or
//!   waiting, or if three templates in a row failed, the most work decides as with `Work`: miners
//!   never idle while any node lives.
//! - A first node that cannot be asked (`getchaintips` may be forbidden) refuses nothing that we
//!   know of: work by other rules is better than work on a dead tip. A known refusal stays: neither
//!   a question that fails nor one about another node's chain cancels it.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::breaker::FAILURES_TO_OPEN;
use super::io::{Event, Output};
use super::node::{Node, Standing};
use super::policy::Alarm;
use super::{FOLLOW, Failover, LAG_MANY};
use crate::chain::BlockHash;
use crate::ids::NodeId;
use crate::node::{Ask, InvalidBranch, Method, RpcError};

/// Deadline of `getchaintips`, for the shell.
pub const CHAIN_TIPS_DEADLINE: Duration = Duration::from_secs(15);
/// Deadline of the look-up of a few blocks, for the shell.
pub const BLOCKS_DEADLINE: Duration = Duration::from_secs(10);
/// A node that lags is asked again about the same tip after this time: it may have been taking in
/// the block when it was asked.
pub const REPEAT: Duration = Duration::from_secs(60);
/// One that is known to refuse a block is asked again after this time: its owner may have thought
/// otherwise.
pub const REPEAT_KNOWN: Duration = Duration::from_secs(600);
/// A look-up that failed is repeated after this time, at another node if there is one …
const LOOKUP_PAUSE: Duration = Duration::from_secs(1);
/// … and so many times in a row.
const LOOKUPS: u32 = 3;
/// One node is asked for its chain tips at most once in this time.
pub const CHAIN_TIPS_GAP: Duration = Duration::from_secs(5);
/// Tips whose verdict by the first node is remembered.
const RULINGS_KEPT: usize = 16;

/// Which chain is followed when the nodes do not agree on the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Follow {
    /// The one with most work.
    #[default]
    Work,
    /// The first node's, while it answers.
    First,
}

/// A node has refused a block that another follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispute {
    /// Height of the block from which on they differ.
    pub height: u64,
    /// That block, in the chain of the one that follows it.
    pub block: BlockHash,
    /// It is that block that was refused; else it or one soon after it.
    pub exact: bool,
    /// Name of the node that refused it.
    pub refuser: String,
    /// Name of the node that follows it.
    pub follower: String,
    /// Since when we have known.
    pub since: Instant,
}

impl Dispute {
    /// The block in words: `block 850001 (…4fa1c2d3e4f5)`. The first digits of all hashes are alike.
    pub fn words(&self) -> String {
        let hash = self.block.to_string();
        let end = hash.get(hash.len().saturating_sub(12)..).unwrap_or_default();
        match self.exact {
            true => format!("block {} (…{end})", self.height),
            false => format!("block {} (…{end}) or one soon after it", self.height),
        }
    }
}

/// How far a node that lags has been asked why.
#[derive(Debug, Default)]
pub(super) struct Inquiry {
    /// The node and its tip that the question is about.
    about: Option<(NodeId, BlockHash)>,
    /// When `getchaintips` was sent, as long as it is unanswered.
    pub sent: Option<Instant>,
    /// When it was sent last.
    last: Option<Instant>,
    /// Branches to be looked up at the other node.
    suspects: Vec<InvalidBranch>,
    /// The suspect is what is known already; else it is what `getchaintips` said.
    is_known: bool,
    /// Look-ups that failed in a row, at which node last, and when the next is due.
    failed: u32,
    avoid: Option<NodeId>,
    lookup_after: Option<Instant>,
    outcome: Outcome,
    /// What it refuses of another's chain.
    pub dispute: Option<Dispute>,
    /// The branch by which it is known, and who follows it.
    branch: Option<(InvalidBranch, NodeId)>,
    /// The refused block that was told of last, and since when it is known. It outlives `dispute`:
    /// asked about a third node's chain, the node refuses nothing, and goes on refusing that block.
    told: Option<(BlockHash, Instant)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Outcome {
    /// Not known.
    #[default]
    Open,
    /// It refuses nothing of the other's chain.
    Lags,
    /// It refuses some of it.
    Refuses,
    /// It cannot be asked; in words.
    Silent(String),
}

/// Blocks that a node is asked for, for the sake of another's inquiry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lookup {
    pub sent: Instant,
    asker: NodeId,
}

/// What the first node said of tips of others; `None`: it does not refuse it.
#[derive(Debug, Default)]
pub(super) struct Rulings {
    by: Option<NodeId>,
    tips: VecDeque<(BlockHash, Option<Dispute>)>,
}

impl Rulings {
    /// The first node has refused a tip that this node had.
    fn blame(&self, node: &Node) -> bool {
        self.tips.iter().any(|(tip, ruling)| ruling.is_some() && node.has_held(*tip))
    }

    fn get(&self, tip: BlockHash) -> Option<&Option<Dispute>> {
        self.tips.iter().rev().find(|(known, _)| *known == tip).map(|(_, ruling)| ruling)
    }

    fn put(&mut self, by: NodeId, tip: BlockHash, ruling: Option<Dispute>) {
        self.of(by);
        self.tips.retain(|(known, _)| *known != tip);
        if self.tips.len() == RULINGS_KEPT {
            self.tips.pop_front();
        }
        self.tips.push_back((tip, ruling));
    }

    /// Another first node has rules of its own.
    fn of(&mut self, first: NodeId) {
        if self.by != Some(first) {
            *self = Rulings { by: Some(first), tips: VecDeque::new() };
        }
    }
}

/// The first node's word on a tip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// It does not refuse it, or its word does not count now.
    Takes,
    /// It has not said it.
    Open,
    /// It refuses it.
    Refuses,
}

impl Failover {
    // -- whose rules decide --

    /// The first node, where its rules decide now. It does while it answers and gives templates.
    fn judge(&self) -> Option<&Node> {
        let first = self.nodes.first().filter(|_| self.follow == Follow::First)?;
        (first.is_heard() && first.template_failures < FAILURES_TO_OPEN).then_some(first)
    }

    /// The first node's rules should decide, and cannot: it is away.
    pub fn judge_is_away(&self) -> bool {
        self.follow == Follow::First && self.nodes.len() > 1 && self.judge().is_none()
    }

    /// The first node's templates failed, so that it does not decide: whether they still do is to be
    /// tried, also when the failures are from before it was down.
    pub(super) fn must_prove_itself(&self, index: usize) -> bool {
        let failures = self.nodes[index].template_failures;
        index == 0 && self.follow == Follow::First && failures >= FAILURES_TO_OPEN
    }

    fn word(&self, tip: BlockHash) -> Word {
        let Some(judge) = self.judge() else { return Word::Takes };
        if judge.tip == Some(tip) {
            return Word::Takes;
        }
        match self.rulings.get(tip).filter(|_| self.rulings.by == Some(judge.spec.id)) {
            Some(Some(_)) => return Word::Refuses,
            Some(None) => return Word::Takes,
            None => {}
        }
        let order = judge.tip.and_then(|own| self.tips.compare(tip, own));
        // A node that lags for another reason has no opinion on what it does not know yet; but that
        // it lags behind one node says nothing of another, of which it has refused a block.
        let is_suspect = || {
            let mut holders = self.nodes.iter().filter(|node| node.tip == Some(tip));
            self.rulings.by == Some(judge.spec.id) && holders.any(|node| self.rulings.blame(node))
        };
        let lags = judge.behind.is_some()
            && matches!(judge.inquiry.outcome, Outcome::Lags | Outcome::Silent(_))
            && !is_suspect();
        match order {
            Some(Ordering::Less) => Word::Takes,
            // The first node does not try a block that has no more work than its own, and cannot say
            // that it refuses it.
            Some(Ordering::Equal) if is_suspect() => Word::Open,
            Some(Ordering::Equal) => Word::Takes,
            Some(Ordering::Greater) | None if lags => Word::Takes,
            Some(Ordering::Greater) | None => Word::Open,
        }
    }

    /// The node may be followed to this tip: it is the first, or the first does not object.
    pub(super) fn permits(&self, index: usize, tip: BlockHash) -> bool {
        index == 0 || self.word(tip) == Word::Takes
    }

    /// The first node refuses this tip.
    pub(super) fn is_refused(&self, tip: BlockHash) -> bool {
        self.word(tip) == Word::Refuses
    }

    /// Why the node must not be followed. What is known of its last tip holds until the first node
    /// has spoken of the next.
    pub(super) fn refused(&self, index: usize) -> Option<Dispute> {
        let node = &self.nodes[index];
        let tip = node.tip.filter(|_| index > 0)?;
        match (self.word(tip), &node.standing) {
            (Word::Refuses, _) => self.rulings.get(tip)?.clone(),
            (Word::Open, Standing::Refused(dispute)) => Some(dispute.clone()),
            _ => None,
        }
    }

    // -- what the nodes are asked --

    /// Asks nodes that lag whether they refuse what they lack.
    pub(super) fn inquiries(&mut self, at: Instant, alarm: &mut Alarm, out: &mut Vec<Output>) {
        if let Some(first) = self.nodes.first() {
            self.rulings.of(first.spec.id);
        }
        for index in 0..self.nodes.len() {
            self.close_dispute(index, out);
            match self.better(at, index, alarm) {
                Some((other, tip)) => self.inquire(at, index, other, tip, alarm, out),
                // Not known yet: the height of a new tip comes with the next report.
                None if self.nodes[index].behind.is_some() => {}
                None => {
                    let inquiry = &mut self.nodes[index].inquiry;
                    inquiry.about = None;
                    inquiry.suspects.clear();
                    if inquiry.outcome != Outcome::Refuses {
                        inquiry.outcome = Outcome::Open;
                    }
                }
            }
        }
    }

    /// The node and its tip that another lags behind, for longer than news need to travel: the one
    /// with most work, and of these the first that the question is still open about.
    fn better(&self, at: Instant, index: usize, alarm: &mut Alarm) -> Option<(usize, BlockHash)> {
        let node = &self.nodes[index];
        let own = node.tip.filter(|_| node.is_heard())?;
        let mut best: Option<(usize, BlockHash)> = None;
        for (other, holder) in self.nodes.iter().enumerate() {
            let Some(tip) = holder.tip.filter(|_| other != index && holder.is_heard()) else {
                continue;
            };
            if self.tips.compare(own, tip) != Some(Ordering::Less) {
                continue;
            }
            let height = |tip| self.tips.height(tip).unwrap_or(0);
            let patience =
                if height(tip).saturating_sub(height(own)) >= 2 { LAG_MANY } else { FOLLOW };
            let first = self.tips.first(tip).unwrap_or(at);
            // Who lags already is asked at once about the next tip.
            if node.inquiry.about.is_none() && !alarm.due(first + patience) {
                continue;
            }
            // Whoever could not be asked comes last.
            let is_apt = |other: usize| node.inquiry.avoid != Some(self.nodes[other].spec.id);
            let is_open = |tip| index > 0 || !matches!(self.rulings.get(tip), Some(Some(_)));
            let beats = best.is_none_or(|(before, known)| {
                match is_open(tip).cmp(&is_open(known)).then(is_apt(other).cmp(&is_apt(before))) {
                    Ordering::Equal => self.tips.compare(tip, known) == Some(Ordering::Greater),
                    order => order == Ordering::Greater,
                }
            });
            if beats {
                best = Some((other, tip));
            }
        }
        best
    }

    fn inquire(
        &mut self,
        at: Instant,
        index: usize,
        other: usize,
        tip: BlockHash,
        alarm: &mut Alarm,
        out: &mut Vec<Output>,
    ) {
        let about = (self.nodes[other].spec.id, tip);
        let node = &mut self.nodes[index];
        let (id, inquiry) = (node.spec.id, &mut node.inquiry);
        if inquiry.sent.is_some() {
            return;
        }
        if inquiry.suspects.is_empty() {
            let is_new = inquiry.about != Some(about);
            let is_known = inquiry.outcome == Outcome::Refuses && is_new;
            let again = match inquiry.outcome {
                Outcome::Open => true,
                Outcome::Refuses => {
                    is_new || inquiry.last.is_none_or(|last| alarm.due(last + REPEAT_KNOWN))
                }
                Outcome::Lags | Outcome::Silent(_) => {
                    is_new || inquiry.last.is_none_or(|last| alarm.due(last + REPEAT))
                }
            };
            if !again {
                return;
            }
            match inquiry.branch.filter(|_| is_known) {
                // A known refusal: whether the other's next tip has it is its own to say.
                Some((branch, _)) => inquiry.suspects.push(branch),
                None if inquiry.last.is_none_or(|last| alarm.due(last + CHAIN_TIPS_GAP)) => {
                    inquiry.sent = Some(at);
                    inquiry.last = Some(at);
                    out.push(Output::Ask { node: id, ask: Ask::ChainTips });
                }
                None => return,
            }
            inquiry.is_known = is_known;
            inquiry.about = Some(about);
        }
        let inquiry = &mut self.nodes[index].inquiry;
        inquiry.about.get_or_insert(about);
        let is_due = inquiry.lookup_after.is_none_or(|after| alarm.due(after));
        if !inquiry.suspects.is_empty() && is_due {
            self.look_up(at, index, out);
        }
    }

    /// Asks the other node whether its best chain has what this one refuses.
    fn look_up(&mut self, at: Instant, index: usize, out: &mut Vec<Output>) {
        let node = &self.nodes[index];
        let Some((other, tip)) = node.inquiry.about else { return };
        let asker = node.spec.id;
        let suspects = &node.inquiry.suspects;
        let mut heights: Vec<u64> = suspects.iter().flat_map(|b| [b.height, b.first()]).collect();
        heights.extend(self.tips.height(tip));
        heights.extend(self.work.and_then(|work| self.tips.height(work.prev)));
        heights.sort_unstable();
        heights.dedup();
        let other = self.index(other).filter(|other| self.nodes[*other].is_heard());
        let Some(other) = other.map(|other| &mut self.nodes[other]) else {
            self.nodes[index].inquiry.start_again();
            return;
        };
        if other.lookup.is_none() {
            other.lookup = Some(Lookup { sent: at, asker });
            out.push(Output::Ask { node: other.spec.id, ask: Ask::BlocksAt(heights) });
        }
    }

    // -- what they answer --

    /// The branches that a node has refused.
    pub(super) fn hear_refused(&mut self, index: usize, refused: Vec<InvalidBranch>) {
        let own = self.nodes[index].tip.and_then(|tip| self.tips.height(tip));
        let inquiry = &mut self.nodes[index].inquiry;
        if inquiry.sent.take().is_none() || inquiry.about.is_none() {
            return;
        }
        // It begins beside the node's own chain; a node that is behind by blocks that it is just
        // taking in has nothing of the kind.
        inquiry.suspects = refused;
        inquiry
            .suspects
            .retain(|branch| own.is_none_or(|own| branch.first() <= own.saturating_add(1)));
        if inquiry.suspects.is_empty() {
            self.conclude(index, None);
        }
    }

    /// Blocks of a node's best chain, for the sake of another's inquiry.
    pub(super) fn hear_blocks(
        &mut self,
        at: Instant,
        index: usize,
        blocks: &[(u64, BlockHash)],
        out: &mut Vec<Output>,
    ) {
        let follower = (self.nodes[index].spec.id, self.nodes[index].spec.name.clone());
        let Some(lookup) = self.nodes[index].lookup.take() else { return };
        let Some(asker) = self.index(lookup.asker) else { return };
        let there = |height| blocks.iter().find(|(at, _)| *at == height).map(|(_, hash)| *hash);
        let node = &self.nodes[asker];
        let Some((_, tip)) = node.inquiry.about.filter(|(other, _)| *other == follower.0) else {
            return;
        };
        if self.tips.height(tip).is_some_and(|height| there(height) != Some(tip)) {
            // It has left that tip meanwhile.
            self.nodes[asker].inquiry.start_again();
            return;
        }
        let own = node.tip.and_then(|tip| self.tips.height(tip));
        let suspects = node.inquiry.suspects.iter();
        let found = suspects.filter(|b| there(b.height) == Some(b.tip)).min_by_key(|b| b.first());
        let Some(branch) = found.copied() else {
            self.conclude(asker, None);
            return;
        };
        let block = there(branch.first()).unwrap_or(branch.tip);
        let told = node.inquiry.told.filter(|(told, _)| *told == block);
        let since = told.map_or(at, |(_, since)| since);
        let dispute = Dispute {
            height: branch.first(),
            block,
            // It stands where the branch begins: it would have taken the first, if it could.
            exact: branch.length == 1
                || own.and_then(|own| own.checked_add(1)) == Some(branch.first()),
            refuser: node.spec.name.clone(),
            follower: follower.1,
            since,
        };
        if told.is_none() {
            self.nodes[asker].inquiry.told = Some((block, at));
            out.push(Output::Event(Event::RulesSplit(dispute.clone())));
        }
        self.conclude(asker, Some((branch, follower.0, dispute)));
        // What the miners work on may be an earlier tip of the same chain.
        if asker == 0
            && let Some(work) = self.work
            && let Some(height) = self.tips.height(work.prev)
            && height >= branch.first()
            && there(height) == Some(work.prev)
        {
            let ruling = self.nodes[0].inquiry.dispute.clone();
            self.rulings.put(self.nodes[0].spec.id, work.prev, ruling);
        }
    }

    /// The call failed: so far it cannot be asked, and what was known stands. False when it had
    /// been given up before.
    pub(super) fn inquiry_failed(
        &mut self,
        index: usize,
        method: Method,
        error: &RpcError,
    ) -> bool {
        let node = &mut self.nodes[index];
        if method == Method::GetChainTips {
            let was_awaited = node.inquiry.sent.take().is_some();
            if was_awaited {
                node.inquiry.could_not_ask(error);
            }
            return was_awaited;
        }
        let (id, Some(lookup)) = (node.spec.id, node.lookup.take()) else { return false };
        let Some(asker) = self.index(lookup.asker) else { return true };
        let inquiry = &mut self.nodes[asker].inquiry;
        inquiry.failed += 1;
        inquiry.about = None;
        inquiry.avoid = Some(id);
        inquiry.lookup_after = Some(lookup.sent + LOOKUP_PAUSE);
        if inquiry.failed >= LOOKUPS {
            inquiry.suspects.clear();
            inquiry.failed = 0;
            inquiry.lookup_after = Some(lookup.sent + CHAIN_TIPS_GAP);
            inquiry.could_not_ask(error);
        }
        true
    }

    fn conclude(&mut self, index: usize, found: Option<(InvalidBranch, NodeId, Dispute)>) {
        let node = &mut self.nodes[index];
        let inquiry = &mut node.inquiry;
        inquiry.suspects.clear();
        (inquiry.failed, inquiry.avoid, inquiry.lookup_after) = (0, None, None);
        let Some((_, tip)) = inquiry.about else { return };
        (inquiry.outcome, inquiry.dispute, inquiry.branch) = match found {
            Some((branch, follower, dispute)) => {
                (Outcome::Refuses, Some(dispute), Some((branch, follower)))
            }
            // A known branch is in the other's chain no longer; what else it refuses is asked.
            None if inquiry.is_known => (Outcome::Open, None, None),
            None => (Outcome::Lags, None, None),
        };
        if index == 0 && inquiry.outcome != Outcome::Open {
            self.rulings.put(node.spec.id, tip, inquiry.dispute.clone());
        }
    }

    /// Both nodes are on one chain again, or one of them is gone.
    fn close_dispute(&mut self, index: usize, out: &mut Vec<Output>) {
        let node = &self.nodes[index];
        let Some((_, follower)) = node.inquiry.branch else { return };
        let Some(other) = self.index(follower).map(|other| &self.nodes[other]) else {
            self.nodes[index].inquiry.forget();
            return;
        };
        let (Some(own), Some(tip)) = (node.tip, other.tip) else { return };
        let disputed = node.inquiry.dispute.as_ref().map(|dispute| dispute.height);
        let is_below = self.tips.height(tip).zip(disputed).is_some_and(|(tip, from)| tip < from);
        if own == tip || is_below {
            let (node, other) = (node.spec.name.clone(), other.spec.name.clone());
            out.push(Output::Event(Event::RulesAgree { node, other }));
            self.nodes[index].inquiry.forget();
        }
    }
}

// -- what the owner reads --

impl Failover {
    /// What the node refuses of another's chain, or another of its chain.
    pub(super) fn dispute<'a>(&'a self, node: &'a Node) -> Option<&'a Dispute> {
        match &node.standing {
            Standing::Refuses(dispute) | Standing::Refused(dispute) => Some(dispute),
            _ => node.inquiry.dispute.as_ref(),
        }
    }

    /// What two rule sets mean for a node: which block, whose rules a block found now is built by,
    /// who would take it, and what can be done.
    pub(super) fn rules_words(&self, node: &Node) -> Option<String> {
        let leads = self.leader == Some(node.spec.id);
        if leads && self.judge_is_away() {
            let first = &self.nodes[0].spec.name;
            return Some(format!(
                "The rules of {first} are not looked at while it is away (follow = \"first\")."
            ));
        }
        if let Some(why) = node.inquiry.silence().filter(|_| node.behind.is_some()) {
            return Some(format!(
                "Whether it has refused a block cannot be asked ({why}): where its bitcoin.conf has \
                 rpcwhitelist, add getchaintips."
            ));
        }
        let dispute = self.dispute(node)?;
        let Dispute { refuser, follower, .. } = dispute;
        let block = dispute.words();
        let builder = self.leader_index().map(|leader| self.nodes[leader].spec.name.as_str());
        let found = match builder {
            Some(builder) if builder == refuser => format!(
                "A block found now is built by the rules of {builder}: {builder} takes it, and \
                 {follower} does not as long as it follows its own chain."
            ),
            Some(builder) => format!(
                "A block found now is built by the rules of {builder}: {follower} takes it, and \
                 {refuser} does not."
            ),
            None => "Nobody gives work now.".to_owned(),
        };
        let what = match node.spec.name == *refuser {
            true => format!("It has refused {block}, which node {follower} follows"),
            false => format!("It follows {block}, which node {refuser} has refused"),
        };
        let what = format!(
            "{what}: the two go by different rules. Internet, peers and disk are not to blame."
        );
        let (decides, choice) = match self.follow {
            Follow::Work => (
                "Soloist follows the chain with most work (follow = \"work\").".to_owned(),
                format!(
                    "To have the rules of {refuser} decide, put it first and write follow = \
                     \"first\" below [failover]; or update the node whose rules are out of date."
                ),
            ),
            Follow::First => (
                format!(
                    "The rules of {} decide while it answers (follow = \"first\").",
                    self.nodes[0].spec.name
                ),
                "To follow the chain with most work, write follow = \"work\" below [failover]; or \
                 update the node whose rules are out of date."
                    .to_owned(),
            ),
        };
        Some(format!("{what} {decides} {found} {choice}"))
    }
}

impl Inquiry {
    /// What was found counts no more.
    pub(super) fn forget(&mut self) {
        *self = Inquiry { sent: self.sent, last: self.last, ..Inquiry::default() };
    }

    /// The other node has moved: what was asked about it is asked anew.
    fn start_again(&mut self) {
        self.suspects.clear();
        self.about = None;
    }

    /// The question failed. What it is known to refuse it has not taken back by that.
    fn could_not_ask(&mut self, error: &RpcError) {
        if self.outcome != Outcome::Refuses {
            self.outcome = Outcome::Silent(error.to_string());
        }
    }

    /// Why it cannot be asked.
    pub(super) fn silence(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Silent(words) => Some(words),
            _ => None,
        }
    }
}
