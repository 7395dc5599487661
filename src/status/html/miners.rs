//! The list of miners.

use maud::{Markup, html};

use crate::status::{MadeRoomView, MinerState, MinerView, RejectReason, RejectView, format};

use super::{View, chart, rate};

/// All miners, and who knocks.
pub(super) fn list(view: &View<'_>) -> Markup {
    let s = view.s;
    html! {
        @if s.miners.is_empty() {
            p.quiet { "No miner has been here yet. " a href="#connect" { "How to connect one" } "." }
        } @else {
            table.miners {
                thead {
                    tr {
                        th scope="col" { "Miner" }
                        th scope="col" { "Hashrate" }
                        th scope="col" { "24 h" }
                        th scope="col" { "Shares" }
                        th scope="col" { "Difficulty" }
                        th scope="col" { "Last share" }
                    }
                }
                tbody { @for miner in &s.miners { (row(view, miner)) } }
            }
        }
        (crowds(view))
        @if !s.knocking.is_empty() {
            h3 { "Knocking" }
            ul.knock {
                @for knock in &s.knocking {
                    li {
                        b { (knock.address) }
                        ", " (view.ago(knock.at))
                        @if knock.times > 1 { ", " (format::thousands(knock.times)) " times" }
                        ": " (knock.why)
                    }
                }
            }
        }
    }
}

/// Connections that were closed to make room, and whose they were.
fn crowds(view: &View<'_>) -> Markup {
    let (miners, page) = (&view.s.stratum.made_room, &view.s.page.made_room);
    let held = match page {
        Some(crowd) if crowd.count == 1 => "to this page that only held its place",
        _ => "to this page that only held their places",
    };
    html! {
        @if miners.is_some() || page.is_some() {
            h3 { "Crowding" }
            ul.knock {
                @if let Some(crowd) = miners {
                    (made_room(view, crowd, "to the miners' port that said nothing"))
                }
                @if let Some(crowd) = page { (made_room(view, crowd, held)) }
            }
            p.quiet {
                "Your miners find their places all the same. If you do not know such a device, take it off \
                 your network."
            }
        }
    }
}

fn made_room(view: &View<'_>, crowd: &MadeRoomView, which: &str) -> Markup {
    let (noun, verb) = match crowd.count {
        1 => ("connection", "was closed to make room, from"),
        _ => ("connections", "were closed to make room, most from"),
    };
    html! {
        li {
            (format::thousands(crowd.count)) " " (noun) " " (which) " " (verb) " "
            b { (crowd.most) } ", the last one " (view.ago(crowd.at))
        }
    }
}

fn row(view: &View<'_>, miner: &MinerView) -> Markup {
    let gone = miner.state == MinerState::Gone;
    html! {
        tr.(class(miner.state)) {
            th scope="row" {
                a href={ "/miners/" (miner.id) } { (name(miner)) }
                small {
                    @if miner.state != MinerState::Mining { b { (miner.state.words()) } " " }
                    @if gone { (view.age(miner.since)) } @else { (model(miner)) }
                }
            }
            td {
                @if gone { "–" } @else {
                    (rate(&miner.rate))
                    @if let Some((part, low)) = miner.proven_part() {
                        small.(if low { "warn" } else { "" }) { (format::percent(part)) " of its claim" }
                    }
                }
            }
            td { (chart::trend(&miner.trend)) }
            td {
                (format::thousands(miner.accepted))
                small { (rejects(miner)) }
            }
            td {
                (format::difficulty(miner.difficulty))
                small { "best " (format::difficulty(miner.best)) }
            }
            td {
                (last_share(view, miner))
                @if let Some(every) = miner.expected_share_s.filter(|_| !gone) {
                    small { "one in " (format::duration(every.round() as u64)) }
                }
            }
        }
    }
}

/// How long ago the last share came.
pub(super) fn last_share(view: &View<'_>, miner: &MinerView) -> Markup {
    html! { @match miner.last_share_at { Some(at) => (view.ago(at)), None => "none yet" } }
}

/// How many, and the most frequent reason in words. Those that nobody can avoid stand apart.
fn rejects(miner: &MinerView) -> String {
    let at_change = |r: &&RejectView| r.reason == RejectReason::StaleAtChange;
    let unavoidable: u64 = miner.rejects.iter().filter(at_change).map(|r| r.count).sum();
    let others = || miner.rejects.iter().filter(|r| !at_change(r));
    let all: u64 = others().map(|r| r.count).sum();
    let mut words = match others().max_by_key(|r| r.count).filter(|r| r.count > 0) {
        None => "none rejected".to_owned(),
        Some(worst) => format!("{} rejected ({})", format::thousands(all), worst.reason.short()),
    };
    if unavoidable > 0 {
        let short = RejectReason::StaleAtChange.short();
        words.push_str(&format!(", {} {short}", format::thousands(unavoidable)));
    }
    words
}

/// Name for a heading: never empty.
pub(super) fn name(miner: &MinerView) -> String {
    let name = format::tame(&miner.name);
    if name.trim().is_empty() { "(without a name)".to_owned() } else { name }
}

/// `Bitaxe Gamma (BM1370)`.
pub(super) fn model(miner: &MinerView) -> String {
    match (miner.model.as_str(), miner.user_agent.as_str()) {
        ("", "") => "unknown model".to_owned(),
        ("", agent) => format::tame(agent),
        (model, _) => format::tame(model),
    }
}

/// The class of a miner's state.
pub(super) fn class(state: MinerState) -> &'static str {
    match state {
        MinerState::Mining => "on",
        MinerState::Quiet => "off",
        MinerState::Gone => "gone",
    }
}
