//! What must hold at every moment, seen from outside: the world knows the truth.

use soloist::block::submission::BlockState;
use soloist::chain::BlockHash;
use soloist::failover::{Dispute, Follow, Standing};
use soloist::ids::NodeId;
use soloist::job::{JobId, Lookup};
use soloist::reject::Reject;

use super::Micros;
use super::daemon::Want;
use super::miner::Share;
use super::node::{Node, is_too_new};
use super::peer::Owner;
use super::sim::{SECOND, Solved, World, is_stale};

/// A node that has been well for this long is known to be: the breaker's longest wait, its probe
/// and what follows.
pub const KNOWN_WELL: Micros = 90 * SECOND;
/// The same while no node leads: then probes come every 5 s.
const KNOWN_WELL_IN_NEED: Micros = 25 * SECOND;
/// The first of those probes, and what follows.
const FOUND_IN_NEED: Micros = 10 * SECOND;
/// Miners leave a dead tip within this time, once a node that is known to be well has the new one.
const LONGEST_STALE: Micros = 4 * SECOND;
/// A line every 30 s, and the way to a slow miner.
const LONGEST_SILENCE: Micros = 34 * SECOND;
/// From the connection to the first job, with all answers to and fro.
const LONGEST_GREETING: Micros = 25 * SECOND;
/// A block is at every node that is up for so long and has its parent: the longest call under way,
/// and the next look at the confirmations.
const BLOCK_EVERYWHERE: Micros = 75 * SECOND;
/// The same where the daemon cannot think that it is there already: the longest pause between two
/// tries is 5 s.
const BLOCK_OFFERED: Micros = 8 * SECOND;
/// For so many blocks a change of a node's tip has our block offered to it at once.
const CONTESTED: u32 = 6;
/// A call that was under way to a node whose cable was out.
const CALL_LOST: Micros = 32 * SECOND;
/// The daemon sees within this time that RPC is away.
const RPC_MISSED: Micros = 10 * SECOND;
/// An empty job on a tip by P2P follows within this time.
const FOLLOWED_BY_P2P: Micros = SECOND;
/// A node's P2P port has a block within this time.
const BLOCK_BY_P2P: Micros = 5 * SECOND;
/// Blocks from one target to the next.
const RETARGET: u32 = 2016;
const GRACE: Micros = 90 * SECOND;
/// The daemon knows a wrong clock within this time and works by another: health reports come each
/// 12 s, and where a template tells, each 30 s.
const CLOCK_NOTICED: Micros = 45 * SECOND;

/// Since when a node that is known to be well, and whose chain the owner's setting allows, has had a tip
/// above this height.
pub fn known_since(world: &World, height: u32) -> Option<Micros> {
    let known = world.nodes.iter().enumerate().filter_map(|(index, node)| {
        let well = node.well_since?;
        let usable = if well > 0 { well + KNOWN_WELL } else { 0 };
        followed_since(world, index, node.view.passed(height)?).map(|since| since.max(usable))
    });
    known.min().filter(|since| *since <= world.now).map(|since| since.max(world.up_since()))
}

/// From when on the owner's setting has the daemon follow what a node has had since then.
fn followed_since(world: &World, index: usize, since: Micros) -> Option<Micros> {
    let (from, judging) = world.followed_from(index)?;
    // What it has had before the daemon ran is judged anew.
    let since = if judging > 0 { since.max(world.up_since()) } else { since };
    Some(since.max(from) + judging)
}

/// A miner has a new job: how old is the news?
pub fn job(world: &mut World, miner: usize, before: Option<BlockHash>) {
    let Some(prev) = world.miners[miner].job.as_ref().map(|job| job.prev) else { return };
    let Some(place) = world.blocks.find(prev) else {
        world.fail(format!("miner {miner} has a job on a block that nobody has"));
    };
    let height = world.blocks.get(place).height;
    let Some(before) = before.and_then(|before| world.blocks.find(before)) else { return };
    if height > world.blocks.get(before).height
        && let Some(since) = known_since(world, height - 1)
    {
        let since = since.max(world.miners[miner].connected_at);
        world.figures.tip_to_job.push(world.now - since);
    }
}

