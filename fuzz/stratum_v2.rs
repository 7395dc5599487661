//! Stratum V2 from a hostile miner: its decrypted side as a script of frames and of time, and its raw side
//! as the first bytes of a connection, whoever sends them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use soloist::clock::Now;
use soloist::ids::{ConnId, Extranonce1, NodeId};
use soloist::job::Work;
use soloist::pool::{Input, Pool};
use soloist::stratum::opening::{ENOUGH, Opening, recognise};
use soloist::stratum::outbox::{Outbox, Output};
use soloist::stratum::session::{Rules, SessionKey};
use soloist::stratum::v2::connection::MAX_CHANNELS;
use soloist::stratum::v2::frame::{self, Frame, MAX_PAYLOAD, Opener};
use soloist::stratum::v2::message::kind;
use soloist::stratum::v2::noise::{ACT_1, Identity};
use soloist::template::{Template, TxCache};

const TEMPLATE: &[u8] = include_bytes!("seeds/template/core-five.json");
const CONN: ConnId = ConnId(1);

/// A pool that hears frames.
struct House {
    pool: Pool,
    start: Instant,
    passed: Duration,
    /// Whether a channel was opened.
    opened: bool,
}

impl House {
    fn new() -> House {
        let rules = Rules {
            session_key: SessionKey([1; 32]),
            password: None,
            overrides: Vec::new(),
            payee_chains: vec![soloist::chain::Chain::Regtest],
        };
        let pool = Pool::new(rules, 1);
        let mut house =
            House { pool, start: Instant::now(), passed: Duration::ZERO, opened: false };
        let template = Template::parse(TEMPLATE, &mut TxCache::default()).expect("a good one");
        let at = house.start;
        let work = Work::new(Arc::new(template), NodeId(0), at, false, &[0x51; 34], "/x/");
        house.input(Input::Work(Box::new(work)));
        let peer = [192, 168, 1, 7].into();
        house.input(Input::Connect { conn: CONN, peer, extranonce1: Extranonce1([1; 4]) });
        house
    }

    fn now(&self) -> Now {
        Now { mono: self.start + self.passed, unix: 1_700_000_000 + self.passed.as_secs() }
    }

    fn input(&mut self, input: Input) {
        let mut out = Outbox::new();
        self.pool.handle(self.now(), input, &mut out);
        self.look(out);
    }

    fn frame(&mut self, frame: &Frame<'_>) {
        let mut out = Outbox::new();
        self.pool.frame(self.now(), CONN, frame, &mut out);
        self.pool.answer(CONN, &mut out);
        self.look(out);
    }

    /// All that is sent are whole frames, of kinds that a pool may send.
    fn look(&mut self, mut out: Outbox) {
        let mut left = Vec::new();
        for output in out.take() {
            match output {
                Output::Send { conn, bytes } => {
                    assert_eq!(conn, CONN);
                    let mut frames = out.bytes(&bytes);
                    while let Some(frame) = frame::next(&mut frames) {
                        self.opened |= frame.kind == kind::OPEN_STANDARD_MINING_CHANNEL_SUCCESS
                            || frame.kind == kind::OPEN_EXTENDED_MINING_CHANNEL_SUCCESS;
                        assert!(frame.payload.len() <= 2048, "NerdQAxe+ takes no more");
                    }
                    assert!(frames.is_empty());
                }
                Output::Left { conn } => left.push(conn),
                _ => {}
            }
        }
        left.into_iter().for_each(|conn| self.input(Input::Left { conn }));
        assert!(self.pool.sessions().count() <= usize::from(MAX_CHANNELS));
    }
}

/// Frames, one after the other; a frame of the type 0xff lets time pass. Whether a channel was opened.
pub fn frames(mut data: &[u8]) -> bool {
    let mut house = House::new();
    let mut sent = 0;
    while let Some(frame) = frame::next(&mut data).filter(|_| sent < 500) {
        sent += 1;
        match frame.kind {
            0xff => {
                house.passed += Duration::from_millis(50 * frame.payload.len() as u64);
                house.input(Input::Tick);
            }
            _ => house.frame(&frame),
        }
        if house.pool.next_deadline().is_some_and(|at| at <= house.now().mono) {
            house.input(Input::Tick);
        }
    }
    house.input(Input::Closed { conn: CONN });
    assert_eq!(house.pool.sessions().count(), 0);
    house.opened
}

/// The first bytes of a connection. Whether they are those of Stratum V2.
pub fn raw(data: &[u8]) -> bool {
    for end in 0..data.len().min(2 * ENOUGH) {
        let told = recognise(&data[..end]);
        assert!(end < ENOUGH || told.is_some(), "{end} bytes are enough");
        assert!(end > 0 || told.is_none());
    }
    let Some((act_1, rest)) = data.split_first_chunk::<ACT_1>() else { return false };
    let identity = Identity::new(&[1; 32], &[2; 32]).expect("keys");
    let (_, mut transport) = identity.respond(act_1, &[3; 32]).expect("a key");
    // Who does not know the keys gets nothing through, however he cuts it.
    let (mut opener, mut plain) = (Opener::default(), Vec::new());
    for chunk in rest.chunks(7) {
        if opener.take(&mut transport, chunk, &mut plain).is_err() {
            break;
        }
        assert!(opener.memory() <= 4 * MAX_PAYLOAD);
    }
    assert!(plain.is_empty());
    recognise(data) == Some(Opening::V2)
}
