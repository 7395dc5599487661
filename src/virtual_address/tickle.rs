//! A miner whose connection died with a box does not notice before it sends. With the same address at another box
//! one TCP segment is enough (Samba's CTDB does it, and calls it a tickle):
//!
//! ```text
//! this box                                   miner
//!    | -- SYN, a wrong sequence number ------> |   it has a connection with this address and these ports,
//!    | <--- ACK, the right number ------------ |   and challenges whoever sent it (RFC 5961, section 4.2)
//!    | -- RST, the right number -------------> |   our kernel knows no such connection
//! ```
//!
//! The miner's connection is reset, and it comes back at once. A SYN rather than a bare ACK: every stack answers it
//! whatever its number is, and takes nothing else from it; lwIP, which most small miners have, takes the window of
//! an ACK. A connection that is alive stays so, because the challenge is no news to its owner.

use std::net::{IpAddr, SocketAddr};

/// The most connections that are told of; as many miners as a box can have.
pub const MAX_TICKLED: usize = 1024;
/// Bytes of the longest file of connections: each line has two IPv6 addresses with their ports.
pub const MAX_FILE: u64 = MAX_TICKLED as u64 * 100;
/// Bytes of a segment without its IP header.
pub const SEGMENT: usize = 20;

/// TCP's number among IP's protocols.
const TCP: u8 = 6;
/// The flag of a segment that opens a connection.
const SYN: u8 = 2;

/// A connection by its two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The shared address, and the port that miners connect to.
    pub ours: SocketAddr,
    /// The miner's end.
    pub miner: SocketAddr,
}

/// The connections in a file of theirs: on each line the box's end and the miner's, such as
/// `192.168.1.240:3333 192.168.1.60:49152`. Lines that are not understood are left out, and those after the first
/// [`MAX_TICKLED`].
pub fn connections(text: &str) -> Vec<Connection> {
    text.lines().filter_map(connection).take(MAX_TICKLED).collect()
}

fn connection(line: &str) -> Option<Connection> {
    let (ours, miner) = line.trim().split_once(' ')?;
    let (ours, miner): (SocketAddr, SocketAddr) = (ours.parse().ok()?, miner.trim().parse().ok()?);
    (ours.is_ipv4() == miner.is_ipv4()).then_some(Connection { ours, miner })
}

/// The segment from `ours` to `miner`, without an IP header. Numbers are big-endian; the checksum covers the
/// pseudo-header of RFC 9293, section 3.1 (IPv6: RFC 8200, section 8.1).
pub fn segment(connection: &Connection) -> [u8; SEGMENT] {
    let Connection { ours, miner } = connection;
    let mut segment = [0; SEGMENT];
    segment[0..2].copy_from_slice(&ours.port().to_be_bytes());
    segment[2..4].copy_from_slice(&miner.port().to_be_bytes());
    // The sequence number stays 0: it would be right once in four thousand million.
    segment[12] = (SEGMENT as u8 / 4) << 4;
    segment[13] = SYN;
    segment[14..16].copy_from_slice(&1024u16.to_be_bytes());
    let sum = checksum(&[&pseudo_header(ours.ip(), miner.ip()), &segment]);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

fn pseudo_header(from: IpAddr, to: IpAddr) -> Vec<u8> {
    let mut header = Vec::with_capacity(40);
    for ip in [from, to] {
        match ip {
            IpAddr::V4(ip) => header.extend(ip.octets()),
            IpAddr::V6(ip) => header.extend(ip.octets()),
        }
    }
    // The sum does not see that IPv6 has length and protocol in words of four bytes, IPv4 of two.
    header.extend((SEGMENT as u16).to_be_bytes());
    header.extend([0, TCP]);
    header
}

/// The Internet checksum (RFC 1071). Each part has an even number of bytes.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks_exact(2));
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_line_by_line() {
        let text = "192.168.1.240:3333 192.168.1.60:49152\n\n[fd00::f0]:3333 [fd00::60]:1025\n\
                    192.168.1.240:3333 [fd00::60]:1025\n192.168.1.240 192.168.1.60:1\nx y\n";
        let wanted =
            [("192.168.1.240:3333", "192.168.1.60:49152"), ("[fd00::f0]:3333", "[fd00::60]:1025")]
                .map(|(ours, miner)| Connection {
                    ours: ours.parse().unwrap(),
                    miner: miner.parse().unwrap(),
                });
        assert_eq!(connections(text), wanted);
        let many = "192.168.1.240:3333 192.168.1.60:49152\n".repeat(MAX_TICKLED + 1);
        assert_eq!(connections(&many).len(), MAX_TICKLED);
    }

    #[test]
    fn the_longest_line_fits_the_bound_of_the_file() {
        let end = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
        let line = format!("{end} {end}\n");
        assert_eq!(connections(&line).len(), 1);
        assert!(line.len() as u64 * MAX_TICKLED as u64 <= MAX_FILE);
    }

    /// The sum over all that it covers, itself included, is none.
    #[test]
    fn a_segment_is_a_syn_with_a_right_checksum() {
        for (ours, miner) in [
            ("192.168.1.240:3333", "192.168.1.60:49152"),
            ("[fd00::f0]:3333", "[fd00:1234:5678::60]:1025"),
        ] {
            let connection =
                Connection { ours: ours.parse().unwrap(), miner: miner.parse().unwrap() };
            let segment = segment(&connection);
            assert_eq!(
                segment[..4],
                [3333u16, connection.miner.port()].map(u16::to_be_bytes).concat()
            );
            assert_eq!(segment[12..14], [0x50, 0x02]);
            let header = pseudo_header(connection.ours.ip(), connection.miner.ip());
            assert_eq!(checksum(&[&header, &segment]), 0, "{ours}");
        }
    }
}
