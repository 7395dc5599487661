//! The API's answers: our own shapes, and those of public-pool that widgets read.
//!
//! Our own shapes are the snapshot's: every field is described there, with its unit. Fields are
//! only ever added; [`API_VERSION`] rises when one changes its meaning.

use serde::Serialize;
use serde_json::{Value, json};

use super::{HistoryView, MinerState, MinerView, RefusedPeerView, Snapshot, Verdict, format, odds};
use crate::address;

/// Version of the shapes below.
pub const API_VERSION: &str = "1";

/// `/api/openapi.json`: what every address answers.
pub const OPENAPI: &str = include_str!("../../docs/openapi.json");

/// `/api/status`: all but the lists, which have their own addresses.
pub fn status(snapshot: &Snapshot, verdict: &Verdict) -> Vec<u8> {
    bytes(&json!({
        "api_version": API_VERSION,
        "now": snapshot.now,
        "uptime_s": snapshot.now.saturating_sub(snapshot.started_at),
        "name": snapshot.name,
        "chain": snapshot.chain,
        "configured": snapshot.configured,
        "state": verdict.state,
        "sentence": verdict.sentence,
        "advice": verdict.advice,
        "alarms": verdict.alarms,
        "snoozed": verdict.snoozed,
        "payout": snapshot.payout,
        "job": snapshot.job,
        "network": snapshot.network,
        "leading_node": snapshot.leading().map(|node| &node.name),
        "nodes": snapshot.nodes.len(),
        "miners": snapshot.miners.len(),
        "miners_connected": snapshot.connected().count(),
        "totals": snapshot.totals,
        "odds": odds(snapshot),
        "blocks_found": snapshot.totals.blocks_found,
        "failovers": snapshot.failovers,
        "stratum": snapshot.stratum,
        "page": snapshot.page,
        "templates": snapshot.templates,
        "board": snapshot.board,
        "process": snapshot.process,
        "storage": snapshot.storage,
        "canary": snapshot.canary,
        "notifications": snapshot.sinks,
        "mqtt": snapshot.mqtt,
        "connect": snapshot.connect,
        "build": snapshot.build,
    }))
}

/// `/api/miners`.
pub fn miners(snapshot: &Snapshot) -> Vec<u8> {
    #[derive(Serialize)]
    struct Miners<'a> {
        now: u64,
        miners: &'a [MinerView],
        knocking: &'a [RefusedPeerView],
    }
    bytes(&Miners { now: snapshot.now, miners: &snapshot.miners, knocking: &snapshot.knocking })
}

/// `/api/miners/<id>`; `None` when there is no such miner.
pub fn miner(snapshot: &Snapshot, id: &str) -> Option<Vec<u8>> {
    snapshot.miners.iter().find(|miner| miner.id == id).map(bytes)
}

/// `/api/devices`: what the miners' own APIs tell, and what all of them need.
pub fn devices(snapshot: &Snapshot) -> Vec<u8> {
    bytes(&json!({
        "now": snapshot.now,
        "power": snapshot.power,
        "devices": snapshot.devices,
    }))
}

/// `/api/update`: new versions; `null` where no feed is read.
pub fn update(snapshot: &Snapshot) -> Vec<u8> {
    bytes(&json!({ "now": snapshot.now, "update": snapshot.update }))
}

/// `/api/pair`: two boxes as one; `null` where the settings name no partner.
pub fn pair(snapshot: &Snapshot) -> Vec<u8> {
    bytes(&json!({
        "now": snapshot.now,
        "pair": snapshot.pair,
        "change": snapshot.pair_change,
    }))
}

/// `/api/nodes`, with the nodes outside the house.
pub fn nodes(snapshot: &Snapshot) -> Vec<u8> {
    bytes(&json!({
        "now": snapshot.now,
        "leading": snapshot.leading().map(|node| &node.name),
        "failovers": snapshot.failovers,
        "nodes": snapshot.nodes,
        "outside": snapshot.outside,
    }))
}

/// `/api/blocks`: the newest `limit` blocks.
pub fn blocks(snapshot: &Snapshot, limit: usize) -> Vec<u8> {
    bytes(&json!({
        "now": snapshot.now,
        "found": snapshot.totals.blocks_found,
        "blocks": snapshot.blocks[..limit.min(snapshot.blocks.len())],
    }))
}

/// `/api/widget`: four facts for Umbrel's desktop, in the shape of its "four-stats".
pub fn widget(snapshot: &Snapshot, verdict: &Verdict) -> Vec<u8> {
    let fact = |title: &str, text: String| {
        // Number and unit, as the page writes them.
        let (text, unit) = text.split_once('\u{202f}').unwrap_or((&text, ""));
        json!({ "title": title, "text": text, "subtext": unit })
    };
    let rate = match snapshot.totals.rate_5m.shares {
        0 => "0".to_owned(),
        _ => format::hashrate(snapshot.totals.rate_5m.hashrate),
    };
    bytes(&json!({
        "type": "four-stats",
        "refresh": "10s",
        "link": "",
        "items": [
            fact("State", verdict.state.word().to_owned()),
            fact("Hash rate", rate),
            fact("Miners", snapshot.connected().count().to_string()),
            fact("Best share", format::difficulty(snapshot.totals.best)),
        ],
    }))
}

