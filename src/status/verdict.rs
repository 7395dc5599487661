//! The verdict: the state in one word and one sentence, what to do, and every alarm with its next
//! step.

use serde::Serialize;

use crate::difficulty::HASHES_PER_DIFFICULTY;
use crate::rate::Proven;

use super::alarm::AlarmId;
use super::miners::{address_of, without_address};
use super::{
    About, AlarmKind, AlarmView, BehindView, BlockState, Level, MarkKind, MinerState, MinerView,
    NodeState, NodeView, P2pState, PermissionsView, RateView, RejectReason, Snapshot, SnoozeView,
    clocks, devices, format, pair, update, words,
};

/// A template older than this is an alarm, seconds.
pub const TEMPLATE_OLD_S: f64 = 90.0;
/// Work on a template older than this counts as not mining, seconds.
pub const TEMPLATE_DEAD_S: f64 = 600.0;

/// The state in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// A block could be found and paid now, and nothing needs looking after.
    Ok,
    /// It mines, but something needs looking after; or all is ready and no miner is here.
    Degraded,
    /// No block can be found now.
    #[default]
    Down,
}

impl State {
    /// `OK`, `DEGRADED`, `DOWN`.
    pub fn word(self) -> &'static str {
        match self {
            State::Ok => "OK",
            State::Degraded => "DEGRADED",
            State::Down => "DOWN",
        }
    }
}

/// What the owner is told at a glance.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// The state in one word.
    pub state: State,
    /// What goes on, in one sentence.
    pub sentence: String,
    /// What to do now, in one sentence; empty when nothing is to be done.
    pub advice: String,
    /// What the sentence is about, where something is to be explained.
    #[serde(skip)]
    pub about: Option<AlarmKind>,
    /// Every alarm, the worst first.
    pub alarms: Vec<AlarmView>,
    /// Those that the owner snoozed. They count for nothing else.
    pub snoozed: Vec<SnoozedAlarm>,
}

/// An alarm that stands, of which the owner does not want to hear.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SnoozedAlarm {
    /// The alarm.
    #[serde(flatten)]
    pub alarm: AlarmView,
    /// Until when.
    pub until: u64,
    /// From which address it was snoozed.
    pub from: String,
}

impl AlarmView {
    /// What may cost a block, or pays somebody else, is not to be put off.
    pub fn may_be_snoozed(&self) -> bool {
        let of_block = self.about == About::Block && self.level == Level::Critical;
        !of_block
            && !matches!(self.id.as_str(), "payout_change" | "job_pays_others" | "pair_change")
    }
}

/// Takes out what is snoozed, as long as it is not worse than it was then.
fn snooze(snapshot: &Snapshot, alarms: &mut Vec<AlarmView>) -> Vec<SnoozedAlarm> {
    let mut snoozed = Vec::new();
    alarms.retain(|alarm| {
        let of_it = |snooze: &&SnoozeView| {
            snooze.alarm == alarm.id && snooze.until > snapshot.now && alarm.level <= snooze.level
        };
        let snooze = snapshot.snoozed.iter().find(of_it).filter(|_| alarm.may_be_snoozed());
        snoozed.extend(snooze.map(|snooze| SnoozedAlarm {
            alarm: alarm.clone(),
            until: snooze.until,
            from: snooze.from.clone(),
        }));
        snooze.is_none()
    });
    snoozed
}

/// Judges a snapshot.
pub fn verdict(snapshot: &Snapshot) -> Verdict {
    let mut alarms = Alarms(snapshot.alarms.clone());
    work_alarms(snapshot, &mut alarms);
    node_alarms(snapshot, &mut alarms);
    miner_alarms(snapshot, &mut alarms);
    devices::alarms(snapshot, &mut alarms);
    block_alarms(snapshot, &mut alarms);
    board_alarms(snapshot, &mut alarms);
    clocks::alarms(snapshot, &mut alarms);
    update::alarms(snapshot, &mut alarms);
    pair::alarms(snapshot, &mut alarms);
    let Alarms(mut alarms) = alarms;
    // Stable: within a level the order above, which is the order of importance.
    alarms.sort_by_key(|alarm| std::cmp::Reverse(alarm.level));
    let snoozed = snooze(snapshot, &mut alarms);

    if let Some(Down { sentence, advice, about }) = why_down(snapshot) {
        let about = Some(about);
        return Verdict { state: State::Down, sentence, advice, about, alarms, snoozed };
    }
    let connected = snapshot.connected().count();
    let to_look_at = || alarms.iter().filter(|alarm| alarm.level >= Level::Warning);
    if connected == 0 {
        // Who was never here is not missed, and who was needs a moment to come back.
        let is_new = snapshot.miners.is_empty() || are_coming_back(snapshot);
        let is_well = is_new && to_look_at().next().is_none() && snapshot.outside.behind.is_none();
        let state = if is_well { State::Ok } else { State::Degraded };
        let advice = match snapshot.connect.addresses.first() {
            Some(address) => format!(
                "Enter {address}, port {}, as the pool in your miner.",
                snapshot.connect.port
            ),
            None => "Enter this box as the pool in your miner.".to_owned(),
        };
        let sentence = match &snapshot.outside.behind {
            Some(behind) => format!("No miner is connected, and {}.", ahead(behind)),
            None if is_well && !snapshot.miners.is_empty() => {
                let sentence = "Ready to mine: the miners come back by themselves.".to_owned();
                let advice = String::new();
                return Verdict { state, sentence, advice, about: None, alarms, snoozed };
            }
            None => "Ready to mine, but no miner is connected.".to_owned(),
        };
        let about = Some(AlarmKind::NoMiner);
        return Verdict { state, sentence, advice, about, alarms, snoozed };
    }
    let mut to_look_at = to_look_at();
    let Some(worst) = to_look_at.next() else {
        let sentence = format!("{}.", mining(snapshot, connected));
        let advice = String::new();
        return Verdict { state: State::Ok, sentence, advice, about: None, alarms, snoozed };
    };
    let things = match to_look_at.count() {
        0 => "one thing".to_owned(),
        more => format!("{} things", more + 1),
    };
    let mining = mining(snapshot, connected);
    let (sentence, about) = match &snapshot.outside.behind {
        // Worse than all else: what is mined is on an old block.
        Some(behind) => (format!("{mining}, but {}.", ahead(behind)), Some(AlarmKind::BehindWorld)),
        // What may cost a block stands in the headline itself.
        None if worst.level == Level::Critical => {
            (format!("{mining}. {}", worst.text), Some(worst.kind))
        }
        None => (format!("{mining}, with {things} to look at."), None),
    };
    let advice = worst.advice.clone();
    Verdict { state: State::Degraded, sentence, advice, about, alarms, snoozed }
}

/// So long, in seconds, the miners are still coming back: NerdMiner takes up to 93, and AxeOS looks once a
/// minute from its second pool.
const COMING_BACK_S: u64 = 120;

/// After a start, or after a time without work, for which we had sent them away. What is not known yet is
/// no fault.
fn are_coming_back(snapshot: &Snapshot) -> bool {
    let lately = |at: u64| snapshot.now.saturating_sub(at) < COMING_BACK_S;
    let outages = snapshot.history.marks.iter().filter(|mark| mark.kind == MarkKind::Outage);
    lately(snapshot.started_at) || outages.filter_map(|mark| mark.until).any(lately)
}

impl NodeView {
    /// The miners' work comes from it, well or not.
    pub fn is_leader(&self) -> bool {
        self.leads || self.state == NodeState::Leading
    }

    /// The miners' work comes from it, or could.
    pub fn gives_work(&self) -> bool {
        self.is_leader() || self.state.is_usable()
    }

    /// A block can reach it by its P2P port.
    pub fn takes_p2p(&self) -> bool {
        self.p2p.as_ref().is_some_and(|p2p| p2p.state == P2pState::Own)
    }

    /// What it lets us do, where that is less than mining needs.
    pub fn refused(&self) -> Option<&PermissionsView> {
        self.permissions.as_ref().filter(|permissions| !permissions.refused.is_empty())
    }
}

impl RateView {
    /// Half of the way from the lower to the upper bound (99 % confidence), as a part of the rate:
    /// 0.1 is ±10 %. `None` without shares.
    pub fn relative_error(&self) -> Option<f64> {
        let high = self.high.filter(|_| self.shares > 0 && self.hashrate > 0.0)?;
        Some((high - self.low) / (2.0 * self.hashrate))
    }

