//! The live channel: server-sent events with the parts of the page that changed.
//!
//! For each reader the module remembers which parts it has sent. The parts are rendered once for
//! all readers. The browser updates ages, so an unchanged part is not sent.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_io::Timer;
use hyper::body::{Bytes, Frame};

use crate::status::html::Section;

/// A comment line keeps the connection alive when nothing changes for this long.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What each share changes is sent again only when it has so many bytes a second for what was sent of it:
/// a phone's connection may be slow. That is a list's rows, and [`UNHURRIED`] parts.
const BYTES_PER_SECOND: f64 = 300.0;
/// They change with each share and tell nothing that is in a hurry.
const UNHURRIED: [&str; 1] = ["odds"];

/// What was sent last of a part.
#[derive(Clone, Copy, Default)]
struct Sent {
    hash: u64,
    /// When it, or a row of it, may be sent again, since the reader came.
    free_at: Duration,
}

/// The endless body of one reader.
pub struct Live {
    sections: Box<dyn Fn() -> (u64, Rc<[Section]>)>,
    interval: Duration,
    timer: Timer,
    updates: Updates,
    /// Since the beginning.
    passed: Duration,
    silent: Duration,
}

/// What one reader has been sent, and what is to be sent next. Pure.
#[derive(Default)]
pub struct Updates {
    sent: HashMap<String, Sent>,
    begun: bool,
}

impl Live {
    /// `sections` gives the present time (Unix seconds) and the parts of the page.
    pub fn new(interval: Duration, sections: Box<dyn Fn() -> (u64, Rc<[Section]>)>) -> Live {
        Live {
            sections,
            interval,
            timer: Timer::after(Duration::ZERO),
            updates: Updates::default(),
            passed: Duration::ZERO,
            silent: Duration::ZERO,
        }
    }

    /// Waits for the next news.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Frame<Bytes>> {
        loop {
            if Pin::new(&mut self.timer).poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.timer = Timer::after(self.interval);
            self.silent += self.interval;
            self.passed += self.interval;
            let (now, sections) = (self.sections)();
            if let Some(text) = self.updates.next(self.passed, now, &sections) {
                self.silent = Duration::ZERO;
                return Poll::Ready(Frame::data(text.into()));
            }
            if self.silent >= KEEP_ALIVE {
                self.silent = Duration::ZERO;
                return Poll::Ready(Frame::data(Bytes::from_static(b": still here\n\n")));
            }
        }
    }
}

impl Updates {
    /// The events for these parts of the page, if any; `passed` is the time since the reader came, `now`
    /// that of the parts, Unix seconds.
    pub fn next(&mut self, passed: Duration, now: u64, sections: &[Section]) -> Option<String> {
        let mut out = String::new();
        if !std::mem::replace(&mut self.begun, true) {
            out.push_str("retry: 3000\n\n");
        }
        // What is there no longer is forgotten with the map of before.
        let before = std::mem::take(&mut self.sent);
        for section in sections.iter() {
            let all = if section.rows.is_empty() { &section.html } else { &section.frame };
            let hash = hash_of(all);
            let known = before.get(&section.id).copied();
            let waits = known.is_some_and(|known| known.free_at > passed);
            let is_new = known.is_none_or(|known| known.hash != hash);
            if waits && (!is_new || UNHURRIED.contains(&section.id.as_str())) {
                // It keeps its turn: what has changed by then is sent then.
                let kept = section.rows.iter().chain([section]).map(|part| &part.id);
                let kept = kept.filter_map(|id| Some((id.clone(), *before.get(id)?)));
                self.sent.extend(kept);
                continue;
            }
            let start = out.len();
            if is_new {
                event(&mut out, section);
            }
            for row in &section.rows {
                let hash = hash_of(&row.html);
                // It may just have been sent with the whole.
                if !is_new && before.get(&row.id).is_none_or(|known| known.hash != hash) {
                    event(&mut out, row);
                }
                self.sent.insert(row.id.clone(), Sent { hash, ..Sent::default() });
            }
            let pause = Duration::from_secs_f64((out.len() - start) as f64 / BYTES_PER_SECOND);
            self.sent.insert(section.id.clone(), Sent { hash, free_at: passed + pause });
        }
        if out.is_empty() {
            return None;
        }
        out.push_str(&format!("event: now\ndata: {now}\n\n"));
        Some(out)
    }
}

