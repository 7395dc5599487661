//! A load generator for any Stratum server: prints one line of JSON about it.

mod fleet;
mod limit;
mod miner;
mod node;
mod server;
mod soak;
mod table;
mod v2;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use fleet::Fleet;
use miner::{Heard, Login, Protocol, Wish};
use node::Node;
use server::{Server, Used};

const USAGE: &str = "\
load MODE --server HOST:PORT [options]      prints one line of JSON
load table < LINES                          medians and ratios of such lines
load limit --figure NAME [--full] --name NAME (--most F | --than NAME --factor F [--plus MS]) < LINES
                                            holds the median of a figure against a number, or
                                            against another server's
load mine --node NODE --count N             mines blocks
load fill --node NODE --count N             fills a node's mempool (Bitcoin Core, regtest)
load template --node NODE [--keep-mempool]  how long its first template on a new tip takes

modes
  idle     connects and waits --seconds
  shares   --count shares in all, --window of each miner in flight; they solve no block, and
           with --grind SECONDS they reach the difficulty, else they are worth nothing
  notify   mines --blocks on --node and times each miner's job from the start of that call
  block    --blocks times a miner solves a block; times the answer, the node's new tip and the jobs
  soak     miners with --hashrate, vardiff, storms and a --page, for --seconds

options
  --pid PID[,PID]    the server's processes, for what they use
  --miners N         10 by default
  --node NODE        USER:PASSWORD@HOST:PORT or COOKIE-FILE@HOST:PORT
  --protocol P       v1, v2-extended or v2-standard
  --user NAME        an address of the node's chain, where the server wants one; --password, --agent
  --name NAME        goes into the line
  --keep-mempool     blocks are mined empty, so that what waits goes on waiting
  --rate N           shares a second of all miners together; without it, as fast as the answers come
  --pause MS         between blocks, 300 by default
  --spread MS        lengthens the pauses by up to so much, evenly: no poll is always hit alike";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((mode, rest)) = arguments.split_first() else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    let result = Options::read(rest).and_then(|options| match mode.as_str() {
        "table" => table::print(),
        "limit" => limit::hold(&options.limit()?),
        "mine" => options.node()?.mine_many(options.number("count", 1.0)? as u32),
        "fill" => options.node()?.fill(options.number("count", 4000.0)? as usize),
        "template" => template(&options),
        "idle" | "shares" | "notify" | "block" | "soak" => measure(mode, &options),
        _ => Err(io::Error::other(USAGE)),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

struct Options(HashMap<String, String>);

