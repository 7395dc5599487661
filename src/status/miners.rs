//! The miners of a snapshot: what the ledger and the sessions know of each.
//!
//! Pure. It is made several times a minute on the thread that answers shares, so it has a budget: two
//! microseconds for each worker (`cargo bench --bench snapshot`).

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::address::{self, Address};
use crate::chain::Chain;
use crate::clock::{Now, millis};
use crate::difficulty::HASHES_PER_DIFFICULTY;
use crate::ids::ConnId;
use crate::ledger::half_hours::{HalfHour, half_of};
use crate::ledger::heat::Span;
use crate::ledger::record::{Counts, Grain, Point, RejectReason};
use crate::ledger::totals::{Ledger, Worker, WorkerId};
use crate::pool::Pool;
use crate::rate::Proven;
use crate::stratum::session::Session;

use super::nominal::nominal;
use super::snapshot as view;

/// Window of the hashrate that stands beside a miner's name, seconds.
const RATE_WINDOW: u64 = 600;

/// So many addresses of miners are remembered.
const PAYEES_MAX: usize = 2048;

/// What the miners' views are made of.
pub struct Miners<'a> {
    /// Now.
    pub now: Now,
    /// Who is known, and what was counted.
    pub ledger: &'a Ledger,
    /// Who is connected.
    pub pool: &'a Pool,
    /// The worker of each connection.
    pub workers: &'a BTreeMap<ConnId, WorkerId>,
    /// What became of each connection's latest shares: `None` for one that counted.
    pub latest: &'a BTreeMap<ConnId, VecDeque<Option<RejectReason>>>,
    /// How often each worker has connected since the start.
    pub connects: &'a HashMap<WorkerId, u64>,
    /// The owner's address.
    pub owner: &'a str,
    /// The chain that the nodes are on.
    pub chain: Option<Chain>,
    /// The addresses of miners that are paid in the owner's place.
    pub payees: &'a Payees,
    /// The round trip to the miner of a connection.
    pub round_trip: &'a dyn Fn(ConnId) -> Option<Duration>,
    /// Whether a connection is encrypted.
    pub is_encrypted: &'a dyn Fn(ConnId) -> bool,
}

impl<'a> Miners<'a> {
    /// All workers of the ledger, the fastest first.
    pub fn views(&self) -> Vec<view::MinerView> {
        let here = self.here();
        let mut models = HashMap::new();
        let ranked = self.ranked();
        let mut views = Vec::with_capacity(ranked.len());
        for ranked in &ranked {
            let here = here.get(&ranked.id);
            let device = ranked.worker.device.as_str();
            let model = models.entry(device).or_insert_with(|| Model::of(device));
            views.push(self.view(ranked, here, model));
        }
        views
    }

