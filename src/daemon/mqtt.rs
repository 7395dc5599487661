//! Home Assistant: the connection to the MQTT broker is given the newest state every few seconds, and the
//! buttons that are pressed there are carried out.

use std::time::{Duration, Instant};

use crate::clock::Now;
use crate::devices::pointing::Command;
use crate::ledger::totals::LedgerEvent;
use crate::mqtt::{Handle, News};
use crate::settings::devices::DeviceStep;
use crate::status::{EventKind, Level, LossView, MqttView, format};

use super::{Daemon, Event, State};

/// How often the broker's connection is given the state.
const INTERVAL: Duration = Duration::from_secs(5);

/// The connection to the broker, as far as the daemon knows it.
#[derive(Default)]
pub(super) struct Mqtt {
    handle: Option<Handle>,
    /// Told from news of connections that are given up.
    number: u64,
    /// When the state is told next; `None` without a broker.
    tell: Option<Instant>,
    connected: bool,
    since: Option<Instant>,
    error: String,
    lost: LossView,
    /// Messages that were sent by connections of before.
    sent_before: u64,
    presses: u64,
    /// Buttons that are to be carried out: a device's address, and the command.
    pressed: Vec<(String, Command)>,
}

impl Mqtt {
    /// When there is something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.tell
    }

    /// Ends the connection; the broker is told farewell.
    pub(super) fn end(&mut self) {
        self.sent_before += self.handle.take().map_or(0, |handle| handle.sent());
        self.tell = None;
        self.connected = false;
    }

    /// The buttons that wait to be carried out.
    pub(super) fn take_pressed(&mut self) -> Vec<(String, Command)> {
        std::mem::take(&mut self.pressed)
    }
}

impl State {
    /// Begins the connection that the settings want, and ends the one before.
    pub(super) fn open_mqtt(&mut self, now: Now) {
        self.mqtt.end();
        self.mqtt.number += 1;
        self.mqtt.error.clear();
        self.mqtt.since = None;
        let Some(settings) = self.config.broker(&self.mqtt_id()) else { return };
        let (queue, number) = (self.queue.clone(), self.mqtt.number);
        let told = move |news| {
            // The daemon ends before its queue does.
            queue.try_send(Event::Mqtt(number, news)).ok();
        };
        match Handle::start(settings, Box::new(told)) {
            Ok(handle) => {
                self.mqtt.handle = Some(handle);
                self.mqtt.tell = Some(now.mono);
            }
            Err(error) => {
                self.mqtt.error = format!("no connection can be begun: {error}");
                log::error!("MQTT: {}", self.mqtt.error);
            }
        }
    }

    /// By what this box is told from others. It comes with a backup, as Stratum V2's key does, so that a new
    /// card is the same device.
    pub(super) fn mqtt_id(&self) -> String {
        use sha2::{Digest, Sha256};
        let Some(identity) = &self.identity else { return "box".to_owned() };
        let hash = Sha256::digest(identity.authority().text());
        hash.iter().take(5).map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn tick_mqtt(&mut self, now: Now) {
        if self.mqtt.tell.is_none_or(|at| now.mono < at) {
            return;
        }
        self.mqtt.tell = Some(now.mono + INTERVAL);
        // What the ledger does not know yet would look like a device that was forgotten.
        if self.is_ledger_loading(now) {
            return;
        }
        let snapshot = Box::new(self.snapshot(now));
        if let Some(handle) = &self.mqtt.handle {
            handle.tell(snapshot);
        }
    }

    pub(super) fn mqtt_news(&mut self, now: Now, number: u64, news: News) {
        if number != self.mqtt.number || self.mqtt.handle.is_none() {
            return;
        }
        match news {
            News::Up => {
                self.mqtt.lost.note(true);
                self.mqtt.connected = true;
                self.mqtt.since = Some(now.mono);
                self.mqtt.error.clear();
                log::info!("Home Assistant is told by the MQTT broker {}.", self.broker());
            }
            News::Down(why) => {
                if self.mqtt.connected {
                    self.mqtt.lost.note(false);
                }
                if self.mqtt.connected || self.mqtt.error != why {
                    self.mqtt.since = Some(now.mono);
                    log::warn!("The MQTT broker {} cannot be used: {why}.", self.broker());
                }
                self.mqtt.connected = false;
                self.mqtt.error = why;
            }
            News::Press(miner, command) => self.button_pressed(now, &miner, command),
        }
    }

    fn broker(&self) -> String {
        self.config.mqtt.broker.as_ref().map_or_else(String::new, ToString::to_string)
    }

    fn button_pressed(&mut self, now: Now, miner: &str, command: Command) {
        let views = self.device_views(now);
        let device = views.into_iter().find(|device| device.miner.as_deref() == Some(miner));
        let is_allowed = self.config.mqtt.buttons.contains(&command);
        let Some(device) = device.filter(|d| is_allowed && d.commands.contains(&command)) else {
            return;
        };
        self.mqtt.presses += 1;
        let named = format::tame(&device.address);
        let text = format!("Device {named} is told: {}.", command.name());
        self.tell(now, EventKind::System, Level::Info, format!("By MQTT: {text}"));
        self.ledger_event(now, LedgerEvent::Audit(format!("MQTT: {text}")));
        self.mqtt.pressed.push((device.address, command));
    }

    /// For the page.
    pub(super) fn mqtt_view(&self, now: Now) -> Option<MqttView> {
        let broker = self.config.mqtt.broker.as_ref()?.to_string();
        let mqtt = &self.mqtt;
        Some(MqttView {
            broker,
            connected: mqtt.connected,
            since: mqtt.since.map(|at| now.date_of(at)),
            error: mqtt.error.clone(),
            lost: mqtt.lost,
            sent: mqtt.sent_before + mqtt.handle.as_ref().map_or(0, Handle::sent),
            devices: mqtt.handle.as_ref().map_or(0, Handle::devices),
            presses: mqtt.presses,
        })
    }
}

impl Daemon {
    /// Carries out what was pressed, one after the other.
    pub(super) fn carry_out_pressed(&self, pressed: Vec<(String, Command)>) {
        let this = self.this.clone();
        let work = async move {
            for (address, command) in pressed {
                let Some(daemon) = this.upgrade() else { return };
                let told = daemon.told_device(&address, DeviceStep::Tell(command));
                drop(daemon);
                if let Err(why) = told.await {
                    log::warn!("By MQTT, device {address}, {}: {why}", command.name());
                }
            }
        };
        self.people.spawn(work).detach();
    }
}
