//! The thread of the connection: its attempts and their pauses, and what it hears.

use std::collections::BTreeSet;
use std::future::pending;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use async_channel::{Receiver, Sender};
use async_io::Timer;
use futures_lite::future;

use super::connection::{Duplex, Line, Moved, connect};
use super::session::{Purpose, Said, Session};
use super::{Fault, News, Settings, Told};
use crate::fsutil::{self, Rights};
use crate::home_assistant::{ANNOUNCED_MAX, Heard, Publisher};
use crate::os;
use crate::rpc::HostLookup;
use crate::status::{Snapshot, verdict};
use crate::timeout::within;

/// Pauses before the next attempts; the last one stays.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(30),
];
/// A connection that lasted so long was a good one.
const LASTED: Duration = Duration::from_secs(60);
/// Buttons that may be pressed in a minute; more are not heard.
const PRESSES_MAX: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);
/// Bytes of the file of announcements that are read.
const FILE_MAX: u64 = 256 * 1024;
/// Bytes of a topic in it.
const TOPIC_MAX: usize = 200;
/// The farewell may take so long.
pub(super) const FAREWELL_AT_MOST: Duration = Duration::from_secs(2);

/// The connection. When it is dropped, the broker is told farewell and the thread ends.
pub struct Handle {
    snapshots: Sender<Box<Snapshot>>,
    counts: Arc<Counts>,
}

/// Kept by the thread, read by the daemon.
#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    devices: AtomicU64,
}

impl Handle {
    /// Begins to connect, again and again, on a thread of its own.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(settings: Settings, told: Told) -> io::Result<Handle> {
        let (snapshots, newest) = async_channel::bounded(1);
        let thread = thread::Builder::new().name("mqtt".to_owned()).stack_size(512 * 1024);
        let counts = Arc::new(Counts::default());
        let link = Link::new(settings, told, newest, counts.clone());
        thread.spawn(move || async_io::block_on(link.run()))?;
        Ok(Handle { snapshots, counts })
    }

    /// Messages that were sent.
    pub fn sent(&self) -> u64 {
        self.counts.sent.load(Ordering::Relaxed)
    }

    /// Devices that the broker is told of, the box among them.
    pub fn devices(&self) -> u64 {
        self.counts.devices.load(Ordering::Relaxed)
    }

    /// Tells what is so now; what was told before and not looked at yet is forgotten.
    pub fn tell(&self, snapshot: Box<Snapshot>) {
        // The thread ends only with this handle.
        self.snapshots.force_send(snapshot).ok();
    }
}

struct Link {
    settings: Settings,
    told: Told,
    newest: Receiver<Box<Snapshot>>,
    counts: Arc<Counts>,
    lookup: HostLookup,
    publisher: Publisher,
    /// What is in the file.
    kept: BTreeSet<String>,
    /// Whether anything is known to be told.
    looked: bool,
    /// The minute of the presses that are counted.
    presses: (Option<Instant>, u32),
}

/// The daemon wants no connection any more.
struct Dropped;

impl Link {
    fn new(
        settings: Settings,
        told: Told,
        newest: Receiver<Box<Snapshot>>,
        counts: Arc<Counts>,
    ) -> Link {
        let kept = kept(&settings.file);
        let (names, buttons) = (settings.names.clone(), settings.buttons.clone());
        let publisher = Publisher::new(names, buttons, kept.clone());
        let host = settings.broker.host.clone();
        let lookup = HostLookup::new(host, settings.broker.port(settings.tls));
        let (looked, presses) = (false, (None, 0));
        Link { settings, told, newest, counts, lookup, publisher, kept, looked, presses }
    }

    async fn run(mut self) {
        let mut failures = 0;
        loop {
            // Nothing to say, nothing to connect for.
            if !self.looked {
                match self.newest.recv().await {
                    Ok(snapshot) => self.look(&snapshot),
                    Err(_) => return,
                }
            }
            let began = Instant::now();
            let why = match connect(&self.settings, &mut self.lookup).await {
                Ok(stream) => match self.talk(stream).await {
                    Ok(why) => why,
                    Err(Dropped) => return,
                },
                Err(fault) => fault.words,
            };
            if began.elapsed() >= LASTED {
                failures = 0;
            }
            (self.told)(News::Down(why));
            let pause = PAUSES[failures.min(PAUSES.len() - 1)];
            failures += 1;
            if let Err(Dropped) = self.rest(Instant::now() + pause).await {
                return;
            }
        }
    }

    /// Waits, and takes in what is so meanwhile: a block that is found while the broker is away is told later.
    async fn rest(&mut self, until: Instant) -> Result<(), Dropped> {
        loop {
            let over = async {
                Timer::at(until).await;
                None
            };
            match future::or(over, async { Some(self.newest.recv().await) }).await {
                None => return Ok(()),
                Some(Ok(snapshot)) => self.look(&snapshot),
                Some(Err(_)) => return Err(Dropped),
            }
        }
    }

    fn look(&mut self, snapshot: &Snapshot) {
        self.looked = true;
        self.publisher.look(snapshot, &verdict(snapshot));
        self.counts.devices.store(self.publisher.devices() as u64, Ordering::Relaxed);
        self.keep();
    }

