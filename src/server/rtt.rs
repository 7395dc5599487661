//! The round-trip time to a peer, as the kernel measures it from acknowledgements (`TCP_INFO` of
//! tcp(7)). It needs no packets of ours.

use std::mem::offset_of;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, libc, sockopt_impl};

/// Place of `tcpi_rtt`, the smoothed round trip in microseconds, counted in words.
const RTT: usize = offset_of!(libc::tcp_info, tcpi_rtt) / 4;

sockopt_impl!(
    /// The head of Linux's `struct tcp_info` up to `tcpi_rtt`: eight single bytes, then words. What
    /// the kernel knows beyond it is cut off, so newer kernels answer the same.
    Info,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    [u32; RTT + 1]
);

/// The smoothed round trip; `None` as long as nothing was acknowledged, or for what is no TCP socket.
pub(super) fn round_trip(socket: &impl AsFd) -> Option<Duration> {
    let micros = getsockopt(socket, Info).ok()?[RTT];
    (micros > 0).then(|| Duration::from_micros(micros.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_kernel_knows_the_way_to_our_own_machine() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        near.write_all(b"x").unwrap();
        far.read_exact(&mut [0]).unwrap();
        let rtt = round_trip(&near).expect("a connection has a round trip");
        assert!(rtt < Duration::from_secs(5), "{rtt:?}");
        let (unix, _other) = UnixStream::pair().unwrap();
        assert_eq!(round_trip(&unix), None);
    }
}
