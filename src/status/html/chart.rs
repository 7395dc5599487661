//! Charts as inline SVG.

use std::fmt::Write;

use maud::{Markup, html};

use crate::status::{HeatPointView, HistoryView, MarkKind, MarkView, PointView, format};

use super::{View, rate};

/// At least so many units wide, and at most twice as many.
const WIDTH: f64 = 600.0;
/// A chart is 144 pixels high, and a phone has three dots for each.
const HEIGHT: f64 = 500.0;
const DAY: u64 = 86_400;
/// So many marks stand in a chart, the newest.
const MARKS: usize = 32;

/// The hashrate of all miners.
pub(super) fn hashrate(view: &View<'_>) -> Markup {
    html! {
        p.rates #rates { (rates(view)) }
        (ranges(&view.s.history, view.s.now))
    }
}

/// In figures.
pub(super) fn rates(view: &View<'_>) -> Markup {
    let totals = &view.s.totals;
    html! {
        span { "5 min" b { (rate(&totals.rate_5m)) } }
        span { "1 h" b { (rate(&totals.rate_1h)) } }
        span { "24 h" b { (rate(&totals.rate_24h)) } }
    }
}

/// The charts of three ranges; radio buttons choose without a script.
pub(super) fn ranges(history: &HistoryView, now: u64) -> Markup {
    let all_from = history.all.first().map_or(now.saturating_sub(DAY), |point| point.from);
    let heat = &history.heat;
    let ranges = [
        ("24 hours", &history.day, &heat.day, now.saturating_sub(DAY)),
        ("30 days", &history.month, &heat.month, now.saturating_sub(30 * DAY)),
        ("All time", &history.all, &heat.all, all_from),
    ];
    let told = Told::of(ranges.iter().flat_map(|(_, _, heat, _)| heat.iter()));
    html! {
        fieldset.ranges {
            legend.sr { "Range" }
            @for (i, (name, points, heat, from)) in ranges.into_iter().enumerate() {
                input type="radio" name="range" id={ "r" (i) } checked[i == 0];
                label for={ "r" (i) } { (name) }
                (hashrates(name, points, &history.marks, from, now))
                @if told.celsius || told.watts {
                    (heats(name, heat, &told, time(&dots_of(points), from, now)))
                }
            }
        }
    }
}

/// What the points of heat tell at all.
struct Told {
    celsius: bool,
    watts: bool,
    /// By how many miners, at last.
    miners: u32,
}

impl Told {
    fn of<'a>(points: impl Iterator<Item = &'a HeatPointView>) -> Told {
        let mut told = Told { celsius: false, watts: false, miners: 0 };
        let mut last = 0;
        for point in points {
            told.celsius |= point.celsius_max.is_some();
            told.watts |= point.watts.is_some();
            if point.watts.is_some() && point.at >= last {
                (last, told.miners) = (point.at, point.miners);
            }
        }
        told
    }
}

/// The last 24 hours alone.
pub(super) fn day(history: &HistoryView, now: u64) -> Markup {
    hashrates("24 hours", &history.day, &history.marks, now.saturating_sub(DAY), now)
}

/// A small line without axes.
pub(super) fn trend(values: &[f64]) -> Markup {
    // 24 points are as many as its width shows.
    let step = values.len().div_ceil(24).max(1);
    let values: Vec<f64> =
        values.chunks(step).map(|c| c.iter().sum::<f64>() / c.len() as f64).collect();
    let top = values.iter().copied().fold(0.0, f64::max);
    if values.len() < 2 || top <= 0.0 {
        return html! {};
    }
    // Closed below the view, like the large chart, and in steps like its line.
    let y = |value: f64| (18.0 * (1.0 - value / top)).round() + 0.0;
    let mut line = format!("M-1 25L0 {}l", y(values[0]));
    for pair in values.windows(2) {
        let dy = y(pair[1]) - y(pair[0]);
        let _ = if dy < 0.0 { write!(line, "1{dy} ") } else { write!(line, "1 {dy} ") };
    }
    let end = line.trim_end().len();
    line.truncate(end);
    // Beyond the view, or its side would be drawn.
    let _ = write!(line, "H{}V25", values.len());
    html! {
        svg.trend viewBox={ "0 -1 " (values.len() - 1) " 20" } preserveAspectRatio="none"
            aria-hidden="true" {
            path d=(line) {}
        }
    }
}

