//! A miner of the other box of a pair comes here, with what it found there.

use super::*;
use crate::coinbase::Coinbase;
use crate::job_journal::Moment;
use crate::template::Template;

/// The other box, which notes what its miners are given, and what it has noted.
fn other_box(easy: bool, payee_chains: Vec<Chain>) -> World {
    World::with_memory(easy, payee_chains)
}

/// What the other box has noted since the last call.
fn file_of(other: &mut World) -> Vec<u8> {
    let (mut bytes, mut encoder) = (crate::job_journal::header("boot"), Encoder::default());
    let moment = Moment { mono: other.now().mono, uptime: Duration::from_secs(100) };
    for record in other.pool.job_records() {
        if let JobRecord::Tip = record {
            (bytes, encoder) = (crate::job_journal::header("boot"), Encoder::default());
        }
        encoder.encode(moment, &record, &mut bytes);
    }
    bytes
}

/// This box, whose ids are before those of the other one, or after them.
fn this_box(easy: bool, first_job_id: u32) -> World {
    let mut world = World::new(easy);
    let rules = Rules {
        session_key: SessionKey([1; 32]),
        password: None,
        overrides: Vec::new(),
        payee_chains: Vec::new(),
    };
    world.pool = Pool::new(rules, first_job_id);
    world.input(Input::Side(Some(true)));
    world.work(1, easy);
    world
}

impl World {
    fn take(&mut self, file: &[u8]) -> Result<usize, Untaken> {
        let now = self.now();
        let moment = Moment { mono: now.mono, uptime: Duration::from_secs(100) };
        self.pool.take_partners(now, RestoredJobs::read_copy(moment, file))
    }
}

