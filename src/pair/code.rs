//! The code that both boxes of a pair know.

use std::fmt;

use sha2::{Digest, Sha256};

/// What the key is derived for: another use of the same code has another key.
const CONTEXT: &[u8] = b"soloist pair v1\n";

/// The same for the key that session ids of miners are signed with.
const SESSIONS: &[u8] = b"soloist pair sessions v1\n";

/// The fewest characters of a code of letters and digits: 26 of base 32 have 130 bits.
pub const CODE_MIN: usize = 26;

/// The fewest hexadecimal digits: 128 bits.
pub const HEX_MIN: usize = 32;

/// The most characters of a code, separators included.
pub const CODE_MAX: usize = 128;

/// The letters and digits of a code that is made here (Crockford's base 32: no I, L, O and U).
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A secret code, without its separators and in capitals, so that it may be typed in any way. It never
/// shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

/// Why a text is no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCode {
    /// There are other characters in it than letters, digits, spaces and hyphens, or too many of them.
    Characters,
    /// It could be guessed.
    Short,
}

impl Code {
    /// Reads a code as an owner types it.
    ///
    /// # Errors
    /// It has other characters, or is too short for a secret that nobody guesses.
    pub fn read(text: &str) -> Result<Code, BadCode> {
        let is_separator = |c: char| matches!(c, ' ' | '-');
        let code: String = text.chars().filter(|c| !is_separator(*c)).collect();
        if text.len() > CODE_MAX || !code.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(BadCode::Characters);
        }
        let code = code.to_ascii_uppercase();
        let is_hex = code.bytes().all(|byte| byte.is_ascii_hexdigit());
        let enough = if is_hex { HEX_MIN } else { CODE_MIN };
        // A secret of one letter, or of a few, is none.
        let different: std::collections::BTreeSet<u8> = code.bytes().collect();
        if code.len() < enough || different.len() < 8 {
            return Err(BadCode::Short);
        }
        Ok(Code(code))
    }

    /// A code of random bytes: 30 characters with 150 bits, in groups of five.
    pub fn of(random: &[u8; 30]) -> String {
        let letters: Vec<u8> =
            random.iter().map(|byte| ALPHABET[usize::from(*byte % 32)]).collect();
        let groups: Vec<String> =
            letters.chunks(5).map(|five| String::from_utf8_lossy(five).into_owned()).collect();
        groups.join("-")
    }

    /// The key that both boxes derive from it: SHA-256 of the context and the code.
    pub fn key(&self) -> [u8; 32] {
        self.derived(CONTEXT)
    }

    /// The key that both boxes sign session ids with, so that a miner can go on at either.
    pub fn session_key(&self) -> [u8; 32] {
        self.derived(SESSIONS)
    }

    fn derived(&self, context: &[u8]) -> [u8; 32] {
        let digest = Sha256::new().chain_update(context).chain_update(self.0.as_bytes());
        digest.finalize().into()
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_same_however_it_is_typed() {
        let one = Code::read("7KQ2M-XW4RT-9BZ0C-HJ6PD-V5EY3-8NAFG").unwrap();
        let other = Code::read("7kq2m xw4rt9bz0c hj6pd-v5ey3 8nafg").unwrap();
        assert_eq!(one.key(), other.key());
        assert_ne!(one.key(), Code::read("7KQ2M-XW4RT-9BZ0C-HJ6PD-V5EY3-8NAFH").unwrap().key());
        assert_eq!(one.session_key(), other.session_key());
        assert_ne!(one.session_key(), one.key());
        assert_eq!(format!("{one:?}"), "***");
    }

    #[test]
    fn what_could_be_guessed_is_no_code() {
        for (text, why) in [
            ("", BadCode::Short),
            ("correct horse battery", BadCode::Short),
            ("0123456789abcdef0123456789abcde", BadCode::Short),
            ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", BadCode::Short),
            ("it's a secret that nobody guesses ever", BadCode::Characters),
        ] {
            assert_eq!(Code::read(text), Err(why), "{text}");
        }
        assert!(Code::read("0123456789abcdef0123456789abcdef").is_ok());
    }

    #[test]
    fn a_made_code_is_one() {
        let random: [u8; 30] = std::array::from_fn(|place| (place * 37 + 5) as u8);
        let made = Code::of(&random);
        assert_eq!(made.len(), 35, "{made}");
        assert!(Code::read(&made).is_ok(), "{made}");
    }
}
