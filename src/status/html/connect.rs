//! How to connect a miner: the exact text for each brand, the numeric address first.

use std::fmt::Write;

use maud::{Markup, html};

use crate::status::Snapshot;

use super::View;

/// The panel. Open as long as no miner is connected.
pub(super) fn panel(view: &View<'_>) -> Markup {
    let s = view.s;
    let connect = &s.connect;
    let Some(address) = connect.addresses.first() else {
        return html! {
            p.quiet {
                @if connect.machine.is_empty() {
                    "This box has no address yet: check its network cable."
                } @else {
                    "Only this machine itself can connect to port " (connect.port) ": listen below "
                    "[stratum] covers none of its addresses in the network."
                }
            }
        };
    };
    let port = connect.port;
    let host = bracketed(address);
    let url = format!("stratum+tcp://{host}:{port}");
    let owner = if s.payout.address.is_empty() { "YOUR-ADDRESS" } else { &s.payout.address };
    let brands: [(&str, Markup); 5] = [
        (
            "User, in every miner",
            html! {
                code { (owner) ".gamma" } " password " code { "x" }
                small { "Your payout address, a dot, any name." }
            },
        ),
        (
            "Bitaxe, NerdAxe, NerdQAxe (AxeOS)",
            html! {
                "Stratum host " code { (address) } " port " code { (port) }
                small { "Only the address: no stratum+tcp:// in front." }
            },
        ),
        (
            "NerdMiner and its kin",
            html! {
                "Pool url " code { (address) } " port " code { (port) } ", the user as BTC address"
                small { "The number, not a name: it cannot look up .local names." }
            },
        ),
        ("Avalon, Antminer, Whatsminer, Braiins, LuxOS, VNish", html! { "Pool " code { (url) } }),
        (
            "cgminer, bfgminer, cpuminer",
            html! {
                code { "-o " (url) " -u USER -p x" }
                small { "cpuminer also needs -a sha256d." }
            },
        ),
    ];
    html! {
        p.where {
            code { (address) } " port " code { (port) }
            @if let Some(hostname) = &connect.hostname { " or " code { (hostname) } }
            @for other in connect.addresses.iter().skip(1).take(2) { " or " code { (other) } }
        }
        details open[s.connected().next().is_none()] #how {
            summary { "What to enter in the miner" }
            div.how {
                dl {
                    @for (brand, text) in &brands { dt { (brand) } dd { (text) } }
                }
                @if connect.page.is_some() {
                    figure {
                        img src="/qr.svg" width="116" height="116" loading="lazy"
                            alt={ "QR code of this page's address" };
                        figcaption { "This page on your phone" }
                    }
                }
            }
            p.quiet {
                "By the address NerdQAxe+ checks that the work pays you, and AxeOS marks it. "
                @if s.payout.per_miner {
                    "A miner whose user begins with another Bitcoin address pays that address; all others \
                     pay you."
                } @else {
                    "The money goes to you whatever the miner sends."
                }
                @if connect.v2.is_some() {
                    " " a href="/v2" { "Stratum V2" } " is encrypted."
                }
            }
        }
    }
}

/// The QR code of the page's numeric address, as SVG.
pub(super) fn qr(s: &Snapshot) -> Option<String> {
    svg(s.connect.page.as_ref()?)
}

/// The QR code of a text, as SVG; `None` if it is too long for one.
pub(super) fn svg(text: &str) -> Option<String> {
    let code = qrcode::QrCode::with_error_correction_level(text, qrcode::EcLevel::L).ok()?;
    let width = code.width();
    let mut d = String::new();
    for (y, row) in code.to_colors().chunks(width).enumerate() {
        let mut x = 0;
        while x < width {
            let run = row[x..].iter().take_while(|c| **c == qrcode::Color::Dark).count();
            if run > 0 {
                let _ = write!(d, "M{} {}h{run}v1h-{run}z", x + 2, y + 2);
            }
            x += run.max(1);
        }
    }
    let size = width + 4;
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {size} {size}\" \
         shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h{size}v{size}H0z\"/>\
         <path d=\"{d}\"/></svg>"
    ))
}

/// An IPv6 address in a URL stands in brackets.
fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}
