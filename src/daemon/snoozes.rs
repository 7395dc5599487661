//! Alarms that the owner does not want to hear of for a while. They are kept in memory: after a restart
//! each stands again.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::clock::Now;
use crate::status::{AlarmView, Level, SnoozeView};

/// Snoozed alarms at a time.
const KEPT: usize = 32;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Snoozes(Vec<Snooze>);

#[derive(Debug)]
struct Snooze {
    alarm: String,
    level: Level,
    until: Instant,
    /// The same as Unix time.
    until_unix: u64,
    from: IpAddr,
}

impl Snoozes {
    /// Snoozes an alarm, anew if it is snoozed already.
    ///
    /// # Errors
    /// A sentence: too many are snoozed.
    pub(super) fn add(
        &mut self,
        now: Now,
        alarm: &AlarmView,
        time: Duration,
        from: IpAddr,
    ) -> Result<(), String> {
        self.0.retain(|snooze| snooze.until > now.mono && snooze.alarm != alarm.id);
        if self.0.len() >= KEPT {
            return Err(format!("{KEPT} alarms are snoozed already: end some of those first."));
        }
        self.0.push(Snooze {
            alarm: alarm.id.clone(),
            level: alarm.level,
            until: now.mono + time,
            until_unix: now.unix.saturating_add(time.as_secs()),
            from,
        });
        Ok(())
    }

    /// Lets an alarm stand again; whether it was snoozed.
    pub(super) fn end(&mut self, alarm: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|snooze| snooze.alarm != alarm);
        self.0.len() < before
    }

    /// The wall clock was set, by so many seconds: each lasts as long as was said.
    pub(super) fn clock_set(&mut self, by: i64) {
        for snooze in &mut self.0 {
            snooze.until_unix = snooze.until_unix.saturating_add_signed(by);
        }
    }

    /// Those that are in force.
    pub(super) fn views(&self, now: Now) -> Vec<SnoozeView> {
        let in_force = self.0.iter().filter(|snooze| snooze.until > now.mono);
        let view = |snooze: &Snooze| SnoozeView {
            alarm: snooze.alarm.clone(),
            level: snooze.level,
            until: snooze.until_unix,
            from: snooze.from.to_string(),
        };
        in_force.map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_and_no_longer_than_it_was_asked_for() {
        let now = Now { mono: Instant::now(), unix: 1_000_000 };
        let from = IpAddr::from([192, 168, 1, 5]);
        let alarm = |i: usize| AlarmView { id: format!("miner_gone:{i}"), ..Default::default() };
        let hour = Duration::from_secs(3600);
        let mut snoozes = Snoozes::default();
        for i in 0..KEPT {
            snoozes.add(now, &alarm(i), hour, from).unwrap();
        }
        assert!(
            snoozes.add(now, &alarm(KEPT), hour, from).unwrap_err().contains("snoozed already")
        );
        // One of them again takes no further place.
        snoozes.add(now, &alarm(3), 2 * hour, from).unwrap();
        assert_eq!(snoozes.views(now).len(), KEPT);
        assert!(snoozes.end("miner_gone:4") && !snoozes.end("miner_gone:4"));
        let later = Now { mono: now.mono + hour, unix: now.unix + 3600 };
        let views = snoozes.views(later);
        assert_eq!(views.len(), 1, "{views:?}");
        assert_eq!((views[0].alarm.as_str(), views[0].until), ("miner_gone:3", 1_007_200));
        snoozes.clock_set(400 * 86_400);
        let set = Now { unix: later.unix + 400 * 86_400, ..later };
        assert_eq!(snoozes.views(set)[0].until, set.unix + 3_600, "an hour is left");
        snoozes.add(later, &alarm(KEPT), hour, from).unwrap();
    }
}
