//! Finds news: compares each snapshot with what was already reported. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::clock::Now;
use crate::listed::listed;
use crate::status::{
    About, AlarmView, BlockState, BlockView, Level, Snapshot, State, TEMPLATE_DEAD_S, Verdict,
    format, refusal_advice,
};

use super::{Message, Topic};

/// An alarm is told when it has lasted this long. What comes and goes faster is no news.
const SETTLE: Duration = Duration::from_secs(30);
/// A missing miner is told after this, or after ten times its expected share time.
const MINER_SETTLE: Duration = Duration::from_secs(300);
/// A block that was solved so long before the start, in seconds, is no news.
const OLD_S: u64 = 3600;
/// A new best share is told at most this often.
const BEST_PAUSE: Duration = Duration::from_secs(3600);

listed! {
    /// What a message is headed by. `docs/messages.md` says what each of them means.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Heading {
        /// A share solves a block; no node has shown it yet.
        BlockSolved,
        /// A node has the block in its best chain.
        BlockFound,
        /// Another block of the same height stands beside it.
        BlockBeside,
        /// Another block won.
        BlockLost,
        /// Every node refused it.
        BlockRefused,
        /// An alarm about a solved block.
        BlockWaits,
        /// Its coins can be spent.
        BlockSpendable,
        /// No block can be found now.
        NotMining,
        /// It can again.
        MiningAgain,
        /// The work comes from another node.
        AnotherNodeLeads,
        /// An alarm about a node.
        Node,
        /// An alarm about miners.
        Miner,
        /// An alarm about the box.
        Alarm,
        /// An alarm has ended.
        Over,
        /// A share better than all before.
        NewBestShare,
        /// The update feed names a version that the owner does not know of.
        NewVersion,
        /// A new version runs, and has proved itself.
        VersionInstalled,
    }
}

impl Heading {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Heading::BlockSolved => "Block solved",
            Heading::BlockFound => "Block found",
            Heading::BlockBeside => "Block beside another",
            Heading::BlockLost => "Block lost",
            Heading::BlockRefused => "Block refused",
            Heading::BlockWaits => "Block waits",
            Heading::BlockSpendable => "Block spendable",
            Heading::NotMining => "Not mining",
            Heading::MiningAgain => "Mining again",
            Heading::AnotherNodeLeads => "Another node leads",
            Heading::Node => "Node",
            Heading::Miner => "Miner",
            Heading::Alarm => "Alarm",
            Heading::Over => "Over",
            Heading::NewBestShare => "New best share",
            Heading::NewVersion => "New version",
            Heading::VersionInstalled => "Version installed",
        }
    }
}

/// Remembers what was told. Feed it a snapshot every few seconds.
#[derive(Debug, Default)]
pub struct Watch {
    begun: bool,
    blocks: HashMap<String, BlockState>,
    leader: Option<String>,
    best: f64,
    best_told: Option<Instant>,
    alarms: HashMap<String, Seen>,
    down: Option<Seen>,
}

#[derive(Debug)]
struct Seen {
    since: Instant,
    told: bool,
    topic: Topic,
    text: String,
}

impl Watch {
    /// Knows nothing yet: what the first snapshot holds (old blocks, the best share so far) is not
    /// news.
    pub fn new() -> Watch {
        Watch::default()
    }

    /// Adds what is news to `out`.
    pub fn handle(&mut self, now: Now, s: &Snapshot, verdict: &Verdict, out: &mut Vec<Message>) {
        self.blocks(now, s, out);
        self.down(now, s, verdict, out);
        self.alarms(now, s, verdict, out);
        self.leader(now, s, out);
        self.best(now, s, out);
        self.begun = true;
    }

    fn blocks(&mut self, now: Now, s: &Snapshot, out: &mut Vec<Message>) {
        for block in &s.blocks {
            let before = self.blocks.insert(block.hash.clone(), block.state);
            // A ledger that is read late brings back what was told long ago.
            let old = before.is_none() && block.at.saturating_add(OLD_S) < s.started_at;
            // What came about between the start and the first look is news as well: a block that the
            // power kept from the nodes is offered as soon as there are any.
            let is_fresh = block.state_at > 0 && block.state_at >= s.started_at;
            if (self.begun || is_fresh) && before != Some(block.state) && !old {
                out.extend(block_message(now, block, before.is_none()));
            }
        }
        self.blocks.retain(|hash, _| s.blocks.iter().any(|block| block.hash == *hash));
    }

