//! The API's answers in the shapes of goPool, for dashboards that were written for it.
//!
//! Only what has a meaning for one owner: no banned workers, no prices, no Go runtime. A field that
//! goPool has and that is not known here is left out or zero, as goPool itself does. Durations are in
//! nanoseconds there (Go's `time.Duration`), or in seconds where the name says so. `/api/blocks` stays
//! our own: it has the same path and more in it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    BlockState, CallView, HistogramView, Level, LossView, MinerState, MinerView, NodeState,
    NodeView, Protocol, RejectReason, Snapshot, ZmqNews, format, json::bytes,
};

/// goPool's version of these shapes.
const API_VERSION: &str = "1";

/// `/api/overview`: miners, best shares, kinds of miners.
pub fn overview(s: &Snapshot) -> Vec<u8> {
    let workers: Vec<Value> = s
        .connected()
        .map(|miner| {
            json!({
                "name": miner.name,
                "display_name": miner.name,
                "rolling_hashrate": miner.rate.hashrate,
                "difficulty": miner.difficulty,
                "vardiff": miner.difficulty,
                "share_rate": miner.shares_per_min,
                "accepted": miner.accepted,
                "connection_id": miner.id,
            })
        })
        .collect();
    let bests: Vec<Value> = s
        .best_shares
        .iter()
        .map(|share| {
            json!({
                "worker": share.miner,
                "display_worker": share.miner,
                "difficulty": share.difficulty,
                "timestamp": format::iso(share.at),
            })
        })
        .collect();
    bytes(&json!({
        "api_version": API_VERSION,
        "active_miners": s.connected().count(),
        "active_tls_miners": s.connected().filter(|miner| by_tls(miner)).count(),
        "shares_per_minute": shares_per_minute(s),
        "pool_hashrate": s.totals.rate_5m.hashrate,
        "pool_tag": s.job.as_ref().map_or("", |job| job.tag.as_str()),
        "render_duration": 0,
        "workers": workers,
        "banned_workers": [],
        "best_shares": bests,
        "miner_types": miner_types(s),
    }))
}

/// Stratum V2 is encrypted as well, by means of its own.
fn by_tls(miner: &MinerView) -> bool {
    miner.link.is_some_and(|link| link.encrypted && link.protocol == Protocol::V1)
}

/// How many of each model are connected, and of each version of its firmware.
fn miner_types(s: &Snapshot) -> Vec<Value> {
    let mut kinds: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for miner in s.connected() {
        let version = miner.user_agent.rsplit_once('/').map_or("", |(_, version)| version);
        *kinds.entry(&miner.model).or_default().entry(version).or_default() += 1;
    }
    let kinds = kinds.into_iter().map(|(name, versions)| {
        let total: u64 = versions.values().sum();
        let versions: Vec<Value> = versions
            .into_iter()
            .map(|(version, workers)| json!({ "version": version, "workers": workers }))
            .collect();
        json!({ "name": name, "total_workers": total, "versions": versions })
    });
    kinds.collect()
}

/// `/api/pool-page`: errors, and how long calls to the nodes take.
pub fn pool_page(s: &Snapshot) -> Vec<u8> {
    let found = |wanted: &[BlockState]| {
        s.blocks.iter().filter(|block| wanted.contains(&block.state)).count()
    };
    let gbt = calls(s, "getblocktemplate");
    let submit = calls(s, "submitblock");
    let errors: u64 = s.nodes.iter().flat_map(|node| &node.calls).map(|call| call.errors).sum();
    let share_errors: u64 = s.totals.rejects.iter().map(|reject| reject.count).sum();
    let history: Vec<Value> = s
        .events
        .iter()
        .filter(|event| event.level != Level::Info)
        .map(|event| {
            let kind = serde_json::to_value(event.kind).unwrap_or_default();
            json!({ "at": format::iso(event.at), "type": kind, "message": event.text })
        })
        .collect();
    let latency = s.leading().and_then(|node| node.latency_ms).unwrap_or(0.0) / 1e3;
    bytes(&json!({
        "api_version": API_VERSION,
        "blocks_accepted": found(&[BlockState::Accepted, BlockState::Mature]),
        "blocks_errored": found(&[BlockState::Refused, BlockState::Orphaned]),
        "rpc_gbt_last_sec": latency,
        "rpc_gbt_max_sec": gbt.max_s,
        "rpc_gbt_count": gbt.count,
        "rpc_submit_last_sec": submit.mean_s,
        "rpc_submit_max_sec": submit.max_s,
        "rpc_submit_count": submit.count,
        "rpc_errors": errors,
        "share_errors": share_errors,
        "rpc_gbt_avg_1h_sec": gbt.mean_s,
        "error_history": history,
    }))
}

