//! Sums of minutes by the half hour, so that nothing has to add up a whole day of minutes.
//!
//! Pure. A [`Series`](super::history::Series) of minutes keeps them beside its points and updates
//! them with every change. Nothing is ever subtracted: a half hour that changed elsewhere than at
//! its end is added up again, so each sum always equals the result of adding from left to right.

use std::collections::VecDeque;

use super::record::Point;
use crate::rate::Proven;

/// A day of half hours, and the one that the day's beginning cuts.
const KEPT: usize = 49;
/// Minutes of a half hour.
const MINUTES: u32 = 30;

/// What the minutes of one half hour add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HalfHour {
    /// Unix seconds ÷ 1,800.
    pub half: u32,
    /// What they prove together.
    pub proven: Proven,
}

/// The half hours up to that of the newest point, 49 at most, in 1.2 kB.
#[derive(Clone, Debug, PartialEq)]
pub struct HalfHours {
    newest: u32,
    /// The newest stands last.
    sums: [Sum; KEPT],
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sum {
    work: f64,
    squares: f64,
    /// More than four billion shares in half an hour count as so many.
    accepted: u32,
    /// Seconds; more than 18 hours of them, by a clock that was turned back, count as so many.
    online: u16,
    /// How many points there are; a half hour without one does not exist.
    points: u8,
}

impl Sum {
    fn proven(&self) -> Proven {
        Proven {
            work: self.work,
            squares: self.squares,
            shares: self.accepted.into(),
            seconds: self.online.into(),
        }
    }
}

/// The half hour that a minute lies in.
#[inline]
pub fn half_of(minute: u32) -> u32 {
    minute / MINUTES
}

impl HalfHour {
    /// An empty one.
    pub fn new(half: u32) -> HalfHour {
        HalfHour { half, ..HalfHour::default() }
    }

    /// Adds a minute.
    #[inline]
    pub fn add(&mut self, point: &Point) {
        self.proven.add(&point.proven());
    }
}

impl HalfHours {
    /// The half hours of these points, which are by rising period; `None` for no points.
    pub fn of(points: &VecDeque<Point>) -> Option<HalfHours> {
        let mut halves = HalfHours::empty(half_of(points.back()?.period));
        let known = points
            .iter()
            .rev()
            .take_while(|point| halves.place_of(half_of(point.period)).is_some())
            .count();
        points.range(points.len() - known..).for_each(|point| halves.add(point));
        Some(halves)
    }

    /// A point was put at the end.
    pub fn appended(&mut self, point: &Point) {
        let half = half_of(point.period);
        let passed = half.saturating_sub(self.newest) as usize;
        if passed >= KEPT {
            *self = HalfHours::empty(half);
        } else if passed > 0 {
            self.sums.copy_within(passed.., 0);
            self.sums[KEPT - passed..].fill(Sum::default());
            self.newest = half;
        }
        self.add(point);
    }

    /// A point of `period` came, went or changed elsewhere.
    pub fn changed(&mut self, period: u32, points: &VecDeque<Point>) {
        let half = half_of(period);
        let Some(place) = self.place_of(half) else { return };
        self.sums[place] = Sum::default();
        let start = points.partition_point(|point| half_of(point.period) < half);
        let of_it = points.range(start..).take_while(|point| half_of(point.period) == half);
        of_it.for_each(|point| self.add(point));
    }

    /// How many points there are from `half` on; `None` when that is too long ago to be known.
    pub fn points_since(&self, half: u32) -> Option<usize> {
        let from = if half > self.newest { KEPT } else { self.place_of(half)? };
        Some(self.sums[from..].iter().map(|sum| usize::from(sum.points)).sum())
    }

    /// The half hours from `half` on that have points, the oldest first; none when that is too long
    /// ago to be known, see [`HalfHours::points_since`].
    pub fn since(&self, half: u32, each: &mut impl FnMut(HalfHour)) {
        let from = self.place_of(half).unwrap_or(KEPT);
        for (sum, half) in self.sums[from..].iter().zip(half..).filter(|(sum, _)| sum.points > 0) {
            each(HalfHour { half, proven: sum.proven() });
        }
    }

    fn add(&mut self, point: &Point) {
        let Some(place) = self.place_of(half_of(point.period)) else { return };
        let sum = &mut self.sums[place];
        sum.work += f64::from(point.work);
        sum.squares += f64::from(point.squares);
        sum.accepted = sum.accepted.saturating_add(point.accepted);
        sum.online = sum.online.saturating_add(u16::try_from(point.online).unwrap_or(u16::MAX));
        sum.points += 1;
    }

    /// Where a half hour stands; `None` for one that is not kept.
    fn place_of(&self, half: u32) -> Option<usize> {
        let age = self.newest.checked_sub(half)? as usize;
        (KEPT - 1).checked_sub(age)
    }

