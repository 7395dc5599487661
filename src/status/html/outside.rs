//! Outside nodes: those of strangers, and those that the owner names.

use maud::{Markup, html};

use crate::outside::{BLOCK_PEERS, OWN_FIRST};
use crate::status::{Outside, OutsideNodeView, OutsideView, Snapshot, format};

/// Seconds from the start in which the own nodes are asked for addresses.
const FIRST_S: u64 = 60;

/// What they are for, and on which block those are that are connected.
pub(super) fn list(s: &Snapshot) -> Markup {
    let outside = &s.outside;
    // A regression test has no strangers.
    if s.chain == "regtest" && outside.named == 0 {
        return html! {};
    }
    let own = s.nodes.iter().filter_map(|node| node.height).chain(s.network.height).max();
    html! {
        h3 { "Outside nodes" }
        p.quiet { (purpose(s)) }
        @if !outside.connections.is_empty() {
            p { (comparison(outside, own)) }
            ul.knock { @for node in &outside.connections { (row(node, own)) } }
        }
    }
}

fn purpose(s: &Snapshot) -> String {
    let outside = &s.outside;
    let count = outside.known + outside.named;
    if outside.setting == Outside::Off {
        return "Switched off: a solved block goes to your own nodes alone.".to_owned();
    }
    if count == 0 && s.now.saturating_sub(s.started_at) < FIRST_S {
        return "None is known yet.".to_owned();
    }
    if count == 0 {
        return "None is known, so a solved block goes to your own nodes alone. Allow \
                getnodeaddresses in the rpcwhitelist of a node's bitcoin.conf, or name outside nodes \
                as peers below [p2p] in Soloist's settings."
            .to_owned();
    }
    let are_known = match count {
        1 => "One address is known".to_owned(),
        n => format!("{} addresses are known", format::thousands(n)),
    };
    let proxy = if outside.by_proxy { ", and reached by your proxy" } else { "" };
    let offered = match count {
        1 => "to it".to_owned(),
        n if n <= BLOCK_PEERS as u64 => "to all of them".to_owned(),
        _ => format!("to {BLOCK_PEERS} of them"),
    };
    let patience = OWN_FIRST.as_secs();
    let block = format!("a block that none of your nodes shows within {patience} s is offered");
    let watch = match outside.setting {
        Outside::Watch if outside.connections.is_empty() => " None is connected now.",
        Outside::Watch => " Those connected have it at once.",
        Outside::Off | Outside::Block => "",
    };
    format!("{are_known}{proxy}; {block} {offered}.{watch}")
}

fn comparison(outside: &OutsideView, own: Option<u64>) -> String {
    let heights = || outside.connections.iter().filter_map(|node| node.height);
    let of = heights().count();
    let Some(own) = own.filter(|_| of > 0) else {
        return "None of those connected has shown its block yet.".to_owned();
    };
    let ahead = heights().filter(|height| *height > own).count();
    let same = heights().filter(|height| *height == own).count();
    match (ahead, same) {
        (0, 1) if of == 1 => "It is on the same block as your nodes.".to_owned(),
        (0, same) if same == of => "They are on the same block as your nodes.".to_owned(),
        (0, same) => format!("On the same block as your nodes: {same} of {of}. None is ahead."),
        (ahead, _) => format!("Ahead of your nodes: {ahead} of {of}."),
    }
}

