//! A miner at one box, and another box that copies its jobs, with connections that end at any moment; then
//! the miner comes to the other box with all that it was not answered.
//!
//! What must hold: the copy is the beginning of one file; where it was whole, each share counts at one of
//! the boxes and at no two, and each is the block that it is, with the transactions of its job.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::message::{BoxId, Connection, Hello, Message};
use super::super::{Input, LinkId, Output, Pair, Report};
use super::*;
use crate::clock::Now;
use crate::difficulty::{NBits, Target};
use crate::ids::{ConnId, Extranonce1, NodeId};
use crate::job::Work;
use crate::job::tests::template;
use crate::job_journal::{self, Encoder, JobRecord, Moment, RestoredJobs};
use crate::pool::{self, Pool};
use crate::stratum::outbox::{self, Outbox};
use crate::stratum::session::{Rules, SessionKey};
use crate::template::{Template, Tx};

const SUBSCRIBE: &str = r#"{"id":1,"method":"mining.subscribe","params":["cgminer/4.11.1"]}"#;
const AUTHORIZE: &str = r#"{"id":2,"method":"mining.authorize","params":["w","x"]}"#;

/// xorshift64*: the same sequences on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound.max(1)
    }
}

/// A pool on a chain where every hash is a block.
struct Miners {
    pool: Pool,
    works: u32,
}

impl Miners {
    fn new(first_job_id: u32) -> Miners {
        let rules = Rules {
            session_key: SessionKey([1; 32]),
            password: None,
            overrides: Vec::new(),
            payee_chains: Vec::new(),
        };
        Miners { pool: Pool::new(rules, first_job_id), works: 0 }
    }

    fn input(&mut self, now: Now, input: pool::Input) -> Vec<Value> {
        let mut out = Outbox::new();
        self.pool.handle(now, input, &mut out);
        read(&mut out).0
    }

    fn line(&mut self, now: Now, line: &str) -> (Vec<Value>, Option<Vec<u8>>) {
        let mut out = Outbox::new();
        self.pool.line(now, ConnId(1), line.as_bytes(), &mut out);
        read(&mut out)
    }

    fn connect(&mut self, now: Now) {
        let (conn, peer) = (ConnId(1), Ipv4Addr::LOCALHOST.into());
        let extranonce1 = Extranonce1([0, 0, 0, 9]);
        self.input(now, pool::Input::Connect { conn, peer, extranonce1 });
    }

    /// New work on a tip, with transactions of which some are new; the job of the miner that is there.
    fn work(&mut self, now: Now, tip: u8) -> Option<Value> {
        self.works += 1;
        let tx = |n: u32| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&n.to_le_bytes());
            let size = 1 + n as usize * 7919 % 20_000;
            let bytes = vec![n as u8; size].into_boxed_slice();
            let (txid, wtxid) = (crate::chain::Txid(id), crate::chain::Txid(id));
            Arc::new(Tx { txid, wtxid, bytes, fee: 1 })
        };
        let txs = (self.works..self.works + 4).map(tx).collect();
        let (nbits, target) = (NBits(0x2100_ffff), Target::MAX);
        let template = Template { txs, nbits, target, ..template(tip) };
        let work = Work::new(Arc::new(template), NodeId(0), now.mono, false, &[0x51], "/t/");
        job_in(&self.input(now, pool::Input::Work(Box::new(work))))
    }
}

/// The lines in an outbox, and the bytes of a block.
fn read(out: &mut Outbox) -> (Vec<Value>, Option<Vec<u8>>) {
    let (mut lines, mut block) = (Vec::new(), None);
    for item in out.items() {
        match item {
            outbox::Output::Send { bytes, .. } => {
                let bytes = out.bytes(bytes).split_inclusive(|byte| *byte == b'\n');
                lines.extend(bytes.map(|line| serde_json::from_slice::<Value>(line).unwrap()));
            }
            outbox::Output::Block(solved) => block = Some(solved.bytes.clone()),
            _ => {}
        }
    }
    (lines, block)
}

