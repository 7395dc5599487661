//! A place for notifications as the page's form has it: which fields each service has, which of them are
//! secrets, and when a secret that was not typed again stays. Pure.
//!
//! A secret is written and never shown again. A field that is left blank keeps it, unless it would then
//! be sent to somebody else than it was given for.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Remark;
use crate::listed::listed;

listed! {
    /// The services that messages are sent by, in the order in which they are offered.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ServiceKind {
        /// ntfy.sh, or an ntfy server of one's own.
        Ntfy,
        /// A Telegram bot.
        Telegram,
        /// A Discord webhook.
        Discord,
        /// A Slack incoming webhook.
        Slack,
        /// Any address that takes a JSON object by POST.
        Webhook,
        /// E-mail, through a mail server.
        Email,
    }
}

impl ServiceKind {
    /// Its names and its form.
    pub fn service(self) -> &'static Service {
        let all: &'static [Service] = &SERVICES;
        &all[self.index()]
    }
}

/// One field of a service's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkField {
    /// The setting's name in a `[[notify]]` of the file, and the field's in the form.
    pub name: &'static str,
    /// Its label.
    pub words: &'static str,
    /// What may be written there.
    pub example: &'static str,
    /// It is never shown again. Whole addresses are secrets, where who knows them can read or write there.
    pub is_secret: bool,
    /// It says to whom the secrets behind it are sent: with another value, none of them stays.
    pub binds: bool,
}

/// A service and its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// Which one it is.
    pub kind: ServiceKind,
    /// What stands as `kind` in the file.
    pub name: &'static str,
    /// Its name for people.
    pub words: &'static str,
    /// Where what is asked for is found.
    pub help: &'static str,
    /// What is asked for, the address that the secrets are for first.
    pub fields: &'static [SinkField],
}

/// What a place can be told of: the switch in the file, and its words.
pub const TOPICS: [(&str, &str); 7] = [
    ("block", "A block is found, accepted or lost"),
    ("best", "A new best share, at most one an hour"),
    ("miner", "A miner is missing, back, quiet or slow"),
    ("node", "Another node leads, or one is down or back"),
    ("down", "Mining stops, or goes on again"),
    ("alarm", "The board, the card or the payout address needs a look"),
    ("update", "A new version is ready"),
];

const fn open(name: &'static str, words: &'static str, example: &'static str) -> SinkField {
    SinkField { name, words, example, is_secret: false, binds: false }
}

const fn secret(name: &'static str, words: &'static str, example: &'static str) -> SinkField {
    SinkField { is_secret: true, ..open(name, words, example) }
}

impl SinkField {
    /// The same, and the secrets behind it are for what is written here.
    const fn binding(self) -> SinkField {
        SinkField { binds: true, ..self }
    }
}

/// All services, in the order of [`ServiceKind`].
pub const SERVICES: [Service; ServiceKind::COUNT] = [
    Service {
        kind: ServiceKind::Ntfy,
        name: "ntfy",
        words: "ntfy",
        help: "Install the ntfy app, subscribe to a topic with a name that nobody guesses, and write the \
               topic's address here. Everybody who knows it can read along; a server of your own can ask \
               for a token.",
        fields: &[
            secret("url", "Address of the topic", "https://ntfy.sh/a-name-that-nobody-guesses")
                .binding(),
            secret("token", "Access token (optional)", ""),
        ],
    },
    Service {
        kind: ServiceKind::Telegram,
        name: "telegram",
        words: "Telegram",
        help: "Write to @BotFather to get a bot and its token. Then write something to your bot, and ask \
               @userinfobot for the number of your chat.",
        fields: &[
            secret("token", "Token of the bot", "123456:ABC-DEF"),
            secret("chat", "Number of your chat", "123456789"),
        ],
    },
    Service {
        kind: ServiceKind::Discord,
        name: "discord",
        words: "Discord",
        help: "In the channel's settings, under Integrations, make a webhook and copy its URL.",
        fields: &[
            secret("url", "URL of the webhook", "https://discord.com/api/webhooks/…").binding()
        ],
    },
    Service {
        kind: ServiceKind::Slack,
        name: "slack",
        words: "Slack",
        help: "Add an incoming webhook to the channel, and copy its URL.",
        fields: &[
            secret("url", "URL of the webhook", "https://hooks.slack.com/services/…").binding()
        ],
    },
    Service {
        kind: ServiceKind::Webhook,
        name: "webhook",
        words: "Webhook",
        help: "A server of your own, such as Home Assistant. It gets a JSON object by POST, with name, \
               topic, level, title, text and at.",
        fields: &[
            secret("url", "Address", "http://homeassistant.local:8123/api/webhook/…").binding()
        ],
    },
    Service {
        kind: ServiceKind::Email,
        name: "email",
        words: "E-mail",
        help: "smtps:// is encrypted from the start (port 465), smtp:// as soon as the server can (port \
               587). A password is never sent unencrypted. Many providers want a password for programs, \
               which you make in your account there.",
        fields: &[
            open("url", "Mail server", "smtps://mail.example.org").binding(),
            open("user", "User (optional)", "anna").binding(),
            secret("password", "Password (optional)", ""),
            open("from", "Sender", "anna@example.org"),
            open("to", "Who reads it", "anna@example.org"),
        ],
    },
];

