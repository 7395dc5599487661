//! Sample snapshots: what the page is looked at and tested with.

use soloist::difficulty::HASHES_PER_DIFFICULTY;
use soloist::pair::watch::Trouble;
use soloist::rate::Proven;
use soloist::status::*;

/// A fixed time: 2026-11-21 07:39:12 UTC.
pub const NOW: u64 = 1_795_246_752;

pub const OWNER: &str = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq";
/// The key in the specification's example.
const KEY: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
const DIFFICULTY: f64 = 152_271_840_215_021.0;

/// All scenarios by name.
#[allow(dead_code)]
pub fn all() -> Vec<(&'static str, Snapshot)> {
    vec![
        ("home", home()),
        ("new", new()),
        ("no-node", no_node()),
        ("syncing", syncing()),
        ("lonely", lonely()),
        ("clocks", clocks()),
        ("lagging", lagging()),
        ("outside", outside()),
        ("behind", behind()),
        ("forbidden", forbidden()),
        ("split", split()),
        ("second-road", second_road()),
        ("one-miner", one_miner()),
        ("forty", forty()),
        ("per-miner", per_miner()),
        ("unusable", unusable()),
        ("found", found()),
        ("hostile", hostile()),
        ("encrypted", encrypted()),
        ("devices", devices()),
        ("heat", heat()),
        ("new-version", new_version()),
        ("pair", pair()),
        ("pair-away", pair_away()),
    ]
}

/// Four miners of different kinds, two nodes, all well.
pub fn home() -> Snapshot {
    let mut s = base();
    s.miners = vec![
        miner("gamma", "Bitaxe Gamma", "bitaxe/BM1370/v2.13.1", "bitaxe", 1.21e12, 1),
        miner("quad", "NerdQAxe++", "NerdQAxe++/BM1370/v1.0.36", "nerdqaxe", 4.83e12, 2),
        miner("living-room", "Avalon Nano 3S", "cgminer/4.11.1", "avalon", 6.04e12, 3),
        miner("desk", "NerdMiner", "NerdMinerV2/V1.8.3", "nerdminer", 347e3, 4),
    ];
    sum_up(&mut s);
    s
}

/// The same miners, which tell how hot they are and what they draw.
pub fn heat() -> Snapshot {
    let mut s = home();
    s.history.heat = heat_history();
    for point in heat_points(&mut s.history.heat) {
        (point.celsius_max, point.celsius) = (None, None);
    }
    s
}

/// The history of one of them: of all only the power can be added up.
#[allow(dead_code)]
pub fn miner_history(snapshot: &Snapshot) -> HistoryView {
    let mut history = snapshot.history.clone();
    if history.heat != HeatHistoryView::default() {
        history.heat = heat_history();
        for point in heat_points(&mut history.heat) {
            point.watts = point.watts.map(|watts| (watts * 2.0).round() / 10.0);
            point.miners = 1;
        }
    }
    history
}

fn heat_points(heat: &mut HeatHistoryView) -> impl Iterator<Item = &mut HeatPointView> {
    heat.day.iter_mut().chain(&mut heat.month).chain(&mut heat.all)
}

/// Just switched on, nothing set.
pub fn new() -> Snapshot {
    Snapshot {
        now: NOW,
        name: "solo".to_owned(),
        started_at: NOW - 40,
        build: build(),
        connect: connect(),
        board: board(),
        ..Default::default()
    }
}

/// Both nodes are down.
pub fn no_node() -> Snapshot {
    let mut s = home();
    s.job = None;
    // Nothing was ever heard of the second one.
    s.nodes[1].height = None;
    s.nodes[1].lag_blocks = None;
    s.nodes[1].latency_ms = None;
    s.nodes[1].peers = None;
    s.nodes[1].rehearsal = None;
    s.nodes[1].permissions = None;
    for node in &mut s.nodes {
        node.leads = false;
        node.state = NodeState::Down;
        node.p2p = node.p2p.take().map(|p2p| P2pView {
            state: P2pState::Down,
            why: "it refuses connections".to_owned(),
            ..p2p
        });
        node.answered_at = Some(NOW - 420);
        node.cause = "refused".to_owned();
        node.reason = "nothing listens at its port (connection refused)".to_owned();
        node.remedy = "Check that the node runs.".to_owned();
        node.why = format!("It does not answer: {}. {}", node.reason, node.remedy);
        node.last_error = Some(NodeErrorView {
            at: NOW - 3,
            method: "getblocktemplate".to_owned(),
            words: "cannot reach it: connection refused".to_owned(),
        });
    }
    for miner in &mut s.miners {
        miner.state = MinerState::Gone;
        miner.link = None;
        miner.since = NOW - 418;
    }
    s.totals.rate_5m = RateView::default();
    s.stratum.connections = 0;
    s
}

/// The only node refuses the password since a minute, and the miners still have the last job.
pub fn unusable() -> Snapshot {
    let mut s = home();
    s.nodes.truncate(1);
    let node = &mut s.nodes[0];
    node.leads = false;
    node.state = NodeState::Unusable;
    node.cause = "login".to_owned();
    node.reason = "it refuses our user or password (HTTP 401)".to_owned();
    node.remedy =
        "Compare rpc_user and rpc_pass with the rpcauth or rpcuser line of its bitcoin.conf."
            .to_owned();
    node.why = format!("It cannot be used now: {}. {}", node.reason, node.remedy);
    node.answered_at = Some(NOW - 16);
    s.job.as_mut().expect("home has a job").kept_until = Some(NOW + 74);
    s
}

/// The only node still downloads the chain.
pub fn syncing() -> Snapshot {
    let mut s = base();
    s.job = None;
    s.network.height = Some(731_206);
    s.nodes.truncate(1);
    let node = &mut s.nodes[0];
    node.leads = false;
    node.state = NodeState::Syncing;
    node.cause = "initial-download".to_owned();
    node.why = "It is downloading the chain. Mining starts by itself when it is done.".to_owned();
    node.height = Some(731_206);
    node.headers = Some(925_113);
    node.lag_blocks = Some(193_907);
    node.initial_download = true;
    node.progress = Some(0.7291);
    node.sync_eta_s = Some(19 * 3600);
    node.rehearsal = None;
    node.tip_wins = 0;
    s.knocking = vec![RefusedPeerView {
        address: "192.168.1.51".to_owned(),
        at: NOW - 4,
        times: 12,
        why: "turned away, because there is no work yet; it will come back by itself.".to_owned(),
    }];
    s.best_shares.clear();
    s.events.truncate(1);
    s
}

