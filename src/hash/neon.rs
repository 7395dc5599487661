//! sha256d in the vector registers that every 64-bit ARM has: four headers or pairs in a register,
//! and a fifth in the integer registers beside them.
//!
//! A Cortex-A53 starts one vector and one other instruction each cycle, a Cortex-A72 two and one:
//! the fifth lane runs where the others leave room.
#![allow(unsafe_code)]

use super::lanes::{self, Constants, HeaderTable, Lanes, Wide};
use super::{Pair, Scan, soft};
use std::arch::aarch64::*;
use std::arch::asm;
use std::ops::RangeInclusive;

/// The first nonce of `nonces` whose header passes `scan`.
pub(super) fn scan(scan: &Scan, nonces: RangeInclusive<u32>) -> Option<u32> {
    let table = HeaderTable::new(scan);
    let constants = lanes::constants();
    let end = *nonces.end();
    nonces.step_by(LANES).find_map(|first| {
        if !any_passes(&table, constants, first, scan.top_word) {
            return None;
        }
        // Which one it is, and whether it lies in the range at all, the reference says.
        soft::scan(scan, first..=end.min(first.saturating_add(LANES as u32 - 1)))
    })
}

/// The double hash of each pair.
pub(super) fn pairs(pairs: &[Pair], out: &mut [[u8; 32]]) {
    let constants = lanes::constants();
    let (batches, rest) = pairs.as_chunks::<LANES>();
    let (batches_out, rest_out) = out.as_chunks_mut::<LANES>();
    for (batch, out) in batches.iter().zip(batches_out) {
        hash_pairs(constants, batch, out);
    }
    soft::pairs(rest, rest_out);
}

const LANES: usize = 4;

/// Whether any of the nonces from `first` on, one for each lane, has a low enough last word.
#[inline(never)]
fn any_passes(table: &HeaderTable, constants: &Constants, first: u32, top_word: u32) -> bool {
    let nonces = reverse_bytes(Four::splat(first).plus(Four::load(&Wide([0, 1, 2, 3]))));
    any_at_most(reverse_bytes(lanes::header_last_word(table, constants, nonces)), top_word)
}

#[inline(never)]
fn hash_pairs(constants: &Constants, pairs: &[Pair; LANES], out: &mut [[u8; 32]; LANES]) {
    store_digests(&lanes::pair_hash(constants, load_messages(pairs)), out);
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
        Four(unsafe { vld1q_u32(word.0.as_ptr()) })
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
            asm!("/* {0:v} */", inout(vreg) self.0, options(pure, nomem, nostack, preserves_flags))
        };
        self
    }

    #[inline(always)]
    fn after(mut self, other: &mut Four) -> Four {
        // SAFETY: there is no instruction in it.
        unsafe {
            asm!("/* {0:v} {1:v} */", inout(vreg) self.0, inout(vreg) other.0, options(pure, nomem, nostack, preserves_flags))
        };
        self
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
