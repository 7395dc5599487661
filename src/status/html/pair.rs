//! Two boxes as one: the part of the page, and the page of its own.

use maud::{Markup, html};

use crate::status::{
    AlarmKind, PairBoxView, PairPayout, PairView, PendingPayout, Snapshot, clocks, format,
};

use super::{View, age, fact, fours, overview};

/// A part of the page of its own.
pub(super) struct Part {
    pub id: &'static str,
    /// Heading in the margin; the part without one stands at the top.
    heading: Option<&'static str>,
    pub content: Markup,
}

/// On the page of the box: both, and which one serves the miners.
pub(super) fn overview(view: &View<'_>) -> Markup {
    let Some(pair) = &view.s.pair else { return html! {} };
    html! {
        (card(view, pair, &pair.own, true))
        @if let Some(other) = &pair.other { (card(view, pair, other, false)) }
        @else {
            p.quiet { "The other box, at " (format::tame_to(&pair.partner, 60)) ", was not heard yet." }
        }
        @if pair.payout.state != PairPayout::Agreed { p { (payout_words(pair)) } }
        p.line { a href="/pair" { "Both boxes" } }
    }
}

/// The page.
pub(super) fn page(view: &View<'_>) -> Markup {
    html! {
        p.back {
            a href="/" { "← To the box" }
            span.word.(overview::state_class(view.verdict.state)) { (view.verdict.state.word()) }
        }
        @if let Some(pair) = &view.s.pair {
            @for part in parts(view, pair) {
                @if let Some(heading) = part.heading {
                    section.part { h2 { (heading) } div id=(part.id) { (part.content) } }
                } @else { div id=(part.id) { (part.content) } }
            }
            p.quiet { a href="/settings#pair" { "Change or end it" } " " a href="/help/two-boxes" { "What this is" } }
        } @else {
            h1 { "Two boxes" }
            p.do { "This box is one by itself: no other takes its miners over when it fails." }
            p.quiet { a href="/settings#pair" { "Join a second box" } " " a href="/help/two-boxes" { "What that is" } }
        }
    }
}

/// What changes of it.
pub(super) fn parts(view: &View<'_>, pair: &PairView) -> [Part; 6] {
    let part = |id, heading, content| Part { id, heading: Some(heading), content };
    [
        Part { id: "pair-head", heading: None, content: head(view, pair) },
        part("pair-own", "This box", facts(view, pair, &pair.own, true)),
        part("pair-other", "The other box", other(view, pair)),
        part("pair-sum", "Together", together(pair)),
        part("pair-payout", "Payout", payout(view.s, pair)),
        part("pair-blocks", "Blocks", blocks(pair)),
    ]
}

fn head(view: &View<'_>, pair: &PairView) -> Markup {
    let of_pair = |kind: AlarmKind| kind.name().starts_with("pair_");
    html! {
        h1 { (headline(pair)) }
        p.do {
            @match (pair.connected, pair.since) {
                (true, Some(since)) => { "Connected since " (age::date(since)) "." }
                (false, Some(since)) => { "Last connected " (view.ago(since)) "." }
                (_, None) => { "Not connected since this box started." }
            }
            @if pair.lost.disconnects > 0 {
                " The connection was lost "
                @match pair.lost.disconnects {
                    1 => "once",
                    n => { (format::thousands(n)) " times" },
                }
                " since the start."
            }
        }
        @if let Some(drill) = &pair.drill {
            p.do { "Drill of " (age::date(drill.began_at)) ": " (drill.words()) }
        }
        @for alarm in view.verdict.alarms.iter().filter(|alarm| of_pair(alarm.kind)) {
            p.do.(overview::level(alarm.level)) {
                b { (alarm.text) } " " (alarm.advice) " " (overview::meaning(alarm.kind))
            }
        }
    }
}

/// Which box serves the miners.
fn headline(pair: &PairView) -> &'static str {
    let other = pair.other.as_ref().filter(|_| pair.connected);
    let Some(other) = other else {
        return match pair.own.active {
            Some(true) => "This box serves the miners, and is alone.",
            _ => "The other box is not connected.",
        };
    };
    match (pair.own.active, other.active) {
        _ if pair.virtual_address.is_none() => "Two boxes, without an address that moves.",
        (Some(true), Some(true)) => "Both boxes have the address of the miners.",
        (Some(true), _) if other.ready == Some(true) => {
            "This box serves the miners, and the other one stands by."
        }
        (Some(true), _) => "This box serves the miners, and the other one is not ready.",
        (_, Some(true)) if pair.own.ready == Some(true) => {
            "The other box serves the miners, and this one stands by."
        }
        (_, Some(true)) => "The other box serves the miners, and this one is not ready.",
        _ => "Neither box has the address of the miners.",
    }
}

/// What one of them is now.
fn role(pair: &PairView, one: &PairBoxView, is_own: bool) -> &'static str {
    match (one.active, one.ready) {
        _ if !is_own && !pair.connected => "not connected",
        (Some(true), _) => "has the address",
        (_, Some(true)) if pair.virtual_address.is_some() => "stands by",
        (_, Some(true)) => "ready",
        (_, Some(false)) => "not ready",
        (_, None) => "connected",
    }
}

