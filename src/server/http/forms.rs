//! The pages of set-up and settings: plain forms that work without a script.

use maud::{Markup, html};

use crate::settings::access::{Token, token_hex};
use crate::settings::{NODES_MAX, NodeValues, Values};
use crate::status::{MinerState, MinerView, Snapshot, Verdict, format, html as page};

/// Which page.
pub(super) enum Page<'a> {
    /// The first visit: values to begin with, what is wrong with them, what was done.
    SetUp(&'a Values, &'a [String], &'a [String]),
    /// Values, PIN and findings, before the first set-up is saved.
    ConfirmSetUp(&'a Values, &'a str, &'a [String]),
    /// The PIN is asked for; a sentence about the last try.
    Login(&'a str),
    /// The file rules; a sentence why.
    FileOnly(&'a str),
    /// Form token, values, problems, what was done, whether there is something to take back.
    Settings(&'a Token, &'a Values, &'a [String], &'a [String], bool),
    /// Form token, values, changes and findings, before they are saved.
    Confirm(&'a Token, &'a Values, &'a [String], &'a [String]),
}

/// The whole document.
pub(super) fn render(snapshot: &Snapshot, verdict: &Verdict, which: Page<'_>) -> String {
    let (title, body) = match which {
        Page::SetUp(values, problems, done) => ("Set-up", set_up(snapshot, values, problems, done)),
        Page::ConfirmSetUp(values, pin, findings) => {
            let pin = html! {
                input type="hidden" name="pin" value=(pin);
                input type="hidden" name="pin2" value=(pin);
            };
            ("Set-up", confirm("/setup", &pin, values, None, findings))
        }
        Page::Login(words) => ("PIN", login(words)),
        Page::FileOnly(why) => ("Settings", file_only(why)),
        Page::Settings(token, values, problems, done, undo) => {
            ("Settings", settings(snapshot, token, values, problems, done, undo))
        }
        Page::Confirm(token, values, changes, findings) => {
            ("Settings", confirm("/settings", &hidden(token), values, Some(changes), findings))
        }
    };
    page::form_document(snapshot, verdict, title, body)
}

fn set_up(s: &Snapshot, values: &Values, problems: &[String], done: &[String]) -> Markup {
    html! {
        h1 { "Set up your box" }
        p.do { "Three things, and it mines. Nothing is saved before you have seen it checked." }
        (complaints(problems))
        @for line in done { p.do role="status" { (format::tame_to(line, 300)) } }
        form method="post" action="/setup" autocomplete="off" {
            @if !values.tag.is_empty() { input type="hidden" name="tag" value=(values.tag); }
            section.part {
                h2 { "1. Who is paid" }
                div { (payout(values)) }
            }
            section.part {
                h2 { "2. Your node" }
                div {
                    @for place in 0..values.nodes.len().clamp(1, NODES_MAX) {
                        (node(place, values.nodes.get(place)))
                    }
                    (node_help(s))
                }
            }
            section.part {
                h2 { "3. Name and PIN" }
                div {
                    (field("name", "Name of this box", &values.name, "solo", "32"))
                    (pin("New PIN", "new-password"))
                    p.quiet { "The PIN protects the settings. Choose at least six characters." }
                    button.main type="submit" { "Check" }
                }
            }
        }
        @if done.is_empty() { (old_card()) }
    }
}

/// A backup takes the place of the three things, or of the first.
fn old_card() -> Markup {
    html! {
        section.part {
            h2 { "Or: from an old card" }
            div {
                form.narrow method="post" action="/restore" enctype="multipart/form-data" {
                    label { "Backup file" input type="file" name="backup" required; }
                    label { "Its passphrase, if it has one"
                        input type="password" name="passphrase" maxlength="200" autocomplete="off"; }
                    p.quiet {
                        "A copy that Soloist made each night (soloist-….backup), or the file of "
                        code { "soloist backup" } ". Shares, blocks and history come back, and the "
                        "settings: with the passphrase all of them, else without passwords and PIN."
                    }
                    button type="submit" { "Restore" }
                }
            }
        }
    }
}

fn login(words: &str) -> Markup {
    html! {
        h1 { "Settings" }
        @if !words.is_empty() { p.do.bad role="alert" { (words) } }
        form.narrow method="post" action="/login" {
            label { "PIN" input type="password" name="pin" required autofocus
                autocomplete="current-password"; }
            button.main type="submit" { "Go on" }
        }
    }
}

fn file_only(why: &str) -> Markup {
    html! {
        h1 { "Settings" }
        p.do { (why) }
        p { "Until then the page changes nothing." }
    }
}

fn settings(
    s: &Snapshot,
    token: &Token,
    values: &Values,
    problems: &[String],
    done: &[String],
    undo: bool,
) -> Markup {
    let hidden = hidden(token);
    html! {
        h1 { "Settings" }
        (complaints(problems))
        @for line in done { p.do role="status" { (line) } }
        @if let Some(pending) = &s.payout.pending {
            form.pending method="post" action="/settings" {
                (hidden)
                p { "A new payout address waits until " (page::date(pending.due_at)) ":" }
                p { (page::fours(&pending.address)) }
                button type="submit" name="step" value="cancel" { "Cancel it" }
            }
        }
        form method="post" action="/settings" autocomplete="off" {
            (hidden)
            section.part { h2 { "Payout" } div {
                (payout(values))
                p.quiet { "A new address comes into force after ten minutes; until then you can cancel it." }
                (field("tag", "Your words in the block", &values.tag, "Soloist", "62"))
            } }
            section.part { h2 { "Nodes" } div {
                @for place in 0..NODES_MAX.min(values.nodes.len() + 1) {
                    (node(place, values.nodes.get(place)))
                }
                p.quiet { "The first one leads as long as it is well. Empty the address to remove a node." }
                (node_help(s))
            } }
            section.part { h2 { "Name" } div {
                (field("name", "Name of this box", &values.name, "solo", "32"))
                button.main type="submit" { "Check" }
            } }
        }
        @if undo {
            section.part { h2 { "Undo" } div {
                form method="post" action="/settings" {
                    (hidden)
                    p { "Take back the last change." }
                    button type="submit" name="step" value="undo" { "Undo" }
                }
            } }
        }
        section.part { h2 { "PIN" } div {
            form.narrow method="post" action="/pin" {
                (hidden) (pin("New PIN", "new-password"))
                button type="submit" { "Change the PIN" }
            }
        } }
        section.part { h2 { "By hand" } div {
            form method="post" action="/action" {
                (hidden)
                p { "Fire drill: the block that would be sent now is shown to every node, and you "
                    "read whether they would take it." }
                button type="submit" name="action" value="drill" { "Fire drill" }
            }
            @if !s.sinks.is_empty() {
                form method="post" action="/action" {
                    (hidden)
                    p { "A test message to every place for notifications." }
                    button type="submit" name="action" value="sinks" { "Send a test" }
                }
            }
            form method="post" action="/action" {
                (hidden)
                p { "Held for three seconds, so that no slip does it. A found block on its way is "
                    "waited for." }
                (sure())
                p.buttons {
                    button type="submit" name="action" value="restart" data-hold { "Restart Soloist" }
                    button type="submit" name="action" value="reboot" data-hold { "Restart the box" }
                    button type="submit" name="action" value="poweroff" data-hold { "Shut the box down" }
                }
            }
        } }
        @if !s.miners.is_empty() {
            section.part { h2 { "Miners" } div {
                form method="post" action="/action" {
                    (hidden)
                    (choice(s, |miner| html! {
                        @if miner.state == MinerState::Gone { " (missing)" }
                    }))
                    p.quiet { "A recording holds every line that the miner and this box exchange for "
                        "five minutes. A miner that is disconnected comes back by itself in a few seconds, which helps one "
                        "that hangs. A miner that is forgotten leaves the list with its counts; if "
                        "it comes back, it begins anew." }
                    (sure())
                    p.buttons {
                        button type="submit" name="action" value="record" { "Record five minutes" }
                        button type="submit" name="action" value="kick" { "Disconnect it" }
                        button type="submit" name="action" value="forget" data-hold { "Forget it" }
                    }
                }
            } }
            section.part { h2 { "Difficulty" } div {
                form.narrow method="post" action="/action" {
                    (hidden)
                    (choice(s, |miner| html! {
                        @if miner.difficulty_locked {
                            " (fixed at " (format::difficulty(miner.difficulty)) ")"
                        }
                    }))
                    (field("difficulty", "Difficulty of its shares", "", "found by itself", "20"))
                    p.quiet { "A number fixes it, whatever the miner asks for, until you empty the "
                        "field. The miner stays connected." }
                    button type="submit" name="action" value="fix" { "Set" }
                }
            } }
        }
        section.part { h2 { "Log" } div {
            p.buttons {
                a href="/log" { "The last lines" }
                a href="/support.txt" { "Report for support, without secrets" }
            }
            form.narrow method="post" action="/action" {
                (hidden)
                label { "How much is logged, until the next start" select name="level" {
                    @for level in ["error", "warn", "info", "debug", "trace"] {
                        option value=(level) selected[level == log_level()] { (level) }
                    }
                } }
                button type="submit" name="action" value="level" { "Set" }
            }
            form method="post" action="/logout" { (hidden) button type="submit" { "Leave the settings" } }
        } }
    }
}

/// One of the miners, each with something about it.
fn choice(s: &Snapshot, about: impl Fn(&MinerView) -> Markup) -> Markup {
    html! {
        label { "Miner" select name="miner" {
            @for miner in &s.miners {
                option value=(miner.id) { (format::tame(&miner.name)) (about(miner)) }
            }
        } }
    }
}

/// What lets a form pass.
fn hidden(token: &Token) -> Markup {
    html! { input type="hidden" name="token" value=(token_hex(token)); }
}

/// For browsers without a script; the script puts a held button in its place.
fn sure() -> Markup {
    html! {
        p { label.tick { input type="checkbox" name="sure" value="yes"; " I am sure" } }
    }
}

fn log_level() -> String {
    log::max_level().as_str().to_lowercase()
}

/// `secret`: what lets the form pass, hidden in it. `changes`: of values that others give way to.
fn confirm(
    action: &str,
    secret: &Markup,
    values: &Values,
    changes: Option<&[String]>,
    findings: &[String],
) -> Markup {
    html! {
        h1 { "Is this right?" }
        p.do { "Compare the address with your wallet, block by block." }
        p.big { (page::fours(&values.payout)) }
        ul.findings {
            @for finding in findings { li { (format::tame_to(finding, 600)) } }
        }
        @if let Some(changes) = changes {
            h2 { "What changes" }
            @if changes.is_empty() { p { "Nothing." } }
            ul.findings { @for change in changes { li { (format::tame_to(change, 300)) } } }
        }
        form method="post" action=(action) {
            (secret)
            input type="hidden" name="name" value=(values.name);
            input type="hidden" name="payout" value=(values.payout);
            input type="hidden" name="tag" value=(values.tag);
            @for (i, node) in values.nodes.iter().enumerate() {
                input type="hidden" name={ "url" (i) } value=(node.url);
                input type="hidden" name={ "user" (i) } value=(node.user);
                input type="hidden" name={ "password" (i) } value=(node.password.as_deref().unwrap_or(""));
                input type="hidden" name={ "zmq" (i) } value=(node.zmq);
                input type="hidden" name={ "p2p" (i) } value=(node.p2p);
                input type="hidden" name={ "cert" (i) } value=(node.certificate);
            }
            p.buttons {
                @if changes.is_some_and(<[String]>::is_empty) {
                    a href="/settings" { "Back" }
                } @else {
                    button.main type="submit" name="step" value="save" { "Yes, save" }
                    a href="/settings" { "No, begin again" }
                }
            }
        }
    }
}

fn complaints(problems: &[String]) -> Markup {
    html! {
        @if !problems.is_empty() {
            ul.alarms role="alert" {
                @for problem in problems { li.bad { b { (format::tame_to(problem, 400)) } } }
            }
        }
    }
}

fn payout(values: &Values) -> Markup {
    html! {
        (field("payout", "Payout address", &values.payout, "bc1q…", "120"))
        p.quiet {
            "A receive address of your own wallet. All kinds are fine: bc1q…, bc1p…, 3…, 1…, with or "
            "without blanks. On a phone, let its camera read your wallet's QR code, then paste here."
        }
    }
}

fn node(place: usize, node: Option<&NodeValues>) -> Markup {
    let none = NodeValues::default();
    let known = node.is_some();
    let node = node.unwrap_or(&none);
    let title = if place == 0 { "First node".to_owned() } else { format!("Backup node {place}") };
    html! {
        fieldset.nodeform {
            legend { (title) }
            (field(&format!("url{place}"), "RPC address", &node.url, "http://192.168.1.10:8332", "200"))
            (field(&format!("user{place}"), "RPC user", &node.user, "", "100"))
            label {
                "RPC password"
                input type="password" name={ "password" (place) } maxlength="200"
                    autocomplete="off" placeholder=[known.then_some("unchanged")]
                    value=(node.password.as_deref().unwrap_or(""));
            }
            (field(&format!("zmq{place}"), "ZMQ hashblock (optional)", &node.zmq, "tcp://192.168.1.10:28332", "200"))
            (field(&format!("p2p{place}"), "P2P port, if it is not the usual one; off for none (optional)", &node.p2p, "192.168.1.10:8333", "200"))
            (field(&format!("cert{place}"), "Certificate of your own, for https (file on this box, optional)", &node.certificate, "", "200"))
        }
    }
}

fn node_help(s: &Snapshot) -> Markup {
    let us = s.connect.addresses.first().map_or("192.168.0.0/16", String::as_str);
    html! {
        details {
            summary { "What the node needs" }
            p { "In its bitcoin.conf, then restart it:" }
            pre { code {
                "server=1\nrpcauth=soloist:…\nrpcbind=0.0.0.0\nrpcallowip=" (us)
                "\nzmqpubhashblock=tcp://0.0.0.0:28332"
            } }
            p.quiet {
                "Bitcoin Core's share/rpcauth/rpcauth.py soloist prints the rpcauth line and the "
                "password for this form. rpcallowip lets this box in, and nobody else. On an Umbrel, "
                "Start9 or myNode the app of the node shows address, user and password."
            }
        }
    }
}

fn field(name: &str, words: &str, value: &str, example: &str, longest: &str) -> Markup {
    html! {
        label {
            (words)
            input type="text" name=(name) value=(value) placeholder=(example) maxlength=(longest)
                autocapitalize="none" autocorrect="off" spellcheck="false";
        }
    }
}

fn pin(words: &str, kind: &str) -> Markup {
    html! {
        label { (words) input type="password" name="pin" required minlength="4" maxlength="128"
            autocomplete=(kind); }
        label { "Once more" input type="password" name="pin2" required minlength="4" maxlength="128"
            autocomplete=(kind); }
    }
}
