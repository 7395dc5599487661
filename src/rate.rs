//! What a miner's shares prove: a hashrate, and how surely.
//!
//! There is one definition of a rate, for the page, the odds, alarms, the API and the metrics: the
//! work of the accepted shares of a window, divided by the time within the window in which the miner
//! could have sent them. That is the time in which it was connected, and hence Soloist was running,
//! as monotonic time measured it. An absence neither lowers a rate nor raises it.
//!
//! Shares come as a Poisson process, each with the weight of its difficulty. The bounds are those of
//! Fay and Feuer (*Statistics in Medicine* 16, 1997) for weighted sums of Poisson counts, with the
//! quantiles of χ² by Wilson and Hilferty (*PNAS* 17, 1931). They are never too narrow for shares of
//! one difficulty: both err to the safe side where shares are few.

use crate::difficulty::hashrate;

/// The normal quantile of 0.995: bounds that hold in 99 % of all cases.
const Z: f64 = 2.5758;

/// The accepted shares of a time, and how long it was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Proven {
    /// Sum of their credited difficulties.
    pub work: f64,
    /// Sum of the squares of their credited difficulties.
    pub squares: f64,
    /// How many they are.
    pub shares: u64,
    /// Seconds in which they could be sent.
    pub seconds: f64,
}

/// Between which hashrates the true one lies, in 99 % of all cases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Hashes per second.
    pub low: f64,
    /// Hashes per second.
    pub high: f64,
}

impl Proven {
    /// So many shares of one difficulty, in so many seconds.
    pub fn even(shares: u64, difficulty: f64, seconds: f64) -> Proven {
        let work = shares as f64 * difficulty;
        Proven { work, squares: work * difficulty, shares, seconds }
    }

    /// Adds what was proven in another time.
    pub fn add(&mut self, other: &Proven) {
        self.work += other.work;
        self.squares += other.squares;
        self.shares = self.shares.saturating_add(other.shares);
        self.seconds += other.seconds;
    }

    /// Hashes per second; 0 where there was no time.
    pub fn hashrate(&self) -> f64 {
        if self.seconds > 0.0 { hashrate(self.work, self.seconds) } else { 0.0 }
    }

    /// The bounds of the hashrate. `next` is the difficulty of the share that has not come yet: what
    /// is missing may be one of these. `None` where there was no time, or where neither a share nor
    /// `next` tells what a share weighs.
    pub fn bounds(&self, next: f64) -> Option<Bounds> {
        let mean = if self.work > 0.0 { self.squares / self.work } else { 0.0 };
        let next = next.max(mean);
        if self.seconds <= 0.0 || !next.is_finite() || next <= 0.0 {
            return None;
        }
        let low = match self.work > 0.0 {
            true => mean / 2.0 * chi_square(2.0 * self.work / mean, -Z),
            false => 0.0,
        };
        let (work, squares) = (self.work + next, self.squares + next * next);
        let weight = squares / work;
        let high = weight / 2.0 * chi_square(2.0 * work / weight, Z);
        let rate = |work| hashrate(work, self.seconds);
        Some(Bounds { low: rate(low), high: rate(high) })
    }
}

/// The quantile of χ² with `freedom` degrees of freedom that belongs to the normal quantile `z`.
fn chi_square(freedom: f64, z: f64) -> f64 {
    let spread = 2.0 / (9.0 * freedom);
    freedom * (1.0 - spread + z * spread.sqrt()).max(0.0).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::difficulty::HASHES_PER_DIFFICULTY;

    /// In so many seconds that the hashrate is the work.
    fn even(shares: u64, difficulty: f64) -> Proven {
        Proven::even(shares, difficulty, HASHES_PER_DIFFICULTY)
    }

    /// In expected shares.
    fn bounds(shares: u64) -> (f64, f64) {
        let bounds = even(shares, 8.0).bounds(8.0).unwrap();
        (bounds.low / 8.0, bounds.high / 8.0)
    }

    #[test]
    fn bounds_are_those_of_the_tables_and_never_narrower() {
        // Exact 99 % bounds of a Poisson count (Garwood 1936).
        let exact = [
            (0, 0.0, 5.298),
            (1, 0.005, 7.430),
            (2, 0.103, 9.274),
            (5, 1.078, 14.150),
            (10, 3.717, 21.398),
            (50, 33.664, 71.266),
            (100, 76.120, 128.756),
        ];
        for (shares, low, high) in exact {
            let (ours_low, ours_high) = bounds(shares);
            assert!(ours_low <= low + 0.01 && ours_low > low - 0.11, "{shares}: {ours_low}");
            assert!((ours_high / high - 1.0).abs() < 0.01, "{shares}: {ours_high}");
        }
    }

    #[test]
    fn a_few_large_shares_prove_less_than_many_small_ones_of_the_same_work() {
        let width = |proven: Proven, next| {
            let bounds = proven.bounds(next).unwrap();
            bounds.high - bounds.low
        };
        assert!(width(even(10, 100.0), 100.0) > 2.0 * width(even(1000, 1.0), 1.0));
        // After the difficulty was raised, the share that is still out weighs more.
        assert!(width(even(1000, 1.0), 100.0) > 2.0 * width(even(1000, 1.0), 1.0));
    }

    #[test]
    fn without_time_or_weight_nothing_is_proven() {
        assert_eq!(Proven::default().bounds(1.0), None);
        assert_eq!(Proven::default().hashrate(), 0.0);
        let idle = Proven { seconds: 60.0, ..Proven::default() };
        assert_eq!(idle.bounds(0.0), None);
        assert_eq!(idle.bounds(f64::NAN), None);
        let bounds = idle.bounds(2.0).unwrap();
        assert!(bounds.low == 0.0 && bounds.high > 0.0);
        let odd = Proven { work: f64::MAX, squares: f64::INFINITY, shares: 1, seconds: 1.0 };
        assert_eq!(odd.bounds(1.0), None);
    }
}
