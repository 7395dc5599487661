//! Miners of Stratum V2 at the daemon's pool, below the encryption: what they hear is read by the reference
//! implementation's crates, and what they find are blocks.

use std::sync::Arc;
use std::time::Instant;

use common_messages_sv2::{MESSAGE_TYPE_SETUP_CONNECTION, Protocol, SetupConnection};
use mining_sv2::*;
use soloist::block::SolvedBlock;
use soloist::clock::Now;
use soloist::ids::{ConnId, Extranonce1, NodeId};
use soloist::job::Work;
use soloist::pool::{Input, Pool};
use soloist::stratum::outbox::{Outbox, Output};
use soloist::stratum::session::{Rules, SessionKey};
use soloist::stratum::v2::frame as wire;
use soloist::template::{Template, TxCache};

use crate::common::miner_v2::{Found, Frame, Goal, Heard, Message, REQUIRES_STANDARD_JOBS, frame};

/// A pool with a miner of each kind: on an extended channel, and on a standard one.
pub struct Miners {
    pool: Pool,
    started: Instant,
    cache: TxCache,
    heard: [Heard; 2],
    solved: Vec<Arc<SolvedBlock>>,
}

impl Miners {
    /// Both have their channels from the first template on.
    pub fn new() -> Miners {
        let rules = Rules {
            session_key: SessionKey([3; 32]),
            password: None,
            overrides: Vec::new(),
            payee_chains: Vec::new(),
        };
        Miners {
            pool: Pool::new(rules, 0x5000),
            started: Instant::now(),
            cache: TxCache::default(),
            heard: Default::default(),
            solved: Vec::new(),
        }
    }

    /// The miners work on this template from now on.
    pub fn work(&mut self, template: &str, payout: &[u8]) {
        let template = Template::parse(template.as_bytes(), &mut self.cache).expect("a template");
        let work =
            Work::new(Arc::new(template), NodeId(0), self.started, false, payout, "/soloist/");
        self.input(Input::Work(Box::new(work)));
        if self.heard.iter().all(Heard::mines) {
            return;
        }
        for (miner, flags) in [(0, 0), (1, REQUIRES_STANDARD_JOBS)] {
            let peer = [127, 0, 0, 1].into();
            let extranonce1 = Extranonce1([0xe5, 0, 0, miner as u8]);
            self.input(Input::Connect { conn: conn(miner), peer, extranonce1 });
            self.introduce(miner, flags);
        }
    }

    fn introduce(&mut self, miner: usize, flags: u32) {
        let text = |text: &'static str| text.try_into().expect("a short text");
        let setup = SetupConnection {
            protocol: Protocol::MiningProtocol,
            min_version: 2,
            max_version: 2,
            flags,
            endpoint_host: text("judge"),
            endpoint_port: 3333,
            vendor: text("bitaxe"),
            hardware_version: text("BM1370"),
            firmware: text(""),
            device_id: text(""),
        };
        self.say(miner, &frame(MESSAGE_TYPE_SETUP_CONNECTION, false, setup));
        let (request_id, user_identity, nominal_hash_rate) = (1, text("anna"), 1e12);
        let everything = [0xff; 32];
        let max_target = (&everything).into();
        let open = if flags == REQUIRES_STANDARD_JOBS {
            let open = OpenStandardMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
            };
            frame(MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL, false, open)
        } else {
            let open = OpenExtendedMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
                min_extranonce_size: 2,
            };
            frame(MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL, false, open)
        };
        self.say(miner, &open);
        self.input(Input::Tick);
        assert!(self.heard[miner].mines(), "an open channel has work");
    }

    /// A block by the miner with this number, 0 or 1: what it found, and what the daemon makes of it.
    pub fn solve(&mut self, miner: usize) -> (Found, Arc<SolvedBlock>) {
        // Its only channel.
        let found = self.heard[miner].find(1, Goal::Block);
        let sequence = self.heard[miner].channel_mut(1).next_sequence();
        self.say(miner, &found.frame(sequence));
        let block = self.solved.pop().expect("it is a block");
        assert!(self.solved.is_empty());
        (found, block)
    }

    fn now(&self) -> Now {
        Now { mono: self.started, unix: 0 }
    }

    fn say(&mut self, miner: usize, Frame { extension, kind, payload }: &Frame) {
        let mut out = Outbox::new();
        let frame = wire::Frame { extension: extension & 0x7fff, kind: *kind, payload };
        self.pool.frame(self.now(), conn(miner), &frame, &mut out);
        self.pool.answer(conn(miner), &mut out);
        self.hear(out);
    }

    fn input(&mut self, input: Input) {
        let mut out = Outbox::new();
        self.pool.handle(self.now(), input, &mut out);
        self.hear(out);
    }

    fn hear(&mut self, mut out: Outbox) {
        for output in out.take() {
            match output {
                Output::Block(block) => self.solved.push(block),
                Output::Send { conn, bytes } => {
                    let mut bytes = out.bytes(&bytes);
                    while let Some(wire::Frame { kind, payload, .. }) = wire::next(&mut bytes) {
                        // The marks of frames are tested elsewhere.
                        let for_a_channel = kind >= MESSAGE_TYPE_NEW_MINING_JOB;
                        let extension = if for_a_channel { 0x8000 } else { 0 };
                        let frame = Frame { extension, kind, payload: payload.to_vec() };
                        let message = Message::read(&frame).expect("a message");
                        self.heard[conn.0 as usize - 1].hear(&message);
                    }
                }
                Output::Close { why, .. } => panic!("a miner is sent away: {why:?}"),
                _ => {}
            }
        }
    }
}

fn conn(miner: usize) -> ConnId {
    ConnId(miner as u64 + 1)
}