/// `/api/history`: one range (24 hours, 30 days or everything), or all three; `None` for a range of
/// another name.
pub fn history(snapshot: &Snapshot, range: Option<&str>) -> Option<Vec<u8>> {
    let HistoryView { day, month, all, heat, .. } = &snapshot.history;
    let (points, heat) = match range {
        None => return Some(miner_history(snapshot, &snapshot.history)),
        Some("day") => (day, &heat.day),
        Some("month") => (month, &heat.month),
        Some("all") => (all, &heat.all),
        Some(_) => return None,
    };
    Some(bytes(&json!({ "now": snapshot.now, "points": points, "heat": heat })))
}

/// `/api/miners/<id>/history`: all three ranges, and the marks of a chart.
pub fn miner_history(snapshot: &Snapshot, history: &HistoryView) -> Vec<u8> {
    #[derive(Serialize)]
    struct Dated<'a> {
        now: u64,
        #[serde(flatten)]
        history: &'a HistoryView,
    }
    bytes(&Dated { now: snapshot.now, history })
}

/// `/api/pool` as public-pool answers it.
pub fn public_pool(snapshot: &Snapshot) -> Vec<u8> {
    bytes(&json!({
        "totalHashRate": snapshot.totals.rate_5m.hashrate,
        "blockHeight": snapshot.network.height.unwrap_or(0),
        "totalMiners": snapshot.connected().count(),
        "blocksFound": public_pool_blocks(snapshot),
        "fee": 0,
    }))
}

/// `/api/info` as public-pool answers it.
pub fn public_pool_info(snapshot: &Snapshot) -> Vec<u8> {
    let mut agents: Vec<(&str, usize, f64, f64)> = Vec::new();
    for miner in snapshot.connected() {
        let agent = match miner.user_agent.split_once('/') {
            Some((name, _)) => name,
            None => miner.user_agent.as_str(),
        };
        match agents.iter_mut().find(|(name, ..)| *name == agent) {
            Some((_, count, best, rate)) => {
                *count += 1;
                *best = best.max(miner.best);
                *rate += miner.rate.hashrate;
            }
            None => agents.push((agent, 1, miner.best, miner.rate.hashrate)),
        }
    }
    let agents: Vec<Value> = agents
        .into_iter()
        .map(|(name, count, best, rate)| {
            json!({
                "userAgent": name,
                // A string there too: it comes out of a SQL count.
                "count": count.to_string(),
                "bestDifficulty": best,
                "totalHashRate": rate,
            })
        })
        .collect();
    let scores: Vec<Value> = snapshot
        .best_shares
        .iter()
        .take(10)
        .map(|share| {
            let agent = snapshot.miners.iter().find(|miner| miner.name == share.miner);
            json!({
                "updatedAt": format::iso(share.at),
                "bestDifficulty": share.difficulty,
                "bestDifficultyUserAgent": agent.map_or("", |miner| miner.user_agent.as_str()),
            })
        })
        .collect();
    bytes(&json!({
        "blockData": public_pool_blocks(snapshot),
        "userAgents": agents,
        "highScores": scores,
        "uptime": format::iso(snapshot.started_at),
    }))
}

/// `/api/info/chart` as public-pool answers it: one point per interval of the last 24 hours.
pub fn public_pool_chart(snapshot: &Snapshot) -> Vec<u8> {
    let points: Vec<Value> = snapshot
        .history
        .day
        .iter()
        .map(|point| json!({ "label": format::iso(point.at), "data": point.hashrate }))
        .collect();
    bytes(&points)
}

/// `/api/network` as public-pool answers it: the fields of `getmininginfo` that we know.
pub fn public_pool_network(snapshot: &Snapshot) -> Vec<u8> {
    let difficulty = snapshot.difficulty().unwrap_or(0.0);
    let warnings = snapshot.nodes.first().map_or("", |node| node.warnings.as_str());
    bytes(&json!({
        "blocks": snapshot.network.height.unwrap_or(0),
        "currentblockweight": 0,
        "currentblocktx": snapshot.job.as_ref().map_or(0, |job| job.transactions.saturating_sub(1)),
        "difficulty": difficulty,
        "networkhashps": difficulty * crate::difficulty::HASHES_PER_DIFFICULTY / 600.0,
        "pooledtx": 0,
        "chain": snapshot.chain,
        "warnings": warnings,
    }))
}

/// An address that is paid here, and its miners, for the shapes of public-pool.
struct Client<'a> {
    snapshot: &'a Snapshot,
    /// Everything goes there.
    is_all: bool,
    /// Its miners, missing ones too.
    miners: Vec<&'a MinerView>,
}