fn job_in(lines: &[Value]) -> Option<Value> {
    let mut notifies = lines.iter().rev().filter(|line| line["method"] == "mining.notify");
    notifies.next().map(|line| line["params"].clone())
}

/// A share as the miner sends it, and what became of it there.
struct Share {
    line: String,
    tip: u8,
    counted: bool,
    answered: bool,
    block: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Seen {
    whole: u64,
    torn: u64,
    late: u64,
    counted_there: u64,
    counted_twice: u64,
    lost: u64,
    cuts: u64,
    tips: u64,
}

struct World {
    random: Random,
    now: Now,
    there: Miners,
    /// The file of jobs there: its number and bytes.
    file: (u64, Vec<u8>),
    encoder: Encoder,
    pairs: [Pair; 2],
    wire: [VecDeque<Vec<u8>>; 2],
    link: Option<LinkId>,
    links: u64,
    copy: (u64, Vec<u8>),
    tip: u8,
    jobs: Vec<Value>,
    shares: Vec<Share>,
    session: String,
    seen: Seen,
}

impl World {
    fn new(seed: u64) -> World {
        let now = Now { mono: Instant::now(), unix: 1_700_000_000 };
        let hello = |id| Hello::of(BoxId(id), id, "box", "0");
        let pairs = [Pair::new(hello(1), None), Pair::new(hello(2), None).with_copies()];
        let mut there = Miners::new(0x100);
        there.pool.restore_jobs(now, RestoredJobs::default());
        let mut world = World {
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            now,
            there,
            file: (0, Vec::new()),
            encoder: Encoder::default(),
            pairs,
            wire: Default::default(),
            link: None,
            links: 0,
            copy: (0, Vec::new()),
            tip: 1,
            jobs: Vec::new(),
            shares: Vec::new(),
            session: String::new(),
            seen: Seen::default(),
        };
        world.work();
        world.there.connect(now);
        let (lines, _) = world.there.line(now, SUBSCRIBE);
        world.session = lines[0]["result"][0][0][1].as_str().unwrap().to_owned();
        world.there.line(now, AUTHORIZE);
        world.wait(400);
        world.note();
        assert_eq!(world.jobs.len(), 1, "its first job");
        world
    }

    fn moment(&self) -> Moment {
        Moment { mono: self.now.mono, uptime: Duration::from_secs(100) }
    }

    /// Keeps what the box notes, as its daemon does.
    fn note(&mut self) {
        let moment = self.moment();
        for record in self.there.pool.job_records() {
            if let JobRecord::Tip = record {
                self.file = (self.file.0 + 1, job_journal::header("boot"));
                self.encoder = Encoder::default();
            }
            self.encoder.encode(moment, &record, &mut self.file.1);
        }
        self.input(0, Input::JobsGrew);
    }

    fn work(&mut self) {
        self.jobs.extend(self.there.work(self.now, self.tip));
        self.note();
    }

    fn wait(&mut self, millis: u64) {
        self.now.mono += Duration::from_millis(millis);
        let lines = self.there.input(self.now, pool::Input::Tick);
        self.jobs.extend(job_in(&lines));
        self.note();
        for end in 0..2 {
            if self.pairs[end].next_deadline().is_some_and(|due| due <= self.now.mono) {
                self.input(end, Input::Tick);
            }
        }
    }

    fn input(&mut self, end: usize, input: Input) {
        let mut out = Vec::new();
        self.pairs[end].handle(self.now, input, &mut out);
        for output in out {
            match output {
                Output::Say(link, message) if self.link == Some(link) => {
                    self.wire[1 - end].push_back(message.encode());
                }
                Output::Close(_) => self.cut(),
                Output::Report => {
                    let at = "192.168.1.240:3333".parse().unwrap();
                    let connections = vec![Connection { local: at, remote: at }];
                    let connections = if end == 0 { connections } else { Vec::new() };
                    let report = Report { connections, ..Report::default() };
                    self.input(end, Input::Report(Box::new(report)));
                }
                Output::ReadJobs(wanted) => self.read_jobs(wanted),
                Output::Copy(Write::Begin(part)) => self.copy = (part.file, part.bytes),
                Output::Copy(Write::Append(part)) => self.copy.1.extend(part.bytes),
                _ => {}
            }
        }
    }

