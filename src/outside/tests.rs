//! The machine in virtual time, among strangers that a script plays.

use super::*;
use crate::p2p::Form;
use crate::peer_address::PeerHost;

const UNIX: u64 = 1_790_000_000;

struct Scene {
    now: Now,
    machine: OutsidePeers,
    out: Vec<Output>,
    /// The connections that are kept, with the orders that they were given.
    open: BTreeMap<OutsideId, (PeerAddress, Vec<Order>)>,
}

fn hash(byte: u8) -> BlockHash {
    BlockHash([byte; 32])
}

fn block(byte: u8) -> Arc<SolvedBlock> {
    let bytes = vec![byte; 200];
    let worker = "w".to_owned();
    Arc::new(SolvedBlock {
        hash: hash(byte),
        height: 101,
        unix: UNIX,
        reward: 5,
        worker,
        from_partner: false,
        bytes,
    })
}

fn address(i: usize) -> PeerAddress {
    PeerAddress { host: PeerHost::read(&format!("77.{i}.0.1")), port: 8333 }
}

fn listed(range: std::ops::Range<usize>) -> Vec<ListedPeer> {
    range.map(|i| ListedPeer { address: address(i), services: 9, seen: UNIX }).collect()
}

fn named(host: &str) -> NamedPeer {
    NamedPeer { host: PeerHost::read(host), port: None }
}

impl Scene {
    fn new(outside: Outside) -> Scene {
        Scene::with(Settings { outside, ..Settings::default() }, Chain::Main)
    }

    /// The own nodes are at 100.
    fn with(settings: Settings, chain: Chain) -> Scene {
        let now = Now { mono: Instant::now() + Duration::from_secs(1000), unix: UNIX };
        let machine = OutsidePeers::default();
        let mut scene = Scene { now, machine, out: Vec::new(), open: BTreeMap::new() };
        scene.hand_in(Input::Settings(settings));
        scene.hand_in(Input::Chain(chain));
        scene.tip(100);
        scene
    }

    fn hand_in(&mut self, input: Input<'_>) {
        let mut out = Vec::new();
        self.machine.handle(self.now, input, &mut out);
        for output in &out {
            match output {
                Output::Connect { id, address, .. } => {
                    assert!(self.open.insert(*id, (address.clone(), Vec::new())).is_none());
                }
                Output::Order { id, order } => {
                    self.open.get_mut(id).unwrap().1.push(order.clone());
                }
                Output::Drop(id) => assert!(self.open.remove(id).is_some()),
                _ => {}
            }
        }
        self.out.extend(out);
        let at = self.machine.next_deadline();
        assert!(at.is_none_or(|at| at > self.now.mono), "nothing is due twice");
    }

    fn tip(&mut self, height: u8) {
        let hash = hash(height);
        let height = u32::from(height);
        self.hand_in(Input::Tip(BestTip { hash, height, headers: height, time: None }));
    }

    fn event(&mut self, id: OutsideId, event: Event) {
        self.hand_in(Input::Peer(id, event));
    }

    /// Time passes, and what is due is done.
    fn wait(&mut self, time: Duration) {
        let until = self.now.mono + time;
        while let Some(at) = self.machine.next_deadline().filter(|at| *at <= until) {
            self.pass(at);
            self.hand_in(Input::Tick);
        }
        self.pass(until);
    }

    fn pass(&mut self, at: Instant) {
        self.now.unix += at.duration_since(self.now.mono).as_secs();
        self.now.mono = at;
    }

    fn wait_s(&mut self, seconds: u64) {
        self.wait(Duration::from_secs(seconds));
    }

    fn ids(&self) -> Vec<OutsideId> {
        self.open.keys().copied().collect()
    }

    fn is_ready(&mut self, id: OutsideId) {
        let agent = "/Satoshi:31.0.0/".to_owned();
        self.event(id, Event::Ready { agent, version: 70016, services: 9, took: Duration::ZERO });
    }

    fn all_ready(&mut self) {
        self.ids().into_iter().for_each(|id| self.is_ready(id));
    }

