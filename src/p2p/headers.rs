//! Block headers: their proof of work, and the last few of a peer's best chain.

use std::collections::VecDeque;

use crate::chain::{BlockHash, Chain};
use crate::difficulty::{NBits, Target};
use crate::hash::sha256d;

use super::wire::{Fields, MAX_HEADERS};

/// Headers of the best chain that are kept: more than a reorganisation takes away.
pub(super) const RING: usize = 64;
/// Blocks whose times make a median time (`nMedianTimeSpan` of Core's `src/chain.h`).
pub(super) const MEDIAN: usize = 11;
/// Blocks from one change of the target to the next.
const RETARGET: u32 = 2016;
/// Hashes of a locator next to the tip; one more is the oldest that we have.
const LOCATOR: usize = 10;

/// What we keep of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Its hash.
    pub(super) hash: BlockHash,
    /// Its parent's hash; zero for block 0.
    pub(super) prev: BlockHash,
    /// Its time, Unix seconds.
    pub(super) time: u32,
    /// Its target.
    pub(super) bits: NBits,
}

impl Header {
    /// Reads the 80 bytes of a header: version, parent, merkle root, time, bits, nonce.
    pub(super) fn read(bytes: &[u8; 80]) -> Header {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let mut prev = [0; 32];
        prev.copy_from_slice(&bytes[4..36]);
        let hash = BlockHash(sha256d(bytes));
        Header { hash, prev: BlockHash(prev), time: word(68), bits: NBits(word(72)) }
    }

    /// Whether its hash meets its target.
    pub(super) fn has_work(&self) -> bool {
        Target::from_nbits(self.bits).is_ok_and(|target| target.is_met_by(&self.hash))
    }

    /// Whether it is block 0.
    pub(super) fn is_first(&self) -> bool {
        self.prev == BlockHash([0; 32])
    }
}

/// Reads a `headers`: at most 2,000, each the parent of the next.
pub(super) fn read_headers(payload: &[u8]) -> Result<Vec<Header>, &'static str> {
    let mut fields = Fields(payload);
    let wrong = "a list of headers of another length than it says";
    let count = fields.count().filter(|count| *count <= MAX_HEADERS).ok_or(wrong)?;
    let mut list: Vec<Header> = Vec::with_capacity(count.min(fields.0.len() / 81));
    for _ in 0..count {
        let header = Header::read(&fields.array().ok_or(wrong)?);
        // The count of transactions, which is 0.
        fields.count().ok_or(wrong)?;
        if list.last().is_some_and(|last| last.hash != header.prev) {
            return Err("headers that do not follow one another");
        }
        list.push(header);
    }
    if fields.0.is_empty() { Ok(list) } else { Err(wrong) }
}

/// The last headers of a peer's best chain, without a gap.
#[derive(Debug, Default)]
pub(super) struct Ring {
    headers: VecDeque<Header>,
    /// Height of the first one, where it is known.
    base: Option<u32>,
}

impl Ring {
    /// These headers, the last of which has the given height.
    pub(super) fn new(headers: VecDeque<Header>, height: Option<u32>) -> Ring {
        let below = headers.len().saturating_sub(1) as u32;
        Ring { headers, base: height.and_then(|height| height.checked_sub(below)) }
    }

    /// The tip.
    pub(super) fn tip(&self) -> Option<&Header> {
        self.headers.back()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.headers.len()
    }

    /// Bytes on the heap.
    pub(super) fn memory(&self) -> usize {
        self.headers.capacity() * size_of::<Header>()
    }

    /// The tip's height.
    pub(super) fn height(&self) -> Option<u32> {
        self.base?.checked_add(self.headers.len().checked_sub(1)? as u32)
    }

    /// A header's place, from the oldest.
    pub(super) fn position(&self, hash: &BlockHash) -> Option<usize> {
        self.headers.iter().rposition(|header| header.hash == *hash)
    }

    /// Blocks on top of one, plus itself.
    pub(super) fn confirmations(&self, hash: &BlockHash) -> Option<u32> {
        Some((self.headers.len() - self.position(hash)?) as u32)
    }

    /// Learns a header's height.
    pub(super) fn set_height(&mut self, hash: &BlockHash, height: u32) {
        if let Some(at) = self.position(hash) {
            self.base = height.checked_sub(at as u32);
        }
    }