    /// The connections of the workers. The first one counts where a worker has several.
    fn here(&self) -> HashMap<WorkerId, Here<'a>> {
        let mut here = HashMap::with_capacity(self.workers.len());
        // All are in the order of their connections: none of them is searched.
        let mut sessions = self.pool.sessions().peekable();
        let mut latest = self.latest.iter().peekable();
        for (conn, worker) in self.workers {
            while sessions.next_if(|session| session.conn() < *conn).is_some() {}
            while latest.next_if(|(of, _)| *of < conn).is_some() {}
            here.entry(*worker).or_insert_with(|| Here {
                conn: *conn,
                session: sessions.next_if(|session| session.conn() == *conn),
                latest: latest.next_if(|(of, _)| *of == conn).map(|(_, latest)| latest),
            });
        }
        here
    }

    /// The workers in the order of the list: they are sorted before their views are made, which are
    /// large.
    fn ranked(&self) -> Vec<Ranked<'a>> {
        let rank = |(id, worker): (WorkerId, &'a Worker)| Ranked {
            id,
            worker,
            lately: worker.proven(self.now, RATE_WINDOW),
        };
        let mut ranked: Vec<Ranked<'a>> =
            self.ledger.workers().filter(|(_, worker)| !is_visitor(worker)).map(rank).collect();
        ranked.sort_by(|a, b| {
            let faster = b.lately.hashrate().total_cmp(&a.lately.hashrate());
            faster.then_with(|| a.worker.name.cmp(&b.worker.name))
        });
        ranked
    }

    fn view(&self, ranked: &Ranked<'a>, here: Option<&Here<'a>>, model: &Model) -> view::MinerView {
        let Ranked { id, worker, lately } = *ranked;
        let session = here.and_then(|here| here.session);
        let latest = here.and_then(|here| here.latest);
        let totals = worker.totals();
        let difficulty = session.and_then(Session::difficulty).map_or(0.0, |d| d.0);
        let (day, halves) = worker.day(self.now);
        let rate = view::RateView::of(&lately, RATE_WINDOW, difficulty);
        let rate_day = view::RateView::of(&day, 86_400, difficulty);
        let claimed = model.claimed;
        let (proven, share) =
            (rate.hashrate.max(rate_day.hashrate), difficulty * HASHES_PER_DIFFICULTY);
        let known = if proven > 0.0 { Some(proven) } else { claimed };
        let expected = known.filter(|rate| *rate > 0.0).map(|rate| share / rate);
        view::MinerView {
            id: worker.number.0.to_string(),
            name: own_name(&worker.name, self.owner, self.ledger).to_owned(),
            user: session.and_then(Session::worker).unwrap_or_default().to_owned(),
            carries: self.carries(session),
            model: worker.device.clone(),
            user_agent: session.map_or_else(String::new, |s| s.user_agent().to_owned()),
            class: model.class.clone(),
            address: session.map_or_else(String::new, |s| address_text(s.peer())),
            link: session
                .map(|s| view::LinkView::of(s.channel_kind(), (self.is_encrypted)(s.conn()))),
            pays: self.paid(session.and_then(Session::payee)),
            pays_fault: session.and_then(Session::payee_fault).unwrap_or_default().to_owned(),
            difficulty_unclear: session.is_some_and(Session::asks_unclearly),
            state: match session {
                Some(session) if is_quiet(self.now, session, worker.share_at, expected) => {
                    view::MinerState::Quiet
                }
                Some(_) => view::MinerState::Mining,
                None => view::MinerState::Gone,
            },
            since: session
                .map_or(totals.last_seen, |session| self.now.date_of(session.connected_at())),
            first_seen_at: totals.first_seen,
            rate,
            rate_hour: view::RateView::of(&worker.proven(self.now, 3_600), 3_600, difficulty),
            rate_day,
            claimed,
            claimed_by: claimed.map_or_else(String::new, |_| "data sheet".to_owned()),
            trend: trend(&halves, self.now.unix),
            accepted: totals.ever.accepted,
            shares_per_min: lately.shares as f64 * 60.0 / lately.seconds.max(1.0),
            rejects: reject_views(&totals.ever),
            latest: latest.map_or_else(Vec::new, |latest| latest.iter().copied().collect()),
            difficulty,
            difficulty_locked: session.is_some_and(Session::is_fixed) || worker.fixed.is_some(),
            difficulty_by_password: worker.fixed.is_none()
                && session.is_some_and(Session::is_fixed),
            expected_share_s: expected,
            last_share_at: (totals.last_share > 0).then_some(totals.last_share),
            best: totals.best.map_or(0.0, |best| best.difficulty),
            best_at: totals.best.map(|best| best.unix),
            best_session: worker.best_since_boot.map_or(0.0, |best| best.difficulty),
            connects: self.connects.get(&id).copied().unwrap_or_default(),
            rtt_ms: here.and_then(|here| (self.round_trip)(here.conn)).map(millis),
        }
    }

    /// The address in front of a session's user, where it is not the owner's. One that a block of the
    /// miner pays is told of only if it is a former address of the owner's.
    fn carries(&self, session: Option<&Session>) -> Option<String> {
        let session = session?;
        let address = address_of(session.worker()?)?;
        if address.eq_ignore_ascii_case(self.owner) || self.owner.is_empty() {
            return None;
        }
        let address = address.parse::<Address>().ok()?.to_string();
        let is_paid = self.paid(session.payee()) == address;
        let told = !is_paid || former_addresses(self.ledger).any(|former| former == address);
        told.then_some(address)
    }

    fn paid(&self, script: Option<&[u8]>) -> String {
        let address = script.and_then(|script| self.payees.address(script, self.chain?));
        address.unwrap_or_else(|| self.owner.to_owned())
    }
}

/// Half hours of a day.
const HALF_HOURS: u32 = 48;