/// The same by their names in the file.
pub const SERVICE_NAMES: [(&str, ServiceKind); ServiceKind::COUNT] = {
    let mut names = [("", ServiceKind::Ntfy); ServiceKind::COUNT];
    let mut at = 0;
    while at < names.len() {
        names[at] = (SERVICES[at].name, SERVICES[at].kind);
        at += 1;
    }
    names
};

impl Service {
    /// By the name that stands in the file.
    pub fn of(name: &str) -> Option<&'static Service> {
        SERVICES.iter().find(|service| service.name == name)
    }
}

/// A place for notifications, as it is written in a form. What is not written is empty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SinkValues {
    /// The name of a [`Service`].
    pub kind: String,
    /// Values of its fields, by their names.
    written: Vec<(&'static str, String)>,
    /// The names of the [`TOPICS`] that it is not told of.
    pub silent: Vec<&'static str>,
}

impl SinkValues {
    /// Nothing is written yet, and everything is told.
    pub fn blank(service: &Service) -> SinkValues {
        SinkValues::of(service.name, &[])
    }

    /// With these values of its fields.
    pub fn of(kind: &str, written: &[(&'static str, &str)]) -> SinkValues {
        let written = written.iter().map(|(name, value)| (*name, (*value).to_owned()));
        SinkValues { kind: kind.to_owned(), written: written.collect(), silent: Vec::new() }
    }

    /// Its service; `None` for a kind that nobody knows.
    pub fn service(&self) -> Option<&'static Service> {
        Service::of(&self.kind)
    }

    /// What is written in a field.
    pub fn get(&self, name: &str) -> &str {
        let written = self.written.iter().find(|(known, _)| *known == name);
        written.map_or("", |(_, value)| value)
    }

    /// Writes into a field.
    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.written.retain(|(known, _)| *known != name);
        self.written.push((name, value.into()));
    }

    /// The same without the secrets, as the page may have it. Of a kind that nobody knows, nothing stays.
    pub fn without_secrets(mut self) -> SinkValues {
        let fields = self.service().map_or(&[][..], |service| service.fields);
        let is_open = |name: &str| fields.iter().any(|f| f.name == name && !f.is_secret);
        self.written.retain(|(name, _)| is_open(name));
        self
    }

    /// Puts in the secrets that were not typed, out of `known`, which has them. A token or a password
    /// stays only with the address and the user that it was given for ([`SinkField::binds`]).
    pub fn fill_secrets(&mut self, known: &SinkValues) {
        let Some(service) = self.service().filter(|_| self.kind == known.kind) else { return };
        let mut is_elsewhere = false;
        for field in service.fields {
            let (now, before) = (self.get(field.name), known.get(field.name));
            let is_typed = !now.is_empty() || !field.is_secret;
            if !is_typed && !is_elsewhere {
                let before = before.to_owned();
                self.set(field.name, before);
            } else if field.binds {
                is_elsewhere |= now != before;
            }
        }
    }
}

