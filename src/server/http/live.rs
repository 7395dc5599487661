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
    sent: HashMap<&'static str, u64>,
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
        for section in sections.iter() {
            let mut hasher = DefaultHasher::new();
            section.html.hash(&mut hasher);
            let hash = hasher.finish();
            if self.sent.insert(section.id, hash) != Some(hash) {
                event(&mut out, section);
            }
        }
        if out.is_empty() {
            return None;
        }
        out.push_str(&format!("event: now\ndata: {now}\n\n"));
        Some(out)
    }
}

/// One event: the part's id as its name. A line break in the data needs a `data:` of its own; a
/// carriage return counts as one.
fn event(out: &mut String, section: &Section) {
    out.push_str("event: part\ndata: ");
    out.push_str(section.id);
    for line in section.html.split(['\n', '\r']) {
        out.push_str("\ndata: ");
        out.push_str(line);
    }
    out.push_str("\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changed_parts_are_sent_and_lines_cannot_break_out() {
        let html = Rc::new(std::cell::RefCell::new("one".to_owned()));
        let shared = html.clone();
        let mut live = Live::new(
            Duration::from_secs(1),
            Box::new(move || {
                let sections = vec![
                    Section { id: "a", html: shared.borrow().clone() },
                    Section { id: "b", html: "same".to_owned() },
                ];
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
