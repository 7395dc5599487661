//! The alarms about new versions.

use super::verdict::Alarms;
use super::{About, AlarmKind, Level, Snapshot, UpdateView, format};

/// A check that fails because the network is away is an alarm after so many days.
const DAYS: u64 = 3;
/// The longest text of others in an alarm, characters.
const LONGEST: usize = 300;

/// Adds them.
pub(super) fn alarms(s: &Snapshot, alarms: &mut Alarms) {
    let Some(update) = &s.update else { return };
    if let Some(withdrawn) = &update.withdrawn {
        alarms.add(
            About::Box,
            Level::Warning,
            AlarmKind::UpdateWithdrawn,
            format!(
                "Version {}, which runs here, should not be run any more: {}",
                update.version,
                sentence(&withdrawn.reason)
            ),
            what_to_install(update),
        );
    }
    if let Some(failure) = &update.install_failure {
        alarms.add(
            About::Box,
            Level::Warning,
            AlarmKind::UpdateFailed,
            format!("Version {} is not installed: {}", failure.version, sentence(&failure.why)),
            failure.remedy.clone(),
        );
    }
    if let Some(failure) = update.check_failure.as_ref().filter(|f| f.grave || f.days >= DAYS) {
        alarms.add(
            About::Box,
            Level::Warning,
            AlarmKind::UpdateFeed,
            format!("The update feed cannot be used: {}", sentence(&failure.why)),
            failure.remedy.clone(),
        );
    }
}

fn what_to_install(update: &UpdateView) -> String {
    match (update.step.as_str(), &update.release) {
        ("offered" | "back", Some(release)) if update.can_install => {
            format!("Install version {} in the settings.", release.version)
        }
        ("offered" | "back", Some(release)) => {
            format!(
                "Install version {} in the way in which this one was installed.",
                release.version
            )
        }
        ("out_of_reach", Some(release)) => {
            format!(
                "Install version {} by hand first, and then {}.",
                release.minimum, release.version
            )
        }
        _ => "No other version is offered yet.".to_owned(),
    }
}

/// With a point at its end.
fn sentence(words: &str) -> String {
    let words = format::tame_to(words.trim(), LONGEST);
    if words.ends_with(['.', '!', '?', '…']) { words } else { format!("{words}.") }
}
