//! The pages of set-up and settings: plain forms that work without a script.

pub(super) mod devices;
pub(super) mod mqtt;
pub(super) mod pair;
pub(super) mod sinks;

use std::cell::Cell;
use std::time::Duration;

use maud::{Markup, html};

use crate::settings::access::{PIN_MIN, Token, token_hex};
use crate::settings::{MqttValues, NODES_MAX, NodeValues, PairValues, Remark, SinkValues, Values};
use crate::status::{MinerState, MinerView, Snapshot, Verdict, format, html as page};

use super::admin::pair::SavedPair;
use super::admin::{Checked, SinkEntry};

/// Which page.
pub(super) enum Page<'a> {
    /// The first visit: values to begin with, what is said about them, what was done.
    SetUp(Typed<'a>, &'a Checked, &'a [String]),
    /// Values and findings, before the first set-up is saved.
    ConfirmSetUp(Typed<'a>, &'a Checked),
    /// The PIN is asked for; a sentence about the last try, and how long the next one has to wait.
    Login(&'a str, Option<Duration>),
    /// The file rules; a sentence why.
    FileOnly(&'a str),
    /// The miners as devices.
    Devices(devices::Shown<'a>),
    /// What would be sent to one of them.
    DevicePlan(devices::Preview<'a>),
    /// Form token, a miner, and the one that it is as well: asked for, or asked about.
    Join(&'a Token, &'a MinerView, Option<&'a MinerView>),
    /// Form token, values, what is said about them, what was done, the places for notifications, the MQTT
    /// broker, the other box, and whether there is something to take back.
    Settings {
        token: &'a Token,
        values: &'a Values,
        checked: &'a Checked,
        done: &'a [String],
        sinks: &'a [SinkEntry],
        mqtt: &'a MqttValues,
        pair: &'a SavedPair,
        undo: bool,
    },
    /// A place for notifications, new where none is known: what is typed, what is said about it, what was
    /// done.
    Sink {
        token: &'a Token,
        known: Option<&'a SinkEntry>,
        values: &'a SinkValues,
        checked: &'a Checked,
        done: &'a [String],
    },
    /// The MQTT broker: what is typed, what is said about it, what was done, and whether there is one in
    /// force already.
    Mqtt {
        token: &'a Token,
        values: &'a MqttValues,
        checked: &'a Checked,
        done: &'a [String],
        is_known: bool,
    },
    /// The other box of a pair: what is typed, what is said about it, and which box this one is.
    Pair { token: &'a Token, values: &'a PairValues, checked: &'a Checked, which: pair::Which },
    /// It waits for its time: what the second box is told.
    PairWaits { token: &'a Token, invitation: Option<&'a str> },
    /// Form token, values, changes and findings, before they are saved.
    Confirm(&'a Token, &'a Values, &'a [String], &'a Checked),
}

/// What was typed in the set-up: nothing of it is lost when something is wrong.
#[derive(Clone, Copy)]
pub(super) struct Typed<'a> {
    pub values: &'a Values,
    pub pin: &'a str,
    pub again: &'a str,
}

/// The whole document.
pub(super) fn render(snapshot: &Snapshot, verdict: &Verdict, which: Page<'_>) -> String {
    let (title, body) = match which {
        Page::SetUp(typed, checked, done) => ("Set-up", set_up(snapshot, typed, checked, done)),
        Page::ConfirmSetUp(typed, checked) => {
            let pins = html! {
                input type="hidden" name="pin" value=(typed.pin);
                input type="hidden" name="pin2" value=(typed.again);
            };
            ("Set-up", confirm("/setup", &pins, typed.values, None, checked))
        }
        Page::Login(words, wait) => ("PIN", login(words, wait)),
        Page::FileOnly(why) => ("Settings", file_only(why)),
        Page::Settings { token, values, checked, done, sinks, mqtt, pair, undo } => {
            let hidden = hidden(token);
            let told = html! {
                (sinks::list(snapshot, sinks, &hidden))
                (mqtt::section(snapshot, mqtt, &hidden))
                (pair::section(snapshot, pair, &hidden))
            };
            ("Settings", settings((snapshot, verdict), token, values, checked, done, told, undo))
        }
        Page::Mqtt { token, values, checked, done, is_known } => {
            ("Home Assistant", mqtt::form(values, checked, done, is_known, &hidden(token)))
        }
        Page::Pair { token, values, checked, which } => {
            ("Two boxes", pair::form(values, checked, which, &hidden(token)))
        }
        Page::PairWaits { token, invitation } => {
            ("Two boxes", pair::waits(snapshot, invitation, &hidden(token)))
        }
        Page::Sink { token, known, values, checked, done } => {
            ("Notifications", sinks::form(known, values, checked, done, &hidden(token)))
        }
        Page::Devices(shown) => ("Devices", devices::list(snapshot, &shown)),
        Page::DevicePlan(plan) => ("Point it here", devices::preview(snapshot, &plan)),
        Page::Join(token, miner, other) => {
            ("Same miner", join(snapshot, &hidden(token), miner, other))
        }
        Page::Confirm(token, values, changes, checked) => {
            ("Settings", confirm("/settings", &hidden(token), values, Some(changes), checked))
        }
    };
    page::form_document(snapshot, verdict, title, body)
}

/// What is said about the values of a form. Each remark stands at its field, and the first field that
/// has one gets the focus.
struct Remarks<'a> {
    all: Vec<&'a Remark>,
    focused: Cell<bool>,
}

impl<'a> Remarks<'a> {
    fn of(checked: &'a Checked) -> Remarks<'a> {
        let all = checked.problems.iter().chain(&checked.doubts).collect();
        Remarks { all, focused: Cell::new(false) }
    }

    fn at(&self, field: &str) -> Vec<&'a Remark> {
        self.all.iter().filter(|remark| remark.field == field).copied().collect()
    }

    /// How many there are, and those that belong to none of these fields.
    fn summary(&self, has_field: impl Fn(&str) -> bool, saved: &str) -> Markup {
        let others = self.all.iter().filter(|remark| !has_field(&remark.field));
        html! {
            @if !self.all.is_empty() {
                div role="alert" {
                    p.do.bad {
                        (saved) " "
                        @match self.all.len() {
                            1 => "One thing needs a look.",
                            n => { (n) " things need a look." },
                        }
                    }
                    ul.alarms {
                        @for remark in others { li.bad { b { (format::tame_to(&remark.text, 600)) } } }
                    }
                }
            }
        }
    }
}

/// The problems, each at the input of its setting.
fn at_inputs(checked: &Checked, input_name: impl Fn(&str) -> String) -> Checked {
    let at_input = |remark: &Remark| match remark.field.as_str() {
        "" => remark.clone(),
        setting => Remark::at(input_name(setting), remark.text.as_str()),
    };
    Checked { problems: checked.problems.iter().map(at_input).collect(), ..Checked::default() }
}

const NOT_SAVED: &str = "Nothing is saved yet.";

/// The second press, where nothing but doubts is in the way.
fn anyway(checked: &Checked) -> Markup {
    html! {
        @if checked.problems.is_empty() && !checked.doubts.is_empty() {
            p.quiet {
                "Correct what is marked and check again. Or go on all the same: mining starts by itself \
                 when the node can be used."
            }
            button type="submit" name="step" value="anyway" { "Go on all the same" }
        }
    }
}

fn set_up(s: &Snapshot, typed: Typed<'_>, checked: &Checked, done: &[String]) -> Markup {
    let (values, remarks) = (typed.values, Remarks::of(checked));
    let places = values.nodes.len().clamp(1, NODES_MAX);
    let has_field = |field: &str| {
        matches!(field, "payout" | "name" | "pin" | "pin2" | "backup") || is_of_node(field, places)
    };
    html! {
        h1 { "Set up your box" }
        p.do { "Three things, and it mines. Nothing is saved before you have seen it checked." }
        (remarks.summary(has_field, NOT_SAVED))
        @for line in done { p.do role="status" { (format::tame_to(line, 300)) } }
        form method="post" action="/setup" autocomplete="off" {
            @if !values.tag.is_empty() { input type="hidden" name="tag" value=(values.tag); }
            section.part {
                h2 { "1. Who is paid" }
                div { (payout(values, &remarks)) }
            }
            section.part {
                h2 { "2. Your node" }
                div {
                    @for place in 0..places { (node(place, values.nodes.get(place), false, &remarks)) }
                    (node_help(s))
                }
            }
            section.part {
                h2 { "3. Name and PIN" }
                div {
                    (field("name", "Name of this box", &values.name, "solo", "32", &remarks))
                    (pins(typed.pin, typed.again, &remarks))
                    p.quiet { "The PIN protects the settings. It has at least " (PIN_MIN) " characters; more are safer." }
                    button.main type="submit" { "Check" }
                    (anyway(checked))
                }
            }
        }
        @if done.is_empty() { (old_card(&remarks)) }
    }
}

/// Whether a field is one of the first so many nodes'.
fn is_of_node(field: &str, places: usize) -> bool {
    let names = ["url", "user", "password", "zmq", "p2p", "cert"];
    let place = names.iter().find_map(|name| field.strip_prefix(name)?.parse::<usize>().ok());
    place.is_some_and(|place| place < places)
}

/// A backup takes the place of the three things, or of the first.
fn old_card(remarks: &Remarks<'_>) -> Markup {
    html! {
        section.part {
            h2 { "Or: from an old card" }
            div {
                form.narrow method="post" action="/restore" enctype="multipart/form-data" {
                    label {
                        "Backup file"
                        input type="file" name="backup" required aria-invalid=[remarks.invalid("backup")]
                            aria-describedby=[remarks.id("backup")] autofocus[remarks.takes_focus("backup")];
                    }
                    (remarks.beside("backup"))
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

fn login(words: &str, wait: Option<Duration>) -> Markup {
    html! {
        h1 { "Settings" }
        @if let Some(wait) = wait.map(|wait| wait.as_secs() + 1) {
            p.do.bad role="alert" {
                "Too many tries. The PIN can be tried again in "
                span data-wait=(wait) { (format::duration(wait)) } "."
            }
        }
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
    (s, verdict): (&Snapshot, &Verdict),
    token: &Token,
    values: &Values,
    checked: &Checked,
    done: &[String],
    told: Markup,
    undo: bool,
) -> Markup {
    let (hidden, remarks) = (hidden(token), Remarks::of(checked));
    let places = NODES_MAX.min(values.nodes.len() + 1);
    let has_field = |field: &str| {
        matches!(field, "payout" | "tag" | "name" | "pin" | "pin2" | "difficulty" | "passphrase")
            || is_of_node(field, places)
    };
    html! {
        h1 { "Settings" }
        (remarks.summary(has_field, "Nothing is changed."))
        @for line in done { p.do role="status" { (line) } }
        @if let Some(pending) = &s.payout.pending {
            form.pending method="post" action="/settings" {
                (hidden)
                p { "A new payout address waits until " (page::date(pending.due_at)) ":" }
                p { (page::fours(&pending.address)) }
                button type="submit" name="step" value="cancel" { "Cancel it" }
            }
        }
        (alarms(s, verdict, &hidden))
        form method="post" action="/settings" autocomplete="off" {
            (hidden)
            section.part { h2 { "Payout" } div {
                (payout(values, &remarks))
                p.quiet { "A new address comes into force after ten minutes; until then you can cancel it." }
                (field("tag", "Your words in the block", &values.tag, "Soloist", "62", &remarks))
            } }
            section.part { h2 { "Nodes" } div {
                @for place in 0..places { (node(place, values.nodes.get(place), true, &remarks)) }
                p.quiet { "The first one leads as long as it is well. Empty the address to remove a node." }
                (node_help(s))
            } }
            section.part { h2 { "Name" } div {
                (field("name", "Name of this box", &values.name, "solo", "32", &remarks))
                button.main type="submit" { "Check" }
                (anyway(checked))
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
        (told)
        section.part { h2 { "PIN" } div {
            form.narrow method="post" action="/pin" {
                (hidden) (pins("", "", &remarks))
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
        (updates(s, &hidden))
        section.part { h2 { "Devices" } div {
            p { "Point a miner at this box, let it blink, pause or restart it, and look for miners that are \
                 not here yet: " a href="/devices" { "Devices" } "." }
        } }
        @if !s.miners.is_empty() {
            section.part { h2 { "Miners" } div {
                form method="post" action="/action" {
                    (hidden)
                    (choice(s, |miner| html! {
                        @if miner.state == MinerState::Gone { " (missing)" }
                    }))
                    p.quiet { "A recording holds every line that the miner and this box exchange for "
                        "five minutes. A miner that is disconnected comes back by itself in a few "
                        "seconds, which helps one that hangs." }
                    p.buttons {
                        button type="submit" name="action" value="record" { "Record five minutes" }
                        button type="submit" name="action" value="kick" { "Disconnect it" }
                        @if s.miners.len() > 1 {
                            button type="submit" formaction="/join" { "It was renamed" }
                        }
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
                    (field("difficulty", "Difficulty of its shares", "", "found by itself", "20", &remarks))
                    p.quiet { "A number fixes it, whatever the miner asks for, until you empty the "
                        "field. The miner stays connected." }
                    button type="submit" name="action" value="fix" { "Set" }
                }
            } }
        }
        section.part { h2 { "Backup" } div {
            form.narrow method="post" action="/backup" {
                (hidden)
                p { "Shares, blocks, history and settings in one file, for the set-up of another card." }
                (input("password", "passphrase", "Passphrase (optional)", "",
                    &Limits { autocomplete: Some("new-password"), ..PLAIN }, &remarks))
                p.quiet { "Without a passphrase the file lacks passwords, PIN and notifications. With one "
                    "it holds them, sealed. The key by which miners of Stratum V2 know this box is in it "
                    "in any case." }
                button type="submit" { "Download a backup" }
            }
        } }
        section.part { h2 { "For programs" } div {
            p { "Everything on this page, for a dashboard, Home Assistant or Prometheus. Nothing there "
                "changes anything, and no password is needed." }
            ul.places {
                li { a href="/api/status" { "/api/status" } " the state in JSON" }
                li { a href="/api/miners" { "/api/miners" } " the miners in JSON" }
                li { a href="/api/openapi.json" { "/api/openapi.json" } " all that the API answers" }
                li { a href="/metrics" { "/metrics" } " for Prometheus" }
                li { a href="/health/detailed" { "/health/detailed" } " for a monitor: 200 is well, 503 is not" }
            }
        } }
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

/// New versions: to look for one, and to install it.
fn updates(s: &Snapshot, hidden: &Markup) -> Markup {
    html! {
        section.part #update { h2 { "New versions" } div {
            @if let Some(update) = &s.update {
                p { (update.summary) " " a href="/update" { "What changes, and the feed" } }
                (page::update_state(update))
                form method="post" action="/action" {
                    (hidden)
                    button type="submit" name="action" value="check_update" { "Look for a new version" }
                }
                @if let Some(release) = &update.release
                    && update.can_install && matches!(update.step.as_str(), "offered" | "back") {
                    form method="post" action="/action" {
                        (hidden)
                        p { "The miners mine on until the box starts anew. A block on its way is waited for. \
                             Held for three seconds, so that no slip does it." }
                        (sure())
                        button type="submit" name="action" value="install_update" data-hold {
                            "Install version " (release.version)
                        }
                    }
                }
            } @else {
                p { "No update feed is read: feed below [update] names one. "
                    a href="/help/updates" { "What that is" } }
            }
        } }
    }
}

/// What can be done about alarms: to hear of one later, and to forget miners that do not come back.
fn alarms(s: &Snapshot, verdict: &Verdict, hidden: &Markup) -> Markup {
    let missing = || s.miners.iter().filter(|miner| miner.state == MinerState::Gone);
    let nothing =
        verdict.alarms.is_empty() && verdict.snoozed.is_empty() && missing().next().is_none();
    html! {
        @if !nothing {
            section.part #alarms { h2 { "Alarms" } div {
                @for alarm in &verdict.alarms {
                    form.alarm method="post" action="/action" {
                        (hidden)
                        input type="hidden" name="action" value="snooze";
                        input type="hidden" name="alarm" value=(alarm.id);
                        p { (format::tame_to(&alarm.text, 300)) " " (page::meaning(alarm.kind)) }
                        @if alarm.may_be_snoozed() {
                            p.buttons {
                                "Snooze for"
                                button type="submit" name="time" value="hour" { "an hour" }
                                button type="submit" name="time" value="day" { "a day" }
                                button type="submit" name="time" value="week" { "a week" }
                            }
                        } @else {
                            p.quiet { "It cannot be snoozed: a block, or who is paid for it, is at stake." }
                        }
                    }
                }
                @for snoozed in &verdict.snoozed {
                    form.alarm method="post" action="/action" {
                        (hidden)
                        input type="hidden" name="alarm" value=(snoozed.alarm.id);
                        p {
                            (format::tame_to(&snoozed.alarm.text, 300)) " "
                            span.quiet { "Snoozed until " (page::date(snoozed.until)) ", from " (snoozed.from) "." }
                        }
                        p.buttons {
                            button type="submit" name="action" value="wake" { "End the snooze" }
                        }
                    }
                }
                @if !verdict.alarms.is_empty() {
                    p.quiet { "A snoozed alarm stays on the page, but it sends no message and does not count "
                        "for the state. If it gets worse, it is heard again." }
                }
                @if missing().next().is_some() {
                    form method="post" action="/action" {
                        (hidden)
                        fieldset {
                            legend { "Missing miners" }
                            @for miner in missing() {
                                p { label.tick {
                                    input type="checkbox" name="miner" value=(miner.id);
                                    " " (format::tame(&miner.name)) ", missing since " (page::date(miner.since))
                                } }
                            }
                        }
                        p.quiet { "A miner that is forgotten leaves the list with its counts. If it comes "
                            "back, it begins anew." }
                        (sure())
                        p.buttons {
                            button type="submit" name="action" value="forget" data-hold { "Forget those ticked" }
                        }
                    }
                }
            } }
        }
    }
}

/// The page on which a renamed miner gets its history back.
fn join(s: &Snapshot, hidden: &Markup, miner: &MinerView, other: Option<&MinerView>) -> Markup {
    let is_gone = |miner: &MinerView| miner.state == MinerState::Gone;
    let name = format::tame(&miner.name);
    let may_be = |other: &&MinerView| other.id != miner.id && (is_gone(other) || is_gone(miner));
    let others: Vec<&MinerView> = s.miners.iter().filter(may_be).collect();
    match other.filter(may_be) {
        Some(other) => {
            let (from, into) = if is_gone(other) { (other, miner) } else { (miner, other) };
            join_question(hidden, from, into)
        }
        None => html! {
            h1 { (name) " is the same miner as …" }
            p.do { "A miner that was given another name begins anew here. Say which one it was, and its "
                "history is one again." }
            @if others.is_empty() {
                p { "There is no other miner that it could be: one of the two must be missing." }
            } @else {
                form.narrow method="post" action="/join" {
                    (hidden)
                    input type="hidden" name="miner" value=(miner.id);
                    label { "The other miner" select name="other" {
                        @for other in others {
                            option value=(other.id) {
                                (format::tame(&other.name)) ", " (format::tame(&other.model))
                                @if is_gone(other) { ", missing since " (format::date(other.since)) }
                            }
                        }
                    } }
                    button.main type="submit" { "Go on" }
                }
            }
            p { a href={ "/miners/" (miner.id) } { "Back" } }
        },
    }
}

fn join_question(hidden: &Markup, from: &MinerView, into: &MinerView) -> Markup {
    let [old, new] = [from, into].map(|miner| format::tame(&miner.name));
    html! {
        h1 { "Are " (old) " and " (new) " the same miner?" }
        p.do { "The history of " b { (old) } " becomes that of " b { (new) } ", and " b { (old) }
            " is gone. This cannot be undone." }
        ul.findings {
            @for (miner, name) in [(from, &old), (into, &new)] {
                li {
                    (name) ": " (format::thousands(miner.accepted)) " shares since "
                    (page::date(miner.first_seen_at)) ", best " (format::difficulty(miner.best)) "."
                }
            }
        }
        p.quiet { "Shares, best share, blocks and charts are added up; the total of all miners stays as "
            "it is. If a miner comes by the name " (old) " again, it is a new one." }
        form method="post" action="/action" {
            (hidden)
            input type="hidden" name="from" value=(from.id);
            input type="hidden" name="miner" value=(into.id);
            input type="hidden" name="sure" value="yes";
            p.buttons {
                button.main type="submit" name="action" value="join" { "Yes, they are one" }
                a href={ "/miners/" (into.id) } { "No, leave them as they are" }
            }
        }
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
    checked: &Checked,
) -> Markup {
    html! {
        h1 { "Is this right?" }
        p.do { "Compare the address with your wallet, block by block." }
        p.big { (page::fours(&values.payout)) }
        @if !checked.doubts.is_empty() {
            h2 { "You save this although" }
            ul.alarms {
                @for doubt in &checked.doubts {
                    li.bad { b { (format::tame_to(&doubt.text, 600)) } }
                }
            }
        }
        ul.findings {
            @for finding in &checked.findings { li { (format::tame_to(finding, 900)) } }
        }
        @if let Some(changes) = changes {
            h2 { "What changes" }
            @if changes.is_empty() { p { "Nothing." } }
            ul.findings { @for change in changes { li { (format::tame_to(change, 300)) } } }
        }
        form method="post" action=(action) {
            (secret)
            @if !checked.doubts.is_empty() { input type="hidden" name="anyway" value="yes"; }
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
                @if !changes.is_some_and(<[String]>::is_empty) {
                    button.main type="submit" name="step" value="save" { "Yes, save" }
                }
                button type="submit" name="step" value="edit" { "Back to the form" }
                a href="/settings" {
                    @if changes.is_some() { "Drop all changes" }
                    @else { "Begin again: all that you typed is dropped" }
                }
            }
        }
    }
}

fn payout(values: &Values, remarks: &Remarks<'_>) -> Markup {
    html! {
        (field("payout", "Payout address", &values.payout, "bc1q…", "120", remarks))
        p.quiet {
            "A receive address of your own wallet. All kinds are fine: bc1q…, bc1p…, 3…, 1…, with or "
            "without blanks. On a phone, let its camera read your wallet's QR code, then paste here."
        }
    }
}

/// `has_passwords`: an empty password keeps the one in force.
fn node(
    place: usize,
    node: Option<&NodeValues>,
    has_passwords: bool,
    remarks: &Remarks<'_>,
) -> Markup {
    let none = NodeValues::default();
    let kept = node.is_some() && has_passwords;
    let node = node.unwrap_or(&none);
    let title = if place == 0 { "First node".to_owned() } else { format!("Backup node {place}") };
    let field = |name: &str, words: &str, value: &str, example: &str, longest: &str| {
        field(&format!("{name}{place}"), words, value, example, longest, remarks)
    };
    html! {
        fieldset.nodeform {
            legend { (title) }
            (field("url", "RPC address", &node.url, "http://192.168.1.10:8332", "200"))
            (field("user", "RPC user", &node.user, "", "100"))
            (input(
                "password",
                &format!("password{place}"),
                "RPC password",
                node.password.as_deref().unwrap_or(""),
                &Limits { example: if kept { "unchanged" } else { "" }, longest: "200", ..PLAIN },
                remarks,
            ))
            (field("zmq", "ZMQ hashblock (optional)", &node.zmq, "tcp://192.168.1.10:28332", "200"))
            (field("p2p", "P2P port, if it is not the usual one; off for none (optional)", &node.p2p, "192.168.1.10:8333", "200"))
            (field("cert", "Certificate of your own, for https (file on this box, optional)", &node.certificate, "", "200"))
        }
    }
}

fn node_help(s: &Snapshot) -> Markup {
    let us = s.connect.machine.first().map_or("192.168.0.0/16", String::as_str);
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

fn field(
    name: &str,
    words: &str,
    value: &str,
    example: &str,
    longest: &str,
    remarks: &Remarks<'_>,
) -> Markup {
    input("text", name, words, value, &Limits { example, longest, ..PLAIN }, remarks)
}

/// What an input takes.
struct Limits<'a> {
    example: &'a str,
    shortest: Option<&'a str>,
    longest: &'a str,
    autocomplete: Option<&'a str>,
    required: bool,
}

const PLAIN: Limits<'static> =
    Limits { example: "", shortest: None, longest: "200", autocomplete: None, required: false };

/// An input with its label, and what is said about it.
fn input(
    kind: &str,
    name: &str,
    words: &str,
    value: &str,
    limits: &Limits<'_>,
    remarks: &Remarks<'_>,
) -> Markup {
    let text = kind == "text";
    let example = Some(limits.example).filter(|example| text || !example.is_empty());
    let labelled = html! {
        label {
            (words)
            input type=(kind) name=(name) value=(value) placeholder=[example]
                minlength=[limits.shortest] maxlength=(limits.longest) required[limits.required]
                autocomplete=[limits.autocomplete.or((!text).then_some("off"))]
                autocapitalize=[text.then_some("none")] autocorrect=[text.then_some("off")]
                spellcheck=[text.then_some("false")] aria-invalid=[remarks.invalid(name)]
                aria-describedby=[remarks.id(name)] autofocus[remarks.takes_focus(name)];
        }
    };
    match remarks.invalid(name) {
        Some(_) => html! { div.field { (labelled) (remarks.beside(name)) } },
        None => labelled,
    }
}

impl Remarks<'_> {
    fn invalid(&self, field: &str) -> Option<&'static str> {
        (!self.at(field).is_empty()).then_some("true")
    }

    fn id(&self, field: &str) -> Option<String> {
        self.invalid(field).map(|_| format!("about-{field}"))
    }

    /// The first field that something is said about.
    fn takes_focus(&self, field: &str) -> bool {
        !self.at(field).is_empty() && !self.focused.replace(true)
    }

    /// What is said about a field, below it.
    fn beside(&self, field: &str) -> Markup {
        html! {
            @if let Some(id) = self.id(field) {
                span.wrong id=(id) {
                    @for remark in self.at(field) { span { (format::tame_to(&remark.text, 600)) } }
                }
            }
        }
    }
}

/// The PIN, twice.
fn pins(pin: &str, again: &str, remarks: &Remarks<'_>) -> Markup {
    let shortest = PIN_MIN.to_string();
    let limits = Limits {
        shortest: Some(&shortest),
        longest: "128",
        autocomplete: Some("new-password"),
        required: true,
        ..PLAIN
    };
    html! {
        (input("password", "pin", "New PIN", pin, &limits, remarks))
        (input("password", "pin2", "Once more", again, &limits, remarks))
    }
}
