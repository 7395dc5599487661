//! Many miners on one thread.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::miner::{Heard, Login, Miner};

/// Miners, by number.
pub struct Fleet {
    pub miners: Vec<Miner>,
}

impl Fleet {
    /// Connects so many miners, each with a number after its agent, and waits until all have a job.
    pub fn connect(server: SocketAddr, count: usize, login: &Login) -> io::Result<Fleet> {
        let mut fleet = Fleet { miners: Vec::new() };
        for _ in 0..count {
            fleet.miners.push(Miner::connect(server, login.clone())?);
            // Others are served meanwhile, so that a server's queue of newcomers does not overflow.
            fleet.turn(Duration::ZERO, |_, _| {});
        }
        let limit = Instant::now() + Duration::from_secs(60);
        while fleet.miners.iter().any(|miner| miner.job.is_none() || !miner.authorized) {
            fleet.turn(Duration::from_millis(100), |_, _| {});
            if fleet.miners.iter().any(|miner| miner.closed) {
                return Err(io::Error::other("the server closed a connection"));
            }
            if Instant::now() > limit {
                return Err(io::Error::other("not every miner was given a job within a minute"));
            }
        }
        Ok(fleet)
    }

    /// Waits for something to come, at most so long, and hands it to `heard` with the miner's
    /// number.
    pub fn turn(&mut self, wait: Duration, mut heard: impl FnMut(usize, Heard)) {
        self.miners.iter_mut().for_each(Miner::flush);
        let mut ready = Vec::new();
        {
            let mut fds: Vec<PollFd> = Vec::with_capacity(self.miners.len());
            let mut numbers = Vec::with_capacity(self.miners.len());
            for (number, miner) in self.miners.iter().enumerate().filter(|(_, m)| !m.closed) {
                let mut flags = PollFlags::POLLIN;
                if miner.wants_to_write() {
                    flags |= PollFlags::POLLOUT;
                }
                fds.push(PollFd::new(miner.stream.as_fd(), flags));
                numbers.push(number);
            }
            let wait = u16::try_from(wait.as_millis()).unwrap_or(u16::MAX);
            if poll(&mut fds, PollTimeout::from(wait)).unwrap_or(0) > 0 {
                let came = fds.iter().map(|fd| fd.any().unwrap_or(true));
                ready.extend(numbers.iter().zip(came).filter(|(_, came)| *came).map(|(n, _)| *n));
            }
        }
        for number in ready {
            self.miners[number].turn(&mut |what| heard(number, what));
        }
    }

    /// Connections that the server ended.
    pub fn closed(&self) -> usize {
        self.miners.iter().filter(|miner| miner.closed).count()
    }
}
