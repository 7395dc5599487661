//! Two boxes as one: carries out what [`crate::pair`] decides, on the connection, the card and the engine.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::block::SolvedBlock;
use crate::chain::{BlockHash, Chain};
use crate::clock::Now;
use crate::config::Config;
use crate::engine;
use crate::fsutil::{self, Rights};
use crate::ledger::transfer;
use crate::pair::agreement::{FILE_MAX, Record};
use crate::pair::message::{
    Authority, BoxId, Connection, Hello, Level, Pending, State as BoxState,
};
use crate::pair::{Input, Output, Pair, Report};
use crate::pair_link::{News, PairLinks, Settings};
use crate::status::{self, EventKind};
use crate::stratum::firmware::Saved;
use crate::stratum::v2::noise::Identity;

use super::admin::ToApply;
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
    /// Another code was told of then.
    other_code: Option<Instant>,
    hands_out: bool,
    side: Option<bool>,
}

/// Window of the hashrate that the other box is told, seconds.
const RATE_WINDOW: u64 = 600;

/// Of the boxes with another code is told so often.
const CODE_TOLD_EVERY: std::time::Duration = std::time::Duration::from_secs(3600);

impl PairSide {
    /// This box's end, if the settings name a partner; the payout address in them gives way to the one that
    /// is agreed. Without a partner nothing is agreed any more: the owner has removed it.
    pub(super) fn open(config: &mut Config) -> Option<Box<PairSide>> {
        let file = config.data.dir.join(FILE);
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
        let mut side = Box::new(PairSide {
            pair,
            links: None,
            file,
            runtime: config.data.runtime.clone(),
            partner: partner.ip(),
            wanted: String::new(),
            authority: None,
            other_code: None,
            hands_out: true,
            side: None,
        });
        side.take_over(config);
        Some(side)
    }

    /// The settings give way to what is agreed.
    fn take_over(&mut self, config: &mut Config) {
        self.wanted = config.payout.address.as_ref().map_or_else(String::new, ToString::to_string);
        self.put_in_force(config);
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
            PairEvent::Link(News::Connected { link, called }) => {
                self.pair_input(now, Input::Connected { link, called });
            }
            PairEvent::Link(News::Told(link, message)) => {
                self.pair_input(now, Input::Told(link, message));
            }
            PairEvent::Link(News::Closed(link)) => self.pair_input(now, Input::Closed(link)),
            PairEvent::Link(News::OtherCode) => {
                let Some(side) = &mut self.pair else { return };
                let told = side.other_code.is_some_and(|at| now.mono < at + CODE_TOLD_EVERY);
                if !told {
                    side.other_code = Some(now.mono);
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
        if self.pair_deadline().is_some_and(|at| now.mono >= at) {
            self.pair_input(now, Input::Tick);
        }
    }

    pub(super) fn pair_deadline(&self) -> Option<Instant> {
        self.pair.as_ref()?.pair.next_deadline()
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

    fn pair_input(&mut self, now: Now, input: Input) {
        let mut outputs = Vec::new();
        let Some(side) = &mut self.pair else { return };
        side.pair.handle(now, input, &mut outputs);
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

    /// How this box is, for the other one.
    fn pair_report(&self, now: Now) -> Report {
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
        let total = self.ledger.core.total().totals();
        let pending = self
            .engine
            .changes()
            .pending()
            .map(|pending| Pending { address: pending.address.clone(), due_at: pending.due_at });
        let state = BoxState {
            ready: pool.is_open() && self.stopping.is_none(),
            active: address.is_some_and(|ip| crate::os::addresses().contains(&ip)),
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
        };
        let secret = self.pair.as_ref().and_then(|side| side.authority);
        let miners = sessions().filter(|session| session.channel_kind().is_some()).count() as u32;
        let authority = secret.map(|secret| Authority { secret, miners });
        Report { state, levels: levels.collect(), connections, authority }
    }
}
