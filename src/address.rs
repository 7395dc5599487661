//! Payout address → output script, for all five address types, with every mistake explained.
//!
//! ```
//! use soloist::address::{Address, Kind};
//! use soloist::chain::Chain;
//!
//! let address: Address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4".parse()?;
//! assert_eq!(address.kind(), Kind::P2wpkh);
//! assert!(address.fits(Chain::Main));
//! assert_eq!(address.script().len(), 22);
//! # Ok::<(), soloist::address::AddressError>(())
//! ```
//!
//! The chain is not known when the config file is read: the node tells it later. An [`Address`]
//! therefore keeps the set of chains that it fits, and the caller checks with [`Address::fits`].
//!
//! Sources: Base58Check addresses (Bitcoin Core, `base58.cpp` and `chainparams.cpp`), BIP 173
//! (bech32), BIP 350 (bech32m), BIP 341 (taproot output keys).

use std::fmt;
use std::str::FromStr;

use bitcoin::bech32::primitives::decode::UncheckedHrpstring;
use bitcoin::bech32::segwit;
use bitcoin::bech32::{Bech32, Bech32m};
use bitcoin::secp256k1::XOnlyPublicKey;
use bitcoin::{Network, Script, base58};

use crate::chain::Chain;

/// A valid payout address and the output script that pays it.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    text: String,
    kind: Kind,
    net: Net,
    script: Vec<u8>,
}

/// What an address pays to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The hash of a public key: `1…`.
    P2pkh,
    /// The hash of a script: `3…`.
    P2sh,
    /// Witness version 0, the hash of a public key (BIP 141): `bc1q…`, 42 characters.
    P2wpkh,
    /// Witness version 0, the hash of a script (BIP 141): `bc1q…`, 62 characters.
    P2wsh,
    /// Witness version 1, a taproot output key (BIP 341): `bc1p…`.
    P2tr,
}

impl Address {
    /// Whether the address can be paid on `chain`. The test networks share most of their forms.
    pub fn fits(&self, chain: Chain) -> bool {
        match (self.net, chain) {
            (Net::Main, Chain::Main) => true,
            (Net::Test, Chain::Testnet3 | Chain::Testnet4 | Chain::Signet) => true,
            (Net::TestOrRegtest, Chain::Main) => false,
            (Net::TestOrRegtest, _) => true,
            (Net::Regtest, Chain::Regtest) => true,
            (Net::Main | Net::Test | Net::Regtest, _) => false,
        }
    }

    /// A chain that it can be paid on; `None` where its form leaves open how other addresses look.
    pub fn chain(&self) -> Option<Chain> {
        match self.net {
            Net::Main => Some(Chain::Main),
            Net::Test => Some(Chain::Testnet4),
            Net::Regtest => Some(Chain::Regtest),
            Net::TestOrRegtest => None,
        }
    }

    /// Why the address cannot be paid on `chain`, and what to write instead; `None` when it can.
    pub fn misfit(&self, chain: Chain) -> Option<String> {
        if self.fits(chain) {
            return None;
        }
        let (own, wanted) = (self.net.words(), Net::examples(chain));
        Some(format!(
            "{self} is an address of {own}, but the node is on the chain '{chain}'. Write an \
             address of your wallet on that chain, which begins with {wanted}, or use a node of \
             the other chain."
        ))
    }

    /// The output script: what the coinbase's output carries. 22 to 34 bytes.
    pub fn script(&self) -> &[u8] {
        &self.script
    }

    /// Which of the five types it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The address in groups of four characters, for comparing by eye.
    pub fn in_fours(&self) -> String {
        let chars: Vec<char> = self.text.chars().collect();
        let groups: Vec<String> = chars.chunks(4).map(|four| four.iter().collect()).collect();
        groups.join(" ")
    }
}

/// The part of a miner's name that may be an address, as in `bc1q….attic`: all up to the first
/// character that no address has. `bitcoin:` in front, as wallets copy it, is left out.
pub fn in_name(name: &str) -> &str {
    in_parts(name).0
}

/// The part of a miner's name that may be an address, see [`in_name`], and what stands behind the one
/// character that ends it, as in `bc1q….attic` or `bc1q…_attic`.
pub fn in_parts(name: &str) -> (&str, &str) {
    const LINK: &str = "bitcoin:";
    let name = name.trim_start();
    let name = match name.get(..LINK.len()) {
        Some(head) if head.eq_ignore_ascii_case(LINK) => &name[LINK.len()..],
        _ => name,
    };
    let end = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
    let (address, rest) = name.split_at(end);
    let mut rest = rest.chars();
    rest.next();
    (address, rest.as_str())
}

