//! Stratum V2 at the real program, with a miner of the reference implementation's crates: both kinds of
//! channel mine blocks that real nodes accept, through whatever happens to nodes and to the daemon.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bitcoin::base58;
use bitcoin::secp256k1::{Keypair, Secp256k1};
use serde_json::json;
use soloist::difficulty::Target;

use crate::common::daemon::{Daemon, Miner, node_entries};
use crate::common::miner_v2::{
    Frame, Goal, Introduction, Line, MinerV2, REQUIRES_WORK_SELECTION, authority, reaches,
};
use crate::common::node::{Kind, RealNode};
use crate::common::sandbox::{sandbox, sandbox_with};
use crate::common::wait_for;

/// A name with a wish: the least difficulty there is, 430,000 hashes.
const EASY: &str = "anna,d=0.0001";

/// The authority's key as the daemon's owner would type it into a miner.
fn key(daemon: &Daemon) -> String {
    let secret = wait_for("the key", || fs::read(daemon.data().join("authority-key")).ok());
    let pair = Keypair::from_seckey_slice(&Secp256k1::new(), &secret).unwrap();
    let key = pair.x_only_public_key().0.serialize();
    base58::encode_check(&[&[1, 0][..], &key].concat())
}

/// A miner that knows whom it talks to.
fn connect(daemon: &Daemon, introduction: &Introduction) -> MinerV2 {
    MinerV2::connect(daemon.stratum, Some(authority(&key(daemon))), introduction)
}

/// A miner with its channel: a Bitaxe of either kind, a NerdQAxe+, and one channel of each kind behind
/// a proxy.
fn fleet(daemon: &Daemon) -> Vec<(MinerV2, Vec<u32>)> {
    let mut bitaxe = connect(daemon, &Introduction::BITAXE);
    let extended = bitaxe.open_extended("anna.extended", 2);
    let mut other = connect(daemon, &Introduction::BITAXE_STANDARD);
    let standard = other.open_standard("anna.standard");
    let mut nerd = connect(daemon, &Introduction::NERDQAXE);
    let third = nerd.open_extended("anna.nerd", 6);
    let mut proxy = connect(daemon, &Introduction::TRANSLATOR);
    let both = vec![proxy.open_extended("bert.proxy", 8), proxy.open_standard("bert.behind")];
    vec![(bitaxe, vec![extended]), (other, vec![standard]), (nerd, vec![third]), (proxy, both)]
}

/// The API and the metrics tell what each of these miners speaks, and the page the key that was typed into
/// them.
fn the_owner_sees(daemon: &Daemon) {
    for (name, channel) in [
        ("anna.extended", "extended"),
        ("anna.standard", "standard"),
        ("anna.nerd", "extended"),
        ("bert.proxy", "extended"),
        ("bert.behind", "standard"),
    ] {
        let link = wait_for(name, || {
            let miners = daemon.get("/api/miners")?;
            let mut miners = miners["miners"].as_array()?.iter();
            miners.find(|miner| miner["name"] == name).map(|miner| miner["link"].clone())
        });
        let expected = json!({ "protocol": "v2", "channel": channel, "encrypted": true });
        assert_eq!(link, expected, "{name}");
    }
    let told = daemon.status().unwrap()["connect"]["v2"]["authority_key"].clone();
    assert_eq!(told, key(daemon));
    let counted = "soloist_miners_connected{protocol=\"v2\",encrypted=\"yes\"} 5\n";
    let metrics = daemon.text("/metrics");
    assert!(metrics.contains(counted), "{metrics}");
}

