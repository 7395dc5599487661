//! Messages as people write them. The table is the specification's (sections 3.6 and 5.3, and 8 for the
//! numbers), and neither the daemon's code nor the reference crates': a third opinion.

use crate::common::miner_v2::{CHANNEL_MESSAGE, Frame};

/// A field's type: how it is on the wire, and how it is written here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Type {
    U8,
    U16,
    U32,
    /// A number that is written in hex, after 0x.
    Hex,
    U64,
    F32,
    Bool,
    /// A time or `none`.
    MaybeU32,
    /// 32 bytes in hex, as they come.
    Hash,
    /// The same; `difficulty 1000` stands for the target of this difficulty.
    Target,
    /// Text in quotes.
    Text,
    /// Bytes in hex after their number, of one byte.
    Short,
    /// The same, of two bytes.
    Long,
    /// Hashes in hex between brackets.
    Path,
}

use Type::*;

struct Shape {
    name: &'static str,
    kind: u8,
    for_a_channel: bool,
    fields: &'static [(&'static str, Type)],
}

const fn shape(
    kind: u8,
    for_a_channel: bool,
    name: &'static str,
    fields: &'static [(&'static str, Type)],
) -> Shape {
    Shape { name, kind, for_a_channel, fields }
}

const SHAPES: &[Shape] = &[
    shape(
        0x00,
        false,
        "SetupConnection",
        &[
            ("protocol", U8),
            ("min_version", U16),
            ("max_version", U16),
            ("flags", Hex),
            ("endpoint_host", Text),
            ("endpoint_port", U16),
            ("vendor", Text),
            ("hardware_version", Text),
            ("firmware", Text),
            ("device_id", Text),
        ],
    ),
    shape(0x01, false, "SetupConnection.Success", &[("used_version", U16), ("flags", Hex)]),
    shape(0x02, false, "SetupConnection.Error", &[("flags", Hex), ("error_code", Text)]),
    shape(
        0x10,
        false,
        "OpenStandardMiningChannel",
        &[
            ("request_id", U32),
            ("user_identity", Text),
            ("nominal_hash_rate", F32),
            ("max_target", Target),
        ],
    ),
    shape(
        0x11,
        false,
        "OpenStandardMiningChannel.Success",
        &[
            ("request_id", U32),
            ("channel_id", U32),
            ("target", Target),
            ("extranonce_prefix", Short),
            ("group_channel_id", U32),
        ],
    ),
    shape(0x12, false, "OpenMiningChannel.Error", &[("request_id", U32), ("error_code", Text)]),
    shape(
        0x13,
        false,
        "OpenExtendedMiningChannel",
        &[
            ("request_id", U32),
            ("user_identity", Text),
            ("nominal_hash_rate", F32),
            ("max_target", Target),
            ("min_extranonce_size", U16),
        ],
    ),
    shape(
        0x14,
        false,
        "OpenExtendedMiningChannel.Success",
        &[
            ("request_id", U32),
            ("channel_id", U32),
            ("target", Target),
            ("extranonce_size", U16),
            ("extranonce_prefix", Short),
            ("group_channel_id", U32),
        ],
    ),
    shape(
        0x15,
        true,
        "NewMiningJob",
        &[
            ("channel_id", U32),
            ("job_id", U32),
            ("min_ntime", MaybeU32),
            ("version", Hex),
            ("merkle_root", Hash),
        ],
    ),
    shape(
        0x16,
        true,
        "UpdateChannel",
        &[("channel_id", U32), ("nominal_hash_rate", F32), ("maximum_target", Target)],
    ),
    shape(0x17, true, "UpdateChannel.Error", &[("channel_id", U32), ("error_code", Text)]),
    shape(0x18, true, "CloseChannel", &[("channel_id", U32), ("reason_code", Text)]),
    shape(
        0x1a,
        true,
        "SubmitSharesStandard",
        &[
            ("channel_id", U32),
            ("sequence_number", U32),
            ("job_id", U32),
            ("nonce", Hex),
            ("ntime", U32),
            ("version", Hex),
        ],
    ),
    shape(
        0x1b,
        true,
        "SubmitSharesExtended",
        &[
            ("channel_id", U32),
            ("sequence_number", U32),
            ("job_id", U32),
            ("nonce", Hex),
            ("ntime", U32),
            ("version", Hex),
            ("extranonce", Short),
        ],
    ),
    shape(
        0x1c,
        true,
        "SubmitShares.Success",
        &[
            ("channel_id", U32),
            ("last_sequence_number", U32),
            ("new_submits_accepted_count", U32),
            ("new_shares_sum", U64),
        ],
    ),
    shape(
        0x1d,
        true,
        "SubmitShares.Error",
        &[("channel_id", U32), ("sequence_number", U32), ("error_code", Text)],
    ),
    shape(
        0x1f,
        true,
        "NewExtendedMiningJob",
        &[
            ("channel_id", U32),
            ("job_id", U32),
            ("min_ntime", MaybeU32),
            ("version", Hex),
            ("version_rolling_allowed", Bool),
            ("merkle_path", Path),
            ("coinbase_tx_prefix", Long),
            ("coinbase_tx_suffix", Long),
        ],
    ),
    shape(
        0x20,
        true,
        "SetNewPrevHash",
        &[
            ("channel_id", U32),
            ("job_id", U32),
            ("prev_hash", Hash),
            ("min_ntime", U32),
            ("nbits", Hex),
        ],
    ),
    shape(0x21, true, "SetTarget", &[("channel_id", U32), ("maximum_target", Target)]),
    shape(
        0x22,
        true,
        "SetCustomMiningJob",
        &[("channel_id", U32), ("request_id", U32), ("mining_job_token", Short)],
    ),
    shape(
        0x24,
        true,
        "SetCustomMiningJob.Error",
        &[("channel_id", U32), ("request_id", U32), ("error_code", Text)],
    ),
];

