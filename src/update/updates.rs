//! When the feed is read, what the owner is told of it, and when an update is installed.

use std::time::{Duration, Instant};

use super::feed::{Feed, Release};
use super::finding::{self, Step};
use super::kept::{Failed, Kept, Tried};
use super::version::Version;
use super::view::{FailureView, ReleaseView, UpdateView, WithdrawnView};
use super::{DAY, Fault, Mode, TimeOfDay};
use crate::clock::{self, Now};
use crate::event::Level;

/// Between two checks, at least and at most: a day, and no two boxes at the same moment.
const BETWEEN: [Duration; 2] = [Duration::from_secs(23 * 3600), Duration::from_secs(25 * 3600)];
/// From a start to the first check, at least and at most, if none was made lately.
const AFTER_START: [Duration; 2] = [Duration::from_secs(120), Duration::from_secs(900)];
/// How often is looked whether an update that is ready may be installed, or whether the one that runs has
/// proved itself.
const LOOK: Duration = Duration::from_secs(20);
/// For so long after the hour that the owner chose an update may still be installed, seconds: then another
/// day comes.
const WINDOW: u64 = 2 * 3600;

/// What the owner wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the feed is.
    pub feed: String,
    /// What is done about a new version; not [`Mode::Off`].
    pub mode: Mode,
    /// When it is installed.
    pub at: TimeOfDay,
}

/// What else decides, as it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// A solved block is on its way: no node has shown it yet.
    pub block_waits: bool,
    /// A node gives work.
    pub has_work: bool,
    /// Nothing speaks against the clock of this box.
    pub clock_is_good: bool,
    /// This system is a new version itself, on trial.
    pub on_trial: bool,
}

/// A feed that was signed by the right key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// What it says.
    pub feed: Feed,
    /// As it came.
    pub text: String,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// The settings are these now; `None` if no feed is to be read.
    Settings(Option<Settings>),
    /// The owner wants the feed to be read now.
    CheckNow,
    /// The owner wants the version to be installed that the feed names.
    InstallNow,
    /// A check has ended.
    Checked(Result<Box<Fetched>, Fault>),
    /// The last [`Output::Keep`] is on the card, or why it is not.
    Kept(Result<(), String>),
    /// The download has ended.
    Downloaded(Result<(), Fault>),
    /// The system has ended with the update: it restarts soon, or why it does not.
    Installed(Result<(), Fault>),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Read the feed at this address; [`Input::Checked`] follows.
    Check(String),
    /// Put these bytes into the file; [`Input::Kept`] follows.
    Keep(Vec<u8>),
    /// Fetch the update; [`Input::Downloaded`] follows, unless [`Output::Discard`] comes before.
    Download(Release),
    /// Remove what was fetched, and end a download.
    Discard,
    /// Let the system install what was fetched; [`Input::Installed`] follows.
    HandOver,
    /// An event for the page and the log.
    Tell(Level, String),
    /// A message to the owner: there is a new version, or it runs now.
    Message {
        /// It runs now; else it is there.
        installed: bool,
        /// A few sentences.
        text: String,
    },
}

/// What is being done about an update.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Fetching {
        release: Release,
        by_hand: bool,
    },
    /// It is on the card.
    Ready {
        version: Version,
        by_hand: bool,
    },
    /// That it is tried is being written down.
    Noting {
        version: Version,
    },
    /// The system has it.
    HandedOver {
        version: Version,
    },
}

/// All of it.
#[derive(Debug)]
pub struct Updates {
    own: Option<Version>,
    own_words: String,
    can_install: bool,
    settings: Option<Settings>,
    random: u64,
    kept: Kept,
    /// That of `kept`.
    feed: Option<Feed>,
    next_check: Option<Instant>,
    checking: bool,
    /// Why the last check failed, and since when checks have failed in this run.
    check_fault: Option<(Fault, Instant)>,
    phase: Phase,
    /// Why the last download failed.
    fetch_fault: Option<(Version, Fault, Instant)>,
    next_look: Option<Instant>,
    /// What is being written, and whether it is out of date already.
    keeping: bool,
    stale: bool,
}