/// A value of an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Dot {
    from: u64,
    at: u64,
    value: f64,
}

/// What a chart is of.
struct Kind {
    /// At the start of its description.
    name: &'static str,
    /// Where nothing of it is above zero.
    nothing: &'static str,
    /// A value with its unit.
    words: fn(f64) -> String,
    /// The unit that the script puts behind a value; the script knows those of a hashrate.
    unit: Option<&'static str>,
    /// Times its highest value is at least to fit below the top: in a low chart the top's label needs room.
    room: f64,
}

const HASHRATE: Kind = Kind {
    name: "Hashrate",
    nothing: "No hashrate in this time.",
    words: format::hashrate,
    unit: None,
    room: 1.0,
};
const HOTTEST: Kind = Kind {
    name: "Hottest chip",
    nothing: "No temperature in this time.",
    words: format::celsius,
    unit: Some("°C"),
    room: 1.15,
};
const POWER: Kind = Kind {
    name: "Power",
    nothing: "No power in this time.",
    words: format::watts,
    unit: Some("W"),
    room: 1.15,
};

fn dots_of(points: &[PointView]) -> Vec<Dot> {
    let dot = |p: &PointView| Dot { from: p.from, at: p.at, value: p.hashrate };
    points.iter().map(dot).collect()
}

fn hashrates(name: &str, points: &[PointView], marks: &[MarkView], from: u64, now: u64) -> Markup {
    let dots = dots_of(points);
    chart(&HASHRATE, name, [&dots, &[]], marks, time(&dots, from, now))
}

/// Temperature and power, over the same time as the hashrate above them.
fn heats(name: &str, points: &[HeatPointView], told: &Told, time: (u64, u64)) -> Markup {
    let dots = |value: fn(&HeatPointView) -> Option<f64>| -> Vec<Dot> {
        let dot =
            |p: &HeatPointView| Some(Dot { from: p.from, at: p.at, value: value(p)?.max(0.0) });
        points.iter().filter_map(dot).collect()
    };
    html! {
        div.heat {
            @if told.celsius {
                p.quiet { "Hottest chip; dashed: its mean" }
                (chart(&HOTTEST, name, [&dots(|p| p.celsius_max), &dots(|p| p.celsius)], &[], time))
            }
            @if told.watts {
                p.quiet { "Power" @if told.miners > 1 { " of " (told.miners) " miners" } }
                (chart(&POWER, name, [&dots(|p| p.watts), &[]], &[], time))
            }
        }
    }
}

/// From when to when a chart is. A young history fills the width.
fn time(dots: &[Dot], from: u64, now: u64) -> (u64, u64) {
    let first = dots.iter().find(|dot| dot.at >= from && dot.at <= now && dot.value.is_finite());
    let first = first.map_or(from, |dot| dot.from);
    let begin =
        if first > from.saturating_add(now.saturating_sub(from) / 8) { first } else { from };
    (begin, now)
}

