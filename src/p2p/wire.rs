//! The bytes of the wire: frames of 24 bytes and a payload, and the payloads that we write or read.
//!
//! A frame's head is the network's magic (4 bytes), the command (12 bytes, padded with zeros), the
//! payload's length (4, little-endian) and the first 4 bytes of the payload's double SHA-256. See Bitcoin
//! Core's `src/protocol.h`. Numbers are little-endian; counts have Bitcoin's variable-length form.

use std::net::Ipv6Addr;

use crate::chain::{BlockHash, Chain};
use crate::hash::sha256d;
use crate::peer_address::{ListedPeer, PeerAddress};

use super::Down;

/// Bytes of a frame's head.
const HEAD: usize = 24;
/// Bytes of a payload that any node may send (`MAX_PROTOCOL_MESSAGE_LENGTH` of Core's `src/net.h`).
const MAX_PAYLOAD: usize = 4_000_000;
/// Headers in one message (`MAX_HEADERS_RESULTS`).
pub(super) const MAX_HEADERS: usize = 2000;
/// Entries of an `inv` or a `getdata` that are read; a longer one is skipped.
const MAX_ENTRIES: usize = 1000;
/// Hashes of a locator (`MAX_LOCATOR_SZ`).
const MAX_LOCATOR: usize = 101;
/// Bytes of a `getblocktxn`: more transactions than a block has room for, three bytes each.
const MAX_INDEXES: usize = 64 * 1024;
/// Addresses in one message (`MAX_ADDR_TO_SEND` of Core's `src/net_processing.cpp`).
pub(super) const MAX_ADDRESSES: usize = 1000;
/// Bytes of the small messages.
const MAX_SMALL: usize = 1024;

/// Bytes of an address in `addr`.
const ADDRESS: usize = 4 + 8 + 16 + 2;

/// An entry of `inv` or `getdata` that names a block (`MSG_BLOCK`).
pub(super) const BLOCK: u32 = 2;
/// The same in compact form (`MSG_CMPCT_BLOCK`).
pub(super) const COMPACT_BLOCK: u32 = 4;
/// The same with the witnesses (`MSG_WITNESS_BLOCK`).
pub(super) const WITNESS_BLOCK: u32 = 0x4000_0002;

/// How many bytes of a command's payload are read at the most; `None` where we read none. Addresses are
/// read only from a peer that was asked for them.
fn limit(command: &[u8], reads_addresses: bool) -> Option<usize> {
    Some(match command {
        b"addr" if reads_addresses => MAX_ADDRESSES * ADDRESS + 9,
        b"headers" => MAX_HEADERS * 81 + 9,
        b"inv" | b"getdata" => MAX_ENTRIES * 36 + 9,
        b"getheaders" => 4 + 9 + MAX_LOCATOR * 32 + 32,
        b"getblocktxn" => MAX_INDEXES,
        b"version" | b"verack" | b"ping" => MAX_SMALL,
        _ => return None,
    })
}

/// The first four bytes of each message of a network (`pchMessageStart` of Core's
/// `src/kernel/chainparams.cpp`). A custom signet has its own.
pub(super) fn magic(chain: Chain) -> [u8; 4] {
    match chain {
        Chain::Main => [0xf9, 0xbe, 0xb4, 0xd9],
        Chain::Testnet3 => [0x0b, 0x11, 0x09, 0x07],
        Chain::Testnet4 => [0x1c, 0x16, 0x3f, 0x28],
        Chain::Signet => [0x0a, 0x03, 0xcf, 0x40],
        Chain::Regtest => [0xfa, 0xbf, 0xb5, 0xda],
    }
}

const CHAINS: [Chain; 5] =
    [Chain::Main, Chain::Testnet3, Chain::Testnet4, Chain::Signet, Chain::Regtest];

