//! The MQTT broker on the page: it is tried, written into the config file as `[mqtt]`, and connected to at
//! once.

use std::net::IpAddr;
use std::thread;

use crate::mqtt;
use crate::server::http::admin::Local;
use crate::settings::{MqttChange, MqttValues, Remark, SectionChange};

use super::sections::Plan;
use super::{Daemon, State};

impl Daemon {
    /// Connects to a broker with settings that are not saved, or with those in force.
    pub(super) fn tried_mqtt(&self, new: Option<MqttValues>) -> Local<Result<String, Vec<Remark>>> {
        let state = self.state.borrow();
        let (id, is_saved) = (state.mqtt_id(), new.is_none());
        let planned = state.plan_mqtt(new.unwrap_or_else(|| state.config.mqtt.values()));
        Box::pin(async move {
            let plan = planned?;
            let attempt = blocking::unblock(move || plan.attempt()).await?;
            let Some(settings) = attempt.config.broker(&id) else {
                return Err(vec![Remark::at("broker", "Write where the broker is.")]);
            };
            let broker = settings.broker.to_string();
            match tried(settings).await {
                Ok(()) if is_saved => Ok(format!("The broker {broker} takes us.")),
                Ok(()) => Ok(format!("The broker {broker} takes us. It is saved by Save alone.")),
                Err(mqtt::Fault { setting, words, remedy }) => {
                    let text = format!("The broker cannot be used: {words}. {remedy}");
                    Err(vec![Remark::at(setting, text)])
                }
            }
        })
    }

    /// Saves the broker. Where none is written, nobody is told any more.
    pub(super) fn changed_mqtt(
        &self,
        from: IpAddr,
        new: MqttValues,
    ) -> Local<Result<(), Vec<Remark>>> {
        let planned = self.state.borrow().plan_mqtt(new);
        self.put_section(from, planned, |_, _| {})
    }

    /// The same for a change that takes another one back. What it changes must be what is there.
    pub(super) fn apply_mqtt(
        &self,
        from: IpAddr,
        change: MqttChange,
    ) -> Local<Result<(), Vec<Remark>>> {
        let state = self.state.borrow();
        let planned = match state.config.mqtt.values() == change.before {
            true => state.plan_mqtt(change.after),
            false => Err(vec![Remark::whole("The MQTT broker was changed meanwhile.")]),
        };
        drop(state);
        self.put_section(from, planned, |_, _| {})
    }
}

impl State {
    /// What is to become of the file. `new` gets the password that was not typed.
    fn plan_mqtt(&self, new: MqttValues) -> Result<Plan, Vec<Remark>> {
        let before = self.config.mqtt.values();
        let after = new.completed(&before)?;
        let change = SectionChange::Mqtt(Box::new(MqttChange { before, after }));
        Ok(Plan { known: self.known_sections()?, change })
    }
}

/// On a thread of its own: TLS is arithmetic that the miners' thread would lack, and a broker that never
/// answers must not take one of the pool's few threads.
async fn tried(settings: mqtt::Settings) -> Result<(), mqtt::Fault> {
    let (sender, answer) = async_channel::bounded(1);
    let started = thread::Builder::new().name("mqtt-try".to_owned()).spawn(move || {
        sender.try_send(async_io::block_on(mqtt::probe(&settings))).ok();
    });
    let no_thread = |why: String| {
        let words = format!("no thread can be started to ask it ({why})");
        Err(mqtt::Fault { setting: "broker", words, remedy: "Try again later.".to_owned() })
    };
    match started {
        Ok(_) => answer.recv().await.unwrap_or_else(|error| no_thread(error.to_string())),
        Err(error) => no_thread(error.to_string()),
    }
}
