//! The box as a device of Home Assistant's.

use serde_json::{Map, Value, json};

use super::Names;
use super::entity::{Entity, Kind, RateUnit, known, number, truth, values};
use crate::status::{BlockState, BlockView, Odds, Snapshot, State, Verdict, format, odds};

/// What the values of the box are found in.
pub(super) struct Appliance<'a> {
    pub snapshot: &'a Snapshot,
    pub verdict: &'a Verdict,
    odds: Option<Odds>,
}

/// Alarms that are told as attributes.
const ALARMS_MAX: usize = 8;
/// Characters of a text. Home Assistant takes 255 for a state.
const TEXT_MAX: usize = 200;

const STATES: &[&str] = &["ok", "degraded", "down"];

/// What becomes of a block.
const BLOCK_EVENTS: &[&str] = &["solved", "beside", "accepted", "mature", "orphaned", "refused"];
const BEST_EVENTS: &[&str] = &["best_share"];

const PLAIN: Kind = Kind::Measurement { class: None, unit: None };

type Told<'a> = Entity<Appliance<'a>>;

fn entities<'a>() -> Vec<Told<'a>> {
    vec![
        Told::new("state", "State", Kind::Choice(STATES), |of| Some(json!(word(of.verdict.state))))
            .prompt(),
        Told::new("mining", "Mining", Kind::Truth { class: "running" }, |of| truth(of.is_mining()))
            .prompt(),
        Told::new("problem", "Problem", Kind::Truth { class: "problem" }, |of| {
            truth(of.verdict.state != State::Ok)
        })
        .prompt(),
        Told::new("node", "Node in use", Kind::Text, |of| {
            let name = &of.snapshot.leading()?.name;
            Some(json!(format::tame_to(name, TEXT_MAX)))
        })
        .icon("mdi:server-network")
        .prompt(),
        Told::new("nodes_healthy", "Healthy nodes", PLAIN, |of| {
            let healthy = of.snapshot.nodes.iter().filter(|node| node.state.is_usable());
            Some(json!(healthy.count()))
        })
        .icon("mdi:server-network")
        .diagnostic()
        .prompt(),
        Told::new("height", "Height of the tip", PLAIN, |of| {
            Some(json!(of.snapshot.network.height?))
        })
        .icon("mdi:cube-outline")
        .prompt(),
        Told::new(
            "work_age",
            "Age of the work",
            Kind::Measurement { class: Some("duration"), unit: Some("s") },
            |of| number(of.snapshot.job.as_ref()?.template_age_s.round()),
        )
        .diagnostic(),
        Told::new("miners", "Miners connected", PLAIN, |of| {
            Some(json!(of.snapshot.connected().count()))
        })
        .icon("mdi:pickaxe")
        .prompt(),
        Told::new("hashrate", "Hash rate", Kind::Rate, |of| {
            Some(json!(of.snapshot.totals.rate_1h.hashrate))
        })
        .icon("mdi:speedometer"),
        Told::new(
            "power",
            "Power",
            Kind::Measurement { class: Some("power"), unit: Some("W") },
            |of| number(of.snapshot.power.as_ref()?.watts),
        ),
        Told::new("best_share", "Best share", PLAIN, |of| number(of.snapshot.totals.best))
            .icon("mdi:trophy-outline")
            .prompt(),
        Told::new("blocks", "Blocks found", Kind::Total, |of| {
            Some(json!(of.snapshot.totals.blocks_found))
        })
        .icon("mdi:cube")
        .prompt(),
        Told::new(
            "block_time",
            "Average time to a block",
            Kind::Measurement { class: Some("duration"), unit: Some("d") },
            |of| number(of.odds?.mean_s? / 86_400.0),
        )
        .icon("mdi:dice-multiple"),
    ]
}

