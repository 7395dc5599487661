//! `soloist check`: reads the config, asks every node, and says in plain words whether a block
//! could be mined now.
//!
//! [`story`] is pure and makes all sentences; [`run`] asks and prints. The block is actually built
//! by the daemon's own modules and shown to each node as a proposal (BIP 23). The set-up on the page
//! asks with [`ask`] and says what [`judge`] says.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use bitcoin::{Amount, Transaction};
use futures_lite::future;

use crate::address::{self, Address};
use crate::chain::Chain;
use crate::clock::{Now, date};
use crate::coinbase::{EXTRANONCE_SIZE, MAX_SIZE, MAX_TAG};
use crate::config::{self, Config, Flags, Loaded, NodeConfig, Payout};
use crate::exit::{self, Exit};
use crate::feed;
use crate::ids::NodeId;
use crate::job::{Jobs, Work};
use crate::mqtt;
use crate::node::fault::{Login, TlsFault};
use crate::node::{Command, HealthReport, Permissions, RpcError, ZmqState};
use crate::os;
use crate::peers::Probe;
use crate::rpc::Rpc;
#[cfg(feature = "zmq")]
use crate::rpc::probe_zmq;
use crate::share::Candidate;
use crate::template::{Template, TxCache};
use crate::update::{self, Fault, Fetched};

/// What one node answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// `getblockchaininfo` and `getnetworkinfo`.
    pub health: Result<HealthReport, RpcError>,
    /// What it lets us do.
    pub permissions: Result<Permissions, RpcError>,
    /// `getblocktemplate`.
    pub template: Result<Template, RpcError>,
    /// The proposal, if there was a template to make one from: `None` inside means accepted.
    pub proposal: Option<Result<Option<String>, RpcError>>,
    /// What answers at the node's ZMQ address, if it has one.
    pub zmq: Option<ZmqState>,
    /// What is at its P2P port; `None` if its chain and its tip are not known.
    pub p2p: Option<Probe>,
}

/// Checks and prints. [`Exit::Ok`] if a block could be mined now.
pub fn run(flags: &Flags) -> Exit {
    let loaded = match config::load(flags) {
        Ok(loaded) => loaded,
        Err(problems) => {
            exit::complain(format_args!("{problems}\nWith this config nothing can start."));
            return Exit::Config;
        }
    };
    let Config { update, .. } = &loaded.config;
    let (answers, extras) = thread::scope(|scope| {
        let broker = scope.spawn(|| try_broker(&loaded.config));
        let feed = update.source().map(|source| scope.spawn(move || feed::fetch(&source)));
        let answers = ask_all(&loaded.config);
        let ended = "a panic aborts the whole program";
        let broker = broker.join().expect(ended);
        (answers, Extras { broker, feed: feed.map(|feed| feed.join().expect(ended)) })
    });
    let (text, exit) = story(&loaded, &answers, &extras);
    exit::say(text.trim_end());
    exit
}

/// What came of trying what mining does not depend on; `None` where the settings name nothing.
#[derive(Debug, Default)]
pub struct Extras {
    /// Whether the MQTT broker takes us.
    pub broker: Option<Result<(), mqtt::Fault>>,
    /// What the update feed says.
    pub feed: Option<Result<Fetched, Fault>>,
}

