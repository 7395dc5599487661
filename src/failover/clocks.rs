//! Compares the clocks of the nodes and of this box: which one is wrong, and what follows.
//!
//! A block carries the time of the node whose template it was made from. Other nodes refuse it
//! while it is more than two hours ahead of their own clocks (`time-too-new`), and a node whose own
//! clock is two hours behind refuses the blocks of the network in the same way. So a node whose
//! clock is far off should not lead. Only the other clocks can show which one that is.

use std::fmt;
use std::time::{Duration, Instant};

use super::Failover;
use super::io::Output;
use super::node::{Node, Standing};
use crate::clock::{Now, Reading};
use crate::template::Template;

/// How far a block's time may be ahead of a node's clock, seconds (`MAX_FUTURE_BLOCK_TIME` of
/// Bitcoin Core's `chain.h`).
const MAX_FUTURE_BLOCK_TIME: i64 = 2 * 3600;
/// From this difference on, seconds, blocks are counted as refused: ten minutes less than the rule,
/// because miners roll the time on and no clock of the network is right to the second.
pub const REFUSED_FROM: i64 = MAX_FUTURE_BLOCK_TIME - 600;
/// A clock that was off by [`REFUSED_FROM`] is good again when it is off by so much less, seconds.
const STEADY_BELOW: i64 = 60;
/// Clocks this close are one, seconds: what they show comes in whole seconds and takes its way.
const SAME: u64 = 10;
/// A clock that moves by more than this against monotonic time, seconds, was set by somebody.
const JUMP: u64 = 5;
/// For so long after it a template's time is believed rather than the `Date` of an answer: the leading
/// node gives one each 30 s, one that seems wrong is asked for one each 60 s.
const TEMPLATE_RULES: Duration = Duration::from_secs(90);

/// What a node's clock showed last.
///
/// It is read in two places. A template's time is the one that goes into the block, but backups are
/// rarely asked for one, and it tells nothing while the last blocks' times hold it up. Every answer
/// has a `Date`, but that may be a proxy's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NodeClock {
    template: Option<Reading>,
    date: Option<Reading>,
}

impl NodeClock {
    /// What it shows, as far as one knows.
    fn shown(&self) -> Option<Reading> {
        let is_newer = |template: &Reading| {
            self.date.is_none_or(|date| date.at < template.at + TEMPLATE_RULES)
        };
        self.template.filter(is_newer).or(self.date)
    }

    /// Notes a template's time and tells by how much the clock was set since the one before.
    /// `mintime` is the time that it has at least.
    fn template(&mut self, curtime: u32, mintime: u32, at: Instant) -> Option<i64> {
        let reading = Reading { unix: curtime.into(), at };
        let before = self.template;
        // Where it is held up, the clock is not later.
        let holds = |before: &Reading| before.shown_at(at) <= reading.shown_at(at);
        self.template = if curtime > mintime { Some(reading) } else { before.filter(holds) };
        jump(before?, self.template?)
    }

    /// Notes a `Date` and tells by how much the clock was set since the one before.
    fn date(&mut self, reading: Reading) -> Option<i64> {
        let by = jump(self.date.replace(reading)?, reading)?;
        self.template = None;
        Some(by)
    }
}

/// How far a clock is off, in words: `3 h 5 min fast`. Seconds; positive is ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Off(pub i64);

impl fmt::Display for Off {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.unsigned_abs();
        match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
            (0, 0, 0) => write!(f, "{seconds} s")?,
            (0, 0, minutes) => write!(f, "{minutes} min")?,
            (0, hours, 0) => write!(f, "{hours} h")?,
            (0, hours, minutes) => write!(f, "{hours} h {minutes} min")?,
            (1, ..) => f.write_str("1 day")?,
            (days, ..) => write!(f, "{days} days")?,
        }
        f.write_str(if self.0 < 0 { " slow" } else { " fast" })
    }
}

/// Where one clock stands among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Seconds ahead of the median of the other clocks that can be believed; negative is behind.
    pub ahead: i64,
    /// It is this clock that is wrong: the others outvote it, or the chain itself is later. Where
    /// clocks differ and none is odd, nobody can tell which is wrong.
    pub odd: bool,
}

/// The clocks at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// This box's; `None` where there is nothing to compare with.
    pub this_box: Option<Comparison>,
    /// The nodes', in the order of preference.
    pub nodes: Vec<Option<Comparison>>,
    /// Seconds by which a block of each node would be ahead of what the others take (or, below zero,
    /// theirs ahead of what it takes), as far as one knows.
    pub astray: Vec<Option<i64>>,
}

