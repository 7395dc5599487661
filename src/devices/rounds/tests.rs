use super::*;
use crate::devices::Family;

/// A Bitaxe's answer with these counts.
fn answer(accepted: u64, rejected: u64) -> Result<Telemetry, Fault> {
    Ok(Telemetry {
        accepted: Some(accepted),
        rejected: Some(rejected),
        ..Telemetry::silent(Family::AxeOs)
    })
}

/// The rounds in virtual time.
struct World {
    rounds: Rounds,
    start: Instant,
    second: f64,
}

impl World {
    fn new() -> World {
        World { rounds: Rounds::default(), start: Instant::now(), second: 0.0 }
    }

    fn now(&self) -> Now {
        Now { mono: self.start + Duration::from_secs_f64(self.second), unix: self.second as u64 }
    }

    fn want(&mut self, wanted: &[(&str, Hint)]) {
        let wanted: Vec<Wanted> =
            wanted.iter().map(|(ip, hint)| Wanted { place: place(ip), hint: *hint }).collect();
        self.rounds.want(self.now(), wanted);
    }

    /// Waits for the next question.
    fn question(&mut self) -> Option<Question> {
        let at = self.rounds.next_deadline()?;
        let wait = at.saturating_duration_since(self.now().mono);
        self.second += wait.as_secs_f64();
        self.rounds.next_question(self.now())
    }

    fn answered(&mut self, question: Question, answer: Result<Telemetry, Fault>) {
        self.rounds.answered(self.now(), question, answer, None);
    }
}

fn place(ip: &str) -> Place {
    Place::at(ip.parse().unwrap())
}

const AXE: Hint = Hint::Known(Api::Http);

#[test]
fn forty_devices_are_asked_every_half_minute_two_at_a_time_and_four_a_second() {
    let mut world = World::new();
    let places: Vec<String> = (1..=40).map(|n| format!("192.168.1.{n}")).collect();
    let wanted: Vec<(&str, Hint)> = places.iter().map(|ip| (ip.as_str(), AXE)).collect();
    world.want(&wanted);
    let mut asked: BTreeMap<Place, Vec<f64>> = BTreeMap::new();
    let mut running = Vec::new();
    let mut last = -1.0;
    while world.second < 600.0 {
        match world.question() {
            Some(question) => {
                assert!(world.second - last >= 0.2499, "at {last} and at {}", world.second);
                last = world.second;
                asked.entry(question.place).or_default().push(world.second);
                running.push(question);
            }
            None => {
                assert_eq!(running.len(), 2, "nobody waits without a reason");
                world.second += 0.3;
                for question in running.drain(..) {
                    world.answered(question, answer(1, 0));
                }
            }
        }
        assert!(running.len() <= 2);
    }
    assert_eq!(asked.len(), 40);
    for (place, times) in asked {
        assert!(times.len() >= 19, "{place} was asked {} times", times.len());
        assert!(times.windows(2).all(|two| two[1] - two[0] >= 30.0), "{place}: {times:?}");
    }
}

#[test]
fn who_does_not_answer_is_asked_less_and_less() {
    let mut world = World::new();
    world.want(&[("192.168.1.9", Hint::Unknown)]);
    let (mut waits, mut apis, mut last) = (Vec::new(), Vec::new(), 0.0);
    for _ in 0..12 {
        let question = world.question().unwrap();
        waits.push((world.second - last).round() as u64);
        last = world.second;
        apis.push(question.api);
        world.answered(question, Err(Fault::Closed(80)));
    }
    assert_eq!(waits, [0, 0, 30, 0, 120, 0, 480, 0, 1920, 0, 3600, 0]);
    assert_eq!(apis[..4], [Api::Http, Api::Cgminer, Api::Http, Api::Cgminer]);
}

