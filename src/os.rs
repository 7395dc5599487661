//! The operating system: signals, systemd, and data about the process from `/proc`.

pub mod board;
pub mod boards;
pub mod fd_store;
pub mod inherited;

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fs, io};

use async_io::Async;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use sd_notify::NotifyState;
use serde::Serialize;

use crate::clock::Now;
use crate::peer_address::is_private;

/// Top-level domains of home networks that the public DNS never serves.
const NEVER_PUBLIC: [&str; 8] =
    ["corp", "home", "internal", "intranet", "lan", "local", "localdomain", "private"];
/// Maximum search domains that are taken from the resolver's file.
const MAX_SEARCHED: usize = 16;

/// Reads both clocks.
pub fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Now { mono: Instant::now(), unix }
}

/// How long this machine has slept since it started: the time that [`Instant`] leaves out.
pub fn slept() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    let read = |clock| clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
    let awake = read(ClockId::CLOCK_MONOTONIC);
    read(ClockId::CLOCK_BOOTTIME).saturating_sub(awake)
}

/// A signal that the daemon knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// SIGTERM or SIGINT: end in order.
    Stop,
    /// SIGHUP: read the config again.
    Reload,
    /// SIGUSR2: start the program anew in its own place, and go on with the miners' connections.
    Renew,
}

/// The signals, as something to wait for.
pub struct Signals(Async<SignalFd>);

impl Signals {
    /// Takes the signals from their default actions. To be called before any thread is started,
    /// so that every thread inherits it.
    ///
    /// # Errors
    /// The system's; none is usual.
    pub fn block() -> io::Result<Signals> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR2] {
            set.add(signal);
        }
        set.thread_block()?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Signals(Async::new(fd)?))
    }

    /// The next one.
    pub async fn next(&self) -> Order {
        loop {
            if let Ok(Some(info)) = self.0.get_ref().read_signal() {
                match Signal::try_from(info.ssi_signo as i32) {
                    Ok(Signal::SIGHUP) => return Order::Reload,
                    Ok(Signal::SIGUSR2) => return Order::Renew,
                    _ => return Order::Stop,
                }
            }
            if self.0.readable().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// systemd at the other end of `NOTIFY_SOCKET`, if it started us (sd_notify(3)).
#[derive(Debug)]
pub struct Systemd {
    watchdog: Option<Duration>,
}

impl Systemd {
    /// Looks at the environment.
    pub fn new() -> Systemd {
        Systemd { watchdog: sd_notify::watchdog_enabled().map(|limit| limit / 3) }
    }

    /// How often [`Systemd::alive`] is to be called.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The service does what it is for.
    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// One line for `systemctl status`.
    pub fn status(&self, words: &str) {
        self.tell(&[NotifyState::Status(words)]);
    }

    /// The loop has proved that it goes round.
    pub fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    /// The end begins.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// The config is being read again; [`Systemd::ready`] ends it.
    pub fn reloading(&self) {
        if let Ok(state) = NotifyState::monotonic_usec_now() {
            self.tell(&[NotifyState::Reloading, state]);
        }
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            log::debug!("systemd: {error}");
        }
    }
}

impl Default for Systemd {
    fn default() -> Systemd {
        Systemd::new()
    }
}

/// Whether systemd started this program as a service, and so starts it again (`Restart=always`).
pub fn is_kept_alive() -> bool {
    std::env::var_os("INVOCATION_ID").is_some() && std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Whether keepalived runs for an address that two boxes share, as `soloist-pair.service` starts it: its
/// directory is there only as long as it does. `None` where systemd does not keep this program alive, and so
/// perhaps nothing of that unit is here.
pub fn keepalived_runs() -> Option<bool> {
    is_kept_alive().then(|| Path::new("/run/soloist-pair/pid").exists())
}

/// The daemon's own process by its `/proc` entries; zero where one cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ProcessView {
    /// Processor time since the start, seconds.
    pub cpu_s: f64,
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Threads.
    pub threads: u64,
    /// How late the loop gets to its work, 99th percentile of the last minutes, milliseconds. The
    /// loop measures it.
    pub loop_lag_p99_ms: Option<f64>,
    /// The most since the start, milliseconds.
    pub loop_lag_max_ms: Option<f64>,
}

impl ProcessView {
    /// Reads them.
    pub fn read() -> ProcessView {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            number.and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        ProcessView {
            cpu_s: cpu_time().as_secs_f64(),
            resident_bytes: field("VmRSS:") * 1024,
            open_fds: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
            threads: field("Threads:"),
            ..ProcessView::default()
        }
    }
}

fn cpu_time() -> Duration {
    use nix::sys::resource::{UsageWho, getrusage};
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000))
        .sum()
}

/// The domains in which this machine looks for names without a dot: what the router, or a VPN, calls its
/// own network. Reads a file.
pub fn search_domains() -> Vec<String> {
    searched(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
}

/// The domains of a resolv.conf(5).
fn searched(text: &str) -> Vec<String> {
    let mut domains = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if !matches!(words.next(), Some("search" | "domain")) {
            continue;
        }
        for domain in words.filter_map(domain_name) {
            if domains.len() < MAX_SEARCHED && !domains.contains(&domain) {
                domains.push(domain);
            }
        }
    }
    domains
}

