//! What a feed means for this system: the table of `docs/update-feed.md`.

use super::feed::{Feed, Release};
use super::version::Version;

/// What is to be done about the version that the feed names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    None,
    /// It is offered.
    Offered,
    /// Another version must be installed before.
    OutOfReach,
    /// It is earlier than ours, and ours is withdrawn: it is the version to go back to.
    Back,
}

impl Step {
    /// One word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Step::None => "none",
            Step::Offered => "offered",
            Step::OutOfReach => "out_of_reach",
            Step::Back => "back",
        }
    }

    /// Whether the owner may install it by hand.
    pub fn can_be_installed(self) -> bool {
        matches!(self, Step::Offered | Step::Back)
    }
}

/// What a feed means for a system of version `own`.
pub(super) fn step(own: Version, feed: &Feed) -> Step {
    let offered = feed.release.version;
    match offered > own {
        true if own >= feed.release.minimum => Step::Offered,
        true => Step::OutOfReach,
        false if offered < own && feed.reason(own).is_some() => Step::Back,
        false => Step::None,
    }
}

/// The same in a sentence.
pub fn sentence(own: Version, feed: &Feed) -> String {
    let Release { version, date, minimum, .. } = &feed.release;
    match (step(own, feed), feed.reason(own)) {
        (Step::Offered, _) => format!("Version {version} of {date} is there; this is {own}."),
        (Step::OutOfReach, _) => format!(
            "Version {version} of {date} is there. From {own} it is not reached in one step: version \
             {minimum} must be installed before."
        ),
        (Step::Back, _) => format!(
            "Version {own}, which is this one, is withdrawn. Version {version} of {date} is the one to go \
             back to."
        ),
        (Step::None, Some(_)) => {
            format!(
                "Version {own}, which is this one, is withdrawn, and no other one is offered yet."
            )
        }
        (Step::None, None) => format!("Version {own} is up to date."),
    }
}

#[cfg(test)]
mod tests {
    use super::super::feed::tests::feed;
    use super::*;

    /// Every row of the table, and both sides of each border.
    #[test]
    fn every_row_of_the_table() {
        let v = |text: &str| text.parse::<Version>().unwrap();
        // Own version, the feed's, its minimum, what is withdrawn, step, and whether ours is.
        let rows = [
            ("0.2.0", "0.3.0", "0.1.0", "", Step::Offered, false),
            ("0.2.0", "0.3.0", "0.2.0", "", Step::Offered, false),
            ("0.2.0", "0.3.0", "0.2.1", "", Step::OutOfReach, false),
            ("0.2.1", "0.3.0", "0.1.0", "0.2.1", Step::Offered, true),
            ("0.2.1", "0.3.0", "0.2.2", "0.2.1", Step::OutOfReach, true),
            ("0.2.1", "0.2.0", "0.1.0", "0.2.1", Step::Back, true),
            ("0.2.1", "0.2.0", "0.1.0", "0.2.2", Step::None, false),
            ("0.3.0", "0.3.0", "0.1.0", "0.2.1", Step::None, false),
            ("0.9.0", "0.10.0", "0.1.0", "", Step::Offered, false),
            ("0.10.0", "0.9.0", "0.1.0", "", Step::None, false),
        ];
        for (own, offered, minimum, withdrawn, step_, is_withdrawn) in rows {
            let mut feed = feed();
            feed.release.version = v(offered);
            feed.release.minimum = v(minimum);
            feed.withdrawn.clear();
            if !withdrawn.is_empty() {
                let reason = "It may lose the settings.".to_owned();
                feed.withdrawn
                    .push(super::super::feed::Withdrawn { version: v(withdrawn), reason });
            }
            let row = format!("{own} {offered} {minimum} {withdrawn}");
            assert_eq!(step(v(own), &feed), step_, "{row}");
            assert_eq!(feed.reason(v(own)).is_some(), is_withdrawn, "{row}");
        }
    }
}
