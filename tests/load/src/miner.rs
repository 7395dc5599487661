//! One miner: a socket, what it knows of its job, and the shares that it makes.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

use super::v2::{Fields, Frame, V2};

/// What a miner speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    V1,
    /// Stratum V2 with an extended channel.
    Extended,
    /// Stratum V2 with a standard channel.
    Standard,
}

/// Who the miner says that it is.
#[derive(Clone, Debug)]
pub struct Login {
    pub agent: String,
    pub user: String,
    pub password: String,
    /// The difficulty that it wishes for.
    pub suggestion: Option<f64>,
    pub protocol: Protocol,
}

/// What a miner heard that matters to the one who measures.
#[derive(Debug)]
pub enum Heard {
    /// A job. `new_tip`: it builds on another block than the one before it.
    Job { new_tip: bool, full: bool },
    /// An answer to a share.
    Answer { accepted: bool, took: Duration, why: Option<String> },
}

/// A connected miner. Its socket does not block.
pub struct Miner {
    /// `None` for V1.
    v2: Option<V2>,
    /// A job that waits for its block.
    announced: Option<Job>,
    prev: String,
    pub read: u64,
    pub stream: TcpStream,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    login: Login,
    subscribed: bool,
    pub authorized: bool,
    extranonce1: Vec<u8>,
    extranonce2_size: usize,
    /// The greatest hash that is a share, little-endian.
    target: [u8; 32],
    pub difficulty: f64,
    pub job: Option<Job>,
    nonce: u32,
    extranonce2: u64,
    next_id: u64,
    under_way: HashMap<u64, Instant>,
    /// Shares made beforehand.
    pub stock: Vec<Share>,
    pub closed: bool,
}

/// A share that was made.
pub struct Share {
    job: String,
    extranonce2: String,
    ntime: String,
    nonce: u32,
    version: [u8; 4],
}

/// A job as one miner hashes it.
pub struct Job {
    pub id: String,
    prev: String,
    coinbase: [Vec<u8>; 2],
    branch: Vec<[u8; 32]>,
    /// The merkle root, where the miner is told it.
    root: Option<[u8; 32]>,
    version: [u8; 4],
    nbits: [u8; 4],
    ntime: String,
    midstate: [u32; 8],
    tail: [u8; 12],
    extranonce2: String,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<String>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

const SUBSCRIBE: u64 = 1;
const AUTHORIZE: u64 = 2;
const SUGGEST: u64 = 3;

impl Miner {
    /// Connects and introduces itself.
    pub fn connect(server: SocketAddr, login: Login) -> io::Result<Miner> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let (v2, first) = match login.protocol {
            Protocol::V1 => (None, Vec::new()),
            protocol => {
                let (v2, first) = V2::new(protocol == Protocol::Standard)?;
                (Some(v2), first)
            }
        };
        let mut miner = Miner {
            v2,
            announced: None,
            prev: String::new(),
            read: 0,
            stream,
            inbox: Vec::new(),
            outbox: first,
            login,
            subscribed: false,
            authorized: false,
            extranonce1: Vec::new(),
            extranonce2_size: 0,
            target: target_of_difficulty(1.0),
            difficulty: 1.0,
            job: None,
            nonce: 0,
            extranonce2: 0,
            next_id: 10,
            under_way: HashMap::new(),
            stock: Vec::new(),
            closed: false,
        };
        if miner.v2.is_some() {
            miner.flush();
            return Ok(miner);
        }
        let agent = miner.login.agent.clone();
        miner.call(SUBSCRIBE, "mining.subscribe", serde_json::json!([agent]));
        Ok(miner)
    }

    /// Shares whose answer has not come.
    pub fn in_flight(&self) -> usize {
        self.under_way.len()
    }

