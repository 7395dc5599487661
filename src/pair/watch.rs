//! What is wrong with a pair as its owner should hear of it, and since when. Pure.
//!
//! Each trouble has a time for which it must last: a box that is restarted or updated is away for a while,
//! and nothing is wrong with that.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Refused;
use super::agreement::Standing;
use crate::listed::listed;

listed! {
    /// What can be wrong.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Trouble {
        /// The boxes are not connected.
        Away,
        /// Who answers, or calls, has another code, or names another partner.
        OtherCode,
        /// The partner in the settings is this box itself.
        Itself,
        /// The other box speaks nothing that this version knows.
        Protocol,
        /// The other box is not ready for miners.
        NotReady,
        /// The settings name different payout addresses, and nothing is agreed.
        Apart,
        /// A new payout address waits for the other box.
        Waiting,
        /// This box does not know what was decided, and hands out no work.
        InDoubt,
        /// Both have the address that the miners use.
        TwoActive,
        /// Neither has it.
        NoneActive,
        /// What moves it does not run on this box.
        NoKeepalived,
    }
}

impl Trouble {
    /// As in the API.
    pub fn name(self) -> &'static str {
        match self {
            Trouble::Away => "away",
            Trouble::OtherCode => "other_code",
            Trouble::Itself => "itself",
            Trouble::Protocol => "protocol",
            Trouble::NotReady => "not_ready",
            Trouble::Apart => "apart",
            Trouble::Waiting => "waiting",
            Trouble::InDoubt => "in_doubt",
            Trouble::TwoActive => "two_active",
            Trouble::NoneActive => "none_active",
            Trouble::NoKeepalived => "no_keepalived",
        }
    }

    /// How long it must last until it counts.
    fn lasts(self) -> Duration {
        Duration::from_secs(match self {
            // A box starts anew within a minute, also with a new version, and a node within two.
            Trouble::Away => 180,
            Trouble::NotReady => 120,
            // A connection that ends in its handshake, as at a restart, looks like another code.
            Trouble::OtherCode | Trouble::Itself | Trouble::Protocol => 60,
            Trouble::Apart => 60,
            Trouble::Waiting => 120,
            // What is decided is known after a round trip and two writes.
            Trouble::InDoubt => 15,
            // keepalived needs about a second, and two more to see that a box is ready.
            Trouble::TwoActive => 30,
            Trouble::NoneActive => 90,
            Trouble::NoKeepalived => 60,
        })
    }
}

/// What is known.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The boxes are connected.
    pub connected: bool,
    /// Somebody with another code was heard lately.
    pub other_code: bool,
    /// Why what answered last is not the other box.
    pub refused: Option<Refused>,
    /// Whether the other box is ready; `None` while it has not said.
    pub other_ready: Option<bool>,
    /// How far the boxes agree on the payout.
    pub standing: Standing,
    /// Whether each has the address that the miners use, the other one as far as it has said; `None` where
    /// there is no such address.
    pub active: Option<(bool, Option<bool>)>,
    /// Whether keepalived runs here; `None` where that cannot be known, or need not be.
    pub keepalived: Option<bool>,
}

impl Facts {
    fn show(&self, trouble: Trouble) -> bool {
        let knocks = self.other_code && !self.connected;
        match trouble {
            Trouble::Away => !self.connected && !knocks && self.refused.is_none(),
            Trouble::OtherCode => knocks,
            Trouble::Itself => self.refused == Some(Refused::Itself),
            Trouble::Protocol => self.refused == Some(Refused::Protocol),
            Trouble::NotReady => self.connected && self.other_ready == Some(false),
            Trouble::Apart => matches!(self.standing, Standing::Apart { other: Some(_) }),
            Trouble::Waiting => matches!(self.standing, Standing::Waiting { .. }),
            Trouble::InDoubt => matches!(self.standing, Standing::InDoubt(_)),
            Trouble::TwoActive => self.active == Some((true, Some(true))),
            // Of a box that is away it is not known whether it has the address.
            Trouble::NoneActive => self.active == Some((false, Some(false))),
            Trouble::NoKeepalived => self.keepalived == Some(false),
        }
    }
}

/// Since when each trouble has been there.
#[derive(Debug, Default)]
pub struct Watch(BTreeMap<Trouble, Instant>);

