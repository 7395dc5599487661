//! Heat and power in the ledger: a year of virtual time, power cuts, clocks, and what the card gets.
#![allow(clippy::unwrap_used, clippy::field_reassign_with_default)]

use std::collections::BTreeMap;

use soloist::clock::Now;
use soloist::ledger::backup::{self, MAX_BACKUP};
use soloist::ledger::heat::{Slot, Span};
use soloist::ledger::heat_history::MAX_BYTES;
use soloist::ledger::record::{Grain, Record, WorkerNumber, encode};
use soloist::ledger::totals::{
    BACKUP_BUDGET, JOURNAL_BUDGET, Ledger, LedgerEvent, Worker, WorkerId,
};
use soloist::status::miners;

use crate::ledger_core::{Card, Run, START};

const DAY: u64 = 86_400;

/// A worker that is known to the card, as it has had a share.
fn known(run: &mut Run, name: &str) -> WorkerId {
    let worker = run.worker(name);
    run.share(worker, 1.0, 1.0);
    worker
}

fn slots(ledger: &Ledger, name: &str, span: Span) -> Vec<(u32, Slot)> {
    let worker = ledger.named(name).and_then(|id| ledger.get(id));
    worker.map_or_else(Vec::new, |worker| worker.heat(span))
}

fn is_heat(record: &&Record) -> bool {
    matches!(record, Record::Heat { .. } | Record::Watts { .. })
}

fn bytes<'a>(records: impl Iterator<Item = &'a Record>) -> usize {
    let mut bytes = Vec::new();
    records.for_each(|record| encode(record, 1, &mut bytes));
    bytes.len()
}

/// What a miner tells at a time: °C and W.
fn truth(unix: u64, miner: u64) -> (f32, f32) {
    let hours = (unix / 3_600 + miner * 5) % 24;
    (40.0 + hours as f32, 10.0 + (unix / DAY % 30) as f32 + miner as f32 * 100.0)
}

/// Over a year of it the program is started again every few days, by turns in order and after a power
/// cut. Each width has all of its time and nothing wrong in it, in memory that is bounded.
#[test]
fn a_year_is_kept_in_little_over_all_restarts() {
    let start = START / DAY * DAY;
    let mut run = Run::new(Card::default(), start);
    let names = ["a", "b"];
    names.iter().for_each(|name| _ = known(&mut run, name));
    // Of the first year a slot in an hour is told, which is enough for the wide ones.
    let steps = (0..330 * 24).map(|_| 3_600).chain((0..45 * 144).map(|_| 600));
    let (mut most, mut restarts) = (0, 0);
    for (step, seconds) in steps.enumerate() {
        run.advance(seconds);
        for (miner, name) in (0..).zip(names) {
            let (celsius, watts) = truth(run.now.unix, miner);
            run.heat(name, celsius, watts);
        }
        if step % 400 == 399 {
            restarts += 1;
            // Before the power goes, what was told last is on the card.
            run.advance(600);
            if restarts % 2 == 0 {
                run.tell(LedgerEvent::Stop);
            }
            let unix = run.now.unix;
            run = Run::new(run.card, unix);
            most = most.max(bytes(run.ledger.records(JOURNAL_BUDGET).iter().filter(is_heat)));
            names.iter().for_each(|name| _ = known(&mut run, name));
        }
    }
    // Two miners and the sum of all, each with three frames.
    assert!(most <= 3 * (MAX_BYTES + 3 * 32), "{most} bytes for two miners");
    println!("a year of two miners with {restarts} restarts: {most} bytes");
    let (from, now) = (start, run.now.unix);
    for span in Span::ALL {
        let kept = (span.kept() as u64 * span.seconds()).min(now - from);
        let first = span.period(now - kept) + 1;
        for (miner, name) in (0..).zip(names) {
            let found: BTreeMap<u32, Slot> = slots(&run.ledger, name, span).into_iter().collect();
            // A slot is missing where the program slept through it.
            let there = (first..span.period(now)).filter(|at| found.contains_key(at)).count();
            let asked = (span.period(now) - first) as usize;
            assert!(there + 2 * restarts >= asked && there + 60 > asked, "{there} of {asked}");
            for (at, slot) in found.range(first..span.period(now)) {
                let begin = u64::from(*at) * span.seconds();
                let told = (begin / 600..(begin + span.seconds()) / 600)
                    .map(|ten| truth(ten * 600, miner));
                let (heat, power): (Vec<f32>, Vec<f32>) = told.unzip();
                let high = heat.iter().copied().fold(0.0, f32::max);
                let low = heat.iter().copied().fold(1e9, f32::min);
                let told = slot.high().unwrap();
                // In a slot of which some minutes are missing the peak may be.
                assert!((f64::from(low)..=f64::from(high)).contains(&told), "{span:?} {slot:?}");
                let mean = heat.iter().map(|h| f64::from(*h)).sum::<f64>() / heat.len() as f64;
                assert!((slot.mean().unwrap() - mean).abs() < 2.0, "{span:?} {slot:?} {mean}");
                let watts = power.iter().map(|w| f64::from(*w)).sum::<f64>() / power.len() as f64;
                assert!((slot.watts().unwrap() - watts).abs() < 0.6, "{span:?} {slot:?} {watts}");
            }
        }
        let sums = run.ledger.watts(span);
        let (_, sum) = sums[sums.len() - 2];
        assert_eq!(sum.miners(), 2, "{span:?}");
        let of =
            |name| slots(&run.ledger, name, span).iter().rev().nth(1).unwrap().1.watts().unwrap();
        assert!((sum.watts().unwrap() - of("a") - of("b")).abs() < 0.6, "{span:?} {sum:?}");
    }
    assert!(slots(&run.ledger, "a", Span::Day).len() >= 365);
}

