//! Two boxes as one: carries out what [`crate::pair`] decides, on the connection, the card and the engine.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::block::SolvedBlock;
use crate::chain::{BlockHash, Chain};
use crate::clock::Now;
use crate::config::Config;
use crate::engine;
use crate::fsutil::{self, Rights};
use crate::job_journal::RestoredJobs;
use crate::ledger::transfer;
use crate::pair::agreement::{FILE_MAX, Record};
use crate::pair::drill::{Drill, Phase, Seen};
use crate::pair::message::{
    Authority, BoxId, Connection, Hello, Level, Pending, State as BoxState,
};
use crate::pair::watch::{Facts, Watch};
use crate::pair::{Input, Output, Pair, PartnerView, Report, agreement};
use crate::pair_link::{News, PairLinks, Settings};
use crate::settings::PendingPayout;
use crate::status::{
    self, DrillPhase, EventKind, LossView, PairBoxView, PairChangeView, PairDrillView, PairPayout,
    PairPayoutView, PairTroubleView, PairView,
};
use crate::stratum::firmware::Saved;
use crate::stratum::v2::noise::Identity;

use super::admin::ToApply;
use super::pair_copy::JobsCopy;
use super::{Event, State};

/// What is agreed, in the data directory.
const FILE: &str = "pair";

/// Who this box is, beside it.
const ID: &str = "pair-id";

/// The connections of the other box's miners with the address that moves, in the directory in memory: for
/// `soloist pair tickle`. A line for each: `LOCAL_IP:PORT REMOTE_IP:PORT`, an IPv6 address in brackets.
const CONNECTIONS: &str = "pair-connections";

/// What comes in from outside the loop.
#[derive(Debug)]
pub(super) enum PairEvent {
    Link(News),
    /// What was to be written is on the card, or it is not.
    Written(bool),
    /// The other box's key of Stratum V2 is on the card; or why it is not.
    Key(Result<Identity, String>),
    /// The copy of the other box's jobs was read.
    Copied(Box<RestoredJobs>),
}

/// This box's end of the pair.
pub(super) struct PairSide {
    pair: Pair,
    links: Option<PairLinks>,
    file: PathBuf,
    runtime: Option<PathBuf>,
    /// The partner's address: the author of changes that it told of.
    partner: IpAddr,
    /// The payout address that the settings name, which is in force only when both agree.
    wanted: String,
    /// The secret of the key by which miners of Stratum V2 know this box.
    authority: Option<[u8; 32]>,
    /// The owner was told of another code then.
    told_of_code: Option<Instant>,
    /// Somebody with another code was heard then.
    other_code: Option<Instant>,
    lost: LossView,
    watch: Watch,
    drill: Option<Drill>,
    /// When the pair is looked at again for what is wrong with it.
    look: Instant,
    hands_out: bool,
    side: Option<bool>,
    pub(super) copy: JobsCopy,
}

/// Window of the hashrate that the other box is told, seconds.
const RATE_WINDOW: u64 = 600;

/// Of the boxes with another code is told so often.
const CODE_TOLD_EVERY: Duration = Duration::from_secs(3600);

/// Somebody with another code calls again within this time, or is called.
const CODE_HEARD_WITHIN: Duration = Duration::from_secs(90);

/// A drill is looked at so often.
const DRILL_LOOKED_AT_EVERY: Duration = Duration::from_millis(200);

