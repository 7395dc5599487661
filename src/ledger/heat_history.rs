//! Slots of heat and power over a day, a month and a year, in less than 4 kB.
//!
//! Pure. Slots stand in runs without a gap, five bytes each, in memory as on the card. They are
//! bounded by these bytes and not by age, like the [points](super::history) of the hashrate: a
//! clock that is wrong for an hour throws no past away. A run costs less than the slots that are
//! missing before it would, so that the bytes always suffice for the time that is drawn.

use std::marker::PhantomData;

use super::codec::{Field, Reader, RecordError};
use super::heat::{BYTES, Cell, Span};
use super::runs::Shift;

/// Bytes of a worker's slots of all widths, and of those of the total: what [`Span::kept`] needs.
pub const MAX_BYTES: usize = 3_520;
const _: () = {
    let [a, b, c] = [Span::TenMinutes.kept(), Span::FourHours.kept(), Span::Day.kept()];
    assert!(MAX_BYTES == 3 * SPARE + (a + b + c) * BYTES);
};

/// For the beginning of the first run, and for a gap.
const SPARE: usize = 20;

/// The slots of one width, by rising period, at most one for each.
#[derive(Clone, Debug, PartialEq)]
struct Ring<T> {
    /// As [`write_cells`] writes them, counted from period 0.
    bytes: Box<[u8]>,
    cells: PhantomData<T>,
}

impl<T> Default for Ring<T> {
    fn default() -> Ring<T> {
        Ring { bytes: Box::default(), cells: PhantomData }
    }
}

impl<T: Cell> Ring<T> {
    fn of(cells: &[(u32, T)]) -> Ring<T> {
        let mut bytes = Vec::new();
        write_cells(0, cells, &mut bytes);
        Ring { bytes: bytes.into(), cells: PhantomData }
    }

    fn cells(&self) -> Vec<(u32, T)> {
        let mut cells = Vec::with_capacity(self.bytes.len() / BYTES);
        let mut reader = Reader { bytes: &self.bytes, version: 1 };
        // Nothing else than what was written.
        read_cells(0, &mut reader, &mut cells).unwrap_or_default();
        cells
    }

    /// The slot of a period, without reading the others: the page asks it of every miner.
    fn get(&self, period: u32) -> Option<T> {
        let mut reader = Reader { bytes: &self.bytes, version: 1 };
        let mut next = 0_u64;
        while !reader.bytes.is_empty() {
            let (gap, count) = (u64::read(&mut reader).ok()?, u64::read(&mut reader).ok()?);
            let start = next + gap;
            let slots = reader.take(count as usize * BYTES).ok()?;
            if let Some(place) = u64::from(period).checked_sub(start)
                && let Some(slot) = slots.chunks_exact(BYTES).nth(place as usize)
            {
                return T::from_bytes(slot.try_into().ok()?);
            }
            next = start + count;
        }
        None
    }

    /// Drops the oldest slots, until it has at most so many bytes.
    fn trim(&mut self, most: usize) {
        while self.bytes.len() > most {
            let cells = self.cells();
            let over = (self.bytes.len() - most).div_ceil(BYTES).clamp(1, cells.len());
            *self = Ring::of(&cells[over..]);
        }
    }
}

/// The slots of all widths, of this run of the program or of earlier ones.
#[derive(Clone, Debug, PartialEq)]
struct Rings<T>([Ring<T>; Span::COUNT]);

impl<T> Default for Rings<T> {
    fn default() -> Rings<T> {
        Rings(Span::ALL.map(|_| Ring::default()))
    }
}

impl<T: Cell> Rings<T> {
    /// Takes in slots of ten minutes, each unless more is known of it, and makes the wider ones of all
    /// that are here. A wide slot whose narrow ones are no longer all here has more in it than they
    /// have, and stays.
    fn take_in(&mut self, cells: &[(u32, T)]) {
        let mut cells = cells.to_vec();
        for (place, span) in Span::ALL.into_iter().enumerate() {
            let all = raised(self.0[place].cells(), &cells);
            self.0[place] = Ring::of(&all);
            let Some(wide) = Span::ALL.get(place + 1) else { break };
            let ratio = (wide.seconds() / span.seconds()) as u32;
            let groups = all.chunk_by(|a, b| a.0 / ratio == b.0 / ratio);
            cells = groups
                .filter_map(|group| {
                    let parts: Vec<T> = group.iter().map(|(_, cell)| *cell).collect();
                    Some((group[0].0 / ratio, T::wider(&parts, span == Span::TenMinutes)?))
                })
                .collect();
        }
    }

