//! Two boxes as one, as the owner sees them: each box, both together, how far the payout is agreed, and the
//! alarms about it.

use serde::Serialize;

use super::alarm::AlarmKind;
use super::verdict::Alarms;
use super::{About, Level, LossView, PendingPayout, Snapshot, format};
use crate::pair::watch::Trouble;

/// Both boxes of a pair.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PairView {
    /// The other box's address, as the settings name it.
    pub partner: String,
    /// The address that the miners use; `None` where none moves between the boxes.
    pub virtual_address: Option<String>,
    /// The boxes are connected.
    pub connected: bool,
    /// Since when they are; where they are not, when they were last. `None`: not in this run.
    pub since: Option<u64>,
    /// This box.
    pub own: PairBoxView,
    /// The other one, while they are not connected as it was last; `None` where it was never heard.
    pub other: Option<PairBoxView>,
    /// Both together, as far as the other one is known.
    pub together: PairSumView,
    /// How far the boxes agree on the payout.
    pub payout: PairPayoutView,
    /// Blocks of this box that are not final and not known to be on the other one's card.
    pub unkept_blocks: u64,
    /// How often the connection was lost and found again, since the start.
    pub lost: LossView,
    /// The last drill since the start.
    pub drill: Option<PairDrillView>,
    /// What is wrong.
    pub troubles: Vec<PairTroubleView>,
}

/// A change of the other box that waits for its time: the owner can still cancel it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PairChangeView {
    /// The other box; empty where it is to be forgotten.
    pub partner: String,
    /// When it comes into force, Unix seconds.
    pub due_at: u64,
}

/// One of the boxes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PairBoxView {
    /// What its owner calls it.
    pub name: String,
    /// Its version of Soloist.
    pub version: String,
    /// Which version of the language between the boxes it speaks.
    pub protocol: u32,
    /// Its own page; `None` for this box.
    pub page: Option<String>,
    /// Miners may be sent to it; `None` where it has not said.
    pub ready: Option<bool>,
    /// It has the address that the miners use; `None` where it has not said, or there is no such address.
    pub active: Option<bool>,
    /// The height that it mines at.
    pub height: Option<u64>,
    /// Miners that are connected to it.
    pub miners: u64,
    /// Hashes per second in ten minutes.
    pub hashrate: f64,
    /// The difficulty of its best share of all.
    pub best: f64,
    /// Blocks that it has solved.
    pub blocks: u64,
    /// Solved blocks that no node shows yet.
    pub undecided_blocks: u64,
    /// So many seconds its clock is ahead of this box's; negative is behind.
    pub clock_ahead_s: Option<i64>,
    /// The payout address that waits for its time there.
    pub pending: Option<PendingPayout>,
}

/// Both boxes together. Each ledger counts what its own box has seen; nothing is counted in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PairSumView {
    /// Connected miners.
    pub miners: u64,
    /// Hashes per second.
    pub hashrate: f64,
    /// The difficulty of the best share of all.
    pub best: f64,
    /// Solved blocks.
    pub blocks: u64,
}

/// How far the boxes agree on the payout.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PairPayoutView {
    /// In a word.
    pub state: PairPayout,
    /// The address that it is about, where it is not the one in force.
    pub address: Option<String>,
}

/// How far the boxes agree on the payout, in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PairPayout {
    /// Nothing is agreed: the boxes have not met, or their settings name different addresses.
    #[default]
    Apart,
    /// Both pay the same address.
    Agreed,
    /// The settings of this box name another address, and the other box has not agreed to it yet.
    Waiting,
    /// This box does not know what was decided, and hands out no work.
    InDoubt,
}

/// A drill: this box gives the address of the miners to the other one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PairDrillView {
    /// When it began.
    pub began_at: u64,
    /// How far it is.
    pub phase: DrillPhase,
    /// Miners that used the address here when it began.
    pub miners: u64,
    /// How long it took until this box no longer had the address, seconds.
    pub given_after_s: Option<f64>,
    /// From then until the other box had told that the miners are there, seconds: they were away no longer.
    pub away_s: Option<f64>,
}

/// How far a drill is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DrillPhase {
    /// This box says that it is not ready.
    Giving,
    /// The address has gone.
    Given,
    /// Nobody took it.
    Failed,
}

/// Something that is wrong with the pair.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PairTroubleView {
    /// What.
    pub trouble: Trouble,
    /// Since when.
    pub since: u64,
}

impl PairBoxView {
    /// Its name, for a sentence.
    pub(super) fn called(&self) -> String {
        let name = format::tame_to(&self.name, 40);
        if name.trim().is_empty() { "without a name".to_owned() } else { name }
    }
}

