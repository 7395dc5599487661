//! Targets and difficulties: exact 256-bit comparison; floating point only for display and Stratum.
//!
//! A share or a block is checked by comparing its hash with a [`Target`], both as 256-bit integers.
//! A [`Difficulty`] d is another name for the target T1 / d, for people and for the Stratum
//! protocol. T1 is `0x00000000ffff0000…00`, as pools, firmwares and `getdifficulty` use it.

use std::fmt;

use crate::chain::BlockHash;

/// The greatest hash, as a number, that counts. Limbs of 64 bits, least significant first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Target([u64; 4]);

/// `nBits`: the compact form of a target in the block header.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NBits(pub u32);

/// How many times harder than the target of difficulty 1: `d` needs `d` times
/// [`HASHES_PER_DIFFICULTY`] hashes on average.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Difficulty(pub f64);

/// Hashes that one unit of difficulty takes on average: 2^256 ÷ (0xffff × 2^208), a little more than
/// 2^32.
pub const HASHES_PER_DIFFICULTY: f64 = 4_295_032_833.0;

/// Hashes a second of `work` (a sum of difficulties) done in `seconds`; 0 for no time.
pub fn hashrate(work: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { work * HASHES_PER_DIFFICULTY / seconds } else { 0.0 }
}

/// `nBits` that no block can have: negative, zero or above 2^256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bits {0:08x} are not a valid target")]
pub struct BadNBits(pub u32);

/// The mantissa of difficulty 1, which stands at bit 208.
const ONE: u64 = 0xffff;
const ONE_SHIFT: u32 = 208;

impl Target {
    /// A target that every hash meets.
    pub const MAX: Target = Target([u64::MAX; 4]);

    /// Reads the compact form. Like Core's `SetCompact`, except that what Core flags as negative,
    /// zero or overflowing is an error.
    pub fn from_nbits(bits: NBits) -> Result<Target, BadNBits> {
        let mantissa = u64::from(bits.0 & 0x007f_ffff);
        let exponent = bits.0 >> 24;
        let negative = bits.0 & 0x0080_0000 != 0;
        let overflow = exponent > 34
            || (mantissa > 0xff && exponent > 33)
            || (mantissa > 0xffff && exponent > 32);
        let limbs = if exponent <= 3 {
            [mantissa >> (8 * (3 - exponent)), 0, 0, 0]
        } else if overflow {
            return Err(BadNBits(bits.0));
        } else {
            shifted(mantissa, 8 * (exponent - 3))
        };
        if negative || limbs == [0; 4] {
            return Err(BadNBits(bits.0));
        }
        Ok(Target(limbs))
    }

    /// The target of a difficulty, rounded down: `floor(2^208 * 0xffff / difficulty)`, exact for
    /// every `f64`. What is not a positive number, or is too small to matter, gives
    /// [`Target::MAX`]; infinity gives a target that only a hash of zero meets.
    pub fn from_difficulty(difficulty: Difficulty) -> Target {
        let d = difficulty.0;
        if d.is_nan() || d < f64::MIN_POSITIVE {
            return Target::MAX;
        }
        if d.is_infinite() {
            return Target([0; 4]);
        }
        // d = mantissa * 2^exponent, exactly.
        let mantissa = (d.to_bits() & ((1 << 52) - 1)) | (1 << 52);
        let exponent = ((d.to_bits() >> 52) & 0x7ff) as i32 - 1075;
        // The dividend has room for 384 bits: 2^208 * 0xffff * 2^-exponent must fit.
        if exponent < -(384 - 224) {
            return Target::MAX;
        }
        let shift = ONE_SHIFT as i32 - exponent.min(0);
        let mut wide = [0u64; 6];
        let (limb, bit) = (shift as usize / 64, shift as u32 % 64);
        wide[limb] = ONE << bit;
        if bit > 0 && limb + 1 < wide.len() {
            wide[limb + 1] = ONE >> (64 - bit);
        }
        let mut remainder = 0u128;
        for limb in wide.iter_mut().rev() {
            let dividend = (remainder << 64) | u128::from(*limb);
            *limb = (dividend / u128::from(mantissa)) as u64;
            remainder = dividend % u128::from(mantissa);
        }
        if wide[4] != 0 || wide[5] != 0 {
            return Target::MAX;
        }
        Target(shifted_right([wide[0], wide[1], wide[2], wide[3]], exponent.max(0) as u32))
    }

