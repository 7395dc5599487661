//! New versions: the feed is read on a pool thread, what is to be remembered of it is written there, and an
//! update is handed to the system, which installs it as root. `crate::update` decides.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{env, fs, io};

use async_io::Timer;

use crate::clock::Now;
use crate::config::Config;
use crate::feed::{self, Download};
use crate::fsutil::{self, Rights};
use crate::notify::{Heading, Input as Notification, Message, Topic};
use crate::os;
use crate::status::{EventKind, Level, UpdateView};
use crate::update::{self, FILE_MAX, Facts, Fault, Input, Kept, Mode, Output, Settings};

use super::actions::{Unasked, ask_system};
use super::{Daemon, Event, State, standing};

/// The environment variable with the path of a file in which the system tells what came of an update that it
/// was handed: the exit code of `soloist-update` and its last words, a line each. Where it is not set, this
/// system installs no updates.
const TOLD_FILE: &str = "SOLOIST_UPDATE_TOLD";
/// Bytes that are read of it.
const TOLD_MAX: u64 = 4096;
/// The longest that the system takes to install an update. Its unit ends it after 30 minutes.
const INSTALL_AT_MOST: Duration = Duration::from_secs(31 * 60);
/// How often is looked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longest time for a check that the owner has asked for.
const CHECK_AT_MOST: Duration = Duration::from_secs(100);
/// Seconds by which the clock of this box may differ from the node's, that the hour can be meant.
const CLOCKS_DIFFER: u64 = 3600;
/// There is this file as long as the system is on trial.
const TRIAL: &str = "/run/soloist-trial";

/// Updates, and what is under way.
pub(super) struct Updates {
    core: update::Updates,
    data: PathBuf,
    told: Option<PathBuf>,
    download: Arc<Download>,
}

impl Updates {
    /// Reads what was remembered. Nothing is asked yet.
    pub(super) fn open(data: &Path) -> Updates {
        let told = env::var_os(TOLD_FILE).map(PathBuf::from);
        let version = os::image_version().unwrap_or(env!("CARGO_PKG_VERSION"));
        let random = getrandom::u64().unwrap_or(u64::from(std::process::id()));
        let core = update::Updates::new(version, told.is_some(), kept(data), random);
        // What a run before this one fetched is of no use: nobody knows whether it is whole.
        if let Err(error) = feed::discard(data) {
            log::warn!("{}: {error}", feed::place(data).display());
        }
        Updates { core, data: data.to_owned(), told, download: Arc::default() }
    }

    /// When there is something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.core.next_deadline()
    }
}

fn file(data: &Path) -> PathBuf {
    data.join("update-feed")
}

