//! Parses a miner's line into a [`Request`], tolerant of every known firmware.
//!
//! ```
//! use soloist::stratum::message::{Message, Method, parse};
//!
//! let line = r#"{"id":"auth","method":"mining.authorize","params":["garage.bitaxe","x,d=512"]}"#;
//! let Ok(Message::Request(request)) = parse(line) else { panic!() };
//! assert_eq!(request.id.as_json(), "\"auth\"");
//! assert!(matches!(request.method, Method::Authorize(login) if login.user == "garage.bitaxe"));
//! ```
//!
//! Everything borrows from the line: a submit allocates nothing. The types of fields are checked
//! here, so that a session gets only typed values; everything else in a line is ignored. The
//! answers are in [`super::reply`].
//!
//! **Numbers and strings.** Where Stratum requires a string, a number is read as if it were in
//! quotes (`"params":[…,1f,…]` cannot be written in JSON, but job id `17` can); where it requires a
//! number, a string with a number is accepted.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::reject::Fault;

/// Reads one line (see [`super::frame`]).
///
/// # Errors
/// [`Malformed`] says what is wrong, with the id to send it to.
/// Nesting, number size and duplicate keys are bounded or refused by the JSON reader: no input
/// panics, and the work is linear in the line's length.
pub fn parse(line: &str) -> Result<Message<'_>, Malformed<'_>> {
    if !line.trim_start().starts_with('{') {
        return Err(Malformed { id: Id::NULL, fault: Fault::NotAnObject });
    }
    PlainSubmit::read(line).unwrap_or_else(|| parse_any(line))
}

/// Reads an object.
fn parse_any(line: &str) -> Result<Message<'_>, Malformed<'_>> {
    let nameless = |fault| Malformed { id: Id::NULL, fault };
    let envelope: Envelope =
        serde_json::from_str(line).map_err(|error| nameless(Fault::NotJson(error.to_string())))?;
    let id = Id::read(envelope.id).ok_or(nameless(Fault::BadId))?;
    let Some(method) = envelope.method else {
        return match envelope.result.0 || envelope.error.0 {
            true => Ok(Message::Response(id)),
            false => Err(Malformed { id, fault: Fault::NoMethod }),
        };
    };
    string(method)
        .ok_or(Fault::NoMethod)
        .and_then(|name| Method::read(name, envelope.params))
        .map(|method| Message::Request(Request { id, method }))
        .map_err(|fault| Malformed { id, fault })
}

/// A well-formed line.
#[derive(Clone, Debug, PartialEq)]
pub enum Message<'a> {
    /// The miner wants something.
    Request(Request<'a>),
    /// The miner answers something that we sent (a ping, a get_version). Nothing follows from it
    /// but that the miner lives.
    Response(Id<'a>),
}

/// A call of the miner.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<'a> {
    /// To be sent back unchanged.
    pub id: Id<'a>,
    /// What it calls.
    pub method: Method<'a>,
}

/// A request's id exactly as the miner wrote it: a number, a string (bfgminer's `"auth"`) or null.
///
/// Equal ids are no sign of a replay: pooler's cpuminer numbers every submit 4.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Id<'a>(&'a str);

impl<'a> Id<'a> {
    /// The id of notifications.
    pub const NULL: Id<'static> = Id("null");

    /// The JSON text to send back.
    pub fn as_json(self) -> &'a str {
        self.0
    }

    /// The id is null or missing: the miner cannot match an answer to its call.
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// `None` for an array or an object, which no client uses and which could be made to nest.
    fn read(raw: Option<&'a RawValue>) -> Option<Id<'a>> {
        match raw.map(RawValue::get) {
            None => Some(Id::NULL),
            Some(text) if text.starts_with(['[', '{']) => None,
            Some(text) => Some(Id(text)),
        }
    }
}

impl fmt::Debug for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({})", self.0)
    }
}