/// Whether somebody who wrote this meant an address: it begins like one and is about as long. No
/// name of a miner is, such as `nerd`, `1` or `bc1-attic`.
pub fn is_meant(text: &str) -> bool {
    let begins_like_base58 = text.starts_with(['1', '3', '2', 'm', 'n']);
    match has_segwit_prefix(text) {
        true => text.len() >= SHORTEST_SEGWIT,
        false => begins_like_base58 && NEARLY_BASE58.contains(&text.len()),
    }
}

/// Characters of the shortest address that BIP 173 allows.
const SHORTEST_SEGWIT: usize = 14;

/// Characters of an address in base58, which has 26 to 35, with two mistyped.
const NEARLY_BASE58: std::ops::RangeInclusive<usize> = 24..=37;

/// The address that `script` pays on `chain`, or `None` for a script without an address, such as
/// the witness commitment. For showing people what a coinbase really pays.
pub fn of_script(script: &[u8], chain: Chain) -> Option<String> {
    let network = match chain {
        Chain::Main => Network::Bitcoin,
        Chain::Testnet3 | Chain::Testnet4 => Network::Testnet,
        Chain::Signet => Network::Signet,
        Chain::Regtest => Network::Regtest,
    };
    let address = bitcoin::Address::from_script(Script::from_bytes(script), network).ok()?;
    Some(address.to_string())
}

/// Why a text is not an address that can be paid. `Display` says what is wrong,
/// [`AddressError::instead`] what to do. Neither repeats a private key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The line was left empty.
    #[error("the address is empty")]
    Empty,
    /// A private key was pasted. The text is not kept.
    #[error("this looks like a private key, not an address; whoever reads it can take your coins")]
    PrivateKey,
    /// Something of the same world that is not an address: an extended key, an invoice, a name.
    #[error("this is {0}, not a Bitcoin address")]
    SomethingElse(&'static str),
    /// `bitcoin:…` as in QR codes.
    #[error("this is a payment link")]
    Uri,
    /// A space or another character that no address contains, with its place counted from 1.
    #[error("the character '{0}' (number {1}) never occurs in such an address")]
    BadCharacter(char, usize),
    /// Bech32 allows only one case (BIP 173).
    #[error("capital and small letters are mixed, which this kind of address does not allow")]
    MixedCase,
    /// The checksum does not match; where one changed character explains it, its place from 1.
    #[error("{}", checksum_words(.0))]
    Checksum(Option<usize>),
    /// Version 0 with bech32m or version 1 with bech32 (BIP 350).
    #[error("its checksum is of the wrong kind for its version: it was made by outdated software")]
    WrongChecksumKind,
    /// The hash is too short or too long for its version.
    #[error("its length is wrong: {0} bytes inside where {1} belong")]
    Length(usize, &'static str),
    /// Witness version 2 or above: anyone may spend such an output today (BIP 141).
    #[error("it is of witness version {0}, which the network does not protect yet")]
    FutureVersion(u8),
    /// No key exists for it: coins sent there are lost (BIP 341).
    #[error("it is a taproot address whose key is not on the curve: nobody could spend the coins")]
    NotOnCurve,
    /// Longer than any address.
    #[error("it is {0} characters long, and no address has more than 90")]
    TooLong(usize),
    /// None of the known beginnings.
    #[error("it does not begin like a Bitcoin address")]
    Unknown,
}

impl AddressError {
    /// What to write instead, as a whole sentence.
    pub fn instead(&self) -> &'static str {
        match self {
            AddressError::PrivateKey => {
                "Remove it from the file, move the coins of that key to a new wallet, and write a \
                 receive address here."
            }
            AddressError::Uri => {
                "Write only the address: what stands between 'bitcoin:' and the question mark."
            }
            AddressError::FutureVersion(_)
            | AddressError::NotOnCurve
            | AddressError::WrongChecksumKind => {
                "Write an address that a current wallet shows under 'Receive'."
            }
            AddressError::BadCharacter(..)
            | AddressError::MixedCase
            | AddressError::Checksum(_)
            | AddressError::Length(..) => {
                "Copy the address again from your wallet, as a whole and without typing."
            }
            AddressError::Empty
            | AddressError::SomethingElse(_)
            | AddressError::TooLong(_)
            | AddressError::Unknown => {
                "Write a receive address of your own wallet; it begins with bc1, 1 or 3."
            }
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let text = text.trim();
        refuse_other_things(text)?;
        let prefix = text.rsplit_once('1').map(|(prefix, _)| prefix.to_ascii_lowercase());
        let net = match prefix.as_deref() {
            Some("bc") => Some(Net::Main),
            Some("tb") => Some(Net::Test),
            // bcoin's name of the prefix, beside Core's.
            Some("bcrt" | "rb") => Some(Net::Regtest),
            _ => None,
        };
        match net {
            Some(net) => parse_segwit(text, net),
            // A stray '1' later in the text hides the prefix from the split above.
            None if has_segwit_prefix(text) => Err(bech32_character(text)),
            None => parse_base58(text),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::P2pkh => "P2PKH",
            Kind::P2sh => "P2SH",
            Kind::P2wpkh => "P2WPKH",
            Kind::P2wsh => "P2WSH",
            Kind::P2tr => "P2TR",
        })
    }
}