/// All sentences, and the exit code that they come to. `answers` are in the order of the nodes.
pub fn story(loaded: &Loaded, answers: &[Answer], extras: &Extras) -> (String, Exit) {
    let Config { nodes, payout, .. } = &loaded.config;
    let mut text = match &loaded.file {
        Some(file) => format!("{}, checking {}\n", exit::version(), file.display()),
        None => format!("{}, checking the command line\n", exit::version()),
    };
    // A config that is checked is complete: only the page's set-up works with less.
    let Some(owner) = &payout.address else {
        return (
            format!("{text}\nNobody would be paid: no payout address is set.\n"),
            Exit::Config,
        );
    };
    text += &paid(owner, payout);
    let mut states = Vec::new();
    text += "\nNodes, in the order of preference\n";
    for (number, (node, answer)) in nodes.iter().zip(answers).enumerate() {
        let Judgement { state, sentences, .. } =
            judge(node, answer, owner, best_height(answer, answers));
        let place = match node.url == format!("http://{}/", node.name) {
            true => String::new(),
            false => format!(" at {}", node.url),
        };
        text += &format!("{}. {}{place}\n", number + 1, node.name);
        sentences.iter().for_each(|sentence| text += &format!("   {sentence}\n"));
        states.push(state);
    }
    let leader = states.iter().position(|state| *state == State::Ready);
    if let Some(Answer { health: Ok(health), template: Ok(template), .. }) =
        leader.map(|leader| &answers[leader])
    {
        text += &block_now(template, &health.chain, owner, payout);
    }
    if let (Some(address), Some(tried)) = (&loaded.config.mqtt.broker, &extras.broker) {
        text += &format!("\nHome Assistant, by the MQTT broker {address}\n");
        text += &match tried {
            Ok(()) => "   The broker takes us.\n".to_owned(),
            Err(mqtt::Fault { words, remedy, .. }) => format!(
                "   The broker cannot be used now: {words}.\n   {remedy}\n   Mining does not need it.\n"
            ),
        };
    }
    if let Some(feed) = &extras.feed {
        text += &format!("\nNew versions\n{}\n", of_feed(feed));
    }
    if !loaded.warnings.is_empty() {
        text += "\nAllowed, but unwise\n";
        loaded.warnings.iter().for_each(|warning| text += &format!("- {warning}\n"));
    }
    let (verdict, exit) = verdict(nodes, &states, leader);
    (format!("{text}\n{verdict}\n"), exit)
}

/// What the update feed says, or why it says nothing. It changes nothing about mining.
fn of_feed(feed: &Result<Fetched, Fault>) -> String {
    let version = os::image_version().unwrap_or(env!("CARGO_PKG_VERSION"));
    match (feed, version.parse()) {
        (Ok(Fetched { feed, .. }), Ok(own)) => {
            let made =
                format!("Its feed, number {}, was made on {}.", feed.serial, date(feed.issued));
            let why = feed.reason(own).map(|reason| format!(" {reason}")).unwrap_or_default();
            format!("{}{why} {made}", update::sentence(own, feed))
        }
        (Ok(_), Err(_)) => {
            format!("This is {version}, which is no release: nothing is offered for it.")
        }
        (Err(fault), _) => {
            let remedy = fault.remedy(&date(os::now().unix));
            format!("The update feed cannot be used: {fault}. {remedy}")
        }
    }
}

/// What is to be said of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What it can be used for.
    pub state: State,
    /// Everything, in whole sentences.
    pub sentences: Vec<String>,
    /// What keeps it from being used now, and what to do about it.
    pub fault: Option<NodeFault>,
}

/// Why a node cannot be used now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFault {
    /// Where the owner looks first.
    pub at: FaultAt,
    /// Those of the node's sentences that tell of it.
    pub sentences: Vec<String>,
}

/// The setting that a node's fault points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultAt {
    /// `rpc_url`, or nothing else.
    Url,
    /// `rpc_user`.
    User,
    /// `rpc_pass`.
    Password,
    /// `rpc_cert_path`.
    Certificate,
    /// The payout address, which is of another chain.
    Payout,
}