    /// Every slot of four hours is made of slots that are all here.
    fn is_whole(&self) -> bool {
        let weight =
            self.0[Span::FourHours.index()].cells().into_iter().map(|cell| cell.1.weight());
        weight.sum::<u32>() as usize == self.0[Span::TenMinutes.index()].cells().len()
    }
}

/// What is known of a worker, or of all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct History<T> {
    /// Since the start. Its dates move when the clock is set.
    run: Rings<T>,
    /// From before the start.
    earlier: Rings<T>,
    /// Slots of ten minutes that were read, and are not in [`History::run`] yet: thousands of records
    /// are read at the start, and a ring is written anew with each change.
    read: Vec<(u32, T)>,
}

/// So many slots that were read are taken in at once.
const READ_AT_ONCE: usize = 512;

impl<T> Default for History<T> {
    fn default() -> History<T> {
        History { run: Rings::default(), earlier: Rings::default(), read: Vec::new() }
    }
}

impl<T: Cell> History<T> {
    /// Adds what was told in these ten minutes.
    pub fn add(&mut self, period: u32, cell: T) {
        let ring = &mut self.run.0[Span::TenMinutes.index()];
        *ring = Ring::of(&together(ring.cells(), &[(period, cell)]));
        self.run.take_in(&[]);
        self.trim();
    }

    /// Takes in slots that were written, each unless more is known of it. At the end of all,
    /// [`History::settle`] is to be called.
    pub fn raise(&mut self, span: Span, cells: &[(u32, T)]) {
        if span == Span::TenMinutes {
            self.read.extend_from_slice(cells);
            if self.read.len() >= READ_AT_ONCE {
                self.settle();
            }
            return;
        }
        let ring = &mut self.run.0[span.index()];
        *ring = Ring::of(&raised(ring.cells(), cells));
        self.trim();
    }

    /// All that was read is taken in.
    pub fn settle(&mut self) {
        let read = std::mem::take(&mut self.read);
        if !read.is_empty() {
            self.run.take_in(&read);
            self.trim();
        }
    }

    /// The slots of a width, by rising period.
    pub fn cells(&self, span: Span) -> Vec<(u32, T)> {
        let [run, earlier] = [&self.run, &self.earlier].map(|rings| &rings.0[span.index()]);
        if earlier.bytes.is_empty() {
            return run.cells();
        }
        together(earlier.cells(), &run.cells())
    }

    /// The slot of these ten minutes in this run.
    pub fn in_run(&self, period: u32) -> Option<T> {
        self.run.0[Span::TenMinutes.index()].get(period)
    }

    /// How many bytes its slots have: at most [`MAX_BYTES`].
    pub fn bytes(&self) -> usize {
        self.run.0.iter().chain(&self.earlier.0).map(|ring| ring.bytes.len()).sum()
    }

    /// What was read from the card is of an earlier run.
    pub fn leave_to_the_past(&mut self) {
        self.settle();
        let read = std::mem::take(&mut self.run);
        self.put_before(&read);
    }

    /// Puts what was read from the card under what was told since the start.
    pub fn put_under(&mut self, mut card: History<T>) {
        card.settle();
        self.put_before(&card.earlier);
        self.put_before(&card.run);
    }

    /// Adds what the same miner told under another name.
    pub fn join(&mut self, mut other: History<T>) {
        self.settle();
        other.settle();
        for (mine, theirs) in [(&mut self.run, &other.run), (&mut self.earlier, &other.earlier)] {
            for (mine, theirs) in mine.0.iter_mut().zip(&theirs.0) {
                *mine = Ring::of(&together(mine.cells(), &theirs.cells()));
            }
        }
        self.trim();
    }

    /// Moves what was told since the start by so many slots of each width.
    pub fn shift(&mut self, by: [i64; Span::COUNT]) {
        let is_whole = self.run.is_whole();
        for (ring, by) in self.run.0.iter_mut().zip(by) {
            *ring = moved(ring.cells().into_iter().map(|(period, cell)| (period, by, cell)));
        }
        // The narrow ones tell what the wide ones become, as long as they are all there.
        if is_whole {
            self.run.0[1..].fill_with(Ring::default);
            self.run.take_in(&[]);
        }
        self.trim();
    }