/// Every channel of every miner finds a block, one after the other; each has to become the tip of all
/// these nodes, as the header that was hashed, and the work of all miners.
fn everybody_mines(fleet: &mut [(MinerV2, Vec<u32>)], nodes: &[&RealNode]) -> usize {
    let mut blocks = 0;
    for at in 0..fleet.len() {
        for channel in fleet[at].1.clone() {
            // All of them work on the same block before.
            let tip = nodes[0].tip().0;
            for (miner, channels) in fleet.iter_mut() {
                for channel in channels {
                    miner.wait(*channel, "the tip", |channel| channel.tip() == Some(tip));
                }
            }
            let miner = &mut fleet[at].0;
            let found = miner.find(channel, Goal::Block);
            let job = miner.channel(channel).job().unwrap();
            assert_ne!(found.version, job.version, "a rolled version");
            assert_eq!(miner.submit_one(&found), Ok(()), "{:?}", found.kind);
            for node in nodes {
                wait_for("a node to have the block", || {
                    (node.tip().to_string() == found.shown()).then_some(())
                });
                let raw = node.call("getblockheader", json!([found.shown(), false]));
                let header: String = found.header.iter().map(|b| format!("{b:02x}")).collect();
                assert_eq!(raw, json!(header));
            }
            blocks += 1;
        }
    }
    blocks
}

/// Hands over the blocks that `node` lacks.
fn follow(node: &RealNode, other: &RealNode) {
    for height in node.height() + 1..=other.height() {
        let hash = other.call("getblockhash", json!([height]));
        let block = other.call("getblock", json!([hash, 0]));
        node.call("submitblock", json!([block]));
    }
    assert_eq!(node.tip(), other.tip());
}

fn pairs() -> Vec<[RealNode; 2]> {
    let make = [RealNode::bcoin, RealNode::core];
    make.iter().filter_map(|make| Some([make()?, make()?])).collect()
}

#[test]
fn both_kinds_of_channel_mine_accepted_blocks_whatever_happens() {
    for [mut first, second] in pairs() {
        first.generate(if first.kind == Kind::Bcoin { 440 } else { 2 });
        follow(&second, &first);
        let mut daemon = Daemon::start(&node_entries(&[first.config(), second.config()]));
        daemon.wait_ready();
        let mut fleet = fleet(&daemon);
        the_owner_sees(&daemon);
        let mut blocks = everybody_mines(&mut fleet, &[&first, &second]);

        // The leading node dies: the other one's work, and its tip.
        if first.kind == Kind::Core {
            first.call("gettxoutsetinfo", json!([]));
        }
        first.kill();
        second.generate(1);
        blocks += everybody_mines(&mut fleet, &[&second]);
        first.launch();
        follow(&first, &second);

        // A reorganisation: two blocks instead of the last one.
        for node in [&first, &second] {
            node.call("invalidateblock", json!([second.tip().to_string()]));
        }
        first.generate(2);
        follow(&second, &first);
        blocks += everybody_mines(&mut fleet, &[&first, &second]);

        // The daemon is killed. Its miners find the same box again, by its key.
        let key_before = key(&daemon);
        daemon.kill();
        for (miner, _) in &mut fleet {
            miner.wait_closed(Duration::from_secs(10));
        }
        daemon.launch();
        daemon.wait_ready();
        assert_eq!(key(&daemon), key_before);
        fleet = self::fleet(&daemon);
        blocks += everybody_mines(&mut fleet, &[&first, &second]);

        let server = daemon.get("/api/server").unwrap();
        assert_eq!(server["reject_reasons"], json!({}), "no valid share is refused");
        assert!(!daemon.log().contains("panicked"));
        println!("{:?}: {blocks} blocks", first.kind);
    }
}

