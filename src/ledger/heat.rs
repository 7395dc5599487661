//! How hot miners were and what they drew, as their own APIs tell it, for charts.
//!
//! Pure. What a device answers is gathered for ten minutes; then it is a [`Slot`] of five bytes in a
//! [`History`], which makes slots of four hours and of a day of it.
//! What all miners drew together is a [`Sum`] for each of the same slots.

use super::heat_history::{History, together};
use crate::listed::listed;

listed! {
    /// The width of a slot. The journal has its place in the list.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Span {
        /// 600 s, kept for a day.
        TenMinutes,
        /// 14,400 s, kept for 30 days. As wide as the hashrate's points of that time, so that both
        /// charts show the same; a slot knows its highest temperature, so no peak is lost.
        FourHours,
        /// 86,400 s (UTC), kept for a year.
        Day,
    }
}

impl Span {
    /// Width in seconds.
    pub fn seconds(self) -> u64 {
        match self {
            Span::TenMinutes => 600,
            Span::FourHours => 14_400,
            Span::Day => 86_400,
        }
    }

    /// At least so many slots are kept: the time that is drawn, and the slot that its beginning cuts.
    pub const fn kept(self) -> usize {
        match self {
            Span::TenMinutes => 145,
            Span::FourHours => 181,
            Span::Day => 366,
        }
    }

    /// The slot that a time falls into: Unix seconds ÷ width.
    pub fn period(self, unix: u64) -> u32 {
        u32::try_from(unix / self.seconds()).unwrap_or(u32::MAX)
    }
}

/// A temperature that a chip can have, °C.
pub const CELSIUS: std::ops::RangeInclusive<f32> = -50.0..=200.0;
/// A power that a miner can draw, W.
pub const WATTS: std::ops::RangeInclusive<f32> = 0.0..=100_000.0;

/// The bytes of a slot, in memory and on the card.
pub(super) const BYTES: usize = 5;

/// What stands in a slot.
pub trait Cell: Copy + std::fmt::Debug + PartialEq {
    /// As it is kept.
    fn to_bytes(self) -> [u8; BYTES];

    /// Read again; `None` for bytes that no slot has.
    fn from_bytes(bytes: [u8; BYTES]) -> Option<Self>;

    /// How much it was made of. Of two that tell of the same, the one made of more is the later one.
    fn weight(&self) -> u32;

    /// Adds what was told in the same slot by another run, or under another name.
    fn add(&mut self, other: &Self);

    /// A wider slot made of the narrower ones in it; `None` without any. Those of ten minutes count
    /// alike, and those of four hours by how many of ten minutes they have.
    fn wider(of: &[Self], alike: bool) -> Option<Self>;
}

/// What a miner told in the time of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The highest temperature in whole °C above −50; [`NO_HEAT`] where it told none.
    high: u8,
    /// The mean one, in the same way.
    mean: u8,
    /// The mean power: the lower twelve bits times two to the power of the upper four, in 0.1 W;
    /// [`NO_WATTS`] where it told none.
    watts: u16,
    /// Of ten minutes: answers; of a wider slot: slots of ten minutes in it. 255 for more.
    weight: u8,
}

/// What all miners drew together in the time of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// The sum of their mean powers, as in [`Slot`]; in a wider slot its mean.
    watts: u16,
    /// How many miners told their power; in a wider slot at most at a time. 255 for more.
    miners: u8,
    /// Of ten minutes: answers of all; of a wider slot: slots of ten minutes in it.
    weight: u16,
}

const NO_HEAT: u8 = 255;
const NO_WATTS: u16 = 0xffff;
/// The degrees of the lowest temperature.
const COLDEST: f64 = -50.0;

impl Slot {
    /// The highest temperature, °C.
    pub fn high(&self) -> Option<f64> {
        celsius(self.high)
    }

    /// The mean temperature, °C.
    pub fn mean(&self) -> Option<f64> {
        celsius(self.mean)
    }

    /// The mean power, W.
    pub fn watts(&self) -> Option<f64> {
        watts(self.watts)
    }
}