fn hash_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// One event: the part's id as its name. A line break in the data needs a `data:` of its own; a
/// carriage return counts as one.
fn event(out: &mut String, section: &Section) {
    out.push_str("event: part\ndata: ");
    out.push_str(&section.id);
    for line in section.html.split(['\n', '\r']) {
        out.push_str("\ndata: ");
        out.push_str(line);
    }
    out.push_str("\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(id: &str, html: &str) -> Section {
        Section { id: id.to_owned(), html: html.to_owned(), ..Section::default() }
    }

    fn news_of(live: &mut Live) -> Option<String> {
        let (now, sections) = (live.sections)();
        live.updates.next(live.passed, now, &sections)
    }

    #[test]
    fn a_row_is_sent_alone_and_all_of_them_only_with_a_new_frame() {
        let now = Rc::new(std::cell::RefCell::new(("frame", "x")));
        let shared = now.clone();
        let mut live = Live::new(
            Duration::from_secs(1),
            Box::new(move || {
                let (frame, row) = *shared.borrow();
                let list = Section {
                    rows: vec![section("r1", row), section("r2", "y")],
                    frame: frame.to_owned(),
                    ..section("list", &format!("{frame} {row} y"))
                };
                (7, vec![list].into())
            }),
        );
        let mut news = || {
            live.passed += Duration::from_secs(1);
            news_of(&mut live).map(|text| text.replace("event: now\ndata: 7\n\n", ""))
        };
        assert_eq!(news().unwrap(), "retry: 3000\n\nevent: part\ndata: list\ndata: frame x y\n\n");
        assert_eq!(news(), None);
        *now.borrow_mut() = ("frame", "z");
        assert_eq!(news().unwrap(), "event: part\ndata: r1\ndata: z\n\n");
        *now.borrow_mut() = ("new", "w");
        assert_eq!(news().unwrap(), "event: part\ndata: list\ndata: new w y\n\n");
        assert_eq!(news(), None);
    }

    #[test]
    fn only_changed_parts_are_sent_and_lines_cannot_break_out() {
        let html = Rc::new(std::cell::RefCell::new("one".to_owned()));
        let shared = html.clone();
        let mut live = Live::new(
            Duration::from_secs(1),
            Box::new(move || {
                let sections = vec![section("a", &shared.borrow()), section("b", "same")];
                (7, sections.into())
            }),
        );
        let first = news_of(&mut live).unwrap();
        assert_eq!(
            first,
            "retry: 3000\n\nevent: part\ndata: a\ndata: one\n\n\
             event: part\ndata: b\ndata: same\n\nevent: now\ndata: 7\n\n"
        );
        live.passed += Duration::from_secs(1);
        assert_eq!(news_of(&mut live), None);
        *html.borrow_mut() = "two\r\n\nevent: part".to_owned();
        assert_eq!(
            news_of(&mut live).unwrap(),
            "event: part\ndata: a\ndata: two\ndata: \ndata: \ndata: event: part\n\n\
             event: now\ndata: 7\n\n"
        );
    }

    #[test]
    fn what_changes_all_the_time_waits_for_its_turn_and_what_is_urgent_does_not() {
        let count = Rc::new(std::cell::Cell::new(0));
        let shared = count.clone();
        let mut live = Live::new(
            Duration::from_secs(1),
            Box::new(move || {
                let text = format!("{:06000}", shared.get());
                let sections = vec![section("odds", &text), section("state", &text[5_900..])];
                (7, sections.into())
            }),
        );
        let (mut odds, mut states) = (Vec::new(), 0);
        for second in 0..100 {
            count.set(second);
            live.passed += Duration::from_secs(1);
            let news = news_of(&mut live).unwrap();
            odds.extend(news.contains("data: odds").then_some(second));
            states += usize::from(news.contains("data: state"));
        }
        // 6,000 bytes take twenty seconds, and the newest are sent.
        assert_eq!((odds, states), (vec![0, 21, 42, 63, 84], 100));
    }
}