#[test]
fn a_power_cut_costs_at_most_ten_minutes_of_heat() {
    let mut run = Run::new(Card::default(), START);
    known(&mut run, "w");
    let begin = run.now.unix;
    for answer in 0..2_000_u64 {
        run.advance(30);
        // The temperature tells the minute.
        let minute = (run.now.unix - begin) / 60;
        run.heat("w", (minute % 180) as f32, 17.0);
        if answer % 37 != 36 {
            continue;
        }
        let after = Run::new(run.card.clone(), run.now.unix).ledger;
        let newest = slots(&after, "w", Span::TenMinutes).last().map_or(0, |(at, _)| *at);
        let had = slots(&run.ledger, "w", Span::TenMinutes).last().unwrap().0;
        assert!(had - newest <= 1 || minute <= 11, "{newest} of {had}");
        let high = |ledger: &Ledger| {
            let slots = slots(ledger, "w", Span::TenMinutes);
            let highs = slots.iter().rev().take(2).filter_map(|(_, slot)| slot.high());
            highs.fold(0.0, f64::max)
        };
        // But for where the temperature begins anew.
        if minute % 180 > 21 {
            assert!(high(&after) >= (minute % 180) as f64 - 11.0, "{} at {minute}", high(&after));
        }
        // Whatever a single record of them was worth, its loss costs itself alone.
        if answer % 370 == 369 {
            let all = slots(&after, "w", Span::TenMinutes);
            for lost in 0..run.card.journal.len() {
                let mut journal = run.card.journal.clone();
                let Record::Heat { span: Span::TenMinutes, of } = journal.remove(lost) else {
                    continue;
                };
                let lost = of.iter().map(|(_, slots)| slots.len()).sum::<usize>();
                let left = slots(&Ledger::replay(run.now, &journal), "w", Span::TenMinutes);
                assert!(left.len() + lost >= all.len(), "{} of {}", left.len(), all.len());
            }
        }
    }
}

/// Its record goes with those that are written anyway.
#[test]
fn heat_alone_writes_no_more_often() {
    let hours = |tells: bool| {
        let mut run = Run::new(Card::default(), START);
        let names: Vec<String> = (0..40).map(|n| format!("w{n}")).collect();
        names.iter().for_each(|name| _ = known(&mut run, name));
        run.advance(700);
        let (saves, from) = (run.card.saves, run.card.journal.len());
        for _ in 0..6 * 120 {
            run.advance(30);
            for name in &names {
                let worker = run.worker(name);
                run.share(worker, 1.0, 0.5);
                if tells {
                    run.heat(name, 61.0, 17.3);
                }
            }
        }
        let heat = bytes(run.card.journal[from..].iter().filter(is_heat));
        (run.card.saves - saves, heat, bytes(run.card.journal[from..].iter()))
    };
    let ((without, none, _), (with, heat, all)) = (hours(false), hours(true));
    println!("six hours of forty miners: {heat} of {all} bytes of the journal are heat");
    assert_eq!((with, none), (without, 0));
    // Of forty miners a slot of the time before and one of now, every ten minutes.
    assert!((1..=36 * 700).contains(&heat), "{heat} bytes in six hours");
}

