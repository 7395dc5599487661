//! Messages of Stratum V2 in words, whoever sends them: for recordings that a person reads, and for a
//! reader of what a pool says.
//!
//! ```
//! use soloist::stratum::v2::describe::describe;
//! use soloist::stratum::v2::{frame, message};
//!
//! let mut bytes = Vec::new();
//! message::submit_success(&mut bytes, 1, 7, 2, 1024);
//! let frame = frame::next(&mut &bytes[..]).unwrap();
//! assert_eq!(
//!     describe(&frame).to_string(),
//!     "SubmitShares.Success channel_id=1 last_sequence_number=7 new_submits_accepted_count=2 \
//!      new_shares_sum=1024"
//! );
//! ```
//!
//! One table has the fields of all messages that a miner and a pool exchange; it knows nothing of the
//! functions in [`super::message`], which the tests hold against it. Names are the specification's.
//!
//! Source: the Stratum V2 specification, chapters 3 (Protocol Overview) and 5 (Mining Protocol).

use std::fmt;

use crate::chain::BlockHash;
use crate::difficulty::Target;

use super::frame::Frame;
use super::message::kind;

/// A message, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Description<'a> {
    /// Its name; `None` for a message that is not in the table.
    pub name: Option<&'static str>,
    /// Its fields, as far as they are whole.
    pub fields: Vec<(&'static str, Value<'a>)>,
    /// The field at which the message ends too early.
    pub lacks: Option<&'static str>,
    frame: Frame<'a>,
    /// What follows on the last whole field.
    rest: &'a [u8],
}