    fn down(&mut self, now: Now, s: &Snapshot, verdict: &Verdict, out: &mut Vec<Message>) {
        // While the last job is served the miners mine; that no node gives work is told by the
        // nodes' alarms.
        let is_served = s.job.as_ref().is_some_and(|job| job.template_age_s < TEMPLATE_DEAD_S);
        if verdict.state != State::Down || is_served {
            if let Some(down) = self.down.take()
                && down.told
            {
                let text = verdict.sentence.clone();
                out.push(message(now, Topic::Down, Level::Info, Heading::MiningAgain, text));
            }
            return;
        }
        let down = self.down.get_or_insert_with(|| Seen {
            since: now.mono,
            told: false,
            topic: Topic::Down,
            text: String::new(),
        });
        if !down.told && lasted(down, now, SETTLE) {
            down.told = true;
            let text = sentence(&verdict.sentence, &verdict.advice);
            out.push(message(now, Topic::Down, Level::Critical, Heading::NotMining, text));
        }
    }

    fn alarms(&mut self, now: Now, s: &Snapshot, verdict: &Verdict, out: &mut Vec<Message>) {
        let loud = |alarm: &&AlarmView| alarm.level >= Level::Warning;
        for alarm in verdict.alarms.iter().filter(loud) {
            let seen = self.alarms.entry(alarm.id.clone()).or_insert_with(|| Seen {
                since: now.mono,
                told: false,
                topic: topic(alarm.about),
                text: alarm.text.clone(),
            });
            if !seen.told && lasted(seen, now, settle(s, &alarm.id)) {
                seen.told = true;
                seen.text.clone_from(&alarm.text);
                let text = sentence(&alarm.text, &alarm.advice);
                out.push(message(now, seen.topic, alarm.level, heading(alarm.about), text));
            }
        }
        let still = |id: &str| verdict.alarms.iter().filter(loud).any(|alarm| alarm.id == id);
        self.alarms.retain(|id, seen| {
            let stays = still(id);
            // It is neither over nor told; when its time is over it is told again.
            if !stays && verdict.snoozed.iter().any(|snoozed| snoozed.alarm.id == *id) {
                seen.told = false;
                return true;
            }
            if !stays && seen.told {
                let text = format!("No longer: {}", seen.text);
                out.push(message(now, seen.topic, Level::Info, Heading::Over, text));
            }
            stays
        });
    }

    fn leader(&mut self, now: Now, s: &Snapshot, out: &mut Vec<Message>) {
        let Some(node) = s.leading() else { return };
        let before = self.leader.replace(node.name.clone());
        if let Some(before) = before.filter(|before| *before != node.name && self.begun) {
            let text = sentence(
                &format!("Work now comes from node {} instead of {before}.", node.name),
                &node.why,
            );
            out.push(message(now, Topic::Node, Level::Warning, Heading::AnotherNodeLeads, text));
        }
    }

    fn best(&mut self, now: Now, s: &Snapshot, out: &mut Vec<Message>) {
        let best = s.totals.best;
        if !best.is_finite() || best <= self.best {
            return;
        }
        let quiet = self
            .best_told
            .is_some_and(|told| now.mono.saturating_duration_since(told) < BEST_PAUSE);
        if self.begun && quiet {
            // Told later, if it still stands above what was told last.
            return;
        }
        // The first of all is no record.
        let record = self.begun && self.best > 0.0;
        self.best = best;
        if !record {
            return;
        }
        self.best_told = Some(now.mono);
        let mut text = format!("New best share: {}", format::difficulty(best));
        if let Some(difficulty) = s.difficulty() {
            text.push_str(&format!(", {}", format::of_a_block(best / difficulty)));
        }
        if let Some(share) = s.best_shares.first() {
            text.push_str(&format!(", by {}", format::tame(&share.miner)));
        }
        text.push('.');
        out.push(message(now, Topic::Best, Level::Info, Heading::NewBestShare, text));
    }
}

