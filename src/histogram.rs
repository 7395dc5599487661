//! Durations counted in fixed buckets, of the form that Prometheus reads. Pure.

use std::time::Duration;

/// Upper bounds of a histogram's buckets, ascending; what is longer than the last is counted as well.
type Bounds = [Duration; 14];

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const fn us(microseconds: u64) -> Duration {
    Duration::from_micros(microseconds)
}

/// For calls to nodes.
static COARSE: Bounds = [
    ms(1),
    ms(2),
    ms(5),
    ms(10),
    ms(20),
    ms(50),
    ms(100),
    ms(200),
    ms(500),
    ms(1000),
    ms(2000),
    ms(5000),
    ms(10_000),
    ms(30_000),
];

/// For what is done here.
static FINE: Bounds = [
    us(20),
    us(50),
    us(100),
    us(200),
    us(500),
    ms(1),
    ms(2),
    ms(5),
    ms(10),
    ms(20),
    ms(50),
    ms(100),
    ms(500),
    ms(2000),
];

/// A histogram: 144 bytes, however much is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    bounds: &'static Bounds,
    /// The last is above all bounds.
    buckets: [u64; 15],
    total: Duration,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::coarse()
    }
}

impl Histogram {
    /// From a millisecond to half a minute.
    pub const fn coarse() -> Histogram {
        Histogram { bounds: &COARSE, buckets: [0; 15], total: Duration::ZERO }
    }

    /// From microseconds to two seconds.
    pub const fn fine() -> Histogram {
        Histogram { bounds: &FINE, ..Histogram::coarse() }
    }

    /// Counts one duration.
    pub fn add(&mut self, took: Duration) {
        let bucket = self.bounds.iter().position(|bound| took <= *bound);
        self.buckets[bucket.unwrap_or(self.bounds.len())] += 1;
        self.total = self.total.saturating_add(took);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum.
    pub fn total(&self) -> Duration {
        self.total
    }

    /// Each bound, with how many were at or below it.
    pub fn cumulated(&self) -> impl Iterator<Item = (Duration, u64)> {
        let counts = self.buckets.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        self.bounds.iter().copied().zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_bucket_whose_bound_they_do_not_exceed() {
        let mut histogram = Histogram::coarse();
        for took in [ms(1), ms(2), ms(3), ms(5), ms(6), ms(40_000)] {
            histogram.add(took);
        }
        let counts: Vec<_> = histogram.cumulated().collect();
        assert_eq!(counts[..4], [(ms(1), 1), (ms(2), 2), (ms(5), 4), (ms(10), 5)]);
        assert_eq!(counts[13], (ms(30_000), 5));
        assert_eq!(histogram.count(), 6);
        assert_eq!(histogram.total(), ms(40_017));
        let mut histogram = Histogram::fine();
        histogram.add(us(20));
        histogram.add(us(21));
        let counts: Vec<_> = histogram.cumulated().take(2).collect();
        assert_eq!(counts, [(us(20), 1), (us(50), 2)]);
    }
}