    fn shows(&mut self, id: OutsideId, height: u8) {
        let event = Event::Tip {
            hash: hash(height),
            height: Some(height.into()),
            median_time: None,
            time: UNIX as u32,
            bits: crate::difficulty::NBits(0x1d00_ffff),
        };
        self.event(id, event);
    }

    fn in_chain(&mut self, id: OutsideId, block: BlockHash) {
        let after = Duration::ZERO;
        self.event(id, Event::InChain { block, confirmations: 1, after });
    }

    fn offered(&self, id: OutsideId) -> usize {
        let is_offer = |order: &&Order| matches!(order, Order::Offer(_));
        self.open[&id].1.iter().filter(is_offer).count()
    }

    fn told(&mut self) -> Vec<String> {
        let words = |output: Output| match output {
            Output::World(change) => Some(format!("{change:?}")),
            Output::Dialling { peers, .. } => Some(format!("dialling {peers}")),
            Output::Asked { address, after, .. } => Some(format!("{address} asked {after:?}")),
            Output::Shown { address, after, .. } => Some(format!("{address} shows {after:?}")),
            Output::AskAddresses => Some("ask".to_owned()),
            Output::AskSeeds(_) => Some("seeds".to_owned()),
            Output::Keep(_, list) => Some(format!("keep {}", list.len())),
            Output::ProxyDown(why) => Some(why.to_string()),
            Output::ProxyUp => Some("proxy up".to_owned()),
            Output::Connect { .. } | Output::Order { .. } | Output::Drop(_) => None,
        };
        self.out.drain(..).filter_map(words).collect()
    }
}

#[test]
fn a_block_that_no_own_node_shows_goes_to_eight_networks_after_two_seconds() {
    let mut scene = Scene::new(Outside::Block);
    let mut list = listed(0..20);
    // Another address in one of the networks.
    list.push(ListedPeer {
        address: PeerAddress::ip([77, 3, 9, 9].into(), 8333),
        ..list[0].clone()
    });
    scene.hand_in(Input::Told(&list));
    scene.wait_s(3600);
    assert_eq!(scene.ids(), [], "nobody is connected to before");
    scene.told();
    scene.hand_in(Input::Offer(&block(1)));
    scene.wait(Duration::from_millis(1999));
    assert_eq!(scene.ids(), []);
    scene.wait(Duration::from_millis(1));
    assert_eq!(scene.told(), ["dialling 8"]);
    let networks: BTreeSet<Network> =
        scene.open.values().map(|(address, _)| address.network()).collect();
    assert_eq!((scene.open.len(), networks.len()), (8, 8));
    assert!(scene.ids().into_iter().all(|id| scene.offered(id) == 1));
    // An own node has it: everybody is left alone.
    scene.hand_in(Input::Settled(hash(1)));
    assert_eq!(scene.ids(), []);
    scene.wait_s(7200);
    assert_eq!(scene.ids(), []);
}

#[test]
fn a_block_that_an_own_node_shows_in_time_is_nobody_elses_business() {
    let mut scene = Scene::new(Outside::Block);
    scene.hand_in(Input::Told(&listed(0..20)));
    scene.hand_in(Input::Offer(&block(1)));
    scene.wait(Duration::from_millis(1900));
    scene.hand_in(Input::Settled(hash(1)));
    scene.wait_s(100_000);
    assert!(!scene.out.iter().any(|output| matches!(output, Output::Connect { .. })));
    // One that the node loses again is.
    let again = SolvedBlock { unix: scene.now.unix, ..Arc::unwrap_or_clone(block(1)) };
    scene.hand_in(Input::Offer(&Arc::new(again)));
    scene.wait_s(2);
    assert_eq!(scene.open.len(), 8);
}

#[test]
fn off_is_off() {
    let settings =
        Settings { outside: Outside::Off, peers: vec![named("10.0.0.9")], ..Settings::default() };
    let mut scene = Scene::with(settings, Chain::Main);
    scene.hand_in(Input::Kept(&[address(1), address(2)]));
    scene.hand_in(Input::Told(&listed(0..20)));
    scene.hand_in(Input::Offer(&block(1)));
    scene.wait_s(1_000_000);
    assert_eq!((scene.told(), scene.ids()), (vec![], vec![]));
    // Until the owner says otherwise.
    scene.hand_in(Input::Settings(Settings { outside: Outside::Watch, ..Settings::default() }));
    scene.wait_s(60);
    assert_eq!(scene.open.len(), 2);
}