/// What is wrong with the pair is looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl PairSide {
    /// This box's end, if the settings name a partner; the payout address in them gives way to the one that
    /// is agreed. Without a partner nothing is agreed any more: the owner has removed it.
    pub(super) fn open(config: &mut Config) -> Option<Box<PairSide>> {
        let file = config.data.dir.join(FILE);
        let copy = JobsCopy::open(config.data.runtime.as_deref());
        let Some(partner) = config.pair.partner else {
            match std::fs::remove_file(&file) {
                Ok(()) => {
                    log::warn!("The other box is forgotten: this one decides alone whom it pays.")
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => log::error!("{}: {error}", file.display()),
            }
            return None;
        };
        let id = own_id(&config.data.dir)?;
        let run = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        let version = crate::exit::version();
        let hello = Hello::of(id, run, &config.http.name, version);
        let pair = Pair::new(hello, read_record(&file));
        let pair = if copy.has_place() { pair.with_copies() } else { pair };
        let mut side = Box::new(PairSide {
            pair,
            links: None,
            file,
            runtime: config.data.runtime.clone(),
            partner: partner.ip(),
            wanted: String::new(),
            authority: None,
            told_of_code: None,
            other_code: None,
            lost: LossView::default(),
            watch: Watch::default(),
            drill: None,
            look: Instant::now(),
            hands_out: true,
            side: None,
            copy,
        });
        side.take_over(config);
        Some(side)
    }

    /// On which side of the extranonces and of the jobs' ids this box is, as far as an earlier run knew it.
    pub(super) fn side(&self) -> Option<bool> {
        self.pair.side()
    }

    /// The settings give way to what is agreed.
    fn take_over(&mut self, config: &mut Config) {
        self.wanted = config.payout.address.as_ref().map_or_else(String::new, ToString::to_string);
        self.put_in_force(config);
    }

    /// Whether work is handed out.
    pub(super) fn hands_out(&self) -> bool {
        self.hands_out
    }

    /// Miners at the other box, where it would take more.
    pub(super) fn ready_partner(&self) -> Option<u32> {
        let state = self.pair.partner()?.state?;
        state.ready.then_some(state.miners)
    }

    /// False while another one goes on.
    pub(super) fn begin_drill(&mut self, drill: Drill, now: Now) -> bool {
        let is_free = !self.drill.as_ref().is_some_and(Drill::gives);
        if is_free {
            self.drill = Some(drill);
            self.look = now.mono;
        }
        is_free
    }

    /// What is kept of the other box: on the card what is agreed, and in memory its miners' connections.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let connections = self.runtime.as_ref().map(|runtime| runtime.join(CONNECTIONS));
        [Some(self.file.clone()), connections].into_iter().flatten().collect()
    }

    fn put_in_force(&self, config: &mut Config) {
        if let Some(agreed) = self.pair.payout().and_then(|address| address.parse().ok()) {
            config.payout.address = Some(agreed);
        }
    }
}

/// Drawn at the first start with a partner.
fn own_id(data: &Path) -> Option<BoxId> {
    let random = super::kept_or_drawn(&data.join(ID), "the other box takes this one for another");
    let random =
        random.inspect_err(|error| log::error!("no pair: no random numbers: {error}")).ok()?;
    let number = u64::from_le_bytes(*random.first_chunk()?);
    Some(BoxId(number.max(1)))
}

fn read_record(file: &Path) -> Option<Record> {
    match fsutil::read_bounded(file, FILE_MAX as u64) {
        Ok(bytes) => {
            let record = Record::decode(&bytes);
            if record.is_none() {
                log::error!(
                    "{}: it is damaged: what was agreed with the other box is learned from that",
                    file.display()
                );
            }
            record
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            log::error!("{}: {error}", file.display());
            None
        }
    }
}

impl State {
    /// Begins to listen to the other box and to call it.
    pub(super) fn open_pair(&mut self, now: Now) {
        self.read_own_key();
        let Some(side) = &mut self.pair else { return };
        let (Some(partner), Some(code)) = (self.config.pair.partner, self.config.pair.code())
        else {
            return;
        };
        let settings = Settings { partner, listen: self.config.pair.listen.clone(), code };
        let (sender, news) = async_channel::unbounded();
        side.links = Some(PairLinks::start(&self.executor, settings, sender));
        let queue = self.queue.clone();
        let forward = async move {
            while let Ok(news) = news.recv().await {
                if queue.send(Event::Pair(PairEvent::Link(news))).await.is_err() {
                    return;
                }
            }
        };
        self.executor.spawn(forward).detach();
        let wanted = side.wanted.clone();
        self.pair_input(now, Input::Wanted(wanted));
        self.pair_changed(now);
        // What this box is tells the first message; the nodes tell the rest later.
        let report = self.pair_report(now);
        self.pair_input(now, Input::Report(Box::new(report)));
    }

