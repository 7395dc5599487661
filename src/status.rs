//! The owner's view: one [`Snapshot`] of the daemon, and the pure functions that turn it into the
//! page, JSON, Prometheus text and health answers.
//!
//! The daemon fills a `Snapshot`; nothing in this module reads a clock, a file or a socket. Every
//! statement to the reader (state, alarms, odds) is derived here from the facts in the snapshot, so
//! that page, JSON, metrics and notifications cannot contradict each other.

mod alarm;
pub(crate) mod clocks;
pub mod devices;
pub mod format;
pub mod gopool;
pub mod health;
pub mod html;
pub mod json;
pub mod metrics;
pub mod miners;
pub mod nominal;
pub mod odds;
mod pair;
mod snapshot;
mod update;
pub mod verdict;
pub(crate) mod words;

pub use alarm::AlarmKind;
pub use devices::{CostView, DeviceSharesView, DeviceView, FanView, PowerView, TroubleView};
pub use odds::{Odds, odds};
pub use pair::{
    DrillPhase, PairBoxView, PairChangeView, PairDrillView, PairPayout, PairPayoutView,
    PairSumView, PairTroubleView, PairView,
};
pub use snapshot::*;
pub use verdict::{State, TEMPLATE_DEAD_S, Verdict, verdict};
