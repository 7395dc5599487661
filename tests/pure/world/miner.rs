//! A virtual miner: speaks Stratum, reads every line that it is sent and holds the pool to the
//! rules of the firmwares, and hashes for real.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;

use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{CompactTarget, Target};
use serde_json::{Value, json};
use soloist::chain::BlockHash;
use soloist::hash::Midstate;
use soloist::ids::ConnId;

use super::Micros;
use super::random::Random;

/// Unix time by the slowest and by the fastest of some clocks.
pub type Clock = RangeInclusive<u64>;

/// Which firmware's manners it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Says everything at once and rolls the version.
    Bitaxe,
    /// Waits for the answer to subscribe, five parameters, nonce without zeros before it, repeats
    /// its suggestion every 30 s.
    Nerd,
    /// Waits for each answer, and resumes its session.
    Avalon,
}

/// What the owner set.
pub struct Setup {
    pub kind: Kind,
    /// One way of a message, microseconds.
    pub distance: Micros,
    /// Mean time between its shares.
    pub share_every: Micros,
    pub password: &'static str,
}

pub struct Miner {
    pub name: String,
    pub setup: Setup,
    pub conn: Option<ConnId>,
    /// Counts its connections: what belonged to an old one is void.
    pub epoch: u32,
    /// Messages do not overtake each other.
    pub inbound: Micros,
    pub outbound: Micros,
    pub session: Option<String>,
    extranonce1: Vec<u8>,
    extranonce2_size: usize,
    extranonce2: u64,
    mask: u32,
    stage: Stage,
    difficulty: Option<f64>,
    announced: bool,
    pub job: Option<Held>,
    /// Before the one it works on: a slow miner still sends shares for it.
    jobs: HashSet<String>,
    /// Answers that are owed: the method, by id.
    owed: BTreeMap<u64, Owed>,
    next_id: u64,
    pub last_line: Micros,
    pub connected_at: Micros,
    pub accepted: u64,
    last_share: Option<(Value, Share)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Off,
    Configure,
    Subscribe,
    Authorize,
    Mining,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    Configure,
    Subscribe,
    Authorize,
    Suggest,
    Submit,
}

/// A job as the miner holds it.
#[derive(Clone, Debug)]
pub struct Held {
    id: String,
    pub prev: BlockHash,
    coinbase1: Vec<u8>,
    coinbase2: Vec<u8>,
    branch: Vec<[u8; 32]>,
    version: u32,
    bits: u32,
    pub ntime: u32,
    difficulty: f64,
}

/// A share as the miner knows it.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    pub hash: BlockHash,
    pub prev: BlockHash,
    pub solves: bool,
    /// Sent before.
    pub repeated: bool,
}

/// What came of a line.
#[derive(Debug, Default)]
pub struct Heard {
    /// Lines to be sent in answer.
    pub say: Vec<Value>,
    /// There is a new job.
    pub job: bool,
}

impl Miner {
    pub fn new(index: usize, setup: Setup) -> Miner {
        Miner {
            name: format!("miner{index}"),
            setup,
            conn: None,
            epoch: 0,
            inbound: 0,
            outbound: 0,
            session: None,
            extranonce1: Vec::new(),
            extranonce2_size: 0,
            extranonce2: 0,
            mask: 0,
            stage: Stage::Off,
            difficulty: None,
            announced: false,
            job: None,
            jobs: HashSet::new(),
            owed: BTreeMap::new(),
            next_id: 1,
            last_line: 0,
            connected_at: 0,
            accepted: 0,
            last_share: None,
        }
    }

    /// The connection stands; what it says first.
    pub fn connected(&mut self, now: Micros, conn: ConnId) -> Vec<Value> {
        self.epoch += 1;
        self.conn = Some(conn);
        (self.inbound, self.outbound) = (now, now);
        (self.last_line, self.connected_at) = (now, now);
        self.owed.clear();
        (self.difficulty, self.announced, self.job, self.last_share) = (None, false, None, None);
        match self.setup.kind {
            Kind::Bitaxe => {
                self.stage = Stage::Authorize;
                vec![self.configure(), self.subscribe(), self.authorize()]
            }
            Kind::Nerd => {
                self.stage = Stage::Subscribe;
                vec![self.subscribe()]
            }
            Kind::Avalon => {
                self.stage = Stage::Configure;
                vec![self.configure()]
            }
        }
    }