/// What the wrong first bytes of a message mean.
fn not_ours(bytes: [u8; 4], is_first: bool) -> Down {
    match &bytes {
        _ if CHAINS.iter().any(|chain| magic(*chain) == bytes) => Down::OtherChain,
        b"HTTP" if is_first => Down::Nonsense("a web server answers there"),
        [0x15, 0x03, ..] if is_first => Down::Nonsense("a TLS server answers there"),
        _ if is_first => Down::Nonsense("its answer does not begin like a message"),
        _ => Down::Nonsense("a message does not begin as it should"),
    }
}

/// A message's name, without the padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command([u8; 12]);

impl Command {
    /// Its letters.
    pub(super) fn name(&self) -> &[u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(12);
        &self.0[..end]
    }
}

/// A message that has come to its end.
#[derive(Debug)]
pub(super) enum Frame {
    /// One that we read.
    Whole(Command, Vec<u8>),
    /// One that was thrown away as it came: unknown, or of no use to us.
    Skipped,
    /// One that we would read, but longer than such a message can be. It was thrown away too.
    TooLong(Command),
}

/// What becomes of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Read,
    Skip,
    TooLong,
}

/// Cuts the stream into messages. Holds no more than one that we read.
#[derive(Debug)]
pub(super) struct Frames {
    magic: [u8; 4],
    head: [u8; HEAD],
    /// Bytes of `head` that are there.
    filled: usize,
    /// The payload so far, where it is read.
    payload: Vec<u8>,
    /// Bytes of the payload that have not come yet.
    left: usize,
    fate: Fate,
    is_first: bool,
    /// Whether addresses are read. It matters when the head of a message is whole.
    pub(super) reads_addresses: bool,
}

impl Frames {
    /// The beginning of a connection.
    pub(super) fn new(chain: Chain) -> Frames {
        Frames {
            magic: magic(chain),
            head: [0; HEAD],
            filled: 0,
            payload: Vec::new(),
            left: 0,
            fate: Fate::Skip,
            is_first: true,
            reads_addresses: false,
        }
    }

    /// Bytes on the heap.
    pub(super) fn memory(&self) -> usize {
        self.payload.capacity()
    }

    /// Takes what it can use off the front of `bytes`; the next whole message, or `None` when all is
    /// taken and no message is whole.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, Down> {
        if self.filled < HEAD {
            let part = cut(bytes, HEAD - self.filled);
            self.head[self.filled..self.filled + part.len()].copy_from_slice(part);
            self.filled += part.len();
            let [a, b, c, d, ..] = self.head;
            if self.filled >= 4 && [a, b, c, d] != self.magic {
                return Err(not_ours([a, b, c, d], self.is_first));
            }
            if self.filled < HEAD {
                return Ok(None);
            }
            self.begin_payload()?;
        }
        let part = cut(bytes, self.left);
        self.left -= part.len();
        if self.fate == Fate::Read {
            self.payload.extend_from_slice(part);
        }
        if self.left > 0 {
            return Ok(None);
        }
        self.filled = 0;
        self.is_first = false;
        let payload = std::mem::take(&mut self.payload);
        match self.fate {
            Fate::Read => {}
            Fate::Skip => return Ok(Some(Frame::Skipped)),
            Fate::TooLong => return Ok(Some(Frame::TooLong(self.command()))),
        }
        if sha256d(&payload)[..4] != self.head[20..] {
            return Err(Down::Nonsense("a message has a wrong checksum"));
        }
        Ok(Some(Frame::Whole(self.command(), payload)))
    }

    fn begin_payload(&mut self) -> Result<(), Down> {
        let [.., a, b, c, d, _, _, _, _] = self.head;
        self.left = u32::from_le_bytes([a, b, c, d]) as usize;
        if self.left > MAX_PAYLOAD {
            return Err(Down::Nonsense("a message is longer than any may be"));
        }
        self.fate = match limit(self.command().name(), self.reads_addresses) {
            None => Fate::Skip,
            Some(limit) if self.left <= limit => Fate::Read,
            Some(_) => Fate::TooLong,
        };
        Ok(())
    }

    fn command(&self) -> Command {
        let mut name = [0; 12];
        name.copy_from_slice(&self.head[4..16]);
        Command(name)
    }
}