#[test]
fn a_change_of_difficulty_is_the_next_jobs() {
    let (_node, entry) = sandbox();
    let daemon = Daemon::start(&entry);
    daemon.wait_ready();
    let mut proxy = connect(&daemon, &Introduction::TRANSLATOR);
    for extended in [Some(2), None] {
        let channel = proxy.try_open(EASY, extended).unwrap();
        proxy.wait_work(channel);
        let (target, jobs) = (proxy.channel(channel).target, proxy.channel(channel).jobs_seen);
        let before = proxy.find(channel, Goal::OnlyShare);
        let late = proxy.find(channel, Goal::OnlyShare);
        assert_eq!(proxy.submit_one(&before), Ok(()));
        assert_eq!(proxy.submit_one(&before), Err("duplicate-share".into()));

        // Twice as difficult from the next job on, because the miner cannot take it easier.
        let mut harder = target;
        shift_right(&mut harder, 1);
        proxy.update(channel, 0.0, harder);
        proxy.wait(channel, "another target", |channel| channel.targets_seen > 0);
        proxy.wait(channel, "a job for it", |channel| channel.jobs_seen > jobs);
        let told = proxy.channel(channel).target;
        assert_ne!(told, target);
        assert_eq!(proxy.channel(channel).job().unwrap().target, told);
        // What was on its way is counted by its own job.
        assert_eq!(proxy.submit_one(&late), Ok(()));
        let other = proxy.find(channel, Goal::Nothing);
        assert_eq!(proxy.submit_one(&other), Err("difficulty-too-low".into()));
        let share = proxy.find(channel, Goal::OnlyShare);
        assert_eq!(proxy.submit_one(&share), Ok(()));
    }
}

/// Vardiff, from the sockets' end: shares come five times as fast as they are wanted.
#[test]
fn the_level_follows_the_rate_of_shares_and_each_is_judged_by_its_jobs() {
    // A sixteenth: whatever is found here is no block.
    let (_node, entry) = sandbox_with(0x1d0f_fff0);
    let daemon = Daemon::still();
    let easy = "[[stratum.firmware]]\nprefix = \"bitaxe\"\ndifficulty = 0.0001\n\
                shares_per_minute = 60.0\n";
    daemon.configure(&entry, easy);
    let mut daemon = daemon;
    daemon.launch();
    daemon.wait_ready();
    let mut refused = 0;
    for (introduction, name, extended) in
        [(Introduction::BITAXE, "anna", Some(2)), (Introduction::BITAXE_STANDARD, "bert", None)]
    {
        let mut miner = connect(&daemon, &introduction);
        let channel = miner.try_open(name, extended).unwrap();
        miner.wait_work(channel);
        let first = miner.channel(channel).job().unwrap().clone();
        let easy = first.target;
        // Found beforehand, so that the rate is ours and not this machine's.
        let shares: Vec<_> = (0..20).map(|_| miner.find(channel, Goal::OnlyShare)).collect();
        let mut sent = 0;
        for share in &shares {
            if miner.channel(channel).targets_seen > 0 {
                break;
            }
            assert_eq!(miner.submit_one(share), Ok(()), "share {sent}");
            sent += 1;
            // What follows on the answer is read as well.
            while miner.next(Duration::from_millis(200)).is_some() {}
        }
        let hard = miner.channel(channel).target;
        assert_eq!(miner.channel(channel).targets_seen, 1, "after {sent} shares");
        let [before, after] =
            [easy, hard].map(|target| Target::from_le_bytes(&target).difficulty().0);
        assert!(after > 1.5 * before, "{before} became {after}");
        println!("{name}: {before} became {after} after {sent} shares");
        assert_eq!(miner.channel(channel).job().unwrap().target, hard, "its job came with it");

        // What was found for the first job counts on, however little it is.
        let late = miner.find_between(channel, first.id, easy, hard);
        assert_eq!(miner.submit_one(&late), Ok(()));
        // The same on a job of now is too little, and what reaches the target is not. (The level is
        // another one again where this machine was too slow in between.)
        loop {
            let told = miner.channel(channel).targets_seen;
            let (job, hard) = {
                let job = miner.channel(channel).job().unwrap();
                (job.id, job.target)
            };
            if reaches(&easy, &hard) {
                // It fell to where it began: shares raise it again.
                let share = miner.find(channel, Goal::OnlyShare);
                assert_eq!(miner.submit_one(&share), Ok(()));
                continue;
            }
            let little = miner.find_between(channel, job, easy, hard);
            let verdict = miner.submit_one(&little);
            refused += usize::from(verdict.is_err());
            if miner.channel(channel).targets_seen == told {
                assert_eq!(verdict, Err("difficulty-too-low".into()));
                break;
            }
        }
        let enough = miner.find(channel, Goal::OnlyShare);
        assert_eq!(miner.submit_one(&enough), Ok(()));
        let level = Target::from_le_bytes(&miner.channel(channel).target).difficulty().0;
        wait_for("the level on the page", || {
            let miners = daemon.get("/api/miners")?;
            let mut miners = miners["miners"].as_array()?.iter();
            let miner = miners.find(|miner| miner["name"] == name)?;
            let shown = miner["difficulty"].as_f64()?;
            ((shown / level - 1.0).abs() < 1e-6).then_some(())
        });
    }
    let server = daemon.get("/api/server").unwrap();
    let reasons = server["reject_reasons"].as_object().unwrap();
    let counts: Vec<_> = reasons.values().collect();
    assert_eq!(counts, [&json!(refused)], "nothing else is refused: {reasons:?}");
}