#[test]
fn who_answered_before_is_missed_but_not_for_long() {
    let mut world = World::new();
    world.want(&[("192.168.1.9", AXE)]);
    let question = world.question().unwrap();
    world.answered(question, answer(1, 0));
    let mut last = world.second;
    for wait in [30, 30, 30, 60, 120, 240, 300, 300] {
        let question = world.question().unwrap();
        assert_eq!((world.second - last).round() as u64, wait);
        last = world.second;
        world.answered(question, Err(Fault::Silent));
    }
    let device = world.rounds.get(place("192.168.1.9")).unwrap();
    assert!(device.telemetry().is_some());
    assert!(device.says(world.now().mono).is_none(), "that was long ago");
    assert_eq!(device.fault().unwrap().1, &Fault::Silent);
    let question = world.question().unwrap();
    world.answered(question, answer(2, 0));
    let device = world.rounds.get(place("192.168.1.9")).unwrap();
    assert!(device.says(world.now().mono).is_some() && device.fault().is_none());
}

#[test]
fn who_has_left_is_asked_for_ten_minutes_and_then_forgotten() {
    let mut world = World::new();
    world.want(&[("192.168.1.9", AXE), ("192.168.1.10", AXE)]);
    let mut last = 0.0;
    while world.second < 700.0 {
        world.want(&[("192.168.1.10", AXE)]);
        let Some(question) = world.question() else { break };
        if question.place == place("192.168.1.9") {
            last = world.second;
        }
        world.answered(question, answer(1, 0));
    }
    assert!((570.0..=601.0).contains(&last), "{last}");
    assert_eq!(world.rounds.devices().count(), 1);
    world.second += 601.0;
    world.want(&[]);
    assert_eq!(world.rounds.next_deadline(), None, "nobody is left to be asked");
}

#[test]
fn the_number_of_devices_is_bounded() {
    let mut world = World::new();
    let places: Vec<String> = (0..300).map(|n| format!("10.0.{}.{}", n / 250, n % 250)).collect();
    let wanted: Vec<(&str, Hint)> = places.iter().map(|ip| (ip.as_str(), AXE)).collect();
    world.want(&wanted);
    assert_eq!(world.rounds.devices().count(), DEVICES_MAX);
}

#[test]
fn an_answer_that_nobody_waits_for_changes_nothing() {
    let mut world = World::new();
    world.want(&[("192.168.1.9", AXE)]);
    let question = world.question().unwrap();
    world.answered(question, answer(7, 0));
    world.answered(question, answer(8, 0));
    let device = world.rounds.get(place("192.168.1.9")).unwrap();
    assert_eq!(device.telemetry().unwrap().accepted, Some(7));
    world.rounds.clear();
    world.answered(question, answer(9, 0));
    assert_eq!(world.rounds.devices().count(), 0);
}

#[test]
fn shares_are_compared_from_one_start_of_the_device_to_the_next() {
    let mut world = World::new();
    world.want(&[("192.168.1.9", AXE)]);
    let mut ask = |device: (u64, u64), ours: u64| {
        let question = world.question().unwrap();
        let (now, body) = (world.now(), answer(device.0, device.1));
        world.rounds.answered(now, question, body, Some(ours));
        let shares = world.rounds.get(place("192.168.1.9")).unwrap().shares().unwrap();
        (shares.device(), shares.here())
    };
    assert_eq!(ask((400, 2), 9_000), (0, 0));
    assert_eq!(ask((410, 3), 9_011), (11, 11));
    assert_eq!(ask((420, 3), 9_015), (21, 15), "six were lost on the way");
    assert_eq!(ask((3, 0), 9_019), (0, 0), "the device has started anew");
    assert_eq!(ask((5, 0), 9_021), (2, 2));
    assert_eq!(ask((7, 0), 12), (0, 0), "another miner is there now");
}

#[test]
fn only_private_addresses_are_asked_and_this_machine_if_it_is_named() {
    for (ip, private, named) in [
        ("192.168.1.9", true, true),
        ("10.1.2.3", true, true),
        ("172.20.0.1", true, true),
        ("100.64.0.7", true, true),
        ("fd00::9", true, true),
        ("fe80::9", false, false),
        ("127.0.0.1", false, true),
        ("::1", false, true),
        ("8.8.8.8", false, false),
        ("2a01:4f8::1", false, false),
        ("::ffff:8.8.8.8", false, false),
        ("::ffff:192.168.1.9", true, true),
        ("0.0.0.0", false, false),
        ("224.0.0.251", false, false),
    ] {
        assert_eq!(place(ip).is_private(), private, "{ip}");
        assert_eq!(place(ip).may_be_named(), named, "{ip}");
    }
}