fn block_message(now: Now, block: &BlockView, new: bool) -> Option<Message> {
    let height = format::thousands(block.height);
    let value = format::btc(block.value_sat);
    let miner = format::tame(&block.miner);
    let (level, heading, text) = match block.state {
        BlockState::Candidate => (
            Level::Critical,
            Heading::BlockSolved,
            format!(
                "{miner} solved block {height} worth {value} BTC. It was sent to all nodes; whether \
                 it is in the chain follows."
            ),
        ),
        BlockState::Beside => (
            Level::Warning,
            Heading::BlockBeside,
            format!(
                "Block {height} by {miner} stands beside another block of the same height. The next \
                 block decides which of them counts; there is nothing to do."
            ),
        ),
        BlockState::Accepted => (
            Level::Critical,
            Heading::BlockFound,
            format!("Block {height} by {miner} is in the chain: {value} BTC to {}.", block.address),
        ),
        BlockState::Mature if !new => (
            Level::Info,
            Heading::BlockSpendable,
            format!("The {value} BTC of block {height} can be spent."),
        ),
        BlockState::Mature => return None,
        BlockState::Orphaned => (
            Level::Warning,
            Heading::BlockLost,
            format!("Another block won height {height}; ours is worth nothing."),
        ),
        BlockState::Refused => (
            Level::Critical,
            Heading::BlockRefused,
            match &block.reason {
                Some(reason) => format!(
                    "Every node refused block {height}: {reason}. {}",
                    refusal_advice(reason)
                ),
                None => format!("Every node refused block {height}. It is kept: look at the page."),
            },
        ),
    };
    Some(message(now, Topic::Block, level, heading, text))
}

fn settle(s: &Snapshot, alarm: &str) -> Duration {
    let Some(("miner_gone" | "miner_quiet", id)) = alarm.split_once(':') else {
        return if alarm == "miners_gone" { MINER_SETTLE } else { SETTLE };
    };
    let expected = s.miners.iter().find(|miner| miner.id == id).and_then(|m| m.expected_share_s);
    // A day at most, whatever a tiny miner's share time says.
    let expected = expected.filter(|s| s.is_finite()).unwrap_or(0.0).clamp(0.0, 8_640.0);
    MINER_SETTLE.max(Duration::from_secs_f64(10.0 * expected))
}

fn topic(about: About) -> Topic {
    match about {
        About::Block => Topic::Block,
        About::Miner => Topic::Miner,
        About::Node => Topic::Node,
        About::Box => Topic::Alarm,
    }
}

fn heading(about: About) -> Heading {
    match about {
        About::Block => Heading::BlockWaits,
        About::Miner => Heading::Miner,
        About::Node => Heading::Node,
        About::Box => Heading::Alarm,
    }
}

fn lasted(seen: &Seen, now: Now, settle: Duration) -> bool {
    now.mono.saturating_duration_since(seen.since) >= settle
}

fn sentence(text: &str, advice: &str) -> String {
    if advice.is_empty() { text.to_owned() } else { format!("{text} {advice}") }
}

