//! The encryption of Stratum V2: `Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256`, both sides.
//!
//! ```text
//! miner ── act 1: an ephemeral key, 64 bytes ──────────────────────────────► box
//!       ◄─ act 2: an ephemeral key, our static key, our certificate, 234 bytes ──
//!       ◄════════════════════ frames, encrypted and in order ════════════════►
//! ```
//!
//! **The certificate** is our static key signed by the authority key, which the owner may type into
//! a miner. It is valid at all times: a Raspberry Pi has no clock of its own, and neither has a Bitaxe.
//!
//! The primitives are libsecp256k1's (ElligatorSwift and its Diffie-Hellman as in BIP 324, signatures
//! of BIP 340) and ring's; only the order of the steps is ours. The reference implementation's crate
//! needs eight times as long for a small message and would bring a second libsecp256k1 (figures in
//! ARCHITECTURE.md); the tests shake hands with it.
//!
//! Pure: whoever calls brings the random numbers.
//!
//! Sources: the Stratum V2 specification, chapter 4 (Protocol Security); the Noise Protocol Framework,
//! revision 34.

use std::fmt;

use bitcoin::base58;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::{digest, hmac};
use secp256k1::ellswift::{ElligatorSwift, ElligatorSwiftParty};
use secp256k1::schnorr::Signature;
use secp256k1::{All, Keypair, Message, Secp256k1, SecretKey, XOnlyPublicKey};

/// Bytes of act 1: a public key, encoded so that it looks like noise (BIP 324, ElligatorSwift).
pub const ACT_1: usize = 64;

/// Bytes of act 2: a key, an encrypted key and an encrypted certificate.
pub const ACT_2: usize = KEY + SEALED_KEY + SEALED_CERTIFICATE;

/// Bytes that the encryption adds.
pub const TAG: usize = 16;

const KEY: usize = 64;
const SEALED_KEY: usize = KEY + TAG;
const CERTIFICATE: usize = 74;
const SEALED_CERTIFICATE: usize = CERTIFICATE + TAG;

const PROTOCOL: &[u8] = b"Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256";

/// Version 0, valid from 0 to the end of 32 bits, little-endian.
const VALIDITY: [u8; 10] = [0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];

/// The version bytes of an authority key in text.
const KEY_VERSION: [u8; 2] = [1, 0];

/// Why a handshake or a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoiseError {
    /// A part was not encrypted by who it should have been, or was changed on its way.
    #[error("what came cannot be decrypted")]
    Undecryptable,
    /// The certificate is not of the expected authority.
    #[error("the certificate is not signed by the expected key")]
    WrongAuthority,
    /// The bytes of a key are none; one in 2^128.
    #[error("a key is out of range")]
    BadKey,
}

/// The key by which a miner can know its pool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuthorityKey([u8; 32]);

impl AuthorityKey {
    /// As miners and URLs have it: base58check of two version bytes and the key's x coordinate.
    pub fn text(&self) -> String {
        base58::encode_check(&[&KEY_VERSION[..], &self.0].concat())
    }

    /// Reads that text.
    pub fn from_text(text: &str) -> Option<AuthorityKey> {
        let bytes = base58::decode_check(text).ok()?;
        let key = bytes.strip_prefix(&KEY_VERSION[..])?;
        let key = <[u8; 32]>::try_from(key).ok()?;
        XOnlyPublicKey::from_slice(&key).ok().map(|_| AuthorityKey(key))
    }

    /// The x coordinate, big-endian.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorityKey({})", self.text())
    }
}

/// Whether these bytes can be a secret key; all but one in 2^128 can.
pub fn is_secret(bytes: &[u8; 32]) -> bool {
    SecretKey::from_slice(bytes).is_ok()
}

/// What the box shows of itself in every handshake: its static key with the certificate.
pub struct Identity {
    secp: Secp256k1<All>,
    authority: AuthorityKey,
    secret: SecretKey,
    public: ElligatorSwift,
    certificate: [u8; CERTIFICATE],
}

