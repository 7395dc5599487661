//! A miner as a device of Home Assistant's.

use serde_json::{Map, Value, json};

use super::Names;
use super::appliance::{named, origin};
use super::entity::{Entity, Kind, RateUnit, known, number, truth, values};
use crate::devices::pointing::Command;
use crate::devices::trouble::Trouble;
use crate::status::{DeviceView, Level, MinerState, MinerView, Snapshot, Verdict};

/// What the values of a miner are found in.
pub(super) struct Miner<'a> {
    pub miner: &'a MinerView,
    /// What its own API tells.
    device: Option<&'a DeviceView>,
    problem: bool,
}

const PLAIN: Kind = Kind::Measurement { class: None, unit: None };
const PERCENT: Kind = Kind::Measurement { class: None, unit: Some("%") };

type Told<'a> = Entity<Miner<'a>>;

fn entities<'a>() -> Vec<Told<'a>> {
    vec![
        Told::new("mining", "Mining", Kind::Truth { class: "running" }, |of| truth(of.is_mining()))
            .prompt(),
        Told::new("problem", "Problem", Kind::Truth { class: "problem" }, |of| truth(of.problem))
            .prompt(),
        Told::new("hashrate", "Hash rate proven", Kind::Rate, |of| {
            let rate = &of.miner.rate_hour;
            (rate.shares > 0 || of.is_connected()).then(|| json!(rate.hashrate))
        })
        .icon("mdi:speedometer"),
        Told::new("hashrate_claimed", "Hash rate claimed", Kind::Rate, |of| {
            Some(json!(of.miner.claimed?))
        })
        .icon("mdi:speedometer-medium"),
        Told::new("shares", "Shares", Kind::Total, |of| Some(json!(of.miner.accepted)))
            .icon("mdi:check-all"),
        Told::new("rejected", "Rejected shares", Kind::Total, |of| Some(json!(of.rejected())))
            .icon("mdi:close")
            .diagnostic(),
        Told::new("rejected_part", "Rejected part of shares", PERCENT, |of| {
            let all = of.miner.accepted + of.rejected();
            (all > 0).then(|| number(of.rejected() as f64 * 100.0 / all as f64))?
        })
        .icon("mdi:close-circle-outline")
        .diagnostic(),
        Told::new("best_share", "Best share", PLAIN, |of| {
            (of.miner.best > 0.0).then(|| number(of.miner.best))?
        })
        .icon("mdi:trophy-outline"),
        Told::new("difficulty", "Difficulty", PLAIN, |of| {
            (of.is_connected() && of.miner.difficulty > 0.0).then(|| number(of.miner.difficulty))?
        })
        .icon("mdi:target")
        .diagnostic(),
        Told::new(
            "power",
            "Power",
            Kind::Measurement { class: Some("power"), unit: Some("W") },
            |of| number(of.device?.watts?),
        ),
        Told::new(
            "efficiency",
            "Energy for a terahash",
            Kind::Measurement { class: None, unit: Some("J/TH") },
            |of| number(of.device?.joules_per_terahash?),
        )
        .icon("mdi:lightning-bolt"),
        Told::new(
            "chip",
            "Chip temperature",
            Kind::Measurement { class: Some("temperature"), unit: Some("°C") },
            |of| number(of.device?.chip_c?),
        ),
        Told::new("fan", "Fan", Kind::Measurement { class: None, unit: Some("rpm") }, |of| {
            number(of.device?.fans.iter().filter_map(|fan| fan.rpm).reduce(f64::max)?)
        })
        .icon("mdi:fan"),
        Told::new("fan_set", "Fan setting", PERCENT, |of| {
            number(of.device?.fans.iter().filter_map(|fan| fan.percent).reduce(f64::max)?)
        })
        .icon("mdi:fan-chevron-up")
        .diagnostic(),
        Told::new(
            "wifi",
            "Wi-Fi signal",
            Kind::Measurement { class: Some("signal_strength"), unit: Some("dBm") },
            |of| number(of.device?.rssi_dbm?),
        )
        .diagnostic(),
    ]
}

/// How a button of a miner looks.
fn button(command: Command) -> (&'static str, Option<&'static str>, Option<&'static str>) {
    match command {
        Command::Identify => ("Blink", Some("identify"), None),
        Command::Pause => ("Pause", None, Some("mdi:pause")),
        Command::Resume => ("Resume", None, Some("mdi:play")),
        Command::Restart => ("Restart", Some("restart"), None),
    }
}

