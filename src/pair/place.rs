//! The address that miners use, whichever of the two boxes has it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An IP address with the length of its network's prefix, such as `192.168.1.240/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtualAddress {
    /// The address.
    pub ip: IpAddr,
    /// Bits of the network.
    pub prefix: u8,
}

/// Why a text is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadVirtualAddress {
    /// No IP address.
    Address,
    /// The length of the prefix is missing, or no such network has hosts.
    Prefix,
    /// No miner in the house could use it: unspecified, loopback, multicast or the network's own.
    Useless,
}

impl VirtualAddress {
    /// Whether an address is in the same network.
    pub fn is_near(&self, other: IpAddr) -> bool {
        match (self.ip, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                u32::from(a) & mask == u32::from(b) & mask
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                u128::from(a) & mask == u128::from(b) & mask
            }
            _ => false,
        }
    }

    /// Whether it is the address of the network itself, or the one by which all its hosts are reached.
    fn is_of_all(&self) -> bool {
        let IpAddr::V4(ip) = self.ip else { return false };
        let host = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
        let own = u32::from(ip) & host;
        self.prefix < 31 && (own == 0 || own == host)
    }
}

impl FromStr for VirtualAddress {
    type Err = BadVirtualAddress;

    fn from_str(text: &str) -> Result<VirtualAddress, BadVirtualAddress> {
        let (ip, prefix) = text.split_once('/').map_or((text, ""), |(ip, prefix)| (ip, prefix));
        let ip: IpAddr = ip.parse().map_err(|_| BadVirtualAddress::Address)?;
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.parse().ok().filter(|prefix| (8..=longest).contains(prefix));
        let virtual_address =
            VirtualAddress { ip, prefix: prefix.ok_or(BadVirtualAddress::Prefix)? };
        if ip.is_unspecified()
            || ip.is_loopback()
            || ip.is_multicast()
            || virtual_address.is_of_all()
        {
            return Err(BadVirtualAddress::Useless);
        }
        Ok(virtual_address)
    }
}

impl fmt::Display for VirtualAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_miners_can_use() {
        for text in ["192.168.1.240/24", "10.0.0.1/8", "fd00::240/64", "192.168.1.1/31"] {
            assert_eq!(text.parse::<VirtualAddress>().unwrap().to_string(), text);
        }
        for (text, why) in [
            ("solo.local/24", BadVirtualAddress::Address),
            ("192.168.1.240", BadVirtualAddress::Prefix),
            ("192.168.1.240/33", BadVirtualAddress::Prefix),
            ("192.168.1.240/4", BadVirtualAddress::Prefix),
            ("192.168.1.0/24", BadVirtualAddress::Useless),
            ("192.168.1.255/24", BadVirtualAddress::Useless),
            ("127.0.0.1/8", BadVirtualAddress::Useless),
            ("0.0.0.0/24", BadVirtualAddress::Useless),
        ] {
            assert_eq!(text.parse::<VirtualAddress>(), Err(why), "{text}");
        }
    }

    #[test]
    fn the_same_network() {
        let v4: VirtualAddress = "192.168.1.240/24".parse().unwrap();
        assert!(v4.is_near("192.168.1.2".parse().unwrap()));
        assert!(!v4.is_near("192.168.2.2".parse().unwrap()));
        assert!(!v4.is_near("fd00::1".parse().unwrap()));
        let v6: VirtualAddress = "fd00::240/64".parse().unwrap();
        assert!(v6.is_near("fd00::2".parse().unwrap()));
        assert!(!v6.is_near("fd01::2".parse().unwrap()));
    }
}
