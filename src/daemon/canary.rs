//! The canary: a miner of our own that sends one easy share a minute through the real port.
//!
//! It connects over TCP like any miner, reads its job, assembles the block's header by itself,
//! searches a nonce and waits for "true". So it tests the whole path from the socket to the
//! verdict, with every part that a miner depends on. Its name cannot be guessed. It is not written
//! into the ledger and counts in no total.
//!
//! It pauses while there is no work, and on a test chain where more than one in a thousand of its
//! shares would be a block: its purpose is not to find blocks.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use futures_lite::StreamExt;
use futures_lite::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use serde_json::{Value, json};

use crate::difficulty::{Difficulty, Target};
use crate::hash::{self, Midstate};
use crate::ids::ConnId;
use crate::status::CanaryView;
use crate::timeout::within;
use crate::vardiff;

use super::{Daemon, State};

/// Time from one share to the next.
const INTERVAL: Duration = Duration::from_secs(60);
/// Time from the start to the first share.
const FIRST: Duration = Duration::from_secs(15);
/// Time limit for one share, from connecting to the answer.
const AT_MOST: Duration = Duration::from_secs(15);
/// After this many failures in a row, without an accepted share of any miner, the watchdog is no
/// longer fed.
const GIVE_UP: u64 = 5;
/// Minimum number of its shares for each block that it would find by chance; else it pauses.
const SHARES_PER_BLOCK: f64 = 1000.0;
/// What it is called wherever a person may read it. It authorises by a secret name.
pub(super) const SHOWN: &str = "Soloist's own test";
/// Its user agent.
const USER_AGENT: &str = concat!("soloist-canary/", env!("CARGO_PKG_VERSION"));

/// The canary's results, and its identity among the miners.
#[derive(Debug, Default)]
pub(super) struct Canary {
    /// Its worker name, which nobody else knows.
    name: String,
    /// Its connection, once it has introduced itself.
    conn: Option<ConnId>,
    view: CanaryView,
    in_a_row: u64,
    /// Shares of the owner's miners when the failures began.
    shares_before: u64,
    resting: bool,
}

impl Canary {
    /// A canary with a random name.
    pub(super) fn new() -> Canary {
        let mut secret = [0; 16];
        // Without random numbers there is no secret name, and so no canary.
        let name = match getrandom::fill(&mut secret) {
            Ok(()) => format!("canary-{}", faster_hex::hex_string(&secret)),
            Err(_) => String::new(),
        };
        Canary { name, resting: true, ..Canary::default() }
    }

    /// Whether this connection is the canary's.
    pub(super) fn is(&self, conn: ConnId) -> bool {
        self.conn == Some(conn)
    }

    /// A miner authorised by this name. Returns whether it is the canary.
    pub(super) fn authorized(&mut self, conn: ConnId, name: &str) -> bool {
        let is = !self.name.is_empty() && name == self.name;
        if is {
            self.conn = Some(conn);
        }
        is
    }

    /// A connection has ended.
    pub(super) fn closed(&mut self, conn: ConnId) {
        if self.is(conn) {
            self.conn = None;
        }
    }

    /// Whether it is connected now.
    pub(super) fn is_here(&self) -> bool {
        self.conn.is_some()
    }

    /// The wall clock was set, by so many seconds.
    pub(super) fn clock_set(&mut self, by: i64) {
        if let Some(at) = &mut self.view.last_ok_at {
            *at = at.saturating_add_signed(by);
        }
    }

    /// For the page; `None` while it pauses.
    pub(super) fn view(&self) -> Option<CanaryView> {
        (!self.resting).then(|| self.view.clone())
    }
}

/// Runs the canary as long as the daemon runs.
pub(super) async fn run(daemon: Weak<Daemon>) {
    Timer::after(FIRST).await;
    loop {
        let Some(strong) = daemon.upgrade() else { return };
        let task = strong.state.borrow_mut().canary_task();
        drop(strong);
        if let Some(task) = task {
            let outcome = match within(AT_MOST, task.share()).await {
                Some(outcome) => outcome.map_err(|error| error.to_string()),
                None => Err(format!("no answer within {} s", AT_MOST.as_secs())),
            };
            let Some(strong) = daemon.upgrade() else { return };
            strong.state.borrow_mut().canary_done(outcome);
        }
        Timer::after(INTERVAL).await;
    }
}

impl State {
    /// The next try; `None` if it has to pause.
    fn canary_task(&mut self) -> Option<Attempt> {
        let canary = &mut self.canary;
        canary.resting = true;
        let easy = Target::from_difficulty(Difficulty(vardiff::FLOOR)).difficulty().0;
        let hard = self.engine.pool().jobs().work().map(|work| work.template.target.difficulty().0);
        if canary.name.is_empty()
            || self.engine.failover().is_gated()
            || self.stopping.is_some()
            || hard.is_none_or(|hard| hard < SHARES_PER_BLOCK * easy)
        {
            return None;
        }
        let address = self.server.addresses().first().copied()?;
        canary.resting = false;
        let password = self.config.stratum.password.as_ref().map_or("x", |p| p.expose());
        Some(Attempt {
            address: reachable(address),
            name: canary.name.clone(),
            password: password.to_owned(),
        })
    }