impl FaultAt {
    fn of(error: &RpcError) -> FaultAt {
        match error {
            RpcError::Unauthorized(Login::None | Login::CookieUser)
            | RpcError::Cookie { .. }
            | RpcError::Forbidden { .. } => FaultAt::User,
            RpcError::Unauthorized(Login::Cookie | Login::Hash | Login::Password) => {
                FaultAt::Password
            }
            RpcError::Certificate { .. }
            | RpcError::Tls(TlsFault::Untrusted | TlsFault::NotPinned(_)) => FaultAt::Certificate,
            RpcError::Address(_)
            | RpcError::UnknownName(_)
            | RpcError::Refused
            | RpcError::Unreachable(_)
            | RpcError::NoConnection(_)
            | RpcError::Transport(_)
            | RpcError::Timeout(_)
            | RpcError::Tls(
                TlsFault::Name(_) | TlsFault::Date | TlsFault::Plain | TlsFault::Other(_),
            )
            | RpcError::NotHttp(_)
            | RpcError::WebPage(_)
            | RpcError::Redirect { .. }
            | RpcError::ForbiddenAddress { .. }
            | RpcError::WrongPath
            | RpcError::TooLong
            | RpcError::QueueFull
            | RpcError::Unavailable
            | RpcError::Gateway(_)
            | RpcError::Http(_)
            | RpcError::Rpc { .. }
            | RpcError::Downloading { .. }
            | RpcError::UnknownRule(_)
            | RpcError::Signet
            | RpcError::WrongChain(_)
            | RpcError::Cut { .. }
            | RpcError::TooLarge(_)
            | RpcError::Malformed(_) => FaultAt::Url,
        }
    }
}

/// What a node can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its work is good.
    Ready,
    /// It answers, and will be ready without our help.
    Waiting,
    /// It cannot be used as it is.
    Unusable,
    /// It is on a chain that cannot pay the owner's address.
    WrongChain,
}

/// The best height among the nodes of the same chain as `answer`.
pub fn best_height(answer: &Answer, answers: &[Answer]) -> u64 {
    let Ok(own) = &answer.health else { return 0 };
    let heights = answers.iter().filter_map(|other| other.health.as_ref().ok());
    heights.filter(|other| other.chain == own.chain).map(|other| other.blocks).max().unwrap_or(0)
}

/// What the block says for everybody to read.
pub fn says(payout: &Payout) -> String {
    match payout.tag.as_str() {
        "" => "The block says nothing of its own.".to_owned(),
        words => format!("The block says: {words} ({} of {MAX_TAG} bytes)", words.len()),
    }
}

fn paid(address: &Address, payout: &Payout) -> String {
    let words = says(payout);
    let others = match payout.per_miner {
        true => {
            "Except: a miner whose user begins with an address is paid there for its own blocks \
             (per_miner = true).\n"
        }
        false => "",
    };
    format!(
        "\nA block pays {address} ({})\nIn fours:    {}\n{others}{words}\n",
        address.kind(),
        address.in_fours()
    )
}

