//! Addresses of strangers' nodes: one for each network, so that no two connections lead to one party.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::clock::Now;
use crate::peer_address::{ListedPeer, Network, PeerAddress, PeerHost};

/// Addresses that are kept, each of another network.
const KEPT: usize = 64;
/// With fewer of them, more are asked for.
const FEW: usize = 16;
/// An address is passed over that was heard of longer ago than this before the newest of its list:
/// `ADDRMAN_HORIZON` of Core's `src/addrman.cpp`.
const HORIZON: u64 = 30 * 24 * 3600;
/// `NODE_NETWORK` and `NODE_NETWORK_LIMITED` (BIP 159): it keeps blocks, all or the last ones.
const BLOCKS: u64 = 1 | 1 << 10;
/// `NODE_WITNESS`.
const WITNESS: u64 = 8;
/// Ports below belong to services that should not hear from us by somebody's false word.
const FIRST_PORT: u16 = 1024;
/// The wait after a first failure; doubled with each further one.
const PAUSE: Duration = Duration::from_secs(60);
/// The longest of these waits.
const PAUSE_LONGEST: Duration = Duration::from_secs(3600);

/// The addresses, the next one to be tried first.
#[derive(Debug, Default)]
pub(super) struct Book(VecDeque<Entry>);

#[derive(Debug)]
struct Entry {
    address: PeerAddress,
    network: Network,
    /// A node of use answered there, the last time that it was tried.
    is_good: bool,
    failures: u32,
    /// It is not tried again before.
    not_before: Option<Instant>,
}

impl Book {
    /// Takes in what a node told; whether an address is new. `by_proxy`: onion addresses are of use.
    pub(super) fn learn(&mut self, list: &[ListedPeer], by_proxy: bool) -> bool {
        let newest = list.iter().map(|peer| peer.seen).max().unwrap_or(0);
        let is_of_use = |peer: &&ListedPeer| {
            peer.services & BLOCKS != 0
                && peer.services & WITNESS != 0
                && peer.seen.saturating_add(HORIZON) >= newest
        };
        let mut is_new = false;
        for peer in list.iter().filter(is_of_use) {
            is_new |= self.add(&peer.address, by_proxy);
        }
        is_new
    }

    /// Adds an address, in front. An address of the same network stays if it is known to be good.
    pub(super) fn add(&mut self, address: &PeerAddress, by_proxy: bool) -> bool {
        let is_onion = matches!(address.host, PeerHost::Onion(_));
        let is_fit = address.is_public() && address.port >= FIRST_PORT && (by_proxy || !is_onion);
        let network = address.network();
        let same = self.0.iter().position(|entry| entry.network == network);
        let is_kept = |at: usize| self.0[at].is_good || self.0[at].address == *address;
        if !is_fit || same.is_some_and(is_kept) {
            return false;
        }
        if let Some(at) = same {
            self.0.remove(at);
        } else if self.0.len() == KEPT {
            let bad = self.0.iter().rposition(|entry| !entry.is_good);
            self.0.remove(bad.unwrap_or(KEPT - 1));
        }
        let address = address.clone();
        self.0.push_front(Entry {
            address,
            network,
            is_good: false,
            failures: 0,
            not_before: None,
        });
        true
    }

    /// The next address that may be tried and is in none of the networks `in_use`. It goes to the end.
    /// Where it is `urgent`, those known to be good come first.
    pub(super) fn next(
        &mut self,
        now: Now,
        urgent: bool,
        in_use: impl Fn(&Network) -> bool,
    ) -> Option<PeerAddress> {
        let may = |entry: &Entry| {
            entry.not_before.is_none_or(|at| at <= now.mono) && !in_use(&entry.network)
        };
        let good = || self.0.iter().position(|entry| entry.is_good && may(entry));
        let at = urgent.then(good).flatten().or_else(|| self.0.iter().position(may))?;
        let entry = self.0.remove(at)?;
        let address = entry.address.clone();
        self.0.push_back(entry);
        Some(address)
    }

    /// A node of use answered there.
    pub(super) fn succeeded(&mut self, address: &PeerAddress) {
        if let Some(entry) = self.entry(address) {
            (entry.is_good, entry.failures, entry.not_before) = (true, 0, None);
        }
    }

    /// Nothing of use is there now.
    pub(super) fn failed(&mut self, now: Now, address: &PeerAddress) {
        if let Some(entry) = self.entry(address) {
            entry.is_good = false;
            entry.not_before = Some(now.mono + pause(entry.failures));
            entry.failures = entry.failures.saturating_add(1);
        }
    }

    fn entry(&mut self, address: &PeerAddress) -> Option<&mut Entry> {
        self.0.iter_mut().find(|entry| entry.address == *address)
    }

    /// When the next address may be tried; `None` if there is none.
    pub(super) fn next_try(&self, in_use: impl Fn(&Network) -> bool, now: Now) -> Option<Instant> {
        let free = self.0.iter().filter(|entry| !in_use(&entry.network));
        free.map(|entry| entry.not_before.unwrap_or(now.mono)).min()
    }

