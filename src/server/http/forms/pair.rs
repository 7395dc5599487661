//! The other box of a pair: how it stands among the settings, its form, and what the second box is told.

use maud::{Markup, PreEscaped, html};

use crate::settings::PairValues;
use crate::status::{PairView, Snapshot, format, html as page};

use super::super::admin::pair::SavedPair;
use super::{Checked, Limits, PLAIN, Remarks, at_inputs, input, sure};

/// Which of the two boxes is joined by a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Which {
    /// The one where the code is made.
    First,
    /// The one that is told the code.
    Second,
    /// A box that has another one already.
    Known,
}

impl Which {
    /// In the form.
    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Which::First => "first",
            Which::Second => "second",
            Which::Known => "known",
        }
    }
}

/// What is in force, what is saved and what waits, and the ways to join, to try and to end it.
pub(super) fn section(s: &Snapshot, saved: &SavedPair, hidden: &Markup) -> Markup {
    let partner = &saved.values.partner;
    let is_alone = partner.is_empty() && s.pair.is_none();
    html! {
        section.part #pair { h2 { "Two boxes" } div {
            (change(s, hidden))
            @if is_alone && s.pair_change.is_none() {
                p { "A second box takes the miners over when this one fails, and keeps its blocks: "
                    a href="/help/two-boxes" { "what that is" } "." }
                form method="post" action="/pair" {
                    (hidden)
                    p.buttons {
                        button type="submit" name="step" value="first" { "Join a second box" }
                        button type="submit" name="step" value="second" { "This is the second box" }
                    }
                }
            }
            @if !is_alone {
                @if !partner.is_empty() {
                    p { "The other box: " b { (format::tame_to(partner, 60)) }
                        @if !saved.values.virtual_address.is_empty() {
                            ". The miners use " b { (format::tame_to(&saved.values.virtual_address, 60)) }
                        }
                        ". " a href="/pair" { "Both boxes" } }
                }
                @if saved.waits {
                    p.do { "What is saved is in force when Soloist starts the next time." }
                    (restart(hidden))
                }
                @if let Some(pair) = &s.pair { (drill(pair, hidden)) }
                form method="post" action="/pair" {
                    (hidden)
                    p.buttons { button type="submit" name="step" value="edit" {
                        "Change" span.sr { " the other box" }
                    } }
                }
                @if let (Some(pair), None) = (&s.pair, &s.pair_change) { (forget(pair, hidden)) }
            }
        } }
    }
}

/// What waits for its time.
fn change(s: &Snapshot, hidden: &Markup) -> Markup {
    html! {
        @if let Some(change) = &s.pair_change {
            form.pending method="post" action="/pair" {
                (hidden)
                p {
                    @match change.partner.as_str() {
                        "" => {
                            "The other box is forgotten on " (page::date(change.due_at))
                            ". Until then the payout address cannot change without it."
                        },
                        partner => {
                            "The other box is " b { (format::tame_to(partner, 60)) } " from "
                            (page::date(change.due_at)) " on."
                        },
                    }
                }
                button type="submit" name="step" value="keep" { "Cancel it" }
            }
        }
    }
}

/// Starts Soloist anew, held as everywhere.
fn restart(hidden: &Markup) -> Markup {
    html! {
        form method="post" action="/action" {
            (hidden)
            p { "Held for three seconds, so that no slip does it. A found block on its way is waited for." }
            (sure())
            p.buttons {
                button type="submit" name="action" value="restart" data-hold { "Restart Soloist now" }
            }
        }
    }
}

fn drill(pair: &PairView, hidden: &Markup) -> Markup {
    let is_here = pair.own.active == Some(true);
    html! {
        @if let Some(drill) = &pair.drill { p role="status" { (drill.words()) } }
        @if is_here {
            form method="post" action="/action" {
                (hidden)
                p { "Fire drill: the other box takes the address of the miners, and they follow. To bring it \
                     back, press the same there." }
                button type="submit" name="action" value="give_address" { "Give the address to the other box" }
            }
        } @else if pair.virtual_address.is_some() {
            p.quiet { "Fire drill: the box that has the address gives it away, on its own settings page." }
        }
    }
}