/// The methods of a home miner, with their parameters in our terms.
#[derive(Clone, Debug, PartialEq)]
pub enum Method<'a> {
    /// `mining.subscribe`
    Subscribe(Subscribe<'a>),
    /// `mining.authorize`, or `mining.auth` as some say.
    Authorize(Authorize<'a>),
    /// `mining.configure` (BIP 310)
    Configure(Configure),
    /// `mining.submit`
    Submit(Submit<'a>),
    /// `mining.suggest_difficulty` or `mining.suggest_target`: the difficulty wished for, finite
    /// and above 0. `None` if what came is not that; it is acknowledged and has no effect, because
    /// firmwares send whatever their settings hold.
    SuggestDifficulty(Option<f64>),
    /// `mining.extranonce.subscribe`
    ExtranonceSubscribe,
    /// `mining.ping`
    Ping,
    /// `pong`: ESP-Miner answers our ping with a call instead of a result. Expects no answer.
    Pong,
    /// `mining.get_transactions` (bfgminer). `[]` is an allowed answer.
    GetTransactions,
    /// `mining.capabilities` (bfgminer)
    Capabilities,
    /// `client.get_version`
    GetVersion,
    /// `mining.multi_version`
    MultiVersion,
    /// Any other, by its name.
    Unknown(Cow<'a, str>),
}

/// Parameters of `mining.subscribe`. Braiins OS sends a host name third, which we do not need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Name and version of the firmware, empty if it does not say (cpuminer's second attempt).
    /// May hold anything, also letters beyond ASCII (`NerdOCTAXE-γ`) and pipes (LuxOS).
    pub user_agent: Cow<'a, str>,
    /// The session that the miner would like to resume.
    pub session_id: Option<Cow<'a, str>>,
}

/// Parameters of `mining.authorize`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorize<'a> {
    /// The worker's name, as free text.
    pub user: Cow<'a, str>,
    /// The password, empty if there is none. See [`super::firmware::password_difficulty`].
    pub password: Cow<'a, str>,
}

/// Parameters of `mining.configure`, as far as they concern us.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Configure {
    /// The miner asks for version rolling.
    pub version_rolling: bool,
    /// The version bits that the miner can roll; all of them if it does not say, or says it
    /// illegibly (an error would end the connection of an Avalon).
    pub mask: u32,
    /// The least difficulty that it wishes for, finite and above 0.
    pub minimum_difficulty: Option<f64>,
}

/// Parameters of `mining.submit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submit<'a> {
    /// The worker's name. It decides nothing.
    pub worker: Cow<'a, str>,
    /// The job's id as we gave it out.
    pub job_id: Cow<'a, str>,
    /// Hex digits of either case, of any length: see [`Submit::extranonce2`].
    extranonce2: Cow<'a, str>,
    /// The header's time.
    pub ntime: u32,
    /// The header's nonce. NerdMiner does not pad it with zeros.
    pub nonce: u32,
    /// The rolled bits of the header's version (BIP 310), where a sixth parameter came. Some
    /// firmwares send it without ever having called `mining.configure`.
    pub version_bits: Option<u32>,
}

impl Submit<'_> {
    /// The extranonce2 in `room.len()` bytes. Digits that are too many are cut off, digits that
    /// are missing become zeros at the end, as ckpool has it; a hash decides whether that was it.
    pub fn extranonce2(&self, room: &mut [u8]) {
        let mut digits = self.extranonce2.bytes().map(|digit| digit_value(digit).unwrap_or(0));
        for byte in room {
            *byte = digits.next().unwrap_or(0) << 4 | digits.next().unwrap_or(0);
        }
    }
}

/// A line that is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct Malformed<'a> {
    /// Whom to answer; null if the line does not even say that.
    pub id: Id<'a>,
    /// What is wrong.
    pub fault: Fault,
}

