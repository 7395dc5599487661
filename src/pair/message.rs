//! What the boxes of a pair tell each other, as bytes.
//!
//! ```text
//! message:  kind u8 | body
//! block:    height u32 | unix u64 | reward u64 | worker's bytes u32 | worker | block
//! jobs:     file u64 | from u64 | uptime u64, ms | bytes; without uptime and bytes where they are wanted
//! others:   JSON
//! ```
//!
//! Numbers are little-endian. A message of an unknown kind is skipped, and so are unknown fields of a known
//! one, so that boxes of different versions work together.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::block::SolvedBlock;
use crate::chain::BlockHash;
use crate::framed::Fields;
use crate::hash;
use crate::stratum::v2::noise;

/// What is spoken. A box that speaks a higher one also speaks this.
pub const PROTOCOL: u32 = 1;

/// The longest message: a block of four million bytes, and what is told with it.
pub const MESSAGE_MAX: usize = 4_100_000;

/// The longest of another kind than a block.
const OTHER_MAX: usize = 256 * 1024;

/// Levels, or connections of miners, in a message.
pub const ENTRIES_MAX: usize = 1024;

/// Bytes of a text in a message.
const TEXT_MAX: usize = 256;

/// A box of a pair: random, made once, kept on its card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BoxId(pub u64);

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The first one, from both sides.
    Hello(Hello),
    /// A block that the sender solved. The receiver keeps it and submits it to its own nodes.
    Block(Box<SolvedBlock>),
    /// Such a block is on the receiver's card.
    Kept(BlockHash),
    /// How the sender is; it is also the sign that it lives.
    State(State),
    /// The difficulties of the sender's miners.
    Levels(Vec<Level>),
    /// The connections of the sender's miners with the address that moves; they replace those told before.
    Connections(Vec<Connection>),
    /// The sender's settings name another address now.
    Wanted(String),
    /// May blocks pay another address?
    Ask(Proposal),
    /// To an [`Message::Ask`] of this number: yes. The sender hands out no work until it hears what is
    /// decided.
    Yes(u64),
    /// To an [`Message::Ask`] of this number: no, or not now.
    No(u64),
    /// The sender's own [`Message::Ask`] of this number is withdrawn: nothing was decided.
    Withdraw(u64),
    /// Blocks pay another address from now on.
    Decided(Agreed),
    /// The key by which miners of Stratum V2 know the sender.
    Authority(Authority),
    /// The sender would have more of the receiver's file of jobs.
    JobsWanted(JobsWanted),
    /// In answer, as soon as there is more of it.
    JobsPart(JobsPart),
}

/// From where on a file of jobs is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobsWanted {
    /// The file, by its number; another one is told from its beginning.
    pub file: u64,
    /// Bytes of it that are there.
    pub from: u64,
}

/// A part of a file of jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobsPart {
    /// The file. It has another number when a new one is begun.
    pub file: u64,
    /// Bytes of it before these.
    pub from: u64,
    /// Milliseconds since the sender's system started: times in the file are counted from there.
    pub uptime_ms: u64,
    /// The part.
    pub bytes: Vec<u8>,
}

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// [`PROTOCOL`] of the sender.
    pub protocol: u32,
    /// Its version of Soloist.
    pub version: String,
    /// Which box it is.
    pub id: BoxId,
    /// Random, another one after each start.
    pub run: u64,
    /// What its owner calls it.
    pub name: String,
    /// The chain that its nodes are on, as [`crate::chain::Chain::name`]; empty while no node has told it.
    pub chain: String,
    /// The address that its settings name.
    pub wanted: String,
    /// What it knows as agreed.
    pub agreed: Option<Agreed>,
    /// It is writing down a decision that follows this agreement.
    pub deciding: bool,
}

impl Default for Hello {
    fn default() -> Hello {
        Hello {
            protocol: 0,
            version: String::new(),
            id: BoxId(0),
            run: 0,
            name: String::new(),
            chain: String::new(),
            wanted: String::new(),
            agreed: None,
            deciding: false,
        }
    }
}

/// Whom the blocks of both boxes pay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Agreed {
    /// Counts the agreements, from 1.
    pub number: u64,
    /// The address.
    pub address: String,
}

/// The question for another payout address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Proposal {
    /// Tells the questions of a connection apart.
    pub ask: u64,
    /// The agreement that it would be.
    pub agreed: Agreed,
}

