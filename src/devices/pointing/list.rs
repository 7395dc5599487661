//! AxeOS from 2.15: a list of pools.
//!
//! What is sent of the list changes the places that it names, and leaves the others as they are
//! (`update_pool_nvs`). Of a place that it names, what is left out goes to its default: so each place is sent
//! whole. The password `*****` keeps the one that is stored at that place.

use serde_json::{Map, Value, json};

use super::{
    Call, Fields, Method, NoPlan, Plan, PoolWish, Row, Wish, patch, restart, row, told_place, undo,
};

/// Places of the list (`MAX_POOLS`).
const PLACES: u64 = 8;
/// The password that keeps the stored one.
const STORED: &str = "*****";

const NAMES: [&str; 14] = [
    "id",
    "stratumURL",
    "stratumPort",
    "stratumUser",
    "stratumPassword",
    "stratumProtocol",
    "stratumSuggestedDifficulty",
    "stratumExtranonceSubscribe",
    "stratumTLS",
    "stratumCert",
    "stratumDecodeCoinbase",
    "stratumV2ChannelType",
    "stratumV2AuthorityPubkey",
    "stratumV2RequireAuth",
];

/// The places that are taken, by their numbers, and which of them are used.
struct List<'a> {
    taken: Vec<(u64, Fields<'a>, Value)>,
    first: u64,
    second: u64,
}

/// A place of the list, and what is written there.
struct Entry {
    id: u64,
    /// `None` where it stands there already.
    new: Option<Value>,
    /// What stood there; `None` of one that was free.
    old: Option<Value>,
}

pub(super) fn plan(info: &Fields<'_>, wish: &Wish) -> Result<Plan, NoPlan> {
    let list = List::of(info);
    let first = list.entry(Target::ours(wish), &[list.first, list.second]);
    let mut not_restored =
        first.lost_password(wish.password.is_some(), "At the place of the new pool");
    let second = wish.fallback.as_ref().map(|fallback| {
        let entry = list.entry(Target::other(fallback), &[list.first, list.second, first.id]);
        let its = "At the place of the fallback";
        not_restored.extend(entry.lost_password(fallback.password.is_some(), its));
        entry
    });
    // The pool that was the first is what the miner falls back on, so that it mines if this box is away.
    let was_first = (list.first != first.id && list.is_taken(list.first)).then_some(list.first);
    let second_id = second.as_ref().map(|entry| entry.id).or(was_first).unwrap_or(list.second);
    let wants_second = info.flag("useFallbackStratum") == Some(true);

    let (mut settings, mut before) = (Map::new(), Map::new());
    let entries: Vec<&Entry> = std::iter::once(&first).chain(&second).collect();
    put_list(&mut settings, entries.iter().filter_map(|entry| entry.new.clone()));
    put_list(
        &mut before,
        entries.iter().filter_map(|entry| entry.new.as_ref().and(entry.old.clone())),
    );
    for (name, old, new) in
        [("primaryPoolIndex", list.first, first.id), ("secondaryPoolIndex", list.second, second_id)]
    {
        if old != new {
            settings.insert(name.to_owned(), json!(new));
            before.insert(name.to_owned(), json!(old));
        }
    }
    if wants_second {
        settings.insert("useFallbackStratum".to_owned(), json!(false));
        before.insert("useFallbackStratum".to_owned(), json!(true));
    }
    if settings.is_empty() {
        return Err(NoPlan::AlreadyHere);
    }
    let freed = entries.iter().filter(|entry| entry.new.is_some() && entry.old.is_none());
    let mut back = Vec::new();
    if !before.is_empty() {
        back.push(patch(before));
    }
    // A place that is the first or the second is not taken out, so this comes after the change.
    back.extend(freed.map(|entry| delete(entry.id)));
    back.push(restart());
    Ok(Plan {
        rows: rows(&list, wish, second_id, wants_second),
        // The places are read at the start.
        calls: vec![patch(settings), restart()],
        restarts: true,
        undo: undo(info, back),
        not_restored,
    })
}

fn put_list(settings: &mut Map<String, Value>, entries: impl Iterator<Item = Value>) {
    let entries: Vec<Value> = entries.collect();
    if !entries.is_empty() {
        settings.insert("pools".to_owned(), Value::Array(entries));
    }
}

/// Where a place is taken out, before its number.
pub(super) const PLACE: &str = "/api/system/pools/";

pub(super) fn delete(id: u64) -> Call {
    let path = format!("{PLACE}{id}");
    Call { method: Method::Delete, path, body: String::new() }
}

/// What a place holds, and nothing else that is told of it.
fn known(told: &Value) -> Value {
    let names =
        NAMES.iter().filter_map(|name| Some((String::from(*name), told.get(name)?.clone())));
    Value::Object(names.collect())
}

