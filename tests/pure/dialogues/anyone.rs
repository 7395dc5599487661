//! Miners that nobody has met: arbitrary bytes, and arbitrary order of well-formed calls. The
//! rules of `watch.rs` hold for them too.

use proptest::prelude::*;
use serde_json::Value;

use super::world::{Chain, World};

/// What may happen to a wire.
#[derive(Clone, Debug)]
enum Event {
    /// A call, written with this id.
    Call(Call, String),
    /// Bytes of no meaning.
    Noise(Vec<u8>),
    Wait(u64),
    Block,
    /// News that miners show.
    News,
    Reconnect,
}

#[derive(Clone, Debug)]
enum Call {
    Configure(&'static str),
    /// With a session id: none, one of ours, or a stranger's.
    Subscribe(&'static str, u8),
    /// With a name and a password.
    Authorize(&'static str, &'static str),
    Suggest(&'static str),
    /// For the job that was given so many jobs ago.
    Submit {
        back: usize,
        extranonce2: &'static str,
        ntime_ahead: u32,
        nonce: u32,
        bits: u8,
    },
    Other(&'static str),
}

/// This miner would be paid itself.
const AN_ADDRESS: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.attic";

fn id() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (0u32..1000).prop_map(|id| id.to_string()),
        1 => Just("\"auth\"".to_owned()),
        1 => Just("null".to_owned()),
        1 => Just("-1.5e3".to_owned()),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        1 => prop_oneof![
            Just(r#"[["version-rolling"],{"version-rolling.mask":"ffffffff"}]"#),
            Just(r#"[["version-rolling","minimum-difficulty"],{"minimum-difficulty.value":2048}]"#),
            Just("[]"), Just("[[],{}]"), Just(r#"["x"]"#),
        ].prop_map(Call::Configure),
        3 => (prop_oneof![
            Just("bitaxe/BM1370/v2.13.1"), Just("NerdMinerV2/V1.8.3"), Just("cgminer/4.11.1"),
            Just("NerdOCTAXE-γ/x"), Just(""),
        ], 0u8..3).prop_map(|(agent, session)| Call::Subscribe(agent, session)),
        3 => (prop_oneof![Just("anna"), Just(""), Just(AN_ADDRESS)],
            prop_oneof![Just("x"), Just("d=0.001"), Just("d=5"), Just("x,d=1e300"), Just("")])
            .prop_map(|(name, password)| Call::Authorize(name, password)),
        2 => prop_oneof![
            Just("0.00015"), Just("1000"), Just("1e300"), Just("0"), Just("\"12.5\""), Just("-4"),
            Just("1e-300"), Just("1.5"), Just("null"),
        ].prop_map(Call::Suggest),
        8 => (0usize..4, prop_oneof![
                Just("0000000000000001"), Just("1"), Just("ABCDEF"), Just("00000000000000000000ff"),
            ], 0u32..9000, any::<u32>(), 0u8..4)
            .prop_map(|(back, extranonce2, ntime_ahead, nonce, bits)| {
                Call::Submit { back, extranonce2, ntime_ahead, nonce, bits }
            }),
        2 => prop_oneof![
            Just("mining.extranonce.subscribe"), Just("mining.ping"), Just("mining.capabilities"),
            Just("mining.get_transactions"), Just("client.get_version"), Just("eth_getWork"),
            Just("mining.multi_version"),
        ].prop_map(Call::Other),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => (call(), id()).prop_map(|(call, id)| Event::Call(call, id)),
        1 => proptest::collection::vec(any::<u8>(), 0..60).prop_map(Event::Noise),
        4 => prop_oneof![Just(0u64), Just(100), Just(400), Just(5_000), Just(30_000), Just(400_000)]
            .prop_map(Event::Wait),
        1 => Just(Event::Block),
        1 => Just(Event::News),
        1 => Just(Event::Reconnect),
    ]
}

/// One arbitrary miner: what it has been told so far.
struct Anyone {
    world: World,
    conn: u64,
    jobs: Vec<(String, u32)>,
    session: String,
}

impl Anyone {
    fn new(chain: Chain) -> Anyone {
        let mut world = World::new(chain);
        let conn = world.connect();
        Anyone { world, conn, jobs: Vec::new(), session: String::new() }
    }

    fn meet(&mut self, event: &Event) {
        if !self.world.is_open(self.conn) {
            self.reconnect();
        }
        match event {
            Event::Call(call, id) => {
                let line = self.line(call, id);
                self.world.send(self.conn, line.as_bytes());
                let heard = self.listen();
                // Answered once, and before anything else is said; null means no answer is
                // wanted, but some calls have one all the same.
                let open = self.world.is_open(self.conn);
                let answers =
                    heard.iter().filter(|message| message.get("method").is_none()).count();
                match id.as_str() {
                    "null" => assert!(answers <= 1, "{line}{heard:?}"),
                    _ => assert!(answers == 1 || !open, "{line}{heard:?}"),
                }
                if answers == 1 {
                    let id: Value = serde_json::from_str(id).unwrap();
                    assert_eq!(heard[0]["id"], id, "{line}{heard:?}");
                }
            }
            Event::Noise(bytes) => {
                self.world.send(self.conn, bytes);
                self.world.send(self.conn, b"\n");
                self.listen();
            }
            Event::Wait(millis) => {
                self.world.wait(*millis);
                self.listen();
            }
            Event::Block => {
                self.world.block();
                self.listen();
            }
            Event::News => {
                self.world.say("a block");
                self.listen();
            }
            Event::Reconnect => self.reconnect(),
        }
    }

    fn reconnect(&mut self) {
        self.world.cut(self.conn);
        self.conn = self.world.connect();
    }

    fn listen(&mut self) -> Vec<Value> {
        let heard: Vec<Value> = self
            .world
            .heard(self.conn)
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        for message in &heard {
            if message["method"] == "mining.notify" {
                let id = message["params"][0].as_str().unwrap().to_owned();
                let ntime = message["params"][7].as_str().unwrap();
                self.jobs.push((id, u32::from_str_radix(ntime, 16).unwrap()));
            }
            if let Some(session) = message["result"][0][0][1].as_str() {
                self.session = session.to_owned();
            }
        }
        heard
    }

    fn line(&self, call: &Call, id: &str) -> String {
        let (method, params) = match call {
            Call::Configure(params) => ("mining.configure", (*params).to_owned()),
            Call::Subscribe(agent, session) => {
                let session = match session {
                    0 => "null".to_owned(),
                    1 => format!("\"{}\"", self.session),
                    _ => "\"0123456789abcdef\"".to_owned(),
                };
                ("mining.subscribe", format!("[\"{agent}\",{session}]"))
            }
            Call::Authorize(name, password) => {
                ("mining.authorize", format!("[\"{name}\",\"{password}\"]"))
            }
            Call::Suggest(wish) => ("mining.suggest_difficulty", format!("[{wish}]")),
            Call::Submit { back, extranonce2, ntime_ahead, nonce, bits } => {
                let job = self.jobs.iter().rev().nth(*back);
                let (job, ntime) = job.map_or(("77", 0), |(id, ntime)| (id.as_str(), *ntime));
                let ntime = ntime.saturating_add(*ntime_ahead);
                let bits = match bits {
                    0 => "",
                    1 => ",\"00002000\"",
                    2 => ",\"1fffe000\"",
                    _ => ",\"e0001fff\"",
                };
                (
                    "mining.submit",
                    format!(
                        "[\"anna\",\"{job}\",\"{extranonce2}\",\"{ntime:x}\",\"{nonce:x}\"{bits}]"
                    ),
                )
            }
            Call::Other(method) => (*method, "[]".to_owned()),
        };
        format!("{{\"id\":{id},\"method\":\"{method}\",\"params\":{params}}}\n")
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_order_of_calls_keeps_the_rules(
        easy in any::<bool>(),
        events in proptest::collection::vec(event(), 1..80),
    ) {
        let mut anyone = Anyone::new(if easy { Chain::Easy } else { Chain::Hard });
        for event in &events {
            anyone.meet(event);
        }
        // And a decent miner is served as ever.
        let conn = anyone.world.connect();
        let lines = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"x\"]}\n\
                      {\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"y\",\"z\"]}\n";
        anyone.world.send(conn, lines);
        anyone.world.wait(500);
        let heard = anyone.world.heard(conn);
        prop_assert_eq!(heard.len(), 4, "{:?}", heard);
    }

    #[test]
    fn any_bytes_in_any_pieces_cost_nothing(
        bytes in proptest::collection::vec(
            prop_oneof![
                4 => any::<u8>(),
                2 => Just(b'\n'),
                3 => prop::sample::select(br#"{}[]",:idmethodparams0123456789.mining"#.to_vec()),
            ], 0..4000),
        piece in 1usize..2000,
    ) {
        let mut world = World::new(Chain::Easy);
        let conn = world.connect();
        for chunk in bytes.chunks(piece) {
            world.send(conn, chunk);
            let said: usize = world.heard(conn).iter().map(String::len).sum();
            prop_assert!(said <= 200 * chunk.len() + 20_000, "{said} bytes for {}", chunk.len());
        }
        prop_assert_eq!(world.counted, 0);
    }
}

#[test]
fn a_flood_without_a_line_end_is_cut() {
    let mut world = World::new(Chain::Easy);
    let conn = world.connect();
    for _ in 0..1000 {
        world.send(conn, &[b'x'; 1000]);
    }
    assert!(!world.is_open(conn));
}
