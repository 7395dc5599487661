//! What is said on one connection, as bytes. Pure: the protocol is `mqtt-protocol-core`'s.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event, TimerKind};
use mqtt_protocol_core::mqtt::packet::{
    GenericPacketTrait, MessageExpiryInterval, Packet, Property, Qos, RetainHandling, SubEntry,
    SubOpts, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, MqttError, SubackReasonCode,
};
use mqtt_protocol_core::mqtt::{Connection, role};

use super::{Fault, Settings, Version};
use crate::home_assistant::{EXPIRES, Message};

/// The broker hears something at least so often; it counts us as gone after half as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// It answers a ping, the first words and a message that it is to confirm within this time.
const ANSWER_AT_MOST: Duration = Duration::from_secs(15);
/// Bytes of a message that is taken. What concerns us has a few.
const PACKET_MAX: u32 = 16 * 1024;

/// What came from the broker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It took us.
    Welcome,
    /// It did not, and why.
    Refused(Fault),
    /// It has the message that it was to confirm, or refused it.
    Confirmed(Result<(), String>),
    /// Somebody said something where we listen.
    Message { topic: String, payload: Vec<u8>, retained: bool },
    /// It does not let us listen.
    Deaf,
    /// The connection is of no more use, and why.
    Over(String),
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To tell what is so. The broker says `offline` for us when it ends without a farewell.
    Serve,
    /// To see whether the broker takes us, under a name of its own and without a last will.
    Try,
}

/// One connection, from its first byte.
pub(super) struct Session {
    version: Version,
    connection: Connection<role::Client>,
    /// What is to be sent.
    out: Vec<u8>,
    said: VecDeque<Said>,
    ping: Option<Instant>,
    pong: Option<Instant>,
    /// When the answer that is waited for is late.
    answer: Option<Instant>,
    over: bool,
}

impl Session {
    /// Begins one: its first words are in [`Session::take_bytes`].
    pub(super) fn new(now: Instant, settings: &Settings, purpose: Purpose) -> Session {
        let version = match settings.version {
            Version::V3_1_1 => mqtt_protocol_core::mqtt::Version::V3_1_1,
            Version::V5 => mqtt_protocol_core::mqtt::Version::V5_0,
        };
        let options = ConnectionOptions::new().maximum_packet_size_recv(PACKET_MAX);
        let mut session = Session {
            version: settings.version,
            connection: Connection::with_options(version, options),
            out: Vec::new(),
            said: VecDeque::new(),
            ping: None,
            pong: None,
            answer: Some(now + ANSWER_AT_MOST),
            over: false,
        };
        session.connection.set_pingresp_recv_timeout(ANSWER_AT_MOST.as_millis() as u64);
        session.connection.set_auto_pub_response(true);
        match session.hello(settings, purpose) {
            Ok(packet) => session.send(now, packet),
            Err(error) => session.end(format!("the settings cannot be sent: {error}")),
        }
        session
    }

    fn hello(&self, settings: &Settings, purpose: Purpose) -> Result<Packet, MqttError> {
        let id = &settings.names.id;
        let name = match purpose {
            Purpose::Serve => format!("soloist-{id}"),
            Purpose::Try => format!("soloist-{id}-try"),
        };
        // Both versions have a builder of their own, with the same calls.
        macro_rules! hello {
            ($version:ident) => {{
                let mut hello = $version::Connect::builder()
                    .client_id(name.as_str())?
                    .clean_start(true)
                    .keep_alive(KEEP_ALIVE.as_secs() as u16);
                if purpose == Purpose::Serve {
                    let status = settings.names.status();
                    hello =
                        hello.will_message(status.as_str(), "offline", Qos::AtLeastOnce, false)?;
                }
                if let Some(user) = &settings.user {
                    hello = hello.user_name(user.as_str())?;
                }
                if let Some(password) = &settings.password {
                    hello = hello.password(password.as_str())?;
                }
                hello.build()?.into()
            }};
        }
        Ok(match self.version {
            Version::V3_1_1 => hello!(v3_1_1),
            Version::V5 => hello!(v5_0),
        })
    }

    /// Listens there. Of what is retained there, version 5 is told nothing.
    pub(super) fn listen(&mut self, now: Instant, topics: &[String]) {
        let packet = self.listening(topics);
        match packet {
            Ok(packet) => self.send(now, packet),
            Err(error) => self.end(format!("the broker's name for a topic is wrong: {error}")),
        }
    }

