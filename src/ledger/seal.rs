//! What a backup holds of the settings: everything but secrets in plain, and all of it under a
//! passphrase.
//!
//! Pure: salt and nonce are handed in. The sealed form is eight bytes `SOLOSEA1`, 16 of salt, 12 of
//! nonce, then ChaCha20-Poly1305 (RFC 8439) of the text under a key that Argon2id (RFC 9106; 19 MiB,
//! 2 passes, 1 lane) makes of the passphrase. The header is authenticated with it.

use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use toml::Value;

const HEADER: &[u8; 8] = b"SOLOSEA1";
const SALT: usize = 16;
const NONCE: usize = 12;
const HEAD: usize = HEADER.len() + SALT + NONCE;

/// Keys that hold a secret, whatever table they stand in: the settings that are declared so.
pub const SECRETS: [&str; 7] =
    ["rpc_user", "rpc_pass", "pin", "password", "token", "chat", "secret"];

/// The shortest passphrase, in characters: a stick may be found by anyone, who may try for years.
pub const PASSPHRASE_MIN: usize = 10;

/// Random bytes for one sealing; never to be used twice.
#[derive(Clone, Copy, Debug)]
pub struct Dice {
    /// For the key.
    pub salt: [u8; SALT],
    /// For the cipher.
    pub nonce: [u8; NONCE],
}

/// Seals bytes under a passphrase. Takes about half a second on a Raspberry Pi 3.
pub fn seal(passphrase: &str, bytes: &[u8], dice: Dice) -> Vec<u8> {
    let mut sealed = HEADER.to_vec();
    sealed.extend_from_slice(&dice.salt);
    sealed.extend_from_slice(&dice.nonce);
    let mut secret = bytes.to_vec();
    let key = key(passphrase, &dice.salt);
    let nonce = Nonce::assume_unique_for_key(dice.nonce);
    key.seal_in_place_append_tag(nonce, Aad::from(&sealed[..]), &mut secret)
        .expect("a config is far shorter than the cipher's limit");
    sealed.extend_from_slice(&secret);
    sealed
}

/// The bytes again; `None` for another passphrase, or when they were changed.
pub fn open(passphrase: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let (head, secret) = sealed.split_at_checked(HEAD)?;
    let rest = head.strip_prefix(HEADER)?;
    let (salt, nonce) = rest.split_first_chunk::<SALT>()?;
    let nonce = Nonce::assume_unique_for_key(nonce.try_into().ok()?);
    let mut bytes = secret.to_vec();
    let text = key(passphrase, salt).open_in_place(nonce, Aad::from(head), &mut bytes).ok()?;
    Some(text.to_vec())
}

/// The settings without anything that opens a door: logins, PIN, tokens, whole `[[notify]]`
/// entries (their addresses are secrets), logins in URLs. `None` when it is no TOML.
pub fn without_secrets(toml: &str) -> Option<String> {
    // Comments are not read at all: one may hold an old password.
    let mut settings = Value::Table(toml.parse().ok()?);
    strip(&mut settings);
    let plain = toml::to_string(&settings).ok()?;
    Some(format!("# Settings of a backup, without passwords, PIN and notifications.\n{plain}"))
}

fn key(passphrase: &str, salt: &[u8; SALT]) -> LessSafeKey {
    let params = Params::new(19 * 1024, 2, 1, Some(32)).expect("constants in range");
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut key)
        .expect("the lengths are in range");
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).expect("32 bytes"))
}

fn strip(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(clean) = without_login(text) {
                *text = clean;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(strip),
        Value::Table(table) => {
            table.retain(|key, _| key != "notify" && !SECRETS.contains(&key));
            table.iter_mut().for_each(|(_, value)| strip(value));
        }
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

/// `http://user:password@host` → `http://host`, if there is a login in it.
fn without_login(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let host = rest.split('/').next().unwrap_or(rest);
    let (login, _) = host.rsplit_once('@')?;
    Some(format!("{scheme}://{}", &rest[login.len() + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
# old: rpc_pass = "secret0"
[node]
rpc_url = "http://anna:secret1@192.168.1.10:8332" # secret2
rpc_user = "secret3"
rpc_pass = "secret4"
[[node.backup]]
rpc_url = "http://10.0.0.2:8332"
rpc_pass = "secret5"
[payout]
address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
[stratum]
password = "secret6"
listen = [
  "0.0.0.0:3333", # secret7
]
[http]
pin = "secret8"
[[notify]]
kind = "ntfy"
url = "https://ntfy.sh/secret9"
token = "secret10"
"#;

    #[test]
    fn what_is_plain_has_no_secret() {
        let plain = without_secrets(CONFIG).unwrap();
        assert!(!plain.contains("secret"), "{plain}");
        for kept in ["http://192.168.1.10:8332", "http://10.0.0.2:8332", "bc1qw508", "0.0.0.0:3333"]
        {
            assert!(plain.contains(kept), "{kept} in {plain}");
        }
        assert_eq!(without_secrets("not = toml = at all"), None);
        let nothing: toml::Table = plain.parse().unwrap();
        assert!(nothing.get("notify").is_none());
    }

    #[test]
    fn what_is_sealed_opens_with_the_passphrase_alone() {
        let dice = Dice { salt: [7; 16], nonce: [9; 12] };
        let sealed = seal("correct horse battery", CONFIG.as_bytes(), dice);
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(open("correct horse battery", &sealed).unwrap(), CONFIG.as_bytes());
        assert_eq!(open("correct horse battere", &sealed), None);
        for at in [0, 10, 30, HEAD, sealed.len() - 1] {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert_eq!(open("correct horse battery", &bad), None, "byte {at}");
        }
        for cut in [0, 8, HEAD - 1, HEAD, HEAD + 5] {
            assert_eq!(open("correct horse battery", &sealed[..cut]), None);
        }
    }
}
