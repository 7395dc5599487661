//! The pool with miners of few words, in virtual time.

mod partner_tests;

use std::net::Ipv4Addr;
use std::sync::Arc;

use bitcoin::hashes::Hash;
use serde_json::Value;

use super::*;
use crate::chain::{BlockHash, Chain};
use crate::difficulty::{Difficulty, NBits, Target};
use crate::ids::NodeId;
use crate::job::tests::template;
use crate::job::{JobId, Lookup};
use crate::job_journal::Encoder;
use crate::reject::Reject;
use crate::share::{RolledVersion, Share, Submission};
use crate::stratum::firmware::Override;
use crate::stratum::session::SessionKey;

struct World {
    start: Instant,
    millis: u64,
    pool: Pool,
    /// What the daemon keeps for its next run.
    kept: Vec<u8>,
}

/// What one input led to.
struct Said {
    lines: Vec<(ConnId, Value)>,
    outputs: Vec<Output>,
}

impl World {
    /// A pool with work on a tip where every hash solves a block, or none does in practice.
    fn new(easy: bool) -> World {
        let rules = Rules {
            session_key: SessionKey([1; 32]),
            password: None,
            overrides: Vec::new(),
            payee_chains: Vec::new(),
        };
        let pool = Pool::new(rules, 0x100);
        let mut world = World { start: Instant::now(), millis: 0, pool, kept: Vec::new() };
        world.work(1, easy);
        world
    }

    fn now(&self) -> Now {
        let mono = self.start + Duration::from_millis(self.millis);
        Now { mono, unix: 1_700_000_000 + self.millis / 1000 }
    }

    fn work(&mut self, tip: u8, easy: bool) -> Said {
        let mut template = template(tip);
        if easy {
            (template.nbits, template.target) = (NBits(0x2100ffff), Target::MAX);
        }
        let received = self.now().mono;
        let work = Work::new(Arc::new(template), NodeId(0), received, false, &[0x51], "/t/");
        self.input(Input::Work(Box::new(work)))
    }

    fn input(&mut self, input: Input) -> Said {
        let mut out = Outbox::new();
        self.pool.handle(self.now(), input, &mut out);
        Said::read(out)
    }

    fn line(&mut self, conn: u64, line: &str) -> Said {
        let mut out = Outbox::new();
        self.pool.line(self.now(), ConnId(conn), line.as_bytes(), &mut out);
        Said::read(out)
    }

    fn connect(&mut self, conn: u64) -> Said {
        let peer = Ipv4Addr::LOCALHOST.into();
        let extranonce1 = Extranonce1([0, 0, 0, 9]);
        self.input(Input::Connect { conn: ConnId(conn), peer, extranonce1 })
    }

    fn wait(&mut self, millis: u64) -> Said {
        let until = self.millis + millis;
        let mut all = Said { lines: Vec::new(), outputs: Vec::new() };
        while let Some(due) = self.pool.next_deadline() {
            let due = due.saturating_duration_since(self.start).as_millis() as u64;
            if due > until {
                break;
            }
            self.millis = self.millis.max(due);
            let said = self.input(Input::Tick);
            all.lines.extend(said.lines);
            all.outputs.extend(said.outputs);
        }
        self.millis = until;
        all
    }