/// The second node would not take a block from us, and the first does not tell its peers.
pub fn forbidden() -> Snapshot {
    let mut s = home();
    let node = &mut s.nodes[1];
    node.state = NodeState::Forbidden;
    node.why = "It does not let us call submitblock.".to_owned();
    node.permissions = Some(PermissionsView {
        refused: vec!["submitblock".to_owned()],
        words: "does not let us call submitblock: a block that we find could not be handed to it"
            .to_owned(),
        remedy: "Put this line into its bitcoin.conf, in place of the rpcwhitelist line that the \
                 user has there now, and restart the node: rpcwhitelist=solo:getblocktemplate,\
                 submitblock,getblockchaininfo,getbestblockhash,getblockhash,getblockheader,\
                 getnetworkinfo,preciousblock,getchaintips,waitfornewblock,getnodeaddresses"
            .to_owned(),
        shortage: String::new(),
    });
    s.nodes[0].peers = None;
    s.nodes[0].version = String::new();
    s.nodes[0].permissions = Some(PermissionsView {
        shortage: "does not let us call getnetworkinfo, which mining does not need: its version \
                   and its peers are not shown"
            .to_owned(),
        ..Default::default()
    });
    s
}

/// The only node has lost its peers.
pub fn lonely() -> Snapshot {
    let mut s = syncing();
    let node = &mut s.nodes[0];
    node.state = NodeState::NoPeers;
    node.why = "It has no peers: it hears of no new blocks.".to_owned();
    node.height = Some(925_113);
    node.lag_blocks = None;
    node.initial_download = false;
    node.progress = Some(1.0);
    node.peers = Some(0);
    s
}

/// The preferred node is three hours ahead and the other one takes no transactions.
pub fn clocks() -> Snapshot {
    let mut s = home();
    s.nodes[0].leads = false;
    s.nodes[0].state = NodeState::WrongClock;
    s.nodes[0].why =
        "It has a clock that is 3 h fast, so that others refuse its blocks.".to_owned();
    s.nodes[0].clock = Some(ClockView { offset_s: 10_800.0, odd: true });
    s.nodes[1].leads = true;
    s.nodes[1].state = NodeState::Leading;
    s.nodes[1].local_relay = Some(false);
    s.board.clock_synced = Some(false);
    s
}

/// The second node is behind, and a miner is quiet.
pub fn lagging() -> Snapshot {
    let mut s = home();
    s.miners[3].carries = Some("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4".to_owned());
    let node = &mut s.nodes[1];
    node.state = NodeState::Lagging;
    node.height = Some(925_110);
    node.lag_blocks = Some(3);
    node.why = "It is 3 blocks behind for 31 minutes: it may have lost its peers.".to_owned();
    node.peers = Some(1);
    s.miners[1].state = MinerState::Quiet;
    s.miners[1].last_share_at = Some(NOW - 900);
    s.board.undervoltage_seen = Some(true);
    s
}

/// Strangers are watched, all is well.
pub fn outside() -> Snapshot {
    let mut s = home();
    let node = |address: &str, agent: Option<&str>, height| OutsideNodeView {
        address: address.to_owned(),
        agent: agent.map(str::to_owned),
        height,
        since: NOW - 4000,
    };
    s.outside = OutsideView {
        setting: Outside::Watch,
        known: 58,
        named: 1,
        by_proxy: true,
        connections: vec![
            node("node.example:8333", Some("/Satoshi:31.0.0/"), Some(925_113)),
            node("77.1.2.3:8333", Some("/Satoshi:29.1.0/Knots:20250903/"), Some(925_113)),
            node("[2a01:4f8:1:2::3]:8333", Some("/btcwire:0.5.0/btcd:0.24.2/"), Some(925_113)),
            node(&format!("{}.onion:8333", "pg6mmjiyjmcrsslv".repeat(4)), None, None),
        ],
        behind: None,
    };
    s
}

/// The nodes stand still, and strangers show that the network does not.
pub fn behind() -> Snapshot {
    let mut s = outside();
    let node = &mut s.nodes[0];
    node.state = NodeState::Lagging;
    node.why = "It leads, as no other node is better, but it has stopped taking in blocks. Check \
                the node's internet connection, its peers and its free disk space."
        .to_owned();
    let node = &mut s.nodes[1];
    node.state = NodeState::Lagging;
    node.why = "It has stopped taking in blocks.".to_owned();
    for height in s.outside.connections.iter_mut().filter_map(|node| node.height.as_mut()) {
        *height += 3;
    }
    let since = NOW - 1500;
    s.outside.behind = Some(BehindView { own: 925_113, world: 925_116, by: 3, of: 3, since });
    s.alarms = vec![AlarmView {
        kind: AlarmKind::BehindWorld,
        id: "behind_world".to_owned(),
        about: About::Node,
        level: Level::Critical,
        text: "Your nodes have been standing at block 925113 for 31 minutes; the network is at \
               925116 (by 3 of 3 outside nodes)."
            .to_owned(),
        advice: "Check the node's internet connection.".to_owned(),
        since: Some(since),
    }];
    s
}

/// RPC of the only node hangs, its P2P port brings the work; that of a second one is of no use.
pub fn second_road() -> Snapshot {
    let mut s = found();
    let node = &mut s.nodes[0];
    node.leads = false;
    node.state = NodeState::Down;
    node.reason = "no answer within 5 s".to_owned();
    node.why =
        "It does not answer: no answer within 5 s. The node is frozen or overloaded: look at its \
                machine, restart it if needed."
            .to_owned();
    node.answered_at = Some(NOW - 1260);
    node.news = NewsView::P2p;
    let node = &mut s.nodes[1];
    node.state = NodeState::Forbidden;
    node.why = "It does not let us call getblocktemplate.".to_owned();
    node.p2p = Some(P2pView {
        address: "192.168.1.11:8333".to_owned(),
        state: P2pState::Down,
        why: "it refuses connections".to_owned(),
    });
    let job = s.job.as_mut().expect("it has a job");
    job.carried_by_p2p = Some("attic".to_owned());
    job.template_age_s = 660.0;
    job.transactions = 1;
    s
}