/// A share was judged by the pool. `tip` was the pool's when it came in.
pub fn judge(world: &mut World, tip: Option<BlockHash>, share: Share, read: &[Want]) {
    let found = read.iter().any(|want| matches!(want, Want::Solved(b) if b.hash == share.hash));
    // One that is known is no news when its share comes once more.
    let known = share.solves && world.blocks.find(share.hash).is_some();
    if (found || known) != share.solves {
        world.fail(format!("a block at the door: {}, taken for one: {found}", share.solves));
    }
    let is_current = tip == Some(share.prev);
    match read.last() {
        Some(Want::Counted) if share.repeated => world.fail("a share counts twice"),
        Some(Want::Counted) if !is_current => world.fail("a stale share counts"),
        Some(Want::Counted) => world.figures.counted += 1,
        Some(Want::Refused(why)) if is_stale(why) && !is_current => world.figures.stale += 1,
        Some(Want::Refused(Reject::Duplicate)) if share.repeated => {
            world.figures.duplicates += 1;
        }
        Some(Want::Refused(why)) => {
            world.figures.refused += 1;
            world.fail(format!("a valid share is refused: {why}"));
        }
        _ => world.fail("a share without a verdict"),
    }
}

/// Once a second.
pub fn audit(world: &mut World) {
    let now = world.now;
    let in_need = world.daemon.engine.failover().leader().is_none();
    let usable = |is_apt: &dyn Fn(&Node) -> bool| {
        world.nodes.iter().enumerate().filter(|(_, node)| is_apt(node)).any(|(index, node)| {
            let well = node.well_since.and_then(|since| followed_since(world, index, since));
            well.is_some_and(|since| now >= since.max(world.up_since()) + KNOWN_WELL)
        })
    };
    // One that lacks blocks of the last job gives work when nobody has confirmed that for a while.
    let has_blocks = |node: &Node| world.blocks.get(node.view.tip).height >= world.work_height;
    let (confirmed, any) = (usable(&has_blocks), usable(&|_| true));
    if confirmed {
        world.confirmed_at = now;
    }
    if confirmed || any && now > world.confirmed_at + GRACE * 5 / 6 {
        world.last_usable = now;
    }
    if in_need {
        // A node that lacks blocks need not lead: the last job is better than what it has.
        let floor = world.work_height.saturating_sub(1);
        let able = world.nodes.iter().enumerate().filter_map(|(index, node)| {
            let since = node.well_since?.max(node.view.passed(floor)?);
            Some(followed_since(world, index, since)?.max(world.up_since()))
        });
        let since = able.min().filter(|since| *since <= now);
        let searched = now - world.led_at;
        if since.is_some_and(|since| now - since > KNOWN_WELL_IN_NEED) && searched > FOUND_IN_NEED {
            world.fail("nobody leads although a node is well");
        }
        world.figures.nobody_leads += 1;
    } else {
        world.led_at = now;
    }
    world.no_rpc_since = match world.nodes.iter().any(Node::answers) {
        true => None,
        false => world.no_rpc_since.or(Some(now)),
    };
    without_rpc(world);
    clocks(world);
    rules(world);
    gates(world);
    miners(world);
    if (now / SECOND).is_multiple_of(2) {
        blocks(world);
    }
    if (now / SECOND).is_multiple_of(600) {
        memory(world);
    }
}

/// The node that has the tip of the last job by its P2P port, if one has.
pub fn confirmed_by_p2p(world: &World) -> Option<usize> {
    let tip = world.work_tip?;
    let has_it = |(index, node): &(usize, &Node)| {
        let heard = node.port.heard.is_some_and(|(heard, _)| heard == tip);
        node.port.is_own() && node.port.is_believed && heard && is_free(world, *index)
    };
    world.nodes.iter().enumerate().find(has_it).map(|(index, _)| index)
}

