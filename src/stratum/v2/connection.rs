//! What a Stratum V2 connection agreed on before its channels.

use std::net::IpAddr;

use crate::ids::{ConnId, Extranonce1};

use super::message::{self, Setup, flag};

/// Channels of one connection. A home's proxy has a few dozen miners behind it.
pub const MAX_CHANNELS: u16 = 256;

/// Messages in a row that cannot be read, after which the other end is no miner.
pub const MAX_NONSENSE: u32 = 16;

/// All flags that we know how to serve.
const FLAGS: u32 = flag::REQUIRES_STANDARD_JOBS | flag::REQUIRES_VERSION_ROLLING;

/// One connection. Pure.
#[derive(Debug)]
pub struct Connection {
    /// The address at its other end.
    pub peer: IpAddr,
    /// Once the set-up succeeded.
    pub setup: Option<Agreed>,
    /// How many channels were opened on it so far.
    pub opened: u16,
    /// The extranonce1 of the channel that was opened last. Those after it get later ones, so that none
    /// begins where one that is closed has searched.
    pub last_extranonce1: Extranonce1,
    /// Messages in a row that could not be read.
    pub nonsense: u32,
    /// The channel whose shares wait for their common answer.
    pub answers_due: Option<ConnId>,
    /// We asked for its end.
    pub is_closing: bool,
}

impl Connection {
    /// One that has heard nothing yet, with the extranonce1 of its first channel.
    pub fn new(peer: IpAddr, first: Extranonce1) -> Connection {
        Connection {
            peer,
            setup: None,
            opened: 0,
            last_extranonce1: first,
            nonsense: 0,
            answers_due: None,
            is_closing: false,
        }
    }
}

/// The outcome of a SetupConnection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Vendor, hardware and firmware, joined as V1's user agents are.
    pub user_agent: String,
    /// The miner understands no extended jobs.
    pub standard_jobs_only: bool,
}

/// Why a SetupConnection is refused: the flags that we do not have, and the specification's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetupRefused {
    /// Unsupported flags.
    pub flags: u32,
    /// The code.
    pub code: &'static str,
}

/// Judges a SetupConnection.
///
/// # Errors
/// What the miner asks for is not to be had here.
pub fn agree(setup: &Setup<'_>) -> Result<Agreed, SetupRefused> {
    let refused = |flags, code| Err(SetupRefused { flags, code });
    if setup.protocol != message::MINING {
        return refused(0, "unsupported-protocol");
    }
    if !(setup.min_version..=setup.max_version).contains(&message::VERSION) {
        return refused(0, "protocol-version-mismatch");
    }
    if setup.flags & !FLAGS != 0 {
        return refused(setup.flags & !FLAGS, "unsupported-feature-flags");
    }
    let parts = [&setup.vendor, &setup.hardware, &setup.firmware];
    let parts: Vec<&str> =
        parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
    Ok(Agreed {
        user_agent: parts.join("/"),
        standard_jobs_only: setup.flags & flag::REQUIRES_STANDARD_JOBS != 0,
    })
}
