//! The canary: a miner of our own that sends one easy share a minute through the real port.
//!
//! It connects over TCP like any miner, reads its job, assembles the block's header by itself,
//! searches a nonce and waits for "true". So it tests the whole path from the socket to the
//! verdict, with every part that a miner depends on. Its name cannot be guessed. It is not written
//! into the ledger and counts in no total.
//!
//! Every other share goes by Stratum V2, where that is spoken: by an extended channel and by a standard
//! one in turn, from a miner that knows the authority key. After the start it goes each way at once.
//!
//! It pauses while there is no work, and on a test chain where more than one in a thousand of its
//! shares would be a block: its purpose is not to find blocks.

mod v2;

use std::collections::BTreeMap;
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
use crate::status::{CanaryView, ChannelKind};
use crate::stratum::v2::miner::Unwanted;
use crate::stratum::v2::noise::{AuthorityKey, NoiseError};
use crate::timeout::within;
use crate::vardiff;

use super::{Daemon, State};

/// Time from one share to the next.
const INTERVAL: Duration = Duration::from_secs(60);
/// Time from the start to the first share.
const FIRST: Duration = Duration::from_secs(15);
/// Time from one share to the next until each way was gone.
const SOON: Duration = Duration::from_secs(2);
/// Time limit for one share, from connecting to the answer.
const AT_MOST: Duration = Duration::from_secs(15);
/// After this many failures in a row, without an accepted share of any miner, the watchdog is no
/// longer fed.
const GIVE_UP: u64 = 5;
/// Minimum number of its shares for each block that it would find by chance; else it pauses.
const SHARES_PER_BLOCK: f64 = 1000.0;
/// What it is called wherever a person may read it. It authorises by a secret name.
pub(super) const SHOWN: &str = "Soloist's own test";
/// Its user agent; of Stratum V2 vendor and firmware.
const USER_AGENT: &str = concat!("soloist-canary/", env!("CARGO_PKG_VERSION"));

/// What it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    V1,
    V2(ChannelKind),
}

/// The ways in turn.
const TURNS: [Way; 4] =
    [Way::V1, Way::V2(ChannelKind::Extended), Way::V1, Way::V2(ChannelKind::Standard)];

impl Way {
    fn words(self) -> &'static str {
        match self {
            Way::V1 => "Stratum V1",
            Way::V2(ChannelKind::Extended) => "Stratum V2 (extended channel)",
            Way::V2(ChannelKind::Standard) => "Stratum V2 (standard channel)",
        }
    }

    fn is_v2(self) -> bool {
        matches!(self, Way::V2(_))
    }
}

/// The canary's results, and its identity among the miners.
#[derive(Debug, Default)]
pub(super) struct Canary {
    /// Its worker name, which nobody else knows.
    name: String,
    /// Its connection, once it has introduced itself.
    conn: Option<ConnId>,
    view: CanaryView,
    /// Tries so far.
    turn: usize,
    /// The ways of which the last share was not accepted, and why.
    failing: BTreeMap<Way, String>,
    /// Failures of any way, of V1 and of V2.
    runs: [Run; 3],
    resting: bool,
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    failures: u64,
    /// Shares of the owner's miners when they began.
    shares_before: u64,
}

impl Run {
    fn note(&mut self, failed: bool, shares: u64) {
        match failed {
            true if self.failures == 0 => *self = Run { failures: 1, shares_before: shares },
            true => self.failures += 1,
            false => self.failures = 0,
        }
    }
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

    /// The next way.
    fn next_way(&mut self, v2: bool) -> Way {
        if !v2 {
            self.failing.retain(|way, _| !way.is_v2());
            self.runs[2] = Run::default();
        }
        let way = TURNS[self.turn % TURNS.len()];
        self.turn += 1;
        if v2 { way } else { Way::V1 }
    }

    /// Notes what became of a try; `shares` are those of the owner's miners so far.
    fn note(&mut self, now: u64, way: Way, outcome: Result<Duration, String>, shares: u64) {
        let failed = outcome.is_err();
        self.runs[0].note(failed, shares);
        self.runs[if way.is_v2() { 2 } else { 1 }].note(failed, shares);
        way.words().clone_into(&mut self.view.way);
        match outcome {
            Ok(took) => {
                self.failing.remove(&way);
                self.view.passed += 1;
                self.view.last_ok_at = Some(now);
                self.view.round_trip_ms = Some(took.as_secs_f64() * 1e3);
            }
            Err(error) => {
                log::warn!("canary: no share was accepted by {}: {error}", way.words());
                self.failing.insert(way, error);
                self.view.failed += 1;
            }
        }
        self.tell_failing();
    }

    fn tell_failing(&mut self) {
        let told = self.failing.iter().map(|(way, error)| format!("by {}: {error}", way.words()));
        self.view.error = told.collect::<Vec<_>>().join("; ");
        self.view.ok = self.failing.is_empty();
    }

    /// Whether a way has failed so often that only a restart can help, and no share of the owner's miners
    /// came through meanwhile.
    fn is_stuck(&self, shares: u64) -> bool {
        self.runs.iter().any(|run| run.failures >= GIVE_UP && run.shares_before == shares)
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
        let mut pause = INTERVAL;
        if let Some(task) = task {
            let outcome = match within(AT_MOST, task.share()).await {
                Some(outcome) => outcome.map_err(|error| error.to_string()),
                None => Err(format!("no answer within {} s", AT_MOST.as_secs())),
            };
            let Some(strong) = daemon.upgrade() else { return };
            let mut state = strong.state.borrow_mut();
            state.canary_done(task.way, outcome);
            if state.canary.turn < TURNS.len() {
                pause = SOON;
            }
        }
        Timer::after(pause).await;
    }
}