impl<'a> Method<'a> {
    fn read(name: Cow<'a, str>, params: Option<&'a RawValue>) -> Result<Method<'a>, Fault> {
        let params = |method| Params::read(params).ok_or(Fault::BadParams(method));
        Ok(match name.as_ref() {
            "mining.submit" => {
                let params = params("submit")?;
                Method::Submit(Submit::read(|at| params.text(at))?)
            }
            "mining.subscribe" => Method::Subscribe(Subscribe::read(params("subscribe")?)),
            "mining.authorize" | "mining.auth" => {
                Method::Authorize(Authorize::read(params("authorize")?)?)
            }
            "mining.configure" => Method::Configure(Configure::read(params("configure")?)?),
            "mining.suggest_difficulty" => Method::SuggestDifficulty(
                params("suggest_difficulty")?.get(0).and_then(positive_number),
            ),
            "mining.suggest_target" => Method::SuggestDifficulty(
                params("suggest_target")?.text(0).and_then(|target| target_difficulty(&target)),
            ),
            "mining.extranonce.subscribe" => Method::ExtranonceSubscribe,
            "mining.ping" => Method::Ping,
            "mining.pong" | "pong" => Method::Pong,
            "mining.get_transactions" => Method::GetTransactions,
            "mining.capabilities" => Method::Capabilities,
            "client.get_version" | "mining.get_version" => Method::GetVersion,
            "mining.multi_version" => Method::MultiVersion,
            _ => Method::Unknown(name),
        })
    }
}

impl<'a> Subscribe<'a> {
    fn read(params: Params<'a>) -> Subscribe<'a> {
        Subscribe {
            user_agent: params.text(0).unwrap_or_default(),
            session_id: params.text(1).filter(|id| !id.is_empty()),
        }
    }
}

impl<'a> Authorize<'a> {
    fn read(params: Params<'a>) -> Result<Authorize<'a>, Fault> {
        const USER: Fault = Fault::BadField("authorize: the user must be a string");
        Ok(Authorize {
            user: params.text(0).ok_or(USER)?,
            password: params.text(1).unwrap_or_default(),
        })
    }
}

impl Configure {
    fn read(params: Params<'_>) -> Result<Configure, Fault> {
        const LIST: Fault =
            Fault::BadField("configure: the first parameter must be a list of extensions");
        const OPTIONS: Fault = Fault::BadField("configure: the second parameter must be an object");
        let extensions = Params::read(params.get(0)).ok_or(LIST)?;
        let asks_for = |name| (0..PARAMS).any(|at| extensions.text(at).as_deref() == Some(name));
        let options: ConfigureOptions = match params.get(1) {
            Some(raw) if raw.get().starts_with('{') => {
                serde_json::from_str(raw.get()).map_err(|_| OPTIONS)?
            }
            Some(_) => return Err(OPTIONS),
            None => ConfigureOptions::default(),
        };
        Ok(Configure {
            version_rolling: asks_for("version-rolling"),
            mask: options.mask.and_then(string).and_then(|mask| hex_u32(&mask)).unwrap_or(u32::MAX),
            minimum_difficulty: options.minimum_difficulty.and_then(positive_number),
        })
    }
}

impl<'a> Submit<'a> {
    fn read(param: impl Fn(usize) -> Option<Cow<'a, str>>) -> Result<Submit<'a>, Fault> {
        const JOB: Fault = Fault::BadField("submit: the job id must be a string");
        const EXTRANONCE2: Fault = Fault::BadField("submit: extranonce2 must be hex digits");
        const NTIME: Fault = Fault::BadField("submit: ntime must be 1 to 8 hex digits");
        const NONCE: Fault = Fault::BadField("submit: the nonce must be 1 to 8 hex digits");
        const VERSION: Fault =
            Fault::BadField("submit: the version bits must be 1 to 8 hex digits");
        let number = |at, fault| param(at).and_then(|hex| hex_u32(&hex)).ok_or(fault);
        Ok(Submit {
            worker: param(0).unwrap_or_default(),
            job_id: param(1).filter(|id| !id.is_empty()).ok_or(JOB)?,
            extranonce2: param(2)
                .filter(|hex| {
                    !hex.is_empty() && hex.bytes().all(|digit| digit_value(digit).is_some())
                })
                .ok_or(EXTRANONCE2)?,
            ntime: number(3, NTIME)?,
            nonce: number(4, NONCE)?,
            version_bits: match param(5).filter(|bits| !bits.is_empty()) {
                Some(_) => Some(number(5, VERSION)?),
                None => None,
            },
        })
    }
}

/// The keys that matter; values are read later, so that one odd value spoils nothing else.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(default)]
    result: Seen,
    #[serde(default)]
    error: Seen,
}

/// A submit as nearly every firmware writes it, all parameters plain strings: read in one pass,
/// where [`Envelope`] needs one for the line, one for the parameters and one for each of them.
#[derive(Deserialize)]
struct PlainSubmit<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: &'a str,
    #[serde(borrow)]
    params: Strings<'a>,
}

impl<'a> PlainSubmit<'a> {
    /// `None` if the line is anything else; it is then to be read as such.
    fn read(line: &'a str) -> Option<Result<Message<'a>, Malformed<'a>>> {
        let PlainSubmit { id, method, params } = serde_json::from_str(line).ok()?;
        if method != "mining.submit" {
            return None;
        }
        let id = Id::read(id)?;
        let submit = Submit::read(|at| params.0.get(at).copied().flatten().map(Cow::Borrowed));
        Some(match submit {
            Ok(submit) => Ok(Message::Request(Request { id, method: Method::Submit(submit) })),
            Err(fault) => Err(Malformed { id, fault }),
        })
    }
}

/// The parameters of a submit, if they are at most six strings without escapes.
#[derive(Default)]
struct Strings<'a>([Option<&'a str>; 6]);

