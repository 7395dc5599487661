//! Answers for load balancers, probes and watchdogs: a status code and a small JSON object.

use serde::Serialize;
use serde_json::{Value, json};

use super::{PairView, Snapshot, State, Verdict, clocks, verdict};

/// A health answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// 200 or 503.
    pub code: u16,
    /// JSON.
    pub body: Vec<u8>,
}

/// `/health`: 200 as long as a block can be found now (state OK or DEGRADED).
pub fn health(snapshot: &Snapshot, verdict: &Verdict) -> Health {
    judged(snapshot, verdict, json!({}))
}

/// `/health/live`: the loop runs, or there would be no answer.
pub fn live(snapshot: &Snapshot) -> Health {
    answer(true, json!({ "status": "alive", "timestamp": snapshot.now }))
}

/// What readiness rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Ready {
    /// A fresh template of a usable chain is at hand.
    pub chain_initialized: bool,
    /// The data directory can be written.
    pub storage_available: bool,
    /// The clock is not known to be wrong by more than a minute, and that of the node that leads not
    /// by so much that blocks would be refused.
    pub clock_sane: bool,
    /// A node that can be used would take a solved block from us, as far as it was asked.
    pub submission: bool,
    /// The built-in miner, where there is one, gets its shares accepted.
    pub canary: bool,
    /// It does not give the address of the miners to the other box of a pair.
    pub keeps_address: bool,
}

impl Ready {
    /// Judges a snapshot.
    pub fn of(snapshot: &Snapshot) -> Ready {
        Ready {
            chain_initialized: snapshot
                .job
                .as_ref()
                .is_some_and(|job| job.template_age_s < verdict::TEMPLATE_OLD_S),
            storage_available: snapshot.storage.writable != Some(false),
            clock_sane: clocks::are_sane(snapshot),
            submission: snapshot.nodes.is_empty()
                || snapshot.nodes.iter().any(|node| node.gives_work() && node.refused().is_none()),
            canary: snapshot.canary.as_ref().is_none_or(|canary| canary.ok || canary.failed == 0),
            keeps_address: !snapshot.pair.as_ref().is_some_and(PairView::gives_address),
        }
    }

    /// All of it.
    pub fn all(self) -> bool {
        self.chain_initialized
            && self.storage_available
            && self.clock_sane
            && self.submission
            && self.canary
            && self.keeps_address
    }
}

/// `/health/ready`: 200 when miners may be sent here.
pub fn ready(snapshot: &Snapshot) -> Health {
    let ready = Ready::of(snapshot);
    let mut body = json!(ready);
    body["status"] = json!(if ready.all() { "ready" } else { "not ready" });
    answer(ready.all(), body)
}

/// `/health/detailed`: the code of [`health`], and what a support bundle begins with.
pub fn detailed(snapshot: &Snapshot, verdict: &Verdict) -> Health {
    let job = snapshot.job.as_ref();
    let calls = || snapshot.nodes.iter().flat_map(|node| &node.calls);
    let more = json!({
        "advice": verdict.advice,
        "alarms": verdict.alarms,
        "version": snapshot.build.version,
        "uptime_s": snapshot.now.saturating_sub(snapshot.started_at),
        "chain": {
            "initialized": Ready::of(snapshot).chain_initialized,
            "name": snapshot.chain,
            "height": snapshot.network.height,
            "tip_hash": snapshot.network.tip,
            "template_age_s": job.map(|job| job.template_age_s),
            "job_height": job.map(|job| job.height),
        },
        "storage": {
            "available": snapshot.storage.writable,
            "size_bytes": snapshot.storage.size_bytes,
            "free_bytes": snapshot.board.disk_free,
            "blocks_waiting": snapshot.storage.spool_waiting,
        },
        "network": {
            "peers_connected": snapshot.leading().and_then(|node| node.peers),
            "nodes": snapshot.nodes.len(),
            "nodes_usable": snapshot.nodes.iter().filter(|n| n.state.is_usable()).count(),
            "failovers": snapshot.failovers,
        },
        "rpc": {
            "enabled": !snapshot.nodes.is_empty(),
            "requests_processed": calls().map(|c| c.latency.count).sum::<u64>(),
            "requests_failed": calls().map(|c| c.errors).sum::<u64>(),
        },
        "stratum": {
            "connections": snapshot.stratum.connections,
            "miners": snapshot.connected().count(),
            "shares_accepted": snapshot.stratum.shares_accepted,
        },
        "canary": snapshot.canary,
        "mqtt": snapshot.mqtt.as_ref().map(|mqtt| json!({
            "connected": mqtt.connected,
            "error": mqtt.error,
        })),
    });
    judged(snapshot, verdict, more)
}