/// The second node has refused a block, and the first keeps a version bit.
pub fn split() -> Snapshot {
    let mut s = home();
    let node = &mut s.nodes[1];
    node.state = NodeState::OtherRules;
    node.height = Some(925_110);
    node.lag_blocks = None;
    node.why = "It has refused block 925111 (…7f1e02ab9c44), which node attic follows: the two go \
                by different rules."
        .to_owned();
    node.dispute = Some(DisputeView {
        height: 925_111,
        block: "000000000000000000017b1f2d6c0a5598c0d2b4e97f1e02ab9c440b6c1d2e3f".to_owned(),
        exact: true,
        refuser: "cellar".to_owned(),
        follower: "attic".to_owned(),
        since: NOW - 1900,
    });
    let job = s.job.as_mut().expect("home has a job");
    job.version = 0x2000_0014;
    job.signals = vec![
        SignalView { bit: 2, name: None, owner: false },
        SignalView { bit: 4, name: Some("reduced_data".to_owned()), owner: true },
    ];
    job.signals_demanded = vec![2];
    s
}

/// One small miner, two minutes old.
pub fn one_miner() -> Snapshot {
    let mut s = base();
    let mut m = miner("gamma", "Bitaxe Gamma", "bitaxe/BM1370/v2.13.1", "bitaxe", 1.3e12, 1);
    m.rate.shares = 9;
    m.rate.window_s = 120;
    m.rate_day = m.rate;
    m.accepted = 9;
    m.rejects.clear();
    m.trend.clear();
    m.since = NOW - 120;
    m.first_seen_at = NOW - 120;
    s.miners = vec![m];
    s.nodes.truncate(1);
    s.history = HistoryView::default();
    s.best_shares.truncate(1);
    s.best_shares[0].difficulty = 41_233.0;
    s.best_shares[0].at = NOW - 33;
    sum_up(&mut s);
    s.totals.rate_1h = s.totals.rate_5m;
    s.totals.rate_24h = s.totals.rate_5m;
    s.totals.work = 14_200.0;
    s.totals.work_since_block = 14_200.0;
    s.totals.best = 41_233.0;
    s
}

/// Forty miners.
pub fn forty() -> Snapshot {
    let mut s = base();
    for i in 0..40u32 {
        let (model, agent, class, rate) = match i % 4 {
            0 => ("Bitaxe Gamma", "bitaxe/BM1370/v2.13.1", "bitaxe", 1.2e12),
            1 => ("NerdQAxe++", "NerdQAxe++/BM1370/v1.0.36", "nerdqaxe", 4.8e12),
            2 => ("Antminer S19j Pro+", "Antminer S19j Pro+/Wed Jun 28", "antminer", 120e12),
            _ => ("Avalon Q", "cgminer/4.11.1", "avalon", 90e12),
        };
        // No two of them prove the same, or have been there for as long.
        let chance = |what: u64| (mixed(what * 100 + u64::from(i)) & 0xffff) as f64 / 65_536.0;
        let mut miner = miner(
            &format!("rack-{i:02}"),
            model,
            agent,
            class,
            rate * (0.93 + 0.14 * chance(1)),
            i,
        );
        miner.accepted = (miner.accepted as f64 * (0.2 + chance(2))) as u64;
        miner.best *= 0.1 / (0.001 + chance(3));
        s.miners.push(miner);
    }
    sum_up(&mut s);
    s.devices = s.miners.iter().enumerate().map(|(i, miner)| device(miner, i as u64)).collect();
    s.power = soloist::status::devices::power(&s.devices, None, "");
    s
}

/// What a miner's device says when all is well.
pub fn device(miner: &MinerView, number: u64) -> DeviceView {
    let chance = (mixed(number + 900) & 0xffff) as f64 / 65_536.0;
    let watts = miner.rate.hashrate / 1e12 * (15.0 + 3.0 * chance);
    DeviceView {
        address: miner.address.clone(),
        family: "axeos".to_owned(),
        miner: Some(miner.id.clone()),
        mines_here: true,
        model: "Bitaxe 601 (BM1370)".to_owned(),
        firmware: "v2.15.0".to_owned(),
        hostname: "bitaxe".to_owned(),
        answered_at: Some(NOW - 12),
        fresh: true,
        hashrate: Some(miner.rate.hashrate * (0.99 + 0.02 * chance)),
        expected: Some(miner.rate.hashrate * 1.01),
        watts: Some(watts),
        joules_per_terahash: Some(watts / (miner.rate.hashrate / 1e12)),
        volts: Some(5.08),
        chip_c: Some(52.0 + 10.0 * chance),
        regulator_c: Some(58.0 + 10.0 * chance),
        limit_c: Some(75.0),
        fans: vec![FanView { rpm: Some(4_211.0), percent: Some(43.0) }],
        rssi_dbm: Some(-55.0),
        uptime_s: Some(287_610),
        accepted: Some(4_120),
        rejected: Some(9),
        best: Some(4.29e9),
        shares: Some(DeviceSharesView { since: NOW - 86_000, device: 1_204, here: 1_204 }),
        boards: vec![miner.rate.hashrate / 4.0; 4],
        pool: Some("192.168.1.20:3333".to_owned()),
        pools: vec!["192.168.1.20:3333".to_owned(), "solo.example.org:3333".to_owned()],
        on_fallback: Some(false),
        ..Default::default()
    }
}

/// Devices of each kind: one hot with a weak supply, one paused, one on its second pool, one silent, one that
/// is none of our miners, one under the name of another.
pub fn devices() -> Snapshot {
    use soloist::devices::trouble::Trouble;
    let mut s = home();
    let trouble = |what, ago| TroubleView { what, since: NOW - ago };
    let hot = DeviceView {
        chip_c: Some(73.5),
        volts: Some(4.61),
        rssi_dbm: Some(-78.0),
        shares: Some(DeviceSharesView { since: NOW - 86_000, device: 1_204, here: 1_180 }),
        troubles: vec![trouble(Trouble::Hot, 300), trouble(Trouble::PowerSag, 4_000)],
        ..device(&s.miners[0], 0)
    };
    let paused = DeviceView {
        family: "nerdqaxe".to_owned(),
        model: "NerdQAxe++ (BM1370)".to_owned(),
        firmware: "v1.0.38".to_owned(),
        hashrate: Some(0.0),
        watts: Some(6.2),
        joules_per_terahash: None,
        volts: Some(12.1),
        fans: vec![
            FanView { rpm: Some(3_400.0), percent: Some(62.0) },
            FanView { rpm: Some(0.0), percent: Some(62.0) },
        ],
        troubles: vec![trouble(Trouble::FanStopped, 90), trouble(Trouble::Paused, 600)],
        ..device(&s.miners[1], 1)
    };
    let elsewhere = DeviceView {
        family: "avalon".to_owned(),
        model: "Avalon Nano 3S".to_owned(),
        firmware: "25052801_14a19a2".to_owned(),
        air_c: Some(26.0),
        regulator_c: None,
        volts: None,
        pool: Some("solo.example.org:3333".to_owned()),
        mines_here: false,
        on_fallback: Some(true),
        shares: None,
        troubles: vec![trouble(Trouble::OnFallback, 40)],
        ..device(&s.miners[2], 2)
    };
    let silent = DeviceView {
        fresh: false,
        answered_at: Some(NOW - 900),
        silent_since: Some(NOW - 870),
        silent_why: "it does not answer".to_owned(),
        ..device(&s.miners[3], 3)
    };
    s.miners[2].state = MinerState::Gone;
    s.miners[2].link = None;
    s.miners[2].since = NOW - 70;
    let stranger = DeviceView {
        miner: None,
        mines_here: false,
        address: "192.168.1.77".to_owned(),
        pool: Some("solo.example.org:3333".to_owned()),
        pools: vec!["solo.example.org:3333".to_owned()],
        shares: None,
        ..device(&s.miners[0], 4)
    };
    // The owner of the paused one gave its name to another.
    let twin = DeviceView { address: "192.168.1.78".to_owned(), ..device(&s.miners[1], 5) };
    s.devices = vec![hot, paused, elsewhere, silent, stranger, twin];
    s.power = soloist::status::devices::power(&s.devices, Some(0.31), "€");
    s
}