    /// Of a window, seconds. `difficulty` is that of the share that is awaited next, 0 where unknown.
    pub fn of(proven: &Proven, window_s: u64, difficulty: f64) -> RateView {
        let bounds = proven.bounds(difficulty);
        RateView {
            hashrate: proven.hashrate(),
            shares: proven.shares,
            window_s,
            measured_s: proven.seconds as u64,
            low: bounds.map_or(0.0, |bounds| bounds.low),
            high: bounds.map(|bounds| bounds.high),
        }
    }
}

impl MinerView {
    /// How much of the claimed hashrate its shares prove, and whether it is surely below 70 %: the
    /// upper bound is, with 99.5 % confidence. Of the last hour, or, where too few shares were to be
    /// expected in the time of it in which the miner was connected, of the last day.
    pub fn proven_part(&self) -> Option<(f64, bool)> {
        const ENOUGH: f64 = 30.0;
        let claimed = self.claimed.filter(|claimed| *claimed > 0.0)?;
        let tells = |rate: &RateView| {
            let share = self.difficulty * HASHES_PER_DIFFICULTY;
            rate.measured_s >= 600 && claimed * rate.measured_s as f64 >= ENOUGH * share
        };
        let rate = if tells(&self.rate_hour) { &self.rate_hour } else { &self.rate_day };
        let is_low = tells(rate) && rate.high.is_some_and(|high| high < 0.7 * claimed);
        (rate.shares >= 10 || is_low).then(|| (rate.hashrate / claimed, is_low))
    }

    /// Since when its connection has brought no accepted share: since the last one, or since it began.
    pub fn silent_since(&self) -> u64 {
        self.last_share_at.map_or(self.since, |at| at.max(self.since))
    }

    /// How many of its latest shares were rejected for a fault, if nearly all were, and why most of
    /// them.
    pub fn refused_lately(&self) -> Option<(usize, RejectReason)> {
        let refused = || self.latest.iter().flatten().filter(|reason| tells_of_a_fault(**reason));
        let count = refused().count();
        let times = |reason: RejectReason| refused().filter(|other| **other == reason).count();
        let most = refused().copied().max_by_key(|reason| times(*reason))?;
        (self.latest.len() >= 10 && count * 10 >= self.latest.len() * 8).then_some((count, most))
    }

    /// Rejected shares that tell of a fault.
    pub fn telling_rejects(&self) -> u64 {
        self.rejects.iter().filter(|r| tells_of_a_fault(r.reason)).map(|r| r.count).sum()
    }
}

/// Not the shares that were on their way at a change of the block, and not the repeats that some
/// firmware is known for. `docs/monitoring/alerts.yml` leaves out the same two.
fn tells_of_a_fault(reason: RejectReason) -> bool {
    match reason {
        RejectReason::StaleAtChange | RejectReason::Duplicate => false,
        RejectReason::Stale
        | RejectReason::LowDifficulty
        | RejectReason::UnknownJob
        | RejectReason::BadTime
        | RejectReason::BadVersion
        | RejectReason::Malformed
        | RejectReason::Unauthorized => true,
    }
}

/// Why no block can be found now.
struct Down {
    sentence: String,
    advice: String,
    about: AlarmKind,
}

impl Down {
    fn new(about: AlarmKind, sentence: impl Into<String>, advice: impl Into<String>) -> Down {
        Down { sentence: sentence.into(), advice: advice.into(), about }
    }
}

/// Why no block can be found now, and what to do; `None` when one can.
fn why_down(snapshot: &Snapshot) -> Option<Down> {
    const FEW_SECONDS: &str = "Nothing to do: this takes a few seconds.";
    let down = |about, sentence: &str, advice: &str| Some(Down::new(about, sentence, advice));
    if !snapshot.configured {
        let advice = "Enter your payout address and your node.";
        return down(AlarmKind::NotSetUp, "Not set up yet.", advice);
    }
    if let Some(job) = &snapshot.job {
        if job.template_age_s >= TEMPLATE_DEAD_S && job.carried_by_p2p.is_none() {
            let age = format::duration(job.template_age_s as u64);
            let sentence = format!("The work is {age} old: blocks found on it would be lost.");
            return down(AlarmKind::WorkTooOld, &sentence, "Look at the nodes below.");
        }
        let carried = job.carried_by_p2p.is_some();
        let is_new = snapshot.nodes.iter().all(|node| node.state == NodeState::Unknown);
        if carried || is_new || snapshot.nodes.iter().any(NodeView::gives_work) {
            return None;
        }
        // The last job is still served: what is so of the nodes is so already.
        let left = job.kept_until.unwrap_or_default().saturating_sub(snapshot.now);
        let left = format::duration(left.max(1));
        let mut told = no_work(snapshot);
        told.sentence.push_str(&format!(" The miners have the last job for {left} yet."));
        return Some(told);
    }
    if snapshot.nodes.is_empty() {
        let sentence = "No node is set: there is no work for the miners.";
        return down(AlarmKind::NoNode, sentence, "Add a Bitcoin node.");
    }
    if snapshot.nodes.iter().any(NodeView::gives_work) {
        let sentence = "Waiting for the first work from the node.";
        return down(AlarmKind::Starting, sentence, FEW_SECONDS);
    }
    if snapshot.nodes.iter().all(|node| node.state == NodeState::Unknown) {
        return down(AlarmKind::Starting, "Starting: asking the nodes.", FEW_SECONDS);
    }
    let mut told = no_work(snapshot);
    if !snapshot.miners.is_empty() && snapshot.connected().count() == 0 {
        told.advice.push_str(
            " Until then the miners are on their second pool, if they have one; they come back by \
             themselves.",
        );
    }
    Some(told)
}

/// Why no node gives work, and what to do.
fn no_work(snapshot: &Snapshot) -> Down {
    let nodes = &snapshot.nodes;
    let by_state = |state| nodes.iter().find(|node| node.state == state);
    // Of several nodes, one that gets ready by itself is what is waited for; but one that does not
    // would bring work sooner.
    let broken = nodes.iter().filter(|node| !node.gets_ready()).count();
    let sooner = match broken {
        0 => String::new(),
        1 => " The other node would give work sooner: see below what it needs.".to_owned(),
        _ => " The others would give work sooner: see below what they need.".to_owned(),
    };
    if let Some(node) = by_state(NodeState::Syncing) {
        let wait = match node.sync_eta_s {
            Some(eta) => format!(", in about {}", format::long_time(eta as f64)),
            None => String::new(),
        };
        let (name, downloaded) = (format::tame(&node.name), downloaded(node));
        let nothing = if broken == 0 { "Nothing to do: mining" } else { "Mining" };
        return Down::new(
            AlarmKind::NodeSyncing,
            format!("Waiting for node {name}, which is downloading the chain{downloaded}."),
            format!("{nothing} starts by itself when it is ready{wait}.{sooner}"),
        );
    }
    if let Some(node) = by_state(NodeState::NoPeers) {
        return Down::new(
            AlarmKind::NodeNoPeers,
            format!("Waiting for node {}, which has no peers.", format::tame(&node.name)),
            "Check its internet connection: mining starts by itself when it has a peer.",
        );
    }
    if let Some(node) = by_state(NodeState::Warming) {
        let nothing = if broken == 0 { "Nothing to do: mining" } else { "Mining" };
        return Down::new(
            AlarmKind::NodeStarting,
            format!("Waiting for node {}, which is starting up.", format::tame(&node.name)),
            format!("{nothing} starts by itself when it is ready.{sooner}"),
        );
    }
    if let Some((node, refused)) = nodes.iter().find_map(|n| Some((n, n.refused()?))) {
        let sentence = format!("Node {} {}.", format::tame(&node.name), refused.words);
        return Down::new(AlarmKind::Permissions, sentence, refused.remedy.clone());
    }
    if let [node] = nodes.as_slice() {
        let advice = match node.remedy.as_str() {
            "" => "Check that the node runs and that this box reaches it.",
            remedy => remedy,
        };
        return Down::new(kind(node), about(node), advice);
    }
    let silent = nodes.iter().all(|node| node.state == NodeState::Down);
    match silent {
        true => Down::new(
            AlarmKind::NoWork,
            format!("None of the {} nodes answers.", nodes.len()),
            "Check that the nodes run and that this box reaches them.",
        ),
        false => Down::new(
            AlarmKind::NoWork,
            format!("None of the {} nodes gives work.", nodes.len()),
            "See below what each of them needs.",
        ),
    }
}