/// A line with its ground, and a dashed one in front of it if that has dots.
fn chart(
    kind: &Kind,
    name: &str,
    [dots, dashed]: [&[Dot]; 2],
    marks: &[MarkView],
    (begin, now): (u64, u64),
) -> Markup {
    let in_time = |dots: &[Dot]| -> Vec<Dot> {
        let is_in = |dot: &&Dot| dot.at >= begin && dot.at <= now && dot.value.is_finite();
        dots.iter().filter(is_in).copied().collect()
    };
    let (shown, dashed) = (in_time(dots), in_time(dashed));
    let top = shown.iter().map(|dot| dot.value).fold(0.0, f64::max);
    let (Some(last), words) = (shown.last(), kind.words) else {
        return html! { figure.chart { p.quiet { "Nothing recorded yet." } } };
    };
    if top <= 0.0 {
        return html! { figure.chart { p.quiet { (kind.nothing) } } };
    }
    let low = shown.iter().map(|dot| dot.value).fold(f64::INFINITY, f64::min);
    let ceiling = round_up(top * kind.room);
    let label = format!(
        "{}, {name}: between {} and {}, last {}",
        kind.name,
        words(low),
        words(top),
        words(last.value)
    );
    let span = now.saturating_sub(begin).max(1);
    let half = span / 2;
    let scale = Scale::new(&shown, begin, now);
    let (width, x) = (scale.width, |at: u64| scale.x(at));
    let least = width / WIDTH;
    let marks = marks.iter().rev().filter(|mark| mark.at >= begin && mark.at <= now).take(MARKS);
    html! {
        // The script reads values off the lines and tells them where the reader points at.
        figure.chart data-from=(begin) data-to=(now) data-top=(format!("{ceiling:.4e}"))
            data-unit=[kind.unit] {
            svg viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none"
                role="img" aria-label=(label) {
                path.grid d={ "M0 2H" (width) "M0 250H" (width) "M0 498H" (width) } {}
                path.line d=(line(&shown, &scale, now, ceiling)) {}
                @if !dashed.is_empty() { path.mean d=(line(&dashed, &scale, now, ceiling)) {} }
                @for mark in marks {
                    rect.(mark_class(mark.kind)) x=(format!("{:.0}", x(mark.at) - least)) y="0"
                        width=(format!("{:.0}", (x(mark.until.unwrap_or(mark.at)) - x(mark.at)).max(2.0 * least)))
                        height=(HEIGHT) data-t=(mark.at) {
                        title { (mark.text) }
                    }
                }
            }
            span.y { (format::round(&words(ceiling))) }
            span.y.mid { (format::round(&words(ceiling / 2.0))) }
            span.at hidden {}
            figcaption {
                span { (format::duration(span)) " ago" }
                span { (format::duration(half)) }
                span { "now" }
            }
        }
    }
}

fn mark_class(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::Block => "m block",
        MarkKind::Failover => "m lead",
        MarkKind::Outage => "m out",
        MarkKind::Start => "m start",
    }
}

/// Where a time stands in a chart. An interval is a whole number of units wide, so that a line of many
/// equal steps is the same few letters again and again, which pack well.
struct Scale {
    begin: u64,
    usual: u64,
    units_per_s: f64,
    /// All of it.
    width: f64,
}

impl Scale {
    fn new(points: &[Dot], begin: u64, now: u64) -> Scale {
        let (span, usual) = (now.saturating_sub(begin).max(1) as f64, usual_interval(points));
        let intervals = span / usual as f64;
        // Where intervals are few, or far too many for a chart, they have no part in it.
        let units_per_s = match (WIDTH / intervals).ceil() {
            each if (1.0..=WIDTH).contains(&each) && intervals <= 2.0 * WIDTH => {
                each / usual as f64
            }
            _ => WIDTH / span,
        };
        Scale { begin, usual, units_per_s, width: (span * units_per_s).round() }
    }

    fn x(&self, at: u64) -> f64 {
        (at.saturating_sub(self.begin) as f64 * self.units_per_s).round()
    }
}

/// One closed path: its sides and floor lie outside of the view, so that one stroke and one fill
/// do. Each interval's value stands at its end; the first one begins where what is known of it does.
/// A gap of more than three intervals falls to the floor. The script reads values off it.
fn line(points: &[Dot], scale: &Scale, now: u64, ceiling: f64) -> String {
    let floor = HEIGHT + 25.0;
    let mut d = String::with_capacity(points.len() * 5);
    let y = |rate: f64| (HEIGHT - rate / ceiling * HEIGHT).round();
    let mut before: Option<(&Dot, f64, f64)> = None;
    let mut runs = false;
    for point in points {
        let (start, px, py) = (scale.x(point.from), scale.x(point.at), y(point.value));
        let _ = match before {
            Some((last, ..)) if point.from.saturating_sub(last.at) > 2 * scale.usual => {
                runs = false;
                write!(d, "V{floor}H{start}V{py}H{px}")
            }
            Some((_, x, y)) => {
                // Numbers need no blank where a sign parts them.
                let (dx, dy) = (px - x, py - y);
                let begin = if std::mem::replace(&mut runs, true) { " " } else { "l" };
                let blank = if dy < 0.0 { "" } else { " " };
                // A negative zero would be a letter more.
                write!(d, "{begin}{}{blank}{}", dx + 0.0, dy + 0.0)
            }
            None => {
                let start = if start < scale.width / 50.0 { -5.0 } else { start };
                write!(d, "M{start} {floor}V{py}H{px}")
            }
        };
        before = Some((point, px, py));
    }
    let end = match before {
        Some((last, ..)) if now.saturating_sub(last.at) <= 2 * scale.usual => scale.width + 5.0,
        Some((_, x, _)) => x,
        None => 0.0,
    };
    let _ = write!(d, "H{end}V{floor}Z");
    d
}

