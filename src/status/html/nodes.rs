//! The nodes.

use maud::{Markup, html};

use crate::node;
use crate::status::{NewsView, NodeState, NodeView, P2pState, ZmqNews, clocks, format};

use super::{View, outside};

/// All nodes by priority.
pub(super) fn list(view: &View<'_>) -> Markup {
    let s = view.s;
    html! {
        @if s.nodes.is_empty() { p.quiet { "No node is set." } }
        @for node in &s.nodes { (card(view, node)) }
        @if s.nodes.len() == 1 {
            p.quiet {
                "This is the only node: while it restarts or fails there is no work, and a block found "
                "at that moment waits. A second one in the settings takes over at once."
            }
        }
        @if s.failovers > 0 {
            p.quiet {
                @match s.failovers {
                    1 => "The lead has changed once since the start.",
                    n => { "The lead has changed " (format::thousands(n)) " times since the start." },
                }
            }
        }
        @if !s.nodes.is_empty() { (outside::list(s)) }
    }
}

fn card(view: &View<'_>, node: &NodeView) -> Markup {
    // What a node that cannot be asked said last is history.
    let down = matches!(node.state, NodeState::Down | NodeState::Unusable);
    html! {
        article.node.(class(node.state)) {
            h3 {
                (node.name) " " span.pill { (node.state.words()) }
                @if node.is_leader() && node.state != NodeState::Leading { " " span.pill { "leads" } }
                @if node.name != node.address { small { (node.address) } }
            }
            @if !node.why.is_empty() { p { (format::tame_to(&node.why, 700)) } }
            @if let Some(progress) = node.progress.filter(|_| node.state == NodeState::Syncing) {
                p.sync {
                    progress max="1" value=(format!("{progress:.4}")) aria-label="Chain downloaded" {}
                    " " (format::percent(progress))
                    @if let Some(eta) = node.sync_eta_s {
                        ", about " (format::long_time(eta as f64)) " to go"
                    }
                }
            }
            p.line {
                @if down {
                    @if let Some(height) = node.height {
                        span { "was on block " (format::thousands(height)) }
                    }
                } @else if let Some(height) = node.height {
                    span {
                        "block " (format::thousands(height))
                        @match node.lag_blocks {
                            Some(0) if view.s.outside.behind.is_some() => "",
                            Some(0) => ", up to date",
                            Some(1) => ", one behind",
                            Some(n) => { ", " (format::thousands(n)) " behind" },
                            None => "",
                        }
                    }
                }
                @if let Some(latency) = node.latency_ms.filter(|_| !down) {
                    span { "answers in " (format::milliseconds(latency)) }
                }
                @if let Some(peers) = node.peers.filter(|_| !down) {
                    span {
                        @match peers {
                            0 => "no peers",
                            1 => "one peer",
                            _ => { (peers) " peers" },
                        }
                    }
                }
                @if let Some(clock) = node.clock.filter(|clock| clock.odd && !down) {
                    span.bad { "clock " (clocks::off(clock.offset_s)) }
                }
                @if let Some(state) = node.zmq_state.filter(|_| !down) {
                    (zmq(state, node.zmq))
                }
                @match node.news {
                    _ if down => "",
                    NewsView::Waiting => span { "tells of blocks to a call that waits" },
                    NewsView::Asking | NewsView::Crowded => span { "asked for blocks 4 times a second" },
                    NewsView::P2p => span { "tells of blocks by its P2P port" },
                    NewsView::Zmq | NewsView::Polled => "",
                }
                @if let Some(p2p) = &node.p2p { (second_road(p2p.state)) }
                @if node.tip_wins > 0 { span { "first with " (format::thousands(node.tip_wins)) " blocks" } }
                @if !node.version.is_empty() { span { (format::tame(node.version.trim_matches('/'))) } }
                @match &node.rehearsal {
                    Some(rehearsal) if !down => span.(if rehearsal.refused.is_some() { "bad" } else { "good" }) {
                        @match &rehearsal.refused {
                            None => { "would take our block" },
                            Some(reason) => { "would refuse our block: " (format::tame_to(reason, 120)) },
                        }
                        " (asked " (view.ago(rehearsal.at)) ")"
                    },
                    _ => "",
                }
            }
            @if let (Some(state), Some(address), false) = (node.zmq_state, &node.zmq_address, down)
                && let Some(remedy) = state.remedy(address)
            {
                p.quiet { (state.sentence(address)) " " (remedy) }
            }
            @if node.news == NewsView::Crowded && !down {
                p.quiet {
                    "It has no RPC thread to spare, so no call of ours waits at it. New blocks would be \
                     heard sooner with zmqpubhashblock, or with rpcthreads=8, in its bitcoin.conf."
                }
            }
            @if let Some(p2p) = &node.p2p {
                @match p2p.state {
                    P2pState::Down if !p2p.why.is_empty() => p.quiet {
                        "Its P2P port, " code { (p2p.address) } ": " (format::tame_to(&p2p.why, 120))
                        ". A block can reach it by RPC alone."
                    },
                    P2pState::Other => p.quiet {
                        "The P2P port at " code { (p2p.address) } " does not have the block that its RPC \
                         tells: it may be another node's. Set p2p_addr to this node's."
                    },
                    P2pState::Down | P2pState::Connecting | P2pState::Own => "",
                }
            }
            @if let Some(permissions) = &node.permissions {
                @if !permissions.words.is_empty() {
                    p.warn { "It " (permissions.words) ". " (permissions.remedy) }
                }
                @if !permissions.shortage.is_empty() { p.quiet { "It " (permissions.shortage) "." } }
            }
            @if !node.warnings.is_empty() { p.warn { "It warns: " (format::tame_to(&node.warnings, 300)) } }
            @if let Some(error) = &node.last_error {
                p.quiet {
                    "Last error " (view.ago(error.at)) ", " code { (error.method) } ": " (format::tame_to(&error.words, 300))
                }
            }
        }
    }
}

fn second_road(state: P2pState) -> Markup {
    html! {
        @match state {
            P2pState::Own => span.good { "takes blocks by P2P too" },
            P2pState::Connecting | P2pState::Other | P2pState::Down => "",
        }
    }
}

fn zmq(state: node::ZmqState, heard: ZmqNews) -> Markup {
    use node::ZmqState::{Connected, Connecting, NameUnknown, NoPublisher, Refused};
    html! {
        @match (state, heard) {
            (Connected, ZmqNews::Live) => span { "tells of blocks by ZMQ" },
            (Connected, _) => span { "ZMQ connected, nothing heard yet" },
            (Connecting, _) => span { "ZMQ is being connected" },
            (Refused, _) => span.bad { "ZMQ cannot be reached" },
            (NoPublisher, _) => span.bad { "no ZMQ publisher answers" },
            (NameUnknown, _) => span.bad { "ZMQ's name is unknown" },
        }
    }
}

fn class(state: NodeState) -> &'static str {
    match state {
        NodeState::Leading | NodeState::Standby => "on",
        NodeState::Syncing | NodeState::Warming | NodeState::Unknown => "wait",
        NodeState::NoPeers
        | NodeState::WrongClock
        | NodeState::Lagging
        | NodeState::OtherRules
        | NodeState::Doubtful
        | NodeState::Forbidden
        | NodeState::NoTemplate
        | NodeState::Unusable
        | NodeState::Down => "off",
    }
}