impl Identity {
    /// Signs a static key with the authority key. `random` is for the static key alone.
    ///
    /// # Errors
    /// A secret is no key.
    pub fn new(authority_secret: &[u8; 32], random: &[u8; 32]) -> Result<Identity, NoiseError> {
        let secp = Secp256k1::new();
        let authority = keypair(&secp, authority_secret)?;
        let secret = SecretKey::from_slice(random).map_err(|_| NoiseError::BadKey)?;
        let public = ElligatorSwift::from_seckey(&secp, secret, None);
        let x_only = Keypair::from_secret_key(&secp, &secret).x_only_public_key().0;
        let signature = secp.sign_schnorr_no_aux_rand(&signed(&VALIDITY, &x_only), &authority);
        let mut certificate = [0; CERTIFICATE];
        certificate[..VALIDITY.len()].copy_from_slice(&VALIDITY);
        certificate[VALIDITY.len()..].copy_from_slice(signature.as_ref());
        let authority = AuthorityKey(authority.x_only_public_key().0.serialize());
        Ok(Identity { secp, authority, secret, public, certificate })
    }

    /// The key that miners may be told.
    pub fn authority(&self) -> AuthorityKey {
        self.authority
    }

    /// Answers act 1. `random` is for the ephemeral key of this handshake alone.
    ///
    /// # Errors
    /// `random` is no key; whatever act 1 is, it is an answer away from being understood.
    pub fn respond(
        &self,
        act_1: &[u8; ACT_1],
        random: &[u8; 32],
    ) -> Result<([u8; ACT_2], Transport), NoiseError> {
        let secret = SecretKey::from_slice(random).map_err(|_| NoiseError::BadKey)?;
        let ephemeral = ElligatorSwift::from_seckey(&self.secp, secret, None);
        let theirs = ElligatorSwift::from_array(*act_1);
        let shared = |public, secret| {
            ElligatorSwift::shared_secret(theirs, public, secret, ElligatorSwiftParty::B, None)
        };
        let mut state = Symmetric::after_act_1(act_1);
        let mut act_2 = Vec::with_capacity(ACT_2);
        act_2.extend_from_slice(&ephemeral.to_array());
        state.mix_hash(&ephemeral.to_array());
        state.mix_key(&shared(ephemeral, secret).to_secret_bytes());
        state.seal(&self.public.to_array(), &mut act_2);
        state.mix_key(&shared(self.public, self.secret).to_secret_bytes());
        state.seal(&self.certificate, &mut act_2);
        let (from_miner, to_miner) = state.split();
        let act_2 = act_2.try_into().map_err(|_| NoiseError::BadKey)?;
        Ok((act_2, Transport { send: to_miner, receive: from_miner }))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?})", self.authority)
    }
}

/// The miner's side of a handshake: for the canary and for tests.
pub struct Initiator {
    secp: Secp256k1<All>,
    secret: SecretKey,
    ephemeral: ElligatorSwift,
}

impl Initiator {
    /// Begins. `random` is for the ephemeral key of this handshake alone.
    ///
    /// # Errors
    /// `random` is no key.
    pub fn new(random: &[u8; 32]) -> Result<Initiator, NoiseError> {
        let secp = Secp256k1::new();
        let secret = SecretKey::from_slice(random).map_err(|_| NoiseError::BadKey)?;
        let ephemeral = ElligatorSwift::from_seckey(&secp, secret, None);
        Ok(Initiator { secp, secret, ephemeral })
    }

    /// The first message.
    pub fn act_1(&self) -> [u8; ACT_1] {
        self.ephemeral.to_array()
    }

    /// Takes the answer. With an authority key the certificate has to be signed by it; its dates are
    /// not looked at, as in the firmwares.
    ///
    /// # Errors
    /// The answer is not of somebody who knows the keys in it, or not of the expected authority.
    pub fn finish(
        self,
        act_2: &[u8; ACT_2],
        authority: Option<&AuthorityKey>,
    ) -> Result<Transport, NoiseError> {
        let shared = |theirs: [u8; KEY]| {
            let theirs = ElligatorSwift::from_array(theirs);
            let party = ElligatorSwiftParty::A;
            let shared =
                ElligatorSwift::shared_secret(self.ephemeral, theirs, self.secret, party, None);
            (theirs, shared.to_secret_bytes())
        };
        let mut state = Symmetric::after_act_1(&self.act_1());
        let (key, rest) = split(act_2);
        state.mix_hash(&key);
        state.mix_key(&shared(key).1);
        let (sealed_key, sealed_certificate) = rest.split_at(SEALED_KEY);
        let (key, _) = split(&state.open(sealed_key)?);
        let (static_key, secret) = shared(key);
        state.mix_key(&secret);
        let certificate = state.open(sealed_certificate)?;
        if let Some(authority) = authority {
            let (validity, signature) = certificate.split_at(VALIDITY.len());
            let x_only = secp256k1::PublicKey::from_ellswift(static_key).x_only_public_key();
            let signature = Signature::from_slice(signature).ok();
            let authority = XOnlyPublicKey::from_slice(authority.bytes()).ok();
            let message = signed(validity, &x_only.0);
            let holds = signature.zip(authority).is_some_and(|(signature, authority)| {
                self.secp.verify_schnorr(&signature, &message, &authority).is_ok()
            });
            if !holds {
                return Err(NoiseError::WrongAuthority);
            }
        }
        let (from_us, to_us) = state.split();
        Ok(Transport { send: from_us, receive: to_us })
    }
}