/// What is to be said of a node that answered so. `best` is the best height of the nodes of its chain.
pub fn judge(node: &NodeConfig, answer: &Answer, owner: &Address, best: u64) -> Judgement {
    let mut told = Telling { sentences: Vec::new(), fault: None };
    let health = match &answer.health {
        Ok(health) => health,
        Err(error) => {
            let state = match refused(answer) {
                Some(sentences) => told.fault(State::Unusable, FaultAt::User, sentences),
                None => told.failed("It cannot be used now", error),
            };
            return told.judgement(state);
        }
    };
    told.say(answers(health));
    let wrong_chain =
        |what: String| vec![what, RpcError::WrongChain(health.chain.clone()).remedy()];
    let mut state = match Chain::from_name(&health.chain) {
        None => {
            let words =
                wrong_chain(format!("The chain '{}' is not one that we know.", health.chain));
            told.fault(State::WrongChain, FaultAt::Url, words)
        }
        Some(chain) if chain_is_false(health, chain) => {
            let words = wrong_chain(format!("Its first block is not that of the chain '{chain}'."));
            told.fault(State::WrongChain, FaultAt::Url, words)
        }
        Some(chain) => match (owner.misfit(chain), &answer.template) {
            (Some(misfit), _) => told.fault(State::WrongChain, FaultAt::Payout, vec![misfit]),
            // Told by name below.
            (None, Err(_)) if is_refused(answer, Command::GetBlockTemplate) => State::Unusable,
            (None, Err(error)) => told.failed("It gives no work", error),
            (None, Ok(template)) => {
                told.say(format!("It gives work for block {}.", template.height));
                told.proposal(answer)
            }
        },
    };
    if let Some(words) = refused(answer) {
        let refusal = told.fault(State::Unusable, FaultAt::User, words);
        state = if state == State::WrongChain { state } else { refusal };
    }
    match &answer.permissions {
        Ok(permissions) => {
            permissions.shortage().into_iter().for_each(|words| told.say(format!("It {words}.")));
        }
        Err(error) => told
            .say(format!("It could not be asked whether it would take a block from us: {error}.")),
    }
    let lag = best.saturating_sub(health.blocks);
    if lag > 0 {
        let blocks = if lag == 1 { "block" } else { "blocks" };
        let words = format!("It is {lag} {blocks} behind the best of your nodes.");
        match lag {
            // It may be a question of the second in which we asked.
            1 => told.say(words),
            _ => {
                let waiting = told.fault(State::Waiting, FaultAt::Url, vec![words]);
                state = if state == State::Ready { waiting } else { state };
            }
        }
    }
    if health.initial_download {
        let percent = health.progress.clamp(0.0, 1.0) * 100.0;
        let words = vec![format!("So far {percent:.1} % of the chain are checked.")];
        // A test network's node gives work all the same.
        told.fault(State::Waiting, FaultAt::Url, words);
    }
    if health.local_relay == Some(false) {
        told.say(
            "It takes no transactions from others, so its blocks carry no fees: remove blocksonly=1 \
             from its bitcoin.conf."
                .to_owned(),
        );
    }
    if !health.warnings.is_empty() {
        told.say(format!("It warns: {}", health.warnings));
    }
    if let (Some(address), Some(zmq)) = (&node.zmq, answer.zmq) {
        told.say(match zmq.remedy(address) {
            None => zmq.sentence(address),
            Some(remedy) => {
                format!("{} Its new blocks are noticed by asking. {remedy}", zmq.sentence(address))
            }
        });
    }
    let by_rpc = !is_refused(answer, Command::SubmitBlock);
    answer.p2p.iter().for_each(|probe| told.say(probe.words(by_rpc)));
    told.judgement(state)
}

/// The sentences about a node while they are made.
struct Telling {
    sentences: Vec<String>,
    fault: Option<NodeFault>,
}

impl Telling {
    fn say(&mut self, sentence: String) {
        self.sentences.push(sentence);
    }

    /// Says what keeps the node from being used. Where several things do, the first one says where
    /// to look. Returns `state`.
    fn fault(&mut self, state: State, at: FaultAt, sentences: Vec<String>) -> State {
        self.sentences.extend_from_slice(&sentences);
        let fault = self.fault.get_or_insert(NodeFault { at, sentences: Vec::new() });
        fault.sentences.extend(sentences);
        state
    }

    /// A failed call: what happened, and what the owner can do.
    fn failed(&mut self, result: &str, error: &RpcError) -> State {
        let state = if error.passes() { State::Waiting } else { State::Unusable };
        let words = vec![format!("{result}: {error}."), error.remedy()];
        self.fault(state, FaultAt::of(error), words)
    }

    fn proposal(&mut self, answer: &Answer) -> State {
        match &answer.proposal {
            Some(Ok(None)) => {
                self.say(
                    "It was shown the block that we would send, and would accept it but for the \
                     proof of work."
                        .to_owned(),
                );
                State::Ready
            }
            Some(Ok(Some(reason))) if reason.starts_with("inconclusive") => {
                self.say(format!("A new block came while we asked it about ours ({reason})."));
                State::Ready
            }
            Some(Ok(Some(reason))) => {
                let words = format!("It would refuse the block that we would send: {reason}");
                self.fault(State::Unusable, FaultAt::Url, vec![words])
            }
            Some(Err(error)) => {
                let words = vec![
                    format!("It could not be shown the block that we would send: {error}."),
                    error.remedy(),
                ];
                // As long as a block is, its submission would fare no better.
                match *error == RpcError::TooLong {
                    true => self.fault(State::Unusable, FaultAt::Url, words),
                    false => {
                        self.sentences.extend(words);
                        State::Ready
                    }
                }
            }
            None => State::Ready,
        }
    }

