//! One miner's own page.

use maud::{Markup, html};

use crate::status::{ChannelKind, HistoryView, LinkView, MinerState, MinerView, Protocol, format};

use super::{View, age, chart, device, fact, fours, miners, rate};

/// A part of the page that changes.
pub(super) struct Part {
    pub id: &'static str,
    /// Heading in the margin; the part without one stands at the top.
    heading: Option<&'static str>,
    pub content: Markup,
}

/// Everything about one miner.
pub(super) fn page(view: &View<'_>, miner: &MinerView, history: Option<&HistoryView>) -> Markup {
    html! {
        @for part in parts(view, miner, history) {
            @if let Some(heading) = part.heading {
                section.part { h2 { (heading) } div id=(part.id) { (part.content) } }
            } @else { div id=(part.id) { (part.content) } }
        }
    }
}

/// The parts of the page, in order.
pub(super) fn parts(
    view: &View<'_>,
    miner: &MinerView,
    history: Option<&HistoryView>,
) -> Vec<Part> {
    let part = |id, heading, content| Part { id, heading, content };
    let device = device::part(view, &miner.id);
    [
        Some(part("state", None, head(view, miner))),
        Some(part("m-rate", Some("Hashrate"), hashrate(view, miner, history))),
        device.map(|told| part("m-device", Some("Device"), told)),
        Some(part("m-shares", Some("Shares"), shares(view, miner))),
        Some(part("m-link", Some("Connection"), connection(view, miner))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn head(view: &View<'_>, miner: &MinerView) -> Markup {
    let state = view.verdict.state;
    let alarms: Vec<_> = view
        .verdict
        .alarms
        .iter()
        .filter(|alarm| alarm.id.split_once(':').is_some_and(|(_, id)| id == miner.id))
        .collect();
    html! {
        p.back {
            a href="/#miners" { "← All miners" }
            span.word.(super::overview::state_class(state)) { (state.word()) }
        }
        h1 { (miners::name(miner)) }
        p.do {
            (miners::model(miner)) ", "
            @if let Some(version) = miners::version(miner) { (version) ", " }
            @match miner.state {
                MinerState::Gone => { b.bad { "missing" } " for " (view.age(miner.since)) },
                MinerState::Quiet => { b.warn { "connected, but quiet" } " since " (age::date(miner.silent_since())) },
                MinerState::Mining => { "mining since " (age::date(miner.since)) },
            }
            "."
        }
        @for alarm in &alarms { p.do.warn {
            b { (alarm.text) } " " (alarm.advice) " " (super::overview::meaning(alarm.kind))
        } }
    }
}

fn hashrate(view: &View<'_>, miner: &MinerView, history: Option<&HistoryView>) -> Markup {
    html! {
        dl.facts #m-rates { (rates(miner)) }
        @if let Some(history) = history { (chart::ranges(history, view.s.now)) }
    }
}

/// The hashrate in figures.
pub(super) fn rates(miner: &MinerView) -> Markup {
    html! {
        (fact("Now", rate(&miner.rate), html! {
            "by " (format::thousands(miner.rate.shares)) " shares in "
            (format::duration(miner.rate.measured_s.max(1)))
        }))
        (fact("24 hours", rate(&miner.rate_day), ""))
        @if let Some(claimed) = miner.claimed {
            (fact("Claimed", format::hashrate(claimed), html! {
                @if !miner.claimed_by.is_empty() { "by " (miner.claimed_by) }
                @if let Some((part, _)) = miner.proven_part() {
                    ", proven " (format::percent(part))
                }
            }))
        }
    }
}

fn shares(view: &View<'_>, miner: &MinerView) -> Markup {
    html! {
        dl.facts {
            (fact("Accepted", format::thousands(miner.accepted), html! {
                (format!("{:.1}", miner.shares_per_min)) " a minute"
            }))
            (fact("Difficulty", format::difficulty(miner.difficulty), html! {
                @if miner.difficulty_by_password { "fixed by the miner's own password" }
                @else if miner.difficulty_locked { "fixed by you" }
                @else if let Some(every) = miner.expected_share_s {
                    "one share in " (format::duration(every.round() as u64))
                }
                " " a href="/settings" { "Change" }
            }))
            (fact("Last share", miners::last_share(view, miner), ""))
            (fact("Best ever", format::difficulty(miner.best), html! {
                @if let Some(at) = miner.best_at { (age::date(at)) }
            }))
            (fact("Best since start", format::difficulty(miner.best_session), ""))
            @if view.s.payout.per_miner && !miner.pays.is_empty() {
                (fact("Its block pays", fours(&miner.pays), ""))
            }
        }
        @if miner.rejects.iter().any(|r| r.count > 0) {
            h3 { "Not counted" }
            ul.rejects {
                @for reject in miner.rejects.iter().filter(|r| r.count > 0) {
                    li {
                        b { (format::thousands(reject.count)) } " " (reject.reason.words())
                        ". " span { (reject.reason.meaning()) }
                    }
                }
            }
        } @else { p.quiet { "No share was rejected." } }
    }
}

fn connection(view: &View<'_>, miner: &MinerView) -> Markup {
    html! {
        dl.facts {
            (fact("From", &miner.address, ""))
            @if let Some(link) = &miner.link { (speaks(view, link)) }
            (fact("Connections", format::thousands(miner.connects), "since the start"))
            @if let Some(rtt) = miner.rtt_ms {
                (fact("Round trip", format::milliseconds(rtt), ""))
            }
            (fact("First seen", age::date(miner.first_seen_at), ""))
        }
        p.quiet { "It calls itself " code { (format::tame(&miner.user_agent)) } ". "
            a href={ "/join/" (miner.id) } { "This is the same miner as …" } }
    }
}

/// What the miner speaks, and whether that can be read along.
fn speaks(view: &View<'_>, link: &LinkView) -> Markup {
    let protocol = match link.protocol {
        Protocol::V1 => "Stratum V1",
        Protocol::V2 => "Stratum V2",
    };
    let more = match (link.channel, link.encrypted) {
        (Some(ChannelKind::Standard), _) => "encrypted, standard channel",
        (Some(ChannelKind::Extended), _) => "encrypted, extended channel",
        (None, true) => "encrypted by TLS",
        (None, false) => "not encrypted",
    };
    let can_change = !link.encrypted && view.s.connect.v2.is_some();
    fact("Speaks", protocol, html! { (more) @if can_change { ". " a href="/v2" { "Change" } } })
}