    /// Sends a share: from the stock if there is one, else the next that is no block, however
    /// little it is worth. False if there is no job.
    pub fn submit(&mut self) -> bool {
        let Some(share) = self.stock.pop().or_else(|| self.make_share(Wish::NoBlock)) else {
            return false;
        };
        self.next_id += 1;
        let id = self.next_id;
        let Share { job, extranonce2, ntime, nonce, version } = &share;
        match &mut self.v2 {
            None => {
                let user = &self.login.user;
                let params =
                    format!("\"{user}\",\"{job}\",\"{extranonce2}\",\"{ntime}\",\"{nonce:08x}\"");
                self.outbox.extend_from_slice(
                    format!("{{\"id\":{id},\"method\":\"mining.submit\",\"params\":[{params}]}}\n")
                        .as_bytes(),
                );
            }
            Some(v2) => {
                let ntime = u32::from_be_bytes(array(&unhex(ntime)));
                let numbers = [
                    v2.channel,
                    id as u32,
                    job.parse().unwrap_or(0),
                    *nonce,
                    ntime,
                    u32::from_be_bytes(*version),
                ];
                let mut payload: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
                if !v2.standard {
                    payload.push((extranonce2.len() / 2) as u8);
                    payload.extend(unhex(extranonce2));
                }
                let kind = if v2.standard { 0x1a } else { 0x1b };
                v2.write(kind, &payload, &mut self.outbox);
            }
        }
        self.under_way.insert(id, Instant::now());
        true
    }

    /// Looks for a share of the current job. `None` if there is no job, or after `tries` hashes.
    pub fn make_share(&mut self, wish: Wish) -> Option<Share> {
        if self.nonce == u32::MAX {
            self.extranonce2 += 1;
            self.nonce = 0;
            self.prepare();
        }
        let job = self.job.as_ref()?;
        let block = target_of_nbits(job.nbits);
        let share = self.target;
        let tries = match wish {
            Wish::Share { tries } => tries,
            Wish::NoBlock | Wish::Block => u32::MAX,
        };
        for _ in 0..tries {
            if self.nonce == u32::MAX {
                return None;
            }
            self.nonce += 1;
            let hash = job.hash(self.nonce);
            let solves = meets(&hash, &block);
            let fits = match wish {
                Wish::NoBlock => !solves,
                Wish::Block => solves,
                Wish::Share { .. } => !solves && meets(&hash, &share),
            };
            if fits {
                return Some(Share {
                    job: job.id.clone(),
                    extranonce2: job.extranonce2.clone(),
                    ntime: job.ntime.clone(),
                    nonce: self.nonce,
                    version: job.version,
                });
            }
        }
        None
    }

    /// Sends what waits, reads what came, and tells what was heard.
    pub fn turn(&mut self, heard: &mut impl FnMut(Heard)) {
        self.flush();
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => self.closed = true,
                Ok(n) => {
                    self.read += n as u64;
                    self.inbox.extend_from_slice(&chunk[..n]);
                    if n == chunk.len() {
                        continue;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => self.closed = true,
            }
            break;
        }
        if let Some(v2) = &mut self.v2 {
            let outcome = v2.take(&std::mem::take(&mut self.inbox));
            match outcome {
                Ok((frames, shaken)) => self.frames(frames, shaken, heard),
                Err(error) => {
                    eprintln!("{error}");
                    self.closed = true;
                }
            }
            self.flush();
            return;
        }
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = &inbox[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.line(&rest[..end], heard);
            rest = &rest[end + 1..];
        }
        let used = inbox.len() - rest.len();
        self.inbox = inbox;
        self.inbox.drain(..used);
        self.flush();
    }

    /// Something waits to be sent.
    pub fn wants_to_write(&self) -> bool {
        !self.outbox.is_empty()
    }

