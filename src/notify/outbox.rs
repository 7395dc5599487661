//! Delivery of notifications: queues, retries and limits per sink. Pure.
//!
//! ```text
//!            Tell                  due, none in flight          Done(Ok)
//!   (none) ───────▶ Waiting(1st) ──────────────────────▶ Flying ─────────▶ (gone, sent + 1)
//!                      ▲                                    │ Done(Err)
//!                      └── after 2, 10, 30 s ───────────────┤
//!                                                           └─ fourth ───▶ (gone, failed + 1)
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::clock::Now;

use super::{Message, Request, Sink, Topic};
use crate::status::{Level, SinkView};

/// Pauses before the second, third and fourth try.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(2), Duration::from_secs(10), Duration::from_secs(30)];
/// Messages that wait for one sink; then the oldest one that is not about a block goes.
const WAITING_MAX: usize = 32;
/// Sinks that are there no longer and still have something to tell.
const LEAVING_MAX: usize = 8;
/// Messages per sink and hour, after a burst of as many. Blocks and tests pass without.
const PER_HOUR: f64 = 20.0;

/// A try under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SendId(u64);

/// A place in this run: another one as soon as its messages go elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SinkId(pub u64);

/// What the outbox is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// Something to tell.
    Tell(Message),
    /// The test button of one sink, by its place in the list.
    Test(usize),
    /// The last message to one sink, by its place in the list; [`Outbox::reload`] without it follows.
    Farewell(usize, String),
    /// How a try went; an error in words without secrets.
    Done(SendId, Result<(), String>),
    /// Time has passed.
    Tick,
}

/// The queues of all sinks.
#[derive(Debug)]
pub struct Outbox {
    name: String,
    lanes: Vec<Lane>,
    /// Of sinks that are there no longer, until their queues are empty.
    leaving: Vec<Lane>,
    next_id: u64,
    next_sink: u64,
}

#[derive(Debug)]
struct Lane {
    id: SinkId,
    sink: Sink,
    waiting: VecDeque<Waiting>,
    flying: Option<(SendId, Waiting)>,
    tokens: f64,
    tokens_at: Option<Instant>,
    view: SinkView,
}

#[derive(Debug)]
struct Waiting {
    message: Message,
    tries: usize,
    due: Instant,
}

impl Outbox {
    /// Empty queues. `name` is the appliance's.
    pub fn new(name: &str, sinks: Vec<Sink>) -> Outbox {
        let mut outbox = Outbox {
            name: String::new(),
            lanes: Vec::new(),
            leaving: Vec::new(),
            next_id: 0,
            next_sink: 0,
        };
        outbox.reload(name, sinks);
        outbox
    }

    /// The sinks in their order.
    pub fn ids(&self) -> Vec<SinkId> {
        self.lanes.iter().map(|lane| lane.id).collect()
    }

    /// Each sink with its counts, for the page.
    pub fn views(&self) -> Vec<SinkView> {
        self.lanes.iter().map(|lane| lane.view.clone()).collect()
    }

    /// The wall clock was set, by so many seconds: what is dated here is dated anew.
    pub fn clock_set(&mut self, by: i64) {
        for lane in self.lanes.iter_mut().chain(&mut self.leaving) {
            let flying = lane.flying.iter_mut().map(|(_, waiting)| waiting);
            let waiting = lane.waiting.iter_mut().chain(flying);
            let dates = waiting.map(|waiting| &mut waiting.message.at);
            let told = lane.view.last_ok_at.iter_mut().chain(&mut lane.view.failed_at);
            for date in dates.chain(told) {
                *date = date.saturating_add_signed(by);
            }
        }
    }

    /// Other sinks from now on. Those that stay, maybe with other topics, keep their queues and counts;
    /// those that go are told what waits for them.
    pub fn reload(&mut self, name: &str, sinks: Vec<Sink>) {
        name.clone_into(&mut self.name);
        let mut old = std::mem::take(&mut self.lanes);
        for sink in sinks {
            let lane = match old.iter().position(|lane| lane.sink.kind == sink.kind) {
                Some(place) => Lane { sink, ..old.remove(place) },
                None => {
                    self.next_sink += 1;
                    Lane::new(SinkId(self.next_sink), sink)
                }
            };
            self.lanes.push(lane);
        }
        self.leaving.extend(old.into_iter().filter(|lane| !lane.is_idle()));
        let too_many = self.leaving.len().saturating_sub(LEAVING_MAX);
        self.leaving.drain(..too_many);
    }

