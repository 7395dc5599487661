//! Three days of a home in virtual time: ten kinds of miner that reconnect, lose their Wi-Fi, are
//! switched off at night, throttle, hang and die, under a daemon that is updated, loses its power and
//! has a clock that jumps. Every rate, odds figure, chart point, "since" and alarm, of every API, is
//! held against what the simulation knows to be so.
//!
//! Real are the ledger with its records, the pool's sessions, vardiff and everything that turns them
//! into views, alarms and answers. Only the hashing is replaced: shares come as the Poisson process
//! that hashing is, at the difficulty that vardiff asks for.
//!
//! `cargo test --test pure first_days -- --nocapture` prints the table.
#![allow(clippy::unwrap_used)]

mod home;
mod truth;

use std::collections::BTreeMap;
use std::time::Duration;

use soloist::ledger::record::Grain;
use soloist::server::http::live::Updates;
use soloist::status::{
    AlarmView, MinerState, MinerView, Odds, PointView, RateView, Snapshot, gopool, html, json,
    miners, verdict,
};

use home::{CHECK_EVERY, DAYS, HOUR, Home, MINUTE};
use truth::Sum;

/// Rates that were checked, and how many lay outside of their stated bounds.
#[derive(Default)]
struct Checked {
    rates: u64,
    outside: u64,
    points: u64,
    dates: u64,
    alarms: BTreeMap<String, u64>,
    worst: f64,
}

#[test]
fn three_days_of_ten_miners_are_told_as_they_were() {
    let mut all = Checked::default();
    for seed in [1, 2] {
        let mut checked = Checked::default();
        let mut home = Home::new(seed);
        while home.second < DAYS * 24 * HOUR {
            home.pass(CHECK_EVERY);
            if home.is_running() {
                check(&home, &mut checked);
            }
        }
        println!(
            "seed {seed}: {} rates, {} outside of 99 % ({:.2} %), {} points, {} dates, worst {:.1} sigma, \
             checks with an alarm: {:?}",
            checked.rates,
            checked.outside,
            100.0 * checked.outside as f64 / checked.rates as f64,
            checked.points,
            checked.dates,
            checked.worst,
            checked.alarms
        );
        for alarm in ["miner_gone", "miner_quiet", "miner_slow"] {
            assert!(checked.alarms.contains_key(alarm), "{alarm} was never raised");
        }
        all.rates += checked.rates;
        all.outside += checked.outside;
    }
    let outside = all.outside as f64 / all.rates as f64;
    assert!(all.rates > 10_000, "only {} rates were checked", all.rates);
    assert!(outside <= 0.015, "{:.2} % lie outside of their bounds", 100.0 * outside);
}