    fn canary_done(&mut self, outcome: Result<Duration, String>) {
        let now = self.now();
        // If the nodes failed while it tried, no miner could be served: that is no failure.
        if outcome.is_err() && self.engine.failover().is_gated() {
            return;
        }
        let shares = self.counters.accepted;
        let canary = &mut self.canary;
        canary.view.ok = outcome.is_ok();
        match outcome {
            Ok(took) => {
                canary.in_a_row = 0;
                canary.view.passed += 1;
                canary.view.last_ok_at = Some(now.unix);
                canary.view.round_trip_ms = Some(took.as_secs_f64() * 1e3);
                canary.view.error.clear();
            }
            Err(error) => {
                log::warn!("canary: no share was accepted: {error}");
                if canary.in_a_row == 0 {
                    canary.shares_before = shares;
                }
                canary.in_a_row += 1;
                canary.view.failed += 1;
                canary.view.error = error;
            }
        }
    }

    /// Whether no share gets through any more, neither the canary's nor a miner's. Only a restart
    /// can help then, which systemd's watchdog causes.
    pub(super) fn is_stuck(&self) -> bool {
        self.canary.in_a_row >= GIVE_UP && self.counters.accepted == self.canary.shares_before
    }
}

/// An address at which we can reach our own port.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        });
    }
    address
}

/// One connection with one share.
struct Attempt {
    address: SocketAddr,
    name: String,
    password: String,
}

/// Why the answer was not "true".
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The port cannot be reached, or closed the connection.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It was closed before the answer came.
    #[error("the connection was closed")]
    Closed,
    /// The answer was not Stratum that a miner could understand.
    #[error("{0} cannot be read")]
    Unreadable(&'static str),
    /// The share was refused.
    #[error("the share was refused: {0}")]
    Refused(String),
    /// No nonce fits, which happens in one search of e^100.
    #[error("no share was found")]
    NoShare,
}

impl Attempt {
    /// Time from the submission of the share to its answer.
    async fn share(&self) -> Result<Duration, Failure> {
        let stream = Rc::new(Async::<TcpStream>::connect(self.address).await?);
        let mut lines = BufReader::new(&*stream).lines();
        let mut out = &*stream;
        let calls = [
            json!({"id": 1, "method": "mining.subscribe", "params": [USER_AGENT]}),
            json!({"id": 2, "method": "mining.suggest_difficulty", "params": [vardiff::FLOOR]}),
            json!({"id": 3, "method": "mining.authorize", "params": [self.name, self.password]}),
        ];
        for call in calls {
            out.write_all(format!("{call}\n").as_bytes()).await?;
        }
        let mut extranonce1 = None;
        let mut size = 0;
        let mut difficulty = None;
        let mut answer_to_3 = false;
        let job = loop {
            let line = lines.next().await.ok_or(Failure::Closed)??;
            let message: Value =
                serde_json::from_str(&line).map_err(|_| Failure::Unreadable("a line"))?;
            match message["method"].as_str() {
                Some("mining.set_difficulty") => difficulty = message["params"][0].as_f64(),
                // The first job may have come before the difficulty that we asked for.
                Some("mining.notify") if answer_to_3 && difficulty.is_some() => {
                    break message["params"].clone();
                }
                _ if message["id"] == 1 => {
                    extranonce1 = message["result"][1].as_str().map(str::to_owned);
                    size = message["result"][2].as_u64().unwrap_or(0);
                }
                _ if message["id"] == 3 => {
                    if message["result"] != true {
                        return Err(Failure::Refused(message["error"].to_string()));
                    }
                    answer_to_3 = true;
                }
                _ => {}
            }
        };
        let extranonce1 = extranonce1.ok_or(Failure::Unreadable("the subscription"))?;
        let difficulty = difficulty.ok_or(Failure::Unreadable("the difficulty"))?;
        let extranonce2 = "00".repeat(size.min(8) as usize);
        let header = header(&job, &extranonce1, &extranonce2)?;
        let nonce = blocking::unblock(move || search(&header, Difficulty(difficulty))).await;
        let nonce = nonce.ok_or(Failure::NoShare)?;
        let submit = json!({
            "id": 4,
            "method": "mining.submit",
            "params": [self.name, job[0], extranonce2, job[7], format!("{nonce:08x}")],
        });
        let sent = Instant::now();
        out.write_all(format!("{submit}\n").as_bytes()).await?;
        loop {
            let line = lines.next().await.ok_or(Failure::Closed)??;
            let message: Value =
                serde_json::from_str(&line).map_err(|_| Failure::Unreadable("a line"))?;
            if message["id"] == 4 {
                return match message["result"] == true {
                    true => Ok(sent.elapsed()),
                    false => Err(Failure::Refused(message["error"].to_string())),
                };
            }
        }
    }
}