fn message(now: Now, topic: Topic, level: Level, heading: Heading, text: String) -> Message {
    Message { topic, level, title: heading.words().to_owned(), text, at: now.unix }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{JobView, MinerState, MinerView, NodeState, NodeView, SnoozeView, verdict};

    struct Scene {
        watch: Watch,
        start: Instant,
        s: Snapshot,
    }

    impl Scene {
        fn new() -> Scene {
            let node =
                |name: &str, state| NodeView { name: name.to_owned(), state, ..Default::default() };
            let s = Snapshot {
                now: 1_000_000,
                configured: true,
                job: Some(JobView { difficulty: 1e12, ..Default::default() }),
                nodes: vec![node("attic", NodeState::Leading), node("cellar", NodeState::Standby)],
                miners: vec![
                    MinerView { id: "a".into(), name: "a".into(), ..Default::default() },
                    MinerView {
                        id: "nerd".into(),
                        name: "nerd".into(),
                        expected_share_s: Some(120.0),
                        ..Default::default()
                    },
                ],
                ..Default::default()
            };
            Scene { watch: Watch::new(), start: Instant::now(), s }
        }

        /// The titles told at this second.
        fn at(&mut self, second: u64) -> Vec<(Topic, String)> {
            let now = Now { mono: self.start + Duration::from_secs(second), unix: second };
            let mut out = Vec::new();
            let verdict = verdict(&self.s);
            self.watch.handle(now, &self.s, &verdict, &mut out);
            out.into_iter().map(|m| (m.topic, m.title)).collect()
        }
    }

    fn told(topic: Topic, title: &str) -> Vec<(Topic, String)> {
        vec![(topic, title.to_owned())]
    }

    #[test]
    fn the_manual_says_what_each_message_means() {
        let chapter = include_str!("../../docs/messages.md");
        for heading in Heading::ALL {
            let item = format!("- **{}**:", heading.words());
            assert!(chapter.contains(&item), "docs/messages.md has no line that begins {item}");
        }
        let by_switch = |topic: &Topic| *topic != Topic::Test;
        for topic in Topic::ALL.into_iter().filter(by_switch) {
            let item = format!("- `{}`:", topic.name());
            assert!(chapter.contains(&item), "docs/messages.md has no line that begins {item}");
        }
    }

    #[test]
    fn a_block_is_told_at_once_and_through_its_life() {
        let mut scene = Scene::new();
        let old = BlockView { hash: "old".into(), state: BlockState::Mature, ..Default::default() };
        scene.s.blocks = vec![old];
        assert_eq!(scene.at(0), []);
        scene.s.blocks.insert(0, BlockView { hash: "new".into(), ..Default::default() });
        assert_eq!(scene.at(1), told(Topic::Block, "Block solved"));
        assert_eq!(scene.at(2), []);
        scene.s.blocks[0].state = BlockState::Accepted;
        assert_eq!(scene.at(3), told(Topic::Block, "Block found"));
        scene.s.blocks[0].state = BlockState::Mature;
        assert_eq!(scene.at(4), told(Topic::Block, "Block spendable"));
    }

    #[test]
    fn what_became_of_a_block_since_the_start_is_news_at_the_first_look() {
        let block = |state_at| BlockView {
            state: BlockState::Accepted,
            at: 900_000,
            state_at,
            ..Default::default()
        };
        for (state_at, news) in [(899_999, false), (900_000, true), (0, false)] {
            let mut scene = Scene::new();
            scene.s.started_at = 900_000;
            scene.s.blocks = vec![block(state_at)];
            let expected = if news { told(Topic::Block, "Block found") } else { vec![] };
            assert_eq!(scene.at(0), expected);
            assert_eq!(scene.at(1), []);
        }
    }

    #[test]
    fn a_tie_is_told_as_what_it_is() {
        let mut scene = Scene::new();
        scene.at(0);
        scene.s.blocks.insert(0, BlockView { hash: "new".into(), ..Default::default() });
        assert_eq!(scene.at(1), told(Topic::Block, "Block solved"));
        scene.s.blocks[0].state = BlockState::Beside;
        assert_eq!(scene.at(2), told(Topic::Block, "Block beside another"));
        scene.s.blocks[0].state = BlockState::Orphaned;
        assert_eq!(scene.at(3), told(Topic::Block, "Block lost"));
    }

    #[test]
    fn a_block_of_long_ago_that_the_ledger_brings_back_is_no_news() {
        let mut scene = Scene::new();
        scene.s.started_at = 900_000;
        scene.at(0);
        let block = |hash: &str, at| BlockView {
            hash: hash.into(),
            state: BlockState::Accepted,
            at,
            ..Default::default()
        };
        scene.s.blocks = vec![block("old", 800_000)];
        assert_eq!(scene.at(1), []);
        scene.s.blocks.insert(0, block("new", 900_010));
        assert_eq!(scene.at(2), told(Topic::Block, "Block found"));
    }

    #[test]
    fn what_flickers_is_not_told_and_what_lasts_is_told_once() {
        let mut scene = Scene::new();
        scene.at(0);
        for second in 0..200 {
            scene.s.nodes[1].state =
                if second % 20 < 10 { NodeState::Down } else { NodeState::Standby };
            assert_eq!(scene.at(second), [], "second {second}");
        }
        scene.s.nodes[1].state = NodeState::Down;
        let all: Vec<_> = (200..1000).flat_map(|second| scene.at(second)).collect();
        assert_eq!(all, told(Topic::Node, "Node"));
        scene.s.nodes[1].state = NodeState::Standby;
        assert_eq!(scene.at(1000), told(Topic::Node, "Over"));
    }

    #[test]
    fn a_snoozed_alarm_is_neither_told_nor_over_and_is_told_when_its_time_is_over() {
        let mut scene = Scene::new();
        scene.at(0);
        scene.s.nodes[1].state = NodeState::Down;
        assert_eq!(
            (1..40).flat_map(|s| scene.at(s)).collect::<Vec<_>>(),
            told(Topic::Node, "Node")
        );
        let alarm = verdict(&scene.s).alarms[0].clone();
        let snooze = SnoozeView {
            alarm: alarm.id,
            level: alarm.level,
            until: scene.s.now + 1,
            ..Default::default()
        };
        scene.s.snoozed = vec![snooze];
        assert_eq!((40..100).flat_map(|second| scene.at(second)).collect::<Vec<_>>(), []);
        scene.s.now += 1;
        assert_eq!(scene.at(100), told(Topic::Node, "Node"));
        assert_eq!(scene.at(101), []);
        scene.s.now -= 1;
        assert_eq!(scene.at(102), []);
        // It ends while nobody wants to hear of it.
        scene.s.nodes[1].state = NodeState::Standby;
        assert_eq!(scene.at(103), []);
    }

    #[test]
    fn each_alarm_is_sent_by_the_switch_of_what_it_is_about() {
        use crate::status::RejectReason;
        let mut scene = Scene::new();
        scene.at(0);
        scene.s.storage.writable = Some(false);
        scene.s.miners[0].latest = vec![Some(RejectReason::BadVersion); 10];
        scene.s.nodes[1].local_relay = Some(false);
        scene.s.blocks = vec![BlockView { hash: "new".into(), ..Default::default() }];
        assert_eq!(scene.at(1), told(Topic::Block, "Block solved"));
        let mut all = scene.at(31);
        all.sort_by_key(|(topic, _)| topic.name());
        let titled = |topic, title: &str| (topic, title.to_owned());
        let expected = [
            titled(Topic::Alarm, "Alarm"),
            titled(Topic::Block, "Block waits"),
            titled(Topic::Miner, "Miner"),
            titled(Topic::Node, "Node"),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn nodes_that_are_behind_the_network_are_told_once_and_so_is_the_end() {
        let mut scene = Scene::new();
        scene.at(0);
        let alarm = |text: &str| AlarmView {
            id: "behind_world".to_owned(),
            about: About::Node,
            level: Level::Critical,
            text: text.to_owned(),
            ..Default::default()
        };
        // The sentence counts minutes.
        let all: Vec<_> = (1..600)
            .flat_map(|second| {
                scene.s.alarms = vec![alarm(&format!("For {} minutes.", second / 60))];
                scene.at(second)
            })
            .collect();
        assert_eq!(all, told(Topic::Node, "Node"));
        scene.s.alarms.clear();
        assert_eq!(scene.at(600), told(Topic::Node, "Over"));
    }

    #[test]
    fn a_missing_miner_is_told_by_its_own_share_time() {
        let mut scene = Scene::new();
        scene.at(0);
        for miner in &mut scene.s.miners {
            miner.state = MinerState::Gone;
            miner.since = scene.s.now;
        }
        let first = |scene: &mut Scene, from: u64, to: u64| {
            (from..to).find(|second| !scene.at(*second).is_empty())
        };
        // All gone is "no miner connected", a state of its own; here only the alarms count.
        assert_eq!(first(&mut scene, 1, 2000), Some(301));
        assert_eq!(first(&mut scene, 302, 3000), Some(1201));
    }

    #[test]
    fn all_down_and_the_recovery_are_told_once() {
        let mut scene = Scene::new();
        scene.at(0);
        scene.s.job = None;
        for node in &mut scene.s.nodes {
            node.state = NodeState::Down;
        }
        let all: Vec<_> = (1..100).flat_map(|second| scene.at(second)).collect();
        assert_eq!(all[0], (Topic::Down, "Not mining".to_owned()));
        assert_eq!(all.len(), 3, "{all:?}");
        scene.s = Scene::new().s;
        let after = scene.at(100);
        assert_eq!(after[0], (Topic::Down, "Mining again".to_owned()));
    }

    #[test]
    fn it_is_not_called_the_end_of_mining_while_the_last_job_is_served() {
        let mut scene = Scene::new();
        scene.at(0);
        for node in &mut scene.s.nodes {
            node.state = NodeState::Down;
        }
        let all: Vec<_> = (1..80).flat_map(|second| scene.at(second)).collect();
        assert_eq!(all, [told(Topic::Node, "Node"), told(Topic::Node, "Node")].concat());
        scene.s.job = None;
        let all: Vec<_> = (80..200).flat_map(|second| scene.at(second)).collect();
        assert_eq!(all, told(Topic::Down, "Not mining"));
    }

    #[test]
    fn a_change_of_the_lead_is_told() {
        let mut scene = Scene::new();
        scene.at(0);
        scene.s.nodes[0].state = NodeState::Standby;
        scene.s.nodes[1].state = NodeState::Leading;
        assert_eq!(scene.at(1), told(Topic::Node, "Another node leads"));
        assert_eq!(scene.at(2), []);
    }

    #[test]
    fn best_shares_are_told_at_most_hourly_and_the_first_is_no_record() {
        let mut scene = Scene::new();
        scene.s.totals.best = 0.0;
        scene.at(0);
        let mut count = 0;
        for second in 1..7300u64 {
            scene.s.totals.best += 1.0;
            count += scene.at(second).len();
        }
        assert_eq!(count, 3);
        scene.s.totals.best = f64::NAN;
        assert_eq!(scene.at(20_000), []);
    }
}
