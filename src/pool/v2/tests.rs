//! Stratum V2 in the pool, frame by frame, as a miner sees it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::difficulty::{Difficulty, Target};
use crate::hash::{self, Midstate};
use crate::job::tests::work;
use crate::pool::*;
use crate::stratum::firmware::Override;
use crate::stratum::session::SessionKey;
use crate::stratum::v2::message::kind;
use crate::stratum::v2::{frame, message};
use crate::vardiff;

const CONN: ConnId = ConnId(7);

/// A pool with miners at their frames.
struct House {
    pool: Pool,
    start: Instant,
    passed: Duration,
    /// What was noted, in order.
    noted: Vec<String>,
    heard: VecDeque<(u8, Vec<u8>)>,
}

impl House {
    fn new() -> House {
        House::with_password(None)
    }

    fn with_password(password: Option<&str>) -> House {
        let rules = Rules {
            session_key: SessionKey([1; 32]),
            password: password.map(str::to_owned),
            // Shares are found in no time.
            overrides: vec![Override {
                prefix: "nerdminer".into(),
                start_difficulty: Some(vardiff::FLOOR),
                ..Override::default()
            }],
            payee_chains: Vec::new(),
        };
        let mut house = House {
            pool: Pool::new(rules, 100),
            start: Instant::now(),
            passed: Duration::ZERO,
            noted: Vec::new(),
            heard: VecDeque::new(),
        };
        house.input(Input::Work(Box::new(work(1, house.start))));
        house.connect(CONN);
        house
    }

    fn now(&self) -> Now {
        Now { mono: self.start + self.passed, unix: 1_700_000_000 + self.passed.as_secs() }
    }

    fn connect(&mut self, conn: ConnId) {
        let peer = "192.168.1.7".parse().unwrap();
        self.input(Input::Connect { conn, peer, extranonce1: Extranonce1([9, 8, 7, 6]) });
    }

    fn input(&mut self, input: Input) {
        let mut out = Outbox::new();
        self.pool.handle(self.now(), input, &mut out);
        self.hear(out);
    }

    /// A miner's frames that come together.
    fn send(&mut self, messages: &[(u8, Vec<u8>)]) {
        let mut out = Outbox::new();
        for (kind, payload) in messages {
            let frame = frame::Frame { extension: 0, kind: *kind, payload };
            self.pool.frame(self.now(), CONN, &frame, &mut out);
        }
        self.pool.answer(CONN, &mut out);
        self.hear(out);
        // What is due at once: a job after an open channel.
        if self.pool.next_deadline().is_some_and(|at| at <= self.now().mono) {
            self.input(Input::Tick);
        }
    }

    fn hear(&mut self, mut out: Outbox) {
        for output in out.take() {
            match output {
                Output::Send { bytes, .. } => {
                    let mut frames = out.bytes(&bytes);
                    while let Some(frame) = frame::next(&mut frames) {
                        self.heard.push_back((frame.kind, frame.payload.to_vec()));
                    }
                    assert!(frames.is_empty());
                }
                Output::Block(block) => self.noted.push(format!("block of {}", block.worker)),
                Output::Close { conn, why } => self.noted.push(format!("close {} {why:?}", conn.0)),
                Output::Left { conn } => self.noted.push(format!("left {}", conn.channel())),
                Output::Authorized { conn } => {
                    let name = self.pool.session(conn).unwrap().worker().unwrap().to_owned();
                    self.noted.push(format!("{} is {name}", conn.channel()));
                }
                Output::Share { conn, credited, .. } => {
                    self.noted.push(format!("share {} {}", conn.channel(), credited.0));
                }
                Output::Rejected { why, .. } => {
                    self.noted.push(format!("rejected: {}", why.text()))
                }
            }
        }
    }

    /// The kinds of what was sent since the last call.
    fn kinds(&mut self) -> Vec<u8> {
        self.heard.drain(..).map(|(kind, _)| kind).collect()
    }

    /// The next message, which has to be of this kind.
    fn next(&mut self, kind: u8) -> Vec<u8> {
        let (found, payload) = self.heard.pop_front().unwrap_or_else(|| panic!("no {kind:#x}"));
        assert_eq!(found, kind, "{found:#x} instead of {kind:#x}");
        payload
    }