fn usual_interval(points: &[Dot]) -> u64 {
    let mut gaps: Vec<u64> =
        points.windows(2).map(|pair| pair[1].at.saturating_sub(pair[0].at)).collect();
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).copied().unwrap_or(600).max(1)
}

/// The next of 1, 1.5, 2, 3, 4, 5, 6, 8, 10 times a power of ten.
fn round_up(value: f64) -> f64 {
    let scale = 10f64.powf(value.log10().floor());
    let steps = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    let step = steps.iter().find(|step| *step * scale >= value).unwrap_or(&10.0);
    step * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_falls_to_the_floor() {
        let at = |at: u64| Dot { from: at.saturating_sub(100), at, value: 100.0 };
        let points = [at(0), at(100), at(200), at(900), at(1000)];
        let scale = Scale::new(&points, 0, 1000);
        assert_eq!(
            line(&points, &scale, 1000, 100.0),
            "M-5 525V0H0l60 0 60 0V525H480V0H540l60 0H605V525Z"
        );
    }

    #[test]
    fn equal_steps_are_equally_long_wherever_they_begin_and_rise_and_fall_by_what_they_do() {
        let shown: Vec<Dot> = (0..144)
            .map(|i| Dot {
                from: 1_077 + i * 600,
                at: 1_677 + i * 600,
                value: 50.0 + (i % 3) as f64,
            })
            .collect();
        let scale = Scale::new(&shown, 1_000, 1_000 + DAY);
        let d = line(&shown, &scale, 1_000 + DAY, 100.0);
        assert!(d.starts_with("M-5 525V250H6l5-5 5-5 5 10 5-5 5-5 5 10"), "{d}");
        assert_eq!(scale.width, 720.0);
        // A few points of a young history, and a history of years in strange pieces.
        for (count, span) in [(1, 30), (2, 90), (5, 100_000_000)] {
            let scale = Scale::new(&shown[..count], 1_000, 1_000 + span);
            assert!((WIDTH..=2.0 * WIDTH).contains(&scale.width), "{count}: {}", scale.width);
        }
    }

    #[test]
    fn the_ceiling_is_a_round_number_above() {
        for (value, ceiling) in
            [(12.4, 15.0), (1.0, 1.0), (9.9, 10.0), (0.034, 0.04), (510.0, 600.0)]
        {
            assert!((round_up(value) - ceiling).abs() < 1e-9 * ceiling, "{value}");
        }
    }

    #[test]
    fn the_sides_of_a_trend_lie_beyond_the_view() {
        let drawn = trend(&[1.0, 2.0, 2.0, 0.0]).into_string();
        assert!(drawn.contains("viewBox=\"0 -1 3 20\""), "{drawn}");
        assert!(drawn.contains("d=\"M-1 25L0 9l1-9 1 0 1 18H4V25\""), "{drawn}");
    }

    #[test]
    fn strange_numbers_draw_nothing() {
        let points = [PointView { at: 5, hashrate: f64::NAN, ..Default::default() }];
        assert!(hashrates("x", &points, &[], 0, 10).into_string().contains("Nothing recorded yet"));
        assert_eq!(trend(&[0.0, 0.0]).into_string(), "");
        assert_eq!(trend(&[]).into_string(), "");
    }
}
