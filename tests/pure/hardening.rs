//! What makes the daemon hard to hurt, held against the files that say so: the fuzz targets' checks
//! on their seeds and on mutations of them (with `SOLOIST_LONG=1` a minute for each), the table of
//! limits, the unit's sandbox.
#![allow(clippy::unwrap_used)]

#[path = "../../fuzz/checks.rs"]
mod checks;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn seeds_and_their_mutations_keep_every_promise() {
    // The same 10,000 on every machine, or as many as a minute gives.
    let long = std::env::var_os("SOLOIST_LONG").is_some();
    let goes_on = |tried: u64, started: Instant| {
        if long { started.elapsed() < Duration::from_secs(60) } else { tried < 10_000 }
    };
    for (name, check) in checks::CHECKS {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
        let mut files: Vec<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        let seeds: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).unwrap()).collect();
        let good = seeds.iter().filter(|seed| check(seed)).count();
        assert!(good >= 2, "{name}: only {good} of {} seeds are good ones", seeds.len());
        assert!(good < seeds.len(), "{name}: there is no bad seed");

        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let (started, mut tried, mut fine) = (Instant::now(), 0_u64, 0_u64);
        while goes_on(tried, started) {
            let input = random.mutation(&seeds);
            tried += 1;
            fine += u64::from(check(&input));
        }
        println!("{name}: {} seeds, {tried} mutations, {fine} of them good", seeds.len());
        assert!(fine > 0);
    }
}

/// Each row of the table of limits in ARCHITECTURE.md names a constant and its value as they stand in
/// the code.
#[test]
fn the_table_of_limits_is_that_of_the_code() {
    let rows = limits();
    for [what, value, place, name] in &rows {
        let code = fs::read_to_string(root().join("src").join(place)).unwrap();
        let found = code.lines().map(str::trim).any(|line| {
            let declares = line.contains(&format!("{name}:")) && line.starts_with(['c', 'p']);
            let sets = line.starts_with(&format!("{name}:"));
            (declares && line.ends_with(&format!("= {value};")))
                || (sets && line.ends_with(&format!("{name}: {value},")))
        });
        assert!(found, "{what}: {place} does not say {name} = {value}");
    }
    assert!(rows.len() >= 30, "{} rows", rows.len());
    let mut seen = BTreeSet::new();
    for [what, _, place, name] in &rows {
        assert!(seen.insert((place, name)), "{what}: {place} {name} has two rows");
    }
}

/// Each constant that is named as a limit (`…MAX…` or `…KEPT…`) has a row in the table, or stands here
/// with the reason why it is none of that kind.
#[test]
fn each_limit_of_the_code_is_in_the_table() {
    let others = [
        ("coinbase.rs", "MAX_SCRIPT"), // The longest script of an address.
        ("difficulty.rs", "MAX"),      // The easiest target.
        ("failover/clocks.rs", "MAX_FUTURE_BLOCK_TIME"), // A rule of Bitcoin Core's.
        ("ledger/codec.rs", "MAX_AMOUNT"), // The highest number that can be meant.
        ("ledger/half_hours.rs", "KEPT"), // A day.
        ("p2p/offer.rs", "PAUSE_MAX"), // A pause of ours.
        ("rpc/zmq_fd.rs", "MAX_PAUSE"), // A pause of ours.
        ("share.rs", "KEPT"),          // Room that stays reserved.
        ("template.rs", "MAX_MONEY"),  // A rule of Bitcoin's.
    ];
    let mut listed: Vec<(String, String)> =
        limits().into_iter().map(|[_, _, place, name]| (place, name)).collect();
    listed.extend(others.map(|(place, name)| (place.to_owned(), name.to_owned())));
    let mut found = 0;
    for (place, code) in source() {
        for line in code.lines() {
            let Some((before, rest)) = line.split_once("const ") else { continue };
            let Some((name, _)) = rest.split_once(':') else { continue };
            let is_limit = name.split('_').any(|word| word == "MAX" || word == "KEPT");
            if is_limit && (before.trim().is_empty() || before.trim().starts_with("pub")) {
                found += 1;
                let limit = (place.clone(), name.to_owned());
                assert!(listed.contains(&limit), "not in the table of limits: {limit:?}");
            }
        }
    }
    assert!(found >= 60, "{found} limits");
    for other in others {
        let (_, code) = source().into_iter().find(|(place, _)| place == other.0).unwrap();
        assert!(code.contains(&format!("const {}:", other.1)), "no longer there: {other:?}");
    }
}

