//! `soloist check`: reads the config, asks every node, and says in plain words whether a block
//! could be mined now.
//!
//! [`story`] is pure and makes all sentences; [`run`] asks and prints. The block is actually built
//! by the daemon's own modules and shown to each node as a proposal (BIP 23).

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use bitcoin::{Amount, Transaction};

use crate::address::{self, Address};
use crate::chain::Chain;
use crate::clock::Now;
use crate::coinbase::{EXTRANONCE_SIZE, MAX_SIZE, MAX_TAG};
use crate::config::{self, Config, Flags, Loaded, NodeConfig, Payout};
use crate::exit::{self, Exit};
use crate::ids::NodeId;
use crate::job::{Jobs, Work};
use crate::node::{Command, HealthReport, Permissions, RpcError, ZmqState};
use crate::peers::Probe;
use crate::rpc::{Rpc, probe_zmq};
use crate::share::Candidate;
use crate::template::{Template, TxCache};

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
            eprintln!("{problems}\nWith this config nothing can start.");
            return Exit::Config;
        }
    };
    let answers = ask_all(&loaded.config);
    let (text, exit) = story(&loaded, &answers);
    print!("{text}");
    exit
}

/// All sentences, and the exit code that they come to. `answers` are in the order of the nodes.
pub fn story(loaded: &Loaded, answers: &[Answer]) -> (String, Exit) {
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
        let (state, sentences) = judge(node, answer, owner, best_height(answer, answers));
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
    if !loaded.warnings.is_empty() {
        text += "\nAllowed, but unwise\n";
        loaded.warnings.iter().for_each(|warning| text += &format!("- {warning}\n"));
    }
    let (verdict, exit) = verdict(nodes, &states, leader);
    (format!("{text}\n{verdict}\n"), exit)
}

/// What a node can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
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
fn best_height(answer: &Answer, answers: &[Answer]) -> u64 {
    let Ok(own) = &answer.health else { return 0 };
    let heights = answers.iter().filter_map(|other| other.health.as_ref().ok());
    heights.filter(|other| other.chain == own.chain).map(|other| other.blocks).max().unwrap_or(0)
}