/// `/api/server`: the process, and the feed of jobs.
pub fn server(s: &Snapshot) -> Vec<u8> {
    let healthy = s.leading().is_some();
    let mut errors: Vec<_> =
        s.nodes.iter().filter_map(|n| Some((n, n.last_error.as_ref()?))).collect();
    errors.sort_by_key(|(_, error)| Reverse(error.at));
    let newest = errors.first().map(|(_, error)| *error);
    let history: Vec<String> = errors
        .iter()
        .map(|(node, error)| format!("{} {}: {}", format::iso(error.at), node.name, error.words))
        .collect();
    let rpc_error = newest.filter(|_| !healthy);
    // Of all nodes: goPool has one.
    let lost = |of: fn(&NodeView) -> LossView| {
        s.nodes.iter().map(of).fold(LossView::default(), |sum, node| LossView {
            disconnects: sum.disconnects + node.disconnects,
            reconnects: sum.reconnects + node.reconnects,
        })
    };
    let uptime = s.now.saturating_sub(s.started_at);
    let zmq = s.leading().is_some_and(|node| node.zmq == ZmqNews::Live);
    let reasons: serde_json::Map<String, Value> = s
        .totals
        .rejects
        .iter()
        .map(|reject| {
            let name = serde_json::to_value(reject.reason).unwrap_or_default();
            (name.as_str().unwrap_or_default().to_owned(), json!(reject.count))
        })
        .collect();
    bytes(&json!({
        "api_version": API_VERSION,
        "uptime": uptime * 1_000_000_000,
        "rpc_error": rpc_error.map_or("", |error| error.words.as_str()),
        "rpc_healthy": healthy,
        "rpc_disconnects": lost(|node| node.rpc_lost).disconnects,
        "rpc_reconnects": lost(|node| node.rpc_lost).reconnects,
        "accounting_error": s.storage.error,
        "job_feed": {
            "zmq_healthy": zmq,
            "zmq_disconnects": lost(|node| node.zmq_lost).disconnects,
            "zmq_reconnects": lost(|node| node.zmq_lost).reconnects,
            "last_error": newest.map_or("", |error| error.words.as_str()),
            "last_error_at": newest.map_or(String::new(), |error| format::iso(error.at)),
            "error_history": history,
            "block_hash": s.network.tip.as_deref().unwrap_or(""),
            "block_height": s.network.height.unwrap_or(0),
            "block_time": s.network.tip_at.map_or(String::new(), format::iso),
            "block_difficulty": s.difficulty().unwrap_or(0.0),
        },
        "accepted": s.totals.accepted,
        "rejected": s.totals.rejects.iter().map(|reject| reject.count).sum::<u64>(),
        "stale_shares": count(s, RejectReason::Stale) + count(s, RejectReason::StaleAtChange),
        "low_diff_shares": count(s, RejectReason::LowDifficulty),
        "reject_reasons": reasons,
        // On average since the start.
        "process_cpu_percent": s.process.cpu_s * 100.0 / uptime.max(1) as f64,
        "process_rss_bytes": s.process.resident_bytes,
        "system_mem_total_bytes": s.board.memory_total.unwrap_or(0),
        "system_mem_free_bytes": s.board.memory_available.unwrap_or(0),
        "system_mem_used_bytes": s.board.memory_total.unwrap_or(0)
            .saturating_sub(s.board.memory_available.unwrap_or(0)),
    }))
}

