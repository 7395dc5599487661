//! Networks, and 256-bit hashes whose type has the byte order.

use std::fmt;
use std::str::FromStr;

/// A network that a node can be on, by the name that `getblockchaininfo` gives it (BIP 22 nodes
/// and bcoin alike).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Chain {
    /// Bitcoin itself: `main`.
    Main,
    /// The third test network: `test`.
    Testnet3,
    /// The fourth test network (BIP 94): `testnet4`.
    Testnet4,
    /// The signed test network (BIP 325): `signet`.
    Signet,
    /// A private chain at the lowest difficulty: `regtest`.
    Regtest,
}

impl Chain {
    /// The name in `getblockchaininfo`.
    pub fn name(self) -> &'static str {
        match self {
            Chain::Main => "main",
            Chain::Testnet3 => "test",
            Chain::Testnet4 => "testnet4",
            Chain::Signet => "signet",
            Chain::Regtest => "regtest",
        }
    }

    /// Reads the name in `getblockchaininfo`; bcoin says `testnet` where Core says `test`.
    pub fn from_name(name: &str) -> Option<Chain> {
        Some(match name {
            "main" | "mainnet" => Chain::Main,
            "test" | "testnet" | "testnet3" => Chain::Testnet3,
            "testnet4" => Chain::Testnet4,
            "signet" => Chain::Signet,
            "regtest" => Chain::Regtest,
            _ => return None,
        })
    }

    /// The port on which nodes of this network listen to each other where their owners chose none
    /// (Bitcoin Core, `src/kernel/chainparams.cpp`; bcoin, `lib/protocol/networks.js`).
    pub fn p2p_port(self) -> u16 {
        match self {
            Chain::Main => 8333,
            Chain::Testnet3 => 18333,
            Chain::Testnet4 => 48333,
            Chain::Signet => 38333,
            Chain::Regtest => 18444,
        }
    }

    /// The hash of block 0 where the network has only one (a custom signet shares the default
    /// signet's).
    pub fn genesis(self) -> BlockHash {
        let hex = match self {
            Chain::Main => "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
            Chain::Testnet3 => "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943",
            Chain::Testnet4 => "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
            Chain::Signet => "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
            Chain::Regtest => "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
        };
        hex.parse().expect("the table holds valid hashes")
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A block's hash in the byte order of the header (little-endian as a number). Shown and read in
/// the customary reversed hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockHash(pub [u8; 32]);

/// A transaction's id (without witness) in internal byte order. Shown in reversed hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Txid(pub [u8; 32]);

/// Why a hash could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 hex digits")]
pub struct BadHash;

macro_rules! reversed_hex {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = BadHash;

            fn from_str(hex: &str) -> Result<$name, BadHash> {
                let mut bytes = [0; 32];
                if hex.len() != 64 {
                    return Err(BadHash);
                }
                faster_hex::hex_decode(hex.as_bytes(), &mut bytes).map_err(|_| BadHash)?;
                bytes.reverse();
                Ok($name(bytes))
            }
        }
    };
}
reversed_hex!(BlockHash);
reversed_hex!(Txid);

impl BlockHash {
    /// The form in `mining.notify`: each 4-byte word of the header's bytes reversed. This is the
    /// only place of the word swap (ckpool and every firmware undo it the same way).
    pub fn to_stratum(self) -> String {
        let mut swapped = self.0;
        swapped.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        faster_hex::hex_string(&swapped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_reads_and_shows_reversed() {
        let genesis = Chain::Main.genesis();
        assert_eq!(genesis.0[31], 0);
        assert_eq!(genesis.0[0], 0x6f);
        assert_eq!(
            genesis.to_string(),
            "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
        );
        assert_eq!("00".parse::<BlockHash>(), Err(BadHash));
        assert_eq!("zz".repeat(32).parse::<BlockHash>(), Err(BadHash));
    }

    #[test]
    fn the_stratum_form_swaps_words() {
        assert_eq!(
            Chain::Main.genesis().to_stratum(),
            "0a8ce26f72b3f1b646a2a6c14ff763ae65831e939c085ae10019d66800000000"
        );
    }
}