/// A change of one place for notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkChange {
    /// Where it is in the list, before and after.
    pub place: usize,
    /// What was there, with its secrets; `None` where one more comes, before the one that is there.
    pub before: Option<SinkValues>,
    /// What is there afterwards, with its secrets; `None` where it is removed.
    pub after: Option<SinkValues>,
}

impl SinkChange {
    /// The change that takes this one back.
    pub fn reversed(self) -> SinkChange {
        SinkChange { before: self.after, after: self.before, ..self }
    }

    /// In a sentence without secrets.
    pub fn words(&self) -> String {
        let kind = self.after.as_ref().or(self.before.as_ref()).and_then(SinkValues::service);
        let what = match (&self.before, &self.after) {
            (None, _) => "added.",
            (_, None) => "removed: no more messages go there.",
            _ => "changed.",
        };
        format!("{} is {what}", kind.map_or("", |service| service.words))
    }
}

/// A place for notifications as a program writes it: with the names and the values of the file.
pub type SinkWish = BTreeMap<String, Written>;

/// A value in a [`SinkWish`].
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub enum Written {
    /// Whether a topic is told.
    Switch(bool),
    /// The number of a chat.
    Number(i64),
    /// Any other field.
    Text(String),
}

impl SinkValues {
    /// What a program wants. What it does not write is empty, and every topic is told that it does not
    /// switch off.
    ///
    /// # Errors
    /// Why it is none, at the name in question; in words that quote nothing of it.
    pub fn of_wish(wish: &SinkWish) -> Result<SinkValues, Remark> {
        let kind = wish.get("kind").map(Written::text).unwrap_or_default();
        let Some(service) = Service::of(kind.trim()) else {
            let kinds = SERVICES.map(|service| service.name).join(", ");
            return Err(Remark::at("kind", format!("Write what kind it is: one of {kinds}.")));
        };
        let mut values = SinkValues::blank(service);
        for (name, written) in wish.iter().filter(|(name, _)| *name != "kind") {
            let field = service.fields.iter().find(|field| field.name == name);
            let topic = TOPICS.iter().find(|(topic, _)| topic == name);
            match (field, topic, written) {
                (Some(field), _, Written::Text(_) | Written::Number(_)) => {
                    values.set(field.name, written.text().trim());
                }
                (_, Some((topic, _)), Written::Switch(told)) => {
                    values.silent.extend((!told).then_some(*topic));
                }
                (Some(field), _, _) => return Err(Remark::at(field.name, "Write a text.")),
                (_, Some((topic, _)), _) => {
                    return Err(Remark::at(*topic, "Write true or false."));
                }
                (None, None, _) => {
                    let fields = service.fields.iter().map(|field| field.name);
                    let topics = TOPICS.iter().map(|(topic, _)| *topic);
                    let names: Vec<&str> = fields.chain(topics).collect();
                    return Err(Remark::whole(format!(
                        "{} has no setting of another name than these: {}.",
                        service.words,
                        names.join(", ")
                    )));
                }
            }
        }
        Ok(values)
    }
}

impl Written {
    fn text(&self) -> String {
        match self {
            Written::Switch(told) => told.to_string(),
            Written::Number(number) => number.to_string(),
            Written::Text(text) => text.clone(),
        }
    }
}