/// `/api/node`: the leading node, or the first.
pub fn node(s: &Snapshot) -> Vec<u8> {
    let node = s.leading().or(s.nodes.first());
    let text = |get: fn(&NodeView) -> &str| node.map_or("", get);
    bytes(&json!({
        "api_version": API_VERSION,
        "node_network": s.chain,
        "node_subversion": text(|node| &node.version),
        "node_blocks": node.and_then(|node| node.height).unwrap_or(0),
        "node_headers": node.and_then(|node| node.headers).unwrap_or(0),
        "node_initial_block_download": node.is_some_and(|node| node.initial_download),
        "node_connections": node.and_then(|node| node.peers).unwrap_or(0),
        "node_connections_in": node.and_then(|node| node.peers_in).unwrap_or(0),
        "node_connections_out": node.and_then(|node| node.peers_out).unwrap_or(0),
        "node_pruned": node.and_then(|node| node.pruned).unwrap_or(false),
        "node_size_on_disk_bytes": node.and_then(|node| node.size_on_disk).unwrap_or(0),
        "node_rpc_url": text(|node| &node.address),
        "best_block_hash": node.and_then(|node| node.tip.as_deref()).unwrap_or(""),
        "genesis_match": node.is_some_and(|node| node.state != NodeState::Doubtful),
    }))
}

/// `/api/pool-hashrate`: the hashrate now and over the last day, and the block that is mined on.
pub fn pool_hashrate(s: &Snapshot) -> Vec<u8> {
    let history: Vec<Value> = s
        .history
        .day
        .iter()
        .map(|point| json!({ "t": format::iso(point.at), "h": point.hashrate }))
        .collect();
    let template = s.job.as_ref().map(|job| {
        json!({
            "height": job.height,
            "transactions": job.transactions,
            "age_s": job.template_age_s,
        })
    });
    bytes(&json!({
        "api_version": API_VERSION,
        "pool_hashrate": s.totals.rate_5m.hashrate,
        "pool_hashrate_history": history,
        "block_height": s.network.height.unwrap_or(0),
        "block_difficulty": s.difficulty().unwrap_or(0.0),
        "template": template,
        "template_tx_fees_sats": s.job.as_ref().map(|job| job.value_sat.saturating_sub(job.subsidy_sat)),
        "template_updated_at": s.job.as_ref().map_or(String::new(), |job| format::iso(job.template_at)),
        "updated_at": format::iso(s.now),
    }))
}

/// All nodes' calls of one method together, seconds.
struct Calls {
    count: u64,
    mean_s: f64,
    /// Upper bound of the highest bucket in use.
    max_s: f64,
}

fn calls(s: &Snapshot, method: &str) -> Calls {
    let of_method = |call: &&CallView| call.method == method;
    let calls = || s.nodes.iter().flat_map(|node| &node.calls).filter(of_method);
    let count: u64 = calls().map(|call| call.latency.count).sum();
    let sum: f64 = calls().map(|call| call.latency.sum_s).sum();
    let max_s = calls().map(|call| highest(&call.latency)).fold(0.0, f64::max);
    Calls { count, mean_s: if count > 0 { sum / count as f64 } else { 0.0 }, max_s }
}

fn highest(latency: &HistogramView) -> f64 {
    let full = latency.buckets.iter().find(|(_, count)| *count >= latency.count);
    match full.or(latency.buckets.last()) {
        Some((bound, _)) if latency.count > 0 => *bound,
        _ => 0.0,
    }
}

fn shares_per_minute(s: &Snapshot) -> f64 {
    let mining = s.miners.iter().filter(|miner| miner.state == MinerState::Mining);
    mining.map(|miner| miner.shares_per_min).sum()
}

fn count(s: &Snapshot, reason: RejectReason) -> u64 {
    let rejects = s.totals.rejects.iter().filter(|reject| reject.reason == reason);
    rejects.map(|reject| reject.count).sum()
}