/// No rule of the first node keeps the miners from this one's chain.
fn is_free(world: &World, index: usize) -> bool {
    index == 0 || world.follow == Follow::Work
}

/// While no RPC answers, the miners follow what a node's P2P port tells, as far as an empty job can be
/// made; and what is no node's own port is not believed.
fn without_rpc(world: &mut World) {
    for (index, node) in world.nodes.iter().enumerate() {
        let is_own = world.daemon.engine.peers().is_own(NodeId(index as u32));
        if is_own && node.port.owner != Owner::Own {
            world.fail(format!("a stranger passes for n{index}"));
        }
    }
    for view in world.daemon.engine.failover().nodes(world.clock().mono) {
        let node = &world.nodes[view.id.0 as usize];
        let is_unheard = node.unheard_since.is_some_and(|since| world.now > since + 2 * RPC_MISSED);
        if is_unheard && *view.standing == Standing::Healthy {
            world.fail(format!("{} is said to be fit, and its RPC is away", view.name));
        }
    }
    let (Some(since), Some(tip)) = (world.no_rpc_since, world.work_tip) else { return };
    if !world.open {
        return;
    }
    world.figures.without_rpc += u64::from(confirmed_by_p2p(world).is_some());
    for (index, node) in world.nodes.iter().enumerate() {
        let Some((heard, at)) = node.port.heard else { continue };
        let block = world.blocks.get(heard);
        let is_told = node.port.is_own() && node.port.is_believed && is_free(world, index);
        let is_possible = block.parent == tip && !(block.height + 1).is_multiple_of(RETARGET);
        let since = at.max(since + RPC_MISSED).max(world.up_since());
        if is_told && is_possible && world.now > since + FOLLOWED_BY_P2P {
            let late = (world.now - since) / SECOND;
            world.fail(format!("n{index} told a new tip by P2P {late} s ago, and no job came"));
        }
    }
}

/// No work by a clock that is hours off, while another node that is known to be well has as much of
/// the chain.
fn clocks(world: &mut World) {
    let Some(work) = world.daemon.engine.pool().jobs().work() else { return };
    let index = work.node.0 as usize;
    if !world.nodes[index].is_hours_off() {
        return;
    }
    world.figures.misled += 1;
    let floor = world.work_height.saturating_sub(1);
    let others = world.nodes.iter().enumerate().filter(|(other, _)| *other != index);
    let able = others.filter_map(|(other, node)| {
        let known = node.well_since.map(|since| if since > 0 { since + KNOWN_WELL } else { 0 })?;
        followed_since(world, other, known.max(node.view.passed(floor)?))
    });
    let Some(able) = able.min() else { return };
    // It may lead for the moment that the template of a better one takes.
    let since = able.max(world.nodes[index].clock_since).max(world.work_by.1);
    if world.now > since + CLOCK_NOTICED {
        let (wrong, late) = (world.nodes[index].clock_wrong, (world.now - since) / SECOND);
        world.fail(format!("the work is n{index}'s, whose clock is {wrong} s off, for {late} s"));
    }
}