/// The two directions of a connection after the handshake.
pub struct Transport {
    send: Cipher,
    receive: Cipher,
}

impl Transport {
    /// Encrypts `plain` and appends it to `out`.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        self.send.seal(&[], plain, out);
    }

    /// Decrypts what came next in order, and appends it to `out`.
    ///
    /// # Errors
    /// It was changed, left out or sent twice: nothing after it can be read.
    pub fn open(&mut self, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), NoiseError> {
        self.receive.open(&[], sealed, out)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport(…)")
    }
}

/// ChaCha20-Poly1305 with a counter for its nonce.
struct Cipher {
    key: [u8; 32],
    counter: u64,
}

impl Cipher {
    fn new(key: &[u8; 32]) -> Cipher {
        Cipher { key: *key, counter: 0 }
    }

    /// ring's form of the key, which has room for other ciphers: half a kilobyte, for each direction of
    /// each miner. It is made in no time.
    fn key(&self) -> LessSafeKey {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &self.key).expect("a key has 32 bytes");
        LessSafeKey::new(key)
    }

    /// The next nonce: four zeros and the counter, little-endian. It ends after 2^64 messages.
    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.counter.to_le_bytes());
        self.counter += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&mut self, also: &[u8], plain: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(plain);
        let nonce = self.nonce();
        let tag = self
            .key()
            .seal_in_place_separate_tag(nonce, Aad::from(also), &mut out[start..])
            .expect("a message is shorter than 256 GB");
        out.extend_from_slice(tag.as_ref());
    }

    fn open(&mut self, also: &[u8], sealed: &[u8], out: &mut Vec<u8>) -> Result<(), NoiseError> {
        let start = out.len();
        out.extend_from_slice(sealed);
        let nonce = self.nonce();
        let opened = self.key().open_in_place(nonce, Aad::from(also), &mut out[start..]);
        let length = opened.map(|plain| plain.len()).map_err(|_| NoiseError::Undecryptable);
        out.truncate(start + *length.as_ref().unwrap_or(&0));
        length.map(drop)
    }
}

/// The state of a handshake, called so in Noise: a hash of all that was said, a key to derive others
/// from, and the cipher of the moment.
struct Symmetric {
    hash: [u8; 32],
    chain: [u8; 32],
    cipher: Cipher,
}

impl Symmetric {
    fn after_act_1(act_1: &[u8; ACT_1]) -> Symmetric {
        let chain = sha256(&[PROTOCOL]);
        // The prologue is empty, as is what act 1 carries beside its key.
        let mut state = Symmetric { hash: sha256(&[&chain]), chain, cipher: Cipher::new(&[0; 32]) };
        state.mix_hash(act_1);
        state.mix_hash(&[]);
        state
    }

    fn mix_hash(&mut self, bytes: &[u8]) {
        self.hash = sha256(&[&self.hash, bytes]);
    }

    fn mix_key(&mut self, secret: &[u8; 32]) {
        let (chain, key) = two_keys(&self.chain, secret);
        self.chain = chain;
        self.cipher = Cipher::new(&key);
    }

    fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        self.cipher.seal(&self.hash, plain, out);
        self.mix_hash(&out[start..]);
    }

    fn open(&mut self, sealed: &[u8]) -> Result<Vec<u8>, NoiseError> {
        let mut plain = Vec::with_capacity(sealed.len());
        self.cipher.open(&self.hash, sealed, &mut plain)?;
        self.mix_hash(sealed);
        Ok(plain)
    }

    /// The ciphers from the one who began, and to it.
    fn split(self) -> (Cipher, Cipher) {
        let (first, second) = two_keys(&self.chain, &[]);
        (Cipher::new(&first), Cipher::new(&second))
    }
}

/// HKDF with two outputs, as Noise has it.
fn two_keys(chain: &[u8; 32], input: &[u8]) -> ([u8; 32], [u8; 32]) {
    let mac = |key: &[u8], parts: &[&[u8]]| -> [u8; 32] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        parts.iter().for_each(|part| context.update(part));
        array(context.sign().as_ref())
    };
    let temporary = mac(chain, &[input]);
    let first = mac(&temporary, &[&[1]]);
    let second = mac(&temporary, &[&first, &[2]]);
    (first, second)
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    array(context.finish().as_ref())
}

