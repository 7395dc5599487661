//! sha256d with the SHA-256 instructions of ARMv8: Raspberry Pi 5, and most other 64-bit ARM.
//!
//! An instruction does four rounds for one half of the state, but the next four rounds wait for it.
//! Two headers or pairs are therefore hashed in turns ("two ways"). Left out are the first four
//! rounds of a header's second block, which are linear in the nonce; whatever of the schedule is
//! constant; and of the second hash all but the last word. Single blocks are hashed by the crate
//! sha2, which finds the same instructions.
#![allow(unsafe_code)]

use super::soft::{IV, K};
use super::{Pair, Scan, State};
use sha2::block_api::compress256;
use std::arch::aarch64::*;
use std::arch::is_aarch64_feature_detected;
use std::ops::RangeInclusive;

/// Whether this processor has the instructions.
pub(super) fn detected() -> bool {
    is_aarch64_feature_detected!("sha2")
}

/// Absorbs whole blocks.
pub(super) fn compress(state: &mut State, blocks: &[[u8; 64]]) {
    compress256(state, blocks);
}

/// The first nonce of `nonces` whose header passes `scan`.
pub(super) fn scan(scan: &Scan, nonces: RangeInclusive<u32>) -> Option<u32> {
    assert!(detected(), "the backend is offered only where the instructions are");
    let table = HeaderTable::new(scan);
    let k = std::hint::black_box(&CONSTANTS);
    let end = *nonces.end();
    nonces.step_by(WAYS).find_map(|first| {
        // SAFETY: the processor has the instructions, as the assertion has found.
        if !unsafe { any_passes(&table, k, first, scan.top_word) } {
            return None;
        }
        let mut batch = first..=end.min(first.saturating_add(WAYS as u32 - 1));
        // SAFETY: as above.
        batch.find(|&nonce| unsafe { one_passes(&table, k, nonce, scan.top_word) })
    })
}

/// The double hash of each pair.
pub(super) fn pairs(pairs: &[Pair], out: &mut [[u8; 32]]) {
    assert!(detected(), "the backend is offered only where the instructions are");
    let k = std::hint::black_box(&CONSTANTS);
    let (batches, rest) = pairs.as_chunks::<WAYS>();
    let (batches_out, rest_out) = out.as_chunks_mut::<WAYS>();
    for (batch, out) in batches.iter().zip(batches_out) {
        // SAFETY: the processor has the instructions, as the assertion has found.
        unsafe { hash_two_pairs(k, batch, out) };
    }
    for (pair, out) in rest.iter().zip(rest_out) {
        // SAFETY: as above.
        unsafe { hash_one_pair(k, pair, out) };
    }
}

/// Headers or pairs hashed in turns.
const WAYS: usize = 2;

/// Four words, as a vector register loads them.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Quad([u32; 4]);

/// What is the same for every nonce of a scan. A quad of the schedule holds words 4q to 4q + 3.
struct HeaderTable {
    /// The state after round 3, in which the words `a` and `e` lack the nonce's word.
    abcd: Quad,
    efgh: Quad,
    /// Words 16 and 17.
    w4: Quad,
    /// What words 18 and 19 are but for the nonce.
    part18: u32,
    part19: u32,
    /// The part of words 28 to 31 that comes from the words 12 to 16.
    part7: Quad,
    midstate: [Quad; 2],
}

impl HeaderTable {
    fn new(scan: &Scan) -> HeaderTable {
        let sigma0 = |x: u32| x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3);
        let sigma1 = |x: u32| x.rotate_right(17) ^ x.rotate_right(19) ^ (x >> 10);
        let [w0, w1, w2] = scan.tail;
        let w16 = w0.wrapping_add(sigma0(w1));
        let w17 = w1.wrapping_add(sigma0(w2)).wrapping_add(sigma1(BITS_OF_HEADER));
        let [abcd, efgh] = four_rounds(&scan.midstate, [w0, w1, w2, 0]);
        HeaderTable {
            abcd,
            efgh,
            w4: Quad([w16, w17, 0, 0]),
            part18: w2.wrapping_add(sigma1(w16)),
            part19: sigma0(END_BIT).wrapping_add(sigma1(w17)),
            part7: Quad([0, 0, sigma0(BITS_OF_HEADER), BITS_OF_HEADER.wrapping_add(sigma0(w16))]),
            midstate: halves(&scan.midstate),
        }
    }
}