fn shift_right(number: &mut [u8; 32], bits: u32) {
    let mut carry = 0;
    for byte in number.iter_mut().rev() {
        let wide = u16::from(carry) << 8 | u16::from(*byte);
        carry = *byte & ((1 << bits) - 1);
        *byte = (wide >> bits) as u8;
    }
}

#[test]
fn every_refusal_has_its_code() {
    let (_node, entry) = sandbox();
    let daemon = Daemon::start(&entry);
    daemon.wait_ready();
    let selects = Introduction { flags: REQUIRES_WORK_SELECTION, ..Introduction::BITAXE };
    let refused = MinerV2::try_connect(daemon.stratum, None, &selects).map(drop);
    assert_eq!(refused, Err("unsupported-feature-flags".into()));

    let mut standard = connect(&daemon, &Introduction::BITAXE_STANDARD);
    let code = "extended-channels-not-supported-for-standard-jobs";
    assert_eq!(standard.try_open("anna", Some(2)), Err(code.into()));
    let mut miner = connect(&daemon, &Introduction::BITAXE);
    let code = "min-extranonce-size-too-large";
    assert_eq!(miner.try_open("anna", Some(17)), Err(code.into()));

    let channel = miner.open_extended(EASY, 2);
    let good = miner.find(channel, Goal::OnlyShare);
    let mut of_nobody = good.clone();
    of_nobody.job = of_nobody.job.wrapping_add(1000);
    let mut short = good.clone();
    short.extranonce.pop();
    let mut rolled_beyond = good.clone();
    rolled_beyond.version ^= 0x8000_0000;
    let mut early = good.clone();
    early.ntime -= 100_000;
    let worthless = miner.find(channel, Goal::Nothing);
    for (share, code) in [
        (&of_nobody, "invalid-job-id"),
        (&short, "bad-extranonce-size"),
        (&rolled_beyond, "invalid-non-rollable-version-bit"),
        (&early, "invalid-share"),
        (&worthless, "difficulty-too-low"),
    ] {
        assert_eq!(miner.submit_one(share), Err(code.into()), "{share:?}");
    }
    // None of them has cost the good one anything; many are answered at once.
    let more: Vec<_> = (0..3).map(|_| miner.find(channel, Goal::OnlyShare)).collect();
    let sequences = miner.submit(&[&[good][..], &more].concat());
    for sequence in sequences {
        assert_eq!(miner.verdict(channel, sequence), Ok(()));
    }

    // A channel that is closed is none; its connection goes on.
    let second = miner.open_standard(EASY);
    miner.close(channel, "enough");
    let share = miner.find(second, Goal::OnlyShare);
    assert_eq!(miner.submit_one(&share), Ok(()));
    assert!(
        miner.next(Duration::from_secs(1)).is_none_or(|said| format!("{said:?}").contains("Job"))
    );
}