impl<'a> Appliance<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, verdict: &'a Verdict) -> Appliance<'a> {
        Appliance { snapshot, verdict, odds: odds(snapshot) }
    }

    /// A block could be found now.
    fn is_mining(&self) -> bool {
        self.verdict.state != State::Down && self.snapshot.connected().next().is_some()
    }

    /// The entities whose value is known.
    pub(super) fn known(&self) -> impl Iterator<Item = &'static str> {
        known(entities(), self)
    }

    /// As fast as it is, H/s; `None` where that is not known.
    pub(super) fn rate(&self) -> Option<f64> {
        let totals = &self.snapshot.totals;
        let claimed: f64 = self.snapshot.connected().filter_map(|miner| miner.claimed).sum();
        let rate = totals.rate_1h.hashrate.max(totals.rate_24h.hashrate).max(claimed);
        (rate > 0.0).then_some(rate)
    }

    /// All values, and those of which a change is told at once.
    pub(super) fn values(
        &self,
        has: impl Fn(&str) -> bool,
        unit: RateUnit,
    ) -> (Map<String, Value>, Map<String, Value>) {
        let (mut all, mut prompt) = values(&entities(), has, self, unit);
        let alarms = self.verdict.alarms.iter().take(ALARMS_MAX);
        let alarms: Vec<String> =
            alarms.map(|alarm| format::tame_to(&alarm.text, TEXT_MAX)).collect();
        prompt.insert("alarms".to_owned(), json!(self.verdict.alarms.len()));
        all.insert(
            "about".to_owned(),
            json!({
                "sentence": format::tame_to(&self.verdict.sentence, TEXT_MAX),
                "advice": format::tame_to(&self.verdict.advice, TEXT_MAX),
                "alarms": alarms,
            }),
        );
        (all, prompt)
    }

    /// The announcement.
    pub(super) fn announcement(
        &self,
        names: &Names,
        has: impl Fn(&str) -> bool,
        unit: RateUnit,
    ) -> Value {
        let id = names.box_id();
        let has = entities().into_iter().filter(|entity| has(entity.key));
        let mut components: Map<String, Value> =
            has.map(|entity| (entity.key.to_owned(), entity.component(&id, unit))).collect();
        if let Some(problem) = components.get_mut("problem") {
            problem["json_attr_t"] = json!(names.state());
            problem["json_attr_tpl"] = json!("{{ value_json.about | tojson }}");
        }
        let events = [
            ("block", "Block found", "mdi:cube", BLOCK_EVENTS),
            ("best", "New best share", "mdi:trophy", BEST_EVENTS),
        ];
        for (key, name, icon, types) in events {
            let event = json!({
                "p": "event",
                "uniq_id": format!("{id}_event_{key}"),
                "name": name,
                "ic": icon,
                "stat_t": names.event(key),
                "evt_typ": types,
            });
            components.insert(format!("event_{key}"), event);
        }
        let mut device = json!({
            "ids": [id],
            "name": named(&self.snapshot.name, "Soloist"),
            "mf": "Soloist",
            "mdl": "Home appliance for solo mining",
            "sw": self.snapshot.build.version,
        });
        if let Some(page) = &self.snapshot.connect.page {
            device["cu"] = json!(page);
        }
        json!({
            "dev": device,
            "o": origin(self.snapshot),
            "cmps": components,
            "stat_t": names.state(),
            "avty": [{ "t": names.status() }],
        })
    }
}

/// Who sends the announcements.
pub(super) fn origin(snapshot: &Snapshot) -> Value {
    json!({ "name": "Soloist", "sw": snapshot.build.version })
}

/// A device's name, of a bounded length and without what nobody sees.
pub(super) fn named(name: &str, otherwise: &str) -> String {
    match format::tame_to(name.trim(), 64) {
        name if name.is_empty() => otherwise.to_owned(),
        name => name,
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Degraded => "degraded",
        State::Down => "down",
    }
}

/// What is told when a block has come to its present state.
pub(super) fn block_event(block: &BlockView) -> Value {
    let what = match block.state {
        BlockState::Candidate => "solved",
        BlockState::Beside => "beside",
        BlockState::Accepted => "accepted",
        BlockState::Mature => "mature",
        BlockState::Orphaned => "orphaned",
        BlockState::Refused => "refused",
    };
    json!({
        "event_type": what,
        "height": block.height,
        "hash": block.hash,
        "miner": named(&block.miner, "a miner"),
        "reward_btc": block.value_sat as f64 / 1e8,
        "solved_at": format::iso(block.at),
    })
}

/// What is told of a new best share.
pub(super) fn best_event(snapshot: &Snapshot) -> Value {
    let best = snapshot.best_shares.first();
    json!({
        "event_type": "best_share",
        "difficulty": snapshot.totals.best,
        "miner": best.map(|best| named(&best.miner, "a miner")),
        "part_of_a_block": snapshot.difficulty().map(|block| snapshot.totals.best / block),
    })
}