impl NodeView {
    /// It will give work without anybody's help.
    fn gets_ready(&self) -> bool {
        matches!(self.state, NodeState::Syncing | NodeState::Warming | NodeState::Unknown)
    }
}

/// What is wrong with a node.
fn kind(node: &NodeView) -> AlarmKind {
    match node.state {
        // These three have nothing wrong.
        NodeState::Leading | NodeState::Standby | NodeState::Unknown => AlarmKind::Starting,
        NodeState::Down => AlarmKind::NodeDown,
        NodeState::Unusable | NodeState::Doubtful => AlarmKind::NodeUnusable,
        NodeState::NoTemplate => AlarmKind::NodeNoTemplate,
        NodeState::Syncing => AlarmKind::NodeSyncing,
        NodeState::Warming => AlarmKind::NodeStarting,
        NodeState::NoPeers => AlarmKind::NodeNoPeers,
        NodeState::WrongClock => AlarmKind::NodeClock,
        NodeState::OtherRules => AlarmKind::NodeOtherRules,
        NodeState::Forbidden => AlarmKind::Permissions,
        NodeState::Lagging => AlarmKind::NodeLagging,
    }
}

/// What is wrong with a node, as a sentence.
fn about(node: &NodeView) -> String {
    let because = |words: &str| match node.reason.as_str() {
        "" => format!("{words}."),
        reason => format!("{words}: {reason}."),
    };
    let words = match node.state {
        NodeState::Leading => "leads.".to_owned(),
        NodeState::Standby => "stands by.".to_owned(),
        NodeState::Unknown => "was not asked yet.".to_owned(),
        NodeState::Down => because("does not answer"),
        NodeState::Unusable | NodeState::Doubtful => because("cannot be used now"),
        NodeState::NoTemplate => because("gives no work"),
        NodeState::Syncing => format!("is downloading the chain{}.", downloaded(node)),
        NodeState::Warming => "is starting up.".to_owned(),
        NodeState::NoPeers => "has no peers: it hears of no new blocks.".to_owned(),
        NodeState::WrongClock => "has a wrong clock.".to_owned(),
        NodeState::OtherRules => "goes by other rules than another of yours.".to_owned(),
        NodeState::Forbidden => match node.refused() {
            Some(refused) => format!("{}.", refused.words),
            None => "forbids calls that mining needs.".to_owned(),
        },
        NodeState::Lagging => match node.lag_blocks {
            Some(1) => "is one block behind.".to_owned(),
            // As many blocks with less work, or no new one for too long.
            Some(0) | None => "is behind.".to_owned(),
            Some(n) => format!("is {n} blocks behind."),
        },
    };
    format!("Node {} {words}", format::tame(&node.name))
}

/// `: 412 000 of 884 201 blocks, 31 % done`, as far as it is known.
fn downloaded(node: &NodeView) -> String {
    let blocks = match (node.height, node.headers) {
        (Some(height), Some(headers)) if height < headers => {
            Some(format!("{} of {} blocks", format::thousands(height), format::thousands(headers)))
        }
        _ => None,
    };
    let begun = node.progress.filter(|progress| *progress >= 0.001);
    let done = begun.map(|progress| format!("{} done", format::percent(progress)));
    let known: Vec<String> = blocks.into_iter().chain(done).collect();
    match known.is_empty() {
        true => String::new(),
        false => format!(": {}", known.join(", ")),
    }
}

/// What goes on, without its full stop.
fn mining(snapshot: &Snapshot, connected: usize) -> String {
    let miners = match connected {
        1 => "one miner".to_owned(),
        n => format!("{n} miners"),
    };
    let rate = &snapshot.totals.rate_5m;
    let at = if rate.shares > 0 {
        format!(" at {}", format::hashrate(rate.hashrate))
    } else {
        String::new()
    };
    match &snapshot.job {
        Some(job) => {
            format!("Mining block {} with {miners}{at}", format::thousands(job.height))
        }
        None => format!("Mining with {miners}{at}"),
    }
}

/// `the network is 3 blocks ahead`
fn ahead(behind: &BehindView) -> String {
    match behind.blocks() {
        1 => "the network is one block ahead".to_owned(),
        n => format!("the network is {} blocks ahead", format::thousands(n)),
    }
}

fn work_alarms(snapshot: &Snapshot, alarms: &mut Alarms) {
    if let Some(job) = &snapshot.job {
        if let Some(node) = &job.carried_by_p2p {
            alarms.add(
                About::Node,
                Level::Critical,
                AlarmKind::CarriedByP2p,
                format!(
                    "No node's RPC answers. The miners go on by the P2P port of node {node}: a block \
                     would reach it there, but without transactions it brings no fees."
                ),
                "Look at the nodes below: mining is back to normal as soon as one answers.",
            );
        } else if job.template_age_s > TEMPLATE_OLD_S {
            alarms.add(
                About::Node,
                Level::Critical,
                AlarmKind::TemplateOld,
                format!(
                    "The node has sent no fresh work for {}.",
                    format::duration(job.template_age_s as u64)
                ),
                format!("Check node {}: it may hang or be cut off.", job.node),
            );
        }
        if let [first, rest @ ..] = job.signals_demanded.as_slice() {
            let bits: String = rest.iter().map(|bit| format!(" and {bit}")).collect();
            alarms.add(
                About::Box,
                Level::Warning,
                AlarmKind::VersionBits,
                format!(
                    "Version bit {first}{bits} stays set although the settings clear it: node {} \
                     takes no block without it.",
                    job.node
                ),
                "Take it out of clear_version_bits below [payout].",
            );
        }
        if job.to_owner_sat < job.value_sat {
            alarms.add(
                About::Box,
                Level::Critical,
                AlarmKind::JobPaysOthers,
                format!(
                    "The current job pays {} BTC to somebody else.",
                    format::btc(job.value_sat - job.to_owner_sat)
                ),
                "Check the payout address in the settings.",
            );
        }
    }
    if let Some(canary) = &snapshot.canary
        && !canary.ok
        && canary.failed > 0
    {
        alarms.add(
            About::Box,
            Level::Critical,
            AlarmKind::Canary,
            format!("The built-in test miner fails: {}.", trimmed(&canary.error, "no answer")),
            "Restart Soloist; if it stays, save a support bundle.",
        );
    }
    if let Some(pending) = &snapshot.payout.pending {
        let owner = snapshot.payout.address.as_str();
        let carries = |miner: &&MinerView| {
            !owner.is_empty()
                && address_of(&miner.user).is_some_and(|at| at.eq_ignore_ascii_case(owner))
        };
        let then = match listed(snapshot.connected().filter(carries)) {
            Some(names) => {
                format!(" The address of now stands in the user of {names}: change it then.")
            }
            None => String::new(),
        };
        alarms.add(
            About::Box,
            Level::Warning,
            AlarmKind::PayoutChange,
            format!(
                "The payout address changes to {} in {}.",
                pending.address,
                format::duration(pending.due_at.saturating_sub(snapshot.now))
            ),
            format!("If you did not ask for this, cancel it and change the PIN.{then}"),
        );
    }
}