impl Updates {
    /// For a system of this version, which can install updates or not. `kept` is what was remembered, and
    /// `random` any number. Nothing is done before [`Input::Settings`].
    pub fn new(version: &str, can_install: bool, kept: Kept, random: u64) -> Updates {
        let feed = kept.feed.as_ref().and_then(|text| Feed::read(text.as_bytes()).ok());
        Updates {
            own: version.parse().ok(),
            own_words: version.to_owned(),
            can_install,
            settings: None,
            random,
            kept,
            feed,
            next_check: None,
            checking: false,
            check_fault: None,
            phase: Phase::Idle,
            fetch_fault: None,
            next_look: None,
            keeping: false,
            stale: false,
        }
    }

    /// When there is something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.next_check.filter(|_| !self.checking), self.next_look].into_iter().flatten().min()
    }

    /// Takes in what happens.
    pub fn handle(&mut self, now: Now, facts: Facts, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Tick => {}
            Input::Settings(settings) => self.new_settings(now, settings, out),
            Input::CheckNow => self.check(out),
            Input::InstallNow => self.fetch(true, out),
            Input::Checked(result) => self.checked(now, result, out),
            Input::Kept(result) => self.kept(now, result, out),
            Input::Downloaded(result) => self.downloaded(now, result, out),
            Input::Installed(result) => self.installed(now, result, out),
        }
        self.tick(now, facts, out);
    }

    /// Whether the owner may have the version of the feed installed now.
    ///
    /// # Errors
    /// A sentence: why not.
    pub fn may_install(&self, facts: Facts) -> Result<(), String> {
        let no = |words: &str| Err(words.to_owned());
        if !self.can_install {
            return no(
                "This program did not come with the box's image: update its package or its container \
                 in the way in which it was installed.",
            );
        }
        match self.phase {
            Phase::Noting { .. } | Phase::HandedOver { .. } => {
                return no("It is being installed already.");
            }
            Phase::Fetching { .. } | Phase::Ready { .. } | Phase::Idle => {}
        }
        if self.offer().is_none() {
            return no("No other version is offered for this box now.");
        }
        if facts.on_trial {
            return no("This version is on trial itself: try again in some minutes.");
        }
        if facts.block_waits {
            return no("A solved block is on its way to the nodes: try again when it is decided.");
        }
        Ok(())
    }

    /// Whether the feed can be read now.
    ///
    /// # Errors
    /// A sentence: why not.
    pub fn may_check(&self) -> Result<(), String> {
        match &self.settings {
            None => Err("No update feed is named: feed below [update] names one.".to_owned()),
            Some(_) if self.checking => Err("The feed is being read already.".to_owned()),
            Some(_) => Ok(()),
        }
    }

    /// Whether the feed is being read.
    pub fn is_checking(&self) -> bool {
        self.checking
    }

    fn tick(&mut self, now: Now, facts: Facts, out: &mut Vec<Output>) {
        if self.next_check.is_some_and(|at| now.mono >= at) {
            self.check(out);
        }
        self.look_at_the_trial(now, facts, out);
        self.look_at_what_is_ready(now, facts, out);
        let is_pending = self.is_tried_pending() || matches!(self.phase, Phase::Ready { .. });
        self.next_look = is_pending.then(|| now.mono + LOOK.min(self.until_the_hour(now)));
    }

    /// Time until the hour that the owner chose; a day if it is that hour.
    fn until_the_hour(&self, now: Now) -> Duration {
        let at = self.settings.as_ref().map_or(0, |settings| settings.at.next(now.unix));
        Duration::from_secs(at.checked_sub(now.unix).filter(|left| *left > 0).unwrap_or(DAY))
    }

    fn new_settings(&mut self, now: Now, settings: Option<Settings>, out: &mut Vec<Output>) {
        let before = std::mem::replace(&mut self.settings, settings);
        let Some(settings) = self.settings.clone() else {
            self.next_check = None;
            self.check_fault = None;
            self.let_go(out);
            return;
        };
        if before.as_ref().is_none_or(|before| before.feed != settings.feed) {
            self.check_fault = None;
            let wait = self.until_the_first_check(now, before.is_none());
            self.next_check = Some(now.mono + wait);
        }
        match (before, settings.mode) {
            // A start: what is there is fetched after the first check.
            (None, _) => {}
            (Some(_), Mode::Install) => self.fetch(false, out),
            (Some(_), _) => self.let_go(out),
        }
    }

    /// A box that starts often does not ask more often, unless there is something to install.
    fn until_the_first_check(&mut self, now: Now, is_start: bool) -> Duration {
        let wants_it = self.settings.as_ref().is_some_and(|s| s.mode == Mode::Install);
        let is_pending =
            wants_it && self.offer().is_some_and(|(release, _)| !self.was_tried(release));
        // A date in the future is that of a clock that was wrong.
        let since = now.unix.checked_sub(self.kept.checked_at).filter(|_| is_start && !is_pending);
        match since.filter(|since| *since < DAY) {
            Some(since) => Duration::from_secs(DAY - since).max(AFTER_START[0]),
            None => self.between(AFTER_START),
        }
    }

    fn was_tried(&self, release: &Release) -> bool {
        self.kept.tried.as_ref().is_some_and(|tried| tried.version == release.version)
    }

    fn check(&mut self, out: &mut Vec<Output>) {
        if let Some(settings) = self.settings.as_ref().filter(|_| !self.checking) {
            self.checking = true;
            out.push(Output::Check(settings.feed.clone()));
        }
    }

    fn checked(&mut self, now: Now, result: Result<Box<Fetched>, Fault>, out: &mut Vec<Output>) {
        self.checking = false;
        // Whatever came of it: nobody is asked more often for having failed.
        self.next_check = self.settings.as_ref().map(|_| now.mono);
        let wait = self.between(BETWEEN);
        self.next_check = self.next_check.map(|at| at + wait);
        self.kept.checked_at = now.unix;
        let result = result.and_then(|fetched| {
            self.kept.accept(&fetched.feed, &fetched.text, now.unix)?;
            Ok(fetched.feed)
        });
        match result {
            Ok(feed) => {
                if self.check_fault.take().is_some() {
                    let text = "The update feed can be used again.".to_owned();
                    out.push(Output::Tell(Level::Info, text));
                }
                self.new_feed(now, feed, out);
            }
            Err(fault) => self.check_failed(now, fault, out),
        }
        self.keep(out);
    }

    fn check_failed(&mut self, now: Now, fault: Fault, out: &mut Vec<Output>) {
        let before = self.check_fault.as_ref();
        let since = before.map_or(now.mono, |(_, since)| *since);
        if before.is_none_or(|(before, _)| *before != fault) {
            let date = clock::date(now.unix);
            let text = format!("The update feed cannot be used: {fault}. {}", fault.remedy(&date));
            out.push(Output::Tell(Level::Warning, text));
        }
        self.check_fault = Some((fault, since));
    }

    fn new_feed(&mut self, now: Now, feed: Feed, out: &mut Vec<Output>) {
        if now.unix < feed.issued {
            let text = format!(
                "The clock of this box shows {}, which is before the update feed was made: it is wrong. No \
                 update is installed by itself until it is right.",
                clock::date(now.unix)
            );
            out.push(Output::Tell(Level::Warning, text));
        }
        self.feed = Some(feed);
        let Some((own, feed)) = self.own.zip(self.feed.as_ref()) else { return };
        let (step, version) = (finding::step(own, feed), feed.release.version);
        if step != Step::None && self.kept.told != Some(version) {
            self.kept.told = Some(version);
            out.push(Output::Message { installed: false, text: news(own, feed) });
        }
        let is_another = match &self.phase {
            Phase::Fetching { release, .. } => *release != feed.release,
            Phase::Ready { version: ready, .. } => *ready != version,
            _ => false,
        };
        if is_another || !step.can_be_installed() {
            self.let_go(out);
        }
        self.fetch(false, out);
    }

    /// What is being done about an update is given up, as far as the system does not have it yet.
    fn let_go(&mut self, out: &mut Vec<Output>) {
        if matches!(self.phase, Phase::Fetching { .. } | Phase::Ready { .. }) {
            self.phase = Phase::Idle;
            out.push(Output::Discard);
        }
    }

    /// The release that may be installed, and what it is to us.
    fn offer(&self) -> Option<(&Release, Step)> {
        let (own, feed) = (self.own?, self.feed.as_ref().filter(|_| self.settings.is_some())?);
        let step = finding::step(own, feed);
        step.can_be_installed().then_some((&feed.release, step))
    }

    /// Begins the download, where the owner wants it.
    fn fetch(&mut self, by_hand: bool, out: &mut Vec<Output>) {
        let Some((release, step)) = self.offer().filter(|_| self.can_install) else { return };
        let release = release.clone();
        let wants_it = self.settings.as_ref().is_some_and(|s| s.mode == Mode::Install);
        if !by_hand && (!wants_it || self.was_tried(&release) || step != Step::Offered) {
            return;
        }
        match &mut self.phase {
            Phase::Idle => {
                self.fetch_fault = None;
                self.phase = Phase::Fetching { release: release.clone(), by_hand };
                out.push(Output::Download(release));
            }
            Phase::Fetching { by_hand: wish, .. } | Phase::Ready { by_hand: wish, .. } => {
                *wish |= by_hand
            }
            Phase::Noting { .. } | Phase::HandedOver { .. } => {}
        }
    }

    fn downloaded(&mut self, now: Now, result: Result<(), Fault>, out: &mut Vec<Output>) {
        // One that was given up has ended late.
        let Phase::Fetching { release, by_hand } = &self.phase else { return };
        let (version, by_hand) = (release.version, *by_hand);
        match result {
            Ok(()) => self.phase = Phase::Ready { version, by_hand },
            Err(fault) => self.not_installed(now, version, fault, out),
        }
    }

    /// Installs what is ready, as soon as nothing speaks against it.
    fn look_at_what_is_ready(&mut self, now: Now, facts: Facts, out: &mut Vec<Output>) {
        let Phase::Ready { version, .. } = self.phase else { return };
        if self.waits_for(now, facts).is_empty() {
            self.kept.tried = Some(Tried { version, at: now.unix, failed: None });
            self.phase = Phase::Noting { version };
            self.keep(out);
        }
    }

    /// What an update that is ready waits for; empty if for nothing.
    ///
    /// A block goes before everything. Without work the miners would lose nothing by a restart, but nobody
    /// could see whether the new version mines: by itself it is not tried then.
    fn waits_for(&self, now: Now, facts: Facts) -> String {
        let (Phase::Ready { by_hand, .. }, Some(settings)) = (&self.phase, &self.settings) else {
            return String::new();
        };
        let clock = facts.clock_is_good && self.feed.as_ref().is_none_or(|f| now.unix >= f.issued);
        match () {
            () if facts.on_trial => "this version has passed its own trial".to_owned(),
            () if facts.block_waits => "the solved block on its way is decided".to_owned(),
            () if *by_hand => String::new(),
            () if !clock => "the clock of this box is right".to_owned(),
            () if settings.at.ago(now.unix) > WINDOW => format!("it is {} UTC", settings.at),
            () if !facts.has_work => "a node gives work".to_owned(),
            () => String::new(),
        }
    }

    fn kept(&mut self, now: Now, result: Result<(), String>, out: &mut Vec<Output>) {
        self.keeping = false;
        let is_stale = std::mem::take(&mut self.stale);
        match (self.phase.clone(), result) {
            (_, Ok(())) if is_stale => self.keep(out),
            // It must be known after the restart that it was tried, or a version that does not prove itself
            // would be tried again each night.
            (Phase::Noting { version }, Ok(())) => {
                self.phase = Phase::HandedOver { version };
                out.push(Output::HandOver);
            }
            (_, Ok(())) => {}
            (Phase::Noting { version }, Err(why)) => {
                self.kept.tried = None;
                self.not_installed(now, version, Fault::NotKept(why), out);
            }
            (_, Err(why)) => self.check_failed(now, Fault::NotKept(why), out),
        }
    }

    /// The update could not be brought as far as the system.
    fn not_installed(&mut self, now: Now, version: Version, fault: Fault, out: &mut Vec<Output>) {
        self.phase = Phase::Idle;
        let remedy = fault.remedy(&clock::date(now.unix));
        let text = format!("Version {version} is not installed: {fault}. {remedy}");
        out.push(Output::Tell(Level::Warning, text));
        out.push(Output::Discard);
        self.fetch_fault = Some((version, fault, now.mono));
    }

    fn installed(&mut self, now: Now, result: Result<(), Fault>, out: &mut Vec<Output>) {
        let Phase::HandedOver { version } = self.phase else { return };
        out.push(Output::Discard);
        match result {
            Ok(()) => {
                let text = format!("Version {version} is installed: the box starts anew with it.");
                out.push(Output::Tell(Level::Info, text));
            }
            Err(fault) => {
                self.phase = Phase::Idle;
                let text = format!("Version {version} is not installed: {fault}.");
                out.push(Output::Tell(Level::Warning, text));
                let failed = Some(Failed::Refused(fault.to_string()));
                self.kept.tried = Some(Tried { version, at: now.unix, failed });
                self.keep(out);
            }
        }
    }

    /// Something was handed to the system, and it is not known yet what came of it.
    fn is_tried_pending(&self) -> bool {
        let is_ours = matches!(self.phase, Phase::Noting { .. } | Phase::HandedOver { .. });
        !is_ours && self.kept.tried.as_ref().is_some_and(|tried| tried.failed.is_none())
    }

    /// After a restart: does the new version run, and has it passed its trial?
    fn look_at_the_trial(&mut self, now: Now, facts: Facts, out: &mut Vec<Output>) {
        let Some((own, tried)) = self.own.zip(self.kept.tried.as_mut()) else { return };
        let is_ours = matches!(self.phase, Phase::Noting { .. } | Phase::HandedOver { .. });
        if is_ours || facts.on_trial || tried.failed.is_some() {
            return;
        }
        if tried.version == own {
            self.kept.tried = None;
            let text = format!("Version {own} is installed and has proved itself.");
            out.push(Output::Message { installed: true, text });
        } else {
            tried.failed = Some(Failed::CameBack);
            tried.at = now.unix;
            let (version, fault) = (tried.version, Fault::CameBack(own));
            let text = format!("Version {version} was to be installed: {fault}.");
            out.push(Output::Tell(Level::Warning, text));
        }
        self.keep(out);
    }

    fn keep(&mut self, out: &mut Vec<Output>) {
        if self.keeping {
            self.stale = true;
            return;
        }
        self.keeping = true;
        out.push(Output::Keep(self.kept.bytes()));
    }

    /// Any time between two.
    fn between(&mut self, [least, most]: [Duration; 2]) -> Duration {
        // SplitMix64, by Steele, Lea and Flood.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        least + Duration::from_millis(z % ((most - least).as_millis() as u64 + 1))
    }

    /// For the page; `None` if no feed is read. `fetched` is how many bytes of a download have come.
    pub fn view(&self, now: Now, facts: Facts, fetched: u64) -> Option<UpdateView> {
        let settings = self.settings.as_ref()?;
        let known = |unix: u64| Some(unix).filter(|unix| *unix > 0);
        let feed = self.feed.as_ref();
        let step = self.own.zip(feed).map_or(Step::None, |(own, feed)| finding::step(own, feed));
        let reason = self.own.zip(feed).and_then(|(own, feed)| feed.reason(own));
        let ready = match self.phase {
            Phase::Ready { by_hand, .. } => Some(by_hand),
            _ => None,
        };
        Some(UpdateView {
            feed: settings.feed.clone(),
            mode: settings.mode.name().to_owned(),
            version: self.own_words.clone(),
            can_install: self.can_install,
            checking: self.checking,
            checked_at: known(self.kept.checked_at),
            next_check_at: self.next_check.filter(|_| !self.checking).map(|at| {
                now.unix.saturating_add(at.saturating_duration_since(now.mono).as_secs())
            }),
            seen_at: known(self.kept.seen_at),
            serial: feed.map(|feed| feed.serial),
            issued_at: feed.map(|feed| feed.issued),
            clock_behind: feed.is_some_and(|feed| now.unix < feed.issued),
            release: feed.map(|feed| release_view(&feed.release)),
            step: step.name().to_owned(),
            summary: match (self.own, feed) {
                (Some(own), Some(feed)) => finding::sentence(own, feed),
                (None, _) => format!(
                    "This is {}, which is no release: nothing is offered for it.",
                    self.own_words
                ),
                (_, None) => "The feed was not read yet.".to_owned(),
            },
            withdrawn: reason.map(|reason| WithdrawnView { reason: reason.to_owned() }),
            phase: match self.phase {
                Phase::Idle => "",
                Phase::Fetching { .. } => "fetching",
                Phase::Ready { .. } => "ready",
                Phase::Noting { .. } | Phase::HandedOver { .. } => "installing",
            }
            .to_owned(),
            waits_for: self.waits_for(now, facts),
            fetched,
            install_at: ready.filter(|by_hand| !by_hand).map(|_| settings.at.next(now.unix)),
            check_failure: self
                .check_fault
                .as_ref()
                .map(|(fault, since)| failure(now, String::new(), fault, Some(*since))),
            install_failure: self.install_failure(now),
        })
    }

    fn install_failure(&self, now: Now) -> Option<FailureView> {
        if let Some((version, fault, since)) = &self.fetch_fault {
            return Some(failure(now, version.to_string(), fault, Some(*since)));
        }
        let tried = self.kept.tried.as_ref()?;
        let fault = match tried.failed.as_ref()? {
            Failed::Refused(words) => Fault::Refused(words.clone()),
            Failed::CameBack => Fault::CameBack(self.own?),
        };
        let view = failure(now, tried.version.to_string(), &fault, None);
        Some(FailureView { since: Some(tried.at), ..view })
    }
}