/// No work on what the owner's setting forbids, and who is said to refuse a block has refused it.
fn rules(world: &mut World) {
    let prev = world.daemon.engine.pool().jobs().work().map(|work| work.template.prev);
    if let Some(place) = prev.and_then(|prev| world.blocks.find(prev))
        && world.is_forbidden(place, 0)
    {
        world.fail("the work is on a block that the first node has refused");
    }
    if world.follow == Follow::First
        && let Some(place) = prev.and_then(|prev| world.blocks.find(prev))
    {
        let height = world.blocks.get(place).height;
        let first = &world.nodes[0];
        let refused = first.refused.iter().any(|refused| {
            let tip = world.blocks.get(world.net.tip);
            tip.breaks == Some(refused.first) && tip.height > height
        });
        world.figures.obeyed += u64::from(refused);
    }
    for miner in &world.miners {
        let job = miner.conn.and(miner.job.as_ref());
        let Some(place) = job.and_then(|job| world.blocks.find(job.prev)) else { continue };
        if world.is_forbidden(place, LONGEST_STALE + 2 * miner.setup.distance) {
            world.fail(format!("{} works on a block that the first node has refused", miner.name));
        }
    }
    let disputes: Vec<Dispute> = world
        .daemon
        .engine
        .failover()
        .nodes(world.clock().mono)
        .filter_map(|view| match view.standing {
            Standing::Refuses(dispute) | Standing::Refused(dispute) => Some(dispute.clone()),
            _ => None,
        })
        .collect();
    for dispute in &disputes {
        let named = |(index, _): &(usize, &Node)| format!("n{index}") == dispute.refuser;
        let refuser = world.nodes.iter().enumerate().find(named);
        let is_true = refuser.is_some_and(|(_, node)| {
            let block = world.blocks.find(dispute.block);
            block.is_some_and(|block| node.ever_refused(&world.blocks, block))
        });
        if !is_true {
            world.fail(format!("{dispute:?} is made up"));
        }
    }
    world.figures.disputes += disputes.len() as u64;
}

/// No work means closed doors, and closed doors mean that there is none.
fn gates(world: &World) {
    if world.daemon.engine.failover().is_gated() == world.open {
        world.fail("the doors do not follow the gate");
    }
    if world.daemon.engine.pool().is_open() != world.open {
        world.fail("open doors without work, or closed ones with");
    }
    let mute = world.nodes.iter().map(|node| node.mute_since).min().flatten();
    let all_mute = world.nodes.iter().all(|node| node.mute_since.is_some());
    let latest = world.nodes.iter().filter_map(|node| node.mute_since).max();
    if all_mute
        && mute.is_some()
        && world.open
        && latest.is_some_and(|since| world.now - since > GRACE + 3 * SECOND)
    {
        world.fail("no node has answered for the grace, and miners are still let in");
    }
}

fn miners(world: &mut World) {
    let now = world.now;
    let (mut idle, mut stale) = (0, 0);
    for (index, miner) in world.miners.iter().enumerate() {
        if miner.conn.is_none() {
            continue;
        }
        let greeting = now - miner.connected_at;
        let Some(job) = &miner.job else {
            idle += 1;
            if greeting > LONGEST_GREETING && world.open {
                world.fail(format!("miner {index} has had no job for {greeting} µs"));
            }
            continue;
        };
        let silence = now - miner.last_line;
        if silence > LONGEST_SILENCE {
            world.fail(format!("miner {index} has heard nothing for {silence} µs"));
        }
        let Some(place) = world.blocks.find(job.prev) else { continue };
        let height = world.blocks.get(place).height;
        if let Some(since) = known_since(world, height) {
            stale += 1;
            let far = 2 * miner.setup.distance;
            let age = (now - since).min(greeting);
            if age > LONGEST_STALE + far {
                world.fail(format!("miner {index} has worked on a dead tip for {age} µs"));
            }
        }
    }
    world.figures.idle_seconds += idle;
    world.figures.stale_seconds += stale;
    let connected = world.miners.iter().filter(|miner| miner.conn.is_some()).count();
    world.figures.miner_seconds += connected as u64;
}

