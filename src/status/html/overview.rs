//! The top of the page: the state in a sentence, the way of the work, and who is paid.

use maud::{Markup, html};

use crate::status::{
    AlarmKind, Level, MinerState, MinerView, NodeState, Snapshot, State, format, verdict,
};

use super::{View, age, fours, update};

/// For screen readers only, and only what does not change with every share.
pub(super) fn say(view: &View<'_>) -> Markup {
    let alarms = view.verdict.alarms.len();
    html! {
        "State: " (view.verdict.state.word()) ". "
        @match alarms {
            0 => "No alarm.",
            1 => "One alarm.",
            n => { (n) " alarms." },
        }
    }
}

/// The state in one sentence, what to do, and the alarms.
pub(super) fn state(view: &View<'_>) -> Markup {
    let verdict = view.verdict;
    let class = state_class(verdict.state);
    // What the headline says is not said again below it.
    let alarms: Vec<_> =
        verdict.alarms.iter().filter(|alarm| !verdict.sentence.contains(&alarm.text)).collect();
    // The first alarm's advice is told with the alarm itself.
    let told = alarms.iter().any(|alarm| alarm.advice == verdict.advice);
    html! {
        p.word.(class) { (verdict.state.word()) }
        h1 { (verdict.sentence) }
        @if let Some(about) = verdict.about {
            p.do { @if !told { (verdict.advice) " " } (meaning(about)) }
        } @else if !verdict.advice.is_empty() && !told { p.do { (verdict.advice) } }
        (update::news(view.s))
        @if !view.s.configured { p { a.start href="/settings" { "Set it up" } } }
        @if !alarms.is_empty() {
            ul.alarms {
                @for alarm in alarms {
                    li.(level(alarm.level)) {
                        b { (alarm.text) }
                        @if !alarm.advice.is_empty() { " " span { (alarm.advice) } }
                        " " (meaning(alarm.kind))
                        @if let Some(since) = alarm.since { " " small { "Since " (age::date(since)) } }
                    }
                }
            }
            p { a href="/settings#alarms" { "Snooze an alarm or forget a miner" } }
        }
        @if !verdict.snoozed.is_empty() {
            details {
                summary {
                    @match verdict.snoozed.len() {
                        1 => "One alarm is snoozed",
                        n => { (n) " alarms are snoozed" },
                    }
                }
                ul.alarms {
                    @for snoozed in &verdict.snoozed {
                        li {
                            (snoozed.alarm.text) " " (meaning(snoozed.alarm.kind)) " "
                            small { "Until " (age::date(snoozed.until)) ", from " (snoozed.from) }
                        }
                    }
                }
            }
        }
    }
}

/// The class of the state's word.
pub(super) fn state_class(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Degraded => "warn",
        State::Down => "bad",
    }
}

/// The way of the work in four steps, each with its state.
pub(super) fn path(view: &View<'_>) -> Markup {
    let s = view.s;
    let leading = s.leading();
    let spare = s.nodes.iter().filter(|node| node.state == NodeState::Standby).count();
    let mining = s.miners.iter().filter(|miner| miner.state == MinerState::Mining).count();
    let connected = s.connected().count();
    let last = s.miners.iter().filter_map(|miner| miner.last_share_at).max();
    let leads_well = leading.is_some_and(|node| node.state == NodeState::Leading);
    let syncing = s.nodes.iter().find(|node| node.state == NodeState::Syncing);
    let fresh = s.job.as_ref().is_some_and(|job| job.template_age_s <= verdict::TEMPLATE_OLD_S);
    let behind = s.outside.behind.is_some();
    html! {
        ol.path aria-label="The way of the work" {
            li.(on(leads_well)) {
                span { "Node" }
                @if let Some(node) = leading {
                    b { (node.name) }
                    small {
                        @if leads_well {
                            @match spare {
                                0 => "no other stands by",
                                1 => "one more stands by",
                                n => { (n) " more stand by" },
                            }
                        } @else { (node.state.words()) }
                    }
                } @else if let Some(node) = syncing {
                    b {
                        @match node.progress {
                            Some(progress) => (format::percent(progress)),
                            None => "downloading",
                        }
                    }
                    small {
                        "downloaded"
                        @if let Some(eta) = node.sync_eta_s {
                            ", about " (format::long_time(eta as f64)) " to go"
                        }
                    }
                } @else { b { "none" } small { "gives work" } }
            }
            li.(on(fresh && !behind && leads_well)) {
                span { "Work" }
                @if let Some(job) = &s.job {
                    b { (view.age(job.sent_at)) " old" }
                    small {
                        @if behind { "on an old block" } @else {
                            (format::thousands(job.transactions))
                            @if job.transactions == 1 { " transaction" } @else { " transactions" }
                        }
                    }
                } @else { b { "none" } small { "to be done" } }
            }
            li.(if connected == 0 { "off" } else { on(mining == connected) }) {
                span { "Miners" }
                @if connected == 0 {
                    b { "none" } small { "connected" }
                } @else {
                    @if s.totals.rate_5m.shares == 0 { b { "no share yet" } }
                    @else { b { (format::hashrate(s.totals.rate_5m.hashrate)) } }
                    small {
                        (mining) " of " (s.miners.len()) " mining"
                        @if let Some(left) = left_lately(s) { ", with what " (left) " sent before" }
                    }
                }
            }
            li.(on(last.is_some_and(|at| s.now.saturating_sub(at) < 3600))) {
                span { "Last share" }
                @if let Some(at) = last { b { (view.ago(at)) } } @else { b { "none yet" } }
                small { (format::thousands(s.totals.accepted)) " accepted" }
            }
        }
    }
}