    fn judgement(self, state: State) -> Judgement {
        Judgement { state, sentences: self.sentences, fault: self.fault }
    }
}

fn answers(health: &HealthReport) -> String {
    let mut words = format!("It answers: chain {}, block {}", health.chain, health.blocks);
    match health.connections {
        None => {}
        Some(1) => words += ", 1 peer",
        Some(peers) => words += &format!(", {peers} peers"),
    }
    if let Some(version) = &health.version {
        words += &format!(", {version}");
    }
    words
}

/// What it refuses of that which mining needs, and what the owner can do.
fn refused(answer: &Answer) -> Option<Vec<String>> {
    let permissions = answer.permissions.as_ref().ok()?;
    Some(vec![format!("It {}.", permissions.refusal_in_full()?), permissions.remedy()?])
}

fn is_refused(answer: &Answer, command: Command) -> bool {
    answer.permissions.as_ref().is_ok_and(|known| known.refused().contains(&command))
}

fn chain_is_false(health: &HealthReport, chain: Chain) -> bool {
    health.genesis.is_some_and(|genesis| genesis != chain.genesis())
}

/// The coinbase as it would stand in a block now, decoded from its bytes by another hand than the
/// one that made it.
fn block_now(template: &Template, chain: &str, owner: &Address, payout: &Payout) -> String {
    let work = work(template, owner, payout);
    let coinbase = work.coinbase.without_witness(&[0; EXTRANONCE_SIZE]);
    let mut text = format!(
        "\nA block now, at height {}\n{} transactions and a coinbase of {} bytes ({MAX_SIZE} at \
         most), which pays:\n",
        template.height,
        template.txs.len(),
        coinbase.len(),
    );
    match bitcoin::consensus::deserialize::<Transaction>(&coinbase) {
        Ok(decoded) => {
            for output in &decoded.output {
                text += &match output_address(output.script_pubkey.as_bytes(), chain) {
                    Some(address) if output.script_pubkey.as_bytes() == owner.script() => {
                        format!("  {} to {address} (your address)\n", amount(output.value))
                    }
                    Some(address) => format!("  {} to {address}\n", amount(output.value)),
                    None => format!("  {} as commitment to the witnesses\n", amount(output.value)),
                };
            }
        }
        Err(error) => text += &format!("  It cannot be read ({error}): please report this.\n"),
    }
    text + &format!("Its bytes, extranonce zero: {}\n", faster_hex::hex_string(&coinbase))
}

fn output_address(script: &[u8], chain: &str) -> Option<String> {
    address::of_script(script, Chain::from_name(chain)?)
}

fn amount(value: Amount) -> String {
    format!("{:.8} BTC", value.display_in(bitcoin::Denomination::Bitcoin))
}

fn verdict(nodes: &[NodeConfig], states: &[State], leader: Option<usize>) -> (String, Exit) {
    if let Some(leader) = leader {
        let others = states.iter().filter(|state| **state != State::Ready).count();
        let others = match others {
            0 => String::new(),
            1 => " One node needs your attention.".to_owned(),
            others => format!(" {others} nodes need your attention."),
        };
        let name = &nodes[leader].name;
        return (format!("A block could be mined now, with the work of {name}.{others}"), Exit::Ok);
    }
    if !states.is_empty() && states.iter().all(|state| *state == State::WrongChain) {
        let text = "No block could be mined: the payout address and the nodes are of different \
                    chains.";
        return (text.to_owned(), Exit::Config);
    }
    if states.contains(&State::Waiting) {
        let text = "No block could be mined now, but a node is on its way.";
        return (text.to_owned(), Exit::Unavailable);
    }
    (
        "No block could be mined now: no node gives work that can be used.".to_owned(),
        Exit::Unavailable,
    )
}