    /// Reads it from its bytes, least significant first.
    pub fn from_le_bytes(bytes: &[u8; 32]) -> Target {
        Target(limbs(bytes))
    }

    /// Its bytes, least significant first.
    pub fn to_le_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, limb) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *chunk = limb.to_le_bytes();
        }
        bytes
    }

    /// Whether a hash counts: as a number it is at most the target.
    pub fn is_met_by(&self, hash: &BlockHash) -> bool {
        limbs(&hash.0).iter().rev().le(self.0.iter().rev())
    }

    /// The difficulty of this target, to the precision of `f64`.
    pub fn difficulty(&self) -> Difficulty {
        Difficulty(one_as_f64() / as_f64(&self.0))
    }
}

impl Difficulty {
    /// The greatest difficulty that this hash meets, to the precision of `f64`; for showing and
    /// ranking, not for judging. A hash of zero gives infinity.
    pub fn of_hash(hash: &BlockHash) -> Difficulty {
        Difficulty(one_as_f64() / as_f64(&limbs(&hash.0)))
    }
}

fn limbs(bytes: &[u8; 32]) -> [u64; 4] {
    let mut limbs = [0; 4];
    for (limb, chunk) in limbs.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *limb = u64::from_le_bytes(*chunk);
    }
    limbs
}

/// `value * 2^shift`, for a value below 2^23 and a shift at which Core sees no overflow.
fn shifted(value: u64, shift: u32) -> [u64; 4] {
    let mut limbs = [0; 4];
    let (limb, bit) = ((shift / 64) as usize, shift % 64);
    if limb < 4 {
        limbs[limb] = value << bit;
    }
    if bit > 0 && limb + 1 < 4 {
        limbs[limb + 1] = value >> (64 - bit);
    }
    limbs
}

fn shifted_right(value: [u64; 4], shift: u32) -> [u64; 4] {
    let (skip, bit) = ((shift / 64) as usize, shift % 64);
    let mut limbs = [0; 4];
    for (i, limb) in limbs.iter_mut().enumerate() {
        let low = value.get(i + skip).copied().unwrap_or(0);
        let high = value.get(i + skip + 1).copied().unwrap_or(0);
        *limb = if bit == 0 { low } else { (low >> bit) | (high << (64 - bit)) };
    }
    limbs
}

fn as_f64(limbs: &[u64; 4]) -> f64 {
    limbs.iter().rev().fold(0.0, |sum, limb| sum * 2f64.powi(64) + *limb as f64)
}

fn one_as_f64() -> f64 {
    ONE as f64 * 2f64.powi(ONE_SHIFT as i32)
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

impl fmt::Display for Target {
    /// 64 hex digits, most significant first, as in getblocktemplate.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|limb| write!(f, "{limb:016x}"))
    }
}

impl fmt::Debug for NBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NBits({:08x})", self.0)
    }
}

