//! A CPU miner that speaks Stratum v1, as a stock miner at home would.
//!
//! It knows only the daemon's address: it builds coinbase, merkle root and header from the fields
//! of `mining.notify` with its own code, so that every share that it finds has been checked twice.
//! It runs on one thread with blocking sockets, rolls the version bits that it is granted (BIP
//! 310), and leaves the processor idle most of the time.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use faster_hex::hex_string;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// BIP 320's bits.
const WANTED_MASK: u32 = 0x1fff_e000;
/// Nonces that are tried before another version or extranonce2 is taken.
const NONCES_PER_WORK: u32 = 1 << 16;
/// One round of hashing and resting.
const ROUND: Duration = Duration::from_millis(20);
/// Longest line that a server may send.
const MAX_LINE: usize = 64 * 1024;
/// Shares whose answer is awaited at the most; the oldest are forgotten.
const MAX_AWAITED: u64 = 1000;
const SILENCE: Duration = Duration::from_secs(90);
const RECONNECT: Duration = Duration::from_millis(500);

/// How the miner behaves.
#[derive(Clone, Debug)]
pub struct MinerConfig {
    /// The Stratum server.
    pub server: SocketAddr,
    /// Worker name.
    pub user: String,
    /// Its password; most servers read settings from it, such as `d=512`.
    pub password: String,
    /// What it calls itself.
    pub user_agent: String,
    /// The difficulty it asks for, if any.
    pub suggest: Option<f64>,
    /// Part of the time that it hashes, above 0 and at most 1.
    pub duty: f64,
}

/// What happened to the miner.
#[derive(Clone, Debug, PartialEq)]
pub enum MinerEvent {
    /// Connected and authorised.
    Authorised,
    /// The connection ended, or could not be made.
    Disconnected(String),
    /// A job came.
    Job {
        /// It replaces all before it.
        clean: bool,
    },
    /// A share was sent.
    Submitted {
        /// The header's hash, as shown.
        hash: String,
        /// It meets the network's target too: a block.
        block: bool,
    },
    /// A share was accepted.
    Accepted {
        /// It was a block.
        block: bool,
    },
    /// A share was refused.
    Refused {
        /// It was a block.
        block: bool,
        /// The server's words.
        reason: String,
    },
}

/// A miner that runs until it is stopped or dropped.
pub struct CpuMiner {
    stop: Arc<AtomicBool>,
    hashes: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl CpuMiner {
    /// Starts mining. Errors: no thread could be had.
    pub fn start(config: MinerConfig, events: mpsc::Sender<MinerEvent>) -> io::Result<CpuMiner> {
        let stop = Arc::new(AtomicBool::new(false));
        let hashes = Arc::new(AtomicU64::new(0));
        let shared = (stop.clone(), hashes.clone());
        let thread = std::thread::Builder::new().name("cpu-miner".into()).spawn(move || {
            let (stop, hashes) = shared;
            while !stop.load(Ordering::Relaxed) {
                if let Err(why) = mine(&config, &events, &stop, &hashes) {
                    report(&events, MinerEvent::Disconnected(why.to_string()));
                    std::thread::sleep(RECONNECT);
                }
            }
        })?;
        Ok(CpuMiner { stop, hashes, thread: Some(thread) })
    }

    /// Hashes tried since the start.
    pub fn hashes(&self) -> u64 {
        self.hashes.load(Ordering::Relaxed)
    }
}

impl Drop for CpuMiner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the CPU miner ended with a panic");
        }
    }
}

/// Hashes per second of one thread of this processor, measured for a moment. Where other programs
/// have it meanwhile, that counts: a chain that is too easy is the lesser evil for a demo.
pub fn measure() -> f64 {
    let started = Instant::now();
    let mut work = Work::new([0x5a; 80], [0; 32], [0; 32]);
    let mut tried = 0.0;
    while started.elapsed() < Duration::from_millis(150) {
        tried += f64::from(work.search(8192).1);
    }
    tried / started.elapsed().as_secs_f64()
}