fn paid(address: &Address, payout: &Payout) -> String {
    let tag = &payout.tag;
    let words = match tag.as_str() {
        "" => "The block says nothing of its own.".to_owned(),
        words => format!("The block says: {words} ({} of {MAX_TAG} bytes)", words.len()),
    };
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

fn judge(node: &NodeConfig, answer: &Answer, owner: &Address, best: u64) -> (State, Vec<String>) {
    let health = match &answer.health {
        Ok(health) => health,
        Err(error) => {
            return match refused(answer) {
                Some(sentences) => (State::Unusable, sentences),
                None => failed("It cannot be used now", error),
            };
        }
    };
    let mut sentences = vec![answers(health)];
    let state = match Chain::from_name(&health.chain) {
        None => {
            sentences.push(format!("The chain '{}' is not one that we know.", health.chain));
            sentences.push(RpcError::WrongChain(health.chain.clone()).remedy());
            State::WrongChain
        }
        Some(chain) if chain_is_false(health, chain) => {
            sentences.push(format!("Its first block is not that of the chain '{chain}'."));
            sentences.push(RpcError::WrongChain(health.chain.clone()).remedy());
            State::WrongChain
        }
        Some(chain) => match (owner.misfit(chain), &answer.template) {
            (Some(misfit), _) => {
                sentences.push(misfit);
                State::WrongChain
            }
            // Told by name below.
            (None, Err(_)) if is_refused(answer, Command::GetBlockTemplate) => State::Unusable,
            (None, Err(error)) => {
                let (state, words) = failed("It gives no work", error);
                sentences.extend(words);
                state
            }
            (None, Ok(template)) => {
                sentences.push(format!("It gives work for block {}.", template.height));
                proposal(answer, &mut sentences)
            }
        },
    };
    let state = match refused(answer) {
        Some(words) => {
            sentences.extend(words);
            if state == State::WrongChain { state } else { State::Unusable }
        }
        None => state,
    };
    match &answer.permissions {
        Ok(permissions) => {
            sentences.extend(permissions.shortage().map(|words| format!("It {words}.")));
        }
        Err(error) => sentences
            .push(format!("It could not be asked whether it would take a block from us: {error}.")),
    }
    let lag = best.saturating_sub(health.blocks);
    if lag > 0 {
        let blocks = if lag == 1 { "block" } else { "blocks" };
        sentences.push(format!("It is {lag} {blocks} behind the best of your nodes."));
    }
    if health.initial_download {
        let percent = health.progress.clamp(0.0, 1.0) * 100.0;
        sentences.push(format!("So far {percent:.1} % of the chain are checked."));
    }
    if health.local_relay == Some(false) {
        sentences.push(
            "It takes no transactions from others, so its blocks carry no fees: remove blocksonly=1 \
             from its bitcoin.conf."
                .to_owned(),
        );
    }
    if !health.warnings.is_empty() {
        sentences.push(format!("It warns: {}", health.warnings));
    }
    if let (Some(address), Some(zmq)) = (&node.zmq, answer.zmq) {
        sentences.push(match zmq.remedy(address) {
            None => zmq.sentence(address),
            Some(remedy) => {
                format!("{} Its new blocks are noticed by asking. {remedy}", zmq.sentence(address))
            }
        });
    }
    let by_rpc = !is_refused(answer, Command::SubmitBlock);
    sentences.extend(answer.p2p.as_ref().map(|probe| probe.words(by_rpc)));
    // One block behind may be a question of the second in which we asked.
    match state {
        State::Ready if lag > 1 => (State::Waiting, sentences),
        state => (state, sentences),
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

fn proposal(answer: &Answer, sentences: &mut Vec<String>) -> State {
    match &answer.proposal {
        Some(Ok(None)) => {
            sentences.push(
                "It was shown the block that we would send, and would accept it but for the proof \
                 of work."
                    .to_owned(),
            );
            State::Ready
        }
        Some(Ok(Some(reason))) if reason.starts_with("inconclusive") => {
            sentences.push(format!("A new block came while we asked it about ours ({reason})."));
            State::Ready
        }
        Some(Ok(Some(reason))) => {
            sentences.push(format!("It would refuse the block that we would send: {reason}"));
            State::Unusable
        }
        Some(Err(error)) => {
            sentences.push(format!("It could not be shown the block that we would send: {error}."));
            sentences.push(error.remedy());
            // As long as a block is, its submission would fare no better.
            if *error == RpcError::TooLong { State::Unusable } else { State::Ready }
        }
        None => State::Ready,
    }
}

/// A failed call: what happened, and what the owner can do.
fn failed(result: &str, error: &RpcError) -> (State, Vec<String>) {
    let state = if error.passes() { State::Waiting } else { State::Unusable };
    (state, vec![format!("{result}: {error}."), error.remedy()])
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

fn ask(node: &NodeConfig, payout: &Payout) -> Answer {
    let rpc = Rpc::new(&node.into());
    let health = rpc.health();
    let permissions = rpc.permissions_beside(&health);
    let template = match &health {
        Ok(_) => rpc.get_block_template(&Mutex::new(TxCache::default())),
        Err(error) => Err(error.clone()),
    };
    let proposal = template.as_ref().ok().zip(payout.address.as_ref()).map(|(template, owner)| {
        rpc.propose(&faster_hex::hex_string(&candidate(work(template, owner, payout))))
    });
    let zmq = node.zmq.as_deref().map(|address| smol::block_on(probe_zmq(address)));
    let p2p = health.as_ref().ok().and_then(|health| smol::block_on(look_at_p2p(node, health)));
    Answer { health, permissions, template, proposal, zmq, p2p }
}

/// What is at the node's P2P port; `None` if the node's chain is not one that we know.
pub async fn look_at_p2p(node: &NodeConfig, health: &HealthReport) -> Option<Probe> {
    let chain = Chain::from_name(&health.chain)?;
    let Some((host, port)) = node.p2p.place(&node.host, chain) else { return Some(Probe::off()) };
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
