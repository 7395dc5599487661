//! Messages to a miner: each function appends one line, with its LF, to a buffer.
//!
//! The formats are the narrowest that every known firmware reads: strings where some firmware
//! crashes on a number, numbers where one requires a number, no unnecessary keys. `mining.notify`
//! is not here: its line is the same for all miners and is made once, by
//! [`crate::job::Job::notify_line`]. Messages from a miner are in [`super::message`].

use std::fmt;
use std::io::Write;

use super::message::Id;
use crate::reject::Reject;

/// `true` as the answer to a call: a share counts, a login holds.
pub fn accepted(out: &mut Vec<u8>, id: Id<'_>) {
    result(out, id, "true");
}

/// A string as the answer: `pong` to a ping, our name to `client.get_version`.
pub fn words(out: &mut Vec<u8>, id: Id<'_>, words: &str) {
    begin_result(out, id);
    string(out, words);
    end_result(out);
}

/// An empty list as the answer to `mining.get_transactions`. bfgminer asks in order to inspect
/// the block; an empty list is allowed and it mines on.
pub fn no_transactions(out: &mut Vec<u8>, id: Id<'_>) {
    result(out, id, "[]");
}

/// The answer to `mining.subscribe` in ckpool's form, with one subscription: NerdMiner reads
/// `result[0][0][1]` as the session's id, cgminer looks for `mining.notify` anywhere.
///
/// `extranonce2_size` is in bytes.
pub fn subscribed(
    out: &mut Vec<u8>,
    id: Id<'_>,
    session_id: &str,
    extranonce1: &[u8],
    extranonce2_size: usize,
) {
    begin_result(out, id);
    out.extend_from_slice(b"[[[\"mining.notify\",");
    string(out, session_id);
    out.extend_from_slice(b"]],");
    hex(out, extranonce1);
    put(out, format_args!(",{extranonce2_size}]"));
    end_result(out);
}

/// The answer to `mining.configure` (BIP 310): with exactly the two keys of version rolling, or
/// with none for a miner that did not ask for it. Whatsminer disconnects at any other key.
pub fn configured(out: &mut Vec<u8>, id: Id<'_>, mask: Option<u32>) {
    begin_result(out, id);
    match mask {
        Some(mask) => put(
            out,
            format_args!("{{\"version-rolling\":true,\"version-rolling.mask\":\"{mask:08x}\"}}"),
        ),
        None => out.extend_from_slice(b"{}"),
    }
    end_result(out);
}

/// An error as the answer to a call; its text is constant, see [`crate::reject`].
pub fn rejected(out: &mut Vec<u8>, id: Id<'_>, reject: &Reject) {
    put(
        out,
        format_args!("{{\"id\":{},\"result\":null,\"error\":[{},", id.as_json(), reject.code()),
    );
    string(out, reject.text());
    out.extend_from_slice(b",null]}\n");
}

/// `mining.set_difficulty`. A whole number is written as an integer and a fraction without an
/// exponent; [`crate::vardiff::announceable`] is what makes difficulties from 1 up whole.
///
/// Send it directly before the notify that it is for, and never alone: cgminer uses a second one
/// only with the next notify but one.
pub fn set_difficulty(out: &mut Vec<u8>, difficulty: f64) {
    debug_assert!(difficulty.is_finite() && difficulty > 0.0, "a difficulty is above 0");
    begin_call(out, "mining.set_difficulty");
    put(out, format_args!("{difficulty}"));
    end_call(out);
}

/// `client.show_message`: AxeOS shows it on its page.
pub fn show_message(out: &mut Vec<u8>, message: &str) {
    begin_call(out, "client.show_message");
    string(out, message);
    end_call(out);
}

fn result(out: &mut Vec<u8>, id: Id<'_>, json: &str) {
    begin_result(out, id);
    out.extend_from_slice(json.as_bytes());
    end_result(out);
}

fn begin_result(out: &mut Vec<u8>, id: Id<'_>) {
    out.extend_from_slice(b"{\"id\":");
    out.extend_from_slice(id.as_json().as_bytes());
    out.extend_from_slice(b",\"result\":");
}

fn end_result(out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"error\":null}\n");
}

fn begin_call(out: &mut Vec<u8>, method: &str) {
    put(out, format_args!("{{\"id\":null,\"method\":\"{method}\",\"params\":["));
}

fn end_call(out: &mut Vec<u8>) {
    out.extend_from_slice(b"]}\n");
}