/// `body`, and the state that its code follows.
fn judged(snapshot: &Snapshot, verdict: &Verdict, mut body: Value) -> Health {
    let healthy = verdict.state != State::Down;
    body["status"] = json!(if healthy { "healthy" } else { "unhealthy" });
    body["timestamp"] = json!(snapshot.now);
    body["state"] = json!(verdict.state);
    body["reason"] = json!(verdict.sentence);
    answer(healthy, body)
}

fn answer(good: bool, body: Value) -> Health {
    Health { code: if good { 200 } else { 503 }, body: body.to_string().into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{
        CanaryView, ClockView, DrillPhase, JobView, NodeState, NodeView, PairDrillView,
        PermissionsView,
    };

    #[test]
    fn codes_follow_the_facts() {
        let mut snapshot = Snapshot {
            configured: true,
            job: Some(JobView { template_age_s: 3.0, ..Default::default() }),
            nodes: vec![NodeView { state: NodeState::Leading, ..Default::default() }],
            ..Default::default()
        };
        assert_eq!(ready(&snapshot).code, 200);
        assert_eq!(health(&snapshot, &verdict::verdict(&snapshot)).code, 200);

        let permissions = |refused: &[&str]| {
            let refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
            Some(PermissionsView { refused, ..Default::default() })
        };
        snapshot.nodes[0].permissions = permissions(&["submitblock"]);
        assert_eq!(ready(&snapshot).code, 503, "nobody would take a block");
        assert_eq!(health(&snapshot, &verdict::verdict(&snapshot)).code, 200, "there is work");
        let other = |state| NodeView { state, permissions: permissions(&[]), ..Default::default() };
        snapshot.nodes.push(other(NodeState::Lagging));
        assert_eq!(ready(&snapshot).code, 503, "one that lags may not know the parent");
        snapshot.nodes[1] = other(NodeState::Standby);
        assert_eq!(ready(&snapshot).code, 200);
        snapshot.nodes.truncate(1);
        snapshot.nodes[0].permissions = permissions(&[]);

        snapshot.canary = Some(CanaryView { ok: false, failed: 1, ..Default::default() });
        assert_eq!(ready(&snapshot).code, 503);
        snapshot.canary = None;
        let giving = |phase| PairView {
            drill: Some(PairDrillView {
                began_at: 0,
                phase,
                miners: 1,
                given_after_s: None,
                away_s: None,
            }),
            ..PairView::default()
        };
        snapshot.pair = Some(giving(DrillPhase::Giving));
        assert_eq!(ready(&snapshot).code, 503, "the other box is to take the miners");
        assert_eq!(health(&snapshot, &verdict::verdict(&snapshot)).code, 200, "it mines on");
        snapshot.pair = Some(giving(DrillPhase::Given));
        assert_eq!(ready(&snapshot).code, 200);
        snapshot.pair = None;
        snapshot.board.clock_offset_s = Some(-61.0);
        assert_eq!(ready(&snapshot).code, 503);
        snapshot.board.clock_offset_s = None;
        // The leader's clock is wrong, so that its blocks would be refused; by less they are not.
        for (offset_s, code) in [(6600.0, 503), (-6600.0, 503), (6599.0, 200)] {
            snapshot.nodes[0].clock = Some(ClockView { offset_s, odd: true });
            assert_eq!(ready(&snapshot).code, code, "{offset_s}");
        }
        snapshot.storage.writable = Some(false);
        assert_eq!(ready(&snapshot).code, 503);
        snapshot.storage.writable = None;
        snapshot.job.as_mut().unwrap().template_age_s = 95.0;
        assert_eq!(ready(&snapshot).code, 503);
        assert_eq!(health(&snapshot, &verdict::verdict(&snapshot)).code, 200);
        snapshot.job = None;
        assert_eq!(health(&snapshot, &verdict::verdict(&snapshot)).code, 503);
        assert_eq!(detailed(&snapshot, &verdict::verdict(&snapshot)).code, 503);
        assert_eq!(live(&snapshot).code, 200);
    }
}