fn kept(data: &Path) -> Kept {
    let path = file(data);
    let read = match fsutil::read_bounded(&path, FILE_MAX) {
        Ok(bytes) => Kept::read(&bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Kept::default(),
        Err(error) => Err(error.to_string()),
    };
    read.unwrap_or_else(|why| {
        log::error!("{}: {why}: it is not known which update feed was the newest", path.display());
        Kept::default()
    })
}

fn settings(config: &Config) -> Option<Settings> {
    let update = &config.update;
    let feed = update.feed.clone().filter(|_| update.mode != Mode::Off)?;
    Some(Settings { feed, mode: update.mode, at: update.at })
}

impl State {
    /// The settings are these from now on.
    pub(super) fn update_settings(&mut self, now: Now) {
        let settings = settings(&self.config);
        self.update_input(now, Input::Settings(settings));
    }

    pub(super) fn tick_updates(&mut self, now: Now) {
        // A solved block has the card for itself.
        let waits = self.engine.blocks().has_undecided();
        self.updates.download.waits.store(waits, Ordering::Relaxed);
        if self.updates.next_deadline().is_some_and(|at| now.mono >= at) {
            self.update_input(now, Input::Tick);
        }
    }

    pub(super) fn update_input(&mut self, now: Now, input: Input) {
        let facts = self.update_facts(now);
        let mut due = Vec::new();
        self.updates.core.handle(now, facts, input, &mut due);
        for output in due {
            self.carry_out_update(now, output);
        }
    }

    fn update_facts(&self, now: Now) -> Facts {
        let clock_is_known = self.ledger.core.is_clock_known() && self.clock.raised() == 0;
        // Where no time server is asked, nobody says that the clock is wrong.
        let is_unset = self.timings.reading.board.clock_synced == Some(false);
        let clocks = self.engine.failover().clocks(now.mono);
        let agrees = clocks.and_then(|clocks| clocks.this_box);
        let agrees = agrees.is_none_or(|clock| clock.ahead.unsigned_abs() <= CLOCKS_DIFFER);
        let mut nodes = self.engine.failover().nodes(now.mono);
        Facts {
            block_waits: self.engine.blocks().has_undecided(),
            has_work: nodes.any(|node| standing::state(&node).is_usable()),
            clock_is_good: (clock_is_known || !is_unset) && agrees,
            on_trial: Path::new(TRIAL).exists(),
        }
    }

    fn carry_out_update(&mut self, now: Now, output: Output) {
        match output {
            Output::Check(_) => {
                let Some(source) = self.config.update.source() else { return };
                self.beside(move || Input::Checked(feed::fetch(&source).map(Box::new)));
            }
            Output::Keep(bytes) => {
                let path = file(&self.updates.data);
                self.beside(move || {
                    let written = path.parent().map_or(Ok(()), fsutil::create_directory);
                    let written = written.and_then(|()| {
                        fsutil::replace(&path, &bytes, Rights::Set(0o600)).map_err(io::Error::from)
                    });
                    Input::Kept(written.map_err(|error| error.to_string()))
                });
            }
            Output::Download(release) => {
                self.updates.download.is_over.store(true, Ordering::Relaxed);
                self.updates.download = Arc::default();
                let progress = self.updates.download.clone();
                let data = self.updates.data.clone();
                let certificate = self.config.update.tls_cert_path.clone();
                self.beside(move || {
                    Input::Downloaded(feed::download(
                        &release,
                        certificate.as_deref(),
                        &data,
                        &progress,
                    ))
                });
            }
            Output::Discard => {
                self.updates.download.is_over.store(true, Ordering::Relaxed);
                let data = self.updates.data.clone();
                blocking::unblock(move || feed::discard(&data).ok()).detach();
            }
            Output::HandOver => {
                let told = self.updates.told.clone();
                let queue = self.queue.clone();
                let work = async move {
                    let input = Input::Installed(hand_over(told).await);
                    queue.send(Event::Update(input)).await.ok();
                };
                self.executor.spawn(work).detach();
            }
            Output::Tell(level, text) => self.tell(now, EventKind::System, level, text),
            Output::Message { installed, text } => {
                self.tell(now, EventKind::System, Level::Info, text.clone());
                let heading =
                    if installed { Heading::VersionInstalled } else { Heading::NewVersion };
                self.notifications_input(
                    now,
                    Notification::Tell(Message {
                        topic: Topic::Update,
                        level: Level::Info,
                        title: heading.words().to_owned(),
                        text,
                        at: now.unix,
                    }),
                );
            }
        }
    }

    /// Does something on a pool thread; what came of it is told to the core.
    fn beside(&self, work: impl FnOnce() -> Input + Send + 'static) {
        let queue = self.queue.clone();
        blocking::unblock(move || {
            queue.send_blocking(Event::Update(work())).ok();
        })
        .detach();
    }

    /// For the page.
    pub(super) fn update_view(&self, now: Now) -> Option<UpdateView> {
        let fetched = self.updates.download.bytes.load(Ordering::Relaxed);
        self.updates.core.view(now, self.update_facts(now), fetched)
    }
}

impl Daemon {
    /// The owner wants the feed to be read now; what came of it.
    pub(super) async fn check_for_update(self: std::rc::Rc<Self>) -> Result<String, String> {
        {
            let mut state = self.state.borrow_mut();
            let now = state.now();
            state.updates.core.may_check()?;
            state.update_input(now, Input::CheckNow);
            self.rearm(&state);
        }
        let mut waited = Duration::ZERO;
        while self.state.borrow().updates.core.is_checking() && waited < CHECK_AT_MOST {
            Timer::after(LOOK_EVERY).await;
            waited += LOOK_EVERY;
        }
        let now = os::now();
        let view = self.state.borrow().update_view(now).ok_or("The feed is no longer read.")?;
        match view {
            UpdateView { checking: true, .. } => Err("The feed does not come in time.".to_owned()),
            UpdateView { check_failure: Some(failure), .. } => {
                Err(format!("The update feed cannot be used: {}. {}", failure.why, failure.remedy))
            }
            view => Ok(view.summary),
        }
    }

    /// The owner wants the version of the feed to be installed now.
    pub(super) fn install_update(&self) -> Result<String, String> {
        let mut state = self.state.borrow_mut();
        let now = state.now();
        state.updates.core.may_install(state.update_facts(now))?;
        state.update_input(now, Input::InstallNow);
        self.rearm(&state);
        Ok("It is fetched and installed; the box then starts anew by itself. This takes some minutes: the \
            miners mine on until then."
            .to_owned())
    }
}

/// Lets the system install what was fetched, and waits for what it says.
async fn hand_over(told: Option<PathBuf>) -> Result<(), Fault> {
    let told = told.ok_or(Fault::NobodyTook)?;
    ask_system("update").await.map_err(|why| match why {
        Unasked::NoSystem | Unasked::NobodyTook => Fault::NobodyTook,
        Unasked::Failed(error) => Fault::Write(error.to_string()),
    })?;
    let mut waited = Duration::ZERO;
    while waited < INSTALL_AT_MOST {
        let file = told.clone();
        if let Some(words) = blocking::unblock(move || read_told(&file)).await {
            return words;
        }
        Timer::after(LOOK_EVERY).await;
        waited += LOOK_EVERY;
    }
    Err(Fault::Refused("the system did not end with it within 31 minutes".to_owned()))
}

/// What the system tells; `None` as long as it tells nothing.
fn read_told(file: &Path) -> Option<Result<(), Fault>> {
    fs::metadata(file).ok()?;
    let bytes = fsutil::read_bounded(file, TOLD_MAX).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let (code, words) = text.split_once('\n').unwrap_or((&text, ""));
    let words = words.trim().trim_start_matches("soloist-update: ").to_owned();
    Some(if code.trim() == "0" { Ok(()) } else { Err(Fault::Refused(words)) })
}
