//! What must hold of strangers at every moment: whom we connect to and when, that a block of ours comes to
//! one of them in time, that none of them decides anything, and when the alarm sounds that the own nodes
//! are behind.

use std::collections::BTreeSet;

use soloist::chain::{BlockHash, Chain};
use soloist::failover::BestTip;
use soloist::ids::NodeId;
use soloist::node::Ask;
use soloist::peer_address::{Outside, PeerAddress};

use super::Micros;
use super::audit::KNOWN_WELL;
use super::daemon::Want;
use super::node::is_too_new;
use super::sim::{SECOND, UNIX, World};
use super::strangers::{Kind, Lie, Stranger};

/// Connections to outside nodes at a time, and addresses of strangers that are known.
const CONNECTIONS: usize = 8;
const ADDRESSES: usize = 64;
/// For so long have own nodes the time to show a block before strangers are asked.
const OWN_FIRST: Micros = 2 * SECOND;
/// From the call of one that is well until it has a block of ours.
const HANDED_OVER: Micros = 3 * SECOND;
/// Strangers that show a block are enough, and so many blocks are offered at a time.
const ENOUGH: usize = 8;
/// A block that is older is offered to no stranger.
const TOO_OLD: u64 = 6 * 3600;
/// The longest time for which one takes a place in vain: it answers late, and does not show the block.
const IN_VAIN: Micros = 85 * SECOND;
/// The same where nobody answers, and where nothing listens.
const SILENT: Micros = 6 * SECOND;
const AWAY: Micros = SECOND;
/// The own nodes must be behind for so long before it is told.
const PATIENCE: Micros = 60 * SECOND;
/// What is seen once a second may have begun that much earlier.
const LATE: Micros = 2 * SECOND;
/// The daemon has heard the tip of a node that is well: health reports come each 12 s.
const HEARD: Micros = 20 * SECOND;

/// The alarm that the own nodes are behind the world.
#[derive(Default)]
pub struct Alarm {
    /// The highest block that an own node has had while the daemon ran, and the highest header.
    own: u32,
    headers: u32,
    /// The own nodes' height, as the engine heard it last.
    heard: u32,
    /// The height of the world that was told last; `None` while nothing is wrong.
    told: Option<u32>,
    /// Since when strangers give reason for it, the own nodes' headers do, and neither block nor header
    /// has come to the own nodes.
    by_strangers: Option<Micros>,
    by_headers: Option<Micros>,
    /// Since when there has been none, although it sounds.
    no_reason: Option<Micros>,
    /// When at least half of those who told a height had told lies, last.
    lied_at: Option<Micros>,
}

/// What no stranger can change.
#[derive(Debug, PartialEq)]
pub struct Decisions {
    leader: Option<NodeId>,
    tip: Option<BestTip>,
    work: Option<BlockHash>,
}

/// The heights that outside nodes have told the engine.
struct Heights {
    ahead: usize,
    liars: usize,
    of: usize,
}

/// Once a second.
pub fn audit(world: &mut World) {
    world.note_alarm();
    reach(world);
    connections(world);
    alarm(world);
    honest_heights(world);
    let known = world.daemon.engine.outside().known();
    if known != world.strangers.known.len() {
        world.fail(format!("{known} addresses, but {} are kept", world.strangers.known.len()));
    }
    for waiting in world.waiting_blocks() {
        blocks(world, waiting);
    }
}

/// The owner allows it, and there is a block for which it is done.
fn connections(world: &mut World) {
    let open = world.strangers.open.len();
    world.figures.most_outside = world.figures.most_outside.max(open);
    let listed = world.daemon.engine.outside().connections().count();
    if listed != open {
        world.fail(format!("{listed} outside connections by the page, {open} in truth"));
    }
    let is_for_blocks = world.strangers.settings.outside == Outside::Block;
    if is_for_blocks && open > 0 && world.strangers.offered.is_empty() {
        world.fail("connections to outside nodes, and no block waits");
    }
}