/// Takes up to `n` bytes off the front.
fn cut<'a>(bytes: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (part, rest) = bytes.split_at(n.min(bytes.len()));
    *bytes = rest;
    part
}

/// The head of a message whose payload is given.
pub(super) fn head(chain: Chain, command: &str, payload: &[u8]) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&magic(chain));
    head[4..4 + command.len()].copy_from_slice(command.as_bytes());
    head[16..20].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    head[20..].copy_from_slice(&sha256d(payload)[..4]);
    head
}

/// Appends a count in the variable-length form.
pub(super) fn push_count(out: &mut Vec<u8>, count: usize) {
    match count {
        0..=0xfc => out.push(count as u8),
        0xfd..=0xffff => {
            out.push(0xfd);
            out.extend_from_slice(&(count as u16).to_le_bytes());
        }
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&(count as u32).to_le_bytes());
        }
    }
}

/// Reads fields off the front of a payload; `None` where it ends too early.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next `n` bytes.
    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(part)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (part, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*part)
    }

    /// A number of 32 bits.
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A number of 64 bits.
    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A hash.
    pub(super) fn hash(&mut self) -> Option<BlockHash> {
        self.array().map(BlockHash)
    }

    /// A count. What exceeds 32 bits counts nothing that is there.
    pub(super) fn count(&mut self) -> Option<usize> {
        let [first] = self.array()?;
        Some(match first {
            0..=0xfc => usize::from(first),
            0xfd => usize::from(u16::from_le_bytes(self.array()?)),
            0xfe => u32::from_le_bytes(self.array()?) as usize,
            0xff => return None,
        })
    }
}

/// What a peer's `version` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// Its protocol version.
    pub(super) version: u32,
    /// Its services.
    pub(super) services: u64,
    /// Its random number.
    pub(super) nonce: u64,
    /// Its user agent: at most 64 printable characters of it.
    pub(super) agent: String,
}

/// Our protocol version: the last one that Core knows (BIP 339).
const PROTOCOL: u32 = 70016;
/// `NODE_WITNESS`: a node asks for a block only of peers that have its witnesses.
pub(super) const SERVICE_WITNESS: u64 = 8;

/// Our `version`. Addresses are zero: we listen nowhere.
pub(super) fn version(unix: u64, nonce: u64) -> Vec<u8> {
    let agent = concat!("/Soloist:", env!("CARGO_PKG_VERSION"), "/");
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(&PROTOCOL.to_le_bytes());
    out.extend_from_slice(&SERVICE_WITNESS.to_le_bytes());
    out.extend_from_slice(&unix.to_le_bytes());
    out.extend_from_slice(&[0; 52]);
    out.extend_from_slice(&nonce.to_le_bytes());
    push_count(&mut out, agent.len());
    out.extend_from_slice(agent.as_bytes());
    // No blocks, and no transactions wanted (BIP 37).
    out.extend_from_slice(&[0; 5]);
    out
}

/// Reads a peer's `version`.
pub(super) fn read_version(payload: &[u8]) -> Option<Version> {
    let mut fields = Fields(payload);
    let version = fields.u32()?;
    let services = fields.u64()?;
    // The time, and two addresses.
    fields.take(8 + 52)?;
    let nonce = fields.u64()?;
    let length = fields.count()?;
    let agent = fields.take(length)?;
    let is_printable = |byte: &u8| matches!(byte, b' '..=b'~');
    let agent = agent.iter().copied().filter(is_printable).take(64).map(char::from).collect();
    Some(Version { version, services, nonce, agent })
}

/// The addresses of an `addr`; `None` if there are too many, or fewer or more than it says.
pub(super) fn read_addr(payload: &[u8]) -> Option<Vec<ListedPeer>> {
    let mut fields = Fields(payload);
    let count = fields.count().filter(|count| *count <= MAX_ADDRESSES)?;
    if fields.0.len() != count * ADDRESS {
        return None;
    }
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        let (seen, services) = (u64::from(fields.u32()?), fields.u64()?);
        let ip = Ipv6Addr::from(fields.array::<16>()?);
        let port = fields.array().map(u16::from_be_bytes)?;
        if !is_onion_v2(ip) {
            list.push(ListedPeer { address: PeerAddress::ip(ip.into(), port), services, seen });
        }
    }
    Some(list)
}

