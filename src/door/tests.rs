use super::*;

use proptest::prelude::*;

const LIMITS: Limits = Limits {
    seats: 4,
    hall: 8,
    seats_each: 2,
    hall_each: 3,
    trial: Duration::from_secs(120),
    calls: 4,
};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A house in virtual time, whose callers are numbered.
struct House {
    door: Door,
    now: Instant,
    next: u64,
}

impl House {
    fn new(limits: Limits) -> House {
        House { door: Door::new(limits), now: Instant::now(), next: 1 }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn comes(&mut self, from: &str, known: Acquaintance) -> (ConnId, Result<Entered, Refused>) {
        let conn = ConnId(self.next);
        self.next += 1;
        self.now += Duration::from_millis(1);
        (conn, self.door.enter(self.now, conn, address(from), known))
    }

    /// A caller who is let in.
    fn enters(&mut self, from: &str, known: Acquaintance) -> ConnId {
        let (conn, entered) = self.comes(from, known);
        assert!(entered.is_ok(), "{from}: {entered:?}");
        conn
    }

    /// Who gives way to the next one from there.
    fn given_way(&mut self, from: &str) -> Option<ConnId> {
        self.comes(from, None).1.unwrap().gives_way
    }

    fn sits(&mut self, from: &str, known: Acquaintance) -> Result<Option<ConnId>, Refused> {
        let conn = self.enters(from, known);
        self.door.sit(self.now, conn, known)
    }

    fn seated(&mut self, from: &str, known: Acquaintance) -> ConnId {
        let conn = self.enters(from, known);
        assert_eq!(self.door.sit(self.now, conn, known), Ok(None));
        conn
    }

    fn seats(&self) -> usize {
        self.door.places.values().filter(|place| place.is_seated()).count()
    }
}

#[test]
fn a_household_is_an_ipv4_address_or_an_ipv6_network() {
    let of = |text: &str| Household::of(address(text));
    assert_eq!(of("192.168.1.7"), of("::ffff:192.168.1.7"));
    assert_ne!(of("192.168.1.7"), of("192.168.1.8"));
    assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
    assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    assert_ne!(Household::alone(address("2001:db8::1")), of("2001:db8::1"));
    assert_eq!(Household::alone(address("::ffff:192.168.1.7")), of("192.168.1.7"));
    assert_eq!(of("2001:db8:0:1::7").to_string(), "2001:db8:0:1::/64");
    assert_eq!(Household::alone(address("2001:db8::7")).to_string(), "2001:db8::7");
}

#[test]
fn who_says_nothing_gives_way_to_others_of_its_household_first() {
    let mut house = House::new(LIMITS);
    let silent: Vec<_> = (0..3).map(|_| house.enters("10.0.0.1", None)).collect();
    house.enters("10.0.0.2", None);
    assert_eq!(house.given_way("10.0.0.1"), Some(silent[0]));
    assert_eq!(house.given_way("::ffff:10.0.0.1"), Some(silent[1]));
    assert_eq!(house.door.len(), 4);
}

#[test]
fn in_a_full_hall_the_oldest_of_the_household_with_most_gives_way() {
    let mut house = House::new(LIMITS);
    let oldest = house.enters("10.0.0.9", None);
    let many = house.enters("10.0.0.1", None);
    house.enters("10.0.0.1", None);
    for n in 2..=6 {
        house.enters(&format!("10.0.0.{n}"), None);
    }
    assert_eq!(house.given_way("10.0.1.1"), Some(many));
    // Now all have one.
    assert_eq!(house.given_way("10.0.1.2"), Some(oldest));
}

/// Whoever said nothing for a second, again and again, weighs more than who comes for the first time.
#[test]
fn a_household_that_often_said_nothing_drives_out_nobody_else() {
    let mut house = House::new(LIMITS);
    for _ in 0..2 {
        let silent: Vec<_> = (0..8).map(|n| house.enters(&format!("10.0.0.{n}"), None)).collect();
        house.pass(60);
        silent.iter().for_each(|conn| house.door.leave(house.now, *conn));
    }
    for n in 0..7 {
        house.enters(&format!("10.0.0.{n}"), None);
    }
    let miner = house.enters("10.0.9.9", None);
    for round in 0..20 {
        for n in 0..8 {
            let (_, entered) = house.comes(&format!("10.0.0.{n}"), None);
            assert_ne!(entered.map(|entered| entered.gives_way), Ok(Some(miner)), "{round}");
        }
        house.pass(20);
    }
    assert!(house.door.places.contains_key(&miner));
    // Ten quiet minutes later nobody holds it against them.
    house.pass(601);
    assert_eq!(house.door.caller(house.now, Household::of(address("10.0.0.1"))).silent, 0);
}

#[test]
fn who_was_driven_out_before_it_could_speak_is_not_blamed() {
    let mut house = House::new(LIMITS);
    let conn = house.enters("10.0.0.1", None);
    house.door.leave(house.now, conn);
    let spoke = house.enters("10.0.0.1", None);
    house.door.heard(house.now, spoke);
    house.pass(100);
    house.door.leave(house.now, spoke);
    assert_eq!(house.door.callers[&Household::of(address("10.0.0.1"))].silent, 0);
}

#[test]
fn a_known_miner_finds_a_place_in_a_full_hall_and_keeps_it() {
    let mut house = House::new(LIMITS);
    for n in 0..8 {
        house.enters(&format!("10.0.0.{n}"), None);
    }
    let miner = house.enters("10.0.0.1", Some(1000));
    for n in 0..200 {
        let _ = house.comes(&format!("10.0.1.{n}"), None);
    }
    assert!(house.door.places.contains_key(&miner));
    assert_eq!(house.door.sit(house.now, miner, Some(1000)), Ok(None));
}

/// Every device of a house has its IPv6 address in the same network.
#[test]
fn a_known_ipv6_address_is_not_counted_with_its_network() {
    let mut house = House::new(LIMITS);
    for n in 1..=20 {
        house.enters(&format!("2001:db8::{n:x}"), None);
    }
    let (miner, entered) = house.comes("2001:db8::7", Some(1000));
    assert_eq!(entered, Ok(Entered { gives_way: None, wait: Duration::ZERO }));
    for n in 1..=20 {
        house.enters(&format!("2001:db8::{n:x}"), None);
    }
    assert_eq!(house.door.household(miner), Some(Household::Host("2001:db8::7".parse().unwrap())));
}

#[test]
fn who_calls_too_often_waits_and_drives_out_nobody_but_its_own() {
    let mut house = House::new(Limits { hall_each: 20, ..LIMITS });
    let waits: Vec<u64> =
        (0..8).map(|_| house.comes("10.0.0.1", None).1.unwrap().wait.as_secs()).collect();
    assert_eq!(waits, [0, 0, 0, 0, 1, 2, 3, 4]);
    let (_, entered) = house.comes("10.0.0.1", None);
    assert_eq!(entered.unwrap().gives_way, Some(ConnId(1)));
    assert_eq!(entered.unwrap().wait, Duration::from_secs(5));
    house.pass(11);
    assert_eq!(house.comes("10.0.0.1", None).1.unwrap().wait, Duration::ZERO);

    let mut house = House::new(LIMITS);
    for n in 0..8 {
        house.enters(&format!("10.0.0.{n}"), None);
    }
    for _ in 0..4 {
        let conn = house.enters("10.0.1.1", None);
        house.door.leave(house.now, conn);
    }
    for n in 0..8 {
        let _ = house.comes(&format!("10.0.2.{n}"), None);
    }
    assert_eq!(house.comes("10.0.1.1", None).1, Err(Refused::Full));
    // A known miner of that house does not wait for the strangers in it.
    let (_, entered) = house.comes("10.0.0.1", Some(1000));
    assert_eq!(entered.unwrap().wait, Duration::ZERO);
}

#[test]
fn a_bound_for_a_household_never_applies_to_miners_that_mine() {
    let mut house = House::new(Limits { seats: 40, ..LIMITS });
    for _ in 0..20 {
        let miner = house.seated("10.0.0.1", None);
        house.door.prove(house.now, miner);
    }
    house.seated("10.0.0.1", None);
    house.seated("10.0.0.1", None);
    assert_eq!(house.sits("10.0.0.1", None), Err(Refused::TooMany));
    assert_eq!(house.sits("10.0.0.1", Some(1000)), Ok(None), "one that is known");
    // After the trial the one without a share gives way, to its household as well.
    house.pass(120);
    assert_eq!(house.sits("10.0.0.1", None), Ok(Some(ConnId(21))));
}

#[test]
fn a_seat_without_a_share_gives_way_to_a_household_with_fewer_or_after_its_trial() {
    let mut house = House::new(LIMITS);
    let proved = house.seated("10.0.0.1", None);
    house.door.prove(house.now, proved);
    let first = house.seated("10.0.0.2", None);
    house.seated("10.0.0.2", None);
    let alone = house.seated("10.0.0.3", None);
    assert_eq!(house.sits("10.0.0.4", None), Ok(Some(first)));
    assert_eq!(house.sits("10.0.0.5", None), Err(Refused::Full), "all have one, and are new");
    assert_eq!(house.sits("10.0.0.5", Some(1000)), Ok(Some(ConnId(3))), "a known miner");
    house.pass(120);
    assert_eq!(house.sits("10.0.0.6", None), Ok(Some(alone)));
    // A share ten minutes ago proves nothing.
    house.pass(480);
    assert_eq!(house.sits("10.0.0.7", None), Ok(Some(proved)));
}

/// Attackers that really mine have seats like others; who was here before them gets one all the same.
#[test]
fn who_was_here_first_gets_a_seat_from_whoever_came_later_and_nobody_takes_turns() {
    let mut house = House::new(LIMITS);
    for n in 1..=4 {
        let conn = house.seated(&format!("10.0.0.{n}"), Some(2000 + n));
        house.door.prove(house.now, conn);
    }
    assert_eq!(house.sits("10.0.0.9", None), Err(Refused::Full));
    assert_eq!(house.sits("10.0.0.9", Some(3000)), Err(Refused::Full));
    assert_eq!(house.sits("10.0.0.8", Some(1000)), Ok(Some(ConnId(4))));
    // The one that lost its seat does not get it back from the first.
    assert_eq!(house.sits("10.0.0.4", Some(2004)), Err(Refused::Full));
    assert_eq!(house.sits("127.0.0.1", None), Ok(Some(ConnId(3))), "this machine was here first");
}

/// Closing a connection in order takes seconds: meanwhile it counts, or a flood of miners that are sent
/// away would hold more of them open than the system has.
#[test]
fn who_is_sent_away_counts_until_it_is_gone() {
    let mut house = House::new(Limits { seats: 1, ..LIMITS });
    let first = house.seated("10.0.0.1", None);
    for n in 2..=100 {
        assert_eq!(house.sits(&format!("10.0.0.{n}"), None), Err(Refused::Full));
        assert!(!house.door.is_seated(ConnId(n)));
        assert!(house.door.len() <= 9);
    }
    assert_eq!(house.sits("10.0.0.1", Some(1000)), Ok(Some(first)));
    assert!(!house.door.is_seated(first) && house.door.places.contains_key(&first));
    // What happens to one that is gone happens to nobody.
    house.door.leave(house.now, first);
    assert_eq!(house.door.sit(house.now, first, None), Ok(None));
    assert!(!house.door.is_seated(first));
}

/// The owner in the same IPv6 network as a hundred silent connections.
#[test]
fn who_is_recognised_is_counted_by_itself() {
    let mut house = House::new(LIMITS);
    let owner = house.enters("2001:db8::1", None);
    house.door.recognise(owner, EVER);
    for n in 2..=100 {
        house.enters(&format!("2001:db8::{n:x}"), None);
    }
    assert!(house.door.places.contains_key(&owner));
    house.door.recognise(ConnId(7), None);
    assert_eq!(house.door.acquaintance(owner), EVER);
}

#[test]
fn twenty_known_miners_behind_one_address_come_back_at_once() {
    let mut house = House::new(Limits { seats: 40, hall: 80, ..LIMITS });
    let miners: Vec<_> = (0..20).map(|_| house.enters("10.0.0.1", Some(1000))).collect();
    for miner in miners {
        assert_eq!(house.door.sit(house.now, miner, Some(1000)), Ok(None));
        assert!(house.door.is_seated(miner));
    }
}

/// A browser in the same house as a hundred silent connections, on the page's door.
#[test]
fn on_the_page_who_asks_goes_on_and_who_only_holds_a_place_gives_way() {
    let mut house = House::new(Limits { trial: Duration::ZERO, calls: 64, ..LIMITS });
    let reader = house.enters("10.0.0.1", None);
    for n in 0..100 {
        house.door.heard(house.now, reader);
        house.enters(&format!("10.0.{n}.2"), None);
    }
    assert!(house.door.places.contains_key(&reader));
    // Readers of live updates: the household with most gives way.
    let live: Vec<_> = (0..2).map(|_| house.seated("10.0.0.7", None)).collect();
    house.seated("10.0.0.8", None);
    house.seated("10.0.0.9", None);
    assert_eq!(house.sits("10.0.0.1", None), Ok(Some(live[0])));
    assert_eq!(house.sits("10.0.0.7", None), Ok(Some(live[1])));
}

#[test]
fn a_flood_of_households_takes_bounded_memory() {
    let mut house = House::new(LIMITS);
    for n in 0..5000_u32 {
        let _ = house.comes(&format!("2001:db8:{:x}:{:x}::1", n / 100, n % 100), None);
    }
    assert_eq!(house.door.callers.len(), CALLERS_MAX);
    assert_eq!(house.door.len(), LIMITS.hall);
    for n in 0..100 {
        house.comes("10.0.0.1", None).1.ok();
        assert!(house.door.callers[&Household::of(address("10.0.0.1"))].calls.len() <= 9, "{n}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Comes { from: u8, known: u8 },
    Sits { who: usize, known: u8 },
    Proves(usize),
    Heard(usize),
    Leaves(usize),
    Passes(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..8_u8, 0..4_u8).prop_map(|(from, known)| Step::Comes { from, known }),
        4 => (any::<usize>(), 0..4_u8).prop_map(|(who, known)| Step::Sits { who, known }),
        2 => any::<usize>().prop_map(Step::Proves),
        1 => any::<usize>().prop_map(Step::Heard),
        1 => any::<usize>().prop_map(Step::Leaves),
        2 => (0..2000_u16).prop_map(Step::Passes),
    ]
}

/// Half of the callers are strangers.
fn acquaintance(known: u8) -> Acquaintance {
    (known >= 2).then_some(u64::from(known) * 1000)
}

const FROM: [&str; 8] = [
    "10.0.0.1",
    "10.0.0.2",
    "::ffff:10.0.0.2",
    "2001:db8::1",
    "2001:db8::2",
    "2001:db8:0:1::1",
    "127.0.0.1",
    "10.0.0.3",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Against a list of who is in: the bounds hold, everybody who is told to give way was in and is out,
    /// and nobody else is; no known caller is refused at the door, and none loses its seat to a stranger.
    #[test]
    fn places_are_neither_lost_nor_given_twice(steps in prop::collection::vec(step(), 1..120)) {
        let mut house = House::new(LIMITS);
        let mut inside: Vec<ConnId> = Vec::new();
        for step in steps {
            let pick = |inside: &[ConnId], n: usize| inside.get(n % inside.len().max(1)).copied();
            match step {
                Step::Comes { from, known } => {
                    let known = acquaintance(known);
                    let before = house.door.places.clone();
                    let (conn, entered) = house.comes(FROM[usize::from(from)], known);
                    match entered {
                        Err(_) => prop_assert!(known.is_none() && from != 6),
                        Ok(entered) => {
                            if let Some(other) = entered.gives_way {
                                prop_assert!(!before[&other].is_seated(), "a seat for a caller");
                                inside.retain(|conn| *conn != other);
                            }
                            inside.push(conn);
                        }
                    }
                }
                Step::Sits { who, known } => {
                    let Some(conn) = pick(&inside, who) else { continue };
                    let before = house.door.places.clone();
                    let known = acquaintance(known);
                    match house.door.sit(house.now, conn, known) {
                        Ok(None) => {}
                        Ok(Some(other)) => {
                            prop_assert_ne!(other, conn);
                            prop_assert!(before[&other].is_seated());
                            let comes = if before[&conn].is_local { EVER } else { known };
                            let rank = |known: Acquaintance| known.unwrap_or(u64::MAX);
                            prop_assert!(
                                before[&other].is_on_trial(house.now)
                                    || rank(before[&other].known) > rank(comes)
                            );
                            prop_assert!(!house.door.is_seated(other));
                        }
                        Err(_) => prop_assert!(!house.door.is_seated(conn)),
                    }
                }
                Step::Proves(who) => {
                    if let Some(conn) = pick(&inside, who) {
                        house.door.prove(house.now, conn);
                    }
                }
                Step::Heard(who) => {
                    if let Some(conn) = pick(&inside, who) {
                        house.door.heard(house.now, conn);
                    }
                }
                Step::Leaves(who) => {
                    if let Some(conn) = pick(&inside, who) {
                        house.door.leave(house.now, conn);
                        inside.retain(|other| *other != conn);
                    }
                }
                Step::Passes(seconds) => house.pass(seconds.into()),
            }
            let there: Vec<ConnId> = house.door.places.keys().copied().collect();
            inside.sort();
            prop_assert_eq!(&there, &inside);
            let seats = house.seats();
            prop_assert!(seats <= LIMITS.seats, "{seats} seats");
            prop_assert!(there.len() - seats <= LIMITS.hall);
            for from in FROM.iter().filter(|from| **from != "127.0.0.1") {
                let household = Household::of(address(from));
                let mine = house.door.places.values().filter(|p| p.household == household);
                let hall = mine.filter(|place| !place.is_seated() && place.known.is_none());
                // And those that are on their way out of a seat.
                prop_assert!(hall.count() <= LIMITS.hall_each + LIMITS.seats);
            }
        }
    }
}