/// What a reader of the page is sent in a day of this home: in virtual time, a look every two seconds as
/// the live channel takes it, through the first 36 hours, of which every sixth minute is rendered.
#[test]
fn a_day_of_the_page_sends_little() {
    const EVERY: u64 = 2;
    let mut home = Home::new(1);
    let mut sizes: Vec<usize> = Vec::new();
    let (mut seconds, mut packed) = (0, 0);
    let window = if std::env::var_os("SOLOIST_LONG").is_some() { 60 } else { 900 };
    while home.second < 24 * HOUR {
        // A reader who has the page open for a minute, again and again.
        home.pass(window - 60);
        let mut updates = Updates::default();
        for passed in (0..60).step_by(EVERY as usize) {
            home.pass(EVERY);
            if !home.is_running() {
                continue;
            }
            let snapshot = home.snapshot();
            let sections = html::sections(&snapshot, &verdict(&snapshot), html::Miners::Few);
            let text = updates.next(Duration::from_secs(passed), snapshot.now, &sections);
            // The first one is the whole page, which the reader has just got.
            if passed == 0 {
                continue;
            }
            seconds += EVERY;
            let text = text.unwrap_or_default();
            packed += text.len();
            sizes.push(text.len());
        }
    }
    sizes.sort_unstable();
    let mean = packed as f64 / seconds as f64;
    let at = |part: f64| sizes[((sizes.len() - 1) as f64 * part) as usize];
    println!(
        "a day of the home in virtual time, {seconds} s of it seen: {mean:.0} bytes a second; an update each \
         2 s: median {} bytes, 90 % {}, 99 % {}, largest {}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    assert!(mean <= 1_500.0, "{mean:.0} bytes a second");
}

fn check(home: &Home, checked: &mut Checked) {
    let snapshot = home.snapshot();
    let now = snapshot.now;
    let totals = &snapshot.totals;
    for rate in [&totals.rate_5m, &totals.rate_1h, &totals.rate_24h] {
        rate_is_true(home, "all", rate, home.total_in_window(rate.window_s), checked);
    }
    for miner in &snapshot.miners {
        for rate in [&miner.rate, &miner.rate_hour, &miner.rate_day] {
            let truth = home.in_window(&miner.name, rate.window_s);
            rate_is_true(home, &miner.name, rate, truth, checked);
        }
        dates_are_true(home, &snapshot, miner, checked);
        trend_is_true(home, &snapshot, miner, checked);
    }
    assert_eq!(snapshot.miners.len(), home.have_mined(), "at {}", home.second);
    points_are_true(home, "all", &snapshot.history, now, checked);
    if home.second.is_multiple_of(HOUR) {
        for (name, worker) in home.workers() {
            let history = miners::history(worker, home.now());
            points_are_true(home, name, &history, now, checked);
        }
    }
    alarms_are_true(home, &snapshot, checked);
    answers_agree(home, &snapshot);
}

/// The rate is that of the time in which shares could come, within its bounds in 99 of 100 cases,
/// and within five sigma always.
fn rate_is_true(home: &Home, who: &str, rate: &RateView, truth: Sum, checked: &mut Checked) {
    if rate.window_s == 86_400 && !home.clock_is_right() {
        // A clock that is behind asks for minutes of before the day that is kept.
        return;
    }
    let at = format!("{who}, {} s, at second {}: {rate:?} {truth:?}", rate.window_s, home.second);
    // A window begins at the border of a minute, and dates are moved by whole minutes.
    assert!(rate.measured_s.abs_diff(truth.seconds as u64) <= 65, "{at}");
    if truth.seconds < 1.0 || truth.hashes <= 0.0 {
        return;
    }
    let sigma = truth.sigma(rate.hashrate * rate.measured_s.max(1) as f64);
    checked.worst = checked.worst.max(sigma);
    assert!(sigma <= 5.0, "{sigma:.1} sigma: {at}");
    let Some(high) = rate.high else { return };
    assert!(rate.low <= rate.hashrate && rate.hashrate <= high, "outside of its own bounds: {at}");
    let hashrate = truth.hashes / truth.seconds;
    checked.rates += 1;
    checked.outside += u64::from(hashrate < rate.low || hashrate > high);
}

fn points_are_true(
    home: &Home,
    who: &str,
    history: &soloist::status::HistoryView,
    now: u64,
    checked: &mut Checked,
) {
    let grains =
        [(&history.day, Grain::Minute), (&history.month, Grain::Hour), (&history.all, Grain::Day)];
    for (points, grain) in grains {
        for point in points {
            let at = format!("{who}, {grain:?}, at second {}: {point:?}, now {now}", home.second);
            assert!(point.from <= point.at && point.at <= now, "{at}");
            if home.second.is_multiple_of(HOUR) && home.clock_is_right() {
                point_is_true(home, who, point, &at, checked);
            }
        }
        let order = points.windows(2).all(|pair| pair[0].at < pair[1].at);
        assert!(order, "{who}, {grain:?}, at second {}", home.second);
    }
}

/// Of each half hour, on the page and in the API, which dates them.
fn trend_is_true(home: &Home, snapshot: &Snapshot, miner: &MinerView, checked: &mut Checked) {
    const HALF_HOUR: u64 = 1_800;
    if !home.second.is_multiple_of(HOUR) || !home.clock_is_right() {
        return;
    }
    let (now, trend) = (snapshot.now, &miner.trend);
    let slot = |ago: usize| {
        let from = (now / HALF_HOUR - ago as u64) * HALF_HOUR;
        PointView { from, at: (from + HALF_HOUR).min(now), ..PointView::default() }
    };
    let at = |ago| format!("{}, {ago} half hours ago, at second {}", miner.name, home.second);
    for (ago, hashrate) in trend.iter().rev().enumerate() {
        point_is_true(
            home,
            &miner.name,
            &PointView { hashrate: *hashrate, ..slot(ago) },
            &at(ago),
            checked,
        );
    }
    for ago in trend.len()..48 {
        let PointView { from, at: to, .. } = slot(ago);
        assert!(home.between(&miner.name, from, to).seconds <= 65.0, "left out: {}", at(ago));
    }
    if miner.state == MinerState::Gone {
        return;
    }
    let told = json::public_pool_worker(snapshot, &snapshot.payout.address, &miner.name).unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    let told = told["chartData"].as_array().unwrap();
    assert_eq!(told.len(), trend.len());
    for (ago, (told, hashrate)) in told.iter().rev().zip(trend.iter().rev()).enumerate() {
        let date = soloist::status::format::iso(slot(ago).at);
        assert_eq!(told["label"], date);
        assert!(close(told["data"].as_f64().unwrap(), *hashrate), "{told}");
    }
}

fn point_is_true(home: &Home, who: &str, point: &PointView, at: &str, checked: &mut Checked) {
    // Dates are moved by whole minutes: what stands at a slot's border may belong to the next.
    let moved = [0, -60, 60, -30, 30];
    let sigma = moved.map(|moved: i64| {
        let date = |date: u64| date.saturating_add_signed(moved);
        let truth = home.between(who, date(point.from), date(point.at));
        match truth.hashes <= 0.0 {
            true if point.hashrate > 0.0 => f64::INFINITY,
            true => 0.0,
            false => truth.sigma_of_rate(point.hashrate),
        }
    });
    let least = sigma.into_iter().fold(f64::INFINITY, f64::min);
    checked.points += 1;
    assert!(least <= 5.0, "{least:.1} sigma: {at}");
}

fn dates_are_true(home: &Home, snapshot: &Snapshot, miner: &MinerView, checked: &mut Checked) {
    if !home.clock_is_right() {
        return;
    }
    let at = format!("at second {}: {miner:?}", home.second);
    let (connected, since) = home.since(&miner.name);
    assert_eq!(connected, miner.state != MinerState::Gone, "{at}");
    assert!(miner.since.abs_diff(since) <= 65, "since {since}: {at}");
    assert!(miner.since <= snapshot.now && miner.first_seen_at <= snapshot.now, "{at}");
    assert!(miner.first_seen_at.abs_diff(home.first_seen(&miner.name)) <= 65, "{at}");
    checked.dates += 2;
}

fn alarms_are_true(home: &Home, snapshot: &Snapshot, checked: &mut Checked) {
    if !home.clock_is_right() {
        return;
    }
    let alarms = verdict(snapshot).alarms;
    let has = |id: &str| alarms.iter().any(|alarm: &AlarmView| alarm.id == id);
    for miner in &snapshot.miners {
        let about = |kind: &str| has(&format!("{kind}:{}", miner.id));
        let at = format!("{} at second {}: {alarms:?} {miner:?}", miner.name, home.second);
        let gone = !home.since(&miner.name).0;
        let is_told = about("miner_gone") || has("miners_gone") || has("miners_long_gone");
        assert!(gone || !about("miner_gone"), "not missing: {at}");
        // For two minutes after a start they are still coming back.
        let may_be_told = home.runs_for() >= 2 * MINUTE;
        assert!(!gone || is_told || !may_be_told, "missing, and nobody says so: {at}");
        let (may_be_quiet, is_quiet) = home.quiet(&miner.name);
        assert!(may_be_quiet || !about("miner_quiet"), "not quiet: {at}");
        assert!(!is_quiet || about("miner_quiet"), "quiet, and nobody says so: {at}");
        let (may_be_slow, is_slow) = home.slow(&miner.name);
        assert!(may_be_slow || !about("miner_slow"), "not slow: {at}");
        assert!(!is_slow || about("miner_slow"), "slow, and nobody says so: {at}");
    }
    let kinds = ["miner_gone", "miners_gone", "miner_quiet", "miner_slow"];
    for alarm in &alarms {
        let kind = alarm.id.split(':').next().unwrap();
        assert!(kinds.contains(&kind), "at second {}: {alarm:?}", home.second);
        *checked.alarms.entry(kind.to_owned()).or_default() += 1;
        if let Some(since) = alarm.since {
            assert!(since <= snapshot.now, "{alarm:?}");
        }
    }
}

/// The same but for how it is written.
fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

/// Whoever asks is told the same.
fn answers_agree(home: &Home, s: &Snapshot) {
    let parse = |bytes: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
    let odds: Odds = soloist::status::odds(s).unwrap();
    assert_eq!(odds.hashrate, s.totals.rate_1h.hashrate);
    let chance = odds.hashrate * 86_400.0 / (s.difficulty().unwrap() * truth::HASHES);
    assert!(close(odds.per_day, -(-chance).exp_m1()));
    let status = parse(json::status(s, &verdict(s)));
    for (name, rate) in [
        ("rate_5m", s.totals.rate_5m),
        ("rate_1h", s.totals.rate_1h),
        ("rate_24h", s.totals.rate_24h),
    ] {
        let told = &status["totals"][name];
        assert!(close(told["hashrate"].as_f64().unwrap(), rate.hashrate));
        assert_eq!(told["measured_s"], rate.measured_s);
    }
    let told = parse(json::miners(s));
    for (told, miner) in told["miners"].as_array().unwrap().iter().zip(&s.miners) {
        assert!(close(told["rate"]["hashrate"].as_f64().unwrap(), miner.rate.hashrate));
        assert_eq!(told["since"], miner.since);
    }
    let now = s.totals.rate_5m.hashrate;
    assert!(close(parse(json::public_pool(s))["totalHashRate"].as_f64().unwrap(), now));
    assert!(close(parse(gopool::overview(s))["pool_hashrate"].as_f64().unwrap(), now));
    let metrics = soloist::status::metrics::metrics(s, &verdict(s));
    let line = metrics.lines().find(|line| line.contains("window=\"1h\"")).unwrap();
    let told: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(close(told, s.totals.rate_1h.hashrate), "{line}");
    // Charts of other shapes: as many points as ours, none of them later than now.
    let latest = soloist::status::format::iso(s.now);
    let chart = parse(json::public_pool_chart(s));
    let hashrates = parse(gopool::pool_hashrate(s));
    for (list, time) in [(&chart, "label"), (&hashrates["pool_hashrate_history"], "t")] {
        let list = list.as_array().unwrap();
        assert_eq!(list.len(), s.history.day.len());
        let times = || list.iter().map(|point| point[time].as_str().unwrap());
        assert!(times().all(|time| time <= latest.as_str()), "at second {}", home.second);
    }
}