impl<'a> List<'a> {
    fn of(info: &Fields<'a>) -> List<'a> {
        let entries = info.list("pools").into_iter();
        let taken = entries.filter_map(|raw| {
            let fields = Fields::of(raw.get()).ok()?;
            let id = fields.whole("id").filter(|id| *id < PLACES)?;
            let value = known(&serde_json::from_str(raw.get()).ok()?);
            Some((id, fields, value))
        });
        List {
            taken: taken.collect(),
            first: info.whole("primaryPoolIndex").unwrap_or(0),
            second: info.whole("secondaryPoolIndex").unwrap_or(1),
        }
    }

    fn at(&self, id: u64) -> Option<&(u64, Fields<'a>, Value)> {
        self.taken.iter().find(|(taken, ..)| *taken == id)
    }

    fn is_taken(&self, id: u64) -> bool {
        self.at(id).is_some()
    }

    /// Where the pool is written: over itself with another user, else at a free place, else over one that
    /// is not used. A place that was the first or the second while it was free is passed over: it could not
    /// be freed again.
    fn entry(&self, pool: Target<'_>, used: &[u64]) -> Entry {
        if let Some((id, fields, value)) =
            self.taken.iter().find(|(_, fields, _)| pool.is_at(fields))
        {
            let new = (!pool.is_whole(fields)).then(|| pool.over(*id, value));
            return Entry { id: *id, new, old: Some(value.clone()) };
        }
        let unused = || (0..PLACES).filter(|id| !used.contains(id));
        if let Some(id) = unused().find(|id| !self.is_taken(*id)) {
            return Entry { id, new: Some(pool.anew(id, "x")), old: None };
        }
        // Three places at most are used, of eight.
        let id = unused().next_back().unwrap_or(PLACES - 1);
        let old = self.at(id).map(|(.., value)| value.clone());
        Entry { id, new: Some(pool.anew(id, STORED)), old }
    }
}

impl Entry {
    fn lost_password(&self, is_sent: bool, place: &str) -> Vec<String> {
        let is_lost = is_sent && self.new.is_some() && self.old.is_some();
        let words = format!("{place} the password that is stored there now is overwritten.");
        if is_lost { vec![words] } else { Vec::new() }
    }
}

/// A pool that is wished for.
struct Target<'w> {
    host: &'w str,
    port: u16,
    user: &'w str,
    password: Option<&'w str>,
    v2_key: Option<&'w str>,
}

impl<'w> Target<'w> {
    fn ours(wish: &'w Wish) -> Target<'w> {
        Target {
            host: &wish.host,
            port: wish.port,
            user: &wish.user,
            password: wish.password.as_deref(),
            v2_key: wish.v2_key.as_deref(),
        }
    }

    fn other(pool: &'w PoolWish) -> Target<'w> {
        let PoolWish { host, port, user, password } = pool;
        Target { host, port: *port, user, password: password.as_deref(), v2_key: None }
    }

    fn is_at(&self, entry: &Fields<'_>) -> bool {
        let host = entry.string("stratumURL").unwrap_or_default();
        host.eq_ignore_ascii_case(self.host) && entry.whole("stratumPort") == Some(self.port.into())
    }

    /// Nothing has to be sent.
    fn is_whole(&self, entry: &Fields<'_>) -> bool {
        let is = |name, value: &str| entry.string(name).as_deref() == Some(value);
        is("stratumUser", self.user)
            && is("stratumProtocol", self.protocol())
            && self.v2_key.is_none_or(|key| is("stratumV2AuthorityPubkey", key))
            && entry.whole("stratumTLS").unwrap_or(0) == 0
            && self.password.is_none()
    }

    fn protocol(&self) -> &'static str {
        if self.v2_key.is_some() { "SV2" } else { "SV1" }
    }

    /// What stands there, with ours in it.
    fn over(&self, id: u64, old: &Value) -> Value {
        let mut entry = old.clone();
        for (name, value) in self.essentials(id, STORED) {
            entry[name] = value;
        }
        entry
    }

    /// All that a place holds.
    fn anew(&self, id: u64, password: &str) -> Value {
        let mut entry = json!({
            "stratumSuggestedDifficulty": 0,
            "stratumExtranonceSubscribe": false,
            "stratumCert": "",
            "stratumDecodeCoinbase": true,
            "stratumV2ChannelType": "extended",
            "stratumV2AuthorityPubkey": "",
            "stratumV2RequireAuth": false,
        });
        for (name, value) in self.essentials(id, password) {
            entry[name] = value;
        }
        entry
    }

    fn essentials(&self, id: u64, password: &str) -> Vec<(&'static str, Value)> {
        let mut entry = vec![
            ("id", json!(id)),
            ("stratumURL", json!(self.host)),
            ("stratumPort", json!(self.port)),
            ("stratumUser", json!(self.user)),
            ("stratumPassword", json!(self.password.unwrap_or(password))),
            ("stratumProtocol", json!(self.protocol())),
            ("stratumTLS", json!(0)),
        ];
        if let Some(key) = self.v2_key {
            entry.push(("stratumV2AuthorityPubkey", json!(key)));
            entry.push(("stratumV2RequireAuth", json!(true)));
        }
        entry
    }
}

fn rows(list: &List<'_>, wish: &Wish, second_id: u64, wants_second: bool) -> Vec<Row> {
    let of = |id, read: fn(&Fields<'_>) -> String| {
        list.at(id).map(|(_, fields, _)| read(fields)).unwrap_or_default()
    };
    let place_at = |id| of(id, |fields| told_place(fields, "stratumURL", "stratumPort"));
    let user_at = |id| of(id, |fields| fields.text("stratumUser"));
    let mut rows = Vec::new();
    row(&mut rows, "Pool", place_at(list.first), super::place(&wish.host, wish.port));
    row(&mut rows, "User", user_at(list.first), wish.user.clone());
    let protocol =
        |told: String| if told.is_empty() { String::new() } else { words(&told).to_owned() };
    let old = protocol(of(list.first, |fields| fields.text("stratumProtocol")));
    row(&mut rows, "Protocol", old, words(Target::ours(wish).protocol()).to_owned());
    let (place, user) = match &wish.fallback {
        Some(pool) => (super::place(&pool.host, pool.port), pool.user.clone()),
        None => (place_at(second_id), user_at(second_id)),
    };
    row(&mut rows, "Fallback", place_at(list.second), place);
    row(&mut rows, "User there", user_at(list.second), user);
    if wants_second {
        row(&mut rows, "Mines on", "the fallback".to_owned(), "the pool".to_owned());
    }
    rows
}

fn words(protocol: &str) -> &'static str {
    if protocol == "SV2" { "Stratum V2" } else { "Stratum V1" }
}
