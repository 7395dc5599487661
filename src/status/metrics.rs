//! Prometheus text (exposition format 0.0.4): the series named `soloist_*`.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{
    BlockState, DeviceView, HistogramView, LinkView, MinerState, PairPayout, Protocol,
    RejectReason, Snapshot, State, Verdict, ZmqNews, health, odds,
};
use crate::node;

/// The content type that goes with [`metrics`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that Prometheus scrapes.
pub fn metrics(snapshot: &Snapshot, verdict: &Verdict) -> String {
    let mut out = Text { out: String::with_capacity(16 * 1024) };
    whole(snapshot, verdict, &mut out);
    work(snapshot, &mut out);
    nodes(snapshot, &mut out);
    stratum(snapshot, &mut out);
    miners(snapshot, &mut out);
    devices(snapshot, &mut out);
    blocks(snapshot, &mut out);
    pair(snapshot, &mut out);
    box_and_process(snapshot, &mut out);
    out.out
}

fn whole(s: &Snapshot, verdict: &Verdict, out: &mut Text) {
    out.family("soloist_build_info", "gauge", "The running build; always 1.");
    out.sample(
        "soloist_build_info",
        &[
            ("version", &s.build.version),
            ("commit", &s.build.commit),
            ("engine", &s.build.hash_engine),
            ("chain", &s.chain),
        ],
        1u64,
    );
    out.gauge("soloist_start_time_seconds", "Unix time of the start.", s.started_at);
    out.family("soloist_state", "gauge", "The state of the appliance: 1 for the one it is in.");
    for state in [State::Ok, State::Degraded, State::Down] {
        let word = state.word().to_lowercase();
        out.sample("soloist_state", &[("state", &word)], verdict.state == state);
    }
    out.gauge(
        "soloist_ready",
        "Whether miners may be sent here (1): fresh work, storage, clock, test miner.",
        health::Ready::of(s).all(),
    );
    out.family("soloist_alarm", "gauge", "Alarms that are on; the value is always 1.");
    for alarm in &verdict.alarms {
        let level = format!("{:?}", alarm.level).to_lowercase();
        out.sample("soloist_alarm", &[("alarm", &alarm.id), ("level", &level)], 1u64);
    }
}

fn work(s: &Snapshot, out: &mut Text) {
    if let Some(job) = &s.job {
        let (age, fees) =
            (s.now.saturating_sub(job.sent_at), job.value_sat.saturating_sub(job.subsidy_sat));
        out.gauge("soloist_job_height", "Height of the block worked on.", job.height);
        out.gauge("soloist_job_age_seconds", "Time since the job was sent to the miners.", age);
        out.gauge(
            "soloist_template_age_seconds",
            "Time since the node gave the template worked on.",
            job.template_age_s,
        );
        out.gauge(
            "soloist_template_transactions",
            "Transactions in the template, with the coinbase.",
            job.transactions,
        );
        out.gauge("soloist_template_fees_satoshis", "Fees of the template.", fees);
        out.gauge(
            "soloist_coinbase_value_satoshis",
            "What the coinbase worked on pays in all.",
            job.value_sat,
        );
        out.gauge(
            "soloist_coinbase_owner_satoshis",
            "What the coinbase worked on pays to the owner.",
            job.to_owner_sat,
        );
        out.gauge(
            "soloist_coinbase_size_bytes",
            "Size of the coinbase without witness.",
            job.coinbase_bytes,
        );
    }
    let tip_at = s.network.tip_at;
    out.gauge("soloist_network_height", "Height of the tip.", s.network.height);
    out.gauge("soloist_network_difficulty", "Difficulty of a block.", s.network.difficulty);
    out.gauge("soloist_network_tip_time_seconds", "Unix time in the tip's header.", tip_at);
    let t = &s.templates;
    out.counter("soloist_templates_total", "Templates taken from nodes.", t.taken);
    out.counter("soloist_jobs_total", "Jobs sent, each to all miners.", t.jobs);
    out.counter("soloist_tips_total", "New tips seen.", t.tips);
    out.family(
        "soloist_tip_to_job_seconds",
        "histogram",
        "From the first news of a tip to the first job on it.",
    );
    out.histogram("soloist_tip_to_job_seconds", &[], &t.tip_to_job);
    out.family(
        "soloist_tip_step_seconds",
        "histogram",
        "From the first news of a tip to each step on the way to its job.",
    );
    for step in &t.steps {
        out.histogram("soloist_tip_step_seconds", &[("step", &step.step)], &step.took);
    }
}

