//! The destinations of notifications, and the requests for each. Pure.

use serde_json::json;

use crate::settings::{Service, ServiceKind, SinkValues, TOPICS};
use crate::status::Level;

use super::{Message, SendError, Topic};

/// A service that takes notifications.
#[derive(Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// ntfy (ntfy.sh or one's own): the topic's address, `https://ntfy.sh/my-topic`.
    Ntfy {
        /// Address of the topic.
        url: String,
        /// Access token, for protected topics.
        token: Option<String>,
    },
    /// A Telegram bot.
    Telegram {
        /// The bot's token, `123456:ABC…`.
        token: String,
        /// Who is written to.
        chat: String,
    },
    /// A Discord webhook.
    Discord {
        /// Its address.
        url: String,
    },
    /// A Slack incoming webhook.
    Slack {
        /// Its address.
        url: String,
    },
    /// Any address that takes a JSON object by POST.
    Webhook {
        /// The address.
        url: String,
    },
    /// E-mail, through a mail server.
    Email {
        /// The server: `smtps://mail.example.org` (encrypted from the start, port 465) or
        /// `smtp://mail.example.org` (encrypted if the server can, port 587).
        url: String,
        /// Name and password at the server. With them, nothing goes over an open line.
        login: Option<(String, String)>,
        /// The sender.
        from: String,
        /// Who is written to.
        to: String,
    },
}

/// A service and what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Which service.
    pub kind: SinkKind,
    /// What it is told. [`Topic::Test`] is always told.
    pub topics: Vec<Topic>,
}

/// What of a sink's settings cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSink {
    /// Not an `http://` or `https://` address with a host.
    Url,
    /// The address of an ntfy topic has the topic at its end.
    NoTopic,
    /// A Telegram token is digits, a colon and letters.
    Token,
    /// Nobody to write to.
    Chat,
    /// Not an `smtp://` or `smtps://` address with a host.
    MailServer,
    /// The sender's address.
    From,
    /// The reader's address.
    To,
}

/// What is to be sent.
#[derive(Clone, PartialEq, Eq)]
pub enum Request {
    /// By HTTP.
    Post(Post),
    /// By SMTP.
    Mail(Mail),
}

/// One letter and the server that takes it.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// The server's name or number.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// When the line is encrypted.
    pub encryption: Encryption,
    /// Name and password.
    pub login: Option<(String, String)>,
    /// The sender's address.
    pub from: String,
    /// The receiver's, maybe with a name.
    pub to: String,
    /// The sender's name.
    pub name: String,
    /// The subject.
    pub subject: String,
    /// The text.
    pub text: String,
}

/// When the line to a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// From the first byte (RFC 8314).
    FromTheStart,
    /// By STARTTLS (RFC 3207), or nothing is sent.
    Demanded,
    /// By STARTTLS if the server offers it: for a relay in the house.
    Welcome,
}

/// One POST.
#[derive(Clone, PartialEq, Eq)]
pub struct Post {
    /// `http://` or `https://`. May hold a secret: never to be logged.
    pub url: String,
    /// The body: JSON.
    pub body: Vec<u8>,
    /// A value for `Authorization`.
    pub authorization: Option<String>,
}

