//! The API's answers: our own shapes, and those of public-pool that widgets read.
//!
//! Our own shapes are the snapshot's: every field is described there, with its unit. Fields are
//! only ever added; [`API_VERSION`] rises when one changes its meaning.

use serde::Serialize;
use serde_json::{Value, json};

use super::{HistoryView, MinerView, RefusedPeerView, Snapshot, Verdict, format, odds};

/// Version of the shapes below.
pub const API_VERSION: &str = "1";

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

/// `/api/history`: one range (24 hours, 30 days or everything), or all three; `None` for a range of
/// another name.
pub fn history(snapshot: &Snapshot, range: Option<&str>) -> Option<Vec<u8>> {
    let HistoryView { day, month, all } = &snapshot.history;
    let points = match range {
        None => {
            let three = json!({ "now": snapshot.now, "day": day, "month": month, "all": all });
            return Some(bytes(&three));
        }
        Some("day") => day,
        Some("month") => month,
        Some("all") => all,
        Some(_) => return None,
    };
    Some(bytes(&json!({ "now": snapshot.now, "points": points })))
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

/// `/api/info/chart` and `/api/client/<address>/chart` as public-pool answers them: one point per
/// interval of the last 24 hours.
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

/// `/api/client/<address>` as public-pool answers it; `None` for another address than the owner's.
pub fn public_pool_client(snapshot: &Snapshot, address: &str) -> Option<Vec<u8>> {
    if snapshot.payout.address.is_empty() || !address.eq_ignore_ascii_case(&snapshot.payout.address)
    {
        return None;
    }
    let workers: Vec<Value> = snapshot
        .connected()
        .map(|miner| {
            json!({
                "sessionId": miner.id,
                "name": miner.name,
                "bestDifficulty": format!("{:.2}", miner.best),
                "hashRate": miner.rate.hashrate,
                "startTime": format::iso(miner.since),
                "lastSeen": format::iso(miner.last_share_at.unwrap_or(miner.since)),
            })
        })
        .collect();
    Some(bytes(&json!({
        "bestDifficulty": snapshot.totals.best,
        "workersCount": workers.len(),
        "workers": workers,
    })))
}

/// `/api/client/<address>/<worker>` as public-pool answers it: one worker.
pub fn public_pool_worker(snapshot: &Snapshot, address: &str, worker: &str) -> Option<Vec<u8>> {
    if !address.eq_ignore_ascii_case(&snapshot.payout.address) {
        return None;
    }
    let miner = snapshot.connected().find(|miner| miner.name == worker)?;
    let step = 86_400 / miner.trend.len().max(1) as u64;
    let chart: Vec<Value> = miner
        .trend
        .iter()
        .rev()
        .enumerate()
        .map(|(ago, rate)| {
            let at = snapshot.now.saturating_sub(ago as u64 * step);
            json!({ "label": format::iso(at), "data": rate })
        })
        .rev()
        .collect();
    Some(bytes(&json!({
        "name": miner.name,
        "bestDifficulty": miner.best.floor(),
        "chartData": chart,
    })))
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