    fn listening(&mut self, topics: &[String]) -> Result<Packet, MqttError> {
        let mut options = SubOpts::new().set_qos(Qos::AtMostOnce);
        if self.version == Version::V5 {
            options = options.set_rh(RetainHandling::DoNotSendRetained);
        }
        let entries = topics.iter().map(|topic| SubEntry::new(topic.as_str(), options));
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let id = self.connection.acquire_packet_id()?;
        Ok(match self.version {
            Version::V3_1_1 => {
                v3_1_1::Subscribe::builder().packet_id(id).entries(entries).build()?.into()
            }
            Version::V5 => {
                v5_0::Subscribe::builder().packet_id(id).entries(entries).build()?.into()
            }
        })
    }

    /// Says something. Only one message that is to be confirmed may be under way.
    pub(super) fn publish(&mut self, now: Instant, message: Message) {
        let confirmed = message.confirmed;
        match self.publishing(message) {
            Ok(packet) => {
                if confirmed {
                    self.answer = Some(now + ANSWER_AT_MOST);
                }
                self.send(now, packet);
            }
            // It would be as wrong the next time.
            Err(error) => self.said.push_back(Said::Confirmed(Err(error.to_string()))),
        }
    }

    fn publishing(&mut self, message: Message) -> Result<Packet, MqttError> {
        let id = match message.confirmed {
            true => Some(self.connection.acquire_packet_id()?),
            false => None,
        };
        let qos = if id.is_some() { Qos::AtLeastOnce } else { Qos::AtMostOnce };
        macro_rules! publish {
            ($version:ident) => {
                $version::Publish::builder()
                    .topic_name(message.topic.as_str())?
                    .qos(qos)
                    .packet_id(id)
                    .retain(message.retained)
                    .payload(message.payload.into_bytes())
            };
        }
        Ok(match self.version {
            Version::V3_1_1 => publish!(v3_1_1).build()?.into(),
            // A value counts no longer for a client that the broker kept it for.
            Version::V5 if !message.confirmed => {
                let expires = MessageExpiryInterval::new(EXPIRES.as_secs() as u32)?;
                publish!(v5_0).props(vec![Property::from(expires)]).build()?.into()
            }
            Version::V5 => publish!(v5_0).build()?.into(),
        })
    }

    /// The farewell: the broker says nothing for us then.
    pub(super) fn farewell(&mut self, now: Instant) {
        let packet = match self.version {
            Version::V3_1_1 => v3_1_1::Disconnect::builder().build().map(Packet::from),
            Version::V5 => v5_0::Disconnect::builder().build().map(Packet::from),
        };
        if let Ok(packet) = packet {
            self.send(now, packet);
        }
    }

    /// Takes in what came.
    pub(super) fn read(&mut self, now: Instant, bytes: &[u8]) {
        let mut cursor = Cursor::new(bytes);
        while !self.over && (cursor.position() as usize) < bytes.len() {
            let before = cursor.position();
            let events = self.connection.recv(&mut cursor);
            self.take(now, events);
            if cursor.position() == before {
                // It would go on for ever.
                self.end(NOT_MQTT.to_owned());
            }
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.over {
            return;
        }
        if self.answer.is_some_and(|at| now >= at) {
            return self.end(format!("no answer within {} s", ANSWER_AT_MOST.as_secs()));
        }
        if self.pong.is_some_and(|at| now >= at) {
            return self.end("it answers no ping".to_owned());
        }
        if self.ping.is_some_and(|at| now >= at) {
            self.ping = None;
            let events = self.connection.notify_timer_fired(TimerKind::PingreqSend);
            self.take(now, events);
        }
    }

    /// When [`Session::tick`] is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [self.ping, self.pong, self.answer].into_iter().flatten().min()
    }

    /// What is to be sent now.
    pub(super) fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// The next of what came.
    pub(super) fn next(&mut self) -> Option<Said> {
        self.said.pop_front()
    }

    fn send(&mut self, now: Instant, packet: Packet) {
        let events = self.connection.send(packet);
        self.take(now, events);
    }

    fn end(&mut self, why: String) {
        if !std::mem::replace(&mut self.over, true) {
            self.said.push_back(Said::Over(why));
        }
    }