/// Every node in a thread of its own, so that a dead one delays the others by nothing.
/// Blocks for as long as the broker takes.
fn try_broker(config: &Config) -> Option<Result<(), mqtt::Fault>> {
    let settings = config.broker("check")?;
    Some(async_io::block_on(mqtt::probe(&settings)))
}

fn ask_all(config: &Config) -> Vec<Answer> {
    thread::scope(|scope| {
        let payout = &config.payout;
        let threads: Vec<_> =
            config.nodes.iter().map(|node| scope.spawn(move || ask(node, payout))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a panic aborts the whole program"))
            .collect()
    })
}

/// Asks a node everything. Blocks for as long as the node takes.
pub fn ask(node: &NodeConfig, payout: &Payout) -> Answer {
    let rpc = Rpc::new(node);
    let health = rpc.health();
    let permissions = rpc.permissions_beside(&health);
    let template = match &health {
        Ok(_) => rpc.get_block_template(&Mutex::new(TxCache::default())),
        Err(error) => Err(error.clone()),
    };
    let proposal = template.as_ref().ok().zip(payout.address.as_ref()).map(|(template, owner)| {
        rpc.propose(&faster_hex::hex_string(&candidate(work(template, owner, payout))))
    });
    let zmq = async {
        match node.zmq.as_deref() {
            #[cfg(feature = "zmq")]
            Some(address) => Some(probe_zmq(address).await),
            _ => None,
        }
    };
    let p2p = async {
        match &health {
            Ok(health) => look_at_p2p(node, health).await,
            Err(_) => None,
        }
    };
    let (zmq, p2p) = smol::block_on(future::zip(zmq, p2p));
    Answer { health, permissions, template, proposal, zmq, p2p }
}

/// What is at the node's P2P port; `None` if the node's chain is not one that we know.
async fn look_at_p2p(node: &NodeConfig, health: &HealthReport) -> Option<Probe> {
    let chain = Chain::from_name(&health.chain)?;
    let Some((host, port)) = node.p2p_place(chain) else { return Some(Probe::off()) };
    let height = u32::try_from(health.blocks).ok()?;
    Some(Probe::look(host, port, chain, (health.best, height)).await)
}

/// What the daemon would give its miners over this template, received now.
fn work(template: &Template, owner: &Address, payout: &Payout) -> Work {
    let template = Arc::new(template.clone());
    let (script, tag) = (owner.script(), payout.tag.as_str());
    Work::new(template, NodeId(0), Instant::now(), false, script, tag).signalling(&payout.signals())
}

/// The block of a job on this work, unsolved.
fn candidate(work: Work) -> Vec<u8> {
    let now = Now { mono: work.received, unix: 0 };
    let mut jobs = Jobs::new(0);
    jobs.set_work(now, work);
    let job = jobs.issue(now).expect("there is work");
    Candidate::of(job).bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Surroundings;

    #[test]
    fn the_block_that_is_shown_is_the_one_that_would_be_mined() {
        // The node's clock stands before the earliest time that its block may have: the daemon's
        // jobs take that time.
        let template = Template { curtime: 1_699_998_000, ..crate::job::tests::template(1) };
        assert!(template.curtime < template.mintime);
        let text = "[payout]\naddress = \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"\n\
                    set_version_bits = [4]\n[node]\nrpc_url = \"http://a:b@c\"\n";
        let loaded = config::build(Some(("f", text)), &Flags::default(), &Surroundings::default());
        let payout = loaded.unwrap().config.payout;
        let owner = payout.address.clone().unwrap();
        let bytes = candidate(work(&template, &owner, &payout));
        let block: bitcoin::Block = bitcoin::consensus::deserialize(&bytes).unwrap();
        assert_eq!(block.header.time, template.mintime);
        assert_eq!(block.header.version.to_consensus() as u32, payout.signals().version(&template));
        assert_eq!(block.header.bits.to_consensus(), template.nbits.0);
        assert_eq!(block.header.prev_blockhash.to_string(), template.prev.to_string());
        assert_eq!(block.txdata[0].output[0].script_pubkey.as_bytes(), owner.script());
    }
}
