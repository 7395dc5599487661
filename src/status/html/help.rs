//! The owner's manual, `docs/`, as it is served by the box: without the Internet, and beside the alarm that it
//! explains. `build.rs` has made HTML of it.

use maud::{Markup, PreEscaped, html};

/// A chapter of the manual.
#[derive(Clone, Copy, Debug)]
pub struct Chapter {
    /// Its name in the path; empty for the index.
    pub name: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// All of it.
    pub html: &'static str,
}

/// The index and all chapters, in the order of the index.
pub const CHAPTERS: &[Chapter] = include!(concat!(env!("OUT_DIR"), "/manual.rs"));

/// The page of a chapter.
pub(super) fn page(chapter: &Chapter) -> Markup {
    html! {
        p.back {
            @if chapter.name.is_empty() { a href="/" { "← The page" } }
            @else { a href="/help" { "← All chapters" } }
        }
        article.help { (PreEscaped(chapter.html)) }
    }
}