impl SinkKind {
    /// Its names, and its form on the page.
    pub fn service(&self) -> &'static Service {
        let kind = match self {
            SinkKind::Ntfy { .. } => ServiceKind::Ntfy,
            SinkKind::Telegram { .. } => ServiceKind::Telegram,
            SinkKind::Discord { .. } => ServiceKind::Discord,
            SinkKind::Slack { .. } => ServiceKind::Slack,
            SinkKind::Webhook { .. } => ServiceKind::Webhook,
            SinkKind::Email { .. } => ServiceKind::Email,
        };
        kind.service()
    }

    /// What of its settings others must not know; also a whole address, as it may hold one.
    pub fn secrets(&self) -> Vec<&str> {
        match self {
            SinkKind::Ntfy { url, token } => {
                std::iter::once(url.as_str()).chain(token.as_deref()).collect()
            }
            SinkKind::Telegram { token, chat } => vec![token, chat],
            SinkKind::Discord { url } | SinkKind::Slack { url } | SinkKind::Webhook { url } => {
                vec![url]
            }
            SinkKind::Email { url, login, from, to } => {
                let login = login.iter().flat_map(|(user, password)| [user, password]);
                [url, from, to].into_iter().chain(login).map(String::as_str).collect()
            }
        }
    }

    /// Whether its settings hold something that others must not know.
    pub fn holds_secret(&self) -> bool {
        match self {
            SinkKind::Ntfy { token, .. } => token.is_some(),
            SinkKind::Telegram { .. } | SinkKind::Discord { .. } | SinkKind::Slack { .. } => true,
            SinkKind::Webhook { .. } => false,
            SinkKind::Email { login, .. } => login.is_some(),
        }
    }

    /// The machine that messages are handed to.
    pub fn host(&self) -> String {
        let host = |url: &str| {
            let uri = url.parse::<hyper::Uri>().ok();
            uri.and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default()
        };
        match self {
            SinkKind::Telegram { .. } => "api.telegram.org".to_owned(),
            SinkKind::Ntfy { url, .. }
            | SinkKind::Discord { url }
            | SinkKind::Slack { url }
            | SinkKind::Webhook { url }
            | SinkKind::Email { url, .. } => host(url),
        }
    }

    /// The field of the form that a failed try speaks of; empty where it is no single one.
    pub fn field_of(&self, error: &SendError) -> &'static str {
        let code = match error {
            SendError::Status(code) => code.as_u16(),
            SendError::Refused(code) => *code,
            _ => 0,
        };
        match self {
            SinkKind::Ntfy { .. } => match code {
                401 | 403 => "token",
                _ => "url",
            },
            SinkKind::Telegram { .. } => match code {
                401 | 404 => "token",
                400 | 403 => "chat",
                _ => "",
            },
            SinkKind::Discord { .. } | SinkKind::Slack { .. } | SinkKind::Webhook { .. } => "url",
            SinkKind::Email { login, .. } => match code {
                530..=535 if login.is_some() => "password",
                530..=535 => "user",
                550 | 553 => "to",
                _ => "url",
            },
        }
    }

    /// Checks what can be checked without sending.
    ///
    /// # Errors
    /// See [`BadSink`].
    pub fn check(&self) -> Result<(), BadSink> {
        match self {
            SinkKind::Ntfy { url, .. } => {
                is_url(url)?;
                ntfy_parts(url).map(|_| ()).ok_or(BadSink::NoTopic)
            }
            SinkKind::Telegram { token, chat } => {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
                let good = token.split_once(':').is_some_and(|(number, secret)| {
                    !number.is_empty()
                        && number.bytes().all(|b| b.is_ascii_digit())
                        && !secret.is_empty()
                        && secret.chars().all(plain)
                });
                match (good, chat.trim().is_empty()) {
                    (false, _) => Err(BadSink::Token),
                    (_, true) => Err(BadSink::Chat),
                    _ => Ok(()),
                }
            }
            SinkKind::Discord { url } | SinkKind::Slack { url } | SinkKind::Webhook { url } => {
                is_url(url)
            }
            SinkKind::Email { url, from, to, .. } => {
                mail_server(url).ok_or(BadSink::MailServer)?;
                from.parse::<lettre::Address>().map_err(|_| BadSink::From)?;
                to.parse::<lettre::message::Mailbox>().map_err(|_| BadSink::To)?;
                Ok(())
            }
        }
    }

    /// The request that carries a message. `name` is the appliance's.
    pub fn request(&self, name: &str, message: &Message) -> Request {
        let title = format!("{name}: {}", message.title);
        let (url, body, authorization) = match self {
            SinkKind::Ntfy { url, token } => {
                // As JSON: the header form carries ASCII only.
                let (server, topic) = ntfy_parts(url).unwrap_or((url, ""));
                let body = json!({
                    "topic": topic,
                    "title": title,
                    "message": message.text,
                    "priority": priority(message),
                    "tags": [tag(message)],
                });
                (server.to_owned(), body, token.as_ref().map(|token| format!("Bearer {token}")))
            }
            SinkKind::Telegram { token, chat } => {
                let body = json!({
                    "chat_id": chat,
                    "text": format!("{title}\n{}", message.text),
                    "disable_notification": message.level == Level::Info,
                });
                (format!("https://api.telegram.org/bot{token}/sendMessage"), body, None)
            }
            SinkKind::Discord { url } => {
                let text: String =
                    format!("**{title}**\n{}", message.text).chars().take(1900).collect();
                // A miner's name must not call everybody in the channel.
                let body = json!({ "content": text, "allowed_mentions": { "parse": [] } });
                (url.clone(), body, None)
            }
            SinkKind::Slack { url } => {
                let plain = format!("{title}\n{}", message.text)
                    .replace('&', "&amp;")
                    .replace('<', "&lt;")
                    .replace('>', "&gt;");
                (url.clone(), json!({ "text": plain }), None)
            }
            SinkKind::Webhook { url } => {
                let body = json!({
                    "name": name,
                    "topic": message.topic.name(),
                    "level": message.level,
                    "title": message.title,
                    "text": message.text,
                    "at": message.at,
                });
                (url.clone(), body, None)
            }
            SinkKind::Email { url, login, from, to } => {
                let (host, port, encryption) =
                    mail_server(url).unwrap_or((url.clone(), 0, Encryption::FromTheStart));
                let encryption = match encryption {
                    Encryption::Welcome if login.is_some() => Encryption::Demanded,
                    other => other,
                };
                return Request::Mail(Mail {
                    host,
                    port,
                    encryption,
                    login: login.clone(),
                    from: from.clone(),
                    to: to.clone(),
                    name: name.to_owned(),
                    // A subject is one line.
                    subject: title.replace(['\r', '\n'], " "),
                    text: format!("{}\n", message.text),
                });
            }
        };
        Request::Post(Post { url, body: body.to_string().into_bytes(), authorization })
    }
}