/// The sets of chains that address forms tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Net {
    /// `bc1`, `1`, `3`.
    Main,
    /// `tb1`: the public test networks, but not regtest.
    Test,
    /// `m`, `n`, `2`: every test network, regtest too.
    TestOrRegtest,
    /// `bcrt1`.
    Regtest,
}

impl Net {
    fn words(self) -> &'static str {
        match self {
            Net::Main => "the main chain",
            Net::Test => "the public test networks",
            Net::TestOrRegtest => "the test networks",
            Net::Regtest => "regtest",
        }
    }

    fn examples(chain: Chain) -> &'static str {
        match chain {
            Chain::Main => "bc1, 1 or 3",
            Chain::Testnet3 | Chain::Testnet4 | Chain::Signet => "tb1, m, n or 2",
            Chain::Regtest => "bcrt1, m, n or 2",
        }
    }
}

/// What people paste by mistake. Comes first: a private key must not reach a message that quotes
/// characters of it.
fn refuse_other_things(text: &str) -> Result<(), AddressError> {
    let lower = text.to_ascii_lowercase();
    let begins = |heads: &[&str]| heads.iter().any(|head| lower.starts_with(head));
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    if looks_like_private_key(text) || begins(&["xprv", "yprv", "zprv", "tprv"]) {
        return Err(AddressError::PrivateKey);
    }
    if begins(&["bitcoin:"]) {
        return Err(AddressError::Uri);
    }
    let other = if begins(&["xpub", "ypub", "zpub", "tpub", "vpub", "upub"]) {
        "an extended public key"
    } else if begins(&["lnbc", "lntb", "lnurl", "lno1"]) {
        "a Lightning invoice"
    } else if begins(&["sp1", "tsp1"]) {
        "a silent payment address, which a coinbase cannot pay"
    } else if begins(&["ltc1"]) {
        "an address of Litecoin"
    } else if begins(&["bitcoincash:"]) {
        "an address of Bitcoin Cash"
    } else if begins(&["0x"]) {
        "an address of Ethereum"
    } else if text.contains('@') {
        "a name with '@'"
    } else {
        return if text.len() > 90 { Err(AddressError::TooLong(text.len())) } else { Ok(()) };
    };
    Err(AddressError::SomethingElse(other))
}

/// Wallet import format: 51 or 52 characters of base58 with a first letter of its own, or the 32
/// bytes in hex.
fn looks_like_private_key(text: &str) -> bool {
    let base58 = text.chars().all(|c| c.is_ascii_alphanumeric());
    let first = text.chars().next().unwrap_or(' ');
    let wif = base58
        && match text.len() {
            51 => matches!(first, '5' | '9'),
            52 => matches!(first, 'K' | 'L' | 'c'),
            _ => false,
        };
    wif || (text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit()))
}

fn has_segwit_prefix(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    ["bc1", "tb1", "bcrt1", "rb1"].iter().any(|prefix| lower.starts_with(prefix))
}