/// What stands in a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A number that is counted or compared.
    Number(u64),
    /// A number whose bits are what matters.
    Bits(u32),
    /// A number that may be missing.
    Option(Option<u32>),
    /// Hashes a second.
    Rate(f32),
    /// A target: the number, little-endian.
    Target(&'a [u8; 32]),
    /// A block's hash, in the order of its bytes in a header.
    Block(&'a [u8; 32]),
    /// Another hash, in the order of its bytes in a header.
    Hash(&'a [u8; 32]),
    /// Hashes, one after the other.
    Hashes(Vec<&'a [u8; 32]>),
    /// Text, which need not be UTF-8.
    Text(&'a [u8]),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// How a field is written.
#[derive(Clone, Copy)]
enum Type {
    U8,
    U16,
    U32,
    U64,
    F32,
    Bits,
    OptionU32,
    Target,
    Block,
    Hash,
    /// At most 255 hashes, after their number.
    Path,
    /// At most 255 bytes, after their number.
    Text,
    /// At most 255 bytes, after their number.
    Short,
    /// At most 65,535 bytes, after their number.
    Long,
}

type Fields = &'static [(&'static str, Type)];

// Fields of many messages.
const CHANNEL: (&str, Type) = ("channel_id", Type::U32);
const REQUEST: (&str, Type) = ("request_id", Type::U32);
const CODE: (&str, Type) = ("error_code", Type::Text);

/// Type, name, fields.
const MESSAGES: [(u8, &str, Fields); 22] = [
    (
        kind::SETUP_CONNECTION,
        "SetupConnection",
        &[
            ("protocol", Type::U8),
            ("min_version", Type::U16),
            ("max_version", Type::U16),
            ("flags", Type::Bits),
            ("endpoint_host", Type::Text),
            ("endpoint_port", Type::U16),
            ("vendor", Type::Text),
            ("hardware_version", Type::Text),
            ("firmware", Type::Text),
            ("device_id", Type::Text),
        ],
    ),
    (
        kind::SETUP_CONNECTION_SUCCESS,
        "SetupConnection.Success",
        &[("used_version", Type::U16), ("flags", Type::Bits)],
    ),
    (kind::SETUP_CONNECTION_ERROR, "SetupConnection.Error", &[("flags", Type::Bits), CODE]),
    (
        kind::OPEN_STANDARD_MINING_CHANNEL,
        "OpenStandardMiningChannel",
        &[
            REQUEST,
            ("user_identity", Type::Text),
            ("nominal_hash_rate", Type::F32),
            ("max_target", Type::Target),
        ],
    ),
    (
        kind::OPEN_STANDARD_MINING_CHANNEL_SUCCESS,
        "OpenStandardMiningChannel.Success",
        &[
            REQUEST,
            CHANNEL,
            ("target", Type::Target),
            ("extranonce_prefix", Type::Short),
            ("group_channel_id", Type::U32),
        ],
    ),
    (kind::OPEN_MINING_CHANNEL_ERROR, "OpenMiningChannel.Error", &[REQUEST, CODE]),
    (
        kind::OPEN_EXTENDED_MINING_CHANNEL,
        "OpenExtendedMiningChannel",
        &[
            REQUEST,
            ("user_identity", Type::Text),
            ("nominal_hash_rate", Type::F32),
            ("max_target", Type::Target),
            ("min_extranonce_size", Type::U16),
        ],
    ),
    (
        kind::OPEN_EXTENDED_MINING_CHANNEL_SUCCESS,
        "OpenExtendedMiningChannel.Success",
        &[
            REQUEST,
            CHANNEL,
            ("target", Type::Target),
            ("extranonce_size", Type::U16),
            ("extranonce_prefix", Type::Short),
            ("group_channel_id", Type::U32),
        ],
    ),
    (
        kind::NEW_MINING_JOB,
        "NewMiningJob",
        &[
            CHANNEL,
            ("job_id", Type::U32),
            ("min_ntime", Type::OptionU32),
            ("version", Type::Bits),
            ("merkle_root", Type::Hash),
        ],
    ),
    (
        kind::UPDATE_CHANNEL,
        "UpdateChannel",
        &[CHANNEL, ("nominal_hash_rate", Type::F32), ("maximum_target", Type::Target)],
    ),
    (kind::UPDATE_CHANNEL_ERROR, "UpdateChannel.Error", &[CHANNEL, CODE]),
    (kind::CLOSE_CHANNEL, "CloseChannel", &[CHANNEL, ("reason_code", Type::Text)]),
    (
        kind::SUBMIT_SHARES_STANDARD,
        "SubmitSharesStandard",
        &[
            CHANNEL,
            ("sequence_number", Type::U32),
            ("job_id", Type::U32),
            ("nonce", Type::Bits),
            ("ntime", Type::U32),
            ("version", Type::Bits),
        ],
    ),
    (
        kind::SUBMIT_SHARES_EXTENDED,
        "SubmitSharesExtended",
        &[
            CHANNEL,
            ("sequence_number", Type::U32),
            ("job_id", Type::U32),
            ("nonce", Type::Bits),
            ("ntime", Type::U32),
            ("version", Type::Bits),
            ("extranonce", Type::Short),
        ],
    ),
    (
        kind::SUBMIT_SHARES_SUCCESS,
        "SubmitShares.Success",
        &[
            CHANNEL,
            ("last_sequence_number", Type::U32),
            ("new_submits_accepted_count", Type::U32),
            ("new_shares_sum", Type::U64),
        ],
    ),
    (
        kind::SUBMIT_SHARES_ERROR,
        "SubmitShares.Error",
        &[CHANNEL, ("sequence_number", Type::U32), CODE],
    ),
    (
        kind::NEW_EXTENDED_MINING_JOB,
        "NewExtendedMiningJob",
        &[
            CHANNEL,
            ("job_id", Type::U32),
            ("min_ntime", Type::OptionU32),
            ("version", Type::Bits),
            ("version_rolling_allowed", Type::U8),
            ("merkle_path", Type::Path),
            ("coinbase_tx_prefix", Type::Long),
            ("coinbase_tx_suffix", Type::Long),
        ],
    ),
    (
        kind::SET_NEW_PREV_HASH,
        "SetNewPrevHash",
        &[
            CHANNEL,
            ("job_id", Type::U32),
            ("prev_hash", Type::Block),
            ("min_ntime", Type::U32),
            ("nbits", Type::Bits),
        ],
    ),
    (kind::SET_TARGET, "SetTarget", &[CHANNEL, ("maximum_target", Type::Target)]),
    (
        kind::SET_CUSTOM_MINING_JOB,
        "SetCustomMiningJob",
        &[
            CHANNEL,
            REQUEST,
            ("mining_job_token", Type::Short),
            ("version", Type::Bits),
            ("prev_hash", Type::Block),
            ("min_ntime", Type::U32),
            ("nbits", Type::Bits),
        ],
    ),
    (kind::SET_CUSTOM_MINING_JOB_ERROR, "SetCustomMiningJob.Error", &[CHANNEL, REQUEST, CODE]),
    (0x19, "SetExtranoncePrefix", &[CHANNEL, ("extranonce_prefix", Type::Short)]),
];

/// Takes a message apart.
pub fn describe<'a>(frame: &Frame<'a>) -> Description<'a> {
    let known = MESSAGES.iter().find(|(kind, ..)| frame.extension == 0 && *kind == frame.kind);
    let (name, wanted) = known.map_or((None, [].as_slice()), |known| (Some(known.1), known.2));
    let mut description = Description {
        name,
        fields: Vec::with_capacity(wanted.len()),
        lacks: None,
        frame: *frame,
        rest: frame.payload,
    };
    for (field, kind) in wanted {
        match take(*kind, &mut description.rest) {
            Some(value) => description.fields.push((field, value)),
            None => {
                description.lacks = Some(field);
                break;
            }
        }
    }
    description
}

impl<'a> Description<'a> {
    /// A field by its name.
    pub fn field(&self, name: &str) -> Option<&Value<'a>> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// A field that is a number.
    pub fn number(&self, name: &str) -> Option<u32> {
        match *self.field(name)? {
            Value::Number(number) => u32::try_from(number).ok(),
            Value::Bits(bits) => Some(bits),
            Value::Option(number) => number,
            _ => None,
        }
    }

    /// A field that is bytes: a hash, a target, text.
    pub fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        match *self.field(name)? {
            Value::Target(bytes) | Value::Block(bytes) | Value::Hash(bytes) => Some(bytes),
            Value::Text(bytes) | Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// Reads one field. What cannot be read is left as it is.
fn take<'a>(kind: Type, rest: &mut &'a [u8]) -> Option<Value<'a>> {
    let mut at = *rest;
    let value = match kind {
        Type::U8 => Value::Number(fixed::<1>(&mut at)?[0].into()),
        Type::U16 => Value::Number(u16::from_le_bytes(*fixed(&mut at)?).into()),
        Type::U32 => Value::Number(u32::from_le_bytes(*fixed(&mut at)?).into()),
        Type::U64 => Value::Number(u64::from_le_bytes(*fixed(&mut at)?)),
        Type::F32 => Value::Rate(f32::from_le_bytes(*fixed(&mut at)?)),
        Type::Bits => Value::Bits(u32::from_le_bytes(*fixed(&mut at)?)),
        Type::OptionU32 => match fixed::<1>(&mut at)? {
            [0] => Value::Option(None),
            _ => Value::Option(Some(u32::from_le_bytes(*fixed(&mut at)?))),
        },
        Type::Target => Value::Target(fixed(&mut at)?),
        Type::Block => Value::Block(fixed(&mut at)?),
        Type::Hash => Value::Hash(fixed(&mut at)?),
        Type::Path => {
            let [count] = *fixed(&mut at)?;
            Value::Hashes((0..count).map(|_| fixed(&mut at)).collect::<Option<_>>()?)
        }
        Type::Text => Value::Text(short(&mut at)?),
        Type::Short => Value::Bytes(short(&mut at)?),
        Type::Long => {
            let length = u16::from_le_bytes(*fixed(&mut at)?);
            Value::Bytes(some(&mut at, length.into())?)
        }
    };
    *rest = at;
    Some(value)
}

fn fixed<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(bytes)
}

