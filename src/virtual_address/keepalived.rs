//! keepalived's configuration, made from the settings.
//!
//! Both boxes begin as backups of the same priority. Who is not ready has `SICK` less, and the other takes the
//! address over; equals never do, so nothing moves back when a box returns. When both held it because they did not
//! hear each other, the higher of the two addresses keeps it (RFC 5798, section 6.4.3).

use std::fmt::{self, Display};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::pair::VirtualAddress;

/// The priority of a box that is ready.
const PRIORITY: u8 = 100;
/// What one that is not ready lacks.
const SICK: u8 = 50;
/// Seconds between two words of whoever has the address. It counts as gone after three and a bit (0.72 s).
const SAYS_EVERY: &str = "0.2";
/// Seconds after which the address is announced again, for a switch or a miner that did not hear of it.
const ANNOUNCED_EVERY: u8 = 30;

/// What keepalived must know. Its `Display` is the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keepalived<'a> {
    /// The network interface that has the way to the partner.
    pub interface: &'a str,
    /// This box's own address there.
    pub own: IpAddr,
    /// The other box's address.
    pub partner: IpAddr,
    /// The address that both share.
    pub shared: VirtualAddress,
    /// This program, by its whole path.
    pub program: &'a Path,
    /// Where the page is served, as `/health/ready` is asked.
    pub page: SocketAddr,
    /// The file of the other box's connections.
    pub connections: &'a Path,
    /// As whom the scripts run: keepalived's own user and group.
    pub user: &'a str,
    /// Its group.
    pub group: &'a str,
}

impl Keepalived<'_> {
    /// The number of the pair among all that share addresses in this network, 1 to 255: both boxes make it from the
    /// last byte of their shared address.
    fn router_id(&self) -> u8 {
        let last = match self.shared.ip {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(ip) => ip.octets()[15],
        };
        last.max(1)
    }
}

impl Display for Keepalived<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Keepalived { interface, own, partner, shared, page, user, group, .. } = self;
        let (program, connections) = (self.program.display(), self.connections.display());
        let router_id = self.router_id();
        write!(
            f,
            r#"# Made by `soloist pair keepalived` from the settings; changes here are lost.
global_defs {{
    router_id soloist
    vrrp_version 3
    # A switch or a miner that missed the first announcement hears the next one.
    vrrp_garp_master_delay 1
    vrrp_garp_master_refresh {ANNOUNCED_EVERY}
    # Where both had the address, the one that keeps it announces it last.
    vrrp_garp_lower_prio_delay 1
    vrrp_higher_prio_send_advert true
    enable_script_security
    script_user {user} {group}
}}

vrrp_script ready {{
    script "{program} pair ready {page}"
    # It asks twice before it says no, in less than a second. Only an overloaded machine needs longer.
    interval 1
    timeout 4
    fall 1
    rise 2
    weight -{SICK}
    init_fail
}}

vrrp_instance soloist {{
    state BACKUP
    interface {interface}
    virtual_router_id {router_id}
    priority {PRIORITY}
    advert_int {SAYS_EVERY}
    unicast_src_ip {own}
    track_src_ip
    unicast_peer {{
        {partner}
    }}
    virtual_ipaddress {{
        {shared} dev {interface}
    }}
    track_script {{
        ready
    }}
    notify_master "{program} pair tickle --connections {connections}"
}}
"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(own: &str, partner: &str, shared: &str) -> String {
        let keepalived = Keepalived {
            interface: "eth0",
            own: own.parse().unwrap(),
            partner: partner.parse().unwrap(),
            shared: shared.parse().unwrap(),
            program: Path::new("/usr/bin/soloist"),
            page: ([127, 0, 0, 1], 80).into(),
            connections: Path::new("/run/soloist/pair-connections"),
            user: "soloist",
            group: "soloist",
        };
        keepalived.to_string()
    }

    #[test]
    fn the_file_is_as_reviewed() {
        insta::assert_snapshot!(of("192.168.1.10", "192.168.1.11", "192.168.1.240/24"));
    }

    #[test]
    fn a_number_is_never_none() {
        assert!(of("10.0.0.1", "10.0.0.2", "10.0.1.0/22").contains("virtual_router_id 1\n"));
        assert!(of("fd00::1", "fd00::2", "fd00::f0/64").contains("virtual_router_id 240\n"));
    }
}