impl Clocks {
    /// Compares what the nodes' clocks show with what this box's shows, Unix seconds. `floor` is a
    /// time that has certainly passed: a clock below it is wrong whatever the others show.
    pub fn compare(nodes: &[Option<i64>], this_box: i64, floor: i64) -> Clocks {
        let all: Vec<i64> = nodes.iter().flatten().copied().chain([this_box]).collect();
        let believed = believed(&all, floor);
        let place = |clock: i64| -> Option<Comparison> {
            let mut others = believed.clone();
            let own = others.iter().position(|other| *other == clock);
            own.map(|own| others.remove(own));
            let reference = median(&others).or((clock < floor).then_some(floor))?;
            Some(Comparison { ahead: clock.saturating_sub(reference), odd: own.is_none() })
        };
        let among = |clock: &i64| believed.contains(clock);
        // Where nobody knows which node is wrong, the earlier time is accepted by all of them.
        let earliest = nodes.iter().flatten().copied().filter(among).min();
        let astray = |clock: i64| match place(clock)? {
            Comparison { ahead, odd: true } => Some(ahead),
            _ => Some(clock.saturating_sub(earliest?)),
        };
        Clocks {
            this_box: place(this_box),
            nodes: nodes.iter().map(|clock| clock.and_then(place)).collect(),
            astray: nodes.iter().map(|clock| clock.and_then(astray)).collect(),
        }
    }
}

/// The clocks without the odd ones, sorted. A clock is odd when more clocks stand by the median than
/// by it: nearer than half of what lies between the two.
fn believed(all: &[i64], floor: i64) -> Vec<i64> {
    let mut believed: Vec<i64> = all.iter().copied().filter(|clock| *clock >= floor).collect();
    believed.sort_unstable();
    while let Some(median) = median(&believed) {
        let by = |clock: i64, within: u64| {
            believed.iter().filter(|other| other.abs_diff(clock) <= within).count()
        };
        let odd = believed.iter().copied().filter(|clock| {
            let apart = clock.abs_diff(median);
            apart > SAME && by(median, apart / 2) > by(*clock, apart / 2)
        });
        let Some(odd) = odd.max_by_key(|clock| clock.abs_diff(median)) else { break };
        believed.retain(|clock| *clock != odd);
    }
    believed
}

