//! The odds, told honestly.
//!
//! Mining is a Poisson process: with hashrate h and block difficulty D the time to a block is
//! exponential with mean D·H / h, H being [`HASHES_PER_DIFFICULTY`]. The best of many shares follows from the same law: after work
//! W (the sum of the accepted shares' difficulties) the chance that no hash reached difficulty d is
//! exp(−W / d). Its mean does not exist, so "expected" here always means the median.

use serde::Serialize;

use super::Snapshot;
use crate::difficulty::HASHES_PER_DIFFICULTY;

/// The owner's chances at the current hashrate and difficulty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Odds {
    /// The hashrate that the chances are reckoned with: the proven one of the last hour.
    pub hashrate: f64,
    /// Chance of at least one block in 24 hours, 0 to 1.
    pub per_day: f64,
    /// Chance of at least one block in 365 days, 0 to 1.
    pub per_year: f64,
    /// Mean time between blocks, seconds; `None` without hashrate.
    pub mean_s: Option<f64>,
    /// Median of the best share that the work done so far gives.
    pub expected_best: f64,
    /// Share of miners with the same work whose best share is below ours, 0 to 1.
    pub luck: Option<f64>,
    /// Work since the last block as a part of what a block takes on average: 1.0 is 100 %.
    pub effort: f64,
}

/// Reckons the odds. `None` as long as the block difficulty is not known.
pub fn odds(snapshot: &Snapshot) -> Option<Odds> {
    let difficulty = snapshot.difficulty()?;
    let totals = &snapshot.totals;
    let hashrate = totals.rate_1h.hashrate.max(0.0);
    let per_second = hashrate / (difficulty * HASHES_PER_DIFFICULTY);
    let chance = |seconds: f64| -(-per_second * seconds).exp_m1();
    Some(Odds {
        hashrate,
        per_day: chance(86_400.0),
        per_year: chance(365.0 * 86_400.0),
        mean_s: (per_second > 0.0).then(|| 1.0 / per_second),
        expected_best: totals.work.max(0.0) / std::f64::consts::LN_2,
        luck: (totals.best > 0.0 && totals.work > 0.0).then(|| (-totals.work / totals.best).exp()),
        effort: totals.work_since_block.max(0.0) / difficulty,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{NetworkView, RateView, TotalsView};

    #[test]
    fn odds_follow_the_poisson_law() {
        let mut snapshot = Snapshot {
            network: NetworkView { difficulty: Some(1e6), ..Default::default() },
            totals: TotalsView {
                // One block a day on average.
                rate_1h: RateView {
                    hashrate: 1e6 * HASHES_PER_DIFFICULTY / 86_400.0,
                    ..Default::default()
                },
                work: 1000.0,
                work_since_block: 500_000.0,
                best: 1000.0,
                ..Default::default()
            },
            ..Default::default()
        };
        let odds_now = odds(&snapshot).unwrap();
        assert!((odds_now.per_day - (1.0 - (-1f64).exp())).abs() < 1e-12);
        assert!(odds_now.per_year > 0.999_999);
        assert!((odds_now.mean_s.unwrap() - 86_400.0).abs() < 1e-6);
        assert!((odds_now.luck.unwrap() - (-1f64).exp()).abs() < 1e-12);
        assert!((odds_now.expected_best - 1442.695).abs() < 0.001);
        assert_eq!(odds_now.effort, 0.5);

        snapshot.totals.rate_1h.hashrate = 0.0;
        let none = odds(&snapshot).unwrap();
        assert_eq!((none.per_day, none.mean_s), (0.0, None));
        snapshot.network.difficulty = None;
        assert_eq!(odds(&snapshot), None);
    }

    #[test]
    fn a_tiny_chance_is_not_rounded_to_nothing() {
        let snapshot = Snapshot {
            network: NetworkView { difficulty: Some(1.5e14), ..Default::default() },
            totals: TotalsView {
                rate_1h: RateView { hashrate: 78_000.0, ..Default::default() },
                ..Default::default()
            },
            ..Default::default()
        };
        let odds = odds(&snapshot).unwrap();
        assert!(odds.per_day > 0.0 && odds.per_day < 1e-13, "{}", odds.per_day);
    }
}