impl PairView {
    /// Both boxes together.
    pub fn sum(own: &PairBoxView, other: Option<&PairBoxView>) -> PairSumView {
        let both = || [Some(own), other].into_iter().flatten();
        PairSumView {
            miners: both().fold(0, |sum, one| sum.saturating_add(one.miners)),
            hashrate: both().map(|one| one.hashrate).sum(),
            best: both().map(|one| one.best).fold(0.0, f64::max),
            // What another box says may be anything.
            blocks: both().fold(0, |sum, one| sum.saturating_add(one.blocks)),
        }
    }

    /// This box says that it is not ready, so that the other one takes the address of the miners.
    pub fn gives_address(&self) -> bool {
        self.drill.is_some_and(|drill| drill.phase == DrillPhase::Giving)
    }

    /// What one of them does not understand of the other, in a sentence; `None` where both speak the same.
    pub fn not_understood(&self) -> Option<String> {
        let other = self.other.as_ref()?;
        let (older, newer) = match self.own.protocol.cmp(&other.protocol) {
            std::cmp::Ordering::Equal => return None,
            std::cmp::Ordering::Less => (&self.own, other),
            std::cmp::Ordering::Greater => (other, &self.own),
        };
        Some(format!(
            "{} is older than {} and skips what that tells beyond blocks, difficulties and the payout.",
            older.called(),
            newer.called()
        ))
    }

    /// The other box, for a sentence.
    fn other_box(&self) -> String {
        match &self.other {
            Some(other) => format!("The other box, {},", other.called()),
            None => format!("The other box, at {},", format::tame_to(&self.partner, 60)),
        }
    }
}

impl PairDrillView {
    /// What became of it.
    pub fn words(&self) -> String {
        let seconds = |s: f64| format!("{s:.1}\u{202f}s");
        match (self.phase, self.given_after_s, self.away_s) {
            (DrillPhase::Giving, ..) => {
                "This box says that it is not ready, so that the other one takes the address."
                    .to_owned()
            }
            (DrillPhase::Failed, ..) => {
                "Nobody took the address: this box has kept it, and is ready again. \
                                         Look whether keepalived runs on both boxes."
                    .to_owned()
            }
            (DrillPhase::Given, Some(given), Some(away)) => format!(
                "The address went to the other box after {}, and the miners were there {} later at most.",
                seconds(given),
                seconds(away)
            ),
            (DrillPhase::Given, given, _) => format!(
                "The address went to the other box after {}. Not all miners were seen there yet.",
                seconds(given.unwrap_or_default())
            ),
        }
    }
}

impl From<Trouble> for AlarmKind {
    fn from(trouble: Trouble) -> AlarmKind {
        match trouble {
            Trouble::Away => AlarmKind::PairAway,
            Trouble::OtherCode => AlarmKind::PairOtherCode,
            Trouble::Itself => AlarmKind::PairItself,
            Trouble::Protocol => AlarmKind::PairProtocol,
            Trouble::NotReady => AlarmKind::PairNotReady,
            Trouble::Apart => AlarmKind::PairApart,
            Trouble::Waiting => AlarmKind::PairWaiting,
            Trouble::InDoubt => AlarmKind::PairInDoubt,
            Trouble::TwoActive => AlarmKind::PairTwoActive,
            Trouble::NoneActive => AlarmKind::PairNoneActive,
            Trouble::NoKeepalived => AlarmKind::PairNoKeepalived,
        }
    }
}

/// Adds them.
pub(super) fn alarms(s: &Snapshot, alarms: &mut Alarms) {
    if let Some(change) = &s.pair_change {
        let wait = format::duration(change.due_at.saturating_sub(s.now));
        let text = match change.partner.as_str() {
            "" => format!(
                "The other box is forgotten in {wait}: from then on the payout can change without it."
            ),
            partner => format!(
                "The other box is {} in {wait}: from then on it has its word in the payout.",
                format::tame_to(partner, 60)
            ),
        };
        let advice = "If you did not ask for this, cancel it in the settings and change the PIN.";
        alarms.add(About::Box, Level::Warning, AlarmKind::PairChange, text, advice);
    }
    let Some(pair) = &s.pair else { return };
    for PairTroubleView { trouble, since } in &pair.troubles {
        let (text, advice) = words(pair, *trouble);
        let level = match trouble {
            Trouble::InDoubt => Level::Critical,
            _ => Level::Warning,
        };
        let kind = AlarmKind::from(*trouble);
        alarms.add_since(About::Box, Some(*since), level, kind, text, advice);
    }
}