    /// As the daemon reads it, in parts of other sizes.
    fn read_jobs(&mut self, wanted: JobsWanted) {
        let (file, bytes) = &self.file;
        let is_same = wanted.file == *file && wanted.from <= bytes.len() as u64;
        let from = if is_same { wanted.from } else { 0 };
        let rest = &bytes[from as usize..];
        let part = rest[..rest.len().min(1 + self.random.below(PART_MAX as u64) as usize)].to_vec();
        if !part.is_empty() {
            let (file, uptime_ms) = (*file, 100_000);
            self.input(0, Input::Jobs(JobsPart { file, from, uptime_ms, bytes: part }));
        }
    }

    fn deliver(&mut self, count: u64) {
        for _ in 0..count {
            let end = self.random.below(2) as usize;
            if let (Some(bytes), Some(link)) = (self.wire[end].pop_front(), self.link) {
                let message = Message::decode(&bytes).unwrap().unwrap();
                self.input(end, Input::Told(link, message));
            }
        }
        let asked = |bytes: &Vec<u8>| {
            matches!(
                Message::decode(bytes),
                Ok(Some(Message::JobsWanted(_) | Message::JobsPart(_)))
            )
        };
        let on_the_way = self.wire.iter().flatten().filter(|bytes| asked(bytes)).count();
        assert!(on_the_way <= 1, "{on_the_way} parts, or questions for them, at a time");
        // Whatever was told in which order: it is the beginning of a file.
        if self.copy.0 == self.file.0 {
            assert!(self.file.1.starts_with(&self.copy.1), "the copy is another file");
        }
    }

    fn cut(&mut self) {
        let Some(link) = self.link.take() else { return };
        self.seen.cuts += 1;
        self.wire = Default::default();
        for end in 0..2 {
            self.input(end, Input::Closed(link));
        }
    }

    fn connect(&mut self) {
        if self.link.is_none() {
            self.links += 1;
            let link = LinkId(self.links);
            self.link = Some(link);
            for end in 0..2 {
                self.input(end, Input::Connected { link, called: end == 0 });
            }
        }
    }

    fn share(&mut self) {
        let of_tip = self.jobs.iter().rev().take(3).collect::<Vec<_>>();
        let job = of_tip[self.random.below(of_tip.len() as u64) as usize].clone();
        let nonce = self.shares.len() as u32;
        let line = format!(
            r#"{{"id":4,"method":"mining.submit","params":["w",{},"0000000000000001",{},"{nonce:08x}"]}}"#,
            job[0], job[7]
        );
        let (mut counted, mut answered, mut block) = (false, false, None);
        // One in four is found when nobody is there to take it.
        if self.random.below(4) > 0 {
            let (lines, solved) = self.there.line(self.now, &line);
            self.jobs.extend(job_in(&lines));
            (counted, block) = (lines[0]["result"] == true, solved);
            answered = self.random.below(3) > 0;
            self.note();
        }
        let tip = self.tip;
        self.shares.push(Share { line, tip, counted, answered, block });
    }

    fn run(mut self) -> Seen {
        for _ in 0..20 + self.random.below(100) {
            match self.random.below(20) {
                0 => self.cut(),
                1..4 => self.connect(),
                4..6 => self.work(),
                6 if self.tip < 200 => {
                    self.tip += 1;
                    self.seen.tips += 1;
                    self.jobs.clear();
                    self.work();
                }
                7..14 => self.share(),
                _ => self.wait(300),
            }
            let messages = self.random.below(12);
            self.deliver(messages);
        }
        // A box that dies with all told, or in the midst of it.
        if self.random.below(2) == 0 {
            self.connect();
            for _ in 0..12 {
                self.wait(300);
                self.deliver(200);
            }
        }
        self.come_to_the_other();
        self.seen
    }