    /// The miner closes a channel.
    fn close(&mut self, channel: u32) {
        let mut close = channel.to_le_bytes().to_vec();
        text(&mut close, "gone");
        self.send(&[(kind::CLOSE_CHANNEL, close)]);
        let number = channel as u16 - 1;
        assert_eq!(self.noted.last().unwrap(), &format!("left {number}"));
        self.input(Input::Left { conn: CONN.with_channel(number) });
    }

    /// Nothing is opened any more.
    fn stays_closed(&mut self) {
        self.noted.clear();
        for name in ["attic,secret", "attic"] {
            self.send(&[setup(0), open(true, name)]);
        }
        assert!(self.heard.is_empty() && self.noted.is_empty(), "{:?}", self.noted);
    }

    /// An open channel, with what it was told.
    fn open(&mut self, standard: bool, name: &str) -> Channel {
        if self.pool.v2.is_empty() {
            self.send(&[setup(0)]);
            assert_eq!(self.next(kind::SETUP_CONNECTION_SUCCESS), [2, 0, 0, 0, 0, 0]);
        }
        self.send(&[open(standard, name)]);
        let success = self.next(match standard {
            true => kind::OPEN_STANDARD_MINING_CHANNEL_SUCCESS,
            false => kind::OPEN_EXTENDED_MINING_CHANNEL_SUCCESS,
        });
        assert_eq!(number(&success, 0), 77, "the request");
        let target = Target::from_le_bytes(success[8..40].first_chunk().unwrap());
        let (size, at) = if standard { (0, 40) } else { (usize::from(success[40]), 42) };
        let prefix = success[at + 1..at + 1 + usize::from(success[at])].to_vec();
        assert_eq!(prefix.len() + size, 12);
        let mut channel = Channel {
            number: number(&success, 4),
            standard,
            target,
            prefix,
            prev: [0; 32],
            bits: 0,
            job: Job::default(),
            sequence: 0,
        };
        channel.take(self);
        channel
    }
}

/// What a miner knows of its channel.
struct Channel {
    number: u32,
    standard: bool,
    target: Target,
    prefix: Vec<u8>,
    prev: [u8; 32],
    bits: u32,
    job: Job,
    sequence: u32,
}

#[derive(Clone, Default)]
struct Job {
    id: u32,
    ntime: u32,
    version: u32,
    /// The merkle root, or what it is made of.
    root: Vec<u8>,
}

impl Channel {
    /// Reads its next job, with what stands before and after it.
    fn take(&mut self, house: &mut House) {
        if house.heard.front().is_some_and(|(kind, _)| *kind == kind::SET_TARGET) {
            let target = house.next(kind::SET_TARGET);
            assert_eq!(number(&target, 0), self.number);
            self.target = Target::from_le_bytes(target[4..36].first_chunk().unwrap());
        }
        let job = house.next(match self.standard {
            true => kind::NEW_MINING_JOB,
            false => kind::NEW_EXTENDED_MINING_JOB,
        });
        assert_eq!(number(&job, 0), self.number);
        let (ntime, rest) = match job[8] {
            0 => (0, &job[9..]),
            _ => (number(&job, 9), &job[13..]),
        };
        self.job =
            Job { id: number(&job, 4), ntime, version: number(rest, 0), root: rest[4..].to_vec() };
        if ntime == 0 {
            let prev = house.next(kind::SET_NEW_PREV_HASH);
            assert_eq!((number(&prev, 0), number(&prev, 4)), (self.number, self.job.id));
            self.prev = *prev[8..40].first_chunk().unwrap();
            (self.job.ntime, self.bits) = (number(&prev, 40), number(&prev, 44));
        }
    }