fn node_alarms(snapshot: &Snapshot, alarms: &mut Alarms) {
    let have_work = snapshot.job.is_some();
    for node in &snapshot.nodes {
        let level = match node.state {
            // Told by an alarm of their own, below and in `clocks`.
            NodeState::Leading | NodeState::Standby | NodeState::Unknown => continue,
            NodeState::Forbidden if node.refused().is_some() => continue,
            NodeState::WrongClock if node.clock.is_some_and(|clock| clock.odd) => continue,
            // It lacks nothing that another of ours has: what all of them lack is told once.
            NodeState::Lagging
                if snapshot.outside.behind.is_some() && node.lag_blocks == Some(0) =>
            {
                continue;
            }
            // Without work these are the sentence itself.
            NodeState::NoPeers | NodeState::Syncing | NodeState::Warming if !have_work => continue,
            // The work comes from it, as no other is better.
            _ if node.is_leader() => Level::Critical,
            NodeState::Syncing | NodeState::Warming => Level::Info,
            NodeState::NoTemplate
            | NodeState::Unusable
            | NodeState::Down
            | NodeState::Doubtful
            | NodeState::Lagging
            | NodeState::OtherRules
            | NodeState::NoPeers
            | NodeState::WrongClock
            | NodeState::Forbidden => Level::Warning,
        };
        let text = match node.state {
            NodeState::Down if node.takes_p2p() => format!(
                "The RPC of node {} does not answer; its P2P port does.",
                format::tame(&node.name)
            ),
            _ => about(node),
        };
        let advice = match node.state {
            NodeState::NoPeers => CHECK_PEERS,
            _ if node.remedy.is_empty() => &node.why,
            _ => &node.remedy,
        };
        let silent = matches!(node.state, NodeState::Down | NodeState::Unusable);
        let since = node.answered_at.filter(|_| silent);
        // One alarm for all that can be wrong with a node: it changes, and does not come anew.
        let id = AlarmId { kind: kind(node), id: format!("node:{}", node.name) };
        alarms.add_since(About::Node, since, level, id, text, advice);
    }
    for node in &snapshot.nodes {
        if let Some(rehearsal) = &node.rehearsal
            && let Some(reason) = &rehearsal.refused
        {
            alarms.add_since(
                About::Node,
                Some(rehearsal.at),
                Level::Critical,
                AlarmKind::Rehearsal.of(&node.name),
                format!("Node {} would refuse our block: {reason}.", node.name),
                "Update the node; if it stays, save a support bundle.",
            );
        }
    }
    for node in &snapshot.nodes {
        if let Some(refused) = node.refused() {
            alarms.add(
                About::Node,
                Level::Critical,
                AlarmKind::Permissions.of(&node.name),
                format!("Node {} {}.", node.name, refused.words),
                refused.remedy.clone(),
            );
        }
    }
    for node in snapshot.nodes.iter().filter(|node| node.local_relay == Some(false)) {
        alarms.add(
            About::Node,
            Level::Warning,
            AlarmKind::BlocksOnly.of(&node.name),
            format!(
                "Node {} takes no transactions from others, so its blocks carry no fees.",
                node.name
            ),
            "Remove blocksonly=1 from its bitcoin.conf and restart it.",
        );
    }
    let set = snapshot.nodes.len();
    if have_work && set > 1 && snapshot.nodes.iter().filter(|node| node.gives_work()).count() == 1 {
        alarms.add(
            About::Node,
            Level::Info,
            AlarmKind::NoSpareNode,
            "Only one node is fit to lead: nobody takes over if it fails.",
            "",
        );
    }
}

/// What brings a node its peers.
const CHECK_PEERS: &str =
    "Check its internet connection, and connect= and onlynet= in its bitcoin.conf.";

/// Single alarms for this many missing miners; more of them make one alarm together.
const MISSING_APART: usize = 3;

fn missing_alarms(snapshot: &Snapshot, alarms: &mut Alarms) {
    const WEEK: u64 = 7 * 86_400;
    // Without work we have sent them away ourselves, to their other pools; and we were away ourselves.
    if snapshot.job.is_none() || are_coming_back(snapshot) {
        return;
    }
    let away = |miner: &MinerView| snapshot.now.saturating_sub(miner.since);
    let (news, old): (Vec<&MinerView>, Vec<&MinerView>) = snapshot
        .miners
        .iter()
        .filter(|miner| miner.state == MinerState::Gone)
        .partition(|miner| away(miner) < WEEK);
    if news.len() > MISSING_APART {
        let names: Vec<String> =
            news.iter().take(3).map(|miner| format::tame(&miner.name)).collect();
        alarms.add(
            About::Miner,
            Level::Warning,
            AlarmKind::MinersGone,
            format!(
                "{} miners are missing: {} and {} more.",
                news.len(),
                names.join(", "),
                news.len() - 3
            ),
            "Check their power and network, and that their pool is still this box.",
        );
    } else {
        for miner in news {
            alarms.add_since(
                About::Miner,
                Some(miner.since),
                Level::Warning,
                AlarmKind::MinerGone.of(&miner.id),
                format!(
                    "Miner {} has been missing for {}.",
                    format::tame(&miner.name),
                    format::duration(away(miner))
                ),
                "Check its power and network, and that its pool is still this box.",
            );
        }
    }
    // After a week it is not news any more; the list of miners still shows it.
    if let Some(first) = old.first() {
        let text = match old.len() {
            1 => format!("Miner {} has been missing for over a week.", format::tame(&first.name)),
            n => format!("{n} miners have been missing for over a week."),
        };
        alarms.add(About::Miner, Level::Info, AlarmKind::MinersLongGone, text, "");
    }
}

/// What a miner's own settings say that cannot be followed.
fn login_alarms(miner: &MinerView, alarms: &mut Alarms) {
    if !miner.pays_fault.is_empty() {
        alarms.add(
            About::Miner,
            Level::Warning,
            AlarmKind::MinerPayee.of(&miner.id),
            words::payee_fault(&miner.name, &miner.pays_fault),
            words::CORRECT_PAYEE,
        );
    }
    if miner.difficulty_unclear {
        alarms.add(
            About::Miner,
            Level::Info,
            AlarmKind::MinerDifficulty.of(&miner.id),
            words::unclear_difficulty(&miner.name),
            words::PLAIN_DIFFICULTY,
        );
    }
}

/// Miners that carry another payout address than the owner's in front of their name.
fn carried_alarms(snapshot: &Snapshot, alarms: &mut Alarms) {
    let carriers = || snapshot.connected().filter(|miner| miner.carries.is_some());
    let user = format!("{}.NAME", snapshot.payout.address);
    let pays_it = |miner: &&MinerView| miner.carries.as_deref() == Some(miner.pays.as_str());
    if let Some(names) = listed(carriers().filter(pays_it)) {
        alarms.add(
            About::Box,
            Level::Warning,
            AlarmKind::FormerAddress,
            format!(
                "A block of {names} pays a former payout address, which the miner's user carries."
            ),
            format!("Write {user} as the user in the miner."),
        );
    }
    if let Some(names) = listed(carriers().filter(|miner| !pays_it(miner))) {
        alarms.add(
            About::Miner,
            Level::Info,
            AlarmKind::OtherAddress,
            format!("Another payout address than yours stands in the user of {names}."),
            format!(
                "Blocks pay you all the same, but NerdQAxe+ can refuse such work, and AxeOS does not \
                 mark it as yours: write {user} as the user in the miner."
            ),
        );
    }
}

/// `gamma, quad and 3 more`; `None` for nobody.
fn listed<'a>(miners: impl Iterator<Item = &'a MinerView>) -> Option<String> {
    let mut names: Vec<String> = miners.map(|miner| format::tame(named(miner))).collect();
    let more = names.len().saturating_sub(3);
    names.truncate(3);
    match (names.pop()?, more) {
        (last, 0) if names.is_empty() => Some(last),
        (last, 0) => Some(format!("{} and {last}", names.join(", "))),
        (last, more) => Some(format!("{}, {last} and {more} more", names.join(", "))),
    }
}

/// What the owner calls a miner, whatever stands in front of it.
fn named(miner: &MinerView) -> &str {
    miner.carries.as_deref().map_or(&miner.name, |address| without_address(&miner.name, address))
}

fn miner_alarms(snapshot: &Snapshot, alarms: &mut Alarms) {
    missing_alarms(snapshot, alarms);
    carried_alarms(snapshot, alarms);
    for miner in &snapshot.miners {
        login_alarms(miner, alarms);
        match miner.state {
            MinerState::Gone => {}
            MinerState::Quiet => {
                let since = miner.silent_since();
                alarms.add_since(
                    About::Miner,
                    Some(since),
                    Level::Warning,
                    AlarmKind::MinerQuiet.of(&miner.id),
                    format!(
                        "Miner {} is connected but has sent no share for {}.",
                        format::tame(&miner.name),
                        format::duration(snapshot.now.saturating_sub(since))
                    ),
                    "Restart the miner.",
                );
            }
            MinerState::Mining => {
                if let Some((part, true)) = miner.proven_part() {
                    alarms.add(
                        About::Miner,
                        Level::Warning,
                        AlarmKind::MinerSlow.of(&miner.id),
                        format!(
                            "Miner {} proves only {} of what it claims.",
                            format::tame(&miner.name),
                            format::percent(part)
                        ),
                        "Look at its temperature, power supply and Wi-Fi.",
                    );
                }
                if let Some((count, reason)) = miner.refused_lately() {
                    alarms.add(
                        About::Miner,
                        Level::Warning,
                        AlarmKind::MinerRefused.of(&miner.id),
                        format!(
                            "{count} of the last {} shares of {} were rejected, most of them {}.",
                            miner.latest.len(),
                            format::tame(&miner.name),
                            reason.words()
                        ),
                        reason.meaning().to_owned(),
                    );
                }
                let rejected = miner.telling_rejects();
                if rejected >= 20 && rejected * 20 > miner.accepted {
                    alarms.add(
                        About::Miner,
                        Level::Warning,
                        AlarmKind::MinerRejects.of(&miner.id),
                        format!(
                            "{} of the shares of {} are rejected.",
                            format::percent(
                                rejected as f64 / (rejected + miner.accepted).max(1) as f64
                            ),
                            format::tame(&miner.name)
                        ),
                        "Its page shows the reasons in words.",
                    );
                }
            }
        }
    }
}