    pub fn flush(&mut self) {
        if self.outbox.is_empty() {
            return;
        }
        match self.stream.write(&self.outbox) {
            Ok(n) => drop(self.outbox.drain(..n)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.closed = true,
        }
    }

    fn call(&mut self, id: u64, method: &str, params: serde_json::Value) {
        let line = serde_json::json!({"id": id, "method": method, "params": params});
        self.outbox.extend_from_slice(format!("{line}\n").as_bytes());
        self.flush();
    }

    fn line(&mut self, line: &[u8], heard: &mut impl FnMut(Heard)) {
        let Ok(line) = serde_json::from_slice::<Line>(line) else { return };
        match line.method.as_deref() {
            Some("mining.notify") => self.notify(line.params, heard),
            Some("mining.set_difficulty") => {
                let params: Option<[f64; 1]> =
                    line.params.and_then(|p| serde_json::from_str(p.get()).ok());
                if let Some([difficulty]) = params {
                    self.difficulty = difficulty;
                    self.target = target_of_difficulty(difficulty);
                }
            }
            Some(_) => {}
            None => {
                let id = line.id.and_then(|id| id.get().parse().ok());
                match id {
                    Some(SUBSCRIBE) => self.subscribed(line.result),
                    Some(AUTHORIZE) => self.authorized = true,
                    Some(id) => {
                        let Some(sent) = self.under_way.remove(&id) else { return };
                        let accepted = line.result.is_some_and(|result| result.get() == "true");
                        let why = line.error.map(|error| error.get().to_owned());
                        let why = why.filter(|_| !accepted);
                        heard(Heard::Answer { accepted, took: sent.elapsed(), why });
                    }
                    None => {}
                }
            }
        }
    }

    fn subscribed(&mut self, result: Option<&RawValue>) {
        let Some(result) = result else { return };
        let Ok((_, extranonce1, size)) =
            serde_json::from_str::<(serde_json::Value, String, usize)>(result.get())
        else {
            return;
        };
        self.extranonce1 = unhex(&extranonce1);
        self.extranonce2_size = size;
        if !std::mem::replace(&mut self.subscribed, true) {
            let Login { user, password, suggestion, .. } = self.login.clone();
            self.call(AUTHORIZE, "mining.authorize", serde_json::json!([user, password]));
            if let Some(wish) = suggestion {
                self.call(SUGGEST, "mining.suggest_difficulty", serde_json::json!([wish]));
            }
        }
    }

    fn notify(&mut self, params: Option<&RawValue>, heard: &mut impl FnMut(Heard)) {
        type Params = (String, String, String, String, Vec<String>, String, String, String, bool);
        let Some(Ok(params)) = params.map(|p| serde_json::from_str::<Params>(p.get())) else {
            return;
        };
        let (id, prev, coinbase1, coinbase2, branch, version, nbits, ntime, _clean) = params;
        let new_tip = self.job.as_ref().is_none_or(|job| job.prev != prev);
        heard(Heard::Job { new_tip, full: !branch.is_empty() });
        self.job = Some(Job {
            id,
            prev,
            coinbase: [unhex(&coinbase1), unhex(&coinbase2)],
            branch: branch.iter().map(|node| array(&unhex(node))).collect(),
            root: None,
            version: array(&unhex(&version)),
            nbits: array(&unhex(&nbits)),
            ntime,
            midstate: [0; 8],
            tail: [0; 12],
            extranonce2: String::new(),
        });
        self.begin();
    }

    fn begin(&mut self) {
        self.nonce = 0;
        self.extranonce2 += 1;
        self.prepare();
    }

    fn frames(&mut self, frames: Vec<Frame>, shaken: bool, heard: &mut impl FnMut(Heard)) {
        let agent = self.login.agent.clone();
        if let Some(v2) = self.v2.as_mut().filter(|_| shaken) {
            v2.set_up(&agent, &mut self.outbox);
        }
        for Frame { kind, payload } in frames {
            self.frame(kind, Fields(&payload), heard);
        }
    }

    fn frame(&mut self, kind: u8, mut fields: Fields<'_>, heard: &mut impl FnMut(Heard)) {
        let Some(v2) = &mut self.v2 else { return };
        match kind {
            0x01 => v2.open(&self.login.user, self.login.suggestion, &mut self.outbox),
            0x11 | 0x14 => {
                fields.u32();
                v2.channel = fields.u32();
                self.set_target(fields.bytes(32));
                self.extranonce2_size = if kind == 0x14 { usize::from(fields.u16()) } else { 0 };
                let n = usize::from(fields.u8());
                self.extranonce1 = fields.bytes(n).to_vec();
                self.authorized = true;
            }
            0x15 | 0x1f => {
                fields.u32();
                let id = fields.u32().to_string();
                let ntime = (fields.u8() == 1).then(|| fields.u32());
                let version = fields.u32().to_be_bytes();
                let mut job = Job {
                    id,
                    prev: self.prev.clone(),
                    coinbase: Default::default(),
                    branch: Vec::new(),
                    root: None,
                    version,
                    nbits: self.job.as_ref().map_or([0; 4], |job| job.nbits),
                    ntime: String::new(),
                    midstate: [0; 8],
                    tail: [0; 12],
                    extranonce2: String::new(),
                };
                if kind == 0x15 {
                    job.root = Some(array(fields.bytes(32)));
                } else {
                    fields.u8();
                    let n = fields.u8();
                    job.branch = (0..n).map(|_| array(fields.bytes(32))).collect();
                    for half in &mut job.coinbase {
                        let n = usize::from(fields.u16());
                        *half = fields.bytes(n).to_vec();
                    }
                }
                match ntime {
                    None => self.announced = Some(job),
                    Some(ntime) => self.take_job(job, ntime, heard),
                }
            }
            0x20 => {
                fields.u32();
                fields.u32();
                // As V1 has it: words, each turned around.
                let mut prev = fields.bytes(32).to_vec();
                prev.chunks_mut(4).for_each(<[u8]>::reverse);
                self.prev = hex(&prev);
                let (ntime, nbits) = (fields.u32(), fields.u32().to_be_bytes());
                let Some(job) = self.announced.take() else { return };
                let job = Job { prev: self.prev.clone(), nbits, ..job };
                self.take_job(job, ntime, heard);
            }
            0x21 => {
                fields.u32();
                self.set_target(fields.bytes(32));
            }
            0x1c => {
                fields.u32();
                let last = u64::from(fields.u32());
                let done: Vec<u64> =
                    self.under_way.keys().copied().filter(|n| *n <= last).collect();
                for id in done {
                    if let Some(sent) = self.under_way.remove(&id) {
                        let took = sent.elapsed();
                        heard(Heard::Answer { accepted: true, took, why: None });
                    }
                }
            }
            0x1d => {
                fields.u32();
                let id = u64::from(fields.u32());
                let n = usize::from(fields.u8());
                let why = Some(String::from_utf8_lossy(fields.bytes(n)).into_owned());
                if let Some(sent) = self.under_way.remove(&id) {
                    heard(Heard::Answer { accepted: false, took: sent.elapsed(), why });
                }
            }
            _ => {}
        }
    }

    fn take_job(&mut self, job: Job, ntime: u32, heard: &mut impl FnMut(Heard)) {
        let new_tip = self.job.as_ref().is_none_or(|old| old.prev != job.prev);
        // A standard channel is not told whether there are transactions.
        let full = job.root.is_some() || !job.branch.is_empty();
        heard(Heard::Job { new_tip, full });
        self.job = Some(Job { ntime: format!("{ntime:08x}"), ..job });
        self.begin();
    }

    fn set_target(&mut self, target: &[u8]) {
        self.target = array(target);
        let value = self.target.iter().rev().fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte));
        self.difficulty = 65535.0 * 2_f64.powi(208) / value;
    }

    /// The part of the header that the nonce does not change.
    fn prepare(&mut self) {
        let Some(job) = &mut self.job else { return };
        let all = self.extranonce2.to_be_bytes();
        let mut extranonce2 = vec![0; self.extranonce2_size.saturating_sub(8)];
        extranonce2.extend_from_slice(&all[8 - self.extranonce2_size.min(8)..]);
        let [first, last] = &job.coinbase;
        let coinbase = [&first[..], &self.extranonce1, &extranonce2, last].concat();
        let above = |node, neighbour: &[u8; 32]| sha256d(&[node, *neighbour].concat());
        let root = job.root.unwrap_or_else(|| job.branch.iter().fold(sha256d(&coinbase), above));
        let mut header = [0; 80];
        header[..4].copy_from_slice(&job.version);
        header[4..36].copy_from_slice(&unhex(&job.prev));
        header[..36].as_chunks_mut::<4>().0.iter_mut().for_each(|word| word.reverse());
        header[36..68].copy_from_slice(&root);
        header[68..72].copy_from_slice(&unhex(&job.ntime));
        header[72..76].copy_from_slice(&job.nbits);
        header[68..76].as_chunks_mut::<4>().0.iter_mut().for_each(|word| word.reverse());
        job.midstate = INITIAL;
        compress256(&mut job.midstate, header[..64].as_chunks::<64>().0);
        job.tail.copy_from_slice(&header[64..76]);
        job.extranonce2 = hex(&extranonce2);
    }
}

