//! sha256d of headers and of merkle pairs, side by side in the lanes of whatever is a [`Lanes`].
//!
//! The code says each step once, for one word of SHA-256 that may stand for four or five at a time.
//! It leaves out what does not depend on the nonce, and what the answer does not depend on:
//!
//! - the first three rounds of a header's second block, and the schedule words 16 and 17, are the
//!   same for every nonce: [`HeaderTable`] holds them;
//! - of the second hash only the last word is wanted, which is known after round 60 of 63;
//! - words that are padding are constants, and so are sums of them with a round constant; of the
//!   block behind a 64-byte pair, that is the whole schedule.
//!
//! Everything here is unrolled by macros, since a loop would stay a loop, with its words in memory.

use super::Scan;
use super::soft::{IV, K};

/// A word of SHA-256 in each lane.
pub(super) trait Lanes: Copy {
    /// The same word in each lane.
    fn splat(word: u32) -> Self;
    /// The same word in each lane, from a table.
    fn load(word: &Wide) -> Self;
    /// Addition modulo 2^32.
    fn plus(self, other: Self) -> Self;
    /// Exclusive or.
    fn xor(self, other: Self) -> Self;
    /// Shift to the right.
    fn shr<const N: i32>(self) -> Self;
    /// Rotation to the right by `R`; `L` is 32 - `R`.
    fn rotr<const R: i32, const L: i32>(self) -> Self;
    /// The bits of `ones` where `self` has a 1, those of `zeros` elsewhere.
    fn select(self, ones: Self, zeros: Self) -> Self;

    // The three below change no value: they tell the compiler what it may not do with one. They are
    // worth up to a tenth of the time.

    /// The same, hidden: the compiler would take apart a choice by `b ^ c` between `a` and `b`, which
    /// is one instruction, into three.
    #[inline(always)]
    fn opaque(self) -> Self {
        self
    }

    /// Both, as soon as both are known: what uses one of them comes behind both.
    #[inline(always)]
    fn with(self, other: Self) -> (Self, Self) {
        (self, other)
    }

    /// The same, once all its parts are known: keeps registers of different kinds abreast.
    #[inline(always)]
    fn abreast(self) -> Self {
        self
    }
}

/// A word for each lane: four times over as a vector register loads it, and once more, since the
/// compiler would fetch an integer from the vector register instead of from memory.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Wide {
    pub(super) four: [u32; 4],
    pub(super) one: u32,
}

const fn wide(word: u32) -> Wide {
    Wide { four: [word; 4], one: word }
}

/// What is the same for every nonce of a scan.
pub(super) struct HeaderTable {
    /// The state after round 3. `a` and `e` lack the nonce's word, `h` has what round 4 adds to it.
    after_three: [Wide; 8],
    /// The round constants 0 to 17 with their words of the schedule added.
    kw: [Wide; 18],
    /// Words of the schedule, or what is constant in them.
    w16: Wide,
    w17: Wide,
    part18: Wide,
    part19: Wide,
    part31: Wide,
    part32: Wide,
    midstate: [Wide; 8],
}

impl HeaderTable {
    pub(super) fn new(scan: &Scan) -> HeaderTable {
        // The block's words but for the nonce, which counts as 0 here.
        let mut w = [0; 18];
        w[..3].copy_from_slice(&scan.tail);
        w[4] = 0x8000_0000;
        w[15] = 80 * 8;
        w[16] = w[0].plus(sigma0(w[1])).plus(w[9]).plus(sigma1(w[14]));
        w[17] = w[1].plus(sigma0(w[2])).plus(w[10]).plus(sigma1(w[15]));
        let mut state = scan.midstate;
        state[7] = state[7].plus(K[0]).plus(w[0]);
        for i in 1..=4 {
            round(&mut state, K[i].plus(w[i]));
        }
        HeaderTable {
            after_three: state.map(wide),
            kw: std::array::from_fn(|i| wide(K[i].plus(w[i]))),
            w16: wide(w[16]),
            w17: wide(w[17]),
            part18: wide(w[2].plus(w[11]).plus(sigma1(w[16]))),
            part19: wide(sigma0(w[4]).plus(w[12]).plus(sigma1(w[17]))),
            part31: wide(w[15].plus(sigma0(w[16]))),
            part32: wide(w[16].plus(sigma0(w[17]))),
            midstate: scan.midstate.map(wide),
        }
    }
}

