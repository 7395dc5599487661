//! A device may answer anything.

use soloist::devices::pointing::{BODY_MAX, PoolWish, Wish, plan};
use soloist::devices::{
    Answer, BOARDS_MAX, FANS_MAX, POOLS_MAX, TEXT_MAX, Telemetry, axeos, bounds, cgminer,
};

/// An answer is of no device, or what it says is within its bounds, and what would be sent to that device is
/// a request that it could take.
pub fn device(data: &[u8]) -> bool {
    let by_http = axeos::read(data);
    let answer = |to| Answer { to, body: data.to_vec() };
    let by_rpc = cgminer::read(&cgminer::COMMANDS.map(answer));
    for told in by_http.iter().chain(&by_rpc) {
        check(told);
    }
    let own = Wish {
        host: "192.168.1.2".to_owned(),
        port: 3333,
        user: "bc1q.kitchen".to_owned(),
        password: None,
        v2_key: None,
        fallback: None,
    };
    let pool = PoolWish { host: "a".to_owned(), port: 1, user: "b".to_owned(), password: None };
    for wish in [Wish { fallback: Some(pool), ..own.clone() }, own] {
        let Ok(plan) = plan(data, &wish) else { continue };
        assert!(by_http.is_ok() && !plan.calls.is_empty());
        for call in plan.calls.iter().chain(&plan.undo.calls) {
            assert!(call.path.starts_with("/api/system") && call.body.len() <= BODY_MAX);
            assert!(call.body.is_empty() || call.body.starts_with('{'));
        }
    }
    by_http.is_ok() || by_rpc.is_ok()
}

fn check(told: &Telemetry) {
    for (value, bounds) in [
        (told.hashrate, bounds::HASHRATE),
        (told.expected, bounds::HASHRATE),
        (told.watts, bounds::WATTS),
        (told.volts, bounds::VOLTS),
        (told.nominal_volts, bounds::VOLTS),
        (told.chip_c, bounds::CELSIUS),
        (told.regulator_c, bounds::CELSIUS),
        (told.air_c, bounds::CELSIUS),
        (told.limit_c, bounds::CELSIUS),
        (told.rssi_dbm, bounds::DBM),
        (told.best, bounds::DIFFICULTY),
    ] {
        assert!(value.is_none_or(|value| bounds.contains(&value)), "{told:?}");
    }
    let fans = told.fans.iter().filter_map(|fan| fan.rpm);
    assert!(fans.into_iter().all(|rpm| bounds::RPM.contains(&rpm)), "{told:?}");
    assert!(told.boards.iter().all(|rate| bounds::HASHRATE.contains(rate)), "{told:?}");
    assert!(told.pools.len() <= POOLS_MAX && told.fans.len() <= FANS_MAX, "{told:?}");
    assert!(told.boards.len() <= BOARDS_MAX, "{told:?}");
    let texts =
        [&told.model, &told.firmware, &told.hostname, &told.power_fault, &told.hardware_fault];
    let of_pools = told.pools.iter().flat_map(|pool| [&pool.host, &pool.user]);
    for text in texts.into_iter().chain(of_pools) {
        assert!(text.chars().count() <= TEXT_MAX && !text.contains(char::is_control), "{told:?}");
    }
}
