//! One address that two boxes share: miners use it, keepalived (VRRP, RFC 5798) holds it at the box that is well,
//! and whoever gets it tells the other's miners that their connections are dead.
//!
//! Pure: [`keepalived`] is what keepalived is told, and [`tickle`] the bytes that wake a miner. The commands are in
//! `commands/pair.rs`.

pub mod keepalived;
pub mod tickle;

use std::net::IpAddr;

use crate::pair::VirtualAddress;

/// Why the shared address has no place on this machine. `Display` is a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// VRRP over IPv4 holds no IPv6 address, and the other way round.
    #[error("partner and virtual_address below [pair] must both be IPv4 addresses, or both IPv6.")]
    Family,
    /// No interface has the address by which the partner is reached, as before DHCP has answered.
    #[error("No network interface has a way to the partner yet.")]
    NoWay,
    /// The interface of the settings is not there, or has no address.
    #[error("The interface {0} of [pair] has no address yet.")]
    NoInterface(String),
}

/// The interface that gets the shared address, and this machine's own address there. `addresses` are those of all
/// interfaces, `via` is the one from which the partner is reached, and `asked` the interface of the settings.
///
/// # Errors
/// See [`NoPlace`].
pub fn place<'a>(
    addresses: &'a [(String, IpAddr)],
    via: IpAddr,
    asked: Option<&str>,
    shared: VirtualAddress,
) -> Result<(&'a str, IpAddr), NoPlace> {
    if via.is_ipv4() != shared.ip.is_ipv4() {
        return Err(NoPlace::Family);
    }
    let with_way = || addresses.iter().find(|(_, ip)| *ip == via).map(|(name, _)| name.as_str());
    let interface = asked.or_else(with_way).ok_or(NoPlace::NoWay)?;
    // The shared address may be there already; it is nobody's own.
    let mut own = addresses.iter().filter(|(name, ip)| {
        name == interface && ip.is_ipv4() == via.is_ipv4() && *ip != shared.ip && !link_local(*ip)
    });
    let near = own.clone().find(|(_, ip)| *ip == via);
    let near = near.or_else(|| own.clone().find(|(_, ip)| shared.is_near(*ip)));
    let (name, ip) = near.or_else(|| own.next()).ok_or_else(|| match asked {
        Some(name) => NoPlace::NoInterface(name.to_owned()),
        None => NoPlace::NoWay,
    })?;
    Ok((name, *ip))
}

fn link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(via: &str, asked: Option<&str>, shared: &str) -> Result<(String, IpAddr), NoPlace> {
        let addresses = [
            ("lo", "127.0.0.1"),
            ("eth0", "192.168.1.240"),
            ("eth0", "169.254.1.1"),
            ("eth0", "192.168.1.10"),
            ("eth0", "fe80::10"),
            ("eth0", "fd00::10"),
            ("wlan0", "192.168.1.30"),
        ]
        .map(|(name, ip)| (name.to_owned(), ip.parse().unwrap()));
        let place = place(&addresses, via.parse().unwrap(), asked, shared.parse().unwrap());
        place.map(|(name, ip)| (name.to_owned(), ip))
    }

    #[test]
    fn the_address_goes_where_the_partner_is() {
        let at = |name: &str, ip: &str| Ok((name.to_owned(), ip.parse().unwrap()));
        assert_eq!(placed("192.168.1.10", None, "192.168.1.240/24"), at("eth0", "192.168.1.10"));
        // The shared address is here, and the way leads over it.
        assert_eq!(placed("192.168.1.240", None, "192.168.1.240/24"), at("eth0", "192.168.1.10"));
        assert_eq!(
            placed("192.168.1.10", Some("wlan0"), "192.168.1.240/24"),
            at("wlan0", "192.168.1.30")
        );
        assert_eq!(placed("fd00::10", None, "fd00::f0/64"), at("eth0", "fd00::10"));
        assert_eq!(placed("fd00::10", None, "192.168.1.240/24"), Err(NoPlace::Family));
        assert_eq!(placed("10.0.0.1", None, "192.168.1.240/24"), Err(NoPlace::NoWay));
        let away = Err(NoPlace::NoInterface("eth9".to_owned()));
        assert_eq!(placed("192.168.1.10", Some("eth9"), "192.168.1.240/24"), away);
    }
}