/// Bytes as a JSON string of lower-case hex.
fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + 2 * bytes.len(), 0);
    faster_hex::hex_encode(bytes, &mut out[start..]).expect("there is room for two digits a byte");
    out.push(b'"');
}

/// Text as a JSON string.
fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing to memory cannot fail");
}

fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::reject::{Fault, Late};
    use crate::stratum::message::{Message, parse};

    /// What `write` appends, which must be one whole line of JSON.
    fn line(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"before".to_vec();
        write(&mut out);
        let line = String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned();
        let line = line.strip_suffix('\n').unwrap().to_owned();
        assert!(!line.contains('\n'));
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
        line
    }

    /// Runs `test` with an id as a miner wrote it.
    fn with_id(id: &str, test: impl FnOnce(Id<'_>)) {
        let call = format!(r#"{{"id":{id},"method":"mining.ping"}}"#);
        let Ok(Message::Request(request)) = parse(&call) else { panic!() };
        test(request.id);
    }

    #[test]
    fn results() {
        with_id("\"auth\"", |id| {
            assert_eq!(
                line(|out| accepted(out, id)),
                r#"{"id":"auth","result":true,"error":null}"#
            );
        });
        with_id("7", |id| {
            assert_eq!(
                line(|out| words(out, id, "pong")),
                r#"{"id":7,"result":"pong","error":null}"#
            );
            assert_eq!(
                line(|out| no_transactions(out, id)),
                r#"{"id":7,"result":[],"error":null}"#
            );
            assert_eq!(
                line(|out| subscribed(out, id, "5f\"2a", &[0, 1, 0xab, 0xff], 8)),
                r#"{"id":7,"result":[[["mining.notify","5f\"2a"]],"0001abff",8],"error":null}"#
            );
            assert_eq!(
                line(|out| configured(out, id, Some(0x1fff_e000))),
                r#"{"id":7,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"},"error":null}"#
            );
            assert_eq!(
                line(|out| configured(out, id, None)),
                r#"{"id":7,"result":{},"error":null}"#
            );
        });
    }

    #[test]
    fn difficulties_are_integers_from_1_up_and_never_have_an_exponent() {
        let number = |difficulty| {
            let line = line(|out| set_difficulty(out, difficulty));
            line.strip_prefix(r#"{"id":null,"method":"mining.set_difficulty","params":["#)
                .and_then(|rest| rest.strip_suffix("]}"))
                .unwrap()
                .to_owned()
        };
        assert_eq!(number(1024.0), "1024");
        assert_eq!(number(1.0), "1");
        assert_eq!(number(0.0015), "0.0015");
        assert_eq!(number(0.0001), "0.0001");
        assert_eq!(number(126_000_000_000_000.0), "126000000000000");
        assert_eq!(number(4.656542373906925e-10), "0.0000000004656542373906925");
    }

    #[test]
    fn notifications() {
        assert_eq!(
            line(|out| show_message(out, "Node \"attic\" is down\n")),
            r#"{"id":null,"method":"client.show_message","params":["Node \"attic\" is down\n"]}"#
        );
    }

    #[test]
    fn rejects_have_a_code_and_words() {
        let low = Reject::LowDifficulty { share: 512.7, wanted: 1024.0 };
        let late = |ms| Late { height: 884_201, known_for: Duration::from_millis(ms) };
        for (reject, code, words) in [
            (Reject::Malformed(Fault::NoMethod), 20, "no method"),
            (Reject::NtimeTooOld, 20, "ntime is too old"),
            (Reject::NtimeTooNew, 20, "ntime is too far in the future"),
            (
                Reject::VersionBits { bits: 0x1000, mask: 0x1fff_e000 },
                20,
                "version bits outside the mask",
            ),
            (Reject::stale(late(420)), 21, "stale"),
            (Reject::stale(late(4200)), 21, "stale"),
            (Reject::UnknownJob, 21, "job not found"),
            (Reject::Duplicate, 22, "duplicate share"),
            (low, 23, "low difficulty share"),
            (Reject::Unauthorized, 24, "unauthorized"),
            (Reject::WrongPassword, 24, "wrong password"),
            (Reject::UnknownMethod, -3, "Method not found"),
        ] {
            with_id("4", |id| {
                assert_eq!(
                    line(|out| rejected(out, id, &reject)),
                    format!(r#"{{"id":4,"result":null,"error":[{code},"{words}",null]}}"#)
                );
            });
        }
    }
}