/// Whether there was anybody to take a block, for people to read.
fn reach(world: &mut World) {
    let ready = |connection: &super::strangers::Connection| connection.ready_since.is_some();
    let is_any = world.strangers.open.values().any(ready);
    world.figures.outside_seconds += u64::from(is_any);
}

/// What a stranger is shown with is what it told, and no honest one tells of blocks that nobody has.
fn honest_heights(world: &World) {
    let highest = highest(world);
    for view in world.daemon.engine.outside().connections() {
        let of = |connection: &&super::strangers::Connection| {
            world.strangers.list[connection.stranger].address == *view.address
        };
        let Some(connection) = world.strangers.open.values().find(of) else {
            world.fail(format!("{} is shown, but not connected", view.address));
        };
        if connection.height.is_some() && view.height != connection.height {
            let (shown, told) = (view.height, connection.height);
            world.fail(format!("{} told {told:?} and is shown at {shown:?}", view.address));
        }
        if !connection.lies && view.height.is_some_and(|height| height > highest) {
            world.fail(format!("{} is shown at {:?}", view.address, view.height));
        }
    }
}

/// A block of ours that no own node shows is with a stranger that is well. One that is connected has it at
/// once. Otherwise all have their turns, eight at a time, where each that is of no use takes its place for
/// a while: so it begins after the sum of these times, divided by the places, at the latest. A stranger
/// that pretends to have our blocks keeps its place for good.
fn blocks(world: &mut World, (hash, offered): (BlockHash, Micros)) {
    let now = world.now;
    let Some(place) = world.blocks.find(hash) else { return };
    let block = world.blocks.get(place);
    if world.net.knows(place) || world.strict_net.knows(place) {
        return;
    }
    let unix = UNIX + offered / SECOND;
    let is_old = u64::from(block.time) + TOO_OLD < unix + 60;
    if is_old || is_too_new(block, unix) {
        return;
    }
    let strangers = &world.strangers;
    let able = strangers.list.iter().enumerate().filter(|(index, stranger)| {
        let parent = world.view_of_stranger(*index).since(block.parent);
        let breaks = stranger.strict && block.breaks.is_some();
        let has_parent = parent.is_some_and(|since| since <= offered);
        stranger.kind == Kind::Well && stranger.since <= offered && has_parent && !breaks
    });
    let is_enough = strangers.shown.get(&hash).is_some_and(|shown| *shown >= ENOUGH);
    for (index, stranger) in able {
        let connected = strangers.open.values().find(|open| open.stranger == index);
        let ready = connected.and_then(|connected| connected.ready_since);
        if let Some(ready) = ready.filter(|ready| *ready <= offered)
            && now > offered.max(ready) + HANDED_OVER
        {
            let address = &stranger.address;
            world.fail(format!("{address} is connected and lacks our block {}", block.height));
        }
        let Some(turn) = turn(world, stranger, offered).filter(|_| !is_enough) else { continue };
        if now > turn + HANDED_OVER {
            let (address, late) = (&stranger.address, (now - turn) / SECOND);
            world.fail(format!("{address} lacks our block {} for {late} s", block.height));
        }
    }
    let is_wanted = world.strangers.settings.outside != Outside::Off;
    world.figures.waits_for_strangers += u64::from(is_wanted);
}

/// When a stranger has its turn for a block that has been offered since then, at the latest; `None` where
/// it need not have one.
fn turn(world: &World, stranger: &Stranger, offered: Micros) -> Option<Micros> {
    let strangers = &world.strangers;
    if strangers.settings.outside == Outside::Off {
        return None;
    }
    let known = match stranger.is_named {
        true => 0,
        false => *strangers.known.get(&stranger.address).filter(|_| strangers.are_wanted())?,
    };
    let others = strangers.list.iter().filter(|other| other.address != stranger.address);
    let others =
        others.filter(|other| other.is_named || strangers.known.contains_key(&other.address));
    let (mut places, mut sum) = (CONNECTIONS, 0);
    for other in others {
        let is_changed = other.since > offered;
        let keeps = other.is_named || other.kind == Kind::Liar(Lie::Has) || is_changed;
        if keeps {
            places = places.checked_sub(1).filter(|places| *places > 0)?;
        }
        sum += match other.kind {
            _ if is_changed => IN_VAIN,
            Kind::Away => AWAY,
            Kind::Silent => SILENT,
            Kind::Well | Kind::Slow | Kind::Liar(_) => IN_VAIN,
        };
    }
    // After a pause of its own, others may have a second turn before it.
    let turns = if stranger.paused_until > offered { 2 } else { 1 };
    let since = (offered + OWN_FIRST).max(known).max(stranger.paused_until);
    Some(since + turns * sum / places as Micros)
}