/// Every block of ours is at every node that can have it.
fn blocks(world: &mut World) {
    let now = world.now;
    let net = world.blocks.get(world.net.tip).height;
    for solved in world.solved.iter().rev() {
        let block = world.blocks.get(solved.place);
        // Ours is over a hundred blocks later, one way or the other.
        if block.height + 95 < net {
            break;
        }
        let since = solved.at.max(world.up_since());
        for (index, node) in world.nodes.iter().enumerate() {
            if lacks_by_p2p(world, node, solved) {
                world.fail(format!("n{index} lacks our block {} by P2P", block.height));
            }
            let Some((parent, well)) = node.view.since(block.parent).zip(node.well_since) else {
                continue;
            };
            let since = since.max(parent).max(well).max(node.lag_until).max(node.clock_since);
            // It refuses one that is too new, and is asked again after a while.
            let since = since.max(world.acceptable_from(index, solved.place));
            // After it lacked the parent the pauses grow, unless its tip has changed lately.
            let is_fresh = block.height + CONTESTED > net
                && node.view.is_in_chain(&world.blocks, block.parent);
            let is_late = node.has_said.contains(&solved.place)
                || node.too_new.contains(&solved.place)
                || node.lacked_parent.contains(&solved.place) && !is_fresh;
            let limit = match (is_late, node.was_cut) {
                (true, _) => BLOCK_EVERYWHERE,
                (false, true) => BLOCK_OFFERED + CALL_LOST,
                (false, false) => BLOCK_OFFERED,
            };
            if now <= since + limit {
                continue;
            }
            if !node.view.knows(solved.place) {
                let late = (now - since) / SECOND;
                world.fail(format!("n{index} lacks our block {} for {late} s", block.height));
            }
            if world.blocks.at_height(node.view.tip, block.height).is_none() {
                world.fail(format!("n{index} is below our block {}", block.height));
            }
        }
    }
}

/// The node has had the time to take the block by its P2P port, whatever its RPC does.
fn lacks_by_p2p(world: &World, node: &Node, solved: &Solved) -> bool {
    let parent = node.view.since(world.blocks.get(solved.place).parent);
    let (Some(parent), Some(ready)) = (parent, node.port.ready_since) else { return false };
    // What it did not want, and what it has shown and lost since, it is not told of again.
    let is_over =
        node.port.declined.contains(&solved.place) || node.has_said.contains(&solved.place);
    let since = solved.at.max(parent).max(ready).max(node.clock_since).max(world.up_since());
    node.port.is_own()
        && node.quiet_since.is_none()
        && !is_over
        && world.now > since.max(node.port.went_on) + BLOCK_BY_P2P
        && !node.view.knows(solved.place)
}

/// The job lists and the submissions stay within their bounds.
fn memory(world: &mut World) {
    let jobs = world.daemon.engine.pool().jobs();
    let Some(newest) = jobs.latest() else { return };
    let (mut current, mut retired, mut works) = (0, 0, Vec::new());
    for back in 0..4000 {
        match jobs.find(JobId(newest.id.0.wrapping_sub(back))) {
            Lookup::Current(job) => {
                current += 1;
                works.push(std::rc::Rc::as_ptr(&job.work));
            }
            Lookup::Stale(job, _) => {
                retired += 1;
                works.push(std::rc::Rc::as_ptr(&job.work));
            }
            Lookup::Unknown => {}
        }
    }
    works.sort_unstable();
    works.dedup();
    if current > 2048 || retired > 512 || works.len() > 64 + 512 {
        world.fail(format!("{current} jobs, {retired} old ones, {} works", works.len()));
    }
    let tracked = world.daemon.engine.blocks().iter().count();
    // A block is mature by the chain that has it.
    let tips = [world.net.tip, world.strict_net.tip].map(|tip| world.blocks.get(tip).height);
    let net = tips[0].min(tips[1]);
    let old = world.daemon.engine.blocks().iter().find(|(block, _)| block.height + 130 < net);
    if let Some((block, state)) = old {
        world.fail(format!("block {} is decided, but still watched: {state:?}", block.height));
    }
    let sessions = world.daemon.engine.pool().sessions().count();
    if sessions > 3 * world.miners.len() {
        world.fail(format!("{sessions} sessions"));
    }
    let figures = &mut world.figures;
    figures.most_jobs = figures.most_jobs.max(current + retired);
    figures.most_works = figures.most_works.max(works.len());
    figures.most_tracked = figures.most_tracked.max(tracked);
    figures.largest_outbox = figures.largest_outbox.max(world.daemon.largest_outbox);
    let largest = figures.largest_outbox;
    if largest > 4000 * (world.miners.len() + 1) {
        world.fail(format!("an outbox of {largest} bytes"));
    }
}

