//! The engine in virtual time, between nodes that answer at once and one miner: what it does in what
//! order, and what it holds back.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::clock::Reading;
use crate::difficulty::{NBits, Target};
use crate::failover::{DEFAULT_GRACE, Follow, NodeSpec};
use crate::job::tests::template;
use crate::job_journal::{self, Encoder, Moment};
use crate::node::{
    HealthReport, Method, NodeEventKind, Permissions, Position, RpcError, SubmitAnswer, TipHeader,
    TipSource,
};
use crate::p2p::{Down, Event, Form, Order};
use crate::peer_address::{Outside, PeerAddress};
use crate::stratum::session::SessionKey;

const UNIX: u64 = 1_700_000_000;
const UPTIME: Duration = Duration::from_secs(1000);
const MINER: ConnId = ConnId(7);
const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);
const BOOT: &str = "6a1f0c0e-5a1b-4b6e-9f5e-2f0f1a2b3c4d";

/// What the engine wanted, as the scene reads it.
#[derive(Debug)]
enum Did {
    /// A line for the miner.
    Line(Value),
    Effect(Effect),
}

struct Scene {
    engine: Engine,
    start: Instant,
    millis: u64,
    /// By time.
    answers: Vec<(u64, NodeEvent)>,
    log: Vec<(u64, Did)>,
    lines: Framing,
    /// The nodes' tip, by its one byte.
    tip: u8,
    /// Nodes that say nothing.
    silent: Vec<NodeId>,
    /// What the nodes say to a block; `None` where the test answers.
    submit: Option<SubmitAnswer>,
    /// What they say to one that is only shown.
    verdict: Option<String>,
    /// The card writes at once.
    card_works: bool,
    /// What the page would show as in force.
    in_force: Values,
    /// What the daemon keeps in memory for its next run.
    kept: (Encoder, Vec<u8>),
}

fn setup(nodes: &[NodeId]) -> Setup {
    let spec = |id: &NodeId| NodeSpec { id: *id, name: format!("n{}", id.0) };
    let nodes = nodes.iter().map(spec).collect();
    Setup { nodes, chains: vec![Chain::Main], grace: DEFAULT_GRACE, follow: Follow::Work }
}

fn settings(nodes: &[NodeId], script: u8) -> Settings {
    let payout =
        Payout { script: vec![script], tag: "/t/".to_owned(), signals: Signals::default() };
    let rules = Rules {
        session_key: SessionKey([1; 32]),
        password: None,
        overrides: Vec::new(),
        payee_chains: Vec::new(),
    };
    let outside = outside::Settings::default();
    Settings { setup: setup(nodes), payout: Some(payout), rules, outside }
}

impl Scene {
    /// Two nodes that are well, and a miner with a job. Every hash solves a block.
    fn new() -> Scene {
        Scene::with_miner(&job_journal::header(BOOT), 0x100)
    }

    /// The same, after a run that left this in memory.
    fn with_miner(kept: &[u8], first_job_id: u32) -> Scene {
        let mut scene = Scene::without_miner(kept, first_job_id);
        scene.wait(500);
        scene.introduce();
        scene.log.clear();
        scene
    }

    fn without_miner(kept: &[u8], first_job_id: u32) -> Scene {
        let start = Instant::now() + Duration::from_secs(100_000);
        let now = Now { mono: start, unix: UNIX };
        let moment = Moment { mono: start, uptime: UPTIME };
        let (restored, good) = RestoredJobs::read(moment, BOOT, kept);
        assert_eq!(good, kept.len());
        let engine = Engine::new(now, settings(&[A, B], 0x51), first_job_id, Some(restored));
        let mut scene = Scene {
            engine,
            start,
            millis: 0,
            answers: Vec::new(),
            log: Vec::new(),
            lines: Framing::lines(),
            tip: 1,
            silent: Vec::new(),
            submit: None,
            verdict: None,
            card_works: true,
            in_force: values("q"),
            kept: (Encoder::default(), job_journal::header(BOOT)),
        };
        scene.hand_in(Input::Tick);
        scene
    }

    fn now(&self) -> Now {
        let mono = self.start + Duration::from_millis(self.millis);
        Now { mono, unix: UNIX + self.millis / 1000 }
    }

