//! The odds and the best shares.

use std::fmt::Write;

use maud::{Markup, html};

use crate::status::{BestShareView, Odds, Snapshot, format, odds as reckon};

use super::{View, fact};

/// The chances, told honestly, and how the best shares compare.
pub(super) fn odds(view: &View<'_>) -> Markup {
    let s = view.s;
    let Some(odds) = reckon(s) else {
        return html! { p.quiet { "The network's difficulty is not known yet." } };
    };
    html! {
        @if odds.mean_s.is_none() {
            p.quiet {
                @if s.connected().next().is_some() { "No share yet" } @else { "Nobody mines now" }
                ": the chances are told with the first shares."
            }
        }
        dl.facts {
            @if let Some(mean) = odds.mean_s {
                (fact("A block today", format::one_in(odds.per_day), ""))
                (fact("Within a year", format::one_in(odds.per_year), ""))
                (fact("On average, one in", format::long_time(mean), ""))
            }
            @if let Some(blocks) = until_change(s) {
                (fact(
                    "Difficulty changes",
                    html! { "in " (format::thousands(blocks)) @if blocks == 1 { " block" } @else { " blocks" } },
                    format!("about {}", format::long_time(blocks as f64 * 600.0)),
                ))
            }
            (fact("Best share so far", format::difficulty(s.totals.best), html! {
                @if let Some(difficulty) = s.difficulty().filter(|_| s.totals.best > 0.0) {
                    (format::of_a_block(s.totals.best / difficulty))
                }
            }))
        }
        p.quiet { (luck(s, &odds)) }
        (ladder(s, &odds))
        @if !s.best_shares.is_empty() {
            details {
                summary { "Best shares" }
                ol.best {
                    @for share in s.best_shares.iter().take(10) { (best(view, share)) }
                }
            }
        }
    }
}

/// Blocks until the network's difficulty is set anew, every 2016 blocks; test chains have other rules.
fn until_change(s: &Snapshot) -> Option<u64> {
    let next = s.job.as_ref().filter(|_| s.chain == "main")?.height;
    Some(2016 - next % 2016)
}

fn best(view: &View<'_>, share: &BestShareView) -> Markup {
    html! {
        li {
            b { (format::difficulty(share.difficulty)) } " "
            (format::tame(&share.miner)) ", " (view.ago(share.at))
            @if share.network_difficulty > 0.0 {
                ", " (format::of_a_block(share.difficulty / share.network_difficulty))
            }
        }
    }
}

fn luck(s: &Snapshot, odds: &Odds) -> String {
    let mut text = String::new();
    if let Some(luck) = odds.luck {
        let _ = write!(
            text,
            "With the work done so far, half of all miners have a best share above {}. Yours is \
             better than that of {} of them. ",
            format::difficulty(odds.expected_best),
            format::percent(luck)
        );
    }
    if odds.effort > 0.0 {
        let since = if s.blocks.is_empty() { "so far" } else { "since the last block" };
        let part = match odds.effort {
            effort if effort < 2.0 => format!("{} of", format::percent(effort)),
            effort => format!("{} times", format::difficulty(effort)),
        };
        let _ = write!(text, "Work {since}: {part} what a block takes on average. ");
    }
    text.push_str("Past work does not bring a block nearer: each hash has the same chance.");
    text
}

/// The best shares on a logarithmic line that ends at a block.
fn ladder(s: &Snapshot, odds: &Odds) -> Markup {
    let Some(block) = s.difficulty().filter(|_| !s.best_shares.is_empty()) else {
        return html! {};
    };
    let low = s.best_shares.iter().map(|b| b.difficulty).fold(f64::INFINITY, f64::min).max(1e-4);
    // Two decades of air on the left.
    let (from, to) = ((low / 100.0).log10().floor(), block.log10());
    if to - from < 1.0 {
        return html! {};
    }
    let place = |difficulty: f64| {
        format!("{:.1}%", 1.0 + 96.0 * ((difficulty.log10() - from) / (to - from)).clamp(0.0, 1.0))
    };
    let label = format!(
        "Best share {} on a logarithmic line that ends at a block, {}",
        format::difficulty(s.totals.best),
        format::difficulty(block)
    );
    let decades: Vec<f64> = (from as i64..=to.floor() as i64)
        .filter(|decade| decade % 3 == 0)
        .map(|decade| 10f64.powi(decade as i32))
        // Clear of both ends, where their labels would be cut or covered.
        .filter(|difficulty| {
            let at = (difficulty.log10() - from) / (to - from);
            (0.08..0.7).contains(&at)
        })
        .collect();
    html! {
        svg.ladder width="100%" height="56" role="img" aria-label=(label) {
            line x1="1%" x2="97%" y1="24" y2="24" {}
            @for decade in decades {
                line.tick x1=(place(decade)) x2=(place(decade)) y1="24" y2="30" {}
                text x=(place(decade)) y="46" { (format::round(&format::difficulty(decade))) }
            }
            @if odds.expected_best > 0.0 {
                line.median x1=(place(odds.expected_best)) x2=(place(odds.expected_best))
                    y1="12" y2="36" {}
            }
            @for share in s.best_shares.iter().skip(1).take(9) {
                circle cx=(place(share.difficulty)) cy="24" r="3" {}
            }
            @if let Some(first) = s.best_shares.first() {
                circle.first cx=(place(first.difficulty)) cy="24" r="6" {}
            }
            rect x="97%" y="10" width="3" height="28" {}
            text.end x="97.5%" y="52" { "a block: " (format::difficulty(block)) }
        }
    }
}
