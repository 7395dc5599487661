//! The tests' miner of Stratum V2 is not fooled: whatever breaks a rule of the specification, or is more than
//! a firmware takes, is noticed.
#![allow(clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::common::miner_v2::{CHANNEL_MESSAGE, Frame, Goal, Heard, Message};

/// The number of the only channel here.
const CHANNEL: u32 = 1;

fn number(number: u32) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

fn for_channel(kind: u8, parts: &[&[u8]]) -> Frame {
    Frame { extension: CHANNEL_MESSAGE, kind, payload: parts.concat() }
}

fn opened(group: u32, size: u16) -> Frame {
    let parts = [number(1), number(CHANNEL), target(4), size.to_le_bytes().to_vec()];
    let payload = [parts.concat(), vec![4, 9, 9, 9, 9], number(group)].concat();
    Frame { extension: 0, kind: 0x14, payload }
}

fn target(first: u8) -> Vec<u8> {
    [&[0; 28][..], &[0, 0, first, 0]].concat()
}

/// What may be wrong with a job.
#[derive(Clone)]
struct Job {
    id: u32,
    ntime: Option<u32>,
    version: u32,
    rolling: u8,
    branches: u8,
    tail: usize,
    head: [u8; 6],
}

const JOB: Job = Job {
    id: 16,
    ntime: None,
    version: 0x2000_0000,
    rolling: 1,
    branches: 2,
    tail: 60,
    head: [2, 0, 0, 0, 1, 0],
};

impl Job {
    fn frame(&self) -> Frame {
        let ntime = self.ntime.map_or(vec![0], |ntime| [vec![1], number(ntime)].concat());
        let (head, tail) = (vec![6, 0], (self.tail as u16).to_le_bytes().to_vec());
        let path = vec![0x5a; 32 * usize::from(self.branches)];
        for_channel(
            0x1f,
            &[
                &number(CHANNEL),
                &number(self.id),
                &ntime,
                &number(self.version),
                &[self.rolling, self.branches],
                &path,
                &head,
                &self.head,
                &tail,
                &vec![7; self.tail],
            ],
        )
    }
}

fn tip(job: u32, min_ntime: u32) -> Frame {
    let prev = [0xd0; 32];
    let parts =
        [&number(CHANNEL)[..], &number(job), &prev, &number(min_ntime), &number(0x207f_ffff)];
    for_channel(0x20, &parts)
}

fn set_target(first: u8) -> Frame {
    for_channel(0x21, &[&number(CHANNEL), &target(first)])
}

fn accepted(last: u32, count: u32) -> Frame {
    for_channel(0x1c, &[&number(CHANNEL), &number(last), &number(count), &[0; 8]])
}

/// A burst of messages, all of which have to be right but the last one.
fn hear(heard: &mut Heard, frames: &[Frame]) {
    for frame in frames {
        heard.hear(&Message::read(frame).unwrap());
    }
    heard.end_of_burst();
}

/// A miner with a job on its channel.
fn miner() -> Heard {
    let mut heard = Heard::default();
    hear(&mut heard, &[opened(0, 8), JOB.frame(), tip(16, 1000)]);
    heard
}

#[test]
fn every_broken_rule_is_noticed() {
    // All of this is right.
    let mut right = miner();
    let next = Job { id: 17, ntime: Some(1030), ..JOB };
    hear(&mut right, &[set_target(2), next.frame()]);
    hear(&mut right, &[Job { id: 18, ..JOB }.frame(), tip(18, 1040)]);
    let found = right.find(CHANNEL, Goal::Block);
    assert_eq!((found.job, found.ntime, found.version & 0xe000_1fff), (18, 1040, 0x2000_0000));
    right.sent(CHANNEL, 0);
    right.sent(CHANNEL, 1);
    hear(&mut right, &[accepted(1, 2)]);

    let mut marked = JOB.frame();
    marked.extension = 0;
    let mut longer = tip(16, 1000);
    longer.payload.push(0);
    let mut shorter = tip(16, 1000);
    shorter.payload.pop();
    let unknown = Frame { kind: 0x26, ..tip(16, 1000) };
    let job = |change: fn(&mut Job)| {
        let mut job = Job { id: 17, ntime: Some(1030), ..JOB };
        change(&mut job);
        job.frame()
    };
    let wrongs: Vec<(&str, Vec<Frame>)> = vec![
        ("no mark of a channel's message", vec![marked]),
        ("a byte too many", vec![longer]),
        ("a byte too few", vec![shorter]),
        ("a message that no server sends", vec![unknown]),
        (
            "a channel of another kind",
            vec![for_channel(
                0x15,
                &[&number(CHANNEL), &number(17), &[0], &number(0x2000_0000), &[1; 32]],
            )],
        ),
        ("the same channel again", vec![opened(0, 8)]),
        ("a target without a job", vec![set_target(2)]),
        ("a target that is none", vec![set_target(0), job(|_| {})]),
        ("the target that it has", vec![set_target(4), job(|_| {})]),
        ("two targets", vec![set_target(2), set_target(1), job(|_| {})]),
        ("a job twice", vec![job(|job| job.id = 16)]),
        ("time zero", vec![job(|job| job.ntime = Some(0))]),
        ("a time before the tip's", vec![job(|job| job.ntime = Some(999))]),
        ("a job without its tip", vec![job(|job| job.ntime = None)]),
        (
            "two jobs for a tip in one place of a firmware",
            vec![
                job(|job| job.ntime = None),
                job(|job| (job.ntime, job.id) = (None, 25)),
                tip(17, 1040),
            ],
        ),
        ("a tip for no job", vec![tip(99, 1040)]),
        ("a tip for a job that has begun", vec![tip(16, 1040)]),
        ("a version that leaves no bits", vec![job(|job| job.version = 0x2000_2000)]),
        ("no version bits to roll", vec![job(|job| job.rolling = 0)]),
        ("too many branches for ESP-Miner", vec![job(|job| job.branches = 21)]),
        ("too long for NerdQAxe+", vec![job(|job| job.tail = 1970)]),
        ("a coinbase with a witness", vec![job(|job| job.head[4..].copy_from_slice(&[0, 1]))]),
        ("an answer to no share", vec![accepted(0, 1)]),
        (
            "a refusal of no share",
            vec![for_channel(0x1d, &[&number(CHANNEL), &number(7), b"\x0bstale-share"])],
        ),
        (
            "a job for a channel that is none",
            vec![Frame {
                payload: [number(2), job(|_| {}).payload[4..].to_vec()].concat(),
                ..job(|_| {})
            }],
        ),
    ];
    // Each alone, so that one does not hide another.
    let unnoticed: Vec<&str> = wrongs
        .iter()
        .filter(|(_, frames)| {
            let mut heard = miner();
            catch_unwind(AssertUnwindSafe(|| hear(&mut heard, frames))).is_ok()
        })
        .map(|(what, _)| *what)
        .collect();
    let first: Vec<bool> = [
        vec![opened(CHANNEL, 8), JOB.frame(), tip(16, 1000)],
        vec![opened(0, 29), JOB.frame(), tip(16, 1000)],
        vec![opened(0, 8), Job { ntime: Some(1000), ..JOB }.frame()],
        vec![opened(0, 8)],
    ]
    .iter()
    .map(|frames| catch_unwind(AssertUnwindSafe(|| hear(&mut Heard::default(), frames))).is_ok())
    .collect();
    assert_eq!(unnoticed, [] as [&str; 0]);
    assert_eq!(first, [false; 4], "a group's number, too much extranonce, no tip, no job");
}
