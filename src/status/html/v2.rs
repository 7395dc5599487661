//! How a miner is connected by Stratum V2, in the words of its firmware, and what its messages mean.

use maud::{Markup, html};

use crate::status::{Snapshot, V2View};

/// What AxeOS shows, and what is to be done about it.
const MESSAGES: [(&str, &str); 6] = [
    (
        "SV2: Auth failed - check key",
        "The key in the miner is not the key of this box: copy it again. If it is right, the connection \
         ended too early, as it does while this box starts: the miner tries again by itself.",
    ),
    (
        "SV2: Auth required - no key",
        "Require Authentication is on, and the key is missing or not whole.",
    ),
    (
        "SV2: Pool unreachable",
        "Nothing answers at this host and port: compare both with those above. The port is also shut \
         while no node gives work.",
    ),
    (
        "SV2: Pool not responding",
        "The connection stands, but no answer came: the network loses data. Restart the miner.",
    ),
    (
        "SV2: Pool rejected config",
        "The miner asks for what is not done here, such as choosing the transactions itself.",
    ),
    (
        "SV2: Pool rejected miner",
        "The channel was refused. If the miners' port has a password, it stands behind the user after a \
         comma, because Stratum V2 has no field for it. The log of this box names every other cause.",
    ),
];

/// The page.
pub(super) fn page(s: &Snapshot) -> Markup {
    html! {
        p.back { a href="/#connect" { "← How to connect a miner" } }
        h1 { "Encrypted mining: Stratum V2" }
        @match &s.connect.v2 {
            Some(v2) => (how(s, v2)),
            None => p.do { "It is off here: v2 below [stratum] turns it on." },
        }
    }
}

fn how(s: &Snapshot, v2: &V2View) -> Markup {
    let host = s.connect.addresses.first().map_or("this box", String::as_str);
    let at = html! {
        "Stratum Host " code { (host) } ", Stratum Port " code { (s.connect.port) }
        ", Stratum Protocol " b { "Stratum V2" } ", SV2 Channel Type "
    };
    let text = [
        ("The key of this box", html! { code { (v2.authority_key) } }),
        (
            "Bitaxe: AxeOS 2.14 or newer",
            html! {
                (at) b { "Extended Channels" } ", SV2 Authority Pubkey: the key."
                small {
                    "From 2.15 on tick Require Authentication, too. Standard Channels work as well."
                }
            },
        ),
        (
            "NerdQAxe+: 1.0.37 or newer",
            html! { (at) b { "Extended Channel" } ", SV2 Authority Public Key: the key." },
        ),
    ];
    html! {
        p.do {
            "Nobody on the way reads or changes what the miner sends, and by the key it knows that it talks to \
             this box. It is the same port as ever; the user stays as it is."
        }
        section.part {
            h2 { "What to enter" }
            div {
                div.how {
                    dl {
                        @for (what, how) in &text { dt { (what) } dd { (how) } }
                        @if let Some(url) = &v2.url { dt { "All in one" } dd { code { (url) } } }
                    }
                    @if v2.url.is_some() {
                        figure {
                            img src="/v2.svg" width="148" height="148"
                                alt="QR code of host, port and key in one";
                            figcaption { "All in one" }
                        }
                    }
                }
                p.quiet {
                    "Copy the key instead of typing it: AxeOS takes one that is too short or too long for \
                     none. Without a key the connection is encrypted all the same, but the miner does not \
                     notice if somebody else answers in the place of this box."
                }
            }
        }
        section.part {
            h2 { "What the miner says" }
            div.how { dl {
                @for (message, meaning) in MESSAGES { dt { (message) } dd { (meaning) } }
            } }
        }
    }
}