/// Without what was written.
impl std::fmt::Debug for SinkValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sink({}, silent: {:?})", self.kind, self.silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_is_not_typed_stays_where_it_was_given_for_and_goes_nowhere_else() {
        let mail = |url: &str, user: &str, password: &str| {
            SinkValues::of("email", &[("url", url), ("user", user), ("password", password)])
        };
        let known = mail("smtps://a", "anna", "geheim");
        let password = |mut typed: SinkValues| {
            typed.fill_secrets(&known);
            typed.get("password").to_owned()
        };
        assert_eq!(password(mail("smtps://a", "anna", "")), "geheim");
        assert_eq!(password(mail("smtps://a", "anna", "neu")), "neu");
        assert_eq!(password(mail("smtps://thief", "anna", "")), "");
        assert_eq!(password(mail("smtps://a", "bea", "")), "");
        assert_eq!(password(mail("smtps://a", "", "")), "");

        let known = SinkValues::of("ntfy", &[("url", "https://ntfy.sh/a"), ("token", "tk")]);
        let filled = |written: &[(&'static str, &str)]| {
            let mut typed = SinkValues::of("ntfy", written);
            typed.fill_secrets(&known);
            (typed.get("url").to_owned(), typed.get("token").to_owned())
        };
        assert_eq!(filled(&[]), ("https://ntfy.sh/a".to_owned(), "tk".to_owned()));
        assert_eq!(filled(&[("token", "x")]).1, "x");
        assert_eq!(filled(&[("url", "https://ntfy.sh/a")]).1, "tk");
        assert_eq!(filled(&[("url", "https://thief/a")]).1, "");

        // The secret of one service is none of another's.
        let mut other = SinkValues::of("webhook", &[]);
        other.fill_secrets(&known);
        assert_eq!(other.get("url"), "");
    }

    #[test]
    fn a_program_writes_a_place_as_the_file_does() {
        let read = |json: &str| SinkValues::of_wish(&serde_json::from_str(json).unwrap());
        let place = read(
            r#"{"kind":"telegram","token":" 1:a ","chat":-100123,"best":false,"block":true,"miner":false}"#,
        );
        let place = place.unwrap();
        let written = ["token", "chat"].map(|name| place.get(name).to_owned());
        assert_eq!(written, ["1:a", "-100123"]);
        assert_eq!(place.silent, ["best", "miner"]);
        for (json, field) in [
            (r#"{"url":"https://ntfy.sh/geheim"}"#, "kind"),
            (r#"{"kind":"geheim"}"#, "kind"),
            (r#"{"kind":true}"#, "kind"),
            (r#"{"kind":"ntfy","url":false}"#, "url"),
            (r#"{"kind":"ntfy","best":"geheim"}"#, "best"),
            (r#"{"kind":"ntfy","geheim":"https://ntfy.sh/a"}"#, ""),
            (r#"{"kind":"ntfy","chat":1}"#, ""),
        ] {
            let remark = read(json).unwrap_err();
            assert_eq!(remark.field, field, "{json}");
            assert!(remark.text.ends_with('.') && !remark.text.contains("geheim"), "{remark:?}");
        }
    }

    #[test]
    fn each_kind_finds_its_service_and_its_name() {
        for kind in ServiceKind::ALL {
            assert_eq!(kind.service().kind, kind);
            assert_eq!(Service::of(kind.service().name), Some(kind.service()));
        }
    }

    /// Telegram's bots are all reached at one address, which nobody writes.
    #[test]
    fn each_secret_is_bound_to_what_stands_before_it() {
        let mut free = Vec::new();
        for service in SERVICES {
            let mut is_bound = false;
            for field in service.fields {
                is_bound |= field.binds;
                if field.is_secret && !is_bound {
                    free.push((service.name, field.name));
                }
            }
        }
        assert_eq!(free, [("telegram", "token"), ("telegram", "chat")]);
    }

    #[test]
    fn of_a_kind_that_nobody_knows_nothing_is_shown_again() {
        let values = SinkValues::of("pager", &[("url", "https://geheim")]);
        assert_eq!(values.without_secrets().get("url"), "");
    }

    #[test]
    fn what_is_shown_again_holds_no_secret() {
        for service in SERVICES {
            let mut all = SinkValues::blank(&service);
            service.fields.iter().for_each(|field| all.set(field.name, "geheim"));
            assert!(!format!("{all:?}").contains("geheim"));
            let shown = all.without_secrets();
            for field in service.fields {
                assert_eq!(shown.get(field.name).is_empty(), field.is_secret, "{}", field.name);
            }
        }
    }
}