fn block_alarms(snapshot: &Snapshot, alarms: &mut Alarms) {
    for block in snapshot.blocks.iter().filter(|b| b.state == BlockState::Candidate) {
        if snapshot.now.saturating_sub(block.at) > 30 {
            let height = format::thousands(block.height);
            let (whose, outside) = match block.outside.map_or(0, |outside| outside.shown) {
                0 => ("", String::new()),
                1 => (" of yours", "; one outside node has".to_owned()),
                n => (" of yours", format!("; {n} outside nodes have")),
            };
            alarms.add_since(
                About::Block,
                Some(block.at),
                Level::Critical,
                AlarmKind::BlockWaiting.of(&block.hash),
                format!("No node{whose} has block {height} in its chain yet{outside}."),
                "It is saved and sent again and again. Bring a node back, or download it and submit \
                 it elsewhere.",
            );
        }
    }
    let storage = &snapshot.storage;
    if storage.writable == Some(false) {
        alarms.add(
            About::Box,
            Level::Critical,
            AlarmKind::Storage,
            format!("The data card cannot be written: {}.", trimmed(&storage.error, "no reason")),
            "Mining goes on and a found block is sent at once, but replace the card.",
        );
    }
}

fn board_alarms(snapshot: &Snapshot, alarms: &mut Alarms) {
    let board = &snapshot.board;
    if board.undervoltage == Some(true) {
        alarms.add(
            About::Box,
            Level::Warning,
            AlarmKind::Undervoltage,
            "The power supply of this box is too weak.",
            "Use the official supply and a short cable.",
        );
    } else if board.undervoltage_seen == Some(true) {
        alarms.add(
            About::Box,
            Level::Info,
            AlarmKind::UndervoltageSeen,
            "The power supply of this box was too weak at times.",
            "Use the official supply and a short cable.",
        );
    }
    if let Some(temperature) = board.temperature_c.filter(|t| *t >= 75.0) {
        alarms.add(
            About::Box,
            if temperature >= 83.0 { Level::Warning } else { Level::Info },
            AlarmKind::Hot,
            format!("This box is hot: {temperature:.0} °C."),
            "Give it air.",
        );
    } else if board.throttled == Some(true) {
        alarms.add(
            About::Box,
            Level::Warning,
            AlarmKind::Throttled,
            "This box slows itself down.",
            "Give it air and a strong power supply.",
        );
    }
    if let (Some(total), Some(free)) = (board.disk_total.filter(|t| *t > 0), board.disk_free) {
        let used = 1.0 - free as f64 / total as f64;
        if used > 0.8 {
            alarms.add(
                About::Box,
                Level::Warning,
                AlarmKind::Disk,
                format!("The data card is {} full.", format::percent(used)),
                if used > 0.9 {
                    "The oldest history is dropped now; mining is not affected.".to_owned()
                } else {
                    "From 90 % on the oldest history is dropped; mining is not affected.".to_owned()
                },
            );
        }
    }
    let copy_error = &snapshot.storage.copy_error;
    if !copy_error.is_empty() {
        alarms.add(
            About::Box,
            Level::Warning,
            AlarmKind::Copy,
            format!("The ledger is not copied to {}.", trimmed(copy_error, "its place")),
            "Plug the stick in or mount the share; it is tried again every hour.",
        );
    }
}

/// What is told, in the order of importance.
pub(super) struct Alarms(pub Vec<AlarmView>);

impl Alarms {
    pub(super) fn add(
        &mut self,
        about: About,
        level: Level,
        id: impl Into<AlarmId>,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add_since(about, None, level, id, text, advice);
    }

    /// The same, for what is known to be so since that time.
    pub(super) fn add_since(
        &mut self,
        about: About,
        since: Option<u64>,
        level: Level,
        id: impl Into<AlarmId>,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) {
        let (AlarmId { kind, id }, text, advice) = (id.into(), text.into(), advice.into());
        self.0.push(AlarmView { id, kind, about, level, text, advice, since });
    }
}