/// The first four rounds, in integer registers.
fn four_rounds(state: &State, w: [u32; 4]) -> [Quad; 2] {
    let mut s = *state;
    for (w, k) in w.into_iter().zip(K) {
        let [a, b, c, d, e, f, g, h] = s;
        let t1 = (e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25))
            .wrapping_add((e & f) ^ (!e & g))
            .wrapping_add(h)
            .wrapping_add(k)
            .wrapping_add(w);
        let t2 = (a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22))
            .wrapping_add((a & b) ^ (a & c) ^ (b & c));
        s = [t1.wrapping_add(t2), a, b, c, d.wrapping_add(t1), e, f, g];
    }
    halves(&s)
}

const fn halves(state: &State) -> [Quad; 2] {
    let [a, b, c, d, e, f, g, h] = *state;
    [Quad([a, b, c, d]), Quad([e, f, g, h])]
}

const END_BIT: u32 = 0x8000_0000;
const BITS_OF_HEADER: u32 = 80 * 8;

/// What is always the same.
struct Constants {
    iv: [Quad; 2],
    k: [Quad; 16],
    /// The round constants of quads 1 to 3 plus the padding of a header.
    kw_of_header: [Quad; 3],
    /// The round constants of quads 2 and 3 plus the padding of a message of 32 bytes.
    kw_of_digest: [Quad; 2],
    /// The round constants plus the schedule of the block behind a message of 64 bytes.
    kw_of_padding: [Quad; 16],
    /// A quad of padding: the end bit.
    end_bit: Quad,
    /// The last quad of the padding of a message of 32 bytes.
    bits_of_digest: Quad,
    /// The last quad of the padding of a header.
    bits_of_header: Quad,
}

static CONSTANTS: Constants = {
    let k = k_plus(&[0; 64]);
    let digest = k_plus(&{
        let mut w = [0; 64];
        w[8] = END_BIT;
        w[15] = 256;
        w
    });
    let header = k_plus(&{
        let mut w = [0; 64];
        w[4] = END_BIT;
        w[15] = BITS_OF_HEADER;
        w
    });
    Constants {
        iv: halves(&IV),
        k,
        kw_of_header: [header[1], header[2], header[3]],
        kw_of_digest: [digest[2], digest[3]],
        kw_of_padding: k_plus(&super::lanes::padding_schedule()),
        end_bit: Quad([END_BIT, 0, 0, 0]),
        bits_of_digest: Quad([0, 0, 0, 256]),
        bits_of_header: Quad([0, 0, 0, BITS_OF_HEADER]),
    }
};

const fn k_plus(w: &[u32; 64]) -> [Quad; 16] {
    let mut quads = [Quad([0; 4]); 16];
    let mut i = 0;
    while i < 64 {
        quads[i / 4].0[i % 4] = K[i].wrapping_add(w[i]);
        i += 1;
    }
    quads
}

/// Runs `$body` for each number, as a constant.
macro_rules! unrolled {
    ($i:ident in [$($n:literal)*] $body:block) => { $({ const $i: usize = $n; $body })* };
}

/// Whether any of the nonces from `first` on, one for each way, has a low enough last word.
#[inline(never)]
#[target_feature(enable = "neon,sha2")]
fn any_passes(t: &HeaderTable, k: &Constants, first: u32, top_word: u32) -> bool {
    passes(t, k, [first, first.wrapping_add(1)], top_word)
}

#[inline(never)]
#[target_feature(enable = "neon,sha2")]
fn one_passes(t: &HeaderTable, k: &Constants, nonce: u32, top_word: u32) -> bool {
    passes(t, k, [nonce], top_word)
}

#[inline(never)]
#[target_feature(enable = "neon,sha2")]
fn hash_two_pairs(k: &Constants, pairs: &[Pair; WAYS], out: &mut [[u8; 32]; WAYS]) {
    hash_pairs(k, pairs, out);
}

#[inline(never)]
#[target_feature(enable = "neon,sha2")]
fn hash_one_pair(k: &Constants, pair: &Pair, out: &mut [u8; 32]) {
    hash_pairs(k, std::array::from_ref(pair), std::array::from_mut(out));
}

#[inline]
#[target_feature(enable = "neon,sha2")]
fn passes<const N: usize>(
    t: &HeaderTable,
    k: &Constants,
    mut nonces: [u32; N],
    top_word: u32,
) -> bool {
    for nonce in &mut nonces {
        *nonce = nonce.swap_bytes();
    }
    let mut any = false;
    for last in header_last_words(t, k, nonces) {
        any |= last.swap_bytes() <= top_word;
    }
    any
}

