//! A node's clock as its HTTP answers show it.
//!
//! Bitcoin Core (by libevent up to version 30, by its own server since) and bcoin send a `Date` with
//! every answer, to the second. A proxy in between may put its own clock there.

use std::sync::{Mutex, PoisonError};
use std::time::{Instant, UNIX_EPOCH};

use crate::clock::Reading;

/// What the latest answer's `Date` said, and when it came.
#[derive(Debug, Default)]
pub(super) struct NodeClock(Mutex<Option<Reading>>);

impl NodeClock {
    /// An answer begins, with this `Date` (RFC 9110) if it has one. What is no date is none.
    pub(super) fn heard(&self, date: Option<&str>) {
        let time = date.and_then(|date| httpdate::parse_http_date(date).ok());
        let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let reading = since.map(|since| Reading { unix: since.as_secs(), at: Instant::now() });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reading;
    }

    /// `None` where the latest answer had none.
    pub(super) fn last(&self) -> Option<Reading> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_and_what_is_none_is_forgotten() {
        let clock = NodeClock::default();
        assert_eq!(clock.last(), None);
        clock.heard(Some("Sat, 28 Nov 2026 14:01:03 GMT"));
        assert_eq!(clock.last().unwrap().unix, 1_795_874_463);
        for nonsense in ["", "yesterday", "Sat, 99 Nov 2026 14:01:03 GMT", "\u{0}", "1e99"] {
            clock.heard(Some(nonsense));
            assert_eq!(clock.last(), None, "{nonsense}");
        }
        clock.heard(Some("Thu, 01 Jan 1970 00:00:00 GMT"));
        assert_eq!(clock.last().unwrap().unix, 0);
        clock.heard(None);
        assert_eq!(clock.last(), None);
    }
}
