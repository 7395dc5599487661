//! The text about clocks for the owner: which one is wrong, what that means for a block found now,
//! and how to correct it.

use super::verdict::Alarms;
use super::{About, AlarmKind, ClockView, Level, NodeView, Snapshot, format};
use crate::failover::REFUSED_FROM;

/// The clock of this box is told of from here on, seconds: records and messages carry its time.
const BOX_TOLD: f64 = 60.0;
/// A node's is told of from here on, seconds. Blocks may be off by much more, but a clock that is
/// off by this is set by nobody and runs on.
const NODE_TOLD: f64 = 600.0;
/// From here on, seconds, a block is refused.
const REFUSED: f64 = REFUSED_FROM as f64;

/// What sets a clock right.
const SET_IT: &str =
    "Let its machine set the clock by the network; on Linux: timedatectl set-ntp true.";

/// `3 h 05 min fast`.
pub(crate) fn off(seconds: f64) -> String {
    let by = format::duration(seconds.abs() as u64);
    format!("{by} {}", if seconds > 0.0 { "fast" } else { "slow" })
}

/// The clock of this box is not known to be off by more than a minute, nor that of the leading node
/// by so much that blocks would be refused.
pub(super) fn are_sane(s: &Snapshot) -> bool {
    let is_right = |clock: ClockView| !clock.odd || clock.offset_s.abs() < REFUSED;
    s.board.clock_offset_s.is_none_or(|offset| offset.abs() <= BOX_TOLD)
        && s.leading().and_then(|node| node.clock).is_none_or(is_right)
}

/// Every alarm about clocks.
pub(super) fn alarms(s: &Snapshot, alarms: &mut Alarms) {
    for node in &s.nodes {
        if let Some(clock) = node.clock.filter(|clock| clock.odd) {
            odd_node(node, clock, alarms);
        }
    }
    let unset = s.board.clock_synced == Some(false);
    let ours = s.board.clock_offset_s.filter(|offset| offset.abs() > BOX_TOLD);
    // Of two clocks that differ the one that nobody has set is the likelier one.
    let blamed = ours.filter(|_| s.board.clock_odd || unset);
    if let Some(offset) = blamed {
        let unset = if unset { ", and no time server has set it yet" } else { "" };
        alarms.add(
            About::Box,
            Level::Warning,
            AlarmKind::Clock,
            format!("The clock of this box is {}{unset}.", off(offset)),
            format!("{}; let this box reach a time server (NTP).", carried(s)),
        );
    } else if unset {
        alarms.add(
            About::Box,
            Level::Info,
            AlarmKind::Clock,
            "The clock of this box is not set by a time server yet.",
            format!("{}.", carried(s)),
        );
    }
    difference(s, ours.filter(|_| blamed.is_none()), alarms);
}

fn odd_node(node: &NodeView, clock: ClockView, alarms: &mut Alarms) {
    let by = clock.offset_s;
    if by.abs() <= NODE_TOLD {
        return;
    }
    let leads = node.is_leader();
    let meaning = match (by.abs() >= REFUSED, by > 0.0, leads) {
        (false, ..) => "",
        (true, true, true) => ": other nodes would refuse the block that we find",
        (true, false, true) => ": it refuses the newest blocks, and we mine on an old one",
        (true, true, false) => ", so it leads only when no other can: others refuse its blocks",
        (true, false, false) => ", so it leads only when no other can: it refuses new blocks",
    };
    let level = if leads && by.abs() >= REFUSED { Level::Critical } else { Level::Warning };
    let text = format!("The clock of node {} is {}{meaning}.", node.name, off(by));
    alarms.add(About::Node, level, AlarmKind::NodeClock.of(&node.name), text, SET_IT);
}