fn nodes(s: &Snapshot, out: &mut Text) {
    let mut each = Each { out, of: &s.nodes, labels: |node| vec![("node", &node.name)] };
    each.gauge("soloist_node_up", "Whether the node is fit to give work.", |n| n.state.is_usable());
    each.gauge("soloist_node_leading", "Whether the work comes from this node.", |n| n.is_leader());
    let not_used = "1 for the failure for which a node is not used.";
    each.out.family("soloist_node_cause", "gauge", not_used);
    for node in s.nodes.iter().filter(|node| !node.cause.is_empty()) {
        let labels = [("node", node.name.as_str()), ("cause", node.cause.as_str())];
        each.out.sample("soloist_node_cause", &labels, 1u64);
    }
    each.gauge("soloist_node_height", "Height of the node's tip.", |n| n.height);
    each.gauge(
        "soloist_node_clock_offset_seconds",
        "The node's clock minus the others that can be believed, on the main network.",
        |n| n.clock.map(|clock| clock.offset_s),
    );
    each.gauge("soloist_node_lag_blocks", "Blocks behind the best known tip.", |n| n.lag_blocks);
    each.gauge("soloist_node_sync_ratio", "Part of the chain verified.", |n| n.progress);
    each.gauge("soloist_node_peers", "Connected peers.", |n| n.peers);
    each.gauge("soloist_node_zmq_live", "Whether news comes by ZMQ.", |n| {
        (n.zmq != ZmqNews::Off).then_some(n.zmq == ZmqNews::Live)
    });
    each.gauge("soloist_node_zmq_connected", "Whether its ZMQ publisher answers.", |n| {
        n.zmq_state.map(|state| state == node::ZmqState::Connected)
    });
    each.counter("soloist_node_tip_wins_total", "New tips told first by this node.", |n| {
        n.tip_wins
    });
    each.gauge(
        "soloist_node_rehearsal_ok",
        "Whether the node would take our block (last rehearsal).",
        |n| n.rehearsal.as_ref().map(|rehearsal| rehearsal.refused.is_none()),
    );
    each.gauge("soloist_node_rehearsal_time_seconds", "Unix time of the last rehearsal.", |n| {
        n.rehearsal.as_ref().map(|rehearsal| rehearsal.at)
    });
    each.gauge(
        "soloist_node_permissions_ok",
        "Whether the node lets us call all that mining needs, submitblock among it.",
        |n| n.permissions.as_ref().map(|permissions| permissions.refused.is_empty()),
    );
    let calls = || s.nodes.iter().flat_map(|node| node.calls.iter().map(move |call| (node, call)));
    out.family("soloist_rpc_duration_seconds", "histogram", "Duration of calls that succeeded.");
    for (node, call) in calls() {
        let labels = [("node", node.name.as_str()), ("method", call.method.as_str())];
        out.histogram("soloist_rpc_duration_seconds", &labels, &call.latency);
    }
    out.family("soloist_rpc_failures_total", "counter", "Calls that failed, by method.");
    for (node, call) in calls() {
        let labels = [("node", node.name.as_str()), ("method", call.method.as_str())];
        out.sample("soloist_rpc_failures_total", &labels, call.errors);
    }
    out.family("soloist_rpc_errors_total", "counter", "Calls that failed, by kind of error.");
    for node in &s.nodes {
        for error in &node.errors {
            let labels = [("node", node.name.as_str()), ("kind", error.what.as_str())];
            out.sample("soloist_rpc_errors_total", &labels, error.count);
        }
    }
    out.counter("soloist_failovers_total", "Changes of the leading node.", s.failovers);
    let outside = &s.outside;
    let connected = outside.connections.iter().filter(|node| node.agent.is_some()).count();
    out.gauge("soloist_outside_known", "Addresses of strangers' nodes.", outside.known);
    out.gauge("soloist_outside_connections", "Outside nodes connected.", connected as u64);
    out.gauge(
        "soloist_behind_world_blocks",
        "Blocks that all own nodes lack, as outside nodes or headers show for a minute.",
        outside.behind.map_or(0, |behind| behind.blocks()),
    );
}