fn trimmed<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    let text = text.trim().trim_end_matches('.');
    if text.is_empty() { otherwise } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{
        BlockView, BoardView, ClockView, JobView, MarkView, OutsideTakenView, P2pView,
        RehearsalVerdict, RejectReason, RejectView, html,
    };

    fn mining() -> Snapshot {
        Snapshot {
            now: 1_000_000,
            configured: true,
            job: Some(JobView {
                height: 925_114,
                node: "attic".to_owned(),
                to_owner_sat: 313_000_000,
                value_sat: 313_000_000,
                template_age_s: 4.0,
                ..Default::default()
            }),
            nodes: vec![NodeView {
                name: "attic".to_owned(),
                state: NodeState::Leading,
                ..Default::default()
            }],
            miners: vec![MinerView {
                id: "gamma".to_owned(),
                name: "gamma".to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn may_not_submit() -> PermissionsView {
        PermissionsView {
            refused: vec!["submitblock".to_owned()],
            words: "does not let us call submitblock: a block could not be handed in".to_owned(),
            remedy: "Put this line into its bitcoin.conf.".to_owned(),
            shortage: String::new(),
        }
    }

    #[test]
    fn a_snoozed_alarm_counts_for_nothing_until_its_time_is_over_or_it_gets_worse() {
        let mut snapshot = mining();
        snapshot.alarms.push(AlarmView {
            id: "world".to_owned(),
            level: Level::Warning,
            ..Default::default()
        });
        assert_eq!(verdict(&snapshot).state, State::Degraded);
        snapshot.snoozed.push(SnoozeView {
            alarm: "world".to_owned(),
            level: Level::Warning,
            until: snapshot.now + 1,
            from: "192.168.1.5".to_owned(),
        });
        let told = verdict(&snapshot);
        assert_eq!((told.state, told.alarms.len(), told.snoozed.len()), (State::Ok, 0, 1));
        assert_eq!(told.snoozed[0].from, "192.168.1.5");
        snapshot.alarms[0].level = Level::Critical;
        assert_eq!(verdict(&snapshot).alarms.len(), 1, "it is worse than it was");
        snapshot.alarms[0].level = Level::Warning;
        snapshot.now += 1;
        assert_eq!(verdict(&snapshot).alarms.len(), 1, "its time is over");
    }

    #[test]
    fn what_may_cost_a_block_or_pays_others_cannot_be_snoozed() {
        let alarm = |id: &str, about, level| AlarmView {
            id: id.to_owned(),
            about,
            level,
            ..Default::default()
        };
        let cases = [
            (alarm("block_waiting:ab", About::Block, Level::Critical), false),
            (alarm("block_waiting:ab", About::Block, Level::Warning), true),
            (alarm("payout_change", About::Box, Level::Warning), false),
            (alarm("job_pays_others", About::Box, Level::Critical), false),
            (alarm("pair_change", About::Box, Level::Warning), false),
            (alarm("hot", About::Box, Level::Critical), true),
        ];
        for (alarm, may) in cases {
            assert_eq!(alarm.may_be_snoozed(), may, "{alarm:?}");
            let mut snapshot = mining();
            // As if somebody had got around the form.
            snapshot.snoozed.push(SnoozeView {
                alarm: alarm.id.clone(),
                level: Level::Critical,
                until: snapshot.now + 1,
                ..Default::default()
            });
            snapshot.alarms.push(alarm);
            assert_eq!(verdict(&snapshot).snoozed.len(), usize::from(may));
        }
    }

    #[test]
    fn a_node_that_would_not_take_a_block_is_critical_and_the_advice_is_its_own() {
        let mut snapshot = mining();
        snapshot.nodes[0].permissions = Some(may_not_submit());
        let told = verdict(&snapshot);
        let [alarm] = told.alarms.as_slice() else { panic!("{told:?}") };
        assert_eq!((alarm.id.as_str(), alarm.level), ("permissions:attic", Level::Critical));
        assert_eq!(told.advice, "Put this line into its bitcoin.conf.");
        snapshot.job = None;
        snapshot.nodes[0].state = NodeState::Forbidden;
        assert_eq!(verdict(&snapshot).advice, "Put this line into its bitcoin.conf.");
        // What mining does not need is no alarm.
        let mut snapshot = mining();
        let shortage = "does not let us call preciousblock".to_owned();
        snapshot.nodes[0].permissions = Some(PermissionsView { shortage, ..Default::default() });
        assert_eq!(verdict(&snapshot).state, State::Ok);
    }

    #[test]
    fn a_fault_of_a_node_is_told_with_its_time_where_that_is_known() {
        let since = |state| {
            let mut s = mining();
            s.nodes[0] = NodeView { state, answered_at: Some(7), ..s.nodes[0].clone() };
            verdict(&s).alarms[0].since
        };
        assert_eq!(since(NodeState::Down), Some(7), "it answered then for the last time");
        assert_eq!(since(NodeState::Lagging), None, "it answers");
        let mut s = mining();
        let refused = Some("bad-cb-amount".to_owned());
        s.nodes[0].rehearsal = Some(RehearsalVerdict { at: 9, refused, height: 925_114 });
        assert_eq!(verdict(&s).alarms[0].since, Some(9));
    }

    #[test]
    fn all_well_is_ok_and_asks_for_nothing() {
        let verdict = verdict(&mining());
        assert_eq!(verdict.state, State::Ok);
        assert_eq!(verdict.sentence, "Mining block 925\u{202f}114 with one miner.");
        assert_eq!((verdict.advice.as_str(), verdict.alarms.len()), ("", 0));
    }

    #[test]
    fn each_fault_is_told_and_says_what_to_do() {
        type Break = fn(&mut Snapshot);
        let faults: [(&str, State, Break); 29] = [
            ("Not set up yet", State::Down, |s| s.configured = false),
            ("Node attic does not answer.", State::Down, |s| {
                s.job = None;
                s.nodes[0].state = NodeState::Down;
            }),
            ("downloading the chain: 83\u{202f}% done", State::Down, |s| {
                s.job = None;
                s.nodes[0].state = NodeState::Syncing;
                s.nodes[0].progress = Some(0.83);
            }),
            (
                "downloading the chain: 412\u{202f}000 of 884\u{202f}201 blocks, 31\u{202f}% done",
                State::Down,
                |s| {
                    s.job = None;
                    s.nodes[0].state = NodeState::Syncing;
                    s.nodes[0].height = Some(412_000);
                    s.nodes[0].headers = Some(884_201);
                    s.nodes[0].progress = Some(0.314);
                },
            ),
            ("Waiting for node attic, which has no peers", State::Down, |s| {
                s.job = None;
                s.nodes[0].state = NodeState::NoPeers;
            }),
            ("Node attic has no peers: it hears of no new blocks", State::Degraded, |s| {
                s.nodes[0].leads = true;
                s.nodes[0].state = NodeState::NoPeers;
            }),
            ("Node cellar has no peers: it hears of no new blocks", State::Degraded, |s| {
                s.nodes.push(NodeView {
                    name: "cellar".to_owned(),
                    state: NodeState::NoPeers,
                    ..Default::default()
                });
            }),
            (
                "Node attic takes no transactions from others, so its blocks carry no fees",
                State::Degraded,
                |s| s.nodes[0].local_relay = Some(false),
            ),
            ("clock of node attic is 3\u{202f}h fast: other nodes would", State::Degraded, |s| {
                s.nodes[0].clock = Some(ClockView { offset_s: 10_800.0, odd: true });
            }),
            ("The work is 11\u{202f}min old", State::Down, |s| {
                s.job.as_mut().unwrap().template_age_s = 660.0;
            }),
            ("no fresh work for 100\u{202f}s", State::Degraded, |s| {
                s.job.as_mut().unwrap().template_age_s = 100.0;
            }),
            ("No node's RPC answers. The miners go on by the P2P port of", State::Degraded, |s| {
                // However long it lasts: the P2P port confirms that the work is on the newest tip.
                s.job.as_mut().unwrap().template_age_s = 6600.0;
                s.job.as_mut().unwrap().carried_by_p2p = Some("attic".to_owned());
            }),
            ("The RPC of node attic does not answer; its P2P port does", State::Degraded, |s| {
                s.nodes[0].state = NodeState::Down;
                s.nodes[0].p2p = Some(P2pView { state: P2pState::Own, ..Default::default() });
                s.job.as_mut().unwrap().carried_by_p2p = Some("attic".to_owned());
            }),
            ("pays 0.00000001 BTC to somebody else", State::Degraded, |s| {
                s.job.as_mut().unwrap().to_owner_sat -= 1;
            }),
            ("no miner is connected", State::Degraded, |s| s.miners[0].state = MinerState::Gone),
            ("Node cellar is 2 blocks behind", State::Degraded, |s| {
                s.nodes.push(NodeView {
                    name: "cellar".to_owned(),
                    state: NodeState::Lagging,
                    lag_blocks: Some(2),
                    ..Default::default()
                });
            }),
            ("attic would refuse our block: bad-cb-amount", State::Degraded, |s| {
                s.nodes[0].rehearsal = Some(RehearsalVerdict {
                    refused: Some("bad-cb-amount".to_owned()),
                    ..Default::default()
                });
            }),
            ("attic does not let us call submitblock", State::Degraded, |s| {
                s.nodes[0].permissions = Some(may_not_submit());
            }),
            ("Node attic does not let us call submitblock", State::Down, |s| {
                s.job = None;
                s.nodes[0].state = NodeState::Down;
                s.nodes[0].permissions = Some(may_not_submit());
            }),
            ("no share for 15\u{202f}min", State::Degraded, |s| {
                s.miners[0].state = MinerState::Quiet;
                s.miners[0].last_share_at = Some(s.now - 900);
            }),
            ("proves only 48\u{202f}%", State::Degraded, |s| {
                s.miners[0].claimed = Some(1e12);
                s.miners[0].difficulty = 1000.0;
                s.miners[0].rate_hour = proven(0.48e12, 1000.0, 3_600);
            }),
            (
                "The user of miner gamma begins like an address, but its checksum does not match. \
                 Its blocks pay you.",
                State::Degraded,
                |s| s.miners[0].pays_fault = "its checksum does not match".to_owned(),
            ),
            // No fault of what matters, but told.
            (
                "The password of miner gamma asks for a difficulty that is not a plain number.",
                State::Ok,
                |s| s.miners[0].difficulty_unclear = true,
            ),
            ("of the shares of gamma are rejected", State::Degraded, |s| {
                s.miners[0].accepted = 100;
                s.miners[0]
                    .rejects
                    .push(RejectView { reason: RejectReason::LowDifficulty, count: 50 });
            }),
            (
                "8 of the last 10 shares of gamma were rejected, most of them for an old",
                State::Degraded,
                |s| {
                    let stale = [Some(RejectReason::Stale); 7];
                    let rest = [None, Some(RejectReason::LowDifficulty), None];
                    s.miners[0].latest = [&stale[..], &rest].concat();
                },
            ),
            ("No node has block 5 in its chain", State::Degraded, |s| {
                s.blocks.push(BlockView { height: 5, at: s.now - 60, ..Default::default() });
            }),
            (
                "No node of yours has block 5 in its chain yet; 2 outside nodes have.",
                State::Degraded,
                |s| {
                    let outside = Some(OutsideTakenView { shown: 2, ..Default::default() });
                    let at = s.now - 60;
                    s.blocks.push(BlockView { height: 5, at, outside, ..Default::default() });
                },
            ),
            ("Node cellar is behind.", State::Degraded, |s| {
                s.nodes.push(NodeView {
                    name: "cellar".to_owned(),
                    state: NodeState::Lagging,
                    lag_blocks: Some(0),
                    ..Default::default()
                });
            }),
            ("data card is 85\u{202f}% full", State::Degraded, |s| {
                s.board =
                    BoardView { disk_total: Some(100), disk_free: Some(15), ..Default::default() };
            }),
        ];
        for (words, state, damage) in faults {
            let mut snapshot = mining();
            damage(&mut snapshot);
            let verdict = verdict(&snapshot);
            assert_eq!(verdict.state, state, "{words}: {verdict:?}");
            let told = verdict.sentence.contains(words)
                || verdict.alarms.iter().any(|alarm| alarm.text.contains(words));
            assert!(told, "{words}: {verdict:?}");
        }
    }

    /// The headline of a box that mines, after this.
    fn headline(change: impl Fn(&mut Snapshot)) -> (State, String, String) {
        let mut s = mining();
        change(&mut s);
        let told = verdict(&s);
        (told.state, told.sentence, told.advice)
    }

    #[test]
    fn the_headline_says_at_once_that_no_node_can_be_used_and_how_long_the_last_job_is_served() {
        let fails = |state, reason: &str| {
            headline(|s| {
                s.job.as_mut().unwrap().kept_until = Some(s.now + 74);
                let node = NodeView { state, reason: reason.to_owned(), ..s.nodes[0].clone() };
                s.nodes[0] = NodeView { remedy: "Do this.".to_owned(), ..node };
            })
        };
        let last = "The miners have the last job for 74\u{202f}s yet.";
        let refused = "nothing listens at its port (connection refused)";
        let login = "it refuses our user or password (HTTP 401)";
        let page = "a web page answers there instead of a node (HTTP 200)";
        for (state, reason, words) in [
            (NodeState::Down, refused, format!("Node attic does not answer: {refused}.")),
            (NodeState::Unusable, login, format!("Node attic cannot be used now: {login}.")),
            (NodeState::Unusable, page, format!("Node attic cannot be used now: {page}.")),
        ] {
            let sentence = format!("{words} {last}");
            assert_eq!(fails(state, reason), (State::Down, sentence, "Do this.".to_owned()));
        }
        let (state, sentence, _) = fails(NodeState::Warming, "");
        assert_eq!(state, State::Down);
        assert!(
            sentence.starts_with("Waiting for node attic, which is starting up."),
            "{sentence}"
        );
        // Another one takes over, or its P2P port carries the work; and one that was just named is
        // only being asked.
        let other = headline(|s| {
            s.nodes[0].state = NodeState::Down;
            s.nodes.push(NodeView { state: NodeState::Standby, ..Default::default() });
        });
        assert_eq!(other.0, State::Degraded);
        assert_eq!(headline(|s| s.nodes[0].state = NodeState::Unknown).0, State::Ok);
        let (state, sentence, _) = headline(|s| {
            s.nodes[0].state = NodeState::Down;
            s.job.as_mut().unwrap().carried_by_p2p = Some("attic".to_owned());
        });
        assert_eq!(state, State::Degraded);
        assert!(sentence.contains("No node's RPC answers."), "{sentence}");
    }

    #[test]
    fn what_may_cost_a_block_stands_in_the_headline_and_other_things_are_counted() {
        for (state, words) in [
            (NodeState::NoPeers, "Node attic has no peers: it hears of no new blocks."),
            (NodeState::Syncing, "Node attic is downloading the chain: 31\u{202f}% done."),
            (NodeState::Lagging, "Node attic is 2 blocks behind."),
            (NodeState::NoTemplate, "Node attic gives no work: it says No. (-1)."),
        ] {
            let (told, sentence, _) = headline(|s| {
                s.nodes[0].leads = true;
                s.nodes[0].state = state;
                s.nodes[0].lag_blocks = Some(2);
                s.nodes[0].progress = Some(0.31);
                if state == NodeState::NoTemplate {
                    s.nodes[0].reason = "it says No. (-1)".to_owned();
                }
            });
            assert_eq!(told, State::Degraded);
            assert_eq!(sentence, format!("Mining block 925\u{202f}114 with one miner. {words}"));
        }
        let (_, sentence, _) = headline(|s| s.board.undervoltage = Some(true));
        assert_eq!(
            sentence,
            "Mining block 925\u{202f}114 with one miner, with one thing to look at."
        );
    }

    #[test]
    fn what_is_not_known_yet_after_a_start_is_no_fault() {
        let start = |age: u64, change: fn(&mut Snapshot)| {
            let (state, sentence, _) = headline(|s| {
                s.started_at = s.now - age;
                s.miners[0].state = MinerState::Gone;
                s.miners[0].since = s.now - 3_600;
                change(s);
            });
            (state, sentence)
        };
        let back = "Ready to mine: the miners come back by themselves.".to_owned();
        assert_eq!(start(5, |_| ()), (State::Ok, back.clone()));
        let none = "Ready to mine, but no miner is connected.".to_owned();
        assert_eq!(start(119, |_| ()), (State::Ok, back.clone()));
        assert_eq!(start(120, |_| ()), (State::Degraded, none.clone()));
        // As after a start, so after a time without work.
        fn no_work_until(s: &mut Snapshot, ago: u64) {
            s.history.marks.push(MarkView {
                at: s.now - 500,
                until: Some(s.now - ago),
                kind: MarkKind::Outage,
                text: String::new(),
            });
        }
        assert_eq!(start(600, |s| no_work_until(s, 93)), (State::Ok, back));
        assert_eq!(start(600, |s| no_work_until(s, 120)), (State::Degraded, none.clone()));
        // Nobody is missed who was never here.
        assert_eq!(start(600, |s| s.miners.clear()), (State::Ok, none.clone()));
        // What is a fault is one from the first second on.
        let hot = |s: &mut Snapshot| s.board.undervoltage = Some(true);
        assert_eq!(start(5, hot), (State::Degraded, none));
        assert_eq!(start(5, |s| s.job = None).0, State::Down);
        let mut s = mining();
        let since = s.now - 3_600;
        s.miners.push(MinerView { state: MinerState::Gone, since, ..s.miners[0].clone() });
        s.started_at = s.now - 5;
        assert_eq!(verdict(&s).state, State::Ok);
        s.started_at = s.now - 121;
        assert_eq!(verdict(&s).state, State::Degraded);
    }

    #[test]
    fn waiting_for_one_node_is_not_all_there_is_to_do_when_another_has_a_fault() {
        let wait = |other: Option<NodeState>| {
            let (_, sentence, advice) = headline(|s| {
                s.job = None;
                s.nodes[0].state = NodeState::Syncing;
                s.nodes[0].progress = Some(0.31);
                s.nodes[0].sync_eta_s = Some(19 * 3600);
                let more = other.map(|state| NodeView { state, ..Default::default() });
                s.nodes.extend(more);
            });
            assert!(sentence.contains("downloading the chain: 31\u{202f}% done"), "{sentence}");
            assert!(advice.contains("in about 19\u{202f}h"), "{advice}");
            advice
        };
        assert!(wait(None).starts_with("Nothing to do: "));
        assert!(wait(Some(NodeState::Warming)).starts_with("Nothing to do: "));
        let advice = wait(Some(NodeState::Unusable));
        assert!(
            advice.starts_with("Mining ") && advice.contains("The other node would"),
            "{advice}"
        );
    }

    #[test]
    fn nodes_that_are_all_behind_the_network_are_one_alarm_and_the_headline_says_it() {
        let mut s = mining();
        let idle = |name: &str, lag| NodeView {
            name: name.to_owned(),
            state: NodeState::Lagging,
            lag_blocks: Some(lag),
            ..Default::default()
        };
        // The second stands as the first does, and the third lacks what these have.
        s.nodes.extend([idle("cellar", 0), idle("roof", 4)]);
        let behind = BehindView { own: 925_113, world: 925_116, by: 3, of: 4, since: 999_000 };
        s.outside.behind = Some(behind);
        s.alarms = vec![AlarmView {
            id: "behind_world".to_owned(),
            level: Level::Critical,
            advice: "Restart it.".to_owned(),
            ..Default::default()
        }];
        let told = verdict(&s);
        assert_eq!(told.state, State::Degraded);
        let headline =
            "Mining block 925\u{202f}114 with one miner, but the network is 3 blocks ahead.";
        assert_eq!((&*told.sentence, &*told.advice), (headline, "Restart it."));
        let ids: Vec<&str> = told.alarms.iter().map(|alarm| &*alarm.id).collect();
        assert_eq!(ids, ["behind_world", "node:roof", "no_spare_node"]);
        s.outside.behind = Some(BehindView { world: 925_114, ..behind });
        assert!(verdict(&s).sentence.ends_with(", but the network is one block ahead."));
        s.miners[0].state = MinerState::Gone;
        let alone = "No miner is connected, and the network is one block ahead.";
        assert_eq!(verdict(&s).sentence, alone);
        // Without work there is worse.
        s.job = None;
        s.nodes[0].state = NodeState::Down;
        assert_eq!(verdict(&s).state, State::Down);
    }

    #[test]
    fn a_miner_is_quiet_since_its_last_share_or_since_it_came() {
        let mut snapshot = mining();
        let now = snapshot.now;
        let came = now - 3 * 86_400;
        snapshot.miners[0].state = MinerState::Quiet;
        snapshot.miners[0].since = came;
        for (last, since, how_long) in [
            (Some(now - 900), now - 900, "15\u{202f}min"),
            // Before it came back, and never.
            (Some(came - 60), came, "3 days"),
            (None, came, "3 days"),
        ] {
            snapshot.miners[0].last_share_at = last;
            let told = verdict(&snapshot);
            let alarm = &told.alarms[0];
            assert_eq!((alarm.kind, alarm.since), (AlarmKind::MinerQuiet, Some(since)));
            let text = format!("Miner gamma is connected but has sent no share for {how_long}.");
            assert_eq!(alarm.text, text);
            let page = html::miner(&snapshot, &told, "gamma", None).unwrap();
            let quiet = page.split_once("quiet</b> since ").unwrap().1;
            assert!(quiet.starts_with(&format!("<time data-d=\"{since}\"")), "{}", &quiet[..80]);
        }
    }

    #[test]
    fn ordinary_things_are_no_alarm() {
        let mut snapshot = mining();
        let miner = &mut snapshot.miners[0];
        // On its way at a change of the block, and a firmware that repeats itself.
        for reason in [RejectReason::StaleAtChange, RejectReason::Duplicate] {
            miner.rejects.push(RejectView { reason, count: 1000 });
        }
        miner.latest = [Some(RejectReason::StaleAtChange); 10].to_vec();
        // Alone on a test network, and a node that does not tell.
        snapshot.chain = "regtest".to_owned();
        snapshot.nodes[0].peers = Some(0);
        snapshot.nodes[0].local_relay = None;
        // Half of the claim, but too few shares were to be expected: chance.
        miner.claimed = Some(1e12);
        miner.difficulty = 20_000.0;
        miner.rate_hour = proven(0.5e12, 20_000.0, 1_800);
        assert_eq!(verdict(&snapshot).state, State::Ok);
    }

    /// What a miner of this hashrate proves on average.
    fn proven(hashrate: f64, difficulty: f64, measured_s: u64) -> RateView {
        let shares = hashrate * measured_s as f64 / (difficulty * HASHES_PER_DIFFICULTY);
        let proven = Proven::even(shares.round() as u64, difficulty, measured_s as f64);
        RateView::of(&proven, 3_600, difficulty)
    }

    #[test]
    fn a_miner_is_called_slow_on_the_time_alone_in_which_it_was_connected() {
        let mut miner = MinerView { claimed: Some(1e12), difficulty: 1000.0, ..Default::default() };
        // An hour of which it was here for twelve minutes.
        miner.rate_hour = proven(1e12, 1000.0, 720);
        miner.rate_day = miner.rate_hour;
        let (part, low) = miner.proven_part().unwrap();
        assert!((part - 1.0).abs() < 0.01 && !low, "{part}");
        miner.rate_hour = proven(0.4e12, 1000.0, 720);
        assert_eq!(miner.proven_part().map(|(_, low)| low), Some(true));
        // It sends nothing any more.
        miner.rate_hour = proven(0.0, 1000.0, 3_600);
        assert_eq!(miner.proven_part(), Some((0.0, true)));
        // In the first minutes nobody can tell.
        miner.rate_hour = proven(0.0, 1000.0, 500);
        miner.rate_day = miner.rate_hour;
        assert_eq!(miner.proven_part(), None);
    }

    #[test]
    fn the_rule_for_prometheus_leaves_out_the_same_reasons() {
        let rules = include_str!("../../docs/monitoring/alerts.yml");
        let (_, rest) = rules.split_once("soloist_shares_rejected_total{reason!~\"").unwrap();
        let mut left_out: Vec<&str> = rest.split_once('"').unwrap().0.split('|').collect();
        left_out.sort_unstable();
        let ordinary = RejectReason::ALL.into_iter().filter(|reason| !tells_of_a_fault(*reason));
        let mut ordinary: Vec<&str> = ordinary.map(RejectReason::name).collect();
        ordinary.sort_unstable();
        assert_eq!(left_out, ordinary);
    }

    #[test]
    fn miners_that_carry_another_payout_address_are_named_together() {
        let miner = |name: &str, carries: Option<&str>, pays: &str| MinerView {
            id: name.to_owned(),
            name: carries.map_or(name.to_owned(), |address| format!("{address}.{name}")),
            user: format!("{}.{name}", carries.unwrap_or("own")),
            carries: carries.map(str::to_owned),
            pays: pays.to_owned(),
            ..Default::default()
        };
        let mut s = mining();
        s.payout.address = "own".to_owned();
        s.miners = vec![miner("a", Some("old"), "own"), miner("b", None, "own")];
        let told = verdict(&s);
        assert_eq!(told.state, State::Ok, "they pay the owner");
        let text = "Another payout address than yours stands in the user of a.";
        assert_eq!(told.alarms[0].text, text);
        assert!(told.alarms[0].advice.contains("write own.NAME as the user"));
        s.miners.extend([miner("c", Some("old"), "own"), miner("d", Some("older"), "own")]);
        assert!(verdict(&s).alarms[0].text.ends_with("in the user of a, c and d."));
        s.miners.push(miner("e", Some("old"), "own"));
        assert!(verdict(&s).alarms[0].text.ends_with("in the user of a, c, d and 1 more."));
        // Its blocks do go there.
        s.miners = vec![miner("a", Some("old"), "old")];
        let told = verdict(&s);
        assert_eq!(told.state, State::Degraded);
        assert!(told.alarms[0].text.starts_with("A block of a pays a former payout address"));
    }

    #[test]
    fn a_payout_address_that_waits_tells_which_miners_carry_the_one_of_now() {
        const OWN: &str = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq";
        let advice = |user: &str| {
            let mut s = mining();
            s.payout.address = OWN.to_owned();
            s.payout.pending = Some(Default::default());
            s.miners[0].user = user.to_owned();
            verdict(&s).advice
        };
        assert!(
            advice(&format!("{OWN}.gamma")).contains("now stands in the user of gamma: change it")
        );
        assert!(!advice("gamma").contains("user"));
    }

    #[test]
    fn missing_miners_are_told_together_and_not_blamed_for_our_own_failure() {
        let mut snapshot = mining();
        for i in 0..5 {
            snapshot.miners.push(MinerView {
                id: format!("m{i}"),
                name: format!("m{i}"),
                state: MinerState::Gone,
                since: snapshot.now - 700,
                ..Default::default()
            });
        }
        let alarms = verdict(&snapshot).alarms;
        assert_eq!(alarms.len(), 1);
        assert_eq!(alarms[0].text, "5 miners are missing: m0, m1, m2 and 2 more.");
        snapshot.miners.truncate(3);
        assert_eq!(verdict(&snapshot).alarms.len(), 2);
        snapshot.job = None;
        snapshot.nodes[0].state = NodeState::Down;
        let ids: Vec<String> = verdict(&snapshot).alarms.into_iter().map(|a| a.id).collect();
        assert_eq!(ids, ["node:attic"]);
    }

    #[test]
    fn the_worst_alarm_comes_first() {
        let mut snapshot = mining();
        snapshot.board.undervoltage = Some(true);
        snapshot.board.clock_synced = Some(false);
        snapshot.storage.writable = Some(false);
        let levels: Vec<Level> = verdict(&snapshot).alarms.iter().map(|a| a.level).collect();
        assert_eq!(levels, [Level::Critical, Level::Warning, Level::Info]);
    }
}