    /// Takes an input and adds to `out` what is to be sent: on a pool thread, to be reported by
    /// [`Input::Done`].
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<(SendId, Request)>) {
        match input {
            Input::Tell(message) => {
                for lane in self.lanes.iter_mut().filter(|lane| lane.sink.wants(message.topic)) {
                    lane.tell(now, message.clone());
                }
            }
            Input::Test(place) => {
                if let Some(lane) = self.lanes.get_mut(place) {
                    lane.tell(now, test_message(now));
                }
            }
            Input::Farewell(place, text) => {
                if let Some(lane) = self.lanes.get_mut(place) {
                    lane.waiting.push_back(Waiting::new(now, farewell(now, text)));
                }
            }
            Input::Done(id, result) => {
                let done = |lane: &&mut Lane| lane.flying.as_ref().is_some_and(|(f, _)| *f == id);
                if let Some(lane) = self.all().find(done) {
                    lane.done(now, result);
                }
            }
            Input::Tick => {}
        }
        for lane in self.lanes.iter_mut().chain(&mut self.leaving) {
            lane.fly(now, &self.name, &mut self.next_id, out);
        }
        self.leaving.retain(|lane| !lane.is_idle());
    }

    /// When [`Input::Tick`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let all = self.lanes.iter().chain(&self.leaving);
        let idle = all.filter(|lane| lane.flying.is_none());
        idle.filter_map(|lane| lane.waiting.iter().map(|w| w.due).min()).min()
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.lanes.iter_mut().chain(&mut self.leaving)
    }
}

impl Waiting {
    fn new(now: Now, message: Message) -> Waiting {
        Waiting { message, tries: 0, due: now.mono }
    }
}

impl Lane {
    fn new(id: SinkId, sink: Sink) -> Lane {
        let kind = sink.kind.service().words.to_owned();
        Lane {
            id,
            sink,
            waiting: VecDeque::new(),
            flying: None,
            tokens: PER_HOUR,
            tokens_at: None,
            view: SinkView { kind, ..SinkView::default() },
        }
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.flying.is_none()
    }

    fn tell(&mut self, now: Now, message: Message) {
        if !matches!(message.topic, Topic::Block | Topic::Test) && !self.take_token(now.mono) {
            self.view.failed += 1;
            self.view.failed_at = Some(now.unix);
            "too many messages within an hour".clone_into(&mut self.view.error);
            return;
        }
        if self.waiting.len() >= WAITING_MAX {
            let ordinary = self.waiting.iter().position(|w| w.message.topic != Topic::Block);
            self.waiting.remove(ordinary.unwrap_or(0));
            self.view.failed += 1;
        }
        let waiting = Waiting::new(now, message);
        // A block overtakes everything else.
        if waiting.message.topic == Topic::Block {
            let ordinary = self.waiting.iter().position(|w| w.message.topic != Topic::Block);
            self.waiting.insert(ordinary.unwrap_or(self.waiting.len()), waiting);
        } else {
            self.waiting.push_back(waiting);
        }
    }

    fn take_token(&mut self, now: Instant) -> bool {
        let before = self.tokens_at.replace(now).unwrap_or(now);
        let passed = now.saturating_duration_since(before).as_secs_f64();
        self.tokens = (self.tokens + passed * PER_HOUR / 3600.0).min(PER_HOUR);
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }

    fn done(&mut self, now: Now, result: Result<(), String>) {
        let Some((_, mut waiting)) = self.flying.take() else {
            return;
        };
        match result {
            Ok(()) => {
                self.view.sent += 1;
                self.view.last_ok_at = Some(now.unix);
                self.view.error.clear();
            }
            Err(error) => {
                self.view.error = error;
                self.view.failed_at = Some(now.unix);
                self.view.failed_tries += 1;
                match PAUSES.get(waiting.tries) {
                    Some(pause) => {
                        waiting.tries += 1;
                        waiting.due = now.mono + *pause;
                        self.waiting.push_front(waiting);
                    }
                    None => self.view.failed += 1,
                }
            }
        }
    }