/// Clocks that differ, and nobody knows which of them is wrong. `ours` is this box's offset, where
/// its clock is one of them.
fn difference(s: &Snapshot, ours: Option<f64>, alarms: &mut Alarms) {
    let doubted = |node: &&NodeView| {
        node.clock.is_some_and(|clock| !clock.odd && clock.offset_s.abs() > BOX_TOLD)
    };
    let nodes: Vec<&NodeView> = s.nodes.iter().filter(doubted).collect();
    let mut names: Vec<String> = nodes.iter().map(|node| format!("node {}", node.name)).collect();
    // On a test network nodes are not compared, only this box with them.
    if ours.is_some() && names.is_empty() {
        names
            .push(s.leading().map_or("the nodes".to_owned(), |node| format!("node {}", node.name)));
    }
    names.extend(ours.map(|_| "this box".to_owned()));
    let offsets = nodes.iter().filter_map(|node| Some(node.clock?.offset_s.abs()));
    let apart = offsets.chain(ours.map(f64::abs)).fold(0.0, f64::max);
    // Between nodes alone it takes more to be worth a word.
    if names.len() < 2 || (ours.is_none() && apart <= NODE_TOLD) {
        return;
    }
    let last = names.pop().unwrap_or_default();
    let refused = apart >= REFUSED && s.chain == "main";
    alarms.add(
        About::Box, if refused { Level::Critical } else { Level::Warning },
        if ours.is_some() { AlarmKind::Clock } else { AlarmKind::Clocks },
        format!(
            "The clocks of {} and {last} differ by {}{}, and one of them is wrong.",
            names.join(", "),
            if names.len() > 1 { "up to " } else { "" },
            format::duration(apart as u64)
        ),
        match refused {
            true => {
                "If it is the leading node's, the block that we find would be refused. Compare them \
                 with your watch, and let the machine that is wrong set its clock by the network \
                 (NTP)."
            }
            false => {
                "By either of them a block would be accepted. Compare them with your watch, and let \
                 the machine that is wrong set its clock by the network (NTP)."
            }
        }
        .to_owned(),
    );
}