impl<'a> Client<'a> {
    /// `None` for an address that is not paid here.
    fn of(snapshot: &'a Snapshot, address: &str) -> Option<Client<'a>> {
        let is_it = |text: &str| !text.is_empty() && text.eq_ignore_ascii_case(address);
        let is_owner = is_it(&snapshot.payout.address);
        let own = |miner: &&MinerView| is_it(paid(snapshot, miner));
        let miners: Vec<&MinerView> = snapshot.miners.iter().filter(own).collect();
        let is_all = is_owner && !snapshot.payout.per_miner;
        (is_owner || !miners.is_empty()).then_some(Client { snapshot, is_all, miners })
    }

    fn connected(&self) -> impl Iterator<Item = &'a MinerView> {
        self.miners.iter().copied().filter(|miner| miner.state != MinerState::Gone)
    }

    /// Those that are listed by this name: two machines may have the same.
    fn named(&self, name: &str) -> Vec<&'a MinerView> {
        self.connected().filter(|miner| listed_name(miner) == name).collect()
    }

    fn best(&self) -> f64 {
        if self.is_all { self.snapshot.totals.best } else { best_of(&self.miners) }
    }
}

/// Whom a miner's blocks pay; for a missing one by its name, where names decide.
fn paid<'a>(snapshot: &Snapshot, miner: &'a MinerView) -> &'a str {
    let named = address::in_name(&miner.name);
    let by_name = snapshot.payout.per_miner && miner.state == MinerState::Gone;
    if by_name && address::is_meant(named) { named } else { &miner.pays }
}

/// The name by which public-pool lists a miner: what stands after its address, or "worker".
fn listed_name(miner: &MinerView) -> &str {
    let name = match address::in_parts(&miner.name) {
        (address, rest) if address::is_meant(address) => rest,
        _ => &miner.name,
    };
    if name.is_empty() { "worker" } else { name }
}

fn best_of(miners: &[&MinerView]) -> f64 {
    miners.iter().map(|miner| miner.best).fold(0.0, f64::max)
}

/// `/api/client/<address>` as public-pool answers it; `None` for an address that is not paid here.
pub fn public_pool_client(snapshot: &Snapshot, address: &str) -> Option<Vec<u8>> {
    let client = Client::of(snapshot, address)?;
    let workers: Vec<Value> = client
        .connected()
        .map(|miner| {
            json!({
                "sessionId": miner.id,
                "name": listed_name(miner),
                "bestDifficulty": format!("{:.2}", miner.best),
                "hashRate": miner.rate.hashrate,
                "startTime": format::iso(miner.since),
                "lastSeen": format::iso(miner.last_share_at.unwrap_or(miner.since)),
            })
        })
        .collect();
    Some(bytes(&json!({
        "bestDifficulty": client.best(),
        "workersCount": workers.len(),
        "workers": workers,
    })))
}

/// `/api/client/<address>/chart` as public-pool answers it.
pub fn public_pool_client_chart(snapshot: &Snapshot, address: &str) -> Option<Vec<u8>> {
    let client = Client::of(snapshot, address)?;
    Some(match client.is_all {
        true => public_pool_chart(snapshot),
        false => bytes(&chart_of(snapshot, &client.miners)),
    })
}

/// `/api/client/<address>/<worker>` as public-pool answers it: all workers of this name.
pub fn public_pool_worker(snapshot: &Snapshot, address: &str, worker: &str) -> Option<Vec<u8>> {
    let miners = Client::of(snapshot, address)?.named(worker);
    if miners.is_empty() {
        return None;
    }
    Some(bytes(&json!({
        "name": worker,
        "bestDifficulty": best_of(&miners).floor(),
        "chartData": chart_of(snapshot, &miners),
    })))
}

/// `/api/client/<address>/<worker>/<session>` as public-pool answers it: one of them.
pub fn public_pool_session(
    snapshot: &Snapshot,
    address: &str,
    worker: &str,
    session: &str,
) -> Option<Vec<u8>> {
    let miners = Client::of(snapshot, address)?.named(worker);
    let miner = miners.into_iter().find(|miner| miner.id == session)?;
    Some(bytes(&json!({
        "sessionId": miner.id,
        "name": worker,
        "bestDifficulty": miner.best.floor(),
        "chartData": chart_of(snapshot, &[miner]),
        "startTime": format::iso(miner.since),
    })))
}

/// The hashrate of these miners together in the half hours of the last day, oldest first, each dated by
/// its end.
fn chart_of(snapshot: &Snapshot, miners: &[&MinerView]) -> Vec<Value> {
    const HALF_HOUR: u64 = 1_800;
    let points = miners.iter().map(|miner| miner.trend.len()).max().unwrap_or(0);
    let point = |ago: usize| {
        let rates = miners.iter().filter_map(|miner| miner.trend.iter().rev().nth(ago));
        let end = ((snapshot.now / HALF_HOUR + 1).saturating_sub(ago as u64)) * HALF_HOUR;
        json!({ "label": format::iso(end.min(snapshot.now)), "data": rates.sum::<f64>() })
    };
    (0..points).rev().map(point).collect()
}

fn public_pool_blocks(snapshot: &Snapshot) -> Vec<Value> {
    snapshot
        .blocks
        .iter()
        .map(|block| {
            json!({
                "height": block.height,
                "minerAddress": block.address,
                "worker": block.miner,
                "sessionId": "",
            })
        })
        .collect()
}

/// One value as JSON.
pub(super) fn bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("the views have string keys and no failing serialisers")
}