/// What is wrong, and what to do.
fn words(pair: &PairView, trouble: Trouble) -> (String, String) {
    let other = pair.other_box();
    let partner = format::tame_to(&pair.partner, 60);
    let address = pair.virtual_address.as_deref().unwrap_or_default();
    let (text, advice) = match trouble {
        Trouble::Away => (
            format!("{other} is not connected: if this box fails, nobody may take over."),
            "Look whether it has power and network. If it is gone for good, forget it in the settings."
                .to_owned(),
        ),
        Trouble::OtherCode => (
            format!("{other} has another code, or names another partner than this box."),
            "Compare below [pair] on both boxes: the same secret, and on each the address of the other one."
                .to_owned(),
        ),
        Trouble::Itself => (
            format!("The partner in the settings, {partner}, is this box itself."),
            "Write the other box's own address as the partner, not the one that the miners use.".to_owned(),
        ),
        Trouble::Protocol => (
            format!("{other} has a version that this one does not understand."),
            "Update the older one of the two.".to_owned(),
        ),
        Trouble::NotReady => (
            format!("{other} is not ready: miners would not be taken over."),
            "Its own page says why.".to_owned(),
        ),
        Trouble::Apart => (
            "The settings of the two boxes name different payout addresses: each pays its own.".to_owned(),
            "Write the same payout address on both.".to_owned(),
        ),
        Trouble::Waiting => (
            "A new payout address is not in force: it waits for the other box.".to_owned(),
            "Bring the other box back, and both change at once. If it is gone for good, forget it in the \
             settings."
                .to_owned(),
        ),
        Trouble::InDoubt => (
            "This box hands out no work: it does not know which payout address was decided.".to_owned(),
            "Bring the other box back: it tells. If it is gone for good, forget it in the settings."
                .to_owned(),
        ),
        Trouble::TwoActive => (
            format!("Both boxes have the address {address}: they do not hear each other by keepalived."),
            "Look at the switch and the cables between them, and whether a firewall lets VRRP through."
                .to_owned(),
        ),
        Trouble::NoneActive => (
            format!("Neither box has the address {address}: miners that use it find nobody."),
            "Look at the log of soloist-pair on both: journalctl -u soloist-pair.".to_owned(),
        ),
        Trouble::NoKeepalived => (
            format!("keepalived does not run on this box: the address {address} does not come here."),
            "Install keepalived and say: systemctl restart soloist-pair.".to_owned(),
        ),
    };
    (text, advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::verdict;

    #[test]
    fn each_trouble_is_an_alarm_with_a_next_step() {
        for trouble in Trouble::ALL {
            let since = 900;
            let troubles = vec![PairTroubleView { trouble, since }];
            let pair =
                PairView { troubles, partner: "192.168.1.21".to_owned(), ..PairView::default() };
            let s = Snapshot { now: 1000, pair: Some(pair), ..Snapshot::default() };
            let told = verdict(&s);
            let [alarm] = &told.alarms[..] else { panic!("{trouble:?}: {:?}", told.alarms) };
            assert_eq!(alarm.id, format!("pair_{}", trouble.name()));
            assert_eq!(alarm.since, Some(since));
            assert!(alarm.text.ends_with('.') && alarm.advice.ends_with('.'), "{alarm:?}");
        }
        assert!(verdict(&Snapshot::default()).alarms.is_empty());
    }

    #[test]
    fn both_together_are_what_each_has_counted() {
        let one = |miners, hashrate, best, blocks| PairBoxView {
            miners,
            hashrate,
            best,
            blocks,
            ..PairBoxView::default()
        };
        let sum = PairView::sum(&one(3, 2e12, 5.0, 1), Some(&one(2, 1e12, 9.0, 2)));
        assert_eq!(sum, PairSumView { miners: 5, hashrate: 3e12, best: 9.0, blocks: 3 });
        let alone = PairView::sum(&one(3, 2e12, 5.0, 1), None);
        assert_eq!(alone, PairSumView { miners: 3, hashrate: 2e12, best: 5.0, blocks: 1 });
    }

    #[test]
    fn what_different_versions_cannot_do_names_the_older_one() {
        let one = |name: &str, protocol| PairBoxView {
            name: name.to_owned(),
            protocol,
            ..PairBoxView::default()
        };
        let pair = |own, other| PairView {
            own: one("attic", own),
            other: Some(one("cellar", other)),
            ..PairView::default()
        };
        assert_eq!(pair(1, 1).not_understood(), None);
        assert!(pair(1, 2).not_understood().unwrap().starts_with("attic is older than cellar"));
        assert!(pair(2, 1).not_understood().unwrap().starts_with("cellar is older than attic"));
    }
}
