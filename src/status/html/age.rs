//! Ages and dates. The script finds them by `data-a` (an age), `data-t` (an age with "ago") and
//! `data-d` (a date) and keeps them current in the reader's own time zone.

use maud::{Markup, html};

use crate::status::format;

/// Who writes the ages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ages {
    /// We do: for a whole page.
    Told,
    /// The browser does: for live parts, which then change only when there is news.
    Counted,
}

/// `12 s ago`.
pub(super) fn ago(ages: Ages, now: u64, at: u64) -> Markup {
    html! { time data-t=(at) { @if ages == Ages::Told { (duration(now, at)) " ago" } } }
}

/// `12 s`.
pub(super) fn age(ages: Ages, now: u64, at: u64) -> Markup {
    html! { time data-a=(at) { @if ages == Ages::Told { (duration(now, at)) } } }
}

/// `2026-11-21 07:39 UTC`.
pub(super) fn date(at: u64) -> Markup {
    html! { time data-d=(at) { (format::date(at)) } }
}

fn duration(now: u64, at: u64) -> String {
    format::duration(now.saturating_sub(at))
}