/// What is always the same.
pub(super) struct Constants {
    iv: [Wide; 8],
    /// The last of them plus the first round constant.
    ivk: Wide,
    k: [Wide; 64],
    /// The round constants plus the schedule of the block behind a message of 64 bytes.
    kw_of_padding: [Wide; 64],
    /// The round constants plus the padding of a message of 32 bytes, in rounds 8 to 15.
    kw_of_digest: [Wide; 8],
}

/// The constants, behind a reference that the compiler cannot see through: it would build each of
/// them anew from immediate values otherwise.
pub(super) fn constants() -> &'static Constants {
    std::hint::black_box(&CONSTANTS)
}

static CONSTANTS: Constants = {
    let padding = padding_schedule();
    let mut iv = [wide(0); 8];
    let mut i = 0;
    while i < 8 {
        iv[i] = wide(IV[i]);
        i += 1;
    }
    let mut k = [wide(0); 64];
    let mut kw_of_padding = [wide(0); 64];
    let mut i = 0;
    while i < 64 {
        k[i] = wide(K[i]);
        kw_of_padding[i] = wide(K[i].wrapping_add(padding[i]));
        i += 1;
    }
    let mut kw_of_digest = [wide(0); 8];
    let mut i = 0;
    while i < 8 {
        let w = [0x8000_0000, 0, 0, 0, 0, 0, 0, 256];
        kw_of_digest[i] = wide(K[8 + i].wrapping_add(w[i]));
        i += 1;
    }
    Constants { iv, ivk: wide(IV[7].wrapping_add(K[0])), k, kw_of_padding, kw_of_digest }
};

/// The message schedule of the block behind a message of 64 bytes.
pub(super) const fn padding_schedule() -> [u32; 64] {
    let mut w = [0u32; 64];
    w[0] = 0x8000_0000;
    w[15] = 512;
    let mut i = 16;
    while i < 64 {
        let (x, y) = (w[i - 15], w[i - 2]);
        let s0 = x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3);
        let s1 = y.rotate_right(17) ^ y.rotate_right(19) ^ (y >> 10);
        w[i] = w[i - 16].wrapping_add(s0).wrapping_add(w[i - 7]).wrapping_add(s1);
        i += 1;
    }
    w
}

/// Runs `$body` for each number, as a constant.
macro_rules! unrolled {
    ($i:ident in [$($n:literal)*] $body:block) => { $({ const $i: usize = $n; $body })* };
}

/// The last word of the hash (big-endian in its last 4 bytes) of the header with each nonce.
/// `nonce` is the nonce's word of the block: its bytes reversed.
#[inline(always)]
pub(super) fn header_last_word<L: Lanes>(t: &HeaderTable, c: &Constants, nonce: L) -> L {
    let mut s: [L; 8] = std::array::from_fn(|i| L::load(&t.after_three[i]));
    s[0] = s[0].plus(nonce);
    s[4] = s[4].plus(nonce);
    unrolled!(I in [5 6 7 8 9 10 11 12 13 14 15 16 17] {
        round(&mut s, L::load(&t.kw[I]));
    });

    // Words 18 to 33 in the places 2 to 15, 0 and 1, without what padding leaves at 0.
    let mut w = [nonce; 16];
    let w16 = L::load(&t.w16);
    let w17 = L::load(&t.w17);
    w[2] = sigma0(nonce).plus(L::load(&t.part18));
    w[3] = nonce.plus(L::load(&t.part19));
    w[4] = sigma1(w[2]).plus(L::splat(0x8000_0000));
    w[5] = sigma1(w[3]);
    w[6] = sigma1(w[4]).plus(L::splat(80 * 8));
    w[7] = sigma1(w[5]).plus(w16);
    w[8] = sigma1(w[6]).plus(w17);
    w[9] = sigma1(w[7]).plus(w[2]);
    w[10] = sigma1(w[8]).plus(w[3]);
    w[11] = sigma1(w[9]).plus(w[4]);
    w[12] = sigma1(w[10]).plus(w[5]);
    w[13] = sigma1(w[11]).plus(w[6]);
    w[14] = sigma1(w[12]).plus(w[7]).plus(L::splat(sigma0(640u32)));
    w[15] = sigma1(w[13]).plus(w[8]).plus(L::load(&t.part31));
    w[0] = sigma1(w[14]).plus(w[9]).plus(L::load(&t.part32));
    w[1] = sigma1(w[15]).plus(w[10]).plus(w17).plus(sigma0(w[2]));
    unrolled!(I in [18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33] {
        round(&mut s, L::load(&c.k[I]).plus(w[I % 16]));
    });
    unrolled!(I in [34 35 36 37 38 39 40 41 42 43 44 45 46 47 48
                    49 50 51 52 53 54 55 56 57 58 59 60 61 62 63] {
        extend(&mut w, I);
        round(&mut s, L::load(&c.k[I]).plus(w[I % 16]));
    });
    last_round(&mut s);
    let first: [L; 8] = std::array::from_fn(|i| s[i].plus(L::load(&t.midstate[i])));

    let s = digest_rounds_to_60(c, &first);
    s[4].plus(L::load(&c.iv[7]))
}