    /// A miner that is through its introduction; its extranonce1 and first job.
    fn miner(&mut self, conn: u64, difficulty: &str) -> (String, Value) {
        self.connect(conn);
        let said = self.line(conn, r#"{"id":1,"method":"mining.subscribe","params":["x"]}"#);
        let extranonce1 = said.lines[0].1["result"][1].as_str().unwrap().to_string();
        self.line(
            conn,
            &format!(r#"{{"id":2,"method":"mining.authorize","params":["w","d={difficulty}"]}}"#),
        );
        let said = self.wait(400);
        assert_eq!(said.methods(), ["mining.set_difficulty", "mining.notify"]);
        (extranonce1, said.lines[1].1["params"].clone())
    }

    /// A nonce whose share of this job reaches the least difficulty that is given out, from
    /// `first` on: about 430,000 tries.
    fn mine(&self, conn: u64, job: &Value, first: u32) -> u32 {
        let Lookup::Current(found) =
            self.pool.jobs().find(job[0].as_str().unwrap().parse().unwrap())
        else {
            panic!("not a current job");
        };
        let extranonce1 = self.pool.session(ConnId(conn)).unwrap().extranonce1();
        let mut extranonce = [0; 12];
        extranonce[..4].copy_from_slice(&extranonce1.0);
        extranonce[11] = 1;
        let submission = Submission {
            job: found.id,
            extranonce,
            ntime: found.ntime,
            nonce: 0,
            version: RolledVersion::UNROLLED,
        };
        let mut header = Share::prove(found, &submission).header;
        let target = Target::from_difficulty(Difficulty(crate::vardiff::FLOOR));
        (first..)
            .find(|nonce| {
                header[76..].copy_from_slice(&nonce.to_le_bytes());
                target.is_met_by(&BlockHash(crate::hash::sha256d(&header)))
            })
            .unwrap()
    }

    fn submit(&mut self, conn: u64, job: &Value, nonce: u32) -> Said {
        let (id, ntime) = (job[0].as_str().unwrap(), job[7].as_str().unwrap());
        self.line(
            conn,
            &format!(
                r#"{{"id":4,"method":"mining.submit","params":["w","{id}","0000000000000001","{ntime}","{nonce:08x}"]}}"#
            ),
        )
    }
}

impl Said {
    fn read(mut out: Outbox) -> Said {
        let mut lines = Vec::new();
        for item in out.items() {
            if let Output::Send { conn, bytes } = item {
                for line in out.bytes(bytes).split_inclusive(|b| *b == b'\n') {
                    assert!(line.ends_with(b"\n"));
                    lines.push((*conn, serde_json::from_slice(line).unwrap()));
                }
            }
        }
        Said { lines, outputs: out.take() }
    }

    fn methods(&self) -> Vec<&str> {
        self.lines.iter().map(|(_, line)| line["method"].as_str().unwrap_or("answer")).collect()
    }

    fn error_code(&self) -> Option<i64> {
        self.lines[0].1["error"][0].as_i64()
    }

    fn closed(&self) -> Option<(ConnId, CloseReason)> {
        self.outputs.iter().find_map(|o| match o {
            Output::Close { conn, why } => Some((*conn, *why)),
            _ => None,
        })
    }
}

#[test]
fn a_miner_gets_one_difficulty_and_a_clean_job() {
    let mut world = World::new(false);
    assert!(world.connect(7).lines.is_empty());
    let said = world.line(7, r#"{"id":1,"method":"mining.subscribe","params":["bitaxe/BM1370"]}"#);
    assert_eq!(said.lines[0].1["result"][1], "00000009");
    assert_eq!(said.lines[0].1["result"][2], 8);
    let said = world.line(7, r#"{"id":2,"method":"mining.authorize","params":["anna","x"]}"#);
    assert_eq!(said.methods(), ["answer"]);
    assert!(matches!(said.outputs[1], Output::Authorized { conn: ConnId(7) }));
    assert!(world.wait(399).lines.is_empty(), "a suggestion may still come");
    let said = world.wait(1);
    assert_eq!(said.methods(), ["mining.set_difficulty", "mining.notify"]);
    assert_eq!(said.lines[1].1["params"][8], true);
    assert_eq!(world.pool.session(ConnId(7)).unwrap().worker(), Some("anna"));
}

#[test]
fn the_owner_fixes_a_difficulty_and_the_miner_stays() {
    let mut world = World::new(false);
    let (_, first) = world.miner(7, "0.0001");
    let fix =
        |world: &mut World, difficulty| world.input(Input::Fix { conn: ConnId(7), difficulty });
    let level = |said: &Said| said.lines[0].1["params"][0].as_f64().unwrap();
    let said = fix(&mut world, Some(0.5));
    assert_eq!(said.methods(), ["mining.set_difficulty", "mining.notify"]);
    assert_eq!((level(&said), &said.lines[1].1["params"][8]), (0.5, &Value::Bool(true)));
    assert_ne!(said.lines[1].1["params"][0], first[0]);
    assert!(world.pool.session(ConnId(7)).unwrap().is_fixed() && said.closed().is_none());
    // Told again it changes nothing, and what the miner asks for does not either.
    assert!(fix(&mut world, Some(0.5)).lines.is_empty());
    let wish = r#"{"id":3,"method":"mining.suggest_difficulty","params":[0.001]}"#;
    assert_eq!(world.line(7, wish).methods(), ["answer"]);
    // A share of the earlier job is judged by its own difficulty.
    let nonce = world.mine(7, &first, 0);
    assert_eq!(world.submit(7, &first, nonce).lines[0].1["result"], true);
    // The password's word is in force again.
    assert_eq!(level(&fix(&mut world, None)), 0.0001);
    // While it introduces itself it counts from the first job on.
    world.connect(8);
    world.line(8, r#"{"id":1,"method":"mining.subscribe","params":["x"]}"#);
    assert!(world.input(Input::Fix { conn: ConnId(8), difficulty: Some(0.25) }).lines.is_empty());
    world.line(8, r#"{"id":2,"method":"mining.authorize","params":["w","d=0.5"]}"#);
    let said = world.wait(400);
    assert_eq!(said.methods(), ["mining.set_difficulty", "mining.notify"]);
    assert_eq!(level(&said), 0.25);
    assert!(world.input(Input::Fix { conn: ConnId(9), difficulty: None }).outputs.is_empty());
}

#[test]
fn a_level_of_before_counts_also_when_it_comes_late() {
    let mut world = World::new(false);
    world.connect(7);
    world.line(7, r#"{"id":1,"method":"mining.subscribe","params":["bitaxe/BM1370"]}"#);
    world.line(7, r#"{"id":2,"method":"mining.authorize","params":["anna","x"]}"#);
    let saved = |difficulty| Input::Saved {
        conn: ConnId(7),
        saved: Saved::Level { difficulty, wish: None },
    };
    // In time: without a word more.
    assert!(world.input(saved(0.25)).lines.is_empty());
    assert_eq!(world.wait(400).lines[0].1["params"][0], 0.25);
    // Late, before vardiff knows better.
    let said = world.input(saved(0.5));
    assert_eq!(said.methods(), ["mining.set_difficulty", "mining.notify"]);
    assert_eq!(
        (&said.lines[0].1["params"][0], &said.lines[1].1["params"][8]),
        (&0.5.into(), &true.into())
    );
    assert!(world.input(saved(0.5)).lines.is_empty());
    // The owner's word is not touched by it.
    world.input(Input::Fix { conn: ConnId(7), difficulty: Some(0.125) });
    assert!(world.input(saved(0.75)).lines.is_empty());
    assert_eq!(world.pool.session(ConnId(7)).unwrap().difficulty().unwrap().0, 0.125);
}

#[test]
fn subscribing_again_gives_the_same_extranonce_whatever_session_is_named() {
    let mut world = World::new(false);
    let (other, _) = world.named(1, "x", "", "anna");
    world.input(Input::Closed { conn: ConnId(1) });
    world.connect(2);
    let first = world.line(2, r#"{"id":1,"method":"mining.subscribe","params":["x"]}"#);
    for session in ["".to_owned(), format!(",\"{other}\""), ",\"0123\"".to_owned()] {
        let line = format!(r#"{{"id":1,"method":"mining.subscribe","params":["x"{session}]}}"#);
        assert_eq!(world.line(2, &line).lines[0].1, first.lines[0].1, "{session}");
    }
}

#[test]
fn the_mask_is_ours_and_theirs() {
    let mut world = World::new(false);
    for (conn, theirs, both) in [
        (1, "ffffffff", "1fffe000"),
        (2, "00ffe000", "00ffe000"),
        (3, "e000ffff", "0000e000"),
        (4, "00001fff", "00000000"),
    ] {
        world.connect(conn);
        let said = world.line(
            conn,
            &format!(
                r#"{{"id":1,"method":"mining.configure","params":[["version-rolling"],{{"version-rolling.mask":"{theirs}"}}]}}"#
            ),
        );
        assert_eq!(said.lines.len(), 1);
        assert_eq!(said.lines[0].1["result"]["version-rolling.mask"], both, "{theirs}");
    }
}

#[test]
fn a_suggestion_decides_the_first_difficulty_at_once() {
    let mut world = World::new(false);
    world.connect(7);
    world.line(7, r#"{"id":1,"method":"mining.subscribe","params":[]}"#);
    world.line(7, r#"{"id":2,"method":"mining.authorize","params":["anna"]}"#);
    let suggest = r#"{"id":3,"method":"mining.suggest_difficulty","params":[0.5]}"#;
    let said = world.line(7, suggest);
    assert_eq!(said.methods(), ["answer", "mining.set_difficulty", "mining.notify"]);
    assert_eq!(said.lines[1].1["params"][0], 0.5);
    // NerdMiner repeats it as a keep-alive.
    assert_eq!(world.line(7, suggest).methods(), ["answer"]);
    let other = r#"{"id":3,"method":"mining.suggest_difficulty","params":[2]}"#;
    let said = world.line(7, other);
    assert_eq!(said.methods(), ["answer", "mining.set_difficulty", "mining.notify"]);
    assert_eq!(said.lines[2].1["params"][8], true);
}

#[test]
fn every_miner_hears_of_a_job_every_thirty_seconds() {
    let mut world = World::new(false);
    world.miner(1, "1");
    world.miner(2, "1");
    world.connect(3);
    let said = world.wait(30_000);
    let told: Vec<_> = said.lines.iter().map(|(conn, line)| (*conn, &line["method"])).collect();
    assert_eq!(told, [(ConnId(1), &"mining.notify".into()), (ConnId(2), &"mining.notify".into())]);
    assert_eq!(said.lines[0].1, said.lines[1].1);
    assert_eq!(said.lines[0].1["params"][8], false);
    let said = world.work(2, false);
    assert_eq!(said.lines.len(), 2);
    assert_eq!(said.lines[0].1["params"][8], true, "a new tip cleans");
}

#[test]
fn a_block_comes_before_its_share_and_before_every_rule() {
    let mut world = World::new(true);
    let (_, job) = world.miner(1, "1");
    let said = world.submit(1, &job, 5);
    let Output::Block(block) = &said.outputs[0] else { panic!("{:?}", said.outputs) };
    assert_eq!(block.height, 501);
    assert_eq!(said.lines[0].1["result"], true);
    // The same share again, a stale one, one of a stranger: blocks, though no counted shares.
    let again = world.submit(1, &job, 5);
    assert!(matches!(again.outputs[0], Output::Block(_)));
    assert_eq!(again.error_code(), Some(22));
    world.work(2, true);
    let stale = world.submit(1, &job, 6);
    assert!(matches!(stale.outputs[0], Output::Block(_)));
    assert_eq!(stale.error_code(), Some(21));
    world.connect(9);
    let stranger = world.submit(9, &job, 7);
    assert!(matches!(stranger.outputs[0], Output::Block(_)));
    assert_eq!(stranger.error_code(), Some(24));
}

#[test]
fn the_block_holds_the_very_header_that_was_hashed() {
    let mut world = World::new(true);
    let (extranonce1, job) = world.miner(1, "1");
    let line = format!(
        r#"{{"id":4,"method":"mining.submit","params":["w",{},"00000000000000ff",{},"00000001","00a02000"]}}"#,
        job[0], job[7]
    );
    let said = world.line(1, &line);
    let Output::Block(block) = &said.outputs[0] else { panic!() };
    let whole: bitcoin::Block = bitcoin::consensus::deserialize(&block.bytes).unwrap();
    assert_eq!(whole.block_hash().to_string(), block.hash.to_string());
    assert_eq!(whole.header.version.to_consensus(), 0x20a0_2010);
    assert_eq!(whole.txdata.len(), 1);
    let script = faster_hex::hex_string(whole.txdata[0].input[0].script_sig.as_bytes());
    assert!(script.contains(&format!("0c{extranonce1}00000000000000ff")), "{script}");
    assert_eq!(whole.bip34_block_height().unwrap(), 501);
    // It proves no more than a block of this chain takes.
    let network = world.pool.jobs().work().unwrap().template.target.difficulty();
    let counts =
        |output: &Output| matches!(output, Output::Share { credited, .. } if *credited == network);
    assert!(network.0 < 1e-9 && said.outputs.iter().any(counts), "{:?}", said.outputs);
}

#[test]
fn rejects_have_their_codes_and_words() {
    let mut world = World::new(false);
    let (_, job) = world.miner(1, "1");
    let low = world.submit(1, &job, 5);
    assert_eq!(low.error_code(), Some(23));
    assert_eq!(low.lines[0].1["error"][1], "low difficulty share");
    assert!(matches!(&low.outputs[0], Output::Rejected { why: Reject::LowDifficulty { .. }, .. }));
    let said = world.submit(1, &serde_json::json!(["77777", 0, 0, 0, 0, 0, 0, "00"]), 5);
    assert_eq!(said.error_code(), Some(21));
    assert!(matches!(&said.outputs[0], Output::Rejected { why: Reject::UnknownJob, .. }));
    let said = world.line(1, r#"{"id":9,"method":"mining.dance","params":[]}"#);
    assert_eq!(said.error_code(), Some(-3));
    assert!(world.line(1, r#"{"id":null,"method":"mining.dance"}"#).lines.is_empty());
}

#[test]
fn shares_count_once_at_the_difficulty_of_their_job() {
    let mut world = World::new(false);
    world.connect(1);
    world.line(1, r#"{"id":1,"method":"mining.subscribe","params":["x"]}"#);
    world.line(1, r#"{"id":2,"method":"mining.authorize","params":["w"]}"#);
    let easy = r#"{"id":3,"method":"mining.suggest_difficulty","params":[0.0001]}"#;
    let first = world.line(1, easy).lines[2].1["params"].clone();
    let nonce = world.mine(1, &first, 0);
    let said = world.submit(1, &first, nonce);
    assert_eq!(said.lines[0].1["result"], true);
    let Output::Share { credited, height, .. } = said.outputs[0] else { panic!() };
    assert_eq!((credited, height), (Difficulty(0.0001), 501));
    assert_eq!(world.submit(1, &first, nonce).error_code(), Some(22));
    // A harder level applies to the jobs that come with it and after it, not to those before.
    let hard = r#"{"id":3,"method":"mining.suggest_difficulty","params":[1000000]}"#;
    let harder = world.line(1, hard).lines[2].1["params"].clone();
    let nonce = world.mine(1, &first, nonce + 1);
    assert_eq!(world.submit(1, &first, nonce).lines[0].1["result"], true);
    let nonce = world.mine(1, &harder, 0);
    assert_eq!(world.submit(1, &harder, nonce).error_code(), Some(23));
}

#[test]
fn a_session_is_resumed_with_its_extranonce_and_its_jobs() {
    let mut world = World::new(false);
    world.connect(1);
    let said = world.line(1, r#"{"id":1,"method":"mining.subscribe","params":["cgminer/4.11.1"]}"#);
    let sid = said.lines[0].1["result"][0][0][1].as_str().unwrap().to_string();
    world.line(1, r#"{"id":2,"method":"mining.authorize","params":["w","d=0.0001"]}"#);
    let job = world.wait(400).lines[1].1["params"].clone();
    let resume =
        format!(r#"{{"id":3,"method":"mining.subscribe","params":["cgminer/4.11.1","{sid}"]}}"#);

    world.input(Input::Closed { conn: ConnId(1) });
    world.connect(2);
    let said = world.line(2, &resume);
    assert_eq!(said.lines[0].1["result"][1], "00000009");
    assert_eq!(said.lines[0].1["result"][0][0][1], sid.as_str());
    // cgminer sends its waiting shares before it authorizes.
    let nonce = world.mine(2, &job, 0);
    assert_eq!(world.submit(2, &job, nonce).lines[0].1["result"], true);

    // While the old socket is half open, the newer connection wins.
    world.connect(3);
    let said = world.line(3, &resume);
    assert_eq!(said.lines[0].1["result"][1], "00000009");
    assert!(world.pool.session(ConnId(2)).is_none());
    assert_eq!(said.closed(), Some((ConnId(2), CloseReason::Resumed)));
    let nonce = world.mine(3, &job, nonce + 1);
    assert_eq!(world.submit(3, &job, nonce).lines[0].1["result"], true);

    // A stranger's id is not ours: it gets an extranonce1 of its own.
    world.connect(4);
    let line = r#"{"id":1,"method":"mining.subscribe","params":["x","0000000912345678"]}"#;
    assert_ne!(world.line(4, line).lines[0].1["result"][1], "00000009");
}

#[test]
fn extranonces_are_unique() {
    let mut world = World::new(false);
    let mut seen = std::collections::HashSet::new();
    for conn in 1..50 {
        assert!(seen.insert(world.miner(conn, "1").0));
    }
}

#[test]
fn without_work_nobody_is_kept_or_let_in() {
    let mut world = World::new(false);
    world.miner(1, "1");
    let said = world.input(Input::NoWork);
    assert_eq!(said.closed(), Some((ConnId(1), CloseReason::NoWork)));
    world.input(Input::Closed { conn: ConnId(1) });
    assert_eq!(world.connect(2).closed(), Some((ConnId(2), CloseReason::NoWork)));
    world.work(2, false);
    world.miner(3, "1");
}

#[test]
fn who_says_nothing_or_nonsense_is_let_go() {
    let mut world = World::new(false);
    world.connect(1);
    assert_eq!(world.wait(60_000).closed(), Some((ConnId(1), CloseReason::Silent)));
    world.miner(2, "1");
    let said = world.line(2, "GET / HTTP/1.1");
    assert_eq!((said.error_code(), said.closed()), (Some(20), None));
    let closed = (0..20).find_map(|_| world.line(2, "Accept: */*").closed());
    assert_eq!(closed, Some((ConnId(2), CloseReason::NotStratum)));
}

/// A real address, and the script that it stands for.
const ANNA: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
const ANNAS_SCRIPT: &str = "0014751e76e8199196d454941c45d1b3a323f1433bd6";

impl World {
    /// A world whose pool notes what a restart must not forget.
    fn with_memory(easy: bool, payee_chains: Vec<Chain>) -> World {
        let mut world = World::new(easy);
        let rules = Rules {
            session_key: SessionKey([1; 32]),
            password: None,
            overrides: Vec::new(),
            payee_chains,
        };
        world.pool = Pool::new(rules, 0x100);
        world.pool.restore_jobs(world.now(), RestoredJobs::default());
        world.work(1, easy);
        world
    }

    /// The daemon dies, and another run takes up what was noted; the sockets are gone. Work comes
    /// with the tip, and `first_job_id` lies behind the earlier ones.
    fn restart(&mut self, tip: u8, easy: bool) {
        self.die();
        self.work(tip, easy);
    }

    /// The same without work, and with the sockets of these connections: what the new run says of each.
    fn restart_with(
        &mut self,
        conns: &[u64],
        change: impl Fn(&mut Rules),
    ) -> Vec<Result<(), Unfit>> {
        let session = |conn: &u64| self.pool.session(ConnId(*conn)).and_then(Session::handed);
        let handed: Vec<_> = conns.iter().map(|conn| (*conn, session(conn).unwrap())).collect();
        self.die();
        change(&mut self.pool.rules);
        let now = self.now();
        let peer = Ipv4Addr::LOCALHOST.into();
        let take_up = |(conn, handed)| self.pool.take_up(now, ConnId(conn), peer, handed);
        handed.into_iter().map(take_up).collect()
    }

    fn die(&mut self) {
        let now = self.now();
        let moment =
            crate::job_journal::Moment { mono: now.mono, uptime: Duration::from_secs(100) };
        let header = || crate::job_journal::header("boot");
        let mut bytes = match self.kept.is_empty() {
            true => header(),
            false => std::mem::take(&mut self.kept),
        };
        let before = RestoredJobs::read(moment, "boot", &bytes).0;
        let mut encoder = Encoder::following(&before);
        for record in self.pool.job_records() {
            if let JobRecord::Tip = record {
                (bytes, encoder) = (header(), Encoder::default());
            }
            encoder.encode(moment, &record, &mut bytes);
        }
        let (restored, good) = RestoredJobs::read(moment, "boot", &bytes);
        assert_eq!(good, bytes.len());
        self.kept = bytes;
        let rules = Rules {
            session_key: SessionKey([1; 32]),
            password: None,
            overrides: Vec::new(),
            payee_chains: self.pool.rules.payee_chains.clone(),
        };
        let run = restored.last_job.unwrap().run() + 1;
        self.pool = Pool::new(rules, JobId::first_of(run).0);
        self.pool.restore_jobs(now, restored);
    }

    /// Introduces a miner; its session id and first job.
    fn named(&mut self, conn: u64, agent: &str, session: &str, name: &str) -> (String, Value) {
        self.connect(conn);
        let said = self.line(
            conn,
            &format!(r#"{{"id":1,"method":"mining.subscribe","params":["{agent}"{session}]}}"#),
        );
        let sid = said.lines[0].1["result"][0][0][1].as_str().unwrap().to_string();
        let login =
            format!(r#"{{"id":2,"method":"mining.authorize","params":["{name}","d=0.0001"]}}"#);
        self.line(conn, &login);
        let said = self.wait(400);
        let notify = said
            .lines
            .iter()
            .rev()
            .find(|(c, line)| *c == ConnId(conn) && line["method"] == "mining.notify");
        (sid, notify.unwrap().1["params"].clone())
    }

    fn resume(&mut self, conn: u64, sid: &str) {
        self.connect(conn);
        let line =
            format!(r#"{{"id":1,"method":"mining.subscribe","params":["cgminer","{sid}"]}}"#);
        let said = self.line(conn, &line);
        assert_eq!(said.lines[0].1["result"][0][0][1], sid);
    }
}

fn block_of(said: &Said) -> bitcoin::Block {
    let Some(Output::Block(block)) = said.outputs.first() else { panic!("{:?}", said.outputs) };
    let whole: bitcoin::Block = bitcoin::consensus::deserialize(&block.bytes).unwrap();
    assert_eq!(whole.block_hash().to_string(), block.hash.to_string());
    // The rest of the tree stands in the branch alone.
    let coinbase = whole.txdata[0].compute_txid().to_byte_array();
    let root = crate::hash::branch_root(&coinbase, &template(1).branch);
    assert_eq!(whole.header.merkle_root.to_byte_array(), root);
    whole
}

#[test]
fn a_restart_forgets_no_job_no_difficulty_and_no_counted_share() {
    let mut world = World::with_memory(false, Vec::new());
    let (sid, job) = world.named(1, "cgminer/4.11.1", "", "w");
    let counted = world.mine(1, &job, 0);
    assert_eq!(world.submit(1, &job, counted).lines[0].1["result"], true);
    let waiting = world.mine(1, &job, counted + 1);
    for _ in 0..2 {
        // Twice: the second run hands on what the first had given.
        world.restart(1, false);
    }
    world.resume(2, &sid);
    // Between subscribe and authorize, as cgminer sends them, at the difficulty of then.
    assert_eq!(world.submit(2, &job, waiting).lines[0].1["result"], true);
    assert_eq!(world.submit(2, &job, counted).error_code(), Some(22));
    assert_eq!(world.submit(2, &job, waiting).error_code(), Some(22));
    // The next jobs have other ids and later times.
    let said = world.line(2, r#"{"id":2,"method":"mining.authorize","params":["w","d=0.0001"]}"#);
    assert_eq!(said.methods(), ["answer"]);
    let next = world.wait(400).lines[1].1["params"].clone();
    assert_ne!(next[0], job[0]);
    assert!(next[7].as_str() > job[7].as_str(), "{next} after {job}");
}

#[test]
fn a_block_on_a_job_of_the_run_before_is_a_block() {
    for tip in [1, 2] {
        let mut world = World::with_memory(true, Vec::new());
        let (sid, job) = world.named(1, "cgminer", "", "w");
        let expected = block_of(&world.submit(1, &job, 5));
        let mut world = World::with_memory(true, Vec::new());
        world.named(1, "cgminer", "", "w");
        world.restart(tip, true);
        world.resume(2, &sid);
        let said = world.submit(2, &job, 5);
        assert_eq!(block_of(&said), expected);
        // On the tip of then it counts as well.
        assert_eq!(said.error_code(), (tip == 2).then_some(21));
    }
}

#[test]
fn a_new_tip_starts_the_memory_anew_with_what_the_miners_have() {
    let mut world = World::with_memory(false, Vec::new());
    let (sid, _) = world.named(1, "cgminer", "", "w");
    let job = world.work(2, false).lines[0].1["params"].clone();
    let nonce = world.mine(1, &job, 0);
    world.restart(2, false);
    world.resume(2, &sid);
    // Were its difficulty forgotten, it would be the 1000 of its kind.
    assert_eq!(world.submit(2, &job, nonce).lines[0].1["result"], true);
}

/// The connection is the same, and so is the session: its shares count before there is any work, and the
/// first job of the new run takes nothing away.
#[test]
fn a_session_goes_on_over_a_restart_on_its_connection() {
    let mut world = World::with_memory(false, Vec::new());
    let (extranonce1, job) = world.miner(1, "0.0001");
    world.miner(2, "0.0001");
    let first = world.mine(1, &job, 0);
    assert_eq!(world.submit(1, &job, first).lines[0].1["result"], true);
    let second = world.mine(1, &job, first + 1);
    let since = world.pool.session(ConnId(1)).unwrap().connected_at();
    world.wait(5_000);
    assert_eq!(world.restart_with(&[1, 2], |_| {}), [Ok(()), Ok(())]);
    assert!(!world.pool.is_open());
    assert_eq!(world.pool.news().collect::<Vec<_>>(), [ConnId(1), ConnId(2)]);

    assert_eq!(world.submit(1, &job, first).error_code(), Some(22), "it was counted before");
    let said = world.submit(1, &job, second);
    assert_eq!(said.lines[0].1["result"], true);
    assert!(matches!(said.outputs[0], Output::Share { .. }), "{:?}", said.outputs);
    let session = world.pool.session(ConnId(1)).unwrap();
    assert_eq!(faster_hex::hex_string(&session.extranonce1().0), extranonce1);
    assert_eq!((session.worker(), session.user_agent()), (Some("w"), "x"));
    assert_eq!(session.connected_at(), since);
    assert!(session.is_fixed() && session.difficulty() == Some(Difficulty(0.0001)));

    let said = world.work(1, false);
    assert_eq!(said.methods(), ["mining.notify", "mining.notify"], "no difficulty: they have it");
    assert!(said.lines.iter().all(|(_, line)| line["params"][8] == false), "no clean job");
    // Another tip makes the old jobs stale, as ever.
    let said = world.work(2, false);
    assert!(said.lines.iter().all(|(_, line)| line["params"][8] == true));
    let third = second + 1;
    assert_eq!(world.submit(1, &job, third).error_code(), Some(21));
    // Nobody else is given its extranonce1.
    assert_ne!(world.miner(3, "1").0, extranonce1);
}

#[test]
fn a_session_whose_tip_has_gone_meanwhile_gets_a_clean_job() {
    let mut world = World::with_memory(false, Vec::new());
    world.miner(1, "0.0001");
    world.restart_with(&[1], |_| {});
    let said = world.work(2, false);
    assert_eq!(said.methods(), ["mining.notify"]);
    assert_eq!(said.lines[0].1["params"][8], true);
}

#[test]
fn what_a_miner_was_told_is_kept_up_or_it_does_not_go_on() {
    let mut world = World::with_memory(false, Vec::new());
    world.miner(1, "0.0001");
    let handed = world.pool.session(ConnId(1)).unwrap().handed().unwrap();
    let other = |rules: &mut Rules| {
        let extranonce2_size = Some(4);
        rules.overrides =
            vec![Override { prefix: "x".into(), extranonce2_size, ..Default::default() }];
    };
    assert_eq!(world.restart_with(&[1], other), [Err(Unfit::OtherExtranonce)]);
    assert_eq!(world.pool.sessions().count(), 0);
    // What it was given is still there for its return.
    assert_eq!(world.pool.parked.len(), 1);
    world.pool.rules.overrides.clear();
    let now = world.now();
    let mut take_up =
        |conn| world.pool.take_up(now, ConnId(conn), Ipv4Addr::LOCALHOST.into(), handed.clone());
    assert_eq!(take_up(1), Ok(()));
    assert_eq!(take_up(2), Err(Unfit::TwiceThere));
}

/// Only who has had a job goes on, and each change that the next run has to know of is news once.
#[test]
fn what_the_next_run_must_know_is_news_when_it_changes_and_at_no_share() {
    let mut world = World::with_memory(false, Vec::new());
    let news = |world: &mut World| world.pool.news().map(|conn| conn.0).collect::<Vec<_>>();
    world.connect(1);
    world.line(1, r#"{"id":1,"method":"mining.subscribe","params":["x"]}"#);
    world.line(1, r#"{"id":2,"method":"mining.authorize","params":["w","d=0.0001"]}"#);
    assert!(news(&mut world).is_empty());
    assert_eq!(world.pool.session(ConnId(1)).unwrap().handed(), None);
    let job = world.wait(400).lines[1].1["params"].clone();
    assert_eq!(news(&mut world), [1]);
    let nonce = world.mine(1, &job, 0);
    assert_eq!(world.submit(1, &job, nonce).lines[0].1["result"], true);
    world.wait(60_000);
    world.work(2, false);
    assert!(news(&mut world).is_empty());
    world.line(1, r#"{"id":3,"method":"mining.suggest_difficulty","params":[64]}"#);
    assert_eq!(news(&mut world), [1]);
    world.line(1, r#"{"id":3,"method":"mining.authorize","params":["other","x"]}"#);
    world.input(Input::Fix { conn: ConnId(1), difficulty: Some(2.0) });
    assert_eq!(news(&mut world), [1, 1]);
    let handed = world.pool.session(ConnId(1)).unwrap().handed().unwrap();
    assert_eq!((handed.worker.as_str(), handed.wish), ("other", Some(64.0)));
    assert_eq!(handed.level, crate::vardiff::Start::Fixed(2.0));
}

/// A level that vardiff finds while there is no work is told with the first job, and shares are judged by
/// what the miner knows until then.
#[test]
fn a_level_that_is_found_without_work_is_told_with_the_first_job() {
    let mut world = World::with_memory(false, Vec::new());
    world.connect(1);
    world.line(1, r#"{"id":1,"method":"mining.subscribe","params":["x"]}"#);
    world.line(1, r#"{"id":2,"method":"mining.authorize","params":["w","x"]}"#);
    world.wait(400);
    world.restart_with(&[1], |_| {});
    let before = world.pool.session(ConnId(1)).unwrap().difficulty();
    // Nothing is heard of it, and nobody can be told.
    assert!(world.wait(600_000).lines.is_empty());
    assert_eq!(world.pool.session(ConnId(1)).unwrap().difficulty(), before);
    let said = world.work(1, false);
    assert_eq!(said.methods(), ["mining.set_difficulty", "mining.notify"]);
    let after = world.pool.session(ConnId(1)).unwrap().difficulty();
    assert!(after.unwrap().0 < before.unwrap().0, "{before:?} {after:?}");
    assert_eq!(said.lines[0].1["params"][0], after.unwrap().0);
}

#[test]
fn a_miner_that_is_named_by_an_address_is_paid_there_if_the_owner_allows_it() {
    let pays = |job: &Value| job[3].as_str().unwrap().contains(ANNAS_SCRIPT);
    let owner = "\u{51}".as_bytes();
    for (chains, name, expected) in [
        (vec![Chain::Main], ANNA.to_owned(), true),
        (vec![Chain::Main], format!("{ANNA}.attic"), true),
        (vec![Chain::Main], format!("{ANNA}_attic"), true),
        (vec![Chain::Main], format!("{ANNA}/attic"), true),
        (vec![Chain::Main], format!("bitcoin:{ANNA}?label=attic"), true),
        (vec![Chain::Main], format!("BITCOIN:{}", ANNA.to_ascii_uppercase()), true),
        (vec![], format!("{ANNA}.attic"), false),
        (vec![Chain::Regtest], ANNA.to_owned(), false),
        (vec![Chain::Main], "anna.attic".to_owned(), false),
        (vec![Chain::Main], format!("{}x", ANNA), false),
        (vec![Chain::Main], String::new(), false),
    ] {
        let mut world = World::with_memory(true, chains.clone());
        let (sid, job) = world.named(1, "cgminer", "", &name);
        let (_, others) = world.named(2, "x", "", "w");
        assert_eq!((pays(&job), pays(&others)), (expected, false), "{name} {chains:?}");
        assert_eq!(world.pool.session(ConnId(1)).unwrap().payee().is_some(), expected);
        let script_of = |block: bitcoin::Block| block.txdata[0].output[0].script_pubkey.to_bytes();
        let wanted = match expected {
            true => faster_hex::hex_string(&script_of(block_of(&world.submit(1, &job, 5)))),
            false => ANNAS_SCRIPT.to_owned(),
        };
        assert_eq!(wanted, ANNAS_SCRIPT);
        assert_eq!(script_of(block_of(&world.submit(2, &others, 5))), owner);
        // Broadcast jobs pay it too, and others hear the common line.
        let said = world.work(1, true);
        let told: Vec<bool> = said.lines.iter().map(|(_, l)| pays(&l["params"])).collect();
        assert_eq!(told, [expected, false]);
        // Over a restart each job pays as it did, before the miner has said its name.
        world.restart(1, true);
        world.resume(3, &sid);
        let block = script_of(block_of(&world.submit(3, &job, 6)));
        assert_eq!(faster_hex::hex_string(&block) == ANNAS_SCRIPT, expected);
    }
}

#[test]
fn a_mistyped_address_is_told_and_a_name_is_not() {
    let mut world = World::with_memory(true, vec![Chain::Main]);
    let mut fault = |conn, name: &str| {
        world.named(conn, "cgminer", "", name);
        let session = world.pool.session(ConnId(conn)).unwrap();
        assert_eq!(session.payee().is_some(), name.starts_with(ANNA), "{name}");
        session.payee_fault().map(str::to_owned)
    };
    for (conn, name, words) in [
        (1, ANNA.replace("qw5", "qq5"), "its checksum does not match: character number 5 looks"),
        (2, format!("{}.attic", &ANNA[..40]), "its checksum does not match"),
        (3, "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx_1".to_owned(), "another chain"),
        (4, "bitcoin:1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb".to_owned(), "its checksum"),
    ] {
        let fault = fault(conn, &name).unwrap();
        assert!(fault.contains(words), "{name}: {fault}");
    }
    for (conn, name) in
        [(5, ANNA), (6, "nerd"), (7, "1"), (8, ""), (9, "bc1-attic"), (10, "minerA")]
    {
        assert_eq!(fault(conn, name), None, "{name}");
    }
    // The rule is off: a name decides nothing.
    let mut world = World::with_memory(true, Vec::new());
    world.named(1, "cgminer", "", &ANNA.replace("qw5", "qq5"));
    assert_eq!(world.pool.session(ConnId(1)).unwrap().payee_fault(), None);
}

#[test]
fn a_difficulty_in_a_password_is_plain_or_it_is_told() {
    let mut world = World::new(false);
    let mut asks = |conn, password: &str| {
        world.connect(conn);
        world.line(conn, r#"{"id":1,"method":"mining.subscribe","params":["bitaxe/BM1370"]}"#);
        let login =
            format!(r#"{{"id":2,"method":"mining.authorize","params":["w","{password}"]}}"#);
        world.line(conn, &login);
        let first = world.wait(400).lines.iter().rev().nth(1).unwrap().1["params"][0].as_f64();
        (first.unwrap(), world.pool.session(ConnId(conn)).unwrap().asks_unclearly())
    };
    assert_eq!(asks(1, "d=0.5"), (0.5, false));
    assert_eq!(asks(2, "d=0,5"), (1.0, true));
    assert_eq!(asks(3, "x"), (1.0, false));
}

#[test]
fn the_owners_password_is_no_part_of_a_difficulty() {
    let mut world = World::new(false);
    world.pool = Pool::new(
        Rules {
            session_key: SessionKey([1; 32]),
            password: Some("123".to_owned()),
            overrides: Vec::new(),
            payee_chains: Vec::new(),
        },
        0x100,
    );
    world.work(1, false);
    world.connect(1);
    world.line(1, r#"{"id":1,"method":"mining.subscribe","params":["x"]}"#);
    world.line(1, r#"{"id":2,"method":"mining.authorize","params":["w","d=0.5,123"]}"#);
    assert_eq!(world.wait(400).lines[0].1["params"][0], 0.5);
    assert!(!world.pool.session(ConnId(1)).unwrap().asks_unclearly());
}

#[test]
fn a_newer_wish_goes_over_a_saved_level_and_a_sign_of_life_over_nothing() {
    let mut world = World::new(false);
    let suggest =
        |wish: f64| format!(r#"{{"id":3,"method":"mining.suggest_difficulty","params":[{wish}]}}"#);
    let mut begin = |conn, before, first: f64| {
        world.connect(conn);
        world.line(conn, r#"{"id":1,"method":"mining.subscribe","params":["NerdMinerV2"]}"#);
        world.line(conn, r#"{"id":2,"method":"mining.authorize","params":["w","x"]}"#);
        let saved = Saved::Level { difficulty: 0.25, wish: before };
        world.input(Input::Saved { conn: ConnId(conn), saved });
        let said = world.line(conn, &suggest(first));
        let first = said.lines[1].1["params"][0].as_f64().unwrap();
        // Over and over again, as a sign of life: an answer, and nothing else.
        for _ in 0..2 {
            assert_eq!(world.line(conn, &suggest(0.00015)).methods(), ["answer"]);
        }
        // While it mines: what is new counts, and once.
        let said = world.line(conn, &suggest(0.5));
        assert_eq!(said.methods(), ["answer", "mining.set_difficulty", "mining.notify"]);
        assert_eq!(said.lines[1].1["params"][0], 0.5);
        assert_eq!(world.line(conn, &suggest(0.5)).methods(), ["answer"]);
        first
    };
    assert_eq!(begin(1, None, 0.125), 0.25, "nothing is known of what it wished for then");
    assert_eq!(begin(2, Some(0.125), 0.125), 0.25, "the level was found since that wish");
    assert_eq!(begin(3, Some(0.00015), 0.125), 0.125, "a newer wish");
    assert_eq!(begin(4, Some(0.125), 0.00015), 0.25, "no wish");
}

#[test]
fn a_change_of_the_rule_concerns_the_jobs_to_come() {
    let mut world = World::with_memory(true, Vec::new());
    let rules = |payee_chains| {
        let overrides = Vec::new();
        Input::Rules(Box::new(Rules {
            session_key: SessionKey([1; 32]),
            password: None,
            overrides,
            payee_chains,
        }))
    };
    let (_, first) = world.named(1, "x", "", ANNA);
    world.input(rules(vec![Chain::Main]));
    let second = world.work(1, true).lines[0].1["params"].clone();
    world.input(rules(vec![]));
    let third = world.work(1, true).lines[0].1["params"].clone();
    for (job, expected) in [(first, false), (second, true), (third, false)] {
        let block = block_of(&world.submit(1, &job, 5));
        let script = faster_hex::hex_string(block.txdata[0].output[0].script_pubkey.as_bytes());
        assert_eq!(script == ANNAS_SCRIPT, expected, "{job}");
        assert_eq!(job[3].as_str().unwrap().contains(ANNAS_SCRIPT), expected);
    }
}

#[test]
fn news_is_shown_by_miners_that_can_and_not_too_often() {
    let mut world = World::new(false);
    let say = |text: &str| Input::Say(text.to_owned());
    world.named(1, "bitaxe/BM1370/v2.13.1", "", "a");
    world.named(2, "NerdMinerV2/V1.8.3", "", "b");
    world.connect(3);
    world.line(3, r#"{"id":1,"method":"mining.subscribe","params":["bitaxe/BM1370"]}"#);
    let said = world.input(say("one"));
    let told: Vec<_> = said.lines.iter().map(|(conn, line)| (conn.0, line.clone())).collect();
    let message = serde_json::json!({"id":null,"method":"client.show_message","params":["one"]});
    assert_eq!(told, [(1, message)], "the third is not mining yet");
    assert!(world.input(say("two")).lines.is_empty());
    assert!(world.input(say("three")).lines.is_empty());
    let later = world.wait(10_000);
    let shown: Vec<_> = later
        .lines
        .iter()
        .filter(|(conn, line)| conn.0 == 1 && line["method"] == "client.show_message")
        .map(|(_, line)| line["params"][0].as_str().unwrap())
        .collect();
    assert_eq!(shown, ["three"], "the newest, once");
    // Sent away, it is told why; nothing that waited is said after that.
    world.input(say("four"));
    let said = world.input(Input::NoWork);
    assert_eq!(said.methods(), ["client.show_message"]);
    assert!(said.lines[0].1["params"][0].as_str().unwrap().contains("other pool"));
    world.work(2, false);
    assert!(world.wait(60_000).methods().iter().all(|method| *method != "client.show_message"));
}
