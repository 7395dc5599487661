//! What happened, for people to read.

use std::collections::BTreeMap;

use super::Micros;

#[derive(Default)]
pub struct Figures {
    pub events: u64,
    pub faults: BTreeMap<String, u64>,
    pub crashes: u64,
    pub restarts: u64,
    pub connections: u64,
    pub closed: BTreeMap<&'static str, u64>,
    pub others: u64,
    pub shares: u64,
    pub counted: u64,
    pub stale: u64,
    pub duplicates: u64,
    /// Valid shares; the first ends the test.
    pub refused: u64,
    pub jobs: u64,
    pub works: u64,
    pub empty_works: u64,
    pub failovers: u64,
    pub gates: u64,
    pub gated: Micros,
    pub precious: u64,
    /// Calls that waited at a node for its tip.
    pub waits: u64,
    /// Blocks of ours that a node took beside its tip.
    pub ties: u64,
    pub nobody_leads: u64,
    /// Seconds of work by a clock that is hours off, and times that the lead was taken from one.
    pub misled: u64,
    pub clock_failovers: u64,
    /// Blocks of others that waited for a node's clock to be set right or to come that far, times
    /// that a block of ours was too new for a node, and that it took it later.
    pub others_too_new: u64,
    pub too_new: u64,
    pub taken_later: u64,
    /// Splits of the rules that began and healed, blocks that strict nodes refused when we submitted
    /// them, and what nodes were asked about them.
    pub splits: u64,
    pub healed: u64,
    pub refused_by_rules: u64,
    pub chain_tips: u64,
    pub blocks_at: u64,
    /// Seconds for which a node was said to refuse another's chain, or to follow a refused one.
    pub disputes: u64,
    /// Seconds of work on the first node's chain, while another has more work that it refuses.
    pub obeyed: u64,
    /// Blocks of ours that are only in the strict chain at the end.
    pub on_strict_side: u64,
    pub block_states: BTreeMap<String, u64>,
    /// Blocks that a node took by its P2P port before `submitblock`, and those among them while its RPC
    /// was away.
    pub by_p2p: u64,
    pub by_p2p_alone: u64,
    /// New work on a tip of which a P2P port told first, and new work while no RPC answered.
    pub works_by_p2p: u64,
    pub works_without_rpc: u64,
    /// Seconds of work that a P2P port confirmed while no RPC answered.
    pub without_rpc: u64,
    /// Connections to strangers, the most at a time, seconds with one, what liars said, how often the DNS
    /// seeds were asked, and an own P2P port for addresses.
    pub outside_connections: u64,
    pub most_outside: usize,
    pub outside_seconds: u64,
    pub lies: u64,
    pub seeds: u64,
    pub addresses_by_p2p: u64,
    /// Blocks of ours that the rest of the world got from a stranger, and looks at one that waited for
    /// that.
    pub by_strangers: u64,
    pub waits_for_strangers: u64,
    /// Alarms that the own nodes are behind, those that strangers gave, those while half of them lied, and
    /// those that ended because the nodes caught up.
    pub alarms: u64,
    pub alarms_by_strangers: u64,
    pub false_alarms: u64,
    pub caught_up: u64,
    pub tip_to_work: Vec<Micros>,
    pub tip_to_job: Vec<Micros>,
    pub miner_seconds: u64,
    pub idle_seconds: u64,
    pub stale_seconds: u64,
    pub in_chain: u64,
    pub orphaned: u64,
    pub stale_blocks: u64,
    pub most_jobs: usize,
    pub most_works: usize,
    pub most_tracked: usize,
    pub largest_outbox: usize,
}

