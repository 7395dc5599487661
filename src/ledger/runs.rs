//! What the dates of earlier runs are worth, and where they belong.
//!
//! Pure. A Pi has no clock: it begins with the time of its last shutdown, and may end before the
//! network's time has come. The ledger keeps each run with what its clocks showed, so that a later
//! run, whose clock is right, knows by how much the dates of the earlier one are to be moved:
//!
//! - Of the same boot: exactly, as the time since the boot runs on through both.
//! - Of another boot: nobody knows. It took place after the run before it and before the one after
//!   it, so what it left in the future is moved to end where the next run begins. All else stays, and
//!   is told to be about right.

use std::collections::VecDeque;

use super::history::Series;
use super::record::{Grain, Point, Run};

/// So many runs are remembered.
pub(super) const MAX_RUNS: usize = 64;

/// By how much the dates of a run are to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shift {
    /// The dates from here, Unix seconds,
    pub since: u64,
    /// up to here, by the run's own clock,
    pub until: u64,
    /// by so many seconds.
    pub by: i64,
}

impl Shift {
    /// Moves a date of the run.
    pub(super) fn date(&self, date: &mut u64) {
        if (self.since..=self.until).contains(date) {
            *date = date.saturating_add_signed(self.by);
        }
    }
}

impl Run {
    /// What its wall clock showed when the system started.
    fn boot_unix(&self) -> i64 {
        i64::try_from(self.since).unwrap_or(i64::MAX).saturating_sub_unsigned(self.up)
    }

    fn is_same(&self, other: &Run) -> bool {
        (&self.boot, self.up) == (&other.boot, other.up)
    }
}

/// Takes in how a run stands now.
pub(super) fn note(runs: &mut VecDeque<Run>, run: &Run) {
    match runs.iter_mut().find(|known| known.is_same(run)) {
        Some(known) => known.clone_from(run),
        None => {
            runs.push_back(run.clone());
            while runs.len() > MAX_RUNS {
                runs.pop_front();
            }
        }
    }
}

/// The earliest that it can be now, Unix seconds, whatever the clock shows: `run` has just begun.
pub(super) fn floor(earlier: &VecDeque<Run>, run: &Run) -> Option<u64> {
    let ends = earlier.iter().filter(|run| run.known).map(|run| run.until.saturating_add(1));
    // The clock was not right then either, but it was the later one.
    let same_boot = earlier.iter().filter(|other| other.boot == run.boot && other.up <= run.up);
    let going_on = same_boot.map(|other| other.since.saturating_add(run.up - other.up));
    ends.chain(going_on).max()
}

/// The clock of `run` is right: corrects what is known of the earlier ones, and tells by how much
/// their dates are to be moved, the newest first.
pub(super) fn settle(earlier: &mut VecDeque<Run>, run: &Run) -> Vec<Shift> {
    let mut shifts = Vec::new();
    let mut next = run.since;
    for other in earlier.iter_mut().rev() {
        let same_boot = other.boot == run.boot;
        let by = match same_boot {
            true => run.boot_unix().saturating_sub(other.boot_unix()),
            false if other.known || other.until <= next => 0,
            false => -i64::try_from(other.until - next).unwrap_or(i64::MAX),
        };
        other.known |= same_boot;
        // Whole seconds are rounded.
        if by.abs() >= 2 {
            shifts.push(Shift { since: other.since, until: other.until, by });
            other.since = other.since.saturating_add_signed(by);
            other.until = other.until.saturating_add_signed(by);
        }
        next = next.min(other.since);
    }
    shifts
}

