//! How an entity is declared: once, for its announcement and its value.

use serde_json::{Map, Number, Value, json};

use super::EXPIRES;

/// What kind of entity it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A number with a unit, if it has one, of which Home Assistant makes statistics.
    Measurement { class: Option<&'static str>, unit: Option<&'static str> },
    /// A number that only rises.
    Total,
    /// A hash rate: its unit depends on how fast the device is.
    Rate,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text.
    Text,
    /// Something that is so or not.
    Truth { class: &'static str },
}

/// An entity whose value is found in an `S`.
pub(super) struct Entity<S> {
    /// Stands in its id for ever.
    pub key: &'static str,
    pub name: &'static str,
    pub icon: Option<&'static str>,
    /// It is of interest when something is looked for; Home Assistant shows it apart.
    pub diagnostic: bool,
    /// A change of it is told at once; else with the next refreshment.
    pub prompt: bool,
    pub kind: Kind,
    /// Its value now.
    pub value: fn(&S) -> Option<Value>,
}

impl<S> Entity<S> {
    pub(super) const fn new(
        key: &'static str,
        name: &'static str,
        kind: Kind,
        value: fn(&S) -> Option<Value>,
    ) -> Entity<S> {
        Entity { key, name, icon: None, diagnostic: false, prompt: false, kind, value }
    }

    pub(super) const fn icon(self, icon: &'static str) -> Entity<S> {
        Entity { icon: Some(icon), ..self }
    }

    pub(super) const fn diagnostic(self) -> Entity<S> {
        Entity { diagnostic: true, ..self }
    }

    pub(super) const fn prompt(self) -> Entity<S> {
        Entity { prompt: true, ..self }
    }

    /// As a component of the device `of`.
    pub(super) fn component(&self, of: &str, unit: RateUnit) -> Value {
        let platform = if let Kind::Truth { .. } = self.kind { "binary_sensor" } else { "sensor" };
        let mut component = json!({
            "p": platform,
            "uniq_id": format!("{of}_{}", self.key),
            "name": self.name,
            "val_tpl": format!("{{{{ value_json.{} }}}}", self.key),
            "exp_aft": EXPIRES.as_secs(),
        });
        let mut set = |key: &str, value: Value| {
            if !value.is_null() {
                component[key] = value;
            }
        };
        match self.kind {
            Kind::Measurement { class, unit } => {
                set("stat_cla", json!("measurement"));
                set("dev_cla", json!(class));
                set("unit_of_meas", json!(unit));
            }
            Kind::Total => set("stat_cla", json!("total_increasing")),
            Kind::Rate => {
                set("stat_cla", json!("measurement"));
                set("unit_of_meas", json!(unit.word()));
            }
            Kind::Choice(options) => {
                set("dev_cla", json!("enum"));
                set("ops", json!(options));
            }
            Kind::Text => {}
            Kind::Truth { class } => set("dev_cla", json!(class)),
        }
        set("ic", json!(self.icon));
        set("ent_cat", json!(self.diagnostic.then_some("diagnostic")));
        component
    }

    /// The value for the message; a hash rate in its unit, which the value has in H/s.
    fn told(&self, of: &S, unit: RateUnit) -> Option<Value> {
        let value = (self.value)(of)?;
        match self.kind {
            Kind::Rate => number(value.as_f64()? / unit.hashes()),
            _ => Some(value),
        }
    }
}

/// The keys of those whose value is known.
pub(super) fn known<S>(entities: Vec<Entity<S>>, of: &S) -> impl Iterator<Item = &'static str> {
    entities.into_iter().filter(move |entity| (entity.value)(of).is_some()).map(|entity| entity.key)
}

/// The values of a device: all of them, and those of which a change is told at once. What is known of an entity
/// that `has` it is null while it is not known.
pub(super) fn values<S>(
    entities: &[Entity<S>],
    has: impl Fn(&str) -> bool,
    of: &S,
    unit: RateUnit,
) -> (Map<String, Value>, Map<String, Value>) {
    let (mut all, mut prompt) = (Map::new(), Map::new());
    for entity in entities.iter().filter(|entity| has(entity.key)) {
        let value = entity.told(of, unit).unwrap_or(Value::Null);
        if entity.prompt {
            prompt.insert(entity.key.to_owned(), value.clone());
        }
        all.insert(entity.key.to_owned(), value);
    }
    (all, prompt)
}

/// The unit of a device's hash rates. It stays, because Home Assistant's statistics want one unit for each
/// entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RateUnit {
    /// A thousand hashes per second: for what is no ASIC.
    Kilo,
    /// 10^9 hashes per second.
    Giga,
}

impl RateUnit {
    /// For a device that does so many hashes per second.
    pub(super) fn of(rate: f64) -> RateUnit {
        if rate < 1e8 { RateUnit::Kilo } else { RateUnit::Giga }
    }

    fn word(self) -> &'static str {
        match self {
            RateUnit::Kilo => "kH/s",
            RateUnit::Giga => "GH/s",
        }
    }

    fn hashes(self) -> f64 {
        match self {
            RateUnit::Kilo => 1e3,
            RateUnit::Giga => 1e9,
        }
    }
}

/// Four digits of a number: more would be a change each time. `None` for what is no number.
pub(super) fn number(value: f64) -> Option<Value> {
    if !value.is_finite() {
        return None;
    }
    let rounded: f64 = format!("{value:.3e}").parse().ok()?;
    // A whole one has no fraction; and none is told as a power of ten.
    if rounded.fract() == 0.0 && rounded.abs() < 9e15 {
        return Some(Value::from(rounded as i64));
    }
    Number::from_f64(rounded).map(Value::Number)
}

/// As Home Assistant's binary sensors have it.
pub(super) fn truth(is_so: bool) -> Option<Value> {
    Some(Value::from(if is_so { "ON" } else { "OFF" }))
}