fn stratum(s: &Snapshot, out: &mut Text) {
    let edge = &s.stratum;
    out.gauge("soloist_stratum_connections", "Open connections.", edge.connections);
    out.gauge(
        "soloist_stratum_connections_limit",
        "Places for miners that have said who they are.",
        edge.connections_max,
    );
    out.counter("soloist_stratum_accepts_total", "Connections accepted.", edge.accepted_total);
    out.counter(
        "soloist_stratum_taken_up_total",
        "Connections of the run before that went on in this one.",
        edge.taken_up,
    );
    let drops = [
        (
            "soloist_stratum_not_taken_up_total",
            &edge.not_taken_up,
            "Connections of the run before that did not go on, by cause.",
        ),
        (
            "soloist_stratum_drops_total",
            &edge.dropped,
            "Connections of miners refused or ended, by cause.",
        ),
        (
            "soloist_page_drops_total",
            &s.page.dropped,
            "Connections to the page refused or ended, by cause.",
        ),
    ];
    for (name, dropped, help) in drops {
        out.family(name, "counter", help);
        for drop in dropped {
            out.sample(name, &[("cause", &drop.what)], drop.count);
        }
    }
    out.counter(
        "soloist_stratum_handshake_failures_total",
        "Connections that never came to mining.authorize.",
        edge.handshake_failures,
    );
    out.counter("soloist_shares_accepted_total", "Accepted shares.", edge.shares_accepted);
    out.counter(
        "soloist_shares_expected_total",
        "Shares that hashrate and difficulty led to expect.",
        edge.shares_expected,
    );
    out.family(
        "soloist_shares_rejected_total",
        "counter",
        "Rejected shares by reason and class of firmware.",
    );
    for rejects in &edge.rejects_by_class {
        let labels = [("reason", rejects.reason.name()), ("class", rejects.class.as_str())];
        out.sample("soloist_shares_rejected_total", &labels, rejects.count);
    }
    out.family(
        "soloist_notify_fanout_seconds",
        "histogram",
        "From the decision for a job to its last byte at the last miner's socket.",
    );
    out.histogram("soloist_notify_fanout_seconds", &[], &edge.notify_fanout);
    out.family(
        "soloist_share_answer_seconds",
        "histogram",
        "From a share's arrival to its answer.",
    );
    out.histogram("soloist_share_answer_seconds", &[], &edge.share_answer);
    if let Some(canary) = &s.canary {
        out.gauge(
            "soloist_canary_ok",
            "Whether the last test share by each protocol was accepted.",
            canary.ok,
        );
        out.gauge(
            "soloist_canary_round_trip_seconds",
            "From sending the last test share to its answer.",
            canary.round_trip_ms.map(|ms| ms / 1000.0),
        );
        out.counter("soloist_canary_passed_total", "Test shares accepted.", canary.passed);
        out.counter("soloist_canary_failed_total", "Test shares not accepted.", canary.failed);
    }
}