fn short<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let [length] = *fixed(rest)?;
    some(rest, length.into())
}

fn some<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

impl fmt::Display for Description<'_> {
    /// One line: `SetTarget channel_id=1 maximum_target=00…00 (difficulty 512)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => f.write_str(name)?,
            None => {
                write!(f, "message {:#04x}", self.frame.kind)?;
                if self.frame.extension != 0 {
                    write!(f, " of extension {:#06x}", self.frame.extension)?;
                }
            }
        }
        for (name, value) in &self.fields {
            write!(f, " {name}={value}")?;
        }
        if let Some(field) = self.lacks {
            write!(f, ", too short for {field}")?;
        }
        match self.rest {
            [] => Ok(()),
            rest => write!(f, ", then {}", Hex(rest)),
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => write!(f, "{number}"),
            Value::Bits(bits) => write!(f, "{bits:#010x}"),
            Value::Option(Some(number)) => write!(f, "{number}"),
            Value::Option(None) => f.write_str("none"),
            Value::Rate(rate) => write!(f, "{rate:e}"),
            Value::Target(bytes) => {
                let target = Target::from_le_bytes(bytes);
                write!(f, "{target} (difficulty {})", target.difficulty())
            }
            // As people and nodes write it.
            Value::Block(bytes) => write!(f, "{}", BlockHash(**bytes)),
            Value::Hash(bytes) => write!(f, "{}", Hex(*bytes)),
            Value::Hashes(hashes) => {
                f.write_str("[")?;
                for (n, hash) in hashes.iter().enumerate() {
                    write!(f, "{}{}", if n == 0 { "" } else { " " }, Hex(*hash))?;
                }
                f.write_str("]")
            }
            Value::Text(bytes) => write!(f, "{:?}", String::from_utf8_lossy(bytes)),
            Value::Bytes(bytes) => write!(f, "{}", Hex(bytes)),
        }
    }
}