/// It sounds when it must, and does not go on without a reason.
fn alarm(world: &World) {
    let outside = world.daemon.engine.outside();
    let told = outside.behind();
    let now = world.now;
    if told.is_some() != world.strangers.alarm.told.is_some() {
        world.fail(format!("the page has the alarm: {told:?}, and the owner was told otherwise"));
    }
    let Alarm { own, by_strangers, by_headers, .. } = world.strangers.alarm;
    let reasons = [(by_strangers, LATE), (by_headers, HEARD)];
    let reasons = reasons.into_iter().filter_map(|(since, late)| Some(since? + PATIENCE + late));
    if told.is_none() && reasons.min().is_some_and(|latest| now > latest) {
        world.fail(format!(
            "the own nodes are behind at {own} since {by_strangers:?}, {by_headers:?}, and nothing is told"
        ));
    }
    let Some((behind, _)) = told else { return };
    if let Some(since) = world.strangers.alarm.no_reason
        && now > since + HEARD
    {
        world.fail(format!("{behind:?} is still told, {} s later", (now - since) / SECOND));
    }
    for (index, node) in world.nodes.iter().enumerate() {
        let known = node.well_since.map(|since| (since + KNOWN_WELL).max(world.up_since()));
        let passed = known.zip(node.view.passed(behind.own)).map(|(known, at)| known.max(at));
        let by_p2p = node.port.heard.filter(|(tip, _)| {
            let is_own = node.port.is_own() && node.port.is_believed;
            is_own && world.blocks.get(*tip).height > behind.own
        });
        let by_p2p = by_p2p.map(|(_, at)| at.max(world.up_since()));
        if [passed, by_p2p].into_iter().flatten().any(|at| now > at + HEARD) {
            world.fail(format!("{behind:?} is told, but n{index} has a higher block"));
        }
    }
}

/// The height of the real chain, by whichever rules it is higher.
fn highest(world: &World) -> u32 {
    let tips = [&world.net, &world.strict_net].map(|net| world.blocks.get(net.tip).height);
    let own = world.nodes.iter().map(|node| world.blocks.get(node.view.tip).height);
    own.chain(tips).max().unwrap_or_default()
}

impl World {
    /// The owner and the chain allow a connection to this stranger now.
    pub fn may_connect(&self, stranger: usize, chain: Chain) {
        let strangers = &self.strangers;
        let stranger = &strangers.list[stranger];
        let address = &stranger.address;
        if strangers.settings.outside == Outside::Off {
            self.fail(format!("a connection to {address}, and the owner wants none"));
        }
        if chain != strangers.chain {
            self.fail(format!("a connection to {address} for {chain:?}"));
        }
        if !stranger.is_named && chain == Chain::Regtest {
            self.fail(format!("a connection to {address}, and the chain is this house's own"));
        }
        if !stranger.is_named && !strangers.known.contains_key(address) {
            self.fail(format!("a connection to {address}, of which no node has told"));
        }
        if strangers.open.len() >= CONNECTIONS {
            self.fail(format!("a connection to {address} beside {} others", strangers.open.len()));
        }
        for other in strangers.open.values().map(|open| &strangers.list[open.stranger]) {
            if other.address == *address {
                self.fail(format!("two connections to {address}"));
            }
            let is_near = other.address.network() == address.network();
            if is_near && !other.is_named && !stranger.is_named {
                self.fail(format!("{address} and {} are in the same network", other.address));
            }
        }
        let is_due = |since: &Micros| self.now >= since + OWN_FIRST;
        if strangers.settings.outside == Outside::Block && !strangers.offered.values().any(is_due) {
            self.fail(format!(
                "a connection to {address}, and no block has waited for two seconds"
            ));
        }
    }

