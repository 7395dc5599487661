//! The view for a screen on the wall: few facts, read from three metres.

use maud::{Markup, html};

use crate::status::{MinerState, format, odds};

use super::{View, chart, overview};

/// All of it.
pub(super) fn wall(view: &View<'_>) -> Markup {
    let (s, verdict) = (view.s, view.verdict);
    let mining = s.miners.iter().filter(|miner| miner.state == MinerState::Mining).count();
    let last = s.miners.iter().filter_map(|miner| miner.last_share_at).max();
    html! {
        p.word.(overview::state_class(verdict.state)) { (verdict.state.word()) }
        h1 { (verdict.sentence) }
        dl.wall {
            (large("Hashrate", html! { (format::hashrate(s.totals.rate_1h.hashrate)) }, html! {
                (mining) " of " (s.miners.len()) " mining"
            }))
            (large("Last share", html! {
                @match last { Some(at) => (view.ago(at)), None => "none yet" }
            }, html! { (format::thousands(s.totals.accepted)) " accepted" }))
            (large("Best share", html! { (format::difficulty(s.totals.best)) }, html! {
                @if let Some(difficulty) = s.difficulty().filter(|_| s.totals.best > 0.0) {
                    (format::of_a_block(s.totals.best / difficulty))
                }
            }))
            (large("A block within a year", html! {
                @match odds(s).filter(|odds| odds.mean_s.is_some()) {
                    Some(odds) => (format::one_in(odds.per_year)),
                    None => "–",
                }
            }, html! {
                @match s.blocks.first() {
                    Some(block) => { "block " (format::thousands(block.height)) ": " (block.state.words()) },
                    None => "no block yet",
                }
            }))
        }
        (chart::day(&s.history, s.now))
        @if !verdict.alarms.is_empty() {
            ul.alarms {
                @for alarm in verdict.alarms.iter().take(3) {
                    li.(overview::level(alarm.level)) { (alarm.text) }
                }
            }
        }
    }
}

fn large(name: &str, value: Markup, more: Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) small { (more) } } } }
}