    fn come_to_the_other(&mut self) {
        let is_whole = self.copy == self.file;
        let now = self.now;
        let mut here = Miners::new(1 << 31);
        let behind = self.random.below(2) as u8;
        here.work(now, self.tip - behind);
        let copied = RestoredJobs::read_copy(self.moment(), &self.copy.1);
        here.pool.take_partners(now, copied).unwrap();
        here.connect(now);
        let resume = SUBSCRIBE.replace("\"]", &format!("\",\"{}\"]", self.session));
        assert_eq!(here.line(now, &resume).0[0]["result"][0][0][1], self.session.as_str());
        *(if is_whole { &mut self.seen.whole } else { &mut self.seen.torn }) += 1;
        let mut blocks = BTreeMap::new();
        for share in &self.shares {
            self.seen.counted_there += u64::from(share.counted);
            if share.answered || share.tip != self.tip {
                continue;
            }
            self.seen.late += 1;
            let (lines, block) = here.line(now, &share.line);
            let counts = lines[0]["result"] == true;
            let times = u32::from(share.counted) + u32::from(counts);
            self.seen.counted_twice += u64::from(times == 2);
            self.seen.lost += u64::from(times == 0);
            if is_whole {
                assert_eq!(times, 1, "{} counted there: {}", share.line, share.counted);
                let block = block.expect("each share of this chain is a block");
                assert!(share.block.as_ref().is_none_or(|told| *told == block), "another block");
                assert!(blocks.insert(block, ()).is_none());
            }
        }
    }
}

#[test]
fn a_late_share_counts_once_and_a_late_block_is_one_in_a_thousand_sequences() {
    let mut all = Seen::default();
    for seed in 1..=1_000 {
        let seen = std::panic::catch_unwind(|| World::new(seed).run());
        let seen = seen.unwrap_or_else(|_| panic!("sequence {seed}"));
        all.whole += seen.whole;
        all.torn += seen.torn;
        all.late += seen.late;
        all.counted_there += seen.counted_there;
        all.counted_twice += seen.counted_twice;
        all.lost += seen.lost;
        all.cuts += seen.cuts;
        all.tips += seen.tips;
    }
    println!("{all:?}");
    assert!(all.whole > 300 && all.torn > 100 && all.late > 1_000, "{all:?}");
    assert!(all.cuts > 500 && all.tips > 1_000 && all.counted_there > 10_000, "{all:?}");
}

#[test]
fn what_was_not_asked_for_is_not_written() {
    let part = |file, from, length| JobsPart { file, from, uptime_ms: 1, bytes: vec![7; length] };
    let mut copy = Copying::default();
    copy.met(1);
    assert_eq!(copy.take(part(1, 0, 10)), None, "nobody asked");
    assert_eq!(copy.ask(), None, "nobody would come");
    copy.set_needed(true);
    assert_eq!(copy.ask(), Some(JobsWanted { file: 0, from: 0 }));
    assert_eq!(copy.ask(), None, "one at a time");
    assert!(copy.take(part(1, 0, 10)).is_some());
    assert_eq!(copy.take(part(1, 10, 10)), None, "one was asked for");
    for wrong in [part(1, 11, 10), part(2, 10, 10), part(1, 10, 0), part(1, 10, PART_MAX + 1)] {
        assert_eq!(copy.ask(), Some(JobsWanted { file: 1, from: 10 }));
        assert_eq!(copy.take(wrong), None);
    }
    // The same run goes on, another one does not.
    copy.met(1);
    copy.set_needed(true);
    assert_eq!(copy.ask(), Some(JobsWanted { file: 1, from: 10 }));
    copy.met(2);
    copy.set_needed(true);
    assert_eq!(copy.ask(), Some(JobsWanted { file: 0, from: 0 }));
    // A file without end.
    assert!(copy.take(part(3, 0, PART_MAX)).is_some());
    let mut length = PART_MAX as u64;
    while copy.ask().is_some() {
        assert!(copy.take(part(3, length, PART_MAX)).is_some());
        length += PART_MAX as u64;
    }
    assert!(length < COPY_MAX + PART_MAX as u64, "{length}");
}
