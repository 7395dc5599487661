//! The box itself, and what happened lately.

use maud::{Markup, html};

use crate::status::{BoardView, clocks, format};

use super::{View, age, fact, overview};

/// Heat, memory, card, clock, and the daemon's own share of it.
pub(super) fn board(view: &View<'_>) -> Markup {
    let s = view.s;
    let board = &s.board;
    html! {
        dl.facts {
            @if let Some(temperature) = board.temperature_c {
                (fact("Temperature", format!("{temperature:.0} °C"), heat(board)))
            }
            @if let Some(cpu) = board.cpu {
                (fact("Processor", format::percent(cpu), "in use"))
            }
            @if let (Some(total), Some(free)) = (board.memory_total, board.memory_available) {
                (fact("Memory free", format::bytes(free), format!("of {}", format::bytes(total))))
            }
            @if let (Some(total), Some(free)) = (board.disk_total, board.disk_free) {
                (fact("Card free", format::bytes(free), format!("of {}", format::bytes(total))))
            }
            @if let Some(written) = board.disk_written_day {
                (fact("Written a day", format::bytes(written), ours(board)))
            }
            @if !s.storage.copy_to.is_empty() { (copies(view)) }
            @if let Some(synced) = board.clock_synced {
                (fact("Clock", if synced { "set" } else { "not set" }, clock(board)))
            }
            @if let Some(uptime) = board.uptime_s {
                (fact("Up for", format::duration(uptime), &board.model))
            }
            (fact("Soloist uses", format::bytes(s.process.resident_bytes), lag(view)))
            @if let Some(canary) = &s.canary {
                (fact(
                    "Test miner",
                    html! { @if canary.ok { "passes" } @else { span.bad { "fails" } } },
                    html! {
                        @if let (Some(ms), Some(at)) = (canary.round_trip_ms, canary.last_ok_at) {
                            (format::milliseconds(ms)) ", " (view.ago(at))
                        }
                    },
                ))
            }
        }
        @if !s.sinks.is_empty() {
            p.line {
                @for sink in &s.sinks {
                    span.(if sink.error.is_empty() { "good" } else { "bad" }) {
                        (sink.kind) ": "
                        @if sink.error.is_empty() { (format::thousands(sink.sent)) " sent" }
                        @else { (sink.error) }
                    }
                }
            }
        }
        @if let Some(mqtt) = &s.mqtt {
            p.line {
                span.(if mqtt.error.is_empty() { "good" } else { "bad" }) {
                    "Home Assistant: "
                    @if mqtt.connected { (format::thousands(mqtt.sent)) " sent" }
                    @else if mqtt.error.is_empty() { "connecting" }
                    @else { "the broker cannot be used: " (format::tame_to(&mqtt.error, 200)) }
                }
            }
        }
        @if !s.audit.is_empty() {
            details {
                summary { "Changes made" }
                ul.events {
                    @for entry in s.audit.iter().take(20) {
                        li { (age::date(entry.at)) " " b { (format::tame_to(&entry.text, 300)) } " from " (entry.from) }
                    }
                }
            }
        }
    }
}

/// The nightly copy of the ledger elsewhere.
fn copies(view: &View<'_>) -> Markup {
    let storage = &view.s.storage;
    if !storage.copy_error.is_empty() {
        let why = format::tame_to(&storage.copy_error, 200);
        return fact("Copy of the ledger", html! { span.bad { "fails" } }, why);
    }
    let when = html! {
        @if let Some(at) = storage.copy_at { "made, seen " (view.ago(at)) } @else { "not yet" }
    };
    fact("Copy of the ledger", when, format!("to {}", format::tame(&storage.copy_to)))
}

/// The newest events.
pub(super) fn events(view: &View<'_>) -> Markup {
    let events = &view.s.events;
    html! {
        @if events.is_empty() { p.quiet { "Nothing yet." } }
        ul.events {
            @for event in events.iter().take(12) {
                li.(overview::level(event.level)) { (age::date(event.at)) span { (format::tame_to(&event.text, 600)) } }
            }
        }
    }
}

/// How much of what is written to the card is our own.
fn ours(board: &BoardView) -> String {
    match board.own_written_day {
        Some(own) => format!("{} by Soloist", format::bytes(own)),
        None => "to the card".to_owned(),
    }
}

fn heat(board: &BoardView) -> &'static str {
    match (board.undervoltage, board.throttled) {
        (Some(true), _) => "supply too weak",
        (_, Some(true)) => "slowed down",
        (_, Some(false)) => "full speed",
        _ => "",
    }
}

fn clock(board: &BoardView) -> String {
    match board.clock_offset_s {
        Some(offset) if board.clock_odd => clocks::off(offset),
        // It may as well be the node's that is wrong.
        Some(offset) if offset.abs() >= 1.0 => format!(
            "{} {} the node's",
            format::duration(offset.abs() as u64),
            if offset > 0.0 { "ahead of" } else { "behind" }
        ),
        Some(_) => "to the second".to_owned(),
        None => String::new(),
    }
}

fn lag(view: &View<'_>) -> String {
    match view.s.process.loop_lag_p99_ms {
        Some(ms) => format!("reacts within {}", format::milliseconds(ms)),
        None => String::new(),
    }
}