impl Sum {
    /// What slots of the same time add up to; `None` where none of them tells a power.
    pub fn of(slots: impl Iterator<Item = Slot>) -> Option<Sum> {
        let (mut all, mut miners, mut weight) = (0.0, 0_u8, 0_u16);
        for slot in slots {
            let Some(watts) = slot.watts() else { continue };
            all += watts;
            miners = miners.saturating_add(1);
            weight = weight.saturating_add(slot.weight.into());
        }
        (miners > 0).then(|| Sum { watts: packed_watts(Some(all)), miners, weight })
    }

    /// Their power together, W.
    pub fn watts(&self) -> Option<f64> {
        watts(self.watts)
    }

    /// How many miners told it; 255 for more.
    pub fn miners(&self) -> u32 {
        self.miners.into()
    }
}

impl Cell for Slot {
    fn to_bytes(self) -> [u8; BYTES] {
        let [low, high] = self.watts.to_le_bytes();
        [self.high, self.mean, low, high, self.weight]
    }

    fn from_bytes([high, mean, low, upper, weight]: [u8; BYTES]) -> Option<Slot> {
        let slot = Slot { high, mean, watts: u16::from_le_bytes([low, upper]), weight };
        let possible = |heat: u8| heat <= 250 || heat == NO_HEAT;
        let is_whole = (high == NO_HEAT) == (mean == NO_HEAT) && high >= mean;
        let tells = high != NO_HEAT || slot.watts != NO_WATTS;
        (possible(high) && possible(mean) && is_whole && tells && weight > 0).then_some(slot)
    }

    fn weight(&self) -> u32 {
        self.weight.into()
    }

    fn add(&mut self, other: &Slot) {
        let both = [*self, *other];
        let weigh = |slot: &Slot| f64::from(slot.weight);
        let Some(sum) = Slot::weighed(&both, weigh) else { return };
        *self = Slot { weight: self.weight.saturating_add(other.weight), ..sum };
    }

    fn wider(of: &[Slot], alike: bool) -> Option<Slot> {
        let part = |slot: &Slot| if alike { 1 } else { u32::from(slot.weight) };
        let weight = of.iter().map(part).sum::<u32>();
        let slot = Slot::weighed(of, |slot| part(slot).into())?;
        Some(Slot { weight: u8::try_from(weight).unwrap_or(u8::MAX), ..slot })
    }
}

impl Slot {
    fn weighed(of: &[Slot], weigh: impl Fn(&Slot) -> f64) -> Option<Slot> {
        let first = of.first()?;
        let highs = of.iter().map(|slot| slot.high).filter(|high| *high != NO_HEAT);
        let heat = mean(of.iter().map(|slot| (slot.mean(), weigh(slot))));
        let watts = mean(of.iter().map(|slot| (slot.watts(), weigh(slot))));
        Some(Slot {
            high: highs.max().unwrap_or(NO_HEAT),
            mean: packed_celsius(heat),
            watts: packed_watts(watts),
            ..*first
        })
    }
}

impl Cell for Sum {
    fn to_bytes(self) -> [u8; BYTES] {
        let ([a, b], [c, d]) = (self.watts.to_le_bytes(), self.weight.to_le_bytes());
        [a, b, self.miners, c, d]
    }

    fn from_bytes([a, b, miners, c, d]: [u8; BYTES]) -> Option<Sum> {
        let (watts, weight) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        (watts != NO_WATTS && miners > 0 && weight > 0).then_some(Sum { watts, miners, weight })
    }

    fn weight(&self) -> u32 {
        self.weight.into()
    }

    fn add(&mut self, other: &Sum) {
        let both = [*self, *other];
        let watts = mean(both.iter().map(|sum| (sum.watts(), f64::from(sum.weight))));
        self.watts = packed_watts(watts);
        self.miners = self.miners.max(other.miners);
        self.weight = self.weight.saturating_add(other.weight);
    }

    fn wider(of: &[Sum], alike: bool) -> Option<Sum> {
        let part = |sum: &Sum| if alike { 1 } else { u32::from(sum.weight) };
        let watts = mean(of.iter().map(|sum| (sum.watts(), part(sum).into())));
        Some(Sum {
            watts: packed_watts(watts),
            miners: of.iter().map(|sum| sum.miners).max()?,
            weight: u16::try_from(of.iter().map(part).sum::<u32>()).unwrap_or(u16::MAX),
        })
    }
}