/// The double hash of each 64-byte message, as eight big-endian words.
#[inline(always)]
pub(super) fn pair_hash<L: Lanes>(c: &Constants, message: [L; 16]) -> [L; 8] {
    let mut w = message;
    let mut s: [L; 8] = std::array::from_fn(|i| L::load(&c.iv[i]));
    s[7] = L::load(&c.ivk).plus(w[0]);
    unrolled!(I in [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
        round(&mut s, L::load(&c.k[I]).plus(w[I]));
    });
    unrolled!(I in [16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
                    32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47
                    48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63] {
        extend(&mut w, I);
        round(&mut s, L::load(&c.k[I]).plus(w[I % 16]));
    });
    last_round(&mut s);
    let middle: [L; 8] = std::array::from_fn(|i| s[i].plus(L::load(&c.iv[i])));

    let mut s = middle;
    s[7] = s[7].plus(L::load(&c.kw_of_padding[0]));
    unrolled!(I in [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
                    16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
                    32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47
                    48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63] {
        round(&mut s, L::load(&c.kw_of_padding[I]));
    });
    last_round(&mut s);
    let first: [L; 8] = std::array::from_fn(|i| s[i].plus(middle[i]));

    digest_rounds(c, &first)
}

/// The rounds 0 to 60 of the second hash: enough for the last word, which leaves round 60 as `e`
/// and then only moves on.
#[inline(always)]
fn digest_rounds_to_60<L: Lanes>(c: &Constants, first: &[L; 8]) -> [L; 8] {
    let (mut s, _) = digest_rounds_but_four(c, first);
    last_round(&mut s);
    s
}

/// The second hash: of the eight words of the first.
#[inline(always)]
fn digest_rounds<L: Lanes>(c: &Constants, first: &[L; 8]) -> [L; 8] {
    let (mut s, mut w) = digest_rounds_but_four(c, first);
    unrolled!(I in [61 62 63] {
        extend(&mut w, I);
        round(&mut s, L::load(&c.k[I]).plus(w[I % 16]));
    });
    last_round(&mut s);
    std::array::from_fn(|i| s[i].plus(L::load(&c.iv[i])))
}

#[inline(always)]
fn digest_rounds_but_four<L: Lanes>(c: &Constants, first: &[L; 8]) -> ([L; 8], [L; 16]) {
    let mut w = [L::splat(0); 16];
    w[..8].copy_from_slice(first);
    w[8] = L::splat(0x8000_0000);
    w[15] = L::splat(256);
    let mut s: [L; 8] = std::array::from_fn(|i| L::load(&c.iv[i]));
    s[7] = L::load(&c.ivk).plus(w[0]);
    unrolled!(I in [1 2 3 4 5 6 7] {
        round(&mut s, L::load(&c.k[I]).plus(w[I]));
    });
    unrolled!(I in [8 9 10 11 12 13 14 15] {
        round(&mut s, L::load(&c.kw_of_digest[I - 8]));
    });
    unrolled!(I in [16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
                    32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47
                    48 49 50 51 52 53 54 55 56 57 58 59 60] {
        extend(&mut w, I);
        round(&mut s, L::load(&c.k[I]).plus(w[I % 16]));
    });
    (s, w)
}