#[test]
fn who_is_not_there_or_asks_for_nothing_is_replaced() {
    let mut scene = Scene::new(Outside::Block);
    scene.hand_in(Input::Told(&listed(0..60)));
    scene.hand_in(Input::Offer(&block(1)));
    scene.wait_s(2);
    let first = scene.ids();
    scene.event(first[0], Event::Down(Down::Refused));
    assert_eq!(scene.open.len(), 8, "another one has its place at once");
    assert!(!scene.open.contains_key(&first[0]));
    // The others are connected and never ask.
    first[1..].iter().for_each(|id| scene.is_ready(*id));
    scene.wait(Duration::from_millis(59_999));
    assert!(first[1..].iter().all(|id| scene.open.contains_key(id)));
    scene.wait(Duration::from_millis(1));
    assert!(first[1..].iter().all(|id| !scene.open.contains_key(id)));
    assert_eq!(scene.open.len(), 8);
    // So it goes on until it has been offered often enough in vain.
    for _ in 0..20 {
        scene.all_ready();
        scene.wait_s(61);
    }
    assert_eq!(scene.ids(), []);
    scene.wait_s(3600);
    assert_eq!(scene.ids(), [], "and no longer");
}

#[test]
fn a_block_that_eight_strangers_show_is_out() {
    let mut scene = Scene::new(Outside::Block);
    scene.hand_in(Input::Told(&listed(0..60)));
    scene.hand_in(Input::Offer(&block(1)));
    scene.wait_s(2);
    scene.told();
    let ids = scene.ids();
    scene.all_ready();
    scene.wait(Duration::from_millis(40));
    for id in &ids {
        let (block, form, after) = (hash(1), Form::Whole, Duration::ZERO);
        scene.event(*id, Event::Asked { block, form, after });
        scene.event(*id, Event::Asked { block, form: Form::Compact, after });
        assert!(scene.open.contains_key(id));
    }
    scene.wait(Duration::from_millis(10));
    ids[..7].iter().for_each(|id| scene.in_chain(*id, hash(1)));
    assert_eq!(scene.open.len(), 8);
    scene.in_chain(ids[7], hash(1));
    assert_eq!(scene.ids(), []);
    let at = |ms| Some(Duration::from_millis(ms));
    let taken = Taken { asked: 8, shown: 8, asked_after: at(2040), shown_after: at(2050) };
    assert_eq!(scene.machine.taken(hash(1)), Some(taken));
    assert_eq!(scene.machine.taken(hash(2)), None);
    let said = scene.told();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].ends_with("asked 2.04s") && said[1].ends_with("shows 2.05s"), "{said:?}");
    scene.wait_s(100_000);
    assert_eq!(scene.ids(), []);
}

#[test]
fn those_that_are_watched_have_the_block_at_once_and_four_more_after_two_seconds() {
    let mut scene = Scene::new(Outside::Watch);
    scene.hand_in(Input::Told(&listed(0..40)));
    scene.wait_s(10);
    scene.all_ready();
    let watched = scene.ids();
    assert_eq!(watched.len(), 4);
    watched.iter().for_each(|id| scene.shows(*id, 100));
    scene.hand_in(Input::Offer(&block(1)));
    assert!(watched.iter().all(|id| scene.offered(*id) == 1));
    scene.wait_s(2);
    assert_eq!(scene.open.len(), 8);
    scene.hand_in(Input::Settled(hash(1)));
    assert_eq!(scene.ids(), watched);
    let is_withdrawal =
        |order: &Order| matches!(order, Order::Withdraw(block) if *block == hash(1));
    assert!(watched.iter().all(|id| scene.open[id].1.iter().any(is_withdrawal)));
}