/// What a miner tells in the ten minutes that are not over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Open {
    /// Which ten minutes, see [`Span::period`].
    pub period: u32,
    high: f64,
    celsius: f64,
    celsius_told: u32,
    watts: f64,
    watts_told: u32,
}

impl Open {
    /// Nothing yet of these ten minutes.
    pub fn of(period: u32) -> Open {
        Open {
            period,
            high: f64::NEG_INFINITY,
            celsius: 0.0,
            celsius_told: 0,
            watts: 0.0,
            watts_told: 0,
        }
    }

    /// Adds an answer. What no device can mean is left out: no number, below [`CELSIUS`] or
    /// [`WATTS`], or above. False where nothing is left of it.
    pub fn tell(&mut self, celsius: Option<f32>, watts: Option<f32>) -> bool {
        let celsius = celsius.filter(|celsius| CELSIUS.contains(celsius)).map(f64::from);
        let watts = watts.filter(|watts| WATTS.contains(watts)).map(f64::from);
        if let Some(celsius) = celsius {
            self.high = self.high.max(celsius);
            self.celsius += celsius;
            self.celsius_told = self.celsius_told.saturating_add(1);
        }
        if let Some(watts) = watts {
            self.watts += watts;
            self.watts_told = self.watts_told.saturating_add(1);
        }
        celsius.is_some() || watts.is_some()
    }

    /// As it stands now; `None` without an answer.
    pub fn slot(&self) -> Option<Slot> {
        let mean = |sum: f64, told: u32| (told > 0).then(|| sum / f64::from(told));
        let told = self.celsius_told.max(self.watts_told);
        let high = (self.celsius_told > 0).then_some(self.high);
        (told > 0).then(|| Slot {
            high: packed_celsius(high),
            mean: packed_celsius(mean(self.celsius, self.celsius_told)),
            watts: packed_watts(mean(self.watts, self.watts_told)),
            weight: u8::try_from(told).unwrap_or(u8::MAX),
        })
    }
}

impl Default for Open {
    fn default() -> Open {
        Open::of(0)
    }
}

/// What is known of one worker.
#[derive(Clone, Debug, Default)]
pub struct WorkerHeat {
    /// But for the ten minutes that are not over.
    pub history: History<Slot>,
    /// These.
    pub open: Open,
}

impl WorkerHeat {
    /// The slots of a width, by rising period, with what was told last.
    pub fn slots(&self, span: Span) -> Vec<(u32, Slot)> {
        let Some(slot) = self.open.slot() else { return self.history.cells(span) };
        if span == Span::TenMinutes {
            return together(self.history.cells(span), &[(self.open.period, slot)]);
        }
        let mut all = self.history.clone();
        all.add(self.open.period, slot);
        all.cells(span)
    }

    /// What was told in these ten minutes since the start of the program.
    pub fn in_run(&self, period: u32) -> Option<Slot> {
        let open = self.open.slot().filter(|_| self.open.period == period);
        match (self.history.in_run(period), open) {
            (Some(mut slot), Some(open)) => {
                slot.add(&open);
                Some(slot)
            }
            (slot, open) => slot.or(open),
        }
    }

    /// The ten minutes are over, and those of `period` begin.
    pub fn turn(&mut self, period: u32) {
        let done = std::mem::replace(&mut self.open, Open::of(period));
        if let Some(slot) = done.slot() {
            self.history.add(done.period, slot);
        }
    }
}

/// `None` where all of the weight is on unknown values.
fn mean(values: impl Iterator<Item = (Option<f64>, f64)>) -> Option<f64> {
    let (mut sum, mut weight) = (0.0, 0.0);
    for (value, of) in values {
        let Some(value) = value else { continue };
        sum += value * of;
        weight += of;
    }
    (weight > 0.0).then(|| sum / weight)
}