fn miners(s: &Snapshot, out: &mut Text) {
    out.family("soloist_miners", "gauge", "Miners by state.");
    for (state, name) in
        [(MinerState::Mining, "mining"), (MinerState::Quiet, "quiet"), (MinerState::Gone, "gone")]
    {
        let count = s.miners.iter().filter(|miner| miner.state == state).count();
        out.sample("soloist_miners", &[("state", name)], count as u64);
    }
    let connected = "Connected miners by what they speak and whether that is encrypted.";
    out.family("soloist_miners_connected", "gauge", connected);
    // Stratum V2 is always encrypted.
    for (protocol, name, encrypted) in
        [(Protocol::V1, "v1", false), (Protocol::V1, "v1", true), (Protocol::V2, "v2", true)]
    {
        let is_such = |link: &LinkView| link.protocol == protocol && link.encrypted == encrypted;
        let links = s.miners.iter().filter_map(|miner| miner.link.as_ref());
        let encrypted = if encrypted { "yes" } else { "no" };
        let labels = [("protocol", name), ("encrypted", encrypted)];
        out.sample(
            "soloist_miners_connected",
            &labels,
            links.filter(|l| is_such(l)).count() as u64,
        );
    }
    // The name alone may be shared by two miners; the id never is.
    let mut each = Each { out, of: &s.miners, labels: |m| vec![("miner", &m.name), ("id", &m.id)] };
    each.gauge("soloist_miner_connected", "Whether the miner is connected.", |m| {
        m.state != MinerState::Gone
    });
    each.gauge(
        "soloist_miner_hashrate_hashes_per_second",
        "Its hashrate, proven by shares.",
        |m| if m.state == MinerState::Gone { 0.0 } else { m.rate.hashrate },
    );
    each.gauge("soloist_miner_hashrate_error_ratio", "Its error at 99 % confidence.", |m| {
        m.rate.relative_error()
    });
    each.gauge(
        "soloist_miner_hashrate_claimed_hashes_per_second",
        "The hashrate that it claims.",
        |m| m.claimed,
    );
    each.counter("soloist_miner_shares_accepted_total", "Accepted shares.", |m| m.accepted);
    let by_reason = "Rejected shares by reason.";
    each.out.family("soloist_miner_shares_rejected_total", "counter", by_reason);
    // Every reason from the start, so that Prometheus sees the first reject come.
    for miner in &s.miners {
        for reason in RejectReason::ALL {
            let of_reason = miner.rejects.iter().find(|reject| reject.reason == reason);
            let labels = [
                ("miner", miner.name.as_str()),
                ("id", miner.id.as_str()),
                ("reason", reason.name()),
            ];
            let count = of_reason.map_or(0, |reject| reject.count);
            each.out.sample("soloist_miner_shares_rejected_total", &labels, count);
        }
    }
    each.gauge("soloist_miner_difficulty", "Difficulty of its jobs.", |m| m.difficulty);
    each.gauge("soloist_miner_best_difficulty", "Its best share ever.", |m| m.best);
    each.gauge("soloist_miner_last_share_time_seconds", "Unix time of its last share.", |m| {
        m.last_share_at
    });
    each.gauge("soloist_miner_rtt_seconds", "Round trip by TCP_INFO.", |m| {
        m.rtt_ms.map(|ms| ms / 1000.0)
    });
    each.counter("soloist_miner_connects_total", "Connections it has made.", |m| m.connects);
    let hashrate = "soloist_hashrate_hashes_per_second";
    out.family(hashrate, "gauge", "Hashrate of all miners, by window.");
    for (window, rate) in
        [("5m", &s.totals.rate_5m), ("1h", &s.totals.rate_1h), ("24h", &s.totals.rate_24h)]
    {
        out.sample(hashrate, &[("window", window)], rate.hashrate);
    }
    out.counter("soloist_work_total", "Difficulty of all accepted shares added up.", s.totals.work);
    out.gauge("soloist_best_difficulty", "Best share ever.", s.totals.best);
    let chance = odds(s).map(|odds| odds.per_day);
    out.gauge("soloist_block_probability_day", "Chance of a block in 24 hours.", chance);
}