/// The header of a job as a miner assembles it, with nonce 0.
fn header(job: &Value, extranonce1: &str, extranonce2: &str) -> Result<[u8; 80], Failure> {
    let text = |place: usize| job[place].as_str().unwrap_or_default();
    let coinbase = hex(&format!("{}{extranonce1}{extranonce2}{}", text(2), text(3)))
        .ok_or(Failure::Unreadable("the coinbase"))?;
    let branch = job[4].as_array().map(|branch| branch.iter());
    let branch: Option<Vec<[u8; 32]>> =
        branch.and_then(|branch| branch.map(|hash| hex(hash.as_str()?)?.try_into().ok()).collect());
    let branch = branch.ok_or(Failure::Unreadable("the branch"))?;
    let root = hash::branch_root(&hash::sha256d(&coinbase), &branch);
    let word = |place| -> Result<[u8; 4], Failure> {
        let word = u32::from_str_radix(text(place), 16);
        word.map(u32::to_le_bytes).map_err(|_| Failure::Unreadable("a number of the job"))
    };
    let mut prev = hex(text(1)).ok_or(Failure::Unreadable("the previous block"))?;
    prev.chunks_exact_mut(4).for_each(<[u8]>::reverse);
    let mut header = [0; 80];
    header[..4].copy_from_slice(&word(5)?);
    if prev.len() != 32 {
        return Err(Failure::Unreadable("the previous block"));
    }
    header[4..36].copy_from_slice(&prev);
    header[36..68].copy_from_slice(&root);
    header[68..72].copy_from_slice(&word(7)?);
    header[72..76].copy_from_slice(&word(6)?);
    Ok(header)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![0; text.len() / 2];
    faster_hex::hex_decode(text.as_bytes(), &mut bytes).ok()?;
    Some(bytes)
}

/// The first nonce that makes a share. Runs on a pool thread: a Raspberry Pi needs a second for it.
fn search(header: &[u8; 80], difficulty: Difficulty) -> Option<u32> {
    let target = Target::from_difficulty(difficulty);
    let midstate = Midstate::of_header(header);
    let tail: &[u8; 12] = header[64..76].first_chunk()?;
    // 0xffff / 2^16 over the difficulty, in the hash's top word; the whole is compared below.
    let top_word = (65_535.0 / 65_536.0 / difficulty.0).floor().min(f64::from(u32::MAX)) as u32;
    let mut from = 0;
    loop {
        let hit = hash::header_hashes(&midstate, tail, from..=u32::MAX, top_word)?;
        if target.is_met_by(&crate::chain::BlockHash(hit.hash)) {
            return Some(hit.nonce);
        }
        from = hit.nonce.checked_add(1)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_the_first_block() {
        // The genesis block's coinbase, cut where a pool would put its extranonces.
        let coinbase = "01000000010000000000000000000000000000000000000000000000000000000000000000\
                        ffffffff4d04ffff001d0104455468652054696d65732030332f4a616e2f32303039204368\
                        616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420666f\
                        722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7\
                        105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba\
                        0b8d578a4c702b6bf11d5fac00000000";
        let (first, rest) = coinbase.split_at(84);
        let (extranonce1, rest) = rest.split_at(8);
        let (extranonce2, last) = rest.split_at(8);
        let zero = "0".repeat(64);
        let job = json!(["1", zero, first, last, [], "00000001", "1d00ffff", "495fab29", true]);
        let mut header = header(&job, extranonce1, extranonce2).unwrap();
        header[76..].copy_from_slice(&2_083_236_893u32.to_le_bytes());
        let mut hash = hash::sha256d(&header);
        hash.reverse();
        assert_eq!(
            faster_hex::hex_string(&hash),
            "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
        );
        // And every share that is found is one.
        let nonce = search(&header, Difficulty(0.000_01)).unwrap();
        header[76..].copy_from_slice(&nonce.to_le_bytes());
        let share = crate::chain::BlockHash(hash::sha256d(&header));
        assert!(Target::from_difficulty(Difficulty(0.000_01)).is_met_by(&share));
    }

    #[test]
    fn nonsense_is_a_failure_and_no_panic() {
        for job in [
            json!(null),
            json!([]),
            json!(["1", "00", "zz", "", [], "", "", "", true]),
            json!(["1", "00", "", "", [], "1", "1", "1", true]),
            json!(["1", "0".repeat(64), "", "", ["00"], "1", "1", "1", true]),
            json!(["1", "0".repeat(64), "", "", [], "zz", "1", "1", true]),
        ] {
            assert!(header(&job, "", "").is_err(), "{job}");
        }
    }
}