fn parse_segwit(text: &str, net: Net) -> Result<Address, AddressError> {
    let (_, version, program) = match segwit::decode(text) {
        Ok(parts) => parts,
        Err(_) => return Err(explain_segwit(text)),
    };
    let kind = match (version.to_u8(), program.len()) {
        (0, 20) => Kind::P2wpkh,
        (0, 32) => Kind::P2wsh,
        (0, other) => return Err(AddressError::Length(other, "20 or 32")),
        (1, 32) => match XOnlyPublicKey::from_slice(&program) {
            Ok(_) => Kind::P2tr,
            Err(_) => return Err(AddressError::NotOnCurve),
        },
        (1, other) => return Err(AddressError::Length(other, "32")),
        (future, _) => return Err(AddressError::FutureVersion(future)),
    };
    // OP_0, or OP_1 for version 1; then one direct push.
    let opcode = if version.to_u8() == 0 { 0x00 } else { 0x51 };
    let mut script = vec![opcode, program.len() as u8];
    script.extend_from_slice(&program);
    Ok(Address { text: text.to_ascii_lowercase(), kind, net, script })
}

fn explain_segwit(text: &str) -> AddressError {
    let Ok(unchecked) = UncheckedHrpstring::new(text) else {
        return bech32_character(text);
    };
    let old = unchecked.has_valid_checksum::<Bech32>();
    let new = unchecked.has_valid_checksum::<Bech32m>();
    match unchecked.witness_version().map(|version| version.to_u8()) {
        Some(0) if new => AddressError::WrongChecksumKind,
        Some(1..=16) if old => AddressError::WrongChecksumKind,
        Some(0..=16) if old || new => {
            // Version and checksum take 7 characters; the rest is 5 bits each.
            let data = unchecked.data_part_ascii().len().saturating_sub(7);
            AddressError::Length(data * 5 / 8, "20 or 32")
        }
        _ => AddressError::Checksum(one_wrong_character(text)),
    }
}

const BECH32: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// The first character that bech32 does not have, or the other reason why the text is not bech32.
fn bech32_character(text: &str) -> AddressError {
    let upper = text.chars().any(|c| c.is_ascii_uppercase());
    let lower = text.chars().any(|c| c.is_ascii_lowercase());
    if upper && lower {
        return AddressError::MixedCase;
    }
    let data = text.find('1').map_or(0, |separator| separator + 1);
    let strange = |(_, c): &(usize, char)| !BECH32.contains(c.to_ascii_lowercase());
    match text.chars().enumerate().skip(data).find(strange) {
        Some((place, c)) => AddressError::BadCharacter(c, place + 1),
        None => AddressError::Checksum(None),
    }
}

/// The place, counted from 1, where changing a single character makes a bech32 text valid. The
/// code has distance 5, so there is at most one. The right character is not told on purpose (BIP
/// 173: a correction must not be trusted, only looked at).
fn one_wrong_character(text: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    let data = lower.find('1')? + 1;
    let mut bytes = lower.into_bytes();
    for place in data..bytes.len() {
        let original = bytes[place];
        for candidate in BECH32.bytes() {
            bytes[place] = candidate;
            let fits = std::str::from_utf8(&bytes).is_ok_and(|text| segwit::decode(text).is_ok());
            if fits {
                return Some(place + 1);
            }
        }
        bytes[place] = original;
    }
    None
}

fn checksum_words(place: &Option<usize>) -> String {
    match place {
        Some(place) => {
            format!("its checksum does not match: character number {place} looks mistyped")
        }
        None => "its checksum does not match: at least one character is wrong, missing or too many"
            .to_owned(),
    }
}

