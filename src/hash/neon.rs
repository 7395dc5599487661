//! sha256d in the vector registers that every 64-bit ARM has: four headers or pairs in a register,
//! and in the second form a fifth in the integer registers beside them.
//!
//! A core that starts an integer and a vector instruction in the same cycle has room for the fifth
//! lane; whether it gains depends on how well it finds the instructions that fit together. By the
//! models a Cortex-A72 gains a tenth and a Cortex-A53 loses more than a quarter, and silicon may
//! differ, so that both forms are offered and the faster one is found at the start.
#![allow(unsafe_code)]

use super::lanes::{self, Constants, HeaderTable, Lanes, Wide};
use super::{Pair, Scan, soft, to_bytes};
use std::arch::aarch64::*;
use std::arch::asm;
use std::ops::RangeInclusive;

/// The first nonce of `nonces` whose header passes `scan`, four at a time.
pub(super) fn scan_by_four(scan: &Scan, nonces: RangeInclusive<u32>) -> Option<u32> {
    scan_by::<4>(four_pass, scan, nonces)
}

/// The same, five at a time.
pub(super) fn scan_by_five(scan: &Scan, nonces: RangeInclusive<u32>) -> Option<u32> {
    scan_by::<5>(five_pass, scan, nonces)
}

/// The double hash of each pair, four at a time.
pub(super) fn pairs_by_four(pairs: &[Pair], out: &mut [[u8; 32]]) {
    pairs_by(hash_four_pairs, pairs, out);
}

/// The same, five at a time.
pub(super) fn pairs_by_five(pairs: &[Pair], out: &mut [[u8; 32]]) {
    pairs_by(hash_five_pairs, pairs, out);
}

fn scan_by<const N: usize>(
    any_passes: fn(&HeaderTable, &Constants, u32, u32) -> bool,
    scan: &Scan,
    nonces: RangeInclusive<u32>,
) -> Option<u32> {
    let table = HeaderTable::new(scan);
    let constants = lanes::constants();
    let end = *nonces.end();
    nonces.step_by(N).find_map(|first| {
        if !any_passes(&table, constants, first, scan.top_word) {
            return None;
        }
        // Which one it is, and whether it lies in the range at all, the reference says.
        soft::scan(scan, first..=end.min(first.saturating_add(N as u32 - 1)))
    })
}

fn pairs_by<const N: usize>(
    hash: fn(&Constants, &[Pair; N], &mut [[u8; 32]; N]),
    pairs: &[Pair],
    out: &mut [[u8; 32]],
) {
    let constants = lanes::constants();
    let (batches, rest) = pairs.as_chunks::<N>();
    let (batches_out, rest_out) = out.as_chunks_mut::<N>();
    for (batch, out) in batches.iter().zip(batches_out) {
        hash(constants, batch, out);
    }
    soft::pairs(rest, rest_out);
}

/// Whether any of the four nonces from `first` on has a low enough last word.
#[inline(never)]
fn four_pass(table: &HeaderTable, constants: &Constants, first: u32, top_word: u32) -> bool {
    let last = lanes::header_last_word(table, constants, four_nonces(first));
    any_at_most(reverse_bytes(last), top_word)
}

/// Whether any of the five nonces from `first` on has a low enough last word.
#[inline(never)]
fn five_pass(table: &HeaderTable, constants: &Constants, first: u32, top_word: u32) -> bool {
    let nonces = Five(four_nonces(first), first.wrapping_add(4).swap_bytes());
    let Five(four, one) = lanes::header_last_word(table, constants, nonces);
    (one.swap_bytes() <= top_word) | any_at_most(reverse_bytes(four), top_word)
}

#[inline(never)]
fn hash_four_pairs(constants: &Constants, pairs: &[Pair; 4], out: &mut [[u8; 32]; 4]) {
    store_digests(&lanes::pair_hash(constants, load_messages(pairs)), out);
}

#[inline(never)]
fn hash_five_pairs(constants: &Constants, pairs: &[Pair; 5], out: &mut [[u8; 32]; 5]) {
    let [four @ .., fifth] = pairs;
    let [four_out @ .., fifth_out] = out;
    let (words, _) = fifth.as_flattened().as_chunks::<4>();
    let message = load_messages(four);
    let message = std::array::from_fn(|i| Five(message[i], u32::from_be_bytes(words[i])));
    let hash = lanes::pair_hash(constants, message);
    store_digests(&hash.map(|word| word.0), four_out);
    *fifth_out = to_bytes(&hash.map(|word| word.1));
}

/// The words of four nonces in a row: their bytes reversed.
#[inline(always)]
fn four_nonces(first: u32) -> Four {
    let steps = Wide { four: [0, 1, 2, 3], one: 0 };
    reverse_bytes(Four::splat(first).plus(Four::load(&steps)))
}

/// A vector register and an integer register.
#[derive(Clone, Copy)]
struct Five(Four, u32);

impl Lanes for Five {
    #[inline(always)]
    fn splat(word: u32) -> Five {
        Five(Four::splat(word), word)
    }

    #[inline(always)]
    fn load(word: &Wide) -> Five {
        Five(Four::load(word), u32::load(word))
    }

    #[inline(always)]
    fn plus(self, other: Five) -> Five {
        Five(self.0.plus(other.0), self.1.plus(other.1))
    }

    #[inline(always)]
    fn xor(self, other: Five) -> Five {
        Five(self.0.xor(other.0), self.1.xor(other.1))
    }

    #[inline(always)]
    fn shr<const N: i32>(self) -> Five {
        Five(self.0.shr::<N>(), self.1.shr::<N>())
    }

    #[inline(always)]
    fn rotr<const R: i32, const L: i32>(self) -> Five {
        Five(self.0.rotr::<R, L>(), self.1.rotr::<R, L>())
    }