/// A block was found a quarter of an hour ago.
pub fn found() -> Snapshot {
    let mut s = home();
    s.totals.blocks_found = 3;
    let found = BlockView {
        hash: "00000000000000000001b6a3e2c4a5d0d8f1b3a7c9e5f2041628a9cbf3d7e15a".to_owned(),
        height: 925_111,
        at: NOW - 900,
        miner: "gamma".to_owned(),
        state: BlockState::Accepted,
        state_at: NOW - 900,
        confirmations: Some(3),
        reason: None,
        value_sat: 313_874_126,
        address: OWNER.to_owned(),
        txid: "c1b2".repeat(16),
        share_difficulty: 402e12,
        network_difficulty: DIFFICULTY,
        accepted_after_ms: Some(41.0),
        answers: vec![
            NodeAnswer {
                p2p_after_ms: Some(2.4),
                shown_after_ms: Some(41.0),
                ..answer("attic", true, "no objection")
            },
            answer("cellar", true, "duplicate"),
        ],
        outside: None,
        hex: true,
    };
    // One whose race is open, and one that the nodes' clocks kept out.
    let beside = BlockView {
        hash: "00000000000000000000c4a5d0d8f1b3a7c9e5f2041628a9cbf3d7e15a01b6a3".to_owned(),
        height: 925_020,
        at: NOW - 60_000,
        state: BlockState::Beside,
        state_at: NOW - 60_000,
        confirmations: None,
        accepted_after_ms: None,
        answers: vec![answer("attic", false, "inconclusive")],
        outside: Some(OutsideTakenView {
            asked: 3,
            shown: 2,
            asked_after_ms: Some(2314.0),
            shown_after_ms: Some(4100.0),
        }),
        ..found.clone()
    };
    let refused = BlockView {
        hash: "00000000000000000000e5f2041628a9cbf3d7e15a01b6a3c4a5d0d8f1b3a7c9".to_owned(),
        height: 924_980,
        at: NOW - 90_000,
        state: BlockState::Refused,
        state_at: NOW - 90_000,
        reason: Some("time-too-new".to_owned()),
        answers: vec![answer("attic", false, "time-too-new")],
        outside: Some(OutsideTakenView { asked: 1, ..Default::default() }),
        ..beside.clone()
    };
    s.blocks = vec![found, beside, refused];
    s.events.insert(
        0,
        EventView {
            id: 900,
            at: NOW - 900,
            kind: EventKind::Block,
            level: Level::Info,
            text: "Block 925 111 found by gamma: 3.13874126 BTC.".to_owned(),
        },
    );
    s
}

/// The address of somebody whose miners are paid there.
#[allow(dead_code)]
pub const THEIRS: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
/// The address of somebody whose miner is missing.
#[allow(dead_code)]
pub const AWAY: &str = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa";

/// Miners are paid whose names are addresses; one of them is mistyped, and a password is.
pub fn per_miner() -> Snapshot {
    let mut s = home();
    s.payout.per_miner = true;
    let names = [
        "gamma".to_owned(),
        format!("{THEIRS}.attic"),
        format!("bitcoin:{}_garage / left", THEIRS.to_uppercase()),
        THEIRS.to_owned(),
        format!("{}x.shed", &THEIRS[..41]),
        format!("{AWAY}.away"),
    ];
    s.miners = Vec::new();
    for (name, seed) in names.into_iter().zip(1..) {
        let mut miner = miner("", "Bitaxe Gamma", "bitaxe/BM1370/v2.13.1", "bitaxe", 1.2e12, seed);
        (miner.id, miner.name) = (seed.to_string(), name);
        s.miners.push(miner);
    }
    for miner in &mut s.miners[1..4] {
        miner.pays = THEIRS.to_owned();
    }
    s.miners[0].difficulty_unclear = true;
    s.miners[4].pays_fault = "its checksum does not match".to_owned();
    s.miners[5].state = MinerState::Gone;
    s.miners[5].link = None;
    // An alarm that the owner does not want to hear of.
    s.alarms.push(AlarmView {
        id: "stick".to_owned(),
        kind: AlarmKind::Copy,
        level: Level::Warning,
        text: "The ledger is not copied to /media/backup: nothing is mounted there.".to_owned(),
        advice: "Plug the stick in.".to_owned(),
        since: Some(NOW - 7200),
        ..Default::default()
    });
    s.snoozed.push(SnoozeView {
        alarm: "stick".to_owned(),
        level: Level::Warning,
        until: NOW + 72_000,
        from: "192.168.1.5".to_owned(),
    });
    sum_up(&mut s);
    s
}

/// Each kind of connection; one miner is missing.
pub fn encrypted() -> Snapshot {
    let mut s = home();
    let links = [
        Some(LinkView::of(Some(ChannelKind::Extended), true)),
        Some(LinkView::of(Some(ChannelKind::Standard), true)),
        Some(LinkView::of(None, true)),
        None,
    ];
    for (miner, link) in s.miners.iter_mut().zip(links) {
        miner.link = link;
    }
    s.miners[3].state = MinerState::Gone;
    s
}

/// This box and another one, all well.
pub fn pair() -> Snapshot {
    Snapshot { pair: Some(both_boxes()), ..home() }
}

