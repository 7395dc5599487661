//! What an alarm or a headline is about, and where the owner's manual explains it.

use crate::devices::trouble::Trouble;
use crate::listed::listed;

/// Declares each kind once, with its name.
macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        listed! {
            /// What an alarm or a headline is about. Each has a section in `docs/alarms.md`
            /// (`tests/pure/manual.rs` checks it), to which the page leads.
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
            pub enum AlarmKind { $($(#[$doc])* $variant,)+ }
        }

        impl AlarmKind {
            /// Its anchor in the manual. Stable: links from elsewhere lead there.
            pub fn name(self) -> &'static str {
                match self { $(AlarmKind::$variant => $name,)+ }
            }
        }
    };
}

kinds! {
    /// Payout address or node are not set yet.
    #[default]
    NotSetUp = "not_set_up",
    /// There is an address, but no node.
    NoNode = "no_node",
    /// The nodes were not asked yet, or the first work has not come yet.
    Starting = "starting",
    /// None of several nodes gives work.
    NoWork = "no_work",
    /// The work is so old that blocks found on it would be lost.
    WorkTooOld = "work_too_old",
    /// All is ready, and no miner is connected.
    NoMiner = "no_miner",
    /// The settings in force are not those of the file.
    SettingsNotUsed = "settings_not_used",
    /// Work comes without transactions, by a node's P2P port.
    CarriedByP2p = "carried_by_p2p",
    /// The node has sent no fresh work for more than 90 s.
    TemplateOld = "template_old",
    /// The network is ahead of the own nodes.
    BehindWorld = "behind_world",
    /// A node does not answer.
    NodeDown = "node_down",
    /// A node answers with an error, or what it says cannot be true.
    NodeUnusable = "node_unusable",
    /// A node answers and gives no work.
    NodeNoTemplate = "node_no_template",
    /// A node downloads the chain.
    NodeSyncing = "node_syncing",
    /// A node starts.
    NodeStarting = "node_starting",
    /// A node is connected to no other.
    NodeNoPeers = "node_no_peers",
    /// A node lacks blocks that another one has.
    NodeLagging = "node_lagging",
    /// A node refuses a block that another one takes.
    NodeOtherRules = "node_other_rules",
    /// The clock of a node is wrong.
    NodeClock = "node_clock",
    /// A node forbids what mining needs.
    Permissions = "permissions",
    /// A node would refuse the block, as the rehearsal shows.
    Rehearsal = "rehearsal",
    /// A node takes no transactions from others.
    BlocksOnly = "blocksonly",
    /// ZMQ of a node is silent.
    Zmq = "zmq",
    /// Only one of several nodes can lead.
    NoSpareNode = "no_spare_node",
    /// A block waits for a node.
    BlockWaiting = "block_waiting",
    /// The job pays somebody else.
    JobPaysOthers = "job_pays_others",
    /// The payout address is about to change.
    PayoutChange = "payout_change",
    /// A node demands a version bit that the owner clears.
    VersionBits = "version_bits",
    /// The built-in miner fails.
    Canary = "canary",
    /// A miner is missing.
    MinerGone = "miner_gone",
    /// Many miners are missing.
    MinersGone = "miners_gone",
    /// Miners have been missing for over a week.
    MinersLongGone = "miners_long_gone",
    /// A miner is connected and sends nothing.
    MinerQuiet = "miner_quiet",
    /// A miner proves less than it claims.
    MinerSlow = "miner_slow",
    /// Nearly all of a miner's latest shares are rejected.
    MinerRefused = "miner_refused",
    /// Too many of a miner's shares are rejected.
    MinerRejects = "miner_rejects",
    /// A miner's user begins like an address that cannot be paid.
    MinerPayee = "miner_payee",
    /// A miner's password asks for a difficulty that cannot be read.
    MinerDifficulty = "miner_difficulty",
    /// A miner's block pays a former address of the owner.
    FormerAddress = "former_address",
    /// A miner carries another address than the owner's.
    OtherAddress = "other_address",
    /// [`Trouble::Overheated`]
    DeviceOverheated = "device_overheated",
    /// [`Trouble::Hot`]
    DeviceHot = "device_hot",
    /// [`Trouble::FanStopped`]
    DeviceFanStopped = "device_fan_stopped",
    /// [`Trouble::PowerFault`]
    DevicePowerFault = "device_power_fault",
    /// [`Trouble::HardwareFault`]
    DeviceHardwareFault = "device_hardware_fault",
    /// [`Trouble::PowerSag`]
    DevicePowerSag = "device_power_sag",
    /// [`Trouble::Throttled`]
    DeviceThrottled = "device_throttled",
    /// [`Trouble::Paused`]
    DevicePaused = "device_paused",
    /// [`Trouble::Stopped`]
    DeviceStopped = "device_stopped",
    /// [`Trouble::OnFallback`]
    DeviceOnFallback = "device_on_fallback",
    /// [`Trouble::BoardGone`]
    DeviceBoardGone = "device_board_gone",
    /// [`Trouble::Slow`]
    DeviceSlow = "device_slow",
    /// The card cannot be written.
    Storage = "storage",
    /// The card is nearly full.
    Disk = "disk",
    /// The ledger is not copied.
    Copy = "copy",
    /// The supply of the box is too weak.
    Undervoltage = "undervoltage",
    /// It was so at times.
    UndervoltageSeen = "undervoltage_seen",
    /// The box is hot.
    Hot = "hot",
    /// The box slows itself down.
    Throttled = "throttled",
    /// The clock of the box is wrong, or not set.
    Clock = "clock",
    /// Clocks differ, and nobody knows which is right.
    Clocks = "clocks",
    /// The version that runs is withdrawn.
    UpdateWithdrawn = "update_withdrawn",
    /// An update could not be installed, or did not prove itself.
    UpdateFailed = "update_failed",
    /// The update feed cannot be used.
    UpdateFeed = "update_feed",
    /// The other box of the pair is about to be another one, or to be forgotten.
    PairChange = "pair_change",
    /// [`crate::pair::watch::Trouble::Away`]
    PairAway = "pair_away",
    /// [`crate::pair::watch::Trouble::OtherCode`]
    PairOtherCode = "pair_other_code",
    /// [`crate::pair::watch::Trouble::Itself`]
    PairItself = "pair_itself",
    /// [`crate::pair::watch::Trouble::Protocol`]
    PairProtocol = "pair_protocol",
    /// [`crate::pair::watch::Trouble::NotReady`]
    PairNotReady = "pair_not_ready",
    /// [`crate::pair::watch::Trouble::Apart`]
    PairApart = "pair_apart",
    /// [`crate::pair::watch::Trouble::Waiting`]
    PairWaiting = "pair_waiting",
    /// [`crate::pair::watch::Trouble::InDoubt`]
    PairInDoubt = "pair_in_doubt",
    /// [`crate::pair::watch::Trouble::TwoActive`]
    PairTwoActive = "pair_two_active",
    /// [`crate::pair::watch::Trouble::NoneActive`]
    PairNoneActive = "pair_none_active",
    /// [`crate::pair::watch::Trouble::NoKeepalived`]
    PairNoKeepalived = "pair_no_keepalived",
}