    /// How many headers stay when one with this parent follows; `None` if it does not link.
    pub(super) fn link(&self, prev: &BlockHash) -> Option<usize> {
        let is_below = || self.headers.front().is_some_and(|oldest| oldest.prev == *prev);
        self.position(prev).map(|at| at + 1).or_else(|| is_below().then_some(0))
    }

    /// How many of `list` are there already, right behind the first `keep`.
    pub(super) fn overlap(&self, keep: usize, list: &[Header]) -> usize {
        let ours = self.headers.iter().skip(keep);
        ours.zip(list).take_while(|(ours, theirs)| ours.hash == theirs.hash).count()
    }

    /// Whether a header is among those behind the first `keep`.
    pub(super) fn has_after(&self, keep: usize, hash: &BlockHash) -> bool {
        self.headers.iter().skip(keep).any(|header| header.hash == *hash)
    }

    /// Puts `list` behind the first `keep`. What is too old is forgotten.
    pub(super) fn splice(&mut self, keep: usize, list: &[Header]) {
        self.headers.truncate(keep);
        for header in list {
            if self.headers.len() == RING {
                self.headers.pop_front();
                self.base = self.base.and_then(|base| base.checked_add(1));
            }
            self.headers.push_back(*header);
        }
    }

    /// Hashes for a `getheaders` whose answer, from a peer with the same tip, begins with the tip: so
    /// it is never empty, which bcoin would not send at all. The parents of the newest headers, and of
    /// the oldest.
    pub(super) fn locator(&self) -> Vec<BlockHash> {
        match self.tip() {
            Some(tip) if tip.is_first() => return vec![tip.hash],
            Some(_) => {}
            None => return Vec::new(),
        }
        let mut locator: Vec<BlockHash> =
            self.headers.iter().rev().take(LOCATOR).map(|header| header.prev).collect();
        if self.headers.len() > LOCATOR {
            locator.extend(self.headers.front().map(|oldest| oldest.prev));
        }
        locator
    }

    /// The median time of the tip and the ten blocks before it, or of all since block 0.
    pub(super) fn median_time(&self) -> Option<u32> {
        let mut times: Vec<u32> =
            self.headers.iter().rev().take(MEDIAN).map(|header| header.time).collect();
        let is_all = times.len() == MEDIAN || self.headers.front().is_some_and(Header::is_first);
        times.sort_unstable();
        times.get(times.len() / 2).copied().filter(|_| is_all)
    }

    /// Whether headers that follow the first `keep` have targets that the network's rules allow, as far
    /// as the headers tell.
    pub(super) fn allows(&self, chain: Chain, keep: usize, list: &[Header]) -> bool {
        let mut bits = Bits { chain, last: None, normal: None };
        let at = |place: usize| self.base.and_then(|base| base.checked_add(place as u32));
        for (place, header) in self.headers.iter().take(keep).enumerate() {
            bits.advance(at(place), header.bits);
        }
        list.iter().zip(keep..).all(|(header, place)| {
            let allows = bits.allow(at(place), header.bits);
            bits.advance(at(place), header.bits);
            allows
        })
    }
}

/// Follows the targets of a chain.
struct Bits {
    chain: Chain,
    last: Option<NBits>,
    /// The last of this period that is not the network's easiest: the test networks return to it.
    normal: Option<NBits>,
}

impl Bits {
    fn allow(&self, height: Option<u32>, bits: NBits) -> bool {
        let (Some(new), Some(easiest)) = (difficulty(bits), difficulty(easiest_of(self.chain)))
        else {
            return false;
        };
        if new < easiest {
            return false;
        }
        let may_change = is_retarget(height);
        match self.chain {
            Chain::Regtest => self.last.is_none_or(|last| last == bits),
            // A block that comes more than 20 minutes after its parent may have the easiest target. What
            // follows a retarget there depends on blocks that we do not have.
            Chain::Testnet3 | Chain::Testnet4 => {
                may_change
                    || bits == easiest_of(self.chain)
                    || self.normal.is_none_or(|normal| normal == bits)
            }
            Chain::Main | Chain::Signet => self.last.is_none_or(|last| {
                // A little more than four: the compact form rounds.
                let is_near = |last: f64| new <= last * 4.01 && last <= new * 4.01;
                bits == last || (may_change && difficulty(last).is_some_and(is_near))
            }),
        }
    }

