//! Found blocks.

use maud::{Markup, html};

use crate::block::submission::MATURITY;
use crate::status::{BlockState, BlockView, OutsideTakenView, format, refusal_advice};

use super::{View, age};

/// The newest block in large, until the reader puts it away. Without a script: until it matures.
pub(super) fn banner(view: &View<'_>) -> Markup {
    let proven = |b: &BlockView| b.state == BlockState::Accepted;
    let fresh =
        |b: &&BlockView| proven(b) || matches!(b.state, BlockState::Candidate | BlockState::Beside);
    html! {
        @if let Some(block) = view.s.blocks.first().filter(fresh) {
            aside.found data-block=(block.hash) aria-label="A block was found" {
                p.word { @if proven(block) { "Block found" } @else { "Solved" } }
                p.sum { (format::btc(block.value_sat)) " BTC" }
                p {
                    "Block " (format::thousands(block.height)) ", solved by " b { (format::tame(&block.miner)) } " "
                    (view.ago(block.at)) ". " (state(view, block))
                }
                button type="button" .away hidden { "Put away" }
            }
        }
    }
}

/// So many stand on the first page.
const SHOWN: usize = 10;

/// The newest blocks.
pub(super) fn list(view: &View<'_>) -> Markup {
    let blocks = &view.s.blocks;
    html! {
        @if blocks.is_empty() {
            p.quiet { "No block yet. When one is found it stands here, with a copy to keep." }
        }
        @for block in blocks.iter().take(SHOWN) { (card(view, block)) }
        @if blocks.len() > SHOWN {
            p { a href="/blocks" { "All " (format::thousands(blocks.len() as u64)) " blocks" } }
        }
    }
}

/// A page of them all.
pub(super) fn page(view: &View<'_>) -> Markup {
    let blocks = &view.s.blocks;
    html! {
        p.back { a href="/#blocks" { "← The box" } }
        h1 {
            @match blocks.len() {
                0 => "No block yet",
                1 => "One block",
                n => { (format::thousands(n as u64)) " blocks" },
            }
        }
        h2.sr { "The newest first" }
        @for block in blocks { (card(view, block)) }
    }
}

fn card(view: &View<'_>, block: &BlockView) -> Markup {
    html! {
        article.block.(class(block.state)) {
            h3 {
                (format::thousands(block.height)) " "
                span.pill { (block.state.words()) }
                small { (format::btc(block.value_sat)) " BTC" }
            }
            p {
                (age::date(block.at)) ", by " (format::tame(&block.miner)) ". " (state(view, block))
                @if !block.address.is_empty() { " It pays " code { (block.address) } "." }
                @if let Some(ms) = block.accepted_after_ms {
                    " The first node showed it in its chain after " (format::milliseconds(ms)) "."
                }
            }
            p.line {
                @for answer in &block.answers {
                    span.(if answer.taken { "good" } else { "bad" }) {
                        (answer.node) ": " (answer.words)
                        @if let Some(ms) = answer.p2p_after_ms {
                            ", asked for it by P2P after " (format::milliseconds(ms))
                        }
                    }
                }
                @if let Some(taken) = &block.outside {
                    span.good[taken.shown > 0] { (outside(taken)) }
                }
            }
            p.line {
                code title=(block.hash) { (format::short_hash(&block.hash)) }
                @if block.hex {
                    a href={ "/api/blocks/" (block.hash) ".hex" } download { "Download the block" }
                }
            }
        }
    }
}

/// Who of the outside nodes took it.
fn outside(taken: &OutsideTakenView) -> String {
    let nodes = |count| match count {
        1 => "one outside node".to_owned(),
        n => format!("{n} outside nodes"),
    };
    let after = |ms: Option<f64>| {
        ms.map_or_else(String::new, |ms| format!(" after {}", format::milliseconds(ms)))
    };
    let (asked_after, shown_after) = (after(taken.asked_after_ms), after(taken.shown_after_ms));
    match (taken.asked, taken.shown) {
        (asked, 0) => format!("asked for by {}{asked_after}", nodes(asked)),
        (0, shown) => format!("shown by {}{shown_after}", nodes(shown)),
        (asked, shown) => {
            format!("asked for by {}{asked_after}, shown by {shown}{shown_after}", nodes(asked))
        }
    }
}

fn state(view: &View<'_>, block: &BlockView) -> String {
    match (block.state, block.confirmations) {
        (BlockState::Candidate, _) => {
            "It is saved and sent to all nodes; none has shown it in its chain yet.".to_owned()
        }
        (BlockState::Beside, _) => "It stands beside another block of the same height. The next \
                                    block decides; there is nothing to do."
            .to_owned(),
        // Nobody knows when the blocks of a test chain come.
        (BlockState::Accepted, Some(n)) if n < MATURITY.into() && view.s.chain == "regtest" => {
            match u64::from(MATURITY) - n {
                1 => "Spendable after one more block.".to_owned(),
                more => format!("Spendable after {more} more blocks."),
            }
        }
        (BlockState::Accepted, Some(n)) if n < MATURITY.into() => format!(
            "{n} of {MATURITY} confirmations; spendable in about {}.",
            format::duration((u64::from(MATURITY) - n) * 600)
        ),
        (BlockState::Accepted, _) => "A node has it in its chain.".to_owned(),
        (BlockState::Mature, _) => "Spendable.".to_owned(),
        (BlockState::Orphaned, _) => "Another block of this height won.".to_owned(),
        (BlockState::Refused, _) => match &block.reason {
            Some(reason) => {
                format!("Every node refused it: {reason}. {}", refusal_advice(reason))
            }
            None => "Every node refused it.".to_owned(),
        },
    }
}

fn class(state: BlockState) -> &'static str {
    match state {
        BlockState::Accepted | BlockState::Mature => "on",
        BlockState::Candidate | BlockState::Beside => "wait",
        BlockState::Orphaned | BlockState::Refused => "off",
    }
}
