//! Rate limit: a token bucket per household, and where the owner is. Pure: the time is handed in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::door::{Acquaintance, EVER, Household};
use crate::settings::access::{SESSION, SESSIONS_MAX};

/// The most addresses remembered. When it is reached, full buckets (which say nothing) are dropped
/// first, then the longest unused.
const ADDRESSES_MAX: usize = 1024;

/// Token buckets, one per household. The owner's address has one of its own.
pub struct Buckets {
    per_s: f64,
    burst: f64,
    buckets: BTreeMap<Household, Bucket>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Buckets {
    /// `per_s` requests a second, and `burst` at once after a pause.
    pub fn new(per_s: u32, burst: u32) -> Buckets {
        Buckets { per_s: f64::from(per_s), burst: f64::from(burst), buckets: BTreeMap::new() }
    }

    /// Takes one token of this household: false when there is none.
    pub fn take(&mut self, key: Household, now: Instant) -> bool {
        if self.buckets.len() >= ADDRESSES_MAX && !self.buckets.contains_key(&key) {
            self.make_room(now);
        }
        let (per_s, burst) = (self.per_s, self.burst);
        let bucket = self.buckets.entry(key).or_insert(Bucket { tokens: burst, at: now });
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * per_s).min(burst);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }

    fn make_room(&mut self, now: Instant) {
        let (per_s, burst) = (self.per_s, self.burst);
        self.buckets.retain(|_, bucket| {
            let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
            bucket.tokens + passed * per_s < burst
        });
        if self.buckets.len() >= ADDRESSES_MAX {
            let oldest = self.buckets.iter().min_by_key(|(_, b)| b.at).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                self.buckets.remove(&oldest);
            }
        }
    }
}

/// The addresses of the owner: a session was used from there lately.
#[derive(Default)]
pub struct Owners(Vec<(IpAddr, Instant)>);

impl Owners {
    /// A session is used from this address.
    pub fn note(&mut self, address: IpAddr, now: Instant) {
        self.0.retain(|(other, at)| *other != address && is_fresh(*at, now));
        if self.0.len() >= SESSIONS_MAX {
            self.0.remove(0);
        }
        self.0.push((address, now));
    }

    /// Whether the owner was at this address lately. An owner is older than every acquaintance.
    pub fn acquaintance(&self, address: IpAddr, now: Instant) -> Acquaintance {
        let is_here = |(other, at): &(IpAddr, Instant)| *other == address && is_fresh(*at, now);
        self.0.iter().any(is_here).then_some(EVER).flatten()
    }
}

fn is_fresh(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < SESSION
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    #[test]
    fn a_bucket_lets_the_burst_and_then_the_rate_through() {
        let start = Instant::now();
        let mut buckets = Buckets::new(20, 40);
        let one = Household::V4(Ipv4Addr::new(192, 168, 1, 2));
        let other = Household::V4(Ipv4Addr::new(192, 168, 1, 3));
        let taken = (0..100).filter(|_| buckets.take(one, start)).count();
        assert_eq!(taken, 40);
        assert!(buckets.take(other, start));
        let later = start + Duration::from_millis(500);
        assert_eq!((0..100).filter(|_| buckets.take(one, later)).count(), 10);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| buckets.take(one, much_later)).count(), 40);
    }

    #[test]
    fn a_flood_of_addresses_takes_bounded_memory_and_frees_no_flooder() {
        let start = Instant::now();
        let mut buckets = Buckets::new(20, 40);
        let flooder = Household::V4(Ipv4Addr::new(10, 0, 0, 1));
        let mut let_through = 0;
        for i in 0..20_000u32 {
            let now = start + Duration::from_micros(u64::from(i));
            let _ = buckets.take(Household::V4(Ipv4Addr::from(0x0b00_0000 + i)), now);
            if i % 100 == 0 {
                let_through += u32::from(buckets.take(flooder, now));
            }
        }
        assert!(buckets.buckets.len() <= ADDRESSES_MAX);
        // The burst of 40, and nothing more within 20 ms: the flood did not make us forget it.
        assert_eq!(let_through, 40);
    }

    #[test]
    fn one_household_has_one_bucket_and_the_owner_in_it_one_of_his_own() {
        let start = Instant::now();
        let mut buckets = Buckets::new(1, 1);
        let of = |address: &str| Household::of(address.parse().unwrap());
        assert!(buckets.take(of("2001:db8::1"), start));
        assert!(!buckets.take(of("2001:db8::2"), start));
        assert!(buckets.take(Household::alone("2001:db8::2".parse().unwrap()), start));
        assert!(buckets.take(of("2001:db8:0:1::1"), start));
        assert!(buckets.take(of("192.168.0.1"), start));
        assert!(!buckets.take(of("::ffff:192.168.0.1"), start));
    }

    #[test]
    fn the_owner_is_where_a_session_was_used_lately() {
        let start = Instant::now();
        let later = |s| start + Duration::from_secs(s);
        let address = |n: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n));
        let mut owners = Owners::default();
        owners.note(address(1), start);
        assert_eq!(owners.acquaintance(address(1), later(60)), EVER);
        assert_eq!(owners.acquaintance(address(2), later(60)), None);
        assert_eq!(owners.acquaintance(address(1), later(15 * 60)), None);
        for n in 0..200 {
            owners.note(address(n), later(1));
        }
        assert_eq!(owners.0.len(), SESSIONS_MAX);
    }
}