/// The words of `mining.notify`.
#[derive(Clone, Debug)]
struct Job {
    id: String,
    prevhash: [u8; 32],
    coinbase1: Vec<u8>,
    coinbase2: Vec<u8>,
    branch: Vec<[u8; 32]>,
    version: u32,
    nbits: u32,
    ntime: u32,
    ntime_text: String,
}

/// A header whose nonces are being tried.
struct Work {
    header: [u8; 80],
    midstate: Sha256,
    /// Little-endian, as the hash is.
    share_target: [u8; 32],
    block_target: [u8; 32],
    nonce: u32,
    left: u32,
}

struct Found {
    nonce: u32,
    hash: [u8; 32],
    block: bool,
}

/// What the server has told on this connection.
struct Session<'a> {
    stream: TcpStream,
    events: &'a mpsc::Sender<MinerEvent>,
    buffer: Vec<u8>,
    last_line: Instant,
    next_id: u64,
    awaited: HashMap<u64, bool>,
    extranonce1: Vec<u8>,
    extranonce2_size: usize,
    mask: u32,
    /// Applies from the next job on, as in every firmware.
    next_difficulty: f64,
    difficulty: f64,
    job: Option<Job>,
    /// Counts works within a job: version bits first, then extranonce2.
    unit: u64,
}

const CONFIGURE: u64 = 1;
const SUBSCRIBE: u64 = 2;
const AUTHORIZE: u64 = 3;
const SUGGEST: u64 = 4;
const FIRST_SHARE: u64 = 5;

fn mine(
    config: &MinerConfig,
    events: &mpsc::Sender<MinerEvent>,
    stop: &AtomicBool,
    hashes: &AtomicU64,
) -> io::Result<()> {
    let mut session = Session::open(config, events)?;
    let busy = ROUND.mul_f64(config.duty.clamp(0.01, 1.0));
    let mut work: Option<Work> = None;
    while !stop.load(Ordering::Relaxed) {
        let round = Instant::now();
        while round.elapsed() < busy && session.job.is_some() {
            let current = match &mut work {
                Some(work) if work.left > 0 => work,
                _ => match session.next_work() {
                    Some(next) => work.insert(next),
                    None => break,
                },
            };
            let (found, tried) = current.search(1024);
            hashes.fetch_add(u64::from(tried), Ordering::Relaxed);
            if let Some(found) = found {
                let header = current.header;
                session.submit(&config.user, &header, &found)?;
            }
        }
        let rest = ROUND.saturating_sub(round.elapsed()).max(Duration::from_millis(1));
        if session.read(rest)? {
            work = None;
        }
    }
    Ok(())
}

