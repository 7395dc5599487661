//! AxeOS before 2.15, and NerdQAxe: a pool and one to fall back on, each setting by itself. What is not sent
//! stays as it is, so only what changes is sent, and a password only if the owner gave one.

use serde_json::{Map, Value, json};

use super::{
    Family, Fields, NoPlan, Plan, Row, Wish, knows_v2, patch, restart, row, told_place, undo,
};
use crate::devices::nerdqaxe::DUAL;

/// The settings to send, and those that bring the old ones back.
struct Changes<'a, 'b> {
    info: &'b Fields<'a>,
    settings: Map<String, Value>,
    before: Map<String, Value>,
}

pub(super) fn plan(family: Family, info: &Fields<'_>, wish: &Wish) -> Result<Plan, NoPlan> {
    if info.flag("otp") == Some(true) {
        return Err(NoPlan::NeedsLogin);
    }
    if wish.v2_key.is_some() && !knows_v2(info) {
        return Err(NoPlan::NoV2);
    }
    let is_nerdqaxe = family == Family::NerdQAxe;
    let mut changes = Changes { info, settings: Map::new(), before: Map::new() };
    let mut not_restored = Vec::new();

    changes.text("stratumURL", &wish.host);
    changes.set("stratumPort", json!(wish.port));
    changes.text("stratumUser", &wish.user);
    changes.unencrypted("stratumTLS", is_nerdqaxe);
    let reconnects = !changes.settings.is_empty() || wish.password.is_some();
    let protocol_changes = changes.protocol("stratumProtocol", wish.v2_key.is_some(), is_nerdqaxe);
    if let Some(key) = &wish.v2_key {
        changes
            .text(if is_nerdqaxe { "sv2AuthorityPubkey" } else { "stratumV2AuthorityPubkey" }, key);
    }
    let key_changes = ["sv2AuthorityPubkey", "stratumV2AuthorityPubkey"]
        .iter()
        .any(|key| changes.settings.contains_key(*key));
    if let Some(password) = &wish.password {
        changes.settings.insert("stratumPassword".to_owned(), json!(password));
        not_restored.push("The pool's password that is stored now is overwritten.".to_owned());
    }
    if let Some(pool) = &wish.fallback {
        changes.text("fallbackStratumURL", &pool.host);
        changes.set("fallbackStratumPort", json!(pool.port));
        changes.text("fallbackStratumUser", &pool.user);
        changes.unencrypted("fallbackStratumTLS", is_nerdqaxe);
        changes.protocol("fallbackStratumProtocol", false, is_nerdqaxe);
        if let Some(password) = &pool.password {
            changes.settings.insert("fallbackStratumPassword".to_owned(), json!(password));
            not_restored
                .push("The fallback's password that is stored now is overwritten.".to_owned());
        }
    }
    let stratum = info.object("stratum");
    let is_dual = is_nerdqaxe
        && stratum.as_ref().is_some_and(|stratum| stratum.number("poolMode") == Some(DUAL));
    if is_dual {
        changes.settings.insert("poolMode".to_owned(), json!(0));
        changes.before.insert("poolMode".to_owned(), json!(1));
    }
    // Before 2.15 AxeOS does not tell whether its owner wants that: then it would not mine here.
    let on_second = !is_nerdqaxe && info.flag("isUsingFallbackStratum") == Some(true);
    if on_second {
        changes.settings.insert("useFallbackStratum".to_owned(), json!(false));
    }
    let only_on_second = on_second && changes.settings.len() == 1;
    if changes.settings.is_empty() || only_on_second {
        return Err(NoPlan::AlreadyHere);
    }
    if on_second {
        not_restored.push(
            "If you had told it to mine on its fallback, tell it again: it does not say whether you had."
                .to_owned(),
        );
    }

    // NerdQAxe connects anew when a pool changes, but not for a key alone, nor to a mode.
    let restarts = !is_nerdqaxe || is_dual || (key_changes && !protocol_changes && !reconnects);
    let rows = rows(&changes, wish, is_dual);
    let end =
        |change| [Some(patch(change)), restarts.then(restart)].into_iter().flatten().collect();
    Ok(Plan {
        calls: end(changes.settings),
        rows,
        restarts,
        undo: undo(info, end(changes.before)),
        not_restored,
    })
}

impl Changes<'_, '_> {
    /// A setting that is another now.
    fn set(&mut self, name: &str, new: Value) {
        let old = self.info.raw(name).and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
        if old.as_ref() != Some(&new) {
            self.settings.insert(name.to_owned(), new);
            self.before.extend(old.map(|old| (name.to_owned(), old)));
        }
    }

    fn text(&mut self, name: &str, new: &str) {
        self.set(name, json!(new));
    }

    /// AxeOS has 0 for none; NerdQAxe takes nothing but a boolean. Older ones have no such setting.
    fn unencrypted(&mut self, name: &str, is_nerdqaxe: bool) {
        if self.info.has(name) {
            self.set(name, if is_nerdqaxe { json!(false) } else { json!(0) });
        }
    }

    /// Whether it changes. AxeOS has `SV1` and `SV2`, NerdQAxe 0 and 1, and older ones nothing.
    fn protocol(&mut self, name: &str, is_v2: bool, is_nerdqaxe: bool) -> bool {
        if self.info.has(name) {
            let axeos = if is_v2 { "SV2" } else { "SV1" };
            self.set(name, if is_nerdqaxe { json!(u8::from(is_v2)) } else { json!(axeos) });
        }
        self.settings.contains_key(name)
    }
}

fn rows(changes: &Changes<'_, '_>, wish: &Wish, is_dual: bool) -> Vec<Row> {
    let info = changes.info;
    let mut rows = Vec::new();
    let old = told_place(info, "stratumURL", "stratumPort");
    row(&mut rows, "Pool", old, super::place(&wish.host, wish.port));
    row(&mut rows, "User", info.text("stratumUser"), wish.user.clone());
    if let Some(old) = changes.before.get("stratumProtocol") {
        row(&mut rows, "Protocol", protocol(old), protocol(&changes.settings["stratumProtocol"]));
    }
    if let Some(pool) = &wish.fallback {
        let old = told_place(info, "fallbackStratumURL", "fallbackStratumPort");
        row(&mut rows, "Fallback", old, super::place(&pool.host, pool.port));
        row(&mut rows, "User there", info.text("fallbackStratumUser"), pool.user.clone());
    }
    if changes.before.contains_key("stratumTLS") {
        row(&mut rows, "Encryption", "TLS".to_owned(), "none".to_owned());
    }
    if wish.password.is_some() {
        row(&mut rows, "Password", "the stored one".to_owned(), "the one given".to_owned());
    }
    if is_dual {
        row(&mut rows, "Pools", "both at once".to_owned(), "one, and a fallback".to_owned());
    }
    rows
}

fn protocol(told: &Value) -> String {
    let is_v2 = *told == json!("SV2") || *told == json!(1);
    String::from(if is_v2 { "Stratum V2" } else { "Stratum V1" })
}