fn parse_base58(text: &str) -> Result<Address, AddressError> {
    let strange =
        |(_, c): &(usize, char)| !c.is_ascii_alphanumeric() || matches!(c, '0' | 'O' | 'I' | 'l');
    if !text.starts_with(['1', '3', '2', 'm', 'n']) {
        return Err(AddressError::Unknown);
    }
    if let Some((place, c)) = text.chars().enumerate().find(strange) {
        return Err(AddressError::BadCharacter(c, place + 1));
    }
    let payload = base58::decode_check(text).map_err(|_| AddressError::Checksum(None))?;
    let (Some((&version, hash)), 21) = (payload.split_first(), payload.len()) else {
        return Err(AddressError::Length(payload.len(), "21"));
    };
    let (kind, net) = match version {
        0x00 => (Kind::P2pkh, Net::Main),
        0x05 => (Kind::P2sh, Net::Main),
        0x6f => (Kind::P2pkh, Net::TestOrRegtest),
        0xc4 => (Kind::P2sh, Net::TestOrRegtest),
        _ => return Err(AddressError::Unknown),
    };
    let script = match kind {
        // OP_DUP OP_HASH160 <20> OP_EQUALVERIFY OP_CHECKSIG
        Kind::P2pkh => [&[0x76, 0xa9, 0x14], hash, &[0x88, 0xac]].concat(),
        // OP_HASH160 <20> OP_EQUAL
        _ => [&[0xa9, 0x14], hash, &[0x87]].concat(),
    };
    Ok(Address { text: text.to_owned(), kind, net, script })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Address, AddressError> {
        text.parse()
    }

    /// The `bitcoin` crate as a second opinion on text and script.
    fn oracle(text: &str) -> Vec<u8> {
        let address: bitcoin::Address<bitcoin::address::NetworkUnchecked> = text.parse().unwrap();
        address.assume_checked().script_pubkey().into_bytes()
    }

    const GOOD: [(&str, Kind, &[Chain]); 11] = {
        use Chain::*;
        const TESTS: &[Chain] = &[Testnet3, Testnet4, Signet];
        const WITH_REGTEST: &[Chain] = &[Testnet3, Testnet4, Signet, Regtest];
        [
            // The address of the genesis block.
            ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", Kind::P2pkh, &[Main]),
            ("3P14159f73E4gFr7JterCCQh9QjiTjiZrG", Kind::P2sh, &[Main]),
            // BIP 173 and BIP 350.
            ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", Kind::P2wpkh, &[Main]),
            ("tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7", Kind::P2wsh, TESTS),
            ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0", Kind::P2tr, &[Main]),
            ("tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c", Kind::P2tr, TESTS),
            // BIP 86.
            ("bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr", Kind::P2tr, &[Main]),
            ("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", Kind::P2pkh, WITH_REGTEST),
            ("2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc", Kind::P2sh, WITH_REGTEST),
            ("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", Kind::P2wpkh, TESTS),
            ("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", Kind::P2wpkh, &[Regtest]),
        ]
    };

    #[test]
    fn all_five_types_on_all_chains() {
        for (text, kind, chains) in GOOD {
            let address = parse(text).unwrap();
            assert_eq!(address.kind(), kind, "{text}");
            assert_eq!(address.script(), oracle(text), "{text}");
            assert_eq!(address.to_string(), text);
            for chain in
                [Chain::Main, Chain::Testnet3, Chain::Testnet4, Chain::Signet, Chain::Regtest]
            {
                assert_eq!(address.fits(chain), chains.contains(&chain), "{text} on {chain}");
                assert_eq!(address.misfit(chain).is_none(), chains.contains(&chain));
                if address.fits(chain) {
                    assert_eq!(of_script(address.script(), chain).as_deref(), Some(text));
                }
            }
        }
    }

    #[test]
    fn the_prefix_of_bcoin_is_regtest() {
        let core = parse("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080").unwrap();
        let program = &core.script()[2..];
        let hrp = bitcoin::bech32::Hrp::parse("rb").unwrap();
        let text = segwit::encode_v0(hrp, program).unwrap();
        let bcoin = parse(&text).unwrap();
        assert_eq!(bcoin.script(), core.script());
        assert!(bcoin.fits(Chain::Regtest) && !bcoin.fits(Chain::Main));
    }

    #[test]
    fn capitals_and_spaces_around_are_harmless() {
        let address = parse("  BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4\n").unwrap();
        assert_eq!(address.to_string(), "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4");
        assert_eq!(address.in_fours(), "bc1q w508 d6qe jxtd g4y5 r3za rvar y0c5 xw7k v8f3 t4");
    }

    #[test]
    fn each_mistake_has_its_own_words() {
        use AddressError::*;
        let cases = [
            ("", Empty),
            ("   ", Empty),
            ("5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ", PrivateKey),
            ("KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWn", PrivateKey),
            (
                "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg",
                PrivateKey,
            ),
            ("bitcoin:bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4?amount=1", Uri),
            (
                "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8",
                SomethingElse("an extended public key"),
            ),
            ("0x52908400098527886E0F7030069857D2E4169EE7", SomethingElse("an address of Ethereum")),
            (
                "ltc1qw508d6qejxtdg4y5r3zarvary0c5xw7kgmn4n9",
                SomethingElse("an address of Litecoin"),
            ),
            ("anna@example.com", SomethingElse("a name with '@'")),
            ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", Checksum(Some(42))),
            ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3", Checksum(None)),
            ("bc1qw508d6qejxtdg4y5r3zarvarz0c5xw7kv8f3t4", Checksum(Some(29))),
            ("bc1qw508d6qejxtdg4y5r3zarvarb0c5xw7kv8f3t4", BadCharacter('b', 29)),
            ("bc1qw508d6qejxtdg4y5r3zarvar10c5xw7kv8f3t4", BadCharacter('1', 29)),
            ("bc1qW508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", MixedCase),
            ("bc1qw508d6 qejxtdg4y5r3zarvary0c5xw7kv8f3t4", BadCharacter(' ', 11)),
            ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", Checksum(None)),
            ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfN0", BadCharacter('0', 34)),
            ("DH5yaieqoZN36fDVciNyRueRGvGLR3mr7L", Unknown),
            // BIP 350's list of invalid addresses, as far as it concerns Bitcoin's prefixes.
            ("tc1qw508d6qejxtdg4y5r3zarvary0c5xw7kg3g4ty", Unknown),
            ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd", WrongChecksumKind),
            ("BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL", WrongChecksumKind),
            ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh", WrongChecksumKind),
            ("BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P", Length(16, "20 or 32")),
            // Witness version 16 and 2, valid under BIP 350.
            ("BC1SW50QGDZ25J", FutureVersion(16)),
            ("bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", FutureVersion(2)),
            // Pay to anchor: anyone may spend it.
            ("bc1pfeessrawgf", Length(2, "32")),
        ];
        for (text, wanted) in cases {
            let error = parse(text).unwrap_err();
            let length_in_general = matches!(
                (&error, &wanted), (Length(_, a), Length(_, b)) if a == b
            );
            assert!(error == wanted || length_in_general, "{text}: {error:?}");
            assert!(error.instead().ends_with('.'));
        }
    }

    #[test]
    fn an_address_in_a_name_ends_at_any_character_that_none_has() {
        const ADDRESS: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
        for after in ["", ".attic", "_attic", "/attic", "-1", " attic", ":x", "?amount=1", "γ"] {
            for before in ["", "bitcoin:", "BITCOIN:", " "] {
                assert_eq!(in_name(&format!("{before}{ADDRESS}{after}")), ADDRESS);
            }
        }
        assert_eq!(in_name("γ"), "");
        assert_eq!(in_name(""), "");
        assert_eq!(in_name("bitcoin:"), "");
        assert_eq!(in_name("nerd.1"), "nerd");
    }

    #[test]
    fn a_mistyped_address_is_told_from_a_name() {
        for (good, ..) in GOOD {
            for typed in [good, &good[..good.len() - 1], &format!("{good}q")] {
                assert!(is_meant(typed), "{typed}");
            }
            assert!(is_meant(&good.to_ascii_uppercase()) || !has_segwit_prefix(good));
        }
        for name in ["", "nerd", "miner1", "1", "3", "2nd", "bc1", "bc1attic", "mybitaxegamma601"] {
            assert!(!is_meant(name), "{name}");
        }
    }

    #[test]
    fn a_taproot_key_off_the_curve_is_refused() {
        // BIP 340's test vector 5: a public key not on the curve.
        let key = "eefdea4cdb677750a420fee807eacf21eb9898ae79b9768766e4faa04a2d4a34";
        let mut bytes = [0; 32];
        faster_hex::hex_decode(key.as_bytes(), &mut bytes).unwrap();
        let text = segwit::encode_v1(segwit_hrp(), &bytes).unwrap();
        assert_eq!(parse(&text), Err(AddressError::NotOnCurve));
    }

    fn segwit_hrp() -> bitcoin::bech32::Hrp {
        bitcoin::bech32::Hrp::parse("bc").unwrap()
    }

    #[test]
    fn a_private_key_is_never_repeated() {
        let key = "KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWn";
        let error = parse(key).unwrap_err();
        assert!(!format!("{error} {error:?} {}", error.instead()).contains(&key[4..12]));
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer(text in ".{0,120}") {
            if let Ok(address) = parse(&text) {
                prop_assert_eq!(address.script(), oracle(&address.to_string()));
            }
        }

        /// A single wrong character never passes, and in bech32 its place is found.
        #[test]
        fn one_mistyped_character_is_caught(
            which in 0..GOOD.len(), place in 0usize..62, new in "[a-z0-9]",
        ) {
            let (good, _, _) = GOOD[which];
            let head = good.find('1').unwrap_or(0) + 1;
            prop_assume!(place >= head && place < good.len());
            prop_assume!(good[place..=place] != new);
            let typed = format!("{}{new}{}", &good[..place], &good[place + 1..]);
            let error = parse(&typed).unwrap_err();
            if let AddressError::Checksum(Some(found)) = error {
                prop_assert_eq!(found, place + 1);
            }
        }
    }
}
