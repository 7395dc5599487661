//! The list of miners.

use std::collections::HashSet;

use maud::{Markup, html};

use crate::status::{MadeRoomView, MinerState, MinerView, RejectView, format};

use super::{Miners, Section, View, chart, device, rate, veil};

/// From so many miners on, a phone shows each in one line, and the list can be sorted and searched.
const MANY: usize = 9;
/// So many of them stand on the page in any case, in their order.
const FIRST: usize = 12;
/// Fewer than these are not worth a press.
const FOLDED: usize = 4;
/// What asks for all of them.
pub(super) const ALL: &str = "all=1";

/// All miners, and who knocks.
pub(super) fn list(view: &View<'_>) -> Markup {
    table(view, |miner| cells(view, miner))
}

/// The list without what stands in the rows.
pub(super) fn frame(view: &View<'_>) -> String {
    table(view, |_| html! {}).into_string()
}

/// Each row of the list.
pub(super) fn rows(view: &View<'_>) -> Vec<Section> {
    let row = |miner: &MinerView| Section {
        id: row_id(miner),
        html: veil::mark(&cells(view, miner).0),
        ..Section::default()
    };
    shown(view).0.into_iter().map(row).collect()
}

/// Those that stand in the list, and the others, which all mine well. Whichever has an alarm, or is missing,
/// or proves too little, is among the first.
fn shown<'a>(view: &View<'a>) -> (Vec<&'a MinerView>, Vec<&'a MinerView>) {
    let alarms: HashSet<&str> = view
        .verdict
        .alarms
        .iter()
        .chain(view.verdict.snoozed.iter().map(|snoozed| &snoozed.alarm))
        .filter_map(|alarm| alarm.id.split_once(':').map(|(_, id)| id))
        .collect();
    let needs_a_look = |miner: &MinerView| {
        miner.state != MinerState::Mining
            || miner.proven_part().is_some_and(|(_, low)| low)
            || alarms.contains(miner.id.as_str())
    };
    let stays = |(place, miner): &(usize, &MinerView)| *place < FIRST || needs_a_look(miner);
    let (first, others): (Vec<_>, Vec<_>) = view.s.miners.iter().enumerate().partition(stays);
    let miners =
        |list: Vec<(usize, &'a MinerView)>| list.into_iter().map(|(_, miner)| miner).collect();
    if view.miners == Miners::All || others.len() < FOLDED {
        return (view.s.miners.iter().collect(), Vec::new());
    }
    (miners(first), miners(others))
}

/// What finds a miner among many; the script shows it.
pub(super) fn tools(view: &View<'_>) -> Markup {
    html! {
        @if view.s.miners.len() >= MANY && shown(view).1.is_empty() {
            div.tools hidden {
                label { "Find" input #find type="search" autocomplete="off" spellcheck="false"; }
                label {
                    "Order"
                    select #order {
                        option value="" { "As they came" }
                        option value="0" { "Name" }
                        option value="1" { "Hashrate" }
                        option value="3" { "Shares" }
                        option value="4" { "Difficulty" }
                        option value="5" { "Last share" }
                    }
                }
                p #hits .quiet role="status" {}
            }
        }
    }
}

fn row_id(miner: &MinerView) -> String {
    format!("m-{}", miner.id)
}

fn table(view: &View<'_>, cells: impl Fn(&MinerView) -> Markup) -> Markup {
    let s = view.s;
    let (first, others) = shown(view);
    let together: f64 = others.iter().map(|miner| miner.rate.hashrate).sum();
    html! {
        @if s.miners.is_empty() {
            p.quiet {
                "No miner has been here yet. " a href="#connect" { "How to connect one" } ", or "
                a href="/devices" { "look for miners" } "."
            }
        } @else {
            table.miners.many[s.miners.len() >= MANY] {
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
                tbody {
                    @for miner in &first {
                        tr.(class(miner.state)) id=(row_id(miner)) { (cells(miner)) }
                    }
                }
            }
        }
        @if !others.is_empty() {
            p.more {
                a href={ "/?" (ALL) "#h-miners" } { "and " (others.len()) " more" }
                ", all mining, " (format::hashrate(together)) " together"
            }
        }
        (device::together(view))
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

/// `data-v` is what a column is sorted by, where that is not its text. Among many there is room for one line.
fn cells(view: &View<'_>, miner: &MinerView) -> Markup {
    let is_one_of_few = view.s.miners.len() < MANY;
    let gone = miner.state == MinerState::Gone;
    let proven = if gone { 0.0 } else { miner.rate.hashrate };
    let heat = device::short(view, &miner.id);
    let version = version(miner).filter(|_| is_one_of_few || heat.is_none());
    html! {
        th scope="row" {
            a href={ "/miners/" (miner.id) } { (name(miner)) }
            (lock(miner))
            small {
                @if miner.state != MinerState::Mining { b { (miner.state.words()) } " " }
                @if gone { (view.age(miner.since)) } @else {
                    (model(miner))
                    @if let Some(version) = version { ", " (version) }
                    @if let Some(heat) = heat { (heat) }
                }
            }
        }
        td data-v=(format!("{proven:.3e}")) {
            @if gone { "–" } @else {
                (rate(&miner.rate))
                @if let Some((part, low)) = miner.proven_part().filter(|_| is_one_of_few) {
                    small.(if low { "warn" } else { "" }) { (format::percent(part)) " of its claim" }
                }
            }
        }
        td { (chart::trend(&miner.trend)) }
        td data-v=(miner.accepted) {
            (format::thousands(miner.accepted))
            @if is_one_of_few { small { (rejects(miner)) } }
        }
        td data-v=(miner.difficulty) {
            (format::difficulty(miner.difficulty))
            @if is_one_of_few { small { "best " (format::difficulty(miner.best)) } }
        }
        td data-v=(miner.last_share_at.unwrap_or(0)) {
            (last_share(view, miner))
            @if let Some(every) = miner.expected_share_s.filter(|_| !gone && is_one_of_few) {
                small { "one every " (format::duration((every.round() as u64).max(1))) }
            }
        }
    }
}

/// Stands beside a miner whose connection is encrypted.
fn lock(miner: &MinerView) -> Markup {
    let link = miner.link.filter(|link| link.encrypted);
    let words = link.map(|link| format!("Encrypted: {}", link.words()));
    html! { @if let Some(words) = words { i.lock role="img" title=(words) {} } }
}

/// How long ago the last share came.
pub(super) fn last_share(view: &View<'_>, miner: &MinerView) -> Markup {
    html! { @match miner.last_share_at { Some(at) => (view.ago(at)), None => "none yet" } }
}

/// How many, and the most frequent reason in words. Those that nobody can avoid stand apart.
fn rejects(miner: &MinerView) -> String {
    let (unavoidable, others): (Vec<&RejectView>, Vec<&RejectView>) = miner
        .rejects
        .iter()
        .filter(|view| view.count > 0)
        .partition(|view| view.reason.is_unavoidable());
    let all: u64 = others.iter().map(|view| view.count).sum();
    let mut words = match others.iter().max_by_key(|view| view.count) {
        None => "none rejected".to_owned(),
        Some(worst) => format!("{} rejected ({})", format::thousands(all), worst.reason.short()),
    };
    for view in unavoidable {
        words += &format!(", {} {}", format::thousands(view.count), view.reason.short());
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

/// `v2.13.1`: the last part of its user agent that looks like a version.
pub(super) fn version(miner: &MinerView) -> Option<String> {
    let agent = format::tame(&miner.user_agent);
    let is_version = |part: &&str| {
        let digits = part.trim_start_matches(['v', 'V']);
        digits.starts_with(|c: char| c.is_ascii_digit()) && digits.contains('.') && part.len() <= 24
    };
    let found = agent.rsplit(['/', ' ']).find(is_version).map(str::to_owned)?;
    // Where nothing is known of a miner, its whole user agent stands there already.
    (!miner.model.is_empty() && !miner.model.contains(&found)).then_some(found)
}

/// The class of a miner's state.
pub(super) fn class(state: MinerState) -> &'static str {
    match state {
        MinerState::Mining => "on",
        MinerState::Quiet => "off",
        MinerState::Gone => "gone",
    }
}
