//! The ledger: events go in, a pool thread writes to the card.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::time::Instant;

use async_channel::Sender;

use crate::clock::Now;
use crate::difficulty::Difficulty;
use crate::engine::Input;
use crate::ids::ConnId;
use crate::ledger::record::RejectReason;
use crate::ledger::totals::{Ledger, LedgerEvent, LedgerOutput, MAX_WORKERS, Storage, WorkerId};
use crate::ledger::writer::LedgerWriter;
use crate::status::{EventKind, Level};
use crate::stratum::firmware::Saved;

use super::{Event, State};

/// Number of latest shares of a connection whose outcome is remembered.
pub(super) const LATEST: usize = 10;

/// Number of shares that are kept until their miners say who they are.
const UNNAMED_MAX: usize = 64;

/// A share that counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct CountedShare {
    /// What it is worth.
    pub credited: Difficulty,
    /// What its hash reached.
    pub reached: Difficulty,
    /// Height of the block that it was for.
    pub height: u32,
}

/// The ledger, and which connection is which worker.
pub(super) struct LedgerHandle {
    /// The pure part.
    pub core: Ledger,
    /// The worker of each connection.
    pub workers: BTreeMap<ConnId, WorkerId>,
    /// How often each worker has connected since the start.
    pub connects: HashMap<WorkerId, u64>,
    /// Outcome of each connection's latest shares: `None` for an accepted share.
    pub latest: BTreeMap<ConnId, VecDeque<Option<RejectReason>>>,
    /// Shares of miners that came back and have not said who they are: cgminer sends what was not answered
    /// before that.
    unnamed: VecDeque<(ConnId, CountedShare)>,
    /// `None` while a pool thread uses it.
    writer: Option<LedgerWriter>,
    /// The writer's next orders.
    waiting: Vec<LedgerOutput>,
    queue: Sender<Event>,
}

impl LedgerHandle {
    /// An empty ledger; the first tick reads the card.
    pub(super) fn new(now: Now, data: &Path, queue: Sender<Event>) -> LedgerHandle {
        let exe = std::env::current_exe().ok();
        LedgerHandle {
            core: Ledger::new(now),
            workers: BTreeMap::new(),
            connects: HashMap::new(),
            latest: BTreeMap::new(),
            unnamed: VecDeque::new(),
            writer: Some(LedgerWriter::new(data.to_owned(), exe)),
            waiting: Vec::new(),
            queue,
        }
    }

    /// When the ledger's next tick is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.core.next_deadline()
    }

    /// Whether the last batch is written, or was given up.
    pub(super) fn is_closed(&self) -> bool {
        *self.core.storage() == Storage::Closed && self.writer.is_some()
    }

    /// Counts a connection of this worker.
    pub(super) fn connected(&mut self, worker: WorkerId) {
        *self.connects.entry(worker).or_default() += 1;
        // Forget the workers that the ledger dropped.
        if self.connects.len() > 2 * MAX_WORKERS {
            let ledger = &self.core;
            self.connects.retain(|worker, _| ledger.get(*worker).is_some());
        }
    }

    /// What is kept of a worker's difficulty.
    pub(super) fn saved(&self, id: WorkerId) -> Option<Saved> {
        let worker = self.core.get(id)?;
        let level = worker.level.map(|difficulty| Saved::Level { difficulty, wish: worker.wish });
        worker.fixed.map(Saved::Fixed).or(level)
    }

    /// Keeps a share until its miner says who it is.
    pub(super) fn keep_unnamed(&mut self, conn: ConnId, share: CountedShare) {
        if self.unnamed.len() >= UNNAMED_MAX {
            self.unnamed.pop_front();
        }
        self.unnamed.push_back((conn, share));
    }

    /// The shares of a miner that has said who it is now, or is gone.
    pub(super) fn take_unnamed(&mut self, conn: ConnId) -> Vec<CountedShare> {
        let (its, others): (VecDeque<_>, VecDeque<_>) =
            self.unnamed.drain(..).partition(|(other, _)| *other == conn);
        self.unnamed = others;
        its.into_iter().map(|(_, share)| share).collect()
    }

    /// Notes the outcome of a share.
    pub(super) fn share_was(&mut self, conn: ConnId, refused: Option<RejectReason>) {
        let latest = self.latest.entry(conn).or_default();
        if latest.len() >= LATEST {
            latest.pop_front();
        }
        latest.push_back(refused);
    }

    fn work(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let Some(mut writer) = self.writer.take() else { return };
        let output = self.waiting.remove(0);
        let queue = self.queue.clone();
        blocking::unblock(move || {
            if let Some(answer) = writer.work(&output) {
                queue.send_blocking(Event::Ledger(Box::new((writer, answer)))).ok();
            }
        })
        .detach();
    }
}

