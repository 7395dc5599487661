//! What the work done would find on average.
//!
//! Pure. A share of credited difficulty d stands for d × 2³² hashes (exactly
//! [`HASHES_PER_DIFFICULTY`]); one hash has a real difficulty of at least x with probability
//! 1 ÷ (x × 2³²). So after work w (the sum of credited difficulties) the number of shares of real
//! difficulty x or more is Poisson-distributed with mean w ÷ x.

use std::f64::consts::LN_2;

/// Hashes that a share of difficulty 1 stands for on average: 2²⁵⁶ ÷ (0xffff × 2²⁰⁸).
pub const HASHES_PER_DIFFICULTY: f64 = 4_295_032_833.0;

/// Hashes a second of `work` (sum of credited difficulties) done in `seconds`; 0 for no time.
pub fn hashrate(work: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { work * HASHES_PER_DIFFICULTY / seconds } else { 0.0 }
}

/// The best share that `work` finds in the middle case: half of all who did as much work have a
/// better one. From 1 − e^(−w/x) = ½, x = w ÷ ln 2.
pub fn expected_best(work: f64) -> f64 {
    work / LN_2
}

/// The chance (0 to 1) of at least one block after work that finds `expected_blocks` on average.
pub fn chance_of_block(expected_blocks: f64) -> f64 {
    -(-expected_blocks).exp_m1()
}

/// Found blocks ÷ expected blocks: 1 is as expected, 2 twice as lucky. `None` before any work.
pub fn block_luck(found: u32, expected_blocks: f64) -> Option<f64> {
    (expected_blocks > 0.0).then(|| f64::from(found) / expected_blocks)
}

/// Seconds until a block is found on average, at `hashrate` hashes a second.
pub fn seconds_to_block(hashrate: f64, network_difficulty: f64) -> Option<f64> {
    (hashrate > 0.0).then(|| network_difficulty * HASHES_PER_DIFFICULTY / hashrate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terahash_for_a_day_finds_what_the_textbook_says() {
        let work = 1e12 * 86_400.0 / HASHES_PER_DIFFICULTY;
        assert!((hashrate(work, 86_400.0) / 1e12 - 1.0).abs() < 1e-12);
        // At difficulty 100 T: 2.01e7 ÷ 1e14 blocks a day.
        assert!((chance_of_block(work / 100e12) / 2.0116e-7 - 1.0).abs() < 1e-3);
        let seconds = seconds_to_block(1e12, 100e12).unwrap();
        assert!((seconds / (86_400.0 / 2.0116e-7) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn half_of_all_tries_beat_the_expected_best() {
        // The k-th hash's difficulty is 1 ÷ u for a uniform u; draw 4,001 runs by a Weyl series.
        let mut better = 0;
        let mut x = 0.5_f64;
        for _ in 0..4_001 {
            let smallest = (0..200).fold(1.0_f64, |smallest, _| {
                x = (x * 16_807.0 + 0.000_123).fract();
                smallest.min(x)
            });
            better += u32::from(1.0 / smallest > expected_best(200.0));
        }
        assert!((1_800..2_200).contains(&better), "{better} of 4001");
    }

    #[test]
    fn nothing_is_divided_by_zero() {
        assert_eq!(hashrate(1.0, 0.0), 0.0);
        assert_eq!(block_luck(0, 0.0), None);
        assert_eq!(seconds_to_block(0.0, 1.0), None);
        assert_eq!(chance_of_block(0.0), 0.0);
    }
}