impl Sink {
    /// As the page's form has it, secrets included.
    pub fn values(&self) -> SinkValues {
        let written = match &self.kind {
            SinkKind::Ntfy { url, token } => {
                vec![("url", url.as_str()), ("token", token.as_deref().unwrap_or_default())]
            }
            SinkKind::Telegram { token, chat } => vec![("token", token.as_str()), ("chat", chat)],
            SinkKind::Discord { url } | SinkKind::Slack { url } | SinkKind::Webhook { url } => {
                vec![("url", url.as_str())]
            }
            SinkKind::Email { url, login, from, to } => {
                let login =
                    login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
                let (user, password) = login.unwrap_or_default();
                vec![
                    ("url", url.as_str()),
                    ("user", user),
                    ("password", password),
                    ("from", from),
                    ("to", to),
                ]
            }
        };
        let mut values = SinkValues::of(self.kind.service().name, &written);
        let is_told = |name: &str| self.topics.iter().any(|topic| topic.name() == name);
        let topics = TOPICS.iter().map(|(name, _)| *name);
        values.silent = topics.filter(|name| !is_told(name)).collect();
        values
    }

    /// Whether this sink is told of a topic.
    pub fn wants(&self, topic: Topic) -> bool {
        topic == Topic::Test || self.topics.contains(&topic)
    }
}

/// Without secrets.
impl std::fmt::Debug for SinkKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.service().words)
    }
}

/// Without secrets.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Request::Post(post) => write!(f, "Request of {} bytes", post.body.len()),
            Request::Mail(mail) => write!(f, "Letter of {} bytes", mail.text.len()),
        }
    }
}

fn is_url(url: &str) -> Result<(), BadSink> {
    let uri: hyper::Uri = url.parse().map_err(|_| BadSink::Url)?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    (known && has_host).then_some(()).ok_or(BadSink::Url)
}