fn both_boxes() -> PairView {
    let own = PairBoxView {
        name: "attic".to_owned(),
        version: "0.2.0 (1a2b3c4)".to_owned(),
        protocol: 1,
        page: None,
        ready: Some(true),
        active: Some(true),
        height: Some(925_114),
        miners: 4,
        hashrate: 12.1e12,
        best: 1.2e9,
        blocks: 0,
        undecided_blocks: 0,
        clock_ahead_s: None,
        pending: None,
    };
    let other = PairBoxView {
        name: "cellar".to_owned(),
        page: Some("http://192.168.1.21/".to_owned()),
        active: Some(false),
        miners: 2,
        hashrate: 2.4e12,
        best: 7.5e11,
        blocks: 1,
        undecided_blocks: 1,
        clock_ahead_s: Some(-1),
        ..own.clone()
    };
    PairView {
        partner: "192.168.1.21".to_owned(),
        virtual_address: Some("192.168.1.240".to_owned()),
        connected: true,
        since: Some(NOW - 90_000),
        together: PairView::sum(&own, Some(&other)),
        own,
        other: Some(other),
        payout: PairPayoutView { state: PairPayout::Agreed, address: None },
        unkept_blocks: 0,
        lost: LossView { disconnects: 1, reconnects: 1 },
        drill: Some(PairDrillView {
            began_at: NOW - 50_000,
            phase: DrillPhase::Given,
            miners: 3,
            given_after_s: Some(1.4),
            away_s: Some(2.2),
        }),
        troubles: Vec::new(),
    }
}

/// The other box, which has another version, is away, and a new payout address waits for it.
pub fn pair_away() -> Snapshot {
    let address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4".to_owned();
    let pair = both_boxes();
    let other = pair.other.map(|other| PairBoxView {
        protocol: 2,
        version: "0.4.0".to_owned(),
        clock_ahead_s: Some(3700),
        pending: Some(PendingPayout { address: address.clone(), due_at: NOW + 300 }),
        ..other
    });
    let trouble = |trouble, since| PairTroubleView { trouble, since };
    let pair = PairView {
        connected: false,
        since: Some(NOW - 7_500),
        other,
        payout: PairPayoutView { state: PairPayout::Waiting, address: Some(address) },
        unkept_blocks: 1,
        lost: LossView { disconnects: 2, reconnects: 1 },
        drill: None,
        troubles: vec![trouble(Trouble::Away, NOW - 7_500), trouble(Trouble::Waiting, NOW - 600)],
        ..pair
    };
    let change = PairChangeView { partner: String::new(), due_at: NOW + 400 };
    Snapshot { pair: Some(pair), pair_change: Some(change), ..home() }
}

/// What strangers may send.
pub fn hostile() -> Snapshot {
    let mut s = home();
    let script = "<script>alert(1)</script>";
    s.miners[0].name = script.to_owned();
    s.miners[0].model = String::new();
    s.miners[0].user_agent = format!("\"><img src=x onerror=alert(1)>{script}");
    s.miners[1].name = "x".repeat(200);
    s.miners[2].name = "γ'\"\\&amp;\u{202e}\r\nevent: part\ndata: state\ndata: owned".to_owned();
    s.miners[3].name = String::new();
    s.devices = vec![DeviceView {
        model: script.to_owned(),
        hostname: format!("\"'>{script}"),
        firmware: script.to_owned(),
        pool: Some(format!("{script}:1")),
        ..device(&s.miners[0], 0)
    }];
    s.knocking = vec![RefusedPeerView {
        address: "192.168.1.66".to_owned(),
        at: NOW - 9,
        times: 2,
        why: "it spoke HTTP; this port is for miners.".to_owned(),
    }];
    let crowd = |count, most: &str| {
        Some(MadeRoomView { count, since: NOW - 900, at: NOW - 7, most: most.to_owned() })
    };
    s.stratum.made_room = crowd(12_345, "192.168.1.66");
    s.page.made_room = crowd(1, "2001:db8:0:1::/64");
    s.nodes[0].warnings = script.to_owned();
    s.nodes[0].version = script.to_owned();
    s.nodes[1].why = script.to_owned();
    s.events[0].text = script.to_owned();
    s.outside = outside().outside;
    s.outside.connections[0].agent = Some(format!("/{script}{}/", "x".repeat(60)));
    s.outside.connections[0].address = script.to_owned();
    s.best_shares[0].miner = script.to_owned();
    let pair = both_boxes();
    let other = pair.other.map(|other| PairBoxView {
        name: format!("{script}{}", "x".repeat(200)),
        version: script.to_owned(),
        clock_ahead_s: Some(i64::MIN),
        pending: Some(PendingPayout { address: script.to_owned(), due_at: u64::MAX }),
        hashrate: f64::MAX,
        best: f64::MAX,
        miners: u64::from(u32::MAX),
        blocks: u64::MAX,
        ..other
    });
    s.pair = Some(PairView {
        together: PairView::sum(&pair.own, other.as_ref()),
        other,
        payout: PairPayoutView { state: PairPayout::Apart, address: Some(script.to_owned()) },
        ..pair
    });
    s.name = format!("solo{script}");
    s
}

