//! Addresses of other nodes: asked for by `getaddr`, once over a connection, and read from `addr`.
//!
//! Core answers the first `getaddr` of a connection that it did not open itself: at once, with at most
//! 1,000 addresses that stay the same for a day. Later it passes on addresses as it hears of them.
//! Versions before 22 answer after half a minute on average, so not all of them are waited for.

use std::time::{Duration, Instant};

use super::{Down, Event, Output, Peer, wire};
use crate::clock::Now;

/// For so long what comes is the answer. Afterwards addresses are thrown away unread.
const ANSWER: Duration = Duration::from_secs(30);

impl Peer {
    pub(super) fn on_addresses_wanted(&mut self, now: Now, out: &mut Vec<Output>) {
        self.wants_addresses = true;
        if self.is_ready() {
            self.ask_for_addresses(now, out);
        }
    }

    /// Asks where that is wanted, and not done yet over this connection.
    pub(super) fn ask_for_addresses(&mut self, now: Now, out: &mut Vec<Output>) {
        let is_wanted = std::mem::take(&mut self.wants_addresses);
        if is_wanted && self.link.addresses_until.is_none() {
            self.link.addresses_until = Some(now.mono + ANSWER);
            self.send("getaddr", &[], out);
        }
    }

    /// Whether addresses that come now are an answer.
    pub(super) fn awaits_addresses(&self, now: Now) -> bool {
        self.link.addresses_until.is_some_and(|until: Instant| now.mono < until)
    }

    pub(super) fn on_addr(&self, payload: &[u8], out: &mut Vec<Output>) -> Result<(), Down> {
        let list = wire::read_addr(payload).ok_or(Down::Nonsense("a broken addr"))?;
        out.push(Output::Event(Event::Addresses(list)));
        Ok(())
    }
}