/// How a box is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// It has work for miners.
    pub ready: bool,
    /// It has the address that moves.
    pub active: bool,
    /// What its owner calls it.
    pub name: String,
    /// The chain that its nodes are on; empty while no node has told it.
    pub chain: String,
    /// The height that it mines at.
    pub height: Option<u32>,
    /// Miners that are connected.
    pub miners: u32,
    /// Hashes per second.
    pub hashrate: f64,
    /// The difficulty of its best share of all.
    pub best: f64,
    /// The blocks that it has solved.
    pub blocks: u64,
    /// Solved blocks that no node shows yet.
    pub undecided: u32,
    /// The payout address that waits for its time, if one does.
    pub pending: Option<Pending>,
    /// Its clock, Unix seconds.
    pub unix: u64,
}

/// A change of the payout address that waits for its time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pending {
    /// The new address.
    pub address: String,
    /// When it is asked for, Unix seconds.
    pub due_at: u64,
}

/// At which difficulty a miner was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Level {
    /// Its user.
    pub worker: String,
    /// Its kind, as the ledger tells miners of one name apart.
    pub device: String,
    /// The difficulty.
    pub difficulty: f64,
    /// What it suggested itself.
    pub wish: Option<f64>,
}

/// The key of Stratum V2 that the boxes of a pair are to share: a miner that was told one box's key takes no
/// other from the address that moves.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Its secret.
    pub secret: [u8; 32],
    /// The sender's miners of Stratum V2.
    pub miners: u32,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("miners", &self.miners).finish_non_exhaustive()
    }
}

/// A miner's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Connection {
    /// The address that moves, and the port of this box.
    pub local: SocketAddr,
    /// The miner.
    pub remote: SocketAddr,
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// Longer than [`MESSAGE_MAX`], or than its kind may be.
    #[error("a message is too long")]
    TooLong,
    /// The fields of a known kind cannot be read.
    #[error("a message cannot be read")]
    Unreadable,
    /// A block whose bytes are none.
    #[error("a block is none")]
    NoBlock,
}

const HELLO: u8 = 1;
const BLOCK: u8 = 2;
const HAS_BLOCK: u8 = 3;
const STATE: u8 = 4;
const LEVELS: u8 = 5;
const CONNECTIONS: u8 = 6;
const ASK: u8 = 7;
const YES: u8 = 8;
const NO: u8 = 9;
const DECIDED: u8 = 10;
const WITHDRAW: u8 = 11;
const WANTED: u8 = 12;
const JOBS_WANTED: u8 = 13;
const JOBS_PART: u8 = 14;
const AUTHORITY: u8 = 15;