impl fmt::Display for Difficulty {
    /// Short, as people say it: `1.23 M`, `512`, `0.0015`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(f64, &str); 6] =
            [(1e18, " E"), (1e15, " P"), (1e12, " T"), (1e9, " G"), (1e6, " M"), (1e4, " k")];
        for (unit, name) in UNITS {
            if self.0 >= unit {
                let value = self.0 / if unit == 1e4 { 1e3 } else { unit };
                return write!(f, "{value:.2}{name}");
            }
        }
        if self.0 >= 1.0 && self.0.fract() == 0.0 {
            write!(f, "{}", self.0)
        } else if self.0 >= 1.0 {
            write!(f, "{:.2}", self.0)
        } else if self.0 >= 1e-5 {
            write!(f, "{}", (self.0 * 1e6).round() / 1e6)
        } else {
            write!(f, "{:.1e}", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::pow::CompactTarget;
    use proptest::prelude::*;

    fn target(bits: u32) -> Target {
        Target::from_nbits(NBits(bits)).unwrap()
    }

    #[test]
    fn known_targets() {
        let one = "00000000ffff0000000000000000000000000000000000000000000000000000";
        assert_eq!(target(0x1d00ffff).to_string(), one);
        assert_eq!(Target::from_difficulty(Difficulty(1.0)).to_string(), one);
        assert_eq!(
            target(0x207fffff).to_string(),
            "7fffff0000000000000000000000000000000000000000000000000000000000"
        );
        // Block 100000: difficulty 14484.16 by every explorer.
        assert!((target(0x1b04864c).difficulty().0 - 14484.1623612254).abs() < 1e-9);
    }

    #[test]
    fn difficulty_to_target_is_exact() {
        // floor(0xffff * 2^208 / 3)
        assert_eq!(
            Target::from_difficulty(Difficulty(3.0)).to_string(),
            "0000000055550000000000000000000000000000000000000000000000000000"
        );
        // floor(0xffff * 2^208 / 7), by Python's integers.
        assert_eq!(
            Target::from_difficulty(Difficulty(7.0)).to_string(),
            "0000000024922492492492492492492492492492492492492492492492492492"
        );
        assert_eq!(
            Target::from_difficulty(Difficulty(0.5)).to_string(),
            "00000001fffe0000000000000000000000000000000000000000000000000000"
        );
    }

    #[test]
    fn odd_difficulties_are_harmless() {
        for d in [f64::NAN, -1.0, 0.0, -0.0, f64::MIN_POSITIVE, 1e-300, f64::NEG_INFINITY] {
            assert_eq!(Target::from_difficulty(Difficulty(d)), Target::MAX, "{d}");
        }
        assert_eq!(Target::from_difficulty(Difficulty(f64::INFINITY)), Target([0; 4]));
        assert_eq!(Target::from_difficulty(Difficulty(f64::MAX)), Target([0; 4]));
    }

    #[test]
    fn bad_bits_are_refused() {
        for bits in [0, 0x01003456, 0x04800001, 0x1d800000, 0xff123456, 0x23000001, 0x22000100] {
            assert!(Target::from_nbits(NBits(bits)).is_err(), "{bits:08x}");
        }
    }

    #[test]
    fn difficulties_read_like_speech() {
        let said = |d| Difficulty(d).to_string();
        assert_eq!(said(0.0015), "0.0015");
        assert_eq!(said(4.6565e-10), "4.7e-10");
        assert_eq!(said(512.0), "512");
        assert_eq!(said(1536.25), "1536.25");
        assert_eq!(said(65536.0), "65.54 k");
        assert_eq!(said(1.234e12), "1.23 T");
    }

    proptest! {
        #[test]
        fn compact_targets_agree_with_the_bitcoin_crate(bits: u32) {
            let theirs = bitcoin::Target::from_compact(CompactTarget::from_consensus(bits));
            match Target::from_nbits(NBits(bits)) {
                Ok(ours) => prop_assert_eq!(ours.0, limbs(&theirs.to_le_bytes())),
                Err(_) => {
                    let exponent = bits >> 24;
                    let sign = bits & 0x0080_0000 != 0;
                    let zero = theirs == bitcoin::Target::ZERO;
                    prop_assert!(zero || sign || exponent > 32, "{:08x}", bits);
                }
            }
        }

        #[test]
        fn comparison_is_that_of_numbers(a: [u8; 32], b: [u8; 32]) {
            let ours = Target(limbs(&b)).is_met_by(&BlockHash(a));
            let reversed = |x: [u8; 32]| { let mut x = x; x.reverse(); x };
            prop_assert_eq!(ours, reversed(a) <= reversed(b));
        }

        #[test]
        fn a_target_meets_its_own_difficulty(d in 1e-6f64..1e20) {
            let there = Target::from_difficulty(Difficulty(d));
            prop_assert!((there.difficulty().0 / d - 1.0).abs() < 1e-9);
        }
    }
}