#[test]
fn watched_ones_are_dialled_without_haste_and_have_their_time() {
    let mut scene = Scene::new(Outside::Watch);
    scene.hand_in(Input::Told(&listed(0..40)));
    assert_eq!(scene.open.len(), 1);
    scene.wait(Duration::from_millis(1999));
    assert_eq!(scene.open.len(), 1);
    scene.wait_s(5);
    scene.all_ready();
    let first = scene.ids();
    assert_eq!(first.len(), 4);
    first.iter().for_each(|id| scene.shows(*id, 100));
    scene.wait_s(5 * 3600);
    assert_eq!(scene.ids(), first);
    scene.wait_s(3610);
    let second = scene.ids();
    assert_eq!(second.len(), 4);
    assert!(second.iter().all(|id| !first.contains(id)), "others have their turn");
}

#[test]
fn a_stranger_of_whose_chain_nothing_is_learnt_is_replaced() {
    let mut scene = Scene::new(Outside::Watch);
    scene.hand_in(Input::Told(&listed(0..40)));
    scene.wait_s(10);
    scene.all_ready();
    let first = scene.ids();
    scene.shows(first[0], 100);
    scene.event(first[1], Event::Same(true));
    scene.event(first[2], Event::Same(false));
    scene.wait_s(125);
    let second = scene.ids();
    assert!(second.contains(&first[0]) && second.contains(&first[1]));
    assert!(!second.contains(&first[2]) && !second.contains(&first[3]));
    assert_eq!(second.len(), 4);
    // One that falls behind has ten minutes.
    scene.tip(101);
    scene.shows(first[1], 101);
    second[2..].iter().for_each(|id| scene.shows(*id, 101));
    scene.all_ready();
    scene.wait_s(601);
    assert!(!scene.ids().contains(&first[0]) && scene.ids().contains(&first[1]));
}

#[test]
fn a_stranger_on_another_branch_is_asked_about_the_tips_before() {
    let mut scene = Scene::new(Outside::Watch);
    scene.hand_in(Input::Told(&listed(0..1)));
    scene.tip(101);
    scene.tip(102);
    let id = scene.ids()[0];
    scene.is_ready(id);
    let last = |scene: &Scene| match scene.open[&id].1.last() {
        Some(Order::Tip { height, .. }) => *height,
        other => panic!("{other:?}"),
    };
    assert_eq!(last(&scene), 102);
    scene.event(id, Event::Same(false));
    assert_eq!(last(&scene), 101);
    scene.event(id, Event::Same(false));
    assert_eq!(last(&scene), 100);
    scene.event(id, Event::Same(false));
    assert_eq!(last(&scene), 100, "nothing older is known");
    scene.event(id, Event::Same(true));
    assert_eq!(scene.machine.connections().next().unwrap().height, Some(100));
    scene.wait_s(10);
    scene.told();
    scene.shows(id, 104);
    scene.wait_s(60);
    assert_eq!(scene.told(), ["Behind(Behind { own: 102, world: 104, by: 1, of: 1 })"]);
    // With a new tip of ours it begins anew.
    scene.tip(103);
    assert_eq!(last(&scene), 103);
    scene.tip(105);
    assert_eq!(scene.told(), ["CaughtUp(Behind { own: 103, world: 104, by: 1, of: 1 })"]);
}

#[test]
fn one_that_is_ahead_alone_loses_its_place() {
    let mut scene = Scene::new(Outside::Watch);
    scene.hand_in(Input::Told(&listed(0..10)));
    scene.wait_s(10);
    scene.all_ready();
    let ids = scene.ids();
    ids[1..].iter().for_each(|id| scene.shows(*id, 100));
    scene.shows(ids[0], 200);
    scene.told();
    scene.wait_s(599);
    assert!(scene.open.contains_key(&ids[0]));
    scene.wait_s(2);
    assert!(!scene.open.contains_key(&ids[0]));
    assert_eq!((scene.open.len(), scene.told()), (4, vec![]), "and nobody heard of it");
}

#[test]
fn a_false_alarm_of_the_only_one_ends_with_its_connection() {
    let mut scene = Scene::new(Outside::Watch);
    scene.hand_in(Input::Told(&listed(0..2)));
    let ids = scene.ids();
    scene.is_ready(ids[0]);
    scene.shows(ids[0], 200);
    scene.wait_s(3);
    let liar = ids[0];
    scene.wait_s(61);
    assert!(scene.machine.behind().is_some());
    // The other one is never there. It has its turn all the same.
    for _ in 0..11 {
        if let [_, other] = scene.ids()[..] {
            scene.event(other, Event::Down(Down::Silent));
        }
        scene.wait_s(60);
    }
    assert!(!scene.open.contains_key(&liar));
    assert_eq!(scene.machine.behind(), None);
    assert!(scene.told().last().unwrap().starts_with("Withdrawn"));
}

