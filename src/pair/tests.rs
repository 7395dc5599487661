//! Two boxes in virtual time: power cuts, connections that end or lose one direction, cards that fail,
//! nodes that die, blocks and changes of the payout address at any moment.
//!
//! What must hold: two boxes that are bound by an agreement never hand out work for different addresses at
//! the same time; a block that is on a living card is in the end on both cards and at both nodes; when all
//! is well again, both hand out work for one address, and miners of Stratum V2 know them by one key.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;

const ADDRESSES: [&str; 3] = ["bc1qold", "bc1qnew", "bc1qother"];
/// Milliseconds.
const FAULTS_FOR: u64 = 60_000;
const CALM_FOR: u64 = 40_000;

/// xorshift64*: the same sequences on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound.max(1)
    }

    /// Once in so many milliseconds, on average.
    fn once_in(&mut self, ms: u64, step: u64) -> bool {
        self.below(ms) < step
    }
}

/// One box with its card and its node.
struct Home {
    id: BoxId,
    pair: Option<Pair>,
    /// What the card has: the record's bytes, the spool, the payout of the settings.
    card: Card,
    /// On their way to the card.
    record: Option<(u64, Record)>,
    writes: Vec<(u64, Arc<SolvedBlock>)>,
    adopts: Option<(u64, String)>,
    /// Writes fail until then; what was written may be there or not.
    bad_until: u64,
    boots_at: Option<u64>,
    calls_at: u64,
    node: BTreeSet<BlockHash>,
    node_dead_until: u64,
    known: BTreeMap<BlockHash, Arc<SolvedBlock>>,
    /// The node has all that is known.
    handed: bool,
    /// An agreement is on the card.
    bound: bool,
    /// It was in force while it was there.
    settled: bool,
}

#[derive(Default)]
struct Card {
    record: Option<Vec<u8>>,
    spool: BTreeMap<BlockHash, Arc<SolvedBlock>>,
    wanted: String,
    /// The secret of the key of Stratum V2.
    key: u8,
}

/// A connection: its end at each box, and what is on its way to each.
struct Wire {
    ends: [LinkId; 2],
    open: [bool; 2],
    to: [VecDeque<(u64, Vec<u8>)>; 2],
}

#[derive(Debug, Default, PartialEq)]
struct Seen {
    agreements: u64,
    doubts: u64,
    blocks: u64,
    cuts: u64,
    lost_with_power: u64,
}