/// The last word of the hash (big-endian in its last 4 bytes) of the header with each nonce, given
/// as the words of the block: their bytes reversed.
#[inline]
#[target_feature(enable = "neon,sha2")]
fn header_last_words<const N: usize>(t: &HeaderTable, k: &Constants, nonces: [u32; N]) -> [u32; N] {
    let zero = vdupq_n_u32(0);
    let mut s = [Halves { abcd: zero, efgh: zero }; N];
    // Quads 4 to 15 of the schedule, each in the place of its number modulo 4.
    let mut w = [[zero; 4]; N];
    for (way, nonce) in nonces.into_iter().enumerate() {
        let word = vsetq_lane_u32::<0>(nonce, zero);
        s[way].abcd = vaddq_u32(load(&t.abcd), word);
        s[way].efgh = vaddq_u32(load(&t.efgh), word);
        let sigma0 = nonce.rotate_right(7) ^ nonce.rotate_right(18) ^ (nonce >> 3);
        let w18 = u64::from(t.part18.wrapping_add(sigma0));
        let w19 = u64::from(t.part19.wrapping_add(nonce));
        let w4 = vreinterpretq_u64_u32(load(&t.w4));
        w[way][0] = vreinterpretq_u32_u64(vsetq_lane_u64::<1>(w18 | w19 << 32, w4));
    }
    unrolled!(I in [0 1 2] {
        for s in &mut s {
            s.rounds(load(&k.kw_of_header[I]));
        }
    });
    for way in 0..N {
        s[way].rounds(vaddq_u32(w[way][0], load(&k.k[4])));
        w[way][1] = vsha256su1q_u32(load(&k.end_bit), load(&k.bits_of_header), w[way][0]);
    }
    for way in 0..N {
        s[way].rounds(vaddq_u32(w[way][1], load(&k.k[5])));
        w[way][2] = vsha256su1q_u32(zero, w[way][0], w[way][1]);
    }
    for way in 0..N {
        s[way].rounds(vaddq_u32(w[way][2], load(&k.k[6])));
        w[way][3] = vsha256su1q_u32(load(&t.part7), w[way][1], w[way][2]);
    }
    for way in 0..N {
        s[way].rounds(vaddq_u32(w[way][3], load(&k.k[7])));
    }
    unrolled!(I in [8 9 10 11 12 13 14 15] {
        for way in 0..N {
            extend(&mut w[way], I);
            s[way].rounds(vaddq_u32(w[way][I % 4], load(&k.k[I])));
        }
    });
    for (s, w) in s.iter_mut().zip(&mut w) {
        w[0] = vaddq_u32(s.abcd, load(&t.midstate[0]));
        w[1] = vaddq_u32(s.efgh, load(&t.midstate[1]));
    }

    second_hash(k, &mut s, &mut w);
    let mut last = [0; N];
    for (last, s) in last.iter_mut().zip(s) {
        // The words that round 60 leaves as `e` are three places further on after round 63.
        *last = vgetq_lane_u32::<3>(s.efgh).wrapping_add(IV[7]);
    }
    last
}

/// The double hash of each pair.
#[inline]
#[target_feature(enable = "neon,sha2")]
fn hash_pairs<const N: usize>(k: &Constants, pairs: &[Pair; N], out: &mut [[u8; 32]; N]) {
    let zero = vdupq_n_u32(0);
    let iv = Halves { abcd: load(&k.iv[0]), efgh: load(&k.iv[1]) };
    let mut s = [iv; N];
    let mut w = [[zero; 4]; N];
    for (w, pair) in w.iter_mut().zip(pairs) {
        let (quads, _) = pair.as_flattened().as_chunks::<16>();
        for (w, bytes) in w.iter_mut().zip(quads) {
            // SAFETY: the array has the 16 bytes that are read, and alignment is not asked for.
            let bytes = unsafe { vld1q_u8(bytes.as_ptr()) };
            *w = vreinterpretq_u32_u8(vrev32q_u8(bytes));
        }
    }
    unrolled!(I in [0 1 2 3] {
        for (s, w) in s.iter_mut().zip(&w) {
            s.rounds(vaddq_u32(w[I], load(&k.k[I])));
        }
    });
    unrolled!(I in [4 5 6 7 8 9 10 11 12 13 14 15] {
        for (s, w) in s.iter_mut().zip(&mut w) {
            extend(w, I);
            s.rounds(vaddq_u32(w[I % 4], load(&k.k[I])));
        }
    });
    let mut middle = s;
    for (s, middle) in s.iter_mut().zip(&mut middle) {
        s.add(&iv);
        *middle = *s;
    }
    unrolled!(I in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
        for s in &mut s {
            s.rounds(load(&k.kw_of_padding[I]));
        }
    });
    for ((s, w), middle) in s.iter_mut().zip(&mut w).zip(&middle) {
        s.add(middle);
        w[0] = s.abcd;
        w[1] = s.efgh;
    }
    second_hash(k, &mut s, &mut w);
    for (s, out) in s.iter_mut().zip(out) {
        s.add(&iv);
        *out = s.to_bytes();
    }
}