fn base() -> Snapshot {
    Snapshot {
        now: NOW,
        name: "solo".to_owned(),
        chain: "main".to_owned(),
        configured: true,
        started_at: NOW - 12 * 86_400,
        build: build(),
        connect: connect(),
        payout: PayoutView {
            address: OWNER.to_owned(),
            kind: "P2WPKH".to_owned(),
            per_miner: false,
            pending: None,
        },
        job: Some(JobView {
            id: "3f2a".to_owned(),
            height: 925_114,
            parent: "00000000000000000000a4c1d93b6f7ee2b58c7d91f04a3625e8b7cd103f2a69".to_owned(),
            sent_at: NOW - 12,
            template_at: NOW - 12,
            template_age_s: 12.4,
            node: "attic".to_owned(),
            outputs: vec![
                OutputView { address: Some(OWNER.to_owned()), sat: 313_874_126, owner: true },
                OutputView { address: None, sat: 0, owner: false },
            ],
            to_owner_sat: 313_874_126,
            value_sat: 313_874_126,
            subsidy_sat: 312_500_000,
            transactions: 3813,
            coinbase_bytes: 169,
            tag: "/solo/".to_owned(),
            difficulty: DIFFICULTY,
            version: 0x2000_0000,
            signals: Vec::new(),
            signals_demanded: Vec::new(),
            kept_until: Some(NOW + 89),
            carried_by_p2p: None,
        }),
        network: NetworkView {
            height: Some(925_113),
            tip: Some(
                "00000000000000000000a4c1d93b6f7ee2b58c7d91f04a3625e8b7cd103f2a69".to_owned(),
            ),
            tip_at: Some(NOW - 312),
            difficulty: Some(DIFFICULTY),
        },
        nodes: vec![
            node("attic", "192.168.1.10:8332", NodeState::Leading, 38.0, 211),
            NodeView {
                zmq: ZmqNews::Off,
                zmq_state: None,
                news: NewsView::default(),
                zmq_address: None,
                ..node("cellar", "192.168.1.11:8332", NodeState::Standby, 164.0, 47)
            },
        ],
        outside: OutsideView { known: 58, ..Default::default() },
        failovers: 2,
        totals: TotalsView {
            accepted: 1_204_882,
            rejects: vec![RejectView { reason: RejectReason::StaleAtChange, count: 912 }],
            work: 3.1e9,
            work_since_block: 3.1e9,
            since: Some(NOW - 96 * 86_400),
            best: 8.47e9,
            best_session: 1.2e9,
            best_since_block: 8.47e9,
            ..Default::default()
        },
        history: history(),
        best_shares: best_shares(),
        events: events(),
        audit: vec![AuditView {
            at: NOW - 12 * 86_400,
            from: "192.168.1.30".to_owned(),
            text: "Node cellar added".to_owned(),
        }],
        board: board(),
        process: ProcessView {
            cpu_s: 4210.0,
            resident_bytes: 9_400_000,
            open_fds: 31,
            threads: 11,
            loop_lag_p99_ms: Some(0.8),
            loop_lag_max_ms: Some(14.0),
        },
        stratum: stratum(),
        page: PageView {
            dropped: vec![CountView { what: "made_room".to_owned(), count: 12 }],
            made_room: None,
        },
        templates: TemplatesView {
            taken: 34_000,
            jobs: 35_100,
            tips: 1_730,
            tip_to_job: histogram(&[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0], 1730, 0.03),
            steps: vec![StepView {
                step: "job_built".to_owned(),
                took: histogram(&[0.001, 0.002, 0.005, 0.01, 0.02], 1730, 0.004),
            }],
        },
        storage: StorageView {
            writable: Some(true),
            size_bytes: 3_200_000,
            backup_at: Some(NOW - 20_000),
            copy_to: "/media/backup".to_owned(),
            copy_at: Some(NOW - 1_000),
            ..Default::default()
        },
        canary: Some(CanaryView {
            way: "Stratum V1".to_owned(),
            ok: true,
            last_ok_at: Some(NOW - 21),
            round_trip_ms: Some(1.9),
            passed: 17_200,
            failed: 1,
            error: String::new(),
        }),
        sinks: vec![SinkView {
            kind: "ntfy".to_owned(),
            last_ok_at: Some(NOW - 80_000),
            sent: 14,
            ..Default::default()
        }],
        mqtt: Some(MqttView {
            broker: "homeassistant.local".to_owned(),
            connected: true,
            since: Some(NOW - 80_000),
            sent: 12_345,
            devices: 5,
            presses: 2,
            ..Default::default()
        }),
        update: Some(update()),
        ..Default::default()
    }
}

/// As on most days: there is nothing new.
fn update() -> UpdateView {
    UpdateView {
        feed: "https://example.org/soloist/feed.json".to_owned(),
        mode: "tell".to_owned(),
        version: "0.2.0".to_owned(),
        can_install: true,
        checked_at: Some(NOW - 7_000),
        next_check_at: Some(NOW + 79_000),
        seen_at: Some(NOW - 7_000),
        serial: Some(1233),
        issued_at: Some(NOW - 40 * 86_400),
        release: Some(ReleaseView {
            version: "0.2.0".to_owned(),
            date: "2026-10-12".to_owned(),
            changes: "- The page is readable in the sun.".to_owned(),
            size: 51_234_567,
            minimum: "0.1.0".to_owned(),
        }),
        summary: "Version 0.2.0 is up to date.".to_owned(),
        step: "none".to_owned(),
        ..Default::default()
    }
}

/// Another version is there, this one is withdrawn, and all that can go wrong with both has gone wrong.
pub fn new_version() -> Snapshot {
    let mut s = home();
    let failure = |version: &str, cause: &str, why: &str| FailureView {
        version: version.to_owned(),
        cause: cause.to_owned(),
        why: why.to_owned(),
        remedy: "It is tried again by itself.".to_owned(),
        since: Some(NOW - 300_000),
        grave: true,
        days: 3,
    };
    s.update = Some(UpdateView {
        mode: "install".to_owned(),
        release: Some(ReleaseView {
            version: "0.3.0".to_owned(),
            date: "2026-12-01".to_owned(),
            changes: "- A node that freezes is left after one second.\n- <b>Tea</b> & more."
                .to_owned(),
            size: 51_234_567,
            minimum: "0.1.0".to_owned(),
        }),
        summary: "Version 0.3.0 of 2026-12-01 is there; this is 0.2.0.".to_owned(),
        step: "offered".to_owned(),
        withdrawn: Some(WithdrawnView {
            reason: "It may lose the settings when the card is full.".to_owned(),
        }),
        phase: "ready".to_owned(),
        waits_for: "it is 04:00 UTC".to_owned(),
        fetched: 51_234_567,
        install_at: Some(NOW + 20_000),
        clock_behind: true,
        check_failure: Some(failure(
            "",
            "older",
            "it is older (number 5) than one that was read before (number 6)",
        )),
        install_failure: Some(failure("0.3.0", "cut", "the connection broke off before the end")),
        ..update()
    });
    s
}

fn build() -> BuildView {
    BuildView {
        version: "0.1.0".to_owned(),
        commit: "0a55392".to_owned(),
        built_at: Some(NOW - 30 * 86_400),
        image: Some("2026.10".to_owned()),
        hash_engine: "armv8".to_owned(),
    }
}

fn connect() -> ConnectView {
    ConnectView {
        addresses: vec!["192.168.1.20".to_owned(), "fd42:6b1a::20".to_owned()],
        machine: vec!["192.168.1.20".to_owned(), "fd42:6b1a::20".to_owned()],
        page: Some("http://192.168.1.20/".to_owned()),
        hostname: Some("solo.local".to_owned()),
        port: 3333,
        v2: Some(V2View {
            authority_key: KEY.to_owned(),
            url: Some(format!("stratum2+tcp://192.168.1.20:3333/{KEY}")),
        }),
        http_port: 80,
    }
}

