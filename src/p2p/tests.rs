//! The machine against a node in memory, in virtual time.

mod addresses;
pub(super) mod model;

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Down, Event, Form, Input, Order, Output, Peer};
use crate::block::SolvedBlock;
use crate::chain::{BlockHash, Chain};
use crate::clock::Now;
use crate::hash::sha256d;
use model::{
    BITS, Kind, Node, World, entries_payload, getheaders_payload, headers_payload, message, mine,
    solve, version_payload,
};

/// The beginning of time.
pub(super) fn start() -> Instant {
    Instant::now() + Duration::from_secs(1 << 20)
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A connected world whose peer knows the node's tip.
fn settled(kind: Kind) -> World {
    let mut world = World::new(Node::new(kind, 100));
    world.tell_tip();
    world.wait(ms(1));
    assert!(matches!(
        world.events()[..],
        [Event::Ready { .. }, Event::Same(true), Event::Tip { .. }]
    ));
    world.commands();
    world
}

#[test]
fn the_handshake_says_who_we_are() {
    let mut world = World::new(Node::new(Kind::Core, 3));
    world.wait(Duration::ZERO);
    let sent = std::mem::take(&mut world.sent);
    let commands: Vec<&str> = sent.iter().map(|(_, command, _)| command.as_str()).collect();
    let expected = ["version", "verack", "sendcmpct", "sendheaders", "pong", "headers"];
    assert_eq!(commands, expected);
    let agent = format!("/Soloist:{}/", env!("CARGO_PKG_VERSION"));
    let mut version = Vec::new();
    version.extend(70016_u32.to_le_bytes());
    version.extend(8_u64.to_le_bytes());
    version.extend(model::UNIX.to_le_bytes());
    version.extend([0; 52]);
    version.extend(model::NONCE.to_le_bytes());
    version.push(agent.len() as u8);
    version.extend(agent.as_bytes());
    version.extend([0; 5]);
    assert_eq!(sent[0].2, version);
    assert_eq!(sent[2].2, [0, 2, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(sent[4].2, [9; 8]);
    assert_eq!(sent[5].2, [0]);
    let ready = Event::Ready {
        agent: "/Satoshi:31.99.0/".to_owned(),
        version: 70016,
        services: 0xc09,
        took: Duration::ZERO,
    };
    assert_eq!(world.events(), [ready]);
}

#[test]
fn a_tip_is_found_and_followed() {
    for kind in [Kind::Core, Kind::Bcoin] {
        let mut world = settled(kind);
        let hash = world.node.grow(1);
        world.announce();
        let height = Some(101);
        let events = world.events();
        let [Event::Tip { hash: told, height: at, median_time, time, bits }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((*told, *at), (hash, height));
        let start = model::UNIX as u32;
        assert_eq!((*time, *median_time), (start + 60 * 100, Some(start + 60 * 95)));
        assert_eq!(bits.0, model::BITS);
        // The owner hears of it as well: nothing is left to ask.
        world.tell_tip();
        assert_eq!(world.events(), [Event::Same(true)]);
        assert!(world.commands().is_empty());
    }
}

#[test]
fn a_block_goes_out_and_is_found_in_the_chain() {
    for (kind, mempool, whole) in [
        (Kind::Core, true, false),
        (Kind::Core, false, false),
        (Kind::Core, true, true),
        (Kind::Bcoin, true, true),
    ] {
        let mut world = settled(kind);
        world.node.has_mempool = mempool;
        world.node.wants_whole = whole;
        let block = solve(world.node.tip(), 101, 20);
        world.order(Order::Offer(block.clone()));
        assert_eq!(world.node.tip(), block.hash);
        let (form, after) = (if whole { Form::Whole } else { Form::Compact }, Duration::ZERO);
        world.wait(ms(100));
        let events = world.events();
        assert_eq!(events[0], Event::Asked { block: block.hash, form, after });
        let in_chain = |event: &Event| matches!(event, Event::InChain { block: b, confirmations: 1, .. } if *b == block.hash);
        assert!(events.iter().any(in_chain), "{kind:?} {mempool} {whole}: {events:?}");
        let commands = world.commands();
        assert_eq!(commands[..2], ["headers", "inv"]);
        // What comes after it links to it.
        world.node.grow(1);
        world.announce();
        let is_tip = |event: &Event| matches!(event, Event::Tip { height: Some(102), .. });
        assert!(world.events().iter().any(is_tip));
    }
}

#[test]
fn waits_grow_and_begin_anew() {
    let mut world = World::new(Node::new(Kind::Core, 3));
    world.listens = false;
    world.wait(secs(300));
    let expected = [0, 1, 3, 8, 18, 48, 108, 168, 228, 288].map(secs);
    assert_eq!(world.tries, expected);
    assert_eq!(world.events(), [Event::Down(Down::Refused)]);
    // A connection that lives for a minute.
    world.listens = true;
    world.wait(secs(60 + 60));
    assert!(matches!(world.events()[..], [Event::Ready { .. }]));
    world.cut(Down::HungUp);
    world.tries.clear();
    let closed_at = world.age();
    world.listens = false;
    world.wait(secs(1));
    assert_eq!(world.tries, [closed_at + secs(1)]);
    assert_eq!(world.events(), [Event::Down(Down::Closed), Event::Down(Down::Refused)]);
}

#[test]
fn a_peer_that_lies_about_itself_is_left_alone() {
    let nonsense = Down::Nonsense;
    let old = Down::Unfit("its protocol is older than 70012 (Bitcoin Core 0.12)");
    let version = |version, services, nonce| {
        message("version", &version_payload(version, services, nonce, "/x/"))
    };
    for (bytes, why) in [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), nonsense("a web server answers there")),
        (vec![0x15, 3, 1, 0, 2, 2, 40], nonsense("a TLS server answers there")),
        (b"SSH-2.0-x\r\n".to_vec(), nonsense("its answer does not begin like a message")),
        (vec![0xf9, 0xbe, 0xb4, 0xd9], Down::OtherChain),
        (version(70011, 9, 1), old),
        (version(70016, 8, 1), Down::Unfit("it keeps no blocks")),
        (version(70016, 1, 1), Down::Unfit("it does not know segregated witnesses")),
        (version(70016, 9, model::NONCE), nonsense("it sends our own words back")),
        (message("version", &[0; 1025]), nonsense("a message is too long")),
        (message("version", &[0; 70]), nonsense("a version message that ends too early")),
    ] {
        let mut world = World::new(Node::new(Kind::Core, 3));
        world.is_mute = true;
        world.wait(secs(1));
        world.say(&bytes);
        assert_eq!(world.events(), [Event::Down(why)]);
        assert!(!world.is_open);
        world.wait(secs(599));
        assert_eq!(world.tries.len(), 1);
        // A block is worth one more try, no more.
        let block = solve(world.node.tip(), 4, 0);
        world.order(Order::Offer(block.clone()));
        world.say(&bytes);
        assert!(!world.is_open);
        assert_eq!(world.tries.len(), 2);
        world.order(Order::Offer(block));
        world.wait(secs(599));
        assert_eq!(world.tries.len(), 2);
        world.wait(secs(1));
        assert_eq!(world.tries.len(), 3);
    }
    // A pruned node is as good.
    let mut world = World::new(Node::new(Kind::Core, 3));
    world.is_mute = true;
    world.wait(secs(1));
    let greeting = [version(70012, 8 | 1 << 10, 1), message("verack", &[])].concat();
    world.say(&greeting);
    assert!(matches!(world.events()[..], [Event::Ready { version: 70012, .. }]));
}

/// The `getheaders` sent since it was asked last: when, and with how many hashes in the locator.
fn questions(world: &mut World) -> Vec<(Duration, usize)> {
    let sent = std::mem::take(&mut world.sent);
    let questions = sent.into_iter().filter(|(_, command, _)| command == "getheaders");
    questions.map(|(at, _, payload)| (at, usize::from(payload[4]))).collect()
}

#[test]
fn deadlines_end_what_is_silent() {
    // No answer to the TCP connection.
    let mut peer = Peer::new(Now { mono: start(), unix: 0 }, Chain::Regtest, 1);
    let now = Now { mono: peer.next_deadline().unwrap(), unix: 0 };
    let at = |time| Now { mono: now.mono + time, unix: 0 };
    let mut out = Vec::new();
    peer.handle(now, Input::Tick, &mut out);
    assert!(matches!(out[..], [Output::Connect]));
    assert_eq!(peer.next_deadline(), Some(now.mono + secs(5)));
    out.clear();
    peer.handle(at(secs(5)), Input::Tick, &mut out);
    assert!(matches!(out[..], [Output::Close, Output::Event(Event::Down(Down::Silent))]));

    // By a proxy there is more time for it.
    let mut peer = Peer::new(Now { mono: start(), unix: 0 }, Chain::Regtest, 1).by_proxy();
    let now = Now { mono: peer.next_deadline().unwrap(), unix: 0 };
    peer.handle(now, Input::Tick, &mut out);
    assert_eq!(peer.next_deadline(), Some(now.mono + secs(30)));

    // No answer to our version; then one that ends in the middle.
    let mut world = World::new(Node::new(Kind::Core, 3));
    world.is_mute = true;
    world.wait(ms(9_999));
    assert!(world.is_open);
    world.wait(ms(1));
    assert!(!world.is_open);
    world.wait(secs(5));
    world.say(&message("version", &version_payload(70016, 9, 1, "/x/")));
    world.wait(secs(10));
    assert_eq!(world.events(), [Event::Down(Down::Silent)]);
    assert_eq!(world.tries, [0, 11, 23].map(secs));
    // It hangs up instead.
    world.cut(Down::Closed);
    assert_eq!(world.events(), [Event::Down(Down::HungUp)]);
}

#[test]
fn silence_is_pinged_and_then_given_up() {
    let mut world = settled(Kind::Bcoin);
    let heard = world.age();
    world.wait(secs(19));
    assert!(world.commands().is_empty());
    world.wait(secs(1));
    assert_eq!(world.commands(), ["ping"]);
    // It answered at once, so the next one is as long after it.
    world.wait(secs(19));
    assert!(world.commands().is_empty());
    world.is_mute = true;
    world.wait(secs(1 + 9));
    assert!(world.is_open);
    // Half a message is no sign of life.
    world.say(&message("pong", &[0; 8])[..30]);
    world.wait(secs(1) - ms(2));
    assert!(world.is_open);
    world.wait(ms(2));
    assert!(!world.is_open);
    assert_eq!(world.events(), [Event::Down(Down::Silent)]);
    assert!(world.age() - heard >= secs(20 + 20 + 10));
}

#[test]
fn a_peer_has_time_to_take_a_long_block_before_it_answers() {
    let mut world = settled(Kind::Bcoin);
    let mut block = SolvedBlock::clone(&solve(world.node.tip(), 101, 2));
    block.bytes.resize(3_200_000, 0);
    world.order(Order::Offer(Arc::new(block)));
    assert!(world.events().iter().any(|event| matches!(event, Event::Asked { .. })));
    world.is_mute = true;
    // It is pinged 20 s after the time for 32 KiB a second.
    world.wait(secs(97 + 20 + 9));
    assert!(world.is_open);
    world.wait(ms(1_500));
    assert!(!world.is_open);
}

#[test]
fn a_tip_that_the_peer_lacks_is_asked_for_again() {
    for kind in [Kind::Core, Kind::Bcoin] {
        let mut world = settled(kind);
        let mut other = Node::new(kind, 100);
        let hash = other.grow(7);
        let order = Order::Tip { hash, height: 101 };
        let since = world.age();
        world.order(order.clone());
        world.order(order.clone());
        world.wait(ms(4_999));
        assert_eq!(world.events(), []);
        world.wait(ms(1));
        assert_eq!(world.events(), [Event::Same(false)]);
        world.wait(secs(65));
        assert_eq!(
            questions(&mut world),
            [(since, 0), (since + secs(35), 0), (since + secs(70), 0)]
        );
        // Said again it is answered again, and not asked again.
        world.order(order);
        assert_eq!(world.events(), [Event::Same(false)]);
        assert_eq!(questions(&mut world), []);
        // It comes by itself.
        world.wait(secs(5));
        world.node.known.extend(other.known.clone());
        world.node.active.push(hash);
        world.announce();
        let events = world.events();
        assert!(matches!(events[..], [Event::Same(true), Event::Tip { height: Some(101), .. }]));
        world.wait(secs(100));
        assert_eq!(questions(&mut world), []);
    }
}

#[test]
fn a_stale_block_is_not_the_same_chain() {
    for kind in [Kind::Core, Kind::Bcoin] {
        let mut world = settled(kind);
        // The node knows it, and has another one of its height.
        world.node.grow(1);
        let (stale, height) = (world.node.tip(), 101);
        world.node.rewind(1);
        world.node.grow(2);
        world.order(Order::Tip { hash: stale, height });
        let events = world.events();
        let best = world.node.tip();
        assert!(
            matches!(&events[..], [Event::Same(false), Event::Tip { hash, height: Some(101), .. }] if *hash == best),
            "{kind:?} {events:?}"
        );
    }
}

#[test]
fn heights_and_median_times_are_told_where_they_are_known() {
    let mut world = World::new(Node::new(Kind::Core, 5));
    world.tell_tip();
    world.wait(ms(1));
    let unix = model::UNIX as u32;
    let events = world.events();
    let genesis = 1_296_688_602;
    let Event::Tip { median_time, height, .. } = events[2] else { panic!("{events:?}") };
    assert_eq!((height, median_time), (Some(5), Some(unix + 2 * 60)));
    assert!(genesis < unix);

    // Without an order, the first tip that is announced begins it.
    let mut world = World::new(Node::new(Kind::Core, 100));
    world.wait(ms(1));
    world.node.grow(1);
    world.announce();
    let events = world.events();
    assert!(
        matches!(
            events[..],
            [Event::Ready { .. }, Event::Tip { height: None, median_time: Some(_), .. }]
        ),
        "{events:?}"
    );
    world.tell_tip();
    world.node.grow(1);
    world.announce();
    let events = world.events();
    assert!(matches!(events[..], [Event::Same(true), Event::Tip { height: Some(102), .. }]));

    // Block 0 alone.
    let mut world = World::new(Node::new(Kind::Core, 0));
    world.tell_tip();
    world.wait(ms(1));
    let events = world.events();
    let [_, Event::Same(true), Event::Tip { height: Some(0), median_time, .. }] = events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(median_time, Some(genesis));
}

#[test]
fn reorganisations_are_followed() {
    for kind in [Kind::Core, Kind::Bcoin] {
        let mut world = settled(kind);
        for _ in 0..3 {
            world.node.grow(1);
            world.announce();
        }
        world.tell_tip();
        world.events();
        // Three blocks become four others.
        world.node.rewind(3);
        for _ in 0..4 {
            world.node.grow(2);
        }
        world.announce();
        let best = world.node.tip();
        let events = world.events();
        assert!(matches!(events[..], [Event::Tip { hash, height: Some(104), .. }] if hash == best));
        // The owner of the node calls back two and finds another one: the chain is shorter.
        world.node.rewind(2);
        world.node.grow(3);
        world.announce();
        let best = world.node.tip();
        let events = world.events();
        assert!(
            matches!(events[..], [Event::Tip { hash, height: Some(103), .. }] if hash == best),
            "{events:?}"
        );
        // More than are kept.
        world.node.rewind(80);
        for _ in 0..90 {
            world.node.grow(4);
        }
        world.announce();
        world.tell_tip();
        let best = world.node.tip();
        let events = world.events();
        assert!(
            matches!(events.last(), Some(Event::Tip { hash, height: Some(113), .. }) if *hash == best),
            "{events:?}"
        );
        assert!(events.contains(&Event::Same(true)));
    }
}

#[test]
fn late_news_of_what_is_known_changes_nothing() {
    let mut world = settled(Kind::Core);
    let old = world.node.known[&world.node.active[99]];
    world.say(&message("headers", &headers_payload(&[old])));
    assert_eq!((world.events(), questions(&mut world)), (vec![], vec![]));
    world.node.grow(1);
    world.announce();
    assert!(matches!(world.events()[..], [Event::Tip { height: Some(101), .. }]));
}

#[test]
fn after_a_reconnect_the_peer_is_asked_what_came() {
    let mut world = settled(Kind::Core);
    // The tip is told anew although it is the same.
    world.cut(Down::Closed);
    world.wait(secs(1));
    let (events, tip) = (world.events(), world.node.tip());
    assert!(
        matches!(&events[..], [Event::Down(Down::Closed), Event::Ready { .. }, Event::Same(true), Event::Tip { hash, height: Some(100), .. }] if *hash == tip),
        "{events:?}"
    );
    world.wait(secs(60));
    world.cut(Down::Closed);
    world.node.grow(1);
    world.node.grow(1);
    world.wait(secs(1));
    let events = world.events();
    let tip = world.node.tip();
    assert!(
        matches!(&events[..], [Event::Down(Down::Closed), Event::Ready { .. }, Event::Same(true), Event::Tip { hash, height: Some(102), .. }] if *hash == tip),
        "{events:?}"
    );
    // Another node listens there now, which does not know that chain.
    world.cut(Down::Closed);
    let mut other = Node::new(Kind::Core, 0);
    for _ in 0..20 {
        other.grow(9);
    }
    world.node = other;
    world.events();
    world.wait(secs(2));
    let events = world.events();
    assert!(matches!(events[..], [Event::Ready { .. }, Event::Same(false)]), "{events:?}");
    // Its next tips are told, as far as they are known.
    world.node.grow(1);
    world.announce();
    assert!(matches!(world.events()[..], [Event::Tip { height: None, .. }]));
}

#[test]
fn headers_without_work_or_against_the_rules_end_it() {
    let rules = "headers with a target against the rules";
    let work = "headers without proof of work";
    let order = "headers that do not follow one another";
    let length = "a list of headers of another length than it says";
    let mut node = Node::new(Kind::Core, 100);
    let tip = node.tip();
    let [good, next] = [node.grow(1), node.grow(1)].map(|hash| node.known[&hash]);
    let mut lazy = good;
    while sha256d(&lazy)[31] < 0x80 {
        lazy[76] = lazy[76].wrapping_add(1);
    }
    let easier = mine(tip, [0; 32], 1, 0x207f_fffe);
    for (payload, why) in [
        (headers_payload(&[lazy]), work),
        (headers_payload(&[good, lazy]), order),
        (headers_payload(&[next, good]), order),
        (headers_payload(&[easier]), rules),
        (headers_payload(&[good])[..81].to_vec(), length),
    ] {
        let mut world = settled(Kind::Core);
        world.say(&message("headers", &payload));
        assert_eq!(world.events(), [Event::Down(Down::Nonsense(why))]);
        assert!(!world.is_open);
    }
}

#[test]
fn headers_that_do_not_link_cost_one_question() {
    let mut world = settled(Kind::Core);
    let stray = mine(BlockHash([5; 32]), [0; 32], 1, BITS);
    let stray = message("headers", &headers_payload(&[stray]));
    for _ in 0..100 {
        world.say(&stray);
        world.wait(ms(100));
    }
    assert_eq!(questions(&mut world).len(), 1);
    assert_eq!(world.events(), []);
    world.wait(secs(30));
    world.say(&stray);
    assert_eq!(questions(&mut world).len(), 1);
    // And endless ones that link are a flood in the end, and take no more room than a few.
    let mut sizes = Vec::new();
    while world.is_open {
        for _ in 0..1000 {
            world.node.grow(1);
        }
        let new = world.node.active.len() - 1000;
        let list: Vec<_> =
            world.node.active[new..].iter().map(|hash| world.node.known[hash]).collect();
        world.say(&message("headers", &headers_payload(&list)));
        sizes.push(world.peer.memory());
        world.wait(secs(1));
    }
    assert_eq!(world.events().last(), Some(&Event::Down(Down::Flood)));
    assert!(sizes.len() > 5 && sizes.iter().all(|size| *size < 12_000), "{sizes:?}");
}

#[test]
fn a_peer_that_does_not_know_our_headers_is_no_flood() {
    // It sends 2,000 headers from the start for each question.
    let mut world = World::new(Node::new(Kind::Core, 2100));
    let mut other = Node::new(Kind::Core, 0);
    other.active = world.node.active[..1].to_vec();
    for _ in 0..100 {
        other.grow(9);
    }
    let (tip, height) = (other.tip(), other.height());
    world.node.known.extend(other.known);
    // A stale block: known, and not in the best chain, nor is a parent within reach.
    world.order(Order::Tip { hash: tip, height });
    let block = solve(BlockHash([3; 32]), 5, 0);
    let second = solve(BlockHash([4; 32]), 5, 0);
    world.order(Order::Offer(block.clone()));
    world.order(Order::Offer(second));
    world.wait(secs(600));
    assert!(world.is_open);
    let events = world.events();
    assert!(matches!(events[..], [Event::Ready { .. }, Event::Same(false)]), "{events:?}");
    assert!(world.peer.memory() < 12_000);
    // It learns of the parent in the end.
    let parent = world.node.grow(5);
    let block = solve(parent, 2102, 0);
    world.order(Order::Offer(block.clone()));
    world.wait(ms(100));
    let is_in_chain =
        |event: &Event| matches!(event, Event::InChain { block: b, .. } if *b == block.hash);
    assert!(world.events().iter().any(is_in_chain));
}

#[test]
fn a_flood_is_cut_off() {
    let mut world = settled(Kind::Core);
    let tx = message("tx", &vec![0; 60_000]);
    for _ in 0..8 {
        world.say(&tx);
    }
    assert!(world.is_open);
    // What is useless counts as well.
    world.say(&tx);
    assert!(!world.is_open);
    assert_eq!(world.events(), [Event::Down(Down::Flood)]);
    world.wait(secs(599));
    assert_eq!(world.tries.len(), 1);
    world.wait(secs(1));
    assert_eq!(world.tries.len(), 2);

    // 8,000 bytes a second are no flood, 9,000 are.
    for (bytes, is_open) in [(8000, true), (9000, false)] {
        let mut world = settled(Kind::Core);
        for _ in 0..1000 {
            world.say(&message("tx", &vec![0; bytes - 24]));
            world.wait(secs(1));
        }
        assert_eq!(world.is_open, is_open, "{bytes}");
    }
}

#[test]
fn a_block_that_nobody_asks_for_is_asked_about() {
    let mut world = settled(Kind::Bcoin);
    world.node.takes = false;
    // bcoin is silent where nothing follows; Core is not.
    world.node.kind = Kind::Core;
    let block = solve(world.node.tip(), 101, 2);
    let since = world.age();
    world.order(Order::Offer(block.clone()));
    assert_eq!(world.commands(), ["headers", "inv"]);
    world.wait(secs(40));
    let mut expected = Vec::new();
    let mut at = since + ms(500);
    for pause in [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
        expected.push((at, 1));
        at += ms(pause);
    }
    expected.push((at, 1));
    assert_eq!(questions(&mut world), expected);
    assert_eq!(world.events(), []);
    // It has it by another way, and two more on top of it.
    let header = *block.bytes.first_chunk().unwrap();
    world.node.known.insert(block.hash, header);
    world.node.active.push(block.hash);
    world.node.grow(1);
    world.node.grow(1);
    world.wait(secs(10));
    let events = world.events();
    assert!(
        matches!(&events[0], Event::InChain { block: b, confirmations: 3, after } if *b == block.hash && *after > secs(40)),
        "{events:?}"
    );
    world.wait(secs(50));
    assert_eq!(questions(&mut world).len(), 1);
    assert!(matches!(world.events()[..], []));
}

#[test]
fn silence_about_a_block_is_asked_again() {
    let mut world = settled(Kind::Bcoin);
    world.node.takes = false;
    let block = solve(world.node.tip(), 101, 2);
    let since = world.age();
    world.order(Order::Offer(block.clone()));
    world.wait(secs(9));
    let at = [500, 2600, 4800, 7200].map(|at| (since + ms(at), 1));
    assert_eq!(questions(&mut world), at);
    world.order(Order::Withdraw(block.hash));
    world.wait(secs(50));
    assert_eq!(questions(&mut world), []);
}

#[test]
fn another_block_in_its_place_is_not_ours() {
    let mut world = settled(Kind::Core);
    world.node.takes = false;
    let block = solve(world.node.tip(), 101, 2);
    world.order(Order::Offer(block.clone()));
    world.node.grow(1);
    world.announce();
    world.wait(secs(20));
    assert!(matches!(world.events()[..], [Event::Tip { .. }]));
    // It becomes ours in the end.
    world.node.rewind(1);
    world.node.known.insert(block.hash, *block.bytes.first_chunk().unwrap());
    world.node.active.push(block.hash);
    world.node.grow(2);
    world.announce();
    let events = world.events();
    assert!(
        matches!(
            events[..],
            [Event::InChain { confirmations: 2, .. }, Event::Tip { height: Some(102), .. }]
        ),
        "{events:?}"
    );
}

#[test]
fn a_withdrawn_block_is_served_for_ten_minutes() {
    let mut world = settled(Kind::Core);
    world.node.takes = false;
    let block = solve(world.node.tip(), 101, 2);
    world.order(Order::Offer(block.clone()));
    world.order(Order::Withdraw(block.hash));
    world.commands();
    // Not announced after a reconnect, nor given as a header.
    world.cut(Down::Closed);
    world.wait(secs(1));
    let sent = std::mem::take(&mut world.sent);
    assert!(sent.iter().all(|(_, command, _)| command != "inv"));
    let headers = sent.iter().find(|(_, command, _)| command == "headers").unwrap();
    assert_eq!(headers.2, [0]);
    let getdata = message("getdata", &entries_payload(&[(0x4000_0002, block.hash)]));
    world.say(&getdata);
    assert_eq!(world.commands(), ["block"]);
    world.wait(secs(598));
    world.say(&getdata);
    assert!(world.commands().contains(&"block".to_owned()));
    world.wait(secs(1));
    world.say(&getdata);
    assert_eq!(world.commands(), ["notfound"]);
}

#[test]
fn four_blocks_are_kept_and_withdrawn_ones_go_first() {
    let mut world = settled(Kind::Core);
    world.node.takes = false;
    let blocks: Vec<_> = (0..6).map(|i| solve(world.node.tip(), 101 + i, 0)).collect();
    blocks[..4].iter().for_each(|block| world.order(Order::Offer(block.clone())));
    world.order(Order::Withdraw(blocks[2].hash));
    blocks[4..].iter().for_each(|block| world.order(Order::Offer(block.clone())));
    world.commands();
    let all: Vec<_> = blocks.iter().map(|block| (2, block.hash)).collect();
    world.say(&message("getdata", &entries_payload(&all)));
    let sent = std::mem::take(&mut world.sent);
    let served: Vec<&[u8]> =
        sent.iter().filter(|sent| sent.1 == "block").map(|sent| &sent.2[..]).collect();
    assert_eq!(served, [1, 3, 4, 5].map(|i| &blocks[i].bytes[..]));
    let missing = sent.iter().find(|sent| sent.1 == "notfound").unwrap();
    assert_eq!(missing.2, entries_payload(&[(2, blocks[0].hash), (2, blocks[2].hash)]));
}

/// What the peer answered since it was asked last, without its own questions.
fn answers(world: &mut World) -> Vec<String> {
    let mut commands = world.commands();
    commands.retain(|command| command != "getheaders");
    commands
}

#[test]
fn a_block_is_served_three_times_and_told_of_once() {
    let mut world = settled(Kind::Core);
    world.node.takes = false;
    let block = solve(world.node.tip(), 101, 3);
    world.order(Order::Offer(block.clone()));
    world.commands();
    world.is_mute = true;
    let get = |kind| message("getdata", &entries_payload(&[(kind, block.hash)]));
    let part = message("getblocktxn", &[&block.hash.0[..], &[1, 2]].concat());
    // As much as Core needs where the transactions that it lacked do not fit.
    for (bytes, answer) in [(get(4), "cmpctblock"), (part.clone(), "blocktxn"), (get(2), "block")] {
        world.say(&bytes);
        assert_eq!(answers(&mut world), [answer]);
    }
    world.say(&message("getdata", &entries_payload(&[])));
    assert!(answers(&mut world).is_empty());
    for kind in [4, 2, 0x4000_0002] {
        world.say(&get(kind));
        assert_eq!(answers(&mut world), ["notfound"]);
    }
    world.say(&part);
    assert!(world.is_open && answers(&mut world).is_empty());
    let after = Duration::ZERO;
    let asked = |form| Event::Asked { block: block.hash, form, after };
    assert_eq!(world.events(), [asked(Form::Compact), asked(Form::Whole)]);
    // Over a new connection all begins anew.
    world.is_mute = false;
    world.cut(Down::Closed);
    world.wait(secs(1));
    world.commands();
    world.say(&message("getdata", &entries_payload(&[(2, block.hash); 5])));
    assert_eq!(answers(&mut world), ["block", "block", "block", "notfound"]);
    world.cut(Down::Closed);
    world.wait(secs(2));
    world.say(&get(2));
    assert!(world.commands().contains(&"block".to_owned()));
    // Transactions that it does not have, a transaction, a block of others.
    world.say(&message("getdata", &entries_payload(&[(1, block.hash), (2, BlockHash([1; 32]))])));
    assert!(world.commands().contains(&"notfound".to_owned()));
    world.events();
    world.say(&message("getblocktxn", &[&block.hash.0[..], &[1, 4]].concat()));
    let why = "it asks for transactions that the block does not have";
    assert_eq!(world.events(), [Event::Down(Down::Nonsense(why))]);
}

#[test]
fn a_block_gets_through_reconnects() {
    for kind in [Kind::Core, Kind::Bcoin] {
        let mut world = settled(kind);
        world.node.wants_whole = true;
        world.listens = false;
        world.cut(Down::Closed);
        world.wait(secs(100));
        world.events();
        // It is not waited for the next try, nor are the next ones far away.
        world.tries.clear();
        let since = world.age();
        let block = solve(world.node.tip(), 101, 2);
        world.order(Order::Offer(block.clone()));
        world.wait(secs(11));
        assert_eq!(world.tries, [0, 5, 10].map(|at| since + secs(at)));
        world.listens = true;
        // The connection ends in the middle of the block.
        world.node.takes = false;
        world.wait(secs(5));
        world.is_mute = true;
        world.say(&message("getdata", &entries_payload(&[(0x4000_0002, block.hash)])));
        world.cut(Down::Closed);
        world.is_mute = false;
        world.node.takes = true;
        world.wait(secs(5));
        assert_eq!(world.node.tip(), block.hash);
        let events = world.events();
        let count = |is: fn(&Event) -> bool| events.iter().filter(|event| is(event)).count();
        assert_eq!(count(|event| matches!(event, Event::Asked { .. })), 2);
        assert_eq!(count(|event| matches!(event, Event::InChain { .. })), 1);
    }
}

#[test]
fn a_peer_that_asks_for_headers_gets_those_of_our_blocks() {
    let mut world = settled(Kind::Core);
    world.node.takes = false;
    let first = solve(world.node.tip(), 101, 0);
    let second = solve(first.hash, 102, 0);
    let other = solve(BlockHash([8; 32]), 102, 0);
    for block in [&first, &second, &other] {
        world.order(Order::Offer(block.clone()));
    }
    let tip = world.node.tip();
    let none = BlockHash([0; 32]);
    let header = |block: &SolvedBlock| *block.bytes.first_chunk().unwrap();
    for (locator, stop, expected) in [
        (vec![none, tip], none, vec![header(&first), header(&second)]),
        (vec![first.hash, tip], none, vec![header(&second)]),
        (vec![BlockHash([9; 32])], none, vec![]),
        (vec![], other.hash, vec![header(&other)]),
        (vec![], tip, vec![]),
    ] {
        world.commands();
        world.say(&message("getheaders", &getheaders_payload(&locator, stop)));
        let sent = std::mem::take(&mut world.sent);
        assert_eq!(sent[0].1, "headers");
        assert_eq!(sent[0].2, headers_payload(&expected));
    }
}

#[test]
fn a_block_is_announced_again_when_its_parent_has_come() {
    let mut world = settled(Kind::Core);
    let mut other = Node::new(Kind::Core, 100);
    let parent = other.grow(1);
    let block = solve(parent, 102, 0);
    world.order(Order::Offer(block.clone()));
    world.wait(secs(3));
    assert_eq!(world.node.height(), 100);
    world.node.grow(1);
    world.announce();
    assert_eq!(world.node.tip(), block.hash);
}

#[test]
fn what_is_unknown_does_no_harm() {
    let mut world = settled(Kind::Core);
    for command in ["addr", "addrv2", "reject", "alert", "\u{1}\u{2}", "", "tx", "getaddr", "pong"]
    {
        world.say(&message(command, &[1; 300]));
    }
    world.say(&message("ping", &[]));
    world.say(&message("version", &version_payload(70016, 9, 1, "/x/")));
    world.say(&message("verack", &[]));
    assert!(world.is_open && world.commands().is_empty() && world.events().is_empty());
    world.say(&message("ping", &[1, 2, 3, 4, 5, 6, 7, 8]));
    assert_eq!(world.sent[0].2, [1, 2, 3, 4, 5, 6, 7, 8]);
    // Before the handshake nothing is answered but pings, and nobody is told.
    let mut world = World::new(Node::new(Kind::Core, 3));
    world.is_mute = true;
    world.wait(secs(1));
    world.commands();
    let early = [
        message("verack", &[]),
        message("getheaders", &getheaders_payload(&[], BlockHash([0; 32]))),
        message("inv", &entries_payload(&[(2, BlockHash([1; 32]))])),
    ];
    early.iter().for_each(|bytes| world.say(bytes));
    assert!(world.is_open && world.commands().is_empty() && world.events().is_empty());
}

#[test]
fn a_child_of_our_block_proves_it() {
    let mut world = settled(Kind::Core);
    world.node.takes = false;
    let block = solve(world.node.tip(), 101, 2);
    world.order(Order::Offer(block.clone()));
    world.node.known.insert(block.hash, *block.bytes.first_chunk().unwrap());
    world.node.active.push(block.hash);
    let child = world.node.grow(1);
    // The node believes that we know our own block.
    let header = world.node.known[&child];
    world.is_mute = true;
    world.say(&message("headers", &headers_payload(&[header])));
    let events = world.events();
    assert!(
        matches!(events[..], [Event::InChain { confirmations: 2, .. }, Event::Tip { hash, height: Some(102), .. }] if hash == child),
        "{events:?}"
    );
    // Also where nothing is known of the chain.
    let mut world = World::new(Node::new(Kind::Core, 100));
    world.node.takes = false;
    world.order(Order::Offer(block));
    world.events();
    world.is_mute = true;
    world.say(&message("headers", &headers_payload(&[header])));
    assert!(matches!(world.events()[..], [Event::InChain { confirmations: 2, .. }]));
}

#[test]
fn what_follows_block_0_can_be_an_answer() {
    for kind in [Kind::Core, Kind::Bcoin] {
        let mut world = World::new(Node::new(kind, 1));
        world.tell_tip();
        world.wait(ms(1));
        let events = world.events();
        assert!(matches!(events[..], [_, Event::Same(true), Event::Tip { height: Some(1), .. }]));
    }
}

#[test]
fn a_header_by_its_hash_proves_nothing() {
    let mut world = settled(Kind::Core);
    world.is_mute = true;
    let block = solve(world.node.tip(), 101, 2);
    world.order(Order::Tip { hash: block.hash, height: 101 });
    let header = *block.bytes.first_chunk().unwrap();
    world.say(&message("headers", &headers_payload(&[header])));
    world.order(Order::Offer(block.clone()));
    assert_eq!(world.events(), []);
    // What follows its parent does.
    world.say(&message("headers", &headers_payload(&[header])));
    let events = world.events();
    assert!(matches!(events[..], [Event::InChain { .. }, Event::Same(true), Event::Tip { .. }]));
}

#[test]
fn a_long_way_is_gone_in_steps() {
    let mut world = World::new(Node::new(Kind::Core, 2150));
    let (hash, height) = (world.node.active[50], 50);
    world.order(Order::Tip { hash, height });
    world.wait(secs(29));
    assert!(matches!(world.events()[..], [Event::Ready { .. }, Event::Same(true)]));
    world.wait(secs(2));
    assert!(matches!(world.events()[..], [Event::Tip { height: Some(2150), .. }]));
    world.wait(secs(300));
    assert_eq!(world.events(), []);
}

#[test]
fn a_block_deep_in_the_chain_is_found_again() {
    let mut world = settled(Kind::Core);
    let block = solve(world.node.tip(), 101, 2);
    world.order(Order::Offer(block.clone()));
    for _ in 0..2 {
        world.node.grow(1);
        world.announce();
    }
    world.cut(Down::Closed);
    world.events();
    world.wait(secs(1) + ms(100));
    let events = world.events();
    let is_found = |event: &Event| matches!(event, Event::InChain { confirmations: 3, .. });
    assert!(events.iter().any(is_found), "{events:?}");
}

#[test]
fn a_peer_that_speaks_of_our_block_is_asked_at_once() {
    let mut world = settled(Kind::Core);
    world.node.takes = false;
    let block = solve(world.node.tip(), 101, 2);
    world.order(Order::Offer(block.clone()));
    world.commands();
    let now = world.age();
    world.say(&message("inv", &entries_payload(&[(2, block.hash)])));
    assert_eq!(questions(&mut world), [(now, 1)]);
}

#[test]
fn a_block_is_taken_back_and_offered_again() {
    let mut world = settled(Kind::Core);
    world.node.takes = false;
    let block = solve(world.node.tip(), 101, 2);
    world.order(Order::Offer(block.clone()));
    world.order(Order::Withdraw(block.hash));
    world.commands();
    world.wait(secs(5));
    assert_eq!(world.commands(), Vec::<String>::new());
    world.order(Order::Offer(block.clone()));
    assert_eq!(world.commands(), ["headers", "inv"]);
    world.order(Order::Offer(block));
    assert_eq!(world.commands(), Vec::<String>::new());
    // Two are asked about one after the other, where no answer comes.
    world.is_mute = true;
    let other = solve(BlockHash([3; 32]), 101, 2);
    world.order(Order::Offer(other));
    world.wait(secs(2));
    assert_eq!(questions(&mut world).len(), 1);
}

#[test]
fn a_block_that_is_there_already_is_told_at_once() {
    let mut world = settled(Kind::Core);
    let block = solve(world.node.tip(), 101, 2);
    world.node.known.insert(block.hash, *block.bytes.first_chunk().unwrap());
    world.node.active.push(block.hash);
    world.announce();
    world.events();
    world.order(Order::Offer(block.clone()));
    let after = Duration::ZERO;
    let there = Event::InChain { block: block.hash, confirmations: 1, after };
    assert_eq!(world.events(), [there]);
    // Then the waits are the usual ones.
    world.listens = false;
    world.tries.clear();
    world.cut(Down::Closed);
    let since = world.age();
    world.wait(secs(20));
    assert_eq!(world.tries, [1, 3, 8, 18].map(|at| since + secs(at)));
}

proptest! {
    /// A node's whole life, cut in any way.
    #[test]
    fn pieces_of_the_stream_do_not_matter(
        kind in prop_oneof![Just(Kind::Core), Just(Kind::Bcoin)],
        steps in proptest::collection::vec((0..9_u8, any::<u8>()), 1..30),
        size in 1..50_usize,
    ) {
        let run = |size: usize| {
            let mut world = World::new(Node::new(kind, 30));
            world.node.addresses = addresses::some(40);
            world.piece = size;
            for (step, n) in &steps {
                let n64 = u64::from(*n);
                match step {
                    0 => world.wait(ms(n64 * 40)),
                    1 => { world.node.grow(*n); world.announce(); }
                    2 => world.tell_tip(),
                    3 => {
                        let block = solve(world.node.tip(), world.node.height() + 1, usize::from(n % 5));
                        world.order(Order::Offer(block));
                    }
                    4 => { world.node.rewind(usize::from(n % 4)); world.node.grow(*n); world.announce(); }
                    5 => { world.cut(Down::Closed); }
                    6 => world.node.takes = n % 2 == 0,
                    7 => world.order(Order::Addresses),
                    _ => world.node.has_mempool = n % 2 == 0,
                }
                assert!(world.peer.memory() < 20_000);
            }
            world.wait(secs(40));
            (world.events, world.sent, world.tries)
        };
        prop_assert_eq!(run(usize::MAX), run(size));
    }
}