impl Options {
    fn read(arguments: &[String]) -> io::Result<Options> {
        let mut all = HashMap::new();
        let mut rest = arguments.iter();
        while let Some(name) = rest.next() {
            let name = name.strip_prefix("--").ok_or_else(|| io::Error::other(USAGE))?;
            let value = match name {
                "keep-mempool" | "full" => String::new(),
                _ => rest.next().ok_or_else(|| io::Error::other(USAGE))?.clone(),
            };
            all.insert(name.to_owned(), value);
        }
        Ok(Options(all))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn number(&self, name: &str, default: f64) -> io::Result<f64> {
        let wrong = |_| io::Error::other(format!("--{name} is a number"));
        self.get(name).map_or(Ok(default), |text| text.parse().map_err(wrong))
    }

    fn address(&self, name: &str) -> io::Result<SocketAddr> {
        let wrong = || io::Error::other(format!("--{name} HOST:PORT is missing"));
        self.get(name).ok_or_else(wrong)?.to_socket_addrs()?.next().ok_or_else(wrong)
    }

    fn node(&self) -> io::Result<Node> {
        Node::new(self.get("node").ok_or_else(|| io::Error::other("--node is missing"))?)
    }

    fn limit(&self) -> io::Result<limit::Limit> {
        let text = |name: &str| self.get(name).unwrap_or_default().to_owned();
        let bound = match (self.has("most"), self.has("factor")) {
            (true, _) => limit::Bound::Most(self.number("most", 0.0)?),
            (_, true) => limit::Bound::Other {
                factor: self.number("factor", 1.0)?,
                plus: self.number("plus", 0.0)?,
            },
            _ => return Err(io::Error::other("--factor or --most is missing")),
        };
        Ok(limit::Limit {
            figure: text("figure"),
            full: self.has("full"),
            name: text("name"),
            than: text("than"),
            bound,
        })
    }

    fn server(&self) -> Server {
        let pids = self.get("pid").unwrap_or_default().split(',');
        Server(pids.filter_map(|pid| pid.parse().ok()).collect())
    }

    fn login(&self) -> Login {
        let or = |name, default: &str| self.get(name).unwrap_or(default).to_owned();
        Login {
            agent: or("agent", "load/1"),
            user: or("user", "load"),
            password: or("password", "x"),
            suggestion: None,
            protocol: match self.get("protocol") {
                Some("v2-extended") => Protocol::Extended,
                Some("v2-standard") => Protocol::Standard,
                _ => Protocol::V1,
            },
        }
    }
}

/// Runs a mode and prints its line.
fn measure(mode: &str, options: &Options) -> io::Result<()> {
    let (server, address) = (options.server(), options.address("server")?);
    let miners = options.number("miners", 10.0)? as usize;
    let before = server.used();
    let (figures, during) = match mode {
        "soak" => (soaked(options, address, miners)?, server.used()),
        _ => {
            let mut fleet = Fleet::connect(address, miners, &options.login())?;
            let figures = match mode {
                "shares" => shares(options, &server, &mut fleet)?,
                "notify" => notify(options, &mut fleet)?,
                "block" => block(options, &mut fleet)?,
                _ => idle(options, &mut fleet)?,
            };
            if fleet.closed() > 0 {
                return Err(io::Error::other("the server closed connections"));
            }
            (figures, server.used())
        }
    };
    let mut line = json!({
        "mode": mode,
        "name": options.get("name").unwrap_or("server"),
        "miners": miners,
        "rss_kb": during.rss,
        "peak_kb": during.peak,
        "threads": during.threads,
        "fds": during.fds,
        "written_bytes": during.written - before.written.min(during.written),
    });
    if let (Value::Object(line), Value::Object(figures)) = (&mut line, figures) {
        line.extend(figures);
    }
    println!("{line}");
    Ok(())
}

fn idle(options: &Options, fleet: &mut Fleet) -> io::Result<Value> {
    let seconds = options.number("seconds", 10.0)?;
    let server = options.server();
    let before = server.used();
    let (started, mut jobs) = (Instant::now(), 0);
    while started.elapsed().as_secs_f64() < seconds {
        fleet.turn(Duration::from_millis(100), |_, heard| {
            jobs += u64::from(matches!(heard, Heard::Job { .. }));
        });
    }
    let cpu = server.used().cpu - before.cpu;
    Ok(json!({"seconds": seconds, "jobs": jobs, "cpu_percent": 100.0 * cpu / seconds}))
}

fn shares(options: &Options, server: &Server, fleet: &mut Fleet) -> io::Result<Value> {
    let window = options.number("window", 1.0)? as usize;
    let mut count = options.number("count", 20_000.0)? as u64;
    let grind = options.number("grind", 0.0)?;
    let rate = options.number("rate", 0.0)?;
    if grind > 0.0 {
        count = fill_stocks(fleet, Duration::from_secs_f64(grind));
    }
    let (mut accepted, mut refused, mut sent) = (0_u64, 0_u64, 0_u64);
    let mut times = Vec::new();
    let mut words: HashMap<String, u64> = HashMap::new();
    let warm_up = count / 10;
    // From the end of the warm-up on.
    let mut measured: Option<(Used, Instant)> = None;
    let begun = Instant::now();
    // A server that is woken more often has more to do for each share: two are only comparable at one rate.
    let is_due = |sent: u64| rate == 0.0 || begun.elapsed().as_secs_f64() * rate >= sent as f64;
    let wait = if rate == 0.0 { Duration::from_secs(5) } else { Duration::ZERO };
    loop {
        for miner in &mut fleet.miners {
            while miner.in_flight() < window && sent < count && is_due(sent) {
                if grind > 0.0 && miner.stock.is_empty() {
                    break;
                }
                sent += u64::from(miner.submit());
            }
        }
        if measured.is_none() && accepted + refused >= warm_up {
            measured = Some((server.used(), Instant::now()));
        }
        fleet.turn(wait, |_, heard| {
            let Heard::Answer { accepted: yes, took, why } = heard else { return };
            match yes {
                true => accepted += 1,
                false => refused += 1,
            }
            if let Some(why) = why {
                // The words without the numbers in them.
                let kind = why.chars().filter(|c| !c.is_ascii_digit()).collect();
                *words.entry(kind).or_default() += 1;
            }
            if measured.is_some() {
                times.push(took);
            }
        });
        if accepted + refused >= count {
            break;
        }
        if begun.elapsed() > Duration::from_secs(120) {
            return Err(io::Error::other("two minutes were not enough"));
        }
    }
    let after = server.used();
    let (before, started) = measured.unwrap_or((after, begun));
    let (seconds, answers) = (started.elapsed().as_secs_f64(), times.len().max(1) as f64);
    Ok(json!({
        "window": window,
        "rate": rate,
        "ground": grind > 0.0,
        "shares": count,
        "accepted": accepted,
        "refused": refused,
        "refusals": words,
        "shares_per_s": answers / seconds,
        "cpu_us_per_share": (after.cpu - before.cpu) * 1e6 / answers,
        "answer_us": percentiles(times.iter().map(|took| took.as_secs_f64() * 1e6).collect()),
    }))
}

/// Makes shares beforehand, miner after miner, so that making them costs nothing later.
fn fill_stocks(fleet: &mut Fleet, time: Duration) -> u64 {
    let started = Instant::now();
    let mut made = 0;
    let mut turn = 0;
    while started.elapsed() < time {
        let count = fleet.miners.len();
        let miner = &mut fleet.miners[turn % count];
        // Another share for the same miner, or all would have shares of few miners.
        for _ in 0..50 {
            if let Some(share) = miner.make_share(Wish::Share { tries: 100_000 }) {
                miner.stock.push(share);
                made += 1;
                break;
            }
        }
        turn += 1;
        fleet.turn(Duration::ZERO, |_, _| {});
    }
    made
}

fn notify(options: &Options, fleet: &mut Fleet) -> io::Result<Value> {
    let node = options.node()?;
    let blocks = options.number("blocks", 20.0)? as usize;
    let pause = Duration::from_millis(options.number("pause", 300.0)? as u64);
    let spread = options.number("spread", 0.0)?;
    let keep = options.has("keep-mempool");
    let wait_full = keep;
    let (mut calls, mut firsts, mut lasts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut full_firsts, mut full_lasts) = (Vec::new(), Vec::new());
    for block in 0..=blocks {
        let quiet = Instant::now();
        // Multiples of the golden ratio fill a circle evenly, however many there are.
        let pause =
            pause + Duration::from_secs_f64(spread / 1e3 * (block as f64 * 0.618_034).fract());
        while quiet.elapsed() < pause {
            fleet.turn(Duration::from_millis(20), |_, _| {});
        }
        let started = Instant::now();
        let caller = node.clone();
        let call = std::thread::spawn(move || caller.mine(keep).map(|()| started.elapsed()));
        let mut first_jobs = vec![None; fleet.miners.len()];
        let mut full_jobs = vec![None; fleet.miners.len()];
        while first_jobs.iter().any(Option::is_none)
            || (wait_full && full_jobs.iter().any(Option::is_none))
        {
            fleet.turn(Duration::from_millis(1000), |number, heard| {
                let Heard::Job { new_tip, full } = heard else { return };
                let at = started.elapsed().as_secs_f64() * 1e3;
                if new_tip {
                    first_jobs[number].get_or_insert(at);
                }
                if full && first_jobs[number].is_some() {
                    full_jobs[number].get_or_insert(at);
                }
            });
            if started.elapsed() > Duration::from_secs(30) {
                return Err(io::Error::other("no job on a new block within 30 s"));
            }
        }
        let call = call.join().map_err(|_| io::Error::other("the caller died"))??;
        // The first one warms up.
        if block > 0 {
            calls.push(call.as_secs_f64() * 1e3);
            let ends = |times: &[Option<f64>]| {
                let mut times: Vec<f64> = times.iter().flatten().copied().collect();
                times.sort_by(f64::total_cmp);
                Some((*times.first()?, *times.last()?))
            };
            if let Some((first, last)) = ends(&first_jobs) {
                firsts.push(first);
                lasts.push(last);
            }
            if let Some((first, last)) = ends(&full_jobs) {
                full_firsts.push(first);
                full_lasts.push(last);
            }
        }
    }
    let mut figures = json!({
        "blocks": blocks,
        "last_of_call": percentiles(lasts.iter().zip(&calls).map(|(l, c)| l / c).collect()),
        "rpc_ms": percentiles(calls),
        "first_job_ms": percentiles(firsts),
        "last_job_ms": percentiles(lasts),
    });
    if wait_full {
        figures["full_first_ms"] = percentiles(full_firsts);
        figures["full_last_ms"] = percentiles(full_lasts);
    }
    Ok(figures)
}

fn block(options: &Options, fleet: &mut Fleet) -> io::Result<Value> {
    let node = options.node()?;
    let blocks = options.number("blocks", 10.0)? as usize;
    let pause = Duration::from_millis(options.number("pause", 300.0)? as u64);
    let (mut answers, mut tips, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
    let mut lost = 0;
    for round in 0..blocks {
        let quiet = Instant::now();
        while quiet.elapsed() < pause {
            fleet.turn(Duration::from_millis(20), |_, _| {});
        }
        let old = node.tip()?;
        let solver = round % fleet.miners.len();
        let miner = &mut fleet.miners[solver];
        let share = miner.make_share(Wish::Block).ok_or_else(|| io::Error::other("no job"))?;
        miner.stock.push(share);
        let started = Instant::now();
        miner.submit();
        miner.flush();
        let caller = node.clone();
        let new_tip = std::thread::spawn(move || -> io::Result<Option<Duration>> {
            while started.elapsed() < Duration::from_secs(10) {
                if caller.tip()? != old {
                    return Ok(Some(started.elapsed()));
                }
                std::thread::sleep(Duration::from_micros(300));
            }
            Ok(None)
        });
        let mut answered = None;
        let mut got = vec![None; fleet.miners.len()];
        while (answered.is_none() || got.iter().any(Option::is_none))
            && started.elapsed() < Duration::from_secs(10)
        {
            fleet.turn(Duration::from_millis(1000), |number, heard| match heard {
                Heard::Job { new_tip: true, .. } => {
                    got[number].get_or_insert(started.elapsed().as_secs_f64() * 1e3);
                }
                Heard::Answer { took, .. } if number == solver => {
                    answered.get_or_insert(took.as_secs_f64() * 1e3);
                }
                _ => {}
            });
        }
        match new_tip.join().map_err(|_| io::Error::other("the caller died"))?? {
            Some(took) => tips.push(took.as_secs_f64() * 1e3),
            None => lost += 1,
        }
        answers.extend(answered);
        jobs.extend(got.into_iter().flatten().max_by(f64::total_cmp));
    }
    Ok(json!({
        "blocks": blocks,
        "lost": lost,
        "answer_ms": percentiles(answers),
        "node_tip_ms": percentiles(tips),
        "last_job_ms": percentiles(jobs),
    }))
}

fn soaked(options: &Options, server: SocketAddr, miners: usize) -> io::Result<Value> {
    let seconds = options.number("seconds", 180.0)?;
    let plan = soak::Plan {
        server,
        page: options.has("page").then(|| options.address("page")).transpose()?,
        miners,
        hashrate: options.number("hashrate", 10_000.0)?,
        storm_every: Duration::from_secs(30),
    };
    let started = Instant::now();
    let soaked = soak::run(&plan, |_| started.elapsed().as_secs_f64() < seconds)?;
    Ok(json!({
        "seconds": seconds,
        "accepted": soaked.accepted,
        "late": soaked.late,
        "refused": soaked.refusals,
        "refusals": soaked.refused,
        "jobs": soaked.jobs,
        "new_tips": soaked.new_tips,
        "storms": soaked.storms,
        "reconnects": soaked.reconnects,
        "cut": soaked.cut,
        "pages": soaked.pages,
        "failed_pages": soaked.failed_pages,
        "difficulty": percentiles(soaked.difficulties),
    }))
}

fn template(options: &Options) -> io::Result<()> {
    let node = options.node()?;
    let times = (0..options.number("blocks", 9.0)? as usize)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(300));
            Ok(node.template_time(options.has("keep-mempool"))?.as_secs_f64() * 1e3)
        })
        .collect::<io::Result<Vec<f64>>>()?;
    println!("{}", json!({"mode": "template", "name": "node", "template_ms": percentiles(times)}));
    Ok(())
}

fn percentiles(mut values: Vec<f64>) -> Value {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = ((values.len() as f64 * share).ceil() as usize).clamp(1, values.len().max(1));
        values.get(place - 1).copied()
    };
    json!({"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0), "n": values.len()})
}