fn row(node: &OutsideNodeView, own: Option<u64>) -> Markup {
    html! {
        li {
            code { (node.address) }
            @match (&node.agent, node.height) {
                (None, _) => ", being connected",
                (_, None) => ", its block is not known yet",
                (_, Some(height)) => {
                    ", block " (format::thousands(height))
                    @match own {
                        Some(own) if height > own => {
                            ", " b { (format::thousands(height - own)) " ahead" }
                        },
                        Some(own) if height < own => {
                            ", " (format::thousands(own - height)) " behind"
                        },
                        _ => "",
                    }
                },
            }
            @if let Some(agent) = &node.agent { " " small { (format::tame(agent)) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{NetworkView, NodeView};

    const OWN: u64 = 900_000;

    fn with(outside: OutsideView) -> Snapshot {
        Snapshot {
            now: 1_000_000,
            started_at: 900_000,
            chain: "main".to_owned(),
            network: NetworkView { height: Some(OWN), ..Default::default() },
            nodes: vec![NodeView { height: Some(OWN - 1), ..Default::default() }],
            outside,
            ..Default::default()
        }
    }

    /// The text without markup, with plain spaces.
    fn said(s: &Snapshot) -> String {
        let html = list(s).into_string().replace('\u{202f}', " ");
        let texts = html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
        texts.collect::<Vec<_>>().concat()
    }

    fn watched(heights: &[Option<u64>]) -> OutsideView {
        let node = |height: &Option<u64>| OutsideNodeView {
            address: "77.1.2.3:8333".to_owned(),
            agent: Some("/Satoshi:31.0.0/".to_owned()),
            height: *height,
            since: 999_000,
        };
        OutsideView {
            setting: Outside::Watch,
            known: 58,
            connections: heights.iter().map(node).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn each_setting_says_where_a_block_goes() {
        let block = |known, named| OutsideView { known, named, ..Default::default() };
        for (outside, words) in [
            (
                OutsideView { setting: Outside::Off, ..block(58, 1) },
                "Switched off: a solved block goes to your own nodes alone.",
            ),
            (
                block(0, 0),
                "None is known, so a solved block goes to your own nodes alone. Allow \
                 getnodeaddresses in the rpcwhitelist of a node's bitcoin.conf, or name",
            ),
            (
                block(57, 1),
                "58 addresses are known; a block that none of your nodes shows within 2 s is \
                 offered to 8 of them.",
            ),
            (block(0, 8), "8 addresses are known; a block that none of your nodes"),
            (block(0, 8), "within 2 s is offered to all of them."),
            (OutsideView { by_proxy: true, ..block(1, 0) }, "One address is known, and reached by"),
            (block(1, 0), "is offered to it."),
            (watched(&[]), "is offered to 8 of them. None is connected now."),
            (watched(&[None]), "is offered to 8 of them. Those connected have it at once."),
        ] {
            let said = said(&with(outside));
            assert!(said.contains(words), "“{words}” is missing in: {said}");
        }
        let mut fresh = with(block(0, 0));
        fresh.started_at = fresh.now - 59;
        assert_eq!(said(&fresh), "Outside nodesNone is known yet.");
        let mut alone = with(block(0, 0));
        alone.chain = "regtest".to_owned();
        assert_eq!(said(&alone), "");
        alone.outside.named = 1;
        assert!(said(&alone).contains("One address is known"));
    }

    #[test]
    fn it_is_said_who_is_ahead() {
        let at = |blocks: i64| Some(OWN.saturating_add_signed(blocks));
        for (heights, words) in [
            (vec![None], "None of those connected has shown its block yet."),
            (vec![at(0)], "It is on the same block as your nodes."),
            (vec![at(0), at(0), None], "They are on the same block as your nodes."),
            (vec![at(0), at(-1)], "On the same block as your nodes: 1 of 2. None is ahead."),
            (vec![at(0), at(3), at(4)], "Ahead of your nodes: 2 of 3."),
        ] {
            let said = said(&with(watched(&heights)));
            assert!(said.contains(words), "“{words}” is missing in: {said}");
        }
        let mut s = with(watched(&[at(0), at(3), at(-2000), None]));
        s.outside.connections[2].agent = None;
        let said = said(&s);
        let rows: Vec<&str> = said.split("77.1.2.3:8333").skip(1).collect();
        let expected = [
            ", block 900 000 /Satoshi:31.0.0/",
            ", block 900 003, 3 ahead /Satoshi:31.0.0/",
            ", being connected",
            ", its block is not known yet /Satoshi:31.0.0/",
        ];
        assert_eq!(rows, expected);
        s.outside.connections[2].agent = Some(String::new());
        assert!(self::said(&s).contains(", block 898 000, 2000 behind"));
    }

    #[test]
    fn what_a_stranger_calls_itself_is_text_and_short() {
        let mut s = with(watched(&[Some(OWN)]));
        let agent = format!("<script>\u{202e}\n{}", "x".repeat(500));
        s.outside.connections[0].agent = Some(agent);
        let html = list(&s).into_string();
        let shown = format!("<small>&lt;script&gt;{}…</small>", "x".repeat(56));
        assert!(html.contains(&shown) && !html.contains("<script"), "{html}");
    }
}