    fn hand_in(&mut self, input: Input) {
        self.engine.handle(self.now(), input);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.engine.next_effect() {
            match effect {
                Effect::Pool(Output::Send { bytes, .. }) => {
                    let bytes = self.engine.bytes(&bytes).to_vec();
                    self.hear(&bytes);
                }
                Effect::SendHeld { bytes, .. } => self.hear(&bytes),
                effect => {
                    self.does(&effect);
                    self.log.push((self.millis, Did::Effect(effect)));
                }
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = serde_json::from_slice(line).unwrap();
            self.log.push((self.millis, Did::Line(line)));
        }
    }

    /// What the shell and the world do about it.
    fn does(&mut self, effect: &Effect) {
        match effect {
            Effect::Ask { node, ask } if !self.silent.contains(node) => {
                if let Some(kind) = self.answer(ask) {
                    let event = NodeEvent { node: *node, kind };
                    self.answers.push((self.millis + 10, event));
                }
            }
            Effect::Submit { node, block, .. } if !self.silent.contains(node) => {
                if let Some(answer) = self.submit.clone() {
                    let (block, took) = (block.hash, Duration::from_millis(10));
                    let kind = NodeEventKind::Submitted { block, answer: Ok(answer), took };
                    self.answers.push((self.millis + 10, NodeEvent { node: *node, kind }));
                }
            }
            Effect::Pool(Output::Block(block)) if self.card_works => {
                self.engine.handle(self.now(), Input::SpoolDone(block.hash));
            }
            Effect::Assemble(candidate) => {
                let (hash, height) = (candidate.hash, candidate.height);
                assert_eq!(crate::hash::sha256d(&candidate.bytes()[..80]), hash.0);
                self.engine.handle(self.now(), Input::Assembled { hash, height, hex: "00".into() });
            }
            Effect::PayoutDue => {
                let current = self.in_force.clone();
                self.engine.handle(self.now(), Input::InForce(current));
            }
            Effect::Apply { values, .. } => {
                self.in_force = (**values).clone();
                let script = if values.payout == "q" { 0x51 } else { 0x52 };
                let settings = Box::new(settings(&[A, B], script));
                self.engine.handle(self.now(), Input::Settings(settings));
            }
            Effect::Remember(job_records) => {
                let now = self.moment();
                let (encoder, bytes) = &mut self.kept;
                job_records.iter().for_each(|record| encoder.encode(now, record, bytes));
            }
            _ => {}
        }
    }

    fn moment(&self) -> Moment {
        Moment { mono: self.now().mono, uptime: UPTIME + Duration::from_millis(self.millis) }
    }

    fn template(&self) -> Arc<Template> {
        let (nbits, target) = (NBits(0x2100_ffff), Target::MAX);
        let curtime = self.now().unix as u32;
        Arc::new(Template { nbits, target, curtime, ..template(self.tip) })
    }

    fn answer(&self, ask: &Ask) -> Option<NodeEventKind> {
        let (tip, took) = (BlockHash([self.tip; 32]), Duration::from_millis(10));
        let height = 499 + u64::from(self.tip);
        Some(match ask {
            Ask::Template(_) => {
                NodeEventKind::Template { template: self.template(), took, parsing: took }
            }
            Ask::Tip => {
                let source = TipSource::Poll;
                NodeEventKind::Tip { hash: tip, height: None, source, took }
            }
            Ask::WaitForTip => {
                let source = TipSource::Wait;
                NodeEventKind::Tip { hash: tip, height: Some(height), source, took }
            }
            Ask::TryWait => NodeEventKind::WaitTried(Ok(true)),
            Ask::Header(hash) => {
                let header = TipHeader { height, median_time: UNIX as u32 - 1000 };
                NodeEventKind::Header { hash: *hash, header }
            }
            Ask::Health => {
                let clock = Some(Reading { unix: self.now().unix, at: self.now().mono });
                let report = Box::new(HealthReport {
                    chain: "main".into(),
                    genesis: Some(Chain::Main.genesis()),
                    blocks: height,
                    headers: height,
                    best: tip,
                    chainwork: [self.tip; 32],
                    initial_download: false,
                    progress: 1.0,
                    tip_time: UNIX,
                    connections: Some(8),
                    local_relay: Some(true),
                    clock,
                    version: None,
                    warnings: String::new(),
                    facts: Default::default(),
                });
                NodeEventKind::Health { report, took }
            }
            Ask::Permissions => {
                NodeEventKind::Permissions { permissions: Permissions::all("u"), took }
            }
            Ask::ChainTips => NodeEventKind::ChainTips { refused: Vec::new(), took },
            Ask::BlocksAt(_) => NodeEventKind::BlocksAt { blocks: Vec::new(), took },
            Ask::Addresses => NodeEventKind::Addresses { list: Vec::new(), took },
            Ask::Precious(_) => return None,
            Ask::Position { block, .. } => {
                let taken = self.submit == Some(SubmitAnswer::Accepted);
                let answer = Ok(match taken {
                    true => Position::InChain { confirmations: Some(1) },
                    false => Position::Missing,
                });
                NodeEventKind::Position { block: *block, answer, took }
            }
            Ask::Propose { block, .. } => {
                let verdict = Ok(self.verdict.clone());
                NodeEventKind::Proposed { block: *block, verdict }
            }
        })
    }

    fn wait(&mut self, millis: u64) {
        let until = self.millis + millis;
        loop {
            let due = self.engine.next_deadline();
            let due = due.map(|due| due.saturating_duration_since(self.start).as_micros());
            let due = due.map(|due| due.div_ceil(1000) as u64).unwrap_or(u64::MAX);
            let first = self.answers.iter().map(|(at, _)| *at).min().unwrap_or(u64::MAX);
            if due.min(first) > until {
                break;
            }
            self.millis = self.millis.max(due.min(first));
            match first <= due {
                true => {
                    let place = self.answers.iter().position(|(at, _)| *at == first).unwrap();
                    let (_, event) = self.answers.remove(place);
                    self.hand_in(Input::Node(event));
                }
                false => self.hand_in(Input::Tick),
            }
        }
        self.millis = until;
    }

    fn say(&mut self, line: &str) {
        let (now, mut lines) = (self.now(), std::mem::take(&mut self.lines));
        let bytes = format!("{line}\n");
        self.engine.received(now, MINER, &mut lines, bytes.as_bytes()).unwrap();
        self.lines = lines;
        self.carry_out();
    }

    fn introduce(&mut self) {
        self.introduce_as("x");
    }

    fn introduce_as(&mut self, user_agent: &str) {
        let extranonce1 = Extranonce1([0, 0, 0, 9]);
        let peer = Ipv4Addr::LOCALHOST.into();
        self.hand_in(Input::Connected { conn: MINER, peer, extranonce1 });
        self.say(&format!(r#"{{"id":1,"method":"mining.subscribe","params":["{user_agent}"]}}"#));
        self.say(r#"{"id":2,"method":"mining.authorize","params":["anna","x"]}"#);
        self.wait(500);
    }

    /// A share of the newest job. Here each is a block.
    fn submit(&mut self, nonce: u32) {
        let (id, ntime) = self.latest_job();
        self.submit_for(&id, ntime, nonce);
    }

    fn latest_job(&self) -> (String, u32) {
        let job = self.engine.pool().jobs().latest().unwrap();
        (job.id.to_string(), job.ntime)
    }

    fn submit_for(&mut self, id: &str, ntime: u32, nonce: u32) {
        self.say(&format!(
            r#"{{"id":9,"method":"mining.submit","params":["anna","{id}","0000000000000001","{ntime:08x}","{nonce:08x}"]}}"#
        ));
    }

    /// The place in the log of the first thing of a kind.
    fn first(&self, what: impl Fn(&Did) -> bool) -> Option<usize> {
        self.log.iter().position(|(_, did)| what(did))
    }

    fn count(&self, what: impl Fn(&Did) -> bool) -> usize {
        self.log.iter().filter(|(_, did)| what(did)).count()
    }

    fn told(&self) -> Vec<&str> {
        let text = |did| match did {
            &Did::Effect(Effect::Tell { ref text, .. }) => Some(text.as_str()),
            _ => None,
        };
        self.log.iter().filter_map(|(_, did)| text(did)).collect()
    }

    /// What the nodes were asked that is no routine: the block, by the node's number.
    fn submits(&self) -> Vec<u32> {
        let node = |did: &Did| match did {
            Did::Effect(Effect::Submit { node, .. }) => Some(node.0),
            _ => None,
        };
        self.log.iter().filter_map(|(_, did)| node(did)).collect()
    }

    fn block(&self) -> Arc<SolvedBlock> {
        self.engine.blocks().iter().next().expect("a block").0.clone()
    }
}

fn is_answer(did: &Did) -> bool {
    matches!(did, Did::Line(line) if line["id"] == 9)
}

fn is_submit(did: &Did) -> bool {
    matches!(did, Did::Effect(Effect::Submit { .. }))
}

fn is_solved(did: &Did) -> bool {
    matches!(did, Did::Effect(Effect::Pool(Output::Block(_))))
}

fn is_rehearsal(did: &Did) -> bool {
    matches!(did, Did::Effect(Effect::Assemble(_)))
}

fn is_job(did: &Did) -> bool {
    matches!(did, Did::Line(line) if line["method"] == "mining.notify")
}

// -- a solved block --

#[test]
fn a_block_goes_to_the_nodes_then_to_the_card_and_the_miner_hears_last() {
    let mut scene = Scene::new();
    scene.submit(1);
    let [asked, kept, told, said] = [
        scene.first(is_submit),
        scene.first(is_solved),
        scene.first(|did| matches!(did, Did::Effect(Effect::Tell { .. }))),
        scene.first(is_answer),
    ]
    .map(Option::unwrap);
    assert_eq!(scene.submits(), [0, 1]);
    assert!(asked + 1 < kept && kept < told && kept < said, "{:#?}", scene.log);
    let remembered = scene.first(|did| matches!(did, Did::Effect(Effect::Remember(_))));
    assert!(remembered.is_none_or(|place| place > kept));
}

#[test]
fn a_miner_that_shows_texts_hears_of_its_block_at_once() {
    let mut scene = Scene::without_miner(&job_journal::header(BOOT), 0x100);
    scene.wait(500);
    scene.introduce_as("bitaxe/BM1370/v2.13.1");
    // Neither card nor node has answered yet.
    scene.card_works = false;
    scene.submit(1);
    let shown = scene.first(|did| {
        matches!(did, Did::Line(line) if line["method"] == "client.show_message"
            && line["params"][0] == "BLOCK 501 solved by anna!")
    });
    assert!(shown.is_some(), "{:#?}", scene.log);
}

#[test]
fn who_solved_a_block_is_called_as_everywhere_and_whoever_is_paid_apart_by_the_whole() {
    const OWNER: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    let mut scene = Scene::new();
    let mut settings = settings(&[A, B], 0x51);
    settings.payout.as_mut().unwrap().script =
        OWNER.parse::<crate::address::Address>().unwrap().script().to_vec();
    scene.hand_in(Input::Settings(Box::new(settings)));
    let name = |user: &str| scene.engine.name_of(user);
    assert_eq!(name(&format!("{OWNER}.attic")), "attic");
    assert_eq!(name(&format!("{}.attic.2", OWNER.to_uppercase())), "attic.2");
    for other in ["attic", OWNER, "a.b", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2.attic", ""] {
        assert_eq!(name(other), other);
    }
    assert_eq!(name(&format!("{OWNER}. ")), format!("{OWNER}. "));
}

#[test]
fn true_is_held_until_the_block_is_on_the_card() {
    let mut scene = Scene::new();
    scene.card_works = false;
    scene.submit(1);
    scene.wait(9000);
    assert_eq!(scene.count(is_answer), 0);
    let block = scene.block();
    scene.hand_in(Input::SpoolDone(BlockHash([9; 32])));
    assert_eq!(scene.count(is_answer), 0, "another block is on the card");
    scene.hand_in(Input::SpoolDone(block.hash));
    assert_eq!(scene.count(is_answer), 1);
    scene.hand_in(Input::SpoolDone(block.hash));
    assert_eq!(scene.count(is_answer), 1, "once");
}

#[test]
fn a_card_in_trouble_holds_the_answer_for_ten_seconds_at_most() {
    let mut scene = Scene::new();
    scene.card_works = false;
    scene.submit(1);
    scene.wait(9_990);
    assert_eq!(scene.count(is_answer), 0);
    scene.wait(20);
    assert_eq!(scene.count(is_answer), 1);
}

#[test]
fn what_is_no_new_block_is_answered_at_once() {
    let mut scene = Scene::new();
    scene.submit(1);
    scene.log.clear();
    scene.card_works = false;
    // The same once more is no news: a duplicate, refused at once, and written nowhere.
    scene.submit(1);
    assert_eq!((scene.count(is_answer), scene.count(is_solved)), (1, 0));
    assert_eq!(scene.submits(), [0; 0]);
}

#[test]
fn a_block_is_accepted_when_a_node_shows_it_and_told_once() {
    let mut scene = Scene::new();
    scene.submit = Some(SubmitAnswer::Accepted);
    scene.submit(1);
    assert_eq!(scene.engine.blocks().accepted_after(scene.block().hash), None);
    assert!(scene.engine.blocks().has_undecided());
    scene.wait(2000);
    let block = scene.block();
    assert!(!scene.engine.blocks().has_undecided());
    assert!(scene.engine.blocks().accepted_after(block.hash).is_some());
    let told: Vec<_> = scene.told().into_iter().filter(|text| text.contains("ACCEPTED")).collect();
    assert_eq!(
        told,
        ["BLOCK 501 IS ACCEPTED: node n0 has it in its best chain 20 ms after the share; it came \
             by RPC."]
    );
    let answers = scene.engine.blocks().answers(block.hash);
    assert!(answers.len() == 2 && answers.iter().all(|answer| answer.taken), "{answers:?}");
}

// -- the nodes' P2P ports --

fn ready() -> Event {
    let (agent, took) = ("/Satoshi:31.0.0/".to_owned(), Duration::from_millis(2));
    Event::Ready { agent, version: 70016, services: 9, took }
}

fn tip_by_p2p(tip: u8) -> Event {
    Event::Tip {
        hash: BlockHash([tip; 32]),
        height: Some(499 + u32::from(tip)),
        median_time: Some(UNIX as u32 - 1000),
        time: UNIX as u32,
        bits: NBits(0x2100_ffff),
    }
}

fn in_chain(block: BlockHash) -> Event {
    Event::InChain { block, confirmations: 1, after: Duration::from_millis(9) }
}

impl Scene {
    /// The orders for a node's P2P port, by their kind.
    fn orders(&self, node: NodeId) -> Vec<&'static str> {
        let order = |did: &Did| match did {
            Did::Effect(Effect::PeerConnect { node: to, .. }) if *to == node => Some("connect"),
            Did::Effect(Effect::Peer { node: to, order }) if *to == node => Some(match order {
                Order::Tip { .. } => "tip",
                Order::Offer(_) => "offer",
                Order::Withdraw(_) => "withdraw",
                Order::Addresses => "addresses",
            }),
            _ => None,
        };
        self.log.iter().filter_map(|(_, did)| order(did)).collect()
    }

    /// Both nodes' RPC has been given up, and a P2P port goes on.
    fn without_rpc() -> Scene {
        let mut scene = Scene::new();
        scene.own(A);
        scene.hand_in(Input::Peer(A, tip_by_p2p(1)));
        scene.wait(2000);
        scene.silent = vec![A, B];
        scene.answers.clear();
        scene.wait(30_000);
        scene
    }

    /// A node's P2P port answers and has the tip that its RPC told.
    fn own(&mut self, node: NodeId) {
        for event in [ready(), Event::Same(true)] {
            self.hand_in(Input::Peer(node, event));
        }
    }
}

#[test]
fn a_p2p_port_is_connected_at_once_and_told_what_rpc_told() {
    let mut scene = Scene::without_miner(&job_journal::header(BOOT), 0x100);
    // The payout's chain is known before any node has answered.
    assert_eq!(scene.orders(A), ["connect"]);
    scene.wait(500);
    scene.tip = 2;
    scene.wait(5000);
    assert_eq!(scene.orders(A), ["connect", "tip", "tip"]);
    assert_eq!(scene.engine.peers().state(A), Some(&PeerState::Connecting));
}

#[test]
fn we_are_no_peer_that_brings_a_node_its_blocks() {
    let mut scene = Scene::new();
    let peers = |scene: &Scene| -> Vec<Option<u64>> {
        let nodes = scene.engine.failover().nodes(scene.now().mono);
        nodes.map(|node| node.health.and_then(|(report, _)| report.connections)).collect()
    };
    assert_eq!(peers(&scene), [Some(8), Some(8)]);
    scene.own(A);
    scene.wait(60_000);
    assert_eq!(peers(&scene), [Some(7), Some(8)]);
}

#[test]
fn a_block_goes_over_every_p2p_port_at_once_until_the_node_shows_it() {
    let mut scene = Scene::new();
    scene.submit(1);
    let block = scene.block().hash;
    let last_offer = scene.log.iter().rposition(|(_, did)| {
        matches!(did, Did::Effect(Effect::Peer { order: Order::Offer(_), .. }))
    });
    assert!(last_offer < scene.first(is_solved), "{:#?}", scene.log);
    assert_eq!((scene.orders(A), scene.orders(B)), (vec!["offer"], vec!["offer"]));
    scene.own(A);
    scene.hand_in(Input::Peer(A, in_chain(block)));
    scene.wait(60_000);
    assert_eq!((scene.orders(A), scene.orders(B)), (vec!["offer", "withdraw"], vec!["offer"]));
}

#[test]
fn a_block_is_accepted_by_p2p_alone_where_no_rpc_answers() {
    let mut scene = Scene::new();
    scene.silent = vec![A, B];
    scene.own(A);
    scene.submit(1);
    let block = scene.block().hash;
    scene.wait(3);
    let (form, after) = (Form::Whole, Duration::from_millis(3));
    scene.hand_in(Input::Peer(A, Event::Asked { block, form, after }));
    let form = Form::Compact;
    scene.hand_in(Input::Peer(A, Event::Asked { block, form, after }));
    assert!(scene.engine.blocks().has_undecided(), "asking for it is not having it");
    scene.wait(6);
    scene.hand_in(Input::Peer(A, in_chain(block)));
    assert!(!scene.engine.blocks().has_undecided());
    let told: Vec<_> = scene.told().into_iter().filter(|text| text.contains("n0")).collect();
    assert_eq!(
        told,
        [
            format!("Node n0 asked for block {block} by its P2P port after 3.0 ms."),
            "BLOCK 501 IS ACCEPTED: node n0 has it in its best chain 9 ms after the share; it came \
             by its P2P port."
                .to_owned(),
        ]
    );
    let [answer] = scene.engine.blocks().answers(block) else { panic!() };
    assert_eq!(
        (answer.taken, &*answer.words, answer.p2p_after_ms, answer.shown_after_ms),
        (true, "asked for it by P2P", Some(3.0), Some(9.0))
    );
    // What RPC says at last leaves that as it is.
    scene.hand_in(Input::Node(NodeEvent {
        node: A,
        kind: NodeEventKind::Submitted {
            block,
            answer: Ok(SubmitAnswer::Duplicate),
            took: Duration::from_secs(9),
        },
    }));
    let [answer] = scene.engine.blocks().answers(block) else { panic!() };
    assert_eq!((answer.taken, answer.p2p_after_ms), (true, Some(3.0)));
}

#[test]
fn what_another_node_says_at_a_p2p_port_is_not_believed() {
    for proof in [vec![], vec![Event::Same(false)]] {
        let mut scene = Scene::new();
        scene.silent = vec![A, B];
        scene.hand_in(Input::Peer(A, ready()));
        proof.into_iter().for_each(|event| scene.hand_in(Input::Peer(A, event)));
        scene.submit(1);
        scene.log.clear();
        let block = scene.block().hash;
        scene.hand_in(Input::Peer(A, in_chain(block)));
        scene.hand_in(Input::Peer(A, tip_by_p2p(2)));
        assert!(scene.engine.blocks().has_undecided());
        assert_eq!(scene.count(is_job), 0);
        let templates = |did: &Did| matches!(did, Did::Effect(Effect::Ask { .. }));
        assert_eq!(scene.count(templates), 0, "{:#?}", scene.log);
    }
}

#[test]
fn what_a_port_showed_is_believed_as_soon_as_it_is_known_to_be_the_nodes_own() {
    let mut scene = Scene::new();
    scene.silent = vec![A, B];
    scene.submit(1);
    let block = scene.block().hash;
    // A node that was started anew takes the block before it is asked for its tip.
    scene.hand_in(Input::Peer(A, ready()));
    scene.hand_in(Input::Peer(A, in_chain(block)));
    assert!(scene.engine.blocks().has_undecided());
    scene.hand_in(Input::Peer(A, Event::Same(true)));
    assert!(!scene.engine.blocks().has_undecided());
}

#[test]
fn an_own_nodes_tip_by_p2p_is_news_and_brings_jobs_without_rpc() {
    let mut scene = Scene::without_rpc();
    assert_eq!(scene.engine.failover().leader(), None);
    for tip in 2..5 {
        scene.log.clear();
        scene.hand_in(Input::Peer(A, tip_by_p2p(tip)));
        assert_eq!(scene.count(is_job), 1);
        let job = scene.engine.pool().jobs().work().unwrap();
        assert_eq!((job.template.height, job.empty), (500 + u32::from(tip), true));
        scene.wait(200_000);
        assert!(!scene.engine.failover().is_gated());
    }
    let refused = scene.engine.peers().state(B);
    assert_eq!(refused, Some(&PeerState::Connecting));
    scene.hand_in(Input::Peer(A, Event::Down(Down::Closed)));
    scene.wait(91_000);
    assert!(scene.engine.failover().is_gated());
}

#[test]
fn the_time_of_jobs_without_rpc_keeps_up_with_the_clock() {
    let mut scene = Scene::without_rpc();
    for tip in 2..102 {
        scene.wait(1_900);
        scene.hand_in(Input::Peer(A, tip_by_p2p(tip)));
        let (_, ntime) = scene.latest_job();
        let late = scene.now().unix - u64::from(ntime);
        assert!(late <= 1, "{late} s late at tip {tip}");
    }
}

#[test]
fn a_p2p_port_that_is_of_no_use_is_told_once_for_each_reason() {
    let mut scene = Scene::new();
    let events = [
        Event::Down(Down::Refused),
        Event::Down(Down::Refused),
        ready(),
        Event::Same(true),
        Event::Down(Down::Closed),
        Event::Down(Down::OtherChain),
    ];
    events.into_iter().for_each(|event| scene.hand_in(Input::Peer(A, event)));
    assert_eq!(
        scene.told(),
        [
            "The P2P port of node n0: it refuses connections. Blocks reach the node by RPC alone.",
            "A block can reach node n0 by its P2P port again.",
            "The P2P port of node n0: it belongs to another network. Blocks reach the node by RPC \
             alone.",
        ]
    );
}

#[test]
fn a_node_that_comes_by_a_reload_is_offered_what_waits() {
    const C: NodeId = NodeId(5);
    let mut scene = Scene::new();
    scene.submit(1);
    scene.log.clear();
    scene.hand_in(Input::Settings(Box::new(settings(&[A, C], 0x51))));
    assert_eq!(scene.orders(C), ["connect", "offer"]);
    assert_eq!(scene.engine.peers().state(B), None);
    scene.hand_in(Input::Peer(B, ready()));
    assert_eq!(scene.engine.peers().state(B), None, "it was removed");
}

// -- a restart --

#[test]
fn a_restart_knows_the_jobs_that_the_miner_has_and_takes_their_block() {
    let scene = Scene::new();
    let (id, ntime) = scene.latest_job();
    let mut next = Scene::with_miner(&scene.kept.1, 0x9000);
    next.submit_for(&id, ntime, 1);
    assert_eq!((next.count(is_solved), next.submits().len()), (1, 2), "{:#?}", next.log);
    // Without that memory the job is nobody's.
    let mut other = Scene::with_miner(&job_journal::header(BOOT), 0x9000);
    other.submit_for(&id, ntime, 1);
    assert_eq!(other.count(is_solved), 0);
}

/// A block of an earlier run.
fn old_block(height: u32, unix: u64) -> Arc<SolvedBlock> {
    let bytes = vec![height as u8; 80];
    let hash = BlockHash(crate::hash::sha256d(&bytes));
    Arc::new(SolvedBlock {
        hash,
        height,
        unix,
        reward: 1,
        worker: "anna".into(),
        from_partner: false,
        bytes,
    })
}

#[test]
fn blocks_of_an_earlier_run_are_offered_and_old_news_is_not_told() {
    let block = |height| old_block(height, UNIX);
    let mut scene = Scene::without_miner(&job_journal::header(BOOT), 0x100);
    scene.submit = Some(SubmitAnswer::Duplicate);
    scene.log.clear();
    let kept = [
        (block(10), StoredState::Candidate),
        (block(11), StoredState::Stale),
        (block(12), StoredState::Accepted { node: "n0".into() }),
        (block(13), StoredState::Confirmed { confirmations: 3 }),
    ];
    for (block, state) in kept.clone() {
        scene.hand_in(Input::Restored { block, state, answers: Vec::new() });
    }
    let told: Vec<&str> = scene.told();
    let offered = |height| format!("Block {height} of the spool is offered to the nodes again.");
    assert_eq!(told, [offered(10), offered(12)]);
    // A node's answer alone, which an older version took for it, accepts nothing.
    let states: Vec<StoredState> =
        scene.engine.blocks().iter().map(|(_, state)| stored(state)).collect();
    assert_eq!(
        states,
        [
            StoredState::Candidate,
            StoredState::Stale,
            StoredState::Candidate,
            StoredState::Confirmed { confirmations: 3 }
        ]
    );
    scene.wait(120_000);
    for (block, _) in &kept {
        let asked = scene.count(|did| {
            matches!(did, Did::Effect(Effect::Submit { block: b, .. })
                if b.hash == block.hash)
        });
        assert!(asked >= 2, "block {} was offered {asked} times", block.height);
    }
    assert!(!scene.told().iter().any(|text| text.contains("Block 11 ")), "{:?}", scene.told());
}

// -- rehearsals --

#[test]
fn a_block_is_shown_three_seconds_after_a_new_tip_and_once_a_minute_at_most() {
    let mut scene = Scene::without_miner(&job_journal::header(BOOT), 0x100);
    scene.wait(2_900);
    assert_eq!(scene.count(is_rehearsal), 0);
    scene.wait(1_000);
    assert_eq!(scene.count(is_rehearsal), 1);
    assert!(
        [A, B].iter().all(|node| scene.engine.rehearsals().verdict(scene.now(), *node).is_some())
    );
    let asked_at = scene.millis;
    for tip in 2..5 {
        scene.tip = tip;
        scene.wait(15_000);
    }
    assert_eq!(scene.count(is_rehearsal), 1, "the minute is not over");
    scene.wait(asked_at + 62_000 - scene.millis);
    assert_eq!(scene.count(is_rehearsal), 2);
}

#[test]
fn a_refusal_is_told_once_and_one_that_judged_another_tip_changes_nothing() {
    let mut scene = Scene::without_miner(&job_journal::header(BOOT), 0x100);
    scene.verdict = Some("bad-cb-amount".into());
    scene.wait(5_000);
    let refusals = |scene: &Scene| {
        scene.told().iter().filter(|text| text.contains("REFUSE our block")).count()
    };
    assert_eq!(refusals(&scene), 2);
    scene.hand_in(Input::Rehearse);
    scene.wait(1_000);
    assert_eq!(refusals(&scene), 2, "the same is no news");
    scene.verdict = Some("inconclusive-not-best-prevblk".into());
    scene.hand_in(Input::Rehearse);
    scene.wait(1_000);
    for node in [A, B] {
        let verdict = scene.engine.rehearsals().verdict(scene.now(), node).unwrap();
        assert_eq!(verdict.refused.as_deref(), Some("bad-cb-amount"));
    }
    let words = scene.engine.rehearsal_result(false).unwrap();
    assert_eq!(words.matches("is on another tip just now").count(), 2, "{words}");
}

#[test]
fn the_owner_hears_of_a_node_that_does_not_answer_a_rehearsal() {
    let mut scene = Scene::new();
    scene.wait(5_000);
    scene.silent = vec![B];
    scene.hand_in(Input::Rehearse);
    scene.wait(1_000);
    assert_eq!(scene.engine.rehearsal_result(false), None);
    let words = scene.engine.rehearsal_result(true).unwrap();
    let expected =
        "Block 501 was shown to the nodes: n0 would accept it. n1 did not answer.".to_owned();
    assert_eq!(words, expected);
}

// -- the settings --

#[test]
fn a_new_payout_is_in_the_next_job_at_once_and_is_rehearsed() {
    let mut scene = Scene::new();
    scene.wait(10_000);
    scene.log.clear();
    scene.hand_in(Input::Settings(Box::new(settings(&[A, B], 0x52))));
    assert_eq!(pays(&scene), 0x52);
    assert_eq!(scene.count(is_job), 1);
    let from = |did: &Did| matches!(did, Did::Effect(Effect::WorkSent(WorkFrom::Settings)));
    assert_eq!(scene.count(from), 1);
    scene.wait(61_000);
    assert_eq!(scene.count(is_rehearsal), 1);
    // The same again is no change, and costs the miners no job.
    scene.log.clear();
    scene.hand_in(Input::Settings(Box::new(settings(&[A, B], 0x52))));
    assert_eq!(scene.count(is_job), 0);
}

#[test]
fn a_reload_while_a_block_is_on_its_way_loses_neither_block_nor_answer() {
    let mut scene = Scene::new();
    scene.card_works = false;
    scene.submit(1);
    let block = scene.block();
    assert_eq!(scene.submits(), [0, 1]);
    scene.log.clear();
    // Node 0 got a new password, and so a new id; node 1 stays.
    let new = NodeId(5);
    scene.submit = Some(SubmitAnswer::Accepted);
    scene.hand_in(Input::Settings(Box::new(settings(&[new, B], 0x52))));
    scene.wait(2_000);
    assert!(scene.submits().contains(&5), "the new node is offered the block, too");
    assert!(!scene.submits().contains(&0));
    assert!(matches!(
        scene.engine.blocks().state(block.hash),
        Some(submission::BlockState::Accepted { .. })
    ));
    assert_eq!(scene.count(is_answer), 0);
    scene.hand_in(Input::SpoolDone(block.hash));
    assert_eq!(scene.count(is_answer), 1);
}

#[test]
fn what_a_removed_node_still_says_does_not_count() {
    let mut scene = Scene::new();
    scene.wait(5_000);
    scene.submit(1);
    let block = scene.block();
    scene.hand_in(Input::Settings(Box::new(settings(&[B], 0x51))));
    scene.wait(2_000);
    scene.answers.clear();
    scene.log.clear();
    let took = Duration::from_millis(1);
    let answer = Ok(SubmitAnswer::Rejected("bad-cb-amount".into()));
    let position = Ok(Position::InChain { confirmations: Some(3) });
    scene.tip = 2;
    for kind in [
        NodeEventKind::Template { template: scene.template(), took, parsing: took },
        NodeEventKind::Submitted { block: block.hash, answer, took },
        NodeEventKind::Position { block: block.hash, answer: position, took },
        NodeEventKind::Proposed { block: block.hash, verdict: Ok(Some("bad-cb-amount".into())) },
    ] {
        scene.hand_in(Input::Node(NodeEvent { node: A, kind }));
    }
    assert!(scene.log.is_empty(), "{:#?}", scene.log);
    assert_eq!(scene.engine.blocks().state(block.hash), Some(submission::BlockState::Candidate));
    assert_eq!(scene.engine.pool().jobs().work().unwrap().template.prev, BlockHash([1; 32]));
}

/// What is in force by the page, where the scene's script 0x51 is the address `q`.
fn values(payout: &str) -> Values {
    Values { payout: payout.to_owned(), ..Values::default() }
}

fn save(scene: &mut Scene, new: Values) {
    let change = settings::Input::Change { current: scene.in_force.clone(), new };
    scene.hand_in(Input::Change { from: Ipv4Addr::LOCALHOST.into(), change });
}

fn pays(scene: &Scene) -> u8 {
    let work = scene.engine.pool().jobs().work().unwrap();
    let bytes = work.coinbase.without_witness(&[0; 12]);
    let tx: bitcoin::Transaction = bitcoin::consensus::deserialize(&bytes).unwrap();
    tx.output[0].script_pubkey.as_bytes()[0]
}

#[test]
fn a_new_payout_address_waits_ten_minutes_and_then_is_in_the_next_job_at_once() {
    let mut scene = Scene::new();
    save(&mut scene, values("r"));
    assert_eq!(scene.engine.changes().pending().unwrap().address, "r");
    scene.wait(599_990);
    assert_eq!((pays(&scene), scene.in_force.payout.as_str()), (0x51, "q"));
    scene.log.clear();
    scene.wait(20);
    assert_eq!((pays(&scene), scene.in_force.payout.as_str()), (0x52, "r"));
    assert_eq!(scene.count(is_job), 1);
    assert_eq!(scene.engine.changes().pending(), None);
    scene.wait(700_000);
    assert_eq!(scene.count(|did| matches!(did, Did::Effect(Effect::PayoutDue))), 1);
}

#[test]
fn a_waiting_address_that_is_cancelled_or_was_asked_for_before_a_restart_never_counts() {
    let mut scene = Scene::new();
    save(&mut scene, values("r"));
    scene.wait(300_000);
    let cancel = settings::Input::Cancel;
    scene.hand_in(Input::Change { from: Ipv4Addr::LOCALHOST.into(), change: cancel });
    scene.wait(700_000);
    assert_eq!(pays(&scene), 0x51);
    save(&mut scene, values("r"));
    let mut next = Scene::with_miner(&scene.kept.1, 0x9000);
    next.wait(700_000);
    assert_eq!(pays(&next), 0x51);
}

#[test]
fn a_block_on_a_job_from_before_a_change_of_the_payout_is_taken() {
    let mut scene = Scene::new();
    let (id, ntime) = scene.latest_job();
    scene.hand_in(Input::Settings(Box::new(settings(&[A, B], 0x52))));
    scene.log.clear();
    scene.submit_for(&id, ntime, 1);
    assert_eq!((scene.count(is_solved), scene.submits()), (1, vec![0, 1]));
    // It pays whom its job says.
    let bytes = &scene.block().bytes;
    let block: bitcoin::Block = bitcoin::consensus::deserialize(bytes).unwrap();
    assert_eq!(block.txdata[0].output[0].script_pubkey.as_bytes(), [0x51]);
}

// -- the miners --

#[test]
fn what_a_restart_must_not_forget_is_kept_before_it_is_sent() {
    let mut scene = Scene::new();
    scene.tip = 2;
    scene.wait(3_000);
    let kept = scene.first(|did| matches!(did, Did::Effect(Effect::Remember(_)))).unwrap();
    let sent = scene.first(is_job).unwrap();
    assert!(kept < sent, "{:#?}", scene.log);
}

/// A miner of the run before goes on at once. Where no node has work, it is sent away after the grace, as in
/// any outage.
#[test]
fn a_miner_of_the_run_before_is_served_at_once_and_not_for_ever() {
    let mut scene = Scene::new();
    scene.wait(3_000);
    let handed = scene.engine.pool().session(MINER).unwrap().handed().unwrap();
    let (id, ntime) = scene.latest_job();
    let kept = scene.kept.1.clone();
    let next = |silent: Vec<NodeId>| {
        let mut next = Scene::without_miner(&kept, 0x9000);
        (next.silent, next.answers) = (silent, Vec::new());
        let peer = Ipv4Addr::LOCALHOST.into();
        let mut handed = handed.clone();
        handed.connected_at = next.now().mono;
        assert_eq!(next.engine.take_up(next.now(), MINER, peer, handed), Ok(()));
        next.carry_out();
        assert_eq!(next.count(|did| matches!(did, Did::Effect(Effect::SessionChanged(MINER)))), 1);
        next
    };
    let closed = |did: &Did| matches!(did, Did::Effect(Effect::Pool(Output::Close { .. })));
    let mut alone = next(vec![A, B]);
    alone.submit_for(&id, ntime, 1);
    assert_eq!(alone.count(is_solved), 1, "its block is one before any node is heard");
    alone.wait(DEFAULT_GRACE.as_millis() as u64 - 1);
    assert_eq!(alone.count(closed), 0);
    alone.wait(1_000);
    assert_eq!(alone.count(closed), 1);

    let mut well = next(vec![]);
    well.wait(DEFAULT_GRACE.as_millis() as u64 + 1_000);
    assert_eq!(well.count(closed), 0);
    assert!(well.first(is_job).is_some());
}

#[test]
fn a_miner_that_names_another_worker_hears_the_difficulty_of_that_one() {
    let mut scene = Scene::new();
    scene.say(r#"{"id":3,"method":"mining.authorize","params":["berta","x"]}"#);
    // In answer to that the shell looks it up.
    assert_eq!(
        scene.count(|did| matches!(did, Did::Effect(Effect::Pool(Output::Authorized { .. })))),
        1
    );
    scene.hand_in(Input::Known {
        conn: MINER,
        saved: Saved::Level { difficulty: 4096.0, wish: None },
    });
    let level = |did: &Did| matches!(did, Did::Line(line) if line["method"] == "mining.set_difficulty" && line["params"][0] == 4096.0);
    assert!(scene.first(level).unwrap() < scene.first(is_job).unwrap());
}

#[test]
fn miners_are_sent_away_without_work_and_their_last_block_still_counts() {
    let mut scene = Scene::new();
    scene.silent = vec![A, B];
    scene.wait(30_000);
    scene.log.clear();
    scene.submit(1);
    assert_eq!(scene.submits(), [0, 1], "the nodes may be back at any moment");
    scene.wait(90_000);
    let shut = scene.first(|did| matches!(did, Did::Effect(Effect::Shut(_)))).unwrap();
    let closed =
        scene.first(|did| matches!(did, Did::Effect(Effect::Pool(Output::Close { .. })))).unwrap();
    assert!(shut < closed);
    scene.silent.clear();
    scene.submit = Some(SubmitAnswer::Accepted);
    scene.wait(90_000);
    let opened = scene.first(|did| matches!(did, Did::Effect(Effect::Open))).unwrap();
    assert!(closed < opened);
    assert!(scene.told().iter().any(|text| text.contains("IS ACCEPTED")), "{:?}", scene.told());
}

#[test]
fn a_node_that_fails_to_take_a_block_is_asked_again_and_its_words_are_told_once() {
    let mut scene = Scene::new();
    scene.silent = vec![B];
    scene.submit(1);
    let block = scene.block().hash;
    scene.log.clear();
    for _ in 0..3 {
        let answer = Err(RpcError::Timeout(Duration::from_secs(30)));
        let took = Duration::from_millis(1);
        let kind = NodeEventKind::Submitted { block, answer, took };
        scene.hand_in(Input::Node(NodeEvent { node: A, kind }));
        scene.wait(5_000);
    }
    assert!(scene.submits().len() >= 2, "{:?}", scene.submits());
    let about = format!("Node n0 about block {block}");
    assert_eq!(scene.told().iter().filter(|text| text.starts_with(&about)).count(), 1);
    let written = |did: &Did| matches!(did, Did::Effect(Effect::Answered { .. }));
    assert_eq!(scene.count(written), 1);
}

/// Addresses of strangers, each in another network.
fn strangers(count: u8) -> Vec<ListedPeer> {
    let address = |i| PeerAddress::ip([77, i, 0, 1].into(), 8333);
    (0..count).map(|i| ListedPeer { address: address(i), services: 9, seen: UNIX }).collect()
}

impl Scene {
    /// The effects on outside nodes, by their kind.
    fn outside(&self) -> Vec<&'static str> {
        let kind = |did: &Did| match did {
            Did::Effect(Effect::OutsideConnect { .. }) => Some("connect"),
            Did::Effect(Effect::OutsideDrop(_)) => Some("drop"),
            Did::Effect(Effect::Outside { order, .. }) => Some(match order {
                Order::Tip { .. } => "tip",
                Order::Offer(_) => "offer",
                Order::Withdraw(_) => "withdraw",
                Order::Addresses => "addresses",
            }),
            _ => None,
        };
        self.log.iter().filter_map(|(_, did)| kind(did)).collect()
    }

    fn watch(&mut self, count: u8) {
        let outside = outside::Settings { outside: Outside::Watch, ..Default::default() };
        let settings = Settings { outside, ..settings(&[A, B], 0x51) };
        self.hand_in(Input::Settings(Box::new(settings)));
        self.hand_in(Input::Seeds(strangers(count)));
    }

    fn told_of(&self, words: &str) -> usize {
        self.told().into_iter().filter(|text| text.contains(words)).count()
    }
}

#[test]
fn strangers_get_a_block_that_no_own_node_shows_and_do_not_decide_about_it() {
    let mut scene = Scene::new();
    scene.hand_in(Input::Seeds(strangers(20)));
    scene.submit(1);
    let block = scene.block().hash;
    assert_eq!(scene.outside(), Vec::<&str>::new());
    scene.wait(2000);
    assert_eq!(scene.outside(), ["connect", "tip", "offer"].repeat(8));
    let stranger = OutsideId(0);
    let after = Duration::ZERO;
    scene.hand_in(Input::Outside(stranger, ready()));
    scene.hand_in(Input::Outside(stranger, Event::Asked { block, form: Form::Whole, after }));
    scene.hand_in(Input::Outside(stranger, in_chain(block)));
    assert_eq!(scene.engine.blocks().state(block), Some(submission::BlockState::Candidate));
    assert_eq!(scene.told_of("IS ACCEPTED"), 0);
    assert_eq!(scene.told_of("Outside node 77.19.0.1:8333 asked for block"), 1);
    assert_eq!(scene.told_of("Outside node 77.19.0.1:8333 shows in its best chain block"), 1);
    let taken = scene.engine.outside().taken(block).unwrap();
    assert_eq!((taken.asked, taken.shown), (1, 1));
    // An own node has it.
    scene.log.clear();
    scene.own(A);
    scene.hand_in(Input::Peer(A, in_chain(block)));
    assert_eq!(scene.told_of("IS ACCEPTED"), 1);
    let ends = ["withdraw"].repeat(8).into_iter().chain(["drop"].repeat(8));
    assert_eq!(scene.outside(), ends.collect::<Vec<_>>());
}

#[test]
fn a_block_that_lost_is_offered_to_no_stranger_any_more() {
    let mut scene = Scene::new();
    scene.hand_in(Input::Seeds(strangers(20)));
    scene.submit(1);
    let block = scene.block().hash;
    scene.wait(2000);
    assert_eq!(scene.outside().len(), 24);
    scene.answers.clear();
    scene.log.clear();
    for node in [A, B] {
        let (answer, took) = (Ok(Position::Outside { rival: 3 }), Duration::ZERO);
        let kind = NodeEventKind::Position { block, answer, took };
        scene.hand_in(Input::Node(NodeEvent { node, kind }));
    }
    assert_eq!(scene.engine.blocks().state(block), Some(submission::BlockState::Orphaned));
    let ends = ["withdraw"].repeat(8).into_iter().chain(["drop"].repeat(8));
    assert_eq!(scene.outside(), ends.collect::<Vec<_>>());
}

#[test]
fn a_block_that_an_own_node_loses_again_goes_to_strangers() {
    let mut scene = Scene::new();
    scene.hand_in(Input::Seeds(strangers(20)));
    scene.submit(1);
    let block = scene.block().hash;
    scene.own(A);
    scene.hand_in(Input::Peer(A, in_chain(block)));
    assert_eq!(scene.told_of("IS ACCEPTED"), 1);
    assert_eq!(scene.outside(), Vec::<&str>::new());
    // By RPC both say that they do not have it.
    scene.wait(20_000);
    assert_eq!(scene.told_of("was lost by the nodes that had it"), 1);
    assert_eq!(scene.outside(), ["connect", "tip", "offer"].repeat(8));
}

#[test]
fn a_watched_stranger_has_the_block_at_once_and_after_the_own_nodes() {
    let mut scene = Scene::new();
    scene.watch(4);
    scene.wait(10_000);
    scene.log.clear();
    scene.submit(1);
    let own = |did: &Did| {
        matches!(
            did,
            Did::Effect(Effect::Submit { .. } | Effect::Peer { order: Order::Offer(_), .. })
        )
    };
    let last_own = scene.log.iter().rposition(|(_, did)| own(did));
    let first_stranger = scene.first(|did| matches!(did, Did::Effect(Effect::Outside { .. })));
    assert_eq!(scene.outside(), ["offer"; 4]);
    assert!(last_own < first_stranger && scene.first(is_solved) < first_stranger);
}

#[test]
fn a_block_of_an_earlier_run_goes_to_strangers_unless_it_is_settled_or_old() {
    let restored = |unix, state: StoredState| {
        let mut scene = Scene::without_miner(&job_journal::header(BOOT), 0x100);
        if matches!(state, StoredState::Confirmed { .. }) {
            scene.submit = Some(SubmitAnswer::Accepted);
        }
        scene.hand_in(Input::Seeds(strangers(20)));
        let block = old_block(501, unix);
        scene.hand_in(Input::Restored { block, state, answers: Vec::new() });
        scene.wait(10_000);
        scene.outside().iter().filter(|kind| **kind == "offer").count()
    };
    assert_eq!(restored(UNIX - 60, StoredState::Candidate), 8);
    assert_eq!(restored(UNIX - 60, StoredState::Rejected { reason: "x".into() }), 8);
    assert_eq!(restored(UNIX - 7 * 3600, StoredState::Candidate), 0);
    assert_eq!(restored(UNIX - 60, StoredState::Stale), 0);
    assert_eq!(restored(UNIX - 60, StoredState::Confirmed { confirmations: 3 }), 0);
}

#[test]
fn a_stranger_that_is_ahead_is_told_and_makes_no_job() {
    let mut scene = Scene::new();
    scene.watch(1);
    scene.wait(100);
    let stranger = OutsideId(0);
    scene.hand_in(Input::Outside(stranger, ready()));
    let Event::Tip { hash, median_time, time, bits, .. } = tip_by_p2p(9) else { panic!() };
    let height = Some(504);
    scene.hand_in(Input::Outside(stranger, Event::Tip { hash, height, median_time, time, bits }));
    scene.log.clear();
    scene.wait(59_000);
    assert_eq!(scene.told_of("the network is at"), 0);
    scene.wait(2000);
    assert_eq!(scene.told_of("Your nodes have been standing at block 500 for"), 1);
    assert_eq!(scene.told_of("the network is at 504 (by 1 of 1 outside nodes)."), 1);
    let is_new = |did: &Did| {
        matches!(
            did,
            Did::Effect(Effect::Work(WorkFrom::Tip | WorkFrom::Template { new_tip: true }))
        )
    };
    assert_eq!(scene.count(is_new), 0);
    // It goes, and takes its word with it.
    scene.hand_in(Input::Outside(stranger, Event::Down(Down::Closed)));
    assert_eq!(scene.told_of("Nobody shows block 504 any more."), 1);
}

#[test]
fn a_node_whose_p2p_port_alone_goes_on_is_not_behind() {
    let mut scene = Scene::new();
    scene.watch(1);
    scene.own(A);
    scene.wait(5000);
    let stranger = OutsideId(0);
    scene.hand_in(Input::Outside(stranger, ready()));
    scene.silent = vec![A, B];
    scene.wait(30_000);
    for tip in [2, 3] {
        scene.hand_in(Input::Outside(stranger, tip_by_p2p(tip)));
        scene.hand_in(Input::Peer(A, tip_by_p2p(tip)));
        scene.wait(40_000);
    }
    let tip = scene.engine.failover().best_tip().unwrap();
    assert_eq!((tip.hash, tip.height), (BlockHash([3; 32]), 502));
    assert_eq!((scene.told_of("the network is at"), scene.engine.outside().behind()), (0, None));
}

#[test]
fn addresses_come_by_rpc_or_else_by_the_nodes_own_p2p_port() {
    let mut scene = Scene::new();
    scene.own(A);
    scene.wait(12_000);
    let is_asked = |did: &Did| matches!(did, Did::Effect(Effect::Ask { ask: Ask::Addresses, .. }));
    assert_eq!((scene.count(is_asked), scene.engine.outside().known()), (1, 0));
    let failed = |node, method| {
        let error = RpcError::Rpc { code: -32601, message: "Method not found".into() };
        let kind = NodeEventKind::Failed { method, error, took: Duration::ZERO };
        Input::Node(NodeEvent { node, kind })
    };
    let orders = |scene: &Scene, node| {
        scene.orders(node).iter().filter(|order| **order == "addresses").count()
    };
    scene.hand_in(failed(B, Method::GetNodeAddresses));
    assert_eq!(orders(&scene, B), 0, "its P2P port is not known to be its own");
    scene.hand_in(failed(A, Method::GetNodeAddresses));
    assert_eq!(orders(&scene, A), 1);
    scene.hand_in(Input::Peer(B, Event::Addresses(strangers(3))));
    assert_eq!(scene.engine.outside().known(), 0);
    scene.hand_in(Input::Peer(A, Event::Addresses(strangers(5))));
    assert_eq!(scene.engine.outside().known(), 5);
    let is_kept = |did: &Did| matches!(did, Did::Effect(Effect::KeepAddresses { list, .. }) if list.len() == 5);
    assert_eq!(scene.count(is_kept), 1);
}