impl<'de: 'a, 'a> Deserialize<'de> for Strings<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strings<'a>, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Strings<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("at most six strings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Strings<'de>, A::Error> {
                let mut strings = Strings::default();
                for slot in &mut strings.0 {
                    *slot = array.next_element::<&str>()?;
                    if slot.is_none() {
                        return Ok(strings);
                    }
                }
                match array.next_element::<IgnoredAny>()? {
                    None => Ok(strings),
                    Some(_) => Err(serde::de::Error::custom("more than six")),
                }
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

#[derive(Default, Deserialize)]
struct ConfigureOptions<'a> {
    #[serde(borrow, default, rename = "version-rolling.mask")]
    mask: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "minimum-difficulty.value")]
    minimum_difficulty: Option<&'a RawValue>,
}

/// Whether a key stands in an object, with whatever value.
#[derive(Default)]
struct Seen(bool);

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Seen, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Seen(true))
    }
}

/// As many parameters or extensions as are looked at; more are skipped.
const PARAMS: usize = 16;

/// The elements of an array, unread. Null counts as missing.
struct Params<'a>([Option<&'a RawValue>; PARAMS]);

impl<'a> Params<'a> {
    /// Missing and null are an empty array. `None` for anything else that is no array.
    fn read(raw: Option<&'a RawValue>) -> Option<Params<'a>> {
        match raw {
            None => Some(Params([None; PARAMS])),
            Some(raw) => serde_json::from_str(raw.get()).ok(),
        }
    }

    fn get(&self, at: usize) -> Option<&'a RawValue> {
        self.0[at]
    }

    fn text(&self, at: usize) -> Option<Cow<'a, str>> {
        self.get(at).and_then(text)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Params<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Params<'a>, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Params<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Params<'de>, A::Error> {
                let mut params = Params([None; PARAMS]);
                for slot in &mut params.0 {
                    match array.next_element()? {
                        Some(element) => *slot = element,
                        None => return Ok(params),
                    }
                }
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(params)
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

/// A scalar as text: a string's content, or a number or a boolean as written. `None` for arrays,
/// objects, and strings whose escapes name no characters.
fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    match raw.get().as_bytes().first() {
        Some(b'"') => string(raw),
        Some(b'[' | b'{') => None,
        _ => Some(Cow::Borrowed(raw.get())),
    }
}

/// A JSON string's content, borrowed unless escapes force a copy.
fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let content = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    match content.contains('\\') {
        false => Some(Cow::Borrowed(content)),
        true => serde_json::from_str(raw.get()).ok().map(Cow::Owned),
    }
}