impl Message {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Message::Hello(hello) => json(HELLO, hello),
            Message::Block(block) => block_bytes(block),
            Message::Kept(hash) => json(HAS_BLOCK, &hash.to_string()),
            Message::State(state) => json(STATE, state),
            Message::Levels(levels) => json(LEVELS, levels),
            Message::Connections(list) => json(CONNECTIONS, list),
            Message::Ask(proposal) => json(ASK, proposal),
            Message::Yes(ask) => json(YES, ask),
            Message::No(ask) => json(NO, ask),
            Message::Decided(agreed) => json(DECIDED, agreed),
            Message::Withdraw(ask) => json(WITHDRAW, ask),
            Message::Wanted(address) => json(WANTED, address),
            Message::Authority(authority) => json(AUTHORITY, authority),
            Message::JobsWanted(JobsWanted { file, from }) => {
                [&[JOBS_WANTED][..], &file.to_le_bytes(), &from.to_le_bytes()].concat()
            }
            Message::JobsPart(JobsPart { file, from, uptime_ms, bytes }) => {
                let numbers = [file, from, uptime_ms].map(|number| number.to_le_bytes());
                [&[JOBS_PART][..], numbers.as_flattened(), bytes].concat()
            }
        }
    }

    /// Reads one; `None` for a kind of a later version.
    ///
    /// # Errors
    /// It is of a known kind and unreadable, or too long.
    pub fn decode(bytes: &[u8]) -> Result<Option<Message>, BadMessage> {
        let (kind, body) = bytes.split_first().ok_or(BadMessage::Unreadable)?;
        let most = if *kind == BLOCK { MESSAGE_MAX } else { OTHER_MAX };
        if bytes.len() > most {
            return Err(BadMessage::TooLong);
        }
        let message = match *kind {
            HELLO => Message::Hello(read(body)?),
            BLOCK => Message::Block(Box::new(read_block(body)?)),
            HAS_BLOCK => {
                let hash: String = read(body)?;
                Message::Kept(hash.parse().map_err(|_| BadMessage::Unreadable)?)
            }
            STATE => Message::State(read(body)?),
            LEVELS => Message::Levels(read(body)?),
            CONNECTIONS => Message::Connections(read(body)?),
            ASK => Message::Ask(read(body)?),
            YES => Message::Yes(read(body)?),
            NO => Message::No(read(body)?),
            DECIDED => Message::Decided(read(body)?),
            WITHDRAW => Message::Withdraw(read(body)?),
            WANTED => Message::Wanted(read(body)?),
            AUTHORITY => Message::Authority(read(body)?),
            JOBS_WANTED | JOBS_PART => read_jobs(*kind, body).ok_or(BadMessage::Unreadable)?,
            _ => return Ok(None),
        };
        message.check()?;
        Ok(Some(message))
    }

    /// Bounds that the form alone does not set.
    fn check(&self) -> Result<(), BadMessage> {
        let fits = |text: &str| text.len() <= TEXT_MAX && !text.chars().any(char::is_control);
        let is_number = |number: f64| number.is_finite() && number >= 0.0;
        let sound = match self {
            Message::Hello(hello) => {
                let agreed = hello.agreed.as_ref().map_or("", |agreed| &agreed.address);
                let texts = [&hello.version, &hello.name, &hello.chain, &hello.wanted];
                texts.into_iter().all(|text| fits(text)) && fits(agreed)
            }
            Message::State(state) => {
                let pending = state.pending.as_ref().map_or("", |pending| &pending.address);
                fits(&state.name)
                    && fits(&state.chain)
                    && fits(pending)
                    && [state.hashrate, state.best].into_iter().all(is_number)
            }
            Message::Levels(levels) => {
                let fits = |level: &Level| {
                    // A worker's name may have any characters; the ledger bounds it by itself.
                    level.worker.len() <= 4 * TEXT_MAX
                        && fits(&level.device)
                        && is_number(level.difficulty)
                        && level.wish.is_none_or(is_number)
                };
                levels.len() <= ENTRIES_MAX && levels.iter().all(fits)
            }
            Message::Connections(list) => list.len() <= ENTRIES_MAX,
            Message::Ask(Proposal { agreed, .. }) | Message::Decided(agreed) => {
                fits(&agreed.address)
            }
            Message::Wanted(address) => fits(address),
            Message::Authority(authority) => noise::is_secret(&authority.secret),
            Message::Block(_)
            | Message::JobsWanted(_)
            | Message::JobsPart(_)
            | Message::Kept(_)
            | Message::Yes(_)
            | Message::No(_)
            | Message::Withdraw(_) => true,
        };
        if sound { Ok(()) } else { Err(BadMessage::Unreadable) }
    }
}

fn json(kind: u8, body: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![kind];
    serde_json::to_writer(&mut bytes, body).expect("strings and numbers only");
    bytes
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, BadMessage> {
    serde_json::from_slice(body).map_err(|_| BadMessage::Unreadable)
}

fn read_jobs(kind: u8, body: &[u8]) -> Option<Message> {
    let mut fields = Fields(body);
    let (file, from) = (fields.long()?, fields.long()?);
    if kind == JOBS_WANTED {
        return Some(Message::JobsWanted(JobsWanted { file, from }));
    }
    let uptime_ms = fields.long()?;
    Some(Message::JobsPart(JobsPart { file, from, uptime_ms, bytes: fields.0.to_vec() }))
}

fn block_bytes(block: &SolvedBlock) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(block.bytes.len() + block.worker.len() + 32);
    bytes.push(BLOCK);
    bytes.extend_from_slice(&block.height.to_le_bytes());
    bytes.extend_from_slice(&block.unix.to_le_bytes());
    bytes.extend_from_slice(&block.reward.to_le_bytes());
    crate::framed::write_bytes(&mut bytes, block.worker.as_bytes());
    bytes.extend_from_slice(&block.bytes);
    bytes
}