    /// The DNS seeds may be asked by the owner's leave, and with no proxy.
    pub fn may_ask_seeds(&self, chain: Chain) {
        let strangers = &self.strangers;
        let settings = &strangers.settings;
        let may = settings.seeds && !settings.by_proxy && chain == strangers.chain;
        if !may || !strangers.are_wanted() {
            self.fail(format!("the DNS seeds of {chain:?} are asked with {settings:?}"));
        }
    }

    /// The nodes are asked for addresses only where these are of use.
    pub fn may_ask(&self, ask: &Ask) {
        if matches!(ask, Ask::Addresses) && !self.strangers.are_wanted() {
            self.fail("a node is asked for addresses, and nobody wants any");
        }
    }

    /// Addresses that can be of use, each in another network.
    pub fn may_keep(&self, chain: Chain, list: &[PeerAddress]) {
        let networks: BTreeSet<_> = list.iter().map(PeerAddress::network).collect();
        let strangers = |address: &PeerAddress| {
            let found = self.strangers.find(address);
            found.is_some_and(|found| !self.strangers.list[found].is_named)
        };
        let is_fine = list.len() <= ADDRESSES
            && networks.len() == list.len()
            && list.iter().all(strangers)
            && chain == self.strangers.chain
            && self.strangers.are_wanted();
        if !is_fine {
            self.fail(format!("these addresses of {chain:?} are kept: {list:?}"));
        }
    }

    /// The newest blocks that no own node shows.
    fn waiting_blocks(&self) -> Vec<(BlockHash, Micros)> {
        let offered = self.strangers.offered.iter();
        let mut waiting: Vec<_> = offered.map(|(hash, since)| (*hash, *since)).collect();
        waiting.sort_unstable_by_key(|(_, since)| std::cmp::Reverse(*since));
        waiting.truncate(ENOUGH);
        waiting
    }

    pub fn decisions(&self) -> Decisions {
        let engine = &self.daemon.engine;
        Decisions {
            leader: engine.failover().leader(),
            tip: engine.failover().best_tip(),
            work: engine.pool().jobs().work().map(|work| work.template.prev),
        }
    }

    /// What a stranger said has changed nothing but what is done with strangers.
    pub fn only_strangers_are_moved(&self, before: &Decisions) {
        let is_about_strangers = |want: &Want| {
            matches!(
                want,
                Want::OutsideConnect { .. }
                    | Want::Outside(..)
                    | Want::OutsideDrop(_)
                    | Want::AskSeeds(_)
                    | Want::Keep(..)
                    | Want::Told(_)
                    | Want::Ask(_, Ask::Addresses)
            )
        };
        if let Some(want) = self.daemon.pending().iter().find(|want| !is_about_strangers(want)) {
            self.fail(format!("a stranger's word leads to {want:?}"));
        }
        let after = self.decisions();
        if after != *before {
            self.fail(format!("a stranger's word makes {after:?} of {before:?}"));
        }
    }

    fn heights(&self, own: u32) -> Heights {
        let lies = |address: &PeerAddress| {
            let open = self.strangers.open.values();
            let mut open =
                open.map(|open| (&self.strangers.list[open.stranger].address, open.lies));
            open.any(|(other, lies)| lies && other == address)
        };
        let views = self.daemon.engine.outside().connections();
        let told: Vec<_> =
            views.filter_map(|view| Some((lies(view.address), view.height?))).collect();
        Heights {
            ahead: told.iter().filter(|(_, height)| *height > own).count(),
            liars: told.iter().filter(|(lies, _)| *lies).count(),
            of: told.len(),
        }
    }