/// In small letters; `None` for the root, in which every name would be, for one that may be a top-level
/// domain of the Internet, and for what is no name.
fn domain_name(text: &str) -> Option<String> {
    let name = text.trim_matches('.').to_ascii_lowercase();
    if !name.contains('.') && !NEVER_PUBLIC.contains(&name.as_str()) {
        return None;
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (!name.is_empty() && name.bytes().all(plain)).then_some(name)
}

/// The own IPv4 addresses with the lengths of their networks' prefixes, without loopback and without the bridges
/// that are made for containers and virtual machines: no device of the house is behind those.
pub fn networks() -> Vec<(std::net::Ipv4Addr, u8)> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let v4 = |address: Option<nix::sys::socket::SockaddrStorage>| {
        address.and_then(|address| address.as_sockaddr_in().map(|v4| v4.ip()))
    };
    interfaces
        .filter(|interface| !is_for_containers(&interface.interface_name))
        .filter_map(|interface| Some((v4(interface.address)?, v4(interface.netmask)?)))
        .filter(|(ip, _)| !ip.is_loopback() && !ip.is_link_local())
        .map(|(ip, mask)| (ip, u32::from(mask).leading_ones() as u8))
        .collect()
}

/// By the names that Docker, Podman, LXC, Kubernetes and libvirt give to their interfaces. A bridge that the
/// owner made has another: `br0`, `br-lan`, `vmbr0`.
fn is_for_containers(interface: &str) -> bool {
    const BEGINNINGS: [&str; 7] = ["docker", "podman", "cni", "lxcbr", "lxdbr", "virbr", "veth"];
    let is_of_docker = |id: &str| id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit());
    BEGINNINGS.iter().any(|beginning| interface.starts_with(beginning))
        || interface.strip_prefix("br-").is_some_and(is_of_docker)
}

/// The addresses of this machine that others on the LAN can reach: private IPv4 first, then the
/// rest; without loopback and link-local.
pub fn addresses() -> Vec<std::net::IpAddr> {
    use std::net::IpAddr;
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let mut found: Vec<IpAddr> = interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or(address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        })
        .filter(|ip| match ip {
            IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
        })
        .collect();
    // In the house itself, then in a VPN, then in the whole Internet.
    found.sort_by_key(|ip| match ip {
        IpAddr::V4(v4) if v4.is_private() => 0,
        IpAddr::V4(_) if is_private(*ip) => 1,
        IpAddr::V4(_) => 2,
        IpAddr::V6(_) if is_private(*ip) => 3,
        IpAddr::V6(_) => 4,
    });
    found.dedup();
    found
}

/// The addresses of this machine, each with the name of its interface.
pub fn interface_addresses() -> Vec<(String, std::net::IpAddr)> {
    use std::net::IpAddr;
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let found = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        let ip = v4.or(address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))?;
        Some((interface.interface_name, ip))
    });
    found.collect()
}

/// The address of this machine from which another one is reached. Nothing is sent.
///
/// # Errors
/// There is no way to it.
pub fn way_to(ip: std::net::IpAddr) -> std::io::Result<std::net::IpAddr> {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
    let any = match ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // To the port that discards (RFC 863).
    socket.connect((ip, 9))?;
    Ok(socket.local_addr()?.ip())
}

/// The names of the user and the group as whom this program runs; their numbers where they have none.
pub fn user_and_group() -> (String, String) {
    use nix::unistd::{Group, User, getegid, geteuid};
    let (user, group) = (geteuid(), getegid());
    let name = User::from_uid(user).ok().flatten().map_or(user.to_string(), |user| user.name);
    let of = Group::from_gid(group).ok().flatten().map_or(group.to_string(), |group| group.name);
    (name, of)
}

/// Time since the system started, by the clock of [`std::time::Instant`]: the same for all
/// processes.
pub fn uptime() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// Whole seconds since the system started, those in which it slept as well.
pub fn seconds_up() -> u64 {
    (uptime() + slept()).as_secs()
}

/// The system's name for the time since it started; empty where it has none.
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// The version of the image that this system is; `None` on any other system. Read once.
pub fn image_version() -> Option<&'static str> {
    static VERSION: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let text = fs::read_to_string("/usr/share/soloist/version").ok()?;
        let version =
            text.lines().find_map(|line| line.strip_prefix("VERSION="))?.trim().to_owned();
        (!version.is_empty() && version.len() <= 64).then_some(version)
    };
    VERSION.get_or_init(read).as_deref()
}

/// This machine's name.
pub fn hostname() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    (!name.is_empty() && name != "localhost").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_for_containers_are_no_network_of_the_house() {
        for name in
            ["docker0", "br-0a1b2c3d4e5f", "veth12ab", "virbr0", "cni0", "podman1", "lxdbr0"]
        {
            assert!(is_for_containers(name), "{name}");
        }
        for name in
            ["eth0", "end0", "wlan0", "br0", "br-lan", "vmbr0", "enp3s0", "wg0", "br-0a1b2c3d4e5g"]
        {
            assert!(!is_for_containers(name), "{name}");
        }
    }

    #[test]
    fn search_domains_are_read_from_the_resolvers_file() {
        let text = "# by systemd-resolved\nnameserver 127.0.0.53\noptions edns0\n\
                    search Fritz.Box. tail1234.ts.net\ndomain home.example\n";
        assert_eq!(searched(text), ["fritz.box", "tail1234.ts.net", "home.example"]);
        // The root, which resolved writes where there is none, would hold every name.
        for nothing in ["search .", "search", "searched a", "search a/b", ""] {
            assert_eq!(searched(nothing), [""; 0], "{nothing}");
        }
        assert_eq!(searched("search home com box localdomain"), ["home", "localdomain"]);
        let many: String = (0..100).map(|n| format!("search a{n}.example\n")).collect();
        assert_eq!(searched(&many).len(), MAX_SEARCHED);
    }
}