    /// A share: the first nonce that reaches the target, or that does not.
    fn share(&mut self, version: u32, reaches: bool) -> (u8, Vec<u8>) {
        let extranonce = [self.sequence as u8; 8];
        let root = match self.standard {
            true => *self.job.root.first_chunk::<32>().unwrap(),
            false => {
                let (branch, rest) =
                    self.job.root[2..].split_at(32 * usize::from(self.job.root[1]));
                let (first, second) =
                    rest[2..].split_at(usize::from(rest[0]) + 256 * usize::from(rest[1]));
                let coinbase = [first, &self.prefix, &extranonce, &second[2..]].concat();
                hash::branch_root(&hash::sha256d(&coinbase), branch.as_chunks::<32>().0)
            }
        };
        let mut header = [0; 80];
        header[..4].copy_from_slice(&version.to_le_bytes());
        header[4..36].copy_from_slice(&self.prev);
        header[36..68].copy_from_slice(&root);
        header[68..72].copy_from_slice(&self.job.ntime.to_le_bytes());
        header[72..76].copy_from_slice(&self.bits.to_le_bytes());
        let nonce = self.search(&mut header, reaches);
        self.sequence += 1;
        let numbers = [self.number, self.sequence, self.job.id, nonce, self.job.ntime, version];
        let mut payload: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        if self.standard {
            return (kind::SUBMIT_SHARES_STANDARD, payload);
        }
        payload.push(8);
        payload.extend_from_slice(&extranonce);
        (kind::SUBMIT_SHARES_EXTENDED, payload)
    }

    /// Another nonce for each share.
    fn search(&self, header: &mut [u8; 80], reaches: bool) -> u32 {
        let (midstate, from) = (Midstate::of_header(header), self.sequence << 24);
        if !reaches {
            return from;
        }
        let mut from = from;
        loop {
            let tail = header[64..76].first_chunk().unwrap();
            let hit =
                hash::header_hashes(&midstate, tail, from..=u32::MAX, u32::MAX >> 12).unwrap();
            if self.target.is_met_by(&crate::chain::BlockHash(hit.hash)) {
                return hit.nonce;
            }
            from = hit.nonce + 1;
        }
    }