impl State {
    /// The next try; `None` if it has to pause.
    fn canary_task(&mut self) -> Option<Attempt> {
        let authority = self.authority_key();
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
            way: canary.next_way(authority.is_some()),
            authority,
            address: reachable(address),
            name: canary.name.clone(),
            password: password.to_owned(),
        })
    }

    fn canary_done(&mut self, way: Way, outcome: Result<Duration, String>) {
        let now = self.now();
        // If the nodes failed while it tried, no miner could be served: that is no failure.
        if outcome.is_err() && self.engine.failover().is_gated() {
            return;
        }
        self.canary.note(now.unix, way, outcome, self.counters.accepted);
    }

    /// Whether no share gets through any more, neither the canary's nor a miner's. Only a restart
    /// can help then, which systemd's watchdog causes.
    pub(super) fn is_stuck(&self) -> bool {
        self.canary.is_stuck(self.counters.accepted)
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
    way: Way,
    /// The key by which a miner of Stratum V2 knows us; `None` where that is not spoken.
    authority: Option<AuthorityKey>,
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
    /// The handshake of Stratum V2 failed, or what followed cannot be decrypted.
    #[error("{0}")]
    Noise(#[from] NoiseError),
    /// Stratum V2 came to its end by this message.
    #[error("{0}")]
    Unwanted(#[from] Unwanted),
    /// The system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// No nonce fits, which happens in one search of e^100.
    #[error("no share was found")]
    NoShare,
}

impl Attempt {
    /// Time from the submission of the share to its answer.
    async fn share(&self) -> Result<Duration, Failure> {
        match self.way {
            Way::V1 => self.share_by_v1().await,
            Way::V2(kind) => self.share_by_v2(kind).await,
        }
    }

    async fn share_by_v1(&self) -> Result<Duration, Failure> {
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

    const EXTENDED: Way = Way::V2(ChannelKind::Extended);
    const STANDARD: Way = Way::V2(ChannelKind::Standard);
    const OK: Result<Duration, String> = Ok(Duration::from_millis(1));

    #[test]
    fn every_other_share_goes_by_v2_where_it_is_spoken() {
        let mut canary = Canary::default();
        let ways: Vec<Way> = (0..6).map(|_| canary.next_way(true)).collect();
        assert_eq!(ways, [Way::V1, EXTENDED, Way::V1, STANDARD, Way::V1, EXTENDED]);
        assert!((0..4).all(|_| canary.next_way(false) == Way::V1));
    }

    /// One way may fail while the others pass: that is told until it passes, or is not gone any more.
    #[test]
    fn a_way_that_fails_is_told_by_its_name() {
        let mut canary = Canary::default();
        let failed = || Err("the connection was closed".to_owned());
        canary.note(1000, Way::V1, OK, 0);
        assert!(canary.view.ok && canary.view.error.is_empty());
        canary.note(1060, STANDARD, failed(), 0);
        canary.note(1120, Way::V1, OK, 0);
        canary.note(1180, EXTENDED, OK, 0);
        let told = "by Stratum V2 (standard channel): the connection was closed";
        assert_eq!((canary.view.ok, canary.view.error.as_str()), (false, told));
        assert_eq!((canary.view.passed, canary.view.failed), (3, 1));
        assert_eq!(canary.view.way, "Stratum V2 (extended channel)");
        canary.note(1240, EXTENDED, failed(), 0);
        let both = "by Stratum V2 (extended channel): the connection was closed; by Stratum V2 \
                    (standard channel): the connection was closed";
        // In the order of the kinds.
        let mut parts: Vec<&str> = canary.view.error.split("; ").collect();
        parts.sort_unstable();
        assert_eq!(parts, both.split("; ").collect::<Vec<_>>());
        canary.note(1300, STANDARD, OK, 0);
        canary.note(1360, EXTENDED, OK, 0);
        assert!(canary.view.ok && canary.view.error.is_empty());
        canary.note(1420, STANDARD, failed(), 0);
        canary.next_way(false);
        canary.note(1480, Way::V1, OK, 0);
        assert!(canary.view.ok, "it is off now");
    }

    #[test]
    fn a_way_that_fails_for_long_is_a_cause_for_a_restart_unless_shares_come() {
        let failed = || Err(String::new());
        // All ways, so five minutes.
        let mut canary = Canary::default();
        for n in 0..5 {
            assert!(!canary.is_stuck(7), "{n}");
            canary.note(0, TURNS[n % 4], failed(), 7);
        }
        assert!(canary.is_stuck(7) && !canary.is_stuck(8));
        // V2 alone, so ten.
        let mut canary = Canary::default();
        for n in 0..10 {
            assert!(!canary.is_stuck(7), "{n}");
            let way = TURNS[n % 4];
            canary.note(0, way, if way.is_v2() { failed() } else { OK }, 7);
        }
        assert!(canary.is_stuck(7) && !canary.is_stuck(8));
        canary.note(0, EXTENDED, OK, 7);
        assert!(!canary.is_stuck(7));
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