/// A number, or a string of one, if it is finite and above 0.
fn positive_number(raw: &RawValue) -> Option<f64> {
    let number: f64 = text(raw)?.trim().parse().ok()?;
    (number.is_finite() && number > 0.0).then_some(number)
}

/// 1 to 8 hex digits of either case, also after `0x`.
fn hex_u32(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0x").or(text.strip_prefix("0X")).unwrap_or(text);
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    digits.bytes().try_fold(0, |number, digit| Some(number << 4 | u32::from(digit_value(digit)?)))
}

/// The difficulty of a target given as a number of at most 64 hex digits, most significant first
/// (bfgminer). A wish needs no exactness.
fn target_difficulty(target: &str) -> Option<f64> {
    if target.is_empty() || target.len() > 64 {
        return None;
    }
    let number = target
        .bytes()
        .try_fold(0.0, |number, digit| Some(number * 16.0 + f64::from(digit_value(digit)?)))?;
    let difficulty = f64::from(0xffff) * 2f64.powi(208) / number;
    (difficulty.is_finite() && difficulty > 0.0).then_some(difficulty)
}

/// Of each byte its value as a hex digit, or [`NO_DIGIT`]: every share has some fifty of them.
const DIGITS: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value] as usize] = value as u8;
        values[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    values
};
const NO_DIGIT: u8 = 0xff;