    /// The connection is gone.
    pub fn lost(&mut self) {
        self.epoch += 1;
        self.conn = None;
        self.job = None;
        self.stage = Stage::Off;
    }

    /// The pool was restarted: its job ids begin anew.
    pub fn forget_ids(&mut self) {
        self.jobs.clear();
    }

    pub fn suggest(&mut self) -> Value {
        self.request(Owed::Suggest, "mining.suggest_difficulty", json!([0.00015]))
    }

    fn configure(&mut self) -> Value {
        let params = json!([["version-rolling"], {"version-rolling.mask": "ffffffff"}]);
        self.request(Owed::Configure, "mining.configure", params)
    }

    fn subscribe(&mut self) -> Value {
        let agent = match self.setup.kind {
            Kind::Bitaxe => "bitaxe/BM1370/v2.13.1",
            Kind::Nerd => "NerdMinerV2/V1.8.3",
            Kind::Avalon => "cgminer/4.11.1",
        };
        let params = match (&self.session, self.setup.kind) {
            (Some(session), Kind::Avalon) => json!([agent, session]),
            _ => json!([agent]),
        };
        self.request(Owed::Subscribe, "mining.subscribe", params)
    }

    fn authorize(&mut self) -> Value {
        let params = json!([self.name, self.setup.password]);
        self.request(Owed::Authorize, "mining.authorize", params)
    }

    fn request(&mut self, what: Owed, method: &str, params: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        self.owed.insert(id, what);
        json!({"id": id, "method": method, "params": params})
    }

    // -- listening --

    /// Reads a burst of whole lines, as they came in one piece. `clock` is the Unix time by the clocks
    /// that the work may have been made by, from the slowest to the fastest.
    pub fn hear(&mut self, now: Micros, clock: Clock, bytes: &[u8]) -> Result<Heard, String> {
        let mut heard = Heard::default();
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        if !text.ends_with('\n') {
            return Err(format!("half a line: {text}"));
        }
        for line in text.lines() {
            self.last_line = now;
            self.line(&clock, line, &mut heard).map_err(|why| format!("{why}: {line}"))?;
        }
        if self.announced {
            return Err("a set_difficulty without its notify".into());
        }
        Ok(heard)
    }

    fn line(&mut self, clock: &Clock, line: &str, heard: &mut Heard) -> Result<(), String> {
        if line.len() > 3000 {
            return Err("a line that NerdMiner cannot read".into());
        }
        let message: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        match message["method"].as_str() {
            Some("mining.notify") => {
                self.notify(clock, &message["params"])?;
                heard.job = true;
                Ok(())
            }
            Some("mining.set_difficulty") => self.set_difficulty(&message["params"]),
            // AxeOS and cgminer print it; others would count it as an error.
            Some("client.show_message") if self.setup.kind != Kind::Nerd => {
                if self.announced {
                    return Err("a message between set_difficulty and notify".into());
                }
                let text = message["params"][0].as_str().ok_or("a message without words")?;
                (1..=200).contains(&text.len()).then_some(()).ok_or("too short or too long".into())
            }
            Some(_) => Err("an unknown call".into()),
            None => self.answer(&message, heard),
        }
    }