/// What devices say of themselves. One that does not answer has no values: they would be old.
fn devices(s: &Snapshot, out: &mut Text) {
    if s.devices.is_empty() {
        return;
    }
    out.gauge(
        "soloist_devices_power_watts",
        "Power of all devices that tell theirs.",
        s.power.as_ref().map(|power| power.watts),
    );
    fn labels(device: &DeviceView) -> Vec<(&'static str, &str)> {
        vec![("device", &device.address), ("id", device.miner.as_deref().unwrap_or_default())]
    }
    let mut each = Each { out, of: &s.devices, labels };
    each.gauge("soloist_device_up", "Whether the device answered in the last two minutes.", |d| {
        d.fresh
    });
    let told = |value: fn(&DeviceView) -> Option<f64>| {
        move |device: &DeviceView| value(device).filter(|_| device.fresh)
    };
    each.gauge("soloist_device_power_watts", "Power.", told(|d| d.watts));
    each.gauge(
        "soloist_device_hashrate_hashes_per_second",
        "Hash rate as the device says.",
        told(|d| d.hashrate),
    );
    each.gauge(
        "soloist_device_hashrate_expected_hashes_per_second",
        "Hash rate that the device's settings promise.",
        told(|d| d.expected),
    );
    each.gauge("soloist_device_input_volts", "Voltage at the power input.", told(|d| d.volts));
    each.gauge(
        "soloist_device_wifi_signal_dbm",
        "Strength of the Wi-Fi signal.",
        told(|d| d.rssi_dbm),
    );
    each.gauge(
        "soloist_device_uptime_seconds",
        "How long the device has been running.",
        told(|d| d.uptime_s.map(|uptime| uptime as f64)),
    );
    // They fall where the device starts anew or changes its pool, as counters do.
    each.counter(
        "soloist_device_shares_accepted_total",
        "Accepted shares as the device counts them.",
        |d| d.accepted.filter(|_| d.fresh),
    );
    each.counter(
        "soloist_device_shares_rejected_total",
        "Rejected shares as the device counts them.",
        |d| d.rejected.filter(|_| d.fresh),
    );
    each.gauge("soloist_device_on_fallback", "Whether it mines on its second pool.", |d| {
        d.on_fallback.filter(|_| d.fresh)
    });
    let fresh = || s.devices.iter().filter(|device| device.fresh);
    let celsius = "soloist_device_temperature_celsius";
    each.out.family(celsius, "gauge", "Temperature by sensor.");
    for device in fresh() {
        let sensors =
            [("chip", device.chip_c), ("regulator", device.regulator_c), ("air", device.air_c)];
        for (sensor, value) in sensors {
            let mut labels = labels(device);
            labels.push(("sensor", sensor));
            each.out.sample(celsius, &labels, value);
        }
    }
    let rpm = "soloist_device_fan_rpm";
    each.out.family(rpm, "gauge", "Revolutions of each fan a minute.");
    for device in fresh() {
        for (place, fan) in device.fans.iter().enumerate() {
            let number = (place + 1).to_string();
            let mut labels = labels(device);
            labels.push(("fan", &number));
            each.out.sample(rpm, &labels, fan.rpm);
        }
    }
    let trouble = "soloist_device_trouble";
    each.out.family(trouble, "gauge", "What is wrong with the device; the value is always 1.");
    for device in &s.devices {
        for told in &device.troubles {
            let mut labels = labels(device);
            labels.push(("trouble", told.what.name()));
            each.out.sample(trouble, &labels, 1u64);
        }
    }
}

fn blocks(s: &Snapshot, out: &mut Text) {
    out.family("soloist_blocks", "gauge", "Found blocks by where they stand.");
    for (state, name) in [
        (BlockState::Candidate, "candidate"),
        (BlockState::Beside, "beside"),
        (BlockState::Accepted, "accepted"),
        (BlockState::Mature, "mature"),
        (BlockState::Orphaned, "orphaned"),
        (BlockState::Refused, "refused"),
    ] {
        let count = s.blocks.iter().filter(|block| block.state == state).count();
        out.sample("soloist_blocks", &[("state", name)], count as u64);
    }
    out.gauge(
        "soloist_blocks_waiting",
        "Found blocks that no node has shown in its best chain yet.",
        s.storage.spool_waiting,
    );
}

/// Nothing where the settings name no partner.
fn pair(s: &Snapshot, out: &mut Text) {
    let Some(pair) = &s.pair else { return };
    let connected = "Whether the other box of the pair is connected.";
    out.gauge("soloist_pair_connected", connected, pair.connected);
    out.counter(
        "soloist_pair_disconnects_total",
        "Connections to the other box that were lost.",
        pair.lost.disconnects,
    );
    let has_address = "Whether this box has the address that the miners use.";
    out.gauge("soloist_pair_active", has_address, pair.own.active);
    let agreed = "Whether both boxes pay the same address, and no other one waits.";
    out.gauge("soloist_pair_payout_agreed", agreed, pair.payout.state == PairPayout::Agreed);
    out.gauge(
        "soloist_pair_unkept_blocks",
        "Blocks of this box that are not final and not known to be on the other one's card.",
        pair.unkept_blocks,
    );
    // What it said long ago is no measurement.
    let Some(other) = pair.other.as_ref().filter(|_| pair.connected) else { return };
    let ready = "Whether miners may be sent to the other box.";
    out.gauge("soloist_pair_other_ready", ready, other.ready);
    let has_address = "Whether the other box has the address that the miners use.";
    out.gauge("soloist_pair_other_active", has_address, other.active);
    out.gauge("soloist_pair_other_miners", "Miners connected to the other box.", other.miners);
    out.gauge(
        "soloist_pair_other_hashrate_hashes_per_second",
        "Proven hashrate of the other box's miners.",
        other.hashrate,
    );
    out.gauge("soloist_pair_other_job_height", "Height that the other box mines at.", other.height);
    out.gauge(
        "soloist_pair_other_undecided_blocks",
        "Blocks of the other box that no node shows yet.",
        other.undecided_blocks,
    );
    out.gauge(
        "soloist_pair_other_clock_offset_seconds",
        "The other box's clock minus ours.",
        other.clock_ahead_s.map(|ahead| ahead as f64),
    );
}