/// The hashrate of each half hour, up to that of now. One without a minute in it is 0, so that the place of
/// a value tells its time; before the first one there is nothing.
fn trend(halves: &[HalfHour], now: u64) -> Vec<f64> {
    let last = half_of(Grain::Minute.period(now));
    let kept = last.saturating_sub(HALF_HOURS - 1)..=last;
    let halves = || halves.iter().filter(|half| kept.contains(&half.half));
    let Some(first) = halves().next().map(|half| half.half) else { return Vec::new() };
    let mut values = vec![0.0; (last - first + 1) as usize];
    for half in halves() {
        values[(half.half - first) as usize] = half.proven.hashrate();
    }
    values
}

/// The payout addresses of before, as far as the ledger knows them.
fn former_addresses(ledger: &Ledger) -> impl Iterator<Item = &str> {
    let changes = ledger.settings().filter(|change| change.key == "payout.address");
    changes.map(|change| change.old.as_str())
}

/// A user without an address of the owner's in front of it, the present one or a former one.
pub fn own_name<'a>(user: &'a str, owner: &str, ledger: &Ledger) -> &'a str {
    if address_of(user).is_none() {
        return user;
    }
    let all = std::iter::once(owner).chain(former_addresses(ledger));
    let mut names = all.map(|address| without_address(user, address));
    names.find(|name| *name != user).unwrap_or(user)
}

/// A user without the owner's address in front of it: `bc1q….attic` is `attic`.
pub fn without_address<'a>(user: &'a str, owner: &str) -> &'a str {
    let is_owner = |address: &str| !owner.is_empty() && address.eq_ignore_ascii_case(owner);
    let (address, name) = address::in_parts(user);
    if is_owner(address) && !name.trim().is_empty() { name } else { user }
}

/// What stands in front of a user's name, if it is long enough for an address: a block may pay it, see
/// [`address::in_name`].
pub fn address_of(user: &str) -> Option<&str> {
    Some(address::in_name(user)).filter(|address| (26..=90).contains(&address.len()))
}

/// A worker's connection.
struct Here<'a> {
    conn: ConnId,
    session: Option<&'a Session>,
    latest: Option<&'a VecDeque<Option<RejectReason>>>,
}

/// A worker in its place of the list.
#[derive(Clone, Copy)]
struct Ranked<'a> {
    id: WorkerId,
    worker: &'a Worker,
    lately: Proven,
}

/// What follows from a worker's model.
struct Model {
    class: String,
    claimed: Option<f64>,
}

impl Model {
    fn of(device: &str) -> Model {
        Model { class: class(device), claimed: nominal(device) }
    }
}

/// Addresses of scripts that were shown before: to make one takes as long as all the rest of a
/// miner's view. The chain decides how they begin.
#[derive(Debug, Default)]
pub struct Payees(RefCell<(Option<Chain>, Texts)>);

type Texts = HashMap<Box<[u8]>, Option<String>>;

impl Payees {
    fn address(&self, script: &[u8], chain: Chain) -> Option<String> {
        let (of, texts) = &mut *self.0.borrow_mut();
        if *of != Some(chain) || texts.len() >= PAYEES_MAX {
            *of = Some(chain);
            texts.clear();
        }
        if let Some(text) = texts.get(script) {
            return text.clone();
        }
        let text = address::of_script(script, chain);
        texts.insert(script.into(), text.clone());
        text
    }
}

/// The model's first word, for statistics.
pub(crate) fn class(model: &str) -> String {
    let word = model.split([' ', '/', '(']).next().unwrap_or_default();
    if word.is_empty() { "other".into() } else { word.to_lowercase() }
}

/// It authorised and left without a share, as a miner does that only looks whether we are there: it
/// is no miner that is missing.
fn is_visitor(worker: &Worker) -> bool {
    !worker.is_connected() && !worker.has_mined()
}

/// Whether a connected miner has sent nothing for far longer than its difficulty explains: by
/// chance twenty times the usual happens once in 500 million shares. `last_share` is that of this run.
fn is_quiet(
    now: Now,
    session: &Session,
    last_share: Option<Instant>,
    expected: Option<f64>,
) -> bool {
    let heard = session.heard_since();
    let since = last_share.map_or(heard, |last| last.max(heard));
    let limit = expected.map_or(1800.0, |expected| (20.0 * expected).max(300.0));
    now.mono.saturating_duration_since(since).as_secs_f64() > limit
}

fn reject_views(counts: &Counts) -> Vec<view::RejectView> {
    RejectReason::ALL
        .iter()
        .zip(counts.rejects)
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| view::RejectView { reason: *reason, count })
        .collect()
}