#[test]
fn a_place_is_written_as_the_owner_writes_it() {
    assert_eq!(place("192.168.1.9").to_string(), "192.168.1.9");
    assert_eq!(Place { port: Some(8080), ..place("192.168.1.9") }.to_string(), "192.168.1.9:8080");
    assert_eq!(Place { port: Some(80), ..place("fd00::9") }.to_string(), "[fd00::9]:80");
    assert_eq!(place("192.168.1.9").socket(Api::Cgminer).to_string(), "192.168.1.9:4028");
}

#[test]
fn another_device_at_an_address_is_asked_by_its_own_api() {
    let mut world = World::new();
    world.want(&[("192.168.1.9", AXE)]);
    let question = world.question().unwrap();
    world.answered(question, answer(1, 0));
    // An Avalon has the Bitaxe's address now.
    world.want(&[("192.168.1.9", Hint::Known(Api::Cgminer))]);
    assert!(world.rounds.get(place("192.168.1.9")).unwrap().telemetry().is_none());
    assert_eq!(world.question().unwrap().api, Api::Cgminer);
}

#[test]
fn another_device_at_an_address_that_was_named_is_found_in_the_end() {
    let mut world = World::new();
    world.want(&[("192.168.1.9", Hint::Unknown)]);
    let question = world.question().unwrap();
    world.answered(question, answer(1, 0));
    while world.second < 1_200.0 {
        world.want(&[("192.168.1.9", Hint::Unknown)]);
        let question = world.question().unwrap();
        if question.api == Api::Cgminer {
            return;
        }
        world.answered(question, Err(Fault::Closed(80)));
    }
    panic!("it is asked by HTTP for ever");
}

#[test]
fn shares_at_another_pool_are_not_compared_with_ours() {
    let mut world = World::new();
    world.want(&[("192.168.1.9", AXE)]);
    let mut ask = |accepted: u64, host: &str, ours: Option<u64>| {
        let question = world.question().unwrap();
        let mut body = answer(accepted, 0).unwrap();
        let host = host.to_owned();
        body.pools = vec![super::super::Pool { host, in_use: true, ..Default::default() }];
        let now = world.now();
        world.rounds.answered(now, question, Ok(body), ours);
        let shares = world.rounds.get(place("192.168.1.9")).unwrap().shares();
        shares.map(|shares| (shares.device(), shares.here()))
    };
    assert_eq!(ask(10, "here", Some(100)), Some((0, 0)));
    assert_eq!(ask(12, "here", Some(102)), Some((2, 2)));
    // A NerdQAxe goes on counting at its second pool.
    assert_eq!(ask(40, "there", Some(102)), Some((0, 0)));
    assert_eq!(ask(90, "there", None), None);
    assert_eq!(ask(99, "here", Some(103)), Some((0, 0)));
    assert_eq!(ask(101, "here", Some(105)), Some((2, 2)));
}

#[test]
fn a_device_to_which_something_was_done_is_asked_at_once_and_after_the_answer_of_before() {
    let mut world = World::new();
    world.want(&[("192.168.1.9", AXE)]);
    let question = world.question().unwrap();
    world.rounds.hurry(world.now(), place("192.168.1.9"));
    world.answered(question, answer(1, 0));
    let asked = world.second;
    let question = world.question().unwrap();
    assert!(world.second - asked < 0.5, "{} s later", world.second - asked);
    world.answered(question, answer(2, 0));
    world.second += 10.0;
    world.rounds.hurry(world.now(), place("192.168.1.9"));
    let asked = world.second;
    world.question().unwrap();
    assert!(world.second - asked < 0.1, "{} s later", world.second - asked);
}