/// Whether that stands for an onion address of the second version (OnionCat), which no longer exist.
fn is_onion_v2(ip: Ipv6Addr) -> bool {
    ip.octets().starts_with(&[0xfd, 0x87, 0xd8, 0x7e, 0xeb, 0x43])
}

/// The entries of an `inv` or a `getdata`: kind and hash.
pub(super) fn read_entries(payload: &[u8]) -> Option<Vec<(u32, BlockHash)>> {
    let mut fields = Fields(payload);
    let count = fields.count()?;
    if fields.0.len() != count.checked_mul(36)? {
        return None;
    }
    (0..count).map(|_| Some((fields.u32()?, fields.hash()?))).collect()
}

/// Entries for an `inv` or a `notfound`.
pub(super) fn entries(list: &[(u32, BlockHash)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(3 + list.len() * 36);
    push_count(&mut out, list.len());
    for (kind, hash) in list {
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&hash.0);
    }
    out
}

/// A `getheaders`: what follows the first hash of the locator that the peer has in its best chain, up
/// to `stop`. Without a locator it asks for the header of `stop` alone.
pub(super) fn getheaders(locator: &[BlockHash], stop: BlockHash) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + 3 + locator.len() * 32 + 32);
    out.extend_from_slice(&PROTOCOL.to_le_bytes());
    push_count(&mut out, locator.len());
    for hash in locator {
        out.extend_from_slice(&hash.0);
    }
    out.extend_from_slice(&stop.0);
    out
}

/// The locator of a peer's `getheaders`, and the hash to stop at.
pub(super) fn read_getheaders(payload: &[u8]) -> Option<(Vec<BlockHash>, BlockHash)> {
    let mut fields = Fields(payload);
    fields.u32()?;
    let count = fields.count()?;
    if fields.0.len() != count.checked_mul(32)?.checked_add(32)? {
        return None;
    }
    let locator = (0..count).map(|_| fields.hash()).collect::<Option<_>>()?;
    Some((locator, fields.hash()?))
}