    /// The payout address that the settings name, where the other box has a say in whether it is in force.
    pub(super) fn wanted_payout(&self) -> Option<&str> {
        self.pair.as_ref().map(|side| side.wanted.as_str())
    }

    /// The settings were read again: what is agreed stays in force.
    pub(super) fn reload_pair(&mut self, now: Now, config: &mut Config) {
        let Some(side) = &mut self.pair else { return };
        side.take_over(config);
        let wanted = side.wanted.clone();
        self.pair_input(now, Input::Wanted(wanted));
        if let Some(side) = &self.pair {
            side.put_in_force(config);
        }
    }

    pub(super) fn pair_event(&mut self, now: Now, event: PairEvent) {
        match event {
            PairEvent::Written(is_done) => self.pair_input(now, Input::Written(is_done)),
            PairEvent::Key(taken) => self.key_taken(now, taken),
            PairEvent::Copied(copied) => self.take_jobs_copy(now, copied),
            PairEvent::Link(News::Connected { link, called }) => {
                self.pair_input(now, Input::Connected { link, called });
            }
            PairEvent::Link(News::Told(link, message)) => {
                self.pair_input(now, Input::Told(link, message));
            }
            PairEvent::Link(News::Closed(link)) => self.pair_input(now, Input::Closed(link)),
            PairEvent::Link(News::OtherCode) => {
                let Some(side) = &mut self.pair else { return };
                side.other_code = Some(now.mono);
                let told = side.told_of_code.is_some_and(|at| now.mono < at + CODE_TOLD_EVERY);
                if !told {
                    side.told_of_code = Some(now.mono);
                    let text = "The other box has another code, or names another partner: write the same \
                                secret below [pair] on both, and on each the address of the other.";
                    self.tell(now, EventKind::System, status::Level::Warning, text.to_owned());
                }
            }
            PairEvent::Link(News::Deaf(address, why)) => {
                let text = format!("The other box is not listened to on {address}: {why}.");
                self.tell(now, EventKind::System, status::Level::Warning, text);
            }
        }
    }

    pub(super) fn tick_pair(&mut self, now: Now) {
        self.tick_jobs_copy(now);
        let Some(side) = &self.pair else { return };
        if side.pair.next_deadline().is_some_and(|at| now.mono >= at) {
            self.pair_input(now, Input::Tick);
        }
        if self.pair.as_ref().is_some_and(|side| now.mono >= side.look) {
            self.look_at_pair(now);
        }
    }