/// A message in words: its name, and its fields with their values.
#[derive(Debug)]
pub struct Words {
    pub name: &'static str,
    pub fields: Vec<(&'static str, String)>,
}

/// A message's name, and its fields with their values as they are written.
type Line<'a> = (&'a str, Vec<(&'a str, &'a str)>);

/// Splits `Name field=value field="two words"`. Errors: what cannot be read, in words.
pub fn split(line: &str) -> Result<Line<'_>, String> {
    let (name, mut rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut fields = Vec::new();
    while !rest.trim_start().is_empty() {
        let (field, after) = rest.trim_start().split_once('=').ok_or(format!("{rest}: no ="))?;
        let end = match after.strip_prefix('"') {
            Some(text) => 2 + text.find('"').ok_or(format!("{after}: no end of the text"))?,
            None => after.find(' ').unwrap_or(after.len()),
        };
        fields.push((field, &after[..end]));
        rest = &after[end..];
    }
    Ok((name, fields))
}

/// Writes a message from its words. Every field of the message has to be there, in the specification's
/// order. Errors: what is wrong, in words.
pub fn write(name: &str, fields: &[(&str, String)]) -> Result<Frame, String> {
    let shape =
        SHAPES.iter().find(|shape| shape.name == name).ok_or(format!("there is no {name}"))?;
    let expected: Vec<&str> = shape.fields.iter().map(|(field, _)| *field).collect();
    let given: Vec<&str> = fields.iter().map(|(field, _)| *field).collect();
    if given != expected {
        return Err(format!("{name} has {expected:?}"));
    }
    let mut payload = Vec::new();
    for ((field, value), (_, of)) in fields.iter().zip(shape.fields) {
        put(&mut payload, *of, value).ok_or(format!("{field} of {name} is no {of:?}: {value}"))?;
    }
    let extension = if shape.for_a_channel { CHANNEL_MESSAGE } else { 0 };
    Ok(Frame { extension, kind: shape.kind, payload })
}

/// Reads a message into words. Errors: none of this number, or its bytes are not as they should be.
pub fn read(frame: &Frame) -> Result<Words, String> {
    let shape = SHAPES.iter().find(|shape| shape.kind == frame.kind);
    let shape = shape.ok_or(format!("no message has the number {:#04x}", frame.kind))?;
    let mut rest = &frame.payload[..];
    let mut fields = Vec::new();
    for (field, of) in shape.fields {
        let value = take(&mut rest, *of).ok_or(format!("{}: no {field}", shape.name))?;
        fields.push((*field, value));
    }
    if !rest.is_empty() {
        return Err(format!("{}: {} bytes too many", shape.name, rest.len()));
    }
    Ok(Words { name: shape.name, fields })
}