fn board() -> BoardView {
    BoardView {
        model: "Raspberry Pi 4 Model B".to_owned(),
        uptime_s: Some(12 * 86_400 + 40),
        cpu: Some(0.03),
        temperature_c: Some(47.2),
        undervoltage: Some(false),
        undervoltage_seen: Some(false),
        throttled: Some(false),
        memory_total: Some(1_000_000_000),
        memory_available: Some(802_000_000),
        disk_total: Some(29_800_000_000),
        disk_free: Some(27_900_000_000),
        disk_written_day: Some(11_400_000),
        own_written_day: Some(2_000_000),
        clock_synced: Some(true),
        clock_offset_s: Some(0.4),
        clock_odd: false,
    }
}

fn answer(node: &str, taken: bool, words: &str) -> NodeAnswer {
    let (node, words) = (node.to_owned(), words.to_owned());
    NodeAnswer { node, taken, words, ..NodeAnswer::default() }
}

fn node(name: &str, address: &str, state: NodeState, latency: f64, wins: u64) -> NodeView {
    let why = match state {
        NodeState::Leading => "It leads: first in your list, on the newest block, and answering.",
        _ => "It is on the same block and takes over if attic fails.",
    };
    NodeView {
        name: name.to_owned(),
        address: address.to_owned(),
        state,
        why: why.to_owned(),
        leads: state == NodeState::Leading,
        cause: String::new(),
        reason: String::new(),
        remedy: String::new(),
        answered_at: Some(NOW - 1),
        rpc_lost: LossView { disconnects: 2, reconnects: 2 },
        zmq_lost: LossView { disconnects: 1, reconnects: 1 },
        height: Some(925_113),
        headers: Some(925_113),
        tip: None,
        lag_blocks: Some(0),
        dispute: None,
        initial_download: false,
        progress: Some(1.0),
        sync_eta_s: None,
        peers: Some(11),
        peers_in: Some(1),
        peers_out: Some(10),
        pruned: Some(false),
        size_on_disk: Some(812_000_000_000),
        local_relay: Some(true),
        clock: Some(ClockView { offset_s: 0.0, odd: false }),
        version: "/Satoshi:30.0.0/".to_owned(),
        warnings: String::new(),
        latency_ms: Some(latency),
        zmq: ZmqNews::Live,
        zmq_state: Some(soloist::node::ZmqState::Connected),
        news: NewsView::Zmq,
        zmq_address: Some("tcp://192.168.1.10:28332".to_owned()),
        tip_wins: wins,
        p2p: Some(P2pView {
            address: address.replace(":8332", ":8333"),
            state: P2pState::Own,
            why: String::new(),
        }),
        rehearsal: Some(RehearsalVerdict { at: NOW - 312, height: 925_114, refused: None }),
        permissions: Some(PermissionsView::default()),
        last_error: None,
        calls: vec![
            CallView {
                method: "getblocktemplate".to_owned(),
                errors: 3,
                latency: histogram(&[0.01, 0.05, 0.1, 0.5, 1.0, 5.0], 34_000, latency / 1000.0),
            },
            CallView {
                method: "getbestblockhash".to_owned(),
                errors: 5,
                latency: histogram(&[0.01, 0.05, 0.1, 0.5, 1.0, 5.0], 500_000, 0.004),
            },
        ],
        errors: vec![CountView { what: "timeout".to_owned(), count: 8 }],
    }
}

fn miner(name: &str, model: &str, agent: &str, class: &str, hashrate: f64, seed: u32) -> MinerView {
    let share_s = if hashrate < 1e6 { 18.0 } else { 4.0 };
    let difficulty = (hashrate * share_s / 4_294_967_296.0).max(0.0015);
    let wave = |i: u32| {
        let x = (mixed(u64::from(i * 1_000 + seed)) & 0xff) as f64 / 255.0;
        hashrate * (0.9 + 0.18 * x)
    };
    MinerView {
        id: name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', ""),
        name: name.to_owned(),
        user: format!("{OWNER}.{name}"),
        carries: None,
        model: model.to_owned(),
        user_agent: agent.to_owned(),
        class: class.to_owned(),
        address: format!("192.168.1.{}", 50 + seed),
        link: Some(LinkView::of(None, false)),
        pays: OWNER.to_owned(),
        pays_fault: String::new(),
        difficulty_unclear: false,
        latest: vec![None, Some(RejectReason::StaleAtChange), None],
        state: MinerState::Mining,
        since: NOW - 86_400 * 3 - u64::from(seed) * 100,
        first_seen_at: NOW - 90 * 86_400,
        connects: 2,
        rate: rate(hashrate, share_s, 600),
        rate_hour: rate(hashrate * 0.995, share_s, 3_600),
        rate_day: rate(hashrate * 0.99, share_s, 86_400),
        claimed: (hashrate > 1e6).then_some(hashrate * 1.02),
        claimed_by: "data sheet".to_owned(),
        accepted: (3.0 * 86_400.0 / share_s) as u64,
        shares_per_min: 60.0 / share_s,
        rejects: vec![
            RejectView { reason: RejectReason::StaleAtChange, count: 23 + u64::from(seed) },
            RejectView { reason: RejectReason::Duplicate, count: 4 },
        ],
        difficulty: if difficulty > 1.0 { difficulty.round() } else { difficulty },
        difficulty_locked: false,
        difficulty_by_password: false,
        expected_share_s: Some(share_s),
        last_share_at: Some(NOW - 2 - u64::from(seed % 7)),
        best: hashrate * 7e-4 / f64::from(1 + seed % 3),
        best_at: Some(NOW - 86_400 * u64::from(1 + seed)),
        best_session: hashrate * 1e-4,
        rtt_ms: Some(2.4 + f64::from(seed % 9)),
        trend: (0..48).map(wave).collect(),
    }
}

/// As proven by even shares, one in `share_s` seconds.
fn rate(hashrate: f64, share_s: f64, window_s: u64) -> RateView {
    let shares = (window_s as f64 / share_s) as u64;
    let work = hashrate * window_s as f64 / HASHES_PER_DIFFICULTY;
    let difficulty = work / shares.max(1) as f64;
    let proven = Proven::even(shares, difficulty, window_s as f64);
    RateView { hashrate, ..RateView::of(&proven, window_s, difficulty) }
}