/// Host, port, and how a letter without a login gets there.
fn mail_server(url: &str) -> Option<(String, u16, Encryption)> {
    let uri: hyper::Uri = url.parse().ok()?;
    let (port, encryption) = match uri.scheme_str()? {
        "smtps" => (465, Encryption::FromTheStart),
        "smtp" => (587, Encryption::Welcome),
        _ => return None,
    };
    let host = uri.host()?.trim_matches(['[', ']']);
    // Name and password have settings of their own.
    let plain = !host.is_empty() && !uri.authority()?.as_str().contains('@');
    let nothing_behind = matches!(uri.path(), "" | "/") && uri.query().is_none();
    (plain && nothing_behind).then(|| (host.to_owned(), uri.port_u16().unwrap_or(port), encryption))
}

/// Server and topic.
fn ntfy_parts(url: &str) -> Option<(&str, &str)> {
    let (server, topic) = url.trim_end_matches('/').rsplit_once('/')?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let good = !topic.is_empty() && topic.bytes().all(plain) && !server.ends_with('/');
    (good && !server.ends_with(':')).then_some((server, topic))
}

/// 1 to 5, as ntfy counts.
fn priority(message: &Message) -> u8 {
    match (message.topic, message.level) {
        (Topic::Block, Level::Critical) => 5,
        (_, Level::Critical) => 4,
        (_, Level::Warning) => 3,
        (_, Level::Info) => 2,
    }
}