    #[inline(always)]
    fn select(self, ones: Five, zeros: Five) -> Five {
        Five(self.0.select(ones.0, zeros.0), self.1.select(ones.1, zeros.1))
    }

    #[inline(always)]
    fn opaque(self) -> Five {
        Five(self.0.opaque(), self.1)
    }

    #[inline(always)]
    fn with(self, other: Five) -> (Five, Five) {
        let (mine, others) = self.0.with(other.0);
        (Five(mine, self.1), Five(others, other.1))
    }

    #[inline(always)]
    fn abreast(mut self) -> Five {
        // SAFETY: there is no instruction in it.
        unsafe {
            asm!(
                "/* {0:v} {1:w} */",
                inout(vreg) self.0.0,
                inout(reg) self.1,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        self
    }
}

/// A vector register of four words.
#[derive(Clone, Copy)]
struct Four(uint32x4_t);

impl Lanes for Four {
    #[inline(always)]
    fn splat(word: u32) -> Four {
        // SAFETY: every target of this architecture that Rust's std supports has NEON; the
        // intrinsic touches no memory. The same holds for those below that give no other reason.
        Four(unsafe { vdupq_n_u32(word) })
    }

    #[inline(always)]
    fn load(word: &Wide) -> Four {
        // SAFETY: the pointer comes from a reference to the 16 bytes that are read.
        Four(unsafe { vld1q_u32(word.four.as_ptr()) })
    }

    #[inline(always)]
    fn plus(self, other: Four) -> Four {
        // SAFETY: see `splat`.
        Four(unsafe { vaddq_u32(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Four) -> Four {
        // SAFETY: see `splat`.
        Four(unsafe { veorq_u32(self.0, other.0) })
    }

    #[inline(always)]
    fn shr<const N: i32>(self) -> Four {
        // SAFETY: see `splat`.
        Four(unsafe { vshrq_n_u32::<N>(self.0) })
    }

    #[inline(always)]
    fn rotr<const R: i32, const L: i32>(self) -> Four {
        // SAFETY: see `splat`.
        Four(unsafe { vsriq_n_u32::<R>(vshlq_n_u32::<L>(self.0), self.0) })
    }

    #[inline(always)]
    fn select(self, ones: Four, zeros: Four) -> Four {
        // SAFETY: see `splat`.
        Four(unsafe { vbslq_u32(self.0, ones.0, zeros.0) })
    }

    #[inline(always)]
    fn opaque(mut self) -> Four {
        // SAFETY: there is no instruction in it.
        unsafe {
            asm!("/* {0:v} */", inout(vreg) self.0, options(pure, nomem, nostack, preserves_flags));
        }
        self
    }

    #[inline(always)]
    fn with(mut self, mut other: Four) -> (Four, Four) {
        // SAFETY: there is no instruction in it.
        unsafe {
            asm!(
                "/* {0:v} {1:v} */",
                inout(vreg) self.0,
                inout(vreg) other.0,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        (self, other)
    }
}

/// Reverses the bytes of each word.
#[inline(always)]
fn reverse_bytes(words: Four) -> Four {
    // SAFETY: see `Four::splat`.
    Four(unsafe { vreinterpretq_u32_u8(vrev32q_u8(vreinterpretq_u8_u32(words.0))) })
}

/// Whether any word is at or below `limit`.
#[inline(always)]
fn any_at_most(words: Four, limit: u32) -> bool {
    // SAFETY: see `Four::splat`.
    unsafe { vminvq_u32(words.0) <= limit }
}

/// The sixteen big-endian words of four messages, each word of all four in one register.
#[inline(always)]
fn load_messages(pairs: &[Pair; 4]) -> [Four; 16] {
    let mut message = [Four::splat(0); 16];
    for quarter in 0..4 {
        let rows = std::array::from_fn(|lane| {
            let bytes = &pairs[lane][quarter / 2][quarter % 2 * 16..][..16];
            // SAFETY: the slice has the 16 bytes that are read, and alignment is not asked for.
            let bytes = unsafe { vld1q_u8(bytes.as_ptr()) };
            // SAFETY: see `Four::splat`.
            Four(unsafe { vreinterpretq_u32_u8(vrev32q_u8(bytes)) })
        });
        message[quarter * 4..][..4].copy_from_slice(&transpose(rows));
    }
    message
}

/// The reverse of [`load_messages`] for eight words.
#[inline(always)]
fn store_digests(hash: &[Four; 8], out: &mut [[u8; 32]; 4]) {
    let (halves, _) = hash.as_chunks::<4>();
    for (half, words) in halves.iter().enumerate() {
        for (digest, row) in out.iter_mut().zip(transpose(*words)) {
            let bytes = &mut digest[half * 16..][..16];
            // SAFETY: the slice has the 16 bytes that are written, and alignment is not asked for.
            unsafe { vst1q_u8(bytes.as_mut_ptr(), vrev32q_u8(vreinterpretq_u8_u32(row.0))) };
        }
    }
}

/// Turns rows into columns.
#[inline(always)]
fn transpose([a, b, c, d]: [Four; 4]) -> [Four; 4] {
    // SAFETY: see `Four::splat`.
    unsafe {
        let (ac_low, ac_high) = (vzip1q_u32(a.0, c.0), vzip2q_u32(a.0, c.0));
        let (bd_low, bd_high) = (vzip1q_u32(b.0, d.0), vzip2q_u32(b.0, d.0));
        [
            Four(vzip1q_u32(ac_low, bd_low)),
            Four(vzip2q_u32(ac_low, bd_low)),
            Four(vzip1q_u32(ac_high, bd_high)),
            Four(vzip2q_u32(ac_high, bd_high)),
        ]
    }
}