    /// Before an announcement is sent it is remembered: else nobody would know that it is to be taken away.
    fn keep(&mut self) {
        if self.kept == *self.publisher.announced() {
            return;
        }
        self.kept = self.publisher.announced().clone();
        let lines = self.kept.iter().map(|topic| format!("{topic}\n")).collect::<String>();
        let text = format!("# What an MQTT broker may have been told to keep.\n{lines}");
        let file = &self.settings.file;
        if let Err(error) = fsutil::replace(file, text.as_bytes(), Rights::Set(0o600)) {
            log::warn!("{}: {error}", file.display());
        }
    }

    /// Until the connection ends; why it did.
    async fn talk(&mut self, stream: Box<dyn Duplex>) -> Result<String, Dropped> {
        let mut session = Session::new(Instant::now(), &self.settings, Purpose::Serve);
        let mut line = Line::new(stream);
        let mut welcome = false;
        loop {
            while let Some(said) = session.next() {
                match said {
                    Said::Welcome => {
                        welcome = true;
                        self.publisher.connected();
                        (self.told)(News::Up);
                        let names = &self.settings.names;
                        let mut topics = vec![names.birth()];
                        if !self.settings.buttons.is_empty() {
                            topics.push(names.presses());
                        }
                        session.listen(Instant::now(), &topics);
                    }
                    Said::Confirmed(how) => {
                        if let Err(why) = how {
                            log::warn!("The MQTT broker refused a message: {why}.");
                        }
                        self.publisher.answered(os::now());
                        self.keep();
                    }
                    Said::Message { topic, payload, retained } => {
                        self.heard(&topic, &payload, retained);
                    }
                    Said::Deaf => log::warn!(
                        "The MQTT broker does not let us listen: buttons are not heard, nor that Home \
                         Assistant has started."
                    ),
                    Said::Refused(Fault { words: why, .. }) | Said::Over(why) => return Ok(why),
                }
            }
            line.send(session.take_bytes());
            // A message is made of what is so when the broker has room for it.
            if welcome
                && line.has_room()
                && let Some(message) = self.publisher.next(os::now())
            {
                session.publish(Instant::now(), message);
                line.send(session.take_bytes());
                self.counts.sent.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let published = self.publisher.next_deadline().filter(|_| welcome && line.has_room());
            let deadline = [session.next_deadline(), published].into_iter().flatten().min();
            let look = async { self.newest.recv().await.map_or(Step::Dropped, Step::Look) };
            let tick = async {
                match deadline {
                    Some(at) => drop(Timer::at(at).await),
                    None => pending().await,
                }
                Step::Tick
            };
            let moved = async { Step::Moved(line.next().await) };
            match future::or(tick, future::or(look, moved)).await {
                Step::Moved(Moved::Read(bytes)) => session.read(Instant::now(), &bytes),
                Step::Moved(Moved::Left) => {}
                Step::Moved(Moved::Broke(why)) => return Ok(why),
                Step::Look(snapshot) => self.look(&snapshot),
                Step::Tick => session.tick(Instant::now()),
                Step::Dropped => {
                    let now = Instant::now();
                    session.publish(now, self.publisher.farewell());
                    session.farewell(now);
                    line.send(session.take_bytes());
                    within(FAREWELL_AT_MOST, line.empty()).await;
                    return Err(Dropped);
                }
            }
        }
    }

    fn heard(&mut self, topic: &str, payload: &[u8], retained: bool) {
        let now = Instant::now();
        match Heard::read(&self.settings.names, topic, payload, retained) {
            Some(Heard::Birth) => self.publisher.heard_birth(now),
            Some(Heard::Press(miner, command)) if self.publisher.has_button(&miner, command) => {
                let (since, count) = &mut self.presses;
                if since.is_none_or(|at| now.duration_since(at) >= MINUTE) {
                    (*since, *count) = (Some(now), 0);
                }
                *count += 1;
                match *count {
                    count if count <= PRESSES_MAX => (self.told)(News::Press(miner, command)),
                    count if count == PRESSES_MAX + 1 => log::warn!(
                        "Buttons are pressed by MQTT more than {PRESSES_MAX} times a minute: the \
                         others are not heard."
                    ),
                    _ => {}
                }
            }
            Some(Heard::Press(..)) | None => {}
        }
    }
}

/// What happened first.
enum Step {
    Moved(Moved),
    Look(Box<Snapshot>),
    Tick,
    Dropped,
}

/// What earlier runs announced. A file that is damaged costs what is damaged.
fn kept(file: &Path) -> BTreeSet<String> {
    let size = fs::metadata(file).map_or(0, |data| data.len());
    if size > FILE_MAX {
        log::warn!("{} is too long: it is not read", file.display());
        return BTreeSet::new();
    }
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let is_ours = |line: &&str| {
        line.len() <= TOPIC_MAX
            && line.contains("/device/soloist_")
            && line.ends_with("/config")
            && !line.contains(|c: char| c.is_control() || matches!(c, '+' | '#'))
    };
    text.lines().filter(is_ours).take(ANNOUNCED_MAX).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_announced_is_remembered_and_a_damaged_file_costs_only_its_damage() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mqtt-announced");
        assert!(kept(&file).is_empty());
        let good = "homeassistant/device/soloist_ab12_7/config";
        let text = format!(
            "# Ours.\n{good}\n\u{fffd}x\nhomeassistant/device/#/config\nha/device/zigbee/config\n"
        );
        fs::write(&file, text.as_bytes()).unwrap();
        assert_eq!(kept(&file), BTreeSet::from([good.to_owned()]));
        fs::write(&file, vec![b'a'; FILE_MAX as usize + 1]).unwrap();
        assert!(kept(&file).is_empty());
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(kept(&file).is_empty());
    }
}