    /// Notes whether there is a reason for the alarm.
    pub fn note_alarm(&mut self) {
        let now = self.now;
        let tip = self.daemon.engine.failover().best_tip();
        let views = self.nodes.iter().map(|node| self.blocks.get(node.view.tip).height);
        let highest = views.chain(tip.map(|tip| tip.height)).max().unwrap_or_default();
        let told = self.daemon.engine.outside().behind();
        let alarm = &mut self.strangers.alarm;
        let heard = tip.map_or(alarm.heard, |tip| tip.height);
        // Its minute begins anew with each block that it hears of.
        if highest > alarm.own || heard != alarm.heard {
            (alarm.own, alarm.heard) = (highest.max(alarm.own), heard);
            (alarm.by_strangers, alarm.by_headers) = (None, None);
        }
        alarm.headers = alarm.headers.max(tip.map_or(0, |tip| tip.headers));
        let own = told.map_or(alarm.own, |(behind, _)| behind.own);
        let (ever, headers) = (alarm.headers, tip.map_or(0, |tip| tip.headers));
        let heights = self.heights(own);
        let alarm = &mut self.strangers.alarm;
        if heights.liars > 0 && heights.liars * 2 >= heights.of {
            alarm.lied_at = Some(now);
        }
        let by_strangers = heights.ahead > 0 && heights.ahead * 2 >= heights.of;
        let since = |is_so: bool, before: Option<Micros>| is_so.then(|| before.unwrap_or(now));
        alarm.by_strangers = since(by_strangers, alarm.by_strangers);
        alarm.by_headers = since(headers > own, alarm.by_headers);
        let is_without = told.is_some() && !by_strangers && ever <= own;
        alarm.no_reason = since(is_without, alarm.no_reason);
    }

    /// The owner is told something of the nodes.
    pub fn hear_alarm(&mut self, text: &str) {
        self.note_alarm();
        if text.contains("been standing at block") {
            self.alarm_begins(text);
        } else if text.starts_with("Your nodes have caught up with block") {
            self.alarm_ends(text, true);
        } else if text.starts_with("Nobody shows block") {
            self.alarm_ends(text, false);
        }
    }

    fn alarm_begins(&mut self, text: &str) {
        let Some((behind, _)) = self.daemon.engine.outside().behind() else {
            self.fail(format!("{text:?} is told, but not shown"));
        };
        if self.strangers.alarm.told.replace(behind.world).is_some() {
            self.fail(format!("{text:?} is told twice"));
        }
        self.figures.alarms += 1;
        self.figures.alarms_by_strangers += u64::from(behind.by > 0);
        let lied_at = self.strangers.alarm.lied_at;
        if lied_at.is_some_and(|at| self.now < at + PATIENCE + LATE) {
            self.figures.false_alarms += 1;
            return;
        }
        let latest = self.now.saturating_sub(PATIENCE);
        let is_behind = |net: &super::chain::View| {
            net.passed(behind.own).is_some_and(|passed| passed <= latest)
        };
        if !is_behind(&self.net) && !is_behind(&self.strict_net) {
            self.fail(format!("{text:?}, but the own nodes have not been behind for a minute"));
        }
        if behind.world > highest(self) {
            self.fail(format!("{text:?}, but no chain is that long"));
        }
    }

    fn alarm_ends(&mut self, text: &str, is_there: bool) {
        let Some(world) = self.strangers.alarm.told.take() else {
            self.fail(format!("{text:?}, but nothing was wrong"));
        };
        self.strangers.alarm.no_reason = None;
        let number = text.split(|c: char| !c.is_ascii_digit()).find(|word| !word.is_empty());
        let number: u32 = number.and_then(|number| number.parse().ok()).expect("a height");
        let own = self.strangers.alarm.own;
        let told = self.daemon.engine.failover().best_tip().map(|tip| tip.height);
        let is_true = match is_there {
            true => own >= number,
            false => told.is_none_or(|told| told < number),
        };
        if !is_true {
            self.fail(format!("{text:?}, but the own nodes are at {told:?}, once at {own}"));
        }
        self.figures.caught_up += u64::from(is_there);
        // More blocks may have come since it was told.
        if number < world && !is_there && self.strangers.alarm.lied_at.is_none() {
            self.fail(format!("{text:?}, but {world} was told"));
        }
    }
}