#[test]
fn a_forgotten_worker_has_no_heat_and_what_all_drew_stays() {
    let mut run = Run::new(Card::default(), START);
    known(&mut run, "a");
    known(&mut run, "b");
    for _ in 0..100 {
        run.advance(60);
        run.heat("a", 60.0, 100.0);
        run.heat("b", 70.0, 1_000.0);
    }
    run.advance(601);
    let before = run.ledger.watts(Span::TenMinutes);
    assert_eq!((before[5].1.watts(), before[5].1.miners()), (Some(1_100.0), 2));
    let forgotten = run.ledger.named("b").unwrap();
    run.tell(LedgerEvent::Forget(forgotten));
    run.advance(601);
    for ledger in [&run.ledger, &Run::new(run.card.clone(), run.now.unix).ledger] {
        assert!(slots(ledger, "b", Span::Day).is_empty());
        assert_eq!(ledger.watts(Span::TenMinutes), before);
        assert!(!slots(ledger, "a", Span::TenMinutes).is_empty());
    }
    // By the old handle nothing comes back, and by the name a new worker.
    let (celsius, watts) = (Some(50.0), Some(50.0));
    run.tell(LedgerEvent::Heat { worker: forgotten, celsius, watts });
    known(&mut run, "b");
    assert!(slots(&run.ledger, "b", Span::Day).is_empty());
    let left = bytes(run.ledger.records(JOURNAL_BUDGET).iter().filter(is_heat));
    assert!(left < 600, "{left}");
    // Nor does what it drew in the ten minutes of the moment go from the sum.
    run.advance(600 - run.now.unix % 600);
    run.heat("b", 70.0, 1_000.0);
    let before = run.ledger.watts(Span::TenMinutes);
    let again = run.ledger.named("b").unwrap();
    run.tell(LedgerEvent::Forget(again));
    assert_eq!(run.ledger.watts(Span::TenMinutes), before);
    run.advance(601);
    assert_eq!(run.ledger.watts(Span::TenMinutes), before);
}

#[test]
fn a_renamed_miner_gets_its_heat_and_all_have_drawn_what_they_drew() {
    let mut run = Run::new(Card::default(), START / DAY * DAY);
    known(&mut run, "old");
    let tells = |run: &mut Run, name: &str, celsius, watts| {
        for _ in 0..100 {
            run.advance(60);
            run.heat(name, celsius, watts);
        }
    };
    tells(&mut run, "old", 60.0, 100.0);
    known(&mut run, "new");
    tells(&mut run, "new", 80.0, 200.0);
    let all = run.ledger.watts(Span::TenMinutes);
    let snapshot = run.ledger.records(1 << 20);
    assert!(run.join("old", "new"));
    let check = |ledger: &Ledger, what: &str| {
        let of = slots(ledger, "new", Span::TenMinutes);
        let told: Vec<f64> = of.iter().map(|(_, slot)| slot.watts().unwrap()).collect();
        assert_eq!((told.len(), told[0], told[15]), (21, 100.0, 200.0), "{what}");
        assert!((101.0..199.0).contains(&told[10]), "{what}: two names in one slot");
        let days = slots(ledger, "new", Span::Day);
        assert_eq!((days.len(), days[0].1.high()), (1, Some(80.0)), "{what}");
        assert!(slots(ledger, "old", Span::Day).is_empty(), "{what}");
        assert_eq!(ledger.watts(Span::TenMinutes), all, "{what}");
    };
    check(&run.ledger, "now");
    check(&Run::new(run.card.clone(), run.now.unix).ledger, "after a power cut");
    let both = [snapshot, run.card.journal.clone()].concat();
    check(&Ledger::replay(run.now, &both), "after a snapshot of before");
}