#[test]
fn the_owners_nodes_come_first_and_on_a_regression_test_nobody_else_does() {
    let peers = vec![named("10.0.0.7"), named("10.0.0.8"), named("friend.example")];
    let settings = |outside| Settings { outside, peers: peers.clone(), ..Settings::default() };
    let mut scene = Scene::with(settings(Outside::Block), Chain::Main);
    scene.hand_in(Input::Told(&listed(0..20)));
    scene.hand_in(Input::Offer(&block(1)));
    scene.wait_s(2);
    let texts = |scene: &Scene| {
        scene.open.values().map(|(address, _)| address.to_string()).collect::<Vec<_>>()
    };
    let first = ["10.0.0.7:8333", "10.0.0.8:8333", "friend.example:8333"];
    assert_eq!((&texts(&scene)[..3], scene.open.len()), (&first.map(String::from)[..], 8));

    let mut scene = Scene::with(settings(Outside::Watch), Chain::Regtest);
    scene.hand_in(Input::Kept(&[address(1)]));
    scene.hand_in(Input::Told(&listed(0..20)));
    scene.hand_in(Input::Offer(&block(1)));
    scene.wait_s(20);
    let first = ["10.0.0.7:18444", "10.0.0.8:18444", "friend.example:18444"];
    assert_eq!(texts(&scene), first.map(String::from));
    assert!(!scene.told().contains(&"ask".to_owned()));
    // They are tried again, more and more seldom.
    let mut dials = Vec::new();
    for _ in 0..4 {
        let id = scene.ids()[0];
        let before = scene.now.mono;
        scene.event(id, Event::Down(Down::Refused));
        while scene.open.len() < 3 {
            scene.wait(Duration::from_millis(500));
        }
        dials.push(scene.now.mono.duration_since(before).as_secs());
        scene.event(scene.ids()[0], Event::Same(true));
    }
    assert_eq!(dials, [5, 5, 5, 10]);
}

#[test]
fn addresses_are_asked_for_seldom_and_kept() {
    let settings = Settings { seeds: true, ..Settings::default() };
    let mut scene = Scene::with(settings.clone(), Chain::Main);
    scene.wait_s(9);
    assert_eq!(scene.told(), Vec::<String>::new());
    scene.wait_s(1);
    assert_eq!(scene.told(), ["ask"]);
    scene.wait_s(30);
    assert_eq!(scene.told(), ["seeds"], "nobody told any");
    scene.hand_in(Input::Told(&listed(0..5)));
    assert_eq!((scene.told(), scene.machine.known()), (vec!["keep 5".to_owned()], 5));
    scene.wait_s(3600);
    assert_eq!(scene.told(), ["ask", "seeds"], "five are few");
    scene.hand_in(Input::Told(&listed(0..50)));
    assert_eq!(scene.told(), ["keep 50"]);
    scene.wait_s(23 * 3600);
    assert_eq!(scene.told(), Vec::<String>::new());
    scene.wait_s(3700);
    assert_eq!(scene.told(), ["ask"]);
    scene.hand_in(Input::Told(&listed(0..50)));
    assert_eq!(scene.told(), Vec::<String>::new(), "nothing new, nothing to write");
    // A proxy that resolves names is there so that nobody else is asked.
    let mut scene = Scene::with(Settings { by_proxy: true, ..settings }, Chain::Main);
    scene.wait_s(8000);
    assert_eq!(scene.told(), ["ask", "ask", "ask"]);
}

#[test]
fn an_old_block_of_an_earlier_run_is_offered_to_nobody() {
    let mut scene = Scene::new(Outside::Block);
    scene.hand_in(Input::Told(&listed(0..20)));
    let of = |unix| Arc::new(SolvedBlock { unix, ..Arc::unwrap_or_clone(block(1)) });
    scene.hand_in(Input::Offer(&of(UNIX - 6 * 3600 - 1)));
    scene.wait_s(3600);
    assert_eq!(scene.ids(), []);
    scene.hand_in(Input::Offer(&of(scene.now.unix - 6 * 3600)));
    scene.wait_s(2);
    assert_eq!(scene.open.len(), 8);
}