fn box_and_process(s: &Snapshot, out: &mut Text) {
    let p = &s.process;
    out.counter("soloist_process_cpu_seconds_total", "CPU time used.", p.cpu_s);
    out.gauge("soloist_process_resident_memory_bytes", "Resident memory.", p.resident_bytes);
    out.gauge("soloist_process_open_fds", "Open file descriptors.", p.open_fds);
    out.gauge("soloist_process_threads", "Threads.", p.threads);
    out.gauge(
        "soloist_loop_lag_p99_seconds",
        "How late the loop gets to its work, 99th percentile.",
        p.loop_lag_p99_ms.map(|ms| ms / 1000.0),
    );
    let b = &s.board;
    out.gauge("soloist_box_cpu_ratio", "Use of all cores together.", b.cpu);
    out.gauge("soloist_box_temperature_celsius", "Temperature of the processor.", b.temperature_c);
    out.gauge("soloist_box_undervoltage", "Whether the supply is too weak now.", b.undervoltage);
    out.gauge("soloist_box_throttled", "Whether the processor is slowed down now.", b.throttled);
    out.gauge("soloist_box_memory_bytes", "Memory.", b.memory_total);
    out.gauge("soloist_box_memory_available_bytes", "Memory available.", b.memory_available);
    out.gauge("soloist_box_disk_bytes", "Size of the data partition.", b.disk_total);
    out.gauge("soloist_box_disk_free_bytes", "Free on the data partition.", b.disk_free);
    out.gauge(
        "soloist_box_disk_written_day_bytes",
        "Written to the card in the last 24 hours.",
        b.disk_written_day,
    );
    out.gauge("soloist_box_clock_synced", "Whether the clock is synchronised.", b.clock_synced);
    out.gauge(
        "soloist_box_clock_offset_seconds",
        "Our clock minus the network's.",
        b.clock_offset_s,
    );
    out.gauge("soloist_storage_writable", "Whether the last write worked.", s.storage.writable);
    out.gauge("soloist_storage_size_bytes", "Ledger and journal.", s.storage.size_bytes);
    out.family("soloist_notifications_total", "counter", "Notifications by place and outcome.");
    // Two places of one kind are one series: which is which is not for everybody.
    let mut by_kind: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for sink in &s.sinks {
        let [sent, failed] = by_kind.entry(&sink.kind).or_default();
        *sent += sink.sent;
        *failed += sink.failed;
    }
    for (kind, counts) in by_kind {
        let kind = kind.to_lowercase();
        for (outcome, count) in ["sent", "failed"].into_iter().zip(counts) {
            let labels = [("sink", kind.as_str()), ("outcome", outcome)];
            out.sample("soloist_notifications_total", &labels, count);
        }
    }
    if let Some(update) = &s.update {
        let is_there = update.step != "none";
        out.gauge("soloist_update_available", "The update feed names another version.", is_there);
        let withdrawn = "Whether the version that runs is withdrawn by the update feed.";
        out.gauge("soloist_update_withdrawn", withdrawn, update.withdrawn.is_some());
        let failing = "Whether the last check of the update feed failed.";
        out.gauge("soloist_update_check_failing", failing, update.check_failure.is_some());
        out.gauge(
            "soloist_update_feed_issued_timestamp_seconds",
            "When the newest update feed was made that was accepted.",
            update.issued_at,
        );
    }
    if let Some(mqtt) = &s.mqtt {
        let taken = "Whether the MQTT broker took us and the connection stands.";
        out.gauge("soloist_mqtt_connected", taken, mqtt.connected);
        out.gauge("soloist_mqtt_devices", "Devices that Home Assistant is told of.", mqtt.devices);
        out.counter("soloist_mqtt_messages_total", "Messages sent to the MQTT broker.", mqtt.sent);
        out.counter(
            "soloist_mqtt_disconnects_total",
            "Connections to the MQTT broker that were lost.",
            mqtt.lost.disconnects,
        );
        out.counter(
            "soloist_mqtt_presses_total",
            "Buttons of miners pressed by MQTT.",
            mqtt.presses,
        );
    }
}