    /// Moves what an earlier run has dated. The slots of ten minutes tell what wider ones become; of
    /// those without any, the ones of which most was the run's are moved as a whole.
    pub(super) fn move_run(&mut self, shift: &Shift) {
        // Of the narrower slots: where each began, and how many slots of ten minutes were in it.
        let (mut goes, mut stays) = (Vec::<(u64, usize)>::new(), Vec::<(u64, usize)>::new());
        for (ring, span) in self.earlier.0.iter_mut().zip(Span::ALL) {
            let width = span.seconds();
            let by = slots(shift.by, span);
            let is_narrow = span == Span::TenMinutes;
            let (mut all, mut going, mut staying) = (Vec::new(), Vec::new(), Vec::new());
            for (period, cell) in ring.cells() {
                let start = u64::from(period) * width;
                let end = start + width;
                let of = |parts: &[(u64, usize)]| -> usize {
                    let parts = parts.iter().filter(|part| (start..end).contains(&part.0));
                    parts.map(|part| part.1).sum()
                };
                let weight = if is_narrow { 1 } else { cell.weight() as usize };
                let (gone, here) = (of(&goes), of(&stays));
                let is_of_it = end > shift.since && start <= shift.until;
                let until = end.min(shift.until.saturating_add(1));
                let covered = until.saturating_sub(start.max(shift.since));
                let is_mostly_its = (gone > 0 || here == 0) && covered > width / 2;
                if is_of_it && gone > 0 && gone + here >= weight {
                    // All of it is known: it is made anew below, here and where it goes.
                    going.push((start, gone));
                    staying.push((start, here));
                } else if is_of_it && (is_narrow || is_mostly_its) {
                    going.push((start, weight));
                    all.push((period, by, cell));
                } else {
                    staying.push((start, weight));
                    all.push((period, 0, cell));
                }
            }
            (goes, stays) = (going, staying);
            *ring = moved(all.into_iter());
        }
        self.earlier.take_in(&[]);
        self.trim();
    }

    fn put_before(&mut self, read: &Rings<T>) {
        for (mine, read) in self.earlier.0.iter_mut().zip(&read.0) {
            *mine = match mine.bytes.is_empty() {
                true => read.clone(),
                false => Ring::of(&together(mine.cells(), &read.cells())),
            };
        }
        self.trim();
    }

    /// The oldest go first: those of earlier runs.
    fn trim(&mut self) {
        for span in Span::ALL {
            let most = SPARE + span.kept() * BYTES;
            let place = span.index();
            self.run.0[place].trim(most);
            self.earlier.0[place].trim(most - self.run.0[place].bytes.len());
        }
    }
}

/// So many whole slots come nearest to so many seconds.
pub fn slots(seconds: i64, span: Span) -> i64 {
    let width = span.seconds() as i64;
    seconds.saturating_add(width / 2).div_euclid(width)
}

/// Slots, each moved by so many.
fn moved<T: Cell>(cells: impl Iterator<Item = (u32, i64, T)>) -> Ring<T> {
    let date = |(period, by, cell): (u32, i64, T)| {
        let period = i64::from(period).saturating_add(by).clamp(0, u32::MAX.into());
        (period as u32, cell)
    };
    let mut cells: Vec<(u32, T)> = cells.map(date).collect();
    cells.sort_by_key(|cell| cell.0);
    Ring::of(&one_each(cells))
}

/// The slots of both; those of the same time are added.
pub(super) fn together<T: Cell>(mut cells: Vec<(u32, T)>, others: &[(u32, T)]) -> Vec<(u32, T)> {
    cells.extend_from_slice(others);
    cells.sort_by_key(|cell| cell.0);
    one_each(cells)
}

/// The slots of both; of those of the same time the one that is made of more, or the later one.
fn raised<T: Cell>(mut cells: Vec<(u32, T)>, others: &[(u32, T)]) -> Vec<(u32, T)> {
    cells.extend_from_slice(others);
    cells.sort_by_key(|cell| cell.0);
    cells.dedup_by(|later, earlier| {
        let is_same = later.0 == earlier.0;
        if is_same && later.1.weight() >= earlier.1.weight() {
            earlier.1 = later.1;
        }
        is_same
    });
    cells
}