fn failure(now: Now, version: String, fault: &Fault, since: Option<Instant>) -> FailureView {
    let lasted = since.map_or(Duration::ZERO, |since| now.mono.saturating_duration_since(since));
    FailureView {
        version,
        cause: fault.label().to_owned(),
        why: fault.to_string(),
        remedy: fault.remedy(&clock::date(now.unix)),
        since: since.map(|since| now.date_of(since)),
        grave: fault.is_grave(),
        days: lasted.as_secs() / DAY,
    }
}

fn release_view(release: &Release) -> ReleaseView {
    ReleaseView {
        version: release.version.to_string(),
        date: release.date.clone(),
        changes: release.changes.clone(),
        size: release.size,
        minimum: release.minimum.to_string(),
    }
}

/// Longest part of what changes that a message holds, characters.
const CHANGES_TOLD: usize = 700;

/// What a message says of the version of the feed.
fn news(own: Version, feed: &Feed) -> String {
    let changes = feed.release.changes.trim();
    let mut told: String = changes.chars().take(CHANGES_TOLD).collect();
    if told.len() < changes.len() {
        told.push('…');
    }
    let sentence = finding::sentence(own, feed);
    if told.is_empty() { sentence } else { format!("{sentence} What changes:\n{told}") }
}

#[cfg(test)]
mod tests;