#[test]
fn a_clock_that_is_set_moves_heat_as_it_moves_shares() {
    for by in [5 * DAY as i64 + 1_200, -3 * 3_600, 700] {
        let mut run = Run::new(Card::default(), START / DAY * DAY + 40_000);
        known(&mut run, "w");
        for _ in 0..150 {
            run.advance(60);
            let worker = run.worker("w");
            run.share(worker, 1.0, 1.0);
            run.heat("w", 60.0, 100.0);
        }
        run.now.unix = run.now.unix.saturating_add_signed(by);
        run.tell(LedgerEvent::ClockSet { by });
        let (began, now) = (run.now.unix - 150 * 60, run.now.unix);
        let check = |ledger: &Ledger, what: &str| {
            for span in Span::ALL {
                let of = slots(ledger, "w", span);
                let sums = ledger.watts(span);
                let near = |at: u32, unix: u64| {
                    let away = u64::from(at * span.seconds() as u32).abs_diff(unix);
                    assert!(away <= span.seconds() + 300, "{by} {what} {span:?}: {away} s");
                };
                near(of[0].0, began);
                near(of.last().unwrap().0, now);
                assert_eq!(of.len(), sums.len(), "{by} {what} {span:?}");
                let last = sums.last().unwrap().1;
                assert_eq!((last.watts(), last.miners()), (Some(100.0), 1), "{by} {what}");
            }
            assert!((15..=17).contains(&slots(ledger, "w", Span::TenMinutes).len()), "{by} {what}");
        };
        check(&run.ledger, "now");
        // It is written anew with the right dates.
        run.advance(61);
        check(&Run::new(run.card.clone(), run.now.unix).ledger, "after a power cut");
        // And on.
        for _ in 0..30 {
            run.advance(60);
            run.heat("w", 70.0, 200.0);
        }
        assert_eq!(slots(&run.ledger, "w", Span::TenMinutes).last().unwrap().1.high(), Some(70.0));
        assert!((18..=20).contains(&slots(&run.ledger, "w", Span::TenMinutes).len()), "{by}");
    }
}

#[test]
fn what_a_run_without_a_clock_told_is_dated_by_the_next_one() {
    let mut run = Run::new(Card::default(), START);
    run.tell(LedgerEvent::Started { boot: "a".to_owned(), up: 20 });
    known(&mut run, "w");
    for _ in 0..90 {
        run.advance(60);
        run.heat("w", 60.0, 100.0);
    }
    run.tell(LedgerEvent::Stop);
    let (ended, away) = (run.now.unix, 5 * DAY);
    let mut run = Run::new(run.card, ended + away + 7);
    run.tell(LedgerEvent::Started { boot: "a".to_owned(), up: 20 + 90 * 60 + 7 });
    run.tell(LedgerEvent::ClockKnown);
    run.advance(61);
    for ledger in [&run.ledger, &Run::new(run.card.clone(), run.now.unix).ledger] {
        for span in Span::ALL {
            let (of, sums) = (slots(ledger, "w", span), ledger.watts(span));
            assert_eq!(of.len(), sums.len(), "{span:?}");
            let first = u64::from(of[0].0) * span.seconds();
            assert!(first + span.seconds() > START + away - 600, "{span:?}: {first}");
            assert!(of.iter().all(|(_, slot)| slot.watts() == Some(100.0)));
        }
    }
}

#[test]
fn nothing_is_kept_of_what_no_device_means_and_of_names_without_work() {
    let mut run = Run::new(Card::default(), START);
    known(&mut run, "w");
    run.worker("no share yet");
    for _ in 0..100 {
        run.advance(60);
        for (celsius, watts) in
            [(f32::NAN, f32::NAN), (-51.0, -1.0), (201.0, 100_001.0), (f32::INFINITY, 1e30)]
        {
            run.heat("w", celsius, watts);
        }
        run.heat("no share yet", 60.0, 17.0);
    }
    run.advance(601);
    assert!(run.ledger.workers().all(|(_, worker)| worker.heat(Span::Day).is_empty()));
    assert!(run.ledger.watts(Span::Day).is_empty());
    assert_eq!(run.card.journal.iter().filter(is_heat).count(), 0);
    let worker = run.ledger.named("w").and_then(|id| run.ledger.get(id)).unwrap();
    assert!(miners::history(worker, run.now).heat.day.is_empty());
    // With its first share it is known.
    known(&mut run, "no share yet");
    run.heat("no share yet", 60.0, 17.0);
    assert_eq!(slots(&run.ledger, "no share yet", Span::TenMinutes).len(), 1);
}