fn digit_value(digit: u8) -> Option<u8> {
    Some(DIGITS[usize::from(digit)]).filter(|value| *value != NO_DIGIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(line: &str) -> Request<'_> {
        match parse(line).unwrap() {
            Message::Request(request) => request,
            Message::Response(_) => panic!("{line} is no request"),
        }
    }

    fn method(line: &str) -> Method<'_> {
        request(line).method
    }

    fn fault(line: &str) -> String {
        parse(line).unwrap_err().to_string()
    }

    #[test]
    fn ids_come_back_as_they_were_written() {
        for id in ["1", "-7", "1e3", "\"auth\"", "\"txlist\\u0031\"", "\"\"", "null", "true"] {
            let line = format!(r#"{{"id": {id} , "method":"mining.ping","params":[]}}"#);
            assert_eq!(request(&line).id.as_json(), id);
        }
        assert!(request(r#"{"method":"mining.ping"}"#).id.is_null());
        assert_eq!(
            fault(r#"{"id":[1],"method":"mining.ping"}"#),
            "the id must be a number, a string or null"
        );
    }

    #[test]
    fn user_agents_of_every_sort_are_read() {
        let subscribe = |params: &str| {
            let line = format!(r#"{{"id":1,"method":"mining.subscribe","params":{params}}}"#);
            match method(&line) {
                Method::Subscribe(Subscribe { user_agent, session_id }) => {
                    (user_agent.into_owned(), session_id.map(Cow::into_owned))
                }
                other => panic!("{other:?}"),
            }
        };
        let plain = |agent: &str| (agent.to_owned(), None);
        assert_eq!(subscribe(r#"["bitaxe/BM1370/v2.13.1"]"#), plain("bitaxe/BM1370/v2.13.1"));
        assert_eq!(subscribe(r#"["NerdOCTAXE-γ/BM1370"]"#), plain("NerdOCTAXE-γ/BM1370"));
        assert_eq!(subscribe(r#"["Nerd\u03b3"]"#), plain("Nerdγ"));
        assert_eq!(subscribe(r#"["bos",null,"soloist.local:3333",null]"#), plain("bos"));
        assert_eq!(subscribe("[]"), plain(""));
        assert_eq!(subscribe("null"), plain(""));
        assert_eq!(subscribe("[null,\"\"]"), plain(""));
        assert_eq!(
            subscribe(r#"["cgminer/4.11.1","5f2a"]"#),
            ("cgminer/4.11.1".into(), Some("5f2a".into()))
        );
        assert_eq!(subscribe(r#"["x",5]"#), ("x".into(), Some("5".into())));
    }

    #[test]
    fn authorize_takes_any_name() {
        for name in ["mining.authorize", "mining.auth"] {
            let line = format!(r#"{{"params":["bc1q.\"1\""],"id":2,"method":"{name}"}}"#);
            let Method::Authorize(login) = method(&line) else { panic!() };
            assert_eq!((login.user.as_ref(), login.password.as_ref()), ("bc1q.\"1\"", ""));
        }
        assert_eq!(
            fault(r#"{"id":2,"method":"mining.authorize","params":[]}"#),
            "authorize: the user must be a string"
        );
        let lone_surrogate = r#"{"id":2,"method":"mining.authorize","params":["\ud800",""]}"#;
        assert_eq!(parse(lone_surrogate).unwrap_err().id.as_json(), "2");
    }

    #[test]
    fn configure_of_a_bitaxe_an_antminer_and_a_careless_one() {
        let configure = |params: &str| {
            let line = format!(r#"{{"id":1,"method":"mining.configure","params":{params}}}"#);
            match method(&line) {
                Method::Configure(configure) => configure,
                other => panic!("{other:?}"),
            }
        };
        let bitaxe = configure(r#"[["version-rolling"],{"version-rolling.mask":"ffffffff"}]"#);
        assert_eq!(
            bitaxe,
            Configure { version_rolling: true, mask: u32::MAX, ..Configure::default() }
        );
        let antminer = configure(
            r#"[["version-rolling","minimum-difficulty","subscribe-extranonce"],
                {"version-rolling.mask":"1FFFE000","version-rolling.min-bit-count":16,
                 "minimum-difficulty.value":2048}]"#,
        );
        assert_eq!(
            antminer,
            Configure {
                version_rolling: true,
                mask: 0x1fff_e000,
                minimum_difficulty: Some(2048.0)
            }
        );
        let careless = configure(r#"[["version-rolling"],{"version-rolling.mask":[]}]"#);
        assert_eq!(careless.mask, u32::MAX);
        assert!(!configure("[[],{}]").version_rolling);
        assert!(!configure("[]").version_rolling);
        assert!(configure(r#"[["version-rolling"]]"#).version_rolling);
    }

    #[test]
    fn submits_of_five_and_six_params_in_any_writing() {
        let submit = |params: &str| {
            let line = format!(r#"{{"id":4,"method":"mining.submit","params":{params}}}"#);
            match method(&line) {
                Method::Submit(submit) => {
                    let mut extranonce2 = [0xaa; 8];
                    submit.extranonce2(&mut extranonce2);
                    assert!(matches!(submit.worker, Cow::Borrowed(_)));
                    let job_id = submit.job_id.into_owned();
                    (job_id, extranonce2, submit.ntime, submit.nonce, submit.version_bits)
                }
                other => panic!("{other:?}"),
            }
        };
        let one = [0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(
            submit(r#"["w","1f","0000000000000001","665fabc0","da54e700","00002000"]"#),
            ("1f".into(), one, 0x665f_abc0, 0xda54_e700, Some(0x2000))
        );
        // NerdMiner: five params, the nonce without its zeros.
        assert_eq!(
            submit(r#"["w","1f","0000000000000001","665FABC0","4e7"]"#),
            ("1f".into(), one, 0x665f_abc0, 0x4e7, None)
        );
        // A job id as a number, an odd and short extranonce2, bits that are null.
        assert_eq!(
            submit(r#"["w",17,"ABC","665fabc0","0x1",null]"#),
            ("17".into(), [0xab, 0xc0, 0, 0, 0, 0, 0, 0], 0x665f_abc0, 1, None)
        );
        // An extranonce2 that is too long.
        assert_eq!(submit(r#"["w","1","00000000000000010203","1","1",""]"#).1, one);
    }

    #[test]
    fn what_is_wrong_with_a_submit_is_said() {
        let fault = |params: &str| {
            fault(&format!(r#"{{"id":4,"method":"mining.submit","params":{params}}}"#))
        };
        assert_eq!(fault("{}"), "submit: params must be an array");
        assert_eq!(fault("\"x\""), "submit: params must be an array");
        assert_eq!(fault("[]"), "submit: the job id must be a string");
        assert_eq!(fault(r#"["w",["1"]]"#), "submit: the job id must be a string");
        assert_eq!(fault(r#"["w","1","xyz","1","1"]"#), "submit: extranonce2 must be hex digits");
        assert_eq!(fault(r#"["w","1","00"]"#), "submit: ntime must be 1 to 8 hex digits");
        assert_eq!(
            fault(r#"["w","1","00","1","+1"]"#),
            "submit: the nonce must be 1 to 8 hex digits"
        );
        assert_eq!(
            fault(r#"["w","1","00","1","1","123456789"]"#),
            "submit: the version bits must be 1 to 8 hex digits"
        );
        assert_eq!(
            fault(r#"["w","1","00","1",-1]"#),
            "submit: the nonce must be 1 to 8 hex digits"
        );
    }

    #[test]
    fn suggestions_that_make_no_sense_are_no_errors() {
        let suggest = |params: &str| {
            let line =
                format!(r#"{{"id":null,"method":"mining.suggest_difficulty","params":{params}}}"#);
            match method(&line) {
                Method::SuggestDifficulty(wish) => wish,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(suggest("[0.00015]"), Some(0.00015));
        assert_eq!(suggest("[1000]"), Some(1000.0));
        assert_eq!(suggest("[\"1000.5\"]"), Some(1000.5));
        for nonsense in
            ["[]", "[0]", "[-1]", "[1e999]", "[\"nan\"]", "[\"inf\"]", "[null]", "[[1]]"]
        {
            assert_eq!(suggest(nonsense), None, "{nonsense}");
        }
        let target = |hex: &str| {
            let line =
                format!(r#"{{"id":null,"method":"mining.suggest_target","params":["{hex}"]}}"#);
            match method(&line) {
                Method::SuggestDifficulty(wish) => wish,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(target(&format!("00000000ffff{}", "0".repeat(52))), Some(1.0));
        assert_eq!(target(&format!("000000007fff8{}", "0".repeat(51))), Some(2.0));
        for nonsense in ["", "0", "zz", &"f".repeat(65)] {
            assert_eq!(target(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn the_rest_of_the_methods() {
        for (name, expected) in [
            ("mining.extranonce.subscribe", Method::ExtranonceSubscribe),
            ("mining.ping", Method::Ping),
            ("pong", Method::Pong),
            ("mining.get_transactions", Method::GetTransactions),
            ("mining.capabilities", Method::Capabilities),
            ("client.get_version", Method::GetVersion),
            ("mining.multi_version", Method::MultiVersion),
            ("eth_submitWork", Method::Unknown("eth_submitWork".into())),
        ] {
            let line = format!(r#"{{"id":1,"method":"{name}","params":{{"odd":"shape"}}}}"#);
            assert_eq!(method(&line), expected);
        }
    }

    #[test]
    fn answers_of_the_miner_are_recognised() {
        for line in [
            r#"{"id":1,"result":"pong","error":null}"#,
            r#"{"id":1,"result":null,"error":null}"#,
            r#"{"error":[20,"x",null]}"#,
        ] {
            assert!(matches!(parse(line), Ok(Message::Response(_))), "{line}");
        }
    }

    #[test]
    fn lines_that_are_no_messages_are_refused() {
        let hello = "a message is a JSON object on one line";
        assert_eq!(fault("GET / HTTP/1.1"), hello);
        assert_eq!(fault("[1,\"mining.ping\",[]]"), hello);
        assert_eq!(fault("null"), hello);
        assert_eq!(fault(""), hello);
        assert_eq!(fault("{}"), "no method");
        assert_eq!(fault(r#"{"id":1,"method":7}"#), "no method");
        assert_eq!(fault(r#"{"id":1,"method":null}"#), "no method");
        for broken in [
            r#"{"id":1,"method":"mining.ping""#,
            r#"{"id":1,"id":2,"method":"mining.ping"}"#,
            r#"{"id":1,"method":"mining.ping"} {}"#,
            r#"{"id":1,"method":"mining.ping","params":[1,]}"#,
            r#"{id:1}"#,
            "{\"id\":1,\"method\":\"mining.\u{1}ping\"}",
        ] {
            assert!(fault(broken).starts_with("bad JSON: "), "{broken}");
        }
        let doubled = r#"{"id":1,"method":"mining.configure","params":[[],
            {"version-rolling.mask":"1","version-rolling.mask":"2"}]}"#;
        assert_eq!(fault(doubled), "configure: the second parameter must be an object");
    }

    #[test]
    fn a_nesting_bomb_is_only_a_long_line() {
        let deep = "[".repeat(3000) + &"]".repeat(3000);
        let line = format!(r#"{{"id":1,"method":"mining.submit","params":["w",{deep}]}}"#);
        assert_eq!(fault(&line), "submit: the job id must be a string");
        assert!(fault(&format!(r#"{{"id":{}"#, "[".repeat(8000))).starts_with("bad JSON"));
        let line = format!(r#"{{"id":1{},"method":"mining.ping"}}"#, "0".repeat(5000));
        assert_eq!(request(&line).id.as_json().len(), 5001);
    }

    proptest! {
        #[test]
        fn a_plain_submit_is_read_as_any_line_is(
            order in Just(["id", "method", "params", "extra"]).prop_shuffle(),
            id in prop_oneof![
                Just("1"), Just("null"), Just("\"a\""), Just("[1]"), Just("\"\\n\""), Just("-0.5e3"),
            ],
            method in prop_oneof![Just("mining.submit"), Just("mining.sub\\u006dit"), Just("x")],
            params in proptest::collection::vec(
                prop_oneof![
                    8 => "\"[0-9a-fA-F]{0,9}\"", 1 => "\"\\PC{0,5}\"", 1 => Just("null".to_owned()),
                    1 => Just("17".to_owned()), 1 => Just("\"\\u0031\"".to_owned()),
                ], 0..9),
            left_out in 0..8usize,
        ) {
            let mut keys: Vec<String> = order.iter().map(|key| match *key {
                "id" => format!("\"id\": {id}"),
                "method" => format!("\"method\":\"{method}\""),
                "params" => format!("\"params\":[{}]", params.join(",")),
                key => format!("\"{key}\":{{}}"),
            }).collect();
            if left_out < keys.len() {
                keys.remove(left_out);
            }
            let line = format!("{{{}}}", keys.join(", "));
            prop_assert_eq!(parse(&line), parse_any(&line));
        }

        #[test]
        fn no_line_panics(line in "\\PC{0,200}") {
            let _ = parse(&line);
        }

        #[test]
        fn no_cut_or_altered_message_panics(
            cut in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            params in proptest::collection::vec(
                prop_oneof![
                    Just("null".to_owned()), Just("[]".to_owned()), Just("{}".to_owned()),
                    Just("-0".to_owned()), Just("1e309".to_owned()), Just("\"\\ud800\"".to_owned()),
                    "[0-9]{1,30}", "\"[0-9a-fA-F]{0,20}\"",
                ], 0..20),
            name in prop_oneof![
                Just("submit"), Just("subscribe"), Just("authorize"), Just("configure"),
                Just("suggest_difficulty"), Just("suggest_target"),
            ],
        ) {
            let line =
                format!(r#"{{"id":1,"method":"mining.{name}","params":[{}]}}"#, params.join(","));
            if let Ok(Message::Request(request)) = parse(&line) {
                prop_assert_eq!(request.id.as_json(), "1");
                if let Method::Submit(submit) = request.method {
                    let mut room = [0; 8];
                    submit.extranonce2(&mut room);
                }
            }
            let mut bytes = line.into_bytes();
            let at = cut.index(bytes.len());
            bytes[at] = byte;
            let _ = parse(&super::super::frame::text(&bytes));
            bytes.truncate(at);
            let _ = parse(&super::super::frame::text(&bytes));
        }
    }
}