fn sum_up(s: &mut Snapshot) {
    let hashrate: f64 = s.miners.iter().map(|m| m.rate.hashrate).sum();
    let shares: u64 = s.miners.iter().map(|m| m.rate.shares).sum();
    let share_s = 600.0 / shares.max(1) as f64;
    s.totals.rate_5m = rate(hashrate, share_s / 2.0, 300);
    s.totals.rate_1h = rate(hashrate * 0.995, share_s, 3_600);
    s.totals.rate_24h = rate(hashrate * 0.985, share_s, 86_400);
    s.stratum.connections = s.miners.len() as u64;
}

fn stratum() -> StratumView {
    StratumView {
        connections: 0,
        connections_max: 64,
        accepted_total: 310,
        taken_up: 38,
        not_taken_up: vec![CountView { what: "left".to_owned(), count: 2 }],
        dropped: vec![
            CountView { what: "made_room".to_owned(), count: 290 },
            CountView { what: "silent".to_owned(), count: 16 },
        ],
        made_room: None,
        handshake_failures: 3,
        rejects_by_class: vec![ClassRejectsView {
            class: "bitaxe".to_owned(),
            reason: RejectReason::StaleAtChange,
            count: 23,
        }],
        shares_accepted: 140_000,
        shares_expected: Some(140_800.0),
        notify_fanout: histogram(&[0.001, 0.002, 0.005, 0.01, 0.05], 35_100, 0.0012),
        share_answer: histogram(&[0.0005, 0.001, 0.002, 0.005, 0.01], 140_000, 0.0006),
    }
}

fn histogram(bounds: &[f64], count: u64, mean: f64) -> HistogramView {
    HistogramView {
        buckets: bounds
            .iter()
            .map(|bound| (*bound, (count as f64 * (1.0 - (-bound / mean).exp())) as u64))
            .collect(),
        count,
        sum_s: count as f64 * mean,
    }
}

/// A number that says nothing of the one that it was made of (the last step of MurmurHash3).
fn mixed(mut x: u64) -> u64 {
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        x = (x ^ (x >> 33)).wrapping_mul(factor);
    }
    x ^ (x >> 33)
}

fn history() -> HistoryView {
    let points = |count: u64, step: u64, low: f64| {
        (0..count)
            .map(|i| {
                // Without any pattern, as real shares are: a line with one would pack too well.
                let x = (mixed(i * 1_000 + step) & 0xff) as f64 / 255.0;
                let grow = low + (1.0 - low) * (i as f64 / count as f64);
                PointView {
                    from: NOW - (count - i) * step,
                    at: NOW - (count - 1 - i) * step,
                    hashrate: 12.1e12 * (0.93 + 0.1 * x) * grow,
                    accepted: step / 2,
                    rejected: 1,
                    best: 1e6,
                }
            })
            .collect::<Vec<_>>()
    };
    let mut day = points(144, 600, 1.0);
    // A cable was out for an hour.
    day.drain(60..66);
    for point in &mut day[66..80] {
        point.hashrate *= 0.6;
    }
    let mark = |at, until, kind, text: &str| MarkView { at, until, kind, text: text.to_owned() };
    let out = NOW - 83 * 600;
    let marks = vec![
        mark(NOW - 40 * 86_400, None, MarkKind::Block, "block 921\u{202f}004 solved"),
        mark(out, Some(out + 3_600), MarkKind::Outage, "no work for the miners"),
        mark(NOW - 7_200, None, MarkKind::Failover, "node cellar took the lead"),
    ];
    let heat = HeatHistoryView::default();
    HistoryView { day, month: points(120, 21_600, 0.5), all: points(96, 86_400, 0.1), heat, marks }
}

/// Of three miners: warm by day, cool by night. The first device was asked 20 days ago.
fn heat_history() -> HeatHistoryView {
    let points = |count: u64, step: u64| {
        let end = NOW / step * step + step;
        let point = |i: u64| {
            let from = end - (count - i) * step;
            let warm = ((from % 86_400) as f64 / 86_400.0 * std::f64::consts::TAU).sin();
            let x = (mixed(i * 1_000 + step + 7) & 0xff) as f64 / 255.0;
            let celsius = (58.0 + 4.0 * warm + x).round();
            HeatPointView {
                from,
                at: (from + step).min(NOW),
                celsius_max: Some(celsius + (1.0 + 4.0 * x).round()),
                celsius: Some(celsius),
                watts: Some(((92.0 + 3.0 * warm + 4.0 * x) * 10.0).round() / 10.0),
                miners: 3,
            }
        };
        (0..count).map(point).collect::<Vec<_>>()
    };
    let mut day = points(144, 600);
    // It was too hot, and cooled down without power; then one of them told its temperature alone.
    for point in &mut day[84..90] {
        *point = HeatPointView {
            celsius_max: Some(31.0),
            celsius: Some(30.0),
            watts: Some(0.0),
            ..*point
        };
    }
    day[100].watts = None;
    day.drain(60..66);
    HeatHistoryView { day, month: points(120, 14_400), all: points(20, 86_400) }
}

fn best_shares() -> Vec<BestShareView> {
    let list = [
        (8.47e9, 61, "quad"),
        (5.9e9, 12, "living-room"),
        (2.2e9, 33, "gamma"),
        (1.6e9, 80, "quad"),
        (1.2e9, 4, "living-room"),
        (9.1e8, 9, "quad"),
        (7.7e8, 44, "gamma"),
        (5.2e8, 1, "gamma"),
    ];
    list.iter()
        .map(|(difficulty, days, miner)| BestShareView {
            difficulty: *difficulty,
            at: NOW - days * 86_400,
            miner: (*miner).to_owned(),
            height: 925_113 - days * 144,
            network_difficulty: DIFFICULTY,
        })
        .collect()
}

fn events() -> Vec<EventView> {
    let list = [
        (312, EventKind::Node, Level::Info, "Block 925 113: new work for all miners after 31 ms."),
        (4_100, EventKind::Node, Level::Info, "Node attic leads again: it caught up."),
        (
            4_700,
            EventKind::Node,
            Level::Warning,
            "Node cellar took the lead: attic did not answer for 8 s.",
        ),
        (26_000, EventKind::Miner, Level::Info, "Miner quad is back after 14 min."),
        (26_840, EventKind::Miner, Level::Warning, "Miner quad left."),
        (86_000, EventKind::Best, Level::Info, "New best share of gamma: 520 M."),
    ];
    list.iter()
        .enumerate()
        .map(|(i, (ago, kind, level, text))| EventView {
            id: 100 - i as u64,
            at: NOW - ago,
            kind: *kind,
            level: *level,
            text: (*text).to_owned(),
        })
        .collect()
}