fn packed_celsius(celsius: Option<f64>) -> u8 {
    celsius.map_or(NO_HEAT, |celsius| (celsius - COLDEST).round().clamp(0.0, 250.0) as u8)
}

fn celsius(packed: u8) -> Option<f64> {
    (packed != NO_HEAT).then(|| f64::from(packed) + COLDEST)
}

/// To 0.1 W or a four-thousandth, whichever is more; 13 MW for more.
fn packed_watts(watts: Option<f64>) -> u16 {
    let Some(watts) = watts else { return NO_WATTS };
    let tenths = (watts * 10.0).max(0.0);
    let scaled = |doubled: u16| (tenths / f64::from(1_u32 << doubled)).round();
    let doubled = (0..15).find(|doubled| scaled(*doubled) <= 4095.0).unwrap_or(15);
    // All bits set would be no power at all.
    let most = if doubled == 15 { 4094.0 } else { 4095.0 };
    doubled << 12 | scaled(doubled).min(most) as u16
}

fn watts(packed: u16) -> Option<f64> {
    let tenths = f64::from(packed & 0x0fff) * f64::from(1_u32 << (packed >> 12));
    (packed != NO_WATTS).then_some(tenths / 10.0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any slot that a device can have told.
    pub(in crate::ledger) fn any_slot() -> impl Strategy<Value = Slot> {
        let heat = proptest::option::of((0_u8..=250, 0_u8..=250));
        (heat, proptest::option::of(0_u16..0xffff), 1_u8..).prop_map(|(heat, watts, weight)| {
            let (a, b) = heat.unwrap_or((NO_HEAT, NO_HEAT));
            // One that tells nothing is none.
            let watts = watts.unwrap_or(if heat.is_none() { 7 } else { NO_WATTS });
            Slot { high: a.max(b), mean: a.min(b), watts, weight }
        })
    }

    pub(in crate::ledger) fn any_sum() -> impl Strategy<Value = Sum> {
        (0_u16..0xffff, 1_u8.., 1_u16..).prop_map(|(watts, miners, weight)| Sum {
            watts,
            miners,
            weight,
        })
    }

    proptest! {
        #[test]
        fn slots_and_sums_come_back_from_their_bytes(slot in any_slot(), sum in any_sum()) {
            prop_assert_eq!(Slot::from_bytes(slot.to_bytes()), Some(slot));
            prop_assert_eq!(Sum::from_bytes(sum.to_bytes()), Some(sum));
        }

        #[test]
        fn bytes_that_are_read_are_a_slot_that_is_written_so(bytes: [u8; BYTES]) {
            if let Some(slot) = Slot::from_bytes(bytes) {
                prop_assert_eq!(slot.to_bytes(), bytes);
                prop_assert!(slot.high().is_some() || slot.watts().is_some());
            }
            if let Some(sum) = Sum::from_bytes(bytes) {
                prop_assert_eq!(sum.to_bytes(), bytes);
            }
        }

        /// Whatever a device answers, a slot lies within what it told.
        #[test]
        fn a_slot_lies_within_the_answers(
            answers in proptest::collection::vec((any::<f32>(), any::<f32>()), 1..40),
            near in proptest::collection::vec((-60_f32..210.0, -5_f32..101_000.0), 0..40)
        ) {
            let mut open = Open::of(7);
            let (mut heats, mut powers) = (Vec::new(), Vec::new());
            for (celsius, watts) in answers.into_iter().chain(near) {
                let told = open.tell(Some(celsius), Some(watts));
                let (heat, power) = (CELSIUS.contains(&celsius), WATTS.contains(&watts));
                prop_assert_eq!(told, heat || power);
                heats.extend(heat.then_some(f64::from(celsius)));
                powers.extend(power.then_some(f64::from(watts)));
            }
            let Some(slot) = open.slot() else {
                prop_assert!(heats.is_empty() && powers.is_empty());
                return Ok(());
            };
            let highest = heats.iter().copied().reduce(f64::max);
            prop_assert_eq!(slot.high().is_some(), highest.is_some());
            if let (Some(high), Some(mean), Some(highest)) = (slot.high(), slot.mean(), highest) {
                let told = heats.iter().sum::<f64>() / heats.len() as f64;
                prop_assert!((high - highest).abs() <= 0.5 && (mean - told).abs() <= 0.5);
            }
            prop_assert_eq!(slot.watts().is_some(), !powers.is_empty());
            if let Some(watts) = slot.watts() {
                let told = powers.iter().sum::<f64>() / powers.len() as f64;
                prop_assert!((watts - told).abs() <= 0.05 + told / 4_000.0, "{watts} {told}");
            }
            prop_assert_eq!(Slot::from_bytes(slot.to_bytes()), Some(slot));
        }
    }

    #[test]
    fn what_no_device_means_is_left_out() {
        let mut open = Open::of(1);
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -50.1, 200.1, 1e30];
        assert!(odd.iter().all(|celsius| !open.tell(Some(*celsius), None)));
        let odd = [f32::NAN, f32::INFINITY, -0.1, 100_001.0, f32::MAX];
        assert!(odd.iter().all(|watts| !open.tell(None, Some(*watts))));
        assert!(!open.tell(None, None));
        assert_eq!(open.slot(), None);
        // Of two values the good one is taken.
        assert!(open.tell(Some(f32::NAN), Some(17.0)));
        assert!(open.tell(Some(61.0), Some(-3.0)));
        assert!(open.tell(Some(64.0), None));
        let slot = open.slot().unwrap();
        assert_eq!((slot.high(), slot.mean(), slot.watts()), (Some(64.0), Some(63.0), Some(17.0)));
        for (celsius, watts) in [(-50.0, 0.0), (200.0, 100_000.0)] {
            let mut open = Open::of(1);
            assert!(open.tell(Some(celsius), Some(watts)));
            let slot = open.slot().unwrap();
            assert_eq!(slot.high(), Some(celsius.into()));
            assert!((slot.watts().unwrap() - f64::from(watts)).abs() < 20.0, "{slot:?}");
        }
    }

    #[test]
    fn a_sum_counts_who_told_a_power() {
        let told = |celsius, watts| {
            let mut open = Open::of(1);
            open.tell(celsius, watts);
            open.slot().unwrap()
        };
        let slots = [
            told(Some(60.0), Some(17.3)),
            told(Some(70.0), None),
            told(None, Some(3_250.0)),
            told(None, Some(0.0)),
        ];
        let sum = Sum::of(slots.into_iter()).unwrap();
        assert!((sum.watts().unwrap() - 3_267.3).abs() < 0.8, "{sum:?}");
        assert_eq!(sum.miners(), 3);
        assert_eq!(Sum::of(slots[1..2].iter().copied()), None);
        // A thousand of the largest are as many as can be told.
        let large = told(None, Some(100_000.0));
        let many = Sum::of(std::iter::repeat_n(large, 1_000)).unwrap();
        assert!(many.watts().unwrap() > 13e6 && many.miners() == 255, "{many:?}");
    }

    #[test]
    fn a_wider_slot_keeps_the_peak_and_weighs_what_it_is_made_of() {
        let slot = |high: u8, mean: u8, watts: f64, weight| Slot {
            high: high + 50,
            mean: mean + 50,
            watts: packed_watts(Some(watts)),
            weight,
        };
        let of = [slot(60, 50, 10.0, 20), slot(90, 60, 20.0, 1)];
        assert_eq!(Slot::wider(&of, true), Some(slot(90, 55, 15.0, 2)));
        let days = [slot(60, 50, 10.0, 24), slot(61, 60, 20.0, 8)];
        assert_eq!(Slot::wider(&days, false), Some(slot(61, 53, 12.5, 32)));
        assert_eq!(Slot::wider(&[], true), None);
        // Two parts of one slot weigh by their answers, and a part that tells less than the other
        // takes nothing from it.
        let mut part = of[0];
        part.add(&of[1]);
        assert_eq!(part, slot(90, 50, 10.5, 21));
        part.add(&Slot { high: NO_HEAT, mean: NO_HEAT, ..slot(0, 0, 10.5, 100) });
        assert_eq!(part, slot(90, 50, 10.5, 121));
    }
}