impl<'a> Session<'a> {
    fn open(config: &MinerConfig, events: &'a mpsc::Sender<MinerEvent>) -> io::Result<Session<'a>> {
        let stream = TcpStream::connect_timeout(&config.server, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        let mut session = Session {
            stream,
            events,
            buffer: Vec::new(),
            last_line: Instant::now(),
            next_id: FIRST_SHARE,
            awaited: HashMap::new(),
            extranonce1: Vec::new(),
            extranonce2_size: 0,
            mask: 0,
            next_difficulty: 1.0,
            difficulty: 1.0,
            job: None,
            unit: 0,
        };
        let mask = json!({ "version-rolling.mask": format!("{WANTED_MASK:08x}") });
        session.send(CONFIGURE, "mining.configure", json!([["version-rolling"], mask]))?;
        session.send(SUBSCRIBE, "mining.subscribe", json!([config.user_agent]))?;
        session.send(AUTHORIZE, "mining.authorize", json!([config.user, config.password]))?;
        if let Some(difficulty) = config.suggest {
            session.send(SUGGEST, "mining.suggest_difficulty", json!([difficulty]))?;
        }
        Ok(session)
    }

    fn send(&mut self, id: u64, method: &str, params: Value) -> io::Result<()> {
        let mut line = json!({ "id": id, "method": method, "params": params }).to_string();
        line.push('\n');
        self.stream.write_all(line.as_bytes())
    }

    /// Reads what comes within `timeout`. True if the job is another one now. Errors: the
    /// connection ended, or the server does not speak Stratum.
    fn read(&mut self, timeout: Duration) -> io::Result<bool> {
        self.stream.set_read_timeout(Some(timeout))?;
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Err(io::Error::other("the server closed the connection")),
            Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        let mut new_job = false;
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            self.last_line = Instant::now();
            new_job |= self.line(&line)?;
        }
        if self.buffer.len() > MAX_LINE {
            return Err(bad("a line without an end"));
        }
        if self.last_line.elapsed() > SILENCE {
            return Err(io::Error::other("the server has been silent for 90 s"));
        }
        Ok(new_job)
    }

    fn line(&mut self, line: &[u8]) -> io::Result<bool> {
        let message: Value = serde_json::from_slice(line).map_err(|_| bad("not JSON"))?;
        let params = &message["params"];
        match message["method"].as_str() {
            Some("mining.notify") => {
                let job = Job::read(params).ok_or_else(|| bad("mining.notify"))?;
                self.difficulty = self.next_difficulty;
                self.unit = 0;
                self.job = Some(job);
                let clean = params[8].as_bool().unwrap_or(false);
                report(self.events, MinerEvent::Job { clean });
                return Ok(true);
            }
            Some("mining.set_difficulty") => {
                let difficulty = params[0].as_f64().filter(|d| *d > 0.0 && d.is_finite());
                self.next_difficulty = difficulty.ok_or_else(|| bad("mining.set_difficulty"))?;
            }
            Some("mining.set_version_mask") => {
                self.mask = number(&params[0]).ok_or_else(|| bad("mining.set_version_mask"))?;
            }
            Some("mining.set_extranonce") => self.extranonce(&params[0], &params[1])?,
            Some(_) => {}
            None => self.reply(&message)?,
        }
        Ok(false)
    }

    fn reply(&mut self, message: &Value) -> io::Result<()> {
        let result = &message["result"];
        match message["id"].as_u64() {
            Some(CONFIGURE) => {
                let granted = result["version-rolling"] == true;
                let mask = number(&result["version-rolling.mask"]).filter(|_| granted);
                self.mask = mask.unwrap_or(0) & WANTED_MASK;
            }
            Some(SUBSCRIBE) => self.extranonce(&result[1], &result[2])?,
            Some(AUTHORIZE) if *result == true => report(self.events, MinerEvent::Authorised),
            Some(AUTHORIZE) => return Err(io::Error::other("the server refuses the user")),
            Some(id) => {
                let Some(block) = self.awaited.remove(&id) else { return Ok(()) };
                let event = if *result == true {
                    MinerEvent::Accepted { block }
                } else {
                    MinerEvent::Refused { block, reason: message["error"].to_string() }
                };
                report(self.events, event);
            }
            None => {}
        }
        Ok(())
    }

    fn extranonce(&mut self, first: &Value, size: &Value) -> io::Result<()> {
        let first = first.as_str().and_then(bytes).ok_or_else(|| bad("extranonce1"))?;
        let size = size.as_u64().filter(|size| (1..=8).contains(size));
        self.extranonce1 = first;
        self.extranonce2_size = size.ok_or_else(|| bad("extranonce2's size"))? as usize;
        Ok(())
    }

    /// The next header to try: other version bits, and another extranonce2 when all were used.
    fn next_work(&mut self) -> Option<Work> {
        let job = self.job.as_ref()?;
        let versions = 1u64 << self.mask.count_ones();
        let version = (job.version & !self.mask) | spread(self.unit % versions, self.mask);
        let extranonce2 = self.extranonce2(self.unit / versions);
        self.unit += 1;
        let header = job.header(version, &self.extranonce1, &extranonce2);
        Some(Work::new(header, target_of(self.difficulty), target_of_nbits(job.nbits)))
    }

    /// A counter, big-endian in the agreed number of bytes.
    fn extranonce2(&self, count: u64) -> Vec<u8> {
        count.to_be_bytes()[8 - self.extranonce2_size..].to_vec()
    }

    fn submit(&mut self, user: &str, header: &[u8; 80], found: &Found) -> io::Result<()> {
        let Some(job) = &self.job else { return Ok(()) };
        let versions = 1u64 << self.mask.count_ones();
        let extranonce2 = self.extranonce2((self.unit - 1) / versions);
        let mut params = vec![
            json!(user),
            json!(job.id),
            json!(hex_string(&extranonce2)),
            json!(job.ntime_text),
            json!(format!("{:08x}", found.nonce)),
        ];
        if self.mask != 0 {
            let version = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
            params.push(json!(format!("{:08x}", version & self.mask)));
        }
        let mut shown = found.hash;
        shown.reverse();
        report(self.events, MinerEvent::Submitted { hash: hex_string(&shown), block: found.block });
        let id = self.next_id;
        self.next_id += 1;
        self.awaited.insert(id, found.block);
        self.awaited.retain(|other, _| other + MAX_AWAITED > id);
        self.send(id, "mining.submit", Value::Array(params))
    }
}

impl Job {
    fn read(params: &Value) -> Option<Job> {
        let text = |index: usize| params.get(index)?.as_str();
        let mut prevhash: [u8; 32] = bytes(text(1)?)?.try_into().ok()?;
        // Each word of four bytes comes the wrong way round.
        prevhash.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        let branch =
            params[4].as_array()?.iter().map(|hash| bytes(hash.as_str()?)?.try_into().ok());
        Some(Job {
            id: text(0)?.to_owned(),
            prevhash,
            coinbase1: bytes(text(2)?)?,
            coinbase2: bytes(text(3)?)?,
            branch: branch.collect::<Option<_>>()?,
            version: number(&params[5])?,
            nbits: number(&params[6])?,
            ntime: number(&params[7])?,
            ntime_text: text(7)?.to_owned(),
        })
    }