/// Who is no longer there, but sent shares within the time that the hashrate of all is of.
fn left_lately(s: &Snapshot) -> Option<String> {
    let window = s.totals.rate_5m.window_s;
    let counts = |miner: &&MinerView| {
        let last = miner.last_share_at.unwrap_or_default();
        miner.state == MinerState::Gone && s.now.saturating_sub(last) < window
    };
    let mut left = s.miners.iter().filter(counts);
    let first = left.next()?;
    Some(match left.count() {
        0 => super::miners::name(first),
        more => format!("{} miners", more + 1),
    })
}

/// Who is paid by the block that is being looked for, read from the job itself.
pub(super) fn pay(view: &View<'_>) -> Markup {
    let s = view.s;
    let Some(job) = &s.job else {
        return html! {
            p.quiet { "There is no work now, so there is nothing to hit." }
            @if !s.payout.address.is_empty() {
                p { "Set to be paid: " (fours(&s.payout.address)) }
            }
        };
    };
    let amount = format::btc(job.to_owner_sat);
    // The last digits are there, but they are not what the eye should hold on to.
    let (large, small) = amount.split_at(amount.len() - 4);
    html! {
        p.sum { (large) i { (small) } " BTC" }
        @for output in job.outputs.iter().filter(|output| output.sat > 0) {
            p.to {
                @if !output.owner || job.outputs.len() > 2 { (format::btc(output.sat)) " BTC " }
                span.arrow aria-label="to" { "→" } " "
                @match &output.address {
                    Some(address) => (fours(address)),
                    None => "a script without an address",
                }
                @if output.owner { " " span.you { "you" } } @else { " " span.you.bad { "not you" } }
            }
        }
        p.quiet {
            "Block " (format::thousands(job.height)) ": "
            (format::btc(job.subsidy_sat).trim_end_matches('0').trim_end_matches('.')) " new and "
            (format::btc(job.value_sat.saturating_sub(job.subsidy_sat))) " in fees of "
            (format::thousands(job.transactions.saturating_sub(1)))
            @if job.transactions == 2 { " transaction" } @else { " transactions" } ", from node "
            (job.node) ". Read from the coinbase that your miners hash now."
            @if s.payout.per_miner {
                " A miner whose user begins with an address is paid there for its own block."
            }
        }
        @if !job.signals.is_empty() {
            p.quiet {
                "It votes by version "
                @for (place, signal) in job.signals.iter().enumerate() {
                    @if place > 0 { ", " }
                    "bit " (signal.bit)
                    @if let Some(name) = &signal.name { " (" (format::tame(name)) ")" }
                    @if signal.owner { ", set by you" }
                }
                "."
            }
        }
    }
}

/// Leads to the chapter that explains an alarm.
pub(super) fn meaning(kind: AlarmKind) -> Markup {
    html! { a href=(kind.help()) { "What this means" } }
}

/// The class of an alarm.
pub(super) fn level(level: Level) -> &'static str {
    match level {
        Level::Info => "info",
        Level::Warning => "warn",
        Level::Critical => "bad",
    }
}

fn on(good: bool) -> &'static str {
    if good { "on" } else { "off" }
}