impl State {
    pub(super) fn ledger_event(&mut self, now: Now, event: LedgerEvent) {
        let mut outputs = Vec::new();
        self.ledger.core.handle(now, event, &mut outputs);
        for output in outputs {
            match output {
                LedgerOutput::NewBest(best) => {
                    let name = self.shown_name(self.ledger.core.name(best.worker));
                    let difficulty = crate::difficulty::Difficulty(best.difficulty);
                    let text = format!("New best share: {difficulty} by {name}.");
                    self.tell(now, EventKind::Best, Level::Info, text);
                }
                LedgerOutput::Open | LedgerOutput::Save(_) => self.ledger.waiting.push(output),
            }
        }
        self.ledger.work();
    }

    pub(super) fn ledger_answer(
        &mut self,
        now: Now,
        (writer, answer): (LedgerWriter, LedgerEvent),
    ) {
        self.ledger.writer = Some(writer);
        let notes: Vec<String> = match &answer {
            LedgerEvent::Opened(opened) => opened.notes.clone(),
            LedgerEvent::OpenFailed(why) => vec![format!("The ledger cannot be opened: {why}.")],
            LedgerEvent::Saved(Ok(report)) => report.notes.clone(),
            LedgerEvent::Saved(Err(why)) => vec![format!("The ledger cannot be written: {why}.")],
            _ => Vec::new(),
        };
        for note in notes {
            self.tell(now, EventKind::System, Level::Warning, note);
        }
        let opened = matches!(answer, LedgerEvent::Opened(_));
        let saved = matches!(answer, LedgerEvent::Saved(Ok(_)));
        let early = self.ledger.core.shares();
        self.ledger_event(now, answer);
        if saved {
            self.forget_blocks();
            self.forget_saved_shares();
        }
        if opened {
            self.look_at_earlier_runs(now);
            self.count_missing_shares(now, early);
            self.book_kept_blocks(now);
            self.recognise_miners(now);
            self.remind_miners(now);
        }
    }

    /// What was read may know a miner by another name, which connected before.
    fn recognise_miners(&mut self, now: Now) {
        let here: Vec<(ConnId, WorkerId)> =
            self.ledger.workers.iter().map(|(conn, worker)| (*conn, *worker)).collect();
        for (conn, was) in here {
            let Some(session) = self.engine.pool().session(conn) else { continue };
            let (user, device) = (session.worker().unwrap_or_default(), &session.profile().model);
            let (name, device) = (self.ledger_name(user, device, session.peer()), device.clone());
            let worker = self.ledger.core.worker(now, &name, &device);
            if worker == was {
                continue;
            }
            self.ledger.workers.insert(conn, worker);
            self.ledger_event(now, LedgerEvent::Disconnected(was));
            self.ledger_event(now, LedgerEvent::Connected(worker));
            if self.ledger.core.get(was).is_some_and(|was| was.totals().last_share == 0) {
                self.ledger_event(now, LedgerEvent::Forget(was));
            }
        }
    }

    /// Gives miners that connected before the ledger was read the data that it has about them.
    fn remind_miners(&mut self, now: Now) {
        let here = self.ledger.workers.iter();
        let inputs: Vec<Input> = here
            .filter_map(|(&conn, id)| {
                Some(match self.ledger.saved(*id)? {
                    Saved::Fixed(level) => Input::Fix { conn, difficulty: Some(level) },
                    saved @ Saved::Level { .. } => Input::Known { conn, saved },
                })
            })
            .collect();
        inputs.into_iter().for_each(|input| self.engine_input(now, input));
    }

    /// For the return of a miner: the difficulty that its shares proved, and what it wished for.
    pub(super) fn keep_difficulty(
        &mut self,
        now: Now,
        worker: WorkerId,
        level: Option<f64>,
        wish: Option<f64>,
    ) {
        if let Some(difficulty) = wish {
            self.ledger_event(now, LedgerEvent::Wish { worker, difficulty });
        }
        if let Some(difficulty) = level {
            self.ledger_event(now, LedgerEvent::Level { worker, difficulty });
        }
    }

    pub(super) fn tick_ledger(&mut self, now: Now) {
        if self.ledger.next_deadline().is_some_and(|at| now.mono >= at) {
            self.ledger_event(now, LedgerEvent::Tick);
        }
    }

    /// Has everything written. `goes_on`: miners wait for the next run.
    pub(super) fn stop_ledger(&mut self, now: Now, goes_on: bool) {
        let here: Vec<_> = self
            .engine
            .pool()
            .sessions()
            .filter_map(|session| {
                let worker = *self.ledger.workers.get(&session.conn())?;
                Some((worker, session.proven_difficulty(), session.wish()))
            })
            .collect();
        for (worker, level, wish) in here {
            self.keep_difficulty(now, worker, level, wish);
        }
        self.ledger_event(now, if goes_on { LedgerEvent::Pause } else { LedgerEvent::Stop });
    }
}