    fn header(&self, version: u32, extranonce1: &[u8], extranonce2: &[u8]) -> [u8; 80] {
        let coinbase = [&self.coinbase1, extranonce1, extranonce2, &self.coinbase2].concat();
        let mut root = sha256d(&coinbase);
        for hash in &self.branch {
            root = sha256d(&[root, *hash].concat());
        }
        let mut header = [0; 80];
        header[..4].copy_from_slice(&version.to_le_bytes());
        header[4..36].copy_from_slice(&self.prevhash);
        header[36..68].copy_from_slice(&root);
        header[68..72].copy_from_slice(&self.ntime.to_le_bytes());
        header[72..76].copy_from_slice(&self.nbits.to_le_bytes());
        header
    }
}

impl Work {
    fn new(header: [u8; 80], share_target: [u8; 32], block_target: [u8; 32]) -> Work {
        let midstate = Sha256::new_with_prefix(&header[..64]);
        Work { header, midstate, share_target, block_target, nonce: 0, left: NONCES_PER_WORK }
    }

    /// Tries up to `count` nonces, and ends at the first share. Gives it, and how many it tried.
    fn search(&mut self, count: u32) -> (Option<Found>, u32) {
        let count = count.min(self.left);
        for tried in 1..=count {
            let nonce = self.nonce;
            self.nonce = nonce.wrapping_add(1);
            self.left -= 1;
            self.header[76..].copy_from_slice(&nonce.to_le_bytes());
            let mut inner = self.midstate.clone();
            inner.update(&self.header[64..]);
            let hash: [u8; 32] = Sha256::digest(inner.finalize()).into();
            // As in every firmware, only the share target counts: the rest is the server's care.
            if meets(&hash, &self.share_target) {
                let block = meets(&hash, &self.block_target);
                return (Some(Found { nonce, hash, block }), tried);
            }
        }
        (None, count)
    }
}

fn meets(hash: &[u8; 32], target: &[u8; 32]) -> bool {
    hash.iter().rev().le(target.iter().rev())
}

/// The target of a share difficulty, little-endian: 0xffff × 2^208 / difficulty, to the 53 bits
/// that a float has, and all ones where it is beyond 256 bits.
fn target_of(difficulty: f64) -> [u8; 32] {
    let quotient = 65_535.0 / difficulty;
    let bits = quotient.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1075 + 208;
    let mantissa = u128::from((bits & ((1 << 52) - 1)) | (1 << 52));
    place(mantissa, exponent)
}

/// The target that a header's nbits stand for, little-endian.
fn target_of_nbits(nbits: u32) -> [u8; 32] {
    place(u128::from(nbits & 0x007f_ffff), 8 * ((nbits >> 24) as i32 - 3))
}

/// `mantissa × 2^exponent` in 256 bits, little-endian.
fn place(mantissa: u128, exponent: i32) -> [u8; 32] {
    if exponent < 0 {
        return place(mantissa.checked_shr(exponent.unsigned_abs()).unwrap_or(0), 0);
    }
    let (bytes, bits) = (exponent as usize / 8, exponent as u32 % 8);
    let mut target = [0; 32];
    for (index, byte) in (mantissa << bits).to_le_bytes().into_iter().enumerate() {
        match target.get_mut(bytes + index) {
            Some(place) => *place = byte,
            None if byte != 0 => return [0xff; 32],
            None => {}
        }
    }
    target
}

/// Puts the low bits of `count` where `mask` has ones.
fn spread(mut count: u64, mask: u32) -> u32 {
    let mut out = 0;
    for bit in (0..32).filter(|bit| mask >> bit & 1 == 1) {
        out |= ((count & 1) as u32) << bit;
        count >>= 1;
    }
    out
}

/// Eight hex digits as a number.
fn number(value: &Value) -> Option<u32> {
    let text = value.as_str().filter(|text| text.len() == 8)?;
    u32::from_str_radix(text, 16).ok()
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let mut out = vec![0; text.len() / 2];
    faster_hex::hex_decode(text.as_bytes(), &mut out).ok()?;
    Some(out)
}

fn sha256d(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}

fn report(events: &mpsc::Sender<MinerEvent>, event: MinerEvent) {
    // Nobody listens any more: then nobody wants to know.
    let _ = events.send(event);
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the server sent nonsense: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn big_endian(mut target: [u8; 32]) -> String {
        target.reverse();
        hex_string(&target)
    }

    #[test]
    fn targets_are_exact_where_a_float_is() {
        let one = format!("00000000ffff{}", "0".repeat(52));
        assert_eq!(big_endian(target_of(1.0)), one);
        assert_eq!(big_endian(target_of_nbits(0x1d00_ffff)), one);
        assert_eq!(big_endian(target_of(256.0)), format!("0000000000ffff{}", "0".repeat(50)));
        assert_eq!(big_endian(target_of(0.5)), format!("00000001fffe{}", "0".repeat(52)));
        assert_eq!(target_of(1e-12), [0xff; 32]);
        assert_eq!(big_endian(target_of_nbits(0x207f_ffff)), format!("7fffff{}", "0".repeat(58)));
        assert_eq!(target_of_nbits(0x0300_0001)[0], 1);
    }

    #[test]
    fn version_bits_are_spread_over_the_mask() {
        assert_eq!(spread(0, WANTED_MASK), 0);
        assert_eq!(spread(0xffff, WANTED_MASK), WANTED_MASK);
        assert_eq!(spread(1, WANTED_MASK), 1 << 13);
        assert_eq!(spread(0b101, 0b1011), 0b1001);
    }

    /// Block 125552, the example of the Bitcoin wiki's "Block hashing algorithm".
    #[test]
    fn a_known_nonce_is_found() {
        let header = bytes(concat!(
            "0100000081cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a308000000000000",
            "e320b6c2fffc8d750423db8b1eb942ae710e951ed797f7affc8892b0f1fc122bc7f5d74d",
            "f2b9441a00000000"
        ));
        let header: [u8; 80] = header.unwrap().try_into().unwrap();
        let mut work = Work::new(header, target_of(1.0), target_of_nbits(0x1a44_b9f2));
        work.nonce = 0x9546_a142 - 10;
        let (found, tried) = work.search(100);
        let found = found.unwrap();
        assert_eq!((found.nonce, tried, found.block), (0x9546_a142, 11, true));
        let hash = "00000000000000001e8d6829a8a21adc5d38d0a473b144b6765798e61f98bd1d";
        assert_eq!(big_endian(found.hash), hash);
    }
}
