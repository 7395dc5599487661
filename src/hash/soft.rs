//! SHA-256 in plain integer arithmetic (FIPS 180-4): the reference.
//!
//! Every other backend must agree with this one bit for bit; otherwise this one is used. It is also
//! the single-block path of processors without SHA-256 instructions, so it is unrolled sixteen
//! rounds at a time. It has no other optimisations, and shares no code with the backends that it
//! checks.

use super::{Pair, Scan, State};
use std::ops::RangeInclusive;

/// The chaining value before the first block (FIPS 180-4, 5.3.3).
pub const IV: State = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The round constants (FIPS 180-4, 4.2.2).
#[rustfmt::skip]
pub const K: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// Absorbs whole 64-byte blocks into `state`.
pub fn compress(state: &mut State, blocks: &[[u8; 64]]) {
    // The compiler may not see through this: 64 loads of a table are cheaper on ARM than 64 pairs
    // of instructions that build the constants.
    let k = std::hint::black_box(&K);
    for block in blocks {
        compress_block(state, block, k);
    }
}

/// SHA-256 of SHA-256 of `bytes`, by the reference alone: for a last look before a hash is called
/// too high.
pub fn sha256d(bytes: &[u8]) -> [u8; 32] {
    super::sha256d_by(compress, bytes)
}

/// The first nonce of `nonces` whose header passes `scan`.
pub(super) fn scan(scan: &Scan, nonces: RangeInclusive<u32>) -> Option<u32> {
    super::scan_by(compress, scan, nonces)
}

/// The double hash of each pair.
pub(super) fn pairs(pairs: &[Pair], out: &mut [[u8; 32]]) {
    super::pairs_by(compress, pairs, out);
}

/// One block, without a loop or a branch: the loop over its rounds is written out.
#[inline(never)]
fn compress_block(state: &mut State, block: &[u8; 64], k: &[u32; 64]) {
    let (words, _) = block.as_chunks::<4>();
    let mut w: [u32; 16] = std::array::from_fn(|i| u32::from_be_bytes(words[i]));
    let mut s = *state;
    sixteen_rounds::<0>(&mut s, &w, k);
    extend(&mut w);
    sixteen_rounds::<16>(&mut s, &w, k);
    extend(&mut w);
    sixteen_rounds::<32>(&mut s, &w, k);
    extend(&mut w);
    sixteen_rounds::<48>(&mut s, &w, k);
    for (word, add) in state.iter_mut().zip(s) {
        *word = word.wrapping_add(add);
    }
}

/// Replaces the sixteen words of the message schedule by the sixteen that follow.
#[inline(always)]
fn extend(w: &mut [u32; 16]) {
    macro_rules! words {
        ($($i:literal)*) => { $({
            let (w1, w14) = (w[($i + 1) % 16], w[($i + 14) % 16]);
            let s0 = w1.rotate_right(7) ^ w1.rotate_right(18) ^ (w1 >> 3);
            let s1 = w14.rotate_right(17) ^ w14.rotate_right(19) ^ (w14 >> 10);
            w[$i] = w[$i].wrapping_add(s0).wrapping_add(w[($i + 9) % 16]).wrapping_add(s1);
        })* };
    }
    words!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}

#[inline(always)]
fn sixteen_rounds<const FROM: usize>(s: &mut State, w: &[u32; 16], k: &[u32; 64]) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *s;
    // The letters move on instead of the values: after eight rounds each is back in its place.
    macro_rules! round {
        ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $i:expr) => {
            let s1 = $e.rotate_right(6) ^ $e.rotate_right(11) ^ $e.rotate_right(25);
            let ch = ($e & $f) ^ (!$e & $g);
            let t1 =
                $h.wrapping_add(k[FROM + $i]).wrapping_add(w[$i]).wrapping_add(ch).wrapping_add(s1);
            let s0 = $a.rotate_right(2) ^ $a.rotate_right(13) ^ $a.rotate_right(22);
            let maj = ($a & $b) ^ ($a & $c) ^ ($b & $c);
            $d = $d.wrapping_add(t1);
            $h = t1.wrapping_add(s0).wrapping_add(maj);
        };
    }
    macro_rules! eight_rounds {
        ($i:expr) => {
            round!(a b c d e f g h, $i);
            round!(h a b c d e f g, $i + 1);
            round!(g h a b c d e f, $i + 2);
            round!(f g h a b c d e, $i + 3);
            round!(e f g h a b c d, $i + 4);
            round!(d e f g h a b c, $i + 5);
            round!(c d e f g h a b, $i + 6);
            round!(b c d e f g h a, $i + 7);
        };
    }
    eight_rounds!(0);
    eight_rounds!(8);
    *s = [a, b, c, d, e, f, g, h];
}