/// All miners together. `next` is the difficulty that weighs most of the shares that are awaited.
pub fn totals(ledger: &Ledger, now: Now, next: f64) -> view::TotalsView {
    let total = ledger.total();
    let totals = total.totals();
    let rate = |window| view::RateView::of(&total.proven(now, window), window, next);
    view::TotalsView {
        rate_5m: rate(300),
        rate_1h: rate(3_600),
        rate_24h: rate(86_400),
        accepted: totals.ever.accepted,
        rejects: reject_views(&totals.ever),
        work: totals.ever.work,
        work_since_block: totals.since_block.work,
        since: (totals.first_seen > 0).then_some(totals.first_seen),
        best: totals.best.map_or(0.0, |best| best.difficulty),
        best_session: total.best_since_boot.map_or(0.0, |best| best.difficulty),
        best_since_block: totals.best_since_block.map_or(0.0, |best| best.difficulty),
        blocks_found: totals.blocks.into(),
    }
}

/// The history of a worker, or of all.
pub fn history(worker: &Worker, now: Now) -> view::HistoryView {
    let born = worker.totals().first_seen;
    let of = |grain, width, ago: u64| {
        let since = now.unix.saturating_sub(ago);
        points(&worker.history_until(now, grain), grain, width, since, now.unix)
    };
    let minutes = worker.history_until(now, Grain::Minute);
    let (width, day_ago) = (width_of(&minutes, now.unix), now.unix.saturating_sub(86_400));
    let mut history = view::HistoryView {
        day: points(&minutes, Grain::Minute, width, day_ago, now.unix),
        month: of(Grain::Hour, 4 * 3_600, 30 * 86_400),
        all: of(Grain::Day, 86_400, now.unix),
        heat: heat_history(now.unix, |span, now| {
            heat_points(worker.heat(span), span, now, |slot| view::HeatPointView {
                celsius_max: slot.high(),
                celsius: slot.mean(),
                watts: slot.watts(),
                miners: slot.watts().is_some().into(),
                ..view::HeatPointView::default()
            })
        }),
        marks: Vec::new(),
    };
    // An hour or a day began before the worker did.
    for range in [&mut history.day, &mut history.month, &mut history.all] {
        for point in range.iter_mut().filter(|point| point.at > born) {
            point.from = point.from.max(born);
        }
    }
    history
}

/// What all miners drew together over time.
pub fn watts(ledger: &Ledger, now: Now) -> view::HeatHistoryView {
    heat_history(now.unix, |span, now| {
        heat_points(ledger.watts(span), span, now, |sum| view::HeatPointView {
            watts: sum.watts(),
            miners: sum.miners(),
            ..view::HeatPointView::default()
        })
    })
}

fn heat_history(
    now: u64,
    of: impl Fn(Span, u64) -> Vec<view::HeatPointView>,
) -> view::HeatHistoryView {
    let since = |span, ago| {
        let mut points = of(span, now);
        points.retain(|point| point.from >= now.saturating_sub(ago));
        points
    };
    view::HeatHistoryView {
        day: since(Span::TenMinutes, 86_400),
        month: since(Span::FourHours, 30 * 86_400),
        all: of(Span::Day, now),
    }
}

/// Slots as points, none of them in the future.
fn heat_points<T>(
    slots: Vec<(u32, T)>,
    span: Span,
    now: u64,
    point: impl Fn(&T) -> view::HeatPointView,
) -> Vec<view::HeatPointView> {
    let dated = |(period, slot): &(u32, T)| {
        let from = u64::from(*period) * span.seconds();
        view::HeatPointView { from, at: (from + span.seconds()).min(now), ..point(slot) }
    };
    slots.iter().map(dated).filter(|point| point.from <= now).collect()
}

/// At most so many intervals of a day.
const POINTS: u64 = 144;

/// The width of the intervals in which minutes of the last day are shown, seconds: as narrow as the
/// history is young.
pub(crate) fn width_of(minutes: &[Point], now: u64) -> u64 {
    let first = minutes.iter().map(|point| u64::from(point.period) * 60);
    let first = first.filter(|first| first + 86_400 > now).min().unwrap_or(now);
    let widths = [60, 120, 300, 600];
    widths.into_iter().find(|width| now - first.min(now) <= POINTS * width).unwrap_or(600)
}