/// The hash is not taken from the sender.
fn read_block(body: &[u8]) -> Result<SolvedBlock, BadMessage> {
    let mut fields = Fields(body);
    let mut head = || Some((fields.number()?, fields.long()?, fields.long()?, fields.bytes()?));
    let (height, unix, reward, worker) = head().ok_or(BadMessage::Unreadable)?;
    let bytes = fields.0.to_vec();
    let header: &[u8; 80] = bytes.first_chunk().ok_or(BadMessage::NoBlock)?;
    let hash = BlockHash(hash::sha256d(header));
    let worker = String::from_utf8_lossy(worker).into_owned();
    Ok(SolvedBlock { hash, height, unix, reward, worker, from_partner: true, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Message> {
        let agreed = Agreed { number: 7, address: "bc1q".to_owned() };
        let bytes = vec![7; 200];
        let header: &[u8; 80] = bytes.first_chunk().unwrap();
        let block = SolvedBlock {
            hash: BlockHash(hash::sha256d(header)),
            height: 900_123,
            unix: 1_700_000_000,
            reward: 312_500_000,
            worker: "garage".to_owned(),
            from_partner: true,
            bytes,
        };
        let connection = Connection {
            local: "192.168.1.240:3333".parse().unwrap(),
            remote: "[fd00::7]:50000".parse().unwrap(),
        };
        let pending = Some(Pending { address: "bc1p".to_owned(), due_at: 9 });
        vec![
            Message::Hello(Hello { agreed: Some(agreed.clone()), ..Hello::default() }),
            Message::Kept(block.hash),
            Message::Block(Box::new(block)),
            Message::State(State { ready: true, pending, hashrate: 1e12, ..State::default() }),
            Message::Levels(vec![Level { wish: Some(0.1), ..Level::default() }]),
            Message::Connections(vec![connection]),
            Message::Ask(Proposal { ask: 3, agreed: agreed.clone() }),
            Message::Yes(3),
            Message::No(4),
            Message::Withdraw(3),
            Message::Wanted("bc1q".to_owned()),
            Message::Decided(agreed),
            Message::Authority(Authority { secret: [5; 32], miners: 2 }),
            Message::JobsWanted(JobsWanted { file: 7, from: 1 << 40 }),
            Message::JobsPart(JobsPart { file: 7, from: 0, uptime_ms: 9, bytes: vec![1, 2, 3] }),
        ]
    }

    #[test]
    fn every_message_comes_back() {
        for message in all() {
            assert_eq!(Message::decode(&message.encode()), Ok(Some(message)));
        }
    }

    #[test]
    fn a_later_version_is_understood_as_far_as_it_goes() {
        assert_eq!(Message::decode(&[200, 1, 2, 3]), Ok(None));
        let more = [&[STATE][..], br#"{"ready":true,"colour":"red"}"#].concat();
        let state = State { ready: true, ..State::default() };
        assert_eq!(Message::decode(&more), Ok(Some(Message::State(state))));
        let hello = [&[HELLO][..], br#"{"protocol":2}"#].concat();
        assert!(matches!(Message::decode(&hello), Ok(Some(Message::Hello(_)))));
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let none = [&[][..], &[HELLO], &[BLOCK, 1], &[STATE, b'{'], &[YES, b'"', b'"']];
        for bytes in none {
            assert_eq!(Message::decode(bytes), Err(BadMessage::Unreadable), "{bytes:?}");
        }
        let long = [&[LEVELS][..], &vec![b' '; OTHER_MAX]].concat();
        assert_eq!(Message::decode(&long), Err(BadMessage::TooLong));
        let many = Message::Levels(vec![Level::default(); ENTRIES_MAX + 1]);
        assert_eq!(Message::decode(&many.encode()), Err(BadMessage::Unreadable));
        let long = "x".repeat(TEXT_MAX + 1);
        let named = Message::Hello(Hello { name: long, ..Hello::default() });
        assert_eq!(Message::decode(&named.encode()), Err(BadMessage::Unreadable));
        let no_key = Message::Authority(Authority { secret: [0; 32], miners: 1 });
        assert_eq!(Message::decode(&no_key.encode()), Err(BadMessage::Unreadable));
        let Message::Block(mut block) = all().remove(2) else { panic!("not the block") };
        block.bytes.truncate(79);
        assert_eq!(Message::decode(&Message::Block(block).encode()), Err(BadMessage::NoBlock));
    }

    /// A minute of two idle boxes: each tells its state every two seconds.
    #[test]
    fn an_idle_pair_says_little() {
        let state = State {
            name: "Soloist in the attic".to_owned(),
            chain: "main".to_owned(),
            height: Some(900_000),
            hashrate: 12.345e12,
            best: 1.234567e12,
            unix: 1_700_000_000,
            ..State::default()
        };
        let bytes = Message::State(state).encode().len();
        assert!(bytes < 400, "{bytes} bytes");
    }
}