fn one_each<T: Cell>(mut cells: Vec<(u32, T)>) -> Vec<(u32, T)> {
    cells.dedup_by(|later, earlier| {
        let is_same = later.0 == earlier.0;
        if is_same {
            earlier.1.add(&later.1);
        }
        is_same
    });
    cells
}

/// Writes slots by rising period, at most one for each: for each run without a gap how many periods are missing before it
/// (counted from `base` before the first), how many slots it has (both varints), and these.
pub(super) fn write_cells<T: Cell>(base: u32, cells: &[(u32, T)], to: &mut Vec<u8>) {
    let mut next = u64::from(base);
    for run in cells.chunk_by(|a, b| u64::from(a.0) + 1 == u64::from(b.0)) {
        (u64::from(run[0].0) - next).write(to);
        (run.len() as u64).write(to);
        run.iter().for_each(|(_, cell)| to.extend_from_slice(&cell.to_bytes()));
        next = u64::from(run[0].0) + run.len() as u64;
    }
}

/// Reads all that is left as slots, and adds them to `cells`.
///
/// # Errors
/// For what [`write_cells`] does not write: an impossible slot, an empty run, a period beyond 2³².
pub(super) fn read_cells<T: Cell>(
    base: u32,
    from: &mut Reader<'_>,
    cells: &mut Vec<(u32, T)>,
) -> Result<(), RecordError> {
    let mut next = u64::from(base);
    while !from.bytes.is_empty() {
        let (gap, count) = (u64::read(from)?, u64::read(from)?);
        let start = next.checked_add(gap).ok_or(RecordError::BadValue("period"))?;
        let end = start.checked_add(count).ok_or(RecordError::BadValue("period"))?;
        let is_run = count > 0 && (gap > 0 || next == u64::from(base));
        if !is_run || end > 1 << 32 {
            return Err(RecordError::BadValue("period"));
        }
        // Not more than there are bytes, whatever the count says.
        for period in start..end {
            let cell = T::from_bytes(from.array()?).ok_or(RecordError::BadValue("slot"))?;
            cells.push((period as u32, cell));
        }
        next = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::heat::tests::any_slot;
    use super::super::heat::{Open, Slot};
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Answers of these temperatures, and ten times as many watts.
    fn slot(celsius: &[f32]) -> Slot {
        let mut open = Open::of(0);
        celsius.iter().for_each(|celsius| {
            open.tell(Some(*celsius), Some(celsius * 10.0));
        });
        open.slot().unwrap()
    }

    /// The slots of one width that lie in each wider one.
    fn grouped(cells: &BTreeMap<u32, Slot>, ratio: u32) -> BTreeMap<u32, Vec<Slot>> {
        let mut groups = BTreeMap::<u32, Vec<Slot>>::new();
        for (period, cell) in cells {
            groups.entry(period / ratio).or_default().push(*cell);
        }
        groups
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Against maps that forget nothing: of each width the time that is drawn is there, wide slots
        /// are made of all narrow ones, and the bytes are bounded, whatever is missing.
        #[test]
        fn the_time_that_is_drawn_is_there(
            start in prop_oneof![Just(0_u32), 2_980_000..2_990_000_u32],
            steps in vec((prop_oneof![Just(1_u32), Just(2), 1..400_u32], any_slot(), 1..40_u32), 1..60)
        ) {
            let mut history = History::default();
            let mut all = BTreeMap::new();
            let mut now = start;
            for (gap, slot, count) in steps {
                for _ in 0..count {
                    now += gap;
                    history.add(now, slot);
                    all.insert(now, slot);
                    prop_assert!(history.bytes() <= MAX_BYTES, "{} bytes", history.bytes());
                }
            }
            let narrow: BTreeMap<_, _> = history.cells(Span::TenMinutes).into_iter().collect();
            for at in narrow.keys().flat_map(|at| [at.saturating_sub(1), *at, at + 1]) {
                prop_assert_eq!(history.in_run(at), narrow.get(&at).copied());
            }
            let wider = |groups: BTreeMap<u32, Vec<Slot>>, alike| -> BTreeMap<u32, Slot> {
                let wide = groups.into_iter().map(|(at, of)| (at, Slot::wider(&of, alike).unwrap()));
                wide.collect()
            };
            let four_hours = wider(grouped(&all, 24), true);
            let days = wider(grouped(&four_hours, 6), false);
            for (span, all) in Span::ALL.into_iter().zip([all, four_hours, days]) {
                let newest = *all.keys().next_back().unwrap();
                let drawn = newest.saturating_sub(span.kept() as u32 - 1);
                let wanted: Vec<_> = all.range(drawn..).map(|(at, cell)| (*at, *cell)).collect();
                let mut found = history.cells(span);
                prop_assert!(found.iter().all(|(at, cell)| all.get(at) == Some(cell)));
                found.retain(|cell| cell.0 >= drawn);
                prop_assert_eq!(found, wanted, "{:?}", span);
            }
        }

        /// What is read in any pieces, as often as one likes, is what was written.
        #[test]
        fn reading_again_changes_nothing(
            slots in vec((prop_oneof![Just(1_u32), 1..30_u32], any_slot()), 1..700), cut in 0..700_usize
        ) {
            let mut period = 5_000;
            let slots: Vec<(u32, Slot)> = slots.into_iter().map(|(gap, slot)| {
                period += gap;
                (period, slot)
            }).collect();
            let mut live = History::default();
            slots.iter().for_each(|(period, slot)| live.add(*period, *slot));
            let mut read = History::default();
            // Of a slot that grows a part was written before.
            let part = |slot: Slot| Slot::wider(&[slot], true).unwrap();
            for (period, slot) in slots[..cut.min(slots.len())].iter().chain(&slots) {
                read.raise(Span::TenMinutes, &[(*period, part(*slot))]);
                read.raise(Span::TenMinutes, &[(*period, *slot)]);
            }
            read.settle();
            // Of what is older than what is drawn, more or less of it may be left.
            let drawn = |history: &History<Slot>, span: Span| {
                let mut cells = history.cells(span);
                let first = cells.last().unwrap().0.saturating_sub(span.kept() as u32 - 1);
                cells.retain(|cell| cell.0 >= first);
                cells
            };
            for span in Span::ALL {
                prop_assert!(drawn(&read, span) == drawn(&live, span), "{:?}", span);
            }
            // As compaction writes it, in front of all that it replaces.
            let mut again = History::default();
            Span::ALL.into_iter().rev().for_each(|span| again.raise(span, &live.cells(span)));
            again.settle();
            slots.iter().for_each(|slot| again.raise(Span::TenMinutes, &[*slot]));
            again.settle();
            for span in Span::ALL {
                prop_assert!(drawn(&again, span) == drawn(&live, span), "{:?}", span);
            }
            prop_assert!(again.bytes() <= MAX_BYTES && read.bytes() <= MAX_BYTES);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(base: u32, bytes in vec(any::<u8>(), 0..200)) {
            let mut cells = Vec::<(u32, Slot)>::new();
            let mut reader = Reader { bytes: &bytes, version: 1 };
            if read_cells(base, &mut reader, &mut cells).is_ok() {
                prop_assert!(cells.windows(2).all(|pair| pair[0].0 < pair[1].0));
                let mut again = Vec::new();
                write_cells(base, &cells, &mut again);
                let mut read = Vec::new();
                read_cells(base, &mut Reader { bytes: &again, version: 1 }, &mut read).unwrap();
                prop_assert_eq!(read, cells);
            }
        }
    }

    #[test]
    fn what_an_earlier_run_told_stays_and_gives_way() {
        let mut history = History::default();
        for period in 1_000..1_145 {
            history.add(period, slot(&[50.0]));
        }
        history.leave_to_the_past();
        // Both runs have a part of this slot.
        history.add(1_144, slot(&[80.0, 80.0, 80.0]));
        let cells = history.cells(Span::TenMinutes);
        assert_eq!(cells.len(), 145);
        let last = cells.last().unwrap().1;
        assert_eq!((last.high(), last.mean()), (Some(80.0), Some(73.0)));
        for period in 1_145..1_289 {
            history.add(period, slot(&[60.0]));
        }
        let cells = history.cells(Span::TenMinutes);
        assert!(cells.iter().all(|cell| cell.0 >= 1_143), "{cells:?}");
        assert!(history.bytes() <= MAX_BYTES);
        let days = history.cells(Span::Day);
        assert_eq!(days.iter().map(|day| day.0).collect::<Vec<_>>(), [6, 7, 8]);
        assert_eq!(days[0].1.mean(), Some(50.0), "{days:?}");
    }

    #[test]
    fn a_clock_that_is_set_moves_this_run_alone() {
        for (count, by) in [(30, 86_400 * 3 + 650), (30, -7_300), (400, 86_400 * 3 + 650)] {
            let mut history = History::default();
            // The 12th of a day.
            for period in 0..20 {
                history.add(144_000 + period, slot(&[40.0]));
            }
            history.leave_to_the_past();
            for period in 0..count {
                history.add(144_100 + period, slot(&[60.0, 70.0]));
            }
            history.shift(Span::ALL.map(|span| slots(by, span)));
            let moved = (144_100_i64 + slots(by, Span::TenMinutes)) as u32;
            let narrow = history.cells(Span::TenMinutes);
            let ours: Vec<u32> =
                narrow.iter().map(|cell| cell.0).filter(|at| *at >= 144_060).collect();
            assert_eq!(*ours.last().unwrap(), moved + count - 1, "{by}");
            for span in [Span::FourHours, Span::Day] {
                let cells = history.cells(span);
                let told: u32 = cells.iter().map(|cell| cell.1.weight()).sum();
                assert_eq!(told, 20 + count, "{by}: {cells:?}");
                let width = (span.seconds() / 600) as u32;
                assert_eq!(cells[0].0, 144_000 / width, "{by}");
                let last = cells.last().unwrap();
                // To the slot as long as the narrow ones are there, else to the nearest.
                let most = if count < 145 { 0 } else { 1 };
                assert!(last.0.abs_diff((moved + count - 1) / width) <= most, "{by}: {cells:?}");
                assert_eq!(last.1.high(), Some(70.0));
            }
        }
    }

    #[test]
    fn a_run_of_a_wrong_date_moves_among_others() {
        let day = 1_000 * 144;
        let mut history = History::default();
        // One run, and within the same four hours another, whose clock was wrong.
        (0..10).for_each(|period| history.add(day + period, slot(&[40.0])));
        (12..60).for_each(|period| history.add(day + period, slot(&[60.0])));
        history.leave_to_the_past();
        let mut expected = History::default();
        (0..10).for_each(|period| expected.add(day + period, slot(&[40.0])));
        (12..60).for_each(|period| expected.add(day + 144 * 3 + 1 + period, slot(&[60.0])));
        let at = |period: u32| u64::from(day + period) * 600;
        let shift = Shift { since: at(12), until: at(59) + 599, by: 3 * 86_400 + 600 };
        let mut without = history.clone();
        history.move_run(&shift);
        for span in Span::ALL {
            assert_eq!(history.cells(span), expected.cells(span), "{span:?}");
        }
        // Of the narrow slots nothing is left: what is mostly the run's is moved, and nothing is lost.
        without.earlier.0[0] = Ring::default();
        without.move_run(&shift);
        let told = |span| without.cells(span).iter().map(|cell| cell.1.weight()).sum::<u32>();
        assert_eq!((told(Span::FourHours), told(Span::Day)), (58, 58));
        let days: Vec<u32> = without.cells(Span::Day).iter().map(|cell| cell.0).collect();
        assert_eq!(days, [1_000, 1_003]);
    }

    #[test]
    fn two_names_of_a_miner_are_one() {
        let (mut a, mut b) = (History::default(), History::default());
        (0..6).for_each(|period| a.add(480 + period, slot(&[40.0])));
        (5..9).for_each(|period| b.add(480 + period, slot(&[60.0])));
        a.join(b);
        let cells = a.cells(Span::TenMinutes);
        assert_eq!(
            cells.iter().map(|cell| cell.0 - 480).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 5, 6, 7, 8]
        );
        assert_eq!((cells[5].1.high(), cells[5].1.mean()), (Some(60.0), Some(50.0)));
        let [(_, wide)] = a.cells(Span::FourHours)[..] else { panic!("{a:?}") };
        assert_eq!((wide.high(), wide.mean(), wide.watts()), (Some(60.0), Some(48.0), Some(480.0)));
    }
}