fn card(view: &View<'_>, pair: &PairView, one: &PairBoxView, is_own: bool) -> Markup {
    let is_there = is_own || pair.connected;
    let class = match (is_there, one.ready) {
        (false, _) => "off",
        (true, Some(false)) => "wait",
        (true, _) => "on",
    };
    html! {
        article.node.(class) {
            h3 {
                @if is_own { "This box" } @else { "The other box" }
                " " span.pill { (role(pair, one, is_own)) }
            }
            p.line {
                span { (name(one)) }
                @if let (false, Some(since)) = (is_there, pair.since) { span { "last seen " (view.ago(since)) } }
                @if let Some(height) = one.height { span { "block " (format::thousands(height)) } }
                span { (miners(one.miners)) }
                @if one.hashrate > 0.0 { span { (format::hashrate(one.hashrate)) } }
            }
        }
    }
}

fn other(view: &View<'_>, pair: &PairView) -> Markup {
    html! {
        @if let Some(other) = &pair.other { (facts(view, pair, other, false)) }
        @else {
            p { "At " (format::tame_to(&pair.partner, 60)) ". It was not heard yet." }
        }
        @if let Some(words) = pair.not_understood() { p { (words) } }
    }
}

fn facts(view: &View<'_>, pair: &PairView, one: &PairBoxView, is_own: bool) -> Markup {
    let of_block = |height| html! { "block " (format::thousands(height)) };
    html! {
        dl.facts {
            (fact("Name", name(one), html! {
                "version " (format::tame_to(&one.version, 40))
            }))
            (fact("Now", role(pair, one, is_own), html! {
                @match (is_own || pair.connected, pair.since) {
                    (false, Some(since)) => { "as of " (view.ago(since)) },
                    _ => @match &pair.virtual_address {
                        Some(address) if one.active == Some(true) => (address),
                        _ => "",
                    }
                }
            }))
            (fact("Miners", format::thousands(one.miners), one.height.map_or_else(|| html! {}, of_block)))
            (fact("Hashrate", format::hashrate(one.hashrate), "in ten minutes"))
            (fact("Best share", best(one.best), ""))
            (fact("Blocks", format::thousands(one.blocks), undecided(one.undecided_blocks)))
            @if let Some(ahead) = one.clock_ahead_s {
                (fact("Clock", apart(ahead), "beside this box's"))
            }
        }
        @if let Some(page) = &one.page { p.line { a href=(page) { "Its own page" } } }
    }
}

fn together(pair: &PairView) -> Markup {
    let sum = &pair.together;
    html! {
        dl.facts {
            (fact("Miners", format::thousands(sum.miners), ""))
            (fact("Hashrate", format::hashrate(sum.hashrate), "in ten minutes"))
            (fact("Best share", best(sum.best), ""))
            (fact("Blocks", format::thousands(sum.blocks), ""))
        }
        p.quiet {
            "Each box counts what was sent to it. Nothing is counted in both, so the sums are right."
            @if !pair.connected && pair.other.is_some() { " The other box's part is of when it was last seen." }
        }
    }
}

fn payout(s: &Snapshot, pair: &PairView) -> Markup {
    let other = pair.other.as_ref().and_then(|other| other.pending.as_ref());
    html! {
        p { (payout_words(pair)) }
        @if pair.payout.state == PairPayout::Agreed && !s.payout.address.is_empty() {
            p { (fours(&s.payout.address)) }
        }
        @if let Some(address) = &pair.payout.address { p { (fours(address)) } }
        @if let Some(pending) = &s.payout.pending { (waits(pending, "here")) }
        @if let Some(pending) = other { (waits(pending, "at the other box")) }
    }
}

/// A change that waits for its time on one of the boxes.
fn waits(pending: &PendingPayout, place: &str) -> Markup {
    html! {
        p { "A new address was entered " (place) ", and is asked for on " (age::date(pending.due_at)) ":" }
        p { (fours(&pending.address)) }
    }
}

fn payout_words(pair: &PairView) -> &'static str {
    match (pair.payout.state, pair.connected) {
        (PairPayout::Agreed, _) => "Both boxes pay the same address, and neither changes it alone.",
        (PairPayout::Apart, _) if pair.payout.address.is_some() => {
            "Nothing is agreed: the other box's settings name another payout address. Each pays its own."
        }
        (PairPayout::Apart, _) => "Nothing is agreed yet: this box pays what its settings name.",
        (PairPayout::Waiting, true) => {
            "A new payout address waits for the other box. Until it agrees, both pay the one of before."
        }
        (PairPayout::Waiting, false) => {
            "A new payout address waits until the other box is connected. Until then both pay the one of before."
        }
        (PairPayout::InDoubt, _) => {
            "This box has agreed to another payout address and does not know whether it was decided. It hands \
             out no work until it hears from the other box."
        }
    }
}

fn blocks(pair: &PairView) -> Markup {
    html! {
        @match pair.unkept_blocks {
            0 => p { "Every block of this box that is not final is on the other box's card as well." },
            1 => p { "One block of this box waits to be kept by the other box too." },
            n => p { (format::thousands(n)) " blocks of this box wait to be kept by the other box too." },
        }
    }
}

fn name(one: &PairBoxView) -> String {
    let name = format::tame_to(&one.name, 60);
    if name.trim().is_empty() { "(no name)".to_owned() } else { name }
}

fn miners(count: u64) -> String {
    match count {
        0 => "no miner".to_owned(),
        1 => "one miner".to_owned(),
        n => format!("{} miners", format::thousands(n)),
    }
}

fn best(best: f64) -> String {
    if best > 0.0 { format::difficulty(best) } else { "none yet".to_owned() }
}

fn undecided(blocks: u64) -> String {
    match blocks {
        0 => String::new(),
        n => format!("{} on the way", format::thousands(n)),
    }
}

fn apart(ahead_s: i64) -> String {
    match ahead_s {
        -2..=2 => "the same".to_owned(),
        ahead => clocks::off(ahead as f64),
    }
}
