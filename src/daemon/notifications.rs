//! Notifications: news goes to the services that the owner configured.
//!
//! Mining never waits for them: the pure parts run every few seconds and cost microseconds, and
//! requests are sent from the blocking pool, on a few of its threads at most.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::clock::Now;
use crate::config::Config;
use crate::ledger::totals::Storage;
use crate::notify::{self, Input, Outbox, Request, SendId, SinkId, Watch};
use crate::status::{SinkView, verdict};

use super::{Event, State};

/// How often the state is checked for news.
const INTERVAL: Duration = Duration::from_secs(5);
/// Maximum time to wait for the ledger at the start: what it already holds is no news.
const LEDGER_AT_MOST: Duration = Duration::from_secs(60);
/// Maximum requests at once. The pool's other threads are for the ledger and the rehearsals.
const FLYING_MAX: usize = 2;

/// What was reported, and which requests are waiting.
pub(super) struct Notifications {
    watch: Watch,
    outbox: Outbox,
    /// Requests that wait for a pool thread: at most one for each sink.
    waiting: VecDeque<(SendId, Request)>,
    flying: usize,
    /// When the state is checked next; `None` without any sink.
    look: Option<Instant>,
}

impl Notifications {
    /// A state in which nothing has been reported.
    pub(super) fn new(now: Now, config: &Config) -> Notifications {
        let mut notifications = Notifications {
            watch: Watch::new(),
            outbox: Outbox::new("", Vec::new()),
            waiting: VecDeque::new(),
            flying: 0,
            look: None,
        };
        notifications.reload(now, config);
        notifications
    }

    /// Applies the configured sinks.
    pub(super) fn reload(&mut self, now: Now, config: &Config) {
        self.outbox.reload(&config.http.name, config.notify.clone());
        if config.notify.is_empty() {
            // A sink that is added later gets the news from then on.
            self.watch = Watch::new();
            self.look = None;
        } else if self.look.is_none() {
            self.look = Some(now.mono);
        }
    }

    /// The wall clock was set, by so many seconds.
    pub(super) fn clock_set(&mut self, by: i64) {
        self.outbox.clock_set(by);
    }

    /// When there is something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [self.look, self.outbox.next_deadline()].into_iter().flatten().min()
    }

    /// The places in the order of the config.
    pub(super) fn ids(&self) -> Vec<SinkId> {
        self.outbox.ids()
    }

    /// For the page.
    pub(super) fn views(&self) -> Vec<SinkView> {
        self.outbox.views()
    }
}

impl State {
    pub(super) fn tick_notifications(&mut self, now: Now) {
        if self.notifications.look.is_some_and(|at| now.mono >= at) {
            self.notifications.look = Some(now.mono + INTERVAL);
            self.look(now);
        }
        if self.notifications.outbox.next_deadline().is_some_and(|at| now.mono >= at) {
            self.notifications_input(now, Input::Tick);
        }
    }

    /// Takes the result of a request.
    pub(super) fn sent(&mut self, now: Now, id: SendId, result: Result<(), String>) {
        self.notifications.flying -= 1;
        if let Err(error) = &result {
            log::warn!("A notification was not sent: {error}.");
        }
        self.notifications_input(now, Input::Done(id, result));
    }

    /// Whether the ledger is still being read, and is worth waiting for.
    pub(super) fn is_ledger_loading(&self, now: Now) -> bool {
        let loading = matches!(self.ledger.core.storage(), Storage::Loading { .. });
        loading && now.mono.saturating_duration_since(self.started.mono) < LEDGER_AT_MOST
    }

    fn look(&mut self, now: Now) {
        if self.is_ledger_loading(now) {
            return;
        }
        let snapshot = self.snapshot(now);
        let verdict = verdict(&snapshot);
        let mut news = Vec::new();
        self.notifications.watch.handle(now, &snapshot, &verdict, &mut news);
        for message in news {
            self.notifications_input(now, Input::Tell(message));
        }
    }

    pub(super) fn notifications_input(&mut self, now: Now, input: Input) {
        let mut due = Vec::new();
        self.notifications.outbox.handle(now, input, &mut due);
        self.notifications.waiting.extend(due);
        while self.notifications.flying < FLYING_MAX
            && let Some((id, request)) = self.notifications.waiting.pop_front()
        {
            self.notifications.flying += 1;
            let queue = self.queue.clone();
            let send = async move {
                let result = notify::send(request).await.map_err(|error| error.to_string());
                queue.send(Event::Sent(id, result)).await.ok();
            };
            self.executor.spawn(send).detach();
        }
    }
}
