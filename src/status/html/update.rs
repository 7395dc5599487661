//! New versions: the line at the top of the page, and the page about them.

use maud::{Markup, html};

use crate::status::{FailureView, Snapshot, UpdateView, format};

use super::{View, age};

/// The line at the top; nothing as long as there is no news.
pub(super) fn news(s: &Snapshot) -> Markup {
    let update = s.update.as_ref().filter(|update| update.step != "none");
    html! {
        @if let Some(release) = update.and_then(|update| update.release.as_ref()) {
            p { a href="/update" { "Version " (release.version) " is there: what changes" } }
        }
    }
}

/// The page.
pub(super) fn page(view: &View<'_>) -> Markup {
    html! {
        p.back { a href="/" { "← To the box" } }
        h1 { "New versions" }
        @match &view.s.update {
            Some(update) => div.words { (known(view, update)) },
            None => {
                p.do { "No update feed is read: feed below [update] names one." }
                p.quiet { a href="/help/updates" { "What that is" } }
            }
        }
    }
}

fn known(view: &View<'_>, update: &UpdateView) -> Markup {
    html! {
        p.do { (update.summary) }
        (state(update))
        @if let Some(withdrawn) = &update.withdrawn {
            p { b { "This version should not be run any more: " } (withdrawn.reason) }
        }
        @if let Some(release) = update.release.as_ref().filter(|_| update.step != "none") {
            section.part {
                h2 { "What changes" }
                div {
                    ul { @for point in points(&release.changes) { li { (point) } } }
                    p.quiet { (format::bytes(release.size)) ", released " (release.date) "." }
                }
            }
            section.part {
                h2 { "Install" }
                div {
                    @if update.can_install {
                        p {
                            "By hand in the " a href="/settings#update" { "settings" } ", after the PIN. The miners \
                             mine on until the box starts anew, which takes a minute. If the new version does not \
                             prove itself, this one comes back by itself."
                        }
                    } @else {
                        p {
                            "This program did not come with the box's image: update its package or its container in \
                             the way in which it was installed."
                        }
                    }
                }
            }
        }
        section.part {
            h2 { "The feed" }
            div { (feed(view, update)) }
        }
    }
}

/// What is under way, and what went wrong.
pub(crate) fn state(update: &UpdateView) -> Markup {
    let version = update.release.as_ref().map_or("", |release| release.version.as_str());
    let size = update.release.as_ref().map_or(0, |release| release.size);
    html! {
        @match update.phase.as_str() {
            "fetching" => p role="status" {
                "Version " (version) " is being fetched: " (format::bytes(update.fetched)) " of "
                (format::bytes(size)) "."
            },
            "ready" => p role="status" {
                "Version " (version) " is on the card"
                @if update.waits_for.is_empty() { "." }
                @else { ". It is installed when " (update.waits_for) "." }
            },
            "installing" => p role="status" { "Version " (version) " is being installed." },
            _ => {}
        }
        @if update.clock_behind {
            p { b.bad { "The clock of this box shows an earlier time than the feed was made at: it is wrong. No \
                update is installed by itself until it is right." } }
        }
        @if let Some(failure) = &update.install_failure {
            p { b.bad { "Version " (failure.version) " is not installed: " (why(failure)) } " " (failure.remedy) }
        }
        @if let Some(failure) = &update.check_failure {
            p { b.bad { "The update feed cannot be used: " (why(failure)) } " " (failure.remedy) }
        }
    }
}

fn why(failure: &FailureView) -> String {
    format!("{}.", format::tame_to(failure.why.trim_end_matches('.'), 300))
}

fn feed(view: &View<'_>, update: &UpdateView) -> Markup {
    html! {
        p { (update.feed) }
        p {
            @match update.checked_at {
                Some(at) => { "Last read " (view.ago(at)) "." }
                None => "Not read yet.",
            }
            @if let Some(at) = update.next_check_at { " Read next on " (age::date(at)) "." }
        }
        @if let (Some(serial), Some(issued)) = (update.serial, update.issued_at) {
            p {
                "The newest that was seen has number " (serial) " and was made on " (age::date(issued)) ", "
                (view.ago(issued)) ". A feed that somebody holds back looks like one that has not changed."
            }
        }
        p.quiet {
            @match (update.mode.as_str(), update.can_install) {
                ("install", true) => "A new version is installed by itself at the hour of the settings.",
                ("install", false) => "The settings say that it be installed, but only the box can do that: it is told alone.",
                _ => "A new version is told, and installed on your press alone.",
            }
            " " a href="/help/updates" { "More about updates" }
        }
    }
}

/// The text on what changes has a point a line, often with a dash before it.
fn points(changes: &str) -> impl Iterator<Item = &str> {
    let lines = changes.lines().map(|line| line.trim().trim_start_matches("- "));
    lines.filter(|line| !line.is_empty())
}