    fn empty(newest: u32) -> HalfHours {
        HalfHours { newest, sums: [Sum::default(); KEPT] }
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::Series;
    use super::super::record::Grain;
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// What happens to a series of minutes.
    #[derive(Clone, Debug)]
    enum Step {
        /// Minutes pass, with a point in each.
        Pass {
            minutes: u32,
            gap: u32,
        },
        /// A point at any time around now.
        Merge(Point),
        Raise(Point),
        Drop,
    }

    fn any_point(around: std::ops::Range<u32>) -> impl Strategy<Value = Point> {
        let work = (0..1_u32 << 24).prop_map(|work| work as f32 / 256.0);
        (around, 0..5_u32, 0..3_u32, work, 0..61_u32).prop_map(
            |(period, accepted, rejected, work, online)| Point {
                period,
                accepted,
                rejected,
                work,
                best: 1.0,
                online,
                squares: work,
            },
        )
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1..200_u32, 1..4_u32).prop_map(|(minutes, gap)| Step::Pass { minutes, gap }),
            // More than a series holds, so that the oldest of it goes.
            2 => (1_441..1_500_u32).prop_map(|minutes| Step::Pass { minutes, gap: 1 }),
            1 => (1..40_u32, 30..3000_u32).prop_map(|(minutes, gap)| Step::Pass { minutes, gap }),
            2 => any_point(0..3_000).prop_map(Step::Merge),
            2 => any_point(0..3_000).prop_map(Step::Raise),
            1 => Just(Step::Drop),
        ]
    }

    /// Added up from the points alone.
    fn slowly(series: &Series, period: u32) -> Vec<HalfHour> {
        let mut halves = BTreeMap::new();
        for point in series.points().filter(|point| point.period >= period) {
            let half = half_of(point.period);
            halves.entry(half).or_insert_with(|| HalfHour::new(half)).add(point);
        }
        halves.into_values().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Whatever happens to a series, its sums are those of its points, to the last bit, from
        /// whichever minute on. The periods of points begin anywhere: a clock may go back.
        #[test]
        fn the_sums_are_those_of_the_points(
            start in prop_oneof![Just(0_u32), 29_000_000..29_001_000_u32],
            steps in vec(any_step(), 1..20), asks in vec(0..2_500_u32, 8)
        ) {
            let mut series = Series::new(Grain::Minute);
            let mut now = start;
            for step in steps {
                // A part of the points lies in the future.
                let near = |point: Point| Point { period: (now + point.period).saturating_sub(2_500), ..point };
                match step {
                    Step::Pass { minutes, gap } => for _ in 0..minutes {
                        now += gap;
                        let work = (now % 7 + 1) as f32;
                        series.merge(&Point { period: now, accepted: 1, work, ..Point::default() });
                    }
                    Step::Merge(point) => series.merge(&near(point)),
                    Step::Raise(point) => series.raise(near(point)),
                    Step::Drop => series.drop_oldest(),
                }
                prop_assert!(series.len() <= Series::capacity(Grain::Minute));
                for ask in &asks {
                    let from = (now + 600).saturating_sub(*ask);
                    let mut sums = Vec::new();
                    series.half_hours_since(from, &mut |half| sums.push(half));
                    prop_assert_eq!(sums, slowly(&series, from));
                    let since: Vec<&Point> = series.since(from).collect();
                    let points = series.points().filter(|point| point.period >= from);
                    prop_assert_eq!(since, points.collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn a_day_of_minutes_is_known_without_walking_it() {
        let mut points = VecDeque::new();
        let mut halves = None;
        for period in 10_000..12_000 {
            let point = Point {
                period,
                accepted: 2,
                work: 3.0,
                online: 60,
                squares: 4.5,
                ..Point::default()
            };
            points.push_back(point);
            match &mut halves {
                None => halves = HalfHours::of(&points),
                Some(halves) => halves.appended(&point),
            }
        }
        let halves = halves.unwrap();
        assert_eq!(Some(&halves), HalfHours::of(&points).as_ref());
        let newest = half_of(11_999);
        assert_eq!(halves.points_since(newest - 48), Some(48 * 30 + 30));
        assert_eq!(halves.points_since(newest - 49), None);
        assert_eq!(halves.points_since(newest + 1), Some(0));
        let mut sums = Vec::new();
        halves.since(newest - 1, &mut |half| sums.push(half));
        let proven = Proven { work: 90.0, squares: 135.0, shares: 60, seconds: 1_800.0 };
        let sum = HalfHour { half: newest, proven };
        assert_eq!(sums, [HalfHour { half: newest - 1, ..sum }, sum]);
    }
}
