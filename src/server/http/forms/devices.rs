//! The miners as devices: their list with a button each, and what would be sent to one.

use maud::{Markup, html};

use crate::devices::Way;
use crate::devices::pointing::Command;
use crate::settings::Remark;
use crate::settings::access::Token;
use crate::settings::devices::{DevicePlan, PointWish};
use crate::status::{Snapshot, format, html as page};

use super::super::admin::devices::{DeviceEntry, DeviceList};
use super::{hidden, sure};

/// The list.
pub(in super::super) struct Shown<'a> {
    pub token: &'a Token,
    pub list: &'a DeviceList,
    pub problems: &'a [Remark],
    pub done: &'a [String],
}

/// What would be sent.
pub(in super::super) struct Preview<'a> {
    pub token: &'a Token,
    pub entry: &'a DeviceEntry,
    pub wish: &'a PointWish,
    pub plan: &'a DevicePlan,
}

/// All devices, and the search for more, which comes first as long as there is none.
pub(super) fn list(s: &Snapshot, shown: &Shown<'_>) -> Markup {
    let Shown { token, list, problems, done } = shown;
    let hidden = hidden(token);
    let is_empty = list.devices.is_empty();
    html! {
        p.back { a href="/#miners" { "← All miners" } }
        h1 { "Devices" }
        @for remark in *problems { p.do.bad role="alert" { (format::tame_to(&remark.text, 600)) } }
        @for line in *done { p.do role="status" { (format::tame_to(line, 300)) } }
        (intro(s))
        @if !list.asks {
            p.do {
                "Devices are not asked: write " code { "ask = true" } " below " code { "[devices]" }
                " in soloist.toml."
            }
        }
        @if is_empty { (search(list, &hidden)) }
        @for entry in &list.devices { (device(s, entry, &hidden)) }
        @if !is_empty { (search(list, &hidden)) }
    }
}

/// What the page is for. The set-up ends here: then nobody is connected yet.
fn intro(s: &Snapshot) -> Markup {
    html! {
        @if s.connected().next().is_none() {
            p.do {
                "This box is set up, and no miner is connected to it yet. Look for your miners here, and point \
                 each at this box with a press."
            }
            p {
                "A miner that is not found is told by hand: " a href="/#connect" { "what to enter in it" } ". \
                 As soon as one mines, " a href="/" { "the page" } " shows it."
            }
        } @else {
            p.do { "Your miners, as they tell of themselves. Nothing is sent to one before you press." }
        }
    }
}

fn search(list: &DeviceList, hidden: &Markup) -> Markup {
    let is_first = list.devices.is_empty();
    html! {
        section.part { h2 { @if is_first { "Look for miners" } @else { "Look for more" } } div {
            form method="post" action="/devices" {
                (hidden)
                p {
                    "Soloist asks the network by mDNS who announces itself as a miner, and tries ports 80 and \
                     4028 of each address near this box"
                    @if !list.networks.is_empty() { " (" (list.networks.join(", ")) ")" }
                    ", sixteen at a time. Nothing is changed anywhere. It takes about half a minute for each \
                     network."
                }
                @if is_first {
                    p.quiet {
                        "A miner that is connected already is asked within half a minute, if its firmware has \
                         an API: Bitaxe, NerdQAxe, NMAxe, Avalon and others."
                    }
                }
                @if let Some(at) = list.searched_at { p.quiet { "The last search ended " (page::date(at)) "." } }
                p.buttons {
                    button.main[is_first] type="submit" name="step" value="find" { "Look for miners" }
                }
            }
        } }
    }
}

fn device(s: &Snapshot, entry: &DeviceEntry, hidden: &Markup) -> Markup {
    let view = &entry.view;
    let name = s.device_name(view);
    html! {
        section.part.device { h2 { (name) } div {
            (told(entry))
            @if let Some(pointed) = &entry.pointed {
                p { "It was pointed here " (page::date(pointed.at)) ". " (pointed.words) }
            }
            @if !entry.mines_here { (ways(entry, hidden, &name)) }
            @if !entry.commands.is_empty() || entry.pointed.is_some() { (presses(entry, hidden, &name)) }
        } }
    }
}

/// What it can be told.
fn presses(entry: &DeviceEntry, hidden: &Markup, name: &str) -> Markup {
    html! {
        form method="post" action="/devices" {
            (hidden)
            input type="hidden" name="device" value=(entry.view.address);
            @if entry.commands.contains(&Command::Restart) { (sure()) }
            p.buttons {
                @for command in &entry.commands {
                    button type="submit" name="step" value=(command.name())
                        data-hold[*command == Command::Restart] {
                        (label(*command)) span.sr { " " (name) }
                    }
                }
                @if entry.pointed.is_some() {
                    button type="submit" name="step" value="back" {
                        "Put its old settings back" span.sr { ", " (name) }
                    }
                }
            }
        }
    }
}