    fn advance(&mut self, height: Option<u32>, bits: NBits) {
        let is_easiest = bits == easiest_of(self.chain);
        if !is_easiest {
            self.normal = Some(bits);
        } else if is_retarget(height) {
            self.normal = None;
        }
        self.last = Some(bits);
    }
}

/// Whether the target may change at a height; at one that is not known it may.
fn is_retarget(height: Option<u32>) -> bool {
    height.is_none_or(|height| height.is_multiple_of(RETARGET))
}

fn difficulty(bits: NBits) -> Option<f64> {
    Target::from_nbits(bits).ok().map(|target| target.difficulty().0)
}

/// The easiest target of a network (`powLimit` of Core's `src/kernel/chainparams.cpp`).
fn easiest_of(chain: Chain) -> NBits {
    NBits(match chain {
        Chain::Main | Chain::Testnet3 | Chain::Testnet4 => 0x1d00_ffff,
        Chain::Signet => 0x1e03_77ae,
        Chain::Regtest => 0x207f_ffff,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::p2p::tests::model::{BITS, hash, headers_payload, mine};

    /// Headers that follow one another, 60 s apart.
    fn chain(n: u32) -> Vec<Header> {
        let mut prev = BlockHash([0; 32]);
        let next = |i| {
            let header = mine(prev, [1; 32], 1_000_000 + 60 * i, BITS);
            prev = hash(&header);
            Header::read(&header)
        };
        (0..n).map(next).collect()
    }

    #[test]
    fn a_header_is_read_as_crate_bitcoin_reads_it() {
        let block = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin);
        let bytes: [u8; 80] = bitcoin::consensus::serialize(&block.header).try_into().unwrap();
        let header = Header::read(&bytes);
        assert_eq!(header.hash, Chain::Main.genesis());
        assert_eq!((header.time, header.bits), (1_231_006_505, NBits(0x1d00_ffff)));
        assert!(header.has_work() && header.is_first());
        let mut other = bytes;
        other[4] = 1;
        assert!(!Header::read(&other).has_work());
        assert!(!Header::read(&other).is_first());
    }

    #[test]
    fn lists_are_read_in_their_bounds() {
        let first = mine(BlockHash([1; 32]), [0; 32], 5, BITS);
        let second = mine(hash(&first), [0; 32], 6, BITS);
        let good = headers_payload(&[first, second]);
        assert_eq!(read_headers(&good).unwrap().len(), 2);
        assert_eq!(read_headers(&[0]).unwrap().len(), 0);
        assert!(read_headers(&good[..good.len() - 1]).is_err());
        assert!(read_headers(&[&good[..], &[0]].concat()).is_err());
        assert!(read_headers(&headers_payload(&[second, first])).is_err());
        assert!(read_headers(&[0xfe, 0xff, 0xff, 0xff, 0xff]).is_err());
        // 2,000 may come, no more.
        let mut list = vec![first];
        while list.len() < 2001 {
            list.push(mine(hash(&list[list.len() - 1]), [0; 32], 6, BITS));
        }
        assert!(read_headers(&headers_payload(&list)).is_err());
        assert_eq!(read_headers(&headers_payload(&list[1..])).unwrap().len(), 2000);
    }

    #[test]
    fn the_ring_keeps_the_last_headers_and_their_heights() {
        let list = chain(100);
        let mut ring = Ring::new(list[..3].iter().copied().collect(), Some(2));
        assert_eq!(ring.height(), Some(2));
        assert_eq!(ring.median_time(), Some(list[1].time));
        ring.splice(3, &list[3..]);
        assert_eq!((ring.len(), ring.height()), (RING, Some(99)));
        assert_eq!(ring.confirmations(&list[99].hash), Some(1));
        assert_eq!(ring.confirmations(&list[36].hash), Some(64));
        assert_eq!(ring.confirmations(&list[35].hash), None);
        assert_eq!(ring.median_time(), Some(list[94].time));
        // Below its oldest header it links, further below it does not.
        assert_eq!(ring.link(&list[99].hash), Some(64));
        assert_eq!(ring.link(&list[36].hash), Some(1));
        assert_eq!(ring.link(&list[35].hash), Some(0));
        assert_eq!(ring.link(&list[34].hash), None);
        assert_eq!(ring.overlap(0, &list[36..50]), 14);
        ring.splice(1, &list[37..38]);
        assert_eq!((ring.len(), ring.height()), (2, Some(37)));
        // Two are no eleven.
        assert_eq!(ring.median_time(), None);
        let mut ring = Ring::new(list[50..60].iter().copied().collect(), None);
        assert_eq!((ring.height(), ring.median_time()), (None, None));
        ring.set_height(&list[55].hash, 55);
        ring.splice(10, &list[60..61]);
        assert_eq!((ring.height(), ring.median_time()), (Some(60), Some(list[55].time)));
    }

    #[test]
    fn a_locator_begins_below_the_tip() {
        let list = chain(30);
        let parents = |range: std::ops::Range<usize>| range.rev().map(|i| list[i].hash);
        let ring = Ring::new(list[10..15].iter().copied().collect(), None);
        assert_eq!(ring.locator(), parents(9..14).collect::<Vec<_>>());
        let ring = Ring::new(list[10..30].iter().copied().collect(), None);
        assert_eq!(ring.locator(), parents(19..29).chain(parents(9..10)).collect::<Vec<_>>());
        let ring = Ring::new(list[..1].iter().copied().collect(), None);
        assert_eq!(ring.locator(), [list[0].hash]);
        assert_eq!(Ring::default().locator(), []);
    }

    /// Whether a chain at `base` with these bits may go on with that.
    fn allows(chain: Chain, base: Option<u32>, before: &[u32], next: u32) -> bool {
        let header = |bits: &u32| Header {
            hash: BlockHash([1; 32]),
            prev: BlockHash([2; 32]),
            time: 0,
            bits: NBits(*bits),
        };
        let ring = Ring { headers: before.iter().map(header).collect(), base };
        ring.allows(chain, before.len(), &[header(&next)])
    }

    #[test]
    fn targets_change_only_at_a_retarget_and_within_a_factor_of_four() {
        let normal = 0x1703_4219;
        for chain in [Chain::Main, Chain::Signet] {
            let base = Some(2016 * 400 - 1);
            assert!(allows(chain, base, &[normal], normal));
            // To a difficulty 3.9 times higher and lower, and 4.2 times.
            assert!(allows(chain, base, &[0x1703_9000], 0x1700_ea00));
            assert!(allows(chain, base, &[0x1700_ea00], 0x1703_9000));
            assert!(!allows(chain, base, &[0x1703_9000], 0x1700_d800));
            assert!(!allows(chain, base, &[0x1700_d800], 0x1703_9000));
            assert!(!allows(chain, Some(2016 * 400), &[normal], normal - 1));
            assert!(!allows(chain, Some(2016 * 400 - 2), &[normal], normal - 1));
            // Where the height is not known it might be one.
            assert!(allows(chain, None, &[normal], normal - 1));
            assert!(allows(chain, Some(5), &[], normal));
        }
        assert!(!allows(Chain::Main, None, &[], 0x1d01_0000));
        assert!(!allows(Chain::Main, None, &[], 0x1d80_ffff));
        assert!(!allows(Chain::Main, None, &[], 0));
        assert!(allows(Chain::Signet, None, &[], 0x1e03_77ae));
        assert!(!allows(Chain::Signet, None, &[], 0x1e03_77af));
        assert!(allows(Chain::Regtest, Some(2015), &[BITS], BITS));
        assert!(!allows(Chain::Regtest, Some(2015), &[BITS], BITS - 1));
    }

    #[test]
    fn test_networks_have_easy_blocks_in_between() {
        let (normal, easy) = (0x1a03_4219, 0x1d00_ffff);
        for chain in [Chain::Testnet3, Chain::Testnet4] {
            assert!(allows(chain, Some(10), &[normal], easy));
            assert!(allows(chain, Some(10), &[normal, easy, easy], normal));
            assert!(!allows(chain, Some(10), &[normal, easy, easy], normal - 1));
            assert!(!allows(chain, Some(10), &[normal], normal - 1));
            // What was before is not known.
            assert!(allows(chain, Some(10), &[easy], normal));
            assert!(allows(chain, Some(2015), &[normal], normal - 1));
            // The first of a period was an easy one.
            assert!(allows(chain, Some(2015), &[normal, easy], normal - 1));
        }
    }
}
