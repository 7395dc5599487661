//! In the place of the connection, in a program that is built without MQTT.

use std::io;
use std::time::Duration;

use super::{Fault, Settings, Told};
use crate::status::Snapshot;

/// Not needed, as nothing is tried.
pub const TRY_AT_MOST: Duration = Duration::ZERO;

const WORDS: &str = "this program was built without MQTT";
const REMEDY: &str = "Build it with --features installed.";

/// There is none.
pub enum Handle {}

impl Handle {
    /// # Errors
    /// Always, and it says what to do.
    pub fn start(_: Settings, _: Told) -> io::Result<Handle> {
        Err(io::Error::other(format!("{WORDS}. {REMEDY}")))
    }

    /// Messages that were sent.
    pub fn sent(&self) -> u64 {
        match *self {}
    }

    /// Devices that the broker is told of.
    pub fn devices(&self) -> u64 {
        match *self {}
    }

    /// Tells what is so now.
    pub fn tell(&self, _: Box<Snapshot>) {
        match *self {}
    }
}

/// # Errors
/// Always, and it says what to do.
pub async fn probe(_: &Settings) -> Result<(), Fault> {
    Err(Fault { setting: "broker", words: WORDS.to_owned(), remedy: REMEDY.to_owned() })
}
