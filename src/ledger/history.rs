//! Rings of history: points of one grain, bounded by their number.
//!
//! Pure. Bounded by number and not by age on purpose: a board without a real-time clock that
//! wakes up in the year 2038 must not throw away its past.

use std::collections::VecDeque;

use super::half_hours::{HalfHour, HalfHours, half_of};
use super::record::{Grain, Point, Tally};

/// So many of the newest points are looked through one by one: ten minutes are asked for most.
const NEAR: usize = 16;

/// The points of one grain, by rising period, at most one for each period. Periods without a
/// share and without a connection have no point.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    grain: Grain,
    points: VecDeque<Point>,
    /// Of minutes, as long as there are any.
    halves: Option<Box<HalfHours>>,
}

impl Series {
    /// An empty series.
    pub fn new(grain: Grain) -> Series {
        Series { grain, points: VecDeque::new(), halves: None }
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
        self.points.range(self.place(period)..)
    }

    /// The sums of each half hour from the minute `period` on, the oldest first. The first one has
    /// only the minutes from there on. A series of hours or days has none.
    pub fn half_hours_since(&self, period: u32, each: &mut impl FnMut(HalfHour)) {
        let Some(halves) = &self.halves else { return };
        let mut place = self.place(period);
        let Some(first) = self.points.get(place) else { return };
        let mut sum = HalfHour::new(half_of(first.period));
        let known = halves.points_since(sum.half).is_some();
        while let Some(point) = self.points.get(place) {
            if half_of(point.period) != sum.half {
                each(sum);
                if known {
                    return halves.since(sum.half + 1, each);
                }
                sum = HalfHour::new(half_of(point.period));
            }
            sum.add(point);
            place += 1;
        }
        each(sum);
    }

    /// Adds to the point of the period of the tally's start.
    pub fn add(&mut self, tally: &Tally) {
        self.merge(&Point::of(self.grain, tally));
    }

    /// Adds a point to the one of its period. An empty one changes nothing.
    pub fn merge(&mut self, point: &Point) {
        self.change(point, |here| here.add(point));
    }

    /// Puts a point in the place of the one of its period, unless that has more shares or a longer
    /// connection: points only grow, so the larger one is the later one. An empty one changes
    /// nothing.
    pub fn raise(&mut self, point: Point) {
        let size = |point: &Point| (point.shares(), point.online);
        self.change(&point, |here| {
            if size(here) <= size(&point) {
                *here = point;
            }
        });
    }

    /// Adds the points of another series, of the same miner under another name: nobody is connected for
    /// longer than a period lasts.
    pub fn join(&mut self, other: &Series) {
        let most = self.grain.seconds() as u32;
        for point in other.points() {
            self.change(point, |here| {
                let most = most.max(here.online).max(point.online);
                here.add(point);
                here.online = here.online.min(most);
            });
        }
    }

    /// Moves all points by so many periods, those that would begin before 1970 to 1970.
    pub fn shift(&mut self, by: i64) {
        let points = std::mem::take(&mut self.points);
        self.halves = None;
        for point in points {
            let period = i64::from(point.period).saturating_add(by).clamp(0, u32::MAX.into());
            self.merge(&Point { period: period as u32, ..point });
        }
    }

    /// Drops the oldest quarter (at least one point).
    pub fn drop_oldest(&mut self) {
        let drop = self.points.len().div_ceil(4);
        self.points.drain(..drop);
        self.points.shrink_to_fit();
        if self.halves.is_some() {
            self.halves = HalfHours::of(&self.points).map(Box::new);
        }
    }

    fn change(&mut self, with: &Point, change: impl FnOnce(&mut Point)) {
        if with.is_empty() {
            return;
        }
        let period = with.period;
        let place = self.place(period);
        let appended = place == self.points.len();
        if self.points.get(place).is_none_or(|point| point.period != period) {
            self.make_room();
            self.points.insert(place, Point { period, ..Point::default() });
        }
        change(&mut self.points[place]);
        if self.grain == Grain::Minute {
            match &mut self.halves {
                Some(halves) if appended => halves.appended(&self.points[place]),
                Some(halves) => halves.changed(period, &self.points),
                None => self.halves = HalfHours::of(&self.points).map(Box::new),
            }
        }
        self.trim();
    }

    /// By halves and never beyond what can be needed: a full series would else hold room for as many
    /// points again.
    fn make_room(&mut self) {
        let (held, room) = (self.points.len(), self.points.capacity());
        if held == room {
            let most = (Series::capacity(self.grain) + 1).saturating_sub(held);
            self.points.reserve_exact((held / 2).clamp(4, most.max(4)));
        }
    }

    fn trim(&mut self) {
        while self.points.len() > Series::capacity(self.grain) {
            let Some(gone) = self.points.pop_front() else { return };
            if let Some(halves) = &mut self.halves {
                halves.changed(gone.period, &self.points);
            }
        }
    }

    /// Where the first point from `period` on stands.
    fn place(&self, period: u32) -> usize {
        let before = |place: usize| self.points.get(place).is_none_or(|p| p.period < period);
        let end = self.points.len();
        let near = end.saturating_sub(NEAR);
        if near == 0 || before(near) {
            return (near..end).rev().find(|place| before(*place)).map_or(near, |place| place + 1);
        }
        let halves = self.halves.as_ref();
        let since = halves.and_then(|halves| halves.points_since(half_of(period)));
        let start = since.map(|since| end - since);
        let Some((start, first)) = start.and_then(|at| Some((at, self.points.get(at)?))) else {
            return self.points.partition_point(|point| point.period < period);
        };
        // Exactly so where no minute is missing; never too early.
        let mut place = (start + period.saturating_sub(first.period) as usize).min(end);
        while place > start && !before(place - 1) {
            place -= 1;
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Counts;
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn tally(from: u64, accepted: u64) -> Tally {
        Tally { from, counts: Counts { accepted, ..Counts::default() }, ..Tally::default() }
    }

    proptest! {
        /// Against a map of sums: whatever the order of times, also when the clock goes back.
        #[test]
        fn a_series_is_a_sorted_map_of_sums(adds in vec((0_u64..100_000, 0_u64..9), 0..200)) {
            let mut series = Series::new(Grain::Minute);
            let mut map = BTreeMap::<u32, u32>::new();
            for (unix, accepted) in adds {
                series.add(&tally(unix, accepted));
                if accepted == 0 {
                    continue;
                }
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
            series.add(&tally(hour * 3600, 1));
        }
        assert_eq!(series.len(), 2160);
        assert_eq!(series.points().next().unwrap().period, 840);
        assert_eq!(series.since(2998).count(), 2);
        series.drop_oldest();
        assert_eq!(series.points().next().unwrap().period, 840 + 540);
    }
}