    fn fly(&mut self, now: Now, name: &str, next_id: &mut u64, out: &mut Vec<(SendId, Request)>) {
        if self.flying.is_some() {
            return;
        }
        let Some(place) = self.waiting.iter().position(|waiting| waiting.due <= now.mono) else {
            return;
        };
        if let Some(waiting) = self.waiting.remove(place) {
            let id = SendId(*next_id);
            *next_id += 1;
            out.push((id, self.sink.kind.request(name, &waiting.message)));
            self.flying = Some((id, waiting));
        }
    }
}

/// What a place is tried with.
pub fn test_message(now: Now) -> Message {
    Message {
        topic: Topic::Test,
        level: Level::Info,
        title: "Test".to_owned(),
        text: "Notifications work.".to_owned(),
        at: now.unix,
    }
}

/// Whoever takes a place away must not do it unseen by those who read there.
fn farewell(now: Now, text: String) -> Message {
    Message {
        topic: Topic::Alarm,
        level: Level::Warning,
        title: "No more messages here".to_owned(),
        text,
        at: now.unix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::SinkKind;
    use crate::status::Level;

    fn sink(topics: &[Topic]) -> Sink {
        let url = "http://example.org/x".to_owned();
        Sink { kind: SinkKind::Webhook { url }, topics: topics.to_vec() }
    }

    fn message(topic: Topic, title: &str) -> Message {
        let title = title.to_owned();
        Message { topic, level: Level::Info, title, text: String::new(), at: 0 }
    }

    struct Scene {
        outbox: Outbox,
        start: Instant,
    }

    impl Scene {
        fn new(sinks: Vec<Sink>) -> Scene {
            Scene { outbox: Outbox::new("solo", sinks), start: Instant::now() }
        }

        fn at(&mut self, second: u64, input: Input) -> Vec<(SendId, String)> {
            let now = Now { mono: self.start + Duration::from_secs(second), unix: second };
            let mut out = Vec::new();
            self.outbox.handle(now, input, &mut out);
            out.into_iter()
                .map(|(id, request)| {
                    let Request::Post(post) = request else { panic!("all are webhooks") };
                    let body: serde_json::Value = serde_json::from_slice(&post.body).unwrap();
                    (id, body["title"].as_str().unwrap().to_owned())
                })
                .collect()
        }

        fn stats(&self) -> SinkView {
            self.outbox.views().remove(0)
        }
    }

    #[test]
    fn only_what_is_switched_on_is_told_but_a_test_always() {
        let mut scene = Scene::new(vec![sink(&[Topic::Block]), sink(&[Topic::Node])]);
        let sent = scene.at(0, Input::Tell(message(Topic::Node, "n")));
        assert_eq!(sent.len(), 1);
        assert_eq!(scene.at(0, Input::Test(0)).len(), 1);
        assert_eq!(scene.at(0, Input::Test(7)).len(), 0);
    }

    #[test]
    fn a_failure_is_tried_again_after_2_10_and_30_seconds_and_then_given_up() {
        let mut scene = Scene::new(vec![sink(&[Topic::Node])]);
        let (mut id, _) = scene.at(0, Input::Tell(message(Topic::Node, "n")))[0].clone();
        let mut second = 0;
        for pause in [2, 10, 30] {
            assert!(scene.at(second, Input::Done(id, Err("no".to_owned()))).is_empty());
            let due = scene.outbox.next_deadline().unwrap();
            assert_eq!(due, scene.start + Duration::from_secs(second + pause));
            assert!(scene.at(second + pause - 1, Input::Tick).is_empty());
            second += pause;
            id = scene.at(second, Input::Tick)[0].0;
        }
        assert!(scene.at(second, Input::Done(id, Err("no".to_owned()))).is_empty());
        assert_eq!(scene.outbox.next_deadline(), None);
        assert_eq!((scene.stats().failed, scene.stats().error.as_str()), (1, "no"));
    }

    #[test]
    fn a_block_overtakes_and_is_never_dropped_or_limited() {
        let mut scene = Scene::new(vec![sink(&[Topic::Block, Topic::Node])]);
        let (flying, _) = scene.at(0, Input::Tell(message(Topic::Node, "first")))[0].clone();
        for i in 0..100 {
            scene.at(0, Input::Tell(message(Topic::Node, &format!("n{i}"))));
        }
        for i in 0..5 {
            scene.at(0, Input::Tell(message(Topic::Block, &format!("b{i}"))));
        }
        assert!(scene.outbox.lanes[0].waiting.len() <= WAITING_MAX);
        let mut id = flying;
        let mut order = Vec::new();
        while let Some((next, title)) = scene.at(1, Input::Done(id, Ok(()))).first().cloned() {
            order.push(title);
            id = next;
        }
        assert_eq!(order[..5], ["b0", "b1", "b2", "b3", "b4"]);
        // 20 of the 101 others were within the hour's limit, one of them had left already.
        assert_eq!(order.len(), 5 + 19);
        assert_eq!(scene.stats().sent, 25);
    }

    fn hook(host: &str, topics: &[Topic]) -> Sink {
        Sink {
            kind: SinkKind::Webhook { url: format!("http://{host}/x") },
            topics: topics.to_vec(),
        }
    }

    #[test]
    fn a_reload_keeps_the_queues_of_those_that_stay_also_with_other_topics() {
        let (stays, goes) = (hook("stays", &[Topic::Block]), hook("goes", &[Topic::Node]));
        let mut scene = Scene::new(vec![goes, stays.clone()]);
        scene.at(0, Input::Tell(message(Topic::Block, "first")));
        scene.at(0, Input::Tell(message(Topic::Block, "second")));
        let (gone, _) = scene.at(0, Input::Tell(message(Topic::Node, "n")))[0].clone();
        let ids = scene.outbox.ids();
        scene.outbox.reload("attic", vec![Sink { topics: vec![Topic::Miner], ..stays }]);
        assert_eq!(scene.outbox.ids(), ids[1..]);
        assert!(scene.at(1, Input::Done(gone, Ok(()))).is_empty(), "nothing waits for it");
        let next = scene.at(1, Input::Done(SendId(0), Ok(())));
        assert_eq!(next.len(), 1);
        assert_eq!(next[0].1, "second");
        assert_eq!(scene.stats().sent, 1);
        assert!(scene.at(1, Input::Tell(message(Topic::Block, "third"))).is_empty());
    }

    #[test]
    fn who_is_taken_away_hears_of_it_and_of_all_that_waits() {
        let mut scene = Scene::new(vec![hook("goes", &[Topic::Block])]);
        let (block, _) = scene.at(0, Input::Tell(message(Topic::Block, "b")))[0].clone();
        let before = scene.outbox.ids();
        assert!(scene.at(1, Input::Farewell(0, "gone".to_owned())).is_empty());
        scene.outbox.reload("solo", vec![hook("comes", &[Topic::Block])]);
        assert_ne!(scene.outbox.ids(), before, "messages go elsewhere: it is another one");
        // What failed waits its time, and is not forgotten.
        let (last, title) = scene.at(2, Input::Done(block, Err("no".to_owned())))[0].clone();
        assert_eq!(title, "No more messages here");
        scene.at(3, Input::Done(last, Ok(())));
        assert_eq!(scene.outbox.next_deadline(), Some(scene.start + Duration::from_secs(4)));
        let (block, title) = scene.at(4, Input::Tick)[0].clone();
        assert_eq!(title, "b");
        scene.at(5, Input::Done(block, Ok(())));
        assert!(scene.outbox.leaving.is_empty());
        assert_eq!(scene.stats(), SinkView { kind: "Webhook".to_owned(), ..SinkView::default() });
        // Changed again and again, nobody is kept for ever.
        for i in 0..3 * LEAVING_MAX {
            scene.at(7, Input::Farewell(0, String::new()));
            scene.outbox.reload("solo", vec![hook(&format!("h{i}"), &[Topic::Block])]);
        }
        assert_eq!(scene.outbox.leaving.len(), LEAVING_MAX);
    }

    #[test]
    fn a_late_answer_of_another_try_changes_nothing() {
        let mut scene = Scene::new(vec![sink(&[Topic::Node])]);
        scene.at(0, Input::Tell(message(Topic::Node, "n")));
        scene.at(0, Input::Done(SendId(99), Ok(())));
        assert_eq!(scene.stats(), SinkView { kind: "Webhook".to_owned(), ..SinkView::default() });
    }
}