    fn take(&mut self, now: Instant, events: Vec<Event>) {
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => {
                    self.out.extend(packet.to_continuous_buffer());
                }
                Event::NotifyPacketReceived(packet) => self.received(packet),
                Event::RequestTimerReset { kind, duration_ms } => {
                    let at = Some(now + Duration::from_millis(duration_ms));
                    self.timer(kind, at);
                }
                Event::RequestTimerCancel(kind) => self.timer(kind, None),
                Event::NotifyError(error) => self.end(format!("the protocol is broken: {error}")),
                Event::RequestClose => self.end(NOT_MQTT.to_owned()),
                Event::NotifyPacketIdReleased(_) => {}
            }
        }
    }

    fn timer(&mut self, kind: TimerKind, at: Option<Instant>) {
        match kind {
            TimerKind::PingreqSend => self.ping = at,
            TimerKind::PingrespRecv => self.pong = at,
            // That is a broker's.
            TimerKind::PingreqRecv => {}
        }
    }

    fn received(&mut self, packet: Packet) {
        let said = match packet {
            Packet::V3_1_1Connack(answer) => match answer.return_code() {
                ConnectReturnCode::Accepted => self.welcomed(),
                code => Said::Refused(refusal_3(code)),
            },
            Packet::V5_0Connack(answer) => match answer.reason_code() {
                ConnectReasonCode::Success => self.welcomed(),
                code => Said::Refused(refusal_5(code)),
            },
            Packet::V3_1_1Puback(_) => self.confirmed(Ok(())),
            Packet::V5_0Puback(answer) => match answer.reason_code() {
                Some(code) if code.is_failure() => self.confirmed(Err(code.to_string())),
                _ => self.confirmed(Ok(())),
            },
            Packet::V3_1_1Suback(answer) => {
                match answer.return_codes().iter().any(|code| code.is_failure()) {
                    true => Said::Deaf,
                    false => return,
                }
            }
            Packet::V5_0Suback(answer) => {
                match answer.reason_codes().iter().any(SubackReasonCode::is_failure) {
                    true => Said::Deaf,
                    false => return,
                }
            }
            Packet::V3_1_1Publish(publish) => Said::Message {
                topic: publish.topic_name().to_owned(),
                payload: publish.payload().as_slice().to_vec(),
                retained: publish.retain(),
            },
            Packet::V5_0Publish(publish) => Said::Message {
                topic: publish.topic_name().to_owned(),
                payload: publish.payload().as_slice().to_vec(),
                retained: publish.retain(),
            },
            Packet::V5_0Disconnect(last) => {
                let why = last.reason_code().map_or_else(String::new, |code| format!(": {code}"));
                return self.end(format!("it ended the connection{why}"));
            }
            _ => return,
        };
        self.said.push_back(said);
    }

    fn welcomed(&mut self) -> Said {
        self.answer = None;
        Said::Welcome
    }

    fn confirmed(&mut self, how: Result<(), String>) -> Said {
        self.answer = None;
        Said::Confirmed(how)
    }
}

fn refusal_3(code: ConnectReturnCode) -> Fault {
    match code {
        ConnectReturnCode::BadUserNameOrPassword | ConnectReturnCode::NotAuthorized => login(),
        ConnectReturnCode::UnacceptableProtocolVersion => not_spoken(Version::V3_1_1),
        ConnectReturnCode::IdentifierRejected => other("it does not like our client id"),
        ConnectReturnCode::ServerUnavailable => other("it is not available at the moment"),
        ConnectReturnCode::Accepted => other(""),
    }
}

fn refusal_5(code: ConnectReasonCode) -> Fault {
    match code {
        ConnectReasonCode::BadUserNameOrPassword | ConnectReasonCode::NotAuthorized => login(),
        ConnectReasonCode::UnsupportedProtocolVersion => not_spoken(Version::V5),
        code => other(&format!("it refuses us: {code}")),
    }
}

fn login() -> Fault {
    Fault::new(
        "password",
        LOGIN,
        "Write a user and a password that the broker knows. With Home Assistant's add-on, these are those of a \
         user there (Settings, People, Users).",
    )
}

fn not_spoken(version: Version) -> Fault {
    let others = Version::ALL.into_iter().filter(|(_, other)| *other != version);
    let others: Vec<&str> = others.map(|(name, _)| name).collect();
    Fault::new(
        "version",
        format!("it does not speak MQTT {}", version.name()),
        format!("Choose version {}.", others.join(" or ")),
    )
}

fn other(words: &str) -> Fault {
    Fault::new("broker", words, "Look into the broker's log.")
}