    fn good(&mut self) -> (u8, Vec<u8>) {
        self.share(self.job.version, true)
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().unwrap())
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

fn setup(flags: u32) -> (u8, Vec<u8>) {
    let mut payload = vec![0, 2, 0, 2, 0];
    payload.extend_from_slice(&flags.to_le_bytes());
    text(&mut payload, "192.168.1.2");
    payload.extend_from_slice(&3333u16.to_le_bytes());
    ["nerdminer", "ESP32", "", ""].iter().for_each(|part| text(&mut payload, part));
    (kind::SETUP_CONNECTION, payload)
}

fn open(standard: bool, name: &str) -> (u8, Vec<u8>) {
    let mut payload = 77u32.to_le_bytes().to_vec();
    text(&mut payload, name);
    payload.extend_from_slice(&1e12f32.to_le_bytes());
    payload.extend_from_slice(&[0xff; 32]);
    if standard {
        return (kind::OPEN_STANDARD_MINING_CHANNEL, payload);
    }
    payload.extend_from_slice(&2u16.to_le_bytes());
    (kind::OPEN_EXTENDED_MINING_CHANNEL, payload)
}

/// The code at the end of an error.
fn code(payload: &[u8], at: usize) -> &str {
    std::str::from_utf8(&payload[at + 1..]).unwrap()
}

#[test]
fn both_kinds_of_channels_mine_with_rolled_bits() {
    for standard in [true, false] {
        let mut house = House::new();
        let mut channel = house.open(standard, "attic");
        assert_eq!(house.noted, ["0 is attic"]);
        assert_ne!(channel.prev, [0; 32]);
        let rolled = channel.job.version | 0x0aaa_a000;
        let shares = [channel.good(), channel.share(rolled, true)];
        house.send(&shares);
        let success = house.next(kind::SUBMIT_SHARES_SUCCESS);
        assert_eq!([number(&success, 0), number(&success, 4), number(&success, 8)], [1, 2, 2]);
        assert!(house.kinds().is_empty());
        assert_eq!(house.noted.iter().filter(|note| note.starts_with("share 0")).count(), 2);
    }
}

#[test]
fn a_refused_share_is_told_why_and_after_those_before_it() {
    for standard in [true, false] {
        let mut house = House::new();
        let mut channel = house.open(standard, "attic");
        let first = channel.good();
        let easy = channel.share(channel.job.version, false);
        let outside = channel.share(channel.job.version ^ 0x8000_0000, true);
        let second = channel.good();
        house.send(&[first.clone(), easy, first, outside, second]);
        let success = house.next(kind::SUBMIT_SHARES_SUCCESS);
        assert_eq!((number(&success, 4), number(&success, 8)), (1, 1));
        for (sequence, why) in [
            (2, "difficulty-too-low"),
            (1, "duplicate-share"),
            (3, "invalid-non-rollable-version-bit"),
        ] {
            let error = house.next(kind::SUBMIT_SHARES_ERROR);
            assert_eq!((number(&error, 4), code(&error, 8)), (sequence, why));
        }
        let success = house.next(kind::SUBMIT_SHARES_SUCCESS);
        assert_eq!((number(&success, 4), number(&success, 8)), (4, 1));
        channel.job.id += 1000;
        let unknown = channel.good();
        let (kind, mut elsewhere) = channel.good();
        elsewhere[0] = 9;
        house.send(&[unknown, (kind, elsewhere)]);
        for why in ["invalid-job-id", "invalid-channel-id"] {
            let error = house.next(kind::SUBMIT_SHARES_ERROR);
            assert_eq!(code(&error, 8), why);
        }
    }
}

#[test]
fn an_extranonce_of_another_size_is_refused() {
    let mut house = House::new();
    let mut extended = house.open(false, "attic");
    let (kind, mut payload) = extended.good();
    payload[24] = 7;
    house.send(&[(kind, payload.clone())]);
    assert_eq!(code(&house.next(kind::SUBMIT_SHARES_ERROR), 8), "bad-extranonce-size");
    // The shares of the other kind of channel.
    house.send(&[(kind::SUBMIT_SHARES_STANDARD, payload)]);
    assert_eq!(code(&house.next(kind::SUBMIT_SHARES_ERROR), 8), "bad-extranonce-size");
}

#[test]
fn a_new_tip_is_announced_and_then_begun_and_a_refresh_is_begun_as_it_comes() {
    for standard in [true, false] {
        let mut house = House::new();
        let mut channel = house.open(standard, "attic");
        let (old, before) = (channel.good(), channel.prev);
        let job = if standard { kind::NEW_MINING_JOB } else { kind::NEW_EXTENDED_MINING_JOB };
        house.passed += Duration::from_secs(10);
        house.input(Input::Work(Box::new(work(1, house.now().mono))));
        assert_eq!(house.kinds(), [job]);
        house.input(Input::Work(Box::new(work(2, house.now().mono))));
        channel.take(&mut house);
        assert_ne!(channel.prev, before);
        house.passed += Duration::from_secs(2);
        house.send(&[old]);
        assert_eq!(code(&house.next(kind::SUBMIT_SHARES_ERROR), 8), "stale-share");
        let share = channel.good();
        house.send(&[share]);
        assert_eq!(house.kinds(), [kind::SUBMIT_SHARES_SUCCESS]);
    }
}

/// The bytes of the outbox are what is sent, and no more.
#[test]
fn the_line_of_a_job_is_written_once_and_only_for_those_who_read_lines() {
    let mut house = House::new();
    house.open(true, "attic");
    let written = |house: &mut House, tip| {
        let mut out = Outbox::new();
        let work = Input::Work(Box::new(work(tip, house.now().mono)));
        house.pool.handle(house.now(), work, &mut out);
        let bytes = out.write(&[]).end;
        let sent = out.take().into_iter().filter_map(|output| match output {
            Output::Send { bytes, .. } => Some(bytes),
            _ => None,
        });
        (bytes, sent.collect::<Vec<_>>())
    };
    let (bytes, sent) = written(&mut house, 2);
    assert_eq!((sent.len(), sent[0].len()), (1, bytes), "frames alone");
    for conn in [8, 9].map(ConnId) {
        house.connect(conn);
        let mut out = Outbox::new();
        for line in [
            r#"{"id":1,"method":"mining.subscribe","params":["cgminer"]}"#,
            r#"{"id":2,"method":"mining.authorize","params":["cellar","x"]}"#,
        ] {
            house.pool.line(house.now(), conn, line.as_bytes(), &mut out);
        }
    }
    house.passed += Duration::from_secs(1);
    house.pool.handle(house.now(), Input::Tick, &mut Outbox::new());
    let (bytes, sent) = written(&mut house, 3);
    let [frames, line, same] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((frames.len() + line.len(), line), (bytes, same));
}

#[test]
fn a_new_difficulty_stands_before_its_job_and_old_shares_count_on() {
    for standard in [true, false] {
        let mut house = House::new();
        let mut channel = house.open(standard, "attic");
        let old = channel.good();
        house.input(Input::Fix { conn: CONN, difficulty: Some(0.0004) });
        channel.take(&mut house);
        let told = channel.target.difficulty().0;
        assert!((0.0004..0.0004 * (1.0 + 1e-9)).contains(&told), "{told}");
        let new = channel.good();
        house.send(&[old, new]);
        let success = house.next(kind::SUBMIT_SHARES_SUCCESS);
        assert_eq!(number(&success, 8), 2);
        assert!(house.kinds().is_empty());
    }
}

/// NerdQAxe+ and older ESP-Miner make a whole number of it, rounded down.
#[test]
fn whole_difficulties_are_told_so_that_they_are_made_again() {
    let one = 65_535.0 * 2f64.powi(208);
    for d in (1..20_000u64).chain((1..400).map(|n| n * n * n * n)) {
        let mut bytes = Vec::new();
        crate::stratum::v2::message::set_target(&mut bytes, 1, Difficulty(d as f64));
        let target = &bytes[10..42];
        // As both firmwares do it: four words, from the highest, in floating point.
        let words = target.as_chunks::<8>().0.iter().rev();
        let value =
            words.fold(0.0, |sum, word| sum * 2f64.powi(64) + u64::from_le_bytes(*word) as f64);
        assert_eq!((one / value) as u64, d);
    }
}

#[test]
fn many_channels_are_many_miners() {
    let mut house = House::new();
    let mut channels =
        [house.open(false, "one"), house.open(true, "two"), house.open(false, "three")];
    assert_eq!(house.noted, ["0 is one", "1 is two", "2 is three"]);
    let prefixes: std::collections::BTreeSet<_> =
        channels.iter().map(|channel| channel.prefix.clone()).collect();
    assert_eq!(prefixes.len(), 3);
    let shares: Vec<_> = [0, 0, 1, 2, 0].iter().map(|n: &usize| channels[*n].good()).collect();
    house.send(&shares);
    for (number_, count) in [(1, 2), (2, 1), (3, 1), (1, 1)] {
        let success = house.next(kind::SUBMIT_SHARES_SUCCESS);
        assert_eq!((number(&success, 0), number(&success, 8)), (number_, count));
    }
    house.close(2);
    let late = channels[1].good();
    house.send(&[late]);
    assert_eq!(code(&house.next(kind::SUBMIT_SHARES_ERROR), 8), "invalid-channel-id");
    house.input(Input::Work(Box::new(work(2, house.now().mono))));
    channels[0].take(&mut house);
    channels[2].take(&mut house);
    assert!(house.kinds().is_empty());
    house.input(Input::Closed { conn: CONN });
    assert_eq!(house.pool.sessions().count(), 0);
    assert!(house.pool.v2.is_empty() && house.pool.extranonces.is_empty());
}

/// Nobody can take up a channel again, so it takes no place from a miner of V1 that comes back.
#[test]
fn a_channel_that_is_gone_is_not_kept_for_its_return() {
    let mut house = House::new();
    house.pool.job_records.wanted = true;
    house.open(false, "one");
    house.open(true, "two");
    house.close(2);
    house.input(Input::Work(Box::new(work(2, house.now().mono))));
    house.input(Input::Closed { conn: CONN });
    assert!(house.pool.parked.is_empty());
    // Not after a restart either.
    let records: Vec<_> = house.pool.job_records().collect();
    assert!(records.iter().any(|record| matches!(record, JobRecord::Job { .. })));
    let of_one_miner =
        |r: &JobRecord| matches!(r, JobRecord::Level { .. } | JobRecord::Payee { .. });
    assert!(!records.iter().any(of_one_miner), "{records:?}");
}

#[test]
fn a_new_channel_does_not_search_where_a_closed_one_has_searched() {
    let mut house = House::new();
    house.open(true, "one");
    let closed = house.open(true, "two");
    house.close(closed.number);
    let next = house.open(true, "three");
    assert_ne!(next.prefix, closed.prefix);
    house.close(1);
    assert!(house.open(true, "four").prefix > next.prefix);
}

#[test]
fn what_cannot_be_had_is_refused_with_its_code() {
    let cases: [(u32, u8, (u16, u16), &str); 4] = [
        (0b010, 0, (2, 2), "unsupported-feature-flags"),
        (!0, 0, (2, 2), "unsupported-feature-flags"),
        (0, 1, (2, 2), "unsupported-protocol"),
        (0, 0, (3, 9), "protocol-version-mismatch"),
    ];
    for (flags, protocol, (min, max), why) in cases {
        let mut house = House::new();
        let (kind, mut payload) = setup(flags);
        payload[0] = protocol;
        payload[1..3].copy_from_slice(&min.to_le_bytes());
        payload[3..5].copy_from_slice(&max.to_le_bytes());
        house.send(&[(kind, payload)]);
        let error = house.next(kind::SETUP_CONNECTION_ERROR);
        assert_eq!(code(&error, 4), why);
        assert_eq!(number(&error, 0), flags & !0b101);
        assert_eq!(house.noted, ["close 7 NotStratum"]);
    }
    let mut house = House::new();
    house.send(&[setup(1)]);
    house.kinds();
    house.send(&[open(false, "attic")]);
    let error = house.next(kind::OPEN_MINING_CHANNEL_ERROR);
    assert_eq!(code(&error, 4), "extended-channels-not-supported-for-standard-jobs");
    let change = |at: usize, bytes: &[u8]| {
        let (kind, mut payload) = open(false, "attic");
        // The name has five letters.
        payload[at + 10..at + 10 + bytes.len()].copy_from_slice(bytes);
        (kind, payload)
    };
    let mut house = House::new();
    house.send(&[setup(0)]);
    house.kinds();
    for (message, why) in [
        (change(0, &f32::NAN.to_le_bytes()), "invalid-nominal-hashrate"),
        (change(0, &(-1f32).to_le_bytes()), "invalid-nominal-hashrate"),
        (change(4, &[0; 32]), "max-target-out-of-range"),
        (change(36, &9u16.to_le_bytes()), "min-extranonce-size-too-large"),
    ] {
        house.send(&[message]);
        assert_eq!(code(&house.next(kind::OPEN_MINING_CHANNEL_ERROR), 4), why);
    }
    assert_eq!(house.noted, Vec::<String>::new());
    // After all that a channel can still be opened.
    house.send(&[open(false, "attic")]);
    assert_eq!(house.heard[0].0, kind::OPEN_EXTENDED_MINING_CHANNEL_SUCCESS);
}

#[test]
fn a_password_follows_on_the_name() {
    let mut house = House::with_password(Some("secret"));
    house.open(true, "attic,secret");
    assert_eq!(house.noted, ["0 is attic"]);
    let mut house = House::with_password(Some("secret"));
    house.send(&[setup(0)]);
    house.kinds();
    house.send(&[open(true, "attic")]);
    assert_eq!(code(&house.next(kind::OPEN_MINING_CHANNEL_ERROR), 4), "unknown-user");
    assert_eq!(house.noted, ["rejected: wrong password", "close 7 BadPassword"]);
    house.stays_closed();
}

/// A proxy's connection: one miner behind it does not know the password.
#[test]
fn a_wrong_password_ends_the_connection_and_no_share_is_lost_by_that() {
    let mut house = House::with_password(Some("secret"));
    let mut channel = house.open(true, "attic,secret");
    let share = channel.good();
    house.send(&[open(false, "cellar,guess"), share]);
    assert_eq!(house.kinds(), [kind::OPEN_MINING_CHANNEL_ERROR, kind::SUBMIT_SHARES_SUCCESS]);
    assert_eq!(house.noted[1..3], ["rejected: wrong password", "close 7 BadPassword"]);
    assert!(house.noted[3].starts_with("share 0"));
    house.stays_closed();
}

#[test]
fn who_opens_no_channel_is_sent_away_once() {
    let mut house = House::new();
    house.send(&[setup(0)]);
    house.kinds();
    let (kind, mut payload) = open(false, "attic");
    let length = payload.len();
    payload[length - 2..].copy_from_slice(&9u16.to_le_bytes());
    house.send(&[(kind, payload)]);
    assert_eq!(house.kinds(), [kind::OPEN_MINING_CHANNEL_ERROR]);
    house.passed += Duration::from_secs(60);
    house.input(Input::Tick);
    assert_eq!(house.noted, ["close 7 Silent"]);
    house.stays_closed();
}

/// A translator tries for a long extranonce first.
#[test]
fn a_channel_that_was_refused_at_first_stays() {
    let mut house = House::new();
    house.send(&[setup(0)]);
    house.kinds();
    let (kind, mut payload) = open(false, "attic");
    let length = payload.len();
    payload[length - 2..].copy_from_slice(&9u16.to_le_bytes());
    house.send(&[(kind, payload)]);
    house.kinds();
    let channel = house.open(false, "attic");
    assert_eq!(channel.number, 1);
    house.passed += Duration::from_secs(60);
    house.input(Input::Tick);
    assert_eq!(house.noted, ["0 is attic"]);
}

#[test]
fn an_update_changes_the_difficulty() {
    let mut house = House::new();
    let mut channel = house.open(true, "attic");
    let mut update = 1u32.to_le_bytes().to_vec();
    update.extend_from_slice(&1e9f32.to_le_bytes());
    let hard = Target::from_difficulty(Difficulty(0.0004)).to_le_bytes();
    house.send(&[(kind::UPDATE_CHANNEL, [&update[..], &hard].concat())]);
    channel.take(&mut house);
    assert!(channel.target.difficulty().0 > 0.00039);
    house.send(&[(kind::UPDATE_CHANNEL, [&update[..], &[0; 32]].concat())]);
    assert_eq!(code(&house.next(kind::UPDATE_CHANNEL_ERROR), 4), "max-target-out-of-range");
    update[0] = 5;
    house.send(&[(kind::UPDATE_CHANNEL, [&update[..], &hard].concat())]);
    assert_eq!(code(&house.next(kind::UPDATE_CHANNEL_ERROR), 4), "invalid-channel-id");
}

#[test]
fn what_is_no_message_costs_the_connection_after_a_while_and_nothing_else() {
    let mut house = House::new();
    let mut channel = house.open(true, "attic");
    house.send(&[(0x99, vec![1, 2, 3]), (kind::SUBMIT_SHARES_STANDARD, vec![1])]);
    let share = channel.good();
    house.send(&[share]);
    assert_eq!(house.kinds(), [kind::SUBMIT_SHARES_SUCCESS]);
    for _ in 0..16 {
        house.send(&[(kind::SUBMIT_SHARES_STANDARD, vec![1])]);
    }
    assert_eq!(house.noted.last().unwrap(), "close 7 NotStratum");
    // A share before any channel, and a channel before the set-up.
    let mut house = House::new();
    house.send(&[channel.good()]);
    assert_eq!(code(&house.next(kind::SUBMIT_SHARES_ERROR), 8), "invalid-channel-id");
    house.send(&[open(true, "attic")]);
    assert_eq!(house.noted.last().unwrap(), "close 7 NotStratum");
}

#[test]
fn a_block_stands_before_its_answer() {
    for standard in [true, false] {
        let mut house = House::new();
        let mut channel = house.open(standard, "attic");
        let mut easy = work(2, house.now().mono);
        let template = std::sync::Arc::make_mut(&mut easy.template);
        template.target = Target::MAX;
        house.input(Input::Work(Box::new(easy)));
        channel.take(&mut house);
        let rolled = channel.job.version | 0x0008_0000;
        let share = channel.share(rolled, true);
        let mut out = Outbox::new();
        let frame = frame::Frame { extension: 0, kind: share.0, payload: &share.1 };
        house.pool.frame(house.now(), CONN, &frame, &mut out);
        let [Output::Block(block), Output::Send { .. }, Output::Share { .. }, ..] = out.items()
        else {
            panic!("{:?}", out.items())
        };
        assert_eq!(block.worker, "attic");
        assert_eq!(block.bytes[..4], rolled.to_le_bytes());
        assert_eq!(block.bytes[76..80], share.1[12..16], "the nonce");
    }
}

#[test]
fn no_work_closes_every_connection_once() {
    let mut house = House::new();
    house.open(true, "attic");
    house.input(Input::Left { conn: CONN });
    house.input(Input::NoWork);
    assert_eq!(house.noted.last().unwrap(), "close 7 NoWork");
}

/// Bytes on the wire, without TCP's own: printed for the README.
#[test]
fn shares_and_jobs_weigh_less_than_in_v1() {
    use crate::stratum::v2::noise::{Identity, Initiator};
    let identity = Identity::new(&[1; 32], &[2; 32]).unwrap();
    let miner = Initiator::new(&[3; 32]).unwrap();
    let (act_2, mut ours) = identity.respond(&miner.act_1(), &[4; 32]).unwrap();
    let mut theirs = miner.finish(&act_2, None).unwrap();
    // Four thousand transactions have a branch of twelve.
    let full = |tip, at| {
        let mut work = work(tip, at);
        std::sync::Arc::make_mut(&mut work.template).branch = vec![[7; 32]; 12];
        Work::with_coinbase(work.template, work.coinbase, work.node, work.received, false)
    };
    let name = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.attic";
    let mut rows = Vec::new();
    for standard in [None, Some(false), Some(true)] {
        let mut house = House::new();
        house.input(Input::Work(Box::new(full(2, house.start))));
        let mut sent = |house: &mut House, input: Input| {
            let mut out = Outbox::new();
            house.pool.handle(house.now(), input, &mut out);
            let mut bytes = 0;
            for output in out.take() {
                let Output::Send { bytes: range, .. } = output else { continue };
                let mut sealed = Vec::new();
                match standard {
                    None => sealed.extend_from_slice(out.bytes(&range)),
                    Some(_) => frame::seal(&mut ours, out.bytes(&range), &mut sealed),
                }
                bytes += sealed.len();
            }
            bytes
        };
        let (share, answer) = match standard {
            None => {
                let mut out = Outbox::new();
                for line in [
                    r#"{"id":1,"method":"mining.subscribe","params":["bitaxe/BM1370/v2.13.1"]}"#
                        .into(),
                    format!(r#"{{"id":2,"method":"mining.authorize","params":["{name}","x"]}}"#),
                ] {
                    house.pool.line(house.now(), CONN, line.as_bytes(), &mut out);
                }
                house.passed += Duration::from_secs(1);
                house.pool.handle(house.now(), Input::Tick, &mut out);
                // As ESP-Miner writes it.
                let submit = format!(
                    "{{\"id\": 12, \"method\": \"mining.submit\", \"params\": [\"{name}\", \
                     \"a00012\", \"0100000000000000\", \"6740d5f0\", \"2f34a05c\", \"0c10a000\"]}}\n"
                );
                (submit.len(), "{\"id\":12,\"result\":true,\"error\":null}\n".len())
            }
            Some(standard) => {
                let mut channel = house.open(standard, "attic");
                let (kind, payload) = channel.good();
                let mut frames = Vec::new();
                frames.extend_from_slice(&[0, 0x80, kind, payload.len() as u8, 0, 0]);
                frames.extend_from_slice(&payload);
                let (mut share, mut answer) = (Vec::new(), Vec::new());
                frame::seal(&mut theirs, &frames, &mut share);
                let mut success = Vec::new();
                message::submit_success(&mut success, 1, 1, 1, 1);
                frame::seal(&mut theirs, &success, &mut answer);
                (share.len(), answer.len())
            }
        };
        let at = house.now().mono;
        let tip = sent(&mut house, Input::Work(Box::new(full(3, at))));
        let refresh = sent(&mut house, Input::Work(Box::new(full(3, at))));
        rows.push([share, answer, tip, refresh]);
    }
    println!("bytes: a share, its answer, a job on a new tip, a job on the same tip");
    for (name, row) in ["V1", "V2 extended", "V2 standard"].iter().zip(&rows) {
        println!("{name}: {row:?}");
    }
    for row in &rows[1..] {
        assert!(row[0] < rows[0][0] && row[2] < rows[0][2] && row[3] < rows[0][3]);
    }
}