#[test]
fn a_late_share_for_a_job_of_the_other_box_counts_once_and_by_its_own_difficulty() {
    for first_job_id in [1 << 31, 0xfff0_0000] {
        let mut there = other_box(false, Vec::new());
        let (sid, job) = there.named(1, "cgminer/4.11.1", "", "w");
        let counted = there.mine(1, &job, 0);
        assert_eq!(there.submit(1, &job, counted).lines[0].1["result"], true);
        let late = there.mine(1, &job, counted + 1);
        let second = there.mine(1, &job, late + 1);
        let file = file_of(&mut there);

        let mut here = this_box(false, first_job_id);
        here.resume(2, &sid);
        assert_eq!(here.submit(2, &job, late).error_code(), Some(21), "nothing is known of it");
        assert_eq!(here.take(&file), Ok(2));
        assert_eq!(here.submit(2, &job, late).lines[0].1["result"], true);
        assert_eq!(here.submit(2, &job, late).error_code(), Some(22));
        assert_eq!(here.submit(2, &job, counted).error_code(), Some(22), "it counted there");
        // What it is given here decides about jobs of this box alone.
        here.line(2, r#"{"id":2,"method":"mining.authorize","params":["w","d=1000000"]}"#);
        let own = here.wait(400).lines[1].1["params"].clone();
        assert_eq!(here.submit(2, &job, second).lines[0].1["result"], true);
        let hard = here.mine(2, &own, 0);
        assert_eq!(here.submit(2, &own, hard).error_code(), Some(23));
        // Another reading of the same changes nothing.
        assert_eq!(here.take(&file), Ok(2));
        for nonce in [counted, late, second] {
            assert_eq!(here.submit(2, &job, nonce).error_code(), Some(22));
        }
    }
}

#[test]
fn a_block_on_a_job_of_the_other_box_is_a_block_and_pays_whom_the_job_paid() {
    // The tip of this box, its height against the other's: the same, a later one, one before.
    for (tip, code) in [(1, None), (2, Some(21)), (0, None)] {
        let mut there = other_box(true, vec![Chain::Main]);
        let (sid, job) = there.named(1, "cgminer", "", ANNA);
        let file = file_of(&mut there);
        let expected = block_of(&there.submit(1, &job, 5));
        let script = expected.txdata[0].output[0].script_pubkey.to_hex_string();
        assert_eq!(script, ANNAS_SCRIPT);

        let mut here = this_box(true, 1 << 31);
        here.work(tip, true);
        here.take(&file).unwrap();
        here.resume(2, &sid);
        let said = here.submit(2, &job, 5);
        assert_eq!(block_of(&said), expected, "tip {tip}");
        assert_eq!(said.error_code(), code, "tip {tip}");
    }
}

#[test]
fn jobs_of_the_other_box_outlive_its_tip_as_own_ones_do() {
    let mut there = other_box(true, Vec::new());
    let (sid, job) = there.named(1, "cgminer", "", "w");
    there.submit(1, &job, 5);
    let mut here = this_box(true, 1 << 31);
    here.work(0, true);
    here.take(&file_of(&mut there)).unwrap();
    here.resume(2, &sid);
    here.line(2, r#"{"id":2,"method":"mining.authorize","params":["w","x"]}"#);
    here.wait(400);
    assert_eq!(here.submit(2, &job, 6).lines[0].1["result"], true);
    // The box comes to the tip on which the other one was already: what counted there stays known.
    here.work(1, true);
    assert_eq!(here.submit(2, &job, 5).error_code(), Some(22));
    assert_eq!(here.submit(2, &job, 6).error_code(), Some(22), "it counted here");
    assert_eq!(here.submit(2, &job, 10).lines[0].1["result"], true);
    here.work(2, true);
    assert_eq!(here.submit(2, &job, 7).error_code(), Some(21), "stale");
    block_of(&here.submit(2, &job, 8));
    here.wait(200_000);
    here.work(3, true);
    let said = here.submit(2, &job, 9);
    assert_eq!(said.error_code(), Some(21));
    assert!(!matches!(said.outputs.first(), Some(Output::Block(_))), "forgotten");
    assert!(here.pool.partners.given.is_empty());
}

#[test]
fn ids_that_may_be_this_boxs_own_are_not_taken() {
    let mut there = other_box(false, Vec::new());
    there.named(1, "cgminer", "", "w");
    let mut here = this_box(false, 0x5_0000);
    assert_eq!(here.take(&file_of(&mut there)), Err(Untaken::SameIds));
    assert!(!here.pool.jobs.has_any_partners() && here.pool.partners.given.is_empty());
}

/// Whoever knows the code can send what he likes.
#[test]
fn what_no_box_makes_is_not_taken() {
    let mut here = this_box(false, 1 << 31);
    let now = here.now();
    let work = |coinbase1: usize, nodes: usize| {
        let template = Template { branch: vec![[7; 32]; nodes], ..template(1) };
        let coinbase =
            Coinbase { coinbase1: vec![1; coinbase1], coinbase2: Vec::new(), has_witness: true };
        let template = Arc::new(template);
        JobRecord::Work { template, coinbase, version: 1, received: now.mono }
    };
    let file = |records: Vec<JobRecord>| {
        let moment = Moment { mono: now.mono, uptime: Duration::from_secs(100) };
        let (mut bytes, mut encoder) = (crate::job_journal::header("boot"), Encoder::default());
        records.iter().for_each(|record| encoder.encode(moment, record, &mut bytes));
        bytes
    };
    assert_eq!(here.take(&file(vec![work(100, 12)])), Ok(0));
    assert_eq!(here.take(&file(vec![work(300, 12)])), Err(Untaken::Impossible));
    assert_eq!(here.take(&file(vec![work(100, 21)])), Err(Untaken::Impossible));
    // A flood of counted shares, by numbers of the sender's choice.
    let started = Instant::now();
    here.take(&file((0..150_000).map(|n| JobRecord::Share(n << 20)).collect())).unwrap();
    assert_eq!(here.pool.partners.counted.len(), 1 << 15);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    // Levels of more miners than there can be.
    let level = |n: u32| JobRecord::Level {
        extranonce1: Extranonce1(n.to_be_bytes()),
        from: JobId(1),
        difficulty: Difficulty(1.0),
    };
    here.take(&file((0..5_000).map(level).collect())).unwrap();
    assert_eq!(here.pool.partners.given.len(), MAX_PARKED);
}
