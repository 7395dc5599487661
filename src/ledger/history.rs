//! Rings of history: points of one grain, bounded by their number.
//!
//! Pure. Bounded by number and not by age on purpose: a board without a real-time clock that
//! wakes up in the year 2038 must not throw away its past.

use std::collections::VecDeque;

use super::record::{Counts, Grain, Point};

/// The points of one grain, by rising period, at most one for each period. Periods without a
/// share have no point.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    grain: Grain,
    points: VecDeque<Point>,
}

impl Series {
    /// An empty series.
    pub fn new(grain: Grain) -> Series {
        Series { grain, points: VecDeque::new() }
    }

    /// The width of its points.
    pub fn grain(&self) -> Grain {
        self.grain
    }

    /// At most so many points are kept: a day of minutes, 90 days of hours, 44 years of days.
    pub fn capacity(grain: Grain) -> usize {
        match grain {
            Grain::Minute => 24 * 60,
            Grain::Hour => 90 * 24,
            Grain::Day => 16_384,
        }
    }

    /// All points, the oldest first.
    pub fn points(&self) -> impl DoubleEndedIterator<Item = &Point> + ExactSizeIterator {
        self.points.iter()
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The points from `period` on, the oldest first.
    pub fn since(&self, period: u32) -> impl Iterator<Item = &Point> {
        let start = self.points.partition_point(|point| point.period < period);
        self.points.range(start..)
    }

    /// Adds to the point of the period of `unix`.
    pub fn add(&mut self, unix: u64, counts: &Counts, best: f64) {
        let point = Point {
            period: self.grain.period(unix),
            accepted: clamp(counts.accepted),
            rejected: clamp(counts.rejected()),
            work: counts.work as f32,
            best: best as f32,
        };
        self.merge(&point);
    }

    /// Adds a point to the one of its period.
    pub fn merge(&mut self, point: &Point) {
        let here = self.point(point.period);
        here.accepted = here.accepted.saturating_add(point.accepted);
        here.rejected = here.rejected.saturating_add(point.rejected);
        here.work = (here.work + point.work).min(f32::MAX);
        here.best = here.best.max(point.best).min(f32::MAX);
        self.trim();
    }

    /// Puts a point in the place of the one of its period, unless that has more shares: points
    /// only grow, so the larger one is the later one.
    pub fn raise(&mut self, point: Point) {
        let shares = |point: &Point| u64::from(point.accepted) + u64::from(point.rejected);
        let here = self.point(point.period);
        if shares(here) <= shares(&point) {
            *here = point;
        }
        self.trim();
    }

    /// Drops the oldest quarter (at least one point).
    pub fn drop_oldest(&mut self) {
        let drop = self.points.len().div_ceil(4);
        self.points.drain(..drop);
        self.points.shrink_to_fit();
    }

    fn point(&mut self, period: u32) -> &mut Point {
        let place = self.points.partition_point(|point| point.period < period);
        if self.points.get(place).is_none_or(|point| point.period != period) {
            self.points.insert(place, Point { period, ..Point::default() });
        }
        &mut self.points[place]
    }

    fn trim(&mut self) {
        while self.points.len() > Series::capacity(self.grain) {
            self.points.pop_front();
        }
    }
}

fn clamp(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Against a map of sums: whatever the order of times, also when the clock goes back.
        #[test]
        fn a_series_is_a_sorted_map_of_sums(adds in vec((0_u64..100_000, 0_u64..9), 0..200)) {
            let mut series = Series::new(Grain::Minute);
            let mut map = BTreeMap::<u32, u32>::new();
            for (unix, accepted) in adds {
                series.add(unix, &Counts { accepted, ..Counts::default() }, 0.0);
                *map.entry((unix / 60) as u32).or_default() += accepted as u32;
            }
            let got: Vec<_> = series.points().map(|p| (p.period, p.accepted)).collect();
            prop_assert_eq!(got, map.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn only_the_newest_are_kept() {
        let mut series = Series::new(Grain::Hour);
        for hour in 0..3000_u64 {
            series.add(hour * 3600, &Counts { accepted: 1, ..Counts::default() }, 1.0);
        }
        assert_eq!(series.len(), 2160);
        assert_eq!(series.points().next().unwrap().period, 840);
        assert_eq!(series.since(2998).count(), 2);
        series.drop_oldest();
        assert_eq!(series.points().next().unwrap().period, 840 + 540);
    }
}
