//! Addresses of other nodes: when they are asked for, and what is read.

use super::model::{addr_payload, count};
use super::*;
use crate::peer_address::{ListedPeer, PeerAddress, PeerHost};

/// As a node may know them.
pub(super) fn some(n: usize) -> Vec<ListedPeer> {
    let listed = |i: usize| {
        let [.., b, c] = i.to_be_bytes();
        let host = match i % 3 {
            0 => format!("2a01:4f8::{i:x}"),
            _ => format!("77.{}.{b}.{c}", i % 251),
        };
        let address = PeerAddress { host: PeerHost::read(&host), port: 8333 + c as u16 };
        ListedPeer { address, services: 0xc09 + i as u64, seen: model::UNIX + i as u64 }
    };
    (0..n).map(listed).collect()
}

/// The numbers of messages named so among those sent since it was asked last.
fn questions(world: &mut World) -> usize {
    world.commands().iter().filter(|command| *command == "getaddr").count()
}

#[test]
fn addresses_are_asked_for_once_over_a_connection() {
    for kind in [Kind::Core, Kind::Bcoin] {
        let mut world = World::new(Node::new(kind, 3));
        world.node.addresses = some(5);
        world.order(Order::Addresses);
        world.wait(ms(1));
        let told = Event::Addresses(some(5));
        let events = world.events();
        assert!(
            matches!(&events[..], [Event::Ready { .. }, event] if *event == told),
            "{events:?}"
        );
        // After the handshake, not before its end.
        let commands = world.commands();
        let at = |name| commands.iter().position(|command| command == name).unwrap();
        assert!(at("verack") < at("getaddr"));
        world.order(Order::Addresses);
        world.wait(secs(100));
        assert_eq!((questions(&mut world), world.events()), (0, vec![]));
        // Over another connection only by another order, also if it comes later.
        world.cut(Down::Closed);
        world.wait(secs(2));
        assert_eq!(questions(&mut world), 0);
        world.order(Order::Addresses);
        assert_eq!(questions(&mut world), 1);
        let events = world.events();
        assert_eq!(events.last(), Some(&told), "{events:?}");
    }
}

#[test]
fn an_order_is_kept_until_there_is_a_connection() {
    let mut world = World::new(Node::new(Kind::Core, 3));
    world.node.addresses = some(1);
    world.listens = false;
    world.order(Order::Addresses);
    world.wait(secs(20));
    world.listens = true;
    world.wait(secs(60));
    assert_eq!(world.events().last(), Some(&Event::Addresses(some(1))));
}

#[test]
fn addresses_are_read_for_half_a_minute_after_the_question() {
    let mut world = settled(Kind::Core);
    let list = some(1000);
    let addr = message("addr", &addr_payload(&list));
    // Unasked they are not even kept until their end.
    let memory = world.peer.memory();
    world.say(&addr[..20_000]);
    assert_eq!(world.peer.memory(), memory);
    world.say(&addr[20_000..]);
    assert_eq!(world.events(), []);
    world.order(Order::Addresses);
    assert_eq!(world.events(), [Event::Addresses(vec![])]);
    // One that began before the question belongs to no answer; what comes then does, all of it.
    world.say(&addr);
    world.say(&message("addr", &addr_payload(&list[..1])));
    let told = [Event::Addresses(list.clone()), Event::Addresses(list[..1].to_vec())];
    assert_eq!(world.events(), told);
    world.wait(ms(29_999));
    world.say(&addr);
    assert_eq!(world.events(), [Event::Addresses(list)]);
    world.wait(ms(1));
    world.say(&addr);
    assert_eq!(world.events(), []);
    assert!(world.is_open);
}

#[test]
fn a_message_that_began_before_the_question_is_no_answer() {
    let mut world = settled(Kind::Core);
    world.is_mute = true;
    let long = message("addr", &vec![0; 40_000]);
    world.say(&long[..1000]);
    world.order(Order::Addresses);
    world.say(&long[1000..]);
    assert!(world.is_open && world.events().is_empty());
    world.say(&message("addr", &addr_payload(&some(2))));
    assert_eq!(world.events(), [Event::Addresses(some(2))]);
}

#[test]
fn an_answer_that_is_too_long_or_broken_ends_it() {
    let good = addr_payload(&some(2));
    let (long, broken) = ("a message is too long", "a broken addr");
    for (payload, why) in [
        (addr_payload(&some(1001)), long),
        // It says more than it has, or less.
        (good[..60].to_vec(), broken),
        ([&good[..], &[0]].concat(), broken),
        ([count(1001), good[1..].to_vec()].concat(), broken),
        (vec![0xff; 9], broken),
        (vec![], broken),
    ] {
        let mut world = settled(Kind::Core);
        world.is_mute = true;
        world.order(Order::Addresses);
        world.say(&message("addr", &payload));
        assert_eq!(world.events(), [Event::Down(Down::Nonsense(why))]);
        assert!(!world.is_open);
    }
}

#[test]
fn the_bytes_of_an_address_are_those_of_the_protocol() {
    // An example of the Bitcoin wiki's ("Protocol documentation", addr).
    let wiki =
        [
            &[
                1, 0xe2, 0x15, 0x10, 0x4d, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                0xff,
            ][..],
            &[0xff, 10, 0, 0, 1, 0x20, 0x8d],
        ]
        .concat();
    let mut world = settled(Kind::Core);
    world.is_mute = true;
    world.order(Order::Addresses);
    world.say(&message("addr", &wiki));
    let address = PeerAddress { host: PeerHost::read("10.0.0.1"), port: 8333 };
    let listed = ListedPeer { address, services: 1, seen: 0x4d10_15e2 };
    assert_eq!(world.events(), [Event::Addresses(vec![listed])]);
    // Onion addresses of the second version are gone.
    let mut onion = wiki;
    onion[13..19].copy_from_slice(&[0xfd, 0x87, 0xd8, 0x7e, 0xeb, 0x43]);
    world.say(&message("addr", &onion));
    assert_eq!(world.events(), [Event::Addresses(vec![])]);
}