/// Moves the points of a run among those of others. Minutes tell what hours and days become. What is
/// left of an hour whose minutes are not all there goes to whom the minutes that are there belong, and
/// without any to whom most of the hour was.
pub(super) fn move_points(series: &mut [Series; Grain::COUNT], shift: &Shift) {
    // Of the finer grain: where what stays begins, and what is moved: where it began, where it begins
    // now, and what it is.
    let (mut finer_stays, mut finer) = (Vec::<u64>::new(), Vec::<(u64, u64, Point)>::new());
    for (series, grain) in series.iter_mut().zip(Grain::ALL) {
        let width = grain.seconds();
        let rounded = (shift.by + width as i64 / 2).div_euclid(width as i64) * width as i64;
        let (mut stay, mut stays) = (Series::new(grain), Vec::new());
        let mut moved = Vec::new();
        for point in series.points() {
            let start = u64::from(point.period) * width;
            let end = start + width;
            // A minute is moved as a whole, with the first of the runs that share it.
            if end <= shift.since || start > shift.until {
                stays.push(start);
                stay.merge(point);
                continue;
            }
            let parts: Vec<_> =
                finer.iter().filter(|part| (start..end).contains(&part.0)).copied().collect();
            let mut rest = *point;
            parts.iter().for_each(|(.., part)| rest.take(part));
            let has_others = finer_stays.iter().any(|other| (start..end).contains(other));
            let covered = end.min(shift.until.saturating_add(1)) - start.max(shift.since);
            let is_the_runs = !has_others && (!parts.is_empty() || covered > width / 2);
            moved.extend(parts);
            if is_the_runs || grain == Grain::Minute {
                moved.push((start, start.saturating_add_signed(rounded), rest));
            } else if !rest.is_empty() {
                stays.push(start);
                stay.merge(&rest);
            }
        }
        for (_, to, point) in &moved {
            let period = grain.period(*to);
            let squares = if grain == Grain::Minute { point.squares } else { 0.0 };
            stay.merge(&Point { period, squares, ..*point });
        }
        *series = stay;
        (finer_stays, finer) = (stays, moved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(boot: &str, up: u64, since: u64, until: u64, known: bool) -> Run {
        Run { boot: boot.to_owned(), up, since, until, known }
    }

    #[test]
    fn a_run_of_the_same_boot_is_moved_to_the_second_and_others_out_of_the_future() {
        let mut runs = VecDeque::new();
        for run in [
            run("a", 50, 1_000, 9_000, true),
            // Began with the time of its shutdown, and never knew better.
            run("b", 20, 9_001, 9_500, false),
            // A clock that was ahead.
            run("c", 20, 70_000, 71_000, false),
            run("d", 10, 9_700, 10_000, false),
        ] {
            note(&mut runs, &run);
            note(&mut runs, &run);
        }
        assert_eq!(runs.len(), 4, "each stands once");
        // Of the same boot as the last: 500 s later it is 40,000 s later by the clock.
        let now = run("d", 510, 50_200, 50_200, true);
        assert_eq!(floor(&runs, &run("d", 510, 10_100, 10_100, false)), Some(10_200));
        assert_eq!(floor(&runs, &run("e", 5, 8_000, 8_000, false)), Some(9_001));
        let shifts = settle(&mut runs, &now);
        let ahead = Shift { since: 70_000, until: 71_000, by: 49_700 - 71_000 };
        assert_eq!(shifts, [Shift { since: 9_700, until: 10_000, by: 40_000 }, ahead]);
        let dates: Vec<_> = runs.iter().map(|run| (run.since, run.until, run.known)).collect();
        let wanted = [
            (1_000, 9_000, true),
            (9_001, 9_500, false),
            (48_700, 49_700, false),
            (49_700, 50_000, true),
        ];
        assert_eq!(dates, wanted);
        assert_eq!(settle(&mut runs, &now), [], "once");
    }

    #[test]
    fn points_are_moved_by_their_minutes_and_those_of_others_stay() {
        let mut series = Grain::ALL.map(Series::new);
        let shares = |series: &mut [Series; 3], from: u64, minutes: u64, online: u32| {
            for minute in 0..minutes {
                for (series, grain) in series.iter_mut().zip(Grain::ALL) {
                    let period = grain.period(from + minute * 60);
                    let squares = if grain == Grain::Minute { 4.0 } else { 0.0 };
                    let (accepted, work, best) = (1, 2.0, 3.0);
                    let rejected = 0;
                    series.merge(&Point {
                        period,
                        accepted,
                        rejected,
                        work,
                        best,
                        online,
                        squares,
                    });
                }
            }
        };
        // Another run ended within the hour in which this one begins: 20 minutes, then 100.
        let day = 20_000 * 86_400;
        shares(&mut series, day + 600, 20, 60);
        shares(&mut series, day + 1_800, 100, 59);
        let mut expected = Grain::ALL.map(Series::new);
        shares(&mut expected, day + 600, 20, 60);
        let by = 86_400 * 3 + 600;
        shares(&mut expected, day + 1_800 + by, 100, 59);
        let shift = Shift { since: day + 1_800, until: day + 1_800 + 6_000, by: by as i64 };
        let told = |series: &[Series; 3]| {
            let all = series.iter().map(|series| {
                series
                    .points()
                    .map(|p| (p.period, p.accepted, p.work, p.online))
                    .collect::<Vec<_>>()
            });
            all.collect::<Vec<_>>()
        };
        let mut without_minutes = series.clone();
        move_points(&mut series, &shift);
        assert_eq!(told(&series), told(&expected));
        // Of the minutes nothing is left: what is mostly the run's is moved, and nothing is lost.
        without_minutes[0] = Series::new(Grain::Minute);
        move_points(&mut without_minutes, &shift);
        let sum = |series: &Series| series.points().map(|point| point.accepted).sum::<u32>();
        assert_eq!(sum(&without_minutes[1]), 120);
        assert_eq!(sum(&without_minutes[2]), 120);
        let hours: Vec<u32> = without_minutes[1].points().map(|point| point.period).collect();
        let first = Grain::Hour.period(day);
        assert_eq!(hours, [first, first + 2, first + 1 + 72]);
    }
}