/// Bytes as hex digits.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{self, JobHead, Opened};
    use super::super::{frame, message::Message};
    use super::*;
    use crate::difficulty::Difficulty;
    use crate::job::JobId;
    use proptest::prelude::*;

    fn words(bytes: &[u8]) -> String {
        let mut frames = bytes;
        let mut lines = Vec::new();
        while let Some(frame) = frame::next(&mut frames) {
            lines.push(describe(&frame).to_string());
        }
        assert!(frames.is_empty());
        lines.join("\n")
    }

    /// All that we send, as one line each: nothing is left over, and nothing is missing.
    #[test]
    fn what_the_box_says() {
        let mut out = Vec::new();
        message::setup_success(&mut out);
        message::setup_error(&mut out, 2, "unsupported-feature-flags");
        let level = Difficulty(512.0);
        let opened = Opened {
            request: 1,
            channel: 2,
            group: 0,
            level,
            prefix: &[0xab, 0xcd],
            extranonce: Some(8),
        };
        message::opened(&mut out, &opened);
        message::opened(&mut out, &Opened { extranonce: None, ..opened });
        message::open_error(&mut out, 1, "unknown-user");
        message::update_error(&mut out, 2, "invalid-nominal-hashrate");
        message::close_channel(&mut out, 2, "bye");
        message::custom_job_error(&mut out, 2, 3, "jd-not-supported");
        let head = JobHead { channel: 2, job: JobId(7), ntime: None, version: 0x2000_0000 };
        message::new_job(&mut out, &head, &[0x11; 32]);
        let head = JobHead { ntime: Some(1_790_000_000), ..head };
        let branch = [[0x22; 32], [0x33; 32]];
        message::new_extended_job(&mut out, &head, &branch, (&[1, 2], &[]));
        let mut prev = [0; 32];
        prev[0] = 0xfe;
        message::set_new_prev_hash(&mut out, 2, JobId(7), &prev, (1_790_000_000, 0x1d00_ffff));
        message::set_target(&mut out, 2, level);
        message::submit_success(&mut out, 2, 9, 3, 1536);
        message::submit_error(&mut out, 2, 10, "stale-share");
        let target = "00000000007fff80000000000000000000000000000000000000000000000000 \
                      (difficulty 512)";
        let lines = [
            "SetupConnection.Success used_version=2 flags=0x00000000".to_owned(),
            "SetupConnection.Error flags=0x00000002 error_code=\"unsupported-feature-flags\""
                .into(),
            format!(
                "OpenExtendedMiningChannel.Success request_id=1 channel_id=2 target={target} \
                 extranonce_size=8 extranonce_prefix=abcd group_channel_id=0"
            ),
            format!(
                "OpenStandardMiningChannel.Success request_id=1 channel_id=2 target={target} \
                 extranonce_prefix=abcd group_channel_id=0"
            ),
            "OpenMiningChannel.Error request_id=1 error_code=\"unknown-user\"".into(),
            "UpdateChannel.Error channel_id=2 error_code=\"invalid-nominal-hashrate\"".into(),
            "CloseChannel channel_id=2 reason_code=\"bye\"".into(),
            "SetCustomMiningJob.Error channel_id=2 request_id=3 error_code=\"jd-not-supported\""
                .into(),
            format!(
                "NewMiningJob channel_id=2 job_id=7 min_ntime=none version=0x20000000 \
                 merkle_root={}",
                "11".repeat(32)
            ),
            format!(
                "NewExtendedMiningJob channel_id=2 job_id=7 min_ntime=1790000000 \
                 version=0x20000000 version_rolling_allowed=1 merkle_path=[{} {}] \
                 coinbase_tx_prefix=0102 coinbase_tx_suffix=",
                "22".repeat(32),
                "33".repeat(32)
            ),
            format!(
                "SetNewPrevHash channel_id=2 job_id=7 prev_hash={}fe min_ntime=1790000000 \
                 nbits=0x1d00ffff",
                "00".repeat(31)
            ),
            format!("SetTarget channel_id=2 maximum_target={target}"),
            "SubmitShares.Success channel_id=2 last_sequence_number=9 \
             new_submits_accepted_count=3 new_shares_sum=1536"
                .into(),
            "SubmitShares.Error channel_id=2 sequence_number=10 error_code=\"stale-share\"".into(),
        ];
        assert_eq!(words(&out), lines.join("\n"));
    }

    /// What ESP-Miner sends, byte for byte.
    #[test]
    fn what_a_miner_says() {
        let setup = b"\x00\x02\x00\x02\x00\x00\x00\x00\x00\x0b192.168.1.2\x05\x0d\x06bitaxe\
                      \x06BM1370\x00\x00";
        let frame = Frame { extension: 0, kind: kind::SETUP_CONNECTION, payload: setup };
        let described = describe(&frame);
        assert_eq!(
            described.to_string(),
            "SetupConnection protocol=0 min_version=2 max_version=2 flags=0x00000000 \
             endpoint_host=\"192.168.1.2\" endpoint_port=3333 vendor=\"bitaxe\" \
             hardware_version=\"BM1370\" firmware=\"\" device_id=\"\""
        );
        assert_eq!(described.number("endpoint_port"), Some(3333));
        assert_eq!(described.bytes("vendor"), Some(&b"bitaxe"[..]));
        let mut payload =
            [1u32, 5, 7, 0xdead_beef, 1_790_000_000, 0x3fff_e000].map(u32::to_le_bytes).concat();
        payload.extend_from_slice(&[2, 0, 9]);
        let frame = Frame { extension: 0, kind: kind::SUBMIT_SHARES_EXTENDED, payload: &payload };
        assert_eq!(
            describe(&frame).to_string(),
            "SubmitSharesExtended channel_id=1 sequence_number=5 job_id=7 nonce=0xdeadbeef \
             ntime=1790000000 version=0x3fffe000 extranonce=0009"
        );
    }

    #[test]
    fn what_is_cut_or_unknown_is_told_as_it_is() {
        let frame = |extension, kind, payload| Frame { extension, kind, payload };
        let cut = frame(0, kind::SET_TARGET, &[1, 0, 0, 0, 9, 9]);
        assert_eq!(
            describe(&cut).to_string(),
            "SetTarget channel_id=1, too short for maximum_target, then 0909"
        );
        let foreign = frame(1, kind::SETUP_CONNECTION, &[7]);
        let words = describe(&foreign).to_string();
        assert_eq!(words, "message 0x00 of extension 0x0001, then 07");
        assert_eq!(describe(&frame(0, 0x7f, &[])).to_string(), "message 0x7f");
    }

    proptest! {
        /// Whatever comes: no panic, one line, and a message that the pool takes lacks nothing.
        #[test]
        fn any_bytes_have_words(
            kind in any::<u8>(),
            payload in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let frame = Frame { extension: 0, kind, payload: &payload };
            let described = describe(&frame);
            prop_assert_eq!(described.to_string().lines().count(), 1);
            let parsed = message::parse(&frame);
            let is_read = !matches!(
                parsed,
                Err(_) | Ok(Message::Unknown | Message::CustomJob { .. } | Message::CloseChannel { .. })
            );
            prop_assert!(!is_read || described.lacks.is_none(), "{described}");
        }
    }
}