/// A `headers` of these headers. Each is followed by a count of transactions, which is 0.
pub(super) fn headers<'a>(list: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(3 + list.len() * 81);
    push_count(&mut out, list.len());
    for header in list {
        out.extend_from_slice(header);
        out.push(0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::p2p::tests::model::{frame, message, version_payload};

    fn read(frames: &mut Frames, mut bytes: &[u8]) -> Result<Vec<String>, Down> {
        let mut list = Vec::new();
        while let Some(frame) = frames.next(&mut bytes)? {
            list.push(match frame {
                Frame::Whole(command, payload) => {
                    format!("{} {}", String::from_utf8_lossy(command.name()), payload.len())
                }
                Frame::Skipped => "skipped".to_owned(),
                Frame::TooLong(command) => {
                    format!("{} too long", String::from_utf8_lossy(command.name()))
                }
            });
        }
        Ok(list)
    }

    #[test]
    fn messages_are_cut_out_of_the_stream_and_the_useless_skipped() {
        let stream = [
            message("ping", &[1; 8]),
            message("tx", &[0; 100_000]),
            message("headers", &[0]),
            message("twelveletter", &[]),
            message("inv", &[0; 36_010]),
            message("verack", &[]),
        ]
        .concat();
        let expected = ["ping 8", "skipped", "headers 1", "skipped", "inv too long", "verack 0"];
        for size in [1, 7, 24, 1000, stream.len()] {
            let mut frames = Frames::new(Chain::Regtest);
            let mut list = Vec::new();
            for piece in stream.chunks(size) {
                list.extend(read(&mut frames, piece).unwrap());
                assert!(frames.memory() <= 8, "what is skipped is not kept");
            }
            assert_eq!(list, expected, "{size}");
        }
    }

    #[test]
    fn the_longest_of_each_kind_is_read_and_a_longer_one_skipped() {
        let longest = [
            ("version", 1024),
            ("headers", 162_009),
            ("getdata", 36_009),
            ("inv", 36_009),
            ("getheaders", 3277),
            ("getblocktxn", 65_536),
            ("addr", 30_009),
            ("ping", 1024),
        ];
        for (command, bytes) in longest {
            let mut frames = Frames::new(Chain::Regtest);
            frames.reads_addresses = true;
            let list = read(&mut frames, &message(command, &vec![0; bytes])).unwrap();
            assert_eq!(list, [format!("{command} {bytes}")]);
            assert_eq!(frames.memory(), 0);
            let list = read(&mut frames, &message(command, &vec![0; bytes + 1])).unwrap();
            assert_eq!(list, [format!("{command} too long")]);
        }
        let mut head = message("tx", &[]);
        head[16..20].copy_from_slice(&4_000_001_u32.to_le_bytes());
        let long = Down::Nonsense("a message is longer than any may be");
        assert_eq!(read(&mut Frames::new(Chain::Regtest), &head), Err(long));
    }

    #[test]
    fn wrong_bytes_are_named() {
        let mut wrong = message("ping", &[1; 8]);
        wrong[23] ^= 1;
        let checksum = Down::Nonsense("a message has a wrong checksum");
        assert_eq!(read(&mut Frames::new(Chain::Regtest), &wrong), Err(checksum));
        let later = [message("ping", &[1; 8]), b"HTTP".to_vec()].concat();
        let why = Down::Nonsense("a message does not begin as it should");
        assert_eq!(read(&mut Frames::new(Chain::Regtest), &later), Err(why));
        let networks = [
            (Chain::Main, 0xf9be_b4d9_u32),
            (Chain::Testnet3, 0x0b11_0907),
            (Chain::Testnet4, 0x1c16_3f28),
            (Chain::Signet, 0x0a03_cf40),
            (Chain::Regtest, 0xfabf_b5da),
        ];
        for (ours, _) in networks {
            for (theirs, magic) in networks {
                let ping = frame(magic.to_be_bytes(), "ping", &[1; 8]);
                let read = read(&mut Frames::new(ours), &ping);
                let expected = if ours == theirs {
                    Ok(vec!["ping 8".to_owned()])
                } else {
                    Err(Down::OtherChain)
                };
                assert_eq!(read, expected);
            }
        }
    }

    #[test]
    fn an_agent_is_short_and_printable() {
        let agent = format!("/a\u{1b}[31m<ü>\n{}", "x".repeat(100));
        let version = read_version(&version_payload(70016, 9, 3, &agent)).unwrap();
        assert_eq!(version.agent, format!("/a[31m<>{}", "x".repeat(56)));
        assert_eq!((version.version, version.services, version.nonce), (70016, 9, 3));
        let whole = version_payload(70016, 9, 3, "/x/");
        for end in 0..whole.len() - 5 {
            assert_eq!(read_version(&whole[..end]), None);
        }
    }

    #[test]
    fn entries_and_locators_have_the_length_that_they_say() {
        let list = [(BLOCK, BlockHash([1; 32])), (COMPACT_BLOCK, BlockHash([2; 32]))];
        let payload = entries(&list);
        assert_eq!(read_entries(&payload).unwrap(), list);
        assert_eq!(read_entries(&payload[..72]), None);
        assert_eq!(read_entries(&[&payload[..], &[0]].concat()), None);
        let locator = [BlockHash([1; 32]), BlockHash([2; 32])];
        let payload = getheaders(&locator, BlockHash([3; 32]));
        let (hashes, stop) = read_getheaders(&payload).unwrap();
        assert_eq!((&hashes[..], stop), (&locator[..], BlockHash([3; 32])));
        assert_eq!(read_getheaders(&payload[..payload.len() - 1]), None);
        assert_eq!(read_getheaders(&[0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