    /// Whether more addresses are needed.
    pub(super) fn is_short(&self) -> bool {
        self.0.len() < FEW
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them, those known to be good first: for the card.
    pub(super) fn addresses(&self) -> Vec<PeerAddress> {
        let (good, other): (Vec<_>, Vec<_>) = self.0.iter().partition(|entry| entry.is_good);
        good.into_iter().chain(other).map(|entry| entry.address.clone()).collect()
    }

    /// Bytes on the heap, without long names.
    pub(super) fn memory(&self) -> usize {
        self.0.capacity() * size_of::<Entry>()
    }
}

/// The wait after so many failures before the last one.
pub(super) fn pause(failures: u32) -> Duration {
    (PAUSE * (1 << failures.min(6))).min(PAUSE_LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Now {
        Now { mono: Instant::now(), unix: 0 }
    }

    fn address(text: &str) -> PeerAddress {
        let (host, port) = text.rsplit_once(':').unwrap();
        PeerAddress { host: PeerHost::read(host), port: port.parse().unwrap() }
    }

    fn listed(text: &str) -> ListedPeer {
        ListedPeer { address: address(text), services: 9, seen: 1_790_000_000 }
    }

    fn book(list: &[&str]) -> Book {
        let mut book = Book::default();
        list.iter().for_each(|text| assert!(book.add(&address(text), false), "{text}"));
        book
    }

    fn texts(book: &Book) -> Vec<String> {
        book.addresses().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_network_has_one_address_and_the_newer_one_stays() {
        let mut book = book(&["77.1.0.1:8333", "78.1.0.1:8333"]);
        assert!(book.add(&address("77.1.9.9:8333"), false));
        assert_eq!(texts(&book), ["77.1.9.9:8333", "78.1.0.1:8333"]);
        assert!(!book.add(&address("77.1.9.9:8333"), false), "it is known");
        book.succeeded(&address("78.1.0.1:8333"));
        assert!(!book.add(&address("78.1.0.2:8333"), false), "the other one is good");
        assert_eq!(texts(&book), ["78.1.0.1:8333", "77.1.9.9:8333"]);
    }

    #[test]
    fn what_is_of_no_use_is_passed_over() {
        let mut book = Book::default();
        let good = listed("77.1.0.1:8333");
        let old = ListedPeer { seen: good.seen - HORIZON - 1, ..listed("78.1.0.1:8333") };
        let blind = ListedPeer { services: 1, ..listed("79.1.0.1:8333") };
        let empty = ListedPeer { services: 8, ..listed("80.1.0.1:8333") };
        let pruned = ListedPeer { services: 8 | 1 << 10, ..listed("81.1.0.1:8333") };
        let [house, mail] = [listed("192.168.1.5:8333"), listed("82.1.0.1:25")];
        let onion = listed(&format!("{}.onion:8333", "a".repeat(56)));
        let list = [good, old, blind, empty, pruned, house, mail, onion];
        assert!(book.learn(&list, false));
        assert_eq!(texts(&book), ["81.1.0.1:8333", "77.1.0.1:8333"]);
        assert!(book.learn(&list, true), "by a proxy the onion counts");
        assert_eq!(book.len(), 3);
        assert!(!book.learn(&list, true));
    }

    #[test]
    fn the_book_is_bounded_and_keeps_what_is_good() {
        let mut book = book(&["77.1.0.1:8333"]);
        book.succeeded(&address("77.1.0.1:8333"));
        for i in 0..200 {
            book.add(&address(&format!("80.{i}.0.1:8333")), false);
        }
        assert_eq!(book.len(), KEPT);
        assert_eq!(texts(&book)[0], "77.1.0.1:8333");
        assert!(!book.is_short());
    }

    #[test]
    fn a_failure_has_its_pause_and_the_next_ones_longer_ones() {
        let mut book = book(&["77.1.0.1:8333"]);
        let (only, mut at) = (address("77.1.0.1:8333"), now());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!(book.next(at, false, |_| false), Some(only.clone()));
            book.failed(at, &only);
            let again = book.next_try(|_| false, at).unwrap();
            pauses.push(again.duration_since(at.mono).as_secs());
            at.mono = again - Duration::from_millis(1);
            assert_eq!(book.next(at, false, |_| false), None);
            at.mono = again;
        }
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        book.succeeded(&only);
        book.failed(at, &only);
        assert_eq!(book.next_try(|_| false, at), Some(at.mono + PAUSE));
        assert_eq!(book.next_try(|_| true, at), None);
    }

    #[test]
    fn they_take_turns_and_urgently_the_good_ones_come_first() {
        let mut book = book(&["79.1.0.1:8333", "78.1.0.1:8333", "77.1.0.1:8333"]);
        book.succeeded(&address("79.1.0.1:8333"));
        let mut next = |urgent: bool, used: &str| {
            let used = address(used).network();
            book.next(now(), urgent, |network| *network == used).unwrap().to_string()
        };
        assert_eq!(next(false, "1.1.1.1:8333"), "77.1.0.1:8333");
        assert_eq!(next(true, "1.1.1.1:8333"), "79.1.0.1:8333");
        assert_eq!(next(true, "79.1.5.5:8333"), "78.1.0.1:8333");
        assert_eq!(next(false, "77.1.0.1:8333"), "79.1.0.1:8333");
    }
}
