//! The form of the MQTT broker.

use std::net::IpAddr;
use std::rc::Rc;

use hyper::Response;

use super::super::Http;
use super::super::forms::{Page, mqtt};
use super::super::route::{self, Body};
use super::{Admin, Busy, Checked, Form};
use crate::settings::access::Token;
use crate::settings::{MqttChange, MqttValues, Remark};

impl Admin {
    /// `step` says what is to be done with what is typed; `test` tries the broker in force.
    pub(super) async fn mqtt(
        self: &Rc<Self>,
        http: &Http,
        form: &Form,
        token: &Token,
        peer: IpAddr,
    ) -> Response<Body> {
        let in_force = self.control.mqtt();
        let is_known = !in_force.broker.is_empty();
        let show = |values: &MqttValues, problems: Vec<Remark>, done: &[String]| {
            let checked = Checked { problems, ..Checked::default() };
            self.page(http, Page::Mqtt { token, values, checked: &checked, done, is_known })
        };
        let step = form.get("step").unwrap_or_default();
        let typed = match step {
            "edit" | "test" => in_force.clone(),
            _ => typed(form),
        };
        match step {
            "edit" => show(&typed, Vec::new(), &[]),
            "try" | "test" => {
                if self.testing.replace(true) {
                    let words =
                        "Another broker or message is being tried: try again in a few seconds.";
                    return show(&typed, vec![Remark::whole(words)], &[]);
                }
                let _busy = Busy(self.clone(), |admin| &admin.testing);
                self.control.audit(peer, "The MQTT broker was tried.".to_owned());
                let new = (step == "try").then(|| typed.clone());
                match self.control.try_mqtt(new).await {
                    Ok(done) if step == "test" => {
                        self.settings_page(http, token, Vec::new(), &[done])
                    }
                    Ok(done) => show(&typed, Vec::new(), &[done]),
                    Err(problems) => show(&typed, problems, &[]),
                }
            }
            "save" => match self.control.change_mqtt(peer, typed.clone()).await {
                Ok(()) => {
                    let words = MqttChange { before: in_force, after: typed }.words();
                    self.control.audit(peer, words.clone());
                    http.forget_rendered();
                    self.settings_page(http, token, Vec::new(), &[words])
                }
                Err(problems) => show(&typed, problems, &[]),
            },
            _ => route::see("/settings"),
        }
    }
}

fn typed(form: &Form) -> MqttValues {
    let field = |name: &str| form.get(&mqtt::input_name(name)).unwrap_or_default().to_owned();
    MqttValues {
        broker: field("broker"),
        tls: field("tls") == "yes",
        tls_cert_path: field("tls_cert_path"),
        user: field("user"),
        password: Some(field("password")).filter(|password| !password.is_empty()),
        version: field("version"),
        topic_prefix: field("topic_prefix"),
        discovery_prefix: field("discovery_prefix"),
        buttons: form.all(&mqtt::input_name("buttons")).map(str::to_owned).collect(),
    }
}