/// What a sample's number is made of; `None` where it is not known.
trait Value {
    fn number(self) -> Option<f64>;
}

impl Value for f64 {
    fn number(self) -> Option<f64> {
        Some(self)
    }
}

impl Value for u64 {
    fn number(self) -> Option<f64> {
        Some(self as f64)
    }
}

impl Value for bool {
    fn number(self) -> Option<f64> {
        Some(f64::from(self))
    }
}

impl<T: Value> Value for Option<T> {
    fn number(self) -> Option<f64> {
        self?.number()
    }
}

/// Families with a sample for each of some things.
struct Each<'a, T> {
    out: &'a mut Text,
    of: &'a [T],
    labels: fn(&T) -> Vec<(&'static str, &str)>,
}

impl<T> Each<'_, T> {
    fn gauge<V: Value>(&mut self, name: &str, help: &str, value: impl Fn(&T) -> V) {
        self.family(name, "gauge", help, value);
    }

    fn counter<V: Value>(&mut self, name: &str, help: &str, value: impl Fn(&T) -> V) {
        self.family(name, "counter", help, value);
    }

    fn family<V: Value>(&mut self, name: &str, kind: &str, help: &str, value: impl Fn(&T) -> V) {
        self.out.family(name, kind, help);
        for one in self.of {
            self.out.sample(name, &(self.labels)(one), value(one));
        }
    }
}

