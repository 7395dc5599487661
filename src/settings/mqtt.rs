//! The MQTT broker as the page's form has it: what is written there, and when a password that was not
//! typed again stays. Pure.

use super::Remark;

/// `[mqtt]` of the file, as it is written in the form. What is not written is empty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct MqttValues {
    /// Where the broker is: `host` or `host:port`. Empty: nobody is told.
    pub broker: String,
    /// The connection is encrypted.
    pub tls: bool,
    /// PEM file whose certificates alone are trusted with TLS; empty for the system's roots.
    pub tls_cert_path: String,
    /// The broker's user.
    pub user: String,
    /// Its password; `None` is the one in force for the same broker and user (see
    /// [`MqttValues::completed`]). Never shown again.
    pub password: Option<String>,
    /// The version of the protocol, by its number.
    pub version: String,
    /// What the box's topics begin with.
    pub topic_prefix: String,
    /// What Home Assistant's topics begin with.
    pub discovery_prefix: String,
    /// What the miners may be told, by the names of the file.
    pub buttons: Vec<String>,
}

impl MqttValues {
    /// All texts but the password, by their names in the file.
    pub fn texts(&self) -> [(&'static str, &str); 6] {
        [
            ("broker", &self.broker),
            ("tls_cert_path", &self.tls_cert_path),
            ("user", &self.user),
            ("version", &self.version),
            ("topic_prefix", &self.topic_prefix),
            ("discovery_prefix", &self.discovery_prefix),
        ]
    }

    /// The same without the password, as the page may have it.
    pub fn without_password(self) -> MqttValues {
        MqttValues { password: None, ..self }
    }

    /// With the password that was not typed, out of `known`, which has it: for the same broker and user
    /// alone, and never where it would be sent without the encryption that it was given for.
    ///
    /// # Errors
    /// What contradicts itself, each at its setting.
    pub fn completed(mut self, known: &MqttValues) -> Result<MqttValues, Vec<Remark>> {
        let mut remarks = Vec::new();
        if !self.tls && !self.tls_cert_path.is_empty() {
            let words = "A certificate is only looked at with TLS: tick that, or empty this field.";
            remarks.push(Remark::at("tls_cert_path", words));
        }
        if self.password.is_some() && self.user.is_empty() {
            remarks.push(Remark::at("user", "A password needs the user that it belongs to."));
        }
        let is_named = !self.broker.is_empty() && !self.user.is_empty();
        if let (true, None, Some(password)) = (is_named, &self.password, &known.password) {
            let same = self.broker == known.broker && self.user == known.user;
            if same && (self.tls || !known.tls) {
                self.password = Some(password.clone());
            } else {
                let words = "Write the password once more: the one of before was given for another broker \
                             or user, or for TLS alone.";
                remarks.push(Remark::at("password", words));
            }
        }
        if remarks.is_empty() { Ok(self) } else { Err(remarks) }
    }
}

/// Without the password.
impl std::fmt::Debug for MqttValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mqtt({:?}, tls: {}, buttons: {:?})", self.texts(), self.tls, self.buttons)
    }
}

/// A change of the MQTT broker, with its passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttChange {
    /// In force before.
    pub before: MqttValues,
    /// In force afterwards.
    pub after: MqttValues,
}

impl MqttChange {
    /// The change that takes this one back.
    pub fn reversed(self) -> MqttChange {
        MqttChange { before: self.after, after: self.before }
    }

    /// In a sentence without secrets.
    pub fn words(&self) -> String {
        match (self.before.broker.as_str(), self.after.broker.as_str()) {
            (_, "") => "Home Assistant is not told by MQTT any more.".to_owned(),
            (before, broker) if before == broker => {
                format!("The settings of the MQTT broker {broker} are changed.")
            }
            (_, broker) => format!("Home Assistant is told by the MQTT broker {broker}."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(broker: &str, user: &str, tls: bool, password: Option<&str>) -> MqttValues {
        let [broker, user] = [broker, user].map(str::to_owned);
        let password = password.map(str::to_owned);
        MqttValues { broker, user, tls, password, ..MqttValues::default() }
    }

    #[test]
    fn a_password_that_is_not_typed_stays_with_its_broker_and_user_and_goes_nowhere_else() {
        let completed = |typed: MqttValues, tls: bool| match typed.completed(&values(
            "a",
            "anna",
            tls,
            Some("geheim"),
        )) {
            Ok(values) => values.password.unwrap_or_default(),
            Err(remarks) => format!("wrong: {}", remarks[0].field),
        };
        assert_eq!(completed(values("a", "anna", false, None), false), "geheim");
        assert_eq!(completed(values("a", "anna", true, None), false), "geheim");
        assert_eq!(completed(values("a", "anna", true, Some("neu")), true), "neu");
        for (broker, user, tls) in [
            ("thief", "anna", true),
            ("a:1884", "anna", true),
            ("a", "bea", true),
            ("a", "anna", false),
        ] {
            let typed = completed(values(broker, user, tls, None), true);
            assert_eq!(typed, "wrong: password", "{broker} {user} {tls}");
        }
        assert_eq!(
            completed(values("a", "", true, None), true),
            "",
            "without a user there is none"
        );
        assert_eq!(completed(values("", "anna", true, None), true), "", "nor without a broker");
    }

    #[test]
    fn what_contradicts_itself_is_said_at_its_setting_and_nothing_shows_the_password() {
        let mut typed = values("a", "", false, Some("geheim"));
        typed.tls_cert_path = "ca.pem".to_owned();
        assert!(!format!("{typed:?}").contains("geheim"));
        assert_eq!(typed.clone().without_password().password, None);
        let remarks = typed.completed(&MqttValues::default()).unwrap_err();
        let fields: Vec<&str> = remarks.iter().map(|remark| remark.field.as_str()).collect();
        assert_eq!(fields, ["tls_cert_path", "user"]);
        let good = values("a", "anna", true, Some("x"));
        assert_eq!(good.clone().completed(&MqttValues::default()), Ok(good));
    }

    #[test]
    fn a_change_is_told_in_a_sentence() {
        let change = |before: &str, after: &str| {
            let [before, after] = [before, after].map(|at| values(at, "", false, Some("geheim")));
            MqttChange { before, after }
        };
        let words = |before: &str, after: &str| change(before, after).words();
        assert_eq!(words("", "a"), "Home Assistant is told by the MQTT broker a.");
        assert_eq!(words("b", "a"), "Home Assistant is told by the MQTT broker a.");
        assert_eq!(words("a", "a"), "The settings of the MQTT broker a are changed.");
        assert_eq!(words("a", ""), "Home Assistant is not told by MQTT any more.");
        assert_eq!(change("a", "b").reversed(), change("b", "a"));
    }
}