    fn answer(&mut self, message: &Value, heard: &mut Heard) -> Result<(), String> {
        if self.announced {
            return Err("an answer between set_difficulty and notify".into());
        }
        let id = message["id"].as_u64().ok_or("an id that was never sent")?;
        let owed = self.owed.remove(&id).ok_or("an answer to nothing")?;
        let result = &message["result"];
        if owed != Owed::Submit && !message["error"].is_null() {
            return Err("refused".into());
        }
        match owed {
            Owed::Configure => {
                let mask = result["version-rolling.mask"].as_str().unwrap_or_default();
                self.mask = u32::from_str_radix(mask, 16).map_err(|error| error.to_string())?;
                if self.stage == Stage::Configure {
                    self.stage = Stage::Subscribe;
                    let subscribe = self.subscribe();
                    heard.say.push(subscribe);
                }
            }
            Owed::Subscribe => self.subscribed(result, heard)?,
            Owed::Authorize if result == &Value::Bool(true) => {
                self.stage = Stage::Mining;
                if self.setup.kind == Kind::Nerd && self.setup.password == "x" {
                    let suggest = self.suggest();
                    heard.say.push(suggest);
                }
            }
            Owed::Authorize => return Err("not authorized".into()),
            Owed::Suggest => {}
            Owed::Submit => {
                let fine = result == &Value::Bool(true) && message["error"].is_null();
                let refused = result.is_null() && message["error"][0].is_i64();
                if !fine && !refused {
                    return Err("neither accepted nor refused".into());
                }
                self.accepted += u64::from(fine);
            }
        }
        Ok(())
    }

    fn subscribed(&mut self, result: &Value, heard: &mut Heard) -> Result<(), String> {
        let session = result[0][0][1].as_str().ok_or("no session")?.to_owned();
        let extranonce1 = bytes(&result[1])?;
        let same = self.extranonce1 == extranonce1;
        if self.setup.kind == Kind::Avalon && self.session.is_some() && !same {
            return Err("the session was not resumed".into());
        }
        self.session = Some(session);
        self.extranonce1 = extranonce1;
        self.extranonce2_size = result[2].as_u64().ok_or("no size")? as usize;
        if self.stage == Stage::Subscribe {
            self.stage = Stage::Authorize;
            let authorize = self.authorize();
            heard.say.push(authorize);
        }
        Ok(())
    }

    fn set_difficulty(&mut self, params: &Value) -> Result<(), String> {
        if std::mem::replace(&mut self.announced, true) {
            return Err("two set_difficulty before a notify".into());
        }
        let difficulty = params[0].as_f64().filter(|d| *d > 0.0).ok_or("no difficulty")?;
        self.difficulty = Some(difficulty);
        Ok(())
    }

    fn notify(&mut self, clock: &Clock, params: &Value) -> Result<(), String> {
        if self.stage != Stage::Mining {
            return Err("a job before the answers".into());
        }
        let text = |n: usize| params[n].as_str().ok_or("not a string");
        let word = |n: usize| -> Result<u32, String> {
            u32::from_str_radix(text(n)?, 16).map_err(|error| error.to_string())
        };
        let difficulty = self.difficulty.ok_or("a job without a difficulty")?;
        let mut prev: [u8; 32] =
            bytes(&params[1])?.try_into().map_err(|_| "a hash of another size")?;
        prev.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        let branch = params[4].as_array().ok_or("no branch")?;
        let branch: Result<Vec<[u8; 32]>, String> = branch
            .iter()
            .map(|hash| bytes(hash)?.try_into().map_err(|_| "a hash of another size".into()))
            .collect();
        let job = Held {
            id: text(0)?.to_owned(),
            prev: BlockHash(prev),
            coinbase1: bytes(&params[2])?,
            coinbase2: bytes(&params[3])?,
            branch: branch?,
            version: word(5)?,
            bits: word(6)?,
            ntime: word(7)?,
            difficulty,
        };
        let clean = params[8].as_bool().ok_or("clean_jobs is no bool")?;
        if !self.jobs.insert(job.id.clone()) {
            return Err("a job id twice".into());
        }
        if self.announced && !clean {
            return Err("a new difficulty without a clean job".into());
        }
        if let Some(before) = &self.job {
            if before.prev != job.prev && !clean {
                return Err("a new tip without a clean job".into());
            }
            // Time goes back where another clock tells it, and only there.
            let is_one_clock = clock.start() == clock.end();
            if before.prev == job.prev && job.ntime <= before.ntime && is_one_clock {
                return Err(format!("ntime does not move on from {:08x}", before.ntime));
            }
        }
        let ntime = u64::from(job.ntime);
        if !(clock.start() - 30..=clock.end() + 100).contains(&ntime) {
            return Err(format!("ntime is {ntime}, by clocks that show {clock:?}"));
        }
        let size = job.coinbase1.len()
            + job.coinbase2.len()
            + self.extranonce1.len()
            + self.extranonce2_size;
        if size > 245 {
            return Err("a coinbase that NerdMiner cannot read".into());
        }
        self.announced = false;
        self.job = Some(job);
        Ok(())
    }