/// Puts word `i` of the schedule in the place of word `i - 16`.
#[inline(always)]
fn extend<L: Lanes>(w: &mut [L; 16], i: usize) {
    w[i % 16] = w[i % 16]
        .plus(sigma0(w[(i + 1) % 16]))
        .plus(w[(i + 9) % 16])
        .plus(sigma1(w[(i + 14) % 16]));
}

/// One round. The last word of the state comes in with the round's constant and its word of the
/// schedule added, and goes out with `next` added, which are those of the next round.
#[inline(always)]
fn round<L: Lanes>(s: &mut [L; 8], next: L) {
    let [a, b, c, d, e, f, g, h] = *s;
    // After this nobody needs `g` but the choice below, whose instruction overwrites it.
    let (g, next) = g.with(g.plus(next));
    let t1 = h.plus(e.select(f, g)).plus(big_sigma1(e));
    // The majority: where b and c differ, a decides.
    let t2 = big_sigma0(a).plus(b.xor(c).opaque().select(a, b));
    *s = [t1.plus(t2).abreast(), a, b, c, d.plus(t1), e, f, next];
}

/// The last of some rounds.
#[inline(always)]
fn last_round<L: Lanes>(s: &mut [L; 8]) {
    let [a, b, c, d, e, f, g, h] = *s;
    let t1 = h.plus(e.select(f, g)).plus(big_sigma1(e));
    let t2 = big_sigma0(a).plus(b.xor(c).opaque().select(a, b));
    *s = [t1.plus(t2), a, b, c, d.plus(t1), e, f, g];
}

#[inline(always)]
fn big_sigma0<L: Lanes>(x: L) -> L {
    x.rotr::<2, 30>().xor(x.rotr::<13, 19>()).xor(x.rotr::<22, 10>())
}

#[inline(always)]
fn big_sigma1<L: Lanes>(x: L) -> L {
    x.rotr::<6, 26>().xor(x.rotr::<11, 21>()).xor(x.rotr::<25, 7>())
}

#[inline(always)]
fn sigma0<L: Lanes>(x: L) -> L {
    x.rotr::<7, 25>().xor(x.rotr::<18, 14>()).xor(x.shr::<3>())
}

#[inline(always)]
fn sigma1<L: Lanes>(x: L) -> L {
    x.rotr::<17, 15>().xor(x.rotr::<19, 13>()).xor(x.shr::<10>())
}

/// One lane, in an integer register.
impl Lanes for u32 {
    #[inline(always)]
    fn splat(word: u32) -> u32 {
        word
    }

    #[inline(always)]
    fn load(word: &Wide) -> u32 {
        word.one
    }

    #[inline(always)]
    fn plus(self, other: u32) -> u32 {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn xor(self, other: u32) -> u32 {
        self ^ other
    }

    #[inline(always)]
    fn shr<const N: i32>(self) -> u32 {
        self >> N
    }

    #[inline(always)]
    fn rotr<const R: i32, const L: i32>(self) -> u32 {
        self.rotate_right(R as u32)
    }

    #[inline(always)]
    fn select(self, ones: u32, zeros: u32) -> u32 {
        (self & ones) | (!self & zeros)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Midstate, State, soft, to_bytes};
    use super::*;

    #[test]
    fn one_lane_of_headers_agrees_with_the_reference() {
        let midstate = Midstate([1, 2, 3, 4, 5, 6, 7, 0xffff_fff8]);
        let scan = Scan::new(&midstate, b"twelve bytes", 0);
        let table = HeaderTable::new(&scan);
        for nonce in [0u32, 1, 0x1234_5678, u32::MAX] {
            let last = header_last_word(&table, constants(), nonce.swap_bytes());
            let hash = scan.hash_by(soft::compress, nonce);
            assert_eq!(last.to_be_bytes(), hash[28..], "nonce {nonce}");
        }
    }

    #[test]
    fn one_lane_of_pairs_agrees_with_the_reference() {
        let bytes: [u8; 64] = std::array::from_fn(|i| (i * i) as u8);
        let (words, _) = bytes.as_chunks::<4>();
        let message = std::array::from_fn(|i| u32::from_be_bytes(words[i]));
        let hash: State = pair_hash(constants(), message);
        assert_eq!(to_bytes(&hash), soft::sha256d(&bytes));
    }
}
