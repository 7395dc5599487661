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

/// The endless body of one reader.
pub struct Live {
    sections: Box<dyn Fn() -> (u64, Rc<[Section]>)>,
    interval: Duration,
    timer: Timer,
    sent: HashMap<String, u64>,
    silent: Duration,
    first: bool,
}

impl Live {
    /// `sections` gives the present time (Unix seconds) and the parts of the page.
    pub fn new(interval: Duration, sections: Box<dyn Fn() -> (u64, Rc<[Section]>)>) -> Live {
        Live {
            sections,
            interval,
            timer: Timer::after(Duration::ZERO),
            sent: HashMap::new(),
            silent: Duration::ZERO,
            first: true,
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
            if let Some(text) = self.news() {
                self.silent = Duration::ZERO;
                return Poll::Ready(Frame::data(text.into()));
            }
            if self.silent >= KEEP_ALIVE {
                self.silent = Duration::ZERO;
                return Poll::Ready(Frame::data(Bytes::from_static(b": still here\n\n")));
            }
        }
    }

    fn news(&mut self) -> Option<String> {
        let (now, sections) = (self.sections)();
        let mut out = String::new();
        if std::mem::take(&mut self.first) {
            out.push_str("retry: 3000\n\n");
        }
        // What is there no longer is forgotten with the map of before.
        let before = std::mem::take(&mut self.sent);
        for section in sections.iter() {
            let all = if section.rows.is_empty() { &section.html } else { &section.frame };
            let is_new = self.note(&before, section, all);
            if is_new {
                event(&mut out, section);
            }
            for row in &section.rows {
                // It has just been sent with the whole.
                if self.note(&before, row, &row.html) && !is_new {
                    event(&mut out, row);
                }
            }
        }
        if out.is_empty() {
            return None;
        }
        out.push_str(&format!("event: now\ndata: {now}\n\n"));
        Some(out)
    }

    /// Remembers what is sent of a section; whether that is news.
    fn note(&mut self, before: &HashMap<String, u64>, section: &Section, text: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = hasher.finish();
        self.sent.insert(section.id.clone(), hash);
        before.get(&section.id) != Some(&hash)
    }
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
        let mut news = || live.news().map(|text| text.replace("event: now\ndata: 7\n\n", ""));
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
        let first = live.news().unwrap();
        assert_eq!(
            first,
            "retry: 3000\n\nevent: part\ndata: a\ndata: one\n\n\
             event: part\ndata: b\ndata: same\n\nevent: now\ndata: 7\n\n"
        );
        assert_eq!(live.news(), None);
        *html.borrow_mut() = "two\r\n\nevent: part".to_owned();
        assert_eq!(
            live.news().unwrap(),
            "event: part\ndata: a\ndata: two\ndata: \ndata: \ndata: event: part\n\n\
             event: now\ndata: 7\n\n"
        );
    }
}
