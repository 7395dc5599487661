//! Miners as they are: each with its own hashrate, vardiff at work, now and then all of them gone
//! and back at once, and people who look at the page meanwhile.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::fleet::Fleet;
use super::miner::{Heard, Login, Miner, Protocol, Wish};

/// What a soak is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    pub server: SocketAddr,
    /// The page, if there is one to ask.
    pub page: Option<SocketAddr>,
    pub miners: usize,
    /// Hashes per second of the slower nine tenths; the others have ten times as much.
    pub hashrate: f64,
    /// How often half of the miners come anew at once.
    pub storm_every: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Soaked {
    pub accepted: u64,
    /// Refused because another block had come while the share was on its way.
    pub late: u64,
    /// Refused for any other reason: none should be. The first few answers.
    pub refused: Vec<String>,
    pub refusals: u64,
    pub jobs: u64,
    pub new_tips: u64,
    pub storms: u64,
    pub reconnects: u64,
    /// Connections that the server ended, or refused while it had no work.
    pub cut: u64,
    pub pages: u64,
    pub failed_pages: u64,
    /// Difficulties at the end, sorted.
    pub difficulties: Vec<f64>,
}

/// Runs until `go_on` says no; it is asked about ten times a second.
pub fn run(plan: &Plan, mut go_on: impl FnMut(&Soaked) -> bool) -> io::Result<Soaked> {
    let login = |number: usize| Login {
        agent: "soak/1".into(),
        user: format!("soak{number}"),
        password: "x".into(),
        // The slowest that there are: vardiff goes up from here for the faster ones.
        suggestion: Some(0.0001),
        protocol: [Protocol::V1, Protocol::Extended, Protocol::Standard][number % 3],
    };
    let mut soaked = Soaked::default();
    let mut fleet = Fleet { miners: Vec::new() };
    for number in 0..plan.miners {
        fleet.miners.push(Miner::connect(plan.server, login(number))?);
        fleet.turn(Duration::ZERO, |_, heard| soaked.heard(heard));
    }
    let mut back_at: Vec<Option<Instant>> = vec![None; plan.miners];
    let (mut last_work, mut last_storm, mut asked) =
        (Instant::now(), Instant::now(), Instant::now());
    while go_on(&soaked) {
        let turn_ends = Instant::now() + Duration::from_millis(100);
        while Instant::now() < turn_ends {
            let left = turn_ends.saturating_duration_since(Instant::now());
            fleet.turn(left, |_, heard| soaked.heard(heard));
        }
        let passed = last_work.elapsed().as_secs_f64();
        last_work = Instant::now();
        for (number, miner) in fleet.miners.iter_mut().enumerate() {
            if miner.closed {
                let again = Instant::now() + Duration::from_millis(500 + 10 * number as u64);
                if *back_at[number].get_or_insert_with(|| {
                    soaked.cut += 1;
                    again
                }) <= Instant::now()
                {
                    back_at[number] = Some(again);
                    if let Ok(new) = Miner::connect(plan.server, login(number)) {
                        *miner = new;
                        back_at[number] = None;
                        soaked.reconnects += 1;
                    }
                }
                continue;
            }
            let rate = if number % 10 == 0 { 10.0 } else { 1.0 } * plan.hashrate;
            let tries = (rate * passed) as u32;
            if let Some(share) = miner.make_share(Wish::Share { tries }) {
                miner.stock.push(share);
                miner.submit();
            }
        }
        if last_storm.elapsed() >= plan.storm_every {
            last_storm = Instant::now();
            soaked.storms += 1;
            for (number, miner) in fleet.miners.iter_mut().enumerate().step_by(2) {
                if let Ok(new) = Miner::connect(plan.server, login(number)) {
                    *miner = new;
                    soaked.reconnects += 1;
                }
            }
        }
        if let Some(page) = plan.page
            && asked.elapsed() >= Duration::from_millis(700)
        {
            asked = Instant::now();
            for path in ["/", "/api/status", "/metrics"] {
                match get(page, path) {
                    Ok(_) => soaked.pages += 1,
                    Err(_) => soaked.failed_pages += 1,
                }
            }
        }
    }
    soaked.difficulties = fleet.miners.iter().map(|miner| miner.difficulty).collect();
    soaked.difficulties.sort_by(f64::total_cmp);
    Ok(soaked)
}

impl Soaked {
    fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Job { new_tip, .. } => {
                self.jobs += 1;
                self.new_tips += u64::from(new_tip);
            }
            Heard::Answer { accepted: true, .. } => self.accepted += 1,
            Heard::Answer { why, .. } => match why.unwrap_or_default() {
                why if why.starts_with("[21") => self.late += 1,
                why => {
                    self.refusals += 1;
                    if self.refused.len() < 10 {
                        self.refused.push(why);
                    }
                }
            },
        }
    }
}

/// The body of a page.
pub fn get(page: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&page, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {page}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(io::Error::other(answer.lines().next().unwrap_or_default().to_owned())),
    }
}