/// At the end, after a quiet time: every block has a fate, and the daemon knows it.
pub fn last_judgement(world: &mut World) {
    for solved in &world.solved {
        let place = solved.place;
        let block = world.blocks.get(place);
        if is_young(world, place) {
            continue;
        }
        let winner = world.blocks.at_height(world.net.tip, block.height);
        match winner {
            Some(winner) if winner == place => world.figures.in_chain += 1,
            _ if world.strict_net.is_in_chain(&world.blocks, place) => {
                world.figures.in_chain += 1;
                world.figures.on_strict_side += 1;
            }
            Some(winner) => {
                // A competitor on another parent means that the race was lost below it.
                let same = world.blocks.get(winner).parent == block.parent;
                world.figures.orphaned += 1;
                world.figures.stale_blocks += u64::from(!same);
            }
            None => world.fail(format!("our block {} is nowhere", block.height)),
        }
    }
    for (block, state) in world.daemon.engine.blocks().iter() {
        let Some(place) = world.blocks.find(block.hash) else { continue };
        if is_young(world, place) {
            continue;
        }
        let has_it = |node: &&Node| node.view.is_in_chain(&world.blocks, place);
        let holders: Vec<&Node> = world.nodes.iter().filter(has_it).collect();
        // One that may not be asked shows its tip alone.
        let is_shown = holders.iter().any(|node| !node.forbids_headers);
        let nets = [&world.net, &world.strict_net];
        let won = nets.iter().any(|net| net.is_in_chain(&world.blocks, place));
        let fits = match state {
            // A chain of blocks from the future may be the best one of the only node, and of nobody else.
            BlockState::Accepted { .. } => {
                let future = holders.iter().any(|node| from_the_future(world, node));
                // What was the tip of a node that shows its tip alone is not known to have lost until it is
                // buried, unless another has it as well.
                let shows = |node: &Node| !node.forbids_headers && node.view.knows(place);
                let is_told = !world.nodes.iter().any(|node| node.forbids_headers)
                    || world.nodes.iter().any(shows);
                !is_told || !holders.is_empty() && (won || future)
            }
            // In a split it may have won where no node of ours is.
            BlockState::Orphaned => !is_shown,
            // The next block has come long ago.
            BlockState::Beside => false,
            // Never the best at any node: it stays a candidate until it is buried.
            BlockState::Candidate | BlockState::Refused { .. } => !is_shown,
            BlockState::Mature | BlockState::Stale => false,
        };
        if !fits {
            let holders = holders.len();
            world.fail(format!(
                "block {} won: {won}, {holders} nodes have it, but it is {state:?}",
                block.height
            ));
        }
    }
}

/// Its fate may still be open, or the daemon's next look is still to come.
fn is_young(world: &World, place: usize) -> bool {
    let solved = world.solved.iter().find(|solved| solved.place == place);
    let height = world.blocks.get(place).height;
    let is_high = |tip: usize| height + 1 >= world.blocks.get(tip).height;
    is_high(world.net.tip)
        // The last block of the strict chain that the rest has in common with it may be older.
        || world.strict_net.is_in_chain(&world.blocks, place) && is_high(world.strict_net.tip)
        || solved.is_none_or(|solved| world.now - solved.at < 90 * SECOND)
}

/// Its best chain has a block among the newest hundred that the rest of the world does not take yet.
fn from_the_future(world: &World, node: &Node) -> bool {
    let parent = |place: &usize| Some(world.blocks.get(*place).parent);
    let newest = std::iter::successors(Some(node.view.tip), parent).take(100);
    let unix = world.clock().unix;
    newest.map(|place| world.blocks.get(place)).any(|block| is_too_new(block, unix))
}