struct World {
    random: Random,
    start: Instant,
    ms: u64,
    homes: [Home; 2],
    wires: Vec<Wire>,
    next_link: u64,
    runs: u64,
    /// What is sent to a box is lost until then.
    lost_until: [u64; 2],
    nonce: u32,
    highest: u64,
    seen: Seen,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let first = ADDRESSES[random.below(2) as usize];
        let home = |id: u64, wanted: &str| Home {
            id: BoxId(id),
            pair: None,
            card: Card { wanted: wanted.to_owned(), key: id as u8, ..Card::default() },
            record: None,
            writes: Vec::new(),
            adopts: None,
            bad_until: 0,
            boots_at: Some(0),
            calls_at: 0,
            node: BTreeSet::new(),
            node_dead_until: 0,
            known: BTreeMap::new(),
            handed: false,
            bound: false,
            settled: false,
        };
        World {
            homes: [home(3, first), home(8, first)],
            random,
            start: Instant::now(),
            ms: 0,
            wires: Vec::new(),
            next_link: 1,
            runs: 1,
            lost_until: [0; 2],
            nonce: 0,
            highest: 0,
            seen: Seen::default(),
        }
    }

    fn now(&self) -> Now {
        Now {
            mono: self.start + Duration::from_millis(self.ms),
            unix: 1_700_000_000 + self.ms / 1000,
        }
    }

    fn run(mut self) -> Seen {
        while self.ms < FAULTS_FOR {
            self.faults();
            self.step();
        }
        // All is well again.
        self.lost_until = [0; 2];
        for home in &mut self.homes {
            (home.bad_until, home.node_dead_until) = (0, 0);
        }
        while self.ms < FAULTS_FOR + CALM_FOR / 2 {
            self.step();
        }
        self.owner_ends_a_difference();
        while self.ms < FAULTS_FOR + CALM_FOR {
            self.step();
        }
        self.judge_the_end();
        self.seen
    }

    fn faults(&mut self) {
        let step = 20;
        for box_ in 0..2 {
            if self.random.once_in(9_000, step) {
                self.power_cut(box_);
            }
            if self.random.once_in(20_000, step) {
                self.lost_until[box_] = self.ms + self.random.below(12_000);
            }
            if self.random.once_in(30_000, step) {
                self.homes[box_].bad_until = self.ms + self.random.below(3_000);
            }
            if self.random.once_in(30_000, step) {
                self.homes[box_].node_dead_until = self.ms + self.random.below(20_000);
            }
            if self.random.once_in(6_000, step) {
                self.owner_changes(box_);
            }
            if self.random.once_in(5_000, step) {
                self.solve(box_);
            }
        }
        if self.random.once_in(15_000, step) {
            self.lost_until = [self.ms + self.random.below(15_000); 2];
        }
        if self.random.once_in(10_000, step) {
            // A connection that ends by itself.
            for wire in 0..self.wires.len() {
                self.end(wire, 0);
                self.end(wire, 1);
            }
        }
    }

    fn step(&mut self) {
        self.ms += 1 + self.random.below(39);
        for box_ in 0..2 {
            self.boot(box_);
            self.card(box_);
            self.node(box_);
            self.call(box_);
        }
        self.deliver();
        for box_ in 0..2 {
            let due = self.homes[box_].pair.as_ref().and_then(Pair::next_deadline);
            if due.is_some_and(|due| due <= self.now().mono) {
                self.input(box_, Input::Tick);
            }
        }
        self.judge();
    }

    /// What is on its way to the card is there, or not, or only some of it.
    fn power_cut(&mut self, box_: usize) {
        self.seen.cuts += u64::from(self.homes[box_].pair.is_some());
        for wire in 0..self.wires.len() {
            // The other side hears nothing, or a reset.
            self.wires[wire].open[box_] = false;
            if self.random.below(2) == 0 {
                self.end(wire, 1 - box_);
            }
        }
        let boots_at = self.ms + 500 + self.random.below(9_000);
        let flips: Vec<bool> = (0..64).map(|_| self.random.below(2) == 0).collect();
        let home = &mut self.homes[box_];
        home.pair = None;
        home.boots_at = Some(boots_at);
        if let Some((_, record)) = home.record.take().filter(|_| flips[0]) {
            home.bound = record.agreed.number > 0;
            home.card.record = Some(record.encode());
        }
        if let Some((_, address)) = home.adopts.take().filter(|_| flips[1]) {
            home.card.wanted = address;
        }
        for (place, (_, block)) in home.writes.drain(..).enumerate() {
            if flips[2 + place % 62] {
                home.card.spool.insert(block.hash, block);
            }
        }
        home.known.clear();
    }

    fn boot(&mut self, box_: usize) {
        let (now, ms) = (self.now(), self.ms);
        let home = &mut self.homes[box_];
        if home.boots_at.take_if(|at| *at <= ms).is_none() {
            return;
        }
        self.runs += 1;
        let hello = Hello::of(home.id, self.runs, "box", "0");
        let record = home.card.record.as_ref().map(|bytes| Record::decode(bytes).unwrap());
        home.pair = Some(Pair::new(hello, record));
        home.calls_at = ms;
        home.known = home.card.spool.clone();
        home.handed = false;
        let (wanted, spool) = (home.card.wanted.clone(), home.card.spool.clone());
        let _ = now;
        self.input(box_, Input::Wanted(wanted));
        for block in spool.into_values() {
            self.input(box_, Input::Solved(block));
        }
    }

    fn card(&mut self, box_: usize) {
        let ms = self.ms;
        let is_bad = ms < self.homes[box_].bad_until;
        let there_all_the_same = self.random.below(2) == 0;
        let home = &mut self.homes[box_];
        if let Some((_, record)) = home.record.take_if(|(at, _)| *at <= ms) {
            if !is_bad || there_all_the_same {
                home.bound = record.agreed.number > 0;
                home.card.record = Some(record.encode());
            }
            self.input(box_, Input::Written(!is_bad));
        }
        let home = &mut self.homes[box_];
        if let Some((_, address)) = home.adopts.take_if(|(at, _)| *at <= ms)
            && !is_bad
        {
            home.card.wanted.clone_from(&address);
            self.input(box_, Input::Wanted(address));
        }
        let home = &mut self.homes[box_];
        // A write that fails is tried again.
        if !is_bad {
            let done: Vec<_> = home.writes.extract_if(.., |(at, _)| *at <= ms).collect();
            for (_, block) in done {
                self.homes[box_].card.spool.insert(block.hash, block.clone());
                if block.from_partner {
                    self.input(box_, Input::Kept(block.hash));
                }
            }
        }
    }

    fn node(&mut self, box_: usize) {
        let home = &mut self.homes[box_];
        if home.pair.is_some() && !home.handed && self.ms >= home.node_dead_until {
            home.node.extend(home.known.keys().copied());
            home.handed = true;
        }
    }

    fn call(&mut self, box_: usize) {
        let home = &self.homes[box_];
        let calls = home.pair.as_ref().is_some_and(Pair::calls) && self.ms >= home.calls_at;
        if !calls {
            return;
        }
        self.homes[box_].calls_at = self.ms + 1_000 + self.random.below(3_000);
        let both = self.homes.iter().all(|home| home.pair.is_some());
        if !both || self.lost_until.iter().any(|until| self.ms < *until) {
            return;
        }
        let ends = [LinkId(self.next_link), LinkId(self.next_link + 1)];
        self.next_link += 2;
        self.wires.push(Wire { ends, open: [true; 2], to: Default::default() });
        for (end, link) in ends.into_iter().enumerate() {
            self.input(end, Input::Connected { link, called: end == box_ });
        }
    }

    fn deliver(&mut self) {
        for wire in 0..self.wires.len() {
            for end in 0..2 {
                while self.wires[wire].open[end]
                    && self.ms >= self.lost_until[end]
                    && let Some((_, bytes)) =
                        self.wires[wire].to[end].pop_front_if(|(at, _)| *at <= self.ms)
                {
                    let message = Message::decode(&bytes).unwrap().unwrap();
                    let link = self.wires[wire].ends[end];
                    self.input(end, Input::Told(link, message));
                }
            }
        }
        self.wires.retain(|wire| wire.open != [false; 2]);
    }

    fn end(&mut self, wire: usize, end: usize) {
        if std::mem::take(&mut self.wires[wire].open[end]) {
            let link = self.wires[wire].ends[end];
            self.input(end, Input::Closed(link));
        }
    }

    fn input(&mut self, box_: usize, input: Input) {
        let now = self.now();
        let mut out = Vec::new();
        let Some(pair) = &mut self.homes[box_].pair else { return };
        pair.handle(now, input, &mut out);
        for output in out {
            self.output(box_, output);
        }
    }

    fn output(&mut self, box_: usize, output: Output) {
        let at = self.ms + 5 + self.random.below(120);
        match output {
            Output::Say(link, message) => {
                let sent = self.ms + 1 + self.random.below(5);
                if let Some(wire) = self.wires.iter_mut().find(|wire| wire.ends[box_] == link)
                    && wire.open[box_]
                {
                    let queue = &mut wire.to[1 - box_];
                    // In order, as TCP does.
                    let sent = queue.back().map_or(sent, |(last, _)| sent.max(*last));
                    queue.push_back((sent, message.encode()));
                }
            }
            Output::Close(link) => {
                if let Some(wire) = self.wires.iter().position(|wire| wire.ends[box_] == link) {
                    self.wires[wire].open[box_] = false;
                    // The end is heard as everything else is.
                    if self.ms >= self.lost_until[1 - box_] {
                        self.end(wire, 1 - box_);
                    }
                    self.input(box_, Input::Closed(link));
                }
            }
            Output::Write(record) => {
                assert!(self.homes[box_].record.is_none(), "two writes at a time");
                self.homes[box_].record = Some((at, record));
            }
            Output::Adopt(address) => self.homes[box_].adopts = Some((at, address)),
            Output::Take(block) => {
                let home = &mut self.homes[box_];
                if home.card.spool.contains_key(&block.hash) {
                    return self.input(box_, Input::Kept(block.hash));
                }
                home.known.insert(block.hash, block.clone());
                home.handed = false;
                if !home.writes.iter().any(|(_, other)| other.hash == block.hash) {
                    home.writes.push((at, block));
                }
            }
            Output::Report => {
                let (secret, miners) = ([self.homes[box_].card.key; 32], (self.ms % 3) as u32);
                let authority = Some(Authority { secret, miners });
                let report = Report { authority, ..Report::default() };
                self.input(box_, Input::Report(Box::new(report)));
            }
            Output::TakeKey(authority) => self.homes[box_].card.key = authority.secret[0],
            Output::ReadJobs(_) | Output::Copy(_) => unreachable!("no miners are told of"),
            Output::Changed | Output::Connections(_) | Output::Tell(..) => {}
        }
    }

    /// By the page or by hand: in the settings at once.
    fn owner_changes(&mut self, box_: usize) {
        let wanted = ADDRESSES[self.random.below(3) as usize].to_owned();
        let home = &mut self.homes[box_];
        if home.pair.is_some() && self.ms >= home.bad_until {
            home.adopts = None;
            home.card.wanted.clone_from(&wanted);
            self.input(box_, Input::Wanted(wanted));
        }
    }

    /// Boxes whose settings differ before they first agreed wait for the owner.
    fn owner_ends_a_difference(&mut self) {
        for box_ in 0..2 {
            let pair = self.homes[box_].pair.as_ref().unwrap();
            let is_apart = pair.payout().is_none();
            if let (Standing::Apart { other: Some(other) }, true) = (pair.standing(), is_apart) {
                self.homes[box_].card.wanted.clone_from(&other);
                return self.input(box_, Input::Wanted(other));
            }
        }
    }

    fn solve(&mut self, box_: usize) {
        if self.homes[box_].pair.is_none() {
            return;
        }
        // On regtest every second hash is a block.
        let block = loop {
            self.nonce += 1;
            let mut bytes = vec![0; 90];
            bytes[72..76].copy_from_slice(&0x207f_ffff_u32.to_le_bytes());
            bytes[76..80].copy_from_slice(&self.nonce.to_le_bytes());
            let hash = BlockHash(crate::hash::sha256d(bytes.first_chunk::<80>().unwrap()));
            let target = Target::from_nbits(NBits(0x207f_ffff)).unwrap();
            if target.is_met_by(&hash) {
                let (height, worker) = (self.nonce, "anna".to_owned());
                let (unix, reward, from_partner) = (1, 5, false);
                break SolvedBlock { hash, height, unix, reward, worker, from_partner, bytes };
            }
        };
        self.seen.blocks += 1;
        let (at, block) = (self.ms + 5 + self.random.below(120), Arc::new(block));
        let home = &mut self.homes[box_];
        home.known.insert(block.hash, block.clone());
        home.handed = false;
        home.writes.push((at, block.clone()));
        self.input(box_, Input::Solved(block));
    }

    fn judge(&mut self) {
        let mut paid = Vec::new();
        for home in &mut self.homes {
            let Some(pair) = &home.pair else { continue };
            self.seen.doubts += u64::from(!pair.serves());
            home.settled |= home.bound && pair.payout().is_some();
            if home.settled {
                let is_bound = pair.payout().is_some() || !pair.serves();
                assert!(is_bound, "box {:?} forgot its agreement", home.id);
            }
            self.highest = self.highest.max(pair.agreement.record().agreed.number);
            if home.settled && pair.serves() {
                paid.push(pair.payout());
            }
        }
        if let [Some(one), Some(other)] = paid[..] {
            assert_eq!(one, other, "two payouts at the same time, at {} ms", self.ms);
        }
    }

    fn records(&self) -> String {
        let records = self.homes.iter().map(|home| {
            let record = home.pair.as_ref().map(|pair| pair.agreement.record());
            format!("box {}: {record:?}, wanted {}\n", home.id.0, home.card.wanted)
        });
        records.collect()
    }

    fn judge_the_end(&mut self) {
        self.seen.agreements = self.highest;
        let [a, b] = &self.homes;
        for home in &self.homes {
            let pair = home.pair.as_ref().unwrap();
            assert!(pair.partner().is_some(), "they do not meet");
            assert!(pair.serves(), "a box stays in doubt");
            assert_eq!(pair.standing(), Standing::Agreed, "{}", self.records());
            // A card that took no settings gets them after the next start.
            let overtaken = pair.agreement.record().overtaken.as_ref();
            let is_known = pair.payout() == Some(&*home.card.wanted);
            assert!(is_known || overtaken == Some(&home.card.wanted), "{}", self.records());
            assert_eq!(pair.unkept(), 0);
        }
        assert_eq!(a.pair.as_ref().unwrap().payout(), b.pair.as_ref().unwrap().payout());
        assert_ne!(a.pair.as_ref().unwrap().side(), b.pair.as_ref().unwrap().side());
        assert_eq!(a.card.key, b.card.key, "miners of Stratum V2 are told two keys");
        let keys = |home: &Home| home.card.spool.keys().copied().collect::<BTreeSet<_>>();
        for (home, other) in [(a, b), (b, a)] {
            assert!(keys(home).is_subset(&home.node), "a node misses a block");
            // One that its own box lost with the power is on the other one's card alone.
            let own = home.card.spool.values().filter(|block| !block.from_partner);
            let missing = own.filter(|block| !other.card.spool.contains_key(&block.hash)).count();
            assert_eq!(missing, 0, "blocks that the other box misses");
        }
        // What no card and no node has went with the power, within the time of a write.
        let anywhere: BTreeSet<_> = keys(a).union(&a.node).chain(&b.node).copied().collect();
        self.seen.lost_with_power = self.seen.blocks - anywhere.len() as u64;
    }
}