#[test]
fn the_own_nodes_stand_since_their_tip_was_heard_of_or_since_its_own_time() {
    let mut scene = Scene::new(Outside::Block);
    let (hash, height, headers) = (hash(101), 101, 101);
    let standing = |scene: &Scene| scene.machine.standing(scene.now).unwrap().as_secs();
    let mut tip = BestTip { hash, height, headers, time: Some(UNIX - 2400) };
    scene.hand_in(Input::Tip(tip));
    assert_eq!(standing(&scene), 2400);
    scene.wait_s(60);
    tip.time = None;
    scene.hand_in(Input::Tip(tip));
    assert_eq!(standing(&scene), 2460, "it is the same tip");
    scene.tip(102);
    assert_eq!(standing(&scene), 0);
    scene.wait_s(60);
    assert_eq!(standing(&scene), 60);
}

#[test]
fn other_settings_and_another_chain_end_the_connections() {
    let mut scene = Scene::new(Outside::Watch);
    scene.hand_in(Input::Told(&listed(0..20)));
    scene.wait_s(10);
    let first = scene.ids();
    assert_eq!(first.len(), 4);
    let watch = Settings { outside: Outside::Watch, ..Settings::default() };
    scene.hand_in(Input::Settings(watch.clone()));
    scene.hand_in(Input::Chain(Chain::Main));
    assert_eq!(scene.ids(), first, "nothing has changed");
    scene.hand_in(Input::Settings(Settings { by_proxy: true, ..watch }));
    assert!(first.iter().all(|id| !scene.open.contains_key(id)));
    scene.wait_s(10);
    let second = scene.ids();
    scene.hand_in(Input::Chain(Chain::Testnet4));
    assert!(second.iter().all(|id| !scene.open.contains_key(id)));
    assert_eq!(scene.machine.known(), 0, "those were of the other chain");
}

#[test]
fn what_a_stranger_says_of_blocks_that_nobody_offered_is_nothing() {
    let mut scene = Scene::new(Outside::Watch);
    scene.hand_in(Input::Told(&listed(0..4)));
    let id = scene.ids()[0];
    scene.told();
    scene.event(id, Event::Addresses(listed(0..500)));
    scene.in_chain(id, hash(9));
    scene.event(OutsideId(999), Event::Same(true));
    assert_eq!((scene.told(), scene.machine.known()), (vec![], 4));
    assert!(scene.machine.memory() < 64 * 1024, "{}", scene.machine.memory());
}

#[test]
fn a_proxy_that_is_away_is_told_once_and_no_stranger_is_blamed() {
    let settings = Settings { by_proxy: true, ..Settings::default() };
    let mut scene = Scene::with(settings, Chain::Main);
    scene.hand_in(Input::Told(&listed(0..8)));
    scene.wait_s(20);
    scene.hand_in(Input::Offer(&block(1)));
    scene.wait_s(2);
    scene.told();
    let place = "127.0.0.1:9050".to_owned();
    let down = Down::Proxy { place, why: "it refuses connections".into() };
    for id in scene.ids() {
        scene.event(id, Event::Down(down.clone()));
    }
    let told = scene.told();
    assert_eq!((told.len(), scene.open.len()), (1, 0), "{told:?}");
    assert!(told[0].contains("127.0.0.1:9050"), "{told:?}");
    // One trial every five seconds.
    for _ in 0..3 {
        scene.wait(Duration::from_millis(4999));
        assert_eq!(scene.open.len(), 0);
        scene.wait(Duration::from_millis(1));
        let [id] = scene.ids()[..] else { panic!("{:?}", scene.ids()) };
        scene.event(id, Event::Down(down.clone()));
        assert_eq!(scene.told(), Vec::<String>::new());
    }
    scene.wait_s(5);
    scene.all_ready();
    assert_eq!(scene.told(), ["proxy up"]);
    assert_eq!(scene.open.len(), 8, "and none of them has a pause");
}