fn put(to: &mut Vec<u8>, of: Type, value: &str) -> Option<()> {
    match of {
        U8 => to.push(value.parse().ok()?),
        U16 => to.extend(value.parse::<u16>().ok()?.to_le_bytes()),
        U32 => to.extend(value.parse::<u32>().ok()?.to_le_bytes()),
        Hex => {
            let digits = value.strip_prefix("0x")?;
            to.extend(u32::from_str_radix(digits, 16).ok()?.to_le_bytes());
        }
        U64 => to.extend(value.parse::<u64>().ok()?.to_le_bytes()),
        F32 => to.extend(value.parse::<f32>().ok()?.to_le_bytes()),
        Bool => to.push(value.parse::<bool>().ok()?.into()),
        MaybeU32 if value == "none" => to.push(0),
        MaybeU32 => {
            to.push(1);
            to.extend(value.parse::<u32>().ok()?.to_le_bytes());
        }
        Target if value == "any" => to.extend([0xff; 32]),
        Hash | Target => to.extend(unhex(value).filter(|bytes| bytes.len() == 32)?),
        Text => {
            let text = value.strip_prefix('"')?.strip_suffix('"')?;
            to.push(text.len().try_into().ok()?);
            to.extend(text.as_bytes());
        }
        Short => {
            let bytes = unhex(value)?;
            to.push(bytes.len().try_into().ok()?);
            to.extend(bytes);
        }
        // Only the server sends these.
        Long | Path => return None,
    }
    Some(())
}

fn take(from: &mut &[u8], of: Type) -> Option<String> {
    let mut bytes = |count: usize| -> Option<Vec<u8>> {
        let (bytes, rest) = from.split_at_checked(count)?;
        *from = rest;
        Some(bytes.to_vec())
    };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
    Some(match of {
        U8 => number(&bytes(1)?).to_string(),
        U16 => number(&bytes(2)?).to_string(),
        U32 => number(&bytes(4)?).to_string(),
        Hex => format!("{:#010x}", number(&bytes(4)?)),
        U64 => number(&bytes(8)?).to_string(),
        F32 => f32::from_bits(number(&bytes(4)?) as u32).to_string(),
        Bool => match bytes(1)?[0] {
            0 => "false".into(),
            1 => "true".into(),
            _ => return None,
        },
        MaybeU32 => match bytes(1)?[0] {
            0 => "none".into(),
            1 => number(&bytes(4)?).to_string(),
            _ => return None,
        },
        Hash | Target => hex(&bytes(32)?),
        Text => {
            let length = usize::from(bytes(1)?[0]);
            format!("\"{}\"", String::from_utf8(bytes(length)?).ok()?)
        }
        Short => {
            let length = usize::from(bytes(1)?[0]);
            hex(&bytes(length)?)
        }
        Long => {
            let length = number(&bytes(2)?) as usize;
            hex(&bytes(length)?)
        }
        Path => {
            let count = bytes(1)?[0];
            let hashes: Option<Vec<String>> = (0..count).map(|_| Some(hex(&bytes(32)?))).collect();
            format!("[{}]", hashes?.join(","))
        }
    })
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of hex digits, with spaces anywhere between them.
pub fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<char> = digits.chars().filter(|digit| *digit != ' ').collect();
    let pairs = digits.chunks(2).map(|pair| {
        u8::from_str_radix(&pair.iter().collect::<String>(), 16).ok().filter(|_| pair.len() == 2)
    });
    pairs.collect()
}

/// The difficulty of a target (little-endian, in hex), as the firmwares compute it: the four words of 64
/// bits in floating point. ESP-Miner 2.15 takes it as it is; ESP-Miner 2.14 and NerdQAxe+ cut it off to a
/// whole number, of at least 1.
pub fn difficulty(target: &str) -> f64 {
    let bytes = unhex(target).expect("a target");
    let words = bytes.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
    let scale = [1.0, 2f64.powi(64), 2f64.powi(128), 2f64.powi(192)];
    let number: f64 = words.zip(scale).rev().map(|(word, scale)| word as f64 * scale).sum();
    65535.0 * 2f64.powi(208) / number
}