#[test]
fn two_boxes_under_a_thousand_sequences_of_faults() {
    let mut all = Seen::default();
    for seed in 1..=1_000 {
        let seen = std::panic::catch_unwind(|| World::new(seed).run());
        let seen = seen.unwrap_or_else(|_| panic!("sequence {seed}"));
        all.agreements += seen.agreements;
        all.doubts += seen.doubts;
        all.blocks += seen.blocks;
        all.cuts += seen.cuts;
        all.lost_with_power += seen.lost_with_power;
    }
    println!("{all:?}");
    assert!(all.agreements > 2_000 && all.doubts > 1_000, "{all:?}");
    assert!(all.blocks > 10_000 && all.cuts > 5_000, "{all:?}");
}

/// Two boxes on one connection that loses nothing.
struct Two {
    now: Now,
    pairs: [Pair; 2],
    said: Vec<Message>,
}

impl Two {
    fn new() -> Two {
        let now = Now { mono: Instant::now(), unix: 1_700_000_000 };
        let pairs = [1, 2].map(|id| Pair::new(Hello::of(BoxId(id), id, "box", "0"), None));
        let mut two = Two { now, pairs, said: Vec::new() };
        let connected = |called| Input::Connected { link: LinkId(1), called };
        two.inputs(VecDeque::from([(0, connected(true)), (1, connected(false))]));
        two
    }