impl<'a> Miner<'a> {
    pub(super) fn new(
        miner: &'a MinerView,
        snapshot: &'a Snapshot,
        verdict: &Verdict,
    ) -> Miner<'a> {
        let device = snapshot.device_of(&miner.id);
        let is_it = |id: &str| {
            let of = id.split_once(':').map_or("", |(_, of)| of);
            of == miner.id || device.is_some_and(|device| of == device.address)
        };
        let loud = verdict.alarms.iter().filter(|alarm| alarm.level >= Level::Warning);
        let mut alarms = loud.filter(|alarm| is_miners(&alarm.id) && is_it(&alarm.id));
        let problem = miner.state != MinerState::Mining || alarms.next().is_some();
        Miner { miner, device, problem }
    }

    fn is_connected(&self) -> bool {
        self.miner.state != MinerState::Gone
    }

    /// Its shares come, and it does not say itself that it stands still.
    fn is_mining(&self) -> bool {
        let stands = |what: Trouble| matches!(what, Trouble::Paused | Trouble::Stopped);
        let says_so = self.device.is_some_and(|device| {
            device.fresh && device.troubles.iter().any(|trouble| stands(trouble.what))
        });
        self.miner.state == MinerState::Mining && !says_so
    }

    fn rejected(&self) -> u64 {
        self.miner.rejects.iter().map(|reject| reject.count).sum()
    }

    /// The entities whose value is, or was once, known: a device that is silent for a while keeps its own.
    pub(super) fn known(&self) -> impl Iterator<Item = &'static str> {
        known(entities(), self)
    }

    /// As fast as it is, H/s; `None` where that is not known.
    pub(super) fn rate(&self) -> Option<f64> {
        let proven = self.miner.rate_day.hashrate.max(self.miner.rate_hour.hashrate);
        self.miner.claimed.or(Some(proven)).filter(|rate| *rate > 0.0)
    }

    /// What it can be told, of what the owner allows.
    pub(super) fn buttons(&self, allowed: &[Command]) -> Vec<Command> {
        let device = self.device.map_or(&[][..], |device| &device.commands);
        device.iter().copied().filter(|command| allowed.contains(command)).collect()
    }

    /// All values, and those of which a change is told at once.
    pub(super) fn values(
        &self,
        has: impl Fn(&str) -> bool,
        unit: RateUnit,
    ) -> (Map<String, Value>, Map<String, Value>) {
        // What a device said that is silent now is not so now.
        let device = self.device.filter(|device| device.fresh);
        let (mut all, mut prompt) = values(&entities(), has, &Miner { device, ..*self }, unit);
        let is_there = json!(if self.is_connected() { "online" } else { "offline" });
        prompt.insert("availability".to_owned(), is_there.clone());
        all.insert("availability".to_owned(), is_there);
        (all, prompt)
    }

    /// The announcement. `buttons` are those that it has; those that it has not are taken away, where an
    /// earlier one had them.
    pub(super) fn announcement(
        &self,
        names: &Names,
        snapshot: &Snapshot,
        has: impl Fn(&str) -> bool,
        unit: RateUnit,
        buttons: &[Command],
    ) -> Value {
        let miner = &self.miner.id;
        let id = names.miner_id(miner);
        let has = entities().into_iter().filter(|entity| has(entity.key));
        let mut components: Map<String, Value> =
            has.map(|entity| (entity.key.to_owned(), entity.component(&id, unit))).collect();
        for command in Command::ALL {
            let (name, class, icon) = button(command);
            let mut component = json!({ "p": "button" });
            if buttons.contains(&command) {
                component["uniq_id"] = json!(format!("{id}_{}", command.name()));
                component["name"] = json!(name);
                component["cmd_t"] = json!(names.press(miner));
                component["pl_prs"] = json!(command.name());
                component["ent_cat"] = json!("config");
                if let Some(class) = class {
                    component["dev_cla"] = json!(class);
                }
                if let Some(icon) = icon {
                    component["ic"] = json!(icon);
                }
            }
            components.insert(command.name().to_owned(), component);
        }
        let mut device = json!({
            "ids": [id],
            "name": named(&self.miner.name, &format!("Miner {miner}")),
            "mdl": named(&self.model(), "unknown model"),
            "via_device": names.box_id(),
        });
        if let Some(firmware) = self.device.map(|device| &device.firmware) {
            device["sw"] = json!(named(firmware, "unknown"));
        }
        if let Some(page) = &snapshot.connect.page {
            device["cu"] = json!(format!("{page}miners/{miner}"));
        }
        json!({
            "dev": device,
            "o": origin(snapshot),
            "cmps": components,
            "stat_t": names.miner_state(miner),
            // All must say that they are there: the box, and it of the miner.
            "avty_mode": "all",
            "avty": [
                { "t": names.status() },
                { "t": names.miner_state(miner), "val_tpl": "{{ value_json.availability }}" },
            ],
        })
    }

    fn model(&self) -> String {
        match self.miner.model.as_str() {
            "" => self.device.map_or_else(String::new, |device| device.model.clone()),
            model => model.to_owned(),
        }
    }
}

/// Whether an alarm is about one miner or device, by its id.
fn is_miners(alarm: &str) -> bool {
    alarm.starts_with("miner_") || alarm.starts_with("device_")
}
