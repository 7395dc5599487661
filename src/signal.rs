//! The version bits by which a block signals for changes of the consensus rules (BIP 9).
//!
//! A block's version has 32 bits. The top three say that the others are signals. 16 bits belong to
//! the miners ([`VERSION_MASK`]). The node decides the remaining thirteen lowest bits, of which the
//! owner may set or clear single ones ([`Signals`]).

use crate::template::Template;

/// The version bits that miners may roll (BIP 320).
pub const VERSION_MASK: u32 = 0x1fff_e000;

/// The bits that a block can signal with and a miner does not roll: 0 to 12.
pub const SIGNAL_BITS: u32 = 0x1fff_ffff & !VERSION_MASK;

/// The owner's settings for single bits; all other bits are as in the node's template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// Bits to set, of [`SIGNAL_BITS`].
    pub set: u32,
    /// Bits to clear, of [`SIGNAL_BITS`]. No bit is in both.
    pub clear: u32,
}

impl Signals {
    /// The version of the jobs on this template: the node's, with the bits that miners roll
    /// cleared, and with the owner's settings applied. A bit that the node demands stays: without
    /// it the node would refuse the block.
    pub fn version(&self, template: &Template) -> u32 {
        let clear = self.clear & !self.overruled(template);
        (template.version & !VERSION_MASK & !clear) | self.set
    }

    /// The bits that the owner clears and the node demands.
    pub fn overruled(&self, template: &Template) -> u32 {
        self.clear & template.version_bits.required
    }
}

/// The numbers of the bits, in rising order.
pub fn numbers(bits: u32) -> impl Iterator<Item = u8> {
    (0..32).filter(move |bit| bits >> bit & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::VersionBits;

    fn template(version: u32, required: u32) -> Template {
        let version_bits = VersionBits { available: Vec::new(), required };
        Template { version, version_bits, ..crate::job::tests::template(1) }
    }

    #[test]
    fn the_owner_sets_and_clears_and_the_node_says_the_rest() {
        let none = Signals::default();
        let both = Signals { set: 1 << 4, clear: 1 << 2 };
        // What miners roll is theirs, whatever the node says.
        assert_eq!(none.version(&template(0x3fff_e004, 0)), 0x2000_0004);
        assert_eq!(both.version(&template(0x2000_0004, 0)), 0x2000_0010);
        assert_eq!(both.version(&template(0x2000_0011, 0)), 0x2000_0011);
    }

    #[test]
    fn a_bit_that_the_node_demands_stays() {
        let signals = Signals { set: 1 << 4, clear: 1 << 2 | 1 << 1 };
        let template = template(0x2000_0006, 1 << 2);
        assert_eq!(signals.version(&template), 0x2000_0014);
        assert_eq!(signals.overruled(&template), 1 << 2);
    }

    #[test]
    fn thirteen_bits_are_left() {
        let bits: Vec<u8> = numbers(SIGNAL_BITS).collect();
        assert_eq!(bits, (0..13).collect::<Vec<u8>>());
        assert_eq!(SIGNAL_BITS | VERSION_MASK | 0xe000_0000, u32::MAX);
        assert_eq!(SIGNAL_BITS & VERSION_MASK, 0);
    }
}