/// What an authority signs of a static key.
fn signed(validity: &[u8], key: &XOnlyPublicKey) -> Message {
    Message::from_digest(sha256(&[validity, &key.serialize()]))
}

fn keypair(secp: &Secp256k1<All>, secret: &[u8; 32]) -> Result<Keypair, NoiseError> {
    Keypair::from_seckey_slice(secp, secret).map_err(|_| NoiseError::BadKey)
}

fn array(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().expect("SHA-256 has 32 bytes")
}

/// The key at the beginning of a longer text, and the rest.
fn split(bytes: &[u8]) -> ([u8; KEY], &[u8]) {
    let (key, rest) = bytes.split_first_chunk().expect("both callers have a key's bytes");
    (*key, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity::new(&[1; 32], &[2; 32]).unwrap()
    }

    fn shaken() -> (Transport, Transport) {
        let identity = identity();
        let miner = Initiator::new(&[3; 32]).unwrap();
        let (act_2, box_) = identity.respond(&miner.act_1(), &[4; 32]).unwrap();
        (miner.finish(&act_2, Some(&identity.authority())).unwrap(), box_)
    }

    #[test]
    fn both_sides_read_each_other() {
        let (mut miner, mut box_) = shaken();
        for n in 0..1000usize {
            let message = vec![n as u8; n];
            let (from, to) =
                if n % 3 == 0 { (&mut box_, &mut miner) } else { (&mut miner, &mut box_) };
            let (mut sealed, mut plain) = (Vec::new(), Vec::new());
            from.seal(&message, &mut sealed);
            assert_eq!(sealed.len(), n + TAG);
            to.open(&sealed, &mut plain).unwrap();
            assert_eq!(plain, message);
        }
    }

    #[test]
    fn what_was_changed_or_sent_twice_cannot_be_read() {
        let (mut miner, mut box_) = shaken();
        let mut sealed = Vec::new();
        miner.seal(b"a share", &mut sealed);
        let mut plain = b"before".to_vec();
        box_.open(&sealed, &mut plain).unwrap();
        assert_eq!(box_.open(&sealed, &mut plain), Err(NoiseError::Undecryptable), "twice");
        assert_eq!(plain, b"beforea share");
        for at in 0..sealed.len() {
            let (mut miner, mut box_) = shaken();
            let mut sealed = Vec::new();
            miner.seal(b"a share", &mut sealed);
            sealed[at] ^= 1;
            assert_eq!(box_.open(&sealed, &mut plain), Err(NoiseError::Undecryptable), "{at}");
        }
        assert_eq!(box_.open(b"short", &mut plain), Err(NoiseError::Undecryptable));
    }

    #[test]
    fn a_changed_act_2_or_another_authority_is_refused() {
        let identity = identity();
        let begin = || Initiator::new(&[3; 32]).unwrap();
        let (act_2, _) = identity.respond(&begin().act_1(), &[4; 32]).unwrap();
        assert!(begin().finish(&act_2, None).is_ok());
        for at in 0..ACT_2 {
            let mut changed = act_2;
            changed[at] ^= 0x10;
            assert!(begin().finish(&changed, None).is_err(), "{at}");
        }
        let other = Identity::new(&[9; 32], &[2; 32]).unwrap().authority();
        let refused = begin().finish(&act_2, Some(&other)).err();
        assert_eq!(refused, Some(NoiseError::WrongAuthority));
        // Another miner's act 1.
        let stranger = Initiator::new(&[5; 32]).unwrap();
        assert!(stranger.finish(&act_2, None).is_err());
    }

    /// The specification's example.
    #[test]
    fn a_key_as_text() {
        let text = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
        let key = AuthorityKey::from_text(text).unwrap();
        let hex = "76637000979c1c11af0c300bcd8c7fe48610fce9b9c11e3daee35ae0b08a7455";
        assert_eq!(faster_hex::hex_string(key.bytes()), hex);
        assert_eq!(key.text(), text);
        let own = identity().authority();
        assert_eq!(AuthorityKey::from_text(&own.text()), Some(own));
        for bad in [
            "",
            "9",
            "x",
            &text[1..],
            &text.replace("Yw6", "Yw7"),
            "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
        ] {
            assert_eq!(AuthorityKey::from_text(bad), None, "{bad}");
        }
    }
}