/// The middle one of a sorted list, the earlier one of two.
fn median(sorted: &[i64]) -> Option<i64> {
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

impl Failover {
    /// Notes what this box's own clock shows.
    pub(super) fn note_box(&mut self, now: Now, out: &mut Vec<Output>) {
        let reading = Reading::from(now);
        let before = self.this_box.replace(reading);
        let Some(by) = before.and_then(|before| jump(before, reading)) else { return };
        // Perhaps this box was asleep, monotonic time with it: what the nodes showed before is no
        // measure of what they show now.
        for node in &mut self.nodes {
            node.clock = NodeClock::default();
            node.ask_soon = Some(now.mono);
        }
        out.push(Output::ClockSet { node: None, by });
    }

    /// Notes the time of a node's template, which was made then.
    pub(super) fn note_template_time(
        &mut self,
        index: usize,
        template: &Template,
        made: Instant,
        out: &mut Vec<Output>,
    ) {
        let by = self.nodes[index].clock.template(template.curtime, template.mintime, made);
        self.note_set(index, by, out);
    }

    /// Notes the `Date` of a node's answer.
    pub(super) fn note_date(&mut self, index: usize, date: Reading, out: &mut Vec<Output>) {
        let by = self.nodes[index].clock.date(date);
        self.note_set(index, by, out);
    }

    fn note_set(&mut self, index: usize, by: Option<i64>, out: &mut Vec<Output>) {
        let node = Some(self.nodes[index].spec.id);
        out.extend(by.map(|by| Output::ClockSet { node, by }));
    }

    /// The clocks side by side. Nodes of a chain that is not the owner's do not count.
    pub fn clocks(&self, at: Instant) -> Option<Clocks> {
        let shown = |node: &Node| {
            let clock = node.clock.shown().filter(|_| node.wrong_chain.is_none())?;
            Some(clock.shown_at(at))
        };
        let nodes: Vec<Option<i64>> = self.nodes.iter().map(shown).collect();
        Some(Clocks::compare(&nodes, self.this_box?.shown_at(at), self.passed()))
    }

    /// A time that has certainly passed, Unix seconds: no block is accepted that is more than two
    /// hours ahead. By the oldest of the nodes' tips, so that none can make the others look wrong.
    fn passed(&self) -> i64 {
        let tips = self.nodes.iter().filter(|node| node.wrong_chain.is_none() && node.is_main());
        let tips = tips.filter_map(|node| Some(node.health.as_ref()?.0.tip_time));
        let oldest = tips.filter(|time| *time > 0).min().and_then(|time| i64::try_from(time).ok());
        oldest.map_or(i64::MIN, |time| time - MAX_FUTURE_BLOCK_TIME)
    }

    /// By how much each node's clock is off, where it should not lead while another can. On test
    /// networks time is what their miners make of it.
    pub(super) fn misleading_clocks(&self, at: Instant) -> Vec<Option<i64>> {
        let mut off = self.clocks(at).map_or_else(Vec::new, |clocks| clocks.astray);
        off.resize(self.nodes.len(), None);
        for (off, node) in off.iter_mut().zip(&self.nodes) {
            *off = off.filter(|off| node.is_main() && misleads(*off, &node.standing));
        }
        off
    }
}

/// Off by so much, a node should not lead. One that is near the limit does not come and go with each
/// reading.
fn misleads(off: i64, before: &Standing) -> bool {
    let limit = match before {
        Standing::WrongClock(_) => REFUSED_FROM - STEADY_BELOW,
        _ => REFUSED_FROM,
    };
    off.unsigned_abs() >= limit.unsigned_abs()
}

/// By how many seconds a clock was set between two readings, if it was.
fn jump(before: Reading, now: Reading) -> Option<i64> {
    let by = now.shown_at(now.at).saturating_sub(before.shown_at(now.at));
    (by.unsigned_abs() > JUMP).then_some(by)
}

#[cfg(test)]
mod tests {
    use super::*;

    const H: i64 = 3600;
    const NOW: i64 = 1_790_000_000;

    /// Offsets in, comparisons out: the nodes' and the box's.
    fn compare(nodes: &[i64], this_box: i64) -> Vec<Option<(i64, bool)>> {
        let nodes: Vec<Option<i64>> = nodes.iter().map(|clock| Some(NOW + clock)).collect();
        let clocks = Clocks::compare(&nodes, NOW + this_box, NOW - 2 * H - 600);
        let all = clocks.nodes.iter().chain([&clocks.this_box]);
        all.map(|place| place.map(|place| (place.ahead, place.odd))).collect()
    }

    fn misleading(nodes: &[i64], this_box: i64) -> Vec<Option<i64>> {
        let nodes: Vec<Option<i64>> = nodes.iter().map(|clock| Some(NOW + clock)).collect();
        let clocks = Clocks::compare(&nodes, NOW + this_box, NOW - 2 * H - 600);
        let bad = |off: Option<i64>| off.filter(|off| misleads(*off, &Standing::Healthy));
        clocks.astray.into_iter().map(bad).collect()
    }

    #[test]
    fn one_clock_tells_nothing_two_differ_and_of_three_the_odd_one_is_named() {
        assert_eq!(compare(&[], 5), [None]);
        assert_eq!(compare(&[3], 0), [Some((3, false)), Some((-3, false))]);
        assert_eq!(compare(&[2 * H], 0), [Some((2 * H, false)), Some((-2 * H, false))]);
        assert_eq!(
            compare(&[2 * H, 0], 1),
            [Some((2 * H, true)), Some((-1, false)), Some((1, false))]
        );
        // The box is the odd one, by a minute.
        assert_eq!(compare(&[0, 1], -61)[2], Some((-61, true)));
        // Readings travel: some seconds are no difference.
        assert_eq!(compare(&[0, 1], 9)[2], Some((9, false)));
    }

    #[test]
    fn the_odd_one_is_found_where_the_others_agree_by_and_large() {
        // 5 minutes between two of them; the third is 3 hours away from both.
        let clocks = compare(&[0, 300], 3 * H);
        assert_eq!(clocks[2], Some((3 * H, true)));
        assert_eq!(clocks[..2], [Some((-300, false)), Some((300, false))]);
        // One too far ahead, one too far behind, two right.
        let clocks = compare(&[3 * H, -H, 0], 0);
        assert_eq!(clocks[..2], [Some((3 * H, true)), Some((-H, true))]);
        assert_eq!(clocks[2..], [Some((0, false)), Some((0, false))]);
    }

    #[test]
    fn two_against_two_is_undecided() {
        let clocks = compare(&[0, 0, 3 * H], 3 * H);
        assert!(clocks.iter().all(|clock| clock.is_some_and(|(_, odd)| !odd)), "{clocks:?}");
        assert_eq!(clocks[0], Some((-3 * H, false)));
        assert_eq!(clocks[3], Some((3 * H, false)));
    }

    #[test]
    fn a_clock_before_the_newest_block_is_wrong_even_against_a_single_node() {
        let clocks = compare(&[0], -NOW);
        assert_eq!(clocks, [None, Some((-NOW, true))]);
        // Two boxes that were never set do not outvote a node.
        assert_eq!(compare(&[-9 * H, 0], -9 * H)[1], None);
        // Nobody is left to measure by but the chain.
        let alone = Clocks::compare(&[], 100, 200).this_box;
        assert_eq!(alone, Some(Comparison { ahead: -100, odd: true }));
    }

    #[test]
    fn a_node_that_is_nearly_two_hours_off_misleads() {
        assert_eq!(misleading(&[REFUSED_FROM, 0], 0), [Some(REFUSED_FROM), None]);
        assert_eq!(misleading(&[REFUSED_FROM - 1, 0], 0), [None, None]);
        assert_eq!(misleading(&[0, -3 * H], 0), [None, Some(-3 * H)], "it would refuse blocks");
        // At the limit it does not come and go.
        assert!(!misleads(REFUSED_FROM - 1, &Standing::Healthy));
        assert!(misleads(REFUSED_FROM - 1, &Standing::WrongClock(REFUSED_FROM)));
        assert!(!misleads(REFUSED_FROM - 61, &Standing::WrongClock(REFUSED_FROM)));
        // Against this box alone there is no better node, and the box may be the wrong one.
        assert_eq!(misleading(&[3 * H], 0), [None]);
        // Two nodes, and the box agrees with neither: the earlier time is taken by both.
        assert_eq!(misleading(&[3 * H, 0], 400 * 24 * H), [Some(3 * H), None]);
        assert_eq!(misleading(&[0, 0, 3 * H], 3 * H), [None, None, Some(3 * H)]);
    }

    #[test]
    fn extremes_do_no_harm() {
        let ends = [i64::MIN, i64::MAX, 0];
        for a in ends {
            for b in ends {
                for c in ends {
                    for floor in ends {
                        let clocks = Clocks::compare(&[Some(a), None, Some(b)], c, floor);
                        assert_eq!((clocks.nodes.len(), clocks.nodes[1]), (3, None));
                    }
                }
            }
        }
    }

    #[test]
    fn readings_are_compared_at_one_moment() {
        let at = Instant::now();
        let s = Duration::from_secs(1);
        let before = Reading { unix: 1000, at };
        assert_eq!(before.shown_at(at + s * 7), 1007);
        assert_eq!(Reading { unix: 1000, at: at + s * 7 }.shown_at(at), 993);
        assert_eq!(jump(before, Reading { unix: 1060, at: at + s * 60 }), None);
        assert_eq!(jump(before, Reading { unix: 1065, at: at + s * 60 }), None, "slewed");
        assert_eq!(jump(before, Reading { unix: 1066, at: at + s * 60 }), Some(6));
        assert_eq!(jump(before, Reading { unix: 1000, at: at + s * 60 }), Some(-60));
        assert_eq!(Reading { unix: u64::MAX, at }.shown_at(at + s), i64::MAX);
    }

    #[test]
    fn a_templates_time_rules_for_a_while_and_a_date_that_jumps_ends_it() {
        let at = Instant::now();
        let s = Duration::from_secs(1);
        let shown = |clock: NodeClock| clock.shown().map(|clock| clock.shown_at(at));
        let mut clock = NodeClock::default();
        assert_eq!(clock.date(Reading { unix: 9000, at }), None);
        assert_eq!(shown(clock), Some(9000), "a proxy's");
        assert_eq!(clock.template(1000, 500, at), None, "no clock was set");
        assert_eq!(clock.date(Reading { unix: 9012, at: at + s * 12 }), None);
        assert_eq!(shown(clock), Some(1000));
        assert_eq!(clock.date(Reading { unix: 9090, at: at + s * 90 }), None);
        assert_eq!(shown(clock), Some(9000), "so long nothing was heard of templates");
        // Set forward, seen first in a template; set back, seen first in the date.
        assert_eq!(clock.template(5100, 500, at + s * 100), Some(4000));
        assert_eq!(shown(clock), Some(5000));
        assert_eq!(clock.date(Reading { unix: 1101, at: at + s * 101 }), Some(-8000));
        assert_eq!(shown(clock), Some(1000));
        // Set back below the least time: the template tells that it is no longer what it was.
        let mut clock = NodeClock::default();
        clock.template(5000, 4000, at);
        clock.template(4000, 4000, at + s);
        assert_eq!(shown(clock), None);
        clock.template(4000, 4000, at + s);
        assert_eq!(shown(clock), None, "and never what it is");
    }

    #[test]
    fn words() {
        let words = [0, 59, 60, 3600, 7380, -10_800, 86_400, -20_000 * 86_400];
        let words: Vec<String> = words.map(|seconds| Off(seconds).to_string()).into();
        assert_eq!(words[..4], ["0 s fast", "59 s fast", "1 min fast", "1 h fast"]);
        assert_eq!(words[4..], ["2 h 3 min fast", "3 h slow", "1 day fast", "20000 days slow"]);
    }
}