/// What a share is to be.
#[derive(Clone, Copy)]
pub enum Wish {
    /// Any hash that solves no block.
    NoBlock,
    /// One that reaches the difficulty and solves no block, looked for so many times.
    Share { tries: u32 },
    /// One that solves a block.
    Block,
}

impl Job {
    fn hash(&self, nonce: u32) -> [u8; 32] {
        let mut block = [0; 64];
        block[..12].copy_from_slice(&self.tail);
        block[12..16].copy_from_slice(&nonce.to_le_bytes());
        block[16] = 0x80;
        block[62..].copy_from_slice(&640_u16.to_be_bytes());
        let mut state = self.midstate;
        compress256(&mut state, &[block]);
        let mut block = [0; 64];
        for (bytes, word) in block.as_chunks_mut::<4>().0.iter_mut().zip(state) {
            *bytes = word.to_be_bytes();
        }
        block[32] = 0x80;
        block[62..].copy_from_slice(&256_u16.to_be_bytes());
        let mut state = INITIAL;
        compress256(&mut state, &[block]);
        let mut hash = [0; 32];
        for (bytes, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(state) {
            *bytes = word.to_be_bytes();
        }
        hash
    }
}

const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Little-endian comparison: the hash as a number is at most the target.
fn meets(hash: &[u8; 32], target: &[u8; 32]) -> bool {
    hash.iter().rev().le(target.iter().rev())
}

/// The compact form's target, little-endian. The argument is as it stands in a job.
fn target_of_nbits(nbits: [u8; 4]) -> [u8; 32] {
    let mut target = [0; 32];
    let size = usize::from(nbits[0]);
    for (place, byte) in [(1, nbits[1]), (2, nbits[2]), (3, nbits[3])] {
        if let Some(at) = size.checked_sub(place)
            && at < 32
        {
            target[at] = byte;
        }
    }
    target
}

/// `0xffff * 2^208 / difficulty`, little-endian, to 48 bits.
fn target_of_difficulty(difficulty: f64) -> [u8; 32] {
    let mut number = 65535.0 * 2_f64.powi(208) / difficulty;
    let mut target = [0; 32];
    for at in (0..32).rev() {
        let unit = 2_f64.powi(8 * at as i32);
        let byte = (number / unit).floor().min(255.0);
        target[at] = byte as u8;
        number -= byte * unit;
    }
    target
}

pub fn sha256d(data: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(data)).into()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of hex digits; nothing where they are none.
pub fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map_while(digit).collect()
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    let n = bytes.len().min(N);
    array[..n].copy_from_slice(&bytes[..n]);
    array
}