    // -- hashing --

    /// The next share of the job at hand, if there is one: the line, and what the miner knows of
    /// it. With `hard` it looks for a share as a real miner does, else for a block.
    pub fn share(&mut self, random: &mut Random, hard: bool) -> Option<(Value, Share)> {
        let job = self.job.clone()?;
        self.extranonce2 += 1;
        let extranonce2 = &self.extranonce2.to_be_bytes()[8 - self.extranonce2_size..];
        let coinbase =
            [&job.coinbase1, &self.extranonce1[..], extranonce2, &job.coinbase2].concat();
        let mut root = sha256d::Hash::hash(&coinbase).to_byte_array();
        for neighbour in &job.branch {
            root = sha256d::Hash::hash(&[root, *neighbour].concat()).to_byte_array();
        }
        let rolled = random.next() as u32 & self.mask;
        let ntime = job.ntime + if random.one_in(3) { random.below(20) as u32 } else { 0 };
        let mut header = [0; 80];
        header[..4].copy_from_slice(&(job.version | rolled).to_le_bytes());
        header[4..36].copy_from_slice(&job.prev.0);
        header[36..68].copy_from_slice(&root);
        header[68..72].copy_from_slice(&ntime.to_le_bytes());
        header[72..76].copy_from_slice(&job.bits.to_le_bytes());
        let network = Target::from_compact(CompactTarget::from_consensus(job.bits));
        let nonce = if hard {
            search(&header, job.difficulty)?
        } else {
            let first = random.next() as u32;
            (0..).map(|n| first.wrapping_add(n)).find(|nonce| {
                header[76..].copy_from_slice(&nonce.to_le_bytes());
                met(&network, &header)
            })?
        };
        header[76..].copy_from_slice(&nonce.to_le_bytes());
        let hash = BlockHash(sha256d::Hash::hash(&header).to_byte_array());
        let share = Share { hash, prev: job.prev, solves: met(&network, &header), repeated: false };
        let extranonce2 = faster_hex::hex_string(extranonce2);
        let ntime = format!("{ntime:08x}");
        let params = match self.setup.kind {
            Kind::Nerd => json!([self.name, job.id, extranonce2, ntime, format!("{nonce:x}")]),
            Kind::Bitaxe | Kind::Avalon => {
                let (nonce, rolled) = (format!("{nonce:08x}"), format!("{rolled:08x}"));
                json!([self.name, job.id, extranonce2, ntime, nonce, rolled])
            }
        };
        self.last_share = Some((params.clone(), Share { repeated: true, ..share }));
        Some((self.request(Owed::Submit, "mining.submit", params), share))
    }

    /// The last share once more, as some firmwares do.
    pub fn repeat(&mut self) -> Option<(Value, Share)> {
        let (params, share) = self.last_share.clone()?;
        Some((self.request(Owed::Submit, "mining.submit", params), share))
    }
}

fn met(target: &Target, header: &[u8; 80]) -> bool {
    let hash = sha256d::Hash::hash(header).to_byte_array();
    *target >= Target::from_le_bytes(hash)
}

/// The first nonce whose hash reaches the difficulty, with a little to spare.
fn search(header: &[u8; 80], difficulty: f64) -> Option<u32> {
    let top_word = (65535.0 / difficulty / 65536.0).floor() as u32 - 1;
    let tail = header[64..76].try_into().expect("twelve bytes");
    let midstate = Midstate::of_header(header);
    soloist::hash::header_hashes(&midstate, &tail, 0..=u32::MAX, top_word).map(|hit| hit.nonce)
}

fn bytes(hex: &Value) -> Result<Vec<u8>, String> {
    let hex = hex.as_str().ok_or("not a string")?;
    let mut bytes = vec![0; hex.len() / 2];
    faster_hex::hex_decode(hex.as_bytes(), &mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}