impl AlarmKind {
    /// Where the page explains it: `/help/alarms#hot`.
    pub fn help(self) -> String {
        format!("/help/alarms#{}", self.name())
    }

    /// The alarm of this kind about `key`: a node's name, a miner's id.
    pub(crate) fn of(self, key: &str) -> AlarmId {
        AlarmId { kind: self, id: format!("{}:{key}", self.family()) }
    }

    /// How the ids of its alarms begin.
    fn family(self) -> &'static str {
        match self {
            AlarmKind::NodeClock => AlarmKind::Clock.name(),
            other => other.name(),
        }
    }
}

impl From<Trouble> for AlarmKind {
    fn from(trouble: Trouble) -> AlarmKind {
        match trouble {
            Trouble::Overheated => AlarmKind::DeviceOverheated,
            Trouble::Hot => AlarmKind::DeviceHot,
            Trouble::FanStopped => AlarmKind::DeviceFanStopped,
            Trouble::PowerFault => AlarmKind::DevicePowerFault,
            Trouble::HardwareFault => AlarmKind::DeviceHardwareFault,
            Trouble::PowerSag => AlarmKind::DevicePowerSag,
            Trouble::Throttled => AlarmKind::DeviceThrottled,
            Trouble::Paused => AlarmKind::DevicePaused,
            Trouble::Stopped => AlarmKind::DeviceStopped,
            Trouble::OnFallback => AlarmKind::DeviceOnFallback,
            Trouble::BoardGone => AlarmKind::DeviceBoardGone,
            Trouble::Slow => AlarmKind::DeviceSlow,
        }
    }
}

/// The stable name of an alarm, and its kind.
#[derive(Clone, Debug)]
pub(crate) struct AlarmId {
    pub(crate) kind: AlarmKind,
    pub(crate) id: String,
}

impl From<AlarmKind> for AlarmId {
    fn from(kind: AlarmKind) -> AlarmId {
        AlarmId { kind, id: kind.family().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_kind_has_a_name_of_its_own_that_can_be_an_anchor() {
        let names: HashSet<&str> = AlarmKind::ALL.map(AlarmKind::name).into_iter().collect();
        assert_eq!(names.len(), AlarmKind::COUNT);
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(names.iter().all(|name| name.chars().all(plain)));
    }

    #[test]
    fn a_devices_trouble_is_named_as_in_the_metrics() {
        for trouble in Trouble::ALL {
            assert_eq!(AlarmKind::from(trouble).name(), format!("device_{}", trouble.name()));
        }
    }
}