    pub(super) fn pair_deadline(&self) -> Option<Instant> {
        let side = self.pair.as_ref()?;
        [Some(side.look), side.pair.next_deadline(), side.copy.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether something is wrong with the pair.
    fn look_at_pair(&mut self, now: Now) {
        let has_address = self.has_shared_address();
        let Some(side) = &mut self.pair else { return };
        let partner = side.pair.partner();
        let other = partner.as_ref().and_then(|partner| partner.state);
        let heard = side.other_code.is_some_and(|at| now.mono < at + CODE_HEARD_WITHIN);
        let facts = Facts {
            connected: partner.is_some(),
            other_code: heard,
            refused: side.pair.refused(),
            other_ready: other.map(|state| state.ready),
            standing: side.pair.standing(),
            active: has_address.map(|here| (here, other.map(|state| state.active))),
            // Where it moves the address, it runs, whoever has started it.
            keepalived: match has_address {
                Some(false) => crate::os::keepalived_runs(),
                _ => None,
            },
        };
        side.watch.look(now.mono, &facts);
        let there = other.filter(|state| state.active).map(|state| state.miners);
        let mut pause = LOOK_EVERY;
        let mut ended = None;
        if let Some(drill) = &mut side.drill {
            let was_watched = drill.is_watched(now.mono);
            let has_address = has_address == Some(true);
            drill.look(now.mono, Seen { has_address, there });
            if drill.is_watched(now.mono) {
                pause = DRILL_LOOKED_AT_EVERY;
            } else if was_watched {
                ended = Some(drill_view(now, drill).words());
            }
        }
        side.look = now.mono + pause;
        if let Some(words) = ended {
            self.tell(now, EventKind::System, status::Level::Info, words);
        }
    }

    /// The change of the other box that waits.
    pub(super) fn pair_change(&self, now: Now) -> Option<PairChangeView> {
        let (change, due) = self.engine.changes().pair()?;
        let wait = due.saturating_duration_since(now.mono).as_secs();
        let due_at = now.unix.saturating_add(wait);
        Some(PairChangeView { partner: change.after.partner.clone(), due_at })
    }

    /// Whether this box has the address that the miners use; `None` where there is none.
    pub(super) fn has_shared_address(&self) -> Option<bool> {
        let address = self.config.pair.virtual_address?.ip;
        Some(crate::os::addresses().contains(&address))
    }

    /// A block was solved here: the other box gets it.
    pub(super) fn tell_partner_of(&mut self, now: Now, block: &Arc<SolvedBlock>) {
        if !block.from_partner && self.pair.is_some() {
            self.pair_input(now, Input::Solved(block.clone()));
        }
    }

    /// An earlier run left a block in the spool.
    pub(super) fn restored_in_pair(&mut self, now: Now, block: &SolvedBlock) {
        if !block.from_partner && self.pair.is_some() {
            self.pair_input(now, Input::Solved(Arc::new(block.clone())));
        }
    }

    pub(super) fn final_in_pair(&mut self, now: Now, block: BlockHash) {
        if self.pair.is_some() {
            self.pair_input(now, Input::Final(block));
        }
    }

    /// A block is on the card: if it is the other box's, that is told.
    pub(super) fn tell_partner_it_is_kept(&mut self, now: Now, block: BlockHash) {
        let is_partners = self.engine.blocks().live(block).is_some_and(|block| block.from_partner);
        if is_partners && self.pair.is_some() {
            self.pair_input(now, Input::Kept(block));
        }
    }

    /// Where a miner begins that was at the other box last. What the owner fixed here counts.
    pub(super) fn saved_in_pair(
        &mut self,
        user: &str,
        device: &str,
        saved: Option<Saved>,
    ) -> Option<Saved> {
        let Some(side) = &mut self.pair else { return saved };
        let level = side.pair.take_level(user, device);
        match (saved, level) {
            (Some(Saved::Fixed(difficulty)), _) => Some(Saved::Fixed(difficulty)),
            (_, Some(Level { difficulty, wish, .. })) => Some(Saved::Level { difficulty, wish }),
            (saved, None) => saved,
        }
    }

    pub(super) fn pair_input(&mut self, now: Now, input: Input) {
        let mut outputs = Vec::new();
        let Some(side) = &mut self.pair else { return };
        side.pair.handle(now, input, &mut outputs);
        if side.pair.partner().is_some() {
            side.other_code = None;
            side.lost.note(true);
        } else if side.pair.last().is_some() {
            side.lost.note(false);
        }
        for output in outputs {
            self.pair_output(now, output);
        }
        if let Some(PairSide { pair, links: Some(links), .. }) = self.pair.as_deref() {
            links.set_calls(pair.calls());
        }
    }

    fn pair_output(&mut self, now: Now, output: Output) {
        let Some(side) = &mut self.pair else { return };
        match output {
            Output::Say(link, message) => {
                if let Some(links) = &side.links {
                    links.say(link, &message);
                }
            }
            Output::Close(link) => {
                if let Some(links) = &side.links {
                    links.close(link);
                }
            }
            Output::Write(record) => self.write_record(record),
            Output::Adopt(address) => {
                let from = side.partner;
                let text = format!("Blocks now pay {address}, as both boxes have agreed.");
                self.audit(now, from, &text);
                let mut values = super::admin::values_of(&self.config).without_passwords();
                values.payout = address;
                self.owner.to_apply.push((from, ToApply::Values(values)));
            }
            Output::Changed => self.pair_changed(now),
            Output::Take(block) => self.take_block(now, block),
            Output::Connections(list) => self.keep_connections(&list),
            Output::ReadJobs(wanted) => self.read_own_jobs(now, wanted),
            Output::Copy(write) => self.write_jobs_copy(now, write),
            Output::Report => {
                let report = self.pair_report(now);
                self.pair_input(now, Input::Report(Box::new(report)));
            }
            Output::TakeKey(authority) => self.take_key(&authority),
            Output::Tell(severity, text) => self.tell(now, EventKind::System, severity, text),
        }
    }

    /// On a pool thread, because it waits for the card.
    fn write_record(&self, record: Record) {
        let Some(side) = &self.pair else { return };
        let (file, queue) = (side.file.clone(), self.queue.clone());
        blocking::unblock(move || {
            let written = fsutil::replace(&file, &record.encode(), Rights::Set(0o600));
            if let Err(error) = &written {
                log::error!("{error}");
            }
            queue.send_blocking(Event::Pair(PairEvent::Written(written.is_ok()))).ok();
        })
        .detach();
    }

    /// On a pool thread, because it waits for the card.
    fn take_key(&self, authority: &Authority) {
        let (data, secret) = (self.config.data.dir.clone(), authority.secret);
        let queue = self.queue.clone();
        blocking::unblock(move || {
            let taken = transfer::replace_key(&data, secret).map_err(|error| error.to_string());
            let taken = taken.and_then(|()| match super::identity(&data) {
                Ok(Some(identity)) => Ok(identity),
                Ok(None) => Err("it is no key".to_owned()),
                Err(error) => Err(error.to_string()),
            });
            queue.send_blocking(Event::Pair(PairEvent::Key(taken))).ok();
        })
        .detach();
    }

    fn key_taken(&mut self, now: Now, taken: Result<Identity, String>) {
        match taken {
            Ok(identity) => {
                self.take_identity(identity);
                let text = "Miners of Stratum V2 know both boxes by one key now, the other box's. A miner that \
                            was told this box's former key needs the new one.";
                self.tell(now, EventKind::System, status::Level::Info, text.to_owned());
            }
            Err(why) => {
                let text = format!(
                    "The other box's key of Stratum V2 could not be taken over: {why}. Miners that were told \
                     it do not mine here."
                );
                self.tell(now, EventKind::System, status::Level::Warning, text);
            }
        }
    }

    /// The key of Stratum V2 is there, or is another one.
    pub(super) fn read_own_key(&mut self) {
        if let Some(side) = &mut self.pair {
            side.authority = transfer::authority_key(&self.config.data.dir);
        }
    }

    /// Whom blocks pay, whether work may be handed out, or the half of the extranonces is another.
    fn pair_changed(&mut self, now: Now) {
        let Some(side) = &mut self.pair else { return };
        let (hands_out, half) = (side.pair.serves(), side.pair.side());
        let stops = side.hands_out && !hands_out;
        let begins = !side.hands_out && hands_out;
        let moves = side.side != half;
        (side.hands_out, side.side) = (hands_out, half);
        if stops {
            self.engine_input(now, engine::Input::HandOut(false));
        }
        if moves {
            self.engine_input(now, engine::Input::Side(half));
        }
        let old = self.config.clone();
        if let Some(side) = &self.pair {
            side.put_in_force(&mut self.config);
        }
        if old.payout != self.config.payout {
            self.reload_engine(now, &old);
            if let Some(address) = &self.config.payout.address {
                let text = format!("Both boxes have agreed: blocks now pay {address}.");
                self.tell(now, EventKind::System, status::Level::Info, text);
            }
        }
        if begins {
            self.engine_input(now, engine::Input::HandOut(true));
        }
    }

    fn take_block(&mut self, now: Now, block: Arc<SolvedBlock>) {
        let hash = block.hash;
        if self.blocks.is_mature(hash) {
            return self.pair_input(now, Input::Kept(hash));
        }
        match self.engine.blocks().live(hash).cloned() {
            // Told before, and the answer was lost: it is written again, which does no harm.
            Some(known) => self.keep_again(&known),
            None => self.engine_input(now, engine::Input::Partner(block)),
        }
    }

    fn keep_connections(&self, list: &[Connection]) {
        let Some(runtime) = self.pair.as_ref().and_then(|side| side.runtime.as_ref()) else {
            return;
        };
        let text: String =
            list.iter().map(|Connection { local, remote }| format!("{local} {remote}\n")).collect();
        let file = runtime.join(CONNECTIONS);
        if let Err(error) = fsutil::replace(&file, text.as_bytes(), Rights::Set(0o644)) {
            log::warn!("{error}: miners of the other box notice later that it is gone");
        }
    }

    /// How this box is, its miners, and their connections, for the other one.
    pub(super) fn pair_report(&self, now: Now) -> Report {
        let pool = self.engine.pool();
        let sessions = || pool.sessions().filter(|session| !self.canary.is(session.conn()));
        let address = self.shared_address();
        let levels = sessions().filter_map(|session| {
            Some(Level {
                worker: session.worker()?.to_owned(),
                device: session.profile().model.clone(),
                difficulty: session.proven_difficulty()?,
                wish: session.wish(),
            })
        });
        let ends = sessions().filter_map(|session| self.server.ends(session.conn()));
        let mut connections: Vec<Connection> = ends
            .map(|(local, remote)| Connection { local, remote })
            .filter(|ends| Some(ends.local.ip().to_canonical()) == address)
            .collect();
        connections.sort();
        connections.dedup();
        let secret = self.pair.as_ref().and_then(|side| side.authority);
        let miners = sessions().filter(|session| session.channel_kind().is_some()).count() as u32;
        let authority = secret.map(|secret| Authority { secret, miners });
        Report { state: self.pair_state(now), levels: levels.collect(), connections, authority }
    }

    /// How this box is.
    fn pair_state(&self, now: Now) -> BoxState {
        let pool = self.engine.pool();
        let sessions = || pool.sessions().filter(|session| !self.canary.is(session.conn()));
        let total = self.ledger.core.total().totals();
        let pending = self
            .engine
            .changes()
            .pending()
            .map(|pending| Pending { address: pending.address.clone(), due_at: pending.due_at });
        BoxState {
            ready: pool.is_open() && self.stopping.is_none() && self.is_ready(now),
            active: self.has_shared_address() == Some(true),
            name: self.config.http.name.clone(),
            chain: self
                .engine
                .chain(now)
                .map_or_else(String::new, |chain: Chain| chain.name().to_owned()),
            height: pool.jobs().work().map(|work| work.template.height),
            miners: sessions().filter(|session| session.is_mining()).count() as u32,
            hashrate: self.ledger.core.total().proven(now, RATE_WINDOW).hashrate(),
            best: self.ledger.core.bests().iter().map(|best| best.difficulty).fold(0.0, f64::max),
            blocks: total.blocks.into(),
            undecided: self.engine.blocks().waiting() as u32,
            pending,
            unix: now.unix,
        }
    }

    /// Both boxes for the page; `None` where the settings name no partner.
    pub(super) fn pair_view(&self, now: Now) -> Option<PairView> {
        let side = self.pair.as_ref()?;
        let (partner, last) = (side.pair.partner(), side.pair.last());
        let has_shared = self.config.pair.virtual_address.is_some();
        let since =
            partner.as_ref().map(|partner| partner.since).or(last.as_ref().map(|(at, _)| *at));
        // Its port is that of this box's page: two boxes are mostly set up alike.
        let port = self.config.http.listen.first().map_or(80, |listen| listen.port());
        let page = format!("http://{}/", SocketAddr::new(side.partner, port));
        let page = page.replace(":80/", "/");
        let own = PairBoxView {
            clock_ahead_s: None,
            ..box_view(side.pair.hello(), Some(&self.pair_state(now)), has_shared)
        };
        let shown = partner.as_ref().or(last.as_ref().map(|(_, partner)| partner));
        let other = shown.map(|PartnerView { hello, state, clock_ahead_s, .. }| PairBoxView {
            page: Some(page),
            clock_ahead_s: *clock_ahead_s,
            ..box_view(hello, *state, has_shared)
        });
        let troubles = side.watch.troubles(now.mono);
        let troubles = troubles
            .map(|(trouble, since)| PairTroubleView { trouble, since: now.date_of(since) })
            .collect();
        Some(PairView {
            partner: side.partner.to_string(),
            virtual_address: self.config.pair.virtual_address.map(|address| address.ip.to_string()),
            connected: partner.is_some(),
            since: since.map(|at| now.date_of(at)),
            together: PairView::sum(&own, other.as_ref()),
            own,
            other,
            payout: payout_view(side.pair.standing()),
            unkept_blocks: side.pair.unkept() as u64,
            lost: side.lost,
            drill: side.drill.as_ref().map(|drill| drill_view(now, drill)),
            troubles,
        })
    }
}

/// `state` is `None` as long as the box has told none.
fn box_view(hello: &Hello, state: Option<&BoxState>, has_shared: bool) -> PairBoxView {
    let known = PairBoxView {
        name: hello.name.clone(),
        version: hello.version.clone(),
        protocol: hello.protocol,
        ..PairBoxView::default()
    };
    let Some(state) = state else { return known };
    let pending = state.pending.as_ref();
    PairBoxView {
        name: state.name.clone(),
        ready: Some(state.ready),
        active: has_shared.then_some(state.active),
        height: state.height.map(u64::from),
        miners: state.miners.into(),
        hashrate: state.hashrate,
        best: state.best,
        blocks: state.blocks,
        undecided_blocks: state.undecided.into(),
        pending: pending.map(|Pending { address, due_at }| PendingPayout {
            address: address.clone(),
            due_at: *due_at,
        }),
        ..known
    }
}

fn drill_view(now: Now, drill: &Drill) -> PairDrillView {
    PairDrillView {
        began_at: now.date_of(drill.began()),
        phase: match drill.phase() {
            Phase::Giving => DrillPhase::Giving,
            Phase::Given => DrillPhase::Given,
            Phase::Failed => DrillPhase::Failed,
        },
        miners: drill.miners().into(),
        given_after_s: drill.given_after().map(|took| took.as_secs_f64()),
        away_s: drill.away().map(|took| took.as_secs_f64()),
    }
}

fn payout_view(standing: agreement::Standing) -> PairPayoutView {
    let (state, address) = match standing {
        agreement::Standing::Apart { other } => (PairPayout::Apart, other),
        agreement::Standing::Agreed => (PairPayout::Agreed, None),
        agreement::Standing::Waiting { address, .. } => (PairPayout::Waiting, Some(address)),
        agreement::Standing::InDoubt(address) => (PairPayout::InDoubt, Some(address)),
    };
    PairPayoutView { state, address: address.filter(|address| !address.is_empty()) }
}