    fn input(&mut self, end: usize, input: Input) {
        self.inputs(VecDeque::from([(end, input)]));
    }

    /// Hands in inputs, and whatever one says by them to the other.
    fn inputs(&mut self, mut todo: VecDeque<(usize, Input)>) {
        while let Some((end, input)) = todo.pop_front() {
            let mut out = Vec::new();
            self.pairs[end].handle(self.now, input, &mut out);
            for output in out {
                if let Output::Say(link, message) = output {
                    self.said.push(message.clone());
                    todo.push_back((1 - end, Input::Told(link, message)));
                }
            }
        }
    }

    fn report(&mut self, end: usize, levels: &[Level]) {
        let report = Report { levels: levels.to_vec(), ..Report::default() };
        self.input(end, Input::Report(Box::new(report)));
    }
}

#[test]
fn a_miner_begins_at_the_difficulty_that_it_had_at_the_other_box() {
    let level = |worker: &str, difficulty: f64| Level {
        worker: worker.to_owned(),
        device: "Bitaxe".to_owned(),
        difficulty,
        wish: None,
    };
    let mut two = Two::new();
    two.report(0, &[level("attic", 4000.0), level("shed", 10.0)]);
    two.report(0, &[level("attic", 5000.0), level("shed", 10.0)]);
    let told = two.said.iter().filter_map(|message| match message {
        Message::Levels(levels) => Some(levels.len()),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [2, 1], "what is known is not told again");
    assert_eq!(two.pairs[1].take_level("attic", "Bitaxe"), Some(level("attic", 5000.0)));
    assert_eq!(two.pairs[1].take_level("attic", "Bitaxe"), None, "it is here now");
    assert_eq!(two.pairs[1].take_level("shed", "Avalon"), None, "another device of that name");
    // Who mines here was not there last.
    two.report(1, &[level("shed", 20.0)]);
    assert_eq!(two.pairs[1].take_level("shed", "Bitaxe"), None);
    assert_eq!(two.pairs[0].take_level("shed", "Bitaxe"), Some(level("shed", 20.0)));
}

/// What box `end` is told to take over, when both have told their keys.
fn taken(miners: [u32; 2], secrets: [u8; 2]) -> [Option<Authority>; 2] {
    let mut two = Two::new();
    let mut told = [None, None];
    for end in [0, 1] {
        let authority = Authority { secret: [secrets[end]; 32], miners: miners[end] };
        let report = Report { authority: Some(authority.clone()), ..Report::default() };
        let mut out = Vec::new();
        two.pairs[end].handle(two.now, Input::Report(Box::new(report.clone())), &mut out);
        assert!(out.contains(&Output::Say(LinkId(1), Message::Authority(authority.clone()))));
        told[1 - end] = Some(authority);
        // It is told once on a connection.
        out.clear();
        two.pairs[end].handle(two.now, Input::Report(Box::new(report)), &mut out);
        assert!(!out.iter().any(|one| matches!(one, Output::Say(_, Message::Authority(_)))));
    }
    [0, 1].map(|end| {
        let (mut out, authority) = (Vec::new(), told[end].take().unwrap());
        let input = Input::Told(LinkId(1), Message::Authority(authority));
        two.pairs[end].handle(two.now, input, &mut out);
        out.into_iter().find_map(|output| match output {
            Output::TakeKey(authority) => Some(authority),
            _ => None,
        })
    })
}

#[test]
fn the_key_of_the_box_with_more_miners_of_v2_becomes_that_of_both() {
    let key = |secret: u8, miners| Some(Authority { secret: [secret; 32], miners });
    assert_eq!(taken([3, 2], [7, 9]), [None, key(7, 3)]);
    assert_eq!(taken([0, 1], [7, 9]), [key(9, 1), None]);
    assert_eq!(taken([2, 2], [7, 9]), [None, key(7, 2)], "the lower box's");
    assert_eq!(taken([0, 5], [7, 7]), [None, None], "it is one already");
    let shown = format!("{:?}", Message::Authority(key(0xab, 1).unwrap()));
    assert!(!shown.contains("171"), "{shown}");
}

#[test]
fn of_two_connections_the_one_that_the_lower_box_made_stays() {
    let mut two = Two::new();
    two.said.clear();
    let mut out = Vec::new();
    // The higher one called as well, before it knew.
    let connected = |called| Input::Connected { link: LinkId(2), called };
    two.pairs[0].handle(two.now, connected(false), &mut out);
    two.pairs[0].handle(
        two.now,
        Input::Told(LinkId(2), Message::Hello(Hello::of(BoxId(2), 2, "box", "0"))),
        &mut out,
    );
    assert_eq!(out.last(), Some(&Output::Close(LinkId(2))));
    // After a restart of the higher one, what was there is dead.
    let mut out = Vec::new();
    two.pairs[0].handle(two.now, Input::Connected { link: LinkId(3), called: false }, &mut out);
    two.pairs[0].handle(
        two.now,
        Input::Told(LinkId(3), Message::Hello(Hello::of(BoxId(2), 77, "box", "0"))),
        &mut out,
    );
    assert!(out.contains(&Output::Close(LinkId(1))), "{out:?}");
    assert_eq!(two.pairs[0].partner().map(|partner| partner.hello.run), Some(77));
}

#[test]
fn a_box_that_says_nothing_is_gone() {
    let mut two = Two::new();
    two.now.mono += SILENCE;
    let mut out = Vec::new();
    two.pairs[0].handle(two.now, Input::Tick, &mut out);
    assert!(out.contains(&Output::Close(LinkId(1))), "{out:?}");
    assert!(two.pairs[0].calls() && two.pairs[0].partner().is_none());
}
