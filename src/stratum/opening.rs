//! What a caller at the Stratum port speaks, from the first bytes that it sends.
//!
//! ```
//! use soloist::stratum::opening::{Opening, recognise};
//!
//! assert_eq!(recognise(b"{\"id\":1,"), Some(Opening::V1));
//! assert_eq!(recognise(b"GET / HTTP/1.1\r\n"), Some(Opening::Http));
//! assert_eq!(recognise(&[0xa7; 64]), Some(Opening::V2));
//! assert_eq!(recognise(&[0xa7; 63]), None); // too few to tell
//! ```
//!
//! A line of V1 begins with a brace and a quote, with white space before and between, and has no control
//! characters. A handshake of V2 begins with 64 bytes of noise, which may be any bytes: one in forty has
//! the first byte of a line, and one in ten million all that is looked at here. Its miner tries again.

/// What a caller speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Stratum V1.
    V1,
    /// Stratum V2: the first act of a Noise handshake.
    V2,
    /// TLS, where it is not spoken.
    Tls,
    /// A browser, or somebody who looks for an API.
    Http,
    /// Text that is neither.
    Text,
}

impl Opening {
    /// What to say of a caller that is at the wrong port.
    pub fn words(self) -> &'static str {
        match self {
            Opening::V1 => "it speaks Stratum V1, which is not spoken here",
            Opening::V2 => "it speaks Stratum V2, which is off here (v2 below [stratum])",
            Opening::Tls => "it speaks TLS, and this port does not",
            Opening::Http => "it speaks HTTP: the page has another port",
            Opening::Text => "it does not speak Stratum",
        }
    }
}

/// Bytes with which every caller can be told.
pub const ENOUGH: usize = super::v2::noise::ACT_1;

/// Methods of HTTP.
const METHODS: [&[u8]; 7] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ", b"CONNECT ", b"PRI * "];

/// What the caller speaks; `None` as long as it has not sent enough.
pub fn recognise(bytes: &[u8]) -> Option<Opening> {
    let text = bytes.trim_ascii_start();
    if let Some(rest) = text.strip_prefix(b"{") {
        let second = rest.trim_ascii_start().first();
        return match second {
            Some(b'"' | b'}') if bytes.len() < ENOUGH || is_printable(&bytes[..ENOUGH]) => {
                Some(Opening::V1)
            }
            None if bytes.len() < ENOUGH => None,
            _ => Some(not_v1(bytes)).filter(|_| bytes.len() >= ENOUGH || is_line(bytes)),
        };
    }
    // A record of a handshake, of version 3.x, at most 16 kB long, that begins with a ClientHello.
    if let [0x16, 0x03, 0..=4, 0..=0x40, _, 0x01, ..] = bytes {
        return Some(Opening::Tls);
    }
    if METHODS.iter().any(|method| bytes.starts_with(method)) {
        return Some(Opening::Http);
    }
    let is_told = bytes.len() >= ENOUGH || is_line(bytes);
    is_told.then(|| not_v1(bytes))
}

/// A line of text was sent, however short.
fn is_line(bytes: &[u8]) -> bool {
    let line = bytes.trim_ascii_start();
    line.contains(&b'\n') && is_text(bytes)
}

fn not_v1(bytes: &[u8]) -> Opening {
    match bytes.len() < ENOUGH || is_text(&bytes[..ENOUGH]) {
        true => Opening::Text,
        false => Opening::V2,
    }
}

/// No control characters but those of white space. 64 bytes of noise have at least one, but in one of
/// two thousand cases, and then nothing says that they are UTF-8.
fn is_text(bytes: &[u8]) -> bool {
    is_printable(bytes) && utf8_but_for_its_end(bytes)
}

fn is_printable(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace())
}

/// Whether it is UTF-8, of which the last letter may have been cut.
fn utf8_but_for_its_end(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_v1_however_they_are_cut() {
        let whole = b" \r\n{ \"id\": 1, \"method\": \"mining.subscribe\", \"params\": [] }\n";
        let at = whole.iter().position(|byte| *byte == b'"').unwrap();
        for end in 0..=whole.len() {
            let expected = (end > at).then_some(Opening::V1);
            assert_eq!(recognise(&whole[..end]), expected, "{end}");
        }
        assert_eq!(recognise(b"{}\n"), Some(Opening::V1));
    }

    #[test]
    fn what_is_neither() {
        for (bytes, expected) in [
            (&b"\x16\x03\x01\x02\x00\x01\x00"[..], Some(Opening::Tls)),
            (b"POST /rpc HTTP/1.1\r\n", Some(Opening::Http)),
            (b"hello\n", Some(Opening::Text)),
            (b"hello", None),
            (b"[1,2]\n", Some(Opening::Text)),
            (b"{1\n", Some(Opening::Text)),
            (b"\n\n", None),
            (b"", None),
        ] {
            assert_eq!(recognise(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
        let long = "this is no Stratum at all, but it goes on for more than 64 bytes";
        assert_eq!(recognise(long.as_bytes()), Some(Opening::Text));
        // A letter that is cut at the 64th byte.
        assert_eq!(recognise(format!("{}\u{3b3}", "x".repeat(63)).as_bytes()), Some(Opening::Text));
    }

    /// Whatever its first byte is. The bytes are a hash's: as good as noise, and the same each time.
    #[test]
    fn noise_is_v2() {
        let mut seed = [0u8; 32];
        let mut mistaken = 0usize;
        for n in 0..100_000u32 {
            let mut act = [0; ENOUGH];
            for half in act.chunks_mut(32) {
                seed = crate::hash::sha256d(&seed);
                half.copy_from_slice(&seed);
            }
            act[0] = n as u8;
            mistaken += usize::from(recognise(&act) != Some(Opening::V2));
        }
        assert_eq!(mistaken, 0);
    }
}
