//! Three miners say anything in any order, and time passes: the pool does not panic, keeps within
//! its memory, and keeps its promises to each of them.
#![no_main]

#[path = "../../tests/pure/dialogues/watch.rs"]
mod watch;
#[path = "../../tests/pure/dialogues/world.rs"]
mod world;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use world::{Chain, World};

#[derive(Arbitrary, Debug)]
enum Event<'a> {
    Bytes(u8, &'a [u8]),
    Configure(u8, u32),
    Subscribe(u8, u8, Option<bool>),
    Authorize(u8, u8),
    Suggest(u8, f64),
    Submit { miner: u8, back: u8, extranonce2: u64, ahead: u16, nonce: u32, bits: Option<u32> },
    Wait(u16),
    Block,
    NoWork,
    Reconnect(u8),
    Say,
}

struct Miner {
    conn: u64,
    jobs: Vec<(String, u32)>,
    session: String,
}

const AGENTS: [&str; 6] =
    ["bitaxe/BM1370/v2.13.1", "NerdMinerV2/V1.8.3", "cgminer/4.11.1", "NerdOCTAXE-γ/x", "", "x"];
const NAMES: [&str; 4] = [
    "anna",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.attic",
    "",
    "1BoatSLRHtKNngkdXEeobR76b53LETtpyT",
];
const PASSWORDS: [&str; 4] = ["x", "d=0.001", "d=1e300", "x,d=5"];

fuzz_target!(|input: (bool, Vec<Event<'_>>)| {
    let (easy, events) = input;
    let mut world = World::new(if easy { Chain::Easy } else { Chain::Hard });
    let mut miners: Vec<Miner> = (0..3)
        .map(|_| Miner { conn: world.connect(), jobs: Vec::new(), session: String::new() })
        .collect();
    for event in events.into_iter().take(400) {
        let (who, line) = match event {
            Event::Bytes(who, bytes) => (who, bytes.to_vec()),
            Event::Configure(who, mask) => (
                who,
                call(
                    "mining.configure",
                    &format!("[[\"version-rolling\"],{{\"version-rolling.mask\":\"{mask:08x}\"}}]"),
                ),
            ),
            Event::Subscribe(who, agent, session) => {
                let miner = &miners[usize::from(who) % 3];
                let session = match session {
                    None => "null".to_owned(),
                    Some(true) => format!("\"{}\"", miner.session),
                    Some(false) => "\"0123456789abcdef\"".to_owned(),
                };
                let agent = AGENTS[usize::from(agent) % AGENTS.len()];
                (who, call("mining.subscribe", &format!("[\"{agent}\",{session}]")))
            }
            Event::Authorize(who, words) => {
                let name = NAMES[usize::from(words) % NAMES.len()];
                let password = PASSWORDS[usize::from(words / 4) % PASSWORDS.len()];
                (who, call("mining.authorize", &format!("[\"{name}\",\"{password}\"]")))
            }
            Event::Suggest(who, wish) => {
                (who, call("mining.suggest_difficulty", &format!("[{wish}]")))
            }
            Event::Submit { miner: who, back, extranonce2, ahead, nonce, bits } => {
                // Also for another miner's job.
                let miner = &miners[usize::from(who / 3) % 3];
                let job = miner.jobs.iter().rev().nth(usize::from(back) % 40);
                let (job, ntime) = job.map_or(("77", 0), |(id, ntime)| (id.as_str(), *ntime));
                let ntime = ntime.saturating_add(u32::from(ahead));
                let bits = bits.map_or(String::new(), |bits| format!(",\"{bits:08x}\""));
                let params = format!(
                    "[\"w\",\"{job}\",\"{extranonce2:016x}\",\"{ntime:08x}\",\"{nonce:x}\"{bits}]"
                );
                (who, call("mining.submit", &params))
            }
            Event::Wait(millis) => {
                world.wait(u64::from(millis) * 7);
                (0, Vec::new())
            }
            Event::Block => {
                world.block();
                (0, Vec::new())
            }
            Event::NoWork => {
                world.drop_work();
                world.block();
                (0, Vec::new())
            }
            Event::Reconnect(who) => {
                let miner = &mut miners[usize::from(who) % 3];
                world.cut(miner.conn);
                miner.conn = world.connect();
                (who, Vec::new())
            }
            Event::Say => {
                world.say("a block");
                (0, Vec::new())
            }
        };
        let miner = &mut miners[usize::from(who) % 3];
        if !world.is_open(miner.conn) {
            miner.conn = world.connect();
        }
        world.send(miner.conn, &line);
        for miner in &mut miners {
            listen(&mut world, miner);
        }
    }
    // A decent miner is served as ever.
    let conn = world.connect();
    world.send(conn, &call("mining.subscribe", "[\"x\"]"));
    world.send(conn, &call("mining.authorize", "[\"y\",\"z\"]"));
    world.wait(500);
    assert!(world.heard(conn).iter().any(|line| line.contains("mining.notify")));
});

fn call(method: &str, params: &str) -> Vec<u8> {
    format!("{{\"id\":1,\"method\":\"{method}\",\"params\":{params}}}\n").into_bytes()
}

fn listen(world: &mut World, miner: &mut Miner) {
    for line in world.heard(miner.conn) {
        let message: serde_json::Value = serde_json::from_str(&line).expect("we speak JSON");
        if message["method"] == "mining.notify" {
            let id = message["params"][0].as_str().expect("a string").to_owned();
            let ntime = message["params"][7].as_str().expect("a string");
            miner.jobs.push((id, u32::from_str_radix(ntime, 16).expect("hex")));
        }
        if let Some(session) = message["result"][0][0][1].as_str() {
            miner.session = session.to_owned();
        }
    }
}