/// What the rows of the table of limits say: of what, the value, the file below `src`, the name.
fn limits() -> Vec<[String; 4]> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, section) = text.split_once("\n## Limits\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    rows.map(|row| {
        let [_, what, value, place, name, _] = row.split('|').collect::<Vec<_>>()[..] else {
            panic!("not a row: {row}");
        };
        let code = |cell: &str| cell.trim().trim_matches('`').to_owned();
        [what.trim().to_owned(), code(value), code(place), code(name)]
    })
    .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of text below `src` by their names, without tests and without the demo.
fn source() -> Vec<(String, String)> {
    let src = root().join("src");
    let mut files = Vec::new();
    let mut places = vec![src.clone()];
    while let Some(place) = places.pop() {
        if place.is_dir() {
            places.extend(fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = place.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        if name.ends_with("tests.rs") || name.ends_with(".png") || name.starts_with("demo/") {
            continue;
        }
        let text = fs::read_to_string(&place).unwrap();
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
        files.push((name, code));
    }
    files
}

/// There is one way to replace a file, `fsutil`. Whatever else makes, empties or renames files stands
/// here with its reason.
#[test]
fn files_are_replaced_in_one_place() {
    // A file, how it makes or renames files, how often.
    let known = [
        ("daemon/job_file.rs", ".create(true)", 1), // Appends to a file in memory.
        ("feed.rs", "create_new(true)", 1), // An update in a new directory, which goes with it.
        ("import/old_card.rs", "fs::rename(", 1), // Gives a backup that was read another name.
        ("ledger/cache.rs", ".create(true)", 1), // The lock beside the cache; nothing is in it.
        ("ledger/check.rs", "fs::copy(", 1), // A trial copy of the cache.
        ("ledger/store.rs", "fs::rename(", 2), // Sets damaged files aside.
        ("spool.rs", "fs::rename(", 1),     // Sets damaged files aside.
    ];
    let ways = [
        "fs::write(",
        "fs::rename(",
        "fs::copy(",
        "File::create(",
        "create_new(true)",
        ".truncate(true)",
        ".create(true)",
    ];
    let mut found = Vec::new();
    for (name, code) in source().into_iter().filter(|(name, _)| name != "fsutil.rs") {
        for way in ways {
            let times = code.matches(way).count();
            if times > 0 {
                found.push((name.clone(), way, times));
            }
        }
    }
    found.sort();
    let found: Vec<_> = found.iter().map(|(name, way, times)| (&name[..], *way, *times)).collect();
    assert_eq!(found, known);
}

/// What systemd itself says of the unit, without running it. Whether the daemon can live inside is
/// seen when the image boots.
#[test]
fn the_unit_leaves_the_daemon_little() {
    assert_exposure("soloist.service", 20);
}

/// It holds an address, and runs scripts.
#[test]
fn the_unit_leaves_keepalived_little() {
    assert_exposure("soloist-pair.service", 26);
}

/// Of the ten points that systemd gives to a unit without any sandbox it has at most `tenths` tenths of one.
fn assert_exposure(unit: &str, tenths: u32) {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(unit);
    let answer = Command::new("systemd-analyze")
        .args(["security", "--no-pager", "--offline=true", &format!("--threshold={tenths}")])
        .arg(&unit)
        .output();
    let Ok(answer) = answer else {
        println!("NOT checked: the unit's sandbox (systemd-analyze is not installed)");
        return;
    };
    let text = String::from_utf8_lossy(&answer.stdout);
    let verdict = text.lines().last().unwrap_or_default();
    println!("{verdict}");
    assert!(answer.status.success(), "more than {tenths} tenths of 10: {verdict}");
}

/// xorshift64*: the same mutations on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }

    fn mutation(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut data = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(data.len());
            match self.below(6) {
                0 if !data.is_empty() => data[at] ^= 1 << self.below(8),
                1 if !data.is_empty() => data[at] = self.below(256) as u8,
                2 => data.truncate(at),
                3 => data.insert(at, b"\"\\\n[]{}=:,09a\0\xff"[self.below(15)]),
                4 if !data.is_empty() => drop(data.remove(at)),
                _ => {
                    // A piece of another seed.
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len());
                    let to = other.len().min(from + self.below(40));
                    data.splice(at..at, other[from..to].iter().copied());
                }
            }
        }
        data
    }
}