struct Text {
    out: String,
}

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        line(&mut self.out, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Value) {
        let Some(value) = value.number() else { return };
        self.out.push_str(name);
        self.labels(labels, None);
        line(&mut self.out, format_args!(" {}\n", Number(value)));
    }

    /// A family of one sample; nothing where its value is not known.
    fn gauge(&mut self, name: &str, help: &str, value: impl Value) {
        self.single(name, "gauge", help, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Value) {
        self.single(name, "counter", help, value);
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Value) {
        if let Some(value) = value.number() {
            self.family(name, kind, help);
            self.sample(name, &[], value);
        }
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &HistogramView) {
        for (bound, count) in &histogram.buckets {
            self.bucket(name, labels, &Number(*bound).to_string(), *count);
        }
        self.bucket(name, labels, "+Inf", histogram.count);
        for (suffix, value) in [("_sum", histogram.sum_s), ("_count", histogram.count as f64)] {
            self.out.push_str(name);
            self.out.push_str(suffix);
            self.labels(labels, None);
            line(&mut self.out, format_args!(" {}\n", Number(value)));
        }
    }

    fn bucket(&mut self, name: &str, labels: &[(&str, &str)], bound: &str, count: u64) {
        self.out.push_str(name);
        self.out.push_str("_bucket");
        self.labels(labels, Some(bound));
        line(&mut self.out, format_args!(" {count}\n"));
    }

    fn labels(&mut self, labels: &[(&str, &str)], bound: Option<&str>) {
        let all = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let mut open = '{';
        for (name, value) in all {
            self.out.push(open);
            open = ',';
            self.out.push_str(name);
            self.out.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        if open == ',' {
            self.out.push('}');
        }
    }
}

/// A number as Prometheus reads it.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            v if v.is_nan() => f.write_str("NaN"),
            v if v.is_infinite() => f.write_str(if v > 0.0 { "+Inf" } else { "-Inf" }),
            v => write!(f, "{v}"),
        }
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{BehindView, MinerView, NodeView, OutsideNodeView};

    #[test]
    fn hostile_names_stay_inside_their_quotes() {
        let snapshot = Snapshot {
            miners: vec![MinerView {
                id: "a".to_owned(),
                name: "x\"} 1\nsoloist_state{state=\"ok\"} 1\\".to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let text = metrics(&snapshot, &crate::status::verdict(&snapshot));
        assert!(text.contains(
            r#"soloist_miner_connected{miner="x\"} 1\nsoloist_state{state=\"ok\"} 1\\",id="a"} 1"#
        ));
        assert_eq!(text.matches("\nsoloist_state{state=\"ok\"}").count(), 1);
    }

    #[test]
    fn outside_nodes_count_when_they_are_connected_and_being_behind_counts_in_blocks() {
        let mut s = Snapshot::default();
        let lines = |s: &Snapshot| -> Vec<String> {
            let text = metrics(s, &crate::status::verdict(s));
            let ours = |line: &&str| {
                line.starts_with("soloist_outside_") || line.starts_with("soloist_behind_")
            };
            text.lines().filter(ours).map(str::to_owned).collect()
        };
        let none = [
            "soloist_outside_known 0",
            "soloist_outside_connections 0",
            "soloist_behind_world_blocks 0",
        ];
        assert_eq!(lines(&s), none);
        let ready = OutsideNodeView { agent: Some(String::new()), ..Default::default() };
        s.outside.connections = vec![OutsideNodeView::default(), ready];
        s.outside.known = 58;
        s.outside.behind = Some(BehindView { own: 100, world: 103, ..Default::default() });
        let some = [
            "soloist_outside_known 58",
            "soloist_outside_connections 1",
            "soloist_behind_world_blocks 3",
        ];
        assert_eq!(lines(&s), some);
    }

    #[test]
    fn two_places_of_one_kind_are_one_series() {
        let sink =
            |sent| crate::status::SinkView { kind: "ntfy".into(), sent, ..Default::default() };
        let snapshot = Snapshot { sinks: vec![sink(3), sink(4)], ..Default::default() };
        let text = metrics(&snapshot, &crate::status::verdict(&snapshot));
        let series = "soloist_notifications_total{sink=\"ntfy\",outcome=\"sent\"}";
        assert_eq!(text.matches(series).count(), 1, "{text}");
        assert!(text.contains(&format!("{series} 7\n")), "{text}");
    }

    #[test]
    fn a_miner_has_every_reject_series_before_its_first_reject() {
        let snapshot = Snapshot { miners: vec![MinerView::default()], ..Default::default() };
        let text = metrics(&snapshot, &crate::status::verdict(&snapshot));
        for reason in RejectReason::ALL {
            let labels = format!("{{miner=\"\",id=\"\",reason=\"{}\"}} 0\n", reason.name());
            assert!(text.contains(&format!("soloist_miner_shares_rejected_total{labels}")));
        }
    }

    #[test]
    fn histograms_are_cumulative_and_complete() {
        let mut out = Text { out: String::new() };
        let histogram = HistogramView { buckets: vec![(0.01, 1), (0.1, 3)], count: 4, sum_s: 1.5 };
        out.histogram("h", &[("node", "attic")], &histogram);
        assert_eq!(
            out.out,
            "h_bucket{node=\"attic\",le=\"0.01\"} 1\n\
             h_bucket{node=\"attic\",le=\"0.1\"} 3\n\
             h_bucket{node=\"attic\",le=\"+Inf\"} 4\n\
             h_sum{node=\"attic\"} 1.5\n\
             h_count{node=\"attic\"} 4\n"
        );
    }

    #[test]
    fn every_family_is_declared_once_before_its_samples() {
        let snapshot = Snapshot {
            nodes: vec![NodeView::default(), NodeView::default()],
            ..Default::default()
        };
        let text = metrics(&snapshot, &crate::status::verdict(&snapshot));
        let mut seen = std::collections::HashSet::new();
        for name in text.lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
            let name = name.split(' ').next().unwrap();
            assert!(seen.insert(name), "{name} is declared twice");
        }
        for sample in text.lines().filter(|l| !l.starts_with('#')) {
            let name = sample.split(['{', ' ']).next().unwrap();
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|s| name.strip_suffix(s))
                .filter(|base| seen.contains(base))
                .unwrap_or(name);
            assert!(seen.contains(base), "{name} is not declared");
        }
    }
}