/// ntfy shows these names as small pictures.
fn tag(message: &Message) -> &'static str {
    match (message.topic, message.level) {
        (Topic::Block, _) => "pick",
        (_, Level::Critical) => "rotating_light",
        (_, Level::Warning) => "warning",
        (_, Level::Info) => "information_source",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            topic: Topic::Block,
            level: Level::Critical,
            title: "Block found".to_owned(),
            text: "By <@everyone> & \"γ\"".to_owned(),
            at: 7,
        }
    }

    fn post(kind: &SinkKind) -> Post {
        match kind.request("solo", &message()) {
            Request::Post(post) => post,
            Request::Mail(_) => panic!("{kind:?}"),
        }
    }

    fn body(kind: &SinkKind) -> serde_json::Value {
        serde_json::from_slice(&post(kind).body).unwrap()
    }

    fn email(url: &str, login: bool) -> SinkKind {
        SinkKind::Email {
            url: url.to_owned(),
            login: login.then(|| ("anna".to_owned(), "secret".to_owned())),
            from: "box@example.org".to_owned(),
            to: "anna@example.org".to_owned(),
        }
    }

    #[test]
    fn a_letter_knows_its_server_and_whether_the_line_must_be_encrypted() {
        let letter = |url: &str, login| match email(url, login).request("solo", &message()) {
            Request::Mail(mail) => (mail.host.clone(), mail.port, mail.encryption),
            Request::Post(_) => panic!("{url}"),
        };
        let host = "mail.example.org";
        let at = |port, encryption| (host.to_owned(), port, encryption);
        assert_eq!(letter("smtps://mail.example.org", false), at(465, Encryption::FromTheStart));
        assert_eq!(letter("smtp://mail.example.org:25/", false), at(25, Encryption::Welcome));
        assert_eq!(letter("smtp://mail.example.org", true), at(587, Encryption::Demanded));
        assert_eq!(email("smtps://mail.example.org", true).check(), Ok(()));
        for bad in [
            "mail.example.org",
            "https://x.org",
            "smtp://",
            "smtps://anna:pw@x.org",
            "smtp://x.org/y",
        ] {
            assert_eq!(email(bad, false).check(), Err(BadSink::MailServer), "{bad}");
        }
        let mut kind = email("smtp://x.org", false);
        if let SinkKind::Email { to, .. } = &mut kind {
            "anna".clone_into(to);
        }
        assert_eq!(kind.check(), Err(BadSink::To));
        assert!(email("smtp://x.org", true).holds_secret());
        let request = email("smtp://x.org", true).request("solo", &message());
        assert!(!format!("{request:?}").contains("secret"));
    }

    #[test]
    fn each_service_gets_its_own_form() {
        let url = "https://ntfy.sh/my-topic".to_owned();
        let ntfy = SinkKind::Ntfy { url, token: Some("tk_x".to_owned()) };
        let request = post(&ntfy);
        assert_eq!(request.url, "https://ntfy.sh");
        assert_eq!(request.authorization.as_deref(), Some("Bearer tk_x"));
        assert_eq!(body(&ntfy)["topic"], "my-topic");
        assert_eq!(body(&ntfy)["priority"], 5);

        let telegram = SinkKind::Telegram { token: "1:a".to_owned(), chat: "9".to_owned() };
        assert_eq!(post(&telegram).url, "https://api.telegram.org/bot1:a/sendMessage");
        assert_eq!(body(&telegram)["chat_id"], "9");

        let url = "https://example.org/hook".to_owned();
        let discord = SinkKind::Discord { url: url.clone() };
        assert_eq!(body(&discord)["allowed_mentions"]["parse"], json!([]));
        let slack = SinkKind::Slack { url: url.clone() };
        assert_eq!(body(&slack)["text"], "solo: Block found\nBy &lt;@everyone&gt; &amp; \"γ\"");
        let webhook = SinkKind::Webhook { url };
        assert_eq!(body(&webhook)["topic"], "block");
        assert_eq!(body(&webhook)["level"], "critical");
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let ntfy = |url: &str| SinkKind::Ntfy { url: url.to_owned(), token: None }.check();
        assert_eq!(ntfy("https://ntfy.sh/x"), Ok(()));
        assert_eq!(ntfy("http://192.168.1.5:8090/solo/"), Ok(()));
        assert_eq!(ntfy("https://ntfy.sh"), Err(BadSink::NoTopic));
        assert_eq!(ntfy("ntfy.sh/x"), Err(BadSink::Url));
        assert_eq!(ntfy("ftp://ntfy.sh/x"), Err(BadSink::Url));
        let telegram = |token: &str, chat: &str| {
            SinkKind::Telegram { token: token.to_owned(), chat: chat.to_owned() }.check()
        };
        assert_eq!(telegram("123:AB-c_d", "42"), Ok(()));
        assert_eq!(telegram("123:AB/../x", "42"), Err(BadSink::Token));
        assert_eq!(telegram("123", "42"), Err(BadSink::Token));
        assert_eq!(telegram("123:AB", " "), Err(BadSink::Chat));
    }

    /// What the page's form asks for is what its service is made of, and what may not be shown is known.
    #[test]
    fn each_service_fills_its_form() {
        for kind in ServiceKind::ALL {
            let text = str::to_owned;
            let kind = match kind {
                ServiceKind::Ntfy => {
                    SinkKind::Ntfy { url: text("url"), token: Some(text("token")) }
                }
                ServiceKind::Telegram => {
                    SinkKind::Telegram { token: text("token"), chat: text("chat") }
                }
                ServiceKind::Discord => SinkKind::Discord { url: text("url") },
                ServiceKind::Slack => SinkKind::Slack { url: text("url") },
                ServiceKind::Webhook => SinkKind::Webhook { url: text("url") },
                ServiceKind::Email => SinkKind::Email {
                    url: text("url"),
                    login: Some((text("user"), text("password"))),
                    from: text("from"),
                    to: text("to"),
                },
            };
            let service = kind.service();
            let secrets = kind.secrets().into_iter().map(text).collect::<Vec<_>>();
            let values = Sink { kind, topics: Vec::new() }.values();
            assert_eq!(values.service(), Some(service));
            for field in service.fields {
                assert_eq!(values.get(field.name), field.name, "{}", service.name);
                assert!(!field.is_secret || secrets.iter().any(|secret| secret == field.name));
            }
            assert_eq!(values.silent, TOPICS.map(|(topic, _)| topic));
        }
    }

    /// The page has a switch for each topic but the test, by the name in the file.
    #[test]
    fn each_topic_has_its_switch() {
        let topics = Topic::ALL.into_iter().filter(|topic| *topic != Topic::Test);
        let names: Vec<&str> = topics.map(Topic::name).collect();
        assert_eq!(names, TOPICS.map(|(topic, _)| topic));
    }

    #[test]
    fn secrets_do_not_show() {
        let kind = SinkKind::Telegram { token: "123:secret".to_owned(), chat: "1".to_owned() };
        let request = kind.request("solo", &message());
        assert!(!format!("{kind:?} {request:?}").contains("secret"));
    }
}