/// Points of one grain put together into intervals of `width` seconds, from `since` on, none of them
/// in the future.
pub(crate) fn points(
    series: &[Point],
    grain: Grain,
    width: u64,
    since: u64,
    now: u64,
) -> Vec<view::PointView> {
    let mut out: Vec<view::PointView> = Vec::new();
    let mut proven = Proven::default();
    for point in series {
        let from = u64::from(point.period) * grain.seconds();
        if from < since || from > now {
            continue;
        }
        let at = ((from / width + 1) * width).min(now);
        if out.last().is_none_or(|last| last.at != at) {
            proven = Proven::default();
            out.push(view::PointView { from, at, ..view::PointView::default() });
        }
        let Some(last) = out.last_mut() else { continue };
        proven.add(&point.proven());
        last.hashrate = proven.hashrate();
        last.accepted += u64::from(point.accepted);
        last.rejected += u64::from(point.rejected);
        last.best = last.best.max(f64::from(point.best));
    }
    out
}

/// As `Display` writes it, in a quarter of its time where it is of four numbers.
fn address_text(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else { return address.to_string() };
    let mut text = String::with_capacity("255.255.255.255".len());
    for (place, number) in address.octets().into_iter().enumerate() {
        if place > 0 {
            text.push('.');
        }
        for (digit, least) in [(number / 100, 100), (number / 10 % 10, 10), (number % 10, 0)] {
            if number >= least {
                text.push(char::from(b'0' + digit));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;
    use crate::ids::Extranonce1;
    use crate::ledger::totals::LedgerEvent;
    use crate::pool::Input;
    use crate::stratum::outbox::Outbox;
    use crate::stratum::session::{Rules, SessionKey};
    use crate::stratum::v2::channel::ChannelKind;
    use crate::stratum::v2::miner::{Login, Miner};
    use crate::stratum::v2::{frame, message};
    use std::net::Ipv4Addr;
    use std::time::Instant;

    const OWNER: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    const OTHER: &str = "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3";

    /// A pool in which some have connected, each from an address of its own.
    struct World {
        now: Now,
        ledger: Ledger,
        pool: Pool,
        workers: BTreeMap<ConnId, WorkerId>,
        payees: Payees,
    }

    impl World {
        fn new() -> World {
            World::paying(vec![Chain::Main])
        }

        /// Whose miners are paid by their names on these chains.
        fn paying(payee_chains: Vec<Chain>) -> World {
            let now = Now { mono: Instant::now(), unix: 1_790_000_000 };
            let rules = Rules {
                session_key: SessionKey([1; 32]),
                password: None,
                overrides: Vec::new(),
                payee_chains,
            };
            let (ledger, mut pool) = (Ledger::new(now), Pool::new(rules, 1));
            let work = crate::job::tests::work(1, now.mono);
            pool.handle(now, Input::Work(Box::new(work)), &mut Outbox::new());
            World { now, ledger, pool, workers: BTreeMap::new(), payees: Payees::default() }
        }

        fn connect(&mut self, conn: u8, name: &str) -> WorkerId {
            let (id, peer) = (ConnId(conn.into()), Ipv4Addr::new(10, 0, 0, conn).into());
            let (now, mut out) = (self.now, Outbox::new());
            let extranonce1 = Extranonce1([conn; 4]);
            self.pool.handle(now, Input::Connect { conn: id, peer, extranonce1 }, &mut out);
            for line in [
                r#"{"id":1,"method":"mining.subscribe","params":["bitaxe/BM1370/v2.13.1"]}"#,
                &format!(r#"{{"id":2,"method":"mining.authorize","params":["{name}","x"]}}"#),
            ] {
                self.pool.line(now, id, line.as_bytes(), &mut out);
            }
            let worker = self.ledger.worker(now, name, "Bitaxe Gamma (BM1370)");
            self.tell(LedgerEvent::Connected(worker));
            self.workers.insert(id, worker);
            worker
        }

        fn tell(&mut self, event: LedgerEvent) {
            self.ledger.handle(self.now, event, &mut Vec::new());
        }

        fn pass(&mut self, seconds: u64) {
            self.now.mono += Duration::from_secs(seconds);
            self.now.unix += seconds;
        }

        fn share(&mut self, worker: WorkerId, difficulty: f64) {
            self.tell(LedgerEvent::Share { worker, difficulty, actual: 1.0, height: 1 });
        }

        /// Name, address, who is paid, round trip.
        fn rows(&self, chain: Option<Chain>) -> Vec<[String; 4]> {
            let row = |view: view::MinerView| {
                assert_eq!(view.latest.len(), usize::from(view.address == "10.0.0.2"));
                let rtt = view.rtt_ms.map_or_else(String::new, |ms| ms.to_string());
                [view.name, view.address, view.pays, rtt]
            };
            self.miners(chain, |miners| miners.views()).into_iter().map(row).collect()
        }

        fn miners<T>(&self, chain: Option<Chain>, look: impl Fn(&Miners<'_>) -> T) -> T {
            let latest = BTreeMap::from([(ConnId(2), VecDeque::from([None]))]);
            let miners = Miners {
                now: self.now,
                ledger: &self.ledger,
                pool: &self.pool,
                workers: &self.workers,
                latest: &latest,
                connects: &HashMap::new(),
                owner: OWNER,
                chain,
                payees: &self.payees,
                round_trip: &|conn| Some(Duration::from_millis(conn.0)),
                is_encrypted: &|conn| conn.connection().0 >= 8,
            };
            look(&miners)
        }
    }

    fn row(name: &str, address: &str, rtt: &str) -> [String; 4] {
        [name, address, OWNER, rtt].map(str::to_owned)
    }

    #[test]
    fn the_owners_address_is_no_part_of_a_name_and_another_one_is_told_of() {
        const PLAIN: &str = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq";
        let mut world = World::new();
        let users = [
            format!("{OWNER}.gamma"),
            format!("{}.QUAD", OWNER.to_uppercase()),
            format!("{OWNER}_shed"),
            format!("bitcoin:{OWNER}.barn"),
            format!("{OWNER}."),
            OWNER.to_owned(),
            format!("{OTHER}.attic"),
            format!("{PLAIN}.desk"),
            format!("{}.x", "notanaddress".repeat(4)),
            "plain".to_owned(),
        ];
        for (conn, user) in users.iter().enumerate() {
            world.connect(conn as u8 + 10, user);
        }
        let told = |world: &World| {
            let miners = world.miners(Some(Chain::Main), |miners| miners.views());
            let mut told: Vec<(String, Option<String>)> =
                miners.into_iter().map(|view| (view.name, view.carries)).collect();
            told.sort();
            told
        };
        let mut wanted: Vec<(String, Option<String>)> = vec![
            ("gamma".into(), None),
            ("QUAD".into(), None),
            ("shed".into(), None),
            ("barn".into(), None),
            (users[4].clone(), None),
            (users[5].clone(), None),
            // Paid there by the rules.
            (users[6].clone(), None),
            (users[7].clone(), None),
            (users[8].clone(), None),
            ("plain".into(), None),
        ];
        wanted.sort();
        assert_eq!(told(&world), wanted);
        // Once it was the owner's: the blocks of this miner go to where nobody looks any more.
        world.tell(LedgerEvent::Setting {
            by: "page".into(),
            key: "payout.address".into(),
            old: OTHER.into(),
            new: OWNER.into(),
        });
        let carries = |world: &World| -> Vec<String> {
            told(world).into_iter().filter_map(|(_, carries)| carries).collect()
        };
        assert_eq!(carries(&world), [OTHER]);
        // However it is written: each of them is paid by the same rule.
        for (conn, user) in
            [format!("{OTHER}_hut"), format!("bitcoin:{OTHER}.mill")].iter().enumerate()
        {
            world.connect(conn as u8 + 30, user);
        }
        assert_eq!(carries(&world), [OTHER, OTHER, OTHER]);
        assert_eq!(
            told(&world).iter().filter(|(name, _)| name == "hut" || name == "mill").count(),
            2
        );
        // Where the owner is paid in any case, each of them.
        let mut world = World::paying(Vec::new());
        for (conn, user) in users.iter().enumerate() {
            world.connect(conn as u8 + 10, user);
        }
        assert_eq!(carries(&world), [PLAIN, OTHER]);
    }

    #[test]
    fn each_worker_has_its_first_connection_and_the_fastest_come_first() {
        let mut world = World::new();
        let absent = world.ledger.worker(world.now, "absent", "");
        world.share(absent, 1e-9);
        let slow = world.connect(5, "slow");
        world.connect(3, "twice");
        let fast = world.connect(2, "fast");
        world.connect(7, "twice");
        world.pass(30);
        world.share(slow, 1.0);
        world.share(fast, 2.0);
        let (fast, slow) = (row("fast", "10.0.0.2", "2"), row("slow", "10.0.0.5", "5"));
        let twice = row("twice", "10.0.0.3", "3");
        let rows = world.rows(Some(Chain::Main));
        assert_eq!(rows, [fast, slow, row("absent", "", ""), twice]);
    }

    /// Of two channels on one connection, each is a miner.
    #[test]
    fn what_a_miner_speaks_is_told_while_it_is_here() {
        let mut world = World::new();
        world.connect(1, "plain");
        world.connect(8, "tls");
        let conn = ConnId(9);
        let (now, peer) = (world.now, Ipv4Addr::new(10, 0, 0, 9).into());
        let extranonce1 = Extranonce1([9; 4]);
        world.pool.handle(now, Input::Connect { conn, peer, extranonce1 }, &mut Outbox::new());
        for (channel, kind) in [(0, ChannelKind::Extended), (1, ChannelKind::Standard)] {
            let (user, vendor) = (format!("channel {channel}"), "bitaxe".to_owned());
            let firmware = String::new();
            let login = Login { kind, user: user.clone(), vendor, firmware, hashrate: 1e12 };
            let (mut said, mut success) = (Vec::new(), Vec::new());
            // Its first words have flags that fit both kinds.
            let first = Login { kind: ChannelKind::Extended, ..login.clone() };
            Miner::new(first, &mut said);
            message::setup_success(&mut success);
            let success = frame::next(&mut &success[..]).unwrap();
            Miner::new(login, &mut Vec::new()).hear(&success, &mut said).unwrap();
            let mut frames = &said[..];
            while let Some(frame) = frame::next(&mut frames) {
                world.pool.frame(now, conn, &frame, &mut Outbox::new());
            }
            let worker = world.ledger.worker(now, &user, "Bitaxe");
            world.workers.insert(conn.with_channel(channel), worker);
        }
        let absent = world.ledger.worker(now, "absent", "");
        world.share(absent, 1.0);
        for name in ["channel 0", "channel 1"] {
            let worker = world.ledger.worker(now, name, "Bitaxe");
            world.share(worker, 1.0);
        }
        let links = world.miners(None, |miners| {
            let link = |view: view::MinerView| (view.name, view.link.map(view::LinkView::words));
            let mut links: Vec<_> = miners.views().into_iter().map(link).collect();
            links.sort();
            links
        });
        let expected = [
            ("absent", None),
            ("channel 0", Some("Stratum V2, extended channel")),
            ("channel 1", Some("Stratum V2, standard channel")),
            ("plain", Some("Stratum V1")),
            ("tls", Some("Stratum V1 in TLS")),
        ];
        assert_eq!(links, expected.map(|(name, link)| (name.to_owned(), link)));
    }

    #[test]
    fn a_connection_of_a_forgotten_worker_is_nobody_elses() {
        let mut world = World::new();
        let forgotten = world.connect(1, "forgotten");
        world.tell(LedgerEvent::Forget(forgotten));
        let heir = world.ledger.worker(world.now, "heir", "");
        world.share(heir, 1.0);
        assert_ne!(heir, forgotten);
        assert_eq!(world.rows(None), [row("heir", "", "")]);
        world.workers.insert(ConnId(4), heir);
        // Of which the pool knows nothing.
        assert_eq!(world.rows(None), [row("heir", "", "4")]);
    }

    #[test]
    fn whom_a_miner_pays_is_told_by_the_chain_of_the_moment() {
        let mut world = World::new();
        world.connect(1, &format!("{OTHER}.a"));
        world.connect(2, "b");
        let paid = |chain| world.rows(chain).into_iter().map(|row| row[2].clone()).collect();
        for _ in 0..2 {
            let whom: Vec<String> = paid(Some(Chain::Main));
            assert_eq!(whom, [OWNER, OTHER]);
            let whom: Vec<String> = paid(Some(Chain::Regtest));
            assert!(whom[1].starts_with("bcrt1qrp33"), "{whom:?}");
            assert_eq!(paid(None), [OWNER, OWNER].map(str::to_owned).to_vec());
        }
    }

    #[test]
    fn a_slot_that_is_not_full_is_drawn_as_what_it_is_and_none_lies_in_the_future() {
        let minute = |period, online| {
            let work = online as f32;
            Point { period, accepted: 1, work, online, ..Point::default() }
        };
        // From 7 minutes before a full ten minutes to 3 minutes after; one point is later than now.
        let now = 10_003 * 600 + 180;
        let first = 10_003 * 10 - 7;
        let mut minutes: Vec<Point> =
            (first..first + 10).map(|period| minute(period, 60)).collect();
        minutes[0].online = 20;
        minutes[0].work = 20.0;
        minutes.push(Point { work: 6_000.0, ..minute(first + 5_000, 60) });
        let chart = points(&minutes, Grain::Minute, 600, 0, now);
        let slots: Vec<[u64; 2]> = chart.iter().map(|point| [point.from, point.at]).collect();
        let start = u64::from(first) * 60;
        assert_eq!(slots, [[start, 10_003 * 600], [10_003 * 600, now]]);
        for point in chart {
            assert!((point.hashrate / HASHES_PER_DIFFICULTY - 1.0).abs() < 1e-9, "{point:?}");
        }
        // A young miner is shown by the minute, an old one by ten.
        assert_eq!(width_of(&minutes[..10], now), 60);
        assert_eq!(width_of(&[minute(first - 200, 60)], now), 120);
        assert_eq!(width_of(&[minute(first - 1_000, 60)], now), 600);
        assert_eq!(width_of(&[], now), 60);
    }

    #[test]
    fn the_place_of_a_value_in_a_trend_tells_its_time() {
        let proven = Proven { work: 1.0, shares: 1, seconds: 60.0, ..Proven::default() };
        let each = proven.hashrate();
        let half = |half| HalfHour { half, proven };
        let now = 1_000_000 * 1_800 + 7;
        let trend = |halves: &[u32]| {
            let halves: Vec<HalfHour> = halves.iter().copied().map(half).collect();
            trend(&halves, now)
        };
        assert_eq!(trend(&[1_000_000]), [each], "a young one");
        assert_eq!(trend(&[999_997, 1_000_000]), [each, 0.0, 0.0, each], "a gap");
        assert_eq!(trend(&[999_997, 999_998]), [each, each, 0.0, 0.0], "gone");
        // The half hour that the day's beginning cuts, and one of a clock that was ahead.
        assert_eq!(trend(&[999_952, 999_953, 1_000_001]).len(), 48);
        assert_eq!(trend(&[]), [0.0; 0]);
    }

    #[test]
    fn who_leaves_without_a_share_was_a_visitor_and_is_not_missing() {
        let mut world = World::new();
        let probe = world.connect(1, "probe");
        assert_eq!(world.rows(None).len(), 1, "as long as it is here, it is shown");
        world.workers.clear();
        world.tell(LedgerEvent::Disconnected(probe));
        assert!(world.rows(None).is_empty());
        let miner = world.connect(2, "miner");
        world.share(miner, 1.0);
        world.workers.clear();
        world.tell(LedgerEvent::Disconnected(miner));
        assert_eq!(world.rows(None).len(), 1);
    }

    /// What it sent before the restart, nobody remembers: it is given the time of a miner that comes anew.
    #[test]
    fn a_connection_that_outlives_a_restart_is_not_called_quiet_for_it() {
        let mut world = World::new();
        let worker = world.connect(1, "steady");
        world.pass(1);
        world.pool.handle(world.now, Input::Tick, &mut Outbox::new());
        world.pass(3_600);
        world.share(worker, 1.0);
        let handed = world.pool.session(ConnId(1)).unwrap().handed().unwrap();
        let connected = |world: &World| {
            let view = world.miners(None, |miners| miners.views().remove(0));
            (view.state, view.since)
        };
        let before = connected(&world);
        assert_eq!(before.0, view::MinerState::Mining);

        let mut next = World::new();
        (next.now, next.ledger) = (world.now, Ledger::new(world.now));
        next.pass(2);
        let worker = next.ledger.worker(next.now, "steady", "Bitaxe Gamma (BM1370)");
        next.tell(LedgerEvent::Connected(worker));
        next.workers.insert(ConnId(1), worker);
        let peer = Ipv4Addr::new(10, 0, 0, 1).into();
        next.pool.take_up(next.now, ConnId(1), peer, handed).unwrap();
        next.pass(1);
        assert_eq!(connected(&next), before, "a second after the restart");
        // One that hangs since then is told as any other.
        next.pass(3_600);
        assert_eq!(connected(&next), (view::MinerState::Quiet, before.1));
    }

    #[test]
    fn addresses_are_written_as_ever() {
        for number in 0..=255 {
            let address = IpAddr::V4(Ipv4Addr::new(number, 0, 255 - number, 10));
            assert_eq!(address_text(address), address.to_string());
        }
        assert_eq!(address_text("fd00::1".parse().unwrap()), "fd00::1");
    }
}