/// The second hash without its last addition, of the eight words in the first two quads of `w`.
#[inline]
#[target_feature(enable = "neon,sha2")]
fn second_hash<const N: usize>(k: &Constants, s: &mut [Halves; N], w: &mut [[uint32x4_t; 4]; N]) {
    *s = [Halves { abcd: load(&k.iv[0]), efgh: load(&k.iv[1]) }; N];
    for (s, w) in s.iter_mut().zip(&mut *w) {
        w[2] = load(&k.end_bit);
        w[3] = load(&k.bits_of_digest);
        s.rounds(vaddq_u32(w[0], load(&k.k[0])));
    }
    for (s, w) in s.iter_mut().zip(&*w) {
        s.rounds(vaddq_u32(w[1], load(&k.k[1])));
    }
    unrolled!(I in [0 1] {
        for s in &mut *s {
            s.rounds(load(&k.kw_of_digest[I]));
        }
    });
    unrolled!(I in [4 5] {
        for (s, w) in s.iter_mut().zip(&mut *w) {
            extend(w, I);
            s.rounds(vaddq_u32(w[I % 4], load(&k.k[I])));
        }
    });
    for (s, w) in s.iter_mut().zip(&mut *w) {
        // Quads 2 and 3 hold nothing that the first half of the extension would change in quad 2.
        w[2] = vsha256su1q_u32(w[2], w[0], w[1]);
        s.rounds(vaddq_u32(w[2], load(&k.k[6])));
    }
    unrolled!(I in [7 8 9 10 11 12 13 14 15] {
        for (s, w) in s.iter_mut().zip(&mut *w) {
            extend(w, I);
            s.rounds(vaddq_u32(w[I % 4], load(&k.k[I])));
        }
    });
}

/// Puts quad `i` of the schedule in the place of quad `i - 4`.
#[inline]
#[target_feature(enable = "neon,sha2")]
fn extend(w: &mut [uint32x4_t; 4], i: usize) {
    let half = vsha256su0q_u32(w[i % 4], w[(i + 1) % 4]);
    w[i % 4] = vsha256su1q_u32(half, w[(i + 2) % 4], w[(i + 3) % 4]);
}

/// The two halves of a state.
#[derive(Clone, Copy)]
struct Halves {
    abcd: uint32x4_t,
    efgh: uint32x4_t,
}

impl Halves {
    /// Four rounds; `kw` is the sum of the round constants and the words of the schedule.
    #[inline]
    #[target_feature(enable = "neon,sha2")]
    fn rounds(&mut self, kw: uint32x4_t) {
        let abcd = vsha256hq_u32(self.abcd, self.efgh, kw);
        self.efgh = vsha256h2q_u32(self.efgh, self.abcd, kw);
        self.abcd = abcd;
    }

    #[inline]
    #[target_feature(enable = "neon,sha2")]
    fn add(&mut self, other: &Halves) {
        self.abcd = vaddq_u32(self.abcd, other.abcd);
        self.efgh = vaddq_u32(self.efgh, other.efgh);
    }

    #[inline]
    #[target_feature(enable = "neon,sha2")]
    fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (quad, bytes) in [self.abcd, self.efgh].into_iter().zip(bytes.as_chunks_mut::<16>().0) {
            // SAFETY: the array has the 16 bytes that are written, and alignment is not asked for.
            unsafe { vst1q_u8(bytes.as_mut_ptr(), vrev32q_u8(vreinterpretq_u8_u32(quad))) };
        }
        bytes
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn load(quad: &Quad) -> uint32x4_t {
    // SAFETY: the pointer comes from a reference to the 16 bytes that are read.
    unsafe { vld1q_u32(quad.0.as_ptr()) }
}