impl Watch {
    /// Looks at what is known now.
    pub fn look(&mut self, now: Instant, facts: &Facts) {
        self.0.retain(|trouble, _| facts.show(*trouble));
        for trouble in Trouble::ALL.into_iter().filter(|trouble| facts.show(*trouble)) {
            self.0.entry(trouble).or_insert(now);
        }
    }

    /// Those that have lasted long enough, each with its beginning.
    pub fn troubles(&self, now: Instant) -> impl Iterator<Item = (Trouble, Instant)> {
        let all = self.0.iter().map(|(trouble, since)| (*trouble, *since));
        all.filter(move |(trouble, since)| now >= *since + trouble.lasts())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Facts {
        Facts {
            connected: true,
            other_code: false,
            refused: None,
            other_ready: Some(true),
            standing: Standing::Agreed,
            active: Some((true, Some(false))),
            keepalived: Some(true),
        }
    }

    fn after(facts: &Facts, seconds: u64) -> Vec<Trouble> {
        let (mut watch, start) = (Watch::default(), Instant::now());
        watch.look(start, facts);
        let end = start + Duration::from_secs(seconds);
        watch.look(end, facts);
        watch.troubles(end).map(|(trouble, _)| trouble).collect()
    }

    #[test]
    fn each_trouble_is_told_by_its_facts_and_no_other() {
        let address = "bc1q".to_owned();
        let mut seen = Vec::new();
        for (facts, trouble) in [
            (Facts { connected: false, other_ready: None, ..well() }, Trouble::Away),
            (Facts { connected: false, other_code: true, ..well() }, Trouble::OtherCode),
            (Facts { connected: false, refused: Some(Refused::Itself), ..well() }, Trouble::Itself),
            (
                Facts { connected: false, refused: Some(Refused::Protocol), ..well() },
                Trouble::Protocol,
            ),
            (Facts { other_ready: Some(false), ..well() }, Trouble::NotReady),
            (
                Facts { standing: Standing::Apart { other: Some(address.clone()) }, ..well() },
                Trouble::Apart,
            ),
            (
                Facts {
                    standing: Standing::Waiting { address: address.clone(), alone: false },
                    ..well()
                },
                Trouble::Waiting,
            ),
            (Facts { standing: Standing::InDoubt(address), ..well() }, Trouble::InDoubt),
            (Facts { active: Some((true, Some(true))), ..well() }, Trouble::TwoActive),
            (Facts { active: Some((false, Some(false))), ..well() }, Trouble::NoneActive),
            (Facts { keepalived: Some(false), ..well() }, Trouble::NoKeepalived),
        ] {
            assert_eq!(after(&facts, 600), [trouble]);
            assert_eq!(after(&facts, 10), [], "{trouble:?} is told at once");
            seen.push(trouble);
        }
        assert_eq!(seen, Trouble::ALL);
        assert_eq!(after(&well(), 600), []);
    }

    #[test]
    fn what_is_not_known_is_no_trouble() {
        let facts = Facts {
            other_ready: None,
            standing: Standing::Apart { other: None },
            active: Some((false, None)),
            keepalived: None,
            ..well()
        };
        assert_eq!(after(&facts, 600), []);
        assert_eq!(after(&Facts { active: None, ..facts }, 600), []);
    }

    /// A box is updated: it is away for a minute, is not ready for another one, and then all is well.
    #[test]
    fn an_update_of_the_other_box_is_no_alarm() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let away = Facts { connected: false, other_ready: None, ..well() };
        let starting = Facts { other_ready: Some(false), ..well() };
        for second in 0..200 {
            let now = start + Duration::from_secs(second);
            let facts = match second {
                10..70 => &away,
                70..130 => &starting,
                _ => &well(),
            };
            watch.look(now, facts);
            assert_eq!(watch.troubles(now).count(), 0, "at second {second}");
        }
    }

    #[test]
    fn a_trouble_that_comes_again_begins_anew() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let away = Facts { connected: false, ..well() };
        let at = |seconds| start + Duration::from_secs(seconds);
        watch.look(at(0), &away);
        watch.look(at(170), &well());
        watch.look(at(175), &away);
        assert_eq!(watch.troubles(at(190)).count(), 0);
        assert_eq!(watch.troubles(at(355)).collect::<Vec<_>>(), [(Trouble::Away, at(175))]);
    }
}
