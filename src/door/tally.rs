//! How many connections lost their place, and whose they were: for the page and for the events.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Household;
use crate::clock::Now;

/// Households that are counted by themselves.
const HOUSEHOLDS_MAX: usize = 256;

/// After so much quiet the count begins anew.
const QUIET: Duration = Duration::from_secs(3600);

/// An event is told at most so often: a flood must not drive all others out of the list.
const TELL_EVERY: Duration = Duration::from_secs(600);

/// See the module's description.
#[derive(Debug, Default)]
pub struct Tally {
    /// Since when is counted, and the last one.
    span: Option<(Instant, Instant)>,
    count: u64,
    by_household: BTreeMap<Household, u64>,
    told: Option<Instant>,
    since_told: u64,
}

/// What is so now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// Since when, Unix seconds.
    pub since: u64,
    /// The last one, Unix seconds.
    pub last: u64,
    /// Whose most of them were.
    pub most: Household,
}

impl Tally {
    /// One of this household lost its place. How many did since the last event, when another one is due.
    pub fn add(&mut self, now: Now, household: Household) -> Option<u64> {
        if self.is_quiet(now.mono) {
            *self = Tally { told: self.told, ..Tally::default() };
        }
        let since = self.span.map_or(now.mono, |(since, _)| since);
        self.span = Some((since, now.mono));
        self.count += 1;
        self.since_told += 1;
        if self.by_household.len() < HOUSEHOLDS_MAX || self.by_household.contains_key(&household) {
            *self.by_household.entry(household).or_default() += 1;
        }
        let is_due = |told: Instant| now.mono.saturating_duration_since(told) >= TELL_EVERY;
        if !self.told.is_none_or(is_due) {
            return None;
        }
        self.told = Some(now.mono);
        Some(std::mem::take(&mut self.since_told))
    }

    /// `None` when nobody did for an hour.
    pub fn sum(&self, now: Now) -> Option<Sum> {
        let (since, last) = self.span.filter(|_| !self.is_quiet(now.mono))?;
        let most = self.by_household.iter().max_by_key(|(_, count)| **count)?;
        let [since, last] = [since, last].map(|moment| now.date_of(moment));
        Some(Sum { count: self.count, since, last, most: *most.0 })
    }

    fn is_quiet(&self, now: Instant) -> bool {
        self.span.is_some_and(|(_, last)| now.saturating_duration_since(last) >= QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_at_once_and_then_every_ten_minutes_with_whose_it_was() {
        let start = Instant::now();
        let at = |s: u64| Now { mono: start + Duration::from_secs(s), unix: 5000 + s };
        let house = |n: u8| Household::of([10, 0, 0, n].into());
        let mut tally = Tally::default();
        assert_eq!(tally.sum(at(0)), None);
        let told: Vec<u64> = (0..1500)
            .filter_map(|s| tally.add(at(s), house(if s % 3 == 0 { 7 } else { s as u8 })))
            .collect();
        assert_eq!(told, [1, 600, 600]);
        let sum = Sum { count: 1500, since: 5000, last: 6499, most: house(7) };
        assert_eq!(tally.sum(at(1600)), Some(sum));
        assert_eq!(tally.sum(at(1499 + 3600)), None, "an hour later nobody needs to know");
        assert_eq!(tally.add(at(9000), house(1)), Some(1));
        let sum = Sum { count: 1, since: 14_000, last: 14_000, most: house(1) };
        assert_eq!(tally.sum(at(9001)), Some(sum));
    }

    #[test]
    fn a_flood_of_households_takes_bounded_memory() {
        let now = Now { mono: Instant::now(), unix: 0 };
        let mut tally = Tally::default();
        for n in 0..10_000_u16 {
            tally.add(now, Household::V6([n, 0, 0, 0]));
        }
        assert_eq!(tally.by_household.len(), HOUSEHOLDS_MAX);
        assert_eq!(tally.sum(now).unwrap().count, 10_000);
    }
}