/// What a wrong clock of this box means for a block. That mining is safe is only said where another
/// clock says the same as the leading node's.
fn carried(s: &Snapshot) -> &'static str {
    let clock = s.leading().and_then(|node| node.clock);
    match clock.is_some_and(|clock| !clock.odd && clock.offset_s.abs() <= NODE_TOLD) {
        true => "Blocks carry the node's time, so mining is safe",
        false => "Blocks carry the node's time",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{BoardView, NodeState};

    const H: f64 = 3600.0;

    /// Nodes attic, which leads, and cellar; each clock with its offset and whether it is odd.
    fn told(
        attic: Option<(f64, bool)>,
        cellar: Option<(f64, bool)>,
        this_box: Option<(f64, bool)>,
        clock_synced: Option<bool>,
    ) -> Vec<String> {
        let view =
            |clock: Option<(f64, bool)>| clock.map(|(offset_s, odd)| ClockView { offset_s, odd });
        let node = |name: &str, state, clock| NodeView {
            name: name.to_owned(),
            state,
            clock: view(clock),
            ..Default::default()
        };
        let nodes = [
            Some(node("attic", NodeState::Leading, attic)),
            cellar.map(|cellar| node("cellar", NodeState::Standby, Some(cellar))),
        ];
        let board = BoardView {
            clock_offset_s: this_box.map(|(offset, _)| offset),
            clock_odd: this_box.is_some_and(|(_, odd)| odd),
            clock_synced,
            ..Default::default()
        };
        let nodes = nodes.into_iter().flatten().collect();
        let snapshot = Snapshot { chain: "main".into(), nodes, board, ..Default::default() };
        let mut all = Alarms(Vec::new());
        alarms(&snapshot, &mut all);
        all.0
            .iter()
            .map(|alarm| {
                format!("{:?} {}: {} {}", alarm.level, alarm.id, alarm.text, alarm.advice)
                    .replace('\u{202f}', " ")
            })
            .collect()
    }

    #[test]
    fn clocks_that_agree_are_no_news() {
        assert!(told(None, None, None, None).is_empty());
        assert!(told(Some((2.0, false)), None, Some((-2.0, false)), Some(true)).is_empty());
        // A node that is some minutes off harms no block.
        assert!(told(Some((400.0, true)), Some((0.0, false)), Some((0.0, false)), None).is_empty());
    }

    #[test]
    fn a_leader_whose_blocks_would_be_refused_is_an_alarm_and_another_node_a_warning() {
        let (fast, slow, good) =
            (Some((3.0 * H, true)), Some((-3.0 * H, true)), Some((0.0, false)));
        assert_eq!(
            told(fast, good, good, Some(true)),
            [
                "Critical clock:attic: The clock of node attic is 3 h fast: other nodes would refuse the \
              block that we find. Let its machine set the clock by the network; on Linux: \
              timedatectl set-ntp true."
            ]
        );
        assert!(told(slow, good, good, None)[0].starts_with(
            "Critical clock:attic: The clock of node attic is 3 h slow: it refuses the newest blocks, \
             and we mine on an old one."
        ));
        assert!(told(good, fast, good, None)[0].starts_with(
            "Warning clock:cellar: The clock of node cellar is 3 h fast, so it leads only when no \
             other can: others refuse its blocks."
        ));
        assert!(told(good, slow, good, None)[0].contains("it refuses new blocks"));
        let by_minutes = told(Some((660.0, true)), good, good, None);
        assert!(
            by_minutes[0].starts_with(
                "Warning clock:attic: The clock of node attic is 11 min fast. Let its"
            ),
            "{by_minutes:?}"
        );
    }

    #[test]
    fn with_two_clocks_the_difference_is_told_and_what_it_may_mean() {
        let two = |by: f64, synced| told(Some((by, false)), None, Some((-by, false)), synced);
        assert_eq!(
            two(-7380.0, Some(true)),
            [
                "Critical clock: The clocks of node attic and this box differ by 2 h 03 min, and one of \
              them is wrong. If it is the leading node's, the block that we find would be refused. \
              Compare them with your watch, and let the machine that is wrong set its clock by the \
              network (NTP)."
            ]
        );
        assert!(
            two(120.0, None)[0].starts_with(
                "Warning clock: The clocks of node attic and this box differ by 2 h"
                    .strip_suffix("2 h")
                    .unwrap()
            )
        );
        assert!(two(120.0, None)[0].contains("By either of them a block would be accepted."));
        // Nobody has set the one of them: then it is that.
        assert_eq!(
            two(7380.0, Some(false)),
            [
                "Warning clock: The clock of this box is 2 h 03 min slow, and no time server has set it \
              yet. Blocks carry the node's time; let this box reach a time server (NTP)."
            ]
        );
        // This box aside, the nodes differ.
        let nodes = told(
            Some((3.0 * H, false)),
            Some((-3.0 * H, false)),
            Some((-9.0 * H, true)),
            Some(false),
        );
        assert_eq!(nodes.len(), 2);
        assert!(
            nodes[0].contains("clock of this box is 9 h slow, and no time server"),
            "{nodes:?}"
        );
        assert!(nodes[1].starts_with(
            "Critical clocks: The clocks of node attic and node cellar differ by 3 h, and one"
        ));
        let undecided =
            told(Some((3.0 * H, false)), Some((-3.0 * H, false)), Some((-3.0 * H, false)), None);
        assert!(
            undecided[0].contains(
                "The clocks of node attic, node cellar and this box differ by up to 3 h,"
            ),
            "{undecided:?}"
        );
    }

    #[test]
    fn that_mining_is_safe_is_said_only_where_another_clock_confirms_the_leaders() {
        let (good, late) = (Some((1.0, false)), Some((-7200.0, true)));
        let safe = told(good, good, late, Some(true));
        assert_eq!(
            safe,
            ["Warning clock: The clock of this box is 2 h slow. Blocks carry the node's time, so \
              mining is safe; let this box reach a time server (NTP)."]
        );
        // Alone, or wrong itself.
        assert!(!told(None, None, late, None)[0].contains("safe"));
        let both = told(Some((3.0 * H, true)), good, late, None);
        assert_eq!(both.len(), 2);
        assert!(!both.concat().contains("safe"), "{both:?}");
        // Not set, as far as one knows, but right.
        let unset = told(good, None, Some((-1.0, false)), Some(false));
        assert_eq!(
            unset,
            [
                "Info clock: The clock of this box is not set by a time server yet. Blocks carry the \
              node's time, so mining is safe."
            ]
        );
        let unknown = told(None, None, None, Some(false));
        assert!(unknown[0].ends_with("yet. Blocks carry the node's time."), "{unknown:?}");
    }
}