fn forget(pair: &PairView, hidden: &Markup) -> Markup {
    html! {
            details {
                summary { "The other box is gone for good" }
                form method="post" action="/pair" {
                    (hidden)
                    p { "After ten minutes this box forgets it, and decides alone again whom its blocks pay. Until \
                         then you can take it back. The other box, if it is there after all, mines on as it is."
                        @if let Some(address) = &pair.virtual_address {
                            " Nobody has the address " (address) " then: give your miners this box's own one first."
                        } }
                    (sure())
                    p.buttons {
                        button type="submit" name="step" value="forget" data-hold { "Forget the other box" }
                    }
                }
            }
    }
}

/// The name of a setting's input.
pub(in super::super) fn input_name(setting: &str) -> String {
    format!("pair-{setting}")
}

/// The form.
pub(super) fn form(
    values: &PairValues,
    checked: &Checked,
    which: Which,
    hidden: &Markup,
) -> Markup {
    const SETTINGS: [&str; 3] = ["partner", "virtual_address", "secret"];
    let checked = at_inputs(checked, input_name);
    let remarks = Remarks::of(&checked);
    let has_field = |field: &str| SETTINGS.into_iter().any(|known| input_name(known) == field);
    let text = |setting: &str, words: &str, value: &str, example: &str| {
        let limits = Limits { example, longest: "200", ..PLAIN };
        input("text", &input_name(setting), words, value, &limits, &remarks)
    };
    let code = values.secret.as_deref().unwrap_or_default();
    let partner = text("partner", "Address of the other box", &values.partner, "192.168.1.21");
    let shared = text(
        "virtual_address",
        "Address that the miners will use, with the size of the network",
        &values.virtual_address,
        "192.168.1.240/24",
    );
    html! {
        h1 { (match which {
            Which::First => "Join a second box",
            Which::Second => "This is the second box",
            Which::Known => "The other box",
        }) }
        (remarks.summary(has_field, "Nothing is changed."))
        form method="post" action="/pair" autocomplete="off" {
            (hidden)
            input type="hidden" name="which" value=(which.name());
            @if which == Which::Second {
                section.part { h2 { "1. The code" } div {
                    (text("secret", "What the first box shows: scan or type it", code, ""))
                    p.quiet { "The whole line, or the code alone. Whoever knows it can pose as one of the boxes." }
                } }
                section.part { h2 { "2. The addresses" } div {
                    (partner)
                    (shared)
                    p.quiet { "Leave both empty where the line above holds them. The other box is the first one, \
                               by its own address." }
                } }
            } @else {
                section.part { h2 { "1. The addresses" } div {
                    (shared)
                    p.quiet { "One that no device has and that your router does not give away: outside the range of \
                               its DHCP. The miners use it, whichever box has it. /24 is the usual size of a home's \
                               network." }
                    (partner)
                    p.quiet { "The router should give each box the same address at all times (static lease)." }
                } }
                section.part { h2 { "2. The code" } div {
                    @if which == Which::First {
                        (text("secret", "A code that was made for you", code, ""))
                        p.quiet { "The second box needs it: it is shown once more when you have saved, and then no \
                                   more." }
                    } @else {
                        (input("password", &input_name("secret"), "Code", code,
                            &Limits { example: "unchanged", ..PLAIN }, &remarks))
                        p.quiet { "The same on both boxes." }
                    }
                } }
            }
            section.part { h2 { "3. Ten minutes" } div {
                p.quiet { "The other box has its word in the payout. So it waits as long as a new payout address \
                           does, and until then you can cancel it."
                    @if which == Which::Known { " Then Soloist has to be restarted." } }
                p.buttons {
                    button.main type="submit" name="step" value="save" { "Save" }
                    @if which == Which::Known {
                        button type="submit" name="step" value="new_code" { "Make a new code" }
                    }
                    a href="/settings#pair" { "Back, without saving" }
                }
            } }
        }
    }
}

/// What waits, and what the second box is told.
pub(super) fn waits(s: &Snapshot, invitation: Option<&str>, hidden: &Markup) -> Markup {
    html! {
        h1 { "In ten minutes" }
        p.do role="status" { "Until then you can cancel it, here and in the settings." }
        (change(s, hidden))
        @if let Some(invitation) = invitation {
            section.part { h2 { "The second box" } div {
                p { "In its settings, below Two boxes, press " b { "This is the second box" } ", and scan or type \
                     this there. It is not shown again." }
                p.where { code { (invitation) } }
                @if let Some(code) = page::qr_of(invitation, "QR code of this line") {
                    figure { (PreEscaped(code)) }
                }
            } }
        }
        p { a href="/settings#pair" { "To the settings" } }
    }
}