/// A year of forty devices goes into a backup whole; of a thousand what there is room for, the days first.
#[test]
fn a_backup_has_the_heat_of_a_house() {
    for (count, all) in [(40_u32, true), (1_000, false)] {
        let now = Now { mono: std::time::Instant::now(), unix: START };
        let mut records = Vec::new();
        for number in (1..=count).map(WorkerNumber) {
            let (name, device) = (format!("w{}", number.0), "d".to_owned());
            records.push(Record::Worker { number, name, device, unix: START });
        }
        let mut card = Card::default();
        card.journal = records;
        let mut run = Run::new(card, START);
        for number in 1..=count {
            let worker = run.ledger.worker(run.now, &format!("w{number}"), "d");
            run.tell(LedgerEvent::Heat { worker, celsius: Some(60.0), watts: Some(17.0) });
        }
        let [(_, slot)] = run
            .ledger
            .find(WorkerNumber(1))
            .map(|id| run.ledger.get(id).unwrap().heat(Span::TenMinutes))
            .unwrap()[..]
        else {
            panic!("one slot")
        };
        let full = |span: Span| {
            let last = span.period(START);
            let first = last + 1 - span.kept() as u32;
            (first..=last).map(|at| (at, slot)).collect::<Vec<_>>()
        };
        let mut journal = run.card.journal.clone();
        for span in Span::ALL {
            journal.extend(
                (1..=count).map(|number| Record::Heat {
                    span,
                    of: vec![(WorkerNumber(number), full(span))],
                }),
            );
        }
        let ledger = Ledger::replay(now, &journal);
        let backup = ledger.records(BACKUP_BUDGET);
        let file = backup::write(&backup);
        assert!(file.len() <= MAX_BACKUP, "{} bytes", file.len());
        let heat = bytes(backup.iter().filter(is_heat));
        println!("{count} miners: {heat} bytes of heat in a backup of {} bytes", file.len());
        let restored = Ledger::replay(now, &backup::read(&file).unwrap());
        let kept = |span| {
            let told = restored.workers().filter(|(_, worker)| !worker.heat(span).is_empty());
            told.count()
        };
        if all {
            let whole = |(_, worker): (WorkerId, &Worker)| {
                Span::ALL.into_iter().all(|span| worker.heat(span).len() == span.kept())
            };
            assert!(restored.workers().all(whole));
        } else {
            assert!(kept(Span::Day) > 60 && kept(Span::TenMinutes) == 0, "{}", kept(Span::Day));
        }
    }
}

#[test]
fn the_views_tell_what_the_ledger_has() {
    let mut run = Run::new(Card::default(), START / DAY * DAY + 600);
    known(&mut run, "a");
    known(&mut run, "b");
    for _ in 0..90 {
        run.advance(60);
        run.heat("a", 60.0, 17.3);
    }
    let worker = run.worker("b");
    run.tell(LedgerEvent::Heat { worker, celsius: None, watts: Some(3_000.0) });
    let of = |name: &str| {
        let worker = run.ledger.named(name).and_then(|id| run.ledger.get(id)).unwrap();
        miners::history(worker, run.now).heat
    };
    let (a, b, all) = (of("a"), of("b"), miners::watts(&run.ledger, run.now));
    assert_eq!((a.day.len(), a.month.len(), a.all.len()), (10, 1, 1));
    assert_eq!((b.day.len(), b.month.len(), b.all.len()), (1, 1, 1));
    for heat in [&a, &b, &all] {
        for points in [&heat.day, &heat.month, &heat.all] {
            assert!(points.windows(2).all(|pair| pair[0].at <= pair[1].from));
            assert!(points.iter().all(|point| point.from <= point.at && point.at <= run.now.unix));
            assert_eq!(points.last().unwrap().at, run.now.unix, "the last one is not over");
        }
    }
    let first = a.day[0];
    assert_eq!(
        (first.celsius_max, first.celsius, first.watts),
        (Some(60.0), Some(60.0), Some(17.3))
    );
    assert_eq!(first.at - first.from, 600);
    assert_eq!((b.day[0].celsius, b.day[0].celsius_max), (None, None));
    let (first, last) = (all.day[0], all.day.last().unwrap());
    assert_eq!((first.watts, first.miners, first.celsius_max), (Some(17.3), 1, None));
    assert!((last.watts.unwrap() - 3_017.3).abs() < 0.8 && last.miners == 2, "{last:?}");
    // After a day it is no part of the last one.
    run.advance(DAY + 601);
    let later = miners::watts(&run.ledger, run.now);
    assert_eq!((later.day.len(), later.month.len(), later.all.len()), (0, 1, 1));
    assert_eq!(Grain::Day.period(later.all[0].from), Grain::Day.period(START));
}