impl Figures {
    pub fn print(&self) {
        let row = |name: &str, value: String| println!("  {name:<44} {value}");
        row("events", self.events.to_string());
        row("faults", format!("{:?}", self.faults));
        row("crashes that lost the last minute", self.crashes.to_string());
        row("restarts of the daemon", self.restarts.to_string());
        row("changes of the lead", self.failovers.to_string());
        row("seconds without a leader", self.nobody_leads.to_string());
        row(
            "seconds by a wrong clock, leads taken from one",
            format!("{}, {}", self.misled, self.clock_failovers),
        );
        row(
            "too new: others' blocks, ours, taken later",
            format!("{}, {}, {}", self.others_too_new, self.too_new, self.taken_later),
        );
        row("splits: begun, healed", format!("{}, {}", self.splits, self.healed));
        row("answers that refuse our blocks by rule", self.refused_by_rules.to_string());
        row(
            "asked: chain tips, blocks of a chain",
            format!("{}, {}", self.chain_tips, self.blocks_at),
        );
        row("seconds that a node differed on the rules", self.disputes.to_string());
        row("seconds on the first node's shorter chain", self.obeyed.to_string());
        row("our blocks on the strict chain alone", self.on_strict_side.to_string());
        row("times gated, seconds", format!("{}, {}", self.gates, self.gated / 1_000_000));
        row("connections, closed", format!("{}, {:?}", self.connections, self.closed));
        row("works, empty ones", format!("{}, {}", self.works, self.empty_works));
        row(
            "blocks first by P2P, of these without RPC",
            format!("{}, {}", self.by_p2p, self.by_p2p_alone),
        );
        row(
            "works from P2P tips, without any RPC",
            format!("{}, {}", self.works_by_p2p, self.works_without_rpc),
        );
        let hours = self.without_rpc as f64 / 3600.0;
        row("hours of work without RPC", format!("{hours:.2}"));
        row(
            "connections to strangers, most, with one, lies",
            format!(
                "{}, {}, {} s, {}",
                self.outside_connections, self.most_outside, self.outside_seconds, self.lies
            ),
        );
        row(
            "addresses: by DNS seeds, by own P2P ports",
            format!("{}, {}", self.seeds, self.addresses_by_p2p),
        );
        row(
            "blocks by strangers, looks at one that waited",
            format!("{}, {}", self.by_strangers, self.waits_for_strangers),
        );
        row(
            "behind: alarms, by strangers, false, caught up",
            format!(
                "{}, {}, {}, {}",
                self.alarms, self.alarms_by_strangers, self.false_alarms, self.caught_up
            ),
        );
        row("jobs read by miners", self.jobs.to_string());
        row("new tip at a usable node to work", spread(&self.tip_to_work));
        row("new tip at a usable node to job at miner", spread(&self.tip_to_job));
        let share = |part: u64| 100.0 * part as f64 / self.miner_seconds.max(1) as f64;
        row("connected miners without a job", format!("{:.3} % of time", share(self.idle_seconds)));
        row("miners on a dead tip", format!("{:.3} % of time", share(self.stale_seconds)));
        row(
            "shares: sent, counted, late, repeated",
            format!("{}, {}, {}, {}", self.shares, self.counted, self.stale, self.duplicates),
        );
        row("valid shares refused", self.refused.to_string());
        row("blocks of others", self.others.to_string());
        let ours = self.in_chain + self.orphaned;
        row(
            "our blocks: solved, in the chain, orphaned",
            format!("{ours}, {}, {}", self.in_chain, self.orphaned),
        );
        row("orphaned on a dead branch", self.stale_blocks.to_string());
        row("changes of state", format!("{:?}", self.block_states));
        row(
            "beside the tip; preciousblock moved a tip",
            format!("{}, {}", self.ties, self.precious),
        );
        row("calls that waited at a node", self.waits.to_string());
        row(
            "most jobs, works, blocks under watch, outbox",
            format!(
                "{}, {}, {}, {} bytes",
                self.most_jobs, self.most_works, self.most_tracked, self.largest_outbox
            ),
        );
    }
}

/// Median, 99 of 100, and the longest, in seconds.
fn spread(times: &[Micros]) -> String {
    let [median, most, longest] = [0.5, 0.99, 1.0].map(|part| quantile(times, part));
    let count = times.len();
    format!("median {median:.3} s, 99 % {most:.3} s, max {longest:.3} s ({count} times)")
}

/// In seconds; 0 of nothing.
pub fn quantile(times: &[Micros], part: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len() as f64 * part) as usize;
    let time = sorted.get(place.min(sorted.len().saturating_sub(1)));
    time.map_or(0.0, |time| *time as f64 / 1e6)
}
