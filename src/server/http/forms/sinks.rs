//! The places for notifications: their list among the settings, and the form of one.

use maud::{Markup, html};

use crate::settings::{SERVICES, SINKS_MAX, SinkField, SinkValues, TOPICS};
use crate::status::{SinkView, Snapshot, format, html as page};

use super::{Checked, Limits, PLAIN, Remarks, SinkEntry, at_inputs, input, sure};

/// The list, each place with whether its last message arrived, and the way to one more.
pub(super) fn list(s: &Snapshot, sinks: &[SinkEntry], hidden: &Markup) -> Markup {
    html! {
        section.part #notifications { h2 { "Notifications" } div {
            @if sinks.is_empty() {
                p { "No messages are sent yet. A phone can be told of a found block, a missing miner, and "
                    "whatever else this page shows." }
            }
            @for sink in sinks {
                form.alarm method="post" action="/notify" {
                    (hidden)
                    input type="hidden" name="sink" value=(sink.id.0);
                    p { b { (sink.view.kind) } @if !sink.host.is_empty() { ", " (format::tame(&sink.host)) } }
                    p { (arrives(s, &sink.view)) }
                    @if !sink.values.silent.is_empty() {
                        p.quiet { "Not told: " (silent(&sink.values)) "." }
                    }
                    p.buttons {
                        button type="submit" name="step" value="test" {
                            "Send a test" span.sr { " to " (sink.view.kind) }
                        }
                        button type="submit" name="step" value="edit" {
                            "Change" span.sr { " " (sink.view.kind) }
                        }
                    }
                }
            }
            @if sinks.len() < SINKS_MAX {
                form.narrow method="post" action="/notify" {
                    (hidden)
                    label { @if sinks.is_empty() { "Send messages by" } @else { "One more, by" }
                        select name="kind" {
                            @for service in SERVICES { option value=(service.name) { (service.words) } }
                        }
                    }
                    button type="submit" name="step" value="new" { "Add" }
                }
            } @else {
                p.quiet { "These are as many as there can be." }
            }
        } }
    }
}

/// Whether the last message arrived there.
fn arrives(s: &Snapshot, view: &SinkView) -> Markup {
    html! {
        @match (view.last_ok_at, view.failed_at) {
            _ if !view.error.is_empty() => span.bad {
                "The last message did not arrive"
                @if let Some(at) = view.failed_at { " (" (page::date(at)) ")" }
                ": " (format::tame_to(&view.error, 200)) "."
            },
            (Some(at), _) => span.good { "The last message arrived " (page::date(at)) "." },
            _ => span.quiet { "No message was sent since the start, " (page::date(s.started_at)) "." },
        }
        @if view.failed > 0 {
            span.quiet { " " (format::thousands(view.sent)) " sent, " (format::thousands(view.failed)) " lost." }
        }
    }
}

fn silent(values: &SinkValues) -> String {
    let words = TOPICS.iter().filter(|(name, _)| values.silent.contains(name));
    let words: Vec<String> = words.map(|(_, words)| lower(words)).collect();
    words.join("; ")
}

/// In the middle of a sentence.
fn lower(words: &str) -> String {
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// The name of a field's input: `token` alone is that of every form.
pub(in crate::server::http) fn input_name(field: &str) -> String {
    format!("sink-{field}")
}

/// One place: what its service asks for, what it is told, and the ways to try, save and remove it.
pub(super) fn form(
    known: Option<&SinkEntry>,
    values: &SinkValues,
    checked: &Checked,
    done: &[String],
    hidden: &Markup,
) -> Markup {
    let (fields, help, words) = values
        .service()
        .map_or((&[][..], "", ""), |service| (service.fields, service.help, service.words));
    let checked = at_inputs(checked, input_name);
    let remarks = Remarks::of(&checked);
    let has_field = |field: &str| {
        field == input_name("topics") || fields.iter().any(|known| input_name(known.name) == field)
    };
    let id = known.map(|known| known.id.0.to_string()).unwrap_or_default();
    html! {
        h1 { (words) }
        (remarks.summary(has_field, "Nothing is changed."))
        @for line in done { p.do role="status" { (format::tame_to(line, 300)) } }
        form method="post" action="/notify" autocomplete="off" {
            (hidden)
            input type="hidden" name="sink" value=(id);
            input type="hidden" name="kind" value=(values.kind);
            section.part { h2 { "Where to" } div {
                p.quiet { (help) }
                @for field in fields { (one(field, values, known.is_some(), &remarks)) }
            } }
            section.part { h2 { "What is told" } div {
                fieldset aria-describedby=[remarks.id(&input_name("topics"))] {
                    legend.sr { "What is told" }
                    @for (name, words) in TOPICS {
                        label.tick {
                            input type="checkbox" name="topic" value=(name)
                                checked[!values.silent.contains(&name)];
                            " " (words)
                        }
                    }
                }
                (remarks.beside(&input_name("topics")))
            } }
            p.buttons {
                button.main type="submit" name="step" value="save" { "Save" }
                button type="submit" name="step" value="try" { "Send a test first" }
                a href="/settings#notifications" { "Back, without saving" }
            }
        }
        @if known.is_some() {
            form method="post" action="/notify" {
                (hidden)
                input type="hidden" name="sink" value=(id);
                p.quiet { "A place that is removed is told so, as its last message." }
                (sure())
                p.buttons {
                    button type="submit" name="step" value="remove" data-hold { "Remove this place" }
                }
            }
        }
    }
}

/// `is_known`: a secret that is left blank stays.
fn one(field: &SinkField, values: &SinkValues, is_known: bool, remarks: &Remarks<'_>) -> Markup {
    let example = match (field.is_secret, is_known) {
        (true, true) => "unchanged",
        _ => field.example,
    };
    // Whole addresses are typed in the open, or nobody could read what he pastes.
    let kind = if matches!(field.name, "token" | "password") { "password" } else { "text" };
    let limits = Limits { example, longest: "500", ..PLAIN };
    input(kind, &input_name(field.name), field.words, values.get(field.name), &limits, remarks)
}
