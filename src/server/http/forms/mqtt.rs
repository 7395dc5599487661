//! The MQTT broker by which Home Assistant is told: how it stands among the settings, and its form.

use maud::{Markup, html};

use crate::devices::pointing::Command;
use crate::mqtt::Version;
use crate::settings::MqttValues;
use crate::status::{Snapshot, format, html as page};

use super::{Checked, Limits, PLAIN, Remarks, at_inputs, input};

/// Whether it takes us, and the ways to try and to change it.
pub(super) fn section(s: &Snapshot, values: &MqttValues, hidden: &Markup) -> Markup {
    let is_known = !values.broker.is_empty();
    html! {
        section.part #mqtt { h2 { "Home Assistant" } div {
            form.alarm method="post" action="/mqtt" {
                (hidden)
                @if is_known {
                    p { b { "MQTT" } ", " (format::tame(&values.broker)) }
                    p { (stands(s)) }
                } @else {
                    p { "Home Assistant is not told yet. By an MQTT broker, this box and each miner become "
                        "devices there: " a href="/help/home-assistant" { "how that is set up" } "." }
                }
                p.buttons {
                    @if is_known {
                        button type="submit" name="step" value="test" { "Try the broker" }
                        button type="submit" name="step" value="edit" {
                            "Change" span.sr { " the broker" }
                        }
                    } @else {
                        button type="submit" name="step" value="edit" { "Name a broker" }
                    }
                }
            }
        } }
    }
}

fn stands(s: &Snapshot) -> Markup {
    html! {
        @match &s.mqtt {
            Some(mqtt) if mqtt.connected => span.good {
                "Connected"
                @if let Some(since) = mqtt.since { " since " (page::date(since)) }
                ": " (format::thousands(mqtt.sent)) " messages sent, about "
                (format::thousands(mqtt.devices)) " devices."
            },
            Some(mqtt) if !mqtt.error.is_empty() => span.bad {
                "The broker cannot be used: " (format::tame_to(&mqtt.error, 200)) "."
            },
            _ => span.quiet { "It is being connected to." },
        }
    }
}

/// The name of a setting's input.
pub(in crate::server::http) fn input_name(setting: &str) -> String {
    format!("mqtt-{setting}")
}

/// `is_known`: a broker is in force, whose password stays where none is typed.
pub(super) fn form(
    values: &MqttValues,
    checked: &Checked,
    done: &[String],
    is_known: bool,
    hidden: &Markup,
) -> Markup {
    const SETTINGS: [&str; 9] = [
        "broker",
        "tls",
        "tls_cert_path",
        "user",
        "password",
        "version",
        "topic_prefix",
        "discovery_prefix",
        "buttons",
    ];
    let checked = at_inputs(checked, input_name);
    let remarks = Remarks::of(&checked);
    let has_field = |field: &str| SETTINGS.into_iter().any(|known| input_name(known) == field);
    let field = |kind: &str, setting: &str, words: &str, value: &str, example: &str| {
        let limits = Limits { example, longest: "200", ..PLAIN };
        input(kind, &input_name(setting), words, value, &limits, &remarks)
    };
    let text = |setting: &str, words: &str, value: &str, example: &str| {
        field("text", setting, words, value, example)
    };
    let kept = if is_known { "unchanged" } else { "" };
    html! {
        h1 { "Home Assistant" }
        (remarks.summary(has_field, "Nothing is changed."))
        @for line in done { p.do role="status" { (format::tame_to(line, 300)) } }
        form method="post" action="/mqtt" autocomplete="off" {
            (hidden)
            section.part { h2 { "MQTT broker" } div {
                p.quiet {
                    "Home Assistant's add-on Mosquitto broker, or any other broker: "
                    a href="/help/home-assistant" { "step by step" } "."
                }
                (text("broker", "Address", &values.broker, "homeassistant.local"))
                (text("user", "User", &values.user, "soloist"))
                (field("password", "password", "Password", values.password.as_deref().unwrap_or(""), kept))
                (tick("tls", "yes", values.tls, "Encrypted (TLS)", &remarks))
                (remarks.beside(&input_name("tls")))
                (text("tls_cert_path", "Certificate of your own, for TLS (file on this box, optional)",
                    &values.tls_cert_path, ""))
                p.quiet { "The port is 1883, or 8883 with TLS, where none is written. Empty the address, and "
                    "Home Assistant is told nothing more." }
            } }
            section.part { h2 { "Buttons" } div {
                fieldset aria-describedby=[remarks.id(&input_name("buttons"))] {
                    legend { "What Home Assistant may tell the miners" }
                    @for name in Command::ALL.map(Command::name) {
                        (tick("buttons", name, values.buttons.iter().any(|known| known == name), name, &remarks))
                    }
                }
                (remarks.beside(&input_name("buttons")))
                p.quiet { "Whoever may write to the broker can do what is ticked, without the PIN." }
            } }
            section.part { h2 { "Details" } div {
                label { "Version of MQTT"
                    select name=(input_name("version")) aria-invalid=[remarks.invalid(&input_name("version"))]
                        aria-describedby=[remarks.id(&input_name("version"))] {
                        @for (name, version) in Version::ALL {
                            option value=(name) selected[values.version == name] {
                                (name)
                                @if version == Version::V3_1_1 { ", the usual one" }
                            }
                        }
                    }
                }
                (remarks.beside(&input_name("version")))
                (text("topic_prefix", "What the box's topics begin with", &values.topic_prefix, "soloist"))
                (text("discovery_prefix", "Home Assistant's discovery prefix", &values.discovery_prefix,
                    "homeassistant"))
            } }
            p.buttons {
                button.main type="submit" name="step" value="save" { "Save" }
                button type="submit" name="step" value="try" { "Try the broker" }
                a href="/settings#mqtt" { "Back, without saving" }
            }
        }
    }
}

fn tick(setting: &str, value: &str, is_on: bool, words: &str, remarks: &Remarks<'_>) -> Markup {
    let name = input_name(setting);
    html! {
        label.tick {
            input type="checkbox" name=(name) value=(value) checked[is_on]
                aria-describedby=[remarks.id(&name)];
            " " (words)
        }
    }
}
