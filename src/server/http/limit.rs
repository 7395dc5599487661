//! Rate limit and connection limit: a token bucket per address, and a cap on connections. Pure: the
//! time is handed in.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::time::Instant;

/// The most addresses remembered. When it is reached, full buckets (which say nothing) are dropped
/// first, then the longest unused.
const ADDRESSES_MAX: usize = 1024;

/// Token buckets, one per address (IPv6: one per /64, which is what one household gets).
pub struct Buckets {
    per_s: f64,
    burst: f64,
    buckets: HashMap<IpAddr, Bucket>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Buckets {
    /// `per_s` requests a second, and `burst` at once after a pause.
    pub fn new(per_s: u32, burst: u32) -> Buckets {
        Buckets { per_s: f64::from(per_s), burst: f64::from(burst), buckets: HashMap::new() }
    }

    /// Takes one token of this address: false when there is none.
    pub fn take(&mut self, address: IpAddr, now: Instant) -> bool {
        let key = household(address);
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

/// Counts open connections, all together and per address.
pub struct Connections {
    all: usize,
    max: usize,
    max_per_address: usize,
    per_address: HashMap<IpAddr, usize>,
}

impl Connections {
    /// At most `max` in all and `max_per_address` of one address.
    pub fn new(max: usize, max_per_address: usize) -> Connections {
        Connections { all: 0, max, max_per_address, per_address: HashMap::new() }
    }

    /// Counts a connection in for as long as the ticket lives; `None` over a cap.
    pub fn enter(this: &Rc<RefCell<Connections>>, address: IpAddr) -> Option<Ticket> {
        let key = household(address);
        let mut connections = this.borrow_mut();
        let of_address = connections.per_address.get(&key).copied().unwrap_or(0);
        if connections.all >= connections.max || of_address >= connections.max_per_address {
            return None;
        }
        connections.all += 1;
        connections.per_address.insert(key, of_address + 1);
        Some(Ticket { connections: this.clone(), key })
    }
}

/// One open connection.
pub struct Ticket {
    connections: Rc<RefCell<Connections>>,
    key: IpAddr,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut connections = self.connections.borrow_mut();
        connections.all -= 1;
        if let Some(count) = connections.per_address.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                connections.per_address.remove(&self.key);
            }
        }
    }
}

fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
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
        let one = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 2));
        let other = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 3));
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
        let flooder = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        let mut let_through = 0;
        for i in 0..20_000u32 {
            let now = start + Duration::from_micros(u64::from(i));
            let _ = buckets.take(IpAddr::V4(Ipv4Addr::from(0x0b00_0000 + i)), now);
            if i % 100 == 0 {
                let_through += u32::from(buckets.take(flooder, now));
            }
        }
        assert!(buckets.buckets.len() <= ADDRESSES_MAX);
        // The burst of 40, and nothing more within 20 ms: the flood did not make us forget it.
        assert_eq!(let_through, 40);
    }

    #[test]
    fn one_household_has_one_bucket() {
        let start = Instant::now();
        let mut buckets = Buckets::new(1, 1);
        assert!(buckets.take("2001:db8::1".parse().unwrap(), start));
        assert!(!buckets.take("2001:db8::2".parse().unwrap(), start));
        assert!(buckets.take("2001:db8:0:1::1".parse().unwrap(), start));
        assert!(buckets.take("192.168.0.1".parse().unwrap(), start));
        assert!(!buckets.take("::ffff:192.168.0.1".parse().unwrap(), start));
    }

    #[test]
    fn connections_are_counted_out_again() {
        let connections = Rc::new(RefCell::new(Connections::new(3, 2)));
        let one = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        let other = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
        let first = Connections::enter(&connections, one).unwrap();
        let _second = Connections::enter(&connections, one).unwrap();
        assert!(Connections::enter(&connections, one).is_none());
        let _third = Connections::enter(&connections, other).unwrap();
        assert!(Connections::enter(&connections, other).is_none());
        drop(first);
        assert!(Connections::enter(&connections, other).is_some());
    }
}