#[test]
fn a_stranger_and_half_a_greeting_disturb_nobody() {
    let (_node, entry) = sandbox();
    let daemon = Daemon::start(&entry);
    daemon.wait_ready();
    // Another box at the same address is not taken for this one.
    let pair = Keypair::from_seckey_slice(&Secp256k1::new(), &[7; 32]).unwrap();
    let other = pair.x_only_public_key().0.serialize();
    let error = MinerV2::try_connect(daemon.stratum, Some(other), &Introduction::BITAXE);
    let error = error.map(drop).unwrap_err();
    assert!(error.contains("Certificate"), "{error}");

    let mut miner = connect(&daemon, &Introduction::BITAXE);
    let channel = miner.open_extended(EASY, 2);
    let mut old = Miner::connect(daemon.stratum, "cgminer/4.11.1", "bert");

    // ESP-Miner's probe, half of a greeting, and one that is repeated word for word.
    drop(TcpStream::connect(daemon.stratum).unwrap());
    let mut half = TcpStream::connect(daemon.stratum).unwrap();
    half.write_all(&[0x9c; 40]).unwrap();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(daemon.stratum).unwrap();
        stream.write_all(&[0x9c; 64]).unwrap();
        let mut answer = [0; 234];
        stream.read_exact(&mut answer).unwrap();
        // Nobody can go on from here without the key to these bytes.
        stream.write_all(&[0x55; 60]).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(stream.read(&mut answer).unwrap_or(0), 0, "it is sent away");
    }

    // A message that was cut, with the next one after it, ends the connection: nothing in it counts.
    let mut cut = MinerV2::silent(Line::connect(daemon.stratum, None).unwrap());
    let frame = Frame { extension: 0, kind: 0, payload: vec![0; 30] };
    let bytes = cut.line.encrypt(&frame);
    cut.line.send_raw(&bytes[..bytes.len() - 1]).unwrap();
    let bytes = cut.line.encrypt(&frame);
    cut.line.send_raw(&bytes).unwrap();
    cut.wait_closed(Duration::from_secs(20));

    // What it does not know, it passes over: another extension's message, and one of no meaning.
    let strange = |extension, kind| Frame { extension, kind, payload: vec![1, 2, 3] };
    miner.say(&[strange(1, 0), strange(0x8abc, 0x1b), strange(0, 0x7f)]);
    let share = miner.find(channel, Goal::OnlyShare);
    assert_eq!(miner.submit_one(&share), Ok(()));
    assert_eq!(old.call("mining.ping", json!([]))["result"], "pong");
}

/// What goes over the wire, beside the older protocol: printed, not judged.
#[test]
fn bytes_on_the_wire() {
    let (_node, entry) = sandbox();
    let daemon = Daemon::start(&entry);
    daemon.wait_ready();
    for (what, introduction, extended) in [
        ("extended", Introduction::BITAXE, Some(2)),
        ("standard", Introduction::BITAXE_STANDARD, None),
    ] {
        let mut miner = connect(&daemon, &introduction);
        let bytes = |miner: &MinerV2| (miner.line.sent, miner.line.received);
        let channel = miner.try_open(EASY, extended).unwrap();
        miner.wait_work(channel);
        let (asked, greeted) = bytes(&miner);
        let share = miner.find(channel, Goal::OnlyShare);
        assert_eq!(miner.submit_one(&share), Ok(()));
        let (sent, answered) = bytes(&miner);
        let (sent, answered) = (sent - asked, answered - greeted);
        // A block, whose answer is as long as any share's, and the job after it.
        let block = miner.find(channel, Goal::Block);
        let before = miner.line.received;
        assert_eq!(miner.submit_one(&block), Ok(()));
        miner.wait_new_tip(channel);
        let job = miner.line.received - before - answered;
        println!(
            "{what} channel: {asked} + {greeted} bytes to its first job, a share {sent} + {answered}, \
             a job on a new tip {job}"
        );
    }
    let old = Miner::connect(daemon.stratum, "bitaxe/BM1370", "anna");
    let notify = json!({"id": null, "method": "mining.notify", "params": old.job});
    let submit = json!({"id": 10, "method": "mining.submit", "params":
        ["anna", "12345678", "0000000000000001", "69000000", "12345678", "00002000"]});
    let answer = json!({"id": 10, "result": true, "error": null});
    let [notify, submit, answer] = [notify, submit, answer].map(|line| line.to_string().len() + 1);
    println!("V1: a share {submit} + {answer}, a job {notify}");
}