/// What it says of itself. Of one that is silent, nothing is shown as if it were so now.
fn told(entry: &DeviceEntry) -> Markup {
    let view = &entry.view;
    let heat = view.chip_c.map(page::celsius);
    let power = view.watts.map(page::watts);
    let rate = view.hashrate.map(format::hashrate);
    html! {
        p {
            @if !view.model.is_empty() { b { (format::tame(&view.model)) } ", " }
            @if !view.firmware.is_empty() { (format::tame(&view.firmware)) ", " }
            "at " (view.address)
            @if view.silent_since.is_none() {
                @for value in [rate, heat, power].into_iter().flatten() { ", " (value) }
            }
            "."
        }
        p {
            @if let Some(since) = view.silent_since {
                b.warn { "It has told nothing since " (page::date(since)) ": " (view.silent_why) "." }
            }
            @else if entry.mines_here { "It mines here." }
            @else if let Some(pool) = &view.pool { "It mines at " b { (page::breaking(pool)) } "." }
            @else { "Where it mines is not known." }
        }
    }
}

fn label(command: Command) -> &'static str {
    match command {
        Command::Identify => "Which one is it?",
        Command::Pause => "Pause",
        Command::Resume => "Resume",
        Command::Restart => "Restart",
    }
}

/// How it is pointed here.
fn ways(entry: &DeviceEntry, hidden: &Markup, name: &str) -> Markup {
    let by_hand = html! {
        p { (format::tame_to(&entry.by_hand, 400)) }
    };
    match entry.way {
        Way::ByHand => by_hand,
        Way::PairWithLogin => html! {
            p { "It asks for a one-time password before it takes settings, which this box does not have." }
            (by_hand)
        },
        Way::List | Way::Pair => html! {
            form method="post" action="/devices" {
                (hidden)
                input type="hidden" name="device" value=(entry.view.address);
                @if entry.speaks_v2 {
                    p { label.tick {
                        input type="checkbox" name="v2" value="yes";
                        " By Stratum V2, encrypted, with this box's key"
                    } }
                }
                details {
                    summary { "A second pool, for when this box is away" }
                    label { "Pool (left empty: as it is)"
                        input type="text" name="pool" maxlength="140" placeholder="solo.example.org:3333"
                            autocapitalize="none" spellcheck="false"; }
                    label { "User there"
                        input type="text" name="pool_user" maxlength="200" autocapitalize="none"
                            spellcheck="false"; }
                }
                p { button.main type="submit" name="step" value="plan" {
                    "Point it here" span.sr { ": " (name) }
                } }
            }
        },
    }
}

/// Old and new side by side, and the press that sends it.
pub(super) fn preview(s: &Snapshot, preview: &Preview<'_>) -> Markup {
    let Preview { token, entry, wish, plan } = preview;
    let name = s.device_name(&entry.view);
    html! {
        h1 { "Point " (name) " here?" }
        p.do { "This is what is sent to " (entry.view.address) ". All its other settings stay." }
        table.plan {
            thead { tr {
                th scope="col" { "Setting" } th scope="col" { "Now" } th scope="col" { "Then" }
            } }
            tbody {
                @for [what, old, new] in &plan.rows {
                    tr {
                        th scope="row" { (format::tame(what)) }
                        td { (value(old)) }
                        td { (value(new)) }
                    }
                }
            }
        }
        @if plan.not_restored.is_empty() {
            p { "The button \"Put its old settings back\" brings all of this back." }
        } @else {
            p { "The button \"Put its old settings back\" cannot bring back everything:" }
            ul.alarms {
                @for sentence in &plan.not_restored {
                    li.warn { b { (format::tame_to(sentence, 300)) } }
                }
            }
        }
        @if plan.restarts { p { "It starts anew then, which takes about 20 seconds." } }
        form method="post" action="/devices" {
            (hidden(token))
            input type="hidden" name="device" value=(entry.view.address);
            input type="hidden" name="seen" value=(plan.seen);
            @if wish.v2 { input type="hidden" name="v2" value="yes"; }
            @if let Some(fallback) = &wish.fallback {
                input type="hidden" name="pool" value={ (fallback.host) ":" (fallback.port) };
                input type="hidden" name="pool_user" value=(fallback.user);
            }
            p.buttons {
                button.main type="submit" name="step" value="point" { "Yes, send it" }
                a href="/devices" { "Leave it as it is" }
            }
        }
    }
}

fn value(text: &str) -> Markup {
    match text {
        "" => html! { span.quiet { "nothing" } },
        text => page::breaking(text),
    }
}