const NOT_MQTT: &str = "it sends what is not MQTT, or more than it should";

/// Which of the two is wrong, no broker says.
const LOGIN: &str = "it refuses the user or the password";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home_assistant::Names;
    use crate::mqtt::Broker;
    use proptest::prelude::*;

    fn settings(version: Version) -> Settings {
        Settings {
            broker: Broker { host: "broker".to_owned(), port: None },
            tls: false,
            certificate: None,
            user: Some("anna".to_owned()),
            password: Some("geheim".to_owned()),
            version,
            names: Names {
                discovery: "homeassistant".to_owned(),
                topic: "soloist".to_owned(),
                id: "ab".to_owned(),
            },
            buttons: Vec::new(),
            file: std::path::PathBuf::new(),
        }
    }

    const BOTH: [Version; 2] = [Version::V3_1_1, Version::V5];

    /// The broker's yes, in both versions.
    fn welcome(version: Version) -> &'static [u8] {
        match version {
            Version::V3_1_1 => &[0x20, 2, 0, 0],
            Version::V5 => &[0x20, 3, 0, 0, 0],
        }
    }

    fn said(session: &mut Session) -> Vec<Said> {
        std::iter::from_fn(|| session.next()).collect()
    }

    fn message(confirmed: bool) -> Message {
        let (topic, payload) = ("a/b".to_owned(), "{}".to_owned());
        Message { topic, payload, retained: confirmed, confirmed }
    }

    /// Of the first bytes: what a broker needs to know, and a will that is not retained.
    #[test]
    fn the_first_words_are_as_the_standard_wants_them() {
        let mut session = Session::new(Instant::now(), &settings(Version::V3_1_1), Purpose::Serve);
        let bytes = session.take_bytes();
        // User, password, a will at QoS 1 that is not retained, and a clean session.
        assert_eq!(bytes[..10], [0x10, 64, 0, 4, b'M', b'Q', b'T', b'T', 4, 0b1100_1110]);
        assert_eq!(bytes[10..12], [0, 30]);
        let text = String::from_utf8_lossy(&bytes[12..]).into_owned();
        assert_eq!(
            text,
            "\0\nsoloist-ab\0\u{11}soloist/ab/status\0\u{7}offline\0\u{4}anna\0\u{6}geheim"
        );
        let mut session = Session::new(Instant::now(), &settings(Version::V5), Purpose::Serve);
        let bytes = session.take_bytes();
        assert_eq!((bytes[8], bytes[9]), (5, 0b1100_1110));
        // What the broker must not exceed (property 39).
        assert!(bytes.windows(5).any(|w| w == [39, 0, 0, 0x40, 0]), "{bytes:?}");
    }

    /// A broker ends the older of two connections with one name, and speaks for whoever has a last will.
    #[test]
    fn a_try_disturbs_no_connection() {
        for version in BOTH {
            let mut session = Session::new(Instant::now(), &settings(version), Purpose::Try);
            let bytes = session.take_bytes();
            assert_eq!(bytes[9], 0b1100_0010, "user, password and a clean session, no will");
            let text = String::from_utf8_lossy(&bytes).into_owned();
            assert!(text.contains("\0\x0esoloist-ab-try\0\x04anna\0\x06geheim"), "{text:?}");
            assert!(!text.contains("offline"), "{text:?}");
        }
    }

    #[test]
    fn a_refusal_is_told_in_words() {
        for (version, bytes, words) in [
            (Version::V3_1_1, &[0x20, 2, 0, 5][..], LOGIN),
            (Version::V3_1_1, &[0x20, 2, 0, 4], LOGIN),
            (Version::V3_1_1, &[0x20, 2, 0, 1], "it does not speak MQTT 3.1.1"),
            (Version::V5, &[0x20, 3, 0, 0x87, 0], LOGIN),
            (Version::V5, &[0x20, 3, 0, 0x84, 0], "it does not speak MQTT 5"),
            (Version::V5, &[0x20, 3, 0, 0x89, 0], "it refuses us: ServerBusy"),
        ] {
            let mut session = Session::new(Instant::now(), &settings(version), Purpose::Serve);
            session.read(Instant::now(), bytes);
            let [Said::Refused(fault)] = &said(&mut session)[..1] else { panic!("{bytes:?}") };
            assert_eq!(fault.words, words);
            let setting = match words {
                LOGIN => "password",
                words if words.contains("speak") => "version",
                _ => "broker",
            };
            assert_eq!(fault.setting, setting, "{words}");
        }
    }

    #[test]
    fn a_message_is_confirmed_pings_are_sent_and_a_silent_broker_is_noticed() {
        for version in BOTH {
            let start = Instant::now();
            let at = |second: u64| start + Duration::from_secs(second);
            let mut session = Session::new(start, &settings(version), Purpose::Serve);
            session.read(at(1), welcome(version));
            assert_eq!(said(&mut session), [Said::Welcome]);
            session.take_bytes();
            session.publish(at(2), message(true));
            let bytes = session.take_bytes();
            assert_eq!(bytes[0], 0x33, "QoS 1, retained");
            // Its id is behind the topic.
            let id = [bytes[7], bytes[8]];
            session.read(at(2), &[0x40, 2, id[0], id[1]]);
            assert_eq!(said(&mut session), [Said::Confirmed(Ok(()))]);
            session.publish(at(3), message(false));
            assert_eq!(session.take_bytes()[0], 0x30, "QoS 0, not retained");
            // The next is a ping, half a minute after the last word.
            assert_eq!(session.next_deadline(), Some(at(33)));
            session.tick(at(33));
            assert_eq!(session.take_bytes(), [0xc0, 0]);
            session.read(at(34), &[0xd0, 0]);
            assert_eq!(said(&mut session), []);
            // One that is not answered.
            let next = session.next_deadline().unwrap();
            session.tick(next);
            session.tick(next + ANSWER_AT_MOST);
            assert_eq!(said(&mut session), [Said::Over("it answers no ping".to_owned())]);
            // A message that nobody confirms.
            let mut session = Session::new(start, &settings(version), Purpose::Serve);
            session.read(at(1), welcome(version));
            session.publish(at(2), message(true));
            session.tick(at(17));
            assert_eq!(said(&mut session)[1], Said::Over("no answer within 15 s".to_owned()));
            // First words that nobody answers.
            let mut session = Session::new(start, &settings(version), Purpose::Serve);
            session.tick(at(15));
            assert_eq!(said(&mut session), [Said::Over("no answer within 15 s".to_owned())]);
        }
    }

    #[test]
    fn what_is_heard_comes_with_its_topic_and_too_much_of_it_ends_the_connection() {
        for version in BOTH {
            let now = Instant::now();
            let mut session = Session::new(now, &settings(version), Purpose::Serve);
            session.read(now, welcome(version));
            said(&mut session);
            let nothing: &[u8] = if version == Version::V5 { &[0] } else { &[] };
            let body = [&[0, 1, b't'], nothing, b"on"].concat();
            let packet = [&[0x31, body.len() as u8][..], &body].concat();
            // In pieces, and two at once.
            session.read(now, &packet[..3]);
            assert_eq!(said(&mut session), []);
            session.read(now, &[&packet[3..], &packet].concat());
            let heard =
                || Said::Message { topic: "t".into(), payload: b"on".into(), retained: true };
            assert_eq!(said(&mut session), [heard(), heard()]);
            // Longer than anything that concerns us: nothing is kept of it.
            session.read(now, &[0x30, 0xff, 0xff, 0xff, 0x7f]);
            assert!(matches!(said(&mut session)[0], Said::Over(_)));
        }
    }

    proptest! {
        /// Whatever a broker sends, nothing breaks, and nothing is kept that grows.
        #[test]
        fn nonsense_of_a_broker_ends_the_connection_at_most(
            five: bool,
            welcomed: bool,
            pieces in proptest::collection::vec(
                (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..20),
            at in 0..64usize,
        ) {
            let version = if five { Version::V5 } else { Version::V3_1_1 };
            let now = Instant::now();
            let mut session = Session::new(now, &settings(version), Purpose::Serve);
            if welcomed {
                session.read(now, welcome(version));
                session.listen(now, &["homeassistant/status".to_owned()]);
                session.publish(now, message(true));
            }
            // Packets with a right length and anything else, cut somewhere.
            let bytes: Vec<u8> = pieces
                .iter()
                .flat_map(|(kind, body)| [&[*kind, body.len() as u8][..], body].concat())
                .collect();
            let (first, rest) = bytes.split_at(at.min(bytes.len()));
            session.read(now, first);
            session.read(now, rest);
            session.tick(now + Duration::from_secs(3600));
            prop_assert!(session.take_bytes().len() < 4096);
            prop_assert!(said(&mut session).len() < 64);
        }
    }
}
